//! What of a log and its history makes up the data of an earlier moment. Changes nothing on disk;
//! `ringstone restore` ([`crate::tools::restore`]) copies what is found here and cuts the copy.
//!
//! # The chain
//!
//! A rewrite turns the old base and what stood behind it into lines of history, in the order in
//! which they were made ([`super::rewrite`]): a base in front of the files that were written behind
//! it.
//!
//! ```text
//! h B1 | h I1.. | h B2 | h I2.. | b B3 | i I3..
//! ```
//!
//! A base is the data of everything in front of it, so `B1` with all of `I1`, `I2`, `I3` is the
//! same data as `B3` with `I3`, and goes through every moment in between. What is used is the
//! oldest base from which on no file is missing; bases behind it are left out. A log that began
//! with nothing has a first generation in the place of a base, and that has the number 1.
//!
//! # The cut
//!
//! The chain is looked at as a start does ([`recovery::inspect`]), bounded by a second, which
//! `#TS:` lines tell, or by positions of the shards' logs. Bounds only ask for less, and what is
//! kept is the greatest choice in which every mark is met, so it is consistent. A log is cut
//! between frames or in front of a mark: of a frame that goes beyond a bound nothing is kept but
//! what stands in front of the last mark before it. Positions that the server tells as written are
//! borders of frames. A log that goes on in a *tail* is cut there in the same way: a tail tells
//! where its frames began.

use std::io;

use crate::persist::aof::manifest::{FileType, Line, Manifest, Ours, manifest_name};
use crate::persist::disk::Volume;
use crate::persist::recovery::{self, Bounds, Options, Plan, RecoveryError, io_error};

/// Where to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The end of this second of Unix time.
    Second(i64),
    /// These positions.
    Positions(Bounds),
}

impl Moment {
    /// Reads what `--to` says: seconds of Unix time, or `shard:position` with commas between.
    pub fn parse(text: &str) -> Option<Moment> {
        if !text.contains(':') {
            let second = text.parse::<i64>().ok().filter(|&second| second > 0);
            return second.map(Moment::Second);
        }
        let mut bounds = Bounds::default();
        for at in text.split(',') {
            let (shard, position) = at.split_once(':')?;
            let (shard, position) = (shard.parse().ok()?, position.parse().ok()?);
            if bounds.0.insert(shard, position).is_some() {
                return None;
            }
        }
        Some(Moment::Positions(bounds))
    }
}

/// True for a line that is, or was, the base.
fn is_base(line: &Line, appendfilename: &str) -> bool {
    let rest = line.file.strip_prefix(appendfilename).unwrap_or_default();
    line.kind == FileType::Base
        || (line.kind == FileType::History && rest.split('.').nth(2) == Some("base"))
}

/// Whether the data was nothing in front of this line.
fn begins_with_nothing(line: &Line) -> bool {
    matches!(&line.ours, Some(Ours::Shard(pairs)) if pairs.generation == 1)
}

/// The lines of a manifest as if no rewrite had been, as far back as all files are there.
pub fn chain(
    volume: &dyn Volume,
    appendfilename: &str,
    manifest: &Manifest,
) -> io::Result<Manifest> {
    let of = |kind| manifest.lines.iter().filter(move |line| line.kind == kind);
    let lines: Vec<&Line> =
        of(FileType::History).chain(of(FileType::Base)).chain(of(FileType::Incr)).collect();
    let there = |line: &&Line| match volume.len(&line.file) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    // From the newest back; a base behind the one that is used may be missing.
    let present = of(FileType::Base).count() + of(FileType::Incr).count();
    let standing = lines.len() - present;
    let mut from = standing;
    for (at, line) in lines.iter().enumerate().take(standing).rev() {
        let base = is_base(line, appendfilename);
        if !there(line)? {
            if base {
                continue;
            }
            break;
        }
        if base || (at == 0 && begins_with_nothing(line)) {
            from = at;
        }
    }
    // Where it comes from may go on under the same name.
    let heir = manifest.replication.clone().map(|known| known.renamed_at(u64::MAX));
    let mut found = Manifest::of(heir);
    for (at, line) in lines.into_iter().enumerate().skip(from) {
        let base = is_base(line, appendfilename);
        let kind = match (at == from, base) {
            (true, true) => FileType::Base,
            (false, true) => continue,
            (_, false) => FileType::Incr,
        };
        found.lines.push(Line { kind, ..line.clone() });
    }
    Ok(found)
}

