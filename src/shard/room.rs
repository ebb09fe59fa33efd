//! The room on the log's disk, and whether the log is still where it was: looked at now and then
//! aside, since even that may wait for a disk.
//!
//! * Less room than `aof-low-space`: said once, in the log and in INFO, until there is a quarter
//!   more. A rewrite that would begin by itself then waits while a base as long as the last one has
//!   no room.
//! * The directory, or a file that is being written, has lost its name: what is written goes where
//!   nobody will find it. Writes are refused from then on, until the names are back. What has been
//!   acknowledged is in memory, and can be read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::persist::aof::manifest::{Manifest, Ours, manifest_name};
use crate::persist::disk::Volume;
use crate::persist::volume::DirVolume;
use crate::shard::core::Shard;
use crate::shard::global::Global;

/// How often is looked, in microseconds.
const LOOK_US: u64 = 500_000;

/// A directory: its path and its identity.
type Home = (PathBuf, (u64, u64));

/// What was found.
#[derive(Debug, Default)]
pub struct Room {
    /// The log's directory, as it was when the log began there. Nothing is looked at without.
    home: Mutex<Option<Home>>,
    /// A look is under way.
    looking: AtomicBool,
    /// The next is due, in monotonic microseconds.
    next_us: AtomicU64,
    /// The log is not where it was.
    gone: AtomicBool,
}

impl Room {
    /// Whether the log is not where it was.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn home(&self) -> MutexGuard<'_, Option<Home>> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Global {
    /// From here on the log's directory is looked at.
    pub fn watch_room(&self, dir: &Path) {
        let Ok(dir) = DirVolume::open(dir) else { return };
        if let Ok(identity) = dir.identity() {
            *self.room.home() = Some((dir.path().to_owned(), identity));
            self.keep_reserve(Arc::new(dir));
        }
    }

    /// There is no log any more: whatever was found says nothing.
    pub fn forget_room(self: &Arc<Self>) {
        let mut home = self.room.home();
        *home = None;
        self.room.gone.store(false, Ordering::Relaxed);
        self.registry.disk_free.store(u64::MAX, Ordering::Relaxed);
        self.registry.disk_low.store(false, Ordering::Relaxed);
        drop(home);
        self.weigh_trouble();
        let global = Arc::clone(self);
        self.run_errand(Box::new(move || global.end_reserve()));
    }
}

impl Shard {
    /// Has the disk looked at when that is due. Any shard does: a server at rest needs no room.
    pub(super) fn look_at_room(&self) {
        let (room, now) = (&self.global.room, self.now.mono_us);
        let due = self.log.is_some() && now >= room.next_us.load(Ordering::Relaxed);
        if !due || room.looking.swap(true, Ordering::Relaxed) {
            return;
        }
        room.next_us.store(now + LOOK_US, Ordering::Relaxed);
        let global = Arc::clone(&self.global);
        self.global.run_errand(Box::new(move || {
            look(&global);
            if !global.room.is_gone() {
                global.tend_reserve();
            }
            global.room.looking.store(false, Ordering::Relaxed);
        }));
    }

    /// Whether a new base as long as the last one would have room.
    pub(super) fn has_room_to_rewrite(&self) -> bool {
        let registry = &self.global.registry;
        let free = registry.disk_free.load(Ordering::Relaxed);
        free >= registry.rewrites.base_size()
    }
}

fn look(global: &Global) {
    let Some((path, identity)) = global.room.home().clone() else { return };
    let there = DirVolume::open(&path).and_then(|dir| Ok((dir.identity()?, dir)));
    let mut free = None;
    let gone = match there {
        Ok((found, dir)) if found == identity => {
            free = dir.free_bytes().ok();
            lost_name(global, &dir)
        }
        Ok(_) => Some("the directory of the log is another one".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some("the directory of the log is gone".to_owned())
        }
        // A disk that does not answer is told of by what is written.
        Err(_) => return,
    };
    let home = global.room.home();
    if *home != Some((path, identity)) {
        // The log is somewhere else by now, or nowhere.
        return;
    }
    if let Some(free) = free {
        weigh(global, free);
    }
    let was = global.room.gone.swap(gone.is_some(), Ordering::Relaxed);
    match gone {
        Some(what) if !was => {
            global.log_lost(&what);
            global.warn(&format!(
                "{what}: what is written now would not be found by the next start. Writes are \
                 refused; what was acknowledged is in memory and can be read."
            ));
        }
        None if was => {
            global.weigh_trouble();
            global.warn("The log is where it was again, and writes are taken.");
        }
        _ => {}
    }
}

/// A file of the log that has no name any more, as an error's text.
fn lost_name(global: &Global, dir: &DirVolume) -> Option<String> {
    let manifest = global.manifest().clone();
    let written = written_files(&manifest);
    // A log that waits for its base has no manifest yet.
    let name = global.turning.is_on().then(|| manifest_name(global.append_filename()));
    let missing = |file: &String| {
        dir.len(file).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    let lost = written.chain(name).find(missing)?;
    // A cut may have removed it since.
    let same = *global.manifest() == manifest && !global.cut_busy();
    same.then(|| format!("the file {lost} of the log is gone"))
}

fn written_files(manifest: &Manifest) -> impl Iterator<Item = String> {
    let last = manifest.generation();
    manifest.lines.iter().filter_map(move |line| match &line.ours {
        Some(Ours::Shard(pairs)) if pairs.generation == last => Some(line.file.clone()),
        _ => None,
    })
}

fn weigh(global: &Global, free: u64) {
    let registry = &global.registry;
    registry.disk_free.store(free, Ordering::Relaxed);
    let least = global.config().commits.low_space;
    let was = registry.disk_low.load(Ordering::Relaxed);
    let low = if was { free < least.saturating_add(least / 4) } else { free < least };
    registry.disk_low.store(low, Ordering::Relaxed);
    if low && !was {
        global.warn(&format!(
            "The disk of the log has {} MiB left, less than aof-low-space: when it is full, writes \
             are refused.",
            free >> 20
        ));
    } else if was && !low {
        global.notice("The disk of the log has room again.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::bounds_tests::Bench;
    use crate::shard::turning::Logging;

    #[test]
    fn a_log_that_waits_for_its_base_has_no_manifest_to_lose() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DirVolume::open(temp.path()).unwrap();
        let bench = Bench::new(0, &[]);
        let global = &bench.shards[0].global;
        let files: Vec<String> = global.manifest().lines.iter().map(|l| l.file.clone()).collect();
        files.iter().for_each(|file| dir.write_synced(file, b"").unwrap());
        global.turning.set(Logging::Waiting);
        assert_eq!(lost_name(global, &dir), None);
        global.turning.set(Logging::On);
        assert!(lost_name(global, &dir).is_some_and(|what| what.contains("aof.manifest")));
        dir.write_synced(&manifest_name(global.append_filename()), b"").unwrap();
        assert_eq!(lost_name(global, &dir), None);
        dir.remove(&files[0]).unwrap();
        assert!(lost_name(global, &dir).is_some_and(|what| what.contains(&files[0])));
    }
}
