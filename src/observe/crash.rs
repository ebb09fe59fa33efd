//! What a thread was doing, for the report of a crash: the name of a command, never its arguments.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the end of the process is reported at length (`crash-log-enabled`).
static REPORTED: AtomicBool = AtomicBool::new(true);

thread_local! {
    /// The last command that this thread began.
    static COMMAND: Cell<&'static str> = const { Cell::new("") };
}

/// Notes that this thread begins a command. Cheap: one store.
pub fn note(command: &'static str) {
    COMMAND.set(command);
}

/// The last command that this thread began; empty when it runs none.
pub fn noted() -> &'static str {
    COMMAND.get()
}

/// Sets whether the end of the process is reported at length.
pub fn set_reported(reported: bool) {
    REPORTED.store(reported, Ordering::Relaxed);
}

/// Whether the end of the process is reported at length.
pub fn is_reported() -> bool {
    REPORTED.load(Ordering::Relaxed)
}
