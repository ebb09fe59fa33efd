//! What the kernel tells of the process and the machine, read from `/proc`.

use crate::config::files::read_proc;

/// A reading. What cannot be read is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub rss: u64,
    /// Seconds of CPU time in the kernel, all threads.
    pub cpu_sys: f64,
    /// Seconds of CPU time outside of it, all threads.
    pub cpu_user: f64,
    /// The same of children that have ended.
    pub children_sys: f64,
    /// The same of children that have ended.
    pub children_user: f64,
    /// Of the main thread alone.
    pub main_sys: f64,
    /// Of the main thread alone.
    pub main_user: f64,
}

/// Reads the process's present usage.
pub fn usage() -> Usage {
    let statm = read_proc("/proc/self/statm");
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    let stat = read_proc("/proc/self/stat");
    let main = read_proc(&format!("/proc/self/task/{}/stat", std::process::id()));
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let [user, sys, children_user, children_sys] = cpu(&stat).map(|t| t as f64 / ticks);
    let [main_user, main_sys, ..] = cpu(&main).map(|t| t as f64 / ticks);
    Usage {
        rss: pages * rustix::param::page_size() as u64,
        cpu_sys: sys,
        cpu_user: user,
        children_sys,
        children_user,
        main_sys,
        main_user,
    }
}

/// How long the calling thread has run in its life, and how long it has waited for a core, in
/// microseconds; `None` where the kernel does not tell.
pub fn ran_and_waited_us() -> Option<(u64, u64)> {
    ran_and_waited(&read_proc("/proc/thread-self/schedstat"))
}

/// The first two numbers of a `schedstat` line: nanoseconds.
fn ran_and_waited(line: &str) -> Option<(u64, u64)> {
    let mut spans = line.split(' ').map(|nanos| nanos.parse::<u64>().ok().map(|n| n / 1000));
    Some((spans.next()??, spans.next()??))
}

/// User, system, children's user and children's system time out of a `stat` line, in ticks. The
/// program's name stands in parentheses and may hold anything.
fn cpu(stat: &str) -> [u64; 4] {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut times = rest.split_ascii_whitespace().skip(11).map(|n| n.parse().unwrap_or(0));
    std::array::from_fn(|_| times.next().unwrap_or(0))
}

/// Kernel name, release and machine, as INFO's `os` shows them.
pub fn os() -> String {
    let read = |name| read_proc(&format!("/proc/sys/kernel/{name}")).trim().to_owned();
    format!("{} {} {}", read("ostype"), read("osrelease"), std::env::consts::ARCH)
}

/// Bytes of memory the machine has.
pub fn system_memory() -> u64 {
    let text = read_proc("/proc/meminfo");
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:")).unwrap_or_default();
    line.split_ascii_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines() {
        let line = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15";
        assert_eq!(cpu(line), [11, 12, 13, 14]);
        assert_eq!(cpu(""), [0; 4]);
        assert_eq!(ran_and_waited("4700123 2500999 31\n"), Some((4700, 2500)));
        for line in ["", "1", "1 x 2", "x 1 2"] {
            assert_eq!(ran_and_waited(line), None, "{line}");
        }
    }

    #[test]
    fn this_process_uses_something() {
        assert!(usage().rss > 1 << 20 && system_memory() > 1 << 20);
        assert!(os().starts_with("Linux "));
        let (ran, waited) = ran_and_waited_us().expect("it is told");
        assert!(ran < 3_600_000_000 && waited < 3_600_000_000);
    }
}
