//! A snapshot shows one moment of all shards: whatever moves between keys on different shards while
//! it is taken is there once, and what moves in one transaction has moved wholly or not at all.
//!
//! What every moment shows, and every snapshot has to:
//!
//! - amounts that MULTI moves from one string to another keep their sum;
//! - amounts that MULTI moves between fields of large hashes keep theirs;
//! - elements that LMOVE moves between large lists, and members that SMOVE moves between large
//!   sets, are there once;
//! - both keys of a pair that MULTI renames stand in the same place, with what they held. One is a
//!   long string, the other a list.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{copied, options, until_saved};
use crate::support::{Client, Server, Value, number};

const ACCOUNTS: u64 = 400;
/// Lists, sets and hashes, of each.
const LARGE: u64 = 4;
const ELEMENTS: usize = 3_000;
/// Fields of each hash.
const FIELDS: u64 = 1_500;
const CLIENTS: u64 = 3;
/// Pairs of each client: nobody else moves them, so it knows where they are.
const PAIRS: u64 = 6;
const PLACES: u64 = 40;
/// Bytes of the long string of a pair; above what is handed out at once.
const LONG: usize = 80_000;

fn pair(owner: u64, number: u64, side: &str, place: u64) -> String {
    format!("pair:{owner}:{number}:{side}:{place}")
}

fn field(number: u64) -> String {
    format!("field:{number}:{}", "f".repeat(50))
}

