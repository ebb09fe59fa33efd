//! Writing RDB: bytes are appended to a buffer of the caller's, whose business it is where they
//! go. The layout stands in [`super::format`].
//!
//! An [`Encoder`] writes one version. What that version cannot hold is refused before anything of
//! it is written ([`TooNew`]), so whoever makes a file finds out the version it takes first.
//! Versions 6 (Redis 2.6) to 12 (7.4) are written; below 10 every collection is written element by
//! element, which all readers know.
//!
//! A value is written whole ([`Encoder::entry`], [`Encoder::value`]) or, when it is large, in
//! slices while it goes on changing ([`Walk`]).

mod elements;
mod streams;
#[cfg(test)]
mod tests;
mod values;
mod walk;

use std::fmt;
use std::ops::Range;

pub use elements::TimeBase;
pub use walk::Walk;

use crate::base::crc::crc64_redis;
use crate::base::lzf::{self, Compressor, Run};
use crate::base::number::parse_i64;
use crate::base::version::REDIS;
use crate::persist::rdb::format::*;
use crate::value::recency::Usage;

/// The oldest version that is written (Redis 2.6).
pub const VERSION_MIN: u32 = 6;
/// The version that is written unless something else is asked for (Redis 7.0).
pub const VERSION_DEFAULT: u32 = 10;
/// The first version that can hold times of a hash's fields (Redis 7.4).
pub const VERSION_FIELD_TIMES: u32 = 12;
/// The first version with AUX and RESIZEDB (Redis 3.2).
pub const VERSION_AUX: u32 = 7;
/// The first with scores as doubles (Redis 4.0).
const VERSION_DOUBLES: u32 = 8;
/// The first with streams, IDLE and FREQ (Redis 5.0).
const VERSION_STREAMS: u32 = 9;
/// The first with listpacks, functions and streams that count what was added (Redis 7.0).
const VERSION_LISTPACKS: u32 = 10;
/// The first with sets in listpacks, and times of activity of consumers (Redis 7.2).
const VERSION_PACKED_SETS: u32 = 11;

/// Longest text that may be the decimal form of an integer of 32 bits.
const INT_TEXT_MAX: usize = 11;
/// Texts up to this length are not compressed.
const SHORT_TEXT: usize = 20;
/// Texts longer than this are not compressed, in bytes: the compressed form has to be held until it
/// is known how long it is.
const COMPRESSED_MAX: usize = 32 << 20;
/// So much of a long text has to have become shorter for the rest to be tried, in bytes.
const PROBE: usize = 1 << 20;
/// What compression has to gain, in bytes.
const GAIN: usize = 4;

/// Something that the version being written cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooNew {
    /// What it is.
    pub what: &'static str,
    /// The first version that can hold it.
    pub since: u32,
}

impl fmt::Display for TooNew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be written into an RDB file below version {}", self.what, self.since)
    }
}

impl std::error::Error for TooNew {}

/// Writes what an RDB file is made of. One serves for any number of files of its version.
#[derive(Debug)]
pub struct Encoder {
    version: u32,
    compressor: Option<Compressor>,
    /// A text in its compressed form.
    packed: Vec<u8>,
    /// A listpack in the making.
    scratch: Vec<u8>,
    /// Of the next key.
    usage: Usage,
}

