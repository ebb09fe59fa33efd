//! Arguments of the commands that may wait. Most meet a key with something in it; those that do
//! not wait a thousandth of a second in vain, since one request at a time is under way.

use super::commands::{Row, Trait, row};
use super::generate::{Args, Gen};

const WX: &[Trait] = &[Trait::Write, Trait::Timed, Trait::Exact];

/// The rows of these commands.
pub static ROWS: &[Row] = &[
    row!("blpop", 10, WX, |g| one_of(g, Gen::list_key)),
    row!("brpop", 10, WX, |g| one_of(g, Gen::list_key)),
    row!("blmove", 10, WX, blmove),
    row!("brpoplpush", 8, WX, |g| vec![g.list_key(), g.list_key(), time(g)]),
    row!("blmpop", 8, WX, |g| many(g, Gen::list_key, &["LEFT", "RIGHT", "left", "x"])),
    row!("bzpopmin", 8, WX, |g| one_of(g, Gen::zset_key)),
    row!("bzpopmax", 8, WX, |g| one_of(g, Gen::zset_key)),
    row!("bzmpop", 8, WX, |g| many(g, Gen::zset_key, &["MIN", "MAX", "min", "x"])),
];

fn time(g: &mut Gen) -> Vec<u8> {
    g.word(&["0.001", "0.001", "0.001", "1e-3", "-1", "x", "nan", "0.0001"])
}

fn keys(g: &mut Gen, key: fn(&mut Gen) -> Vec<u8>) -> Args {
    (0..1 + g.below(3)).map(|_| key(g)).collect()
}

fn one_of(g: &mut Gen, key: fn(&mut Gen) -> Vec<u8>) -> Args {
    let mut args = keys(g, key);
    args.push(time(g));
    args
}

fn blmove(g: &mut Gen) -> Args {
    let end = |g: &mut Gen| g.word(&["LEFT", "RIGHT", "left", "right", "x"]);
    vec![g.list_key(), g.list_key(), end(g), end(g), time(g)]
}

fn many(g: &mut Gen, key: fn(&mut Gen) -> Vec<u8>, ends: &[&str]) -> Args {
    let keys = keys(g, key);
    let count = if g.chance(5) { g.below(5) as usize } else { keys.len() };
    let mut args = vec![time(g), count.to_string().into_bytes()];
    args.extend(keys);
    args.push(g.word(ends));
    if g.chance(50) {
        args.push(b"COUNT".to_vec());
        args.push(g.word(&["1", "2", "10", "0", "x"]));
    }
    args
}
