//! The deque of nodes: how it is kept, walked, and changed at its ends.
//!
//! Invariants: no chunk and no node is empty; `len` and each chunk's `count` are the sums of what
//! they hold, `nodes` is the number of nodes, `held` the bytes of their buffers and of the chunks.
//! With a depth, the nodes that are nearer to an end are not compressed.

use std::collections::VecDeque;

use triomphe::Arc;

use crate::value::account::usable;
use crate::value::list::cut::Cut;
use crate::value::list::node::{ARC, Node, memory_of};
use crate::value::list::{End, Limits};
use crate::value::listpack::{Item, Pack, Row};

/// Most nodes of a chunk: one is copied whole when it is shared and changes.
pub(super) const CHUNK: usize = 128;

/// Nodes that stand together.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) count: usize,
    pub(super) nodes: Arc<VecDeque<Node>>,
}

impl Chunk {
    pub(super) fn of(nodes: VecDeque<Node>) -> Chunk {
        Chunk { count: nodes.iter().map(Node::count).sum(), nodes: Arc::new(nodes) }
    }

    /// Bytes for its nodes but their buffers, by their number: a deque's room changes when it is
    /// copied.
    pub(super) fn memory(&self) -> usize {
        let room = self.nodes.len().next_power_of_two().max(4) * size_of::<Node>();
        usable(room) + usable(size_of::<VecDeque<Node>>() + ARC) + size_of::<Chunk>()
    }

    fn held(&self) -> usize {
        self.memory() + self.nodes.iter().map(Node::memory).sum::<usize>()
    }
}

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) chunk: usize,
    pub(super) node: usize,
}

/// A large list. See the opening of [`super`].
#[derive(Debug)]
pub struct List {
    pub(super) chunks: VecDeque<Chunk>,
    pub(super) len: usize,
    pub(super) nodes: usize,
    pub(super) held: usize,
    pub(super) limits: Limits,
    pub(super) cut: Option<Box<Cut>>,
}

impl Clone for List {
    /// Takes time by the number of chunks; what they hold is shared until one of the two changes.
    fn clone(&self) -> Self {
        List { chunks: self.chunks.clone(), cut: None, ..*self }
    }
}

impl List {
    /// An empty list.
    pub fn new(limits: Limits) -> List {
        List { chunks: VecDeque::new(), len: 0, nodes: 0, held: 0, limits, cut: None }
    }

    /// The elements of a listpack.
    pub fn of_pack(pack: Pack<'_>, limits: Limits) -> List {
        let mut list = List::new(limits);
        if !pack.is_empty() {
            list.push_row(pack);
        }
        list
    }

