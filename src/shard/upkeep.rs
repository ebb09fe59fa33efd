//! What a shard does besides requests: admitting clients, expiring, freeing, stopping.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock::Time;
use crate::base::memory::{self, AtOnce};
use crate::client::{Conn, ConnKey};
use crate::command::{Command, Session};
use crate::config::{Config, Settings};
use crate::keyspace::{Counters, Keyspace};
use crate::observe::ShardStats;
use crate::shard::core::Shard;
use crate::shard::gather::Rest;
use crate::shard::log::LogWriter;
use crate::shard::message::{Arrival, Message};

/// Interval of expiry and other small rounds, in microseconds.
const ROUND_US: u64 = 100_000;
/// Keys looked at per round of active expiry.
const EXPIRE_BUDGET: usize = 400;
/// Entries freed per turn when there is garbage, and how many of them between two looks at the
/// clock: towards the end each may be the last of its page, which then goes back to the system.
const FREE_BUDGET: usize = 2_000;
const FREE_STEP: usize = 8;
/// How long that may take. What an entry takes depends on how much memory becomes free with it.
const FREE_TIME: Duration = Duration::from_micros(150);

/// Output that, once it is gone, is worth giving its memory back to the system, in bytes.
const GIVE_BACK_MIN: usize = 16 << 20;

/// What a client beyond `maxclients` hears.
pub const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is \
enabled and no password is set for the default user. In this mode connections are only accepted \
from the loopback interface. If you want to connect from external computers to Redis you may adopt \
one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET \
protected-mode no' from the loopback interface by connecting to Redis from the same host the \
server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. \
Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the \
protected mode by editing the Redis configuration file, and setting the protected mode option to \
'no', and then restarting the server. 3) If you started the server manually just for testing, \
restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the \
default user. NOTE: You only need to do one of the above things in order for the server to start \
accepting connections from the outside.\r\n";

/// Whether a peer is on this machine: a loopback address or a Unix socket.
pub fn is_local(peer: &str) -> bool {
    ["127.", "[::1]", "/", "[::ffff:127."].iter().any(|start| peer.starts_with(start))
        || peer.is_empty()
}

/// Why a command that a directive guards is refused to a client, if it is.
pub fn guarded(config: &Config, command: &Command, local: bool) -> Option<String> {
    let container = command.name.split('|').next().unwrap_or_default();
    let directive = format!("enable-{container}-command");
    let allowed = match config.text(&directive) {
        Some(b"yes") => true,
        Some(b"local") => local,
        _ => false,
    };
    let name = container.to_ascii_uppercase();
    (!allowed).then(|| {
        format!(
            "ERR {name} command not allowed. If the {directive} option is set to \"local\", you \
             can run it from a local connection, otherwise you need to set this option in the \
             configuration file, and then restart the server."
        )
    })
}

/// `protected-mode`: what a client from `peer` hears where it may not come in.
pub fn stranger(settings: &Settings, peer: &str) -> Option<&'static [u8]> {
    let open = !settings.protected_mode || settings.requirepass.is_some() || is_local(peer);
    if open { None } else { Some(PROTECTED) }
}