/// Moves everything about until it is to stop; counts the rounds.
fn moving(port: u16, owner: u64, stop: &AtomicBool, rounds: &AtomicU64) {
    let mut client = Client::connect(port).expect("the server");
    let mut state = owner * 2 + 1;
    let mut roll = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut places = [0; PAIRS as usize];
    while !stop.load(Ordering::Relaxed) {
        let (from, to, amount) = (roll(ACCOUNTS), roll(ACCOUNTS), 1 + roll(50));
        let (one, other) = (roll(LARGE), roll(LARGE));
        let (less, more) = (field(roll(FIELDS)), field(roll(FIELDS)));
        let moved = roll(PAIRS);
        let place = &mut places[moved as usize];
        // To another place, always.
        let next = (*place + 1 + roll(PLACES - 1)) % PLACES;
        let rename = |side: &str| {
            let (from, to) = (pair(owner, moved, side, *place), pair(owner, moved, side, next));
            format!("RENAME {from} {to}")
        };
        let lines = [
            "MULTI".to_owned(),
            format!("DECRBY account:{from} {amount}"),
            format!("INCRBY account:{to} {amount}"),
            "EXEC".to_owned(),
            format!("LMOVE list:{one} list:{other} LEFT RIGHT"),
            format!("SMOVE set:{one} set:{other} member:{}", roll(ELEMENTS as u64)),
            "MULTI".to_owned(),
            format!("HINCRBY hash:{one} {less} -{amount}"),
            format!("LMOVE list:{other} list:{one} RIGHT LEFT"),
            format!("HINCRBY hash:{other} {more} {amount}"),
            "EXEC".to_owned(),
            "MULTI".to_owned(),
            rename("text"),
            rename("list"),
            "EXEC".to_owned(),
        ];
        *place = next;
        let batch: Vec<Vec<Vec<u8>>> = lines
            .iter()
            .map(|line| line.split(' ').map(|word| word.as_bytes().to_vec()).collect())
            .collect();
        for reply in client.pipeline(&batch) {
            let inner = reply.items().unwrap_or_default();
            assert!(!reply.is_error() && !inner.iter().any(Value::is_error), "{reply:?}");
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// What every moment shows.
#[derive(Debug, PartialEq, Eq)]
struct Sums {
    accounts: i64,
    elements: Vec<Vec<u8>>,
    members: Vec<Vec<u8>>,
    /// Fields of all hashes, and the sum of their amounts.
    fields: (usize, i64),
    /// What of each pair was found together, and holds what it should.
    pairs: usize,
}

fn whole_number(value: &Value) -> i64 {
    let text = std::str::from_utf8(value.text().expect("an amount")).expect("text");
    text.parse().expect("a number")
}

fn texts(value: &Value) -> impl Iterator<Item = Vec<u8>> {
    value.items().expect("many").iter().map(|item| item.text().expect("text").to_vec())
}

fn sums(client: &mut Client) -> Sums {
    let account = |n| vec![b"GET".to_vec(), format!("account:{n}").into_bytes()];
    let accounts = client.pipeline(&(0..ACCOUNTS).map(account).collect::<Vec<_>>());
    let accounts = accounts.iter().map(whole_number).sum();
    let (mut elements, mut members, mut fields) = (Vec::new(), Vec::new(), (0, 0));
    for n in 0..LARGE {
        elements.extend(texts(&client.words(&format!("LRANGE list:{n} 0 -1"))));
        members.extend(texts(&client.words(&format!("SMEMBERS set:{n}"))));
        let values = client.words(&format!("HVALS hash:{n}"));
        let values = values.items().expect("values");
        fields.0 += values.len();
        fields.1 += values.iter().map(whole_number).sum::<i64>();
    }
    elements.sort();
    members.sort();
    Sums { accounts, elements, members, fields, pairs: whole_pairs(client) }
}

/// Pairs of which both stand in the same place, once, and hold what they should.
fn whole_pairs(client: &mut Client) -> usize {
    let mut whole = 0;
    for (owner, n) in (1..=CLIENTS).flat_map(|owner| (0..PAIRS).map(move |n| (owner, n))) {
        let names: Vec<Vec<u8>> =
            texts(&client.words(&format!("KEYS pair:{owner}:{n}:*"))).collect();
        let stands = |place: &u64| {
            let here = ["text", "list"].map(|side| pair(owner, n, side, *place).into_bytes());
            names.len() == 2 && here.iter().all(|name| names.contains(name))
        };
        let Some(place) = (0..PLACES).find(stands) else { continue };
        let length = client.words(&format!("STRLEN {}", pair(owner, n, "text", place))).int();
        let list = client.words(&format!("LRANGE {} 0 -1", pair(owner, n, "list", place)));
        let same = texts(&list).all(|text| text == format!("{owner}:{n}").into_bytes());
        whole += usize::from(length == Some(LONG as i64 + n as i64) && same);
    }
    whole
}

fn fill(client: &mut Client) {
    let mut lines = Vec::new();
    lines.extend((0..ACCOUNTS).map(|n| format!("SET account:{n} 1000")));
    for n in 0..ELEMENTS {
        let at = n as u64 % LARGE;
        lines.push(format!("RPUSH list:{at} element:{n}:{}", "x".repeat(60)));
        lines.push(format!("SADD set:{at} member:{n}"));
    }
    for at in 0..LARGE {
        lines.extend((0..FIELDS).map(|n| format!("HSET hash:{at} {} 100", field(n))));
    }
    for (owner, n) in (1..=CLIENTS).flat_map(|owner| (0..PAIRS).map(move |n| (owner, n))) {
        let text = "t".repeat(LONG + n as usize);
        lines.push(format!("SET {} {text}", pair(owner, n, "text", 0)));
        lines.push(format!("RPUSH {0} {owner}:{n} {owner}:{n}", pair(owner, n, "list", 0)));
    }
    for line in lines {
        let reply = client.words(&line);
        assert!(!reply.is_error(), "{reply:?}");
    }
    assert!(!client.words("DEBUG POPULATE 100000 filler 100").is_error());
}

fn holds_one_moment(shards: usize) {
    let server = Server::start(options(shards));
    let mut client = server.client();
    fill(&mut client);
    let expected = sums(&mut client);
    assert_eq!(expected.accounts, ACCOUNTS as i64 * 1000);
    assert_eq!((expected.elements.len(), expected.members.len()), (ELEMENTS, ELEMENTS));
    assert_eq!(expected.fields, ((LARGE * FIELDS) as usize, (LARGE * FIELDS * 100) as i64));
    assert_eq!(expected.pairs as u64, CLIENTS * PAIRS);
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let (port, stop, rounds) = (server.port(), &stop, &rounds);
    let wanted = number("RINGSTONE_SNAPSHOTS", 3);
    let mut during = 0;
    std::thread::scope(|scope| {
        for owner in 1..=CLIENTS {
            scope.spawn(move || moving(port, owner, stop, rounds));
        }
        // Whatever fails here, the others stop.
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..wanted {
                let reply = client.words(if round % 3 == 2 { "SAVE" } else { "BGSAVE" });
                assert!(!reply.is_error(), "{reply:?}");
                let began = rounds.load(Ordering::Relaxed);
                until_saved(&mut client);
                during += rounds.load(Ordering::Relaxed) - began;
                let loaded = Server::start_in(copied(server.home().path()), options(1));
                let found = sums(&mut loaded.client());
                assert!(found == expected, "{shards} shards, snapshot {round}: {}", short(&found));
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(failed) = checked {
            std::panic::resume_unwind(failed);
        }
    });
    assert!(sums(&mut client) == expected, "after the snapshots");
    println!(
        "long form: {wanted} snapshots of {shards} shards held; {} rounds of moves, {during} of \
         them while a BGSAVE ran",
        rounds.load(Ordering::Relaxed)
    );
}

/// What was found, without the elements.
fn short(found: &Sums) -> String {
    let Sums { accounts, elements, members, fields, pairs } = found;
    let (elements, members) = (elements.len(), members.len());
    let rest = format!("fields {fields:?}, {pairs} pairs");
    format!("accounts {accounts}, {elements} elements, {members} members, {rest}")
}

#[test]
fn a_snapshot_is_one_moment_of_1_shard() {
    holds_one_moment(1);
}

#[test]
fn a_snapshot_is_one_moment_of_2_shards() {
    holds_one_moment(2);
}

#[test]
fn a_snapshot_is_one_moment_of_3_shards() {
    holds_one_moment(3);
}

#[test]
fn a_snapshot_is_one_moment_of_4_shards() {
    holds_one_moment(4);
}
