//! The one place that talks to io_uring: builds submissions, owns what they point to, takes
//! completions. Knows tags, descriptors and memory; not connections, files or listeners.
//!
//! Obligations of the unsafe blocks, cited by number:
//!
//! 1. **Memory outlives the operation.** Whatever a submission points to is moved into `held` in
//!    the same call that queues the submission, lives on the heap (so that `held` may grow), is
//!    not touched while there, and leaves only with the operation's one completion.
//! 2. **Provided buffers have one owner at a time**: kernel or caller; see `buffers.rs`.
//! 3. **Teardown.** A kernel dropped with operations in flight cancels them and waits for the
//!    completions, a bounded number of times; if some do not come back, all memory they may
//!    point to is leaked on purpose.
//! 4. **Descriptors.** A submission names a descriptor by number. Its owner (this room's tables)
//!    keeps it open until the operation has completed; a `close` is queued only after that.
//! 5. A descriptor the kernel gives us in a completion is ours alone and is wrapped once.
//!
//! A submission that finds the queue full waits in `backlog`; nothing but [`Kernel::enter`] makes
//! a system call, and nothing but it takes completions out of the kernel's queue.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};

use super::Wait;
use super::buffers::{Buffers, RecvBuffer};
use super::message::Message;

/// Largest piece handed to the kernel at once, in bytes; the rest follows when it is done.
const PIECE_MAX: usize = 1 << 30;
/// Rounds of one `enter` that bring nothing forward before it gives up.
const STALLS_MAX: u32 = 1000;
/// Completions at hand that suffice for one turn even if more have overflowed.
const REAPED_MANY: usize = 1 << 16;
/// What a teardown waits for operations to come back: rounds of `TEARDOWN_WAIT` each.
const TEARDOWN_ROUNDS: u32 = 50;
const TEARDOWN_WAIT: Duration = Duration::from_millis(100);
/// Marks user data that is an index into `held` instead of a tag.
const HELD: u64 = 1 << 63;

/// What an operation was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Accept = 1,
    Receive = 2,
    Send = 3,
    CancelConn = 4,
    CloseConn = 5,
    Wake = 6,
    ListenRetry = 7,
    Open = 8,
    Write = 9,
    Sync = 10,
    Job = 11,
    Ignore = 12,
}

/// Names an operation: what for, and the table slot and generation it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub kind: Kind,
    /// Slot in the table of its kind, below 2^24.
    pub index: u32,
    pub generation: u32,
}

impl Tag {
    pub fn new(kind: Kind, index: u32, generation: u32) -> Tag {
        debug_assert!(index < 1 << 24);
        Tag { kind, index, generation }
    }

    fn pack(self) -> u64 {
        (self.kind as u64) << 56 | u64::from(self.index) << 32 | u64::from(self.generation)
    }

    fn unpack(data: u64) -> Tag {
        let kind = match (data >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::CancelConn,
            5 => Kind::CloseConn,
            6 => Kind::Wake,
            7 => Kind::ListenRetry,
            8 => Kind::Open,
            9 => Kind::Write,
            10 => Kind::Sync,
            11 => Kind::Job,
            12 => Kind::Ignore,
            other => unreachable!("completion of unknown kind {other}"),
        };
        Tag::new(kind, (data >> 32) as u32 & 0x00ff_ffff, data as u32)
    }
}

/// How a write is made durable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteFlush {
    No,
    /// The write itself does it, for its own bytes.
    Own,
    /// A flush of the file's data is linked behind it, under this tag.
    Linked(Tag),
}

/// Memory an operation points to, and gives back when it completes.
pub(super) enum Memory {
    None,
    Bytes(Vec<u8>),
    Message(Box<Message>),
    Word(Box<[u8; 8]>),
    /// Path names; kept, never read again.
    Paths {
        _from: CString,
        _to: Option<CString>,
    },
    /// A time span; kept, never read again.
    Span {
        _span: Box<Timespec>,
    },
}

/// One completion.
pub(super) struct Completion {
    pub tag: Tag,
    /// What the operation returned.
    pub result: io::Result<u32>,
    /// False when a multishot operation has ended with this completion.
    pub more: bool,
    pub memory: Memory,
    /// The descriptor of a successful accept or open.
    pub descriptor: Option<OwnedFd>,
    /// The received bytes of a successful receive.
    pub buffer: Option<RecvBuffer>,
}

struct Held {
    tag: Tag,
    memory: Memory,
}

