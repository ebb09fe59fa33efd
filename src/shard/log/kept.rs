//! What has been written and is not durable: kept in memory until it is, since a flush that fails
//! is never tried again on the same file.
//!
//! # Why not
//!
//! When a flush fails, the kernel may have marked pages as clean that it never wrote. A second
//! flush of that file then succeeds without them, and the page cache shows them as if they were
//! there. So whatever was written since the last flush that succeeded is unknown, and stays so.
//!
//! # What is done instead
//!
//! ```text
//!   old file:  | frames, durable | frames, unknown |        memory: the unknown frames' payload
//!                                ^ safe
//!   cut:       old file named to end at `safe` | tail part: that payload | new files, all shards
//! ```
//!
//! The log is *broken* from that moment on: nothing is written to the file, none of its completions
//! counts, nothing is released. The shard asks for a cut of all logs ([`crate::shard::mend`]), or
//! is part of one that is under way. In it the payload of the unknown frames goes into a *tail*
//! part, a small file of plain commands whose length and checksum the manifest holds, as recovery
//! writes it for the kept front of a torn frame. The manifest's rename names at once the end of the
//! old file, the tail and the new files.
//!
//! # Why that is right
//!
//! 1. In front of the rename the old manifest stands, and no file that it names has been cut or
//!    written to since the failure: a crash finds what it would have found at the failure, that is
//!    everything up to `safe`, and perhaps more. Nothing behind `safe` was acknowledged under
//!    `always`; under the other policies no more than what the policy may lose.
//! 2. The tail and the names of all new files are flushed before the rename. Behind it the old file
//!    counts up to `safe`, which a flush that succeeded covers, and the tail holds the rest of what
//!    was executed in front of the cut: together exactly the shard's old log. Bytes of the old file
//!    behind a named end never count, so it may be cut, and is cut only then.
//! 3. The old logs are sealed and the cut is an entry for all shards: every entry in front of it
//!    has all its parts in old files and tails. So no mark in a tail needs to be looked at again,
//!    and none in a new file asks for less than the whole of the old generation.
//! 4. Positions run on: the new file begins where the old log ended, tail included, so that marks
//!    of other shards that name positions within the tail are met by it.
//! 5. Shards' tails may be replayed one after another, behind all old files: no key is in two.
//!
//! # The bound
//!
//! Kept is what the policy leaves unflushed. From [`KEPT_SOON`] bytes on a flush begins before its
//! time, and at [`KEPT_MAX`] no further frame is started before it has ended; what is executed
//! meanwhile is bounded as for any slow disk. So what a failure needs is always in memory.

use std::collections::VecDeque;
use std::io;

use crate::persist::aof::format::write_border;
use crate::shard::log::buffers::Buffers;
use crate::shard::log::{InFlight, LogWriter, Outcome, SECOND_US};

/// Unflushed bytes from which on a flush is due at once.
pub const KEPT_SOON: usize = 32 << 20;
/// Unflushed bytes at which nothing more is written before a flush has ended.
pub const KEPT_MAX: usize = 128 << 20;
/// Bytes kept of what is durable and not released: beyond that nobody looks at them.
const STUCK_MAX: usize = 4 << 20;

/// A frame that is not known to be durable.
#[derive(Debug, Default)]
pub struct Frame {
    /// Position behind it.
    pub end: u64,
    /// The stream's count behind it.
    pub stream: u64,
    /// Its checksum.
    pub sum: u64,
    /// Offset behind its bytes, without what pads its block.
    pub tight: u64,
    /// Length of its head line.
    pub line: usize,
    /// Length of its payload.
    pub len: usize,
    /// The database selected behind it.
    pub db: usize,
    /// Its bytes, once the write that carries them has completed.
    pub data: Vec<u8>,
}

impl Frame {
    /// Where it begins, and its payload out of its bytes.
    fn piece<'d>(&self, data: &'d [u8]) -> (u64, &'d [u8]) {
        (self.end - self.len as u64, &data[self.line..self.line + self.len])
    }
}

/// A place behind which nothing is known to be durable.
#[derive(Clone, Copy, Debug)]
pub struct Safe {
    /// Checksum of the frame in front of it, or the seed.
    pub sum: u64,
    /// Offset of the first byte that does not count.
    pub tight: u64,
    /// The database selected there.
    pub db: usize,
}

