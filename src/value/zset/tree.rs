//! The order of a large sorted set: a B+-tree of scores and members that counts what is below each
//! of its nodes, so that ranks, and what stands at a rank, are found on one way down.
//!
//! A member is whatever tells its name; the tree holds copies of it, in the leaves and, of each
//! node's first element, in the node above. All copies of a member go when it is removed.
//!
//! Invariants:
//! 1. Elements ascend by score, then by name; no two are equal. No score is NaN.
//! 2. All leaves are equally deep; a node has 1 to [`LEAF_MAX`] elements or 1 to [`INNER_MAX`]
//!    children (the root, as a leaf, may be empty; as an inner node it has at least 2).
//! 3. A child's `first` and `count` are those of the elements below it.
//! 4. `bytes` is what the allocations of all nodes count for.
//!
//! Neighbours are made one when they fill three quarters of a node together, which is looked at
//! whenever one of them falls below a quarter.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::value::account::usable;

/// Most elements of a leaf.
const LEAF_MAX: usize = 64;
/// Most children of an inner node.
const INNER_MAX: usize = 64;
/// Levels of a tree that fits into memory, above its leaves.
const LEVELS: usize = 6;

/// What a tree keeps of a member.
pub(crate) trait Named: Copy {
    /// Its name, by which members of equal scores stand in order.
    fn name(&self) -> &[u8];
}

/// A score and a member.
pub(crate) type Element<M> = (f64, M);

/// Where one element stands to another place.
fn compare<M: Named>(own: &Element<M>, score: f64, name: &[u8]) -> Ordering {
    // Scores are never NaN.
    let by_score = own.0.partial_cmp(&score).unwrap_or(Ordering::Equal);
    by_score.then_with(|| own.1.name().cmp(name))
}

enum Node<M> {
    Leaf(Vec<Element<M>>),
    Inner(Vec<Child<M>>),
}

struct Child<M> {
    first: Element<M>,
    count: usize,
    node: Node<M>,
}

/// See the head of this file.
pub(crate) struct Tree<M> {
    root: Node<M>,
    len: usize,
    bytes: usize,
}

/// What an insertion tells the node above.
struct Grown<M> {
    /// A new right neighbour.
    split: Option<Node<M>>,
}

