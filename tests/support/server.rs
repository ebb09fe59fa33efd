//! A server as a process: started on a free port and a directory of its own, awaited by its own
//! word on stdout, stopped or killed by its pid.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Client, peer};

/// Longest wait for a server to come up or to go down.
const PATIENCE: Duration = Duration::from_secs(60);
/// What both servers write to stdout once they serve.
const READY: &str = "Ready to accept connections";

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of shards; the peer is not told.
    pub shards: usize,
    /// `appendonly`
    pub appendonly: bool,
    /// `appendfsync`
    pub fsync: &'static str,
    /// The configuration file.
    pub conf: Option<PathBuf>,
    /// Further flags, as on the command line.
    pub more: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options { shards: 1, appendonly: true, fsync: "always", conf: None, more: Vec::new() }
    }
}

impl Options {
    /// The default with this number of shards.
    pub fn shards(shards: usize) -> Self {
        Options { shards, ..Options::default() }
    }

    /// The same with a configuration file.
    pub fn conf(mut self, path: &Path) -> Self {
        self.conf = Some(path.to_owned());
        self
    }

    /// The same with a further flag and its value.
    pub fn with(mut self, flag: &str, value: &str) -> Self {
        self.more.extend([format!("--{flag}"), value.to_owned()]);
        self
    }
}

/// Which program is started.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The server under test.
    Subject,
    /// The installed redis-server.
    Peer(PathBuf),
}

/// A directory that is removed with the last server on it.
pub type Home = Arc<TempDir>;

/// A running server; dropping it kills it.
pub struct Server {
    child: Child,
    kind: Kind,
    options: Options,
    home: Home,
    port: u16,
    log: Arc<Mutex<String>>,
}

/// True when the tests are pointed at redis-server to judge themselves.
pub fn judged_by_peer() -> bool {
    match std::env::var("RINGSTONE_TEST_SERVER") {
        Ok(name) if name == "redis-server" => true,
        Ok(name) => panic!("RINGSTONE_TEST_SERVER={name}: only redis-server is known"),
        Err(_) => false,
    }
}

