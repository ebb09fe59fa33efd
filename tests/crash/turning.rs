//! kill -9 while the log is turned on and off, rewritten, and written under changing policies and
//! by changing methods (CONFIG SET appendonly, appendfsync, aof-commit-method, BGREWRITEAOF), with
//! cuts in between. Every start behind a kill has `appendonly yes`.
//!
//! What it may find depends on what the one client that turns the log had done, and been told, when
//! the kill came; each possibility is a [`May`]:
//!
//! * the log was on, and that was confirmed (WAITAOF, or the end of the rewrite in INFO): all that
//!   was acknowledged;
//! * it was off: what it held when it was turned off, which is at least what was acknowledged
//!   before `no` was sent, and at most what was sent before its reply came;
//! * `yes` was said and not confirmed: one of the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

use ringstone::base::crc::shard_of;
use ringstone::base::random::Random;

use super::program::Program;
use super::rewrite::{BESIDE, beside, found, state, unnamed};
use super::verdict::Account;
use super::{Tally, WRITERS, Wrote, write};
use crate::interop::rewrite::told;
use crate::support::data::{self, Data};
use crate::support::server::{Home, fresh_home};
use crate::support::{Client, Options, Server, Value, encode, number, server};

/// What a base has to write besides.
const BALLAST: u64 = 600;

/// How far everybody had come: each writer, and the steps beside, last.
type Marks = Vec<u64>;

/// What may be found behind a kill.
#[derive(Clone, Debug)]
struct May {
    /// What was there before: what the server held, or what was on disk when it was started without
    /// a log.
    held: bool,
    /// At least this; `None`: what was acknowledged when the kill came.
    least: Option<Marks>,
    /// At most this; `None`: what was sent then.
    most: Option<Marks>,
}

impl May {
    const ALL: May = May { held: true, least: None, most: None };

    fn is_live(&self) -> bool {
        self.least.is_none()
    }
}

/// What is known of the load.
struct Load {
    tallies: Vec<Tally>,
    steps: AtomicU64,
    /// How often the log was turned on or off.
    turns: AtomicU64,
}

impl Load {
    fn least(&self) -> Marks {
        let marks = self.tallies.iter().map(|t| t.acknowledged.load(Ordering::SeqCst));
        marks.chain([self.steps.load(Ordering::SeqCst)]).collect()
    }

    fn most(&self) -> Marks {
        let marks = self.tallies.iter().map(|t| t.sent.load(Ordering::SeqCst));
        marks.chain([self.steps.load(Ordering::SeqCst) + 1]).collect()
    }
}

/// The client that turns the log.
struct Turner<'a> {
    client: Client,
    random: Random,
    load: &'a Load,
    home: Home,
    /// What `appendonly` is.
    on: bool,
    may: Vec<May>,
    wrong: Option<String>,
}

