//! Directories handed over in both directions: stock redis-server loads what we wrote, and we load
//! what it wrote. Always a copy is handed over, so that the original can be compared.

pub mod rewrite;
mod times;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::differential::generate::{CONNECTIONS, Gen, Profile, Step};
use crate::support::data::{self, Data};
use crate::support::server::{self, copy_home, fresh_home, judged_by_peer};
use crate::support::{Client, Options, Server, Value, number, peer, show_command};

/// A stream of writes, FLUSHALL, FLUSHDB, SWAPDB, MOVE and RENAME among them.
fn steps(seed: u64, commands: u64) -> Vec<Step> {
    let mut generator = Gen::new(seed, |_| true, Profile::Writes);
    let (mut steps, mut sent) = (Vec::new(), 0);
    while sent < commands {
        let step = generator.step();
        if let Step::Pipeline(_, commands) = &step {
            sent += commands.len() as u64;
        }
        steps.push(step);
    }
    steps
}

/// Runs a stream and leaves some data of every kind behind it, whatever it flushed at its end.
pub fn fill(server: &Server, seed: u64) -> Data {
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.client()).collect();
    for step in steps(seed, number("RINGSTONE_INTEROP_COMMANDS", 2_000)) {
        let Step::Pipeline(on, commands) = step else { continue };
        let bytes: Vec<u8> = commands.iter().flat_map(|c| c.wire()).collect();
        clients[on].send(&bytes).expect("send");
        for command in &commands {
            let reply = clients[on].reply();
            reply.unwrap_or_else(|e| panic!("{}: {e}", show_command(&command.args)));
        }
    }
    drop(clients);
    let mut client = server.client();
    for (line, answer) in [
        ("SELECT 1", "OK"),
        ("SET from:1 one", "OK"),
        ("SELECT 2", "OK"),
        ("MSET a 1 {t}b 2 c -3 d 9223372036854775807 e 70000 f 3.25", "OK"),
        ("PEXPIREAT a 4102444800123", "1"),
        ("RENAME c {t}renamed", "OK"),
        ("MOVE d 3", "1"),
        ("SWAPDB 2 4", "OK"),
    ] {
        let reply = client.words(line);
        let said = reply.int().map(|n| n.to_string().into_bytes());
        let said = said.or_else(|| reply.text().map(<[u8]>::to_vec));
        assert!(said.as_deref() == Some(answer.as_bytes()) || line.starts_with("MOVE"), "{line}");
    }
    for (key, value) in [("lzf", vec![b'x'; 30_000]), ("binary", (0..=255).collect()), ("", vec![])]
    {
        client.call(&[b"SET".as_slice(), key.as_bytes(), &value]);
    }
    data::read(&mut client)
}

/// Runs the check tool of the server under test on a directory; it answers its own question.
fn check_aof(dir: &Path, fix: bool) -> Output {
    let mut command = if judged_by_peer() {
        Command::new(peer::program("redis-check-aof", "self-check").expect("redis-check-aof"))
    } else {
        let mut command = Command::new(server::subject());
        command.arg("check-aof");
        command
    };
    if fix {
        command.arg("--fix");
    }
    command.arg(dir.join("appendonlydir/appendonly.aof.manifest"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the check tool");
    // It may not ask at all.
    let _ = child.stdin.take().unwrap().write_all(b"y\n");
    child.wait_with_output().expect("the check tool")
}

/// Options of a server that writes its log in this way; the peer knows one.
fn written(shards: usize, fsync: &'static str, method: &str) -> Options {
    let more = match judged_by_peer() {
        true => Vec::new(),
        false => vec!["--aof-commit-method".to_owned(), method.to_owned()],
    };
    Options { fsync, more, ..Options::shards(shards) }
}

/// Every log file ends where its log does, with no filler behind it.
fn assert_no_filler(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("appendonlydir")).expect("the log directory") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a log file");
        assert!(!bytes.ends_with(b" \n"), "{} ends with filler", path.display());
    }
}

fn loads_in_redis_after_a_clean_stop(shards: usize, options: Options) {
    let what = format!("a directory of {shards} shards in redis-server");
    let server = Server::start(options);
    let ours = fill(&server, 100 + shards as u64);
    let stopped = server.stop();
    assert_no_filler(stopped.path());
    let copy = copy_home(stopped.path());
    let Some(peer) = Server::peer_in(copy.clone(), Options::default(), &what) else { return };
    data::assert_same(&ours, &data::read(&mut peer.client()), 0, false, &what);
    let again = stopped.restart();
    let what = "the same directory in our own server";
    data::assert_same(&ours, &data::read(&mut again.client()), 0, false, what);
    // And back: the peer has written in a directory of ours.
    let theirs = fill(&peer, 200 + shards as u64);
    drop(peer.stop());
    let back = Server::start_in(copy, Options::shards(shards));
    let what = "a directory of ours in which redis-server has written";
    data::assert_same(&theirs, &data::read(&mut back.client()), 0, false, what);
}

