//! CLIENT and MONITOR: who is connected, and what becomes of them.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::ask::{Ask, Filter, Kind};
use crate::command::connection::is_client_name;
use crate::command::connection::row;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::server::help;
use crate::command::session::{Replies, SessionCtx};
use crate::command::table::{Acl, Command, Flags, ROW, printable};

const OPEN: u32 = Flags::NOSCRIPT | Flags::LOADING | Flags::STALE;
const ADMIN: u32 = OPEN | Flags::ADMIN;
const ASKS: u32 = Flags::SETTLE | Flags::ASKS;

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command {
        name: "client",
        arity: -2,
        group: "connection",
        since: "2.4.0",
        subcommands: CLIENT,
        ..ROW
    },
    Command {
        group: "server",
        acl: Acl::NONE,
        ..row("monitor", 1, ADMIN | ASKS, "1.0.0", monitor)
    },
];

const CHANGING: &[&str] = &["nondeterministic_output"];

static CLIENT: &[Command] = &[
    row("client|getname", 2, OPEN, "2.6.9", getname),
    row("client|getredir", 2, OPEN, "6.0.0", getredir),
    row("client|help", 2, Flags::LOADING | Flags::STALE, "5.0.0", client_help),
    row("client|id", 2, OPEN, "5.0.0", id),
    Command { tips: CHANGING, ..row("client|info", 2, OPEN | ASKS, "6.2.0", info) },
    row("client|kill", -3, ADMIN | ASKS, "2.4.0", kill),
    Command { tips: CHANGING, ..row("client|list", -2, ADMIN | ASKS, "2.4.0", list) },
    row("client|no-evict", 3, ADMIN, "7.0.0", no_evict),
    row("client|no-touch", 3, OPEN, "7.2.0", no_touch),
    row("client|pause", -3, ADMIN | ASKS, "2.9.50", pause),
    row("client|reply", 3, OPEN | Flags::SETTLE, "3.2.0", reply),
    row("client|setinfo", 4, OPEN, "7.2.0", setinfo),
    row("client|setname", 3, OPEN, "2.6.9", setname),
    row("client|trackinginfo", 2, OPEN, "6.2.0", trackinginfo),
    row("client|unblock", -3, ADMIN | ASKS, "5.0.0", unblock),
    row("client|unpause", 2, ADMIN | ASKS, "6.2.0", unpause),
];

fn id(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.int(i64::try_from(ctx.session.id).unwrap_or(i64::MAX));
    Ok(())
}

fn getname(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    match ctx.session.name.as_slice() {
        b"" => ctx.out.null(),
        name => ctx.out.bulk(name),
    }
    Ok(())
}

const BAD_NAME: Fault =
    Fault::new("ERR Client names cannot contain spaces, newlines or special characters.");

fn setname(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if !is_client_name(&args[2]) {
        return Err(BAD_NAME);
    }
    ctx.session.name = args[2].to_vec();
    ctx.out.ok();
    Ok(())
}

/// An error that repeats a word of the request in the place of `{}`.
fn about(text: &str, word: &[u8]) -> Fault {
    let (before, behind) = text.split_once("{}").unwrap_or((text, ""));
    let word = printable(word, usize::MAX);
    Fault([before.as_bytes(), word, behind.as_bytes()].concat().into())
}

fn setinfo(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let name = match () {
        () if args.is(2, "lib-name") => true,
        () if args.is(2, "lib-ver") => false,
        () => return Err(about("ERR Unrecognized option '{}'", &args[2])),
    };
    let value = &args[3];
    if !is_client_name(value) {
        let text = "ERR {} cannot contain spaces, newlines or special characters.";
        return Err(about(text, &args[2]));
    }
    let about = ctx.session.library.get_or_insert_default();
    let place = if name { &mut about.name } else { &mut about.version };
    *place = value.to_vec();
    ctx.out.ok();
    Ok(())
}

fn info(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let filter = Filter { ids: Some(vec![ctx.session.id]), ..Filter::default() };
    ctx.server.ask(Ask::Lines { filter, own: true });
    Ok(())
}

