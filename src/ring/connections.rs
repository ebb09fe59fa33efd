//! The slab of connections: receiving, sending, closing.
//!
//! Receiving of one connection (`armed` is what the kernel has, `wanted` what the owner wants):
//!
//! ```text
//!   idle ──start──▶ armed ──stop──▶ armed, cancelled ──last completion──▶ idle
//!                    │ last completion while wanted: armed again;
//!                    │ out of buffers: starved, armed again once buffers have come back
//! ```
//!
//! Closing: receive cancelled, a soft close lets the send in flight finish, a hard one cancels it;
//! when nothing is in flight the descriptor is closed, when that is done the slot is free.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use bytes::Bytes;

use super::kernel::{Completion, Kernel, Kind, Memory, Tag};
use super::message::Message;
use super::{ConnId, Event, Ring, net};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// A send in flight may finish.
    Soft,
    Hard,
    /// The close itself is in flight.
    Last,
}

/// One connection. Idle ones are many, so it is small.
struct Slot {
    /// `None` when the slot is free or the close is in flight.
    fd: Option<OwnedFd>,
    generation: u32,
    occupied: bool,
    closing: Closing,
    /// The owner wants to receive.
    wanted: bool,
    /// A receive is in the kernel.
    armed: bool,
    /// A cancel of that receive has been queued.
    cancelled: bool,
    /// Waits in the line for buffers.
    starved: bool,
    sending: bool,
    /// Cancels in flight.
    cancels: u8,
    /// Length of the message in flight, and how much of it is gone.
    send_len: usize,
    sent: usize,
}

const _: () = assert!(size_of::<Slot>() <= 40);

impl Slot {
    fn in_flight(&self) -> bool {
        self.armed || self.sending || self.cancels > 0
    }
}

/// All connections of a ring.
pub(super) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    max: usize,
    /// Connections that wait for receive buffers, in order.
    starved: VecDeque<ConnId>,
}

impl Connections {
    pub fn new(max: usize) -> Connections {
        assert!(max < 1 << 24, "an index has 24 bits");
        Connections { slots: Vec::new(), free: Vec::new(), max, starved: VecDeque::new() }
    }

    fn get(&mut self, conn: ConnId) -> Option<&mut Slot> {
        self.slots
            .get_mut(conn.index as usize)
            .filter(|slot| slot.occupied && slot.generation == conn.generation)
    }

    /// The slot an operation in flight belongs to: it is still occupied by the same connection
    /// (invariant 1 of the room).
    fn of(&mut self, tag: Tag) -> (ConnId, &mut Slot) {
        let slot = &mut self.slots[tag.index as usize];
        assert!(slot.occupied && slot.generation == tag.generation, "completion of a stranger");
        (ConnId { index: tag.index, generation: tag.generation }, slot)
    }

    /// Puts a connected socket into the slab; gives it back when that is full.
    pub fn insert(&mut self, fd: OwnedFd) -> Result<ConnId, OwnedFd> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < self.max => {
                self.slots.push(Slot {
                    fd: None,
                    generation: 0,
                    occupied: false,
                    closing: Closing::No,
                    wanted: false,
                    armed: false,
                    cancelled: false,
                    starved: false,
                    sending: false,
                    cancels: 0,
                    send_len: 0,
                    sent: 0,
                });
                (self.slots.len() - 1) as u32
            }
            None => return Err(fd),
        };
        let slot = &mut self.slots[index as usize];
        assert!(!slot.occupied && slot.fd.is_none() && !slot.in_flight());
        slot.fd = Some(fd);
        slot.occupied = true;
        Ok(ConnId { index, generation: slot.generation })
    }

    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        assert!(slot.occupied && !slot.in_flight());
        slot.occupied = false;
        slot.generation = slot.generation.wrapping_add(1);
        slot.closing = Closing::No;
        slot.wanted = false;
        slot.starved = false;
        self.free.push(index);
    }
}

fn tag(kind: Kind, conn: ConnId) -> Tag {
    Tag::new(kind, conn.index, conn.generation)
}

fn arm(kernel: &mut Kernel, conn: ConnId, slot: &mut Slot) {
    assert!(!slot.armed && slot.wanted && slot.closing == Closing::No);
    let fd = slot.fd.as_ref().expect("open until closed");
    kernel.receive(tag(Kind::Receive, conn), fd.as_fd());
    slot.armed = true;
    slot.cancelled = false;
}

fn disarm(kernel: &mut Kernel, conn: ConnId, slot: &mut Slot) {
    slot.wanted = false;
    if slot.armed && !slot.cancelled {
        kernel.cancel(tag(Kind::CancelConn, conn), tag(Kind::Receive, conn));
        slot.cancelled = true;
        slot.cancels += 1;
    }
}

