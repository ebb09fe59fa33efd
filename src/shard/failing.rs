//! What is read while a log cannot be written: all but what waits for it.
//!
//! Replies wait for the last change of their key's segment. As soon as any shard's log cannot be
//! written, or a flush of it has failed, each shard makes out which keys its own unreleased effects
//! name, from the frames that it keeps, for another try or another file, and from what was gathered
//! behind them ([`Unwritten`]); it looks again when there are more of them, or fewer. Where that
//! cannot be told, or would take long, it goes on with what it knew before, or replies wait for
//! segments as ever: while the disk has one of those frames, which is soon over, while a cut is
//! under way, and where more than a few megabytes are stuck. Then what is past its expiry is
//! removed as ever, too, and who has met it waits.
//!
//! Replies that wait already are let go as far as it is known what they tell of: not those of
//! commands that may write, of leases, of many keys, or of one that shares its place in the output
//! with another that has to wait.

use std::collections::HashSet;

use crate::base::number::parse_i64;
use crate::command::{Args, table};
use crate::keyspace::unwritten::{Unwritten, known_by};
use crate::shard::core::Shard;
use crate::shard::message::Message;

/// Bytes of effects that are looked at, at most: a few milliseconds' worth.
const LOOKED_AT_MAX: usize = 4 << 20;

impl Shard {
    /// Follows the state of all logs: to be called behind what a turn has heard of its own, and in
    /// front of whatever it executes.
    pub(super) fn follow_failing(&mut self) {
        let Some(space) = &mut self.space else { return };
        if !(self.global.is_troubled() && self.global.is_log_failing()) {
            space.unwritten = None;
            self.told.stuck = None;
            return;
        }
        let Some(log) = self.log.as_ref().filter(|_| self.cut.is_none()) else { return };
        let (release, end) = (log.release(), space.effects.end());
        if self.told.stuck == Some((release, end)) {
            return;
        }
        let Some(mut pieces) = log.unreleased() else { return };
        let pending = space.effects.pending();
        if log.gathered() + pending.len() as u64 != end {
            return;
        }
        pieces.push(pending);
        self.told.stuck = Some((release, end));
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        let found = Some(pieces).filter(|_| len <= LOOKED_AT_MAX).and_then(|pieces| keys(&pieces));
        if let Some(keys) = found {
            space.unwritten = Some(Box::new(Unwritten::new(end, keys)));
            self.free_readers();
        }
    }

    /// Lets go of replies that wait already and tell of nothing that is stuck.
    fn free_readers(&mut self) {
        let release = self.release();
        let Some(known) = self.space.as_ref().and_then(|space| space.unwritten.as_deref()) else {
            return;
        };
        let (replies, mut any) = (&mut self.replies, false);
        self.held.retain_mut(|(tag, looked, shard, message)| {
            let free = known.frees(*tag, looked);
            if free {
                replies.push((*shard, std::mem::replace(message, Message::Settled)));
            }
            any |= free;
            !free
        });
        for conn in self.conns.iter_mut().flatten() {
            any |= conn.output.free(release, |tag, looked| known.frees(tag, looked));
        }
        if any {
            self.wake_waiters();
            #[cfg(test)]
            crate::shard::sim::probe::with(|tracker| tracker.freed += 1);
        }
    }
}

/// The names of the keys that effects are about; `None` where one names none, or is not understood.
fn keys(pieces: &[&[u8]]) -> Option<HashSet<u64>> {
    let mut found = HashSet::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let words = take_command(&mut rest)?;
            let [name, ..] = words[..] else { continue };
            if name.eq_ignore_ascii_case(b"SELECT") {
                continue;
            }
            let command = table::meant(&Args::new(&words)).ok()?;
            let mut positions = command.key_positions(&words).peekable();
            positions.peek()?;
            found.extend(positions.map(|at| known_by(words[at])));
        }
    }
    Some(found)
}

/// The words of the command that effects begin with, none of a line that is no command.
fn take_command<'p>(rest: &mut &'p [u8]) -> Option<Vec<&'p [u8]>> {
    let line = take_line(rest)?;
    if line.first() == Some(&b'#') {
        return Some(Vec::new());
    }
    let count = parse_i64(line.strip_prefix(b"*")?)?;
    (0..count)
        .map(|_| {
            let len = usize::try_from(parse_i64(take_line(rest)?.strip_prefix(b"$")?)?).ok()?;
            let (word, behind) = rest.split_at_checked(len)?;
            *rest = behind.strip_prefix(b"\r\n")?;
            Some(word)
        })
        .collect()
}

fn take_line<'p>(rest: &mut &'p [u8]) -> Option<&'p [u8]> {
    let end = memchr::memchr(b'\n', rest)?;
    let (line, behind) = (&rest[..end], &rest[end + 1..]);
    *rest = behind;
    line.strip_suffix(b"\r")
}

#[cfg(test)]
mod tests;
