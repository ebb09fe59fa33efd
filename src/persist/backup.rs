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
//! filler or what was flushed in vain, which is cut off before the manifest is written. The
//! manifest names exactly these, the last as behind a clean stop. What a rewrite or FLUSHALL
//! removes from the log stays here, since a link is the file. The directory, copied to the place of
//! a log, is one: for Ringstone and for Redis alike.
//!
//! *A crash* leaves the links without the manifest, or all of it. Nothing here is ever loaded from
//! here, and the log is not changed, so the next start only has to tell the two apart
//! ([`leftovers`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::persist::aof::ends::tighten;
use crate::persist::aof::manifest::{FileType, Manifest, Ours, manifest_name, temp_manifest_name};
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

/// The same for somebody who tells of it: what is sealed stays so.
///
/// # Errors
/// What the disk says.
pub fn adopt(shelf: &dyn Shelf, appendfilename: &str) -> io::Result<Leftovers> {
    let found = leftovers(shelf, appendfilename)?;
    if let Leftovers::Sealed { .. } = found {
        // The process before may have died between the manifest's rename and its flush.
        shelf.sync_dir()?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::persist::sim::SimMedium;

    #[test]
    fn what_was_told_to_be_sealed_is_so_behind_a_power_cut() {
        let set = b"file a.1.base.rdb seq 1 type b\n";
        for seed in 0..20 {
            let (medium, random) = (SimMedium::new(7), &mut Random::new(seed));
            let shelf = medium.shelf("backup");
            medium.write_synced("a.1.base.rdb", b"base").unwrap();
            medium.sync_dir().unwrap();
            pin(&shelf, "a.1.base.rdb").unwrap();
            shelf.write_synced("temp-a.manifest", set).unwrap();
            shelf.rename("temp-a.manifest", "a.manifest").unwrap();
            medium.crash_process();
            let sealed = adopt(&shelf, "a").unwrap();
            assert!(matches!(&sealed, Leftovers::Sealed { files, .. } if files.len() == 2));
            medium.crash_power(random);
            assert_eq!(adopt(&shelf, "a").unwrap(), sealed);
        }
    }
}
