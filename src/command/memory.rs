//! MEMORY: what the data takes, and giving back what it no longer takes.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::server;
use crate::command::server::help;
use crate::command::session::SessionCtx;
use crate::command::table::{Command, Flags, KeySpec, Keys, LOOKS, ROW, Route, Run, SessionRun};
use crate::keyspace::Entry;
use crate::observe::process;
use crate::resp::Reply;

const SPECIAL: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

const fn row(
    name: &'static str,
    flags: u32,
    tips: &'static [&'static str],
    run: SessionRun,
) -> Command {
    Command { tips, ..server::row(name, 2, flags, "4.0.0", run) }
}

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "memory",
    arity: -2,
    group: "server",
    since: "4.0.0",
    subcommands: &[
        row("memory|doctor", Flags::SETTLE, SPECIAL, doctor),
        row("memory|help", Flags::LOADING | Flags::STALE, &[], |ctx, _| {
            help(ctx, HELP);
            Ok(())
        }),
        row("memory|malloc-stats", Flags::SETTLE, SPECIAL, malloc_stats),
        row(
            "memory|purge",
            Flags::SETTLE,
            &["request_policy:all_shards", "response_policy:all_succeeded"],
            |ctx, _| {
                ctx.server.give_memory_back();
                ctx.out.ok();
                Ok(())
            },
        ),
        row("memory|stats", Flags::SETTLE, SPECIAL, stats),
        Command {
            name: "memory|usage",
            arity: -3,
            flags: Flags(Flags::READONLY),
            keys: Keys::Range { first: 2, last: 2, step: 1 },
            route: Route::Key,
            run: Run::Data(usage),
            group: "server",
            since: "4.0.0",
            specs: &[KeySpec::one(2, LOOKS)],
            ..ROW
        },
    ],
    ..ROW
}];

/// Bytes of a key's place in its segment: a pointer, in a table that is kept about 70 % full.
const PLACE: usize = size_of::<Entry>() * 10 / 7;

/// Values are kept in one piece, so that none needs to be sampled.
fn usage(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let mut at = 3;
    while at < args.len() {
        if !args.is(at, "SAMPLES") || at + 1 == args.len() {
            return Err(SYNTAX);
        }
        if parse_i64(&args[at + 1]).ok_or(NOT_AN_INTEGER)? < 0 {
            return Err(SYNTAX);
        }
        at += 2;
    }
    let bytes = ctx.glance(&args[2]).map(|entry| entry.memory() + PLACE);
    match bytes {
        None => ctx.out.null(),
        Some(bytes) => ctx.out.int(bytes as i64),
    }
    Ok(())
}

/// What STATS and DOCTOR tell of.
struct Picture {
    peak: u64,
    used: u64,
    startup: u64,
    clients: u64,
    log_buffer: u64,
    data: u64,
    rss: u64,
    keys: u64,
    /// Databases that hold keys.
    databases: Vec<usize>,
}

fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

impl Picture {
    fn take(ctx: &mut SessionCtx<'_>) -> Picture {
        ctx.server.publish();
        let registry = ctx.server.registry();
        let totals = registry.totals();
        let keys = |db: usize| -> u64 {
            let of = registry.shards.iter().filter_map(|s| s.databases.get(db));
            of.map(|d| d.keys.get()).sum()
        };
        let databases: Vec<usize> =
            (0..ctx.server.databases()).filter(|db| keys(*db) > 0).collect();
        Picture {
            peak: registry.rates().peak_memory,
            used: registry.used_memory(&totals),
            startup: registry.startup_memory.load(Relaxed),
            clients: totals.client_memory,
            log_buffer: totals.log_buffer,
            data: totals.data_memory,
            rss: process::usage().rss,
            keys: databases.iter().map(|db| keys(*db)).sum(),
            databases,
        }
    }

    fn numbers(&self, out: &mut Reply, fields: &[(&str, u64)]) {
        for (name, value) in fields {
            out.bulk(name.as_bytes());
            out.int(*value as i64);
        }
    }
}

fn double(out: &mut Reply, name: &str, value: f64) {
    out.bulk(name.as_bytes());
    out.double_text(&value.to_string());
}

