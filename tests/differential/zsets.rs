//! Arguments of the commands on sorted sets.
//!
//! They live under keys of their own, so that most requests meet one; other commands put strings in
//! their place now and then, and move and copy them. Ranges by name are asked of sets whose members
//! have one score and stay few: what Redis answers of others follows from its random levels.

use super::commands::{R, Row, W, X, row};
use super::generate::{Args, Gen};

/// The rows of these commands.
pub static ROWS: &[Row] = &[
    row!("zadd", 70, W, zadd),
    row!("zincrby", 20, W, |g| vec![g.zset_key(), g.score(), g.name()]),
    row!("zrem", 20, W, |g| behind(g.zset_key(), 1, 5, g)),
    row!("zscore", 12, R, |g| vec![g.zset_key(), g.name()]),
    row!("zmscore", 10, R, |g| behind(g.zset_key(), 1, 4, g)),
    row!("zcard", 8, R, |g| vec![g.zset_key()]),
    row!("zrank", 12, R, |g| vec![g.zset_key(), g.name()]),
    row!("zrevrank", 12, R, |g| vec![g.zset_key(), g.name()]),
    row!("zrandmember", 8, R, draw),
    row!("zscan", 8, X, scan),
    row!("zrange", 25, R, zrange),
    row!("zrangestore", 12, W, zrangestore),
    row!("zrevrange", 10, R, |g| ranks(g, &["WITHSCORES", "withscores", "REV"])),
    row!("zrangebyscore", 12, R, scores),
    row!("zrevrangebyscore", 12, R, scores),
    row!("zrangebylex", 10, R, names),
    row!("zrevrangebylex", 10, R, names),
    row!("zcount", 10, R, |g| vec![g.zset_key(), g.bound(), g.bound()]),
    row!("zlexcount", 10, R, |g| vec![g.level_key(), g.edge(), g.edge()]),
    row!("zremrangebyrank", 6, W, |g| vec![g.zset_key(), g.place(), g.place()]),
    row!("zremrangebyscore", 6, W, |g| vec![g.zset_key(), g.bound(), g.bound()]),
    row!("zremrangebylex", 6, W, |g| vec![g.level_key(), g.edge(), g.edge()]),
    row!("zpopmin", 10, W, pop),
    row!("zpopmax", 10, W, pop),
    row!("zmpop", 10, W, zmpop),
    row!("zunion", 10, R, |g| algebra(g, true, true)),
    row!("zinter", 10, R, |g| algebra(g, true, true)),
    row!("zdiff", 10, R, |g| algebra(g, false, true)),
    row!("zintercard", 10, R, intercard),
    row!("sintercard", 10, R, sintercard),
    row!("zunionstore", 10, W, |g| algebra_into(g, true)),
    row!("zinterstore", 10, W, |g| algebra_into(g, true)),
    row!("zdiffstore", 10, W, |g| algebra_into(g, false)),
];

/// Keys that mostly hold sorted sets.
pub const ZSETS: [&[u8]; 6] = [b"z1", b"z2", b"{t}z", b"{u}z", b"z3", b"{t}z2"];
/// Keys of sorted sets whose members have one score.
pub const LEVELS: [&[u8]; 3] = [b"level1", b"{t}level", b"level2"];

impl Gen {
    /// A key that mostly holds a sorted set.
    pub fn zset_key(&mut self) -> Vec<u8> {
        if self.chance(96) { self.pick(&ZSETS).to_vec() } else { self.key() }
    }

    fn level_key(&mut self) -> Vec<u8> {
        if self.chance(97) { self.pick(&LEVELS).to_vec() } else { self.big_key() }
    }

    /// A sorted set, or a set now and then.
    fn zset_or_set(&mut self) -> Vec<u8> {
        if self.chance(15) { self.set_key() } else { self.zset_key() }
    }

    /// A member: few, so that they meet; sometimes many, or long.
    fn name(&mut self) -> Vec<u8> {
        match self.below(100) {
            0..50 => self.below(25).to_string().into(),
            50..85 => format!("m{}", self.below(60)).into(),
            85..95 => self.below(1000).to_string().into(),
            95..97 => self.text(70),
            _ => self.part(),
        }
    }

