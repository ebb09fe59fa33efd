//! Sorted sets: ZADD, ZSCORE and their kin, and what the other files about them share: ranges
//! are in `zset_range`, pops in `zset_pop`, several sets in `zset_algebra`.
//!
//! The log gets the request where replaying it does the same, which it does of everything here.

use std::collections::BTreeMap;

use bytes::BytesMut;

use crate::base::double;
use crate::base::random::Random;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::elements::{self, Draw, reply_item};
use crate::command::fault::{Fault, SYNTAX, WRONG_TYPE};
use crate::command::table::{
    Acl, Command, Flags, Group, KeySpec, LOOKS, READS_FIRST, REPLACES_FIRST, UPDATES_FIRST,
    wrong_arity,
};
use crate::keyspace::{Class, Entry, Form, NewValue, Object};
use crate::resp::Reply;
use crate::value::listpack::{Item, Pack};
use crate::value::shapes::Shapes;
use crate::value::zset::{Builder, Built, Large, Zset, packed};

/// The group of these commands.
pub(super) const GROUP: Group = Group { name: "sorted-set", acl: Acl::SORTED_SET };

pub(super) const READ: u32 = Flags::READONLY;
pub(super) const WRITE: u32 = Flags::WRITE;
pub(super) const GROW: u32 = Flags::WRITE | Flags::DENYOOM;
pub(super) const FAST: u32 = Flags::FAST;
pub(super) const REMOVES_FIRST: &[KeySpec] = &[KeySpec::one(1, &["RW", "delete"])];
const RANDOM: &[&str] = &["nondeterministic_output"];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("zadd", -4, GROW | FAST, "1.2.0", UPDATES_FIRST, zadd),
    GROUP.row("zincrby", 4, GROW | FAST, "1.2.0", REPLACES_FIRST, zincrby),
    GROUP.row("zrem", -3, WRITE | FAST, "1.2.0", REMOVES_FIRST, zrem),
    GROUP.row("zscore", 3, READ | FAST, "1.2.0", READS_FIRST, zscore),
    GROUP.row("zmscore", -3, READ | FAST, "6.2.0", READS_FIRST, zmscore),
    GROUP.row("zcard", 2, READ | FAST, "1.2.0", &[KeySpec::one(1, LOOKS)], zcard),
    GROUP.row("zrank", -3, READ | FAST, "2.0.0", READS_FIRST, zrank),
    GROUP.row("zrevrank", -3, READ | FAST, "2.0.0", READS_FIRST, zrevrank),
    Command {
        tips: RANDOM,
        ..GROUP.row("zrandmember", -2, READ, "6.2.0", READS_FIRST, zrandmember)
    },
    Command { tips: RANDOM, ..GROUP.row("zscan", -3, READ, "2.8.0", READS_FIRST, zscan) },
];

/// `ERR value is not a valid float`
pub(super) const NOT_A_FLOAT: Fault = Fault::new("ERR value is not a valid float");
const NOT_A_NUMBER: Fault = Fault::new("ERR resulting score is not a number (NaN)");

/// The sorted set that an entry holds.
pub fn zset_of(entry: Option<&Entry>) -> Result<Option<Zset<'_>>, Fault> {
    entry.map(|entry| Zset::of(entry).ok_or(WRONG_TYPE)).transpose()
}

/// Hands the sorted set at `key`, if there is one, to `answer` with the reply.
pub(super) fn read<R>(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    answer: impl FnOnce(&mut Reply, Option<Zset<'_>>) -> R,
) -> Result<R, Fault> {
    ctx.read_to(key, |out, entry| Ok(answer(out, zset_of(entry)?)))
}

/// Answers with a score.
pub fn reply_score(out: &mut Reply, score: f64) {
    out.double_text(double::text(score).as_str());
}

/// Answers with a member and its score: a pair of their own in RESP3.
pub(super) fn reply_pair(out: &mut Reply, member: Item<'_>, score: f64) {
    if out.resp3 {
        out.array(2);
    }
    reply_item(out, member);
    reply_score(out, score);
}

/// How a sorted set is kept, if there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Absent,
    Packed,
    Large,
}

