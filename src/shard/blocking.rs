//! Commands that may wait for a key (BLPOP and its like), as the shard of their client sees them.
//!
//! The first look and, when it finds nothing, the registration are one step for everybody else:
//! both happen in one execution where all keys live in one shard, and under one lease where they
//! do not. So no push can fall between them. From then on whoever changes a key of the waiter
//! serves it ([`super::serve`]); this shard gives up for it when its time is over, when it is
//! unblocked, or when it goes. The claim decides between them; if it is taken already, an answer is
//! on its way, and the connection stays until that has come.
//!
//! A connection whose command waits is not parsed further; the command stands in its output as a
//! batch with one part. That it was in vain is told only once this shard knows that the look was
//! released ([`Waits`]): nil tells of a DEL too.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::base::crc::shard_of;
use crate::client::output::{Merged, Parts, Remote};
use crate::client::{Conn, ConnKey};
use crate::command::{Args, Command, DataRun, OwnedRequest, Patience, Spaces, table};
use crate::keyspace::Looked;
use crate::keyspace::waiting::{Claim, Ticket, Waiter};
use crate::resp::Reply;
use crate::shard::batch::Batch;
use crate::shard::core::{Push, Shard};
use crate::shard::execute::Fate;
use crate::shard::lease::{Lease, Work};
use crate::shard::message::{Answered, BlockCall, Call, Message, ReplyTo, Waits};
use crate::shard::requests::Taken;
use crate::shard::serve::{Served, Slow};

/// A client of this shard whose command may wait, or does.
#[derive(Debug)]
struct KeyWait {
    client: u64,
    batch: u64,
    claim: Arc<Claim>,
    /// Shards whose queues it may stand in, as a set.
    targets: u64,
    /// It waits, and this is what it is told when that was in vain.
    vain: Option<Reply>,
    /// What SLOWLOG keeps of it then.
    slow: Option<Slow>,
    deadline: Option<u64>,
    /// Its peer has ended the stream meanwhile.
    leaving: bool,
}

/// Such clients.
#[derive(Debug, Default)]
pub struct KeyWaits {
    by_conn: HashMap<ConnKey, KeyWait>,
    by_client: HashMap<u64, ConnKey>,
    deadlines: BTreeSet<(u64, ConnKey)>,
}

impl KeyWaits {
    /// Number of clients that wait.
    pub fn len(&self) -> usize {
        self.by_conn.len()
    }

    /// True when none does.
    pub fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }

    /// When the first of them has waited long enough, in monotonic microseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn insert(&mut self, conn: ConnKey, wait: KeyWait) {
        self.by_client.insert(wait.client, conn);
        let before = self.by_conn.insert(conn, wait);
        assert!(before.is_none(), "a connection waits for one thing at a time");
    }

    fn remove(&mut self, conn: ConnKey) -> Option<KeyWait> {
        let wait = self.by_conn.remove(&conn)?;
        self.by_client.remove(&wait.client);
        if let Some(at) = wait.deadline {
            self.deadlines.remove(&(at, conn));
        }
        Some(wait)
    }
}

/// The one command of a lease may wait.
#[derive(Debug)]
pub struct Block {
    /// Decides who answers it.
    pub claim: Arc<Claim>,
    /// It has waited: it stands in the queues under this name.
    pub again: Option<Arc<Waiter>>,
    /// What became of it.
    pub fate: Fate,
}

/// What a lease's command that may wait means for its place in the connection's output.
pub(super) struct Settled {
    /// The lease's replies are its answer.
    pub answered: bool,
    /// Parts that are to come beyond those of the lease.
    pub more: usize,
    /// Parts that will not come any more.
    pub less: usize,
}

/// Whether a request may wait: all forms of most such commands, XREAD with BLOCK.
pub(super) fn may_wait(command: &Command, args: &Args<'_>) -> bool {
    let asks = |arg: &&[u8]| arg.eq_ignore_ascii_case(b"BLOCK");
    !command.name.starts_with('x') || args.items()[1..].iter().any(asks)
}

/// Whether a command waits for its first key only, and needs the other to put something into.
fn is_move(command: &Command) -> bool {
    matches!(command.name, "blmove" | "brpoplpush")
}

/// Whether a command changes or needs all its keys at once.
fn is_together(command: &Command) -> bool {
    is_move(command) || command.name == "xreadgroup"
}

