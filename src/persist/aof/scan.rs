//! Reading a shard's log file: frame by frame with everything checked, to find where it ends, which
//! marks it holds and what it says about its own gap; and command by command, to replay it. The
//! layout and the rule of validity stand in [`super::format`].
//!
//! Memory: a window of the largest command, and the marks of the file's end. Marks that fall out
//! of the bounded list leave behind what they need of other shards ([`Scan::dropped`]), so that
//! whoever cuts can tell whether the list was long enough, and scan again without a bound if not.

use std::collections::VecDeque;
use std::ops::Range;

use crate::base::crc::FrameSum;
use crate::base::limits::{ANNOTATION_MAX, SHARDS_MAX};
use crate::persist::aof::dropped::Lacking;
use crate::persist::aof::filler;
use crate::persist::aof::format::{
    self, At, FrameHead, HEAD_MAX, HEAD_START, HeadError, Mark, ParsedHead,
};
use crate::persist::aof::resp::{
    CHUNK, Fault, Item, LogError, Manner, Window, is_named, next_item, usual_command,
};
use crate::persist::aof::run::{Places, steers};
use crate::persist::disk::Volume;

/// Frames up to this length are checked and read in one piece, in bytes.
const IN_ONE_PIECE: u64 = 8 << 20;
/// A position that no log reaches: what demands it is cut.
pub const NEVER: u64 = u64::MAX;
/// Marks kept per file before the oldest are dropped.
pub const MARKS_KEPT: usize = 100_000;

/// A place between two frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Border {
    /// Offset in the file.
    pub offset: u64,
    /// Position in the log.
    pub pos: u64,
    /// Checksum of the frame in front of it; the seed at the start.
    pub sum: u64,
    /// The database selected there.
    pub db: u32,
    /// Bytes of the stream in front of it, from the start of the file.
    pub stream: u64,
}

/// A mark and where a cut in front of it would fall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkAt {
    /// Position in front of the mark.
    pub pos: u64,
    /// Offset of the mark in the file.
    pub offset: u64,
    /// The border in front of its frame.
    pub frame: Border,
    /// Bytes of the stream in front of it, from the start of the file.
    pub stream: u64,
    /// What it says.
    pub mark: Mark,
}

/// What marks ask of other shards, the strongest demand of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Per shard the highest entry id whose mark must be there, plus one; 0 for none.
    pub id: [u64; SHARDS_MAX],
    /// Per shard the position its log must reach.
    pub pos: [u64; SHARDS_MAX],
    /// Highest id of the marks themselves, plus one.
    pub own: u64,
}

impl Default for Needs {
    fn default() -> Self {
        Needs { id: [0; SHARDS_MAX], pos: [0; SHARDS_MAX], own: 0 }
    }
}

impl Needs {
    fn add(&mut self, mark: &Mark) {
        let ats: &[At] = match mark {
            Mark::Entry { id, participants, readers } => {
                let above = id.saturating_add(1);
                for shard in bits(*participants) {
                    self.id[shard] = self.id[shard].max(above);
                }
                self.own = self.own.max(above);
                readers
            }
            Mark::Seen(seen) => seen,
        };
        for &(shard, pos) in ats {
            if let Some(need) = self.pos.get_mut(usize::from(shard)) {
                *need = (*need).max(pos);
            }
        }
    }
}

/// The shards of a set.
pub fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let shard = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(shard)
    })
}

/// The first frame behind a gap that says more was kept than is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its offset in the file.
    pub offset: u64,
    /// What it says was durable.
    pub durable: u64,
    /// What it says was written.
    pub written: u64,
}

/// A border short of the file's end behind which no valid frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why the bytes there are no frame.
    pub error: HeadError,
    /// What proves that they were once, if anything does.
    pub claim: Option<Claim>,
    /// The kernel has dropped some of them: that they were written proves nothing.
    pub dropped: bool,
    /// The bytes begin like commands: another server may have appended.
    pub command: bool,
}

