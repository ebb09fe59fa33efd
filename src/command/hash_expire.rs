//! Fields of hashes that end: HEXPIRE, HTTL, HPERSIST and their kin.
//!
//! The log gets HPEXPIREAT with absolute time, or HDEL when that time has passed already, and
//! HPERSIST. Redis before 7.4 knows neither HPEXPIREAT nor HPERSIST (docs/COMPATIBILITY.md).

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::expire::{self, Unit};
use crate::command::fault::{Fault, NOT_AN_INTEGER};
use crate::command::hash::{GROUP, peek, read, remove_empty, spread};
use crate::command::table::{Command, Flags, READS_FIRST, UPDATES_FIRST};
use crate::keyspace::{Class, Entry, Object};
use crate::value::hash::Hash;

const SET: u32 = Flags::WRITE | Flags::DENYOOM | Flags::FAST;
const READ: u32 = Flags::READONLY | Flags::FAST;
const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("hexpire", -6, SET, "7.4.0", UPDATES_FIRST, hexpire),
    GROUP.row("hpexpire", -6, SET, "7.4.0", UPDATES_FIRST, hpexpire),
    GROUP.row("hexpireat", -6, SET, "7.4.0", UPDATES_FIRST, hexpireat),
    GROUP.row("hpexpireat", -6, SET, "7.4.0", UPDATES_FIRST, hpexpireat),
    GROUP.row("hpersist", -5, Flags::WRITE | Flags::FAST, "7.4.0", UPDATES_FIRST, hpersist),
    Command { tips: NONDETERMINISTIC, ..GROUP.row("httl", -5, READ, "7.4.0", READS_FIRST, httl) },
    Command { tips: NONDETERMINISTIC, ..GROUP.row("hpttl", -5, READ, "7.4.0", READS_FIRST, hpttl) },
    GROUP.row("hexpiretime", -5, READ, "7.4.0", READS_FIRST, hexpiretime),
    GROUP.row("hpexpiretime", -5, READ, "7.4.0", READS_FIRST, hpexpiretime),
];

/// Latest time at which a field may end: 2^46 - 1 milliseconds, as Redis has it.
const TIME_MAX: i64 = (1 << 46) - 1;

/// There is no such field.
pub(super) const NO_FIELD: i64 = -2;
/// The field does not end.
const NO_TIME: i64 = -1;
/// The condition is not met.
const NOT_MET: i64 = 0;
/// Done.
const DONE: i64 = 1;
/// The time has passed already, so the field was removed.
const REMOVED: i64 = 2;

/// Reads the time at which fields are to end, as Unix time in milliseconds.
pub(super) fn field_time(
    ctx: &Ctx<'_>,
    argument: &[u8],
    unit: Unit,
    absolute: bool,
    command: &str,
) -> Result<i64, Fault> {
    let time = parse_i64(argument).ok_or(NOT_AN_INTEGER)?;
    if time < 0 {
        return Err(Fault::new("ERR invalid expire time, must be >= 0"));
    }
    let time = match unit {
        Unit::Seconds => time.checked_mul(1000),
        Unit::Milliseconds => Some(time),
    };
    let base = if absolute { 0 } else { ctx.now.unix_ms() };
    let at = time.and_then(|time| time.checked_add(base)).filter(|&at| at <= TIME_MAX);
    at.ok_or_else(|| expire::invalid(command))
}

