//! A shard: its state, and the steps of a turn.
//!
//! # A turn
//!
//! 1. Completions are reaped: disk completions move the release point, received bytes are noted.
//! 2. [`Shard::take_inbox`]: `published` is loaded, *then* the inbox is taken. What stands behind
//!    an entry with a greater id waits for the next turn.
//! 3. [`Shard::run_fifo`], then [`Shard::input`] for what was received in step 1: entries of the
//!    inbox first, then this turn's own requests, strictly in that order.
//! 4. [`Shard::end_turn`]: pushes (each connection's in program order), then returned keyspaces and
//!    replies to other shards, then sockets and log writes, in one `io_uring_enter`.
//!
//! Between 2 and 4 nothing from another thread is looked at.
//!
//! # Why that is linearizable
//!
//! Give every operation a moment: a pushed one, that of its push (of its entry's `published`
//! store); one executed in the turn it was received, the moment of that turn's take. (1) The moment
//! lies between request and reply: bytes are reaped before the take. (2) Each shard executes in the
//! order of these moments: what it took was pushed before the take, its own requests follow, what
//! is pushed later is taken later; entries under construction are not executed before their store,
//! nor is anything behind them. (3) The order of one connection is kept: while a batch of it is
//! with other shards nothing of it is executed directly, and a batch for other shards than the one
//! in flight is pushed under the order lock, hence behind every entry an earlier batch stands
//! behind.
//! So sorting all operations by their moments is a legal single-threaded history.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::base::clock::Now;
use crate::base::random::Random;
use crate::client::{Conn, ConnKey};
use crate::command::Session;
use crate::command::session::Wait;
use crate::config::Config;
use crate::keyspace::{Keyspace, Looked, Recency};
use crate::persist::disk::{Disk, DiskDone, FileId};
use crate::resp::Reply;
use crate::shard::batch::Abroad;
use crate::shard::blocking::KeyWaits;
use crate::shard::clients::Clients;
use crate::shard::cut::{CutLead, CutPart};
use crate::shard::errand::Work;
use crate::shard::gather::Gather;
use crate::shard::global::Global;
use crate::shard::intake::Intake;
use crate::shard::late::Bounds;
use crate::shard::lease::Lease;
use crate::shard::log::{LogWriter, token};
use crate::shard::message::{Arrival, JobDone, Message, ReplyTo};
use crate::shard::meter::Meter;
use crate::shard::migrate::Migrations;
use crate::shard::order::Order;
use crate::shard::release::Told;
use crate::shard::reload::Reload;
use crate::shard::rewrite::Rewriting;
use crate::shard::snapshot::Snapshots;
use crate::shard::turning::Turns;
use crate::shard::wait::Blocked;

/// How long a client that has ended its stream may take to read its replies, in microseconds.
const LEAVING_US: u64 = 10_000_000;
/// Replies that go along with those of a batch, in bytes: longer ones are sent ahead.
const TOGETHER: usize = 4 << 10;

