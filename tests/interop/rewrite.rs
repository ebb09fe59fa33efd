//! Directories behind a rewrite: stock redis-server loads them, and we rewrite what it wrote.

use super::fill;
use crate::support::data;
use crate::support::server::{copy_home, fresh_home, judged_by_peer};
use crate::support::{Client, Options, Server, Value};

fn options(shards: usize, rdb: bool) -> Options {
    let options = Options { fsync: "everysec", ..Options::shards(shards) };
    let options = options.with("enable-debug-command", "yes");
    options.with("aof-use-rdb-preamble", if rdb { "yes" } else { "no" })
}

/// A field of INFO persistence.
pub fn told(client: &mut Client, field: &str) -> String {
    let info = client.words("INFO persistence");
    let text = String::from_utf8_lossy(info.text().expect("text")).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

/// Rewrites the log and waits for the end of it.
pub fn rewrite(client: &mut Client) {
    let started = Value::Simple(b"Background append only file rewriting started".into());
    assert_eq!(client.words("BGREWRITEAOF"), started);
    until_rewritten(client);
    assert_eq!(told(client, "aof_last_bgrewrite_status"), "ok");
}

pub fn until_rewritten(client: &mut Client) {
    // In this order: what was scheduled goes on before it is no longer scheduled.
    let busy = |client: &mut Client| {
        ["aof_rewrite_scheduled", "aof_rewrite_in_progress"].iter().any(|f| told(client, f) == "1")
    };
    while busy(client) {
        std::thread::yield_now();
    }
}

fn large(client: &mut Client, from: u64) {
    for n in from..from + 20 {
        let numbers = |text: &'static str| (0..500).map(move |i| format!("{text}:{}", n * 500 + i));
        let mut call = |name: &str, key: &str, rest: Vec<String>| {
            let words = [vec![name.to_owned(), key.to_owned()], rest].concat();
            let reply = client.call(&words);
            assert!(!reply.is_error(), "{reply:?}");
        };
        call("SADD", "large:set", numbers("member").collect());
        call("RPUSH", "large:list", numbers("element").collect());
        let pairs = numbers("field").enumerate();
        call("HSET", "large:hash", pairs.flat_map(|(i, f)| [f, "v".repeat(i % 40)]).collect());
        let pairs = numbers("name").enumerate();
        call("ZADD", "large:zset", pairs.flat_map(|(i, m)| [format!("{i}.5"), m]).collect());
        call("XADD", "large:stream", vec![format!("{}-1", n + 1), "f".into(), "x".repeat(3000)]);
    }
    client.call(&[b"SETRANGE".as_slice(), b"large:text", b"3000000", b"end"]);
}

fn loads_in_redis(shards: usize, rdb: bool) {
    let what = format!("a rewritten directory of {shards} shards, RDB: {rdb}");
    let server = Server::start(options(shards, rdb));
    fill(&server, 500 + shards as u64);
    let mut client = server.client();
    large(&mut client, 0);
    rewrite(&mut client);
    // Behind the base: generations, and what stands between them.
    for n in 0..50 {
        client.words(&format!("MSET a{n} 1 b{n} 2 c{n} 3"));
        client.words(&format!("INCRBY from:{n} {n}"));
    }
    let lines = ["SELECT 7", "MSET x 1 y 2", "SWAPDB 7 8", "SET z 3", "SELECT 6", "SET gone 1"];
    for line in lines.iter().chain(&["FLUSHDB", "SET here 1", "SELECT 0", "RENAME a1 {b}moved"]) {
        let reply = client.words(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    large(&mut client, 20);
    let ours = data::read(&mut client);
    let digest = client.words("DEBUG DIGEST");
    assert!(!digest.is_error(), "{digest:?}");
    drop(client);
    let stopped = server.stop();
    let log = stopped.path().join("appendonlydir");
    let names = std::fs::read_dir(&log).unwrap().map(|e| e.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    let ending = if rdb { ".base.rdb" } else { ".base.aof" };
    assert_eq!(names.iter().filter(|name| name.ends_with(ending)).count(), 1, "{names:?}");
    let copy = copy_home(stopped.path());
    if let Some(peer) = Server::peer_in(copy, options(1, true), &what) {
        data::assert_same(&ours, &data::read(&mut peer.client()), 0, false, &what);
        assert_eq!(peer.client().words("DEBUG DIGEST"), digest, "{what}");
    }
    // Other numbers of shards, and again with the other form of base.
    let next = options(5 - shards, !rdb);
    let again = stopped.restart_with(next);
    let mut client = again.client();
    data::assert_same(&ours, &data::read(&mut client), 0, false, &what);
    rewrite(&mut client);
    assert_eq!(client.words("DEBUG DIGEST"), digest, "{what}");
    drop(client);
    let again = again.kill().restart();
    assert_eq!(again.client().words("DEBUG DIGEST"), digest, "{what}");
}

#[test]
fn redis_loads_what_1_shard_has_rewritten() {
    loads_in_redis(1, true);
}

#[test]
fn redis_loads_what_4_shards_have_rewritten() {
    loads_in_redis(4, true);
}

#[test]
fn redis_loads_what_2_shards_have_rewritten_as_commands() {
    loads_in_redis(2, false);
}

#[test]
fn a_directory_of_redis_is_rewritten() {
    if judged_by_peer() {
        return;
    }
    for rdb in [true, false] {
        let what = format!("a directory of redis-server, RDB: {rdb}");
        let Some(peer) = Server::peer_in(fresh_home(), options(1, rdb), &what) else { return };
        fill(&peer, 700);
        // A base of its own, and an incr behind it.
        rewrite(&mut peer.client());
        let theirs = fill(&peer, 701);
        let stopped = peer.stop();
        let server = Server::start_in(copy_home(stopped.path()), options(2, rdb));
        data::assert_same(&theirs, &data::read(&mut server.client()), 0, false, &what);
        rewrite(&mut server.client());
        let ours = fill(&server, 702);
        let digest = server.client().words("DEBUG DIGEST");
        let stopped = server.stop();
        let Some(peer) = Server::peer_in(copy_home(stopped.path()), options(1, rdb), &what) else {
            return;
        };
        data::assert_same(&ours, &data::read(&mut peer.client()), 0, false, &what);
        assert_eq!(peer.client().words("DEBUG DIGEST"), digest, "{what}");
    }
}
