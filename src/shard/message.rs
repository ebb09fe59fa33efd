//! What shards send each other.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use crate::base::clock::Now;
use crate::client::ConnKey;
use crate::client::output::Ends;
use crate::command::packed::{Packed, Requests};
use crate::command::{Answer, Ask, Command, OwnedRequest, Session};
use crate::keyspace::Keyspace;
use crate::keyspace::cut::Open;
use crate::keyspace::waiting::{Claim, Ticket, Waiter};
use crate::keyspace::watch::WatchFlag;
use crate::observe::slowlog::SlowCall;
use crate::persist::aof::format::At;
use crate::persist::turning::Prepared;
use crate::resp::Reply;
use crate::shard::courier::Delivery;
use crate::shard::log::kept::Ending;
use crate::shard::migrate::Hold;
use crate::shard::reload::Keyspaces;
use crate::shard::serve::Slow;
use crate::shard::snapshot;

/// One message. `Job` and `Lease` are entries of the execution FIFO; everything else is handled
/// when it is taken, wherever it stands.
#[derive(Debug)]
pub enum Message {
    /// Commands to execute.
    Job(Box<Job>),
    /// The keyspace is wanted on lease.
    Lease(LeaseCall),
    /// A job with its replies, released by the shard that executed it.
    Ran(Box<Job>),
    /// The reply of what is no job.
    Done(Box<JobDone>),
    /// A keyspace, to the coordinator that asked for it.
    Grant {
        /// The lease's entry.
        entry: u64,
        /// The coordinator's name for the lease.
        lease: u64,
        /// Whose it is.
        shard: usize,
        /// The keyspace.
        space: Box<Keyspace>,
    },
    /// A keyspace, home to its owner.
    Return(Box<Return>),
    /// The owner has released everything a lease's reply tells of its data, or has followed a
    /// stricter policy.
    LeaseReleased {
        /// Where the lease's reply goes.
        to: ReplyTo,
    },
    /// The flush policy has become stricter: adopt it, and say so by [`Message::LeaseReleased`]
    /// once everything executed before is durable and released.
    Stricter {
        /// Where the word goes.
        to: ReplyTo,
    },
    /// Something is asked of this shard; it says so by [`Message::Told`].
    Asked {
        /// Where the answer goes; `part` is the command of the batch it belongs to.
        to: ReplyTo,
        /// The question.
        ask: Box<Ask>,
    },
    /// What a shard answers.
    Told {
        /// Where it goes.
        to: ReplyTo,
        /// The answer.
        answer: Answer,
    },
    /// What another shard's clients have executed, for those who listen here.
    Shown(Bytes),
    /// Nobody on that shard listens any more.
    Deaf(usize),
    /// Entries have settled: look at the release point again.
    Settled,
    /// A call executed for a client of the shard addressed was slow.
    Slow {
        /// The connection.
        conn: ConnKey,
        /// What is known of it; who its client is follows from `conn`.
        call: Box<SlowCall>,
    },
    /// The log has been read again, or not; see [`super::reload`].
    Reloaded(Result<Keyspaces, String>),
    /// The file that SAVE writes has taken the place of the data, or not; see [`super::refill`].
    Refilled(Box<(Keyspaces, Result<(), String>)>),
    /// Requests that name these keys have to wait; see [`super::migrate`].
    Hold(Arc<Hold>),
    /// They do, on one shard more, for the MIGRATE of this name.
    Holding(u64),
    /// What became of a parcel of the MIGRATE of this name.
    Delivered(u64, Box<Delivery>),
    /// These requests may go on.
    LetGo(Arc<Hold>),
    /// Progress of a cut; see [`super::cut`].
    Cut(CutStep),
    /// `appendonly` has been set to `yes`: the log is to begin; see [`super::turning`].
    BeginLog,
    /// The directory is ready for that, or is not.
    LogPrepared(Result<Box<Prepared>, String>),
    /// A connection that was accepted elsewhere.
    Adopt(Arrival),
    /// A command to execute that may wait; see [`super::blocking`].
    Block(Box<BlockCall>),
    /// A waiter is gone: its places in the queues are free.
    Forget(Ticket),
    /// A client waits now.
    Waits(Box<Waits>),
    /// A client that waited is served, or a command that might have waited is answered.
    Served(Box<Answered>),
    /// A key is ready for a client that has to be served with all its keys at hand.
    Called(Arc<Waiter>),
}

