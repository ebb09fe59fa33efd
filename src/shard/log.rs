//! The writer of one shard's log: what has been executed becomes frames, frames become durable, and
//! the release point follows.
//!
//! Positions, from behind to ahead:
//!
//! ```text
//! release <= raw <= appended <= end of effects
//! ```
//!
//! * `written`: end of the gap-free prefix in the page cache; `durable`: on the medium.
//! * `raw`: `durable` under `always`, `written` under `no`. Under `everysec` `written` as well, but
//!   when a flush is slow it stands still two seconds behind the oldest write that is not durable:
//!   so a loss of power never takes more than two seconds' acknowledged writes, however slow.
//! * `release`: `raw`, stopped in front of the first mark whose entry has not settled. Replies
//!   leave up to here.
//!
//! One write is in flight at a time in a growing file: a hole would read as zeros, which is fatal
//! to stock Redis. Over [filler](super::segment) there may be [`DEPTH`], and each counts when all
//! in front of it have been completed. The next commit starts when the previous one completes;
//! meanwhile commands execute and gather, so the group grows by itself with the disk's latency and
//! a lone client never waits for a timer.
//!
//! No two flushes of a file are in flight together. The kernel tells of a page that was lost once
//! per descriptor: one flush would fail, and the other, which may be heard of first, succeed
//! without that page. What puts pages on their way (`growing`) counts as a flush there.
//!
//! A failed write is tried again with the same bytes at the same place: nothing behind it counts
//! before. A failed flush is never tried again: the log goes on in another file ([`kept`]).

mod buffers;
mod growing;
pub mod kept;

use std::collections::VecDeque;

use crate::persist::aof::filler;
use crate::persist::aof::format::{FrameHead, HEAD_MAX};
use crate::persist::disk::{Disk, DiskDone, DiskOp, FileId, Flush};
use crate::shard::log::growing::Growing;
use crate::shard::log::kept::{Frame, KEPT_MAX, KEPT_SOON, Safe, Unflushed, plain};
pub use crate::shard::log::now::NOW_MAX;
use crate::shard::log::points::{Marked, Streamed};
use crate::shard::log::way::Way;
use crate::shard::segment::{Ahead, DEPTH, Place};

mod ending;
mod now;
mod points;
mod retry;
mod way;

/// When writes are flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsyncPolicy {
    /// Before they are acknowledged.
    Always,
    /// Once a second.
    EverySec,
    /// Every [`LAZY_FLUSH_US`], so that damage and a torn tail can be told apart.
    No,
}

/// Flush interval under `everysec`, in microseconds.
pub const SECOND_US: u64 = 1_000_000;
/// Flush interval under `no`, in microseconds.
pub const LAZY_FLUSH_US: u64 = 30_000_000;
/// How long writes are acknowledged under `everysec` past the oldest one that is not durable, in
/// microseconds.
pub const EXPOSED_MAX_US: u64 = 2_000_000;
/// How long a failed write waits before it is tried again, in microseconds.
const RETRY_US: u64 = 100_000;

/// Completion tokens of the log's operations.
pub mod token {
    /// A write in flight; of further ones at a time the number stands in the bits from
    /// [`NUMBER`] on.
    pub const WRITE: u64 = 1;
    /// The flush in flight.
    pub const SYNC: u64 = 2;
    /// The flush of a file that a cut has ended.
    pub const CUT_SYNC: u64 = 3;
    /// The creation of the file behind a cut.
    pub const CUT_CREATE: u64 = 4;
    /// Closing an old file.
    pub const CLOSE: u64 = 5;
    /// A piece of filler.
    pub const FILL: u64 = 6;
    /// Opening the file past the page cache.
    pub const DIRECT: u64 = 7;
    /// Cutting filler off a file that has ended.
    pub const SHORTEN: u64 = 8;
    /// Taking room for a file that grows.
    pub const RESERVE: u64 = 9;
    /// Letting go of what the page cache has of it.
    pub const FORGET: u64 = 10;
    /// Putting what is written on its way to the medium.
    pub const SEND: u64 = 11;
    /// Bits of a token that say what it is.
    pub const NUMBER: u32 = 8;
    /// First token of the cut coordinator's operations.
    pub const COORDINATOR: u64 = 16;

