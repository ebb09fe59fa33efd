//! When a commit starts: at once, or a moment later with more in it.
//!
//! A commit that starts the moment the one before completes takes what has gathered meanwhile; the
//! clients just answered come too late for it and go into the next. Fifty clients then fall into
//! two groups that take turns, and each flush carries half of what it could. So the next commit
//! waits until as many replies wait for it as were waiting when the last one completed, the freed
//! ones included. It stops waiting when nothing more comes, or after as long as a commit takes; and
//! where waiting has brought next to nothing, it is tried again only after a growing number of
//! commits. A lone client, whose one reply is all there was, never waits.
//!
//! A client that was just told its write is durable often writes again at once. To be woken for it
//! takes the thread longer than the client needs, so after a commit that flushed the thread stays
//! awake for a quarter of what the commit took; again only as a habit that has to pay.

/// Shortest pause in what arrives that ends the waiting, in microseconds: about what a client takes
/// to answer a reply.
const PAUSE_MIN_US: u64 = 60;
/// Longest time a commit waits, in microseconds.
const WINDOW_MAX_US: u64 = 1000;
/// Longest time a shard stays awake behind a commit, in microseconds.
const AWAKE_MAX_US: u64 = 120;
/// Times a habit is left out after it has failed often: two to this power.
const PATIENCE_MAX: u32 = 6;

/// Something that is done as long as it pays, and tried from time to time when it does not.
#[derive(Debug, Default)]
struct Habit {
    /// Failures in a row.
    misses: u32,
    /// Occasions to be left out.
    skip: u32,
}

impl Habit {
    fn is_kept(&self) -> bool {
        self.skip == 0
    }

    fn left_out(&mut self) {
        self.skip = self.skip.saturating_sub(1);
    }

    fn paid(&mut self, paid: bool) {
        if paid {
            self.misses = 0;
        } else {
            self.skip = 1 << self.misses;
            self.misses = (self.misses + 1).min(PATIENCE_MAX);
        }
    }
}

/// The rule, fed with what commits set free.
#[derive(Debug, Default)]
pub struct Gather {
    /// Replies that waited when some were last set free, those included.
    in_play: usize,
    /// When they were, in monotonic microseconds.
    since_us: u64,
    /// How long the last commit took.
    took_us: u64,
    /// Replies seen waiting, and when their number last grew.
    waiting: usize,
    grew_us: u64,
    /// When the first of them came.
    arrived_us: Option<u64>,
    /// Replies there were when waiting began for the commit that comes next.
    began_with: Option<usize>,
    /// Waiting for more.
    waits: Habit,
    /// Until when the shard stays awake for the next write.
    awake_until_us: Option<u64>,
    /// Staying awake.
    wakes: Habit,
}

impl Gather {
    /// A commit starts, with `waiting` replies waiting for it.
    pub fn started(&mut self, waiting: usize) {
        self.arrived_us = None;
        match self.began_with.take() {
            None => self.waits.left_out(),
            Some(before) => {
                let gained = self.is_gain(waiting.saturating_sub(before));
                self.waits.paid(gained || self.is_enough(waiting));
            }
        }
    }

    /// A commit has completed that took this long.
    pub fn completed(&mut self, took_us: u64) {
        self.took_us = took_us;
    }

    /// Replies have been set free; `in_play` were waiting until then, those included. `flushed`
    /// when what set them free was a flush.
    pub fn freed(&mut self, in_play: usize, now_us: u64, flushed: bool) {
        if !self.wakes.is_kept() {
            self.wakes.left_out();
        } else if flushed {
            self.awake_until_us = Some(now_us + (self.took_us / 4).min(AWAKE_MAX_US));
        }
        self.in_play = in_play;
        self.since_us = now_us;
        self.waiting = 0;
        self.grew_us = now_us;
    }

    /// Something waits for a commit.
    pub fn arrived(&mut self, now_us: u64) {
        self.arrived_us.get_or_insert(now_us);
        if self.awake_until_us.take().is_some() {
            self.wakes.paid(true);
        }
    }

    /// Whether the shard should look again rather than sleep.
    pub fn stays_awake(&mut self, now_us: u64) -> bool {
        match self.awake_until_us {
            Some(until) if now_us < until => true,
            Some(_) => {
                self.awake_until_us = None;
                self.wakes.paid(false);
                false
            }
            None => false,
        }
    }

