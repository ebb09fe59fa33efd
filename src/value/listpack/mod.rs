//! Listpacks: rows of short strings and integers in one piece of memory, byte for byte as Redis
//! keeps them and writes them into RDB files.
//!
//! # The format
//! ```text
//! total bytes u32 | elements u16 | element … | 0xFF
//! ```
//! Numbers are little-endian. A count of 65,535 means that elements have to be counted. An element
//! is an encoding, its data, and the length of both, to walk backwards by.
//!
//! | first byte | what follows |
//! |---|---|
//! | `0xxxxxxx` | nothing: an integer from 0 to 127 |
//! | `10xxxxxx` | that many bytes of a string, at most 63 |
//! | `110xxxxx` | one byte more: a signed integer of 13 bits |
//! | `1110xxxx` | one byte more, of a length of 12 bits; a string |
//! | `11110000` | a length of 4 bytes; a string |
//! | `11110001` … `11110100` | a signed integer of 2, 3, 4 or 8 bytes |
//!
//! The length behind it takes groups of seven bits, the highest first; all bytes but the first have
//! bit 7 set, so that they can be read from behind.
//!
//! Bytes from elsewhere go through [`validate`] once; everything else takes what it is given for
//! sound. Offsets point at the first byte of an element; the one of the end byte is [`Pack::end`].

mod append;
mod distinct;
mod edit;
mod read;
mod row;
#[cfg(test)]
mod tests;

pub use append::{Appender, set_int};
pub use distinct::{Checked, Filter};
pub use edit::{
    Buffer, create, delete, insert, push_back, push_front, put_short, replace, short_len,
};
pub use read::{Invalid, Item, Iter, Pack, validate, walk};
pub use row::{Row, encoded};

/// Bytes in front of the first element.
const HEAD: usize = 6;
/// The last byte.
const END: u8 = 0xFF;
/// The count that means that elements have to be counted.
const UNCOUNTED: u16 = u16::MAX;
/// Longest listpack that is made here, in bytes: Redis' own bound.
pub const SIZE_MAX: usize = 1 << 30;
