//! Where the simulator looks on: what every shard executed, in order, and what was looked at.
//!
//! The shards' code calls in at a few places (tests only): a request executed on the spot, an item
//! of a job, a lease that has run, a keyspace that came home, the moment of a snapshot and its end.
//! Each call compares the keyspace with
//! what it held before, so nothing here believes what the code says of its own effects: not the
//! payload it logs, not the tags of its replies.
//!
//! A *step* is one thing a shard executed that may not be torn: a command, a transaction, the part
//! of an entry under a mark. It ends at a log position.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::client::ConnKey;
use crate::keyspace::{Keyspace, spelled};
use crate::observe::saves::End;
use crate::shard::message::{Job, ReplyTo};
use crate::shard::sim::turns::Era;
use crate::shard::sim::{offsets, tell};
use crate::shard::snapshot;

/// A database and a key.
pub type Place = (usize, Vec<u8>);
/// A value and its expiry.
pub type Held = (Vec<u8>, Option<i64>);
/// Everything held.
pub type Data = BTreeMap<Place, Held>;

/// Position of a step that has not ended.
pub const OPEN: u64 = u64::MAX;

/// One thing a shard executed.
#[derive(Debug)]
pub struct Step {
    /// Log position behind it.
    pub end: u64,
    /// The entry whose part it is, when that is marked; else 0.
    pub entry: u64,
    /// It changed something, or left something in the log.
    pub own: bool,
    /// What it changed.
    pub changes: Vec<(Place, Option<Held>)>,
}

/// How far a shard had come when something was executed there.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The shard.
    pub shard: usize,
    /// Number of its steps, this one included.
    pub upto: usize,
    /// The step that was executed is among them.
    pub own: bool,
}

/// An execution that a client will be told of.
#[derive(Debug)]
pub struct Event {
    /// By lease.
    pub lease: bool,
    /// Where.
    pub at: Vec<At>,
}

/// A client's connection: its shard and its key there.
pub type Origin = (usize, ConnKey);

/// The moment of a snapshot.
#[derive(Debug)]
pub struct Moment {
    /// All that was held, over all shards.
    pub data: Data,
    /// Nothing is to be executed behind it, unless its file fails.
    pub last: bool,
    /// How it has ended, once that has been told.
    pub ended: Option<End>,
    job: Arc<snapshot::Job>,
}

/// All that has been executed since the start of a process.
#[derive(Debug, Default)]
pub struct Tracker {
    /// By shard: when it last removed nothing by itself, in milliseconds of Unix time.
    pub held_ms: Vec<i64>,
    /// How often replies were let go that had begun to wait for segments.
    pub freed: usize,
    live: Vec<Data>,
    ends: Vec<u64>,
    /// Turns whose upkeep was not looked at closely.
    passed_over: u64,
    /// By shard, in order.
    pub steps: Vec<Vec<Step>>,
    /// By client, in order per executing shard.
    pub events: HashMap<Origin, VecDeque<Event>>,
    /// Snapshots that have begun, in order.
    pub moments: Vec<Moment>,
    /// What was held at the moments of rewrites of the log.
    pub rewrites: Vec<Data>,
    /// The same when backups were sealed.
    pub seals: Vec<Data>,
    /// Logs, in order.
    pub eras: Vec<Era>,
}

thread_local! {
    static TRACKER: RefCell<Option<Tracker>> = const { RefCell::new(None) };
}

/// What a keyspace holds, keys past their expiry included.
pub fn data_of(space: &Keyspace) -> Data {
    let entries = space.dbs.iter().enumerate().flat_map(|(db, d)| d.iter().map(move |e| (db, e)));
    let held = entries.map(|(db, entry)| {
        let value = spelled(entry);
        ((db, entry.key().to_vec()), (value, entry.expire_ms()))
    });
    held.collect()
}

/// Begins to look on at a process that starts with these keyspaces; what was seen before is gone.
pub fn begin(spaces: &[Box<Keyspace>]) {
    let tracker = Tracker {
        held_ms: vec![0; spaces.len()],
        freed: 0,
        live: spaces.iter().map(|s| data_of(s)).collect(),
        ends: spaces.iter().map(|s| s.effects.end()).collect(),
        passed_over: 0,
        steps: spaces.iter().map(|_| Vec::new()).collect(),
        events: HashMap::new(),
        moments: Vec::new(),
        rewrites: Vec::new(),
        seals: Vec::new(),
        eras: Vec::new(),
    };
    TRACKER.with_borrow_mut(|t| *t = Some(tracker));
    offsets::begin(spaces);
}

/// Ends it and gives what was seen.
pub fn finish() -> Tracker {
    TRACKER.take().expect("a process was looked at")
}

