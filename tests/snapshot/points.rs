//! Save points, the save at a stop, and what becomes of writes when no snapshot succeeds: as in
//! redis-server, and without the loss of anything acknowledged.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::{options, told};
use crate::support::server::Stopped;
use crate::support::{Client, Options, Server, Value};

const OK: &[u8] = b"OK";

fn ok(client: &mut Client, words: &[&str]) {
    let reply = client.call(words);
    assert_eq!(reply, Value::Simple(OK.into()), "{words:?}");
}

fn until(client: &mut Client, field: &str, wanted: impl Fn(&str) -> bool) {
    while !wanted(&told(client, field)) {
        std::thread::yield_now();
    }
}

fn until_said(server: &Server, text: &str) {
    server.said(|log| log.contains(text));
}

fn signal(server: &Server, signal: Signal) {
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("a signal");
}

/// The name of a directory that stands where the file is to be, with something in it.
fn block(home: &Path) -> &'static str {
    std::fs::create_dir(home.join("blocked")).expect("a directory");
    std::fs::write(home.join("blocked/file"), b"").expect("a file");
    "blocked"
}

fn saving(shards: usize, points: &str) -> Options {
    options(shards).with("save", points).with("enable-protected-configs", "yes")
}

/// A request with `@` between its words; `fail`: somebody else lets a background save fail.
const LINES: &[&str] = &[
    "CONFIG@GET@save",
    "SET@a@1",
    "SET@b@2",
    "SAVE",
    "CONFIG@SET@dbfilename@blocked",
    "SET@a@3",
    "SAVE",
    "SET@a@4",
    "BGSAVE",
    "SET@a@5",
    "PING",
    "GET@a",
    "EXISTS@a",
    "MULTI",
    "SET@a@6",
    "EXEC",
    "MULTI",
    "PING",
    "GET@a",
    "EXEC",
    "SHUTDOWN",
    "SHUTDOWN@SAVE",
    "SHUTDOWN@NOW",
    "GET@a",
    "SHUTDOWN@ABORT",
    "SHUTDOWN@NOSAVE@SAVE",
    "CONFIG@SET@stop-writes-on-bgsave-error@no",
    "PING",
    "SET@a@7",
    "CONFIG@SET@stop-writes-on-bgsave-error@yes",
    "SET@a@8",
    "FLUSHALL",
    "CONFIG@SET@save@",
    "SET@a@9",
    "CONFIG@GET@save",
    "CONFIG@SET@save@3600 1 60 100000",
    "CONFIG@GET@save",
    "SET@a@10",
    "CONFIG@SET@save@3600",
    "CONFIG@SET@save@0 1",
    "CONFIG@SET@dbfilename@dump.rdb",
    "BGSAVE",
    "SET@a@11",
    "PING",
    // In a transaction that was begun before.
    "MULTI",
    "SET@a@12",
    "fail",
    "EXEC",
    "CONFIG@SET@dbfilename@dump.rdb",
    "SAVE",
    "PING",
    "SET@a@13",
    "EXISTS@a@b",
];

/// What redis-server and we say to the same lines.
fn texts(server: &Server) -> Vec<(String, Value)> {
    let mut client = server.client();
    block(server.home().path());
    let mut heard = Vec::new();
    let fields = [
        "rdb_changes_since_last_save",
        "rdb_last_bgsave_status",
        "rdb_last_bgsave_time_sec",
        "rdb_saves",
        "rdb_bgsave_in_progress",
    ];
    for line in LINES {
        if *line == "fail" {
            let mut other = server.client();
            ok(&mut other, &["CONFIG", "SET", "dbfilename", "blocked"]);
            other.words("BGSAVE");
            until(&mut other, "rdb_last_bgsave_status", |status| status == "err");
            until(&mut other, "rdb_bgsave_in_progress", |there| there == "0");
        } else {
            let words: Vec<&str> = line.split('@').collect();
            heard.push(((*line).to_owned(), client.call(&words)));
        }
        if *line == "BGSAVE" {
            until(&mut client, "rdb_bgsave_in_progress", |there| there == "0");
        }
        if !matches!(*line, "MULTI" | "SET@a@6" | "SET@a@12" | "fail" | "PING" | "GET@a") {
            for field in fields {
                let value = told(&mut client, field);
                // How many seconds it were depends on the machine.
                let is_time = field.ends_with("_sec") && value != "-1";
                let value = if is_time { "some".to_owned() } else { value };
                heard.push((format!("{field} behind {line}"), Value::Bulk(value.into())));
            }
        }
    }
    heard
}

