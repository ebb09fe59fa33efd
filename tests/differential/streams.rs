//! Arguments of the commands on streams.
//!
//! Ids mostly grow with the stream of requests, and are spelled out, or `ms-*`: what `*` becomes is
//! the clock's business. XREAD waits a millisecond at most. Idle times are 0 or far beyond any
//! pause, so that no claim depends on how fast the servers are. Requests with a time to wait or to
//! have been idle are sent as they are made: another number there would make them depend on it.

use super::commands::{R, Row, Trait, W, X, row};
use super::generate::{Args, Gen};

const WX: &[Trait] = &[Trait::Write, Trait::Exact];

/// The rows of these commands.
pub static ROWS: &[Row] = &[
    row!("xadd", 120, W, xadd),
    row!("xlen", 8, R, |g| vec![g.stream_key()]),
    row!("xrange", 20, R, |g| range(g, false)),
    row!("xrevrange", 20, R, |g| range(g, true)),
    row!("xdel", 20, W, xdel),
    row!("xtrim", 15, W, xtrim),
    row!("xsetid", 3, WX, xsetid),
    row!("xread", 20, X, |g| xread(g, false)),
    row!("xreadgroup", 60, W, |g| xread(g, true)),
    row!("xgroup", 25, W, xgroup),
    row!("xack", 20, W, xack),
    row!("xpending", 20, X, xpending),
    row!("xclaim", 20, WX, xclaim),
    row!("xautoclaim", 20, WX, xautoclaim),
    row!("xinfo", 20, R, xinfo),
];

/// Keys that mostly hold streams.
pub const STREAMS: [&[u8]; 4] = [b"x1", b"{t}x", b"{u}x", b"x2"];

fn words(list: &[&str]) -> Args {
    list.iter().map(|word| word.as_bytes().to_vec()).collect()
}

impl Gen {
    /// A key that mostly holds a stream.
    pub fn stream_key(&mut self) -> Vec<u8> {
        if self.chance(96) { self.pick(&STREAMS).to_vec() } else { self.key() }
    }

    /// An id that some stream may have.
    fn stream_id(&mut self) -> Vec<u8> {
        let ms = self.stamp.saturating_sub(self.below(60));
        match self.below(100) {
            0..60 => format!("{ms}-{}", self.below(3)).into(),
            60..75 => ms.to_string().into(),
            75..85 => format!("{}-0", self.below(self.stamp + 1)).into(),
            85..95 => b"0".to_vec(),
            _ => self.word(&[
                "0-0",
                "18446744073709551615-18446744073709551615",
                "1-2-3",
                "5--1",
                "-",
                "+",
                "x",
                "1-2-3",
                "007-1",
                " 5",
            ]),
        }
    }

    fn stream_ids(&mut self, most: u64) -> Args {
        (0..1 + self.below(most)).map(|_| self.stream_id()).collect()
    }

    fn group(&mut self) -> Vec<u8> {
        self.word(&["g1", "g1", "g1", "g1", "g1", "g1", "g2", "g2", "nogroup"])
    }

    fn consumer(&mut self) -> Vec<u8> {
        self.word(&["alice", "bob", "carol"])
    }

    fn small(&mut self) -> Vec<u8> {
        self.below(12).to_string().into()
    }

    fn trim_bound(&mut self) -> Args {
        let mut args = match self.below(10) {
            0..6 => words(&["MAXLEN"]),
            6..9 => words(&["MINID"]),
            _ => words(&["maxlen"]),
        };
        match self.below(3) {
            0 => args.push(b"~".to_vec()),
            1 => args.push(b"=".to_vec()),
            _ => {}
        }
        let of_ids = args[0] == b"MINID";
        args.push(match self.below(20) {
            0 => self.word(&["-1", "x", "0"]),
            _ if of_ids => self.stream_id(),
            _ => (self.below(400)).to_string().into(),
        });
        if self.chance(15) {
            args.push(b"LIMIT".to_vec());
            args.push(self.word(&["0", "50", "100", "1000", "-1", "x"]));
        }
        args
    }
}

