//! Saves that do not come to their end: the process is killed at any moment, or the disk is full.
//! The old file or the new one is there, whole; what was begun is removed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{copied, options, told, until_saved};
use crate::support::server::{Home, fresh_home};
use crate::support::{Client, Server, Value, encode, number, peer};

/// Keys that are set together, in one transaction, before each save.
const MARKS: u64 = 60;
const ACCOUNTS: u64 = 200;
const FILLER: u64 = 60_000;

/// Names of what saves have begun in a directory, with their sizes.
fn begun(dir: &Path) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten();
    let sized = entries.map(|entry| {
        // It may be renamed meanwhile.
        let size = entry.metadata().map_or(0, |found| found.len());
        (entry.file_name().to_string_lossy().into_owned(), size)
    });
    sized.filter(|(name, _)| name.starts_with("temp-")).collect()
}

/// Bytes of the file that is being written, whatever it is called; `old` is the inode of the one
/// that was there before.
fn written(dir: &Path, old: u64) -> Option<u64> {
    let named = std::fs::metadata(dir.join("dump.rdb")).ok().filter(|found| found.ino() != old);
    let temporary = begun(dir).into_iter().map(|(_, size)| size);
    temporary.chain(named.map(|found| found.len())).max()
}

fn mark(client: &mut Client, round: u64) {
    let mut words = vec!["MSET".to_owned()];
    words.extend((0..MARKS).flat_map(|n| [format!("mark:{n}"), round.to_string()]));
    assert!(!client.call(&words).is_error());
}

/// The round of the file that was loaded; everything in it is of one moment.
fn loaded_round(client: &mut Client, what: &str) -> u64 {
    let mut ask = vec!["MGET".to_owned()];
    ask.extend((0..MARKS).map(|n| format!("mark:{n}")));
    let number = |value: &Value| -> i64 {
        let text = std::str::from_utf8(value.text().expect("a number")).expect("text");
        text.parse().expect("a number")
    };
    let marks: Vec<i64> = client.call(&ask).items().expect("marks").iter().map(number).collect();
    assert!(marks.iter().all(|mark| *mark == marks[0]), "{what}: {marks:?}");
    let mut ask = vec!["MGET".to_owned()];
    ask.extend((0..ACCOUNTS).map(|n| format!("account:{n}")));
    let sum: i64 = client.call(&ask).items().expect("amounts").iter().map(number).sum();
    assert_eq!(sum, ACCOUNTS as i64 * 1000, "{what}");
    let all = client.words("DBSIZE").int().expect("a size") as u64;
    assert_eq!(all, MARKS + ACCOUNTS + FILLER + 1, "{what}");
    assert_eq!(client.words("LLEN long").int(), Some(4_000), "{what}");
    marks[0] as u64
}

/// Moves amounts about until the server is gone.
fn load(port: u16, seed: u64, stop: &AtomicBool) {
    let Ok(mut client) = Client::connect(port) else { return };
    let mut state = seed * 2 + 1;
    let mut roll = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    while !stop.load(Ordering::Relaxed) {
        let (from, to, amount) = (roll(ACCOUNTS), roll(ACCOUNTS), roll(50));
        let mut bytes = encode(&["MULTI"]);
        bytes.extend(encode(&["DECRBY", &format!("account:{from}"), &amount.to_string()]));
        bytes.extend(encode(&["INCRBY", &format!("account:{to}"), &amount.to_string()]));
        bytes.extend(encode(&["EXEC"]));
        bytes.extend(encode(&["LMOVE", "long", "long", "LEFT", "RIGHT"]));
        if client.send(&bytes).is_err() || (0..5).any(|_| client.reply().is_err()) {
            return;
        }
    }
}

fn fill(client: &mut Client) {
    for n in 0..ACCOUNTS {
        client.words(&format!("SET account:{n} 1000"));
    }
    // A value of several chunks.
    for n in 0..40 {
        let mut words = vec!["RPUSH".to_owned(), "long".to_owned()];
        words.extend((0..100).map(|i| format!("{n}:{i}:{}", "element".repeat(150))));
        client.call(&words);
    }
    assert!(!client.words(&format!("DEBUG POPULATE {FILLER} filler 200")).is_error());
}

#[derive(Debug, Default)]
struct Tally {
    old: u64,
    new: u64,
    /// Kills that left something behind.
    torn: u64,
}

/// One save, killed once it has written so many bytes, or has ended before.
fn kill_in_save(server: Server, before: u64, round: u64, bytes: u64, tally: &mut Tally) -> Server {
    let home = server.home();
    let mut client = server.client();
    let old = std::fs::metadata(home.path().join("dump.rdb")).expect("the old file").ino();
    let stop = AtomicBool::new(false);
    let (port, stop) = (server.port(), &stop);
    let what = format!("round {round}, {:?}, killed at {bytes} bytes", server.options());
    let (stopped, ended) = std::thread::scope(|scope| {
        for seed in 1..=2 {
            scope.spawn(move || load(port, seed, stop));
        }
        mark(&mut client, round);
        let save = if round.is_multiple_of(3) { "SAVE" } else { "BGSAVE" };
        client.send(&encode(&[save])).expect("the server is there");
        let mut seen = None;
        // Bounded by the reply of SAVE, or the status: one of them ends a save that is quick.
        let mut asking = server.client();
        let ended = loop {
            let now = written(home.path(), old);
            seen = seen.max(now);
            if seen.is_some_and(|size| size >= bytes) {
                break false;
            }
            if begun(home.path()).is_empty() && told(&mut asking, "rdb_saves") != "0" {
                break told(&mut asking, "rdb_bgsave_in_progress") == "0";
            }
        };
        let stopped = server.kill();
        stop.store(true, Ordering::Relaxed);
        (stopped, ended)
    });
    tally.torn += u64::from(!begun(home.path()).is_empty());
    // Whoever reads the file needs no server to have cleaned up.
    let elsewhere = Server::start_in(copied(home.path()), options(2));
    let found = loaded_round(&mut elsewhere.client(), &what);
    assert!(found == round || found == before && !ended, "{what}: {found} behind {before}");
    let again = stopped.restart();
    assert_eq!(loaded_round(&mut again.client(), &what), found, "{what}");
    assert_eq!(begun(home.path()), [], "{what}: leftovers are removed");
    *(if found == round { &mut tally.new } else { &mut tally.old }) += 1;
    again
}

