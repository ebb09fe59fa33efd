//! Commands that wait for an element: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP, BZPOPMIN, BZPOPMAX,
//! BZMPOP. What they take, and what is logged of it, is what the forms that do not wait take.
//!
//! Each looks once and takes the claim before it changes anything ([`Ctx::claim`]); finding nothing
//! it says what it waits for ([`Ctx::wait`]) and writes what is to be told when that is in vain.
//! Where nobody can wait (in a transaction) that is its reply.

use crate::base::double;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::Fault;
use crate::command::list::{self, GROUP, Pops};
use crate::command::table::{
    Acl, Command, DataRun, Flags, INSERTS_MORE, KeySpec, Keys, Route, TAKES,
};
use crate::command::{zset, zset_pop};
use crate::keyspace::Type;
use crate::value::list::End;

/// Keys and one argument behind them.
const BUT_LAST: Keys = Keys::Range { first: 1, last: -2, step: 1 };
const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const COUNTED: Keys = Keys::Counted { at: 2, store: false };

const fn row(
    name: &'static str,
    (arity, flags): (i32, u32),
    keys: Keys,
    since: &'static str,
    specs: &'static [KeySpec],
    run: DataRun,
) -> Command {
    let flags = flags | Flags::WRITE | Flags::BLOCKING;
    Command { keys, route: Route::Lease, ..GROUP.row(name, arity, flags, since, specs, run) }
}

/// The same of a sorted set.
const fn of_zset(row: Command) -> Command {
    Command { group: "sorted-set", acl: Acl(Acl::SORTED_SET), ..row }
}

const POPS: (i32, u32) = (-3, Flags::NOSCRIPT);
const FAST_POPS: (i32, u32) = (-3, Flags::NOSCRIPT | Flags::FAST);
const MANY: (i32, u32) = (-5, Flags::MOVABLE_KEYS);
const MOVES: u32 = Flags::NOSCRIPT | Flags::DENYOOM;
const FROM: &[KeySpec] = &[KeySpec::range(1, -2, 1, TAKES)];
const FROM_COUNTED: &[KeySpec] = &[KeySpec::counted(2, TAKES)];
const FROM_TO: &[KeySpec] = &[KeySpec::one(1, TAKES), KeySpec::one(2, INSERTS_MORE)];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    row("blpop", POPS, BUT_LAST, "2.0.0", FROM, blpop),
    row("brpop", POPS, BUT_LAST, "2.0.0", FROM, brpop),
    row("blmove", (6, MOVES), TWO, "6.2.0", FROM_TO, blmove),
    row("brpoplpush", (4, MOVES), TWO, "2.2.0", FROM_TO, brpoplpush),
    row("blmpop", MANY, COUNTED, "7.0.0", FROM_COUNTED, blmpop),
    of_zset(row("bzpopmin", FAST_POPS, BUT_LAST, "5.0.0", FROM, bzpopmin)),
    of_zset(row("bzpopmax", FAST_POPS, BUT_LAST, "5.0.0", FROM, bzpopmax)),
    of_zset(row("bzmpop", MANY, COUNTED, "7.0.0", FROM_COUNTED, bzmpop)),
];

/// A time to wait in seconds, as milliseconds; 0 is for ever.
fn timeout(text: &[u8]) -> Result<u64, Fault> {
    let seconds = double::parse(text);
    let seconds = seconds.ok_or(Fault::new("ERR timeout is not a float or out of range"))?;
    let ms = (seconds * 1000.0).ceil();
    if ms < 0.0 {
        return Err(Fault::new("ERR timeout is negative"));
    }
    match ms < i64::MAX as f64 {
        true => Ok(ms as u64),
        false => Err(Fault::new("ERR timeout is out of range")),
    }
}