/// The fields named by `FIELDS number field …` at argument `at`; `bad` is the text for what is no
/// number of fields.
pub(super) fn named<'a>(
    args: &Args<'a>,
    at: usize,
    bad: &'static str,
) -> Result<&'a [&'a [u8]], Fault> {
    if args.get(at).is_none() || !args.is(at, "FIELDS") {
        return Err(Fault::new(
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ));
    }
    let count = args.get(at + 1).and_then(parse_i64).filter(|&count| count >= 1);
    let count = count.ok_or(Fault::new(bad))?;
    let fields = args.items().get(at + 2..).unwrap_or_default();
    if fields.len() as i64 != count {
        return Err(Fault::new("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(fields)
}

/// What [`named`] says of a number of fields that is none, but for HEXPIRE and its kin.
pub(super) const BAD_COUNT: &str = "ERR Number of fields must be a positive integer";

/// When HEXPIRE may act, by the time the field has.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    None,
    Some,
    Later,
    Sooner,
}

impl Condition {
    fn parse(args: &Args<'_>, at: usize) -> Self {
        match () {
            () if args.is(at, "NX") => Condition::None,
            () if args.is(at, "XX") => Condition::Some,
            () if args.is(at, "GT") => Condition::Later,
            () if args.is(at, "LT") => Condition::Sooner,
            () => Condition::Always,
        }
    }

    /// A field without a time counts as one that never ends.
    fn allows(self, when: i64, current: Option<i64>) -> bool {
        match self {
            Condition::Always => true,
            Condition::None => current.is_none(),
            Condition::Some => current.is_some(),
            Condition::Later => current.is_some_and(|at| when > at),
            Condition::Sooner => current.is_none_or(|at| when < at),
        }
    }
}

fn hexpire(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    expire_generic(ctx, args, Unit::Seconds, false, "hexpire")
}

fn hpexpire(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    expire_generic(ctx, args, Unit::Milliseconds, false, "hpexpire")
}

fn hexpireat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    expire_generic(ctx, args, Unit::Seconds, true, "hexpireat")
}

fn hpexpireat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    expire_generic(ctx, args, Unit::Milliseconds, true, "hpexpireat")
}

fn expire_generic(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    unit: Unit,
    absolute: bool,
    command: &str,
) -> Result<(), Fault> {
    let key = &args[1];
    peek(ctx, key)?;
    let when = field_time(ctx, &args[2], unit, absolute, command)?;
    let condition = Condition::parse(args, 3);
    let at = if matches!(condition, Condition::Always) { 3 } else { 4 };
    let fields = named(args, at, "ERR Parameter `numFields` should be greater than 0")?;
    let outcomes = set_time(ctx, key, fields, when, |current| condition.allows(when, current));
    answer(ctx, &outcomes);
    Ok(())
}

fn answer(ctx: &mut Ctx<'_>, outcomes: &[i64]) {
    ctx.out.array(outcomes.len());
    outcomes.iter().for_each(|outcome| ctx.out.int(*outcome));
}

/// Lets `fields` of the hash at `key` end at `when` if their present time allows it, or at once if
/// that has passed, and logs it. Tells what became of each.
pub(super) fn set_time(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    fields: &[&[u8]],
    when: i64,
    allows: impl Fn(Option<i64>) -> bool,
) -> Vec<i64> {
    ctx.lapse(key, fields);
    spread(ctx, key);
    let is_past = when <= ctx.now_ms();
    let mut touched: Vec<&[u8]> = Vec::new();
    let change = |object: &mut Object| {
        let Object::Hash(dict) = object else { return (Vec::new(), false) };
        let mut one = |field| {
            let Some(current) = dict.get(field).map(Entry::expire_ms) else { return NO_FIELD };
            if !allows(current) {
                return NOT_MET;
            }
            touched.push(field);
            if is_past {
                dict.remove(field);
                return REMOVED;
            }
            dict.set_expire(field, Some(when));
            DONE
        };
        let outcomes = fields.iter().copied().map(&mut one).collect();
        (outcomes, !touched.is_empty())
    };
    let Some((outcomes, _)) = ctx.change_object(key, change) else {
        return vec![NO_FIELD; fields.len()];
    };
    match (touched.is_empty(), is_past) {
        (true, _) => {}
        (_, false) => {
            ctx.log_times(key, &touched, when);
            ctx.event(Class::Hash, "hexpire", key);
        }
        (_, true) => {
            remove_empty(ctx, key);
            let parts: Vec<&[u8]> = [b"HDEL", key].into_iter().chain(touched).collect();
            ctx.log(key, &parts);
            ctx.event_taken(Class::Hash, "hdel", key);
        }
    }
    outcomes
}

fn hpersist(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    peek(ctx, key)?;
    let fields = named(args, 2, BAD_COUNT)?;
    let outcomes = persist(ctx, key, fields)?;
    answer(ctx, &outcomes);
    Ok(())
}