fn kept(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Kept, Fault> {
    Ok(match zset_of(ctx.peek(key))? {
        None => Kept::Absent,
        Some(Zset::Packed(_)) => Kept::Packed,
        Some(Zset::Large(_)) => Kept::Large,
    })
}

/// Gives what is at `key` structures of its own; there need not be anything.
fn unpack(ctx: &mut Ctx<'_>, key: &[u8]) {
    let seed = ctx.hash_seed(key);
    let packed = ctx.peek(key).and_then(Zset::of).map(|zset| zset.to_large(seed));
    match packed {
        Some(large) => ctx.reshape(key, NewValue::Object(Box::new(Object::Zset(large)))),
        None => {
            let large = Object::Zset(Large::new(seed));
            ctx.put(key, NewValue::Object(Box::new(large)), Expiry::Clear);
        }
    }
}

/// What ZADD is told beside scores and members.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// Only new members.
    pub nx: bool,
    /// Only members that are there.
    pub xx: bool,
    /// Only to higher scores.
    pub gt: bool,
    /// Only to lower scores.
    pub lt: bool,
    /// Changed members count as well.
    pub ch: bool,
    /// Scores are added to those that are there.
    pub incr: bool,
}

/// What becomes of one member.
enum Step {
    /// Nothing, as the options will have it.
    Refused,
    /// It has that score already.
    Same(f64),
    Change(f64),
    Add(f64),
}

impl Options {
    fn step(self, old: Option<f64>, score: f64) -> Result<Step, Fault> {
        let Some(old) = old else {
            return Ok(if self.xx { Step::Refused } else { Step::Add(score) });
        };
        if self.nx {
            return Ok(Step::Refused);
        }
        let new = if self.incr { old + score } else { score };
        if new.is_nan() {
            return Err(NOT_A_NUMBER);
        }
        Ok(if self.lt && new >= old || self.gt && new <= old {
            Step::Refused
        } else if new == old {
            Step::Same(new)
        } else {
            Step::Change(new)
        })
    }
}

/// What has become of all of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    added: usize,
    changed: usize,
    /// The last one's score, unless the options refused it.
    score: Option<f64>,
}

impl Sum {
    fn count(&mut self, step: &Step) {
        match *step {
            Step::Refused => self.score = None,
            Step::Same(score) => self.score = Some(score),
            Step::Change(score) => {
                self.changed += 1;
                self.score = Some(score);
            }
            Step::Add(score) => {
                self.added += 1;
                self.score = Some(score);
            }
        }
    }

    /// Whether anything is another than before.
    fn any(self) -> bool {
        self.added + self.changed > 0
    }
}

type Pairs<'a> = [(f64, &'a [u8])];

/// Sets scores; says what became of them. The caller logs.
fn set_scores(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    options: Options,
    pairs: &Pairs<'_>,
) -> Result<Sum, Fault> {
    let shapes = ctx.shapes;
    let mut own = kept(ctx, key)?;
    if own == Kept::Absent {
        if options.xx {
            return Ok(Sum::default());
        }
        let fits = pairs.len() <= shapes.zset_entries
            && pairs.iter().all(|(_, member)| member.len() <= shapes.zset_value);
        if !fits {
            unpack(ctx, key);
            own = Kept::Large;
        }
    } else if own == Kept::Packed && pairs.len() > shapes.zset_entries {
        unpack(ctx, key);
        own = Kept::Large;
    }
    let (mut sum, mut done) = (Sum::default(), 0);
    if own != Kept::Large {
        let outcome = ctx.edit_packed(key, Form::Zset, |bytes| {
            let mut step = |pair| step_packed(bytes, options, pair, shapes, &mut sum);
            let outcome = loop {
                match pairs.get(done).map(|pair| step(*pair)) {
                    Some(Ok(true)) => done += 1,
                    Some(Err(fault)) => break Err(fault),
                    Some(Ok(false)) | None => break Ok(()),
                }
            };
            (outcome, sum.any())
        });
        outcome.0?;
        if done < pairs.len() {
            unpack(ctx, key);
        }
    }
    if done < pairs.len() {
        let change = |object: &mut Object| {
            let Object::Zset(large) = object else { return (Ok(()), false) };
            let before = sum.added + sum.changed;
            let outcome = pairs[done..]
                .iter()
                .try_for_each(|pair| step_large(large, options, *pair, &mut sum));
            (outcome, sum.added + sum.changed > before)
        };
        ctx.change_object(key, change).map_or(Ok(()), |(outcome, _)| outcome)?;
    }
    Ok(sum)
}

