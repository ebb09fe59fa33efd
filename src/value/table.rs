//! The table of one database: extendible hashing, a directory of bounded segments.
//!
//! Knows entries and their keys; what a value or an expiry means is decided above. The hash is
//! SipHash-1-3 under the database's own 128-bit key, because SCAN's cursors show hash bits to
//! clients.
//!
//! ```text
//! hash   |<- bits: directory index ->|
//!        |<- depth: prefix ->|<- tag: 19 bits ->|            (depth <= bits <= 30)
//! cursor |<---------- 46 bits ------------->|
//! ```
//! Entries are in hash order: the directory orders segments by prefix, a segment orders its
//! entries by the bits that follow. So a *position* in the hash space, 64 bits of which the last
//! 18 are 0, says how far a walk has come, and stays true whatever splits, grows or shrinks in
//! between: cursors of SCAN, of active expiry and of snapshots are such positions.
//!
//! Invariants:
//! 1. A segment of depth d stands in 2^(bits - d) neighbouring directory slots, all those that
//!    begin with its prefix; segments do not merge.
//! 2. The largest unit of work of an insert is one split of 896 entries, and a directory doubling,
//!    which copies 4 bytes per directory slot (256 KiB at 20 million keys).
//! 3. A segment's stamp never falls; children inherit it.

use siphasher::sip::SipHasher13;

use crate::base::random::Random;
use crate::value::account::usable;
use crate::value::entry::{Entry, TAG_BITS, prefetch_slot};
use crate::value::segment::{DEPTH_MAX, ENTRIES_MAX, GROUP_BITS, Segment};

/// Segments per block of the slab: blocks after the first are allocated whole and never move.
const BLOCK: usize = 1024;

/// How far a position has to be shifted for two to compare as entries do.
pub(crate) const POSITION_SHIFT: u32 = 64 - CURSOR_BITS;

/// Bits of a SCAN cursor.
pub(crate) const CURSOR_BITS: u32 = DEPTH_MAX as u32 + GROUP_BITS;

#[cfg(test)]
thread_local! {
    /// For simulations, which have little data and want to see it split.
    pub(crate) static SPLIT_AT: std::cell::Cell<usize> =
        const { std::cell::Cell::new(ENTRIES_MAX) };
}

/// Entries of a segment from which on it is split.
#[inline]
fn entries_max() -> usize {
    #[cfg(test)]
    return SPLIT_AT.get();
    #[cfg(not(test))]
    ENTRIES_MAX
}

/// Where an entry is; good until the next insert, remove or clear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    segment: u32,
    slot: u32,
}

/// Where an entry would be that is not there; good as long as a [`Spot`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vacancy {
    hash: u64,
    spot: Spot,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Table {
    hasher: SipHasher13,
    directory: Vec<u32>,
    /// The directory has 2^bits slots.
    bits: u32,
    blocks: Vec<Vec<Segment>>,
    segments: usize,
    /// Bytes of all segments' slots.
    slot_bytes: usize,
}

impl Table {
    pub(crate) fn new(seed: [u64; 2], stamp: u64) -> Self {
        Table::with_hasher(SipHasher13::new_with_keys(seed[0], seed[1]), stamp)
    }

    fn with_hasher(hasher: SipHasher13, stamp: u64) -> Self {
        Table {
            hasher,
            directory: vec![0],
            bits: 0,
            blocks: vec![vec![Segment::root(stamp)]],
            segments: 1,
            slot_bytes: 0,
        }
    }

    /// An empty table with the same hash key.
    pub(crate) fn fresh(&self, stamp: u64) -> Self {
        Table::with_hasher(self.hasher, stamp)
    }

    /// An empty table with the same hash key and room for about so many entries, so that little
    /// has to be split or moved until they are there.
    pub(crate) fn roomy(&self, entries: usize, stamp: u64) -> Self {
        let mut table = self.fresh(stamp);
        // Segments are nowhere near full then, whatever the hashes.
        let segments = entries.div_ceil(ENTRIES_MAX * 3 / 4).next_power_of_two();
        let depth = segments.ilog2().min(u32::from(DEPTH_MAX));
        let each = entries >> depth;
        // Two standard deviations above the mean.
        let room = each + 2 * each.isqrt();
        (table.bits, table.segments) = (depth, 0);
        table.blocks.clear();
        table.directory = (0..1 << depth).collect();
        for _ in 0..1 << depth {
            let segment = Segment::roomy(depth as u8, room, stamp);
            table.slot_bytes += segment.memory();
            table.push(segment);
        }
        table
    }

    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    /// The number of the segment that `position` of the hash space belongs to.
    #[inline]
    fn index_of(&self, position: u64) -> u32 {
        // Two shifts: one by 64 bits, for a directory of one slot, would be undefined.
        self.directory[(position >> 1 >> (63 - self.bits)) as usize]
    }

