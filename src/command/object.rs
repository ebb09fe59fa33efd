//! OBJECT: how a value is kept, and how long ago or how often it was used.

use crate::base::limits::EMBSTR_MAX;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::Fault;
use crate::command::table::{Acl, Command, Flags, KeySpec, Keys, LOOKS, ROW, Route, Run};
use crate::keyspace::{Entry, Form, ValueRef};

type Handler = fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>;

const fn row(name: &'static str, since: &'static str, run: Handler) -> Command {
    Command {
        name,
        arity: 3,
        flags: Flags(Flags::READONLY),
        keys: Keys::Range { first: 2, last: 2, step: 1 },
        route: Route::Key,
        run: Run::Data(run),
        since,
        acl: Acl(Acl::KEYSPACE),
        tips: &["nondeterministic_output"],
        specs: SECOND,
        ..ROW
    }
}

const SECOND: &[KeySpec] = &[KeySpec::one(2, LOOKS)];

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "object",
    arity: -2,
    since: "2.2.3",
    subcommands: &[
        row("object|encoding", "2.2.3", encoding),
        row("object|freq", "4.0.0", freq),
        Command {
            name: "object|help",
            arity: 2,
            flags: Flags(Flags::LOADING | Flags::STALE),
            run: Run::Data(help),
            since: "6.2.0",
            acl: Acl(Acl::KEYSPACE),
            ..ROW
        },
        row("object|idletime", "2.2.3", idletime),
        row("object|refcount", "2.2.3", refcount),
    ],
    ..ROW
}];

/// Integers below this are shared objects in Redis, whose count of references says so.
const SHARED_INTEGERS: i64 = 10_000;

/// The name of the form in which a value is kept.
pub fn encoding_of(entry: &Entry) -> &'static str {
    match entry.value() {
        ValueRef::Int(_) => "int",
        ValueRef::Packed(Form::IntSet, _) => "intset",
        ValueRef::Packed(..) => "listpack",
        ValueRef::Object(object) => object.encoding(),
        ValueRef::Shared(_) => "raw",
        ValueRef::Str(bytes) if entry.is_raw() || bytes.len() > EMBSTR_MAX => "raw",
        ValueRef::Str(_) => "embstr",
    }
}

fn encoding(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.inspect_to(&args[2], |out, entry| match entry {
        None => out.null(),
        Some(entry) => out.bulk(encoding_of(entry).as_bytes()),
    });
    Ok(())
}

fn refcount(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.inspect_to(&args[2], |out, entry| match entry.map(Entry::value) {
        None => out.null(),
        Some(ValueRef::Int(0..SHARED_INTEGERS)) => out.int(i64::from(i32::MAX)),
        Some(_) => out.int(1),
    });
    Ok(())
}

const NO_TIMES: Fault = Fault::new(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
     switching between policies at runtime LRU and LFU data will take some time to adjust.",
);
const NO_COUNTS: Fault = Fault::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
     when switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

fn idletime(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let recency = ctx.recency(&args[2]);
    ctx.inspect_to(&args[2], |out, entry| {
        match entry {
            None => out.null(),
            Some(_) if recency.counts() => return Err(NO_TIMES),
            Some(entry) => out.int(i64::from(recency.idle_s(entry.recency()))),
        }
        Ok(())
    })
}

fn freq(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let recency = ctx.recency(&args[2]);
    ctx.inspect_to(&args[2], |out, entry| {
        match entry {
            None => out.null(),
            Some(_) if !recency.counts() => return Err(NO_COUNTS),
            Some(entry) => out.int(i64::from(recency.frequency(entry.recency()))),
        }
        Ok(())
    })
}

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

fn help(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.array(HELP.len());
    for line in HELP {
        ctx.out.simple(line);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn encodings() {
        let mut w = World::new();
        w.check(&[("SET n 12345678901234567890", "+OK", "SET n 12345678901234567890")]);
        for (value, encoding) in [
            ("1", "int"),
            ("-9223372036854775808", "int"),
            ("9223372036854775808", "embstr"),
            ("01", "embstr"),
            ("+1", "embstr"),
            (&"x".repeat(44), "embstr"),
            (&"x".repeat(45), "raw"),
        ] {
            w.run(&format!("SET a {value}"));
            let reply = format!("${} {encoding}", encoding.len());
            assert_eq!(w.run("OBJECT ENCODING a"), reply, "of {value}");
        }
    }

    #[test]
    fn subcommands() {
        let mut w = World::new();
        w.run("MSET a x n 9999 m 10000");
        w.effects();
        w.check(&[
            ("OBJECT REFCOUNT a", ":1", ""),
            ("object refcount n", ":2147483647", ""),
            ("OBJECT REFCOUNT m", ":1", ""),
            ("OBJECT IDLETIME a", ":0", ""),
            ("OBJECT ENCODING none", "$-1", ""),
            ("OBJECT FREQ none", "$-1", ""),
            ("OBJECT", "-ERR wrong number of arguments for 'object' command", ""),
            ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command", ""),
            ("OBJECT what a", "-ERR unknown subcommand 'what'. Try OBJECT HELP.", ""),
        ]);
        assert!(w.run("OBJECT FREQ a").starts_with("-ERR An LFU maxmemory policy is not selected"));
        assert!(w.run("OBJECT HELP").starts_with("*15 +OBJECT <subcommand>"));
    }
}
