//! The bytes of a log file: frames, and the marks inside them. Pure: knows no disk and no keyspace.
//!
//! # Layout
//!
//! A log file is a run of frames, with [filler](super::filler) between or behind them where the
//! file was written ahead:
//!
//! ```text
//! file    = *( frame / filler )
//! frame   = head payload
//! head    = "#R1 " pos " " len " " durable " " written " " prev " " sum CRLF
//! payload = *( mark / room / note / command )  ; exactly `len` bytes
//! command = RESP array of bulk strings, as Redis writes it
//! mark    = "#M " id " " set *( " " at ) CRLF *( "#m" 1*( " " at ) CRLF )
//!         / "#D" 1*( " " at ) CRLF *( "#d" 1*( " " at ) CRLF )
//! room    = "#S " bytes CRLF
//! note    = "#" any other text LF               ; "#TS:<seconds>" keeps Redis' form
//! at      = shard ":" position
//! ```
//!
//! A *tail* part ([`super::manifest`]) is made of payload, with a line in front of what each frame
//! had, or was to have:
//!
//! ```text
//! tail    = [ command ] *( border payload )    ; a SELECT, where it does not begin in database 0
//! border  = "#B " at CRLF                      ; whose log, and the position of what follows
//! ```
//!
//! Every number is lower-case hexadecimal without leading zeros. A `#` line has at most 1,023 bytes
//! with its line end, which is what stock Redis skips; so Redis loads such a file as it stands.
//!
//! * `pos` is the *position* of the payload's first byte. A position counts the payload bytes of
//!   one shard's log since it began, across files; head lines do not count.
//! * `durable` and `written` are the positions up to which the log was known to be on the medium,
//!   and in the page cache, when the frame was made.
//! * `prev` is the `sum` of the frame in front of it in the same file; the file's secret seed (from
//!   the manifest) for the first.
//! * `sum` is CRC-64/XZ over the seed, the head line up to and with the space before `sum`, and the
//!   payload.
//! * `#M` stands in front of the commands of one part of a multi-shard entry: its id, the set of
//!   shards that could write (bit `s` = shard `s`), and for a lease each shard that was only read
//!   with the position its log must reach. A part is never split over frames, a mark never stands
//!   inside MULTI and EXEC, and a log may be cut in front of a mark, never behind it.
//! * `#D` says that what follows had seen these shards' logs up to these positions.
//! * `#S` says that the stream that replicas are sent has so many bytes here which are no command
//!   of this log ([`super::stream`]).
//!
//! # When a frame is valid
//!
//! At a frame border in file `f`, behind any filler there: the head parses, `pos` is where the
//! frame before ended (the file's start for the first), `prev` is that frame's `sum` (the seed for
//! the first), the payload is there whole, `sum` is right, `durable <= written <= pos`. The first
//! border where that fails, short of the end of the file, is a *gap* at position `g`. The seed is
//! drawn per file, so bytes of an older file that come to lie here (recycled blocks, a restored
//! backup) are never valid.
//!
//! # Torn or corrupt
//!
//! A crash may leave any subset of the writes that were in flight, so "a valid frame stands behind
//! the gap" proves nothing. What proves damage is a valid frame anywhere behind it that was made
//! when the gap's bytes were already *durable* (`durable > g`): they had been on the medium, and a
//! power cut cannot take them back. While the machine has not been rebooted, the page cache still
//! holds what was *written*, so `written > g` proves it as well, unless the kernel has dropped what
//! it could not write back ([`super::dropped`]). The same words about this shard
//! in the logs of others count alike (see [`super::cut`]). So does a valid frame that follows from
//! the border itself (`pos` and `prev`) and knew all in front of it durable, or written: then
//! filler has changed that was there. With no such proof the gap is a torn
//! tail: nothing of it was ever acknowledged as kept, and it is cut.
//!
//! The search for such frames looks for `#R1 ` at any byte behind the gap, since lengths cannot be
//! trusted there; payload text that imitates a frame does not know the seed.
//!
//! A `#R` line of another version at a frame border is neither: it is refused by name.

use crate::base::crc::crc64_frame;
use crate::base::limits::{ANNOTATION_MAX, SHARDS_MAX};

/// The format version written in every head line.
pub const VERSION: u64 = 1;
/// How every frame starts.
pub const HEAD_START: &[u8; 4] = b"#R1 ";
/// Longest head line, line end included, in bytes: the start, six numbers with a space or line end.
pub const HEAD_MAX: usize = 4 + 6 * 17 + 1;
/// Longest payload a frame may have, in bytes: more than memory can hold. What gathers while a
/// write is in flight, or one transaction of COPYs, exceeds any bound that a single value suggests,
/// and a part is never split; readers go through a payload in pieces.
pub const PAYLOAD_MAX: u64 = 1 << 44;

