//! Executing: the one place where a command's code meets a keyspace.

use std::mem::take;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::clock::Now;
use crate::base::random::Random;
use crate::command::dump::Codec;
use crate::command::packed::Requests;
use crate::command::{
    Args, Command, Ctx, DataRun, Merge, Patience, Route, Run, Spaces, introspect, scan,
};
use crate::keyspace::waiting::Claim;
use crate::keyspace::{Keyspace, Looked};
use crate::observe::{ShardStats, crash};
use crate::persist::aof::format::write_entry_mark;
use crate::resp::Reply;
use crate::resp::peek::KEYS_MAX;
use crate::shard::core::Shard;
use crate::shard::message::{Call, Item, Job, Message, Portion, Watched};
use crate::shard::meter::Meter;
use crate::shard::serve::Slow;
use crate::value::shapes::Shapes;

/// What every execution needs besides the data.
pub struct Surroundings<'a> {
    /// Where executions are counted.
    pub stats: &'a ShardStats,
    /// Measures them.
    pub meter: &'a mut Meter,
    /// Whether durations go into histograms.
    pub track: bool,
    /// The turn's (or batch's) time.
    pub now: Now,
    /// For random choices.
    pub random: &'a mut Random,
    /// Number of shards.
    pub shards: usize,
    /// Longest string a command may make, in bytes.
    pub string_max: u64,
    /// Up to which size values are kept as one piece.
    pub shapes: &'a Shapes,
    /// How values become bytes and bytes values.
    pub codec: Codec,
    /// The next command leaves no trace of its uses of keys.
    pub quiet: bool,
    /// The claim of the client, if it may wait.
    pub claim: Option<Arc<Claim>>,
    /// What became of it in the command that ran last.
    pub fate: Fate,
}

/// What became of a command that may wait.
#[derive(Debug, Default)]
pub enum Fate {
    /// It is answered.
    #[default]
    Answered,
    /// It waits; this is what it says when that was in vain, and what SLOWLOG keeps of it then.
    Waits(Box<Patience>, Reply, Option<Slow>),
    /// Its client is gone, or has been served elsewhere: there is no reply.
    Gone,
}