impl<M: Named> Node<M> {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(elements) => elements.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Node::Leaf(elements) => usable(elements.capacity() * size_of::<Element<M>>()),
            Node::Inner(children) => usable(children.capacity() * size_of::<Child<M>>()),
        }
    }

    /// Number of elements in it and below.
    fn count(&self) -> usize {
        match self {
            Node::Leaf(elements) => elements.len(),
            Node::Inner(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    fn first(&self) -> Option<Element<M>> {
        match self {
            Node::Leaf(elements) => elements.first().copied(),
            Node::Inner(children) => children.first().map(|child| child.first),
        }
    }

    /// The same as a child; it is not empty.
    fn into_child(self) -> Option<Child<M>> {
        Some(Child { first: self.first()?, count: self.count(), node: self })
    }

    /// Adds an element that is not there. `last` says that no node stands behind this one.
    fn insert(&mut self, element: Element<M>, last: bool, bytes: &mut usize) -> Grown<M> {
        let (score, name) = (element.0, element.1.name());
        match self {
            Node::Leaf(elements) => {
                let at = elements.partition_point(|own| compare(own, score, name).is_lt());
                Grown { split: put(elements, at, element, LEAF_MAX, last, bytes).map(Node::Leaf) }
            }
            Node::Inner(children) => {
                let behind =
                    children.partition_point(|child| compare(&child.first, score, name).is_lt());
                let at = behind.saturating_sub(1);
                let last = last && at + 1 == children.len();
                let child = &mut children[at];
                if behind == 0 {
                    child.first = element;
                }
                child.count += 1;
                let grown = child.node.insert(element, last, bytes);
                let Some(new) = grown.split.and_then(Node::into_child) else {
                    return Grown { split: None };
                };
                child.count -= new.count;
                let split = put(children, at + 1, new, INNER_MAX, last, bytes);
                Grown { split: split.map(Node::Inner) }
            }
        }
    }

    /// Takes an element out; the member it was, if it was there.
    fn remove(&mut self, score: f64, name: &[u8], bytes: &mut usize) -> Option<M> {
        match self {
            Node::Leaf(elements) => {
                let at = elements.binary_search_by(|own| compare(own, score, name)).ok()?;
                Some(elements.remove(at).1)
            }
            Node::Inner(children) => {
                let behind =
                    children.partition_point(|child| compare(&child.first, score, name).is_le());
                let at = behind.checked_sub(1)?;
                let child = &mut children[at];
                let gone = child.node.remove(score, name, bytes)?;
                child.count -= 1;
                match child.node.first() {
                    Some(first) => child.first = first,
                    None => {
                        *bytes -= children.remove(at).node.memory();
                        return Some(gone);
                    }
                }
                if child.node.is_sparse() {
                    merge_around(children, at, bytes);
                }
                Some(gone)
            }
        }
    }

    fn max(&self) -> usize {
        match self {
            Node::Leaf(_) => LEAF_MAX,
            Node::Inner(_) => INNER_MAX,
        }
    }

    fn is_sparse(&self) -> bool {
        self.len() * 4 < self.max()
    }

    /// Number of leading elements that are `before` some place; those behind one that is not are
    /// not either.
    fn rank(&self, before: &impl Fn(f64, &M) -> bool) -> usize {
        match self {
            Node::Leaf(elements) => elements.partition_point(|(score, m)| before(*score, m)),
            Node::Inner(children) => {
                let behind =
                    children.partition_point(|child| before(child.first.0, &child.first.1));
                let Some(at) = behind.checked_sub(1) else { return 0 };
                let passed: usize = children[..at].iter().map(|child| child.count).sum();
                passed + children[at].node.rank(before)
            }
        }
    }

    /// Frees it in part, `budget` nodes at most; true when nothing is left below.
    fn free(&mut self, budget: &mut usize, bytes: &mut usize) -> bool {
        match self {
            Node::Leaf(elements) => {
                elements.clear();
                true
            }
            Node::Inner(children) => {
                while let Some(child) = children.last_mut() {
                    if *budget == 0 || !child.node.free(budget, bytes) {
                        return false;
                    }
                    *bytes -= child.node.memory();
                    children.pop();
                    *budget = budget.saturating_sub(1);
                }
                true
            }
        }
    }
}

/// Puts an element at its place; gives the right half when they were too many for one node. What
/// comes behind everything begins a node of its own, so that ascending elements fill theirs.
fn put<T>(
    all: &mut Vec<T>,
    at: usize,
    element: T,
    max: usize,
    last: bool,
    bytes: &mut usize,
) -> Option<Vec<T>> {
    let memory = |all: &Vec<T>| usable(all.capacity() * size_of::<T>());
    let before = memory(all);
    if all.len() < max {
        all.insert(at, element);
        *bytes = *bytes - before + memory(all);
        return None;
    }
    let middle = if last && at == all.len() { at } else { max / 2 };
    let mut right = Vec::with_capacity(max);
    right.extend(all.drain(middle..));
    if at > middle || at == max {
        right.insert(at - middle, element);
    } else {
        all.insert(at, element);
    }
    *bytes = *bytes - before + memory(all) + memory(&right);
    Some(right)
}

/// What an iterator gives, in vectors of `most` with room for so many, the last perhaps shorter.
fn in_chunks<T>(mut all: impl Iterator<Item = T>, most: usize) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let first = all.next()?;
        let mut chunk = Vec::with_capacity(most);
        chunk.push(first);
        chunk.extend(all.by_ref().take(most - 1));
        Some(chunk)
    })
}

/// Where one element stands to another.
pub(crate) fn order<M: Named>(one: &Element<M>, other: &Element<M>) -> Ordering {
    compare(one, other.0, other.1.name())
}

