//! Visiting a list as it was at one moment, in slices between which it may change.
//!
//! The cut holds the chunks as they were. Whoever changes a chunk or a node that it still holds
//! copies it first, so what is kept beside the list is bounded by what changes until the walker
//! has come by; what it has visited it lets go.

use std::collections::VecDeque;

use crate::value::list::deque::Chunk;
use crate::value::list::{List, NodeView};
use crate::value::listpack::Item;

/// What a walker has not visited yet.
#[derive(Debug)]
pub(super) struct Cut {
    epoch: u64,
    chunks: VecDeque<Chunk>,
    /// Next node of the first chunk.
    node: usize,
}

impl List {
    /// Fixes what a walk of this epoch will visit. Takes time by the number of chunks; there is
    /// one cut at a time.
    pub fn begin_cut(&mut self, epoch: u64) {
        debug_assert!(self.cut.is_none(), "one cut at a time");
        self.cut = Some(Box::new(Cut { epoch, chunks: self.chunks.clone(), node: 0 }));
    }

    /// The epoch of the cut that has begun and not ended.
    pub fn cut_epoch(&self) -> Option<u64> {
        self.cut.as_ref().map(|cut| cut.epoch)
    }

    /// Visits the next elements as they were at [`List::begin_cut`], in order: about `budget` of
    /// them, up to the end of a node; true when all have been.
    pub fn cut_slice(&mut self, budget: usize, visit: &mut dyn FnMut(Item<'_>)) -> bool {
        self.cut_nodes(budget, &mut |node| node.each(visit))
    }

    /// [`List::cut_slice`], node by node.
    pub fn cut_nodes(&mut self, budget: usize, visit: &mut dyn FnMut(NodeView<'_>)) -> bool {
        let Some(cut) = &mut self.cut else { return true };
        let mut left = budget;
        while left > 0
            && let Some(chunk) = cut.chunks.front()
        {
            let Some(node) = chunk.nodes.get(cut.node) else {
                cut.chunks.pop_front();
                cut.node = 0;
                continue;
            };
            visit(NodeView(node));
            left = left.saturating_sub(node.count());
            cut.node += 1;
        }
        cut.chunks
            .front()
            .is_none_or(|chunk| cut.chunks.len() == 1 && cut.node >= chunk.nodes.len())
    }

    /// Lets go of what was kept for the walk.
    pub fn end_cut(&mut self) {
        self.cut = None;
    }
}
