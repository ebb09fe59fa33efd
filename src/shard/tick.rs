//! The loop of a shard thread: the steps of [`super::core`] driven by a ring.
//!
//! Completions are queued by `enter` and handled after it, never inside. A shard that has nothing
//! to do says so in its inbox, looks once more, and blocks in `enter`; whoever pushes afterwards
//! wakes it through its eventfd.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::base::clock::SystemClock;
use crate::client::ConnKey;
use crate::command::Session;
use crate::command::session::Place;
use crate::resp::Reply;
use crate::ring::{ConnId, Event, RecvBuffer, Ring, Wait};
use crate::shard::core::Shard;
use crate::shard::gather::Rest;
use crate::shard::habit::Linger;
use crate::shard::message::Arrival;
use crate::shard::pin::Pin;
use crate::shard::upkeep::is_local;

/// Longest time a shard blocks when nothing is due, in microseconds.
const IDLE_US: u64 = 1_000_000;
/// Spins between two looks of a thread that stays awake.
const LOOKS: usize = 4;
/// A look that takes longer than this has let another process have the core, in microseconds: the
/// kernel's workers, which complete our own commits there, take less, and a time slice is longer.
const SHARED_US: u64 = 200;
/// Unconsumed input at which a connection that must wait is no longer received from, in bytes.
const INPUT_STOP: usize = 64 * 1024;

/// A shard with its ring.
pub struct Tick {
    shard: Shard,
    ring: Ring,
    clock: SystemClock,
    /// What this turn's reap brought, in order.
    received: Vec<Received>,
    /// Connections that it brought. Whether they may come in is decided by the settings, which the
    /// turn looks at behind it: who has heard of a password that was set finds it asked for.
    accepted: Vec<ConnId>,
    sends: Vec<(ConnKey, Reply)>,
    /// Listeners, on the shard that accepts.
    listeners: Vec<u32>,
    stopping: bool,
    linger: Linger,
    /// Of a thread that is tied to its core as long as that is its own.
    pin: Option<Pin>,
    /// When something last happened, in monotonic microseconds.
    active_us: u64,
}

enum Received {
    Data(ConnId, RecvBuffer),
    /// The stream has ended, in good order or not.
    End(ConnId, bool),
}

fn key(conn: ConnId) -> ConnKey {
    ConnKey { index: conn.index, generation: conn.generation }
}

fn conn_id(key: ConnKey) -> ConnId {
    ConnId { index: key.index, generation: key.generation }
}

impl Tick {
    /// A shard thread over its ring; `listeners` only on the shard that accepts.
    pub fn new(
        shard: Shard,
        mut ring: Ring,
        clock: SystemClock,
        listeners: Vec<OwnedFd>,
        pin: Option<Pin>,
    ) -> Self {
        let listeners = listeners.into_iter().map(|socket| ring.listen(socket)).collect();
        shard.stats().pinned.set(pin.is_some().into());
        Tick {
            shard,
            ring,
            clock,
            received: Vec::new(),
            accepted: Vec::new(),
            sends: Vec::new(),
            listeners,
            stopping: false,
            linger: Linger::default(),
            pin,
            active_us: 0,
        }
    }

    /// Runs until the process stops; gives the shard back with its log durable.
    pub fn run(mut self) -> Shard {
        loop {
            self.turn();
            if self.stopping && self.shard.has_stopped() {
                return self.shard;
            }
            let wait = self.wait();
            if let Err(error) = self.ring.enter(wait) {
                self.shard.fatal(&format!("io_uring_enter failed: {error}"));
            }
            self.shard.awake();
        }
    }

