//! Strings as numbers: INCR and its kin.

use bytes::Bytes;

use crate::base::limits::INLINE_VALUE_MAX;
use crate::base::long_double::LongDouble;
use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::fault::{Fault, NOT_AN_INTEGER, WRONG_TYPE};
use crate::command::string::log_set;
use crate::command::table::{Acl, Command, FIRST, Flags, REPLACES_FIRST, ROW, Route, Run};
use crate::keyspace::{Class, Entry, NewValue, ValueRef};

const fn row(
    name: &'static str,
    arity: i32,
    run: fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>,
) -> Command {
    Command {
        name,
        arity,
        flags: Flags(Flags::WRITE | Flags::DENYOOM | Flags::FAST),
        keys: FIRST,
        route: Route::Key,
        run: Run::Data(run),
        group: "string",
        acl: Acl(Acl::STRING),
        specs: REPLACES_FIRST,
        ..ROW
    }
}

/// The commands of this file.
pub static ROWS: &[Command] = &[
    row("incr", 2, incr),
    row("decr", 2, decr),
    row("incrby", 3, incrby),
    row("decrby", 3, decrby),
    Command { since: "2.6.0", ..row("incrbyfloat", 3, incrbyfloat) },
];

fn incr(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    add(ctx, args, 1)
}

fn decr(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    add(ctx, args, -1)
}

fn incrby(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let by = parse_i64(&args[2]).ok_or(NOT_AN_INTEGER)?;
    add(ctx, args, by)
}

fn decrby(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let by = parse_i64(&args[2]).ok_or(NOT_AN_INTEGER)?;
    let by = by.checked_neg().ok_or(Fault::new("ERR decrement would overflow"))?;
    add(ctx, args, by)
}

/// The expiry to be stored with the new value: that of the old one, looked up only once.
fn kept(entry: Option<&Entry>) -> Expiry {
    entry.and_then(Entry::expire_ms).map_or(Expiry::Clear, Expiry::At)
}

fn add(ctx: &mut Ctx<'_>, args: &Args<'_>, by: i64) -> Result<(), Fault> {
    let key = &args[1];
    let entry = ctx.peek(key);
    let old = match entry.map(Entry::value) {
        None => Some(0),
        Some(ValueRef::Int(n)) => Some(n),
        Some(ValueRef::Str(bytes)) => parse_i64(bytes),
        Some(ValueRef::Shared(bytes)) => parse_i64(bytes),
        Some(ValueRef::Packed(..) | ValueRef::Object(_)) => return Err(WRONG_TYPE),
    };
    let expiry = kept(entry);
    let old = old.ok_or(NOT_AN_INTEGER)?;
    let new = old.checked_add(by).ok_or(Fault::new("ERR increment or decrement would overflow"))?;
    ctx.put(key, NewValue::Int(new), expiry);
    ctx.log_request(key, args);
    ctx.event(Class::String, "incrby", key);
    ctx.out.int(new);
    Ok(())
}

fn incrbyfloat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    const NOT_A_FLOAT: Fault = Fault::new("ERR value is not a valid float");
    let key = &args[1];
    let entry = ctx.peek(key);
    let expiry = kept(entry);
    let old = match entry.map(Entry::value) {
        None => Some(LongDouble::from(0)),
        Some(ValueRef::Int(n)) => Some(LongDouble::from(n)),
        Some(ValueRef::Str(bytes)) => LongDouble::parse(bytes),
        Some(ValueRef::Shared(bytes)) => LongDouble::parse(bytes),
        Some(ValueRef::Packed(..) | ValueRef::Object(_)) => return Err(WRONG_TYPE),
    };
    let (old, by) = (old.ok_or(NOT_A_FLOAT)?, LongDouble::parse(&args[2]).ok_or(NOT_A_FLOAT)?);
    let sum = old.plus(by).ok_or(Fault::new("ERR increment would produce NaN or Infinity"))?;
    let text = sum.to_text();
    // Like Redis, which keeps even a whole number as text here.
    let value = if text.len() <= INLINE_VALUE_MAX {
        NewValue::Str { bytes: &text, raw: false }
    } else {
        NewValue::Shared { bytes: Bytes::copy_from_slice(&text), raw: false }
    };
    ctx.put(key, value, expiry);
    log_set(ctx, key, &text, Expiry::Keep);
    ctx.event(Class::String, "incrbyfloat", key);
    ctx.out.bulk(&text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn integers() {
        World::new().check(&[
            ("INCR a", ":1", "INCR a"),
            ("INCRBY a 41", ":42", "INCRBY a 41"),
            ("DECR a", ":41", "DECR a"),
            ("DECRBY a -9", ":50", "DECRBY a -9"),
            ("OBJECT ENCODING a", "$3 int", ""),
            ("SET a 9223372036854775807", "+OK", "SET a 9223372036854775807"),
            ("INCR a", "-ERR increment or decrement would overflow", ""),
            ("DECRBY a -9223372036854775808", "-ERR decrement would overflow", ""),
            ("INCRBY a 1.5", "-ERR value is not an integer or out of range", ""),
            ("SET a x", "+OK", "SET a x"),
            ("INCR a", "-ERR value is not an integer or out of range", ""),
            ("SET a 007", "+OK", "SET a 007"),
            ("INCR a", "-ERR value is not an integer or out of range", ""),
            ("INCRBY a 99999999999999999999", "-ERR value is not an integer or out of range", ""),
        ]);
    }

    #[test]
    fn expiry_survives() {
        World::new().check(&[
            ("SET a 1 EX 10", "+OK", "SET a 1 PXAT 1700000010000"),
            ("INCR a", ":2", "INCR a"),
            ("INCRBYFLOAT a 0.5", "$3 2.5", "SET a 2.5 KEEPTTL"),
            ("PTTL a", ":10000", ""),
        ]);
    }

    #[test]
    fn floats() {
        World::new().check(&[
            ("INCRBYFLOAT f 10.50", "$4 10.5", "SET f 10.5 KEEPTTL"),
            ("INCRBYFLOAT f 0.1", "$4 10.6", "SET f 10.6 KEEPTTL"),
            ("INCRBYFLOAT f 4e-1", "$2 11", "SET f 11 KEEPTTL"),
            ("OBJECT ENCODING f", "$6 embstr", ""),
            ("INCR f", ":12", "INCR f"),
            ("INCRBYFLOAT f x", "-ERR value is not a valid float", ""),
            ("INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity", ""),
            ("SET f x", "+OK", "SET f x"),
            ("INCRBYFLOAT f 1", "-ERR value is not a valid float", ""),
            ("SET f ''", "+OK", "SET f "),
            ("INCRBYFLOAT f 1", "-ERR value is not a valid float", ""),
        ]);
    }
}
