//! SINTER, SUNION, SDIFF and the forms that store what comes out.
//!
//! What is stored is logged as the members it has: the sets it was made of may be in other shards,
//! whose logs are replayed by themselves.

use std::collections::HashSet;

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, SYNTAX};
use crate::command::set::{self, GROUP, set_of};
use crate::command::table::{
    ALL, Command, DataRun, Flags, KeySpec, Keys, OVERWRITES, READS, Route, UPDATES,
};
use crate::command::zset_algebra;
use crate::keyspace::{Class, Entry, Form};
use crate::value::set::Set;

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    specs: &'static [KeySpec],
    run: DataRun,
) -> Command {
    Command { keys: ALL, route: Route::Lease, ..GROUP.row(name, arity, flags, "1.0.0", specs, run) }
}

const SOURCES: &[KeySpec] = &[KeySpec::rest(1, 1, READS)];
const INTO: &[KeySpec] = &[KeySpec::one(1, OVERWRITES), KeySpec::rest(2, 1, READS)];
const STORES: u32 = Flags::WRITE | Flags::DENYOOM;
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command { tips: UNORDERED, ..row("sinter", -2, Flags::READONLY, SOURCES, sinter) },
    row(
        "sinterstore",
        -3,
        STORES,
        &[KeySpec::one(1, UPDATES), KeySpec::rest(2, 1, READS)],
        sinterstore,
    ),
    Command { tips: UNORDERED, ..row("sunion", -2, Flags::READONLY, SOURCES, sunion) },
    row("sunionstore", -3, STORES, INTO, sunionstore),
    Command { tips: UNORDERED, ..row("sdiff", -2, Flags::READONLY, SOURCES, sdiff) },
    row("sdiffstore", -3, STORES, INTO, sdiffstore),
    Command {
        keys: Keys::Counted { at: 1, store: false },
        since: "7.0.0",
        ..row(
            "sintercard",
            -3,
            Flags::READONLY | Flags::MOVABLE_KEYS,
            &[KeySpec::counted(1, READS)],
            sintercard,
        )
    },
];

type Members = Vec<Vec<u8>>;

/// What comes out of an operation, and the form that Redis begins to store it in.
struct Outcome {
    members: Members,
    form: Form,
}

/// Looks up all sets, so that one of another type is told whatever the others hold; gives how many
/// members each has.
fn sizes(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<Vec<usize>, Fault> {
    keys.iter()
        .map(|key| ctx.read_to(key, |_, entry| Ok(set_of(entry)?.map_or(0, Set::len))))
        .collect()
}

/// The members of one set.
fn members(ctx: &mut Ctx<'_>, key: &[u8]) -> Members {
    ctx.glance(key).and_then(Set::of).map_or_else(Vec::new, Set::to_vec)
}

/// Keeps those of `members` that are, or are not, in the set at `key`.
fn retain(ctx: &mut Ctx<'_>, members: &mut Members, key: &[u8], wanted: bool) {
    let set = ctx.glance(key).and_then(Set::of);
    members.retain(|member| set.is_some_and(|set| set.contains(member)) == wanted);
}

fn intersection(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<Outcome, Fault> {
    let sizes = sizes(ctx, keys)?;
    let smallest = (0..keys.len()).min_by_key(|&index| sizes[index]).unwrap_or(0);
    let mut found = members(ctx, keys[smallest]);
    for key in keys {
        if found.is_empty() {
            break;
        }
        if *key != keys[smallest] {
            retain(ctx, &mut found, key, true);
        }
    }
    // Whatever it came from, all integers become an intset.
    let of_integers = found.iter().all(|member| parse_i64(member).is_some());
    Ok(Outcome { members: found, form: if of_integers { Form::IntSet } else { Form::Set } })
}

fn union(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<Outcome, Fault> {
    sizes(ctx, keys)?;
    let (mut all, mut known) = (Members::new(), HashSet::new());
    for key in keys {
        let new = members(ctx, key).into_iter().filter(|member| known.insert(member.clone()));
        all.extend(new);
    }
    Ok(Outcome { members: all, form: Form::IntSet })
}

fn difference(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<Outcome, Fault> {
    sizes(ctx, keys)?;
    let mut left = members(ctx, keys[0]);
    for key in &keys[1..] {
        retain(ctx, &mut left, key, false);
    }
    Ok(Outcome { members: left, form: Form::IntSet })
}

fn answer(ctx: &mut Ctx<'_>, outcome: &Outcome) {
    ctx.out.set(outcome.members.len());
    outcome.members.iter().for_each(|member| ctx.out.bulk(member));
}

/// Puts what came out in the place of what `key` held.
fn store(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    outcome: &Outcome,
    event: &'static str,
) -> Result<(), Fault> {
    // As in Redis it counts as used, not as new, though nothing is left of it.
    let recency = ctx.peek(key).map(Entry::recency);
    let was_there = ctx.delete(key);
    if outcome.members.is_empty() {
        if was_there {
            ctx.log(key, &[b"DEL", key]);
            ctx.event(Class::Generic, "del", key);
        }
        ctx.out.int(0);
        return Ok(());
    }
    let words: Vec<&[u8]> = outcome.members.iter().map(Vec::as_slice).collect();
    set::fill(ctx, key, &words, outcome.form)?;
    if let Some(recency) = recency {
        ctx.set_recency(key, recency);
    }
    let db = ctx.db;
    ctx.log_entry(db, key);
    if was_there {
        ctx.spaces.of(key).events.take_back_new(db, key);
    }
    ctx.event(Class::Set, event, key);
    ctx.out.int(words.len() as i64);
    Ok(())
}

fn sinter(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let outcome = intersection(ctx, &args.items()[1..])?;
    answer(ctx, &outcome);
    Ok(())
}

fn sinterstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let outcome = intersection(ctx, &args.items()[2..])?;
    store(ctx, &args[1], &outcome, "sinterstore")
}

fn sintercard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let number = parse_i64(&args[1]).filter(|number| *number > 0);
    let number = number.ok_or(Fault::new("ERR numkeys should be greater than 0"))? as usize;
    let too_many = "ERR Number of keys can't be greater than number of args";
    let (keys, rest) = args.items()[2..].split_at_checked(number).ok_or(Fault::new(too_many))?;
    let mut limit = usize::MAX;
    for option in rest.chunks(2) {
        match option {
            [word, bound] if word.eq_ignore_ascii_case(b"LIMIT") => {
                limit = zset_algebra::limit(bound)?;
            }
            _ => return Err(SYNTAX),
        }
    }
    let sizes = sizes(ctx, keys)?;
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|&index| sizes[index]);
    let keys: Vec<&[u8]> = order.into_iter().map(|index| keys[index]).collect();
    let count = zset_algebra::count_common(ctx, &keys, limit);
    ctx.out.int(count as i64);
    Ok(())
}

fn sunion(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let outcome = union(ctx, &args.items()[1..])?;
    answer(ctx, &outcome);
    Ok(())
}

fn sunionstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let outcome = union(ctx, &args.items()[2..])?;
    store(ctx, &args[1], &outcome, "sunionstore")
}

fn sdiff(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let outcome = difference(ctx, &args.items()[1..])?;
    answer(ctx, &outcome);
    Ok(())
}

fn sdiffstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let outcome = difference(ctx, &args.items()[2..])?;
    store(ctx, &args[1], &outcome, "sdiffstore")
}
