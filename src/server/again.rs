//! The program once more in the place of this process: DEBUG RESTART and DEBUG CRASH-AND-RECOVER.
//!
//! What is open is closed by the kernel (nothing is kept across `exec`), what is not written is
//! lost as by `kill -9`, and the next one recovers. Where it is to wait first, it does so with
//! every connection closed: the new process is told to, by an argument in front of the others,
//! [`AFTER`].

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::base::clock;

/// In front of all arguments: milliseconds to wait before anything else.
const AFTER: &str = "--start-after";
/// Longest wait. Whoever asks for more has made a mistake.
const WAIT_MAX: Duration = Duration::from_secs(86_400);

/// Takes [`AFTER`] from the arguments, and waits as it says.
pub fn wait_first(mut args: Vec<OsString>) -> Vec<OsString> {
    if args.len() >= 2 && args[0] == AFTER {
        let ms = args[1].to_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        args.drain(..2);
        clock::pause(Duration::from_millis(ms).min(WAIT_MAX));
    }
    args
}

/// Whether the program can be started as it was: what came from standard input is gone.
pub fn is_possible() -> bool {
    !std::env::args_os().skip(1).any(|arg| arg == "-")
}

/// Starts the program in the place of this process; returns only when that has failed.
pub fn start_again(wait_ms: u64) -> io::Error {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.len() >= 2 && args[0] == AFTER {
        args.drain(..2);
    }
    match std::env::current_exe() {
        Ok(program) => {
            let mut command = Command::new(program);
            if wait_ms > 0 {
                command.args([AFTER, &wait_ms.to_string()]);
            }
            command.args(args).exec()
        }
        Err(error) => error,
    }
}
