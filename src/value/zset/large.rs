//! A large sorted set: a dictionary of its members, each with its score, and their order beside it.
//!
//! The order holds no names: it holds the places of the dictionary's elements, each of which is one
//! allocation that moves nowhere while the element is there. So a long member is kept once.
//!
//! # Obligations of the unsafe block
//! An [`Anchor`] may be looked at while the element it was taken of is there and unchanged.
//! 1. Anchors are taken in `insert` and in [`Making::add`] alone, of elements that the dictionary
//!    then owns, and stay in `order`; none is handed out but to be looked at through a borrow of
//!    the whole. (Those of a [`Making`] are looked at once all its elements are in the dictionary,
//!    or, where one was there already and so is dropped, never.)
//! 2. An element leaves `members` only in `remove`, after its anchor has left `order`, and in
//!    `free_slice`, when `order` is empty. Nothing here replaces an element: `Dict::set_int` writes
//!    the score where it is, while everything is borrowed mutably, and no look goes on meanwhile.
//! 3. Dropping `order` looks at no anchor.
//!
//! Invariants: the elements of `order` are those of `members`, with the same scores.
#![allow(unsafe_code)]

use std::fmt;

use smallvec::SmallVec;

use crate::base::random::Random;
use crate::value::cut::Kept;
use crate::value::dict::Dict;
use crate::value::entry::{Anchor, Entry, NewValue, ValueRef};
use crate::value::filling::Filling;
use crate::value::zset::tree::{Element, Named, Tree, order};

impl Named for Anchor {
    fn name(&self) -> &[u8] {
        self.key()
    }
}

/// See the head of this file.
#[derive(Default)]
pub struct Large {
    order: Tree<Anchor>,
    members: Dict,
}

/// The score that a dictionary's element has.
fn score_of(entry: &Entry) -> f64 {
    match entry.value() {
        ValueRef::Int(bits) => f64::from_bits(bits as u64),
        _ => 0.0,
    }
}

/// Most members that room is made for before they come: the order grows as fast as they do.
const ROOM: usize = 1 << 16;

/// A large sorted set that is being made of many members, all of which should be new. They are put
/// in order at the end, whatever the order in which they came.
#[derive(Debug)]
pub(super) struct Making {
    order: Vec<Element<Anchor>>,
    members: Filling,
}

impl Making {
    /// An empty one, with room for about so many members.
    pub(super) fn new(seed: [u64; 2], members: usize) -> Self {
        let dict = Dict::roomy(seed, members);
        Making { order: Vec::with_capacity(members.min(ROOM)), members: Filling::new(dict) }
    }

    /// Adds a member; false when it is known by now that one was there already.
    pub(super) fn add(&mut self, member: &[u8], score: f64) -> bool {
        let entry = Entry::new(member, NewValue::Int(score.to_bits() as i64), None);
        // SAFETY: (1, 2) the dictionary will own the element and keep it where it is.
        self.order.push((score, unsafe { entry.anchor() }));
        self.members.add(entry)
    }

    /// The sorted set; `None` when a member came twice.
    pub(super) fn finish(self) -> Option<Large> {
        let Making { order: mut all, members } = self;
        let members = members.finish()?;
        // Others write them from the last to the first.
        if all.first().zip(all.last()).is_some_and(|(first, last)| first.0 > last.0) {
            all.reverse();
        }
        all.sort_by(order);
        Some(Large { order: Tree::of_sorted(all), members })
    }
}

impl Large {
    /// An empty one; `seed` keys the hash function of its members.
    pub fn new(seed: [u64; 2]) -> Self {
        Large { order: Tree::default(), members: Dict::new(seed) }
    }

    /// The members by name.
    pub fn members(&self) -> &Dict {
        &self.members
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True when there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of heap memory held.
    pub fn memory(&self) -> usize {
        self.members.memory() + self.order.memory()
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.members.get(member).map(score_of)
    }

    /// Adds a member that is not there.
    pub fn insert(&mut self, member: &[u8], score: f64) {
        let entry = Entry::new(member, NewValue::Int(score.to_bits() as i64), None);
        // SAFETY: (1, 2) the dictionary owns the element from here on, and keeps it where it is.
        let anchor = unsafe { entry.anchor() };
        let replaced = self.members.insert(entry);
        debug_assert!(replaced.is_none(), "a new member");
        self.order.insert(score, anchor);
    }

    /// Gives a member that is there another score.
    pub fn change(&mut self, member: &[u8], old: f64, score: f64) {
        let Some(anchor) = self.order.remove(old, member) else { return };
        self.members.set_int(member, score.to_bits() as i64);
        self.order.insert(score, anchor);
    }

    /// Sets a member's score; gives the one it had.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let old = self.score(member);
        match old {
            None => self.insert(member, score),
            Some(old) => self.change(member, old, score),
        }
        old
    }