    /// What a token is, without its number.
    pub fn kind(token: u64) -> u64 {
        token & ((1 << NUMBER) - 1)
    }
}

/// The file that is written.
#[derive(Clone, Copy, Debug)]
pub struct LogFile {
    /// Its descriptor.
    pub id: FileId,
    /// Seed of its checksums.
    pub seed: u64,
    /// Checksum of its last frame, or the seed.
    pub sum: u64,
    /// Its length in bytes.
    pub offset: u64,
}

/// What a completion did.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to tell.
    Quiet,
    /// Writes began to fail, with this error: its text, and what it is.
    Failing(String, std::io::ErrorKind),
    /// Writes work again.
    Mended,
    /// Something to be said to the operator.
    Said(String),
    /// A flush failed, with this error text: the log must go on in another file.
    Broken(String),
}

/// The log writer.
#[derive(Debug)]
pub struct LogWriter {
    policy: FsyncPolicy,
    /// `offset` and `sum` are those behind the last frame started.
    file: LogFile,
    /// Offset behind the bytes of the last frame started, without what pads its block.
    tight: u64,
    ahead: Ahead,
    growing: Growing,
    /// How frames over filler are flushed.
    way: Way,
    /// Payload not yet framed, besides what the keyspace's effects hold.
    backlog: Vec<u8>,
    /// Payload of the generation behind a cut that is under way.
    behind: Vec<u8>,
    /// A cut is under way: what is gathered belongs behind it.
    cutting: bool,
    /// Position behind the last frame made.
    appended: u64,
    written: u64,
    durable: u64,
    /// The raw point under `everysec`.
    counted: u64,
    /// When the oldest write that is not durable was written.
    exposed_us: Option<u64>,
    /// The same for those that the flush in flight leaves out.
    exposed_next_us: Option<u64>,
    /// Frames in flight, waiting for another try, or completed before one in front of them.
    in_flight: VecDeque<InFlight>,
    /// Position, and count of the stream, that a flush in flight will make durable.
    syncing: Option<(u64, u64)>,
    last_sync_us: u64,
    /// Marks in the log that have not been released.
    marks: VecDeque<Marked>,
    /// Entries executed and not yet passed: (id, position to pass).
    entries: VecDeque<(u64, u64)>,
    release: u64,
    streamed: Streamed,
    failing: bool,
    /// Nothing is written at once before this time: a flush took long.
    busy_until_us: u64,
    /// Set while a cut is under way: nothing is framed.
    held: bool,
    /// Nothing is begun any more.
    stopped: bool,
    spare: Vec<u8>,
    unflushed: Unflushed,
    /// The database selected behind what was gathered, and behind what waits for the next file.
    selected: [usize; 2],
    stats: LogStats,
}

#[derive(Debug)]
struct InFlight {
    /// Its token.
    token: u64,
    /// What it writes; the bytes are there when it has completed.
    frame: Frame,
    /// Where it goes.
    file: FileId,
    offset: u64,
    /// When it was submitted, as far as [`LogWriter::pump`] was told the time.
    began_us: u64,
    completed: bool,
    /// The frame's bytes, when it waits for another try.
    retry: Option<(Vec<u8>, u64)>,
    len: usize,
    /// What it flushes.
    flush: Flush,
}

/// Figures for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogStats {
    /// Frames written.
    pub frames: u64,
    /// Bytes written, head lines included.
    pub bytes: u64,
    /// Flushes completed.
    pub syncs: u64,
    /// Times a flush was due while one was in flight.
    pub delayed: u64,
    /// Bytes of filler written.
    pub filler: u64,
    /// Of the frames, those written at once.
    pub at_once: u64,
}

impl InFlight {
    /// The disk has it.
    fn is_awaited(&self) -> bool {
        !self.completed && self.retry.is_none()
    }
}

