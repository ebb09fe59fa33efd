//! Reading a shard's log for whoever replays it: its commands, several at a time.

use crate::persist::aof::format::HeadError;
use crate::persist::aof::resp::{Fault, LogError};
use crate::persist::aof::run::{Places, Run};
use crate::persist::aof::scan::{Entered, Event, Frames};
use crate::persist::disk::Volume;

/// Reads the commands of a shard's file up to a position that is known to be kept.
pub struct FrameReader<'v> {
    frames: Frames<'v>,
    end: u64,
    places: Places,
}

impl<'v> FrameReader<'v> {
    /// Reads `file`, whose payload begins at position `start`, to position `end`.
    pub fn open(
        volume: &'v dyn Volume,
        file: &str,
        seed: u64,
        start: u64,
        end: u64,
    ) -> Result<Self, LogError> {
        assert!(start <= end);
        let frames = Frames::open(volume, file, seed, start)?;
        Ok(FrameReader { frames, end, places: Places::default() })
    }

    /// The next commands, MULTI and EXEC among them; `None` at the end. Frames are checked again,
    /// so that nothing is replayed that is not what was found before.
    pub fn next_run(&mut self) -> Result<Option<Run<'_>>, LogError> {
        while self.enter()? {
            if !self.frames.run(self.end, &mut self.places) {
                match self.frames.next()? {
                    None => continue,
                    Some(Event::Mark(mark)) if mark.pos < self.end => continue,
                    Some(Event::Command { pos }) if pos < self.end => {
                        self.places.one(&self.frames.args);
                    }
                    Some(_) => {
                        // The kept end stands inside this frame: nothing behind it is looked at
                        // again.
                        self.frames.leave(self.end);
                        continue;
                    }
                }
            }
            let offset = self.frames.window.offset();
            let bytes = self.frames.window.peek(self.frames.pending)?;
            return Ok(Some(Run { offset, bytes, places: &self.places }));
        }
        Ok(None)
    }

    /// Sees to it that a frame is open; false at the end.
    fn enter(&mut self) -> Result<bool, LogError> {
        if self.frames.open.is_some() {
            return Ok(true);
        }
        if self.frames.border.pos >= self.end {
            return Ok(false);
        }
        let fault = match self.frames.enter()? {
            Entered::Frame => return Ok(true),
            Entered::End => Fault::Truncated,
            Entered::Gap(HeadError::Version(n)) => Fault::Version(n),
            Entered::Gap(HeadError::Gap) => Fault::Frame,
        };
        Err(self.frames.window.error(self.frames.border.offset, fault))
    }

    /// Bytes of the file read so far, for progress.
    pub fn read(&self) -> u64 {
        self.frames.window.offset()
    }
}
