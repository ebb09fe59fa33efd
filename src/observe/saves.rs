//! What is known of snapshots, for INFO and LASTSAVE, and when the next is due by itself.
//!
//! As in Redis a SAVE, which a client waits for, has no part in the verdict of the last background
//! save unless it succeeds: then there is nothing left to complain of.
//!
//! *Who learns of an end may begin the next at once.* An end shows in several places: the time of
//! LASTSAVE, the status, `rdb_bgsave_in_progress`. [`Saves::finish`] sets them all inside the gate
//! that [`Saves::begin`] passes as well, `in_progress` last. So whoever has seen the new time
//! begins behind the rest of it, and whoever sees that none goes on sees how the last has ended.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::SavePoint;
use crate::observe::progress::Progress;

/// Seconds from the begin of a background save that failed to the next by itself.
const RETRY: i64 = 5;

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
    /// Something went wrong in the background.
    Failed,
    /// Somebody wanted it so, or is told: that it came to nothing is no verdict.
    Untold,
}

/// Snapshots of this process.
#[derive(Debug)]
pub struct Saves {
    in_progress: AtomicBool,
    /// The log is being rewritten: the same walk for another file.
    rewriting: AtomicBool,
    /// A client has asked for one behind the rewrite under way.
    scheduled: AtomicBool,
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
    gate: Mutex<Option<End>>,
    /// What the one in progress has done so far.
    pub progress: Progress,
}

impl Saves {
    /// None yet, of a process started at `started`, in Unix seconds.
    pub fn new(started: i64) -> Saves {
        Saves {
            in_progress: AtomicBool::new(false),
            rewriting: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            began: AtomicI64::new(0),
            last: AtomicI64::new(started),
            failed: AtomicBool::new(false),
            seconds: AtomicI64::new(-1),
            count: AtomicU64::new(0),
            dirty: AtomicU64::new(0),
            gate: Mutex::new(None),
            progress: Progress::default(),
        }
    }

    /// Claims the right to begin one at `now`, in Unix seconds; false while another goes on, or the
    /// log is being rewritten.
    pub fn begin(&self, now: i64) -> bool {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let free = !self.is_rewriting() && !self.in_progress.swap(true, SeqCst);
        if free {
            self.began.store(now, Relaxed);
            self.progress.begin();
        }
        free
    }

    /// Claims the right to rewrite the log, which is the same walk; false while either goes on.
    pub fn begin_rewrite(&self) -> bool {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        !self.in_progress() && !self.rewriting.swap(true, SeqCst)
    }

