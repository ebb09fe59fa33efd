//! A real directory as a [`Volume`]: the blocking disk of start-up, recovery and tools.
//!
//! Every name is a plain file name in that one directory; anything with a slash is refused, since
//! names come out of manifests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};

use crate::persist::disk::{Sheet, Sheets, Volume};

/// A directory.
#[derive(Clone, Debug)]
pub struct DirVolume {
    dir: PathBuf,
}

impl DirVolume {
    /// The directory at `dir`, which must be there.
    pub fn open(dir: &Path) -> io::Result<DirVolume> {
        if !fs::metadata(dir)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        Ok(DirVolume { dir: dir.to_owned() })
    }

    /// The directory at `dir`, made (durably, in its parent) when it is not there.
    pub fn create(dir: &Path) -> io::Result<DirVolume> {
        match fs::create_dir(dir) {
            Ok(()) => {
                let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
                File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        DirVolume::open(dir)
    }

    /// How long ago a file was last written to; 0 when the clock says later than now.
    ///
    /// # Errors
    /// What the disk says.
    pub fn age(&self, name: &str) -> io::Result<Duration> {
        let modified = fs::metadata(self.at(name)?)?.modified()?;
        Ok(modified.elapsed().unwrap_or_default())
    }

    /// Bytes that a process without privileges may still write here.
    ///
    /// # Errors
    /// As `statvfs(2)`.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.dir)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// What tells this directory from every other: device and inode.
    ///
    /// # Errors
    /// As `stat(2)`.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let found = fs::metadata(&self.dir)?;
        Ok((found.dev(), found.ino()))
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    fn at(&self, name: &str) -> io::Result<PathBuf> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file name"));
        }
        Ok(self.dir.join(name))
    }
}

impl Volume for DirVolume {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours.
            if let (Ok(name), false) = (entry.file_name().into_string(), entry.path().is_dir()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        let found = fs::metadata(self.at(path)?)?;
        if found.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
        }
        Ok(found.len())
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        File::open(self.at(path)?)?.read_at(buf, offset)
    }

    fn forget_cached(&self, path: &str) {
        let Ok(file) = self.at(path).and_then(File::open) else { return };
        // A file system that has no such cache, or cannot drop it, is read as it is.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }

    fn write_synced(&self, path: &str, data: &[u8]) -> io::Result<()> {
        let mut file = File::create(self.at(path)?)?;
        file.write_all(data)?;
        file.sync_all()
    }

    fn append_synced(&self, path: &str, data: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(self.at(path)?)?;
        file.write_all(data)?;
        file.sync_all()
    }

    fn allocate(&self, path: &str, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(self.at(path)?)?;
        match fallocate(&file, FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let piece = vec![0; 1 << 20];
                let mut at = 0;
                while at < len {
                    let n = piece.len().min((len - at) as usize);
                    file.write_all_at(&piece[..n], at)?;
                    at += n as u64;
                }
            }
            allocated => allocated?,
        }
        file.set_len(len)
    }

    fn room_behind(&self, path: &str) -> io::Result<u64> {
        let found = fs::metadata(self.at(path)?)?;
        // What a file system itself keeps for a long file may count as well.
        let own = found.len() + found.len() / 256 + (64 << 10);
        Ok((found.blocks() * 512).saturating_sub(own))
    }

    /// Of one file, though another takes its place meanwhile.
    fn read_all(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.at(path)?)
    }

    fn truncate(&self, path: &str, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.at(path)?)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        let replaced = hold_if_long(&to);
        fs::rename(from, to)?;
        replaced.into_iter().for_each(close_aside);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path)?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// From this length on, in bytes, a file is long to be rid of: a file system takes a tenth of a
/// second for each gigabyte it frees.
const LONG: i64 = 16 << 20;
/// File systems that are known to replace a file in one step whoever holds it: ext4, XFS, Btrfs.
/// One over a network may give a file that is held another name first.
const PLAIN: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// Holds the file, if it is a long one: what a name stands for is freed only when nobody holds it
/// any more. It is not opened, which might wait for somebody.
fn hold_if_long(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let found = rustix::fs::fstat(&file).ok()?;
    let long = FileType::from_raw_mode(found.st_mode).is_file() && found.st_size >= LONG;
    let plain = |file: &OwnedFd| {
        rustix::fs::fstatfs(file).is_ok_and(|of| PLAIN.contains(&(of.f_type as u64)))
    };
    (long && plain(&file)).then_some(file)
}

