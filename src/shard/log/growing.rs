//! What a file that grows is spared, while its writes are flushed only now and then: waiting for
//! the file system to find room, and a page cache full of bytes that nobody reads.
//!
//! ```text
//!   forgotten | durable, a margin | written, not flushed |  reserved  |
//!             ^ forgotten         ^ flushed              ^ offset     ^ reserved
//! ```
//!
//! * *Room is taken ahead*, behind the file's end, which stays where it is: no reader sees any of
//!   it. Without it a flush holds, while it finds room for a second's writes, what the next write
//!   has to wait for, for milliseconds.
//! * *What is durable leaves the page cache.* The pages it took are the next writes', instead of
//!   ever new ones, at the cost of the memory of everything else on the machine. What a failed
//!   flush would lose is not among it: that is kept as frames ([`super::kept`]).
//!
//! Both are done aside, nothing waits for them but the end of the file, and nothing depends on
//! them: a file system that refuses is not asked again for this file.

use crate::persist::disk::{Disk, DiskOp, FileId};
use crate::shard::log::token;

/// The longest piece of memory that holds a file's bytes together. It goes only when all of it is
/// to be forgotten, so one that was begun the last time is named again.
const FOLIO_MAX: u64 = 2 << 20;
/// Where ranges begin and end, in bytes.
const PAGE: u64 = 4096;

/// What is done beside the writes of one growing file.
#[derive(Debug, Default)]
pub struct Growing {
    /// Room may be taken.
    wanted: bool,
    /// The file system has refused to.
    refused: bool,
    /// Offset behind all room that was ever asked for.
    reserved: u64,
    /// Offset behind what has been forgotten.
    forgotten: u64,
    reserving: bool,
    forgetting: bool,
}

impl Growing {
    /// Whether room may be taken ahead from here on.
    pub fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Whether an operation of this is in flight on the file.
    pub fn is_busy(&self) -> bool {
        self.reserving || self.forgetting
    }

    /// Starts what is due in `file`: the next frame begins at `offset`, and all in front of
    /// `flushed` is durable.
    pub fn pump(&mut self, disk: &mut impl Disk, file: FileId, offset: u64, flushed: u64) {
        let sizes = disk.growing();
        let room = offset.min(sizes.room_max);
        let low = self.reserved.saturating_sub(offset) < room / 2;
        let may = self.wanted && !self.refused && !self.reserving;
        if may && low && offset >= sizes.room_min {
            let from = self.reserved.max(offset) / PAGE * PAGE;
            self.reserving = true;
            self.reserved = from + room;
            disk.submit(token::RESERVE, DiskOp::Reserve { file, offset: from, len: room });
        }
        let upto = flushed.saturating_sub(sizes.margin) / PAGE * PAGE;
        if !self.forgetting && upto >= self.forgotten + sizes.forgets {
            let from = self.forgotten.saturating_sub(FOLIO_MAX);
            self.forgetting = true;
            self.forgotten = upto;
            disk.submit(token::FORGET, DiskOp::Forget { file, offset: from, len: upto - from });
        }
    }

    /// Room has been taken, or not.
    pub fn reserve_done(&mut self, done: &std::io::Result<Option<FileId>>) {
        assert!(std::mem::replace(&mut self.reserving, false), "room was being taken");
        self.refused |= done.is_err();
    }

    /// Pages have been forgotten, or not.
    pub fn forget_done(&mut self) {
        assert!(std::mem::replace(&mut self.forgetting, false), "pages were being forgotten");
    }

    /// The log goes on in another file, at `offset`; gives whether the one that ended at `end` may
    /// have room behind it.
    pub fn next_file(&mut self, end: u64, offset: u64) -> bool {
        assert!(!self.is_busy(), "nothing is in flight on a file that ends");
        let longer = self.reserved > end;
        *self = Growing { wanted: self.wanted, forgotten: offset, ..Growing::default() };
        longer
    }
}

#[cfg(test)]
mod tests;
