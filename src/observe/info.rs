//! INFO: every section and field of Redis 7.2, and a section of our own.
//!
//! A field for something that Ringstone does not have (forks, Lua, replicas, cluster links) is
//! answered with the value it has in a Redis that does not use it either.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::Now;
use crate::base::replication::{ID_LEN, Replication};
use crate::base::version;
use crate::config::{Config, Flush};
use crate::observe::metrics::{ShardStats, Totals};
use crate::observe::process::Usage;
use crate::observe::registry::{Rates, Registry};

/// Everything INFO tells of, as of one moment.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// Counters and facts.
    pub registry: &'a Registry,
    /// The configuration.
    pub config: &'a Config,
    /// The turn's time.
    pub now: Now,
    /// What the kernel says.
    pub usage: Usage,
}

/// A section: its name in requests, whether it is shown when none is named, its text.
struct Section {
    name: &'static str,
    shown: bool,
    render: fn(&View<'_>, &mut String),
}

const SECTIONS: &[Section] = &[
    Section { name: "server", shown: true, render: server },
    Section { name: "clients", shown: true, render: clients },
    Section { name: "memory", shown: true, render: memory },
    Section { name: "persistence", shown: true, render: persistence },
    Section { name: "stats", shown: true, render: stats },
    Section { name: "replication", shown: true, render: replication },
    Section { name: "cpu", shown: true, render: cpu },
    Section { name: "modules", shown: true, render: |_, out| out.push_str("# Modules\r\n") },
    Section { name: "commandstats", shown: false, render: commandstats },
    Section { name: "errorstats", shown: true, render: errorstats },
    Section { name: "latencystats", shown: false, render: latencystats },
    Section { name: "cluster", shown: true, render: cluster },
    Section { name: "keyspace", shown: true, render: keyspace },
    Section { name: "ringstone", shown: true, render: ringstone },
];

/// A snapshot with what several sections need of it.
struct View<'a> {
    s: &'a Snapshot<'a>,
    totals: Totals,
    rates: Rates,
    used: u64,
}

/// The text of the named sections, in the order of the table whatever the order of the names:
/// `default` (also meant by no name at all), `all`, `everything`, or any of them. Names that are
/// no section are ignored.
pub fn render(snapshot: &Snapshot<'_>, sections: &[&[u8]]) -> String {
    let totals = snapshot.registry.totals();
    let view = View {
        used: snapshot.registry.used_memory(&totals),
        rates: snapshot.registry.rates(),
        s: snapshot,
        totals,
    };
    let named = |name: &str| sections.iter().any(|s| s.eq_ignore_ascii_case(name.as_bytes()));
    let default = sections.is_empty() || named("default");
    let every = named("all") || named("everything");
    let mut out = String::new();
    for section in SECTIONS {
        if every || (default && section.shown) || named(section.name) {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            (section.render)(&view, &mut out);
        }
    }
    out
}

/// Appends `name:value` lines.
macro_rules! fields {
    ($out:expr, $($name:literal: $value:expr,)+) => {
        $(let _ = write!($out, concat!($name, ":{}\r\n"), $value);)+
    };
}

fn server(v: &View<'_>, out: &mut String) {
    let (facts, config, now) = (&v.s.registry.facts, v.s.config, v.s.now);
    let uptime = now.mono_us.saturating_sub(facts.started.mono_us) / 1_000_000;
    out.push_str("# Server\r\n");
    fields!(out,
        "redis_version": version::REDIS,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": 0,
        "ringstone_version": version::RINGSTONE,
        "redis_mode": "standalone",
        "os": facts.os,
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": "io_uring",
        "atomicvar_api": "rust-std",
        "gcc_version": "0.0.0",
        "process_id": facts.pid,
        "process_supervised": "no",
        "run_id": facts.run_id,
        "tcp_port": config.port,
        "server_time_usec": now.unix_us,
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime / 86_400,
        "hz": config.hz,
        "configured_hz": config.hz,
        "lru_clock": now.unix_s() & 0xFF_FFFF,
        "executable": facts.executable,
        "config_file": facts.config_file,
        "io_threads_active": 0,
    );
    for (n, listener) in facts.listeners.iter().enumerate() {
        let _ = write!(out, "listener{n}:name={}", listener.kind);
        for bind in &listener.binds {
            let _ = write!(out, ",bind={bind}");
        }
        if let Some(port) = listener.port {
            let _ = write!(out, ",port={port}");
        }
        out.push_str("\r\n");
    }
}

