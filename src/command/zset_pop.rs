//! Members taken from the ends of sorted sets: ZPOPMIN, ZPOPMAX, ZMPOP. The forms that wait for a
//! member call the same code.
//!
//! The log gets ZPOPMIN or ZPOPMAX with the key and how many were taken; DEL when none are left.

use smallvec::SmallVec;

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, SYNTAX};
use crate::command::table::{Command, Flags, KeySpec, Keys, Route, TAKES};
use crate::command::zset::{FAST, GROUP, WRITE, remove_ranks, reply_score, zset_of};
use crate::keyspace::Class;
use crate::resp::Reply;
use crate::value::zset::Zset;

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("zpopmin", -2, WRITE | FAST, "5.0.0", &[KeySpec::one(1, TAKES)], zpopmin),
    GROUP.row("zpopmax", -2, WRITE | FAST, "5.0.0", &[KeySpec::one(1, TAKES)], zpopmax),
    Command {
        keys: Keys::Counted { at: 1, store: false },
        route: Route::Lease,
        ..GROUP.row(
            "zmpop",
            -4,
            WRITE | Flags::MOVABLE_KEYS,
            "7.0.0",
            &[KeySpec::counted(1, TAKES)],
            zmpop,
        )
    },
];

/// An end of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The lowest scores.
    Min,
    /// The highest scores.
    Max,
}

/// Members that were taken, in the order in which they went.
pub type Taken = Vec<(SmallVec<[u8; 32]>, f64)>;

/// Takes up to `count` members from an end of the sorted set at `key`, and the key with the last of
/// them; logs it. None are taken where there is no key.
pub fn pop(ctx: &mut Ctx<'_>, key: &[u8], end: End, count: usize) -> Result<Taken, Fault> {
    let Some(zset) = zset_of(ctx.peek(key))? else { return Ok(Taken::new()) };
    let len = zset.len();
    let count = count.min(len);
    let mut taken = Taken::with_capacity(count);
    if count == 0 {
        return Ok(taken);
    }
    let from = if end == End::Max { len - 1 } else { 0 };
    zset.walk(from, count, end == End::Max, |member, score| {
        taken.push((SmallVec::from_slice(member.text(&mut itoa::Buffer::new())), score));
    });
    remove_ranks(ctx, key, if end == End::Max { len - count } else { 0 }, count);
    let name: &[u8] = if end == End::Max { b"ZPOPMAX" } else { b"ZPOPMIN" };
    match count == len {
        true => ctx.log(key, &[b"DEL", key]),
        false => ctx.log(key, &[name, key, itoa::Buffer::new().format(count).as_bytes()]),
    }
    let event = if end == End::Max { "zpopmax" } else { "zpopmin" };
    ctx.event_taken(Class::Zset, event, key);
    Ok(taken)
}

/// Answers with members and scores in turn, or with pairs.
pub fn reply_taken(out: &mut Reply, taken: &Taken, pairs: bool) {
    out.array(if pairs { taken.len() } else { 2 * taken.len() });
    for (member, score) in taken {
        if pairs {
            out.array(2);
        }
        out.bulk(member);
        reply_score(out, *score);
    }
}

fn pop_from(ctx: &mut Ctx<'_>, args: &Args<'_>, end: End) -> Result<(), Fault> {
    const NOT_POSITIVE: Fault = Fault::new("ERR value is out of range, must be positive");
    let count = match args.len() {
        2 => None,
        3 => match parse_i64(&args[2]) {
            Some(count @ 0..) => Some(count as usize),
            _ => return Err(NOT_POSITIVE),
        },
        _ => return Err(SYNTAX),
    };
    let taken = pop(ctx, &args[1], end, count.unwrap_or(1))?;
    let pairs = count.is_some() && ctx.out.resp3;
    reply_taken(ctx.out, &taken, pairs);
    Ok(())
}

