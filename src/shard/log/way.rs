//! How a frame over filler is made durable: by its write itself ([`Flush::Own`]), or by a flush
//! behind its write ([`Flush::File`]).
//!
//! The first is one operation and takes less. But where a disk needs a flush behind each write, the
//! kernel begins it on a worker of the core that has the disk's interrupts; while some other
//! process is busy there, that worker waits until the scheduler looks again: 4 ms instead of 65 us.
//! A flush that we ask for is begun by a worker of this shard's core, whoever keeps the others
//! busy. (`perf/notes.md` has the figures.)
//!
//! So what both take is remembered, when they are quick: both have to wait now and then, for filler
//! that is being written, say. Writes flush themselves unless that takes more than [`WORSE`] times
//! as long. The other way is tried when two in a row took suspiciously long, and after a number of
//! commits that doubles each time: a trial beside a busy core costs ticks.

use crate::persist::disk::Flush;

/// So many times as long a write may take that flushes itself.
const WORSE: u64 = 2;
/// What is suspicious while nothing is known of the other way, in microseconds.
const SUSPECT_US: u64 = 1_000;
/// The same in times of what the other way takes.
const SUSPECT_TIMES: u64 = 4;
/// Commits of a trial, of which the quickest counts.
const TRIAL: u32 = 4;
/// Commits between two trials, at first and at most.
const PAUSE: (u32, u32) = (256, 1 << 16);

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Way {
    /// What a quick commit takes each way, in microseconds; 0: not known.
    took_us: [u64; 2],
    /// Which is in use: 0 is by itself, 1 behind it.
    used: usize,
    /// Suspiciously long ones in a row.
    slow: u32,
    /// Commits left of a trial of the other way, and what the quickest so far took.
    trial: u32,
    tried_us: u64,
    /// Commits until the next, and how many there will be behind that.
    left: u32,
    pause: u32,
}

impl Default for Way {
    fn default() -> Self {
        let (left, pause) = (PAUSE.0, PAUSE.0);
        Way { took_us: [0; 2], used: 0, slow: 0, trial: 0, tried_us: 0, left, pause }
    }
}

impl Way {
    /// How the next frame is to be flushed.
    pub(super) fn next(&self) -> Flush {
        match self.used ^ usize::from(self.trial > 0) {
            0 => Flush::Own,
            _ => Flush::File,
        }
    }

    /// One that was flushed like this took so long.
    pub(super) fn took(&mut self, flush: Flush, us: u64) {
        let (way, us) = (usize::from(flush == Flush::File), us.max(1));
        if way != self.used {
            return self.tried(us);
        }
        let quick = &mut self.took_us[way];
        // Quickly down, slowly up.
        *quick = match *quick {
            0 => us,
            known if us < known => (known + us) / 2,
            known => known + (us - known).div_ceil(16),
        };
        let other = self.took_us[1 - way];
        let suspect = if other == 0 { SUSPECT_US } else { other * SUSPECT_TIMES };
        self.slow = if us > suspect { self.slow + 1 } else { 0 };
        self.left = self.left.saturating_sub(1);
        if self.trial == 0 && (self.slow == 2 || self.left == 0) {
            (self.trial, self.tried_us) = (TRIAL, u64::MAX);
        }
    }

    fn tried(&mut self, us: u64) {
        if self.trial == 0 {
            return;
        }
        self.trial -= 1;
        self.tried_us = self.tried_us.min(us);
        if self.trial > 0 {
            return;
        }
        self.took_us[1 - self.used] = self.tried_us;
        self.used = usize::from(self.took_us[0] > self.took_us[1] * WORSE);
        self.slow = 0;
        self.pause = (self.pause * 2).min(PAUSE.1);
        self.left = self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits of which each way takes so long; how many went behind the write, and the time.
    fn run(way: &mut Way, commits: u32, own_us: u64, behind_us: u64) -> (u32, u64) {
        run_by(way, commits, |flush| if flush == Flush::File { behind_us } else { own_us })
    }

    /// The same where what a commit takes is no constant.
    fn run_by(way: &mut Way, commits: u32, mut takes: impl FnMut(Flush) -> u64) -> (u32, u64) {
        let (mut behind, mut sum) = (0, 0);
        for _ in 0..commits {
            let flush = way.next();
            let us = takes(flush);
            behind += u32::from(flush == Flush::File);
            sum += us;
            way.took(flush, us);
        }
        (behind, sum)
    }

    #[test]
    fn a_busy_core_is_gone_around_and_come_back_to() {
        let mut way = Way::default();
        let (behind, _) = run(&mut way, 10_000, 65, 75);
        assert!((1..40).contains(&behind), "only tried: {behind}");
        // Somebody keeps the other core busy.
        let (behind, took) = run(&mut way, 10_000, 4_000, 75);
        assert!(behind > 9_950, "{behind}");
        assert!(took < 10_000 * 75 + 50 * 4_000, "{took}");
        // And stops.
        run(&mut way, 1 << 17, 65, 75);
        assert_eq!(way.next(), Flush::Own);
    }

    #[test]
    fn from_the_first_commit_on_and_for_good() {
        let mut way = Way::default();
        let (behind, _) = run(&mut way, 1_000, 4_000, 75);
        assert!(behind > 980, "{behind}");
        let (behind, _) = run(&mut way, 1 << 20, 4_000, 75);
        assert!(behind > (1 << 20) - 120, "tried less and less often: {behind}");
    }

    #[test]
    fn waits_that_both_ways_meet_hide_nothing() {
        let mut way = Way::default();
        let mut random = crate::base::random::Random::new(3);
        let (behind, _) = run_by(&mut way, 2_000, |flush| {
            let held_up = random.one_in(2);
            if flush == Flush::Own || held_up { 4_000 } else { 300 }
        });
        assert!(behind > 1_900, "{behind}");
    }

    #[test]
    fn a_core_that_is_busy_most_of_the_time_is_not_tried_all_the_time() {
        let mut way = Way::default();
        let mut random = crate::base::random::Random::new(5);
        let (_, sum) = run_by(&mut way, 100_000, |flush| {
            let waits = flush == Flush::Own && !random.one_in(8);
            if waits { 4_000 } else { 70 }
        });
        assert!(sum < 100_000 * 75, "{sum}");
    }

    #[test]
    fn a_disk_that_is_slow_either_way_changes_nothing() {
        let mut way = Way::default();
        run(&mut way, 1_000, 9_000, 9_000);
        assert_eq!(way.next(), Flush::Own);
        // One long commit now and then is no reason.
        for _ in 0..1_000 {
            run(&mut way, 20, 65, 75);
            let flush = way.next();
            way.took(flush, 30_000);
        }
        let (behind, _) = run(&mut way, 200, 65, 75);
        assert!(behind <= 2 * TRIAL, "{behind}");
    }
}
