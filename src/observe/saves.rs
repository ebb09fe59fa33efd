//! What is known of snapshots, for INFO and LASTSAVE.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

/// Snapshots of this process.
#[derive(Debug)]
pub struct Saves {
    in_progress: AtomicBool,
    /// When the one in progress began, in Unix seconds.
    began: AtomicI64,
    /// When the last that succeeded ended, or the start, in Unix seconds.
    last: AtomicI64,
    failed: AtomicBool,
    /// How long the last took, in seconds; -1: there was none.
    seconds: AtomicI64,
    count: AtomicU64,
    /// Changes that the last one holds, since the start.
    dirty: AtomicU64,
}

impl Saves {
    /// None yet, of a process started at `started`, in Unix seconds.
    pub fn new(started: i64) -> Saves {
        Saves {
            in_progress: AtomicBool::new(false),
            began: AtomicI64::new(0),
            last: AtomicI64::new(started),
            failed: AtomicBool::new(false),
            seconds: AtomicI64::new(-1),
            count: AtomicU64::new(0),
            dirty: AtomicU64::new(0),
        }
    }

    /// Claims the right to begin one at `now`, in Unix seconds; false while another goes on.
    pub fn begin(&self, now: i64) -> bool {
        let free = !self.in_progress.swap(true, SeqCst);
        if free {
            self.began.store(now, Relaxed);
        }
        free
    }

    /// It has succeeded at `now`, in Unix seconds, and holds so many changes since the start.
    pub fn saved(&self, now: i64, dirty: u64, took: Duration) {
        self.last.store(now, Relaxed);
        self.dirty.store(dirty, Relaxed);
        self.failed.store(false, Relaxed);
        self.seconds.store(took.as_secs() as i64, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// It has failed.
    pub fn failed(&self, took: Duration) {
        self.failed.store(true, Relaxed);
        self.seconds.store(took.as_secs() as i64, Relaxed);
    }

    /// Nothing of it is left.
    pub fn end(&self) {
        self.in_progress.store(false, SeqCst);
    }

    /// Whether one goes on.
    pub fn in_progress(&self) -> bool {
        self.in_progress.load(SeqCst)
    }

    /// When the last that succeeded ended, or the start, in Unix seconds.
    pub fn last(&self) -> i64 {
        self.last.load(Relaxed)
    }

    /// How the last ended.
    pub fn status(&self) -> &'static str {
        if self.failed.load(Relaxed) { "err" } else { "ok" }
    }

    /// How long the last took, in seconds; -1: there was none.
    pub fn last_seconds(&self) -> i64 {
        self.seconds.load(Relaxed)
    }

    /// How long the one in progress has taken, at `now` in Unix seconds; -1: there is none.
    pub fn current_seconds(&self, now: i64) -> i64 {
        match self.in_progress() {
            true => (now - self.began.load(Relaxed)).max(0),
            false => -1,
        }
    }

    /// How many have succeeded.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Of `dirty` changes since the start, how many the last one does not hold.
    pub fn changes(&self, dirty: u64) -> u64 {
        dirty.saturating_sub(self.dirty.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_what_it_holds() {
        let saves = Saves::new(100);
        assert_eq!((saves.last(), saves.status(), saves.last_seconds()), (100, "ok", -1));
        assert!(saves.begin(110) && !saves.begin(111) && saves.in_progress());
        assert_eq!((saves.current_seconds(115), saves.changes(7)), (5, 7));
        saves.saved(116, 5, Duration::from_secs(6));
        saves.end();
        assert_eq!((saves.last(), saves.changes(7), saves.count()), (116, 2, 1));
        assert!(saves.begin(120));
        saves.failed(Duration::from_secs(1));
        saves.end();
        assert_eq!((saves.status(), saves.last(), saves.current_seconds(130)), ("err", 116, -1));
    }
}
