//! The ordered output of a connection.
//!
//! Replies leave in the order of the requests. What may leave stands in `ready`; behind it come
//! slots that wait: replies held until the shard's release point has passed their position, and
//! batches whose parts other shards execute.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::command::{Answer, Asked, Merge};
use crate::keyspace::Looked;
use crate::resp::{Checkpoint, Reply};

/// One thing that waits in front of a connection's later replies.
#[derive(Debug)]
pub enum Slot {
    /// Executed here; leaves once the release point is at `position` or beyond.
    Held {
        /// Log position of the executing shard.
        position: u64,
        /// What they tell of.
        looked: Looked,
        /// The encoded replies.
        reply: Reply,
    },
    /// Executed elsewhere, or by several shards.
    Remote(Box<Remote>),
}

/// Where each item's reply ends.
pub type Ends = SmallVec<[Checkpoint; 1]>;
/// Replies and their ends by part, of those that are here.
pub type Parts = SmallVec<[Option<(Reply, Ends)>; 1]>;

/// A batch whose parts are with their shards.
#[derive(Debug)]
pub struct Remote {
    /// Names the batch among those of this shard.
    pub id: u64,
    /// Parts that have not come back.
    pub missing: usize,
    /// Its commands in order.
    pub commands: Vec<Merged>,
    /// The parts' replies, by part.
    pub parts: Parts,
    /// Bytes that the requests take and the replies will presumably take; counts until all are
    /// here.
    pub estimate: usize,
    /// Bytes of the replies that are here.
    pub bytes: usize,
    /// Its replies are kept from the client (CLIENT REPLY).
    pub quiet: bool,
}

/// How one command of a batch gets its reply.
#[derive(Debug)]
pub enum Merged {
    /// It is here already.
    Ready(Reply),
    /// It is kept from the client (CLIENT REPLY).
    Nothing,
    /// It is made of what shards answer.
    Asked(Box<Asked>),
    /// One item of one part.
    One {
        /// Which part.
        part: usize,
        /// Which of its items.
        item: usize,
    },
    /// Items of several parts become one reply.
    Many {
        /// How.
        merge: Merge,
        /// (part, item, places of its elements in the whole).
        pieces: Vec<(usize, usize, Vec<u32>)>,
        /// Elements of the whole, for [`Merge::PerKey`].
        count: usize,
        /// A draw for [`Merge::Random`], or how many keys are asked for with [`Merge::Scan`].
        draw: u64,
    },
}

impl Merged {
    /// Bytes of the reply, as far as it is here.
    pub fn size(&self) -> usize {
        match self {
            Merged::Ready(reply) => reply.len(),
            Merged::Asked(asked) => asked.answers.iter().map(Answer::size).sum(),
            _ => 0,
        }
    }
}

impl Remote {
    /// Takes a shard's answer to the question that is command `at`; true when it was the last.
    pub fn answered(&mut self, at: usize, answer: Answer) -> bool {
        if let Some(Merged::Asked(asked)) = self.commands.get_mut(at) {
            self.bytes += answer.size();
            asked.answers.push(answer);
        }
        self.missing -= 1;
        self.missing == 0
    }

    /// Takes a part's replies; true when it was the last.
    pub fn arrive(&mut self, part: usize, reply: Reply, ends: Ends) -> bool {
        assert!(self.parts[part].is_none(), "a part answers once");
        self.bytes += reply.len();
        self.parts[part] = Some((reply, ends));
        self.missing -= 1;
        self.missing == 0
    }

    /// Bytes this counts for in its connection's output.
    fn cost(&self) -> usize {
        if self.missing > 0 { self.estimate.max(self.bytes) } else { self.bytes }
    }

    /// Bytes of what is here and will be sent.
    fn replied(&self) -> usize {
        let kept = |command: &Merged| matches!(command, Merged::Nothing);
        if self.quiet || self.commands.iter().all(kept) { 0 } else { self.bytes }
    }

    /// Puts the replies of a complete batch together.
    pub fn finish(&mut self, out: &mut Reply) {
        debug_assert_eq!(self.missing, 0);
        if self.quiet {
            return;
        }
        for command in std::mem::take(&mut self.commands) {
            match command {
                Merged::Ready(reply) => out.append(reply),
                Merged::Nothing => {}
                Merged::Asked(asked) => asked.reply(out),
                Merged::One { part, item } => {
                    let (reply, from, to) = self.piece(part, item);
                    out.append_range(reply, from, to);
                }
                Merged::Many { merge, pieces, count, draw } => {
                    self.merge(merge, &pieces, count, draw, out);
                }
            }
        }
    }

