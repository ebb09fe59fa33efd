//! What the snapshot under way has done so far, and whether it is to come to its end.
//!
//! *Either cancelled or there.* Whoever cancels and whoever is about to give the file its name take
//! the same word, once each, from *under way* to their own: [`Progress::cancel`] and
//! [`Progress::commit`]. So a client that was told of a cancellation finds the old file, whatever
//! the writer was doing, and a file that has its name can no longer be cancelled.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// There is none.
const IDLE: u8 = 0;
/// It may be cancelled.
const UNDER_WAY: u8 = 1;
/// Nothing will come of it.
const CANCELLED: u8 = 2;
/// Its file takes the old one's place.
const COMMITTED: u8 = 3;

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Progress {
    stage: AtomicU8,
    /// Keys it is to hold.
    keys_total: AtomicU64,
    /// Keys handed to the writer.
    keys: AtomicU64,
    /// Most bytes of copies so far.
    kept_peak: AtomicU64,
    /// The same of the last one, when it ended.
    last_kept_peak: AtomicU64,
}

impl Progress {
    /// Another one begins.
    pub(super) fn begin(&self) {
        self.stage.store(UNDER_WAY, SeqCst);
    }

    /// Nothing of it is left.
    pub(super) fn end(&self) {
        self.last_kept_peak.store(self.kept_peak.swap(0, Relaxed), Relaxed);
        self.keys.store(0, Relaxed);
        self.keys_total.store(0, Relaxed);
        self.stage.store(IDLE, SeqCst);
    }

    /// Cancels it; false when none goes on, or it is too late.
    pub fn cancel(&self) -> bool {
        self.stage.compare_exchange(UNDER_WAY, CANCELLED, SeqCst, SeqCst).is_ok()
    }

    /// Whether it has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.stage.load(SeqCst) == CANCELLED
    }

    /// Claims the right to put the new file in the old one's place; false: it has been cancelled.
    pub fn commit(&self) -> bool {
        self.stage.compare_exchange(UNDER_WAY, COMMITTED, SeqCst, SeqCst).is_ok()
    }

    /// How many keys it is to hold.
    pub fn set_total(&self, keys: u64) {
        self.keys_total.store(keys, Relaxed);
    }

    /// So many keys have been handed over in all; and copies of so many bytes are held.
    pub fn note(&self, keys: u64, kept: u64) {
        self.keys.fetch_max(keys, Relaxed);
        self.kept_peak.fetch_max(kept, Relaxed);
    }

    /// Keys that the one under way has handed over, and is to hold; 0 of 0: there is none.
    pub fn keys(&self) -> (u64, u64) {
        (self.keys.load(Relaxed), self.keys_total.load(Relaxed))
    }

    /// Most bytes that copies of what changed took during the one under way; 0: there is none.
    pub fn kept_peak(&self) -> u64 {
        self.kept_peak.load(Relaxed)
    }

    /// The same of the last one.
    pub fn last_kept_peak(&self) -> u64 {
        self.last_kept_peak.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_cancelled_or_committed_and_never_before_it_begins() {
        let progress = Progress::default();
        assert!(!progress.cancel() && !progress.commit());
        progress.begin();
        assert!(progress.cancel() && progress.is_cancelled());
        assert!(!progress.cancel() && !progress.commit());
        progress.end();
        assert!(!progress.is_cancelled() && !progress.cancel());
        progress.begin();
        assert!(progress.commit() && !progress.cancel() && !progress.is_cancelled());
    }

    #[test]
    fn what_it_has_done_is_forgotten_with_it() {
        let progress = Progress::default();
        progress.begin();
        progress.set_total(10);
        progress.note(7, 300);
        progress.note(4, 100);
        assert_eq!((progress.keys(), progress.kept_peak()), ((7, 10), 300));
        progress.end();
        assert_eq!((progress.keys(), progress.kept_peak()), ((0, 0), 0));
        assert_eq!(progress.last_kept_peak(), 300);
    }
}
