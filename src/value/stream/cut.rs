//! Walking through a stream, in slices, as it was at one moment, while it changes.
//!
//! Nodes, consumers and pending entries each stand in a map that knows how; of the groups, those
//! that are removed meanwhile are kept aside whole, and those that are added are marked by having
//! no state of then.

use std::collections::BTreeMap;

use crate::value::stream::group::{Consumer, Group, Pending};
use crate::value::stream::id::Id;
use crate::value::stream::{Node, Stream};

/// A part of what a stream was.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// What it says of itself; comes first.
    Stream {
        /// Number of entries.
        length: u64,
        /// The greatest id that was ever given.
        last_id: Id,
        /// The id of the first entry.
        first_id: Id,
        /// The greatest id that XDEL has removed.
        max_deleted: Id,
        /// How many entries were ever added.
        entries_added: u64,
        /// Number of nodes.
        nodes: usize,
        /// Number of groups.
        groups: usize,
    },
    /// A node, in the order of their ids.
    Node(Id, &'a Node),
    /// A group begins, in the order of their names; its consumers and pending entries follow.
    Group {
        /// Its name.
        name: &'a [u8],
        /// The id of the entry delivered last.
        last_id: Id,
        /// See [`Group::entries_read`].
        entries_read: i64,
    },
    /// A consumer, with its number.
    Consumer(u64, &'a Consumer),
    /// A pending entry, in the order of their ids.
    Pending(Id, &'a Pending),
}

/// The state of a walk.
#[derive(Debug)]
pub(super) struct Cut {
    epoch: u64,
    stage: Stage,
    head: [u64; 2],
    ids: [Id; 3],
    counts: (usize, usize),
    /// Groups that were there and have been removed since.
    pub(super) groups: BTreeMap<Box<[u8]>, Group>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Nodes,
    /// Behind the groups up to this one.
    Groups(Option<Box<[u8]>>),
    Consumers(Box<[u8]>),
    Pending(Box<[u8]>),
    Done,
}

impl Stream {
    /// From now on [`Stream::cut_slice`] visits what is here now. Takes a moment for each group.
    pub fn begin_cut(&mut self, epoch: u64) {
        if self.cut.as_ref().is_some_and(|cut| cut.epoch == epoch) {
            return;
        }
        self.nodes.begin_cut();
        for group in self.groups.values_mut() {
            group.at_cut = Some((group.last_id, group.entries_read));
            group.consumers.begin_cut();
            group.kept.begin();
        }
        self.cut = Some(Box::new(Cut {
            epoch,
            stage: Stage::Head,
            head: [self.length, self.entries_added],
            ids: [self.last_id, self.first_id, self.max_deleted],
            counts: (self.nodes.len(), self.groups.len()),
            groups: BTreeMap::new(),
        }));
    }

    /// The epoch of the cut that has begun and not ended.
    pub fn cut_epoch(&self) -> Option<u64> {
        self.cut.as_ref().map(|cut| cut.epoch)
    }

    /// Visits up to `budget` pieces of what was there at [`Stream::begin_cut`]; true when it has
    /// visited all.
    pub fn cut_slice(&mut self, budget: usize, visit: &mut dyn FnMut(Piece<'_>)) -> bool {
        let Some(mut cut) = self.cut.take() else { return true };
        let mut left = budget.max(1);
        while left > 0 && cut.stage != Stage::Done {
            self.step(&mut cut, &mut left, visit);
        }
        let done = cut.stage == Stage::Done;
        self.cut = Some(cut);
        done
    }

    fn step(&mut self, cut: &mut Cut, left: &mut usize, visit: &mut dyn FnMut(Piece<'_>)) {
        match std::mem::replace(&mut cut.stage, Stage::Done) {
            Stage::Done => {}
            Stage::Head => {
                *left -= 1;
                let ([length, entries_added], [last_id, first_id, max_deleted]) =
                    (cut.head, cut.ids);
                let (nodes, groups) = cut.counts;
                visit(Piece::Stream {
                    length,
                    last_id,
                    first_id,
                    max_deleted,
                    entries_added,
                    nodes,
                    groups,
                });
                cut.stage = Stage::Nodes;
            }
            Stage::Nodes => {
                let done = self.nodes.walk(left, |id, node| visit(Piece::Node(*id, node)));
                cut.stage = if done { Stage::Groups(None) } else { Stage::Nodes };
            }
            Stage::Groups(behind) => {
                *left -= 1;
                if let Some(name) = self.next_group(cut, behind.as_deref()) {
                    let group = cut.groups.get(&name).or_else(|| self.groups.get(&name));
                    let (last_id, entries_read) =
                        group.and_then(|group| group.at_cut).unwrap_or_default();
                    visit(Piece::Group { name: &name, last_id, entries_read });
                    cut.stage = Stage::Consumers(name);
                }
            }
            Stage::Consumers(name) => {
                let group = cut.groups.get_mut(&name).or_else(|| self.groups.get_mut(&name));
                let done = group.is_none_or(|group| {
                    group.consumers.walk(left, |n, c| visit(Piece::Consumer(*n, c)))
                });
                cut.stage = if done { Stage::Pending(name) } else { Stage::Consumers(name) };
            }
            Stage::Pending(name) => {
                let group = cut.groups.get_mut(&name).or_else(|| self.groups.get_mut(&name));
                let done = group
                    .is_none_or(|group| group.walk(left, |id, p| visit(Piece::Pending(*id, p))));
                cut.stage = if done { Stage::Groups(Some(name)) } else { Stage::Pending(name) };
            }
        }
    }

    /// The next group that was there when the cut began.
    fn next_group(&self, cut: &Cut, behind: Option<&[u8]>) -> Option<Box<[u8]>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = behind.map_or(Unbounded, Excluded);
        let removed = cut.groups.range::<[u8], _>((from, Unbounded)).next();
        let mut here = self.groups.range::<[u8], _>((from, Unbounded));
        let here = here.find(|(_, group)| group.at_cut.is_some());
        let names = [removed.map(|(name, _)| name), here.map(|(name, _)| name)];
        names.into_iter().flatten().min().cloned()
    }

    /// Drops what was kept.
    pub fn end_cut(&mut self) {
        if self.cut.take().is_none() {
            return;
        }
        self.nodes.end_cut();
        for group in self.groups.values_mut() {
            group.at_cut = None;
            group.consumers.end_cut();
            group.kept.end();
        }
    }
}
