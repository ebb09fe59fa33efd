//! The offset of the stream that replicas are sent, and what of it outlives a restart. Pure.
//!
//! # What the stream is
//!
//! A replica, Redis' own as well, follows one stream of commands under one id, with one offset that
//! counts its bytes. Ours comes out of one log per shard, so the stream is all of them, merged:
//!
//! 1. it has the commands of every log, byte for byte as they stand there, each log's in its order,
//!    and the commands of the parts that cuts leave between two generations; of `#` lines nothing;
//! 2. whatever else a replica has to be sent (SELECT where the next piece is another log's in
//!    another database, MULTI and EXEC around an entry of several shards, PING, GETACK) has its
//!    place in a log as well: a `#S` line says how many bytes are needed there, and what is not
//!    used of them is sent as empty lines in front of a command, which Redis lets a master send.
//!    No replica, no such line;
//! 3. a byte is sent when the release point of its log has passed it, and never before;
//! 4. everything in front of an entry of all shards (a cut, a snapshot) is sent before anything
//!    behind it.
//!
//! So the *offset* is a sum: of every log its bytes of commands and `#S` lines, and of the parts.
//! In which order logs were merged it does not say, and needs not: no byte of the stream is without
//! a place in a log, so the sum over what a start keeps is the offset, exactly. Nothing of it has
//! to be written into frames: what a log's files hold is counted when they are scanned, and where a
//! file begins the manifest has its shard's share so far, in the pair `stream`. (Shares mean
//! nothing one by one: a start gives all to the first shard, and a part counts for it too.)
//!
//! What this would not bear is a byte that is sent and not logged: after a crash its offset would
//! belong to something else. Redis' log is like that, which is why an AOF there cannot tell the
//! offset.
//!
//! # Under which id a start goes on
//!
//! A replica that comes back with (id, offset) may go on if what it was sent is a prefix of what
//! we go on from. With the offset at which we start it has missed nothing. So an id may be kept if
//! nobody can have been sent, under it, as many bytes as we start from, or fewer, but other ones:
//!
//! * *Behind a clean stop* all that was executed is in the log, and released. Whoever has as many
//!   bytes has these: same id, same offset.
//! * *Behind the death of the process* (same boot, page cache kept), under every policy, a start
//!   keeps all that was released, and so, by 3, all that was ever sent. It may keep more. Whoever
//!   was sent as many bytes as are kept has exactly these, being part of them: same id. But a
//!   flush that fails may take pages of what was released out of the cache, and the process may die
//!   before it has gone on in another file. So where a file does not end with a frame it is taken
//!   for a loss of power. (What was lost so out of a file that was written ahead cannot be told
//!   from filler, and keeps the name; nor is it seen that a log that could not be written was
//!   turned off.)
//! * *Behind a loss of power* that is so under `always` only, and a log does not tell under which
//!   policy it was written, nor since when. Under the others what was sent may be lost, while
//!   something that was not yet sent by another shard's log is kept: a sum may be met by other
//!   bytes. What is known to be shared is everything in front of the last generation: its parts
//!   and files were durable before anything behind them was released, and by 4 all of it stands in
//!   front. So the id is another one, and the old one counts up to there, as Redis'
//!   `master_replid2`.
//! * *The same* where damage was let pass, and where a log was cut on demand (`restore`): what
//!   follows differs from what somebody may have been sent.
//! * *What another server has written* behind our log has no offset: an id of its own, and no
//!   other.
//! * *Where there may be two heirs* of a history only one may keep its name. So a backup, what
//!   `restore` makes, and the log of a server that goes on without it (`appendonly no`) say so in
//!   their manifest: whoever starts from there draws a new id, and the old one counts up to where
//!   they part. (Nobody can see that a directory was copied behind a clean stop, or that a machine
//!   was cloned: use a backup, or `DEBUG CHANGE-REPL-ID`.)
//!
//! A snapshot tells id and offset of its moment (`repl-id`, `repl-offset`); whoever starts from it
//! alone has lost what came behind, and like Redis draws an id and keeps the old one up to there.
//!
//! # In the manifest
//!
//! ```text
//! #repl <id, or "-"> [<second id> <its offset, hexadecimal>] LF
//! ```
//!
//! A comment, so that another server that writes the manifest anew takes the history away with its
//! name.

use crate::base::replication::{Replication, is_id};
use crate::persist::aof::format::{parse_hex, write_hex};
use crate::persist::aof::manifest::ManifestFault;

/// How the line starts.
const START: &[u8] = b"#repl ";

/// Appends the manifest's line of a history.
pub fn write_line(out: &mut Vec<u8>, replication: &Replication) {
    out.extend_from_slice(START);
    out.extend_from_slice(replication.id.as_deref().unwrap_or("-").as_bytes());
    if let Some((id, upto)) = &replication.second {
        out.push(b' ');
        out.extend_from_slice(id.as_bytes());
        out.push(b' ');
        write_hex(out, *upto);
    }
    out.push(b'\n');
}

