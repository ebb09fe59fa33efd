//! CONFIG SET appendonly while the server runs: what is answered and told, beside redis-server; and
//! what becomes of it where the disk refuses, or somebody comes in between. Kills:
//! `crash::turning`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringstone::persist::aof::manifest::{Line, Manifest, Ours};

use crate::crash::rewrite::unnamed;
use crate::interop::rewrite::{told, until_rewritten};
use crate::snapshot::crash::Small;
use crate::support::server::{fresh_home, judged_by_peer, subject};
use crate::support::{Client, Options, Server, Value, encode};

const YES: &str = "CONFIG SET appendonly yes";
const NO: &str = "CONFIG SET appendonly no";
/// How long a base takes in which somebody is to come in between, in microseconds per key.
const SLOW: &str = "CONFIG SET rdb-key-save-delay 5000";
const FAST: &str = "CONFIG SET rdb-key-save-delay 0";

fn options(shards: usize, appendonly: bool) -> Options {
    let options = Options { appendonly, ..Options::shards(shards) };
    options.with("enable-debug-command", "yes").with("hz", "100")
}

fn ok() -> Value {
    Value::Simple(b"OK".into())
}

fn log_dir(server: &Server) -> std::path::PathBuf {
    server.home().path().join("appendonlydir")
}

/// Waits until a start would load the log.
fn until_on(client: &mut Client) {
    let durable = client.words("WAITAOF 1 0 0");
    assert_eq!(durable.items().map(|items| &items[0]), Some(&Value::Int(1)), "{durable:?}");
    assert_eq!(told(client, "aof_enabled"), "1");
}

/// Waits until the server has said this; what it says is read beside.
fn until_said(server: &Server, text: &str) {
    server.said(|log| log.contains(text));
}

/// Waits until nothing is left of a log: its reserve is removed aside, perhaps behind the reply.
fn until_bare(server: &Server) {
    let begin = Instant::now();
    while names(&log_dir(server)) != [""; 0] {
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", names(&log_dir(server)));
        std::thread::yield_now();
    }
}

/// What INFO tells of the log.
fn state(client: &mut Client) -> Vec<String> {
    let fields = ["aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled"];
    let more = ["aof_last_bgrewrite_status", "aof_last_write_status"];
    fields.iter().chain(&more).map(|field| told(client, field)).collect()
}

#[test]
fn answers_and_info_beside_redis() {
    let Some(peer) = Server::peer(options(1, false), "replies of CONFIG SET appendonly") else {
        return;
    };
    for shards in [1, 3] {
        let ours = Server::start(options(shards, false));
        let (mut a, mut b) = (ours.client(), peer.client());
        let mut both = |line: &str| {
            let replies = [&mut a, &mut b].map(|client| match line {
                "wait" => {
                    until_rewritten(client);
                    Value::Null
                }
                "state" => Value::Bulk(state(client).join(" ").into()),
                "count" => Value::Bulk(told(client, "aof_rewrites").into()),
                line => client.words(line),
            });
            assert_eq!(replies[0], replies[1], "{line}");
            replies[0].clone()
        };
        for line in ["CONFIG RESETSTAT", "FLUSHALL", "DEBUG POPULATE 400 key 10", "state"] {
            both(line);
        }
        for line in ["CONFIG SET appendonly maybe", "CONFIG GET appendonly", "state"] {
            both(line);
        }
        both("CONFIG SET appendonly yes appendonly no");
        both("CONFIG SET appendonly yes maxmemory-samples many");
        both("CONFIG GET appendonly");
        // The base takes its time, and what goes on meanwhile is told.
        both(SLOW);
        for line in [YES, "state", "CONFIG GET appendonly", YES, "BGREWRITEAOF", "BGSAVE"] {
            both(line);
        }
        for line in ["SHUTDOWN", "SHUTDOWN NOSAVE", "SET key:1 meanwhile", FAST, "wait", "state"] {
            both(line);
        }
        assert_eq!(both("count").text(), Some(b"1".as_slice()));
        // Nothing changes: nothing begins.
        for line in [YES, "state", "count", NO, "state", "CONFIG GET appendonly", NO, "state"] {
            both(line);
        }
        // Over before it was on.
        for line in [SLOW, YES, "state", NO, "state", FAST, "wait", "state"] {
            both(line);
        }
        // Behind a snapshot.
        for line in [SLOW, "BGSAVE", YES, "state", FAST, "wait", "state", NO, "state"] {
            both(line);
        }
        for line in ["MULTI", YES, "CONFIG GET appendonly", "SET x 1", "EXEC", "wait", "state"] {
            both(line);
        }
        for line in ["MULTI", NO, "CONFIG GET appendonly", "EXEC", "state", "BGREWRITEAOF", "wait"]
        {
            both(line);
        }
        for line in [YES, "wait", "state", NO, "state", "DBSIZE"] {
            both(line);
        }
    }
}