/// Queues the close when nothing else is in flight.
fn close_if_quiet(kernel: &mut Kernel, conn: ConnId, slot: &mut Slot) {
    if !matches!(slot.closing, Closing::Soft | Closing::Hard) || slot.in_flight() {
        return;
    }
    let fd = slot.fd.take().expect("closed once");
    slot.closing = Closing::Last;
    kernel.close(tag(Kind::CloseConn, conn), fd);
}

impl Ring {
    /// Takes over a connected socket as if it had been accepted.
    ///
    /// # Errors
    /// Gives it back when all slots are taken.
    pub fn adopt(&mut self, socket: OwnedFd) -> Result<ConnId, OwnedFd> {
        net::make_blocking(&socket);
        self.connections.insert(socket)
    }

    /// Hands out the socket of a connection on which nothing has been started, for another ring
    /// to adopt. The id names nobody afterwards.
    pub fn disown(&mut self, conn: ConnId) -> Option<OwnedFd> {
        let slot = self.connections.get(conn)?;
        if slot.in_flight() || slot.wanted || slot.closing != Closing::No {
            return None;
        }
        let fd = slot.fd.take();
        self.connections.release(conn.index);
        fd
    }

    /// Number of connections, those being closed included.
    pub fn connections(&self) -> usize {
        self.connections.slots.len() - self.connections.free.len()
    }

    /// Receives from now on. Does nothing when it already does, or for a connection that is
    /// closing or gone.
    pub fn start_receive(&mut self, conn: ConnId) {
        let Some(slot) = self.connections.get(conn) else { return };
        if slot.closing != Closing::No || slot.wanted {
            return;
        }
        slot.wanted = true;
        // An armed receive has been cancelled; its last completion arms the next one.
        if !slot.armed && !slot.starved {
            arm(&mut self.kernel, conn, slot);
        }
    }

    /// Stops receiving. What the kernel had already taken in is still delivered.
    pub fn stop_receive(&mut self, conn: ConnId) {
        let Some(slot) = self.connections.get(conn) else { return };
        if slot.closing == Closing::No {
            disarm(&mut self.kernel, conn, slot);
        }
    }

    /// Sends `buf` with the `shared` pieces standing in front of their offsets in it (ascending).
    /// [`Event::Sent`] follows when all of it is with the kernel, or has failed. On a connection
    /// that is closing or gone it fails at once.
    ///
    /// # Panics
    /// When a send is already in flight on the connection.
    pub fn send(&mut self, conn: ConnId, mut buf: Vec<u8>, shared: Vec<(usize, Bytes)>) {
        let slot = self.connections.get(conn).filter(|slot| slot.closing == Closing::No);
        let Some(slot) = slot else {
            buf.clear();
            let result = Err(io::ErrorKind::NotConnected.into());
            return self.local.push_back(Event::Sent { conn, result, buf });
        };
        assert!(!slot.sending, "one send at a time");
        slot.sending = true;
        slot.sent = 0;
        let fd = slot.fd.as_ref().expect("open until closed").as_fd();
        if shared.is_empty() {
            slot.send_len = buf.len();
            self.kernel.send(tag(Kind::Send, conn), fd, buf, 0);
        } else {
            let message = Message::new(buf, shared);
            slot.send_len = message.len();
            self.kernel.send_message(tag(Kind::Send, conn), fd, message);
        }
    }

    /// Closes a connection: nothing more is received, nothing new is sent. A soft close lets the
    /// send in flight finish however long it takes; a hard one (also after a soft one) cuts it.
    /// [`Event::Sent`] comes for a cut send too, [`Event::Closed`] is the last event. The peer
    /// sees an orderly end behind what was sent, or a reset if it was still sending. Closing
    /// again does nothing.
    pub fn close(&mut self, conn: ConnId, hard: bool) {
        let Some(slot) = self.connections.get(conn) else { return };
        match (slot.closing, hard) {
            (Closing::Last | Closing::Hard, _) | (Closing::Soft, false) => return,
            (Closing::No | Closing::Soft, true) => slot.closing = Closing::Hard,
            (Closing::No, false) => slot.closing = Closing::Soft,
        }
        if hard && slot.sending {
            slot.wanted = false;
            slot.cancels += 1;
            let fd = slot.fd.as_ref().expect("open until closed").as_fd();
            self.kernel.cancel_all_of(tag(Kind::CancelConn, conn), fd);
        } else {
            disarm(&mut self.kernel, conn, slot);
        }
        close_if_quiet(&mut self.kernel, conn, slot);
    }

    /// The peer's address as text: `ip:port`, a path, or empty when unknown. A system call.
    pub fn peer(&self, conn: ConnId) -> String {
        self.socket(conn).map(net::peer_text).unwrap_or_default()
    }

