//! Batches: commands of one connection that other shards execute.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::base::crc::shard_of;
use crate::client::output::{Merged, Remote};
use crate::client::{Conn, ConnKey};
use crate::command::{Args, Command, Merge, OwnedRequest};
use crate::resp::Reply;
use crate::shard::core::{Push, Shard};
use crate::shard::message::{Call, Item, Job, JobDone, Message, ReplyTo, Watched};

/// Most commands of one batch; what follows goes into the next turn's.
pub const BATCH_MAX: usize = 1024;

/// The part of a split command for one shard: the shard, its words, the places of its keys.
type Group<'a> = (usize, SmallVec<[&'a [u8]; 8]>, Vec<u32>);

/// Arguments that may be with other shards at once, on behalf of one shard. Their replies are not
/// known before they come back: this many times the longest value that is copied into a reply
/// (16 KiB) is what they can take if nothing is known of them.
const WORDS_MAX: usize = 4096;
/// Most that a reply is presumed to take, in bytes: longer values are shared, not copied.
const REPLY_MEAN_MAX: usize = crate::resp::reply::SHARE_MIN;

/// What is with other shards on behalf of one shard's connections.
#[derive(Debug)]
pub struct Abroad {
    /// Arguments of requests that are there.
    pub words: usize,
    /// What a reply of another shard takes, in bytes, as far as can be told.
    pub reply_mean: usize,
    /// Connections that wait until less is there.
    crowded: VecDeque<ConnKey>,
}

impl Default for Abroad {
    fn default() -> Self {
        Abroad { words: 0, reply_mean: 64, crowded: VecDeque::new() }
    }
}

/// A batch under construction.
#[derive(Debug, Default)]
pub struct Batch {
    parts: Vec<(usize, Vec<Item>)>,
    commands: Vec<Merged>,
    /// Shards where a command over several shards could write.
    participants: u64,
    /// Parts of commands that other shards execute, their arguments, and bytes of these.
    items: usize,
    words: usize,
    bytes: usize,
}

impl Batch {
    /// True when it holds no command.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Number of commands.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// A reply that is here already.
    pub fn ready(&mut self, reply: Reply) {
        match self.commands.last_mut() {
            Some(Merged::Ready(tail)) => tail.append(reply),
            _ => self.commands.push(Merged::Ready(reply)),
        }
    }

    /// The reply of the last command is kept from the client.
    pub fn mute_last(&mut self) {
        if let Some(last) = self.commands.last_mut() {
            *last = Merged::Nothing;
        }
    }

    /// Arguments of its requests.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Bytes it will take until its replies are sent, if each takes `reply`.
    pub fn estimate(&self, reply: usize) -> usize {
        self.bytes + self.items * reply
    }

    fn item(&mut self, shard: usize, item: Item) -> (usize, usize) {
        let (words, bytes) = item.weight();
        self.items += 1;
        self.words += words;
        self.bytes += bytes;
        let part = match self.parts.iter().position(|p| p.0 == shard) {
            Some(part) => part,
            None => {
                self.parts.push((shard, Vec::new()));
                self.parts.len() - 1
            }
        };
        self.parts[part].1.push(item);
        (part, self.parts[part].1.len() - 1)
    }

    /// A command for one shard.
    pub fn one(&mut self, shard: usize, item: Item) {
        let (part, item) = self.item(shard, item);
        self.commands.push(Merged::One { part, item });
    }

    /// A command of which each shard executes its part.
    fn many(&mut self, merge: Merge, count: usize, draw: u64, items: Vec<(usize, Item, Vec<u32>)>) {
        let pieces = items
            .into_iter()
            .map(|(shard, item, places)| {
                let (part, item) = self.item(shard, item);
                (part, item, places)
            })
            .collect();
        self.commands.push(Merged::Many { merge, pieces, count, draw });
    }

    /// A command whose keys are spread: every shard gets its own.
    pub fn split(
        &mut self,
        command: &'static Command,
        merge: Merge,
        (db, quiet): (usize, bool),
        args: &Args<'_>,
        shards: usize,
    ) {
        let step = key_step(command);
        let keys: Vec<usize> = command.key_positions(args.items()).collect();
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (place, &at) in keys.iter().enumerate() {
            let shard = shard_of(&args[at], shards);
            let group = match groups.iter().position(|g| g.0 == shard) {
                Some(group) => &mut groups[group],
                None => {
                    groups.push((shard, SmallVec::from_slice(&args.items()[..1]), Vec::new()));
                    groups.last_mut().expect("just pushed")
                }
            };
            group.1.extend_from_slice(&args.items()[at..at + step]);
            group.2.push(place as u32);
        }
        if command.writes() {
            self.participants |= groups.iter().fold(0, |set, g| set | 1 << g.0);
        }
        let items = groups
            .into_iter()
            .map(|(shard, words, places)| {
                let request = OwnedRequest::from_slices(&words);
                (shard, Item::Run(Call { command, db, quiet, request }), places)
            })
            .collect();
        self.many(merge, keys.len(), 0, items);
    }

