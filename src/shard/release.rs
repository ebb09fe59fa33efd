//! The release point at work: what a completion sets free, what executed effects become, and the
//! marks that carry causality between logs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock;
use crate::client::Conn;
use crate::client::output::{Merged, Parts, Remote};
use crate::persist::aof::format::write_seen_mark;
use crate::persist::disk::{Disk, DiskDone};
use crate::resp::Reply;
use crate::shard::batch::Batch;
use crate::shard::core::Shard;
use crate::shard::log::{LogWriter, NOW_MAX, Outcome, token};
use crate::shard::message::{Message, ReplyTo};

/// Bytes that may wait for a shard's log behind the frame in flight; one command may exceed it.
/// A disk that stalls must not make the server take in what it cannot get rid of.
const UNFRAMED_MAX: u64 = 64 << 20;

/// What a shard has made known to the others of its log.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// As much waits for it, or for a snapshot, as may wait.
    pub pressed: bool,
    /// A flush of it is in flight, and counts in [`Global::log_flushes`].
    ///
    /// [`Global::log_flushes`]: crate::shard::global::Global::log_flushes
    pub flushing: bool,
    /// Ends of what was released and of all effects when it was last looked at what is stuck.
    pub stuck: Option<(u64, u64)>,
}

impl Shard {
    /// A write or flush of the log has completed.
    pub(super) fn log_done(&mut self, done: DiskDone) {
        let now = self.now.mono_us;
        let began = self.log.as_ref().and_then(|log| log.began_us(done.token));
        if let (token::WRITE, Some(began)) = (token::kind(done.token), began) {
            self.gather.completed(now.saturating_sub(began));
            self.note_write(now.saturating_sub(began));
        }
        self.log_ended(done);
    }

    fn log_ended(&mut self, done: DiskDone) {
        let now = self.now.mono_us;
        if self.shortened_for_ended(&done) {
            return;
        }
        let Some(log) = &mut self.log else { return };
        match log.done(done, now) {
            Outcome::Quiet => {}
            Outcome::Failing(error, kind) => {
                self.global.log_failing(self.id, Some(error.clone()));
                self.global.needs_room(kind, &error);
            }
            Outcome::Said(text) => self.global.warn(&text),
            Outcome::Mended => self.global.log_failing(self.id, None),
            Outcome::Broken(error) => self.log_broke(&error),
        }
        self.move_release();
    }

    /// Tells the latency monitor of a write that has just ended.
    fn note_write(&self, usec: u64) {
        let Some(log) = &self.log else { return };
        if log.flushes() {
            return self.note_event("aof-fsync-always", usec);
        }
        self.note_event("aof-write", usec);
        let event = if log.is_syncing() { "aof-write-pending-fsync" } else { "aof-write-alone" };
        self.note_event(event, usec);
    }

    /// Moves the release point as far as it goes and frees what waited for it.
    pub(super) fn move_release(&mut self) {
        let Some(log) = &mut self.log else { return self.followed() };
        if let Some(id) = log.passed() {
            self.order.pass(self.id, id);
            for shard in self.order.stuck(self.id) {
                self.replies.push((shard, Message::Settled));
            }
        }
        let mut moved = log.advance(self.order.settled());
        if log.is_stuck() {
            // Said before looking again: whoever settles the entry afterwards sees it and tells.
            self.order.set_stuck(self.id, true);
            moved |= log.advance(self.order.settled());
        }
        if !log.is_stuck() {
            self.order.set_stuck(self.id, false);
        }
        if moved {
            self.released();
        }
        self.followed();
    }

    /// The policy has become `always`: what is executed from here on is told of when it is durable.
    /// What was executed before may have been told of already, and has to be durable first.
    pub(super) fn follow_stricter(&mut self, to: ReplyTo) {
        self.refresh_settings();
        let end = match (&self.space, &self.log) {
            (_, None) => 0,
            (Some(space), _) => space.effects.end(),
            (None, Some(log)) => log.gathered(),
        };
        self.following.push((end, to));
        // The entry that pauses the FIFO counts as not passed, and with it all that this shard had
        // no part in since the last one it passed. A lease that waits for this word would never
        // see the others' marks settle.
        if let (Some(entry), Some(log), None) = (self.paused, &mut self.log, &self.cut) {
            log.executed_below(entry);
        }
        self.move_release();
    }