#[test]
fn a_directory_that_cannot_be_is_told_as_redis_does() {
    if judged_by_peer() {
        return;
    }
    let Some(peer) = Server::peer(options(1, false), "CONFIG SET appendonly that fails") else {
        return;
    };
    let ours = Server::start(options(2, false));
    let mut replies = Vec::new();
    for server in [&ours, &peer] {
        let mut client = server.client();
        client.words("SET k v");
        std::fs::write(log_dir(server), b"in the way").unwrap();
        replies.push(client.words(&format!("{YES} maxmemory-samples 7")));
        replies.push(client.words("CONFIG GET appendonly"));
        // All of it or nothing.
        replies.push(client.words("CONFIG GET maxmemory-samples"));
        replies.push(Value::Bulk(told(&mut client, "aof_enabled").into()));
        std::fs::remove_file(log_dir(server)).unwrap();
        replies.push(client.words(YES));
        until_rewritten(&mut client);
        replies.push(Value::Bulk(state(&mut client).join(" ").into()));
        // Files of a log without their manifest are not written over, and not removed.
        assert_eq!(client.words(NO), ok());
    }
    let (left, right) = replies.split_at(replies.len() / 2);
    assert_eq!(left, right);
    assert!(matches!(&left[0], Value::Error(text) if text.ends_with(b"Check server logs.")));
    until_said(&ours, "Can't turn on the AOF in ");
    std::fs::remove_file(log_dir(&ours).join("appendonly.aof.manifest")).unwrap();
    let mut client = ours.client();
    assert_eq!(client.words(YES), left[0]);
    until_said(&ours, "is missing");
    assert_eq!(told(&mut client, "aof_enabled"), "0");
}

/// What was written while there was no log is in the base, and what was written before it, too.
#[test]
fn off_and_on_again_keeps_everything() {
    if judged_by_peer() {
        return;
    }
    for shards in [1, 2, 4] {
        let mut server = Server::start(options(shards, shards == 2));
        for round in 0..4 {
            let mut client = server.client();
            if shards == 2 && round == 0 {
                assert_eq!(client.words(NO), ok());
            }
            client.words(&format!("MSET off{round} 1 {{x}}off{round} 2 y{round} 3"));
            assert_eq!(client.words(YES), ok());
            client.words(&format!("MSET waiting{round} 1 {{x}}waiting{round} 2 z{round} 3"));
            until_on(&mut client);
            client.words(&format!("MSET on{round} 1 {{x}}on{round} 2 w{round} 3"));
            client.words(&format!("RENAME on{round} {{x}}renamed{round}"));
            assert_eq!(client.words("DBSIZE"), Value::Int(9 * (round + 1)));
            match round {
                // What is off stays as it was.
                0 => assert_eq!(client.words(NO), ok()),
                // A log that was never off, and one that was opened by this process.
                1 => assert_eq!(client.words("DEBUG LOADAOF"), ok()),
                _ => {}
            }
            let stopped = if round == 2 { server.stop() } else { server.kill() };
            server = stopped.restart_with(options(shards, true));
            let mut client = server.client();
            assert_eq!(client.words("DBSIZE"), Value::Int(9 * (round + 1)), "{}", server.log());
            assert_eq!(client.words(&format!("GET {{x}}renamed{round}")), Value::Bulk(b"1".into()));
            assert_eq!(unnamed(&log_dir(&server)), [""; 0]);
            assert_eq!(client.words(NO), ok());
        }
    }
}