    /// A command of which every shard executes all.
    pub fn every(
        &mut self,
        command: &'static Command,
        merge: Merge,
        (db, quiet): (usize, bool),
        args: &Args<'_>,
        shards: usize,
        draw: u64,
    ) {
        let item = |shard| {
            let request = OwnedRequest::from_args(args);
            (shard, Item::Run(Call { command, db, quiet, request }), Vec::new())
        };
        self.many(merge, 0, draw, (0..shards).map(item).collect());
    }

    /// WATCH of keys that are spread.
    pub fn watch(&mut self, groups: Vec<(usize, Watched)>) {
        let items = groups.into_iter().map(|(s, w)| (s, Item::Watch(w), Vec::new())).collect();
        self.many(Merge::Ok, 0, 0, items);
    }
}

/// How many arguments travel with each key.
fn key_step(command: &Command) -> usize {
    match command.keys {
        crate::command::Keys::Range { step, .. } => step.max(1) as usize,
        _ => 1,
    }
}

impl Shard {
    /// Sends a batch on its way; its replies take their place in the connection's output.
    ///
    /// One part for the shard that everything in flight of this connection went to is a plain
    /// message: that inbox keeps the order. Anything else goes under the order lock, so that it
    /// stands behind every entry that an earlier batch of the connection stands behind.
    pub(super) fn dispatch(&mut self, conn: &mut Conn, batch: Batch) {
        let id = self.name();
        let estimate = batch.estimate(self.abroad.reply_mean);
        self.abroad.words += batch.words;
        let targets = batch.parts.iter().fold(0u64, |set, p| set | 1 << p.0);
        let plain = (conn.targets | targets).count_ones() == 1;
        conn.targets |= targets;
        let parts = batch.parts.into_iter().enumerate().map(|(part, (shard, items))| {
            let participants = match batch.participants >> shard & 1 {
                1 => batch.participants,
                _ => 0,
            };
            let words = items.iter().map(|item| item.weight().0).sum();
            let job = Job {
                entry: 0,
                participants,
                to: ReplyTo { shard: self.id, conn: conn.key, batch: id, part, words },
                resp3: conn.session.resp3,
                now: self.now,
                items,
            };
            (shard, Message::Job(Box::new(job)))
        });
        let parts: Vec<(usize, Message)> = parts.collect();
        let missing = parts.len();
        if plain && missing == 1 {
            self.pushes.extend(parts.into_iter().map(|(shard, job)| Push::Plain(shard, job)));
        } else if missing > 0 {
            self.pushes.push(Push::Entry { writers: batch.participants, parts });
        }
        let parts = (0..missing).map(|_| None).collect();
        let commands = batch.commands;
        let (bytes, quiet) = (0, false);
        let remote = Remote { id, missing, commands, parts, estimate, bytes, quiet };
        conn.output.push_remote(remote);
        self.account(conn);
        self.mark_dirty(conn);
    }

    /// The replies of a part have come back.
    pub(super) fn part_done(&mut self, done: JobDone) {
        self.abroad.words -= done.to.words;
        // A large reply counts at once and is forgotten slowly.
        let mean = done.reply.copied_len() / done.ends.len().max(1);
        self.abroad.reply_mean =
            mean.min(REPLY_MEAN_MAX).max(self.abroad.reply_mean - self.abroad.reply_mean / 16);
        self.arrived(done.to, |remote| remote.arrive(done.to.part, done.reply, done.ends));
    }

    /// Whether a command for another shard has to wait because so much is with other shards. The
    /// connection is then gone on with by [`Shard::run_again`], or when what it has out itself has
    /// come back.
    pub(super) fn is_crowded(&mut self, conn: &mut Conn, batch: &Option<Batch>) -> bool {
        let words = self.abroad.words + batch.as_ref().map_or(0, Batch::words);
        if words < WORDS_MAX {
            return false;
        }
        if !self.is_out(conn, batch) && !conn.crowded {
            conn.crowded = true;
            self.abroad.crowded.push_back(conn.key);
        }
        true
    }

    /// Goes on with connections that waited until less is with other shards.
    pub(super) fn run_crowded(&mut self) {
        while self.abroad.words < WORDS_MAX
            && let Some(key) = self.abroad.crowded.pop_front()
        {
            if let Some(mut conn) = self.take_conn(key) {
                conn.crowded = false;
                self.consume(&mut conn, b"");
                self.put_conn(conn);
            }
        }
    }

    /// Something of batch `to` came back; `take` puts it in and says whether it was the last.
    pub(super) fn arrived(&mut self, to: ReplyTo, take: impl FnOnce(&mut Remote) -> bool) {
        let Some(mut conn) = self.take_conn(to.conn) else { return };
        let last = conn.output.change_remote(to.batch, take);
        self.account(&mut conn);
        if last == Some(true) {
            conn.output.completed();
            if !conn.output.has_remote() {
                self.came_back(&mut conn);
            }
            self.mark_dirty(&mut conn);
        }
        self.put_conn(conn);
    }
}