const _: () = assert!(HEAD_MAX < ANNOTATION_MAX);
/// Longest ` <shard>:<position>`: a space, two digits, a colon, sixteen digits.
const AT_MAX: usize = 1 + 2 + 1 + 16;

/// A shard and a position in its log.
pub type At = (u8, u64);

/// What a head line says, its own checksum apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Position of the payload's first byte.
    pub pos: u64,
    /// Length of the payload in bytes.
    pub len: u64,
    /// Position known durable when the frame was made.
    pub durable: u64,
    /// Position known written when the frame was made.
    pub written: u64,
    /// Checksum of the frame before it in this file; the file's seed for the first.
    pub prev: u64,
}

impl FrameHead {
    /// Appends the head line for `payload` to `out` (at most [`HEAD_MAX`] bytes) and gives the
    /// frame's checksum, which is the next frame's `prev`.
    pub fn encode(&self, out: &mut Vec<u8>, seed: u64, payload: &[u8]) -> u64 {
        assert_eq!(self.len, payload.len() as u64, "head and payload of one frame");
        assert!(self.len <= PAYLOAD_MAX);
        assert!(self.durable <= self.written && self.written <= self.pos);
        let start = out.len();
        out.extend_from_slice(HEAD_START);
        for number in [self.pos, self.len, self.durable, self.written, self.prev] {
            write_hex(out, number);
            out.push(b' ');
        }
        let sum = crc64_frame(seed, &[&out[start..], payload]);
        write_hex(out, sum);
        out.extend_from_slice(b"\r\n");
        sum
    }
}

/// A head line that parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedHead {
    /// What it says.
    pub head: FrameHead,
    /// The frame's own checksum, not yet verified.
    pub sum: u64,
    /// Bytes of the line the checksum covers.
    pub covered: usize,
    /// Length of the whole line in bytes.
    pub line: usize,
}

/// Why bytes at a frame border are no head line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// They are a frame of another version: refuse, never cut.
    Version(u64),
    /// They are no frame, or not all of a head line is there.
    Gap,
}

/// Parses the head line that `bytes` starts with; hand in at least [`HEAD_MAX`] bytes unless the
/// file ends sooner.
pub fn parse_head(bytes: &[u8]) -> Result<ParsedHead, HeadError> {
    let end = bytes.iter().take(HEAD_MAX).position(|&b| b == b'\n').ok_or(HeadError::Gap)?;
    let text = bytes[..end].strip_prefix(b"#R").ok_or(HeadError::Gap)?;
    let text = text.strip_suffix(b"\r").ok_or(HeadError::Gap)?;
    let mut words = text.split(|&b| b == b' ');
    let mut number = || words.next().and_then(parse_hex).ok_or(HeadError::Gap);
    let version = number()?;
    if version != VERSION {
        return Err(HeadError::Version(version));
    }
    let head = FrameHead {
        pos: number()?,
        len: number()?,
        durable: number()?,
        written: number()?,
        prev: number()?,
    };
    let sum = number()?;
    let last = bytes[..end].iter().rposition(|&b| b == b' ').ok_or(HeadError::Gap)?;
    if words.next().is_some()
        || head.len > PAYLOAD_MAX
        || head.pos.checked_add(head.len).is_none()
        || head.durable > head.written
        || head.written > head.pos
    {
        return Err(HeadError::Gap);
    }
    Ok(ParsedHead { head, sum, covered: last + 1, line: end + 1 })
}

/// What a `#` line inside a payload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// In front of one part of a multi-shard entry.
    Entry {
        /// The entry's id; the ids of one shard's log ascend.
        id: u64,
        /// The shards that could write, bit `s` for shard `s`.
        participants: u64,
        /// Shards that were only read, with the position their log must reach.
        readers: Vec<At>,
    },
    /// What follows had seen these shards up to there.
    Seen(Vec<At>),
}

/// A mark line that cannot be read though its frame's checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMark;

/// Appends the mark of an entry's part: at most [`ANNOTATION_MAX`] bytes per line.
pub fn write_entry_mark(out: &mut Vec<u8>, id: u64, participants: u64, readers: &[At]) {
    let start = out.len();
    out.extend_from_slice(b"#M ");
    write_hex(out, id);
    out.push(b' ');
    write_hex(out, participants);
    write_ats(out, start, b"#m", readers);
}