    /// A score: mostly such that both versions print it alike.
    fn score(&mut self) -> Vec<u8> {
        match self.below(100) {
            0..50 => (self.below(40) as i64 - 20).to_string().into(),
            50..75 => ((self.below(8000) as i64 - 4000) as f64 / 4.0).to_string().into(),
            75..90 => (self.below(2_000_000) as i64 - 1_000_000).to_string().into(),
            90..97 => self.word(&["inf", "-inf", "+inf", "0x10", "1e3", ".5", "5.", "-Infinity"]),
            _ => self.word(&["x", "nan", "", " 1", "1 ", "1e40x", "--1", "0x"]),
        }
    }

    /// A bound of a range of scores.
    fn bound(&mut self) -> Vec<u8> {
        let score = match self.below(20) {
            0..4 => self.word(&["-inf", "+inf", "inf"]),
            4 => self.word(&["x", "", " 1", "nan", "1e40x"]),
            _ => self.score(),
        };
        if self.chance(25) { [b"(", score.as_slice()].concat() } else { score }
    }

    /// A bound of a range of names.
    fn edge(&mut self) -> Vec<u8> {
        match self.below(20) {
            0..3 => b"-".to_vec(),
            3..6 => b"+".to_vec(),
            6 => self.word(&["x", "", "(", "[", "--", "+1"]),
            n => [if n % 2 == 0 { b"[" } else { b"(" }, self.level_name().as_slice()].concat(),
        }
    }

    fn level_name(&mut self) -> Vec<u8> {
        let length = 1 + self.below(2) as usize;
        self.text(length)
    }

    /// A rank, from either end.
    fn place(&mut self) -> Vec<u8> {
        match self.below(20) {
            0 => self.word(&["9223372036854775807", "-9223372036854775808", "x", "1.5", ""]),
            1..4 => self.word(&["0", "-1"]),
            _ => (self.below(60) as i64 - 30).to_string().into(),
        }
    }

    /// LIMIT, sometimes.
    fn limited(&mut self, args: &mut Args) {
        if self.chance(35) {
            args.push(self.word(&["LIMIT", "limit"]));
            args.push(self.word(&["0", "1", "3", "-1", "1000", "9223372036854775807", "x"]));
            args.push(self.word(&["0", "1", "5", "-1", "-5", "9223372036854775807", "x"]));
        }
    }

    /// One of `words`, sometimes.
    fn maybe(&mut self, percent: u64, words: &[&str], args: &mut Args) {
        if self.chance(percent as _) {
            args.push(self.word(words));
        }
    }
}

/// A key followed by members.
fn behind(key: Vec<u8>, least: u64, most: u64, g: &mut Gen) -> Args {
    let n = least + g.below(most);
    std::iter::once(key).chain((0..n).map(|_| g.name())).collect()
}

fn zadd(g: &mut Gen) -> Args {
    if g.chance(20) {
        let mut args = vec![g.level_key()];
        for _ in 0..1 + g.below(4) {
            args.extend([b"0".to_vec(), g.level_name()]);
        }
        return args;
    }
    let mut args = vec![g.zset_key()];
    if g.chance(35) {
        for _ in 0..1 + g.below(2) {
            args.push(g.word(&["NX", "XX", "GT", "LT", "CH", "INCR", "nx"]));
        }
    }
    // Not above 128 at once: 7.2 takes the number for a hint at how large the set becomes.
    let pairs = if g.chance(3) { 30 + g.below(90) } else { 1 + g.below(4) };
    for _ in 0..pairs {
        args.extend([g.score(), g.name()]);
    }
    if g.chance(2) {
        args.pop();
    }
    args
}

fn draw(g: &mut Gen) -> Args {
    let mut args = vec![g.zset_key()];
    if g.chance(70) {
        args.push(g.word(&["0", "1", "-1", "3", "1000", "-5", "x", "-9223372036854775808"]));
        g.maybe(40, &["WITHSCORES", "withscores", "nonsense"], &mut args);
    }
    args
}

fn scan(g: &mut Gen) -> Args {
    let key = g.zset_key();
    super::collections::scan(g, key)
}

fn ranks(g: &mut Gen, words: &[&str]) -> Args {
    let mut args = vec![g.zset_key(), g.place(), g.place()];
    g.maybe(40, words, &mut args);
    g.maybe(10, words, &mut args);
    args
}

