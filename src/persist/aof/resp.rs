//! Reading log files piece by piece: a window that moves over a file, and the commands and `#`
//! lines in it. Knows nothing of frames, marks or manifests.
//!
//! Memory is bounded by the largest single command that is really there: a length that a file
//! claims is held against the bytes that are left before anything is set aside for it.
//!
//! Two manners of reading. *Strict* is for payloads of our own frames: exactly what we write.
//! *Lenient* is for files of other servers, as Redis' loader reads them: numbers end where their
//! digits end, the two bytes behind a bulk are not looked at. In both a `#` line has at most 1,023
//! bytes with its newline, and a file that ends inside a command is [`Fault::Truncated`], which
//! says where the last whole item ended.

use std::fmt;
use std::io;
use std::ops::Range;

use crate::base::limits::ANNOTATION_MAX;
use crate::persist::aof::run::{Places, Run};
use crate::persist::disk::Volume;

/// Bytes read at a time.
pub const CHUNK: usize = 1 << 20;
/// Longest bulk Redis accepts, in bytes; a longer one is damage.
const BULK_MAX: u64 = 512 << 20;

/// What is wrong with a log file, and where.
#[derive(Debug)]
pub struct LogError {
    /// The file's name in the log directory.
    pub file: String,
    /// Offset of the trouble in bytes.
    pub offset: u64,
    /// What it is.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug)]
pub enum Fault {
    /// The disk says so.
    Io(io::Error),
    /// The file ends inside a command or a transaction.
    Truncated,
    /// These bytes are no command.
    Format(&'static str),
    /// A frame of a newer format.
    Version(u64),
    /// No valid frame where one must be.
    Frame,
    /// A mark whose frame is whole, but which says what cannot be.
    Mark(&'static str),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}: ", self.file, self.offset)?;
        match &self.fault {
            Fault::Io(error) => write!(f, "{error}"),
            Fault::Truncated => f.write_str("the file ends inside a command or transaction"),
            Fault::Format(what) => write!(f, "bad file format: {what}"),
            Fault::Version(n) => write!(f, "written by a newer version (frame format R{n})"),
            Fault::Frame => f.write_str("no valid frame where one must be"),
            Fault::Mark(what) => write!(f, "impossible mark: {what}"),
        }
    }
}

impl std::error::Error for LogError {}

/// A window that moves forward over a file.
pub struct Window<'v> {
    volume: &'v dyn Volume,
    file: String,
    len: u64,
    /// File offset of `buf[at]`.
    offset: u64,
    /// `at..end` has been read; what stands behind is room.
    buf: Vec<u8>,
    at: usize,
    end: usize,
}

impl<'v> Window<'v> {
    /// Opens a file at an offset; its length is taken now.
    pub fn open(volume: &'v dyn Volume, file: &str, offset: u64) -> Result<Self, LogError> {
        let failed = |error| LogError { file: file.to_owned(), offset: 0, fault: Fault::Io(error) };
        let len = volume.len(file).map_err(failed)?;
        let (file, buf, at, end) = (file.to_owned(), Vec::new(), 0, 0);
        Ok(Window { volume, file, len, offset, buf, at, end })
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The file's length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True when nothing is left.
    pub fn is_empty(&self) -> bool {
        self.offset >= self.len
    }

    /// Where the window stands.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// An error at an offset of this file.
    pub fn error(&self, offset: u64, fault: Fault) -> LogError {
        LogError { file: self.file.clone(), offset, fault }
    }

    /// At least the next `want` bytes; fewer only where the file ends.
    pub fn peek(&mut self, want: usize) -> Result<&[u8], LogError> {
        let left = self.len.saturating_sub(self.offset);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(want);
        if self.end - self.at < want {
            self.move_to_front();
            let room = want.max(self.end.saturating_add(CHUNK));
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(room);
            if self.buf.len() < room {
                self.buf.resize(room, 0);
            }
            while self.end < want {
                let from = self.offset + self.end as u64;
                match self.volume.read_at(&self.file, from, &mut self.buf[self.end..room]) {
                    Ok(0) => break,
                    Ok(n) => self.end += n,
                    Err(error) => return Err(self.error(from, Fault::Io(error))),
                }
            }
            if self.end < want {
                // Someone made the file shorter than it was: it ends here.
                self.len = self.offset + self.end as u64;
            }
        }
        Ok(&self.buf[self.at..self.end])
    }

    /// Moves what is held to the front of the buffer.
    fn move_to_front(&mut self) {
        self.buf.copy_within(self.at..self.end, 0);
        (self.at, self.end) = (0, self.end - self.at);
    }

    /// The next bytes up to an offset of the file, as far as they have been read.
    pub fn held(&self, to: u64) -> &[u8] {
        let held = &self.buf[self.at..self.end];
        let left = usize::try_from(to.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        &held[..held.len().min(left)]
    }

    /// Moves forward by `n` bytes.
    pub fn skip(&mut self, n: u64) {
        let held = (self.end - self.at) as u64;
        if n <= held {
            self.at += n as usize;
        } else {
            (self.at, self.end) = (0, 0);
        }
        self.offset += n;
        if self.buf.len() > 8 * CHUNK && self.end - self.at < CHUNK {
            // A giant has passed: give its room back.
            self.move_to_front();
            self.buf.truncate(CHUNK);
            self.buf.shrink_to_fit();
        }
    }
}

/// How numbers and line ends are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As our own writer writes.
    Strict,
    /// As Redis' loader reads.
    Lenient,
}

/// One item of a log, as byte ranges of [`Window::peek`]`(len)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A `#` line, newline included.
    Note {
        /// Its length in bytes.
        len: usize,
    },
    /// A command; its arguments stand in the scratch vector.
    Command {
        /// Its length in bytes.
        len: usize,
    },
}

/// Finds the item the window stands at, without moving; `None` at `limit` (an offset in the file).
/// Argument ranges, counted from the item's first byte, replace what was in `args`.
pub fn next_item(
    window: &mut Window<'_>,
    limit: u64,
    manner: Manner,
    args: &mut Vec<Range<usize>>,
) -> Result<Option<Item>, LogError> {
    args.clear();
    if let Some(len) = usual_command(window.held(limit), |range| args.push(range)) {
        return Ok(Some(Item::Command { len }));
    }
    args.clear();
    careful_item(window, limit, manner, args)
}

/// [`next_item`] of whatever stands there.
fn careful_item(
    window: &mut Window<'_>,
    limit: u64,
    manner: Manner,
    args: &mut Vec<Range<usize>>,
) -> Result<Option<Item>, LogError> {
    let left = limit.min(window.len()).saturating_sub(window.offset());
    let mut cursor = Cursor { window, left, at: 0, manner };
    match cursor.byte()? {
        None => Ok(None),
        Some(b'#') => {
            let line = cursor.line()?;
            Ok(Some(Item::Note { len: line.end }))
        }
        Some(b'*') => {
            let count = cursor.count(b'*')?;
            for _ in 0..count {
                let len = cursor.count(b'$')?;
                let range = cursor.bulk(len)?;
                args.push(range);
            }
            Ok(Some(Item::Command { len: cursor.at }))
        }
        Some(_) => Err(cursor.fault(Fault::Format("expected a command"))),
    }
}

/// The length of the command that `bytes` begin with, when all of it is there and it is written as
/// every server writes; its arguments go to `take`. `None`, perhaps with some arguments taken, says
/// nothing of the bytes: [`next_item`] does, and of what is read here it reads the same.
pub fn usual_command(bytes: &[u8], mut take: impl FnMut(Range<usize>)) -> Option<usize> {
    let (count, mut at) = usual_number(bytes, 0, b'*').filter(|(count, _)| *count > 0)?;
    for _ in 0..count {
        let (len, start) = usual_number(bytes, at, b'$')?;
        let end = start + len;
        if bytes.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        take(start..end);
        at = end + 2;
    }
    Some(at)
}

/// The number of the `*` or `$` line at `at`, and where the next line begins: up to eight digits,
/// which is less than any bound, and no zero in front.
#[inline(always)]
fn usual_number(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let digit = |b: u8| usize::from(b.wrapping_sub(b'0'));
    match bytes.get(at..)? {
        [first, a @ b'0'..=b'9', b'\r', b'\n', ..] if *first == kind => Some((digit(*a), at + 4)),
        [first, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] if *first == kind => {
            Some((10 * digit(*a) + digit(*b), at + 5))
        }
        [first, line @ ..] if *first == kind => {
            let digits = line.iter().take(9).take_while(|b| b.is_ascii_digit()).count();
            let number = line[..digits].iter().fold(0, |n, b| 10 * n + digit(*b));
            let canonical = digits > 2 && digits < 9 && line[0] != b'0';
            let ends = line[digits..].starts_with(b"\r\n");
            (canonical && ends).then_some((number, at + digits + 3))
        }
        _ => None,
    }
}

/// Reads one item out of a window, `at` bytes in.
struct Cursor<'a, 'v> {
    window: &'a mut Window<'v>,
    left: u64,
    at: usize,
    manner: Manner,
}

impl Cursor<'_, '_> {
    fn fault(&self, fault: Fault) -> LogError {
        self.window.error(self.window.offset() + self.at as u64, fault)
    }