/// What a file was found to be.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Length of the file in bytes.
    pub len: u64,
    /// The border behind the last valid frame.
    pub end: Border,
    /// Offset behind the last valid frame's own bytes; filler may stand between here and `end`.
    pub tight: u64,
    /// What stands there when it is not the end of the file.
    pub gap: Option<Gap>,
    /// Offset behind the last byte of the file that is neither filler nor zero; at least `tight`.
    pub solid: u64,
    /// What the last valid frame says was durable when it was made.
    pub durable: u64,
    /// The marks, in order; the last [`MARKS_KEPT`] or all.
    pub marks: VecDeque<MarkAt>,
    /// What the marks that are not in the list need.
    pub dropped: Needs,
    /// One above the highest entry id met; 0 for none.
    pub next_id: u64,
    /// No position of this log, lost ones included, can be above this one.
    pub highest: u64,
    /// The first second that a `#TS:` line tells.
    pub since: Option<i64>,
    /// There is a later one than [`ScanOptions::until`], or more than [`ScanOptions::bound`]: where
    /// that begins stands a mark that nothing meets.
    pub late: bool,
}

impl Scan {
    /// Puts a mark that nothing meets where the log is to be cut so that nothing behind `bound` is
    /// kept: in front of the last mark at or before it in the frame that has just been read, behind
    /// the border `front`; or at that border.
    pub(super) fn stop_in_front_of(&mut self, bound: u64, front: Border) {
        let first = self.marks.partition_point(|mark| mark.pos < front.pos);
        let behind = self.marks.partition_point(|mark| mark.pos <= bound).max(first);
        let (pos, offset, stream) = match self.marks.range(first..behind).next_back() {
            Some(last) => (last.pos, last.offset, last.stream),
            None => (front.pos, front.offset, front.stream),
        };
        let at = self.marks.partition_point(|mark| mark.pos < pos);
        let mark = Mark::Seen(vec![(0, NEVER)]);
        self.marks.insert(at, MarkAt { pos, offset, frame: front, stream, mark });
    }
}

/// What a scan is told.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions {
    /// The file's seed.
    pub seed: u64,
    /// Position of its first payload byte.
    pub start: u64,
    /// Read to this position and no further; what stands behind is no concern.
    pub end: Option<u64>,
    /// The file was begun since the machine last started: what was written must be there.
    pub same_boot: bool,
    /// Marks to keep.
    pub marks: usize,
    /// Nothing later than this second of Unix time is wanted.
    pub until: Option<i64>,
    /// Nothing behind this position is wanted.
    pub bound: Option<u64>,
}

/// Reads a shard's file from its start.
///
/// Fails on a frame of a newer version, a valid frame whose payload is not what a writer writes,
/// and on errors of the disk. A gap is not an error: it is for the caller to judge.
pub fn scan(volume: &dyn Volume, file: &str, options: ScanOptions) -> Result<Scan, LogError> {
    let mut frames = Frames::open(volume, file, options.seed, options.start)?;
    frames.until = options.until;
    let mut scan = Scan {
        len: frames.window.len(),
        end: frames.border,
        tight: 0,
        gap: None,
        solid: 0,
        durable: 0,
        marks: VecDeque::new(),
        dropped: Needs::default(),
        next_id: 0,
        highest: options.start,
        since: None,
        late: false,
    };
    let (mut last_id, mut bound) = (None, options.bound);
    while options.end.is_none_or(|end| frames.border.pos < end) {
        match frames.enter()? {
            Entered::Frame => {}
            Entered::End => break,
            Entered::Gap(error) => {
                scan.gap = Some(judge_gap(&mut frames, error, options)?);
                break;
            }
        }
        let front = frames.border;
        loop {
            frames.pass_usual();
            let Some(event) = frames.next()? else { break };
            let Event::Mark(mark) = event else { continue };
            if let Mark::Entry { id, .. } = mark.mark {
                if last_id.is_some_and(|last| last >= id) {
                    let fault = Fault::Mark("the ids of a log must ascend");
                    return Err(frames.window.error(mark.offset, fault));
                }
                last_id = Some(id);
                scan.next_id = id.saturating_add(1);
            }
            scan.marks.push_back(mark);
            if scan.marks.len() > options.marks
                && let Some(old) = scan.marks.pop_front()
            {
                scan.dropped.add(&old.mark);
            }
        }
        scan.tight = frames.border.offset;
        let beyond = |bound: &u64| frames.border.pos > *bound;
        if let Some(bound) = bound.take_if(|bound| beyond(bound)) {
            scan.late = true;
            scan.stop_in_front_of(bound, front);
        }
    }
    frames.pass_filler()?;
    scan.end = frames.border;
    scan.solid = match scan.end.offset < scan.len {
        true => solid_end(volume, file, scan.end.offset, scan.len)?,
        false => scan.tight,
    };
    scan.since = frames.since;
    scan.durable = frames.durable;
    scan.late |= frames.late;
    scan.highest = scan.end.pos.saturating_add(scan.len.saturating_sub(scan.end.offset));
    Ok(scan)
}

