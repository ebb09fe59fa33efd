//! DEBUG LOADAOF: every log is made durable and read again, and what was read becomes the data.
//!
//! ```text
//! coordinator                                   every shard
//! claims the right to cut; asks for a lease  ->  sends its keyspace, pauses
//! all keyspaces here: asks for a word        ->  flushes its log
//!                                            <-  all it has executed is durable and released
//! all words here: an errand reads the files
//! the errand tells: databases exchanged,
//! keyspaces go home                          ->  goes on
//! ```
//!
//! *Why what is read is all that was executed.* Nothing executes without a keyspace, and all of
//! them are here from before the first word is asked for until the end. What a shard had executed
//! went to its log when it granted the lease, so the word it gives covers everything, marks
//! included; the reader is told where each log ends, and refuses to find less. The files stay as
//! they are meanwhile: nothing new is logged, and only cuts list, begin and remove files. Claiming
//! the right to cut means that none is under way: the one that gave it back had told every shard
//! that its files are the new ones, in a message that stood in front of the lease.
//!
//! *Why nobody waits for itself.* The lease is held over many turns and the coordinator's thread
//! never waits: its ring goes on, its own log included. A paused shard does its disk operations, so
//! it can become durable. It can release all it has executed as well: the marks in its log are of
//! entries that stood in front of this lease in every FIFO, so each participant has executed and
//! logged its part, and makes it durable as this one does. (For them to settle, every shard has to
//! say that it has passed all in front of the lease, entries it had no part in included; it does so
//! when it is asked for its word.) The errand depends on the disk alone. While a log cannot be
//! written its word does not come; then the lease is given up, with an error.
//!
//! *Why readers are not answered too early.* What was read is released, all of it. So it needs no
//! stamps: every reply about it may leave at once.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::client::Conn;
use crate::client::output::{Merged, Parts, Remote};
use crate::config::Config;
use crate::keyspace::{Database, Effects, Keyspace};
use crate::resp::Reply;
use crate::shard::core::Shard;
use crate::shard::lease::{Lease, Work};
use crate::shard::message::{Message, ReplyTo};
use crate::shard::refill::How;
use crate::shard::requests::all_shards;

/// Keyspaces by shard.
pub type Keyspaces = Vec<Option<Box<Keyspace>>>;
/// Reads what is meant into empty keyspaces, under this configuration.
pub type ReadLog = dyn Fn(&Config, &mut Keyspaces, Meant<'_>) -> Result<(), String> + Send + Sync;
/// There is no log, neither one that is written nor one that lies there.
pub const NO_LOG: &str = "ERR There is no AOF to load: appendonly is no";

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub enum Meant<'a> {
    /// The log that is written, which ends at these positions.
    Written(&'a [u64]),
    /// The log that lies there and that nobody writes.
    Lying,
    /// The file that SAVE writes.
    File,
}

/// What is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The log: DEBUG LOADAOF.
    Log,
    /// The file that SAVE writes: DEBUG RELOAD.
    File(How),
}

/// What DEBUG LOADAOF and DEBUG RELOAD have under way on a shard.
#[derive(Debug, Default)]
pub struct Reload {
    /// The command that has just run asks for it.
    pub wished: Option<Source>,
    /// Clients whose turn is yet to come.
    pub wanted: VecDeque<(ReplyTo, Source)>,
    held: Option<Held>,
}

/// The keyspaces while the log is made durable and read.
#[derive(Debug)]
struct Held {
    entry: u64,
    lease: Lease,
    source: Source,
    /// What the words are called that are waited for.
    word: u64,
    /// How many of them are to come.
    missing: usize,
}

impl Shard {
    /// Puts the reply of the command in its place, to be written when the data has been exchanged.
    /// The connection waits.
    pub(super) fn tell_when_reloaded(&mut self, conn: &mut Conn, source: Source) {
        let (id, missing) = (self.name(), self.shards());
        conn.blocked = true;
        conn.targets |= all_shards(missing);
        let (commands, parts) = (vec![], Parts::new());
        let quiet = conn.session.is_muted();
        conn.output.push_remote(Remote {
            id,
            missing,
            commands,
            parts,
            estimate: 0,
            bytes: 0,
            quiet,
        });
        self.mark_dirty(conn);
        let to = ReplyTo { shard: self.id, conn: conn.key, batch: id, part: 0, words: 0 };
        self.reload.wanted.push_back((to, source));
        self.start_reload();
    }

    /// Starts the first of those that are wanted, once no cut is under way.
    pub(super) fn start_reload(&mut self) {
        let Some((_, source)) = self.reload.wanted.front() else { return };
        let saves = matches!(source, Source::File(How { save: true, .. }));
        if !self.global.begin_cut() {
            return;
        }
        if saves && !self.global.registry.saves.begin(self.now.unix_ms().div_euclid(1000)) {
            // Another one is under way.
            return self.global.end_cut();
        }
        let Some((to, source)) = self.reload.wanted.pop_front() else { return };
        let work = Work { reload: Some(source), ..Work::default() };
        self.ask_for_keyspaces(all_shards(self.shards()), to, work);
    }

