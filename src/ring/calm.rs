//! Whether a write into the page cache may be made on the shard's own thread.
//!
//! Handed to the ring such a write goes through a worker of the kernel: the thread has to sleep, or
//! to give way, before it is done, while its clients wait. Made here it takes a few microseconds,
//! mostly. But a kernel with much to write back makes whoever adds to it wait, for up to a fifth of
//! a second at a time, and nothing else of the shard goes on meanwhile.
//!
//! So it is done only where that is far away: what the machine has to write back takes less than
//! half of what makes the kernel begin with it by itself, which is well below what it makes anyone
//! wait for. And where a write took long all the same, be it for another reason or because others
//! had the core, for a while none is made; for longer and longer where that keeps happening. That
//! is all there is against what the kernel does not tell of: a container whose own memory is full,
//! another process that flushes a file on the same file system. Whether that is frozen is asked in
//! front of each write (`gate.rs`).

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

/// The kernel's own account of its pages.
const ACCOUNT: &str = "/proc/vmstat";
/// More than the account is long, in bytes.
const ACCOUNT_MAX: usize = 32 << 10;
/// How often it is looked at, in microseconds: memory fills by some hundred megabytes meanwhile.
const LOOK_US: u64 = 100_000;
/// A write that took longer has waited for something, in microseconds.
const LONG_US: u64 = 1_000;
/// How long none is made after such a write, at first, in microseconds.
const PAUSE_US: u64 = 100_000;
/// How often that doubles at most.
const DOUBLED_MAX: u32 = 7;

/// What is known of that.
#[derive(Debug, Default)]
pub(super) struct Calm {
    account: Option<OwnedFd>,
    /// No look before this time, in monotonic microseconds.
    next_look_us: u64,
    /// What the last look said.
    roomy: bool,
    /// No write before this time.
    paused_until_us: u64,
    /// Long writes, one not long after another.
    long: u32,
}

impl Calm {
    /// Whether a write may be made here now.
    pub fn is_calm(&mut self, now_us: u64) -> bool {
        if now_us < self.paused_until_us {
            return false;
        }
        if now_us >= self.next_look_us {
            self.next_look_us = now_us + LOOK_US;
            self.roomy = self.look().unwrap_or(false);
        }
        self.roomy
    }

    /// A write was made and took so long.
    pub fn took(&mut self, usec: u64, now_us: u64) {
        if usec < LONG_US {
            return;
        }
        let pause = PAUSE_US << self.long;
        let soon = now_us < self.paused_until_us.saturating_add(4 * pause);
        self.long = if soon { (self.long + 1).min(DOUBLED_MAX) } else { 0 };
        self.paused_until_us = now_us + usec + (PAUSE_US << self.long);
    }

    /// Whether little waits to be written back; nothing where the kernel does not say.
    fn look(&mut self) -> Option<bool> {
        if self.account.is_none() {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            self.account = rustix::fs::open(ACCOUNT, flags, Mode::empty()).ok();
        }
        let mut text = [0; ACCOUNT_MAX];
        let read = rustix::io::pread(self.account.as_ref()?, &mut text, 0).ok()?;
        is_roomy(&text[..read])
    }
}

/// What an account in the form of `/proc/vmstat` says; its figures are pages.
fn is_roomy(account: &[u8]) -> Option<bool> {
    let (mut dirty, mut writeback, mut threshold) = (None, None, None);
    for line in account.split(|b| *b == b'\n') {
        let Some(space) = memchr::memchr(b' ', line) else { continue };
        let place = match &line[..space] {
            b"nr_dirty" => &mut dirty,
            b"nr_writeback" => &mut writeback,
            b"nr_dirty_background_threshold" => &mut threshold,
            _ => continue,
        };
        *place = str::from_utf8(&line[space + 1..]).ok()?.parse::<u64>().ok();
        if dirty.is_some() && writeback.is_some() && threshold.is_some() {
            break;
        }
    }
    Some((dirty? + writeback?) < threshold? / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: &[u8] = b"nr_free_pages 9\nnr_dirty 40\nnr_writeback 9\nnr_writeback_temp 700\n\
        nr_dirty_threshold 200\nnr_dirty_background_threshold 100\npgpgin 1\n";

    #[test]
    fn what_waits_to_be_written_back_is_compared_with_half_the_threshold() {
        assert_eq!(is_roomy(LITTLE), Some(true));
        let more = String::from_utf8_lossy(LITTLE).replace("writeback 9", "writeback 10");
        assert_eq!(is_roomy(more.as_bytes()), Some(false));
    }

    #[test]
    fn an_account_that_lacks_a_figure_says_nothing() {
        for line in ["nr_dirty 40\n", "nr_writeback 9\n", "nr_dirty_background_threshold 100\n"] {
            let less = String::from_utf8_lossy(LITTLE).replace(line, "");
            assert_eq!(is_roomy(less.as_bytes()), None, "{line}");
        }
        assert_eq!(is_roomy(b"nr_dirty x\n"), None);
        assert_eq!(is_roomy(b""), None);
    }

    #[test]
    fn the_kernel_of_this_machine_is_understood() {
        let mut calm = Calm::default();
        assert!(calm.look().is_some(), "{ACCOUNT}");
    }

    /// One that has just looked, and looks no more.
    fn roomy() -> Calm {
        Calm { roomy: true, next_look_us: u64::MAX, ..Calm::default() }
    }

    #[test]
    fn behind_a_long_write_none_is_made_for_a_while() {
        let mut calm = roomy();
        calm.took(LONG_US - 1, 1_000_000);
        assert!(calm.is_calm(1_000_000));
        calm.took(5_000, 1_000_000);
        assert!(!calm.is_calm(1_005_000 + PAUSE_US - 1));
        assert!(calm.is_calm(1_005_000 + PAUSE_US));
    }

    #[test]
    fn and_for_longer_where_that_keeps_happening() {
        let (mut calm, mut now, mut made) = (roomy(), 10_000_000, 0);
        while now < 130_000_000 {
            if calm.is_calm(now) {
                calm.took(LONG_US, now);
                made += 1;
            }
            now += 1_000;
        }
        assert!((10..25).contains(&made), "{made} long writes in two minutes");
        now += 16 * (PAUSE_US << DOUBLED_MAX);
        calm.took(LONG_US, now);
        assert!(calm.is_calm(now + LONG_US + PAUSE_US), "it is forgotten");
    }

    #[test]
    fn looks_are_taken_now_and_then() {
        let mut calm = Calm::default();
        calm.is_calm(5);
        calm.roomy = true;
        calm.account = None;
        assert!(calm.is_calm(LOOK_US), "not yet");
        assert!(calm.account.is_none());
        calm.is_calm(LOOK_US + 5);
        assert!(calm.account.is_some());
    }
}
