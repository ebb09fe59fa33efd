//! Reading listpacks: elements in both directions, and the check of bytes from elsewhere.

use std::fmt;

use crate::base::number::parse_i64;
use crate::value::listpack::{END, HEAD, UNCOUNTED};

/// An element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A string that is kept as the integer it spells.
    Int(i64),
    /// A string.
    Str(&'a [u8]),
}

impl<'a> Item<'a> {
    /// The element as text; integers are spelled in `digits`.
    pub fn text(self, digits: &'a mut itoa::Buffer) -> &'a [u8] {
        match self {
            Item::Int(n) => digits.format(n).as_bytes(),
            Item::Str(bytes) => bytes,
        }
    }

    /// Length of its text in bytes.
    pub fn text_len(self) -> usize {
        match self {
            Item::Str(bytes) => bytes.len(),
            Item::Int(n) => {
                let digits = n.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
                digits + usize::from(n < 0)
            }
        }
    }

    /// Whether its text is `bytes`.
    pub fn is(self, bytes: &[u8]) -> bool {
        match self {
            Item::Str(own) => own == bytes,
            Item::Int(_) => self.text(&mut itoa::Buffer::new()) == bytes,
        }
    }
}

/// A listpack that is sound.
#[derive(Clone, Copy, Debug)]
pub struct Pack<'a>(pub &'a [u8]);

/// What an encoding byte and those behind it say: how long head and data are, and what they mean.
struct Shape {
    head: usize,
    data: usize,
    integer: bool,
}

/// The shape of the element that begins with `bytes`; `None` when its head is not whole, or is
/// none.
fn shape(bytes: &[u8]) -> Option<Shape> {
    let first = *bytes.first()?;
    let string = |head, data| Some(Shape { head, data, integer: false });
    let integer = |head, data| Some(Shape { head, data, integer: true });
    match first {
        0x00..=0x7F => integer(1, 0),
        0x80..=0xBF => string(1, usize::from(first & 0x3F)),
        0xC0..=0xDF => integer(1, 1),
        0xE0..=0xEF => string(2, usize::from(first & 0x0F) << 8 | usize::from(*bytes.get(1)?)),
        0xF0 => string(5, u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?) as usize),
        0xF1 => integer(1, 2),
        0xF2 => integer(1, 3),
        0xF3 => integer(1, 4),
        0xF4 => integer(1, 8),
        _ => None,
    }
}

/// Bytes that the length `len` takes behind an element.
pub(super) const fn back_len(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// The length in front of `end`, and how many bytes it takes; `None` when there is none.
pub(super) fn length_before(bytes: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut len = 0;
    for n in 0..5 {
        let byte = *bytes.get(end.checked_sub(n + 1)?)?;
        len |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((len, n + 1));
        }
    }
    None
}

/// The signed little-endian integer in `bytes`, at most 8 of them.
fn signed(bytes: &[u8]) -> i64 {
    let mut wide = [0; 8];
    wide[8 - bytes.len()..].copy_from_slice(bytes);
    i64::from_le_bytes(wide) >> (64 - 8 * bytes.len())
}

/// The element that begins with sound bytes, and how many it takes, the length behind it included.
#[inline]
pub(super) fn element(bytes: &[u8]) -> Option<(Item<'_>, usize)> {
    let shape = shape(bytes)?;
    let len = shape.head + shape.data;
    let data = &bytes[shape.head..len];
    let item = match (shape.integer, bytes[0]) {
        (false, _) => Item::Str(data),
        (true, first @ 0x00..=0x7F) => Item::Int(i64::from(first)),
        (true, first @ 0x80..=0xDF) => {
            // 13 bits, sign first.
            let raw = i64::from(first & 0x1F) << 8 | i64::from(data[0]);
            Item::Int(raw << 51 >> 51)
        }
        (true, _) => Item::Int(signed(data)),
    };
    Some((item, len + back_len(len)))
}

impl<'a> Pack<'a> {
    /// Offset of the end byte.
    pub fn end(self) -> usize {
        self.0.len() - 1
    }

    /// Number of elements; counts them when there are very many.
    pub fn len(self) -> usize {
        match u16::from_le_bytes([self.0[4], self.0[5]]) {
            UNCOUNTED => self.iter().count(),
            count => usize::from(count),
        }
    }

    /// True when there is no element.
    pub fn is_empty(self) -> bool {
        self.0.len() <= HEAD + 1
    }

    /// Offset of the first element, or of the end.
    pub fn first(self) -> usize {
        HEAD
    }

    /// Offset of the last element, if there is one.
    pub fn last(self) -> Option<usize> {
        self.before(self.end())
    }

    /// The element at an offset, and the offset behind it; `None` at the end.
    pub fn at(self, offset: usize) -> Option<(Item<'a>, usize)> {
        let bytes = &self.0[offset..];
        if bytes[0] == END {
            return None;
        }
        let (item, len) = element(bytes).expect("a sound listpack");
        Some((item, offset + len))
    }

    /// The offset behind `count` elements from `offset` on, or the end if there are fewer.
    pub fn skip(self, mut offset: usize, count: usize) -> usize {
        for _ in 0..count {
            let bytes = &self.0[offset..];
            let len = match bytes[0] {
                END => return offset,
                0x00..=0x7F => 1,
                short @ 0x80..=0xBF => 1 + usize::from(short & 0x3F),
                _ => {
                    let shape = shape(bytes).expect("a sound listpack");
                    shape.head + shape.data
                }
            };
            offset += len + back_len(len);
        }
        offset
    }

