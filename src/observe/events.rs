//! The latency monitor: what took at least `latency-monitor-threshold` milliseconds, by event.
//!
//! | event | what is measured |
//! |---|---|
//! | `command` | one call of a command that is not flagged `fast` |
//! | `fast-command` | one call of a command that is |
//! | `aof-write` | a write of a shard's log into the page cache, submission to completion |
//! | `aof-write-alone`, `aof-write-pending-fsync` | the same, without and with a flush under way |
//! | `aof-fsync-always` | a write of a shard's log that flushes itself |
//! | `expire-cycle` | one search for keys past their expiry |
//!
//! An event keeps its last [`SAMPLES`] samples, one for each second at most: the longest of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Samples kept for each event.
pub const SAMPLES: usize = 160;

/// Every event there can be, with what an operator may do about it.
pub static ADVICE: &[(&str, &str)] = &[
    (
        "command",
        "Some commands take long by their nature: see SLOWLOG GET for which (KEYS, SCAN with a \
         large COUNT, LCS, and anything over very large values).",
    ),
    (
        "fast-command",
        "Commands that are short by their nature were held up: the machine has fewer free cores \
         than shards, or it swaps. See `shards` and `pin-threads`.",
    ),
    ("aof-write", "The page cache takes the log in slowly: the disk is busy with something else."),
    ("aof-write-alone", "The page cache took the log in slowly although nothing was flushed."),
    (
        "aof-write-pending-fsync",
        "The page cache took the log in slowly while a flush was under way: the disk is at its \
         limit.",
    ),
    (
        "aof-fsync-always",
        "Every reply waits for the disk under `appendfsync always`: a faster disk, or `everysec` \
         where losing a second's writes with the power is acceptable.",
    ),
    ("expire-cycle", "Very many keys come to their expiry at the same time: spread their times."),
];

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Unix time in seconds.
    pub unix_s: i64,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// The samples of one event, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Series {
    samples: std::collections::VecDeque<Sample>,
    max: u64,
}

impl Series {
    fn add(&mut self, sample: Sample) {
        self.max = self.max.max(sample.ms);
        match self.samples.back_mut() {
            Some(last) if last.unix_s == sample.unix_s => last.ms = last.ms.max(sample.ms),
            _ => self.samples.push_back(sample),
        }
        while self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// The samples, the oldest first.
    pub fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        self.samples.iter().copied()
    }

    /// The longest since the last reset, in milliseconds.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The newest sample.
    pub fn latest(&self) -> Option<Sample> {
        self.samples.back().copied()
    }
}

/// All events that have occurred.
#[derive(Debug, Default)]
pub struct Events(Mutex<BTreeMap<&'static str, Series>>);

impl Events {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Series>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `event` took `ms` milliseconds; the caller has looked at the threshold.
    pub fn add(&self, event: &'static str, unix_s: i64, ms: u64) {
        self.lock().entry(event).or_default().add(Sample { unix_s, ms });
    }

    /// Everything known, by name.
    pub fn all(&self) -> Vec<(&'static str, Series)> {
        self.lock().iter().map(|(name, series)| (*name, series.clone())).collect()
    }

    /// The samples of one event.
    pub fn get(&self, event: &[u8]) -> Option<Series> {
        self.lock().iter().find(|(name, _)| name.as_bytes() == event).map(|(_, s)| s.clone())
    }

    /// Forgets one event, or all; how many were known.
    pub fn reset(&self, event: Option<&[u8]>) -> usize {
        let mut events = self.lock();
        let before = events.len();
        events.retain(|name, _| event.is_some_and(|wanted| name.as_bytes() != wanted));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_keeps_its_longest() {
        let events = Events::default();
        for (at, ms) in [(1, 5), (1, 9), (1, 3), (2, 4)] {
            events.add("command", at, ms);
        }
        let series = events.get(b"command").unwrap();
        let all: Vec<_> = series.samples().map(|s| (s.unix_s, s.ms)).collect();
        assert_eq!((all, series.max()), (vec![(1, 9), (2, 4)], 9));
        for at in 0..1000 {
            events.add("command", at, 1);
        }
        let series = events.get(b"command").unwrap();
        assert_eq!((series.samples().count(), series.max()), (SAMPLES, 9));
        assert_eq!(series.latest(), Some(Sample { unix_s: 999, ms: 1 }));
    }

    #[test]
    fn resets() {
        let events = Events::default();
        events.add("command", 1, 1);
        events.add("aof-write", 1, 1);
        assert_eq!(events.reset(Some(b"nosuch")), 0);
        assert_eq!(events.reset(Some(b"command")), 1);
        assert_eq!(events.all().len(), 1);
        assert_eq!(events.reset(None), 1);
        assert!(events.get(b"aof-write").is_none());
    }
}
