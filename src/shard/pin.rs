//! A shard's thread and the core it is tied to.
//!
//! A thread that is tied to a core keeps what it has in the caches there, and no two shards meet.
//! That is right as long as the core is its own. Where another process wants it as well, as a
//! client does on a machine with as many shards as cores, a tied thread waits behind that, and
//! clients and other shards wait behind the thread, while another core may stand idle. So a thread
//! that serves watches how long it waits for its core. Where that is much it is let go for a while,
//! in which the kernel finds it a place, and then tied again, to see; the more often in vain, the
//! longer the while. (`perf/notes.md` has what it brings.) A core that has been taken from the
//! process is not taken back.

use crate::observe::process::ran_and_waited_us;
use crate::shard::cores;

/// Time between two looks, in microseconds.
const PERIOD_US: u64 = 250_000;
/// One in so many parts of its time is much for a thread to wait for its core. The kernel's
/// workers, which write the log and are at home on the same core, take up to 0.15.
const MUCH: u64 = 5;
/// And so many looks in a row: whoever came by chance is moved elsewhere by the kernel sooner.
const IN_ROW: u32 = 2;
/// A thread that has wanted a core for less than one in so many parts of its time says nothing.
const IDLE: u64 = 50;
/// How long a thread is let go for the first time, in microseconds; twice that when it was in vain
/// to tie it again.
const LOOSE_MIN_US: u64 = 2_000_000;
/// And at most.
const LOOSE_MAX_US: u64 = 64_000_000;

/// When to tie a thread and when to let it go.
#[derive(Debug)]
struct Judge {
    /// The last look: when, and how long the thread had run and waited by then, in microseconds.
    last: Option<(u64, (u64, u64))>,
    tied: bool,
    /// Looks in a row at which the tied thread had waited for long.
    in_row: u32,
    /// Since when it is so; time in which the tied thread had nothing to do does not count.
    since_us: u64,
    /// How long it was let go last, half of [`LOOSE_MIN_US`] when it has not been of late.
    loose_us: u64,
}

impl Default for Judge {
    fn default() -> Self {
        Judge { last: None, tied: true, in_row: 0, since_us: 0, loose_us: LOOSE_MIN_US / 2 }
    }
}

impl Judge {
    /// A look at `now_us`, when the thread has run and waited for so long in its life; gives
    /// whether to tie it, if that changes.
    fn look(&mut self, now_us: u64, (ran_us, waited_us): (u64, u64)) -> Option<bool> {
        let Some((then_us, before)) = self.last.replace((now_us, (ran_us, waited_us))) else {
            self.since_us = now_us;
            return None;
        };
        let (past, waited) = (now_us - then_us, waited_us.saturating_sub(before.1));
        if self.tied && (ran_us.saturating_sub(before.0) + waited) * IDLE < past {
            self.in_row = 0;
            self.since_us += past;
            return None;
        }
        let for_us = now_us - self.since_us;
        if self.tied {
            if waited * MUCH < past {
                self.in_row = 0;
                if for_us >= self.loose_us {
                    self.loose_us = LOOSE_MIN_US / 2;
                }
                return None;
            }
            self.in_row += 1;
            if self.in_row < IN_ROW {
                return None;
            }
            self.in_row = 0;
            self.loose_us = (2 * self.loose_us).min(LOOSE_MAX_US);
        } else if for_us < self.loose_us {
            return None;
        }
        (self.tied, self.since_us) = (!self.tied, now_us);
        Some(self.tied)
    }
}

/// See the file's opening.
#[derive(Debug)]
pub struct Pin {
    core: usize,
    judge: Judge,
    /// It stays whatever happens.
    always: bool,
    /// When the next look is due.
    due_us: u64,
}

impl Pin {
    /// Ties this thread to a core of its own. It stays there whatever happens with `always`, and
    /// where the kernel does not say how long a thread waits.
    ///
    /// # Errors
    /// Why that cannot be, as a line of the log has it.
    pub fn tie(core: usize, always: bool) -> Result<Pin, String> {
        cores::tie(core)?;
        Ok(Pin { core, judge: Judge::default(), always, due_us: 0 })
    }

