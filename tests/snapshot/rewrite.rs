//! BGREWRITEAOF beside snapshots, in transactions and without a log; and rewrites by themselves.

use std::sync::Arc;

use super::{options, told, until_saved};
use crate::interop::rewrite::{rewrite, until_rewritten};
use crate::support::server::fresh_home;
use crate::support::{Client, Options, Server, Value};

const STARTED: &str = "Background append only file rewriting started";
const SCHEDULED: &str = "Background append only file rewriting scheduled";

fn logged(shards: usize) -> Options {
    Options { appendonly: true, fsync: "everysec", ..options(shards) }
}

fn said(client: &mut Client, words: &str) -> String {
    match client.words(words) {
        Value::Simple(text) => String::from_utf8(text).unwrap(),
        Value::Error(text) => String::from_utf8(text).unwrap(),
        other => panic!("{words}: {other:?}"),
    }
}

/// Nothing that walks comes to its end until this is taken back.
fn slow(client: &mut Client) {
    client.words("CONFIG SET rdb-key-save-delay 1000000");
}

fn fast(client: &mut Client) {
    client.words("CONFIG SET rdb-key-save-delay 0");
}

#[test]
fn one_walk_at_a_time_and_the_rest_is_scheduled() {
    let server = Server::start(logged(2));
    let (mut client, mut other) = (server.client(), server.client());
    client.words("DEBUG POPULATE 500 key 10");
    // During a save.
    slow(&mut client);
    assert_eq!(said(&mut client, "BGSAVE"), "Background saving started");
    assert_eq!(said(&mut client, "BGREWRITEAOF"), SCHEDULED);
    assert_eq!(told(&mut client, "aof_rewrite_scheduled"), "1");
    assert_eq!(told(&mut client, "aof_pending_rewrite"), "1");
    assert_eq!(said(&mut client, "BGREWRITEAOF"), SCHEDULED);
    assert_eq!(told(&mut client, "aof_rewrite_in_progress"), "0");
    fast(&mut client);
    until_saved(&mut client);
    until_rewritten(&mut client);
    assert_eq!(told(&mut client, "aof_rewrites"), "1");
    // During a rewrite.
    slow(&mut client);
    assert_eq!(said(&mut client, "BGREWRITEAOF"), STARTED);
    let already = "ERR Background append only file rewriting already in progress";
    assert_eq!(said(&mut client, "BGREWRITEAOF"), already);
    let active = "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE \
                  SCHEDULE in order to schedule a BGSAVE whenever possible.";
    assert_eq!(said(&mut client, "BGSAVE"), active);
    assert_eq!(said(&mut client, "BGSAVE SCHEDULE"), "Background saving scheduled");
    assert_eq!(told(&mut client, "aof_rewrite_in_progress"), "1");
    assert_ne!(told(&mut client, "aof_current_rewrite_time_sec"), "-1");
    assert_eq!(said(&mut client, "BGSAVE CANCEL"), "Scheduled background saving cancelled");
    assert_eq!(said(&mut client, "BGSAVE SCHEDULE"), "Background saving scheduled");
    other.send(b"SAVE\r\n").unwrap();
    assert_eq!(said(&mut client, "SET during 1"), "OK");
    assert_eq!(told(&mut client, "rdb_bgsave_in_progress"), "0");
    fast(&mut client);
    assert_eq!(other.reply().unwrap().1, Value::Simple(b"OK".into()));
    while told(&mut client, "rdb_saves") != "3" {
        std::thread::yield_now();
    }
    until_saved(&mut client);
    assert_eq!(told(&mut client, "aof_rewrite_in_progress"), "0");
    assert_ne!(told(&mut client, "aof_last_rewrite_time_sec"), "-1");
    assert_eq!(told(&mut client, "aof_rewrites"), "2");
}

#[test]
fn in_a_transaction_it_is_scheduled() {
    let server = Server::start(logged(2));
    let mut client = server.client();
    client.words("MULTI");
    client.words("BGREWRITEAOF");
    let reply = client.words("EXEC");
    assert_eq!(reply.items().unwrap(), [Value::Simple(SCHEDULED.into())]);
    while told(&mut client, "aof_rewrites") == "0" {
        std::thread::yield_now();
    }
    until_rewritten(&mut client);
    assert_eq!(told(&mut client, "aof_last_bgrewrite_status"), "ok");
}

