//! Changes in the middle of a list, and which nodes are compressed.

use triomphe::Arc;

use crate::value::list::deque::{CHUNK, Chunk, Spot};
use crate::value::list::node::Node;
use crate::value::list::{End, List};
use crate::value::listpack::{Row, encoded};

impl List {
    fn node(&self, spot: Spot) -> &Node {
        &self.chunks[spot.chunk].nodes[spot.node]
    }

    /// The place in front of another.
    fn before(&self, spot: Spot) -> Option<Spot> {
        if spot.node > 0 {
            return Some(Spot { node: spot.node - 1, ..spot });
        }
        let chunk = spot.chunk.checked_sub(1)?;
        Some(Spot { chunk, node: self.chunks[chunk].nodes.len() - 1 })
    }

    /// The place behind another.
    fn behind(&self, spot: Spot) -> Option<Spot> {
        if spot.node + 1 < self.chunks.get(spot.chunk)?.nodes.len() {
            return Some(Spot { node: spot.node + 1, ..spot });
        }
        let chunk = spot.chunk + 1;
        (chunk < self.chunks.len()).then_some(Spot { chunk, node: 0 })
    }

    /// Puts a node in front of the one at `spot`, which may be one behind the last of its chunk;
    /// says where it is.
    fn put_node(&mut self, mut spot: Spot, node: Node) -> Spot {
        if self.chunks[spot.chunk].nodes.len() >= CHUNK {
            self.split_chunk(spot.chunk);
            let len = self.chunks[spot.chunk].nodes.len();
            if spot.node > len {
                spot = Spot { chunk: spot.chunk + 1, node: spot.node - len };
            }
        }
        let chunk = &mut self.chunks[spot.chunk];
        let memory = chunk.memory();
        chunk.count += node.count();
        self.len += node.count();
        self.nodes += 1;
        self.held += node.memory();
        Arc::make_mut(&mut chunk.nodes).insert(spot.node, node);
        self.held = self.held + chunk.memory() - memory;
        spot
    }

    fn split_chunk(&mut self, at: usize) {
        let chunk = &mut self.chunks[at];
        self.held -= chunk.memory();
        let nodes = Arc::make_mut(&mut chunk.nodes);
        let tail = Chunk::of(nodes.split_off(CHUNK / 2));
        chunk.count -= tail.count;
        self.held += chunk.memory() + tail.memory();
        self.chunks.insert(at + 1, tail);
    }

    /// Inserts an element in front of number `index`, or behind the last.
    pub fn insert(&mut self, index: usize, text: &[u8]) {
        let limits = self.limits;
        if index == 0 {
            return self.push(text, End::Front);
        }
        let Some((spot, within)) = self.find(index) else { return self.push(text, End::Back) };
        if self.node(spot).accepts(text.len(), limits) {
            self.change(spot, |node| {
                node.open();
                let at = Row(&node.content()).seek(within, node.count());
                node.splice((at, 0), &encoded(text), 1, limits);
            });
            return self.settle(spot);
        }
        if within == 0
            && let Some(before) = self.before(spot)
            && self.node(before).accepts(text.len(), limits)
        {
            self.change(before, |node| {
                node.open();
                node.push(text, limits, End::Back);
            });
            return self.settle(before);
        }
        self.insert_node(spot, within, text);
        self.settle_ends();
    }

    /// Inserts an element that needs a node of its own, or half of a node.
    fn insert_node(&mut self, spot: Spot, within: usize, text: &[u8]) {
        let limits = self.limits;
        if within == 0 {
            let new = self.put_node(spot, Node::of(text, limits, End::Back));
            return self.settle(new);
        }
        let tail = self.change(spot, |node| {
            node.open();
            node.split_off(within)
        });
        let tail = self.put_node(Spot { node: spot.node + 1, ..spot }, tail);
        let Some(head) = self.before(tail) else { return };
        if self.node(head).accepts(text.len(), limits) {
            self.change(head, |node| node.push(text, limits, End::Back));
        } else if self.node(tail).accepts(text.len(), limits) {
            self.change(tail, |node| node.push(text, limits, End::Front));
        } else {
            self.put_node(tail, Node::of(text, limits, End::Back));
        }
        // Halves that fit to what is beside them do not stay halves.
        let number = self.number(head);
        for near in (number..number + 4).rev() {
            if let Some(spot) = self.numbered(near) {
                self.join(spot);
            }
        }
        for near in number.saturating_sub(1)..number + 4 {
            if let Some(spot) = self.numbered(near) {
                self.settle(spot);
            }
        }
    }

    /// Makes a node one with that in front of it, if they fit into one.
    fn join(&mut self, spot: Spot) {
        let Some(before) = self.before(spot) else { return };
        let (one, other) = (self.node(before), self.node(spot));
        let fits = !one.is_plain()
            && !other.is_plain()
            && one.len() + other.len() <= self.limits.row_bytes()
            && one.count() + other.count() <= self.limits.count();
        if fits {
            let other = other.clone();
            self.change(before, |node| node.join(&other));
            self.take_node(spot);
        }
    }