fn zpopmin(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    pop_from(ctx, args, End::Min)
}

fn zpopmax(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    pop_from(ctx, args, End::Max)
}

/// What ZMPOP and BZMPOP are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where to look, one after the other.
    pub keys: &'a [&'a [u8]],
    /// From which end.
    pub end: End,
    /// How many at most.
    pub count: usize,
}

/// Reads `numkeys key [key …] MIN|MAX [COUNT count]` from argument `at` on.
pub fn parse<'a>(args: &Args<'a>, at: usize) -> Result<Request<'a>, Fault> {
    let number = args.get(at).and_then(parse_i64).filter(|n| *n > 0);
    let number = number.ok_or(Fault::new("ERR numkeys should be greater than 0"))? as usize;
    let keys = args.items().get(at + 1..).unwrap_or_default();
    let (keys, rest) = keys.split_at_checked(number).ok_or(SYNTAX)?;
    let end = match rest.first() {
        Some(word) if word.eq_ignore_ascii_case(b"MIN") => End::Min,
        Some(word) if word.eq_ignore_ascii_case(b"MAX") => End::Max,
        _ => return Err(SYNTAX),
    };
    let mut count = None;
    for option in rest[1..].chunks(2) {
        let [word, number] = option else { return Err(SYNTAX) };
        if count.is_some() || !word.eq_ignore_ascii_case(b"COUNT") {
            return Err(SYNTAX);
        }
        let number = parse_i64(number).filter(|n| *n > 0);
        count = Some(number.ok_or(Fault::new("ERR count should be greater than 0"))? as usize);
    }
    let count = count.unwrap_or(1);
    Ok(Request { keys, end, count })
}

/// Takes from the first key that has members and answers as ZMPOP does; false when none has.
pub fn pop_first(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<bool, Fault> {
    for key in request.keys {
        if zset_of(ctx.peek(key))?.is_none_or(Zset::is_empty) {
            continue;
        }
        let taken = pop(ctx, key, request.end, request.count)?;
        ctx.out.array(2);
        ctx.out.bulk(key);
        reply_taken(ctx.out, &taken, true);
        return Ok(true);
    }
    Ok(false)
}

fn zmpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let request = parse(args, 1)?;
    if !pop_first(ctx, &request)? {
        ctx.out.null_array();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn ends_are_taken() {
        const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive";
        let mut w = World::new();
        w.check(&[
            ("ZADD z 1 a 2 b 3 c 4 d 5.5 e", ":5", "ZADD z 1 a 2 b 3 c 4 d 5.5 e"),
            ("ZPOPMIN z", "*2 $1 a $1 1", "ZPOPMIN z 1"),
            ("ZPOPMAX z 2", "*4 $1 e $3 5.5 $1 d $1 4", "ZPOPMAX z 2"),
            ("ZPOPMIN z 0", "*0", ""),
            ("ZPOPMIN z -1", NOT_POSITIVE, ""),
            ("ZPOPMIN none", "*0", ""),
            ("ZMPOP 2 none z MAX", "*2 $1 z *1 *2 $1 c $1 3", "ZPOPMAX z 1"),
            ("ZMPOP 1 z MIN COUNT 9", "*2 $1 z *1 *2 $1 b $1 2", "DEL z"),
            ("ZMPOP 1 z MIN", "*-1", ""),
            ("ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0", ""),
            ("ZMPOP 2 z MIN", "-ERR syntax error", ""),
            ("ZMPOP 1 z MIN COUNT 0", "-ERR count should be greater than 0", ""),
        ]);
        w.resp3 = true;
        w.check(&[
            ("ZADD z 1 a 2 b", ":2", "ZADD z 1 a 2 b"),
            ("ZPOPMIN z", "*2 $1 a ,1", "ZPOPMIN z 1"),
            ("ZPOPMIN z 5", "*1 *2 $1 b ,2", "DEL z"),
        ]);
    }
}
