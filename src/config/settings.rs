//! The directives that have an effect, as typed fields.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::value::{OutputLimit, read_limits};
use crate::keyspace::events::Wanted;
use crate::value::list::Limits;
use crate::value::recency::Noted;
use crate::value::shapes::{PACKED_MAX, Shapes};
use crate::value::stream::NodeMax;

/// When the log is flushed to the medium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flush {
    /// Before each answer.
    Always,
    /// Once a second.
    #[default]
    EverySecond,
    /// When the kernel sees fit.
    No,
}

/// How commits of the log reach the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitMethod {
    /// As has been measured.
    #[default]
    Auto,
    /// A growing file.
    Append,
    /// A file written ahead.
    Segment,
}

/// The commits of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// `aof-commit-method`
    pub method: CommitMethod,
    /// `aof-commit-delay-usec`
    pub delay_usec: u64,
    /// `aof-low-space`, in bytes; 0: nothing is too little.
    pub low_space: u64,
    /// `aof-reserve-size`, in bytes; 0: there is none.
    pub reserve: u64,
}

/// Weight of a line in the server's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For those who search for a bug.
    Debug,
    /// Rarely useful.
    Verbose,
    /// What an operator wants to read.
    #[default]
    Notice,
    /// What an operator must read.
    Warning,
    /// Above all weights: as a threshold it silences the log.
    Nothing,
}

/// Who may do what can harm the machine: the `enable-…` directives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permit {
    /// Nobody.
    #[default]
    No,
    /// Every client.
    Yes,
    /// Clients of this machine.
    Local,
}

impl Permit {
    /// Whether a client may, which is `local` or not.
    pub fn allows(self, local: bool) -> bool {
        match self {
            Permit::No => false,
            Permit::Yes => true,
            Permit::Local => local,
        }
    }
}

/// Who is told of readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Supervised {
    /// Nobody.
    #[default]
    No,
    /// Whoever the environment names.
    Auto,
    /// systemd
    Systemd,
    /// upstart
    Upstart,
}

/// How eagerly the kernel ends the process when memory runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomScore {
    /// Added to what the process began with.
    Relative(i32),
    /// As it is.
    Absolute(i32),
}

/// Whether threads are tied to cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// As long as they have them to themselves.
    #[default]
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

/// A pair of `save`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// More than so many seconds since the last snapshot,
    pub seconds: i64,
    /// and at least so many changes.
    pub changes: u64,
}

/// How a signal or SHUTDOWN stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// Whether to save first; `None`: if there are save points.
    pub save: Option<bool>,
    /// Whether to stop although saving has failed.
    pub force: bool,
}

/// How RDB is read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rdb {
    /// `rdb-module-data`: whether the data of modules are passed over.
    pub skip_module_data: bool,
    /// `rdb-save-version`
    pub version: u32,
    /// `rdbchecksum`
    pub checksum: bool,
    /// `rdbcompression`
    pub compress: bool,
    /// `rdb-save-incremental-fsync`
    pub flush_each: bool,
    /// `rdb-key-save-delay`, in microseconds for a key; negative: for so many keys.
    pub key_save_delay: i32,
    /// `key-load-delay`, the same.
    pub key_load_delay: i32,
}

/// What is written into the log besides commands, and what is made of a damaged one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aof {
    /// `aof-load-truncated`
    pub load_truncated: bool,
    /// `aof-load-corrupt-tail-max-size`, in bytes
    pub corrupt_tail_max: u64,
    /// `aof-timestamp-enabled`
    pub timestamps: bool,
}

/// How the log is rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// `aof-use-rdb-preamble`: whether the base is an RDB file, and not one of commands.
    pub rdb: bool,
    /// `aof-rewrite-incremental-fsync`
    pub flush_each: bool,
    /// `aof-disable-auto-gc`: files that were replaced stay.
    pub keep_history: bool,
    /// `aof-history-retention`: seconds that files that were replaced stay.
    pub retention: u64,
}

/// Backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// `backupdirname`
    pub dir_name: String,
    /// `backup-sealed-ttl`, in seconds; 0: for ever.
    pub sealed_ttl: u32,
}

/// What the effective directives say. Sizes are bytes, times as named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `port`
    pub port: u16,
    /// `bind`, in order; `*` and `-…` as given.
    pub bind: Vec<String>,
    /// Whether `bind` was given: an explicit address lifts `protected-mode`'s doubt.
    pub bind_is_default: bool,
    /// `unixsocket`, resolved against `dir`.
    pub unixsocket: Option<PathBuf>,
    /// `unixsocketperm`; `None` leaves it to the umask.
    pub unixsocketperm: Option<u32>,
    /// `tcp-backlog`
    pub tcp_backlog: u32,
    /// `tcp-keepalive`, in seconds; 0 sends none.
    pub tcp_keepalive: u32,
    /// `timeout`, in seconds; 0 means never.
    pub timeout: u32,
    /// `maxclients`
    pub maxclients: u32,
    /// `protected-mode`
    pub protected_mode: bool,
    /// `requirepass`
    pub requirepass: Option<Vec<u8>>,
    /// `proto-max-bulk-len`
    pub proto_max_bulk_len: u64,
    /// `client-query-buffer-limit`
    pub client_query_buffer_limit: u64,
    /// `client-output-buffer-limit` of normal clients.
    pub output_limit_normal: OutputLimit,
    /// `client-output-buffer-limit` of replicas.
    pub output_limit_replica: OutputLimit,
    /// `client-output-buffer-limit` of subscribers.
    pub output_limit_pubsub: OutputLimit,
    /// `databases`
    pub databases: usize,
    /// `dir`, absolute.
    pub dir: PathBuf,
    /// `hz`, 1 to 500.
    pub hz: u32,
    /// `loglevel`
    pub loglevel: LogLevel,
    /// `logfile`, resolved against `dir`; `None` is standard output.
    pub logfile: Option<PathBuf>,
    /// `pidfile`, resolved against `dir`.
    pub pidfile: Option<PathBuf>,
    /// `shutdown-timeout`, in seconds.
    pub shutdown_timeout: u32,
    /// `maxmemory`; 0 means no bound.
    pub maxmemory: u64,
    /// What is noted of keys' use: `maxmemory-policy`, `lfu-log-factor`, `lfu-decay-time`.
    pub noted: Noted,
    /// `active-expire-effort`, 1 to 10.
    pub active_expire_effort: u32,
    /// `appendonly`
    pub appendonly: bool,
    /// `appendfsync`
    pub appendfsync: Flush,
    /// How and when the log's commits are made.
    pub commits: Commits,
    /// `appendfilename`
    pub appendfilename: String,
    /// `appenddirname`
    pub appenddirname: String,
    /// `dbfilename`
    pub dbfilename: String,
    /// How RDB is read and written.
    pub rdb: Rdb,
    /// `snapshot-buffer-limit`
    pub snapshot_buffer_limit: u64,
    /// `save`, in order.
    pub save_points: Vec<SavePoint>,
    /// `stop-writes-on-bgsave-error`
    pub stop_writes_on_bgsave_error: bool,
    /// `shutdown-on-sigint`
    pub shutdown_on_sigint: Shutdown,
    /// `shutdown-on-sigterm`
    pub shutdown_on_sigterm: Shutdown,
    /// What is written into the log besides commands, and what is made of a damaged one.
    pub aof: Aof,
    /// How the log is rewritten.
    pub rewrite: Rewrite,
    /// See [`Backup`].
    pub backup: Backup,
    /// `auto-aof-rewrite-min-size`
    pub auto_aof_rewrite_min_size: u64,
    /// `auto-aof-rewrite-percentage`
    pub auto_aof_rewrite_percentage: u32,
    /// `hll-sparse-max-bytes`, `hash-max-listpack-entries` and their kin.
    pub shapes: Shapes,
    /// `notify-keyspace-events`
    pub events: Wanted,
    /// `slowlog-log-slower-than`, in microseconds; negative: nothing is slow.
    pub slowlog_log_slower_than: i64,
    /// `slowlog-max-len`
    pub slowlog_max_len: u64,
    /// `latency-monitor-threshold`, in milliseconds; 0: nothing is an event.
    pub latency_monitor_threshold: u64,
    /// `latency-tracking`
    pub latency_tracking: bool,
    /// `latency-tracking-info-percentiles`
    pub latency_percentiles: Vec<f64>,
    /// `shards`; 0: the cores this process may use.
    pub shards: usize,
    /// `pin-threads`
    pub pin_threads: Pinning,
    /// `busy-poll-usec`, in microseconds.
    pub busy_poll_usec: u64,
    /// `accept-unimplemented`
    pub accept_unimplemented: bool,
    /// `enable-protected-configs`
    pub enable_protected_configs: Permit,
    /// `daemonize`
    pub daemonize: bool,
    /// `supervised`
    pub supervised: Supervised,
    /// `always-show-logo`
    pub always_show_logo: bool,
    /// `disable-thp`
    pub disable_thp: bool,
    /// `crash-log-enabled`
    pub crash_log_enabled: bool,
    /// What is written to the kernel's `oom_score_adj`; `None` leaves it alone.
    pub oom_score_adj: Option<OomScore>,
}