#[test]
fn redis_loads_what_1_shard_wrote() {
    loads_in_redis_after_a_clean_stop(1, written(1, "everysec", "append"));
}

#[test]
fn redis_loads_what_2_shards_wrote() {
    loads_in_redis_after_a_clean_stop(2, written(2, "everysec", "append"));
}

#[test]
fn redis_loads_what_4_shards_wrote() {
    loads_in_redis_after_a_clean_stop(4, written(4, "everysec", "append"));
}

#[test]
fn redis_loads_what_was_written_ahead() {
    loads_in_redis_after_a_clean_stop(2, written(2, "always", "segment"));
}

/// A kill leaves filler behind the log, which is nothing to anybody: no tool has to be run.
#[test]
fn redis_loads_what_was_written_ahead_before_a_kill() {
    let what = "a killed directory with filler in redis-server";
    let server = Server::start(written(2, "always", "segment"));
    let ours = fill(&server, 700);
    let stopped = server.kill();
    let filler = std::fs::read_dir(stopped.path().join("appendonlydir")).expect("the log");
    let sizes = filler.map(|e| e.expect("an entry").metadata().expect("its length").len());
    assert!(judged_by_peer() || sizes.sum::<u64>() > 512 << 10, "nothing was written ahead");
    let copy = copy_home(stopped.path());
    let Some(peer) = Server::peer_in(copy.clone(), Options::default(), what) else { return };
    data::assert_same(&ours, &data::read(&mut peer.client()), 0, false, what);
    // The peer goes on behind the filler, and we behind the peer.
    let theirs = fill(&peer, 701);
    drop(peer.stop());
    let back = Server::start_in(copy, Options::shards(2));
    let what = "a killed directory of ours in which redis-server has written";
    data::assert_same(&theirs, &data::read(&mut back.client()), 0, false, what);
    let recovered = stopped.restart();
    data::assert_same(&ours, &data::read(&mut recovered.client()), 0, false, "after a kill");
}

/// What recovery keeps after kill -9, and what `check-aof --fix` leaves for the peer, is the same.
#[test]
fn redis_loads_what_a_crash_and_check_aof_left() {
    for (i, (shards, fsync, method)) in [
        (1, "everysec", "append"),
        (2, "everysec", "append"),
        (4, "everysec", "append"),
        (1, "always", "segment"),
        (2, "always", "segment"),
        (2, "everysec", "segment"),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("a crashed directory of {shards} shards ({method}) in redis-server");
        let server = Server::start(written(shards, fsync, method));
        fill(&server, 300 + i as u64);
        // Sent, and not waited for: some of it is on its way to the log when the server dies.
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.client()).collect();
        for step in steps(400 + i as u64, 3_000) {
            let Step::Pipeline(on, commands) = step else { continue };
            let bytes: Vec<u8> = commands.iter().flat_map(|c| c.wire()).collect();
            clients[on].send(&bytes).expect("send");
        }
        clients[0].reply().expect("a first reply");
        let stopped = server.kill();
        drop(clients);
        let copy = copy_home(stopped.path());
        let fixed = check_aof(copy.path(), true);
        assert!(fixed.status.success(), "check-aof --fix: {fixed:?}");
        let checked = check_aof(copy.path(), false);
        assert!(checked.status.success(), "check-aof finds a fault behind --fix: {checked:?}");
        let Some(peer) = Server::peer_in(copy, Options::default(), &what) else { return };
        let recovered = stopped.restart();
        let (ours, theirs) = (data::read(&mut recovered.client()), data::read(&mut peer.client()));
        data::assert_same(&ours, &theirs, 0, false, &what);
    }
}

#[test]
fn check_aof_has_nothing_to_say_of_a_clean_stop() {
    let server = Server::start(Options::shards(2));
    fill(&server, 1);
    let stopped = server.stop();
    let checked = check_aof(stopped.path(), false);
    assert!(checked.status.success(), "{checked:?}");
}

/// A directory of the peer's: with a base from a rewrite, and increments behind it.
#[test]
fn a_directory_of_redis_loads() {
    for (i, preamble) in ["yes", "no"].into_iter().enumerate() {
        let what = "a directory of redis-server";
        let options = Options { fsync: "everysec", ..Options::default() };
        let options = options.with("aof-use-rdb-preamble", preamble);
        let Some(peer) = Server::peer(options, what) else { return };
        fill(&peer, 500 + i as u64);
        let mut client = peer.client();
        assert!(!client.words("BGREWRITEAOF").is_error());
        let rewriting = |client: &mut Client| {
            let info = client.words("INFO persistence");
            let text = String::from_utf8_lossy(info.text().unwrap()).into_owned();
            ["aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1"]
                .iter()
                .any(|l| text.contains(l))
        };
        while rewriting(&mut client) {
            std::thread::yield_now();
        }
        let theirs = fill(&peer, 510 + i as u64);
        let stopped = peer.stop();
        for shards in [1, 3] {
            let ours = Server::start_in(copy_home(stopped.path()), Options::shards(shards));
            data::assert_same(&theirs, &data::read(&mut ours.client()), 0, false, what);
            let again = ours.kill().restart();
            data::assert_same(&theirs, &data::read(&mut again.client()), 0, false, "and again");
        }
    }
}

