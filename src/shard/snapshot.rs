//! Snapshots (BGSAVE, SAVE): a cut through all keyspaces, handed out by every shard between its
//! requests, and written by a thread.
//!
//! ```text
//! coordinator                          every shard                         the writer
//! asks for all keyspaces        ->     sends its own, pauses
//! begins the cut in each of
//! them: the moment of the snapshot
//! keyspaces go home with the job ->    goes on; at the end of each turn
//!                                      a slice of the walk is encoded; -> writes chunks as
//!                                      whoever finds nothing open says    they come
//!                                      that there is nothing more      -> flushes, renames
//!                                  <-  ------ the outcome ------------ <-
//! ```
//!
//! *One moment.* Nothing executes while the coordinator holds all keyspaces, so the cuts are one
//! cut through all data; from then on each keyspace hands out what it held
//! ([`crate::keyspace::snapshot`]).
//!
//! *Nothing is missing when the file ends.* [`Open`] counts everything that is still to be handed
//! out: the cut of each database, each large value wherever it is, and each shard that has bytes it
//! has not handed over. The count never rises from 0, since only what is counted makes more of it.
//! So whoever counts it down to 0 knows that all bytes are with the writer, and says so.
//!
//! *A large value* is encoded into a buffer of its own that goes where the value goes. One that
//! does not fit into a chunk is written piece by piece, by one shard at a time (`giant`).
//!
//! *Success is told when it is durable, and when the next may begin.* The writer flushes the file,
//! renames it and flushes the directory before it says how it went (`write`); that is kept with the
//! job. A shard sees that the job is over only after that, and takes its part down only when
//! nothing of the cut is left in its keyspace. Whoever takes down the last part tells everybody
//! ([`Saves::finish`](crate::observe::saves::Saves::finish)) and then answers who waits. So `+OK`,
//! a new LASTSAVE and `rdb_bgsave_in_progress:0` all stand for a file that survives a power cut,
//! and for keyspaces without a cut: the next may begin at once, on any shard.

pub(super) mod contents;
mod large;
mod waits;
pub mod writer;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::clock::Time;
use crate::client::Conn;
use crate::keyspace::cut::Open;
use crate::keyspace::{Entry, Keyspace, Recency};
use crate::observe::saves::End;
use crate::persist::rdb::encode::{Encoder, TooNew};
use crate::persist::snapshot::{Chunk, Flow, Target};
use crate::resp::Reply;
use crate::shard::core::Shard;
use crate::shard::global::Global;
use crate::shard::lease::{Lease, Work};
use crate::shard::message::{JobDone, Message, ReplyTo};
use crate::shard::pace::{Grain, Pace, Share, Told, rates};
use crate::shard::requests::all_shards;
use crate::shard::rewrite::{self, Aim};
use contents::{Contents, target};
use waits::Waits;
use writer::Writer;

#[cfg(test)]
mod tests;

/// The time of one turn when a client waits for it (SAVE).
const HURRY: Duration = Duration::from_millis(5);

/// What a snapshot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nobody waits for it.
    Background,
    /// A client waits for it (SAVE).
    Asked,
    /// All data has been removed, and the reply to that waits for it, see [`super::ending`].
    Emptied,
    /// The process ends behind it, see [`super::ending`].
    Last,
    /// It becomes the base of the log, see [`super::rewrite`].
    Rewrite,
}

/// A snapshot under way, as all that take part in it know it.
#[derive(Debug)]
pub struct Job {
    pub(super) flow: Flow,
    open: Arc<AtomicUsize>,
    chunks: Mutex<Sender<Chunk>>,
    version: u32,
    compress: bool,
    purpose: Purpose,
    /// Another takes its place: that it comes to nothing is no failure.
    pub(super) given_up: AtomicBool,
    /// The large value that is being written piece by piece; 0: none.
    giant: AtomicU64,
    /// Shards that have something to clear still.
    parts: AtomicUsize,
    pub(super) over: AtomicBool,
    /// Who is told when nothing of it is left, and what.
    waits: Mutex<Vec<(ReplyTo, Reply)>>,
    /// How it has ended, and how long it took; told when nothing of it is left.
    end: Mutex<Option<(End, Duration)>>,
    told: Told,
    grain: Grain,
}

impl Job {
    /// Counts something that is still to be handed out.
    pub(super) fn open(&self) -> Open {
        Open::new(Arc::clone(&self.open))
    }