impl Turner<'_> {
    /// Sends these together; false when the server is gone.
    fn calls(&mut self, lines: &[&str]) -> bool {
        let words = |line: &&str| encode(&line.split(' ').collect::<Vec<_>>());
        let bytes: Vec<u8> = lines.iter().flat_map(words).collect();
        if self.client.send(&bytes).is_err() {
            return false;
        }
        for line in lines {
            let Ok((_, reply)) = self.client.reply() else { return false };
            if reply.is_error() && *line != "BGREWRITEAOF" {
                self.wrong = Some(format!("{line}: {reply:?}"));
                return false;
            }
        }
        true
    }

    /// `no` is about to be sent: from here on the log may be turned off.
    fn may_end(&mut self) {
        let least = self.load.least();
        let ended = |may: &&May| may.is_live();
        let ended: Vec<May> = self.may.iter().filter(ended).cloned().collect();
        self.may.extend(ended.into_iter().map(|may| May { least: Some(least.clone()), ..may }));
    }

    /// It has been answered: it is off, or turned on again.
    fn has_ended(&mut self, again: bool) {
        let most = self.load.most();
        self.may.retain(|may| !may.is_live());
        for may in &mut self.may {
            may.most.get_or_insert_with(|| most.clone());
        }
        if again {
            self.may.push(May::ALL);
        }
    }

    fn turn(&mut self) -> bool {
        self.load.turns.fetch_add(1, Ordering::SeqCst);
        let (yes, no) = ("CONFIG SET appendonly yes", "CONFIG SET appendonly no");
        let both = self.random.below(4) == 0;
        let sealed = self.on && self.may.iter().all(May::is_live);
        let went = match (self.on, both) {
            (true, false) => {
                self.may_end();
                let went = self.calls(&[no]);
                if went {
                    self.has_ended(false);
                }
                went
            }
            (true, true) => {
                self.may_end();
                let went = self.calls(&[no, yes]);
                if went {
                    self.has_ended(true);
                }
                went
            }
            (false, false) => {
                self.may.push(May::ALL);
                self.calls(&[yes])
            }
            (false, true) => {
                self.may.push(May::ALL);
                self.may_end();
                let went = self.calls(&[yes, no]);
                if went {
                    self.has_ended(false);
                }
                went
            }
        };
        self.on ^= !both;
        if went && sealed && !self.on {
            let manifest = self.home.path().join("appendonlydir/appendonly.aof.manifest");
            let manifest = std::fs::read_to_string(manifest).expect("a manifest");
            if !manifest.contains(" clean 1 ") {
                self.wrong = Some(format!("the log is off, and not sealed:\n{manifest}"));
                return false;
            }
        }
        went && (!self.on || self.confirm())
    }

    /// Mostly, waits until the log is what a start loads.
    fn confirm(&mut self) -> bool {
        match self.random.below(4) {
            0 => return true,
            1 => loop {
                let Ok(reply) = self.client.try_call(&["INFO", "persistence"]) else {
                    return false;
                };
                let text = String::from_utf8_lossy(reply.text().unwrap_or_default()).into_owned();
                if !text.contains("aof_enabled:1") {
                    self.wrong = Some(format!("the log went off:\n{text}"));
                    return false;
                }
                let over = ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
                if over.iter().all(|line| text.contains(line)) {
                    break;
                }
            },
            _ => match self.client.try_call(&["WAITAOF", "1", "0", "0"]) {
                Ok(reply) if reply.items().is_some_and(|r| r[0] == Value::Int(1)) => {}
                Ok(reply) => {
                    self.wrong = Some(format!("WAITAOF: {reply:?}"));
                    return false;
                }
                Err(_) => return false,
            },
        }
        self.may = vec![May::ALL];
        true
    }

    /// Without a log it makes a base as well, and that is what a start finds.
    fn rewrite(&mut self) -> bool {
        if !self.on {
            self.may.push(May { least: Some(self.load.least()), ..May::ALL });
        }
        self.calls(&["BGREWRITEAOF"])
    }

    /// How long a base takes, in microseconds per key.
    fn slow(&mut self, delay: u64) -> bool {
        self.calls(&[&format!("CONFIG SET rdb-key-save-delay {delay}")])
    }

    /// Turns until the server is gone; what may be found then.
    fn run(mut self) -> (Vec<May>, Option<String>) {
        // None of these is judged: they stay out of the databases that are.
        let mut going = self.calls(&[&format!("SELECT {}", BESIDE + 1)]) && self.slow(100);
        while going {
            let policy = ["always", "everysec", "no"][self.random.below(3) as usize];
            let method = ["append", "segment", "auto"][self.random.below(3) as usize];
            let delay = [0, 50, 300][self.random.below(3) as usize];
            going = match self.random.below(10) {
                0..4 => self.turn(),
                4 => self.calls(&[&format!("CONFIG SET appendfsync {policy}")]),
                5 => self.calls(&[&format!("CONFIG SET aof-commit-method {method}")]),
                6 => self.slow(delay),
                7 => self.rewrite(),
                _ => (0..self.random.below(40)).all(|_| self.calls(&["DEL nothing"])),
            };
        }
        (self.may, self.wrong)
    }
}

