//! The process from outside: its arguments, its first lines, the background, supervisors, the log
//! file, what clients hear while it loads, what is told of a crash, signals, and the cores of its
//! threads.

mod cores;
mod crash;
mod fields;
mod signals;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::support::{Client, Options, Server, Value, server};

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what nobody announces.
const LOOK: Duration = Duration::from_millis(5);

fn run(args: &[&str]) -> Output {
    Command::new(server::subject()).args(args).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Looks until `look` finds something.
fn await_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(LOOK);
    }
}

/// A server that writes its log to a file, so that nothing but its port tells that it is there.
struct Quiet {
    child: Child,
    port: u16,
}

impl Quiet {
    fn start(dir: &Path, more: &[&str], environment: &[(&str, &str)]) -> Quiet {
        let port = server::free_port();
        let child = Command::new(server::subject())
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--shards", "1"])
            .arg("--dir")
            .arg(dir)
            .args(more)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("starts");
        Quiet { child, port }
    }

    fn client(&self) -> Client {
        await_some("a connection", || Client::connect(self.port).ok())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_tells_about_itself_and_ends() {
    for flag in ["-v", "--version"] {
        let out = run(&[flag]);
        let said = text(&out.stdout);
        assert!(out.status.success() && said.starts_with("Redis server v=7.2."), "{said}");
        assert!(said.contains(" bits=64 ") && said.lines().count() == 1, "{said}");
    }
    for flag in ["-h", "--help"] {
        let said = text(&run(&[flag]).stdout);
        assert!(said.starts_with("Usage: ") && said.contains("--check-system"), "{said}");
    }
    let said = text(&run(&["--check-system"]).stdout);
    assert!(said.contains("[io_uring]...OK\n"), "{said}");
    let wrong = run(&["--nonsense", "5"]);
    let said = text(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(said.contains("*** FATAL CONFIG FILE ERROR (Redis 7.2."), "{said}");
    assert!(said.contains("at line 1\n>>> 'nonsense \"5\"'\nBad directive"), "{said}");
}

#[test]
fn the_lines_that_others_wait_for() {
    let server = Server::start(Options::default().with("always-show-logo", "yes"));
    let (pid, port, log) = (server.pid(), server.port(), server.log());
    let mut from = 0;
    for line in [
        "is starting oO0OoO0OoO0Oo".to_owned(),
        format!(
            "Redis version=7.2.5, bits=64, commit=00000000, modified=0, pid={pid}, just started"
        ),
        format!("* Running mode=standalone, port={port}."),
        format!(" PID: {pid}"),
        "* Server initialized".to_owned(),
        "* Ready to accept connections tcp".to_owned(),
    ] {
        from += log[from..].find(&line).unwrap_or_else(|| panic!("{line} in {log}"));
    }
    assert!(log.lines().all(|line| line.starts_with(&format!("{pid}:M "))), "{log}");
    server.stop();
}

#[test]
fn standard_input_is_a_file_too() {
    let home = server::fresh_home();
    let port = server::free_port();
    let mut child = Command::new(server::subject())
        .args(["-", "--dir"])
        .arg(home.path())
        .args(["--timeout", "8"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let conf = format!("port {port}\nbind 127.0.0.1\ntimeout 7\nmaxclients 77\n");
    child.stdin.take().unwrap().write_all(conf.as_bytes()).unwrap();
    let server = Quiet { child, port };
    let got = server.client().words("CONFIG GET timeout maxclients");
    let words: Vec<_> = got.items().unwrap().iter().map(|v| text(v.text().unwrap())).collect();
    assert_eq!(words, ["maxclients", "77", "timeout", "8"]);
}

#[test]
fn a_log_file_that_is_moved_away_is_begun_anew() {
    let home = server::fresh_home();
    let log = home.path().join("the.log");
    let server = Quiet::start(home.path(), &["--logfile", "the.log"], &[]);
    let mut client = server.client();
    assert_eq!(client.words("PING"), Value::Simple(b"PONG".into()));
    // Clients are served a moment before the log says so.
    await_some("readiness", || {
        let said = fs::read_to_string(&log).ok()?;
        said.contains("Ready to accept connections tcp\n").then_some(())
    });
    fs::rename(&log, home.path().join("the.log.1")).unwrap();
    drop(client);
    server.signal(Signal::TERM);
    let said = await_some("the new file", || {
        fs::read_to_string(&log).ok().filter(|said| said.contains("bye bye"))
    });
    assert!(said.contains("# Received SIGTERM scheduling shutdown..."), "{said}");
    assert!(!said.contains("Server initialized"), "{said}");
}

#[test]
fn in_the_background_the_pid_file_tells_who_it_is() {
    let home = server::fresh_home();
    let pid_file = home.path().join("x.pid");
    let port = server::free_port();
    // Standard input is handed on as well.
    let mut parent = Command::new(server::subject())
        .args(["--port", &port.to_string(), "--daemonize", "yes", "--bind", "127.0.0.1", "--dir"])
        .arg(home.path())
        .args(["--pidfile", "x.pid", "--logfile", "the.log", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    parent.stdin.take().unwrap().write_all(b"maxclients 55\n").unwrap();
    let first = parent.id();
    assert!(parent.wait().unwrap().success());
    let mut client = await_some("a connection", || Client::connect(port).ok());
    assert_eq!(client.words("CONFIG GET maxclients").items().unwrap()[1].text(), Some(&b"55"[..]));
    let pid: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert_ne!(pid, first);
    let process = Pid::from_raw(pid as i32).unwrap();
    assert_eq!(rustix::process::getsid(Some(process)).unwrap(), process, "a session of its own");
    client.send(b"SHUTDOWN\r\n").unwrap();
    await_some("the end", || test_kill_process(process).is_err().then_some(()));
    assert!(!pid_file.exists());
}

#[test]
fn systemd_is_told_of_loading_readiness_and_stop() {
    let home = server::fresh_home();
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut buf = [0; 1000];
        let n = socket.recv(&mut buf).expect("a word");
        text(&buf[..n])
    };
    for supervised in ["systemd", "auto"] {
        let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
        // Who is supervised stays in the foreground.
        let more = ["--supervised", supervised, "--daemonize", "yes", "--logfile", "the.log"];
        let mut server = Quiet::start(home.path(), &more, &environment);
        assert_eq!(hear(), "STATUS=Loading the data...\n");
        assert_eq!(hear(), "READY=1\nSTATUS=Ready to accept connections\n");
        assert_eq!(server.client().words("PING"), Value::Simple(b"PONG".into()));
        server.signal(Signal::TERM);
        assert_eq!(hear(), "STATUS=Saving the final RDB snapshot\n");
        assert_eq!(hear(), "STOPPING=1\n");
        assert!(server.child.wait().unwrap().success());
    }
}

/// A directory whose log takes a while to load.
fn long_to_load() -> server::Home {
    let home = server::fresh_home();
    let mut log = Vec::new();
    for i in 0..1_500_000u32 {
        log.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$8\r\n");
        write!(log, "{i:08}\r\n$1\r\nx\r\n").unwrap();
    }
    fs::write(home.path().join("appendonly.aof"), log).unwrap();
    home
}

#[test]
fn while_loading_clients_are_told_so_and_stay() {
    let home = long_to_load();
    let more = ["--logfile", "the.log", "--enable-debug-command", "local"];
    let mut server = Quiet::start(home.path(), &more, &[]);
    let mut client = server.client();
    let mut other = server.client();
    let loading = Value::Error(b"LOADING Redis is loading the dataset in memory".into());
    assert_eq!(client.words("PING"), loading, "it was too fast for this test");
    assert_eq!(client.words("GET 00000001"), loading);
    let unknown = client.words("NOSUCH");
    assert!(matches!(&unknown, Value::Error(e) if e.starts_with(b"ERR unknown command 'NOSUCH'")));
    let info = text(client.words("INFO persistence").text().unwrap());
    for field in ["loading:1\r\n", "loading_total_bytes:", "loading_eta_seconds:"] {
        assert!(info.contains(field), "{field} in {info}");
    }
    // What the table allows meanwhile, and neither shards nor their clients are needed for.
    for (asks, answer) in [
        ("LASTSAVE", "Int("),
        ("TIME", "Array("),
        ("SLOWLOG LEN", "Int(0)"),
        ("LATENCY LATEST", "Array([])"),
        ("ROLE", "Array("),
        ("CLIENT NO-EVICT on", "Simple("),
        ("CONFIG HELP", "Array("),
        ("COMMAND COUNT", "Int("),
        ("DEBUG LOG hello", "Simple("),
        ("DEBUG SLEEP 0", "Error("),
        ("CLIENT LIST", "Error("),
        ("CONFIG RESETSTAT", "Error("),
        ("SHUTDOWN NONSENSE", "Error("),
        ("SHUTDOWN SAVE NOSAVE", "Error("),
    ] {
        let reply = format!("{:?}", client.words(asks));
        assert!(reply.starts_with(answer), "{asks}: {reply}");
    }
    // Half a request is not carried over.
    other.send(b"*2\r\n$3\r\nGET\r\n").unwrap();
    let pong = Value::Simple(b"PONG".into());
    await_some("the end of loading", || (client.words("PING") == pong).then_some(()));
    assert_eq!(client.words("DBSIZE"), Value::Int(1_500_000));
    assert_eq!(other.rest().unwrap(), b"");
    // The log has a thread of its own.
    await_some("a line of it", || {
        let said = fs::read_to_string(home.path().join("the.log")).ok();
        said.filter(|said| said.contains("DB loaded from append only file: "))
    });
    let said = fs::read_to_string(home.path().join("the.log")).expect("a log");
    assert!(said.contains("DEBUG LOG: hello"), "{said}");
    server.signal(Signal::TERM);
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn a_server_that_loads_can_be_stopped_by_a_client() {
    let home = long_to_load();
    let more = ["--logfile", "the.log", "--requirepass", "secret", "--rename-command CONFIG \"\""];
    let mut server = Quiet::start(home.path(), &more, &[]);
    let mut client = server.client();
    let mut ask = |line: &str| match client.words(line) {
        Value::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(ask("PING"), "NOAUTH Authentication required.", "it was too fast for this test");
    assert_eq!(ask("SHUTDOWN"), "NOAUTH Authentication required.");
    assert!(ask("AUTH wrong").starts_with("WRONGPASS "));
    assert_eq!(ask("AUTH secret"), format!("{:?}", Value::Simple(b"OK".into())));
    assert!(ask("CONFIG GET x").starts_with("ERR unknown command"));
    client.send(b"SHUTDOWN NOSAVE\r\n").unwrap();
    assert!(server.child.wait().unwrap().success());
    // Nothing was changed: it loads again.
    let again = Server::start_in(home, Options::default().with("requirepass", "secret"));
    let mut client = again.client();
    assert_eq!(client.words("AUTH secret"), Value::Simple(b"OK".into()));
    assert_eq!(client.words("DBSIZE"), Value::Int(1_500_000));
}

/// What a reply looks like on the wire.
fn raw(client: &mut Client, request: &str) -> String {
    client.send(format!("{request}\r\n").as_bytes()).expect("sends");
    text(&client.reply().expect("a reply").0)
}

#[test]
fn who_has_said_hello_while_loading_is_known_afterwards() {
    let home = long_to_load();
    let more = ["--logfile", "the.log", "--requirepass", "secret"];
    let mut server = Quiet::start(home.path(), &more, &[]);
    let mut client = server.client();
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    assert!(raw(&mut client, "HELLO 3").starts_with("-NOAUTH HELLO must be called with"));
    assert!(raw(&mut client, "HELLO 3 AUTH default wrong").starts_with("-WRONGPASS "));
    assert!(raw(&mut client, "HELLO 4").starts_with("-NOPROTO "));
    let hello = raw(&mut client, "HELLO 3 AUTH default secret SETNAME me");
    assert!(hello.starts_with("%7\r\n") && hello.contains("proto\r\n:3\r\n"), "{hello}");
    assert_eq!(raw(&mut client, "GET 00000001"), loading, "it was too fast for this test");
    assert!(raw(&mut client, "INFO persistence").contains("txt:# Persistence\r\nloading:1\r\n"));
    assert!(raw(&mut client, "CONFIG GET maxclients").starts_with("%1\r\n$10\r\nmaxclients\r\n"));
    assert_eq!(raw(&mut client, "CONFIG SET maxclients 5"), loading);
    assert_eq!(raw(&mut client, "CLIENT SETINFO lib-name tester"), "+OK\r\n");
    assert_eq!(raw(&mut client, "SELECT 3"), "+OK\r\n");
    assert_eq!(raw(&mut client, "SELECT 99"), "-ERR DB index is out of range\r\n");
    let id = raw(&mut client, "CLIENT ID");
    await_some("the end of loading", || {
        let reply = raw(&mut client, "PING");
        assert!(reply == "+PONG\r\n" || reply == loading, "{reply}");
        (reply == "+PONG\r\n").then_some(())
    });
    assert_eq!(raw(&mut client, "CLIENT ID"), id);
    assert_eq!(raw(&mut client, "GET none"), "_\r\n");
    let info = raw(&mut client, "CLIENT INFO");
    for field in [" name=me ", " db=3 ", " lib-name=tester ", " resp=3"] {
        assert!(info.contains(field), "{field} in {info}");
    }
    let mut other = server.client();
    assert_eq!(raw(&mut other, "PING"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(raw(&mut other, "AUTH secret"), "+OK\r\n");
    assert_ne!(raw(&mut other, "CLIENT ID"), id);
    server.signal(Signal::TERM);
    assert!(server.child.wait().unwrap().success());
}

/// Names and lengths of the files below a directory, the server's log aside.
fn listing(dir: &Path) -> Vec<(String, u64)> {
    let (mut open, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("lists").flatten() {
            match entry.metadata().expect("there") {
                about if about.is_dir() => open.push(entry.path()),
                about => found.push((entry.path().display().to_string(), about.len())),
            }
        }
    }
    found.retain(|(name, _)| !name.ends_with("the.log"));
    found.sort();
    found
}

#[test]
fn a_server_that_loads_can_be_stopped_by_a_signal() {
    let home = long_to_load();
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Quiet::start(home.path(), &["--logfile", "the.log"], &[]);
        let mut client = server.client();
        let reply = raw(&mut client, "PING");
        assert!(reply.starts_with("-LOADING "), "it was too fast for this test: {reply}");
        let before = listing(home.path());
        let began = Instant::now();
        server.signal(signal);
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(client.rest().unwrap(), b"");
        let said = fs::read_to_string(home.path().join("the.log")).unwrap();
        for line in [
            "# Received shutdown signal during loading, scheduling shutdown.\n",
            "# Ringstone is now ready to exit, bye bye...\n",
        ] {
            assert!(said.contains(line), "{said}");
        }
        assert!(!said.contains("Server initialized"), "{said}");
        assert_eq!(listing(home.path()), before);
        fs::remove_file(home.path().join("the.log")).unwrap();
    }
    let again = Server::start_in(home, Options::default());
    assert_eq!(again.client().words("DBSIZE"), Value::Int(1_500_000));
}

/// Who sends SIGINT twice does not wait for the last save, and finds no half of a file.
#[test]
fn who_insists_ends_the_last_save() {
    let home = server::fresh_home();
    let more = ["--logfile", "the.log", "--appendonly", "no", "--save", "3600 1"];
    let more = [&more[..], &["--rdb-key-save-delay", "100000"]].concat();
    let mut server = Quiet::start(home.path(), &more, &[]);
    let mut client = server.client();
    (0..100).for_each(|n| drop(client.words(&format!("SET k{n} v"))));
    server.signal(Signal::INT);
    let file = home.path().join(format!("temp-{}.rdb", server.child.id()));
    await_some("the file that is saved", || file.exists().then_some(()));
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    assert_eq!(server.child.wait().expect("its end").code(), Some(1));
    assert!(!file.exists() && !home.path().join("dump.rdb").exists());
    let said = fs::read_to_string(home.path().join("the.log")).expect("a log");
    assert!(said.contains("# You insist... exiting now.\n"), "{said}");
}

/// Keys without elements, as some versions of Redis wrote them, are left out by name, and remarks
/// that a file makes about itself are passed on.
#[test]
fn what_is_left_out_of_a_file_is_said() {
    for shards in [1, 2, 4] {
        let home = server::fresh_home();
        let mut file = b"REDIS0009\xfa\x05%note\x05hello".to_vec();
        // Sets, a list and a hash of none, and a string.
        for key in ["a", "b", "c", "d"] {
            file.extend_from_slice(&[2, 1, key.as_bytes()[0], 0]);
        }
        file.extend_from_slice(b"\x01\x04list\0\x04\x04hash\0\0\x01k\x01v\xff");
        file.extend_from_slice(&[0; 8]);
        fs::write(home.path().join("dump.rdb"), file).expect("a file");
        let options = Options { appendonly: false, ..Options::shards(shards) };
        let server = Server::start_in(home, options);
        assert_eq!(server.client().words("DBSIZE"), Value::Int(1));
        let said = server.said(|log| log.contains("DB loaded from disk"));
        for key in ["a", "b", "c", "d", "list", "hash"] {
            let line = format!("# rdbLoadObject skipping empty key: {key}\n");
            assert!(said.contains(&line), "{line} in {said}");
        }
        let all = "keys loaded: 1, keys expired: 0, empty keys skipped: 6.\n";
        assert!(said.contains(all), "{said}");
        assert_eq!(said.matches("RDB '%note': hello\n").count(), 1, "{said}");
    }
}