fn kind(word: &[u8]) -> Result<Kind, Fault> {
    Kind::named(word).ok_or_else(|| about("ERR Unknown client type '{}'", word))
}

fn list(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let mut filter = Filter::default();
    match args.items() {
        [_, _] => {}
        [_, _, word, name] if word.eq_ignore_ascii_case(b"TYPE") => {
            filter.kind = Some(kind(name)?);
        }
        [_, _, word, ids @ ..] if word.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            // No client has an id below one.
            let id = |id: &&[u8]| {
                let id = parse_i64(id).ok_or(Fault::new("ERR Invalid client ID"));
                id.map(|id| u64::try_from(id).unwrap_or(0))
            };
            filter.ids = Some(ids.iter().map(id).collect::<Result<_, _>>()?);
        }
        _ => return Err(SYNTAX),
    }
    ctx.server.ask(Ask::Lines { filter, own: false });
    Ok(())
}

fn kill(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if let [_, _, addr] = args.items() {
        let filter = Filter { addr: Some(addr.to_vec()), ..Filter::default() };
        ctx.server.ask(Ask::Kill { filter, plain: true });
        return Ok(());
    }
    let mut filter = Filter { spared: Some(ctx.session.id), ..Filter::default() };
    let (pairs, []) = args.items()[2..].as_chunks::<2>() else {
        return Err(kill_fault(&args.items()[2..]));
    };
    for pair in pairs {
        kill_option(&mut filter, pair, ctx.session.id)?;
    }
    ctx.server.ask(Ask::Kill { filter, plain: false });
    Ok(())
}

/// What is wrong with options of which the last has no value: an earlier one may be.
fn kill_fault(options: &[&[u8]]) -> Fault {
    let (pairs, _) = options.as_chunks::<2>();
    let mut unused = Filter::default();
    let first = pairs.iter().find_map(|pair| kill_option(&mut unused, pair, 0).err());
    first.unwrap_or(SYNTAX)
}

fn kill_option(filter: &mut Filter, pair: &[&[u8]; 2], own: u64) -> Result<(), Fault> {
    let [word, value] = *pair;
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match () {
        () if is("id") => {
            let id = parse_i64(value).filter(|id| *id > 0);
            let id = id.ok_or(Fault::new("ERR client-id should be greater than 0"))?;
            filter.ids = Some(vec![id.unsigned_abs()]);
        }
        () if is("type") => filter.kind = Some(kind(value)?),
        () if is("addr") => filter.addr = Some(value.to_vec()),
        () if is("laddr") => filter.local = Some(value.to_vec()),
        // There is one user.
        () if is("user") && value == b"default" => {}
        () if is("user") => return Err(about("ERR No such user '{}'", value)),
        () if is("skipme") && value.eq_ignore_ascii_case(b"yes") => filter.spared = Some(own),
        () if is("skipme") && value.eq_ignore_ascii_case(b"no") => filter.spared = None,
        () => return Err(SYNTAX),
    }
    Ok(())
}

/// More arguments than a subcommand has that takes some or others.
fn wrong_form(args: &Args<'_>) -> Fault {
    let text = "ERR unknown subcommand or wrong number of arguments for '{}'. Try CLIENT HELP.";
    about(text, printable(&args[1], 128))
}

