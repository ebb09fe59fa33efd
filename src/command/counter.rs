//! Strings as numbers: INCR and its kin.

use bytes::Bytes;

use crate::base::limits::INLINE_VALUE_MAX;
use crate::base::long_double::LongDouble;
use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::fault::{Fault, NOT_AN_INTEGER};
use crate::command::string::log_set;
use crate::command::table::{Acl, Command, FIRST, Flags, REPLACES_FIRST, ROW, Route, Run};
use crate::keyspace::{NewValue, ValueRef};

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

fn add(ctx: &mut Ctx<'_>, args: &Args<'_>, by: i64) -> Result<(), Fault> {
    let key = &args[1];
    let old = match ctx.peek(key).map(|entry| entry.value()) {
        None => Some(0),
        Some(ValueRef::Int(n)) => Some(n),
        Some(ValueRef::Str(bytes)) => parse_i64(bytes),
        Some(ValueRef::Shared(bytes)) => parse_i64(bytes),
    };
    let old = old.ok_or(NOT_AN_INTEGER)?;
    let new = old.checked_add(by).ok_or(Fault::new("ERR increment or decrement would overflow"))?;
    ctx.put(key, NewValue::Int(new), Expiry::Keep);
    ctx.log_request(key, args);
    ctx.out.int(new);
    Ok(())
}

fn incrbyfloat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    const NOT_A_FLOAT: Fault = Fault::new("ERR value is not a valid float");
    let key = &args[1];
    let old = match ctx.peek(key).map(|entry| entry.value()) {
        None => Some(LongDouble::from(0)),
        Some(ValueRef::Int(n)) => Some(LongDouble::from(n)),
        Some(ValueRef::Str(bytes)) => LongDouble::parse(bytes),
        Some(ValueRef::Shared(bytes)) => LongDouble::parse(bytes),
    };
    let (old, by) = (old.ok_or(NOT_A_FLOAT)?, LongDouble::parse(&args[2]).ok_or(NOT_A_FLOAT)?);
    let sum = old.add(by).ok_or(Fault::new("ERR increment would produce NaN or Infinity"))?;
    let text = sum.to_text();
    // Like Redis, which keeps even a whole number as text here.
    let value = if text.len() <= INLINE_VALUE_MAX {
        NewValue::Str { bytes: &text, raw: false }
    } else {
        NewValue::Shared { bytes: Bytes::copy_from_slice(&text), raw: false }
    };
    ctx.put(key, value, Expiry::Keep);
    log_set(ctx, key, &text, Expiry::Keep);
    ctx.out.bulk(&text);
    Ok(())
}
