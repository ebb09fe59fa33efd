//! The state of one client that commands read and change, and the surroundings of commands that act
//! on the client or the server and not on keys.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::clock::Now;
use crate::command::ask::Ask;
use crate::command::migrate::Migration;
use crate::command::packed::OwnedRequest;
use crate::command::table::{Again, Command};
use crate::config::{Config, LogLevel};
use crate::keyspace::watch::WatchFlag;
use crate::observe::Registry;
use crate::resp::Reply;

/// One client, as far as commands know it.
#[derive(Debug)]
pub struct Session {
    /// Unique among all clients since the start.
    pub id: u64,
    /// Selected database.
    pub db: usize,
    /// Whether the client asked for RESP3.
    pub resp3: bool,
    /// Whether it may run commands (always, when no password is set).
    pub authenticated: bool,
    /// Whether it is on this machine: a loopback address or a Unix socket.
    pub local: bool,
    /// Name given by CLIENT SETNAME or HELLO SETNAME.
    pub name: Vec<u8>,
    /// MULTI's queue; `None` outside of a transaction.
    pub multi: Option<Box<Multi>>,
    /// WATCH's state; `None` when nothing is watched.
    pub watch: Option<Box<Watch>>,
    /// Set by QUIT and fatal errors: close once everything before is sent.
    pub closing: bool,
    /// The two ends of its connection; `None` where there is no socket.
    pub place: Option<Box<Place>>,
    /// What CLIENT SETINFO was told.
    pub library: Option<Box<Library>>,
    /// The last command it has asked for.
    pub last: Again,
    /// Whether it is told replies.
    pub replies: Replies,
    /// It listens to what is executed (MONITOR).
    pub monitor: bool,
    /// Asked not to be sent away for the memory it takes.
    pub no_evict: bool,
    /// What it reads is not to count as used.
    pub no_touch: bool,
    /// Its transaction is being executed.
    pub in_exec: bool,
}

/// The two ends of a connection.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The peer's address, as CLIENT LIST shows it.
    pub addr: String,
    /// Our own.
    pub local: String,
    /// The descriptor.
    pub fd: i32,
    /// A Unix socket.
    pub unix: bool,
}

/// The library that speaks for a client, in its own words.
#[derive(Clone, Debug, Default)]
pub struct Library {
    /// LIB-NAME
    pub name: Vec<u8>,
    /// LIB-VER
    pub version: Vec<u8>,
}

/// Whether a client is told replies (CLIENT REPLY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// All of them.
    #[default]
    On,
    /// None.
    Off,
    /// Not that of the command that comes next.
    SkipNext,
    /// Not that of this command.
    Skip,
}

/// A transaction being queued.
#[derive(Debug, Default)]
pub struct Multi {
    /// The queued commands in order.
    pub queue: Vec<(&'static Command, OwnedRequest)>,
    /// A command was refused while queueing: EXEC answers EXECABORT.
    pub failed: bool,
    /// Bytes held by the queue.
    pub size: usize,
}

/// What a client watches.
#[derive(Debug, Default)]
pub struct Watch {
    /// Raised by the owner of a key that changed.
    pub flag: WatchFlag,
    /// The watched keys, by database.
    pub keys: HashSet<(usize, Vec<u8>)>,
}

impl Watch {
    /// True when a watched key has changed.
    pub fn is_raised(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}

impl Session {
    /// A new client.
    pub fn new(id: u64, authenticated: bool) -> Self {
        Session {
            id,
            db: 0,
            resp3: false,
            authenticated,
            local: false,
            name: Vec::new(),
            multi: None,
            watch: None,
            closing: false,
            place: None,
            library: None,
            last: Again::default(),
            replies: Replies::On,
            monitor: false,
            no_evict: false,
            no_touch: false,
            in_exec: false,
        }
    }

    /// Address it comes from, as CLIENT LIST shows it.
    pub fn peer(&self) -> &str {
        self.place.as_ref().map_or("", |place| &place.addr)
    }

    /// Whether `command` is to leave no trace of its uses of keys.
    #[inline]
    pub fn is_quiet(&self, command: &Command) -> bool {
        self.no_touch && command.name != "touch"
    }

    /// Whether the reply of the command at hand is kept from it.
    pub fn is_muted(&self) -> bool {
        self.replies != Replies::On
    }
}

/// What a client waits for, in a command that does not answer at once.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// That everything executed so far is durable.
    pub durable: bool,
    /// Replicas: there are none, so that only the deadline ends it.
    pub replicas: bool,
    /// Whether the answer is a pair (local, replicas) or the number of replicas alone.
    pub pair: bool,
    /// Until when at most, in monotonic microseconds.
    pub deadline: Option<u64>,
}

/// What BACKUP is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupStep {
    /// A new backup begins.
    Start,
    /// Its files are completed, as of now.
    Seal,
    /// Nothing comes of it.
    Abort,
    /// Its files are removed.
    Cleanup,
}

