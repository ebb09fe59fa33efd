//! Strings as rows of bits: single bits, ranges, fields of up to 64 bits, and strings combined.
//!
//! Bit 0 is the most significant bit of byte 0. Behind its end a string reads as zeros.

use std::ops::Range;

use bytes::BytesMut;

/// Growth by at least this many bytes takes fresh zeroed memory, which the system hands out
/// without touching it, rather than clear it byte by byte.
const FRESH: usize = 64 << 10;

/// The bit at `at`.
pub fn get(bytes: &[u8], at: u64) -> bool {
    let byte = usize::try_from(at / 8).ok().and_then(|byte| bytes.get(byte));
    byte.is_some_and(|byte| byte << (at % 8) & 0x80 != 0)
}

/// Sets the bit at `at`, which must lie inside.
pub fn set(bytes: &mut [u8], at: u64, on: bool) {
    let mask = 0x80 >> (at % 8);
    if let Some(byte) = usize::try_from(at / 8).ok().and_then(|byte| bytes.get_mut(byte)) {
        *byte = if on { *byte | mask } else { *byte & !mask };
    }
}

/// Makes `bytes` at least `len` bytes long, with zeros behind what is there; true when it was
/// shorter. Costs what was there at most, not what is added.
pub fn grow(bytes: &mut BytesMut, len: usize) -> bool {
    if bytes.len() >= len {
        return false;
    }
    if len > bytes.capacity() && len - bytes.len() >= FRESH {
        // Room for as much again, so that growing step by step is not copying at every step.
        let mut fresh = BytesMut::zeroed(len.max(2 * bytes.len()));
        fresh[..bytes.len()].copy_from_slice(bytes);
        fresh.truncate(len);
        *bytes = fresh;
    } else {
        bytes.resize(len, 0);
    }
    true
}

/// A byte that a range takes in part, and the bits of it that are meant.
type Edge = Option<(u8, u8)>;

/// The bytes of a range of bits: its first and its last byte, each with the bits of it that are
/// meant, and the whole bytes between. One byte alone is the first.
fn parts(bytes: &[u8], range: &Range<u64>) -> (Edge, Range<usize>, Edge) {
    let end = range.end.min(bytes.len() as u64 * 8);
    if range.start >= end {
        return (None, 0..0, None);
    }
    let (first, last) = ((range.start / 8) as usize, ((end - 1) / 8) as usize);
    let behind_start = 0xff_u8 >> (range.start % 8);
    let up_to_end = !(0x7f_u8 >> ((end - 1) % 8));
    if first == last {
        return (Some((bytes[first], behind_start & up_to_end)), 0..0, None);
    }
    (Some((bytes[first], behind_start)), first + 1..last, Some((bytes[last], up_to_end)))
}

/// Number of ones among the bits of `range`.
pub fn count(bytes: &[u8], range: Range<u64>) -> u64 {
    let (first, middle, last) = parts(bytes, &range);
    let edge = |part: Edge| part.map_or(0, |(byte, mask)| (byte & mask).count_ones());
    u64::from(edge(first)) + count_all(&bytes[middle]) + u64::from(edge(last))
}

/// Number of ones in whole bytes.
fn count_all(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: u64 = words.iter().map(|w| u64::from(u64::from_ne_bytes(*w).count_ones())).sum();
    words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// Place of the first bit in `range` that is `wanted`.
pub fn position(bytes: &[u8], wanted: bool, range: Range<u64>) -> Option<u64> {
    let (first, middle, last) = parts(bytes, &range);
    // With ones and zeros exchanged where zeros are wanted, a one is looked for in any case.
    let flip = if wanted { 0 } else { 0xff };
    let found = |(byte, mask): (u8, u8)| match (byte ^ flip) & mask {
        0 => None,
        hits => Some(u64::from(hits.leading_zeros())),
    };
    let first_byte = range.start / 8;
    if let Some(bit) = first.and_then(found) {
        return Some(first_byte * 8 + bit);
    }
    let start = middle.start;
    let whole = &bytes[middle];
    if let Some(at) = first_other(whole, flip) {
        return found((whole[at], 0xff)).map(|bit| (start + at) as u64 * 8 + bit);
    }
    let last_at = (start + whole.len()) as u64;
    last.and_then(found).map(|bit| last_at * 8 + bit)
}

/// Index of the first byte that is not `skip`.
fn first_other(bytes: &[u8], skip: u8) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<64>();
    let passed = blocks.iter().take_while(|block| block.iter().all(|&b| b == skip)).count() * 64;
    bytes[passed..].iter().position(|&b| b != skip).map(|at| passed + at)
}