/// Sets one score of a packed set; false when it cannot hold the member.
fn step_packed(
    bytes: &mut BytesMut,
    options: Options,
    (score, member): (f64, &[u8]),
    shapes: &Shapes,
    sum: &mut Sum,
) -> Result<bool, Fault> {
    let found = if bytes.is_empty() { None } else { packed::find(Pack(bytes), member) };
    let step = options.step(found.map(|(_, score)| score), score)?;
    match (&step, found) {
        (Step::Add(_), _) if !packed::has_room(bytes, member, shapes) => return Ok(false),
        (Step::Add(score), _) => packed::insert(bytes, member, *score),
        (Step::Change(score), Some((at, _))) => packed::change(bytes, at, member, *score),
        _ => {}
    }
    sum.count(&step);
    Ok(true)
}

fn step_large(
    large: &mut Large,
    options: Options,
    (score, member): (f64, &[u8]),
    sum: &mut Sum,
) -> Result<(), Fault> {
    let old = large.score(member);
    let step = options.step(old, score)?;
    match (&step, old) {
        (Step::Add(score), _) => large.insert(member, *score),
        (Step::Change(score), Some(old)) => large.change(member, old, *score),
        _ => {}
    }
    sum.count(&step);
    Ok(())
}

/// Removes members, and the key with the last of them; says how many there were. The caller logs.
pub(super) fn remove(ctx: &mut Ctx<'_>, key: &[u8], members: &[&[u8]]) -> Result<usize, Fault> {
    let removed = match kept(ctx, key)? {
        Kept::Absent => 0,
        Kept::Packed => {
            let edit = |bytes: &mut BytesMut| {
                let gone = |member: &&&[u8]| packed::remove(bytes, member).is_some();
                let removed = members.iter().filter(gone).count();
                (removed, removed > 0)
            };
            ctx.edit_packed(key, Form::Zset, edit).0
        }
        Kept::Large => {
            let edit = |object: &mut Object| {
                let Object::Zset(large) = object else { return (0, false) };
                let removed = members.iter().filter(|m| large.remove(m).is_some()).count();
                (removed, removed > 0)
            };
            ctx.change_object(key, edit).map_or(0, |(removed, _)| removed)
        }
    };
    if removed > 0 && zset_of(ctx.peek(key))?.is_some_and(Zset::is_empty) {
        ctx.delete(key);
    }
    Ok(removed)
}

/// Removes `count` members of the sorted set at `key` from rank `from` on, and the key with the
/// last of them. The caller logs.
pub(super) fn remove_ranks(ctx: &mut Ctx<'_>, key: &[u8], from: usize, count: usize) {
    let len = ctx.peek(key).and_then(Zset::of).map_or(0, Zset::len);
    if from == 0 && count >= len {
        ctx.delete(key);
        return;
    }
    let change = |object: &mut Object| {
        let Object::Zset(large) = object else { return ((), false) };
        large.remove_ranks(from, count);
        ((), count > 0)
    };
    if ctx.change_object(key, change).is_none() {
        ctx.edit_packed(key, Form::Zset, |bytes| {
            packed::remove_ranks(bytes, from, count);
            ((), count > 0)
        });
    }
}

