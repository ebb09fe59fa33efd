//! DUMP and RESTORE in the stream: payloads of every type, as redis-server 7.0 made them, and some
//! that nobody takes.

use std::sync::LazyLock;

use ringstone::base::crc::crc64_redis;

use super::commands::{R, Row, WT, X, row};
use super::generate::{Args, Gen};

/// The rows of this file.
pub static ROWS: &[Row] = &[
    row!("dump", 12, R, |g| vec![g.any_key()]),
    row!("restore", 15, WT, restore),
    row!("restore-asking", 4, WT, restore),
    row!("migrate", 2, X, migrate),
];

/// Only what is refused: there is nobody to send anything to. `dump::migrate` compares the rest.
fn migrate(g: &mut Gen) -> Args {
    let form = g.word(&[
        "127.0.0.1 1 k x 5",
        "127.0.0.1 1 k 0 x",
        "127.0.0.1 1 k 0 5 FOO",
        "127.0.0.1 1 k 0 5 AUTH",
        "127.0.0.1 1 k 0 5 COPY AUTH2 a",
        "127.0.0.1 1 k 0 5 replace KEYS a b",
        "127.0.0.1 1 k x x AUTH KEYS KEYS",
        "127.0.0.1 1 k 0",
    ]);
    form.split(|b| *b == b' ').map(<[u8]>::to_vec).collect()
}

/// What stands in front of the footer: seeds of the fuzzer, behind its own first byte.
static BODIES: &[&[u8]] = &[
    include_bytes!("../fuzz/seeds/value/str1"),
    include_bytes!("../fuzz/seeds/value/str3"),
    include_bytes!("../fuzz/seeds/value/str9"),
    include_bytes!("../fuzz/seeds/value/str11"),
    include_bytes!("../fuzz/seeds/value/list1"),
    include_bytes!("../fuzz/seeds/value/list5"),
    include_bytes!("../fuzz/seeds/value/list_long"),
    include_bytes!("../fuzz/seeds/value/ints5"),
    include_bytes!("../fuzz/seeds/value/set5"),
    include_bytes!("../fuzz/seeds/value/hash1"),
    include_bytes!("../fuzz/seeds/value/hash5"),
    include_bytes!("../fuzz/seeds/value/zset5"),
    include_bytes!("../fuzz/seeds/value/stream"),
    // A hash, a sorted set and a list as older servers wrote them, and a set.
    b"\0\x04\x02\x01a\x011\x01b\x012",
    b"\0\x03\x02\x01a\x031.5\x01b\xfe",
    b"\0\x01\x03\x01a\xc0\x05\x01b",
    b"\0\x02\x02\x01a\x01b",
];

/// What is no value.
static BROKEN: &[&[u8]] =
    &[b"\x02\0", b"\x06\x03abc", b"\xff\x03abc", b"\x12\x01\x03\x01a", b"\x02\x02\x01a\x01a"];

/// A body with a footer that is right.
fn footed(body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [body, &version.to_le_bytes()].concat();
    payload.extend_from_slice(&crc64_redis(&payload).to_le_bytes());
    payload
}

/// Payloads that are taken.
static PAYLOADS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| BODIES.iter().map(|seed| footed(&seed[1..], 10)).collect());

fn payload(g: &mut Gen) -> Vec<u8> {
    let which = g.below(PAYLOADS.len() as u64) as usize;
    let mut payload = PAYLOADS[which].clone();
    match g.below(40) {
        0 => {
            let last = payload.len() - 1;
            payload[last] ^= 1;
        }
        1 => payload.truncate(9),
        2 => payload = footed(&BODIES[which][1..], 200),
        3 => payload = footed(g.pick(BROKEN), 10),
        _ => {}
    }
    payload
}

fn restore(g: &mut Gen) -> Args {
    let absolute = g.chance(20);
    let ttl = match g.below(20) {
        0..14 => b"0".to_vec(),
        14..18 if absolute => g.absolute(true, true),
        14..18 => g.relative(true, false),
        _ => g.word(&["-1", "abc", "9223372036854775808", ""]),
    };
    let mut args = vec![g.any_key(), ttl, payload(g)];
    if g.chance(60) {
        args.push(g.word(&["REPLACE"]));
    }
    if absolute {
        args.push(g.word(&["ABSTTL"]));
    }
    if g.chance(10) {
        args.extend([g.word(&["IDLETIME"]), g.word(&["0", "100", "-1", "abc"])]);
    } else if g.chance(10) {
        args.extend([g.word(&["FREQ"]), g.word(&["0", "255", "256", "-1", "abc"])]);
    }
    if g.chance(3) {
        args.push(g.word(&["FOO", "IDLETIME", "FREQ"]));
    }
    args
}
