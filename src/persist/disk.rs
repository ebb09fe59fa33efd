//! The disk as persistence code sees it: operations are submitted, completions come back. The ring
//! carries them out for real; the simulated disk loses, tears, reorders and fails them by seed.
//!
//! What is assumed of a medium, and nothing more: a completed `Sync` of a file makes every write to
//! it that had completed before durable; a completed `SyncDir` does the same for creations, renames
//! and removals in that directory; a rename is atomic. Un-synced writes may survive wholly, partly
//! or not at all, in any order.

use std::io;
use std::path::Path;

/// A file opened through the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(pub u32);

/// One operation. Paths are relative to the log directory the disk was opened on.
#[derive(Clone, Debug)]
pub enum DiskOp {
    /// Creates a new, empty file for writing; an existing one is an error.
    Create {
        /// Its name.
        path: String,
    },
    /// Writes `data` at `offset`, then flushes what `flush` says; the completion tells of both. A
    /// short write is finished by the disk before it completes.
    Write {
        /// The file.
        file: FileId,
        /// Where the first byte goes.
        offset: u64,
        /// The bytes; given back in the completion.
        data: Vec<u8>,
        /// What is made durable behind it.
        flush: Flush,
    },
    /// Flushes a file (fdatasync).
    Sync {
        /// The file.
        file: FileId,
    },
    /// Opens a file that is open once more, for writes that go past the page cache: whole blocks
    /// of [`crate::persist::aof::filler::BLOCK`] bytes, offset and length. An error where the
    /// file system has no such writes.
    Direct {
        /// The file.
        file: FileId,
    },
    /// Cuts a file to a length. An error where the kernel cannot do it without waiting; nothing may
    /// depend on it.
    Truncate {
        /// The file.
        file: FileId,
        /// Its new length in bytes.
        len: u64,
    },
    /// Takes room for bytes behind a file's end, which stays where it is. Nothing may depend on it.
    Reserve {
        /// The file.
        file: FileId,
        /// Where the room begins.
        offset: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// Puts bytes that are in the page cache on their way to the medium, which makes nothing
    /// durable. Nothing may depend on it.
    WriteBack {
        /// The file.
        file: FileId,
        /// Offset of the first byte.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Says that the page cache need not hold these bytes of a file any more, which are durable.
    /// Nothing may depend on it.
    Forget {
        /// The file.
        file: FileId,
        /// Offset of the first byte.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Renames over whatever has the new name.
    Rename {
        /// Old name.
        from: String,
        /// New name.
        to: String,
    },
    /// Flushes the directory itself.
    SyncDir,
    /// Removes a file.
    Remove {
        /// Its name.
        path: String,
    },
    /// Closes a file.
    Close {
        /// The file.
        file: FileId,
    },
}

/// What a write makes durable before it completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Nothing.
    No,
    /// Its own bytes, and what it takes to find them again. Bytes written to the file before may
    /// stay in the page cache: this is for files in which there are none.
    Own,
    /// Every write to the file that has completed, this one included (fdatasync).
    File,
}

/// How an operation ended.
#[derive(Debug)]
pub struct DiskDone {
    /// What the submitter called it.
    pub token: u64,
    /// `Ok` carries the new file for `Create` and `Direct`, else nothing of interest.
    pub result: io::Result<Option<FileId>>,
    /// The buffer of a `Write`, for reuse or another try.
    pub data: Vec<u8>,
    /// For a `Write` that flushes: true when the write succeeded and the flush failed.
    pub sync_failed: bool,
}

/// A write that was made at once.
#[derive(Debug)]
pub struct Made {
    /// How it ended.
    pub result: io::Result<()>,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// The completion-based disk of one shard.
pub trait Disk {
    /// Starts an operation; its completion carries `token`.
    fn submit(&mut self, token: u64, op: DiskOp);

    /// Works in the log directory `dir` from here on. Nothing is in flight that names a file.
    ///
    /// # Errors
    /// It cannot be opened; the disk stays where it was.
    fn work_in(&mut self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Whether [`Disk::write_now`] hardly takes longer now than to submit a write; `now_us` is
    /// monotonic time in microseconds.
    fn is_calm(&mut self, _now_us: u64) -> bool {
        false
    }

    /// Writes `data` at `offset`, all of it and through the page cache, flushing nothing, before it
    /// returns. `None`: that would wait, and nothing is written.
    fn write_now(
        &mut self,
        _file: FileId,
        _offset: u64,
        _data: &[u8],
        _now_us: u64,
    ) -> Option<Made> {
        None
    }

    /// How far ahead a file is written on this disk, when it is.
    fn ahead(&self) -> AheadSizes {
        AheadSizes { kept: 8 << 20, piece: 256 << 10, least: 64 << 10, waits: 1 << 20 }
    }

    /// What is done beside the writes of a file that grows on this disk.
    fn growing(&self) -> GrowingSizes {
        GrowingSizes { room_min: 1 << 20, room_max: 32 << 20, piece: 1 << 20, margin: 256 << 10 }
    }
}

/// What is done beside the writes of a growing file; all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrowingSizes {
    /// Length of a file from which on room is taken ahead for it.
    pub room_min: u64,
    /// The most that is taken at a time: as much as the file is long, at most this.
    pub room_max: u64,
    /// So much is written back at a time at least, and forgotten; a page or more.
    pub piece: u64,
    /// What was written last stays: its last page is still to be filled, and a core may hold on to
    /// pages for which all cores would be asked.
    pub margin: u64,
}

/// How a file is written ahead; all in bytes, the pieces in whole blocks of
/// [`crate::persist::aof::filler::BLOCK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AheadSizes {
    /// What is kept in front of the writer.
    pub kept: u64,
    /// What is written at a time where little is left, or frames are long.
    pub piece: u64,
    /// The least that is written at a time.
    pub least: u64,
    /// The longest write that waits for it; below `kept` by two blocks at least.
    pub waits: u64,
}

/// The blocking disk of start-up, recovery and tools: same medium, same names.
pub trait Volume: Send + Sync {
    /// Names of the files in the directory.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A file's length in bytes.
    fn len(&self, path: &str) -> io::Result<u64>;
    /// Reads up to `buf.len()` bytes from `offset` on; 0 at the end.
    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Asks that what is read of a file from now on comes from the medium: the page cache may show
    /// pages that a failed flush has marked as clean and never written. Pages not yet written stay.
    fn forget_cached(&self, _path: &str) {}
    /// Writes a whole new file, or over an old one, and flushes it.
    fn write_synced(&self, path: &str, data: &[u8]) -> io::Result<()>;
    /// Gives a file, which is made where there is none, so many bytes and the room for them. What
    /// is in it is of no interest, and nothing need be flushed.
    fn allocate(&self, path: &str, len: u64) -> io::Result<()> {
        match self.len(path) {
            Ok(there) if there >= len => self.truncate(path, len),
            _ => self.write_synced(path, &vec![0; len as usize]),
        }
    }
    /// Bytes of room that a file has behind its end, as far as that is known.
    fn room_behind(&self, _path: &str) -> io::Result<u64> {
        Ok(0)
    }
    /// Cuts a file to `len` bytes, gives back what room it has behind them, and flushes it.
    fn truncate(&self, path: &str, len: u64) -> io::Result<()>;
    /// Renames over whatever has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Flushes the directory itself.
    fn sync_dir(&self) -> io::Result<()>;

    /// Adds to a file's end and flushes it; for files too long to be held whole.
    fn append_synced(&self, path: &str, data: &[u8]) -> io::Result<()> {
        let mut whole = self.read_all(path)?;
        whole.extend_from_slice(data);
        self.write_synced(path, &whole)
    }

    /// Fills `buf` from `offset` on; an error when the file ends before.
    fn read_exact(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read_at(path, offset + filled as u64, &mut buf[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        Ok(())
    }

    /// Reads a whole file.
    fn read_all(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut data = vec![0; self.len(path)? as usize];
        let mut at = 0;
        while at < data.len() {
            match self.read_at(path, at as u64, &mut data[at..])? {
                0 => break,
                n => at += n,
            }
        }
        data.truncate(at);
        Ok(data)
    }
}

/// A volume on which a long file can be written piece by piece.
pub trait Sheets: Volume {
    /// A new file of no bytes, in the place of whatever has that name.
    fn create(&self, path: &str) -> io::Result<Box<dyn Sheet>>;
}

/// A file that is being written.
pub trait Sheet: Send {
    /// Writes all of `data` at `offset`.
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Hands over what has been taken and not yet written.
    fn write_out(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Makes everything written so far durable (not the name).
    fn flush(&mut self) -> io::Result<()>;
    /// Begins to make what has been written so far durable, when that has come to its end for what
    /// this was called for before. How it ends is told by the next call, or by [`Sheet::flush`].
    fn flush_behind(&mut self) -> io::Result<()> {
        self.flush()
    }
}
