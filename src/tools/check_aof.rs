//! `ringstone check-aof [--fix] [--yes] [--truncate-to-timestamp T] <manifest|directory|file>`:
//! says of each file of a log how far it is good, in the manner of `redis-check-aof`; with `--fix`
//! makes permanent what recovery would keep, so that stock redis-server loads the directory with
//! the same data; or cuts a log back to a second of Unix time.
//!
//! * A manifest, or a directory with one, is looked at as the server's start does
//!   ([`recovery::inspect`]): the manifest's checksums, every frame's, every part's. Files of other
//!   servers and bases are read to their end as well: RDB with its checksum, commands one by one.
//! * `--fix` cuts as the server's start would ([`recovery::commit`]), keeps what it cuts off in
//!   `*.cut` files, and leaves the log as a clean stop does. Where a start would refuse since bytes
//!   that were known to be durable have gone, it says so and asks first; `--yes` answers for it.
//! * `--truncate-to-timestamp` needs the `#TS:` lines of `aof-timestamp-enabled`. A log of ours is
//!   cut over all shards at once, to what was executed up to that second and is consistent; what
//!   goes is kept in `*.cut` files. A log of Redis' is cut as `redis-check-aof` does: in its last
//!   file alone (`foreign`).
//! * A single file is read frame by frame when a manifest beside it holds its seed, else as plain
//!   commands. One shard's file is never cut alone: the others depend on it.
//!
//! # Where the tool is stricter than a start
//!
//! Redis' loader, and so ours, takes some commands that no server writes: numbers with text behind
//! them, anything at all in the place of the line end behind an argument. The tool says that such a
//! file is not valid, as `redis-check-aof` does, since it can only be damage; a start goes on so
//! that whatever Redis loads is loaded here.
//!
//! Exit status: 0 when all is good (or was made so), 1 otherwise.

mod foreign;

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::base::random::Random;
use crate::persist::aof::manifest::{
    Line, Manifest, Ours, ShardPairs, manifest_name, temp_manifest_name,
};
use crate::persist::aof::resp::{Fault, PlainReader};
use crate::persist::aof::scan::{ScanOptions, scan};
use crate::persist::disk::Volume;
use crate::persist::durable::{self, DirLock, boot_identity};
use crate::persist::recovery::{self, Options, Place, Plan, RecoveryError, Step};
use crate::persist::volume::DirVolume;

/// How the tool is called.
pub const USAGE: &str = "Usage: ringstone check-aof [--fix] [--yes] \
                         [--truncate-to-timestamp $timestamp] <manifest|directory|file>";

/// Runs the tool on the process' own streams; `args` are those behind `check-aof`.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let (mut out, mut input) = (io::stdout().lock(), io::stdin().lock());
    match run(&args, &mut out, &mut input) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to say it to when standard output is what failed.
            let _ = writeln!(out, "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the tool; true when all is good in the end.
pub fn run(args: &[OsString], out: &mut dyn Write, input: &mut dyn BufRead) -> io::Result<bool> {
    let (mut fix, mut yes, mut until, mut target) = (false, false, None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--fix") => fix = true,
            Some("--yes") => yes = true,
            Some("--truncate-to-timestamp") => {
                let second = args.next().and_then(|second| second.to_str()?.parse::<i64>().ok());
                until = second.filter(|&second| second > 0);
                if until.is_none() {
                    writeln!(out, "Invalid timestamp, aborting...")?;
                    return Ok(false);
                }
            }
            Some(option) if option.starts_with("--") => {
                writeln!(out, "{USAGE}")?;
                return Ok(false);
            }
            _ if target.is_none() => target = Some(PathBuf::from(arg)),
            _ => {
                writeln!(out, "{USAGE}")?;
                return Ok(false);
            }
        }
    }
    let Some(target) = target.filter(|_| !(fix && until.is_some())) else {
        writeln!(out, "{USAGE}")?;
        return Ok(false);
    };
    let mut tool = Tool { fix, yes, until, out, input };
    match find(&target)? {
        Target::Log { dir, appendfilename } => tool.log(&dir, &appendfilename),
        Target::File { dir, file } => tool.file(&dir, &file),
    }
}

