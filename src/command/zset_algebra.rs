//! ZUNION, ZINTER, ZDIFF and the forms that count or store what comes out; plain sets may stand
//! among the sorted ones, each member with the score 1.
//!
//! What is stored is logged as the members it has: the sets it was made of may be in other shards,
//! whose logs are replayed by themselves.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::base::double;
use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::elements::reply_item;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX, WRONG_TYPE};
use crate::command::table::{Command, DataRun, Flags, KeySpec, Keys, OVERWRITES, READS, Route};
use crate::command::zset::{GROUP, GROW, READ, reply_pair, store};
use crate::keyspace::Entry;
use crate::value::listpack::Item;
use crate::value::set::Set;
use crate::value::zset::Zset;

const fn reading(name: &'static str, since: &'static str, run: DataRun) -> Command {
    const SPECS: &[KeySpec] = &[KeySpec::counted(1, READS)];
    Command {
        keys: Keys::Counted { at: 1, store: false },
        route: Route::Lease,
        ..GROUP.row(name, -3, READ | Flags::MOVABLE_KEYS, since, SPECS, run)
    }
}

const fn storing(name: &'static str, since: &'static str, run: DataRun) -> Command {
    const SPECS: &[KeySpec] = &[KeySpec::one(1, OVERWRITES), KeySpec::counted(2, READS)];
    Command {
        keys: Keys::Counted { at: 2, store: true },
        route: Route::Lease,
        ..GROUP.row(name, -4, GROW | Flags::MOVABLE_KEYS, since, SPECS, run)
    }
}

/// The commands of this file.
pub static ROWS: &[Command] = &[
    reading("zunion", "6.2.0", zunion),
    reading("zinter", "6.2.0", zinter),
    reading("zdiff", "6.2.0", zdiff),
    reading("zintercard", "7.0.0", zintercard),
    storing("zunionstore", "2.0.0", zunionstore),
    storing("zinterstore", "2.0.0", zinterstore),
    storing("zdiffstore", "6.2.0", zdiffstore),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
    /// Of an intersection, only how many.
    Count,
}

/// How the scores of one member become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => or_zero(one + other),
            Aggregate::Min if other < one => other,
            Aggregate::Max if other > one => other,
            _ => one,
        }
    }
}

/// What is no number counts as 0: infinity less infinity, nothing times infinity.
fn or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A set or a sorted set.
#[derive(Clone, Copy)]
enum Source<'a> {
    Set(Set<'a>),
    Zset(Zset<'a>),
}

fn source(entry: Option<&Entry>) -> Result<Option<Source<'_>>, Fault> {
    let Some(entry) = entry else { return Ok(None) };
    let set = Set::of(entry).map(Source::Set);
    set.or_else(|| Zset::of(entry).map(Source::Zset)).ok_or(WRONG_TYPE).map(Some)
}

fn len_of(source: Option<Source<'_>>) -> usize {
    source.map_or(0, Source::len)
}

impl<'a> Source<'a> {
    fn len(self) -> usize {
        match self {
            Source::Set(set) => set.len(),
            Source::Zset(zset) => zset.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Set(set) => set.contains(member).then_some(1.0),
            Source::Zset(zset) => zset.score(member),
        }
    }

    fn each(self, mut visit: impl FnMut(Item<'a>, f64)) {
        match self {
            Source::Set(set) => set.each(|member| visit(member, 1.0)),
            Source::Zset(zset) => zset.each(visit),
        }
    }
}

/// A key, what its scores are multiplied by, and how many members it has.
#[derive(Clone, Copy, Debug)]
struct Input<'a> {
    key: &'a [u8],
    weight: f64,
    len: usize,
}

struct Request<'a> {
    operation: Operation,
    inputs: Vec<Input<'a>>,
    aggregate: Aggregate,
    scores: bool,
    limit: usize,
}

type Members = Vec<(Vec<u8>, f64)>;

/// The keys that follow the number at `at`, all looked up; and where they end.
fn inputs<'a>(
    ctx: &mut Ctx<'_>,
    args: &Args<'a>,
    at: usize,
    name: &str,
) -> Result<(Vec<Input<'a>>, usize), Fault> {
    let number = args.get(at).and_then(parse_i64).ok_or(NOT_AN_INTEGER)?;
    if number < 1 {
        let text = format!("ERR at least 1 input key is needed for '{name}' command");
        return Err(Fault::text(text));
    }
    let rest = args.items().get(at + 1..).unwrap_or_default();
    let (keys, _) = rest.split_at_checked(number as usize).ok_or(SYNTAX)?;
    let mut inputs = Vec::with_capacity(keys.len());
    for key in keys {
        let len = ctx.read_to(key, |_, entry| source(entry).map(len_of))?;
        inputs.push(Input { key, weight: 1.0, len });
    }
    Ok((inputs, at + 1 + keys.len()))
}

