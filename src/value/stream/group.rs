//! Consumer groups: how far each has read, and what was delivered and not acknowledged yet.
//!
//! A pending entry stands in two places: under its id in `pending`, with its consumer's number, and
//! in `owned` under consumer and id, for a consumer's own history. Numbers of consumers are never
//! used twice.
//!
//! Invariants: both places have the same entries; a consumer's `pending` is how many are its own.

use std::collections::BTreeMap;

use crate::value::account::usable;
use crate::value::stream::COUNT_MAX;
use crate::value::stream::chunks::Chunks;
use crate::value::stream::id::Id;
use crate::value::stream::tracked::{Kept, Tracked, Weigh};

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it was delivered last, in Unix milliseconds.
    pub time: i64,
    /// How often it was delivered.
    pub count: u64,
    /// The number of the consumer that has it.
    pub consumer: u64,
}

impl Pending {
    /// The same, delivered once more at `time`; `counts` whether that counts.
    pub fn again(self, time: i64, counts: bool) -> Pending {
        let count = self.count.saturating_add(u64::from(counts)).min(COUNT_MAX);
        Pending { time, count, ..self }
    }
}

impl Weigh for Pending {
    fn weight(&self) -> usize {
        0
    }
}

/// One consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: Box<[u8]>,
    /// When it last asked for entries, in Unix milliseconds.
    pub seen: i64,
    /// When it last was given one, likewise; -1: never.
    pub active: i64,
    /// How many entries are pending with it.
    pub pending: usize,
}

impl Weigh for Consumer {
    fn weight(&self) -> usize {
        usable(self.name.len())
    }
}

/// One consumer group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The id of the entry delivered last.
    pub last_id: Id,
    /// How many entries of all that were ever added lie up to `last_id`; -1: nobody knows.
    pub entries_read: i64,
    pending: Chunks<Id, Pending>,
    pub(super) kept: Kept<Id, Pending>,
    owned: BTreeMap<u64, Chunks<Id, ()>>,
    pub(super) consumers: Tracked<u64, Consumer>,
    names: BTreeMap<Box<[u8]>, u64>,
    next_number: u64,
    /// `last_id` and `entries_read` when a cut began.
    pub(super) at_cut: Option<(Id, i64)>,
}

impl Group {
    /// A group that has read up to `last_id`.
    pub fn new(last_id: Id, entries_read: i64) -> Group {
        Group { last_id, entries_read, ..Group::default() }
    }

    /// Number of consumers.
    pub fn consumers_len(&self) -> usize {
        self.names.len()
    }

    /// Number of pending entries.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Bytes of heap memory held, but for what a walk keeps.
    pub fn memory(&self) -> usize {
        // What is owned has the same ids once more, in pieces of the same lengths or less, and
        // what has a name has it twice.
        let owned = self.pending.memory() * 16 / 40;
        self.pending.memory() + owned + 3 * self.consumers.held()
    }

    /// The number of a consumer.
    pub fn consumer(&self, name: &[u8]) -> Option<u64> {
        self.names.get(name).copied()
    }

    /// A consumer by its number.
    pub fn consumer_at(&self, number: u64) -> Option<&Consumer> {
        self.consumers.get(&number)
    }

    /// Every consumer with its number, by name.
    pub fn consumers(&self) -> impl Iterator<Item = (u64, &Consumer)> {
        self.names.values().filter_map(|number| Some((*number, self.consumers.get(number)?)))
    }

    /// Adds a consumer; `None` when there is one of that name.
    pub fn add_consumer(&mut self, name: &[u8], seen: i64, active: i64) -> Option<u64> {
        if self.names.contains_key(name) {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.names.insert(name.into(), number);
        self.consumers.insert(number, Consumer { name: name.into(), seen, active, pending: 0 });
        Some(number)
    }

    /// The number of a consumer that asks for entries now, and whether it had to be added.
    pub fn see_consumer(&mut self, name: &[u8], now: i64) -> (u64, bool) {
        match self.consumer(name) {
            Some(number) => {
                self.consumers.change(&number, |consumer| consumer.seen = now);
                (number, false)
            }
            None => (self.add_consumer(name, now, -1).unwrap_or_default(), true),
        }
    }

    /// Notes that a consumer was given an entry.
    pub fn set_active(&mut self, number: u64, now: i64) {
        self.consumers.change(&number, |consumer| consumer.active = now);
    }

    /// Removes a consumer with all that is pending with it; gives how many entries that were.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let number = self.names.remove(name)?;
        let ids: Vec<Id> = self.history(number, Id::MIN).map(|(id, _)| id).collect();
        for id in &ids {
            self.kept.keep(id, || self.pending.get(id));
            self.pending.remove(id);
        }
        self.owned.remove(&number);
        self.consumers.remove(&number);
        Some(ids.len())
    }

