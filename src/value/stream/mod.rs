//! Streams: entries by growing ids, packed into nodes, and the groups that consume them.
//!
//! Nodes stand in a map under the id of their first entry. Adding goes to the last node in place
//! until it is full; deleting makes a tombstone, and a node without live entries goes.
//!
//! Invariants: `length` is the sum of the nodes' live entries; ids grow through all nodes, and none
//! is behind `last_id`; `first_id` is that of the first live entry, `0-0` without one.

mod check;
mod chunks;
mod cut;
mod group;
mod id;
mod node;
#[cfg(test)]
mod tests;
mod tracked;
mod trim;

use std::collections::{BTreeMap, btree_map};

pub use check::{BadNode, node as check_node};
pub use cut::Piece;
pub use group::{Consumer, Group, Pending};
pub use id::{Id, IdText};
pub use node::{EntryRef, Node};
pub use trim::{Bound, Trim, Trimmed};

use crate::value::listpack::SIZE_MAX;
use cut::Cut;
use node::Entries;
use tracked::{Tracked, Weigh};

/// Highest count that is kept: what commands can say.
pub const COUNT_MAX: u64 = i64::MAX as u64;

/// Up to which size nodes are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeMax {
    /// `stream-node-max-bytes`; 0: no bound.
    pub bytes: usize,
    /// `stream-node-max-entries`; 0: no bound.
    pub entries: usize,
}

impl NodeMax {
    /// As Redis' directives are by default.
    pub const DEFAULT: NodeMax = NodeMax { bytes: 4096, entries: 100 };
}

/// Why an entry was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its id is not behind the last one.
    NotBehind,
    /// Its texts are longer than a node may be.
    TooLong,
}

/// The id that an entry is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The next one at this time (Unix milliseconds).
    Now(u64),
    /// The next one of these milliseconds.
    In(u64),
    /// This one.
    Exactly(Id),
}

/// A stream.
#[derive(Debug, Default)]
pub struct Stream {
    nodes: Tracked<Id, Node>,
    length: u64,
    last_id: Id,
    first_id: Id,
    max_deleted: Id,
    entries_added: u64,
    groups: BTreeMap<Box<[u8]>, Group>,
    /// Bytes that the groups count for.
    groups_bytes: usize,
    cut: Option<Box<Cut>>,
}

/// Bytes that a group counts for, its place included.
fn weight_of(name: &[u8], group: &Group) -> usize {
    size_of::<(Box<[u8]>, Group)>() * 3 / 2 + name.len() + group.memory()
}

impl Clone for Stream {
    /// What it holds now, and no walk.
    fn clone(&self) -> Self {
        Stream { nodes: self.nodes.clone(), groups: self.groups.clone(), cut: None, ..*self }
    }
}

impl Stream {
    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// True when there is no entry.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The nodes in order, each with the id that it stands under.
    pub fn nodes(&self) -> impl Iterator<Item = (Id, &Node)> {
        self.nodes.map().iter().map(|(id, node)| (*id, node))
    }

    /// The greatest id that was ever given.
    pub fn last_id(&self) -> Id {
        self.last_id
    }

    /// The id of the first entry; `0-0` when there is none.
    pub fn first_id(&self) -> Id {
        self.first_id
    }

    /// The greatest id that XDEL has removed.
    pub fn max_deleted(&self) -> Id {
        self.max_deleted
    }

    /// How many entries were ever added.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// Number of nodes.
    pub fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    /// The ids that the nodes stand under.
    pub fn node_ids(&self) -> impl Iterator<Item = Id> {
        self.nodes.map().keys().copied()
    }

    /// Bytes of heap memory held, but for what a walk keeps of groups. Constant time.
    pub fn memory(&self) -> usize {
        size_of::<Stream>() + self.nodes.memory() + self.groups_bytes
    }

    /// The id that an entry asking for `wish` gets.
    pub fn resolve(&self, wish: Wish) -> Result<Id, Refused> {
        let id = match wish {
            Wish::Now(ms) if ms > self.last_id.ms => Some(Id { ms, seq: 0 }),
            Wish::Now(_) => self.last_id.next(),
            Wish::In(ms) if ms == self.last_id.ms => {
                self.last_id.seq.checked_add(1).map(|seq| Id { ms, seq })
            }
            Wish::In(ms) => Some(Id { ms, seq: 0 }),
            Wish::Exactly(id) => Some(id),
        };
        id.filter(|id| *id > self.last_id).ok_or(Refused::NotBehind)
    }

    /// Whether an entry with fields and values in turn can be added; the id it would get.
    pub fn check(&self, wish: Wish, pairs: &[&[u8]]) -> Result<Id, Refused> {
        let id = self.resolve(wish)?;
        let bytes: usize = pairs.iter().map(|text| text.len()).sum();
        if bytes > SIZE_MAX { Err(Refused::TooLong) } else { Ok(id) }
    }