/// Lets `fields` of the hash at `key` last, and logs it. Tells what became of each.
pub(super) fn persist(ctx: &mut Ctx<'_>, key: &[u8], fields: &[&[u8]]) -> Result<Vec<i64>, Fault> {
    ctx.lapse(key, fields);
    if let Some(hash @ Hash::Packed(_)) = peek(ctx, key)? {
        let there = |field: &&[u8]| if hash.get(field).is_some() { NO_TIME } else { NO_FIELD };
        return Ok(fields.iter().map(there).collect());
    }
    let mut touched: Vec<&[u8]> = Vec::new();
    let change = |object: &mut Object| {
        let Object::Hash(dict) = object else { return (Vec::new(), false) };
        let mut one = |field| match dict.get(field).map(Entry::expire_ms) {
            None => NO_FIELD,
            Some(None) => NO_TIME,
            Some(Some(_)) => {
                touched.push(field);
                dict.set_expire(field, None);
                DONE
            }
        };
        let outcomes = fields.iter().copied().map(&mut one).collect();
        (outcomes, !touched.is_empty())
    };
    let Some((outcomes, changed)) = ctx.change_object(key, change) else {
        return Ok(vec![NO_FIELD; fields.len()]);
    };
    if changed {
        let mut count = itoa::Buffer::new();
        let count = count.format(touched.len()).as_bytes();
        let head = [b"HPERSIST", key, b"FIELDS", count];
        let parts: Vec<&[u8]> = head.into_iter().chain(touched).collect();
        ctx.log_newer(key, &parts);
        ctx.event(Class::Hash, "hpersist", key);
    }
    Ok(outcomes)
}

fn httl(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let base = ctx.now.unix_ms();
    tell_time(ctx, args, |at| at.saturating_sub(base).saturating_add(999) / 1000)
}

fn hpttl(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let base = ctx.now.unix_ms();
    tell_time(ctx, args, |at| at.saturating_sub(base))
}

fn hexpiretime(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    tell_time(ctx, args, |at| at.saturating_add(999) / 1000)
}

fn hpexpiretime(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    tell_time(ctx, args, |at| at)
}

