//! Which keys wait for a log that cannot be written.
//!
//! A reply waits until the last change of its key's *segment* is released: while a log is written
//! that is a moment, and nothing has to be known of single keys. When the disk is full it may be
//! hours, and most keys of a small database share a segment with one of the few whose writes are
//! stuck. So then these are known one by one, and all others are served.
//!
//! # Why a key that is not among them may be served
//!
//! The set names every key of every effect between the release point, as it was when the set was
//! made, and [`Unwritten::upto`], which was the end of all effects. An effect names all keys that
//! it changes. So a key that is not in the set was last changed by an effect that was released
//! then, and what is released stays so; or by one that came later, behind `upto`, and then the
//! stamp of its segment lies behind `upto` as well, and its reply waits as ever. In which database
//! a key was changed is not asked: some effects concern two. Keys go by their hashes: one that
//! shares its hash with another waits for no reason.
//!
//! # Replies that wait already
//!
//! Whoever reads while the write that will fail is under way waits for the segment, and would do so
//! as long as nothing can be written. So a reply that is to wait takes along which keys it has
//! looked at ([`Looked`]), if that is all it waits for, and leaves when the set is there and has
//! none of them: what was read stood there then, and no effect up to `upto` has changed it that was
//! not released.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

/// Most keys that are remembered of one reply: one that looks at more waits for segments.
const LOOKED_MAX: usize = 64;

/// The keys whose changes were not released at a time.
#[derive(Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// Position behind the last effect that was looked at.
    upto: u64,
    keys: HashSet<u64>,
}

/// What a key goes by here.
pub fn known_by(key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Unwritten {
    /// The set for all effects up to a position.
    pub fn new(upto: u64, keys: HashSet<u64>) -> Unwritten {
        Unwritten { upto, keys }
    }

    /// Position behind the last effect that was looked at.
    pub fn upto(&self) -> u64 {
        self.upto
    }

    /// What a reply that tells of `key` waits for, where the stamp of its segment is this.
    fn tag(&self, key: &[u8], stamp: u64) -> u64 {
        let waits = stamp > self.upto || self.keys.contains(&known_by(key));
        if waits { stamp } else { 0 }
    }

    /// Whether a reply that was to wait until `tag` is released, and told of these keys, may leave.
    pub fn frees(&self, tag: u64, looked: &Looked) -> bool {
        let stuck = |name: &u64| self.keys.contains(name);
        looked.explains(tag) && tag <= self.upto && !looked.keys.iter().any(stuck)
    }
}

/// The keys that a reply tells of whose segments were not released.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// The release point when the reply was begun.
    released: u64,
    keys: SmallVec<[u64; 2]>,
    /// Highest stamp of their segments.
    upto: u64,
    /// It tells, or may tell, of more: what it has done itself, a whole database, a floor that is
    /// not released, too many keys.
    more: bool,
}

impl Looked {
    /// A reply begins, everything in front of `released` being released.
    #[inline]
    pub fn begin(&mut self, released: u64) {
        self.forget();
        (self.released, self.upto, self.more) = (released, 0, false);
    }

    #[inline]
    fn forget(&mut self) {
        // Mostly there are none, and it is done for each command.
        if !self.keys.is_empty() {
            self.keys = SmallVec::new();
        }
    }

    /// It tells of something else.
    #[inline]
    pub fn also(&mut self) {
        self.more = true;
        self.forget();
    }

    /// A command begins, which tells of what has happened up to `floor`, whatever it looks at.
    #[inline]
    pub fn at_least(&mut self, floor: u64) {
        if floor > self.released {
            self.also();
        }
    }

    #[inline]
    fn at(&mut self, key: &[u8], tag: u64) {
        if tag > self.released && !self.more {
            self.add(known_by(key), tag);
        }
    }

    #[cold]
    fn add(&mut self, key: u64, tag: u64) {
        if self.keys.len() == LOOKED_MAX {
            return self.also();
        }
        self.keys.push(key);
        self.upto = self.upto.max(tag);
    }

    /// Whether the segments of these keys are all that a reply waits for until `tag` is released.
    fn explains(&self, tag: u64) -> bool {
        !self.more && tag <= self.upto
    }