    fn turn(&mut self) {
        self.shard.begin_turn(self.clock.now());
        if let Some(tied) = self.pin.as_mut().and_then(|pin| pin.look(self.shard.polling().0)) {
            self.shard.stats().pinned.set(tied.into());
        }
        if self.shard.should_stop() && !self.stopping {
            self.stopping = true;
            self.shard.stop_serving();
            self.listeners.drain(..).for_each(|l| self.ring.unlisten(l));
        }
        if self.shard.is_called() {
            self.linger.active();
        }
        self.reap();
        self.shard.may_have_work();
        self.shard.take_inbox();
        for conn in std::mem::take(&mut self.accepted) {
            self.accepted(conn);
        }
        for arrival in self.shard.take_adoptions() {
            self.adopt(arrival);
        }
        self.shard.run_fifo();
        self.prefetch();
        for received in std::mem::take(&mut self.received) {
            match received {
                Received::Data(conn, buffer) => {
                    self.shard.input(key(conn), self.ring.bytes(&buffer));
                    self.ring.recycle(buffer);
                    self.hold_back(conn);
                }
                Received::End(conn, true) => self.shard.leave(key(conn)),
                Received::End(conn, false) => {
                    self.shard.disconnect(key(conn));
                    self.ring.close(conn, true);
                }
            }
        }
        self.shard.run_again();
        for conn in self.shard.take_resumed() {
            self.ring.start_receive(conn_id(conn));
        }
        for conn in self.shard.take_forged() {
            let peer = self.ring.peer(conn_id(conn));
            self.shard.cut_off(conn, &peer);
            self.ring.close(conn_id(conn), true);
        }
        self.shard.snapshot_turn();
        self.shard.housekeep();
        let sends = &mut self.sends;
        self.shard.end_turn(&mut self.ring, &mut |conn, reply| sends.push((conn, reply)));
        for (conn, reply) in self.sends.drain(..) {
            let (buf, shared) = reply.into_parts();
            self.ring.send(conn_id(conn), buf, shared);
        }
        for conn in self.shard.take_closing() {
            self.ring.close(conn_id(conn), false);
            self.shard.disconnect(conn);
        }
        for conn in self.shard.take_lingering() {
            self.ring.close(conn_id(conn), true);
            self.shard.disconnect(conn);
        }
    }

    /// Small requests come one per connection: their keys are fetched ahead of all of them.
    fn prefetch(&mut self) {
        for some in self.received.chunks(crate::resp::peek::KEYS_MAX) {
            let data = some.iter().filter_map(|received| match received {
                Received::Data(_, buffer) => Some(self.ring.bytes(buffer)),
                Received::End(..) => None,
            });
            self.shard.prefetch_first(data);
        }
    }

    fn reap(&mut self) {
        while let Some(event) = self.ring.next_event() {
            self.linger.active();
            self.active_us = self.shard.polling().0;
            match event {
                Event::Accepted { conn, .. } => self.accepted.push(conn),
                Event::AcceptFailed { error, .. } => {
                    self.shard.warn(&format!("Accepting client connection: {error}"));
                }
                Event::Received { conn, data } => self.received.push(Received::Data(conn, data)),
                Event::Ended { conn, error } => {
                    self.received.push(Received::End(conn, error.is_none()));
                }
                Event::Sent { conn, result, .. } => self.shard.sent(key(conn), result.is_ok()),
                Event::Closed { .. } | Event::Woken => {}
                Event::Disk(done) => self.shard.disk_done(done, &mut self.ring),
            }
        }
    }

    /// A new connection: refused, kept, or handed to the shard with the fewest.
    fn accepted(&mut self, conn: ConnId) {
        let peer = self.ring.peer(conn);
        if let Err(refusal) = self.shard.admit(&peer) {
            self.ring.send(conn, refusal.to_vec(), Vec::new());
            return self.ring.close(conn, false);
        }
        let target = self.shard.least_loaded();
        if target == self.shard.id {
            return self.begin(conn, None);
        }
        match self.ring.disown(conn) {
            Some(socket) => self.shard.hand_over(target, socket),
            None => self.shard.unload(),
        }
    }

    /// A connection that was accepted elsewhere.
    fn adopt(&mut self, arrival: Arrival) {
        match self.ring.adopt(arrival.socket) {
            Ok(conn) => self.begin(conn, arrival.known),
            Err(_) => self.shard.unload(),
        }
    }

