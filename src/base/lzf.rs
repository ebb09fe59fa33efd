//! LZF, as Redis stores long strings in RDB files and the inner nodes of lists.
//!
//! The data is a run of literals (one byte below 32, their number less one, and they) and of back
//! references: three bits of length and thirteen of distance; a length of 7 goes on in the next
//! byte; both count from the least there can be. (The crate's compressor panics on some input, so
//! it serves in the other direction only.)

/// Most bytes that one byte of compressed data can stand for: the longest back reference is three
/// bytes long and copies 264.
const RATIO_MAX: u64 = 264 / 3;

/// Why compressed data was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LzfError {
    /// It claims to become longer than so much compressed data can.
    ImpossibleLength,
    /// It is malformed, or becomes shorter or longer than it claims.
    Damaged,
}

/// Decompresses `data`, which must become exactly `len` bytes. Nothing is allocated for a length
/// that `data` cannot reach, nor for 2 GiB and more; a caller with a bound of its own checks `len`
/// before.
pub fn decompress(data: &[u8], len: u64) -> Result<Vec<u8>, LzfError> {
    if !Unpacker::can_become(data.len() as u64, len) {
        return Err(LzfError::ImpossibleLength);
    }
    let out = lzf::decompress(data, len as usize).map_err(|_| LzfError::Damaged)?;
    // A stream that ends early is no error to the crate.
    if out.len() as u64 == len { Ok(out) } else { Err(LzfError::Damaged) }
}

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

/// Farthest back reference, and longest.
const DISTANCE_MAX: usize = 1 << 13;
const LENGTH_MAX: usize = 264;
const LITERALS_MAX: usize = 32;
/// Bits of the table of places where three bytes were last seen.
const TABLE_BITS: u32 = 12;

/// Compresses `data`; `None` when it would take more than `max` bytes.
pub fn compress(data: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut seen = vec![u32::MAX; 1 << TABLE_BITS];
    let mut out = Vec::with_capacity(max.min(data.len()));
    let (mut at, mut literals) = (0, 0);
    while let Some(three) = data.get(at..at + 3) {
        let word = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        let slot = word.wrapping_mul(0x9E37_79B1) >> (32 - TABLE_BITS);
        let place = std::mem::replace(&mut seen[slot as usize], u32::try_from(at).ok()?) as usize;
        let near = place < at && at - place <= DISTANCE_MAX;
        if !near || &data[place..place + 3] != three {
            at += 1;
            continue;
        }
        let rest = &data[at..data.len().min(at + LENGTH_MAX)];
        let length =
            rest.iter().zip(&data[place..]).take_while(|(one, other)| one == other).count();
        put_literals(&mut out, &data[literals..at]);
        let (distance, length_code) = (at - place - 1, length - 2);
        out.push((length_code.min(7) << 5 | distance >> 8) as u8);
        if length_code >= 7 {
            out.push((length_code - 7) as u8);
        }
        out.push(distance as u8);
        at += length;
        literals = at;
        if out.len() > max {
            return None;
        }
    }
    put_literals(&mut out, &data[literals..]);
    (out.len() <= max).then_some(out)
}

fn put_literals(out: &mut Vec<u8>, literals: &[u8]) {
    for run in literals.chunks(LITERALS_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_references_and_long_references() {
        assert_eq!(decompress(b"\x02abc", 3).unwrap(), b"abc");
        // "a", then 3 bytes from 1 back, then 9 + 255 bytes from 1 back.
        assert_eq!(decompress(b"\x00a\x20\x00\xe0\xff\x00", 1 + 3 + 264).unwrap(), [b'a'; 268]);
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for len in [1, 2, 4, 100] {
            assert_eq!(decompress(b"\x02abc", len), Err(LzfError::Damaged), "{len}");
        }
        for len in [0, 4 * 88 + 1, 1 << 40, u64::MAX] {
            assert_eq!(decompress(b"\x02abc", len), Err(LzfError::ImpossibleLength), "{len}");
        }
        assert_eq!(decompress(b"", 1), Err(LzfError::ImpossibleLength));
        assert_eq!(decompress(b"\x02ab", 3), Err(LzfError::Damaged));
        assert_eq!(decompress(b"\x20\x05", 3), Err(LzfError::Damaged), "before the beginning");
    }

    fn in_pieces(data: &[u8], len: u64, cut: usize) -> Result<Vec<u8>, LzfError> {
        if !Unpacker::can_become(data.len() as u64, len) {
            return Err(LzfError::ImpossibleLength);
        }
        let (mut unpacker, mut found) = (Unpacker::new(len), Vec::new());
        for piece in data.chunks(cut) {
            unpacker.feed(piece, &mut |text| found.extend_from_slice(text))?;
        }
        unpacker.finish(&mut |text| found.extend_from_slice(text))?;
        Ok(found)
    }

    proptest! {
        #[test]
        fn round_trips(
            words in prop::collection::vec("[a-d]{1,6}|(xyz){100,200}|[\\x00-\\x7f]{0,40}", 1..400),
        ) {
            let text = words.concat();
            if let Some(packed) = compress(text.as_bytes(), text.len()) {
                prop_assert!(packed.len() <= text.len());
                prop_assert_eq!(decompress(&packed, text.len() as u64).unwrap(), text.as_bytes());
                prop_assert!(decompress(&packed, text.len() as u64 + 1).is_err());
                prop_assert!(decompress(&packed[..packed.len() - 1], text.len() as u64).is_err());
            }
        }

        #[test]
        fn never_panics(data in prop::collection::vec(any::<u8>(), 0..200), len in 0u64..20_000) {
            if let Ok(out) = decompress(&data, len) {
                prop_assert_eq!(out.len() as u64, len);
            }
        }

        #[test]
        fn pieces_become_the_same(
            data in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 1..200),
            wrong in 0u64..3,
            cut in 1usize..40,
        ) {
            // What it becomes, if anything: the crate says how long it can be.
            let len = lzf::decompress(&data, 60_000).map_or(100, |out| out.len() as u64) + wrong;
            let whole = decompress(&data, len);
            prop_assert_eq!(&in_pieces(&data, len, cut), &whole);
        }

        #[test]
        fn long_ones_become_the_same(
            words in prop::collection::vec("[a-d]{1,6}|(xyz){100,3000}|[\\x00-\\x7f]{0,40}", 1..400),
            cut in 1usize..5000,
        ) {
            let text = words.concat();
            if let Some(packed) = compress(text.as_bytes(), text.len()) {
                let found = in_pieces(&packed, text.len() as u64, cut);
                prop_assert_eq!(found.as_deref(), Ok(text.as_bytes()));
            }
        }
    }
}