fn xadd(g: &mut Gen) -> Args {
    let mut args = vec![g.stream_key()];
    if g.chance(10) {
        args.push(b"NOMKSTREAM".to_vec());
    }
    if g.chance(10) {
        args.extend(g.trim_bound());
    }
    g.stamp += g.below(3);
    let stamp = g.stamp;
    args.push(match g.below(100) {
        0..60 => format!("{stamp}-*").into(),
        60..85 => format!("{stamp}-{}", g.below(4)).into(),
        85..95 => stamp.to_string().into(),
        _ => g.stream_id(),
    });
    let pairs = if g.chance(3) { 20 } else { 1 + g.below(3) };
    let same = g.chance(70);
    for n in 0..pairs {
        args.push(if same { format!("f{n}").into() } else { g.value() });
        args.push(g.value());
    }
    if g.chance(2) {
        args.pop();
    }
    args
}

fn edge(g: &mut Gen, open: &str) -> Vec<u8> {
    match g.below(10) {
        0..5 => open.into(),
        5..8 => g.stream_id(),
        _ => [b"(".to_vec(), g.stream_id()].concat(),
    }
}

fn range(g: &mut Gen, backwards: bool) -> Args {
    let mut args = vec![g.stream_key()];
    let (first, last) = if backwards { ("+", "-") } else { ("-", "+") };
    args.extend([edge(g, first), edge(g, last)]);
    if g.chance(70) {
        args.extend([b"COUNT".to_vec(), g.small()]);
    }
    args
}

fn xdel(g: &mut Gen) -> Args {
    std::iter::once(g.stream_key()).chain(g.stream_ids(6)).collect()
}

fn xtrim(g: &mut Gen) -> Args {
    std::iter::once(g.stream_key()).chain(g.trim_bound()).collect()
}

fn xsetid(g: &mut Gen) -> Args {
    // 7.2 refuses an id in front of one that was deleted, which 7.0 takes; has a test.
    let id = match g.below(10) {
        0 => b"x".to_vec(),
        _ => (g.stamp + g.below(2)).to_string().into(),
    };
    let mut args = vec![g.stream_key(), id];
    if g.chance(50) {
        args.extend([b"ENTRIESADDED".to_vec(), g.below(500).to_string().into()]);
        args.extend([b"MAXDELETEDID".to_vec(), g.stream_id()]);
    }
    args
}

fn xread(g: &mut Gen, grouped: bool) -> Args {
    let mut args = Args::new();
    if grouped {
        args.extend([b"GROUP".to_vec(), g.group(), g.consumer()]);
    }
    if g.chance(80) {
        args.extend([b"COUNT".to_vec(), g.small()]);
    }
    if !grouped && g.chance(4) {
        args.extend([b"BLOCK".to_vec(), g.word(&["1", "1", "-1", "x"])]);
    }
    // Redis logs neither how often a consumer's own history was read, nor how many entries a group
    // has read in all, unless nothing becomes pending.
    let logged = grouped && g.is_for_the_log();
    if logged || g.chance(if grouped { 15 } else { 2 }) {
        args.push(b"NOACK".to_vec());
    }
    args.push(g.word(&["STREAMS", "STREAMS", "streams"]));
    let count = 1 + if g.chance(30) { g.below(3) } else { 0 };
    let keys: Args = (0..count).map(|_| g.stream_key()).collect();
    args.extend(keys);
    for _ in 0..count {
        let from = match (grouped, if logged { 0 } else { g.below(10) }) {
            (true, 0..7) | (false, 0) => b">".to_vec(),
            (false, 1) | (true, 7) => b"$".to_vec(),
            _ => g.stream_id(),
        };
        args.push(if from == b"+" { b"0".to_vec() } else { from });
    }
    if g.chance(2) {
        args.pop();
    }
    args
}

