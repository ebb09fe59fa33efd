//! Ranges of sorted sets, by rank, by score and by name: reading, storing, counting and removing
//! them.

use crate::base::double;
use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::elements::reply_item;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::table::{Command, Flags, KeySpec, Keys, OVERWRITES, READS, READS_FIRST, Route};
use crate::command::zset::{
    FAST, GROUP, GROW, READ, REMOVES_FIRST, WRITE, read, remove_ranks, reply_pair, store, zset_of,
};
use crate::keyspace::Class;
use crate::value::zset::{Edge, Names, Scores, Zset};

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("zrange", -4, READ | Flags::BY_RANK, "1.2.0", READS_FIRST, zrange),
    Command {
        keys: Keys::Range { first: 1, last: 2, step: 1 },
        route: Route::Lease,
        ..GROUP.row(
            "zrangestore",
            -5,
            GROW,
            "6.2.0",
            &[KeySpec::one(1, OVERWRITES), KeySpec::one(2, READS)],
            zrangestore,
        )
    },
    GROUP.row("zrevrange", -4, READ | Flags::BY_RANK, "1.2.0", READS_FIRST, zrevrange),
    GROUP.row("zrangebyscore", -4, READ, "1.0.5", READS_FIRST, zrangebyscore),
    GROUP.row("zrevrangebyscore", -4, READ, "2.2.0", READS_FIRST, zrevrangebyscore),
    GROUP.row("zrangebylex", -4, READ, "2.8.9", READS_FIRST, zrangebylex),
    GROUP.row("zrevrangebylex", -4, READ, "2.8.9", READS_FIRST, zrevrangebylex),
    GROUP.row("zcount", 4, READ | FAST, "2.0.0", READS_FIRST, zcount),
    GROUP.row("zlexcount", 4, READ | FAST, "2.8.9", READS_FIRST, zlexcount),
    GROUP.row("zremrangebyrank", 4, WRITE, "2.0.0", REMOVES_FIRST, zremrangebyrank),
    GROUP.row("zremrangebyscore", 4, WRITE, "1.2.0", REMOVES_FIRST, zremrangebyscore),
    GROUP.row("zremrangebylex", 4, WRITE, "2.8.9", REMOVES_FIRST, zremrangebylex),
];

const _: () = assert!(READ == Flags::READONLY);

/// What the bounds of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

/// A range.
#[derive(Clone, Copy, Debug)]
enum Range<'a> {
    /// From the first to the last; negative ones count from the end.
    Ranks(i64, i64),
    Scores(Scores),
    Names(Names<'a>),
}

/// What is asked of a range.
#[derive(Clone, Copy, Debug)]
struct Query<'a> {
    range: Range<'a>,
    /// From the highest on.
    down: bool,
    /// How many are passed over; none come when it is negative.
    offset: i64,
    /// How many come at most; negative: all.
    limit: i64,
    scores: bool,
}

fn integer(text: &[u8]) -> Result<i64, Fault> {
    parse_i64(text).ok_or(NOT_AN_INTEGER)
}

fn score_bound(text: &[u8]) -> Option<(f64, bool)> {
    match text {
        [b'(', rest @ ..] => Some((double::parse_bound(rest)?, true)),
        rest => Some((double::parse_bound(rest)?, false)),
    }
}

fn scores(min: &[u8], max: &[u8]) -> Result<Scores, Fault> {
    let bounds = score_bound(min).zip(score_bound(max));
    let (min, max) = bounds.ok_or(Fault::new("ERR min or max is not a float"))?;
    Ok(Scores { min, max })
}

fn name_bound(text: &[u8]) -> Option<(Edge<'_>, bool)> {
    match text {
        b"-" => Some((Edge::Lowest, true)),
        b"+" => Some((Edge::Highest, true)),
        [b'(', name @ ..] => Some((Edge::At(name), true)),
        [b'[', name @ ..] => Some((Edge::At(name), false)),
        _ => None,
    }
}

