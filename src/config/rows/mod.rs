//! The rows: directives with an effect here, and Ringstone's own.

pub mod accepted;
pub mod reasons;

use crate::base::limits::SHARDS_MAX;
use crate::config::table::Kind::*;
use crate::config::table::{Directive, Kind, known, row};

/// Greatest value of a C `int`, Redis' bound for many directives.
pub const INT_MAX: i64 = i32::MAX as i64;
/// Greatest value of a C `long`, as a number of bytes.
pub const LONG_MAX: u64 = i64::MAX as u64;
/// Any C `int`.
const ANY: Kind = Int(i32::MIN as i64, INT_MAX);
/// How a signal stops.
const SIGNAL: Kind = Flags(&["default", "save", "nosave", "now", "force"]);
/// One mebibyte in bytes.
pub const MB: u64 = 1 << 20;

/// Redis' directives that have their effect here.
pub static EFFECTIVE: &[Directive] = &[
    // Network.
    row("port", Int(0, 65535), "6379", "TCP port; 0 opens none.").fixed(),
    row("bind", Bind, "* -::*", "Addresses to listen on; a leading `-` forgives a missing one.")
        .fixed(),
    row("unixsocket", Text, "", "Path of a Unix socket to listen on as well.").immutable(),
    row("unixsocketperm", Octal(0o777), "0", "Mode of the Unix socket; 0 leaves it to the umask.")
        .immutable(),
    row("tcp-backlog", Int(0, INT_MAX), "511", "Length of the kernel's queue of new connections.")
        .immutable(),
    row("tcp-keepalive", Int(0, INT_MAX), "300", "Seconds between TCP keepalives; 0 sends none."),
    row("timeout", Int(0, INT_MAX), "0", "Seconds after which an idle client is closed; 0: never."),
    row("maxclients", Int(1, u32::MAX as i64), "10000", "Most clients connected at a time."),
    row(
        "protected-mode",
        Bool,
        "yes",
        "Without a password and without `bind`, only local clients are served.",
    ),
    row("requirepass", Text, "", "Password of the default user; empty: none is asked for.")
        .sensitive(),
    row("proto-max-bulk-len", Memory(MB, LONG_MAX), "536870912", "Longest argument, in bytes."),
    row(
        "client-query-buffer-limit",
        Memory(MB, LONG_MAX),
        "1073741824",
        "Most bytes of requests that wait unexecuted for one client.",
    ),
    row(
        "client-output-buffer-limit",
        OutputLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        "Bytes of unread replies at which a client is closed: class, hard limit, soft limit, \
         seconds over the soft limit.",
    ),
    row(
        "enable-debug-command",
        Enum(&["no", "yes", "local"]),
        "no",
        "Who may use DEBUG: nobody, everybody, or clients on this machine.",
    )
    .immutable(),
    // The process.
    row("databases", Int(1, INT_MAX), "16", "Number of databases.").immutable(),
    row(
        "dir",
        Dir,
        ".",
        "Working directory: data files live here and relative paths start here. What is set live \
         is where snapshots go from then on; refused while `appendonly` is on, since the log is \
         there.",
    )
    .protected(),
    known("hz", Hz, "10", "How often per second background work looks for something."),
    row(
        "loglevel",
        Enum(&["debug", "verbose", "notice", "warning", "nothing"]),
        "notice",
        "Least weight of a line that is logged.",
    ),
    row("logfile", Text, "", "File to log to; empty: standard output.").immutable(),
    row("pidfile", Text, "", "File to write the process id to.").immutable(),
    known("shutdown-timeout", Int(0, INT_MAX), "10", "Seconds a stop waits for slow readers."),
    row(
        "shutdown-on-sigint",
        SIGNAL,
        "default",
        "How SIGINT stops, in the words of SHUTDOWN; `default`: it saves if there are save points.",
    ),
    row("shutdown-on-sigterm", SIGNAL, "default", "How SIGTERM stops, likewise."),
    // Memory and expiry.
    row("maxmemory", Memory(0, u64::MAX), "0", "Bytes of data above which writes are refused."),
    row(
        "hll-sparse-max-bytes",
        Memory(0, LONG_MAX),
        "3000",
        "Bytes above which a HyperLogLog is kept densely.",
    ),
    known("active-expire-effort", Int(1, 10), "1", "Effort spent on finding expired keys."),
    // The log.
    row(
        "appendonly",
        Bool,
        "yes",
        "Whether writes are logged. Redis' own default is `no`. Set to `yes` live, the log is what \
         a start loads once a base has been written (`aof_rewrite_in_progress`); set to `no`, the \
         log stays as it is, and a start with `yes` would load it.",
    ),
    row(
        "appendfsync",
        Enum(&["everysec", "always", "no"]),
        "everysec",
        "When the log is flushed to the medium: once a second, before each answer, or when the \
         kernel sees fit.",
    ),
    row(
        "aof-commit-method",
        Enum(&["auto", "append", "segment"]),
        "auto",
        "How the log is written: to the end of a growing file, or over blocks that were written \
         ahead. `auto`: ahead under `appendfsync always` where a measurement at the start finds it \
         faster.",
    ),
    row(
        "aof-commit-delay-usec",
        Int(0, 1_000_000),
        "0",
        "Microseconds a commit waits at most for clients that were answered by the one before; 0: \
         as long as has proved worth it.",
    ),
    row(
        "aof-low-space",
        Memory(0, LONG_MAX),
        "268435456",
        "Bytes free on the log's disk below which the server warns, in its log and as \
         `aof_disk_low` in INFO; 0: never.",
    ),
    row(
        "aof-reserve-size",
        Memory(0, LONG_MAX),
        "8388608",
        "Bytes of a file beside the log that is given up when the disk is full: room for what is \
         under way, and to end cleanly; 0: none.",
    ),
    row("appendfilename", FileName { empty: false }, "appendonly.aof", "First part of log names.")
        .immutable(),
    row("appenddirname", FileName { empty: false }, "appendonlydir", "Directory of the log.")
        .immutable(),
    row("backupdirname", FileName { empty: false }, "backupdir", "Directory of backups.")
        .immutable(),
    row(
        "backup-sealed-ttl",
        Int(0, INT_MAX),
        "0",
        "Seconds after which a sealed backup is removed by itself; 0 keeps it until BACKUP \
         CLEANUP.",
    ),
    row(
        "dbfilename",
        FileName { empty: true },
        "dump.rdb",
        "RDB file loaded when there is no log.",
    )
    .protected(),
    row(
        "rdb-module-data",
        Enum(&["refuse", "skip"]),
        "refuse",
        "What becomes of an RDB file in which modules have left data: it is refused, or their keys \
         and other data are passed over, and the log says how many.",
    ),
    row(
        "save",
        Save,
        "3600 1 300 100 60 10000",
        "When a snapshot is taken by itself, in pairs: after so many seconds if there were so many \
         changes. With any, a stop saves as well; none: `save \"\"`.",
    ),
    row(
        "stop-writes-on-bgsave-error",
        Bool,
        "yes",
        "Whether writes are refused while save points are set and the last background save failed.",
    ),
    row("rdbchecksum", Bool, "yes", "Whether RDB files end with a checksum.").immutable(),
    row("rdbcompression", Bool, "yes", "Whether long strings are compressed in RDB files."),
    row(
        "rdb-save-incremental-fsync",
        Bool,
        "yes",
        "Whether a snapshot is flushed on the way, each 32 MB, or at its end alone.",
    ),
    row(
        "bgsave-cpulist",
        Text,
        "",
        "Cores on which a snapshot's file is written, such as `0,2,4-7`; empty: no matter which. \
         Shards encode on their own.",
    )
    .alias("bgsave_cpulist")
    .immutable(),
    row(
        "rdb-key-save-delay",
        ANY,
        "0",
        "Microseconds that a snapshot takes for each key, for tests; negative: for so many keys. \
         Nobody waits for them: they end where writes would have to.",
    )
    .hidden(),
    row(
        "key-load-delay",
        ANY,
        "0",
        "Microseconds that loading takes for each key of an RDB file, for tests; negative: for so \
         many keys.",
    )
    .hidden(),
    row(
        "aof-load-truncated",
        Bool,
        "yes",
        "Whether a torn end of the log is cut at the start; if not, the start is refused.",
    ),
    row(
        "aof-load-corrupt-tail-max-size",
        Memory(0, LONG_MAX),
        "0",
        "Up to how many bytes a log is cut at the start from where it is damaged, so that it is \
         loaded all the same: the last file of another server, or each file that was being \
         written when the server ended, what depends on lost bytes included. 0: damage is refused. \
         Never covers files that were finished before, nor the manifest.",
    ),
    row(
        "aof-timestamp-enabled",
        Bool,
        "no",
        "Whether each shard's log tells with `#TS:` lines in which second what follows was \
         executed, for `ringstone check-aof --truncate-to-timestamp`.",
    ),
    row(
        "auto-aof-rewrite-percentage",
        Int(0, INT_MAX),
        "100",
        "Percent by which the log has to grow, beyond what it was behind the last rewrite, to be \
         rewritten by itself; 0: never.",
    ),
    row(
        "auto-aof-rewrite-min-size",
        Memory(0, LONG_MAX),
        "67108864",
        "Size up to which the log is never rewritten by itself; without rewrites a warning is \
         given above 16 times this size.",
    ),
    row("aof-use-rdb-preamble", Bool, "yes", "Whether a rewrite writes an RDB file, or commands."),
    row(
        "aof-rewrite-incremental-fsync",
        Bool,
        "yes",
        "Whether the file of a rewrite is flushed on the way, each 32 MB, or at its end alone.",
    ),
    row(
        "aof-rewrite-cpulist",
        Text,
        "",
        "Cores on which the file of a rewrite is written, as in `bgsave-cpulist`.",
    )
    .alias("aof_rewrite_cpulist")
    .immutable(),
    row(
        "aof-disable-auto-gc",
        Bool,
        "no",
        "Whether files that a rewrite has replaced stay, listed as history.",
    ),
    row(
        "aof-history-retention",
        Int(0, 3_153_600_000),
        "0",
        "Seconds that files that a rewrite has replaced stay, listed as history, so that \
         `ringstone restore` can go back to any moment within them; 0: they are removed at once. \
         FLUSHALL is written to the log as well then, and does not begin it anew.",
    ),
    // Observation.
    row(
        "slowlog-log-slower-than",
        Int(-1, i64::MAX),
        "10000",
        "Microseconds from which on a command stands in SLOWLOG; negative: none does. Under 1000 \
         every command is timed by itself.",
    ),
    row("slowlog-max-len", Int(0, i64::MAX), "128", "Commands that SLOWLOG keeps."),
    row(
        "latency-monitor-threshold",
        Int(0, i64::MAX),
        "0",
        "Milliseconds from which on something is an event for LATENCY; 0: nothing is.",
    ),
    row("latency-tracking", Bool, "yes", "Whether durations go into histograms, by command."),
    row(
        "latency-tracking-info-percentiles",
        Percentiles,
        "50 99 99.9",
        "Percentiles of these that INFO shows.",
    ),
];

