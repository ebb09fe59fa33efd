//! Cuts: whole-keyspace commands (FLUSHALL, FLUSHDB, SWAPDB) in the log.
//!
//! They cannot stand in per-shard files, since stock Redis replays files one after another. So the
//! log is cut: every shard ends its file and goes on in a new one, and the command stands in a
//! small file between the old generation and the new. A transaction that holds such a command
//! stands there as a whole, in program order. When nothing is left of the data, the manifest simply
//! starts anew and the old files are removed, so that FLUSHALL leaves a bounded number of files.
//!
//! ```text
//! coordinator                          every shard
//! lease of all keyspaces, run
//! keyspaces home with new file names   the old file: last frame, flush; the new file: create
//!                                      -- Ready(end, checksum) -->
//! part file: create, write, flush
//! manifest: create temp, write, flush; flush directory; rename,
//!           flush directory                                           <- the commit
//! -- Committed -->                     the log goes on in the new file
//! old files: remove
//! ```
//!
//! The manifest's rename is the only commit, and by then every old file is durable to its recorded
//! end: in front of it recovery finds the old generation and nothing of the cut, behind it the old
//! generation whole, the part and the new files. This holds under every policy. Meanwhile commands
//! execute; what they tell waits, since nothing of the new generation is written yet.
//!
//! A cut takes one position: the new generation begins one behind the old one's end, and what tells
//! of the cut waits for that position.
//!
//! A rewrite of the log begins with a cut as well ([`super::rewrite`]), and a backup ends with one
//! ([`super::backup`]). It says nothing: there is
//! no part and nobody waits, so it takes no position either; and where the disk refuses something
//! in front of the manifest's rename, it is given up, and every log goes on in its old file: what
//! is written there next has the position that it would have had in the new one, and names its
//! database, whatever was selected before. (Any other cut has been executed by then, so it is
//! tried until it succeeds.)
//!
//! A log of which a flush has failed is mended by a cut ([`super::mend`]), the next one that there
//! is. Its old file is named to end where it is known to be durable, and what was behind that goes
//! into a *tail* part in front of everything else that the cut writes ([`super::log::kept`]).
//!
//! *Flushes that fail here* are not tried again either. A part, or the manifest's new text: the
//! file is removed, and written anew as another file, once; where the cut mends a log, or for the
//! second time, the process stops. The directory in front of the rename: a cut that says nothing
//! and mends nothing is given up, of any other the process stops. Behind the rename it always
//! does: which manifest the medium has is then unknown, and either is whole.
//! A log that begins or ends does so by a cut too ([`super::turning`]). While one that has begun is
//! not listed yet, a cut changes the manifest in memory alone: it is written with the base.

mod diverted;

use std::io::ErrorKind;
use std::sync::atomic::Ordering;

pub use crate::shard::cut::diverted::Diverted;

use crate::base::random::Random;
use crate::client::Conn;
use crate::command::{Args, Command, OwnedRequest};
use crate::keyspace::Keyspace;
use crate::persist::aof::manifest::{
    Manifest, NewFile, PartKind, manifest_name, shard_file_name, temp_manifest_name,
};
use crate::persist::disk::{Disk, DiskDone, DiskOp, FileId, Flush};
use crate::persist::turning::OPENING;
use crate::shard::backup::Sealer;
use crate::shard::batch::Batch;
use crate::shard::core::Shard;
use crate::shard::lease::Work;
use crate::shard::log::kept::{Ending, plain};
use crate::shard::log::{LogFile, Outcome, token};
use crate::shard::message::{Call, CutFile, CutStep, Message, Turn};
use crate::shard::requests::{Taken, all_shards};
use crate::shard::turning::Logging;

/// How long a coordinator waits before it tries again what the disk refused, in microseconds.
const RETRY_US: u64 = 100_000;

/// A shard's part in a cut.
#[derive(Debug)]
pub struct CutPart {
    pub(super) file: CutFile,
    /// Where the new file begins.
    start: u64,
    created: Option<FileId>,
    create_sent: bool,
    /// When a creation that failed is tried again.
    create_us: u64,
    pub(super) sync_sent: bool,
    pub(super) synced: bool,
    pub(super) told: bool,
    /// The log goes on in the old file.
    goes_back: bool,
}

