//! Ziplists and zipmaps: how older servers packed small collections. They are only read, out of
//! RDB files, and always checked: what is handed out lies inside the bytes.
//!
//! # A ziplist
//! ```text
//! total bytes u32 | offset of the last element u32 | elements u16 | element … | 0xFF
//! ```
//! Numbers are little-endian; a count of 65,535 means that elements have to be counted. An element
//! is the length of the one before (a byte; or 254 and four bytes, which short ones may have too),
//! an encoding, and its data:
//!
//! | first byte | what follows |
//! |---|---|
//! | `00xxxxxx` | that many bytes of a string, at most 63 |
//! | `01xxxxxx` | one byte more, of a length of 14 bits, the high ones first; a string |
//! | `10000000` | a length of 4 bytes, the high ones first; a string |
//! | `11000000` `11010000` `11100000` | an integer of 2, 4 or 8 bytes |
//! | `11110000` `11111110` | an integer of 3 bytes, of one |
//! | `1111xxxx` | nothing: an integer from 0 to 12, plus one |
//!
//! # A zipmap
//! ```text
//! pairs u8 | (length | field | length | unused u8 | value | unused bytes) … | 0xFF
//! ```
//! A length is a byte below 254, or 254 and four bytes, little-endian. 254 pairs and more have to
//! be counted.

use crate::value::listpack::{Invalid, Item};

/// Bytes in front of the first element.
const HEAD: usize = 10;
/// The last byte, of either.
const END: u8 = 0xFF;
/// A length of four bytes follows.
const LONG: u8 = 254;
/// The count that means that elements have to be counted.
const UNCOUNTED: u16 = u16::MAX;

fn wrong<T>(offset: usize, why: &'static str) -> Result<T, Invalid> {
    Err(Invalid { offset, why })
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

/// A signed little-endian integer of at most 8 bytes.
fn signed(bytes: &[u8]) -> i64 {
    let mut wide = [0; 8];
    wide[8 - bytes.len()..].copy_from_slice(bytes);
    i64::from_le_bytes(wide) >> (64 - 8 * bytes.len())
}

/// A length as both formats have it, and the offset behind it.
fn length(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    match *bytes.get(at)? {
        END => None,
        LONG => Some((number(bytes, at + 1)?, at + 5)),
        short => Some((usize::from(short), at + 1)),
    }
}

/// The element whose encoding is at `at`, and the offset behind it.
fn element(bytes: &[u8], at: usize) -> Option<(Item<'_>, usize)> {
    let first = *bytes.get(at)?;
    let string = |from: usize, len: usize| {
        let end = from.checked_add(len)?;
        Some((Item::Str(bytes.get(from..end)?), end))
    };
    let integer = |len: usize| {
        let data = bytes.get(at + 1..at + 1 + len)?;
        Some((Item::Int(signed(data)), at + 1 + len))
    };
    match first {
        0x00..=0x3F => string(at + 1, usize::from(first)),
        0x40..=0x7F => {
            let low = usize::from(*bytes.get(at + 1)?);
            string(at + 2, usize::from(first & 0x3F) << 8 | low)
        }
        0x80 => {
            let len = u32::from_be_bytes(*bytes.get(at + 1..)?.first_chunk()?);
            string(at + 5, len as usize)
        }
        0xC0 => integer(2),
        0xD0 => integer(4),
        0xE0 => integer(8),
        0xF0 => integer(3),
        0xFE => integer(1),
        0xF1..=0xFD => Some((Item::Int(i64::from(first & 0x0F) - 1), at + 1)),
        _ => None,
    }
}

/// The elements of a ziplist.
pub fn read(bytes: &[u8]) -> Result<Vec<Item<'_>>, Invalid> {
    let (Some(total), Some(last)) = (number(bytes, 0), number(bytes, 4)) else {
        return wrong(0, "its head is cut off");
    };
    let Some(count) = bytes.get(8..HEAD) else { return wrong(8, "its head is cut off") };
    let count = u16::from_le_bytes([count[0], count[1]]);
    if total != bytes.len() || bytes.len() <= HEAD {
        return wrong(0, "it is not as long as it says");
    }
    let end = bytes.len() - 1;
    if bytes[end] != END {
        return wrong(end, "its end is missing");
    }
    let body = &bytes[..end];
    let (mut items, mut at, mut before) = (Vec::new(), HEAD, HEAD);
    while at < end {
        let Some((length, encoding)) = length(body, at) else {
            return wrong(at, "a length is cut off");
        };
        if length != at - before {
            return wrong(at, "a length of the element before is not its own");
        }
        let Some((item, next)) = element(body, encoding) else {
            return wrong(at, "an encoding is unknown, or an element cut off");
        };
        items.push(item);
        (before, at) = (at, next);
    }
    if last != before {
        return wrong(4, "its last element is not where it says");
    }
    if count != UNCOUNTED && usize::from(count) != items.len() {
        return wrong(8, "it does not hold as many elements as it says");
    }
    Ok(items)
}