    /// Our end's address as text, like [`Ring::peer`].
    pub fn local(&self, conn: ConnId) -> String {
        self.socket(conn).map(net::local_text).unwrap_or_default()
    }

    /// Its descriptor's number, to be shown; -1 when it is gone.
    pub fn descriptor(&self, conn: ConnId) -> i32 {
        self.socket(conn).map_or(-1, AsRawFd::as_raw_fd)
    }

    fn socket(&self, conn: ConnId) -> Option<&OwnedFd> {
        let slot = self.connections.slots.get(conn.index as usize)?;
        if slot.generation == conn.generation { slot.fd.as_ref() } else { None }
    }

    /// Arms receives that found no buffer, as many as buffers are there.
    pub(super) fn feed_starved(&mut self) {
        if self.connections.starved.is_empty() {
            return;
        }
        let mut room = self.kernel.buffers().available();
        while room > 0
            && let Some(conn) = self.connections.starved.pop_front()
        {
            let Some(slot) = self.connections.get(conn) else { continue };
            slot.starved = false;
            if slot.wanted {
                arm(&mut self.kernel, conn, slot);
                room -= 1;
            }
        }
    }

    pub(super) fn receive_done(&mut self, done: Completion) -> Option<Event> {
        let (conn, slot) = self.connections.of(done.tag);
        assert!(slot.armed);
        slot.armed = done.more;
        let closing = slot.closing != Closing::No;
        let event = match (done.buffer, done.result) {
            (Some(data), _) if closing => {
                self.kernel.buffers_mut().give_back(data);
                None
            }
            (Some(data), _) => Some(Event::Received { conn, data }),
            (None, _) if closing => None,
            (None, Ok(_)) => {
                slot.wanted = false;
                Some(Event::Ended { conn, error: None })
            }
            (None, Err(error)) => match error.raw_os_error() {
                Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => None,
                Some(libc::ENOBUFS) => {
                    if slot.wanted {
                        slot.starved = true;
                        self.connections.starved.push_back(conn);
                    }
                    None
                }
                _ => {
                    slot.wanted = false;
                    Some(Event::Ended { conn, error: Some(error) })
                }
            },
        };
        let (_, slot) = self.connections.of(done.tag);
        if slot.wanted && !slot.armed && !slot.starved {
            arm(&mut self.kernel, conn, slot);
        }
        close_if_quiet(&mut self.kernel, conn, slot);
        event
    }

    pub(super) fn send_done(&mut self, done: Completion) -> Option<Event> {
        let (conn, slot) = self.connections.of(done.tag);
        assert!(slot.sending);
        let step = match done.result {
            Ok(n) => {
                slot.sent += n as usize;
                assert!(slot.sent <= slot.send_len);
                if n == 0 && slot.sent < slot.send_len {
                    Err(io::ErrorKind::WriteZero.into())
                } else {
                    Ok(n as usize)
                }
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => Ok(0),
            Err(error) => Err(error),
        };
        let failed = match step {
            Ok(n) if slot.sent < slot.send_len && slot.closing != Closing::Hard => {
                self.send_rest(done.tag, done.memory, n);
                return None;
            }
            Ok(_) if slot.sent < slot.send_len => {
                Some(io::Error::from_raw_os_error(libc::ECANCELED))
            }
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let result = failed.map_or(Ok(slot.sent), Err);
        slot.sending = false;
        close_if_quiet(&mut self.kernel, conn, slot);
        let mut buf = match done.memory {
            Memory::Bytes(buf) => buf,
            Memory::Message(message) => message.into_buf(),
            _ => unreachable!("a send holds its bytes"),
        };
        buf.clear();
        Some(Event::Sent { conn, result, buf })
    }

    /// Goes on with a send of which the kernel took `n` bytes this time.
    fn send_rest(&mut self, tag: Tag, memory: Memory, n: usize) {
        let (_, slot) = self.connections.of(tag);
        let fd = slot.fd.as_ref().expect("open while sending").as_fd();
        match memory {
            Memory::Bytes(buf) => self.kernel.send(tag, fd, buf, slot.sent),
            Memory::Message(mut message) => {
                message.advance(n);
                self.kernel.send_message(tag, fd, message);
            }
            _ => unreachable!("a send holds its bytes"),
        }
    }

    pub(super) fn cancel_done(&mut self, tag: Tag) -> Option<Event> {
        let (conn, slot) = self.connections.of(tag);
        assert!(slot.cancels > 0);
        slot.cancels -= 1;
        close_if_quiet(&mut self.kernel, conn, slot);
        None
    }

    pub(super) fn close_done(&mut self, tag: Tag) -> Option<Event> {
        let (conn, slot) = self.connections.of(tag);
        assert_eq!(slot.closing, Closing::Last);
        self.connections.release(conn.index);
        self.retry_paused();
        Some(Event::Closed { conn })
    }
}