    /// Nothing of the rewrite is left; `told` puts it on record in front of that.
    pub fn end_rewrite(&self, told: impl FnOnce()) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.progress.end();
        told();
        self.rewriting.store(false, SeqCst);
    }

    /// Whether the log is being rewritten.
    pub fn is_rewriting(&self) -> bool {
        self.rewriting.load(SeqCst)
    }

    /// One is to begin as soon as it can.
    pub fn schedule(&self) {
        self.scheduled.store(true, Relaxed);
    }

    /// Whether one is to begin as soon as it can.
    pub fn is_scheduled(&self) -> bool {
        self.scheduled.load(Relaxed)
    }

    /// None is to begin any more; whether one was.
    pub fn unschedule(&self) -> bool {
        self.scheduled.swap(false, Relaxed)
    }

    /// How the one in progress will have ended, when nothing of it is left.
    pub fn note(&self, end: End) {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    /// What was noted of the one in progress.
    pub fn noted(&self) -> End {
        let mut noted = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        noted.take().unwrap_or(End::Untold)
    }

    /// The one that has begun counts among those of INFO: a save point or a client asked for it.
    pub fn count_it(&self) {
        self.count.fetch_add(1, Relaxed);
    }

    /// The rewrite under way has left a file like that of a save that ended at `at`, in Unix
    /// seconds, with so many changes since the start. For the rewrite, before it has ended.
    pub fn served(&self, at: i64, dirty: u64) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.set_saved(at, dirty);
    }

    fn set_saved(&self, at: i64, dirty: u64) {
        self.dirty.store(dirty, Relaxed);
        self.failed.store(false, Relaxed);
        self.last.store(at, Relaxed);
    }

    /// It has ended like this, and nothing of it is left: the next may begin. `took`: that long, in
    /// the background.
    pub fn finish(&self, end: End, took: Option<Duration>) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(took) = took {
            self.seconds.store(took.as_secs() as i64, Relaxed);
        }
        match end {
            End::Saved { at, dirty } => self.set_saved(at, dirty),
            End::Failed => self.failed.store(true, Relaxed),
            End::Untold => {}
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

    /// Whether the last in the background failed, and none has succeeded since.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// How the last in the background ended.
    pub fn status(&self) -> &'static str {
        if self.failed.load(Relaxed) { "err" } else { "ok" }
    }

    /// How long the last in the background took, in seconds; -1: there was none.
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

    /// How many have begun because a save point or a client asked for them.
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

    /// The save point that asks for a snapshot at `now`, in Unix seconds, when there were `dirty`
    /// changes since the start; none while one goes on or has just failed.
    pub fn due(&self, points: &[SavePoint], now: i64, dirty: u64) -> Option<SavePoint> {
        let walks = self.in_progress() || self.is_rewriting();
        if walks || self.has_failed() && now - self.began.load(Relaxed) <= RETRY {
            return None;
        }
        let (changes, passed) = (self.changes(dirty), now - self.last());
        let reached = |point: &&SavePoint| changes >= point.changes && passed > point.seconds;
        points.iter().find(reached).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_what_it_holds() {
        let saves = Saves::new(100);
        assert_eq!((saves.last(), saves.status(), saves.last_seconds()), (100, "ok", -1));
        saves.count_it();
        assert!(saves.begin(110) && !saves.begin(111) && saves.in_progress());
        assert_eq!((saves.current_seconds(115), saves.changes(7)), (5, 7));
        saves.finish(End::Saved { at: 116, dirty: 5 }, Some(Duration::from_secs(6)));
        assert_eq!(saves.last_seconds(), 6);
        assert_eq!((saves.last(), saves.changes(7), saves.count()), (116, 2, 1));
        saves.reset_count();
        assert_eq!((saves.count(), saves.last()), (0, 116));
        assert!(saves.begin(120));
        saves.finish(End::Failed, Some(Duration::from_secs(1)));
        assert_eq!((saves.status(), saves.last(), saves.current_seconds(130)), ("err", 116, -1));
        assert!(saves.begin(140));
        // A SAVE, behind which all is well again, and which took nobody's time.
        saves.finish(End::Saved { at: 141, dirty: 9 }, None);
        assert_eq!((saves.status(), saves.last_seconds()), ("ok", 1));
    }

    #[test]
    fn save_points_ask_for_a_snapshot() {
        let points = [(60, 1), (10, 100)].map(|(seconds, changes)| SavePoint { seconds, changes });
        let saves = Saves::new(1000);
        let due = |now, dirty| saves.due(&points, now, dirty).map(|point| point.seconds);
        assert_eq!((due(1060, 5), due(1061, 0), due(1061, 5)), (None, None, Some(60)));
        assert_eq!((due(1010, 500), due(1011, 99), due(1011, 100)), (None, None, Some(10)));
        assert_eq!(saves.due(&[], 9999, 9999), None);
        assert!(saves.begin(1011));
        assert_eq!(due(9999, 9999), None, "one goes on");
        saves.finish(End::Failed, Some(Duration::ZERO));
        assert_eq!((due(1016, 100), due(1017, 100)), (None, Some(10)), "not at once again");
        assert!(saves.begin(1017));
        saves.finish(End::Saved { at: 1018, dirty: 90 }, Some(Duration::ZERO));
        assert_eq!((due(1078, 100), due(1079, 100)), (None, Some(60)));
        assert_eq!((due(1029, 189), due(1029, 190)), (None, Some(10)));
        let always = [SavePoint { seconds: 1, changes: 0 }];
        assert_eq!(saves.due(&always, 1020, 90), Some(always[0]));
    }

    #[test]
    fn a_cancelled_one_leaves_the_verdict_on_the_last() {
        let saves = Saves::new(100);
        for (verdict, end) in [("ok", End::Saved { at: 105, dirty: 1 }), ("err", End::Failed)] {
            assert!(saves.begin(110));
            saves.finish(end, Some(Duration::ZERO));
            assert!(saves.begin(120) && saves.progress.cancel());
            saves.finish(End::Untold, Some(Duration::from_secs(3)));
            assert_eq!((saves.status(), saves.last_seconds()), (verdict, 3));
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
                    saves.finish(End::Saved { at, dirty: 0 }, Some(Duration::ZERO));
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
                saves.finish(End::Saved { at: -1, dirty: 0 }, Some(Duration::ZERO));
            }
        });
    }
}
