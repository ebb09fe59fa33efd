//! Intsets: sorted sets of integers in one piece of memory, byte for byte as Redis keeps them and
//! writes them into RDB files.
//!
//! ```text
//! width u32 (2, 4 or 8) | members u32 | member … , ascending, each of `width` bytes
//! ```
//! All numbers are little-endian. The width is that of the widest member there ever was.
//!
//! Bytes from elsewhere go through [`validate`] once; everything else takes what it is given for
//! sound.

use bytes::{BufMut, BytesMut};

use crate::value::listpack::{Buffer, Invalid};

/// Bytes in front of the first member.
const HEAD: usize = 8;

/// An intset that is sound.
#[derive(Clone, Copy, Debug)]
pub struct Ints<'a>(pub &'a [u8]);

/// Bytes that a member like `n` takes.
fn width_of(n: i64) -> usize {
    match n {
        -0x8000..=0x7FFF => 2,
        -0x8000_0000..=0x7FFF_FFFF => 4,
        _ => 8,
    }
}

impl Ints<'_> {
    fn width(self) -> usize {
        usize::from(self.0[0])
    }

    /// Number of members.
    pub fn len(self) -> usize {
        u32::from_le_bytes([self.0[4], self.0[5], self.0[6], self.0[7]]) as usize
    }

    /// True when there is no member.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Member `index`, which must be below [`Ints::len`].
    pub fn at(self, index: usize) -> i64 {
        let width = self.width();
        let bytes = &self.0[HEAD + index * width..][..width];
        match width {
            2 => i64::from(i16::from_le_bytes([bytes[0], bytes[1]])),
            4 => i64::from(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            _ => i64::from_le_bytes(*bytes.first_chunk().expect("eight bytes")),
        }
    }

    /// Where a member is, or where it would be.
    pub fn search(self, n: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.at(middle).cmp(&n) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Whether `n` is a member.
    pub fn contains(self, n: i64) -> bool {
        self.search(n).is_ok()
    }

    /// The members, ascending.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator {
        (0..self.len()).map(move |index| self.at(index))
    }
}

/// Writes an empty intset behind what `buffer` holds.
pub fn create(buffer: &mut impl BufMut) {
    buffer.put_u32_le(2);
    buffer.put_u32_le(0);
}

fn set_len(buffer: &mut impl Buffer, len: usize) {
    buffer.as_mut()[4..HEAD].copy_from_slice(&(len as u32).to_le_bytes());
}

/// Adds a member; false when it was there.
pub fn add(buffer: &mut impl Buffer, n: i64) -> bool {
    if width_of(n) > Ints(buffer.as_ref()).width() {
        widen(buffer, width_of(n));
    }
    let ints = Ints(buffer.as_ref());
    let Err(at) = ints.search(n) else { return false };
    let (len, width) = (ints.len(), ints.width());
    buffer.splice_at(HEAD + at * width, 0, &n.to_le_bytes()[..width]);
    set_len(buffer, len + 1);
    true
}

/// Removes a member; false when it was not there.
pub fn remove(buffer: &mut BytesMut, n: i64) -> bool {
    let ints = Ints(buffer);
    let Ok(at) = ints.search(n) else { return false };
    let (len, width) = (ints.len(), ints.width());
    buffer.splice_at(HEAD + at * width, width, &[]);
    set_len(buffer, len - 1);
    true
}

/// Keeps the members in `width` bytes each.
fn widen(buffer: &mut impl Buffer, width: usize) {
    let ints = Ints(buffer.as_ref());
    let mut wide = Vec::with_capacity(ints.len() * width);
    ints.iter().for_each(|n| wide.extend_from_slice(&n.to_le_bytes()[..width]));
    let narrow = buffer.as_ref().len() - HEAD;
    buffer.splice_at(HEAD, narrow, &wide);
    buffer.as_mut()[..4].copy_from_slice(&(width as u32).to_le_bytes());
}

/// Checks bytes from elsewhere; gives the number of members.
pub fn validate(bytes: &[u8]) -> Result<usize, Invalid> {
    let wrong = |offset, why| Err(Invalid { offset, why });
    let Some((head, members)) = bytes.split_first_chunk::<HEAD>() else {
        return wrong(0, "its head is cut off");
    };
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (width, len) = (number(0) as usize, number(4) as usize);
    if !matches!(width, 2 | 4 | 8) {
        return wrong(0, "members of no known width");
    }
    if len.checked_mul(width) != Some(members.len()) {
        return wrong(4, "it is not as long as it says");
    }
    if len == 0 {
        // Redis refuses it as well; it would be a key that holds nothing.
        return wrong(4, "it has no members");
    }
    let ints = Ints(bytes);
    match (1..len).find(|&index| ints.at(index - 1) >= ints.at(index)) {
        Some(index) => wrong(HEAD + index * width, "members are out of order"),
        None => Ok(len),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(members: &[i64]) -> BytesMut {
        let mut bytes = BytesMut::new();
        create(&mut bytes);
        members.iter().for_each(|n| assert!(add(&mut bytes, *n)));
        bytes
    }

    #[test]
    fn bytes_are_those_of_redis() {
        assert_eq!(set(&[])[..], [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(set(&[5, -1])[..], [2, 0, 0, 0, 2, 0, 0, 0, 0xFF, 0xFF, 5, 0]);
        let wide = set(&[1, 70_000]);
        assert_eq!(wide[..], [4, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0x70, 0x11, 1, 0]);
    }

    #[test]
    fn damage_is_found() {
        let good = set(&[1, 2, 3]);
        assert_eq!(validate(&good), Ok(3));
        assert!(validate(&set(&[])).is_err());
        for cut in 0..good.len() {
            assert!(validate(&good[..cut]).is_err());
        }
        for (at, value) in [(0, 3), (0, 4), (4, 4), (8, 2), (10, 3)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(validate(&bad).is_err(), "{at}");
        }
    }

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            6 => -40_i64..40,
            2 => any::<i16>().prop_map(i64::from),
            1 => any::<i32>().prop_map(i64::from),
            1 => any::<i64>(),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), number()), 0..200)) {
            let (mut bytes, mut model) = (set(&[]), BTreeSet::new());
            for (adds, n) in steps {
                match adds {
                    true => prop_assert_eq!(add(&mut bytes, n), model.insert(n)),
                    false => prop_assert_eq!(remove(&mut bytes, n), model.remove(&n)),
                }
                prop_assert_eq!(Ints(&bytes).contains(n), model.contains(&n));
            }
            prop_assert_eq!(validate(&bytes).ok(), Some(model.len()).filter(|len| *len > 0));
            prop_assert!(Ints(&bytes).iter().eq(model.iter().copied()));
        }
    }
}
