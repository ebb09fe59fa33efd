//! Fatal signals: what is said when the process crashes beside all checks.
//!
//! The handler runs where anything may be broken. It allocates nothing and takes no lock: it
//! writes pieces that were there before (the signal, the thread's name, the last command's name,
//! never a value), then the addresses of the stack, and lets the signal end the process. Addresses
//! become lines of source by `addr2line -e ringstone 0x…`, with what stands behind the plus sign.
//!
//! A panic has a report of its own (see [`report`](super::report)) and ends by SIGABRT, which is
//! then passed over here.
//!
//! Unsafe obligation: what runs inside [`handle`] calls only what POSIX allows in a handler, and
//! `backtrace`, whose code is loaded before; every pointer handed out is to memory that lives on
//! this stack, in a static, or for ever.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crate::observe::{crash, log};

/// Signals that a broken program raises by itself.
const SIGNALS: [libc::c_int; 5] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];
/// Signals that end a process unless it says otherwise, and tell a server nothing: the terminal it
/// was started from is gone, and a file is as long as files may be here, which the write is told.
const IDLE_SIGNALS: [libc::c_int; 2] = [libc::SIGHUP, libc::SIGXFSZ];
/// Room for the handler, in bytes: unwinding takes some.
const STACK: usize = 128 * 1024;
/// Most frames of the stack that are told.
const FRAMES: usize = 64;

/// The log's file. It is opened by its name at the end: the one of now may have been moved away.
static LOG: OnceLock<CString> = OnceLock::new();
/// Without a file, whether standard output is another place than standard error.
static TWO_OUTPUTS: AtomicBool = AtomicBool::new(false);
/// The thread that reports; 0 is none.
static REPORTER: AtomicI32 = AtomicI32::new(0);
/// A panic has already told why the process aborts.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Makes fatal signals end the process with a report, where the log goes as well. Others than the
/// calling thread want a stack for it, see [`give_stack`].
pub fn report_signals(file: Option<&Path>) -> io::Result<()> {
    if let Some(path) = file {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
        let _ = LOG.set(path);
    }
    TWO_OUTPUTS.store(!log::output_is_error(), Ordering::Relaxed);
    // The first unwinding loads code, which a handler must not.
    let mut frames = [std::ptr::null_mut(); 2];
    // SAFETY: `frames` has room for the two frames it may write.
    unsafe { libc::backtrace(frames.as_mut_ptr(), 2) };
    give_stack();
    SIGNALS.into_iter().try_for_each(|signal| {
        let handle = handle as extern "C" fn(_, *mut libc::siginfo_t, *mut libc::c_void);
        meet(signal, handle as usize, libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER)
    })
}

/// From here on nothing happens at signals that a server has no use for.
pub fn ignore_idle_signals() -> io::Result<()> {
    IDLE_SIGNALS.into_iter().try_for_each(|signal| meet(signal, libc::SIG_IGN, 0))
}

/// The process is about to abort and has said why.
pub fn told() {
    TOLD.store(true, Ordering::Relaxed);
}

/// Gives this thread a stack for the handler, for as long as the process lives. Without it the one
/// of the runtime is used, which is short.
pub fn give_stack() {
    let stack: &'static mut [u8] = Box::leak(vec![0; STACK].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the memory is never freed and nobody else has it.
    unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
}

/// Calls `handler` at a signal that ends no thread's work: whatever it calls must be allowed to a
/// handler.
pub fn notice(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    meet(signal, handler as usize, libc::SA_ONSTACK | libc::SA_RESTART)
}

/// Sets what happens at a signal.
fn meet(signal: libc::c_int, handler: usize, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: `action` is initialised; its handler is the default one, or none, or has the
    // signature that goes with the flags, and does only what a handler may.
    match unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if signal == libc::SIGABRT && TOLD.load(Ordering::Relaxed) {
        return;
    }
    if !crash::is_reported() {
        return end(signal);
    }
    // SAFETY: asks the kernel for a number.
    let this = unsafe { libc::gettid() };
    match REPORTER.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed) {
        // SAFETY: with SA_SIGINFO the kernel hands over what it knows of the signal.
        Ok(_) => report(signal, unsafe { &*info }),
        // Another one reports and then ends the process.
        Err(other) if other != this => loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        },
        // The report itself went wrong.
        Err(_) => {}
    }
    end(signal);
}

/// Lets the signal end the process.
fn end(signal: libc::c_int) {
    let _ = meet(signal, libc::SIG_DFL, 0);
    // SAFETY: the signal has its first meaning again and ends the process.
    unsafe { libc::raise(signal) };
}

