//! The offset of the stream for replicas: what a start makes of the log against what was counted
//! while it was written, and against what had been handed out.
//!
//! While a process lives every step's end is noted with its shard's count there, which moves with
//! what is executed ([`crate::keyspace::Effects::stream`]); a start counts what it finds in files.
//! Neither knows of the other.

use std::cell::RefCell;

use crate::keyspace::Keyspace;
use crate::persist::recovery::{Plan, Step};
use crate::shard::sim::oracle::Crash;
use crate::shard::sim::tell;
use crate::shard::sim::world::World;

/// What is known of one process.
#[derive(Debug, Default)]
struct Known {
    /// By shard: position behind a step, and the count there.
    counts: Vec<Vec<(u64, u64)>>,
    /// By shard: what had been released when it ended, and could have been sent.
    released: Vec<u64>,
    /// What it called its history, and the names it knew before.
    id: Option<String>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// A process begins with these keyspaces.
pub fn begin(spaces: &[Box<Keyspace>]) {
    let count = |space: &Keyspace| vec![(space.effects.end(), space.effects.stream())];
    let counts = spaces.iter().map(|space| count(space)).collect();
    KNOWN.set(Known { counts, ..Known::default() });
}

/// A step has ended.
pub fn note(space: &Keyspace) {
    KNOWN.with_borrow_mut(|known| {
        if let Some(counts) = known.counts.get_mut(space.shard) {
            let (at, last) = counts.last().copied().unwrap_or_default();
            let now = (space.effects.end(), space.effects.stream());
            assert!(now.0 >= at && now.1 >= last, "counts only grow: {now:?} behind {at}, {last}");
            counts.push(now);
        }
    });
}

/// The process has ended.
pub fn end(world: &World) {
    let registry = &world.global().registry;
    KNOWN.with_borrow_mut(|known| {
        known.released = registry.shards.iter().map(|shard| shard.stream.get()).collect();
        known.id = registry.replication().id;
    });
}

/// What a start finds, which keeps the logs up to these positions. `safe`: the crash may take
/// nothing that was released; `failed`: a flush has failed, and the process with it.
pub fn check(plan: &Plan<'_>, ends: &[u64], crash: Crash, safe: bool, failed: bool) {
    KNOWN.with_borrow(|known| {
        let kept: Vec<u64> = known
            .counts
            .iter()
            .zip(ends)
            .map(|(counts, end)| {
                let upto = counts.partition_point(|(at, _)| at <= end);
                counts[upto.saturating_sub(1)].1
            })
            .collect();
        let reached = plan.reached;
        tell(|| format!("{reached:?} {:?}, kept {kept:?}, {known:?}", plan.replication));
        assert_eq!(reached.at, kept.iter().sum::<u64>(), "the offset is what was kept: {kept:?}");
        assert!(reached.base <= reached.at);
        if safe {
            let fewer = known.released.iter().zip(&kept).any(|(sent, kept)| sent > kept);
            assert!(!fewer, "released {:?}, kept {kept:?}", known.released);
        }
        let second = plan.replication.second.as_ref();
        match &plan.replication.id {
            // Who has the name may have been sent what was released, and nothing else.
            id @ Some(_) => {
                // The power may be cut behind the end of a clean stop, too.
                let may = safe || failed || reached.clean;
                assert!(may && *id == known.id, "{:?}: {id:?} goes on", known.id);
            }
            None => {
                let ends = crash == Crash::Power || reached.forced || reached.torn;
                assert!(ends, "the name goes on: {reached:?}");
                assert_eq!(second.map(|(id, _)| id), known.id.as_ref());
                assert!(second.is_some_and(|(_, upto)| *upto == reached.base));
            }
        }
    });
}

/// Seeds and ends of the last generation's files, by shard.
pub fn last_generation(plan: &Plan<'_>) -> (Vec<u64>, Vec<u64>) {
    let files = plan.steps.iter().rev().find_map(|step| match step {
        Step::Generation { files, .. } => Some(&files[..]),
        _ => None,
    });
    let files = files.unwrap_or_default();
    assert!(files.is_sorted_by_key(|f| f.shard));
    files.iter().map(|f| (f.seed, f.end)).unzip()
}