    /// Puts an element in the place of number `index`; false when there is none.
    pub fn replace(&mut self, index: usize, text: &[u8]) -> bool {
        let limits = self.limits;
        let Some((spot, within)) = self.find(index) else { return false };
        let node = self.node(spot);
        if node.count() == 1 {
            let end = End::Back;
            self.change(spot, |node| *node = Node::of(text, limits, end));
            self.settle(spot);
            return true;
        }
        let (fits, place) = {
            let bytes = node.content();
            let row = Row(&bytes);
            let at = row.seek(within, node.count());
            let old = row.at(at).map_or(0, |(_, next)| next - at);
            let small = text.len() <= limits.bytes();
            (small && bytes.len() - old + text.len() + 10 <= limits.row_bytes(), (at, old))
        };
        if fits {
            self.change(spot, |node| {
                node.open();
                node.splice(place, &encoded(text), 0, limits);
            });
            self.settle(spot);
            return true;
        }
        self.change(spot, |node| {
            node.open();
            node.splice(place, &[], -1, limits);
        });
        self.settle(spot);
        self.insert(index, text);
        true
    }

    /// Removes elements equal to `text`, `most` at most, beginning at an end; says how many it
    /// were.
    pub fn remove_equal(&mut self, text: &[u8], most: usize, from: End) -> usize {
        let (mut removed, mut left) = (0, self.nodes);
        let mut next = match from {
            End::Front => Some(Spot { chunk: 0, node: 0 }).filter(|_| left > 0),
            End::Back => self.len.checked_sub(1).and_then(|last| self.find(last)).map(|f| f.0),
        };
        while let Some(spot) = next
            && removed < most
            && left > 0
        {
            left -= 1;
            let before = self.before(spot);
            let mut found = false;
            self.node(spot).walk(0, from, &mut |item| {
                found = item.is(text);
                !found
            });
            let here = match found {
                true => self.change(spot, |node| {
                    node.open();
                    node.remove_equal(text, most - removed, from)
                }),
                false => 0,
            };
            removed += here;
            let emptied = self.node(spot).count() == 0;
            next = match (from, emptied) {
                (End::Front, false) => self.behind(spot),
                (End::Back, _) => before,
                (End::Front, true) => Some(spot),
            };
            if emptied {
                self.take_node(spot);
                // What was behind it stands there now, or in the next chunk.
                if from == End::Front {
                    next = self.at_or_behind(spot);
                }
            } else if here > 0 {
                self.settle(spot);
            }
        }
        if removed > 0 {
            self.settle_ends();
        }
        removed
    }

    /// The place itself if a node is there, else the next.
    fn at_or_behind(&self, spot: Spot) -> Option<Spot> {
        let chunk = self.chunks.get(spot.chunk)?;
        if spot.node < chunk.nodes.len() {
            return Some(spot);
        }
        (spot.chunk + 1 < self.chunks.len()).then_some(Spot { chunk: spot.chunk + 1, node: 0 })
    }

    /// How many nodes stand in front of a place.
    fn number(&self, spot: Spot) -> usize {
        self.chunks.iter().take(spot.chunk).map(|chunk| chunk.nodes.len()).sum::<usize>()
            + spot.node
    }

    /// The place of a node by its number.
    fn numbered(&self, mut number: usize) -> Option<Spot> {
        for (chunk, own) in self.chunks.iter().enumerate() {
            if number < own.nodes.len() {
                return Some(Spot { chunk, node: number });
            }
            number -= own.nodes.len();
        }
        None
    }

    /// Compresses a node that was changed, if it stands far enough from both ends.
    fn settle(&mut self, spot: Spot) {
        let depth = self.limits.depth;
        if depth == 0 {
            return;
        }
        let number = self.number(spot);
        if number.min(self.nodes.saturating_sub(number + 1)) >= depth {
            self.change(spot, Node::squeeze);
        }
    }

    /// Compresses and decompresses the nodes that have come to stand on the other side of the
    /// depth.
    pub(super) fn settle_ends(&mut self) {
        let (depth, nodes) = (self.limits.depth, self.nodes);
        if depth == 0 {
            return;
        }
        let near = depth.min(nodes.div_ceil(2));
        for number in (0..near).chain(nodes - near..nodes) {
            if let Some(spot) = self.numbered(number)
                && self.node(spot).is_squeezed()
            {
                self.change(spot, Node::open);
            }
        }
        if nodes > 2 * depth {
            for number in [depth, nodes - 1 - depth] {
                if let Some(spot) = self.numbered(number) {
                    self.settle(spot);
                }
            }
        }
    }
}
