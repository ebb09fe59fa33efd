//! MIGRATE: keys go to another server, and no shard waits for its network.
//!
//! ```text
//! coordinator                            every shard                      the courier (a thread)
//! claims the keys for this MIGRATE
//! tells all shards to hold them    ->    requests that name them wait
//!                                  <-    all sent on before stands in
//!                                        front of what comes now
//! leases the shards of the keys:
//! a parcel of them is packed       ->    ---------------------------- ->  sends it, reads
//!                                                                         the answers
//! leases them again: what was      <-    ------------------------------------
//! taken is deleted and logged, the
//! next parcel is packed … until
//! there is none: the reply
//! lets the keys go                 ->    requests go on
//! ```
//!
//! *Nothing is lost between a dump and its deletion.* From the moment when every shard has said
//! that it holds the keys, no request that names one of them is taken in anywhere; and what had
//! been taken in before stands, in the inbox of the keys' owner, in front of the lease, since each
//! shard pushes its requests before its word. So between packing and deleting nothing that names a
//! key runs. What changes a key without naming it are whole-keyspace commands, of which FLUSHALL,
//! FLUSHDB and SWAPDB are held as well, expiry, DEBUG, and clients that wait for another key and
//! are served into this one (BLMOVE). For these every key that is packed is watched, as by WATCH:
//! one that is gone needs no deletion, and one that has changed is not deleted but sent again, in
//! the place of the copy that the other server has just acknowledged, a bounded number of times.
//! So what is deleted here is, byte for byte, what was acknowledged there.
//!
//! *What clients see* is what Redis shows, which does nothing else meanwhile: whoever names a key
//! waits, and finds it gone or there when MIGRATE has ended. Other requests are served. With COPY
//! nothing is taken away, and those that only read the keys are served too. Commands that name no
//! key (SCAN, KEYS, DBSIZE) see the keys of one parcel go before those of the next.
//!
//! *Bounds.* One parcel is on its way at a time, of as many bytes as `PARCEL` or one value; so
//! many MIGRATEs go on at a time as `JOURNEYS_MAX`, the others wait. Keys are held by name in all
//! databases, since MOVE and COPY name one in another database.
//!
//! *A crash* leaves each key here, there, or in both places, and never in none: the deletion is
//! logged behind the acknowledgement.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::crc::shard_of;
use crate::client::output::Merged;
use crate::client::{Conn, ConnKey};
use crate::command::dump::Codec;
use crate::command::migrate::Migration;
use crate::command::table::Control;
use crate::command::{Args, Command, Flags, Route, Run};
use crate::keyspace::watch::WatchFlag;
use crate::keyspace::{Class, Keyspace};
use crate::persist::payload::codec;
use crate::resp::Reply;
use crate::shard::batch::Batch;
use crate::shard::core::Shard;
use crate::shard::cores;
use crate::shard::courier::{Address, Broken, Delivery, Parcel, request, travel};
use crate::shard::lease::{Lease, Work};
use crate::shard::message::{JobDone, Message, ReplyTo};

/// Bytes from which on a parcel takes no further key.
const PARCEL: usize = 1 << 20;
/// Keys of a parcel, at most.
const PARCEL_KEYS: usize = 256;
/// MIGRATEs under way at a time, at most.
const JOURNEYS_MAX: usize = 64;
/// How often keys that have changed meanwhile are sent again.
const AGAIN_MAX: usize = 1000;

/// Keys that wait for the end of a MIGRATE.
#[derive(Debug)]
pub struct Hold {
    /// Who carries it out, and its name there.
    shard: usize,
    name: u64,
    keys: HashSet<Box<[u8]>>,
    /// The keys stay: whoever only reads them may go on.
    copy: bool,
}

impl Hold {
    /// Whether a request has to wait for its end.
    fn concerns(&self, command: &Command, args: &Args<'_>) -> bool {
        let writes = command.flags.has(Flags::WRITE) || command.flags.has(Flags::MAY_REPLICATE);
        if self.copy && !writes {
            return false;
        }
        let named = |at: usize| args.get(at).is_some_and(|key| self.keys.contains(key));
        command.route == Route::Cut || command.key_positions(args.items()).any(named)
    }
}

/// What is held, process-wide: no key is taken by two MIGRATEs at a time.
#[derive(Debug, Default)]
pub struct Holds(Mutex<Vec<Arc<Hold>>>);

