//! The sparse body: runs of registers, read and edited in place.
//!
//! Edits give the very bytes that Redis gives. That fixes what else would be free: a run is split
//! into what is left of it, the new register and the rest; a rest of zeros is written in its short
//! form when it fits; and only in the five runs from the one before the edit on, neighbours of one
//! value are joined, each pair from the left.

use bytes::BytesMut;

use super::{Corrupt, HEADER, REGISTERS, SPARSE_MAX, invalidate};

/// Longest run of zeros in one byte.
const ZERO_MAX: usize = 64;
/// Longest run of a value.
const VALUE_RUN_MAX: usize = 4;
/// Greatest value of a run.
pub(super) const VALUE_MAX: u8 = 32;
/// Runs that are looked at for neighbours to join.
const JOIN_SCAN: usize = 5;

/// A run of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// How many.
    registers: usize,
    /// Their value.
    value: u8,
    /// Bytes it is written in.
    width: usize,
}

impl Run {
    /// The run that begins `bytes`. A second byte that is missing counts as 0, as Redis reads the
    /// end of the string there.
    fn first(bytes: &[u8]) -> Option<Run> {
        let (&first, rest) = bytes.split_first()?;
        let low = usize::from(first & 63);
        Some(match first >> 6 {
            0 => Run { registers: low + 1, value: 0, width: 1 },
            1 => {
                let second = usize::from(rest.first().copied().unwrap_or(0));
                Run { registers: (low << 8 | second) + 1, value: 0, width: 2 }
            }
            _ => Run { registers: low % 4 + 1, value: (first >> 2 & 31) + 1, width: 1 },
        })
    }
}

/// A run of a value, written.
fn value_run(value: u8, registers: usize) -> u8 {
    0x80 | (value - 1) << 2 | (registers - 1) as u8
}

/// At most five bytes that take a run's place.
#[derive(Default)]
struct Written {
    bytes: [u8; 5],
    len: usize,
}

impl Written {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn zeros(&mut self, registers: usize) {
        let n = registers.wrapping_sub(1);
        match registers {
            0 => {}
            1..=ZERO_MAX => self.push(n as u8),
            _ => {
                self.push(0x40 | (n >> 8) as u8);
                self.push(n as u8);
            }
        }
    }

    fn values(&mut self, value: u8, registers: usize) {
        if registers > 0 {
            self.push(value_run(value, registers));
        }
    }
}

/// Tells first register, length and value of each run; they must cover all registers and no more.
pub(super) fn each(body: &[u8], mut told: impl FnMut(usize, usize, u8)) -> Result<(), Corrupt> {
    let mut rest = body;
    let mut at = 0;
    while let Some(run) = Run::first(rest) {
        if at + run.registers > REGISTERS {
            return Err(Corrupt);
        }
        told(at, run.registers, run.value);
        at += run.registers;
        rest = rest.get(run.width..).unwrap_or_default();
    }
    if at == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

/// The runs as text: `z:n` and `Z:n` for n zeros in one and two bytes, `v:x,n` for n times x. Only
/// the length is judged.
pub fn decode(bytes: &[u8]) -> Result<String, Corrupt> {
    use std::fmt::Write;
    let mut rest = bytes.get(HEADER..).ok_or(Corrupt)?;
    if rest.len() > SPARSE_MAX {
        return Err(Corrupt);
    }
    let mut text = String::new();
    while let Some(Run { registers, value, width }) = Run::first(rest) {
        let space = if text.is_empty() { "" } else { " " };
        let written = match (value, width) {
            (0, 1) => write!(text, "{space}z:{registers}"),
            (0, _) => write!(text, "{space}Z:{registers}"),
            _ => write!(text, "{space}v:{value},{registers}"),
        };
        debug_assert!(written.is_ok(), "a string takes any text");
        rest = rest.get(width..).unwrap_or_default();
    }
    Ok(text)
}

/// Where to begin to look for a register: a run with its first register, and the run before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    at: usize,
    first: usize,
    before: Option<usize>,
}

impl Default for Cursor {
    fn default() -> Self {
        Cursor { at: HEADER, first: 0, before: None }
    }
}

/// What came of raising a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was as high before.
    Kept,
    /// It is higher now.
    Raised,
    /// The string would get too long, or the value is too great: nothing was done.
    TooLarge,
}

/// Raises register `index` to at least `count`. The cursor must not be behind the register, and
/// is moved to where one may go on with greater indices.
pub(super) fn raise(
    bytes: &mut BytesMut,
    index: usize,
    count: u8,
    max_len: usize,
    cursor: &mut Cursor,
) -> Result<Outcome, Corrupt> {
    if count > VALUE_MAX {
        return Ok(Outcome::TooLarge);
    }
    if bytes.len() > HEADER + SPARSE_MAX {
        return Err(Corrupt);
    }
    // The run of the register, the one before it, and the cursor for greater indices: at the run
    // before, which an edit may join with what follows.
    let Cursor { mut at, mut first, mut before } = *cursor;
    let run = loop {
        let run = Run::first(bytes.get(at..).ok_or(Corrupt)?).ok_or(Corrupt)?;
        if index < first + run.registers {
            break run;
        }
        *cursor = Cursor { at, first, before };
        before = Some(at);
        at += run.width;
        first += run.registers;
    };
    if run.value >= count {
        return Ok(Outcome::Kept);
    }
    let mut written = Written::default();
    let behind = first + run.registers - 1 - index;
    if run.value == 0 {
        written.zeros(index - first);
        written.values(count, 1);
        written.zeros(behind);
    } else {
        written.values(run.value, index - first);
        written.values(count, 1);
        written.values(run.value, behind);
    }
    let new = &written.bytes[..written.len];
    if new.len() > run.width && bytes.len() + new.len() - run.width > max_len {
        return Ok(Outcome::TooLarge);
    }
    match at + run.width > bytes.len() {
        true => replace_half(bytes, at, run.width, new),
        false => replace(bytes, at, run.width, new),
    }
    join(bytes, before.unwrap_or(HEADER));
    if cursor.at == at && before.is_some() {
        // What the cursor is at may have been joined with the run before.
        *cursor = Cursor::default();
    }
    invalidate(bytes);
    Ok(Outcome::Raised)
}

/// Puts `new` in the place of the `old` bytes at `at`.
fn replace(bytes: &mut BytesMut, at: usize, old: usize, new: &[u8]) {
    let len = bytes.len();
    if new.len() > old {
        bytes.resize(len + new.len() - old, 0);
    }
    if new.len() != old {
        bytes.copy_within(at + old..len, at + new.len());
    }
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes.truncate(len + new.len() - old);
}

/// [`replace`] of a last run whose second byte is missing, as in a string that was edited by other
/// means: what takes its place is short of a byte as well, as in Redis.
fn replace_half(bytes: &mut BytesMut, at: usize, old: usize, new: &[u8]) {
    let len = bytes.len() + new.len() - old;
    bytes.truncate(at);
    bytes.extend_from_slice(new);
    bytes.truncate(len);
}

/// Joins neighbours of one value, from the run at `at` on.
fn join(bytes: &mut BytesMut, mut at: usize) {
    for _ in 0..JOIN_SCAN {
        let Some(run) = bytes.get(at..).and_then(Run::first) else { return };
        let next = bytes.get(at + 1..).and_then(Run::first);
        match next {
            Some(next)
                if run.value > 0
                    && run.value == next.value
                    && run.registers + next.registers <= VALUE_RUN_MAX =>
            {
                let joined = value_run(run.value, run.registers + next.registers);
                replace(bytes, at, 2, &[joined]);
            }
            _ => at += run.width,
        }
    }
}