    fn send(&self, chunk: Chunk) {
        self.flow.sent(&chunk);
        // When the writer has gone, it has said so.
        drop(self.chunks.lock().unwrap_or_else(PoisonError::into_inner).send(chunk));
    }

    fn fail(&self) {
        self.flow.failed.store(true, Ordering::Release);
        // Wakes the writer.
        self.send(Chunk::Finish);
    }

    pub(super) fn ended(&self, end: End, took: Duration) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some((end, took));
    }

    pub(super) fn has_failed(&self) -> bool {
        self.flow.failed.load(Ordering::Acquire)
    }

    fn is_background(&self) -> bool {
        self.purpose == Purpose::Background
    }

    pub(super) fn is_rewrite(&self) -> bool {
        self.purpose == Purpose::Rewrite
    }

    /// Who waits for it is told whether it has succeeded.
    fn tells(&self) -> bool {
        matches!(self.purpose, Purpose::Asked | Purpose::Last)
    }

    /// Somebody waits for it.
    fn hurries(&self) -> bool {
        !self.is_background() && !self.is_rewrite()
    }

    /// Whether nothing executes behind its moment until it is over.
    pub(super) fn is_last(&self) -> bool {
        self.purpose == Purpose::Last
    }
}

/// What a snapshot that is to be begun needs.
#[derive(Clone, Debug)]
pub struct Plan {
    target: Target,
    version: u32,
    compress: bool,
    purpose: Purpose,
    /// Who is told when it is over.
    waits: Waits,
}

/// A shard's part in a snapshot.
#[derive(Debug)]
pub struct Part {
    job: Arc<Job>,
    encoder: Encoder,
    chunk: Vec<u8>,
    /// The database that the chunk has selected.
    db: Option<usize>,
    /// Counts for what has not been handed over.
    open: Option<Open>,
    /// The writer has enough for now, or somebody else's long value comes first.
    stuck: bool,
    cancelled: bool,
    share: Share,
    pace: Pace,
    time: Time,
    /// `rdb-key-save-delay`
    delay: i32,
}

/// What a shard has to do with snapshots.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// The command that has just run asks for one.
    pub wished: bool,
    /// So much has changed ahead of the walk that writes have to wait for it.
    pub pressed: bool,
    /// The command that has just run ends the process, after a snapshot; what it says when that
    /// fails, and whether it ends even so.
    pub ends: Option<(&'static str, bool)>,
    /// Nothing is executed until the last snapshot is over.
    pub holds_still: bool,
    /// All data has been removed: the file is to tell of that, and these wait for it.
    pub emptied: Option<Vec<ReplyTo>>,
    /// The command that has just run asks for one behind the rewrite under way.
    pub queues: bool,
    /// Clients whose SAVE waits for the end of a rewrite, and whether they speak RESP3.
    queue: VecDeque<(ReplyTo, bool)>,
    part: Option<Part>,
}

impl Snapshots {
    /// Whether a SAVE waits for the end of a rewrite.
    pub fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }
}

/// A chunk is handed over behind the key that makes it full.
fn chunk_buffer(grain: &Grain) -> Vec<u8> {
    Vec::with_capacity(grain.chunk + grain.chunk / 8)
}

impl Part {
    fn hand_over(&mut self, shard: usize) {
        if !self.chunk.is_empty() {
            let next = self.job.flow.buffer().unwrap_or_else(|| chunk_buffer(&self.job.grain));
            let chunk = std::mem::replace(&mut self.chunk, next);
            self.db = None;
            self.job.send(Chunk::Keys { shard, home: shard, bytes: chunk });
        }
    }

    fn add(&mut self, db: usize, entry: &Entry, recency: Recency) -> Result<(), TooNew> {
        if self.db != Some(db) {
            self.encoder.select(&mut self.chunk, db);
            self.db = Some(db);
        }
        self.encoder.set_usage(recency.saved(entry.recency()));
        self.encoder.entry(&mut self.chunk, entry)
    }