/// Holds what is found against one possibility.
fn judge(
    may: &May,
    (programs, wrote, steps): (&[Program], &[Wrote], u64),
    shards: usize,
    client: &mut Client,
) -> Result<(), String> {
    for (w, program) in programs.iter().enumerate() {
        let held: Vec<Option<Vec<u8>>> = (program.names().iter())
            .map(|key| client.call(&["GET", key]).text().map(<[u8]>::to_vec))
            .collect();
        let account = Account {
            program,
            acknowledged: may.least.as_ref().map_or(wrote[w].acknowledged, |marks| marks[w]),
            sent: may.most.as_ref().map_or(wrote[w].sent, |marks| marks[w]),
            observed: Default::default(),
        };
        let names = program.names();
        account
            .judge(&held.try_into().unwrap(), |key| shard_of(names[key].as_bytes(), shards))
            .map_err(|what| format!("writer {w}: {what}"))?;
    }
    let least = may.least.as_ref().map_or(steps, |marks| marks[WRITERS]);
    let most = may.most.as_ref().map_or(steps + 1, |marks| marks[WRITERS]);
    let held = found(client);
    client.words("SELECT 0");
    // Behind none it may have what was there before.
    if least > 0 && !(least..=most).any(|step| state(step) == held) {
        return Err(format!("{held:?} behind {least} to {most} steps"));
    }
    Ok(())
}

/// What a start finds besides what the round has written.
fn older(client: &mut Client, programs: &[Program]) -> Data {
    let mut all = data::read(client);
    let names = |key: &[u8]| {
        let is = |name: &String| name.as_bytes() == key;
        programs.iter().any(|program| program.names().iter().any(is))
    };
    all.retain(|(db, key), _| *db != BESIDE && !names(key));
    all.values_mut().for_each(|item| item.encoding = Value::Null);
    all
}

/// What the round begins with: in the server, and on the disk.
struct Before {
    held: Data,
    disk: Data,
    /// Whether the server was started with a log.
    on: bool,
}

/// One round: load, turns, kill, a start with `appendonly yes`, judgement.
fn round(server: Server, name: &str, seed: u64, next: Options, before: &Before) -> (Server, u64) {
    let shards = server.options().shards;
    let programs: Vec<Program> =
        (0..WRITERS).map(|w| Program::new(&format!("{name}:{w}"), seed * 100 + w as u64)).collect();
    let tallies = (0..WRITERS).map(|_| Tally::default()).collect();
    let load = Arc::new(Load { tallies, steps: AtomicU64::new(0), turns: AtomicU64::new(0) });
    let (port, mut random) = (server.port(), Random::new(seed));
    let (tell, progress) = channel();
    let mut writers = Vec::new();
    for (i, program) in programs.iter().cloned().enumerate() {
        let (tell, load) = (tell.clone(), Arc::clone(&load));
        let work = move || write(port, program, seed * 1000 + i as u64, &tell, &load.tallies[i]);
        writers.push(std::thread::spawn(work));
    }
    drop(tell);
    let steps = Arc::clone(&load);
    let steps = std::thread::spawn(move || beside(port, &steps.steps));
    let none = vec![0; WRITERS + 1];
    let first = match before.on {
        true => May::ALL,
        false => May { held: false, least: Some(none.clone()), most: Some(none) },
    };
    let (client, home, turned) = (server.client(), server.home(), Arc::clone(&load));
    let on = before.on;
    let turner = std::thread::spawn(move || {
        let random = Random::new(seed ^ 77);
        let may = vec![first];
        Turner { client, random, load: &turned, home, on, may, wrong: None }.run()
    });
    // Either somewhere, or right behind a turn.
    let enough = if seed.is_multiple_of(2) { 1 } else { 100 + random.below(2_000) };
    let wanted = 1 + if before.on { random.below(6) } else { random.below(2) };
    let mut behind = random.below(30);
    let mut acknowledged = 0;
    while acknowledged < enough || behind > 0 {
        behind -= u64::from(behind > 0 && load.turns.load(Ordering::SeqCst) >= wanted);
        let Ok(more) = progress.recv() else {
            panic!("{name}, seed {seed}: every writer ended before the kill\n{}", server.log());
        };
        acknowledged += more;
        if turner.is_finished() {
            break;
        }
    }
    let stopped = server.kill();
    let (may, wrong) = turner.join().expect("the client that turns the log");
    assert_eq!(wrong, None, "{name}, seed {seed}");
    let wrote: Vec<Wrote> = writers.into_iter().map(|w| w.join().expect("a writer")).collect();
    steps.join().expect("the client beside");
    let server = stopped.restart_with(next);
    let mut client = server.client();
    let steps = load.steps.load(Ordering::SeqCst);
    assert!(wrote.iter().all(|wrote| wrote.wrong.is_none()), "{name}: a wrong reply");
    let known = (&programs[..], &wrote[..], steps);
    let fails = fails(&may, known, shards, &mut client, before);
    let log = server.log();
    assert!(fails.is_empty(), "{name}, {shards} shards, seed {seed}:\n{}\n{log}", fails.join("\n"));
    assert_eq!(unnamed(&server.home().path().join("appendonlydir")), [""; 0], "{name}");
    (server, load.turns.load(Ordering::SeqCst))
}

