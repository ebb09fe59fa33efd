//! When a commit starts: at once, or a moment later with more in it. And whether the shard's thread
//! sleeps meanwhile.
//!
//! A commit that starts the moment the one before completes takes what has gathered meanwhile; the
//! clients just answered come too late for it and go into the next. Fifty clients then fall into
//! two groups that take turns, and each flush carries half of what it could. So the next commit
//! waits until nearly as many replies wait for it as were waiting when the last one completed, the
//! freed ones included. It stops waiting when nothing more comes, or when more comes no faster than
//! replies are set free on average, waits and commits together: then the next commit has it as
//! soon. Where waiting has brought next to nothing, it is tried again only after a growing number
//! of commits. A lone client, whose one reply is all there was, never waits.
//!
//! Waking takes an idle core 30 to 40 us on virtual machines, a third of a commit on a fast disk.
//! So a thread with replies waiting for a fast commit stays awake until it is there, for a long one
//! at least from half of what commits take; likewise while it gathers, and for a moment behind a
//! commit, since a client that was just told its write is durable often writes again at once. It
//! gives way to whoever else wants the core; where somebody does, and where staying awake behind
//! commits brings nothing, it is tried again only from time to time.

use crate::shard::habit::Habit;

/// Shortest pause in what arrives that ends the waiting, in microseconds: about what a client takes
/// to answer a reply.
const PAUSE_MIN_US: u64 = 60;
/// Longest time a commit waits, in microseconds.
const WINDOW_MAX_US: u64 = 1000;
/// Replies that are freed on average while one of those waited for comes, in eighths: so much
/// faster must they come.
const FASTER: u64 = 9;
/// Longest time between two commits that says something about how fast they go, in microseconds.
const CYCLE_MAX_US: u64 = 10_000;
/// Shortest and longest time a shard stays awake behind a commit, in microseconds: a client that is
/// woken by the reply answers within the shortest.
const AWAKE_US: (u64, u64) = (60, 120);
/// Commits that take longer are waited for asleep, in microseconds.
const FAST_US: u64 = 300;
/// Commits that take longer are waited for asleep at first, in microseconds.
const SHORT_US: u64 = 200;

/// What the thread does while there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It sleeps until it is woken.
    Sleep,
    /// It sleeps until this time at most, in monotonic microseconds.
    Nap(u64),
    /// It stays awake until this time at most.
    Awake(u64),
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
    /// When the commit in flight that flushes began, if any waits for it.
    flushing_us: Option<u64>,
    /// Replies that wait for the commit in flight.
    taken: usize,
    /// Time in which one reply is set free on average, in nanoseconds.
    each_ns: u64,
    /// Replies that waited for the next commit when some were last set free.
    before: Option<usize>,
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
    /// Staying awake behind commits.
    wakes: Habit,
    /// Staying awake at all, where others do not want the core.
    alone: Habit,
}

impl Gather {
    /// A commit starts at this time, with `waiting` replies waiting for it.
    pub fn started(&mut self, waiting: usize, now_us: u64, flushes: bool) {
        self.arrived_us = None;
        self.taken = waiting;
        self.flushing_us = (flushes && waiting > 0).then_some(now_us);
        self.alone.left_out();
        match self.began_with.take() {
            None => self.waits.left_out(),
            Some(before) => {
                let gained = self.is_gain(waiting.saturating_sub(before));
                self.waits.paid(gained || self.is_enough(waiting, flushes));
            }
        }
    }

    /// What waited was written without a commit.
    pub fn skipped(&mut self) {
        self.arrived_us = None;
        self.began_with = None;
    }

    /// A commit has completed that took this long.
    pub fn completed(&mut self, took_us: u64) {
        self.took_us = took_us;
        self.flushing_us = None;
    }

    /// Replies have been set free; `in_play` were waiting until then, those included. `flushed`
    /// when what set them free was a flush.
    pub fn freed(&mut self, in_play: usize, now_us: u64, flushed: bool) {
        if !self.wakes.is_kept() {
            self.wakes.left_out();
        } else if flushed {
            let awake = (self.took_us / 4).clamp(AWAKE_US.0, AWAKE_US.1);
            self.awake_until_us = Some(now_us + awake);
        }
        self.note_speed(now_us.saturating_sub(self.since_us));
        self.in_play = in_play;
        self.since_us = now_us;
        self.before = None;
        self.waiting = 0;
        self.grew_us = now_us;
    }

