//! Rewrites of the log (BGREWRITEAOF, and by themselves): the walk of a snapshot into a new base,
//! beside a cut of the log at the same moment.
//!
//! ```text
//! coordinator                          every shard                         the writer
//! claims walk and cut; asks for all
//! keyspaces                      ->    sends its own, pauses
//! begins the snapshot's cut in each:
//! the moment of the rewrite
//! keyspaces go home with the job and   the old file: last frame, flush;
//! the names of new files         ->    the new one: create; walks       -> writes the base
//! manifest: the new generation         the log goes on in the new file
//!  (`super::cut`), the right to
//!  cut goes back                                                        waits for that right;
//!                                                                       names the base; manifest:
//!                                                                       base and what began with
//!                                                                       it; removes history
//! ```
//!
//! *One moment.* The snapshot's cut and the log's are begun while the coordinator holds all
//! keyspaces, so whatever is executed is either in the base or in a new file, and never in both.
//! The files and why a crash at any moment leaves a log: [`crate::persist::rewrite`].
//!
//! *Other cuts meanwhile* (FLUSHALL, FLUSHDB, SWAPDB) make further generations behind the one that
//! began with the base; the writer keeps them all. Whoever changes the manifest has the right to
//! cut, so nobody's change is lost. A FLUSHALL that leaves nothing begins the manifest anew: the
//! file that began with the base is not listed any more, which the writer sees, and it drops the
//! base. (A file's number is never used again, so another generation cannot be taken for it.) The
//! walk is given up at once, since nothing can come of it: the log is as short as it can be.
//!
//! *Without a log* it writes a base alone; with one that is to begin, see [`super::turning`].
//!
//! *A failure* leaves the old base and all generations as they are; what is begun next time begins
//! one more.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use crate::config::Config;
use crate::observe::saves::End;
use crate::persist::aof::manifest::{FileType, Line};
use crate::persist::disk::{Sheets, Volume};
use crate::persist::restore::due;
use crate::persist::rewrite::{
    Installed, as_commands, forget_history, history, install, remove_history, sealed_size,
    temp_base_name, temp_rdb_name,
};
use crate::persist::snapshot::{Chunk, Flow, Target, write_on};
use crate::persist::turning::{guard, read_manifest};
use crate::persist::volume::DirVolume;
use crate::shard::backup::Sealing;
use crate::shard::core::Shard;
use crate::shard::cores;
use crate::shard::global::Global;
use crate::shard::mend::Mending;
use crate::shard::pace::rates;
use crate::shard::snapshot::{Job, contents};
use crate::shard::turning::{self, Logging};

/// Seconds between looks for history that has grown old.
const LOOK: i64 = 1;

/// A rewrite that this shard is to begin.
#[derive(Debug, Default)]
pub struct Rewriting {
    /// It has the right to walk, and waits for the right to cut.
    wanted: bool,
    /// What it does where a flush of the log has failed.
    pub(super) mending: Mending,
    /// Backups that this shard is to seal.
    pub(super) sealing: Sealing,
    /// When history was last looked through for what has grown old, in seconds of Unix time.
    history_seen: i64,
    /// Size of the log when its length was last complained of, in bytes.
    pub(super) long_log_said: u64,
}

/// Where a new base goes.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    /// The number of the first file of the generation that begins with it; none without a log.
    pub first: Option<i64>,
    /// It is to consist of commands.
    pub plain: bool,
    /// The log begins with it, see [`super::turning`].
    pub opens: bool,
}

/// How a rewrite has ended.
pub(super) enum Rewritten {
    /// The base is in force.
    Done {
        /// Its length in bytes.
        bytes: u64,
    },
    /// It is of no use any more.
    Superseded,
}

impl Shard {
    fn seconds(&self) -> i64 {
        self.now.unix_ms().div_euclid(1000)
    }

