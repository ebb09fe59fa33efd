//! Turning the log on and off while the server runs (CONFIG SET appendonly).
//!
//! ```text
//!  Off      yes: a thread has seen that it can be          -> Waiting
//!  Waiting  the base is durable: one manifest names it
//!           and all files                                  -> On
//!           FLUSHALL: no base is needed                    -> Emptied
//!           no, or a failure: the new files go             -> Off
//!  Emptied  the manifest of that FLUSHALL is durable       -> On
//!  On       no: last frames, flush, the manifest names
//!           the ends                                       -> Off
//! ```
//!
//! # Yes
//!
//! It is a rewrite ([`super::rewrite`]) whose cut has no old files: at the moment at which the walk
//! into the base begins, every shard gets a log over a new file, and effects are kept from there
//! on. Base and files are the data. No manifest on disk names either before the base is durable:
//! then one rename names all ([`crate::persist::turning`], where it stands what a start finds
//! behind a crash in between). Cuts meanwhile change the manifest in memory, and what is renamed is
//! that. A FLUSHALL that leaves nothing makes the base useless, and the log complete at once: its
//! manifest is written, and lists the log.
//!
//! *Replies* wait for release points from the first moment on, as ever, so nothing changes for them
//! when the log is listed: all that was acknowledged in front of that has been written, or flushed,
//! as the policy says, and becomes permanent with the rename. But until then it is not, whatever
//! the policy: that a client was answered says nothing of a crash while
//! `aof_rewrite_in_progress` is 1 behind CONFIG SET. CONFIG SET itself answers, as in Redis, when
//! the rewrite has begun or is scheduled; WAITAOF waits for the end of it.
//!
//! *A failure*, at once or later (the disk is full, a file cannot be made), leaves `appendonly no`:
//! the directive is set back, the operator is told, and the new files are removed. Redis goes on
//! trying, and says yes meanwhile; here `yes` never stands for a log that will not be.
//!
//! # No
//!
//! A cut that makes no files. From its moment on effects are dropped; what is in front of it is
//! framed and flushed, under every policy, and the manifest names the ends as at a clean stop. Then
//! the shards let go of their logs. Replies in front of the moment leave with the last flush, those
//! behind it have nothing to wait for. CONFIG SET answers when all that is done, and nothing is
//! left of a rewrite that was under way: as in Redis, which kills its child first.
//!
//! *When the log cannot be written*, it ends as it stands, unsealed, as behind a crash, and replies
//! that still wait for it leave then: whoever reads one cannot tell whether its write came in front
//! of `no` or behind, and of the latter nothing is promised. A log that waits for its base ends
//! like this as well, and its files go.
//!
//! # Order
//!
//! Both claim the right to cut in front of their moment and keep it until their shards have the new
//! state, so whoever holds that right sees one state on all shards. Positions go on over a time
//! without a log, and above those of an older log in the directory.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::Conn;
use crate::config::Config;
use crate::config::files;
use crate::keyspace::Keyspace;
use crate::persist::aof::manifest::{Manifest, shard_file_name};
use crate::persist::disk::{Disk, DiskDone, DiskOp, FileId};
use crate::persist::turning::{Prepared, check, prepare, settle};
use crate::resp::Reply;
use crate::shard::backup::end_backup;
use crate::shard::core::Shard;
use crate::shard::cut::LeadStep;
use crate::shard::face::policy;
use crate::shard::global::Global;
use crate::shard::lease::{Lease, Work};
use crate::shard::log::kept::Ending;
use crate::shard::log::{LogFile, LogWriter, token};
use crate::shard::message::{CutFile, CutStep, JobDone, Message, ReplyTo, Turn};
use crate::shard::requests::all_shards;
use crate::shard::segment::not_shortened;

/// What CONFIG SET appendonly yes says where the log cannot begin.
const UNABLE: &str = "ERR CONFIG SET failed (possibly related to argument 'appendonly') - Unable \
to turn on AOF. Check server logs.";
/// Why a backup has failed whose log was turned off.
const STOPPED: &str = "appendonly is stopped";
/// The file of a log that has none yet.
const NO_FILE: FileId = FileId(u32::MAX);

/// Where the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Logging {
    /// There is none.
    Off,
    /// Shards write one, and no manifest on disk names it.
    Waiting,
    /// The same, and a cut that leaves nothing is about to list it.
    Emptied,
    /// It is what a start loads.
    On,
}