/// Appends a causality mark; nothing when `seen` is empty.
pub fn write_seen_mark(out: &mut Vec<u8>, seen: &[At]) {
    if seen.is_empty() {
        return;
    }
    let start = out.len();
    out.extend_from_slice(b"#D");
    write_ats(out, start, b"#d", seen);
}

/// Appends positions to the line that began at `start`, going on in further lines when it is full.
fn write_ats(out: &mut Vec<u8>, mut start: usize, further: &[u8; 2], ats: &[At]) {
    for &(shard, pos) in ats {
        assert!(usize::from(shard) < SHARDS_MAX);
        if out.len() - start + AT_MAX + 2 > ANNOTATION_MAX {
            out.extend_from_slice(b"\r\n");
            start = out.len();
            out.extend_from_slice(further);
        }
        out.push(b' ');
        write_hex(out, u64::from(shard));
        out.push(b':');
        write_hex(out, pos);
    }
    out.extend_from_slice(b"\r\n");
}

/// Reads the first line of a mark; `None` for any other `#` line.
pub fn parse_mark(line: &[u8]) -> Result<Option<Mark>, BadMark> {
    let Some(kind) = line.get(..2) else { return Ok(None) };
    match kind {
        b"#M" if line.get(2) == Some(&b' ') => {
            let mut words = mark_words(line)?;
            let mut number = || words.next().and_then(parse_hex).ok_or(BadMark);
            let (id, participants) = (number()?, number()?);
            let readers = words.map(parse_at).collect::<Result<Vec<_>, _>>()?;
            Ok(Some(Mark::Entry { id, participants, readers }))
        }
        b"#D" if line.get(2) == Some(&b' ') => {
            let seen = mark_words(line)?.map(parse_at).collect::<Result<Vec<_>, _>>()?;
            Ok(Some(Mark::Seen(seen)))
        }
        _ => Ok(None),
    }
}

/// Appends the line that tells where a frame began in a tail.
pub fn write_border(out: &mut Vec<u8>, (shard, position): At) {
    out.extend_from_slice(b"#B ");
    write_hex(out, u64::from(shard));
    out.push(b':');
    write_hex(out, position);
    out.extend_from_slice(b"\r\n");
}

/// What such a line tells; `None` for any other line.
pub fn parse_border(line: &[u8]) -> Option<At> {
    parse_at(line.strip_prefix(b"#B ")?.strip_suffix(b"\r\n")?).ok()
}

/// The second of Unix time that a `#TS:` line tells; `None` for any other line.
pub fn parse_time(line: &[u8]) -> Option<i64> {
    let digits = line.strip_prefix(b"#TS:")?.strip_suffix(b"\r\n")?;
    crate::base::number::parse_i64(digits).filter(|&second| second >= 0)
}

/// The bytes of the stream that a `#S` line makes room for; `None` for any other line.
pub fn parse_room(line: &[u8]) -> Option<u64> {
    parse_hex(line.strip_prefix(b"#S ")?.strip_suffix(b"\r\n")?)
}

/// Adds a `#m` or `#d` line to the mark it goes on from; false when the line is neither.
pub fn extend_mark(mark: Option<&mut Mark>, line: &[u8]) -> Result<bool, BadMark> {
    let ats = match (line.get(..3), mark) {
        (Some(b"#m "), Some(Mark::Entry { readers, .. })) => readers,
        (Some(b"#d "), Some(Mark::Seen(seen))) => seen,
        (Some(b"#m " | b"#d "), _) => return Err(BadMark),
        _ => return Ok(false),
    };
    for word in mark_words(line)? {
        if ats.len() >= SHARDS_MAX {
            return Err(BadMark);
        }
        ats.push(parse_at(word)?);
    }
    Ok(true)
}

/// The words of a mark line behind its two-byte kind.
fn mark_words(line: &[u8]) -> Result<impl Iterator<Item = &[u8]>, BadMark> {
    let text = line.strip_suffix(b"\r\n").and_then(|l| l.get(3..)).ok_or(BadMark)?;
    Ok(text.split(|&b| b == b' '))
}

fn parse_at(word: &[u8]) -> Result<At, BadMark> {
    let colon = word.iter().position(|&b| b == b':').ok_or(BadMark)?;
    let shard = parse_hex(&word[..colon]).ok_or(BadMark)?;
    let pos = parse_hex(&word[colon + 1..]).ok_or(BadMark)?;
    match u8::try_from(shard) {
        Ok(shard) if usize::from(shard) < SHARDS_MAX => Ok((shard, pos)),
        _ => Err(BadMark),
    }
}

