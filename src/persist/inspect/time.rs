//! A log up to a second of Unix time: the part of [`inspect`](super::inspect) that looks for it.
//!
//! Every shard's log tells in `#TS:` lines in which second what follows was executed. The first
//! generation in which one of them is later than wanted is cut, each log in front of its first such
//! line and then further, to the greatest consistent choice ([`crate::persist::aof::cut`]): for
//! that the line counts as a mark that asks for what no log has. Tails are cut with the logs
//! that they go on from ([`super::tails`]). Everything listed behind is later and goes as a whole;
//! so does a whole-keyspace command, which is one moment.
//!
//! What cannot be cut so is refused by name: a base made later, and what another server wrote.

use super::tails::{Tailed, apart, whole_logs};
use super::{Group, Inspection, Listed};
use crate::persist::aof::cut::{CutError, greatest_cut};
use crate::persist::aof::format::parse_time;
use crate::persist::aof::manifest::{FileType, Line, Manifest, Ours};
use crate::persist::aof::resp::{Item, Manner, Window, next_item};
use crate::persist::aof::scan::Scan;
use crate::persist::disk::Volume;
use crate::persist::rdb::format::OP_AUX;
use crate::persist::recovery::{Options, RecoveryError, io_error};

/// Bytes of an RDB in which the moment of its making stands, if anywhere.
const AUX_ROOM: usize = 512;

impl Inspection<'_, '_> {
    /// Whether an item goes as a whole since it is later than wanted; it is then dropped.
    pub(super) fn is_late(&mut self, item: &Listed<'_>) -> Result<bool, RecoveryError> {
        let Some(until) = self.plan.options.until else { return Ok(false) };
        if !self.plan.late {
            match item {
                Listed::Plain(line) => self.plain_until(line, until)?,
                Listed::Generation(_) => {}
                Listed::Part(line, _) => {
                    let late = self.first_later(&line.file, until)?.is_some();
                    self.plan.late |= late;
                }
            }
        }
        if self.plan.late {
            self.drop_item(item)?;
        }
        Ok(self.plan.late)
    }

    /// Whether an item goes as a whole since it stands behind the positions that are wanted; it is
    /// then dropped.
    ///
    /// A part stands in front of the generation behind it, which begins one position further, so
    /// it is wanted by whoever wants that position of every shard.
    pub(super) fn is_beyond(
        &mut self,
        item: &Listed<'_>,
        manifest: &Manifest,
    ) -> Result<bool, RecoveryError> {
        let Some(bounds) = self.plan.options.bounds else { return Ok(false) };
        if let (false, Listed::Part(line, _)) = (self.plan.late, item) {
            let next = manifest.lines.iter().filter(|other| other.seq > line.seq);
            let starts = next.filter_map(|other| match &other.ours {
                Some(Ours::Shard(pairs)) => Some((pairs.generation, pairs.shard, pairs.start)),
                _ => None,
            });
            let starts: Vec<_> = starts.collect();
            let generation = starts.iter().map(|(generation, ..)| *generation).min();
            let beyond = |(of, shard, start): &(u64, u8, u64)| {
                Some(*of) == generation && bounds.of(*shard) < *start
            };
            self.plan.late |= starts.iter().any(beyond);
        }
        if self.plan.late {
            self.drop_item(item)?;
        }
        Ok(self.plan.late)
    }

    fn drop_item(&mut self, item: &Listed<'_>) -> Result<(), RecoveryError> {
        let mut files: Vec<&str> = Vec::new();
        match item {
            Listed::Plain(line) | Listed::Part(line, _) => files.push(&line.file),
            Listed::Generation(group) => {
                for (line, pairs) in &group.lines {
                    files.push(&line.file);
                    // Ids and positions go on above whatever stood in it.
                    let len = self.len_of(&line.file)?;
                    let plan = &mut self.plan;
                    plan.next_id = plan.next_id.max(pairs.next_id.saturating_add(len));
                    plan.next_pos = plan.next_pos.max(pairs.start.saturating_add(len));
                }
            }
        }
        for file in files {
            self.plan.report.push(format!("{file}: later, goes as a whole"));
            self.plan.dropped.push(file.to_owned());
        }
        Ok(())
    }

    /// A base or another server's file: refused when it is later than wanted.
    fn plain_until(&mut self, line: &Line, until: i64) -> Result<(), RecoveryError> {
        if line.kind == FileType::Base
            && let Some(made) = made(self.volume, &line.file).map_err(io_error(&line.file))?
        {
            if made > until {
                let what = format!("made at {made}, later than the second {until}");
                return Err(self.damaged(&line.file, 0, what));
            }
            self.plan.since = self.plan.since.or(Some(made));
            return Ok(());
        }
        match self.first_later(&line.file, until)? {
            None => Ok(()),
            Some(offset) => Err(self.damaged(
                &line.file,
                offset,
                "later from here on, and not to be cut: another server wrote it",
            )),
        }
    }

