//! The doorman: answers at the door while the data is being loaded.
//!
//! One thread on the listening sockets, with `poll` and without the shards, which are busy reading.
//! It runs what acts on the client alone or asks about the server ([`is_open`]: HELLO, AUTH, INFO
//! with the progress, …), takes SHUTDOWN, and answers `-LOADING` to everything else. When loading
//! ends, clients are handed to the shards with what is known of them; those that have left half of
//! a request here, or a reply unread, are closed, and connect again. It waits a moment before it
//! begins: a start that takes no longer keeps nobody out. A signal to stop ends the process here,
//! which loading allows at any time, since it only reads.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, SocketFlags, accept_with, send};

use crate::base::clock::SystemClock;
use crate::command::migrate::Migration;
use crate::command::session::{BackupStep, Server, SessionCtx, Wait};
use crate::command::table::SessionRun;
use crate::command::{Args, Ask, Command, Flags, Run, Session, table};
use crate::config::renames::Named;
use crate::config::{Config, LogLevel};
use crate::observe::info::{self, Snapshot};
use crate::observe::{Registry, crash, process};
use crate::resp::{Limits, Reply, RequestParser, Status};
use crate::ring::net;
use crate::server::boot::Journal;
use crate::server::fatal;
use crate::server::shards::Disks;
use crate::server::supervise::Supervisor;
use crate::server::termination;
use crate::shard::message::Arrival;
use crate::shard::upkeep;

/// How long clients are left to wait before they are answered, in milliseconds.
const GRACE_MS: i64 = 100;
/// How often progress is looked at, in milliseconds.
const LOOK_MS: i64 = 1000;
/// How often it is told in the log, in looks.
const TELL_EVERY: u32 = 10;
/// Longest beginning of a request that is kept for a client, and longest output it leaves unread,
/// in bytes.
const KEPT_MAX: usize = 64 * 1024;
/// Bytes read from a client at a time.
const CHUNK: usize = 16 * 1024;

const LOADING: &[u8] = b"LOADING Redis is loading the dataset in memory";
const NO_AUTH: &[u8] = b"NOAUTH Authentication required.";

/// What is not carried out while loading though the table would allow it: it changes what shards
/// take with them when they begin.
const SHUT: &[&str] = &["client|reply", "config|resetstat", "config|rewrite", "config|set"];

/// Whether a command is carried out while loading: the table says so, and it acts on the client
/// alone or asks about the server, but not about what its shards have.
fn is_open(command: &Command, args: &Args<'_>) -> bool {
    let flags = command.flags;
    flags.has(Flags::LOADING)
        && !flags.has(Flags::ASKS)
        && !SHUT.contains(&command.name)
        && (command.name != "debug" || args.is(1, "log"))
}

/// Whether SHUTDOWN has words that end the process; others are refused by its code.
fn ends(args: &Args<'_>) -> bool {
    let known = |at: usize| ["nosave", "save", "now", "force"].iter().any(|word| args.is(at, word));
    let said = |word: &str| (1..args.len()).any(|at| args.is(at, word));
    (1..args.len()).all(known) && !(said("save") && said("nosave"))
}

/// What the doorman answers from.
pub struct Desk {
    /// The configuration; it does not change before clients are served.
    pub config: Arc<Config>,
    /// Facts for INFO, and how far loading has come.
    pub registry: Registry,
    /// Counts what is loaded.
    pub disks: Arc<Disks>,
    /// The server's log.
    pub journal: Arc<Journal>,
    /// Told that it goes on.
    pub supervisor: Supervisor,
}

impl Desk {
    /// Bytes loaded, and bytes to load.
    fn progress(&self) -> (u64, u64) {
        let loading = &self.registry.loading;
        let total = loading.total_bytes.load(Ordering::Relaxed);
        let loaded = self.disks.progress.load(Ordering::Relaxed).min(total);
        loading.loaded_bytes.store(loaded, Ordering::Relaxed);
        (loaded, total)
    }
}

/// The thread at the door.
pub struct Doorman {
    wake: UnixStream,
    thread: JoinHandle<Left>,
}

/// Who is at the door when loading has ended.
#[derive(Default)]
pub struct Left {
    /// Clients that can be carried over.
    pub arrivals: Vec<Arrival>,
    /// Clients there have been.
    pub clients: u64,
}

