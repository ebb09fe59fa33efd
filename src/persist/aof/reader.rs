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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::testing::{LogFile, MemVolume, history};

    /// Offset and words of each command that is read up to `end`.
    fn read(volume: &MemVolume, log: &LogFile, end: u64) -> Vec<(u64, Vec<Vec<u8>>)> {
        let mut reader = FrameReader::open(volume, "f", log.seed, log.borders[0].1, end).unwrap();
        let mut found = Vec::new();
        while let Some(run) = reader.next_run().unwrap() {
            let words = run.words();
            let owned = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect();
            found.extend(run.commands().map(|(offset, of_it)| (offset, owned(&words[of_it]))));
        }
        found
    }

    /// The position of a command at an offset of the file.
    fn position(log: &LogFile, offset: u64) -> u64 {
        let (border, pos) = log.borders.iter().rfind(|(border, _)| *border < offset).unwrap();
        let head = log.bytes[*border as usize..].iter().position(|b| *b == b'\n').unwrap() as u64;
        pos + offset - border - head - 1
    }

    #[test]
    fn an_end_anywhere_keeps_what_begins_in_front_of_it() {
        let mut log = history(11, 1).remove(0);
        (0..200).for_each(|n| _ = log.command(&["APPEND", "k", &n.to_string()]));
        log.command(&["MULTI"]).command(&["INCR", "k"]).command(&["EXEC"]).frame(0, 0);
        let volume = MemVolume::default();
        volume.put("f", &log.bytes);
        let all = read(&volume, &log, log.pos);
        assert!(all.len() > 200);
        for end in log.borders[0].1..=log.pos {
            let kept = all.partition_point(|(offset, _)| position(&log, *offset) < end);
            assert_eq!(read(&volume, &log, end), all[..kept], "{end}");
        }
    }
}
