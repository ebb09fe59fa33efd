//! What is done beside the writes of a file that grows, while they are flushed only now and then.
//!
//! ```text
//!   forgotten | durable, a margin | on its way | written, a margin |  reserved  |
//!             ^ forgotten         ^ flushed    ^ sent              ^ offset     ^ reserved
//! ```
//!
//! * *Room is taken ahead*, behind the file's end, which stays where it is: no reader sees any of
//!   it. Without it a flush holds, while it finds room for a second's writes, what the next write
//!   has to wait for, for milliseconds.
//! * *What is written goes on its way at once*, in pieces: so the flush finds little left to do,
//!   and does not keep the core to itself for it.
//! * *What is durable leaves the page cache.* The pages it took are the next writes', instead of
//!   ever new ones, at the cost of the memory of everything else on the machine. What a failed
//!   flush would lose is not among it: that is kept as frames ([`super::kept`]).
//!
//! All of it is done aside, nothing waits for it but the end of the file, and nothing depends on
//! it: a file system that has no room to give is not asked again for this file. But an error of
//! what goes on its way counts as one of a flush.

use std::io::{self, ErrorKind};

use crate::persist::disk::{Disk, DiskOp, FileId};
use crate::shard::log::token;

/// The longest piece of memory that holds a file's bytes together. It goes only when all of it is
/// to be forgotten, so one that was begun the last time is named again.
const FOLIO_MAX: u64 = 2 << 20;
/// Where ranges begin and end, in bytes.
const PAGE: u64 = 4096;

/// What a file system says that cannot write back a part of a file: nothing has been tried.
const UNKNOWN: [ErrorKind; 2] = [ErrorKind::InvalidInput, ErrorKind::Unsupported];

/// What is done beside the writes of one growing file. Of each kind one is in flight at a time.
#[derive(Debug, Default)]
pub struct Growing {
    /// Room may be taken.
    wanted: bool,
    /// The file system has refused to give some.
    refused: bool,
    /// Offset behind all room that was ever asked for.
    reserved: u64,
    /// Offset behind what was put on its way to the medium.
    sent: u64,
    /// Offset behind what has been forgotten.
    forgotten: u64,
    /// Pages may be put on their way.
    sends: bool,
    reserving: bool,
    sending: bool,
    forgetting: bool,
}

impl Growing {
    /// Whether room may be taken ahead from here on.
    pub fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Whether pages may be put on their way now: no flush is in flight.
    pub fn set_sends(&mut self, sends: bool) {
        self.sends = sends;
    }

    /// Whether pages are being put on their way: no flush may begin meanwhile. It would not hear
    /// of those that are lost, and might be heard of first.
    pub fn is_sending(&self) -> bool {
        self.sending
    }

    /// Whether room is being taken, which writes have to wait for.
    pub fn is_reserving(&self) -> bool {
        self.reserving
    }

    /// Whether an operation of this is in flight on the file.
    pub fn is_busy(&self) -> bool {
        self.reserving || self.sending || self.forgetting
    }

    /// Starts what is due in `file`: the next frame begins at `offset`; all in front of `written`
    /// is written, and all in front of `flushed` durable.
    pub fn pump(
        &mut self,
        disk: &mut impl Disk,
        file: FileId,
        offset: u64,
        (written, flushed): (u64, u64),
    ) {
        let sizes = disk.growing();
        let room = offset.min(sizes.room_max);
        let low = self.reserved.saturating_sub(offset) < room / 2;
        let may = self.wanted && !self.refused && !self.reserving;
        if may && low && offset >= sizes.room_min {
            let from = page(self.reserved.max(offset));
            self.reserving = true;
            self.reserved = from + room;
            disk.submit(token::RESERVE, DiskOp::Reserve { file, offset: from, len: room });
        }
        let (from, to) = (page(self.sent.max(flushed)), page(written.saturating_sub(sizes.margin)));
        if self.sends && !self.sending && to >= from + sizes.piece {
            self.sending = true;
            self.sent = to;
            disk.submit(token::SEND, DiskOp::WriteBack { file, offset: from, len: to - from });
        }
        // Piece by piece as well: whoever frees pages has the core meanwhile.
        let to = page(self.forgotten + sizes.piece);
        if !self.forgetting && flushed >= to + sizes.margin {
            let from = self.forgotten.saturating_sub(FOLIO_MAX);
            self.forgetting = true;
            self.forgotten = to;
            disk.submit(token::FORGET, DiskOp::Forget { file, offset: from, len: to - from });
        }
    }

    /// An operation has ended, well or not; gives the error of one that may have lost what was
    /// written: such a page is clean, and the flush that follows need not hear of it.
    pub fn done<'e>(
        &mut self,
        token: u64,
        result: &'e io::Result<Option<FileId>>,
    ) -> Option<&'e io::Error> {
        let flying = match token {
            token::RESERVE => {
                self.refused |= result.is_err();
                &mut self.reserving
            }
            token::SEND => &mut self.sending,
            token::FORGET => &mut self.forgetting,
            other => unreachable!("token {other} is not of a growing file"),
        };
        assert!(std::mem::replace(flying, false), "what has ended was in flight");
        let lost = result.as_ref().err().filter(|_| token == token::SEND);
        lost.filter(|error| !UNKNOWN.contains(&error.kind()))
    }

    /// The log goes on in another file, at `offset`; gives whether the one that ended at `end` may
    /// have room behind it.
    pub fn next_file(&mut self, end: u64, offset: u64) -> bool {
        assert!(!self.is_busy(), "nothing is in flight on a file that ends");
        let longer = self.reserved > end;
        let (wanted, sent, forgotten) = (self.wanted, offset, offset);
        *self = Growing { wanted, sent, forgotten, ..Growing::default() };
        longer
    }
}

/// The page border in front of an offset.
fn page(offset: u64) -> u64 {
    offset / PAGE * PAGE
}

#[cfg(test)]
mod tests;