/// The log's directory is watched where the log is, and for as long as there is one.
#[test]
fn a_directory_that_was_removed_is_made_anew() {
    if judged_by_peer() {
        return;
    }
    let server = Server::start(options(2, true));
    let mut client = server.client();
    assert_eq!(client.words("SET k 0"), ok());
    std::fs::remove_dir_all(log_dir(&server)).unwrap();
    while !client.words("SET k 1").is_error() {
        std::thread::yield_now();
    }
    // Without a log there is nothing to miss.
    assert_eq!(client.words(NO), ok());
    assert_eq!(client.words("SET k 2"), ok());
    assert_eq!(client.words(YES), ok());
    until_on(&mut client);
    // A look has told that there is less than so much.
    assert_eq!(client.words("CONFIG SET aof-low-space 9000000000000000"), ok());
    while told(&mut client, "aof_disk_low") != "1" {
        assert_eq!(client.words("SET k 3"), ok(), "{}", server.log());
    }
    let server = server.kill().restart();
    assert_eq!(server.client().words("GET k"), Value::Bulk(b"3".into()));
}

/// A position names one place in all that was ever logged here, also where the process that begins
/// a log knows nothing of the one before it.
#[test]
fn positions_go_on_above_those_of_an_older_log() {
    if judged_by_peer() {
        return;
    }
    for clean in [true, false] {
        let server = Server::start(options(2, true));
        let mut client = server.client();
        for n in 0..100 {
            assert_eq!(client.words(&format!("SET key{n} {n}")), ok());
        }
        let stopped = if clean { server.stop() } else { server.kill() };
        let old = positions(&stopped.path().join("appendonlydir"));
        // Where no end is named, at least so many bytes were written for these keys.
        let floor = old.iter().map(|(start, end)| end.unwrap_or(start + 1000)).max().unwrap();
        let server = stopped.restart_with(options(2, false));
        let mut client = server.client();
        assert_eq!(client.words("DBSIZE"), Value::Int(0));
        assert_eq!((client.words("SET a 1"), client.words(YES)), (ok(), ok()));
        until_on(&mut client);
        let now = positions(&log_dir(&server));
        let begun: Vec<u64> =
            now.iter().filter(|file| file.1.is_none()).map(|file| file.0).collect();
        assert_eq!(begun.len(), 2, "{now:?}");
        assert!(begun.iter().all(|start| *start >= floor), "{old:?} {now:?}");
    }
}

/// Where the files of the log begin, and where they end if the manifest says so.
fn positions(log_dir: &Path) -> Vec<(u64, Option<u64>)> {
    let bytes = std::fs::read(log_dir.join("appendonly.aof.manifest")).unwrap();
    let manifest = Manifest::parse(&bytes).unwrap();
    let of = |line: &Line| match &line.ours {
        Some(Ours::Shard(pairs)) => Some((pairs.start, pairs.end.map(|(end, _)| end))),
        _ => None,
    };
    manifest.lines.iter().filter_map(of).collect()
}

/// Without save points nothing but the log is there: a start behind `no` finds it as it was then.
#[test]
fn a_log_that_was_turned_off_is_sealed() {
    if judged_by_peer() {
        return;
    }
    let server = Server::start(options(2, true));
    let mut client = server.client();
    client.words("MSET a 1 b 2 c 3");
    let incr = |n: u32| encode(&["INCR", &format!("n{}", n % 7)]);
    let mut burst: Vec<u8> = (0..500).flat_map(incr).collect();
    burst.extend(encode(&["CONFIG", "SET", "appendonly", "no"]));
    burst.extend(encode(&["SET", "behind", "1"]));
    client.send(&burst).unwrap();
    for _ in 0..502 {
        assert!(!client.reply().unwrap().1.is_error());
    }
    let manifest = log_dir(&server).join("appendonly.aof.manifest");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    assert_eq!(manifest.matches(" clean 1 ").count(), 2, "{manifest}");
    let server = server.kill().restart();
    let mut client = server.client();
    assert_eq!(client.words("DBSIZE"), Value::Int(10), "{}", server.log());
    assert_eq!(client.words("GET n3"), Value::Bulk(b"71".into()));
    assert_eq!(client.words("GET behind"), Value::NullBulk);
}