/// A way to combine strings bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Ones where all have them.
    And,
    /// Ones where any has them.
    Or,
    /// Ones where an odd number has them.
    Xor,
    /// The first string with ones and zeros exchanged.
    Not,
}

/// Combines strings; the result is as long as the longest.
pub fn combine(op: Op, sources: &[&[u8]]) -> Vec<u8> {
    let Some((first, others)) = sources.split_first() else { return Vec::new() };
    if op == Op::Not {
        return first.iter().map(|byte| !byte).collect();
    }
    let longest = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let mut result = Vec::with_capacity(longest);
    result.extend_from_slice(first);
    result.resize(longest, 0);
    for source in others {
        let pairs = result.iter_mut().zip(*source);
        match op {
            Op::And => {
                pairs.for_each(|(to, from)| *to &= from);
                result[source.len()..].fill(0);
            }
            Op::Or => pairs.for_each(|(to, from)| *to |= from),
            Op::Xor | Op::Not => pairs.for_each(|(to, from)| *to ^= from),
        }
    }
    result
}

/// What becomes of a number that does not fit its field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Its low bits are kept.
    #[default]
    Wrap,
    /// The nearest number that fits is kept.
    Saturate,
    /// Nothing is written.
    Fail,
}

/// A kind of integer of 1 to 64 bits (63 when it has no sign).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    signed: bool,
    bits: u32,
}

impl Field {
    /// Reads `i` or `u` and a number of bits.
    pub fn parse(text: &[u8]) -> Option<Field> {
        // What stands behind a NUL does not count, as where C reads it.
        let text = text.split(|&b| b == 0).next()?;
        let (kind, bits) = text.split_first()?;
        let (signed, most) = match kind {
            b'i' => (true, 64),
            b'u' => (false, 63),
            _ => return None,
        };
        let bits = crate::base::number::parse_i64(bits)?;
        (1..=most).contains(&bits).then_some(Field { signed, bits: bits as u32 })
    }

    /// Number of bits.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// The number in the field at bit `at`.
    pub fn read(self, bytes: &[u8], at: u64) -> i64 {
        let (window, _) = window(bytes, at);
        self.low(((window << (at % 8)) >> (128 - self.bits)) as i64)
    }

    /// Writes `value`, which fits, into the field at bit `at`; all of the field lies inside.
    pub fn write(self, bytes: &mut [u8], at: u64, value: i64) {
        let (old, place) = window(bytes, at);
        let shift = 128 - self.bits - (at % 8) as u32;
        let mask = ((1_u128 << self.bits) - 1) << shift;
        let new = (old & !mask) | ((value as u64 as u128) << shift & mask);
        let len = place.len();
        bytes[place].copy_from_slice(&new.to_be_bytes()[..len]);
    }

    /// The number that the low bits of `value` mean.
    fn low(self, value: i64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed {
            value << unused >> unused
        } else {
            ((value as u64) << unused >> unused) as i64
        }
    }

