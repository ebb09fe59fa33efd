//! Arguments of the commands on hashes and sets.
//!
//! They live under keys of their own, so that most requests meet one; other commands put strings
//! in their place now and then, and move and copy them. What draws by chance and changes what it
//! draws from is sent in forms only whose outcome is certain.

use super::commands::{R, Row, Trait, W, X, row};
use super::generate::{Args, Gen};

const WX: &[Trait] = &[Trait::Write, Trait::Exact];

/// The rows of these commands.
pub static ROWS: &[Row] = &[
    row!("hset", 40, W, hset),
    row!("hmset", 10, W, hset),
    row!("hsetnx", 10, W, |g| vec![g.hash_key(), g.integer(), g.value()]),
    row!("hget", 15, R, hash_element),
    row!("hmget", 10, R, hash_elements),
    row!("hdel", 25, W, hash_elements),
    row!("hlen", 8, R, |g| vec![g.hash_key()]),
    row!("hstrlen", 8, R, hash_element),
    row!("hexists", 8, R, hash_element),
    row!("hgetall", 15, R, |g| vec![g.hash_key()]),
    row!("hkeys", 8, R, |g| vec![g.hash_key()]),
    row!("hvals", 8, R, |g| vec![g.hash_key()]),
    row!("hincrby", 15, W, |g| vec![g.hash_key(), g.integer(), g.integer()]),
    row!("hincrbyfloat", 15, W, |g| vec![g.hash_key(), g.integer(), g.float()]),
    row!("hrandfield", 8, R, hash_draw),
    row!("hscan", 8, X, hash_scan),
    row!("sadd", 50, W, set_elements),
    row!("srem", 25, W, set_elements),
    row!("smove", 15, W, smove),
    row!("sismember", 8, R, set_element),
    row!("smismember", 8, R, set_elements),
    row!("scard", 8, R, |g| vec![g.set_key()]),
    row!("smembers", 15, R, |g| vec![g.set_key()]),
    row!("spop", 8, WX, spop),
    row!("srandmember", 8, R, srandmember),
    row!("sscan", 8, X, set_scan),
    row!("sinter", 12, R, algebra),
    row!("sinterstore", 12, W, algebra_into),
    row!("sunion", 12, R, algebra),
    row!("sunionstore", 12, W, algebra_into),
    row!("sdiff", 12, R, algebra),
    row!("sdiffstore", 12, W, algebra_into),
];

/// Keys that mostly hold hashes.
pub const HASHES: [&[u8]; 5] = [b"h1", b"h2", b"{t}h", b"{u}h", b"h3"];
/// Keys that mostly hold sets.
pub const SETS: [&[u8]; 6] = [b"s1", b"s2", b"{t}s", b"{u}s", b"{t}s2", b"s3"];

impl Gen {
    /// A key that mostly holds a hash.
    pub fn hash_key(&mut self) -> Vec<u8> {
        if self.chance(96) { self.pick(&HASHES).to_vec() } else { self.key() }
    }

    /// A key that mostly holds a set.
    pub fn set_key(&mut self) -> Vec<u8> {
        if self.chance(96) { self.pick(&SETS).to_vec() } else { self.key() }
    }

    /// A field or member: few, so that they meet; sometimes many, or long.
    fn member(&mut self) -> Vec<u8> {
        match self.below(100) {
            0..45 => self.below(20).to_string().into(),
            45..55 => self.integer(),
            55..85 => format!("m{}", self.below(40)).into(),
            85..93 => self.below(2000).to_string().into(),
            93..96 => self.text(70),
            _ => self.part(),
        }
    }

    fn elements(&mut self) -> Args {
        let n = if self.chance(2) { 40 + self.below(600) } else { 1 + self.below(5) };
        (0..n).map(|_| self.member()).collect()
    }

    fn set_keys(&mut self) -> Args {
        (0..1 + self.below(4)).map(|_| self.set_key()).collect()
    }
}

/// A key followed by elements.
fn behind(key: Vec<u8>, elements: Args) -> Args {
    std::iter::once(key).chain(elements).collect()
}

pub fn hset(g: &mut Gen) -> Args {
    let pairs = if g.chance(2) { 100 + g.below(600) } else { 1 + g.below(4) };
    let mut args = vec![g.hash_key()];
    for _ in 0..pairs {
        args.push(g.member());
        args.push(if g.chance(10) { g.float() } else { g.member() });
    }
    if g.chance(3) {
        args.pop();
    }
    args
}

pub fn hash_elements(g: &mut Gen) -> Args {
    behind(g.hash_key(), g.elements())
}

pub fn hash_element(g: &mut Gen) -> Args {
    vec![g.hash_key(), g.member()]
}

pub fn hash_draw(g: &mut Gen) -> Args {
    let mut args = vec![g.hash_key()];
    if g.chance(70) {
        args.push(g.word(&["0", "1", "-1", "3", "1000", "-5", "x", "-9223372036854775808"]));
        if g.chance(40) {
            args.push(g.word(&["WITHVALUES", "withvalues", "nonsense"]));
        }
    }
    args
}

pub fn hash_scan(g: &mut Gen) -> Args {
    let key = g.hash_key();
    scan(g, key)
}

pub fn set_scan(g: &mut Gen) -> Args {
    let key = g.set_key();
    scan(g, key)
}

/// All at once: where a page ends is nobody's promise.
pub fn scan(g: &mut Gen, key: Vec<u8>) -> Args {
    let mut args = vec![key, g.word(&["0", "0", "0", "x", "-"])];
    args.extend([b"COUNT".to_vec(), g.word(&["100000", "50000", "0", "x"])]);
    if g.chance(50) {
        args.extend([b"MATCH".to_vec(), g.word(&["*", "m*", "1?", "[0-4]*", "nothing"])]);
    }
    args
}

pub fn set_elements(g: &mut Gen) -> Args {
    behind(g.set_key(), g.elements())
}

pub fn set_element(g: &mut Gen) -> Args {
    vec![g.set_key(), g.member()]
}

pub fn smove(g: &mut Gen) -> Args {
    vec![g.set_key(), g.set_key(), g.member()]
}

/// All of it, or nothing: what is drawn otherwise would differ from then on.
pub fn spop(g: &mut Gen) -> Args {
    vec![g.set_key(), g.word(&["100000", "100000", "0", "-1", "x"])]
}

pub fn srandmember(g: &mut Gen) -> Args {
    let mut args = vec![g.set_key()];
    if g.chance(70) {
        args.push(g.word(&["0", "1", "-1", "3", "100000", "-5", "x", "-9223372036854775808"]));
    }
    args
}

pub fn algebra(g: &mut Gen) -> Args {
    g.set_keys()
}

pub fn algebra_into(g: &mut Gen) -> Args {
    behind(g.set_key(), g.set_keys())
}