/// One shard.
pub struct Shard {
    /// Its number.
    pub id: usize,
    pub(super) order: Arc<Order<Message>>,
    pub(super) global: Arc<Global>,
    /// The data; `None` while on lease.
    pub(super) space: Option<Box<Keyspace>>,
    /// The log; there is none with `appendonly no`.
    pub(super) log: Option<LogWriter>,
    /// The turn's time.
    pub(super) now: Now,
    pub(super) random: Random,
    pub(super) conns: Vec<Option<Box<Conn>>>,
    /// Taken, behind an entry that is not published.
    waiting: VecDeque<Message>,
    /// Entries to execute, in order.
    pub(super) fifo: VecDeque<Message>,
    /// The lease that pauses the FIFO.
    pub(super) paused: Option<u64>,
    /// Leases coordinated here, by name.
    pub(super) leases: HashMap<u64, Lease>,
    pub(super) next_name: u64,
    /// Pushes of this turn, in program order.
    pub(super) pushes: Vec<Push>,
    /// Replies and keyspaces for other shards.
    pub(super) replies: Vec<(usize, Message)>,
    /// Replies for other shards that wait for the release point.
    pub(super) held: Vec<(u64, Looked, usize, Message)>,
    /// Words that wait until the log is durable, and released, to a position.
    pub(super) following: Vec<(u64, ReplyTo)>,
    /// What the command that has just run wants its client to wait for.
    pub(super) wish: Option<Wait>,
    /// Clients that wait in a command for time or disk.
    pub(super) blocked: Vec<Blocked>,
    /// Clients that wait for keys.
    pub(super) key_waits: KeyWaits,
    /// The command that runs has made the flush policy stricter.
    pub(super) tightened: bool,
    /// What the command that runs leaves to be done aside; its outcome is the reply.
    pub(super) aside: Option<Work>,
    /// DEBUG LOADAOF and DEBUG RELOAD.
    pub(super) reload: Reload,
    /// See [`super::snapshot`].
    pub(super) snapshot: Snapshots,
    /// See [`super::rewrite`].
    pub(super) rewriting: Rewriting,
    /// See [`super::turning`].
    pub(super) turns: Turns,
    /// See [`super::migrate`].
    pub(super) migrations: Migrations,
    /// Connections whose output may have changed.
    pub(super) dirty: Vec<ConnKey>,
    /// Connections with input to go on with.
    pub(super) again: Vec<ConnKey>,
    /// Connections that wait for the release point.
    pub(super) waiters: Vec<ConnKey>,
    /// Connections that speak HTTP, to be cut off before anything more is said to them.
    pub(super) forged: Vec<ConnKey>,
    /// Connections to be closed once their output has left.
    pub(super) closing: Vec<ConnKey>,
    /// Release points of other shards that the log's last causality mark named.
    pub(super) seen: Vec<u64>,
    /// What the causality mark being prepared replaced in `seen`.
    pub(super) preface_seen: Vec<(u8, u64)>,
    /// This shard's part in a cut.
    pub(super) cut: Option<CutPart>,
    /// The cut this shard coordinates.
    pub(super) cut_lead: Option<CutLead>,
    /// Log files that have ended and are to be closed.
    pub(super) old_files: Vec<FileId>,
    /// Connections whose peer has ended its stream, with the time to wait for them at most.
    pub(super) leaving: Vec<(u64, ConnKey)>,
    /// Connections that wait for a cut to end or for the logs to catch up.
    pub(super) parked: Vec<ConnKey>,
    /// Bytes of output waiting in all connections, to bound slow readers.
    pub(super) output_bytes: usize,
    /// What is with other shards.
    pub(super) abroad: Abroad,
    /// Most that `output_bytes` was since memory was given back.
    pub(super) output_peak: usize,
    /// Of the global count, how often memory was given back here.
    pub(super) given_back: u64,
    /// Input that is kept.
    pub(super) intake: Intake,
    /// When the next round of [`Shard::housekeep`] is due.
    pub(super) next_round_us: u64,
    /// When the next commit starts.
    pub(super) gather: Gather,
    /// Until when it waits for more, in monotonic microseconds.
    pub(super) gathering: Option<u64>,
    /// Measures executions.
    pub(super) meter: Meter,
    /// CONFIG RESETSTATs followed so far.
    pub(super) resets: u64,
    /// The configuration as of [`Shard::config_version`].
    pub(super) config: Arc<Config>,
    pub(super) config_version: u64,
    /// Sockets that another shard accepted for this one.
    pub(super) adoptions: Vec<Arrival>,
    /// Connections to be received from again.
    pub(super) resumed: Vec<ConnKey>,
    /// What the others know of the log.
    pub(super) told: Told,
    /// Garbage is left.
    pub(super) freeing: bool,
    /// Many keys are past their expiry.
    pub(super) expiring: bool,
    /// What its connections are asked, postponed and told beyond their replies.
    pub(super) clients: Clients,
    /// The process is stopping: no further request is looked at.
    pub(super) stopping: bool,
}

