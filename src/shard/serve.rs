//! Serving clients that wait for keys: the one place where a command is run on behalf of somebody
//! who is not there.
//!
//! It happens behind every command, and behind the last one of a transaction or lease, before
//! anything else is executed: so nobody sees a key that somebody waits for, as in Redis. Waiters
//! are served in the order in which they came, key by key in the order in which these changed, as
//! long as there is something for them; each runs its own command again. One that needs keys of
//! several shards (BLMOVE) cannot be served where only one of them is at hand: its own shard is
//! called and comes with a lease, and until then those behind it wait on.
//!
//! *Nothing is lost or given twice*: the command takes the waiter's claim before it changes
//! anything ([`crate::keyspace::waiting`]). Whoever has it sends the reply, which leaves the shard
//! when the release point has passed what was taken from the key: a crash gives either the reply
//! and the change, or neither.

use std::sync::Arc;

use crate::base::clock::Stopwatch;
use crate::base::crc::shard_of;
use crate::command::{Args, Run, Spaces, table};
use crate::keyspace::waiting::Waiter;
use crate::keyspace::{Effects, Entry, Keyspace};
use crate::resp::Reply;
use crate::shard::execute::{Fate, Surroundings};

/// How long somebody's command ran for when it was served, in nanoseconds, and its arguments.
pub type Slow = (u64, Vec<Vec<u8>>);

/// What came of a key being ready.
#[derive(Debug)]
pub enum Served {
    /// Somebody is served.
    Reply {
        /// Who.
        waiter: Arc<Waiter>,
        /// The reply.
        reply: Reply,
        /// The position it waits for, where it was served by one keyspace.
        tag: u64,
        /// What SLOWLOG keeps of it, where serving it took long.
        slow: Option<Slow>,
    },
    /// Somebody has to come with all keys.
    Call(Arc<Waiter>),
}

impl Spaces<'_> {
    fn next_ready(&mut self) -> Option<(usize, Vec<u8>)> {
        let mut ready = None;
        self.each(|space| {
            if ready.is_none() {
                ready = space.waiting.next_ready();
            }
        });
        ready
    }

    fn has_ready(&mut self) -> bool {
        let mut ready = false;
        self.each(|space| ready |= space.waiting.has_ready());
        ready
    }

    fn forget(&mut self, waiter: &Waiter) {
        self.each(|space| {
            space.waiting.forget(&waiter.ticket);
        });
    }

    /// Whether all keys of a waiter are at hand.
    fn has_all(&self, waiter: &Waiter) -> bool {
        match self {
            Spaces::One(_) => !waiter.together,
            Spaces::Many(spaces) => waiter.keys.iter().all(|at| {
                let shard = shard_of(&waiter.words[*at], spaces.len());
                spaces[shard].is_some()
            }),
        }
    }

    /// Puts empty keyspaces in the place of those that are not at hand: there was nothing in them
    /// for this waiter when last somebody looked, and whoever changes that serves it there. Gives
    /// the shards.
    fn fill_in(&mut self, waiter: &Waiter) -> Vec<usize> {
        let Spaces::Many(spaces) = self else { return Vec::new() };
        let Some(like) = spaces.iter().flatten().next() else { return Vec::new() };
        let (databases, seed) = (like.dbs.len(), like.hash_seed);
        let mut filled = Vec::new();
        for at in &waiter.keys {
            let shard = shard_of(&waiter.words[*at], spaces.len());
            if spaces[shard].is_none() {
                let empty = Keyspace::new(shard, databases, seed, Effects::new(0, false));
                spaces[shard] = Some(Box::new(empty));
                filled.push(shard);
            }
        }
        filled
    }

    fn take_out(&mut self, filled: &[usize]) {
        if let Spaces::Many(spaces) = self {
            filled.iter().for_each(|shard| spaces[*shard] = None);
        }
    }
}

impl Surroundings<'_> {
    /// Serves whoever waits for what has changed.
    pub fn serve(&mut self, mut spaces: Spaces<'_>, served: &mut Vec<Served>) {
        if !spaces.has_ready() {
            return;
        }
        while let Some((db, key)) = spaces.next_ready() {
            self.serve_key(&mut spaces, db, &key, served);
        }
    }

    fn serve_key(
        &mut self,
        spaces: &mut Spaces<'_>,
        db: usize,
        key: &[u8],
        served: &mut Vec<Served>,
    ) {
        let now = self.now.unix_ms();
        let mut from = 0;
        while let Some((next, waiter)) = spaces.of(key).waiting.next(db, key, from) {
            from = next;
            if !waiter.claim.is_waiting() {
                spaces.forget(&waiter);
                continue;
            }
            let space = spaces.of(key);
            if space.waiting.is_called(&waiter.ticket) {
                return;
            }
            match space.lookup(db, key, now).map(Entry::kind) {
                Some(kind) if kind == waiter.on => {}
                _ if waiter.hears_of_absence => {}
                Some(_) => continue,
                None if spaces.of(key).waiting.any_hears(db, key) => continue,
                None => return,
            }
            if waiter.together && !spaces.has_all(&waiter) {
                spaces.of(key).waiting.set_called(&waiter.ticket, true);
                served.push(Served::Call(waiter));
                return;
            }
            let (fate, reply, tag, slow) = self.run_for(spaces, &waiter);
            match fate {
                Fate::Answered => {
                    spaces.forget(&waiter);
                    served.push(Served::Reply { waiter, reply, tag, slow });
                }
                Fate::Waits(..) => {}
                Fate::Gone => spaces.forget(&waiter),
            }
        }
    }

    /// Runs a waiter's command.
    fn run_for(
        &mut self,
        spaces: &mut Spaces<'_>,
        waiter: &Waiter,
    ) -> (Fate, Reply, u64, Option<Slow>) {
        let mut reply = Reply::new(waiter.resp3);
        let words: Vec<&[u8]> = waiter.words.iter().map(Vec::as_slice).collect();
        let args = Args::new(&words);
        let Ok(command) = table::meant(&args) else { return (Fate::Gone, reply, 0, None) };
        let Run::Data(code) = command.run else { return (Fate::Gone, reply, 0, None) };
        let mut before = 0;
        let leased = matches!(spaces, Spaces::Many(_));
        spaces.each(|space| {
            space.hold_expired(true);
            space.begin_uses(waiter.quiet);
            before = space.effects.end();
            if !leased {
                space.read_tag = space.floor;
            }
        });
        let filled = spaces.fill_in(waiter);
        self.claim = Some(Arc::clone(&waiter.claim));
        let watch = Stopwatch::default();
        self.run(spaces.lent(), waiter.db, code, &args, &mut reply);
        self.claim = None;
        let nanos = watch.elapsed().as_nanos() as u64;
        spaces.take_out(&filled);
        let mut tag = 0;
        spaces.each(|space| {
            let after = space.effects.end();
            tag = if after > before { after } else { space.read_tag };
        });
        let slow = self.meter.slow_args(command, &args, nanos).map(|args| (nanos, args));
        (std::mem::take(&mut self.fate), reply, tag, slow)
    }
}
