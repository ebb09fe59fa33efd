//! One process on the simulated medium: its shards, stepped in any interleaving, and its clients.
//!
//! A turn is stepped in four phases, in the order of [`crate::shard::tick`]: reap, take, execute,
//! end. Between the phases of one shard come those of others, completions of the disk, and clients.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::base::clock::{Now, Time};
use crate::base::random::Random;
use crate::client::ConnKey;
use crate::command::Session;
use crate::config::{Config, Flush};
use crate::keyspace::{Effects, Keyspace};
use crate::observe::registry::Facts;
use crate::persist::load::Loading;
use crate::persist::recovery::{Options, Started};
use crate::persist::reload::reload;
use crate::persist::sim::{SimDisk, SimMedium};
use crate::shard::backup::adopt_backup;
use crate::shard::core::Shard;
use crate::shard::face::policy;
use crate::shard::global::{Global, Voice};
use crate::shard::log::{LogFile, LogWriter};
use crate::shard::message::Message;
use crate::shard::order::Order;
use crate::shard::pace::Grain;
use crate::shard::reload::{Meant, NO_LOG, ReadLog};
use crate::shard::sim::client::Client;
use crate::shard::sim::oracle::Witness;
use crate::shard::sim::probe::{self, Data};
use crate::shard::sim::rewrites::{Counts, SHELF, count};
use crate::shard::sim::saves::Saves;
use crate::shard::sim::tell;
use crate::shard::sim::turns::Ledger;
use crate::shard::sim::values::Taste;
use crate::shard::sim::waiters::{Sent, Waiters};
use crate::shard::turning::Logging;

/// Rounds without anything to be told, behind which everything is at rest.
const REST: u32 = 60;
/// Requests a client has outstanding at most.
const OUTSTANDING: usize = 24;

/// What a client does to its shard.
enum Arrival {
    Data(ConnKey, Vec<u8>),
    Leave(ConnKey),
    End(ConnKey),
}

/// One shard with what is on its way to it.
struct Lane {
    shard: Shard,
    disk: SimDisk,
    phase: u8,
    arriving: Vec<Arrival>,
    reaped: Vec<Arrival>,
    sent: Vec<ConnKey>,
    /// Its thread has ended.
    stopped: bool,
}

/// A running process.
pub struct World {
    lanes: Vec<Lane>,
    global: Arc<Global>,
    clients: Vec<Client>,
    /// A client that has just been told something.
    heard: Option<ConnKey>,
    next_conn: u32,
    next_id: u64,
    /// The clocks.
    pub now: Now,
    /// What it began with.
    pub base: Data,
    /// What clients were told.
    pub witness: Witness,
    /// The data directory, and the writer of snapshots.
    pub saves: Saves,
    /// A last snapshot has been asked for, and has not failed.
    ending: bool,
    /// How often a last snapshot has failed.
    pub kept_on: u64,
    /// What clients like.
    taste: Taste,
    /// Clients that wait for keys.
    pub waiters: Option<Waiters>,
    /// Rounds of a stop since these were answered.
    rested: u32,
    /// Logs that begin and end.
    pub ledger: Ledger,
}

/// How a process is started.
pub struct Start<'a> {
    /// Its configuration.
    pub config: &'a Config,
    /// Of the machine.
    pub boot_id: &'a str,
    /// Clients turn the log on and off.
    pub turns: bool,
    /// Without a log: the data of the log that lies there, if one does.
    pub older: Option<Data>,
}

/// What [`Global::fatal`] unwinds with.
pub struct ProcessEnded;

/// As [`crate::server`] has the log read again.
fn read_log(medium: &SimMedium, boot_id: &str) -> Box<ReadLog> {
    let (medium, boot_id) = (medium.clone(), boot_id.to_owned());
    Box::new(move |config, spaces, meant| {
        let ends = match meant {
            Meant::Written(ends) => ends,
            Meant::Lying => return Err(NO_LOG.to_owned()),
            Meant::File => return Err("there are no files here".to_owned()),
        };
        let data = SimMedium::new(0);
        let options = Options::plain(
            &config.appendfilename,
            &config.dbfilename,
            spaces.len(),
            &boot_id,
            &data,
        );
        let loading = Loading {
            log: &medium,
            data: &data,
            shards: spaces.len(),
            now: Now::default(),
            string_max: config.proto_max_bulk_len,
            modules: Default::default(),
            shapes: config.shapes,
            progress: &AtomicU64::new(0),
            key_delay: 0,
        };
        let outcome = reload(&medium, &options, &loading, ends, spaces);
        tell(|| format!("read again up to {ends:?}: {outcome:?}"));
        assert!(outcome.is_ok() || medium.is_dead(), "{outcome:?}");
        outcome.map_err(|error| error.to_string())
    })
}

