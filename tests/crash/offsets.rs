//! The history's name and the offset of the stream for replicas (INFO replication), over whatever
//! ends a process, and between servers.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::interop::rewrite::{rewrite, until_rewritten};
use crate::support::server::{Home, fresh_home, subject};
use crate::support::{Client, Options, Server, Value, encode};

/// Kills under load.
const KILLS: u64 = 12;

/// What INFO tells of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
struct History {
    id: String,
    offset: u64,
    second: Option<(String, u64)>,
}

fn history(client: &mut Client) -> History {
    let info = client.words("INFO replication");
    let info = String::from_utf8(info.text().expect("text").to_vec()).unwrap();
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {info}")).to_owned()
    };
    let (id, second) = (field("master_replid"), field("master_replid2"));
    assert_eq!((id.len(), second.len()), (40, 40));
    let upto = field("second_repl_offset").parse::<u64>().ok();
    assert_eq!(upto.is_none(), second == "0".repeat(40), "{info}");
    let offset = field("master_repl_offset").parse().unwrap();
    // The first offset that the second name does not know.
    History { id, offset, second: upto.map(|upto| (second, upto - 1)) }
}

fn of(server: &Server) -> History {
    history(&mut server.client())
}

fn grows(client: &mut Client, words: &str, before: &mut History) {
    let reply = client.words(words);
    assert!(!reply.is_error(), "{words}: {reply:?}");
    let now = history(client);
    assert!(now.offset > before.offset, "{words}: {} behind {}", now.offset, before.offset);
    assert_eq!((&now.id, &now.second), (&before.id, &before.second), "{words}");
    *before = now;
}

fn tool(words: &[&str], paths: &[&Path]) {
    let mut command = Command::new(subject());
    command.args(words).args(paths).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the subject");
    child.stdin.take().expect("piped").write_all(b"y\n").unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stdout));
}

fn log_dir(home: &Home) -> std::path::PathBuf {
    home.path().join("appendonlydir")
}

#[test]
fn an_offset_counts_the_bytes_of_commands() {
    let server = Server::start(Options::shards(1));
    let mut client = server.client();
    let begun = history(&mut client);
    assert_eq!((begun.offset, &begun.second), (0, &None));
    let set = ["SET", "key", "value"];
    client.call(&set);
    let one = encode(&set).len() as u64;
    assert_eq!(history(&mut client).offset, one);
    client.words("GET key");
    client.words("DEL nothing");
    assert_eq!(history(&mut client).offset, one, "what changes nothing");
    client.words("SELECT 1");
    client.call(&set);
    let more = encode(&["SELECT", "1"]).len() as u64 + one;
    assert_eq!(history(&mut client).offset, one + more);
    client.words("FLUSHALL");
    // In a file of its own, where the database is told again.
    let flush = encode(&["SELECT", "1"]).len() + encode(&["FLUSHALL"]).len();
    assert_eq!(history(&mut client).offset, one + more + flush as u64);
}

#[test]
fn a_history_outlives_stops_kills_rewrites_and_other_numbers_of_shards() {
    let mut server = Server::start(Options { fsync: "everysec", ..Options::shards(2) });
    let mut known = of(&server);
    let shards = |shards| Options { fsync: "everysec", ..Options::shards(shards) };
    for (n, count) in [2, 3, 1, 4].into_iter().enumerate() {
        let mut client = server.client();
        grows(&mut client, &format!("MSET a {n} b {n} c {n} d {n}"), &mut known);
        grows(&mut client, "RENAME a e", &mut known);
        for words in ["MULTI", "SET x 1", "SET y 2"] {
            client.words(words);
        }
        grows(&mut client, "EXEC", &mut known);
        server = server.kill().restart_with(shards(count));
        assert_eq!(of(&server), known, "killed at rest");
        let mut client = server.client();
        grows(&mut client, "FLUSHALL", &mut known);
        grows(&mut client, "SET k v", &mut known);
        rewrite(&mut client);
        assert_eq!(of(&server), known, "a rewrite is no write");
        server = server.kill().restart();
        assert_eq!(of(&server), known);
        grows(&mut server.client(), "SWAPDB 0 1", &mut known);
        server = server.stop().restart();
        assert_eq!(of(&server), known, "stopped");
    }
    let stopped = server.kill();
    let manifest = stopped.path().join("appendonlydir/appendonly.aof.manifest");
    tool(&["check-aof", "--fix"], &[&manifest]);
    assert_eq!(of(&stopped.restart()), known);
}