/// Offset behind the last byte of `from..len` that is neither filler nor zero.
fn solid_end(volume: &dyn Volume, file: &str, from: u64, len: u64) -> Result<u64, LogError> {
    let mut window = Window::open(volume, file, from)?;
    let mut solid = from;
    while window.offset() < len {
        let at = window.offset();
        let held = window.peek(CHUNK)?;
        if held.is_empty() {
            break;
        }
        if let Some(last) = held.iter().rposition(|b| !filler::is_blank(*b)) {
            solid = at + last as u64 + 1;
        }
        let held = held.len() as u64;
        window.skip(held);
    }
    Ok(solid.min(len))
}

/// Whether what stands here begins as what another server appends: with a command, or with the time
/// in front of one.
fn begins_commands(bytes: &[u8]) -> bool {
    let line = memchr::memchr(b'\n', bytes).map_or(0, |at| at + 1);
    let behind = if format::parse_time(&bytes[..line]).is_some() { line } else { 0 };
    bytes.get(behind) == Some(&b'*')
}

/// Looks behind a gap for a frame that proves the missing bytes were kept once.
fn judge_gap(
    frames: &mut Frames<'_>,
    error: HeadError,
    mut options: ScanOptions,
) -> Result<Gap, LogError> {
    let gap = frames.border;
    let mut dropped = false;
    let command = begins_commands(frames.window.peek(ANNOTATION_MAX)?);
    if let HeadError::Version(n) = error {
        return Err(frames.window.error(gap.offset, Fault::Version(n)));
    }
    let lacking = Lacking::new(&mut frames.window)?;
    let (volume, file) = (frames.volume, frames.window.file().to_owned());
    let mut window = Window::open(volume, &file, gap.offset)?;
    // Real frames are checked once each; the rest is room for text that imitates them.
    let behind = window.len().saturating_sub(gap.offset);
    let mut budget = behind.saturating_mul(4).saturating_add(64 << 20);
    let finder = memchr::memmem::Finder::new(HEAD_START);
    loop {
        let bytes = window.peek(CHUNK)?;
        let (held, hit) = (bytes.len() as u64, finder.find(bytes));
        let Some(hit) = hit else {
            let passed = held.saturating_sub(HEAD_START.len() as u64 - 1);
            if passed == 0 || window.offset() + held >= window.len() {
                // Where all in front was durable, what others have seen of the rest was as well.
                dropped |=
                    options.same_boot && frames.lax && lacking.blocks(volume, &file, None)?;
                return Ok(Gap { error, claim: None, dropped, command });
            }
            window.skip(passed);
            continue;
        };
        window.skip(hit as u64);
        let offset = window.offset();
        if let Ok(parsed) = format::parse_head(window.peek(HEAD_MAX)?) {
            let FrameHead { pos, durable, written, len, prev } = parsed.head;
            let claims = durable > gap.pos || (options.same_boot && written > gap.pos);
            // Only filler is missing, which was there when this frame was made.
            let follows = pos == gap.pos
                && prev == gap.sum
                && (durable == pos || (options.same_boot && written == pos));
            let room = window.len().saturating_sub(offset + parsed.line as u64);
            if (claims || follows) && offset > gap.offset && len <= room {
                if budget < len {
                    let what = "too many lines behind a gap imitate frames to tell what it is";
                    return Err(window.error(gap.offset, Fault::Format(what)));
                }
                budget -= len;
                if payload_sum(volume, &mut window, options.seed, &parsed)? == parsed.sum {
                    let kept = durable > gap.pos || durable == pos;
                    if kept || !lacking.blocks(volume, &file, Some(offset))? {
                        let claim = Some(Claim { offset, durable, written });
                        return Ok(Gap { error, claim, dropped, command });
                    }
                    (dropped, options.same_boot) = (true, false);
                }
            }
        }
        window.skip(1);
    }
}