#[test]
fn texts_and_figures_are_those_of_redis() {
    let points = |shards| saving(shards, "3600 1 300 100 60 10000");
    let Some(theirs) = Server::peer(points(1), "save points beside redis-server") else { return };
    let theirs = texts(&theirs);
    for shards in [1, 2] {
        let ours = texts(&Server::start(points(shards)));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{shards} shards");
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

#[test]
fn a_save_point_takes_a_snapshot_by_itself() {
    for shards in [1, 3] {
        let server = Server::start(saving(shards, "3600 1 1 40"));
        let mut client = server.client();
        (0..40).for_each(|n| ok(&mut client, &["SET", &format!("key:{n}"), "value"]));
        until(&mut client, "rdb_saves", |saves| saves != "0");
        until(&mut client, "rdb_bgsave_in_progress", |there| there == "0");
        assert_eq!(told(&mut client, "rdb_changes_since_last_save"), "0");
        until_said(&server, "40 changes in 1 seconds. Saving...");
        let again = server.kill().restart();
        assert_eq!(again.client().words("DBSIZE"), Value::Int(40), "{shards} shards");
    }
}

#[test]
fn save_points_are_set_while_the_server_runs() {
    let server = Server::start(options(2));
    let mut client = server.client();
    ok(&mut client, &["SET", "a", "1"]);
    ok(&mut client, &["CONFIG", "SET", "save", "3600 5 1 1"]);
    until(&mut client, "rdb_saves", |saves| saves == "1");
    until(&mut client, "rdb_bgsave_in_progress", |there| there == "0");
    ok(&mut client, &["CONFIG", "SET", "save", "1 0"]);
    // Without changes as well, since that is what it says.
    until(&mut client, "rdb_saves", |saves| saves == "2");
    ok(&mut client, &["CONFIG", "SET", "save", ""]);
    let again = server.kill().restart();
    assert_eq!(again.client().words("GET a"), Value::Bulk(b"1".into()));
}

/// Writes pairs of keys of different shards, counters and lists until the server is gone or says
/// no; gives how many rounds were acknowledged.
fn write_on(port: u16, name: usize, rounds: &AtomicUsize, stop: &AtomicBool) -> u64 {
    let Ok(mut client) = Client::connect(port) else { return 0 };
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let next = round + 1;
        let lines = [
            format!("MSET one:{name} {next} other:{name} {next}"),
            format!("INCR counter:{name}"),
            format!("RPUSH {{list:{name}}} {next}"),
            "MULTI".to_owned(),
            format!("SET first:{name} {next}"),
            format!("SET second:{name} {next}"),
            "EXEC".to_owned(),
        ];
        for line in &lines {
            let words: Vec<&str> = line.split(' ').collect();
            match client.try_call(&words) {
                Ok(reply) => assert!(!reply.is_error(), "{line}: {reply:?}"),
                Err(_) => return round,
            }
        }
        round = next;
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    round
}

/// What each writer finds of its own.
fn check(client: &mut Client, name: usize, acknowledged: u64, what: &str) {
    let mut number = |line: &str| -> u64 {
        let reply = client.words(line);
        match reply.int() {
            Some(n) => n.cast_unsigned(),
            None => {
                let text = reply.text().map(String::from_utf8_lossy);
                text.map_or(0, |text| text.parse().expect("a number"))
            }
        }
    };
    let found = number(&format!("GET one:{name}"));
    assert!((acknowledged..=acknowledged + 1).contains(&found), "{what}: {found}, {acknowledged}");
    assert_eq!(number(&format!("GET other:{name}")), found, "{what}: of one MSET");
    for line in [format!("GET counter:{name}"), format!("LLEN {{list:{name}}}")] {
        let n = number(&line);
        assert!((acknowledged..=found).contains(&n), "{what}, {line}: {n} beside {found}");
    }
    let first = number(&format!("GET first:{name}"));
    assert!((acknowledged..=found).contains(&first), "{what}: {first} of a transaction");
    assert_eq!(number(&format!("GET second:{name}")), first, "{what}: of one transaction");
}

const WRITERS: usize = 4;

/// Stops a server by `how` while it is written to, and starts it again.
fn stops_without_loss(options: Options, what: &str, how: impl FnOnce(Server) -> Stopped) {
    let server = Server::start(options);
    let mut client = server.client();
    client.words("DEBUG POPULATE 20000 filler 100");
    let (rounds, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (port, log) = (server.port(), server.home().path().join("appendonlydir"));
    let (stopped, counts) = std::thread::scope(|scope| {
        let (rounds, stop) = (&rounds, &stop);
        let start = |name| scope.spawn(move || write_on(port, name, rounds, stop));
        let writers: Vec<_> = (0..WRITERS).map(start).collect();
        while rounds.load(Ordering::Relaxed) < 50 {
            std::thread::yield_now();
        }
        let stopped = how(server);
        let join = |writer: std::thread::ScopedJoinHandle<'_, u64>| writer.join().expect("counts");
        (stopped, writers.into_iter().map(join).collect::<Vec<_>>())
    });
    assert!(stopped.path().join("dump.rdb").exists(), "{what}");
    if log.exists() {
        // What the snapshot holds alone.
        std::fs::rename(&log, log.with_extension("aside")).expect("the log aside");
        let server = stopped.restart_with(super::options(2));
        (0..WRITERS).for_each(|name| check(&mut server.client(), name, counts[name], what));
        let stopped = server.kill();
        std::fs::rename(log.with_extension("aside"), &log).expect("the log back");
        let server = stopped.restart_with(Options::shards(2));
        (0..WRITERS).for_each(|name| check(&mut server.client(), name, counts[name], what));
        return;
    }
    let server = stopped.restart();
    assert_eq!(server.client().words("EXISTS filler:0 filler:19999"), Value::Int(2), "{what}");
    (0..WRITERS).for_each(|name| check(&mut server.client(), name, counts[name], what));
}

fn shut_down(line: &'static str) -> impl FnOnce(Server) -> Stopped {
    move |server| {
        let mut client = server.client();
        client.send(format!("{line}\r\n").as_bytes()).expect("a request");
        assert_eq!(client.rest().expect("its end"), b"", "{line}");
        server.gone_by_itself()
    }
}

#[test]
fn shutdown_saves_all_that_was_acknowledged() {
    for shards in [1, 3] {
        let what = format!("SHUTDOWN with save points, {shards} shards");
        stops_without_loss(saving(shards, "3600 1"), &what, shut_down("SHUTDOWN"));
    }
    stops_without_loss(options(2), "SHUTDOWN SAVE", shut_down("SHUTDOWN SAVE"));
}

#[test]
fn a_signal_saves_all_that_was_acknowledged() {
    stops_without_loss(saving(3, "3600 1"), "SIGTERM", Server::stop);
    let how = options(2).with("shutdown-on-sigint", "save now");
    stops_without_loss(how, "SIGINT", |server| {
        signal(&server, Signal::INT);
        server.gone_by_itself()
    });
}

#[test]
fn with_a_log_both_hold_all_that_was_acknowledged() {
    for fsync in ["always", "everysec"] {
        let options = Options { fsync, ..Options::shards(3) }.with("save", "3600 1");
        stops_without_loss(options, fsync, shut_down("SHUTDOWN NOW"));
    }
}

#[test]
fn a_background_save_gives_way_to_the_last() {
    stops_without_loss(saving(3, "3600 1"), "BGSAVE under way", |server| {
        server.client().words("BGSAVE");
        shut_down("SHUTDOWN")(server)
    });
}

#[test]
fn who_wants_no_save_gets_none() {
    let left = |stopped: Stopped| stopped.path().join("dump.rdb").exists();
    let written = |options: Options| {
        let server = Server::start(options);
        ok(&mut server.client(), &["SET", "a", "1"]);
        server
    };
    assert!(!left(shut_down("SHUTDOWN NOSAVE")(written(saving(2, "3600 1")))));
    assert!(!left(shut_down("SHUTDOWN")(written(options(2)))));
    assert!(!left(written(options(2)).stop()));
    let how = saving(2, "3600 1").with("shutdown-on-sigterm", "nosave");
    assert!(!left(written(how).stop()));
    assert!(left(written(saving(2, "3600 1")).stop()));
}

/// The save fails while writers are at it: they do not notice, and neither does the data.
#[test]
fn a_stop_that_cannot_save_leaves_the_server_as_it_was() {
    for shards in [1, 3] {
        let server = Server::start(saving(shards, "3600 1"));
        let mut client = server.client();
        client.words("DEBUG POPULATE 5000 filler 100");
        let name = block(server.home().path());
        ok(&mut client, &["CONFIG", "SET", "dbfilename", name]);
        let (rounds, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let counts: Vec<u64> = std::thread::scope(|scope| {
            let (rounds, stop, port) = (&rounds, &stop, server.port());
            let start = |name| scope.spawn(move || write_on(port, name, rounds, stop));
            let writers: Vec<_> = (0..WRITERS).map(start).collect();
            for attempt in 1..=10 {
                let before = rounds.load(Ordering::Relaxed);
                if attempt % 2 == 0 {
                    let reply = client.words("SHUTDOWN");
                    let text = b"ERR Errors trying to SHUTDOWN. Check logs.";
                    assert_eq!(reply, Value::Error(text.into()), "attempt {attempt}");
                } else {
                    let signals = [Signal::TERM, Signal::INT];
                    signal(&server, signals[attempt / 2 % 2]);
                    let said = |server: &Server| server.log().matches("can't exit.").count();
                    while said(&server) < attempt {
                        std::thread::yield_now();
                    }
                }
                while rounds.load(Ordering::Relaxed) < before + 20 {
                    std::thread::yield_now();
                }
            }
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().expect("counts")).collect()
        });
        (0..WRITERS).for_each(|name| check(&mut client, name, counts[name], "it goes on"));
        ok(&mut client, &["CONFIG", "SET", "dbfilename", "dump.rdb"]);
        let again = server.stop().restart();
        (0..WRITERS).for_each(|name| check(&mut again.client(), name, counts[name], "then saved"));
    }
}

#[test]
fn who_insists_stops_without_a_save() {
    let forced = saving(2, "3600 1").with("shutdown-on-sigterm", "force");
    for how in ["SHUTDOWN FORCE", "SIGTERM"] {
        let server = Server::start(forced.clone());
        let mut client = server.client();
        let name = block(server.home().path());
        ok(&mut client, &["SET", "a", "1"]);
        ok(&mut client, &["CONFIG", "SET", "dbfilename", name]);
        let stopped = match how {
            "SIGTERM" => server.stop(),
            _ => shut_down(how)(server),
        };
        assert!(!stopped.path().join("dump.rdb").exists());
    }
}

/// A start behind a crash does not bring back what FLUSHALL has removed: its reply comes when the
/// file tells of it.
#[test]
fn flushall_is_saved_before_it_is_answered() {
    for (line, shards) in
        [("FLUSHALL", 1), ("FLUSHALL", 2), ("FLUSHALL ASYNC", 2), ("EXEC", 1), ("EXEC", 2)]
    {
        let server = Server::start(saving(shards, "3600 1"));
        let mut client = server.client();
        client.words("DEBUG POPULATE 20000 filler 100");
        ok(&mut client, &["SAVE"]);
        let full = std::fs::metadata(server.home().path().join("dump.rdb")).expect("a file").len();
        client.words("DEBUG POPULATE 40000 filler 100");
        assert!(!client.words("BGSAVE").is_error());
        if line == "EXEC" {
            client.words("MULTI");
            client.words("FLUSHALL");
        }
        assert!(!client.words(line).is_error());
        let len = std::fs::metadata(server.home().path().join("dump.rdb")).expect("a file").len();
        assert!(len < full / 10, "{line} with {shards}: {len} of {full} bytes");
        let again = server.kill().restart();
        assert_eq!(again.client().words("DBSIZE"), Value::Int(0), "{line}");
    }
}

#[test]
fn a_save_point_that_fails_is_tried_again() {
    let server = Server::start(saving(2, "1 1"));
    let mut client = server.client();
    let name = block(server.home().path());
    ok(&mut client, &["CONFIG", "SET", "dbfilename", name]);
    ok(&mut client, &["SET", "a", "1"]);
    until_said(&server, "Background saving error");
    until(&mut client, "rdb_bgsave_in_progress", |there| there == "0");
    let reply = client.words("SET a 2");
    assert!(reply.is_error(), "{reply:?}");
    ok(&mut client, &["CONFIG", "SET", "dbfilename", "dump.rdb"]);
    until(&mut client, "rdb_last_bgsave_status", |status| status == "ok");
    ok(&mut client, &["SET", "a", "3"]);
    let again = server.kill().restart();
    assert!(again.client().words("GET a").text().is_some());
}

#[test]
fn a_restart_that_cannot_save_is_none() {
    let server = Server::start(saving(2, "3600 1"));
    let mut client = server.client();
    let name = block(server.home().path());
    ok(&mut client, &["CONFIG", "SET", "dbfilename", name]);
    ok(&mut client, &["SET", "a", "1"]);
    let refused = b"ERR failed to restart the server. Check server logs.";
    assert_eq!(client.words("DEBUG RESTART"), Value::Error(refused.into()));
    for line in ["MULTI", "DEBUG RESTART", "GET a"] {
        assert!(!client.words(line).is_error());
    }
    let replies = [Value::Simple(OK.into()), Value::Bulk(b"1".into())];
    assert_eq!(client.words("EXEC").items(), Some(&replies[..]));
    let said = |server: &Server| server.log().matches("can't exit.").count();
    while said(&server) < 2 {
        std::thread::yield_now();
    }
    ok(&mut client, &["CONFIG", "SET", "dbfilename", "dump.rdb"]);
    let again = shut_down("SHUTDOWN")(server).restart();
    assert_eq!(again.client().words("GET a"), Value::Bulk(b"1".into()));
}
