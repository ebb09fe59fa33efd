//! Hashes read and written with times: HGETEX, HSETEX, HGETDEL.
//!
//! The log gets HSET and HDEL, and HPEXPIREAT or HPERSIST for the times alone.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::expire::Unit;
use crate::command::fault::Fault;
use crate::command::hash::{
    GROUP, kept, log_kept_times, peek, remove_empty, remove_field, set_fields, spread,
};
use crate::command::hash_expire::{BAD_COUNT, NO_FIELD, field_time, named, persist, set_time};
use crate::command::table::{
    Command, Flags, KeySpec, REPLACES, TAKES, UPDATES_FIRST, printable, wrong_arity,
};
use crate::keyspace::Class;
use crate::value::hash::Hash;

const WRITE: u32 = Flags::WRITE | Flags::FAST;
const TIMES: &[KeySpec] =
    &[KeySpec::one(1, REPLACES).noted("RW and UPDATE because it changes the TTL")];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("hgetdel", -5, WRITE, "8.0.0", &[KeySpec::one(1, TAKES)], hgetdel),
    GROUP.row("hgetex", -5, WRITE, "8.0.0", TIMES, hgetex),
    GROUP.row("hsetex", -6, WRITE | Flags::DENYOOM, "8.0.0", UPDATES_FIRST, hsetex),
];

/// What becomes of the times of fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    /// What the command does when it is told nothing.
    Untold,
    At(i64),
    Keep,
    Persist,
}

/// What EX, PX, EXAT and PXAT mean; `None` is another word.
fn timed(args: &Args<'_>, at: usize) -> Option<(Unit, bool)> {
    match () {
        () if args.is(at, "EX") => Some((Unit::Seconds, false)),
        () if args.is(at, "PX") => Some((Unit::Milliseconds, false)),
        () if args.is(at, "EXAT") => Some((Unit::Seconds, true)),
        () if args.is(at, "PXAT") => Some((Unit::Milliseconds, true)),
        () => None,
    }
}

fn answer(ctx: &mut Ctx<'_>, values: &[Option<Vec<u8>>]) {
    ctx.out.array(values.len());
    for value in values {
        match value {
            Some(value) => ctx.out.bulk(value),
            None => ctx.out.null(),
        }
    }
}

fn hgetdel(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    peek(ctx, key)?;
    let fields = named(args, 2, BAD_COUNT)?;
    ctx.lapse(key, fields);
    let mut gone: Vec<&[u8]> = vec![b"HDEL", key];
    let mut values = Vec::with_capacity(fields.len());
    for field in fields {
        let value = value_of(peek(ctx, key)?, field);
        if value.is_some() {
            remove_field(ctx, key, field);
            gone.push(field);
        }
        values.push(value);
    }
    if gone.len() > 2 {
        remove_empty(ctx, key);
        ctx.log(key, &gone);
        ctx.event_taken(Class::Hash, "hdel", key);
    }
    answer(ctx, &values);
    Ok(())
}

fn value_of(hash: Option<Hash<'_>>, field: &[u8]) -> Option<Vec<u8>> {
    let value = hash?.get(field)?;
    Some(value.text(&mut itoa::Buffer::new()).to_vec())
}

fn hgetex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    peek(ctx, key)?;
    let (times, at) = match timed(args, 2) {
        Some((unit, absolute)) => {
            (Times::At(field_time(ctx, &args[3], unit, absolute, "hgetex")?), 4)
        }
        None if args.is(2, "PERSIST") => (Times::Persist, 3),
        None => (Times::Untold, 2),
    };
    let fields = named(args, at, BAD_COUNT)?;
    ctx.lapse(key, fields);
    let hash = peek(ctx, key)?;
    let values: Vec<_> = fields.iter().map(|field| value_of(hash, field)).collect();
    match times {
        // What was read has not lapsed a moment later: the time stands still for a command.
        Times::At(when) => drop(set_time(ctx, key, fields, when, |_| true)),
        Times::Persist => {
            spread(ctx, key);
            persist(ctx, key, fields)?;
        }
        Times::Untold | Times::Keep => {}
    }
    answer(ctx, &values);
    Ok(())
}

/// What HSETEX is asked for.
struct Request<'a> {
    /// Only if all fields are there (`true`), or none (`false`).
    there: Option<bool>,
    times: Times,
    pairs: &'a [&'a [u8]],
}