    /// An item that does not end; it is named by where it begins.
    fn truncated(&self) -> LogError {
        self.window.error(self.window.offset(), Fault::Truncated)
    }

    /// `want` bytes of the item, or as many as there are.
    fn upto(&mut self, want: usize) -> Result<&[u8], LogError> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = self.window.peek(want.min(left))?;
        Ok(&bytes[..bytes.len().min(left)])
    }

    fn byte(&mut self) -> Result<Option<u8>, LogError> {
        let at = self.at;
        Ok(self.upto(at + 1)?.get(at).copied())
    }

    /// The line that begins here, newline included.
    fn line(&mut self) -> Result<Range<usize>, LogError> {
        let at = self.at;
        let bytes = self.upto(at + ANNOTATION_MAX)?;
        let line = bytes.get(at..).unwrap_or_default();
        let line = &line[..line.len().min(ANNOTATION_MAX)];
        match memchr::memchr(b'\n', line) {
            Some(end) => {
                self.at = at + end + 1;
                Ok(at..self.at)
            }
            None if line.len() == ANNOTATION_MAX => {
                Err(self.fault(Fault::Format("line of more than 1023 bytes")))
            }
            None => Err(self.truncated()),
        }
    }

    /// The number of a `*` or `$` line.
    fn count(&mut self, kind: u8) -> Result<u64, LogError> {
        match self.byte()? {
            None => return Err(self.truncated()),
            Some(b) if b != kind => return Err(self.fault(Fault::Format("expected a length"))),
            Some(_) => {}
        }
        let start = self.at;
        let range = self.line()?;
        let manner = self.manner;
        let line = &self.upto(range.end)?[range];
        let number = match manner {
            Manner::Strict => strict_number(line),
            Manner::Lenient => lenient_number(line),
        };
        let most = if kind == b'*' { i32::MAX as u64 } else { BULK_MAX };
        let least = u64::from(kind == b'*');
        let bad = if kind == b'*' { "bad argument count" } else { "bad bulk length" };
        match number {
            Some(n) if (least..=most).contains(&n) => Ok(n),
            _ => {
                self.at = start;
                Err(self.fault(Fault::Format(bad)))
            }
        }
    }

