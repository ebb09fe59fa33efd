//! A snapshot's cut through one table: what stood in it at one moment, visited in slices while it
//! goes on changing.
//!
//! The table is walked in hash order, a segment at a time. A segment that changes before the walk
//! has come to it is copied first, once, and the copy is visited in its place; its epoch says that
//! this was done, and the halves of a split inherit it. So what is kept is bounded by what changes.
//!
//! Invariants: a segment's epoch is that of the cut once its content of then has been visited or
//! kept; `position` is where a segment begins, whatever splits; `bytes` counts for `kept`.

use crate::value::account::usable;
use crate::value::entry::Entry;
use crate::value::table::Table;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Cut {
    epoch: u64,
    /// Where in the hash space the walk goes on; `None` at the end.
    position: Option<u64>,
    kept: Kept,
}

/// What a cut has kept aside.
#[derive(Debug, Default)]
pub struct Kept {
    segments: Vec<Vec<Entry>>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, entries: Vec<Entry>) {
        self.bytes += usable(entries.capacity() * size_of::<Entry>());
        self.bytes += entries.iter().map(Entry::memory).sum::<usize>();
        self.segments.push(entries);
    }

    /// Takes one segment's entries out.
    fn pop(&mut self) -> Option<Vec<Entry>> {
        let entries = self.segments.pop()?;
        self.bytes -= usable(entries.capacity() * size_of::<Entry>());
        self.bytes -= entries.iter().map(Entry::memory).sum::<usize>();
        Some(entries)
    }

    /// Bytes of heap memory held.
    pub fn memory(&self) -> usize {
        self.bytes + usable(self.segments.capacity() * size_of::<Vec<Entry>>())
    }

    /// Bytes that what is kept counts for.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frees at least `budget` elements, and those of the last one's segment; true when none is
    /// left.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        let mut freed = 0;
        while freed < budget.max(1)
            && let Some(entries) = self.pop()
        {
            freed += entries.len();
        }
        self.segments.is_empty()
    }
}

impl Cut {
    /// A cut through what is there now. Epochs rise from cut to cut, and the first is above 0.
    pub(crate) fn new(epoch: u64) -> Self {
        Cut { epoch, position: Some(0), kept: Kept::default() }
    }

    /// Its epoch.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// To be called before anything in the segment of `hash` changes.
    #[inline]
    pub(crate) fn before_change(&mut self, table: &mut Table, hash: u64) {
        if let Some(entries) = table.keep(hash, self.epoch)
            && !entries.is_empty()
        {
            self.kept.push(entries);
        }
    }

    /// Visits at least `budget` of the entries, and the rest of the last one's segment; true when
    /// all have been visited.
    pub(crate) fn slice(
        &mut self,
        table: &mut Table,
        budget: usize,
        visit: &mut dyn FnMut(&Entry),
    ) -> bool {
        let mut done = 0;
        while done < budget.max(1) {
            if let Some(entries) = self.kept.pop() {
                entries.iter().for_each(&mut *visit);
                done += entries.len();
                continue;
            }
            let Some(position) = self.position else { return true };
            let (seen, next) = table.visit_once(position, self.epoch, visit);
            self.position = next;
            done += seen + 1; // Empty segments are work as well.
        }
        self.position.is_none() && self.kept.segments.is_empty()
    }

    /// Bytes of heap memory held.
    pub(crate) fn memory(&self) -> usize {
        usable(size_of::<Cut>()) + self.kept.memory()
    }

    /// [`Kept::free_slice`] of what is kept, when nobody will ask for it.
    pub(crate) fn free_slice(&mut self, budget: usize) -> bool {
        self.kept.free_slice(budget)
    }

    /// What was kept and has not been visited.
    pub(crate) fn into_kept(self) -> Kept {
        self.kept
    }
}