    #[inline]
    fn segment(&self, index: u32) -> &Segment {
        &self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }

    #[inline]
    fn segment_mut(&mut self, index: u32) -> &mut Segment {
        &mut self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }

    /// Number of segments.
    pub(crate) fn segments(&self) -> usize {
        self.segments
    }

    /// Bytes of memory of directory, segments and their slots; the entries' own not included.
    pub(crate) fn memory(&self) -> usize {
        let blocks = self.blocks.len().saturating_sub(1) * usable(BLOCK * size_of::<Segment>())
            + self.blocks.first().map_or(0, |b| usable(b.capacity() * size_of::<Segment>()));
        self.slot_bytes
            + blocks
            + usable(self.blocks.capacity() * size_of::<Vec<Segment>>())
            + usable(self.directory.capacity() * size_of::<u32>())
    }

    /// Looks a key up; `Err` names the segment that would hold it.
    #[inline]
    pub(crate) fn locate(&self, hash: u64, key: &[u8]) -> Result<Spot, u32> {
        let index = self.index_of(hash);
        let segment = self.segment(index);
        match segment.find(segment.tag(hash), key) {
            Ok(slot) => Ok(Spot { segment: index, slot: slot as u32 }),
            Err(_) => Err(index),
        }
    }

    /// Where a key would be that is not here; `None` when it is.
    #[inline]
    pub(crate) fn vacancy(&self, hash: u64, key: &[u8]) -> Option<Vacancy> {
        let index = self.index_of(hash);
        let segment = self.segment(index);
        let slot = segment.find(segment.tag(hash), key).err()?;
        Some(Vacancy { hash, spot: Spot { segment: index, slot: slot as u32 } })
    }

    /// The entry at a spot.
    #[inline]
    pub(crate) fn at(&self, spot: Spot) -> Option<&Entry> {
        self.segment(spot.segment).get(spot.slot as usize)
    }

    /// [`Table::at`], to be changed otherwise than in its key and expiry.
    #[inline]
    pub(crate) fn at_mut(&mut self, spot: Spot) -> Option<&mut Entry> {
        self.segment_mut(spot.segment).get_mut(spot.slot as usize)
    }

    /// Stamp of a spot's segment.
    pub(crate) fn stamp_at(&self, spot: Spot) -> u64 {
        self.segment(spot.segment).stamp
    }

    /// Stamp of a segment.
    pub(crate) fn stamp_of(&self, segment: u32) -> u64 {
        self.segment(segment).stamp
    }

    /// Lets `edit` change an entry, all but its key, and stamps its segment.
    pub(crate) fn change<R>(
        &mut self,
        spot: Spot,
        stamp: u64,
        edit: impl FnOnce(&mut Entry) -> R,
    ) -> R {
        let segment = self.segment_mut(spot.segment);
        segment.stamp = segment.stamp.max(stamp);
        segment.change(spot.slot as usize, edit)
    }

    /// Stamps the segment of an entry that has been changed.
    pub(crate) fn stamp(&mut self, spot: Spot, stamp: u64) {
        let segment = self.segment_mut(spot.segment);
        segment.stamp = segment.stamp.max(stamp);
    }

    /// Adds an entry whose key is not in the table, and stamps its segment.
    pub(crate) fn insert(&mut self, hash: u64, mut entry: Entry, stamp: u64) {
        let mut index = self.index_of(hash);
        loop {
            let segment = self.segment(index);
            if segment.len() < entries_max() || segment.depth() == DEPTH_MAX {
                break;
            }
            self.split(index, hash);
            index = self.index_of(hash);
        }
        let segment = self.segment_mut(index);
        segment.stamp = segment.stamp.max(stamp);
        entry.set_tag(segment.tag(hash));
        let grown = segment.insert(entry);
        self.slot_bytes += grown;
    }

    /// [`Table::insert`] where a look-up has found its place.
    #[inline]
    pub(crate) fn insert_at(&mut self, vacancy: Vacancy, mut entry: Entry, stamp: u64) {
        let Vacancy { hash, spot } = vacancy;
        let segment = self.segment_mut(spot.segment);
        let splits = segment.len() >= entries_max() && segment.depth() < DEPTH_MAX;
        entry.set_tag(segment.tag(hash));
        if splits {
            return self.insert(hash, entry, stamp);
        }
        match segment.insert_at(spot.slot as usize, entry) {
            Ok(()) => segment.stamp = segment.stamp.max(stamp),
            Err(entry) => self.insert(hash, entry, stamp),
        }
    }