/// Whole-keyspace commands while the base is written, and what needs the log.
#[test]
fn what_comes_while_the_log_waits_for_its_base() {
    if judged_by_peer() {
        return;
    }
    for (shards, flushes) in [(1, true), (2, false), (3, true)] {
        let server = Server::start(options(shards, false));
        let mut client = server.client();
        client.words("SELECT 1");
        client.words("SET one 1");
        client.words("SELECT 0");
        client.words("DEBUG POPULATE 300 key 10");
        client.words(SLOW);
        assert_eq!(client.words(YES), ok());
        assert!(client.words("DEBUG LOADAOF").is_error());
        assert_eq!(client.words("WAITAOF 1 0 1").items().unwrap()[0], Value::Int(0));
        assert_eq!(client.words("CONFIG SET appendfsync everysec"), ok());
        assert_eq!(client.words("CONFIG SET appendfsync always"), ok());
        client.words("SWAPDB 0 2");
        client.words("MSET a 1 b 2 c 3");
        client.words("SELECT 1");
        assert_eq!(client.words(if flushes { "FLUSHALL" } else { "FLUSHDB" }), ok());
        client.words("SET two 2");
        match flushes {
            // Without a base.
            true => until_on(&mut client),
            false => assert_eq!(told(&mut client, "aof_rewrite_in_progress"), "1"),
        }
        client.words(FAST);
        until_on(&mut client);
        until_rewritten(&mut client);
        client.words("SET three 3");
        let server = server.kill().restart_with(options(shards, true));
        let mut client = server.client();
        let sizes: Vec<Option<i64>> = (0..3)
            .map(|db| {
                client.words(&format!("SELECT {db}"));
                client.words("DBSIZE").int()
            })
            .collect();
        let expected = if flushes { [0, 2, 0] } else { [3, 2, 300] };
        assert_eq!(sizes, expected.map(Some), "{shards} shards\n{}", server.log());
        assert_eq!(unnamed(&log_dir(&server)), [""; 0]);
    }
}

/// Clients that wait in WAITAOF, a rewrite and a backup under way when the log is turned off.
#[test]
fn what_needs_the_log_ends_with_it() {
    if judged_by_peer() {
        return;
    }
    let server = Server::start(options(2, false));
    let mut client = server.client();
    client.words("DEBUG POPULATE 300 key 10");
    client.words(SLOW);
    assert_eq!(client.words(YES), ok());
    let mut waits = server.client();
    waits.send(&encode(&["WAITAOF", "1", "0", "0"])).unwrap();
    while field(&mut client, "clients", "blocked_clients") != "1" {
        std::thread::yield_now();
    }
    assert_eq!(client.words(NO), ok());
    let refused = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    assert_eq!(waits.reply().unwrap().1, Value::Error(refused.into()));
    assert_eq!(client.words("WAITAOF 1 0 0"), Value::Error(refused.into()));
    assert_eq!(told(&mut client, "aof_last_bgrewrite_status"), "ok");
    until_bare(&server);
    client.words(FAST);
    assert_eq!(client.words(YES), ok());
    until_on(&mut client);
    assert_eq!(client.words("BACKUP START"), ok());
    while told(&mut client, "backup_in_progress") == "1" && !backup(&mut client, "incrementing") {
        std::thread::yield_now();
    }
    // The backup has its base, and the rewrite that made it may not have ended quite.
    until_rewritten(&mut client);
    client.words(SLOW);
    assert!(!client.words("BGREWRITEAOF").is_error());
    assert_eq!(client.words(NO), ok());
    assert_eq!(told(&mut client, "backup_in_progress"), "0");
    assert!(backup(&mut client, "failed") && backup(&mut client, "appendonly is stopped"));
    client.words(FAST);
    until_rewritten(&mut client);
    assert_eq!(told(&mut client, "aof_last_bgrewrite_status"), "ok");
    assert!(client.words("BACKUP SEAL").is_error());
    assert_eq!(client.words("DBSIZE"), Value::Int(300));
}

