//! What is known of snapshots, for INFO and LASTSAVE.
//!
//! *Who learns of an end may begin the next at once.* An end shows in several places: the time of
//! LASTSAVE, the status, `rdb_bgsave_in_progress`. [`Saves::finish`] sets them all inside the gate
//! that [`Saves::begin`] passes as well, `in_progress` last. So whoever has seen the new time
//! begins behind the rest of it, and whoever sees that none goes on sees how the last has ended.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::observe::progress::Progress;

/// How a snapshot has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The file is there, and durable.
    Saved {
        /// When, in Unix seconds.
        at: i64,
        /// Changes that it holds, since the start.
        dirty: u64,
    },
    /// Something went wrong.
    Failed,
    /// Somebody wanted it so: nothing went wrong.
    Cancelled,
}

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
    /// Held by whoever begins or ends one.
    gate: Mutex<()>,
    /// What the one in progress has done so far.
    pub progress: Progress,
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
            gate: Mutex::new(()),
            progress: Progress::default(),
        }
    }

    /// Claims the right to begin one at `now`, in Unix seconds; false while another goes on.
    pub fn begin(&self, now: i64) -> bool {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let free = !self.in_progress.swap(true, SeqCst);
        if free {
            self.began.store(now, Relaxed);
            self.progress.begin();
        }
        free
    }

    /// It has ended like this, and nothing of it is left: the next may begin.
    pub fn finish(&self, end: End, took: Duration) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.seconds.store(took.as_secs() as i64, Relaxed);
        match end {
            End::Saved { at, dirty } => {
                self.dirty.store(dirty, Relaxed);
                self.failed.store(false, Relaxed);
                self.count.fetch_add(1, Relaxed);
                self.last.store(at, Relaxed);
            }
            End::Failed => self.failed.store(true, Relaxed),
            End::Cancelled => {}
        }
        self.progress.end();
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

    /// Counts from 0 again (CONFIG RESETSTAT).
    pub fn reset_count(&self) {
        self.count.store(0, Relaxed);
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
        saves.finish(End::Saved { at: 116, dirty: 5 }, Duration::from_secs(6));
        assert_eq!((saves.last(), saves.changes(7), saves.count()), (116, 2, 1));
        saves.reset_count();
        assert_eq!((saves.count(), saves.last()), (0, 116));
        assert!(saves.begin(120));
        saves.finish(End::Failed, Duration::from_secs(1));
        assert_eq!((saves.status(), saves.last(), saves.current_seconds(130)), ("err", 116, -1));
    }

    #[test]
    fn a_cancelled_one_leaves_the_verdict_on_the_last() {
        let saves = Saves::new(100);
        for (verdict, end) in [("ok", End::Saved { at: 105, dirty: 1 }), ("err", End::Failed)] {
            assert!(saves.begin(110));
            saves.finish(end, Duration::ZERO);
            assert!(saves.begin(120) && saves.progress.cancel());
            saves.finish(End::Cancelled, Duration::from_secs(3));
            assert_eq!((saves.status(), saves.last_seconds(), saves.count()), (verdict, 3, 1));
            assert!(!saves.in_progress() && saves.last() == 105);
        }
    }

    #[test]
    fn who_sees_an_end_may_begin() {
        let saves = Saves::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for at in 1..=2_000 {
                    while !saves.begin(at) {
                        std::thread::yield_now();
                    }
                    saves.finish(End::Saved { at, dirty: 0 }, Duration::ZERO);
                    // Until the other has had its own.
                    while saves.last() == at {
                        std::thread::yield_now();
                    }
                }
            });
            for at in 1..=2_000 {
                while saves.last() != at {
                    std::thread::yield_now();
                }
                assert!(saves.begin(at), "the end of the one before was to be seen");
                saves.finish(End::Saved { at: -1, dirty: 0 }, Duration::ZERO);
            }
        });
    }
}
