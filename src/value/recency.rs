//! What an entry notes of its key's use, and what can be told from it later.
//!
//! # The 24 bits
//! ```text
//! unless use is counted    seconds of Unix time, at the last use
//! where it is counted      minutes of Unix time u16, at the last look | counter u8
//! ```
//! Both wrap, as in Redis: an idle time is known up to half a year, minutes up to 45 days. Which of
//! the two it is the bits do not say; after `maxmemory-policy` has changed they are read as what
//! they now should be, until the key is used again.
//!
//! The counter is logarithmic. It begins at `BORN`; a use raises it by one with a probability
//! that shrinks the higher it is, and time lowers it by one every so many minutes.

use crate::base::random::Random;
use crate::value::entry::RECENCY_MAX;

/// Where the counter of a new key begins: it is not the first to give way, though hardly used.
const BORN: u8 = 5;
/// Seconds of a minute.
const MINUTE: i64 = 60;
/// A use that is so few seconds ahead of the clock was now: clocks differ, and can be set back.
const AHEAD_MAX: u32 = 3600;
/// The longest idle time, in seconds.
const IDLE_MAX: u32 = RECENCY_MAX - AHEAD_MAX;

/// What is noted of a key's use, as `maxmemory-policy` asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noted {
    /// When it was, for OBJECT IDLETIME alone.
    #[default]
    Time,
    /// The same, and files keep it (`allkeys-lru`, `volatile-lru`).
    SavedTime,
    /// How often it was (`allkeys-lfu`, `volatile-lfu`).
    Count {
        /// How fast the probability shrinks (`lfu-log-factor`); 0: not at all.
        log_factor: u32,
        /// After how many minutes the counter goes down by one (`lfu-decay-time`); 0: never.
        decay_minutes: u32,
    },
}

/// What a file or RESTORE says of a key's use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Seconds since it was used.
    pub idle_s: Option<u64>,
    /// Its frequency counter.
    pub freq: Option<u8>,
}

/// Reads and makes the bits at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recency {
    noted: Noted,
    /// Unix time in seconds.
    now_s: i64,
}

impl Recency {
    /// What is to be noted, at this Unix time in seconds.
    pub fn new(noted: Noted, now_s: i64) -> Self {
        Recency { noted, now_s }
    }

    /// Whether uses are counted.
    pub fn counts(&self) -> bool {
        matches!(self.noted, Noted::Count { .. })
    }

    /// The clock: seconds as they are noted.
    pub fn clock(&self) -> u32 {
        self.now_s as u32 & RECENCY_MAX
    }

    fn minutes(&self) -> u16 {
        self.now_s.div_euclid(MINUTE) as u16
    }

    fn counter(&self, counter: u8) -> u32 {
        u32::from(self.minutes()) << 8 | u32::from(counter)
    }

    /// What a new key begins with.
    pub fn born(&self) -> u32 {
        if self.counts() { self.counter(BORN) } else { self.clock() }
    }

    /// What a key begins with of which that is said; what does not fit the policy is not heard.
    pub fn of(&self, usage: Usage) -> u32 {
        match (self.noted, usage) {
            (Noted::Count { .. }, Usage { freq: Some(counter), .. }) => self.counter(counter),
            (Noted::Time | Noted::SavedTime, Usage { idle_s: Some(idle), .. }) => {
                let idle = u32::try_from(idle).unwrap_or(IDLE_MAX).min(IDLE_MAX);
                self.clock().wrapping_sub(idle) & RECENCY_MAX
            }
            _ => self.born(),
        }
    }

    /// Seconds since the last use.
    pub fn idle_s(&self, bits: u32) -> u32 {
        match self.clock().wrapping_sub(bits) & RECENCY_MAX {
            idle @ 0..=IDLE_MAX => idle,
            _ => 0,
        }
    }

    /// The counter as time has left it.
    pub fn frequency(&self, bits: u32) -> u8 {
        let elapsed = self.minutes().wrapping_sub((bits >> 8) as u16);
        let lost = match self.noted {
            Noted::Count { decay_minutes, .. } => {
                u32::from(elapsed).checked_div(decay_minutes).unwrap_or(0)
            }
            Noted::Time | Noted::SavedTime => 0,
        };
        (bits as u8).saturating_sub(u8::try_from(lost).unwrap_or(u8::MAX))
    }

