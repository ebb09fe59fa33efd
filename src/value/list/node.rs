//! A node of a large list: a row of elements with room at either end, one long element by itself,
//! or a row that is compressed.
//!
//! The bytes are shared by count: a node that a walker or a copy still holds is copied before its
//! first change. Between `start` and `end` they are the row; what is outside is room, so that
//! elements come and go at both ends without moving the others.
//!
//! Invariants: `count` is the number of elements between `start` and `end`, never 0 in a list;
//! compressed and long ones have no room in front.

use std::borrow::Cow;

use triomphe::Arc;

use crate::base::lzf;
use crate::value::account::usable;
use crate::value::list::{End, Limits};
use crate::value::listpack::{Item, Row, encoded, put_short, short_len};

/// `raw` of a node that is not compressed.
const ROW: u32 = 0;
/// `raw` of a node that is one long element as it is.
const PLAIN: u32 = u32::MAX;
/// What an `Arc` keeps in front of its bytes.
pub(super) const ARC: usize = size_of::<usize>();
/// Shorter rows are not compressed (Redis' bound), in bytes.
const SQUEEZE_MIN: usize = 48;
/// What compression has to gain (Redis' bound), in bytes.
const SQUEEZE_GAIN: usize = 8;

/// See the file's opening.
#[derive(Clone, Debug)]
pub(super) struct Node {
    bytes: Arc<[u8]>,
    start: u32,
    end: u32,
    count: u32,
    /// Length of the row when it is not compressed; `ROW` and `PLAIN` are no lengths.
    raw: u32,
}

const _: () = assert!(size_of::<Node>() == 32);

/// A buffer for `len` bytes that fills its class of allocations, `max` bytes at most if that is
/// enough.
fn buffer(len: usize, max: usize) -> Arc<[u8]> {
    let len = (usable(len + ARC) - ARC).min(max.max(len));
    std::iter::repeat_n(0, len).collect()
}

/// Bytes of memory that a buffer of `capacity` bytes takes.
pub(super) fn memory_of(capacity: usize) -> usize {
    usable(capacity + ARC)
}

impl Node {
    /// A node of a row of elements.
    pub(super) fn of_row(row: Row<'_>, count: usize) -> Node {
        Node {
            bytes: Arc::from(row.0),
            start: 0,
            end: row.0.len() as u32,
            count: count as u32,
            raw: ROW,
        }
    }

    /// A node of one element; the room is at `end`.
    pub(super) fn of(text: &[u8], limits: Limits, end: End) -> Node {
        if text.len() > limits.bytes() {
            let len = text.len() as u32;
            return Node { bytes: Arc::from(text), start: 0, end: len, count: 1, raw: PLAIN };
        }
        let mut node = Node { bytes: Arc::from(&[][..]), start: 0, end: 0, count: 0, raw: ROW };
        node.push(text, limits, end);
        node
    }

    /// Number of elements.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether it is one long element.
    pub(super) fn is_plain(&self) -> bool {
        self.raw == PLAIN
    }

    /// Whether it is compressed.
    pub(super) fn is_squeezed(&self) -> bool {
        self.raw != ROW && self.raw != PLAIN
    }

    /// Bytes of the row, or of the long element.
    pub(super) fn len(&self) -> usize {
        if self.is_squeezed() { self.raw as usize } else { (self.end - self.start) as usize }
    }