/// The checksum of the frame the window stands at, without moving the window; its payload must
/// not reach beyond the file.
fn payload_sum(
    volume: &dyn Volume,
    window: &mut Window<'_>,
    seed: u64,
    parsed: &ParsedHead,
) -> Result<u64, LogError> {
    let mut sum = FrameSum::new(seed);
    let start = window.offset() + parsed.line as u64;
    if parsed.head.len <= IN_ONE_PIECE {
        let whole = parsed.line + parsed.head.len as usize;
        let bytes = window.peek(whole)?;
        sum.add(bytes.get(..parsed.covered).unwrap_or_default());
        sum.add(bytes.get(parsed.line..bytes.len().min(whole)).unwrap_or_default());
        return Ok(sum.get());
    }
    let head = window.peek(HEAD_MAX)?;
    sum.add(head.get(..parsed.covered).unwrap_or_default());
    let mut payload = Window::open(volume, window.file(), start)?;
    let mut left = parsed.head.len;
    while left > 0 {
        let bytes = payload.peek(CHUNK)?;
        let take = (bytes.len() as u64).min(left);
        if take == 0 {
            break;
        }
        sum.add(&bytes[..take as usize]);
        payload.skip(take);
        left -= take;
    }
    Ok(sum.get())
}

pub(super) enum Entered {
    Frame,
    End,
    Gap(HeadError),
}

pub(super) enum Event {
    Mark(MarkAt),
    Command { pos: u64 },
}

/// The frames of a file, and the items of the frame that is open.
pub(super) struct Frames<'v> {
    volume: &'v dyn Volume,
    pub(super) window: Window<'v>,
    seed: u64,
    /// The border in front of the open frame, or behind the last one read.
    pub(super) border: Border,
    pub(super) open: Option<Open>,
    /// Where the arguments of the command read last stand, counted from its first byte.
    pub(super) args: Vec<Range<usize>>,
    /// Bytes that have been read, and that the window still shows.
    pub(super) pending: usize,
    /// Bytes of the stream read so far.
    stream: u64,
    /// See [`ScanOptions::until`], [`Scan::since`] and [`Scan::late`].
    until: Option<i64>,
    since: Option<i64>,
    late: bool,
    /// What the last valid frame says was durable when it was made, and whether more was written.
    durable: u64,
    lax: bool,
}

/// The frame that is being read.
pub(super) struct Open {
    payload: u64,
    end: u64,
    pos: u64,
    sum: u64,
    db: u32,
    in_multi: bool,
    /// A mark that further lines may go on.
    mark: Option<MarkAt>,
}

