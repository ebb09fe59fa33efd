//! A dictionary of short byte strings: what large hashes and sets are.
//!
//! It is the table that databases are made of, so it grows by one small segment at a time, can be
//! walked with cursors that survive changes, and keeps a time with each element that needs one.
//! A snapshot visits in slices what it held at one moment ([`Dict::begin_cut`]).
//!
//! Elements past their time are found by walks in slices. Each that has come round tells exactly
//! when the next is due.
//!
//! Invariants: every change is told to `cut` first; `bytes` is the sum of `Entry::memory`,
//! `expires` the number of elements with a time; as long as that is not 0, `times` is there, and
//! no element's time is below `times.due`.

use smallvec::SmallVec;

use crate::base::random::Random;
use crate::value::account::usable;
use crate::value::cut::{Cut, Kept};
use crate::value::entry::{Entry, NewValue, Stored};
use crate::value::table::{CURSOR_BITS, Table};

/// Elements by name.
#[derive(Debug)]
pub struct Dict {
    table: Table,
    len: usize,
    expires: usize,
    bytes: usize,
    /// The cut that is being visited.
    cut: Option<Box<Cut>>,
    times: Option<Box<Times>>,
    /// See [`Dict::is_small`].
    small: bool,
}

/// What is known of the times of a dictionary's elements.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// None of them is below.
    due: i64,
    /// When to look next for elements past their time.
    look: i64,
    /// Where in the hash space that look begins.
    position: u64,
    /// None of those that the present round has passed, or that have come since, is below.
    least: i64,
}