    /// Removes a member; gives the score it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.score(member)?;
        self.order.remove(score, member);
        self.members.remove(member);
        Some(score)
    }

    /// Removes `count` members from rank `from` on.
    pub fn remove_ranks(&mut self, from: usize, count: usize) {
        for _ in 0..count {
            let Some((_, anchor)) = self.order.iter(from).next() else { return };
            let name: SmallVec<[u8; 64]> = SmallVec::from_slice(anchor.key());
            self.remove(&name);
        }
    }

    /// Number of members in front of some place: those for which `before` is true, as it is for all
    /// in front of them.
    pub fn rank_by_score(&self, before: impl Fn(f64) -> bool) -> usize {
        self.order.rank(|score, _| before(score))
    }

    /// [`Large::rank_by_score`], by the name.
    pub fn rank_by_name(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        self.order.rank(|_, member| before(member.name()))
    }

    /// A member's rank and score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.order.rank_of(score, member), score))
    }

    /// The members from rank `from` on, ascending.
    pub fn iter(&self, from: usize) -> impl Iterator<Item = (&[u8], f64)> {
        self.order.iter(from).map(|(score, anchor)| (anchor.key(), score))
    }

    /// The members from rank `from` downwards; `from` is below the length.
    pub fn iter_down(&self, from: usize) -> impl Iterator<Item = (&[u8], f64)> {
        self.order.iter_down(from).map(|(score, anchor)| (anchor.key(), score))
    }

    /// Some member, evenly chosen as far as it is cheap.
    pub fn random(&self, random: &mut Random) -> Option<(&[u8], f64)> {
        self.members.random(random).map(|entry| (entry.key(), score_of(entry)))
    }

    /// See [`Dict::scan`].
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], f64)) -> u64 {
        self.members.scan(cursor, count, &mut |entry| visit(entry.key(), score_of(entry)))
    }

    /// From now on [`Large::cut_slice`] visits what is here now; see [`Dict::begin_cut`]. The order
    /// is not part of it: whoever reads the members has their scores.
    pub fn begin_cut(&mut self, epoch: u64) {
        self.members.begin_cut(epoch);
    }

    /// Visits about `budget` of the members that stood here when the cut began, in no order; true
    /// when each has been visited, once. Anything may change from call to call.
    pub fn cut_slice(&mut self, budget: usize, visit: &mut dyn FnMut(&[u8], f64)) -> bool {
        self.members.cut_slice(budget, &mut |entry| visit(entry.key(), score_of(entry)))
    }

    /// Ends a cut; see [`Dict::end_cut`].
    pub fn end_cut(&mut self) -> Kept {
        self.members.end_cut()
    }

    /// Frees up to `budget` members of one that will not be used again; true when none is left.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        self.order.free_slice(budget) && self.members.free_slice(budget)
    }
}

impl Clone for Large {
    fn clone(&self) -> Self {
        let mut copy = Large { order: Tree::default(), members: self.members.fresh() };
        self.iter(0).for_each(|(member, score)| copy.insert(member, score));
        copy
    }
}