impl Doorman {
    /// Begins to answer on `sockets`, which stay the caller's.
    pub fn start(desk: Desk, sockets: &[OwnedFd]) -> io::Result<Doorman> {
        let (wake, woken) = UnixStream::pair()?;
        let listeners = sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>()?;
        let told = termination::watch()?;
        let guests = Vec::new();
        let body = Body { desk, listeners, woken, told, guests, clients: 0, looks: 0 };
        let named = std::thread::Builder::new().name("doorman".into());
        Ok(Doorman { wake, thread: named.spawn(move || body.run())? })
    }

    /// Loading has ended.
    pub fn leave(self) -> Left {
        drop(self.wake);
        self.thread.join().unwrap_or_default()
    }
}

/// A client at the door.
struct Guest {
    socket: OwnedFd,
    parser: RequestParser,
    /// The beginning of a request.
    input: Vec<u8>,
    output: Vec<u8>,
    /// Who it is; it is closed when it is closing and its output has left.
    session: Session,
    gone: bool,
}

struct Body {
    desk: Desk,
    listeners: Vec<OwnedFd>,
    woken: UnixStream,
    /// Readable when a signal tells the process to stop.
    told: &'static UnixStream,
    guests: Vec<Guest>,
    clients: u64,
    looks: u32,
}

impl Body {
    fn run(mut self) -> Left {
        fatal::give_stack();
        if self.wait_for_end(GRACE_MS) {
            return Left::default();
        }
        self.listeners.iter().for_each(|l| {
            net::prepare_listener(l);
            let _ = rustix::io::ioctl_fionbio(l, true);
        });
        while !self.round() {}
        // The shards' rings want sockets that block.
        let blocks = |socket: &OwnedFd| rustix::io::ioctl_fionbio(socket, false).is_ok();
        self.listeners.iter().for_each(|l| {
            blocks(l);
        });
        let stays =
            |g: &Guest| !g.gone && !g.session.closing && g.input.is_empty() && g.output.is_empty();
        let kept = self.guests.into_iter().filter(|g| stays(g) && blocks(&g.socket));
        let arrivals = kept.map(|g| Arrival { socket: g.socket, known: Some(Box::new(g.session)) });
        Left { arrivals: arrivals.collect(), clients: self.clients }
    }

    /// Waits for the end of loading, this long.
    fn wait_for_end(&self, ms: i64) -> bool {
        let mut fds = [PollFd::new(&self.woken, PollFlags::IN)];
        poll(&mut fds, Some(&timeout(ms))).is_ok_and(|n| n > 0)
    }

    /// Waits for something to happen and answers it; true when loading has ended.
    fn round(&mut self) -> bool {
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
        fds.push(PollFd::new(self.told, PollFlags::IN));
        fds.extend(self.listeners.iter().map(|l| PollFd::new(l, PollFlags::IN)));
        fds.extend(self.guests.iter().map(|guest| {
            let wants = if guest.output.is_empty() { PollFlags::IN } else { PollFlags::OUT };
            PollFd::new(&guest.socket, wants)
        }));
        let some = match poll(&mut fds, Some(&timeout(LOOK_MS))) {
            Ok(n) => n > 0,
            Err(rustix::io::Errno::INTR) => return false,
            // Without it there is nothing to do but to wait.
            Err(_) => return self.wait_for_end(LOOK_MS),
        };
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready[0] {
            return true;
        }
        if ready[1] {
            let journal = &self.desk.journal;
            journal.warn("Received shutdown signal during loading, scheduling shutdown.");
            self.shut_down();
        }
        if !some {
            self.look();
        }
        let (listeners, guests) = ready[2..].split_at(self.listeners.len());
        for at in (0..guests.len()).filter(|at| guests[*at]) {
            self.serve(at);
        }
        for at in (0..listeners.len()).filter(|at| listeners[*at]) {
            self.accept(at);
        }
        self.guests.retain(|guest| !guest.gone);
        false
    }

    /// Says how far loading has come.
    fn look(&mut self) {
        self.desk.supervisor.tell("EXTEND_TIMEOUT_USEC=10000000\n");
        self.looks += 1;
        if self.looks.is_multiple_of(TELL_EVERY) {
            let (loaded, total) = self.desk.progress();
            let share = loaded as f64 * 100.0 / total.max(1) as f64;
            let text = format!("Loading: {loaded} of {total} bytes ({:.0}%)", share.min(100.0));
            self.desk.journal.notice(&text);
        }
    }

