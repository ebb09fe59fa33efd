//! CLIENT PAUSE: requests are postponed, all of them or those that could write, and what is past
//! its expiry stays where it is.
//!
//! Every shard is told by message and answers; who paused is answered when all have. From then on
//! nobody can see a write that came after the pause: what a shard had sent on before it was told
//! stands in the inbox of its owner, in front of whatever asks for its effect.

use crate::client::Conn;
use crate::command::{Command, Flags, Run};
use crate::shard::batch::Batch;
use crate::shard::core::Shard;

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Until when, in monotonic microseconds.
    until_us: u64,
    /// Of everything, not of writes alone.
    all: bool,
}

impl Pause {
    /// How long it will go on.
    pub fn left_us(self, now_us: u64) -> u64 {
        self.until_us.saturating_sub(now_us)
    }
}

impl Shard {
    /// Pauses. While there is a pause already, the stricter one and the longer one count.
    pub(super) fn begin_pause(&mut self, until_us: u64, all: bool) {
        let before = self.clients.pause.unwrap_or(Pause { until_us: 0, all: false });
        let until_us = before.until_us.max(until_us);
        self.clients.pause = Some(Pause { until_us, all: before.all || all });
        if let Some(space) = &mut self.space {
            space.expiry_paused = true;
        }
    }

    /// Ends a pause whose time is over.
    pub(super) fn end_pause(&mut self) {
        if self.clients.pause.is_some_and(|pause| pause.left_us(self.now.mono_us) == 0) {
            self.unpause();
        }
    }

    /// Takes up what was postponed.
    pub(super) fn unpause(&mut self) {
        self.clients.pause = None;
        if let Some(space) = &mut self.space {
            space.expiry_paused = false;
        }
        for key in std::mem::take(&mut self.clients.postponed) {
            let Some(mut conn) = self.take_conn(key) else { continue };
            conn.postponed = false;
            conn.blocked = false;
            self.go_on(&mut conn);
            self.put_conn(conn);
        }
    }

    /// Whether a request has to wait for the end of the pause. The connection is then gone on with
    /// when that has come, or when what it has with other shards has come back.
    pub(super) fn is_postponed(
        &mut self,
        conn: &mut Conn,
        batch: &Option<Batch>,
        command: &'static Command,
    ) -> bool {
        let Some(pause) = self.clients.pause else { return false };
        if pause.left_us(self.now.mono_us) == 0 || !(pause.all || may_write(conn, command)) {
            return false;
        }
        if !self.is_out(conn, batch) {
            conn.blocked = true;
            if !conn.postponed {
                conn.postponed = true;
                self.clients.postponed.push(conn.key);
            }
        }
        true
    }
}

/// Whether a command, or the transaction that it executes, could change anything.
fn may_write(conn: &Conn, command: &'static Command) -> bool {
    let one = |command: &Command| {
        command.flags.has(Flags::WRITE) || command.flags.has(Flags::MAY_REPLICATE)
    };
    let exec = matches!(command.run, Run::Control(crate::command::table::Control::Exec));
    let queue = conn.session.multi.as_ref().filter(|_| exec);
    one(command) || queue.is_some_and(|m| m.queue.iter().any(|(command, _)| one(command)))
}