#[test]
fn a_history_goes_on_while_the_log_is_off_and_another_log_is_another_heir() {
    let options = Options::shards(2).with("save", "");
    let server = Server::start(options);
    let mut client = server.client();
    let mut known = history(&mut client);
    grows(&mut client, "MSET a 1 b 2", &mut known);
    let logged = known.clone();
    client.words("CONFIG SET appendonly no");
    assert_eq!(history(&mut client), known);
    // An older log that somebody finds: the name has gone on without it.
    let home = fresh_home();
    copy(&log_dir(&server.home()), &log_dir(&home));
    let heir = of(&Server::start_in(home, Options::shards(2)));
    assert_ne!(heir.id, known.id);
    assert_eq!((heir.offset, heir.second), (logged.offset, Some((logged.id, logged.offset))));
    for words in ["SET c 3", "MSET a 4 b 5", "FLUSHALL", "SET d 6"] {
        grows(&mut client, words, &mut known);
    }
    client.words("CONFIG SET appendonly yes");
    until_rewritten(&mut client);
    assert_eq!(history(&mut client), known);
    grows(&mut client, "SET e 7", &mut known);
    let server = server.kill().restart();
    assert_eq!(of(&server), known);
    assert_eq!(of(&server.stop().restart()), known);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn what_backup_and_restore_make_has_another_name() {
    let server = Server::start(Options::shards(2).with("aof-history-retention", "3600"));
    let mut client = server.client();
    let mut known = history(&mut client);
    grows(&mut client, "MSET a 1 b 2", &mut known);
    client.words("BACKUP START");
    until_rewritten(&mut client);
    grows(&mut client, "MSET a 3 b 4", &mut known);
    while client.words("BACKUP SEAL").is_error() {
        std::thread::yield_now();
    }
    let sealed = known.clone();
    grows(&mut client, "SET c 5", &mut known);
    let home = fresh_home();
    copy(&server.home().path().join("backupdir"), &log_dir(&home));
    let heir = Server::start_in(home, Options::shards(1));
    let told = of(&heir);
    assert_ne!(told.id, known.id);
    assert_eq!(
        (told.offset, &told.second),
        (sealed.offset, &Some((known.id.clone(), told.offset)))
    );
    assert_eq!(of(&heir.kill().restart()), told, "its own name stays");
    let stopped = server.stop();
    let home = fresh_home();
    let now = u32::MAX.to_string();
    let bounds = format!("0:{now},1:{now}");
    let source = stopped.path().join("appendonlydir");
    tool(&["restore", "--to", &bounds], &[&source, &log_dir(&home)]);
    let told = of(&Server::start_in(home, Options::shards(2)));
    assert_ne!(told.id, known.id);
    assert_eq!((told.offset, told.second), (known.offset, Some((known.id.clone(), known.offset))));
    assert_eq!(of(&stopped.restart()), known, "and where it came from goes on");
}

/// Snapshots tell and are told of histories as those of Redis: a start draws a name, and the old
/// one counts up to the file's moment.
#[test]
fn a_snapshot_takes_the_history_along_as_with_redis() {
    let options = Options { appendonly: false, ..Options::shards(2) };
    let options = options.with("save", "");
    let server = Server::start(options.clone());
    let mut client = server.client();
    let mut known = history(&mut client);
    for n in 0..9 {
        grows(&mut client, &format!("SET k{n} v"), &mut known);
    }
    assert_eq!(client.words("SAVE"), Value::Simple(b"OK".into()));
    let second = Some((known.id.clone(), known.offset));
    let stopped = server.kill();
    let file = std::fs::read(stopped.path().join("dump.rdb")).unwrap();
    let server = stopped.restart_with(Options { shards: 3, ..options.clone() });
    let mut next = of(&server);
    assert_ne!(next.id, known.id);
    assert_eq!((next.offset, &next.second), (known.offset, &second));
    grows(&mut server.client(), "SET more v", &mut next);
    let home = fresh_home();
    std::fs::write(home.path().join("dump.rdb"), file).unwrap();
    let plain = Options { appendonly: false, ..Options::default() };
    let Some(peer) = Server::peer_in(home, plain, "the history that a snapshot tells") else {
        return;
    };
    let there = of(&peer);
    assert_eq!((there.offset, &there.second), (known.offset, &second), "as Redis takes it");
    // And back: Redis tells of a history once a replica has come.
    let mut replica = peer.client();
    replica.send(&encode(&["PSYNC", "?", "-1"])).unwrap();
    let mut client = peer.client();
    while history(&mut client).offset == there.offset {
        client.words("SET more v");
    }
    // What it saves for the replica comes first.
    while client.words("SAVE").is_error() {
        std::thread::yield_now();
    }
    let known = history(&mut client);
    let home = fresh_home();
    std::fs::copy(peer.home().path().join("dump.rdb"), home.path().join("dump.rdb")).unwrap();
    let told = of(&Server::start_in(home, options));
    assert_eq!((&told.second, told.offset), (&Some((known.id, known.offset)), known.offset));
}

/// Whatever anybody was told of the offset, and whatever was acknowledged, a kill takes none of it.
#[test]
fn an_offset_never_goes_back_behind_a_kill() {
    let policies = ["always", "everysec", "no"];
    let mut server = Server::start(Options::shards(2));
    let (mut id, mut renamed) = (of(&server).id, 0);
    for round in 0..KILLS {
        let (over, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
        let before = of(&server).offset;
        let port = server.port();
        let mut highest = before;
        let next = Options {
            fsync: policies[round as usize % 3],
            ..Options::shards(1 + round as usize % 3)
        };
        let stopped = std::thread::scope(|scope| {
            for who in 0..3 {
                let (over, acknowledged) = (&over, &acknowledged);
                scope.spawn(move || write(port, who, over, acknowledged));
            }
            let mut client = server.client();
            while acknowledged.load(Ordering::SeqCst) < 2000 {
                let told = history(&mut client);
                assert!(told.offset >= highest && told.id == id, "{told:?} behind {highest}");
                highest = told.offset;
            }
            let stopped = server.kill();
            over.store(true, Ordering::SeqCst);
            stopped
        });
        server = stopped.restart_with(next);
        let told = of(&server);
        let least = before + acknowledged.load(Ordering::SeqCst);
        assert!(told.offset >= highest.max(least), "{told:?}, told {highest}, least {least}");
        if told.id != id {
            // A file that ended within a frame, or within filler.
            let second = told.second.clone().expect("the old name");
            assert!(second.0 == id && second.1 <= told.offset, "{told:?}");
            (id, renamed) = (told.id.clone(), renamed + 1);
        }
        server = server.stop().restart();
        assert_eq!(of(&server), told, "counted again");
    }
    assert!(renamed < KILLS / 2, "{renamed} of {KILLS} kills took the name");
}

/// Writes until the server is gone, and counts the bytes of what is acknowledged.
fn write(port: u16, who: u64, over: &AtomicBool, acknowledged: &AtomicU64) {
    let Ok(mut client) = Client::connect(port) else { return };
    let keys: Vec<String> = (0..5).map(|n| format!("{who}:{n}")).collect();
    for n in 0u64.. {
        let value = n.to_string();
        // Two keys of two shards, mostly: at least as many bytes as two commands.
        let (a, b) = (&keys[n as usize % 5], &keys[(n as usize + 1) % 5]);
        let done = match n % 7 {
            0 => client.try_call(&["MSET", a, &value, b, &value]),
            1 => client.try_call(&["SELECT", &(n / 7 % 3).to_string()]),
            _ => client.try_call(&["SET", a, &value]),
        };
        match done {
            Ok(_) if n % 7 == 1 => {}
            Ok(_) => {
                let bytes = encode(&["SET", a, &value]).len() as u64;
                acknowledged.fetch_add(bytes, Ordering::SeqCst);
            }
            Err(_) => return,
        }
        if over.load(Ordering::SeqCst) {
            return;
        }
    }
}
