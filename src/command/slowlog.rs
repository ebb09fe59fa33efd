//! SLOWLOG: what is kept of slow calls.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::fault::Fault;
use crate::command::server;
use crate::command::server::help;
use crate::command::session::SessionCtx;
use crate::command::table::{Command, Flags, ROW, SessionRun};

const ALWAYS: u32 = Flags::LOADING | Flags::STALE;

const fn row(name: &'static str, arity: i32, run: SessionRun) -> Command {
    // Whatever its client has sent before stands in the log.
    server::row(name, arity, ALWAYS | Flags::ADMIN | Flags::SETTLE, "2.2.12", run)
}

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "slowlog",
    arity: -2,
    group: "server",
    since: "2.2.12",
    subcommands: &[
        Command {
            tips: &["request_policy:all_nodes", "nondeterministic_output"],
            ..row("slowlog|get", -2, get)
        },
        Command {
            flags: Flags(ALWAYS),
            since: "6.2.0",
            ..row("slowlog|help", 2, |ctx, _| {
                help(ctx, HELP);
                Ok(())
            })
        },
        Command {
            tips: &[
                "request_policy:all_nodes",
                "response_policy:agg_sum",
                "nondeterministic_output",
            ],
            ..row("slowlog|len", 2, len)
        },
        Command {
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..row("slowlog|reset", 2, reset)
        },
    ],
    ..ROW
}];

/// Calls that GET shows when it is not told how many.
const COUNT: u64 = 10;

fn get(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let count = match args.items() {
        [_, _] => COUNT,
        [_, _, count] => match parse_i64(count) {
            Some(-1) => u64::MAX,
            Some(n) if n >= 0 => n as u64,
            _ => return Err(Fault::new("ERR count should be greater than or equal to -1")),
        },
        _ => return Err(super::table::wrong_subcommand("slowlog", &args[1])),
    };
    let max = ctx.server.config().slowlog_max_len;
    let calls = ctx.server.registry().slowlog.newest(count, max);
    ctx.out.array(calls.len());
    for call in calls {
        ctx.out.array(6);
        ctx.out.int(call.id as i64);
        ctx.out.int(call.unix_s);
        ctx.out.int(call.usec as i64);
        ctx.out.array(call.args.len());
        call.args.iter().for_each(|arg| ctx.out.bulk(arg));
        ctx.out.bulk(call.peer.as_bytes());
        ctx.out.bulk(&call.name);
    }
    Ok(())
}

fn len(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let max = ctx.server.config().slowlog_max_len;
    ctx.out.int(ctx.server.registry().slowlog.len(max) as i64);
    Ok(())
}

fn reset(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.server.registry().slowlog.reset();
    ctx.out.ok();
    Ok(())
}

const HELP: &[&str] = &[
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
    "HELP",
    "    Prints this help.",
];

#[cfg(test)]
mod tests {
    use crate::command::session::fake::Fake;
    use crate::observe::slowlog::SlowCall;

    #[test]
    fn calls_are_shown_newest_first() {
        let mut fake = Fake::default();
        for (shard, word) in [(0, "a"), (1, "b"), (0, "c")] {
            let log = &fake.registry.slowlog;
            let call = SlowCall {
                id: log.next_id(),
                unix_s: 1_700_000_000,
                usec: 12,
                args: vec![b"GET".to_vec(), word.into()],
                peer: "127.0.0.1:1".into(),
                name: b"me".to_vec(),
            };
            log.record(shard, call, 100);
        }
        assert_eq!(fake.run("SLOWLOG LEN"), ":3\r\n");
        assert_eq!(
            fake.run("SLOWLOG GET 1"),
            "*1\r\n*6\r\n:2\r\n:1700000000\r\n:12\r\n*2\r\n$3\r\nGET\r\n$1\r\nc\r\n\
             $11\r\n127.0.0.1:1\r\n$2\r\nme\r\n"
        );
        assert!(fake.run("SLOWLOG GET").starts_with("*3\r\n*6\r\n:2\r\n"));
        assert!(fake.run("SLOWLOG GET -1").starts_with("*3\r\n"));
        assert_eq!(fake.run("SLOWLOG GET 0"), "*0\r\n");
        fake.config.changed(&[(b"slowlog-max-len", b"2")], false).map(|c| fake.config = c).unwrap();
        assert!(fake.run("SLOWLOG GET -1").starts_with("*2\r\n"));
        assert_eq!(fake.run("SLOWLOG RESET"), "+OK\r\n");
        assert_eq!(fake.run("SLOWLOG LEN"), ":0\r\n");
        for wrong in ["-2", "x", "1.5"] {
            assert_eq!(
                fake.run(&format!("SLOWLOG GET {wrong}")),
                "-ERR count should be greater than or equal to -1\r\n"
            );
        }
        assert!(fake.run("SLOWLOG HELP").starts_with("*12\r\n+SLOWLOG <subcommand>"));
    }
}
