//! BACKUP: what SEAL leaves, copied elsewhere, is the data of one moment between SEAL and its
//! reply, for Ringstone and for redis-server; the states, their errors, and what a kill leaves.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{options, told, until_saved};
use crate::interop::fill;
use crate::interop::rewrite::{rewrite, until_rewritten};
use crate::support::data;
use crate::support::server::{Home, fresh_home};
use crate::support::{Client, Options, Server, Value, encode};

/// Threads that write beside a backup.
const WRITERS: u64 = 3;
/// Keys of a writer's transaction, over all shards.
const KEYS: u64 = 8;

fn logged(shards: usize) -> Options {
    Options { appendonly: true, fsync: "everysec", ..options(shards) }
}

fn ok() -> Value {
    Value::Simple(b"OK".into())
}

fn error(client: &mut Client, words: &str, text: &str) {
    assert_eq!(client.words(words), Value::Error(text.into()), "{words}");
}

/// What BACKUP STATUS says.
fn status(client: &mut Client) -> HashMap<String, String> {
    let reply = client.words("BACKUP STATUS");
    let text = |value: &Value| match value {
        Value::Int(n) => n.to_string(),
        other => String::from_utf8(other.text().expect("a text").to_vec()).unwrap(),
    };
    let items = reply.items().expect("pairs");
    items.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn state(client: &mut Client) -> String {
    status(client).remove("state").expect("a state")
}

fn until(client: &mut Client, wanted: &str) {
    loop {
        let now = status(client);
        if now["state"] == wanted {
            return;
        }
        assert_ne!(now["state"], "failed", "{now:?}");
        std::thread::yield_now();
    }
}

fn list(client: &mut Client) -> Vec<PathBuf> {
    let reply = client.words("BACKUP LIST");
    let path = |value: &Value| {
        PathBuf::from(String::from_utf8(value.text().expect("a path").to_vec()).unwrap())
    };
    reply.items().expect("paths").iter().map(path).collect()
}

fn start(client: &mut Client) {
    assert_eq!(client.words("BACKUP START"), ok());
    until(client, "incrementing");
}

/// What LIST names, in the place of a log.
fn copied(files: &[PathBuf]) -> Home {
    let home = fresh_home();
    let log = home.path().join("appendonlydir");
    std::fs::create_dir(&log).unwrap();
    for file in files {
        std::fs::copy(file, log.join(file.file_name().unwrap())).expect("a file of LIST");
    }
    home
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn ends_with(file: &Path, ending: &str) -> bool {
    file.to_str().unwrap().ends_with(ending)
}

#[test]
fn from_start_to_cleanup() {
    let server = Server::start(logged(2));
    let mut client = server.client();
    let dir = server.home().path().join("backupdir");
    let idle = [("state", "idle"), ("error", ""), ("start_time", "0"), ("end_time", "0")];
    let idle: HashMap<_, _> = idle.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(status(&mut client), idle);
    assert_eq!(list(&mut client), Vec::<PathBuf>::new());
    assert_eq!(told(&mut client, "backup_in_progress"), "0");
    for name in ["backupdirname", "backup-sealed-ttl"] {
        let reply = client.words(&format!("CONFIG GET {name}"));
        assert_eq!(reply.items().unwrap().len(), 2, "{name}");
    }
    error(&mut client, "BACKUP ABORT", "ERR No backup in progress");
    let not_ready = "ERR No backup ready to seal (must be in the incrementing state)";
    error(&mut client, "BACKUP SEAL", not_ready);
    assert_eq!(client.words("BACKUP CLEANUP"), ok());
    client.words("MSET a 1 b 2");
    start(&mut client);
    assert_eq!(told(&mut client, "backup_in_progress"), "1");
    let already = "ERR A backup is already in progress, ABORT it first";
    error(&mut client, "BACKUP START", already);
    error(&mut client, "BACKUP CLEANUP", "ERR Backup is in progress");
    let pinned = list(&mut client);
    assert!(pinned.len() == 1 && ends_with(&pinned[0], ".base.rdb"), "{pinned:?}");
    assert!(pinned[0].is_absolute() && pinned[0].is_file());
    client.words("SET c 3");
    assert_eq!(client.words("BACKUP SEAL"), ok());
    assert_eq!(told(&mut client, "backup_in_progress"), "0");
    let now = status(&mut client);
    assert_eq!((now["state"].as_str(), now["error"].as_str()), ("sealed", ""));
    let seconds = |field: &str| now[field].parse::<u64>().unwrap();
    assert!(seconds("start_time") > 0 && seconds("end_time") >= seconds("start_time"));
    let files = list(&mut client);
    assert_eq!(files.len(), 1 + 2 + 1, "{files:?}");
    assert!(files[0] == pinned[0] && ends_with(&files[3], ".manifest"), "{files:?}");
    let bytes = |files: &[PathBuf]| -> Vec<Vec<u8>> {
        files.iter().map(|file| std::fs::read(file).unwrap()).collect()
    };
    let before = bytes(&files);
    error(&mut client, "BACKUP SEAL", not_ready);
    error(&mut client, "BACKUP ABORT", "ERR No backup in progress");
    error(&mut client, "BACKUP START", "ERR A sealed backup exists, CLEANUP it first");
    // Whatever becomes of the log, these stay.
    client.words("SET d 4");
    rewrite(&mut client);
    assert_eq!(client.words("FLUSHALL"), ok());
    assert!(bytes(&files) == before, "files of a sealed backup have changed");
    let again = Server::start_in(copied(&files), logged(3));
    assert_eq!(again.client().words("DBSIZE"), Value::Int(3));
    assert_eq!(client.words("BACKUP CLEANUP"), ok());
    assert_eq!(status(&mut client), idle);
    assert!(names(&dir).is_empty(), "{:?}", names(&dir));
    assert_eq!(client.words("DBSIZE"), Value::Int(0));
    // A log without anything in front of it, as a FLUSHALL leaves it.
    start(&mut client);
    assert_eq!(client.words("FLUSHALL"), ok());
    client.words("SET e 5");
    assert_eq!(client.words("FLUSHALL"), ok());
    client.words("SET f 6");
    assert_eq!(client.words("BACKUP SEAL"), ok());
    let files = list(&mut client);
    assert!(files.iter().all(|file| file.is_file()), "{files:?}");
    assert_eq!(names(&dir).len(), files.len(), "nothing but what LIST says");
    let again = Server::start_in(copied(&files), logged(1));
    assert_eq!(again.client().words("KEYS *").items().unwrap(), [Value::Bulk(b"f".into())]);
}

#[test]
fn abort_and_what_stands_in_the_way() {
    let server = Server::start(logged(2));
    let mut client = server.client();
    let dir = server.home().path().join("backupdir");
    start(&mut client);
    assert_eq!(client.words("BACKUP ABORT"), ok());
    let now = status(&mut client);
    assert_eq!((now["state"].as_str(), now["error"].as_str()), ("failed", "aborted by user"));
    assert!(names(&dir).is_empty() && list(&mut client).is_empty());
    assert_eq!(told(&mut client, "backup_in_progress"), "0");
    // What nobody knows is not touched.
    std::fs::write(dir.join("stale"), b"x").unwrap();
    error(&mut client, "BACKUP START", "ERR The backup directory is not empty");
    assert_eq!(state(&mut client), "failed");
    assert_eq!(client.words("BACKUP CLEANUP"), ok());
    assert_eq!((state(&mut client).as_str(), names(&dir).len()), ("idle", 1));
    std::fs::remove_file(dir.join("stale")).unwrap();
    // It waits for a snapshot, and comes in with a rewrite.
    client.words("DEBUG POPULATE 500 key 10");
    client.words("CONFIG SET rdb-key-save-delay 1000000");
    client.words("BGSAVE");
    assert_eq!(client.words("BACKUP START"), ok());
    assert_eq!(state(&mut client), "pending");
    assert_eq!(client.words("BACKUP ABORT"), ok());
    assert_eq!(client.words("BACKUP START"), ok());
    assert_eq!(list(&mut client), Vec::<PathBuf>::new());
    client.words("CONFIG SET rdb-key-save-delay 0");
    until_saved(&mut client);
    until(&mut client, "incrementing");
    assert_eq!(client.words("BACKUP ABORT"), ok());
    until_rewritten(&mut client);
    client.words("CONFIG SET rdb-key-save-delay 1000000");
    client.words("BGREWRITEAOF");
    let rewrites = told(&mut client, "aof_rewrites");
    assert_eq!(client.words("BACKUP START"), ok());
    assert_eq!(state(&mut client), "snapshotting");
    // Nothing comes of that rewrite: another follows.
    assert_eq!(client.words("FLUSHALL"), ok());
    client.words("CONFIG SET rdb-key-save-delay 0");
    until(&mut client, "incrementing");
    assert_ne!(told(&mut client, "aof_rewrites"), rewrites);
    // A second SEAL beside the first, and none in a transaction.
    let not_in = "ERR Command not allowed inside a transaction";
    client.words("MULTI");
    error(&mut client, "BACKUP SEAL", not_in);
    client.words("DISCARD");
    for step in ["START", "ABORT", "CLEANUP"] {
        client.words("MULTI");
        client.words("BACKUP STATUS");
        error(&mut client, &format!("BACKUP {step}"), not_in);
        client.words("DISCARD");
    }
    assert_eq!(client.words("BACKUP ABORT"), ok());
    let server = Server::start(options(1));
    let text = "ERR A backup needs the log: appendonly is no";
    error(&mut server.client(), "BACKUP START", text);
}

/// What stands between two generations is in the set as well, and the set ends as a log does behind
/// a clean stop: nothing can go missing at its end unnoticed.
#[test]
fn flushes_meanwhile_are_in_it_and_its_end_is_known() {
    let server = Server::start(logged(2));
    let mut client = server.client();
    let flushed = |client: &mut Client| {
        client.words("SELECT 1");
        assert_eq!(client.words("FLUSHDB"), ok());
        client.words("SELECT 0");
    };
    client.words("SELECT 1");
    client.words("MSET gone 1 gone:too 2 gone:three 3");
    client.words("SELECT 0");
    client.words("SET a 1");
    start(&mut client);
    flushed(&mut client);
    client.words("SET b 2");
    assert_eq!(client.words("BACKUP SEAL"), ok());
    let files = list(&mut client);
    let manifest = std::fs::read_to_string(files.last().unwrap()).unwrap();
    assert_eq!(manifest.matches(" part cut ").count(), 1, "{manifest}");
    assert_eq!(manifest.matches(" clean 1 ").count(), 2, "{manifest}");
    let again = Server::start_in(copied(&files), logged(2));
    let mut client = again.client();
    assert_eq!(client.words("DBSIZE"), Value::Int(2));
    client.words("SELECT 1");
    assert_eq!(client.words("DBSIZE"), Value::Int(0));
}

/// Begun while somebody else turns the log off: it fails, or is refused, and what is begun when the
/// log is on again has all that is in that.
#[test]
fn none_is_open_behind_a_log_that_was_turned_off() {
    let server = Server::start(logged(2));
    let (mut client, mut other) = (server.client(), server.client());
    for round in 0..40 {
        // Sooner and later behind the beginning of the end.
        other.send(&encode(&["CONFIG", "SET", "appendonly", "no"])).unwrap();
        for _ in 0..round % 20 {
            client.words("PING");
        }
        client.words("BACKUP START");
        assert_eq!(other.reply().unwrap().1, ok());
        let now = state(&mut client);
        assert!(now == "failed" || now == "idle", "{now} in round {round}");
        if now == "failed" {
            assert_eq!(client.words("BACKUP CLEANUP"), ok());
        }
        assert_eq!(client.words("CONFIG SET appendonly yes"), ok());
        client.words("WAITAOF 1 0 0");
    }
}

#[test]
fn a_sealed_one_goes_when_its_time_is_over() {
    let server = Server::start(logged(2));
    let mut client = server.client();
    let dir = server.home().path().join("backupdir");
    start(&mut client);
    assert_eq!(client.words("BACKUP SEAL"), ok());
    assert_eq!(client.words("CONFIG SET backup-sealed-ttl 1"), ok());
    until(&mut client, "idle");
    assert!(names(&dir).is_empty());
}

#[test]
fn what_a_kill_leaves_is_told_apart() {
    let server = Server::start(logged(2));
    let mut client = server.client();
    client.words("SET a 1");
    start(&mut client);
    let server = server.kill().restart();
    let mut client = server.client();
    assert_eq!(state(&mut client), "failed");
    // It takes the place of what is left.
    start(&mut client);
    assert_eq!(client.words("BACKUP SEAL"), ok());
    let files = list(&mut client);
    let server = server.kill().restart();
    let mut client = server.client();
    assert_eq!(state(&mut client), "sealed");
    assert_eq!(list(&mut client), files);
    let again = Server::start_in(copied(&files), logged(1));
    assert_eq!(again.client().words("GET a"), Value::Bulk(b"1".into()));
    assert_eq!(client.words("BACKUP CLEANUP"), ok());
    assert!(names(&server.home().path().join("backupdir")).is_empty());
}

/// Writes its number into keys of all shards, in a transaction; `done` has the last one told of.
fn write(port: u16, writer: u64, going: &AtomicBool, done: &AtomicU64) {
    let mut client = Client::connect(port).expect("a connection");
    for step in 1.. {
        if !going.load(Ordering::SeqCst) {
            return;
        }
        client.words("MULTI");
        for key in 0..KEYS {
            client.words(&format!("SET writer:{writer}:{key} {step}"));
        }
        assert_eq!(client.words("EXEC").items().expect("no error").len(), KEYS as usize);
        done.store(step, Ordering::SeqCst);
    }
}

/// Stops the writers, also when a check fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

fn steps(done: &[AtomicU64]) -> Vec<u64> {
    done.iter().map(|steps| steps.load(Ordering::SeqCst)).collect()
}

/// Every transaction that was told of in front of SEAL, none that began behind its reply, and none
/// in part.
fn check(client: &mut Client, before: &[u64], behind: &[u64], what: &str) {
    for (writer, (before, behind)) in before.iter().zip(behind).enumerate() {
        let read = |client: &mut Client, key| {
            let value = client.words(&format!("GET writer:{writer}:{key}"));
            value.text().map_or(0, |text| std::str::from_utf8(text).unwrap().parse().unwrap())
        };
        let step: u64 = read(client, 0);
        // The one under way may be in it.
        assert!((*before..=behind + 1).contains(&step), "{what}: {before} {step} {behind}");
        for key in 1..KEYS {
            assert_eq!(read(client, key), step, "{what}: a transaction in part");
        }
    }
}

fn under_load(shards: usize, rounds: usize) {
    let server = Server::start(logged(shards));
    fill(&server, 900 + shards as u64);
    let going = &AtomicBool::new(true);
    let done: Arc<Vec<AtomicU64>> = Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    let mut client = server.client();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (done, port) = (Arc::clone(&done), server.port());
            scope.spawn(move || write(port, writer, going, &done[writer as usize]));
        }
        let _end = End(going);
        for round in 0..rounds {
            let what = format!("{shards} shards, round {round}");
            start(&mut client);
            let others = ["SET aside 1", "SWAPDB 12 13", "BGREWRITEAOF", "SELECT 12", "SET x 1"];
            for words in others.iter().take(1 + round % 5).chain(&["SELECT 0"]) {
                client.words(words);
            }
            if round % 2 == 0 {
                until_rewritten(&mut client);
            }
            let before = steps(&done);
            assert_eq!(client.words("BACKUP SEAL"), ok(), "{what}");
            let behind = steps(&done);
            // The log goes on, and away.
            until_rewritten(&mut client);
            rewrite(&mut client);
            let files = list(&mut client);
            let again = Server::start_in(copied(&files), logged(5 - shards));
            check(&mut again.client(), &before, &behind, &what);
            let digest = again.client().words("DEBUG DIGEST");
            if let Some(peer) = Server::peer_in(copied(&files), logged(1), &what) {
                check(&mut peer.client(), &before, &behind, &what);
                assert_eq!(peer.client().words("DEBUG DIGEST"), digest, "{what}");
                let (ours, theirs) = (&mut again.client(), &mut peer.client());
                data::assert_same(&data::read(ours), &data::read(theirs), 0, false, &what);
            }
            assert_eq!(client.words("BACKUP CLEANUP"), ok());
        }
    });
}

#[test]
fn under_load_of_1_shard() {
    under_load(1, 3);
}

#[test]
fn under_load_of_2_shards() {
    under_load(2, 5);
}

#[test]
fn under_load_of_4_shards() {
    under_load(4, 5);
}