impl Holds {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Hold>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all of its keys, or none.
    fn claim(&self, hold: &Arc<Hold>) -> bool {
        let mut holds = self.lock();
        let free = |other: &Arc<Hold>| {
            let (few, many) = match other.keys.len() < hold.keys.len() {
                true => (&other.keys, &hold.keys),
                false => (&hold.keys, &other.keys),
            };
            few.iter().all(|key| !many.contains(key))
        };
        let free = holds.len() < JOURNEYS_MAX && holds.iter().all(free);
        if free {
            holds.push(Arc::clone(hold));
        }
        free
    }

    fn give_back(&self, hold: &Arc<Hold>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, hold));
    }
}

/// A key that is on its way.
#[derive(Debug)]
struct Sent {
    /// Its place in the request.
    key: usize,
    /// Raised when it changes here.
    changed: WatchFlag,
}

/// A MIGRATE under way.
#[derive(Debug)]
struct Journey {
    to: ReplyTo,
    resp3: bool,
    plan: Migration,
    hold: Arc<Hold>,
    /// The shards of its keys, as a set.
    targets: u64,
    /// Shards that do not hold the keys yet.
    words: usize,
    /// Keys packed or found absent so far.
    next: usize,
    /// Some key was there.
    found: bool,
    /// Taken by the other server, but changed here since.
    again: Vec<usize>,
    agains: usize,
    sent: Vec<Sent>,
    /// What became of them.
    taken: Vec<bool>,
    courier: Option<Sender<Parcel>>,
    refusal: Option<Vec<u8>>,
    broken: Option<Broken>,
}

/// What a shard has to do with MIGRATE.
#[derive(Debug, Default)]
pub struct Migrations {
    /// The command that has just run asks for it.
    pub wished: Option<Migration>,
    /// Those that wait for keys of others.
    wanted: VecDeque<Journey>,
    under: HashMap<u64, Journey>,
    /// What is held.
    pub holds: Vec<Arc<Hold>>,
    /// Connections with a request that has to wait.
    postponed: Vec<ConnKey>,
}

impl Migrations {
    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.under.is_empty()
    }
}

fn owner<'a>(spaces: &'a mut [Option<Box<Keyspace>>], key: &[u8]) -> &'a mut Keyspace {
    let shard = shard_of(key, spaces.len());
    spaces[shard].as_deref_mut().expect("the lease covers every key named")
}

impl Journey {
    /// Deletes what was taken, unless it has changed or is to stay.
    fn settle(&mut self, spaces: &mut [Option<Box<Keyspace>>], now_ms: i64) {
        let db = self.plan.db;
        for (sent, taken) in std::mem::take(&mut self.sent).iter().zip(&self.taken) {
            if !taken || self.plan.copy {
                continue;
            }
            let key = &self.plan.keys[sent.key];
            let space = owner(spaces, key);
            if space.lookup(db, key, now_ms).is_none() {
                continue;
            }
            if sent.changed.load(std::sync::atomic::Ordering::Relaxed) {
                self.again.push(sent.key);
                continue;
            }
            space.delete(db, key);
            space.effects.log(db, &[b"DEL", key]);
            space.counters.dirty += 1;
            space.events.add(db, Class::Generic, "del", key);
        }
        self.taken.clear();
    }

    /// Packs the next keys.
    fn pack(&mut self, spaces: &mut [Option<Box<Keyspace>>], now_ms: i64, codec: Codec) -> Parcel {
        let mut parcel = Parcel::default();
        let mut payload = Vec::new();
        while parcel.bytes.len() < PARCEL && parcel.keys < PARCEL_KEYS {
            let (at, replace) = match self.again.pop() {
                Some(_) if self.agains == AGAIN_MAX => break,
                Some(at) => {
                    self.agains += 1;
                    (at, true)
                }
                None if self.next == self.plan.keys.len() => break,
                None => {
                    self.next += 1;
                    (self.next - 1, self.plan.replace)
                }
            };
            let (key, db) = (&self.plan.keys[at], self.plan.db);
            let space = owner(spaces, key);
            let Some(entry) = space.read(db, key, now_ms) else { continue };
            payload.clear();
            (codec.write)(entry, codec.version, codec.compress, &mut payload);
            let left = entry.expire_ms().map_or(0, |end| end.saturating_sub(now_ms).max(1));
            let mut digits = itoa::Buffer::new();
            let words = [b"RESTORE", &**key, digits.format(left).as_bytes(), &payload, b"REPLACE"];
            request(&mut parcel.bytes, &words[..if replace { 5 } else { 4 }]);
            parcel.keys += 1;
            self.found = true;
            let changed = WatchFlag::default();
            space.watched.watch(db, key, changed.clone());
            self.sent.push(Sent { key: at, changed });
        }
        parcel
    }

