//! A histogram of durations that its writer fills without locks and anyone can read.
//!
//! Buckets are log-linear: `SUB` of equal width for each doubling, so a value is known within
//! 1/`SUB` of itself. Longer values than the last bucket's count as the last.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets for each doubling: 3 % precision.
const SUB: u64 = 32;
const SUB_BITS: u32 = SUB.trailing_zeros();
/// Doublings: up to 2^40 ns, 18 minutes.
const DOUBLINGS: u64 = 40 - SUB_BITS as u64 + 1;
const BUCKETS: usize = (SUB * DOUBLINGS) as usize;

/// Durations in nanoseconds.
#[derive(Debug)]
pub struct Histogram {
    counts: Box<[AtomicU64]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }
}

fn bucket(ns: u64) -> usize {
    if ns < SUB {
        return ns as usize;
    }
    let doubling = u64::from(ns.ilog2() - SUB_BITS);
    let sub = (ns >> doubling) - SUB;
    (((doubling + 1) * SUB + sub) as usize).min(BUCKETS - 1)
}

/// The greatest value that falls into a bucket.
fn top(bucket: usize) -> u64 {
    let (doubling, sub) = (bucket as u64 / SUB, bucket as u64 % SUB);
    match doubling {
        0 => sub,
        d => ((SUB + sub + 1) << (d - 1)) - 1,
    }
}

impl Histogram {
    /// Counts one duration. Only the owner may call it.
    pub fn record(&self, ns: u64) {
        self.record_many(ns, 1);
    }

    /// Counts a duration `n` times. Only the owner may call it.
    pub fn record_many(&self, ns: u64, n: u64) {
        let count = &self.counts[bucket(ns)];
        count.store(count.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.counts.iter().for_each(|c| c.store(0, Ordering::Relaxed));
    }
}

/// Several histograms added up, to be asked: an `hdrhistogram` of two digits, as Redis has.
#[derive(Debug)]
pub struct Merged(hdrhistogram::Histogram<u64>);

impl Default for Merged {
    fn default() -> Self {
        // It grows with what is recorded; nothing is allocated for a command nobody calls.
        Merged(hdrhistogram::Histogram::new(2).expect("two digits are a precision"))
    }
}

impl Merged {
    /// Adds what `histogram` has counted so far.
    pub fn add(&mut self, histogram: &Histogram) {
        for (bucket, count) in histogram.counts.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                self.0.record_n(top(bucket), count).expect("it grows as needed");
            }
        }
    }

    /// Number of durations shorter than `ns`, which is a power of two: a bucket begins there.
    pub fn below(&self, ns: u64) -> u64 {
        self.0
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .take_while(|(value, _)| *value < ns)
            .map(|(_, count)| count)
            .sum()
    }

    /// Number of durations counted.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// True when nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration in nanoseconds that `percent` of all do not exceed, rounded up to its bucket.
    pub fn percentile(&self, percent: f64) -> u64 {
        self.0.value_at_percentile(percent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_are_ordered_and_tight() {
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket(top(index)), index);
            assert_eq!(bucket(top(index) + 1), index + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn percentiles_agree_with_hdrhistogram(
            values in prop::collection::vec(1u64..1_000_000_000, 1..300),
            percent in 1.0f64..100.0,
        ) {
            let (ours, mut merged) = (Histogram::default(), Merged::default());
            let mut theirs = hdrhistogram::Histogram::<u64>::new(3).expect("three digits");
            for value in &values {
                ours.record(*value);
                theirs.record(*value).expect("in range");
            }
            merged.add(&ours);
            prop_assert_eq!(merged.len(), values.len() as u64);
            let (a, b) = (merged.percentile(percent), theirs.value_at_percentile(percent));
            let distance = a.abs_diff(b) as f64 / b.max(1) as f64;
            prop_assert!(distance < 0.035 || a.abs_diff(b) <= 1, "{} {}", a, b);
        }
    }
}