/// A log is long when it has this many times `auto-aof-rewrite-min-size`.
const LONG_LOG: u64 = 16;

impl Settings {
    /// Size from which on a log is called long, in bytes.
    pub fn log_long(&self) -> u64 {
        LONG_LOG.saturating_mul(self.auto_aof_rewrite_min_size)
    }

    /// Whether a stop of this kind saves first.
    pub fn saves_at_stop(&self, how: Shutdown) -> bool {
        how.save.unwrap_or(!self.save_points.is_empty())
    }

    /// Reads the fields out of the texts of the table. Texts have been parsed before, so a field
    /// that does not fit its type is a bug of the table.
    pub(crate) fn from_texts<'a>(text: &dyn Fn(&str) -> &'a [u8]) -> Settings {
        let string = |name: &str| String::from_utf8_lossy(text(name)).into_owned();
        let word = |name: &str| std::str::from_utf8(text(name)).unwrap_or_default();
        let dir = os_path(text("dir"));
        let file = |bytes: &[u8]| (!bytes.is_empty()).then(|| dir.join(os_path(bytes)));
        let [normal, replica, pubsub] = read_limits(text("client-output-buffer-limit"));
        Settings {
            port: number(word("port")),
            bind: string("bind").split_ascii_whitespace().map(str::to_owned).collect(),
            bind_is_default: word("bind") == "* -::*",
            unixsocket: file(text("unixsocket")),
            unixsocketperm: socket_mode(word("unixsocketperm")),
            tcp_backlog: number(word("tcp-backlog")),
            tcp_keepalive: number(word("tcp-keepalive")),
            timeout: number(word("timeout")),
            maxclients: number(word("maxclients")),
            protected_mode: word("protected-mode") == "yes",
            requirepass: Some(text("requirepass").to_vec()).filter(|text| !text.is_empty()),
            proto_max_bulk_len: number(word("proto-max-bulk-len")),
            client_query_buffer_limit: number(word("client-query-buffer-limit")),
            output_limit_normal: normal,
            output_limit_replica: replica,
            output_limit_pubsub: pubsub,
            databases: number(word("databases")),
            hz: number(word("hz")),
            loglevel: log_level(word("loglevel")),
            logfile: file(text("logfile")),
            pidfile: file(text("pidfile")),
            shutdown_timeout: number(word("shutdown-timeout")),
            maxmemory: number(word("maxmemory")),
            noted: noted(&word),
            active_expire_effort: number(word("active-expire-effort")),
            appendonly: word("appendonly") == "yes",
            appendfsync: flush_policy(word("appendfsync")),
            commits: commits(&word),
            appendfilename: string("appendfilename"),
            appenddirname: string("appenddirname"),
            dbfilename: string("dbfilename"),
            rdb: rdb(&word),
            snapshot_buffer_limit: number(word("snapshot-buffer-limit")),
            save_points: save_points(word("save")),
            stop_writes_on_bgsave_error: word("stop-writes-on-bgsave-error") == "yes",
            shutdown_on_sigint: shutdown(word("shutdown-on-sigint")),
            shutdown_on_sigterm: shutdown(word("shutdown-on-sigterm")),
            aof: aof(&word),
            rewrite: rewrite(&word),
            backup: backup(&string),
            auto_aof_rewrite_min_size: number(word("auto-aof-rewrite-min-size")),
            auto_aof_rewrite_percentage: number(word("auto-aof-rewrite-percentage")),
            shapes: shapes(&word),
            events: Wanted::parse(text("notify-keyspace-events")).unwrap_or_default(),
            slowlog_log_slower_than: number(word("slowlog-log-slower-than")),
            slowlog_max_len: number(word("slowlog-max-len")),
            latency_monitor_threshold: number(word("latency-monitor-threshold")),
            latency_tracking: word("latency-tracking") == "yes",
            latency_percentiles: numbers(word("latency-tracking-info-percentiles")),
            shards: number(word("shards")),
            pin_threads: pinning(word("pin-threads")),
            busy_poll_usec: number(word("busy-poll-usec")),
            accept_unimplemented: word("accept-unimplemented") == "yes",
            daemonize: word("daemonize") == "yes",
            supervised: supervised(word("supervised")),
            always_show_logo: word("always-show-logo") == "yes",
            disable_thp: word("disable-thp") == "yes",
            crash_log_enabled: word("crash-log-enabled") == "yes",
            oom_score_adj: oom_score(word("oom-score-adj"), word("oom-score-adj-values")),
            enable_protected_configs: permit(word("enable-protected-configs")),
            dir,
        }
    }
}

