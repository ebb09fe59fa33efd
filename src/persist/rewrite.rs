//! The files of a rewrite: a new base takes the place of everything in front of it.
//!
//! # The states
//!
//! ```text
//!  write    the base, under a temporary name; flushed. Of commands it is made from an RDB file
//!           that was written in the same manner                [`as_commands`]
//!  name     it gets its name in the log                        [`install`]
//!  commit   the manifest: written aside, flushed; the directory flushed; renamed; the directory
//!           flushed. It lists the new base, the generations that began with it or later, and what
//!           they replace as history
//!  remove   history goes                                       [`remove_history`]
//!  forget   a manifest without those lines                     [`forget_history`]
//! ```
//!
//! # Why a crash anywhere leaves a log that can be loaded
//!
//! * The base holds the data of one moment, and at that same moment every shard's log went over to
//!   a new generation ([`crate::shard::rewrite`]). So base and generations from there on, and old
//!   base with all generations, are the same data.
//! * In front of the manifest's rename nothing that the standing manifest lists has changed. What
//!   lies there besides, the base under either name and the temporary manifest, is removed at the
//!   next start, since nothing lists it.
//! * What the new manifest lists was flushed, and the directory with it, before the rename.
//! * Nothing is removed before the flush of the directory behind the rename has succeeded, so both
//!   manifests can be loaded until only the new one can be found. If that flush fails the new one
//!   is in force all the same (it is what everybody sees), and history stays.
//! * Lines of history are loaded by nobody, so their files may be gone.
//!
//! # Why marks in front of the base are met
//!
//! Marks, dependency marks and the positions of readers in the generations that stay may name what
//! stood in those that go. Positions go on over generations, and an older generation is sealed: its
//! writes, all of them, were durable before anything of the next was written. So such a mark names
//! a position not behind the start of its shard's next file, which every cut keeps; and no mark of
//! an entry stands on both sides, since the moment is one place in the order of all entries.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::Ordering;

use crate::base::random::Random;
use crate::persist::aof::manifest::{
    FileType, Line, Manifest, Ours, manifest_name, temp_manifest_name,
};
use crate::persist::aof::whole::WholePairs;
use crate::persist::disk::{Sheet, Sheets, Volume};
use crate::persist::durable;
use crate::persist::rdb::commands::Commands;
use crate::persist::rdb::{Modules, Options, visit};
use crate::persist::snapshot::{FLUSH_EACH, Flow};

#[cfg(test)]
mod tests;

/// What the temporary name of a base begins with.
const TEMP: &str = "temp-rewriteaof-";
/// Bytes of commands written at once.
const BUFFER: usize = 1 << 18;

/// The name under which this process writes a base.
pub fn temp_base_name() -> String {
    format!("{TEMP}bg-{}.aof", std::process::id())
}

/// The name under which this process writes the RDB file from which a base of commands is made.
pub fn temp_rdb_name() -> String {
    format!("{TEMP}bg-{}.rdb", std::process::id())
}

/// Whether a file of this name is a base that was never finished.
pub fn is_temp_base(name: &str) -> bool {
    name.starts_with(TEMP)
}

/// A file that is written from its beginning on.
struct Tape<'a> {
    sheet: Box<dyn Sheet>,
    len: u64,
    flushed: u64,
    flush_each: bool,
    flow: &'a Flow,
}