impl CutPart {
    fn new(file: CutFile, start: u64) -> Self {
        CutPart {
            file,
            start,
            created: None,
            create_sent: false,
            create_us: 0,
            sync_sent: false,
            synced: false,
            told: false,
            goes_back: false,
        }
    }

    /// Whether it is one of a rewrite.
    fn rewrites(&self) -> bool {
        self.file.gap == 0
    }

    /// Whether an operation of it is in flight.
    fn is_in_flight(&self) -> bool {
        self.create_sent && self.created.is_none() || self.sync_sent && !self.synced
    }
}

/// Where the coordinator of a cut stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeadStep {
    /// Waiting for the shards.
    Gather,
    RemovePart,
    CreatePart,
    WritePart,
    RemoveTemp,
    CreateTemp,
    WriteTemp,
    /// The new files are durable under their names before the manifest can name them.
    SyncNames,
    Rename,
    SyncDir,
    Remove,
    /// Waiting for the shards to go back to their old files.
    GoBack,
}

/// A cut this shard coordinates.
#[derive(Debug)]
pub struct CutLead {
    payload: Vec<u8>,
    /// Bytes of the stream that it takes: they count for the first shard.
    streamed: u64,
    empty: bool,
    files: Vec<CutFile>,
    /// Number of the first of them.
    first: i64,
    pub(super) ends: Vec<Option<Ending>>,
    /// Bytes of the files that end.
    len: u64,
    /// The log begins behind this manifest.
    pub(super) begins: Option<Manifest>,
    /// It ends; a log that does not end in good order is not sealed.
    pub(super) closes: bool,
    pub(super) unsealed: bool,
    /// The manifest changes in memory alone.
    unlisted: bool,
    /// What begins is a rewrite, a backup is sealed or a log is mended: the cut says nothing.
    rewrites: bool,
    /// A log is to be mended, and nothing else.
    mends: bool,
    /// A flush has failed, of a log or here: the next that does ends the process.
    flush_failed: bool,
    /// A backup is sealed: who waits for that.
    sealer: Option<Sealer>,
    /// So many shards are back in their old files.
    went_back: usize,
    pub(super) step: LeadStep,
    pub(super) manifest: Option<Manifest>,
    /// Parts to be written: name, bytes.
    parts: Vec<(String, Vec<u8>)>,
    /// So many are.
    parts_done: usize,
    pub(super) file: Option<FileId>,
    /// Files to remove once the cut is committed.
    pub(super) removals: Vec<String>,
    pub(super) retry_us: Option<u64>,
}

impl Shard {
    /// A whole-keyspace command.
    pub(super) fn cut_command(
        &mut self,
        conn: &mut Conn,
        batch: &mut Option<Batch>,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        let shards = self.shards();
        if self.is_out(conn, batch) {
            return Taken::NotYet;
        }
        // Without a log as well: none begins before this has run.
        if !self.begin_cut(conn) {
            return Taken::NotYet;
        }
        if self.is_saved_behind(command) {
            self.note_emptied(conn);
        }
        let request = OwnedRequest::from_args(args);
        let call = Call { command, db: conn.session.db, quiet: false, request };
        let work = Work { calls: vec![call], cut: true, ..Work::default() };
        self.start_lease(conn, all_shards(shards), work);
        Taken::Yes
    }

    /// Claims the right to cut; when another cut is under way the connection waits for its end.
    pub(super) fn begin_cut(&mut self, conn: &mut Conn) -> bool {
        let claimed = self.global.begin_cut();
        if !claimed {
            conn.blocked = true;
            self.parked.push(conn.key);
        }
        claimed
    }

