//! What all shards share to be seen: facts of the process, each shard's counters, rates.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::clock::Now;
use crate::base::random::Random;
use crate::base::replication::{Replication, new_id};
use crate::observe::backups::Backups;
use crate::observe::events::Events;
use crate::observe::latency::Merged;
use crate::observe::metrics::{ShardStats, Totals};
use crate::observe::rewrites::Rewrites;
use crate::observe::saves::Saves;
use crate::observe::slowlog::SlowLog;

/// What is known once the process has started and never changes.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Process id.
    pub pid: u32,
    /// 40 hex digits, new with each start.
    pub run_id: String,
    /// Both clocks at the start.
    pub started: Now,
    /// Path of the running program.
    pub executable: String,
    /// Path of the configuration file; empty when there is none.
    pub config_file: String,
    /// Addresses listened on, as `listener` lines show them: (kind, binds, port).
    pub listeners: Vec<Listener>,
    /// `Linux 6.1.0 x86_64`
    pub os: String,
    /// Bytes of memory the machine has.
    pub system_memory: u64,
    /// Microseconds that a commit was measured to take at the start, in a growing file and in one
    /// written ahead; `None` when that was not measured.
    pub commit_usec: Option<(u64, u64)>,
}

/// A socket that is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `tcp` or `unix`.
    pub kind: &'static str,
    /// Addresses, or the path.
    pub binds: Vec<String>,
    /// Port; `None` for a path.
    pub port: Option<u16>,
}

/// What loading has done so far, for `-LOADING` and INFO.
#[derive(Debug, Default)]
pub struct Loading {
    /// Unix time in seconds at which loading began; 0 when nothing is being loaded.
    pub started: AtomicI64,
    /// Bytes to load.
    pub total_bytes: AtomicU64,
    /// Bytes loaded.
    pub loaded_bytes: AtomicU64,
    /// Keys loaded from a base.
    pub keys_loaded: AtomicU64,
    /// Keys left out because they were past their expiry.
    pub keys_expired: AtomicU64,
}

/// Samples a rate is averaged over.
const SAMPLES: usize = 16;
/// Microseconds between two samples.
const SAMPLE_USEC: u64 = 100_000;

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    last: u64,
    ring: [u64; SAMPLES],
}

impl Rate {
    fn sample(&mut self, value: u64, at: usize, elapsed_us: u64) {
        let moved = value.saturating_sub(self.last);
        self.last = value;
        self.ring[at] = (u128::from(moved) * 1_000_000 / u128::from(elapsed_us.max(1))) as u64;
    }

    fn per_second(&self) -> u64 {
        self.ring.iter().sum::<u64>() / SAMPLES as u64
    }
}

#[derive(Debug, Default)]
struct Sampler {
    at: usize,
    last_us: u64,
    commands: Rate,
    input: Rate,
    output: Rate,
    turns: Rate,
    turn_usec: Rate,
    peak_memory: u64,
}

/// Averages of the last 1.6 seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Commands per second.
    pub commands: u64,
    /// Bytes read per second.
    pub input: u64,
    /// Bytes written per second.
    pub output: u64,
    /// Turns of all loops per second.
    pub turns: u64,
    /// Microseconds a turn takes.
    pub turn_usec: u64,
    /// Most bytes used so far.
    pub peak_memory: u64,
}

/// The meeting point: shared by all shards, written through counters only.
#[derive(Debug)]
pub struct Registry {
    /// See [`Facts`].
    pub facts: Facts,
    /// One block per shard.
    pub shards: Box<[ShardStats]>,
    /// Full names of the commands, in the order in which [`ShardStats::commands`] counts them.
    pub command_names: Vec<&'static str>,
    /// See [`Loading`].
    pub loading: Loading,
    /// See [`Saves`].
    pub saves: Saves,
    /// See [`Rewrites`].
    pub rewrites: Rewrites,
    /// See [`Backups`].
    pub backups: Backups,
    /// Bytes of the log's files in front of those that are being written.
    pub log_base_size: AtomicU64,
    /// Bytes free on the log's disk; the greatest number where that is not known.
    pub disk_free: AtomicU64,
    /// Bytes of the file that is given up when the log's disk is full; 0 while it is.
    pub reserve: AtomicU64,
    /// That is less than `aof-low-space`.
    pub disk_low: AtomicBool,
    /// Bytes in use before anything was stored.
    pub startup_memory: AtomicU64,
    /// Connections to other servers that MIGRATE has open.
    pub cached_sockets: Arc<AtomicU64>,
    /// See [`SlowLog`].
    pub slowlog: SlowLog,
    /// See [`Events`].
    pub events: Events,
    replication: Mutex<Replication>,
    sampler: Mutex<Sampler>,
}