    fn accept(&mut self, listener: usize) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let Ok(socket) = accept_with(&self.listeners[listener], flags) else { return };
        let config = &self.desk.config;
        let peer = net::peer_text(&socket);
        let refusal = match upkeep::stranger(config, &peer) {
            None if self.guests.len() >= config.maxclients as usize => Some(upkeep::TOO_MANY),
            refusal => refusal,
        };
        self.clients += 1;
        let mut session = Session::new(self.clients, config.requirepass.is_none());
        session.closing = refusal.is_some();
        session.local = upkeep::is_local(&peer);
        let mut guest = Guest {
            socket,
            parser: RequestParser::default(),
            input: Vec::new(),
            output: refusal.unwrap_or_default().to_vec(),
            session,
            gone: false,
        };
        guest.write();
        self.guests.push(guest);
    }

    fn serve(&mut self, at: usize) {
        let guest = &mut self.guests[at];
        if !guest.output.is_empty() {
            return guest.write();
        }
        let mut chunk = [0; CHUNK];
        match rustix::io::read(&guest.socket, &mut chunk) {
            Ok(0) => guest.gone = true,
            Ok(n) => guest.input.extend_from_slice(&chunk[..n]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
            Err(_) => guest.gone = true,
        }
        self.requests(at);
        let guest = &mut self.guests[at];
        guest.gone |= guest.input.len() > KEPT_MAX;
        guest.write();
    }

    /// Answers what is complete of a client's input.
    fn requests(&mut self, at: usize) {
        let input = std::mem::take(&mut self.guests[at].input);
        let mut parser = std::mem::take(&mut self.guests[at].parser);
        let mut from = 0;
        while !self.guests[at].session.closing && self.guests[at].output.len() < KEPT_MAX {
            let limits = Limits {
                bulk_max: self.desk.config.proto_max_bulk_len as usize,
                authenticated: self.guests[at].session.authenticated,
            };
            let mut reply = Reply::new(self.guests[at].session.resp3);
            match parser.advance(&input[from..], &limits) {
                Ok(Status::More) => break,
                Ok(Status::Nothing(len)) => {
                    from += len;
                    parser.reset();
                }
                Ok(Status::Ready(len)) => {
                    let bytes = parser.words().unwrap_or(&input[from..from + len]);
                    let items: Vec<&[u8]> =
                        parser.ranges().iter().map(|&(start, end)| &bytes[start..end]).collect();
                    self.answer(at, &Args::new(&items), &mut reply);
                    from += len;
                    parser.reset();
                }
                // A long value is not waited for.
                Ok(Status::Big(_)) => {
                    reply.error(LOADING);
                    self.guests[at].session.closing = true;
                }
                Err(error) => {
                    reply.error(error.0.as_bytes());
                    self.guests[at].session.closing = true;
                }
            }
            self.guests[at].output.extend_from_slice(&reply.to_vec());
        }
        let guest = &mut self.guests[at];
        guest.parser = parser;
        guest.input = input[from..].to_vec();
    }

    fn answer(&mut self, at: usize, args: &Args<'_>, out: &mut Reply) {
        let renames = &self.desk.config.renames;
        let mut items = args.items().to_vec();
        match (renames.resolve(args.get(0).unwrap_or_default()), items.first_mut()) {
            (Named::Nothing, _) => return out.error(&table::unknown_command(args).0),
            (Named::Command(own), Some(name)) => *name = own.as_bytes(),
            _ => {}
        }
        let args = &Args::new(&items);
        let command = match table::resolve(args) {
            Ok(command) => command,
            Err(fault) => return out.error(&fault.0),
        };
        let session = &mut self.guests[at].session;
        if !session.authenticated && !command.flags.has(Flags::NO_AUTH) {
            return out.error(NO_AUTH);
        }
        let guarded = command.flags.has(Flags::PROTECTED);
        let refusal = guarded.then(|| upkeep::guarded(&self.desk.config, command, session.local));
        if let Some(text) = refusal.flatten() {
            return out.error(text.as_bytes());
        }
        match command.run_of(args) {
            _ if command.name == "shutdown" && ends(args) => self.shut_down(),
            Run::Session(code) if is_open(command, args) => {
                carry_out(&self.desk, session, command, code, args, out);
            }
            _ => out.error(LOADING),
        }
    }

    /// Ends the process: loading only reads, so nothing is lost.
    fn shut_down(&self) -> ! {
        let journal = &self.desk.journal;
        journal.warn("User requested shutdown...");
        self.desk.supervisor.tell("STOPPING=1\n");
        super::boot::remove_pid_file(&self.desk.config);
        journal.warn("Ringstone is now ready to exit, bye bye...");
        journal.flush();
        std::process::exit(0)
    }
}

