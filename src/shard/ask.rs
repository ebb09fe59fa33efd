//! Questions to all shards: how they are spread, answered, and put into the reply they belong to.

use crate::client::Conn;
use crate::client::output::{Merged, Parts, Remote};
use crate::command::{Answer, Ask, Asked};
use crate::resp::Reply;
use crate::shard::core::Shard;
use crate::shard::message::{Message, ReplyTo};

impl Shard {
    /// Puts the reply of a command that has asked something in its place: it leaves when all
    /// shards concerned have answered. The connection waits.
    pub(super) fn tell_when_answered(&mut self, conn: &mut Conn, reply: Reply) {
        if self.clients.asked.iter().any(|(.., ask)| matches!(ask, Ask::Monitor { .. })) {
            self.listen(conn);
        }
        let id = self.name();
        let to = ReplyTo { shard: self.id, conn: conn.key, batch: id, part: 0, words: 0 };
        let (commands, missing) = self.take_asked(reply, to);
        let (estimate, quiet) = (0, conn.session.is_muted());
        let bytes = commands.iter().map(Merged::size).sum();
        let parts = Parts::new();
        conn.blocked = true;
        conn.output.push_remote(Remote { id, missing, commands, parts, estimate, bytes, quiet });
        self.mark_dirty(conn);
    }

    /// Spreads what was asked while `reply` was written; gives the reply in pieces, and how many
    /// answers are to be waited for.
    pub(super) fn take_asked(&mut self, mut reply: Reply, to: ReplyTo) -> (Vec<Merged>, usize) {
        let mut pieces = Vec::new();
        let mut missing = 0;
        // From the end, so that what stands in front keeps its places.
        for (at, resp3, ask) in std::mem::take(&mut self.clients.asked).into_iter().rev() {
            pieces.push(Merged::Ready(reply.split_off(at)));
            pieces.push(Merged::Asked(Box::new(Asked { ask, answers: Vec::new(), resp3 })));
        }
        pieces.push(Merged::Ready(reply));
        pieces.reverse();
        for (part, piece) in pieces.iter().enumerate() {
            let Merged::Asked(asked) = piece else { continue };
            let to = ReplyTo { part, ..to };
            let own = matches!(asked.ask, Ask::Lines { own: true, .. });
            for shard in (0..self.shards()).filter(|shard| !own || *shard == self.id) {
                missing += 1;
                let ask = Box::new(asked.ask.clone());
                self.replies.push((shard, Message::Asked { to, ask }));
            }
        }
        (pieces, missing)
    }

    /// Does this shard's part of what is asked.
    pub(super) fn answer_to(&mut self, ask: &Ask, to: ReplyTo) -> Answer {
        let asked_by = (to.shard == self.id).then_some(to.conn);
        match ask {
            Ask::Lines { filter, .. } => return Answer::Lines(self.lines(filter)),
            Ask::Kill { filter, .. } => return Answer::Count(self.kill(filter, asked_by)),
            Ask::Pause { until_us, all } => self.begin_pause(*until_us, *all),
            Ask::Unpause => self.unpause(),
            Ask::Unblock { client, error } => {
                return Answer::Count(self.unblock(*client, *error));
            }
            Ask::Monitor { shard } => {
                if !self.clients.listening.contains(shard) {
                    self.clients.listening.push(*shard);
                }
            }
        }
        Answer::Count(1)
    }
}
