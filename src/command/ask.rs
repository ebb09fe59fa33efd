//! Commands that concern every shard's clients: what is asked of the shards, what each answers, and
//! the reply that is made of the answers.
//!
//! Such a command writes no reply itself. It leaves an [`Ask`] with the server; every shard
//! concerned does its part and answers, and the connection waits for the last answer.

use crate::resp::Reply;

/// What sort of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whoever just sends commands, those that listen by MONITOR included.
    Normal,
    /// Who this server follows.
    Master,
    /// Who follows this server.
    Replica,
    /// Who listens to channels.
    Pubsub,
}

impl Kind {
    /// The sort of that name.
    pub fn named(name: &[u8]) -> Option<Kind> {
        let names: [(&[u8], Kind); 5] = [
            (b"normal", Kind::Normal),
            (b"slave", Kind::Replica),
            (b"replica", Kind::Replica),
            (b"pubsub", Kind::Pubsub),
            (b"master", Kind::Master),
        ];
        names.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
    }
}

/// Which clients are meant: those that meet everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these ids.
    pub ids: Option<Vec<u64>>,
    /// Of this sort.
    pub kind: Option<Kind>,
    /// From this address.
    pub addr: Option<Vec<u8>>,
    /// Connected to this address of ours.
    pub local: Option<Vec<u8>>,
    /// Not this client.
    pub spared: Option<u64>,
}

/// What is asked of the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Lines about clients, as CLIENT LIST shows them.
    Lines {
        /// About which.
        filter: Filter,
        /// About nobody but the client itself: no other shard is asked.
        own: bool,
    },
    /// Close the connections of these clients.
    Kill {
        /// Whose.
        filter: Filter,
        /// Asked by address alone: the reply is no number.
        plain: bool,
    },
    /// Postpone requests.
    Pause {
        /// Until when, in monotonic microseconds.
        until_us: u64,
        /// All of them, not writes alone.
        all: bool,
    },
    /// Take up what was postponed.
    Unpause,
    /// Wake a client that waits in a command.
    Unblock {
        /// Which.
        client: u64,
        /// By an error, not as if its time were over.
        error: bool,
    },
    /// Tell this shard what is executed.
    Monitor {
        /// The shard of whoever listens.
        shard: usize,
    },
}

/// What one shard answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Lines by client id.
    Lines(Vec<(u64, Vec<u8>)>),
    /// How many clients it concerned.
    Count(u64),
}

impl Answer {
    /// Bytes it holds.
    pub fn size(&self) -> usize {
        match self {
            Answer::Lines(lines) => lines.iter().map(|(_, line)| line.len()).sum(),
            Answer::Count(_) => 0,
        }
    }
}

/// A question under way.
#[derive(Debug)]
pub struct Asked {
    /// The question.
    pub ask: Ask,
    /// The answers so far.
    pub answers: Vec<Answer>,
    /// Whether whoever asks spoke RESP3 then.
    pub resp3: bool,
}

impl Asked {
    /// The reply, once all have answered.
    pub fn reply(self, out: &mut Reply) {
        out.resp3 = self.resp3;
        let mut lines = Vec::new();
        let mut count = 0;
        for answer in self.answers {
            match answer {
                Answer::Lines(some) => lines.extend(some),
                Answer::Count(n) => count += n,
            }
        }
        match self.ask {
            Ask::Lines { filter, .. } => {
                lines.sort_unstable_by_key(|(id, _)| *id);
                out.verbatim("txt", &text(&lines, filter.ids.as_deref()));
            }
            Ask::Kill { plain: false, .. } | Ask::Unblock { .. } => out.int(count as i64),
            Ask::Kill { .. } if count == 0 => out.error(b"ERR No such client"),
            Ask::Kill { .. } | Ask::Pause { .. } | Ask::Unpause | Ask::Monitor { .. } => out.ok(),
        }
    }
}

/// The lines by id, or in the order in which ids were named.
fn text(sorted: &[(u64, Vec<u8>)], named: Option<&[u64]>) -> Vec<u8> {
    let mut text = Vec::new();
    let mut push = |line: &[u8]| {
        text.extend_from_slice(line);
        text.push(b'\n');
    };
    match named {
        None => sorted.iter().for_each(|(_, line)| push(line)),
        Some(ids) => {
            for id in ids {
                if let Ok(at) = sorted.binary_search_by_key(id, |(id, _)| *id) {
                    push(&sorted[at].1);
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(ask: Ask, answers: Vec<Answer>) -> String {
        let mut out = Reply::new(false);
        Asked { ask, answers, resp3: out.resp3 }.reply(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn lines(ids: &[u64]) -> Answer {
        Answer::Lines(ids.iter().map(|id| (*id, format!("id={id}").into_bytes())).collect())
    }

    #[test]
    fn lines_are_sorted_or_in_the_order_asked_for() {
        let answers = || vec![lines(&[7, 3]), lines(&[]), lines(&[5])];
        let all = Ask::Lines { filter: Filter::default(), own: false };
        assert_eq!(reply(all, answers()), "$15\r\nid=3\nid=5\nid=7\n\r\n");
        let filter = Filter { ids: Some(vec![5, 9, 3, 5]), ..Filter::default() };
        let some = Ask::Lines { filter, own: false };
        assert_eq!(reply(some, answers()), "$15\r\nid=5\nid=3\nid=5\n\r\n");
    }

    #[test]
    fn kill_counts() {
        let kill = |plain| Ask::Kill { filter: Filter::default(), plain };
        let answers = |n| vec![Answer::Count(n), Answer::Count(0), Answer::Count(n)];
        assert_eq!(reply(kill(false), answers(2)), ":4\r\n");
        assert_eq!(reply(kill(true), answers(1)), "+OK\r\n");
        assert_eq!(reply(kill(true), answers(0)), "-ERR No such client\r\n");
        assert_eq!(reply(Ask::Unpause, answers(0)), "+OK\r\n");
        let unblock = || Ask::Unblock { client: 7, error: false };
        assert_eq!(reply(unblock(), answers(0)), ":0\r\n");
        assert_eq!(reply(unblock(), vec![Answer::Count(0), Answer::Count(1)]), ":1\r\n");
    }
}