    /// The lease has run: names the new files, or ends the cut when nothing has changed.
    pub(super) fn lead_cut(
        &mut self,
        mut diverted: Diverted,
        spaces: &mut [Option<Box<Keyspace>>],
    ) -> Option<Vec<CutFile>> {
        diverted.finish(spaces);
        let nothing = !diverted.cut && diverted.payload.is_empty();
        if nothing {
            self.global.end_cut();
            return None;
        }
        // Who keeps history wants to go back in front of it.
        let empty = diverted.empty && self.config.rewrite.retention == 0;
        if empty {
            self.supersede_rewrite();
            // A log that waited for its base needs none: it is listed with this cut.
            self.global.turning.no_base_needed();
        }
        let first = self.next_seq() + i64::from(!empty);
        let payload = if empty { Vec::new() } else { diverted.payload };
        let files = self.lead_to(first, payload, empty, false);
        let lead = self.cut_lead.as_mut().expect("it has just begun");
        lead.streamed = diverted.streamed;
        let first = spaces.iter_mut().flatten().next().expect("every keyspace is here");
        first.effects.add_stream(diverted.streamed);
        Some(files)
    }

    /// A rewrite begins: names the new files, and gives the number of the first.
    pub(super) fn lead_rewrite(&mut self) -> (Vec<CutFile>, i64) {
        let first = self.next_seq();
        (self.lead_to(first, Vec::new(), false, true), first)
    }

    /// A number for the first new file that leaves one for a tail of each shard.
    fn next_seq(&self) -> i64 {
        self.global.manifest().next_seq() + self.shards() as i64
    }

    /// A log is to be mended: names the new files.
    pub(super) fn lead_mend(&mut self) -> Vec<CutFile> {
        let (files, _) = self.lead_rewrite();
        let lead = self.cut_lead.as_mut().expect("it has just begun");
        lead.mends = true;
        files
    }

    /// A backup is sealed: names the new files.
    pub(super) fn lead_seal(&mut self, sealer: Sealer) -> Vec<CutFile> {
        let (files, _) = self.lead_rewrite();
        self.cut_lead.as_mut().expect("it has just begun").sealer = Some(sealer);
        files
    }

    pub(super) fn lead_to(
        &mut self,
        first: i64,
        payload: Vec<u8>,
        empty: bool,
        rewrites: bool,
    ) -> Vec<CutFile> {
        let (name, coordinator, shards) = (self.global.append_filename(), self.id, self.shards());
        let file = |shard: usize, random: &mut Random| CutFile {
            coordinator,
            name: shard_file_name(name, first + shard as i64, shard),
            seed: random.next_u64(),
            gap: u64::from(!rewrites),
            turn: Turn::GoesOn,
        };
        let files: Vec<_> = (0..shards).map(|s| file(s, &mut self.random)).collect();
        #[cfg(test)]
        crate::shard::sim::probe::new_files(files.iter().map(|file| file.seed));
        assert!(self.cut_lead.is_none(), "one cut at a time");
        self.cut_lead = Some(CutLead {
            payload,
            streamed: 0,
            empty,
            files: files.clone(),
            first,
            ends: (0..shards).map(|_| None).collect(),
            len: 0,
            begins: None,
            closes: false,
            unsealed: false,
            unlisted: self.global.turning.state() == Logging::Waiting,
            rewrites,
            mends: false,
            flush_failed: false,
            sealer: None,
            went_back: 0,
            step: LeadStep::Gather,
            manifest: None,
            parts: Vec::new(),
            parts_done: 0,
            file: None,
            removals: Vec::new(),
            retry_us: None,
        });
        files
    }

    /// The keyspace is home from a cut: its effects belong to the new file from here on. Gives the
    /// position that what tells of the cut waits for.
    pub(super) fn begin_cut_part(
        &mut self,
        entry: u64,
        space: &mut Keyspace,
        file: CutFile,
    ) -> u64 {
        assert!(self.cut.is_none(), "one cut at a time");
        let start = match file.turn {
            Turn::GoesOn => {
                let start = space.effects.end() + file.gap;
                space.effects.begin_file(start);
                if file.gap > 0 {
                    space.floor = start;
                } else {
                    space.effects.forget_selected();
                }
                let stream = space.effects.stream();
                self.log.as_mut().expect("a cut has a log").begin_cut(stream);
                start
            }
            Turn::Begins { start, .. } => self.begin_log(space, start, file.seed),
            Turn::Ends => self.end_log(space),
        };
        #[cfg(test)]
        if file.turn != Turn::GoesOn {
            crate::shard::sim::probe::log_turned(space);
        }
        self.entry_executed(entry, start);
        self.cut = Some(CutPart::new(file, start));
        start
    }