/// What a command that acts on the server needs from it; implemented by the shard.
pub trait Server {
    /// Number of databases.
    fn databases(&self) -> usize;
    /// The password, if one is required.
    fn password(&self) -> Option<Vec<u8>>;
    /// CONFIG GET: matching (name, value) pairs for glob patterns, sorted as Redis answers.
    fn config_get(&self, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)>;
    /// The configuration in force.
    fn config(&self) -> Arc<Config>;
    /// Counters and records of the whole process.
    fn registry(&self) -> &Registry;
    /// CONFIG SET: all pairs or none; the error is the reply's text. `local`: the client is on this
    /// machine.
    fn config_set(&mut self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<(), String>;
    /// CONFIG REWRITE; `all`: of every directive. A shard only begins it: its outcome is the reply
    /// then, in place of what is written behind an `Ok`.
    fn config_rewrite(&mut self, all: bool) -> Result<(), String>;
    /// DEBUG LOADAOF. It is only begun: its outcome is the reply then, in place of what is written
    /// behind an `Ok`.
    fn load_log(&mut self) -> Result<(), String>;
    /// DEBUG RELOAD: the data is saved (`save`) and read again, in the place of what is there
    /// (`flush`) or beside it, where it may stand already (`merge`). It is only begun, as above.
    fn load_file(&mut self, save: bool, flush: bool, merge: bool);
    /// Begins to send keys to another server. The outcome is the reply, in place of what is said.
    fn migrate(&mut self, migration: Migration);
    /// Begins a snapshot; false: it will begin when a rewrite has ended, which is an error unless
    /// it `may_be_later`. If the client waits for it, its outcome is the reply, in place of what is
    /// written behind an `Ok`.
    fn save(&mut self, waits: bool, may_be_later: bool) -> Result<bool, String>;
    /// Begins to rewrite the log; false: it will begin when a snapshot has ended, or shortly if it
    /// is not to begin `now`.
    fn rewrite_log(&mut self, now: bool) -> Result<bool, String>;
    /// A step of BACKUP. It is only begun: its outcome is the reply then, in place of what is
    /// written behind an `Ok`.
    fn backup(&mut self, step: BackupStep) -> Result<(), String>;
    /// Says a line in the server's log.
    fn say(&self, level: LogLevel, text: &str);
    /// Makes the figures of this shard known to everybody.
    fn publish(&self);
    /// Gives memory that is free back to the system, everywhere.
    fn give_memory_back(&self);
    /// Whether everything executed so far is known to be durable.
    fn is_durable(&self) -> bool;
    /// Answers when this has come about, unless the client is not to wait (in a transaction): then
    /// the reply that has been written counts.
    fn wait(&mut self, wait: Wait);
    /// CONFIG RESETSTAT.
    fn reset_stats(&mut self);
    /// INFO's text for these sections.
    fn info(&mut self, sections: &[&[u8]]) -> String;
    /// Asks the shards something; their answers become the command's reply.
    fn ask(&mut self, ask: Ask);
    /// MONITOR: the client listens from here on.
    fn monitor(&mut self);
    /// Starts the program again after this many milliseconds: after a stop in good order, or at
    /// once as by a crash.
    fn start_again(&mut self, wait_ms: u64, gracefully: bool) -> Result<(), String>;
    /// Sets how long to wait before anything is written to a log, in microseconds.
    fn sleep_before_log(&mut self, micros: u64);
    /// SHUTDOWN: begins the stop; the process ends once everything executed is durable and, where
    /// there is to be one, in a snapshot. If that fails, its client is told.
    fn shutdown(
        &mut self,
        save: Option<bool>,
        now: bool,
        force: bool,
        abort: bool,
    ) -> Result<(), String>;
}

/// The surroundings of a command that acts on its client or the server.
pub struct SessionCtx<'a> {
    /// The client.
    pub session: &'a mut Session,
    /// The server.
    pub server: &'a mut dyn Server,
    /// Where the reply goes.
    pub out: &'a mut Reply,
    /// The turn's time.
    pub now: Now,
}

