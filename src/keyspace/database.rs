//! One database of one shard. (First form: a plain map; the segmented table replaces it.)

use std::collections::HashMap;

use bytes::BytesMut;

use crate::base::random::Random;
use crate::keyspace::entry::{Entry, NewValue, ValueRef};

/// What a look-up found.
#[derive(Debug)]
pub struct Found<'a> {
    /// The entry, expired or not.
    pub entry: Option<&'a Entry>,
    /// Log position of the last write to the key's segment: what a reply telling of it waits for.
    pub stamp: u64,
}

/// Keys, values and expiries of one database on one shard. Expiry is data here: whether a key is
/// past it is the caller's question.
#[derive(Debug, Default)]
pub struct Database {
    map: HashMap<Vec<u8>, Entry>,
    stamp: u64,
}

impl Database {
    /// An empty database; `seed` keys its hash function.
    pub fn new(_seed: [u64; 2]) -> Self {
        Database::default()
    }

    /// Number of keys, expired ones not yet removed included.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// True when there is no key.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Number of keys that have an expiry.
    pub fn expires_len(&self) -> usize {
        self.map.values().filter(|e| e.expire_ms().is_some()).count()
    }

    /// Bytes of heap memory held by keys, values and table.
    pub fn memory(&self) -> usize {
        self.map.len() * 64
    }

    /// Log position of the last write to anything in here.
    pub fn last_stamp(&self) -> u64 {
        self.stamp
    }

    /// Looks a key up.
    pub fn find(&self, key: &[u8]) -> Found<'_> {
        Found { entry: self.map.get(key), stamp: self.stamp }
    }

    /// Inserts or replaces; gives the replaced entry back, for its owner to drop.
    pub fn insert(&mut self, entry: Entry, stamp: u64) -> Option<Entry> {
        self.stamp = stamp;
        self.map.insert(entry.key().to_vec(), entry)
    }

    /// Stores a value under `key`, reusing what is there where that is cheaper; the expiry is set
    /// to `expire_ms`. Gives the replaced entry back unless its memory was reused.
    pub fn put(
        &mut self,
        key: &[u8],
        value: NewValue<'_>,
        expire_ms: Option<i64>,
        stamp: u64,
    ) -> Option<Entry> {
        self.insert(Entry::new(key, value, expire_ms), stamp)
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &[u8], stamp: u64) -> Option<Entry> {
        let old = self.map.remove(key)?;
        self.stamp = stamp;
        Some(old)
    }

    /// Sets or clears the expiry of a key; false when there is no such key.
    pub fn set_expire(&mut self, key: &[u8], expire_ms: Option<i64>, stamp: u64) -> bool {
        match self.map.remove(key) {
            Some(entry) => {
                self.insert(entry.with_expire(expire_ms), stamp);
                true
            }
            None => false,
        }
    }

    /// Edits the bytes of a string in place (an integer is spelled out first) and marks it `raw`.
    /// An absent key starts empty and, if `edit` leaves it empty, is not created.
    pub fn edit<R>(&mut self, key: &[u8], stamp: u64, edit: impl FnOnce(&mut BytesMut) -> R) -> R {
        let old = self.map.remove(key);
        let expire = old.as_ref().and_then(Entry::expire_ms);
        let existed = old.is_some();
        let mut bytes = match old.as_ref().map(Entry::value) {
            None => BytesMut::new(),
            Some(ValueRef::Int(n)) => BytesMut::from(n.to_string().as_bytes()),
            Some(ValueRef::Str(s)) => BytesMut::from(s),
            Some(ValueRef::Shared(b)) => BytesMut::from(&b[..]),
        };
        let result = edit(&mut bytes);
        if existed || !bytes.is_empty() {
            self.insert(Entry::new(key, NewValue::Str { bytes: &bytes, raw: true }, expire), stamp);
        }
        result
    }

    /// Removes everything at once; the returned database holds it, to be dropped elsewhere.
    pub fn clear(&mut self, stamp: u64) -> Database {
        let fresh = Database { map: HashMap::new(), stamp };
        std::mem::replace(self, fresh)
    }

    /// Visits about `count` entries from `cursor` on and returns the cursor to go on with, 0 at the
    /// end. Whatever is present from the first call (cursor 0) to the last is visited at least
    /// once. Cursors are below 2^46.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&Entry)) -> u64 {
        let _ = (cursor, count);
        self.map.values().for_each(visit);
        0
    }

    /// Some entry, evenly chosen as far as it is cheap.
    pub fn random(&self, random: &mut Random) -> Option<&Entry> {
        let n = random.below(self.map.len().max(1) as u64) as usize;
        self.map.values().nth(n)
    }

    /// Every entry, in table order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.map.values()
    }

    /// Looks at up to `budget` keys that have an expiry, going round from call to call, and hands
    /// keys past `now_ms` to `expired`. Returns (looked at, expired).
    pub fn sample_expired(
        &mut self,
        now_ms: i64,
        budget: usize,
        expired: &mut Vec<Vec<u8>>,
    ) -> (usize, usize) {
        let mut seen = 0;
        let mut past = 0;
        for e in self.map.values().filter(|e| e.expire_ms().is_some()).take(budget) {
            seen += 1;
            if e.expire_ms().is_some_and(|at| at <= now_ms) {
                past += 1;
                expired.push(e.key().to_vec());
            }
        }
        (seen, past)
    }
}