/// Looks into what has been seen so far; nothing when nobody looks on.
pub fn with<R>(look: impl FnOnce(&mut Tracker) -> R) -> Option<R> {
    TRACKER.with_borrow_mut(|t| t.as_mut().map(look))
}

impl Tracker {
    fn changes(&mut self, space: &Keyspace) -> Vec<(Place, Option<Held>)> {
        let now = data_of(space);
        let before = std::mem::take(&mut self.live[space.shard]);
        let mut changes: Vec<_> = now
            .iter()
            .filter(|(place, held)| before.get(*place) != Some(*held))
            .map(|(place, held)| (place.clone(), Some(held.clone())))
            .collect();
        let gone = before.keys().filter(|place| !now.contains_key(*place));
        changes.extend(gone.map(|place| (place.clone(), None)));
        self.live[space.shard] = now;
        changes
    }

    fn add(&mut self, shard: usize, end: u64, entry: u64, changes: Vec<(Place, Option<Held>)>) {
        self.steps[shard].push(Step { end, entry, own: true, changes });
    }

    /// Something is executed, which must not be while shards hold still.
    fn executes(&self, what: &str) {
        if let Some(moment) = self.moments.last().filter(|m| m.last) {
            assert!(moment.job.has_failed(), "{what} is executed behind the last moment");
        }
    }

    /// All that is held, over all shards.
    pub fn data(&self) -> Data {
        self.live.iter().flatten().map(|(place, held)| (place.clone(), held.clone())).collect()
    }

    /// What these hold, which was seen.
    fn unchanged(&mut self, spaces: &[Option<Box<Keyspace>>]) -> Data {
        for space in spaces.iter().flatten() {
            let changes = self.changes(space);
            assert!(changes.is_empty(), "executed, and not seen: {changes:?}");
        }
        self.data()
    }

    /// A step that ends here, if something happened.
    fn plain(&mut self, space: &Keyspace) -> At {
        let (shard, end) = (space.shard, space.effects.end());
        offsets::note(space);
        let changes = self.changes(space);
        let own = !changes.is_empty() || end != self.ends[shard];
        if own {
            self.add(shard, end, 0, changes);
            self.ends[shard] = end;
        }
        At { shard, upto: self.steps[shard].len(), own }
    }

    /// Number of steps by shard.
    fn counted(&self) -> Vec<usize> {
        self.steps.iter().map(Vec::len).collect()
    }

    fn is_open(&self, shard: usize) -> bool {
        self.steps[shard].last().is_some_and(|s| s.end == OPEN)
    }

    fn close(&mut self, space: &Keyspace) {
        let shard = space.shard;
        let end = space.effects.end();
        offsets::note(space);
        self.ends[shard] = end;
        self.steps[shard].last_mut().expect("a step is open").end = end;
    }

    fn event(&mut self, origin: Origin, lease: bool, at: Vec<At>) {
        tell(|| format!("for client {} on {}, lease {lease}: {at:?}", origin.1.index, origin.0));
        self.events.entry(origin).or_default().push_back(Event { lease, at });
    }
}

/// A request was executed on the shard of its connection.
pub fn ran_here(conn: ConnKey, space: &Keyspace) {
    with(|t| {
        t.executes("a request");
        let at = t.plain(space);
        t.event((space.shard, conn), false, vec![at]);
    });
}

/// An item of a job was executed; `marked` when the job's effects stand under a mark.
pub fn ran_item(job: &Job, marked: bool, space: &Keyspace) {
    with(|t| {
        t.executes("an item");
        let at = if marked {
            let shard = space.shard;
            let mut changes = t.changes(space);
            if t.is_open(shard) {
                let step = t.steps[shard].last_mut().expect("it is open");
                step.changes.append(&mut changes);
            } else {
                t.add(shard, OPEN, job.entry, changes);
            }
            At { shard, upto: t.steps[shard].len(), own: true }
        } else {
            t.plain(space)
        };
        t.event((job.to.shard, job.to.conn), false, vec![at]);
    });
}

/// Somebody who waits was served, or has begun to wait.
pub fn served_here(space: &Keyspace) {
    with(|t| {
        t.executes("a waiter's command");
        t.plain(space);
    });
}

/// A job was executed.
pub fn ran_job(space: &Keyspace) {
    with(|t| {
        if t.is_open(space.shard) {
            t.close(space);
        }
    });
}

/// A lease has run on these keyspaces.
pub fn ran_lease(entry: u64, to: ReplyTo, spaces: &[Option<Box<Keyspace>>]) {
    with(|t| {
        t.executes("a lease");
        let mut at = Vec::new();
        for space in spaces.iter().flatten() {
            let changes = t.changes(space);
            let own = !changes.is_empty() || !space.effects.is_empty();
            t.steps[space.shard].push(Step { end: OPEN, entry, own, changes });
            at.push(At { shard: space.shard, upto: t.steps[space.shard].len(), own });
        }
        t.event((to.shard, to.conn), true, at);
    });
}