    /// What is written for `value`: nothing when it does not fit and that is a failure.
    fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = if self.signed {
            (-(1_i128 << (self.bits - 1)), (1_i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1_i128 << self.bits) - 1)
        };
        if (least..=most).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.low(value as i64)),
            Overflow::Saturate => Some(value.clamp(least, most) as i64),
            Overflow::Fail => None,
        }
    }

    /// What is written for a number that a client gave: without a sign, a negative one stands for
    /// the great one with the same bits.
    pub fn fit_given(self, value: i64, overflow: Overflow) -> Option<i64> {
        if !self.signed {
            return self.fit(i128::from(value as u64), overflow);
        }
        // One so small that Redis' distance to it overflows is the greatest number to it.
        let most = i64::MAX >> (64 - self.bits);
        if overflow == Overflow::Saturate && most.checked_sub(value).is_none() && self.bits < 64 {
            return Some(most);
        }
        self.fit(i128::from(value), overflow)
    }

    /// What is written for the sum of `old`, a number of the field, and `by`.
    pub fn fit_sum(self, old: i64, by: i64, overflow: Overflow) -> Option<i64> {
        self.fit(i128::from(old) + i128::from(by), overflow)
    }
}

/// The bytes from bit `at` on that a field can touch, as the high bytes of a number, and their
/// place.
fn window(bytes: &[u8], at: u64) -> (u128, Range<usize>) {
    let start = usize::try_from(at / 8).unwrap_or(usize::MAX).min(bytes.len());
    let place = start..bytes.len().min(start.saturating_add(9));
    let mut high = [0; 16];
    high[..place.len()].copy_from_slice(&bytes[place.clone()]);
    (u128::from_be_bytes(high), place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bits one by one.
    fn plain(bytes: &[u8]) -> Vec<bool> {
        bytes.iter().flat_map(|byte| (0..8).map(move |i| byte >> (7 - i) & 1 == 1)).collect()
    }

    fn packed(bits: &[bool]) -> Vec<u8> {
        let byte = |eight: &[bool]| eight.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
        bits.chunks(8).map(byte).collect()
    }

    /// Mostly runs of zeros or ones, so that a search has something to pass.
    fn row() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            (prop::sample::select(vec![0u8, 0xff]), 0usize..150).prop_map(|(b, n)| vec![b; n]),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    fn field() -> impl Strategy<Value = Field> {
        (any::<bool>(), 1u32..=64).prop_map(|(signed, bits)| Field {
            signed,
            bits: if signed { bits } else { bits.min(63) },
        })
    }

    #[test]
    fn fields_are_read_as_redis_reads_them() {
        for (text, want) in [
            (&b"i64"[..], Some((true, 64))),
            (b"u63", Some((false, 63))),
            (b"u1", Some((false, 1))),
            (b"i8\0junk", Some((true, 8))),
            (b"u64", None),
            (b"i65", None),
            (b"i0", None),
            (b"i-1", None),
            (b"i08", None),
            (b"I8", None),
            (b"8", None),
            (b"i", None),
            (b"", None),
        ] {
            assert_eq!(Field::parse(text).map(|f| (f.signed, f.bits)), want, "{text:?}");
        }
    }

    #[test]
    fn growing_takes_zeroed_memory() {
        let mut bytes = BytesMut::from(&b"abc"[..]);
        assert!(!grow(&mut bytes, 3) && grow(&mut bytes, 10));
        assert!(grow(&mut bytes, 1 << 20));
        assert_eq!(bytes.len(), 1 << 20);
        assert!(bytes.starts_with(b"abc\0") && bytes[3..].iter().all(|&b| b == 0));
    }

    proptest! {
        #[test]
        fn single_bits(mut bytes in row(), at in 0u64..4000, on: bool) {
            let mut bits = plain(&bytes);
            prop_assert_eq!(get(&bytes, at), bits.get(at as usize).copied().unwrap_or(false));
            if (at as usize) < bits.len() {
                bits[at as usize] = on;
                set(&mut bytes, at, on);
                prop_assert_eq!(&bytes, &packed(&bits));
            }
            prop_assert!(!get(&bytes, u64::MAX));
        }

        #[test]
        fn ranges(bytes in row(), a in 0u64..4000, len in 0u64..4000, wanted: bool) {
            let bits = plain(&bytes);
            let meant = || bits.iter().enumerate().skip(a as usize).take(len as usize);
            let ones = meant().filter(|(_, bit)| **bit).count() as u64;
            prop_assert_eq!(count(&bytes, a..a + len), ones);
            let first = meant().find(|(_, bit)| **bit == wanted).map(|(at, _)| at as u64);
            prop_assert_eq!(position(&bytes, wanted, a..a + len), first);
        }

        #[test]
        fn combinations(sources in prop::collection::vec(row(), 1..5)) {
            let slices: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
            let len = slices.iter().map(|s| s.len()).max().unwrap();
            let at = |s: &&[u8], i: usize| s.get(i).copied().unwrap_or(0);
            let fold = |f: fn(u8, u8) -> u8| -> Vec<u8> {
                (0..len).map(|i| slices.iter().map(|s| at(s, i)).reduce(f).unwrap()).collect()
            };
            prop_assert_eq!(combine(Op::And, &slices), fold(|a, b| a & b));
            prop_assert_eq!(combine(Op::Or, &slices), fold(|a, b| a | b));
            prop_assert_eq!(combine(Op::Xor, &slices), fold(|a, b| a ^ b));
            let not: Vec<u8> = slices[0].iter().map(|b| !b).collect();
            prop_assert_eq!(combine(Op::Not, &slices[..1]), not);
        }

        #[test]
        fn numbers_in_fields(
            bytes in row(), field in field(), at in 0u64..2000, given: i64, by: i64,
        ) {
            // Read bit by bit, behind the end zeros.
            let mut bits = plain(&bytes);
            let width = field.bits as usize;
            bits.resize(bits.len().max(at as usize + width).next_multiple_of(8), false);
            let meant = &bits[at as usize..at as usize + width];
            let unsigned = meant.iter().fold(0i128, |n, &bit| n << 1 | i128::from(bit));
            let signed = if field.signed && meant[0] { unsigned - (1 << width) } else { unsigned };
            let old = field.read(&bytes, at);
            prop_assert_eq!(i128::from(old), signed);

            let modulus = 1i128 << width;
            let least = if field.signed { -modulus / 2 } else { 0 };
            let most = least + modulus - 1;
            let wide = if field.signed { i128::from(given) } else { i128::from(given as u64) };
            let fit = |overflow| field.fit_given(given, overflow);
            let fit_sum = |overflow| field.fit_sum(old, by, overflow);
            let (wrap, clamp, fail) = (Overflow::Wrap, Overflow::Saturate, Overflow::Fail);
            let cases = [
                (wide, fit(wrap), fit(clamp), fit(fail)),
                (signed + i128::from(by), fit_sum(wrap), fit_sum(clamp), fit_sum(fail)),
            ];
            let far = field.signed && width < 64 && i128::from(given) < most - i128::from(i64::MAX);
            for (case, (wide, wrapped, saturated, failing)) in cases.into_iter().enumerate() {
                let fits = (least..=most).contains(&wide);
                let wrap = (wide - least).rem_euclid(modulus) + least;
                prop_assert_eq!(wrapped.map(i128::from), Some(wrap));
                let nearest = if case == 0 && far { most } else { wide.clamp(least, most) };
                prop_assert_eq!(saturated.map(i128::from), Some(nearest));
                prop_assert_eq!(failing.map(i128::from), fits.then_some(wide));
            }

            let mut written = packed(&bits);
            let before = written.clone();
            let value = field.fit_given(given, Overflow::Wrap).unwrap();
            field.write(&mut written, at, value);
            prop_assert_eq!(field.read(&written, at), value);
            field.write(&mut written, at, old);
            prop_assert_eq!(written, before);
        }
    }
}