/// Why none of the possibilities is what is found; nothing when one is.
fn fails(
    may: &[May],
    known: (&[Program], &[Wrote], u64),
    shards: usize,
    client: &mut Client,
    before: &Before,
) -> Vec<String> {
    let found = older(client, known.0);
    let mut fails = Vec::new();
    for one in may {
        let was = if one.held { &before.held } else { &before.disk };
        match judge(one, known, shards, client) {
            Ok(()) if found == *was => return Vec::new(),
            Ok(()) => fails.push(format!("{one:?}: older data has changed")),
            Err(what) => fails.push(format!("{one:?}: {what}")),
        }
    }
    fails
}

fn populate(client: &mut Client) {
    client.words("SELECT 3");
    let reply = client.words(&format!("DEBUG POPULATE {BALLAST} ballast 100"));
    assert!(!reply.is_error(), "{reply:?}");
    client.words("SELECT 0");
}

#[test]
fn kill_9_while_the_log_is_turned_on_and_off() {
    if server::judged_by_peer() {
        return;
    }
    let rounds = number("RINGSTONE_TURN_KILLS", 6);
    let base = number("RINGSTONE_CRASH_SEED", 1);
    let options = |round: u64, appendonly| {
        let options = Options::shards([2, 1, 4, 3][(round % 4) as usize]);
        let fsync = ["always", "everysec", "always", "no"][(round % 4) as usize];
        let options = Options { appendonly, fsync, ..options };
        options.with("enable-debug-command", "yes").with("hz", "10")
    };
    let mut server = Server::start(options(0, true));
    let (mut turns, mut without) = (0, 0);
    for i in 0..rounds {
        let mut disk = older(&mut server.client(), &[]);
        // Now and then the log is not there from the start; and there may be none to be found.
        let on = i % 3 != 1;
        if !on {
            let home = server.home();
            drop(server.kill());
            let anew = i % 2 == 1;
            let home = if anew { fresh_home() } else { home };
            if anew {
                disk.clear();
            }
            server = Server::start_in(home, options(i, false));
            without += 1;
        }
        let mut client = server.client();
        populate(&mut client);
        let held = older(&mut client, &[]);
        if on {
            disk.clone_from(&held);
        }
        assert_eq!(told(&mut client, "aof_enabled"), if on { "1" } else { "0" });
        let before = Before { held, disk, on };
        let (name, seed) = (format!("turn{i}"), base * 30_000 + i);
        let turned;
        (server, turned) = round(server, &name, seed, options(i + 1, true), &before);
        turns += turned;
    }
    println!(
        "long form: {rounds} rounds of kill -9, {turns} times the log was turned on or off, \
         {without} starts without a log"
    );
}