/// The files of history that nobody needs who goes back to a moment behind the making of a base
/// that `is_old`: all those in front of the last such base.
pub fn due(
    manifest: &Manifest,
    appendfilename: &str,
    is_old: impl Fn(&str) -> bool,
) -> Vec<String> {
    let of = |kind| manifest.lines.iter().filter(move |line| line.kind == kind);
    let lines: Vec<&Line> = of(FileType::History).chain(of(FileType::Base)).collect();
    let old = |line: &&Line| is_base(line, appendfilename) && is_old(&line.file);
    let end = lines.iter().rposition(old).unwrap_or(0);
    lines.iter().take(end).map(|line| line.file.clone()).collect()
}

/// A log directory with another manifest than it has, that cannot be changed.
pub struct View<'v> {
    /// The directory.
    pub volume: &'v dyn Volume,
    /// Name of the manifest.
    pub name: String,
    /// The manifest that is seen.
    pub manifest: Vec<u8>,
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Volume for View<'_> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.volume.list()
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        if path == self.name { Ok(self.manifest.len() as u64) } else { self.volume.len(path) }
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if path != self.name {
            return self.volume.read_at(path, offset, buf);
        }
        let rest = usize::try_from(offset).ok().and_then(|offset| self.manifest.get(offset..));
        let rest = rest.unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn forget_cached(&self, path: &str) {
        self.volume.forget_cached(path);
    }

    fn write_synced(&self, _path: &str, _data: &[u8]) -> io::Result<()> {
        read_only()
    }

    fn truncate(&self, _path: &str, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _path: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self) -> io::Result<()> {
        read_only()
    }
}

/// Bounds a look at a log.
pub fn bounded<'v>(options: Options<'v>, moment: &'v Moment) -> Options<'v> {
    match moment {
        Moment::Second(second) => Options { until: Some(*second), ..options },
        Moment::Positions(bounds) => Options { bounds: Some(bounds), ..options },
    }
}

/// Looks at a chain as it stands in a directory: what of it is kept.
///
/// # Errors
/// Those of a start, and that the moment lies in front of the chain.
pub fn look<'v>(
    view: &View<'_>,
    chain: &Manifest,
    options: &Options<'v>,
) -> Result<Plan<'v>, RecoveryError> {
    if let Some(bounds) = options.bounds {
        in_front(chain, bounds, &view.name)?;
    }
    recovery::inspect(view, options)
}

/// Refuses positions in front of where the chain begins.
fn in_front(chain: &Manifest, bounds: &Bounds, manifest: &str) -> Result<(), RecoveryError> {
    let mut shards = 0;
    for line in &chain.lines {
        let Some(Ours::Shard(pairs)) = &line.ours else { continue };
        shards = shards.max(pairs.shards);
        if let Some(first) = first_of(chain, pairs.shard)
            && bounds.of(pairs.shard) < first
        {
            let (shard, asked) = (pairs.shard, bounds.of(pairs.shard));
            return Err(RecoveryError::Damaged {
                file: line.file.clone(),
                offset: 0,
                what: format!(
                    "the log of shard {shard} begins at position {first} here, behind {asked}: \
                     what stood in front has been removed (aof-history-retention)"
                ),
                manifest: manifest.to_owned(),
            });
        }
    }
    match bounds.0.keys().find(|&&shard| shard >= shards) {
        None => Ok(()),
        Some(shard) => Err(RecoveryError::Damaged {
            file: manifest.to_owned(),
            offset: 0,
            what: format!("there is no log of a shard {shard}"),
            manifest: manifest.to_owned(),
        }),
    }
}

fn first_of(chain: &Manifest, shard: u8) -> Option<u64> {
    chain.lines.iter().find_map(|line| match &line.ours {
        Some(Ours::Shard(pairs)) if pairs.shard == shard => Some(pairs.start),
        _ => None,
    })
}

/// The manifest of a directory.
///
/// # Errors
/// What the disk says; that it is none.
pub fn read_manifest(volume: &dyn Volume, appendfilename: &str) -> Result<Manifest, RecoveryError> {
    let file = manifest_name(appendfilename);
    let bytes = volume.read_all(&file).map_err(io_error(&file))?;
    Manifest::parse(&bytes).map_err(|error| RecoveryError::Manifest { file, error })
}

#[cfg(test)]
mod tests;
