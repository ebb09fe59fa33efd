//! The one table of counters, a block of them for each shard.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::observe::latency::Histogram;

/// Most error codes that are counted apart.
const ERROR_CODES_MAX: usize = 128;
/// Longest error code that is counted, in bytes.
const ERROR_CODE_LEN_MAX: usize = 64;

/// A number that one thread writes and any may read. Its owner needs no atomic addition.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds to it.
    pub fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    /// Takes from it.
    pub fn sub(&self, n: u64) {
        debug_assert!(self.get() >= n);
        self.set(self.get().wrapping_sub(n));
    }

    /// Raises it to `value` if that is more.
    pub fn raise(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }
}

macro_rules! shard_counters {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ident,)*) => {
        /// What one shard counts. Counters begin again at CONFIG RESETSTAT, gauges do not.
        #[derive(Debug)]
        pub struct ShardStats {
            $($(#[doc = $doc])+ pub $name: Counter,)*
            /// By database.
            pub databases: Box<[DatabaseStats]>,
            /// By command, in the numbering of the registry's names.
            pub commands: Box<[CommandStats]>,
            errors: Mutex<BTreeMap<String, u64>>,
        }

        /// The counters of several shards added up.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $($(#[doc = $doc])+ pub $name: u64,)*
        }

        /// Every counter of the table: its name, its kind (`counter`, `gauge` or `peak`), its
        /// documentation.
        pub static TABLE: &[(&str, &str, &str)] =
            &[$((stringify!($name), stringify!($kind), concat!($($doc,)+)),)*];

        impl ShardStats {
            /// All zero, for `databases` databases and `commands` commands.
            pub fn new(databases: usize, commands: usize) -> Self {
                ShardStats {
                    $($name: Counter::default(),)*
                    databases: (0..databases).map(|_| DatabaseStats::default()).collect(),
                    commands: (0..commands).map(|_| CommandStats::default()).collect(),
                    errors: Mutex::default(),
                }
            }

            fn reset_counters(&self) {
                $(shard_counters!(@reset self.$name, $kind);)*
            }
        }

        impl Totals {
            /// Adds a shard's.
            pub fn add(&mut self, stats: &ShardStats) {
                $(shard_counters!(@add self.$name, stats.$name.get(), $kind);)*
            }
        }
    };
    (@reset $at:expr, counter) => { $at.set(0) };
    (@reset $at:expr, peak) => { $at.set(0) };
    (@reset $at:expr, gauge) => { let _ = &$at; };
    (@add $sum:expr, $value:expr, peak) => { $sum = $sum.max($value) };
    (@add $sum:expr, $value:expr, $other:ident) => { $sum = $sum.wrapping_add($value) };
}