    /// Offset of the first `#TS:` line of a file of plain commands that is later. A file that is
    /// no such file has none.
    fn first_later(&mut self, file: &str, until: i64) -> Result<Option<u64>, RecoveryError> {
        let mut window = Window::open(self.volume, file, 0).map_err(self.log_error())?;
        let mut args = Vec::new();
        let len = window.len();
        // Whoever loads it says what is wrong with it.
        while let Ok(Some(item)) = next_item(&mut window, len, Manner::Lenient, &mut args) {
            let (Item::Note { len } | Item::Command { len }) = item;
            if let Item::Note { .. } = item {
                let second = parse_time(&window.peek(len).map_err(self.log_error())?[..len]);
                self.plan.since = self.plan.since.or(second);
                if second.is_some_and(|second| second > until) {
                    return Ok(Some(window.offset()));
                }
            }
            window.skip(len as u64);
        }
        Ok(None)
    }

    /// Notes whether there are times at all.
    pub(super) fn since(&mut self, scans: &[Scan]) {
        let since = scans.iter().filter_map(|scan| scan.since).min();
        self.plan.since = self.plan.since.or(since);
    }

    /// Commands of another server behind the log are not looked through for times.
    pub(super) fn no_times_of_others(
        &self,
        appended: Option<&(String, u64, u64)>,
    ) -> Result<(), RecoveryError> {
        let Options { until, bounds, .. } = self.plan.options;
        match (appended, until.is_some() || bounds.is_some()) {
            (Some((file, from, _)), true) => {
                let what = "another server has written behind the log: start once, then cut";
                Err(self.damaged(file, *from, what))
            }
            _ => Ok(()),
        }
    }

    /// A generation that is to be cut in front of what is later.
    pub(super) fn late(
        &mut self,
        group: &Group<'_>,
        mut scans: Vec<Scan>,
        tails: &[Tailed],
    ) -> Result<(), RecoveryError> {
        for (scan, (line, pairs)) in scans.iter().zip(&group.lines) {
            let end = scan.end;
            if pairs.end.is_some_and(|sealed| sealed != (end.pos, end.sum)) {
                let what = "the file does not hold what the manifest says it ends with";
                return Err(self.damaged(&line.file, end.offset, what));
            }
        }
        if group.lines[0].1.end.is_none() {
            self.judge(group, &scans, None)?;
        }
        let mut whole = whole_logs(group, &scans, tails);
        let mut kept = greatest_cut(&whole);
        if kept == Err(CutError::ListTooShort) {
            scans = self.scan_all(group, usize::MAX)?;
            whole = whole_logs(group, &scans, tails);
            kept = greatest_cut(&whole);
        }
        let kept = kept.map_err(|error| self.cut_error(group, &whole, error))?;
        self.plan.late = true;
        let (files, of_tails) = apart(group, &scans, tails, &kept);
        self.keep(group, &scans, files, None)?;
        tails.iter().zip(of_tails).try_for_each(|(tail, len)| self.keep_tail(tail, len))
    }

    /// Refuses to cut a log that tells no time, or no time that is early enough.
    pub(super) fn something_is_kept(&self) -> Result<(), RecoveryError> {
        let Some(until) = self.plan.options.until else { return Ok(()) };
        let what = if self.plan.since.is_none() {
            "tells no times: #TS: lines are written when aof-timestamp-enabled says so".to_owned()
        } else if self.plan.late && self.plan.since > Some(until) {
            // A base that does not say when it was made may be later, too.
            format!("has nothing before timestamp {until}, aborting...")
        } else {
            return Ok(());
        };
        Err(self.damaged(&self.manifest_name, 0, what))
    }
}

/// When an RDB was made, in Unix time, as it says itself (AUX `ctime`).
fn made(volume: &dyn Volume, file: &str) -> std::io::Result<Option<i64>> {
    let mut bytes = vec![0; AUX_ROOM];
    let got = volume.read_at(file, 0, &mut bytes)?;
    // The field, and its name as a string of five bytes; then a number of four, or digits.
    let field = [OP_AUX, 5, b'c', b't', b'i', b'm', b'e'];
    let at = memchr::memmem::find(&bytes[..got], &field);
    let value = at.and_then(|at| bytes[..got].get(at + field.len()..));
    Ok(match value {
        Some([0xC2, number @ ..]) => {
            number.first_chunk().map(|number| i64::from(i32::from_le_bytes(*number)))
        }
        Some([len, digits @ ..]) if *len < 64 => {
            digits.get(..usize::from(*len)).and_then(crate::base::number::parse_i64)
        }
        _ => None,
    })
}
