//! Wall and monotonic time. Logic never asks the system itself: it is handed the readings of the
//! turn, so that a simulation can hand it others.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks; every command of a turn sees the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the Unix epoch.
    pub unix_us: i64,
    /// Microseconds since an arbitrary fixed point, never going back.
    pub mono_us: u64,
}

impl Now {
    /// Milliseconds since the Unix epoch, the unit of expiry times.
    pub fn unix_ms(&self) -> i64 {
        self.unix_us.div_euclid(1000)
    }

    /// Seconds since the Unix epoch.
    pub fn unix_s(&self) -> i64 {
        self.unix_us.div_euclid(1_000_000)
    }
}

/// Measures one span after another with a single reading between two.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    at: Instant,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Stopwatch { at: Instant::now() }
    }
}

impl Stopwatch {
    /// Begins a span.
    pub fn start(&mut self) {
        self.at = Instant::now();
    }

    /// How long the span is so far.
    pub fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }

    /// Ends the span, in nanoseconds, and begins the next.
    pub fn lap(&mut self) -> u64 {
        let now = Instant::now();
        let span = now.duration_since(self.at).as_nanos() as u64;
        self.at = now;
        span
    }
}

/// A clock that is read in the middle of a turn, where it counts how long something takes; handed
/// in like the readings of a turn.
#[derive(Clone)]
pub struct Time(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Time {
    /// A clock that gives the time since some fixed point, and never goes back.
    pub fn new(read: impl Fn() -> Duration + Send + Sync + 'static) -> Time {
        Time(Arc::new(read))
    }

    /// The system's.
    pub fn system() -> Time {
        let start = Instant::now();
        Time::new(move || start.elapsed())
    }

    /// Begins a span.
    pub fn watch(&self) -> Watch {
        Watch { time: self.clone(), at: (self.0)() }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// Measures spans on a clock that was handed in.
#[derive(Clone, Debug)]
pub struct Watch {
    time: Time,
    at: Duration,
}

impl Watch {
    /// Begins a span.
    pub fn start(&mut self) {
        self.at = (self.time.0)();
    }

    /// How long the span is so far.
    pub fn elapsed(&self) -> Duration {
        (self.time.0)().saturating_sub(self.at)
    }
}

/// Does nothing for this long, and keeps the thread from doing anything else.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl SystemClock {
    /// Reads both clocks.
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { unix_us: unix.as_micros() as i64, mono_us: self.start.elapsed().as_micros() as u64 }
    }
}