    fn own(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.end as usize]
    }

    /// The row's bytes, or the long element's.
    pub(super) fn content(&self) -> Cow<'_, [u8]> {
        if !self.is_squeezed() {
            return Cow::Borrowed(self.own());
        }
        let row = lzf::decompress(self.own(), u64::from(self.raw));
        Cow::Owned(row.expect("compressed here"))
    }

    /// Bytes of its buffer.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory it holds.
    pub(super) fn memory(&self) -> usize {
        memory_of(self.bytes.len())
    }

    /// Whether an element of `len` bytes may be added.
    pub(super) fn accepts(&self, len: usize, limits: Limits) -> bool {
        // An encoding takes at most 5 bytes in front and 5 behind; short ones take 2.
        let taken = if len < 64 { len + 2 } else { len + 10 };
        !self.is_plain()
            && self.len() + taken <= limits.row_bytes()
            && self.count() < limits.count()
    }

    /// Visits the elements from number `skip` on, counted from where the walk begins, until
    /// `visit` says false; then that is what is said.
    pub(super) fn walk(
        &self,
        skip: usize,
        from: End,
        visit: &mut dyn FnMut(Item<'_>) -> bool,
    ) -> bool {
        let bytes = self.content();
        if self.is_plain() {
            return skip > 0 || visit(Item::Str(&bytes));
        }
        let row = Row(&bytes);
        let count = self.count();
        if from == End::Front {
            let mut at = row.seek(skip.min(count), count);
            while let Some((item, next)) = row.at(at) {
                if !visit(item) {
                    return false;
                }
                at = next;
            }
            return true;
        }
        let mut end = row.seek(count - skip.min(count), count);
        while let Some(at) = row.before(end) {
            if let Some((item, _)) = row.at(at)
                && !visit(item)
            {
                return false;
            }
            end = at;
        }
        true
    }

    /// Makes the bytes this node's own, with `more` bytes of room at `end`.
    fn make_room(&mut self, more: usize, max: usize, end: End) {
        let (start, stop) = (self.start as usize, self.end as usize);
        let len = stop - start;
        let room = match end {
            End::Front => start,
            End::Back => self.bytes.len() - stop,
        };
        let capacity = self.bytes.len();
        if room >= more && Arc::get_mut(&mut self.bytes).is_some() {
            return;
        }
        if len + more <= capacity
            && let Some(bytes) = Arc::get_mut(&mut self.bytes)
        {
            let to = if end == End::Front { capacity - len } else { 0 };
            bytes.copy_within(start..stop, to);
            (self.start, self.end) = (to as u32, (to + len) as u32);
            return;
        }
        let mut bytes = buffer((len + more).max((len * 2).min(max)), max);
        let to = if end == End::Front { bytes.len() - len } else { 0 };
        let own = Arc::get_mut(&mut bytes).expect("a new buffer");
        own[to..to + len].copy_from_slice(&self.bytes[start..stop]);
        self.bytes = bytes;
        (self.start, self.end) = (to as u32, (to + len) as u32);
    }

    fn own_mut(&mut self) -> &mut [u8] {
        Arc::get_mut(&mut self.bytes).expect("made its own before")
    }

    /// Adds an element at an end; the caller has asked whether it is accepted.
    pub(super) fn push(&mut self, text: &[u8], limits: Limits, end: End) {
        match short_len(text) {
            Some(len) => put_short(self.open_at(len, limits, end), text),
            None => {
                let element = encoded(text);
                self.open_at(element.len(), limits, end).copy_from_slice(&element);
            }
        }
    }

    /// Adds `len` bytes at an end for another element, which the caller writes.
    fn open_at(&mut self, len: usize, limits: Limits, end: End) -> &mut [u8] {
        self.make_room(len, limits.row_bytes(), end);
        let at = match end {
            End::Front => {
                self.start -= len as u32;
                self.start
            }
            End::Back => {
                self.end += len as u32;
                self.end - len as u32
            }
        } as usize;
        self.count += 1;
        &mut self.own_mut()[at..at + len]
    }

    /// Whether [`Node::pop`] may be asked.
    pub(super) fn can_pop(&self) -> bool {
        self.raw == ROW && self.count > 1
    }

    /// Shows the element at an end of a row that has others too, and removes it.
    pub(super) fn pop(&mut self, end: End, show: impl FnOnce(Item<'_>)) {
        let row = Row(self.own());
        let at = match end {
            End::Front => Some(0),
            End::Back => row.before(row.0.len()),
        };
        let Some((at, (item, next))) = at.and_then(|at| Some((at, row.at(at)?))) else { return };
        show(item);
        match end {
            End::Front => self.start += next as u32,
            End::Back => self.end = self.start + at as u32,
        }
        self.count -= 1;
        self.tighten();
    }

    /// Not to hold much more than there is.
    fn tighten(&mut self) {
        if self.len() * 4 < self.bytes.len() {
            self.fit();
        }
    }

    /// Removes `count` elements at an end, fewer than there are.
    pub(super) fn trim(&mut self, count: usize, end: End) {
        let row = Row(self.own());
        let own = self.count();
        match end {
            End::Front => self.start += row.seek(count, own) as u32,
            End::Back => self.end = self.start + row.seek(own - count, own) as u32,
        }
        self.count -= count as u32;
        self.tighten();
    }

    /// Gives back the room that takes memory.
    pub(super) fn fit(&mut self) {
        if usable(self.len() + ARC) < usable(self.bytes.len() + ARC) {
            self.bytes = Arc::from(self.own());
            (self.start, self.end) = (0, self.bytes.len() as u32);
        }
    }

    /// Replaces `remove` bytes at `at`, offsets in the row, by `insert`; `change` elements more.
    pub(super) fn splice(
        &mut self,
        (at, remove): (usize, usize),
        insert: &[u8],
        change: isize,
        limits: Limits,
    ) {
        if insert.len() > remove {
            self.make_room(insert.len() - remove, limits.row_bytes(), End::Back);
        } else {
            self.make_room(0, 0, End::Back);
        }
        let (start, end) = (self.start as usize, self.end as usize);
        let bytes = self.own_mut();
        bytes.copy_within(start + at + remove..end, start + at + insert.len());
        bytes[start + at..start + at + insert.len()].copy_from_slice(insert);
        self.end = (end + insert.len() - remove) as u32;
        self.count = (self.count as isize + change) as u32;
        if self.len() * 2 < self.bytes.len() {
            self.fit();
        }
    }

    /// Keeps the elements from number `at` on in a new node, which is returned.
    pub(super) fn split_off(&mut self, at: usize) -> Node {
        let count = self.count();
        let row = Row(self.own());
        let offset = row.seek(at, count);
        let tail = Node::of_row(Row(&row.0[offset..]), count - at);
        *self = Node::of_row(Row(&row.0[..offset]), at);
        tail
    }

    /// Appends the elements of another.
    pub(super) fn join(&mut self, other: &Node) {
        let row = [self.content(), other.content()].concat();
        *self = Node::of_row(Row(&row), self.count() + other.count());
    }

    /// Removes elements equal to `text`, `most` at most, the first or the last of them; says how
    /// many it were.
    pub(super) fn remove_equal(&mut self, text: &[u8], most: usize, from: End) -> usize {
        let bytes = self.content();
        if self.is_plain() {
            let found = usize::from(most > 0 && *bytes == *text);
            self.count -= found as u32;
            return found;
        }
        let row = Row(&bytes);
        let equal = |item: Item<'_>| item.is(text);
        let all = row.iter().filter(|(_, item)| equal(*item)).count();
        let removed = all.min(most);
        if removed == 0 {
            return 0;
        }
        let skip = if from == End::Back { all - removed } else { 0 };
        let (mut kept, mut seen, mut from) = (Vec::with_capacity(bytes.len()), 0, 0);
        for (at, item) in row.iter() {
            if equal(item) {
                let goes = seen >= skip && seen < skip + removed;
                seen += 1;
                if goes {
                    kept.extend_from_slice(&bytes[from..at]);
                    from = row.at(at).map_or(at, |(_, next)| next);
                }
            }
        }
        kept.extend_from_slice(&bytes[from..]);
        *self = Node::of_row(Row(&kept), self.count() - removed);
        removed
    }

    /// Compresses the row if that gains something.
    pub(super) fn squeeze(&mut self) {
        let len = self.len();
        if self.raw != ROW || len < SQUEEZE_MIN {
            return;
        }
        if let Some(packed) = lzf::compress(self.own(), len - SQUEEZE_GAIN) {
            *self = Node {
                bytes: Arc::from(&packed[..]),
                start: 0,
                end: packed.len() as u32,
                count: self.count,
                raw: len as u32,
            };
        }
    }

    /// Undoes [`Node::squeeze`].
    pub(super) fn open(&mut self) {
        if self.is_squeezed() {
            *self = Node::of_row(Row(&self.content()), self.count());
        }
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut count = 0;
        self.walk(0, End::Back, &mut |_| {
            count += 1;
            true
        });
        assert!(count == self.count() && count > 0, "{count}, {}", self.count());
        assert!(self.start <= self.end && self.end as usize <= self.bytes.len());
        assert!(self.raw == ROW || self.start == 0);
    }
}
