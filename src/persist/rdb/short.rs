//! Short keys with short strings, which most files are full of: when all of such a pair is buffered
//! it is read where it stands. Whatever is in any way different is left to the general way.

use std::ops::Range;

use crate::base::limits::INLINE_VALUE_MAX;
use crate::persist::rdb::decode::{Problem, Reader, small_value};
use crate::persist::rdb::format::{ENC_INT8, ENC_INT16, ENC_INT32};
use crate::value::entry::NewValue;

/// Where the parts of a pair stand in the bytes that begin with its key's length.
pub(super) struct Short {
    key: Range<usize>,
    value: Value,
    len: usize,
}

enum Value {
    Int(i64),
    Text(Range<usize>),
}

/// Integers that stand for their decimal form.
const INT8: u8 = 0xC0 | ENC_INT8;
/// See [`INT8`].
const INT16: u8 = 0xC0 | ENC_INT16;
/// See [`INT8`].
const INT32: u8 = 0xC0 | ENC_INT32;

impl Short {
    /// The pair at the beginning of what is buffered; `None` for one that is not short, not whole,
    /// or has a part of more than `most` bytes.
    #[inline]
    pub(super) fn of(bytes: &[u8], most: u64) -> Option<Short> {
        let key_len = usize::from(*bytes.first().filter(|first| **first < 0x40)?);
        let key = 1..1 + key_len;
        let rest = bytes.get(key.end..)?;
        let int = |n: i64, len: usize| (Value::Int(n), key.end + 1 + len);
        let text = |from: usize, len: usize| {
            let from = key.end + from;
            (Value::Text(from..from + len), from + len)
        };
        let (value, len) = match *rest {
            [first @ 0..0x40, ..] => text(1, usize::from(first)),
            [first @ 0x40..0x80, second, ..] => {
                text(2, usize::from(first & 0x3F) << 8 | usize::from(second))
            }
            [INT8, a, ..] => int(i64::from(a as i8), 1),
            [INT16, a, b, ..] => int(i64::from(i16::from_le_bytes([a, b])), 2),
            [INT32, a, b, c, d, ..] => int(i64::from(i32::from_le_bytes([a, b, c, d])), 4),
            _ => return None,
        };
        let longest = match &value {
            Value::Text(at) if at.len() > INLINE_VALUE_MAX => return None,
            Value::Text(at) => at.len().max(key_len),
            Value::Int(_) => key_len,
        };
        (len <= bytes.len() && longest as u64 <= most).then_some(Short { key, value, len })
    }
}

impl Reader<'_> {
    /// Reads a pair that is buffered.
    pub(super) fn short_entry(&mut self, short: Short) -> Result<(), Problem> {
        let (expire_ms, usage) = (self.expire_ms.take(), std::mem::take(&mut self.usage));
        let past = self.is_past(expire_ms);
        let bytes = self.source.buffered();
        let key = &bytes[short.key];
        let mut stored = None;
        if self.sink.wants(self.db, key) {
            self.sink.begins(self.item, usage);
            if past {
                self.loaded.expired += 1;
            } else {
                let value = match short.value {
                    Value::Int(n) => NewValue::Int(n),
                    Value::Text(at) => small_value(&bytes[at]),
                };
                let fine = self.sink.store(self.db, key, value, expire_ms);
                if !fine {
                    self.key.clear();
                    self.key.extend_from_slice(key);
                }
                stored = Some(fine);
            }
        }
        self.source.consume(short.len);
        stored.map_or(Ok(()), |stored| self.stored(stored))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::persist::rdb::encode::put_length;
    use crate::persist::rdb::format::TYPE_STRING;
    use crate::persist::rdb::tests::{Build, read};

    /// Whatever a pair is like, it is taken for short only if it is whole.
    #[test]
    fn only_whole_ones_are_short() {
        for (pair, len) in [
            (&b"\x01k\x02vv"[..], 5),
            (b"\x00\x00", 2),
            (b"\x01k\x40\x02vv", 6),
            (b"\x01k\xC0\xFF", 4),
            (b"\x01k\xC1\xFF\x01", 5),
            (b"\x01k\xC2\xFF\x01\x02\x03", 7),
        ] {
            assert_eq!(Short::of(pair, 2).unwrap().len, len);
            let more = [pair, b"more"].concat();
            assert_eq!(Short::of(&more, 2).unwrap().len, len);
            for cut in 0..pair.len() {
                assert!(Short::of(&pair[..cut], 2).is_none(), "{pair:?}");
            }
        }
        assert!(Short::of(b"\x01k\x03vvv", 2).is_none() && Short::of(b"\x03key\x00", 2).is_none());
        assert!(Short::of(b"\x01k\x03vvv", 3).is_some() && Short::of(b"\x03key\x00", 3).is_some());
        for other in [&b"\x40\x01k\x01v"[..], b"\x01k\x80\0\0\0\x01v", b"\x01k\xC3\x01\x01v"] {
            assert!(Short::of(other, 100).is_none());
        }
        let long = [b"\x01k\x44\x01".as_slice(), &[7; 0x401]].concat();
        assert!(Short::of(&long, 5000).is_none());
    }

    proptest! {
        /// Chunks of the file end anywhere in them, and they are what the general way makes of
        /// them, which is the way of a key with a longer form of its length.
        #[test]
        fn both_ways_read_the_same(
            pairs in prop::collection::vec(("[a-z]{0,70}", "[a-z]{0,100}|-?[0-9]{1,9}"), 1..40),
        ) {
            let mut short = Build::new(11);
            let mut long = Build::new(11);
            for (n, (key, value)) in pairs.iter().enumerate() {
                let key = format!("{n}{key}");
                short = short.raw(&[TYPE_STRING]);
                [key.as_bytes(), value.as_bytes()].into_iter().for_each(|text| {
                    put_length(&mut short.0, text.len() as u64);
                    short.0.extend_from_slice(text);
                });
                long = long.set(key.as_bytes(), value.as_bytes());
            }
            let (short, long) = (read(&short.end()).unwrap(), read(&long.end()).unwrap());
            prop_assert_eq!(short.1, long.1);
            prop_assert_eq!(short.0.keys, long.0.keys);
        }
    }
}
