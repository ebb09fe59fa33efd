//! Lists: a listpack while they are small, a deque of rows from then on.
//!
//! A [`List`] is a deque of chunks, each a deque of nodes, each a row of elements (`node`). Chunks
//! know how many elements they hold, so that an index is found by skipping chunks, then nodes.
//! Nodes are as full as Redis' (`list-max-listpack-size`), since `OBJECT ENCODING` tells when one
//! is left; ends grow and shrink without moving what is between them.
//!
//! Chunks and nodes are shared by count: a snapshot's cut and a copy take time by the number of
//! chunks, and whoever changes a node that is shared copies it first (`cut`).

mod cut;
mod deque;
mod edit;
mod node;
#[cfg(test)]
mod tests;
mod view;

pub use deque::List;
pub use view::NodeView;

use crate::value::entry::{Entry, Form, ValueRef};
#[cfg(test)]
use crate::value::listpack;
use crate::value::listpack::{Item, Pack};
use crate::value::object::Object;
use crate::value::shapes::{PACKED_MAX, Shapes};

/// One of a list's ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where LPUSH adds.
    Front,
    /// Where RPUSH adds.
    Back,
}

impl End {
    /// The other one.
    pub fn other(self) -> End {
        match self {
            End::Front => End::Back,
            End::Back => End::Front,
        }
    }
}

/// How much a node holds, and which ones are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `list-max-listpack-size`: a number of elements; or -1 to -5, 4 to 64 KiB.
    pub size: i64,
    /// `list-compress-depth`: nodes at either end that are not compressed; 0: none is.
    pub depth: usize,
}

/// Bytes of a node that is bounded by a number of elements (Redis' number).
const COUNTED_BYTES: usize = 8192;
/// What a node's row leaves free of its bound: the allocation has a head.
const RESERVE: usize = node::ARC;

impl Limits {
    /// As Redis' directives are by default.
    pub const DEFAULT: Limits = Limits { size: -2, depth: 0 };

    /// Most bytes of a node.
    pub fn bytes(self) -> usize {
        match self.size {
            0.. => COUNTED_BYTES,
            size => 2048 << size.unsigned_abs().min(5),
        }
    }

    /// Most elements of a node.
    pub fn count(self) -> usize {
        match self.size {
            0.. => usize::try_from(self.size).unwrap_or(usize::MAX).max(1),
            _ => usize::MAX,
        }
    }

    fn row_bytes(self) -> usize {
        self.bytes() - RESERVE
    }

    /// Whether a listpack of `bytes` with `count` elements is too large to be a list by itself.
    pub fn is_passed(self, bytes: usize, count: usize) -> bool {
        bytes > self.bytes() || self.size >= 0 && count > self.count() || bytes > PACKED_MAX
    }
}

/// A list as it is kept.
#[derive(Clone, Copy, Debug)]
pub enum Kept<'a> {
    /// As one piece.
    Packed(Pack<'a>),
    /// As a deque of rows.
    Nodes(&'a List),
}

impl<'a> Kept<'a> {
    /// The list that an entry holds; `None` when it holds something else.
    pub fn of(entry: &'a Entry) -> Option<Kept<'a>> {
        match entry.value() {
            ValueRef::Packed(Form::List, bytes) => Some(Kept::Packed(Pack(bytes))),
            ValueRef::Object(Object::List(list)) => Some(Kept::Nodes(list)),
            _ => None,
        }
    }

    /// Number of elements.
    pub fn len(self) -> usize {
        match self {
            Kept::Packed(pack) => pack.len(),
            Kept::Nodes(list) => list.len(),
        }
    }

    /// True when there is no element.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Visits the elements from number `skip` on, counted from the end where the walk begins,
    /// until `visit` says false.
    pub fn walk(self, skip: usize, from: End, visit: &mut dyn FnMut(Item<'_>) -> bool) {
        let pack = match self {
            Kept::Nodes(list) => return list.walk(skip, from, visit),
            Kept::Packed(pack) => pack,
        };
        let Ok(index) = i64::try_from(skip) else { return };
        let index = if from == End::Front { index } else { -1 - index };
        let mut next = pack.seek(index);
        while let Some(at) = next {
            let Some((item, behind)) = pack.at(at) else { return };
            if !visit(item) {
                return;
            }
            next = if from == End::Front { Some(behind) } else { pack.before(at) };
        }
    }

    /// Every element.
    pub fn each(self, mut visit: impl FnMut(Item<'_>)) {
        self.walk(0, End::Front, &mut |item| {
            visit(item);
            true
        });
    }

    /// Number of the first element with this text.
    pub fn position(self, text: &[u8]) -> Option<usize> {
        let (mut at, mut found) = (0, false);
        self.walk(0, End::Front, &mut |item| {
            found = item.is(text);
            at += usize::from(!found);
            !found
        });
        found.then_some(at)
    }
}

/// Whether a packed list cannot stay packed when elements of `added` bytes together, `count` of
/// them, come to it. Empty bytes are a list to be made.
pub fn outgrows(bytes: &[u8], added: usize, count: usize, shapes: &Shapes) -> bool {
    let (len, held) = if bytes.is_empty() { (7, 0) } else { (bytes.len(), Pack(bytes).len()) };
    let passed = shapes.list.is_passed(len.saturating_add(added), held.saturating_add(count));
    // Many empty ones: what they take counts as well, if much.
    passed || len + added + 2 * count > PACKED_MAX
}