impl LogWriter {
    /// A writer that goes on at `position` in `file`.
    pub fn new(policy: FsyncPolicy, file: LogFile, position: u64, now_us: u64) -> Self {
        LogWriter {
            policy,
            file,
            tight: file.offset,
            ahead: Ahead::default(),
            growing: Growing::default(),
            way: Way::default(),
            backlog: Vec::new(),
            behind: Vec::new(),
            cutting: false,
            appended: position,
            written: position,
            durable: position,
            counted: position,
            exposed_us: None,
            exposed_next_us: None,
            in_flight: VecDeque::new(),
            syncing: None,
            last_sync_us: now_us,
            marks: VecDeque::new(),
            entries: VecDeque::new(),
            release: position,
            streamed: Streamed::default(),
            failing: false,
            busy_until_us: 0,
            held: false,
            stopped: false,
            spare: Vec::new(),
            unflushed: Unflushed::new(Safe { sum: file.sum, tight: file.offset, db: 0 }),
            selected: [0; 2],
            stats: LogStats::default(),
        }
    }

    /// The release point.
    pub fn release(&self) -> u64 {
        self.release
    }

    /// Figures for INFO.
    pub fn stats(&self) -> LogStats {
        LogStats { filler: self.ahead.bytes(), ..self.stats }
    }

    /// The file being written.
    pub fn file(&self) -> &LogFile {
        &self.file
    }

    /// Where the file being written ends, without filler, in bytes.
    pub fn tight(&self) -> u64 {
        self.tight
    }

    /// Whether the file is to be written ahead of its frames from here on. What has been written
    /// ahead is used up first where it is not.
    pub fn set_segment(&mut self, wanted: bool) {
        self.ahead.set_wanted(wanted);
    }

    /// Whether room may be taken ahead of a file that grows.
    pub fn set_reserving(&mut self, wanted: bool) {
        self.growing.set_wanted(wanted);
    }

    /// Whether it is written ahead.
    pub fn is_segment(&self) -> bool {
        self.ahead.is_in_force()
    }

    /// Position known durable.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Position behind the last frame made.
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// Position behind everything gathered.
    pub fn gathered(&self) -> u64 {
        self.appended + (self.backlog.len() + self.behind.len()) as u64
    }

    /// Whether writes fail at present.
    pub fn is_failing(&self) -> bool {
        self.failing || self.is_broken()
    }

    /// Bytes that wait to be written.
    pub fn buffered(&self) -> usize {
        self.backlog.len() + self.behind.len() + self.in_flight.iter().map(|f| f.len).sum::<usize>()
    }

    /// When the write with this token was submitted, in monotonic microseconds.
    pub fn began_us(&self, token: u64) -> Option<u64> {
        self.in_flight.iter().find(|f| f.token == token).map(|f| f.began_us)
    }

    /// Whether a flush is in flight.
    pub fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// Whether what is written is flushed before it counts.
    pub fn flushes(&self) -> bool {
        self.policy == FsyncPolicy::Always
    }

    /// Changes the policy; what was acknowledged before keeps the promise it was given.
    pub fn set_policy(&mut self, policy: FsyncPolicy) {
        self.policy = policy;
    }

    /// Whether payload waits in here to be framed.
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Takes over payload that stands in front of whatever comes next.
    pub fn gather(&mut self, payload: Vec<u8>) {
        let waiting = if self.cutting { &mut self.behind } else { &mut self.backlog };
        if waiting.is_empty() {
            *waiting = payload;
        } else {
            waiting.extend_from_slice(&payload);
        }
    }

    /// The database that is selected behind what has been gathered, and the stream's count there.
    pub fn note_behind(&mut self, db: usize, stream: u64) {
        self.selected[usize::from(self.cutting)] = db;
        self.streamed.gathered[usize::from(self.cutting)] = stream;
    }