    /// Drives this shard's part of a cut, and the cut it coordinates.
    pub(super) fn cut_progress(&mut self, disk: &mut impl Disk) {
        self.bury_log(disk);
        self.cut_part_progress(disk);
        let now = self.now.mono_us;
        if let Some(lead) = &mut self.cut_lead
            && lead.retry_us.is_some_and(|at| at <= now)
        {
            lead.retry_us = None;
            lead.step = if lead.step == LeadStep::Remove {
                LeadStep::Remove
            } else if lead.parts.is_empty() {
                LeadStep::RemoveTemp
            } else {
                lead.parts_done = 0;
                LeadStep::RemovePart
            };
            self.cut_lead_submit(disk);
        }
    }

    fn cut_part_progress(&mut self, disk: &mut impl Disk) {
        if self.cut.as_ref().is_some_and(|part| part.file.turn == Turn::Ends) {
            return self.end_progress(disk);
        }
        if let (Some(part), Some(log)) = (&mut self.cut, &mut self.log) {
            if part.goes_back {
                if !part.is_in_flight() {
                    self.go_back();
                }
                return;
            }
            if !part.create_sent && part.create_us <= self.now.mono_us {
                part.create_sent = true;
                if let Turn::Begins { dir, .. } = &part.file.turn
                    && let Err(error) = disk.work_in(dir)
                {
                    part.create_sent = false;
                    part.create_us = u64::MAX;
                    let error = format!("opening {}: {error}", dir.display());
                    let failed = Message::Cut(CutStep::Failed { error });
                    return self.order.push(part.file.coordinator, failed);
                }
                let op = DiskOp::Create { path: part.file.name.clone() };
                disk.submit(token::CUT_CREATE, op);
            }
            if !part.sync_sent && log.hold(disk, self.now.mono_us) && log.is_drained() {
                part.sync_sent = true;
                if log.is_broken() || log.durable() == log.appended() {
                    part.synced = true;
                } else {
                    disk.submit(token::CUT_SYNC, DiskOp::Sync { file: log.file().id });
                }
            }
            if part.synced && part.created.is_some() && !part.told {
                part.told = true;
                let step = CutStep::Ready { shard: self.id, ending: log.ending(self.id) };
                let ready = Message::Cut(step);
                self.order.push(part.file.coordinator, ready);
            }
        }
    }

    /// Nothing of this shard's part is in flight any more: the log goes on in its old file, or,
    /// where there is none, not at all, and is about to end.
    fn go_back(&mut self) {
        let Some(part) = self.cut.take() else { return };
        self.old_files.extend(part.created);
        match &mut self.log {
            Some(log) if part.file.turn == Turn::GoesOn => log.go_back(),
            Some(log) => log.stop(),
            None => {}
        }
        self.order.push(part.file.coordinator, Message::Cut(CutStep::WentBack));
    }

    /// Gives the cut of a rewrite up, and the rewrite with it.
    fn give_up_cut(&mut self, error: &str) {
        let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
        if lead.step == LeadStep::GoBack {
            return;
        }
        lead.step = LeadStep::GoBack;
        lead.went_back = 0;
        if lead.begins.is_some() {
            self.global.set_in_vain(true);
        }
        lead.retry_us = None;
        self.old_files.extend(lead.file.take());
        // Names of files that are no more are used again, unless one cannot be removed.
        lead.removals = lead.files.iter().map(|file| file.name.clone()).collect();
        lead.removals.extend(lead.parts.drain(..).map(|(name, _)| name));
        lead.removals.push(temp_manifest_name(self.global.append_filename()));
        match (lead.mends, lead.sealer.take()) {
            (true, _) => self.fail_mend(error),
            (false, Some(sealer)) => self.fail_seal(sealer, error),
            (false, None) => self.fail_rewrite(error),
        }
        for shard in 0..self.order.shards() {
            self.order.push(shard, Message::Cut(CutStep::GoBack));
        }
    }

