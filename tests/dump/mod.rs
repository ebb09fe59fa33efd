//! Values carried between redis-server and the server under test, both ways, and whole files made
//! in memory that redis-server loads. Digests say whether a value is the same.

mod migrate;
mod reload;
mod uses;

use std::process::Command;

use ringstone::keyspace::{Entry, NewValue};
use ringstone::persist::payload::restore;
use ringstone::persist::rdb::encode::Encoder;
use ringstone::value::shapes::Shapes;

use crate::support::server::fresh_home;
use crate::support::{Client, Options, Server, Value, peer, show};

/// Types of values: a set member by member, a packed sorted set.
const SET: u8 = 2;
const PACKED_ZSET: u8 = 17;

/// Deterministic noise.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        self.0 >> 16
    }

    fn text(&mut self, most: u64) -> Vec<u8> {
        let len = self.next() % most;
        match self.next() % 4 {
            0 => (self.next() as i64 >> (self.next() % 48)).to_string().into_bytes(),
            1 => (0..len).map(|_| self.next() as u8).collect(),
            2 => b"name=value; ".iter().cycle().take(len as usize).copied().collect(),
            _ => (0..len).map(|_| b'a' + (self.next() % 26) as u8).collect(),
        }
    }
}

/// What a key is called and the commands that make it, of every type, form and size.
fn contents() -> Vec<(String, Vec<Vec<Vec<u8>>>)> {
    let mut noise = Noise(7);
    let mut all: Vec<(String, Vec<Vec<Vec<u8>>>)> = Vec::new();
    let mut one = |key: String, name: &str, words: Vec<Vec<u8>>| {
        let head = [name.as_bytes().to_vec(), key.clone().into_bytes()];
        // Not too long a request.
        let rows = words.chunks(200).map(|some| [&head[..], some].concat()).collect();
        all.push((key, rows));
    };
    let integers =
        ["0", "-128", "128", "-32769", "2147483647", "2147483648", "-9223372036854775808"];
    for text in integers.into_iter().chain(["", "007", "abc"]) {
        one(format!("string:{text}"), "SET", vec![text.into()]);
    }
    for len in [20, 21, 100, 5000, 100_000] {
        one(format!("repeated:{len}"), "SET", vec![vec![b'x'; len]]);
        let random = (0..len).map(|_| noise.next() as u8).collect();
        one(format!("random:{len}"), "SET", vec![random]);
        let words = b"{\"id\":12345,\"name\":\"somebody\"}".iter().cycle().take(len).copied();
        one(format!("words:{len}"), "SET", vec![words.collect()]);
    }
    for count in [1_u64, 3, 64, 128, 129, 512, 600, 5000] {
        let texts: Vec<Vec<u8>> = (0..count).map(|_| noise.text(40)).collect();
        let number = |n: u64| n.to_string().into_bytes();
        one(format!("list:{count}"), "RPUSH", texts.clone());
        one(format!("set:{count}"), "SADD", texts.clone());
        let bits = noise.next() % 40 + 8;
        let ints = (0..count).map(|_| number(noise.next() >> (48 - bits.min(47)))).collect();
        one(format!("ints:{count}"), "SADD", ints);
        let pair = |(n, text): (usize, &Vec<u8>)| [number(n as u64 * 77), text.clone()];
        one(format!("hash:{count}"), "HSET", texts.iter().enumerate().flat_map(pair).collect());
        let scored = |(n, text): (usize, &Vec<u8>)| {
            let score = match n % 5 {
                0 => "inf".to_owned(),
                1 => "-inf".to_owned(),
                2 => format!("{}", n as f64 / 7.0),
                _ => format!("{}", n as i64 - 9),
            };
            [score.into_bytes(), text.clone()]
        };
        one(format!("zset:{count}"), "ZADD", texts.iter().enumerate().flat_map(scored).collect());
    }
    one("list:long".into(), "RPUSH", vec![vec![b'y'; 9000], b"z".to_vec(), vec![b'w'; 20_000]]);
    all.push(("stream".into(), stream(&mut noise)));
    all.push((
        "stream:empty".into(),
        vec![
            words("XADD stream:empty 5-1 a b"),
            words("XGROUP CREATE stream:empty g $ ENTRIESREAD 1"),
            words("XDEL stream:empty 5-1"),
        ],
    ));
    all
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn stream(noise: &mut Noise) -> Vec<Vec<Vec<u8>>> {
    let mut rows: Vec<Vec<Vec<u8>>> = Vec::new();
    for n in 0..700 {
        let mut row = words(&format!("XADD stream {}-{n} same", 1000 + n / 3));
        row.push(noise.text(30));
        if n % 7 == 0 {
            row.extend([noise.text(10), noise.text(300)]);
        }
        rows.push(row);
    }
    for line in [
        "XDEL stream 1001-3 1002-8 1200-600",
        "XGROUP CREATE stream g 0",
        "XGROUP CREATE stream h 1100-300",
        "XGROUP CREATE stream last $",
        "XGROUP CREATECONSUMER stream g nobody",
        "XREADGROUP GROUP g one COUNT 90 STREAMS stream >",
        "XREADGROUP GROUP g another COUNT 9 STREAMS stream >",
        "XREADGROUP GROUP h one COUNT 3 STREAMS stream >",
        "XACK stream g 1003-9 1004-12",
        "XDEL stream 1005-15",
    ] {
        rows.push(words(line));
    }
    rows
}

fn options() -> Options {
    Options::default().with("enable-debug-command", "yes")
}

fn bulk(value: &Value) -> Vec<u8> {
    value.text().unwrap_or_else(|| panic!("{value:?}")).to_vec()
}

fn digest(client: &mut Client, key: &str) -> Value {
    client.call(&["DEBUG", "DIGEST-VALUE", key])
}

fn fill(client: &mut Client) {
    for (_, rows) in contents() {
        for row in rows {
            let reply = client.call(&row);
            assert!(!reply.is_error(), "{}: {reply:?}", show(&row[1]));
        }
    }
}

/// `XINFO STREAM key FULL` but for what 7.0 does not tell.
fn groups(client: &mut Client, key: &str) -> Vec<Value> {
    let pending =
        |client: &mut Client, group: &str| client.call(&["XPENDING", key, group, "-", "+", "1000"]);
    let mut told = vec![client.call(&["XLEN", key])];
    for group in ["g", "h"] {
        // Milliseconds since a delivery go on.
        let Value::Array(rows) = pending(client, group) else { continue };
        told.extend(
            rows.iter()
                .filter_map(Value::items)
                .map(|row| Value::Array(vec![row[0].clone(), row[1].clone(), row[3].clone()])),
        );
    }
    told
}

/// Whether DUMP promises these very bytes: neither a table's order nor the spelling of doubles in
/// packed sorted sets is anybody's promise, and each server cuts long lists where it likes.
fn is_exact(key: &str, encoding: &Value, kind: u8) -> bool {
    let text = bulk(encoding);
    let exact = [&b"int"[..], b"embstr", b"raw", b"intset", b"listpack", b"skiplist", b"stream"];
    exact.contains(&&text[..]) && key != "list:long" && ![SET, PACKED_ZSET].contains(&kind)
}

#[test]
fn values_are_carried_both_ways() {
    let what = "DUMP and RESTORE with redis-server";
    for compress in ["no", "yes"] {
        let Some(theirs) = Server::peer(options().with("rdbcompression", compress), what) else {
            return;
        };
        let ours =
            Server::start(Options { shards: 2, ..options().with("rdbcompression", compress) });
        let (mut peer, mut own) = (theirs.client(), ours.client());
        fill(&mut peer);
        let (mut exact, mut all) = (0, 0);
        for (key, _) in contents() {
            let dump = bulk(&peer.call(&["DUMP", &key]));
            let here = format!("carried:{key}");
            let restore = [b"RESTORE".as_slice(), here.as_bytes(), b"0", &dump];
            assert_eq!(own.call(&restore), Value::Simple(b"OK".into()), "{key}");
            assert_eq!(digest(&mut peer, &key), digest(&mut own, &here), "{key}");
            let encoding = own.call(&["OBJECT", "ENCODING", &here]);
            let back = bulk(&own.call(&["DUMP", &here]));
            let kind = bulk(&own.call(&["TYPE", &here]));
            if compress == "no" && is_exact(&key, &encoding, dump[0]) {
                assert!(back == dump, "{key}: {} is not {}", show(&back), show(&dump));
                exact += 1;
            }
            let again = [b"RESTORE".as_slice(), here.as_bytes(), b"0", &back, b"REPLACE"];
            assert_eq!(peer.call(&again), Value::Simple(b"OK".into()), "{key}");
            assert_eq!(digest(&mut peer, &key), digest(&mut peer, &here), "{key} back");
            if kind == b"stream" {
                let first = groups(&mut peer, &key);
                assert_eq!(first, groups(&mut own, &here), "{key}");
                assert_eq!(first, groups(&mut peer, &here), "{key} back");
            }
            all += 1;
        }
        assert!(compress == "yes" || exact * 2 > all, "{exact} of {all}");
        // And behind a restart, as the log has them.
        let again = ours.kill().restart();
        let mut own = again.client();
        for (key, _) in contents() {
            let here = format!("carried:{key}");
            assert_eq!(digest(&mut peer, &key), digest(&mut own, &here), "{key} again");
        }
    }
}

/// When the n-th key ends, in Unix milliseconds.
fn expiry(n: usize) -> Option<i64> {
    (n % 3 == 1).then_some(4_102_444_800_000 + n as i64)
}

/// A file of what the peer has, made in memory, loaded by a second peer.
fn loads(version: u32, compress: bool, checksum: bool) {
    let what = "a file made in memory in redis-server";
    let Some(theirs) = Server::peer(options(), what) else { return };
    let mut peer = theirs.client();
    fill(&mut peer);
    for (n, (key, _)) in contents().iter().enumerate() {
        if let Some(at) = expiry(n) {
            peer.call(&["PEXPIREAT", key, &at.to_string()]);
        }
    }
    let bounds = ringstone::command::dump::Bounds {
        string_max: 1 << 29,
        shapes: Shapes::DEFAULT,
        hash_seed: [5, 6],
        checked: true,
    };
    let mut encoder = Encoder::new(version, compress);
    let mut file = Vec::new();
    encoder.header(&mut file);
    encoder.about(&mut file, 1_700_000_000, 1 << 20, false);
    for db in [0_usize, 9, 15] {
        encoder.select(&mut file, db);
        encoder.sizes(&mut file, contents().len() as u64, 1);
        assert_eq!(peer.words(&format!("SELECT {db}")), Value::Simple(b"OK".into()));
        for (n, (key, _)) in contents().iter().enumerate() {
            peer.words("SELECT 0");
            let dump = bulk(&peer.call(&["DUMP", key]));
            let entry = restore(key.as_bytes(), &dump, &bounds).expect("a payload of redis-server");
            if Encoder::least_version(entry.value()) <= version {
                encoder.entry(&mut file, &entry.with_expire(expiry(n))).expect("it can be held");
            }
        }
        let binary: Vec<u8> = (0..=255).collect();
        let entry = Entry::new(&binary, NewValue::Int(db as i64), None);
        encoder.entry(&mut file, &entry).expect("a string");
    }
    encoder.end_whole(&mut file, checksum);
    let home = fresh_home();
    let path = home.path().join("dump.rdb");
    std::fs::write(&path, &file).expect("write the file");
    let check = peer::program("redis-check-rdb", what).expect("redis-check-rdb");
    let checked = Command::new(check).arg(&path).output().expect("redis-check-rdb");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let without_log = Options { appendonly: false, ..options() };
    let Some(second) = Server::peer_in(home, without_log, what) else { return };
    let mut second = second.client();
    for db in [0, 9, 15] {
        assert_eq!(second.words(&format!("SELECT {db}")), Value::Simple(b"OK".into()));
        for (n, (key, _)) in contents().iter().enumerate() {
            if version < 9 && key.starts_with("stream") {
                continue;
            }
            assert_eq!(digest(&mut peer, key), digest(&mut second, key), "{key} in {db}");
            let at = second.call(&["PEXPIRETIME", key]).int();
            assert_eq!(at, Some(expiry(n).unwrap_or(-1)), "{key}");
        }
    }
    peer.words("SELECT 0");
    if version >= 10 {
        assert_eq!(groups(&mut peer, "stream"), groups(&mut second, "stream"));
    }
}

#[test]
fn redis_loads_a_file_of_version_10() {
    loads(10, true, true);
}

#[test]
fn redis_loads_one_without_compression_and_checksum() {
    loads(10, false, false);
}

#[test]
fn redis_loads_files_of_older_versions() {
    for version in 6..10 {
        loads(version, true, true);
    }
}