    /// What the client is told.
    fn reply(&self) -> Reply {
        let mut reply = Reply::new(self.resp3);
        let io = |doing| format!("IOERR error or timeout {doing}").into_bytes();
        let error = match (&self.refusal, self.broken) {
            (Some(text), _) => {
                Some([b"ERR Target instance replied with error: ", &text[..]].concat())
            }
            (None, Some(Broken::Connecting)) => Some(io("connecting to the client")),
            (None, Some(Broken::Writing)) => Some(io("writing to target instance")),
            (None, Some(Broken::Reading | Broken::Refused)) => {
                Some(io("reading to target instance"))
            }
            (None, None) if !self.again.is_empty() => {
                Some(b"ERR a key keeps changing while it is on its way, and stays".to_vec())
            }
            (None, None) => None,
        };
        match error {
            Some(text) => reply.error(&text),
            None if self.found => reply.ok(),
            None => reply.simple("NOKEY"),
        }
        reply
    }
}

impl Shard {
    /// Puts the reply of the command in its place, to be written when the keys are where they
    /// belong. The connection waits.
    pub(super) fn tell_when_migrated(&mut self, conn: &mut Conn, plan: Migration) {
        let to = self.stand_in_for_one(conn);
        let shards = self.shards();
        let targets = plan.keys.iter().fold(0, |set, key| set | 1 << shard_of(key, shards));
        let keys = plan.keys.iter().cloned().collect();
        let hold = Hold { shard: self.id, name: to.batch, keys, copy: plan.copy };
        let journey = Journey {
            to,
            resp3: conn.session.resp3,
            plan,
            hold: Arc::new(hold),
            targets,
            words: shards,
            next: 0,
            found: false,
            again: Vec::new(),
            agains: 0,
            sent: Vec::new(),
            taken: Vec::new(),
            courier: None,
            refusal: None,
            broken: None,
        };
        if targets == 0 {
            let reply = journey.reply();
            self.replies.push((self.id, Message::Done(JobDone::alone(to, reply))));
            return;
        }
        if let Some(waits) = self.begin_journey(journey) {
            self.migrations.wanted.push_back(waits);
        }
    }

    /// Begins those whose keys are free.
    pub(super) fn start_migrations(&mut self) {
        if self.migrations.wanted.is_empty() {
            return;
        }
        for journey in std::mem::take(&mut self.migrations.wanted) {
            if self.stopping || self.conn(journey.to.conn).is_none() {
                continue;
            }
            if let Some(waits) = self.begin_journey(journey) {
                self.migrations.wanted.push_back(waits);
            }
        }
    }

    /// Begins one if its keys are free; gives it back if they are not.
    fn begin_journey(&mut self, journey: Journey) -> Option<Journey> {
        if !self.global.holds.claim(&journey.hold) {
            return Some(journey);
        }
        for shard in 0..self.shards() {
            self.replies.push((shard, Message::Hold(Arc::clone(&journey.hold))));
        }
        self.migrations.under.insert(journey.hold.name, journey);
        None
    }

    /// Requests that name these keys wait from here on.
    pub(super) fn hold(&mut self, hold: Arc<Hold>) {
        self.replies.push((hold.shard, Message::Holding(hold.name)));
        self.migrations.holds.push(hold);
    }

    /// One shard more holds the keys.
    pub(super) fn is_holding(&mut self, name: u64) {
        let Some(journey) = self.migrations.under.get_mut(&name) else { return };
        journey.words -= 1;
        if journey.words == 0 {
            let targets = journey.targets;
            self.ask_for_keys(name, targets);
        }
    }

    fn ask_for_keys(&mut self, name: u64, targets: u64) {
        let to = self.nobody();
        let work = Work { migration: Some(name), ..Work::default() };
        self.ask_for_keyspaces(targets, to, work);
    }

    /// The keyspaces are here: what was taken goes, and the next parcel is packed.
    pub(super) fn at_the_keys(&mut self, entry: u64, mut lease: Lease, name: u64) {
        let mut journey = self.migrations.under.remove(&name).expect("it lives until its reply");
        for space in lease.spaces.iter_mut().flatten() {
            space.read_tag = space.floor;
            space.hold_expired(true);
            space.begin_uses(false);
        }
        self.meter.begin(true);
        let now = self.now.unix_ms();
        journey.settle(&mut lease.spaces, now);
        let mut parcel = Parcel::default();
        if journey.broken.is_none() && !self.stopping {
            let codec = codec(self.config.rdb.version, self.config.rdb.compress);
            parcel = journey.pack(&mut lease.spaces, now, codec);
        }
        let served = self.serve_leased(&mut lease);
        let around = self.around();
        around.meter.settle(around.stats, around.track);
        if parcel.keys > 0 && self.send_off(&mut journey, parcel) {
            self.migrations.under.insert(name, journey);
        } else {
            self.end_journey(&journey, &mut lease);
        }
        self.send_home(entry, lease, false, None, &served);
    }