#[derive(Clone, Copy)]
struct Raw {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// One submission, or two that must go in together because the second is linked to the first.
enum Queued {
    One(Entry),
    Pair([Entry; 2]),
}

/// An io_uring with all memory that is in flight on it. Bound to the thread that made it.
pub(super) struct Kernel {
    /// `None` only after a teardown that leaked.
    uring: Option<IoUring>,
    buffers: Option<Buffers>,
    held: Vec<Option<Held>>,
    held_free: Vec<u32>,
    backlog: VecDeque<Queued>,
    reaped: Vec<Raw>,
    /// First entry of `reaped` not yet handed out.
    next: usize,
    /// Operations queued or submitted whose last completion has not been reaped.
    in_flight: usize,
    /// Times the kernel took fewer submissions than offered; see [`Kernel::partial_submits`].
    partial_submits: u64,
    /// The submitting thread is fixed when the ring is made.
    _not_send: PhantomData<*const ()>,
}

impl Kernel {
    /// Takes a fresh ring and its provided buffers (already registered on it).
    pub fn new(uring: IoUring, buffers: Buffers) -> Kernel {
        Kernel {
            uring: Some(uring),
            buffers: Some(buffers),
            held: Vec::new(),
            held_free: Vec::new(),
            backlog: VecDeque::new(),
            reaped: Vec::new(),
            next: 0,
            in_flight: 0,
            partial_submits: 0,
            _not_send: PhantomData,
        }
    }

    fn uring(&mut self) -> &mut IoUring {
        self.uring.as_mut().expect("present until dropped")
    }

    /// The provided receive buffers.
    pub fn buffers(&self) -> &Buffers {
        self.buffers.as_ref().expect("present until dropped")
    }

    /// The provided receive buffers, to give one back.
    pub fn buffers_mut(&mut self) -> &mut Buffers {
        self.buffers.as_mut().expect("present until dropped")
    }

    /// How often a link between two submissions may have been cut by the kernel taking only some
    /// of those offered. Who relies on a link compares this from before queueing to after
    /// completion.
    pub fn partial_submits(&self) -> u64 {
        self.partial_submits
    }

    // ---- operations -----------------------------------------------------------------------

    /// Does nothing.
    pub fn nop(&mut self, tag: Tag) {
        self.queue(opcode::Nop::new().build().user_data(tag.pack()));
    }

    /// Accepts connections until cancelled or failed.
    pub fn accept(&mut self, tag: Tag, fd: BorrowedFd<'_>) {
        assert_eq!(tag.kind, Kind::Accept);
        let op = opcode::AcceptMulti::new(target(fd)).flags(libc::SOCK_CLOEXEC);
        self.queue(op.build().user_data(tag.pack()));
    }

    /// Receives into provided buffers until cancelled, failed, ended or out of buffers.
    pub fn receive(&mut self, tag: Tag, fd: BorrowedFd<'_>) {
        assert_eq!(tag.kind, Kind::Receive);
        let group = self.buffers().group();
        self.queue(opcode::RecvMulti::new(target(fd), group).build().user_data(tag.pack()));
    }

