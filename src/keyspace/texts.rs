//! Long strings of a snapshot's cut, which commands go on editing in place.
//!
//! A collection knows by itself what of it has changed since a cut; a string is bytes. So whoever
//! is about to change some of them says which, and what stood there is kept in blocks
//! (`TextCut::before_change`). Who reads the string as it was gets those blocks put back for as
//! long as the look takes ([`Text::look`]).
//!
//! Invariants of a string under a cut that stands in its database:
//! 1. It is never shorter than it was.
//! 2. Wherever it differs from what it was, below that length and not yet released, the block that
//!    was there is in `undo`.
//!
//! Any other change takes the string out of the database's hands first: its bytes are shared then,
//! so that whoever edits them copies them.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::value::entry::Long;

/// Bytes that are kept together.
const BLOCK: usize = 4096;

/// What has to be known of a string to read it as it was.
#[derive(Debug)]
pub(super) struct TextCut {
    /// Names the cut.
    pub(super) id: u64,
    /// Its length then, in bytes.
    len: usize,
    /// Nobody reads anything below that any more.
    released: usize,
    undo: BTreeMap<usize, Box<[u8]>>,
}

impl TextCut {
    pub(super) fn new(id: u64, len: usize) -> TextCut {
        TextCut { id, len, released: 0, undo: BTreeMap::new() }
    }

    /// To be called before any bytes of `range` change.
    pub(super) fn before_change(&mut self, text: &[u8], range: Range<usize>) {
        assert!(text.len() >= self.len, "a string under a cut does not shrink");
        let end = range.end.min(self.len);
        for block in range.start.max(self.released) / BLOCK..end.div_ceil(BLOCK) {
            let at = block * BLOCK;
            let to = (at + BLOCK).min(self.len);
            self.undo.entry(block).or_insert_with(|| text[at..to].into());
        }
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.undo.len() * BLOCK
    }

    /// Exchanges what was and what is, as far as `window` goes.
    fn exchange(&mut self, text: &mut [u8], window: &Range<usize>) {
        let blocks = window.start / BLOCK..window.end.div_ceil(BLOCK);
        if blocks.is_empty() {
            return;
        }
        for (block, kept) in self.undo.range_mut(blocks) {
            let at = block * BLOCK;
            text[at..at + kept.len()].swap_with_slice(kept);
        }
    }

    /// Lets `visit` look at the string. When somebody else holds its bytes, too, and they are not
    /// what they were: a copy of what they were.
    pub(super) fn visit(
        &mut self,
        long: &mut Long,
        visit: &mut dyn FnMut(Text<'_>) -> bool,
    ) -> Result<bool, Bytes> {
        match std::mem::take(&mut long.bytes).try_into_mut() {
            Ok(mut own) => {
                let done = visit(Text { cut: self, live: Live::Own(&mut own) });
                long.bytes = own.freeze();
                Ok(done)
            }
            Err(shared) => {
                long.bytes = shared;
                if self.undo.is_empty() {
                    return Ok(visit(Text { cut: self, live: Live::Shared(&long.bytes) }));
                }
                let mut copy = BytesMut::from(&long.bytes[..self.len]);
                self.exchange(&mut copy, &(0..self.len));
                self.undo.clear();
                Err(copy.freeze())
            }
        }
    }
}

#[derive(Debug)]
enum Live<'a> {
    Own(&'a mut [u8]),
    /// Nothing of it has changed.
    Shared(&'a [u8]),
}

/// A long string as it was.
#[derive(Debug)]
pub struct Text<'a> {
    cut: &'a mut TextCut,
    live: Live<'a>,
}

impl Text<'_> {
    /// Its length, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "it is long")]
    pub fn len(&self) -> usize {
        self.cut.len
    }

    /// Lets `look` see the string; it is right within `window`, and anything elsewhere.
    pub fn look<R>(&mut self, window: Range<usize>, look: impl FnOnce(&[u8]) -> R) -> R {
        let len = self.cut.len;
        let window = window.start..window.end.min(len);
        match &mut self.live {
            Live::Shared(bytes) => look(&bytes[..len]),
            Live::Own(bytes) => {
                self.cut.exchange(bytes, &window);
                let result = look(&bytes[..len]);
                self.cut.exchange(bytes, &window);
                result
            }
        }
    }

