//! Makes permanent what recovery found: the second half of the state machine in
//! [`crate::persist::recovery`], where the argument stands why a crash anywhere converges.
//!
//! The order of the steps is the invariant here:
//!
//! 1. nothing that the standing manifest counts is changed before the new manifest is durable;
//! 2. everything that the new manifest names is durable before it is;
//! 3. nothing is cut off or removed that the new manifest counts.

use crate::base::random::Random;
use crate::base::replication::new_id;
use crate::persist::aof::format::{HEAD_MAX, parse_head, write_border};
use crate::persist::aof::manifest::{
    FileType, Line, Manifest, NewFile, Ours, PartKind, manifest_name, temp_manifest_name,
};
use crate::persist::aof::resp::{Fault, LogError};
use crate::persist::aof::whole::WholePairs;
use crate::persist::disk::Volume;
use crate::persist::durable;
use crate::persist::inspect::is_log_file;
use crate::persist::recovery::{LastFile, Place, Plan, RecoveryError, Source, Step, io_error};
use crate::persist::rewrite::is_temp_base;

/// Bytes copied, and flushed, at a time.
const PIECE: usize = 16 << 20;
/// Ending of the files that hold what was cut off.
pub const CUT_OFF: &str = ".cut";

/// True for the files that hold what was cut off of this log: a clean stop removes them.
pub fn is_cut_off(name: &str, appendfilename: &str) -> bool {
    name.strip_suffix(CUT_OFF).is_some_and(|log| is_log_file(log, appendfilename))
}

/// A shard's file of the new generation: empty, durable under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedFile {
    /// Its name.
    pub file: String,
    /// Seed of its checksums, and the `prev` of its first frame.
    pub seed: u64,
    /// Position of its first payload byte.
    pub start: u64,
    /// Its share of the stream in front of it.
    pub stream: u64,
}

/// A log that can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// One file per shard.
    pub files: Vec<StartedFile>,
    /// The id the next multi-shard entry gets.
    pub next_id: u64,
    /// The manifest as it stands on disk, for later cuts and the clean stop.
    pub manifest: Manifest,
}

impl Started {
    /// The seeds of the files.
    #[cfg(test)]
    pub fn seeds<C: FromIterator<u64>>(&self) -> C {
        self.files.iter().map(|file| file.seed).collect()
    }
}

/// Makes a plan permanent and begins a generation for `options.shards` shards. To be called once
/// everything in the plan has been loaded; nothing may be appended or served before it returns.
pub fn commit(
    plan: Plan<'_>,
    volume: &dyn Volume,
    rng: &mut Random,
) -> Result<Started, RecoveryError> {
    let options = plan.options;
    let work = Work { volume, plan: &plan };
    work.set_aside()?;
    work.shorten_broken_off()?;
    let mut manifest = work.old_lines();
    let adopted = work.adopt(&mut manifest)?;
    let emptied = work.seal_last(&mut manifest);
    work.write_tails(&mut manifest)?;
    work.move_appended(&mut manifest)?;
    let stream = |shard| if shard == 0 { plan.reached.at } else { 0 };
    let seeds: Vec<NewFile> = (0..options.shards)
        .map(|shard| NewFile { seed: rng.next_u64(), start: plan.next_pos, stream: stream(shard) })
        .collect();
    let mut replication = plan.replication.clone();
    replication.id.get_or_insert_with(|| new_id(rng));
    manifest.replication = Some(replication);
    let name = options.appendfilename;
    let names = manifest.begin_generation(name, &seeds, plan.next_id, options.boot_id);
    for file in &names {
        volume.write_synced(file, b"").map_err(io_error(file))?;
    }
    work.flush_last()?;
    work.vouch(&mut manifest)?;
    let file = manifest_name(name);
    durable::replace(volume, &temp_manifest_name(name), &file, &manifest.encode())
        .map_err(io_error(&file))?;
    work.shorten(&emptied)?;
    work.remove_unlisted(&manifest)?;
    if let Some(lone) = adopted {
        options.data.remove(lone).map_err(io_error(lone))?;
        options.data.sync_dir().map_err(io_error(lone))?;
    }
    let started = |(file, new): (String, &NewFile)| {
        let NewFile { seed, start, stream } = *new;
        StartedFile { file, seed, start, stream }
    };
    let files = names.into_iter().zip(&seeds).map(started).collect();
    Ok(Started { files, next_id: plan.next_id, manifest })
}