fn scores(g: &mut Gen) -> Args {
    let mut args = vec![g.zset_key(), g.bound(), g.bound()];
    g.maybe(40, &["WITHSCORES", "withscores"], &mut args);
    g.limited(&mut args);
    g.maybe(2, &["REV", "BYSCORE", "x"], &mut args);
    args
}

fn names(g: &mut Gen) -> Args {
    let mut args = vec![g.level_key(), g.edge(), g.edge()];
    g.limited(&mut args);
    g.maybe(2, &["WITHSCORES", "REV", "x"], &mut args);
    args
}

fn zrange(g: &mut Gen) -> Args {
    let mut args = match g.below(3) {
        0 => ranks(g, &["WITHSCORES", "REV"]),
        1 => {
            let mut args = scores(g);
            args.push(g.word(&["BYSCORE", "byscore"]));
            args
        }
        _ => {
            let mut args = names(g);
            args.push(g.word(&["BYLEX", "bylex"]));
            args
        }
    };
    g.maybe(25, &["REV", "REV", "WITHSCORES", "BYLEX", "x"], &mut args);
    args
}

fn zrangestore(g: &mut Gen) -> Args {
    let mut args = vec![g.zset_key(), g.zset_key()];
    if g.chance(50) {
        args.extend([g.below(20).to_string().into(), g.below(60).to_string().into()]);
    } else {
        args.extend([g.bound(), g.bound(), b"BYSCORE".to_vec()]);
        args.extend([b"LIMIT".to_vec(), g.word(&["0", "2", "-1"]), g.word(&["0", "5", "50"])]);
    }
    g.maybe(20, &["REV", "WITHSCORES", "BYLEX"], &mut args);
    args
}

fn pop(g: &mut Gen) -> Args {
    let mut args = vec![g.zset_key()];
    g.maybe(60, &["0", "1", "2", "5", "-1", "x"], &mut args);
    args
}

/// A number of keys and as many of them, mostly.
fn counted(g: &mut Gen, key: fn(&mut Gen) -> Vec<u8>) -> Args {
    let n = 1 + g.below(3);
    let number = if g.chance(4) { g.word(&["0", "-1", "x", "9"]) } else { n.to_string().into() };
    std::iter::once(number).chain((0..n).map(|_| key(g))).collect()
}

fn zmpop(g: &mut Gen) -> Args {
    let mut args = counted(g, Gen::zset_key);
    args.push(g.word(&["MIN", "MAX", "min", "MAX", "x"]));
    if g.chance(50) {
        args.extend([b"COUNT".to_vec(), g.word(&["1", "3", "10", "0", "x"])]);
    }
    args
}

fn algebra(g: &mut Gen, combines: bool, replies: bool) -> Args {
    let mut args = counted(g, Gen::zset_or_set);
    let keys = args.len() - 1;
    if combines && g.chance(35) {
        args.push(g.word(&["WEIGHTS", "weights"]));
        for _ in 0..keys {
            args.push(g.word(&["1", "2", "0.5", "3", "-1", "inf", "1", "2", "x"]));
        }
    }
    if combines && g.chance(40) {
        args.extend([b"AGGREGATE".to_vec(), g.word(&["SUM", "MIN", "MAX", "min", "x"])]);
    }
    if replies {
        g.maybe(60, &["WITHSCORES", "withscores"], &mut args);
    }
    g.maybe(2, &["WITHSCORES", "WEIGHTS", "AGGREGATE", "x"], &mut args);
    args
}

fn algebra_into(g: &mut Gen, combines: bool) -> Args {
    let to = g.zset_key();
    std::iter::once(to).chain(algebra(g, combines, false)).collect()
}

fn intercard(g: &mut Gen) -> Args {
    let mut args = counted(g, Gen::zset_or_set);
    if g.chance(50) {
        args.extend([b"LIMIT".to_vec(), g.word(&["0", "1", "3", "-1", "x"])]);
    }
    args
}

fn sintercard(g: &mut Gen) -> Args {
    let mut args = counted(g, Gen::set_key);
    if g.chance(50) {
        args.extend([b"LIMIT".to_vec(), g.word(&["0", "1", "3", "-1", "x"])]);
    }
    args
}
