//! What took long: from the meter into SLOWLOG and the latency monitor.
//!
//! A call is known to its executor, its client to the client's home. So the executor gives it a
//! number and hands it to the home, ahead of the call's reply: whoever has the reply finds the call
//! in the log.

use crate::base::clock::Stopwatch;
use crate::client::ConnKey;
use crate::command::Session;
use crate::config::Config;
use crate::observe::slowlog::SlowCall;
use crate::shard::core::Shard;
use crate::shard::message::{Message, ReplyTo};
use crate::shard::serve::Slow;

/// From when on something is too long, in nanoseconds; the greatest number: never.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For SLOWLOG.
    pub slow_ns: u64,
    /// For the latency monitor.
    pub event_ns: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { slow_ns: u64::MAX, event_ns: u64::MAX }
    }
}

impl Bounds {
    /// What the configuration asks for.
    pub fn of(config: &Config) -> Self {
        let slow = u64::try_from(config.slowlog_log_slower_than).ok();
        let slow = slow.filter(|_| config.slowlog_max_len > 0);
        let event = Some(config.latency_monitor_threshold).filter(|ms| *ms > 0);
        Bounds {
            slow_ns: slow.map_or(u64::MAX, |us| us.saturating_mul(1000)),
            event_ns: event.map_or(u64::MAX, |ms| ms.saturating_mul(1_000_000)),
        }
    }

    /// The lower one.
    pub fn least(&self) -> u64 {
        self.slow_ns.min(self.event_ns)
    }
}

/// A call that passed a bound.
#[derive(Debug)]
pub struct Late {
    /// How long it ran, in nanoseconds.
    pub nanos: u64,
    /// Whether it is of a command flagged `fast`.
    pub fast: bool,
    /// Its arguments, if it belongs into SLOWLOG.
    pub args: Option<Vec<Vec<u8>>>,
}

impl Shard {
    /// Ends the meter's row, and books what was late on the client it ran for.
    pub(super) fn settle_meter(&mut self, session: &Session) {
        let stats = &self.global.registry.shards[self.id];
        self.meter.settle(stats, self.config.latency_tracking);
        self.meter.interrupt();
        for late in self.meter.take_late() {
            if let Some(mut call) = self.late_call(late) {
                call.peer = session.peer().to_owned();
                call.name.clone_from(&session.name);
                self.record_slow(call);
            }
        }
    }

    /// Tells the home of a connection what was late of a job.
    pub(super) fn tell_late(&mut self, to: ReplyTo) {
        for late in self.meter.take_late() {
            if let Some(call) = self.late_call(late) {
                let slow = Message::Slow { conn: to.conn, call: Box::new(call) };
                self.replies.push((to.shard, slow));
            }
        }
    }

    /// Notes the event, and makes what SLOWLOG keeps.
    fn late_call(&self, late: Late) -> Option<SlowCall> {
        let event = if late.fast { "fast-command" } else { "command" };
        self.note_event(event, late.nanos / 1000);
        Some(self.slow_call((late.nanos, late.args?)))
    }

    fn slow_call(&self, (nanos, args): Slow) -> SlowCall {
        SlowCall {
            id: self.global.registry.slowlog.next_id(),
            unix_s: self.unix_s(),
            usec: nanos / 1000,
            args,
            peer: String::new(),
            name: Vec::new(),
        }
    }

    /// Tells the homes of connections that waited what was slow in serving them, ahead of their
    /// replies. It stands behind what they were served by, which has its number by now.
    pub(super) fn tell_served_late(&mut self) {
        for (to, slow) in self.meter.take_served() {
            let call = Box::new(self.slow_call(slow));
            self.order.push(to.shard, Message::Slow { conn: to.conn, call });
        }
    }

    /// Keeps what was slow of a look that was in vain, for a client of this shard.
    pub(super) fn keep_vain(&mut self, to: ReplyTo, slow: Option<Slow>) {
        if let Some(slow) = slow {
            let call = self.slow_call(slow);
            self.keep_slow(to.conn, call);
        }
    }

    /// A call that another shard executed for a client of this one.
    pub(super) fn keep_slow(&mut self, conn: ConnKey, mut call: SlowCall) {
        if let Some(conn) = self.conn(conn) {
            call.peer = conn.session.peer().to_owned();
            call.name.clone_from(&conn.session.name);
        }
        self.record_slow(call);
    }

    fn record_slow(&self, call: SlowCall) {
        self.global.registry.slowlog.record(self.id, call, self.config.slowlog_max_len);
    }

    fn unix_s(&self) -> i64 {
        self.now.unix_us.div_euclid(1_000_000)
    }

    /// Notes that `event` took `usec` microseconds, if that is worth it.
    pub(super) fn note_event(&self, event: &'static str, usec: u64) {
        let (ms, threshold) = (usec / 1000, self.config.latency_monitor_threshold);
        if threshold > 0 && ms >= threshold {
            self.global.registry.events.add(event, self.unix_s(), ms);
        }
    }

    /// A watch, while events are looked for.
    pub(super) fn event_watch(&self) -> Option<Stopwatch> {
        (self.config.latency_monitor_threshold > 0).then(Stopwatch::default)
    }
}