pub(super) enum Target {
    Log { dir: PathBuf, appendfilename: String },
    File { dir: PathBuf, file: String },
}

/// What a path on the command line means.
pub(super) fn find(path: &Path) -> io::Result<Target> {
    let name = |path: &Path| path.file_name().and_then(OsStr::to_str).map(str::to_owned);
    if path.is_dir() {
        let inner = path.join("appendonlydir");
        let dir = if manifests(path)?.is_empty() && inner.is_dir() { inner } else { path.into() };
        return match &manifests(&dir)?[..] {
            [one] => Ok(Target::Log { dir, appendfilename: one.clone() }),
            [] => Err(io::Error::other(format!("no manifest in {}", dir.display()))),
            _ => Err(io::Error::other(format!("several manifests in {}", dir.display()))),
        };
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(file) = name(path) else {
        return Err(io::Error::other(format!("no file: {}", path.display())));
    };
    let dir = parent.to_owned();
    Ok(match file.strip_suffix(".manifest") {
        Some(log) => Target::Log { dir, appendfilename: log.to_owned() },
        None => Target::File { dir, file },
    })
}

/// The logs that have a manifest in a directory.
fn manifests(dir: &Path) -> io::Result<Vec<String>> {
    let names = DirVolume::open(dir)?.list()?;
    let logs = names.iter().filter_map(|name| name.strip_suffix(".manifest"));
    Ok(logs.filter(|log| !log.starts_with("temp-")).map(str::to_owned).collect())
}

struct Tool<'a> {
    fix: bool,
    yes: bool,
    /// `--truncate-to-timestamp`
    until: Option<i64>,
    out: &'a mut dyn Write,
    input: &'a mut dyn BufRead,
}