/// Appends a number in lower-case hexadecimal without leading zeros.
pub fn write_hex(out: &mut Vec<u8>, value: u64) {
    let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * i)) as usize & 15]);
    }
}

/// Reads what [`write_hex`] writes; `None` for any other spelling, so that one number has one.
pub fn parse_hex(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 16 || (bytes[0] == b'0' && bytes.len() > 1) {
        return None;
    }
    bytes.iter().try_fold(0, |value: u64, &b| {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_marks(mut bytes: &[u8]) -> Vec<Mark> {
        let mut marks = Vec::new();
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            assert!(line.len() <= ANNOTATION_MAX);
            if !extend_mark(marks.last_mut(), line).unwrap() {
                marks.push(parse_mark(line).unwrap().unwrap());
            }
            bytes = rest;
        }
        marks
    }

    #[test]
    fn a_frame_looks_like_this() {
        let mut out = Vec::new();
        let head = FrameHead { pos: 0x1f, len: 5, durable: 1, written: 0x10, prev: 0xabc };
        let sum = head.encode(&mut out, 7, b"*0\r\n#");
        assert_eq!(out, format!("#R1 1f 5 1 10 abc {sum:x}\r\n").as_bytes());
        assert_eq!(sum, crc64_frame(7, &[b"#R1 1f 5 1 10 abc ", b"*0\r\n#"]));
    }

    #[test]
    fn other_versions_are_named_and_other_bytes_are_gaps() {
        assert_eq!(parse_head(b"#R2 anything\r\n"), Err(HeadError::Version(2)));
        assert_eq!(parse_head(b"#R1 0 0 0 0 0 \r\n"), Err(HeadError::Gap));
        assert_eq!(parse_head(b"#R1 0 0 0 0 0 0 0\r\n"), Err(HeadError::Gap));
        assert_eq!(parse_head(b"#R1 0 0 0 1 0 0\r\n"), Err(HeadError::Gap), "written beyond pos");
        assert_eq!(parse_head(b"#R1 0 0 0 0 0 0\n"), Err(HeadError::Gap));
        assert_eq!(parse_head(b"*1\r\n$4\r\nPING\r\n"), Err(HeadError::Gap));
        assert!(parse_head(b"#R1 0 0 0 0 0 0\r\n").is_ok());
    }

    #[test]
    fn a_mark_of_every_shard_takes_two_lines() {
        let all: Vec<At> = (0..64).map(|s| (s, u64::MAX)).collect();
        let mut out = Vec::new();
        write_entry_mark(&mut out, u64::MAX, u64::MAX, &all);
        write_seen_mark(&mut out, &all);
        write_seen_mark(&mut out, &[]);
        let entry = Mark::Entry { id: u64::MAX, participants: u64::MAX, readers: all.clone() };
        assert_eq!(read_marks(&out), [entry, Mark::Seen(all)]);
        assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 4);
        assert_eq!(extend_mark(None, b"#m 1:2\r\n"), Err(BadMark));
        assert_eq!(parse_mark(b"#TS:17\r\n"), Ok(None));
        assert_eq!(parse_mark(b"#D 40:1\r\n"), Err(BadMark), "shard 64 does not exist");
    }

    proptest! {
        #[test]
        fn numbers_come_back(value: u64) {
            let mut out = Vec::new();
            write_hex(&mut out, value);
            let text = format!("{value:x}");
            prop_assert_eq!(&out[..], text.as_bytes());
            prop_assert_eq!(parse_hex(&out), Some(value));
        }

        #[test]
        fn heads_come_back(pos in 0..u64::MAX >> 1, a: u64, b: u64, prev: u64, seed: u64,
                           payload: Vec<u8>) {
            let written = a % (pos + 1);
            let durable = b % (written + 1);
            let head = FrameHead { pos, len: payload.len() as u64, durable, written, prev };
            let mut out = Vec::new();
            let sum = head.encode(&mut out, seed, &payload);
            let parsed = parse_head(&out).unwrap();
            prop_assert_eq!(parsed.head, head);
            prop_assert_eq!((parsed.sum, parsed.line), (sum, out.len()));
            prop_assert_eq!(crc64_frame(seed, &[&out[..parsed.covered], &payload]), sum);
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = parse_head(&bytes);
            let _ = parse_mark(&bytes);
            let _ = parse_head(&[b"#R1 ", &bytes[..]].concat());
            let _ = parse_mark(&[b"#M ", &bytes[..], b"\r\n"].concat());
        }
    }
}
