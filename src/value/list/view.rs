//! A node of a large list, as others may see it.

use std::borrow::Cow;

use crate::value::list::node::Node;
use crate::value::list::{End, List};
use crate::value::listpack::Item;

/// See the file's opening.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a>(pub(super) &'a Node);

impl<'a> NodeView<'a> {
    /// Number of elements.
    pub fn count(self) -> usize {
        self.0.count()
    }

    /// Whether it is one long element as it is.
    pub fn is_plain(self) -> bool {
        self.0.is_plain()
    }

    /// Its elements as a row, or the long one.
    pub fn content(self) -> Cow<'a, [u8]> {
        self.0.content()
    }

    /// Visits the elements in order.
    pub fn each(self, visit: &mut dyn FnMut(Item<'_>)) {
        self.0.walk(0, End::Front, &mut |item| {
            visit(item);
            true
        });
    }
}

impl List {
    /// Number of nodes.
    pub fn nodes_len(&self) -> usize {
        self.nodes
    }

    /// The nodes in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeView<'_>> {
        self.chunks.iter().flat_map(|chunk| chunk.nodes.iter().map(NodeView))
    }
}
