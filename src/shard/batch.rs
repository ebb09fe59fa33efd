//! Batches: commands of one connection that other shards execute.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::base::crc::shard_of;
use crate::client::output::{Ends, Merged, Remote};
use crate::client::{Conn, ConnKey};
use crate::command::packed::Requests;
use crate::command::{Args, Command, Merge};
use crate::config::settings::Flush;
use crate::resp::Reply;
use crate::shard::core::{Push, Shard};
use crate::shard::message::{Call, Item, Job, JobDone, Message, Portion, ReplyTo, Watched};

/// Most commands of one batch; what follows goes into the next turn's.
pub const BATCH_MAX: usize = 1024;

/// The part of a split command for one shard: the shard, its words, the places of its keys.
type Group<'a> = (usize, SmallVec<[&'a [u8]; 8]>, Vec<u32>);

/// Arguments that may be with other shards at once, on behalf of one shard. Their replies are not
/// known before they come back: this many times the longest value that is copied into a reply
/// (16 KiB) is what they can take if nothing is known of them.
const WORDS_MAX: usize = 4096;
/// What an argument takes beside its bytes.
const ARGUMENT: usize = size_of::<(usize, usize)>();
/// Items that are made room for when a second one comes.
const ITEMS: usize = 8;
/// Most room that is made for a reply ahead, in bytes.
const REPLY_ROOM: usize = 64;
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

/// What of a batch one shard executes.
#[derive(Debug)]
struct Part {
    shard: usize,
    requests: Requests,
    items: SmallVec<[Item; 1]>,
    /// Arguments of these.
    words: usize,
}

/// A batch under construction.
#[derive(Debug, Default)]
pub struct Batch {
    parts: SmallVec<[Part; 2]>,
    commands: Vec<Merged>,
    /// Shards where a command over several shards could write.
    participants: u64,
    /// Parts of commands that other shards execute, their arguments, and bytes of these.
    items: usize,
    words: usize,
    bytes: usize,
    /// Bytes of the replies that are here already.
    told: usize,
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
        self.told += reply.len();
        match self.commands.last_mut() {
            Some(Merged::Ready(tail)) => tail.append(reply),
            _ => self.commands.push(Merged::Ready(reply)),
        }
    }

    /// The reply of the last command is kept from the client.
    pub fn mute_last(&mut self) {
        if let Some(last) = self.commands.last_mut() {
            self.told -= last.size();
            *last = Merged::Nothing;
        }
    }

    /// Arguments of its requests.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Bytes it will take until its replies are sent, if each takes `reply`.
    pub fn estimate(&self, reply: usize) -> usize {
        self.bytes + self.items * reply + self.told
    }

    fn part(&mut self, shard: usize) -> usize {
        if let Some(part) = self.parts.iter().position(|part| part.shard == shard) {
            return part;
        }
        let (requests, items) = (Requests::default(), SmallVec::new());
        self.parts.push(Part { shard, requests, items, words: 0 });
        self.parts.len() - 1
    }

    /// Gives the part and the item's place in it.
    fn item(&mut self, part: usize, item: Item, weight: (usize, usize)) -> (usize, usize) {
        self.items += 1;
        self.words += weight.0;
        self.bytes += weight.1;
        let place = &mut self.parts[part];
        place.words += weight.0;
        if place.items.len() == 1 {
            // More will come.
            place.items.reserve(ITEMS);
        }
        place.items.push(item);
        (part, place.items.len() - 1)
    }

    fn run(
        &mut self,
        shard: usize,
        command: &'static Command,
        (db, quiet): (usize, bool),
        args: &Args<'_>,
        portion: Portion,
    ) -> (usize, usize) {
        let at = self.part(shard);
        let request = self.parts[at].requests.pack(args);
        let bytes: usize = args.items().iter().map(|arg| arg.len() + ARGUMENT).sum();
        let item = Item::Run { command, db, quiet, portion, request };
        self.item(at, item, (args.len(), bytes))
    }

    /// A command for one shard.
    pub fn one(
        &mut self,
        shard: usize,
        command: &'static Command,
        how: (usize, bool),
        args: &Args<'_>,
    ) {
        let (part, item) = self.run(shard, command, how, args, Portion::All);
        self.commands.push(Merged::One { part, item });
    }

    /// A whole transaction for one shard.
    pub fn exec(&mut self, shard: usize, calls: Vec<Call>, watch: Option<Watched>) {
        let (part, item) = (self.part(shard), Item::Exec { calls, watch });
        let weight = item.weight();
        let (part, item) = self.item(part, item, weight);
        self.commands.push(Merged::One { part, item });
    }

    /// A command whose keys are spread: every shard gets its own.
    pub fn split(
        &mut self,
        command: &'static Command,
        merge: Merge,
        how: (usize, bool),
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
        let pieces = groups.into_iter().enumerate().map(|(n, (shard, words, places))| {
            let (part, item) = self.run(shard, command, how, &Args::new(&words), portion(n));
            (part, item, places)
        });
        let pieces = pieces.collect();
        self.commands.push(Merged::Many { merge, pieces, count: keys.len(), draw: 0 });
    }

    /// A command of which every shard executes all.
    pub fn every(
        &mut self,
        command: &'static Command,
        merge: Merge,
        how: (usize, bool),
        args: &Args<'_>,
        shards: usize,
        draw: u64,
    ) {
        let pieces = (0..shards).map(|shard| {
            let (part, item) = self.run(shard, command, how, args, portion(shard));
            (part, item, Vec::new())
        });
        let pieces = pieces.collect();
        self.commands.push(Merged::Many { merge, pieces, count: 0, draw });
    }

    /// WATCH of keys that are spread.
    pub fn watch(&mut self, groups: Vec<(usize, Watched)>) {
        let pieces = groups.into_iter().map(|(shard, watched)| {
            let (part, item) = (self.part(shard), Item::Watch(watched));
            let weight = item.weight();
            let (part, item) = self.item(part, item, weight);
            (part, item, Vec::new())
        });
        let pieces = pieces.collect();
        self.commands.push(Merged::Many { merge: Merge::Ok, pieces, count: 0, draw: 0 });
    }
}

