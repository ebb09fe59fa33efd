//! A snapshot's file: written by one thread from the chunks that all shards hand it.
//!
//! Keys may stand in a file in any order, and every chunk selects its database first, so chunks of
//! different shards stand behind one another as they come. Only a value that is longer than a chunk
//! has to stand in one piece: while it comes, whole chunks wait. One such value comes at a time.
//!
//! The file is written under a temporary name, flushed, renamed over the old one, and the directory
//! flushed: whatever happens before that, the old file is there.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Mutex, PoisonError};

use crc_fast::{CrcAlgorithm, Digest};

use crate::persist::disk::{Sheet, Sheets, Volume};
use crate::persist::rdb::format::OP_EOF;
use crate::persist::rdb::index::{Block, Index, Part};
use crate::persist::volume::DirVolume;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

/// The file is flushed each time so many bytes of it are new, so that its end is no long stall for
/// a disk that others use too. (Few in unit tests, so that simulated disks see it.)
pub const FLUSH_EACH: u64 = if cfg!(test) { 8 << 10 } else { 32 << 20 };
/// Chunks on their way per shard, at most.
pub const CHUNKS_MAX: usize = 4;

/// Where a file goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The directory.
    pub dir: PathBuf,
    /// The file's name in there.
    pub name: String,
    /// The name under which it is written. The same: it takes nobody's place.
    pub temp: String,
    /// Whether it ends with a checksum, or with none.
    pub checksum: bool,
    /// Whether it is flushed on the way (`rdb-save-incremental-fsync`), or at the end alone.
    pub flush_each: bool,
    /// Whether it may hold an index of its blocks.
    pub index: bool,
}

/// What shards hand to the writer.
#[derive(Debug)]
pub enum Chunk {
    /// Whole keys.
    Keys {
        /// The shard that hands them over.
        shard: usize,
        /// The shard of whose slots they are.
        home: usize,
        /// They.
        bytes: Vec<u8>,
    },
    /// A piece of one long value.
    Piece {
        /// The shard of its key's slot.
        home: usize,
        /// The piece.
        bytes: Vec<u8>,
        /// Whether it is the last.
        last: bool,
    },
    /// There is nothing more.
    Finish,
}

/// What shards and writer know of each other.
#[derive(Debug, Default)]
pub struct Flow {
    /// Somebody has failed: nothing will come of it.
    pub failed: AtomicBool,
    /// Chunks of keys on their way, per shard.
    pub keys: Vec<AtomicUsize>,
    /// Pieces on their way.
    pub pieces: AtomicUsize,
    /// Bytes written.
    pub bytes: AtomicU64,
    /// Keys handed over.
    pub count: AtomicU64,
    /// Buffers that have been written, to be filled again.
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Flow {
    /// Nothing under way among `shards`.
    pub fn new(shards: usize) -> Flow {
        Flow { keys: (0..shards).map(|_| AtomicUsize::new(0)).collect(), ..Flow::default() }
    }

    /// Whether a shard may hand over another chunk of keys.
    pub fn takes_keys(&self, shard: usize) -> bool {
        self.keys[shard].load(Ordering::Acquire) < CHUNKS_MAX
    }

    /// Whether another piece of a long value may be handed over.
    pub fn takes_piece(&self) -> bool {
        self.pieces.load(Ordering::Acquire) < CHUNKS_MAX
    }

    /// An empty buffer; one that was used before, if there is one.
    pub fn buffer(&self) -> Option<Vec<u8>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        // Large values come in buffers of their own: not all of them are kept.
        if spare.len() < self.keys.len() * CHUNKS_MAX {
            spare.push(buffer);
        }
    }

    /// A chunk is on its way.
    pub fn sent(&self, chunk: &Chunk) {
        match chunk {
            Chunk::Keys { shard, .. } => self.keys[*shard].fetch_add(1, Ordering::AcqRel),
            Chunk::Piece { .. } => self.pieces.fetch_add(1, Ordering::AcqRel),
            Chunk::Finish => 0,
        };
    }
}

struct Out {
    file: Box<dyn Sheet>,
    /// Of everything, while there is no index.
    digest: Digest,
    len: u64,
    flushed: u64,
    flush_each: bool,
    /// Made when several shards write.
    index: Option<Index>,
    /// The long value whose pieces come.
    within: Option<Part>,
}

