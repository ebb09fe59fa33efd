//! Directives of Redis 7.2 that have no effect here yet. They parse, they answer, and those that
//! would cost safety if neglected are guarded.

use crate::config::rows::{INT_MAX, LONG_MAX};
use crate::config::table::Kind::*;
use crate::config::table::{Directive, Kind, known, row};

const ACTION: Kind = Enum(&["no", "yes", "local"]);
const NAT: Kind = Int(0, INT_MAX);
const ANY: Kind = Int(i32::MIN as i64, INT_MAX);
const COUNT: Kind = Int(0, i64::MAX);
const PORT: Kind = Int(0, 65535);
const BYTES: Kind = Memory(0, LONG_MAX);
const NO_TLS: &str = "there is no TLS";
const NO_USERS: &str = "there are no users but the default one";
const NO_REPLICAS: &str = "there is no replication";

/// The rows.
pub static ROWS: &[Directive] = &[
    // Access.
    known("aclfile", Text, "", "File of users.").immutable().guarded(NO_USERS),
    known(
        "acl-pubsub-default",
        Enum(&["allchannels", "resetchannels"]),
        "resetchannels",
        "Channels a new user may use.",
    ),
    known("acllog-max-len", COUNT, "128", "Length of ACL LOG."),
    row("enable-protected-configs", ACTION, "no", "Who may CONFIG SET protected directives.")
        .immutable(),
    known("enable-module-command", ACTION, "no", "Who may use MODULE.").immutable(),
    known("tls-port", PORT, "0", "TCP port for TLS.").guarded(NO_TLS),
    known("tls-cluster", Bool, "no", "TLS on the cluster bus.").guarded(NO_TLS),
    known("tls-replication", Bool, "no", "TLS towards a leader.").guarded(NO_TLS),
    known("tls-auth-clients", Enum(&["no", "yes", "optional"]), "yes", "Ask for certificates.")
        .guarded(NO_TLS),
    known("tls-prefer-server-ciphers", Bool, "no", "Whose order of ciphers counts.")
        .guarded(NO_TLS),
    known("tls-session-caching", Bool, "yes", "Cache TLS sessions.").guarded(NO_TLS),
    known("tls-session-cache-size", NAT, "20480", "Cached TLS sessions.").guarded(NO_TLS),
    known("tls-session-cache-timeout", NAT, "300", "Seconds a TLS session is cached.")
        .guarded(NO_TLS),
    known("tls-cert-file", Text, "", "Certificate.").guarded(NO_TLS),
    known("tls-key-file", Text, "", "Private key.").guarded(NO_TLS),
    known("tls-key-file-pass", Text, "", "Pass phrase of the key.").sensitive().guarded(NO_TLS),
    known("tls-client-cert-file", Text, "", "Certificate as a client.").guarded(NO_TLS),
    known("tls-client-key-file", Text, "", "Private key as a client.").guarded(NO_TLS),
    known("tls-client-key-file-pass", Text, "", "Pass phrase of that key.")
        .sensitive()
        .guarded(NO_TLS),
    known("tls-dh-params-file", Text, "", "Diffie-Hellman parameters.").guarded(NO_TLS),
    known("tls-ca-cert-file", Text, "", "Trusted certificates.").guarded(NO_TLS),
    known("tls-ca-cert-dir", Text, "", "Directory of trusted certificates.").guarded(NO_TLS),
    known("tls-protocols", Text, "", "TLS versions.").guarded(NO_TLS),
    known("tls-ciphers", Text, "", "Ciphers up to TLS 1.2.").guarded(NO_TLS),
    known("tls-ciphersuites", Text, "", "Ciphers of TLS 1.3.").guarded(NO_TLS),
    // Network and process.
    known("bind-source-addr", Text, "", "Address outgoing connections come from."),
    known("socket-mark-id", Int(0, u32::MAX as i64), "0", "Mark on sockets.").immutable(),
    known("io-threads", Int(1, 128), "1", "Redis' network threads; see `shards`.").immutable(),
    known("io-threads-do-reads", Bool, "no", "Whether those read, too.").immutable(),
    row("daemonize", Bool, "no", "Go to the background: start once more there, and end here.")
        .immutable(),
    row("supervised", Enum(&["upstart", "systemd", "auto", "no"]), "no", "Tell a supervisor.")
        .immutable(),
    row(
        "always-show-logo",
        Bool,
        "no",
        "Say at the start what a logo would: version, port and process.",
    )
    .immutable(),
    known("set-proc-title", Bool, "yes", "Show state in the process title.").immutable(),
    known("proc-title-template", Text, "{title} {listen-addr} {server-mode}", "Its form."),
    known("syslog-enabled", Bool, "no", "Log to syslog, too.").immutable(),
    known("syslog-ident", Text, "redis", "Name in syslog.").immutable(),
    known(
        "syslog-facility",
        Enum(&[
            "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
        ]),
        "local0",
        "Facility in syslog.",
    )
    .immutable(),
    row(
        "crash-log-enabled",
        Bool,
        "yes",
        "Say what ran where when a panic or fatal signal ends the process.",
    ),
    known("crash-memcheck-enabled", Bool, "yes", "Test memory after a crash."),
    known("use-exit-on-panic", Bool, "no", "Exit instead of abort.").hidden(),
    known("watchdog-period", NAT, "0", "Software watchdog.").hidden(),
    known("ignore-warnings", Text, "", "Start-up warnings to ignore."),
    row("disable-thp", Bool, "yes", "Keep transparent huge pages away while clients are served.")
        .immutable(),
    row("oom-score-adj", Enum(&["no", "yes", "relative", "absolute"]), "no", "Set OOM scores."),
    row("oom-score-adj-values", OomValues, "0 200 800", "Those scores."),
    known("server-cpulist", Text, "", "Cores of the main thread; see `pin-threads`.")
        .alias("server_cpulist")
        .immutable(),
    known("bio-cpulist", Text, "", "Cores of background threads.").alias("bio_cpulist").immutable(),
    known("dynamic-hz", Bool, "yes", "Raise `hz` with the number of clients."),
    known("locale-collate", Text, "", "Locale of string comparison."),
    // Memory.
    row(
        "maxmemory-policy",
        Enum(&[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ]),
        "noeviction",
        "What is noted of the use of keys: how often they are used (`lfu`) or when (all others; \
         with `lru` files keep it). Nothing is evicted whatever it says: above `maxmemory` writes \
         are refused.",
    ),
    known("maxmemory-samples", Int(1, INT_MAX), "5", "Keys looked at before one is evicted."),
    known("maxmemory-eviction-tenacity", Int(0, 100), "10", "Effort of eviction."),
    known("maxmemory-clients", MemoryOrPercent, "0", "Bytes all clients' buffers may take.")
        .guarded("clients' buffers are bounded one by one, not together"),
    row("lfu-log-factor", NAT, "10", "How much harder the counter of a key's use rises."),
    row("lfu-decay-time", NAT, "1", "Minutes until such a counter falls by one; 0: it stays."),
    known("activerehashing", Bool, "yes", "Rehash when idle; tables here need none."),
    known("activedefrag", Bool, "no", "Defragment while running."),
    known("active-defrag-ignore-bytes", Memory(1, LONG_MAX), "104857600", "Waste left alone."),
    known("active-defrag-cycle-min", Int(1, 99), "1", "Least CPU share of defragmentation."),
    known("active-defrag-cycle-max", Int(1, 99), "25", "Greatest CPU share of it."),
    known("active-defrag-threshold-lower", Int(0, 1000), "10", "Percent of waste to begin at."),
    known("active-defrag-threshold-upper", Int(0, 1000), "100", "Percent for full effort."),
    known("active-defrag-max-scan-fields", Int(1, i64::MAX), "1000", "Fields per step."),
    known("jemalloc-bg-thread", Bool, "yes", "An allocator setting of Redis."),
    known("lazyfree-lazy-eviction", Bool, "no", "Free in the background; always so here."),
    known("lazyfree-lazy-expire", Bool, "no", "Free in the background; always so here."),
    known("lazyfree-lazy-server-del", Bool, "no", "Free in the background; always so here."),
    known("lazyfree-lazy-user-del", Bool, "no", "Free in the background; always so here."),
    known("lazyfree-lazy-user-flush", Bool, "no", "Free in the background; always so here."),
    known("tracking-table-max-keys", COUNT, "1000000", "Keys remembered for client caches."),
    // Persistence.
    known("rdb-del-sync-files", Bool, "no", "Remove RDB files of a full sync."),
    known("loading-process-events-interval-bytes", Int(1024, INT_MAX), "2097152", "While loading.")
        .hidden(),
    known("sanitize-dump-payload", Enum(&["no", "yes", "clients"]), "no", "Check RDB values."),
    known("no-appendfsync-on-rewrite", Bool, "no", "Skip flushes during a rewrite."),
    // Replication and cluster.
    known("replicaof", ReplicaOf, "", "Follow a leader.")
        .alias("slaveof")
        .immutable()
        .guarded(NO_REPLICAS),
    known("masterauth", Text, "", "Password towards the leader.").sensitive(),
    known("masteruser", Text, "", "User towards the leader.").sensitive(),
    known("replica-announce-ip", Text, "", "Address shown to the leader.")
        .alias("slave-announce-ip"),
    known("replica-announce-port", PORT, "0", "Port shown to the leader.")
        .alias("slave-announce-port"),
    known("replica-announced", Bool, "yes", "Shown to Sentinel."),
    known("replica-ignore-disk-write-errors", Bool, "no", "Go on after disk errors."),
    known("replica-ignore-maxmemory", Bool, "yes", "Leave eviction to the leader.")
        .alias("slave-ignore-maxmemory"),
    known("replica-lazy-flush", Bool, "no", "Free in the background before a full sync.")
        .alias("slave-lazy-flush"),
    known("replica-priority", NAT, "100", "Rank for failover.").alias("slave-priority"),
    known("replica-read-only", Bool, "yes", "Refuse writes as a replica.").alias("slave-read-only"),
    known("replica-serve-stale-data", Bool, "yes", "Serve without a leader.")
        .alias("slave-serve-stale-data"),
    known(
        "propagation-error-behavior",
        Enum(&["ignore", "panic", "panic-on-replicas"]),
        "ignore",
        "What an error in replayed commands does.",
    ),
    known("repl-backlog-size", Memory(1, LONG_MAX), "1048576", "Bytes kept for replicas."),
    known("repl-backlog-ttl", COUNT, "3600", "Seconds they are kept without replicas."),
    known("repl-disable-tcp-nodelay", Bool, "no", "Save packets to replicas."),
    known(
        "repl-diskless-load",
        Enum(&["disabled", "on-empty-db", "swapdb"]),
        "disabled",
        "Load a full sync from the socket.",
    ),
    known("repl-diskless-sync", Bool, "yes", "Send a full sync without a file."),
    known("repl-diskless-sync-delay", NAT, "5", "Seconds to wait for more replicas."),
    known("repl-diskless-sync-max-replicas", NAT, "0", "Replicas not to wait beyond."),
    known("repl-ping-replica-period", Int(1, INT_MAX), "10", "Seconds between pings.")
        .alias("repl-ping-slave-period"),
    known("repl-timeout", Int(1, INT_MAX), "60", "Seconds until a peer counts as gone."),
    known("min-replicas-to-write", NAT, "0", "Replicas without which writes are refused.")
        .alias("min-slaves-to-write")
        .guarded(NO_REPLICAS),
    known("min-replicas-max-lag", NAT, "10", "Seconds a replica may lag to count.")
        .alias("min-slaves-max-lag"),
    known("cluster-enabled", Bool, "no", "Be a node of a cluster.")
        .immutable()
        .guarded("there is no cluster"),
    known("cluster-config-file", Text, "nodes.conf", "File of cluster state.").immutable(),
    known("cluster-port", PORT, "0", "Port of the cluster bus.").immutable(),
    known("cluster-node-timeout", COUNT, "15000", "Milliseconds until a node counts as gone."),
    known("cluster-announce-ip", Text, "", "Address shown to the cluster."),
    known("cluster-announce-hostname", HostName, "", "Host name shown to the cluster."),
    known("cluster-announce-human-nodename", HostName, "", "Name shown in logs."),
    known("cluster-announce-port", PORT, "0", "Port shown to the cluster."),
    known("cluster-announce-tls-port", PORT, "0", "TLS port shown to the cluster."),
    known("cluster-announce-bus-port", PORT, "0", "Bus port shown to the cluster."),
    known("cluster-allow-pubsubshard-when-down", Bool, "yes", "Serve sharded channels then."),
    known("cluster-allow-reads-when-down", Bool, "no", "Serve reads then."),
    known("cluster-allow-replica-migration", Bool, "yes", "Let replicas change their leader."),
    known("cluster-link-sendbuf-limit", Memory(0, u64::MAX), "0", "Bytes waiting on a link."),
    known("cluster-migration-barrier", NAT, "1", "Replicas a leader keeps."),
    known(
        "cluster-preferred-endpoint-type",
        Enum(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
        "What redirections name.",
    ),
    known("cluster-replica-no-failover", Bool, "no", "Never fail over.")
        .alias("cluster-slave-no-failover"),
    known("cluster-replica-validity-factor", NAT, "10", "How stale a replica may be.")
        .alias("cluster-slave-validity-factor"),
    known("cluster-require-full-coverage", Bool, "yes", "Serve only when all slots are."),
    // Data types, scripts, events.
    row("hash-max-listpack-entries", COUNT, "512", "Fields of a compact hash.")
        .alias("hash-max-ziplist-entries"),
    row("hash-max-listpack-value", BYTES, "64", "Bytes of a field or value in one.")
        .alias("hash-max-ziplist-value"),
    row("list-max-listpack-size", ANY, "-2", "Size of a list's nodes.")
        .alias("list-max-ziplist-size"),
    row("list-compress-depth", NAT, "0", "Nodes at a list's ends left uncompressed."),
    row("set-max-intset-entries", COUNT, "512", "Members of a set of integers."),
    row("set-max-listpack-entries", COUNT, "128", "Members of a compact set."),
    row("set-max-listpack-value", BYTES, "64", "Bytes of a member in one."),
    row("zset-max-listpack-entries", COUNT, "128", "Members of a compact sorted set.")
        .alias("zset-max-ziplist-entries"),
    row("zset-max-listpack-value", BYTES, "64", "Bytes of a member in one.")
        .alias("zset-max-ziplist-value"),
    row("stream-node-max-bytes", BYTES, "4096", "Bytes of a stream's node."),
    row("stream-node-max-entries", COUNT, "100", "Entries of a stream's node."),
    known("busy-reply-threshold", COUNT, "5000", "Milliseconds until a script counts as busy.")
        .alias("lua-time-limit"),
    known("notify-keyspace-events", Events, "", "Events that are published."),
];