/// A clock that goes on by some microseconds whenever it is read.
fn time(random: &mut Random) -> Time {
    // Where it goes fast a walk does little in a turn.
    let most = [200, 1_500, 6_000][random.below(3) as usize];
    let (at, random) = (AtomicU64::new(0), Mutex::new(Random::new(random.next_u64())));
    Time::new(move || {
        let some = random.lock().unwrap_or_else(PoisonError::into_inner).below(most);
        Duration::from_micros(at.fetch_add(some, Ordering::Relaxed) + some)
    })
}

/// Little, so that there is much to see where there is little data.
fn grain(random: &mut Random) -> Grain {
    let mut some = |most| 1 + random.below(most) as usize;
    Grain {
        chunk: [60, 300, 2_000][some(3) - 1],
        slice: some(4),
        hurry_slice: some(8),
        elements: some(6),
        text: 100 + some(3_000),
    }
}

fn voice(medium: &SimMedium, boot_id: &str, saves: &mut Saves, random: &mut Random) -> Voice {
    let doors = saves.rewrites.start();
    let (errands, words, snapshots) = (doors.clone(), doors.clone(), saves.start());
    // Now and then there is no thread to be had.
    let (threads, hard) = (Mutex::new(Random::new(random.next_u64())), random.one_in(8));
    let refused = move || hard && threads.lock().unwrap_or_else(PoisonError::into_inner).one_in(6);
    Voice {
        read_log: read_log(medium, boot_id),
        again: Box::new(|_| "it is a test".to_owned()),
        can_start_again: false,
        say: Box::new(move |_, text| words.said(text)),
        level: Box::new(|_| {}),
        die: Box::new(|_| die()),
        errand: Box::new(move |errand| errands.errand(errand)),
        time: time(random),
        writer: Box::new(move |writer| match writer.rewrites() {
            true if refused() => Err(std::io::ErrorKind::WouldBlock.into()),
            true => {
                doors.rewriter(writer);
                Ok(())
            }
            false => snapshots(writer),
        }),
    }
}

/// As the server takes over the backup that an earlier process has left.
fn put_shelf(global: &mut Global, medium: &SimMedium, saves: &mut Saves) {
    let (shelves, log) = (medium.clone(), medium.clone());
    global.shelf = Box::new(move |_, _| Box::new(shelves.shelf(SHELF)));
    global.open_dir = Box::new(move |_, _| Ok(Box::new(log.clone())));
    if global.config().appendonly {
        adopt_backup(global).expect("it can be read");
        saves.rewrites.adopted(global);
    }
}

fn die() -> ! {
    resume_unwind(Box::new(ProcessEnded))
}

