//! What is known of rewrites of the log, for INFO, and when the next is due by itself.
//!
//! A rewrite and a snapshot are one walk through the data at different times: who begins either
//! passes the gate of [`Saves`](crate::observe::saves::Saves).

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many failures in a row, and the next by itself has to wait.
const FAILURES_MAX: u64 = 3;
/// The longest wait, in minutes.
const WAIT_MAX: i64 = 60;

/// Rewrites of this process.
#[derive(Debug)]
pub struct Rewrites {
    scheduled: AtomicBool,
    /// When the one under way began, in Unix seconds; -1: there is none.
    began: AtomicI64,
    /// The last one that began is one of a log, and of no use without.
    of_log: AtomicBool,
    /// How long the last one took, in seconds; -1: there was none.
    seconds: AtomicI64,
    failed: AtomicBool,
    count: AtomicU64,
    /// Failures since the last success.
    failures: AtomicU64,
    /// Most bytes of copies during the last one.
    kept_peak: AtomicU64,
    /// Size of the log behind the last one, or at the start, in bytes.
    base_size: AtomicU64,
    wait: Mutex<Wait>,
}

/// How long failures keep rewrites back.
#[derive(Debug, Default)]
struct Wait {
    minutes: i64,
    /// Until when, in Unix seconds.
    until: Option<i64>,
}

impl Default for Rewrites {
    fn default() -> Self {
        Rewrites {
            scheduled: AtomicBool::new(false),
            began: AtomicI64::new(-1),
            of_log: AtomicBool::new(false),
            seconds: AtomicI64::new(-1),
            failed: AtomicBool::new(false),
            count: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            kept_peak: AtomicU64::new(0),
            base_size: AtomicU64::new(0),
            wait: Mutex::default(),
        }
    }
}

impl Rewrites {
    /// One begins at `now`, in Unix seconds; `of_log`: it is of no use without a log.
    pub fn begin(&self, now: i64, of_log: bool) {
        self.count.fetch_add(1, SeqCst);
        self.of_log.store(of_log, SeqCst);
        self.began.store(now, SeqCst);
        // Last, so that whoever sees neither that it is scheduled nor that it goes on sees its end.
        self.scheduled.store(false, SeqCst);
    }

    /// It has ended; `took`: that long. `ok` is `None` where nobody is to be blamed for it.
    pub fn end(&self, ok: Option<bool>, took: Duration, kept_peak: u64) {
        if let Some(ok) = ok {
            self.failed.store(!ok, Relaxed);
            match ok {
                true => self.failures.store(0, Relaxed),
                false => drop(self.failures.fetch_add(1, Relaxed)),
            }
        }
        self.kept_peak.store(kept_peak, Relaxed);
        self.seconds.store(took.as_secs() as i64, Relaxed);
        self.began.store(-1, Relaxed);
    }

    /// One is to begin as soon as it can; `asked`: by a client, for whom failures do not count.
    pub fn schedule(&self, asked: bool) {
        self.scheduled.store(true, Relaxed);
        if asked {
            self.failures.store(0, Relaxed);
        }
    }

    /// None is to begin any more.
    pub fn unschedule(&self) {
        self.scheduled.store(false, Relaxed);
    }

    /// Whether one is to begin as soon as it can.
    pub fn is_scheduled(&self) -> bool {
        self.scheduled.load(Relaxed)
    }

    /// Whether one goes on.
    pub fn in_progress(&self) -> bool {
        self.began.load(Relaxed) >= 0
    }

    /// Whether the last one that began is of no use without a log.
    pub fn is_of_log(&self) -> bool {
        self.of_log.load(SeqCst)
    }

    /// How long the one under way has taken at `now` in Unix seconds; -1: there is none.
    pub fn current_seconds(&self, now: i64) -> i64 {
        match self.began.load(Relaxed) {
            -1 => -1,
            began => (now - began).max(0),
        }
    }

    /// How long the last one took, in seconds; -1: there was none.
    pub fn last_seconds(&self) -> i64 {
        self.seconds.load(Relaxed)
    }