/// Where an old file ends, and what was written behind it.
#[derive(Debug, Default)]
pub struct Ending {
    /// Position at which the log goes on in another file.
    pub pos: u64,
    /// The stream's count there.
    pub stream: u64,
    /// Position of the end that is named, and the checksum of the last frame in front of it.
    pub named: (u64, u64),
    /// Length of the old file in bytes.
    pub len: u64,
    /// A flush of the old file has failed.
    pub broken: bool,
    /// Commands that stand between the named end and `pos`.
    pub tail: Vec<u8>,
}

/// Frames that are not durable, and what becomes of them when they cannot be made so.
#[derive(Debug)]
pub struct Unflushed {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Frames that are durable and perhaps not released, with their bytes.
    stuck: VecDeque<Frame>,
    stuck_bytes: usize,
    buffers: Buffers,
    safe: Safe,
    broken: bool,
    /// Payload of the unknown frames and of what was gathered behind them, once the log is broken
    /// and nothing is in flight.
    tail: Vec<u8>,
    /// Where a frame begins in it, and at which position.
    borders: Vec<(usize, u64)>,
}

impl Unflushed {
    /// Nothing is unflushed.
    pub fn new(safe: Safe) -> Self {
        let (frames, stuck, buffers, tail, borders) = Default::default();
        let (bytes, stuck_bytes, broken) = (0, 0, false);
        Unflushed { frames, bytes, stuck, stuck_bytes, buffers, safe, broken, tail, borders }
    }

    /// Nothing is unflushed in the next file.
    pub fn next_file(&mut self, safe: Safe) {
        let buffers = std::mem::take(&mut self.buffers);
        *self = Unflushed { buffers, ..Unflushed::new(safe) };
    }

    /// An empty buffer for a frame of `len` bytes.
    pub fn buffer(&mut self, len: usize) -> Vec<u8> {
        self.buffers.take(len)
    }

    /// Nothing is written for now: what is kept for further frames goes.
    pub fn rest(&mut self) {
        self.buffers.shrink(0);
    }

    /// Behind what is durable.
    pub fn safe(&self) -> Safe {
        self.safe
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A flush has failed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// A flush has failed: the file is given up.
    pub fn give_up(&mut self) {
        self.broken = true;
    }

    /// A frame has been written.
    pub fn written(&mut self, frame: Frame) {
        self.bytes += frame.data.len();
        self.frames.push_back(frame);
    }

    /// Everything in front of the position `durable` is durable.
    pub fn flushed(&mut self, durable: u64) {
        while self.frames.front().is_some_and(|frame| frame.end <= durable)
            && let Some(frame) = self.frames.pop_front()
        {
            self.bytes -= frame.data.len();
            self.safe = Safe { sum: frame.sum, tight: frame.tight, db: frame.db };
            self.stuck_bytes += frame.data.len();
            self.stuck.push_back(frame);
        }
    }

    /// Everything in front of the position `release` is released. As much of memory as what was
    /// durable in front of it took is kept for the next frames.
    pub fn released(&mut self, release: u64) {
        let (mut given, before) = (0, self.stuck.len());
        let too_much = self.stuck_bytes > STUCK_MAX;
        while self.stuck.front().is_some_and(|frame| too_much || frame.end <= release)
            && let Some(frame) = self.stuck.pop_front()
        {
            self.stuck_bytes -= frame.data.len();
            given += self.buffers.give(frame.data);
        }
        if self.stuck.len() < before {
            self.buffers.shrink(given);
        }
    }

    /// Takes over what was written last, and what has not been: `backlog`, from a position on.
    /// Nothing is in flight.
    pub fn collect(&mut self, in_flight: impl Iterator<Item = Frame>, backlog: (u64, &[u8])) {
        let written = std::mem::take(&mut self.frames);
        for frame in written.into_iter().chain(in_flight) {
            let (position, payload) = frame.piece(&frame.data);
            self.borders.push((self.tail.len(), position));
            self.tail.extend_from_slice(payload);
        }
        self.bytes = 0;
        if !backlog.1.is_empty() {
            self.borders.push((self.tail.len(), backlog.0));
            self.tail.extend_from_slice(backlog.1);
        }
    }

    /// The tail of a shard's log as a file of its own, which begins in database 0.
    pub fn tail(&self, shard: usize) -> Vec<u8> {
        let mut file = Vec::new();
        if self.safe.db != 0 && !self.tail.is_empty() {
            let db = self.safe.db.to_string();
            let select = format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{db}\r\n", db.len());
            file.extend_from_slice(select.as_bytes());
        }
        for (position, payload) in self.tail_pieces() {
            write_border(&mut file, (shard as u8, position));
            file.extend_from_slice(payload);
        }
        file
    }

    /// What was collected, in order, with the positions at which it begins.
    fn tail_pieces(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let ends = self.borders.iter().skip(1).map(|(at, _)| *at).chain([self.tail.len()]);
        let pieces = self.borders.iter().zip(ends);
        pieces.map(|(&(at, position), end)| (position, &self.tail[at..end]))
    }
}

impl LogWriter {
    /// Whether a flush has failed: the log must go on in another file.
    pub fn is_broken(&self) -> bool {
        self.unflushed.is_broken()
    }

