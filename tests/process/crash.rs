//! What is told of a process that crashes, and what is not.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{await_some, text};
use crate::support::{Client, server};

/// A server whose outputs can be read once it has ended.
struct Doomed {
    child: Child,
    port: u16,
}

/// How it ended.
struct End {
    status: ExitStatus,
    output: String,
    error: String,
}

impl Doomed {
    fn start(dir: &Path, more: &[&str]) -> Doomed {
        let port = server::free_port();
        let child = Command::new(server::subject())
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--shards", "2"])
            .args(["--enable-debug-command", "yes", "--dir"])
            .arg(dir)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        Doomed { child, port }
    }

    /// Sends requests; the last of them ends it.
    fn end_by(self, requests: &str) -> End {
        let mut client = await_some("a connection", || Client::connect(self.port).ok());
        // A client that is answered has a server that serves.
        await_some("an answer", || (client.words("PING").text() == Some(b"PONG")).then_some(()));
        client.send(requests.as_bytes()).expect("sends");
        self.end()
    }

    /// Waits for its end.
    fn end(mut self) -> End {
        let (mut output, mut error) = (Vec::new(), Vec::new());
        self.child.stdout.take().expect("piped").read_to_end(&mut output).expect("reads");
        self.child.stderr.take().expect("piped").read_to_end(&mut error).expect("reads");
        let status = self.child.wait().expect("ends");
        End { status, output: text(&output), error: text(&error) }
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Holds a report of a signal to what it must and must not say.
fn check_report(report: &str, signal: i32) {
    let mut from = 0;
    for part in [
        "=== RINGSTONE BUG REPORT START ===\n",
        &format!(" crashed by signal: {signal}, si_code: "),
        "\nThread: shard-",
        "\nThe last command it began: debug\n",
        "\n------ STACK TRACE ------\n",
        "ringstone",
        "(+0x",
        "=== RINGSTONE BUG REPORT END ===\n",
    ] {
        from += report[from..].find(part).unwrap_or_else(|| panic!("{part:?} in {report}"));
    }
    assert_eq!(report.matches("BUG REPORT START").count(), 1, "{report}");
    assert!(!report.contains("secret"), "{report}");
}

#[test]
fn a_fatal_signal_is_reported_and_ends_the_process() {
    let home = server::fresh_home();
    let requests = "SET secret-key secret-value\r\nDEBUG SEGFAULT\r\n";
    let end = Doomed::start(home.path(), &[]).end_by(requests);
    assert_eq!(end.status.signal(), Some(Signal::SEGV.as_raw()), "{}", end.error);
    check_report(&end.output, Signal::SEGV.as_raw());
    check_report(&end.error, Signal::SEGV.as_raw());
    assert!(end.output.contains("\nAccessing address: 0x"), "{}", end.output);

    let end = Doomed::start(home.path(), &["--logfile", "the.log"]).end_by(requests);
    let log = fs::read_to_string(home.path().join("the.log")).expect("a log");
    assert_eq!(end.status.signal(), Some(Signal::SEGV.as_raw()), "{log}");
    check_report(&log, Signal::SEGV.as_raw());
    assert_eq!(end.output, "");
}

#[test]
fn a_fatal_signal_from_outside_names_its_sender() {
    let home = server::fresh_home();
    let doomed = Doomed::start(home.path(), &[]);
    let mut client = await_some("a connection", || Client::connect(doomed.port).ok());
    await_some("an answer", || (client.words("PING").text() == Some(b"PONG")).then_some(()));
    kill_process(Pid::from_child(&doomed.child), Signal::BUS).expect("a signal");
    let End { status, output: said, .. } = doomed.end();
    assert_eq!(status.signal(), Some(Signal::BUS.as_raw()), "{said}");
    assert!(said.contains(&format!("\nSent by PID: {}\n", std::process::id())), "{said}");
    assert_eq!(said.matches("BUG REPORT START").count(), 1, "{said}");
}

#[test]
fn an_abort_that_nobody_has_told_of_is_reported() {
    let home = server::fresh_home();
    let end = Doomed::start(home.path(), &[]).end_by("DEBUG OOM\r\n");
    assert_eq!(end.status.signal(), Some(Signal::ABORT.as_raw()), "{}", end.error);
    assert!(end.error.contains("memory allocation of "), "{}", end.error);
    check_report(&end.output, Signal::ABORT.as_raw());
}

#[test]
fn a_panic_is_reported_once() {
    for (request, said) in [
        ("DEBUG PANIC\r\n", "DEBUG PANIC was called"),
        ("DEBUG ASSERT\r\n", "DEBUG ASSERT was called"),
    ] {
        let home = server::fresh_home();
        let end = Doomed::start(home.path(), &["--logfile", "the.log"]).end_by(request);
        let log = fs::read_to_string(home.path().join("the.log")).expect("a log");
        assert_eq!(end.status.signal(), Some(Signal::ABORT.as_raw()), "{log}");
        for report in [&log, &end.error] {
            let first = report.lines().find(|l| l.contains("has to stop")).expect("a report");
            assert!(first.contains("Ringstone has to stop: thread shard-"), "{report}");
            assert!(first.ends_with(said), "{report}");
            assert!(report.contains("# The last command it began: debug\n"), "{report}");
            assert!(report.contains("# Backtrace:\n"), "{report}");
            assert!(!report.contains("BUG REPORT"), "{report}");
        }
    }
}

#[test]
fn without_the_crash_log_nothing_is_said_at_length() {
    let home = server::fresh_home();
    let start = |value| Doomed::start(home.path(), &["--crash-log-enabled", value]);
    for (value, requests) in [
        ("no", "DEBUG SEGFAULT\r\n"),
        ("yes", "CONFIG SET crash-log-enabled no\r\nDEBUG SEGFAULT\r\n"),
    ] {
        let end = start(value).end_by(requests);
        assert_eq!(end.status.signal(), Some(Signal::SEGV.as_raw()), "{}", end.error);
        assert!(!end.output.contains("REPORT") && end.error.is_empty(), "{}", end.output);
    }
    let end = start("no").end_by("DEBUG PANIC\r\n");
    assert_eq!(end.status.signal(), Some(Signal::ABORT.as_raw()), "{}", end.error);
    assert!(end.error.contains("has to stop") && !end.error.contains("Backtrace"), "{}", end.error);
}

#[test]
fn the_program_can_be_started_again_in_its_place() {
    let home = server::fresh_home();
    let mut doomed =
        Doomed::start(home.path(), &["--logfile", "the.log", "--appendfsync", "always"]);
    let starts = || {
        let log = fs::read_to_string(home.path().join("the.log")).unwrap_or_default();
        (log.matches("Server initialized").count(), log)
    };
    let mut known = 0;
    for (round, request) in ["RESTART", "RESTART 50", "CRASH-AND-RECOVER 50", "CRASH-AND-RECOVER"]
        .into_iter()
        .enumerate()
    {
        await_some("a start", || (starts().0 == round + 1).then_some(()));
        let mut client = Client::connect(doomed.port).expect("connects");
        assert_eq!(client.words("DBSIZE").int(), Some(known));
        assert_eq!(client.words(&format!("SET k{round} v")).text(), Some(&b"OK"[..]));
        known += 1;
        client.send(format!("DEBUG {request}\r\n").as_bytes()).expect("sends");
        assert_eq!(client.rest().expect("the end"), b"", "{request}");
    }
    await_some("a start", || (starts().0 == 5).then_some(()));
    let mut client = Client::connect(doomed.port).expect("connects");
    assert_eq!(client.words("DBSIZE").int(), Some(known));
    let (_, log) = starts();
    let pid = doomed.child.id();
    assert!(log.lines().all(|line| line.starts_with(&format!("{pid}:M "))), "{log}");
    client.send(b"SHUTDOWN\r\n").expect("sends");
    assert!(doomed.child.wait().expect("ends").success());
}