fn tell_time(ctx: &mut Ctx<'_>, args: &Args<'_>, told: impl Fn(i64) -> i64) -> Result<(), Fault> {
    let key = &args[1];
    peek(ctx, key)?;
    let fields = named(args, 2, BAD_COUNT)?;
    read(ctx, key, fields, |out, hash| {
        out.array(fields.len());
        for field in fields {
            out.int(match hash.and_then(|hash| hash.time(field)) {
                None => NO_FIELD,
                Some(None) => NO_TIME,
                Some(Some(at)) => told(at),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    const AT: &str = "HPEXPIREAT h 1700000010000 FIELDS 1 a";

    #[test]
    fn fields_are_given_times() {
        World::new().check(&[
            ("HSET h a 1 b 2", ":2", "HSET h a 1 b 2"),
            ("HEXPIRE none 10 FIELDS 2 a b", "*2 :-2 :-2", ""),
            ("OBJECT ENCODING h", "$8 listpack", ""),
            ("HEXPIRE h 10 FIELDS 2 a none", "*2 :1 :-2", AT),
            ("OBJECT ENCODING h", "$10 listpackex", ""),
            ("HPEXPIRE h 10000 FIELDS 1 a", "*1 :1", AT),
            ("HEXPIREAT h 1700000010 FIELDS 1 a", "*1 :1", AT),
            ("HPEXPIREAT h 1700000010000 FIELDS 1 a", "*1 :1", AT),
            ("HTTL h FIELDS 3 a b none", "*3 :10 :-1 :-2", ""),
            ("HPTTL h FIELDS 1 a", "*1 :10000", ""),
            ("HEXPIRETIME h FIELDS 1 a", "*1 :1700000010", ""),
            ("HPEXPIRETIME h FIELDS 1 a", "*1 :1700000010000", ""),
            ("HTTL none FIELDS 1 a", "*1 :-2", ""),
            ("HPERSIST none FIELDS 1 a", "*1 :-2", ""),
            ("HPERSIST h FIELDS 3 a b none", "*3 :1 :-1 :-2", "HPERSIST h FIELDS 1 a"),
            ("HTTL h FIELDS 1 a", "*1 :-1", ""),
            ("OBJECT ENCODING h", "$10 listpackex", ""),
            ("HEXPIRE h 0 FIELDS 2 a a", "*2 :2 :-2", "HDEL h a"),
            ("HPEXPIREAT h 5 FIELDS 1 b", "*1 :2", "HDEL h b"),
            ("EXISTS h", ":0", ""),
        ]);
    }

    #[test]
    fn conditions() {
        let at = |ms: i64| format!("HPEXPIREAT h {ms} FIELDS 1 a");
        World::new().check(&[
            ("HSET h a 1", ":1", "HSET h a 1"),
            ("HPEXPIRE h 100 XX FIELDS 1 a", "*1 :0", ""),
            ("HPEXPIRE h 100 GT FIELDS 1 a", "*1 :0", ""),
            ("HPEXPIRE h 100 LT FIELDS 1 a", "*1 :1", &at(1700000000100)),
            ("HPEXPIRE h 100 LT FIELDS 1 a", "*1 :0", ""),
            ("HPEXPIRE h 100 GT FIELDS 1 a", "*1 :0", ""),
            ("HPEXPIRE h 101 gt FIELDS 1 a", "*1 :1", &at(1700000000101)),
            ("HPEXPIRE h 100 NX FIELDS 1 a", "*1 :0", ""),
            ("HPEXPIRE h 200 XX FIELDS 1 a", "*1 :1", &at(1700000000200)),
            ("HPEXPIRE h 0 GT FIELDS 1 a", "*1 :0", ""),
            ("HPEXPIRE h 0 LT FIELDS 1 a", "*1 :2", "HDEL h a"),
        ]);
    }

    #[test]
    fn what_is_refused() {
        const MISSING: &str =
            "-ERR Mandatory argument FIELDS is missing or not at the right position";
        const MATCH: &str = "-ERR The `numfields` parameter must match the number of arguments";
        const TIME: &str = "-ERR invalid expire time in 'hexpire' command";
        const COUNT: &str = "-ERR Parameter `numFields` should be greater than 0";
        World::new().check(&[
            ("SET s x", "+OK", "SET s x"),
            ("HEXPIRE s x WHAT 1 a", WRONG, ""),
            ("HTTL s FIELDS 1 a", WRONG, ""),
            ("HPERSIST s FIELDS 1 a", WRONG, ""),
            ("HEXPIRE h x FIELDS 1 a", "-ERR value is not an integer or out of range", ""),
            ("HEXPIRE h -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0", ""),
            ("HEXPIRE h 70368744178 FIELDS 1 a", TIME, ""),
            ("HEXPIRE h 9223372036854775807 FIELDS 1 a", TIME, ""),
            (
                "HPEXPIREAT h 70368744177664 FIELDS 1 a",
                "-ERR invalid expire time in 'hpexpireat' command",
                "",
            ),
            ("HPEXPIREAT h 70368744177663 FIELDS 1 a", "*1 :-2", ""),
            ("HEXPIRE h 1 WHAT FIELDS 1 a", MISSING, ""),
            ("HEXPIRE h 1 NX XX FIELDS 1 a", MISSING, ""),
            ("HEXPIRE h 1 FIELDS 0 a", COUNT, ""),
            ("HEXPIRE h 1 FIELDS x a", COUNT, ""),
            ("HEXPIRE h 1 FIELDS 2 a", MATCH, ""),
            ("HEXPIRE h 1 NX FIELDS 1", MATCH, ""),
            ("HTTL h FIELDS 0 a", "-ERR Number of fields must be a positive integer", ""),
            ("HTTL h FIELDS 2 a", MATCH, ""),
            ("HTTL h WHAT 1 a", MISSING, ""),
            ("HPERSIST h FIELDS 9223372036854775807 a", MATCH, ""),
            ("HEXPIRE h 1 FIELDS 1", "-ERR wrong number of arguments for 'hexpire' command", ""),
        ]);
    }

    /// Five fields of which two end soon.
    fn timed() -> World {
        let mut w = World::new();
        w.run("HSET h a 1 b 2 c 3 d 4 e 5");
        w.run("HPEXPIRE h 5 FIELDS 2 a b");
        w.run("HPEXPIRE h 9000 FIELDS 1 c");
        w.effects();
        w
    }

    #[test]
    fn what_is_past_its_time_is_not_seen() {
        let mut w = timed();
        w.now_ms += 5;
        w.check(&[("HGET h a", "$1 1", ""), ("HPTTL h FIELDS 1 a", "*1 :0", "")]);
        w.now_ms += 1;
        assert_eq!(w.run("HGETALL h").matches('$').count(), 6);
        assert_eq!(w.run("HKEYS h").matches('$').count(), 3);
        assert_eq!(w.run("HVALS h").matches('$').count(), 3);
        assert_eq!(w.run("HSCAN h 0 COUNT 100").matches('$').count(), 7);
        assert_eq!(w.run("HRANDFIELD h 9").matches('$').count(), 3);
        for _ in 0..50 {
            let drawn = w.run("HRANDFIELD h");
            assert!(["$1 c", "$1 d", "$1 e"].contains(&&*drawn), "{drawn}");
            assert_eq!(w.run("HRANDFIELD h -4").matches('$').count(), 4);
        }
        w.check(&[
            // As in Redis, it counts what has not been removed yet.
            ("HLEN h", ":5", ""),
            ("HGET h a", "$-1", "HDEL h a"),
            ("HLEN h", ":4", ""),
            ("HMGET h b c", "*2 $-1 $1 3", "HDEL h b"),
            ("HEXISTS h b", ":0", ""),
            ("HTTL h FIELDS 2 a c", "*2 :-2 :9", ""),
        ]);
        let counters = w.spaces[0].as_ref().unwrap().counters;
        assert_eq!(counters.expired_fields, 2);
        let mut w = timed();
        w.now_ms += 6;
        w.check(&[
            ("HSET h a 7", ":1", "HDEL h a | HSET h a 7"),
            ("HSETNX h b 7", ":1", "HDEL h b | HSETNX h b 7"),
        ]);
        let mut w = timed();
        w.now_ms += 6;
        w.check(&[
            ("HINCRBY h a 7", ":7", "HDEL h a | HINCRBY h a 7"),
            ("HDEL h b", ":0", "HDEL h b"),
            ("HSTRLEN h b", ":0", ""),
            ("HEXPIRE h 5 FIELDS 1 b", "*1 :-2", ""),
        ]);
    }

    #[test]
    fn a_hash_goes_with_its_last_field() {
        let mut w = World::new();
        w.run("HSET h a 1");
        w.run("HPEXPIRE h 5 FIELDS 1 a");
        w.effects();
        w.now_ms += 6;
        w.check(&[
            ("HRANDFIELD h", "$-1", ""),
            ("HRANDFIELD h -3", "*0", ""),
            ("HGETALL h", "*0", ""),
            ("EXISTS h", ":1", ""),
            ("HGET h a", "$-1", "HDEL h a"),
            ("EXISTS h", ":0", ""),
        ]);
    }

    #[test]
    fn what_keeps_a_time_and_what_clears_it() {
        let kept = "HINCRBY h a 1";
        let float = format!("HSET h a 3.5 | {AT}");
        let copied = "DEL i | HSET i a 3.5 | HPEXPIREAT i 1700000010000 FIELDS 1 a";
        let renamed = "DEL i | DEL j | HSET j a 3.5 | HPEXPIREAT j 1700000010000 FIELDS 1 a";
        World::new().check(&[
            ("HSET h a 1", ":1", "HSET h a 1"),
            ("HEXPIRE h 10 FIELDS 1 a", "*1 :1", AT),
            (kept, ":2", kept),
            ("HINCRBYFLOAT h a 1.5", "$3 3.5", &float),
            ("HTTL h FIELDS 1 a", "*1 :10", ""),
            ("COPY h i", ":1", copied),
            ("SET j x", "+OK", "SET j x"),
            ("RENAME i j", "+OK", renamed),
            ("HTTL j FIELDS 1 a", "*1 :10", ""),
            ("OBJECT ENCODING j", "$10 listpackex", ""),
            ("HSET h a 4", ":0", "HSET h a 4"),
            ("HTTL h FIELDS 1 a", "*1 :-1", ""),
        ]);
    }

    #[test]
    fn encodings() {
        let mut w = World::new();
        w.shapes.hash_entries = 2;
        w.shapes.hash_value = 4;
        for line in ["HSET h a 1", "HEXPIRE h 10 FIELDS 1 a", "HSET h b 2"] {
            w.run(line);
        }
        assert_eq!(w.run("OBJECT ENCODING h"), "$10 listpackex");
        w.run("HSET h c 3");
        assert_eq!(w.run("OBJECT ENCODING h"), "$9 hashtable");
        w.run("HDEL h c b");
        assert_eq!(w.run("OBJECT ENCODING h"), "$9 hashtable");
        for line in ["HSET i a 1", "HEXPIRE i 10 FIELDS 1 a", "HSET i b longer"] {
            w.run(line);
        }
        assert_eq!(w.run("OBJECT ENCODING i"), "$9 hashtable");
        w.run("HSET j a longer");
        w.run("HEXPIRE j 10 FIELDS 1 a");
        assert_eq!(w.run("OBJECT ENCODING j"), "$9 hashtable");
    }
}