/// Field and value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// The pairs of a zipmap.
pub fn read_map(bytes: &[u8]) -> Result<Vec<Pair<'_>>, Invalid> {
    let Some(&count) = bytes.first() else { return wrong(0, "it is empty") };
    let (mut pairs, mut at) = (Vec::new(), 1);
    loop {
        match bytes.get(at) {
            Some(&END) if at + 1 == bytes.len() => break,
            Some(&END) => return wrong(at, "it is not as long as its bytes"),
            _ => {}
        }
        let field = length(bytes, at).and_then(|(len, from)| {
            let end = from.checked_add(len)?;
            Some((bytes.get(from..end)?, end))
        });
        let Some((field, next)) = field else { return wrong(at, "a field is cut off") };
        let value = length(bytes, next).and_then(|(len, from)| {
            let unused = usize::from(*bytes.get(from)?);
            let end = (from + 1).checked_add(len)?;
            Some((bytes.get(from + 1..end)?, end.checked_add(unused)?))
        });
        let Some((value, next)) = value else { return wrong(next, "a value is cut off") };
        pairs.push((field, value));
        at = next;
    }
    if count < LONG && usize::from(count) != pairs.len() {
        return wrong(0, "it does not hold as many pairs as it says");
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ziplist as Redis' documentation shows it: "2" and "5".
    const TWO_AND_FIVE: &[u8] = &[0x0f, 0, 0, 0, 0x0c, 0, 0, 0, 2, 0, 0x00, 0xf3, 0x02, 0xf6, 0xff];

    fn made(elements: &[(Vec<u8>, usize)]) -> Vec<u8> {
        let (mut body, mut before, mut last) = (Vec::new(), 0, HEAD);
        for (encoded, long) in elements {
            last = HEAD + body.len();
            let start = body.len();
            if before < 254 && *long == 0 {
                body.push(before as u8);
            } else {
                body.push(LONG);
                body.extend_from_slice(&(before as u32).to_le_bytes());
            }
            body.extend_from_slice(encoded);
            before = body.len() - start;
        }
        let mut bytes = ((HEAD + body.len() + 1) as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&(last as u32).to_le_bytes());
        bytes.extend_from_slice(&(elements.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.push(END);
        bytes
    }

    #[test]
    fn every_encoding_is_read() {
        assert_eq!(read(TWO_AND_FIVE), Ok(vec![Item::Int(2), Item::Int(5)]));
        let long = vec![b'x'; 300];
        let huge = vec![b'y'; 20_000];
        let elements = [
            (b"\x03abc".to_vec(), 0),
            ([&[0x41, 0x2C][..], &long].concat(), 0),
            ([&[0x80, 0, 0, 0x4E, 0x20][..], &huge].concat(), 1),
            (vec![0xC0, 0xFE, 0xFF], 0),
            (vec![0xD0, 0, 0, 0, 0x80], 1),
            ([&[0xE0][..], &i64::MIN.to_le_bytes()].concat(), 0),
            (vec![0xF0, 0xFF, 0xFF, 0x7F], 0),
            (vec![0xFE, 0x80], 0),
            (vec![0xF1], 0),
            (vec![0xFD], 0),
        ];
        let expected = vec![
            Item::Str(b"abc"),
            Item::Str(&long),
            Item::Str(&huge),
            Item::Int(-2),
            Item::Int(i64::from(i32::MIN)),
            Item::Int(i64::MIN),
            Item::Int(0x7F_FFFF),
            Item::Int(-128),
            Item::Int(0),
            Item::Int(12),
        ];
        let bytes = made(&elements);
        assert_eq!(read(&bytes), Ok(expected));
        assert_eq!(read(&made(&[])), Ok(vec![]));
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "{cut}");
        }
        for (at, what) in [(4, "last"), (8, "count"), (HEAD, "length"), (0, "total")] {
            let mut bad = TWO_AND_FIVE.to_vec();
            bad[at] += 1;
            assert!(read(&bad).is_err(), "{what}");
        }
    }

    #[test]
    fn maps_are_read() {
        let map = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02worldxx\xff";
        let pairs: Vec<(&[u8], &[u8])> = vec![(b"foo", b"bar"), (b"hello", b"world")];
        assert_eq!(read_map(map), Ok(pairs));
        assert_eq!(read_map(b"\x00\xff"), Ok(vec![]));
        for cut in 0..map.len() {
            assert!(read_map(&map[..cut]).is_err(), "{cut}");
        }
        assert!(read_map(b"\x01\x03foo\x03\xffbar\xff").is_err());
        assert!(read_map(b"\x02\x03foo\x03\x00bar\xff").is_err(), "one less than it says");
        assert!(read_map(b"\x00\xff\xff").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_map(&bytes);
            if bytes.len() > HEAD {
                let len = bytes.len();
                bytes[..4].copy_from_slice(&(len as u32).to_le_bytes());
                bytes[8..10].copy_from_slice(&[255, 255]);
                bytes[len - 1] = END;
            }
            let _ = read(&bytes);
        }
    }
}