impl<'a> Request<'a> {
    /// Reads what begins with the number of keys at argument `at`.
    fn parse(
        ctx: &mut Ctx<'_>,
        args: &Args<'a>,
        at: usize,
        operation: Operation,
        name: &str,
    ) -> Result<Self, Fault> {
        let (inputs, mut at) = inputs(ctx, args, at, name)?;
        let stores = name.ends_with("store");
        let mut request = Request {
            operation,
            inputs,
            aggregate: Aggregate::Sum,
            scores: false,
            limit: usize::MAX,
        };
        let combines = matches!(operation, Operation::Union | Operation::Intersection);
        while at < args.len() {
            let left = args.len() - at - 1;
            if combines && left >= request.inputs.len() && args.is(at, "WEIGHTS") {
                for input in &mut request.inputs {
                    at += 1;
                    let weight = double::parse(&args[at]);
                    input.weight = weight.ok_or(Fault::new("ERR weight value is not a float"))?;
                }
            } else if combines && left >= 1 && args.is(at, "AGGREGATE") {
                at += 1;
                request.aggregate = match () {
                    () if args.is(at, "SUM") => Aggregate::Sum,
                    () if args.is(at, "MIN") => Aggregate::Min,
                    () if args.is(at, "MAX") => Aggregate::Max,
                    () => return Err(SYNTAX),
                };
            } else if operation != Operation::Count && !stores && args.is(at, "WITHSCORES") {
                request.scores = true;
            } else if operation == Operation::Count && left >= 1 && args.is(at, "LIMIT") {
                at += 1;
                request.limit = limit(&args[at])?;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        if operation != Operation::Difference {
            // The smallest first, as Redis adds scores up in this order.
            request.inputs.sort_by_key(|input| input.len);
        }
        Ok(request)
    }

    /// What comes out, in order.
    fn run(&self, ctx: &mut Ctx<'_>) -> Members {
        let mut members = match self.operation {
            Operation::Union => self.union(ctx),
            Operation::Intersection => self.intersection(ctx),
            Operation::Difference => self.difference(ctx),
            Operation::Count => Members::new(),
        };
        members.sort_unstable_by(|a, b| {
            let by_score = a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal);
            by_score.then_with(|| a.0.cmp(&b.0))
        });
        members
    }

    /// The members of one input with their weighted scores.
    fn members(ctx: &mut Ctx<'_>, input: &Input<'_>) -> Members {
        let mut all = Members::with_capacity(input.len);
        if let Ok(Some(source)) = source(ctx.glance(input.key)) {
            source.each(|member, score| {
                let name = member.text(&mut itoa::Buffer::new()).to_vec();
                all.push((name, or_zero(input.weight * score)));
            });
        }
        all
    }

    fn union(&self, ctx: &mut Ctx<'_>) -> Members {
        let mut all: HashMap<Vec<u8>, f64> = HashMap::new();
        for input in &self.inputs {
            for (member, score) in Request::members(ctx, input) {
                all.entry(member)
                    .and_modify(|own| *own = self.aggregate.of(*own, score))
                    .or_insert(score);
            }
        }
        all.into_iter().collect()
    }

    fn intersection(&self, ctx: &mut Ctx<'_>) -> Members {
        let Some((first, others)) = self.inputs.split_first() else { return Members::new() };
        let mut all = Request::members(ctx, first);
        for input in others {
            let Ok(Some(source)) = source(ctx.glance(input.key)) else { return Members::new() };
            all.retain_mut(|(member, own)| {
                let score = source.score(member);
                if let Some(score) = score {
                    *own = self.aggregate.of(*own, score * input.weight);
                }
                score.is_some()
            });
        }
        all
    }

    fn difference(&self, ctx: &mut Ctx<'_>) -> Members {
        let Some((first, others)) = self.inputs.split_first() else { return Members::new() };
        let mut all = Request::members(ctx, first);
        for input in others {
            if let Ok(Some(source)) = source(ctx.glance(input.key)) {
                all.retain(|(member, _)| source.score(member).is_none());
            }
        }
        all
    }

    /// How many members the intersection has, as far as the limit.
    fn count(&self, ctx: &mut Ctx<'_>) -> usize {
        let keys: Vec<&[u8]> = self.inputs.iter().map(|input| input.key).collect();
        count_common(ctx, &keys, self.limit)
    }
}

/// Reads the bound of a count; 0 is none.
pub(super) fn limit(text: &[u8]) -> Result<usize, Fault> {
    match parse_i64(text) {
        Some(0) => Ok(usize::MAX),
        Some(limit @ 1..) => Ok(limit as usize),
        _ => Err(Fault::new("ERR LIMIT can't be negative")),
    }
}

/// How many members are in all of these sets or sorted sets, the smallest of which comes first; as
/// far as `limit`.
pub(super) fn count_common(ctx: &mut Ctx<'_>, keys: &[&[u8]], limit: usize) -> usize {
    let Some((first, others)) = keys.split_first() else { return 0 };
    let mut left: Vec<Vec<u8>> = Vec::new();
    if let Ok(Some(source)) = source(ctx.glance(first)) {
        source.each(|member, _| {
            // What nothing else can refuse is not needed beyond the limit.
            if !others.is_empty() || left.len() < limit {
                left.push(member.text(&mut itoa::Buffer::new()).to_vec());
            }
        });
    }
    for key in others {
        let Ok(Some(source)) = source(ctx.glance(key)) else { return 0 };
        left.retain(|member| source.score(member).is_some());
    }
    left.len().min(limit)
}

fn answer(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    operation: Operation,
    name: &str,
) -> Result<(), Fault> {
    let request = Request::parse(ctx, args, 1, operation, name)?;
    if operation == Operation::Count {
        let count = request.count(ctx);
        ctx.out.int(count as i64);
        return Ok(());
    }
    let members = request.run(ctx);
    let words = if request.scores && !ctx.out.resp3 { 2 } else { 1 };
    ctx.out.array(members.len() * words);
    for (member, score) in &members {
        match request.scores {
            true => reply_pair(ctx.out, Item::Str(member), *score),
            false => reply_item(ctx.out, Item::Str(member)),
        }
    }
    Ok(())
}

fn answer_stored(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    operation: Operation,
    name: &'static str,
) -> Result<(), Fault> {
    let request = Request::parse(ctx, args, 2, operation, name)?;
    let members = request.run(ctx);
    store(ctx, &args[1], &members, name);
    Ok(())
}

fn zunion(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, args, Operation::Union, "zunion")
}