impl World {
    /// A process that has recovered: as [`crate::server`] starts one.
    #[expect(clippy::vec_box, reason = "a keyspace travels in its box for all its life")]
    pub fn start(
        (medium, mut saves): (&SimMedium, Saves),
        start: Start<'_>,
        spaces: Vec<Box<Keyspace>>,
        started: Started,
        now: Now,
        random: &mut Random,
    ) -> World {
        let shards = spaces.len();
        let Start { config, boot_id, turns, older } = start;
        let voice = voice(medium, boot_id, &mut saves, random);
        let manifest = started.manifest.clone();
        let facts = Facts::default();
        let mut global = Global::new(shards, config.clone(), boot_id, manifest, facts, voice);
        global.grain = grain(random);
        put_shelf(&mut global, medium, &mut saves);
        let global = Arc::new(global);
        let order: Arc<Order<Message>> = Arc::new(Order::new(shards, started.next_id.max(1)));
        let (mut lanes, mut spaces) = (Vec::new(), spaces);
        for (space, file) in spaces.iter_mut().zip(&started.files) {
            space.effects = Effects::new(file.start, true);
            space.effects.begin_stream(file.stream);
        }
        let large = 100 + random.below(600) as usize;
        spaces.iter_mut().for_each(|space| space.snapshots.large_value = large);
        probe::begin(&spaces);
        let base = spaces.iter().flat_map(|s| probe::data_of(s)).collect();
        let ledger = Ledger::new(started.seeds(), older, shards);
        for space in spaces {
            let log = started.files.get(space.shard).map(|file| {
                let id = medium.open(&file.file).expect("it has just been made");
                let log = LogFile { id, seed: file.seed, sum: file.seed, offset: 0 };
                let flush = policy(config.appendfsync);
                LogWriter::new(flush, log, file.start, now.mono_us).counting_from(file.stream)
            });
            let random = Random::new(random.next_u64());
            let (order, global) = (Arc::clone(&order), Arc::clone(&global));
            let shard = Shard::new(order, global, space, log, random);
            let (arriving, reaped, sent) = Default::default();
            let (disk, phase, stopped) = (medium.disk(), 0, false);
            lanes.push(Lane { shard, disk, phase, arriving, reaped, sent, stopped });
        }
        let witness = Witness::new(shards, config.appendfsync == Flush::Always);
        let (clients, heard, next_conn, next_id) = (Vec::new(), None, 0, 1);
        let (ending, kept_on, mut taste) = (false, 0, Taste::some(random));
        (taste.calm, taste.turns) = (random.one_in(4), turns);
        let waiters = taste.calm.then(|| Waiters::begin(shards, &base));
        let mut world = World {
            lanes,
            global,
            clients,
            heard,
            next_conn,
            next_id,
            now,
            base,
            witness,
            saves,
            ending,
            kept_on,
            taste,
            waiters,
            rested: 0,
            ledger,
        };
        for _ in 0..2 + random.below(6) {
            world.connect(random);
        }
        world
    }

    /// Request ids go on from here.
    pub fn ids_from(&mut self, id: u64) {
        self.next_id = id;
    }

