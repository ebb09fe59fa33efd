//! The logs of a process, one after another (CONFIG SET appendonly), and what a start may find of
//! them.
//!
//! 1. Once a log is known to be listed durably, a start finds it and nothing older; so it is behind
//!    a WAITAOF that says so. Then it holds what it promises while it is written ([`oracle`]).
//! 2. One that was turned off in good order is found whole, under every policy and behind every
//!    crash, and nothing of what came behind; one that could not be written then, as behind a crash
//!    at that moment.
//! 3. Until a log is listed a start finds what was there before. Where the process dies in between
//!    it finds one of the two, whole.
//! 4. A log that was given up is not found.
//!
//! [`oracle`]: super::oracle

use std::collections::BTreeSet;

use crate::persist::aof::manifest::{Manifest, Ours};
use crate::shard::global::Global;
use crate::shard::sim::oracle::Witness;
use crate::shard::sim::probe::{self, Data, Step};
use crate::shard::sim::rewrites::{Counts, count};
use crate::shard::sim::tell;
use crate::shard::turning::Logging;

/// One log of a process.
#[derive(Debug)]
pub struct Era {
    /// By shard: so many steps were executed in front of it. Its base, or what the process began
    /// with, holds them.
    pub from: Vec<usize>,
    /// The same at its end.
    pub to: Option<Vec<usize>>,
    /// The seeds of its files.
    pub seeds: BTreeSet<u64>,
    /// A start has been known to find it.
    pub listed: bool,
    /// It has ended.
    pub over: Option<Over>,
}

/// What was known when a log had ended.
#[derive(Debug)]
pub struct Over {
    /// How much had been told, and at how many moments.
    pub told: usize,
    pub moments: usize,
    /// What was durable.
    pub durable: Vec<u64>,
    /// The manifest says where it ends.
    pub sealed: bool,
}

impl Era {
    /// One that begins behind so many steps.
    pub fn new(from: Vec<usize>) -> Era {
        Era { from, to: None, seeds: BTreeSet::new(), listed: false, over: None }
    }

    /// Number of steps by shard that are kept when each log is kept up to these positions.
    pub fn kept(&self, steps: &[Vec<Step>], ends: &[u64]) -> Vec<usize> {
        let upto = |shard: usize| {
            let all = &steps[shard];
            let to = self.to.as_ref().map_or(all.len(), |to| to[shard]);
            let own = &all[self.from[shard]..to];
            self.from[shard] + own.partition_point(|step| step.end <= ends[shard])
        };
        (0..steps.len()).map(upto).collect()
    }

    /// Whether a reply that depends on so many steps of a shard tells of something in this log.
    pub fn holds(&self, shard: usize, steps: usize) -> bool {
        self.to.as_ref().is_none_or(|to| steps <= to[shard])
    }
}

/// What a start with a log may find.
#[derive(Clone, Debug)]
pub enum Stand {
    /// What was there when the process began: the data of a log, or no log.
    Older(Option<Data>),
    /// A base alone, of a rewrite without a log.
    Base(Data),
    /// A log of this process.
    Era(usize),
}

/// Follows the logs of a process.
pub struct Ledger {
    /// What a start may find, oldest first.
    pub stands: Vec<Stand>,
    /// Logs that have been seen.
    seen: usize,
    state: Logging,
    /// What has happened.
    pub counts: Counts,
}

fn seeds(manifest: &Manifest) -> impl Iterator<Item = u64> {
    manifest.lines.iter().filter_map(|line| match &line.ours {
        Some(Ours::Shard(pairs)) => Some(pairs.seed),
        _ => None,
    })
}

/// Whether the last generation was ended in good order.
fn is_sealed(manifest: &Manifest) -> bool {
    let last = manifest.generation();
    manifest.lines.iter().any(|line| {
        matches!(&line.ours, Some(Ours::Shard(pairs)) if pairs.generation == last && pairs.clean)
    })
}

impl Ledger {
    /// A process has begun: with a log over files of these seeds, or without where there is this.
    pub fn new(seeds: BTreeSet<u64>, older: Option<Data>, shards: usize) -> Ledger {
        let mut stands = vec![Stand::Older(older)];
        let mut state = Logging::Off;
        if !seeds.is_empty() {
            state = Logging::On;
            stands = vec![Stand::Era(0)];
            let era = Era { seeds, listed: true, ..Era::new(vec![0; shards]) };
            probe::with(|t| t.eras.push(era));
        }
        let seen = usize::from(state == Logging::On);
        Ledger { stands, seen, state, counts: Counts::new() }
    }

    /// A rewrite without a log has begun at this moment.
    pub fn begins_alone(&mut self, moment: Data) {
        self.stands.push(Stand::Base(moment));
    }

    /// It has succeeded: nothing older is found any more.
    pub fn is_done_alone(&mut self, moment: &Data) {
        let is_it = |stand: &Stand| matches!(stand, Stand::Base(data) if data == moment);
        let at = self.stands.iter().rposition(is_it).expect("it has begun");
        self.stands.drain(..at);
        count(&mut self.counts, "bases without a log");
    }

    /// Looks whether a log has begun or ended.
    pub fn look(&mut self, global: &Global, witness: &Witness, durable: impl Fn() -> Vec<u64>) {
        let eras = probe::with(|t| t.eras.len()).expect("the process is looked at");
        self.stands.extend((self.seen..eras).map(Stand::Era));
        self.seen = eras;
        let (was, now) = (self.state, global.turning.state());
        if was == now {
            return;
        }
        tell(|| format!("  the log: {was:?}, {now:?}"));
        self.state = now;
        let what = probe::with(|t| {
            let last = eras - 1;
            let era = &mut t.eras[last];
            match (was, now) {
                (_, Logging::On) => {
                    era.listed = true;
                    let is_it = |stand: &Stand| matches!(stand, Stand::Era(n) if *n == last);
                    let at = self.stands.iter().position(is_it).expect("it has begun");
                    self.stands.drain(..at);
                    if was == Logging::Emptied { "logs begun empty" } else { "logs begun" }
                }
                (_, Logging::Off) => {
                    let (told, moments) = (witness.replies(), witness.moments());
                    let durable = durable();
                    let sealed = was == Logging::On && is_sealed(&global.manifest());
                    era.over = Some(Over { told, moments, durable, sealed });
                    let named = seeds(&global.manifest()).any(|seed| era.seeds.contains(&seed));
                    if was != Logging::On && !named {
                        self.stands.retain(|stand| !matches!(stand, Stand::Era(n) if *n == last));
                    }
                    match (was, sealed) {
                        (Logging::On, true) => "logs ended in good order",
                        (Logging::On, false) => "logs ended unsealed",
                        _ => "logs given up",
                    }
                }
                _ => "logs that wait for their base",
            }
        });
        count(&mut self.counts, what.expect("the process is looked at"));
    }
}
