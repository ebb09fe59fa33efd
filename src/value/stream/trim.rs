//! Trimming: entries go from the front, whole nodes at once.

use super::{Id, Stream, Weigh};

/// What is to be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// So many entries.
    Len(u64),
    /// Those from this id on.
    From(Id),
}

/// How a stream is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What is to be left.
    pub bound: Bound,
    /// Only whole nodes go.
    pub whole_nodes: bool,
    /// Most entries that go; 0: no bound.
    pub limit: u64,
}

/// What trimming has removed.
#[derive(Debug, Default)]
pub struct Trimmed {
    /// How many entries.
    pub count: u64,
    /// Whether nodes went.
    pub dropped: bool,
    /// Nodes that are to be freed by [`Stream::free_slice`], when they are many.
    pub nodes: Option<Stream>,
}

/// Nodes that are freed at once.
const FEW: usize = 16;

impl Stream {
    /// Removes entries from the front.
    pub fn trim(&mut self, trim: Trim) -> Trimmed {
        let mut trimmed = Trimmed::default();
        let (mut whole, mut weight, mut cut_inside) = (0, 0, None);
        let mut rest = None;
        for (master, node) in self.nodes.map() {
            let left = self.length - trimmed.count;
            let live = node.live();
            rest = Some(*master);
            if matches!(trim.bound, Bound::Len(len) if left <= len)
                || trim.limit > 0 && trimmed.count + live > trim.limit
            {
                break;
            }
            let goes = match trim.bound {
                Bound::Len(len) => left - live >= len,
                Bound::From(id) => node.last_id(*master).unwrap_or_default() < id,
            };
            if !goes {
                cut_inside = (!trim.whole_nodes).then_some(*master);
                break;
            }
            whole += 1;
            weight += node.weight();
            trimmed.count += live;
            rest = None;
        }
        trimmed.dropped = whole > 0;
        self.drop_nodes(rest, (whole, weight), &mut trimmed);
        self.length -= trimmed.count;
        if let Some(master) = cut_inside {
            self.trim_inside(master, trim.bound, &mut trimmed);
        }
        if trimmed.count > 0 {
            self.removed();
        }
        trimmed
    }

    fn trim_inside(&mut self, master: Id, bound: Bound, trimmed: &mut Trimmed) {
        let (mut excess, from) = match bound {
            Bound::Len(len) => (self.length.saturating_sub(len), Id::MAX),
            Bound::From(id) => (u64::MAX, id),
        };
        if excess == 0 || !self.nodes.get(&master).is_some_and(|n| n.loses_one(master, from)) {
            return;
        }
        let goes = |id| {
            let goes = excess > 0 && id < from;
            excess -= u64::from(goes);
            goes
        };
        let count = self.nodes.change(&master, |node| node.delete_front(master, goes));
        trimmed.count += count.unwrap_or(0);
        self.length -= count.unwrap_or(0);
    }

    /// Takes out the nodes in front of `rest`.
    fn drop_nodes(
        &mut self,
        rest: Option<Id>,
        (count, weight): (usize, usize),
        trimmed: &mut Trimmed,
    ) {
        if count <= FEW {
            let front: Vec<Id> = self.node_ids().take(count).collect();
            front.iter().for_each(|id| drop(self.nodes.remove(id)));
            return;
        }
        let dropped = self.nodes.drop_front(rest.as_ref(), weight);
        let mut gone = Stream::default();
        gone.nodes.adopt(dropped, weight);
        trimmed.nodes = Some(gone);
    }
}