fn ticket(to: ReplyTo) -> Ticket {
    let ReplyTo { shard, conn, batch, .. } = to;
    Ticket { home: shard, index: conn.index, generation: conn.generation, batch }
}

fn place(ticket: Ticket) -> ReplyTo {
    let conn = ConnKey { index: ticket.index, generation: ticket.generation };
    ReplyTo { shard: ticket.home, conn, batch: ticket.batch, part: 0, words: 0 }
}

/// What is registered for a call that waits.
fn waiter(
    to: ReplyTo,
    call: &Call,
    claim: &Arc<Claim>,
    patience: &mut Patience,
    (resp3, spread): (bool, bool),
) -> Arc<Waiter> {
    let sent = || call.request.with(|args| args.items().iter().map(|arg| arg.to_vec()).collect());
    let words: Vec<Vec<u8>> = patience.words.take().unwrap_or_else(sent);
    let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let keys = call.command.key_positions(&slices).collect();
    Arc::new(Waiter {
        ticket: ticket(to),
        claim: Arc::clone(claim),
        db: call.db,
        wanted: if is_move(call.command) { 1 } else { usize::MAX },
        keys,
        on: patience.on,
        hears_of_absence: patience.hears_of_absence,
        together: spread && is_together(call.command),
        resp3,
        quiet: call.quiet,
        words,
    })
}

impl Shard {
    /// Runs or sends a command that may wait.
    pub(super) fn blocking(
        &mut self,
        conn: &mut Conn,
        batch: &Option<Batch>,
        command: &'static Command,
        code: DataRun,
        args: &Args<'_>,
    ) -> Taken {
        if self.is_out(conn, batch) || self.is_crowded(conn, batch) {
            return Taken::NotYet;
        }
        let targets = self.targets(command, command.route_of(args.len()), args);
        let (db, quiet) = (conn.session.db, conn.session.is_quiet(command));
        let call = Call { command, db, quiet, request: OwnedRequest::from_args(args) };
        let claim = Arc::new(Claim::default());
        if targets == 1 << self.id {
            self.block_here(conn, call, code, &claim);
            return Taken::Yes;
        }
        let spread = targets.count_ones() as usize;
        let to = self.stand_in(conn, targets, if spread == 1 { 1 } else { spread }, &claim);
        if spread == 1 {
            let resp3 = conn.session.resp3;
            let block = Message::Block(Box::new(BlockCall { to, call, claim, resp3 }));
            self.pushes.push(Push::Plain(targets.trailing_zeros() as usize, block));
        } else {
            let block = Some(Block { claim, again: None, fate: Fate::Answered });
            let work = Work { calls: vec![call], block, ..Work::default() };
            self.ask_for_keyspaces(targets, to, work);
        }
        Taken::Yes
    }

    /// Puts a batch into the output in whose place the reply will come.
    fn stand_in(
        &mut self,
        conn: &mut Conn,
        targets: u64,
        missing: usize,
        claim: &Arc<Claim>,
    ) -> ReplyTo {
        let id = self.name();
        conn.blocked = true;
        conn.targets |= targets;
        let quiet = conn.session.is_muted();
        let (commands, parts) = (vec![], Parts::new());
        let remote = Remote { id, missing, commands, parts, estimate: 0, bytes: 0, quiet };
        conn.output.push_remote(remote);
        self.mark_dirty(conn);
        let (client, claim) = (conn.session.id, Arc::clone(claim));
        // Its stream may have ended in the same turn, in front of this command's.
        let (vain, slow, deadline, leaving) = (None, None, None, conn.leaving);
        let wait = KeyWait { client, batch: id, claim, targets, vain, slow, deadline, leaving };
        self.key_waits.insert(conn.key, wait);
        ReplyTo { shard: self.id, conn: conn.key, batch: id, part: 0, words: 0 }
    }

