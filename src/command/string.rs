//! Strings read and written whole: GET, SET and their kin.
//!
//! The log gets absolute expiries only, one key per command: `SETEX k 10 v` becomes
//! `SET k v PXAT ms`, `MSET a 1 b 2` two SETs.

use bytes::Bytes;

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::compare::Condition;
use crate::command::context::{Ctx, Expiry};
use crate::command::expire::{self, Unit};
use crate::command::fault::{Fault, SYNTAX, WRONG_TYPE};
use crate::command::table::{
    ALL, Acl, Command, FIRST, Flags, INSERTS, KeySpec, Keys, Merge, OVERWRITES, PAIRS, READS,
    READS_FIRST, REPLACES, REPLACES_FIRST, ROW, Route, Run, TAKES, wrong_arity,
};
use crate::keyspace::{Class, Entry, NewValue, ValueRef};
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
    Command {
        specs: &[KeySpec {
            notes: "RW and ACCESS due to the optional `GET` argument",
            ..KeySpec::one(1, &["RW", "access", "update", "variable_flags"])
        }],
        ..row("set", -3, GROW, FIRST, set)
    },
    Command { specs: &[KeySpec::one(1, INSERTS)], ..row("setnx", 3, GROW | FAST, FIRST, setnx) },
    Command {
        specs: &[KeySpec::one(1, OVERWRITES)],
        since: "2.0.0",
        ..row("setex", 4, GROW, FIRST, setex)
    },
    Command {
        specs: &[KeySpec::one(1, OVERWRITES)],
        since: "2.6.0",
        ..row("psetex", 4, GROW, FIRST, psetex)
    },
    Command { specs: REPLACES_FIRST, ..row("getset", 3, GROW | FAST, FIRST, getset) },
    Command {
        specs: &[KeySpec::one(1, TAKES)],
        since: "6.2.0",
        ..row("getdel", 2, WRITE | FAST, FIRST, getdel)
    },
    Command {
        specs: &[KeySpec {
            notes: "RW and UPDATE because it changes the TTL",
            ..KeySpec::one(1, REPLACES)
        }],
        since: "6.2.0",
        ..row("getex", -2, WRITE | FAST, FIRST, getex)
    },
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
    Command {
        route: Route::Lease,
        specs: &[KeySpec::rest(1, 2, INSERTS)],
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        since: "1.0.1",
        ..row("msetnx", -3, GROW, PAIRS, msetnx)
    },
];

/// A value as text; `digits` holds it when it is kept as an integer.
pub fn text<'a>(value: ValueRef<'a>, digits: &'a mut itoa::Buffer) -> Result<&'a [u8], Fault> {
    match value {
        ValueRef::Int(n) => Ok(digits.format(n).as_bytes()),
        ValueRef::Str(bytes) => Ok(bytes),
        ValueRef::Shared(bytes) => Ok(bytes),
        ValueRef::Packed(..) | ValueRef::Object(_) => Err(WRONG_TYPE),
    }
}

/// Length of a value's text, in bytes.
pub fn text_len(value: ValueRef<'_>) -> Result<usize, Fault> {
    Ok(text(value, &mut itoa::Buffer::new())?.len())
}