    /// Nothing below `upto` will be looked at any more.
    pub fn release(&mut self, upto: usize) {
        let cut = &mut *self.cut;
        cut.released = cut.released.max(upto);
        // A block that is still read in part stays whole.
        if cut.undo.first_key_value().is_some_and(|(block, _)| (block + 1) * BLOCK <= upto) {
            cut.undo = cut.undo.split_off(&(upto / BLOCK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(bytes: &[u8]) -> Long {
        Long { bytes: Bytes::copy_from_slice(bytes), charge: bytes.len() }
    }

    fn edit(long: &mut Long, cut: &mut TextCut, range: Range<usize>, with: u8) {
        cut.before_change(&long.bytes, range.clone());
        let mut own = std::mem::take(&mut long.bytes).try_into_mut().expect("nobody else has it");
        let len = own.len().max(range.end);
        own.resize(len, with);
        own[range].fill(with);
        long.bytes = own.freeze();
    }

    fn read(long: &mut Long, cut: &mut TextCut, window: Range<usize>) -> Vec<u8> {
        let mut read = Vec::new();
        let done = cut.visit(long, &mut |mut text| {
            read = text.look(window.clone(), |bytes| bytes[window.clone()].to_vec());
            true
        });
        assert_eq!(done, Ok(true));
        read
    }

    #[test]
    fn what_was_is_read_and_what_is_stays() {
        let was: Vec<u8> = (0..3 * BLOCK + 500).map(|n| (n % 251) as u8).collect();
        let (mut long, mut cut) = (long(&was), TextCut::new(1, was.len()));
        let edits = [(5..9, 1), (BLOCK - 1..2 * BLOCK + 1, 2), (was.len() - 3..was.len() + 90, 3)];
        let mut is = was.clone();
        for (range, with) in edits {
            is.resize(is.len().max(range.end), with);
            is[range.clone()].fill(with);
            edit(&mut long, &mut cut, range, with);
        }
        for window in
            [0..was.len(), 7..8, BLOCK..BLOCK, BLOCK + 1..3 * BLOCK, was.len() - 1..was.len()]
        {
            assert_eq!(read(&mut long, &mut cut, window.clone()), was[window]);
            assert_eq!(long.bytes, is);
        }
        assert_eq!(cut.memory(), 4 * BLOCK);
    }

    #[test]
    fn what_was_read_is_not_kept() {
        let was = vec![7; 4 * BLOCK];
        let (mut long, mut cut) = (long(&was), TextCut::new(1, was.len()));
        edit(&mut long, &mut cut, 0..4 * BLOCK, 1);
        let released = cut.visit(&mut long, &mut |mut text| {
            text.release(2 * BLOCK + 5);
            false
        });
        assert_eq!((released, cut.memory()), (Ok(false), 2 * BLOCK));
        edit(&mut long, &mut cut, 0..4 * BLOCK, 2);
        assert_eq!(cut.memory(), 2 * BLOCK);
        assert_eq!(read(&mut long, &mut cut, 2 * BLOCK + 5..4 * BLOCK), was[2 * BLOCK + 5..]);
    }

    #[test]
    fn of_bytes_that_others_hold_there_is_a_copy() {
        let was = vec![7; 2 * BLOCK];
        let (mut long, mut cut) = (long(&was), TextCut::new(1, was.len()));
        let held = long.bytes.clone();
        // As long as nothing has changed there is no need.
        assert_eq!(read(&mut long, &mut cut, 0..10), [7; 10]);
        drop(held);
        edit(&mut long, &mut cut, 3..4, 1);
        let held = long.bytes.clone();
        let copy = cut.visit(&mut long, &mut |_| panic!("not of these bytes"));
        assert_eq!(copy, Err(Bytes::from(was)));
        assert_eq!((held[3], &held), (1, &long.bytes));
    }
}