/// The form before Redis 7: one file beside no directory, with and without an RDB in front.
#[test]
fn a_lone_aof_of_redis_loads() {
    for (i, preamble) in [false, true].into_iter().enumerate() {
        let what = "a lone appendonly.aof of redis-server";
        let word = if preamble { "yes" } else { "no" };
        let options = Options::default().with("aof-use-rdb-preamble", word);
        let Some(peer) = Server::peer(options, what) else { return };
        let theirs = fill(&peer, 600 + i as u64);
        let stopped = peer.stop();
        let from = stopped.path().join("appendonlydir");
        let extension = if preamble { "rdb" } else { "aof" };
        let mut lone =
            std::fs::read(from.join(format!("appendonly.aof.1.base.{extension}"))).unwrap();
        lone.extend(std::fs::read(from.join("appendonly.aof.1.incr.aof")).unwrap());
        let home = fresh_home();
        std::fs::write(home.path().join("appendonly.aof"), lone).unwrap();
        let ours = Server::start_in(home, Options::shards(2));
        data::assert_same(&theirs, &data::read(&mut ours.client()), 0, false, what);
        let again = ours.kill().restart();
        data::assert_same(&theirs, &data::read(&mut again.client()), 0, false, "and again");
    }
}

/// An upgrade: a snapshot and no log. Redis itself starts empty here; we never do.
#[test]
fn a_lone_dump_of_redis_loads_and_gets_a_log() {
    let what = "a lone dump.rdb of redis-server";
    let options = Options { appendonly: false, ..Options::default() };
    let Some(peer) = Server::peer(options, what) else { return };
    let theirs = fill(&peer, 700);
    assert_eq!(peer.client().words("SAVE"), Value::Simple(b"OK".into()));
    let dump = peer.home().path().join("dump.rdb");
    if judged_by_peer() {
        return;
    }
    for shards in [1, 2, 4] {
        let home = fresh_home();
        std::fs::copy(&dump, home.path().join("dump.rdb")).unwrap();
        let ours = Server::start_in(home, Options::shards(shards));
        data::assert_same(&theirs, &data::read(&mut ours.client()), 0, false, what);
        ours.client().words("SET behind the:dump");
        let again = ours.kill().restart();
        let mut client = again.client();
        assert_eq!(client.words("GETDEL behind"), Value::Bulk(b"the:dump".into()));
        data::assert_same(&theirs, &data::read(&mut client), 0, false, "and again");
    }
}

/// A type that is not there yet is refused by name, and the files are left as they are.
#[test]
fn a_dump_with_another_type_is_refused_by_name() {
    let what = "a dump.rdb with a list";
    let options = Options { appendonly: false, ..Options::default() };
    let Some(peer) = Server::peer(options, what) else { return };
    let mut client = peer.client();
    let known = client.words("RPUSH a:list 1 2 3");
    assert_eq!(known, Value::Int(3));
    client.words("SAVE");
    let dump = std::fs::read(peer.home().path().join("dump.rdb")).unwrap();
    let home = fresh_home();
    std::fs::write(home.path().join("dump.rdb"), &dump).unwrap();
    if judged_by_peer() {
        return;
    }
    let probe = Server::start(Options::default());
    let lists = probe.client().words("RPUSH a:list 1");
    if !lists.is_error() {
        // Lists have come: then this must load.
        let ours = Server::start_in(home, Options::default());
        assert_eq!(ours.client().words("LLEN a:list"), Value::Int(3));
        return;
    }
    let ended = Server::refused(home.clone(), None, Options::default());
    assert!(ended.log.contains("dump.rdb") && ended.log.contains("list"), "{ended}");
    assert_eq!(std::fs::read(home.path().join("dump.rdb")).unwrap(), dump);
}

/// Nothing is ever started empty beside data that could not be read.
#[test]
fn a_damaged_dump_is_refused_and_kept() {
    let what = "a damaged dump.rdb";
    let options = Options { appendonly: false, ..Options::default() };
    let Some(peer) = Server::peer(options, what) else { return };
    fill(&peer, 800);
    peer.client().words("SAVE");
    let mut dump = std::fs::read(peer.home().path().join("dump.rdb")).unwrap();
    let middle = dump.len() / 2;
    dump[middle] ^= 1;
    let home = fresh_home();
    std::fs::write(home.path().join("dump.rdb"), &dump).unwrap();
    if judged_by_peer() {
        return;
    }
    let ended = Server::refused(home.clone(), None, Options::default());
    assert!(!ended.status.success() && ended.log.contains("dump.rdb"), "{ended}");
    assert_eq!(std::fs::read(home.path().join("dump.rdb")).unwrap(), dump);
}
