//! Errands: work for a client that may wait for a disk, and so must not be done by a shard.
//!
//! A thread of the process does it; the connection waits, everything else goes on. The reply comes
//! back as that of a batch with one part.

use std::sync::Arc;

use crate::client::Conn;
use crate::client::output::{Merged, Remote};
use crate::resp::Reply;
use crate::shard::core::Shard;
use crate::shard::message::{JobDone, Message, ReplyTo};

/// What the thread for errands runs.
pub type Errand = Box<dyn FnOnce() + Send>;
/// Work whose outcome a client is told: `OK`, or the text of an error.
pub type Work = Box<dyn FnOnce() -> Result<(), String> + Send>;

impl Shard {
    /// Puts a batch with one part into the output, in whose place the reply will come.
    pub(super) fn stand_in_for_one(&mut self, conn: &mut Conn) -> ReplyTo {
        let batch = self.name();
        conn.blocked = true;
        conn.output.push_remote(Remote {
            id: batch,
            missing: 1,
            commands: vec![Merged::One { part: 0, item: 0 }],
            parts: smallvec::smallvec![None],
            estimate: 0,
            bytes: 0,
            quiet: conn.session.is_muted(),
        });
        self.mark_dirty(conn);
        ReplyTo { shard: self.id, conn: conn.key, batch, part: 0, words: 0 }
    }

    /// Does `work` aside; its outcome is the reply of the command that has just run on `conn`.
    pub(super) fn tell_when_done(&mut self, conn: &mut Conn, work: Work) {
        let to = self.stand_in_for_one(conn);
        let (order, resp3) = (Arc::clone(&self.order), conn.session.resp3);
        self.global.run_errand(Box::new(move || {
            let mut reply = Reply::new(resp3);
            match work() {
                Ok(()) => reply.ok(),
                Err(text) => reply.error(text.as_bytes()),
            }
            order.push(to.shard, Message::Done(JobDone::alone(to, reply)));
        }));
    }
}
