//! Commands about what a server that stands alone does not have: replicas, a cluster, modules.
//! They answer as a Redis does that has none of them either.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::server::help;
use crate::command::session::{SessionCtx, Wait};
use crate::command::table::{Acl, Command, Flags, ROW, Run};

type Handler = fn(&mut SessionCtx<'_>, &Args<'_>) -> Result<(), Fault>;

const ALWAYS: u32 = Flags::LOADING | Flags::STALE;
const REPLICATION: u32 = Flags::ADMIN | Flags::NOSCRIPT | Flags::STALE | Flags::NO_ASYNC_LOADING;
const CLUSTER_ADMIN: u32 = Flags::ADMIN | Flags::STALE | Flags::NO_ASYNC_LOADING;

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    group: &'static str,
    since: &'static str,
    run: Handler,
) -> Command {
    Command { name, arity, flags: Flags(flags), run: Run::Session(run), group, since, ..ROW }
}

const fn of_cluster(name: &'static str, arity: i32, flags: u32, since: &'static str) -> Command {
    row(name, arity, flags, "cluster", since, no_cluster)
}

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command {
        acl: Acl(Acl::ADMIN | Acl::DANGEROUS),
        ..row("role", 1, ALWAYS | Flags::NOSCRIPT | Flags::FAST, "server", "2.8.12", role)
    },
    row("replicaof", 3, REPLICATION, "server", "5.0.0", replicaof),
    row("slaveof", 3, REPLICATION, "server", "1.0.0", replicaof),
    row("failover", -1, Flags::ADMIN | Flags::NOSCRIPT | Flags::STALE, "server", "6.2.0", failover),
    Command {
        acl: Acl(Acl::CONNECTION),
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        ..row("wait", 3, Flags::BLOCKING | Flags::SETTLE, "generic", "3.0.0", wait)
    },
    Command {
        acl: Acl(Acl::CONNECTION),
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        ..row("waitaof", 4, Flags::BLOCKING | Flags::SETTLE, "generic", "7.2.0", waitaof)
    },
    Command { acl: Acl(Acl::CONNECTION), ..of_cluster("asking", 1, Flags::FAST, "3.0.0") },
    Command {
        acl: Acl(Acl::CONNECTION),
        ..of_cluster("readonly", 1, ALWAYS | Flags::FAST, "3.0.0")
    },
    Command {
        acl: Acl(Acl::CONNECTION),
        ..of_cluster("readwrite", 1, ALWAYS | Flags::FAST, "3.0.0")
    },
    Command {
        name: "cluster",
        arity: -2,
        group: "cluster",
        since: "3.0.0",
        subcommands: CLUSTER,
        ..ROW
    },
    Command {
        name: "module",
        arity: -2,
        group: "server",
        since: "4.0.0",
        subcommands: MODULE,
        ..ROW
    },
];

const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];