fn zinter(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, args, Operation::Intersection, "zinter")
}

fn zdiff(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, args, Operation::Difference, "zdiff")
}

fn zintercard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, args, Operation::Count, "zintercard")
}

fn zunionstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer_stored(ctx, args, Operation::Union, "zunionstore")
}

fn zinterstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer_stored(ctx, args, Operation::Intersection, "zinterstore")
}

fn zdiffstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer_stored(ctx, args, Operation::Difference, "zdiffstore")
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn sets_of_both_kinds_are_combined() {
        let mut w = World::sharded(3);
        for line in ["ZADD a 1 x 2 y 3 z", "ZADD b 10 y 20 z 30 w", "SADD s x y q", "SET t v"] {
            w.run(line);
        }
        w.effects();
        w.check(&[
            ("ZUNION 2 a b WITHSCORES", "*8 $1 x $1 1 $1 y $2 12 $1 z $2 23 $1 w $2 30", ""),
            ("ZUNION 2 a b WEIGHTS 2 -1 AGGREGATE MIN", "*4 $1 w $1 z $1 y $1 x", ""),
            ("ZINTER 3 a b s WITHSCORES", "*2 $1 y $2 13", ""),
            ("ZINTER 2 a none", "*0", ""),
            ("ZDIFF 2 a s WITHSCORES", "*2 $1 z $1 3", ""),
            ("ZINTERCARD 2 a b", ":2", ""),
            ("ZINTERCARD 2 a b LIMIT 1", ":1", ""),
            ("SINTERCARD 2 s s LIMIT 0", ":3", ""),
            ("ZUNIONSTORE d 2 a s AGGREGATE MAX", ":4", "DEL d | ZADD d 1 q 1 x 2 y 3 z"),
            ("ZINTERSTORE d 2 a b", ":2", "DEL d | ZADD d 12 y 23 z"),
            ("ZDIFFSTORE d 2 a a", ":0", "DEL d"),
            ("ZUNION 0 a", "-ERR at least 1 input key is needed for 'zunion' command", ""),
            ("ZUNION 1 a WEIGHTS x", "-ERR weight value is not a float", ""),
            (
                "ZUNION 2 none t",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
                "",
            ),
        ]);
    }

    #[test]
    fn what_is_no_number_counts_as_nothing() {
        World::new().check(&[
            ("ZADD a inf x", ":1", "ZADD a inf x"),
            ("ZADD b -inf x", ":1", "ZADD b -inf x"),
            ("ZUNION 2 a b WITHSCORES", "*2 $1 x $1 0", ""),
            ("ZUNION 1 a WEIGHTS 0 WITHSCORES", "*2 $1 x $1 0", ""),
        ]);
    }
}
