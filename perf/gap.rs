//! How long this machine holds up a program that does nothing: the floor under every longest time.
//!
//! `gap SECONDS MIB` reads the clock in a loop and touches MIB of new memory meanwhile, at an even
//! pace, as a server does that grows. It makes no system call that could wait, and prints the
//! longest time between two readings in microseconds. Whatever it finds is the machine's own: other
//! threads on the core, interrupts, page faults, the hypervisor.

use std::process::ExitCode;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;

fn longest_gap(during: Duration, bytes: usize) -> Duration {
    // Zeroed memory of this size comes from the kernel untouched.
    let mut memory = vec![0_u8; bytes];
    let mut pages = memory.chunks_mut(PAGE);
    let pace = during / u32::try_from(bytes / PAGE + 1).unwrap_or(u32::MAX);
    let start = Instant::now();
    let (mut last, mut touched, mut longest) = (start, Duration::ZERO, Duration::ZERO);
    while last.duration_since(start) < during {
        if last.duration_since(start) >= touched {
            touched += pace;
            if let Some(page) = pages.next() {
                std::hint::black_box(page)[0] = 1;
            }
        }
        let now = Instant::now();
        longest = longest.max(now.duration_since(last));
        last = now;
    }
    longest
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().and_then(|text| text.parse::<f64>().ok());
    let during = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
    let mib = args.next().and_then(|text| text.parse::<usize>().ok());
    let (Some(during), Some(mib)) = (during, mib) else {
        eprintln!("gap SECONDS MIB");
        return ExitCode::FAILURE;
    };
    println!("{}", longest_gap(during, mib << 20).as_micros());
    ExitCode::SUCCESS
}