static CLUSTER: &[Command] = &[
    of_cluster("cluster|addslots", -3, CLUSTER_ADMIN, "3.0.0"),
    of_cluster("cluster|addslotsrange", -4, CLUSTER_ADMIN, "7.0.0"),
    Command {
        tips: NONDETERMINISTIC,
        ..of_cluster("cluster|bumpepoch", 2, CLUSTER_ADMIN, "3.0.0")
    },
    Command {
        tips: NONDETERMINISTIC,
        ..of_cluster("cluster|count-failure-reports", 3, Flags::ADMIN | Flags::STALE, "3.0.0")
    },
    of_cluster("cluster|countkeysinslot", 3, Flags::STALE, "3.0.0"),
    of_cluster("cluster|delslots", -3, CLUSTER_ADMIN, "3.0.0"),
    of_cluster("cluster|delslotsrange", -4, CLUSTER_ADMIN, "7.0.0"),
    of_cluster("cluster|failover", -2, CLUSTER_ADMIN, "3.0.0"),
    of_cluster("cluster|flushslots", 2, CLUSTER_ADMIN, "3.0.0"),
    of_cluster("cluster|forget", 3, CLUSTER_ADMIN, "3.0.0"),
    Command {
        tips: NONDETERMINISTIC,
        ..of_cluster("cluster|getkeysinslot", 4, Flags::STALE, "3.0.0")
    },
    of_cluster("cluster|help", 2, ALWAYS, "5.0.0"),
    Command { tips: NONDETERMINISTIC, ..of_cluster("cluster|info", 2, Flags::STALE, "3.0.0") },
    of_cluster("cluster|keyslot", 3, Flags::STALE, "3.0.0"),
    Command { tips: NONDETERMINISTIC, ..of_cluster("cluster|links", 2, Flags::STALE, "7.0.0") },
    of_cluster("cluster|meet", -4, CLUSTER_ADMIN, "3.0.0"),
    of_cluster("cluster|myid", 2, Flags::STALE, "3.0.0"),
    of_cluster("cluster|myshardid", 2, Flags::STALE, "7.2.0"),
    Command { tips: NONDETERMINISTIC, ..of_cluster("cluster|nodes", 2, Flags::STALE, "3.0.0") },
    Command {
        tips: NONDETERMINISTIC,
        ..of_cluster("cluster|replicas", 3, Flags::ADMIN | Flags::STALE, "5.0.0")
    },
    of_cluster("cluster|replicate", 3, CLUSTER_ADMIN, "3.0.0"),
    of_cluster("cluster|reset", -2, Flags::ADMIN | Flags::STALE | Flags::NOSCRIPT, "3.0.0"),
    of_cluster("cluster|saveconfig", 2, CLUSTER_ADMIN, "3.0.0"),
    of_cluster("cluster|set-config-epoch", 3, CLUSTER_ADMIN, "3.0.0"),
    of_cluster("cluster|setslot", -4, CLUSTER_ADMIN, "3.0.0"),
    Command { tips: NONDETERMINISTIC, ..of_cluster("cluster|shards", 2, ALWAYS, "7.0.0") },
    Command {
        tips: NONDETERMINISTIC,
        ..of_cluster("cluster|slaves", 3, Flags::ADMIN | Flags::STALE, "3.0.0")
    },
    Command { tips: NONDETERMINISTIC, ..of_cluster("cluster|slots", 2, ALWAYS, "3.0.0") },
];

static MODULE: &[Command] = &[
    row("module|help", 2, ALWAYS, "server", "5.0.0", |ctx, _| {
        help(ctx, MODULE_HELP);
        Ok(())
    }),
    Command {
        tips: &["nondeterministic_output_order"],
        ..row("module|list", 2, Flags::ADMIN | Flags::NOSCRIPT, "server", "4.0.0", |ctx, _| {
            ctx.out.array(0);
            Ok(())
        })
    },
];

const MODULE_HELP: &[&str] = &[
    "MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LIST",
    "    Return a list of loaded modules.",
    "HELP",
    "    Prints this help.",
];

fn no_cluster(_ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    Err(Fault::new("ERR This instance has cluster support disabled"))
}

fn role(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.array(3);
    ctx.out.bulk(b"master");
    ctx.out.int(0);
    ctx.out.array(0);
    Ok(())
}

fn replicaof(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if args.is(1, "NO") && args.is(2, "ONE") {
        ctx.out.ok();
        return Ok(());
    }
    let port = parse_i64(&args[2]).ok_or(Fault::new("ERR Invalid master port"))?;
    if !(0..=65535).contains(&port) {
        return Err(Fault::new("ERR Invalid master port"));
    }
    Err(Fault::new("ERR Ringstone cannot follow another server: there is no replication"))
}