fn aof<'a>(word: &dyn Fn(&str) -> &'a str) -> Aof {
    Aof {
        load_truncated: word("aof-load-truncated") == "yes",
        corrupt_tail_max: number(word("aof-load-corrupt-tail-max-size")),
        timestamps: word("aof-timestamp-enabled") == "yes",
    }
}

fn numbers<T: std::str::FromStr>(words: &str) -> Vec<T>
where
    T::Err: std::fmt::Debug,
{
    words.split_ascii_whitespace().map(number).collect()
}

/// The longest text of a packed collection: one that is too long for all of it is too long.
fn packed_text(word: &str) -> usize {
    number::<usize>(word).min(PACKED_MAX)
}

fn save_points(words: &str) -> Vec<SavePoint> {
    let numbers: Vec<i64> = numbers(words);
    let pair = |pair: &[i64]| SavePoint { seconds: pair[0], changes: pair[1].cast_unsigned() };
    numbers.chunks_exact(2).map(pair).collect()
}

/// `now` has nobody to wait for: there are no replicas.
fn shutdown(words: &str) -> Shutdown {
    let has = |word: &str| words.split(' ').any(|w| w == word);
    let save = if has("save") { Some(true) } else { has("nosave").then_some(false) };
    Shutdown { save, force: has("force") }
}

fn rdb<'a>(word: &dyn Fn(&str) -> &'a str) -> Rdb {
    Rdb {
        skip_module_data: word("rdb-module-data") == "skip",
        version: number(word("rdb-save-version")),
        checksum: word("rdbchecksum") == "yes",
        compress: word("rdbcompression") == "yes",
        flush_each: word("rdb-save-incremental-fsync") == "yes",
        key_save_delay: number(word("rdb-key-save-delay")),
        key_load_delay: number(word("key-load-delay")),
    }
}