    /// Begins a rewrite; false while a snapshot or a rewrite goes on.
    pub(super) fn begin_rewrite(&mut self) -> bool {
        let registry = &self.global.registry;
        if !registry.saves.begin_rewrite() {
            return false;
        }
        let of_log = self.global.config().appendonly;
        registry.rewrites.begin(self.seconds(), of_log);
        registry.backups.walk_begins();
        let pid = std::process::id();
        self.global.notice(&format!("Background append only file rewriting started by pid {pid}"));
        self.rewriting.wanted = true;
        self.try_rewrite();
        true
    }

    /// Asks for the keyspaces once no other cut is under way.
    pub(super) fn try_rewrite(&mut self) {
        if !self.rewriting.wanted {
            return;
        }
        if self.stopping || self.global.ending.is_wished() {
            self.forget_rewrite();
        } else if self.global.begin_cut() {
            self.rewriting.wanted = false;
            if self.is_to_turn_on() {
                self.prepare_log();
            } else if self.global.registry.rewrites.is_of_log()
                && self.global.turning.state() == Logging::Off
            {
                self.forget_rewrite();
                self.global.end_cut();
            } else {
                self.ask_for_rewrite();
            }
        }
    }

    fn forget_rewrite(&mut self) {
        self.rewriting.wanted = false;
        let registry = &self.global.registry;
        // Should the process go on, a log that was to begin still is, and whoever looks finds it
        // coming.
        if self.is_to_turn_on() {
            registry.rewrites.schedule(true);
        }
        registry.saves.end_rewrite(|| registry.rewrites.end(None, Default::default(), 0));
        // Behind the end: a backup that is begun in front of it has taken this for its base.
        if registry.backups.walk_is_over(None) {
            registry.rewrites.schedule(true);
        }
    }

    /// Whether one waits for its turn here.
    pub(super) fn has_rewrite_to_begin(&self) -> bool {
        let registry = &self.global.registry;
        let scheduled = || registry.rewrites.is_scheduled() || registry.saves.is_scheduled();
        self.rewriting.wanted || self.id == 0 && scheduled()
    }

    /// Has history that has grown old removed, every now and then.
    fn age_history(&mut self) {
        let (now, retention) = (self.seconds(), self.config.rewrite.retention);
        if retention == 0
            || !self.global.turning.is_on()
            || now - self.rewriting.history_seen < LOOK
        {
            return;
        }
        self.rewriting.history_seen = now;
        let kept = |line: &Line| line.kind == FileType::History;
        if !self.global.manifest().lines.iter().any(kept) {
            return;
        }
        let (global, target) = (Arc::clone(&self.global), target(&self.config));
        let work = move || {
            // A thread begins on its parent's core. Where it can't leave, removing takes longer.
            let _ = cores::bind("");
            collect(&global, &target);
        };
        let begun = thread::Builder::new().name("history".to_owned()).spawn(work);
        if let Err(error) = begun {
            self.global.warn(&format!("The history files stay: {error}"));
        }
    }

    /// Begins a rewrite, or a snapshot, that was scheduled, and a rewrite that the log's growth
    /// asks for. One shard looks, every now and then.
    pub(super) fn rewrite_by_itself(&mut self) {
        let registry = &self.global.registry;
        let walks = registry.saves.is_rewriting() || registry.saves.in_progress();
        if self.stopping || self.global.ending.is_wished() || walks {
            return;
        }
        self.age_history();
        let registry = &self.global.registry;
        let config = &self.config;
        let growth = self.global.turning.is_on().then(|| registry.log_size()).and_then(|size| {
            let (percentage, least) =
                (config.auto_aof_rewrite_percentage, config.auto_aof_rewrite_min_size);
            registry.rewrites.growth(size, percentage, least)
        });
        // What a log has not written it cannot seal.
        let writes = !self.global.any_log_failing();
        let scheduled = registry.rewrites.is_scheduled();
        if writes
            && (scheduled || self.has_room_to_rewrite())
            && (registry.rewrites.is_scheduled() || growth.is_some())
        {
            let (kept_back, minutes) = registry.rewrites.keeps_back(self.seconds());
            if let Some(minutes) = minutes {
                self.global.warn(&format!(
                    "Background AOF rewrite has repeatedly failed and triggered the limit, will \
                     retry in {minutes} minutes"
                ));
            }
            if !kept_back {
                if let (false, Some(growth)) = (registry.rewrites.is_scheduled(), growth) {
                    self.global.notice(&format!(
                        "Starting automatic rewriting of AOF on {growth}% growth"
                    ));
                }
                self.begin_rewrite();
                return;
            }
        }
        if registry.saves.is_scheduled() && registry.saves.begin(self.seconds()) {
            registry.saves.unschedule();
            registry.saves.count_it();
            self.start_snapshot();
        }
    }
}