/// Makes the sparse child `at` one with a neighbour if both fill three quarters of one at most.
fn merge_around<M: Named>(children: &mut Vec<Child<M>>, at: usize, bytes: &mut usize) {
    let fits = |left: usize| {
        let (a, b) = (&children[left].node, &children[left + 1].node);
        (a.len() + b.len()) * 4 <= a.max() * 3
    };
    let left = match at {
        _ if at + 1 < children.len() && fits(at) => at,
        1.. if fits(at - 1) => at - 1,
        _ => return,
    };
    let right = children.remove(left + 1);
    let own = &mut children[left];
    *bytes -= own.node.memory() + right.node.memory();
    own.count += right.count;
    match (&mut own.node, right.node) {
        (Node::Leaf(to), Node::Leaf(mut from)) => to.append(&mut from),
        (Node::Inner(to), Node::Inner(mut from)) => to.append(&mut from),
        // Children of one node are of one kind.
        _ => {}
    }
    *bytes += own.node.memory();
}

impl<M: Named> Default for Tree<M> {
    fn default() -> Self {
        Tree { root: Node::Leaf(Vec::new()), len: 0, bytes: 0 }
    }
}

impl<M: Named> Tree<M> {
    /// Number of elements.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of heap memory held.
    pub(crate) fn memory(&self) -> usize {
        self.bytes
    }

    /// Adds an element that is not there.
    pub(crate) fn insert(&mut self, score: f64, member: M) {
        self.len += 1;
        let grown = self.root.insert((score, member), true, &mut self.bytes);
        let Some(right) = grown.split else { return };
        let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
        let mut children = Vec::with_capacity(INNER_MAX);
        children.extend(left.into_child());
        children.extend(right.into_child());
        self.root = Node::Inner(children);
        self.bytes += self.root.memory();
    }

    /// A tree of elements that are in order.
    pub(crate) fn of_sorted(all: Vec<Element<M>>) -> Self {
        debug_assert!(all.is_sorted_by(|a, b| compare(a, b.0, b.1.name()).is_lt()));
        let len = all.len();
        let mut level: Vec<Node<M>> =
            in_chunks(all.into_iter(), LEAF_MAX).map(Node::Leaf).collect();
        let mut bytes: usize = level.iter().map(Node::memory).sum();
        while level.len() > 1 {
            let children = level.into_iter().filter_map(Node::into_child);
            level = in_chunks(children, INNER_MAX).map(Node::Inner).collect();
            bytes += level.iter().map(Node::memory).sum::<usize>();
        }
        let root = level.pop().unwrap_or(Node::Leaf(Vec::new()));
        Tree { root, len, bytes }
    }

    /// Takes an element out; the member it was, if it was there.
    pub(crate) fn remove(&mut self, score: f64, name: &[u8]) -> Option<M> {
        let gone = self.root.remove(score, name, &mut self.bytes)?;
        self.len -= 1;
        while let Node::Inner(children) = &mut self.root
            && children.len() <= 1
        {
            let only = children.pop().map_or(Node::Leaf(Vec::new()), |child| child.node);
            self.bytes -= self.root.memory();
            self.root = only;
        }
        Some(gone)
    }

    /// Number of elements in front of some place: those for which `before` is true, as it is for
    /// all in front of them. A member's name stands elsewhere in memory: who can decide by the
    /// score does not ask for it.
    pub(crate) fn rank(&self, before: impl Fn(f64, &M) -> bool) -> usize {
        self.root.rank(&before)
    }

    /// Number of elements in front of an element.
    pub(crate) fn rank_of(&self, score: f64, name: &[u8]) -> usize {
        self.rank(|own, member| own < score || own == score && member.name() < name)
    }