    /// The id the next request will get.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    fn connect(&mut self, random: &mut Random) {
        let home = random.below(self.lanes.len() as u64) as usize;
        let key = ConnKey { index: self.next_conn, generation: 1 };
        self.next_conn += 1;
        let log = self.lanes[home].shard.log.is_some() || self.taste.turns;
        self.lanes[home].admit(key);
        self.clients.push(Client::new(home, key, self.lanes.len(), (log, self.taste)));
    }

    /// Some client acts; mostly one that has just heard something, so that causes and what follows
    /// from them stand close together.
    pub fn client_acts(&mut self, random: &mut Random) {
        if let Some(waiters) = self.waiters.as_mut().filter(|_| random.one_in(2)) {
            let mut sent = Vec::new();
            waiters.act(random, (&mut self.next_conn, &mut self.next_id), &mut sent);
            return self.arrive(sent);
        }
        let eager = self.heard.take().filter(|_| random.below(4) > 0);
        let eager = eager.and_then(|key| self.clients.iter().position(|c| c.key == key));
        let some = random.below(self.clients.len() as u64) as usize;
        self.acts(eager.unwrap_or(some), random);
    }

    fn arrive(&mut self, sent: Vec<Sent>) {
        for one in sent {
            let (home, arrival) = match one {
                Sent::New(home, key) => {
                    self.lanes[home].admit(key);
                    continue;
                }
                Sent::Bytes(home, key, bytes) => (home, Arrival::Data(key, bytes)),
                Sent::Leaves(home, key) => (home, Arrival::Leave(key)),
                Sent::Gone(home, key) => (home, Arrival::End(key)),
            };
            self.lanes[home].arriving.push(arrival);
        }
    }

    /// A client sends some requests, or goes.
    fn acts(&mut self, chosen: usize, random: &mut Random) {
        if random.one_in(60) {
            let gone = self.clients.swap_remove(chosen);
            self.lanes[gone.home].arriving.push(Arrival::End(gone.key));
            return self.connect(random);
        }
        let client = &mut self.clients[chosen];
        if client.waiting.len() > OUTSTANDING {
            return;
        }
        let batch = client.pipeline(random, &mut self.next_id);
        for request in &batch.requests {
            self.witness.sends(request);
            tell(|| format!("client {} on {}: {}", client.key.index, client.home, request.text));
        }
        client.waiting.extend(batch.requests);
        let key = client.key;
        let mut bytes = batch.bytes;
        let lane = &mut self.lanes[client.home];
        if random.one_in(4) {
            let rest = bytes.split_off(random.below(bytes.len() as u64) as usize);
            lane.arriving.push(Arrival::Data(key, bytes));
            bytes = rest;
        }
        lane.arriving.push(Arrival::Data(key, bytes));
    }

    /// One phase of one shard's turn; false when the process ended in it.
    pub fn phase(&mut self, shard: usize, random: &mut Random) -> bool {
        let stepped = catch_unwind(AssertUnwindSafe(|| self.step(shard, random)));
        match stepped {
            Ok(()) => {
                let logs = self.lanes.iter().map(|l| l.shard.log.as_ref());
                self.witness.moment(logs.map(|log| log.map(|log| (log.raw(), log.release()))));
                self.look_at_log();
                self.saves.look();
                if self.ending && !self.global.ending.is_wished() {
                    self.ending = false;
                    self.kept_on += 1;
                }
                true
            }
            Err(payload) if payload.is::<ProcessEnded>() => false,
            Err(payload) => resume_unwind(payload),
        }
    }

    fn look_at_log(&mut self) {
        let durable = || durable(&self.lanes);
        self.ledger.look(&self.global, &self.witness, durable);
    }

    /// One phase of some shard's turn, or all that are left of it; false when the process ended.
    pub fn some_phases(&mut self, random: &mut Random) -> bool {
        let shard = random.below(self.lanes.len() as u64) as usize;
        let whole = random.one_in(4);
        loop {
            if !self.phase(shard, random) {
                return false;
            }
            if !whole || self.lanes[shard].phase == 0 || self.lanes[shard].stopped {
                return true;
            }
        }
    }

    /// A turn of every shard, or what is left of it; false when the process ended.
    pub fn round(&mut self, random: &mut Random) -> bool {
        for shard in 0..self.lanes.len() {
            loop {
                if !self.phase(shard, random) {
                    return false;
                }
                if self.lanes[shard].phase == 0 || self.lanes[shard].stopped {
                    break;
                }
            }
        }
        true
    }

    fn step(&mut self, shard: usize, random: &mut Random) {
        let lane = &mut self.lanes[shard];
        if lane.stopped {
            return;
        }
        let phase = lane.phase;
        lane.phase = (phase + 1) % 4;
        match phase {
            0 => lane.reap(self.now, random),
            1 => {
                lane.shard.may_have_work();
                lane.shard.take_inbox();
                if lane.shard.space.as_ref().is_some_and(|space| space.unwritten.is_some()) {
                    let freed = probe::with(|t| {
                        t.held_ms[shard] = self.now.unix_ms();
                        std::mem::take(&mut t.freed)
                    });
                    count(&mut self.witness.counts, "keys are known that wait for a log");
                    if freed.is_some_and(|freed| freed > 0) {
                        count(&mut self.witness.counts, "replies that wait are let go");
                    }
                }
            }
            2 => lane.execute(),
            _ => self.end_turn(shard),
        }
    }

    fn end_turn(&mut self, shard: usize) {
        let lane = &mut self.lanes[shard];
        let mut sends = Vec::new();
        lane.shard.end_turn(&mut lane.disk, &mut |key, reply| sends.push((key, reply)));
        let mut closed = lane.shard.take_closing();
        closed.extend(lane.shard.take_lingering());
        for key in &closed {
            lane.shard.disconnect(*key);
        }
        for (key, reply) in sends {
            lane.sent.push(key);
            if let Some(waiters) = &mut self.waiters
                && waiters.hears(key, &reply.to_vec())
            {
                continue;
            }
            let found = self.clients.iter_mut().find(|c| c.key == key && c.home == shard);
            // A client that has gone is told nothing.
            if let Some(client) = found {
                client.received.extend(reply.to_vec());
                self.heard = Some(key);
                self.witness.hears(client);
            }
        }
        if let Some(waiters) = &mut self.waiters {
            closed.iter().for_each(|key| waiters.closed(*key));
        }
        let lane = &mut self.lanes[shard];
        lane.stopped = lane.shard.stopping && lane.shard.has_stopped();
    }

    /// Lets everything come to rest and stops; gives where the logs ended. No fault is armed; when
    /// one has struck before, of which the process has not heard, it may end itself: `None`.
    pub fn stop(&mut self, medium: &SimMedium, random: &mut Random) -> Option<Vec<(u64, u64)>> {
        let forced = random.one_in(8);
        for round in 0.. {
            medium.settle();
            self.now.mono_us += 50_000;
            self.now.unix_us += 50_000;
            for shard in 0..self.lanes.len() {
                while random.below(3) > 0 {
                    self.saves.step(self.now);
                    self.thread_step(medium, random);
                }
                loop {
                    if !self.phase(shard, random) {
                        return None;
                    }
                    if self.lanes[shard].phase == 0 || self.lanes[shard].stopped {
                        break;
                    }
                }
            }
            // Behind a last snapshot nobody is answered.
            let answered = self.clients.iter().all(|c| c.waiting.is_empty()) && self.waiters_rest();
            let at_rest = answered && !self.ending && !self.global.is_stopping();
            if at_rest && !self.global.may_not_end(forced) {
                self.global.stop();
            }
            if self.has_stopped() {
                assert!(answered || self.ending, "{}", self.stuck());
                break;
            }
            assert!(round < 4000, "{}", self.stuck());
        }
        if self.ending {
            self.is_all_saved();
        }
        let end = |lane: &Lane| lane.shard.log.as_ref().map(|l| (l.appended(), l.file().sum));
        Some(self.lanes.iter().filter_map(end).collect())
    }

    /// Those who wait for keys have been answered, and have gone, and nothing was amiss.
    fn waiters_rest(&mut self) -> bool {
        let Some(waiters) = self.waiters.as_mut().filter(|_| !self.ending) else { return true };
        if !waiters.are_answered() {
            self.rested = 0;
            return false;
        }
        self.rested += 1;
        if self.rested == REST {
            waiters.check_at_rest(&probe::with(|t| t.data()).expect("the process is looked at"));
            let mut sent = Vec::new();
            waiters.all_leave(&mut sent);
            self.arrive(sent);
            return false;
        }
        if self.rested < REST || !waiters.have_gone() {
            return false;
        }
        waiters.check_at_rest(&probe::with(|t| t.data()).expect("the process is looked at"));
        true
    }

    /// A step of a thread that waits for the disk of the log; false when there is none.
    pub fn thread_step(&mut self, medium: &SimMedium, random: &mut Random) -> bool {
        let did = self.saves.rewrites.step(medium, &self.global, &mut self.ledger, random);
        // What a dead process thinks of its last operation nobody knows.
        if !medium.is_dead() {
            self.look_at_log();
        }
        did
    }

    /// The log is about to go over to other files.
    pub fn cuts(&self) -> bool {
        self.global.cut_busy()
    }

    /// Counts at what the process has died.
    pub fn died_at(&self, counts: &mut Counts) {
        for lead in self.lanes.iter().filter_map(|lane| lane.shard.cut_lead.as_ref()) {
            let what = if lead.closes { "a log is turned off" } else { "the log is cut" };
            count(counts, &format!("deaths while {what}: {:?}", lead.step));
        }
        let state = self.global.turning.state();
        if state != Logging::On {
            count(counts, &format!("deaths with the log {state:?}"));
        }
        self.saves.rewrites.died_at(counts);
    }

    /// Every shard's thread has ended.
    pub fn has_stopped(&self) -> bool {
        self.lanes.iter().all(|lane| lane.stopped)
    }

    /// As a signal asks for the end, behind a last snapshot.
    pub fn wish_end(&mut self) {
        if !self.global.is_stopping() && !self.ending && !self.global.may_not_end(false) {
            tell(|| "the end is asked for".to_owned());
            self.lanes[0].shard.end_behind_snapshot(false, None);
            self.ending = true;
        }
    }

    /// It has ended behind a last snapshot.
    pub fn ended_saved(&self) -> bool {
        self.ending && self.has_stopped()
    }

    /// What was executed, but for what has come to its time since, is in the file.
    fn is_all_saved(&self) {
        let data = probe::with(|t| t.data()).expect("the process is looked at");
        let file = self.saves.standing();
        for (place, held) in &data {
            assert_eq!(file.get(place), Some(held), "{place:?} is not as it was at the end");
        }
        for (place, held) in file {
            let gone = held.1.is_some_and(|at| at <= self.now.unix_ms());
            assert!(gone || data.contains_key(place), "{place:?} was not there at the end");
        }
    }

    fn stuck(&self) -> String {
        let waiting = self.clients.iter().filter(|c| !c.waiting.is_empty());
        let texts = waiting.map(|c| format!("{} on {}: {:?}", c.key.index, c.home, c.waiting));
        let others = self.waiters.as_ref().map(Waiters::stuck);
        let shards = self.lanes.iter().map(Lane::shown);
        let texts = texts.chain(others).chain(shards).collect::<Vec<_>>().join("; ");
        format!("never answered, or never at rest: {texts}")
    }

    /// The manifest in force.
    pub fn global(&self) -> &Global {
        &self.global
    }

    /// What each shard's log knows to be durable.
    pub fn durable(&self) -> Vec<u64> {
        durable(&self.lanes)
    }

    /// Where a shard's file ends, without filler.
    pub fn tight(&self, shard: usize) -> Option<u64> {
        self.lanes[shard].shard.log.as_ref().map(LogWriter::tight)
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.lanes.len()
    }
}