fn clients(v: &View<'_>, out: &mut String) {
    out.push_str("# Clients\r\n");
    fields!(out,
        "connected_clients": v.totals.connected_clients,
        "cluster_connections": 0,
        "maxclients": v.s.config.maxclients,
        "client_recent_max_input_buffer": v.totals.recent_max_input_buffer,
        "client_recent_max_output_buffer": v.totals.recent_max_output_buffer,
        "blocked_clients": v.totals.blocked_clients,
        "tracking_clients": 0,
        "clients_in_timeout_table": 0,
        "total_blocking_keys": v.totals.blocking_keys,
        "total_blocking_keys_on_nokey": v.totals.blocking_keys_on_absence,
    );
}

/// A number of bytes as people read it.
fn human(bytes: u64) -> String {
    const UNITS: [(u64, char); 5] =
        [(1 << 50, 'P'), (1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

fn text<'a>(config: &'a Config, name: &str) -> std::borrow::Cow<'a, str> {
    String::from_utf8_lossy(config.text(name).unwrap_or_default())
}

fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

fn memory(v: &View<'_>, out: &mut String) {
    let config = v.s.config;
    let (used, rss, data) = (v.used, v.s.usage.rss, v.totals.data_memory);
    let startup = v.s.registry.startup_memory.load(Relaxed);
    let peak = v.rates.peak_memory;
    let system = v.s.registry.facts.system_memory;
    let overhead = used.saturating_sub(data);
    let percent = |a, b| format!("{:.2}%", ratio(a, b) * 100.0);
    let fragmentation = rss as i128 - i128::from(used);
    out.push_str("# Memory\r\n");
    fields!(out,
        "used_memory": used,
        "used_memory_human": human(used),
        "used_memory_rss": rss,
        "used_memory_rss_human": human(rss),
        "used_memory_peak": peak,
        "used_memory_peak_human": human(peak),
        "used_memory_peak_perc": percent(used, peak),
        "used_memory_overhead": overhead,
        "used_memory_startup": startup,
        "used_memory_dataset": data,
        "used_memory_dataset_perc": percent(data, used.saturating_sub(startup)),
        "allocator_allocated": used,
        "allocator_active": rss,
        "allocator_resident": rss,
        "total_system_memory": system,
        "total_system_memory_human": human(system),
        "used_memory_lua": 0,
        "used_memory_vm_eval": 0,
        "used_memory_lua_human": "0B",
        "used_memory_scripts_eval": 0,
        "number_of_cached_scripts": 0,
        "number_of_functions": 0,
        "number_of_libraries": 0,
        "used_memory_vm_functions": 0,
        "used_memory_vm_total": 0,
        "used_memory_vm_total_human": "0B",
        "used_memory_functions": 0,
        "used_memory_scripts": 0,
        "used_memory_scripts_human": "0B",
        "maxmemory": config.maxmemory,
        "maxmemory_human": human(config.maxmemory),
        "maxmemory_policy": text(config, "maxmemory-policy"),
        "allocator_frag_ratio": format_args!("{:.2}", ratio(rss, used)),
        "allocator_frag_bytes": fragmentation,
        "allocator_rss_ratio": "1.00",
        "allocator_rss_bytes": 0,
        "rss_overhead_ratio": "1.00",
        "rss_overhead_bytes": 0,
        "mem_fragmentation_ratio": format_args!("{:.2}", ratio(rss, used)),
        "mem_fragmentation_bytes": fragmentation,
        "mem_not_counted_for_evict": 0,
        "mem_replication_backlog": 0,
        "mem_total_replication_buffers": 0,
        "mem_clients_slaves": 0,
        "mem_clients_normal": v.totals.client_memory,
        "mem_cluster_links": 0,
        "mem_aof_buffer": v.totals.log_buffer,
        "mem_allocator": "mimalloc",
        "active_defrag_running": 0,
        "lazyfree_pending_objects": v.totals.lazyfree_pending,
        "lazyfreed_objects": v.totals.lazyfreed,
    );
}

/// Of the snapshot under way. There is no fork: what it copies is what it keeps of changed values.
fn save_progress(v: &View<'_>, out: &mut String) {
    let progress = &v.s.registry.saves.progress;
    let (keys, keys_total) = progress.keys();
    fields!(out,
        "current_cow_peak": progress.kept_peak(),
        "current_cow_size": v.totals.snapshot_kept,
        "current_cow_size_age": 0,
        "current_fork_perc": format_args!("{:.2}", ratio(keys, keys_total) * 100.0),
        "current_save_keys_processed": keys,
        "current_save_keys_total": keys_total,
    );
}

/// How the log's commits reach the disk, and what that was measured to take.
fn commits(v: &View<'_>, out: &mut String) {
    let registry = v.s.registry;
    let (append, segment) = registry.facts.commit_usec.unwrap_or_default();
    fields!(out,
        "aof_commit_method": match v.totals.log_ahead {
            0 => "append",
            n if n as usize == registry.shards.len() => "segment",
            _ => "mixed",
        },
        "aof_commit_probe_append_usec": append,
        "aof_commit_probe_segment_usec": segment,
        "aof_disk_free_bytes": match registry.disk_free.load(Relaxed) {
            u64::MAX => 0,
            free => free,
        },
        "aof_reserve_bytes": registry.reserve.load(Relaxed),
        "aof_disk_low": u8::from(registry.disk_low.load(Relaxed)),
        "aof_disk_slow": u8::from(v.totals.log_slow > 0),
        "aof_unflushed_bytes": v.totals.log_unflushed,
        "aof_failed_flushes": v.totals.log_broken,
    );
}

fn persistence(v: &View<'_>, out: &mut String) {
    let registry = v.s.registry;
    let (loading, rewrites) = (&registry.loading, &registry.rewrites);
    let started = loading.started.load(Relaxed);
    out.push_str("# Persistence\r\n");
    fields!(out,
        "loading": u8::from(started != 0),
        "async_loading": 0,
    );
    save_progress(v, out);
    fields!(out,
        "rdb_changes_since_last_save": registry.saves.changes(v.totals.dirty),
        "rdb_bgsave_in_progress": u8::from(registry.saves.in_progress()),
        "rdb_last_save_time": registry.saves.last(),
        "rdb_last_bgsave_status": registry.saves.status(),
        "rdb_last_bgsave_time_sec": registry.saves.last_seconds(),
        "rdb_current_bgsave_time_sec": registry.saves.current_seconds(v.s.now.unix_ms() / 1000),
        "rdb_saves": registry.saves.count(),
        "rdb_last_cow_size": registry.saves.progress.last_kept_peak(),
        "rdb_last_load_keys_expired": loading.keys_expired.load(Relaxed),
        "rdb_last_load_keys_loaded": loading.keys_loaded.load(Relaxed),
        "aof_enabled": u8::from(v.s.config.appendonly),
        "aof_rewrite_in_progress": u8::from(rewrites.in_progress()),
        "aof_rewrite_scheduled": u8::from(rewrites.is_scheduled()),
        "aof_last_rewrite_time_sec": rewrites.last_seconds(),
        "aof_current_rewrite_time_sec": rewrites.current_seconds(v.s.now.unix_ms() / 1000),
        "aof_last_bgrewrite_status": rewrites.status(),
        "aof_rewrites": rewrites.count(),
        "aof_rewrites_consecutive_failures": rewrites.failures(),
        "aof_last_write_status": if v.totals.log_failed == 0 { "ok" } else { "err" },
        "aof_last_cow_size": rewrites.kept_peak(),
        "backup_in_progress": u8::from(v.s.registry.backups.phase().is_open()),
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
        "aof_rewrite_buffer_length": 0,
    );
    if v.s.config.appendonly {
        let base = registry.log_base_size.load(Relaxed);
        fields!(out,
            "aof_current_size": base + v.totals.log_size,
            "aof_base_size": rewrites.base_size(),
            "aof_pending_rewrite": u8::from(rewrites.is_scheduled()),
            "aof_buffer_length": v.totals.log_buffer,
            "aof_pending_bio_fsync": v.totals.log_pending_syncs,
            "aof_delayed_fsync": v.totals.log_delayed_syncs,
            "aof_positions": positions(v.s.registry),
        );
        commits(v, out);
    }
    if started != 0 {
        let (total, loaded) =
            (loading.total_bytes.load(Relaxed), loading.loaded_bytes.load(Relaxed));
        let elapsed = (v.s.now.unix_us.div_euclid(1_000_000) - started).max(0) as u64;
        let left = total.saturating_sub(loaded);
        let eta = match loaded {
            0 => 1,
            _ => (u128::from(elapsed) * u128::from(left) / u128::from(loaded)) as u64,
        };
        fields!(out,
            "loading_start_time": started,
            "loading_total_bytes": total,
            "loading_rdb_used_mem": 0,
            "loading_loaded_bytes": loaded,
            "loading_loaded_perc": format_args!("{:.2}", ratio(loaded, total) * 100.0),
            "loading_eta_seconds": eta,
        );
    }
}

fn stats(v: &View<'_>, out: &mut String) {
    let (t, r) = (&v.totals, &v.rates);
    let kbps = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    out.push_str("# Stats\r\n");
    fields!(out,
        "total_connections_received": t.connections_received,
        "total_commands_processed": t.commands_processed,
        "instantaneous_ops_per_sec": r.commands,
        "total_net_input_bytes": t.net_input_bytes,
        "total_net_output_bytes": t.net_output_bytes,
        "total_net_repl_input_bytes": 0,
        "total_net_repl_output_bytes": 0,
        "instantaneous_input_kbps": kbps(r.input),
        "instantaneous_output_kbps": kbps(r.output),
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": t.connections_rejected,
        "sync_full": 0,
        "sync_partial_ok": 0,
        "sync_partial_err": 0,
        "expired_subkeys": t.expired_subkeys,
        "expired_keys": t.expired_keys,
        "expired_stale_perc": format_args!(
            "{:.2}",
            t.expired_stale_permille as f64 / 10.0 / v.s.registry.shards.len().max(1) as f64
        ),
        "expired_time_cap_reached_count": t.expire_cap_reached,
        "expire_cycle_cpu_milliseconds": t.expire_usec / 1000,
        "evicted_keys": 0,
        "evicted_clients": 0,
        "total_eviction_exceeded_time": 0,
        "current_eviction_exceeded_time": 0,
        "keyspace_hits": t.keyspace_hits,
        "keyspace_misses": t.keyspace_misses,
        "pubsub_channels": 0,
        "pubsub_patterns": 0,
        "pubsubshard_channels": 0,
        "latest_fork_usec": 0,
        "total_forks": 0,
        "migrate_cached_sockets": v.s.registry.cached_sockets.load(Relaxed),
        "slave_expires_tracked_keys": 0,
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": 0,
        "tracking_total_items": 0,
        "tracking_total_prefixes": 0,
        "unexpected_error_replies": 0,
        "total_error_replies": t.error_replies,
        "dump_payload_sanitizations": 0,
        "total_reads_processed": t.reads_processed,
        "total_writes_processed": t.writes_processed,
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "client_query_buffer_limit_disconnections": t.query_buffer_disconnections,
        "client_output_buffer_limit_disconnections": t.output_buffer_disconnections,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
    );
    loops(v, out);
}

/// The end of the statistics.
fn loops(v: &View<'_>, out: &mut String) {
    let (t, r) = (&v.totals, &v.rates);
    fields!(out,
        "eventloop_cycles": t.turns,
        "eventloop_duration_sum": t.turn_usec,
        "eventloop_duration_cmd_sum": t.command_usec,
        "instantaneous_eventloop_cycles_per_sec": r.turns,
        "instantaneous_eventloop_duration_usec": r.turn_usec,
        "acl_access_denied_auth": t.denied_auth,
        "acl_access_denied_cmd": 0,
        "acl_access_denied_key": 0,
        "acl_access_denied_channel": 0,
    );
}

fn replication(v: &View<'_>, out: &mut String) {
    out.push_str("# Replication\r\n");
    let Replication { id, second } = v.s.registry.replication();
    let (second, upto) = match second {
        // The first offset that the old id does not know.
        Some((id, upto)) => (id, upto as i64 + 1),
        None => ("0".repeat(ID_LEN), -1),
    };
    fields!(out,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": id.unwrap_or_default(),
        "master_replid2": second,
        "master_repl_offset": v.s.registry.replication_offset(),
        "second_repl_offset": upto,
        "repl_backlog_active": 0,
        "repl_backlog_size": text(v.s.config, "repl-backlog-size"),
        "repl_backlog_first_byte_offset": 0,
        "repl_backlog_histlen": 0,
    );
}

fn cpu(v: &View<'_>, out: &mut String) {
    let usage = v.s.usage;
    out.push_str("# CPU\r\n");
    fields!(out,
        "used_cpu_sys": format_args!("{:.6}", usage.cpu_sys),
        "used_cpu_user": format_args!("{:.6}", usage.cpu_user),
        "used_cpu_sys_children": format_args!("{:.6}", usage.children_sys),
        "used_cpu_user_children": format_args!("{:.6}", usage.children_user),
        "used_cpu_sys_main_thread": format_args!("{:.6}", usage.main_sys),
        "used_cpu_user_main_thread": format_args!("{:.6}", usage.main_user),
    );
}

fn commandstats(v: &View<'_>, out: &mut String) {
    out.push_str("# Commandstats\r\n");
    for (index, name) in v.s.registry.command_names.iter().enumerate() {
        let [mut calls, mut nanos, mut rejected, mut failed] = [0; 4];
        for stats in v.s.registry.shards.iter().filter_map(|s| s.commands.get(index)) {
            calls += stats.calls.get();
            nanos += stats.nanos.get();
            rejected += stats.rejected.get();
            failed += stats.failed.get();
        }
        if calls + rejected + failed == 0 {
            continue;
        }
        let usec = nanos / 1000;
        let each = ratio(nanos, calls) / 1000.0;
        let _ = write!(
            out,
            "cmdstat_{name}:calls={calls},usec={usec},usec_per_call={each:.2},\
             rejected_calls={rejected},failed_calls={failed}\r\n"
        );
    }
}

fn errorstats(v: &View<'_>, out: &mut String) {
    let mut sums = BTreeMap::new();
    v.s.registry.shards.iter().for_each(|s| s.add_errors(&mut sums));
    out.push_str("# Errorstats\r\n");
    for (code, count) in sums {
        let _ = write!(out, "errorstat_{code}:count={count}\r\n");
    }
}

fn latencystats(v: &View<'_>, out: &mut String) {
    out.push_str("# Latencystats\r\n");
    if !v.s.config.latency_tracking {
        return;
    }
    for (index, name) in v.s.registry.command_names.iter().enumerate() {
        let merged = v.s.registry.latency_of(index);
        if merged.is_empty() {
            continue;
        }
        let _ = write!(out, "latency_percentiles_usec_{name}:");
        for (n, percent) in v.s.config.latency_percentiles.iter().enumerate() {
            let usec = merged.percentile(*percent) as f64 / 1000.0;
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(out, "{comma}p{percent}={usec:.3}");
        }
        out.push_str("\r\n");
    }
}

fn cluster(_: &View<'_>, out: &mut String) {
    out.push_str("# Cluster\r\ncluster_enabled:0\r\n");
}

fn keyspace(v: &View<'_>, out: &mut String) {
    out.push_str("# Keyspace\r\n");
    for db in 0..v.s.config.databases {
        let [mut keys, mut expires, mut left, mut timed] = [0u64; 4];
        for stats in v.s.registry.shards.iter().filter_map(|s| s.databases.get(db)) {
            keys += stats.keys.get();
            expires += stats.expires.get();
            timed += stats.timed.get();
            left = left.saturating_add(stats.avg_ttl.get().saturating_mul(stats.expires.get()));
        }
        if keys > 0 {
            let ttl = left / expires.max(1);
            let _ = write!(out, "db{db}:keys={keys},expires={expires},avg_ttl={ttl}");
            let _ = write!(out, ",subexpiry={timed}\r\n");
        }
    }
}

fn ringstone(v: &View<'_>, out: &mut String) {
    let (t, config) = (&v.totals, v.s.config);
    out.push_str("# Ringstone\r\n");
    fields!(out,
        "shards": v.s.registry.shards.len(),
        "log_sync_method": match t.log_ahead {
            0 => "growing",
            n if n as usize == v.s.registry.shards.len() => "segment",
            _ => "mixed",
        },
        "log_sync_policy": match config.appendfsync {
            Flush::Always => "always",
            Flush::EverySecond => "everysec",
            Flush::No => "no",
        },
        "log_is_long": u8::from(v.s.registry.log_size() > config.log_long()),
        "log_frames": t.log_frames,
        "log_frames_at_once": t.log_at_once,
        "log_bytes": t.log_bytes,
        "log_filler_bytes": t.log_filler,
        "log_syncs": t.log_syncs,
        "log_sync_usec_avg": t.log_sync_usec / t.log_syncs.max(1),
        "held_replies": t.held_replies,
        "pinned_threads": t.pinned,
        "inbox_messages": t.inbox_messages,
        "multi_shard_entries": t.entries,
        "leases": t.leases,
    );
    for (n, s) in v.s.registry.shards.iter().enumerate() {
        let keys: u64 = s.databases.iter().map(|d| d.keys.get()).sum();
        let _ = write!(
            out,
            "shard{n}:clients={},keys={keys},commands={},log_position={},log_written={},\
             log_durable={},log_released={},log_size={},log_frames={},log_bytes={}\r\n",
            s.connected_clients.get(),
            s.executions(),
            s.log_position.get(),
            s.log_written.get(),
            s.log_durable.get(),
            s.log_released.get(),
            s.log_size.get(),
            s.log_frames.get(),
            s.log_bytes.get(),
        );
    }
}

/// Up to where each shard's log is written, as `ringstone restore --to` takes it.
fn positions(registry: &Registry) -> String {
    let one = |(n, stats): (usize, &ShardStats)| format!("{n}:{}", stats.log_written.get());
    registry.shards.iter().enumerate().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::observe::registry::{Facts, Listener};

    fn registry() -> Registry {
        let facts = Facts {
            pid: 42,
            run_id: "a".repeat(40),
            listeners: vec![Listener {
                kind: "tcp",
                binds: vec!["*".into(), "-::*".into()],
                port: Some(6379),
            }],
            ..Facts::default()
        };
        Registry::new(facts, 2, 16, vec!["get", "config|get"])
    }

    fn info(registry: &Registry, sections: &[&str]) -> String {
        let config = Config::new(Path::new("/"));
        let usage = Usage { rss: 3 << 20, cpu_sys: 0.5, ..Usage::default() };
        let now = Now { unix_us: 1_700_000_000_000_000, mono_us: 90_000_000_000 };
        let sections: Vec<&[u8]> = sections.iter().map(|s| s.as_bytes()).collect();
        render(&Snapshot { registry, config: &config, now, usage }, &sections)
    }

    fn titles(text: &str) -> Vec<&str> {
        text.lines().filter_map(|l| l.strip_prefix("# ")).collect()
    }

    #[test]
    fn sections_are_chosen() {
        let r = registry();
        assert_eq!(info(&r, &["cluster"]), "# Cluster\r\ncluster_enabled:0\r\n");
        assert_eq!(info(&r, &["nosuch"]), "");
        assert_eq!(titles(&info(&r, &["KEYSPACE", "cpu", "cpu"])), ["CPU", "Keyspace"]);
        let default = info(&r, &[]);
        assert_eq!(default, info(&r, &["default"]));
        assert!(!default.contains("# Commandstats") && default.contains("# Errorstats"));
        assert!(default.contains("\r\n\r\n# Clients\r\n"));
        assert_eq!(titles(&info(&r, &["everything"])).len(), SECTIONS.len());
        assert_eq!(info(&r, &["all"]), info(&r, &["everything"]));
        assert_eq!(titles(&info(&r, &["commandstats", "default"])).len(), SECTIONS.len() - 1);
    }

    #[test]
    fn values_are_summed_over_shards() {
        let r = registry();
        for (n, s) in (1..).zip(&r.shards) {
            s.connected_clients.add(n);
            s.databases[3].keys.set(10 * n);
            s.databases[3].expires.set(n);
            s.databases[3].avg_ttl.set(100 * n);
            s.databases[3].timed.set(n);
            s.executed(1, 3_000, n == 1, true);
            s.error(b"ERR x");
            s.data_memory.set(1 << 20);
        }
        let text = info(&r, &["everything"]);
        for line in [
            "connected_clients:3",
            "db3:keys=30,expires=3,avg_ttl=166,subexpiry=3",
            "cmdstat_config|get:calls=2,usec=6,usec_per_call=3.00,rejected_calls=0,failed_calls=1",
            "errorstat_ERR:count=2",
            "used_memory_human:2.00M",
            "mem_fragmentation_ratio:1.50",
            "listener0:name=tcp,bind=*,bind=-::*,port=6379",
            "multiplexing_api:io_uring",
            "redis_version:7.2.5",
            "aof_rewrite_buffer_length:0",
            "aof_enabled:1",
            "used_cpu_sys:0.500000",
            "uptime_in_days:1",
            "total_error_replies:2",
        ] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} in {text}");
        }
        assert!(text.contains("latency_percentiles_usec_config|get:p50=3."), "{text}");
        assert!(!text.contains("cmdstat_get:") && !text.contains("db0:"));
        assert!(text.lines().all(|l| l.is_empty() || l.starts_with('#') || l.contains(':')));
    }

    #[test]
    fn loading_is_told() {
        let r = registry();
        assert!(!info(&r, &["persistence"]).contains("loading_"));
        r.loading.started.store(1_699_999_990, Relaxed);
        r.loading.total_bytes.store(400, Relaxed);
        r.loading.loaded_bytes.store(100, Relaxed);
        let text = info(&r, &["persistence"]);
        assert!(text.contains("loading:1\r\n") && text.contains("loading_eta_seconds:30\r\n"));
        assert!(text.contains("loading_loaded_perc:25.00\r\n"));
    }

    #[test]
    fn human_sizes() {
        for (bytes, text) in [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (5 << 30, "5.00G")] {
            assert_eq!(human(bytes), text);
        }
    }
}
