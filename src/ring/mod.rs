//! The kernel door: one io_uring per shard thread, its descriptors, its in-flight memory. Knows
//! nothing of Redis.
//!
//! One turn of the owner: [`Ring::enter`] submits everything queued since the last one and reaps
//! completions, in one system call; [`Ring::next_event`] hands them out one by one, digested.
//! Everything else only queues. Nothing is reaped outside `enter`, so between two of them the
//! owner sees a fixed set of events.
//!
//! | file | what it holds |
//! |---|---|
//! | `kernel.rs` | submissions, completions, the memory they point to (unsafe) |
//! | `buffers.rs` | provided receive buffers (unsafe) |
//! | `message.rs` | scattered messages (one unsafe block) |
//! | `setup.rs` | making the ring, probing, saying why it cannot be made |
//! | `connections.rs` | slab of connections: receive, send, close |
//! | `listeners.rs` | multishot accept and its back-off |
//! | `files.rs` | the disk trait |
//! | `calm.rs` | whether a write may be made without the ring |
//! | `gate.rs` | whether it would find the file system frozen |
//! | `net.rs` | sockets to listen on, addresses as text |
//!
//! Invariants:
//!
//! 1. A connection's index goes to a successor only after every operation of it has completed and
//!    its descriptor is closed; the generation then differs, so an old [`ConnId`] names nobody.
//! 2. A descriptor is closed only when no operation names it any more.
//! 3. At most one receive and one send are in flight per connection.
//! 4. Data of one connection comes in order: a receive is armed only after the one before has
//!    ended.

mod buffers;
mod calm;
mod connections;
mod files;
mod gate;
mod kernel;
mod listeners;
mod message;
pub mod net;
mod setup;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Stopwatch;
use crate::persist::disk::{Disk, DiskDone, DiskOp, FileId, Made};

pub use buffers::RecvBuffer;
pub use setup::{Features, RingError};

use calm::Calm;
use connections::Connections;
use files::Files;
use kernel::{Completion, Kernel, Kind, Memory, Tag};
use listeners::Listener;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Submissions that fit into one system call; completions get four times as many.
    pub entries: u32,
    /// Receive buffers, a power of two.
    pub buffers: u16,
    /// Length of a receive buffer in bytes, at most 16 MiB.
    pub buffer_bytes: usize,
    /// Most connections at a time, below 2^24. One accepted beyond is closed at once.
    pub connections: usize,
}

impl Default for RingOptions {
    fn default() -> Self {
        RingOptions { entries: 1024, buffers: 256, buffer_bytes: 16 * 1024, connections: 1 << 20 }
    }
}

/// A connection: slab index and generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId {
    /// Slot; reused by later connections.
    pub index: u32,
    /// Tells the connections of one slot apart.
    pub generation: u32,
}

/// How long [`Ring::enter`] may wait for an event when none is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// At most this long.
    Until(Duration),
    /// Until something happens.
    Forever,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A connection came in; nothing is received on it until [`Ring::start_receive`].
    Accepted {
        /// The listener's number.
        listener: u32,
        /// The connection.
        conn: ConnId,
    },
    /// A connection could not be accepted (no descriptors left, slab full); accepting goes on by
    /// itself, after a pause or a close if need be.
    AcceptFailed {
        /// The listener's number.
        listener: u32,
        /// Why.
        error: io::Error,
    },
    /// Bytes came in. The buffer must be given back by [`Ring::recycle`].
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        data: RecvBuffer,
    },
    /// The peer has ended its stream, or receiving failed. Sending may still work; the owner
    /// closes the connection.
    Ended {
        /// The connection.
        conn: ConnId,
        /// `None` for an orderly end.
        error: Option<io::Error>,
    },
    /// A send is over: whole, or failed.
    Sent {
        /// The connection.
        conn: ConnId,
        /// Bytes sent.
        result: io::Result<usize>,
        /// The buffer, emptied, for reuse.
        buf: Vec<u8>,
    },
    /// The connection is gone: nothing of it is in flight, its descriptor is closed.
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// A [`Waker`] was used since the last such event.
    Woken,
    /// A disk operation has ended.
    Disk(DiskDone),
}

/// Makes a ring's `enter` return, from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    counter: Arc<OwnedFd>,
}

impl Waker {
    /// Wakes the ring's thread, or makes its next wait return at once. One system call.
    pub fn wake(&self) {
        // It fails only when the counter stands at 2^64 - 2, and then the ring is awake anyway.
        let _ = rustix::io::write(&*self.counter, &1u64.to_ne_bytes());
    }
}

