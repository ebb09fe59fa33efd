//! kill -9 while the log is rewritten and snapshots are taken, one behind the other, with
//! whole-keyspace commands in between. Beside what every round of kills checks, nothing may be left
//! in the directory that the manifest does not name.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::round_beside;
use crate::interop::rewrite::{rewrite as rewritten, told, until_rewritten};
use crate::snapshot::crash::Small;
use crate::support::{Client, Options, Server, Value, number, server};

/// The database of [`beside`].
pub const BESIDE: usize = 9;
/// What every base has to write.
const KEYS: u64 = 4_000;

/// Steps from one FLUSHDB to the next.
const CYCLE: u64 = 40;
/// Writes from one rewrite to the next.
const PAUSE: u64 = 60;

/// What database [`BESIDE`] holds behind so many steps.
pub fn state(steps: u64) -> Option<u64> {
    Some(steps).filter(|steps| !steps.is_multiple_of(CYCLE))
}

/// Counts, and now and then empties the database, which cuts the log; `done` has the steps.
pub fn beside(port: u16, done: &AtomicU64) {
    let Ok(mut client) = Client::connect(port) else { return };
    let mut call = |words: &[&str]| client.try_call(words).is_ok_and(|reply| !reply.is_error());
    let mut going = call(&["SELECT", &BESIDE.to_string()]) && call(&["FLUSHDB"]);
    for step in 1.. {
        going = going
            && match step % CYCLE {
                0 => call(&["FLUSHDB"]),
                _ => call(&["SET", "step", &step.to_string()]),
            };
        if !going {
            return;
        }
        done.store(step, Ordering::SeqCst);
    }
}

pub fn found(client: &mut Client) -> Option<u64> {
    client.words(&format!("SELECT {BESIDE}"));
    let step = client.words("GET step");
    assert_eq!(client.words("DBSIZE"), Value::Int(i64::from(step.text().is_some())));
    step.text().map(|text| std::str::from_utf8(text).unwrap().parse().unwrap())
}

/// Files of the log that its manifest does not name.
pub fn unnamed(dir: &Path) -> Vec<String> {
    let names: Vec<String> = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let manifest =
        std::fs::read_to_string(dir.join("appendonly.aof.manifest")).expect("a manifest");
    let named = |name: &&String| {
        name.ends_with(".manifest") && !name.starts_with("temp-")
            || name.ends_with(".cut")
            || name.ends_with(".reserve")
            || manifest.contains(&format!("file {name} "))
    };
    names.iter().filter(|name| !named(name)).cloned().collect()
}

/// Begins rewrites (`BGREWRITEAOF`) or snapshots (`BGSAVE SCHEDULE`) until the server is gone;
/// `begun` counts them.
fn walk(port: u16, command: &[&str], begun: &AtomicU64) {
    let Ok(mut client) = Client::connect(port) else { return };
    client.words(&format!("SELECT {BESIDE}"));
    // None of these is judged: they stay out of the database of the steps.
    let mut left = 0;
    loop {
        let words: &[&str] = if left > 0 { &["DEL", "nothing"] } else { command };
        let Ok(reply) = client.try_call(words) else { return };
        if left > 0 {
            left -= 1;
        } else if !reply.is_error() {
            begun.fetch_add(1, Ordering::SeqCst);
        } else {
            left = PAUSE;
        }
    }
}