impl fmt::Debug for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, score): (&[u8], f64)| (name.escape_ascii().to_string(), score);
        f.debug_map().entries(self.iter(0).map(shown)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Bits that stand for a score.
    fn score(n: u8) -> f64 {
        match n {
            0 => f64::NEG_INFINITY,
            1 => f64::INFINITY,
            2 => -0.0,
            n => f64::from(n % 16) / 2.0 - 2.0,
        }
    }

    fn check(large: &Large, model: &BTreeMap<Vec<u8>, f64>) {
        let mut sorted: Vec<(Vec<u8>, f64)> = model.iter().map(|(m, s)| (m.clone(), *s)).collect();
        sorted.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
        let all: Vec<_> = large.iter(0).map(|(m, s)| (m.to_vec(), s)).collect();
        assert_eq!(all, sorted);
        assert_eq!(large.len(), model.len());
        for (rank, (member, score)) in sorted.iter().enumerate() {
            assert_eq!(large.rank(member), Some((rank, *score)));
        }
        let below = large.rank_by_score(|score| score < 1.0);
        assert_eq!(below, sorted.iter().filter(|(_, score)| *score < 1.0).count());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 100 }))]

        #[test]
        fn it_is_ordered_by_score_and_name(
            steps in prop::collection::vec((0_u8..4, 0_u32..300, any::<u8>(), 0_usize..3), 0..800),
        ) {
            let (mut large, mut model) = (Large::new([1, 2]), BTreeMap::new());
            for (what, n, by, long) in steps {
                let mut name = n.to_string().into_bytes();
                name.resize(name.len() + [0, 40, 70_000][long * usize::from(n < 5)], b'x');
                match what {
                    0 => prop_assert_eq!(large.remove(&name), model.remove(&name)),
                    1 if by < 20 => {
                        let (from, count) = (usize::from(by), n as usize % 9);
                        let gone: Vec<_> =
                            large.iter(from).take(count).map(|(m, _)| m.to_vec()).collect();
                        large.remove_ranks(from, count);
                        for name in gone {
                            prop_assert!(model.remove(&name).is_some());
                        }
                    }
                    _ => {
                        let score = score(by);
                        prop_assert_eq!(large.set(&name, score), model.insert(name, score));
                    }
                }
            }
            check(&large, &model);
            let copy = large.clone();
            while !large.free_slice(7) {}
            prop_assert_eq!(large.len(), 0);
            drop(large);
            check(&copy, &model);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 60 }))]

        #[test]
        fn a_cut_shows_what_was_there_whatever_changes(
            first in prop::collection::vec((0_u32..3000, any::<u8>()), 0..3000),
            steps in prop::collection::vec((0_u8..9, 0_u32..3000, any::<u8>()), 0..1000),
        ) {
            let mut large = Large::new([1, 2]);
            for (n, by) in first {
                large.set(n.to_string().as_bytes(), score(by));
            }
            let then: BTreeMap<_, _> = large.iter(0).map(|(m, s)| (m.to_vec(), s)).collect();
            let mut model = then.clone();
            let (mut seen, mut visits) = (BTreeMap::new(), 0);
            let mut see = |name: &[u8], score: f64| {
                seen.insert(name.to_vec(), score);
                visits += 1;
            };
            large.begin_cut(1);
            for (what, n, by) in steps {
                let name = n.to_string().into_bytes();
                match what {
                    0..3 => prop_assert_eq!(large.remove(&name), model.remove(&name)),
                    3..8 => {
                        let score = score(by);
                        prop_assert_eq!(large.set(&name, score), model.insert(name, score));
                    }
                    _ => {
                        large.cut_slice(usize::from(by), &mut see);
                    }
                }
            }
            while !large.cut_slice(100, &mut see) {}
            prop_assert!(large.end_cut().free_slice(1));
            prop_assert_eq!(visits, then.len());
            prop_assert_eq!(seen, then);
            check(&large, &model);
        }
    }

    #[test]
    fn one_that_is_made_at_once_is_like_any_other() {
        let mut random = Random::new(3);
        for count in [0, 1, 63, 64, 65, 1000_u32] {
            let mut members: Vec<(Vec<u8>, f64)> =
                (0..count).map(|n| (n.to_string().into_bytes(), score(n as u8))).collect();
            for turn in 0..4 {
                let (mut making, mut large) = (Making::new([1, 2], 7 * turn), Large::new([1, 2]));
                for (member, score) in &members {
                    assert!(making.add(member, *score));
                    large.insert(member, *score);
                }
                let model = members.iter().cloned().collect();
                let made = making.finish().unwrap();
                check(&made, &model);
                assert_eq!(format!("{made:?}"), format!("{large:?}"));
                match turn {
                    0 => members.sort_by(|a, b| a.1.total_cmp(&b.1)),
                    1 => members.reverse(),
                    _ => members.sort_by_cached_key(|_| random.below(1000)),
                }
            }
            for (member, _) in &members {
                let mut making = Making::new([1, 2], 0);
                for (member, score) in &members {
                    making.add(member, *score);
                }
                making.add(member, 7.0);
                assert!(making.finish().is_none());
            }
        }
    }

    #[test]
    fn members_take_little() {
        let mut large = Large::new([1, 2]);
        let mut random = Random::new(3);
        let count = if cfg!(miri) { 300 } else { 100_000 };
        for n in 0..count {
            large.set(format!("member:{n:09}").as_bytes(), random.below(1 << 40) as f64);
        }
        // Redis 7.0 takes about 125.
        let each = large.memory() / count;
        assert!(cfg!(miri) || each < 75, "{each} bytes for each");
    }
}