fn names<'a>(min: &'a [u8], max: &'a [u8]) -> Result<Names<'a>, Fault> {
    let bounds = name_bound(min).zip(name_bound(max));
    let (min, max) = bounds.ok_or(Fault::new("ERR min or max not valid string range item"))?;
    Ok(Names { min, max })
}

impl<'a> Range<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, Fault> {
        Ok(match by {
            By::Rank => Range::Ranks(integer(min)?, integer(max)?),
            By::Score => Range::Scores(scores(min, max)?),
            By::Name => Range::Names(names(min, max)?),
        })
    }

    /// The ranks, counted from below: the first, and how many. Ranks of a range that is read
    /// downwards count from above.
    fn find(&self, zset: Zset<'_>, down: bool) -> (usize, usize) {
        match self {
            Range::Scores(scores) => zset.score_range(scores),
            Range::Names(names) => zset.name_range(names, down),
            Range::Ranks(start, end) => {
                let len = zset.len() as i64;
                let place = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
                let (start, end) = (place(*start).max(0), place(*end).min(len - 1));
                if start > end {
                    return (0, 0);
                }
                let count = (end - start + 1) as usize;
                (if down { (len - 1 - end) as usize } else { start as usize }, count)
            }
        }
    }
}

impl<'a> Query<'a> {
    /// Reads what stands behind the key, which is argument `key`. `by` and `down` are what the
    /// command's name says, if it does.
    fn parse(
        args: &'a Args<'a>,
        key: usize,
        by: Option<By>,
        down: Option<bool>,
    ) -> Result<Self, Fault> {
        let (stores, mut own_by, mut own_down) = (key == 2, by, down);
        let (mut offset, mut limit, mut scores) = (0, -1, false);
        let mut at = key + 3;
        while at < args.len() {
            if !stores && args.is(at, "WITHSCORES") {
                scores = true;
            } else if args.is(at, "LIMIT") && args.len() > at + 2 {
                (offset, limit) = (integer(&args[at + 1])?, integer(&args[at + 2])?);
                at += 2;
            } else if own_down.is_none() && args.is(at, "REV") {
                own_down = Some(true);
            } else if own_by.is_none() && args.is(at, "BYLEX") {
                own_by = Some(By::Name);
            } else if own_by.is_none() && args.is(at, "BYSCORE") {
                own_by = Some(By::Score);
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        let (by, down) = (own_by.unwrap_or(By::Rank), own_down.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(Fault::new(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
                 BYLEX",
            ));
        }
        if scores && by == By::Name {
            return Err(Fault::new(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (mut min, mut max) = (&args[key + 1], &args[key + 2]);
        if down && by != By::Rank {
            (min, max) = (max, min);
        }
        if by == By::Rank {
            (offset, limit) = (0, -1);
        }
        Ok(Query { range: Range::parse(by, min, max)?, down, offset, limit, scores })
    }

    /// The rank to begin with, and how many come from there on, up or down.
    fn find(&self, zset: Zset<'_>) -> (usize, usize) {
        let (from, count) = self.range.find(zset, self.down);
        let Ok(offset) = usize::try_from(self.offset) else { return (0, 0) };
        let left = count.saturating_sub(offset);
        let count = usize::try_from(self.limit).map_or(left, |limit| left.min(limit));
        match (left, self.down) {
            (0, _) => (0, 0),
            (_, false) => (from + offset, count),
            (_, true) => (from + left - 1, count),
        }
    }
}

fn answer(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    by: Option<By>,
    down: Option<bool>,
) -> Result<(), Fault> {
    let query = Query::parse(args, 1, by, down)?;
    read(ctx, &args[1], |out, zset| {
        let (from, count) = zset.map_or((0, 0), |zset| query.find(zset));
        let words = if query.scores && !out.resp3 { 2 } else { 1 };
        out.array(count * words);
        let Some(zset) = zset.filter(|_| count > 0) else { return };
        zset.walk(from, count, query.down, |member, score| match query.scores {
            true => reply_pair(out, member, score),
            false => reply_item(out, member),
        });
    })
}

fn zrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, args, None, None)
}

fn zrevrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, args, Some(By::Rank), Some(true))
}

fn zrangebyscore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, args, Some(By::Score), Some(false))
}

fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, args, Some(By::Score), Some(true))
}

fn zrangebylex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, args, Some(By::Name), Some(false))
}

fn zrevrangebylex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, args, Some(By::Name), Some(true))
}

fn zrangestore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let query = Query::parse(args, 2, None, None)?;
    let shapes = *ctx.shapes;
    let mut members = read(ctx, &args[2], |_, zset| {
        let mut members: Vec<(Vec<u8>, f64)> = Vec::new();
        let Some(zset) = zset else { return members };
        let (from, count) = query.find(zset);
        if count > 0 {
            zset.walk(from, count, query.down, |member, score| {
                members.push((member.text(&mut itoa::Buffer::new()).to_vec(), score));
            });
        }
        members
    })?;
    // Redis begins with a listpack, unless it knows that there is too much for one, and a zero in a
    // listpack has no sign.
    if !matches!(query.range, Range::Ranks(..)) || members.len() <= shapes.zset_entries {
        let packed = members.iter_mut().take(shapes.zset_entries);
        for (_, score) in packed.take_while(|(member, _)| member.len() <= shapes.zset_value) {
            *score += 0.0;
        }
    }
    store(ctx, &args[1], &members, "zrangestore");
    Ok(())
}

fn count(ctx: &mut Ctx<'_>, args: &Args<'_>, by: By) -> Result<(), Fault> {
    let range = Range::parse(by, &args[2], &args[3])?;
    read(ctx, &args[1], |out, zset| {
        out.int(zset.map_or(0, |zset| range.find(zset, false).1) as i64);
    })
}

fn zcount(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    count(ctx, args, By::Score)
}

fn zlexcount(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    count(ctx, args, By::Name)
}

fn remove(ctx: &mut Ctx<'_>, args: &Args<'_>, by: By) -> Result<(), Fault> {
    let range = Range::parse(by, &args[2], &args[3])?;
    let found = zset_of(ctx.peek(&args[1]))?.map(|zset| range.find(zset, false));
    let (from, count) = found.unwrap_or((0, 0));
    if count > 0 {
        let key = &args[1];
        remove_ranks(ctx, key, from, count);
        match by {
            // Where scores differ, what lies between two names follows from how a set is kept.
            By::Name => {
                let (mut first, mut last) = (itoa::Buffer::new(), itoa::Buffer::new());
                let ranks = [first.format(from), last.format(from + count - 1)];
                let [first, last] = ranks.map(str::as_bytes);
                ctx.log(key, &[b"ZREMRANGEBYRANK", key, first, last]);
            }
            By::Rank | By::Score => ctx.log_request(key, args),
        }
        let event = match by {
            By::Rank => "zremrangebyrank",
            By::Score => "zremrangebyscore",
            By::Name => "zremrangebylex",
        };
        ctx.event_taken(Class::Zset, event, key);
    }
    ctx.out.int(count as i64);
    Ok(())
}

fn zremrangebyrank(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    remove(ctx, args, By::Rank)
}

fn zremrangebyscore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    remove(ctx, args, By::Score)
}

