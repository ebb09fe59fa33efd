//! Commands about the server: TIME, INFO, CONFIG, SHUTDOWN.

use crate::command::args::Args;
use crate::command::fault::{Fault, SYNTAX};
use crate::command::session::SessionCtx;
use crate::command::table::{Acl, Command, Flags, ROW, Run};

const ALWAYS: u32 = Flags::LOADING | Flags::STALE;
const ADMIN: u32 = ALWAYS | Flags::ADMIN | Flags::NOSCRIPT;

/// A row of this group.
pub(super) const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    since: &'static str,
    run: fn(&mut SessionCtx<'_>, &Args<'_>) -> Result<(), Fault>,
) -> Command {
    Command {
        name,
        arity,
        flags: Flags(flags),
        run: Run::Session(run),
        group: "server",
        since,
        ..ROW
    }
}

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command {
        tips: &["nondeterministic_output"],
        ..row("time", 1, ALWAYS | Flags::FAST, "2.6.0", time)
    },
    Command {
        acl: Acl(Acl::DANGEROUS),
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        ..row("info", -1, ALWAYS | Flags::SETTLE, "1.0.0", info)
    },
    row(
        "shutdown",
        -1,
        ADMIN | Flags::NO_MULTI | Flags::ALLOW_BUSY | Flags::SETTLE,
        "1.0.0",
        shutdown,
    ),
    Command {
        name: "config",
        arity: -2,
        group: "server",
        since: "2.0.0",
        subcommands: CONFIG,
        ..ROW
    },
];

static CONFIG: &[Command] = &[
    row("config|get", -3, ADMIN, "2.0.0", config_get),
    Command {
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        ..row("config|set", -4, ADMIN | Flags::SETTLE, "2.0.0", config_set)
    },
    Command {
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        ..row("config|resetstat", 2, ADMIN | Flags::SETTLE, "2.0.0", config_resetstat)
    },
    Command {
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        ..row("config|rewrite", 2, ADMIN | Flags::SETTLE, "2.8.0", config_rewrite)
    },
    row("config|help", 2, ALWAYS, "5.0.0", config_help),
];

fn time(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let us = ctx.now.unix_us;
    ctx.out.array(2);
    ctx.out.bulk_int(us.div_euclid(1_000_000));
    ctx.out.bulk_int(us.rem_euclid(1_000_000));
    Ok(())
}

fn info(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let text = ctx.server.info(&args.items()[1..]);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn config_get(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let found = ctx.server.config_get(&args.items()[2..]);
    ctx.out.map(found.len());
    for (name, value) in &found {
        ctx.out.bulk(name.as_bytes());
        ctx.out.bulk(value);
    }
    Ok(())
}

fn config_set(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let pairs = &args.items()[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    let pairs: Vec<_> = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    ctx.server.config_set(&pairs, ctx.session.local).map_err(Fault::text)?;
    ctx.out.ok();
    Ok(())
}

fn config_rewrite(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.server.config_rewrite(false).map_err(Fault::text)?;
    ctx.out.ok();
    Ok(())
}

fn config_resetstat(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.server.reset_stats();
    ctx.out.ok();
    Ok(())
}

fn config_help(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    help(
        ctx,
        &[
            "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "GET <pattern>",
            "    Return parameters matching the glob-like <pattern> and their values.",
            "SET <directive> <value>",
            "    Set the configuration <directive> to <value>.",
            "RESETSTAT",
            "    Reset statistics reported by the INFO command.",
            "REWRITE",
            "    Rewrite the configuration file.",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}

/// Answers with lines of help.
pub(super) fn help(ctx: &mut SessionCtx<'_>, lines: &[&str]) {
    ctx.out.array(lines.len());
    lines.iter().for_each(|line| ctx.out.simple(line));
}

fn shutdown(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (mut save, mut now, mut force, mut abort) = (None, false, false, false);
    for at in 1..args.len() {
        match () {
            () if args.is(at, "nosave") && save != Some(true) => save = Some(false),
            () if args.is(at, "save") && save != Some(false) => save = Some(true),
            () if args.is(at, "now") => now = true,
            () if args.is(at, "force") => force = true,
            () if args.is(at, "abort") => abort = true,
            () => return Err(SYNTAX),
        }
    }
    if abort && (save.is_some() || now || force) {
        return Err(SYNTAX);
    }
    ctx.server.shutdown(save, now, force, abort).map_err(Fault::text)?;
    if abort {
        ctx.out.ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::session::fake::Fake;

    #[test]
    fn time_and_info() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("TIME"), "*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n");
        assert_eq!(fake.run("INFO server cpu"), "$20\r\nsections: server,cpu\r\n");
        fake.session.resp3 = true;
        assert_eq!(fake.run("INFO"), "=14\r\ntxt:sections: \r\n");
    }

    #[test]
    fn config_get_and_set() {
        let mut fake = Fake::default();
        let port = "*2\r\n$4\r\nport\r\n$4\r\n6379\r\n";
        assert_eq!(fake.run("CONFIG GET port"), port);
        assert_eq!(fake.run("CONFIG GET nosuch"), "*0\r\n");
        assert_eq!(fake.run("CONFIG SET timeout 5 maxclients 9"), "+OK\r\n");
        assert_eq!((fake.config.timeout, fake.config.maxclients), (5, 9));
        assert_eq!(fake.run("CONFIG SET a b c"), "-ERR syntax error\r\n");
        assert_eq!(
            fake.run("CONFIG SET timeout x"),
            "-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't \
             be parsed into an integer\r\n"
        );
        assert_eq!(fake.run("CONFIG foo"), "-ERR unknown subcommand 'foo'. Try CONFIG HELP.\r\n");
        assert_eq!(
            fake.run("CONFIG GET"),
            "-ERR wrong number of arguments for 'config|get' command\r\n"
        );
        assert!(fake.run("CONFIG HELP").starts_with("*11\r\n+CONFIG <subcommand>"));
        assert_eq!(fake.run("CONFIG RESETSTAT"), "+OK\r\n");
        assert_eq!(fake.run("CONFIG REWRITE"), "+OK\r\n");
        assert_eq!(fake.calls, ["reset", "rewrite"]);
        fake.refusal = Some("ERR The server is running without a config file".into());
        let refused = "-ERR The server is running without a config file\r\n";
        assert_eq!(fake.run("CONFIG REWRITE"), refused);
    }

    #[test]
    fn shutdown_options() {
        let mut fake = Fake::default();
        for wrong in ["foo", "save nosave", "nosave save", "abort now", "force abort"] {
            assert_eq!(fake.run(&format!("SHUTDOWN {wrong}")), "-ERR syntax error\r\n");
        }
        assert!(fake.calls.is_empty());
        assert_eq!(fake.run("SHUTDOWN"), "", "the closed connection is the answer");
        assert_eq!(fake.run("SHUTDOWN NOSAVE now FORCE"), "");
        assert_eq!(fake.run("SHUTDOWN ABORT"), "+OK\r\n");
        assert_eq!(
            fake.calls,
            ["None false false false", "Some(false) true true false", "None false false true"]
        );
        fake.refusal = Some("ERR No shutdown in progress.".into());
        assert_eq!(fake.run("SHUTDOWN ABORT"), "-ERR No shutdown in progress.\r\n");
    }
}
