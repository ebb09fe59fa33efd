//! Mending: a log of which a flush has failed goes on in another file.
//!
//! ```text
//! shard with the broken log            every shard
//! writes nothing more, counts nothing; MISCONF for writes; reads are served
//! claims the right to cut; asks for
//! all keyspaces                  ->    sends its own, pauses
//! names the new files; keyspaces
//! go home                        ->    a cut that says nothing (`super::cut`)
//! ```
//!
//! Why the other shards take part: the manifest knows generations of one file per shard, and a cut
//! at one moment is what makes every demand of an old mark met ([`super::log::kept`]). They lose
//! nothing by it but a flush.
//!
//! *Any other cut* that comes first mends the log as well, so nothing is asked for while one goes
//! on. *What the disk refuses* (room, a file that cannot be created) gives this cut up like that of
//! a rewrite: the healthy logs go on in their old files, the broken one waits, and another cut is
//! tried a little later, for as long as it takes. *A flush that fails again* is the end: what was
//! acknowledged is durable or in the page cache, what was not cannot be made so, and the process
//! stops with an error instead of telling more that may not be true. It does the same where a
//! flush fails behind the snapshot that a stop begins with, since no cut comes about then.

use crate::shard::core::Shard;
use crate::shard::lease::{Lease, Work};
use crate::shard::log::LogWriter;
use crate::shard::requests::all_shards;

/// How long a mending that was refused waits before the next, in microseconds.
const AGAIN_US: u64 = 250_000;

/// How long the disk may take before that is said, in microseconds.
const SLOW_US: u64 = 2_000_000;

/// What a shard does about its log's disk.
#[derive(Debug, Default)]
pub struct Mending {
    /// The keyspaces have been asked for.
    asked: bool,
    /// Not before this time again.
    next_us: u64,
    /// That it failed has been said.
    said: bool,
    /// That the disk does not answer has been said.
    slow: bool,
}

impl Shard {
    /// A flush of the log has failed.
    pub(super) fn log_broke(&mut self, error: &str) {
        self.rewriting.mending =
            Mending { slow: self.rewriting.mending.slow, ..Mending::default() };
        self.stats().log_broken.add(1);
        self.global.log_failing(self.id, Some(error.to_owned()));
        self.global.warn(
            "What was flushed in vain is in memory, and the log goes on with it in another file.",
        );
    }

    /// Says that a write or a flush takes long, and when it has ended.
    pub(super) fn warn_of_slow_disk(&mut self) {
        let since = self.log.as_ref().and_then(LogWriter::waits_since);
        let slow = since.is_some_and(|at| self.now.mono_us.saturating_sub(at) >= SLOW_US);
        if slow != std::mem::replace(&mut self.rewriting.mending.slow, slow) {
            self.global.warn(match slow {
                true => {
                    "The disk of the log has not answered for two seconds: what depends on it \
                     waits, reads are served."
                }
                false => "The disk of the log answers again.",
            });
        }
        self.stats().log_slow.set(u64::from(slow));
    }

    /// Whether the log is broken and no cut is under way that mends it.
    pub(super) fn has_log_to_mend(&self) -> bool {
        self.cut.is_none() && self.log.as_ref().is_some_and(LogWriter::is_broken)
    }

    /// Asks for the keyspaces once no other cut is under way.
    pub(super) fn try_mend(&mut self) {
        let due =
            !self.rewriting.mending.asked && self.now.mono_us >= self.rewriting.mending.next_us;
        if due && self.has_log_to_mend() && self.global.begin_cut() {
            self.rewriting.mending.asked = true;
            let nobody = self.nobody();
            let work = Work { mends: true, ..Work::default() };
            self.ask_for_keyspaces(all_shards(self.shards()), nobody, work);
        }
    }

    /// While stopping behind a last snapshot: a broken log cannot be mended any more.
    pub(super) fn give_up_mending(&self) {
        if self.stopping && self.snapshot.holds_still && self.has_log_to_mend() {
            self.global.fatal("The log could not be flushed to its end while the server stops.");
        }
    }

    /// Every keyspace is here.
    pub(super) fn begin_mend(&mut self, entry: u64, lease: Lease) {
        self.rewriting.mending.asked = false;
        let files = self.lead_mend();
        self.send_home(entry, lease, false, Some(files), &[]);
    }

    /// The cut has been refused by the disk.
    pub(super) fn fail_mend(&mut self, error: &str) {
        self.rewriting.mending.next_us = self.now.mono_us + AGAIN_US;
        if !std::mem::replace(&mut self.rewriting.mending.said, true) {
            let text = "The log cannot go on in another file yet, and this is tried again";
            self.global.warn(&format!("{text}: {error}"));
        }
    }
}