    /// Gives a parcel to the courier; false when there can be none.
    fn send_off(&mut self, journey: &mut Journey, parcel: Parcel) -> bool {
        if journey.courier.is_none() {
            let (send, parcels) = channel();
            let plan = &journey.plan;
            let address = Address {
                host: plan.host.clone(),
                port: plan.port,
                auth: plan.auth.clone(),
                db: plan.to_db,
                timeout: Duration::from_millis(plan.timeout_ms),
            };
            let (order, id, name) = (Arc::clone(&self.order), self.id, journey.hold.name);
            let global = Arc::clone(&self.global);
            let work = move || {
                // Where it runs is no condition: on the core of the shard, at worst.
                let _ = cores::bind("");
                travel(address, &global.lines, &parcels, |delivery| {
                    order.push(id, Message::Delivered(name, Box::new(delivery)));
                });
            };
            if let Err(error) = std::thread::Builder::new().name("migrate".into()).spawn(work) {
                self.global.warn(&format!("MIGRATE: no thread: {error}"));
                journey.broken = Some(Broken::Connecting);
                return false;
            }
            journey.courier = Some(send);
        }
        // One that has gone has said so, and gets no further parcel.
        journey.courier.as_ref().is_some_and(|courier| courier.send(parcel).is_ok())
    }

    /// A parcel has arrived or has not.
    pub(super) fn delivered(&mut self, name: u64, delivery: Delivery) {
        let Some(journey) = self.migrations.under.get_mut(&name) else { return };
        let Delivery { taken, refusal, broken } = delivery;
        journey.taken = taken;
        journey.refusal = journey.refusal.take().or(refusal);
        journey.broken = broken;
        let targets = journey.targets;
        self.ask_for_keys(name, targets);
    }

    /// The client is answered once all that was deleted is released.
    fn end_journey(&mut self, journey: &Journey, lease: &mut Lease) {
        lease.to = journey.to;
        for space in lease.spaces.iter_mut().flatten() {
            space.read_tag = space.effects.end();
        }
        let (reply, missing) = (journey.reply(), lease.spaces.iter().flatten().count());
        if reply.bytes_from(Reply::default().checkpoint()).first() == Some(&b'-') {
            let text = reply.to_vec();
            let text = text.trim_ascii_end().strip_prefix(b"-").unwrap_or_default();
            self.stats().error(text);
        }
        if let Some(conn) = self.conn_mut(journey.to.conn) {
            conn.output.change_remote(journey.to.batch, |remote| {
                remote.missing = missing;
                remote.bytes = reply.len();
                remote.commands = vec![Merged::Ready(reply)];
            });
        }
        self.global.holds.give_back(&journey.hold);
        for shard in 0..self.shards() {
            self.replies.push((shard, Message::LetGo(Arc::clone(&journey.hold))));
        }
    }

    /// Takes up what waited for these keys.
    pub(super) fn let_go(&mut self, hold: &Arc<Hold>) {
        self.migrations.holds.retain(|other| !Arc::ptr_eq(other, hold));
        for key in std::mem::take(&mut self.migrations.postponed) {
            let Some(mut conn) = self.take_conn(key) else { continue };
            conn.blocked = false;
            self.go_on(&mut conn);
            self.put_conn(conn);
        }
        self.start_migrations();
    }

    /// Whether a request has to wait for keys that are on their way. The connection is then gone on
    /// with when they have gone, or when what it has with other shards has come back.
    pub(super) fn is_held(
        &mut self,
        conn: &mut Conn,
        batch: &Option<Batch>,
        command: &'static Command,
        args: &Args<'_>,
    ) -> bool {
        let exec = matches!(command.run, Run::Control(Control::Exec));
        let queue = conn.session.multi.as_ref().filter(|multi| exec && !multi.failed);
        let held = self.migrations.holds.iter().any(|hold| {
            hold.concerns(command, args)
                || queue.is_some_and(|multi| {
                    multi
                        .queue
                        .iter()
                        .any(|(command, request)| request.with(|args| hold.concerns(command, args)))
                })
        });
        if held && !self.is_out(conn, batch) {
            conn.blocked = true;
            self.migrations.postponed.push(conn.key);
        }
        held
    }
}
