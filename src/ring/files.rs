//! The disk trait on the ring: files in slots, operations as small state machines.
//!
//! A write with a flush of the file is two linked submissions; the kernel starts the flush when the
//! write is whole, and drops it when the write fails or falls short. The rest of a short write goes
//! in again with a flush of its own. A flush counts only if the link was surely kept (see
//! [`Kernel::partial_submits`]); otherwise it is repeated behind the finished write.
//!
//! A write that flushes its own bytes only is one submission (`RWF_DSYNC`), which takes a kernel
//! worker once and not twice. Its error does not tell whether the write or the flush failed. An
//! error of the medium may be of either, so it counts as a failed flush, which nobody tries again.
//! One that a file system gives in front of the medium (no room, say) makes it be written once
//! more, without a flush: where that is refused too, it was the write, and else it was the flush.
//!
//! Writes past the page cache come from memory that begins with a page: the bytes are copied there,
//! into one buffer that is kept for the next such write.
//!
//! Invariants:
//!
//! 1. A file is closed only when no operation on it is under way (a close waits for them): the
//!    kernel looks descriptors up late, and the number may by then be another file's.
//! 2. Every submitted operation yields exactly one `DiskDone`.
//! 3. An operation reports a flush as done only if it began after the last byte of its write was
//!    written.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::persist::disk::{DiskDone, DiskOp, FileId, Flush};

use super::gate::Gate;
use super::kernel::{Completion, Kernel, Kind, Memory, Tag, WriteFlush};

/// Bits of a [`FileId`] that are the slot; the rest tell the files of one slot apart.
const SLOT_BITS: u32 = 20;

/// Where memory for writes past the page cache begins.
const ALIGN: usize = 4096;
/// Largest buffer kept for further writes, in bytes.
const KEPT_MAX: usize = 1 << 20;

/// File systems of which that is known, by their numbers in `statfs(2)`: ext2 to ext4, XFS, tmpfs.
const PLAIN: [rustix::fs::FsWord; 3] = [0xEF53, 0x5846_5342, TMPFS];
/// The one of them that cannot be frozen.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

struct FileSlot {
    fd: Option<OwnedFd>,
    /// The same file past the page cache, to ask whether it may be written to; `None` before it is
    /// first asked for.
    aside: Option<Option<OwnedFd>>,
    /// Writes go past the page cache.
    direct: bool,
    generation: u32,
    /// Operations under way.
    users: u32,
    /// The job of a close that waits for them.
    closing: Option<u32>,
}

struct Job {
    token: u64,
    /// Slot of the file worked on.
    file: Option<u32>,
    work: Work,
}

enum Work {
    Write(WriteWork),
    Create,
    Direct,
    Close,
    /// Rename, remove, flush: one submission, nothing to carry.
    Plain,
}

struct WriteWork {
    offset: u64,
    /// Empty while the kernel has it.
    data: Vec<u8>,
    /// Bytes of `data` in front of what is written.
    lead: usize,
    /// What the submitter gave, where `data` is a buffer of [`Files::align`].
    given: Option<Vec<u8>>,
    len: usize,
    written: usize,
    flush: Flush,
    /// Submissions whose completion is awaited.
    awaited: u8,
    write_error: Option<io::Error>,
    /// What was said of the write and its flush together, while the write is tried alone.
    doubt: Option<io::Error>,
    /// Outcome of the linked flush; `None` before it has come back.
    flushed: Option<io::Result<u32>>,
    /// Partial submits counted when the linked pair was queued.
    partial_before: u64,
}

/// Files and disk operations of a ring.
#[derive(Default)]
pub(super) struct Files {
    dir: Option<OwnedFd>,
    /// See [`Files::is_plain`].
    plain: bool,
    /// The directory's file system may be frozen.
    freezes: bool,
    gate: Gate,
    slots: Vec<FileSlot>,
    free_slots: Vec<u32>,
    jobs: Vec<Option<Job>>,
    free_jobs: Vec<u32>,
    /// Buffers for writes past the page cache.
    aligned: Vec<Vec<u8>>,
}

