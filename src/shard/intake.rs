//! The bound on input that is not complete: beginnings of requests, long values on their way.
//!
//! All connections together may hold `INPUT_TOTAL`, a shard's its part of that; the one that is
//! favoured (below) does not count. Beyond that, one that holds more than its share is no longer
//! received from, so many connections that begin and never end a request cost little more than the
//! total. One of them at a time goes on all the same, so that a long value gets through whatever
//! the others do: the one that was stopped first, as long as it makes progress. Whoever has nothing
//! to say when it is its turn leaves the line, and beyond one and a half times the bound those that
//! have stood in it longest are sent away: what the kernel had received before a connection was
//! stopped comes all the same.

use std::collections::VecDeque;

use crate::client::{Conn, ConnKey};
use crate::shard::core::Shard;

/// Bytes of incomplete input that all connections of all shards may hold.
const INPUT_TOTAL: usize = 64 << 20;
/// Least part of it that a shard has, however many there are.
const INPUT_MIN: usize = 8 << 20;
/// What each may hold however many there are, in bytes.
const SHARE_MIN: usize = 4 << 10;
/// How long the favoured connection may say nothing, in microseconds.
const SILENT_US: u64 = 5_000;
/// In every such time, in microseconds, it has to send [`PROGRESS`] bytes.
const PROGRESS_US: u64 = 50_000;
const PROGRESS: usize = 256 << 10;

/// Input that one shard keeps for its connections.
#[derive(Debug, Default)]
pub struct Intake {
    /// Bytes of it.
    pub bytes: usize,
    /// Connections with too much of it, which are not received from.
    pub crammed: VecDeque<ConnKey>,
    /// The one of them that is received from all the same.
    favoured: Option<Favoured>,
    /// Room to make for the replies to the input at hand, in bytes.
    pub reply_room: usize,
}

/// A connection that is received from although it holds more than its share.
#[derive(Clone, Copy, Debug)]
struct Favoured {
    key: ConnKey,
    /// What it held at the time below.
    held: usize,
    since_us: u64,
}

impl Shard {
    /// What this shard's connections may hold together.
    fn input_total(&self) -> usize {
        (INPUT_TOTAL / self.shards()).max(INPUT_MIN)
    }

    fn share(&self) -> usize {
        (self.input_total() / self.connections().max(1)).max(SHARE_MIN)
    }

    /// What they do hold, the favoured one aside: a long value on its way takes nothing from
    /// others.
    fn input_held(&self) -> usize {
        let favoured = self.intake.favoured.and_then(|favoured| self.conn(favoured.key));
        self.intake.bytes.saturating_sub(favoured.map_or(0, |conn| conn.input.len()))
    }

    fn is_over_input(&self) -> bool {
        self.input_held() > self.input_total()
    }

    /// Whether a connection holds so much input that it is to send no more of it for now.
    pub(super) fn crams(&self, conn: &Conn) -> bool {
        self.is_over_input()
            && conn.input.len() > self.share()
            && self.intake.favoured.is_none_or(|favoured| favoured.key != conn.key)
    }

    /// Lets the next in line go on, or all when there is room again.
    pub(super) fn pick_favoured(&mut self) {
        while self.input_held() > self.input_total() + self.input_total() / 2
            && let Some(key) = self.intake.crammed.pop_front()
        {
            let Some(mut conn) = self.take_conn(key) else { continue };
            conn.input.clear();
            conn.ended = true;
            self.closing.push(key);
            self.put_conn(conn);
        }
        self.intake.favoured =
            self.intake.favoured.and_then(|favoured| self.still_favoured(favoured));
        while (self.intake.favoured.is_none() || !self.is_over_input())
            && let Some(key) = self.intake.crammed.pop_front()
        {
            let Some(mut conn) = self.take_conn(key) else { continue };
            conn.crammed = false;
            if self.intake.favoured.is_none() && self.is_over_input() {
                let (held, since_us) = (conn.input.len(), self.now.mono_us);
                self.intake.favoured = Some(Favoured { key, held, since_us });
            }
            // Received from again, unless something else forbids it.
            self.put_conn(conn);
        }
    }

    fn still_favoured(&self, mut favoured: Favoured) -> Option<Favoured> {
        let held = self.conn(favoured.key)?.input.len();
        let elapsed = self.now.mono_us.saturating_sub(favoured.since_us);
        let room = self.intake.bytes <= self.input_total();
        if room || elapsed >= SILENT_US && held == favoured.held {
            return None;
        }
        if elapsed >= PROGRESS_US {
            // Less than before: a request was complete.
            let grown = held.checked_sub(favoured.held);
            if grown.is_some_and(|grown| grown < PROGRESS) {
                return None;
            }
            favoured.held = held;
            favoured.since_us = self.now.mono_us;
        }
        Some(favoured)
    }
}
