//! Clients that wait in a command: WAIT for replicas, of which there are none, and WAITAOF for the
//! disk.
//!
//! WAITAOF asks every shard for the word it gives when a policy has become stricter: that all it
//! has executed so far is durable and released. A shard that owes such a word flushes at once,
//! whatever its policy; what has come meanwhile shares the next flush.

use crate::client::output::{Merged, Parts, Remote};
use crate::client::{Conn, ConnKey};
use crate::command::session::Wait;
use crate::command::standalone::NO_LOG;
use crate::resp::Reply;
use crate::shard::core::Shard;
use crate::shard::message::ReplyTo;

/// A client that waits.
#[derive(Debug)]
pub struct Blocked {
    conn: ConnKey,
    /// The batch in its output that stands for the command.
    id: u64,
    wait: Wait,
    /// Shards have been asked for their word: the log is what a start loads.
    asked: bool,
}

impl Blocked {
    /// Whether it is this client.
    pub(super) fn is_of(&self, key: ConnKey) -> bool {
        self.conn == key
    }
}

impl Shard {
    /// Makes a client wait.
    pub(super) fn block(&mut self, conn: &mut Conn, wait: Wait) {
        let id = self.name();
        // Replicas never answer.
        let missing = usize::from(wait.replicas) + if wait.durable { self.shards() } else { 0 };
        let reply = answer(conn.session.resp3, &wait, wait.durable);
        let bytes = reply.len();
        let (commands, parts) = (vec![Merged::Ready(reply)], Parts::new());
        conn.blocked = true;
        let quiet = conn.session.is_muted();
        conn.output.push_remote(Remote { id, missing, commands, parts, estimate: 0, bytes, quiet });
        self.mark_dirty(conn);
        let asked = wait.durable && self.global.turning.is_on();
        if asked {
            self.spread_stricter(self.reply_to(conn.key, id));
        }
        self.blocked.push(Blocked { conn: conn.key, id, wait, asked });
    }

    fn reply_to(&self, conn: ConnKey, batch: u64) -> ReplyTo {
        ReplyTo { shard: self.id, conn, batch, part: 0, words: 0 }
    }

    /// Answers clients whose time to wait is over, and forgets those that wait no more.
    pub(super) fn end_waits(&mut self) {
        if self.blocked.is_empty() {
            return;
        }
        let (now, durable) = (self.now.mono_us, self.all_durable());
        let is_on = self.global.turning.is_on();
        for mut blocked in std::mem::take(&mut self.blocked) {
            if blocked.wait.durable && !blocked.asked && is_on {
                blocked.asked = true;
                self.spread_stricter(self.reply_to(blocked.conn, blocked.id));
            }
            let Blocked { conn, id, wait, .. } = &blocked;
            let over = wait.deadline.is_some_and(|at| at <= now);
            let waits = self.conn_mut(*conn).and_then(|conn| {
                let resp3 = conn.session.resp3;
                conn.output.change_remote(*id, |remote| (remote.missing > 0).then_some(resp3))?
            });
            let Some(resp3) = waits else { continue };
            if over {
                self.end_wait(&blocked, resp3, durable);
            } else {
                self.blocked.push(blocked);
            }
        }
    }

    /// The log is turned off: who waits for it is told so.
    pub(super) fn refuse_waits(&mut self) {
        let (refused, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.blocked).into_iter().partition(|b| b.wait.durable);
        self.blocked = others;
        for Blocked { conn, id, .. } in refused {
            let resp3 = self.conn(conn).is_some_and(|conn| conn.session.resp3);
            self.arrived(self.reply_to(conn, id), |remote| {
                if remote.missing == 0 {
                    return false;
                }
                let mut reply = Reply::new(resp3);
                reply.error(NO_LOG.as_bytes());
                remote.missing = 0;
                remote.commands = vec![Merged::Ready(reply)];
                true
            });
        }
    }

    /// Tells a client how far things have come.
    fn end_wait(&mut self, blocked: &Blocked, resp3: bool, durable: bool) {
        let Blocked { conn, id, wait, .. } = blocked;
        let others = usize::from(wait.replicas);
        self.arrived(self.reply_to(*conn, *id), |remote| {
            let durable = if wait.durable { remote.missing <= others } else { durable };
            remote.missing = 0;
            remote.commands = vec![Merged::Ready(answer(resp3, wait, durable))];
            true
        });
    }

    /// CLIENT UNBLOCK: ends a client's wait, as if its time were over or by an error. Gives the
    /// number of clients woken.
    pub(super) fn unblock(&mut self, client: u64, error: bool) -> u64 {
        if self.unblock_key_wait(client, error) {
            return 1;
        }
        let durable = self.all_durable();
        for at in 0..self.blocked.len() {
            let (conn, id) = (self.blocked[at].conn, self.blocked[at].id);
            let waits = self.conn_mut(conn).filter(|conn| conn.session.id == client);
            let Some(resp3) = waits.and_then(|conn| {
                let resp3 = conn.session.resp3;
                conn.output.change_remote(id, |remote| (remote.missing > 0).then_some(resp3))?
            }) else {
                continue;
            };
            let blocked = self.blocked.remove(at);
            if error {
                self.arrived(self.reply_to(conn, id), |remote| {
                    let mut reply = Reply::new(resp3);
                    reply.error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK");
                    remote.missing = 0;
                    remote.commands = vec![Merged::Ready(reply)];
                    true
                });
            } else {
                self.end_wait(&blocked, resp3, durable);
            }
            return 1;
        }
        0
    }

    /// When the first of those clients has waited long enough, in monotonic microseconds.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let waits = self.blocked.iter().filter_map(|b| b.wait.deadline).min();
        waits.into_iter().chain(self.key_waits.next_deadline()).min()
    }

    /// Whether all that any shard is known to have executed is durable.
    pub(super) fn all_durable(&self) -> bool {
        let Some(log) = self.log.as_ref().filter(|_| self.global.turning.is_on()) else {
            return false;
        };
        // While the data is with a transaction, what it had before was made known in front of it.
        let known = self.stats().log_position.get();
        let end = self.space.as_ref().map_or(known.max(log.gathered()), |s| s.effects.end());
        let stats = self.global.registry.shards.iter().enumerate();
        let others = stats.filter(|(shard, _)| *shard != self.id);
        log.durable() >= end
            && others.map(|o| o.1).all(|s| s.log_durable.get() >= s.log_position.get())
    }
}

fn answer(resp3: bool, wait: &Wait, durable: bool) -> Reply {
    let mut reply = Reply::new(resp3);
    if wait.pair {
        reply.array(2);
        reply.int(i64::from(durable));
    }
    reply.int(0);
    reply
}