    /// Goes on until the budget is used up, there is nothing left to do, or the writer has enough;
    /// false in the second case.
    fn go_on(
        &mut self,
        shard: usize,
        space: &mut Keyspace,
        budget: Duration,
    ) -> Result<bool, String> {
        let (watch, grain) = (self.time.watch(), self.job.grain);
        self.stuck = false;
        loop {
            // A value whose pieces the writer has begun to take comes before all else: until it is
            // over, chunks of keys wait there and count.
            let giant = self.job.giant.load(Ordering::Acquire);
            if giant > 0 && space.put_first(giant) {
                self.large(shard, space)?;
                if self.stuck || watch.elapsed() >= budget {
                    return Ok(true);
                }
                continue;
            }
            self.stuck |= !self.job.flow.takes_keys(shard) || self.pace.rests(self.delay);
            if self.stuck {
                return Ok(true);
            }
            let mut outcome = Ok(());
            let (mut count, recency) = (0, space.recency());
            let slice = match (self.delay, self.job.hurries()) {
                (0, true) => grain.hurry_slice,
                (0, false) => grain.slice,
                _ => 1,
            };
            let done = space.snapshot_slice(slice, &mut |db, entry| {
                count += 1;
                if outcome.is_ok() {
                    outcome = self.add(db, entry, recency);
                }
            });
            self.job.flow.count.fetch_add(count, Ordering::Relaxed);
            self.pace.handed_out(count, self.delay, self.job.flow.keys.len());
            outcome.map_err(|error| error.to_string())?;
            if self.chunk.len() >= grain.chunk {
                self.hand_over(shard);
            }
            // A key that takes its time does so before the end, too.
            let done = done && !self.pace.rests(self.delay);
            if done && !self.large(shard, space)? {
                self.hand_over(shard);
                return Ok(false);
            }
            if watch.elapsed() >= budget {
                return Ok(true);
            }
        }
    }
}

/// The writer is done: says so, and keeps it with the job until nothing of that is left; gives the
/// text of an error for whoever waits.
fn conclude(
    global: &Global,
    job: &Job,
    written: std::io::Result<u64>,
    saved: End,
    took: Duration,
) -> Result<(), String> {
    match written {
        Ok(bytes) => {
            let count = job.flow.count.load(Ordering::Relaxed);
            let seconds = took.as_secs_f64();
            let rates = rates(count, bytes, seconds);
            global.notice(&format!(
                "DB saved on disk: {count} keys, {bytes} bytes, {seconds:.3} seconds, {rates}"
            ));
            job.ended(saved, took);
            Ok(())
        }
        Err(_) if global.registry.saves.progress.is_cancelled() => {
            global.notice("Background saving cancelled: the old file stays");
            job.ended(End::Untold, took);
            Err("ERR Saving cancelled".to_owned())
        }
        Err(_) if job.given_up.load(Ordering::Acquire) => {
            global.notice("Background saving given up: another snapshot takes its place");
            job.ended(End::Untold, took);
            Err("ERR".to_owned())
        }
        // Of what failed for somebody who asked, they are told; the rest counts.
        Err(error) if job.tells() => {
            global.warn(&format!("Error saving DB on disk: {error}"));
            job.ended(End::Untold, took);
            Err("ERR".to_owned())
        }
        Err(error) => {
            global.warn(&format!("Background saving error: {error}"));
            job.ended(End::Failed, took);
            Err("ERR".to_owned())
        }
    }
}

impl Shard {
    /// Begins a snapshot of which nobody is told.
    pub(super) fn start_snapshot(&mut self) {
        let to = self.nobody();
        self.ask_for_snapshot(to, Purpose::Background, Waits::Nobody);
    }

    /// Begins the one behind the removal of all data.
    pub(super) fn start_emptied_snapshot(&mut self, waits: Vec<ReplyTo>) {
        let to = self.nobody();
        self.ask_for_snapshot(to, Purpose::Emptied, Waits::Emptied(waits));
    }

    /// Begins the one behind which the process ends.
    pub(super) fn start_last_snapshot(&mut self) {
        let to = self.nobody();
        self.ask_for_snapshot(to, Purpose::Last, Waits::Nobody);
    }

    pub(super) fn nobody(&mut self) -> ReplyTo {
        let conn = crate::client::ConnKey { index: u32::MAX, generation: u32::MAX };
        ReplyTo { shard: self.id, conn, batch: self.name(), part: 0, words: 0 }
    }

    /// Begins a snapshot whose outcome is the reply of the command that has just run on `conn`.
    pub(super) fn tell_when_saved(&mut self, conn: &mut Conn) {
        self.snapshot.wished = false;
        let to = self.stand_in_for_one(conn);
        if std::mem::take(&mut self.snapshot.queues) {
            return self.snapshot.queue.push_back((to, conn.session.resp3));
        }
        let nobody = self.nobody();
        let waits = Waits::Saver(to, conn.session.resp3);
        self.ask_for_snapshot(nobody, Purpose::Asked, waits);
    }

