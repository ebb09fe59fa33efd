//! Commands on keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE.
//!
//! Replay filters by key, so that each logged command names one key only: RENAME is logged as DEL
//! of the one key and SET of the other, each in the shard and database where it happened.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NO_SUCH_KEY, NOT_AN_INTEGER, SYNTAX};
use crate::command::table::{
    ALL, Acl, Command, FIRST, Flags, INSERTS, KeySpec, Keys, LOOKS, Merge, OVERWRITES, READS,
    REMOVES, REPLACES, ROW, Route, Run, TAKES,
};
use crate::keyspace::Class;

type Handler = fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>;

const FAST: u32 = Flags::FAST;

const fn row(name: &'static str, arity: i32, flags: u32, keys: Keys, run: Handler) -> Command {
    Command {
        name,
        arity,
        flags: Flags(flags),
        keys,
        route: Route::Key,
        run: Run::Data(run),
        acl: Acl(Acl::KEYSPACE),
        ..ROW
    }
}

const SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

const fn split(name: &'static str, flags: u32, since: &'static str, run: Handler) -> Command {
    Command {
        route: Route::Split(Merge::Sum),
        specs: LOOKS_AT_ALL,
        tips: SUM,
        since,
        ..row(name, -2, flags, ALL, run)
    }
}

const LOOKS_AT_ALL: &[KeySpec] = &[KeySpec::rest(1, 1, LOOKS)];
const REMOVES_ALL: &[KeySpec] = &[KeySpec::rest(1, 1, REMOVES)];
const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command { specs: REMOVES_ALL, ..split("del", Flags::WRITE, "1.0.0", del) },
    Command { specs: REMOVES_ALL, ..split("unlink", Flags::WRITE | FAST, "4.0.0", del) },
    split("exists", Flags::READONLY | FAST, "1.0.0", exists),
    split("touch", Flags::READONLY | FAST, "3.2.1", touch),
    Command {
        specs: &[KeySpec::one(1, LOOKS)],
        ..row("type", 2, Flags::READONLY | FAST, FIRST, type_of)
    },
    Command {
        route: Route::Lease,
        specs: &[KeySpec::one(1, TAKES), KeySpec::one(2, OVERWRITES)],
        ..row("rename", 3, Flags::WRITE, TWO, rename)
    },
    Command {
        route: Route::Lease,
        specs: &[KeySpec::one(1, TAKES), KeySpec::one(2, INSERTS)],
        ..row("renamenx", 3, Flags::WRITE | FAST, TWO, renamenx)
    },
    Command {
        route: Route::Lease,
        specs: &[KeySpec::one(1, READS), KeySpec::one(2, OVERWRITES)],
        since: "6.2.0",
        ..row("copy", -3, Flags::WRITE | Flags::DENYOOM, TWO, copy)
    },
    Command {
        specs: &[KeySpec::one(1, REPLACES)],
        ..row("move", 3, Flags::WRITE | FAST, FIRST, move_key)
    },
];

/// `ERR source and destination objects are the same`
const SAME_OBJECT: Fault = Fault::new("ERR source and destination objects are the same");

fn del(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let mut count = 0;
    for key in &args.items()[1..] {
        if ctx.delete(key) {
            ctx.log(key, &[b"DEL", key]);
            ctx.event(Class::Generic, "del", key);
            count += 1;
        }
    }
    ctx.out.int(count);
    Ok(())
}

fn exists(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let keys = &args.items()[1..];
    let count = keys.iter().filter(|key| ctx.look_to(key, |_, found| found.is_some())).count();
    ctx.out.int(count as i64);
    Ok(())
}

/// [`exists`] that is a use of the keys.
fn touch(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let keys = &args.items()[1..];
    let count = keys.iter().filter(|key| ctx.read_to(key, |_, found| found.is_some())).count();
    ctx.out.int(count as i64);
    Ok(())
}

fn type_of(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.look_to(&args[1], |out, entry| {
        out.simple(entry.map_or("none", |entry| entry.kind().name()))
    });
    Ok(())
}

fn rename(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    rename_to(ctx, args, false)?;
    ctx.out.ok();
    Ok(())
}

fn renamenx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let renamed = rename_to(ctx, args, true)?;
    ctx.out.int(i64::from(renamed));
    Ok(())
}

/// True when the key has another name now.
fn rename_to(ctx: &mut Ctx<'_>, args: &Args<'_>, only_new: bool) -> Result<bool, Fault> {
    let (from, to, db) = (&args[1], &args[2], ctx.db);
    if ctx.peek(from).is_none() {
        return Err(NO_SUCH_KEY);
    }
    // Looked up in any case: one past its expiry is told as such.
    if from == to || ctx.peek(to).is_some() && only_new {
        return Ok(false);
    }
    if let Some(entry) = ctx.take(db, from) {
        ctx.log(from, &[b"DEL", from]);
        ctx.place(db, entry.rename(to));
        ctx.log_entry(db, to);
        ctx.dirty(to);
        ctx.event(Class::Generic, "rename_from", from);
        ctx.event(Class::Generic, "rename_to", to);
    }
    Ok(true)
}

