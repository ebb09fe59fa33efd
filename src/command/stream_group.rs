//! XGROUP: consumer groups and their consumers.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::fault::{Fault, NOT_AN_INTEGER};
use crate::command::stream::{change_unwatched, free_later, id_or_edge, row, stream_of, strict_id};
use crate::command::table::{
    Acl, Command, Flags, KeySpec, Keys, ROW, Run, UPDATES, printable, wrong_subcommand,
};
use crate::keyspace::{Class, NewValue, Object};
use crate::value::stream::{Group, Id, Stream};

type Handler = fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>;

const fn sub(
    name: &'static str,
    arity: i32,
    flags: u32,
    specs: &'static [KeySpec],
    run: Handler,
) -> Command {
    Command {
        keys: Keys::Range { first: 2, last: 2, step: 1 },
        ..row(name, arity, Flags::WRITE | flags, specs, run)
    }
}

const INSERTS_SECOND: &[KeySpec] = &[KeySpec::one(2, &["RW", "insert"])];
const REMOVES_SECOND: &[KeySpec] = &[KeySpec::one(2, &["RW", "delete"])];

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "xgroup",
    arity: -2,
    group: "stream",
    since: "5.0.0",
    subcommands: &[
        sub("xgroup|create", -5, Flags::DENYOOM, INSERTS_SECOND, create),
        Command {
            since: "6.2.0",
            ..sub("xgroup|createconsumer", 5, Flags::DENYOOM, INSERTS_SECOND, create_consumer)
        },
        sub("xgroup|delconsumer", 5, 0, REMOVES_SECOND, delete_consumer),
        sub("xgroup|destroy", 4, 0, REMOVES_SECOND, destroy),
        Command {
            name: "xgroup|help",
            arity: 2,
            flags: Flags(Flags::LOADING | Flags::STALE),
            run: Run::Data(help),
            group: "stream",
            since: "5.0.0",
            acl: Acl(Acl::STREAM),
            ..ROW
        },
        sub("xgroup|setid", -5, 0, &[KeySpec::one(2, UPDATES)], set_id),
    ],
    ..ROW
}];

const NO_KEY: Fault = Fault::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
     the MKSTREAM option to create an empty stream automatically.",
);

/// What is answered where a stream lacks a group.
pub(super) fn no_group(key: &[u8], group: &[u8]) -> Fault {
    let mut text = b"NOGROUP No such consumer group '".to_vec();
    text.extend_from_slice(printable(group, usize::MAX));
    text.extend_from_slice(b"' for key name '");
    text.extend_from_slice(printable(key, usize::MAX));
    text.push(b'\'');
    Fault(text.into())
}

/// The group that a request names.
fn group_of<'c>(ctx: &'c mut Ctx<'_>, args: &Args<'_>) -> Result<&'c Group, Fault> {
    let stream = stream_of(ctx.peek(&args[2]))?.ok_or(NO_KEY)?;
    stream.group(&args[3]).ok_or_else(|| no_group(&args[2], &args[3]))
}

/// The options behind an id.
struct Options {
    make: bool,
    entries_read: i64,
}

impl Options {
    fn parse(args: &Args<'_>, creates: bool) -> Result<Options, Fault> {
        let mut options = Options { make: false, entries_read: -1 };
        let mut at = 5;
        while at < args.len() {
            if creates && args.is(at, "MKSTREAM") {
                options.make = true;
                at += 1;
            } else if args.is(at, "ENTRIESREAD") && at + 1 < args.len() {
                options.entries_read = parse_i64(&args[at + 1]).ok_or(NOT_AN_INTEGER)?;
                if options.entries_read < -1 {
                    return Err(Fault::new("ERR value for ENTRIESREAD must be positive or -1"));
                }
                at += 2;
            } else {
                return Err(wrong_subcommand("xgroup", &args[1]));
            }
        }
        Ok(options)
    }
}

