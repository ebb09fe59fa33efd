//! Ends of the process that are asked for, to see what is told of them.

use rustix::process::{Signal, getpid, kill_process};

/// Ends the process as a wrong access to memory does.
pub fn segfault() -> ! {
    // Nothing is lost where the signal cannot be sent: the process ends either way.
    let _ = kill_process(getpid(), Signal::SEGV);
    loop {
        std::thread::park();
    }
}
