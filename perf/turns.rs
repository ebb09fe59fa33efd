//! Sees how long each thread of a server keeps its clients waiting: a library to put in front of
//! libc (`LD_PRELOAD`), for a program that calls the ring by libc's `syscall`.
//!
//! A *turn* is the time between two calls of `io_uring_enter`. Of each, the CPU time of the thread
//! is taken, which leaves out what others had the core for, the hypervisor among them; and of turns
//! in which the thread went to sleep by itself (for a lock of the kernel's, say) the time on the
//! wall. Every 50 ms each thread appends a line to `$TURNS_DIR/<thread id>`: the monotonic clock in
//! nanoseconds, turns since the last line, the longest in CPU time, the longest that slept and the
//! longest on the wall, all three in nanoseconds.
//!
//! Unsafe obligations:
//! 1. The functions of libc are called with what they ask for: pointers to values that live on the
//!    stack meanwhile.
//! 2. What is handed on is what the caller has handed to the same function, whose obligations are
//!    the caller's.

use std::cell::RefCell;
use std::ffi::c_long;
use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;

type Syscall =
    unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

const EVERY_NS: u64 = 50_000_000;

#[derive(Default)]
struct Thread {
    file: Option<File>,
    /// CPU time, wall time and sleeps at the begin of the turn.
    began: Option<(u64, u64, i64)>,
    told: u64,
    turns: u64,
    longest: [u64; 3],
}

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::default();
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: (1).
    unsafe { libc::clock_gettime(id, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn sleeps() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: (1); all zeros are a `rusage`.
    unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init().ru_nvcsw
    }
}

fn readings() -> (u64, u64, i64) {
    let sleeps = sleeps();
    let wall = clock(libc::CLOCK_MONOTONIC);
    (clock(libc::CLOCK_THREAD_CPUTIME_ID), wall, sleeps)
}

impl Thread {
    fn ends(&mut self) {
        let Some((cpu, wall, slept)) = self.began.take() else { return };
        let (cpu_now, now, slept_now) = readings();
        let whole = now - wall;
        let slept = if slept_now > slept { whole } else { 0 };
        for (longest, this) in self.longest.iter_mut().zip([cpu_now - cpu, slept, whole]) {
            *longest = (*longest).max(this);
        }
        self.turns += 1;
        if now - self.told > EVERY_NS {
            self.tell(now);
        }
    }

    fn tell(&mut self, now: u64) {
        let file = self.file.get_or_insert_with(|| {
            let dir = std::env::var("TURNS_DIR").expect("TURNS_DIR says where to");
            // SAFETY: (1).
            let id = unsafe { libc::gettid() };
            File::create(format!("{dir}/{id}")).expect("a file for this thread's turns")
        });
        let [cpu, slept, whole] = std::mem::take(&mut self.longest);
        let line = format!("{now} {} {cpu} {slept} {whole}\n", std::mem::take(&mut self.turns));
        file.write_all(line.as_bytes()).expect("the line is written");
        self.told = now;
    }
}

fn real() -> Syscall {
    static REAL: OnceLock<Syscall> = OnceLock::new();
    *REAL.get_or_init(|| {
        // SAFETY: (1); libc's `syscall` has this signature for whoever passes six words.
        unsafe {
            let found = libc::dlsym(libc::RTLD_NEXT, c"syscall".as_ptr());
            assert!(!found.is_null(), "libc has a syscall");
            std::mem::transmute::<*mut libc::c_void, Syscall>(found)
        }
    })
}

/// Libc's `syscall`; those that enter a ring end a turn and begin the next.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let enters = number == libc::SYS_io_uring_enter;
    if enters {
        THREAD.with_borrow_mut(Thread::ends);
    }
    // SAFETY: (2).
    let result = unsafe { real()(number, a, b, c, d, e, f) };
    if enters {
        // Readings change no `errno` where they succeed, and these do.
        THREAD.with_borrow_mut(|thread| thread.began = Some(readings()));
    }
    result
}