    /// Takes an entry out, and stamps its segment.
    pub(crate) fn remove(&mut self, spot: Spot, stamp: u64) -> Entry {
        let many = self.segments > 1;
        let segment = self.segment_mut(spot.segment);
        segment.stamp = segment.stamp.max(stamp);
        let before = segment.memory();
        let entry = segment.remove(spot.slot as usize);
        if segment.len() == 0 && many {
            segment.release();
        }
        let after = segment.memory();
        self.slot_bytes = self.slot_bytes - before + after;
        entry
    }

    /// Splits a full segment; `hash` is that of any key of its.
    fn split(&mut self, index: u32, hash: u64) {
        let depth = u32::from(self.segment(index).depth());
        if depth == self.bits {
            let mut doubled = Vec::with_capacity(self.directory.len() * 2);
            self.directory.iter().for_each(|&i| doubled.extend([i, i]));
            self.directory = doubled;
            self.bits += 1;
        }
        let hasher = self.hasher;
        let segment = self.segment_mut(index);
        let before = segment.memory();
        let sibling = segment.split(|key| hasher.hash(key));
        let after = segment.memory() + sibling.memory();
        self.slot_bytes = self.slot_bytes - before + after;
        let new = self.push(sibling);
        let width = 1_usize << (self.bits - depth);
        let first = (hash >> 1 >> (63 - self.bits)) as usize & !(width - 1);
        self.directory[first + width / 2..first + width].fill(new);
    }

    fn push(&mut self, segment: Segment) -> u32 {
        if self.segments.is_multiple_of(BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let new = self.segments as u32;
        self.blocks.last_mut().expect("a table has a block").push(segment);
        self.segments += 1;
        new
    }

    /// What the segment of `hash` holds, copied, if its epoch is below `epoch`; that is its epoch
    /// from then on.
    pub(crate) fn keep(&mut self, hash: u64, epoch: u64) -> Option<Vec<Entry>> {
        let segment = self.segment_mut(self.index_of(hash));
        if segment.epoch >= epoch {
            return None;
        }
        segment.epoch = epoch;
        let mut kept = Vec::with_capacity(segment.len());
        kept.extend(segment.slots().iter().flatten().cloned());
        Some(kept)
    }

    /// Visits what the segment at `position` holds if its epoch is below `epoch`, which is its
    /// epoch from then on. Returns how many entries those were, and where the next segment begins.
    pub(crate) fn visit_once(
        &mut self,
        position: u64,
        epoch: u64,
        visit: &mut dyn FnMut(&Entry),
    ) -> (usize, Option<u64>) {
        let segment = self.segment_mut(self.index_of(position));
        let next = (position | (u64::MAX >> segment.depth())).checked_add(1);
        if segment.epoch >= epoch {
            return (0, next);
        }
        segment.epoch = epoch;
        segment.slots().iter().flatten().for_each(visit);
        (segment.len(), next)
    }

    /// Walks entries in hash order from `position` on, in segments that are `wanted`. Stops once
    /// `visit` has said false or `work_max` slots and segments have been passed, then goes on to
    /// where the next position begins (entries that a position cannot tell apart are visited
    /// together) and returns that; `None` at the end of the table.
    pub(crate) fn walk<'a>(
        &'a self,
        mut position: u64,
        work_max: usize,
        wanted: impl Fn(&Segment) -> bool,
        mut visit: impl FnMut(&'a Entry) -> bool,
    ) -> Option<u64> {
        let mut work = 0;
        let mut enough = false;
        loop {
            let segment = self.segment(self.index_of(position));
            let depth = segment.depth();
            if wanted(segment) {
                let first = (position << depth >> (64 - GROUP_BITS)) as u32;
                let home = segment.home(first << (TAG_BITS - GROUP_BITS));
                let mut last = first;
                for slot in segment.slots().get(home..).unwrap_or_default() {
                    work += 1;
                    let Some(entry) = slot else { continue };
                    let group = entry.tag() >> (TAG_BITS - GROUP_BITS);
                    if group < first {
                        continue;
                    }
                    if enough && group != last {
                        let base = position & !(u64::MAX >> depth);
                        return Some(base | u64::from(group) << (64 - GROUP_BITS) >> depth);
                    }
                    last = group;
                    enough |= !visit(entry) || work >= work_max;
                }
            }
            work += 1;
            position = (position | (u64::MAX >> depth)).checked_add(1)?;
            if enough || work >= work_max {
                return Some(position);
            }
        }
    }

    /// Where the entries from `position` on are: those of up to `most` slots, and the rest that a
    /// position cannot tell from the last. Returns the next position; `None` at the end.
    pub(crate) fn spots(&self, position: u64, most: usize, spots: &mut Vec<Spot>) -> Option<u64> {
        let index = self.index_of(position);
        let segment = self.segment(index);
        let depth = segment.depth();
        let first = (position << depth >> (64 - GROUP_BITS)) as u32;
        let home = segment.home(first << (TAG_BITS - GROUP_BITS));
        let mut last = first;
        for (i, slot) in segment.slots().get(home..).unwrap_or_default().iter().enumerate() {
            let Some(entry) = slot else { continue };
            let group = entry.tag() >> (TAG_BITS - GROUP_BITS);
            if group < first {
                continue;
            }
            if i >= most && group != last {
                let base = position & !(u64::MAX >> depth);
                return Some(base | u64::from(group) << (64 - GROUP_BITS) >> depth);
            }
            last = group;
            spots.push(Spot { segment: index, slot: (home + i) as u32 });
        }
        (position | (u64::MAX >> depth)).checked_add(1)
    }

    /// Some entry: a uniform place in the hash space, then a uniform entry of its segment.
    pub(crate) fn random(&self, random: &mut Random) -> Option<&Entry> {
        // Slots are 7/8 to 1/4 full: one try in two to four succeeds unless most keys are gone.
        for _ in 0..64 {
            let slots = self.segment(self.index_of(random.next_u64())).slots();
            if !slots.is_empty()
                && let Some(entry) = &slots[random.below(slots.len() as u64) as usize]
            {
                return Some(entry);
            }
        }
        let mut found = None;
        for position in [random.next_u64(), 0] {
            self.walk(
                position,
                usize::MAX,
                |s| s.len() > 0,
                |entry| {
                    found = found.or(Some(entry));
                    false
                },
            );
        }
        found
    }

    /// Every entry.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.blocks.iter().flatten().flat_map(|s| s.slots().iter().flatten())
    }