    /// The elements from rank `from` on, up to the end.
    pub(crate) fn iter(&self, from: usize) -> Ascending<'_, M> {
        let mut all = Ascending { above: SmallVec::new(), leaf: [].iter() };
        let (mut node, mut left) = (&self.root, from);
        loop {
            match node {
                Node::Leaf(elements) => {
                    all.leaf = elements.get(left..).unwrap_or_default().iter();
                    return all;
                }
                Node::Inner(children) => {
                    let mut rest = children.iter();
                    loop {
                        let Some(child) = rest.next() else { return all };
                        if left < child.count {
                            node = &child.node;
                            break;
                        }
                        left -= child.count;
                    }
                    all.above.push(rest);
                }
            }
        }
    }

    /// The elements from rank `from` downwards; `from` is below the length.
    pub(crate) fn iter_down(&self, from: usize) -> Descending<'_, M> {
        let mut all = Descending { above: SmallVec::new(), leaf: [].iter() };
        let (mut node, mut left) = (&self.root, from);
        loop {
            match node {
                Node::Leaf(elements) => {
                    all.leaf = elements[..elements.len().min(left + 1)].iter();
                    return all;
                }
                Node::Inner(children) => {
                    let mut at = 0;
                    while at + 1 < children.len() && left >= children[at].count {
                        left -= children[at].count;
                        at += 1;
                    }
                    node = &children[at].node;
                    all.above.push(children[..at].iter());
                }
            }
        }
    }

    /// Frees up to about `budget` elements of one that will not be used again; true when none is
    /// left. A leaf counts for one: that is what freeing it takes.
    pub(crate) fn free_slice(&mut self, budget: usize) -> bool {
        let mut left = budget;
        if !self.root.free(&mut left, &mut self.bytes) {
            return false;
        }
        *self = Tree::default();
        true
    }
}

/// See [`Tree::iter`].
pub(crate) struct Ascending<'a, M> {
    above: SmallVec<[std::slice::Iter<'a, Child<M>>; LEVELS]>,
    leaf: std::slice::Iter<'a, Element<M>>,
}

impl<'a, M: Named> Iterator for Ascending<'a, M> {
    type Item = (f64, &'a M);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((score, member)) = self.leaf.next() {
                return Some((*score, member));
            }
            let mut node = loop {
                match self.above.last_mut()?.next() {
                    Some(child) => break &child.node,
                    None => drop(self.above.pop()),
                }
            };
            while let Node::Inner(children) = node {
                let mut rest = children.iter();
                node = &rest.next()?.node;
                self.above.push(rest);
            }
            if let Node::Leaf(elements) = node {
                self.leaf = elements.iter();
            }
        }
    }
}

/// See [`Tree::iter_down`].
pub(crate) struct Descending<'a, M> {
    above: SmallVec<[std::slice::Iter<'a, Child<M>>; LEVELS]>,
    leaf: std::slice::Iter<'a, Element<M>>,
}