/// What the `n`th part of a command is.
fn portion(n: usize) -> Portion {
    if n == 0 { Portion::First } else { Portion::Further }
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
    ///
    /// `alone`: all replies that are ready are to requests that came with it. They leave together,
    /// but where a batch may wait for a disk.
    pub(super) fn dispatch(&mut self, conn: &mut Conn, batch: Batch, alone: bool) {
        let id = self.name();
        let estimate = batch.estimate(self.abroad.reply_mean);
        self.abroad.words += batch.words;
        let targets = batch.parts.iter().fold(0u64, |set, part| set | 1 << part.shard);
        let plain = (conn.targets | targets).count_ones() == 1;
        conn.targets |= targets;
        let room = self.abroad.reply_mean.min(REPLY_ROOM);
        let parts = batch.parts.into_iter().enumerate().map(|(at, part)| {
            let Part { shard, requests, items, words } = part;
            let participants = match batch.participants >> shard & 1 {
                1 => batch.participants,
                _ => 0,
            };
            let mut reply = Reply::new(conn.session.resp3);
            reply.expect(room * items.len());
            let job = Job {
                entry: 0,
                participants,
                to: ReplyTo { shard: self.id, conn: conn.key, batch: id, part: at, words },
                now: self.now,
                requests,
                reply,
                ends: Ends::with_capacity(items.len()),
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
        if missing > 0 && alone && self.config.appendfsync != Flush::Always {
            conn.together = Some(id);
        }
        let commands = batch.commands;
        let (bytes, quiet) = (batch.told, false);
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
            conn.together.take_if(|batch| *batch == to.batch);
            if !conn.output.has_remote() {
                self.came_back(&mut conn);
            }
            self.mark_dirty(&mut conn);
        }
        self.put_conn(conn);
    }
}
