//! Streams of an RDB file, shown entry by entry. The layout stands in [`super::streams`].
//!
//! What is pending in a group stands there twice: all of it with times and counts, then which of
//! it each consumer has. So a group's pending entries are kept until it is complete.

use std::collections::BTreeSet;

use crate::persist::rdb::decode::{Problem, Reader};
use crate::persist::rdb::format::*;
use crate::persist::rdb::visit::Piece;
use crate::value::stream::{COUNT_MAX, Id, Stream};

/// What is known of the entries once they were shown.
#[derive(Default)]
struct Entries {
    len: u64,
    first: Option<Id>,
    last: Option<Id>,
}

/// A pending entry; `taken` by a consumer that was shown.
struct Waiting {
    id: Id,
    time: i64,
    count: u64,
    taken: bool,
}

impl Reader<'_> {
    /// Shows a stream.
    pub(super) fn visit_stream(&mut self, kind: u8) -> Result<(), Problem> {
        self.show(Piece::Stream)?;
        let found = self.visit_nodes()?;
        let (len, last) = (self.length()?, self.two_lengths()?);
        if len != found.len {
            return Err(self.bad_stream("it does not hold as many entries as it says"));
        }
        if found.last.is_some_and(|id| id > last) {
            return Err(self.bad_stream("an entry is behind the last"));
        }
        let (mut max_deleted, mut added) = (Id::MIN, len);
        if kind >= TYPE_STREAM_2 {
            self.two_lengths()?;
            (max_deleted, added) = (self.two_lengths()?, self.length()?.min(COUNT_MAX));
        }
        self.show(Piece::StreamIds { len, last, max_deleted, added })?;
        let mut names = BTreeSet::new();
        for _ in 0..self.many(4)? {
            let name = self.text()?;
            self.visit_group(kind, &name, &found, last)?;
            if !names.insert(name) {
                return Err(self.bad_stream("a group stands in it twice"));
            }
        }
        Ok(())
    }

    fn visit_nodes(&mut self) -> Result<Entries, Problem> {
        let mut found = Entries::default();
        let mut behind: Option<Id> = None;
        for _ in 0..self.many(18)? {
            let (master, node) = self.checked_node(&mut behind)?;
            self.show(Piece::Node(master, node.bytes()))?;
            let mut alone = Stream::default();
            alone.push_node(master, node);
            for entry in alone.range(Id::MIN, Id::MAX) {
                found.first.get_or_insert(entry.id);
                self.show(Piece::Entry(&entry))?;
            }
            found.len += alone.len();
            found.last = alone.last_entry_id().or(found.last);
        }
        Ok(found)
    }

    fn visit_group(
        &mut self,
        kind: u8,
        name: &[u8],
        entries: &Entries,
        last_id: Id,
    ) -> Result<(), Problem> {
        let last = self.two_lengths()?;
        let read = if kind >= TYPE_STREAM_2 {
            (self.length()? as i64).max(-1)
        } else {
            entries.read_up_to(last, last_id)
        };
        self.show(Piece::Group { name, last, read })?;
        let mut waiting = Vec::new();
        for _ in 0..self.many(25)? {
            let id = Id::from_bytes(self.source.take()?);
            let (time, count) = (i64::from_le_bytes(self.source.take()?), self.length()?);
            waiting.push(Waiting { id, time, count: count.min(COUNT_MAX), taken: false });
        }
        // They are in order, as a rule.
        waiting.sort_by_key(|one| one.id);
        if waiting.windows(2).any(|two| two[0].id == two[1].id) {
            return Err(self.bad_stream("an entry is pending twice"));
        }
        let mut names = BTreeSet::new();
        for _ in 0..self.many(10)? {
            let name = self.text()?;
            self.visit_consumer(kind, &name, &mut waiting)?;
            if !names.insert(name) {
                return Err(self.bad_stream("a consumer stands in it twice"));
            }
        }
        if waiting.iter().any(|one| !one.taken) {
            return Err(self.bad_stream("an entry is pending with nobody"));
        }
        Ok(())
    }

    fn visit_consumer(
        &mut self,
        kind: u8,
        name: &[u8],
        waiting: &mut [Waiting],
    ) -> Result<(), Problem> {
        let seen = i64::from_le_bytes(self.source.take()?);
        let active =
            if kind >= TYPE_STREAM_3 { i64::from_le_bytes(self.source.take()?) } else { seen };
        self.show(Piece::Consumer { name, seen, active })?;
        for _ in 0..self.many(16)? {
            let id = Id::from_bytes(self.source.take()?);
            let place = waiting.binary_search_by_key(&id, |one| one.id).ok();
            let one = place.map(|at| &mut waiting[at]).filter(|one| !one.taken);
            let Some(one) = one else {
                return Err(self.bad_stream("an entry is pending with a consumer alone"));
            };
            one.taken = true;
            let (time, count) = (one.time, one.count);
            self.show(Piece::Pending { id, time, count })?;
        }
        Ok(())
    }
}

impl Entries {
    /// How many entries of an old stream, which does not say so, a group has read; -1 when unknown.
    /// As `Stream::distance` finds it where nothing is known to have been removed.
    fn read_up_to(&self, id: Id, last: Id) -> i64 {
        match self.first {
            None => 0,
            Some(_) if id == last => self.len as i64,
            Some(first) if id < first => 0,
            Some(first) if id == first => 1,
            Some(_) => -1,
        }
    }
}