/// The log has been read again, or not: everything is as it was.
pub fn ran_reload(
    entry: u64,
    to: ReplyTo,
    spaces: &[Option<Box<Keyspace>>],
    outcome: &Result<(), String>,
) {
    ran_lease(entry, to, spaces);
    with(|t| {
        // Like any other that is refused it tells of nothing.
        let refusals = ["MISCONF", "ERR There is no AOF"];
        if outcome.as_ref().is_err_and(|text| refusals.iter().any(|r| text.starts_with(r))) {
            t.events.entry((to.shard, to.conn)).or_default().pop_back();
        }
        for space in spaces.iter().flatten() {
            let step = t.steps[space.shard].last().expect("it has just been added");
            assert!(step.changes.is_empty(), "the log tells otherwise: {:?}", step.changes);
        }
    });
}

/// A keyspace came home from a lease, and what it left for the log has its place.
pub fn came_home(space: &Keyspace) {
    assert!(space.events.is_empty(), "a keyspace does not travel with events");
    with(|t| {
        if t.is_open(space.shard) {
            return t.close(space);
        }
        let at = t.plain(space);
        assert!(!at.own, "it was away for a snapshot, and something happened to it: {at:?}");
    });
}

/// A snapshot begins with these keyspaces.
pub fn moment(job: &Arc<snapshot::Job>, spaces: &[Option<Box<Keyspace>>]) {
    with(|t| {
        let (data, job) = (t.unchanged(spaces), Arc::clone(job));
        if job.is_rewrite() {
            tell(|| format!("the moment of rewrite {}", t.rewrites.len()));
            return t.rewrites.push(data);
        }
        tell(|| format!("the moment of snapshot {}, last {}", t.moments.len(), job.is_last()));
        t.moments.push(Moment { data, last: job.is_last(), ended: None, job });
    });
}

/// A backup is sealed with these keyspaces.
pub fn sealing(spaces: &[Option<Box<Keyspace>>]) {
    with(|t| {
        let data = t.unchanged(spaces);
        tell(|| format!("the moment of seal {}", t.seals.len()));
        t.seals.push(data);
    });
}

/// A log begins with the rewrite whose moment this is.
pub fn log_begins() {
    with(|t| {
        let from = t.counted();
        tell(|| format!("the moment at which log {} begins: {from:?}", t.eras.len()));
        t.eras.push(Era::new(from));
    });
}

/// The log ends with these keyspaces.
pub fn log_ends(spaces: &[Option<Box<Keyspace>>]) {
    with(|t| {
        t.unchanged(spaces);
        let to = t.counted();
        tell(|| format!("the moment at which the log ends: {to:?}"));
        t.eras.last_mut().expect("there is one").to = Some(to);
    });
}

/// Files of the log with these seeds are about to be made.
pub fn new_files(seeds: impl Iterator<Item = u64>) {
    with(|t| t.eras.last_mut().expect("there is one").seeds.extend(seeds));
}

/// The log of this keyspace has begun or ended: positions go on, or stand still.
pub fn log_turned(space: &Keyspace) {
    with(|t| t.ends[space.shard] = space.effects.end());
}

/// Everybody may know now how the snapshot has ended.
pub fn saved(end: End) {
    with(|t| {
        let number = t.moments.len() - 1;
        tell(|| format!("snapshot {number} has ended: {end:?}"));
        let moment = t.moments.last_mut().expect("it has begun");
        assert!(moment.ended.replace(end).is_none(), "it ends once");
        // From here on nobody holds still, or the process ends.
        moment.last &= matches!(end, End::Saved { .. });
    });
}

/// A turn's upkeep has run.
pub fn kept_up(space: &Keyspace) {
    assert!(space.events.is_empty(), "events are handed on within the turn");
    with(|t| {
        // Most turns do nothing here. One that did and did not log it is found out a little later.
        // (Without a log nothing has a position.)
        let end = space.effects.end();
        let quiet = space.effects.enabled() && t.ends[space.shard] == end;
        t.passed_over += u64::from(quiet);
        if quiet && !t.passed_over.is_multiple_of(16) {
            return;
        }
        let before = t.live[space.shard].clone();
        let at = t.plain(space);
        if at.own && t.moments.last().is_some_and(|m| m.last && !m.job.has_failed()) {
            // What is past its time is gone for whoever loads the file, too.
            let step = t.steps[space.shard].last().expect("it has just been added");
            for (place, now) in &step.changes {
                let timed = before.get(place).is_some_and(|held| held.1.is_some());
                assert!(now.is_none() && timed, "changed behind the last moment: {place:?}");
            }
        }
    });
}