#[test]
fn a_log_that_has_grown_is_rewritten_by_itself() {
    let small = ("auto-aof-rewrite-min-size", "200000");
    let options = logged(2).with(small.0, small.1).with("rdbcompression", "no");
    let server = Server::start(options);
    let mut client = server.client();
    let size = |client: &mut Client, field: &str| told(client, field).parse::<u64>().unwrap();
    let long = "x".repeat(1000);
    let mut writes = 0;
    while told(&mut client, "aof_rewrites") == "0" {
        client.call(&["SET", &format!("key:{}", writes % 50), &long]);
        writes += 1;
    }
    assert!(writes > 150, "{writes}: not under its least size");
    until_rewritten(&mut client);
    let base = size(&mut client, "aof_base_size");
    assert!(base > 40_000 && base < 150_000 || writes > 2_000, "{base}");
    server.said(|log| log.contains("Starting automatic rewriting of AOF on"));
    // Under its least size, or without any percentage, it only grows.
    client.words("CONFIG SET auto-aof-rewrite-percentage 0");
    let before = told(&mut client, "aof_rewrites");
    for n in 0..600 {
        client.call(&["SET", &format!("key:{}", n % 50), &long]);
    }
    assert_eq!(told(&mut client, "aof_rewrites"), before);
    assert!(size(&mut client, "aof_current_size") > base + 500_000);
    client.words("CONFIG SET auto-aof-rewrite-percentage 100");
    while told(&mut client, "aof_rewrites") == before {
        std::thread::yield_now();
    }
    until_rewritten(&mut client);
    assert!(size(&mut client, "aof_current_size") < 150_000);
    let again = server.kill().restart();
    assert_eq!(again.client().words("DBSIZE"), Value::Int(50));
}

#[test]
fn history_stays_where_it_is_wanted() {
    let server = Server::start(logged(1).with("aof-disable-auto-gc", "yes"));
    let mut client = server.client();
    let files = |server: &Server| {
        let names = std::fs::read_dir(server.home().path().join("appendonlydir")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let of_log = |name: &String| !name.ends_with("manifest") && !name.ends_with("reserve");
        names.filter(of_log).count()
    };
    client.words("SET a 1");
    rewrite(&mut client);
    rewrite(&mut client);
    // The first file, the second, the first base; and what counts.
    assert_eq!(files(&server), 3 + 2);
    let again = server.stop().restart();
    let mut client = again.client();
    assert_eq!(client.words("GET a"), Value::Bulk(b"1".into()));
    client.words("CONFIG SET aof-disable-auto-gc no");
    rewrite(&mut client);
    while files(&again) > 2 {
        std::thread::yield_now();
    }
}

/// Without a log there is a base all the same, as in Redis: a start with one begins there.
#[test]
fn without_a_log_it_writes_a_base_to_begin_with() {
    let server = Server::start(options(2));
    let mut client = server.client();
    client.words("DEBUG POPULATE 300 key 10");
    let digest = client.words("DEBUG DIGEST");
    rewrite(&mut client);
    rewrite(&mut client);
    let mut next = logged(1);
    next.more.extend(["--save".to_owned(), String::new()]);
    let again = server.kill().restart_with(next);
    assert_eq!(again.client().words("DEBUG DIGEST"), digest);
}

/// The base serves the save points as well: a file under their name, nothing left to save.
#[test]
fn one_walk_serves_log_and_save_points() {
    let server = Server::start(logged(2).with("save", "3600 1"));
    let mut client = server.client();
    let dump = server.home().path().join("dump.rdb");
    client.words("DEBUG POPULATE 300 key 10");
    client.call(&["CONFIG", "SET", "save", ""]);
    rewrite(&mut client);
    assert_ne!(told(&mut client, "rdb_changes_since_last_save"), "0");
    assert!(!dump.exists(), "nobody asks for a snapshot");
    client.call(&["CONFIG", "SET", "save", "3600 1"]);
    for round in 0..2 {
        client.words(&format!("SET round {round}"));
        let digest = client.words("DEBUG DIGEST");
        rewrite(&mut client);
        assert_eq!(told(&mut client, "rdb_changes_since_last_save"), "0");
        client.words("SET behind it");
        assert_eq!(told(&mut client, "rdb_changes_since_last_save"), "1");
        client.words("DEL behind");
        let alone = fresh_home();
        std::fs::copy(&dump, alone.path().join("dump.rdb")).unwrap();
        let again = Server::start_in(Arc::clone(&alone), options(1));
        assert_eq!(again.client().words("DEBUG DIGEST"), digest);
        again.kill();
        if let Some(peer) = Server::peer_in(alone, options(1), "the base as a snapshot") {
            assert_eq!(peer.client().words("DEBUG DIGEST"), digest);
        }
    }
    client.words("CONFIG SET aof-use-rdb-preamble no");
    client.words("SET last 1");
    rewrite(&mut client);
    assert_eq!(told(&mut client, "rdb_changes_since_last_save"), "3");
}
