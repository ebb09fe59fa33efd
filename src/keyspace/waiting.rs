//! Clients that wait for keys (BLPOP and its like): who, for which keys, in which order. Knows no
//! connections: a waiter is known by its ticket.
//!
//! # Claims
//! A waiter stands in the queues of all its keys, perhaps in several shards, and each shard may
//! find one of its keys ready at any moment; its own shard may give up for it. One atomic *claim*
//! decides: whoever turns it from waiting to taken serves the waiter, and nobody else does; once
//! its own shard has turned it to gone, nobody serves it. Until a claim is taken nothing has been
//! changed on the waiter's behalf, so nothing is lost when it goes, and nothing given twice.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::base::sync::{AtomicU8, Ordering};
use crate::value::object::Type;

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const GONE: u8 = 2;

/// Bytes that one place in a queue counts for, besides the key's.
const PLACE_BYTES: usize = 160;

/// Who may still decide about a waiter; see the head of this file.
#[derive(Debug)]
pub struct Claim(AtomicU8);

impl Default for Claim {
    fn default() -> Self {
        Claim(AtomicU8::new(WAITING))
    }
}

impl Claim {
    fn turn(&self, to: u8) -> bool {
        self.0.compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes it, to serve the waiter; false when somebody else has, or the waiter is gone.
    pub fn take(&self) -> bool {
        self.turn(TAKEN)
    }

    /// Gives up; false when somebody is serving the waiter already, whose answer is on its way.
    pub fn leave(&self) -> bool {
        self.turn(GONE)
    }

    /// Whether it is still to be had.
    pub fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Acquire) == WAITING
    }
}

/// Names a waiter among all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The shard of its connection.
    pub home: usize,
    /// The connection's place there.
    pub index: u32,
    /// Which tenant of that place.
    pub generation: u32,
    /// What stands for the command in the connection's output.
    pub batch: u64,
}

/// A client that waits.
#[derive(Debug)]
pub struct Waiter {
    /// Its name.
    pub ticket: Ticket,
    /// Decides who serves it.
    pub claim: Arc<Claim>,
    /// The database of its keys.
    pub db: usize,
    /// The command to be run again when a key is ready.
    pub words: Vec<Vec<u8>>,
    /// Positions of its keys among the words.
    pub keys: Vec<usize>,
    /// How many of them it waits for; others it needs when it is served.
    pub wanted: usize,
    /// The type it waits for.
    pub on: Type,
    /// Whether it also hears of a key that is not there any more, or is of another type.
    pub hears_of_absence: bool,
    /// Whether it can only be served where all its keys are at hand.
    pub together: bool,
    /// The protocol of its replies.
    pub resp3: bool,
    /// It leaves no trace of its uses of keys.
    pub quiet: bool,
}

impl Waiter {
    /// The keys it waits for.
    pub fn wanted(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().take(self.wanted).map(|at| self.words[*at].as_slice())
    }
}

/// Who waits for one key.
#[derive(Debug, Default)]
struct Queue {
    /// By the order in which they came.
    waiters: BTreeMap<u64, Arc<Waiter>>,
    /// Those that hear of its absence.
    hearing: usize,
}

#[derive(Debug)]
struct Place {
    seq: u64,
    keys: Vec<(usize, Vec<u8>)>,
    /// Its own shard has been told to come for it with all its keys.
    called: bool,
}

/// The waiters of one shard's keys.
#[derive(Debug, Default)]
pub struct Waiting {
    /// By database, then by key.
    dbs: Vec<HashMap<Vec<u8>, Queue>>,
    places: HashMap<Ticket, Place>,
    last: u64,
    /// Keys that have changed since somebody waits for them.
    ready: VecDeque<(usize, Vec<u8>)>,
    listed: HashSet<(usize, Vec<u8>)>,
    keys: usize,
    /// Keys for whose absence somebody waits.
    on_absence: usize,
    bytes: usize,
}