    /// An operation of this shard's part has completed.
    pub(super) fn cut_disk_done(&mut self, done: DiskDone, disk: &mut impl Disk) {
        let part = self.cut.as_mut().expect("a cut is under way");
        match (done.token, done.result) {
            (token::CUT_CREATE, Ok(file)) => part.created = file,
            (token::CUT_CREATE, Err(error)) if part.rewrites() => {
                if self.global.is_log_failing() {
                    self.global.needs_room(error.kind(), &plain(&error));
                }
                part.create_sent = false;
                part.create_us = u64::MAX;
                let failed = CutStep::Failed { error: format!("creating a log file: {error}") };
                self.order.push(part.file.coordinator, Message::Cut(failed));
            }
            (token::CUT_CREATE, Err(error)) => {
                self.global.needs_room(error.kind(), &plain(&error));
                self.global.warn(&format!("creating a log file failed, trying again: {error}"));
                part.create_sent = false;
                part.create_us = self.now.mono_us + RETRY_US;
            }
            (_, Ok(_)) => {
                part.synced = true;
                self.log.as_mut().expect("a cut has a log").all_durable();
                self.move_release();
            }
            (_, Err(error)) if part.file.turn == Turn::Ends => self.end_unsealed(&error),
            (_, Err(error)) => {
                let log = self.log.as_mut().expect("a cut has a log");
                if let Outcome::Broken(error) = log.broke(&error) {
                    log.hold(disk, self.now.mono_us);
                    self.log_broke(&error);
                }
                if let Some(part) = &mut self.cut {
                    part.synced = true;
                }
            }
        }
        self.cut_progress(disk);
    }

    /// A message of a cut.
    pub(super) fn cut_step(&mut self, step: CutStep) {
        match step {
            CutStep::Ready { shard, ending } => {
                let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
                lead.len += ending.len + ending.tail.len() as u64;
                lead.flush_failed |= ending.broken;
                lead.ends[shard] = Some(ending);
                self.gathered_ends();
            }
            CutStep::Unsealed { shard } => {
                let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
                lead.ends[shard] = Some(Ending::default());
                lead.unsealed = true;
                self.gathered_ends();
            }
            CutStep::Failed { error } => self.give_up_cut(&error),
            CutStep::GoBack => {
                // The disk is at hand at the end of the turn.
                let part = self.cut.as_mut().expect("a cut is under way");
                part.goes_back = true;
            }
            CutStep::WentBack => {
                let shards = self.shards();
                let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
                lead.went_back += 1;
                if lead.went_back == shards {
                    lead.step = LeadStep::Remove;
                    lead.retry_us = Some(0);
                }
            }
            CutStep::Committed => {
                let part = self.cut.take().expect("a cut is under way");
                if part.file.turn == Turn::Ends {
                    return self.log_has_ended();
                }
                let log = self.log.as_mut().expect("a cut has a log");
                let id = part.created.expect("its file was created");
                let seed = part.file.seed;
                let old = log.file().id;
                let failed = log.is_failing();
                log.resume(LogFile { id, seed, sum: seed, offset: 0 }, part.start);
                self.stats().log_size.set(0);
                if part.file.turn == Turn::GoesOn {
                    self.old_files.push(old);
                }
                if failed {
                    self.global.log_failing(self.id, None);
                }
                self.move_release();
            }
        }
    }

    /// Every shard has come to its end, if this was the last.
    fn gathered_ends(&mut self) {
        let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
        if !lead.ends.iter().all(Option::is_some) {
            return;
        }
        // The disk is at hand at the end of the turn.
        lead.retry_us = Some(0);
        if lead.closes {
            return self.seal_or_not();
        }
        self.plan_manifest();
        let lead = self.cut_lead.as_ref().expect("just looked");
        if lead.unlisted && lead.parts.is_empty() {
            self.commit_cut();
        }
    }