    /// Adds an entry with fields and values in turn; gives its id.
    pub fn add(&mut self, wish: Wish, pairs: &[&[u8]], max: NodeMax) -> Result<Id, Refused> {
        let id = self.check(wish, pairs)?;
        let bytes = pairs.iter().map(|text| text.len()).sum();
        let appended = self.nodes.change_last(|master, node| {
            let room = node.has_room(bytes, max);
            if room {
                node.append(*master, id, pairs)
            } else {
                node.seal()
            }
            room
        });
        if appended != Some(true) {
            let mut node = Node::new(pairs);
            node.append(id, id, pairs);
            self.nodes.insert(id, node);
        }
        self.length += 1;
        self.entries_added = self.entries_added.saturating_add(1).min(COUNT_MAX);
        self.last_id = id;
        if self.length == 1 {
            self.first_id = id;
        }
        Ok(id)
    }

    /// The node that would hold `id`.
    fn node_of(&self, id: Id) -> Option<(Id, &Node)> {
        self.nodes.range(..=id).next_back().map(|(master, node)| (*master, node))
    }

    /// The entry with this id.
    pub fn get(&self, id: Id) -> Option<EntryRef<'_>> {
        let (master, node) = self.node_of(id)?;
        node.find(master, id)
    }

    /// Removes an entry; false when there is none. The caller calls [`Stream::removed`] at last.
    pub fn remove(&mut self, id: Id) -> bool {
        let Some((master, node)) = self.node_of(id) else { return false };
        if node.find(master, id).is_none() {
            return false;
        }
        if node.live() == 1 {
            self.nodes.remove(&master);
        } else {
            self.nodes.change(&master, |node| node.delete(master, id));
        }
        self.length -= 1;
        self.max_deleted = self.max_deleted.max(id);
        true
    }

    /// Finds the first entry anew.
    pub fn removed(&mut self) {
        self.first_id = self.range(Id::MIN, Id::MAX).next().map_or(Id::MIN, |entry| entry.id);
    }

    /// The entries from `start` to `end`, both included.
    pub fn range(&self, start: Id, end: Id) -> Range<'_> {
        let from = self.node_of(start).map_or(Id::MIN, |(master, _)| master);
        let nodes = if from <= end { Some(self.nodes.range(from..=end)) } else { None };
        Range { nodes, front: None, back: None, start, end }
    }

    /// The id of the last entry.
    pub fn last_entry_id(&self) -> Option<Id> {
        self.range(Id::MIN, Id::MAX).next_back().map(|entry| entry.id)
    }

    /// The id of the first entry, tombstones included.
    pub fn first_tombstone_or_entry(&self) -> Option<Id> {
        self.nodes.map().iter().find_map(|(master, node)| node.first_id(*master))
    }

    /// Sets what XSETID sets; the caller has checked it.
    pub fn set_ids(&mut self, last: Id, added: Option<u64>, max_deleted: Option<Id>) {
        self.last_id = last;
        self.entries_added = added.unwrap_or(self.entries_added);
        self.max_deleted = max_deleted.unwrap_or(self.max_deleted);
    }

    /// Sets what a file says of a stream whose nodes have been added.
    pub fn restore(&mut self, last: Id, max_deleted: Id, entries_added: u64) {
        self.set_ids(last, Some(entries_added), Some(max_deleted));
        self.removed();
    }

    /// Adds a node behind all others.
    pub fn push_node(&mut self, master: Id, node: Node) {
        self.length += node.live();
        self.nodes.insert(master, node);
    }

    /// How many entries of all that were ever added lie up to `id`, as far as that can be told.
    pub fn distance(&self, id: Id) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.is_empty() && id <= self.last_id {
            return Some(self.entries_added);
        }
        match id.cmp(&self.last_id) {
            std::cmp::Ordering::Equal => return Some(self.entries_added),
            std::cmp::Ordering::Greater => return None,
            std::cmp::Ordering::Less => {}
        }
        if self.max_deleted.is_zero() || self.max_deleted < self.first_id {
            // Nothing is missing behind the first entry.
            let before_first = self.entries_added.saturating_sub(self.length);
            match id.cmp(&self.first_id) {
                std::cmp::Ordering::Less => return Some(before_first),
                std::cmp::Ordering::Equal => return Some(before_first + 1),
                std::cmp::Ordering::Greater => {}
            }
        }
        None
    }

    /// Whether XDEL has removed something from `start` on, between entries that are there.
    pub fn has_tombstones_from(&self, start: Id) -> bool {
        let behind_first = !self.is_empty() && self.first_id <= self.max_deleted;
        behind_first && !self.max_deleted.is_zero() && start <= self.max_deleted
    }

    /// How many entries a group has yet to be given, as far as that can be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let added = self.entries_added as i64;
        if group.entries_read >= 0 && !self.has_tombstones_from(group.last_id) {
            return Some(added.wrapping_sub(group.entries_read));
        }
        Some(added.wrapping_sub(self.distance(group.last_id)? as i64))
    }

    /// The groups, by name.
    pub fn groups(&self) -> &BTreeMap<Box<[u8]>, Group> {
        &self.groups
    }

    /// A group.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Changes a group.
    pub fn change_group<R>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Group) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(name)?;
        let before = group.memory();
        let result = change(group);
        self.groups_bytes = self.groups_bytes - before + group.memory();
        Some(result)
    }

    /// Hands a group to `deliver` with an entry each, from the first behind what it has read on.
    pub fn advance(
        &mut self,
        name: &[u8],
        count: usize,
        mut deliver: impl FnMut(EntryRef<'_>, &mut Group),
    ) {
        let Some((name, mut group)) = self.groups.remove_entry(name) else { return };
        self.groups_bytes -= group.memory();
        if let Some(start) = group.last_id.next() {
            for entry in self.range(start, Id::MAX).take(count) {
                self.count_read(&mut group, entry.id);
                deliver(entry, &mut group);
            }
        }
        self.groups_bytes += group.memory();
        self.groups.insert(name, group);
    }

    /// A group has come to the entry `id`.
    fn count_read(&self, group: &mut Group, id: Id) {
        if group.entries_read >= 0 && !self.has_tombstones_from(id) {
            group.entries_read = group.entries_read.saturating_add(1);
        } else if self.entries_added > 0 {
            group.entries_read = self.distance(id).map_or(-1, |read| read as i64);
        }
        group.last_id = id;
    }

    /// Adds a group; false when there is one of that name.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.groups_bytes += weight_of(name, &group);
        self.groups.insert(name.into(), group);
        true
    }

    /// Takes a group out; what it held is to be freed by [`Stream::free_slice`] of the result.
    pub fn remove_group(&mut self, name: &[u8]) -> Option<Stream> {
        let (name, group) = self.groups.remove_entry(name)?;
        let weight = weight_of(&name, &group);
        self.groups_bytes -= weight;
        let mut gone = Stream::default();
        match &mut self.cut {
            Some(cut) if group.at_cut.is_some() => {
                cut.groups.insert(name, group);
            }
            _ => {
                gone.groups.insert(name, group);
                gone.groups_bytes = weight;
            }
        }
        Some(gone)
    }

    /// Frees up to `budget` nodes and pending entries of one that will not be used again; true when
    /// none is left.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        let mut left = budget;
        self.end_cut();
        while left > 0 {
            left -= 1;
            if !self.nodes.free_first() {
                break;
            }
        }
        while left > 0
            && let Some(mut last) = self.groups.last_entry()
        {
            let before = weight_of(last.key(), last.get());
            let done = last.get_mut().free_slice(&mut left);
            let after = if done { 0 } else { weight_of(last.key(), last.get()) };
            self.groups_bytes = self.groups_bytes - before + after;
            if done {
                last.remove();
            }
        }
        self.length = 0;
        self.nodes.len() == 0 && self.groups.is_empty()
    }
}