fn kills(fsync: &'static str) {
    if server::judged_by_peer() {
        // Its rewrites take a fork each.
        return;
    }
    let rounds = number("RINGSTONE_REWRITE_KILLS", 3);
    let base = number("RINGSTONE_CRASH_SEED", 1);
    let options = |round: u64| {
        let options = Options::shards([2, 4, 1, 3][(round % 4) as usize]);
        let options = options.with("enable-debug-command", "yes").with("hz", "10");
        let plain = round % 3 == 2;
        Options { fsync, ..options }.with("aof-use-rdb-preamble", if plain { "no" } else { "yes" })
    };
    let mut server = Server::start(options(0));
    let reply = server.client().words(&format!("DEBUG POPULATE {KEYS} ballast 100"));
    assert!(!reply.is_error(), "{reply:?}");
    let (mut total, mut snapshots) = (0, 0);
    for i in 0..rounds {
        let (port, name) = (server.port(), format!("rewrite:{fsync}{i}"));
        let (begun, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let saved = AtomicU64::new(0);
        server = std::thread::scope(|scope| {
            let begin = || {
                scope.spawn(|| walk(port, &["BGREWRITEAOF"], &begun));
                scope.spawn(|| walk(port, &["BGSAVE", "SCHEDULE"], &saved));
                scope.spawn(|| beside(port, &done));
            };
            // Somewhere within one of them: they come one behind the other.
            let wanted = 2 + (base * 31 + i * 7) % 3;
            let moment = || {
                while begun.load(Ordering::SeqCst) < wanted || saved.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
            };
            round_beside(server, &name, base * 20_000 + i, options(i + 1), false, (begin, moment))
        });
        let steps = done.load(Ordering::SeqCst);
        let held = found(&mut server.client());
        let allowed = [state(steps), state(steps + 1)];
        // Behind none it may have what the round before has left.
        let judged = steps > 0;
        assert!(
            !judged || allowed.contains(&held),
            "{name}: {held:?} behind {steps} steps\n{}",
            server.log()
        );
        assert_eq!(unnamed(&server.home().path().join("appendonlydir")), [""; 0], "{name}");
        total += begun.load(Ordering::SeqCst);
        snapshots += saved.load(Ordering::SeqCst);
    }
    println!(
        "long form: {rounds} rounds of kill -9 under {fsync}, {total} rewrites and {snapshots} \
         snapshots begun or scheduled"
    );
}

#[test]
fn kill_9_in_a_rewrite_loses_nothing_under_always() {
    kills("always");
}

#[test]
fn kill_9_in_a_rewrite_loses_nothing_under_everysec() {
    kills("everysec");
}

#[test]
fn kill_9_in_a_rewrite_loses_nothing_under_no() {
    kills("no");
}

/// A FLUSHALL while the base is written: what comes behind it is all that is found.
#[test]
fn flushall_in_a_rewrite_leaves_what_came_behind_it() {
    if server::judged_by_peer() {
        return;
    }
    let options = || Options::shards(2).with("enable-debug-command", "yes");
    let mut server = Server::start(options());
    for round in 0..number("RINGSTONE_REWRITE_FLUSHES", 4) {
        let mut client = server.client();
        client.words("DEBUG POPULATE 5000 ballast 100");
        client.words("CONFIG SET rdb-key-save-delay 20");
        assert!(!client.words("BGREWRITEAOF").is_error());
        client.words("SET before 1");
        assert_eq!(client.words("FLUSHALL"), Value::Simple(b"OK".into()));
        client.words(&format!("SET behind {round}"));
        client.words("CONFIG SET rdb-key-save-delay 0");
        if round % 2 == 1 {
            // A generation may then have the number of the one that began with the base.
            client.words("SELECT 1");
            client.words("SET gone 1");
            client.words("FLUSHDB");
            client.words("SELECT 0");
            assert!(!client.words("BGREWRITEAOF").is_error());
        }
        server = server.kill().restart();
        let mut client = server.client();
        assert_eq!(client.words("DBSIZE"), Value::Int(1), "{}", server.log());
        assert_eq!(client.words("GET behind"), Value::Bulk(round.to_string().into()));
        client.words("FLUSHALL");
    }
}

/// A rewrite for which there is no room: for the new files of the log (as many files as there may
/// be), then for the base. The server goes on, on the old files, and the next one succeeds.
#[test]
fn a_rewrite_without_room_leaves_the_old_files() {
    if server::judged_by_peer() {
        return;
    }
    let options = |shards| Options::shards(shards).with("enable-debug-command", "yes");
    // The directory and the log's, the lock, two files of the log and the manifest; and the base.
    let bounds = "size=8m,nr_inodes=7";
    let Some(small) = Small::mount_with(bounds, "rewrites on a full disk") else { return };
    let mut server = Server::start_in(small.0.clone(), options(2));
    let dir = small.0.path().join("appendonlydir");
    let manifest = || std::fs::read(dir.join("appendonly.aof.manifest")).expect("a manifest");
    let mut client = server.client();
    client.words("SELECT 3");
    client.words("DEBUG POPULATE 2000 ballast 100");
    client.words("MSET a 1 b 1 c 1");
    let old = manifest();
    let mut failures = 0;
    for lack in ["files", "bytes"] {
        if lack == "bytes" {
            small.change("nr_inodes=100");
            client.words("CONFIG SET rdbcompression no");
            // More than half of what there is, in the log.
            client.call(&["SET", "long", &"x".repeat(4_500_000)]);
        }
        for round in 0..3 {
            assert!(!client.words("BGREWRITEAOF").is_error());
            // The first behind the moment is of another database than the last before it.
            client.words("SELECT 0");
            client.words(&format!("SET zero {lack}{round}"));
            client.words("SELECT 3");
            client.words(&format!("MSET a {lack}{round} b {lack}{round} c {lack}{round}"));
            until_rewritten(&mut client);
            failures += 1;
            assert_eq!(told(&mut client, "aof_last_bgrewrite_status"), "err", "{lack}");
            let counted = told(&mut client, "aof_rewrites_consecutive_failures");
            assert_eq!(counted, failures.to_string(), "{lack}");
            assert_eq!(unnamed(&dir), [""; 0], "{lack}");
            if lack == "files" {
                assert_eq!(manifest(), old);
            }
        }
    }
    for (what, count) in [
        ("Background AOF rewrite terminated with error", failures),
        ("cannot go over to new files", 3),
    ] {
        let said = server.said(|log| log.matches(what).count() >= count);
        assert_eq!(said.matches(what).count(), count, "{said}");
    }
    server = server.kill().restart();
    let mut client = server.client();
    assert_eq!(client.words("GET zero"), Value::Bulk(b"bytes2".into()));
    assert_eq!(client.words("DBSIZE"), Value::Int(1));
    client.words("SELECT 3");
    assert_eq!(client.words("GET b"), Value::Bulk(b"bytes2".into()));
    assert_eq!(client.words("DBSIZE"), Value::Int(2_004));
    small.change("size=64m");
    rewritten(&mut client);
    client.words("SET a behind");
    server = server.kill().restart();
    let mut client = server.client();
    client.words("SELECT 3");
    assert_eq!(client.words("GET a"), Value::Bulk(b"behind".into()));
    assert_eq!(client.words("DBSIZE"), Value::Int(2_004));
    drop(client);
    drop(server);
}
