//! A snapshot's file: written by one thread from the chunks that all shards hand it.
//!
//! Keys may stand in a file in any order, and every chunk selects its database first, so chunks of
//! different shards stand behind one another as they come. Only a value that is longer than a chunk
//! has to stand in one piece: while it comes, whole chunks wait. One such value comes at a time.
//!
//! The file is written under a temporary name, flushed, renamed over the old one, and the directory
//! flushed: whatever happens before that, the old file is there.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use crc_fast::{CrcAlgorithm, Digest};

use crate::persist::rdb::format::OP_EOF;
use crate::persist::rdb::index::{Block, Index, Part};

/// The file is flushed each time so many bytes of it are new, so that its end is no long stall for
/// a disk that others use too.
const FLUSH_EACH: u64 = 32 << 20;
/// Chunks on their way per shard, at most.
pub const CHUNKS_MAX: usize = 4;

/// Where a file goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The directory.
    pub dir: PathBuf,
    /// The file's name in there.
    pub name: String,
    /// Whether it ends with a checksum, or with none.
    pub checksum: bool,
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
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
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

struct Out<'a> {
    file: File,
    digest: Digest,
    flow: &'a Flow,
    len: u64,
    flushed: u64,
    /// Made when several shards write.
    index: Option<Index>,
    /// The long value whose pieces come.
    within: Option<Part>,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        self.flow.bytes.store(self.len, Ordering::Relaxed);
        if self.len - self.flushed >= FLUSH_EACH {
            self.file.sync_data()?;
            self.flushed = self.len;
        }
        Ok(())
    }

    fn take(&mut self, chunk: Chunk) -> io::Result<()> {
        match chunk {
            Chunk::Keys { shard, home, bytes } => {
                self.put(&bytes)?;
                if let Some(index) = &mut self.index {
                    index.blocks.push(Block { part: Part::of(&bytes), shard: home });
                }
                self.flow.give_back(bytes);
                self.flow.keys[shard].fetch_sub(1, Ordering::AcqRel);
            }
            Chunk::Piece { home, bytes, last } => {
                self.put(&bytes)?;
                if let Some(index) = &mut self.index {
                    let part = self.within.take().unwrap_or_default().then(Part::of(&bytes));
                    match last {
                        true => index.blocks.push(Block { part, shard: home }),
                        false => self.within = Some(part),
                    }
                }
                self.flow.pieces.fetch_sub(1, Ordering::AcqRel);
            }
            Chunk::Finish => {}
        }
        Ok(())
    }
}

/// The name under which a file is written before it takes its place.
fn temporary() -> String {
    format!("temp-{}.rdb", std::process::id())
}

/// Writes a file that begins with `header`; gives its length in bytes.
///
/// # Errors
/// What the disk says; or that somebody has given up. The temporary file is gone then, and the old
/// one untouched.
pub fn write(
    target: &Target,
    header: &[u8],
    chunks: &Receiver<Chunk>,
    flow: &Flow,
) -> io::Result<u64> {
    let temp = target.dir.join(temporary());
    let written = fill(target, &temp, header, chunks, flow);
    if written.is_err() {
        flow.failed.store(true, Ordering::Release);
        // It may never have come to be.
        drop(fs::remove_file(&temp));
    }
    written
}

fn fill(
    target: &Target,
    temp: &PathBuf,
    header: &[u8],
    chunks: &Receiver<Chunk>,
    flow: &Flow,
) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(temp)?;
    let digest = Digest::new(CrcAlgorithm::Crc64Redis);
    let index = match flow.keys.len() {
        shards @ 2.. if target.index => {
            Some(Index { shards, header: Part::of(header), blocks: Vec::new() })
        }
        _ => None,
    };
    let mut out = Out { file, digest, flow, len: 0, flushed: 0, index, within: None };
    out.put(header)?;
    receive(&mut out, chunks)?;
    if let Some(index) = out.index.take() {
        out.put(&index.aux())?;
    }
    out.put(&[OP_EOF])?;
    let sum = if target.checksum { out.digest.finalize() } else { 0 };
    out.put(&sum.to_le_bytes())?;
    out.file.sync_all()?;
    fs::rename(temp, target.dir.join(&target.name))?;
    File::open(&target.dir)?.sync_all()?;
    Ok(out.len)
}

fn receive(out: &mut Out<'_>, chunks: &Receiver<Chunk>) -> io::Result<()> {
    let given_up = || io::Error::other("given up");
    // Whole chunks that came while a long value does.
    let mut waiting = VecDeque::new();
    let mut within = false;
    loop {
        if out.flow.failed.load(Ordering::Acquire) {
            return Err(given_up());
        }
        let chunk = chunks.recv().map_err(|_| given_up())?;
        match chunk {
            Chunk::Finish => return Ok(()),
            Chunk::Keys { .. } if within => waiting.push_back(chunk),
            Chunk::Keys { .. } => out.take(chunk)?,
            Chunk::Piece { last, .. } => {
                out.take(chunk)?;
                within = !last;
                while !within && let Some(chunk) = waiting.pop_front() {
                    out.take(chunk)?;
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn target(dir: &Path) -> Target {
        let name = "dump.rdb".to_owned();
        Target { dir: dir.to_owned(), name, checksum: false, index: false }
    }

    fn keys(shard: usize, bytes: &[u8]) -> Chunk {
        Chunk::Keys { shard, home: shard, bytes: bytes.to_vec() }
    }

    #[test]
    fn a_long_value_stands_in_one_piece() {
        let dir = tempfile::tempdir().unwrap();
        let (send, chunks) = channel();
        let flow = Flow::new(2);
        for chunk in [
            keys(0, b"a"),
            Chunk::Piece { home: 1, bytes: b"(".to_vec(), last: false },
            keys(1, b"b"),
            Chunk::Piece { home: 1, bytes: b")".to_vec(), last: true },
            keys(0, b"c"),
            Chunk::Finish,
        ] {
            flow.sent(&chunk);
            send.send(chunk).unwrap();
        }
        let len = write(&target(dir.path()), b"<", &chunks, &flow).unwrap();
        let file = fs::read(dir.path().join("dump.rdb")).unwrap();
        assert_eq!(file, b"<a()bc\xFF\0\0\0\0\0\0\0\0");
        assert_eq!(len, file.len() as u64);
        assert!(flow.takes_keys(0) && flow.takes_piece());
        assert!(flow.keys.iter().chain([&flow.pieces]).all(|n| n.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn one_that_is_given_up_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("dump.rdb"), b"old").unwrap();
        fs::write(dir.path().join("temp-4294967295.rdb"), b"torn").unwrap();
        fs::write(dir.path().join("temp-1.rdb"), b"somebody writes").unwrap();
        fs::write(dir.path().join("temp-x.rdb"), b"not ours").unwrap();
        let (send, chunks) = channel();
        send.send(keys(0, b"a")).unwrap();
        drop(send);
        let flow = Flow::new(1);
        flow.keys[0].store(1, Ordering::Relaxed);
        assert!(write(&target(dir.path()), b"<", &chunks, &flow).is_err());
        assert!(flow.failed.load(Ordering::Relaxed));
        clean_up(dir.path()).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["dump.rdb", "temp-1.rdb", "temp-x.rdb"]);
        assert_eq!(fs::read(dir.path().join("dump.rdb")).unwrap(), b"old");
    }
}
