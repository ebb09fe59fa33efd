//! How fast a snapshot goes where nothing else bounds it (`rdb-key-save-delay`), and what the log
//! tells of it on its way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::clock::Stopwatch;

/// Seconds between two lines about a snapshot under way.
const TELL_EACH: u64 = 5;

/// A shard's rest between two keys. It never sleeps for it: it does not go on before its time.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Stopwatch,
    rest: Duration,
}

impl Pace {
    /// So many keys have been handed out, each of which takes `delay` microseconds, as
    /// `rdb-key-save-delay` has it: what is negative stands for one in so many keys.
    pub(super) fn handed_out(&mut self, keys: u64, delay: i32, shards: usize) {
        if keys == 0 || delay == 0 {
            return;
        }
        let keys = keys.saturating_mul(shards as u64);
        let each = u64::from(delay.unsigned_abs());
        let micros = if delay > 0 { keys.saturating_mul(each) } else { keys.div_ceil(each) };
        self.since.start();
        self.rest = Duration::from_micros(micros);
    }

    /// Whether it is not time yet for the next; `delay` as it is by now.
    pub(super) fn rests(&self, delay: i32) -> bool {
        delay != 0 && self.since.elapsed() < self.rest
    }
}

/// When something was last told of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Told {
    began: Stopwatch,
    /// Spans of [`TELL_EACH`] seconds that have been told of.
    spans: AtomicU64,
}

impl Told {
    /// How long it has taken so far, if that is to be told now: to one of all who ask in a span,
    /// and to nobody in the first.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due_at(self.began.elapsed())
    }

    fn due_at(&self, elapsed: Duration) -> Option<Duration> {
        let span = elapsed.as_secs() / TELL_EACH;
        let first = self.spans.load(Ordering::Relaxed) < span
            && self.spans.fetch_max(span, Ordering::Relaxed) < span;
        first.then_some(elapsed)
    }
}

/// How fast that was: keys and megabytes a second, as a line of the log has it.
pub fn rates(keys: u64, bytes: u64, seconds: f64) -> String {
    let seconds = seconds.max(1e-6);
    format!("{:.0} keys/s, {:.1} MB/s", keys as f64 / seconds, bytes as f64 / seconds / 1_000_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_takes_as_long_whatever_the_number_of_shards() {
        let mut pace = Pace::default();
        assert!(!pace.rests(1_000_000));
        pace.handed_out(0, 1_000_000, 4);
        assert_eq!(pace.rest, Duration::ZERO);
        pace.handed_out(3, 1_000_000, 4);
        assert_eq!(pace.rest, Duration::from_secs(12));
        // Who takes the delay back takes back the rest that is left of it.
        assert!(pace.rests(1_000_000) && !pace.rests(0));
        pace.handed_out(100, -50, 1);
        assert_eq!(pace.rest, Duration::from_micros(2));
        pace.handed_out(u64::MAX, i32::MIN, 64);
        pace.handed_out(u64::MAX, i32::MAX, 64);
    }

    #[test]
    fn a_span_is_told_of_once() {
        let told = Told::default();
        assert_eq!(told.due(), None);
        let due = |seconds| told.due_at(Duration::from_secs(seconds)).is_some();
        assert_eq!(
            [0, 4, 5, 6, 9, 17, 17, 14, 20].map(due),
            [false, false, true, false, false, true, false, false, true]
        );
        assert_eq!(rates(3_000, 4_500_000, 1.5), "2000 keys/s, 3.0 MB/s");
        assert!(rates(0, 0, 0.0).starts_with("0 keys/s"));
    }
}