impl<'a, M: Named> Iterator for Descending<'a, M> {
    type Item = (f64, &'a M);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((score, member)) = self.leaf.next_back() {
                return Some((*score, member));
            }
            let mut node = loop {
                match self.above.last_mut()?.next_back() {
                    Some(child) => break &child.node,
                    None => drop(self.above.pop()),
                }
            };
            while let Node::Inner(children) = node {
                let mut rest = children.iter();
                node = &rest.next_back()?.node;
                self.above.push(rest);
            }
            if let Node::Leaf(elements) = node {
                self.leaf = elements.iter();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Name([u8; 4]);

    impl Named for Name {
        fn name(&self) -> &[u8] {
            &self.0
        }
    }

    fn check_node(node: &Node<Name>, is_root: bool) -> (usize, usize, usize) {
        let mut bytes = node.memory();
        match node {
            Node::Leaf(elements) => {
                assert!(elements.len() <= LEAF_MAX && (is_root || !elements.is_empty()));
                (elements.len(), 0, bytes)
            }
            Node::Inner(children) => {
                assert!(children.len() <= INNER_MAX && children.len() > usize::from(is_root));
                let mut depths = BTreeSet::new();
                let mut count = 0;
                for child in children {
                    let (below, depth, own) = check_node(&child.node, false);
                    assert_eq!(child.count, below);
                    assert_eq!(Some(child.first), child.node.first());
                    count += below;
                    bytes += own;
                    depths.insert(depth);
                }
                assert_eq!(depths.len(), 1);
                (count, depths.first().unwrap() + 1, bytes)
            }
        }
    }

    fn check(tree: &Tree<Name>, model: &BTreeSet<(i32, [u8; 4])>) {
        let (count, _, bytes) = check_node(&tree.root, true);
        assert_eq!((count, bytes), (tree.len(), tree.memory()));
        let all: Vec<_> = tree.iter(0).map(|(s, m)| (s as i32, m.0)).collect();
        assert!(all.iter().eq(model.iter()));
        if tree.len() > 0 {
            let down: Vec<_> =
                tree.iter_down(tree.len() - 1).map(|(s, m)| (s as i32, m.0)).collect();
            assert!(down.iter().eq(model.iter().rev()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn it_is_an_ordered_set(
            phases in prop::collection::vec((0_u8..4, 0_u32..5000, 1_usize..4000, 1_u32..50), 1..6),
        ) {
            let (mut tree, mut model) = (Tree::default(), BTreeSet::new());
            let mut random = crate::base::random::Random::new(5);
            for (what, from, count, scores) in phases {
                for step in 0..count as u32 {
                    let n = match what {
                        0 => from + step,
                        1 => (from + count as u32).saturating_sub(step),
                        _ => random.below(5000) as u32,
                    };
                    let (score, name) = ((n % scores) as i32, n.to_be_bytes());
                    if what == 3 {
                        let gone = tree.remove(f64::from(score), &name).is_some();
                        prop_assert_eq!(gone, model.remove(&(score, name)));
                    } else if model.insert((score, name)) {
                        tree.insert(f64::from(score), Name(name));
                    }
                }
                check(&tree, &model);
                let all: Vec<_> = model.iter().copied().collect();
                for _ in 0..20 {
                    let at = random.below(all.len() as u64 + 2) as usize;
                    let up: Vec<_> = tree.iter(at).take(70).map(|(s, m)| (s as i32, m.0)).collect();
                    prop_assert!(up.iter().eq(all.iter().skip(at).take(70)));
                    let Some((score, name)) = all.get(at) else { continue };
                    prop_assert_eq!(tree.rank_of(f64::from(*score), name), at);
                    let down: Vec<_> = tree.iter_down(at).take(70).map(|(_, m)| m.0).collect();
                    prop_assert!(down.iter().eq(all[..=at].iter().rev().take(70).map(|e| &e.1)));
                }
            }
            let mut freed = tree;
            while !freed.free_slice(3) {}
            prop_assert_eq!((freed.len(), freed.memory()), (0, 0));
        }
    }

    #[test]
    fn one_of_sorted_elements_is_like_any_other() {
        let leaf = LEAF_MAX as u32;
        for count in [0, 1, leaf, leaf + 1, 2 * leaf, leaf * INNER_MAX as u32 + 1, 10_000] {
            let all = (0..count).map(|n| (f64::from(n / 3), Name(n.to_be_bytes())));
            let mut tree = Tree::of_sorted(all.collect());
            let mut model: BTreeSet<_> =
                (0..count).map(|n| (n as i32 / 3, n.to_be_bytes())).collect();
            check(&tree, &model);
            for n in (0..count).step_by(2) {
                assert!(tree.remove(f64::from(n / 3), &n.to_be_bytes()).is_some());
                model.remove(&(n as i32 / 3, n.to_be_bytes()));
            }
            check(&tree, &model);
            for n in (0..count).rev().step_by(5) {
                if model.insert((n as i32 / 3, n.to_be_bytes())) {
                    tree.insert(f64::from(n / 3), Name(n.to_be_bytes()));
                }
            }
            check(&tree, &model);
        }
    }

    #[test]
    fn leaves_are_filled_by_ascending_elements_and_merged_when_most_are_gone() {
        let (mut tree, mut model) = (Tree::default(), BTreeSet::new());
        for n in 0..20_000_u32 {
            tree.insert(f64::from(n), Name(n.to_be_bytes()));
            model.insert((n as i32, n.to_be_bytes()));
        }
        check(&tree, &model);
        assert!(tree.memory() < 20_000 * 18, "{}", tree.memory());
        let before = tree.memory();
        for n in (0..20_000_u32).filter(|n| n % 10 != 0) {
            assert!(tree.remove(f64::from(n), &n.to_be_bytes()).is_some());
            model.remove(&(n as i32, n.to_be_bytes()));
        }
        check(&tree, &model);
        assert!(tree.memory() < before / 3, "{}", tree.memory());
    }
}
