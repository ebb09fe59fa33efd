//! Random requests on values of other types than short strings: hashes, lists, sets and sorted sets
//! that grow into structures, and strings long enough to be edited in place. Each kind has keys of
//! its own, so that no request meets a value of another kind.

use std::fmt::Write;

use crate::base::random::Random;

/// Keys of a kind.
const KEYS: u64 = 3;
/// Members, fields and places of a value.
const MEMBERS: u64 = 60;

/// What the clients of a process like: one kind of values, and one or few keys, or nothing much.
#[derive(Clone, Copy, Debug)]
pub struct Taste {
    kind: Option<char>,
    keys: u64,
    /// What makes files of the log comes once in so many times.
    pub files: u64,
    /// Nobody removes a whole database.
    pub calm: bool,
    /// The log is turned on and off.
    pub turns: bool,
}

const KINDS: [char; 5] = ['h', 'l', 's', 'z', 't'];

impl Taste {
    /// Any.
    pub fn some(random: &mut Random) -> Taste {
        let kind = KINDS[random.below(5) as usize];
        let files = [1, 2, 8, 30][random.below(4) as usize];
        let (kind, keys) = match random.below(3) {
            0 => (None, KEYS),
            _ => (Some(kind), 1 + random.below(KEYS)),
        };
        Taste { kind, keys, files, calm: false, turns: false }
    }

    /// Whether it is more than nothing much.
    pub fn is_strong(self) -> bool {
        self.kind.is_some()
    }

    /// How many of four commands it concerns.
    pub fn share(self) -> u64 {
        if self.is_strong() { 3 } else { 1 }
    }
}

fn key(random: &mut Random, kind: char) -> String {
    format!("{kind}{}", random.below(KEYS))
}

/// So many times what `one` gives.
fn some(random: &mut Random, most: u64, one: impl Fn(&mut Random) -> String) -> String {
    let mut text = String::new();
    for _ in 0..1 + random.below(most) {
        let _ = write!(text, " {}", one(random));
    }
    text
}

/// A random command; what it writes says `id`.
pub fn command(random: &mut Random, id: u64, taste: Taste) -> String {
    // Now and then a great many at once.
    let most = if random.one_in(3) { 40 } else { 3 };
    let any = KINDS[random.below(5) as usize];
    let kind = taste.kind.filter(|_| !random.one_in(5)).unwrap_or(any);
    let k = format!("{kind}{}", random.below(taste.keys));
    if random.one_in(if taste.is_strong() { 10 } else { 4 }) {
        let other = key(random, kind);
        return of_any(random, &k, &other);
    }
    match kind {
        'h' => hash(random, &k, id, most),
        'l' => list(random, &k, id, most),
        's' => set(random, &k, id, most),
        'z' => sorted(random, &k, most),
        _ => text(random, &k, id),
    }
}

/// What is done with values of any kind.
fn of_any(random: &mut Random, k: &str, other: &str) -> String {
    match random.below(12) {
        0..=3 => format!("RENAME {k} {other}"),
        4 => format!("COPY {k} {other} REPLACE"),
        5 => format!("DEL {k}"),
        6 => format!("UNLINK {k} {other}"),
        7 => format!("PEXPIRE {k} {}", 1 + random.below(2000)),
        8 => format!("PERSIST {k}"),
        9 => format!("MOVE {k} {}", random.below(3)),
        10 => format!("RENAMENX {k} {other}"),
        _ => format!("EXISTS {k} {other}"),
    }
}

fn hash(random: &mut Random, k: &str, id: u64, most: u64) -> String {
    let field = |random: &mut Random| format!("f{}", random.below(MEMBERS));
    match random.below(10) {
        0..=5 => format!("HSET {k}{}", some(random, most, |r| format!("{} r{id}.", field(r)))),
        6..=7 => format!("HDEL {k}{}", some(random, most, field)),
        8 => format!("HLEN {k}"),
        _ => format!("HINCRBY {k} n{} 3", random.below(4)),
    }
}

fn list(random: &mut Random, k: &str, id: u64, most: u64) -> String {
    match random.below(12) {
        0..=3 => format!("RPUSH {k}{}", some(random, most, |_| format!("r{id}."))),
        4..=5 => format!("LPUSH {k}{}", some(random, most, |_| format!("r{id}."))),
        6 => format!("LPOP {k} {}", 1 + random.below(most)),
        7 => format!("RPOP {k} {}", 1 + random.below(most)),
        8 => format!("LSET {k} {} r{id}.", random.below(MEMBERS)),
        9 => format!("LTRIM {k} {} -{}", random.below(6), 1 + random.below(6)),
        10 => format!("LMOVE {k} {k} LEFT RIGHT"),
        _ => format!("LLEN {k}"),
    }
}

fn set(random: &mut Random, k: &str, id: u64, most: u64) -> String {
    let member = |random: &mut Random| format!("m{}", random.below(MEMBERS));
    match random.below(10) {
        0..=3 => format!("SADD {k}{}", some(random, most, member)),
        4 => format!("SADD {k} r{id}."),
        5 => format!("SADD {k}{}", some(random, most, |r| r.below(MEMBERS).to_string())),
        6..=7 => format!("SREM {k}{}", some(random, most, member)),
        8 => format!("SPOP {k} {}", 1 + random.below(most)),
        _ => format!("SCARD {k}"),
    }
}

fn sorted(random: &mut Random, k: &str, most: u64) -> String {
    let member = |random: &mut Random| format!("m{}", random.below(MEMBERS));
    let pair = |random: &mut Random| format!("{} {}", random.below(20), member(random));
    match random.below(10) {
        0..=4 => format!("ZADD {k}{}", some(random, most, pair)),
        5 => format!("ZINCRBY {k} 5 {}", member(random)),
        6..=7 => format!("ZREM {k}{}", some(random, most, member)),
        8 => format!("ZPOPMIN {k} {}", 1 + random.below(most)),
        _ => format!("ZCARD {k}"),
    }
}

/// Strings of some kilobytes, edited in place.
fn text(random: &mut Random, k: &str, id: u64) -> String {
    match random.below(10) {
        0 => format!("SET {k} r{id}.{}", "x".repeat(random.below(12_000) as usize)),
        1..=5 => format!("SETRANGE {k} {} r{id}.", random.below(12_000)),
        6 => format!("APPEND {k} r{id}.{}", "y".repeat(random.below(3_000) as usize)),
        // A bit that digits have: none of them becomes another, and a mark somebody else's.
        7 => format!("SETBIT {k} {} 1", random.below(90_000) / 8 * 8 + 2),
        8 => format!("GETRANGE {k} 0 9"),
        _ => format!("STRLEN {k}"),
    }
}
