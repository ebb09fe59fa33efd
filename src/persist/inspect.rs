//! The first half of the state machine in [`super::recovery`]: looks at a directory, and says what
//! of it is kept and what is refused. Changes nothing on disk.

mod others;
mod reach;
mod tails;
mod time;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::replication::Replication;
use crate::persist::aof::cut::{CutError, Kept, greatest_cut};
use crate::persist::aof::filler;
use crate::persist::aof::format::{At, Mark};
use crate::persist::aof::manifest::{
    self, FileType, Line, Manifest, Ours, PartPairs, ShardPairs, manifest_name,
};
use crate::persist::aof::resp::{Fault, LogError, PlainReader};
use crate::persist::aof::scan::{MARKS_KEPT, NEVER, Scan, ScanOptions, scan};
use crate::persist::aof::stream::Reached;
use crate::persist::disk::Volume;
use crate::persist::rdb::format::{MAGIC, MAGIC_VALKEY};
use crate::persist::recovery::{
    Checked, LastFile, Options, Place, Plan, RecoveryError, Source, Step, Tail, io_error,
};
use crate::persist::turning::OPENING;
use tails::Tailed;

/// Finds out what a directory holds and what of it is kept. Changes nothing.
pub fn inspect<'v>(volume: &dyn Volume, options: &Options<'v>) -> Result<Plan<'v>, RecoveryError> {
    let mut inspection = Inspection {
        volume,
        manifest_name: manifest_name(options.appendfilename),
        plan: Plan {
            steps: Vec::new(),
            report: Vec::new(),
            checked: Vec::new(),
            next_id: 1,
            next_pos: 0,
            reached: Reached::default(),
            replication: Replication::default(),
            late: false,
            since: None,
            dropped: Vec::new(),
            tails: Vec::new(),
            options: *options,
            source: Source::Fresh,
            last: Vec::new(),
            longer: Vec::new(),
            blank: Vec::new(),
            appended: None,
            broken_off: None,
        },
    };
    inspection.name_fits()?;
    let names = volume.list().map_err(io_error("the log directory"))?;
    if names.contains(&inspection.manifest_name) {
        inspection.listed()?;
    } else {
        inspection.lone(&names)?;
    }
    Ok(inspection.plan)
}

struct Inspection<'a, 'v> {
    volume: &'a dyn Volume,
    manifest_name: String,
    plan: Plan<'v>,
}

/// The lines of one generation.
struct Group<'m> {
    lines: Vec<(&'m Line, &'m ShardPairs)>,
}