impl Registry {
    /// For `shards` shards of `databases` databases each.
    pub fn new(
        facts: Facts,
        shards: usize,
        databases: usize,
        command_names: Vec<&'static str>,
    ) -> Self {
        let commands = command_names.len();
        Registry {
            saves: Saves::new(facts.started.unix_us.div_euclid(1_000_000)),
            shards: (0..shards).map(|_| ShardStats::new(databases, commands)).collect(),
            facts,
            command_names,
            loading: Loading::default(),
            rewrites: Rewrites::default(),
            backups: Backups::default(),
            log_base_size: AtomicU64::new(0),
            disk_free: AtomicU64::new(u64::MAX),
            reserve: AtomicU64::new(0),
            disk_low: AtomicBool::new(false),
            startup_memory: AtomicU64::new(0),
            cached_sockets: Arc::default(),
            slowlog: SlowLog::new(shards),
            events: Events::default(),
            replication: Mutex::default(),
            sampler: Mutex::default(),
        }
    }

    /// What this history is called towards replicas.
    pub fn replication(&self) -> Replication {
        let mut replication = self.replication.lock().unwrap_or_else(PoisonError::into_inner);
        replication.id.get_or_insert_with(|| new_id(&mut Random::from_system()));
        replication.clone()
    }

    /// Calls the history so; an id is drawn where none is given.
    pub fn set_replication(&self, replication: Replication) {
        *self.replication.lock().unwrap_or_else(PoisonError::into_inner) = replication;
    }

    /// The offset of the stream that replicas would be sent: what has been released of it.
    pub fn replication_offset(&self) -> u64 {
        self.shards.iter().map(|shard| shard.stream.get()).fold(0, u64::wrapping_add)
    }

    /// The counters of all shards added up.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.shards.iter().for_each(|s| totals.add(s));
        totals
    }

    /// Takes a sample for the rates if the last one is old enough. One shard calls it from its
    /// periodic work; more often than ten times a second has no effect.
    pub fn sample(&self, now: Now) {
        let mut s = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.mono_us.saturating_sub(s.last_us);
        if elapsed < SAMPLE_USEC {
            return;
        }
        let totals = self.totals();
        let at = s.at;
        s.commands.sample(totals.commands_processed, at, elapsed);
        s.input.sample(totals.net_input_bytes, at, elapsed);
        s.output.sample(totals.net_output_bytes, at, elapsed);
        s.turns.sample(totals.turns, at, elapsed);
        s.turn_usec.sample(totals.turn_usec, at, elapsed);
        s.at = (at + 1) % SAMPLES;
        s.last_us = now.mono_us;
        s.peak_memory = s.peak_memory.max(self.used_memory(&totals));
    }

    /// The rates as of the last sample, and the memory peak with the present.
    pub fn rates(&self) -> Rates {
        let used = self.used_memory(&self.totals());
        let mut s = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        s.peak_memory = s.peak_memory.max(used);
        let turns = s.turns.per_second();
        Rates {
            commands: s.commands.per_second(),
            input: s.input.per_second(),
            output: s.output.per_second(),
            turns,
            turn_usec: s.turn_usec.per_second() / turns.max(1),
            peak_memory: s.peak_memory,
        }
    }

    /// The durations of a command, in the numbering of [`Registry::command_names`].
    pub fn latency_of(&self, command: usize) -> Merged {
        let mut merged = Merged::default();
        for shard in &self.shards {
            if let Some(latency) = shard.commands.get(command).and_then(|c| c.latency.get()) {
                merged.add(latency);
            }
        }
        merged
    }

    /// Bytes of all log files that count.
    pub fn log_size(&self) -> u64 {
        self.log_base_size.load(Ordering::Relaxed) + self.totals().log_size
    }

    /// Bytes of copies that the snapshot under way holds, on all shards.
    pub fn snapshot_kept(&self) -> u64 {
        self.shards.iter().map(|shard| shard.snapshot_kept.get()).sum()
    }

    /// Bytes in use: data, clients' buffers, log buffers, and what the start took.
    pub fn used_memory(&self, totals: &Totals) -> u64 {
        totals.data_memory
            + totals.client_memory
            + totals.log_buffer
            + self.startup_memory.load(Ordering::Relaxed)
    }

    /// Forgets the memory peak (part of CONFIG RESETSTAT).
    pub fn reset_peak(&self) {
        self.sampler.lock().unwrap_or_else(PoisonError::into_inner).peak_memory = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_average_over_the_window() {
        let registry = Registry::new(Facts::default(), 2, 1, Vec::new());
        let mut now = Now::default();
        for _ in 0..SAMPLES {
            now.mono_us += SAMPLE_USEC;
            registry.shards[0].commands_processed.add(30);
            registry.shards[1].commands_processed.add(20);
            registry.sample(now);
            registry.sample(now);
        }
        assert_eq!(registry.rates().commands, 500);
    }
}
