//! Cores of threads, and lists of them (`bgsave-cpulist`): `0,2,3`, `0-3`, and `0-11:2` for every
//! second one, side by side with commas between them.

use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of a list; `None`: it is no list.
fn parse(list: &str) -> Option<Vec<usize>> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n < CpuSet::MAX_CPU);
    let mut cores = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to, step) = (number(from)?, number(to)?, number(step).filter(|n| *n > 0)?);
        cores.extend((from.min(to)..=to.max(from)).step_by(step));
    }
    Some(cores)
}

/// Ties this thread to the cores of a list; an empty one to all that the process may use, since a
/// shard's thread hands its own core down to threads that it starts.
///
/// # Errors
/// Why that cannot be, as a line of the log has it.
pub(super) fn bind(list: &str) -> Result<(), String> {
    let cores = parse(list).ok_or("no list of cores")?;
    let mut set = CpuSet::new();
    match cores.is_empty() {
        // The first thread's are as they were handed to the process.
        true => set = sched_getaffinity(Some(getpid())).map_err(|error| error.to_string())?,
        false => cores.iter().for_each(|core| set.set(*core)),
    }
    sched_setaffinity(None, &set).map_err(|error| error.to_string())
}

/// Ties this thread to one core.
///
/// # Errors
/// Why that cannot be, as a line of the log has it.
pub(super) fn tie(core: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| error.to_string())
}

/// The cores that this thread may use, ascending.
///
/// # Errors
/// What the kernel says.
pub fn of_this_thread() -> Result<Vec<usize>, String> {
    let set = sched_getaffinity(None).map_err(|error| error.to_string())?;
    Ok(listed(&set))
}

/// The cores that the process's first thread may use, ascending.
///
/// # Errors
/// What the kernel says.
pub(super) fn of_process() -> Result<Vec<usize>, String> {
    let set = sched_getaffinity(Some(getpid())).map_err(|error| error.to_string())?;
    Ok(listed(&set))
}

fn listed(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_forms() {
        for (list, cores) in [
            ("", Some(vec![])),
            ("3", Some(vec![3])),
            ("0,2, 4-6", Some(vec![0, 2, 4, 5, 6])),
            ("0-7:3,9", Some(vec![0, 3, 6, 9])),
            ("6-4", Some(vec![4, 5, 6])),
            ("x", None),
            ("1-", None),
            ("0-3:0", None),
            ("1000000", None),
            ("0-99999999999999999999", None),
        ] {
            assert_eq!(parse(list), cores, "{list:?}");
        }
    }

    #[test]
    fn a_thread_goes_where_it_is_told() {
        let allowed = of_this_thread().expect("the cores of this thread");
        let core = *allowed.last().expect("a core");
        std::thread::spawn(move || {
            bind(&format!("{core}-{core}")).expect("a core of ours");
            assert_eq!(of_this_thread().expect("cores"), [core]);
            bind("").expect("back");
            assert_eq!(of_this_thread().expect("cores"), allowed);
            tie(core).expect("a core of ours");
            assert_eq!(of_this_thread().expect("cores"), [core]);
            assert!(bind("-").is_err() && tie(CpuSet::MAX_CPU - 1).is_err());
        })
        .join()
        .expect("a thread");
    }
}
