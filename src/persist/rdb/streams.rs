//! Streams of an RDB file.
//!
//! ```text
//! stream   = nodes *(id(16) node) entries last [first max-deleted added] groups *group
//! group    = name last [read] pending *(id(16) time(8) count) consumers *consumer
//! consumer = name seen(8) [active(8)] pending *id(16)
//! ```
//!
//! Ids are 16 bytes, big-endian, where that is noted, and two lengths elsewhere; times are
//! milliseconds, little-endian; everything else is a length or a string. What stands in brackets
//! came with type 19 and, for `active`, 21. Nodes are checked whole before anything looks into
//! them.

use std::collections::BTreeMap;

use crate::persist::rdb::decode::{Problem, Reader, shown};
use crate::persist::rdb::format::*;
use crate::value::entry::NewValue;
use crate::value::object::{Object, Type};
use crate::value::stream::{COUNT_MAX, Group, Id, Node, Pending, Stream, check_node};

impl Reader<'_> {
    /// Reads a stream of one of the kinds that are known here.
    pub(super) fn stream_entry(&mut self, kind: u8) -> Result<(), Problem> {
        let expire_ms = self.expire_ms.take();
        self.read_key()?;
        if !self.is_wanted(expire_ms) {
            return self.pass_over_stream(kind);
        }
        let mut stream = self.nodes()?;
        let (entries, last) = (self.length()?, self.two_lengths()?);
        if entries != stream.len() {
            return Err(self.bad_stream("it does not hold as many entries as it says"));
        }
        if stream.last_entry_id().is_some_and(|id| id > last) {
            return Err(self.bad_stream("an entry is behind the last"));
        }
        let (mut max_deleted, mut added) = (Id::MIN, entries);
        if kind >= TYPE_STREAM_2 {
            // Which is the first is found out anew.
            self.two_lengths()?;
            (max_deleted, added) = (self.two_lengths()?, self.length()?.min(COUNT_MAX));
        }
        stream.restore(last, max_deleted, added);
        for _ in 0..self.many(4)? {
            let (name, group) = self.group(kind, &stream)?;
            if !stream.add_group(&name, group) {
                return Err(self.bad_stream("a group stands in it twice"));
            }
        }
        self.store(NewValue::Object(Box::new(Object::Stream(Box::new(stream)))), expire_ms)
    }

    pub(super) fn bad_stream(&self, why: &str) -> Problem {
        Problem::Damaged { kind: Type::Stream.name(), key: shown(&self.key), why: why.to_owned() }
    }

    /// A number of things that take `least` bytes each.
    pub(super) fn many(&mut self, least: u64) -> Result<u64, Problem> {
        match self.length()? {
            count if count > self.source.left() / least => Err(Problem::Truncated),
            count => Ok(count),
        }
    }

    pub(super) fn text(&mut self) -> Result<Vec<u8>, Problem> {
        let mut text = Vec::new();
        let head = self.string_head()?;
        self.string_into(head, &mut text)?;
        Ok(text)
    }

    pub(super) fn two_lengths(&mut self) -> Result<Id, Problem> {
        Ok(Id { ms: self.length()?, seq: self.length()? })
    }

    /// The next node, which stands behind `behind`, and what the one after it has to stand behind.
    pub(super) fn checked_node(&mut self, behind: &mut Option<Id>) -> Result<(Id, Node), Problem> {
        let id = self.text()?;
        let Ok(id) = <[u8; 16]>::try_from(&id[..]) else {
            return Err(self.bad_stream("the id of a node is not one"));
        };
        let master = Id::from_bytes(id);
        let bytes = self.text()?;
        let (node, _, last) =
            check_node(master, bytes).map_err(|e| self.bad_stream(&e.to_string()))?;
        if behind.is_some_and(|behind| master <= behind) {
            return Err(self.bad_stream("a node is out of order"));
        }
        *behind = Some(last);
        Ok((master, node))
    }

    fn nodes(&mut self) -> Result<Stream, Problem> {
        let mut stream = Stream::default();
        let mut behind: Option<Id> = None;
        for _ in 0..self.many(18)? {
            let (master, node) = self.checked_node(&mut behind)?;
            stream.push_node(master, node);
        }
        Ok(stream)
    }

    fn group(&mut self, kind: u8, stream: &Stream) -> Result<(Vec<u8>, Group), Problem> {
        let (name, last) = (self.text()?, self.two_lengths()?);
        let read = if kind >= TYPE_STREAM_2 {
            self.length()? as i64
        } else {
            stream.distance(last).map_or(-1, |read| read as i64)
        };
        let mut group = Group::new(last, read.max(-1));
        let mut pending = BTreeMap::new();
        for _ in 0..self.many(25)? {
            let id = Id::from_bytes(self.source.take()?);
            let (time, count) = (i64::from_le_bytes(self.source.take()?), self.length()?);
            let count = count.min(COUNT_MAX);
            if pending.insert(id, (time, count)).is_some() {
                return Err(self.bad_stream("an entry is pending twice"));
            }
        }
        for _ in 0..self.many(10)? {
            self.consumer(kind, &mut group, &mut pending)?;
        }
        if !pending.is_empty() {
            return Err(self.bad_stream("an entry is pending with nobody"));
        }
        Ok((name, group))
    }

    fn consumer(
        &mut self,
        kind: u8,
        group: &mut Group,
        pending: &mut BTreeMap<Id, (i64, u64)>,
    ) -> Result<(), Problem> {
        let (name, seen) = (self.text()?, i64::from_le_bytes(self.source.take()?));
        let active =
            if kind >= TYPE_STREAM_3 { i64::from_le_bytes(self.source.take()?) } else { seen };
        let Some(consumer) = group.add_consumer(&name, seen, active) else {
            return Err(self.bad_stream("a consumer stands in it twice"));
        };
        for _ in 0..self.many(16)? {
            let id = Id::from_bytes(self.source.take()?);
            let Some((time, count)) = pending.remove(&id) else {
                return Err(self.bad_stream("an entry is pending with a consumer alone"));
            };
            group.set_pending(id, Pending { time, count, consumer });
        }
        Ok(())
    }

    pub(super) fn pass_over_stream(&mut self, kind: u8) -> Result<(), Problem> {
        for _ in 0..self.many(18)?.saturating_mul(2) {
            let head = self.string_head()?;
            self.pass_over(head)?;
        }
        let lengths = if kind >= TYPE_STREAM_2 { 8 } else { 3 };
        (0..lengths).try_for_each(|_| self.length().map(drop))?;
        for _ in 0..self.many(4)? {
            let head = self.string_head()?;
            self.pass_over(head)?;
            let lengths = if kind >= TYPE_STREAM_2 { 3 } else { 2 };
            (0..lengths).try_for_each(|_| self.length().map(drop))?;
            for _ in 0..self.many(25)? {
                self.source.skip(24)?;
                self.length()?;
            }
            for _ in 0..self.many(10)? {
                let head = self.string_head()?;
                self.pass_over(head)?;
                self.source.skip(if kind >= TYPE_STREAM_3 { 16 } else { 8 })?;
                let ids = self.many(16)?;
                self.source.skip(ids * 16)?;
            }
        }
        Ok(())
    }
}
