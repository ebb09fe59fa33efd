//! Sorted sets: members in the order of their scores, packed while they are few and short, a
//! dictionary with a tree beside it from then on.

mod large;
pub mod packed;
mod tree;

use bytes::BytesMut;
use smallvec::SmallVec;

use crate::base::random::Random;
use crate::value::entry::{Entry, Form, ValueRef};
use crate::value::listpack::{Filter, Item, Pack};
use crate::value::object::Object;
use crate::value::shapes::Shapes;

pub use large::Large;
use large::Making;

/// A sorted set as it is kept.
#[derive(Clone, Copy, Debug)]
pub enum Zset<'a> {
    /// Members and scores in turn.
    Packed(Pack<'a>),
    /// With structures of its own.
    Large(&'a Large),
}

/// A range of scores.
#[derive(Clone, Copy, Debug)]
pub struct Scores {
    /// The lowest, and whether it is left out itself.
    pub min: (f64, bool),
    /// The highest, and whether it is left out itself.
    pub max: (f64, bool),
}

impl Scores {
    /// Whether a score is not below the range.
    fn reached(&self, score: f64) -> bool {
        if self.min.1 { score > self.min.0 } else { score >= self.min.0 }
    }

    /// Whether a score is not above the range.
    fn within(&self, score: f64) -> bool {
        if self.max.1 { score < self.max.0 } else { score <= self.max.0 }
    }
}

/// An end of a range of members of one score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge<'a> {
    /// In front of every member.
    Lowest,
    /// A member.
    At(&'a [u8]),
    /// Behind every member.
    Highest,
}

/// A range of members, all of which should have one score.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The first, and whether it is left out itself.
    pub min: (Edge<'a>, bool),
    /// The last, and whether it is left out itself.
    pub max: (Edge<'a>, bool),
}

impl Names<'_> {
    fn reached(&self, name: &[u8]) -> bool {
        let own = Edge::At(name);
        if self.min.1 { own > self.min.0 } else { own >= self.min.0 }
    }

    fn within(&self, name: &[u8]) -> bool {
        let own = Edge::At(name);
        if self.max.1 { own < self.max.0 } else { own <= self.max.0 }
    }

    fn is_empty(&self) -> bool {
        let (min, max) = (self.min, self.max);
        min.0 > max.0 || min.0 == max.0 && (min.1 || max.1)
    }
}

impl<'a> Zset<'a> {
    /// The sorted set that an entry holds; `None` when it holds something else.
    pub fn of(entry: &'a Entry) -> Option<Zset<'a>> {
        match entry.value() {
            ValueRef::Packed(Form::Zset, bytes) => Some(Zset::Packed(Pack(bytes))),
            ValueRef::Object(Object::Zset(large)) => Some(Zset::Large(large)),
            _ => None,
        }
    }

    /// Number of members.
    pub fn len(self) -> usize {
        match self {
            Zset::Packed(pack) => pack.len() / 2,
            Zset::Large(large) => large.len(),
        }
    }

    /// True when there is no member.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// A member's score.
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Zset::Packed(pack) => packed::find(pack, member).map(|(_, score)| score),
            Zset::Large(large) => large.score(member),
        }
    }

    /// A member's rank and score.
    pub fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Zset::Large(large) => large.rank(member),
            Zset::Packed(pack) => packed::pairs(pack)
                .enumerate()
                .find(|(_, (_, own, _))| own.is(member))
                .map(|(rank, (.., score))| (rank, packed::score(score))),
        }
    }

    /// The ranks of a range of scores: the first, and how many.
    pub fn score_range(self, range: &Scores) -> (usize, usize) {
        let (from, to) = match self {
            Zset::Packed(pack) => {
                let count = |before: &dyn Fn(f64) -> bool| {
                    packed::pairs(pack).take_while(|(.., s)| before(packed::score(*s))).count()
                };
                (count(&|score| !range.reached(score)), count(&|score| range.within(score)))
            }
            Zset::Large(large) => (
                large.rank_by_score(|score| !range.reached(score)),
                large.rank_by_score(|score| range.within(score)),
            ),
        };
        (from, to.saturating_sub(from))
    }

    /// The ranks of a range of members: the first, and how many. Where scores differ, a packed set
    /// is looked through as Redis does it: from the end that a reader begins at.
    pub fn name_range(self, range: &Names<'_>, down: bool) -> (usize, usize) {
        if range.is_empty() {
            return (0, 0);
        }
        match self {
            Zset::Packed(pack) => packed_names(pack, range, down),
            Zset::Large(large) => {
                let from = large.rank_by_name(|name| !range.reached(name));
                let to = large.rank_by_name(|name| range.within(name));
                (from, to.saturating_sub(from))
            }
        }
    }

    /// Every member with its score, ascending.
    pub fn each(self, visit: impl FnMut(Item<'a>, f64)) {
        self.walk(0, usize::MAX, false, visit);
    }

    /// `count` members with their scores from rank `from` on, up or down; it is below the length.
    pub fn walk(self, from: usize, count: usize, down: bool, mut visit: impl FnMut(Item<'a>, f64)) {
        match (self, down) {
            (Zset::Large(large), false) => {
                large.iter(from).take(count).for_each(|(name, s)| visit(Item::Str(name), s));
            }
            (Zset::Large(large), true) => {
                large.iter_down(from).take(count).for_each(|(name, s)| visit(Item::Str(name), s));
            }
            (Zset::Packed(pack), false) => {
                let Some(mut at) = pack.seek(2 * from as i64) else { return };
                for _ in 0..count {
                    let Some((member, score_at)) = pack.at(at) else { return };
                    let Some((score, next)) = pack.at(score_at) else { return };
                    visit(member, packed::score(score));
                    at = next;
                }
            }
            (Zset::Packed(pack), true) => {
                let Some(mut at) = pack.seek(2 * from as i64) else { return };
                for _ in 0..count {
                    let Some((member, score_at)) = pack.at(at) else { return };
                    let Some((score, _)) = pack.at(score_at) else { return };
                    visit(member, packed::score(score));
                    let Some(before) = pack.before(at).and_then(|at| pack.before(at)) else {
                        return;
                    };
                    at = before;
                }
            }
        }
    }

    /// Up to `count` members with their scores from rank `from` on, until `visit` says false.
    pub fn walk_while(
        self,
        from: usize,
        count: usize,
        mut visit: impl FnMut(Item<'a>, f64) -> bool,
    ) {
        match self {
            Zset::Large(large) => {
                let mut all = large.iter(from).take(count);
                while all.next().is_some_and(|(name, score)| visit(Item::Str(name), score)) {}
            }
            Zset::Packed(pack) => {
                let mut all = packed::pairs(pack).skip(from).take(count);
                while all.next().is_some_and(|(_, name, s)| visit(name, packed::score(s))) {}
            }
        }
    }

    /// Some member with its score, evenly chosen as far as it is cheap.
    pub fn random(self, random: &mut Random) -> Option<(Item<'a>, f64)> {
        match self {
            _ if self.is_empty() => None,
            Zset::Large(large) => {
                large.random(random).map(|(name, score)| (Item::Str(name), score))
            }
            Zset::Packed(_) => {
                let (mut found, at) = (None, random.below(self.len() as u64) as usize);
                self.walk(at, 1, false, |member, score| found = Some((member, score)));
                found
            }
        }
    }

    /// The same with structures of its own.
    pub fn to_large(self, seed: [u64; 2]) -> Large {
        let mut large = Large::new(seed);
        self.each(|member, score| large.insert(member.text(&mut itoa::Buffer::new()), score));
        large
    }
}

/// The ranks of a range of members in a packed set.
fn packed_names(pack: Pack<'_>, range: &Names<'_>, down: bool) -> (usize, usize) {
    let places = |(_, name, _): (usize, Item<'_>, Item<'_>)| {
        let text = &mut itoa::Buffer::new();
        let name = name.text(text);
        (range.reached(name), range.within(name))
    };
    let places: SmallVec<[(bool, bool); 128]> = packed::pairs(pack).map(places).collect();
    let ends = places.last().is_some_and(|last| last.0) && places[0].1;
    if !ends {
        return (0, 0);
    }
    if down {
        let passed = places.iter().rev().take_while(|place| !place.1).count();
        let count = places.iter().rev().skip(passed).take_while(|place| place.0).count();
        return (places.len() - passed - count, count);
    }
    let from = places.iter().take_while(|place| !place.0).count();
    (from, places.iter().skip(from).take_while(|place| place.1).count())
}

/// A sorted set that is being made of members one by one, as when a file is read.
#[derive(Debug)]
pub struct Builder {
    shapes: Shapes,
    seed: [u64; 2],
    kept: Kept,
    /// The members in a listpack.
    seen: Filter,
    /// How many members come, as far as that is known.
    expected: usize,
}

#[derive(Debug)]
enum Kept {
    Packed(BytesMut),
    Large(Box<Making>),
}

/// A sorted set that was made.
#[derive(Debug)]
pub enum Built {
    /// As one piece; empty bytes hold no member.
    Packed(BytesMut),
    /// With structures of its own.
    Large(Box<Large>),
}

impl Builder {
    /// An empty one.
    pub fn new(shapes: Shapes, seed: [u64; 2]) -> Self {
        Builder::begin(shapes, seed, Kept::Packed(BytesMut::new()))
    }

    /// An empty one that has structures of its own from the beginning.
    pub fn large(shapes: Shapes, seed: [u64; 2]) -> Self {
        Builder::begin(shapes, seed, Kept::Large(Box::new(Making::new(seed, 0))))
    }

    fn begin(shapes: Shapes, seed: [u64; 2], kept: Kept) -> Self {
        Builder { shapes, seed, kept, seen: Filter::default(), expected: 0 }
    }

    /// About so many members are to come.
    pub fn expect(mut self, members: usize) -> Self {
        self.expected = members;
        self
    }

    /// Adds a member; false when it is known by now that one was there already.
    pub fn add(&mut self, member: &[u8], score: f64) -> bool {
        if let Kept::Packed(bytes) = &mut self.kept {
            if !self.seen.is_new(member) && packed::find(Pack(bytes), member).is_some() {
                return false;
            }
            if packed::has_room(bytes, member, &self.shapes) {
                packed::insert(bytes, member, score);
                return true;
            }
            let mut making = Making::new(self.seed, self.expected);
            if !bytes.is_empty() {
                Zset::Packed(Pack(bytes)).each(|member, score| {
                    making.add(member.text(&mut itoa::Buffer::new()), score);
                });
            }
            self.kept = Kept::Large(Box::new(making));
        }
        let Kept::Large(making) = &mut self.kept else { return false };
        making.add(member, score)
    }

    /// The sorted set; `None` when a member came twice.
    pub fn finish(self) -> Option<Built> {
        Some(match self.kept {
            Kept::Packed(bytes) => Built::Packed(bytes),
            Kept::Large(making) => Built::Large(Box::new(making.finish()?)),
        })
    }
}