shard_counters! {
    /// Clients connected now.
    connected_clients: gauge,
    /// Clients waiting in a blocking command.
    blocked_clients: gauge,
    /// Keys that clients wait for.
    blocking_keys: gauge,
    /// Those for whose absence somebody waits.
    blocking_keys_on_absence: gauge,
    /// Connections accepted.
    connections_received: counter,
    /// Connections refused for `maxclients` or protected mode.
    connections_rejected: counter,
    /// Clients closed because more requests waited than `client-query-buffer-limit`.
    query_buffer_disconnections: counter,
    /// Clients closed because more replies waited than `client-output-buffer-limit`.
    output_buffer_disconnections: counter,
    /// Commands executed.
    commands_processed: counter,
    /// Parts executed of commands that another shard counts.
    parts_processed: counter,
    /// Bytes read from clients.
    net_input_bytes: counter,
    /// Bytes written to clients.
    net_output_bytes: counter,
    /// Reads from clients.
    reads_processed: counter,
    /// Writes to clients.
    writes_processed: counter,
    /// Bytes held in clients' input and output buffers.
    client_memory: gauge,
    /// Largest input buffer seen lately, in bytes.
    recent_max_input_buffer: peak,
    /// Largest output buffer seen lately, in bytes.
    recent_max_output_buffer: peak,
    /// Error replies.
    error_replies: counter,
    /// Failed authentications.
    denied_auth: counter,
    /// Look-ups that found their key.
    keyspace_hits: counter,
    /// Look-ups that did not.
    keyspace_misses: counter,
    /// Keys removed because their time had come.
    expired_keys: counter,
    /// Fields of hashes removed because their time had come.
    expired_subkeys: counter,
    /// Times the search for expired keys was cut short by its budget.
    expire_cap_reached: counter,
    /// Microseconds spent on the search for expired keys.
    expire_usec: counter,
    /// Permille of expired keys among those looked at lately.
    expired_stale_permille: gauge,
    /// Bytes of the data.
    data_memory: gauge,
    /// Entries and databases waiting to be freed.
    lazyfree_pending: gauge,
    /// Entries and databases freed in slices.
    lazyfreed: counter,
    /// Changes to the data since the last snapshot.
    dirty: gauge,
    /// Turns of the loop.
    turns: counter,
    /// Microseconds spent in turns, sleeping not counted.
    turn_usec: counter,
    /// 1 while the thread has tied itself to a core.
    pinned: gauge,
    /// Microseconds spent executing commands.
    command_usec: counter,
    /// Messages received from other shards.
    inbox_messages: counter,
    /// Multi-shard entries this shard took part in.
    entries: counter,
    /// Leases granted by this shard.
    leases: counter,
    /// Replies waiting for a release point.
    held_replies: gauge,
    /// Log position behind the last command executed.
    log_position: gauge,
    /// Log position written to the page cache without a gap.
    log_written: gauge,
    /// Log position durable without a gap.
    log_durable: gauge,
    /// The release point.
    log_released: gauge,
    /// Bytes of the stream for replicas that this shard has released.
    stream: gauge,
    /// Log frames written.
    log_frames: counter,
    /// Bytes written to the log, frame lines included.
    log_bytes: counter,
    /// Bytes in this shard's current log files.
    log_size: gauge,
    /// Bytes produced and not yet handed to the disk.
    log_buffer: gauge,
    /// Flushes under way.
    log_pending_syncs: gauge,
    /// Flushes completed.
    log_syncs: counter,
    /// Microseconds from a write's submission to the end of its flush, added up.
    log_sync_usec: counter,
    /// Flushes that came later than the policy wants.
    log_delayed_syncs: counter,
    /// Bytes written to the log that are not durable.
    log_unflushed: gauge,
    /// A write or a flush of the log has been under way for seconds.
    log_slow: gauge,
    /// Flushes of the log that have failed.
    log_broken: counter,
    /// 1 while the log is written ahead.
    log_ahead: gauge,
    /// Frames of the log written by a shard's own thread, without the ring.
    log_at_once: counter,
    /// Bytes of filler written ahead of the log.
    log_filler: counter,
    /// 1 while the last write of the log failed.
    log_failed: gauge,
    /// Bytes of copies that the snapshot under way holds of what has changed since it began.
    snapshot_kept: gauge,
}

/// What a shard tells of one of its databases.
#[derive(Debug, Default)]
pub struct DatabaseStats {
    /// Keys.
    pub keys: Counter,
    /// Keys that have an expiry.
    pub expires: Counter,
    /// Average time left of those, in milliseconds.
    pub avg_ttl: Counter,
    /// Hashes with fields that have an expiry.
    pub timed: Counter,
}

/// What a shard counts of one command.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// Times executed.
    pub calls: Counter,
    /// Nanoseconds spent executing.
    pub nanos: Counter,
    /// Times refused before execution (arity, memory, authentication).
    pub rejected: Counter,
    /// Times it answered with an error.
    pub failed: Counter,
    /// Durations, from the first call with one on.
    pub latency: OnceLock<Histogram>,
}

/// Executions of one command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executions {
    /// How many.
    pub all: u64,
    /// How many of them are parts of calls that another shard counts.
    pub parts: u64,
    /// Calls among them that failed.
    pub failed: u64,
}

impl ShardStats {
    /// Counts an executed command; `nanos` goes into its histogram when `track` says so.
    pub fn executed(&self, command: usize, nanos: u64, failed: bool, track: bool) {
        let ran = Executions { all: 1, parts: 0, failed: u64::from(failed) };
        self.executed_many(command, ran, nanos, track);
    }

