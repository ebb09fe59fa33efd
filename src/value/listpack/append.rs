//! Adding many elements behind those of a listpack at once, with one change of its head.

use crate::base::number::parse_i64;
use crate::value::listpack::edit::{Out, encode_int, encode_str, put_length};
use crate::value::listpack::{END, HEAD, Pack, UNCOUNTED};

/// Longest text that can spell an integer, in bytes.
const INT_TEXT_MAX: usize = 20;

/// A listpack that is growing at its end; [`Appender::finish`] makes it whole again.
#[derive(Debug)]
pub struct Appender<'a> {
    bytes: &'a mut Vec<u8>,
    added: usize,
}

impl<'a> Appender<'a> {
    /// Opens a listpack; no bytes at all are an empty one.
    pub fn open(bytes: &'a mut Vec<u8>) -> Self {
        if bytes.is_empty() {
            bytes.extend_from_slice(&[0; HEAD]);
        } else {
            bytes.pop();
        }
        Appender { bytes, added: 0 }
    }

    /// Adds an integer.
    #[inline]
    pub fn int(&mut self, n: i64) {
        let from = self.bytes.len();
        encode_int(self.bytes, n);
        self.close(from);
    }

    /// Adds a text: an integer where it is the decimal form of one.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        let int = if text.len() <= INT_TEXT_MAX { parse_i64(text) } else { None };
        let from = self.bytes.len();
        match int {
            Some(n) => encode_int(self.bytes, n),
            None => encode_str(self.bytes, text),
        }
        self.close(from);
    }

    #[inline]
    fn close(&mut self, from: usize) {
        let len = self.bytes.len() - from;
        if len < 128 {
            self.bytes.byte(len as u8)
        } else {
            put_length(self.bytes, len)
        }
        self.added += 1;
    }

    /// Ends the listpack.
    pub fn finish(self) {
        self.bytes.push(END);
        let count = usize::from(u16::from_le_bytes([self.bytes[4], self.bytes[5]])) + self.added;
        let count = u16::try_from(count).unwrap_or(UNCOUNTED);
        settle(self.bytes, count);
    }
}

fn settle(bytes: &mut [u8], count: u16) {
    let len = u32::try_from(bytes.len()).expect("whoever fills a listpack bounds it");
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes[4..HEAD].copy_from_slice(&count.to_le_bytes());
}

/// Puts `n` in the place of the element at `offset`.
pub fn set_int(bytes: &mut Vec<u8>, offset: usize, n: i64) {
    if (0..=127).contains(&n) && bytes[offset] <= 127 {
        bytes[offset] = n as u8;
        return;
    }
    let next = Pack(bytes).skip(offset, 1);
    let mut new = Vec::with_capacity(16);
    encode_int(&mut new, n);
    let len = new.len();
    put_length(&mut new, len);
    bytes.splice(offset..next, new);
    let count = u16::from_le_bytes([bytes[4], bytes[5]]);
    settle(bytes, count);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::listpack::{create, push_back, replace, validate};

    proptest! {
        #[test]
        fn it_writes_what_one_by_one_would(
            texts in prop::collection::vec("[a-z]{0,6}|-?[0-9]{1,19}|[a-z]{60,200}", 0..40),
            cut in 0_usize..40, (at, n) in (any::<prop::sample::Index>(), any::<i64>()),
            shift in 0_u32..64,
        ) {
            let mut one = Vec::new();
            create(&mut one);
            texts.iter().for_each(|text| push_back(&mut one, text.as_bytes()));
            let mut many = Vec::new();
            let (first, second) = texts.split_at(cut.min(texts.len()));
            for part in [first, second] {
                let mut appender = Appender::open(&mut many);
                part.iter().for_each(|text| appender.text(text.as_bytes()));
                appender.finish();
            }
            prop_assert_eq!(&one, &many);
            if texts.is_empty() {
                return Ok(());
            }
            let n = n >> shift;
            let offset = Pack(&one).seek(at.index(texts.len()) as i64).unwrap();
            prop_assert_eq!(Pack(&one).skip(6, at.index(texts.len())), offset);
            replace(&mut one, offset, n.to_string().as_bytes());
            set_int(&mut many, offset, n);
            prop_assert_eq!(&one, &many);
            prop_assert!(validate(&many).is_ok());
        }
    }
}
