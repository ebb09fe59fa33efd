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
//! | `turns` | logs that are turned on and off, and what a start may find of them |
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
mod turns;
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

/// A run of so many is long enough for everything to happen.
const ENOUGH: u64 = 10_000;
/// What must have happened in it.
const HAPPENS: &[&str] = &[
    "rewrites installed",
    "rewrites failed",
    "rewrites given up",
    "cuts of rewrites taken back",
    "bases compared",
    "bases without a log",
    "backups sealed",
    "told that all is durable",
    "CONFIG SET appendfsync always",
    "CONFIG SET appendfsync everysec",
    "CONFIG SET appendfsync no",
    "CONFIG SET aof-commit-method append",
    "CONFIG SET aof-commit-method segment",
    "CONFIG SET appendonly yes",
    "CONFIG SET appendonly no",
    "logs that wait for their base",
    "logs begun",
    "logs begun empty",
    "logs ended in good order",
    "logs ended unsealed",
    "logs given up",
    "starts that found no log of the process before",
    "Create fails",
    "Write fails",
    "Sync fails",
    "SyncDir fails",
    "Rename fails",
    "Remove fails",
    "Read fails",
    "a write is cut short",
    "a write is made at once",
    "keys are known that wait for a log",
    "replies that wait are let go",
    "the disk is full",
    "room is taken ahead",
    "bytes are put on their way",
    "bytes are lost on their way",
    "pages are forgotten",
    "deaths in Create",
    "deaths in Write",
    "deaths in Sync",
    "deaths in Rename",
    "deaths in SyncDir",
    "deaths in Remove",
    "deaths within a step of a thread",
    "deaths in a clean stop",
    "deaths with the log Off",
    "deaths with the log Waiting",
    "deaths while the log is cut: Gather",
    "deaths while the log is cut: WriteTemp",
    "deaths while the log is cut: SyncNames",
    "deaths while the log is cut: Rename",
    "deaths while the log is cut: SyncDir",
    "deaths while a log is turned off: Gather",
    "deaths while a rewrite writes what is walked",
    "deaths while a rewrite waits for the right to cut",
    "deaths while a rewrite removes history",
    "schedules with blocks of 512",
    "schedules with blocks of 4096",
];

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

// What a seed does changes with the requests and schedules that are made here, so what one has
// found is kept as a test beside the code: `shard::snapshot::tests` (a large value that comes
// behind a cancellation), `command::scan::tests` (writes that change nothing wait for what they
// have found), `shard::bounds_tests` (a client that has ended its stream hears what it popped),
// `persist::backup::tests`, `keyspace::waiting::tests`. `tests/records` names the seeds.

#[test]
fn nothing_that_was_told_is_lost() {
    let seed = number("RINGSTONE_SIM_SEED").unwrap_or(FIRST_SEED);
    let count = number("RINGSTONE_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let totals = run(seed, count);
    eprintln!("{count} schedules from seed {seed} on, {totals}");
    if count >= ENOUGH {
        let missing: Vec<_> = HAPPENS.iter().filter(|n| !totals.counts.contains_key(**n)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}
