//! Strings as numbers: INCR and its kin.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::fault::{Fault, NOT_AN_INTEGER};
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