fn pop(ctx: &mut Ctx<'_>, args: &Args<'_>, end: End) -> Result<(), Fault> {
    let timeout = timeout(&args[args.len() - 1])?;
    for key in &args.items()[1..args.len() - 1] {
        if list::list_of(ctx.peek(key))?.is_none() {
            continue;
        }
        if ctx.claim()
            && let Some(element) = list::pop(ctx, key, end)?
        {
            ctx.out.array(2);
            ctx.out.bulk(key);
            ctx.out.bulk(&element);
        }
        return Ok(());
    }
    ctx.wait(Type::List, timeout);
    ctx.out.null_array();
    Ok(())
}

fn blpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    pop(ctx, args, End::Front)
}

fn brpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    pop(ctx, args, End::Back)
}

fn move_one(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    ends: (End, End),
    timeout: u64,
) -> Result<(), Fault> {
    let (from, to) = (&args[1], &args[2]);
    if list::list_of(ctx.peek(from))?.is_none() {
        ctx.wait(Type::List, timeout);
        // In a transaction the reply is that of LMOVE.
        match ctx.claim {
            Some(_) => ctx.out.null_array(),
            None => ctx.out.null(),
        }
        return Ok(());
    }
    list::list_of(ctx.peek(to))?;
    if ctx.claim()
        && let Some(element) = list::move_one(ctx, (from, ends.0), (to, ends.1))?
    {
        ctx.out.bulk(&element);
    }
    Ok(())
}

fn blmove(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let ends = (list::end_of(&args[3])?, list::end_of(&args[4])?);
    let timeout = timeout(&args[5])?;
    move_one(ctx, args, ends, timeout)
}

fn brpoplpush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let timeout = timeout(&args[3])?;
    move_one(ctx, args, (End::Back, End::Front), timeout)
}

fn blmpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let pops = Pops::parse(args, 2)?;
    let timeout = timeout(&args[1])?;
    let keys = pops.keys(args);
    for key in keys {
        if list::list_of(ctx.peek(key))?.is_some() {
            if ctx.claim() {
                pops.serve(ctx, keys)?;
            }
            return Ok(());
        }
    }
    ctx.wait(Type::List, timeout);
    ctx.out.null_array();
    Ok(())
}

fn pop_member(ctx: &mut Ctx<'_>, args: &Args<'_>, end: zset_pop::End) -> Result<(), Fault> {
    let timeout = timeout(&args[args.len() - 1])?;
    for key in &args.items()[1..args.len() - 1] {
        if zset::zset_of(ctx.peek(key))?.is_none() {
            continue;
        }
        if ctx.claim() {
            for (member, score) in zset_pop::pop(ctx, key, end, 1)? {
                ctx.out.array(3);
                ctx.out.bulk(key);
                ctx.out.bulk(&member);
                zset::reply_score(ctx.out, score);
            }
        }
        return Ok(());
    }
    ctx.wait(Type::Zset, timeout);
    ctx.out.null_array();
    Ok(())
}

fn bzpopmin(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    pop_member(ctx, args, zset_pop::End::Min)
}

fn bzpopmax(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    pop_member(ctx, args, zset_pop::End::Max)
}

fn bzmpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let request = zset_pop::parse(args, 2)?;
    let timeout = timeout(&args[1])?;
    for key in request.keys {
        if zset::zset_of(ctx.peek(key))?.is_some() {
            if ctx.claim() {
                zset_pop::pop_first(ctx, &request)?;
            }
            return Ok(());
        }
    }
    ctx.wait(Type::Zset, timeout);
    ctx.out.null_array();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_wait() {
        let ms = |text: &str| timeout(text.as_bytes()).map_err(|fault| fault.0.into_owned());
        assert_eq!(ms("0"), Ok(0));
        assert_eq!(ms("0.0001"), Ok(1));
        assert_eq!(ms("1.5"), Ok(1500));
        assert_eq!(ms("-1").unwrap_err(), b"ERR timeout is negative");
        assert_eq!(ms("-inf").unwrap_err(), b"ERR timeout is negative");
        for text in ["inf", "1e16"] {
            assert_eq!(ms(text).unwrap_err(), b"ERR timeout is out of range");
        }
        for text in ["nan", "x", "", "1 "] {
            assert_eq!(ms(text).unwrap_err(), b"ERR timeout is not a float or out of range");
        }
    }
}