    /// The shard has executed a cut: what is gathered from here on waits for the next file, which
    /// begins at this count of the stream.
    pub fn begin_cut(&mut self, stream: u64) {
        assert!(!self.cutting, "one cut at a time");
        self.cutting = true;
        self.streamed.gathered[1] = stream;
        self.streamed.next_file = stream;
    }

    /// An emptied buffer for the effects.
    pub fn spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    /// Whether a frame could be started now.
    pub fn is_free(&self) -> bool {
        let depth = if self.goes_deep() { DEPTH } else { 1 };
        self.in_flight.len() < depth
            && !self.held
            && !self.is_broken()
            && self.unflushed.bytes() < KEPT_MAX
    }

    /// Whether a frame may be started behind others that are in flight: when each makes its own
    /// bytes durable, and all that is in front of them is.
    fn goes_deep(&self) -> bool {
        self.flushes()
            && self.durable == self.written
            && self.in_flight.iter().all(|f| f.flush == Flush::Own && f.retry.is_none())
            && self.ahead.is_ready(self.file.offset)
    }

    /// Whether everything gathered has been written and, except under `no`, flushed.
    pub fn is_clean(&self) -> bool {
        self.is_drained() && !self.is_broken()
    }

    /// Whether a frame can be started.
    pub fn has_frame_to_write(&self) -> bool {
        self.is_free() && !self.backlog.is_empty() && self.place() != Place::Wait
    }

    /// Whether a frame in flight flushes through this descriptor.
    fn is_flushing(&self, file: FileId) -> bool {
        let flushes = |f: &InFlight| f.file == file && f.flush != Flush::No && f.is_awaited();
        self.in_flight.iter().any(flushes)
    }

    fn place(&self) -> Place {
        let flush = self.flush();
        if self.syncing.is_some() && flush == Flush::File
            || self.growing.is_sending() && flush != Flush::No
        {
            return Place::Wait;
        }
        let most = (HEAD_MAX + self.backlog.len()) as u64;
        match self.ahead.place(self.file.offset, most) {
            Place::Append | Place::Over if !self.in_flight.is_empty() => Place::Wait,
            place => place,
        }
    }

    /// Starts what can be started: a frame of everything gathered, a flush that is due, filler.
    pub fn pump(&mut self, disk: &mut impl Disk, now_us: u64) {
        if self.is_broken() || self.stopped {
            return;
        }
        self.retry(disk, now_us);
        if self.in_flight.is_empty() {
            self.ahead.tidy(disk);
        }
        self.ahead.set_paused(self.cutting || self.held);
        if !self.has_flush() && !self.is_flushing(self.file.id) {
            self.ahead.pump(disk, self.file.id, self.file.offset);
        }
        if self.has_frame_to_write() {
            self.start_frame(disk, now_us);
        }
        // In front of what is sent piece by piece, or one piece after the other would hold it up.
        self.start_sync(disk, now_us, false);
        if !self.flushes() && !self.cutting && !self.held {
            self.pump_aside(disk);
        }
    }

    fn pump_aside(&mut self, disk: &mut impl Disk) {
        let file = self.file.id;
        let flushes = self.syncing.is_some() || self.ahead.is_busy() || self.is_flushing(file);
        self.growing.set_sends(!flushes);
        let written = self.in_flight.front().map_or(self.file.offset, |f| f.offset);
        let done = (written, self.unflushed.safe().tight);
        self.growing.pump(disk, file, self.file.offset, done);
    }

    /// Whether a flush of the file is in flight, or what may lose pages as one does.
    fn has_flush(&self) -> bool {
        self.syncing.is_some() || self.growing.is_sending()
    }

    /// Whether nothing is in flight on the file beside frames and flushes.
    fn is_quiet_aside(&self) -> bool {
        !self.ahead.is_busy() && !self.growing.is_busy()
    }

    /// The process is stopping: nothing more is written ahead.
    pub fn rest(&mut self) {
        self.ahead.set_wanted(false);
    }

    fn start_frame(&mut self, disk: &mut impl Disk, now_us: u64) {
        let place = self.place();
        let (token, op) = self.next_frame(place, now_us);
        disk.submit(token, op);
    }