/// The log's state, as the process knows it.
#[derive(Debug)]
pub struct Turning {
    state: AtomicU8,
    /// The manifest as it stands on disk, while the log waits for its base.
    before: Mutex<Manifest>,
    /// The log directory.
    dir: Mutex<PathBuf>,
    /// A manifest has got its name, and the directory could not be flushed: behind a loss of power
    /// it may be the one before it again, whatever is flushed later. Until another one has its name
    /// for good, nothing goes that either may name.
    unsure: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The log directory under `config`.
pub fn log_dir(config: &Config) -> PathBuf {
    config.dir.join(&config.appenddirname)
}

impl Turning {
    /// No log; where one would be under `config`.
    pub fn new(config: &Config) -> Turning {
        Turning {
            state: AtomicU8::new(Logging::Off as u8),
            before: Mutex::default(),
            dir: Mutex::new(log_dir(config)),
            unsure: AtomicBool::new(false),
        }
    }

    /// A manifest has got its name, for good or not.
    pub fn named(&self, durable: bool) {
        self.unsure.store(!durable, Ordering::SeqCst);
    }

    /// Where the log stands.
    pub fn state(&self) -> Logging {
        match self.state.load(Ordering::SeqCst) {
            1 => Logging::Waiting,
            2 => Logging::Emptied,
            3 => Logging::On,
            _ => Logging::Off,
        }
    }

    /// Whether the log is what a start loads.
    pub fn is_on(&self) -> bool {
        self.state() == Logging::On
    }

    /// Whether shards write a log that no manifest on disk names.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state(), Logging::Waiting | Logging::Emptied)
    }

    pub(super) fn set(&self, state: Logging) {
        self.state.store(state as u8, Ordering::SeqCst);
    }

    /// A shard has begun with a log.
    pub fn started(&self) {
        self.set(Logging::On);
    }

