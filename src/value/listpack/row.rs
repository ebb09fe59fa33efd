//! Rows: elements of a listpack without its head and its end byte, as the nodes of a large list
//! keep them. Both ends of a row can be moved without telling anybody.

use crate::value::listpack::edit::{Encoded, encode};
use crate::value::listpack::read::{element, length_before};
use crate::value::listpack::{END, HEAD, Item, Pack, UNCOUNTED};

/// Sound elements.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a>(pub &'a [u8]);

impl<'a> Row<'a> {
    /// The elements of a listpack.
    pub fn of(pack: Pack<'a>) -> Row<'a> {
        Row(&pack.0[HEAD..pack.end()])
    }

    /// The element at an offset, and the offset behind it; `None` at the end.
    pub fn at(self, offset: usize) -> Option<(Item<'a>, usize)> {
        let bytes = &self.0[offset..];
        if bytes.is_empty() {
            return None;
        }
        let (item, len) = element(bytes).expect("a sound row");
        Some((item, offset + len))
    }

    /// Offset of the element in front of an offset; `None` in front of the first.
    pub fn before(self, offset: usize) -> Option<usize> {
        if offset == 0 {
            return None;
        }
        let (len, own) = length_before(self.0, offset).expect("a sound row");
        Some(offset - len - own)
    }

    /// Offset of element `index` of `count`, from whichever end is nearer; `count` has the end's.
    pub fn seek(self, index: usize, count: usize) -> usize {
        if index <= count / 2 {
            let mut offset = 0;
            for _ in 0..index {
                offset = self.at(offset).map_or(offset, |(_, next)| next);
            }
            return offset;
        }
        let mut offset = self.0.len();
        for _ in index..count {
            offset = self.before(offset).unwrap_or(0);
        }
        offset
    }

    /// The elements in order, each with its offset.
    pub fn iter(self) -> impl Iterator<Item = (usize, Item<'a>)> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let at = offset;
            let (item, next) = self.at(at)?;
            offset = next;
            Some((at, item))
        })
    }

    /// The same as a listpack of `count` elements.
    pub fn to_pack(self, count: usize) -> Vec<u8> {
        let mut pack = Vec::with_capacity(HEAD + self.0.len() + 1);
        self.append_pack(count, &mut pack);
        pack
    }

    /// Appends the same as a listpack of `count` elements to `out`.
    pub fn append_pack(self, count: usize, out: &mut Vec<u8>) {
        let total = HEAD + self.0.len() + 1;
        out.reserve(total);
        out.extend_from_slice(&u32::try_from(total).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&u16::try_from(count).unwrap_or(UNCOUNTED).to_le_bytes());
        out.extend_from_slice(self.0);
        out.push(END);
    }
}

/// `text` as an element of a row or listpack.
pub fn encoded(text: &[u8]) -> Encoded {
    encode(text)
}