    /// What is told by a reply that waits until `tag` is released.
    pub fn take(&mut self, tag: u64) -> Looked {
        let more = !self.explains(tag);
        Looked { more, ..std::mem::take(self) }
    }

    /// Another reply goes along with this one, and waits until `tag` is released.
    #[inline]
    pub fn join(&mut self, other: &Looked, tag: u64) {
        if !self.more {
            self.add_all(other, tag);
        }
    }

    fn add_all(&mut self, other: &Looked, tag: u64) {
        if !other.explains(tag) || self.keys.len() + other.keys.len() > LOOKED_MAX {
            return self.also();
        }
        self.upto = self.upto.max(other.upto);
        self.keys.extend_from_slice(&other.keys);
    }
}

/// A command looks at `key`, whose segment's stamp is this; gives what its reply waits for.
#[inline]
pub fn saw(unwritten: Option<&Unwritten>, looked: &mut Looked, key: &[u8], stamp: u64) -> u64 {
    let tag = unwritten.map_or(stamp, |unwritten| unwritten.tag(key, stamp));
    looked.at(key, tag);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuck() -> Unwritten {
        Unwritten::new(50, HashSet::from([known_by(b"a")]))
    }

    #[test]
    fn only_what_is_stuck_or_came_later_is_waited_for() {
        let stuck = stuck();
        let saw = |of, key, stamp| saw(of, &mut Looked::default(), key, stamp);
        assert_eq!((saw(None, b"a", 40), saw(None, b"b", 40)), (40, 40));
        assert_eq!((saw(Some(&stuck), b"a", 40), saw(Some(&stuck), b"b", 40)), (40, 0));
        assert_eq!((saw(Some(&stuck), b"b", 50), saw(Some(&stuck), b"b", 51)), (0, 51));
    }

    /// What a reply tells of that was begun at 10 and has looked at these keys.
    fn looked(keys: &[(&[u8], u64)], tag: u64) -> Looked {
        let mut looked = Looked::default();
        looked.begin(10);
        for (key, stamp) in keys {
            saw(None, &mut looked, key, *stamp);
        }
        looked.take(tag)
    }

    #[test]
    fn replies_that_wait_are_freed_when_all_that_they_tell_of_is_released() {
        let stuck = stuck();
        assert!(stuck.frees(40, &looked(&[(b"b", 40), (b"c", 30)], 40)));
        assert!(stuck.frees(50, &looked(&[(b"a", 10), (b"b", 50)], 50)), "a was released");
        assert!(!stuck.frees(51, &looked(&[(b"b", 51)], 51)), "changed since");
        assert!(!stuck.frees(40, &looked(&[(b"b", 40), (b"a", 11)], 40)));
        assert!(!stuck.frees(41, &looked(&[(b"b", 40)], 41)), "it waits for something else");
        let mut also = looked(&[(b"b", 40)], 40);
        also.also();
        assert!(!stuck.frees(40, &also));
        let many = [(&b"b"[..], 40); LOOKED_MAX + 1];
        assert!(!stuck.frees(40, &looked(&many, 40)));
        assert!(stuck.frees(40, &looked(&many[1..], 40)));
    }

    #[test]
    fn replies_that_go_together_wait_together() {
        let stuck = stuck();
        let mut both = looked(&[(b"b", 40)], 40);
        both.join(&looked(&[(b"c", 45)], 45), 45);
        assert!(stuck.frees(45, &both));
        both.join(&looked(&[(b"a", 20)], 20), 20);
        assert!(!stuck.frees(45, &both));
        let mut both = looked(&[(b"b", 40)], 40);
        both.join(&looked(&[(b"c", 30)], 30), 35);
        assert!(!stuck.frees(40, &both), "the second waits for something else");
        let many = [(&b"b"[..], 40); LOOKED_MAX];
        both = looked(&many, 40);
        both.join(&looked(&[(b"c", 40)], 40), 40);
        assert!(!stuck.frees(40, &both));
        both = Looked::default();
        both.join(&looked(&[(b"c", 40)], 40), 40);
        assert!(stuck.frees(40, &both));
    }
}
