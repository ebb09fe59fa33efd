//! Snapshots as an operator steers and watches them: cancelled, paced, bounded in memory, sent to
//! another place, seen on their way; and the next may begin as soon as the last is told of.
//!
//! `rdb-key-save-delay` keeps a snapshot under way for as long as a test wants: what would take
//! minutes ends when the test takes the delay back.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{copied, options, told, until_saved};
use crate::support::server::{free_port, subject};
use crate::support::{Client, Options, Server, Value};

const OK: &[u8] = b"OK";
const STARTED: &[u8] = b"Background saving started";
const CANCELLED: &[u8] = b"Background saving cancelled";
const NOTHING: &[u8] = b"ERR Background saving is currently not in progress or scheduled";

fn simple(text: &[u8]) -> Value {
    Value::Simple(text.into())
}

fn error(text: &str) -> Value {
    Value::Error(text.as_bytes().into())
}

/// Everything a server has left in a directory that a snapshot could have made.
fn files(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).expect("the directory");
    let names = entries.map(|entry| entry.expect("a name").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.contains("rdb")).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn until_over(client: &mut Client) {
    while told(client, "rdb_bgsave_in_progress") == "1" {
        std::thread::yield_now();
    }
}

/// Keys that take a second each, and a snapshot of them under way.
fn slow(client: &mut Client, keys: usize) {
    client.words(&format!("DEBUG POPULATE {keys} key 10"));
    assert_eq!(client.words("CONFIG SET rdb-key-save-delay 1000000"), simple(OK));
    assert_eq!(client.words("BGSAVE"), simple(STARTED));
}

#[test]
fn one_that_is_cancelled_leaves_the_old_file() {
    let server = Server::start(options(2));
    let mut client = server.client();
    let home = server.home();
    let file = home.path().join("dump.rdb");
    assert_eq!(client.words("BGSAVE CANCEL"), Value::Error(NOTHING.into()));
    client.words("SET old 1");
    assert_eq!(client.words("SAVE"), simple(OK));
    let old = std::fs::read(&file).expect("a file");
    let last = client.words("LASTSAVE");
    for round in 0..5 {
        slow(&mut client, 200);
        assert_eq!(told(&mut client, "rdb_bgsave_in_progress"), "1");
        assert_eq!(client.words("BGSAVE cancel"), simple(CANCELLED));
        assert_eq!(client.words("BGSAVE CANCEL"), Value::Error(NOTHING.into()));
        until_over(&mut client);
        assert_eq!(client.words("BGSAVE CANCEL"), Value::Error(NOTHING.into()));
        assert_eq!(files(home.path()), names(&["dump.rdb"]));
        assert_eq!(std::fs::read(&file).expect("a file"), old);
        assert_eq!(told(&mut client, "rdb_last_bgsave_status"), "ok");
        assert_eq!(told(&mut client, "rdb_saves"), (round + 2).to_string(), "those begun");
        assert_eq!(told(&mut client, "rdb_current_bgsave_time_sec"), "-1");
        assert_ne!(told(&mut client, "rdb_changes_since_last_save"), "0");
        assert_eq!(client.words("LASTSAVE"), last);
    }
    server.said(|log| log.contains("Background saving cancelled: the old file stays"));
    assert_eq!(client.words("CONFIG SET rdb-key-save-delay 0"), simple(OK));
    assert_eq!(client.words("BGSAVE"), simple(STARTED));
    until_saved(&mut client);
    let again = Server::start_in(copied(home.path()), options(1));
    assert_eq!(again.client().words("DBSIZE"), Value::Int(201));
}