impl Shard {
    /// Whether a client from `peer` may come in, counting it if so; the refusal otherwise.
    pub fn admit(&self, peer: &str) -> Result<(), &'static [u8]> {
        let settings = &self.config;
        if let Some(refusal) = stranger(settings, peer) {
            return Err(refusal);
        }
        let clients = &self.global.clients;
        if clients.fetch_add(1, Ordering::Relaxed) >= settings.maxclients as usize {
            clients.fetch_sub(1, Ordering::Relaxed);
            self.stats().connections_rejected.add(1);
            return Err(TOO_MANY);
        }
        Ok(())
    }

    /// The shard with the fewest connections; the caller's choice is counted at once.
    pub fn least_loaded(&self) -> usize {
        let loads = &self.global.connections;
        let least = (0..loads.len()).min_by_key(|s| loads[*s].load(Ordering::Relaxed)).unwrap_or(0);
        loads[least].fetch_add(1, Ordering::Relaxed);
        least
    }

    /// Sends a connection to the shard that will serve it.
    pub fn hand_over(&mut self, shard: usize, socket: OwnedFd) {
        self.replies.push((shard, Message::Adopt(Arrival { socket, known: None })));
    }

    /// A connection speaks HTTP: it is cut off, and hears nothing of what it asked for before.
    pub(super) fn forged(&mut self, conn: &mut Conn) {
        conn.session.closing = true;
        self.forged.push(conn.key);
    }

    /// Connections to be cut off now.
    pub fn take_forged(&mut self) -> Vec<ConnKey> {
        std::mem::take(&mut self.forged)
    }

    /// Forgets a connection that spoke HTTP from `peer`, and says so at most once a minute.
    pub fn cut_off(&mut self, key: ConnKey, peer: &str) {
        self.disconnect(key);
        if self.global.may_tell_of_forgery(self.now.mono_us) {
            self.warn(&format!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or \
                 Host: commands to Redis. This is likely due to an attacker attempting to use \
                 Cross Protocol Scripting to compromise your Redis instance. Connection from \
                 {peer} aborted."
            ));
        }
    }

    /// Connections that other shards accepted for this one.
    pub fn take_adoptions(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.adoptions)
    }

    /// A connection counted here could not be kept.
    pub fn unload(&self) {
        self.global.connections[self.id].fetch_sub(1, Ordering::Relaxed);
        self.global.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections of this shard.
    pub(super) fn connections(&self) -> usize {
        self.global.connections[self.id].load(Ordering::Relaxed)
    }

    /// A client that has not been heard of before.
    pub fn new_client(&self) -> Session {
        let id = self.global.next_client.fetch_add(1, Ordering::Relaxed);
        Session::new(id, self.config.requirepass.is_none())
    }

    /// Whether receiving from a connection is to be stopped because its input piles up.
    pub fn stop_if_piled(&mut self, key: ConnKey, limit: usize) -> bool {
        let paused = self.paused.is_some();
        let Some(conn) = self.conn(key) else { return false };
        let waits = (paused || self.must_wait(conn)) && conn.input.len() > limit;
        let crams = self.crams(conn);
        let stop = (waits || crams) && !conn.stopped;
        if stop && let Some(conn) = self.conn_mut(key) {
            conn.stopped = true;
            conn.crammed = crams;
            if crams {
                self.intake.crammed.push_back(key);
            }
        }
        stop
    }

    /// Whether a connection's input has to wait. Whatever ends that takes the connection out and
    /// puts it back, which is where it is received from again.
    pub(super) fn must_wait(&self, conn: &Conn) -> bool {
        conn.blocked || conn.again || conn.held || self.is_full(conn, &None)
    }

    /// Connections that may be received from again.
    pub fn take_resumed(&mut self) -> Vec<ConnKey> {
        std::mem::take(&mut self.resumed)
    }

    /// The rounds that are due: expiry, freeing, idle clients, figures for INFO.
    pub fn housekeep(&mut self) {
        let now = self.now.mono_us;
        self.end_pause();
        self.give_up_reload();
        self.give_up_mending();
        self.look_for_end();
        self.save_emptied();
        let mut expiry = (now >= self.next_round_us).then(|| self.event_watch()).flatten();
        if let Some(space) = &mut self.space {
            self.freeing = !space.garbage.is_empty() && !free_slice(space, self.global.time());
            if now >= self.next_round_us && space.expires_actively {
                let done = space.active_expire(self.now.unix_ms(), EXPIRE_BUDGET);
                self.expiring = done.backlog;
                space.watched.sweep();
            }
            self.global.set_memory(self.id, space.memory());
        }
        self.tell_rest();
        if let Some(watch) = &mut expiry {
            self.note_event("expire-cycle", watch.lap() / 1000);
        }
        self.pick_favoured();
        if now >= self.next_round_us {
            // Many keys past their expiry are worth a round every few milliseconds.
            self.next_round_us = now + if self.expiring { ROUND_US / 50 } else { ROUND_US };
            self.refresh_settings();
            self.refresh_stats();
            self.clients.recent.advance(now);
            self.end_idle();
            self.give_memory_back();
            self.publish();
            self.look_at_room();
            self.warn_of_slow_disk();
            self.warn_of_newer_log();
            if self.id == 0 {
                self.save_by_itself();
                self.rewrite_by_itself();
                self.warn_of_long_log();
                self.expire_backup();
                self.global.lines.close_old();
                self.global.registry.sample(self.now);
            }
        }
    }

    /// Says once that the log now holds what Redis 7.0 does not know.
    fn warn_of_newer_log(&self) {
        let is_newer = self.space.as_ref().is_some_and(|space| space.effects.is_newer());
        if is_newer && !self.global.newer_said.swap(true, Ordering::Relaxed) {
            self.warn(
                "Fields of a hash were given an expiry: the log now holds HPEXPIREAT or HPERSIST, \
                 which Redis before 7.4 does not load (docs/COMPATIBILITY.md).",
            );
        }
    }

    /// Says that the log has grown long, once for each doubling.
    fn warn_of_long_log(&mut self) {
        let size = self.global.registry.log_size();
        let rewrites = self.config.auto_aof_rewrite_percentage > 0;
        if !rewrites && size > self.config.log_long() && size >= 2 * self.rewriting.long_log_said {
            self.rewriting.long_log_said = size;
            self.warn(&format!(
                "The log has grown to {} MiB, and auto-aof-rewrite-percentage is 0: until \
                 BGREWRITEAOF what is deleted or written over stays in it and is replayed at the \
                 next start.",
                size >> 20
            ));
        }
    }

    /// This shard's counters.
    pub(super) fn stats(&self) -> &ShardStats {
        &self.global.registry.shards[self.id]
    }

    /// Begins the counters again if CONFIG RESETSTAT asked for it.
    pub(super) fn refresh_stats(&mut self) {
        let resets = self.global.resets();
        if resets != self.resets {
            self.resets = resets;
            self.stats().reset();
            if let Some(space) = &mut self.space {
                space.counters = Counters { dirty: space.counters.dirty, ..Counters::default() };
            }
        }
    }

    /// Makes a keyspace's figures known: for INFO inside a transaction, what it has done so far.
    pub(super) fn publish_space(&self, space: &Keyspace) {
        let stats = &self.global.registry.shards[space.shard];
        for (db, shown) in space.dbs.iter().zip(&stats.databases) {
            shown.keys.set(db.len() as u64);
            shown.expires.set(db.expires_len() as u64);
            shown.avg_ttl.set(db.avg_ttl().max(0) as u64);
            shown.timed.set(db.timed_len() as u64);
        }
        stats.keyspace_hits.set(space.counters.hits);
        stats.keyspace_misses.set(space.counters.misses);
        stats.expired_keys.set(space.counters.expired);
        stats.expired_subkeys.set(space.counters.expired_fields);
        stats.dirty.set(space.counters.dirty);
        stats.data_memory.set(space.memory() as u64);
        stats.lazyfree_pending.set(space.garbage.len() as u64);
        stats.log_position.set(space.effects.end());
        if !space.effects.enabled() {
            stats.stream.set(space.effects.stream());
        }
        let waiting = &space.waiting;
        stats.blocking_keys.set(waiting.keys() as u64);
        stats.blocking_keys_on_absence.set(waiting.keys_on_absence() as u64);
    }

    /// Makes this shard's figures known for INFO.
    pub(super) fn publish(&self) {
        let stats = self.stats();
        if let Some(space) = &self.space {
            self.publish_space(space);
        }
        stats
            .connected_clients
            .set(self.global.connections[self.id].load(Ordering::Relaxed) as u64);
        stats.recent_max_input_buffer.set(self.clients.recent.max_input());
        stats.recent_max_output_buffer.set(self.clients.recent.max_output());
        stats.client_memory.set(self.output_bytes as u64);
        let blocked = self.clients.postponed.len() + self.blocked.len() + self.key_waits.len();
        stats.blocked_clients.set(blocked as u64);
        stats.held_replies.set((self.held.len() + self.waiters.len()) as u64);
        if let Some(log) = &self.log {
            let figures = log.stats();
            stats.log_written.set(log.appended());
            stats.log_durable.set(log.durable());
            stats.log_released.set(log.release());
            stats.stream.set(log.stream_released());
            stats.log_frames.set(figures.frames);
            stats.log_bytes.set(figures.bytes);
            stats.log_size.set(log.tight());
            stats.log_buffer.set(log.buffered() as u64);
            stats.log_pending_syncs.set(u64::from(log.is_syncing()));
            stats.log_syncs.set(figures.syncs);
            stats.log_delayed_syncs.set(figures.delayed);
            stats.log_unflushed.set(log.unflushed() as u64);
            stats.log_ahead.set(u64::from(log.is_segment()));
            stats.log_filler.set(figures.filler);
            stats.log_at_once.set(figures.at_once);
            stats.log_failed.set(u64::from(log.is_failing()));
        }
    }

    /// What bursts of output took goes back to the system once they are over: on every shard,
    /// since what one frees another may have allocated.
    fn give_memory_back(&mut self) {
        if let Some(log) = &mut self.log {
            log.rest_memory(self.now.mono_us);
        }
        let asked = &self.global.give_backs;
        self.output_peak = self.output_peak.max(self.output_bytes);
        if self.output_peak > GIVE_BACK_MIN && self.output_bytes < self.output_peak / 4 {
            self.output_peak = 0;
            asked.fetch_add(1, Ordering::Relaxed);
        }
        let asked = asked.load(Ordering::Relaxed);
        if asked != self.given_back {
            self.given_back = asked;
            memory::give_back();
        }
    }

    fn end_idle(&mut self) {
        let timeout = u64::from(self.config.timeout) * 1_000_000;
        if timeout == 0 {
            return;
        }
        let now = self.now.mono_us;
        let idle = |c: &&crate::client::Conn| {
            !c.blocked && c.output.is_empty() && now.saturating_sub(c.last_us) > timeout
        };
        let idle: Vec<ConnKey> = self.conns().filter(idle).map(|c| c.key).collect();
        self.closing.extend(idle);
    }

    /// How long this shard may block, in microseconds.
    pub fn next_due_us(&self) -> u64 {
        let now = self.now.mono_us;
        let volatile = self.space.as_ref().is_some_and(|s| s.has_volatile());
        let timeout = self.config.timeout > 0;
        let expires = || {
            let ttl = self.config.backup.sealed_ttl;
            self.id == 0 && self.global.registry.backups.will_expire(ttl)
        };
        let round = if volatile || timeout || self.has_parked() || expires() {
            self.next_round_us.saturating_sub(now)
        } else {
            u64::MAX
        };
        let log = self.log.as_ref().and_then(LogWriter::next_due_us);
        let log = log.map_or(u64::MAX, |at| at.saturating_sub(now));
        // Whether the disk takes long is to be seen though nothing else happens.
        let waits_for_disk = self.log.as_ref().is_some_and(|log| log.waits_since().is_some());
        let log = log.min(if waits_for_disk { 1_000_000 } else { u64::MAX });
        let parked = if self.has_parked() || self.cut_lead.is_some() { 1_000 } else { u64::MAX };
        let gathering = self.gathering.map_or(u64::MAX, |at| at.saturating_sub(now));
        let waits = self.next_deadline().map_or(u64::MAX, |at| at.saturating_sub(now));
        let crammed = if self.intake.crammed.is_empty() { u64::MAX } else { 1_000 };
        let pause = self.clients.pause.map_or(u64::MAX, |pause| pause.left_us(now));
        // The writer does not say that it takes more.
        let snapshot = match self.has_snapshot() {
            true => 500,
            false
                if self.has_rewrite_to_begin()
                    || self.has_log_to_mend()
                    || self.has_backup_to_seal()
                    || self.has_log_to_end()
                    || self.snapshot.has_queue() =>
            {
                1_000
            }
            false
                if self.snapshot.emptied.is_some()
                    || self.id == 0 && self.global.ending.is_wished() =>
            {
                500
            }
            false => u64::MAX,
        };
        round.min(log).min(parked).min(pause).min(snapshot).min(gathering).min(crammed).min(waits)
    }

    /// The turn's monotonic time and `busy-poll-usec`, both in microseconds.
    pub fn polling(&self) -> (u64, u64) {
        (self.now.mono_us, self.config.busy_poll_usec)
    }

    /// What the thread does while there is nothing to do.
    pub fn rest(&mut self) -> Rest {
        let now = self.now.mono_us;
        // One that waits by configuration waits for others, not for clients that answer at once.
        let gathering = self.gathering.filter(|_| self.config.commits.delay_usec == 0);
        let rest = self.gather.rest(now, gathering);
        let due = now.saturating_add(self.next_due_us());
        match rest {
            Rest::Awake(until) => Rest::Awake(until.min(due)),
            rest => rest,
        }
    }

    /// Whether to expect work soon where nothing says when. With one shard, those who might ask
    /// wait for a commit that is in flight.
    pub fn may_linger(&self) -> bool {
        self.shards() > 1 || !self.gather.is_flushing()
    }

    /// Tells how it went: nobody else had the core, or somebody had.
    pub fn stayed_awake(&mut self, alone: bool) {
        self.gather.stayed_awake(alone);
    }

    /// Whether other threads have sent something.
    pub fn is_called(&self) -> bool {
        !self.order.inbox(self.id).is_empty()
    }

    /// Says that this shard is about to block; false when something waits already.
    pub fn sleep(&self) -> bool {
        self.order.inbox(self.id).sleep()
    }

    /// Says that it no longer blocks.
    pub fn awake(&self) {
        self.order.inbox(self.id).awake();
    }

    /// Says something that wants attention.
    pub fn warn(&self, text: &str) {
        self.global.warn(text);
    }

    /// Ends the process.
    pub fn fatal(&self, text: &str) -> ! {
        self.global.fatal(text)
    }

    /// Whether the process is stopping.
    pub fn should_stop(&self) -> bool {
        self.global.is_stopping()
    }

    /// No further request is looked at, so that what is under way comes to an end whatever the
    /// clients do; and what is written is flushed at once.
    pub fn stop_serving(&mut self) {
        self.stopping = true;
        self.give_up_snapshot();
    }

    /// While stopping, in front of the take of the inbox: this shard may be about to have work, and
    /// who looks whether all are idle must not find the inbox empty and the word still standing.
    pub fn may_have_work(&self) {
        if self.stopping {
            self.global.set_idle(self.id, false);
        }
    }

    /// While stopping: whether everything, here and on every other shard, has come to rest and this
    /// shard's log is durable to its end.
    ///
    /// A shard that stops takes in no requests, so what is under way only becomes less. It calls
    /// itself idle only with nothing to do and nothing left to push, and takes that back, counted,
    /// before it takes its inbox. So when all are idle, all inboxes are empty, and nobody has
    /// counted since before the first of these looks, nothing is under way but replies, now and for
    /// good: the verdict is final for everyone. (Looking at the idle set twice is not enough: a
    /// message can move from an inbox not yet looked at, through a shard that is idle again, to one
    /// looked at before.)
    pub fn has_stopped(&mut self) -> bool {
        if !self.is_at_rest() {
            return false;
        }
        let global = std::sync::Arc::clone(&self.global);
        global.set_idle(self.id, true);
        if global.stop_said.load(Ordering::SeqCst) {
            return true;
        }
        let woken = global.woken();
        let empty = |s: usize| self.order.inbox(s).is_empty();
        let all = global.all_idle() && (0..self.shards()).all(empty) && global.woken() == woken;
        if all && !global.stop_said.swap(true, Ordering::SeqCst) {
            self.order.wake_all();
        }
        all
    }

    /// Behind the last snapshot what waits to be executed is left undone, and nobody has been told
    /// of it.
    fn is_at_rest(&self) -> bool {
        let effects = self.space.as_ref().is_none_or(|s| !s.effects.is_empty());
        let log = self.log.as_ref();
        let log = log.is_none_or(|l| l.is_clean() && l.is_tidy() && l.durable() == l.appended());
        !effects
            && log
            && (self.snapshot.holds_still || self.has_executed_all())
            && self.migrations.is_idle()
            && self.held.is_empty()
            && self.following.is_empty()
            && self.cut.is_none()
            && self.cut_lead.is_none()
            && !self.is_busy()
    }

    fn has_executed_all(&self) -> bool {
        self.fifo.is_empty()
            && self.paused.is_none()
            && self.leases.is_empty()
            && self.reload.wanted.is_empty()
    }
}

/// Frees some of the garbage, and gives its memory back; true when none is left.
fn free_slice(space: &mut Keyspace, time: &Time) -> bool {
    let _pages_go = AtOnce::begin();
    let watch = time.watch();
    for _ in 0..FREE_BUDGET / FREE_STEP {
        if space.free_slice(FREE_STEP) {
            return true;
        }
        if watch.elapsed() > FREE_TIME {
            break;
        }
    }
    false
}