/// Reads the bytes at `key`, shared when they stand in a buffer of their own.
pub fn bytes_of(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Bytes, Fault> {
    ctx.read_to(key, |_, entry| match entry.map(Entry::value) {
        None => Ok(Bytes::new()),
        Some(ValueRef::Shared(bytes)) => Ok(bytes.clone()),
        Some(value) => Ok(Bytes::copy_from_slice(text(value, &mut itoa::Buffer::new())?)),
    })
}

/// Answers with a value, or with null when there is none.
pub fn reply_value(out: &mut Reply, entry: Option<&Entry>) -> Result<(), Fault> {
    match entry.map(Entry::value) {
        None => out.null(),
        Some(ValueRef::Int(n)) => out.bulk_int(n),
        Some(ValueRef::Str(bytes)) => out.bulk(bytes),
        Some(ValueRef::Shared(bytes)) => out.bulk_shared(bytes),
        Some(ValueRef::Packed(..) | ValueRef::Object(_)) => return Err(WRONG_TYPE),
    }
    Ok(())
}

/// The argument as a value to store: an integer when it is one in canonical form.
pub fn stored<'v>(args: &'v Args<'v>, index: usize) -> NewValue<'v> {
    match parse_i64(&args[index]) {
        Some(n) => NewValue::Int(n),
        None => Ctx::value_arg(args, index),
    }
}

fn get(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.read_to(&args[1], reply_value)
}

fn mget(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.array(args.len() - 1);
    for key in &args.items()[1..] {
        // What is no string is told as if it were not there.
        if ctx.read_to(key, reply_value).is_err() {
            ctx.out.null();
        }
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

fn msetnx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if args.len().is_multiple_of(2) {
        return Err(wrong_arity("msetnx"));
    }
    let mut keys = args.items()[1..].iter().step_by(2);
    let free = keys.all(|key| ctx.peek(key).is_none());
    if free {
        store_pairs(ctx, args);
    }
    ctx.out.int(i64::from(free));
    Ok(())
}

fn store_pairs(ctx: &mut Ctx<'_>, args: &Args<'_>) {
    for at in (1..args.len()).step_by(2) {
        let key = &args[at];
        ctx.put(key, stored(args, at + 1), Expiry::Clear);
        ctx.log(key, &[b"SET", key, &args[at + 1]]);
        ctx.event(Class::String, "set", key);
    }
}

/// Which command options belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// SET.
    Set,
    /// GETEX.
    GetEx,
    /// MSETEX.
    MSetEx,
}

/// The options of SET, GETEX and MSETEX.
#[derive(Default)]
pub struct Options<'a> {
    /// Only where there is nothing.
    pub nx: bool,
    /// Only where there is something.
    pub xx: bool,
    /// Only where there is this.
    condition: Option<Condition<'a>>,
    get: bool,
    keep: bool,
    persist: bool,
    /// Argument, unit and whether it is a point in time.
    expire: Option<(&'a [u8], Unit, bool)>,
}

impl<'a> Options<'a> {
    /// Reads the options of a command from argument `from` on.
    pub fn parse(args: &Args<'a>, from: usize, of: Of) -> Result<Self, Fault> {
        let (stores, getex) = (of != Of::GetEx, of == Of::GetEx);
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
            } else if stores && args.is(at, "NX") && !options.xx && options.condition.is_none() {
                options.nx = true;
            } else if stores && args.is(at, "XX") && !options.nx && options.condition.is_none() {
                options.xx = true;
            } else if of == Of::Set && args.is(at, "GET") {
                options.get = true;
            } else if let Some(condition) = Condition::parse(args, at)
                && of == Of::Set
                && !options.nx
                && !options.xx
                && options.condition.is_none_or(|other| other.is_as(condition))
            {
                options.condition = Some(condition);
                at += 1;
            } else if stores && args.is(at, "KEEPTTL") && other.is_none() {
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
    pub fn expire_ms(&self, ctx: &Ctx<'_>, command: &str) -> Result<Option<i64>, Fault> {
        let Some((argument, unit, absolute)) = self.expire else { return Ok(None) };
        expire::positive(ctx, argument, unit, absolute, command).map(Some)
    }

    /// What becomes of the expiry of a key that is set, when `expire_ms` was given.
    pub fn expiry(&self, expire_ms: Option<i64>) -> Expiry {
        match expire_ms {
            Some(at) => Expiry::At(at),
            None if self.keep => Expiry::Keep,
            None => Expiry::Clear,
        }
    }

    /// Whether SET may act on `key`.
    fn allow(&self, ctx: &mut Ctx<'_>, key: &[u8]) -> Result<bool, Fault> {
        let Some(condition) = self.condition else {
            return Ok((!self.nx && !self.xx) || ctx.peek(key).is_some() == self.xx);
        };
        match ctx.peek(key) {
            Some(entry) => condition.holds(entry.value()),
            None => Ok(condition.holds_of_nothing()),
        }
    }
}

fn set(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    if args.len() == 3 {
        ctx.put(key, stored(args, 2), Expiry::Clear);
        ctx.log_request(key, args);
        ctx.event(Class::String, "set", key);
        ctx.out.ok();
        return Ok(());
    }
    let options = Options::parse(args, 3, Of::Set)?;
    let expire = options.expire_ms(ctx, "set")?;
    if options.get {
        ctx.read_to(key, reply_value)?;
    }
    if !options.allow(ctx, key)? {
        if !options.get {
            ctx.out.null();
        }
        return Ok(());
    }
    let expiry = options.expiry(expire);
    ctx.put(key, stored(args, 2), expiry);
    log_set(ctx, key, &args[2], expiry);
    tell_set(ctx, key, expiry);
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

/// Tells that `key` was set, with that expiry.
pub fn tell_set(ctx: &mut Ctx<'_>, key: &[u8], expiry: Expiry) {
    ctx.event(Class::String, "set", key);
    if matches!(expiry, Expiry::At(_)) {
        ctx.event(Class::Generic, "expire", key);
    }
}

fn setnx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    let free = ctx.peek(key).is_none();
    if free {
        ctx.put(key, stored(args, 2), Expiry::Clear);
        log_set(ctx, key, &args[2], Expiry::Clear);
        ctx.event(Class::String, "set", key);
    }
    ctx.out.int(i64::from(free));
    Ok(())
}

fn setex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    set_for(ctx, args, Unit::Seconds, "setex")
}

fn psetex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    set_for(ctx, args, Unit::Milliseconds, "psetex")
}

