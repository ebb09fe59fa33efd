//! Entries of a stream that follow each other, in one listpack: byte for byte a node of Redis.
//!
//! ```text
//! node   = live dead fields *field 0 *entry    ; how many live entries and tombstones there are,
//!                                               ; and the fields of the first one (the *master*)
//! entry  = flags ms seq (*value / fields *(field value)) length
//! ```
//!
//! `ms` and `seq` are differences to the id that the node stands under, the one its first entry
//! had. `flags` has bit 0 for a tombstone and bit 1 when the fields are the master's, which are
//! left out then. `length` counts the elements in front of it, so that entries can be read from
//! behind; the 0 behind the master's fields ends that.
//!
//! Invariants: the bytes are sound in this sense ([`super::check`] is where bytes from elsewhere
//! become so), ids grow, `live` is the first element.

use crate::value::account::usable;
use crate::value::listpack::{self, Appender, Item, Pack, SIZE_MAX};
use crate::value::stream::NodeMax;
use crate::value::stream::id::Id;
use crate::value::stream::tracked::Weigh;

/// The entry is no longer there.
const DELETED: i64 = 1;
/// The entry has the fields of the master.
const SAME_FIELDS: i64 = 2;
/// Elements of an entry beside fields, values and their number: flags, two differences.
const FIXED: usize = 3;

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    bytes: Vec<u8>,
    live: u32,
    dead: u32,
}

impl Weigh for Node {
    fn weight(&self) -> usize {
        usable(self.bytes.capacity())
    }
}

/// An entry, where it stands.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    /// Its id.
    pub id: Id,
    pack: Pack<'a>,
    /// Where its flags stand.
    at: usize,
    flags: i64,
    fields: usize,
    /// Where its first value, or field, stands.
    values: usize,
    /// Where the master's first field stands.
    master: usize,
}

/// The integer at an offset, and the offset behind it.
#[inline]
fn int_at(pack: Pack<'_>, offset: usize) -> (i64, usize) {
    // Most are of one byte.
    let first = pack.0[offset];
    if first <= 127 {
        return (i64::from(first), offset + 2);
    }
    match pack.at(offset) {
        Some((Item::Int(n), next)) => (n, next),
        Some((Item::Str(_), next)) => (0, next),
        None => (0, offset),
    }
}

/// What stands in front of the entries.
struct Head {
    fields: usize,
    /// Where the first field stands.
    master: usize,
}

impl Node {
    /// A node without entries for entries with these fields.
    pub(super) fn new(pairs: &[&[u8]]) -> Node {
        let mut bytes = Vec::new();
        let mut out = Appender::open(&mut bytes);
        out.int(0);
        out.int(0);
        out.int((pairs.len() / 2) as i64);
        pairs.iter().step_by(2).for_each(|field| out.text(field));
        out.int(0);
        out.finish();
        Node { bytes, live: 0, dead: 0 }
    }

    /// A node of bytes that were checked, with this many live entries and tombstones.
    pub(super) fn checked(bytes: Vec<u8>, live: u32, dead: u32) -> Node {
        Node { bytes, live, dead }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of live entries.
    pub fn live(&self) -> u64 {
        u64::from(self.live)
    }

    /// Whether there is room for an entry with texts of this length together.
    pub(super) fn has_room(&self, bytes: usize, max: NodeMax) -> bool {
        let bound = if max.bytes == 0 { SIZE_MAX } else { max.bytes.min(SIZE_MAX) };
        let entries = self.live() + u64::from(self.dead);
        self.bytes.len() + bytes < bound && (max.entries == 0 || entries < max.entries as u64)
    }

    fn pack(&self) -> Pack<'_> {
        Pack(&self.bytes)
    }

    fn head(&self) -> Head {
        let pack = self.pack();
        let (_, at) = int_at(pack, pack.first());
        let (_, at) = int_at(pack, at);
        let (fields, master) = int_at(pack, at);
        Head { fields: fields.max(0) as usize, master }
    }

