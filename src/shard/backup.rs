//! Backups (BACKUP): a rewrite's base, and the log behind it up to a cut, as hard links.
//!
//! ```text
//! START    a thread: the directory is empty; a rewrite of the log is asked for
//!          the rewrite's writer: its base is linked, in front of the rewrite's end
//! SEAL     claims the right to cut; asks for all keyspaces; the log is cut as for a rewrite
//!          (`super::cut`), with nothing to walk
//!          a thread, which has the right to cut from the shard on: links, manifest; gives it back
//! ABORT, CLEANUP, `backup-sealed-ttl`
//!          a thread: removes what is there
//! ```
//!
//! *The moment* is the one at which SEAL's coordinator holds all keyspaces: between SEAL and its
//! reply, and never inside of a transaction. The files: [`crate::persist::backup`].
//!
//! *Rewrites meanwhile* go on: what SEAL links is the log as it stands then, with the newest base,
//! and the base that START has linked goes where it is not the newest any more.
//!
//! *The log that is turned off* ends a backup that is open, when that begins and again when it is
//! off: one that has begun in between would go on without a log, and a base that a rewrite writes
//! then is not what the next log goes on from. Who begins one has made that known before looking
//! whether the log is off, and who turns it off looks for a backup behind that; so one of them sees
//! the other.
//!
//! *What SEAL cannot do*, a cut that is given up or a link that is refused, is its reply's error;
//! the backup stays as it was, so that SEAL can be tried again.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use crate::client::Conn;
use crate::command::session::BackupStep;
use crate::config::Config;
use crate::observe::backups::{Backup, Phase};
use crate::persist::aof::manifest::{FileType, Manifest, manifest_name};
use crate::persist::backup::{self, Leftovers, Shelf};
use crate::resp::Reply;
use crate::shard::core::Shard;
use crate::shard::global::Global;
use crate::shard::lease::{Lease, Work};
use crate::shard::message::{JobDone, Message, ReplyTo};
use crate::shard::requests::all_shards;
use crate::shard::turning::Logging;

const IN_PROGRESS: &str = "ERR A backup is already in progress, ABORT it first";
const IS_SEALED: &str = "ERR A sealed backup exists, CLEANUP it first";
const NOT_READY: &str = "ERR No backup ready to seal (must be in the incrementing state)";
const NOTHING: &str = "ERR No backup in progress";
const GOES_ON: &str = "ERR Backup is in progress";
const SEALING: &str = "ERR The backup is being sealed";
const NO_LOG: &str = "ERR A backup needs the log: appendonly is no";
const NOT_EMPTY: &str = "ERR The backup directory is not empty";
const NO_WRITES: &str = "ERR The log cannot be written, so it cannot be sealed";

/// Who waits for the backup to be sealed.
#[derive(Clone, Copy, Debug)]
pub struct Sealer {
    to: ReplyTo,
    resp3: bool,
}

/// What a shard has to do with backups.
#[derive(Debug, Default)]
pub struct Sealing {
    /// The command that has just run asks for it.
    pub wished: bool,
    /// Who waits for the right to cut.
    waits: VecDeque<Sealer>,
}

fn failed(error: &io::Error) -> String {
    format!("ERR Backup failed: {error}")
}

fn dir_of(config: &Config) -> io::Result<PathBuf> {
    Ok(absolute(&config.dir)?.join(&config.backup.dir_name))
}

/// The directory of the backup in `dir`.
fn shelf(global: &Global, dir: &Path) -> Box<dyn Shelf> {
    let config = global.config();
    (global.shelf)(&config.dir.join(&config.appenddirname), dir)
}

impl Shard {
    /// A step of BACKUP; its outcome is the reply.
    pub(super) fn step_backup(&mut self, step: BackupStep) -> Result<(), String> {
        let global = Arc::clone(&self.global);
        let order = Arc::clone(&self.order);
        let now = self.now.unix_ms().div_euclid(1000);
        match step {
            BackupStep::Start if self.log.is_none() => return Err(NO_LOG.to_owned()),
            BackupStep::Start => {
                self.aside = Some(Box::new(move || {
                    start(&global, now)?;
                    // Whoever looks for what is scheduled may sleep.
                    order.wake_all();
                    Ok(())
                }));
            }
            BackupStep::Seal => {
                let mut backup = self.global.registry.backups.now();
                if backup.phase != Phase::Incrementing || backup.sealing {
                    return Err(NOT_READY.to_owned());
                }
                if self.log.is_none() || self.global.any_log_failing() {
                    return Err(NO_WRITES.to_owned());
                }
                backup.sealing = true;
                self.rewriting.sealing.wished = true;
            }
            BackupStep::Abort => self.aside = Some(Box::new(move || abort(&global))),
            BackupStep::Cleanup => self.aside = Some(Box::new(move || clean_up(&global))),
        }
        Ok(())
    }

