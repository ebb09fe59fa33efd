//! What another server has left in a log: the part of [`inspect`](super::inspect) that tells it from
//! what a crash leaves.
//!
//! A stock server reads the directory as commands and comments, cuts the last file behind its last
//! whole command if need be, and appends there. So what it wrote is the last in the file, and begins
//! with SELECT (in a transaction, behind MULTI), since it knows of no database that is selected.
//!
//! *In a file that grows* nothing else looks like that: a block that was lost reads as zeros, which
//! are no command.
//!
//! *In a file that is written ahead* it reads as filler, which is passed over. Where the first
//! sectors of a frame were lost and the next begins with a command, that is a fragment of ours,
//! which was never whole and goes. Behind it there is filler up to the end of the file, as far as
//! that was written ahead, and nobody who appends commands ends with such a line: a command ends
//! with CR LF, filler with a blank and LF. Only a frame that ends with the file's last block leaves
//! nothing behind it. What it may be then is not executed unless it begins as what a server
//! appends, and not cut either: somebody has to look. (A fragment that begins with the very SELECT
//! of its frame, and ends with the file, is taken for the other server's; both by chance, and what
//! it holds is what a client had asked for and was not promised.)

use super::{Group, Inspection};
use crate::persist::aof::filler;
use crate::persist::aof::format::{HEAD_MAX, parse_head};
use crate::persist::aof::manifest::Line;
use crate::persist::aof::resp::{Fault, PlainReader, Window};
use crate::persist::aof::scan::Scan;
use crate::persist::recovery::{RecoveryError, io_error};

impl Inspection<'_, '_> {
    /// True when a whole command stands at an offset.
    pub(super) fn begins_with_command(
        &self,
        line: &Line,
        offset: u64,
    ) -> Result<bool, RecoveryError> {
        let reader = PlainReader::open(self.volume, &line.file, offset, u64::MAX);
        Ok(matches!(reader.map_err(self.log_error())?.next_command(), Ok(Some(_))))
    }

    /// What another server has written behind a log that was not stopped cleanly.
    pub(super) fn foreign_tail(
        &self,
        group: &Group<'_>,
        scans: &[Scan],
    ) -> Result<Option<(String, u64, u64)>, RecoveryError> {
        let last = scans.iter().zip(&group.lines).max_by_key(|(_, (line, _))| line.seq);
        let Some((scan, (line, _))) = last else { return Ok(None) };
        let from = scan.end.offset;
        let command = scan.gap.is_some_and(|gap| gap.command);
        if !command
            || self.ends_with_filler(line, scan)?
            || !self.begins_with_command(line, from)?
        {
            return Ok(None);
        }
        if scan.tight < from && self.may_be_torn(line, scan)? {
            let what = "commands that no server begins with, behind filler: what is left of a \
                        frame of which a block was lost, or what somebody has appended";
            return Err(self.damaged(&line.file, from, what));
        }
        Ok(Some((line.file.clone(), from, scan.len)))
    }

    /// True when the last line of a file that was written ahead still is what it was made with.
    fn ends_with_filler(&self, line: &Line, scan: &Scan) -> Result<bool, RecoveryError> {
        let Some(from) = scan.len.checked_sub(filler::LINE) else { return Ok(false) };
        let mut end = Window::open(self.volume, &line.file, from).map_err(self.log_error())?;
        let bytes = end.peek(filler::LINE as usize).map_err(self.log_error())?;
        Ok(filler::is_line(bytes))
    }

    /// True when what stands behind filler may be the rest of a frame that ended with the file: it
    /// begins and ends as sectors do, and not with the database that it means.
    fn may_be_torn(&self, line: &Line, scan: &Scan) -> Result<bool, RecoveryError> {
        let from = scan.end.offset;
        if !from.is_multiple_of(filler::LINE) || !scan.len.is_multiple_of(filler::BLOCK) {
            return Ok(false);
        }
        let reader = PlainReader::open(self.volume, &line.file, from, u64::MAX);
        let mut reader = reader.map_err(self.log_error())?;
        while let Ok(Some(command)) = reader.next_command() {
            match command.args.first() {
                Some(name) if name.eq_ignore_ascii_case(b"SELECT") => return Ok(false),
                Some(name) if name.eq_ignore_ascii_case(b"MULTI") => {}
                _ => return Ok(true),
            }
        }
        Ok(true)
    }

    /// True when the frame at a gap was cut between two of its commands and more commands follow
    /// up to the file's end, beyond where the frame should have ended: what a stock server leaves
    /// that has loaded a torn log and gone on in it. Nothing a crash leaves reads like that: behind
    /// a frame another one begins, and a lost block with that border in it reads as zeros, which
    /// are no command. They may stand inside a line, though, which then goes on in a later frame.
    /// In a file that is written ahead it reads as filler, which is skipped; there more of it
    /// follows up to the end.
    pub(super) fn continued(&self, line: &Line, scan: &Scan) -> Result<bool, RecoveryError> {
        let (file, start) = (&line.file, scan.end.offset);
        let mut bytes = [0; HEAD_MAX];
        let got = self.volume.read_at(file, start, &mut bytes).map_err(io_error(file))?;
        let Ok(parsed) = parse_head(&bytes[..got]) else { return Ok(false) };
        let payload = start + parsed.line as u64;
        let should_end = payload.saturating_add(parsed.head.len);
        let fits = parsed.head.pos == scan.end.pos && parsed.head.prev == scan.end.sum;
        if !fits || should_end >= scan.len {
            return Ok(false);
        }
        let mut behind = Window::open(self.volume, file, should_end).map_err(self.log_error())?;
        filler::pass(&mut behind).map_err(self.log_error())?;
        if behind.peek(2).map_err(self.log_error())?.starts_with(b"#R") {
            return Ok(false);
        }
        let reader = PlainReader::open(self.volume, file, payload, scan.len);
        let mut reader = reader.map_err(self.log_error())?.strict();
        let mut selects = false;
        loop {
            let end = match reader.next_command() {
                Ok(Some(command)) => {
                    // The first thing a stock server appends says which database it means.
                    let name = command.args.first();
                    selects |= name.is_some_and(|n| n.eq_ignore_ascii_case(b"SELECT"));
                    continue;
                }
                Ok(None) => Some(scan.len),
                Err(error) if matches!(error.fault, Fault::Truncated) => None,
                Err(_) => return Ok(false),
            };
            // What it appends is the last in the file: filler stands behind frames only.
            let last = end.is_none_or(|end| end == reader.whole());
            return Ok(last && selects && reader.whole() > should_end);
        }
    }
}