fn pause(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if args.len() > 4 {
        return Err(wrong_form(args));
    }
    let all = match () {
        () if args.len() != 4 || args.is(3, "all") => true,
        () if args.is(3, "write") => false,
        () => return Err(Fault::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let millis =
        parse_i64(&args[2]).ok_or(Fault::new("ERR timeout is not an integer or out of range"))?;
    let millis = u64::try_from(millis).map_err(|_| Fault::new("ERR timeout is negative"))?;
    let now_ms = ctx.now.unix_ms().unsigned_abs();
    if millis > i64::MAX as u64 - now_ms {
        return Err(Fault::new("ERR timeout is out of range"));
    }
    let until_us = ctx.now.mono_us.saturating_add(millis.saturating_mul(1000));
    ctx.server.ask(Ask::Pause { until_us, all });
    Ok(())
}

fn unpause(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.server.ask(Ask::Unpause);
    Ok(())
}

fn reply(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    match () {
        () if args.is(2, "on") => {
            ctx.session.replies = Replies::On;
            ctx.out.ok();
        }
        () if args.is(2, "off") => ctx.session.replies = Replies::Off,
        () if args.is(2, "skip") => {
            if ctx.session.replies != Replies::Off {
                ctx.session.replies = Replies::SkipNext;
            }
        }
        () => return Err(SYNTAX),
    }
    Ok(())
}

fn switch(args: &Args<'_>) -> Result<bool, Fault> {
    match () {
        () if args.is(2, "on") => Ok(true),
        () if args.is(2, "off") => Ok(false),
        () => Err(SYNTAX),
    }
}

fn no_evict(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.session.no_evict = switch(args)?;
    ctx.out.ok();
    Ok(())
}

fn no_touch(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.session.no_touch = switch(args)?;
    ctx.out.ok();
    Ok(())
}

fn unblock(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if args.len() > 4 {
        return Err(wrong_form(args));
    }
    if args.len() == 4 && !args.is(3, "timeout") && !args.is(3, "error") {
        return Err(Fault::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
    }
    let id = parse_i64(&args[2]).ok_or(NOT_AN_INTEGER)?;
    match u64::try_from(id) {
        Ok(client) => {
            let error = args.len() == 4 && args.is(3, "error");
            ctx.server.ask(Ask::Unblock { client, error });
        }
        // Nobody has such a number.
        Err(_) => ctx.out.int(0),
    }
    Ok(())
}

fn getredir(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.int(-1);
    Ok(())
}

fn trackinginfo(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let out = &mut *ctx.out;
    out.map(3);
    out.bulk(b"flags");
    out.set(1);
    out.bulk(b"off");
    out.bulk(b"redirect");
    out.int(-1);
    out.bulk(b"prefixes");
    out.array(0);
    Ok(())
}

fn client_help(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    help(
        ctx,
        &[
            "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "GETREDIR",
            "    Return the client ID we are redirecting to when tracking is enabled.",
            "GETNAME",
            "    Return the name of the current connection.",
            "ID",
            "    Return the ID of the current connection.",
            "INFO",
            "    Return information about the current client connection.",
            "KILL <ip:port>",
            "    Kill connection made from <ip:port>.",
            "KILL <option> <value> [<option> <value> [...]]",
            "    Kill connections. Options are:",
            "    * ADDR (<ip:port>|<unixsocket>:0)",
            "      Kill connections made from the specified address",
            "    * LADDR (<ip:port>|<unixsocket>:0)",
            "      Kill connections made to specified local address",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Kill connections by type.",
            "    * USER <username>",
            "      Kill connections authenticated by <username>.",
            "    * SKIPME (YES|NO)",
            "      Skip killing current connection (default: yes).",
            "LIST [options ...]",
            "    Return information about client connections. Options:",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Return clients of specified type.",
            "UNPAUSE",
            "    Stop the current client pause, resuming traffic.",
            "PAUSE <timeout> [WRITE|ALL]",
            "    Suspend all, or just write, clients for <timeout> milliseconds.",
            "REPLY (ON|OFF|SKIP)",
            "    Control the replies sent to the current connection.",
            "SETNAME <name>",
            "    Assign the name <name> to the current connection.",
            "SETINFO <option> <value>",
            "    Set client meta attr. Options are:",
            "    * LIB-NAME: the client lib name.",
            "    * LIB-VER: the client lib version.",
            "UNBLOCK <clientid> [TIMEOUT|ERROR]",
            "    Unblock the specified blocked client.",
            "TRACKINGINFO",
            "    Report tracking status for the current connection.",
            "NO-EVICT (ON|OFF)",
            "    Protect current client connection from eviction.",
            "NO-TOUCH (ON|OFF)",
            "    Will not touch LRU/LFU stats when this mode is on.",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}

fn monitor(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    if ctx.session.in_exec {
        return Err(Fault::new("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    // Who listens already is told nothing.
    if !ctx.session.monitor {
        ctx.server.monitor();
    }
    Ok(())
}