/// Appends a length.
#[inline]
pub fn put_length(out: &mut Vec<u8>, len: u64) {
    match len {
        0..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend_from_slice(&(0x4000 | len as u16).to_be_bytes()),
        0x4000..=0xFFFF_FFFF => {
            let mut bytes = [0x80; 5];
            bytes[1..].copy_from_slice(&(len as u32).to_be_bytes());
            out.extend_from_slice(&bytes);
        }
        _ => {
            let mut bytes = [0x81; 9];
            bytes[1..].copy_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends an integer in its encoded form.
#[inline]
fn put_int(out: &mut Vec<u8>, n: i32) {
    if let Ok(n) = i8::try_from(n) {
        out.extend_from_slice(&[0xC0 | ENC_INT8, n as u8]);
    } else if let Ok(n) = i16::try_from(n) {
        let [low, high] = n.to_le_bytes();
        out.extend_from_slice(&[0xC0 | ENC_INT16, low, high]);
    } else {
        let mut bytes = [0xC0 | ENC_INT32; 5];
        bytes[1..].copy_from_slice(&n.to_le_bytes());
        out.extend_from_slice(&bytes);
    }
}

impl Encoder {
    /// An encoder of `version`, which is between [`VERSION_MIN`] and [`VERSION_MAX`] or is made so;
    /// with `compress`, long texts are compressed where that gains something.
    pub fn new(version: u32, compress: bool) -> Encoder {
        Encoder {
            version: version.clamp(VERSION_MIN, VERSION_MAX),
            compressor: compress.then(Compressor::default),
            packed: Vec::new(),
            scratch: Vec::new(),
            usage: Usage::default(),
        }
    }

    /// The version that is written.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Goes on in another version, as one that a single value takes.
    pub fn set_version(&mut self, version: u32) {
        self.version = version.clamp(VERSION_MIN, VERSION_MAX);
    }

    /// What a file begins with.
    pub fn header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(format!("{:04}", self.version).as_bytes());
    }

    /// A pair of strings about the file; nothing in versions that know none.
    pub fn aux(&mut self, out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        if self.version >= VERSION_AUX {
            out.push(OP_AUX);
            self.string(out, key);
            self.string(out, value);
        }
    }

    /// The pairs that every file of Redis begins with: at what time (Unix seconds), by how much
    /// used memory (bytes), and whether it is the base of an append-only file.
    pub fn about(&mut self, out: &mut Vec<u8>, seconds: i64, used_memory: u64, is_base: bool) {
        let mut digits = itoa::Buffer::new();
        self.aux(out, b"redis-ver", REDIS.as_bytes());
        self.aux(out, b"redis-bits", b"64");
        self.aux(out, b"ctime", digits.format(seconds).as_bytes());
        self.aux(out, b"used-mem", digits.format(used_memory).as_bytes());
        let base: &[u8] = if is_base { b"1" } else { b"0" };
        let key: &[u8] =
            if self.version >= VERSION_LISTPACKS { b"aof-base" } else { b"aof-preamble" };
        self.aux(out, key, base);
    }

    /// Of which history this is the data, and how far, as files of Redis say it.
    pub fn history(&mut self, out: &mut Vec<u8>, id: &str, offset: u64) {
        let mut digits = itoa::Buffer::new();
        // Whoever goes on with the stream selects a database first.
        self.aux(out, b"repl-stream-db", b"0");
        self.aux(out, b"repl-id", id.as_bytes());
        self.aux(out, b"repl-offset", digits.format(offset).as_bytes());
    }

    /// The database of what follows.
    pub fn select(&self, out: &mut Vec<u8>, db: usize) {
        out.push(OP_SELECTDB);
        put_length(out, db as u64);
    }

    /// A hint: so many keys are to come in this database, so many with an expiry.
    pub fn sizes(&self, out: &mut Vec<u8>, keys: u64, expires: u64) {
        if self.version >= VERSION_AUX {
            out.push(OP_RESIZEDB);
            put_length(out, keys);
            put_length(out, expires);
        }
    }

    /// The source of a library of functions.
    pub fn function(&mut self, out: &mut Vec<u8>, source: &[u8]) -> Result<(), TooNew> {
        self.need(VERSION_LISTPACKS, "a library of functions")?;
        out.push(OP_FUNCTION2);
        self.string(out, source);
        Ok(())
    }

    /// What is to be said of the next key's use; nothing in versions that know no such item.
    pub fn set_usage(&mut self, usage: Usage) {
        self.usage = usage;
    }

    /// Appends that.
    fn usage(&mut self, out: &mut Vec<u8>) {
        let usage = std::mem::take(&mut self.usage);
        if self.version < VERSION_STREAMS {
            return;
        }
        if let Some(seconds) = usage.idle_s {
            out.push(OP_IDLE);
            put_length(out, seconds);
        }
        if let Some(counter) = usage.freq {
            out.extend_from_slice(&[OP_FREQ, counter]);
        }
    }

    /// The end of the items; the checksum of all bytes follows, or 0 for none, little-endian.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.push(OP_EOF);
    }

    /// [`Encoder::end`] of a file that is in `out` from its first byte on, and the checksum.
    pub fn end_whole(&self, out: &mut Vec<u8>, checksum: bool) {
        self.end(out);
        let sum = if checksum { crc64_redis(out) } else { 0 };
        out.extend_from_slice(&sum.to_le_bytes());
    }

    fn need(&self, since: u32, what: &'static str) -> Result<(), TooNew> {
        if self.version < since { Err(TooNew { what, since }) } else { Ok(()) }
    }

    /// A string: as an integer or compressed where it can be.
    #[inline]
    pub fn string(&mut self, out: &mut Vec<u8>, text: &[u8]) {
        if text.len() <= INT_TEXT_MAX {
            if let Some(n) = parse_i64(text).and_then(|n| i32::try_from(n).ok()) {
                return put_int(out, n);
            }
        } else if text.len() > SHORT_TEXT && self.squeeze(out, text) {
            return;
        }
        put_length(out, text.len() as u64);
        out.extend_from_slice(text);
    }

    /// A string that is the decimal form of an integer.
    #[inline]
    pub fn int(&mut self, out: &mut Vec<u8>, n: i64) {
        match i32::try_from(n) {
            Ok(n) => put_int(out, n),
            Err(_) => self.string(out, itoa::Buffer::new().format(n).as_bytes()),
        }
    }

    /// A string in its compressed form; false when that does not gain.
    fn squeeze(&mut self, out: &mut Vec<u8>, text: &[u8]) -> bool {
        let Some(compressor) = &mut self.compressor else { return false };
        self.packed.clear();
        let gains = compressor.compress(text, &mut self.packed, text.len() - GAIN);
        if gains {
            put_packed(out, text.len(), &self.packed);
        }
        gains
    }
}

fn put_packed(out: &mut Vec<u8>, len: usize, packed: &[u8]) {
    out.push(0xC0 | ENC_LZF);
    put_length(out, packed.len() as u64);
    put_length(out, len as u64);
    out.extend_from_slice(packed);
}

/// A long string that is written in slices. The compressed form has its length in front, so it is
/// made whole first; where nothing is gained the text itself is copied.
#[derive(Debug)]
pub struct LongText {
    run: Option<Run>,
    packed: Vec<u8>,
    at: usize,
}

impl LongText {
    /// A string of `len` bytes.
    pub fn new(encoder: &mut Encoder, len: usize) -> LongText {
        let compressor = encoder.compressor.as_mut().filter(|_| len <= COMPRESSED_MAX);
        let run = compressor.filter(|_| len > SHORT_TEXT).map(|c| c.begin(len));
        LongText { run, packed: Vec::new(), at: 0 }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.packed.capacity()
    }

    /// Which bytes of the text the next slice of `budget` bytes looks at.
    pub fn window(&self, budget: usize) -> Range<usize> {
        let until = self.at.saturating_add(budget.max(1));
        match &self.run {
            Some(_) => self.at.saturating_sub(lzf::BEHIND)..until.saturating_add(lzf::AHEAD),
            None if self.packed.is_empty() => self.at..until,
            None => 0..0,
        }
    }

    /// Below which no byte of the text will be looked at any more.
    pub fn looked(&self) -> usize {
        match self.run {
            // It may have been in vain.
            Some(_) => 0,
            None if self.packed.is_empty() => self.at,
            None => usize::MAX,
        }
    }

    /// Goes on by about `budget` bytes of `text`, which is the same in every call; true when all
    /// is in `out`.
    pub fn slice(
        &mut self,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
        text: &[u8],
        budget: usize,
    ) -> bool {
        if let (Some(run), Some(compressor)) = (&mut self.run, &mut encoder.compressor) {
            let until = text.len().min(self.at + budget.max(1));
            compressor.advance(run, text, until, &mut self.packed);
            self.at = until;
            // As soon as more has become of it than there was, the rest is not looked at; nor when
            // its beginning promises nothing.
            let promises = self.at < PROBE || self.packed.len() < self.at;
            let vain = self.packed.len() > text.len() - GAIN || !promises;
            if until < text.len() && !vain {
                return false;
            }
            self.run = None;
            self.at = 0;
            if vain {
                self.packed = Vec::new();
            } else {
                out.push(0xC0 | ENC_LZF);
                put_length(out, self.packed.len() as u64);
                put_length(out, text.len() as u64);
            }
            return false;
        }
        let from: &[u8] = if self.packed.is_empty() { text } else { &self.packed };
        if self.at == 0 && self.packed.is_empty() {
            put_length(out, text.len() as u64);
        }
        let until = from.len().min(self.at + budget.max(1));
        out.extend_from_slice(&from[self.at..until]);
        self.at = until;
        until == from.len()
    }
}
