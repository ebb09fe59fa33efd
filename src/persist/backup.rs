//! The files of a backup: hard links of a sealed set, in a directory of their own.
//!
//! ```text
//! <dir>/<backupdirname>/<appendfilename>.<n>.base.rdb       linked when START's rewrite is over
//!                       <appendfilename>.<n>.…incr.aof      linked by SEAL: sealed generations,
//!                                                           with what stands between them
//!                       <appendfilename>.manifest           written by SEAL, last: the set exists
//! ```
//!
//! SEAL cuts the log first, so that every generation but the one that is being written is sealed:
//! their files are durable to their ends and never change again, but for what stands behind these,
//! filler or what was flushed in vain, which is cut off before the manifest is written. The manifest names exactly these,
//! the last as behind a clean stop. What a rewrite or FLUSHALL removes from the log stays here,
//! since a link is the file. The directory, copied to the place of a log, is one: for Ringstone and
//! for Redis alike.
//!
//! *A crash* leaves the links without the manifest, or all of it. Nothing here is ever loaded from
//! here, and the log is not changed, so the next start only has to tell the two apart
//! ([`leftovers`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::persist::aof::format::{HEAD_MAX, HEAD_START, parse_head};
use crate::persist::aof::manifest::{
    FileType, Manifest, Ours, ShardPairs, manifest_name, temp_manifest_name,
};
use crate::persist::disk::Volume;
use crate::persist::durable;
use crate::persist::volume::DirVolume;

/// The directory of a backup beside that of a log.
pub trait Shelf: Volume {
    /// Makes the directory, which must be empty when it is there.
    ///
    /// # Errors
    /// What the disk says; `DirectoryNotEmpty` when something is in it.
    fn make_empty(&self) -> io::Result<()>;
    /// Whether it is there.
    fn is_there(&self) -> bool;
    /// Gives a file of the log the same name in here as well.
    ///
    /// # Errors
    /// What the disk says.
    fn link(&self, file: &str) -> io::Result<()>;
    /// When a file was last written, in Unix seconds.
    ///
    /// # Errors
    /// What the disk says.
    fn written_at(&self, file: &str) -> io::Result<i64>;
}

/// A real one.
#[derive(Debug)]
pub struct DirShelf {
    log: PathBuf,
    dir: PathBuf,
}

impl DirShelf {
    /// That of a backup in `dir` of the log in `log`.
    pub fn new(log: &Path, dir: &Path) -> DirShelf {
        DirShelf { log: log.to_owned(), dir: dir.to_owned() }
    }

    fn open(&self) -> io::Result<DirVolume> {
        DirVolume::open(&self.dir)
    }
}

impl Volume for DirShelf {
    fn list(&self) -> io::Result<Vec<String>> {
        self.open()?.list()
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.open()?.len(path)
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.open()?.read_at(path, offset, buf)
    }

    fn write_synced(&self, path: &str, data: &[u8]) -> io::Result<()> {
        self.open()?.write_synced(path, data)
    }

    fn truncate(&self, path: &str, len: u64) -> io::Result<()> {
        self.open()?.truncate(path, len)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.open()?.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.open()?.remove(path)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.open()?.sync_dir()
    }
}

impl Shelf for DirShelf {
    fn make_empty(&self) -> io::Result<()> {
        let disk = DirVolume::create(&self.dir)?;
        match fs::read_dir(disk.path())?.next() {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
        }
    }

    fn is_there(&self) -> bool {
        self.dir.is_dir()
    }

    fn link(&self, file: &str) -> io::Result<()> {
        fs::hard_link(self.log.join(file), self.dir.join(file))
    }

    fn written_at(&self, file: &str) -> io::Result<i64> {
        let written = fs::metadata(self.dir.join(file))?.modified()?;
        Ok(written.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64))
    }
}

/// Links `file` of the log into the backup, durably.
///
/// # Errors
/// What the disk says; there is no link then.
pub fn pin(shelf: &dyn Shelf, file: &str) -> io::Result<()> {
    shelf.link(file)?;
    shelf.sync_dir().inspect_err(|_| drop(shelf.remove(file)))
}

/// What a manifest lists without the generation that is being written, as behind a clean stop.
pub fn sealed_part(manifest: &Manifest) -> Manifest {
    let mut sealed = manifest.clone();
    let last = manifest.generation();
    sealed.drop_lines(|line| match &line.ours {
        _ if line.kind == FileType::History => true,
        Some(Ours::Shard(pairs)) => pairs.generation == last,
        _ => false,
    });
    // The server goes on under the name of this history.
    sealed.replication = sealed.replication.map(|known| known.renamed_at(u64::MAX));
    sealed.last_generation_mut().for_each(|pairs| pairs.clean = true);
    sealed
}

