//! LZF decompression, as Redis stores long strings in RDB files. Compression comes with writing.

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
    if len == 0 || len > RATIO_MAX * data.len() as u64 {
        return Err(LzfError::ImpossibleLength);
    }
    // The crate keeps offsets in 32 bits.
    if len > i32::MAX as u64 {
        return Err(LzfError::ImpossibleLength);
    }
    let out = lzf::decompress(data, len as usize).map_err(|_| LzfError::Damaged)?;
    // A stream that ends early is no error to the crate.
    if out.len() as u64 == len { Ok(out) } else { Err(LzfError::Damaged) }
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

    proptest! {
        #[test]
        fn round_trips(words in prop::collection::vec("[a-d]{1,6}", 30..400)) {
            let text = words.concat();
            if let Ok(packed) = lzf::compress(text.as_bytes()) {
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
    }
}
