//! Why a directive that is accepted has no effect here, for the documentation.

/// Reasons, each with the directives it is the reason of.
const REASONS: &[(&str, &[&str])] = &[
    (
        "nothing forks, and what `appendfsync` promises holds during a rewrite as well",
        &["no-appendfsync-on-rewrite"],
    ),
    (
        "values of RDB files are always checked as they are read",
        &["sanitize-dump-payload", "loading-process-events-interval-bytes"],
    ),
    (
        "there is no replication yet",
        &[
            "masterauth",
            "masteruser",
            "replica-announce-ip",
            "replica-announce-port",
            "replica-announced",
            "replica-ignore-disk-write-errors",
            "replica-ignore-maxmemory",
            "replica-lazy-flush",
            "replica-priority",
            "replica-read-only",
            "replica-serve-stale-data",
            "propagation-error-behavior",
            "repl-backlog-size",
            "repl-backlog-ttl",
            "repl-disable-tcp-nodelay",
            "repl-diskless-load",
            "repl-diskless-sync",
            "repl-diskless-sync-delay",
            "repl-diskless-sync-max-replicas",
            "repl-ping-replica-period",
            "repl-timeout",
            "min-replicas-max-lag",
            "rdb-del-sync-files",
            "bind-source-addr",
            "shutdown-timeout",
        ],
    ),
    (
        "there is no cluster",
        &[
            "cluster-config-file",
            "cluster-port",
            "cluster-node-timeout",
            "cluster-announce-ip",
            "cluster-announce-hostname",
            "cluster-announce-human-nodename",
            "cluster-announce-port",
            "cluster-announce-tls-port",
            "cluster-announce-bus-port",
            "cluster-allow-pubsubshard-when-down",
            "cluster-allow-reads-when-down",
            "cluster-allow-replica-migration",
            "cluster-link-sendbuf-limit",
            "cluster-migration-barrier",
            "cluster-preferred-endpoint-type",
            "cluster-replica-no-failover",
            "cluster-replica-validity-factor",
            "cluster-require-full-coverage",
        ],
    ),
    ("nothing is evicted", &["maxmemory-samples", "maxmemory-eviction-tenacity"]),
    (
        "large things are always freed aside, in slices",
        &[
            "lazyfree-lazy-eviction",
            "lazyfree-lazy-expire",
            "lazyfree-lazy-server-del",
            "lazyfree-lazy-user-del",
            "lazyfree-lazy-user-flush",
        ],
    ),
    ("tables grow by one small piece at a time", &["activerehashing"]),
    (
        "the allocator is another one, which does this by itself or not at all",
        &[
            "activedefrag",
            "active-defrag-ignore-bytes",
            "active-defrag-cycle-min",
            "active-defrag-cycle-max",
            "active-defrag-threshold-lower",
            "active-defrag-threshold-upper",
            "active-defrag-max-scan-fields",
            "jemalloc-bg-thread",
        ],
    ),
    (
        "there is one thread per core, which does everything: see `shards` and `pin-threads`",
        &["io-threads", "io-threads-do-reads", "server-cpulist", "bio-cpulist"],
    ),
    (
        "background work measures itself and needs no rate",
        &["hz", "dynamic-hz", "active-expire-effort"],
    ),
    ("there are no users but the default one", &["acl-pubsub-default", "acllog-max-len"]),
    ("there are no modules", &["enable-module-command"]),
    ("there is no client-side caching yet", &["tracking-table-max-keys"]),
    ("this type is not there yet", &["zset-max-listpack-entries", "zset-max-listpack-value"]),
    ("there are no scripts yet", &["busy-reply-threshold"]),
    ("there are no channels yet", &["notify-keyspace-events"]),
    ("nothing compares by locale yet", &["locale-collate"]),
    ("Linux marks no sockets for us", &["socket-mark-id"]),
    (
        "the process keeps the arguments it was given as its title",
        &["set-proc-title", "proc-title-template"],
    ),
    ("the log goes to `logfile` or standard output; a service manager hands it on", SYSLOG),
    (
        "a panic and a fatal signal end the process at once, with a report",
        &["crash-memcheck-enabled", "use-exit-on-panic", "watchdog-period"],
    ),
    ("no check at the start stops it", &["ignore-warnings"]),
    (
        "it is not recorded yet",
        &[
            "slowlog-log-slower-than",
            "slowlog-max-len",
            "latency-monitor-threshold",
            "latency-tracking",
            "latency-tracking-info-percentiles",
        ],
    ),
];

const SYSLOG: &[&str] = &["syslog-enabled", "syslog-ident", "syslog-facility"];

/// Why `directive` has no effect; empty for those that have one.
pub fn of(directive: &str) -> &'static str {
    let found = REASONS.iter().find(|(_, names)| names.contains(&directive));
    found.map_or("", |(reason, _)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::{self, Status};

    #[test]
    fn whatever_is_only_accepted_has_a_reason() {
        for row in table::all().filter(|d| d.status == Status::Accepted) {
            assert!(!of(row.name).is_empty(), "{}", row.name);
        }
        for name in REASONS.iter().flat_map(|(_, names)| *names) {
            assert!(table::find(name.as_bytes()).is_some_and(|(_, d)| d.name == *name), "{name}");
        }
    }
}