    fn plan_manifest(&mut self) {
        let next_id = self.order.next_id();
        let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
        let name = self.global.append_filename();
        let ends: Vec<Ending> = lead.ends.iter_mut().filter_map(Option::take).collect();
        let begins = lead.begins.take();
        let goes_on = begins.is_none();
        let mut manifest = begins.unwrap_or_else(|| self.global.manifest().clone());
        if goes_on {
            let named: Vec<(u64, u64)> = ends.iter().map(|ending| ending.named).collect();
            manifest.seal(&named, false);
        }
        if lead.empty {
            lead.removals = manifest.drop_lines(|_| true);
        } else {
            let tails = ends.iter().filter(|ending| !ending.tail.is_empty());
            for Ending { tail, .. } in tails {
                lead.parts.push((manifest.add_part(name, PartKind::Tail, tail), tail.clone()));
            }
            if !lead.rewrites {
                let payload = std::mem::take(&mut lead.payload);
                let part = manifest.add_part(name, PartKind::Cut, &payload);
                lead.parts.push((part, payload));
            }
        }
        manifest.skip_to(lead.first);
        let mut new: Vec<NewFile> = lead
            .files
            .iter()
            .zip(&ends)
            .map(|(file, end)| {
                let (seed, start) = (file.seed, end.pos + file.gap);
                NewFile { seed, start, stream: end.stream }
            })
            .collect();
        new[0].stream += lead.streamed;
        manifest.replication = Some(self.global.registry.replication());
        let names = manifest.begin_generation(name, &new, next_id, self.global.boot_id());
        for (name, file) in names.iter().zip(&lead.files) {
            assert_eq!(*name, file.name, "names were promised when the lease ran");
        }
        lead.manifest = Some(manifest);
    }

    pub(super) fn cut_lead_submit(&mut self, disk: &mut impl Disk) {
        let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
        let name = self.global.append_filename();
        let temp = temp_manifest_name(name);
        let part = || lead.parts[lead.parts_done].clone();
        let write = |file: Option<FileId>, data: Vec<u8>| DiskOp::Write {
            file: file.expect("just created"),
            offset: 0,
            data,
            flush: Flush::File,
        };
        let op = match lead.step {
            LeadStep::Gather | LeadStep::GoBack => return,
            LeadStep::RemovePart => DiskOp::Remove { path: part().0 },
            LeadStep::CreatePart => DiskOp::Create { path: part().0 },
            LeadStep::WritePart => write(lead.file, part().1),
            LeadStep::RemoveTemp => DiskOp::Remove { path: temp },
            LeadStep::CreateTemp => DiskOp::Create { path: temp },
            LeadStep::WriteTemp => {
                write(lead.file, lead.manifest.as_ref().expect("planned").encode())
            }
            LeadStep::Rename => DiskOp::Rename { from: temp, to: manifest_name(name) },
            LeadStep::SyncNames | LeadStep::SyncDir => DiskOp::SyncDir,
            LeadStep::Remove => match lead.removals.pop() {
                Some(path) => DiskOp::Remove { path },
                None => {
                    let (sealer, ends) = (lead.sealer.take(), lead.closes);
                    let unlisted = lead.unlisted;
                    self.cut_lead = None;
                    match sealer {
                        Some(sealer) => self.link_sealed(sealer),
                        None => self.clear_up(ends && unlisted),
                    }
                    return;
                }
            },
        };
        disk.submit(token::COORDINATOR, op);
    }

    /// An operation of the cut this shard coordinates has failed.
    fn cut_lead_failed(&mut self, error: &std::io::Error, sync_failed: bool) {
        let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
        let (step, now) = (lead.step, self.now.mono_us);
        let names = matches!(step, LeadStep::SyncNames | LeadStep::SyncDir);
        let flush = names || sync_failed;
        let may_go_on = lead.rewrites && !lead.flush_failed && step != LeadStep::SyncDir;
        if flush && !may_go_on && (names || lead.flush_failed) {
            self.global.fatal(&format!(
                "A file could not be made durable, in the place of another, and no more can be \
                 promised: {error}"
            ));
        }
        if lead.rewrites {
            return self.give_up_cut(&format!("writing the manifest: {error}"));
        }
        lead.flush_failed |= flush;
        self.global.warn(&format!("writing the manifest failed, trying again: {error}"));
        lead.retry_us = Some(now + RETRY_US);
        if let Some(file) = lead.file.take() {
            self.old_files.push(file);
        }
    }

