//! HyperLogLog: the number of distinct elements seen, in 16,384 registers of 6 bits, byte for byte
//! as Redis keeps them in a string.
//!
//! # The bytes
//! ```text
//! 0   "HYLL"
//! 4   encoding u8: 0 dense, 1 sparse | 3 bytes without meaning
//! 8   cached cardinality u64, little endian; its highest bit says that it is out of date
//! 16  dense: 12,288 bytes, register n at bit 6 n, counted from the lowest bit of the first byte
//!     sparse: runs of registers, together 16,384
//!       00nnnnnn            n + 1 registers are 0
//!       01nnnnnn nnnnnnnn   n + 1 registers are 0
//!       1vvvvvnn            n + 1 registers are v + 1
//! ```
//! An element's hash names a register by its low 14 bits; the register keeps the longest run of
//! zeros, plus one, that the other 50 bits of any of its elements began with.
//!
//! Strings come from clients. [`check`] looks at the header alone, as Redis does, so what follows
//! may be anything: every function here takes any bytes and says [`Corrupt`] where they make no
//! sense. Where Redis goes on in a string that a run reaches out of, we do not.

use bytes::BytesMut;

mod estimate;
mod sparse;

pub use estimate::cardinality;
pub use sparse::decode;

/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that name the register.
const INDEX_BITS: u32 = 14;
/// Bits of a hash that are looked at for a run of zeros.
const RUN_BITS: u32 = 64 - INDEX_BITS;
/// Length of the header, in bytes.
pub const HEADER: usize = 16;
/// Length of a dense string, in bytes.
pub const DENSE_LEN: usize = HEADER + REGISTERS * 6 / 8;
/// Where the cached cardinality stands.
pub const CACHED_AT: usize = 8;
/// Longest body of a sparse string that can make sense, in bytes: two for each register.
const SPARSE_MAX: usize = 2 * REGISTERS;
/// The seed that Redis hashes with.
const SEED: u64 = 0xadc8_3b19;

/// What stands behind the header makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// The string is no HyperLogLog at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOne;

/// How registers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Six bits for each.
    Dense,
    /// As runs.
    Sparse,
}

impl Encoding {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        }
    }
}

/// All registers, a byte for each.
pub type Registers = [u8; REGISTERS];

/// Looks at the header and, of a dense one, at the length.
pub fn check(bytes: &[u8]) -> Result<Encoding, NotOne> {
    match bytes {
        [b'H', b'Y', b'L', b'L', 0, ..] if bytes.len() == DENSE_LEN => Ok(Encoding::Dense),
        [b'H', b'Y', b'L', b'L', 1, ..] if bytes.len() >= HEADER => Ok(Encoding::Sparse),
        _ => Err(NotOne),
    }
}

/// The string of one that has seen nothing.
pub fn empty() -> [u8; HEADER + 2] {
    *b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff"
}

/// The cached cardinality, unless it is out of date.
pub fn cached(bytes: &[u8]) -> Option<u64> {
    let cache = bytes.get(CACHED_AT..HEADER)?;
    let value = u64::from_le_bytes(cache.try_into().ok()?);
    (value >> 63 == 0).then_some(value)
}

/// Stores the cardinality.
pub fn set_cached(bytes: &mut [u8], value: u64) {
    if let Some(cache) = bytes.get_mut(CACHED_AT..HEADER) {
        cache.copy_from_slice(&value.to_le_bytes());
    }
}

/// Says that the cached cardinality is out of date.
pub fn invalidate(bytes: &mut [u8]) {
    if let Some(last) = bytes.get_mut(HEADER - 1) {
        *last |= 0x80;
    }
}