/// A shard starts over this keyspace, and with this log, if any.
fn starts(space: &mut Keyspace, log: Option<&LogWriter>, order: &Order<Message>, global: &Global) {
    if log.is_some() {
        global.turning.started();
    }
    space.events.set_wanted(global.config().events);
    order.set_released(space.shard, log.map_or(u64::MAX, LogWriter::release));
}

/// A push of step 4.
#[derive(Debug)]
pub enum Push {
    /// To one shard.
    Plain(usize, Message),
    /// To several, under one id.
    Entry {
        /// Shards where it could write.
        writers: u64,
        /// The messages.
        parts: Vec<(usize, Message)>,
    },
}

impl Shard {
    /// A shard over its loaded keyspace.
    pub fn new(
        order: Arc<Order<Message>>,
        global: Arc<Global>,
        mut space: Box<Keyspace>,
        log: Option<LogWriter>,
        random: Random,
    ) -> Self {
        let (id, config) = (space.shard, global.config());
        starts(&mut space, log.as_ref(), &order, &global);
        Shard {
            id,
            seen: (0..order.shards()).map(|s| order.released(s)).collect(),
            order,
            resets: global.resets(),
            config_version: 0,
            global,
            space: Some(space),
            log,
            now: Now::default(),
            random,
            conns: Vec::new(),
            waiting: VecDeque::new(),
            fifo: VecDeque::new(),
            paused: None,
            leases: HashMap::new(),
            next_name: 1,
            pushes: Vec::new(),
            replies: Vec::new(),
            held: Vec::new(),
            following: Vec::new(),
            wish: None,
            blocked: Vec::new(),
            key_waits: KeyWaits::default(),
            tightened: false,
            aside: None,
            reload: Reload::default(),
            snapshot: Snapshots::default(),
            rewriting: Rewriting::default(),
            turns: Turns::default(),
            migrations: Migrations::default(),
            dirty: Vec::new(),
            again: Vec::new(),
            waiters: Vec::new(),
            forged: Vec::new(),
            closing: Vec::new(),
            preface_seen: Vec::new(),
            cut: None,
            cut_lead: None,
            old_files: Vec::new(),
            leaving: Vec::new(),
            parked: Vec::new(),
            output_bytes: 0,
            abroad: Abroad::default(),
            output_peak: 0,
            given_back: 0,
            intake: Intake::default(),
            next_round_us: 0,
            gather: Gather::default(),
            gathering: None,
            meter: Meter::bounded(Bounds::of(&config)),
            config,
            adoptions: Vec::new(),
            resumed: Vec::new(),
            told: Told::default(),
            freeing: false,
            expiring: false,
            clients: Clients::default(),
            stopping: false,
        }
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.order.shards()
    }

    /// The release point; everything when nothing is logged.
    pub fn release(&self) -> u64 {
        self.log.as_ref().map_or(u64::MAX, LogWriter::release)
    }

    /// Position behind the last frame made.
    pub(super) fn framed(&self) -> u64 {
        self.log.as_ref().map_or(u64::MAX, LogWriter::appended)
    }

    /// A name for a batch or lease, unique on this shard.
    pub(super) fn name(&mut self) -> u64 {
        self.next_name += 1;
        self.next_name
    }

    // ---- connections ----

    /// A client has connected.
    pub fn connect(&mut self, key: ConnKey, session: Session) {
        let index = key.index as usize;
        if self.conns.len() <= index {
            self.conns.resize_with(index + 1, || None);
        }
        assert!(self.conns[index].is_none(), "a slab index has one tenant");
        self.conns[index] = Some(Box::new(Conn::new(key, session, self.now.mono_us)));
    }