impl<'v> Frames<'v> {
    pub(super) fn open(
        volume: &'v dyn Volume,
        file: &str,
        seed: u64,
        start: u64,
    ) -> Result<Self, LogError> {
        let window = Window::open(volume, file, 0)?;
        let border = Border { offset: 0, pos: start, sum: seed, db: 0, stream: 0 };
        let (open, args, pending, stream) = (None, Vec::new(), 0, 0);
        let (until, since, late, durable, lax) = (None, None, false, 0, false);
        Ok(Frames {
            volume,
            window,
            seed,
            border,
            open,
            args,
            pending,
            stream,
            until,
            since,
            late,
            durable,
            lax,
        })
    }

    /// Moves the border over the filler behind it.
    fn pass_filler(&mut self) -> Result<(), LogError> {
        if self.window.offset() == self.border.offset {
            filler::pass(&mut self.window)?;
            self.border.offset = self.window.offset();
        }
        Ok(())
    }

    /// Opens the frame at the border when it is valid.
    pub(super) fn enter(&mut self) -> Result<Entered, LogError> {
        assert!(self.open.is_none() && self.pending == 0);
        self.pass_filler()?;
        if self.window.is_empty() {
            return Ok(Entered::End);
        }
        let parsed = match format::parse_head(self.window.peek(HEAD_MAX)?) {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Entered::Gap(error)),
        };
        let payload = self.window.offset() + parsed.line as u64;
        let end = payload.saturating_add(parsed.head.len);
        if parsed.head.pos != self.border.pos
            || parsed.head.prev != self.border.sum
            || end > self.window.len()
            || payload_sum(self.volume, &mut self.window, self.seed, &parsed)? != parsed.sum
        {
            return Ok(Entered::Gap(HeadError::Gap));
        }
        self.window.skip(parsed.line as u64);
        self.durable = parsed.head.durable;
        self.lax = parsed.head.durable < parsed.head.written;
        self.open = Some(Open {
            payload,
            end,
            pos: parsed.head.pos,
            sum: parsed.sum,
            db: self.border.db,
            in_multi: false,
            mark: None,
        });
        Ok(Entered::Frame)
    }

    /// The next mark or command of the open frame; `None` closes it.
    pub(super) fn next(&mut self) -> Result<Option<Event>, LogError> {
        self.window.skip(self.pending as u64);
        self.pending = 0;
        let Some(mut open) = self.open.take() else { return Ok(None) };
        loop {
            let offset = self.window.offset();
            let item = next_item(&mut self.window, open.end, Manner::Strict, &mut self.args)?;
            let pos = open.pos + (offset - open.payload);
            match item {
                Some(Item::Note { len }) => {
                    let marked = self.note(&mut open, pos, offset, len)?;
                    self.window.skip(len as u64);
                    if let Some(mark) = marked {
                        self.open = Some(open);
                        return Ok(Some(Event::Mark(mark)));
                    }
                }
                _ if open.mark.is_some() => {
                    // The mark's lines have ended in front of this item, which is read again.
                    let mark = open.mark.take();
                    self.open = Some(open);
                    return Ok(mark.map(Event::Mark));
                }
                Some(Item::Command { len }) => {
                    self.command(&mut open, offset, len)?;
                    self.pending = len;
                    self.stream += len as u64;
                    self.open = Some(open);
                    return Ok(Some(Event::Command { pos }));
                }
                None if open.in_multi => {
                    let what = "a frame that ends inside a transaction";
                    return Err(self.window.error(offset, Fault::Format(what)));
                }
                None => {
                    let (pos, sum, db) = (pos, open.sum, open.db);
                    self.border = Border { offset, pos, sum, db, stream: self.stream };
                    return Ok(None);
                }
            }
        }
    }

    /// Passes the commands that come as far as they are there and none steers what follows.
    fn pass_usual(&mut self) {
        self.window.skip(self.pending as u64);
        self.pending = 0;
        let Some(open) = self.open.as_ref().filter(|open| open.mark.is_none()) else { return };
        let held = self.window.held(open.end);
        let mut at = 0;
        loop {
            let (rest, mut name) = (&held[at..], None);
            match usual_command(rest, |word| _ = name.get_or_insert(word)) {
                Some(len) if !steers(rest, name.as_slice()) => at += len,
                _ => break,
            }
        }
        self.window.skip(at as u64);
        self.stream += at as u64;
    }

    /// Finds the commands that come up to position `end`; false where the next has to be read by
    /// [`Frames::next`].
    pub(super) fn run(&mut self, end: u64, places: &mut Places) -> bool {
        self.window.skip(self.pending as u64);
        self.pending = 0;
        let Some(open) = self.open.as_ref().filter(|open| open.mark.is_none()) else {
            return false;
        };
        let pos = open.pos + (self.window.offset() - open.payload);
        let held = self.window.held(open.end);
        self.pending = places.gather(held, end.saturating_sub(pos));
        self.stream += self.pending as u64;
        self.pending > 0
    }

    /// Leaves the open frame in its middle; what stands behind position `pos` is no concern.
    pub(super) fn leave(&mut self, pos: u64) {
        self.open = None;
        self.pending = 0;
        self.border.pos = pos;
    }

    /// Takes a `#` line; gives the mark before it when that is complete.
    fn note(
        &mut self,
        open: &mut Open,
        pos: u64,
        offset: u64,
        len: usize,
    ) -> Result<Option<MarkAt>, LogError> {
        let (border, stream) = (self.border, self.stream);
        let bytes = self.window.peek(len)?;
        let line = bytes.get(..len).unwrap_or_default();
        let bad = |what| LogError { file: String::new(), offset, fault: Fault::Mark(what) };
        let second = format::parse_time(line);
        self.stream = stream.saturating_add(format::parse_room(line).unwrap_or(0));
        self.since = self.since.or(second);
        let too_late = |until: &i64| second.is_some_and(|second| second > *until);
        let late = !open.in_multi && self.until.take_if(|until| too_late(until)).is_some();
        self.late |= late;
        let mut read = |line| -> Result<(bool, Option<Mark>), format::BadMark> {
            let goes_on = format::extend_mark(open.mark.as_mut().map(|m| &mut m.mark), line)?;
            match (goes_on, late) {
                (true, _) => Ok((true, None)),
                (false, true) => Ok((false, Some(Mark::Seen(vec![(0, NEVER)])))),
                (false, false) => Ok((false, format::parse_mark(line)?)),
            }
        };
        let result = match read(line) {
            Err(format::BadMark) => Err(bad("it cannot be read")),
            Ok((true, _)) => Ok(None),
            Ok((false, None)) => Ok(open.mark.take()),
            Ok((false, Some(_))) if open.in_multi => Err(bad("it stands inside a transaction")),
            Ok((false, Some(mark))) => {
                Ok(open.mark.replace(MarkAt { pos, offset, frame: border, stream, mark }))
            }
        };
        result.map_err(|error| LogError { file: self.window.file().to_owned(), ..error })
    }

    /// Follows what a command changes for those behind it.
    fn command(&mut self, open: &mut Open, offset: u64, len: usize) -> Result<(), LogError> {
        let bytes = self.window.peek(len)?;
        if is_named(bytes, &self.args, b"SELECT") {
            let db = self.args.get(1).and_then(|r| bytes.get(r.clone()));
            let db = db.and_then(crate::base::number::parse_i64);
            match db.and_then(|db| u32::try_from(db).ok()) {
                Some(db) => open.db = db,
                None => {
                    let fault = Fault::Format("SELECT of no database");
                    return Err(self.window.error(offset, fault));
                }
            }
        } else if is_named(bytes, &self.args, b"MULTI") {
            open.in_multi = true;
        } else if is_named(bytes, &self.args, b"EXEC") {
            open.in_multi = false;
        }
        Ok(())
    }
}
