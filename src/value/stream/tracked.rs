//! An ordered map that can be walked, in slices, as it was at one moment, while it changes.
//!
//! From [`Tracked::begin_cut`] on, whatever the walk has not reached yet is kept in its old form
//! before its first change; so what is kept is bounded by what is changed. The walk goes through
//! both maps side by side.
//!
//! Invariants: `bytes` is the sum of the weights in `map`; keys of `old` are behind `passed`.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::ops::RangeBounds;

/// Bytes on the heap that a value counts for beside its place in the map.
pub(super) trait Weigh {
    fn weight(&self) -> usize;
}

#[derive(Debug)]
struct Cut<K, V> {
    /// How far the walk has come.
    passed: Option<K>,
    /// It is over.
    done: bool,
    /// What stood under a key that has been changed since; `None`: nothing.
    old: BTreeMap<K, Option<V>>,
    /// Bytes that `old` counts for beside the places.
    bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tracked<K, V> {
    map: BTreeMap<K, V>,
    bytes: usize,
    cut: Option<Box<Cut<K, V>>>,
}

impl<K, V> Default for Tracked<K, V> {
    fn default() -> Self {
        Tracked { map: BTreeMap::new(), bytes: 0, cut: None }
    }
}

impl<K: Clone, V: Clone> Clone for Tracked<K, V> {
    /// What it holds now, and no walk.
    fn clone(&self) -> Self {
        Tracked { map: self.map.clone(), bytes: self.bytes, cut: None }
    }
}

impl<K: Ord + Clone, V: Clone + Weigh> Tracked<K, V> {
    pub(super) fn map(&self) -> &BTreeMap<K, V> {
        &self.map
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    pub(super) fn range(
        &self,
        range: impl RangeBounds<K>,
    ) -> std::collections::btree_map::Range<'_, K, V> {
        self.map.range(range)
    }

    /// Bytes of heap memory held.
    pub(super) fn memory(&self) -> usize {
        // A node of the tree is two thirds full on average.
        let places = |len: usize| len * (size_of::<K>() + size_of::<V>()) * 3 / 2;
        let kept = self.cut.as_ref().map_or(0, |cut| cut.bytes + places(cut.old.len()));
        self.bytes + places(self.map.len()) + kept
    }

    /// Keeps what stands under `key`, if the walk will want it.
    fn keep(&mut self, key: &K) {
        let Some(cut) = &mut self.cut else { return };
        if !cut.done && cut.passed.as_ref() < Some(key) && !cut.old.contains_key(key) {
            let value = self.map.get(key).cloned();
            cut.bytes += value.as_ref().map_or(0, Weigh::weight);
            cut.old.insert(key.clone(), value);
        }
    }

    pub(super) fn change<R>(&mut self, key: &K, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        if self.cut.is_some() {
            self.keep(key);
        }
        let value = self.map.get_mut(key)?;
        let before = value.weight();
        let result = change(value);
        self.bytes = self.bytes - before + value.weight();
        Some(result)
    }

    /// [`Tracked::change`] of the last value.
    pub(super) fn change_last<R>(&mut self, change: impl FnOnce(&K, &mut V) -> R) -> Option<R> {
        if self.cut.is_some() {
            let key = self.map.last_key_value()?.0.clone();
            self.keep(&key);
        }
        let mut last = self.map.last_entry()?;
        let key = last.key().clone();
        let value = last.get_mut();
        let before = value.weight();
        let result = change(&key, value);
        self.bytes = self.bytes - before + value.weight();
        Some(result)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.cut.is_some() {
            self.keep(&key);
        }
        self.bytes += value.weight();
        if let Some(old) = self.map.insert(key, value) {
            self.bytes -= old.weight();
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        if self.cut.is_some() {
            self.keep(key);
        }
        let value = self.map.remove(key)?;
        self.bytes -= value.weight();
        Some(value)
    }

    /// Takes out all in front of `key`, or everything; `weight` is what they weigh together.
    pub(super) fn drop_front(&mut self, key: Option<&K>, weight: usize) -> BTreeMap<K, V> {
        if self.cut.as_ref().is_some_and(|cut| !cut.done) {
            let front = self.map.keys().take_while(|own| key.is_none_or(|key| *own < key));
            let front: Vec<K> = front.cloned().collect();
            front.iter().for_each(|key| self.keep(key));
        }
        self.bytes -= weight;
        let rest = key.map_or_else(BTreeMap::new, |key| self.map.split_off(key));
        std::mem::replace(&mut self.map, rest)
    }

    /// Holds what another map held, which weighs this much; nothing was in it.
    pub(super) fn adopt(&mut self, map: BTreeMap<K, V>, weight: usize) {
        (self.map, self.bytes) = (map, weight);
    }

    /// Takes out the first, of a map that is on its way out.
    pub(super) fn free_first(&mut self) -> bool {
        let Some((_, value)) = self.map.pop_first() else { return false };
        self.bytes -= value.weight();
        true
    }

    pub(super) fn begin_cut(&mut self) {
        self.cut =
            Some(Box::new(Cut { passed: None, done: false, old: BTreeMap::new(), bytes: 0 }));
    }

    pub(super) fn end_cut(&mut self) {
        self.cut = None;
    }

    /// Visits up to `budget` of what was there when the cut began; true when all has been.
    pub(super) fn walk(&mut self, budget: &mut usize, mut visit: impl FnMut(&K, &V)) -> bool {
        let Some(cut) = &mut self.cut else { return true };
        if cut.done {
            return true;
        }
        let from = cut.passed.clone().map_or(Unbounded, Excluded);
        let mut now = self.map.range((from, Unbounded)).peekable();
        while *budget > 0 {
            *budget -= 1;
            let old = cut.old.first_key_value();
            let next = now.peek();
            let old_first = match (old, next) {
                (None, None) => {
                    cut.done = true;
                    return true;
                }
                (Some((old, _)), Some((new, _))) => old <= *new,
                (old, _) => old.is_some(),
            };
            if !old_first {
                if let Some((key, value)) = now.next() {
                    visit(key, value);
                    cut.passed = Some(key.clone());
                }
                continue;
            }
            let Some((key, value)) = cut.old.pop_first() else { continue };
            if now.peek().is_some_and(|(new, _)| **new == key) {
                now.next();
            }
            if let Some(value) = value {
                cut.bytes -= value.weight();
                visit(&key, &value);
            }
            cut.passed = Some(key);
        }
        false
    }
}
