//! A shard's whole keyspace: what travels in a lease. Holds only `Send` data.

use crate::keyspace::database::Database;
use crate::keyspace::effects::Effects;
use crate::keyspace::events::{Class, Events};
use crate::keyspace::snapshot::Snapshots;
use crate::keyspace::unwritten::{self, Looked, Unwritten};
use crate::keyspace::waiting::Waiting;
use crate::keyspace::watch::WatchTable;
use crate::value::dict::Dict;
use crate::value::entry::{Entry, ValueRef};
use crate::value::recency::Recency;
use crate::value::table::Spot;

/// What happened in a keyspace since the start, for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Look-ups by read commands that found their key.
    pub hits: u64,
    /// Look-ups by read commands that did not.
    pub misses: u64,
    /// Keys removed because they were past their expiry.
    pub expired: u64,
    /// Fields of hashes removed because they were past their time.
    pub expired_fields: u64,
    /// Changes to the data (Redis' `dirty`).
    pub dirty: u64,
}

/// Keys from which on a table no longer fits the second-level cache.
const PREFETCH_MIN: usize = 10_000;

/// The databases of one shard with everything that belongs to changing them.
#[derive(Debug)]
pub struct Keyspace {
    /// Which shard owns it.
    pub shard: usize,
    /// The databases by index.
    pub dbs: Vec<Database>,
    /// Keys the hash functions of databases and collections.
    pub hash_seed: [u64; 2],
    /// What writes leave for the log.
    pub effects: Effects,
    /// What happened to keys, for those who want to hear of it.
    pub events: Events,
    /// Highest stamp among the segments the current command has looked at: what its reply waits
    /// for. Reset by the executor.
    pub read_tag: u64,
    /// Position of the last whole-keyspace change: the least that any reply waits for. (SWAPDB
    /// exchanges tables whose stamps know nothing of it.)
    pub floor: u64,
    /// The keys that wait for the log, while it cannot be written.
    pub unwritten: Option<Box<Unwritten>>,
    /// What the reply at hand tells of, as far as it is known.
    pub looked: Looked,
    /// What happened here.
    pub counters: Counters,
    /// Keys that clients watch.
    pub watched: WatchTable,
    /// Clients that wait for keys.
    pub waiting: Waiting,
    /// Values and databases waiting to be freed in slices.
    pub garbage: Vec<Garbage>,
    /// What snapshots still want.
    pub snapshots: Snapshots,
    /// Clients are paused (CLIENT PAUSE): what is past its expiry stays, though nobody sees it.
    pub expiry_paused: bool,
    /// The same for the command at hand, unless it writes.
    pub(super) expired_held: bool,
    recency: Recency,
    /// The command at hand leaves no trace of its uses of keys.
    quiet: bool,
    /// Libraries of functions that an RDB file held, as they stood there; shard 0 keeps them all.
    /// Nothing runs them yet: they are kept so that the next RDB file has them too.
    pub functions: Vec<Vec<u8>>,
    /// Whether keys past their expiry are looked for.
    pub expires_actively: bool,
    /// Whether what RESTORE is given must have the right checksum.
    pub checks_payloads: bool,
    /// The database that active expiry looks at next.
    pub(super) expiry_db: usize,
}

/// Something to be freed off the hot path.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few of them at a time")]
pub enum Garbage {
    /// One large entry.
    Entry(Entry),
    /// A whole database.
    Database(Database),
}

impl Keyspace {
    /// An empty keyspace of `databases` databases for shard `shard`.
    pub fn new(shard: usize, databases: usize, hash_seed: [u64; 2], effects: Effects) -> Self {
        Keyspace {
            shard,
            dbs: (0..databases).map(|_| Database::new(hash_seed)).collect(),
            hash_seed,
            effects,
            events: Events::default(),
            read_tag: 0,
            floor: 0,
            unwritten: None,
            looked: Looked::default(),
            counters: Counters::default(),
            watched: WatchTable::default(),
            waiting: Waiting::default(),
            garbage: Vec::new(),
            snapshots: Snapshots::default(),
            expiry_paused: false,
            expired_held: false,
            recency: Recency::default(),
            quiet: false,
            functions: Vec::new(),
            expires_actively: true,
            checks_payloads: true,
            expiry_db: 0,
        }
    }

    /// The entry of a key that is not past its expiry. A key found past it is removed, with the
    /// removal logged, so that no later clock can bring it back. No use of the key.
    pub fn lookup(&mut self, db: usize, key: &[u8], now_ms: i64) -> Option<&Entry> {
        let spot = self.living(db, key, now_ms)?;
        self.dbs[db].at(spot)
    }