/// Completes the backup: links the files of `set` that are not among the `pinned`, writes the
/// manifest, removes what of the pinned is not needed any more. Gives the names of all files, in
/// the order in which they are loaded, the manifest last.
///
/// # Errors
/// What the disk says; there is what was pinned then, and nothing besides.
pub fn seal(
    shelf: &dyn Shelf,
    appendfilename: &str,
    set: &Manifest,
    pinned: &[String],
) -> io::Result<Vec<String>> {
    let of_kind = |kind| set.lines.iter().filter(move |line| line.kind == kind);
    let lines = of_kind(FileType::Base).chain(of_kind(FileType::Incr));
    let mut files: Vec<String> = lines.map(|line| line.file.clone()).collect();
    let mut linked = Vec::new();
    let (temp, name) = (temp_manifest_name(appendfilename), manifest_name(appendfilename));
    let mut complete = || -> io::Result<()> {
        for file in files.iter().filter(|file| !pinned.contains(file)) {
            shelf.link(file)?;
            linked.push(file.clone());
        }
        for line in &set.lines {
            if let Some(Ours::Shard(pairs)) = &line.ours {
                tighten(shelf, &line.file, pairs)?;
            }
        }
        durable::replace(shelf, &temp, &name, &set.encode())
    };
    if let Err(error) = complete() {
        for file in linked.iter().chain([&name, &temp]) {
            drop(shelf.remove(file));
        }
        return Err(error);
    }
    for file in pinned.iter().filter(|file| !files.contains(file)) {
        // One that stays is named by nothing.
        drop(shelf.remove(file));
    }
    files.push(name);
    Ok(files)
}

/// Cuts a log's file that has ended to the end which the manifest names, durably: off goes filler,
/// and what a flush that failed has left behind that end, which the log goes on with in another
/// file. The log does so as well, but later, and leaves it to the file system when that is durable.
/// Redis knows no named ends: it would execute twice what stands behind one.
fn tighten(shelf: &dyn Shelf, file: &str, pairs: &ShardPairs) -> io::Result<()> {
    let lost = || {
        let what = format!("{file} does not hold what its manifest names as its end");
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    let end = end_of(shelf, file, pairs)?.ok_or_else(lost)?;
    shelf.truncate(file, end)
}

/// Bytes of a file that are looked at together.
const PIECE: usize = 1 << 16;

/// The offset behind the frame that is named as the last, found from behind by its checksum, which
/// nobody can imitate who does not know the file's seed. `None` where it is not there.
fn end_of(shelf: &dyn Shelf, file: &str, pairs: &ShardPairs) -> io::Result<Option<u64>> {
    let Some((pos, sum)) = pairs.end else { return Ok(None) };
    if (pos, sum) == (pairs.start, pairs.seed) {
        return Ok(Some(0));
    }
    let len = shelf.len(file)?;
    let finder = memchr::memmem::FinderRev::new(HEAD_START);
    let mut piece = vec![0; PIECE + HEAD_MAX];
    let mut to = len;
    while to > 0 {
        let from = to.saturating_sub(PIECE as u64);
        // A head that begins in front of `to` may end behind it.
        let held = &mut piece[..(len.min(to + HEAD_MAX as u64) - from) as usize];
        shelf.read_exact(file, from, held)?;
        let mut before = held.len().min((to - from) as usize + HEAD_START.len() - 1);
        while let Some(at) = finder.rfind(&held[..before]) {
            before = at;
            let Ok(parsed) = parse_head(&held[at..]) else { continue };
            let end = from + at as u64 + parsed.line as u64 + parsed.head.len;
            if (parsed.head.pos + parsed.head.len, parsed.sum) == (pos, sum) && end <= len {
                return Ok(Some(end));
            }
        }
        to = from;
    }
    Ok(None)
}

/// Removes these files, the last first: without its manifest it is no backup any more.
///
/// # Errors
/// What the disk says; one that is not there is gone.
pub fn remove(shelf: &dyn Shelf, files: &[String]) -> io::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    match shelf.list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        there => drop(there?),
    }
    for file in files.iter().rev() {
        match shelf.remove(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    shelf.sync_dir()
}

/// What an earlier process has left.
#[derive(Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// Nothing of ours.
    None,
    /// A backup that is complete.
    Sealed {
        /// Its files.
        files: Vec<String>,
        /// When it was sealed, in Unix seconds.
        at: i64,
    },
    /// Files of one that was never sealed.
    Open {
        /// These.
        files: Vec<String>,
    },
}