    /// Counts executions that took `nanos` on average. A call is one however many shards had a part
    /// in it, and takes what all of them took.
    pub fn executed_many(&self, command: usize, ran: Executions, nanos: u64, track: bool) {
        let calls = ran.all - ran.parts;
        self.commands_processed.add(calls);
        self.parts_processed.add(ran.parts);
        let Some(stats) = self.commands.get(command) else { return };
        stats.calls.add(calls);
        stats.nanos.add(ran.all * nanos);
        stats.failed.add(ran.failed);
        if track && calls > 0 {
            stats.latency.get_or_init(Histogram::default).record_many(nanos, calls);
        }
    }

    /// Commands and parts of commands that this shard has executed.
    pub fn executions(&self) -> u64 {
        self.commands_processed.get() + self.parts_processed.get()
    }

    /// Counts an error reply by its code, the first word of `text` (without the leading `-`).
    pub fn error(&self, text: &[u8]) {
        self.error_replies.add(1);
        let code = text.split(|b| *b == b' ').next().unwrap_or_default();
        let Ok(code) = std::str::from_utf8(code) else { return };
        if code.is_empty() || code.len() > ERROR_CODE_LEN_MAX {
            return;
        }
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = errors.get_mut(code) {
            *count += 1;
        } else if errors.len() < ERROR_CODES_MAX {
            errors.insert(code.to_owned(), 1);
        }
    }

    /// Adds this shard's error replies to `sums`, by code.
    pub fn add_errors(&self, sums: &mut BTreeMap<String, u64>) {
        for (code, count) in self.errors.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *sums.entry(code.clone()).or_default() += count;
        }
    }

    /// CONFIG RESETSTAT, to be called by the owner: counters begin again, gauges stay.
    pub fn reset(&self) {
        self.reset_counters();
        for command in &self.commands {
            command.calls.set(0);
            command.nanos.set(0);
            command.rejected.set(0);
            command.failed.set(0);
            if let Some(latency) = command.latency.get() {
                latency.reset();
            }
        }
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_and_peaks_do_not() {
        let shards = [ShardStats::new(1, 1), ShardStats::new(1, 1)];
        for (n, stats) in (1..).zip(&shards) {
            stats.net_input_bytes.add(10 * n);
            stats.recent_max_input_buffer.raise(n);
            stats.recent_max_input_buffer.raise(0);
        }
        let mut totals = Totals::default();
        shards.iter().for_each(|s| totals.add(s));
        assert_eq!((totals.net_input_bytes, totals.recent_max_input_buffer), (30, 2));
    }

    #[test]
    fn reset_spares_gauges() {
        let stats = ShardStats::new(1, 2);
        stats.connected_clients.add(3);
        stats.executed(1, 500, true, true);
        stats.executed(7, 500, true, true);
        stats.error(b"ERR no such key");
        assert_eq!((stats.commands_processed.get(), stats.commands[1].calls.get()), (2, 1));
        stats.reset();
        assert_eq!((stats.connected_clients.get(), stats.commands_processed.get()), (3, 0));
        assert_eq!((stats.error_replies.get(), stats.commands[1].failed.get()), (0, 0));
        let mut errors = BTreeMap::new();
        stats.add_errors(&mut errors);
        assert!(errors.is_empty());
    }

    #[test]
    fn error_codes_are_bounded() {
        let stats = ShardStats::new(0, 0);
        for n in 0..1000 {
            stats.error(format!("E{n} x").as_bytes());
            stats.error(b"ERR y");
        }
        stats.error(&[b'x'; 4096]);
        stats.error(b"\xff\xfe");
        let mut errors = BTreeMap::new();
        stats.add_errors(&mut errors);
        assert_eq!(errors.len(), ERROR_CODES_MAX);
        assert_eq!(errors["ERR"], 1000);
        assert_eq!(stats.error_replies.get(), 2002);
    }

    #[test]
    fn every_counter_is_documented() {
        for (name, kind, doc) in TABLE {
            assert!(doc.trim().ends_with('.'), "{name}");
            assert!(["counter", "gauge", "peak"].contains(kind), "{name}");
        }
    }
}