/// MurmurHash64A, reading little-endian words.
fn hash(element: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut h = SEED ^ (element.len() as u64).wrapping_mul(M);
    let (words, rest) = element.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = (h ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        h = (h ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    h = (h ^ (h >> R)).wrapping_mul(M);
    h ^ (h >> R)
}

/// The register of an element and what it must be at least.
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = hash(element);
    let index = hash as usize % REGISTERS;
    // A bit above all others ends the longest run there is.
    let run = (hash >> INDEX_BITS | 1 << RUN_BITS).trailing_zeros() + 1;
    (index, run as u8)
}

/// Adds an element; true when a register was raised. A sparse string that would grow beyond
/// `sparse_max` bytes becomes dense.
pub fn add(bytes: &mut BytesMut, element: &[u8], sparse_max: usize) -> Result<bool, Corrupt> {
    let (index, count) = place(element);
    raise(bytes, index, count, sparse_max, &mut sparse::Cursor::default())
}

/// Raises register `index`, which is none behind that of the cursor, to at least `count`.
fn raise(
    bytes: &mut BytesMut,
    index: usize,
    count: u8,
    sparse_max: usize,
    cursor: &mut sparse::Cursor,
) -> Result<bool, Corrupt> {
    if encoding(bytes)? == Encoding::Sparse {
        match sparse::raise(bytes, index, count, sparse_max, cursor)? {
            sparse::Outcome::Kept => return Ok(false),
            sparse::Outcome::Raised => return Ok(true),
            sparse::Outcome::TooLarge => to_dense(bytes)?,
        };
    }
    let registers = bytes.get_mut(HEADER..DENSE_LEN).ok_or(Corrupt)?;
    let raised = dense_get(registers, index) < count;
    if raised {
        dense_set(registers, index, count);
    }
    Ok(raised)
}

/// The encoding, once more, where the header has been looked at before.
fn encoding(bytes: &[u8]) -> Result<Encoding, Corrupt> {
    check(bytes).map_err(|NotOne| Corrupt)
}

fn dense_get(registers: &[u8], index: usize) -> u8 {
    let at = index * 6;
    let byte = |at: usize| u16::from(registers.get(at).copied().unwrap_or(0));
    let pair = byte(at / 8) | byte(at / 8 + 1) << 8;
    (pair >> (at % 8)) as u8 & 63
}

fn dense_set(registers: &mut [u8], index: usize, value: u8) {
    let at = index * 6;
    let shift = at % 8;
    let (mask, value) = (63_u16 << shift, u16::from(value & 63) << shift);
    for (byte, (mask, value)) in registers
        .iter_mut()
        .skip(at / 8)
        .zip([(mask as u8, value as u8), ((mask >> 8) as u8, (value >> 8) as u8)])
    {
        *byte = *byte & !mask | value;
    }
}

/// Tells every register of a dense body, in order.
fn dense_each(body: &[u8], mut told: impl FnMut(usize, u8)) {
    let (groups, _) = body.as_chunks::<3>();
    for (group, &[a, b, c]) in groups.iter().enumerate() {
        let at = group * 4;
        told(at, a & 63);
        told(at + 1, (a >> 6 | b << 2) & 63);
        told(at + 2, (b >> 4 | c << 4) & 63);
        told(at + 3, c >> 2);
    }
}

/// Makes a string dense; true when it was sparse. Header and cached cardinality stay.
pub fn to_dense(bytes: &mut BytesMut) -> Result<bool, Corrupt> {
    if encoding(bytes)? == Encoding::Dense {
        return Ok(false);
    }
    let mut dense = BytesMut::zeroed(DENSE_LEN);
    let (header, body) = bytes.split_at(HEADER);
    let (new_header, registers) = dense.split_at_mut(HEADER);
    new_header.copy_from_slice(header);
    new_header[4] = 0;
    sparse::each(body, |start, run, value| {
        if value > 0 {
            (start..start + run).for_each(|index| dense_set(registers, index, value));
        }
    })?;
    *bytes = dense;
    Ok(true)
}

/// The registers of a string, of any encoding.
pub fn registers(bytes: &[u8]) -> Result<Box<Registers>, Corrupt> {
    let mut all = Box::new([0; REGISTERS]);
    merge(bytes, &mut all)?;
    Ok(all)
}

/// Raises each of `greatest` to the register of the string.
pub fn merge(bytes: &[u8], greatest: &mut Registers) -> Result<(), Corrupt> {
    let body = bytes.get(HEADER..).ok_or(Corrupt)?;
    match encoding(bytes)? {
        Encoding::Dense => dense_each(body, |index, value| {
            if let Some(old) = greatest.get_mut(index) {
                *old = value.max(*old);
            }
        }),
        Encoding::Sparse => sparse::each(body, |start, run, value| {
            if value > 0 {
                greatest[start..start + run].iter_mut().for_each(|old| *old = value.max(*old));
            }
        })?,
    }
    Ok(())
}

/// Raises the registers of a string to `greatest`.
pub fn raise_all(
    bytes: &mut BytesMut,
    greatest: &Registers,
    sparse_max: usize,
) -> Result<(), Corrupt> {
    let mut cursor = sparse::Cursor::default();
    for (index, &value) in greatest.iter().enumerate().filter(|(_, value)| **value > 0) {
        raise(bytes, index, value, sparse_max, &mut cursor)?;
    }
    Ok(())
}

/// The cardinality that a string's registers tell of, the cached one not looked at.
pub fn count(bytes: &[u8]) -> Result<u64, Corrupt> {
    let body = bytes.get(HEADER..).ok_or(Corrupt)?;
    let mut histogram = [0_u32; 64];
    match encoding(bytes)? {
        Encoding::Dense => dense_each(body, |_, value| histogram[usize::from(value)] += 1),
        Encoding::Sparse => {
            sparse::each(body, |_, run, value| histogram[usize::from(value)] += run as u32)?;
        }
    }
    Ok(estimate::of_histogram(&histogram))
}

/// Tries registers and estimates; the error says what went wrong.
pub fn self_test() -> Result<(), String> {
    let mut bytes = BytesMut::from(&empty()[..]);
    let mut plain = Box::new([0_u8; REGISTERS]);
    // The usual error of an estimate is 1.04 / sqrt(registers); six times that never happens.
    let tolerance = 6.0 * 1.04 / (REGISTERS as f64).sqrt();
    let mut checkpoint = 1;
    for n in 1..=100_000_u64 {
        let element = n.to_le_bytes();
        let (index, value) = place(&element);
        plain[index] = value.max(plain[index]);
        add(&mut bytes, &element, 3000).map_err(|Corrupt| format!("corrupt at {n}"))?;
        if n == checkpoint {
            checkpoint *= 10;
            if registers(&bytes).as_deref() != Ok(&*plain) {
                return Err(format!("registers are not what they should be at {n}"));
            }
            let told = count(&bytes).map_err(|Corrupt| format!("corrupt at {n}"))?;
            if told.abs_diff(n) as f64 > (tolerance * n as f64).ceil() {
                return Err(format!("estimated {told} for {n}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