/// Lets go of a file that may have lost its name, on a thread that may take its time.
fn close_aside(file: OwnedFd) {
    // Without a thread it has been closed by now.
    let _ = std::thread::Builder::new().name("close".to_owned()).spawn(move || drop(file));
}

impl Sheets for DirVolume {
    fn create(&self, path: &str) -> io::Result<Box<dyn Sheet>> {
        let path = self.at(path)?;
        let mut direct = OpenOptions::new();
        direct.write(true).create(true).truncate(true).custom_flags(DIRECT);
        let (file, direct) = match direct.open(&path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                (File::create(&path)?, false)
            }
            Err(error) => return Err(error),
        };
        Ok(Box::new(OpenSheet {
            file: Arc::new(file),
            direct,
            batch: Batch::default(),
            handed: 0,
            carrier: None,
            behind: None,
        }))
    }
}

/// Opens a file to be written past the page cache.
const DIRECT: i32 = rustix::fs::OFlags::DIRECT.bits() as i32;
/// What is written there at once, in bytes: a thread that has been told of each write waits for a
/// core where the shards are busy, for as long as 1 MiB takes (`perf/notes.md`).
const BATCH: usize = 4 << 20;
/// Such writes begin and end, in memory and in the file, at multiples of so many bytes.
const ALIGNMENT: usize = 4096;

/// Bytes on their way to a file, in memory that begins at a multiple of [`ALIGNMENT`].
#[derive(Default)]
struct Batch {
    /// With room for that.
    memory: Vec<u8>,
    len: usize,
}

impl Batch {
    fn start(&self) -> usize {
        self.memory.as_ptr().align_offset(ALIGNMENT) % ALIGNMENT
    }

    fn bytes(&self) -> &[u8] {
        // Before the first byte there is no memory either.
        let from = self.start();
        self.memory.get(from..from + self.len).unwrap_or_default()
    }

    /// Takes as many of these bytes as there is room for; says how many.
    fn take(&mut self, data: &[u8]) -> usize {
        if self.memory.is_empty() {
            self.memory = vec![0; BATCH + ALIGNMENT];
        }
        let (at, taken) = (self.start() + self.len, data.len().min(BATCH - self.len));
        self.memory[at..at + taken].copy_from_slice(&data[..taken]);
        self.len += taken;
        taken
    }
}

/// Batches that are not being filled, at most: one is written meanwhile, one waits for that.
const AHEAD: usize = 2;

/// A thread that writes whole batches: who fills them would wait for the disk half of its time.
struct Carrier {
    /// Each with its offset.
    batches: SyncSender<(u64, Batch)>,
    /// Empty ones come back, or why they were not written; behind an error nothing more comes.
    written: Receiver<io::Result<Batch>>,
    /// Batches that have not come back.
    out: usize,
}

