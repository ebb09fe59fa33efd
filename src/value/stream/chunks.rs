//! An ordered map in sorted pieces: what is added in order stands without gaps, at half of what a
//! tree of single elements would take.
//!
//! Invariants: no piece is empty or longer than [`LEN`]; each stands under a key that none of its
//! own is in front of, and behind all of the piece before; `len` is the sum of their lengths.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use crate::value::account::usable;

/// Most elements of a piece: each change moves what is behind it.
const LEN: usize = 64;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Chunks<K, V> {
    pieces: BTreeMap<K, Vec<(K, V)>>,
    len: usize,
    /// Bytes that the pieces have on the heap.
    bytes: usize,
}

impl<K, V> Default for Chunks<K, V> {
    fn default() -> Self {
        Chunks { pieces: BTreeMap::new(), len: 0, bytes: 0 }
    }
}

fn weight<T>(piece: &Vec<T>) -> usize {
    usable(piece.capacity() * size_of::<T>())
}

impl<K: Ord + Copy, V> Chunks<K, V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of heap memory held.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.pieces.len() * (size_of::<K>() + size_of::<Vec<(K, V)>>()) * 3 / 2
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let (_, piece) = self.pieces.range(..=*key).next_back()?;
        let at = piece.binary_search_by_key(key, |(own, _)| *own).ok()?;
        piece.get(at).map(|(_, value)| value)
    }

    /// Adds or replaces an element; gives the one it replaces.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some((_, piece)) = self.pieces.range_mut(..=key).next_back() else {
            self.insert_first(key, value);
            return None;
        };
        let at = match piece.binary_search_by_key(&key, |(own, _)| *own) {
            Ok(at) => return Some(std::mem::replace(&mut piece[at].1, value)),
            Err(at) => at,
        };
        self.len += 1;
        if piece.len() < LEN {
            self.bytes -= weight(piece);
            piece.insert(at, (key, value));
            self.bytes += weight(piece);
            return None;
        }
        // Behind the last element a new piece begins; in between, both halves have room.
        let mut behind = if at == LEN { Vec::new() } else { piece.split_off(LEN / 2) };
        if at > LEN / 2 {
            behind.insert(if at == LEN { 0 } else { at - LEN / 2 }, (key, value));
        } else {
            piece.insert(at, (key, value));
        }
        self.add_piece(behind);
        None
    }

    fn add_piece(&mut self, piece: Vec<(K, V)>) {
        if let Some((key, _)) = piece.first() {
            self.bytes += weight(&piece);
            self.pieces.insert(*key, piece);
        }
    }

    /// Adds an element in front of all others.
    fn insert_first(&mut self, key: K, value: V) {
        self.len += 1;
        let mut piece = Vec::new();
        if let Some(first) = self.pieces.first_entry()
            && first.get().len() < LEN
        {
            piece = first.remove();
            self.bytes -= weight(&piece);
        }
        piece.insert(0, (key, value));
        self.add_piece(piece);
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (under, piece) = self.pieces.range_mut(..=*key).next_back()?;
        let at = piece.binary_search_by_key(key, |(own, _)| *own).ok()?;
        self.len -= 1;
        self.bytes -= weight(piece);
        let (_, value) = piece.remove(at);
        if piece.is_empty() {
            let under = *under;
            self.pieces.remove(&under);
            return Some(value);
        }
        if piece.len() < piece.capacity() / 4 {
            let mut few = Vec::with_capacity(piece.len());
            few.append(piece);
            *piece = few;
        }
        self.bytes += weight(piece);
        Some(value)
    }

    /// The elements from `key` on.
    pub(super) fn from(&self, key: K) -> impl Iterator<Item = (&K, &V)> {
        let first = self.pieces.range(..=key).next_back();
        let piece = first
            .map_or(&[][..], |(_, piece)| &piece[piece.partition_point(|(own, _)| *own < key)..]);
        let rest = match first {
            Some((under, _)) => self.pieces.range((Excluded(*under), Unbounded)),
            None => self.pieces.range(..),
        };
        let rest = rest.flat_map(|(_, piece)| piece.iter());
        piece.iter().chain(rest).map(|(key, value)| (key, value))
    }

    pub(super) fn last(&self) -> Option<(&K, &V)> {
        let (_, piece) = self.pieces.last_key_value()?;
        piece.last().map(|(key, value)| (key, value))
    }

    /// Frees pieces of one that will not be used again, of up to `budget` elements or one; true
    /// when none is left.
    pub(super) fn free_slice(&mut self, budget: &mut usize) -> bool {
        while *budget > 0 {
            let Some((_, piece)) = self.pieces.pop_first() else { return true };
            *budget = budget.saturating_sub(piece.len());
            self.len -= piece.len();
            self.bytes -= weight(&piece);
        }
        self.pieces.is_empty()
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut last = None;
        for (key, piece) in &self.pieces {
            assert!(!piece.is_empty() && piece.len() <= LEN && *key <= piece[0].0);
            assert!(last < Some(*key) && piece.is_sorted_by(|a, b| a.0 < b.0));
            last = piece.last().map(|(key, _)| *key);
        }
        assert_eq!(self.len, self.pieces.values().map(Vec::len).sum::<usize>());
        assert_eq!(self.bytes, self.pieces.values().map(weight).sum::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(
            steps in prop::collection::vec((0_u8..4, 0_u32..2000, 1_u32..150), 0..200),
        ) {
            let (mut chunks, mut model) = (Chunks::default(), BTreeMap::new());
            for (what, key, count) in steps {
                for key in key..key + count {
                    if what == 0 {
                        prop_assert_eq!(chunks.remove(&key), model.remove(&key));
                    } else if what == 1 {
                        let key = key.wrapping_mul(2_654_435_761) % 3000;
                        prop_assert_eq!(chunks.insert(key, what), model.insert(key, what));
                    } else {
                        prop_assert_eq!(chunks.insert(key, what), model.insert(key, what));
                    }
                }
                chunks.check();
                prop_assert_eq!(chunks.get(&key), model.get(&key));
                prop_assert!(chunks.from(key).eq(model.range(key..)));
            }
            prop_assert!(chunks.from(0).eq(&model));
            prop_assert_eq!((chunks.len(), chunks.last()), (model.len(), model.last_key_value()));
            let mut budget = 70;
            let done = chunks.free_slice(&mut budget);
            prop_assert!(done == (chunks.len() == 0) && chunks.len() + 134 > model.len());
            while !chunks.free_slice(&mut 10) {}
            prop_assert_eq!((chunks.len(), chunks.memory()), (0, 0));
        }
    }

    #[test]
    fn what_comes_in_order_stands_without_gaps() {
        let mut chunks = Chunks::default();
        (0..64_000_u64).for_each(|n| assert_eq!(chunks.insert(n, n), None));
        assert_eq!(chunks.pieces.len(), 1000);
        assert!(chunks.memory() < 64_000 * 17);
    }
}
