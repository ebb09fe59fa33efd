//! Decompression piece by piece.

use crate::base::lzf::{LITERALS_MAX, LzfError, RATIO_MAX};

/// Farthest back reference, in bytes.
const DISTANCE_MAX: usize = 1 << 13;
/// Bytes that [`Unpacker`] hands out at once, about.
const HAND_OUT: usize = 1 << 16;

/// Decompresses piece by piece, in the memory of a few pieces.
#[derive(Debug)]
pub struct Unpacker {
    /// What it is to become, in bytes.
    len: u64,
    /// What it has become.
    made: u64,
    /// The last bytes made; those from `fresh` on were not handed out yet.
    window: Vec<u8>,
    fresh: usize,
    /// The beginning of an instruction whose end has not come yet.
    cut: Vec<u8>,
}

impl Unpacker {
    /// Whether so many compressed bytes can become so many. (The crate keeps offsets in 32 bits.)
    pub fn can_become(packed: u64, len: u64) -> bool {
        len != 0 && len <= RATIO_MAX.saturating_mul(packed) && len <= i32::MAX as u64
    }

    /// For data that must become `len` bytes.
    pub fn new(len: u64) -> Unpacker {
        Unpacker { len, made: 0, window: Vec::new(), fresh: 0, cut: Vec::new() }
    }

    /// Takes the next compressed bytes; what they become goes to `out`.
    pub fn feed(&mut self, data: &[u8], out: &mut dyn FnMut(&[u8])) -> Result<(), LzfError> {
        let mut all = std::mem::take(&mut self.cut);
        all.extend_from_slice(data);
        let mut at = 0;
        while let Some(used) = self.step(&all[at..])? {
            at += used;
            if self.window.len() - self.fresh >= HAND_OUT {
                out(&self.window[self.fresh..]);
                self.window.drain(..self.window.len() - DISTANCE_MAX);
                self.fresh = DISTANCE_MAX;
            }
        }
        all.drain(..at);
        self.cut = all;
        Ok(())
    }

    /// Carries out one instruction and gives its length; `None` when it is not complete.
    fn step(&mut self, data: &[u8]) -> Result<Option<usize>, LzfError> {
        let Some(&first) = data.first() else { return Ok(None) };
        if usize::from(first) < LITERALS_MAX {
            let Some(literals) = data.get(1..usize::from(first) + 2) else { return Ok(None) };
            self.window.extend_from_slice(literals);
            self.grown(literals.len())?;
            return Ok(Some(literals.len() + 1));
        }
        let head = if first >> 5 == 7 { 3 } else { 2 };
        let Some(reference) = data.get(..head) else { return Ok(None) };
        let more = if head == 3 { usize::from(reference[1]) } else { 0 };
        let length = usize::from(first >> 5) + 2 + more;
        let distance = (usize::from(first & 31) << 8 | usize::from(reference[head - 1])) + 1;
        let Some(from) = self.window.len().checked_sub(distance) else {
            return Err(LzfError::Damaged);
        };
        // It may reach into what it makes itself.
        for at in from..from + length {
            self.window.push(self.window[at]);
        }
        self.grown(length)?;
        Ok(Some(head))
    }

    fn grown(&mut self, by: usize) -> Result<(), LzfError> {
        self.made += by as u64;
        if self.made > self.len { Err(LzfError::Damaged) } else { Ok(()) }
    }

    /// Ends the data; the last bytes go to `out`.
    pub fn finish(self, out: &mut dyn FnMut(&[u8])) -> Result<(), LzfError> {
        if !self.cut.is_empty() || self.made != self.len {
            return Err(LzfError::Damaged);
        }
        out(&self.window[self.fresh..]);
        Ok(())
    }
}
