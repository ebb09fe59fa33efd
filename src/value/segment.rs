//! One segment of a database's table: the entries whose hashes begin with the same bits, in the
//! order of the bits that follow. Knows one prefix's entries; the directory is `table`'s.
//!
//! # Form
//! A sparse array sorted by tag. A *tag* is the 19 hash bits behind the segment's prefix of
//! `depth` bits, of which the first `known` (16 to 19) are real and the rest 0. A tag's *home* is
//! `tag * homes / 2^19`: where it would stand if hashes were perfectly even. Slots behind the last
//! home catch what is pushed out at the end; there is no wrapping round.
//!
//! Invariants:
//! 1. Entries stand in ascending order of tag.
//! 2. An entry stands at or behind its home, and no slot from its home to it is empty.
//! 3. At most 7/8 of the slots are taken.
//!
//! A look-up walks from the home to the first empty slot or greater tag: three or four
//! neighbouring words on average, and an entry is touched only when 16 or more of its bits agree.
//! Growth moves words and touches no entry. A split halves the sorted array and shifts one bit out
//! of every tag; only when 16 known bits are left (every fourth time) it reads keys to learn more.

use crate::base::memory;
use crate::value::account::usable;
use crate::value::entry::{Entry, TAG_BITS};

/// Most entries of a segment; one more makes it split (unless its prefix is as long as can be).
pub(crate) const ENTRIES_MAX: usize = 896;
/// Longest prefix, in bits.
pub(crate) const DEPTH_MAX: u8 = 30;
/// Fewest known bits of a tag: what a SCAN cursor tells apart within a segment.
pub(crate) const GROUP_BITS: u32 = 16;

const SLOT: usize = size_of::<Option<Entry>>();
const TAG_MASK: u32 = (1 << TAG_BITS) - 1;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    slots: Vec<Option<Entry>>,
    homes: u32,
    len: u32,
    /// Entries with an expiry.
    volatile: u32,
    depth: u8,
    known: u8,
    /// Log position of the last write to any of its keys, deletions included.
    pub(crate) stamp: u64,
    /// Which cut has this segment's content already; for snapshots.
    pub(crate) epoch: u64,
}

/// Fewest slots, filling their allocation, that hold `len` entries.
fn slots_for(len: usize) -> usize {
    usable((len * 8).div_ceil(7).max(8) * SLOT) / SLOT
}

/// How many of `slots` slots are homes; the rest catches what is pushed out at the end.
fn homes_of(slots: usize) -> u32 {
    (slots - slots / 64 - 2) as u32
}

fn home(tag: u32, homes: u32) -> usize {
    ((u64::from(tag) * u64::from(homes)) >> TAG_BITS) as usize
}

/// Whether `sorted` entries find room among `slots` slots.
fn fits(sorted: &[Entry], slots: usize) -> bool {
    let homes = homes_of(slots);
    let end = sorted.iter().fold(0, |next, e| home(e.tag(), homes).max(next) + 1);
    end <= slots
}

impl Segment {
    /// An empty segment that stands for the whole hash space.
    pub(crate) fn root(stamp: u64) -> Self {
        Segment { known: TAG_BITS as u8, stamp, ..Segment::default() }
    }

