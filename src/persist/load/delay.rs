//! `key-load-delay`: time that loading takes for each key or command, so that tests find a server
//! that loads. The thread that loads sleeps; nothing is served by it.

use std::time::Duration;

use crate::base::clock;

/// Microseconds at least that are slept at once: a sleep takes more than it was asked for, and many
/// short ones would come to a multiple.
const SLEEP_MIN: u64 = 1000;

/// What is still to be slept.
#[derive(Debug, Default)]
pub(super) struct Delay {
    /// Keys for which `micros` is slept.
    keys: u64,
    micros: u64,
    seen: u64,
    owed: u64,
}

impl Delay {
    /// As the directive has it: microseconds for a key or, negative, one for so many keys; of
    /// `threads` that load side by side each takes so much longer.
    pub(super) fn new(directive: i32, threads: usize) -> Self {
        let (n, threads) = (u64::from(directive.unsigned_abs()), threads as u64);
        match directive {
            0 => Delay::default(),
            1.. => Delay { keys: 1, micros: n * threads, ..Delay::default() },
            _ => Delay { keys: n, micros: threads, ..Delay::default() },
        }
    }

    /// Another key has come; gives how long to sleep now.
    fn count(&mut self) -> Option<Duration> {
        self.seen += 1;
        if self.keys == 0 || self.seen < self.keys {
            return None;
        }
        self.seen = 0;
        self.owed += self.micros;
        let sleeps = self.owed >= SLEEP_MIN;
        sleeps.then(|| Duration::from_micros(std::mem::take(&mut self.owed)))
    }

    /// Another key has come.
    pub(super) fn key(&mut self) {
        if let Some(time) = self.count() {
            clock::pause(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slept(directive: i32, threads: usize, keys: usize) -> Duration {
        let mut delay = Delay::new(directive, threads);
        (0..keys).filter_map(|_| delay.count()).sum()
    }

    #[test]
    fn keys_take_what_was_asked_for() {
        let micros = Duration::from_micros;
        assert_eq!(slept(0, 4, 1000), Duration::ZERO);
        assert_eq!(slept(50_000, 1, 3), micros(150_000));
        assert_eq!(slept(50_000, 4, 3), micros(600_000));
        // Short ones are gathered; what does not come to one is not slept.
        assert_eq!(slept(300, 1, 10), micros(2_400));
        assert_eq!(slept(-2, 1, 4_001), micros(2_000));
        assert_eq!(slept(i32::MIN, 1, 10), Duration::ZERO);
        assert_eq!(slept(i32::MAX, 64, 1), micros(64 * i32::MAX as u64));
    }
}