fn report(signal: libc::c_int, info: &libc::siginfo_t) {
    let targets = targets();
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let name = name.split(|b| *b == 0).next().unwrap_or_default();
    let command = match crash::noted() {
        "" => "none",
        command => command,
    };
    let (mut first, mut second, mut third) = ([0; 20], [0; 20], [0; 20]);
    let say = |pieces: &[&[u8]]| targets.iter().for_each(|target| write(*target, pieces));
    say(&[
        b"\n=== RINGSTONE BUG REPORT START ===\nRingstone ",
        env!("CARGO_PKG_VERSION").as_bytes(),
        b" crashed by signal: ",
        number(signal.unsigned_abs().into(), 10, &mut first),
        b", si_code: ",
        if info.si_code < 0 { b"-" } else { b"" },
        number(info.si_code.unsigned_abs().into(), 10, &mut second),
    ]);
    if info.si_code > 0 && signal != libc::SIGABRT {
        // SAFETY: the kernel says by its code that the signal comes of an access, which has an
        // address.
        let address = unsafe { info.si_addr() } as u64;
        say(&[b"\nAccessing address: 0x", number(address, 16, &mut third)]);
    } else {
        // SAFETY: signals that processes send carry who sent them.
        let sender = unsafe { info.si_pid() };
        say(&[b"\nSent by PID: ", number(sender.unsigned_abs().into(), 10, &mut third)]);
    }
    say(&[
        b"\nThread: ",
        name,
        b"\nThe last command it began: ",
        command.as_bytes(),
        b"\n\n------ STACK TRACE ------\n",
    ]);
    let mut frames = [std::ptr::null_mut(); FRAMES];
    // SAFETY: `frames` has room for as many as are asked for; the code was loaded at the start.
    let found = unsafe { libc::backtrace(frames.as_mut_ptr(), FRAMES as libc::c_int) };
    for target in targets {
        // SAFETY: the first `found` frames were just written; this function allocates nothing.
        unsafe { libc::backtrace_symbols_fd(frames.as_ptr(), found, target) };
    }
    say(&[b"\n=== RINGSTONE BUG REPORT END ===\n"]);
}

/// Where the report goes: to standard error, and to where the log goes.
fn targets() -> [libc::c_int; 2] {
    let log = match LOG.get() {
        // SAFETY: the path ends by a zero.
        Some(path) => unsafe {
            libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT, 0o644)
        },
        None if TWO_OUTPUTS.load(Ordering::Relaxed) => libc::STDOUT_FILENO,
        None => -1,
    };
    [libc::STDERR_FILENO, log]
}

/// Writes to a descriptor; who cannot be written to is not told.
fn write(target: libc::c_int, pieces: &[&[u8]]) {
    for piece in pieces {
        // SAFETY: `piece` is as long as it says.
        unsafe { libc::write(target, piece.as_ptr().cast(), piece.len()) };
    }
}

/// A number in digits, without allocating.
fn number(mut number: u64, base: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b"0123456789abcdef"[(number % base) as usize];
        number /= base;
        if number == 0 {
            return &room[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_help() {
        let text = |n, base| String::from_utf8(number(n, base, &mut [0; 20]).to_vec()).unwrap();
        for n in [0, 7, 10, 11, 4096, u64::MAX] {
            assert_eq!((text(n, 10), text(n, 16)), (n.to_string(), format!("{n:x}")));
        }
    }

    /// Takes its stack to the end.
    #[expect(unconditional_recursion, reason = "it is to end so")]
    fn descend(depth: u64) -> u64 {
        let held = std::hint::black_box([depth; 64]);
        descend(depth + 1) + held[0]
    }

    /// The process ends, so it is another one: this test again, told to.
    #[test]
    fn a_stack_that_overflows_is_reported() {
        use std::os::unix::process::ExitStatusExt;
        const WORD: &str = "RINGSTONE_TEST_OVERFLOW";
        if std::env::var_os(WORD).is_some() {
            report_signals(None).expect("installs");
            let named = std::thread::Builder::new().name("shard-7".into());
            let thread = named.spawn(|| {
                give_stack();
                crash::note("set");
                descend(0)
            });
            let _ = thread.expect("spawns").join();
            return;
        }
        let mut command = std::process::Command::new(std::env::current_exe().expect("this test"));
        let name = "server::fatal::tests::a_stack_that_overflows_is_reported";
        let run = command.args([name, "--exact", "--nocapture"]).env(WORD, "1").output();
        let run = run.expect("runs");
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.signal(), Some(libc::SIGSEGV), "{said}");
        for part in [
            " crashed by signal: 11, si_code: ",
            "\nAccessing address: 0x",
            "\nThread: shard-7\nThe last command it began: set\n",
            "=== RINGSTONE BUG REPORT END ===\n",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}