/// Where the base is written.
pub(super) fn target(config: &Config) -> Target {
    Target {
        dir: turning::log_dir(config),
        name: temp_base_name(),
        temp: temp_base_name(),
        flush_each: config.rewrite.flush_each,
        ..contents::target(config)
    }
}

/// Says how a rewrite went.
pub(super) fn conclude(
    global: &Global,
    job: &Job,
    rewritten: io::Result<Rewritten>,
    took: Duration,
) -> End {
    match rewritten {
        Ok(Rewritten::Done { bytes }) => {
            let (keys, seconds) = (job.flow.count.load(Ordering::Relaxed), took.as_secs_f64());
            let rates = rates(keys, bytes, seconds);
            global.notice("Background AOF rewrite terminated with success");
            global.notice(&format!(
                "Background AOF rewrite finished successfully: {keys} keys, {bytes} bytes, \
                 {seconds:.3} seconds, {rates}"
            ));
            End::Saved { at: 0, dirty: 0 }
        }
        Ok(Rewritten::Superseded) => {
            global.notice("Background AOF rewrite given up: the log has begun anew");
            End::Untold
        }
        Err(_) if job.given_up.load(Ordering::Acquire) => {
            global.notice("Background AOF rewrite given up: the old files stay");
            End::Untold
        }
        Err(error) => {
            global.warn(&format!("Background AOF rewrite terminated with error: {error}"));
            End::Failed
        }
    }
}

/// Writes the base and puts it in its place. For a thread that may wait.
pub(super) fn rewrite(
    global: &Global,
    aim: &Aim,
    target: &Target,
    header: &[u8],
    chunks: &Receiver<Chunk>,
    flow: &Flow,
) -> io::Result<Rewritten> {
    let disk = match aim.first {
        Some(_) => DirVolume::open(&target.dir),
        None => DirVolume::create(&target.dir),
    };
    let disk = match disk {
        Ok(disk) => disk,
        Err(error) => {
            flow.failed.store(true, Ordering::Release);
            return Err(error);
        }
    };
    let written = write_on(&disk, &walked(aim, target), header, chunks, flow, &|| true);
    let bytes = written.and_then(|bytes| base_of(&disk, aim, target, bytes, flow))?;
    // The cut that began with the walk has it until its manifest is durable.
    global.wait_for_cut();
    take_its_place(global, aim, &disk, target, bytes, flow)
}

/// The file that the walk is written into.
pub(super) fn walked(aim: &Aim, target: &Target) -> Target {
    let name = if aim.plain { temp_rdb_name() } else { target.name.clone() };
    Target { temp: name.clone(), name, ..target.clone() }
}

/// Makes the base of what has been walked, `bytes` long; gives its length in bytes.
pub(super) fn base_of(
    disk: &dyn Sheets,
    aim: &Aim,
    target: &Target,
    bytes: u64,
    flow: &Flow,
) -> io::Result<u64> {
    if !aim.plain {
        return Ok(bytes);
    }
    let made = as_commands(disk, &temp_rdb_name(), &target.name, target.flush_each, flow);
    made.inspect_err(|_| flow.failed.store(true, Ordering::Release))
}