struct Work<'a, 'v> {
    volume: &'a dyn Volume,
    plan: &'a Plan<'v>,
}

impl<'v> Work<'_, 'v> {
    /// Copies what will be cut off into files of their own, for a human to look at.
    fn set_aside(&self) -> Result<(), RecoveryError> {
        let torn = self.plan.last.iter().map(|l| (&l.line.file, l.kept.offset, l.solid));
        for (file, from, to) in torn.filter(|(_, from, to)| from < to) {
            self.copy(self.volume, file, from, to, &format!("{file}{CUT_OFF}"))?;
        }
        if let Some((file, from)) = self.broken_off_in_log() {
            let to = self.volume.len(file).map_err(io_error(file))?;
            self.copy(self.volume, file, from, to, &format!("{file}{CUT_OFF}"))?;
        }
        Ok(())
    }

    fn broken_off_in_log(&self) -> Option<(&str, u64)> {
        let lone = matches!(self.plan.source, Source::Lone { .. });
        let broken = self.plan.broken_off.as_ref().filter(|_| !lone);
        broken.map(|(file, end)| (file.as_str(), *end))
    }

    /// A foreign file that broke off is last under the old manifest, which forgives that, and is
    /// not under the new one: it is cut while it is last, as Redis would, where every look agrees.
    fn shorten_broken_off(&self) -> Result<(), RecoveryError> {
        match self.broken_off_in_log() {
            Some((file, end)) => self.volume.truncate(file, end).map_err(io_error(file)),
            None => Ok(()),
        }
    }

    /// Copies the bytes `from..to` of a file in pieces; what was there before is replaced.
    fn copy(
        &self,
        source: &dyn Volume,
        file: &str,
        mut from: u64,
        to: u64,
        into: &str,
    ) -> Result<(), RecoveryError> {
        self.volume.write_synced(into, b"").map_err(io_error(into))?;
        let mut piece = vec![0; PIECE.min(usize::try_from(to - from).unwrap_or(PIECE))];
        while from < to {
            let want = usize::try_from(to - from).unwrap_or(PIECE).min(PIECE);
            let got = source.read_at(file, from, &mut piece[..want]).map_err(io_error(file))?;
            if got == 0 {
                return Err(self.changed(file, from));
            }
            self.volume.append_synced(into, &piece[..got]).map_err(io_error(into))?;
            from += got as u64;
        }
        Ok(())
    }

    /// The file is not what it was when it was looked at.
    fn changed(&self, file: &str, offset: u64) -> RecoveryError {
        RecoveryError::Log {
            error: LogError { file: file.to_owned(), offset, fault: Fault::Truncated },
            manifest: manifest_name(self.plan.options.appendfilename),
        }
    }

    /// The old manifest without what has served: history, and an old clean stop.
    fn old_lines(&self) -> Manifest {
        let mut manifest = match &self.plan.source {
            Source::Listed(manifest) => manifest.clone(),
            Source::Fresh | Source::Lone { .. } => Manifest::default(),
        };
        let dropped = &self.plan.dropped;
        let keep = self.plan.options.keep_history;
        let served = |line: &Line| line.kind == FileType::History && !keep;
        manifest.drop_lines(|line| served(line) || dropped.contains(&line.file));
        manifest
    }

    /// Copies a lone file in as base; gives its name when it is to go from where it was.
    fn adopt(&self, manifest: &mut Manifest) -> Result<Option<&str>, RecoveryError> {
        let Source::Lone { file, becomes, moved } = &self.plan.source else { return Ok(None) };
        let data = self.plan.options.data;
        // A name that the power takes back would leave a copy without a manifest, which no start
        // takes: nor is it removed, since it is the data. (Where a flush of the directory has
        // failed before, and SAVE with it, this one may not make up for it.)
        data.sync_dir().map_err(io_error(file))?;
        let mut end = data.len(file).map_err(io_error(file))?;
        if let Some((_, whole)) = &self.plan.broken_off {
            end = end.min(*whole);
        }
        self.copy(data, file, 0, end, becomes)?;
        let (file_name, kind) = (becomes.clone(), FileType::Base);
        manifest.lines.push(Line { file: file_name, seq: 1, kind, ours: None });
        Ok(moved.then_some(file.as_str()))
    }

    /// Writes the ends of the last generation into its lines, and drops the lines of files that
    /// then hold nothing; gives the names of these.
    fn seal_last(&self, manifest: &mut Manifest) -> Vec<String> {
        for line in &mut manifest.lines {
            let Some(Ours::Shard(pairs)) = &mut line.ours else { continue };
            if let Some(last) = self.plan.last.iter().find(|l| l.line.file == line.file) {
                let border = last.kept.border;
                let same = pairs.end.is_none_or(|end| end == (border.pos, border.sum));
                assert!(same || self.plan.late, "an end once named is moved on demand alone");
                pairs.end = Some((border.pos, border.sum));
                pairs.clean = false;
            }
        }
        manifest.drop_lines(|line| match &line.ours {
            Some(Ours::Shard(pairs)) => pairs.end.is_some_and(|(pos, _)| pos == pairs.start),
            _ => false,
        })
    }

    /// Makes durable what the new manifest will hold up to a named end, or as it stands, and its
    /// writer may have left in the page cache: the files of the last generation, and those that
    /// another server has written.
    fn flush_last(&self) -> Result<(), RecoveryError> {
        let last = self.plan.last.iter().map(|l| &l.line.file);
        let foreign = self.plan.steps.iter().filter_map(|step| match step {
            Step::Foreign { file, place: Place::Log, .. } => Some(file),
            _ => None,
        });
        for file in last.chain(foreign) {
            // To the length it has: what is cut off goes once the new manifest is durable.
            let len = self.volume.len(file).map_err(io_error(file))?;
            self.volume.truncate(file, len).map_err(io_error(file))?;
        }
        Ok(())
    }

    /// Takes the checksums of files that are plain commands or RDB, and from now on never change.
    fn vouch(&self, manifest: &mut Manifest) -> Result<(), RecoveryError> {
        let bare = |line: &&mut Line| line.ours.is_none() && line.kind != FileType::History;
        for line in manifest.lines.iter_mut().filter(bare) {
            let pairs = WholePairs::of(self.volume, &line.file).map_err(io_error(&line.file))?;
            line.vouch(pairs);
        }
        Ok(())
    }

    /// Writes the kept fronts of cut frames, and of tails, as parts.
    fn write_tails(&self, manifest: &mut Manifest) -> Result<(), RecoveryError> {
        for last in self.plan.last.iter().filter(|l| l.kept.inside_frame()) {
            let bytes = self.front(last)?;
            let name = manifest.add_part(self.plan.options.appendfilename, PartKind::Tail, &bytes);
            self.volume.write_synced(&name, &bytes).map_err(io_error(&name))?;
        }
        for (file, len) in &self.plan.tails {
            let mut bytes = vec![0; *len as usize];
            self.volume.read_exact(file, 0, &mut bytes).map_err(io_error(file))?;
            let name = manifest.add_part(self.plan.options.appendfilename, PartKind::Tail, &bytes);
            self.volume.write_synced(&name, &bytes).map_err(io_error(&name))?;
        }
        Ok(())
    }

    /// The payload of a cut frame up to the cut, in the database it begins in.
    fn front(&self, last: &LastFile) -> Result<Vec<u8>, RecoveryError> {
        let (file, kept) = (&last.line.file, last.kept);
        let len = kept.pos - kept.border.pos;
        assert!(kept.offset - kept.border.offset > len, "a head line stands in front");
        let mut head = [0; HEAD_MAX];
        let got = self.volume.read_at(file, kept.border.offset, &mut head);
        let got = got.map_err(io_error(file))?;
        let parsed = parse_head(&head[..got]);
        if !parsed.is_ok_and(|p| kept.border.offset + p.line as u64 + len == kept.offset) {
            return Err(self.changed(file, kept.border.offset));
        }
        let mut bytes = Vec::new();
        if kept.border.db != 0 {
            let db = kept.border.db.to_string();
            let select = format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{db}\r\n", db.len());
            bytes.extend_from_slice(select.as_bytes());
        }
        if let Some(Ours::Shard(pairs)) = &last.line.ours {
            write_border(&mut bytes, (pairs.shard, kept.border.pos));
        }
        let mut at = bytes.len();
        let mut from = kept.offset - len;
        bytes.resize(at + len as usize, 0);
        while at < bytes.len() {
            match self.volume.read_at(file, from, &mut bytes[at..]).map_err(io_error(file))? {
                0 => return Err(self.changed(file, from)),
                n => {
                    at += n;
                    from += n as u64;
                }
            }
        }
        Ok(bytes)
    }

    /// Gives what another server appended to a file of ours a file of its own.
    fn move_appended(&self, manifest: &mut Manifest) -> Result<(), RecoveryError> {
        let Some((file, from, to)) = &self.plan.appended else { return Ok(()) };
        let seq = manifest.next_seq();
        let name = format!("{}.{seq}.incr.aof", self.plan.options.appendfilename);
        self.copy(self.volume, file, *from, *to, &name)?;
        manifest.lines.push(Line { file: name, seq, kind: FileType::Incr, ours: None });
        Ok(())
    }

    /// Cuts the old files to the ends the manifest now names.
    fn shorten(&self, emptied: &[String]) -> Result<(), RecoveryError> {
        let appended = self.plan.appended.as_ref().map(|(file, ..)| file);
        // A sealed one with torn filler is cut in front of all filler, and only once.
        let torn = |file: &String| self.plan.longer.iter().any(|(longer, _)| longer == file);
        let last = self.plan.last.iter().filter(|l| !torn(&l.line.file)).filter(|l| {
            // Room behind a file's end is nobody's any more.
            l.kept.border.offset < l.len
                || appended.is_some_and(|file| *file == l.line.file)
                || self.volume.room_behind(&l.line.file).is_ok_and(|room| room > 0)
        });
        let last = last.map(|l| (&l.line.file, l.kept.border.offset));
        let longer = self.plan.longer.iter().chain(&self.plan.blank);
        let longer = longer.map(|(file, len)| (file, *len));
        for (file, len) in longer.chain(last).filter(|(file, _)| !emptied.contains(file)) {
            self.volume.truncate(file, len).map_err(io_error(file))?;
        }
        Ok(())
    }

    /// Removes files of this log that the manifest, which is durable, does not name.
    fn remove_unlisted(&self, manifest: &Manifest) -> Result<(), RecoveryError> {
        let name = self.plan.options.appendfilename;
        let listed = |file: &str| manifest.lines.iter().any(|l| l.file == file);
        let history = match &self.plan.source {
            Source::Listed(old) => &old.lines[..],
            _ => &[],
        };
        let served =
            |file: &str| history.iter().any(|l| l.kind == FileType::History && l.file == file);
        let files = self.volume.list().map_err(io_error("the log directory"))?;
        let mut removed = false;
        for file in files.iter().filter(|f| !listed(f)) {
            let temporary = *file == temp_manifest_name(name) || is_temp_base(file);
            if self.plan.dropped.contains(file) {
                let aside = format!("{file}{CUT_OFF}");
                self.volume.rename(file, &aside).map_err(io_error(file))?;
                removed = true;
            } else if is_log_file(file, name) || temporary || served(file) {
                self.volume.remove(file).map_err(io_error(file))?;
                removed = true;
            }
        }
        if removed {
            self.volume.sync_dir().map_err(io_error("the log directory"))?;
        }
        Ok(())
    }
}