    /// Begins the SAVE that has waited longest for the end of a rewrite, once it can.
    pub(super) fn start_queued_save(&mut self) {
        if self.stopping {
            // Other shards may have ended, and would never send their keyspaces.
            self.snapshot.queue.clear();
        }
        if self.snapshot.has_queue()
            && self.begin_saving()
            && let Some((to, resp3)) = self.snapshot.queue.pop_front()
        {
            self.global.registry.saves.count_it();
            let nobody = self.nobody();
            self.ask_for_snapshot(nobody, Purpose::Asked, Waits::Saver(to, resp3));
        }
    }

    /// Begins a rewrite, which has the right to walk and to cut.
    pub(super) fn ask_for_rewrite(&mut self) {
        let to = self.nobody();
        self.ask_for_snapshot(to, Purpose::Rewrite, Waits::Nobody);
    }

    fn ask_for_snapshot(&mut self, to: ReplyTo, purpose: Purpose, waits: Waits) {
        let config = &self.config;
        let target = match purpose {
            Purpose::Rewrite => rewrite::target(config),
            _ => target(config),
        };
        let (version, compress) = (config.rdb.version, config.rdb.compress);
        let plan = Plan { target, version, compress, purpose, waits };
        let work = Work { snapshot: Some(plan), ..Work::default() };
        self.ask_for_keyspaces(all_shards(self.shards()), to, work);
    }

    /// Every keyspace is here: this is the moment.
    pub(super) fn begin_snapshot(&mut self, entry: u64, mut lease: Lease) {
        let plan = lease.work.snapshot.take().expect("this lease is for a snapshot");
        let spaces = lease.spaces.iter().flatten().map(|space| &**space);
        let contents = Contents::of(spaces, plan.version);
        let (sender, chunks) = channel();
        let count = Arc::new(AtomicUsize::new(0));
        let job = Arc::new(Job {
            flow: Flow::new(self.shards()),
            open: Arc::clone(&count),
            chunks: Mutex::new(sender),
            version: contents.version,
            compress: plan.compress,
            purpose: plan.purpose,
            given_up: AtomicBool::new(false),
            giant: AtomicU64::new(0),
            parts: AtomicUsize::new(self.shards()),
            over: AtomicBool::new(false),
            waits: Mutex::default(),
            end: Mutex::new(None),
            told: Told::new(self.global.time()),
            grain: self.global.grain,
        });
        #[cfg(test)]
        crate::shard::sim::probe::moment(&job, &lease.spaces);
        lease.job = Some(Arc::clone(&job));
        let open = Open::new(count);
        for space in lease.spaces.iter_mut().flatten() {
            space.begin_snapshot(&open);
        }
        self.global.registry.saves.progress.set_total(contents.keys());
        let cut = job.is_rewrite().then(|| self.lead_walk(&mut lease.spaces)).flatten();
        if job.is_rewrite() && cut.is_none() {
            self.global.end_cut();
        }
        let first = cut.as_ref().map(|(_, first, _)| *first);
        let opens = cut.as_ref().is_some_and(|(.., opens)| *opens);
        let plain = !self.config.rewrite.rdb && !contents.has_functions();
        if job.is_rewrite() && !self.config.rewrite.rdb && !plain {
            // A log of commands with FUNCTION in it is none that we load.
            self.global.warn("There are libraries of functions: the base is an RDB file");
        }
        let aim = job.is_rewrite().then_some(Aim { first, plain, opens });
        self.write_snapshot(plan, aim, &job, chunks, &contents);
        self.send_home(entry, lease, false, cut.map(|(files, ..)| files), &[]);
        // Not before every part has one that counts for it.
        drop(open);
    }

    /// Starts the writer.
    fn write_snapshot(
        &mut self,
        plan: Plan,
        aim: Option<Aim>,
        job: &Arc<Job>,
        chunks: Receiver<Chunk>,
        contents: &Contents,
    ) {
        let mut encoder = Encoder::new(job.version, job.compress);
        let seconds = self.now.unix_ms().div_euclid(1000);
        let header = contents.header(&mut encoder, &self.global, seconds, aim.is_some());
        let waits = plan.waits.clone();
        let made = (header, chunks);
        let writer = Writer::new(plan, aim, made, Arc::clone(job), contents.dirty, self);
        if let Err(error) = self.global.start_writer(writer) {
            drop(conclude(&self.global, job, Err(error), End::Failed, Duration::ZERO));
            let told = waits.told(&Err("ERR".to_owned()));
            *job.waits.lock().unwrap_or_else(PoisonError::into_inner) = told;
            job.flow.failed.store(true, Ordering::Release);
            job.over.store(true, Ordering::Release);
        }
    }