    /// Every keyspace is here: asks every shard to make durable what it has executed.
    pub(super) fn begin_reload(&mut self, entry: u64, lease: Lease, source: Source) {
        // It may have ended, or begun, since this was asked for; from here on it does not.
        if let (Source::Log, Some(text)) = (&source, self.no_log_to_load()) {
            let held = Held { entry, lease, source, word: 0, missing: 0 };
            return self.end_reload(held, Err(text));
        }
        let word = self.name();
        let to = ReplyTo { batch: word, ..lease.to };
        let logged = self.log.is_some();
        let missing = if logged { self.shards() } else { 0 };
        let held = Held { entry, lease, source, word, missing };
        assert!(self.reload.held.replace(held).is_none(), "one at a time has the right to cut");
        match logged {
            true => self.spread_stricter(to),
            // There is nothing that could be made durable; a log may lie there all the same.
            false => self.read_again(),
        }
    }

    /// Why no log could be read again now, whatever lies there.
    pub(super) fn no_log_to_load(&self) -> Option<String> {
        let turning = &self.global.turning;
        // It may only be wished yet, behind a save that is under way.
        let waits = turning.is_waiting() || self.global.config().appendonly && !turning.is_on();
        waits.then(|| "ERR There is no AOF to load: the log waits for its base".to_owned())
    }

    /// Takes a shard's word if it is one of those waited for here.
    pub(super) fn is_word_to_reload(&mut self, to: ReplyTo) -> bool {
        let Some(held) = self.reload.held.as_mut().filter(|held| held.word == to.batch) else {
            return false;
        };
        held.missing -= 1;
        if held.missing == 0 {
            self.read_again();
        }
        true
    }

    fn read_again(&mut self) {
        let Some(held) = &mut self.reload.held else { return };
        if let Source::File(how) = held.source {
            let spaces = std::mem::take(&mut held.lease.spaces);
            return self.refill(how, spaces);
        }
        let spaces = &held.lease.spaces;
        let written = self.log.is_some();
        let ends: Vec<u64> = spaces.iter().flatten().map(|s| s.effects.end()).collect();
        let mut fresh: Keyspaces =
            spaces.iter().flatten().map(|s| Some(Box::new(like(s)))).collect();
        let (order, global, id) = (Arc::clone(&self.order), Arc::clone(&self.global), self.id);
        self.global.run_errand(Box::new(move || {
            let meant = if written { Meant::Written(&ends) } else { Meant::Lying };
            let outcome = global.read_log(&mut fresh, meant).map(|()| fresh);
            order.push(id, Message::Reloaded(outcome));
        }));
    }

    /// Gives the lease up while a log cannot be written.
    pub(super) fn give_up_reload(&mut self) {
        if self.reload.held.as_ref().is_some_and(|held| held.missing > 0)
            && let Some(text) = self.global.log_misconf()
            && let Some(held) = self.reload.held.take()
        {
            self.global.warn(&format!("The data is not read again: {text}"));
            self.end_reload(held, Err(text));
        }
    }

    /// The log has been read or not: exchanges the databases.
    pub(super) fn reloaded(&mut self, outcome: Result<Keyspaces, String>) {
        let Some(mut held) = self.reload.held.take() else { return };
        let outcome = match outcome {
            Ok(fresh) => {
                for (old, new) in
                    held.lease.spaces.iter_mut().flatten().zip(fresh.into_iter().flatten())
                {
                    // What was logged is where the stream stands; what was not is another state.
                    if !old.effects.enabled() {
                        old.effects.add_stream(1);
                    }
                    exchange(old, *new);
                }
                self.global.notice("Append Only File loaded by DEBUG LOADAOF");
                Ok(())
            }
            Err(text) => {
                self.global.warn(&format!("DEBUG LOADAOF failed, the data stays: {text}"));
                Err(text)
            }
        };
        self.end_reload(held, outcome);
    }

    /// The file has been read or not, and the keyspaces are back.
    pub(super) fn refilled(&mut self, spaces: Keyspaces, outcome: Result<(), String>) {
        let Some(mut held) = self.reload.held.take() else { return };
        held.lease.spaces = spaces;
        self.end_reload(held, outcome);
    }

    /// Answers and sends the keyspaces home.
    fn end_reload(&mut self, held: Held, outcome: Result<(), String>) {
        let Held { entry, mut lease, source, .. } = held;
        #[cfg(test)]
        if source == Source::Log {
            crate::shard::sim::probe::ran_reload(entry, lease.to, &lease.spaces, &outcome);
        }
        let mut reply = Reply::default();
        match outcome {
            Ok(()) => reply.ok(),
            Err(text) => {
                self.stats().error(text.as_bytes());
                reply.error(text.as_bytes());
            }
        }
        lease.spaces.iter_mut().flatten().for_each(|space| space.read_tag = space.floor);
        let to = lease.to;
        if let Some(conn) = self.conn_mut(to.conn) {
            conn.output.change_remote(to.batch, |remote| {
                remote.bytes = reply.len();
                remote.commands = vec![Merged::Ready(reply)];
            });
        }
        if matches!(source, Source::File(How { save: true, .. })) {
            let saves = &self.global.registry.saves;
            saves.finish(saves.noted(), None);
            self.global.weigh_trouble();
        }
        self.global.end_cut();
        self.send_home(entry, lease, false, None, &[]);
    }
}