    pub(super) fn followed(&mut self) {
        let reached = |log: &LogWriter| log.durable().min(log.release());
        let reached = self.log.as_ref().map_or(u64::MAX, reached);
        let replies = &mut self.replies;
        self.following.retain(|&(end, to)| {
            if end <= reached {
                replies.push((to.shard, Message::LeaseReleased { to }));
            }
            end > reached
        });
    }

    /// Puts the reply of a command that made the policy stricter in its place: it leaves when every
    /// shard has followed. The connection waits.
    pub(super) fn tell_when_followed(&mut self, conn: &mut Conn, reply: Reply) {
        let id = self.name();
        let (missing, bytes) = (self.shards(), reply.len());
        let commands = vec![Merged::Ready(reply)];
        conn.blocked = true;
        let parts = Parts::new();
        let quiet = conn.session.is_muted();
        let remote = Remote { id, missing, commands, parts, estimate: 0, bytes, quiet };
        conn.output.push_remote(remote);
        self.spread_stricter(ReplyTo {
            shard: self.id,
            conn: conn.key,
            batch: id,
            part: 0,
            words: 0,
        });
        self.mark_dirty(conn);
    }

    /// Tells every shard that the policy has become stricter; each answers to `to`.
    pub(super) fn spread_stricter(&mut self, to: ReplyTo) {
        self.tightened = false;
        self.replies.extend((0..self.order.shards()).map(|s| (s, Message::Stricter { to })));
    }

    pub(super) fn released(&mut self) {
        let release = self.release();
        let in_play = self.waiters.len() + self.held.len();
        self.order.set_released(self.id, release);
        let replies = &mut self.replies;
        self.held.retain_mut(|(position, _, shard, message)| {
            let free = *position <= release;
            if free {
                replies.push((*shard, std::mem::replace(message, Message::Settled)));
            }
            !free
        });
        let flushed = self.log.as_ref().is_some_and(LogWriter::flushes);
        self.gather.freed(in_play, self.now.mono_us, flushed);
        self.wake_waiters();
    }

    /// Looks again at the replies of connections that wait for the release point.
    pub(super) fn wake_waiters(&mut self) {
        for key in std::mem::take(&mut self.waiters) {
            if let Some(mut conn) = self.take_conn(key) {
                conn.waiting = false;
                self.mark_dirty(&mut conn);
                self.put_conn(conn);
            }
        }
    }

    /// Writes what was executed without waiting for anything, where it may be written so: then its
    /// replies leave in this turn.
    pub(super) fn write_log_now(&mut self, disk: &mut impl Disk) {
        let now = self.now.mono_us;
        let saves = &self.global.registry.saves;
        let waits = self.stopping
            || self.config.commits.delay_usec > 0
            || self.has_snapshot()
            || saves.in_progress()
            || saves.is_rewriting()
            || self.global.log_flushes.load(Ordering::Relaxed) > 0;
        let sleeps = self.global.log_sleep_us.load(Ordering::Relaxed) > 0;
        let (Some(log), Some(space)) = (&mut self.log, &mut self.space) else { return };
        if space.effects.is_empty()
            || waits
            || sleeps
            || self.cut.is_some()
            || space.effects.pending().len() > NOW_MAX
            || !log.may_write_now(now)
            || !disk.is_calm(now)
        {
            return;
        }
        let payload = space.effects.take(log.spare());
        log.gather(payload);
        log.note_behind(space.effects.selected(), space.effects.stream());
        self.gather.skipped();
        if let Some((done, took_us)) = log.write_now(disk, now) {
            self.note_write(took_us);
            self.log_ended(done);
        }
        if self.shards() > 1 {
            self.publish();
        }
    }

    /// Makes known whether a flush of this shard's log is in flight.
    pub(super) fn note_flushing(&mut self) {
        let flushing = self.log.as_ref().is_some_and(LogWriter::is_syncing);
        if flushing != std::mem::replace(&mut self.told.flushing, flushing) {
            let flushes = &self.global.log_flushes;
            match flushing {
                true => flushes.fetch_add(1, Ordering::Relaxed),
                false => flushes.fetch_sub(1, Ordering::Relaxed),
            };
        }
    }