/// An operation refused before it began.
struct Refused {
    error: io::Error,
    data: Vec<u8>,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused { error, data: Vec::new() }
    }
}

impl Files {
    pub fn open_dir(&mut self, dir: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(dir, flags, Mode::empty())?;
        let system = rustix::fs::fstatfs(&dir).map(|system| system.f_type);
        self.plain = system.is_ok_and(|system| PLAIN.contains(&system));
        self.freezes = system.is_ok_and(|system| system != TMPFS);
        self.dir = Some(dir);
        Ok(())
    }

    /// Whether the directory is on a file system that keeps what is written in the page cache, and
    /// asks nobody else meanwhile: not the network, not a process.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    pub fn adopt(&mut self, fd: OwnedFd) -> FileId {
        let index = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(FileSlot {
                fd: None,
                aside: None,
                direct: false,
                generation: 0,
                users: 0,
                closing: None,
            });
            (self.slots.len() - 1) as u32
        });
        assert!(index < 1 << SLOT_BITS, "more files than a process may open");
        let slot = &mut self.slots[index as usize];
        assert!(slot.fd.is_none() && slot.users == 0);
        slot.fd = Some(fd);
        slot.direct = false;
        FileId(slot.generation << SLOT_BITS | index)
    }

    /// The slot of an open file that is not about to be closed.
    fn slot(&self, file: FileId) -> io::Result<u32> {
        let index = file.0 & ((1 << SLOT_BITS) - 1);
        match self.slots.get(index as usize) {
            Some(slot)
                if slot.fd.is_some()
                    && slot.closing.is_none()
                    && slot.generation << SLOT_BITS | index == file.0 =>
            {
                Ok(index)
            }
            _ => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    fn dir(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.dir {
            Some(dir) => Ok(dir.as_fd()),
            None => Err(io::Error::other("no directory opened for the disk")),
        }
    }

    fn fd(&self, slot: u32) -> BorrowedFd<'_> {
        self.slots[slot as usize].fd.as_ref().expect("open while in use").as_fd()
    }

    fn add_job(&mut self, token: u64, file: Option<u32>, work: Work) -> u32 {
        if let Some(slot) = file {
            self.slots[slot as usize].users += 1;
        }
        let job = Some(Job { token, file, work });
        match self.free_jobs.pop() {
            Some(index) => {
                assert!(self.jobs[index as usize].is_none());
                self.jobs[index as usize] = job;
                index
            }
            None => {
                self.jobs.push(job);
                (self.jobs.len() - 1) as u32
            }
        }
    }

    /// Starts an operation, or says at once why it cannot be.
    pub fn submit(&mut self, kernel: &mut Kernel, token: u64, op: DiskOp) -> Option<DiskDone> {
        let refused = self.start(kernel, token, op).err()?;
        let Refused { error, data } = refused;
        Some(DiskDone { token, result: Err(error), data, sync_failed: false })
    }

    fn start(&mut self, kernel: &mut Kernel, token: u64, op: DiskOp) -> Result<(), Refused> {
        match op {
            DiskOp::Write { file, offset, data, flush } => match self.slot(file) {
                Ok(slot) => self.start_write(kernel, token, slot, offset, data, flush),
                Err(error) => return Err(Refused { error, data }),
            },
            DiskOp::Create { path } => {
                self.dir()?;
                let path = name(path)?;
                let job = self.add_job(token, None, Work::Create);
                kernel.create(Tag::new(Kind::Open, job, 0), self.dir()?, path);
            }
            DiskOp::Sync { file } => {
                let slot = self.slot(file)?;
                let job = self.add_job(token, Some(slot), Work::Plain);
                kernel.sync(Tag::new(Kind::Job, job, 0), self.fd(slot), true);
            }
            DiskOp::Direct { file } => {
                let slot = self.slot(file)?;
                let path = name(format!("/proc/self/fd/{}", self.fd(slot).as_raw_fd()))?;
                let job = self.add_job(token, Some(slot), Work::Direct);
                kernel.open_direct(Tag::new(Kind::Open, job, 0), path);
            }
            DiskOp::Truncate { file, len } => {
                let slot = self.slot(file)?;
                let job = self.add_job(token, Some(slot), Work::Plain);
                kernel.truncate(Tag::new(Kind::Job, job, 0), self.fd(slot), len);
            }
            DiskOp::Reserve { file, offset, len } => {
                let slot = self.slot(file)?;
                let job = self.add_job(token, Some(slot), Work::Plain);
                kernel.reserve(Tag::new(Kind::Job, job, 0), self.fd(slot), offset, len);
            }
            DiskOp::WriteBack { file, offset, len } => {
                let slot = self.slot(file)?;
                let job = self.add_job(token, Some(slot), Work::Plain);
                kernel.write_back(Tag::new(Kind::Job, job, 0), self.fd(slot), offset, len);
            }
            DiskOp::Forget { file, offset, len } => {
                let slot = self.slot(file)?;
                let job = self.add_job(token, Some(slot), Work::Plain);
                kernel.forget(Tag::new(Kind::Job, job, 0), self.fd(slot), offset, len);
            }
            DiskOp::Rename { from, to } => {
                self.dir()?;
                let (from, to) = (name(from)?, name(to)?);
                let job = self.add_job(token, None, Work::Plain);
                kernel.rename(Tag::new(Kind::Job, job, 0), self.dir()?, from, to);
            }
            DiskOp::SyncDir => {
                self.dir()?;
                let job = self.add_job(token, None, Work::Plain);
                kernel.sync(Tag::new(Kind::Job, job, 0), self.dir()?, false);
            }
            DiskOp::Remove { path } => {
                self.dir()?;
                let path = name(path)?;
                let job = self.add_job(token, None, Work::Plain);
                kernel.unlink(Tag::new(Kind::Job, job, 0), self.dir()?, path);
            }
            DiskOp::Close { file } => {
                let slot = self.slot(file)?;
                let job = self.add_job(token, None, Work::Close);
                self.slots[slot as usize].closing = Some(job);
                self.close_if_quiet(kernel, slot);
            }
        }
        Ok(())
    }

    fn start_write(
        &mut self,
        kernel: &mut Kernel,
        token: u64,
        slot: u32,
        offset: u64,
        data: Vec<u8>,
        flush: Flush,
    ) {
        let len = data.len();
        let (data, lead, given) = match self.slots[slot as usize].direct {
            true => {
                let (copy, lead) = self.align(&data);
                (copy, lead, Some(data))
            }
            false => (data, 0, None),
        };
        let work = WriteWork {
            offset,
            len,
            data,
            lead,
            given,
            written: 0,
            flush,
            awaited: 0,
            write_error: None,
            doubt: None,
            flushed: None,
            partial_before: 0,
        };
        let job = self.add_job(token, Some(slot), Work::Write(work));
        self.go_on_writing(kernel, job);
    }

    /// Writes all of the bytes through the page cache, on this thread; `None` where it would have
    /// to wait for a file system that is frozen, or that could not be told.
    pub fn write_now(&mut self, file: FileId, offset: u64, data: &[u8]) -> Option<io::Result<()>> {
        match self.slot(file) {
            Ok(slot) if self.freezes && !self.is_open(slot) => None,
            Ok(slot) => Some(self.write_all(slot, offset, data)),
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether a file may be written to without waiting for a file system that is frozen. It may be
    /// a moment later, and keep the thread: that is all that can be had.
    fn is_open(&mut self, slot: u32) -> bool {
        let FileSlot { fd, aside, .. } = &mut self.slots[slot as usize];
        if let (None, Some(fd)) = (&aside, fd) {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
            *aside = match rustix::fs::open(path, flags, Mode::empty()) {
                Ok(file) => Some(Some(file)),
                // It cannot be written to past the page cache; else there may be room for it later.
                Err(rustix::io::Errno::INVAL) => Some(None),
                Err(_) => None,
            };
        }
        aside.iter().flatten().any(|file| self.gate.is_open(file.as_fd()))
    }

    fn write_all(&self, slot: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        assert!(!self.slots[slot as usize].direct, "such a write goes past the page cache");
        let mut written = 0;
        while written < data.len() {
            match rustix::io::pwrite(self.fd(slot), &data[written..], offset + written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The bytes in memory that begins with a page, and how many stand in front of them.
    fn align(&mut self, bytes: &[u8]) -> (Vec<u8>, usize) {
        let mut data = self.aligned.pop().unwrap_or_default();
        data.clear();
        data.reserve(bytes.len() + ALIGN);
        let lead = data.as_ptr().align_offset(ALIGN);
        data.resize(lead, 0);
        data.extend_from_slice(bytes);
        (data, lead)
    }

    /// Queues what is left of a write, with its flush.
    fn go_on_writing(&mut self, kernel: &mut Kernel, index: u32) {
        let job = self.jobs[index as usize].as_mut().expect("a job under way");
        let slot = job.file.expect("a write has a file");
        let fd = self.slots[slot as usize].fd.as_ref().expect("open while in use").as_fd();
        let Work::Write(work) = &mut job.work else { unreachable!("only writes go on") };
        assert_eq!(work.awaited, 0);
        work.flushed = None;
        work.partial_before = kernel.partial_submits();
        let data = std::mem::take(&mut work.data);
        let (flush, awaited) = match work.flush {
            Flush::No => (WriteFlush::No, 1),
            Flush::Own => (WriteFlush::Own, 1),
            Flush::File => (WriteFlush::Linked(Tag::new(Kind::Sync, index, 0)), 2),
        };
        work.awaited = awaited;
        let offset = work.offset + work.written as u64;
        let from = work.lead + work.written;
        kernel.write(Tag::new(Kind::Write, index, 0), fd, data, from, offset, flush);
    }

    /// Handles a completion of a disk operation.
    pub fn digest(&mut self, kernel: &mut Kernel, done: Completion) -> Option<DiskDone> {
        let index = done.tag.index;
        match done.tag.kind {
            Kind::Write | Kind::Sync => self.write_step(kernel, done),
            Kind::Open => {
                let result = match (done.descriptor, done.result) {
                    (Some(fd), _) => Ok(Some(self.adopt_opened(index, fd))),
                    (None, Err(error)) => Err(error),
                    (None, Ok(_)) => unreachable!("an open returns a descriptor"),
                };
                Some(self.finish(kernel, index, result))
            }
            _ => Some(self.finish(kernel, index, done.result.map(|_| None))),
        }
    }

    fn adopt_opened(&mut self, job: u32, fd: OwnedFd) -> FileId {
        let work = self.jobs[job as usize].as_ref().map(|job| &job.work);
        let direct = matches!(work, Some(Work::Direct));
        let id = self.adopt(fd);
        let slot = id.0 & ((1 << SLOT_BITS) - 1);
        self.slots[slot as usize].direct = direct;
        id
    }

    /// One of the completions of a write has come.
    fn write_step(&mut self, kernel: &mut Kernel, done: Completion) -> Option<DiskDone> {
        let index = done.tag.index;
        let job = self.jobs[index as usize].as_mut().expect("completion of a finished job");
        let Work::Write(work) = &mut job.work else { unreachable!("tag of a write") };
        assert!(work.awaited > 0);
        work.awaited -= 1;
        if done.tag.kind == Kind::Sync {
            work.flushed = Some(done.result);
        } else {
            let Memory::Bytes(data) = done.memory else { unreachable!("a write holds bytes") };
            work.data = data;
            match done.result {
                Ok(0) if work.written < work.len => {
                    work.write_error = Some(io::ErrorKind::WriteZero.into());
                }
                Ok(n) => work.written += n as usize,
                Err(error) if again(&error) => {}
                Err(error) => work.write_error = Some(error),
            }
            assert!(work.written <= work.len);
        }
        if work.awaited > 0 {
            return None;
        }
        if work.flush == Flush::Own
            && let Some(error) = work.write_error.take()
        {
            if !refused(&error) {
                return Some(self.flush_failed(kernel, index, error));
            }
            work.doubt = Some(error);
            work.flush = Flush::No;
            work.written = 0;
            self.go_on_writing(kernel, index);
            return None;
        }
        if let Some(error) = work.write_error.take() {
            return Some(self.finish(kernel, index, Err(error)));
        }
        if work.written < work.len {
            self.go_on_writing(kernel, index);
            return None;
        }
        if let Some(error) = work.doubt.take() {
            return Some(self.flush_failed(kernel, index, error));
        }
        if work.flush != Flush::File {
            return Some(self.finish(kernel, index, Ok(None)));
        }
        // Behind a whole write: was the flush behind it too?
        let linked = work.partial_before == kernel.partial_submits();
        match work.flushed.take().expect("awaited") {
            Ok(_) if linked => Some(self.finish(kernel, index, Ok(None))),
            Err(error) if !cut_off(&error) && !again(&error) => {
                Some(self.flush_failed(kernel, index, error))
            }
            _ => {
                work.awaited = 1;
                work.partial_before = kernel.partial_submits();
                let slot = job.file.expect("a write has a file");
                kernel.sync(Tag::new(Kind::Sync, index, 0), self.fd(slot), true);
                None
            }
        }
    }

    /// Ends a write that was not made durable.
    fn flush_failed(&mut self, kernel: &mut Kernel, index: u32, error: io::Error) -> DiskDone {
        DiskDone { sync_failed: true, ..self.finish(kernel, index, Err(error)) }
    }

    /// Ends a job: its file may now be closed if that was waiting.
    fn finish(
        &mut self,
        kernel: &mut Kernel,
        index: u32,
        result: io::Result<Option<FileId>>,
    ) -> DiskDone {
        let job = self.jobs[index as usize].take().expect("a job ends once");
        self.free_jobs.push(index);
        if let Some(slot) = job.file {
            self.slots[slot as usize].users -= 1;
            self.close_if_quiet(kernel, slot);
        }
        let data = match job.work {
            Work::Write(WriteWork { given: None, data, .. }) => data,
            Work::Write(WriteWork { given: Some(given), data, .. }) => {
                if data.capacity() <= KEPT_MAX {
                    self.aligned.push(data);
                }
                given
            }
            Work::Create | Work::Direct | Work::Close | Work::Plain => Vec::new(),
        };
        DiskDone { token: job.token, result, data, sync_failed: false }
    }

    fn close_if_quiet(&mut self, kernel: &mut Kernel, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.users > 0 {
            return;
        }
        let Some(job) = slot.closing.take() else { return };
        // The file's last descriptor, whose close may take long, is the one the kernel is given.
        slot.aside = None;
        let fd = slot.fd.take().expect("closed once");
        slot.generation = slot.generation.wrapping_add(1) & (u32::MAX >> SLOT_BITS);
        self.free_slots.push(index);
        kernel.close(Tag::new(Kind::Job, job, 0), fd);
    }
}

fn name(path: String) -> io::Result<CString> {
    CString::new(path).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// What a file system says before it writes, and a medium never does: no room, or no such write.
fn refused(error: &io::Error) -> bool {
    let codes = [libc::ENOSPC, libc::EDQUOT, libc::EFBIG, libc::EINVAL, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// The operation did nothing and may be repeated.
fn again(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}

/// The flush was dropped because the write before it was not whole.
fn cut_off(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}