impl Out {
    fn create(means: &Means<'_>) -> io::Result<Out> {
        let Means { disk, target, header, flow, .. } = *means;
        let file = disk.create(&target.temp).map_err(|error| during("creating", error))?;
        let digest = Digest::new(CrcAlgorithm::Crc64Redis);
        let index = match flow.keys.len() {
            shards @ 2.. if target.index => {
                Some(Index { shards, header: Part::of(header), blocks: Vec::new() })
            }
            _ => None,
        };
        let flush_each = target.flush_each;
        Ok(Out { file, digest, len: 0, flushed: 0, flush_each, index, within: None })
    }

    /// That of everything up to the code of the end: an index, which has those of all parts, knows
    /// it without having looked at the bytes once more.
    fn checksum(&self) -> u64 {
        match &self.index {
            Some(index) => index.checksum(),
            None => self.digest.clone().finalize(),
        }
    }

    fn put(&mut self, flow: &Flow, bytes: &[u8]) -> io::Result<()> {
        if self.index.is_none() {
            self.digest.update(bytes);
        }
        self.file.write_at(self.len, bytes).map_err(|error| during("writing", error))?;
        self.len += bytes.len() as u64;
        flow.bytes.store(self.len, Ordering::Relaxed);
        if self.flush_each && self.len - self.flushed >= FLUSH_EACH {
            self.file.flush_behind().map_err(|error| during("flushing", error))?;
            self.flushed = self.len;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_out().map_err(|error| during("writing", error))?;
        self.file.flush().map_err(|error| during("flushing", error))
    }

    fn take(&mut self, flow: &Flow, chunk: Chunk) -> io::Result<()> {
        match chunk {
            Chunk::Keys { shard, home, bytes } => {
                self.put(flow, &bytes)?;
                if let Some(index) = &mut self.index {
                    index.blocks.push(Block { part: Part::of(&bytes), shard: home });
                }
                flow.give_back(bytes);
                flow.keys[shard].fetch_sub(1, Ordering::AcqRel);
            }
            Chunk::Piece { home, bytes, last } => {
                self.put(flow, &bytes)?;
                if let Some(index) = &mut self.index {
                    let part = self.within.take().unwrap_or_default().then(Part::of(&bytes));
                    match last {
                        true => index.blocks.push(Block { part, shard: home }),
                        false => self.within = Some(part),
                    }
                }
                flow.pieces.fetch_sub(1, Ordering::AcqRel);
            }
            Chunk::Finish => {}
        }
        Ok(())
    }
}

/// The name under which a file is written before it takes its place.
pub fn temporary() -> String {
    format!("temp-{}.rdb", std::process::id())
}

/// What was being done when the disk said no.
fn during(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} the file: {error}"))
}

/// Writes a file that begins with `header`; gives its length in bytes. Just before it takes the old
/// one's place, `may_end` has the last word. When this returns both file and name are durable.
///
/// # Errors
/// What the disk says; or that somebody has given up. The temporary file is gone then, and the old
/// one untouched, unless it is the directory that cannot be flushed: then either stands there.
pub fn write(
    target: &Target,
    header: &[u8],
    chunks: &Receiver<Chunk>,
    flow: &Flow,
    may_end: &dyn Fn() -> bool,
) -> io::Result<u64> {
    let failed = |_: &io::Error| flow.failed.store(true, Ordering::Release);
    let disk = DirVolume::open(&target.dir).inspect_err(failed)?;
    write_on(&disk, target, header, chunks, flow, may_end)
}

/// The same on this disk.
///
/// # Errors
/// As [`write()`].
pub fn write_on(
    disk: &dyn Sheets,
    target: &Target,
    header: &[u8],
    chunks: &Receiver<Chunk>,
    flow: &Flow,
    may_end: &dyn Fn() -> bool,
) -> io::Result<u64> {
    let means = Means { disk, target, header, chunks, flow, may_end, waits: true };
    let mut making = Making::default();
    loop {
        if let Some(written) = making.step(&means)? {
            return Ok(written);
        }
    }
}

/// What a file is made with.
pub struct Means<'a> {
    /// Where it goes.
    pub disk: &'a dyn Sheets,
    /// What it is to be.
    pub target: &'a Target,
    /// What it begins with.
    pub header: &'a [u8],
    /// What comes behind that.
    pub chunks: &'a Receiver<Chunk>,
    /// What shards and writer know of each other.
    pub flow: &'a Flow,
    /// Has the last word before the file takes the old one's place.
    pub may_end: &'a dyn Fn() -> bool,
    /// Whether a step waits for a chunk, or does nothing when there is none.
    pub waits: bool,
}

/// A file in the making.
#[derive(Default)]
pub struct Making {
    out: Option<Out>,
    stage: Stage,
    chunks: Arriving,
}

