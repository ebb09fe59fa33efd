//! Ordered maps that can be walked, in slices, as they were at one moment, while they change.
//!
//! From [`Kept::begin`] on, whatever the walk has not reached yet is kept in its old form
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

/// What a walk through a map needs, beside the map.
#[derive(Debug)]
pub(super) struct Kept<K, V>(Option<Box<Cut<K, V>>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Kept(None)
    }
}

impl<K, V> Clone for Kept<K, V> {
    /// A copy is not walked through.
    fn clone(&self) -> Self {
        Kept(None)
    }
}

impl<K: Ord + Clone, V: Clone + Weigh> Kept<K, V> {
    /// From now on what stands in the map is kept.
    pub(super) fn begin(&mut self) {
        self.0 = Some(Box::new(Cut { passed: None, done: false, old: BTreeMap::new(), bytes: 0 }));
    }

    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// Whether a walk has not come to its end.
    pub(super) fn is_walked(&self) -> bool {
        self.0.as_ref().is_some_and(|cut| !cut.done)
    }

    /// Bytes of heap memory held.
    pub(super) fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |cut| cut.bytes + places::<K, Option<V>>(cut.old.len()))
    }

    /// To be called before what stands under `key` changes: keeps it, if the walk will want it.
    pub(super) fn keep<'m>(&mut self, key: &K, now: impl FnOnce() -> Option<&'m V>)
    where
        V: 'm,
    {
        let Some(cut) = &mut self.0 else { return };
        if !cut.done && cut.passed.as_ref() < Some(key) && !cut.old.contains_key(key) {
            let value = now().cloned();
            cut.bytes += value.as_ref().map_or(0, Weigh::weight);
            cut.old.insert(key.clone(), value);
        }
    }

    /// How far the walk has come.
    pub(super) fn passed(&self) -> Option<K> {
        self.0.as_ref().and_then(|cut| cut.passed.clone())
    }

    /// Visits up to `budget` of what was there when the walk began; true when all has been. `now`
    /// is what the map has behind [`Kept::passed`].
    pub(super) fn walk<'m>(
        &mut self,
        budget: &mut usize,
        now: impl Iterator<Item = (&'m K, &'m V)>,
        mut visit: impl FnMut(&K, &V),
    ) -> bool
    where
        K: 'm,
        V: 'm,
    {
        let Some(cut) = self.0.as_mut().filter(|cut| !cut.done) else { return true };
        let mut now = now.peekable();
        while *budget > 0 {
            *budget -= 1;
            let old_first = match (cut.old.first_key_value(), now.peek()) {
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

/// Bytes of places in a tree, whose nodes are two thirds full on average.
fn places<K, V>(len: usize) -> usize {
    len * (size_of::<K>() + size_of::<V>()) * 3 / 2
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Tracked<K, V> {
    map: BTreeMap<K, V>,
    bytes: usize,
    kept: Kept<K, V>,
}

impl<K, V> Default for Tracked<K, V> {
    fn default() -> Self {
        Tracked { map: BTreeMap::new(), bytes: 0, kept: Kept::default() }
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
        self.held() + self.kept.memory()
    }

    /// Bytes of heap memory held, but for what a walk keeps.
    pub(super) fn held(&self) -> usize {
        self.bytes + places::<K, V>(self.map.len())
    }

    fn keep(&mut self, key: &K) {
        self.kept.keep(key, || self.map.get(key));
    }

    pub(super) fn change<R>(&mut self, key: &K, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        self.keep(key);
        let value = self.map.get_mut(key)?;
        let before = value.weight();
        let result = change(value);
        self.bytes = self.bytes - before + value.weight();
        Some(result)
    }

    /// [`Tracked::change`] of the last value.
    pub(super) fn change_last<R>(&mut self, change: impl FnOnce(&K, &mut V) -> R) -> Option<R> {
        let mut last = self.map.last_entry()?;
        self.kept.keep(last.key(), || Some(last.get()));
        let key = last.key().clone();
        let value = last.get_mut();
        let before = value.weight();
        let result = change(&key, value);
        self.bytes = self.bytes - before + value.weight();
        Some(result)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.keep(&key);
        self.bytes += value.weight();
        if let Some(old) = self.map.insert(key, value) {
            self.bytes -= old.weight();
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.keep(key);
        let value = self.map.remove(key)?;
        self.bytes -= value.weight();
        Some(value)
    }

    /// Takes out all in front of `key`, or everything; `weight` is what they weigh together.
    pub(super) fn drop_front(&mut self, key: Option<&K>, weight: usize) -> BTreeMap<K, V> {
        if self.kept.is_walked() {
            let front = self.map.iter().take_while(|(own, _)| key.is_none_or(|key| *own < key));
            front.for_each(|(key, value)| self.kept.keep(key, || Some(value)));
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
        self.kept.begin();
    }

    pub(super) fn end_cut(&mut self) {
        self.kept.end();
    }

    /// Visits up to `budget` of what was there when the cut began; true when all has been.
    pub(super) fn walk(&mut self, budget: &mut usize, visit: impl FnMut(&K, &V)) -> bool {
        let from = self.kept.passed().map_or(Unbounded, Excluded);
        self.kept.walk(budget, self.map.range((from, Unbounded)), visit)
    }
}
