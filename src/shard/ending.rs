//! The end of the process behind a last snapshot (SHUTDOWN and signals, where save points are set
//! or the save is asked for), and snapshots that nobody asks for.
//!
//! ```text
//! whoever is told to stop       the first shard                 every shard
//! says so to all (`Ending`) ->  gives up a background save,
//!                               begins the last snapshot    ->  at its moment: holds still
//!                                                               hands out what it holds
//!                                                           <-  the outcome
//!                               saved: all shards stop; failed: they go on, and whoever
//!                               asked is told
//! ```
//!
//! *Nothing that was acknowledged is missing.* From the moment of the snapshot on no shard executes
//! anything: it is paused as for a lease that does not end. Entries stand in the same order
//! everywhere, so what stands behind the moment in one FIFO stands behind it in all, and is
//! executed nowhere or, if the save fails, everywhere. What was executed before is in the file; its
//! replies leave while the file is written, and with a log they wait for that as ever. So the
//! process may end with requests that were taken in and never executed: nobody has been told of
//! them.
//!
//! *Why a log settles meanwhile.* All marks in it belong to entries in front of the moment, which
//! every shard has passed. A shard that holds still is paused at the entry behind the snapshot's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::Conn;
use crate::command::Command;
use crate::config::Shutdown;
use crate::resp::Reply;
use crate::shard::core::Shard;
use crate::shard::message::{JobDone, Message, ReplyTo};

/// What SHUTDOWN answers when the save fails.
pub const NO_SHUTDOWN: &str = "ERR Errors trying to SHUTDOWN. Check logs.";

