//! SIGTERM and SIGINT while the data is being loaded, when nobody waits for signals yet.
//!
//! Their handler counts them and wakes who waits. Later the control thread learns of them from its
//! runtime, whose handler calls this one as well: so none is lost on the way from one to the other,
//! and none counts twice.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use rustix::process::Signal;

use crate::server::fatal;

/// How many there were.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// How many of them were SIGINT.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// The last one; 0 is none.
static LAST: AtomicI32 = AtomicI32::new(0);
/// Both ends of what wakes.
static ENDS: OnceLock<(UnixStream, UnixStream)> = OnceLock::new();

/// Begins to count. What this gives becomes readable with a signal.
pub fn watch() -> io::Result<&'static UnixStream> {
    if ENDS.get().is_none() {
        let ends = UnixStream::pair()?;
        ends.0.set_nonblocking(true)?;
        let _ = ENDS.set(ends);
        for signal in [Signal::TERM, Signal::INT] {
            fatal::notice(signal.as_raw(), handle)?;
        }
    }
    ENDS.get().map(|ends| &ends.1).ok_or_else(|| io::Error::other("no socket"))
}

/// How many signals there were so far.
pub fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// How many of them were SIGINT; asked for behind [`count`], none that counts there is missing.
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Acquire)
}

/// The name of the last one.
pub fn last() -> &'static str {
    match LAST.load(Ordering::Relaxed) == Signal::INT.as_raw() {
        true => "SIGINT",
        false => "SIGTERM",
    }
}

/// Runs where anything may be under way: it allocates nothing and takes no lock.
extern "C" fn handle(signal: i32) {
    LAST.store(signal, Ordering::Relaxed);
    INTERRUPTS.fetch_add(u32::from(signal == Signal::INT.as_raw()), Ordering::AcqRel);
    COUNT.fetch_add(1, Ordering::AcqRel);
    if let Some((wake, _)) = ENDS.get() {
        // When it takes no more, who is to be woken is not asleep.
        let _ = rustix::io::write(wake, b"!");
    }
}
