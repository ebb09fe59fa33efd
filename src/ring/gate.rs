//! Whether a file system takes writes, asked without waiting until it does.
//!
//! One that is frozen, while its volume is copied, say, keeps whoever writes to it waiting until it
//! is thawed. But a write past the page cache that is told not to wait is refused there, in well
//! under a microsecond, and writes nothing where it has nothing to write. It goes through a ring of
//! its own, whose completion is there when the submission returns. (Kernels before Linux 6.12, but
//! for later releases of their series, let such a write wait as well.)
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};

/// Asks; made when it is first asked.
#[derive(Default)]
pub(super) struct Gate {
    ring: Option<IoUring>,
    /// It did not do what it should: nothing is asked any more.
    broken: bool,
}

impl Gate {
    /// Whether the file system of `file`, which is open past the page cache, takes writes.
    pub fn is_open(&mut self, file: BorrowedFd<'_>) -> bool {
        if self.broken {
            return false;
        }
        if self.ring.is_none() {
            // Where there is none to be had now there may be one later.
            self.ring = IoUring::new(1).ok();
        }
        let Some(ring) = &mut self.ring else { return false };
        let answer = ask(ring, file);
        if answer.is_none() {
            // What might still be under way ends with it.
            (self.ring, self.broken) = (None, true);
        }
        answer == Some(0)
    }
}

fn ask(ring: &mut IoUring, file: BorrowedFd<'_>) -> Option<i32> {
    let nothing = opcode::Write::new(Fd(file.as_raw_fd()), std::ptr::null(), 0);
    let entry = nothing.rw_flags(libc::RWF_NOWAIT).build();
    // SAFETY: the entry points to no memory, and the caller keeps the descriptor open until the
    // submission has returned; then the operation is over, or the ring goes (see above).
    unsafe { ring.submission().push(&entry) }.ok()?;
    ring.submit().ok()?;
    let done = ring.completion().next()?;
    Some(done.result())
}
