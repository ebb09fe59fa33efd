//! Making and changing listpacks.

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

use crate::base::number::parse_i64;
use crate::value::listpack::read::back_len;
use crate::value::listpack::{END, HEAD, Pack, SIZE_MAX, UNCOUNTED};

/// Memory that a listpack is changed in.
pub trait Buffer: AsRef<[u8]> + AsMut<[u8]> {
    /// Replaces `remove` bytes at `at` by `bytes`; what is behind moves.
    fn splice_at(&mut self, at: usize, remove: usize, bytes: &[u8]);
    /// Adds so many zeros at the end.
    fn grow(&mut self, by: usize);
}

/// Moves what is behind `at + remove` so that `insert` bytes fit in between; `resize` sets the
/// length.
fn make_gap<B: AsMut<[u8]>>(
    buffer: &mut B,
    (at, remove, insert): (usize, usize, usize),
    resize: impl Fn(&mut B, usize),
) {
    let old = buffer.as_mut().len();
    let new = old - remove + insert;
    if new > old {
        resize(buffer, new);
    }
    buffer.as_mut().copy_within(at + remove..old, at + insert);
    if new < old {
        resize(buffer, new);
    }
}

impl Buffer for Vec<u8> {
    fn splice_at(&mut self, at: usize, remove: usize, bytes: &[u8]) {
        make_gap(self, (at, remove, bytes.len()), |buffer, len| buffer.resize(len, 0));
        self[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[inline]
    fn grow(&mut self, by: usize) {
        self.resize(self.len() + by, 0);
    }
}

impl Buffer for BytesMut {
    fn splice_at(&mut self, at: usize, remove: usize, bytes: &[u8]) {
        make_gap(self, (at, remove, bytes.len()), |buffer, len| buffer.resize(len, 0));
        self[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[inline]
    fn grow(&mut self, by: usize) {
        self.resize(self.len() + by, 0);
    }
}

/// An element as it is kept, with the length behind it. Short ones stay off the heap.
pub type Encoded = SmallVec<[u8; 96]>;

/// Where encoded bytes go.
pub(super) trait Out {
    /// Adds one byte.
    fn byte(&mut self, byte: u8);
    /// Adds bytes.
    fn bytes(&mut self, bytes: &[u8]);
}

impl Out for Encoded {
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Out for Vec<u8> {
    #[inline]
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// `text` in its encoding: an integer where it is the decimal form of one.
pub(super) fn encode(text: &[u8]) -> Encoded {
    let mut out = Encoded::new();
    match parse_i64(text) {
        Some(n) => encode_int(&mut out, n),
        None => encode_str(&mut out, text),
    }
    let len = out.len();
    put_length(&mut out, len);
    out
}

/// Bytes of a string of up to 63 bytes in its encoding; `None` when `text` is longer, or an
/// integer.
#[inline]
pub fn short_len(text: &[u8]) -> Option<usize> {
    (text.len() <= 63 && parse_i64(text).is_none()).then_some(text.len() + 2)
}

/// Writes such a string into `gap`, which is as long.
#[inline]
pub fn put_short(gap: &mut [u8], text: &[u8]) {
    let len = text.len();
    gap[0] = 0x80 | len as u8;
    gap[1..=len].copy_from_slice(text);
    gap[len + 1] = len as u8 + 1;
}

#[inline]
pub(super) fn encode_int(out: &mut impl Out, n: i64) {
    let bytes = n.to_le_bytes();
    let (code, width) = match n {
        0..=127 => return out.byte(n as u8),
        -4096..=4095 => {
            let raw = (n & 0x1FFF) as u16;
            out.byte(0xC0 | (raw >> 8) as u8);
            return out.byte(raw as u8);
        }
        -0x8000..=0x7FFF => (0xF1, 2),
        -0x80_0000..=0x7F_FFFF => (0xF2, 3),
        -0x8000_0000..=0x7FFF_FFFF => (0xF3, 4),
        _ => (0xF4, 8),
    };
    out.byte(code);
    out.bytes(&bytes[..width]);
}

pub(super) fn encode_str(out: &mut impl Out, text: &[u8]) {
    match text.len() {
        len @ 0..=63 => out.byte(0x80 | len as u8),
        len @ 64..=4095 => out.bytes(&[0xE0 | (len >> 8) as u8, len as u8]),
        len => {
            out.byte(0xF0);
            out.bytes(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
    out.bytes(text);
}

#[inline]
pub(super) fn put_length(out: &mut impl Out, len: usize) {
    let groups = back_len(len);
    for n in (0..groups).rev() {
        let group = (len >> (7 * n)) as u8 & 0x7F;
        out.byte(if n + 1 == groups { group } else { group | 0x80 });
    }
}

/// Writes an empty listpack behind what `buffer` holds.
pub fn create(buffer: &mut impl BufMut) {
    buffer.put_u32_le(HEAD as u32 + 1);
    buffer.put_u16_le(0);
    buffer.put_u8(END);
}

/// Sets the head after a change by `change` elements.
fn settle(buffer: &mut impl Buffer, change: isize) {
    let len = buffer.as_ref().len();
    assert!(len <= SIZE_MAX, "whoever fills a listpack bounds it");
    let head = &mut buffer.as_mut()[..HEAD];
    head[..4].copy_from_slice(&(len as u32).to_le_bytes());
    let count = u16::from_le_bytes([head[4], head[5]]);
    if count != UNCOUNTED {
        let count = (count as isize + change).clamp(0, isize::from(i16::MAX) * 2 + 1) as u16;
        head[4..].copy_from_slice(&count.to_le_bytes());
        return;
    }
    if change < 0 {
        let elements = Pack(buffer.as_ref()).len();
        let count = u16::try_from(elements).unwrap_or(UNCOUNTED);
        buffer.as_mut()[4..HEAD].copy_from_slice(&count.to_le_bytes());
    }
}

/// Inserts `text` in front of the element at `offset` (or at the end).
pub fn insert(buffer: &mut impl Buffer, offset: usize, text: &[u8]) {
    buffer.splice_at(offset, 0, &encode(text));
    settle(buffer, 1);
}

/// Appends `text`.
pub fn push_back(buffer: &mut impl Buffer, text: &[u8]) {
    let end = Pack(buffer.as_ref()).end();
    let Some(len) = short_len(text) else { return insert(buffer, end, text) };
    buffer.grow(len);
    let bytes = &mut buffer.as_mut()[end..];
    put_short(&mut bytes[..len], text);
    bytes[len] = END;
    settle(buffer, 1);
}

/// Inserts `text` in front of all.
pub fn push_front(buffer: &mut impl Buffer, text: &[u8]) {
    insert(buffer, HEAD, text);
}

/// Puts `text` in the place of the element at `offset`.
pub fn replace(buffer: &mut impl Buffer, offset: usize, text: &[u8]) {
    let (_, next) = Pack(buffer.as_ref()).at(offset).expect("an element is there");
    buffer.splice_at(offset, next - offset, &encode(text));
    settle(buffer, 0);
}

/// Removes up to `count` elements from the one at `offset` on; says how many it were.
pub fn delete(buffer: &mut impl Buffer, offset: usize, count: usize) -> usize {
    let pack = Pack(buffer.as_ref());
    let (mut end, mut removed) = (offset, 0);
    while removed < count
        && let Some((_, next)) = pack.at(end)
    {
        (end, removed) = (next, removed + 1);
    }
    buffer.splice_at(offset, end - offset, &[]);
    settle(buffer, -(removed as isize));
    removed
}