    fn piece(&self, part: usize, item: usize) -> (&Reply, Checkpoint, Checkpoint) {
        let (reply, ends) = self.parts[part].as_ref().expect("the batch is complete");
        let from = if item == 0 { reply.start() } else { ends[item - 1] };
        (reply, from, ends[item])
    }

    fn merge(
        &self,
        merge: Merge,
        pieces: &[(usize, usize, Vec<u32>)],
        count: usize,
        draw: u64,
        out: &mut Reply,
    ) {
        // The first part that failed speaks for all.
        for (part, item, _) in pieces {
            let (reply, from, to) = self.piece(*part, *item);
            if reply.bytes_from(from).first() == Some(&b'-') {
                return out.append_range(reply, from, to);
            }
        }
        let heads = pieces.iter().map(|(part, item, _)| {
            let (reply, from, _) = self.piece(*part, *item);
            reply.header_at(from).map_or(0, |(_, n, _)| n)
        });
        match merge {
            Merge::Sum => out.int(heads.sum()),
            Merge::Ok => out.ok(),
            Merge::Concat => {
                out.array(heads.sum::<i64>() as usize);
                for (part, item, _) in pieces {
                    let (reply, from, to) = self.piece(*part, *item);
                    if let Some((_, _, body)) = reply.header_at(from) {
                        out.append_range(reply, body, to);
                    }
                }
            }
            Merge::PerKey => self.merge_per_key(pieces, count, out),
            Merge::Random => self.merge_random(pieces, draw, out),
            Merge::Scan => self.merge_scan(pieces, draw, out),
        }
    }

    fn merge_per_key(&self, pieces: &[(usize, usize, Vec<u32>)], count: usize, out: &mut Reply) {
        let mut elements = vec![None; count];
        for (part, item, places) in pieces {
            let (reply, from, _) = self.piece(*part, *item);
            let mut at = reply.header_at(from).map(|(_, _, body)| body);
            for place in places {
                let Some(start) = at else { break };
                at = reply.element_end(start);
                if let Some(end) = at {
                    elements[*place as usize] = Some((reply, start, end));
                }
            }
        }
        out.array(count);
        for element in elements {
            let (reply, from, to) = element.expect("every key belongs to one part");
            out.append_range(reply, from, to);
        }
    }

    /// Each part is `[cursor, [key …]]`, by shard: they count up to the first that is not at its
    /// end, or until more than `wanted` keys are there.
    fn merge_scan(&self, pieces: &[(usize, usize, Vec<u32>)], wanted: u64, out: &mut Reply) {
        let parts = pieces.iter().filter_map(|(part, item, _)| {
            let (reply, from, to) = self.piece(*part, *item);
            let (_, _, cursor) = reply.header_at(from)?;
            let (_, cursor, keys) = reply.header_at(cursor)?;
            let (_, count, keys) = reply.header_at(keys)?;
            Some((cursor, count as u64, (reply, keys, to)))
        });
        let (mut next, mut found, mut told) = (0, 0, Vec::new());
        for (shard, (cursor, count, keys)) in parts.enumerate() {
            next = cursor;
            found += count;
            told.push(keys);
            if cursor as usize != shard + 1 || found > wanted {
                break;
            }
        }
        out.array(2);
        out.bulk_int(next);
        out.array(found as usize);
        told.into_iter().for_each(|(reply, from, to)| out.append_range(reply, from, to));
    }

    /// Each part is `[number of keys, key or nil]`.
    fn merge_random(&self, pieces: &[(usize, usize, Vec<u32>)], draw: u64, out: &mut Reply) {
        let parts = pieces.iter().filter_map(|(part, item, _)| {
            let (reply, from, to) = self.piece(*part, *item);
            let (_, _, body) = reply.header_at(from)?;
            let (_, keys, key) = reply.header_at(body)?;
            (keys > 0).then_some((keys as u64, reply, key, to))
        });
        let parts: Vec<_> = parts.collect();
        let total: u64 = parts.iter().map(|p| p.0).sum();
        let mut left = if total == 0 { 0 } else { draw % total };
        for (keys, reply, from, to) in parts {
            if left < keys {
                return out.append_range(reply, from, to);
            }
            left -= keys;
        }
        out.null();
    }
}

/// Replies on their way to a client.
#[derive(Debug, Default)]
pub struct Output {
    /// May leave at once.
    pub ready: Reply,
    /// Waits, in order.
    pub slots: VecDeque<Slot>,
    /// Bytes of held replies.
    held_bytes: usize,
    /// Bytes that batches count for.
    remote_bytes: usize,
    /// Bytes of replies that are here of batches.
    arrived_bytes: usize,
    /// Batches that are not complete.
    remotes: usize,
    /// A send is in flight, of this many bytes.
    pub sending: Option<usize>,
}