/// An io_uring with everything in flight on it. Bound to the thread that made it.
///
/// Dropping it cancels what is in flight, disk operations not yet begun included, and waits for
/// the rest, at most some seconds; what does not come back keeps its memory for ever.
pub struct Ring {
    // Dropped first: operations end before the descriptors they name are closed.
    kernel: Kernel,
    features: Features,
    connections: Connections,
    listeners: Vec<Listener>,
    files: Files,
    calm: Calm,
    counter: Arc<OwnedFd>,
    /// Events that no completion stands for (refused requests).
    local: VecDeque<Event>,
}

impl Ring {
    /// Makes a ring for the calling thread.
    ///
    /// # Errors
    /// [`RingError`] says what forbids it and what mends it.
    pub fn new(options: &RingOptions) -> Result<Ring, RingError> {
        let (kernel, features) = setup::build(options)?;
        let flags = rustix::event::EventfdFlags::CLOEXEC;
        let counter = rustix::event::eventfd(0, flags)
            .map_err(|error| RingError::Other { step: "eventfd", error: error.into() })?;
        let mut ring = Ring {
            kernel,
            features,
            connections: Connections::new(options.connections),
            listeners: Vec::new(),
            files: Files::default(),
            calm: Calm::default(),
            counter: Arc::new(counter),
            local: VecDeque::new(),
        };
        ring.watch_counter(Box::new([0; 8]));
        Ok(ring)
    }

    /// What was found when the ring was made.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// A handle that wakes this ring.
    pub fn waker(&self) -> Waker {
        Waker { counter: Arc::clone(&self.counter) }
    }

    fn watch_counter(&mut self, word: Box<[u8; 8]>) {
        let tag = Tag::new(Kind::Wake, 0, 0);
        self.kernel.read_word(tag, self.counter.as_fd(), word);
    }

    /// Submits everything queued, waits as told when no event is at hand, and reaps.
    ///
    /// # Errors
    /// Only when the kernel refuses to work at all; an interrupted wait is not an error.
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.feed_starved();
        let wait = if self.local.is_empty() { wait } else { Wait::No };
        self.kernel.enter(wait)
    }

    /// Whether [`Ring::enter`] would have something to do: to submit, or to reap. No system call.
    pub fn has_work(&mut self) -> bool {
        !self.local.is_empty() || self.kernel.has_work()
    }

    /// The next event of those reaped.
    pub fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.local.pop_front() {
            return Some(event);
        }
        while let Some(done) = self.kernel.next() {
            if let Some(event) = self.digest(done) {
                return Some(event);
            }
        }
        None
    }

    fn digest(&mut self, done: Completion) -> Option<Event> {
        match done.tag.kind {
            Kind::Receive => self.receive_done(done),
            Kind::Send => self.send_done(done),
            Kind::CancelConn => self.cancel_done(done.tag),
            Kind::CloseConn => self.close_done(done.tag),
            Kind::Accept => self.accept_done(done),
            Kind::ListenRetry => self.accept_again(done.tag.index),
            Kind::Wake => {
                let Memory::Word(word) = done.memory else { unreachable!("a wake reads a word") };
                self.watch_counter(word);
                done.result.is_ok().then_some(Event::Woken)
            }
            Kind::Write | Kind::Sync | Kind::Open | Kind::Job => {
                self.files.digest(&mut self.kernel, done).map(Event::Disk)
            }
            Kind::Ignore => None,
        }
    }

    /// The bytes of a received buffer.
    pub fn bytes(&self, data: &RecvBuffer) -> &[u8] {
        self.kernel.buffers().bytes(data)
    }

    /// Gives a receive buffer back; connections that waited for one are served at the next
    /// `enter`.
    pub fn recycle(&mut self, data: RecvBuffer) {
        self.kernel.buffers_mut().give_back(data);
    }

    /// Sets the directory in which disk operations work.
    ///
    /// # Errors
    /// As `open(2)` on a directory.
    pub fn open_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.files.open_dir(dir)
    }

    /// Takes over a file opened elsewhere, for disk operations.
    pub fn adopt_file(&mut self, file: OwnedFd) -> FileId {
        self.files.adopt(file)
    }
}

impl Disk for Ring {
    fn submit(&mut self, token: u64, op: DiskOp) {
        if let Some(refused) = self.files.submit(&mut self.kernel, token, op) {
            self.local.push_back(Event::Disk(refused));
        }
    }

    fn work_in(&mut self, dir: &Path) -> std::io::Result<()> {
        self.open_dir(dir)
    }

    fn is_calm(&mut self, now_us: u64) -> bool {
        self.files.is_plain() && self.calm.is_calm(now_us)
    }

    fn write_now(&mut self, file: FileId, offset: u64, data: &[u8], now_us: u64) -> Option<Made> {
        let watch = Stopwatch::default();
        let result = self.files.write_now(file, offset, data)?;
        let took_us = watch.elapsed().as_micros() as u64;
        self.calm.took(took_us, now_us);
        Some(Made { result, took_us })
    }
}
