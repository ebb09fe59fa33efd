//! A snapshot's cut through a whole keyspace: all of its databases at one moment.
//!
//! Databases are walked by identity: SWAPDB moves a database with its cut, and one that FLUSHDB has
//! emptied is walked on aside. Large values are known by the number of their own cut, wherever they
//! go: under another name, into another database or another shard's keyspace
//! ([`Keyspace::adopt_large`]), or away ([`Keyspace::discard`]).

use crate::keyspace::cut::{LARGE_VALUE, Large, Open, Place, State};
use crate::keyspace::database::Database;
use crate::keyspace::space::{Garbage, Keyspace};
use crate::keyspace::texts::{Text, TextCut};
use crate::value::entry::{Entry, NewValue};
use crate::value::object::Object;

/// What a keyspace knows of snapshots.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// Large values that are to be handed out.
    large: Vec<Large>,
    /// Databases that were emptied at once while a cut was under way.
    cleared: Vec<Database>,
    /// From which size on values are large, in bytes; 0: as usual.
    #[cfg(test)]
    pub(crate) large_value: usize,
}

/// A large value, as far as it is at hand.
#[derive(Debug)]
pub enum LargeValue<'a> {
    /// A structure under its cut.
    Object(&'a mut Object),
    /// A string.
    Text(Text<'a>),
}

/// A large value of a cut is nowhere: something let go of it behind the keyspace's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl Keyspace {
    fn large_value(&self) -> usize {
        #[cfg(test)]
        if self.snapshots.large_value > 0 {
            return self.snapshots.large_value;
        }
        LARGE_VALUE
    }

    /// Whether nothing of an earlier snapshot is left, so that the next may begin.
    pub fn is_snapshot_over(&mut self) -> bool {
        self.snapshots.large.is_empty()
            && self.snapshots.cleared.is_empty()
            && self.dbs.iter_mut().all(|db| db.cut().is_none())
    }

    /// From now on [`Keyspace::snapshot_slice`] and [`Keyspace::visit_large`] hand out what is here
    /// now. Takes a time by the number of databases only. `open` counts the large values, and the
    /// databases' cuts that have not come to their end.
    ///
    /// # Panics
    /// When an earlier one is not over.
    pub fn begin_snapshot(&mut self, open: &Open) {
        assert!(self.is_snapshot_over(), "one snapshot at a time");
        let large = self.large_value();
        for (index, db) in self.dbs.iter_mut().enumerate() {
            if !db.is_empty() {
                assert!(db.begin_cut(index, large, open), "its last cut has come to its end");
            }
        }
    }

    /// Hands out about `budget` of the keys of then, each with the number of its database; true
    /// when there are none left but large values.
    pub fn snapshot_slice(&mut self, budget: usize, visit: &mut dyn FnMut(usize, &Entry)) -> bool {
        let mut done = true;
        let mut left = budget;
        for db in self.dbs.iter_mut().chain(&mut self.snapshots.cleared) {
            if left == 0 {
                done &= db.cut().is_none();
                continue;
            }
            let mut seen = 0;
            let mut count = |index: usize, entry: &Entry| {
                seen += 1;
                visit(index, entry);
            };
            if !db.cut_slice(left, &mut count) {
                self.snapshots.large.extend(db.cut().into_iter().flat_map(|c| c.large.drain(..)));
                done &= db.cut_slice(1, visit);
                left = 0;
            }
            left = left.saturating_sub(seen);
        }
        if done {
            self.release_cleared();
        }
        done
    }

    /// Takes over the large values that the databases' cuts have met.
    fn gather_large(&mut self) {
        let mut gone = Vec::new();
        for db in self.dbs.iter_mut().chain(&mut self.snapshots.cleared) {
            if let Some(cut) = db.cut() {
                self.snapshots.large.append(&mut cut.large);
            }
            gone.append(&mut db.gone());
        }
        for (entry, text) in gone {
            if let Some(large) = self.snapshots.large.iter_mut().find(|l| l.id == text.id) {
                (large.place, large.text) = (Place::Away(entry), Some(text));
            }
        }
    }

    /// Emptied databases are freed once nothing of theirs is wanted.
    fn release_cleared(&mut self) {
        if self.snapshots.large.is_empty() {
            let cleared = self.snapshots.cleared.drain(..);
            self.garbage.extend(cleared.map(Garbage::Database));
        }
    }

    /// A database has been emptied at once: it is freed, later if a cut goes through it.
    pub fn discard_database(&mut self, mut database: Database) {
        if database.cut().is_some() || !self.snapshots.large.is_empty() {
            self.snapshots.cleared.push(database);
        } else {
            self.garbage.push(Garbage::Database(database));
        }
    }

    /// The next large value that is to be handed out.
    pub fn next_large(&mut self) -> Option<&Large> {
        self.gather_large();
        self.snapshots.large.first()
    }

    /// Makes the large value of cut `id` the next one; false when it is not here.
    pub fn put_first(&mut self, id: u64) -> bool {
        let at = self.snapshots.large.iter().position(|large| large.id == id);
        if let Some(at) = at {
            self.snapshots.large.swap(0, at);
        }
        at.is_some()
    }

    /// Lets `visit` go on with that value; when it says true the value is done with.
    pub fn visit_large(
        &mut self,
        visit: impl FnOnce(&mut State, LargeValue<'_>) -> bool,
    ) -> Result<bool, Lost> {
        self.gather_large();
        let mut visit = Some(visit);
        let Some(large) = self.snapshots.large.first_mut() else { return Ok(true) };
        let (id, state) = (large.id, &mut large.state);
        let mut dbs = self.dbs.iter_mut().chain(&mut self.snapshots.cleared);
        let mut visit =
            |value: LargeValue<'_>| visit.take().is_some_and(|visit| visit(state, value));
        let mut look = |object: &mut Object| {
            let done = visit(LargeValue::Object(object));
            if done {
                // All of it has been visited, so nothing much is kept.
                drop(object.end_cut());
            }
            done
        };
        let done = match (&mut large.place, &mut large.text) {
            (Place::Away(entry), Some(cut)) => {
                let mut visit = |text: Text<'_>| visit(LargeValue::Text(text));
                match entry.long_mut().map(|long| cut.visit(long, &mut visit)) {
                    Some(Err(bytes)) => {
                        let value = NewValue::Shared { bytes, raw: false };
                        *entry = Entry::new(entry.key(), value, None);
                        Some(false)
                    }
                    Some(Ok(done)) => Some(done),
                    None => None,
                }
            }
            (Place::Away(entry), None) => entry.object_mut().map(|object| look(object)),
            (Place::Under(_), _) if large.facts.is_none() => {
                dbs.find_map(|db| db.visit_text(id, &mut |text| visit(LargeValue::Text(text))))
            }
            (Place::Under(key), _) => dbs.find_map(|db| db.visit_cut(key, id, &mut look)),
        };
        let done = done.ok_or(Lost)?;
        if done {
            let large = self.snapshots.large.remove(0);
            if let Place::Away(entry) = large.place {
                self.discard(entry);
            }
            if self.dbs.iter_mut().chain(&mut self.snapshots.cleared).all(|db| db.cut().is_none()) {
                self.release_cleared();
            }
        }
        Ok(done)
    }

    /// Takes the record of a large value out, because the value itself goes to another place.
    pub fn give_large(&mut self, id: u64) -> Option<Large> {
        self.gather_large();
        let at = self.snapshots.large.iter().position(|large| large.id == id)?;
        Some(self.snapshots.large.remove(at))
    }

    /// A large value under its cut comes to stand under `key` here.
    pub fn adopt_large(&mut self, mut large: Large, key: &[u8]) {
        large.place = Place::Under(key.into());
        self.snapshots.large.push(large);
    }

    /// A large value under its cut has no place any more; gives it back when no cut wants it.
    pub(super) fn keep_large(&mut self, entry: Entry) -> Option<Entry> {
        let Some(mut large) = entry.cut_id().and_then(|id| self.give_large(id)) else {
            return Some(entry);
        };
        large.place = Place::Away(entry);
        self.snapshots.large.push(large);
        None
    }

    /// Gives a snapshot up: [`Keyspace::snapshot_slice`] hands out nothing more, but has to be
    /// called until it says true.
    pub fn cancel_snapshot(&mut self) {
        self.gather_large();
        for db in self.dbs.iter_mut().chain(&mut self.snapshots.cleared) {
            if let Some(cut) = db.cut() {
                cut.silence();
            }
        }
        while !self.snapshots.large.is_empty() {
            if self.visit_large(|_, _| true) == Err(Lost) {
                self.snapshots.large.remove(0);
            }
        }
    }

    /// Lets go of large values that have come here from a shard which had not heard yet that their
    /// snapshot is given up.
    pub fn drop_large(&mut self) {
        if !self.snapshots.large.is_empty() {
            self.cancel_snapshot();
        }
    }

    /// Bytes of memory of databases that are kept aside.
    pub(super) fn cleared_memory(&self) -> usize {
        self.snapshots.cleared.iter().map(Database::memory).sum()
    }

    /// Bytes of memory that copies of what has changed take, of what is database `db` now. Takes no
    /// time.
    pub fn snapshot_memory_of(&mut self, db: usize) -> usize {
        self.dbs.get_mut(db).and_then(Database::cut).map_or(0, |cut| cut.memory())
    }

    /// Bytes of memory that copies of what has changed take.
    pub fn snapshot_memory(&mut self) -> usize {
        let dbs = self.dbs.iter_mut().chain(&mut self.snapshots.cleared);
        let kept = |db: &mut Database| db.text_memory() + db.cut().map_or(0, |cut| cut.memory());
        let away = self.snapshots.large.iter().filter_map(|large| large.text.as_ref());
        dbs.map(kept).sum::<usize>() + away.map(TextCut::memory).sum::<usize>()
    }
}
