//! The ids of a stream's entries: `milliseconds-sequence`, in that order.

use std::fmt;

use crate::base::number::parse_i64;

/// An id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Unix time in milliseconds, as a rule.
    pub ms: u64,
    /// Tells entries of one millisecond apart.
    pub seq: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Longest text that is read as an id, in bytes.
const TEXT_MAX: usize = 127;

/// The text of an id.
#[derive(Clone, Copy, Debug)]
pub struct IdText {
    bytes: [u8; 41],
    len: usize,
}

impl std::ops::Deref for IdText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A number as Redis reads it here: what its own parser does not know is left to C's `strtoull`,
/// which takes spaces in front, a sign and leading zeros.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(n) = parse_i64(text) {
        return u64::try_from(n).ok();
    }
    let spaces = text.iter().take_while(|b| matches!(b, b' ' | 9..=13)).count();
    let (negative, digits) = match &text[spaces..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let n = digits.iter().try_fold(0_u64, |n, &b| {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 { None } else { n.checked_mul(10)?.checked_add(u64::from(digit)) }
    })?;
    Some(if negative { n.wrapping_neg() } else { n })
}

impl Id {
    /// The least; no entry has it.
    pub const MIN: Id = Id { ms: 0, seq: 0 };
    /// The greatest.
    pub const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    /// An id of its parts.
    pub const fn new(ms: u64, seq: u64) -> Id {
        Id { ms, seq }
    }

    /// True of `0-0`, which stands for none.
    pub fn is_zero(self) -> bool {
        self == Id::MIN
    }

    /// The id behind it, if there is one.
    pub fn next(self) -> Option<Id> {
        match self {
            Id::MAX => None,
            Id { ms, seq: u64::MAX } => Some(Id { ms: ms + 1, seq: 0 }),
            Id { ms, seq } => Some(Id { ms, seq: seq + 1 }),
        }
    }

    /// The id in front of it, if there is one.
    pub fn before(self) -> Option<Id> {
        match self {
            Id::MIN => None,
            Id { ms, seq: 0 } => Some(Id { ms: ms - 1, seq: u64::MAX }),
            Id { ms, seq } => Some(Id { ms, seq: seq - 1 }),
        }
    }

    /// Reads `ms-seq`, or `ms` alone with `missing` for its sequence; what follows a NUL is not
    /// looked at.
    pub fn parse(text: &[u8], missing: u64) -> Option<Id> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
        match text.iter().position(|&b| b == b'-') {
            None => Some(Id { ms: number(text)?, seq: missing }),
            Some(dash) => Some(Id { ms: number(&text[..dash])?, seq: number(&text[dash + 1..])? }),
        }
    }

    /// Its text.
    pub fn text(self) -> IdText {
        let mut text = IdText { bytes: [0; 41], len: 0 };
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        for part in [ms.format(self.ms).as_bytes(), b"-", seq.format(self.seq).as_bytes()] {
            text.bytes[text.len..text.len + part.len()].copy_from_slice(part);
            text.len += part.len();
        }
        text
    }

    /// As Redis writes it into files: both numbers big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// What [`Id::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; 16]) -> Id {
        let both = u128::from_be_bytes(bytes);
        Id { ms: (both >> 64) as u64, seq: both as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_neighbours() {
        for (text, id) in [
            ("0-0", Some(Id::MIN)),
            ("5", Some(Id::new(5, 7))),
            ("5-3", Some(Id::new(5, 3))),
            ("18446744073709551615-18446744073709551615", Some(Id::MAX)),
            ("18446744073709551616-0", None),
            ("05-1", Some(Id::new(5, 1))),
            (" +5-1", Some(Id::new(5, 1))),
            ("5--1", None),
            ("5--01", Some(Id::new(5, u64::MAX))),
            ("5-1\0x", Some(Id::new(5, 1))),
            ("5-", None),
            ("-5", None),
            ("", None),
            ("5-1-1", None),
            ("1.5", None),
        ] {
            assert_eq!(Id::parse(text.as_bytes(), 7), id, "{text}");
        }
        for id in [Id::MIN, Id::new(3, u64::MAX), Id::new(u64::MAX, 0), Id::MAX] {
            assert_eq!(Id::parse(&id.text(), 0), Some(id));
            assert_eq!(id.to_string().as_bytes(), &*id.text());
            assert_eq!(Id::from_bytes(id.to_bytes()), id);
            assert_eq!(id.next().map_or(Some(id), Id::before), Some(id));
            assert_eq!(id.before().map_or(Some(id), Id::next), Some(id));
        }
    }
}