fn xgroup(g: &mut Gen) -> Args {
    let (key, group) = (g.stream_key(), g.group());
    match g.below(100) {
        0..50 => {
            let mut args = vec![b"CREATE".to_vec(), key, group];
            args.push(if g.chance(30) { b"$".to_vec() } else { g.stream_id() });
            if g.chance(30) {
                args.push(b"MKSTREAM".to_vec());
            }
            if g.chance(20) {
                args.extend([b"ENTRIESREAD".to_vec(), g.word(&["0", "5", "-1", "-2", "x"])]);
            }
            args
        }
        50..65 => {
            let mut args = vec![b"SETID".to_vec(), key, group];
            args.push(if g.chance(30) { b"$".to_vec() } else { g.stream_id() });
            if g.chance(30) {
                args.extend([b"ENTRIESREAD".to_vec(), g.word(&["0", "5", "-1", "-2", "x"])]);
            }
            args
        }
        65..72 => vec![b"DESTROY".to_vec(), key, group],
        72..85 => vec![b"CREATECONSUMER".to_vec(), key, group, g.consumer()],
        85..95 => vec![b"DELCONSUMER".to_vec(), key, group, g.consumer()],
        95..98 => words(&["HELP"]),
        _ => vec![g.word(&["CREATE", "SETID", "nonsense", "DESTROY"]), key],
    }
}

fn xack(g: &mut Gen) -> Args {
    [vec![g.stream_key(), g.group()], g.stream_ids(5)].concat()
}

fn xpending(g: &mut Gen) -> Args {
    let mut args = vec![g.stream_key(), g.group()];
    if g.chance(70) {
        if g.chance(30) {
            args.extend([b"IDLE".to_vec(), g.word(&["0", "500000000", "x"])]);
        }
        args.extend([edge(g, "-"), edge(g, "+"), g.small()]);
        if g.chance(40) {
            args.push(g.consumer());
        }
    }
    args
}

fn xclaim(g: &mut Gen) -> Args {
    let mut args = vec![g.stream_key(), g.group(), g.consumer()];
    args.push(g.word(&["0", "0", "0", "500000000", "-1", "x"]));
    args.extend(g.stream_ids(6));
    for _ in 0..g.below(3) {
        match g.below(7) {
            0 => args.extend([b"IDLE".to_vec(), g.word(&["0", "1000000000", "x"])]),
            1 => args.extend([b"TIME".to_vec(), g.word(&["5", "9999999999999", "-1", "x"])]),
            2 => args.extend([b"RETRYCOUNT".to_vec(), g.word(&["0", "7", "-1", "x"])]),
            3 => args.push(b"JUSTID".to_vec()),
            4 => args.extend([b"LASTID".to_vec(), g.stream_id()]),
            5 => args.push(b"nonsense".to_vec()),
            _ => args.push(b"FORCE".to_vec()),
        }
    }
    args
}

fn xautoclaim(g: &mut Gen) -> Args {
    let mut args = vec![g.stream_key(), g.group(), g.consumer()];
    args.push(g.word(&["0", "0", "0", "500000000", "-1", "x"]));
    args.push(edge(g, "-"));
    if g.chance(50) {
        args.extend([b"COUNT".to_vec(), g.word(&["1", "3", "10", "0", "x"])]);
    }
    if g.chance(30) {
        args.push(b"JUSTID".to_vec());
    }
    args
}

fn xinfo(g: &mut Gen) -> Args {
    let key = g.stream_key();
    match g.below(100) {
        0..40 => vec![b"STREAM".to_vec(), key],
        40..60 => vec![b"STREAM".to_vec(), key, b"FULL".to_vec()],
        60..70 => vec![b"STREAM".to_vec(), key, b"FULL".to_vec(), b"COUNT".to_vec(), g.small()],
        70..85 => vec![b"GROUPS".to_vec(), key],
        85..94 => vec![b"CONSUMERS".to_vec(), key, g.group()],
        94..97 => words(&["HELP"]),
        _ => vec![g.word(&["STREAM", "nonsense", "GROUPS"])],
    }
}