    /// The keyspace is home from the moment of a snapshot.
    pub(super) fn begin_part(&mut self, job: Arc<Job>, open: Open) {
        let encoder = Encoder::new(job.version, job.compress);
        let part = Part {
            chunk: chunk_buffer(&job.grain),
            job,
            encoder,
            db: None,
            open: Some(open),
            stuck: false,
            cancelled: false,
            share: Share::new(self.global.time()),
            pace: Pace::new(self.global.time()),
            time: self.global.time().clone(),
            delay: 0,
        };
        if self.stopping {
            part.job.fail();
        }
        assert!(self.snapshot.part.replace(part).is_none(), "one snapshot at a time");
    }

    /// Gives the one in the background up, as another is to take its place.
    pub(super) fn replace_snapshot(&self) {
        self.give_up_for_another(|job| job.is_background());
    }

    /// The same where the last is to come: a rewrite gives way, too.
    pub(super) fn replace_by_last(&self) {
        self.give_up_for_another(|job| !job.hurries());
    }

    /// The log begins anew: a rewrite under way is of no use any more.
    pub(super) fn supersede_rewrite(&self) {
        self.give_up_for_another(Job::is_rewrite);
    }

    /// The cut of the rewrite under way has come to nothing.
    pub(super) fn fail_rewrite(&self, error: &str) {
        self.global.warn(&format!("The log cannot go over to new files for a rewrite: {error}"));
        if let Some(part) = self.snapshot.part.as_ref().filter(|part| part.job.is_rewrite()) {
            part.job.fail();
        }
    }

    fn give_up_for_another(&self, gives_way: impl Fn(&Job) -> bool) {
        let part = self.snapshot.part.as_ref().filter(|part| gives_way(&part.job));
        if let Some(Part { job, .. }) = part
            && !job.over.load(Ordering::Acquire)
            && !job.given_up.swap(true, Ordering::AcqRel)
        {
            job.fail();
        }
    }

    /// Hands out a slice of the snapshot under way.
    pub fn snapshot_turn(&mut self) {
        let Some(mut part) = self.snapshot.part.take() else { return };
        if self.global.registry.saves.progress.is_cancelled() && !part.job.has_failed() {
            part.job.fail();
        }
        let Some(space) = self.space.as_deref_mut() else {
            self.snapshot.part = Some(part);
            return;
        };
        let job = Arc::clone(&part.job);
        if job.has_failed() {
            if !part.cancelled {
                part.cancelled = true;
                space.cancel_snapshot();
                self.snapshot.pressed = false;
            }
            let cleared = space.snapshot_slice(8 * job.grain.slice, &mut |_, _| {});
            self.stats().snapshot_kept.set(0);
            part.open = None;
            // Nobody waits for what nobody wants, though the writer may still wait for a disk.
            self.note_pressure();
            if cleared && job.over.load(Ordering::Acquire) {
                return self.end_part(&job);
            }
            self.snapshot.part = Some(part);
            return;
        }
        if job.over.load(Ordering::Acquire) {
            assert!(space.is_snapshot_over(), "the file has ended, so nothing is open");
            return self.end_part(&job);
        }
        if part.open.is_none() && space.next_large().is_some() {
            // It has come from another shard, and counts by itself.
            part.open = Some(Open::new(Arc::clone(&job.open)));
        }
        let commands = self.stats().executions();
        let budget = match job.hurries() {
            true => Some(HURRY),
            false => part.share.turn(commands, self.snapshot.pressed),
        };
        if part.open.is_some()
            && let Some(budget) = budget
            && let Some(space) = self.space.as_deref_mut()
        {
            let id = self.id;
            // Nobody is kept waiting for a delay that only tests ask for.
            part.delay = if self.snapshot.pressed { 0 } else { self.config.rdb.key_save_delay };
            match part.go_on(id, space, budget) {
                Ok(true) => {}
                Ok(false) => {
                    if part.open.take().is_some_and(Open::release) {
                        job.send(Chunk::Finish);
                    }
                }
                Err(text) => {
                    self.global.warn(&format!("A snapshot is given up: {text}"));
                    job.fail();
                }
            }
            part.share.rest();
        }
        let kept = self.space.as_deref_mut().map_or(0, Keyspace::snapshot_memory);
        let max = self.kept_max();
        self.snapshot.pressed = kept > if self.snapshot.pressed { max / 2 } else { max };
        self.note_pressure();
        self.note_progress(&job, kept);
        self.snapshot.part = Some(part);
    }