/// A connection on its way to the shard that is to serve it.
#[derive(Debug)]
pub struct Arrival {
    /// The socket.
    pub socket: OwnedFd,
    /// Its client, when it has been answered before.
    pub known: Option<Box<Session>>,
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug)]
pub struct ReplyTo {
    /// The shard of the connection.
    pub shard: usize,
    /// The connection.
    pub conn: ConnKey,
    /// The batch in its output.
    pub batch: u64,
    /// The part of the batch.
    pub part: usize,
    /// Arguments of its requests: what it counts for among those with other shards.
    pub words: usize,
}

/// Commands of one batch for one shard, in program order.
///
/// It goes there and comes back: its buffers are made by the shard of the connection, the one for
/// replies with room for short ones, and freed by it. An allocator has more to do when one thread
/// frees what another has allocated.
#[derive(Debug)]
pub struct Job {
    /// Entry id; 0 for a plain message, which has no order relative to other shards.
    pub entry: u64,
    /// Shards whose part of the entry writes under one mark; empty when it needs none.
    pub participants: u64,
    /// Where the replies go.
    pub to: ReplyTo,
    /// The time all parts of the batch see.
    pub now: Now,
    /// The bytes of its requests.
    pub requests: Requests,
    /// The commands.
    pub items: SmallVec<[Item; 1]>,
    /// Their replies.
    pub reply: Reply,
    /// Where each ends.
    pub ends: Ends,
}

/// A command that may wait.
#[derive(Debug)]
pub struct BlockCall {
    /// Where its reply goes.
    pub to: ReplyTo,
    /// The command.
    pub call: Call,
    /// Decides who answers it.
    pub claim: Arc<Claim>,
    /// Encode the reply for RESP3.
    pub resp3: bool,
}

/// A client waits.
#[derive(Debug)]
pub struct Waits {
    /// Its place.
    pub to: ReplyTo,
    /// Until when, in monotonic microseconds.
    pub deadline: Option<u64>,
    /// What it is told then.
    pub vain: Reply,
    /// What SLOWLOG keeps of its look, should it be in vain.
    pub slow: Option<Slow>,
}

/// The reply of a command that may wait, or has.
#[derive(Debug)]
pub struct Answered {
    /// Where it goes.
    pub to: ReplyTo,
    /// The reply.
    pub reply: Reply,
    /// Words of release that it waits for beside.
    pub more: usize,
    /// Shards where the waiter stands in no queue any more, as a set.
    pub at: u64,
}

/// How much of a command a shard executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portion {
    /// All of it: what it answers is the reply.
    All,
    /// Its first part, which counts as the call. The replies of all parts become one.
    First,
    /// Another part.
    Further,
}

/// One element of a job.
#[derive(Debug)]
pub enum Item {
    /// A command, or the part of it that concerns this shard.
    Run {
        /// The row of the command table.
        command: &'static Command,
        /// The client's database.
        db: usize,
        /// It leaves no trace of its uses of keys.
        quiet: bool,
        /// How much of the command it is.
        portion: Portion,
        /// The arguments, among the job's requests.
        request: Packed,
    },
    /// A whole transaction.
    Exec {
        /// Its commands.
        calls: Vec<Call>,
        /// What the client watches, all of it on this shard.
        watch: Option<Watched>,
    },
    /// WATCH of these keys.
    Watch(Watched),
}

impl Item {
    /// Its arguments and their bytes, as far as they are not among the job's requests.
    pub fn weight(&self) -> (usize, usize) {
        match self {
            Item::Run { .. } => (0, 0),
            Item::Exec { calls, .. } => calls.iter().fold((1, 0), |(words, bytes), call| {
                (words + call.request.words(), bytes + call.request.size())
            }),
            Item::Watch(watched) => {
                (watched.keys.len(), watched.keys.iter().map(|(_, key)| key.len()).sum())
            }
        }
    }
}