impl Tool<'_> {
    /// A whole log.
    fn log(&mut self, dir: &Path, appendfilename: &str) -> io::Result<bool> {
        let real = dir.canonicalize()?;
        let home = real.parent().unwrap_or(Path::new("/"));
        let (volume, data) = (DirVolume::open(dir)?, DirVolume::open(home)?);
        let changes = self.fix || self.until.is_some();
        let _lock = match changes.then(|| DirLock::take(home)) {
            Some(Err(held)) => return self.say(false, &held.to_string()),
            Some(Ok(lock)) => Some(lock),
            None => None,
        };
        let boot_id = boot_identity(dir)?;
        let bytes = volume.read_all(&manifest_name(appendfilename))?;
        let mut options = Options {
            until: self.until,
            ..Options::plain(appendfilename, "", shards_of(&bytes), &boot_id, &data)
        };
        writeln!(self.out, "Start checking Multi Part AOF")?;
        if let (Some(until), Some(lines)) = (self.until, foreign::lines(&bytes)) {
            return self.truncate_foreign(&volume, &lines, until);
        }
        let plan = match self.look(&volume, &mut options)? {
            Some(plan) => plan,
            None => return Ok(false),
        };
        if !self.describe(&plan, &volume)? {
            return Ok(false);
        }
        if let Some(until) = self.until.filter(|_| !plan.late) {
            writeln!(self.out, "Truncate nothing in the log to timestamp {until}")?;
        }
        if plan.is_whole() {
            return self.say(true, "All AOF files and manifest are valid");
        }
        if let Some(until) = self.until.filter(|_| plan.late) {
            let done = format!("Successfully truncated the log to timestamp {until}");
            return self.cut(plan, &volume, &done);
        }
        if !self.fix {
            let text = "The log is not valid as it stands. Use the --fix option to cut it where \
                        a start would.";
            return self.say(false, text);
        }
        let question = "Bytes that were known to be durable will be lost. Continue?";
        if options.accept_damage && !self.agreed(question)? {
            return self.say(false, "Aborting...");
        }
        self.cut(plan, &volume, "Successfully cut the log")
    }

    /// What recovery makes of a log; says why when that is nothing. For `--fix` damage is looked
    /// past, and `options` says so afterwards.
    fn look<'v>(
        &mut self,
        volume: &DirVolume,
        options: &mut Options<'v>,
    ) -> io::Result<Option<Plan<'v>>> {
        let error = match recovery::inspect(volume, options) {
            Ok(plan) => return Ok(Some(plan)),
            Err(error) => error,
        };
        writeln!(self.out, "{error}")?;
        if !self.fix || !matches!(error, RecoveryError::Damaged { .. }) {
            return Ok(None);
        }
        options.accept_damage = true;
        match recovery::inspect(volume, options) {
            Ok(plan) => Ok(Some(plan)),
            Err(error) => {
                writeln!(self.out, "This cannot be cut away: {error}")?;
                Ok(None)
            }
        }
    }

    /// Makes a plan permanent.
    fn cut(&mut self, plan: Plan<'_>, volume: &DirVolume, done: &str) -> io::Result<bool> {
        match cut(plan, volume) {
            Ok(()) => self.say(true, &format!("{done}; what was cut off is in *.cut")),
            Err(error) => self.say(false, &error.to_string()),
        }
    }

    /// Says of each file how far it is good, and reads those of other servers to their end.
    fn describe(&mut self, plan: &Plan<'_>, volume: &DirVolume) -> io::Result<bool> {
        for file in &plan.checked {
            let diff = file.size - file.ok_up_to;
            writeln!(
                self.out,
                "AOF analyzed: filename={}, size={}, ok_up_to={}, diff={diff}",
                file.file, file.size, file.ok_up_to
            )?;
            if diff == 0 {
                writeln!(self.out, "{} AOF {} is valid", file.role, file.file)?;
            } else {
                writeln!(self.out, "{} AOF {} is not valid", file.role, file.file)?;
            }
        }
        for line in &plan.report {
            writeln!(self.out, "{line}")?;
        }
        let mut good = true;
        for step in &plan.steps {
            match step {
                Step::Foreign { file, place: Place::Log, from, end } => {
                    good &= self.commands(volume, file, *from, *end)?;
                }
                Step::Rdb { file, place: Place::Log, .. } => good &= self.rdb(volume, file)?,
                _ => {}
            }
        }
        Ok(good)
    }

    /// Reads commands of another server to their end; true when they are what a server writes.
    fn commands(
        &mut self,
        volume: &DirVolume,
        file: &str,
        from: u64,
        end: u64,
    ) -> io::Result<bool> {
        match PlainReader::open(volume, file, from, end) {
            Ok(reader) => Ok(self.read_through(&mut reader.strict())?.is_some()),
            Err(error) => self.say(false, &error.to_string()),
        }
    }

    /// Reads an RDB to its end, and the commands behind it.
    fn rdb(&mut self, volume: &DirVolume, file: &str) -> io::Result<bool> {
        match foreign::read_rdb(volume, file) {
            Err(error) => self.say(false, &error.to_string()),
            Ok(loaded) => {
                let sum =
                    if loaded.checksum.unwrap_or(0) == 0 { "no checksum" } else { "checksum OK" };
                let keys = loaded.keys;
                writeln!(self.out, "{file} is an RDB with {keys} keys, {sum}")?;
                self.commands(volume, file, loaded.end, u64::MAX)
            }
        }
    }

    /// Reads plain commands to their end; the offset up to which they are whole, or `None` when
    /// something else than the end is wrong.
    fn read_through(&mut self, reader: &mut PlainReader<'_>) -> io::Result<Option<u64>> {
        loop {
            let ended = match reader.next_command() {
                Ok(Some(_)) => continue,
                Ok(None) => None,
                Err(error) => Some(error),
            };
            return match ended {
                None => Ok(Some(reader.read())),
                Some(error) => {
                    writeln!(self.out, "{error}")?;
                    let broken_off = matches!(error.fault, Fault::Truncated);
                    Ok(broken_off.then(|| reader.whole()))
                }
            };
        }
    }

    /// A single file.
    fn file(&mut self, dir: &Path, file: &str) -> io::Result<bool> {
        let volume = DirVolume::open(dir)?;
        let size = volume.len(file)?;
        if let Some(pairs) = listed_pairs(dir, &volume, file)? {
            if self.fix || self.until.is_some() {
                let text = "One shard's file cannot be cut alone: give the manifest.";
                return self.say(false, text);
            }
            let end = pairs.end.map(|(pos, _)| pos);
            let (seed, start) = (pairs.seed, pairs.start);
            let same_boot = false;
            let options =
                ScanOptions { seed, start, end, same_boot, marks: 0, until: None, bound: None };
            let found = match scan(&volume, file, options) {
                Ok(found) => found,
                Err(error) => return self.say(false, &error.to_string()),
            };
            let ends = (found.end.pos, found.end.sum);
            let good = found.gap.is_none() && pairs.end.is_none_or(|end| end == ends);
            return self.verdict(file, size, found.end.offset, good);
        }
        let rdb = foreign::rdb_end(&volume, file);
        let from = match rdb {
            Ok(from) => from,
            Err(error) => return self.say(false, &error.to_string()),
        };
        if let Some(until) = self.until {
            return match foreign::truncate(&volume, file, from, until, true)? {
                Ok(said) => self.say(true, &said),
                Err(said) => self.say(false, &said),
            };
        }
        let mut reader = match PlainReader::open(&volume, file, from, u64::MAX) {
            Ok(reader) => reader.strict(),
            Err(error) => return self.say(false, &error.to_string()),
        };
        let Some(whole) = self.read_through(&mut reader)? else {
            return self.verdict(file, size, reader.whole(), false);
        };
        let good = self.verdict(file, size, whole, whole == size)?;
        if good || !self.fix {
            return Ok(good);
        }
        let cut = size - whole;
        let question =
            format!("This will shrink the AOF from {size} bytes, with {cut} bytes, to {whole}");
        writeln!(self.out, "{question}")?;
        if !self.agreed("Continue?")? {
            return self.say(false, "Aborting...");
        }
        volume.truncate(file, whole)?;
        self.say(true, &format!("Successfully truncated AOF {file}"))
    }

    fn verdict(&mut self, file: &str, size: u64, end: u64, good: bool) -> io::Result<bool> {
        let diff = size.saturating_sub(end);
        writeln!(
            self.out,
            "AOF analyzed: filename={file}, size={size}, ok_up_to={end}, diff={diff}"
        )?;
        let not = if good { "" } else { "not " };
        self.say(good, &format!("AOF {file} is {not}valid"))
    }

    fn agreed(&mut self, question: &str) -> io::Result<bool> {
        if self.yes {
            return Ok(true);
        }
        write!(self.out, "{question} [y/N]: ")?;
        self.out.flush()?;
        let mut answer = String::new();
        self.input.take(16).read_line(&mut answer)?;
        Ok(answer.trim_start().starts_with(['y', 'Y']))
    }

    fn say(&mut self, good: bool, text: &str) -> io::Result<bool> {
        writeln!(self.out, "{text}")?;
        Ok(good)
    }
}