/// Reads what [`write_line`] writes; `None` for any other line.
///
/// # Errors
/// A line that begins like one and is none.
pub fn parse_line(line: &[u8]) -> Result<Option<Replication>, ManifestFault> {
    let Some(text) = line.strip_prefix(START) else { return Ok(None) };
    let id = |word: &[u8]| {
        let text = is_id(word).then(|| String::from_utf8(word.to_vec()).ok()).flatten();
        text.ok_or(ManifestFault::Pair("repl"))
    };
    let text = text.strip_suffix(b"\n").ok_or(ManifestFault::Pair("repl"))?;
    let words: Vec<&[u8]> = text.split(|&b| b == b' ').collect();
    let first = match words.first() {
        Some(&b"-") => None,
        word => Some(id(word.copied().unwrap_or_default())?),
    };
    let second = match words.get(1..).unwrap_or_default() {
        [] => None,
        [name, upto] => Some((id(name)?, parse_hex(upto).ok_or(ManifestFault::Pair("repl"))?)),
        _ => return Err(ManifestFault::Pair("repl")),
    };
    Ok(Some(Replication { id: first, second }))
}

/// How far a history goes that was found, and how sure that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The offset: bytes of the stream that are kept.
    pub at: u64,
    /// The same at the start of the last generation.
    pub base: u64,
    /// That generation ends as a clean stop left it.
    pub clean: bool,
    /// It was written since the machine last started.
    pub same_boot: bool,
    /// One of its files does not end with a frame.
    pub torn: bool,
    /// Damage was let pass, or something was cut on demand.
    pub forced: bool,
    /// Another server has written behind it.
    pub foreign: bool,
}

impl Reached {
    /// The name under which to go on from here, or to draw one.
    pub fn goes_on(&self, listed: Option<&Replication>) -> Replication {
        let Some(listed) = listed.filter(|_| !self.foreign) else { return Replication::default() };
        let whole = self.clean && !self.forced;
        let kept = whole || self.same_boot && !self.torn && !self.forced;
        if kept && listed.id.is_some() {
            return listed.clone();
        }
        // One that has another heir tells nothing of how much of the rest was sent.
        listed.clone().renamed_at(if whole { self.at } else { self.base })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::base::replication::new_id;

    fn some() -> Replication {
        let mut random = Random::new(1);
        Replication { id: Some(new_id(&mut random)), second: Some((new_id(&mut random), 0x1f)) }
    }

    #[test]
    fn lines_come_back() {
        let whole = some();
        for replication in [
            whole.clone(),
            Replication { id: None, ..whole.clone() },
            Replication { second: None, ..whole },
            Replication::default(),
        ] {
            let mut line = Vec::new();
            write_line(&mut line, &replication);
            assert_eq!(parse_line(&line), Ok(Some(replication)));
            for at in START.len()..line.len() - 1 {
                let cut = [&line[..at], b"\n"].concat();
                let whole = parse_line(&cut).map(|found| found.map(|f| f.second.is_some()));
                assert!(whole != Ok(Some(true)) || at + 1 >= line.len() - 1, "{at}");
            }
        }
        assert_eq!(parse_line(b"#rs 1 sum 5\n"), Ok(None));
        assert_eq!(parse_line(b"#repl -"), Err(ManifestFault::Pair("repl")));
        assert_eq!(parse_line(b"#repl - - 5\n"), Err(ManifestFault::Pair("repl")));
        assert_eq!(parse_line(b"#repl - 5 5 5\n"), Err(ManifestFault::Pair("repl")));
    }

    #[test]
    fn an_id_is_kept_where_nobody_can_have_been_sent_anything_else() {
        let listed = some();
        let reached = Reached { at: 100, base: 60, ..Reached::default() };
        let old = |upto| Replication { id: None, second: listed.id.clone().map(|id| (id, upto)) };
        let goes_on = |reached: Reached| reached.goes_on(Some(&listed));
        assert_eq!(goes_on(Reached { clean: true, ..reached }), listed);
        assert_eq!(goes_on(Reached { same_boot: true, ..reached }), listed);
        assert_eq!(goes_on(reached), old(60), "a loss of power");
        assert_eq!(goes_on(Reached { same_boot: true, torn: true, ..reached }), old(60));
        let forced = Reached { clean: true, same_boot: true, forced: true, ..reached };
        assert_eq!(goes_on(forced), old(60));
        let foreign = Reached { clean: true, foreign: true, ..reached };
        assert_eq!(goes_on(foreign), Replication::default());
        assert_eq!(reached.goes_on(None), Replication::default());
    }

    #[test]
    fn an_heir_draws_an_id_and_shares_what_is_known_to_be_shared() {
        let reached = Reached { at: 100, base: 60, ..Reached::default() };
        let heir = some().renamed_at(u64::MAX);
        let upto = |reached: Reached| reached.goes_on(Some(&heir)).second.map(|(_, upto)| upto);
        assert_eq!(upto(Reached { clean: true, ..reached }), Some(100));
        assert_eq!(upto(Reached { same_boot: true, ..reached }), Some(60));
        assert_eq!(upto(reached), Some(60));
        assert!(reached.goes_on(Some(&heir)).id.is_none());
    }
}