/// kill -9 at moments that lie all over the saves.
#[test]
fn a_save_that_is_killed_leaves_the_old_file_or_the_new() {
    let rounds = number("RINGSTONE_SNAPSHOT_KILLS", 3);
    let mut tally = Tally::default();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for part in 0..rounds.div_ceil(10) {
        let mut server = Server::start(options(1 + part as usize % 3));
        let mut client = server.client();
        fill(&mut client);
        mark(&mut client, 0);
        assert_eq!(client.words("SAVE"), Value::Simple(b"OK".into()));
        drop(client);
        let file = std::fs::metadata(server.home().path().join("dump.rdb")).expect("a file").len();
        server = server.kill().restart();
        let mut last = 0;
        for round in 1..=rounds.saturating_sub(part * 10).min(10) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Now and then behind its end, so that it ends by itself.
            let bytes = (random >> 33) % (file + file / 4);
            let new = tally.new;
            server = kill_in_save(server, last, round, bytes, &mut tally);
            last = if tally.new > new { round } else { last };
        }
    }
    println!("long form: {rounds} rounds of kill -9 in a save held: {tally:?}");
}

/// A small file system of its own.
pub struct Small(pub Home);

impl Small {
    /// One of so many megabytes.
    pub fn mount(megabytes: u64, what: &str) -> Option<Small> {
        Small::mount_with(&format!("size={megabytes}m"), what)
    }

    /// Changes its bounds.
    pub fn change(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]).arg(self.0.path());
        assert!(mount.status().expect("mount").success());
    }

    /// One with these bounds; `None` when `what` is skipped.
    pub fn mount_with(options: &str, what: &str) -> Option<Small> {
        let home = fresh_home();
        if !rustix::process::geteuid().is_root() {
            peer::skip(what, "only root can mount a small file system");
            return None;
        }
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
        match mount.arg(home.path()).output() {
            Ok(done) if done.status.success() => Some(Small(home)),
            Ok(done) => {
                peer::skip(what, &String::from_utf8_lossy(&done.stderr));
                None
            }
            Err(error) => {
                peer::skip(what, &format!("mount: {error}"));
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(self.0.path()).status();
        let done = done.is_ok_and(|status| status.success());
        if !done && !std::thread::panicking() {
            panic!("{} stays mounted", self.0.path().display());
        }
    }
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let Some(small) = Small::mount(16, "saves on a full disk") else { return };
    let dir = small.0.path();
    let server = Server::start_in(Home::clone(&small.0), options(2).with("rdbcompression", "no"));
    let mut client = server.client();
    client.words("DEBUG POPULATE 20000 small 100");
    assert_eq!(client.words("SAVE"), Value::Simple(b"OK".into()));
    let old = std::fs::read(dir.join("dump.rdb")).expect("a file");
    client.words("SET more 1");
    // By short keys, and by one value in pieces.
    for (key, more) in [("long", "SETRANGE long 20000000 x"), ("", "DEBUG POPULATE 90000 many 200")]
    {
        assert!(!client.words(more).is_error());
        for save in ["BGSAVE", "SAVE", "BGSAVE"] {
            let reply = client.words(save);
            assert_eq!(reply.is_error(), save == "SAVE", "{reply:?}");
            while told(&mut client, "rdb_bgsave_in_progress") == "1" {
                std::thread::yield_now();
            }
            assert_eq!(told(&mut client, "rdb_last_bgsave_status"), "err");
            assert_ne!(told(&mut client, "rdb_changes_since_last_save"), "0");
            assert!(std::fs::read(dir.join("dump.rdb")).expect("a file") == old);
            assert_eq!(begun(dir), []);
        }
        client.words(&format!("DEL {key}"));
    }
    for (what, count) in [("Background saving error", 4), ("Error saving DB on disk", 2)] {
        let why = format!("{what}: writing the file: No space left on device");
        let said = server.said(|log| log.matches(&why).count() >= count);
        assert_eq!(said.matches(&why).count(), count, "{said}");
    }
    client.words("FLUSHALL");
    client.words("SET more 2");
    assert_eq!(client.words("BGSAVE"), Value::Simple(b"Background saving started".into()));
    until_saved(&mut client);
    let stopped = server.kill();
    let again = stopped.restart();
    assert_eq!(again.client().words("GET more"), Value::Bulk(b"2".into()));
    assert_eq!(again.client().words("DBSIZE"), Value::Int(1));
}
