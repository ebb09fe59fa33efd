//! Strings read and written whole: GET, SET and their kin.
//!
//! The log gets absolute expiries only, one key per command: `SETEX k 10 v` becomes
//! `SET k v PXAT ms`, `MSET a 1 b 2` two SETs.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::expire::{self, Unit};
use crate::command::fault::{Fault, SYNTAX};
use crate::command::table::{
    ALL, Acl, Command, FIRST, Flags, KeySpec, Keys, Merge, OVERWRITES, PAIRS, READS, READS_FIRST,
    REPLACES_FIRST, ROW, Route, Run, wrong_arity,
};
use crate::keyspace::{Entry, NewValue, ValueRef};
use crate::resp::Reply;

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    keys: Keys,
    run: fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>,
) -> Command {
    Command {
        name,
        arity,
        flags: Flags(flags),
        keys,
        route: Route::Key,
        run: Run::Data(run),
        group: "string",
        acl: Acl(Acl::STRING),
        ..ROW
    }
}

const READ: u32 = Flags::READONLY;
const WRITE: u32 = Flags::WRITE;
const GROW: u32 = Flags::WRITE | Flags::DENYOOM;
const FAST: u32 = Flags::FAST;

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command { specs: READS_FIRST, ..row("get", 2, READ | FAST, FIRST, get) },
    Command { specs: REPLACES_FIRST, ..row("set", -3, GROW, FIRST, set) },
    Command {
        route: Route::Split(Merge::PerKey),
        specs: &[KeySpec::rest(1, 1, READS)],
        tips: &["request_policy:multi_shard"],
        ..row("mget", -2, READ | FAST, ALL, mget)
    },
    Command {
        route: Route::Split(Merge::Ok),
        specs: &[KeySpec::rest(1, 2, OVERWRITES)],
        since: "1.0.1",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        ..row("mset", -3, GROW, PAIRS, mset)
    },
];

/// A value as text; `digits` holds it when it is kept as an integer.
pub fn text<'a>(value: ValueRef<'a>, digits: &'a mut itoa::Buffer) -> &'a [u8] {
    match value {
        ValueRef::Int(n) => digits.format(n).as_bytes(),
        ValueRef::Str(bytes) => bytes,
        ValueRef::Shared(bytes) => bytes,
    }
}

/// Length of a value's text, in bytes.
pub fn text_len(value: ValueRef<'_>) -> usize {
    text(value, &mut itoa::Buffer::new()).len()
}

/// Answers with a value, or with null when there is none.
pub fn reply_value(out: &mut Reply, entry: Option<&Entry>) {
    match entry.map(Entry::value) {
        None => out.null(),
        Some(ValueRef::Int(n)) => out.bulk_int(n),
        Some(ValueRef::Str(bytes)) => out.bulk(bytes),
        Some(ValueRef::Shared(bytes)) => out.bulk_shared(bytes),
    }
}

/// The argument as a value to store: an integer when it is one in canonical form.
pub fn stored<'v>(args: &'v Args<'v>, index: usize) -> NewValue<'v> {
    match parse_i64(&args[index]) {
        Some(n) => NewValue::Int(n),
        None => Ctx::value_arg(args, index),
    }
}

fn get(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.read_to(&args[1], reply_value);
    Ok(())
}

fn mget(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.array(args.len() - 1);
    for key in &args.items()[1..] {
        ctx.read_to(key, reply_value);
    }
    Ok(())
}

fn mset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if args.len().is_multiple_of(2) {
        return Err(wrong_arity("mset"));
    }
    store_pairs(ctx, args);
    ctx.out.ok();
    Ok(())
}

fn store_pairs(ctx: &mut Ctx<'_>, args: &Args<'_>) {
    for at in (1..args.len()).step_by(2) {
        let key = &args[at];
        ctx.put(key, stored(args, at + 1), Expiry::Clear);
        ctx.log(key, &[b"SET", key, &args[at + 1]]);
    }
}

/// The options of SET and GETEX.
#[derive(Default)]
struct Options<'a> {
    nx: bool,
    xx: bool,
    get: bool,
    keep: bool,
    persist: bool,
    /// Argument, unit and whether it is a point in time.
    expire: Option<(&'a [u8], Unit, bool)>,
}

impl<'a> Options<'a> {
    /// Reads SET's options from argument `from` on, or GETEX's when `getex`.
    fn parse(args: &Args<'a>, from: usize, getex: bool) -> Result<Self, Fault> {
        let mut options = Options::default();
        let mut at = from;
        while at < args.len() {
            let other = options.expire.map(|(_, unit, absolute)| (unit, absolute));
            let free =
                |kind| !options.keep && !options.persist && other.is_none_or(|other| other == kind);
            let timed = |word, unit, absolute| {
                (args.is(at, word) && at + 1 < args.len() && free((unit, absolute)))
                    .then(|| (args.items()[at + 1], unit, absolute))
            };
            let expire = timed("EX", Unit::Seconds, false)
                .or_else(|| timed("PX", Unit::Milliseconds, false))
                .or_else(|| timed("EXAT", Unit::Seconds, true))
                .or_else(|| timed("PXAT", Unit::Milliseconds, true));
            if expire.is_some() {
                options.expire = expire;
                at += 1;
            } else if !getex && args.is(at, "NX") && !options.xx {
                options.nx = true;
            } else if !getex && args.is(at, "XX") && !options.nx {
                options.xx = true;
            } else if !getex && args.is(at, "GET") {
                options.get = true;
            } else if !getex && args.is(at, "KEEPTTL") && other.is_none() {
                options.keep = true;
            } else if getex && args.is(at, "PERSIST") && other.is_none() {
                options.persist = true;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }

    /// The expiry as Unix time in milliseconds.
    fn expire_ms(&self, ctx: &Ctx<'_>, command: &str) -> Result<Option<i64>, Fault> {
        let Some((argument, unit, absolute)) = self.expire else { return Ok(None) };
        expire::positive(ctx, argument, unit, absolute, command).map(Some)
    }
}

fn set(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    if args.len() == 3 {
        ctx.put(key, stored(args, 2), Expiry::Clear);
        ctx.log_request(key, args);
        ctx.out.ok();
        return Ok(());
    }
    let options = Options::parse(args, 3, false)?;
    let expire = options.expire_ms(ctx, "set")?;
    if options.get {
        ctx.read_to(key, reply_value);
    }
    if options.nx || options.xx {
        let found = ctx.peek(key).is_some();
        if found == options.nx {
            if !options.get {
                ctx.out.null();
            }
            return Ok(());
        }
    }
    let expiry = match expire {
        Some(at) => Expiry::At(at),
        None if options.keep => Expiry::Keep,
        None => Expiry::Clear,
    };
    ctx.put(key, stored(args, 2), expiry);
    log_set(ctx, key, &args[2], expiry);
    if !options.get {
        ctx.out.ok();
    }
    Ok(())
}

/// Logs that `key` now holds `value` with that expiry.
pub fn log_set(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], expiry: Expiry) {
    match expiry {
        Expiry::Clear => ctx.log(key, &[b"SET", key, value]),
        Expiry::Keep => ctx.log(key, &[b"SET", key, value, b"KEEPTTL"]),
        Expiry::At(at) => {
            let at = itoa::Buffer::new().format(at).to_owned();
            ctx.log(key, &[b"SET", key, value, b"PXAT", at.as_bytes()]);
        }
    }
}