    /// An operation of the cut this shard coordinates has completed.
    pub(super) fn cut_lead_done(&mut self, done: DiskDone, disk: &mut impl Disk) {
        let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
        let step = lead.step;
        let may_fail =
            matches!(step, LeadStep::RemovePart | LeadStep::RemoveTemp | LeadStep::Remove);
        if let Err(error) = &done.result
            && !may_fail
        {
            // A rewrite without room leaves all as it is.
            let must = !lead.rewrites || self.global.is_log_failing();
            if must && self.global.needs_room(error.kind(), &plain(error)) && lead.closes {
                lead.retry_us = Some(self.now.mono_us + RETRY_US);
                return self.old_files.extend(lead.file.take());
            }
            if lead.closes {
                self.global.warn(&format!("The log that ends is not sealed: {error}"));
                self.old_files.extend(lead.file.take());
                self.commit_end(step == LeadStep::SyncDir);
                return self.cut_lead_submit(disk);
            }
            return self.cut_lead_failed(error, done.sync_failed);
        }
        if let (LeadStep::CreatePart | LeadStep::CreateTemp, Ok(file)) = (step, &done.result) {
            lead.file = *file;
        }
        if let (LeadStep::Remove, Err(error)) = (step, &done.result)
            && error.kind() != ErrorKind::NotFound
        {
            // A file of a cut that was given up stays: the next cut must not need its name.
            let mut manifest = self.global.manifest().clone();
            manifest.skip_to(lead.first + lead.files.len() as i64);
            self.global.set_manifest(manifest);
        }
        if matches!(step, LeadStep::WritePart | LeadStep::WriteTemp)
            && let Some(file) = lead.file.take()
        {
            self.old_files.push(file);
        }
        lead.step = match step {
            LeadStep::Gather => unreachable!("nothing is submitted while gathering"),
            LeadStep::GoBack => unreachable!("nothing is submitted while shards go back"),
            LeadStep::RemovePart => LeadStep::CreatePart,
            LeadStep::CreatePart => LeadStep::WritePart,
            LeadStep::WritePart => {
                lead.parts_done += 1;
                match lead.parts_done < lead.parts.len() {
                    true => LeadStep::RemovePart,
                    false => LeadStep::RemoveTemp,
                }
            }
            LeadStep::RemoveTemp => LeadStep::CreateTemp,
            LeadStep::CreateTemp => LeadStep::WriteTemp,
            LeadStep::WriteTemp => LeadStep::SyncNames,
            LeadStep::SyncNames => LeadStep::Rename,
            LeadStep::Rename => LeadStep::SyncDir,
            LeadStep::SyncDir | LeadStep::Remove => LeadStep::Remove,
        };
        let unlisted = lead.unlisted && lead.step == LeadStep::RemoveTemp;
        if step == LeadStep::SyncDir {
            self.global.turning.named(true);
        }
        if step == LeadStep::SyncDir && lead.closes {
            self.commit_end(true);
        } else if step == LeadStep::SyncDir || unlisted {
            self.commit_cut();
        }
        self.cut_lead_submit(disk);
    }

    /// The manifest is in force, and shards write on.
    fn commit_cut(&mut self) {
        let lead = self.cut_lead.as_mut().expect("this shard coordinates the cut");
        let registry = &self.global.registry;
        if lead.empty {
            registry.log_base_size.store(0, Ordering::Relaxed);
            registry.rewrites.set_base_size(0);
        } else {
            registry.log_base_size.fetch_add(lead.len, Ordering::Relaxed);
        }
        let manifest = lead.manifest.take().expect("planned");
        self.global.set_manifest(manifest);
        if lead.empty && self.global.turning.is_listed() {
            lead.removals.push(OPENING.to_owned());
        }
        lead.step = LeadStep::Remove;
        for shard in 0..self.order.shards() {
            self.order.push(shard, Message::Cut(CutStep::Committed));
        }
    }

    /// Closes files that a cut has ended.
    pub(super) fn close_old_files(&mut self, disk: &mut impl Disk) {
        for file in self.old_files.drain(..) {
            disk.submit(token::CLOSE, DiskOp::Close { file });
        }
    }
}