    /// When the next commit starts at the latest, if it should wait for more than the `waiting`
    /// replies there are. A commit that `flushes` is worth sleeping for. One that does not is over
    /// sooner than a sleep: it waits only while every turn of the loop brings more, and the time
    /// given is now.
    ///
    /// With a `delay` (`aof-commit-delay-usec`) it waits that long for those that are missing, from
    /// when the first of them came, whatever has proved worth it.
    pub fn until(
        &mut self,
        waiting: usize,
        now_us: u64,
        flushes: bool,
        delay_us: u64,
    ) -> Option<u64> {
        if self.is_enough(waiting) {
            return None;
        }
        if delay_us > 0 {
            return Some(self.arrived_us? + delay_us).filter(|until| *until > now_us);
        }
        if !self.waits.is_kept() {
            return None;
        }
        if !flushes && self.began_with.is_some() && waiting <= self.waiting {
            return None;
        }
        if waiting > self.waiting {
            self.waiting = waiting;
            self.grew_us = now_us;
        }
        let window = self.took_us.clamp(PAUSE_MIN_US, WINDOW_MAX_US);
        let pause = (self.took_us / 2).clamp(PAUSE_MIN_US, window);
        let until = (self.since_us + window).min(self.grew_us + pause);
        if until <= now_us {
            return None;
        }
        self.began_with.get_or_insert(waiting);
        Some(if flushes { until } else { now_us })
    }

    /// Whether so many more were worth the wait.
    fn is_gain(&self, more: usize) -> bool {
        more >= (self.in_play / 8).max(2)
    }

    /// All that were in play, but for one in fifty.
    fn is_enough(&self, waiting: usize) -> bool {
        waiting + self.in_play / 50 >= self.in_play
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule whose last commit took 400 µs and ended at 1400 with `in_play` replies.
    fn after(in_play: usize) -> Gather {
        let mut gather = Gather::default();
        gather.started(0);
        gather.completed(400);
        gather.freed(in_play, 1400, true);
        gather
    }

    #[test]
    fn waits_for_as_many_as_before() {
        let mut gather = after(50);
        assert_eq!(gather.until(10, 1401, true, 0), Some(1601));
        assert_eq!(gather.until(40, 1500, true, 0), Some(1700));
        assert_eq!(gather.until(49, 1510, true, 0), None);
        gather.started(49);
        gather.completed(400);
        gather.freed(50, 1910, true);
        assert!(gather.until(10, 1911, true, 0).is_some(), "it helped, so it is done again");
    }

    #[test]
    fn a_lone_client_never_waits() {
        assert_eq!(after(1).until(1, 1410, true, 0), None);
        assert_eq!(Gather::default().until(1, 0, true, 0), None);
    }

    #[test]
    fn a_delay_is_what_it_waits_at_most() {
        let mut gather = after(50);
        gather.arrived(1420);
        gather.arrived(1430);
        assert_eq!(gather.until(10, 1430, true, 900), Some(2320));
        assert_eq!(gather.until(10, 1430, false, 900), Some(2320));
        assert_eq!(gather.until(49, 1430, true, 900), None, "all that were in play");
        assert_eq!(gather.until(10, 2320, true, 900), None);
        assert_eq!(after(1).until(1, 1410, true, 900), None, "alone");
    }

    #[test]
    fn a_commit_without_flush_waits_while_every_turn_brings_more() {
        let mut gather = after(50);
        assert_eq!(gather.until(10, 1401, false, 0), Some(1401));
        assert_eq!(gather.until(14, 1410, false, 0), Some(1410));
        assert_eq!(gather.until(14, 1411, false, 0), None);
    }

    #[test]
    fn waits_neither_for_ever_nor_for_nothing() {
        let mut gather = after(50);
        for step in 0..10 {
            let now = 1401 + step * 40;
            assert!(gather.until(10 + step as usize, now, true, 0).is_some_and(|t| t <= 1800));
        }
        assert_eq!(gather.until(30, 1800, true, 0), None, "the window is over");
        let mut gather = after(50);
        assert!(gather.until(10, 1401, true, 0).is_some());
        assert_eq!(gather.until(10, 1601, true, 0), None, "nothing more came");
    }

    #[test]
    fn stays_awake_as_long_as_it_pays() {
        let mut gather = after(1);
        assert!(gather.stays_awake(1499) && !gather.stays_awake(1500), "a quarter of 400 us");
        let mut spent = 0;
        for _ in 0..1000 {
            gather.freed(1, 2000, true);
            spent += u32::from(gather.stays_awake(2001));
            gather.stays_awake(3000);
        }
        assert!((8..30).contains(&spent), "{spent} of 1000 times");
        for _ in 0..100 {
            gather.freed(1, 2000, true);
            gather.arrived(2000);
        }
        gather.freed(1, 2000, true);
        assert!(gather.stays_awake(2001), "it has begun to pay again");
        gather.arrived(2000);
        gather.freed(1, 2000, false);
        assert!(!gather.stays_awake(2001), "a write into the page cache is no commit");
    }

    #[test]
    fn where_waiting_does_not_help_it_is_tried_rarely() {
        let mut gather = after(50);
        let (mut now, mut waits) = (1400, 0);
        for _ in 0..1000 {
            let mut waited = false;
            while let Some(until) = gather.until(10, now, true, 0) {
                waited = true;
                now = until;
            }
            waits += u32::from(waited);
            gather.started(10);
            now += 400;
            gather.completed(400);
            gather.freed(50, now, true);
        }
        assert!((8..30).contains(&waits), "{waits} of 1000 commits waited");
    }
}