    /// Adds an entry; fields and values in turn.
    pub(super) fn append(&mut self, master: Id, id: Id, pairs: &[&[u8]]) {
        let same = self.has_fields(pairs);
        let fields = pairs.len() / 2;
        let mut out = Appender::open(&mut self.bytes);
        out.int(if same { SAME_FIELDS } else { 0 });
        out.int(id.ms.wrapping_sub(master.ms) as i64);
        out.int(id.seq.wrapping_sub(master.seq) as i64);
        let elements = if same {
            pairs.iter().skip(1).step_by(2).for_each(|value| out.text(value));
            FIXED + fields
        } else {
            out.int(fields as i64);
            pairs.iter().for_each(|text| out.text(text));
            FIXED + 1 + 2 * fields
        };
        out.int(elements as i64);
        out.finish();
        self.count(1, 0);
    }

    /// Whether these are the master's fields.
    fn has_fields(&self, pairs: &[&[u8]]) -> bool {
        let head = self.head();
        if head.fields != pairs.len() / 2 {
            return false;
        }
        let pack = self.pack();
        let mut at = head.master;
        for field in pairs.iter().step_by(2) {
            match pack.at(at) {
                Some((item, next)) if item.is(field) => at = next,
                _ => return false,
            }
        }
        true
    }

    /// Notes that there are more or fewer live and dead entries.
    fn count(&mut self, live: i64, dead: i64) {
        let first = self.pack().first();
        self.live = self.live.saturating_add_signed(live as i32);
        listpack::set_int(&mut self.bytes, first, i64::from(self.live));
        if dead != 0 {
            let at = self.pack().skip(first, 1);
            self.dead = self.dead.saturating_add_signed(dead as i32);
            listpack::set_int(&mut self.bytes, at, i64::from(self.dead));
        }
    }

    /// Gives back memory that only appending needs.
    pub(super) fn seal(&mut self) {
        if usable(self.bytes.len()) < usable(self.bytes.capacity()) {
            // A copy: allocators do not give back the end of a block.
            self.bytes = Vec::from(&self.bytes[..]);
        }
    }

    /// The id of the last entry, which may be a tombstone.
    pub(super) fn last_id(&self, master: Id) -> Option<Id> {
        Entries::new(master, self).last_of_all().map(|entry| entry.id)
    }

    /// The id of the first entry, which may be a tombstone.
    pub(super) fn first_id(&self, master: Id) -> Option<Id> {
        let mut entries = Entries::new(master, self);
        entries.dead_too = true;
        entries.next().map(|entry| entry.id)
    }

    /// The live entry with this id.
    pub(super) fn find(&self, master: Id, id: Id) -> Option<EntryRef<'_>> {
        let mut entries = Entries::new(master, self);
        entries.seek(id);
        entries.next().filter(|entry| entry.id == id)
    }

    /// Makes a tombstone of the live entry with this id; false when there is none.
    pub(super) fn delete(&mut self, master: Id, id: Id) -> bool {
        let Some(entry) = self.find(master, id) else { return false };
        let (at, flags) = (entry.at, entry.flags);
        listpack::set_int(&mut self.bytes, at, flags | DELETED);
        self.count(-1, 1);
        true
    }

    /// Whether a trim that keeps what is from `from` on would remove a live entry.
    pub(super) fn loses_one(&self, master: Id, from: Id) -> bool {
        Entries::new(master, self).next().is_some_and(|entry| entry.id < from)
    }

    /// Makes tombstones of live entries from the front, as long as `wants` says so; gives their
    /// number.
    pub(super) fn delete_front(&mut self, master: Id, mut wants: impl FnMut(Id) -> bool) -> u64 {
        let entries = Entries::new(master, self);
        let doomed: Vec<(usize, i64)> =
            entries.take_while(|entry| wants(entry.id)).map(|e| (e.at, e.flags)).collect();
        // From behind: one that came from elsewhere may get shorter, and move what follows it.
        for (at, flags) in doomed.iter().rev() {
            listpack::set_int(&mut self.bytes, *at, flags | DELETED);
        }
        self.count(-(doomed.len() as i64), doomed.len() as i64);
        doomed.len() as u64
    }
}