    /// A bulk of `len` bytes and the two behind it.
    fn bulk(&mut self, len: u64) -> Result<Range<usize>, LogError> {
        let end = self.at as u64 + len + 2;
        if end > self.left {
            return Err(self.truncated());
        }
        let range = self.at..self.at + len as usize;
        let strict = self.manner == Manner::Strict;
        let behind = self.upto(range.end + 2)?.get(range.end..range.end + 2);
        match behind {
            None => return Err(self.truncated()),
            Some(b) if strict && b != b"\r\n" => {
                self.at = range.end;
                return Err(self.fault(Fault::Format("a bulk without its line end")));
            }
            Some(_) => {}
        }
        self.at = range.end + 2;
        Ok(range)
    }
}

/// `*12\r\n` and nothing else.
fn strict_number(line: &[u8]) -> Option<u64> {
    let digits = line.get(1..)?.strip_suffix(b"\r\n")?;
    crate::base::number::parse_i64(digits).and_then(|n| u64::try_from(n).ok())
}

/// What C's `atoi` makes of the text behind the first byte.
fn lenient_number(line: &[u8]) -> Option<u64> {
    let text = line.get(1..)?.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    if text.first() == Some(&b'-') {
        return None;
    }
    let digits = text.iter().map_while(|&b| char::from(b).to_digit(10));
    Some(digits.fold(0u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d))))
}