    /// What is gathered as the next frame, which counts as in flight from here on.
    fn next_frame(&mut self, place: Place, now_us: u64) -> (u64, DiskOp) {
        let payload = std::mem::take(&mut self.backlog);
        let head = FrameHead {
            pos: self.appended,
            len: payload.len() as u64,
            durable: self.durable,
            written: self.written,
            prev: self.file.sum,
        };
        let len = payload.len();
        self.appended += len as u64;
        let (mut data, sum) = self.frame(&head, payload);
        let offset = self.file.offset;
        self.tight = offset + data.len() as u64;
        let (end, tight, db) = (self.appended, self.tight, self.selected[0]);
        let line = data.len() - len;
        let stream = self.streamed.gathered[0];
        let frame = Frame { end, stream, sum, tight, line, len, db, data: Vec::new() };
        let file = match place {
            Place::Block(direct) => direct,
            Place::Append | Place::Over | Place::Wait => self.file.id,
        };
        if place != Place::Append {
            filler::fill(&mut data, self.tight, self.tight + filler::padding(self.tight));
            self.ahead.used(data.len() as u64);
        }
        self.file.sum = sum;
        self.file.offset += data.len() as u64;
        let used = |n: u64| self.in_flight.iter().any(|f| f.token >> token::NUMBER == n);
        let number = (0..).find(|n| !used(*n)).unwrap_or_default();
        let flush = match (self.flush(), place) {
            // No two flushes of a file: one that was begun otherwise comes first.
            (Flush::Own, Place::Block(_)) if self.syncing.is_none() => self.way.next(),
            (flush, _) => flush,
        };
        let len = data.len();
        let token = token::WRITE | number << token::NUMBER;
        self.in_flight.push_back(InFlight {
            token,
            frame,
            file,
            offset,
            began_us: now_us,
            completed: false,
            retry: None,
            len,
            flush,
        });
        (token, DiskOp::Write { file, offset, data, flush })
    }

    /// A frame's bytes and its checksum. A small payload's buffer is kept to be filled again; a
    /// large one becomes the frame, since memory as large again would take long to come by.
    fn frame(&mut self, head: &FrameHead, mut payload: Vec<u8>) -> (Vec<u8>, u64) {
        if payload.capacity() > 1 << 20 {
            let mut line = Vec::with_capacity(HEAD_MAX);
            let sum = head.encode(&mut line, self.file.seed, &payload);
            payload.splice(0..0, line);
            return (payload, sum);
        }
        let mut data = self.unflushed.buffer(HEAD_MAX + payload.len());
        let sum = head.encode(&mut data, self.file.seed, &payload);
        data.extend_from_slice(&payload);
        self.spare = payload;
        self.spare.clear();
        (data, sum)
    }

    /// What a write of now has to flush.
    fn flush(&self) -> Flush {
        match self.policy {
            FsyncPolicy::EverySec | FsyncPolicy::No => Flush::No,
            FsyncPolicy::Always if self.durable == self.written => Flush::Own,
            // What an earlier policy has left in the page cache has to go with it.
            FsyncPolicy::Always => Flush::File,
        }
    }

    /// Starts a flush if one is due, or `now`; true when one is in flight afterwards.
    pub fn start_sync(&mut self, disk: &mut impl Disk, now_us: u64, now: bool) -> bool {
        if self.held || self.stopped || self.is_broken() {
            // The cut's own flush covers all of the old file, and nothing may be in flight on that
            // file when the log goes on in the next.
            return self.syncing.is_some();
        }
        let interval = match self.policy {
            // A write carries its own flush, but for one begun under another policy.
            FsyncPolicy::Always if self.in_flight.is_empty() => 0,
            FsyncPolicy::Always if !now => return self.syncing.is_some(),
            FsyncPolicy::Always | FsyncPolicy::EverySec => SECOND_US,
            FsyncPolicy::No => LAZY_FLUSH_US,
        };
        let now = now || self.unflushed.bytes() >= KEPT_SOON;
        let due = now || now_us.saturating_sub(self.last_sync_us) >= interval;
        if self.durable == self.written || !due {
            return self.syncing.is_some();
        }
        if self.syncing.is_some() {
            self.stats.delayed += u64::from(!now && self.last_sync_us != now_us);
            return true;
        }
        let flushing = self.in_flight.iter().any(|f| f.flush != Flush::No && f.is_awaited());
        if flushing || self.ahead.is_busy() || self.has_flush() {
            return false;
        }
        self.syncing = Some((self.written, self.streamed.written));
        self.exposed_next_us = None;
        self.last_sync_us = now_us;
        disk.submit(token::SYNC, DiskOp::Sync { file: self.file.id });
        true
    }

