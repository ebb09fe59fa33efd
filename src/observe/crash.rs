//! What a thread was doing, for the report of a crash: the name of a command, never its arguments.

use std::cell::Cell;

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
