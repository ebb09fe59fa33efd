//! The points of a log: what counts as written, what is released, and where both stand in the
//! stream that replicas would be sent.

use crate::shard::log::{EXPOSED_MAX_US, FsyncPolicy, LogWriter};

/// A mark in the log.
#[derive(Clone, Copy, Debug)]
pub struct Marked {
    /// The entry's id.
    pub id: u64,
    /// The position in front of it.
    pub position: u64,
    /// The stream's count there.
    pub stream: u64,
}

/// Counts of the stream ([`crate::persist::aof::stream`]) at the points of the log: they move with
/// these, a frame at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streamed {
    /// Behind what was gathered, and behind what waits for the next file.
    pub gathered: [u64; 2],
    /// Where the next file begins.
    pub next_file: u64,
    pub written: u64,
    pub durable: u64,
    pub counted: u64,
    pub released: u64,
}

impl Streamed {
    pub fn all_durable(&mut self) {
        self.durable = self.written;
        self.counted = self.written;
    }

    /// The log goes on in the next file.
    pub fn resume(&mut self) {
        self.written = self.next_file;
        self.all_durable();
        self.gathered[0] = self.gathered[1];
    }
}

impl LogWriter {
    /// The stream has so many bytes where this log begins.
    #[must_use]
    pub fn counting_from(mut self, count: u64) -> LogWriter {
        let (gathered, next_file) = ([count; 2], count);
        let (written, durable, counted, released) = (count, count, count, count);
        self.streamed = Streamed { gathered, next_file, written, durable, counted, released };
        self
    }

    /// The stream's count behind what was gathered for the file that is being written.
    pub fn stream_gathered(&self) -> u64 {
        self.streamed.gathered[0]
    }

    /// The same behind all that was gathered, for whichever file.
    pub fn stream_here(&self) -> u64 {
        self.streamed.gathered[usize::from(self.cutting)]
    }

    /// The stream's count at the release point.
    pub fn stream_released(&self) -> u64 {
        self.streamed.released
    }

    fn raw_stream(&self) -> u64 {
        match self.policy {
            FsyncPolicy::Always => self.streamed.durable,
            FsyncPolicy::EverySec => self.streamed.counted,
            FsyncPolicy::No => self.streamed.written,
        }
    }

    /// A part of entry `id` left its mark at `position`, where the stream has so many bytes.
    pub fn marked(&mut self, id: u64, position: u64, stream: u64) {
        assert!(self.marks.back().is_none_or(|m| m.id < id), "marks ascend by id");
        self.marks.push_back(Marked { id, position, stream });
    }

    /// A part of the writing entry `id` has been executed, and its effects end at `position`.
    pub fn executed(&mut self, id: u64, position: u64) {
        assert!(self.entries.back().is_none_or(|e| e.0 < id), "entries ascend by id");
        self.entries.push_back((id, position));
    }

    /// All parts of entries below `id` have been executed, and everything is gathered: behind it
    /// they are passed, though the last of them may not have concerned this log.
    pub fn executed_below(&mut self, id: u64) {
        let position = self.gathered();
        if self.entries.back().is_none_or(|e| e.0 + 1 < id) {
            self.entries.push_back((id - 1, position));
        }
    }

    /// Moves the raw point of `everysec`, unless too long has passed without a flush.
    pub(super) fn count(&mut self, now_us: u64) {
        let slow = self.exposed_us.is_some_and(|since| now_us >= since + EXPOSED_MAX_US);
        if slow && self.policy == FsyncPolicy::EverySec {
            self.stats.delayed += 1;
        } else {
            self.counted = self.written;
            self.streamed.counted = self.streamed.written;
        }
    }

    /// The raw point.
    pub fn raw(&self) -> u64 {
        match self.policy {
            FsyncPolicy::Always => self.durable,
            FsyncPolicy::EverySec => self.counted,
            FsyncPolicy::No => self.written,
        }
    }

    /// The highest entry that the raw point has newly passed.
    pub fn passed(&mut self) -> Option<u64> {
        let raw = self.raw();
        let mut passed = None;
        while let Some(&(id, position)) = self.entries.front()
            && position <= raw
        {
            self.entries.pop_front();
            passed = Some(id);
        }
        passed
    }

    /// Moves the release point as far as `settled` allows; true when it moved.
    pub fn advance(&mut self, settled: u64) -> bool {
        while self.marks.front().is_some_and(|m| m.id <= settled) {
            self.marks.pop_front();
        }
        let stop = self.marks.front();
        let release = self.raw().min(stop.map_or(u64::MAX, |m| m.position));
        let stream = self.raw_stream().min(stop.map_or(u64::MAX, |m| m.stream));
        // A policy made stricter moves the raw point back; what was released stays released.
        let moved = release > self.release;
        self.release = self.release.max(release);
        self.streamed.released = self.streamed.released.max(stream);
        if moved {
            self.unflushed.released(self.release);
        }
        moved
    }

    /// Whether a mark that has not settled holds the release point back.
    pub fn is_stuck(&self) -> bool {
        self.marks.front().is_some_and(|m| m.position < self.raw())
    }

    /// The flush in front of a cut has made everything durable.
    pub fn all_durable(&mut self) {
        self.durable = self.written;
        self.unflushed.flushed(self.durable);
        self.unflushed.released(self.release);
        self.counted = self.written;
        self.streamed.all_durable();
        self.exposed_us = None;
        self.exposed_next_us = None;
    }
}
