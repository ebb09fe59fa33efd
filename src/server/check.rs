//! `--check-system`: what of the machine would slow the server down or keep it from starting.
//!
//! One line a check, `[name]...OK`, and behind a failed one what it means; the exit code says
//! whether all went well.

use std::fs;
use std::process::ExitCode;

use crate::base::limits::SHARDS_MAX;
use crate::ring::{Ring, RingOptions};

/// How a check went.
enum Outcome {
    Fine,
    /// There is nothing to look at.
    Skipped,
    Bad(String),
}

use Outcome::{Bad, Fine, Skipped};

/// A check: its name and how it is done.
type Check = (&'static str, fn() -> Outcome);

/// Runs all checks and prints how they went.
pub fn main() -> ExitCode {
    let checks: [Check; 5] = [
        ("io_uring", io_uring),
        ("slow-clocksource", clock_source),
        ("THP", huge_pages),
        ("somaxconn", backlog),
        ("descriptors", descriptors),
    ];
    let mut fine = true;
    for (name, check) in checks {
        let said = match check() {
            Fine => "OK".to_owned(),
            Skipped => "skipped".to_owned(),
            Bad(why) => {
                fine = false;
                format!("WARNING:\n{why}\n")
            }
        };
        println!("[{name}]...{said}");
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// A ring as a shard makes it, with few connections.
fn io_uring() -> Outcome {
    match Ring::new(&RingOptions { connections: 16, ..RingOptions::default() }) {
        Ok(_) => Fine,
        Err(error) => Bad(error.to_string()),
    }
}

fn clock_source() -> Outcome {
    let base = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match read(base).as_deref() {
        None => Skipped,
        // Read in user space by the kernel's shared page.
        Some("tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter") => Fine,
        Some(other) => Bad(format!(
            "The clock source '{other}' takes a system call for each reading, and every turn of a \
             shard reads the clock. Where the machine has a stable one: 'echo tsc > {base}'."
        )),
    }
}

fn huge_pages() -> Outcome {
    match read("/sys/kernel/mm/transparent_hugepage/enabled") {
        None => Skipped,
        Some(text) if text.contains("[always]") => Bad(
            "Transparent huge pages are always on. The server turns them off for itself unless \
             'disable-thp no' is set; other programs that share memory with it may not."
                .to_owned(),
        ),
        Some(_) => Fine,
    }
}

fn backlog() -> Outcome {
    let Some(limit) = read("/proc/sys/net/core/somaxconn").and_then(|t| t.parse::<u32>().ok())
    else {
        return Skipped;
    };
    match limit >= 511 {
        true => Fine,
        false => Bad(format!(
            "net.core.somaxconn is {limit}: the kernel cuts 'tcp-backlog' (511 unless set) down to \
             it. To raise it: 'sysctl -w net.core.somaxconn=511'."
        )),
    }
}

fn descriptors() -> Outcome {
    use rustix::process::{Resource, getrlimit};
    let wanted = 10_000 + 64 * SHARDS_MAX as u64;
    match getrlimit(Resource::Nofile).maximum {
        Some(maximum) if maximum < wanted => Bad(format!(
            "At most {maximum} descriptors are allowed, and 'maxclients' is 10000 unless set. To \
             raise it: 'ulimit -Hn {wanted}', or LimitNOFILE in a systemd unit."
        )),
        _ => Fine,
    }
}