/// A server made of plain values, for the tests of commands.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;
    use crate::command::table::{self, Run};

    pub(crate) struct Fake {
        pub(crate) session: Session,
        pub(crate) password: Option<Vec<u8>>,
        /// What was asked of the server, in order.
        pub(crate) calls: Vec<String>,
        /// What CONFIG SET and SHUTDOWN answer.
        pub(crate) refusal: Option<String>,
        pub(crate) config: crate::config::Config,
        /// What was asked of all shards, in order.
        pub(crate) asked: Vec<Ask>,
        pub(crate) registry: Registry,
        /// What was said in the log.
        pub(crate) said: std::cell::RefCell<Vec<(LogLevel, String)>>,
    }

    impl Default for Fake {
        fn default() -> Self {
            Fake {
                session: Session::new(7, true),
                password: None,
                calls: Vec::new(),
                refusal: None,
                config: crate::config::Config::new(std::path::Path::new("/data")),
                asked: Vec::new(),
                said: std::cell::RefCell::default(),
                registry: Registry::new(
                    crate::observe::registry::Facts::default(),
                    2,
                    16,
                    crate::command::introspect::names_counted(),
                ),
            }
        }
    }

    impl Fake {
        /// Runs a request of words without quotes and gives its reply.
        pub(crate) fn run(&mut self, request: &str) -> String {
            let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            let args = crate::command::Args::new(&words);
            let mut out = Reply::new(self.session.resp3);
            let mut session = std::mem::replace(&mut self.session, Session::new(0, false));
            let result = table::resolve(&args).and_then(|command| match command.run_of(&args) {
                Run::Session(run) => {
                    let now = Now { unix_us: 1_700_000_000_123_456, mono_us: 1 };
                    let session = &mut session;
                    let mut ctx = SessionCtx { session, server: self, out: &mut out, now };
                    run(&mut ctx, &args)
                }
                _ => panic!("{request} is no session command"),
            });
            self.session = session;
            if let Err(fault) = result {
                out.error(&fault.0);
            }
            String::from_utf8(out.to_vec()).expect("text")
        }
    }

    impl Server for Fake {
        fn databases(&self) -> usize {
            16
        }

        fn password(&self) -> Option<Vec<u8>> {
            self.password.clone()
        }

        fn config_get(&self, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
            self.config.get(patterns)
        }

        fn config_set(&mut self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<(), String> {
            self.config = self.config.changed(pairs, local)?;
            Ok(())
        }

        fn config(&self) -> Arc<Config> {
            Arc::new(self.config.clone())
        }

        fn registry(&self) -> &Registry {
            &self.registry
        }

        fn config_rewrite(&mut self, all: bool) -> Result<(), String> {
            self.calls.push(if all { "rewrite all" } else { "rewrite" }.into());
            self.refusal.clone().map_or(Ok(()), Err)
        }

        fn load_log(&mut self) -> Result<(), String> {
            self.calls.push("load log".into());
            self.refusal.clone().map_or(Ok(()), Err)
        }

        fn load_file(&mut self, save: bool, flush: bool, merge: bool) {
            self.calls.push(format!("load file {save} {flush} {merge}"));
        }

        fn migrate(&mut self, migration: Migration) {
            let Migration { host, port, keys, .. } = migration;
            self.calls.push(format!("migrate {} keys to {host}:{port}", keys.len()));
        }

        fn save(&mut self, _waits: bool, _may_be_later: bool) -> Result<bool, String> {
            Ok(true)
        }

        fn rewrite_log(&mut self, now: bool) -> Result<bool, String> {
            Ok(now)
        }

        fn backup(&mut self, _step: BackupStep) -> Result<(), String> {
            Ok(())
        }

        fn say(&self, level: LogLevel, text: &str) {
            self.said.borrow_mut().push((level, text.to_owned()));
        }

        fn publish(&self) {}

        fn give_memory_back(&self) {}

        fn is_durable(&self) -> bool {
            self.refusal.is_none()
        }

        fn wait(&mut self, wait: Wait) {
            self.calls.push(format!("{wait:?}"));
        }

        fn reset_stats(&mut self) {
            self.calls.push("reset".into());
        }

        fn info(&mut self, sections: &[&[u8]]) -> String {
            format!("sections: {}", String::from_utf8_lossy(&sections.join(&b',')))
        }

        fn ask(&mut self, ask: Ask) {
            self.asked.push(ask);
        }

        fn monitor(&mut self) {
            self.calls.push("monitor".into());
        }

        fn start_again(&mut self, wait_ms: u64, gracefully: bool) -> Result<(), String> {
            self.calls.push(format!("again {wait_ms} {gracefully}"));
            self.refusal.clone().map_or(Ok(()), Err)
        }

        fn sleep_before_log(&mut self, micros: u64) {
            self.calls.push(format!("sleep {micros}"));
        }

        fn shutdown(
            &mut self,
            save: Option<bool>,
            now: bool,
            force: bool,
            abort: bool,
        ) -> Result<(), String> {
            self.calls.push(format!("{save:?} {now} {force} {abort}"));
            self.refusal.clone().map_or(Ok(()), Err)
        }
    }
}