/// Entries in order, from either end.
#[derive(Clone, Debug)]
pub struct Range<'a> {
    nodes: Option<btree_map::Range<'a, Id, Node>>,
    front: Option<Entries<'a>>,
    back: Option<Entries<'a>>,
    start: Id,
    end: Id,
}

impl<'a> Range<'a> {
    /// Number of entries left, as far as `max`; nodes that lie inside are not looked through.
    pub fn count_up_to(mut self, max: usize) -> usize {
        let mut count = self.front.take().map_or(0, |front| self.inside(front).count());
        while count < max
            && let Some((master, node)) = self.nodes.as_mut().and_then(Iterator::next)
        {
            let whole = *master >= self.start
                && self.nodes.as_ref().is_some_and(|nodes| nodes.clone().next().is_some());
            count += if whole {
                node.live() as usize
            } else {
                let mut entries = Entries::new(*master, node);
                entries.seek(self.start);
                self.inside(entries).count()
            };
        }
        count += self.back.take().map_or(0, |back| self.inside(back).count());
        count.min(max)
    }

    fn inside(&self, entries: Entries<'a>) -> impl Iterator<Item = EntryRef<'a>> + use<'a> {
        let end = self.end;
        entries.take_while(move |entry| entry.id <= end)
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = EntryRef<'a>;

    fn next(&mut self) -> Option<EntryRef<'a>> {
        loop {
            if let Some(entry) = self.front.as_mut().and_then(Iterator::next) {
                return Some(entry).filter(|entry| entry.id <= self.end);
            }
            match self.nodes.as_mut().and_then(Iterator::next) {
                Some((master, node)) => {
                    let mut entries = Entries::new(*master, node);
                    if *master < self.start {
                        entries.seek(self.start);
                    }
                    self.front = Some(entries);
                }
                None => {
                    self.front = None;
                    let entry = self.back.as_mut().and_then(Iterator::next);
                    return entry.filter(|entry| entry.id <= self.end);
                }
            }
        }
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.back.as_mut().and_then(DoubleEndedIterator::next_back) {
                return Some(entry).filter(|entry| entry.id >= self.start);
            }
            match self.nodes.as_mut().and_then(DoubleEndedIterator::next_back) {
                Some((master, node)) => {
                    let mut entries = Entries::new(*master, node);
                    entries.seek_back(self.end);
                    self.back = Some(entries);
                }
                None => {
                    self.back = None;
                    let entry = self.front.as_mut().and_then(DoubleEndedIterator::next_back);
                    return entry.filter(|entry| entry.id >= self.start);
                }
            }
        }
    }
}