/// The slices a command's ranges mean.
pub type Args<'a> = smallvec::SmallVec<[&'a [u8]; 8]>;

/// Cuts the item's bytes at its argument ranges.
pub fn slices<'a>(bytes: &'a [u8], ranges: &[Range<usize>]) -> Args<'a> {
    ranges.iter().map(|r| bytes.get(r.clone()).unwrap_or_default()).collect()
}

/// True when the command's name is `name`.
pub fn is_named(bytes: &[u8], ranges: &[Range<usize>], name: &[u8]) -> bool {
    let first = ranges.first().and_then(|r| bytes.get(r.clone()));
    first.is_some_and(|first| first.eq_ignore_ascii_case(name))
}

/// A command of a file another server wrote.
#[derive(Debug)]
pub struct PlainCommand<'a> {
    /// Where it stands in the file.
    pub offset: u64,
    /// Its arguments, the name first.
    pub args: Args<'a>,
}

/// Reads the commands of a file that has no frames, MULTI and EXEC among them.
pub struct PlainReader<'v> {
    window: Window<'v>,
    end: u64,
    args: Vec<Range<usize>>,
    places: Places,
    pending: usize,
    /// Where a transaction that has not closed began.
    multi: Option<u64>,
    /// End of the last command that stands outside of any open transaction.
    whole: u64,
    manner: Manner,
}

impl<'v> PlainReader<'v> {
    /// Reads `file` from offset `from` (behind an RDB preamble, else 0) to `end`, at most to its
    /// length.
    pub fn open(volume: &'v dyn Volume, file: &str, from: u64, end: u64) -> Result<Self, LogError> {
        let window = Window::open(volume, file, from)?;
        let end = end.min(window.len());
        let (args, places, pending, multi) = (Vec::new(), Places::default(), 0, None);
        let manner = Manner::Lenient;
        Ok(PlainReader { window, end, args, places, pending, multi, whole: from, manner })
    }

    /// Takes only what a server writes, not all that Redis' loader takes for it: zeros that a lost
    /// block left inside a line are then a fault.
    pub fn strict(self) -> Self {
        PlainReader { manner: Manner::Strict, ..self }
    }

