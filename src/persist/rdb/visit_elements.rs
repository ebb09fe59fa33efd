//! Lists, sets, hashes and sorted sets of an RDB file, shown element by element.

use crate::persist::rdb::decode::{Problem, Reader};
use crate::persist::rdb::format::*;
use crate::persist::rdb::sieve::EXACT_MAX;
use crate::persist::rdb::timed::TIME_MAX;
use crate::persist::rdb::visit::Piece;
use crate::value::intset::{self, Ints};
use crate::value::listpack::{self, Invalid, Item, Pack};
use crate::value::object::Type;
use crate::value::ziplist;
use crate::value::zset::packed;

/// Buffers for an element and what belongs to it.
#[derive(Default)]
struct Texts {
    first: Vec<u8>,
    second: Vec<u8>,
}

/// How the elements of a value stand in the file.
#[derive(Clone, Copy)]
struct Row {
    kind: u8,
    /// What times are counted from.
    from: u64,
    /// Whether they are shown, or only looked at for one that stands there twice.
    show: bool,
}

impl Reader<'_> {
    /// Shows a set, hash or sorted set that stands there element by element.
    pub(super) fn visit_elements(&mut self, kind: u8) -> Result<(), Problem> {
        let from = match kind {
            TYPE_HASH_TIMED => u64::from_le_bytes(self.source.take()?),
            _ => 0,
        };
        let count = self.count()?;
        let mark = (count > EXACT_MAX as u64).then(|| self.source.mark());
        self.start_elements();
        let mut texts = Texts::default();
        let mut row = Row { kind, from, show: true };
        for _ in 0..count {
            self.visit_element(row, &mut texts)?;
        }
        row.show = false;
        let Some(mark) = mark else { return Ok(()) };
        while self.reads_again() {
            self.source.rewind(&mark);
            for _ in 0..count {
                self.visit_element(row, &mut texts)?;
            }
        }
        Ok(())
    }

    fn visit_element(&mut self, row: Row, texts: &mut Texts) -> Result<(), Problem> {
        let time = match row.kind {
            TYPE_HASH_TIMED => self.length()?,
            TYPE_HASH_TIMED_OLD if !self.loaded.valkey => self.length()?,
            _ => 0,
        };
        self.next_string(&mut texts.first)?;
        let twice = self.is_twice(&texts.first);
        let Texts { first, second } = texts;
        match row.kind {
            TYPE_SET => {
                self.once(Type::Set, "a member", twice)?;
                if row.show { self.show(Piece::Member(first)) } else { Ok(()) }
            }
            TYPE_ZSET | TYPE_ZSET_2 => {
                let score = match row.kind {
                    TYPE_ZSET => self.score_text()?,
                    _ => Some(f64::from_le_bytes(self.source.take()?)),
                };
                let score = score.filter(|score| !score.is_nan());
                let score = score.ok_or_else(|| self.damaged_zset("a score is no number"))?;
                self.once(Type::Zset, "a member", twice)?;
                if row.show { self.show(Piece::Scored(first, score)) } else { Ok(()) }
            }
            kind => {
                self.next_string(second)?;
                let at = match kind {
                    TYPE_HASH => None,
                    TYPE_HASH_VALKEY if self.loaded.valkey => self.valkey_time()?,
                    _ if time == 0 => None,
                    TYPE_HASH_TIMED => Some(row.from.saturating_add(time - 1)),
                    _ => Some(time),
                };
                self.shown_field(first, second, at, twice, row.show)
            }
        }
    }

    fn shown_field(
        &mut self,
        field: &[u8],
        value: &[u8],
        at: Option<u64>,
        twice: bool,
        show: bool,
    ) -> Result<(), Problem> {
        if at.is_some_and(|at| at > TIME_MAX) {
            return Err(self.damaged(Type::Hash, "a time is later than times can be".to_owned()));
        }
        self.once(Type::Hash, "a field", twice)?;
        if show { self.show(Piece::Field { field, value, at }) } else { Ok(()) }
    }

    fn once(&self, kind: Type, what: &str, twice: bool) -> Result<(), Problem> {
        if twice { Err(self.damaged(kind, format!("{what} stands in it twice"))) } else { Ok(()) }
    }

    /// Shows a set, hash or sorted set that is packed into one string.
    pub(super) fn visit_packed(&mut self, kind: u8) -> Result<(), Problem> {
        let mut bytes = Vec::new();
        if kind == TYPE_HASH_TIMED_LISTPACK {
            // The first of all times; they stand with their fields as well.
            self.source.skip(8)?;
        }
        self.next_string(&mut bytes)?;
        self.start_elements();
        self.packed_row(kind, &bytes, false)?;
        while self.reads_again() {
            self.packed_row(kind, &bytes, false)?;
        }
        self.packed_row(kind, &bytes, true)
    }

    /// Looks for elements that stand in packed bytes twice, or shows them.
    fn packed_row(&mut self, kind: u8, bytes: &[u8], show: bool) -> Result<(), Problem> {
        match kind {
            TYPE_SET_INTSET => {
                intset::validate(bytes).map_err(|e| self.bad(Type::Set, &e))?;
                let mut digits = itoa::Buffer::new();
                // Checked: they are in order.
                let mut ints = Ints(bytes).iter().take(if show { usize::MAX } else { 0 });
                ints.try_for_each(|n| self.show(Piece::Member(digits.format(n).as_bytes())))
            }
            TYPE_SET_LISTPACK => {
                listpack::validate(bytes).map_err(|e| self.bad(Type::Set, &e))?;
                for (_, item) in Pack(bytes).iter() {
                    let mut digits = itoa::Buffer::new();
                    let member = item.text(&mut digits);
                    if show {
                        self.show(Piece::Member(member))?;
                    } else {
                        let twice = self.is_twice(member);
                        self.once(Type::Set, "a member", twice)?;
                    }
                }
                Ok(())
            }
            TYPE_ZSET_LISTPACK | TYPE_ZSET_ZIPLIST => self.packed_scores(kind, bytes, show),
            TYPE_HASH_TIMED_LISTPACK | TYPE_HASH_TIMED_LISTPACK_OLD => {
                listpack::validate(bytes).map_err(|e| self.bad(Type::Hash, &e))?;
                self.packed_fields(&mut Pack(bytes).iter().map(|(_, item)| item), true, show)
            }
            TYPE_HASH_LISTPACK => {
                listpack::validate(bytes).map_err(|e| self.bad(Type::Hash, &e))?;
                self.packed_fields(&mut Pack(bytes).iter().map(|(_, item)| item), false, show)
            }
            _ => {
                let pairs = self.old_pairs(kind, bytes)?;
                let mut items = pairs.into_iter().flat_map(|(field, value)| [field, value]);
                self.packed_fields(&mut items, false, show)
            }
        }
    }

    fn bad(&self, kind: Type, why: &Invalid) -> Problem {
        self.damaged(kind, why.to_string())
    }

    fn packed_scores(&mut self, kind: u8, bytes: &[u8], show: bool) -> Result<(), Problem> {
        let items: Vec<Item<'_>> = match kind {
            TYPE_ZSET_ZIPLIST => ziplist::read(bytes),
            _ => listpack::validate(bytes)
                .map(|_| Pack(bytes).iter().map(|(_, item)| item).collect()),
        }
        .map_err(|e| self.bad(Type::Zset, &e))?;
        if items.len() % 2 == 1 {
            return Err(self.damaged_zset("a member lacks its score"));
        }
        for (member, score) in items.chunks_exact(2).map(|pair| (pair[0], pair[1])) {
            let mut digits = itoa::Buffer::new();
            let member = member.text(&mut digits);
            if !packed::is_score(score) {
                return Err(self.damaged_zset("a score is no number"));
            }
            if show {
                self.show(Piece::Scored(member, packed::score(score)))?;
            } else {
                let twice = self.is_twice(member);
                self.once(Type::Zset, "a member", twice)?;
            }
        }
        Ok(())
    }

    /// Fields, values and perhaps times in turn.
    fn packed_fields(
        &mut self,
        items: &mut dyn Iterator<Item = Item<'_>>,
        timed: bool,
        show: bool,
    ) -> Result<(), Problem> {
        let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
        while let Some(field) = items.next() {
            let value = items.next();
            let time = if timed { items.next() } else { Some(Item::Int(0)) };
            let (Some(value), Some(time)) = (value, time) else {
                let what = if timed {
                    "a field lacks its value or time"
                } else {
                    "a field lacks its value"
                };
                return Err(self.damaged(Type::Hash, what.to_owned()));
            };
            let at = match time {
                Item::Int(0) => None,
                Item::Int(at) if at > 0 => Some(at.unsigned_abs()),
                _ => return Err(self.damaged(Type::Hash, "a time is no time".to_owned())),
            };
            let (field, value) = (field.text(&mut one), value.text(&mut other));
            let twice = !show && self.is_twice(field);
            self.shown_field(field, value, at, twice, show)?;
        }
        Ok(())
    }

    /// Shows a list.
    pub(super) fn visit_list(&mut self, kind: u8) -> Result<(), Problem> {
        let parts = if kind == TYPE_LIST_ZIPLIST { 1 } else { self.count()? };
        let mut text = Vec::new();
        for _ in 0..parts {
            let node = if kind == TYPE_LIST_QUICKLIST_2 { self.length()? } else { NODE_PLAIN };
            self.next_string(&mut text)?;
            let mut digits = itoa::Buffer::new();
            match (kind, node) {
                (TYPE_LIST_ZIPLIST | TYPE_LIST_QUICKLIST, _) => {
                    for item in ziplist::read(&text).map_err(|e| self.bad_node(&e))? {
                        self.show(Piece::Element(item.text(&mut digits)))?;
                    }
                }
                (_, NODE_PACKED) => {
                    listpack::validate(&text).map_err(|e| self.bad_node(&e))?;
                    for (_, item) in Pack(&text).iter() {
                        self.show(Piece::Element(item.text(&mut digits)))?;
                    }
                }
                (_, NODE_PLAIN) if text.len() <= ELEMENT_MAX => {
                    self.show(Piece::Element(&text))?;
                }
                (_, NODE_PLAIN) => return Err(Problem::Long(text.len() as u64)),
                (_, other) => {
                    let why = format!("a node of unknown kind {other}");
                    return Err(self.damaged(Type::List, why));
                }
            }
        }
        Ok(())
    }
}
