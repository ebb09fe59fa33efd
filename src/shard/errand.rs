//! Errands: work for a client that may wait for a disk, and so must not be done by a shard.
//!
//! A thread of the process does it; the connection waits, everything else goes on. The reply comes
//! back as that of a batch with one part.

use std::sync::Arc;

use crate::client::Conn;
use crate::client::output::{Merged, Remote};
use crate::command::table::SessionRun;
use crate::command::{Args, Command, Session};
use crate::resp::Reply;
use crate::shard::core::Shard;
use crate::shard::message::{JobDone, Message, ReplyTo};

/// What the thread for errands runs.
pub type Errand = Box<dyn FnOnce() + Send>;
/// Work whose outcome a client is told: `OK`, or the text of an error.
pub type Work = Box<dyn FnOnce() -> Result<(), String> + Send>;

fn tell(reply: &mut Reply, outcome: Result<(), String>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(text) => reply.error(text.as_bytes()),
    }
}

impl Shard {
    /// Runs a command of a transaction that acts on the client or the server. Nobody waits there:
    /// what would be done aside is done at once, with the disk it needs.
    pub(super) fn run_unwaiting(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        code: SessionRun,
        args: &Args<'_>,
        out: &mut Reply,
    ) {
        let at = out.checkpoint();
        self.run_session(session, command, code, args, out);
        self.wish = None;
        if let Some(work) = self.aside.take() {
            out.cut_back(at);
            tell(out, work());
        }
    }

    /// Does `work` aside; its outcome is the reply of the command that has just run on `conn`.
    pub(super) fn tell_when_done(&mut self, conn: &mut Conn, work: Work) {
        let batch = self.name();
        conn.blocked = true;
        conn.output.push_remote(Remote {
            id: batch,
            missing: 1,
            commands: vec![Merged::One { part: 0, item: 0 }],
            parts: vec![None],
            estimate: 0,
            bytes: 0,
            quiet: conn.session.is_muted(),
        });
        let to = ReplyTo { shard: self.id, conn: conn.key, batch, part: 0, words: 0 };
        let (order, resp3) = (Arc::clone(&self.order), conn.session.resp3);
        self.global.run_errand(Box::new(move || {
            let mut reply = Reply::new(resp3);
            tell(&mut reply, work());
            let ends = vec![reply.checkpoint()];
            order.push(to.shard, Message::Done(Box::new(JobDone { to, reply, ends })));
        }));
        self.mark_dirty(conn);
    }
}