impl Output {
    /// Bytes of replies not yet sent, those under way from other shards as far as can be told.
    pub fn len(&self) -> usize {
        self.ready.len() + self.held_bytes + self.remote_bytes + self.sending.unwrap_or(0)
    }

    /// Bytes of replies that are here and not yet sent: what `client-output-buffer-limit` is about.
    pub fn replied(&self) -> usize {
        self.ready.len() + self.held_bytes + self.arrived_bytes + self.sending.unwrap_or(0)
    }

    /// True when nothing waits, is ready or is in flight.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.slots.is_empty() && self.sending.is_none()
    }

    /// True while a batch is with other shards.
    pub fn has_remote(&self) -> bool {
        self.remotes > 0
    }

    /// Appends a reply that waits for `position`, and tells of these keys.
    pub fn hold(&mut self, position: u64, looked: Looked, reply: Reply) {
        self.held_bytes += reply.len();
        match self.slots.back_mut() {
            Some(Slot::Held { position: at, looked: all, reply: tail }) if *at >= position => {
                all.join(&looked, position);
                tail.append(reply);
            }
            _ => self.slots.push_back(Slot::Held { position, looked, reply }),
        }
    }

    /// Lets go of what waits past `release` and need not, as `frees` has it; whether there was any.
    pub fn free(&mut self, release: u64, frees: impl Fn(u64, &Looked) -> bool) -> bool {
        let mut any = false;
        for slot in &mut self.slots {
            if let Slot::Held { position, looked, .. } = slot
                && *position > release
                && frees(*position, looked)
            {
                *position = 0;
                any = true;
            }
        }
        any
    }

    /// Where the next reply goes that may have to wait, with what it waits for and tells of: room
    /// is made for `room` bytes. Replies of one frame are released together, so they wait together;
    /// joining one that waits for a frame in front of `framed` would hold that back.
    pub fn waiting(&mut self, framed: u64, room: usize) -> (&mut u64, &mut Looked, &mut Reply) {
        let joins = matches!(self.slots.back(),
            Some(Slot::Held { position, .. }) if *position > framed);
        if !joins {
            let mut reply = Reply::new(false);
            reply.expect(room);
            self.slots.push_back(Slot::Held { position: 0, looked: Looked::default(), reply });
        }
        match self.slots.back_mut() {
            Some(Slot::Held { position, looked, reply }) => (position, looked, reply),
            _ => unreachable!("the last slot is a held reply"),
        }
    }

    /// The last held reply was written to directly.
    pub fn grew(&mut self, bytes: usize) {
        self.held_bytes += bytes;
    }

    /// Appends a batch.
    pub fn push_remote(&mut self, remote: Remote) {
        self.remotes += usize::from(remote.missing > 0);
        self.remote_bytes += remote.cost();
        self.arrived_bytes += remote.replied();
        self.slots.push_back(Slot::Remote(Box::new(remote)));
    }

    /// A batch has become complete, wherever it stands.
    pub fn completed(&mut self) {
        assert!(self.remotes > 0, "a batch completes once");
        self.remotes -= 1;
    }

    /// Changes the batch `id`, while it is incomplete or waits its turn.
    pub fn change_remote<R>(&mut self, id: u64, f: impl FnOnce(&mut Remote) -> R) -> Option<R> {
        let remote = self.slots.iter_mut().find_map(|slot| match slot {
            Slot::Remote(remote) if remote.id == id => Some(&mut **remote),
            _ => None,
        })?;
        self.remote_bytes -= remote.cost();
        self.arrived_bytes -= remote.replied();
        let result = f(remote);
        self.remote_bytes += remote.cost();
        self.arrived_bytes += remote.replied();
        Some(result)
    }

    /// Moves what may leave into `ready`: held replies up to `release`, complete batches.
    pub fn advance(&mut self, release: u64) {
        while let Some(slot) = self.slots.front_mut() {
            match slot {
                Slot::Held { position, .. } if *position > release => return,
                Slot::Remote(remote) if remote.missing > 0 => return,
                _ => {}
            }
            match self.slots.pop_front() {
                Some(Slot::Held { reply, .. }) => {
                    self.held_bytes -= reply.len();
                    self.ready.append(reply);
                }
                Some(Slot::Remote(mut remote)) => {
                    self.remote_bytes -= remote.cost();
                    self.arrived_bytes -= remote.replied();
                    remote.finish(&mut self.ready);
                }
                None => return,
            }
        }
    }
}
