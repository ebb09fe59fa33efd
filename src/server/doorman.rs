//! The doorman: answers at the door while the data is being loaded.
//!
//! One thread on the listening sockets, with `poll` and without the shards, which are busy reading.
//! It tells what a client can be told: `-LOADING` to nearly everything, INFO with the progress, and
//! it takes AUTH, QUIT and SHUTDOWN. When loading ends, clients that have left no state and no half
//! of a request here are handed to the shards as they are; the others are closed, and connect
//! again. It waits a moment before it begins: a start that takes no longer keeps nobody out.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, SocketFlags, accept_with, send};

use crate::base::clock::SystemClock;
use crate::command::connection::check_auth;
use crate::command::{Args, Flags, table};
use crate::config::Config;
use crate::config::renames::Named;
use crate::observe::info::{self, Snapshot};
use crate::observe::{Registry, process};
use crate::resp::{Limits, Reply, RequestParser, Status};
use crate::ring::net;
use crate::server::boot::Journal;
use crate::server::fatal;
use crate::server::shards::Disks;
use crate::server::supervise::Supervisor;
use crate::shard::upkeep::{TOO_MANY, stranger};

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

/// What the doorman answers from.
pub struct Desk {
    /// The configuration; it does not change before clients are served.
    pub config: Config,
    /// Facts for INFO, and how far loading has come.
    pub registry: Registry,
    /// Counts what is loaded.
    pub disks: Arc<Disks>,
    /// The server's log.
    pub journal: Arc<Journal>,
    /// Told that it goes on.
    pub supervisor: Supervisor,
}

/// The thread at the door.
pub struct Doorman {
    wake: UnixStream,
    thread: JoinHandle<Vec<OwnedFd>>,
}

impl Doorman {
    /// Begins to answer on `sockets`, which stay the caller's.
    pub fn start(desk: Desk, sockets: &[OwnedFd]) -> io::Result<Doorman> {
        let (wake, woken) = UnixStream::pair()?;
        let listeners = sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>()?;
        let body = Body { desk, listeners, woken, guests: Vec::new(), looks: 0 };
        let named = std::thread::Builder::new().name("doorman".into());
        Ok(Doorman { wake, thread: named.spawn(move || body.run())? })
    }

    /// Loading has ended: the clients that can be carried over.
    pub fn leave(self) -> Vec<OwnedFd> {
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
    authenticated: bool,
    /// It has said who it is, which the shards would not know.
    known: bool,
    /// Close it when its output has left.
    closing: bool,
    gone: bool,
}

struct Body {
    desk: Desk,
    listeners: Vec<OwnedFd>,
    woken: UnixStream,
    guests: Vec<Guest>,
    looks: u32,
}

impl Body {
    fn run(mut self) -> Vec<OwnedFd> {
        fatal::give_stack();
        if self.wait_for_end(GRACE_MS) {
            return Vec::new();
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
        let stays = |g: &Guest| {
            !g.gone && !g.known && !g.closing && g.input.is_empty() && g.output.is_empty()
        };
        let kept = self.guests.into_iter().filter(stays).map(|guest| guest.socket);
        kept.filter(blocks).collect()
    }

    /// Waits for the end of loading, this long.
    fn wait_for_end(&self, ms: i64) -> bool {
        let mut fds = [PollFd::new(&self.woken, PollFlags::IN)];
        poll(&mut fds, Some(&timeout(ms))).is_ok_and(|n| n > 0)
    }

    /// Waits for something to happen and answers it; true when loading has ended.
    fn round(&mut self) -> bool {
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
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
        if !some {
            self.look();
        }
        let (listeners, guests) = ready[1..].split_at(self.listeners.len());
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
            let (loaded, total) = self.progress();
            let share = loaded as f64 * 100.0 / total.max(1) as f64;
            let text = format!("Loading: {loaded} of {total} bytes ({:.0}%)", share.min(100.0));
            self.desk.journal.notice(&text);
        }
    }

    fn progress(&self) -> (u64, u64) {
        let loading = &self.desk.registry.loading;
        let total = loading.total_bytes.load(Ordering::Relaxed);
        let loaded = self.desk.disks.progress.load(Ordering::Relaxed).min(total);
        loading.loaded_bytes.store(loaded, Ordering::Relaxed);
        (loaded, total)
    }

    fn accept(&mut self, listener: usize) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let Ok(socket) = accept_with(&self.listeners[listener], flags) else { return };
        let config = &self.desk.config;
        let refusal = match stranger(config, &net::peer_text(&socket)) {
            None if self.guests.len() >= config.maxclients as usize => Some(TOO_MANY),
            refusal => refusal,
        };
        let mut guest = Guest {
            socket,
            parser: RequestParser::default(),
            input: Vec::new(),
            output: refusal.unwrap_or_default().to_vec(),
            authenticated: config.requirepass.is_none(),
            known: false,
            closing: refusal.is_some(),
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
        while !self.guests[at].closing && self.guests[at].output.len() < KEPT_MAX {
            let limits = Limits {
                bulk_max: self.desk.config.proto_max_bulk_len as usize,
                authenticated: self.guests[at].authenticated,
            };
            let mut reply = Reply::new(false);
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
                    self.guests[at].closing = true;
                }
                Err(error) => {
                    reply.error(error.0.as_bytes());
                    self.guests[at].closing = true;
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
        let guest = &mut self.guests[at];
        let command = match table::resolve(args) {
            Ok(command) => command,
            Err(fault) => return out.error(&fault.0),
        };
        if !guest.authenticated && !command.flags.has(Flags::NO_AUTH) {
            return out.error(NO_AUTH);
        }
        match command.name {
            "auth" => match check_auth(self.desk.config.requirepass.as_deref(), args) {
                Ok(()) => {
                    (guest.authenticated, guest.known) = (true, true);
                    out.ok();
                }
                Err(fault) => out.error(&fault.0),
            },
            "quit" => {
                guest.closing = true;
                out.ok();
            }
            "info" => {
                let text = self.info(&args.items()[1..]);
                out.verbatim("txt", text.as_bytes());
            }
            "shutdown" if !args.is(1, "abort") => self.shut_down(),
            _ => out.error(LOADING),
        }
    }

    fn info(&self, sections: &[&[u8]]) -> String {
        self.progress();
        let snapshot = Snapshot {
            registry: &self.desk.registry,
            config: &self.desk.config,
            now: SystemClock::default().now(),
            usage: process::usage(),
        };
        info::render(&snapshot, sections)
    }

    /// Ends the process: loading only reads, so nothing is lost.
    fn shut_down(&self) -> ! {
        let journal = &self.desk.journal;
        journal.warn("User requested shutdown while loading, exiting now.");
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
        self.gone |= self.closing;
    }
}

fn timeout(ms: i64) -> Timespec {
    Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 }
}