    /// The next command; `None` at the end. The end inside a command or an open transaction is
    /// [`Fault::Truncated`]; [`PlainReader::whole`] then says what may be kept.
    pub fn next_command(&mut self) -> Result<Option<PlainCommand<'_>>, LogError> {
        self.window.skip(self.pending as u64);
        self.pending = 0;
        let strict = self.manner == Manner::Strict;
        loop {
            let item = next_item(&mut self.window, self.end, self.manner, &mut self.args);
            let item = match item {
                // Redis reads a `#` line without its newline as the end, and so do we.
                Err(LogError { fault: Fault::Truncated, .. })
                    if self.window.peek(1)?.first() == Some(&b'#') =>
                {
                    None
                }
                other => other?,
            };
            match item {
                None => {
                    return match self.multi {
                        Some(at) => Err(self.window.error(at, Fault::Truncated)),
                        None => Ok(None),
                    };
                }
                Some(Item::Note { len }) => {
                    if strict && self.window.peek(len)?.contains(&0) {
                        let fault = Fault::Format("a zero byte in a line");
                        return Err(self.window.error(self.window.offset(), fault));
                    }
                    self.window.skip(len as u64);
                }
                Some(Item::Command { len }) => {
                    let offset = self.window.offset();
                    let bytes = self.window.peek(len)?;
                    if is_named(bytes, &self.args, b"MULTI") {
                        self.multi = self.multi.or(Some(offset));
                    } else if is_named(bytes, &self.args, b"EXEC") {
                        self.multi = None;
                    }
                    if self.multi.is_none() {
                        self.whole = offset + len as u64;
                    }
                    self.pending = len;
                    let bytes = self.window.peek(len)?;
                    return Ok(Some(PlainCommand { offset, args: slices(bytes, &self.args) }));
                }
            }
        }
    }

    /// The next commands as with [`PlainReader::next_command`], several where that makes no
    /// difference.
    pub fn next_run(&mut self) -> Result<Option<Run<'_>>, LogError> {
        self.window.skip(self.pending as u64);
        self.pending = self.places.gather(self.window.held(self.end), u64::MAX);
        if self.pending == 0 {
            if self.next_command()?.is_none() {
                return Ok(None);
            }
            self.places.one(&self.args);
        } else if self.multi.is_none() {
            self.whole = self.read();
        }
        let offset = self.window.offset();
        let bytes = self.window.peek(self.pending)?;
        Ok(Some(Run { offset, bytes, places: &self.places }))
    }

    /// At least the next `want` bytes behind the last command read; fewer only where the file ends.
    pub fn peek(&mut self, want: usize) -> Result<&[u8], LogError> {
        self.window.skip(self.pending as u64);
        self.pending = 0;
        self.window.peek(want)
    }

    /// Offset behind the last command read that stands outside of any open transaction.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// Offset behind the last command or whole `#` line read.
    pub fn read(&self) -> u64 {
        self.window.offset() + self.pending as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::persist::testing::MemVolume;

    /// Pieces of commands, whole and not.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let counted = |kind: char| {
            prop_oneof![0..4u64, 8..12u64, 98..102u64, 99_999_998..=100_000_001u64]
                .prop_map(move |n| format!("{kind}{n}\r\n").into_bytes())
        };
        let bulk = prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| {
            [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
        });
        let odd = prop::sample::select(vec![
            &b"*01\r\n"[..],
            b"*+1\r\n",
            b"$-1\r\n",
            b"$ 1\r\n",
            b"*1\n",
            b"$1\nx\r\n",
            b"#\n",
            b"\r\n",
            b"*",
        ]);
        let piece = prop_oneof![
            2 => counted('*'), 1 => counted('$'), 6 => bulk, 1 => odd.prop_map(<[u8]>::to_vec)
        ];
        prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// The quick way reads nothing that the careful one reads otherwise, in either manner, and
        /// whatever is cut off.
        #[test]
        fn the_usual_is_read_as_everything_is(bytes in pieces(), cut in 0usize..80) {
            let bytes = &bytes[..bytes.len().saturating_sub(cut / 4)];
            let mut quick = Vec::new();
            let len = usual_command(bytes, |range| quick.push(range));
            let volume = MemVolume::default();
            volume.put("f", bytes);
            for manner in [Manner::Strict, Manner::Lenient] {
                let mut window = Window::open(&volume, "f", 0).unwrap();
                let mut careful = Vec::new();
                let item = careful_item(&mut window, u64::MAX, manner, &mut careful);
                match (len, item) {
                    (Some(len), item) => {
                        prop_assert_eq!(item.unwrap(), Some(Item::Command { len }));
                        prop_assert_eq!(&quick, &careful);
                    }
                    // What is written as usual and whole is read the quick way.
                    (None, Ok(Some(Item::Command { .. }))) => {
                        prop_assert_eq!(manner, Manner::Lenient, "{:?}", bytes.escape_ascii());
                    }
                    _ => {}
                }
            }
        }
    }
}
