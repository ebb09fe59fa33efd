//! Listening sockets: multishot accept, armed again by itself, with a pause when the process has
//! run out of descriptors or memory (until a connection closes or a timer fires).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::kernel::{Completion, Kind, Tag};
use super::{Event, Ring, net};

/// How long accepting rests when there are no descriptors and no connection closes.
const PAUSE: Duration = Duration::from_millis(100);

/// One listening socket; its number is its place in the ring's list, never reused.
pub(super) struct Listener {
    /// `None` once closed.
    fd: Option<OwnedFd>,
    armed: bool,
    /// Waits for a close or its timer.
    paused: bool,
    closing: bool,
}

fn tag(listener: u32) -> Tag {
    Tag::new(Kind::Accept, listener, 0)
}

impl Ring {
    /// Accepts connections on a listening socket and returns the listener's number. Accepted
    /// sockets inherit `TCP_NODELAY`, set here, and the keepalive of [`net::set_keepalive`].
    pub fn listen(&mut self, socket: OwnedFd) -> u32 {
        net::prepare_listener(&socket);
        let number = self.listeners.len() as u32;
        let listener = Listener { fd: Some(socket), armed: false, paused: false, closing: false };
        self.listeners.push(listener);
        self.arm_accept(number);
        number
    }

    /// Changes the keepalive, in seconds (0: off), of connections accepted from now on.
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn set_keepalive(&mut self, listener: u32, seconds: u32) -> io::Result<()> {
        match self.listeners.get(listener as usize).and_then(|found| found.fd.as_ref()) {
            Some(fd) => net::set_keepalive(fd, seconds),
            None => Ok(()),
        }
    }

    /// Stops accepting and closes the socket; [`Ring::is_listening`] turns false when it is done.
    pub fn unlisten(&mut self, listener: u32) {
        let found = &mut self.listeners[listener as usize];
        if found.closing {
            return;
        }
        found.closing = true;
        found.paused = false;
        if found.armed {
            self.kernel.cancel(Tag::new(Kind::Ignore, 0, 0), tag(listener));
        } else if let Some(fd) = found.fd.take() {
            self.kernel.close(Tag::new(Kind::Ignore, 0, 0), fd);
        }
    }

    /// Whether the listener's socket is still open.
    pub fn is_listening(&self, listener: u32) -> bool {
        self.listeners.get(listener as usize).is_some_and(|found| found.fd.is_some())
    }

    fn arm_accept(&mut self, number: u32) {
        let listener = &mut self.listeners[number as usize];
        assert!(!listener.armed && !listener.closing);
        listener.armed = true;
        listener.paused = false;
        let fd = listener.fd.as_ref().expect("open until closed");
        self.kernel.accept(tag(number), fd.as_fd());
    }

    pub(super) fn accept_done(&mut self, done: Completion) -> Option<Event> {
        let number = done.tag.index;
        let listener = &mut self.listeners[number as usize];
        assert!(listener.armed);
        listener.armed = done.more;
        if listener.closing {
            if !done.more
                && let Some(fd) = listener.fd.take()
            {
                self.kernel.close(Tag::new(Kind::Ignore, 0, 0), fd);
            }
            // One that came in while closing is dropped, as the backlog is.
            return None;
        }
        let event = match (done.descriptor, done.result) {
            (Some(fd), _) => Some(match self.connections.insert(fd) {
                Ok(conn) => Event::Accepted { listener: number, conn },
                Err(_dropped) => {
                    let error = io::Error::other("no free connection slot");
                    Event::AcceptFailed { listener: number, error }
                }
            }),
            (None, Err(error)) if passing(&error) => None,
            (None, Err(error)) => {
                self.pause_accept(number);
                return Some(Event::AcceptFailed { listener: number, error });
            }
            (None, Ok(_)) => unreachable!("an accept returns a descriptor"),
        };
        if !done.more {
            self.arm_accept(number);
        }
        event
    }

    fn pause_accept(&mut self, number: u32) {
        let listener = &mut self.listeners[number as usize];
        if !listener.armed && !listener.paused {
            listener.paused = true;
            self.kernel.timer(Tag::new(Kind::ListenRetry, number, 0), PAUSE);
        }
    }

    /// A pause has ended.
    pub(super) fn accept_again(&mut self, number: u32) -> Option<Event> {
        if self.listeners[number as usize].paused {
            self.arm_accept(number);
        }
        None
    }

    /// A descriptor has become free: listeners that wait for one try again.
    pub(super) fn retry_paused(&mut self) {
        for number in 0..self.listeners.len() as u32 {
            self.accept_again(number);
        }
    }
}

/// Failures of the connection that came in, not of accepting.
fn passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EAGAIN
                | libc::EPROTO
                | libc::ECANCELED
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
                | libc::ENOPROTOOPT
        )
    )
}
