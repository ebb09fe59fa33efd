//! Who waits for the end of a snapshot, and what they are told.

use crate::resp::Reply;
use crate::shard::message::ReplyTo;

/// Clients that wait for the end of a snapshot.
#[derive(Clone, Debug)]
pub enum Waits {
    /// There are none.
    Nobody,
    /// The one whose SAVE it is, and whether it speaks RESP3.
    Saver(ReplyTo, bool),
    /// Those whose FLUSHALL it follows. Their replies stand behind the places named here, which
    /// stay empty whatever becomes of the file, as in Redis.
    Emptied(Vec<ReplyTo>),
}

impl Waits {
    /// The replies.
    pub fn told(self, outcome: &Result<(), String>) -> Vec<(ReplyTo, Reply)> {
        match self {
            Waits::Nobody => Vec::new(),
            Waits::Saver(to, resp3) => {
                let mut reply = Reply::new(resp3);
                match outcome {
                    Ok(()) => reply.ok(),
                    Err(text) => reply.error(text.as_bytes()),
                }
                vec![(to, reply)]
            }
            Waits::Emptied(all) => all.into_iter().map(|to| (to, Reply::new(false))).collect(),
        }
    }
}