    /// Bytes written that are not durable.
    pub fn unflushed(&self) -> usize {
        self.unflushed.bytes()
    }

    /// A flush has failed: nothing that this file holds behind what is durable counts any more.
    pub fn broke(&mut self, error: &io::Error) -> Outcome {
        let first = !self.is_broken();
        self.unflushed.give_up();
        if first { Outcome::Broken(plain(error)) } else { Outcome::Quiet }
    }

    /// Lets go of memory that is kept for frames, when there have been none for a while.
    pub fn rest_memory(&mut self, now_us: u64) {
        let still = self.unflushed.bytes() == 0 && self.in_flight.is_empty();
        if still && now_us.saturating_sub(self.last_sync_us) > 2 * SECOND_US {
            self.unflushed.rest();
        }
    }

    /// All payload that is not released, in order, up to everything gathered, and perhaps some that
    /// is; `None` where the disk has a part of it, or not all of it is kept. A file that is given
    /// up has no part of it that counts.
    pub fn unreleased(&self) -> Option<Vec<&[u8]>> {
        if self.cutting || self.in_flight.iter().any(InFlight::is_awaited) {
            return None;
        }
        let kept = &self.unflushed;
        let durable = kept.stuck.iter().map(|frame| frame.piece(&frame.data));
        let written = kept.frames.iter().map(|frame| frame.piece(&frame.data));
        let waiting = self.in_flight.iter().map(|flight| {
            let data = flight.retry.as_ref().map_or(&flight.frame.data, |(data, _)| data);
            flight.frame.piece(data)
        });
        let (mut pieces, mut reached) = (Vec::new(), self.release);
        for (begin, payload) in durable.chain(kept.tail_pieces()).chain(written).chain(waiting) {
            let end = begin + payload.len() as u64;
            if end <= self.release {
                continue;
            }
            if begin > reached {
                return None;
            }
            reached = end;
            pieces.push(payload);
        }
        pieces.push(&self.backlog);
        (reached == self.appended).then_some(pieces)
    }

    /// When what the disk has longest was handed to it, in monotonic microseconds.
    pub fn waits_since(&self) -> Option<u64> {
        let writes = self.in_flight.iter().filter(|f| f.is_awaited()).map(|f| f.began_us);
        writes.chain(self.syncing.map(|_| self.last_sync_us)).min()
    }

    /// Gathers what a broken file may not hold, once nothing is in flight; true when that is done.
    pub(super) fn collect(&mut self) -> bool {
        let awaited = self.in_flight.iter().any(InFlight::is_awaited);
        if awaited || self.syncing.is_some() || !self.is_quiet_aside() {
            return false;
        }
        let frames = self.in_flight.drain(..).map(|flight| {
            let data = flight.retry.map_or(flight.frame.data, |(data, _)| data);
            Frame { data, ..flight.frame }
        });
        self.unflushed.collect(frames, (self.appended, &self.backlog));
        self.appended += self.backlog.len() as u64;
        self.backlog.clear();
        true
    }

    /// Where the old file ends, once everything is drained, and what is to stand behind it.
    /// The log is that of `shard`.
    pub fn ending(&self, shard: usize) -> Ending {
        let (pos, broken, safe) = (self.appended, self.is_broken(), self.unflushed.safe());
        let stream = self.stream_gathered();
        match broken {
            true => {
                let (named, len, tail) =
                    ((self.durable, safe.sum), safe.tight, self.unflushed.tail(shard));
                Ending { pos, stream, named, len, broken, tail }
            }
            false => {
                let (named, len) = ((pos, self.file.sum), self.file.offset);
                Ending { pos, stream, named, len, broken, tail: Vec::new() }
            }
        }
    }
}

/// What the system says, without its number.
pub fn plain(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(at) = text.find(" (os error ") {
        text.truncate(at);
    }
    text
}