/// Off again before its directory is ready, mostly: that leaves nothing there either.
#[test]
fn what_never_began_leaves_nothing() {
    if judged_by_peer() {
        return;
    }
    let server = Server::start(options(2, false));
    let mut client = server.client();
    for _ in 0..10 {
        client.send(&[encode_line(YES), encode_line(NO)].concat()).unwrap();
        for _ in 0..2 {
            assert_eq!(client.reply().unwrap().1, ok());
        }
        until_rewritten(&mut client);
        until_bare(&server);
        assert_eq!(told(&mut client, "aof_enabled"), "0");
    }
}

/// Who has been told that the log is off finds no rewrite under way any more, wherever `no` found
/// the one that was to begin it, as in Redis, which kills its child first.
#[test]
fn nothing_of_a_rewrite_is_left_behind_no() {
    for (shards, spins) in [(1, 40), (3, 40)] {
        let server = Server::start(options(shards, false));
        let mut client = server.client();
        client.words("DEBUG POPULATE 400 key 10");
        client.words(SLOW);
        for spins in (0..spins).chain(0..spins) {
            assert_eq!(client.words(YES), ok());
            for _ in 0..spins * 4 {
                client.words("PING");
            }
            assert_eq!(client.words(NO), ok());
            let expected = ["0", "0", "0", "ok", "ok"].map(str::to_owned);
            assert_eq!(state(&mut client), expected, "behind {spins}");
        }
    }
}

fn encode_line(line: &str) -> Vec<u8> {
    encode(&line.split(' ').collect::<Vec<_>>())
}

fn backup(client: &mut Client, text: &str) -> bool {
    let status = client.words("BACKUP STATUS");
    status.items().expect("a status").iter().any(|item| item.text() == Some(text.as_bytes()))
}