fn noted<'a>(word: &dyn Fn(&str) -> &'a str) -> Noted {
    match word("maxmemory-policy") {
        "allkeys-lru" | "volatile-lru" => Noted::SavedTime,
        "allkeys-lfu" | "volatile-lfu" => Noted::Count {
            log_factor: number(word("lfu-log-factor")),
            decay_minutes: number(word("lfu-decay-time")),
        },
        _ => Noted::Time,
    }
}

fn rewrite<'a>(word: &dyn Fn(&str) -> &'a str) -> Rewrite {
    Rewrite {
        rdb: word("aof-use-rdb-preamble") == "yes",
        flush_each: word("aof-rewrite-incremental-fsync") == "yes",
        keep_history: word("aof-disable-auto-gc") == "yes",
        retention: number(word("aof-history-retention")),
    }
}

fn backup(text: &dyn Fn(&str) -> String) -> Backup {
    Backup { dir_name: text("backupdirname"), sealed_ttl: number(&text("backup-sealed-ttl")) }
}

fn shapes<'a>(word: &dyn Fn(&str) -> &'a str) -> Shapes {
    Shapes {
        hll_sparse_bytes: number(word("hll-sparse-max-bytes")),
        hash_entries: number(word("hash-max-listpack-entries")),
        hash_value: packed_text(word("hash-max-listpack-value")),
        list: Limits {
            size: number(word("list-max-listpack-size")),
            depth: number(word("list-compress-depth")),
        },
        set_intset: number(word("set-max-intset-entries")),
        set_entries: number(word("set-max-listpack-entries")),
        set_value: packed_text(word("set-max-listpack-value")),
        stream_node: NodeMax {
            bytes: number(word("stream-node-max-bytes")),
            entries: number(word("stream-node-max-entries")),
        },
        zset_entries: number(word("zset-max-listpack-entries")),
        zset_value: packed_text(word("zset-max-listpack-value")),
    }
}

fn flush_policy(word: &str) -> Flush {
    match word {
        "always" => Flush::Always,
        "no" => Flush::No,
        _ => Flush::EverySecond,
    }
}

fn commits<'a>(word: &dyn Fn(&str) -> &'a str) -> Commits {
    let method = match word("aof-commit-method") {
        "append" => CommitMethod::Append,
        "segment" => CommitMethod::Segment,
        _ => CommitMethod::Auto,
    };
    let (delay, low) = (word("aof-commit-delay-usec"), word("aof-low-space"));
    let reserve = number(word("aof-reserve-size"));
    Commits { method, delay_usec: number(delay), low_space: number(low), reserve }
}

fn log_level(word: &str) -> LogLevel {
    match word {
        "debug" => LogLevel::Debug,
        "verbose" => LogLevel::Verbose,
        "warning" => LogLevel::Warning,
        "nothing" => LogLevel::Nothing,
        _ => LogLevel::Notice,
    }
}

fn pinning(word: &str) -> Pinning {
    match word {
        "yes" => Pinning::Yes,
        "no" => Pinning::No,
        _ => Pinning::Auto,
    }
}

fn supervised(word: &str) -> Supervised {
    match word {
        "auto" => Supervised::Auto,
        "systemd" => Supervised::Systemd,
        "upstart" => Supervised::Upstart,
        _ => Supervised::No,
    }
}

fn permit(word: &str) -> Permit {
    match word {
        "yes" => Permit::Yes,
        "local" => Permit::Local,
        _ => Permit::No,
    }
}

fn oom_score(how: &str, values: &str) -> Option<OomScore> {
    // The first of the three is that of a server that follows nobody.
    let value = number(values.split(' ').next().unwrap_or_default());
    match how {
        "yes" | "relative" => Some(OomScore::Relative(value)),
        "absolute" => Some(OomScore::Absolute(value)),
        _ => None,
    }
}

pub(crate) fn os_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

fn socket_mode(word: &str) -> Option<u32> {
    Some(u32::from_str_radix(word, 8).expect("octal")).filter(|mode| *mode != 0)
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("the table let {text:?} through"))
}