impl Carrier {
    fn new(file: Arc<File>) -> io::Result<Carrier> {
        let (batches, arriving) = sync_channel::<(u64, Batch)>(AHEAD);
        let (tell, written) = channel();
        let work = move || {
            for (offset, mut batch) in arriving {
                let done = write_past_cache(&file, batch.bytes(), offset);
                batch.len = 0;
                let goes_on = done.is_ok();
                // Nobody listens any more when the file is given up.
                if tell.send(done.map(|()| batch)).is_err() || !goes_on {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("batches".to_owned()).spawn(work)?;
        Ok(Carrier { batches, written, out: 0 })
    }

    /// Waits for a batch to be written, and gives it back.
    fn one_back(&mut self) -> io::Result<Batch> {
        let gone = |_| io::Error::other("the thread that writes has ended");
        let batch = self.written.recv().map_err(gone)??;
        self.out -= 1;
        Ok(batch)
    }

    /// Takes a batch for `offset`, and gives an empty one.
    fn exchange(&mut self, offset: u64, batch: Batch) -> io::Result<Batch> {
        let empty = match self.out {
            AHEAD.. => self.one_back()?,
            _ => Batch::default(),
        };
        self.out += 1;
        if self.batches.send((offset, batch)).is_err() {
            // It has ended with an error, and told of that.
            while self.out > 0 {
                self.one_back()?;
            }
        }
        Ok(empty)
    }
}

/// Writes to a file that was opened for that past the page cache; through it where the disk wants
/// larger multiples, or has taken an odd part.
fn write_past_cache(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    match file.write_all_at(bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            rustix::fs::fcntl_setfl(file, rustix::fs::OFlags::empty())?;
            file.write_all_at(bytes, offset)
        }
        written => written,
    }
}

/// A file that is written from front to back, past the page cache where the file system can do
/// that: copying into the cache and writing it back from there takes more time of the processor
/// than all the rest of writing a snapshot. What does not fill a batch at the end goes through the
/// cache, as does everything where the other way is not open. Threads of its own write batches, and
/// flush, while more comes.
struct OpenSheet {
    file: Arc<File>,
    direct: bool,
    batch: Batch,
    /// Offset behind what the file has been handed; that of the batch.
    handed: u64,
    carrier: Option<Carrier>,
    behind: Option<JoinHandle<io::Result<()>>>,
}

impl OpenSheet {
    /// Waits for the flush under way.
    fn come_to_an_end(&mut self) -> io::Result<()> {
        let panicked = |_| Err(io::Error::other("the thread that flushes has panicked"));
        self.behind.take().map_or(Ok(()), |behind| behind.join().unwrap_or_else(panicked))
    }

    /// Has the batch, which is full, written.
    fn hand_over(&mut self) -> io::Result<()> {
        let carrier = match &mut self.carrier {
            Some(carrier) => carrier,
            none => none.insert(Carrier::new(Arc::clone(&self.file))?),
        };
        let full = std::mem::take(&mut self.batch);
        self.batch = carrier.exchange(self.handed, full)?;
        self.handed += BATCH as u64;
        Ok(())
    }

    /// Waits for all batches, and writes what there is; from here on everything goes through the
    /// cache.
    fn end_batches(&mut self) -> io::Result<()> {
        if !self.direct {
            return Ok(());
        }
        if let Some(mut carrier) = self.carrier.take() {
            while carrier.out > 0 {
                carrier.one_back()?;
            }
        }
        rustix::fs::fcntl_setfl(&self.file, rustix::fs::OFlags::empty())?;
        self.direct = false;
        let last = std::mem::take(&mut self.batch);
        self.file.write_all_at(last.bytes(), self.handed)?;
        self.handed += last.len as u64;
        Ok(())
    }
}

impl Sheet for OpenSheet {
    fn write_at(&mut self, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        if offset != self.handed + self.batch.len as u64 {
            self.end_batches()?;
        }
        while self.direct && !data.is_empty() {
            let taken = self.batch.take(data);
            (offset, data) = (offset + taken as u64, &data[taken..]);
            if self.batch.len == BATCH {
                self.hand_over()?;
            }
        }
        if data.is_empty() { Ok(()) } else { self.file.write_all_at(data, offset) }
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.end_batches()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end_batches()?;
        self.come_to_an_end()?;
        self.file.sync_data()
    }

    fn flush_behind(&mut self) -> io::Result<()> {
        self.come_to_an_end()?;
        let file = Arc::clone(&self.file);
        let named = std::thread::Builder::new().name("flush".to_owned());
        self.behind = Some(named.spawn(move || file.sync_data())?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read is one of both, though files replace one another all the time.
    #[test]
    fn what_is_replaced_meanwhile_is_read_whole() {
        let temp = tempfile::tempdir().unwrap();
        let volume = DirVolume::open(temp.path()).unwrap();
        let texts = [vec![b'a'; 1000], vec![b'b'; 9000]];
        volume.write_synced("file", &texts[0]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 0..1000 {
                    fs::write(volume.dir.join("new"), &texts[n % 2]).unwrap();
                    volume.rename("new", "file").unwrap();
                }
            });
            while !writer.is_finished() {
                let found = volume.read_all("file").unwrap();
                assert!(texts.contains(&found), "{} bytes", found.len());
            }
        });
    }

    #[test]
    fn sheets_hold_what_was_written_however_it_came() {
        let temp = tempfile::tempdir().unwrap();
        let volume = DirVolume::open(temp.path()).unwrap();
        let text: Vec<u8> = (0..3 * BATCH + 777).map(|n| ((n * n) >> 7) as u8).collect();
        for (len, piece) in [
            (0, 1),
            (1, 1),
            (ALIGNMENT, 7),
            (BATCH - 1, 1000),
            (BATCH, BATCH),
            (BATCH + 1, 4097),
            (text.len(), 100_000),
            (text.len(), text.len()),
        ] {
            let mut sheet = volume.create("sheet").unwrap();
            for (n, part) in text[..len].chunks(piece).enumerate() {
                sheet.write_at((n * piece) as u64, part).unwrap();
                if n % 5 == 4 {
                    sheet.flush_behind().unwrap();
                }
            }
            sheet.flush().unwrap();
            assert_eq!(volume.read_all("sheet").unwrap(), &text[..len], "{len} by {piece}");
            // Behind a flush, and out of order.
            sheet.write_at(len as u64, b"more").unwrap();
            sheet.write_at(1, b"less").unwrap();
            sheet.flush().unwrap();
            let found = volume.read_all("sheet").unwrap();
            assert_eq!((found.len(), &found[1..5]), ((len + 4).max(5), &b"less"[..]));
        }
        let mut sheet = volume.create("sheet").unwrap();
        sheet.write_at(0, &text[..BATCH + 10]).unwrap();
        sheet.write_at(7, b"other").unwrap();
        sheet.write_at(BATCH as u64 + 10, b"end").unwrap();
        sheet.flush().unwrap();
        let found = volume.read_all("sheet").unwrap();
        assert_eq!(found.len(), BATCH + 13);
        assert_eq!((&found[7..12], &found[BATCH + 10..]), (&b"other"[..], &b"end"[..]));
        assert_eq!((&found[..7], &found[12..BATCH + 10]), (&text[..7], &text[12..BATCH + 10]));
    }

    #[test]
    fn what_a_batch_could_not_write_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("sheet");
        fs::write(&path, b"").unwrap();
        for batches in 1..5 {
            // Every write to it fails.
            let file = Arc::new(File::open(&path).unwrap());
            let (batch, carrier, behind) = (Batch::default(), None, None);
            let mut sheet = OpenSheet { file, direct: true, batch, handed: 0, carrier, behind };
            let piece = vec![7; BATCH];
            let wrote = (0..batches).try_for_each(|n| sheet.write_at(n * BATCH as u64, &piece));
            let told = wrote.and_then(|()| sheet.flush());
            assert_eq!(told.unwrap_err().raw_os_error(), Some(9), "{batches}");
        }
    }

