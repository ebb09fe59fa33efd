//! The simulator: shards, log and recovery on a simulated disk, under a simulated clock, with
//! simulated clients, all from one seed, on one thread.
//!
//! A schedule is a few lives of a process. In each, clients send pipelines of commands and
//! transactions, shards take their turns in any interleaving, operations of the disk complete in
//! any order and sometimes fail, snapshots begin and are written step by step, until the process is
//! stopped, killed, or loses its power (what was not flushed is lost, torn or reordered). Then the
//! directory is recovered, by the same number of shards or another, perhaps dying in the middle of
//! it, perhaps more than once; where there is no log, from the last snapshot. [`oracle`] and
//! [`saves`] say what must hold.
//!
//! | file | what it is |
//! |---|---|
//! | `probe` | what the shards executed, seen from outside |
//! | `client` | random requests, and what they look at |
//! | `waiters` | clients that wait for keys, and where elements are |
//! | `values` | those on values of other types, and on long strings |
//! | `world` | one life: the shards' turns in phases |
//! | `oracle` | what must hold after a crash |
//! | `saves` | snapshots: the writer's steps, and what must hold of the file |
//! | `rewrites` | rewrites of the log and backups, the same |
//! | `schedule` | lives, crashes and recoveries in a row |
//!
//! `RINGSTONE_SIM_SCHEDULES` says how many schedules run, `RINGSTONE_SIM_SEED` the seed of the
//! first; a failure prints the seed to run it again with. What happens is printed, step by step,
//! when there is only one.

mod client;
mod offsets;
mod oracle;
pub mod probe;
mod rewrites;
mod saves;
mod schedule;
mod values;
mod waiters;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use schedule::Totals;

/// Schedules of a run that nobody asked to be longer.
const SCHEDULES: u64 = 400;
/// Where the seeds of such a run begin.
const FIRST_SEED: u64 = 1;

thread_local! {
    static TELLS: Cell<bool> = const { Cell::new(false) };
}

/// Prints what happens when only one schedule runs.
fn tell(text: impl FnOnce() -> String) {
    if TELLS.get() {
        eprintln!("{}", text());
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Runs schedules with seeds from `first` on; panics with the seed of the first that fails.
fn run(first: u64, count: u64) -> Totals {
    let mut totals = Totals::default();
    TELLS.set(count == 1 && number("RINGSTONE_SIM_SEED").is_some());
    for seed in first..first + count {
        let ran = catch_unwind(AssertUnwindSafe(|| schedule::run(seed)));
        match ran {
            Ok(one) => totals.add(&one),
            Err(payload) => {
                let done = seed - first;
                eprintln!(
                    "schedule {done} failed: RINGSTONE_SIM_SEED={seed} RINGSTONE_SIM_SCHEDULES=1"
                );
                resume_unwind(payload);
            }
        }
    }
    totals
}

/// Seeds that have found something. What a seed does changes with the requests and schedules that
/// are made here, so what it found has a test beside the code as well.
const FOUND: [u64; 6] = [
    // A large value that was renamed to a shard which had done with a cancelled snapshot stayed
    // under its cut, and the next snapshot ended the process.
    688, // A SADD that added nothing was answered before what it had found was safe.
    400_335, 1_851,
    // A client that had ended its stream was closed while the element it had popped was on its
    // way to it.
    2_000_171, 2_004_096, 2_004_256,
];

#[test]
fn seeds_that_have_found_something_find_it_no_more() {
    for seed in FOUND {
        run(seed, 1);
    }
}

#[test]
fn nothing_that_was_told_is_lost() {
    let seed = number("RINGSTONE_SIM_SEED").unwrap_or(FIRST_SEED);
    let count = number("RINGSTONE_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let totals = run(seed, count);
    eprintln!("{count} schedules: {totals:#?}");
}