    /// An empty segment for a prefix of `depth` bits, with room for so many entries.
    pub(crate) fn roomy(depth: u8, entries: usize, stamp: u64) -> Self {
        let mut segment = Segment { depth, ..Segment::root(stamp) };
        segment.fill(Vec::new(), slots_for(entries));
        segment
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn volatile(&self) -> usize {
        self.volatile as usize
    }

    pub(crate) fn depth(&self) -> u8 {
        self.depth
    }

    /// Bytes of the slots' allocation.
    pub(crate) fn memory(&self) -> usize {
        usable(self.slots.capacity() * SLOT)
    }

    pub(crate) fn slots(&self) -> &[Option<Entry>] {
        &self.slots
    }

    /// The tag that a key of this hash has here.
    #[inline]
    pub(crate) fn tag(&self, hash: u64) -> u32 {
        let tag = (hash << self.depth >> (64 - TAG_BITS)) as u32;
        tag & (TAG_MASK << (TAG_BITS - u32::from(self.known)))
    }

    /// The slot at which a search for `tag` begins.
    #[inline]
    pub(crate) fn home(&self, tag: u32) -> usize {
        home(tag, self.homes)
    }

    /// The slot of a key; `Err` where it would come to stand, or behind the last slot.
    #[inline]
    pub(crate) fn find(&self, tag: u32, key: &[u8]) -> Result<usize, usize> {
        let home = self.home(tag);
        let slots = self.slots.get(home..).unwrap_or_default();
        for (i, slot) in slots.iter().enumerate() {
            let Some(entry) = slot else { return Err(home + i) };
            let other = entry.tag();
            if other == tag {
                if entry.key() == key {
                    return Ok(home + i);
                }
            } else if other > tag {
                return Err(home + i);
            }
        }
        Err(self.slots.len())
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&Entry> {
        self.slots.get(slot)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Entry> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Lets `edit` change the entry of a slot, all but its key and hash.
    pub(crate) fn change<R>(&mut self, slot: usize, edit: impl FnOnce(&mut Entry) -> R) -> R {
        let entry = self.slots[slot].as_mut().expect("a slot that was found holds an entry");
        let tag = entry.tag();
        let before = entry.expires();
        let result = edit(entry);
        entry.set_tag(tag);
        let after = entry.expires();
        self.volatile = self.volatile - u32::from(before) + u32::from(after);
        result
    }

    /// Adds an entry whose key is not here; its tag is set. Gives the bytes by which the slots have
    /// grown.
    pub(crate) fn insert(&mut self, mut entry: Entry) -> usize {
        self.volatile += u32::from(entry.expires());
        let room = self.slots.capacity();
        let mut least = 0;
        if (self.len() + 1) * 8 > self.slots.len() * 7 {
            least = slots_for(self.len() + 1);
        }
        loop {
            if least > self.slots.len() {
                self.resize(least);
            }
            match self.place(entry) {
                Ok(()) => break,
                Err(back) => entry = back,
            }
            least = usable(self.slots.len() * SLOT + 1) / SLOT;
        }
        self.len += 1;
        match self.slots.capacity() == room {
            true => 0,
            false => self.memory() - usable(room * SLOT),
        }
    }

    /// Adds an entry where [`Segment::find`] has not found it, if nothing else has to move for it
    /// than what stands between that slot and the next empty one; gives it back otherwise.
    #[inline]
    pub(crate) fn insert_at(&mut self, slot: usize, entry: Entry) -> Result<(), Entry> {
        if (self.len() + 1) * 8 > self.slots.len() * 7 {
            return Err(entry);
        }
        let volatile = u32::from(entry.expires());
        self.push_in(slot, entry)?;
        self.volatile += volatile;
        self.len += 1;
        Ok(())
    }

    /// Puts an entry at its place; gives it back when there is no empty slot behind that.
    fn place(&mut self, entry: Entry) -> Result<(), Entry> {
        let tag = entry.tag();
        let home = self.home(tag);
        let after = |slot: &Option<Entry>| slot.as_ref().is_none_or(|e| e.tag() > tag);
        match self.slots[home..].iter().position(after) {
            Some(at) => self.push_in(home + at, entry),
            None => Err(entry),
        }
    }

    /// Moves what stands from `slot` to the next empty one a slot further.
    #[inline]
    fn push_in(&mut self, slot: usize, entry: Entry) -> Result<(), Entry> {
        let rest = &mut self.slots[slot..];
        let Some(run) = rest.iter().position(Option::is_none) else { return Err(entry) };
        rest[..=run].rotate_right(1);
        rest[0] = Some(entry);
        Ok(())
    }

    /// Takes the entry of a slot out and closes the gap.
    pub(crate) fn remove(&mut self, slot: usize) -> Entry {
        let entry = self.slots[slot].take().expect("a slot that was found holds an entry");
        let homes = self.homes;
        let mut end = slot + 1;
        while let Some(Some(next)) = self.slots.get(end) {
            if home(next.tag(), homes) == end {
                break;
            }
            end += 1;
        }
        self.slots[slot..end].rotate_left(1);
        self.len -= 1;
        self.volatile -= u32::from(entry.expires());
        if self.slots.len() > 64 && self.len() * 4 < self.slots.len() {
            self.resize(slots_for(self.len() * 3 / 2));
        }
        entry
    }

    /// Frees the slots of an empty segment.
    pub(crate) fn release(&mut self) {
        debug_assert!(self.len == 0);
        self.slots = Vec::new();
        self.homes = 0;
    }

    /// Frees up to `budget` entries, the last first, without keeping order; returns how many and
    /// the bytes they counted for. For segments that are on their way out.
    pub(crate) fn free(&mut self, budget: usize) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        while count < budget
            && let Some(slot) = self.slots.pop()
        {
            if let Some(entry) = slot {
                bytes += entry.memory();
                count += 1;
                self.len -= 1;
                self.volatile -= u32::from(entry.expires());
            }
        }
        (count, bytes)
    }

    fn resize(&mut self, slots: usize) {
        let mut entries = Vec::with_capacity(self.len());
        entries.extend(std::mem::take(&mut self.slots).into_iter().flatten());
        self.fill(entries, slots);
    }

    /// Spreads `sorted` over at least `slots` slots.
    fn fill(&mut self, sorted: Vec<Entry>, mut slots: usize) {
        while !fits(&sorted, slots) {
            slots = usable(slots * SLOT + 1) / SLOT;
        }
        self.homes = homes_of(slots);
        let mut spread = Vec::with_capacity(slots);
        memory::reach(spread.as_ptr());
        for entry in sorted {
            let home = home(entry.tag(), self.homes);
            while spread.len() < home {
                spread.push(None);
            }
            spread.push(Some(entry));
        }
        spread.resize_with(slots, || None);
        self.slots = spread;
    }

    /// Cuts the segment in two by the next bit of the hash: what has it 0 stays, what has it 1 is
    /// returned. Both inherit stamp and epoch. `hash` is asked only when known bits run out.
    pub(crate) fn split(&mut self, hash: impl Fn(&[u8]) -> u64) -> Segment {
        assert!(self.depth < DEPTH_MAX, "a segment of the longest prefix does not split");
        let mut low = Vec::with_capacity(self.len());
        low.extend(std::mem::take(&mut self.slots).into_iter().flatten());
        let middle = low.partition_point(|e| e.tag() >> (TAG_BITS - 1) == 0);
        let mut high = low.split_off(middle);
        self.depth += 1;
        if u32::from(self.known) > GROUP_BITS {
            self.known -= 1;
            for entry in low.iter_mut().chain(&mut high) {
                entry.set_tag((entry.tag() << 1) & TAG_MASK);
            }
        } else {
            self.known = TAG_BITS as u8;
            low.iter().chain(&high).for_each(Entry::prefetch);
            for half in [&mut low, &mut high] {
                for entry in half.iter_mut() {
                    let tag = self.tag(hash(entry.key()));
                    entry.set_tag(tag);
                }
                // Nearly sorted: only entries of equal old tags can be out of order.
                half.sort_by_key(Entry::tag);
            }
        }
        let mut sibling = Segment {
            depth: self.depth,
            known: self.known,
            stamp: self.stamp,
            epoch: self.epoch,
            ..Segment::default()
        };
        self.refill(low);
        sibling.refill(high);
        sibling
    }

    fn refill(&mut self, sorted: Vec<Entry>) {
        self.len = sorted.len() as u32;
        self.volatile = sorted.iter().filter(|e| e.expires()).count() as u32;
        let slots = slots_for(sorted.len());
        self.fill(sorted, slots);
    }

    /// Panics unless the invariants hold.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let taken = self.slots.iter().flatten().count();
        assert_eq!(taken, self.len());
        assert_eq!(self.slots.iter().flatten().filter(|e| e.expires()).count(), self.volatile());
        assert!(self.len() * 8 <= self.slots.len() * 7);
        let mut last = 0;
        let mut run = 0;
        for (i, slot) in self.slots.iter().enumerate() {
            let Some(entry) = slot else {
                run = i + 1;
                continue;
            };
            let home = self.home(entry.tag());
            assert!(home <= i && home >= run && entry.tag() >= last, "slot {i}");
            last = entry.tag();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::value::entry::NewValue;

    fn entry(tag: u32) -> Entry {
        let mut entry =
            Entry::new(&tag.to_le_bytes(), NewValue::Int(0), tag.is_multiple_of(3).then_some(1));
        entry.set_tag(tag);
        entry
    }

    #[test]
    fn sizes_fill_their_allocation() {
        assert_eq!(slots_for(0), 8);
        assert_eq!(slots_for(ENTRIES_MAX), 1024);
        for len in 0..2000 {
            let slots = slots_for(len);
            assert!(len * 8 <= slots * 7 && usable(slots * SLOT) == slots * SLOT);
        }
    }

    #[test]
    fn random_inserts_and_removes_keep_the_order() {
        let mut random = Random::new(7);
        let mut segment = Segment::root(0);
        let mut there: Vec<u32> = Vec::new();
        for round in 0..20_000 {
            // Crowded at both ends, so that runs and the end of the array are met often.
            let tag = match random.below(4) {
                0 => TAG_MASK - random.below(40) as u32,
                1 => random.below(40) as u32,
                _ => random.below(1 << TAG_BITS) as u32,
            };
            let at = there.iter().position(|&t| t == tag);
            match (segment.find(tag, &tag.to_le_bytes()), at) {
                (Ok(slot), Some(at)) => {
                    there.swap_remove(at);
                    assert_eq!(segment.remove(slot).tag(), tag);
                }
                (Err(slot), None) => {
                    there.push(tag);
                    let looked_up = round % 2 == 0;
                    if !looked_up || segment.insert_at(slot, entry(tag)).is_err() {
                        segment.insert(entry(tag));
                    }
                }
                other => panic!("{other:?}"),
            }
            if round % 64 == 0 {
                segment.check();
            }
        }
        for tag in there {
            let slot = segment.find(tag, &tag.to_le_bytes()).expect("inserted");
            segment.remove(slot);
            segment.check();
        }
        assert_eq!((segment.len(), segment.volatile()), (0, 0));
    }

    #[test]
    fn equal_tags_live_side_by_side() {
        let mut segment = Segment::root(0);
        for i in 0..300_u32 {
            let mut entry = Entry::new(&i.to_le_bytes(), NewValue::Int(0), None);
            entry.set_tag(TAG_MASK);
            let place = segment.find(TAG_MASK, &i.to_le_bytes()).expect_err("new");
            if let Err(entry) = segment.insert_at(place, entry) {
                segment.insert(entry);
            }
        }
        segment.check();
        for i in 0..300_u32 {
            let slot = segment.find(TAG_MASK, &i.to_le_bytes()).expect("inserted");
            segment.remove(slot);
        }
        segment.check();
    }

    #[test]
    fn children_inherit_and_know_their_keys() {
        let hash = |key: &[u8]| u64::from_le_bytes(key.try_into().expect("8 bytes"));
        let mut random = Random::new(11);
        let mut segments = vec![(0_u64, Segment::root(41))];
        segments[0].1.epoch = 3;
        for _ in 0..5000 {
            let h = random.next_u64();
            let mut entry = Entry::new(&h.to_le_bytes(), NewValue::Int(0), None);
            entry.set_tag(segments[0].1.tag(h));
            segments[0].1.insert(entry);
        }
        for depth in 1..=7_u32 {
            for i in 0..segments.len() {
                let sibling = segments[i].1.split(hash);
                let prefix = segments[i].0;
                segments.push((prefix | 1 << (64 - depth), sibling));
            }
        }
        let mut seen = 0;
        for (prefix, segment) in &segments {
            segment.check();
            assert_eq!((segment.stamp, segment.epoch, segment.depth()), (41, 3, 7));
            for entry in segment.slots().iter().flatten() {
                let h = hash(entry.key());
                assert_eq!(h >> 57 << 57, *prefix);
                assert_eq!(
                    segment
                        .get(segment.find(segment.tag(h), entry.key()).expect("found"))
                        .map(Entry::key),
                    Some(entry.key())
                );
                seen += 1;
            }
        }
        assert_eq!(seen, 5000);
    }
}