    /// Hands what was executed to the log and starts what can be started.
    pub(super) fn write_log(&mut self, disk: &mut impl Disk) {
        let Some(log) = &mut self.log else { return };
        self.gathering = None;
        if self.cut.is_none()
            && log.is_free()
            && let Some(space) = &mut self.space
            && !space.effects.is_empty()
        {
            let (now, delay) = (self.now.mono_us, self.config.commits.delay_usec);
            self.gather.arrived(now);
            let waiting = self.waiters.len() + self.held.len();
            let until = self.gather.until(waiting, now, log.flushes(), delay);
            self.gathering = until.filter(|_| !self.stopping);
            if self.gathering.is_none() {
                self.gather.started(waiting, now, log.flushes());
                let payload = space.effects.take(log.spare());
                log.gather(payload);
                log.note_behind(space.effects.selected(), space.effects.stream());
            }
        }
        let sleep = self.global.log_sleep_us.load(Ordering::Relaxed);
        if sleep > 0 && log.has_frame_to_write() {
            clock::pause(Duration::from_micros(sleep));
        }
        if self.stopping {
            log.rest();
        }
        log.pump(disk, self.now.mono_us);
        if self.stopping || !self.following.is_empty() {
            log.start_sync(disk, self.now.mono_us, true);
        }
        self.note_pressure();
    }

    /// Bytes executed and not yet part of a frame; unknown while the data is on lease.
    fn unframed(&self) -> Option<u64> {
        let end = self.space.as_ref()?.effects.end();
        Some(end - self.log.as_ref()?.appended())
    }

    /// Tells everybody when so much waits here, for the log or for the writer of a snapshot, that
    /// writes have to wait.
    pub(super) fn note_pressure(&mut self) {
        let max = if self.told.pressed { UNFRAMED_MAX / 2 } else { UNFRAMED_MAX };
        let unframed = match self.unframed() {
            Some(unframed) => unframed > max,
            // On lease nothing changes.
            None => self.log.is_some() && self.told.pressed,
        };
        let pressed = unframed || self.snapshot.pressed;
        if pressed != self.told.pressed {
            self.told.pressed = pressed;
            self.global.set_log_pressed(self.id, pressed);
        }
    }

    /// Whether so much waits for a log or a snapshot, here or on another shard, that writes have to
    /// wait too.
    pub(super) fn is_log_pressed(&self) -> bool {
        self.global.any_log_pressed() || self.unframed().is_some_and(|n| n > UNFRAMED_MAX)
    }

    /// Whether a write has to wait until the logs have caught up. The connection is then gone on
    /// with by [`Shard::run_again`], or when what it has with other shards has come back.
    pub(super) fn waits_for_log(&mut self, conn: &mut Conn, batch: &Option<Batch>) -> bool {
        if !self.is_log_pressed() && !self.keeps_too_much(conn.session.db) {
            return false;
        }
        if !self.is_out(conn, batch) {
            conn.blocked = true;
            self.parked.push(conn.key);
        }
        true
    }

    /// The second of Unix time that what is executed now belongs to, when the log is to tell it.
    pub(super) fn second(&self) -> Option<i64> {
        let second = self.now.unix_us.div_euclid(1_000_000);
        self.config.aof.timestamps.then_some(second)
    }

    /// Lets this turn's effects tell their second. One turn, one second: no line comes to stand
    /// within a part.
    pub(super) fn note_second(&mut self) {
        let second = self.second();
        if let Some(space) = &mut self.space {
            space.effects.set_second(second);
        }
    }

    /// Prepares the causality mark for this turn's effects, if other shards' release points have
    /// moved since the last one: what is written now may have seen anything up to there.
    ///
    /// Read behind the take of the inbox: whatever executes in this turn was pushed or received
    /// before that, and so could know of no later point.
    pub(super) fn note_seen(&mut self) {
        if self.shards() == 1 || self.log.is_none() {
            return;
        }
        let Some(space) = &mut self.space else { return };
        if space.effects.preface_used() {
            self.preface_seen.clear();
        } else {
            // The last preface was not used: its points are still to be named.
            for &(shard, before) in &self.preface_seen {
                self.seen[usize::from(shard)] = before;
            }
            self.preface_seen.clear();
        }
        let mut marks = Vec::new();
        for shard in 0..self.order.shards() {
            let released = self.order.released(shard);
            if shard != self.id && released != self.seen[shard] {
                self.preface_seen.push((shard as u8, self.seen[shard]));
                self.seen[shard] = released;
                marks.push((shard as u8, released));
            }
        }
        let mut lines = Vec::new();
        write_seen_mark(&mut lines, &marks);
        space.effects.set_preface(lines);
    }
}
