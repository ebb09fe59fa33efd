//! How fast a snapshot goes: how much of a shard's time it takes from the requests, what it does
//! where nothing else bounds it (`rdb-key-save-delay`), and what the log tells of it on its way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::clock::{Time, Watch};
use crate::shard::snapshot::contents::CHUNK;

/// Seconds between two lines about a snapshot under way.
const TELL_EACH: u64 = 5;

/// So long after the last command a shard has nobody to spare.
const QUIET: Duration = Duration::from_millis(20);
/// Of the time that passes while there are commands, the walk takes one part in so many more: a
/// ninth of all. The thread that writes takes some time, too, perhaps on the same core.
const PARTS: u32 = 8;
/// Least time of a turn.
const TURN_MIN: Duration = Duration::from_micros(60);
/// Most time of a turn that keeps commands waiting.
const TURN_MAX: Duration = Duration::from_micros(250);
/// Time of a turn that keeps nobody waiting, so that whoever comes does not wait long either.
const TURN_QUIET: Duration = Duration::from_micros(500);

/// How much is done between two looks at the clock, or at whoever else wants something.
#[derive(Clone, Copy, Debug)]
pub struct Grain {
    /// Bytes from which on a chunk is handed over.
    pub chunk: usize,
    /// Slots of the walk.
    pub slice: usize,
    /// The same when a client waits: whole segments, so that memory is asked for far ahead.
    pub hurry_slice: usize,
    /// Elements of a large value.
    pub elements: usize,
    /// Bytes of a long string.
    pub text: usize,
}

impl Default for Grain {
    fn default() -> Self {
        Grain { chunk: CHUNK, slice: 128, hurry_slice: 1024, elements: 256, text: 64 * 1024 }
    }
}

/// A shard's part of its time for a snapshot.
///
/// That a turn has found nothing to do says little: where clients run on the shard's own core they
/// need just that time to send the next command. So a shard that has had commands of late saves up
/// time for the snapshot as time passes, and sleeps in between as it does without one.
#[derive(Debug)]
pub(super) struct Share {
    since: Watch,
    quiet: Watch,
    commands: u64,
    saved_up: Duration,
    waits: bool,
}

impl Share {
    /// Nothing saved up.
    pub(super) fn new(time: &Time) -> Share {
        let (since, quiet) = (time.watch(), time.watch());
        Share { since, quiet, commands: 0, saved_up: Duration::ZERO, waits: false }
    }

    /// How long this turn may take, if it may take any; `commands` have been processed so far.
    /// `pressed`: they are waiting for the snapshot.
    pub(super) fn turn(&mut self, commands: u64, pressed: bool) -> Option<Duration> {
        let passed = self.since.elapsed();
        if std::mem::replace(&mut self.commands, commands) != commands {
            self.quiet.start();
        }
        let spares = !pressed && self.quiet.elapsed() < QUIET;
        self.turn_after(passed, spares)
    }

    fn turn_after(&mut self, passed: Duration, spares: bool) -> Option<Duration> {
        self.since.start();
        self.waits = spares;
        if !spares {
            return Some(TURN_QUIET);
        }
        self.saved_up = (self.saved_up + passed / PARTS).min(TURN_MAX);
        (self.saved_up >= TURN_MIN).then(|| std::mem::take(&mut self.saved_up))
    }

    /// The turn has ended.
    pub(super) fn rest(&mut self) {
        self.since.start();
    }

    /// Whether time has to pass before the next turn.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }
}

/// A shard's rest between two keys. It never sleeps for it: it does not go on before its time.
#[derive(Debug)]
pub(super) struct Pace {
    since: Watch,
    rest: Duration,
}

impl Pace {
    /// No rest.
    pub(super) fn new(time: &Time) -> Pace {
        Pace { since: time.watch(), rest: Duration::ZERO }
    }

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
#[derive(Debug)]
pub(super) struct Told {
    began: Watch,
    /// Spans of [`TELL_EACH`] seconds that have been told of.
    spans: AtomicU64,
}

impl Told {
    /// Nothing told; it begins.
    pub(super) fn new(time: &Time) -> Told {
        Told { began: time.watch(), spans: AtomicU64::new(0) }
    }

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
    fn commands_leave_a_ninth_of_the_time() {
        let mut share = Share::new(&Time::system());
        let mut turn = |micros, spares| {
            let turn = share.turn_after(Duration::from_micros(micros), spares);
            (turn.map_or(0, |turn| turn.as_micros()), share.waits())
        };
        assert_eq!([160, 160, 160, 160].map(|passed| turn(passed, true).0), [0, 0, 60, 0]);
        assert_eq!(turn(800, true), (120, true));
        assert_eq!(turn(900_000, true), (250, true));
        assert_eq!(turn(5, false), (500, false));
        // Without commands, and with some.
        let mut share = Share::new(&Time::system());
        assert!(share.turn(1, false).is_none() && share.waits());
        assert!(share.turn(2, true).is_some() && !share.waits());
    }

    #[test]
    fn a_key_takes_as_long_whatever_the_number_of_shards() {
        let mut pace = Pace::new(&Time::system());
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
        let told = Told::new(&Time::system());
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