impl Surroundings<'_> {
    /// Runs a data command; an error becomes its reply. True when it did not fail.
    pub fn run(
        &mut self,
        mut spaces: Spaces<'_>,
        db: usize,
        code: DataRun,
        args: &Args<'_>,
        out: &mut Reply,
    ) -> bool {
        let at = out.checkpoint();
        let mut ctx = Ctx {
            spaces: spaces.lent(),
            db,
            now: self.now,
            out,
            random: self.random,
            shards: self.shards,
            string_max: self.string_max,
            shapes: self.shapes,
            codec: self.codec,
            replay: false,
            claim: self.claim.as_deref(),
            claimed: false,
            patience: None,
        };
        let result = code(&mut ctx, args);
        let (claimed, patience) = (ctx.claimed, ctx.patience.take());
        if let Err(fault) = &result {
            if !self.meter.is_part() {
                self.stats.error(&fault.0);
            }
            out.cut_back(at);
            out.error(&fault.0);
        }
        if let Some(claim) = &self.claim {
            self.fate = match patience {
                Some(patience) if result.is_ok() => {
                    Fate::Waits(Box::new(patience), out.split_off(at), None)
                }
                _ if claimed || claim.take() => Fate::Answered,
                _ => {
                    out.cut_back(at);
                    Fate::Gone
                }
            };
        }
        self.tell_events(&mut spaces);
        result.is_ok()
    }

    /// Counts an execution that has just ended, `alone` or in a row that shares two readings of
    /// the clock.
    pub fn count(&mut self, command: &'static Command, args: &Args<'_>, ok: bool, alone: bool) {
        self.meter.count(introspect::number(command), ok);
        if alone {
            let waits = !matches!(self.fate, Fate::Answered);
            let slow = self.meter.settle_one(self.stats, self.track, (command, waits), args);
            if let Fate::Waits(.., kept) = &mut self.fate {
                *kept = slow;
            }
        }
    }

    /// Runs a command on the keyspace that owns all its keys; gives the position its reply waits
    /// for: the end of its effects, or the newest write it looked at.
    pub fn run_one(
        &mut self,
        space: &mut Keyspace,
        db: usize,
        command: &'static Command,
        code: DataRun,
        args: &Args<'_>,
        out: &mut Reply,
    ) -> u64 {
        let alone = self.meter.times_alone(command, args);
        if alone {
            self.meter.settle(self.stats, self.track);
        }
        crash::note(command.name);
        space.read_tag = space.floor;
        space.looked.at_least(space.floor);
        space.hold_expired(command.writes());
        space.begin_uses(self.quiet);
        let before = space.effects.end();
        let ok = self.run(Spaces::One(space), db, code, args, out);
        self.count(command, args, ok, alone);
        let after = space.effects.end();
        if after > before {
            space.looked.also();
            return after;
        }
        space.read_tag
    }

    /// Runs a command that has come from another shard. Only data commands travel.
    fn run_sent(
        &mut self,
        space: &mut Keyspace,
        command: &'static Command,
        (db, quiet): (usize, bool),
        all: bool,
        args: &Args<'_>,
        out: &mut Reply,
    ) -> u64 {
        let Run::Data(mut code) = command.run else {
            unreachable!("only data commands are sent to other shards")
        };
        match command.route {
            Route::Every(Merge::Random) if !all => code = scan::random_part,
            Route::Cursor if !all => code = scan::scan_part,
            _ => {}
        }
        self.quiet = quiet;
        self.run_one(space, db, command, code, args, out)
    }

    fn run_call(&mut self, space: &mut Keyspace, call: &Call, out: &mut Reply) -> u64 {
        let how = (call.db, call.quiet);
        call.request.with(|args| self.run_sent(space, call.command, how, true, args, out))
    }

    fn run_item(
        &mut self,
        space: &mut Keyspace,
        requests: &Requests,
        item: &Item,
        out: &mut Reply,
    ) -> u64 {
        match item {
            Item::Run { command, db, quiet, portion, request } => {
                self.meter.set_part(*portion == Portion::Further);
                let (how, all) = ((*db, *quiet), *portion == Portion::All);
                let run = |args: &Args<'_>| self.run_sent(space, command, how, all, args, out);
                let tag = requests.with(request, run);
                self.meter.set_part(false);
                tag
            }
            Item::Watch(watched) => {
                watch(space, watched, self.now.unix_ms());
                out.ok();
                0
            }
            Item::Exec { calls, watch } => {
                if watch.as_ref().is_some_and(|w| is_dirty(space, w, self.now.unix_ms())) {
                    out.null_array();
                    space.looked.also();
                    return space.effects.end();
                }
                out.array(calls.len());
                calls.iter().map(|call| self.run_call(space, call, out)).max().unwrap_or(0)
            }
        }
    }
}

/// Registers watched keys. One that is past its expiry is removed first, so that its later removal
/// is no change; where nothing is removed by reads, it may be one.
pub fn watch(space: &mut Keyspace, watched: &Watched, now_ms: i64) {
    space.hold_expired(false);
    for (db, key) in &watched.keys {
        space.lookup(*db, key, now_ms);
        space.watched.watch(*db, key, watched.flag.clone());
    }
}

/// Whether a watched key of this keyspace has changed, or come to its expiry, since.
pub fn is_dirty(space: &mut Keyspace, watched: &Watched, now_ms: i64) -> bool {
    space.hold_expired(false);
    for (db, key) in &watched.keys {
        space.lookup(*db, key, now_ms);
    }
    watched.flag.load(std::sync::atomic::Ordering::Relaxed)
}