    fn block_here(&mut self, conn: &mut Conn, call: Call, code: DataRun, claim: &Arc<Claim>) {
        let (mut fate, mut seen, mut looked) = (Fate::Answered, 0, Looked::default());
        call.request.with(|args| {
            self.run_here(conn, |around, space, db, out| {
                around.claim = Some(Arc::clone(claim));
                around.quiet = call.quiet;
                seen = around.run_one(space, db, call.command, code, args, out);
                around.claim = None;
                fate = std::mem::take(&mut around.fate);
                looked = space.looked.clone();
                seen
            });
        });
        let Fate::Waits(mut patience, vain, slow) = fate else { return };
        let to = self.stand_in(conn, 1 << self.id, 1, claim);
        let waiter = waiter(to, &call, claim, &mut patience, (conn.session.resp3, false));
        self.register_here(&waiter);
        let waits = Waits { to, deadline: patience.deadline, vain, slow };
        self.answer_for(seen, looked.take(seen), self.id, Message::Waits(Box::new(waits)));
    }

    fn register_here(&mut self, waiter: &Arc<Waiter>) {
        let space = self.space.as_mut().expect("commands run only while the data is home");
        space.waiting.register(waiter, waiter.wanted());
    }

    /// A command of another shard's client that may wait.
    pub(super) fn run_block(&mut self, block: BlockCall) {
        let BlockCall { to, call, claim, resp3 } = block;
        if !claim.is_waiting() {
            return;
        }
        let crate::command::Run::Data(code) = call.command.run else {
            unreachable!("only data commands wait for keys")
        };
        let mut space = self.space.take().expect("the FIFO runs only while the data is home");
        let (mut reply, mut served) = (Reply::new(resp3), Vec::new());
        let release = self.release();
        let mut around = self.around();
        around.meter.begin(true);
        around.claim = Some(Arc::clone(&claim));
        around.quiet = call.quiet;
        space.looked.begin(release);
        let tag = call
            .request
            .with(|args| around.run_one(&mut space, call.db, call.command, code, args, &mut reply));
        around.claim = None;
        let looked = space.looked.take(tag);
        let fate = std::mem::take(&mut around.fate);
        around.serve(Spaces::One(&mut space), &mut served);
        around.meter.settle(around.stats, around.track);
        #[cfg(test)]
        crate::shard::sim::probe::served_here(&space);
        self.tell_late(to);
        self.space = Some(space);
        self.tell_served(served);
        match fate {
            Fate::Answered => {
                let answered = Answered { to, reply, more: 0, at: u64::MAX };
                self.answer_for(tag, looked, to.shard, Message::Served(Box::new(answered)));
            }
            Fate::Waits(mut patience, vain, slow) => {
                let waiter = waiter(to, &call, &claim, &mut patience, (resp3, false));
                self.register_here(&waiter);
                let waits = Waits { to, deadline: patience.deadline, vain, slow };
                self.answer_for(tag, looked, to.shard, Message::Waits(Box::new(waits)));
            }
            Fate::Gone => {}
        }
    }

    /// Serves whoever waits for what has changed here since.
    pub(super) fn serve_here(&mut self) {
        if !self.space.as_ref().is_some_and(|space| space.waiting.has_ready()) {
            return;
        }
        let Some(mut space) = self.space.take() else { return };
        let mut served = Vec::new();
        let mut around = self.around();
        around.serve(Spaces::One(&mut space), &mut served);
        #[cfg(test)]
        crate::shard::sim::probe::served_here(&space);
        self.space = Some(space);
        self.tell_served(served);
    }

    /// Sends the replies of those who were served by this shard's keyspace alone.
    pub(super) fn tell_served(&mut self, served: Vec<Served>) {
        for one in served {
            match one {
                Served::Reply { waiter, reply, tag, slow } => {
                    let to = place(waiter.ticket);
                    self.meter.note_served(to, slow);
                    let answered = Answered { to, reply, more: 0, at: 1 << self.id };
                    self.answer(tag, to.shard, Message::Served(Box::new(answered)));
                }
                Served::Call(waiter) => {
                    self.replies.push((waiter.ticket.home, Message::Called(waiter)));
                }
            }
        }
    }

    // ---- under a lease ----