    /// Seals the backup; that is the reply of the command that has just run on `conn`.
    pub(super) fn tell_when_sealed(&mut self, conn: &mut Conn) {
        self.rewriting.sealing.wished = false;
        let to = self.stand_in_for_one(conn);
        self.rewriting.sealing.waits.push_back(Sealer { to, resp3: conn.session.resp3 });
        self.try_seal();
    }

    /// Whether a backup waits for its turn to be sealed here.
    pub(super) fn has_backup_to_seal(&self) -> bool {
        !self.rewriting.sealing.waits.is_empty()
    }

    /// Asks for the keyspaces once no other cut is under way.
    pub(super) fn try_seal(&mut self) {
        if !self.has_backup_to_seal() {
            return;
        }
        if self.stopping {
            while let Some(sealer) = self.rewriting.sealing.waits.pop_front() {
                self.sealed(sealer, Err("ERR The server stops".to_owned()));
            }
        } else if self.global.begin_cut() {
            // One that waits for its base is not what the backup has a base of.
            if !self.global.turning.is_on() {
                self.global.end_cut();
                while let Some(sealer) = self.rewriting.sealing.waits.pop_front() {
                    self.sealed(sealer, Err(NOT_READY.to_owned()));
                }
                return;
            }
            match self.rewriting.sealing.waits.pop_front() {
                Some(sealer) => {
                    let nobody = self.nobody();
                    let work = Work { seals: Some(sealer), ..Work::default() };
                    self.ask_for_keyspaces(all_shards(self.shards()), nobody, work);
                }
                None => self.global.end_cut(),
            }
        }
    }

    /// Every keyspace is here: this is the moment.
    pub(super) fn begin_seal(&mut self, entry: u64, lease: Lease, sealer: Sealer) {
        #[cfg(test)]
        crate::shard::sim::probe::sealing(&lease.spaces);
        let files = self.lead_seal(sealer);
        self.send_home(entry, lease, false, Some(files), &[]);
    }

    /// The cut of a SEAL has come to nothing.
    pub(super) fn fail_seal(&self, sealer: Sealer, error: &str) {
        self.global.warn(&format!("The log cannot go over to new files for a backup: {error}"));
        self.sealed(sealer, Err(format!("ERR Backup failed: {error}")));
    }

    fn sealed(&self, sealer: Sealer, outcome: Result<(), String>) {
        self.global.registry.backups.now().sealing = false;
        let message = sealer.message(outcome);
        self.order.push(sealer.to.shard, message);
    }

    /// The cut is durable, and the right to cut goes on to the thread that links the files.
    pub(super) fn link_sealed(&self, sealer: Sealer) {
        let (global, order) = (Arc::clone(&self.global), Arc::clone(&self.order));
        let now = self.now.unix_ms().div_euclid(1000);
        let set = backup::sealed_part(&global.manifest());
        self.global.run_errand(Box::new(move || {
            let outcome = link(&global, &set, now);
            global.end_cut();
            order.push(sealer.to.shard, sealer.message(outcome));
        }));
    }

    /// Removes a sealed backup whose time is over. One shard looks, every now and then.
    pub(super) fn expire_backup(&self) {
        let now = self.now.unix_ms().div_euclid(1000);
        if self.global.registry.backups.expires(self.config.backup.sealed_ttl, now) {
            let global = Arc::clone(&self.global);
            self.global.run_errand(Box::new(move || {
                global.notice("The sealed backup has been kept for backup-sealed-ttl seconds");
                if let Err(error) = clean_up(&global) {
                    global.warn(&format!("The sealed backup stays for now: {error}"));
                    global.registry.backups.expire_later();
                }
            }));
        }
    }
}

impl Sealer {
    fn message(self, outcome: Result<(), String>) -> Message {
        let mut reply = Reply::new(self.resp3);
        match outcome {
            Ok(()) => reply.ok(),
            Err(text) => reply.error(text.as_bytes()),
        }
        Message::Done(JobDone::alone(self.to, reply))
    }
}

fn start(global: &Global, now: i64) -> Result<(), String> {
    let backups = &global.registry.backups;
    let _files = backups.files();
    let before = backups.now().clone();
    match before.phase {
        Phase::Idle | Phase::Failed => {}
        Phase::Sealed => return Err(IS_SEALED.to_owned()),
        _ => return Err(IN_PROGRESS.to_owned()),
    }
    let dir = dir_of(&global.config()).map_err(|error| failed(&error))?;
    // What a backup that failed has left.
    let left = shelf(global, &before.dir);
    backup::remove(&*left, &before.files).map_err(|error| failed(&error))?;
    shelf(global, &dir).make_empty().map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty => NOT_EMPTY.to_owned(),
        _ => failed(&error),
    })?;
    let rewrites = &global.registry.rewrites;
    let mut backup = backups.now();
    let phase = match rewrites.in_progress() {
        true => Phase::Snapshotting,
        false => Phase::Pending,
    };
    *backup = Backup { phase, start: now, dir, ..Backup::default() };
    // A log that ends behind this look finds the backup.
    if global.turning.state() == Logging::Off {
        *backup = Backup::default();
        return Err(NO_LOG.to_owned());
    }
    drop(backup);
    if phase == Phase::Pending {
        rewrites.schedule(true);
    }
    global.notice("Backup started");
    Ok(())
}

