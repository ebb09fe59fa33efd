//! Lists of an RDB file: element by element, as one ziplist, or node by node.
//!
//! Nodes stay the nodes they were while they are within our own bounds; others are taken apart.
//! A list that fits into a listpack becomes one, as in Redis.

use crate::persist::rdb::decode::{Problem, Reader};
use crate::persist::rdb::format::*;
use crate::value::entry::{Form, NewValue};
use crate::value::list::{End, List};
use crate::value::listpack::{self, Invalid, Item, Pack};
use crate::value::object::{Object, Type};
use crate::value::ziplist;

/// A list as it was read.
enum Read {
    /// One node that can be kept as it stands.
    Packed(Vec<u8>),
    /// What its nodes hold.
    Nodes(List),
}

impl Reader<'_> {
    /// Reads a list of one of the kinds that are known here.
    pub(super) fn list_entry(&mut self, kind: u8) -> Result<(), Problem> {
        let expire_ms = self.expire_ms.take();
        self.read_key()?;
        if !self.is_wanted(expire_ms) {
            return self.pass_over_list(kind);
        }
        let list = match self.list(kind)? {
            Read::Packed(bytes) => return self.store_packed(Form::List, bytes, expire_ms),
            Read::Nodes(list) => list,
        };
        if list.is_empty() {
            return self.leave_out();
        }
        if list.fits_pack(self.options.shapes.list, false) {
            let bytes = list.to_pack();
            return self.store(NewValue::Packed { form: Form::List, bytes: &bytes }, expire_ms);
        }
        self.store(NewValue::Object(Box::new(Object::List(list))), expire_ms)
    }

    fn list(&mut self, kind: u8) -> Result<Read, Problem> {
        let limits = self.options.shapes.list;
        let mut list = List::new(limits);
        let mut text = std::mem::take(&mut self.packed);
        let parts = if kind == TYPE_LIST_ZIPLIST { 1 } else { self.count()? };
        for _ in 0..parts {
            let container = if kind == TYPE_LIST_QUICKLIST_2 { self.length()? } else { NODE_PLAIN };
            self.next_string(&mut text)?;
            match (kind, container) {
                (TYPE_LIST_ZIPLIST | TYPE_LIST_QUICKLIST, _) => {
                    let items = ziplist::read(&text).map_err(|e| self.bad_node(&e))?;
                    push_all(&mut list, items.into_iter());
                }
                (_, NODE_PACKED) => {
                    let count = listpack::validate(&text).map_err(|e| self.bad_node(&e))?;
                    if parts == 1 && count > 0 && !limits.is_passed(text.len(), count) {
                        return Ok(Read::Packed(text));
                    }
                    if count > 0 && text.len() <= limits.bytes() && count <= limits.count() {
                        list.push_row(Pack(&text));
                    } else {
                        push_all(&mut list, Pack(&text).iter().map(|(_, item)| item));
                    }
                }
                (_, NODE_PLAIN) if text.len() <= ELEMENT_MAX => list.push(&text, End::Back),
                (_, NODE_PLAIN) => return Err(Problem::Long(text.len() as u64)),
                (_, other) => {
                    let why = format!("a node of unknown kind {other}");
                    return Err(self.damaged(Type::List, why));
                }
            }
        }
        self.packed = text;
        Ok(Read::Nodes(list))
    }

    pub(super) fn bad_node(&self, why: &Invalid) -> Problem {
        self.damaged(Type::List, why.to_string())
    }

    pub(super) fn pass_over_list(&mut self, kind: u8) -> Result<(), Problem> {
        let parts = if kind == TYPE_LIST_ZIPLIST { 1 } else { self.count()? };
        for _ in 0..parts {
            if kind == TYPE_LIST_QUICKLIST_2 {
                self.length()?;
            }
            let head = self.string_head()?;
            self.pass_over(head)?;
        }
        Ok(())
    }
}

fn push_all<'a>(list: &mut List, items: impl Iterator<Item = Item<'a>>) {
    let digits = &mut itoa::Buffer::new();
    items.for_each(|item| list.push(item.text(digits), End::Back));
}