    /// When the next flush is due, in monotonic microseconds, if anything waits for one.
    pub fn next_due_us(&self) -> Option<u64> {
        if self.is_broken() || self.stopped {
            return None;
        }
        if let Some(at) = self.retry_us() {
            return Some(at);
        }
        if self.durable == self.written || self.has_flush() || self.held {
            return None;
        }
        match self.policy {
            FsyncPolicy::Always => None,
            FsyncPolicy::EverySec => Some(self.last_sync_us + SECOND_US),
            FsyncPolicy::No => Some(self.last_sync_us + LAZY_FLUSH_US),
        }
    }

    /// Takes a completion of [`token::WRITE`], [`token::SYNC`] or of what writes ahead.
    pub fn done(&mut self, done: DiskDone, now_us: u64) -> Outcome {
        let said = |said: Option<String>| said.map_or(Outcome::Quiet, Outcome::Said);
        match token::kind(done.token) {
            token::WRITE => self.write_done(done, now_us),
            token::SYNC => self.sync_done(&done, now_us),
            token::SHORTEN => said(self.ahead.shortened(done.result)),
            token::DIRECT => said(self.ahead.opened(done.result)),
            token::RESERVE | token::SEND | token::FORGET => {
                let lost = self.growing.done(done.token, &done.result);
                lost.map_or(Outcome::Quiet, |error| self.broke(error))
            }
            token::FILL => {
                let broke = done.result.as_ref().err().filter(|_| done.sync_failed);
                let broke = broke.map(|error| self.broke(error));
                match self.ahead.piece_done(done.result, self.file.offset) {
                    Ok(offset) => {
                        self.file.offset = offset;
                        Outcome::Quiet
                    }
                    Err(text) => broke.unwrap_or(Outcome::Said(text)),
                }
            }
            other => unreachable!("token {other} is not the writer's"),
        }
    }

    fn write_done(&mut self, done: DiskDone, now_us: u64) -> Outcome {
        let found = self.in_flight.iter_mut().find(|f| f.token == done.token && !f.completed);
        let flight = found.expect("a write was in flight");
        if done.sync_failed || self.unflushed.is_broken() {
            // Nothing that is heard of this file counts any more.
            flight.completed = true;
            flight.frame.data = done.data;
            let error = done.result.err().filter(|_| done.sync_failed);
            return error.map_or(Outcome::Quiet, |error| self.broke(&error));
        }
        if let Err(error) = done.result {
            let direct = flight.file != self.file.id;
            let wait = if direct { 0 } else { RETRY_US };
            flight.retry = Some((done.data, now_us + wait));
            if direct {
                let said = self.ahead.refused(&error);
                return said.map_or(Outcome::Quiet, Outcome::Said);
            }
            let first = !std::mem::replace(&mut self.failing, true);
            let failing = Outcome::Failing(plain(&error), error.kind());
            return if first { failing } else { Outcome::Quiet };
        }
        flight.completed = true;
        flight.frame.data = done.data;
        if flight.file != self.file.id && flight.flush != Flush::No {
            self.way.took(flight.flush, now_us.saturating_sub(flight.began_us));
        }
        while self.in_flight.front().is_some_and(|f| f.completed) {
            let flight = self.in_flight.pop_front().expect("just looked");
            // A flush of its own bytes says nothing of what is in front of them.
            let all = match flight.flush {
                Flush::No => false,
                Flush::Own => self.durable == self.written,
                Flush::File => true,
            };
            self.written = flight.frame.end;
            self.streamed.written = flight.frame.stream;
            self.unflushed.written(flight.frame);
            self.stats.frames += 1;
            self.stats.bytes += flight.len as u64;
            if all {
                self.durable = self.written;
                self.streamed.durable = self.streamed.written;
                self.unflushed.flushed(self.durable);
                self.unflushed.released(self.release);
                self.stats.syncs += 1;
                self.exposed_us = None;
                self.exposed_next_us = None;
            } else {
                self.exposed_us.get_or_insert(now_us);
                self.exposed_next_us.get_or_insert(now_us);
            }
        }
        self.count(now_us);
        let mended = self.failing && self.retry_us().is_none();
        self.failing &= !mended;
        if mended { Outcome::Mended } else { Outcome::Quiet }
    }