/// Fetches what items will look up, if there are several: of the database of the first, which
/// mostly is that of all.
fn prefetch<'a>(space: &Keyspace, items: impl Iterator<Item = (&'a Item, &'a Requests)>) {
    let mut of = None;
    let keys = items.filter_map(|(item, requests)| match item {
        Item::Run { db, request, .. } if *of.get_or_insert(*db) == *db => requests.key(request),
        _ => None,
    });
    let keys: SmallVec<[&[u8]; KEYS_MAX]> = keys.collect();
    if let Some(db) = of.filter(|db| keys.len() > 1 && space.is_worth_prefetch(*db)) {
        space.prefetch(db, keys.into_iter());
    }
}

impl Shard {
    /// Fetches what the jobs at the head of the FIFO will look up, as far as they hold one item
    /// each; gives the number of entries it has dealt with, which is at least one.
    pub(super) fn prefetch_fifo(&self) -> usize {
        let row = self.fifo.iter().take(KEYS_MAX).map_while(|message| match message {
            Message::Job(job) if job.items.len() == 1 => Some(&**job),
            _ => None,
        });
        let row: SmallVec<[&Job; KEYS_MAX]> = row.collect();
        if let Some(space) = &self.space {
            prefetch(space, row.iter().map(|job| (&job.items[0], &job.requests)));
        }
        row.len().max(1)
    }

    /// Executes a job and answers it, at once or when the release point has passed its replies.
    pub(super) fn run_job(&mut self, mut job: Box<Job>) {
        let mut space = self.space.take().expect("the FIFO runs only while the data is home");
        let writes = job.participants >> self.id & 1 == 1;
        if writes {
            let mut lines = Vec::new();
            write_entry_mark(&mut lines, job.entry, job.participants, &[]);
            let at = space.effects.mark(&lines);
            if let Some(log) = &mut self.log {
                log.marked(job.entry, at, space.effects.stream());
            }
        }
        let (mut reply, mut ends) = (take(&mut job.reply), take(&mut job.ends));
        let mut tag = 0;
        let mut served = Vec::new();
        space.looked.begin(self.release());
        let mut around = self.around();
        around.now = job.now;
        around.meter.begin(job.items.len() <= 2);
        for (at, item) in job.items.iter().enumerate() {
            if at % KEYS_MAX == 0 && job.items.len() > 1 {
                let row = job.items[at..].iter().take(KEYS_MAX);
                prefetch(&space, row.map(|item| (item, &job.requests)));
            }
            tag = tag.max(around.run_item(&mut space, &job.requests, item, &mut reply));
            around.serve(Spaces::One(&mut space), &mut served);
            #[cfg(test)]
            crate::shard::sim::probe::ran_item(&job, writes, &space);
            ends.push(reply.checkpoint());
        }
        around.meter.settle(around.stats, around.track);
        self.tell_late(job.to);
        if writes {
            tag = tag.max(space.effects.end());
            space.looked.also();
            self.entry_executed(job.entry, space.effects.end());
        }
        #[cfg(test)]
        crate::shard::sim::probe::ran_job(&space);
        let looked = space.looked.take(tag);
        self.space = Some(space);
        self.tell_served(served);
        job.requests.give_up_shared();
        (job.reply, job.ends) = (reply, ends);
        self.answer_for(tag, looked, job.to.shard, Message::Ran(job));
    }

    /// A writing entry's part is executed; its effects end at `position`.
    pub(super) fn entry_executed(&mut self, entry: u64, position: u64) {
        match &mut self.log {
            Some(log) => {
                log.executed(entry, position);
                // A part without effect behind a raw point that is already there has passed.
                self.move_release();
            }
            None => self.order.pass(self.id, entry),
        }
    }

    /// Sends `message` to `shard` once the release point has passed `tag`.
    pub(super) fn answer(&mut self, tag: u64, shard: usize, message: Message) {
        let mut looked = Looked::default();
        looked.also();
        self.answer_for(tag, looked, shard, message);
    }

    /// [`Shard::answer`] where what is told is known.
    pub(super) fn answer_for(&mut self, tag: u64, looked: Looked, shard: usize, message: Message) {
        if tag <= self.release() {
            self.replies.push((shard, message));
        } else {
            self.held.push((tag, looked, shard, message));
        }
    }
}