impl Write for Tape<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.flow.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("given up"));
        }
        self.sheet.write_at(self.len, bytes)?;
        self.len += bytes.len() as u64;
        if self.flush_each && self.len - self.flushed >= FLUSH_EACH {
            self.sheet.flush_behind()?;
            self.flushed = self.len;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the commands that make the data of the RDB file `from` into `to`, and flushes that; gives
/// its length in bytes. `from` is removed.
///
/// # Errors
/// What the disk says; or that somebody has given up. Both files are gone then.
pub fn as_commands(
    disk: &dyn Sheets,
    from: &str,
    to: &str,
    flush_each: bool,
    flow: &Flow,
) -> io::Result<u64> {
    let written = convert(disk, from, to, flush_each, flow);
    // One that stays is removed at the next start.
    drop(disk.remove(from));
    if written.is_err() {
        drop(disk.remove(to));
    }
    written
}

fn convert(
    disk: &dyn Sheets,
    from: &str,
    to: &str,
    flush_each: bool,
    flow: &Flow,
) -> io::Result<u64> {
    let tape = Tape { sheet: disk.create(to)?, len: 0, flushed: 0, flush_each, flow };
    let mut commands = Commands::new(BufWriter::with_capacity(BUFFER, tape));
    let mut random = Random::from_system();
    let hash_seed = [random.next_u64(), random.next_u64()];
    let options = Options::all(hash_seed, Modules::Refuse);
    visit(disk, from, &options, &mut commands)
        .map_err(|error| io::Error::other(error.to_string()))?;
    let tape = commands.finish()?.into_inner().map_err(io::IntoInnerError::into_error);
    let mut tape = tape?;
    tape.sheet.flush()?;
    Ok(tape.len)
}

/// What becomes of a base that has been written.
#[derive(Debug)]
pub enum Installed {
    /// The log has begun anew meanwhile: the base is of no use, and gone.
    Superseded,
    /// It is listed.
    Done {
        /// The manifest in force.
        manifest: Manifest,
        /// The name of the base.
        base: String,
        /// Whether that is known to survive a power cut; if not, nothing may be removed.
        durable: io::Result<()>,
    },
}

/// Lists a base in `manifest`, in the place of everything in front of the generation whose first
/// file has the number `first`, or of everything; gives its name. `None` when that generation is
/// not listed any more: the log has begun anew.
fn rebase(
    manifest: &mut Manifest,
    appendfilename: &str,
    ending: &str,
    first: Option<i64>,
) -> Option<String> {
    let is_first = |line: &Line| line.kind == FileType::Incr && Some(line.seq) == first;
    if first.is_some() && !manifest.lines.iter().any(is_first) {
        return None;
    }
    let seq = manifest.next_seq();
    // A base that was replaced stands behind what it had replaced, in front of what was written
    // behind it: so history reads in the order in which it was made (`persist::restore`).
    let base = manifest.lines.iter().position(|line| line.kind == FileType::Base);
    let base = base.map(|at| manifest.lines.remove(at));
    let behind = manifest.lines.iter().rposition(|line| line.kind == FileType::History);
    manifest.lines.splice(behind.map_or(0, |at| at + 1)..behind.map_or(0, |at| at + 1), base);
    for line in &mut manifest.lines {
        let replaced = match line.kind {
            FileType::Base => true,
            FileType::Incr => first.is_none_or(|first| line.seq < first),
            FileType::History => false,
        };
        if replaced {
            line.kind = FileType::History;
        }
    }
    let file = format!("{appendfilename}.{seq}.base.{ending}");
    let line = Line { file: file.clone(), seq, kind: FileType::Base, ours: None };
    manifest.lines.insert(0, line);
    Some(file)
}

/// Puts the base that stands under `temp`, flushed, in the place of everything in front of the
/// generation whose first file has the number `first`, or of everything. Nobody else changes the
/// manifest meanwhile.
///
/// # Errors
/// What the disk says; the manifest in force is the old one then, and the base is gone.
pub fn install(
    volume: &dyn Volume,
    appendfilename: &str,
    temp: &str,
    ending: &str,
    first: Option<i64>,
    manifest: &Manifest,
) -> io::Result<Installed> {
    let mut manifest = manifest.clone();
    let Some(base) = rebase(&mut manifest, appendfilename, ending, first) else {
        volume.remove(temp)?;
        return Ok(Installed::Superseded);
    };
    let listed = WholePairs::of(volume, temp).and_then(|pairs| {
        manifest.lines.iter_mut().filter(|l| l.file == base).for_each(|l| l.vouch(pairs));
        list(volume, appendfilename, (temp, &base), &manifest)
    });
    if let Err(error) = listed {
        for left in [temp, &base, &temp_manifest_name(appendfilename)] {
            // It may not be there, and at the next start it would go as well.
            drop(volume.remove(left));
        }
        return Err(error);
    }
    let durable = volume.sync_dir();
    Ok(Installed::Done { manifest, base, durable })
}

fn list(
    volume: &dyn Volume,
    appendfilename: &str,
    (temp, base): (&str, &str),
    manifest: &Manifest,
) -> io::Result<()> {
    volume.rename(temp, base)?;
    let aside = temp_manifest_name(appendfilename);
    volume.write_synced(&aside, &manifest.encode())?;
    volume.sync_dir()?;
    volume.rename(&aside, &manifest_name(appendfilename))
}

/// The files that a manifest lists as history.
pub fn history(manifest: &Manifest) -> Vec<String> {
    let lines = manifest.lines.iter().filter(|line| line.kind == FileType::History);
    lines.map(|line| line.file.clone()).collect()
}

/// Removes those files; gives the names of those that are gone now.
pub fn remove_history(volume: &dyn Volume, files: &[String]) -> Vec<String> {
    let gone = |file: &&String| match volume.remove(file) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    files.iter().filter(gone).cloned().collect()
}

/// Makes a manifest without the lines of these files of history permanent, and gives it; `None`
/// when it has none of them. Nobody else changes the manifest meanwhile.
///
/// # Errors
/// What the disk says: either manifest may be found then, and both tell of the same data.
pub fn forget_history(
    volume: &dyn Volume,
    appendfilename: &str,
    gone: &[String],
    manifest: &Manifest,
) -> io::Result<Option<Manifest>> {
    let mut manifest = manifest.clone();
    let of_history = |line: &Line| line.kind == FileType::History && gone.contains(&line.file);
    if manifest.drop_lines(of_history).is_empty() {
        return Ok(None);
    }
    let (temp, name) = (temp_manifest_name(appendfilename), manifest_name(appendfilename));
    durable::replace(volume, &temp, &name, &manifest.encode())?;
    Ok(Some(manifest))
}

/// Bytes of the files that count in front of those that are being written: the base, and sealed
/// generations with what stands between them.
pub fn sealed_size(volume: &dyn Volume, manifest: &Manifest) -> u64 {
    let last = manifest.generation();
    let written = |line: &Line| match &line.ours {
        Some(Ours::Shard(pairs)) => pairs.generation == last,
        _ => false,
    };
    let counts = |line: &&Line| line.kind != FileType::History && !written(line);
    manifest.lines.iter().filter(counts).filter_map(|line| volume.len(&line.file).ok()).sum()
}