/// Puts a sorted set in the place of what `key` held, or nothing; logs it, and answers with its
/// number of members.
pub(super) fn store(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    members: &[(Vec<u8>, f64)],
    event: &'static str,
) {
    if members.is_empty() {
        if ctx.delete(key) {
            ctx.log(key, &[b"DEL", key]);
            ctx.event(Class::Generic, "del", key);
        }
        return ctx.out.int(0);
    }
    let (shapes, seed) = (ctx.shapes, ctx.hash_seed(key));
    let fits = members.len() <= shapes.zset_entries
        && members.iter().all(|(member, _)| member.len() <= shapes.zset_value);
    let build = |members: &mut dyn Iterator<Item = (&[u8], f64)>| {
        let mut builder =
            if fits { Builder::new(*shapes, seed) } else { Builder::large(*shapes, seed) };
        members.for_each(|(member, score)| _ = builder.add(member, score));
        builder.finish()
    };
    let built = build(&mut members.iter().map(|(member, score)| (&member[..], *score)));
    // Members are distinct as they come. Were they not, the last of each counts.
    let built = built.or_else(|| {
        let last = members.iter().map(|(member, score)| (&member[..], *score));
        build(&mut last.collect::<BTreeMap<_, _>>().into_iter())
    });
    match built.expect("a map's keys are distinct") {
        Built::Packed(bytes) => {
            ctx.put(key, NewValue::Packed { form: Form::Zset, bytes: &bytes }, Expiry::Clear);
        }
        Built::Large(large) => {
            ctx.put(key, NewValue::Object(Box::new(Object::Zset(*large))), Expiry::Clear);
        }
    }
    let db = ctx.db;
    ctx.log_entry(db, key);
    ctx.event(Class::Zset, event, key);
    ctx.out.int(members.len() as i64);
}

/// Reads ZADD's options, which begin at argument 2; gives where they end as well.
fn options(args: &Args<'_>) -> (Options, usize) {
    let (mut options, mut at) = (Options::default(), 2);
    while at < args.len() {
        match () {
            () if args.is(at, "NX") => options.nx = true,
            () if args.is(at, "XX") => options.xx = true,
            () if args.is(at, "GT") => options.gt = true,
            () if args.is(at, "LT") => options.lt = true,
            () if args.is(at, "CH") => options.ch = true,
            () if args.is(at, "INCR") => options.incr = true,
            () => break,
        }
        at += 1;
    }
    (options, at)
}

/// Refuses options that exclude each other.
fn check(options: Options, pairs: usize) -> Result<(), Fault> {
    if options.nx && options.xx {
        let text = "ERR XX and NX options at the same time are not compatible";
        return Err(Fault::new(text));
    }
    if options.gt && (options.nx || options.lt) || options.lt && options.nx {
        let text = "ERR GT, LT, and/or NX options at the same time are not compatible";
        return Err(Fault::new(text));
    }
    if options.incr && pairs > 1 {
        return Err(Fault::new("ERR INCR option supports a single increment-element pair"));
    }
    Ok(())
}

/// Sets scores and answers as ZADD does; says whether anything has changed.
pub(super) fn add(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    options: Options,
    pairs: &Pairs<'_>,
) -> Result<bool, Fault> {
    check(options, pairs.len())?;
    let sum = set_scores(ctx, key, options, pairs)?;
    if sum.any() {
        ctx.event(Class::Zset, if options.incr { "zincr" } else { "zadd" }, key);
    }
    match sum.score {
        _ if !options.incr => {
            ctx.out.int((sum.added + if options.ch { sum.changed } else { 0 }) as i64);
        }
        Some(score) => reply_score(ctx.out, score),
        None => ctx.out.null(),
    }
    Ok(sum.any())
}

fn zadd(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (options, from) = options(args);
    let rest = &args.items()[from..];
    if rest.is_empty() || rest.len() % 2 == 1 {
        return Err(SYNTAX);
    }
    check(options, rest.len() / 2)?;
    let mut pairs = smallvec::SmallVec::<[(f64, &[u8]); 4]>::new();
    for pair in rest.chunks_exact(2) {
        pairs.push((double::parse(pair[0]).ok_or(NOT_A_FLOAT)?, pair[1]));
    }
    if add(ctx, &args[1], options, &pairs)? {
        ctx.log_request(&args[1], args);
    }
    Ok(())
}