/// A client that has asked for the end, whether it speaks RESP3, and what it is told when the
/// process goes on.
pub type Asker = (ReplyTo, bool, &'static str);

/// The wish that the process end behind a last snapshot.
#[derive(Debug, Default)]
pub struct Ending {
    wished: AtomicBool,
    wish: Mutex<Wish>,
}

#[derive(Debug, Default)]
struct Wish {
    /// The snapshot has begun.
    begun: bool,
    /// The process ends even if it fails.
    force: bool,
    askers: Vec<Asker>,
}

impl Ending {
    fn wish_mut(&self) -> MutexGuard<'_, Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process is to end; `force`: even if the snapshot fails.
    pub fn wish(&self, force: bool, asker: Option<Asker>) {
        let mut wish = self.wish_mut();
        wish.force |= force;
        wish.askers.extend(asker);
        self.wished.store(true, Ordering::SeqCst);
    }

    /// Whether it is to end, and has not failed to.
    pub fn is_wished(&self) -> bool {
        self.wished.load(Ordering::Relaxed)
    }

    fn has_begun(&self) -> bool {
        self.wish_mut().begun
    }

    fn is_forced(&self) -> bool {
        self.wish_mut().force
    }

    /// The process goes on; gives those who are told.
    fn withdraw(&self) -> Vec<Asker> {
        let mut wish = self.wish_mut();
        self.wished.store(false, Ordering::SeqCst);
        std::mem::take(&mut *wish).askers
    }
}

impl Shard {
    /// The command that has just run ends the process; `failure`: what it answers when that fails.
    pub(super) fn end_process(&mut self, how: Shutdown, failure: &'static str) {
        self.global.warn("User requested shutdown...");
        if self.config.saves_at_stop(how) {
            self.snapshot.ends = Some((failure, how.force));
        } else {
            self.global.stop();
            self.order.wake_all();
        }
    }

    /// The process ends behind a snapshot; `conn` is told if it does not.
    pub(super) fn tell_if_it_goes_on(
        &mut self,
        conn: &mut Conn,
        failure: &'static str,
        force: bool,
    ) {
        let to = self.stand_in_for_one(conn);
        self.end_behind_snapshot(force, Some((to, conn.session.resp3, failure)));
    }

    /// Says that the process ends behind a snapshot.
    pub(super) fn end_behind_snapshot(&self, force: bool, asker: Option<Asker>) {
        self.global.ending.wish(force, asker);
        self.order.wake_all();
    }

    /// The first shard begins the last snapshot.
    pub(super) fn look_for_end(&mut self) {
        let ending = &self.global.ending;
        if self.id != 0 || !ending.is_wished() || self.stopping || ending.has_begun() {
            return;
        }
        if !self.begin_saving() {
            // Its file would tell of an older moment.
            return self.replace_by_last();
        }
        self.global.ending.wish_mut().begun = true;
        self.global.notice("Saving the final RDB snapshot before exiting.");
        self.start_last_snapshot();
    }

    /// Claims the right to begin a snapshot.
    pub(super) fn begin_saving(&self) -> bool {
        self.global.registry.saves.begin(self.now.unix_ms().div_euclid(1000))
    }

    /// The moment of the last snapshot, whose entry this is.
    pub(super) fn hold_still(&mut self, entry: u64) {
        self.paused = Some(entry + 1);
        self.snapshot.holds_still = true;
    }

    /// This shard's part in the last snapshot has ended; `last`: nobody else's is left.
    pub(super) fn last_snapshot_over(&mut self, saved: bool, last: bool) {
        let ends = saved || self.global.ending.is_forced();
        if !ends {
            self.paused = None;
            self.snapshot.holds_still = false;
            // What waits in here is looked at in a turn of its own.
            self.order.wake_all();
        }
        if !last {
            return;
        }
        if ends {
            if !saved {
                self.global.warn("Error trying to save the DB. Exit anyway.");
            }
            self.global.stop();
            return self.order.wake_all();
        }
        self.global.warn("Error trying to save the DB, can't exit.");
        self.global
            .warn("Errors trying to shut down the server. Check the logs for more information.");
        self.global.stay();
        for (to, resp3, text) in self.global.ending.withdraw() {
            let mut reply = Reply::new(resp3);
            reply.error(text.as_bytes());
            self.stats().error(text.as_bytes());
            self.replies.push((to.shard, Message::Done(JobDone::alone(to, reply))));
        }
    }

    /// Begins a snapshot if a save point asks for it. One shard looks, every now and then: all
    /// have made their changes known at the end of their turns.
    pub(super) fn save_by_itself(&mut self) {
        if self.stopping || self.global.ending.is_wished() {
            return;
        }
        let registry = &self.global.registry;
        let dirty = registry.shards.iter().map(|shard| shard.dirty.get()).sum();
        let now = self.now.unix_ms().div_euclid(1000);
        let Some(point) = registry.saves.due(&self.config.save_points, now, dirty) else { return };
        if self.begin_saving() {
            registry.saves.count_it();
            let (changes, seconds) = (point.changes, point.seconds);
            self.global.notice(&format!("{changes} changes in {seconds} seconds. Saving..."));
            self.start_snapshot();
        }
    }

    /// Whether a command empties all databases, and the file of a snapshot is to follow.
    pub(super) fn is_saved_behind(&self, command: &Command) -> bool {
        command.name == "flushall" && !self.config.save_points.is_empty()
    }

    /// Notes that what is about to run for `conn` empties all databases. Its reply comes behind an
    /// empty one that waits for the file; where there is a log, it waits for that as ever.
    pub(super) fn note_emptied(&mut self, conn: &mut Conn) {
        let waits = self.log.is_none().then(|| self.stand_in_for_one(conn));
        self.snapshot.emptied.get_or_insert_default().extend(waits);
    }

    /// Where save points are set, FLUSHALL is followed by a snapshot at once, so that a start
    /// behind a crash does not bring back what was removed. It is begun behind the entry of the
    /// command.
    pub(super) fn save_emptied(&mut self) {
        if self.snapshot.emptied.is_none() {
            return;
        }
        if self.stopping {
            self.snapshot.emptied = None;
        } else if !self.begin_saving() {
            self.replace_snapshot();
        } else if let Some(waits) = self.snapshot.emptied.take() {
            self.start_emptied_snapshot(waits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ConnKey;

    #[test]
    fn a_wish_lasts_until_it_is_withdrawn() {
        let ending = Ending::default();
        assert!(!ending.is_wished() && !ending.is_forced() && !ending.has_begun());
        let conn = ConnKey { index: 1, generation: 2 };
        let to = ReplyTo { shard: 1, conn, batch: 7, part: 0, words: 0 };
        ending.wish(false, Some((to, true, NO_SHUTDOWN)));
        ending.wish(true, None);
        ending.wish(false, None);
        assert!(ending.is_wished() && ending.is_forced() && !ending.has_begun());
        ending.wish_mut().begun = true;
        let askers = ending.withdraw();
        assert_eq!(askers.iter().map(|asker| asker.0.batch).collect::<Vec<_>>(), [7]);
        assert!(!ending.is_wished() && !ending.is_forced() && !ending.has_begun());
    }
}