    /// Appends all elements of a listpack that has some, as a node of their own.
    pub fn push_row(&mut self, pack: Pack<'_>) {
        self.add_node(Node::of_row(Row::of(pack), pack.len()), End::Back);
        self.settle_ends();
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of heap memory held; what is shared counts wherever it is.
    pub fn memory(&self) -> usize {
        self.held
    }

    /// Frees up to `budget` nodes of one that will not be used again; true when none is left.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            let Some(chunk) = self.chunks.back_mut() else { break };
            let (count, memory) = (chunk.count, chunk.memory());
            let Some(nodes) = Arc::get_mut(&mut chunk.nodes) else {
                // Somebody else's now.
                self.held = self.held.saturating_sub(chunk.held());
                self.drop_back(count);
                continue;
            };
            if let Some(node) = nodes.pop_back() {
                self.len -= node.count();
                self.nodes -= 1;
                self.held -= node.memory();
                chunk.count -= node.count();
            }
            if chunk.nodes.is_empty() {
                self.held -= memory;
                self.chunks.pop_back();
            }
        }
        self.chunks.is_empty()
    }

    fn drop_back(&mut self, count: usize) {
        self.len -= count;
        self.nodes -= self.chunks.back().map_or(0, |chunk| chunk.nodes.len());
        self.chunks.pop_back();
    }

    /// Visits the elements from number `skip` on, counted from the end where the walk begins,
    /// until `visit` says false.
    pub fn walk(&self, mut skip: usize, from: End, visit: &mut dyn FnMut(Item<'_>) -> bool) {
        let chunks: &mut dyn Iterator<Item = &Chunk> = match from {
            End::Front => &mut self.chunks.iter(),
            End::Back => &mut self.chunks.iter().rev(),
        };
        for chunk in chunks {
            if skip >= chunk.count {
                skip -= chunk.count;
                continue;
            }
            let nodes: &mut dyn Iterator<Item = &Node> = match from {
                End::Front => &mut chunk.nodes.iter(),
                End::Back => &mut chunk.nodes.iter().rev(),
            };
            for node in nodes {
                if skip >= node.count() {
                    skip -= node.count();
                    continue;
                }
                if !node.walk(skip, from, visit) {
                    return;
                }
                skip = 0;
            }
        }
    }

    fn end_chunk(&mut self, end: End) -> Option<&mut Chunk> {
        match end {
            End::Front => self.chunks.front_mut(),
            End::Back => self.chunks.back_mut(),
        }
    }

    /// Adds an element at an end.
    pub fn push(&mut self, text: &[u8], end: End) {
        let limits = self.limits;
        if let Some(chunk) = self.end_chunk(end) {
            if Arc::get_mut(&mut chunk.nodes).is_none() {
                Arc::make_mut(&mut chunk.nodes);
            }
            let Some(nodes) = Arc::get_mut(&mut chunk.nodes) else { return };
            let node = match end {
                End::Front => nodes.front_mut(),
                End::Back => nodes.back_mut(),
            };
            let Some(node) = node else { return };
            if node.accepts(text.len(), limits) {
                let before = node.capacity();
                node.push(text, limits, end);
                let after = node.capacity();
                chunk.count += 1;
                self.len += 1;
                if after != before {
                    self.held = self.held - memory_of(before) + memory_of(after);
                }
                return;
            }
            // It is not the last one any more.
            let before = node.memory();
            node.fit();
            let after = node.memory();
            self.held = self.held - before + after;
        }
        self.add_node(Node::of(text, limits, end), end);
        self.settle_ends();
    }

    /// Puts a node behind the last one, or in front of the first.
    pub(super) fn add_node(&mut self, node: Node, end: End) {
        self.len += node.count();
        self.nodes += 1;
        self.held += node.memory();
        let full = self.end_chunk(end).is_none_or(|chunk| chunk.nodes.len() >= CHUNK);
        if full {
            let chunk = Chunk::of(VecDeque::new());
            self.held += chunk.memory();
            match end {
                End::Front => self.chunks.push_front(chunk),
                End::Back => self.chunks.push_back(chunk),
            }
        }
        let Some(chunk) = self.end_chunk(end) else { return };
        let before = chunk.memory();
        chunk.count += node.count();
        let nodes = Arc::make_mut(&mut chunk.nodes);
        match end {
            End::Front => nodes.push_front(node),
            End::Back => nodes.push_back(node),
        }
        let after = chunk.memory();
        self.held = self.held - before + after;
    }

    /// The place of element `index`, and its number in its node; from whichever end is nearer.
    pub(super) fn find(&self, index: usize) -> Option<(Spot, usize)> {
        if index >= self.len {
            return None;
        }
        let (chunk, mut within) = if index <= self.len / 2 {
            let mut left = index;
            let at = self.chunks.iter().position(|chunk| {
                let here = left < chunk.count;
                left -= if here { 0 } else { chunk.count };
                here
            })?;
            (at, left)
        } else {
            let mut left = self.len - 1 - index;
            let at = self.chunks.iter().rev().position(|chunk| {
                let here = left < chunk.count;
                left -= if here { 0 } else { chunk.count };
                here
            })?;
            let at = self.chunks.len() - 1 - at;
            (at, self.chunks[at].count - 1 - left)
        };
        let node = self.chunks[chunk].nodes.iter().position(|node| {
            let here = within < node.count();
            within -= if here { 0 } else { node.count() };
            here
        })?;
        Some((Spot { chunk, node }, within))
    }

    /// Changes a node and keeps the counts true. One left without elements goes by
    /// [`List::take_node`].
    pub(super) fn change<R>(&mut self, spot: Spot, change: impl FnOnce(&mut Node) -> R) -> R {
        let chunk = &mut self.chunks[spot.chunk];
        let memory = chunk.memory();
        let node = &mut Arc::make_mut(&mut chunk.nodes)[spot.node];
        let before = (node.count(), node.memory());
        let result = change(node);
        let after = (node.count(), node.memory());
        chunk.count = chunk.count - before.0 + after.0;
        self.len = self.len - before.0 + after.0;
        self.held = self.held + after.1 + chunk.memory() - before.1 - memory;
        result
    }

    /// Takes a node out, and its chunk if nothing else is in it.
    pub(super) fn take_node(&mut self, spot: Spot) {
        let chunk = &mut self.chunks[spot.chunk];
        let memory = chunk.memory();
        let Some(node) = Arc::make_mut(&mut chunk.nodes).remove(spot.node) else { return };
        chunk.count -= node.count();
        self.len -= node.count();
        self.nodes -= 1;
        self.held = self.held + chunk.memory() - memory - node.memory();
        if chunk.nodes.is_empty() {
            self.held -= chunk.memory();
            self.chunks.remove(spot.chunk);
        }
    }

    fn end_spot(&self, end: End) -> Option<Spot> {
        let last = self.chunks.len().checked_sub(1)?;
        Some(match end {
            End::Front => Spot { chunk: 0, node: 0 },
            End::Back => Spot { chunk: last, node: self.chunks[last].nodes.len() - 1 },
        })
    }

    /// Shows the element at an end, if there is one, and removes it.
    pub fn pop(&mut self, end: End, mut show: impl FnMut(Item<'_>)) {
        if let Some(chunk) = self.end_chunk(end) {
            let nodes = Arc::make_mut(&mut chunk.nodes);
            let node = match end {
                End::Front => nodes.front_mut(),
                End::Back => nodes.back_mut(),
            };
            if let Some(node) = node.filter(|node| node.can_pop()) {
                let before = node.memory();
                node.pop(end, show);
                let after = node.memory();
                chunk.count -= 1;
                self.len -= 1;
                self.held = self.held - before + after;
                return;
            }
        }
        self.walk(0, end, &mut |item| {
            show(item);
            false
        });
        // Not a chunk that is worth being freed in the background.
        drop(self.trim(1, end));
    }

    /// Removes `count` elements at an end. Whole chunks are handed back unfreed, as a list.
    pub fn trim(&mut self, mut count: usize, end: End) -> Option<List> {
        let mut cut_off = List::new(self.limits);
        while let Some(chunk) = self.end_chunk(end)
            && count >= chunk.count
        {
            count -= chunk.count;
            let chunk = match end {
                End::Front => self.chunks.pop_front(),
                End::Back => self.chunks.pop_back(),
            };
            let Some(chunk) = chunk else { break };
            let held = chunk.held();
            let nodes = chunk.nodes.len();
            (self.len, self.nodes) = (self.len - chunk.count, self.nodes - nodes);
            (cut_off.len, cut_off.nodes) = (cut_off.len + chunk.count, cut_off.nodes + nodes);
            (self.held, cut_off.held) = (self.held - held, cut_off.held + held);
            cut_off.chunks.push_back(chunk);
        }
        while count > 0
            && let Some(spot) = self.end_spot(end)
        {
            let own = self.chunks[spot.chunk].nodes[spot.node].count();
            if own <= count {
                self.take_node(spot);
                count -= own;
                continue;
            }
            self.change(spot, |node| {
                node.open();
                node.trim(count, end);
            });
            count = 0;
        }
        self.settle_ends();
        (!cut_off.is_empty()).then_some(cut_off)
    }

    /// Whether what is left is small enough to be a listpack again: one node, of at most half of
    /// the bounds if it has `shrunk`.
    pub fn fits_pack(&self, limits: Limits, shrunk: bool) -> bool {
        if self.nodes != 1 {
            return false;
        }
        let Some(node) = self.chunks.front().and_then(|chunk| chunk.nodes.front()) else {
            return false;
        };
        let parts = if shrunk { 2 } else { 1 };
        let counted = limits.size >= 0;
        let bytes = node.len() + 7;
        let small = match counted {
            true => self.len <= limits.count() / parts,
            false => bytes <= limits.bytes() / parts,
        };
        small && bytes <= super::PACKED_MAX && !node.is_plain()
    }

    /// The elements of a list of one node as a listpack.
    pub fn to_pack(&self) -> Vec<u8> {
        let node = self.chunks.front().and_then(|chunk| chunk.nodes.front());
        let Some(node) = node else { return Row(&[]).to_pack(0) };
        Row(&node.content()).to_pack(node.count())
    }

    /// Panics unless the invariants hold.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let nodes = || self.chunks.iter().flat_map(|chunk| chunk.nodes.iter());
        nodes().for_each(Node::check);
        assert_eq!(self.nodes, nodes().count());
        assert_eq!(self.len, nodes().map(Node::count).sum::<usize>());
        assert_eq!(self.held, self.chunks.iter().map(Chunk::held).sum::<usize>());
        for chunk in &self.chunks {
            assert_eq!(chunk.count, chunk.nodes.iter().map(Node::count).sum::<usize>());
            assert!((1..=CHUNK).contains(&chunk.nodes.len()));
        }
        for (at, node) in nodes().enumerate() {
            let near = at.min(self.nodes - 1 - at) < self.limits.depth;
            assert!(!(node.is_squeezed() && (near || self.limits.depth == 0)), "{at}");
        }
    }
}