    /// Offset of the element in front of an offset; `None` in front of the first.
    pub fn before(self, offset: usize) -> Option<usize> {
        if offset <= HEAD {
            return None;
        }
        let (len, own) = length_before(self.0, offset).expect("a sound listpack");
        Some(offset - len - own)
    }

    /// Offset of element `index`, counted from the end when negative.
    pub fn seek(self, index: i64) -> Option<usize> {
        let len = self.len() as i64;
        let index = if index < 0 { index + len } else { index };
        if !(0..len).contains(&index) {
            return None;
        }
        if index <= len / 2 {
            let mut offset = HEAD;
            for _ in 0..index {
                offset = self.at(offset)?.1;
            }
            return Some(offset);
        }
        let mut offset = self.end();
        for _ in index..len {
            offset = self.before(offset)?;
        }
        Some(offset)
    }

    /// The elements in order, each with its offset.
    pub fn iter(self) -> Iter<'a> {
        Iter { pack: self, offset: HEAD }
    }

    /// The elements from an offset on.
    pub fn iter_from(self, offset: usize) -> Iter<'a> {
        Iter { pack: self, offset }
    }

    /// Offset of the first element with this text, looking at every `step`-th from `offset` on.
    pub fn find(self, offset: usize, text: &[u8], step: usize) -> Option<usize> {
        let int = parse_i64(text);
        let mut items = self.iter_from(offset).step_by(step);
        let same = |item| match item {
            Item::Str(own) => own == text,
            Item::Int(own) => int == Some(own),
        };
        items.find(|(_, item)| same(*item)).map(|(offset, _)| offset)
    }
}

/// See [`Pack::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    pack: Pack<'a>,
    offset: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (usize, Item<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.offset;
        let (item, next) = self.pack.at(at)?;
        self.offset = next;
        Some((at, item))
    }
}

/// Why bytes are no listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Where it goes wrong, in bytes from its beginning.
    pub offset: usize,
    /// What is wrong there.
    pub why: &'static str,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no listpack: {} at byte {}", self.why, self.offset)
    }
}

impl std::error::Error for Invalid {}

/// Checks bytes from elsewhere; gives the number of elements.
pub fn validate(bytes: &[u8]) -> Result<usize, Invalid> {
    walk(bytes, |_, _| ())
}

/// [`validate`] with a look at each element and its offset, in order, as far as all is sound.
#[inline]
pub fn walk<'b>(bytes: &'b [u8], mut look: impl FnMut(usize, Item<'b>)) -> Result<usize, Invalid> {
    let (end, count) = ends(bytes)?;
    let (mut offset, mut elements) = (HEAD, 0);
    while offset < end {
        let next = match bytes[offset] {
            // Nearly all are: a short string, with its length behind it in one byte.
            first @ 0x80..=0xBF => {
                let len = 1 + usize::from(first & 0x3F);
                if offset + len >= end || usize::from(bytes[offset + len]) != len {
                    // It says what is wrong.
                    check(bytes, offset, end)?;
                }
                look(offset, Item::Str(&bytes[offset + 1..offset + len]));
                offset + len + 1
            }
            _ => {
                let next = check(bytes, offset, end)?;
                if let Some((item, _)) = element(&bytes[offset..end]) {
                    look(offset, item);
                }
                next
            }
        };
        offset = next;
        elements += 1;
    }
    match count {
        UNCOUNTED => Ok(elements),
        count if usize::from(count) == elements => Ok(elements),
        _ => wrong(4, "it does not hold as many elements as it says"),
    }
}

fn wrong<T>(offset: usize, why: &'static str) -> Result<T, Invalid> {
    Err(Invalid { offset, why })
}

/// Checks head and end; gives the offset of the end and the number of elements that the head says.
fn ends(bytes: &[u8]) -> Result<(usize, u16), Invalid> {
    let Some((total, rest)) = bytes.split_first_chunk::<4>() else {
        return wrong(0, "its head is cut off");
    };
    let Some((count, _)) = rest.split_first_chunk::<2>() else {
        return wrong(4, "its head is cut off");
    };
    if u32::from_le_bytes(*total) as usize != bytes.len() || bytes.len() <= HEAD {
        return wrong(0, "it is not as long as it says");
    }
    let end = bytes.len() - 1;
    if bytes[end] != END {
        return wrong(end, "its end is missing");
    }
    Ok((end, u16::from_le_bytes(*count)))
}

/// Checks the element at `offset`; gives the offset of the next one.
fn check(bytes: &[u8], offset: usize, end: usize) -> Result<usize, Invalid> {
    let Some(shape) = shape(&bytes[offset..end]) else {
        return wrong(offset, "an encoding is unknown or cut off");
    };
    let len = shape.head + shape.data;
    let next = offset.saturating_add(len).saturating_add(back_len(len));
    if next > end {
        return wrong(offset, "an element is cut off");
    }
    if length_before(bytes, next) != Some((len, back_len(len))) {
        return wrong(next - 1, "a length behind an element is not its own");
    }
    Ok(next)
}