/// An empty keyspace that hashes its keys as `space` does: SCAN's cursors stay good.
pub(super) fn like(space: &Keyspace) -> Keyspace {
    let mut fresh = Keyspace::new(space.shard, 0, [0; 2], Effects::new(0, false));
    fresh.dbs = space.dbs.iter().map(Database::fresh).collect();
    fresh.set_recency(space.recency());
    fresh
}

/// Gives `space` the databases of `fresh`. As in Redis, where the data is emptied and comes back,
/// whoever watches a key that was there or is there now is told that it has changed.
pub(super) fn exchange(space: &mut Keyspace, fresh: Keyspace) {
    for (db, new) in fresh.dbs.into_iter().enumerate() {
        let old = std::mem::replace(&mut space.dbs[db], new);
        let new = &space.dbs[db];
        let known = |key: &[u8]| old.find(key).entry.is_some() || new.find(key).entry.is_some();
        space.watched.touch_database(db, known);
        space.waiting.touch_database(db);
        // One without keys, too: a snapshot may want what was there.
        space.discard_database(old);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::keyspace::NewValue;
    use crate::keyspace::cut::Open;
    use crate::keyspace::snapshot::LargeValue;
    use crate::keyspace::watch::WatchFlag;

    fn put(space: &mut Keyspace, db: usize, key: &[u8], expire_ms: Option<i64>) {
        let value = NewValue::Str { bytes: b"value", raw: false };
        let stamp = space.effects.stamp();
        space.dbs[db].put(key, value, expire_ms, stamp);
    }

    #[test]
    fn a_snapshot_gets_what_had_gone_before_the_exchange() {
        let mut space = Keyspace::new(0, 1, [1, 2], Effects::new(0, false));
        put(&mut space, 0, b"gone", None);
        put(&mut space, 0, b"long", None);
        space.dbs[0].edit(b"long", 0, |bytes| bytes.resize(100_000, b'x'));
        let open = Open::default();
        space.begin_snapshot(&open);
        for key in [b"gone", b"long"] {
            let entry = space.dbs[0].remove(key, 0).expect("it was there");
            space.discard(entry);
        }
        exchange(&mut space, Keyspace::new(0, 1, [1, 2], Effects::new(0, false)));
        let mut seen = Vec::new();
        while !space.snapshot_slice(10, &mut |_, entry| seen.push(entry.key().to_vec())) {}
        assert_eq!(seen, [b"gone"]);
        assert_eq!(space.next_large().map(|large| large.key.to_vec()), Some(b"long".to_vec()));
        let whole = space.visit_large(|_, value| match value {
            LargeValue::Text(mut text) => {
                text.look(0..text.len(), |bytes| bytes.len() == 100_000 && bytes.ends_with(b"x"))
            }
            LargeValue::Object(_) => false,
        });
        assert_eq!(whole, Ok(true));
        assert!(space.is_snapshot_over());
    }

    #[test]
    fn databases_are_exchanged_and_nothing_else() {
        let mut space = Keyspace::new(0, 2, [1, 2], Effects::new(500, true));
        put(&mut space, 0, b"old", None);
        put(&mut space, 0, b"both", Some(5));
        put(&mut space, 1, b"other", None);
        (space.floor, space.counters.hits, space.expires_actively) = (77, 5, false);
        space.effects.log(0, &[b"SET", b"k", b"v"]);
        let pending = space.effects.pending().to_vec();
        let flags: Vec<_> = (0..4).map(|_| WatchFlag::default()).collect();
        for (flag, key) in flags.iter().zip(["old", "both", "new", "none"]) {
            space.watched.watch(0, key.as_bytes(), flag.clone());
        }
        let mut fresh = like(&space);
        assert_eq!(fresh.dbs.len(), 2);
        put(&mut fresh, 0, b"both", None);
        put(&mut fresh, 0, b"new", Some(9));
        exchange(&mut space, fresh);
        let raised: Vec<_> = flags.iter().map(|flag| flag.load(Ordering::Relaxed)).collect();
        assert_eq!(raised, [true, true, true, false]);
        let found = |db: usize, key: &[u8]| space.dbs[db].find(key).entry.is_some();
        assert!(!found(0, b"old") && found(0, b"both") && found(0, b"new") && !found(1, b"other"));
        assert_eq!((space.dbs[0].len(), space.dbs[0].expires_len()), (2, 1));
        assert_eq!((space.dbs[0].last_stamp(), space.dbs[0].find(b"both").stamp), (0, 0));
        assert_eq!((space.floor, space.counters.hits, space.expires_actively), (77, 5, false));
        assert_eq!(space.effects.pending(), pending);
        assert_eq!(space.garbage.len(), 2);
        while !space.free_slice(100) {}
        assert_eq!(space.dbs[1].len(), 0);
    }
}