    /// The commit's replies have been set free, so long after those of the one before.
    fn note_speed(&mut self, cycle_us: u64) {
        let taken = std::mem::take(&mut self.taken) as u64;
        if taken == 0 || cycle_us > CYCLE_MAX_US {
            return;
        }
        let each = cycle_us * 1000 / taken;
        self.each_ns = if self.each_ns == 0 { each } else { (7 * self.each_ns + each) / 8 };
    }

    /// Something waits for a commit.
    pub fn arrived(&mut self, now_us: u64) {
        self.arrived_us.get_or_insert(now_us);
        if self.awake_until_us.take().is_some() {
            self.wakes.paid(true);
        }
    }

    /// What the thread does when there is nothing to do; `gathering`: until when the next commit
    /// waits for more.
    pub fn rest(&mut self, now_us: u64, gathering: Option<u64>) -> Rest {
        let fast = self.took_us <= FAST_US && self.alone.is_kept();
        match self.awake_until_us {
            Some(until) if now_us >= until => {
                self.awake_until_us = None;
                self.wakes.paid(false);
            }
            Some(until) if self.alone.is_kept() => return Rest::Awake(until),
            _ => {}
        }
        match (gathering, self.flushing_us) {
            (Some(until), _) if fast && until <= now_us + FAST_US => Rest::Awake(until),
            (None, Some(began)) if fast && now_us < began + 2 * self.took_us => {
                match began + self.took_us / 2 {
                    half if now_us < half && self.took_us > SHORT_US => Rest::Nap(half),
                    _ => Rest::Awake(began + 2 * self.took_us),
                }
            }
            _ => Rest::Sleep,
        }
    }

    /// Whether replies wait for a commit that is in flight.
    pub fn is_flushing(&self) -> bool {
        self.flushing_us.is_some()
    }

