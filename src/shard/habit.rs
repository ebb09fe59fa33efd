//! Things that are done as long as they pay, and how long a shard's thread stays awake when it has
//! run out of work.
//!
//! To sleep and be woken costs a thread 5 us, and on a virtual machine, where the core comes to
//! rest as well, 30 to 40, most of it in the way of the client that waits. So the thread goes on
//! looking for a moment: a client that has just been answered mostly asks again within that, and
//! another shard answers sooner. Between two looks it gives way to whoever else wants the core.
//! Where it looks in vain it is tried less and less often, so that requests that come slowly are
//! not paid for by a core that never rests.

/// Times a habit is left out after it has failed often: two to this power.
const PATIENCE_MAX: u32 = 6;
/// Time without work for which a thread stays awake, in microseconds: a client woken by its reply
/// asks again sooner.
const LINGER_US: u64 = 60;
/// A look that takes longer than this has let a process have the core that does not give it back
/// by itself, in microseconds: who asks for it when waking is served sooner then.
const TAKEN_US: u64 = 1000;

/// Something that is done as long as it pays, and tried from time to time when it does not.
#[derive(Debug, Default)]
pub struct Habit {
    /// Failures in a row.
    misses: u32,
    /// Occasions to be left out.
    skip: u32,
}

impl Habit {
    /// Whether it is done on this occasion.
    pub fn is_kept(&self) -> bool {
        self.skip == 0
    }

    /// It was not.
    pub fn left_out(&mut self) {
        self.skip = self.skip.saturating_sub(1);
    }

    /// It was, and whether that was worth it.
    pub fn paid(&mut self, paid: bool) {
        if paid {
            self.misses = 0;
        } else {
            self.skip = 1 << self.misses;
            self.misses = (self.misses + 1).min(PATIENCE_MAX);
        }
    }
}

/// Staying awake behind work.
#[derive(Debug, Default)]
pub struct Linger {
    habit: Habit,
    /// Something has happened since it was last decided to sleep.
    active: bool,
    /// When there was nothing to do behind that, in monotonic microseconds.
    since_us: Option<u64>,
}

impl Linger {
    /// Something has happened.
    pub fn active(&mut self) {
        self.active = true;
        self.since_us = None;
    }

    /// There is nothing to do: until when to stay awake, in monotonic microseconds, if not to sleep
    /// at once.
    pub fn until(&mut self, now_us: u64) -> Option<u64> {
        if self.active && !self.habit.is_kept() {
            self.habit.left_out();
            self.active = false;
        }
        self.active.then(|| *self.since_us.get_or_insert(now_us) + LINGER_US)
    }

    /// There was work again, found by a look that took so long.
    pub fn found(&mut self, look_us: u64) {
        self.end(look_us < TAKEN_US);
    }

    /// There was none.
    pub fn in_vain(&mut self) {
        self.end(false);
    }

    fn end(&mut self, paid: bool) {
        self.habit.paid(paid);
        self.active = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times out of a thousand that a thread stays awake behind work that comes this far apart.
    fn lingers(apart_us: u64, look_us: u64) -> u32 {
        let mut linger = Linger::default();
        let (mut now, mut times) = (1000, 0);
        for _ in 0..1000 {
            linger.active();
            if let Some(until) = linger.until(now) {
                assert_eq!(until, now + LINGER_US);
                assert_eq!(linger.until(now + 1), Some(until), "it is not put off");
                times += 1;
                match apart_us < LINGER_US {
                    true => linger.found(look_us),
                    false => linger.in_vain(),
                }
            }
            assert!(apart_us < LINGER_US || linger.until(now + 2).is_none(), "it sleeps");
            now += apart_us;
        }
        times
    }

    #[test]
    fn a_thread_stays_awake_where_that_pays() {
        assert_eq!(lingers(30, 1), 1000);
        assert!((8..30).contains(&lingers(100, 1)), "requests come slowly");
        assert!((8..30).contains(&lingers(30, TAKEN_US)), "somebody keeps the core");
    }

    #[test]
    fn it_is_tried_again_behind_other_work() {
        let mut linger = Linger::default();
        assert_eq!(linger.until(1000), None, "nothing has happened");
        linger.active();
        assert!(linger.until(2000).is_some());
        linger.in_vain();
        assert_eq!(linger.until(2100), None, "it has been decided");
        linger.active();
        assert_eq!(linger.until(3000), None, "and is left out once");
        linger.active();
        assert_eq!(linger.until(4000), Some(4000 + LINGER_US));
        linger.active();
        assert_eq!(linger.until(4050), Some(4050 + LINGER_US));
    }
}