fn set_for(ctx: &mut Ctx<'_>, args: &Args<'_>, unit: Unit, name: &str) -> Result<(), Fault> {
    let key = &args[1];
    let expiry = Expiry::At(expire::positive(ctx, &args[2], unit, false, name)?);
    ctx.put(key, stored(args, 3), expiry);
    log_set(ctx, key, &args[3], expiry);
    tell_set(ctx, key, expiry);
    ctx.out.ok();
    Ok(())
}

fn getset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    ctx.read_to(key, reply_value)?;
    ctx.put(key, stored(args, 2), Expiry::Clear);
    log_set(ctx, key, &args[2], Expiry::Clear);
    ctx.event(Class::String, "set", key);
    Ok(())
}

/// Answers with the value; true when there was one.
fn reply_found(out: &mut Reply, entry: Option<&Entry>) -> Result<bool, Fault> {
    reply_value(out, entry)?;
    Ok(entry.is_some())
}

fn getdel(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    if ctx.read_to(key, reply_found)? {
        ctx.delete(key);
        ctx.log(key, &[b"DEL", key]);
        ctx.event(Class::Generic, "del", key);
    }
    Ok(())
}

fn getex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    let options = Options::parse(args, 2, Of::GetEx)?;
    let before = ctx.out.checkpoint();
    if !ctx.read_to(key, reply_found)? {
        return Ok(());
    }
    // Redis looks at the time only once there is a value, yet says nothing of it if that is bad.
    let at = options.expire_ms(ctx, "getex").inspect_err(|_| ctx.out.cut_back(before))?;
    let absolute = options.expire.is_some_and(|(_, _, absolute)| absolute);
    match at {
        Some(at) if absolute && at <= ctx.now_ms() => {
            ctx.delete(key);
            ctx.log(key, &[b"DEL", key]);
            ctx.event(Class::Generic, "del", key);
        }
        Some(at) => {
            ctx.set_expire(key, Some(at));
            expire::log_expiry(ctx, key, at);
            ctx.event(Class::Generic, "expire", key);
        }
        None if options.persist => {
            expire::clear(ctx, key);
        }
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    const AT: &str = "1700000010000"; // ten seconds from the start

    #[test]
    fn set_and_get() {
        let mut w = World::new();
        w.check(&[
            ("GET a", "$-1", ""),
            ("SET a 1", "+OK", "SET a 1"),
            ("GET a", "$1 1", ""),
            ("set a hello", "+OK", "set a hello"),
            ("get a", "$5 hello", ""),
            ("SET a", "-ERR wrong number of arguments for 'set' command", ""),
            ("GET a b", "-ERR wrong number of arguments for 'get' command", ""),
            ("SET '' ''", "+OK", "SET  "),
            ("GET ''", "$0", ""),
        ]);
        w.resp3 = true;
        w.check(&[("GET none", "_", "")]);
    }

    #[test]
    fn set_conditions() {
        World::new().check(&[
            ("SET a 1 XX", "$-1", ""),
            ("SET a 1 NX", "+OK", "SET a 1"),
            ("SET a 2 nx", "$-1", ""),
            ("SET a 2 XX", "+OK", "SET a 2"),
            ("SET a 3 GET", "$1 2", "SET a 3"),
            ("SET a 4 NX GET", "$1 3", ""),
            ("SET a 4 XX GET", "$1 3", "SET a 4"),
            ("SET b 1 NX GET", "$-1", "SET b 1"),
            ("SET c 1 XX GET", "$-1", ""),
            ("SET a 1 NX XX", "-ERR syntax error", ""),
            ("SET a 1 WHAT", "-ERR syntax error", ""),
            ("SETNX a 9", ":0", ""),
            ("SETNX n 9", ":1", "SET n 9"),
            ("GETSET a 5", "$1 4", "SET a 5"),
            ("GETSET fresh 5", "$-1", "SET fresh 5"),
        ]);
    }

    #[test]
    fn set_with_expiry() {
        let mut w = World::new();
        let set = format!("SET a v PXAT {AT}");
        w.check(&[
            ("SET a v EX 10", "+OK", &set),
            ("SET a v PX 10000", "+OK", &set),
            ("SET a v EXAT 1700000010", "+OK", &set),
            ("SET a v PXAT 1700000010000", "+OK", &set),
            ("SET a v EX 1 EX 10", "+OK", &set),
            ("SETEX a 10 v", "+OK", &set),
            ("PSETEX a 10000 v", "+OK", &set),
            ("PTTL a", ":10000", ""),
            ("SET a w KEEPTTL", "+OK", "SET a w KEEPTTL"),
            ("PTTL a", ":10000", ""),
            ("GETSET a x", "$1 w", "SET a x"),
            ("TTL a", ":-1", ""),
            ("SET a v EX 10 PX 1", "-ERR syntax error", ""),
            ("SET a v EX 10 KEEPTTL", "-ERR syntax error", ""),
            ("SET a v KEEPTTL PX 10", "-ERR syntax error", ""),
            ("SET a v EX", "-ERR syntax error", ""),
            ("SET a v PERSIST", "-ERR syntax error", ""),
            ("SET a v EX 0", "-ERR invalid expire time in 'set' command", ""),
            ("SET a v EX 1x", "-ERR value is not an integer or out of range", ""),
            ("SET a v EX 9223372036854775", "-ERR invalid expire time in 'set' command", ""),
            ("SET a v PXAT -1", "-ERR invalid expire time in 'set' command", ""),
            ("SETEX a -1 v", "-ERR invalid expire time in 'setex' command", ""),
            ("PSETEX a 0 v", "-ERR invalid expire time in 'psetex' command", ""),
        ]);
    }

    #[test]
    fn a_key_past_its_time_is_gone_and_its_end_logged() {
        let mut w = World::new();
        w.check(&[("SET a v PX 5", "+OK", "SET a v PXAT 1700000000005")]);
        w.now_ms += 6;
        w.check(&[
            ("GET a", "$-1", "DEL a"),
            ("SET b v PXAT 1", "+OK", "SET b v PXAT 1"),
            ("SET b w XX", "$-1", "DEL b"),
            ("SET c v PXAT 1", "+OK", "SET c v PXAT 1"),
            ("SET c w KEEPTTL", "+OK", "DEL c | SET c w KEEPTTL"),
            ("TTL c", ":-1", ""),
        ]);
    }

    #[test]
    fn getdel_and_getex() {
        let pexpireat = format!("PEXPIREAT a {AT}");
        World::new().check(&[
            ("GETDEL a", "$-1", ""),
            ("SET a v", "+OK", "SET a v"),
            ("GETDEL a", "$1 v", "DEL a"),
            ("GETEX a EX x", "$-1", ""),
            ("SET a v", "+OK", "SET a v"),
            ("GETEX a", "$1 v", ""),
            ("GETEX a EX 10", "$1 v", &pexpireat),
            ("GETEX a PX 10000", "$1 v", &pexpireat),
            ("GETEX a EXAT 1700000010", "$1 v", &pexpireat),
            ("GETEX a PXAT 1700000010000", "$1 v", &pexpireat),
            ("GETEX a PERSIST", "$1 v", "PERSIST a"),
            ("GETEX a PERSIST", "$1 v", ""),
            ("GETEX a EX 0", "-ERR invalid expire time in 'getex' command", ""),
            ("GETEX a PERSIST EX 1", "-ERR syntax error", ""),
            ("GETEX a NX", "-ERR syntax error", ""),
            ("GETEX a KEEPTTL", "-ERR syntax error", ""),
            ("GETEX a PXAT 5", "$1 v", "DEL a"),
            ("EXISTS a", ":0", ""),
        ]);
    }

    #[test]
    fn many_at_once() {
        World::new().check(&[
            ("MSET a 1 b 2 a 3", "+OK", "SET a 1 | SET b 2 | SET a 3"),
            ("MGET a none b", "*3 $1 3 $-1 $1 2", ""),
            ("MSET a", "-ERR wrong number of arguments for 'mset' command", ""),
            ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command", ""),
            ("MSETNX c 1 a 1", ":0", ""),
            ("MSETNX c 1 d 2", ":1", "SET c 1 | SET d 2"),
            ("MSETNX c 1 d", "-ERR wrong number of arguments for 'msetnx' command", ""),
        ]);
    }

    #[test]
    fn over_shards_the_same() {
        let mut w = World::sharded(4);
        assert_eq!(w.run("MSETNX a 1 b 2 c 3 d 4 e 5"), ":1");
        let effects = w.take_effects();
        assert_eq!(effects.len(), 5);
        assert_eq!(w.run("MSETNX x 1 e 2"), ":0");
        assert_eq!(w.run("MGET a b c d e x"), "*6 $1 1 $1 2 $1 3 $1 4 $1 5 $-1");
    }

    #[test]
    fn read_counters() {
        let mut w = World::new();
        for line in ["SET a 1", "GET a", "GET b", "MGET a b", "EXISTS a", "TYPE b"] {
            w.run(line);
        }
        let counters = w.spaces[0].as_ref().unwrap().counters;
        assert_eq!((counters.hits, counters.misses, counters.dirty), (3, 3, 1));
    }
}