    /// [`Keyspace::lookup`] in order to use the key.
    pub fn lookup_used(&mut self, db: usize, key: &[u8], now_ms: i64) -> Option<&Entry> {
        let spot = self.living(db, key, now_ms)?;
        self.dbs[db].used(spot)
    }

    #[inline]
    fn living(&mut self, db: usize, key: &[u8], now_ms: i64) -> Option<Spot> {
        let (spot, stamp) = self.dbs[db].locate_to_change(key);
        self.saw(key, stamp);
        let spot = spot?;
        if self.dbs[db].at(spot).is_some_and(|e| e.is_expired(now_ms)) {
            self.expire_now(db, key);
            return None;
        }
        Some(spot)
    }

    /// A key was looked at, its segment's position being `stamp`: the reply tells of what stands
    /// there.
    #[inline]
    pub fn saw(&mut self, key: &[u8], stamp: u64) {
        let tag = unwritten::saw(self.unwritten.as_deref(), &mut self.looked, key, stamp);
        self.read_tag = self.read_tag.max(tag);
    }

    /// [`Keyspace::lookup`] by a read command: counts a hit or a miss.
    pub fn read(&mut self, db: usize, key: &[u8], now_ms: i64) -> Option<&Entry> {
        let (spot, stamp) = self.dbs[db].locate(key);
        self.saw(key, stamp);
        let Some(spot) = spot else {
            self.missed(db, key);
            return None;
        };
        if self.dbs[db].at(spot).is_some_and(|e| e.is_expired(now_ms)) {
            self.expire_now(db, key);
            self.missed(db, key);
            return None;
        }
        self.counters.hits += 1;
        self.dbs[db].used(spot)
    }

    /// A read command has looked for a key that is not there.
    pub fn missed(&mut self, db: usize, key: &[u8]) {
        self.counters.misses += 1;
        self.events.add(db, Class::Missed, "keymiss", key);
    }

    /// To be called behind what may have added `key` to a database that held `before` keys.
    #[inline]
    pub fn may_be_new(&mut self, db: usize, key: &[u8], before: usize) {
        if self.dbs[db].len() > before {
            self.events.add(db, Class::New, "new", key);
        }
    }

    /// Whether a database is larger than caches are.
    pub fn is_worth_prefetch(&self, db: usize) -> bool {
        self.dbs.get(db).is_some_and(|db| db.len() >= PREFETCH_MIN)
    }