/// Puts the base in its place, and gives the right to cut back, which the caller has.
pub(super) fn take_its_place(
    global: &Global,
    aim: &Aim,
    disk: &dyn Sheets,
    target: &Target,
    bytes: u64,
    flow: &Flow,
) -> io::Result<Rewritten> {
    let given_up = || {
        drop(disk.remove(&target.name));
        io::Error::other("given up")
    };
    let installed = match flow.failed.load(Ordering::Acquire) {
        true => None,
        false => global.change_manifest(|| put_in_place(global, aim, disk, &target.name)),
    };
    global.end_cut();
    let installed = installed.unwrap_or_else(|| Err(given_up()));
    if installed.is_err() {
        flow.failed.store(true, Ordering::Release);
    }
    Ok(match installed? {
        true => Rewritten::Done { bytes },
        false => Rewritten::Superseded,
    })
}

/// Puts the base in its place; false when that is of no use any more.
fn put_in_place(global: &Global, aim: &Aim, disk: &dyn Sheets, temp: &str) -> io::Result<bool> {
    let name = global.append_filename();
    let manifest = match aim.first {
        Some(_) => global.manifest().clone(),
        None => read_manifest(disk, name)?,
    };
    let ending = if aim.plain { "aof" } else { "rdb" };
    let install = || install(disk, name, temp, ending, aim.first, &manifest);
    let installed = match aim.first {
        Some(_) => install(),
        None => guard(disk, name, &manifest, install),
    };
    match installed? {
        Installed::Superseded => Ok(false),
        Installed::Done { manifest, base, durable } => {
            let (opens, lasts) = (aim.opens, durable.is_ok());
            global.turning.named(lasts);
            global.notice(&format!(
                "Successfully renamed the temporary AOF base file {temp} into {base}"
            ));
            let registry = &global.registry;
            registry.log_base_size.store(sealed_size(disk, &manifest), Ordering::Relaxed);
            registry.rewrites.set_base_size(registry.log_size());
            global.set_manifest(manifest);
            if opens {
                turning::listed(global, lasts);
            }
            durable.map(|()| true)
        }
    }
}

/// The files of history that may go: all, or those that nobody can go back to any more.
fn served(global: &Global, disk: &DirVolume) -> Vec<String> {
    let (manifest, retention) = (global.manifest(), global.config().rewrite.retention);
    if retention == 0 {
        return history(&manifest);
    }
    let is_old = |file: &str| disk.age(file).is_ok_and(|age| age.as_secs() >= retention);
    due(&manifest, global.append_filename(), is_old)
}

/// Removes what a rewrite has replaced, unless `aof-disable-auto-gc` says to keep it. For a thread
/// that may wait.
pub(super) fn collect(global: &Global, target: &Target) {
    if global.config().rewrite.keep_history {
        return;
    }
    let disk = match DirVolume::open(&target.dir) {
        Ok(disk) => disk,
        Err(error) => return global.warn(&format!("The history files stay: {error}")),
    };
    let gone = remove_served(global, &disk, &served(global, &disk));
    if !gone.is_empty() {
        global.wait_for_cut();
        forget_served(global, &disk, &gone);
    }
}

/// Removes these files of history; gives those that are gone.
pub(super) fn remove_served(global: &Global, disk: &dyn Volume, files: &[String]) -> Vec<String> {
    for file in files {
        global.notice(&format!("Removing the history file {file} in the background"));
    }
    remove_history(disk, files)
}

/// Takes what is gone out of the manifest, and gives the right to cut back, which the caller has.
pub(super) fn forget_served(global: &Global, disk: &dyn Volume, gone: &[String]) {
    let name = global.append_filename();
    let forgotten = global.change_manifest(|| {
        if global.turning.is_waiting() {
            // What stands on disk is another one; the lines go with the next files.
            return Ok(());
        }
        let manifest = global.manifest().clone();
        match forget_history(disk, name, gone, &manifest)? {
            Some(manifest) => {
                global.set_manifest(manifest);
                Ok(())
            }
            None => Ok::<(), io::Error>(()),
        }
    });
    global.end_cut();
    if let Some(Err(error)) = forgotten {
        global.warn(&format!("The history files stay in the manifest: {error}"));
    }
}

/// What a rewrite's end says of it: nobody is to be blamed for one that was given up.
pub(super) fn verdict(end: End) -> Option<bool> {
    match end {
        End::Saved { .. } => Some(true),
        End::Failed => Some(false),
        End::Untold => None,
    }
}