/// Looks for what an earlier process has left in `dir`; changes nothing.
///
/// # Errors
/// What the disk says.
pub fn leftovers(shelf: &dyn Shelf, appendfilename: &str) -> io::Result<Leftovers> {
    let there = match shelf.list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Leftovers::None),
        there => there?,
    };
    let (temp, name) = (temp_manifest_name(appendfilename), manifest_name(appendfilename));
    let start = format!("{appendfilename}.");
    if let Ok(bytes) = shelf.read_all(&name)
        && let Ok(set) = Manifest::parse(&bytes)
        && set.lines.iter().all(|line| there.contains(&line.file))
    {
        let at = shelf.written_at(&name)?;
        let mut files: Vec<String> = set.lines.into_iter().map(|line| line.file).collect();
        files.push(name);
        return Ok(Leftovers::Sealed { files, at });
    }
    let ours = |file: &String| file.starts_with(&start) || *file == temp;
    let files: Vec<String> = there.into_iter().filter(ours).collect();
    Ok(if files.is_empty() { Leftovers::None } else { Leftovers::Open { files } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::persist::aof::filler;
    use crate::persist::sim::SimMedium;
    use crate::persist::testing::LogFile;

    /// Frames with these lengths of a value, from position 100 on; their file's seed is 9.
    fn log(values: &[usize]) -> LogFile {
        let mut log = LogFile::new(9, 100);
        for len in values {
            log.command(&["APPEND", "key", &"v".repeat(*len)]).frame(100, 100);
        }
        log
    }

    fn pairs(end: Option<(u64, u64)>) -> ShardPairs {
        let boot = "boot".to_owned();
        let (seed, start, next_id, stream) = (9, 100, 1, None);
        ShardPairs {
            generation: 1,
            shard: 0,
            shards: 1,
            seed,
            start,
            next_id,
            stream,
            boot,
            end,
            clean: false,
        }
    }

    /// A file of these bytes, which is also in a backup.
    fn linked(bytes: &[u8]) -> (SimMedium, impl Shelf) {
        let medium = SimMedium::new(7);
        medium.write_synced("f", bytes).unwrap();
        let shelf = medium.shelf("backup");
        shelf.link("f").unwrap();
        shelf.sync_dir().unwrap();
        medium.sync_dir().unwrap();
        (medium, shelf)
    }

    #[test]
    fn what_stands_behind_a_named_end_goes_and_does_not_come_back() {
        let piece = PIECE - 100;
        for values in [&[5][..], &[], &[5, 6, 7], &[300, piece, 20], &[20, 3 * piece, piece + 37]] {
            for behind in [&[][..], &[4, 9], &[piece], &[1, 4 * piece]] {
                let (named, all) = (log(values), log(&[values, behind].concat()));
                let mut bytes = all.bytes.clone();
                let len = bytes.len() as u64;
                filler::fill(&mut bytes, len, (len + 300_000).next_multiple_of(filler::LINE));
                let (medium, shelf) = linked(&bytes);
                tighten(&shelf, "f", &pairs(Some((named.pos, named.sum)))).unwrap();
                medium.crash_power(&mut Random::new(3));
                assert!(shelf.read_all("f").unwrap() == named.bytes, "{values:?}, {behind:?}");
                assert_eq!(shelf.list().unwrap(), ["f"]);
                assert_eq!(medium.list().unwrap().len(), 1);
            }
        }
    }

    #[test]
    fn a_file_without_its_named_end_is_left_alone() {
        let whole = log(&[5, 6]);
        let end = (whole.pos, whole.sum);
        let torn = whole.bytes[..whole.bytes.len() - 1].to_vec();
        for (bytes, end) in [(&torn, end), (&whole.bytes, (end.0, 7)), (&whole.bytes, (7, end.1))] {
            let (_, shelf) = linked(bytes);
            let refused = tighten(&shelf, "f", &pairs(Some(end))).unwrap_err().to_string();
            assert_eq!(refused, "f does not hold what its manifest names as its end");
            assert!(shelf.read_all("f").unwrap() == *bytes);
        }
    }
}