/// One thing listed.
enum Listed<'m> {
    Plain(&'m Line),
    Part(&'m Line, &'m PartPairs),
    Generation(Group<'m>),
}

impl<'v> Inspection<'_, 'v> {
    fn check(&mut self, file: &str, role: &'static str, size: u64, ok_up_to: u64) {
        self.plan.checked.push(Checked { file: file.to_owned(), role, size, ok_up_to });
    }

    fn damaged(&self, file: &str, offset: u64, what: impl Into<String>) -> RecoveryError {
        RecoveryError::Damaged {
            file: file.to_owned(),
            offset,
            what: what.into(),
            manifest: self.manifest_name.clone(),
        }
    }

    fn log_error(&self) -> impl Fn(LogError) -> RecoveryError {
        let manifest = self.manifest_name.clone();
        move |error| RecoveryError::Log { error, manifest: manifest.clone() }
    }

    fn name_fits(&self) -> Result<(), RecoveryError> {
        let name = self.plan.options.appendfilename;
        if name.is_empty() || name.len() > manifest::NAME_MAX / 4 || name.contains('/') {
            let most = manifest::NAME_MAX / 4;
            let what = format!("appendfilename must be a file name of at most {most} bytes");
            return Err(self.damaged(name, 0, what));
        }
        Ok(())
    }

    /// No manifest: a lone file of Redis, or nothing yet.
    fn lone(&mut self, names: &[String]) -> Result<(), RecoveryError> {
        let options = self.plan.options;
        // A log that was about to begin has left its files.
        let names = if names.iter().any(|name| name == OPENING) { &[] } else { names };
        let found = |file: &str| match options.data.len(file) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(RecoveryError::Io { file: file.to_owned(), error }),
        };
        let (file, moved) = if found(options.appendfilename)? {
            (options.appendfilename, true)
        } else if !options.dbfilename.is_empty() && found(options.dbfilename)? {
            (options.dbfilename, false)
        } else {
            return self.fresh(names);
        };
        let kind = if moved { "aof" } else { "rdb" };
        let becomes = format!("{}.1.base.{kind}", options.appendfilename);
        let left = names.iter().filter(|n| is_log_file(n, options.appendfilename));
        // A try of this adoption that did not end has left its copy.
        for name in left.filter(|n| **n != becomes) {
            self.refuse_stray(name)?;
        }
        self.plan.report.push(format!("{file} is taken over as the base of the log"));
        self.plain(file, "BASE", Place::Data, true)?;
        self.plan.source = Source::Lone { file: file.to_owned(), becomes, moved };
        Ok(())
    }

    /// A first start, unless there are files of a log whose manifest has gone.
    fn fresh(&mut self, names: &[String]) -> Result<(), RecoveryError> {
        for name in names.iter().filter(|n| is_log_file(n, self.plan.options.appendfilename)) {
            self.refuse_stray(name)?;
        }
        Ok(())
    }

    fn refuse_stray(&self, name: &str) -> Result<(), RecoveryError> {
        if self.volume.len(name).map_err(io_error(name))? == 0 {
            return Ok(());
        }
        let what = format!("a file of a log whose manifest {} is missing", self.manifest_name);
        Err(self.damaged(name, 0, what))
    }

    fn listed(&mut self) -> Result<(), RecoveryError> {
        let name = self.manifest_name.clone();
        let bytes = self.volume.read_all(&name).map_err(io_error(&name))?;
        let manifest = Manifest::parse(&bytes)
            .map_err(|error| RecoveryError::Manifest { file: name.clone(), error })?;
        let listed = self.group(&manifest)?;
        let mut done = 0;
        for (i, item) in listed.iter().enumerate() {
            let last = i + 1 == listed.len();
            if i < done || self.is_late(item)? || self.is_beyond(item, &manifest)? {
                continue;
            }
            match item {
                Listed::Plain(line) => {
                    let role = if line.kind == FileType::Base { "BASE" } else { "INCR" };
                    self.whole(line)?;
                    // One whose checksum is known does not break off.
                    self.plain(&line.file, role, Place::Log, last && line.ours.is_none())?
                }
                Listed::Part(line, pairs) => self.part(line, pairs)?,
                Listed::Generation(group) => {
                    let tails = self.tails_of(&listed[i + 1..])?;
                    done = i + 1 + tails.len();
                    self.generation(group, &tails, last)?;
                }
            }
        }
        let reached = &mut self.plan.reached;
        reached.forced |= self.plan.late || self.plan.options.accept_damage;
        reached.foreign |= self.plan.appended.is_some();
        self.plan.replication = reached.goes_on(manifest.replication.as_ref());
        self.plan.source = Source::Listed(manifest);
        self.something_is_kept()
    }

    /// Groups the lines into what is loaded, and checks that each generation stands together.
    fn group<'m>(&self, manifest: &'m Manifest) -> Result<Vec<Listed<'m>>, RecoveryError> {
        let of_kind = |kind| manifest.lines.iter().filter(move |l| l.kind == kind);
        let mut listed: Vec<Listed<'m>> = Vec::new();
        let mut latest = 0;
        let disorder = |line: &Line| {
            let what = format!("the line of {} does not fit those around it", line.file);
            self.damaged(&self.manifest_name, 0, what)
        };
        for line in of_kind(FileType::Base).chain(of_kind(FileType::Incr)) {
            match &line.ours {
                _ if line.kind == FileType::Base => listed.push(Listed::Plain(line)),
                Some(Ours::Whole(_)) | None => listed.push(Listed::Plain(line)),
                Some(Ours::Part(pairs)) => {
                    if pairs.generation < latest {
                        return Err(disorder(line));
                    }
                    listed.push(Listed::Part(line, pairs));
                }
                Some(Ours::Shard(pairs)) => {
                    if let Some(Listed::Generation(group)) = listed.last_mut() {
                        let first = group.lines[0].1;
                        if first.generation == pairs.generation {
                            let again = group.lines.iter().any(|(_, p)| p.shard == pairs.shard);
                            let fits = first.shards == pairs.shards
                                && first.end.is_some() == pairs.end.is_some()
                                && first.clean == pairs.clean;
                            if again || !fits {
                                return Err(disorder(line));
                            }
                            group.lines.push((line, pairs));
                            continue;
                        }
                    }
                    if pairs.generation <= latest {
                        return Err(disorder(line));
                    }
                    latest = pairs.generation;
                    listed.push(Listed::Generation(Group { lines: vec![(line, pairs)] }));
                }
            }
        }
        let count = listed.len();
        for (i, item) in listed.iter_mut().enumerate() {
            let Listed::Generation(group) = item else { continue };
            // A complete generation stands in the order of its shards: index and number agree.
            group.lines.sort_by_key(|(_, pairs)| pairs.shard);
            let (line, pairs) = group.lines[0];
            let sealed = pairs.end.is_some();
            let complete = group.lines.len() == usize::from(pairs.shards);
            if (!sealed && (i + 1 < count || !complete)) || (pairs.clean && i + 1 < count) {
                return Err(disorder(line));
            }
        }
        Ok(listed)
    }

    /// The length of a listed file; one that is missing is damage.
    fn len_of(&self, file: &str) -> Result<u64, RecoveryError> {
        self.volume.len(file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                self.damaged(file, 0, format!("listed in {}, but not there", self.manifest_name))
            }
            _ => RecoveryError::Io { file: file.to_owned(), error },
        })
    }

    /// Compares a file with the checksum that the manifest holds of it, if it does.
    fn whole(&self, line: &Line) -> Result<(), RecoveryError> {
        let Some(Ours::Whole(pairs)) = &line.ours else { return Ok(()) };
        let len = self.len_of(&line.file)?;
        if !pairs.fits(self.volume, &line.file).map_err(io_error(&line.file))? {
            return Err(self.not_whole(&line.file, len, pairs.len));
        }
        Ok(())
    }

    fn not_whole(&self, file: &str, len: u64, want: u64) -> RecoveryError {
        let what = format!("not the {want} bytes whose checksum the manifest holds");
        self.damaged(file, len.min(want), what)
    }

    /// A file that another server wrote, or a base.
    fn plain(
        &mut self,
        file: &str,
        role: &'static str,
        place: Place,
        last: bool,
    ) -> Result<(), RecoveryError> {
        let volume = match place {
            Place::Log => self.volume,
            Place::Data => self.plan.options.data,
        };
        let len = match place {
            Place::Log => self.len_of(file)?,
            Place::Data => volume.len(file).map_err(io_error(file))?,
        };
        let mut magic = [0; MAGIC_VALKEY.len()];
        let got = volume.read_at(file, 0, &mut magic).map_err(io_error(file))?;
        self.plan.reached.foreign |= role != "BASE";
        let file = file.to_owned();
        if magic[..got].starts_with(MAGIC) || &magic[..got] == MAGIC_VALKEY {
            self.check(&file, role, len, len);
            let tail = if last { self.tail() } else { Tail::default() };
            self.plan.steps.push(Step::Rdb { file, place, tail });
            return Ok(());
        }
        let mut end = len;
        if last {
            end = self.whole_end(volume, &file, 0, len)?;
            if end < len {
                let cut = len - end;
                self.plan.report.push(format!("{file}: {cut} bytes broken off at offset {end}"));
                self.plan.broken_off = Some((file.clone(), end));
            }
        }
        self.check(&file, role, len, end);
        self.plan.steps.push(Step::Foreign { file, place, from: 0, end });
        Ok(())
    }

    /// How the last file may end when it is another server's.
    fn tail(&self) -> Tail {
        let Options { load_truncated, corrupt_tail_max, .. } = self.plan.options;
        Tail { may_break_off: load_truncated, corrupt_max: corrupt_tail_max }
    }

    /// Where the whole commands of a last foreign file end.
    fn whole_end(
        &self,
        volume: &dyn Volume,
        file: &str,
        from: u64,
        len: u64,
    ) -> Result<u64, RecoveryError> {
        let mut reader = PlainReader::open(volume, file, from, len).map_err(self.log_error())?;
        loop {
            let ended = match reader.next_command() {
                Ok(Some(_)) => continue,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            return match ended {
                // A `#` line without its newline would swallow what is appended next.
                Ok(()) => Ok(reader.read()),
                Err(error) if self.tail().forgives(&error.fault, reader.whole(), len) => {
                    Ok(reader.whole())
                }
                Err(error) => Err(self.log_error()(error)),
            };
        }
    }

    fn part(&mut self, line: &Line, pairs: &PartPairs) -> Result<(), RecoveryError> {
        self.part_is_whole(line, pairs)?;
        let (file, len) = (line.file.clone(), pairs.len);
        self.check(&file, "INCR", len, len);
        self.plan.steps.push(Step::Part { file, len });
        Ok(())
    }

    fn part_is_whole(&self, line: &Line, pairs: &PartPairs) -> Result<(), RecoveryError> {
        let file = &line.file;
        let len = self.len_of(file)?;
        let whole = len == pairs.len && {
            let bytes = self.volume.read_all(file).map_err(io_error(file))?;
            manifest::part_sum(&bytes) == pairs.sum
        };
        if whole { Ok(()) } else { Err(self.not_whole(file, len, pairs.len)) }
    }

    /// A generation with the tails behind it, of which there are some only where less than
    /// everything is wanted: any others are parts like all.
    fn generation(
        &mut self,
        group: &Group<'_>,
        tails: &[Tailed],
        last: bool,
    ) -> Result<(), RecoveryError> {
        let mut scans = self.scan_all(group, MARKS_KEPT)?;
        for (scan, (_, pairs)) in scans.iter().zip(&group.lines) {
            self.plan.next_id = self.plan.next_id.max(pairs.next_id).max(scan.next_id);
            self.plan.next_pos = self.plan.next_pos.max(scan.highest);
        }
        self.since(&scans);
        if scans.iter().chain(tails.iter().map(|of| &of.tail.scan)).any(|scan| scan.late) {
            return self.late(group, scans, tails);
        }
        if group.lines[0].1.end.is_some() {
            self.sealed(group, &scans, last)?;
            return tails.iter().try_for_each(|tail| self.keep_tail(tail, tail.tail.scan.len));
        }
        let appended = self.foreign_tail(group, &scans)?;
        self.no_times_of_others(appended.as_ref())?;
        let mut judged = self.judge(group, &scans, appended.as_ref());
        if self.plan.options.corrupt_tail_max == 0 || appended.is_some() {
            judged = Ok(judged?);
        }
        let mut kept = greatest_cut(&scans);
        if kept == Err(CutError::ListTooShort) {
            scans = self.scan_all(group, usize::MAX)?;
            judged = judged.and(self.judge(group, &scans, appended.as_ref()));
            kept = greatest_cut(&scans);
        }
        let kept = kept.map_err(|error| self.cut_error(group, &scans, error))?;
        if let Err(damage) = judged {
            self.forgive(damage, &scans, &kept)?;
        } else if !self.plan.options.load_truncated && !self.plan.options.accept_damage {
            self.whole_or_refused(group, &scans, &kept, appended.as_ref())?;
        }
        self.keep(group, &scans, kept, appended)
    }

    /// Lets damage pass when no more bytes of any file are cut than may be.
    fn forgive(
        &mut self,
        damage: RecoveryError,
        scans: &[Scan],
        kept: &[Kept],
    ) -> Result<(), RecoveryError> {
        // What is less than a line of filler is none: the end of a command, say.
        let end = |scan: &Scan| match scan.len - scan.solid < filler::LINE {
            true => scan.len,
            false => scan.solid,
        };
        let cut = scans.iter().zip(kept).map(|(scan, kept)| end(scan).saturating_sub(kept.offset));
        let cut = cut.max();
        let max = self.plan.options.corrupt_tail_max;
        if cut.is_some_and(|cut| cut > max) {
            return Err(damage);
        }
        self.plan.reached.forced = true;
        let allowed = "cut, since aof-load-corrupt-tail-max-size allows so many bytes";
        self.plan.report.push(format!("{damage}: {allowed}"));
        Ok(())
    }

    /// Refuses a generation of which something would have to be cut.
    fn whole_or_refused(
        &self,
        group: &Group<'_>,
        scans: &[Scan],
        kept: &[Kept],
        appended: Option<&(String, u64, u64)>,
    ) -> Result<(), RecoveryError> {
        for ((scan, kept), (line, _)) in scans.iter().zip(kept).zip(&group.lines) {
            let from = appended.filter(|(file, ..)| *file == line.file).map(|(_, from, _)| *from);
            if kept.offset < from.unwrap_or(scan.solid) {
                let (file, offset, fault) = (line.file.clone(), kept.offset, Fault::Truncated);
                return Err(self.log_error()(LogError { file, offset, fault }));
            }
        }
        Ok(())
    }

    /// Scans a generation's files, as many at a time as there are cores.
    fn scan_all(&self, group: &Group<'_>, marks: usize) -> Result<Vec<Scan>, RecoveryError> {
        for (line, _) in &group.lines {
            self.len_of(&line.file)?;
        }
        let Options { until, bounds, .. } = self.plan.options;
        let one = |&(line, pairs): &(&Line, &ShardPairs)| {
            if pairs.end.is_none() {
                self.volume.forget_cached(&line.file);
            }
            let options = ScanOptions {
                seed: pairs.seed,
                start: pairs.start,
                end: pairs.end.map(|(pos, _)| pos),
                same_boot: pairs.boot == self.plan.options.boot_id,
                marks: if pairs.end.is_some() && until.is_none() && bounds.is_none() {
                    0
                } else {
                    marks
                },
                until,
                bound: bounds.map(|bounds| bounds.of(pairs.shard)),
            };
            scan(self.volume, &line.file, options)
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(line) = group.lines.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((line.1.shard, one(line)));
            }
            done
        };
        let mut results = Vec::with_capacity(group.lines.len());
        std::thread::scope(|scope| {
            let helpers: Vec<_> =
                (1..cores.min(group.lines.len())).map(|_| scope.spawn(work)).collect();
            results.extend(work());
            for helper in helpers {
                match helper.join() {
                    Ok(done) => results.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        let mut scans = Vec::with_capacity(results.len());
        for (line, pairs) in &group.lines {
            let at = results.iter().position(|(shard, _)| *shard == pairs.shard);
            assert!(at.is_some(), "every file of the generation is scanned: {}", line.file);
            let (_, result) = results.swap_remove(at.unwrap_or_default());
            scans.push(result.map_err(self.log_error())?);
        }
        Ok(scans)
    }

    /// A generation with recorded ends: any other end is damage.
    fn sealed(
        &mut self,
        group: &Group<'_>,
        scans: &[Scan],
        last: bool,
    ) -> Result<(), RecoveryError> {
        let highest_seq = group.lines.iter().map(|(l, _)| l.seq).max();
        let mut appended = None;
        let mut kept = Vec::new();
        for (scan, (line, pairs)) in scans.iter().zip(&group.lines) {
            let end = scan.end;
            if pairs.end != Some((end.pos, end.sum)) {
                let what = "the file does not hold what the manifest says it ends with";
                return Err(self.damaged(&line.file, end.offset, what));
            }
            kept.push(Kept::all_to(end));
            if !last {
                self.check(&line.file, "INCR", end.offset, end.offset);
            }
            if scan.solid <= end.offset && end.offset == scan.len {
                self.note_blank(&line.file, scan);
                continue;
            }
            // Filler that is torn (the process died before it was cut off) is no loss either. But
            // Redis, which knows of no named ends, cannot read it.
            if !last || scan.solid <= end.offset {
                self.plan.longer.push((line.file.clone(), scan.tight));
                continue;
            }
            if Some(line.seq) != highest_seq || !self.begins_with_command(line, end.offset)? {
                let what = "bytes behind the end that a clean stop recorded";
                return Err(self.damaged(&line.file, end.offset, what));
            }
            appended = Some((line.file.clone(), end.offset, scan.len));
        }
        self.no_times_of_others(appended.as_ref())?;
        if last {
            return self.keep(group, scans, kept, appended);
        }
        self.push_generation(group, &kept);
        Ok(())
    }

    /// Filler behind the last frame is no loss, but takes room.
    fn note_blank(&mut self, file: &str, scan: &Scan) {
        if scan.gap.is_none() && scan.tight < scan.len {
            self.plan.blank.push((file.to_owned(), scan.tight));
        }
    }

    /// Tells torn ends from damage.
    fn judge(
        &self,
        group: &Group<'_>,
        scans: &[Scan],
        appended: Option<&(String, u64, u64)>,
    ) -> Result<(), RecoveryError> {
        for (scan, (line, pairs)) in scans.iter().zip(&group.lines) {
            if appended.is_some_and(|(file, ..)| *file == line.file) {
                continue;
            }
            let end = scan.end;
            if appended.is_some() && scan.gap.is_some() {
                let what = "torn, but another server has written behind the log since: what it \
                            saw of this file cannot be told";
                return Err(self.damaged(&line.file, end.offset, what));
            }
            if self.plan.options.accept_damage {
                continue;
            }
            if self.continued(line, scan)? {
                let what = "another server has cut this frame short and written on behind it";
                return Err(self.damaged(&line.file, end.offset, what));
            }
            if let Some(claim) = scan.gap.and_then(|gap| gap.claim) {
                if claim.written <= end.pos {
                    let what = format!(
                        "damaged: the frame at offset {} follows from here, but what stands \
                         between is not what was written",
                        claim.offset
                    );
                    return Err(self.damaged(&line.file, end.offset, what));
                }
                let (kind, pos) = if claim.durable > end.pos {
                    ("durable", claim.durable)
                } else {
                    ("written", claim.written)
                };
                let (at, lost) = (claim.offset, pos.saturating_sub(end.pos));
                let what = format!(
                    "damaged: the frame at offset {at} says that {lost} bytes more were {kind}"
                );
                return Err(self.damaged(&line.file, end.offset, what));
            }
            let dropped = scan.gap.is_some_and(|gap| gap.dropped);
            if pairs.boot == self.plan.options.boot_id && !dropped {
                self.judge_by_others(group, scans, line, pairs, end.pos, end.offset)?;
            }
        }
        Ok(())
    }

    /// The other logs' words about this one, while the page cache is the same.
    fn judge_by_others(
        &self,
        group: &Group<'_>,
        scans: &[Scan],
        line: &Line,
        pairs: &ShardPairs,
        end: u64,
        offset: u64,
    ) -> Result<(), RecoveryError> {
        for (other, (witness, _)) in scans.iter().zip(&group.lines) {
            for mark in &other.marks {
                let Mark::Seen(seen) = &mark.mark else { continue };
                let more = |at: &At| at.0 == pairs.shard && at.1 > end && at.1 != NEVER;
                if seen.iter().any(more) {
                    let what = format!(
                        "damaged: {} at offset {} has seen more of it",
                        witness.file, mark.offset
                    );
                    return Err(self.damaged(&line.file, offset, what));
                }
            }
        }
        Ok(())
    }

    fn cut_error(&self, group: &Group<'_>, scans: &[Scan], error: CutError) -> RecoveryError {
        let at = |shard: usize, mark: usize| {
            let line = group.lines.iter().find(|(_, pairs)| usize::from(pairs.shard) == shard);
            let file = line.map_or("", |(line, _)| &line.file);
            let offset = scans.get(shard).and_then(|s| s.marks.get(mark)).map_or(0, |m| m.offset);
            (file.to_owned(), offset)
        };
        match error {
            CutError::NoSuchShard(shard, mark) => {
                let (file, offset) = at(shard, mark);
                self.damaged(&file, offset, "a mark names a shard that there is not")
            }
            CutError::MarkMissing(shard, mark, other) => {
                let (file, offset) = at(shard, mark);
                let what = format!("{} lacks the mark of this entry", at(other, 0).0);
                self.damaged(&file, offset, what)
            }
            CutError::ListTooShort => {
                self.damaged(&self.manifest_name, 0, "the marks of the log do not fit together")
            }
        }
    }

    /// What the kernel drops was not durable, and that is found out soon. Where another log has
    /// gone on, so that what depends on it was durable, it is damage.
    fn keeps_what_was_durable(
        &self,
        group: &Group<'_>,
        scans: &[Scan],
        kept: &[Kept],
    ) -> Result<(), RecoveryError> {
        let dropped = |scan: &Scan| scan.gap.is_some_and(|gap| gap.dropped);
        if !scans.iter().any(dropped) || self.plan.options.accept_damage {
            return Ok(());
        }
        for ((scan, (line, _)), kept) in scans.iter().zip(&group.lines).zip(kept) {
            if kept.pos < scan.durable {
                let what = "damaged: what was durable here depends on what another log lacks";
                return Err(self.damaged(&line.file, kept.offset, what));
            }
        }
        Ok(())
    }

    /// Takes the cuts of the last generation into the plan.
    fn keep(
        &mut self,
        group: &Group<'_>,
        scans: &[Scan],
        kept: Vec<Kept>,
        appended: Option<(String, u64, u64)>,
    ) -> Result<(), RecoveryError> {
        self.plan.reached.torn = scans.iter().any(|scan| scan.gap.is_some());
        self.keeps_what_was_durable(group, scans, &kept)?;
        self.push_generation(group, &kept);
        for ((scan, (line, _)), kept) in scans.iter().zip(&group.lines).zip(&kept) {
            let mut len = scan.len;
            if let Some((_, from, _)) = appended.as_ref().filter(|(f, ..)| *f == line.file) {
                len = *from;
            }
            self.check(&line.file, "INCR", len, kept.offset);
            // Blocks that were never written are no loss.
            let torn = scan.solid.min(len).saturating_sub(scan.end.offset);
            let depended = scan.end.offset - kept.offset;
            if appended.is_some() && depended > 0 {
                let what = "another server has written behind a log of which this must be cut";
                return Err(self.damaged(&line.file, kept.offset, what));
            }
            if torn + depended > 0 {
                self.plan.report.push(format!(
                    "{}: cut at offset {}: {torn} bytes torn, {depended} depended on torn ones",
                    line.file, kept.offset
                ));
            }
            if kept.offset == len {
                self.note_blank(&line.file, scan);
            }
            let solid = scan.solid.min(len).max(scan.end.offset);
            self.plan.last.push(LastFile { line: (*line).clone(), len, solid, kept: *kept });
        }
        let Some((file, from, len)) = appended else { return Ok(()) };
        let end = self.whole_end(self.volume, &file, from, len)?;
        self.plan.report.push(format!(
            "{file}: {} bytes at offset {from} were written by another server",
            end - from
        ));
        if end < len {
            self.plan.report.push(format!("{file}: {} bytes broken off there", len - end));
        }
        self.plan.appended = Some((file.clone(), from, end));
        self.plan.steps.push(Step::Foreign { file, place: Place::Log, from, end });
        Ok(())
    }
}

/// True for names that files of this log have, ours and Redis'.
pub(super) fn is_log_file(name: &str, appendfilename: &str) -> bool {
    let Some(rest) = name.strip_prefix(appendfilename).and_then(|r| r.strip_prefix('.')) else {
        return false;
    };
    let Some((seq, kind)) = rest.split_once('.') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let of_shard =
        |k: &str| k.strip_suffix(".incr.aof").and_then(|k| k.strip_prefix('s')).is_some_and(digits);
    digits(seq)
        && (matches!(kind, "base.rdb" | "base.aof" | "incr.aof" | "cut.incr.aof" | "tail.incr.aof")
            || of_shard(kind))
}