    /// Frees up to `budget` entries and segments of a table that will not be used again; returns
    /// how many entries, and the bytes they counted for. [`Table::is_freed`] tells the end.
    pub(crate) fn free(&mut self, budget: usize) -> (usize, usize) {
        self.directory = Vec::new();
        let (mut work, mut count, mut bytes) = (0, 0, 0);
        while work < budget
            && let Some(block) = self.blocks.last_mut()
        {
            work += 1;
            let Some(segment) = block.last_mut() else {
                self.blocks.pop();
                continue;
            };
            let before = segment.memory();
            let freed = segment.free(budget - work);
            (work, count, bytes) = (work + freed.0, count + freed.0, bytes + freed.1);
            if segment.len() == 0 {
                self.slot_bytes -= before;
                self.segments -= 1;
                block.pop();
            }
        }
        (count, bytes)
    }

    /// Whether [`Table::free`] has freed everything.
    pub(crate) fn is_freed(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Asks the processor to fetch what look-ups of `hashes` will read: first the slots of all of
    /// them, then their entries.
    pub(crate) fn prefetch(&self, hashes: &[u64]) {
        let start = |&hash: &u64| {
            let segment = self.segment(self.index_of(hash));
            let tag = segment.tag(hash);
            (tag, segment.slots().get(segment.home(tag)..).unwrap_or_default())
        };
        hashes.iter().map(start).filter_map(|(_, slots)| slots.first()).for_each(prefetch_slot);
        for (tag, slots) in hashes.iter().map(start) {
            for entry in slots.iter().map_while(Option::as_ref).take_while(|e| e.tag() <= tag) {
                if entry.tag() == tag {
                    entry.prefetch();
                }
            }
        }
    }

    /// Panics unless the invariants hold; returns the segments' stamps.
    #[cfg(test)]
    pub(crate) fn check(&self) -> Vec<u64> {
        assert_eq!(self.directory.len(), 1 << self.bits);
        let mut stamps = Vec::new();
        let mut at = 0;
        while at < self.directory.len() {
            let index = self.directory[at];
            let segment = self.segment(index);
            segment.check();
            let width = 1 << (self.bits - u32::from(segment.depth()));
            assert!(at.is_multiple_of(width));
            assert!(self.directory[at..at + width].iter().all(|&i| i == index));
            for entry in segment.slots().iter().flatten() {
                let hash = self.hash(entry.key());
                assert_eq!(self.index_of(hash), index);
                assert_eq!(segment.tag(hash), entry.tag());
            }
            stamps.push(segment.stamp);
            at += width;
        }
        assert_eq!(stamps.len(), self.segments);
        let slots: usize = self.blocks.iter().flatten().map(Segment::memory).sum();
        assert_eq!(slots, self.slot_bytes);
        stamps
    }

    /// The stamp a look-up of `hash` is told.
    #[cfg(test)]
    pub(crate) fn stamp_for(&self, hash: u64) -> u64 {
        self.segment(self.index_of(hash)).stamp
    }
}