/// The server under test: what cargo built with the tests, or another build of it.
pub fn subject() -> PathBuf {
    let built = || env!("CARGO_BIN_EXE_ringstone").into();
    std::env::var_os("RINGSTONE_TEST_BINARY").map_or_else(built, PathBuf::from)
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = (std::process::id() % 20_000) as u16;
    let _ = NEXT.compare_exchange(0, 12_000 + spread, Ordering::Relaxed, Ordering::Relaxed);
    loop {
        // Below the ephemeral range, so that no connection's own port takes it meanwhile.
        let port = 12_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 20_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Server {
    /// Starts the server under test in a fresh directory.
    pub fn start(options: Options) -> Server {
        Server::start_in(fresh_home(), options)
    }

    /// Starts the server under test on a directory that something else has left.
    pub fn start_in(home: Home, options: Options) -> Server {
        let kind = if judged_by_peer() {
            Kind::Peer(peer::program("redis-server", "self-check").expect("redis-server"))
        } else {
            Kind::Subject
        };
        Server::launch(kind, home, free_port(), options)
            .unwrap_or_else(|end| panic!("the server did not come up: {end}"))
    }

    /// Starts the installed redis-server in a fresh directory; `None` when `what` is skipped.
    pub fn peer(options: Options, what: &str) -> Option<Server> {
        Server::peer_in(fresh_home(), options, what)
    }

    /// Starts the installed redis-server on a directory; `None` when `what` is skipped.
    pub fn peer_in(home: Home, options: Options, what: &str) -> Option<Server> {
        let kind = Kind::Peer(peer::program("redis-server", what)?);
        let started = Server::launch(kind, home, free_port(), options);
        Some(started.unwrap_or_else(|end| panic!("redis-server did not come up: {end}")))
    }

    /// Starts the server under test, or redis-server where `peer` is its path, on a directory that
    /// it may refuse.
    pub fn attempt(home: Home, peer: Option<&Path>, options: Options) -> Result<Server, Ended> {
        let kind = peer.map_or(Kind::Subject, |path| Kind::Peer(path.to_owned()));
        Server::launch(kind, home, free_port(), options)
    }

    /// Tries to start the server under test where it should not come up: what it said, and how it
    /// ended. Panics when it comes up after all.
    pub fn refused(home: Home, port: Option<u16>, options: Options) -> Ended {
        let kind = if judged_by_peer() {
            Kind::Peer(peer::program("redis-server", "self-check").expect("redis-server"))
        } else {
            Kind::Subject
        };
        match Server::launch(kind, home, port.unwrap_or_else(free_port), options) {
            Ok(server) => panic!("the server came up on port {}", server.port),
            Err(ended) => ended,
        }
    }

    fn launch(kind: Kind, home: Home, port: u16, options: Options) -> Result<Server, Ended> {
        let mut command = match &kind {
            Kind::Subject => Command::new(subject()),
            Kind::Peer(path) => Command::new(path),
        };
        command.args(&options.conf);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.arg("--dir").arg(home.path());
        command.args(["--appendonly", if options.appendonly { "yes" } else { "no" }]);
        command.args(["--appendfsync", options.fsync]);
        match kind {
            Kind::Subject => command.args(["--shards", &options.shards.to_string()]),
            Kind::Peer(_) => &mut command,
        };
        // Snapshots are taken where a test asks for them.
        command.args(["--save", ""]);
        command.args(&options.more);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let log = Arc::new(Mutex::new(String::new()));
        let (ready, wait) = channel();
        let said = [
            collect(child.stdout.take().unwrap(), Arc::clone(&log), Some(ready)),
            collect(child.stderr.take().unwrap(), Arc::clone(&log), None),
        ];
        match await_ready(&wait) {
            Ready::Yes => Ok(Server { child, kind, options, home, port, log }),
            Ready::Never => {
                let status = child.wait().expect("wait for the server");
                said.into_iter().for_each(|thread| thread.join().expect("read what it said"));
                let log = log.lock().unwrap().clone();
                Err(Ended { status, log })
            }
            Ready::Late => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("not ready after {PATIENCE:?}; it said:\n{}", log.lock().unwrap());
            }
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its directory; holding it keeps it.
    pub fn home(&self) -> Home {
        Arc::clone(&self.home)
    }

    /// How it was started.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What it has said so far. A thread of its own says it, so it may be behind a reply.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What it has said, once that is enough.
    pub fn said(&self, enough: impl Fn(&str) -> bool) -> String {
        let begin = Instant::now();
        loop {
            let log = self.log();
            if enough(&log) {
                return log;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "not enough is said:\n{log}");
            std::thread::yield_now();
        }
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.port)
            .unwrap_or_else(|e| panic!("connect: {e}; the server said:\n{}", self.log()))
    }

    /// kill -9, waited for.
    pub fn kill(mut self) -> Stopped {
        self.child.kill().expect("kill -9");
        self.gone()
    }

    /// SIGTERM, waited for; a clean stop is required.
    pub fn stop(mut self) -> Stopped {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("SIGTERM");
        let log = Arc::clone(&self.log);
        let (status, stopped) = self.end();
        assert!(status.success(), "SIGTERM: {status}; it said:\n{}", log.lock().unwrap());
        stopped
    }

    /// After SHUTDOWN has been sent to it: waited for; a clean stop is required.
    pub fn gone_by_itself(mut self) -> Stopped {
        let (status, stopped) = self.end();
        assert!(status.success(), "after SHUTDOWN: {status}");
        stopped
    }

    fn gone(&mut self) -> Stopped {
        self.end().1
    }

    fn end(&mut self) -> (ExitStatus, Stopped) {
        let status = self.child.wait().expect("wait for the server");
        let stopped = Stopped {
            kind: self.kind.clone(),
            home: Arc::clone(&self.home),
            port: self.port,
            options: self.options.clone(),
        };
        (status, stopped)
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// Processor time used by all its threads, the kernel's workers for it included.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let per_second = rustix::param::clock_ticks_per_second();
        Duration::from_millis(ticks * 1000 / per_second)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let skip = log.len().saturating_sub(4000);
            let from = (skip..log.len()).find(|&i| log.is_char_boundary(i)).unwrap_or(0);
            eprintln!("the server on port {} said:\n{}", self.port, &log[from..]);
        }
    }
}

/// A server that is gone, with what is needed to start it again.
pub struct Stopped {
    kind: Kind,
    home: Home,
    port: u16,
    options: Options,
}

impl Stopped {
    /// Starts it again on the same port and directory; it must come up at the first try.
    pub fn restart(self) -> Server {
        let options = self.options.clone();
        self.restart_with(options)
    }

    /// The same with other options.
    pub fn restart_with(self, options: Options) -> Server {
        Server::launch(self.kind, self.home, self.port, options)
            .unwrap_or_else(|end| panic!("the server did not come up again: {end}"))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.home.path()
    }
}

/// How a server ended that never became ready.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Everything it said.
    pub log: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; it said:\n{}", self.status, self.log)
    }
}

enum Ready {
    Yes,
    Never,
    Late,
}

fn await_ready(wait: &Receiver<()>) -> Ready {
    match wait.recv_timeout(PATIENCE) {
        Ok(()) => Ready::Yes,
        Err(RecvTimeoutError::Disconnected) => Ready::Never,
        Err(RecvTimeoutError::Timeout) => Ready::Late,
    }
}

/// Reads a stream to its end into `log`, and says so when the server is ready.
fn collect(
    stream: impl std::io::Read + Send + 'static,
    log: Arc<Mutex<String>>,
    ready: Option<Sender<()>>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        let mut ready = ready;
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            log.lock().unwrap().push_str(&text);
            if text.contains(READY)
                && let Some(tell) = ready.take()
            {
                let _ = tell.send(());
            }
            line.clear();
        }
    })
}

/// An empty directory in the place for temporary files.
pub fn fresh_home() -> Home {
    Arc::new(tempfile::Builder::new().prefix("ringstone-").tempdir().expect("a directory"))
}

/// A copy of a directory, into a fresh one.
pub fn copy_home(from: &Path) -> Home {
    let home = fresh_home();
    copy_tree(from, home.path());
    home
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("list a directory") {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