const NO_TIMES: Times = Times { due: i64::MAX, look: i64::MAX, position: 0, least: i64::MAX };

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
        Dict::of(Table::new(seed, 0))
    }

    /// An empty one with room for about so many elements.
    pub fn roomy(seed: [u64; 2], elements: usize) -> Self {
        let table = Table::new(seed, 0);
        Dict::of(if elements == 0 { table } else { table.roomy(elements, 0) })
    }

    fn of(table: Table) -> Self {
        Dict { table, len: 0, expires: 0, bytes: 0, cut: None, times: None, small: false }
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
        let times = if self.times.is_some() { usable(size_of::<Times>()) } else { 0 };
        let cut = self.cut.as_ref().map_or(0, |cut| cut.memory());
        self.bytes + self.table.memory() + cut + times
    }

    /// Whether it would be one piece of memory if its elements had no times: what is called
    /// `listpackex` then.
    pub fn is_small(&self) -> bool {
        self.small
    }

    /// See [`Dict::is_small`].
    pub fn set_small(&mut self, small: bool) {
        self.small = small;
    }

    /// Whether an element may be past its time at `now_ms`.
    pub fn may_lapse(&self, now_ms: i64) -> bool {
        self.times.as_ref().is_some_and(|times| times.due < now_ms)
    }

    /// A time that no element's is below; `None` while none has a time.
    pub fn earliest(&self) -> Option<i64> {
        self.times.as_ref().map(|times| times.due)
    }

    /// When to look for elements past their time; `None` while none has a time.
    pub fn next_look(&self) -> Option<i64> {
        self.times.as_ref().map(|times| times.look)
    }

    /// Number of elements that are not past their time at `now_ms`.
    pub fn live_len(&self, now_ms: i64) -> usize {
        if !self.may_lapse(now_ms) {
            return self.len;
        }
        let mut past = 0;
        self.table.walk(
            0,
            usize::MAX,
            |segment| segment.volatile() > 0,
            |entry| {
                past += usize::from(entry.is_expired(now_ms));
                true
            },
        );
        self.len - past
    }

    /// An element has a time now.
    fn note(&mut self, expire_ms: Option<i64>) {
        if let Some(at) = expire_ms {
            let times = self.times.get_or_insert_with(|| Box::new(NO_TIMES));
            times.due = times.due.min(at);
            times.look = times.look.min(at);
            times.least = times.least.min(at);
        } else if self.expires == 0 {
            self.times = None;
        }
    }

    /// Looks at up to `budget` elements that have a time, going on where the last call stopped, and
    /// hands the names of those past `now_ms` to `past`: the caller removes them. Returns how many
    /// it has looked at.
    pub fn look_for_past(&mut self, now_ms: i64, budget: usize, past: &mut Vec<Vec<u8>>) -> usize {
        let Some(times) = &mut self.times else { return 0 };
        // A round begins at 0, and has passed nothing yet.
        let (mut seen, mut least) = (0, if times.position == 0 { i64::MAX } else { times.least });
        let work = budget.saturating_mul(64).saturating_add(1024);
        let look = |entry: &Entry| {
            let Some(at) = entry.expire_ms() else { return true };
            seen += 1;
            if at < now_ms {
                past.push(entry.key().to_vec());
            } else {
                least = least.min(at);
            }
            seen < budget
        };
        let next = self.table.walk(times.position, work, |s| s.volatile() > 0, look);
        times.position = next.unwrap_or(0);
        if next.is_some() {
            // Behind those that have waited longer, and due still.
            (times.look, times.least) = (now_ms.saturating_sub(1), least);
        } else {
            **times = Times { due: least, look: least, ..NO_TIMES };
        }
        seen
    }

    /// To be called before anything in the segment of `hash` changes.
    #[inline]
    fn before_change(&mut self, hash: u64) {
        if let Some(cut) = &mut self.cut {
            cut.before_change(&mut self.table, hash);
        }
    }

    /// From now on [`Dict::cut_slice`] visits what is here now. Epochs rise from cut to cut, and
    /// the first is above 0. Constant time; one cut at a time.
    pub fn begin_cut(&mut self, epoch: u64) {
        debug_assert!(self.cut.is_none() && epoch > 0);
        self.cut = Some(Box::new(Cut::new(epoch)));
    }

    /// The epoch of the cut that has begun and not ended.
    pub fn cut_epoch(&self) -> Option<u64> {
        self.cut.as_ref().map(|cut| cut.epoch())
    }

    /// Visits at least `budget` of the elements that stood here when the cut began, and the rest
    /// of the last one's segment; true when each has been visited, once. Anything may change from
    /// call to call.
    pub fn cut_slice(&mut self, budget: usize, visit: &mut dyn FnMut(&Entry)) -> bool {
        let Some(cut) = &mut self.cut else { return true };
        cut.slice(&mut self.table, budget, visit)
    }

    /// Ends a cut, however far it has come. What it had kept is returned: to be dropped, or in
    /// slices where it may be much.
    pub fn end_cut(&mut self) -> Kept {
        self.cut.take().map(|cut| cut.into_kept()).unwrap_or_default()
    }

    /// The element called `name`.
    pub fn get(&self, name: &[u8]) -> Option<&Entry> {
        let spot = self.table.locate(self.table.hash(name), name).ok()?;
        self.table.at(spot)
    }

    /// Asks the processor to fetch what look-ups of `names` will read.
    pub fn prefetch<'n>(&self, names: impl Iterator<Item = &'n [u8]>) {
        let hashes: SmallVec<[u64; 16]> = names.map(|name| self.table.hash(name)).collect();
        self.table.prefetch(&hashes);
    }

    /// Whether there is an element called `name`.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Adds or replaces an element; gives the one it replaces.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let hash = self.table.hash(entry.key());
        self.before_change(hash);
        self.bytes += entry.memory();
        self.expires += usize::from(entry.expires());
        if entry.expires() {
            self.note(entry.expire_ms());
        }
        let Ok(spot) = self.table.locate(hash, entry.key()) else {
            self.table.insert(hash, entry, 0);
            self.len += 1;
            return None;
        };
        let old = self.table.change(spot, 0, |own| std::mem::replace(own, entry));
        self.bytes -= old.memory();
        if old.expires() {
            self.expires -= 1;
            self.note(None);
        }
        Some(old)
    }

    /// Adds elements that are not here yet, all of which come out of `entries`; false, and no more
    /// than those in front of it added, when one is here.
    pub(crate) fn load(&mut self, entries: &mut Vec<Entry>) -> bool {
        let hashes: SmallVec<[u64; 64]> =
            entries.iter().map(|entry| self.table.hash(entry.key())).collect();
        self.table.prefetch(&hashes);
        for (entry, hash) in entries.drain(..).zip(hashes) {
            if self.table.locate(hash, entry.key()).is_ok() {
                return false;
            }
            self.before_change(hash);
            self.bytes += entry.memory();
            self.expires += usize::from(entry.expires());
            if entry.expires() {
                self.note(entry.expire_ms());
            }
            self.table.insert(hash, entry, 0);
            self.len += 1;
        }
        true
    }

    /// Sets an element's value and its time; true when it is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], expire_ms: Option<i64>) -> bool {
        let value = NewValue::Str { bytes: value, raw: false };
        self.insert(Entry::new(name, value, expire_ms)).is_none()
    }

    /// Sets an element's value; the time of one that is there stays. True when it is new.
    pub fn set_value(&mut self, name: &[u8], value: &[u8]) -> bool {
        let expire_ms = self.get(name).and_then(Entry::expire_ms);
        self.set(name, value, expire_ms)
    }

    /// Sets or clears an element's time; false when there is no such element.
    pub fn set_expire(&mut self, name: &[u8], expire_ms: Option<i64>) -> bool {
        let hash = self.table.hash(name);
        let Ok(spot) = self.table.locate(hash, name) else { return false };
        self.before_change(hash);
        let (before, after) = self.table.change(spot, 0, |entry| {
            let before = (entry.memory(), entry.expires());
            entry.set_expire(expire_ms);
            (before, (entry.memory(), entry.expires()))
        });
        self.bytes = self.bytes - before.0 + after.0;
        self.expires = self.expires - usize::from(before.1) + usize::from(after.1);
        self.note(expire_ms);
        true
    }

    /// Makes an element that is an integer another integer, without moving it.
    pub(crate) fn set_int(&mut self, name: &[u8], n: i64) {
        let hash = self.table.hash(name);
        let Ok(spot) = self.table.locate(hash, name) else { return };
        self.before_change(hash);
        self.table.change(spot, 0, |entry| {
            let kept = entry.overwrite(Stored::Int(n), None);
            debug_assert!(kept.is_ok(), "an integer is as long as any other");
        });
    }

    /// An empty one that hashes its elements as this one does.
    pub(crate) fn fresh(&self) -> Dict {
        Dict { small: self.small, ..Dict::of(self.table.fresh(0)) }
    }

    /// Adds an element without a value; true when it is new.
    pub fn set_absent(&mut self, name: &[u8]) -> bool {
        !self.contains(name) && self.set(name, b"", None)
    }

    /// Takes an element out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Entry> {
        let hash = self.table.hash(name);
        let spot = self.table.locate(hash, name).ok()?;
        self.before_change(hash);
        let entry = self.table.remove(spot, 0);
        self.len -= 1;
        self.bytes -= entry.memory();
        if entry.expires() {
            self.expires -= 1;
            self.note(None);
        }
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
        let kept = self.cut.as_mut().is_none_or(|cut| cut.free_slice(budget));
        self.table.is_freed() && kept
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
        fn elements_past_their_time_are_found_in_slices(
            steps in prop::collection::vec((0_u8..8, 0_u32..400, 0_i64..3000), 0..2000),
            budget in 1_usize..50,
        ) {
            let (mut dict, mut model) = (Dict::new([7, 8]), BTreeMap::new());
            let mut now = 0;
            for (what, name, time) in steps {
                let text = name.to_string().into_bytes();
                match what {
                    0 => {
                        dict.set(&text, b"v", None);
                        model.insert(text, None);
                    }
                    1 => drop((dict.remove(&text), model.remove(&text))),
                    2 | 3 => {
                        let at = Some(now + time);
                        dict.set(&text, b"v", at);
                        model.insert(text, at);
                    }
                    4 => {
                        let at = (time % 3 > 0).then_some(now + time);
                        if dict.set_expire(&text, at) {
                            model.insert(text, at);
                        }
                    }
                    5 if dict.set_value(&text, b"w") => drop(model.insert(text, None)),
                    _ => {
                        now += time / 20;
                        let mut past = Vec::new();
                        prop_assert!(dict.look_for_past(now, budget, &mut past) <= budget + 16);
                        for name in past {
                            let at = dict.remove(&name).and_then(|entry| entry.expire_ms());
                            prop_assert!(at.unwrap() < now);
                            prop_assert_eq!(model.remove(&name), Some(at));
                        }
                    }
                }
                let times = || model.values().copied().flatten();
                let past = times().filter(|&at| at < now).count();
                prop_assert_eq!(dict.live_len(now), model.len() - past);
                prop_assert_eq!(dict.expires_len(), times().count());
                prop_assert_eq!(dict.times.is_some(), times().count() > 0);
                if let Some(known) = &dict.times {
                    prop_assert!(times().all(|at| known.due <= at));
                }
            }
            // Walks that come round leave nothing that is past.
            now += 3000;
            for _ in 0..1000 {
                let mut past = Vec::new();
                dict.look_for_past(now, budget, &mut past);
                past.iter().for_each(|name| drop(dict.remove(name)));
            }
            prop_assert!(dict.iter().all(|entry| !entry.is_expired(now)));
        }

        #[test]
        fn a_cut_shows_what_was_there_whatever_changes(
            first in prop::collection::vec((0_u32..6000, 0_usize..60), 0..4000),
            steps in prop::collection::vec((0_u8..9, 0_u32..6000, 0_usize..60), 0..1500),
            stops in any::<bool>(),
        ) {
            let text = |name: u32| name.to_string().into_bytes();
            let mut dict = Dict::new([5, 6]);
            for (name, len) in first {
                dict.set(&text(name), &vec![b'v'; len], (len % 5 == 0).then_some(len as i64));
            }
            let facts = |e: &Entry| (e.key().to_vec(), value(e), e.expire_ms());
            for epoch in 1..3 {
                let mut then: Vec<_> = dict.iter().map(facts).collect();
                let mut seen = Vec::new();
                dict.begin_cut(epoch);
                for &(what, name, len) in &steps {
                    match what {
                        0..3 => drop(dict.remove(&text(name))),
                        3..7 => drop(dict.set(&text(name), &vec![b'w'; len], None)),
                        7 => drop(dict.set(&text(name), b"", Some(9))),
                        _ => drop(dict.cut_slice(len, &mut |e| seen.push(facts(e)))),
                    }
                }
                let bytes: usize = dict.iter().map(Entry::memory).sum();
                let cut = dict.cut.as_ref().map_or(0, |cut| cut.memory());
                let times = dict.times.as_ref().map_or(0, |_| usable(size_of::<Times>()));
                prop_assert_eq!(dict.memory(), bytes + dict.table.memory() + cut + times);
                if stops {
                    let mut kept = dict.end_cut();
                    while !kept.free_slice(7) {}
                    prop_assert_eq!(kept.bytes(), 0);
                    continue;
                }
                while !dict.cut_slice(100, &mut |e| seen.push(facts(e))) {}
                prop_assert!(dict.end_cut().free_slice(1));
                then.sort();
                seen.sort();
                prop_assert_eq!(then, seen);
            }
        }

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
            let times = dict.times.as_ref().map_or(0, |_| usable(size_of::<Times>()));
            prop_assert_eq!(dict.memory(), bytes + dict.table.memory() + times);
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
