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
//! a key was changed is not asked: some effects concern two.

use std::collections::HashSet;

/// The keys whose changes were not released at a time.
#[derive(Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// Position behind the last effect that was looked at.
    upto: u64,
    keys: HashSet<Box<[u8]>>,
}

impl Unwritten {
    /// The set for all effects up to a position.
    pub fn new(upto: u64, keys: HashSet<Box<[u8]>>) -> Unwritten {
        Unwritten { upto, keys }
    }

    /// Position behind the last effect that was looked at.
    pub fn upto(&self) -> u64 {
        self.upto
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What a reply that tells of `key` waits for, where the stamp of its segment is this.
    fn tag(&self, key: &[u8], stamp: u64) -> u64 {
        let waits = stamp > self.upto || self.keys.contains(key);
        if waits { stamp } else { 0 }
    }
}

/// [`Unwritten::tag`], and the stamp itself while the log is written.
#[inline]
pub fn tag(unwritten: Option<&Unwritten>, key: &[u8], stamp: u64) -> u64 {
    unwritten.map_or(stamp, |unwritten| unwritten.tag(key, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_stuck_or_came_later_is_waited_for() {
        let stuck = Unwritten::new(50, HashSet::from([b"a"[..].into()]));
        assert_eq!((tag(None, b"a", 40), tag(None, b"b", 40)), (40, 40));
        assert_eq!((tag(Some(&stuck), b"a", 40), tag(Some(&stuck), b"b", 40)), (40, 0));
        assert_eq!((tag(Some(&stuck), b"b", 50), tag(Some(&stuck), b"b", 51)), (0, 51));
    }
}
