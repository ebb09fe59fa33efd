//! Whether elements of a collection that is packed are distinct, without comparing each with each.

use smallvec::SmallVec;

use crate::value::listpack::{Invalid, Item, Pack, walk};

/// Bits of a [`Filter`], as a power of two: of a hundred texts two are taken for one seen.
const BITS: u32 = 12;
const WORDS: usize = (1 << BITS) / 64;

/// Which texts may have been seen. One that has been is never taken for a new one; one in many that
/// is new is taken for one that has been, so whoever is told so looks.
#[derive(Clone, Debug)]
pub struct Filter {
    bits: [u64; WORDS],
}

impl Default for Filter {
    fn default() -> Self {
        Filter { bits: [0; WORDS] }
    }
}

/// Not against an attack: who sends texts that share a bit is looked for one by one, as all were.
#[inline]
fn bit_of(text: &[u8]) -> usize {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let eight = |eight: &[u8; 8]| u64::from_le_bytes(*eight);
    let four = |four: &[u8; 4]| u64::from(u32::from_le_bytes(*four));
    let mix = |sum: u64, word: u64| (sum.rotate_left(5) ^ word).wrapping_mul(ODD);
    // The last word overlaps the one before it.
    let sum = match (text.last_chunk(), text.first_chunk(), text.last_chunk()) {
        (Some(last), ..) => {
            let (words, _) = text.as_chunks();
            mix(
                words.iter().fold(text.len() as u64, |sum, word| mix(sum, eight(word))),
                eight(last),
            )
        }
        (_, Some(first), Some(last)) => mix(four(first), four(last)),
        _ => text.iter().fold(1, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    (sum.wrapping_mul(ODD) >> (64 - BITS)) as usize
}

impl Filter {
    /// Takes a text down; false when it may have been taken down before.
    #[inline]
    pub fn is_new(&mut self, text: &[u8]) -> bool {
        let bit = bit_of(text);
        let (word, mask) = (&mut self.bits[bit / 64], 1 << (bit % 64));
        let new = *word & mask == 0;
        *word |= mask;
        new
    }
}

/// What a look through a listpack from elsewhere has told.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// Number of elements.
    pub len: usize,
    /// Length of the longest element's text, in bytes.
    pub longest: usize,
    /// Whether every `step`-th element, from the first on, has a text of its own.
    pub distinct: bool,
}

impl Checked {
    /// Checks bytes from elsewhere, all in one pass; `look` sees each element.
    #[inline]
    pub fn of<'b>(
        bytes: &'b [u8],
        step: usize,
        mut look: impl FnMut(Item<'b>),
    ) -> Result<Self, Invalid> {
        let mut filter = Filter::default();
        let mut suspects = SmallVec::<[usize; 8]>::new();
        let (mut index, mut longest) = (0, 0);
        let len = walk(bytes, |at, item| {
            longest = longest.max(item.text_len());
            if index == 0 && !filter.is_new(item.text(&mut itoa::Buffer::new())) {
                suspects.push(at);
            }
            index = if index + 1 == step { 0 } else { index + 1 };
            look(item);
        })?;
        let pack = Pack(bytes);
        let distinct = suspects.iter().all(|&at| {
            let digits = &mut itoa::Buffer::new();
            let same = |(item, _): (Item<'_>, usize)| {
                pack.find(pack.first(), item.text(digits), step) == Some(at)
            };
            pack.at(at).is_some_and(same)
        });
        Ok(Checked { len, longest, distinct })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::value::listpack::{create, push_back};

    proptest! {
        #[test]
        fn it_tells_what_a_set_tells(
            texts in prop::collection::vec("[a-c]{0,3}|[0-9]{1,2}|[a-z]{20}", 0..60),
            step in 1_usize..3,
        ) {
            let mut pack = Vec::new();
            create(&mut pack);
            texts.iter().for_each(|text| push_back(&mut pack, text.as_bytes()));
            let mut seen = HashSet::new();
            let distinct = texts.iter().step_by(step).all(|text| seen.insert(text));
            let mut looked = Vec::new();
            let look = |item: Item<'_>| {
                looked.push(item.text(&mut itoa::Buffer::new()).to_vec());
            };
            let checked = Checked::of(&pack, step, look).unwrap();
            prop_assert_eq!(checked.distinct, distinct);
            prop_assert_eq!(checked.len, texts.len());
            prop_assert_eq!(checked.longest, texts.iter().map(String::len).max().unwrap_or(0));
            prop_assert!(looked.iter().eq(texts.iter().map(String::as_bytes)));
        }
    }

    #[test]
    fn hundreds_of_texts_are_nearly_all_told_from_each_other() {
        for form in ["member:0:", "", "key:00000000", "x"] {
            let mut filter = Filter::default();
            let texts = (0..128).map(|n| format!("{form}{n}"));
            let taken = texts.filter(|text| !filter.is_new(text.as_bytes())).count();
            assert!(taken < 10, "{form}: {taken}");
        }
    }
}
