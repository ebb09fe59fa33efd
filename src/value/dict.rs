//! A dictionary of short byte strings: what large hashes and sets are.
//!
//! It is the table that databases are made of, so it grows by one small segment at a time, can be
//! walked with cursors that survive changes, and keeps a time with each element that needs one.
//!
//! Invariants: `bytes` is the sum of `Entry::memory`, `expires` the number of elements with a time.

use crate::base::random::Random;
use crate::value::entry::{Entry, NewValue, Stored};
use crate::value::table::{CURSOR_BITS, Table};

/// Elements by name.
#[derive(Debug)]
pub struct Dict {
    table: Table,
    len: usize,
    expires: usize,
    bytes: usize,
}

impl Default for Dict {
    fn default() -> Self {
        Dict::new([0, 0])
    }
}

impl Clone for Dict {
    fn clone(&self) -> Self {
        let mut copy = self.fresh();
        self.iter().for_each(|entry| drop(copy.insert(entry.clone())));
        copy
    }
}

impl Dict {
    /// An empty one; `seed` keys its hash function, whose bits SCAN's cursors show.
    pub fn new(seed: [u64; 2]) -> Self {
        Dict { table: Table::new(seed, 0), len: 0, expires: 0, bytes: 0 }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of elements that have a time at which they end.
    pub fn expires_len(&self) -> usize {
        self.expires
    }

    /// Bytes of heap memory held.
    pub fn memory(&self) -> usize {
        self.bytes + self.table.memory()
    }

    /// The element called `name`.
    pub fn get(&self, name: &[u8]) -> Option<&Entry> {
        let spot = self.table.locate(self.table.hash(name), name).ok()?;
        self.table.at(spot)
    }

    /// Whether there is an element called `name`.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Adds or replaces an element; gives the one it replaces.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let hash = self.table.hash(entry.key());
        self.bytes += entry.memory();
        self.expires += usize::from(entry.expires());
        let Ok(spot) = self.table.locate(hash, entry.key()) else {
            self.table.insert(hash, entry, 0);
            self.len += 1;
            return None;
        };
        let old = self.table.change(spot, 0, |own| std::mem::replace(own, entry));
        self.bytes -= old.memory();
        self.expires -= usize::from(old.expires());
        Some(old)
    }

    /// Sets an element's value and its time; true when it is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], expire_ms: Option<i64>) -> bool {
        let value = NewValue::Str { bytes: value, raw: false };
        self.insert(Entry::new(name, value, expire_ms)).is_none()
    }

    /// Makes an element that is an integer another integer, without moving it.
    pub(crate) fn set_int(&mut self, name: &[u8], n: i64) {
        let Ok(spot) = self.table.locate(self.table.hash(name), name) else { return };
        self.table.change(spot, 0, |entry| {
            let kept = entry.overwrite(Stored::Int(n), None);
            debug_assert!(kept.is_ok(), "an integer is as long as any other");
        });
    }

    /// An empty one that hashes its elements as this one does.
    pub(crate) fn fresh(&self) -> Dict {
        Dict { table: self.table.fresh(0), len: 0, expires: 0, bytes: 0 }
    }

    /// Adds an element without a value; true when it is new.
    pub fn set_absent(&mut self, name: &[u8]) -> bool {
        !self.contains(name) && self.set(name, b"", None)
    }

    /// Takes an element out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Entry> {
        let spot = self.table.locate(self.table.hash(name), name).ok()?;
        let entry = self.table.remove(spot, 0);
        self.len -= 1;
        self.bytes -= entry.memory();
        self.expires -= usize::from(entry.expires());
        Some(entry)
    }

    /// Some element, evenly chosen as far as it is cheap.
    pub fn random(&self, random: &mut Random) -> Option<&Entry> {
        if self.len == 0 { None } else { self.table.random(random) }
    }

    /// Every element, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.table.iter()
    }

    /// Visits about `count` elements from `cursor` on and returns the cursor to go on with, 0 at
    /// the end. What is there from the first call to the last is visited at least once.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&Entry)) -> u64 {
        let shift = 64 - CURSOR_BITS;
        let mut left = count.max(1);
        // Empty slots and segments count too, a tenth each, so that a call is bounded.
        let work = left.saturating_mul(10).saturating_add(64);
        let position = self.table.walk(
            cursor << shift,
            work,
            |s| s.len() > 0,
            |entry| {
                visit(entry);
                left = left.saturating_sub(1);
                left > 0
            },
        );
        position.unwrap_or(0) >> shift
    }

    /// Frees up to `budget` elements of one that will not be used again; true when none is left.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        let (count, bytes) = self.table.free(budget);
        self.len -= count;
        self.bytes -= bytes;
        self.table.is_freed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::value::entry::ValueRef;

    fn value(entry: &Entry) -> Vec<u8> {
        match entry.value() {
            ValueRef::Str(bytes) => bytes.to_vec(),
            ValueRef::Shared(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map(
            steps in prop::collection::vec((0_u8..3, 0_u32..3000, 0_usize..60), 0..4000),
        ) {
            let (mut dict, mut model) = (Dict::new([3, 4]), BTreeMap::new());
            for (what, name, len) in steps {
                let name = name.to_string().into_bytes();
                if what == 0 {
                    prop_assert_eq!(dict.remove(&name).is_some(), model.remove(&name).is_some());
                    continue;
                }
                let new = vec![b'v'; len * len];
                let is_new = dict.set(&name, &new, (len % 3 == 0).then_some(5));
                prop_assert_eq!(is_new, model.insert(name, new).is_none());
            }
            prop_assert_eq!(dict.len(), model.len());
            let of = |dict: &Dict| -> BTreeMap<Vec<u8>, Vec<u8>> {
                dict.iter().map(|entry| (entry.key().to_vec(), value(entry))).collect()
            };
            prop_assert_eq!(&of(&dict), &model);
            prop_assert_eq!(&of(&dict.clone()), &model);
            let bytes: usize = dict.iter().map(Entry::memory).sum();
            prop_assert_eq!(dict.memory(), bytes + dict.table.memory());
            let expires = dict.iter().filter(|entry| entry.expires()).count();
            prop_assert_eq!(dict.expires_len(), expires);
            for (name, value) in &model {
                prop_assert_eq!(&self::value(dict.get(name).unwrap()), value);
            }
            let mut seen = BTreeSet::new();
            let mut cursor = 0;
            loop {
                cursor = dict.scan(cursor, 10, &mut |entry| {
                    seen.insert(entry.key().to_vec());
                });
                if cursor == 0 {
                    break;
                }
            }
            prop_assert!(seen.iter().eq(model.keys()));
            while !dict.free_slice(100) {}
            prop_assert_eq!((dict.len(), dict.bytes), (0, 0));
        }
    }
}