fn zincrby(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let by = double::parse(&args[2]).ok_or(NOT_A_FLOAT)?;
    let options = Options { incr: true, ..Options::default() };
    if add(ctx, &args[1], options, &[(by, &args[3])])? {
        ctx.log_request(&args[1], args);
    }
    Ok(())
}

fn zrem(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let removed = remove(ctx, &args[1], &args.items()[2..])?;
    if removed > 0 {
        ctx.log_request(&args[1], args);
        ctx.event_taken(Class::Zset, "zrem", &args[1]);
    }
    ctx.out.int(removed as i64);
    Ok(())
}

fn zscore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, zset| match zset.and_then(|zset| zset.score(&args[2])) {
        Some(score) => reply_score(out, score),
        None => out.null(),
    })
}

fn zmscore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, zset| {
        out.array(args.len() - 2);
        for member in &args.items()[2..] {
            match zset.and_then(|zset| zset.score(member)) {
                Some(score) => reply_score(out, score),
                None => out.null(),
            }
        }
    })
}

fn zcard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, zset| out.int(zset.map_or(0, Zset::len) as i64))
}

fn rank(ctx: &mut Ctx<'_>, args: &Args<'_>, from_the_end: bool) -> Result<(), Fault> {
    let with_score = args.len() > 3;
    if args.len() > 4 {
        let name = if from_the_end { "zrevrank" } else { "zrank" };
        return Err(wrong_arity(name));
    }
    if with_score && !args.is(3, "WITHSCORE") {
        return Err(SYNTAX);
    }
    read(ctx, &args[1], |out, zset| {
        let found = zset.and_then(|zset| Some((zset.rank(&args[2])?, zset.len())));
        let Some(((rank, score), len)) = found else {
            return if with_score { out.null_array() } else { out.null() };
        };
        if with_score {
            out.array(2);
        }
        out.int(if from_the_end { len - 1 - rank } else { rank } as i64);
        if with_score {
            reply_score(out, score);
        }
    })
}

fn zrank(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    rank(ctx, args, false)
}

fn zrevrank(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    rank(ctx, args, true)
}

