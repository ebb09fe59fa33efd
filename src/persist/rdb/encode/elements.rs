//! The elements of collections, one by one, behind the head that tells their number.

use crate::base::double;
use crate::persist::rdb::encode::{
    Encoder, VERSION_DOUBLES, VERSION_FIELD_TIMES, VERSION_LISTPACKS, put_length,
};
use crate::value::entry::{Entry, ValueRef};
use crate::value::list::NodeView;
use crate::value::listpack::{Item, Row};

/// A node of a quicklist that is one element as it is.
const PLAIN: u64 = 1;
/// One that is a listpack.
const PACKED: u64 = 2;
/// What stands for the length of a score as text that is infinite.
const SCORE_HIGHEST: u8 = 254;
/// See [`SCORE_HIGHEST`].
const SCORE_LOWEST: u8 = 255;

/// From where the times of a hash's fields are counted: none of them is below, in Unix
/// milliseconds. `None` for a hash without times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBase(pub(super) Option<i64>);

impl TimeBase {
    /// Times are not below `earliest`.
    pub fn new(earliest: Option<i64>) -> TimeBase {
        TimeBase(earliest.map(|at| at.max(0)))
    }
}

impl Encoder {
    /// An element as it stands in a listpack.
    #[inline]
    pub(super) fn item(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        match item {
            Item::Int(n) => self.int(out, n),
            Item::Str(text) => self.string(out, text),
        }
    }

    /// A string as an entry keeps it; nothing is written for what is none.
    #[inline]
    pub(super) fn text_of(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        match entry.value() {
            ValueRef::Int(n) => self.int(out, n),
            ValueRef::Str(text) => self.string(out, text),
            ValueRef::Shared(text) => self.string(out, text),
            ValueRef::Packed(..) | ValueRef::Object(_) => {}
        }
    }

    /// A member of a set.
    pub fn member(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        self.string(out, entry.key());
    }

    /// A field of a hash.
    pub fn field(&mut self, out: &mut Vec<u8>, entry: &Entry, base: TimeBase) {
        if let TimeBase(Some(base)) = base
            && self.version >= VERSION_FIELD_TIMES
        {
            let after = entry.expire_ms().map_or(0, |at| at.saturating_sub(base).max(0) as u64 + 1);
            put_length(out, after);
        }
        self.string(out, entry.key());
        self.text_of(out, entry);
    }

    /// A member of a sorted set.
    pub fn scored(&mut self, out: &mut Vec<u8>, member: &[u8], score: f64) {
        self.string(out, member);
        self.score(out, score);
    }

    pub(super) fn score(&mut self, out: &mut Vec<u8>, score: f64) {
        if self.version >= VERSION_DOUBLES {
            out.extend_from_slice(&score.to_le_bytes());
        } else if score.is_infinite() {
            out.push(if score > 0.0 { SCORE_HIGHEST } else { SCORE_LOWEST });
        } else {
            let text = double::text_17(score);
            let text = text.as_bytes();
            out.push(text.len() as u8);
            out.extend_from_slice(text);
        }
    }

    /// A node of a list: itself, or below version 10 its elements.
    pub fn node(&mut self, out: &mut Vec<u8>, node: NodeView<'_>) {
        if self.version < VERSION_LISTPACKS {
            node.each(&mut |item| self.item(out, item));
            return;
        }
        let content = node.content();
        if node.is_plain() {
            put_length(out, PLAIN);
            return self.string(out, &content);
        }
        put_length(out, PACKED);
        let mut pack = std::mem::take(&mut self.scratch);
        pack.clear();
        Row(&content).append_pack(node.count(), &mut pack);
        self.string(out, &pack);
        self.scratch = pack;
    }

    /// A list that is one listpack.
    pub(super) fn only_node(&mut self, out: &mut Vec<u8>, pack: &[u8]) {
        put_length(out, 1);
        put_length(out, PACKED);
        self.string(out, pack);
    }
}