    /// A pending entry.
    pub fn pending_at(&self, id: Id) -> Option<Pending> {
        self.pending.get(&id).copied()
    }

    /// Pending entries from `start` on.
    pub fn pending_from(&self, start: Id) -> impl Iterator<Item = (Id, &Pending)> {
        self.pending.from(start).map(|(id, pending)| (*id, pending))
    }

    /// The id of the last pending entry.
    pub fn pending_last(&self) -> Option<Id> {
        self.pending.last().map(|(id, _)| *id)
    }

    /// Visits up to `budget` of what was pending when a walk began; true when all has been.
    pub(super) fn walk(&mut self, budget: &mut usize, visit: impl FnMut(&Id, &Pending)) -> bool {
        let from = self.kept.passed().map_or(Some(Id::MIN), Id::next);
        let now = from.into_iter().flat_map(|from| self.pending.from(from));
        self.kept.walk(budget, now, visit)
    }

    /// What is pending with one consumer, from `start` on.
    pub fn history(&self, number: u64, start: Id) -> impl Iterator<Item = (Id, Pending)> {
        let own = self.owned.get(&number).into_iter().flat_map(move |own| own.from(start));
        own.filter_map(|(id, ())| Some((*id, self.pending_at(*id)?)))
    }

    /// Makes an entry pending with a consumer, whoever had it before.
    pub fn set_pending(&mut self, id: Id, pending: Pending) {
        let old = self.pending.get(&id).copied();
        if old.map(|old| old.consumer) != Some(pending.consumer) {
            if let Some(old) = old {
                self.disown(old.consumer, id);
            }
            self.owned.entry(pending.consumer).or_default().insert(id, ());
            self.consumers.change(&pending.consumer, |consumer| consumer.pending += 1);
        }
        self.kept.keep(&id, || self.pending.get(&id));
        self.pending.insert(id, pending);
    }

    /// Ends what is pending of an entry; false when nothing was.
    pub fn acknowledge(&mut self, id: Id) -> bool {
        self.kept.keep(&id, || self.pending.get(&id));
        let Some(old) = self.pending.remove(&id) else { return false };
        self.disown(old.consumer, id);
        true
    }

    fn disown(&mut self, number: u64, id: Id) {
        if let Some(own) = self.owned.get_mut(&number) {
            own.remove(&id);
            if own.len() == 0 {
                self.owned.remove(&number);
            }
        }
        self.consumers.change(&number, |consumer| consumer.pending -= 1);
    }

    /// Frees up to `budget` pending entries and consumers; true when none is left.
    pub(super) fn free_slice(&mut self, budget: &mut usize) -> bool {
        if !self.pending.free_slice(budget) {
            return false;
        }
        while let Some(mut last) = self.owned.last_entry() {
            if !last.get_mut().free_slice(budget) {
                return false;
            }
            last.remove();
        }
        while *budget > 0 {
            *budget -= 1;
            if !(self.consumers.free_first() | self.names.pop_first().is_some()) {
                return true;
            }
        }
        false
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        self.pending.check();
        self.owned.values().for_each(Chunks::check);
        let owned: usize = self.owned.values().map(Chunks::len).sum();
        assert_eq!(owned, self.pending.len());
        for (id, pending) in self.pending_from(Id::MIN) {
            assert!(self.owned[&pending.consumer].get(&id).is_some());
        }
        assert_eq!(self.names.len(), self.consumers.len());
        for (number, consumer) in self.consumers() {
            assert_eq!(self.history(number, Id::MIN).count(), consumer.pending);
        }
    }
}