/// Cancelled at any moment, the end of one included: either the reply is told and the old file is
/// there, or the new one is.
#[test]
fn a_cancellation_that_is_told_is_true() {
    let server = Server::start(options(2));
    let (mut client, mut other) = (server.client(), server.client());
    let path = server.home().path().join("dump.rdb");
    client.words("DEBUG POPULATE 2000 key 100");
    assert_eq!(client.words("SAVE"), simple(OK));
    let (mut cancelled, mut saved) = (0, 0);
    for round in 0..200 {
        client.words(&format!("SET round {round}"));
        let before = std::fs::read(&path).expect("a file");
        assert_eq!(client.words("BGSAVE"), simple(STARTED));
        for _ in 0..round % 40 {
            other.words("PING");
        }
        let reply = other.words("BGSAVE CANCEL");
        until_over(&mut client);
        let is_old = std::fs::read(&path).expect("a file") == before;
        match reply == simple(CANCELLED) {
            true => cancelled += 1,
            false => saved += 1,
        }
        assert_eq!(is_old, reply == simple(CANCELLED), "round {round}: {reply:?}");
        assert_eq!(told(&mut client, "rdb_last_bgsave_status"), "ok");
    }
    assert!(cancelled > 0, "{saved} were too fast");
    assert_eq!(told(&mut client, "rdb_saves"), (saved + cancelled + 1).to_string());
}

#[test]
fn who_waits_for_a_save_is_told_of_its_cancellation() {
    let server = Server::start(options(2));
    let mut client = server.client();
    client.words("DEBUG POPULATE 500 key 10");
    client.words("CONFIG SET rdb-key-save-delay 1000000");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| server.client().words("SAVE"));
        while client.words("BGSAVE CANCEL") != simple(CANCELLED) {
            std::thread::yield_now();
        }
        assert!(waits.join().expect("a reply").is_error());
    });
    assert_eq!(told(&mut client, "rdb_last_bgsave_status"), "ok");
    assert_eq!(files(server.home().path()), names(&[]));
}