fn zremrangebylex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    remove(ctx, args, By::Name)
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn ranges_are_read() {
        for entries in [128, 0] {
            let mut w = World::new();
            w.shapes.zset_entries = entries;
            w.run("ZADD z 1 a 2 b 2 c 3.5 d inf e");
            w.run("ZADD n 0 a 0 b 0 c 0 d");
            w.effects();
            w.check(&[
                ("ZRANGE z 1 -2", "*3 $1 b $1 c $1 d", ""),
                ("ZRANGE z 0 1 REV WITHSCORES", "*4 $1 e $3 inf $1 d $3 3.5", ""),
                ("ZRANGE z 5 9", "*0", ""),
                ("ZRANGE z (1 3.5 BYSCORE LIMIT 1 1", "*1 $1 c", ""),
                ("ZRANGE z +inf (2 BYSCORE REV", "*2 $1 e $1 d", ""),
                ("ZRANGE n [b + BYLEX", "*3 $1 b $1 c $1 d", ""),
                ("ZREVRANGEBYLEX n (d - LIMIT 1 5", "*2 $1 b $1 a", ""),
                ("ZRANGEBYSCORE z -inf +inf LIMIT -1 9", "*0", ""),
                ("ZRANGEBYSCORE z 2 2 LIMIT 9223372036854775807 -1", "*0", ""),
                ("ZCOUNT z 2 (inf", ":3", ""),
                ("ZLEXCOUNT n - (c", ":2", ""),
                ("ZRANGE z 0 1 LIMIT 0 1", LIMITED, ""),
                ("ZRANGE z x 1 BYSCORE", "-ERR min or max is not a float", ""),
                ("ZRANGE z x 1 BYLEX", "-ERR min or max not valid string range item", ""),
                ("ZRANGE z 0 1 REV REV", "-ERR syntax error", ""),
            ]);
        }
    }

    const LIMITED: &str = "-ERR syntax error, LIMIT is only supported in combination with either \
                           BYSCORE or BYLEX";

    #[test]
    fn zeros_that_pass_through_a_listpack_lose_their_sign() {
        let mut w = World::new();
        let long = "x".repeat(70);
        w.run(&format!("ZADD z -0 a -0 b 1 {long}"));
        for (store, left) in [
            ("ZRANGESTORE d z 0 -1", "*4 $1 a $1 0 $1 b $1 0"),
            ("ZRANGESTORE d z 0 -1 REV", "*4 $1 a $2 -0 $1 b $2 -0"),
        ] {
            w.run(store);
            assert_eq!(w.run("ZRANGE d 0 1 WITHSCORES"), left, "{store}");
        }
        w.shapes.zset_entries = 1;
        for (store, left) in [
            ("ZRANGESTORE d z 0 -1", "*4 $1 a $2 -0 $1 b $2 -0"),
            ("ZRANGESTORE d z 0 1 BYSCORE", "*4 $1 a $1 0 $1 b $2 -0"),
        ] {
            w.run(store);
            assert_eq!(w.run("ZRANGE d 0 1 WITHSCORES"), left, "{store}");
        }
    }

    #[test]
    fn ranges_are_stored_and_removed() {
        for entries in [128, 0] {
            let mut w = World::new();
            w.shapes.zset_entries = entries;
            w.run("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f");
            w.effects();
            w.check(&[
                ("ZRANGESTORE d z 1 2", ":2", "DEL d | ZADD d 2 b 3 c"),
                ("ZRANGESTORE d z 2 1", ":0", "DEL d"),
                ("ZRANGESTORE d z 2 1", ":0", ""),
                ("ZREMRANGEBYRANK z 0 0", ":1", "ZREMRANGEBYRANK z 0 0"),
                ("ZREMRANGEBYSCORE z (2 3", ":1", "ZREMRANGEBYSCORE z (2 3"),
                ("ZREMRANGEBYLEX z [f +", ":1", "ZREMRANGEBYRANK z 3 3"),
                ("ZRANGE z 0 -1", "*3 $1 b $1 d $1 e", ""),
                ("ZREMRANGEBYRANK z 7 9", ":0", ""),
                ("ZREMRANGEBYSCORE z -inf inf", ":3", "ZREMRANGEBYSCORE z -inf inf"),
                ("EXISTS z", ":0", ""),
            ]);
        }
    }
}