    /// What the bits become by a use.
    pub fn used(&self, bits: u32, random: &mut Random) -> u32 {
        let Noted::Count { log_factor, .. } = self.noted else { return self.clock() };
        let counter = self.frequency(bits);
        let above = u64::from(counter.saturating_sub(BORN));
        let rises = random.one_in(above * u64::from(log_factor) + 1);
        self.counter(counter.saturating_add(u8::from(rises)))
    }

    /// What a file keeps of it.
    pub fn saved(&self, bits: u32) -> Usage {
        match self.noted {
            Noted::Time => Usage::default(),
            Noted::SavedTime => Usage { idle_s: Some(u64::from(self.idle_s(bits))), freq: None },
            Noted::Count { .. } => Usage { idle_s: None, freq: Some(self.frequency(bits)) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Noted = Noted::Count { log_factor: 10, decay_minutes: 1 };

    #[test]
    fn idle_times_wrap_and_know_no_future() {
        for now in [1_700_000_000_i64, 1 << 24, (1 << 24) + 5, 0] {
            let at = |seconds: i64| Recency::new(Noted::Time, now + seconds);
            let born = at(0).born();
            assert_eq!(at(0).idle_s(born), 0);
            assert_eq!(at(5).idle_s(born), 5);
            assert_eq!(at(10_000_000).idle_s(born), 10_000_000);
            assert_eq!(at(-1).idle_s(born), 0);
            assert_eq!(at(-3600).idle_s(born), 0);
            let used = at(7).used(born, &mut Random::new(1));
            assert_eq!(at(9).idle_s(used), 2);
        }
    }

    #[test]
    fn what_is_said_of_a_key() {
        let recency = |noted| Recency::new(noted, 1_700_000_000);
        let said = |idle_s, freq| Usage { idle_s, freq };
        for noted in [Noted::Time, Noted::SavedTime] {
            let recency = recency(noted);
            for idle in [0, 1, 1000, u64::from(IDLE_MAX)] {
                assert_eq!(u64::from(recency.idle_s(recency.of(said(Some(idle), None)))), idle);
            }
            assert_eq!(recency.idle_s(recency.of(said(Some(u64::MAX), None))), IDLE_MAX);
            assert_eq!(recency.of(said(None, Some(9))), recency.born());
        }
        let counting = recency(COUNT);
        assert_eq!(counting.frequency(counting.of(said(None, Some(200)))), 200);
        assert_eq!(counting.frequency(counting.of(said(Some(9), None))), BORN);
        assert_eq!(recency(Noted::Time).saved(5), said(None, None));
        let timed = recency(Noted::SavedTime);
        assert_eq!(timed.saved(timed.of(said(Some(77), None))), said(Some(77), None));
        assert_eq!(counting.saved(counting.of(said(None, Some(7)))), said(None, Some(7)));
    }

    #[test]
    fn counters_fall_by_time() {
        let at = |minutes: i64, decay_minutes| {
            let noted = Noted::Count { log_factor: 10, decay_minutes };
            Recency::new(noted, (28_000_000 + minutes) * 60)
        };
        let bits = at(0, 1).of(Usage { idle_s: None, freq: Some(100) });
        for (minutes, decay, left) in
            [(0, 1, 100), (1, 1, 99), (99, 1, 1), (101, 1, 0), (65_535, 1, 0), (30, 10, 97)]
        {
            assert_eq!(at(minutes, decay).frequency(bits), left, "{minutes} of {decay}");
        }
        assert_eq!(at(60_000, 0).frequency(bits), 100);
        assert_eq!(at(65_536, 1).frequency(bits), 100, "minutes wrap");
        // A use is a look: what time took is gone, and time begins anew.
        let used = at(40, 1).used(bits, &mut Random::new(3));
        assert!((60..=61).contains(&at(40, 1).frequency(used)));
    }

    #[test]
    fn counters_rise_ever_more_slowly() {
        let uses = |log_factor, times: u32| {
            let recency = Recency::new(Noted::Count { log_factor, decay_minutes: 1 }, 0);
            let mut random = Random::new(7);
            let bits = (0..times).fold(recency.born(), |bits, _| recency.used(bits, &mut random));
            recency.frequency(bits)
        };
        assert_eq!((uses(10, 0), uses(10, 1), uses(0, 9), uses(0, 1000)), (5, 6, 14, 255));
        // The table of redis.conf says 18 and 255 after 1,000 and 1,000,000 uses.
        assert!((12..=24).contains(&uses(10, 1000)), "{}", uses(10, 1000));
        assert!(uses(100, 1000) < uses(10, 1000) && uses(1, 1000) > uses(10, 1000));
        assert_eq!(uses(10, 1_000_000), 255);
    }
}
