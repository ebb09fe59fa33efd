//! LZF, as Redis stores long strings in RDB files and the inner nodes of lists.
//!
//! The data is a run of literals (one byte below 32, their number less one, and they) and of back
//! references: three bits of length and thirteen of distance; a length of 7 goes on in the next
//! byte; both count from the least there can be. (The crate's compressor panics on some input, and
//! its decompressor takes a byte at a time; it is what the tests compare ours with.)

mod compress;
mod unpack;
mod whole;

pub use compress::{AHEAD, BEHIND, Compressor, Run, TEXT_MAX};
pub use unpack::Unpacker;

/// Most bytes that one byte of compressed data can stand for: the longest back reference is three
/// bytes long and copies 264.
const RATIO_MAX: u64 = 264 / 3;
/// Most literals of one run.
const LITERALS_MAX: usize = 32;

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
    let mut out = Vec::new();
    decompress_into(data, len, &mut out)?;
    Ok(out)
}

/// [`decompress`] into memory at hand, whose bytes are replaced; what they are after an error is
/// of no use.
pub fn decompress_into(data: &[u8], len: u64, out: &mut Vec<u8>) -> Result<(), LzfError> {
    if !Unpacker::can_become(data.len() as u64, len) {
        return Err(LzfError::ImpossibleLength);
    }
    whole::unpack(data, len as usize, out)
}

/// Compresses `data`; `None` when it would take more than `max` bytes. For one text now and then;
/// a [`Compressor`] keeps its table.
pub fn compress(data: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(max.min(data.len()) + data.len() / 32 + 1);
    Compressor::default().compress(data, &mut out, max).then_some(out)
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
            words in prop::collection::vec("[a-d]{1,6}|(xyz){99,3000}|[\\x00-\\x7f]{0,40}", 1..400),
            cut in 1usize..5000,
        ) {
            let text = words.concat();
            // Nothing is a text that no reader takes for compressed: it has no length to become.
            prop_assume!(!text.is_empty());
            if let Some(packed) = compress(text.as_bytes(), text.len()) {
                let found = in_pieces(&packed, text.len() as u64, cut);
                prop_assert_eq!(found.as_deref(), Ok(text.as_bytes()));
            }
        }
    }
}