/// Chunks in the order in which they may stand.
#[derive(Default)]
struct Arriving {
    /// Whole ones that came while a long value does.
    waiting: VecDeque<Chunk>,
    within: bool,
}

#[derive(Clone, Copy, Default)]
enum Stage {
    #[default]
    Header,
    Chunks,
    End,
    Flush,
    Rename,
    Directory,
}

fn given_up() -> io::Error {
    io::Error::other("given up")
}

impl Making {
    /// The next thing that is to be done; gives the length of the file when that was the last.
    ///
    /// # Errors
    /// As [`write()`]; it is over then.
    pub fn step(&mut self, means: &Means<'_>) -> io::Result<Option<u64>> {
        let done = self.next(means);
        if done.is_err() {
            means.flow.failed.store(true, Ordering::Release);
            // It may never have come to be.
            drop(means.disk.remove(&means.target.temp));
        }
        done
    }

    fn next(&mut self, means: &Means<'_>) -> io::Result<Option<u64>> {
        let Means { disk, target, flow, .. } = *means;
        let Some(out) = &mut self.out else {
            self.out = Some(Out::create(means)?);
            return Ok(None);
        };
        self.stage = match self.stage {
            Stage::Header => {
                out.put(flow, means.header)?;
                Stage::Chunks
            }
            Stage::Chunks => match self.chunks.receive(out, means)? {
                true => Stage::End,
                false => Stage::Chunks,
            },
            Stage::End => {
                if let Some(aux) = out.index.as_ref().map(Index::aux) {
                    out.put(flow, &aux)?;
                }
                out.put(flow, &[OP_EOF])?;
                let sum = if target.checksum { out.checksum() } else { 0 };
                out.put(flow, &sum.to_le_bytes())?;
                Stage::Flush
            }
            Stage::Flush => {
                out.flush()?;
                if target.temp == target.name {
                    return Ok(Some(out.len));
                }
                Stage::Rename
            }
            Stage::Rename => {
                if !(means.may_end)() {
                    return Err(given_up());
                }
                let renamed = disk.rename(&target.temp, &target.name);
                renamed.map_err(|error| during("renaming", error))?;
                Stage::Directory
            }
            Stage::Directory => {
                disk.sync_dir().map_err(|error| during("flushing the directory of", error))?;
                return Ok(Some(out.len));
            }
        };
        Ok(None)
    }
}

impl Arriving {
    /// Takes a chunk; true when there is nothing more.
    fn receive(&mut self, out: &mut Out, means: &Means<'_>) -> io::Result<bool> {
        let flow = means.flow;
        if !self.within
            && let Some(chunk) = self.waiting.pop_front()
        {
            out.take(flow, chunk)?;
            return Ok(false);
        }
        let chunk = match means.waits {
            true => means.chunks.recv().map_err(|_| given_up())?,
            false => match means.chunks.try_recv() {
                Ok(chunk) => chunk,
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Err(given_up()),
            },
        };
        // Behind the receipt: who gives up says so first and then wakes us, with a `Finish` that
        // does not stand for the end of the data.
        if flow.failed.load(Ordering::Acquire) {
            return Err(given_up());
        }
        match chunk {
            Chunk::Finish => return Ok(true),
            Chunk::Keys { .. } if self.within => self.waiting.push_back(chunk),
            Chunk::Keys { .. } => out.take(flow, chunk)?,
            Chunk::Piece { last, .. } => {
                out.take(flow, chunk)?;
                self.within = !last;
            }
        }
        Ok(false)
    }
}

/// Makes `file`, a finished RDB file that is never changed again, the snapshot that `target` names
/// as well, in the manner of one that was written: the old file is there until the new one is
/// durable under its name.
///
/// # Errors
/// What the disk says; both have to be on one file system.
pub fn adopt(file: &Path, target: &Target) -> io::Result<()> {
    let disk = DirVolume::open(&target.dir)?;
    let temp = target.dir.join(&target.temp);
    // One of this process that was cut off. Whether it was there does not matter.
    drop(fs::remove_file(&temp));
    fs::hard_link(file, &temp)?;
    disk.rename(&target.temp, &target.name).inspect_err(|_| drop(fs::remove_file(&temp)))?;
    disk.sync_dir()
}

/// Removes what a snapshot that was cut off has left behind.
///
/// # Errors
/// What the disk says.
pub fn clean_up(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix("temp-").and_then(|rest| rest.strip_suffix(".rdb"));
        let process = number.and_then(|n| n.parse::<u32>().ok());
        // One that lives may be a redis-server that writes here.
        if process.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