fn stats(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let p = Picture::take(ctx);
    let out = &mut *ctx.out;
    let overhead = p.used.saturating_sub(p.data);
    let net = p.used.saturating_sub(p.startup);
    out.map(27 + p.databases.len());
    p.numbers(
        out,
        &[
            ("peak.allocated", p.peak),
            ("total.allocated", p.used),
            ("startup.allocated", p.startup),
            ("replication.backlog", 0),
            ("clients.slaves", 0),
            ("clients.normal", p.clients),
            ("cluster.links", 0),
            ("aof.buffer", p.log_buffer),
            ("lua.caches", 0),
            ("functions.caches", 0),
        ],
    );
    for db in &p.databases {
        out.bulk(format!("db.{db}").as_bytes());
        out.map(3);
        // Tables, expiries and slots stand in the entries and segments that the data counts for.
        let parts = ["main", "expires", "slot-to-keys"];
        parts.iter().for_each(|part| p.numbers(out, &[(&format!("overhead.hashtable.{part}"), 0)]));
    }
    p.numbers(
        out,
        &[
            ("overhead.total", overhead),
            ("keys.count", p.keys),
            ("keys.bytes-per-key", net.checked_div(p.keys).unwrap_or(0)),
            ("dataset.bytes", p.data),
        ],
    );
    double(out, "dataset.percentage", ratio(p.data, net) * 100.0);
    double(out, "peak.percentage", ratio(p.used, p.peak) * 100.0);
    p.numbers(
        out,
        &[
            ("allocator.allocated", p.used),
            ("allocator.active", p.rss),
            ("allocator.resident", p.rss),
        ],
    );
    let wasted = p.rss as i64 - p.used as i64;
    for (kind, ratio, bytes) in [
        ("allocator-fragmentation", ratio(p.rss, p.used), wasted),
        ("allocator-rss", 1.0, 0),
        ("rss-overhead", 1.0, 0),
    ] {
        double(out, &format!("{kind}.ratio"), ratio);
        out.bulk(format!("{kind}.bytes").as_bytes());
        out.int(bytes);
    }
    double(out, "fragmentation", ratio(p.rss, p.used));
    out.bulk(b"fragmentation.bytes");
    out.int(wasted);
    Ok(())
}

/// Memory under which nothing is worth a remark, in bytes.
const SMALL: u64 = 5 << 20;

fn doctor(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let p = Picture::take(ctx);
    let mut text = String::new();
    if p.used < SMALL {
        text += "There is too little data here to judge its memory by.\n";
    } else {
        if p.peak > p.used + p.used / 2 {
            text += "- At its peak the server held more than one and a half times what it holds \
                     now; what was given back may not all have reached the system: MEMORY PURGE.\n";
        }
        if ratio(p.rss, p.used) > 1.4 && p.rss - p.used > 10 << 20 {
            text += "- The process holds more than 1.4 times the memory that is in use: after \
                     deleting much, free memory stands between what is left. MEMORY PURGE helps \
                     where whole pages are free.\n";
        }
        if p.clients > p.used / 2 {
            text += "- More than half of it is replies that clients have not read: see CLIENT \
                     LIST and `client-output-buffer-limit`.\n";
        }
        if text.is_empty() {
            text += "Nothing about the memory in use looks unusual.\n";
        }
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn malloc_stats(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let p = Picture::take(ctx);
    let mut text = format!(
        "allocator: mimalloc\nin use: {} bytes\nresident: {} bytes\npeak in use: {} bytes\n",
        p.used, p.rss, p.peak
    );
    for (n, shard) in ctx.server.registry().shards.iter().enumerate() {
        text += &format!(
            "shard {n}: data {} bytes, clients {} bytes, log {} bytes\n",
            shard.data_memory.get(),
            shard.client_memory.get(),
            shard.log_buffer.get()
        );
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

const HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
    "HELP",
    "    Prints this help.",
];

#[cfg(test)]
mod tests {
    use crate::command::harness::World;
    use crate::command::session::fake::Fake;

    #[test]
    fn usage_grows_with_the_value() {
        let mut w = World::new();
        w.run(&format!("SET k {}", "x".repeat(1000)));
        w.run("SET n 1");
        let bytes = |w: &mut World, request: &str| w.run(request)[1..].parse::<usize>().unwrap();
        let (large, small) =
            (bytes(&mut w, "MEMORY USAGE k SAMPLES 0"), bytes(&mut w, "MEMORY USAGE n"));
        assert!((1000..1400).contains(&large) && (16..100).contains(&small), "{large} {small}");
        w.effects();
        w.check(&[
            ("MEMORY USAGE none", "$-1", ""),
            ("MEMORY USAGE k SAMPLES", "-ERR syntax error", ""),
            ("MEMORY USAGE k SAMPLES -1", "-ERR syntax error", ""),
            ("MEMORY USAGE k SAMPLES x", "-ERR value is not an integer or out of range", ""),
            ("MEMORY USAGE k DEEP 1", "-ERR syntax error", ""),
        ]);
    }

    #[test]
    fn reports() {
        let mut fake = Fake::default();
        assert!(fake.run("MEMORY STATS").starts_with("*54\r\n$14\r\npeak.allocated\r\n:"));
        fake.registry.shards[1].databases[2].keys.set(5);
        fake.session.resp3 = true;
        let stats = fake.run("MEMORY STATS");
        assert!(stats.starts_with("%28\r\n") && stats.contains("$4\r\ndb.2\r\n%3\r\n"));
        assert!(stats.contains("$10\r\nkeys.count\r\n:5\r\n"), "{stats}");
        assert!(fake.run("MEMORY DOCTOR").contains("too little data"));
        assert!(fake.run("MEMORY MALLOC-STATS").contains("allocator: mimalloc"));
        assert_eq!(fake.run("MEMORY PURGE"), "+OK\r\n");
    }
}