impl Guest {
    /// Sends what it is to be told, as far as that goes without waiting.
    fn write(&mut self) {
        while !self.output.is_empty() && !self.gone {
            match send(self.socket.as_fd(), &self.output, SendFlags::NOSIGNAL) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => self.gone = true,
            }
        }
        self.gone |= self.session.closing;
    }
}

/// Runs a command that acts on its client or asks about the server.
fn carry_out(
    desk: &Desk,
    session: &mut Session,
    command: &Command,
    code: SessionRun,
    args: &Args<'_>,
    out: &mut Reply,
) {
    crash::note(command.name);
    let at = out.checkpoint();
    let now = SystemClock::default().now();
    let mut ctx = SessionCtx { session, server: &mut AtTheDoor(desk), out, now };
    if let Err(fault) = code(&mut ctx, args) {
        out.cut_back(at);
        out.error(&fault.0);
    }
}

/// The server as long as it loads: it can be asked, and nothing of it can be changed. Nothing
/// that [`is_open`] tries to.
struct AtTheDoor<'a>(&'a Desk);

fn not_yet<T>() -> Result<T, String> {
    Err(String::from_utf8_lossy(LOADING).into_owned())
}

impl Server for AtTheDoor<'_> {
    fn databases(&self) -> usize {
        self.0.config.databases
    }

    fn password(&self) -> Option<Vec<u8>> {
        self.0.config.requirepass.clone()
    }

    fn config_get(&self, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
        self.0.config.get(patterns)
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.0.config)
    }

    fn registry(&self) -> &Registry {
        &self.0.registry
    }

    fn config_set(&mut self, _pairs: &[(&[u8], &[u8])], _local: bool) -> Result<(), String> {
        not_yet()
    }

    fn config_rewrite(&mut self, _all: bool) -> Result<(), String> {
        not_yet()
    }

    fn say(&self, level: LogLevel, text: &str) {
        self.0.journal.say(level, text);
    }

    fn publish(&self) {}

    fn give_memory_back(&self) {}

    fn is_durable(&self) -> bool {
        true
    }

    fn wait(&mut self, _wait: Wait) {}

    fn reset_stats(&mut self) {}

    fn info(&mut self, sections: &[&[u8]]) -> String {
        self.0.progress();
        let snapshot = Snapshot {
            registry: &self.0.registry,
            config: &self.0.config,
            now: SystemClock::default().now(),
            usage: process::usage(),
        };
        info::render(&snapshot, sections)
    }

    fn ask(&mut self, _ask: Ask) {}

    fn monitor(&mut self) {}

    fn start_again(&mut self, _wait_ms: u64, _gracefully: bool) -> Result<(), String> {
        not_yet()
    }

    fn load_log(&mut self) -> Result<(), String> {
        not_yet()
    }

    fn load_file(&mut self, _save: bool, _flush: bool, _merge: bool) {}

    fn migrate(&mut self, _migration: Migration) {}

    fn save(&mut self, _waits: bool, _may_be_later: bool) -> Result<bool, String> {
        not_yet()
    }

    fn rewrite_log(&mut self, _now: bool) -> Result<bool, String> {
        not_yet()
    }

    fn backup(&mut self, _step: BackupStep) -> Result<(), String> {
        not_yet()
    }

    fn sleep_before_log(&mut self, _micros: u64) {}

    fn shutdown(&mut self, _: Option<bool>, _: bool, _: bool, _: bool) -> Result<(), String> {
        not_yet()
    }
}

fn timeout(ms: i64) -> Timespec {
    Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 }
}