fn durable(lanes: &[Lane]) -> Vec<u64> {
    let durable = |lane: &Lane| lane.shard.log.as_ref().map_or(0, LogWriter::durable);
    lanes.iter().map(durable).collect()
}

impl Lane {
    /// What keeps it from coming to rest.
    fn shown(&self) -> String {
        let shard = &self.shard;
        let (id, home, log) = (shard.id, shard.space.is_some(), &shard.log);
        let (paused, leases) = (shard.paused, shard.leases.keys().collect::<Vec<_>>());
        let (cut, lead, reload) = (&shard.cut, &shard.cut_lead, &shard.reload);
        let (held, following, fifo) = (shard.held.len(), shard.following.len(), shard.fifo.len());
        let (stopped, stops, parked) = (self.stopped, shard.stopping, shard.parked.len());
        format!(
            "\nshard {id}, stops {stops}, stopped {stopped}: keyspace here {home}, paused \
             {paused:?}, leases {leases:?}, held {held}, following {following}, to execute \
             {fifo}, parked {parked}, cut {cut:?}, {lead:?}, reload {reload:?}, log {log:?}"
        )
    }

    fn admit(&mut self, key: ConnKey) {
        assert!(self.shard.admit("").is_ok());
        self.shard.least_loaded();
        self.shard.connect(key, Session::new(u64::from(key.index), true));
    }

    fn reap(&mut self, now: Now, random: &mut Random) {
        self.shard.begin_turn(now);
        if self.shard.should_stop() && !self.shard.stopping {
            self.shard.stop_serving();
        }
        for done in self.disk.take_done() {
            self.shard.disk_done(done, &mut self.disk);
        }
        let acknowledged = random.below(self.sent.len() as u64 + 1) as usize;
        for key in self.sent.drain(..acknowledged) {
            if self.shard.conn(key).is_some() {
                self.shard.sent(key, true);
            }
        }
        let some = random.below(self.arriving.len() as u64 + 1) as usize;
        self.reaped.extend(self.arriving.drain(..some));
    }

    fn execute(&mut self) {
        self.shard.run_fifo();
        for arrival in std::mem::take(&mut self.reaped) {
            match arrival {
                Arrival::Data(key, bytes) => self.shard.input(key, &bytes),
                Arrival::Leave(key) => self.shard.leave(key),
                Arrival::End(key) => self.shard.disconnect(key),
            }
        }
        self.shard.run_again();
        self.shard.snapshot_turn();
        self.shard.housekeep();
        if let Some(space) = &self.shard.space {
            probe::kept_up(space);
        }
    }
}
