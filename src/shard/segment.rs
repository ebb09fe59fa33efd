//! Writing a log file ahead of its frames: a commit is one write over blocks that are there.
//!
//! What makes a commit in a growing file slow is not its bytes but the file's new length and the
//! new blocks, which the file system's journal has to hold as well. So the file is *filled* ahead
//! with real bytes (reserved space would have to be converted), in pieces, in the background, and
//! frames are written over them, past the page cache:
//!
//! ```text
//!   frame pad | frame pad | frame      pad | filler filler filler | piece in flight |
//!   durable                                ^ offset               ^ filled          ^ touched
//! ```
//!
//! Invariants:
//!
//! 1. A frame goes over filler only where that is durable, and begins with a block of [`BLOCK`]
//!    bytes. What its last block has left is filler, so the next frame begins with a block
//!    as well: **no block that holds a frame is written again.** (A write that failed is repeated
//!    with the same bytes.)
//! 2. A piece never overlaps a frame: it begins at the end of all that has been started.
//! 3. Nothing waits for a piece but a frame that fits into it and not in front of it; a large
//!    frame, or one whose file cannot be filled, makes the file grow as without filler.
//! 4. Filler is cut off where a file ends for good: behind a cut, at a clean stop, and by recovery.
//!    A file that a crash has left is never appended to.

use crate::persist::aof::filler::{self, BLOCK};
use crate::persist::disk::{AheadSizes, Disk, DiskOp, FileId, Flush};
use crate::shard::log::token;

/// A segment must take at most so many hundredths of what an append takes.
const FASTER: u64 = 80;
/// An append that takes less than this waits for no medium (a file system in memory): there is
/// nothing to be won, and room is scarce there.
const MEDIUM_US: u64 = 10;
/// So many frames of the usual length go over one piece: a commit beside a piece takes longer, so
/// pieces are to be few; and the longer they are, the longer it takes.
const FRAMES: u64 = 16;
/// Frames that may be in flight together where each goes over filler.
pub const DEPTH: usize = 1;

/// What a commit was measured to take, as medians in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// In a growing file.
    pub append_us: u64,
    /// Over blocks written ahead.
    pub segment_us: u64,
}

impl Costs {
    /// Whether writing ahead is worth its bytes.
    pub fn prefers_segment(&self) -> bool {
        self.append_us >= MEDIUM_US
            && self.segment_us > 0
            && self.segment_us * 100 <= self.append_us * FASTER
    }
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To the file's end, which moves with it.
    Append,
    /// Over filler, through this file.
    Block(FileId),
    /// To the file's end, over what filler there may be: in whole blocks, so that what is left of
    /// the filler stays filler.
    Over,
    /// Nowhere before the piece in flight is there.
    Wait,
}

/// What is said where a file cannot be cut.
pub(super) fn not_shortened(error: &std::io::Error) -> String {
    format!("Cutting a file of the log to its end failed: {error}")
}

/// What has been written ahead in one file.
#[derive(Debug, Default)]
pub struct Ahead {
    /// The method is in force for what comes next.
    wanted: bool,
    /// Nothing more is begun for now: the file is about to end.
    paused: bool,
    /// The file past the page cache.
    direct: Option<FileId>,
    opening: bool,
    /// Offset behind the durable filler.
    filled: u64,
    /// Offset behind all filler that was ever tried.
    touched: u64,
    /// The piece in flight: from, to.
    filling: Option<(u64, u64)>,
    /// Filling this file has failed.
    gave_up: bool,
    /// Of a file that has ended: what is to be closed, and cut.
    old_direct: Option<FileId>,
    old_end: Option<(FileId, u64)>,
    /// Files that are being cut.
    shortening: u32,
    /// Longest frame that waits for filler.
    waits: u64,
    /// Usual length of a frame.
    usual: u64,
    /// Bytes of filler written.
    bytes: u64,
}

impl Ahead {
    /// Whether frames are to go over filler.
    pub fn set_wanted(&mut self, wanted: bool) {
        if wanted && !self.wanted {
            self.gave_up = false;
        }
        self.wanted = wanted;
    }

    /// The file is about to end, or goes on after all.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Whether frames go over filler, or will once there is some.
    pub fn is_in_force(&self) -> bool {
        self.wanted && !self.gave_up
    }

    /// Bytes of filler written so far, over all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether an operation of this is in flight on the file.
    pub fn is_busy(&self) -> bool {
        self.filling.is_some() || self.opening
    }

    /// Whether the next frame, if it is no long one, goes over filler.
    pub fn is_ready(&self, offset: u64) -> bool {
        self.direct.is_some() && self.filled >= offset + 2 * BLOCK
    }

    fn goes_on(&self) -> bool {
        self.is_in_force() && !self.paused && self.direct.is_some()
    }