    fn sync_done(&mut self, done: &DiskDone, now_us: u64) -> Outcome {
        let (upto, stream) = self.syncing.take().expect("a flush was in flight");
        self.note_flush(now_us.saturating_sub(self.last_sync_us), now_us);
        if let Err(error) = &done.result {
            return self.broke(error);
        }
        if self.is_broken() {
            return Outcome::Quiet;
        }
        if upto > self.durable {
            (self.durable, self.streamed.durable) = (upto, stream);
        }
        self.unflushed.flushed(self.durable);
        self.unflushed.released(self.release);
        self.stats.syncs += 1;
        self.exposed_us = self.exposed_next_us;
        self.count(now_us);
        Outcome::Quiet
    }

    /// A cut begins: frames what is gathered and then frames no more until [`LogWriter::resume`].
    /// True when everything up to the end is in flight or written.
    pub fn hold(&mut self, disk: &mut impl Disk, now_us: u64) -> bool {
        self.ahead.set_paused(true);
        if self.is_broken() {
            self.held = true;
            return self.collect();
        }
        if self.in_flight.is_empty() && self.has_frame_to_write() {
            self.start_frame(disk, now_us);
        }
        let all_framed = self.backlog.is_empty();
        self.held = all_framed;
        all_framed
    }

    /// Whether, during a cut, everything framed has been written.
    pub fn is_drained(&self) -> bool {
        self.in_flight.is_empty()
            && self.backlog.is_empty()
            && self.syncing.is_none()
            && self.is_quiet_aside()
    }

    /// Nothing comes of a cut that has taken no position: the log goes on in the old file, of which
    /// the flush in front of the cut is not in flight.
    pub fn go_back(&mut self) {
        self.held = false;
        self.cutting = false;
        let behind = std::mem::take(&mut self.behind);
        if !behind.is_empty() {
            self.gather(behind);
            self.selected[0] = self.selected[1];
            self.streamed.gathered[0] = self.streamed.gathered[1];
        }
    }

    /// The cut is committed: the log goes on in `file`, at `position`.
    pub fn resume(&mut self, file: LogFile, position: u64) {
        assert!(self.in_flight.is_empty() && self.syncing.is_none());
        assert!(self.is_broken() || self.durable == self.appended);
        assert!(position >= self.appended);
        let (broken, safe) = (self.is_broken(), self.unflushed.safe());
        let end = if broken { safe.tight } else { self.tight };
        let longer = self.growing.next_file(end, file.offset) || broken;
        self.ahead.next_file(self.file.id, end, longer);
        self.unflushed.next_file(Safe { sum: file.sum, tight: file.offset, db: 0 });
        self.selected[0] = self.selected[1];
        self.failing = false;
        self.file = file;
        self.tight = file.offset;
        self.appended = position;
        self.written = position;
        self.durable = position;
        self.counted = position;
        self.streamed.resume();
        self.held = false;
        self.cutting = false;
        self.backlog = std::mem::take(&mut self.behind);
    }
}

#[cfg(test)]
mod tests;