    /// Sends `buf` from byte `from` on.
    pub fn send(&mut self, tag: Tag, fd: BorrowedFd<'_>, buf: Vec<u8>, from: usize) {
        let rest = &buf[from..];
        let op = opcode::Send::new(target(fd), rest.as_ptr(), rest.len().min(PIECE_MAX) as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
        self.queue_held(op.build(), tag, Memory::Bytes(buf));
    }

    /// Sends what is left of a message.
    pub fn send_message(&mut self, tag: Tag, fd: BorrowedFd<'_>, mut message: Box<Message>) {
        let op = opcode::SendMsg::new(target(fd), message.header())
            .flags((libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32);
        self.queue_held(op.build(), tag, Memory::Message(message));
    }

    /// Reads eight bytes (an eventfd's counter).
    pub fn read_word(&mut self, tag: Tag, fd: BorrowedFd<'_>, mut word: Box<[u8; 8]>) {
        let op = opcode::Read::new(target(fd), word.as_mut_ptr(), 8);
        self.queue_held(op.build(), tag, Memory::Word(word));
    }

    /// Writes `data` from byte `from` on to `offset` of a file. With [`WriteFlush::Linked`] a flush
    /// of the file's data is linked behind it under that tag, which the kernel drops (`ECANCELED`)
    /// when the write fails or falls short.
    pub fn write(
        &mut self,
        tag: Tag,
        fd: BorrowedFd<'_>,
        data: Vec<u8>,
        from: usize,
        offset: u64,
        flush: WriteFlush,
    ) {
        let rest = &data[from..];
        let own = if flush == WriteFlush::Own { libc::RWF_DSYNC } else { 0 };
        let op = opcode::Write::new(target(fd), rest.as_ptr(), rest.len().min(PIECE_MAX) as u32)
            .offset(offset)
            .rw_flags(own)
            .build();
        let WriteFlush::Linked(sync_tag) = flush else {
            return self.queue_held(op, tag, Memory::Bytes(data));
        };
        let user_data = self.hold(tag, Memory::Bytes(data));
        let write = op.flags(Flags::IO_LINK).user_data(user_data);
        let sync = opcode::Fsync::new(target(fd)).flags(FsyncFlags::DATASYNC).build();
        self.backlog.push_back(Queued::Pair([write, sync.user_data(sync_tag.pack())]));
        self.in_flight += 2;
        self.fill();
    }

    /// Flushes a file: its data, or everything (directories).
    pub fn sync(&mut self, tag: Tag, fd: BorrowedFd<'_>, data_only: bool) {
        let flags = if data_only { FsyncFlags::DATASYNC } else { FsyncFlags::empty() };
        let op = opcode::Fsync::new(target(fd)).flags(flags);
        self.queue(op.build().user_data(tag.pack()));
    }

    /// Creates a new file for writing; fails when it exists.
    pub fn create(&mut self, tag: Tag, dir: BorrowedFd<'_>, path: CString) {
        assert_eq!(tag.kind, Kind::Open);
        let op = opcode::OpenAt::new(target(dir), path.as_ptr())
            .flags(libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC)
            .mode(0o644);
        self.queue_held(op.build(), tag, Memory::Paths { _from: path, _to: None });
    }

    /// Opens the file behind a path for writes past the page cache.
    pub fn open_direct(&mut self, tag: Tag, path: CString) {
        assert_eq!(tag.kind, Kind::Open);
        let op = opcode::OpenAt::new(Fd(libc::AT_FDCWD), path.as_ptr())
            .flags(libc::O_WRONLY | libc::O_DIRECT | libc::O_CLOEXEC);
        self.queue_held(op.build(), tag, Memory::Paths { _from: path, _to: None });
    }

    /// Cuts a file to a length; kernels before 6.9 refuse it.
    pub fn truncate(&mut self, tag: Tag, fd: BorrowedFd<'_>, len: u64) {
        self.queue(opcode::Ftruncate::new(target(fd), len).build().user_data(tag.pack()));
    }

    /// Takes room for bytes of a file, whose length stays.
    pub fn reserve(&mut self, tag: Tag, fd: BorrowedFd<'_>, offset: u64, len: u64) {
        let op = opcode::Fallocate::new(target(fd), len).offset(offset);
        let op = op.mode(libc::FALLOC_FL_KEEP_SIZE);
        self.queue(op.build().user_data(tag.pack()));
    }

    /// Begins to write back a file's bytes, as far as 4 GiB. It is not waited for, so what goes
    /// wrong later is told to the next flush, which alone is asked for it.
    pub fn write_back(&mut self, tag: Tag, fd: BorrowedFd<'_>, offset: u64, len: u64) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let op = opcode::SyncFileRange::new(target(fd), len).offset(offset);
        self.queue(op.flags(libc::SYNC_FILE_RANGE_WRITE).build().user_data(tag.pack()));
    }

    /// Says that a file's bytes are not needed in the page cache. Beyond 4 GiB nothing is said.
    pub fn forget(&mut self, tag: Tag, fd: BorrowedFd<'_>, offset: u64, len: u64) {
        let len = libc::off_t::from(u32::try_from(len).unwrap_or(u32::MAX));
        let op = opcode::Fadvise::new(target(fd), len, libc::POSIX_FADV_DONTNEED);
        self.queue(op.offset(offset).build().user_data(tag.pack()));
    }

    /// Renames within a directory.
    pub fn rename(&mut self, tag: Tag, dir: BorrowedFd<'_>, from: CString, to: CString) {
        let op = opcode::RenameAt::new(target(dir), from.as_ptr(), target(dir), to.as_ptr());
        self.queue_held(op.build(), tag, Memory::Paths { _from: from, _to: Some(to) });
    }

    /// Removes a file of a directory.
    pub fn unlink(&mut self, tag: Tag, dir: BorrowedFd<'_>, path: CString) {
        let op = opcode::UnlinkAt::new(target(dir), path.as_ptr());
        self.queue_held(op.build(), tag, Memory::Paths { _from: path, _to: None });
    }

    /// Closes a descriptor on which nothing is in flight.
    pub fn close(&mut self, tag: Tag, fd: OwnedFd) {
        let op = opcode::Close::new(Fd(fd.into_raw_fd()));
        self.queue(op.build().user_data(tag.pack()));
    }

    /// Cancels the multishot operation named `victim`, if it is still there.
    pub fn cancel(&mut self, tag: Tag, victim: Tag) {
        assert!(matches!(victim.kind, Kind::Accept | Kind::Receive));
        self.queue(opcode::AsyncCancel::new(victim.pack()).build().user_data(tag.pack()));
    }

    /// Cancels whatever is in flight on a descriptor.
    pub fn cancel_all_of(&mut self, tag: Tag, fd: BorrowedFd<'_>) {
        let op = opcode::AsyncCancel2::new(CancelBuilder::fd(target(fd)).all());
        self.queue(op.build().user_data(tag.pack()));
    }

    /// Completes after `span`.
    pub fn timer(&mut self, tag: Tag, span: Duration) {
        let span = Box::new(Timespec::from(span));
        let op = opcode::Timeout::new(&raw const *span);
        self.queue_held(op.build(), tag, Memory::Span { _span: span });
    }

    // ---- queueing -------------------------------------------------------------------------

    fn hold(&mut self, tag: Tag, memory: Memory) -> u64 {
        let held = Some(Held { tag, memory });
        let index = match self.held_free.pop() {
            Some(index) => {
                assert!(self.held[index as usize].is_none());
                self.held[index as usize] = held;
                index
            }
            None => {
                self.held.push(held);
                (self.held.len() - 1) as u32
            }
        };
        HELD | u64::from(index)
    }

    fn queue_held(&mut self, op: Entry, tag: Tag, memory: Memory) {
        let user_data = self.hold(tag, memory);
        self.queue(op.user_data(user_data));
    }

    fn queue(&mut self, op: Entry) {
        self.in_flight += 1;
        if self.backlog.is_empty() {
            // SAFETY: (1) `op` points to nothing, or to memory its caller moved into `held`.
            if unsafe { self.uring().submission().push(&op) }.is_ok() {
                return;
            }
        }
        self.backlog.push_back(Queued::One(op));
    }

    /// Moves as much of the backlog into the submission queue as fits, in order.
    fn fill(&mut self) {
        let Some(uring) = self.uring.as_mut() else { return };
        let mut submission = uring.submission();
        while let Some(queued) = self.backlog.front() {
            // SAFETY: (1) as in `queue`; a linked pair goes in whole or not at all.
            let pushed = unsafe {
                match queued {
                    Queued::One(op) => submission.push(op),
                    Queued::Pair(ops) => submission.push_multiple(ops),
                }
            };
            if pushed.is_err() {
                return;
            }
            self.backlog.pop_front();
        }
    }

    // ---- entering -------------------------------------------------------------------------

    /// Submits everything queued, waits as told if nothing is at hand, and reaps completions:
    /// one system call, more only when more is queued than fits or completions overflowed.
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if self.next == self.reaped.len() {
            self.reaped.clear();
            self.next = 0;
        }
        let mut stalls = 0;
        loop {
            self.fill();
            let offered = self.uring().submission().len();
            let at_hand = !self.backlog.is_empty() || self.next < self.reaped.len();
            let entered = self.enter_once(offered, if at_hand { Wait::No } else { wait });
            let before = self.reaped.len();
            self.reap();
            match entered {
                Ok(taken) if taken < offered => {
                    self.partial_submits += 1;
                    stalls = if taken == 0 { stalls + 1 } else { 0 };
                }
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR | libc::ETIME) if offered == 0 => {}
                    // No memory for requests, or too many completions unread: take what is there
                    // and come again.
                    Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY) => {
                        self.partial_submits += 1;
                        stalls += 1;
                        std::thread::yield_now();
                    }
                    _ => return Err(error),
                },
            }
            let submission = self.uring().submission();
            let (submitted, overflow) = (submission.is_empty(), submission.cq_overflow());
            drop(submission);
            if submitted && self.backlog.is_empty() {
                // What has overflowed comes now, or, in a flood, with the next call.
                if !overflow || self.reaped.len() - self.next > REAPED_MANY {
                    return Ok(());
                }
            }
            if stalls > STALLS_MAX {
                // Better handle what came than wait for memory in here.
                let reaped = self.reaped.len() > before || self.next < self.reaped.len();
                return if reaped { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) };
            }
        }
    }

    /// Whether an [`Kernel::enter`] would submit or bring something. No system call.
    pub fn has_work(&mut self) -> bool {
        if self.next < self.reaped.len() || !self.backlog.is_empty() {
            return true;
        }
        let uring = self.uring();
        let submission = uring.submission();
        let asked = submission.taskrun() || submission.cq_overflow() || !submission.is_empty();
        drop(submission);
        asked || !uring.completion().is_empty()
    }

    fn enter_once(&mut self, offered: usize, wait: Wait) -> io::Result<usize> {
        let want = u32::from(!matches!(wait, Wait::No));
        let submitter = self.uring().submitter();
        // Deferred work runs only in an enter that asks for events, so every one does.
        let flags = EnterFlags::GETEVENTS;
        match wait {
            Wait::Until(span) => {
                let span = Timespec::from(span);
                let args = SubmitArgs::new().timespec(&span);
                let flags = (flags | EnterFlags::EXT_ARG).bits();
                // SAFETY: EXT_ARG names the type of `args`, which outlives the call; the queued
                // submissions are sound by (1).
                unsafe { submitter.enter(offered as u32, want, flags, Some(&args)) }
            }
            Wait::No | Wait::Forever => {
                // SAFETY: no argument; the queued submissions are sound by (1).
                unsafe {
                    submitter.enter::<libc::sigset_t>(offered as u32, want, flags.bits(), None)
                }
            }
        }
    }

    fn reap(&mut self) {
        let Some(uring) = self.uring.as_mut() else { return };
        for done in uring.completion() {
            let flags = done.flags();
            if !cqueue::more(flags) {
                assert!(self.in_flight > 0, "a completion nobody waits for");
                self.in_flight -= 1;
            }
            self.reaped.push(Raw { user_data: done.user_data(), result: done.result(), flags });
        }
    }

    /// Hands out the next reaped completion.
    pub fn next(&mut self) -> Option<Completion> {
        let raw = *self.reaped.get(self.next)?;
        self.next += 1;
        let more = cqueue::more(raw.flags);
        let (tag, memory) = if raw.user_data & HELD != 0 {
            assert!(!more, "an operation with memory completes once");
            let index = raw.user_data as u32;
            let held = self.held[index as usize].take().expect("completion of held memory");
            self.held_free.push(index);
            (held.tag, held.memory)
        } else {
            (Tag::unpack(raw.user_data), Memory::None)
        };
        let result = if raw.result >= 0 {
            Ok(raw.result as u32)
        } else {
            Err(io::Error::from_raw_os_error(-raw.result))
        };
        let opens = matches!(tag.kind, Kind::Accept | Kind::Open) && raw.result >= 0;
        // SAFETY: (5) accept and open return a new descriptor that nobody else knows.
        let descriptor = opens.then(|| unsafe { OwnedFd::from_raw_fd(raw.result as RawFd) });
        let mut buffer = None;
        if tag.kind == Kind::Receive
            && let Some(id) = cqueue::buffer_select(raw.flags)
        {
            let lent = self.buffers_mut().lend(id, raw.result.max(0) as u32);
            if raw.result > 0 {
                buffer = Some(lent);
            } else {
                self.buffers_mut().give_back(lent);
            }
        }
        Some(Completion { tag, result, more, memory, descriptor, buffer })
    }

    /// Cancels everything and waits for it, a bounded time; true when nothing is in flight.
    fn settle(&mut self) -> bool {
        let all = opcode::AsyncCancel2::new(CancelBuilder::any().all());
        self.queue(all.build().user_data(Tag::new(Kind::Ignore, 0, 0).pack()));
        for _ in 0..TEARDOWN_ROUNDS {
            if self.enter(Wait::Until(TEARDOWN_WAIT)).is_err() {
                return false;
            }
            // Hands back accepted descriptors and held memory, to be dropped here.
            while self.next().is_some() {}
            if self.in_flight == 0 {
                return true;
            }
        }
        false
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        while self.next().is_some() {}
        if self.in_flight == 0 || self.settle() {
            if let (Some(uring), Some(buffers)) = (self.uring.take(), self.buffers.take()) {
                buffers.release(&uring.submitter());
            }
            return;
        }
        // (3) The kernel may still read or write this memory: never free it. The ring itself is
        // left open with it, so that nothing outside waits for its end.
        std::mem::forget(self.uring.take());
        std::mem::forget(self.buffers.take());
        std::mem::forget(std::mem::take(&mut self.held));
    }
}

fn target(fd: BorrowedFd<'_>) -> Fd {
    Fd(fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_packing() {
        for kind in 1..=12u64 {
            for (index, generation) in [(0, 0), (1, u32::MAX), (0x00ff_ffff, 7)] {
                let tag = Tag::unpack(kind << 56 | index << 32 | generation as u64);
                assert_eq!(u64::from(tag.index), index);
                assert_eq!(tag.generation, generation);
                assert_eq!(tag.pack(), kind << 56 | index << 32 | u64::from(generation));
                assert_eq!(tag.pack() & HELD, 0);
            }
        }
    }
}
