//! Arguments of the commands on lists. They live under keys of their own, so that most requests
//! meet one; some grow beyond one node.

use super::commands::{R, Row, W, row};
use super::generate::{Args, Gen};

/// The rows of these commands.
pub static ROWS: &[Row] = &[
    row!("lpush", 40, W, push),
    row!("rpush", 40, W, push),
    row!("lpushx", 8, W, push),
    row!("rpushx", 8, W, push),
    row!("lpop", 20, W, pop),
    row!("rpop", 20, W, pop),
    row!("llen", 8, R, |g| vec![g.list_key()]),
    row!("lindex", 15, R, |g| vec![g.list_key(), g.list_index()]),
    row!("lrange", 25, R, |g| vec![g.list_key(), g.list_index(), g.list_index()]),
    row!("lset", 20, W, |g| vec![g.list_key(), g.list_index(), g.list_element()]),
    row!("lrem", 15, W, |g| vec![g.list_key(), g.integer(), g.list_element()]),
    row!("ltrim", 10, W, ltrim),
    row!("linsert", 20, W, linsert),
    row!("lpos", 15, R, lpos),
    row!("lmove", 20, W, lmove),
    row!("rpoplpush", 12, W, |g| vec![g.list_key(), g.list_key()]),
    row!("lmpop", 15, W, lmpop),
    row!("sort", 20, W, |g| sort(g, true)),
    row!("sort_ro", 10, R, |g| sort(g, false)),
];

/// Keys that mostly hold lists.
pub const LISTS: [&[u8]; 6] = [b"l1", b"l2", b"{t}l", b"{u}l", b"{t}l2", b"l3"];

impl Gen {
    /// A key that mostly holds a list.
    pub fn list_key(&mut self) -> Vec<u8> {
        if self.chance(96) { self.pick(&LISTS).to_vec() } else { self.key() }
    }

    /// An element: few, so that they meet; sometimes long.
    fn list_element(&mut self) -> Vec<u8> {
        match self.below(100) {
            0..50 => self.below(10).to_string().into(),
            50..60 => self.integer(),
            60..90 => format!("e{}", self.below(10)).into(),
            90..97 => self.text(70),
            97 => self.big_value(),
            _ => self.part(),
        }
    }

    /// An index, mostly of an element that is there.
    fn list_index(&mut self) -> Vec<u8> {
        match self.below(20) {
            0 => self.garbage(),
            1..4 => (self.below(2000) as i64 - 1000).to_string().into(),
            _ => (self.below(24) as i64 - 12).to_string().into(),
        }
    }

    fn side(&mut self) -> Vec<u8> {
        self.word(&["LEFT", "RIGHT", "left", "Right", "LEFT", "RIGHT", "LEFT", "RIGHT", "UP"])
    }
}

pub fn push(g: &mut Gen) -> Args {
    let elements = if g.chance(2) { 40 + g.below(800) } else { 1 + g.below(5) };
    let mut args = vec![g.list_key()];
    args.extend((0..elements).map(|_| g.list_element()));
    args
}

pub fn pop(g: &mut Gen) -> Args {
    let mut args = vec![g.list_key()];
    if g.chance(50) {
        args.push(g.word(&[
            "0",
            "1",
            "2",
            "5",
            "5",
            "50",
            "300",
            "-1",
            "x",
            "9223372036854775807",
        ]));
        if g.chance(3) {
            args.push(g.integer());
        }
    }
    args
}

/// Mostly what leaves something behind.
pub fn ltrim(g: &mut Gen) -> Args {
    if g.chance(20) {
        return vec![g.list_key(), g.list_index(), g.list_index()];
    }
    let (front, back) = (g.below(4), g.below(4));
    vec![g.list_key(), front.to_string().into(), format!("-{}", back + 1).into()]
}

pub fn linsert(g: &mut Gen) -> Args {
    let place = g.word(&["BEFORE", "AFTER", "before", "After", "BEFORE", "AFTER", "ON"]);
    vec![g.list_key(), place, g.list_element(), g.list_element()]
}

pub fn lpos(g: &mut Gen) -> Args {
    let mut args = vec![g.list_key(), g.list_element()];
    for _ in 0..g.below(4) {
        let word = g.word(&["RANK", "COUNT", "MAXLEN", "rank", "count", "maxlen", "nonsense"]);
        args.push(word);
        args.push(g.word(&["0", "1", "2", "3", "-1", "-2", "5", "40", "x"]));
    }
    if g.chance(3) {
        args.push(b"RANK".to_vec());
    }
    args
}

/// Weights are strings of the stream and fields of its hashes, whatever they say. Sets are sorted:
/// how their tables stand is nobody's promise.
pub fn sort(g: &mut Gen, stores: bool) -> Args {
    let key = match g.below(10) {
        0..5 => g.list_key(),
        5..8 => g.set_key(),
        _ => g.key(),
    };
    let mut args = vec![key];
    let of_list = args[0].contains(&b'l');
    if g.chance(70) {
        args.push(g.word(&["ALPHA", "alpha"]));
    }
    if g.chance(40) {
        args.push(b"BY".to_vec());
        args.push(match of_list {
            true => g.word(&["nosort", "k*", "{t}*", "h*->1", "*", "s*->", "*->m1"]),
            false => g.word(&["k*", "h*->1", "*->m1"]),
        });
        // Equal weights leave the order to the sort.
        args.extend([b"GET".to_vec(), b"nothing".to_vec()]);
        return args;
    }
    for _ in 0..g.below(3) {
        args.push(b"GET".to_vec());
        args.push(g.word(&["#", "k*", "h*->1", "nothing", "*", "big*"]));
    }
    if g.chance(40) {
        args.push(g.word(&["ASC", "DESC"]));
    }
    if g.chance(40) {
        args.push(b"LIMIT".to_vec());
        args.extend([g.list_index(), g.word(&["0", "2", "-1", "10", "1000", "x"])]);
    }
    if stores && g.chance(30) {
        args.extend([b"STORE".to_vec(), g.list_key()]);
    }
    if g.chance(3) {
        args.push(g.word(&["nonsense", "BY", "GET", "LIMIT", "STORE"]));
    }
    args
}

pub fn lmove(g: &mut Gen) -> Args {
    vec![g.list_key(), g.list_key(), g.side(), g.side()]
}

pub fn lmpop(g: &mut Gen) -> Args {
    let keys: Args = (0..1 + g.below(3)).map(|_| g.list_key()).collect();
    let mut args = vec![keys.len().to_string().into_bytes()];
    if g.chance(5) {
        args[0] = g.word(&["0", "-1", "x", "9", "9223372036854775807"]);
    }
    args.extend(keys);
    args.push(g.side());
    if g.chance(50) {
        args.push(g.word(&["COUNT", "count", "COUNT", "nonsense"]));
        args.push(g.word(&["1", "2", "10", "1000", "0", "-1", "x"]));
    }
    args
}
