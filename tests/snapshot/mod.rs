//! Snapshots: SAVE and BGSAVE are loaded by redis-server and by ourselves, hold one moment of all
//! shards while everything changes, and leave the old file alone when they fail.

mod control;
pub mod crash;
mod moments;
mod points;
mod rewrite;

use std::path::Path;

use crate::interop::fill;
use crate::support::data;
use crate::support::server::{Home, fresh_home};
use crate::support::{Client, Options, Server, Value};

fn options(shards: usize) -> Options {
    // For DEBUG POPULATE and DIGEST, which answer with an error otherwise.
    let options = Options::shards(shards).with("enable-debug-command", "yes");
    Options { appendonly: false, ..options }
}

/// A field of INFO persistence.
fn told(client: &mut Client, field: &str) -> String {
    let info = client.words("INFO persistence");
    let text = String::from_utf8_lossy(info.text().expect("text")).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

fn until_saved(client: &mut Client) {
    while told(client, "rdb_bgsave_in_progress") == "1" {
        std::thread::yield_now();
    }
    assert_eq!(told(client, "rdb_last_bgsave_status"), "ok");
}

/// A copy of a snapshot in a directory of its own.
fn copied(from: &Path) -> Home {
    let home = fresh_home();
    std::fs::copy(from.join("dump.rdb"), home.path().join("dump.rdb")).expect("a snapshot");
    home
}

/// Collections that are handed out in slices, and one that takes several chunks.
fn enlarge(client: &mut Client) {
    for n in 0..40 {
        let numbers = |text: &str| -> Vec<String> {
            (n * 500..n * 500 + 500).map(|i| format!("{text}:{i}")).collect()
        };
        let mut call = |name: &str, key: &str, rest: Vec<String>| {
            let mut words = vec![name.to_owned(), key.to_owned()];
            words.extend(rest);
            let reply = client.call(&words);
            assert!(!reply.is_error(), "{reply:?}");
        };
        call("SADD", "large:set", numbers("member"));
        call("RPUSH", "large:list", numbers("element"));
        let pairs = |text| numbers(text).into_iter().enumerate();
        let hash = pairs("field").flat_map(|(i, name)| [name, "value ".repeat(i % 40)]);
        call("HSET", "large:hash", hash.collect());
        let zset = pairs("name").flat_map(|(i, name)| [format!("{}.5", i * 7 % 100), name]);
        call("ZADD", "large:zset", zset.collect());
        call(
            "XADD",
            "large:stream",
            vec![format!("{}-1", n + 1), "field".into(), "x".repeat(5000)],
        );
    }
    client.call(&[b"SETRANGE".as_slice(), b"large:text", b"3000000", b"end"]);
}

fn loads_elsewhere(shards: usize, more: &[(&str, &str)]) {
    let with = |options: Options| {
        more.iter().fold(options, |options, (name, value)| options.with(name, value))
    };
    let server = Server::start(with(options(shards)));
    fill(&server, 800 + shards as u64);
    let mut client = server.client();
    enlarge(&mut client);
    let ours = data::read(&mut client);
    assert_eq!(client.words("SAVE"), Value::Simple(b"OK".into()));
    assert_eq!(told(&mut client, "rdb_changes_since_last_save"), "0");
    let what = format!("a snapshot of {shards} shards, {more:?}");
    let home = copied(server.home().path());
    if let Some(peer) = Server::peer_in(home, options(1), &what) {
        data::assert_same(&ours, &data::read(&mut peer.client()), 0, false, &what);
        let digest = client.words("DEBUG DIGEST");
        assert!(!digest.is_error(), "{digest:?}");
        assert_eq!(peer.client().words("DEBUG DIGEST"), digest, "{what}");
    }
    let again = Server::start_in(copied(server.home().path()), with(options(5 - shards)));
    data::assert_same(&ours, &data::read(&mut again.client()), 0, false, &what);
}

#[test]
fn a_snapshot_of_1_shard_loads_elsewhere() {
    loads_elsewhere(1, &[]);
}

#[test]
fn a_snapshot_of_2_shards_loads_elsewhere() {
    loads_elsewhere(2, &[("rdbcompression", "no"), ("rdbchecksum", "no")]);
}

#[test]
fn a_snapshot_of_4_shards_loads_elsewhere() {
    loads_elsewhere(4, &[]);
}

/// Values of many pieces that go from shard to shard while they are written.
#[test]
fn long_values_that_move_are_written_whole() {
    let server = Server::start(options(3).with("rdbcompression", "no"));
    let mut client = server.client();
    let names = ["{a}", "{b}", "{c}", "{d}", "{e}"];
    let mut at = [0, 1, 2];
    for (value, place) in at.iter().enumerate() {
        for n in 0..400 {
            let batch: Vec<String> =
                (0..25).map(|i| format!("{value}:{}:{}", n * 25 + i, "x".repeat(500))).collect();
            let mut words = vec!["RPUSH".to_owned(), names[*place].to_owned()];
            words.extend(batch);
            client.call(&words);
        }
    }
    assert!(!client.words("DEBUG POPULATE 50000 filler 100").is_error());
    for round in 0..4 {
        assert!(!client.words("BGSAVE").is_error());
        let mut moves = round;
        while told(&mut client, "rdb_bgsave_in_progress") == "1" {
            // To where none of them is.
            let free = (0..names.len()).find(|n| !at.contains(n)).expect("a free name");
            let value = moves % at.len();
            client.words(&format!("RENAME {} {}", names[at[value]], names[free]));
            at[value] = free;
            moves += 1;
        }
        assert_eq!(told(&mut client, "rdb_last_bgsave_status"), "ok");
        let loaded = Server::start_in(copied(server.home().path()), options(1));
        let mut loaded = loaded.client();
        let lengths = names.iter().map(|name| loaded.words(&format!("LLEN {name}")).int());
        assert_eq!(lengths.map(|n| n.expect("a length")).sum::<i64>(), 30_000, "round {round}");
    }
}

#[test]
fn one_that_fails_leaves_the_old_file() {
    let server = Server::start(options(2));
    let mut client = server.client();
    client.words("SET a 1");
    assert_eq!(client.words("SAVE"), Value::Simple(b"OK".into()));
    let home = server.home();
    let (path, old) = (home.path(), std::fs::read(home.path().join("dump.rdb")).expect("a file"));
    // A directory stands where the temporary file would.
    let blocked = path.join(format!("temp-{}.rdb", server.pid()));
    std::fs::create_dir(&blocked).expect("a directory");
    client.words("SET b 2");
    assert!(client.words("SAVE").is_error());
    // As in Redis: of this one its client was told.
    assert_eq!(told(&mut client, "rdb_last_bgsave_status"), "ok");
    assert_eq!(told(&mut client, "rdb_changes_since_last_save"), "1");
    client.words("BGSAVE");
    while told(&mut client, "rdb_bgsave_in_progress") == "1" {
        std::thread::yield_now();
    }
    assert_eq!(told(&mut client, "rdb_last_bgsave_status"), "err");
    assert_eq!(std::fs::read(path.join("dump.rdb")).expect("a file"), old);
    std::fs::remove_dir(&blocked).expect("the directory");
    assert_eq!(client.words("SAVE"), Value::Simple(b"OK".into()));
    assert_eq!(told(&mut client, "rdb_last_bgsave_status"), "ok");
    let again = Server::start_in(copied(path), options(1));
    assert_eq!(again.client().words("GET b"), Value::Bulk(b"2".into()));
}

#[test]
fn commands_answer_as_those_of_redis_do() {
    let server = Server::start(options(1));
    let mut client = server.client();
    let before = client.words("LASTSAVE").int().expect("a time");
    assert_eq!(client.words("BGSAVE"), Value::Simple(b"Background saving started".into()));
    until_saved(&mut client);
    assert!(client.words("LASTSAVE").int().expect("a time") >= before);
    assert_eq!(client.words("BGSAVE SCHEDULE"), Value::Simple(b"Background saving started".into()));
    until_saved(&mut client);
    assert!(client.words("BGSAVE NOW").is_error());
    let twice = [vec![b"SAVE".to_vec()], vec![b"SAVE".to_vec()]];
    for reply in client.pipeline(&twice) {
        assert_eq!(reply, Value::Simple(b"OK".into()));
    }
    for line in ["MULTI", "BGSAVE", "SET k v"] {
        client.words(line);
    }
    let replies = client.words("EXEC");
    assert_eq!(replies.items().map(<[Value]>::len), Some(2), "{replies:?}");
    until_saved(&mut client);
    assert_eq!(told(&mut client, "rdb_saves"), "5");
}