    /// A client has ended its stream, as `nc` does behind its last line: it is closed once all it
    /// has asked for is answered, or `LEAVING_US` later.
    pub fn leave(&mut self, key: ConnKey) {
        let Some(mut conn) = self.take_conn(key) else { return };
        conn.leaving = true;
        self.leaving.push((self.now.mono_us + LEAVING_US, key));
        self.mark_dirty(&mut conn);
        self.put_conn(conn);
        self.give_up(key);
    }

    /// Clients that have ended their stream and do not read what they were told.
    pub fn take_lingering(&mut self) -> Vec<ConnKey> {
        let now = self.now.mono_us;
        // Deadlines ascend.
        let due = self.leaving.partition_point(|(at, _)| *at <= now);
        let due: Vec<ConnKey> = self.leaving.drain(..due).map(|(_, key)| key).collect();
        // One that has not been told yet is owed what may be nowhere else: an element. Not so one
        // that is sent away, or that waits in WAIT, perhaps for ever.
        let owed = |key: &ConnKey| {
            let asks = self.conn(*key).is_some_and(|c| !c.ended && !c.output.slots.is_empty());
            asks && !self.blocked.iter().any(|blocked| blocked.is_of(*key))
        };
        let (owed, over): (Vec<_>, _) = due.into_iter().partition(owed);
        self.leaving.extend(owed.into_iter().map(|key| (now + LEAVING_US, key)));
        over
    }

    /// A client is gone; what it asked other shards for comes back to nobody.
    pub fn disconnect(&mut self, key: ConnKey) {
        if let Some(conn) = self.take_conn(key) {
            self.unload();
            self.drop_wait(key);
            self.output_bytes -= conn.counted;
            self.intake.bytes -= conn.counted_input;
            if conn.postponed {
                self.clients.postponed.retain(|k| *k != key);
            }
            if conn.session.monitor {
                self.clients.listeners.retain(|k| *k != key);
                self.tell_if_deaf();
            }
        }
    }

    /// Counts a connection's output as it is now in the sum over all connections.
    pub(super) fn account(&mut self, conn: &mut Conn) {
        let now = conn.output.len();
        self.clients.recent.output(now);
        self.output_bytes = self.output_bytes + now - conn.counted;
        conn.counted = now;
        conn.output_peak = conn.output_peak.max(now);
    }

    /// Takes a connection out while it is worked on.
    pub(super) fn take_conn(&mut self, key: ConnKey) -> Option<Box<Conn>> {
        let slot = self.conns.get_mut(key.index as usize)?;
        if slot.as_ref()?.key != key {
            return None;
        }
        slot.take()
    }

    /// Puts it back.
    pub(super) fn put_conn(&mut self, mut conn: Box<Conn>) {
        let index = conn.key.index as usize;
        self.clients.recent.input(conn.input.len());
        self.intake.bytes = self.intake.bytes + conn.input.len() - conn.counted_input;
        conn.counted_input = conn.input.len();
        if conn.stopped && !conn.crammed && !self.must_wait(&conn) {
            conn.stopped = false;
            self.resumed.push(conn.key);
        }
        debug_assert!(self.conns[index].is_none());
        self.conns[index] = Some(conn);
    }

    /// Looks at a connection.
    pub fn conn(&self, key: ConnKey) -> Option<&Conn> {
        self.conns.get(key.index as usize)?.as_deref().filter(|c| c.key == key)
    }

    /// Looks at a connection to change it.
    pub fn conn_mut(&mut self, key: ConnKey) -> Option<&mut Conn> {
        self.conns.get_mut(key.index as usize)?.as_deref_mut().filter(|c| c.key == key)
    }

    /// Every connection.
    pub fn conns(&self) -> impl Iterator<Item = &Conn> {
        self.conns.iter().flatten().map(|c| &**c)
    }