impl Waiting {
    /// True when nobody waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Number of keys that somebody waits for.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Number of those for whose absence somebody waits.
    pub fn keys_on_absence(&self) -> usize {
        self.on_absence
    }

    /// Bytes of heap memory held, roughly.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// Puts a waiter behind those that wait for `keys` already.
    pub fn register<'a>(&mut self, waiter: &Arc<Waiter>, keys: impl Iterator<Item = &'a [u8]>) {
        self.last += 1;
        let (db, seq) = (waiter.db, self.last);
        if self.dbs.len() <= db {
            self.dbs.resize_with(db + 1, HashMap::new);
        }
        let mut place = Place { seq, keys: Vec::new(), called: false };
        for key in keys {
            let queue = match self.dbs[db].get_mut(key) {
                Some(queue) => queue,
                None => {
                    self.keys += 1;
                    self.dbs[db].entry(key.to_vec()).or_default()
                }
            };
            if queue.waiters.insert(seq, Arc::clone(waiter)).is_none() {
                if waiter.hears_of_absence {
                    self.on_absence += usize::from(queue.hearing == 0);
                    queue.hearing += 1;
                }
                self.bytes += PLACE_BYTES + key.len();
                place.keys.push((db, key.to_vec()));
            }
        }
        let before = self.places.insert(waiter.ticket, place);
        assert!(before.is_none(), "a waiter registers once");
    }

    /// Takes a waiter out of all queues; false when it stands in none.
    pub fn forget(&mut self, ticket: &Ticket) -> bool {
        let Some(place) = self.places.remove(ticket) else { return false };
        for (db, key) in place.keys {
            let Some(queue) = self.dbs[db].get_mut(&key) else { continue };
            let left = queue.waiters.remove(&place.seq);
            if left.is_some_and(|waiter| waiter.hears_of_absence) {
                queue.hearing -= 1;
                self.on_absence -= usize::from(queue.hearing == 0);
            }
            self.bytes -= PLACE_BYTES + key.len();
            if queue.waiters.is_empty() {
                self.dbs[db].remove(&key);
                self.keys -= 1;
            }
            if place.called {
                // Those behind it have been kept waiting for it.
                self.touch(db, &key);
            }
        }
        true
    }

    /// A key has changed.
    #[inline]
    pub fn touch(&mut self, db: usize, key: &[u8]) {
        if !self.places.is_empty() && self.dbs.get(db).is_some_and(|keys| keys.contains_key(key)) {
            let name = (db, key.to_vec());
            if self.listed.insert(name.clone()) {
                self.ready.push_back(name);
            }
        }
    }

    /// A whole database has changed.
    pub fn touch_database(&mut self, db: usize) {
        let Some(keys) = self.dbs.get(db) else { return };
        let names: Vec<Vec<u8>> = keys.keys().cloned().collect();
        names.iter().for_each(|key| self.touch(db, key));
    }

    /// Whether a key has changed that somebody waits for.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next such key.
    pub fn next_ready(&mut self) -> Option<(usize, Vec<u8>)> {
        let name = self.ready.pop_front()?;
        self.listed.remove(&name);
        Some(name)
    }

    /// Who waits next for a key, from place `from` on, and the place behind it.
    pub fn next(&self, db: usize, key: &[u8], from: u64) -> Option<(u64, Arc<Waiter>)> {
        let queue = self.dbs.get(db)?.get(key)?;
        let (seq, waiter) = queue.waiters.range(from..).next()?;
        Some((seq + 1, Arc::clone(waiter)))
    }

    /// Whether anybody who waits for a key hears of its absence.
    pub fn any_hears(&self, db: usize, key: &[u8]) -> bool {
        let queue = self.dbs.get(db).and_then(|keys| keys.get(key));
        queue.is_some_and(|queue| queue.hearing > 0)
    }

    /// Whether a waiter's own shard has been called for it.
    pub fn is_called(&self, ticket: &Ticket) -> bool {
        self.places.get(ticket).is_some_and(|place| place.called)
    }

    /// Notes whether a waiter's own shard has been called for it.
    pub fn set_called(&mut self, ticket: &Ticket, called: bool) {
        if let Some(place) = self.places.get_mut(ticket) {
            place.called = called;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(batch: u64, keys: &[&str]) -> Arc<Waiter> {
        let words = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        Arc::new(Waiter {
            ticket: Ticket { home: 0, index: 1, generation: 1, batch },
            claim: Arc::default(),
            db: 0,
            words,
            keys: (0..keys.len()).collect(),
            wanted: usize::MAX,
            on: Type::List,
            hears_of_absence: false,
            together: false,
            resp3: false,
            quiet: false,
        })
    }

    fn register(waiting: &mut Waiting, waiter: &Arc<Waiter>) {
        waiting.register(waiter, waiter.words.iter().map(Vec::as_slice));
    }

    fn queue(waiting: &Waiting, key: &str) -> Vec<u64> {
        let (mut from, mut found) = (0, Vec::new());
        while let Some((next, waiter)) = waiting.next(0, key.as_bytes(), from) {
            from = next;
            found.push(waiter.ticket.batch);
        }
        found
    }

    #[test]
    fn waiters_stand_in_line_until_they_are_forgotten() {
        let mut waiting = Waiting::default();
        let all = [waiter(1, &["a", "b", "a"]), waiter(2, &["b"]), waiter(3, &["a"])];
        all.iter().for_each(|waiter| register(&mut waiting, waiter));
        assert_eq!((queue(&waiting, "a"), queue(&waiting, "b")), (vec![1, 3], vec![1, 2]));
        assert_eq!(waiting.keys(), 2);
        assert!(waiting.forget(&all[0].ticket) && !waiting.forget(&all[0].ticket));
        assert_eq!((queue(&waiting, "a"), queue(&waiting, "b")), (vec![3], vec![2]));
        all[1..].iter().for_each(|waiter| assert!(waiting.forget(&waiter.ticket)));
        assert_eq!((waiting.keys(), waiting.memory(), waiting.is_empty()), (0, 0, true));
    }

    #[test]
    fn behind_one_that_was_called_and_goes_its_keys_are_ready() {
        let mut waiting = Waiting::default();
        let all = [waiter(1, &["a", "b"]), waiter(2, &["a"]), waiter(3, &["c"])];
        all.iter().for_each(|waiter| register(&mut waiting, waiter));
        waiting.set_called(&all[0].ticket, true);
        assert!(waiting.forget(&all[0].ticket) && waiting.forget(&all[2].ticket));
        assert_eq!((waiting.next_ready(), waiting.next_ready()), (Some((0, b"a".to_vec())), None));
    }

    #[test]
    fn keys_are_ready_once_and_in_order() {
        let mut waiting = Waiting::default();
        waiting.touch(0, b"a");
        assert!(!waiting.has_ready());
        register(&mut waiting, &waiter(1, &["a", "b"]));
        for key in ["b", "c", "a", "b"] {
            waiting.touch(0, key.as_bytes());
        }
        waiting.touch(1, b"a");
        assert_eq!(waiting.next_ready(), Some((0, b"b".to_vec())));
        waiting.touch(0, b"b");
        assert_eq!(waiting.next_ready(), Some((0, b"a".to_vec())));
        assert_eq!(waiting.next_ready(), Some((0, b"b".to_vec())));
        assert_eq!(waiting.next_ready(), None);
        waiting.touch_database(0);
        assert!(waiting.has_ready());
    }

    #[test]
    fn a_claim_is_had_once() {
        let claim = Claim::default();
        assert!(claim.is_waiting() && claim.take());
        assert!(!claim.take() && !claim.leave() && !claim.is_waiting());
        let claim = Claim::default();
        assert!(claim.leave() && !claim.leave() && !claim.take());
    }
}