fn field(client: &mut Client, section: &str, field: &str) -> String {
    let info = client.words(&format!("INFO {section}"));
    let text = String::from_utf8_lossy(info.text().expect("text")).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.expect("a field").trim().to_owned()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Several clients turn it as they like, while others write: whatever comes of it is one of the
/// two, and works.
#[test]
fn several_clients_turn_it_at_once() {
    if judged_by_peer() {
        return;
    }
    let mut server = Server::start(options(3, false));
    let port = server.port();
    std::thread::scope(|scope| {
        for first in 0..4 {
            scope.spawn(move || {
                let mut client = Client::connect(port).unwrap();
                for n in 0..40 {
                    let line = if (first + n) % 2 == 0 { YES } else { NO };
                    assert_eq!(client.words(line), ok());
                    client.words(&format!("MSET {first}:{n} 1 {n}:{first} 2"));
                    if n % 13 == 0 {
                        client.words("MULTI");
                        client.words(NO);
                        client.words(YES);
                        let done = client.words("EXEC");
                        assert_eq!(done.items().map(<[Value]>::len), Some(2), "{done:?}");
                    }
                    if n % 17 == 0 {
                        client.words("SWAPDB 4 5");
                        client.words("BGREWRITEAOF");
                    }
                }
            });
        }
    });
    let mut client = server.client();
    assert_eq!(client.words(YES), ok());
    until_on(&mut client);
    let size = client.words("DBSIZE");
    client.words("SET last 1");
    server = server.kill().restart_with(options(2, true));
    let mut client = server.client();
    assert_eq!(client.words("GET last"), Value::Bulk(b"1".into()));
    assert_eq!(client.words("DBSIZE").int(), size.int().map(|size| size + 1));
    assert_eq!(unnamed(&log_dir(&server)), [""; 0]);
}

/// A disk without room: for the files of the log, for the base; and a log that has no room any more
/// is turned off.
#[test]
fn a_full_disk_leaves_the_log_off() {
    if judged_by_peer() {
        return;
    }
    // The directory, the log's, the lock, the mark and one file of the log.
    let Some(small) = Small::mount_with("size=8m,nr_inodes=6", "no room for a log") else { return };
    let server = Server::start_in(small.0.clone(), options(2, false));
    let mut client = server.client();
    client.words("DEBUG POPULATE 1000 key 100");
    for _ in 0..2 {
        assert_eq!(client.words(YES), ok());
        until_off(&mut client);
        assert_eq!(told(&mut client, "aof_last_bgrewrite_status"), "err");
        until_bare(&server);
        client.words("MSET a 1 b 2 c 3");
    }
    until_said(&server, "appendonly is no again");
    small.change("nr_inodes=100");
    client.words("CONFIG SET rdbcompression no");
    client.call(&["SET", "long", &"x".repeat(9_000_000)]);
    assert_eq!(client.words(YES), ok());
    until_off(&mut client);
    until_bare(&server);
    assert_eq!(client.words("DEL long"), Value::Int(1));
    assert_eq!(client.words(YES), ok());
    until_on(&mut client);
    // The log grows until it cannot, and somebody is not answered.
    client.words("CONFIG SET appendfsync everysec");
    let (mut stuck, big) = (server.client(), "y".repeat(100_000));
    let sets = |n: u32| encode(&["SET", &format!("big{}", n % 3), &big]);
    stuck.send(&(0..100).flat_map(sets).collect::<Vec<u8>>()).unwrap();
    while told(&mut client, "aof_last_write_status") == "ok" {
        std::thread::yield_now();
    }
    let refused = client.words("SET after 0");
    assert!(matches!(&refused, Value::Error(text) if text.starts_with(b"MISCONF")), "{refused:?}");
    assert_eq!(client.words(NO), ok());
    for n in 0..100 {
        let (_, reply) = stuck.reply().unwrap_or_else(|error| panic!("reply {n}: {error}"));
        assert!(reply == ok() || reply.is_error(), "{reply:?}");
    }
    assert_eq!(client.words("SET after 1"), ok());
    assert_eq!(told(&mut client, "aof_last_write_status"), "ok");
    until_said(&server, "The log ends as it stands");
    small.change("size=64m");
    assert_eq!(client.words(YES), ok());
    until_on(&mut client);
    let server = server.kill().restart_with(options(2, true));
    assert_eq!(server.client().words("GET after"), Value::Bulk(b"1".into()));
    drop(server);
}

fn until_off(client: &mut Client) {
    while told(client, "aof_enabled") == "1" || told(client, "aof_rewrite_in_progress") == "1" {
        std::thread::yield_now();
    }
    // What was begun is gone when the log is.
    assert_eq!(client.words(NO), ok());
}

/// A server that was started from its configuration file alone.
struct FromFile(Child);

impl FromFile {
    fn start(conf: &Path) -> FromFile {
        let mut command = Command::new(subject());
        command.arg(conf).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = FromFile(command.spawn().expect("started"));
        let said = BufReader::new(server.0.stdout.take().expect("piped"));
        let mut lines = said.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("Ready to accept")), "it did not come up");
        server
    }
}

impl Drop for FromFile {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// CONFIG SET appendonly and CONFIG REWRITE, and a start from nothing but that file.
#[test]
fn what_was_turned_and_written_down_is_what_the_next_start_does() {
    if judged_by_peer() {
        return;
    }
    for on in [true, false] {
        let home = fresh_home();
        let conf = home.path().join("redis.conf");
        std::fs::write(&conf, "maxclients 321\n").expect("written");
        let server = Server::start_in(home.clone(), options(2, !on).conf(&conf));
        let (mut client, port) = (server.client(), server.port());
        client.words("SET before 1");
        assert_eq!(client.words(if on { YES } else { NO }), ok());
        if on {
            until_on(&mut client);
        }
        client.words("SET behind 2");
        assert_eq!(client.words("CONFIG REWRITE"), ok());
        drop(client);
        drop(server.kill());
        let text = std::fs::read_to_string(&conf).expect("read");
        assert_eq!(text.contains("appendonly yes"), on, "{text}");
        let again = FromFile::start(&conf);
        let mut client = Client::connect(port).expect("the same port");
        let said = client.words("CONFIG GET appendonly");
        let said = said.items().and_then(|items| items[1].text()).map(<[u8]>::to_vec);
        assert_eq!(said.as_deref(), Some(if on { &b"yes"[..] } else { b"no" }));
        // Without a log nothing had been saved, as in Redis.
        assert_eq!(client.words("DBSIZE"), Value::Int(if on { 2 } else { 0 }));
        assert_eq!(told(&mut client, "aof_enabled"), if on { "1" } else { "0" });
        drop(again);
    }
}