    /// Notes that a connection's output may have changed.
    pub(super) fn mark_dirty(&mut self, conn: &mut Conn) {
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(conn.key);
        }
    }

    // ---- the turn ----

    /// Begins a turn at this time.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
        self.note_time();
    }

    /// Tells the keyspace, if it is at home, what is to be noted of keys' use now.
    pub(super) fn note_time(&mut self) {
        if let Some(space) = &mut self.space {
            space.set_recency(Recency::new(self.config.noted, self.now.unix_s()));
        }
    }

    /// Step 2: takes the inbox.
    pub fn take_inbox(&mut self) {
        self.follow_failing();
        let published = self.order.published();
        let mut taken = std::mem::take(&mut self.waiting);
        self.order.inbox(self.id).take(&mut taken);
        // Whoever has the reply of a CONFIG SET finds it in force, on every shard; and what comes
        // behind a CONFIG RESETSTAT counts. What was taken may have been sent behind either, so
        // they are looked at behind that.
        self.refresh_settings();
        self.refresh_stats();
        let mut behind = false;
        for message in taken {
            let entry = match &message {
                Message::Job(job) => Some(job.entry),
                Message::Lease(call) => Some(call.entry),
                // In their place behind what was sent before.
                Message::Block(_) | Message::Forget(_) => Some(0),
                _ => None,
            };
            match entry {
                Some(id) if behind || id > published => {
                    behind = true;
                    self.waiting.push_back(message);
                }
                Some(_) => self.fifo.push_back(message),
                None => self.immediate(message),
            }
        }
        self.note_second();
        self.note_seen();
    }

    fn immediate(&mut self, message: Message) {
        match message {
            Message::Job(_) | Message::Lease(_) | Message::Block(_) | Message::Forget(_) => {
                unreachable!("entries go to the FIFO")
            }
            Message::Waits(waits) => self.waits(*waits),
            Message::Served(answered) => self.served(*answered),
            Message::Called(waiter) => self.called(&waiter),
            Message::Ran(job) => self.part_done(JobDone::from(*job)),
            Message::Done(done) => self.part_done(*done),
            Message::Grant { entry, lease, shard, space } => {
                self.granted(entry, lease, shard, space);
            }
            Message::Return(home) => self.come_home(*home),
            Message::Slow { conn, call } => self.keep_slow(conn, *call),
            Message::LeaseReleased { to } if self.is_word_to_reload(to) => {}
            Message::LeaseReleased { to } => self.arrived(to, |remote| {
                // One that waited too long has been answered.
                let last = remote.missing == 1;
                remote.missing = remote.missing.saturating_sub(1);
                last
            }),
            Message::Stricter { to } => self.follow_stricter(to),
            Message::Settled => self.move_release(),
            Message::Reloaded(outcome) => self.reloaded(outcome),
            Message::Refilled(refilled) => self.refilled(refilled.0, refilled.1),
            Message::Hold(hold) => self.hold(hold),
            Message::Holding(name) => self.is_holding(name),
            Message::Delivered(name, delivery) => self.delivered(name, *delivery),
            Message::LetGo(hold) => self.let_go(&hold),
            Message::Cut(step) => self.cut_step(step),
            Message::BeginLog => self.turn_on(),
            Message::LogPrepared(prepared) => self.log_prepared(prepared),
            Message::Adopt(arrival) => self.adoptions.push(arrival),
            Message::Asked { to, ask } => {
                let answer = self.answer_to(&ask, to);
                self.replies.push((to.shard, Message::Told { to, answer }));
            }
            Message::Told { to, answer } => {
                self.arrived(to, |remote| remote.answered(to.part, answer));
            }
            Message::Shown(lines) => self.hear(&lines),
            Message::Deaf(shard) => self.clients.listening.retain(|s| *s != shard),
        }
    }

    /// Step 3, first half: executes entries in order until a lease pauses.
    pub fn run_fifo(&mut self) {
        let mut fetched = 0;
        while self.paused.is_none() && !self.fifo.is_empty() {
            if fetched == 0 {
                fetched = self.prefetch_fifo();
            }
            fetched -= 1;
            match self.fifo.pop_front() {
                Some(Message::Job(job)) => self.run_job(job),
                Some(Message::Lease(call)) => self.grant(call),
                Some(Message::Block(call)) => self.run_block(*call),
                Some(Message::Forget(ticket)) => self.forget_here(&ticket),
                Some(_) | None => unreachable!("only entries are queued"),
            }
        }
    }

    /// Step 3, last: goes on with connections that had to wait.
    pub fn run_again(&mut self) {
        if self.paused.is_some() {
            return;
        }
        for key in std::mem::take(&mut self.again) {
            if let Some(mut conn) = self.take_conn(key) {
                conn.again = false;
                self.consume(&mut conn, b"");
                self.put_conn(conn);
            }
        }
        self.end_waits();
        self.end_key_waits();
        self.serve_here();
        self.run_crowded();
        self.start_reload();
        self.try_rewrite();
        self.try_seal();
        self.try_mend();
        self.try_end_log();
        self.start_queued_save();
        self.start_migrations();
        if !self.parked.is_empty() && !self.global.cut_busy() && !self.is_log_pressed() {
            for key in std::mem::take(&mut self.parked) {
                if let Some(mut conn) = self.take_conn(key) {
                    conn.blocked = false;
                    self.consume(&mut conn, b"");
                    self.put_conn(conn);
                }
            }
        }
    }

    /// Step 4: pushes, replies, log writes; `send` gets what each connection may be told.
    pub fn end_turn(&mut self, disk: &mut impl Disk, send: &mut dyn FnMut(ConnKey, Reply)) {
        if self.shards() > 1 {
            // Before anything of this turn is shown: INFO on another shard tells of it.
            self.publish();
        }
        self.send_shown();
        for push in std::mem::take(&mut self.pushes) {
            match push {
                Push::Plain(shard, message) => self.order.push(shard, message),
                Push::Entry { writers, parts } => {
                    self.order.push_entry(writers, parts, |message, id| match message {
                        Message::Job(job) => job.entry = id,
                        Message::Lease(call) => call.entry = id,
                        _ => unreachable!("only these are entries"),
                    });
                }
            }
        }
        self.tell_served_late();
        self.write_log_now(disk);
        for (shard, message) in std::mem::take(&mut self.replies) {
            self.order.push(shard, message);
        }
        self.flush_outputs(send);
        self.write_log(disk);
        self.cut_progress(disk);
        self.close_old_files(disk);
        self.note_flushing();
    }

    /// Whether what is ready goes along with the replies that a batch brings, in one send.
    fn has_more(&self, conn: &Conn) -> bool {
        conn.together.is_some() && conn.output.ready.len() < TOGETHER && !self.stopping
    }

    fn flush_outputs(&mut self, send: &mut dyn FnMut(ConnKey, Reply)) {
        let release = self.release();
        for key in std::mem::take(&mut self.dirty) {
            let Some(mut conn) = self.take_conn(key) else { continue };
            conn.dirty = false;
            let before = conn.output.slots.len();
            conn.output.advance(release);
            if !conn.output.slots.is_empty() && !conn.waiting {
                conn.waiting = true;
                self.waiters.push(key);
            }
            // As in Redis nothing is sent of what passes the limit, however fast it would be read.
            let over = self.enforce_output_limit(&mut conn);
            if !over
                && conn.output.sending.is_none()
                && !conn.output.ready.is_empty()
                && !self.has_more(&conn)
            {
                let resp3 = conn.session.resp3;
                let reply = std::mem::replace(&mut conn.output.ready, Reply::new(resp3));
                conn.output.sending = Some(reply.len());
                send(key, reply);
            }
            self.account(&mut conn);
            if before > 0 && conn.output.is_empty() && !conn.input.is_empty() {
                // What is kept from a client makes room, and no send ends that would tell of it.
                self.go_on(&mut conn);
            }
            // A peer that has ended its stream still gets what it asked for, and that is asked for
            // though it waits for room (`held`).
            let waits = conn.again || conn.blocked || conn.held;
            let leaves = conn.session.closing || conn.leaving && !waits;
            if leaves && conn.output.is_empty() && !conn.ended {
                conn.ended = true;
                self.closing.push(key);
            }
            self.put_conn(conn);
        }
    }

    /// A send has ended; `ok` is false when the peer is gone.
    pub fn sent(&mut self, key: ConnKey, ok: bool) {
        let Some(mut conn) = self.take_conn(key) else { return };
        assert!(conn.output.sending.take().is_some(), "a send was in flight");
        self.account(&mut conn);
        if ok {
            self.mark_dirty(&mut conn);
            if !conn.input.is_empty() {
                self.go_on(&mut conn);
            }
        } else if !conn.ended {
            // The peer is gone; when receiving was stopped nothing else will tell.
            conn.ended = true;
            self.closing.push(key);
        }
        self.put_conn(conn);
    }

    /// The last batch or lease of a connection is complete: the connection is free again.
    pub(super) fn came_back(&mut self, conn: &mut Conn) {
        conn.targets = 0;
        conn.blocked = false;
        if !conn.input.is_empty() {
            self.go_on(conn);
        }
    }

    /// `client-output-buffer-limit`: a client that does not read what it asked for is sent away.
    /// True when it is, with this.
    fn enforce_output_limit(&mut self, conn: &mut Conn) -> bool {
        let limit = self.config.output_limit_normal;
        let len = conn.output.replied() as u64;
        let now = self.now.mono_us;
        if limit.soft == 0 || len < limit.soft {
            conn.over_soft_us = None;
        }
        if limit.hard == 0 && limit.soft == 0 {
            return false;
        }
        let since = match limit.soft {
            0 => None,
            soft if len < soft => None,
            _ => Some(*conn.over_soft_us.get_or_insert(now)),
        };
        let long = since.is_some_and(|at| now.saturating_sub(at) > limit.seconds * 1_000_000);
        let over = !conn.ended && (limit.hard > 0 && len >= limit.hard || long);
        if over {
            self.stats().output_buffer_disconnections.add(1);
            self.send_away(conn);
        }
        over
    }

    /// Notes that a connection's input can be gone on with.
    pub(super) fn go_on(&mut self, conn: &mut Conn) {
        if !conn.again {
            conn.again = true;
            self.again.push(conn.key);
        }
    }

    /// Connections to be closed now.
    pub fn take_closing(&mut self) -> Vec<ConnKey> {
        std::mem::take(&mut self.closing)
    }

    /// A disk operation of this shard has completed.
    pub fn disk_done(&mut self, done: DiskDone, disk: &mut impl Disk) {
        match token::kind(done.token) {
            token::WRITE
            | token::SYNC
            | token::FILL
            | token::DIRECT
            | token::SHORTEN
            | token::RESERVE
            | token::FORGET
            | token::SEND => self.log_done(done),
            token::CLOSE => {}
            token::CUT_SYNC | token::CUT_CREATE => self.cut_disk_done(done, disk),
            _ => self.cut_lead_done(done, disk),
        }
    }

    /// True when the next turn has work without any new event.
    pub fn is_busy(&self) -> bool {
        !self.again.is_empty() && self.paused.is_none()
            || !self.waiting.is_empty()
            || !self.dirty.is_empty()
            || !self.adoptions.is_empty()
            || !self.resumed.is_empty()
            || self.freeing && self.space.is_some()
            || self.has_snapshot_work()
    }

    /// Whether a connection waits for a cut to end or for the logs to catch up.
    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty() || !self.reload.wanted.is_empty()
    }

    /// The shard's data and log, taken apart at the end.
    pub fn into_parts(self) -> (Option<Box<Keyspace>>, Option<LogWriter>) {
        (self.space, self.log)
    }
}