    #[test]
    fn does_what_it_says() {
        let temp = tempfile::tempdir().unwrap();
        let volume = DirVolume::create(&temp.path().join("log")).unwrap();
        volume.write_synced("a", b"hello").unwrap();
        volume.append_synced("a", b" world").unwrap();
        volume.append_synced("b", b"new").unwrap();
        assert_eq!(volume.read_all("a").unwrap(), b"hello world");
        volume.truncate("a", 4).unwrap();
        assert_eq!(volume.room_behind("a").unwrap(), 0);
        volume.rename("a", "b").unwrap();
        volume.sync_dir().unwrap();
        assert_eq!(volume.list().unwrap(), ["b"]);
        assert_eq!(volume.len("b").unwrap(), 4);
        assert!(volume.age("b").unwrap() < Duration::from_secs(3600) && volume.age("a").is_err());
        volume.allocate("b", 9_000).unwrap();
        volume.allocate("b", 5_000).unwrap();
        assert_eq!(volume.len("b").unwrap(), 5_000);
        assert!(fs::metadata(volume.path().join("b")).unwrap().blocks() >= 5_000 / 512);
        let long = LONG as u64;
        for (name, len) in [("short", long - 1), ("long", long), ("new", long + 1)] {
            File::create(volume.path().join(name)).unwrap().set_len(len).unwrap();
        }
        std::os::unix::fs::symlink("long", volume.path().join("link")).unwrap();
        for name in ["short", "link", "none", "."] {
            assert!(hold_if_long(&volume.path().join(name)).is_none(), "{name}");
        }
        // What is held has lost its name, and is there until it is let go of.
        if let Some(held) = hold_if_long(&volume.path().join("long")) {
            volume.rename("new", "long").unwrap();
            let found = rustix::fs::fstat(&held).unwrap();
            assert_eq!((found.st_nlink, found.st_size), (0, LONG));
        } else {
            volume.rename("new", "long").unwrap();
        }
        assert_eq!((volume.len("long").unwrap(), volume.list().unwrap().len()), (long + 1, 4));
        assert!(volume.rename("new", "long").is_err());
        assert_eq!(volume.len("long").unwrap(), long + 1);
        ["long", "short", "link"].into_iter().for_each(|name| volume.remove(name).unwrap());
        volume.remove("b").unwrap();
        assert_eq!(volume.len("b").unwrap_err().kind(), io::ErrorKind::NotFound);
        for name in ["../b", "", ".", "..", "x/y", "nul\0"] {
            assert!(volume.write_synced(name, b"").is_err(), "{name:?}");
        }
        DirVolume::create(volume.path()).unwrap();
        assert!(DirVolume::open(&temp.path().join("none")).is_err());
    }
}
