//! What another server has left in a log: the part of [`inspect`](super::inspect) that tells it
//! from what a crash leaves.
//!
//! A stock server reads the directory as commands and comments, cuts the last file behind its last
//! whole command if need be, and appends there. So what it wrote is the last in the file, and
//! begins with SELECT (in a transaction, behind MULTI), since it knows of no database that is
//! selected.
//!
//! *In a file that grows* nothing else looks like that: a block that was lost reads as zeros, which
//! are no command.
//!
//! *In a file that is written ahead* it reads as filler, which is passed over. Where the first
//! sectors of a frame were lost and the next begins with a command, that is a fragment of ours,
//! which was never whole, and goes. Two things tell:
//!
//! - filler between the commands, behind the fragment: nobody else writes any;
//! - commands that are broken, since their values went on in a sector that was lost, or in one
//!   behind the end of the file, and do not begin as what a server appends.
//!
//! What begins with SELECT and is broken is another server's, damaged, for all we know, and
//! refused. What does not and is whole to the very end of the file can be nobody's but a frame's
//! that ended with the file's last block, or somebody's own: it is refused as well, not executed
//! and not cut. What is left: a fragment that begins with the very SELECT of its frame and goes to
//! the end of the file. It is taken for the other server's; what it holds is what a client had
//! asked for and was not promised.

use super::{Group, Inspection};
use crate::base::limits::ANNOTATION_MAX;
use crate::persist::aof::filler;
use crate::persist::aof::format::{HEAD_MAX, parse_head};
use crate::persist::aof::manifest::Line;
use crate::persist::aof::resp::{Fault, LogError, PlainReader, Window};
use crate::persist::aof::scan::Scan;
use crate::persist::recovery::{RecoveryError, io_error};

/// Whose the commands at a gap are.
enum Whose {
    Ours,
    Others,
    Unknown,
}

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
        if !command || !self.begins_with_command(line, from)? {
            return Ok(None);
        }
        let behind_filler = scan.tight < from && from.is_multiple_of(filler::LINE);
        let whose = if behind_filler { self.whose(line, scan)? } else { Whose::Others };
        match whose {
            Whose::Others => Ok(Some((line.file.clone(), from, scan.len))),
            Whose::Ours => Ok(None),
            Whose::Unknown if self.plan.options.accept_damage => Ok(None),
            Whose::Unknown => {
                let what = "commands behind filler that do not begin with SELECT: the rest of a \
                            frame of which a block was lost, or appended by hand";
                Err(self.damaged(&line.file, from, what))
            }
        }
    }

    /// Whose commands stand behind filler.
    fn whose(&self, line: &Line, scan: &Scan) -> Result<Whose, RecoveryError> {
        let (file, from) = (&line.file, scan.end.offset);
        let reader = PlainReader::open(self.volume, file, from, scan.len);
        let mut reader = reader.map_err(self.log_error())?.strict();
        let mut selects = None;
        let ended = loop {
            if filler::begins(reader.peek(ANNOTATION_MAX).map_err(self.log_error())?) {
                return Ok(Whose::Ours);
            }
            match reader.next_command() {
                Ok(Some(command)) => {
                    let is = |text: &[u8]| {
                        let name = command.args.first();
                        name.is_some_and(|name| name.eq_ignore_ascii_case(text))
                    };
                    selects = selects.or((!is(b"MULTI")).then(|| is(b"SELECT")));
                }
                Ok(None) => break Ok(()),
                Err(LogError { fault: Fault::Io(error), .. }) => return Err(io_error(file)(error)),
                Err(error) => break Err(error),
            }
        };
        Ok(match (selects, ended) {
            (Some(true), _) => Whose::Others,
            (_, Err(_)) => Whose::Ours,
            (_, Ok(())) => Whose::Unknown,
        })
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
