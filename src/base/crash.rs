//! Ends of the process that are asked for, to see what is told of them.

use rustix::process::{Signal, getpid, kill_process};

/// Ends the process as a wrong access to memory does.
pub fn segfault() -> ! {
    loop {
        // The runtime's handler takes the first one for a stack overflow, finds that it is none,
        // and steps aside for the next.
        let _ = kill_process(getpid(), Signal::SEGV);
        std::thread::yield_now();
    }
}