    /// Where a frame of at most `most` bytes goes, when the next one begins at `offset`.
    pub fn place(&self, offset: u64, most: u64) -> Place {
        let over = if offset < self.touched { Place::Over } else { Place::Append };
        if offset < self.filled {
            let Some(direct) = self.direct else { return Place::Over };
            // Padding may take a block more than the last byte's.
            if (offset + most).next_multiple_of(BLOCK) + BLOCK <= self.filled {
                return Place::Block(direct);
            }
            if self.goes_on() && most <= self.waits {
                return Place::Wait;
            }
        }
        if self.filling.is_some() { Place::Wait } else { over }
    }

    /// Cuts and closes what is over; nothing may be in flight on it.
    pub fn tidy(&mut self, disk: &mut impl Disk) {
        if let Some((file, len)) = self.old_end.take() {
            self.shortening += 1;
            disk.submit(token::SHORTEN, DiskOp::Truncate { file, len });
        }
        if let Some(file) = self.old_direct.take() {
            disk.submit(token::CLOSE, DiskOp::Close { file });
        }
    }

    /// A file that has ended has been cut, or not; gives what is to be said.
    pub fn shortened(&mut self, done: std::io::Result<Option<FileId>>) -> Option<String> {
        self.shortening -= 1;
        done.err().as_ref().map(not_shortened)
    }

    /// Files that are being cut.
    pub fn shortening(&self) -> u32 {
        self.shortening
    }

    /// Whether every file that has ended has been cut.
    pub fn is_tidy(&self) -> bool {
        self.old_end.is_none() && self.shortening == 0
    }

    /// Starts what is due: opening, the next piece. `offset` is where the next frame of `file`
    /// would begin.
    pub fn pump(&mut self, disk: &mut impl Disk, file: FileId, offset: u64) {
        // An idle server fills nothing: the first frame comes before.
        if !self.is_in_force() || self.paused || self.is_busy() || offset == 0 {
            return;
        }
        if self.direct.is_none() {
            self.opening = true;
            return disk.submit(token::DIRECT, DiskOp::Direct { file });
        }
        let sizes = disk.ahead();
        self.waits = sizes.waits;
        if self.filled.saturating_sub(offset) >= sizes.kept {
            return;
        }
        let from = self.filled.max(offset);
        let to = from + filler::padding(from) + self.piece(offset, &sizes);
        let mut data = Vec::new();
        filler::fill(&mut data, from, to);
        self.filling = Some((from, to));
        self.touched = self.touched.max(to);
        let op = DiskOp::Write { file, offset: from, data, flush: Flush::File };
        disk.submit(token::FILL, op);
    }

    /// Length of the next piece, when the next frame begins at `offset`.
    fn piece(&self, offset: u64, sizes: &AheadSizes) -> u64 {
        if self.filled < offset + sizes.waits {
            return sizes.piece;
        }
        (FRAMES * self.usual).next_multiple_of(BLOCK).clamp(sizes.least, sizes.piece)
    }

    /// A frame of `len` bytes has gone over filler.
    pub fn used(&mut self, len: u64) {
        self.usual = (7 * self.usual + len) / 8;
    }

    /// The file has been opened past the page cache, or not; gives what is to be said.
    pub fn opened(&mut self, opened: std::io::Result<Option<FileId>>) -> Option<String> {
        self.opening = false;
        match opened {
            Ok(file) => {
                self.direct = file;
                None
            }
            Err(error) => Some(self.give_up(&error)),
        }
    }

    /// The piece has been written, or not; gives where the next frame begins that would have begun
    /// at `offset`, or what is to be said.
    pub fn piece_done(
        &mut self,
        done: std::io::Result<Option<FileId>>,
        offset: u64,
    ) -> Result<u64, String> {
        let (from, to) = self.filling.take().expect("a piece was in flight");
        match done {
            Ok(_) => {
                self.filled = to;
                self.bytes += to - from;
                // Where there was no filler it began behind the last frame's last byte.
                Ok(if offset == from { from + filler::padding(from) } else { offset })
            }
            Err(error) => Err(self.give_up(&error)),
        }
    }

    /// A write past the page cache has failed: what is left of the filler is used through it.
    pub fn refused(&mut self, error: &std::io::Error) -> Option<String> {
        let first = self.direct.is_some() && !self.gave_up;
        self.old_direct = self.direct.take().or(self.old_direct);
        first.then(|| self.give_up(error))
    }

    fn give_up(&mut self, error: &std::io::Error) -> String {
        self.gave_up = true;
        format!("Writing the log ahead failed: {error}; this file grows as it is written instead")
    }

    /// The log goes on in another file; this one ended at `end`, and is `longer` than that for
    /// other reasons than filler, or has room behind it.
    pub fn next_file(&mut self, old: FileId, end: u64, longer: bool) {
        assert!(!self.is_busy(), "nothing is in flight on a file that ends");
        let old_end = (self.touched > end || longer).then_some((old, end));
        let old_direct = self.direct.take().or(self.old_direct);
        let (wanted, waits, usual) = (self.wanted, self.waits, self.usual);
        let (shortening, bytes) = (self.shortening, self.bytes);
        let next = Ahead { wanted, waits, usual, shortening, bytes, ..Ahead::default() };
        *self = Ahead { old_end, old_direct, ..next };
    }
}

#[cfg(test)]
mod tests;