    /// What became of a lease's command that may wait: if it waits, it is registered with all its
    /// keys before anybody else sees them.
    pub(super) fn settle_block(&mut self, lease: &mut Lease) -> Settled {
        let mut settled = Settled { answered: true, more: 0, less: 0 };
        let Some(block) = lease.work.block.take() else { return settled };
        let to = lease.to;
        let mut spaces = Spaces::Many(&mut lease.spaces);
        if let Some(waiter) = &block.again {
            spaces.each(|space| space.waiting.set_called(&waiter.ticket, false));
            // Those behind it may have waited for this.
            for key in waiter.wanted() {
                spaces.of(key).waiting.touch(waiter.db, key);
            }
        }
        match (block.fate, block.again) {
            (Fate::Answered, again) => {
                spaces.each(|space| {
                    space.waiting.forget(&ticket(to));
                });
                self.key_waits.remove(to.conn);
                settled.less = usize::from(again.is_some());
            }
            // Its client has gone while the lease was under way: nobody would ever free its places.
            (Fate::Waits(..), None) if !block.claim.is_waiting() => settled.answered = false,
            (Fate::Waits(mut patience, vain, slow), None) => {
                let resp3 = vain.resp3;
                let call = &lease.work.calls[0];
                let waiter = waiter(to, call, &block.claim, &mut patience, (resp3, true));
                let shards = self.order.shards();
                spaces.each(|space| {
                    let own = space.shard;
                    let keys = waiter.wanted().filter(|key| shard_of(key, shards) == own);
                    space.waiting.register(&waiter, keys);
                });
                self.waits(Waits { to, deadline: patience.deadline, vain, slow });
                (settled.answered, settled.more) = (false, 1);
            }
            (Fate::Waits(..), Some(_)) | (Fate::Gone, _) => settled.answered = false,
        }
        settled
    }

    /// Serves whoever waits for what a lease has changed; gives the places of their replies, which
    /// wait for the lease to be released wherever it was.
    pub(super) fn serve_leased(&mut self, lease: &mut Lease) -> Vec<ReplyTo> {
        // Behind a cut every shard serves for itself: what a cut logs goes into a file of its own.
        if lease.work.cut {
            return Vec::new();
        }
        let mut served = Vec::new();
        self.around().serve(Spaces::Many(&mut lease.spaces), &mut served);
        let at = lease.spaces.iter().flatten().fold(0, |set, space| set | 1 << space.shard);
        let mut places = Vec::new();
        for one in served {
            match one {
                Served::Reply { waiter, reply, slow, .. } => {
                    let to = place(waiter.ticket);
                    self.meter.note_served(to, slow);
                    let more = u64::count_ones(at) as usize;
                    let answered = Answered { to, reply, more, at };
                    self.replies.push((to.shard, Message::Served(Box::new(answered))));
                    places.push(to);
                }
                Served::Call(waiter) => {
                    self.replies.push((waiter.ticket.home, Message::Called(waiter)));
                }
            }
        }
        places
    }

    // ---- the client's side ----

    /// A client of this shard waits, and its look has been released.
    pub(super) fn waits(&mut self, waits: Waits) {
        let key = waits.to.conn;
        let Some(wait) = self.key_waits.by_conn.get_mut(&key) else { return };
        if wait.batch != waits.to.batch {
            return;
        }
        let deadline = if wait.leaving { Some(0) } else { waits.deadline };
        (wait.vain, wait.slow, wait.deadline) = (Some(waits.vain), waits.slow, deadline);
        if let Some(at) = deadline {
            self.key_waits.deadlines.insert((at, key));
        }
    }

    /// A client of this shard has its answer.
    pub(super) fn served(&mut self, answered: Answered) {
        let Answered { to, reply, more, at } = answered;
        if self.key_waits.by_conn.get(&to.conn).is_some_and(|wait| wait.batch == to.batch)
            && let Some(wait) = self.key_waits.remove(to.conn)
        {
            self.forget(ticket(to), wait.targets & !at);
        }
        self.arrived(to, |remote| {
            remote.missing = remote.missing - 1 + more;
            remote.bytes = reply.len();
            remote.commands = vec![Merged::Ready(reply)];
            remote.missing == 0
        });
    }