    /// The thread has stayed awake for a while; `alone`: nobody else had its core meanwhile.
    pub fn stayed_awake(&mut self, alone: bool) {
        self.alone.paid(alone);
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
        if self.is_enough(waiting, flushes) {
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
        // In the turn of the release, what waits by now has come before it.
        let before = if now_us == self.since_us { waiting } else { 0 };
        let before = *self.before.get_or_insert(before);
        let came = waiting.saturating_sub(before) as u64;
        let window = match flushes {
            true => came * self.each_ns * 8 / FASTER / 1000,
            false => self.took_us,
        };
        let window = window.clamp(PAUSE_MIN_US, WINDOW_MAX_US);
        let pause = (self.took_us / 2).clamp(PAUSE_MIN_US, WINDOW_MAX_US);
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

    /// All that were in play, but for one in fifty; or, where a commit takes less than a third of a
    /// round, but for three quarters of those that come while it runs: their requests are looked
    /// at meanwhile, so that shard and disk are busy at once. Where it takes more, what it needs
    /// of this core stands in their way as often as they do in its.
    fn is_enough(&self, waiting: usize, flushes: bool) -> bool {
        let round_us = self.in_play as u64 * self.each_ns / 1000;
        let meanwhile = match flushes && self.took_us * 3 < round_us {
            true => (self.took_us * 750 / self.each_ns.max(1)) as usize,
            false => 0,
        };
        let missing = meanwhile.max(self.in_play / 50);
        waiting + missing >= self.in_play
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule whose last commit took 400 µs and ended at 1400 with `in_play` replies, after a round
    /// of 700 µs.
    fn after(in_play: usize) -> Gather {
        let mut gather = Gather { since_us: 700, ..Gather::default() };
        gather.started(in_play, 1000, true);
        gather.completed(400);
        gather.freed(in_play, 1400, true);
        gather
    }

    #[test]
    fn waits_for_as_many_as_before() {
        let mut gather = after(50);
        assert_eq!(gather.until(10, 1401, true, 0), Some(1524), "as fast as they come on average");
        assert_eq!(gather.until(40, 1500, true, 0), Some(1700), "but nothing more comes");
        assert_eq!(gather.until(49, 1510, true, 0), None);
        gather.started(49, 1510, true);
        gather.completed(400);
        gather.freed(50, 1910, true);
        assert!(gather.until(10, 1911, true, 0).is_some(), "it helped, so it is done again");
    }

    #[test]
    fn waits_no_longer_than_it_brings_something() {
        // One each 35 us on average: who comes as they would anyway is not waited for.
        let mut gather = after(20);
        assert_eq!(gather.until(8, 1400, true, 0), Some(1460), "came before, and says nothing");
        assert_eq!(gather.until(9, 1450, true, 0), Some(1460));
        assert_eq!(gather.until(9, 1460, true, 0), None);
        let mut gather = after(20);
        for (came, at) in [(0, 1400), (4, 1450), (8, 1500), (12, 1600)] {
            assert!(gather.until(came, at, true, 0).is_some(), "{came}");
        }
        assert_eq!(gather.until(13, 1978, true, 0), None);
    }

    #[test]
    fn a_fast_disk_is_not_kept_waiting_for_the_last() {
        let mut gather = after(200);
        gather.took_us = 100;
        // One each 3.5 us: three quarters of those that come during a commit are 21.
        assert!(gather.until(178, 1401, true, 0).is_some());
        assert_eq!(gather.until(179, 1401, true, 0), None);
        gather.took_us = 600;
        assert!(gather.until(195, 1401, true, 0).is_some(), "most of the round is the commit");
        assert_eq!(gather.until(196, 1401, true, 0), None);
        gather.took_us = 233;
        assert!(gather.until(150, 1401, true, 0).is_some());
        assert_eq!(gather.until(151, 1401, true, 0), None);
        gather.took_us = 234;
        assert!(gather.until(195, 1401, true, 0).is_some(), "more than a third");
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
        for step in 0..45 {
            let now = 1401 + step * 10;
            assert!(gather.until(2 + step as usize, now, true, 0).is_some_and(|t| t <= 2400));
        }
        assert_eq!(gather.until(47, 2400, true, 0), None, "the window is over");
        let mut gather = after(50);
        assert!(gather.until(30, 1401, true, 0).is_some());
        assert_eq!(gather.until(30, 1601, true, 0), None, "nothing more came");
    }

    #[test]
    fn naps_and_then_looks_out_for_a_commit() {
        let mut gather = after(1);
        gather.took_us = 220;
        gather.arrived(1410);
        gather.started(1, 1410, true);
        assert_eq!(gather.rest(1411, None), Rest::Nap(1520));
        assert_eq!(gather.rest(1520, None), Rest::Awake(1850));
        gather.took_us = 120;
        assert_eq!(gather.rest(1411, None), Rest::Awake(1650), "not worth a nap");
        assert_eq!(gather.rest(1650, None), Rest::Sleep, "something is wrong with the disk");
        gather.completed(130);
        gather.freed(1, 1540, true);
        assert_eq!(gather.rest(1541, None), Rest::Awake(1600), "for the next write");
        assert_eq!(gather.rest(1600, None), Rest::Sleep);
        assert_eq!(gather.rest(1600, Some(1650)), Rest::Awake(1650), "for more to commit");
        assert_eq!(gather.rest(1600, Some(2000)), Rest::Sleep, "that may be long");
        // Nobody waits for it, it flushes nothing, or the disk is slow.
        for (waiting, flushes, took) in [(0, true, 120), (1, false, 120), (1, true, 900)] {
            gather.took_us = took;
            gather.started(waiting, 2000, flushes);
            assert_eq!(gather.rest(2200, None), Rest::Sleep);
        }
    }

    #[test]
    fn a_core_that_others_want_is_left_to_them() {
        let mut gather = after(1);
        let mut spent = 0;
        for _ in 0..1000 {
            gather.took_us = 120;
            gather.started(1, 2000, true);
            if gather.rest(2100, None) != Rest::Sleep {
                spent += 1;
                gather.stayed_awake(false);
            }
            assert_eq!(gather.rest(2100, None), Rest::Sleep);
            gather.completed(120);
        }
        assert!((8..30).contains(&spent), "{spent} of 1000 times");
    }

    #[test]
    fn stays_awake_as_long_as_it_pays() {
        let mut gather = after(1);
        assert_eq!(gather.rest(1499, None), Rest::Awake(1500), "a quarter of 400 us");
        assert_eq!(gather.rest(1500, None), Rest::Sleep);
        let mut spent = 0;
        for _ in 0..1000 {
            gather.freed(1, 2000, true);
            spent += u32::from(gather.rest(2001, None) != Rest::Sleep);
            gather.rest(3000, None);
        }
        assert!((8..30).contains(&spent), "{spent} of 1000 times");
        for _ in 0..100 {
            gather.freed(1, 2000, true);
            gather.arrived(2000);
        }
        gather.freed(1, 2000, true);
        assert_ne!(gather.rest(2001, None), Rest::Sleep, "it has begun to pay again");
        gather.arrived(2000);
        gather.freed(1, 2000, false);
        assert_eq!(
            gather.rest(2001, None),
            Rest::Sleep,
            "a write into the page cache is no commit"
        );
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
            gather.started(10, now, true);
            now += 400;
            gather.completed(400);
            gather.freed(50, now, true);
        }
        assert!((8..30).contains(&waits), "{waits} of 1000 commits waited");
    }
}