fn create(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let options = Options::parse(args, true)?;
    let (key, name) = (&args[2], &args[3]);
    let stream = stream_of(ctx.peek(key))?;
    if stream.is_none() && !options.make {
        return Err(NO_KEY);
    }
    if args.len() > 8 {
        return Err(wrong_subcommand("xgroup", &args[1]));
    }
    let id = match &args[4] {
        b"$" => stream.map_or(Id::MIN, Stream::last_id),
        id => strict_id(id, 0)?,
    };
    match stream {
        None => {
            let stream = Object::Stream(Box::default());
            ctx.put(key, NewValue::Object(Box::new(stream)), Expiry::Clear);
        }
        Some(stream) if stream.group(name).is_some() => {
            return Err(Fault::new("BUSYGROUP Consumer Group name already exists"));
        }
        Some(_) => {}
    }
    let group = Group::new(id, options.entries_read);
    change_unwatched(ctx, key, |stream| ((), stream.add_group(name, group)));
    ctx.log_request(key, args);
    ctx.event(Class::Stream, "xgroup-create", key);
    ctx.out.ok();
    Ok(())
}

fn set_id(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let options = Options::parse(args, false)?;
    let (key, name) = (&args[2], &args[3]);
    group_of(ctx, args)?;
    if !matches!(args.len(), 5 | 7) {
        return Err(wrong_subcommand("xgroup", &args[1]));
    }
    let id = match &args[4] {
        b"$" => stream_of(ctx.peek(key))?.map_or(Id::MIN, Stream::last_id),
        id => id_or_edge(id, 0)?,
    };
    change_unwatched(ctx, key, |stream| {
        let set = stream.change_group(name, |group| {
            (group.last_id, group.entries_read) = (id, options.entries_read);
        });
        ((), set.is_some())
    });
    ctx.log_request(key, args);
    ctx.event(Class::Stream, "xgroup-setid", key);
    ctx.out.ok();
    Ok(())
}

fn destroy(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, name) = (&args[2], &args[3]);
    stream_of(ctx.peek(key))?.ok_or(NO_KEY)?;
    let gone = change_unwatched(ctx, key, |stream| {
        let gone = stream.remove_group(name);
        let there = gone.is_some();
        (gone, there)
    });
    let gone = gone.flatten();
    if gone.is_some() {
        ctx.log_request(key, args);
        ctx.event(Class::Stream, "xgroup-destroy", key);
    }
    ctx.out.int(i64::from(gone.is_some()));
    free_later(ctx, key, gone);
    Ok(())
}

fn create_consumer(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, name, consumer) = (&args[2], &args[3], &args[4]);
    group_of(ctx, args)?;
    let now = ctx.now.unix_ms();
    let added = change_unwatched(ctx, key, |stream| {
        let added = stream.change_group(name, |group| group.add_consumer(consumer, now, -1));
        let added = added.flatten().is_some();
        (added, added)
    });
    let added = added.unwrap_or(false);
    if added {
        ctx.log_request(key, args);
        ctx.event(Class::Stream, "xgroup-createconsumer", key);
    }
    ctx.out.int(i64::from(added));
    Ok(())
}

fn delete_consumer(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, name, consumer) = (&args[2], &args[3], &args[4]);
    group_of(ctx, args)?;
    let pending = change_unwatched(ctx, key, |stream| {
        let pending = stream.change_group(name, |group| group.remove_consumer(consumer)).flatten();
        (pending, pending.is_some())
    });
    let pending = pending.flatten();
    if pending.is_some() {
        ctx.log_request(key, args);
        ctx.event(Class::Stream, "xgroup-delconsumer", key);
    }
    ctx.out.int(pending.unwrap_or(0) as i64);
    Ok(())
}

const HELP: &[&str] = &[
    "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
    "HELP",
    "    Prints this help.",
];

fn help(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.array(HELP.len());
    HELP.iter().for_each(|line| ctx.out.simple(line));
    Ok(())
}