    /// A key is ready for a client of this shard that must be served with all its keys at hand.
    pub(super) fn called(&mut self, waiter: &Arc<Waiter>) {
        let to = place(waiter.ticket);
        let Some(wait) = self.key_waits.by_conn.get(&to.conn) else { return };
        if wait.batch != to.batch || !wait.claim.is_waiting() {
            return;
        }
        let (targets, claim) = (wait.targets, Arc::clone(&wait.claim));
        let words: Vec<&[u8]> = waiter.words.iter().map(Vec::as_slice).collect();
        let Ok(command) = table::meant(&Args::new(&words)) else { return };
        let request = OwnedRequest::from_slices(&words);
        let call = Call { command, db: waiter.db, quiet: waiter.quiet, request };
        let Some(conn) = self.conn_mut(to.conn) else { return };
        let more = targets.count_ones() as usize;
        conn.output.change_remote(to.batch, |remote| remote.missing += more);
        let block = Some(Block { claim, again: Some(Arc::clone(waiter)), fate: Fate::Gone });
        self.ask_for_keyspaces(targets, to, Work { calls: vec![call], block, ..Work::default() });
    }

    /// Frees a waiter's places in the queues of `shards`.
    fn forget(&mut self, ticket: Ticket, shards: u64) {
        for shard in (0..self.shards()).filter(|shard| shards >> shard & 1 == 1) {
            self.replies.push((shard, Message::Forget(ticket)));
        }
    }

    /// A waiter is gone.
    pub(super) fn forget_here(&mut self, ticket: &Ticket) {
        let space = self.space.as_mut().expect("the FIFO runs only while the data is home");
        space.waiting.forget(ticket);
        self.serve_here();
    }

    /// Stops a client's wait, if nobody serves it already; gives what it was to be told, and what
    /// SLOWLOG keeps.
    fn stop_waiting(&mut self, key: ConnKey) -> Option<(ReplyTo, Option<Reply>, Option<Slow>)> {
        let wait = self.key_waits.by_conn.get(&key)?;
        if !wait.claim.leave() {
            return None;
        }
        let wait = self.key_waits.remove(key)?;
        let to = ReplyTo { shard: self.id, conn: key, batch: wait.batch, part: 0, words: 0 };
        self.forget(ticket(to), wait.targets);
        Some((to, wait.vain, wait.slow))
    }

    fn tell_vain(&mut self, to: ReplyTo, reply: Option<Reply>) {
        self.arrived(to, |remote| {
            remote.missing -= 1;
            remote.commands = reply.map(Merged::Ready).into_iter().collect();
            remote.bytes = remote.commands.iter().map(Merged::size).sum();
            remote.missing == 0
        });
    }

    /// Answers clients that have waited long enough.
    pub(super) fn end_key_waits(&mut self) {
        let now = self.now.mono_us;
        while let Some(&(at, key)) = self.key_waits.deadlines.first()
            && at <= now
        {
            self.key_waits.deadlines.pop_first();
            if let Some((to, vain, slow)) = self.stop_waiting(key) {
                self.keep_vain(to, slow);
                self.tell_vain(to, vain);
            }
        }
    }

    /// A client no longer wants what it waits for; false when it is being served, or its command
    /// has not yet come to wait.
    pub(super) fn give_up(&mut self, key: ConnKey) -> bool {
        let Some(wait) = self.key_waits.by_conn.get_mut(&key) else { return true };
        if wait.vain.is_none() {
            wait.leaving = true;
            return false;
        }
        let Some((to, ..)) = self.stop_waiting(key) else { return false };
        self.tell_vain(to, None);
        true
    }

    /// A connection is gone.
    pub(super) fn drop_wait(&mut self, key: ConnKey) {
        if self.stop_waiting(key).is_some() {
            return;
        }
        // Somebody is serving it: what it stood in elsewhere is free all the same.
        if let Some(wait) = self.key_waits.remove(key) {
            let to = ReplyTo { shard: self.id, conn: key, batch: wait.batch, part: 0, words: 0 };
            self.forget(ticket(to), wait.targets);
        }
    }

    /// CLIENT UNBLOCK of a client that waits for keys; false when there is none of this number.
    pub(super) fn unblock_key_wait(&mut self, client: u64, error: bool) -> bool {
        let Some(&key) = self.key_waits.by_client.get(&client) else { return false };
        if self.key_waits.by_conn.get(&key).is_none_or(|wait| wait.vain.is_none()) {
            return false;
        }
        let Some((to, vain, slow)) = self.stop_waiting(key) else { return false };
        self.keep_vain(to, slow);
        let reply = vain.map(|vain| match error {
            false => vain,
            true => {
                let mut reply = Reply::new(vain.resp3);
                reply.error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK");
                reply
            }
        });
        self.tell_vain(to, reply);
        true
    }
}