    fn begin(&mut self, conn: ConnId, known: Option<Box<Session>>) {
        let mut session = known.map_or_else(|| self.shard.new_client(), |session| *session);
        self.shard.stats().connections_received.add(1);
        session.place = Some(Box::new(self.place(conn)));
        session.local = is_local(&self.ring.peer(conn));
        self.shard.connect(key(conn), session);
        self.ring.start_receive(conn);
    }

    fn place(&self, conn: ConnId) -> Place {
        let (addr, local) = (self.ring.peer(conn), self.ring.local(conn));
        let fd = self.ring.descriptor(conn);
        // A Unix socket's peer mostly has no name; both ends go by the path.
        let unix = addr.is_empty() || addr.starts_with('/');
        match unix {
            true => Place { addr: format!("{local}:0"), local: format!("{local}:0"), fd, unix },
            false => Place { addr, local, fd, unix },
        }
    }

    /// Stops receiving from a connection whose input piles up because it must wait.
    fn hold_back(&mut self, conn: ConnId) {
        if self.shard.stop_if_piled(key(conn), INPUT_STOP) {
            self.ring.stop_receive(conn);
        }
    }

    /// Whether to look again at once although nothing is there: `busy-poll-usec`.
    fn polls(&self) -> bool {
        let (now, poll) = self.shard.polling();
        poll > 0 && now.saturating_sub(self.active_us) < poll
    }

    fn wait(&mut self) -> Wait {
        if self.shard.is_busy() || self.polls() {
            return Wait::No;
        }
        let mut due = self.shard.next_due_us().min(IDLE_US);
        if due == 0 {
            return Wait::No;
        }
        match self.shard.rest() {
            Rest::Awake(until) => {
                self.stay_awake(until);
                return Wait::No;
            }
            Rest::Nap(until) => due = due.min(until.saturating_sub(self.shard.polling().0)),
            Rest::Sleep if self.shard.may_linger() => {
                let due_us = self.shard.polling().0 + due;
                if self.lingers(due_us) {
                    return Wait::No;
                }
                due = due_us.saturating_sub(self.clock.now().mono_us);
            }
            Rest::Sleep => {}
        }
        if due == 0 || !self.shard.sleep() {
            return Wait::No;
        }
        Wait::Until(Duration::from_micros(due))
    }

    /// Stays awake for a moment behind work, where that pays, but not beyond `due_us`; false: it is
    /// time to sleep.
    fn lingers(&mut self, due_us: u64) -> bool {
        // What the turn has brought is submitted first.
        if self.ring.has_work() || self.shard.is_called() {
            return true;
        }
        let mut now_us = self.clock.now().mono_us;
        let Some(until_us) = self.linger.until(now_us) else { return false };
        while now_us < until_us.min(due_us) {
            let last_us = std::mem::replace(&mut now_us, self.look_later());
            if self.ring.has_work() || self.shard.is_called() {
                self.linger.found(now_us - last_us);
                return true;
            }
        }
        if now_us < due_us {
            self.linger.in_vain();
        }
        now_us >= due_us
    }

    /// Gives way to whoever else wants the core, for a moment; gives the time behind it.
    fn look_later(&self) -> u64 {
        for _ in 0..LOOKS {
            std::hint::spin_loop();
        }
        std::thread::yield_now();
        self.clock.now().mono_us
    }

    /// Looks, without sleeping, until there is something to do or that time has come. Whoever else
    /// wants the core gets it, and is noticed by the time it takes.
    fn stay_awake(&mut self, until_us: u64) {
        let began_us = self.clock.now().mono_us;
        let (mut last_us, mut alone) = (began_us, true);
        while alone && last_us < until_us && !self.ring.has_work() && !self.shard.is_called() {
            let now_us = self.look_later();
            alone = now_us < last_us + SHARED_US;
            last_us = now_us;
        }
        if last_us > began_us {
            self.shard.stayed_awake(alone);
        }
    }
}