    /// How the last one ended.
    pub fn status(&self) -> &'static str {
        if self.failed.load(Relaxed) { "err" } else { "ok" }
    }

    /// How many have begun.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Counts from 0 again (CONFIG RESETSTAT).
    pub fn reset_count(&self) {
        self.count.store(0, Relaxed);
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Most bytes of copies during the last one.
    pub fn kept_peak(&self) -> u64 {
        self.kept_peak.load(Relaxed)
    }

    /// Size of the log behind the last one, or at the start, in bytes.
    pub fn base_size(&self) -> u64 {
        self.base_size.load(Relaxed)
    }

    /// Notes that size.
    pub fn set_base_size(&self, bytes: u64) {
        self.base_size.store(bytes, Relaxed);
    }

    /// By how many percent a log of `size` bytes has grown, when that is worth a rewrite: at least
    /// `percentage` (0: never), and more than `min_size` bytes.
    pub fn growth(&self, size: u64, percentage: u32, min_size: u64) -> Option<u64> {
        if percentage == 0 || size <= min_size {
            return None;
        }
        let base = u128::from(self.base_size().max(1));
        let growth = (u128::from(size) * 100 / base).saturating_sub(100);
        let growth = u64::try_from(growth).unwrap_or(u64::MAX);
        (growth >= u64::from(percentage)).then_some(growth)
    }

    /// Whether failures keep the next back at `now`, in Unix seconds; with how many minutes it is
    /// to wait, when that has just been found out. They are 1, 2, 4, … up to 60.
    pub fn keeps_back(&self, now: i64) -> (bool, Option<i64>) {
        let mut wait = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        if self.failures() < FAILURES_MAX {
            *wait = Wait::default();
            return (false, None);
        }
        match wait.until {
            Some(until) if now < until => (true, None),
            Some(_) => {
                wait.until = None;
                (false, None)
            }
            None => {
                wait.minutes = (wait.minutes * 2).clamp(1, WAIT_MAX);
                wait.until = Some(now + wait.minutes * 60);
                (true, Some(wait.minutes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_info_tells_of_one() {
        let rewrites = Rewrites::default();
        assert_eq!((rewrites.last_seconds(), rewrites.current_seconds(5)), (-1, -1));
        rewrites.schedule(true);
        assert!(rewrites.is_scheduled() && !rewrites.in_progress());
        rewrites.begin(100, true);
        assert!(!rewrites.is_scheduled() && rewrites.in_progress());
        assert_eq!((rewrites.current_seconds(103), rewrites.count()), (3, 1));
        rewrites.end(Some(false), Duration::from_secs(4), 7);
        assert_eq!(
            (rewrites.status(), rewrites.failures(), rewrites.last_seconds()),
            ("err", 1, 4)
        );
        rewrites.begin(110, true);
        rewrites.end(None, Duration::from_secs(1), 0);
        assert_eq!((rewrites.status(), rewrites.failures()), ("err", 1));
        rewrites.begin(120, true);
        rewrites.end(Some(true), Duration::from_secs(2), 9);
        assert_eq!((rewrites.status(), rewrites.failures(), rewrites.kept_peak()), ("ok", 0, 9));
        assert_eq!((rewrites.current_seconds(130), rewrites.count()), (-1, 3));
    }

    #[test]
    fn growth_beyond_the_base() {
        let rewrites = Rewrites::default();
        assert_eq!(rewrites.growth(1000, 100, 1000), None);
        assert_eq!(rewrites.growth(1001, 0, 1000), None);
        assert!(rewrites.growth(1001, 100, 1000).is_some(), "there was nothing before");
        rewrites.set_base_size(2000);
        assert_eq!(rewrites.growth(3999, 100, 1000), None);
        assert_eq!(rewrites.growth(4000, 100, 1000), Some(100));
        assert_eq!(rewrites.growth(1500, 100, 1000), None);
        assert_eq!(rewrites.growth(u64::MAX, 100, 1000).map(|g| g > 1_000_000), Some(true));
    }

    #[test]
    fn three_failures_keep_the_next_back() {
        let rewrites = Rewrites::default();
        let fail = || rewrites.end(Some(false), Duration::ZERO, 0);
        fail();
        fail();
        assert_eq!(rewrites.keeps_back(0), (false, None));
        fail();
        let mut now = 0;
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(rewrites.keeps_back(now), (true, Some(minutes)));
            assert_eq!(rewrites.keeps_back(now + minutes * 60 - 1), (true, None));
            now += minutes * 60;
            assert_eq!(rewrites.keeps_back(now), (false, None));
            fail();
        }
        // Whoever asks for one is not kept back.
        rewrites.schedule(true);
        assert_eq!(rewrites.keeps_back(now), (false, None));
        for _ in 0..3 {
            fail();
        }
        assert_eq!(rewrites.keeps_back(now), (true, Some(1)));
    }
}