/// Directives that Redis does not have.
pub static OURS: &[Directive] = &[
    row(
        "shards",
        Int(0, SHARDS_MAX as i64),
        "0",
        "Number of shards, each one thread; 0: the cores this process may use.",
    )
    .immutable()
    .ours(),
    row(
        "pin-threads",
        Enum(&["auto", "yes", "no"]),
        "auto",
        "Whether each shard's thread is tied to a core of its own; `auto`: as long as it has that \
         to itself.",
    )
    .immutable()
    .ours(),
    row(
        "busy-poll-usec",
        Int(0, 1_000_000),
        "0",
        "Microseconds a shard without work goes on looking before it sleeps in the kernel. For 60 \
         it does so in any case, where that pays.",
    )
    .ours(),
    row(
        "log-sync-method",
        Enum(&["growing"]),
        "growing",
        "How the log reaches the medium. `growing`: writes that flush themselves, at the end of a \
         file that grows.",
    )
    .immutable()
    .ours(),
    row(
        "snapshot-buffer-limit",
        Memory(0, LONG_MAX),
        "33554432",
        "Memory for copies of values that change while a snapshot has yet to come to them; from \
         there on writes wait for it.",
    )
    .ours(),
    row(
        "rdb-save-version",
        Int(6, 12),
        "10",
        "Version of RDB files and of what DUMP shows, 10 being that of Redis 7.0 and 12 that of \
         7.4; a higher one is taken where the data needs it.",
    )
    .ours(),
    row(
        "accept-unimplemented",
        Bool,
        "no",
        "Start in spite of directives that guard safety and have no effect yet.",
    )
    .immutable()
    .ours(),
];