/// Reads a database's index.
pub fn database(ctx: &Ctx<'_>, argument: &[u8]) -> Result<usize, Fault> {
    let index = parse_i64(argument).ok_or(NOT_AN_INTEGER)?;
    if i32::try_from(index).is_err() {
        return Err(Fault::new(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    in_range(ctx, index)
}

/// The database of that index, if there is one.
pub fn in_range(ctx: &Ctx<'_>, index: i64) -> Result<usize, Fault> {
    let known = usize::try_from(index).ok().filter(|&index| index < ctx.spaces.databases());
    known.ok_or(Fault::new("ERR DB index is out of range"))
}

fn copy(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (from, to) = (&args[1], &args[2]);
    let mut replace = false;
    let mut target = ctx.db;
    let mut at = 3;
    while at < args.len() {
        if args.is(at, "REPLACE") {
            replace = true;
        } else if args.is(at, "DB") && at + 1 < args.len() {
            target = database(ctx, &args[at + 1])?;
            at += 1;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    if target == ctx.db && from == to {
        return Err(SAME_OBJECT);
    }
    let entry = ctx.read(from).cloned();
    let entry = entry.filter(|_| replace || ctx.peek_in(target, to).is_none());
    let copied = entry.is_some();
    if let Some(entry) = entry {
        ctx.place(target, entry.rename(to));
        ctx.log_entry(target, to);
        ctx.dirty(to);
        ctx.event_in(target, Class::Generic, "copy_to", to);
    }
    ctx.out.int(i64::from(copied));
    Ok(())
}

fn move_key(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, from) = (&args[1], ctx.db);
    let target = database(ctx, &args[2])?;
    if target == from {
        return Err(SAME_OBJECT);
    }
    let movable = ctx.peek(key).is_some() && ctx.peek_in(target, key).is_none();
    let entry = if movable { ctx.take(from, key) } else { None };
    let moved = entry.is_some();
    if let Some(entry) = entry {
        ctx.log(key, &[b"DEL", key]);
        ctx.place(target, entry);
        ctx.log_entry(target, key);
        ctx.dirty(key);
        ctx.event_in(from, Class::Generic, "move_from", key);
        ctx.event_in(target, Class::Generic, "move_to", key);
    }
    ctx.out.int(i64::from(moved));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn del_exists_touch_type() {
        World::new().check(&[
            ("MSET a 1 b 2 c 3", "+OK", "SET a 1 | SET b 2 | SET c 3"),
            ("EXISTS a a b none", ":3", ""),
            ("TOUCH a b none", ":2", ""),
            ("DEL a a none", ":1", "DEL a"),
            ("UNLINK b c", ":2", "DEL b | DEL c"),
            ("DEL a", ":0", ""),
            ("TYPE a", "+none", ""),
            ("SET a x", "+OK", "SET a x"),
            ("TYPE a", "+string", ""),
        ]);
    }

    #[test]
    fn rename() {
        World::new().check(&[
            ("RENAME a b", "-ERR no such key", ""),
            ("RENAMENX a b", "-ERR no such key", ""),
            ("SET a 1 EX 10", "+OK", "SET a 1 PXAT 1700000010000"),
            ("RENAME a a", "+OK", ""),
            ("RENAMENX a a", ":0", ""),
            ("RENAME a b", "+OK", "DEL a | SET b 1 PXAT 1700000010000"),
            ("TTL b", ":10", ""),
            ("SET c x", "+OK", "SET c x"),
            ("RENAMENX b c", ":0", ""),
            ("RENAME c b", "+OK", "DEL c | SET b x"),
            ("TTL b", ":-1", ""),
            ("RENAMENX b d", ":1", "DEL b | SET d x"),
        ]);
    }

    #[test]
    fn over_shards_each_effect_stands_with_its_own_key() {
        let mut w = World::sharded(16);
        w.run("SET foo 1");
        w.effects();
        assert_eq!(w.run("RENAME foo bar"), "+OK");
        for space in w.spaces.iter_mut().flatten() {
            for key in ["foo", "bar"] {
                let named = space.effects.pending().windows(3).any(|w| w == key.as_bytes());
                let owned = crate::base::crc::shard_of(key.as_bytes(), 16) == space.shard;
                assert_eq!(named, owned, "{key} on shard {}", space.shard);
            }
        }
        assert_eq!(w.run("MGET foo bar"), "*2 $-1 $1 1");
    }

    #[test]
    fn copy_and_move() {
        const RANGE: &str =
            "-ERR value is out of range, value must between -2147483648 and 2147483647";
        const SAME: &str = "-ERR source and destination objects are the same";
        let mut w = World::new();
        w.check(&[
            ("SET a 1 EX 10", "+OK", "SET a 1 PXAT 1700000010000"),
            ("COPY a b", ":1", "SET b 1 PXAT 1700000010000"),
            ("COPY a b", ":0", ""),
            ("COPY a b replace", ":1", "SET b 1 PXAT 1700000010000"),
            ("COPY none b REPLACE", ":0", ""),
            ("COPY a a", SAME, ""),
            ("COPY a a DB 0", SAME, ""),
            ("COPY a a DB 3", ":1", "SELECT 3 | SET a 1 PXAT 1700000010000"),
            ("COPY a b DB", "-ERR syntax error", ""),
            ("COPY a b DB 16", "-ERR DB index is out of range", ""),
            ("COPY a b DB x", "-ERR value is not an integer or out of range", ""),
            ("COPY a b DB 2147483648", RANGE, ""),
            ("MOVE a 0", SAME, ""),
            ("MOVE a -1", "-ERR DB index is out of range", ""),
            ("MOVE a 2147483648", RANGE, ""),
            ("MOVE a 3", ":0", ""),
            ("MOVE a 2", ":1", "DEL a | SELECT 2 | SET a 1 PXAT 1700000010000"),
            ("MOVE a 2", ":0", ""),
        ]);
        w.db = 2;
        w.check(&[("TTL a", ":10", "")]);
    }
}