/// The same lines to both servers: the same replies.
#[test]
fn protected_directives_answer_as_those_of_redis_do() {
    let lines = [
        "CONFIG SET dir /nonexistent/x",
        "CONFIG SET dir /etc/passwd",
        "CONFIG SET dbfilename a/b",
        "CONFIG SET dbfilename other.rdb dir /nonexistent",
        "CONFIG SET dir /nonexistent dbfilename a/b",
        "CONFIG SET dir sub dir sub",
        "CONFIG GET dbfilename",
        "CONFIG SET dir sub dbfilename x.rdb",
        "CONFIG GET dbfilename",
        "CONFIG SET dir .",
        "CONFIG SET dir ../sub",
        "CONFIG SET rdb-key-save-delay -5",
        "CONFIG SET rdb-key-save-delay 2147483648",
        "CONFIG GET rdb-key-save-delay",
        "CONFIG GET rdb-key*",
        "CONFIG GET key-load-delay",
        "CONFIG SET rdb-save-incremental-fsync no",
        "CONFIG SET rdb-key-save-delay 0",
        "SAVE",
    ];
    for permit in ["no", "yes", "local"] {
        let ask = |server: Server| -> (Vec<Value>, BTreeSet<String>) {
            let mut client = server.client();
            let sub = server.home().path().join("sub");
            std::fs::create_dir(&sub).expect("a directory");
            let mut replies: Vec<Value> = lines.iter().map(|line| client.words(line)).collect();
            replies.push(client.call(&["CONFIG", "SET", "dir", ""]));
            (replies, files(&sub))
        };
        let with = |options: Options| options.with("enable-protected-configs", permit);
        let ours = ask(Server::start(with(options(2))));
        let saved = if permit == "no" { names(&[]) } else { names(&["x.rdb"]) };
        assert_eq!(ours.1, saved, "{permit}");
        let what = format!("directives protected by {permit}");
        if let Some(peer) = Server::peer(with(options(1)), &what) {
            let theirs = ask(peer);
            for ((line, ours), theirs) in lines.iter().zip(&ours.0).zip(&theirs.0) {
                assert_eq!(ours, theirs, "{permit}: {line}");
            }
            assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn the_next_one_goes_where_dir_says() {
    let server = Server::start(options(2).with("enable-protected-configs", "yes"));
    let mut client = server.client();
    let home = server.home();
    let sub = home.path().canonicalize().expect("a path").join("sub");
    std::fs::create_dir(&sub).expect("a directory");
    // What one that was cut off has left there, and what only looks like it.
    std::fs::write(sub.join("temp-4294967295.rdb"), b"torn").expect("a file");
    std::fs::write(sub.join("temp-1.rdb"), b"somebody writes").expect("a file");
    slow(&mut client, 50);
    // What has begun goes where it was to go.
    let set = ["CONFIG", "SET", "dir", "sub", "dbfilename", "other.rdb"];
    let words = |line: &[&str]| line.iter().map(|word| word.as_bytes().to_vec()).collect();
    let replies = client.pipeline(&[words(&set), words(&["CONFIG", "GET", "dir"])]);
    assert_eq!(replies[0], simple(OK));
    let dir = replies[1].items().and_then(|pair| pair[1].text()).map(<[u8]>::to_vec);
    assert_eq!(dir, Some(sub.to_str().expect("text").into()));
    assert_eq!(files(&sub), names(&["temp-1.rdb"]));
    client.words("CONFIG SET rdb-key-save-delay 0");
    until_saved(&mut client);
    assert_eq!(files(home.path()), names(&["dump.rdb"]));
    assert_eq!(client.words("SAVE"), simple(OK));
    assert_eq!(files(&sub), names(&["other.rdb", "temp-1.rdb"]));
    // As part of a transaction, and to a place that is gone.
    for line in ["MULTI", "CONFIG SET dir ..", "CONFIG SET dbfilename third.rdb"] {
        client.words(line);
    }
    assert_eq!(client.words("EXEC"), Value::Array(vec![simple(OK), simple(OK)]));
    assert_eq!(client.words("SAVE"), simple(OK));
    assert_eq!(files(home.path()), names(&["dump.rdb", "third.rdb"]));
    client.words("CONFIG SET dir sub");
    std::fs::remove_dir_all(&sub).expect("the directory");
    assert!(client.words("SAVE").is_error());
    // Who waited has been told.
    assert_eq!(told(&mut client, "rdb_last_bgsave_status"), "ok");
    // Names that are those of other files of ours.
    for name in ["temp-77.rdb", "ringstone.lock", "."] {
        assert!(client.words(&format!("CONFIG SET dbfilename {name}")).is_error(), "{name}");
    }
}

#[test]
fn a_log_holds_dir_where_it_is() {
    let with = Options::shards(2).with("enable-protected-configs", "yes");
    let server = Server::start(with);
    let mut client = server.client();
    let home = server.home();
    std::fs::create_dir(home.path().join("sub")).expect("a directory");
    let refusal = "ERR CONFIG SET failed (possibly related to argument 'dir') - the log is there: \
                   with `appendonly yes` only a restart changes it";
    assert_eq!(client.words("CONFIG SET dir sub"), error(refusal));
    assert_eq!(client.words("CONFIG SET dbfilename x.rdb dir sub"), error(refusal));
    let same = home.path().to_str().expect("text");
    assert_eq!(client.call(&["CONFIG", "SET", "dir", same]), simple(OK));
    assert_eq!(client.words("CONFIG SET dbfilename x.rdb"), simple(OK));
    assert_eq!(client.words("SAVE"), simple(OK));
    assert_eq!(files(home.path()), names(&["x.rdb"]));
}

/// Overwrites 20 MB once, in keys of so many bytes and requests of so many at a time, while a
/// snapshot is under way; gives the most bytes of copies it held.
fn copies(shards: usize, limit: &str, (size, batch): (usize, usize)) -> u64 {
    let keys = 20_000_000 / size;
    let server = Server::start(options(shards).with("snapshot-buffer-limit", "1"));
    let mut client = server.client();
    client.words(&format!("DEBUG POPULATE {keys} key {size}"));
    assert_eq!(client.words(&format!("CONFIG SET snapshot-buffer-limit {limit}")), simple(OK));
    client.words("CONFIG SET rdb-key-save-delay 1000000");
    assert_eq!(client.words("BGSAVE"), simple(STARTED));
    std::thread::scope(|scope| {
        for part in 0..2 {
            let mut writer = server.client();
            scope.spawn(move || {
                for from in (part * keys / 2..(part + 1) * keys / 2).step_by(batch) {
                    let set = |n| vec![b"SET".to_vec(), format!("key:{n}").into(), b"x".to_vec()];
                    let batch: Vec<_> = (from..from + batch).map(set).collect();
                    for reply in writer.pipeline(&batch) {
                        assert_eq!(reply, simple(OK));
                    }
                }
            });
        }
    });
    let now: u64 = told(&mut client, "current_cow_size").parse().expect("a number");
    let peak: u64 = told(&mut client, "current_cow_peak").parse().expect("a number");
    assert!(now <= peak);
    client.words("CONFIG SET rdb-key-save-delay 0");
    until_saved(&mut client);
    assert_eq!(told(&mut client, "current_cow_size"), "0");
    // What was there before: the copies, not what replaced them.
    let loaded = Server::start_in(copied(server.home().path()), options(1));
    let mut loaded = loaded.client();
    for n in [0, keys / 3, keys - 1] {
        assert_eq!(loaded.words(&format!("STRLEN key:{n}")), Value::Int(size as i64));
    }
    let last: u64 = told(&mut client, "rdb_last_cow_size").parse().expect("a number");
    assert!(last >= peak);
    last
}

/// A shard stops its own writes at its limit, one value above it at most, however many come at
/// once; what others have sent it by then comes on top.
#[test]
fn copies_are_bounded_while_everything_is_overwritten() {
    const MIB: u64 = 1 << 20;
    for (shards, writes, above) in [(1, (10_000, 500), 20_000), (2, (1_000, 100), MIB / 2)] {
        let (tight, wide) = (copies(shards, "1mb", writes), copies(shards, "64mb", writes));
        assert!((MIB / 4..=MIB + above).contains(&tight), "{shards} shards: {tight}");
        assert!(wide > 15 * MIB, "{shards} shards: {wide}: nothing had to be bounded");
    }
}

/// A stop gives up what is under way: the old file stays.
#[test]
fn one_that_a_stop_ends_leaves_the_old_file() {
    for _ in 0..4 {
        let server = Server::start(options(2));
        let mut client = server.client();
        client.words("SET old 1");
        assert_eq!(client.words("SAVE"), simple(OK));
        let home = server.home();
        let old = std::fs::read(home.path().join("dump.rdb")).expect("a file");
        slow(&mut client, 300);
        while told(&mut client, "current_save_keys_processed") == "0" {
            std::thread::yield_now();
        }
        client.send(b"SHUTDOWN NOSAVE\r\n").expect("sends");
        drop(server.gone_by_itself());
        assert_eq!(std::fs::read(home.path().join("dump.rdb")).expect("a file"), old);
    }
}

#[test]
fn writes_go_on_with_no_memory_for_copies() {
    let server = Server::start(options(2).with("snapshot-buffer-limit", "0"));
    let mut client = server.client();
    slow(&mut client, 300);
    for n in 0..300 {
        assert_eq!(client.words(&format!("SET key:{n} changed")), simple(OK));
    }
    client.words("CONFIG SET rdb-key-save-delay 0");
    until_saved(&mut client);
    let loaded = Server::start_in(copied(server.home().path()), options(1));
    assert_eq!(loaded.client().words("GETRANGE key:299 0 4"), Value::Bulk(b"value".into()));
}

#[test]
fn progress_is_seen() {
    let server = Server::start(options(2));
    let mut client = server.client();
    let field = |client: &mut Client, name: &str| -> f64 {
        told(client, name).parse().unwrap_or_else(|_| panic!("{name}"))
    };
    let idle = |client: &mut Client| {
        for name in ["current_save_keys_processed", "current_save_keys_total"] {
            assert_eq!(told(client, name), "0");
        }
        assert_eq!(told(client, "current_fork_perc"), "0.00");
        assert_eq!(told(client, "rdb_current_bgsave_time_sec"), "-1");
    };
    idle(&mut client);
    client.words("DEBUG POPULATE 1000 key 10");
    client.words("CONFIG SET rdb-key-save-delay 2000");
    assert_eq!(client.words("BGSAVE"), simple(STARTED));
    let mut seen = BTreeSet::new();
    while told(&mut client, "rdb_bgsave_in_progress") == "1" && seen.len() < 10 {
        let keys = field(&mut client, "current_save_keys_processed");
        if field(&mut client, "current_save_keys_total") > 0.0 {
            assert_eq!(field(&mut client, "current_save_keys_total"), 1000.0);
            assert!(field(&mut client, "rdb_current_bgsave_time_sec") >= 0.0);
            assert!(field(&mut client, "current_fork_perc") >= keys / 10.0 - 0.01);
            assert!(seen.last().is_none_or(|last| *last <= keys as u64));
            seen.insert(keys as u64);
        }
    }
    assert!(seen.len() == 10 && seen.last() < Some(&1000), "{seen:?}");
    client.words("CONFIG SET rdb-key-save-delay 0");
    until_saved(&mut client);
    idle(&mut client);
    let end = |line: &&str| line.contains("DB saved on disk: 1000 keys, ");
    let log = server.said(|log| log.lines().any(|line| end(&line)));
    let line = log.lines().find(end).expect("an end");
    assert!(line.contains(" keys/s, ") && line.ends_with(" MB/s"), "{line}");
}

/// A server that loads, and ends with the test.
struct Loads(Child);

impl Drop for Loads {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on a directory with a snapshot that takes minutes to load.
#[test]
fn loading_is_seen_and_takes_its_time() {
    let server = Server::start(options(1));
    server.client().words("DEBUG POPULATE 1000 key 100");
    assert_eq!(server.client().words("SAVE"), simple(OK));
    let home = copied(server.home().path());
    let loaded = Server::start_in(copied(home.path()), options(2));
    assert_eq!(told(&mut loaded.client(), "rdb_last_load_keys_loaded"), "1000");
    assert_eq!(told(&mut loaded.client(), "rdb_last_load_keys_expired"), "0");
    let told_of = loaded.log();
    let line = told_of.lines().find(|line| line.contains("DB loaded from disk: "));
    assert!(line.is_some_and(|line| line.contains(", 1000 keys, ")), "{told_of}");
    let port = free_port();
    let mut loads = Loads(
        Command::new(subject())
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--shards", "2"])
            .args(["--appendonly", "no", "--key-load-delay", "1000000", "--dir"])
            .arg(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("starts"),
    );
    let mut client = loop {
        if let Ok(client) = Client::connect(port) {
            break client;
        }
        std::thread::yield_now();
    };
    for (name, value) in [("loading", "1"), ("async_loading", "0")] {
        assert_eq!(told(&mut client, name), value);
    }
    let number =
        |client: &mut Client, name: &str| -> f64 { told(client, name).parse().expect(name) };
    let (total, loaded) =
        (number(&mut client, "loading_total_bytes"), number(&mut client, "loading_loaded_bytes"));
    assert!(total > 0.0 && loaded <= total, "{loaded} of {total}");
    assert!(number(&mut client, "loading_start_time") > 1.6e9);
    assert!((0.0..=100.0).contains(&number(&mut client, "loading_loaded_perc")));
    assert!(number(&mut client, "loading_eta_seconds") >= 0.0);
    client.send(b"SHUTDOWN NOSAVE\r\n").expect("sends");
    assert!(loads.0.wait().expect("an end").success());
}

/// Whoever is told that one is over may begin the next, on any shard, and finds its file.
#[test]
fn the_next_may_begin_at_once() {
    let server = Server::start(options(3));
    let mut clients: Vec<Client> = (0..6).map(|_| server.client()).collect();
    let path = server.home().path().join("dump.rdb");
    clients[0].words("DEBUG POPULATE 300 key 100");
    for round in 0..120 {
        let n = clients.len();
        if round % 2 == 0 {
            assert_eq!(clients[round % n].words("SAVE"), simple(OK), "round {round}");
            std::fs::remove_file(&path).expect("a file that is there");
        } else {
            assert_eq!(clients[round % n].words("BGSAVE"), simple(STARTED), "round {round}");
            until_over(&mut clients[(round + 3) % n]);
            std::fs::remove_file(&path).expect("a file that is there");
        }
    }
    assert_eq!(told(&mut clients[0], "rdb_saves"), "120");
    clients[0].words("CONFIG RESETSTAT");
    assert_eq!(told(&mut clients[0], "rdb_saves"), "0");
}