    /// Watches, if it is time to; gives whether the thread, which is that of [`Pin::tie`], is tied
    /// to its core from now on, if that has changed.
    pub fn look(&mut self, now_us: u64) -> Option<bool> {
        if self.always || now_us < self.due_us {
            return None;
        }
        self.due_us = now_us + PERIOD_US;
        let tied = self.judge.look(now_us, ran_and_waited_us()?)?;
        let done = match tied {
            true if !cores::of_process().is_ok_and(|cores| cores.contains(&self.core)) => false,
            true => cores::tie(self.core).is_ok(),
            false => cores::bind("").is_ok(),
        };
        if !done {
            self.judge.tied = !tied;
        }
        done.then_some(tied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A judge that looks again and again while the thread waits so many hundredths of the time.
    struct Course {
        judge: Judge,
        now_us: u64,
        ran_us: u64,
        waited_us: u64,
    }

    impl Course {
        fn new() -> Course {
            let mut judge = Judge::default();
            assert_eq!(judge.look(5_000_000, (33, 77)), None, "nothing to compare with");
            Course { judge, now_us: 5_000_000, ran_us: 33, waited_us: 77 }
        }

        fn look(&mut self, hundredths: u64) -> Option<bool> {
            self.now_us += PERIOD_US;
            self.ran_us += PERIOD_US / 10;
            self.waited_us += PERIOD_US * hundredths / 100;
            self.judge.look(self.now_us, (self.ran_us, self.waited_us))
        }

        /// A look behind a while in which the thread had next to nothing to do.
        fn idle(&mut self) -> Option<bool> {
            self.now_us += PERIOD_US;
            self.ran_us += PERIOD_US / 100;
            self.judge.look(self.now_us, (self.ran_us, self.waited_us))
        }

        /// Looks until something changes; gives how many it took.
        fn until(&mut self, tied: bool, hundredths: u64) -> u64 {
            let looks = (1..2000).find(|_| self.look(hundredths) == Some(tied));
            looks.expect("it changes")
        }
    }

    #[test]
    fn a_thread_that_has_its_core_to_itself_stays_there() {
        let mut course = Course::new();
        for hundredths in [0, 15, 19] {
            assert!((0..500).all(|_| course.look(hundredths).is_none()), "{hundredths}");
        }
    }

    #[test]
    fn whoever_is_there_for_a_moment_does_not_matter() {
        let mut course = Course::new();
        assert!((0..500).all(|at| course.look(if at % 2 == 0 { 90 } else { 0 }).is_none()));
    }

    #[test]
    fn a_thread_that_waits_is_let_go_for_longer_and_longer() {
        let mut course = Course::new();
        assert_eq!(course.until(false, 20), 2);
        for seconds in [2, 4, 8, 16, 32, 64, 64, 64] {
            assert_eq!(course.until(true, 40), seconds * 4, "however long it waits meanwhile");
            assert_eq!(course.until(false, 40), 2);
        }
    }

    #[test]
    fn what_was_once_is_forgotten() {
        let mut course = Course::new();
        course.until(false, 50);
        course.until(true, 50);
        course.until(false, 50);
        assert_eq!(course.until(true, 0), 16);
        assert!((0..16).all(|_| course.look(0).is_none()));
        assert_eq!(course.until(false, 50), 2);
        assert_eq!(course.until(true, 50), 8, "as for the first time");
    }

    #[test]
    fn time_without_work_says_nothing() {
        let mut course = Course::new();
        course.until(false, 50);
        course.until(true, 50);
        assert!((0..500).all(|_| course.idle().is_none()));
        assert_eq!(course.until(false, 50), 2);
        assert_eq!(course.until(true, 50), 16, "it had not gone well meanwhile");
        assert_eq!((course.look(50), course.idle(), course.look(50)), (None, None, None));
        assert_eq!(course.look(50), Some(false), "two in a row");
        assert!((0..15).all(|_| course.idle().is_none()));
        assert_eq!(course.until(true, 0), 17, "time that it is let go for passes all the same");
    }

    #[test]
    fn a_thread_is_tied_and_let_go() {
        let all = cores::of_this_thread().expect("cores");
        std::thread::spawn(move || {
            let mut fixed = Pin::tie(all[0], true).expect("a core of ours");
            fixed.judge.last = Some((1_000_000, (0, 0)));
            assert_eq!(fixed.look(1_000_000), None);
            let mut pin = Pin::tie(all[0], false).expect("a core of ours");
            assert_eq!(cores::of_this_thread().expect("cores"), all[..1]);
            assert_eq!(pin.look(1_000_000), None);
            assert_eq!(pin.look(1_000_000 + PERIOD_US - 1), None, "not yet");
            // As if no time had passed but in waiting, and not for the first time.
            (pin.judge.last, pin.judge.in_row) = (Some((2_000_000, (0, 0))), IN_ROW - 1);
            assert_eq!(pin.look(2_000_000), Some(false));
            assert_eq!(cores::of_this_thread().expect("cores"), all);
            assert_eq!(pin.look(3_900_000), None);
            assert_eq!(pin.look(4_150_000), Some(true));
            assert_eq!(cores::of_this_thread().expect("cores"), all[..1]);
        })
        .join()
        .expect("a thread");
    }
}