/// Makes the cut permanent and leaves the log as a clean stop does.
pub(super) fn cut(plan: Plan<'_>, volume: &DirVolume) -> Result<(), RecoveryError> {
    let appendfilename = plan.appendfilename().to_owned();
    let appendfilename = &appendfilename[..];
    let mut started = recovery::commit(plan, volume, &mut Random::from_system())?;
    let ends: Vec<_> = started.files.iter().map(|file| (file.start, file.seed)).collect();
    started.manifest.seal(&ends, true);
    let (temp, name) = (temp_manifest_name(appendfilename), manifest_name(appendfilename));
    durable::replace(volume, &temp, &name, &started.manifest.encode())
        .map_err(|error| RecoveryError::Io { file: name, error })
}

/// How many shards wrote the last generation.
pub(super) fn shards_of(manifest: &[u8]) -> usize {
    let parsed = Manifest::parse(manifest);
    let shards = parsed.ok().and_then(|mut m| m.last_generation_mut().next().map(|p| p.shards));
    shards.map_or(1, usize::from)
}

/// What a manifest in the same directory says of a file of ours.
fn listed_pairs(dir: &Path, volume: &DirVolume, file: &str) -> io::Result<Option<ShardPairs>> {
    for log in manifests(dir)? {
        let Ok(manifest) = Manifest::parse(&volume.read_all(&manifest_name(&log))?) else {
            continue;
        };
        let line: Option<&Line> = manifest.lines.iter().find(|line| line.file == file);
        if let Some(Ours::Shard(pairs)) = line.and_then(|line| line.ours.as_ref()) {
            return Ok(Some(pairs.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