    /// Bytes of copies of what has changed ahead of the walk from which on writes wait for it: this
    /// shard's share of `snapshot-buffer-limit`.
    fn kept_max(&self) -> usize {
        let max = usize::try_from(self.config.snapshot_buffer_limit).unwrap_or(usize::MAX);
        max / self.shards()
    }

    /// Whether this turn's own writes have brought the copies of a database to their limit, before
    /// its end has told everybody.
    pub(super) fn keeps_too_much(&mut self, db: usize) -> bool {
        let max = self.kept_max();
        let space = self.snapshot.part.as_ref().and(self.space.as_deref_mut());
        space.is_some_and(|space| space.snapshot_memory_of(db) > max)
    }

    /// Tells how far it has come.
    fn note_progress(&self, job: &Job, kept: usize) {
        self.stats().snapshot_kept.set(kept as u64);
        let registry = &self.global.registry;
        let keys = job.flow.count.load(Ordering::Relaxed);
        registry.saves.progress.note(keys, registry.snapshot_kept());
        if let Some(took) = job.told.due() {
            let total = registry.saves.progress.keys().1;
            let bytes = job.flow.bytes.load(Ordering::Relaxed);
            let rates = rates(keys, bytes, took.as_secs_f64());
            let what = if job.is_rewrite() { "Rewriting" } else { "Saving" };
            self.global.notice(&format!("{what}: {keys} of {total} keys, {bytes} bytes, {rates}"));
        }
    }

    /// The process stops: what is under way is given up, as Redis does.
    pub(super) fn give_up_snapshot(&self) {
        if let Some(part) = &self.snapshot.part {
            part.job.given_up.fetch_or(part.job.is_rewrite(), Ordering::AcqRel);
            part.job.fail();
        }
    }

    fn end_part(&mut self, job: &Job) {
        self.snapshot.pressed = false;
        self.note_pressure();
        self.stats().snapshot_kept.set(0);
        let last_part = job.parts.fetch_sub(1, Ordering::AcqRel) == 1;
        if job.is_last() {
            self.last_snapshot_over(!job.has_failed(), last_part);
        }
        if last_part {
            let end = job.end.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (end, took) = end.unwrap_or((End::Failed, Duration::ZERO));
            let registry = &self.global.registry;
            if job.is_rewrite() {
                let kept = registry.saves.progress.kept_peak();
                let told = || registry.rewrites.end(rewrite::verdict(end), took, kept);
                registry.saves.end_rewrite(told);
                if registry.backups.walk_is_over(rewrite::verdict(end)) {
                    registry.rewrites.schedule(true);
                }
                self.walk_is_over();
            } else {
                #[cfg(test)]
                crate::shard::sim::probe::saved(end);
                registry.saves.finish(end, job.is_background().then_some(took));
            }
            self.global.weigh_trouble();
            // Not before the next one may begin.
            let mut waits = job.waits.lock().unwrap_or_else(PoisonError::into_inner);
            for (to, reply) in waits.drain(..) {
                self.replies.push((to.shard, Message::Done(JobDone::alone(to, reply))));
            }
        }
    }

    /// Whether the next turn has something to hand out.
    pub(super) fn has_snapshot_work(&self) -> bool {
        self.space.is_some()
            && self.snapshot.part.as_ref().is_some_and(|part| {
                part.job.has_failed()
                    || part.open.is_some() && !part.stuck && !part.share.waits()
                    || part.job.over.load(Ordering::Acquire)
            })
    }

    /// Whether nothing will be handed out here any more of a snapshot that has begun: another shard
    /// may not have heard of that yet, and send large values of it here.
    pub(super) fn wants_no_large(&self) -> bool {
        self.snapshot.part.as_ref().is_none_or(|part| part.cancelled)
    }

    /// Whether a snapshot is under way here.
    pub(super) fn has_snapshot(&self) -> bool {
        self.snapshot.part.is_some()
    }
}