    /// A cut that leaves nothing is under way: a log that waits for its base needs none.
    pub fn no_base_needed(&self) {
        let (from, to) = (Logging::Waiting as u8, Logging::Emptied as u8);
        // In any other state there is nothing to change.
        let _ = self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// A cut's manifest is durable; whether the log is on only since then.
    pub fn is_listed(&self) -> bool {
        let (from, to) = (Logging::Emptied as u8, Logging::On as u8);
        self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Where the log is.
    pub fn dir(&self) -> PathBuf {
        lock(&self.dir).clone()
    }
}

/// What a shard has to do with it.
#[derive(Debug, Default)]
pub struct Turns {
    /// The command that has just run ends the log.
    pub wished: bool,
    /// Who waits for the log to end, and whether they speak RESP3.
    closers: VecDeque<(ReplyTo, bool)>,
    /// What was found where it is to begin.
    prepared: Option<Box<Prepared>>,
    /// A log that has ended, and is to be closed.
    ended: Option<LogWriter>,
    /// Files of logs that have ended which are being cut: what completes counts for these first, so
    /// a log that has begun since then counts its own as done when all are.
    shortening: u32,
}

/// What CONFIG SET is to change, where that turns the log on.
pub(super) struct Wanted {
    pub pairs: Vec<(Vec<u8>, Vec<u8>)>,
    pub local: bool,
}

/// Sees whether the log can begin, and sets the directives. For a thread that may wait.
pub(super) fn set_on(global: &Global, wanted: &Wanted) -> Result<(), String> {
    let pairs: Vec<(&[u8], &[u8])> =
        wanted.pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    let before = global.config();
    let next = before.changed_in(&pairs, wanted.local, &files::enter)?;
    let checked = (global.open_dir)(&log_dir(&next), true)
        .and_then(|volume| check(&*volume, global.append_filename()));
    if let Err(error) = checked {
        global.warn(&format!("Can't turn on the AOF in {}: {error}", log_dir(&next).display()));
        return Err(UNABLE.to_owned());
    }
    // Whoever looks finds that it is coming.
    global.registry.rewrites.schedule(true);
    let changed = global.change_dir(&wanted.pairs, wanted.local);
    if changed.is_err() {
        global.registry.rewrites.unschedule();
    }
    changed
}

/// Makes the directory ready, for whoever has the right to cut. For a thread that may wait.
fn make_ready(global: &Global, dir: &Path) -> Result<Box<Prepared>, String> {
    let prepared = (global.open_dir)(dir, true)
        .and_then(|volume| prepare(&*volume, global.append_filename(), !global.is_unsure()))
        .inspect(|_| global.watch_room(dir))
        .map_err(|error| format!("{}: {error}", dir.display()))?;
    *lock(&global.turning.dir) = dir.to_owned();
    Ok(Box::new(prepared))
}

/// The manifest that names the log is in force, durably or not: the rest goes. The caller has the
/// right to cut.
pub(super) fn listed(global: &Global, durable: bool) {
    let manifest = global.manifest().clone();
    if !durable {
        // It may be what a start finds, so its files stay, whatever becomes of this log.
        *lock(&global.turning.before) = manifest;
        return;
    }
    global.turning.set(Logging::On);
    clear(global, &manifest);
}

fn clear(global: &Global, manifest: &Manifest) {
    if global.is_unsure() {
        return global
            .warn("Files of the log stay that the manifest does not name: it may be lost");
    }
    let settled = (global.open_dir)(&global.turning.dir(), false)
        .and_then(|volume| settle(&*volume, global.append_filename(), manifest));
    if let Err(error) = settled {
        global.warn(&format!("Files that no manifest names stay for now: {error}"));
    }
}

impl Global {
    fn is_unsure(&self) -> bool {
        self.turning.unsure.load(Ordering::SeqCst)
    }

    /// Whether the process may not end, since its data may be nowhere but in the base that a log
    /// waits for; it may if it is `forced`. Says which it is.
    pub fn may_not_end(&self, forced: bool) -> bool {
        // Or it is about to wait for one.
        let begins = || self.config().appendonly && self.registry.rewrites.in_progress();
        let state = self.turning.state();
        let waits = self.turning.is_waiting() || state == Logging::Off && begins();
        if waits && forced {
            self.warn("Writing initial AOF. Exit anyway.");
        } else if waits {
            self.warn("Writing initial AOF, can't exit.");
        }
        waits && !forced
    }
}

/// The process ends: removes what a log has made that still waits for its base. Nobody changes the
/// manifest any more.
pub fn forsake(global: &Global) {
    if global.turning.is_waiting() {
        let before = lock(&global.turning.before).clone();
        clear(global, &before);
    }
}

impl Shard {
    // ---- yes ----

    /// `appendonly` has been set to `yes`.
    pub(super) fn turn_on(&mut self) {
        self.refresh_settings();
        let registry = &self.global.registry;
        if !self.config.appendonly || self.global.turning.state() != Logging::Off {
            // Somebody has thought otherwise meanwhile.
            return;
        }
        registry.rewrites.schedule(true);
        if registry.saves.in_progress() {
            self.global.notice(
                "AOF was enabled but there is already another background operation. An AOF \
                 background was scheduled to start when possible.",
            );
        } else if registry.saves.is_rewriting() {
            self.global.notice(
                "AOF was enabled but there is already an AOF rewriting in background. Stopping \
                 background AOF and starting a rewrite now.",
            );
            self.supersede_rewrite();
        } else {
            self.begin_rewrite();
        }
    }

    /// Whether a rewrite that begins now is to begin a log.
    pub(super) fn is_to_turn_on(&self) -> bool {
        self.global.config().appendonly && self.global.turning.state() == Logging::Off
    }

    /// Has the directory made ready; this shard has the rights to walk and to cut.
    pub(super) fn prepare_log(&mut self) {
        let (global, order) = (Arc::clone(&self.global), Arc::clone(&self.order));
        let (id, dir) = (self.id, log_dir(&self.global.config()));
        self.global.run_errand(Box::new(move || {
            order.push(id, Message::LogPrepared(make_ready(&global, &dir)));
        }));
    }

    /// The directory is ready, or not.
    pub(super) fn log_prepared(&mut self, prepared: Result<Box<Prepared>, String>) {
        match prepared {
            Ok(prepared) if self.is_to_turn_on() && !self.stopping => {
                self.turns.prepared = Some(prepared);
                self.ask_for_rewrite();
            }
            prepared => {
                let failed = prepared.as_ref().err();
                if let Some(error) = failed {
                    self.global.warn(&format!("Can't turn on the AOF: {error}"));
                }
                let registry = &self.global.registry;
                let verdict = failed.map(|_| false);
                let told = || registry.rewrites.end(verdict, Default::default(), 0);
                registry.saves.end_rewrite(told);
                registry.backups.walk_is_over(verdict);
                let failed = failed.is_some();
                if let Ok(prepared) = prepared {
                    // Nobody makes it ready again before the right to cut is back.
                    self.global.forget_room();
                    let global = Arc::clone(&self.global);
                    self.global.run_errand(Box::new(move || {
                        clear(&global, &prepared.before);
                        global.end_cut();
                    }));
                } else {
                    self.global.end_cut();
                }
                if failed {
                    self.turn_back();
                }
            }
        }
    }

    /// The moment of a rewrite: what becomes of the log there. Gives the number of the first new
    /// file, and whether the log begins with it.
    pub(super) fn lead_walk(
        &mut self,
        spaces: &mut [Option<Box<Keyspace>>],
    ) -> Option<(Vec<CutFile>, i64, bool)> {
        let Some(prepared) = self.turns.prepared.take() else {
            return self.log.is_some().then(|| {
                // One that has lost its base, and is about to end, may get another one first.
                let waits = self.global.turning.state() == Logging::Waiting;
                let (files, first) = self.lead_rewrite();
                (files, first, waits)
            });
        };
        let Prepared { before, retired, floor } = *prepared;
        *lock(&self.global.turning.before) = before.clone();
        self.global.set_manifest(before);
        self.global.turning.set(Logging::Waiting);
        self.global.registry.log_base_size.store(0, Ordering::Relaxed);
        let (name, first) = (self.global.append_filename().to_owned(), retired.next_seq());
        #[cfg(test)]
        crate::shard::sim::probe::log_begins();
        let mut files = self.lead_to(first, Vec::new(), false, true);
        let dir: Arc<Path> = self.global.turning.dir().into();
        for (file, space) in files.iter_mut().zip(spaces.iter().flatten()) {
            let start = space.effects.end().max(floor);
            debug_assert!(
                file.name == shard_file_name(&name, first + space.shard as i64, space.shard)
            );
            file.turn = Turn::Begins { start, dir: Arc::clone(&dir) };
            // A mark may name no point that is not one of its log. None would without this: every
            // shard without a log has the same point, and notes it when its log begins; from then
            // on it names those that have moved, and what moves one is its own new log. That is
            // written when all shards have begun theirs (the cut waits for them), so none has moved
            // before everybody has noted it. But what nobody reads is no place for a false point.
            self.order.set_released(space.shard, start);
        }
        let lead = self.cut_lead.as_mut().expect("it has just begun");
        lead.begins = Some(retired);
        Some((files, first, true))
    }

    /// The keyspace is home, and the log begins at `start`; nothing is written before its file is
    /// there.
    pub(super) fn begin_log(&mut self, space: &mut Keyspace, start: u64, seed: u64) -> u64 {
        assert!(self.log.is_none(), "there is no log where one begins");
        space.effects.set_log(Some(start));
        let file = LogFile { id: NO_FILE, seed, sum: seed, offset: 0 };
        let flush = policy(self.config.appendfsync);
        let log = LogWriter::new(flush, file, start, self.now.mono_us);
        let mut log = log.counting_from(space.effects.stream());
        log.set_segment(self.global.writes_ahead(&self.config));
        log.set_reserving(self.global.takes_room());
        log.begin_cut(space.effects.stream());
        self.log = Some(log);
        self.preface_seen.clear();
        self.seen = (0..self.order.shards()).map(|s| self.order.released(s)).collect();
        start
    }

    /// A rewrite is over, and nothing of it is left: if a log waits for its base still, it waits in
    /// vain.
    pub(super) fn walk_is_over(&mut self) {
        if self.global.turning.state() == Logging::Waiting && !self.stopping {
            self.turn_back();
            // Who turns it off has it end already.
            if self.turns.closers.is_empty() {
                let nobody = self.nobody();
                self.turns.closers.push_back((nobody, false));
            }
        }
    }

    /// Nothing comes of `yes`.
    fn turn_back(&mut self) {
        if !self.global.config().appendonly {
            return;
        }
        self.global.warn(
            "Redis needs to enable the AOF but can't trigger a background AOF rewrite operation. \
             Check the above logs for more info about the error. appendonly is no again.",
        );
        let pairs: [(&[u8], &[u8]); 1] = [(b"appendonly", b"no")];
        if let Err(error) = self.global.change_config(&pairs, true) {
            self.global.warn(&error);
        }
        self.global.registry.rewrites.unschedule();
        self.refresh_settings();
    }

    // ---- no ----

    /// `appendonly` has been set to `no` by the command that has just run on `conn`, which is
    /// answered when the log has ended.
    pub(super) fn tell_when_ended(&mut self, conn: &mut Conn) {
        let to = self.stand_in_for_one(conn);
        self.turn_off(to, conn.session.resp3);
    }

    /// The same in a transaction, whose replies are one: it is not waited for.
    pub(super) fn turn_off_aside(&mut self) {
        let nobody = self.nobody();
        self.turn_off(nobody, false);
    }

    fn turn_off(&mut self, to: ReplyTo, resp3: bool) {
        self.turns.wished = false;
        self.turns.closers.push_back((to, resp3));
        self.global.registry.rewrites.unschedule();
    }

    /// Whether a log waits for its turn to be ended here.
    pub(super) fn has_log_to_end(&self) -> bool {
        !self.turns.closers.is_empty()
    }

    /// Asks for the keyspaces once no other cut is under way; answers who has nothing to wait for
    /// any more.
    pub(super) fn try_end_log(&mut self) {
        if !self.has_log_to_end() {
            return;
        }
        let off = self.global.turning.state() == Logging::Off;
        if off && (self.global.cut_busy() || self.rewrites_in_vain()) && !self.stopping {
            // Its last files are on their way out.
            return;
        }
        if off || self.stopping || self.is_wanted_again() {
            // Off; about to be sealed by the stop; or on again, as somebody else wished.
            for (to, resp3) in std::mem::take(&mut self.turns.closers) {
                let mut reply = Reply::new(resp3);
                reply.ok();
                self.replies.push((to.shard, Message::Done(JobDone::alone(to, reply))));
            }
        } else if self.global.claim_cut() {
            let nobody = self.nobody();
            let work = Work { ends_log: true, ..Work::default() };
            self.ask_for_keyspaces(all_shards(self.shards()), nobody, work);
        }
    }

    /// Whether something is left of a rewrite for a log, where there is none: whoever is told of
    /// its end may begin another walk at once.
    fn rewrites_in_vain(&self) -> bool {
        let registry = &self.global.registry;
        registry.saves.is_rewriting() && registry.rewrites.is_of_log()
    }

    /// Whether a log that was to end goes on, since somebody else wishes it. One without files
    /// does not, whoever wishes what: it ends, and another one begins.
    fn is_wanted_again(&self) -> bool {
        self.global.config().appendonly && !self.global.is_in_vain()
    }

    /// Every keyspace is here: this is the moment.
    pub(super) fn begin_end(&mut self, entry: u64, lease: Lease) {
        let off = self.global.turning.state() == Logging::Off;
        if off || self.is_wanted_again() {
            self.global.end_cut();
            return self.send_home(entry, lease, false, None, &[]);
        }
        self.supersede_rewrite();
        end_backup(&self.global, STOPPED);
        #[cfg(test)]
        crate::shard::sim::probe::log_ends(&lease.spaces);
        let mut files = self.lead_to(0, Vec::new(), false, true);
        files.iter_mut().for_each(|file| file.turn = Turn::Ends);
        let lead = self.cut_lead.as_mut().expect("it has just begun");
        lead.closes = true;
        self.send_home(entry, lease, false, Some(files), &[]);
    }

    /// The keyspace is home, and nothing is logged from here on.
    pub(super) fn end_log(&mut self, space: &mut Keyspace) -> u64 {
        space.effects.set_log(None);
        let log = self.log.as_mut().expect("a log that ends is there");
        if self.global.turning.is_waiting() {
            // Its files go; and it may have none, if they could not be made.
            log.stop();
        } else {
            log.begin_cut(space.effects.stream());
        }
        space.effects.end()
    }

    /// Drives this shard's part in the end.
    pub(super) fn end_progress(&mut self, disk: &mut impl Disk) {
        let waiting = self.global.turning.is_waiting();
        let (Some(part), Some(log)) = (&mut self.cut, &mut self.log) else { return };
        if part.told {
            return;
        }
        if waiting || log.is_failing() {
            if log.is_still() && (!part.sync_sent || part.synced) {
                log.stop();
                part.told = true;
                let unsealed = Message::Cut(CutStep::Unsealed { shard: self.id });
                self.order.push(part.file.coordinator, unsealed);
            }
            return;
        }
        if !part.sync_sent && log.hold(disk, self.now.mono_us) && log.is_drained() {
            part.sync_sent = true;
            part.synced = log.durable() == log.appended();
            if !part.synced {
                disk.submit(token::CUT_SYNC, DiskOp::Sync { file: log.file().id });
            }
        }
        if part.synced {
            part.told = true;
            let ending = Ending { len: 0, ..log.ending(self.id) };
            let ready = Message::Cut(CutStep::Ready { shard: self.id, ending });
            self.order.push(part.file.coordinator, ready);
        }
    }

    /// The last flush has failed: what it was for may not be on the medium.
    pub(super) fn end_unsealed(&mut self, error: &std::io::Error) {
        self.global.warn(&format!("Fail to fsync the AOF file: {error}"));
        let (Some(part), Some(log)) = (&mut self.cut, &mut self.log) else { return };
        log.stop();
        part.told = true;
        let unsealed = Message::Cut(CutStep::Unsealed { shard: self.id });
        self.order.push(part.file.coordinator, unsealed);
    }

    /// All logs have come to their ends.
    pub(super) fn seal_or_not(&mut self) {
        let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
        if self.global.turning.is_waiting() || lead.unsealed {
            return self.commit_end(false);
        }
        let mut manifest = self.global.manifest().clone();
        let ends: Vec<(u64, u64)> = lead.ends.iter().flatten().map(|ending| ending.named).collect();
        manifest.seal(&ends, true);
        // The history goes on without this log.
        manifest.replication = Some(self.global.registry.replication().renamed_at(u64::MAX));
        lead.manifest = Some(manifest);
    }

    /// The log has ended; `sealed`: the manifest says where.
    pub(super) fn commit_end(&mut self, sealed: bool) {
        let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
        let turning = &self.global.turning;
        if turning.is_waiting() {
            self.global.set_manifest(lock(&turning.before).clone());
        } else if let (true, Some(manifest)) = (sealed, lead.manifest.take()) {
            self.global.set_manifest(manifest);
        } else {
            self.global.warn("The log ends as it stands: its last writes may not be in it");
        }
        lead.step = LeadStep::Remove;
        turning.set(Logging::Off);
        end_backup(&self.global, STOPPED);
        self.global.set_in_vain(false);
        if self.global.config().appendonly {
            self.global.registry.rewrites.schedule(true);
        }
        self.global.forget_room();
        for shard in 0..self.order.shards() {
            self.order.push(shard, Message::Cut(CutStep::Committed));
        }
    }

    /// The end is told to everybody; `unlisted`: the log waited for its base, and its files go.
    pub(super) fn clear_up(&self, unlisted: bool) {
        if !unlisted {
            return self.global.end_cut();
        }
        let global = Arc::clone(&self.global);
        self.global.run_errand(Box::new(move || {
            let manifest = global.manifest().clone();
            clear(&global, &manifest);
            global.end_cut();
        }));
    }

    /// The log has ended on all shards: this one lets go of its own.
    pub(super) fn log_has_ended(&mut self) {
        let Some(log) = self.log.take() else { return };
        if let Some(entry) = log.last_entry() {
            self.order.pass(self.id, entry);
        }
        self.order.set_stuck(self.id, false);
        for shard in self.order.stuck(self.id) {
            self.replies.push((shard, Message::Settled));
        }
        self.gathering = None;
        self.global.log_gone(self.id);
        let stats = self.stats();
        for gauge in [
            &stats.log_failed,
            &stats.log_size,
            &stats.log_buffer,
            &stats.log_pending_syncs,
            &stats.log_ahead,
        ] {
            gauge.set(0);
        }
        self.turns.ended = Some(log);
        self.note_pressure();
        self.released();
        self.followed();
    }

    /// A file has been cut; true if that was for a log that has ended.
    pub(super) fn shortened_for_ended(&mut self, done: &DiskDone) -> bool {
        if token::kind(done.token) != token::SHORTEN || self.turns.shortening == 0 {
            return false;
        }
        self.turns.shortening -= 1;
        if let Err(error) = &done.result {
            self.global.warn(&not_shortened(error));
        }
        true
    }

    /// Closes the file of a log that has ended.
    pub(super) fn bury_log(&mut self, disk: &mut impl Disk) {
        if let Some(log) = self.turns.ended.take() {
            let (file, shortening) = log.close(disk);
            self.turns.shortening += shortening;
            if file != NO_FILE {
                self.old_files.push(file);
            }
        }
    }
}
