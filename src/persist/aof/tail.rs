//! Reading a tail: what a log goes on with in a file of plain commands, behind the end that the
//! manifest names for its own file ([`super::format`] has its lines). It is looked at like this
//! only where a log is to be cut at a moment; whoever loads it reads commands.

use std::collections::VecDeque;

use crate::persist::aof::format::{
    At, Mark, extend_mark, parse_border, parse_mark, parse_room, parse_time,
};
use crate::persist::aof::resp::{Fault, Item, LogError, Manner, Window, next_item};
use crate::persist::aof::scan::{Border, MarkAt, NEVER, Needs, Scan};
use crate::persist::disk::Volume;

/// What a tail goes on with.
#[derive(Clone, Debug)]
pub struct TailScan {
    /// Whose log it is.
    pub shard: u8,
    /// The position at which it begins.
    pub start: u64,
    /// The same as of a file of frames. Offsets of marks, and of what is in front of them, are how
    /// much of the file a cut there keeps.
    pub scan: Scan,
}

struct Reader {
    shard: Option<u8>,
    start: u64,
    /// The border in front of the frame that is being read, and the offset of its payload.
    frame: Option<(Border, u64)>,
    mark: Option<MarkAt>,
    /// Bytes of the stream read so far.
    stream: u64,
    scan: Scan,
    until: Option<i64>,
    bound: Option<u64>,
}

/// Reads a tail whose checksum is right, for somebody who wants nothing later than the second
/// `until` and nothing behind the position that `bound` has for its shard. `None` where it does not
/// say whose it is.
///
/// # Errors
/// What the disk says; lines that cannot be read.
pub fn scan_tail(
    volume: &dyn Volume,
    file: &str,
    until: Option<i64>,
    bound: impl Fn(u8) -> Option<u64>,
) -> Result<Option<TailScan>, LogError> {
    let mut window = Window::open(volume, file, 0)?;
    let end = window.len();
    let (shard, frame, mark) = (None, None, None);
    let scan = nothing(end);
    let mut reader = Reader { shard, start: 0, frame, mark, stream: 0, scan, until, bound: None };
    let mut args = Vec::new();
    while let Some(item) = next_item(&mut window, end, Manner::Strict, &mut args)? {
        let offset = window.offset();
        let len = match item {
            Item::Command { len } => {
                reader.end_mark();
                reader.stream += len as u64;
                len
            }
            Item::Note { len } => {
                let line = window.peek(len)?.get(..len).unwrap_or_default();
                match parse_border(line) {
                    Some(at) => reader.begin_frame(at, offset, len as u64, &bound),
                    None => reader.note(line, offset).map_err(|what| LogError {
                        file: file.to_owned(),
                        offset,
                        fault: Fault::Mark(what),
                    })?,
                }
                len
            }
        };
        window.skip(len as u64);
    }
    reader.end_frame(end);
    let Reader { shard, start, scan, .. } = reader;
    Ok(shard.map(|shard| TailScan { shard, start, scan }))
}

/// A file of this length that says nothing.
fn nothing(len: u64) -> Scan {
    Scan {
        len,
        end: Border { offset: 0, pos: 0, sum: 0, db: 0, stream: 0 },
        tight: len,
        gap: None,
        solid: len,
        durable: 0,
        marks: VecDeque::new(),
        dropped: Needs::default(),
        next_id: 0,
        highest: 0,
        since: None,
        late: false,
    }
}

/// The log of a shard of which a generation holds nothing: whatever is asked of it was met before.
pub fn silent() -> Scan {
    let mut scan = nothing(0);
    scan.end.pos = NEVER - 1;
    scan
}

impl Reader {
    fn begin_frame(
        &mut self,
        (shard, pos): At,
        offset: u64,
        line: u64,
        bound: &impl Fn(u8) -> Option<u64>,
    ) {
        self.end_frame(offset);
        if self.shard.is_none() {
            (self.shard, self.start, self.bound) = (Some(shard), pos, bound(shard));
        }
        let front = Border { offset, pos, sum: 0, db: 0, stream: self.stream };
        self.frame = Some((front, offset + line));
    }

    fn end_frame(&mut self, offset: u64) {
        self.end_mark();
        let Some((front, payload)) = self.frame.take() else { return };
        let pos = front.pos + (offset - payload);
        self.scan.end = Border { offset, pos, stream: self.stream, ..front };
        self.scan.highest = pos;
        if let Some(bound) = self.bound.take_if(|bound| pos > *bound) {
            self.scan.late = true;
            self.scan.stop_in_front_of(bound, front);
        }
    }

    fn end_mark(&mut self) {
        let Some(mark) = self.mark.take() else { return };
        if let Mark::Entry { id, .. } = mark.mark {
            self.scan.next_id = id.saturating_add(1);
        }
        self.scan.marks.push_back(mark);
    }

    fn note(&mut self, line: &[u8], offset: u64) -> Result<(), &'static str> {
        let Some((front, payload)) = self.frame else { return Ok(()) };
        let (pos, stream) = (front.pos + (offset - payload), self.stream);
        let here = |mark| MarkAt { pos, offset, frame: front, stream, mark };
        self.stream = stream.saturating_add(parse_room(line).unwrap_or(0));
        let second = parse_time(line);
        self.scan.since = self.scan.since.or(second);
        if self.until.take_if(|until| second.is_some_and(|second| second > *until)).is_some() {
            self.scan.late = true;
            self.end_mark();
            self.mark = Some(here(Mark::Seen(vec![(0, NEVER)])));
            return Ok(());
        }
        let bad = |_| "it cannot be read";
        if extend_mark(self.mark.as_mut().map(|at| &mut at.mark), line).map_err(bad)? {
            return Ok(());
        }
        self.end_mark();
        self.mark = parse_mark(line).map_err(bad)?.map(here);
        Ok(())
    }
}
