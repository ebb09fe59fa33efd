//! The reserve: a file beside the log that holds nothing but room (`aof-reserve-size`), given up
//! when the disk is full.
//!
//! ```text
//! kept --- a disk says that there is no room ---> out: the file is removed; writes are refused
//!  ^                                                    |
//!  +-- no log fails, and there is room for two of it ---+
//! ```
//!
//! What its room is for: the frames that have been executed when the disk says that it is full, and
//! whose clients wait; the other file that a log goes on in when a flush has failed; the manifest
//! of a cut; the end of the log at a stop. Nothing else is begun meanwhile: writes are refused
//! until the reserve is back, so it cannot be eaten up by those that come next, and nothing is
//! written ahead. (Keys that expire are removed all the same, which is a line each.)
//!
//! *Twice as long, then cut.* It is made again with as much room behind it, so that the next write
//! does not find a disk that is full again. What there is room for only the disk knows, which may
//! count by quotas, so that is how it is asked.
//!
//! *Never while a log fails:* a frame too long for what was given up waits for more room than there
//! is, and may find it as it comes.
//!
//! It is worth nothing behind a crash, so it is never flushed; a start finds it and takes it over,
//! a stop in good order removes it. No manifest names it, and redis-server and recovery do not look
//! at it.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::persist::disk::Volume;
use crate::shard::global::Global;

/// Name of the file.
pub fn reserve_name(appendfilename: &str) -> String {
    format!("{appendfilename}.reserve")
}

/// Whether a disk refuses for lack of room.
fn is_full(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// What is known of the reserve.
#[derive(Default)]
pub struct Reserve {
    /// The log's directory; held by whoever changes the file.
    volume: Mutex<Option<Arc<dyn Volume>>>,
    /// It has been given up, and is not back.
    out: AtomicBool,
    /// That there is no room for it has been said.
    lack_said: AtomicBool,
}

impl Reserve {
    /// Whether it has been given up and is not back.
    pub fn is_out(&self) -> bool {
        self.out.load(Ordering::SeqCst)
    }

    fn volume(&self) -> MutexGuard<'_, Option<Arc<dyn Volume>>> {
        self.volume.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Global {
    /// From here on room is kept in this directory, which is that of the log. May wait for a disk.
    pub fn keep_reserve(&self, volume: Arc<dyn Volume>) {
        *self.reserve.volume() = Some(volume);
        self.tend_reserve();
    }

    /// The log comes to its end: its room is given back. May wait for a disk.
    pub fn end_reserve(&self) {
        let mut volume = self.reserve.volume();
        if let Some(volume) = volume.take() {
            // What cannot be removed is taken over by the next start.
            drop(volume.remove(&reserve_name(self.append_filename())));
        }
        self.registry.reserve.store(0, Ordering::SeqCst);
        self.set_reserve_out(false);
    }

    /// A disk has refused something of the log, for this reason, and in these words: where it is
    /// full, the reserve is given up. True when that has just begun.
    pub fn needs_room(self: &Arc<Self>, why: ErrorKind, error: &str) -> bool {
        if !is_full(why) || self.registry.reserve.swap(0, Ordering::SeqCst) == 0 {
            return false;
        }
        self.set_reserve_out(true);
        self.note_failure(error);
        self.warn(
            "The disk of the log is full. The room of the reserve is given up for what is under \
             way, and writes are refused until there is room for it again.",
        );
        let global = Arc::clone(self);
        self.run_errand(Box::new(move || {
            let volume = global.reserve.volume();
            let given_up = global.registry.reserve.load(Ordering::SeqCst) == 0;
            if let (Some(volume), true) = (&*volume, given_up)
                && let Err(error) = volume.remove(&reserve_name(global.append_filename()))
            {
                global.warn(&format!("The reserve cannot be removed: {error}"));
            }
        }));
        true
    }

    fn set_reserve_out(&self, out: bool) {
        if self.reserve.out.swap(out, Ordering::SeqCst) != out {
            // Whether anything is written ahead depends on it.
            self.has_changed();
            self.weigh_trouble();
        }
    }

    /// Makes the reserve what it is to be, if that is possible. May wait for a disk.
    pub fn tend_reserve(&self) {
        let reserve = &self.reserve;
        let volume = reserve.volume();
        let wanted = self.config().commits.reserve;
        let kept = &self.registry.reserve;
        let due = reserve.is_out() || kept.load(Ordering::SeqCst) != wanted;
        let Some(volume) = volume.as_ref().filter(|_| due) else { return };
        if self.is_stopping() || self.is_log_failing() {
            return;
        }
        let name = reserve_name(self.append_filename());
        if wanted == 0 {
            // There may be none.
            drop(volume.remove(&name));
        } else if let Err(error) = make(&**volume, &name, wanted) {
            drop(volume.remove(&name));
            kept.store(0, Ordering::SeqCst);
            if !reserve.is_out() && !reserve.lack_said.swap(true, Ordering::SeqCst) {
                self.warn(&format!("There is no room for a reserve of {wanted} bytes: {error}"));
            }
            return;
        }
        kept.store(wanted, Ordering::SeqCst);
        reserve.lack_said.store(false, Ordering::SeqCst);
        if reserve.is_out() {
            self.set_reserve_out(false);
            self.warn("AOF write error looks solved. The server can write again.");
        }
    }
}

fn make(volume: &dyn Volume, name: &str, bytes: u64) -> io::Result<()> {
    volume.allocate(name, bytes.saturating_mul(2))?;
    volume.allocate(name, bytes)
}

#[cfg(test)]
mod tests;