/// A command with its arguments.
#[derive(Debug)]
pub struct Call {
    /// The row of the command table.
    pub command: &'static Command,
    /// The client's database.
    pub db: usize,
    /// It leaves no trace of its uses of keys.
    pub quiet: bool,
    /// The arguments.
    pub request: OwnedRequest,
}

/// Watched keys and the flag raised when one changes.
#[derive(Clone, Debug)]
pub struct Watched {
    /// (database, key).
    pub keys: Vec<(usize, Vec<u8>)>,
    /// Raised by the owner.
    pub flag: WatchFlag,
}

/// A batch's part that is answered.
#[derive(Debug)]
pub struct JobDone {
    /// Where the replies go.
    pub to: ReplyTo,
    /// All of them.
    pub reply: Reply,
    /// Where each item's reply ends.
    pub ends: Ends,
}

impl JobDone {
    /// The answer of a part that has one item.
    pub fn alone(to: ReplyTo, reply: Reply) -> Box<Self> {
        let ends = smallvec![reply.checkpoint()];
        Box::new(JobDone { to, reply, ends })
    }
}

impl From<Job> for JobDone {
    fn from(job: Job) -> Self {
        JobDone { to: job.to, reply: job.reply, ends: job.ends }
    }
}

/// A request for a keyspace.
#[derive(Clone, Copy, Debug)]
pub struct LeaseCall {
    /// The entry.
    pub entry: u64,
    /// Who coordinates it.
    pub coordinator: usize,
    /// The coordinator's name for it.
    pub lease: u64,
}

/// A keyspace on its way home.
#[derive(Debug)]
pub struct Return {
    /// The lease's entry.
    pub entry: u64,
    /// Where the lease's reply goes; its shard coordinated the lease.
    pub to: ReplyTo,
    /// The keyspace, with the effects it now holds.
    pub space: Box<Keyspace>,
    /// Shards with effects, as a set; empty when the lease changed nothing.
    pub writers: u64,
    /// Shards that were only read, and where their logs stood.
    pub readers: Vec<At>,
    /// The lease changed the whole keyspace: the log goes on in a new file.
    pub cut: Option<CutFile>,
    /// Clients served in it, whose replies wait for it too.
    pub served: Vec<ReplyTo>,
    /// The snapshot that began in it, and what counts this shard's part.
    pub snapshot: Option<(Open, Arc<snapshot::Job>)>,
}

/// The file in which a shard's log goes on behind a cut.
#[derive(Clone, Debug)]
pub struct CutFile {
    /// The cut's coordinator.
    pub coordinator: usize,
    /// Its name.
    pub name: String,
    /// The seed of its checksums.
    pub seed: u64,
    /// Its first position, counted from where the shard's log ends: 1 where the cut itself tells
    /// something, and is what that position stands for.
    pub gap: u64,
    /// What becomes of the log.
    pub turn: Turn,
}

/// What becomes of a shard's log at a cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes on in the new file.
    GoesOn,
    /// It begins with the new file, see [`super::turning`].
    Begins {
        /// The file's first position.
        start: u64,
        /// The log directory.
        dir: Arc<Path>,
    },
    /// It ends, and there is no new file.
    Ends,
}

/// Steps of a cut between its coordinator and the shards.
#[derive(Debug)]
pub enum CutStep {
    /// A shard's old file is durable to the end that is to be named, and its new file exists.
    Ready {
        /// The shard.
        shard: usize,
        /// Where its log ended.
        ending: Ending,
    },
    /// A shard's log has come to its end as it stands: not all of it is durable, or need be.
    Unsealed {
        /// The shard.
        shard: usize,
    },
    /// The manifest that names the new files is durable: they may be written.
    Committed,
    /// A shard cannot create its new file for a rewrite.
    Failed {
        /// What the disk says.
        error: String,
    },
    /// Nothing comes of the cut of a rewrite: the log goes on in the old file.
    GoBack,
    /// It does, in this many shards more.
    WentBack,
}