impl<'a> EntryRef<'a> {
    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields
    }

    /// True when there is no field (never of an entry that XADD made).
    pub fn is_empty(&self) -> bool {
        self.fields == 0
    }

    /// Its fields and values.
    pub fn pairs(&self) -> impl Iterator<Item = (Item<'a>, Item<'a>)> + use<'a> {
        let EntryRef { pack, fields, mut values, mut master, .. } = *self;
        let same = self.flags & SAME_FIELDS != 0;
        (0..fields).map_while(move |_| {
            let field = if same {
                let (field, next) = pack.at(master)?;
                master = next;
                field
            } else {
                let (field, next) = pack.at(values)?;
                values = next;
                field
            };
            let (value, next) = pack.at(values)?;
            values = next;
            Some((field, value))
        })
    }

    fn is_dead(&self) -> bool {
        self.flags & DELETED != 0
    }

    /// Number of elements behind the head, the length included.
    fn tail(&self) -> usize {
        1 + if self.flags & SAME_FIELDS != 0 { self.fields } else { 2 * self.fields }
    }
}

/// The entries of a node, from both ends.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    pack: Pack<'a>,
    master_id: Id,
    master: usize,
    master_fields: usize,
    /// Where the next entry begins.
    front: usize,
    /// Where the last entry ends.
    back: usize,
    dead_too: bool,
}

impl<'a> Entries<'a> {
    pub(super) fn new(master_id: Id, node: &'a Node) -> Self {
        let (pack, head) = (node.pack(), node.head());
        let front = pack.skip(head.master, head.fields + 1);
        Entries {
            pack,
            master_id,
            master: head.master,
            master_fields: head.fields,
            front,
            back: pack.end(),
            dead_too: false,
        }
    }

    fn entry_at(&self, at: usize) -> EntryRef<'a> {
        let (flags, next) = int_at(self.pack, at);
        let (ms, next) = int_at(self.pack, next);
        let (seq, next) = int_at(self.pack, next);
        let (fields, values) = if flags & SAME_FIELDS != 0 {
            (self.master_fields, next)
        } else {
            let (fields, next) = int_at(self.pack, next);
            (fields.max(0) as usize, next)
        };
        let id = Id {
            ms: self.master_id.ms.wrapping_add(ms as u64),
            seq: self.master_id.seq.wrapping_add(seq as u64),
        };
        EntryRef { id, pack: self.pack, at, flags, fields, values, master: self.master }
    }

    /// Leaves out what is in front of `id`.
    pub(super) fn seek(&mut self, id: Id) {
        while self.front < self.back {
            let entry = self.entry_at(self.front);
            if entry.id >= id {
                return;
            }
            self.front = self.pack.skip(entry.values, entry.tail());
        }
    }

    /// Leaves out what is behind `id`.
    pub(super) fn seek_back(&mut self, id: Id) {
        while let Some(entry) = self.last_of_all() {
            if entry.id <= id {
                return;
            }
            self.back = entry.at;
        }
    }

    fn last_of_all(&self) -> Option<EntryRef<'a>> {
        if self.back <= self.front {
            return None;
        }
        let mut at = self.pack.before(self.back)?;
        let (elements, _) = int_at(self.pack, at);
        for _ in 0..elements {
            at = self.pack.before(at)?;
        }
        Some(self.entry_at(at))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = EntryRef<'a>;

    fn next(&mut self) -> Option<EntryRef<'a>> {
        while self.front < self.back {
            let entry = self.entry_at(self.front);
            self.front = self.pack.skip(entry.values, entry.tail());
            if self.dead_too || !entry.is_dead() {
                return Some(entry);
            }
        }
        None
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        while let Some(entry) = self.last_of_all() {
            self.back = entry.at;
            if self.dead_too || !entry.is_dead() {
                return Some(entry);
            }
        }
        None
    }
}
