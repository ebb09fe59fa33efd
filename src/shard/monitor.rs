//! MONITOR: clients that are told every command.
//!
//! A command is shown by the shard of the client that sent it, where it is taken in, so the lines
//! of one connection stand in the order of its requests whoever executes them; commands of a
//! transaction are shown when it is executed. The lines of a turn go to every shard where somebody
//! listens, in front of the replies of that turn. While nobody listens, all this is one look at an
//! empty list per request.

use bytes::Bytes;

use crate::client::Conn;
use crate::command::{Args, Command, Session, monitor};
use crate::keyspace::Looked;
use crate::resp::Reply;
use crate::shard::core::{Push, Shard};
use crate::shard::message::Message;

/// Lines gathered at most before they are sent on, in bytes.
const SHOWN_MAX: usize = 1 << 20;
/// Lines that may wait for one client to read them, in bytes; beyond, it is sent away.
const UNREAD_MAX: usize = 32 << 20;

impl Shard {
    /// A client listens from here on.
    pub(super) fn listen(&mut self, conn: &mut Conn) {
        conn.session.monitor = true;
        self.clients.listeners.push(conn.key);
    }

    /// It does so no longer.
    pub(super) fn stop_listening(&mut self, conn: &mut Conn) {
        conn.session.monitor = false;
        self.clients.listeners.retain(|key| *key != conn.key);
        self.tell_if_deaf();
    }

    /// Tells all shards when nobody listens here any more.
    pub(super) fn tell_if_deaf(&mut self) {
        if self.clients.listeners.is_empty() {
            let id = self.id;
            self.replies.extend((0..self.order.shards()).map(|s| (s, Message::Deaf(id))));
        }
    }

    /// Shows a command that is executed to those who listen.
    pub(super) fn show(
        &mut self,
        session: &Session,
        db: usize,
        command: &'static Command,
        args: &Args<'_>,
    ) {
        if self.clients.listening.is_empty() || !monitor::is_shown(command) {
            return;
        }
        let place = session.place.as_deref();
        monitor::write_line(&mut self.clients.shown, self.now, db, place, command, args);
        if self.clients.shown.len() > SHOWN_MAX {
            self.send_shown();
        }
    }

    /// Sends on what has been shown since the last time.
    pub(super) fn send_shown(&mut self) {
        if self.clients.shown.is_empty() {
            return;
        }
        let lines = Bytes::from(std::mem::take(&mut self.clients.shown));
        for at in 0..self.clients.listening.len() {
            let shard = self.clients.listening[at];
            if shard == self.id {
                self.hear(&lines);
            } else {
                self.pushes.push(Push::Plain(shard, Message::Shown(lines.clone())));
            }
        }
    }

    /// Tells lines to those who listen here.
    pub(super) fn hear(&mut self, lines: &Bytes) {
        for at in 0..self.clients.listeners.len() {
            // Whoever is being worked on has just begun to listen.
            let Some(mut conn) = self.take_conn(self.clients.listeners[at]) else { continue };
            if !conn.ended && !conn.session.is_muted() {
                self.whisper(&mut conn, lines);
            }
            self.put_conn(conn);
        }
    }

    fn whisper(&mut self, conn: &mut Conn, lines: &Bytes) {
        if conn.output.slots.is_empty() {
            conn.output.ready.raw(lines);
        } else {
            let mut reply = Reply::new(conn.session.resp3);
            reply.raw(lines);
            conn.output.hold(0, Looked::default(), reply);
        }
        self.account(conn);
        if conn.output.len() > UNREAD_MAX {
            self.stats().output_buffer_disconnections.add(1);
            self.send_away(conn);
        }
        self.mark_dirty(conn);
    }
}