fn failover(_ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if args.len() == 2 && args.is(1, "ABORT") {
        return Err(Fault::new("ERR No failover in progress."));
    }
    let (mut timeout, mut to, mut force) = (None, false, false);
    let mut at = 1;
    while at < args.len() {
        let left = args.len() - at - 1;
        if args.is(at, "TIMEOUT") && left >= 1 && timeout.is_none() {
            let ms = parse_i64(&args[at + 1]).ok_or(NOT_AN_INTEGER)?;
            if ms <= 0 {
                return Err(Fault::new("ERR FAILOVER timeout must be greater than 0"));
            }
            timeout = Some(ms);
            at += 1;
        } else if args.is(at, "TO") && left >= 2 && !to {
            parse_i64(&args[at + 2]).ok_or(NOT_AN_INTEGER)?;
            to = true;
            at += 2;
        } else if args.is(at, "FORCE") && !force {
            force = true;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    Err(Fault::new("ERR FAILOVER requires connected replicas."))
}

/// Reads a timeout in milliseconds; 0 is none.
fn timeout(text: &[u8], now_us: u64) -> Result<Option<u64>, Fault> {
    let ms = parse_i64(text).ok_or(Fault::new("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| Fault::new("ERR timeout is negative"))?;
    Ok((ms > 0).then(|| now_us.saturating_add(ms.saturating_mul(1000))))
}

/// No replica ever confirms anything: only a number that needs none is answered at once.
fn wait(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let wanted = parse_i64(&args[1]).ok_or(NOT_AN_INTEGER)?;
    let deadline = timeout(&args[2], ctx.now.mono_us)?;
    ctx.out.int(0);
    if wanted > 0 {
        ctx.server.wait(Wait { durable: false, replicas: true, pair: false, deadline });
    }
    Ok(())
}

fn waitaof(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let local = parse_i64(&args[1]).ok_or(NOT_AN_INTEGER)?;
    if !(0..=1).contains(&local) {
        return Err(Fault::new("ERR value is out of range, must be between 0 and 1"));
    }
    let replicas = parse_i64(&args[2]).ok_or(Fault::new(OUT_OF_RANGE))?;
    if replicas < 0 {
        return Err(Fault::new(OUT_OF_RANGE));
    }
    let deadline = timeout(&args[3], ctx.now.mono_us)?;
    if local > 0 && !ctx.server.config().appendonly {
        return Err(Fault::new(NO_LOG));
    }
    let durable = ctx.server.is_durable();
    ctx.out.array(2);
    ctx.out.int(i64::from(durable));
    ctx.out.int(0);
    if local > i64::from(durable) || replicas > 0 {
        ctx.server.wait(Wait { durable: local > 0, replicas: replicas > 0, pair: true, deadline });
    }
    Ok(())
}

/// What WAITAOF says without a log.
pub const NO_LOG: &str =
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
const OUT_OF_RANGE: &str = "ERR value is out of range, must be positive";

#[cfg(test)]
mod tests {
    use crate::command::session::fake::Fake;

    #[test]
    fn alone() {
        let mut fake = Fake::default();
        for (request, reply) in [
            ("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
            ("REPLICAOF no ONE", "+OK\r\n"),
            ("SLAVEOF NO one", "+OK\r\n"),
            ("REPLICAOF host 65536", "-ERR Invalid master port\r\n"),
            ("FAILOVER", "-ERR FAILOVER requires connected replicas.\r\n"),
            ("FAILOVER TO h 1 TIMEOUT 5 FORCE", "-ERR FAILOVER requires connected replicas.\r\n"),
            ("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0\r\n"),
            ("FAILOVER TIMEOUT", "-ERR syntax error\r\n"),
            ("CLUSTER HELP", "-ERR This instance has cluster support disabled\r\n"),
            ("READONLY", "-ERR This instance has cluster support disabled\r\n"),
            ("MODULE LIST", "*0\r\n"),
        ] {
            assert_eq!(fake.run(request), reply, "{request}");
        }
        assert!(fake.run("REPLICAOF host 6379").starts_with("-ERR Ringstone cannot follow"));
        assert!(fake.calls.is_empty());
    }

    #[test]
    fn waiting() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("WAIT 0 0"), ":0\r\n");
        assert_eq!(fake.run("WAIT 0 -1"), "-ERR timeout is negative\r\n");
        assert_eq!(fake.run("WAIT 0 x"), "-ERR timeout is not an integer or out of range\r\n");
        assert_eq!(fake.run("WAITAOF 1 0 0"), "*2\r\n:1\r\n:0\r\n");
        assert_eq!(
            fake.run("WAITAOF 2 0 0"),
            "-ERR value is out of range, must be between 0 and 1\r\n"
        );
        assert_eq!(fake.run("WAITAOF 0 -1 0"), "-ERR value is out of range, must be positive\r\n");
        assert!(fake.calls.is_empty(), "what has come about is not waited for");
        fake.refusal = Some("not durable".into());
        fake.run("WAITAOF 1 0 7");
        fake.run("WAIT 1 0");
        assert!(fake.calls[0].contains("durable: true, replicas: false, pair: true"));
        assert!(fake.calls[0].contains("deadline: Some(7001)"), "{:?}", fake.calls);
        assert!(fake.calls[1].contains("durable: false, replicas: true, pair: false"));
    }
}