    /// Fetches what look-ups of `keys` will read into the cache.
    pub fn prefetch<'k>(&self, db: usize, keys: impl Iterator<Item = &'k [u8]>) {
        if let Some(db) = self.dbs.get(db) {
            db.prefetch(keys);
        }
    }

    /// The fields or members of a collection that is larger than caches are.
    pub fn large_dict(&self, db: usize, key: &[u8]) -> Option<&Dict> {
        let entry = self.dbs.get(db)?.find(key).entry?;
        let ValueRef::Object(object) = entry.value() else { return None };
        object.dict().filter(|dict| dict.len() >= PREFETCH_MIN)
    }

    /// What reads and makes the recencies of entries here.
    pub fn recency(&self) -> Recency {
        self.recency
    }

    /// What is noted of keys' use from now on. To be called whenever the time may be another.
    pub fn set_recency(&mut self, recency: Recency) {
        if self.recency != recency {
            self.recency = recency;
            self.dbs.iter_mut().for_each(|db| db.set_recency(recency));
        }
    }

    /// To be called in front of each command: a quiet one leaves no trace of its uses of keys.
    #[inline]
    pub fn begin_uses(&mut self, quiet: bool) {
        if quiet || self.quiet || self.recency.counts() {
            self.quiet = quiet;
            self.dbs.iter_mut().for_each(|db| db.begin_uses(quiet));
        }
    }

    /// To be called in front of each command: one that `writes` removes what is past its expiry
    /// even while clients are paused, so that its effect is the same when the log is replayed. One
    /// that reads does not while the log cannot be written: its reply would wait for the removal.
    pub fn hold_expired(&mut self, writes: bool) {
        self.expired_held = (self.expiry_paused || self.unwritten.is_some()) && !writes;
        if writes {
            self.looked.also();
        }
    }

    /// Removes a key because its time has come.
    pub fn expire_now(&mut self, db: usize, key: &[u8]) {
        if self.expired_held {
            return;
        }
        if self.delete(db, key) {
            self.effects.log(db, &[b"DEL", key]);
            self.counters.expired += 1;
            self.events.add(db, Class::Expired, "expired", key);
        }
    }

    /// Removes a key without logging it; true when it was there.
    pub fn delete(&mut self, db: usize, key: &[u8]) -> bool {
        let stamp = self.effects.stamp();
        let Some(old) = self.dbs[db].remove(key, stamp) else { return false };
        self.touched(db, key);
        self.discard(old);
        true
    }

    /// A key has changed: whoever watches it or waits for it hears of it.
    #[inline]
    pub fn touched(&mut self, db: usize, key: &[u8]) {
        self.watched.touch(db, key);
        self.waiting.touch(db, key);
    }

    /// Whether any key, or any field of a hash, has an expiry.
    pub fn has_volatile(&self) -> bool {
        self.dbs.iter().any(|db| db.expires_len() > 0 || db.timed_len() > 0)
    }

    /// Frees an entry, later if that would take long.
    pub fn discard(&mut self, entry: Entry) {
        let entry = match entry.cut_id() {
            Some(_) => self.keep_large(entry),
            None => Some(entry),
        };
        if let Some(entry) = entry.filter(Entry::is_large) {
            self.garbage.push(Garbage::Entry(entry));
        }
    }

    /// Frees up to `budget` entries (at least one) of the garbage; true when none is left.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        let mut left = budget.max(1);
        while left > 0
            && let Some(last) = self.garbage.last_mut()
        {
            let done = match last {
                Garbage::Entry(entry) => {
                    let done = entry.free_slice(left);
                    left = if done { left - 1 } else { 0 };
                    done
                }
                Garbage::Database(database) => {
                    let done = database.free_slice(left);
                    // What a nearly empty one has left over is not worth counting.
                    left = if done { left / 2 } else { 0 };
                    done
                }
            };
            if done {
                self.garbage.pop();
            }
        }
        self.garbage.is_empty()
    }

    /// Bytes of heap memory held: databases, garbage, effects not yet framed, watched
    /// keys, waiting clients.
    /// Constant time but for the garbage, whose items it goes through.
    pub fn memory(&self) -> usize {
        let garbage = self.garbage.iter().map(|item| match item {
            Garbage::Entry(entry) => entry.memory(),
            Garbage::Database(database) => database.memory(),
        });
        self.dbs.iter().map(Database::memory).sum::<usize>()
            + garbage.sum::<usize>()
            + self.cleared_memory()
            + self.garbage.capacity() * size_of::<Garbage>()
            + self.effects.memory()
            + self.events.memory()
            + self.watched.memory()
            + self.waiting.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{NewValue, ValueRef};

    fn space() -> Keyspace {
        Keyspace::new(0, 2, [1, 2], Effects::new(0, true))
    }

    fn put(space: &mut Keyspace, key: &[u8], len: usize, expire_ms: Option<i64>) {
        let value = vec![b'v'; len];
        let stamp = space.effects.stamp();
        let value = NewValue::Str { bytes: &value, raw: false };
        if let Some(old) = space.dbs[0].put(key, value, expire_ms, stamp) {
            space.discard(old);
        }
    }

    #[test]
    fn a_key_past_its_expiry_goes_when_it_is_looked_up() {
        let mut space = space();
        put(&mut space, b"k", 3, Some(100));
        assert!(matches!(space.read(0, b"k", 99).map(Entry::value), Some(ValueRef::Str(b"vvv"))));
        assert!(space.read(0, b"k", 100).is_some());
        assert!(space.read(0, b"k", 101).is_none());
        assert!(space.lookup(0, b"k", 0).is_none());
        assert_eq!(space.effects.pending(), b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n");
        let counters = space.counters;
        assert_eq!((counters.hits, counters.misses, counters.expired), (2, 1, 1));
    }

    #[test]
    fn large_values_are_freed_later_and_in_slices() {
        let mut space = space();
        let baseline = space.memory();
        put(&mut space, b"large", 1 << 20, None);
        put(&mut space, b"large", 1 << 20, None);
        put(&mut space, b"small", 10, None);
        assert_eq!(space.garbage.len(), 1);
        assert!(space.delete(0, b"large"));
        assert!(space.delete(0, b"small"));
        assert_eq!(space.garbage.len(), 2);
        assert!(space.memory() > baseline + (2 << 20));
        assert!(!space.free_slice(1));
        assert!(space.free_slice(1));
        assert!(space.memory() < baseline + 4096);
    }

    #[test]
    fn a_cleared_database_is_freed_in_slices() {
        let mut space = space();
        for i in 0..10_000 {
            put(&mut space, format!("key:{i}").as_bytes(), i % 2000, None);
        }
        let full = space.memory();
        let old = space.dbs[0].clear(space.effects.stamp());
        space.garbage.push(Garbage::Database(old));
        assert!(space.dbs[0].is_empty());
        assert!(space.memory() >= full);
        let mut slices = 1;
        let mut last = space.memory();
        while !space.free_slice(100) {
            slices += 1;
            assert!(space.memory() < last);
            last = space.memory();
        }
        assert!((100..=200).contains(&slices), "{slices}");
        assert!(space.memory() < 8192);
    }
}
