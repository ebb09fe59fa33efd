//! When a commit starts: at once, or a moment later with more in it.
//!
//! A commit that starts the moment the one before completes takes what has gathered meanwhile; the
//! clients just answered come too late for it and go into the next. Fifty clients then fall into
//! two groups that take turns, and each flush carries half of what it could. So the next commit
//! waits until nearly as many replies wait for it as the last one set free, but not longer than a
//! share of what a commit takes. A lone client, whose one reply is all there was, never waits.

/// Shortest window, in microseconds: about what a client takes to answer a reply.
const WINDOW_MIN_US: u64 = 60;
/// Longest window, in microseconds.
const WINDOW_MAX_US: u64 = 500;

/// The rule, fed with what commits set free.
#[derive(Debug, Default)]
pub struct Gather {
    /// Replies that the last commit set free.
    freed: usize,
    /// When it did, in monotonic microseconds.
    since_us: u64,
    /// When the commit in flight started.
    started_us: u64,
    /// How long the last commit took.
    took_us: u64,
}

impl Gather {
    /// A commit starts.
    pub fn started(&mut self, now_us: u64) {
        self.started_us = now_us;
    }

    /// A commit has completed and set `freed` replies free.
    pub fn completed(&mut self, freed: usize, now_us: u64) {
        self.freed = freed;
        self.since_us = now_us;
        self.took_us = now_us.saturating_sub(self.started_us);
    }

    /// When the next commit starts at the latest, if it should wait for more than the `waiting`
    /// replies there are.
    pub fn until(&self, waiting: usize, now_us: u64) -> Option<u64> {
        if waiting * 10 >= self.freed * 9 {
            return None;
        }
        let window = (self.took_us / 4).clamp(WINDOW_MIN_US, WINDOW_MAX_US);
        let until = self.since_us + window;
        (until > now_us).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_as_many_as_before_and_not_for_long() {
        let mut gather = Gather::default();
        assert_eq!(gather.until(0, 0), None);
        gather.started(1000);
        gather.completed(50, 2000);
        assert_eq!(gather.until(10, 2001), Some(2250));
        assert_eq!(gather.until(45, 2001), None);
        assert_eq!(gather.until(10, 2250), None);
        gather.started(3000);
        gather.completed(1, 3010);
        assert_eq!(gather.until(1, 3011), None);
    }
}
