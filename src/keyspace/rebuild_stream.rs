//! The commands that make a stream what it is, as in the files that Redis rewrites.
//!
//! XCLAIM makes no entry pending that is not there, so those that were removed while they were
//! pending are added as well, and removed again when the groups have been made: by XTRIM where
//! trimming removed them, since XDEL would leave its mark.

use std::collections::BTreeSet;

use crate::keyspace::Effects;
use crate::value::stream::{Group, Id, Pending, Stream};

/// Most ids of one command.
const BATCH: usize = 64;

/// Where commands go.
struct Log<'a> {
    effects: &'a mut Effects,
    db: usize,
    key: &'a [u8],
}

impl Log<'_> {
    /// Logs `name key` and `rest`.
    fn command(&mut self, name: &[&[u8]], rest: &[&[u8]]) {
        let parts: Vec<&[u8]> =
            name.iter().copied().chain([self.key]).chain(rest.iter().copied()).collect();
        self.effects.log(self.db, &parts);
    }

    /// Adds what stands under `id`; something, where nothing does.
    fn add(&mut self, stream: &Stream, id: Id) {
        let mut words: Vec<Vec<u8>> = vec![id.text().to_vec()];
        let mut digits = itoa::Buffer::new();
        match stream.get(id) {
            None => words.extend([b"x".to_vec(), b"y".to_vec()]),
            Some(entry) => entry.pairs().for_each(|(field, value)| {
                words.push(field.text(&mut digits).to_vec());
                words.push(value.text(&mut digits).to_vec());
            }),
        }
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        self.command(&[b"XADD"], &words);
    }

    fn group(&mut self, name: &[u8], group: &Group, pending: &mut dyn Iterator<Item = Id>) {
        let mut digits = itoa::Buffer::new();
        let read = digits.format(group.entries_read).as_bytes();
        self.command(&[b"XGROUP", b"CREATE"], &[name, &group.last_id.text(), b"ENTRIESREAD", read]);
        for (_, consumer) in group.consumers() {
            self.command(&[b"XGROUP", b"CREATECONSUMER"], &[name, &consumer.name]);
        }
        let mut claim = Claim { group: name, ids: Vec::new(), of: None };
        for id in pending {
            if let Some(pending) = group.pending_at(id) {
                claim.add(self, group, id, pending);
            }
        }
        claim.flush(self, group);
    }
}

/// XCLAIM of ids that are pending in the same way.
struct Claim<'a> {
    group: &'a [u8],
    ids: Vec<Id>,
    of: Option<Pending>,
}

impl Claim<'_> {
    fn add(&mut self, log: &mut Log<'_>, group: &Group, id: Id, pending: Pending) {
        if self.of != Some(pending) || self.ids.len() == BATCH {
            self.flush(log, group);
        }
        self.of = Some(pending);
        self.ids.push(id);
    }

    fn flush(&mut self, log: &mut Log<'_>, group: &Group) {
        let Some(pending) = self.of.take() else { return };
        if let Some(consumer) = group.consumer_at(pending.consumer) {
            let words = claim_words(self.group, &consumer.name, &self.ids, pending, None);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            log.command(&[b"XCLAIM"], &words);
        }
        self.ids.clear();
    }
}

/// What follows the key in the XCLAIM that makes entries pending.
pub fn claim_words(
    group: &[u8],
    consumer: &[u8],
    ids: &[Id],
    pending: Pending,
    last_id: Option<Id>,
) -> Vec<Vec<u8>> {
    let mut words = vec![group.to_vec(), consumer.to_vec(), b"0".to_vec()];
    words.extend(ids.iter().map(|id| id.text().to_vec()));
    words.extend([b"TIME".to_vec(), pending.time.to_string().into_bytes()]);
    words.extend([b"RETRYCOUNT".to_vec(), pending.count.to_string().into_bytes()]);
    words.extend([b"FORCE".to_vec(), b"JUSTID".to_vec()]);
    if let Some(last_id) = last_id {
        words.extend([b"LASTID".to_vec(), last_id.text().to_vec()]);
    }
    words
}

/// Logs the commands that make the stream under `key`, which is not there.
pub(super) fn log(effects: &mut Effects, db: usize, key: &[u8], stream: &Stream) {
    let mut log = Log { effects, db, key };
    let ghosts = ghosts(stream);
    if stream.is_empty() && ghosts.is_empty() {
        let id = stream.last_id().max(Id::new(0, 1));
        log.command(&[b"XADD"], &[b"MAXLEN", b"0", &id.text(), b"x", b"y"]);
    }
    let mut entries = stream.range(Id::MIN, Id::MAX).map(|entry| entry.id).peekable();
    let mut removed = ghosts.iter().copied().peekable();
    loop {
        let ghost_first = match (entries.peek(), removed.peek()) {
            (None, None) => break,
            (Some(entry), Some(ghost)) => ghost < entry,
            (entry, _) => entry.is_none(),
        };
        let id = if ghost_first { removed.next() } else { entries.next() };
        id.into_iter().for_each(|id| log.add(stream, id));
    }
    for (name, group) in stream.groups() {
        let mut ids = group.pending_from(Id::MIN).map(|(id, _)| id);
        log.group(name, group, &mut ids);
    }
    remove_ghosts(&mut log, stream, &ghosts);
    let (last, max) = (stream.last_id().text(), stream.max_deleted().text());
    let mut digits = itoa::Buffer::new();
    let added = digits.format(stream.entries_added()).as_bytes();
    log.command(&[b"XSETID"], &[&last, b"ENTRIESADDED", added, b"MAXDELETEDID", &max]);
}

/// What is pending and no longer there, as far as the stream has come.
fn ghosts(stream: &Stream) -> BTreeSet<Id> {
    let pending = stream.groups().values().flat_map(|group| group.pending_from(Id::MIN));
    let ids = pending.map(|(id, _)| id);
    ids.filter(|id| *id <= stream.last_id() && stream.get(*id).is_none()).collect()
}

fn remove_ghosts(log: &mut Log<'_>, stream: &Stream, ghosts: &BTreeSet<Id>) {
    let first = if stream.is_empty() { Id::MAX } else { stream.first_id() };
    if ghosts.first().is_some_and(|id| *id < first) {
        log.command(&[b"XTRIM"], &[b"MINID", b"=", &first.text()]);
    }
    for id in ghosts.range(first..) {
        log.command(&[b"XDEL"], &[&id.text()]);
    }
}

/// What a stream holds, as far as replaying makes it again.
#[cfg(test)]
pub(super) fn spelled(stream: &Stream) -> String {
    use std::fmt::Write;
    let mut out = format!(
        "stream: last {} first {} deleted {} added {}",
        stream.last_id(),
        stream.first_id(),
        stream.max_deleted(),
        stream.entries_added()
    );
    for entry in stream.range(Id::MIN, Id::MAX) {
        let _ = write!(out, "; {}", entry.id);
        for (field, value) in entry.pairs() {
            let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
            let (field, value) = (field.text(&mut one), value.text(&mut other));
            let _ = write!(out, " {} = {}", field.escape_ascii(), value.escape_ascii());
        }
    }
    for (name, group) in stream.groups() {
        let _ = write!(out, "; group {}", name.escape_ascii());
        let _ = write!(out, " {} {}", group.last_id, group.entries_read);
        for (number, consumer) in group.consumers() {
            let _ = write!(out, ", {}:", consumer.name.escape_ascii());
            for (id, pending) in group.history(number, Id::MIN) {
                let _ = write!(out, " {id} at {} for the {}.", pending.time, pending.count);
            }
        }
    }
    out
}