fn parse<'a>(ctx: &Ctx<'_>, args: &Args<'a>) -> Result<Request<'a>, Fault> {
    let (mut there, mut times) = (None, Times::Untold);
    let mut at = 2;
    while at < args.len() {
        if args.is(at, "FIELDS") {
            let pairs = args.items().get(at + 2..).filter(|pairs| pairs.len() >= 2);
            let pairs = pairs.ok_or(wrong_arity("hsetex"))?;
            let count = parse_i64(&args[at + 1]);
            let count = count.filter(|count| (1..=i64::from(i32::MAX)).contains(count));
            let count = count.ok_or(Fault::new("ERR invalid number of fields"))?;
            if pairs.len() as i64 != 2 * count {
                return Err(wrong_arity("hsetex"));
            }
            return Ok(Request { there, times, pairs });
        }
        let kind = timed(args, at);
        if kind.is_some() || args.is(at, "KEEPTTL") {
            if times != Times::Untold {
                return Err(Fault::new(
                    "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                ));
            }
            times = Times::Keep;
        } else if args.is(at, "FXX") || args.is(at, "FNX") {
            if there.is_some() {
                return Err(Fault::new("ERR Only one of FXX or FNX arguments can be specified"));
            }
            there = Some(args.is(at, "FXX"));
        } else {
            let word = printable(&args[at], usize::MAX);
            return Err(Fault([b"ERR unknown argument: ", word].concat().into()));
        }
        at += 1;
        if let Some((unit, absolute)) = kind {
            let time = args.get(at).ok_or(Fault::new("ERR missing expire time"))?;
            times = Times::At(field_time(ctx, time, unit, absolute, "hsetex")?);
            at += 1;
        }
    }
    Err(wrong_arity("hsetex"))
}

fn hsetex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let Request { there, times, pairs } = parse(ctx, args)?;
    let key = &args[1];
    let fields: Vec<&[u8]> = pairs.iter().step_by(2).copied().collect();
    peek(ctx, key)?;
    ctx.lapse(key, &fields);
    let now = ctx.now_ms();
    let hash = peek(ctx, key)?;
    let is_new = hash.is_none();
    let stands = |field: &&[u8]| hash.is_some_and(|hash| hash.get(field).is_some());
    if there.is_some_and(|there| fields.iter().any(|field| stands(field) != there)) {
        ctx.out.int(0);
        return Ok(());
    }
    match times {
        // They would be gone at once.
        Times::At(when) if when <= now => {
            // Told as Redis does it: they come, and go.
            if is_new {
                ctx.event(Class::New, "new", key);
            }
            ctx.event(Class::Hash, "hset", key);
            if set_time(ctx, key, &fields, when, |_| true).iter().all(|done| *done == NO_FIELD) {
                ctx.event_taken(Class::Hash, "hdel", key);
            }
        }
        _ => set_all(ctx, key, pairs, &fields, times)?,
    }
    ctx.out.int(1);
    Ok(())
}

fn set_all(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    pairs: &[&[u8]],
    fields: &[&[u8]],
    times: Times,
) -> Result<(), Fault> {
    let kept = kept(ctx, key)?;
    set_fields(ctx, key, kept, pairs, times != Times::Untold);
    let parts: Vec<&[u8]> = [b"HSET", key].into_iter().chain(pairs.iter().copied()).collect();
    ctx.log(key, &parts);
    ctx.event(Class::Hash, "hset", key);
    match times {
        Times::At(when) => drop(set_time(ctx, key, fields, when, |_| true)),
        Times::Keep => log_kept_times(ctx, key, fields),
        Times::Untold | Times::Persist => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    const MISSING: &str = "-ERR Mandatory argument FIELDS is missing or not at the right position";
    const AT: &str = "HPEXPIREAT h 1700000010000 FIELDS 1 a";

    #[test]
    fn read_and_removed() {
        World::new().check(&[
            ("HSET h a 1 b two", ":2", "HSET h a 1 b two"),
            ("HGETDEL none FIELDS 2 a b", "*2 $-1 $-1", ""),
            ("HGETDEL h FIELDS 3 a a none", "*3 $1 1 $-1 $-1", "HDEL h a"),
            ("HGETDEL h FIELDS 2 b", MATCH, ""),
            ("HGETDEL h WHAT 1 b", MISSING, ""),
            ("HGETDEL h FIELDS 0 b", "-ERR Number of fields must be a positive integer", ""),
            ("HEXPIRE h 10 FIELDS 1 b", "*1 :1", "HPEXPIREAT h 1700000010000 FIELDS 1 b"),
            ("HGETDEL h FIELDS 1 b", "*1 $3 two", "HDEL h b"),
            ("EXISTS h", ":0", ""),
            ("SET s x", "+OK", "SET s x"),
            ("HGETDEL s WHAT 1 b", WRONG, ""),
        ]);
    }

    const MATCH: &str = "-ERR The `numfields` parameter must match the number of arguments";

    #[test]
    fn read_and_timed() {
        World::new().check(&[
            ("HSET h a 1 b 2", ":2", "HSET h a 1 b 2"),
            ("HGETEX none EX 5 FIELDS 1 a", "*1 $-1", ""),
            ("HGETEX h FIELDS 2 a none", "*2 $1 1 $-1", ""),
            ("OBJECT ENCODING h", "$8 listpack", ""),
            ("HGETEX h EX 10 FIELDS 2 a none", "*2 $1 1 $-1", AT),
            ("HGETEX h PX 10000 FIELDS 1 a", "*1 $1 1", AT),
            ("HGETEX h EXAT 1700000010 FIELDS 1 a", "*1 $1 1", AT),
            ("HGETEX h PXAT 1700000010000 FIELDS 1 a", "*1 $1 1", AT),
            ("HGETEX h PERSIST FIELDS 2 a b", "*2 $1 1 $1 2", "HPERSIST h FIELDS 1 a"),
            ("HGETEX h PERSIST FIELDS 1 a", "*1 $1 1", ""),
            ("HGETEX h PXAT 5 FIELDS 1 a", "*1 $1 1", "HDEL h a"),
            ("HGETEX h EX -1 FIELDS 1 b", "-ERR invalid expire time, must be >= 0", ""),
            ("HGETEX h EX x FIELDS 1 b", "-ERR value is not an integer or out of range", ""),
            ("HGETEX h EX 5 PERSIST FIELDS 1 b", MISSING, ""),
            ("HGETEX h EX 5 FIELDS", MISSING_COUNT, ""),
            ("HGETEX h KEEPTTL FIELDS 1 b", MISSING, ""),
            ("HGETEX h EX 0 FIELDS 1 b", "*1 $1 2", "HDEL h b"),
            ("EXISTS h", ":0", ""),
            ("SET s x", "+OK", "SET s x"),
            ("HGETEX s FIELDS 1 b", WRONG, ""),
        ]);
    }

    const MISSING_COUNT: &str = "-ERR Number of fields must be a positive integer";

    #[test]
    fn written_and_timed() {
        let both = "HSET h a 1 b 2 | HPEXPIREAT h 1700000010000 FIELDS 2 a b";
        let one = format!("HSET h a 3 | {AT}");
        World::new().check(&[
            ("HSETEX h FXX FIELDS 1 a 1", ":0", ""),
            ("EXISTS h", ":0", ""),
            ("HSETEX h EX 10 FIELDS 2 a 1 b 2", ":1", both),
            ("OBJECT ENCODING h", "$10 listpackex", ""),
            ("HSETEX h FNX PX 5 FIELDS 2 c 1 b 2", ":0", ""),
            ("HSETEX h FXX PX 5 FIELDS 2 c 1 b 2", ":0", ""),
            ("HSETEX h FIELDS 1 b 5", ":1", "HSET h b 5"),
            ("HTTL h FIELDS 2 a b", "*2 :10 :-1", ""),
            ("HSETEX h KEEPTTL FXX FIELDS 1 a 3", ":1", &one),
            ("HTTL h FIELDS 1 a", "*1 :10", ""),
            ("HSETEX h EXAT 1700000010 FIELDS 1 a 3", ":1", &one),
            ("HSETEX h PXAT 1700000010000 FIELDS 1 a 3", ":1", &one),
            ("HSETEX h PXAT 5 FIELDS 2 a 3 c 4", ":1", "HDEL h a"),
            ("HSETEX h PXAT 5 FIELDS 1 b 3", ":1", "HDEL h b"),
            ("EXISTS h", ":0", ""),
            ("HSETEX h PXAT 5 FIELDS 1 b 3", ":1", ""),
            ("EXISTS h", ":0", ""),
        ]);
    }

    #[test]
    fn what_hsetex_refuses() {
        const ARITY: &str = "-ERR wrong number of arguments for 'hsetex' command";
        World::new().check(&[
            ("SET s x", "+OK", "SET s x"),
            ("HSETEX s FIELDS 1 a 1", WRONG, ""),
            ("HSETEX h FIELDS 2 a 1", ARITY, ""),
            ("HSETEX h FIELDS 1 a 1 b", ARITY, ""),
            ("HSETEX h FNX FIELDS 1 a", ARITY, ""),
            ("HSETEX h FNX EX 1 KEEP 1", "-ERR unknown argument: KEEP", ""),
            ("HSETEX h FNX EX 1 FXX FIELDS 1 a 1", FIELDS, ""),
            ("HSETEX h KEEPTTL EX 1 FIELDS 1 a 1", TIMES, ""),
            ("HSETEX h EX 1 PX 1 FIELDS 1 a 1", TIMES, ""),
            ("HSETEX h FNX KEEPTTL KEEPTTL PX", TIMES, ""),
            ("HSETEX h FNX FNX FNX EX", FIELDS, ""),
            ("HSETEX h EX -1 FIELDS 1 a 1", "-ERR invalid expire time, must be >= 0", ""),
            ("HSETEX h EX 70368744178 FIELDS 1 a 1", TIME, ""),
            ("HSETEX h FIELDS 0 a 1", "-ERR invalid number of fields", ""),
            ("HSETEX h FIELDS x a 1", "-ERR invalid number of fields", ""),
        ]);
    }

    const FIELDS: &str = "-ERR Only one of FXX or FNX arguments can be specified";
    const TIMES: &str = "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
    const TIME: &str = "-ERR invalid expire time in 'hsetex' command";
}
