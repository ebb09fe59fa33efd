//! Schedules that once lost, tore or stalled something, against the real server over sockets.
//!
//! With two shards `k2` and `k3` live on the first one, `k0` and `k1` on the second.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

struct Server {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Server {
    fn start(name: &str, shards: usize, fsync: &str) -> Server {
        let dir = std::env::temp_dir().join(format!("ringstone-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Server { child: spawn(port, &dir, shards, fsync), port, dir }
    }

    /// Kills the server and starts it again.
    fn crash(&mut self, shards: usize, fsync: &str) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.port, &self.dir, shards, fsync);
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    /// Sends lines on a connection of their own and expects exactly `reply`.
    fn expect(&self, lines: &[&str], reply: &str) {
        expect(&mut self.connect(), lines, reply);
    }

    /// The process ends in good order within this time.
    fn ends_within(&mut self, time: Duration) {
        let started = Instant::now();
        while started.elapsed() < time {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server does not stop");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

#[expect(clippy::zombie_processes, reason = "whoever gets the child waits for it")]
fn spawn(port: u16, dir: &Path, shards: usize, fsync: &str) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_ringstone"))
        .args(["--port", &port.to_string(), "--shards", &shards.to_string()])
        .args(["--appendfsync", fsync, "--dir"])
        .arg(dir)
        .stdout(Stdio::from(log.try_clone().unwrap()))
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap();
    let started = Instant::now();
    // The socket listens before the data is loaded: only an answer says that it serves.
    while started.elapsed() < Duration::from_secs(20) {
        if let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) {
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut pong = [0; 7];
            if socket.write_all(b"PING\r\n").is_ok() && socket.read_exact(&mut pong).is_ok() {
                return child;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the server does not serve");
}

fn send(socket: &mut TcpStream, lines: &[&str]) {
    let bytes: String = lines.iter().flat_map(|line| [line, "\r\n"]).collect();
    socket.write_all(bytes.as_bytes()).unwrap();
}

fn expect(socket: &mut TcpStream, lines: &[&str], reply: &str) {
    send(socket, lines);
    let mut got = vec![0; reply.len()];
    let mut len = 0;
    while len < got.len() {
        match socket.read(&mut got[len..]) {
            Ok(n) if n > 0 => len += n,
            end => panic!("{end:?} behind {:?}", String::from_utf8_lossy(&got[..len])),
        }
    }
    assert_eq!(String::from_utf8_lossy(&got), reply);
}

#[test]
fn a_lease_that_is_over_before_an_earlier_reply_frees_its_connection() {
    let server = Server::start("lease", 2, "always");
    for own in ["SET k1 1", "SET k2 1"] {
        let lines = [own, "RENAME missing1 missing2", "PING"];
        server.expect(&lines, "+OK\r\n-ERR no such key\r\n+PONG\r\n");
        let lines = [own, "RENAME missing2 missing1", "RENAME missing4 missing3", "PING"];
        let errors = "-ERR no such key\r\n-ERR no such key\r\n";
        server.expect(&lines, &format!("+OK\r\n{errors}+PONG\r\n"));
    }
}

#[test]
fn a_transaction_whose_client_has_gone_runs_in_its_database() {
    let server = Server::start("orphan", 2, "always");
    for i in 0..100 {
        let mut socket = server.connect();
        let sets: Vec<String> = (0..4).map(|k| format!("SET k{k}:{i} 1")).collect();
        let mut lines = vec!["SELECT 5", "MULTI"];
        lines.extend(sets.iter().map(String::as_str));
        lines.push("EXEC");
        send(&mut socket, &lines);
        // Unread input makes the close a reset: the server hears of it at once.
        drop(socket);
    }
    server.expect(&["DBSIZE"], ":0\r\n");
}

#[test]
fn a_flush_that_changes_nothing_holds_nobody_up() {
    let server = Server::start("flush", 2, "always");
    server.expect(&["FLUSHALL", "FLUSHALL", "GET k1", "GET k2"], "+OK\r\n+OK\r\n$-1\r\n$-1\r\n");
    let lines = ["SET k1 1", "SELECT 3", "FLUSHDB", "GET k1", "GET k2"];
    server.expect(&lines, "+OK\r\n+OK\r\n+OK\r\n$-1\r\n$-1\r\n");
}

#[test]
fn strange_line_ends_do_not_spoil_the_log() {
    let mut server = Server::start("ends", 1, "always");
    let mut socket = server.connect();
    socket.write_all(b"*3\r\n$3\r\nSETxx$1\r\naxx$1\r\nbxx").unwrap();
    expect(&mut socket, &["GET a"], "+OK\r\n$1\r\nb\r\n");
    server.crash(1, "always");
    server.expect(&["GET a"], "$1\r\nb\r\n");
}

#[test]
fn who_has_ended_the_stream_is_answered_first() {
    let server = Server::start("half", 2, "always");
    for (lines, replies) in [
        (&["PING"][..], "+PONG\r\n"),
        (&["SET k1 1", "SET k2 2", "MGET k1 k2"][..], "+OK\r\n+OK\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n"),
        (&["SET k1 1", "RENAME k1 k2", "GET k2", "GET"][..], ""),
    ] {
        let mut socket = server.connect();
        send(&mut socket, lines);
        socket.shutdown(Shutdown::Write).unwrap();
        let mut got = String::new();
        socket.read_to_string(&mut got).unwrap();
        match replies {
            "" => assert!(got.ends_with("for 'get' command\r\n"), "{got}"),
            replies => assert_eq!(got, replies),
        }
    }
}

#[test]
fn unwatch_is_queued_and_hello_changes_nothing_behind_it() {
    let server = Server::start("session", 2, "always");
    for key in ["k1", "k2"] {
        let watch = format!("WATCH {key}");
        let lines = [&watch, "MULTI", "UNWATCH", "PING", "EXEC"];
        let replies = "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+PONG\r\n";
        server.expect(&lines, replies);
    }
    server.expect(&["GET k1", "GET k2", "HELLO 3"], "$-1\r\n$-1\r\n%7\r\n");
}

#[test]
fn leases_behind_cuts_go_into_the_next_file() {
    let mut server = Server::start("cuts", 2, "everysec");
    let run = |i: usize, server: &Server| {
        let mut socket = server.connect();
        let (own, other) = (format!("k0:{i}"), format!("k1:{i}"));
        let (set, rename) = (format!("SET {own} 1"), format!("RENAME {own} {other}"));
        for _ in 0..100 {
            match i {
                0 => expect(&mut socket, &["FLUSHALL", "PING"], "+OK\r\n+PONG\r\n"),
                _ => {
                    send(&mut socket, &[&set, &rename, &set, "PING"]);
                    let mut got = Vec::new();
                    while !got.ends_with(b"+PONG\r\n") {
                        let mut piece = [0; 512];
                        let n = socket.read(&mut piece).unwrap();
                        assert!(n > 0, "the server has gone");
                        got.extend_from_slice(&piece[..n]);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        (0..6).for_each(|i| {
            drop(scope.spawn({
                let server = &server;
                move || run(i, server)
            }))
        });
    });
    server.expect(&["FLUSHALL", "SET k1 1", "MSETNX k0 2 k2 3"], "+OK\r\n+OK\r\n:1\r\n");
    server.crash(2, "everysec");
    server.expect(&["DBSIZE", "MGET k1 k0 k2"], ":3\r\n*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n");
}

#[test]
fn a_stop_does_not_wait_for_clients() {
    let mut server = Server::start("stop", 2, "always");
    let run = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for i in 0..8 {
            let mut socket = server.connect();
            let run = &run;
            scope.spawn(move || {
                let line = format!("MSET k1:{i} 1 k0:{i} 2 k2:{i} 3");
                let mut piece = [0; 4096];
                while run.load(Ordering::Relaxed) {
                    let bytes = format!("{line}\r\n{line}\r\n");
                    if socket.write_all(bytes.as_bytes()).is_err()
                        || !socket.read(&mut piece).is_ok_and(|n| n > 0)
                    {
                        return;
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let mut socket = server.connect();
        send(&mut socket, &["SHUTDOWN"]);
        server.ends_within(Duration::from_secs(10));
        run.store(false, Ordering::Relaxed);
    });
}

#[test]
fn a_stricter_policy_leaves_nothing_unflushed() {
    let mut server = Server::start("policy", 2, "no");
    let lines = ["SET k1 1", "SET k2 1", "CONFIG SET appendfsync always"];
    server.expect(&lines, "+OK\r\n+OK\r\n+OK\r\n");
    let mut socket = server.connect();
    send(&mut socket, &["SHUTDOWN"]);
    server.ends_within(Duration::from_secs(10));
}

#[test]
fn many_watched_keys_take_no_time_of_others() {
    let server = Server::start("watch", 2, "everysec");
    let keys: String = (0..200_000).map(|i| format!(" k{i}")).collect();
    let mut request = format!("*{}\r\n$5\r\nWATCH\r\n", 200_001);
    for key in keys.split_ascii_whitespace() {
        request += &format!("${}\r\n{key}\r\n", key.len());
    }
    let mut socket = server.connect();
    socket.write_all(request.as_bytes()).unwrap();
    let started = Instant::now();
    expect(&mut socket, &["PING"], "+OK\r\n+PONG\r\n");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