fn abort(global: &Global) -> Result<(), String> {
    let backups = &global.registry.backups;
    let _files = backups.files();
    let mut backup = backups.now();
    if !backup.phase.is_open() {
        return Err(NOTHING.to_owned());
    }
    if backup.sealing {
        return Err(SEALING.to_owned());
    }
    backup.fail("aborted by user");
    drop(backup);
    global.notice("Backup aborted by user");
    discard(global);
    Ok(())
}

/// Removes the files of a backup that has failed; what stays is removed by START or CLEANUP. The
/// caller has the right to the files.
fn discard(global: &Global) {
    let backup = global.registry.backups.now().clone();
    match backup::remove(&*shelf(global, &backup.dir), &backup.files) {
        Ok(()) => global.registry.backups.now().files.clear(),
        Err(error) => global.warn(&format!("Files of the backup stay: {error}")),
    }
}

/// Nothing comes of a backup that has begun.
pub(super) fn end_backup(global: &Arc<Global>, why: &str) {
    let mut backup = global.registry.backups.now();
    if backup.phase.is_open() {
        backup.fail(why);
        let global = Arc::clone(global);
        drop(backup);
        Arc::clone(&global).run_errand(Box::new(move || {
            let _files = global.registry.backups.files();
            discard(&global);
        }));
    }
}

fn clean_up(global: &Global) -> Result<(), String> {
    let backups = &global.registry.backups;
    let _files = backups.files();
    let backup = backups.now().clone();
    if backup.phase.is_open() {
        return Err(GOES_ON.to_owned());
    }
    let left = shelf(global, &backup.dir);
    if let Err(error) = backup::remove(&*left, &backup.files) {
        // The manifest goes first, and without it nothing is sealed any more.
        if left.len(&manifest_name(global.append_filename())).is_err() {
            backups.now().fail(&error.to_string());
        }
        return Err(failed(&error));
    }
    *backups.now() = Backup::default();
    Ok(())
}

/// A rewrite has put a base in its place: links it, when the backup waits for that.
pub(super) fn pin_base(global: &Global) {
    let backups = &global.registry.backups;
    let _files = backups.files();
    let backup = backups.now().clone();
    if backup.phase != Phase::Snapshotting {
        return;
    }
    let manifest = global.manifest().clone();
    let Some(base) = manifest.lines.iter().find(|line| line.kind == FileType::Base) else {
        return;
    };
    let shelf = shelf(global, &backup.dir);
    match backup::pin(&*shelf, &base.file) {
        Ok(()) => {
            let mut backup = backups.now();
            backup.files = vec![base.file.clone()];
            backup.phase = Phase::Incrementing;
        }
        // A FLUSHALL has begun the log anew: another rewrite follows.
        Err(error) if error.kind() == io::ErrorKind::NotFound && shelf.is_there() => {}
        Err(error) => {
            global.warn(&format!("Backup failed: {error}"));
            backups.now().fail(&error.to_string());
        }
    }
}

/// Links the files of `set`. The caller has the right to cut.
fn link(global: &Global, set: &Manifest, now: i64) -> Result<(), String> {
    let backups = &global.registry.backups;
    let _files = backups.files();
    let backup = backups.now().clone();
    let (shelf, name) = (shelf(global, &backup.dir), global.append_filename());
    let sealed = match backup.phase {
        Phase::Incrementing => backup::seal(&*shelf, name, set, &backup.files),
        _ => {
            backups.now().sealing = false;
            return Err(NOT_READY.to_owned());
        }
    };
    let mut backup = backups.now();
    backup.sealing = false;
    match sealed {
        Ok(files) => {
            backup.files = files;
            backup.phase = Phase::Sealed;
            backup.end = now.max(backup.start);
            drop(backup);
            global.notice("Backup sealed");
            Ok(())
        }
        Err(error) => {
            drop(backup);
            global.warn(&format!("The backup cannot be sealed: {error}"));
            Err(failed(&error))
        }
    }
}

/// Takes over what an earlier process has left; waits for a disk. A sealed backup is one again, for
/// LIST, CLEANUP and `backup-sealed-ttl`; one that was not sealed has failed.
///
/// # Errors
/// What the disk says.
pub fn adopt_backup(global: &Global) -> io::Result<()> {
    let config = global.config();
    let dir = dir_of(&config)?;
    let found = backup::adopt(&*shelf(global, &dir), &config.appendfilename)?;
    let mut backup = global.registry.backups.now();
    *backup = match found {
        Leftovers::None => return Ok(()),
        Leftovers::Sealed { files, at } => {
            Backup { phase: Phase::Sealed, start: at, end: at, dir, files, ..Backup::default() }
        }
        Leftovers::Open { files } => {
            let error = "the server has ended meanwhile".to_owned();
            Backup { phase: Phase::Failed, error, dir, files, ..Backup::default() }
        }
    };
    Ok(())
}