fn zrandmember(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    let mut random = Random::new(ctx.random.next_u64());
    if args.len() == 2 {
        return read(ctx, key, |out, zset| match zset.and_then(|zset| zset.random(&mut random)) {
            Some((member, _)) => reply_item(out, member),
            None => out.null(),
        });
    }
    let draw = Draw::parse(args, "WITHSCORES")?;
    read(ctx, key, |out, zset| {
        let Some(zset) = zset else {
            out.array(0);
            return Ok(());
        };
        let mut all: Vec<(Item<'_>, f64)> = Vec::new();
        if draw.needs_all(zset.len()) {
            zset.each(|member, score| all.push((member, score)));
        }
        let one = |random: &mut Random| zset.random(random);
        let chosen = draw.choose(
            &mut random,
            zset.len(),
            &all,
            one,
            |drawn| drawn.0,
            |drawn| drawn.0.text_len(),
        )?;
        draw.open(out, chosen.len());
        for (member, score) in chosen {
            match draw.values {
                true => reply_pair(out, member, score),
                false => reply_item(out, member),
            }
        }
        Ok(())
    })?
}

fn zscan(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let cursor = elements::cursor(&args[2])?;
    ctx.read_to(&args[1], |out, entry| {
        let Some(zset) = zset_of(entry)? else { return elements::nothing_scanned(out) };
        let filter = elements::Filter::parse(args, false)?;
        let mut found = elements::Found::new(out.resp3);
        let mut take = |member: Item<'_>, score: &double::Text| {
            if filter.takes(member) {
                found.add(member);
                found.add(Item::Str(score.as_bytes()));
            }
        };
        let next = match zset {
            Zset::Packed(_) => {
                zset.each(|member, score| take(member, &double::text(score)));
                0
            }
            // Redis spells the scores of large sets in another way.
            Zset::Large(large) => large.scan(cursor, filter.count, &mut |member, score| {
                take(Item::Str(member), &double::text_17(score));
            }),
        };
        found.answer(out, next);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn members_come_and_go() {
        World::new().check(&[
            ("ZADD z 1 a 2 b", ":2", "ZADD z 1 a 2 b"),
            ("ZADD z 1 a", ":0", ""),
            ("ZADD z CH 3 a 2 b 0.5 c", ":2", "ZADD z CH 3 a 2 b 0.5 c"),
            ("ZADD z NX 9 a 9 d", ":1", "ZADD z NX 9 a 9 d"),
            ("ZADD z XX 8 d 8 e", ":0", "ZADD z XX 8 d 8 e"),
            ("ZADD z GT 7 d", ":0", ""),
            ("ZADD z LT CH 7 d", ":1", "ZADD z LT CH 7 d"),
            ("ZADD z INCR 1 d", "$1 8", "ZADD z INCR 1 d"),
            ("ZADD z NX INCR 1 d", "$-1", ""),
            ("ZADD none XX 1 d", ":0", ""),
            ("ZADD none XX INCR 1 d", "$-1", ""),
            ("ZINCRBY z 0.1 c", "$3 0.6", "ZINCRBY z 0.1 c"),
            ("ZADD z inf i", ":1", "ZADD z inf i"),
            ("ZINCRBY z -inf i", "-ERR resulting score is not a number (NaN)", ""),
            ("ZADD z x a", "-ERR value is not a valid float", ""),
            ("ZADD z nan a", "-ERR value is not a valid float", ""),
            ("ZADD z 1 a 2", "-ERR syntax error", ""),
            ("ZSCORE z c", "$3 0.6", ""),
            ("ZSCORE z none", "$-1", ""),
            ("ZMSCORE z a none i", "*3 $1 3 $-1 $3 inf", ""),
            ("ZCARD z", ":5", ""),
            ("ZRANK z a", ":2", ""),
            ("ZREVRANK z a", ":2", ""),
            ("ZRANK z c WITHSCORE", "*2 :0 $3 0.6", ""),
            ("ZRANK z none", "$-1", ""),
            ("ZRANK z none WITHSCORE", "*-1", ""),
            ("ZRANGE z 0 -1", "*5 $1 c $1 b $1 a $1 d $1 i", ""),
            ("TYPE z", "+zset", ""),
            ("OBJECT ENCODING z", "$8 listpack", ""),
            ("ZREM z a none", ":1", "ZREM z a none"),
            ("ZREM z b c d i", ":4", "ZREM z b c d i"),
            ("EXISTS z", ":0", ""),
        ]);
    }

    #[test]
    fn what_outgrows_its_form_changes_it() {
        let mut w = World::new();
        (w.shapes.zset_entries, w.shapes.zset_value) = (2, 5);
        w.check(&[
            ("ZADD z 2 b 1 a", ":2", "ZADD z 2 b 1 a"),
            ("OBJECT ENCODING z", "$8 listpack", ""),
            ("ZADD z 1.5 c", ":1", "ZADD z 1.5 c"),
            ("OBJECT ENCODING z", "$8 skiplist", ""),
            ("ZRANGE z 0 -1 WITHSCORES", "*6 $1 a $1 1 $1 c $3 1.5 $1 b $1 2", ""),
            ("ZINCRBY z -5 b", "$2 -3", "ZINCRBY z -5 b"),
            ("ZREVRANGE z 0 0", "*1 $1 c", ""),
            ("ZRANK z c", ":2", ""),
            ("ZREMRANGEBYRANK z 0 1", ":2", "ZREMRANGEBYRANK z 0 1"),
            ("ZREM z c", ":1", "ZREM z c"),
            ("EXISTS z", ":0", ""),
            ("ZADD l 1 longer", ":1", "ZADD l 1 longer"),
            ("OBJECT ENCODING l", "$8 skiplist", ""),
            ("ZADD m 1 a 1 longer", ":2", "ZADD m 1 a 1 longer"),
            ("OBJECT ENCODING m", "$8 skiplist", ""),
        ]);
    }
}
