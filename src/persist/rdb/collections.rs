//! Sets and hashes of an RDB file, element by element or packed as Redis keeps them.
//!
//! Packed bytes are checked whole before anything looks into them; what is larger than our own
//! bounds allow is unpacked.

use bytes::BytesMut;

use crate::persist::rdb::decode::{Problem, Reader, shown};
use crate::persist::rdb::format::*;
use crate::value::entry::{Form, NewValue};
use crate::value::hash::{self, Hash};
use crate::value::intset::{self, Ints};
use crate::value::listpack::{self, Item, Pack};
use crate::value::object::{Object, Type};
use crate::value::set::{self, Built, Set};
use crate::value::ziplist;

impl Reader<'_> {
    /// Reads a set or a hash of one of the kinds that are known here.
    pub(super) fn collection_entry(&mut self, kind: u8) -> Result<(), Problem> {
        let expire_ms = self.expire_ms.take();
        self.read_key()?;
        if !self.is_wanted(expire_ms) {
            return self.pass_over_collection(kind);
        }
        let built = match kind {
            TYPE_SET => self.set()?,
            TYPE_HASH => self.hash()?,
            _ => self.packed(kind)?,
        };
        let of_set = matches!(kind, TYPE_SET | TYPE_SET_INTSET | TYPE_SET_LISTPACK);
        let value = match &built {
            // Redis leaves out keys that hold nothing as well.
            Built::Packed(_, bytes) if bytes.is_empty() => return Ok(()),
            Built::Packed(form, bytes) => NewValue::Packed { form: *form, bytes },
            Built::Dict(_) => match built {
                Built::Dict(dict) if of_set => NewValue::Object(Box::new(Object::Set(dict))),
                Built::Dict(dict) => NewValue::Object(Box::new(Object::Hash(dict))),
                Built::Packed(..) => return Ok(()),
            },
        };
        self.store(value, expire_ms)
    }

    pub(super) fn damaged(&self, kind: Type, why: String) -> Problem {
        Problem::Damaged { kind: kind.name(), key: shown(&self.key), why }
    }

    /// A count of elements, each of which takes a byte or more.
    pub(super) fn count(&mut self) -> Result<u64, Problem> {
        match self.length()? {
            count if count > self.source.left() => Err(Problem::Truncated),
            count => Ok(count),
        }
    }

    pub(super) fn next_string(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        out.clear();
        let head = self.string_head()?;
        self.string_into(head, out)
    }

    fn set(&mut self) -> Result<Built, Problem> {
        let mut set = set::Builder::new(self.options.shapes, self.options.hash_seed);
        let mut member = Vec::new();
        for _ in 0..self.count()? {
            self.next_string(&mut member)?;
            if !set.add(&member) {
                return Err(self.damaged(Type::Set, "a member stands in it twice".to_owned()));
            }
        }
        Ok(set.finish())
    }

    fn hash(&mut self) -> Result<Built, Problem> {
        let mut hash = hash::Builder::new(self.options.shapes, self.options.hash_seed);
        let (mut field, mut value) = (Vec::new(), Vec::new());
        for _ in 0..self.count()? {
            self.next_string(&mut field)?;
            self.next_string(&mut value)?;
            if !hash.set(&field, &value) {
                return Err(self.damaged(Type::Hash, "a field stands in it twice".to_owned()));
            }
        }
        Ok(hash.finish())
    }

    /// A value that is packed into one string; built anew, so that it has our own bounds and
    /// nothing twice.
    fn packed(&mut self, kind: u8) -> Result<Built, Problem> {
        let mut bytes = Vec::new();
        self.next_string(&mut bytes)?;
        let (shapes, seed) = (self.options.shapes, self.options.hash_seed);
        let digits = &mut itoa::Buffer::new();
        let mut twice = false;
        let built = match kind {
            TYPE_SET_INTSET => {
                intset::validate(&bytes).map_err(|e| self.damaged(Type::Set, e.to_string()))?;
                if Ints(&bytes).len() <= shapes.set_intset {
                    Built::Packed(Form::IntSet, BytesMut::from(&bytes[..]))
                } else {
                    Built::Dict(Set::Ints(Ints(&bytes)).to_dict(seed))
                }
            }
            TYPE_SET_LISTPACK => {
                listpack::validate(&bytes).map_err(|e| self.damaged(Type::Set, e.to_string()))?;
                let mut set = set::Builder::packed(shapes, seed);
                for (_, member) in Pack(&bytes).iter() {
                    twice |= !set.add(member.text(digits));
                }
                set.finish()
            }
            TYPE_HASH_ZIPLIST | TYPE_HASH_ZIPMAP => {
                let mut hash = hash::Builder::new(shapes, seed);
                for (field, value) in self.old_pairs(kind, &bytes)? {
                    let mut other = itoa::Buffer::new();
                    twice |= !hash.set(field.text(digits), value.text(&mut other));
                }
                hash.finish()
            }
            _ => {
                let count = listpack::validate(&bytes)
                    .map_err(|e| self.damaged(Type::Hash, e.to_string()))?;
                if count % 2 == 1 {
                    return Err(self.damaged(Type::Hash, "a field lacks its value".to_owned()));
                }
                let mut hash = hash::Builder::new(shapes, seed);
                let mut other = itoa::Buffer::new();
                Hash::Packed(Pack(&bytes)).each(|field, value| {
                    twice |= !hash.set(field.text(digits), value.text(&mut other));
                });
                hash.finish()
            }
        };
        if twice {
            let kind = if kind == TYPE_SET_LISTPACK { Type::Set } else { Type::Hash };
            return Err(self.damaged(kind, "an element stands in it twice".to_owned()));
        }
        Ok(built)
    }

    /// Fields and values as older servers packed them.
    pub(super) fn old_pairs<'b>(
        &self,
        kind: u8,
        bytes: &'b [u8],
    ) -> Result<Vec<(Item<'b>, Item<'b>)>, Problem> {
        let bad = |e: listpack::Invalid| self.damaged(Type::Hash, e.to_string());
        if kind == TYPE_HASH_ZIPMAP {
            let pairs = ziplist::read_map(bytes).map_err(bad)?.into_iter();
            return Ok(pairs.map(|(field, value)| (Item::Str(field), Item::Str(value))).collect());
        }
        let items = ziplist::read(bytes).map_err(bad)?;
        if items.len() % 2 == 1 {
            return Err(self.damaged(Type::Hash, "a field lacks its value".to_owned()));
        }
        Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    pub(super) fn pass_over_collection(&mut self, kind: u8) -> Result<(), Problem> {
        let strings = match kind {
            TYPE_SET => self.count()?,
            TYPE_HASH => self.count()?.saturating_mul(2),
            _ => 1,
        };
        for _ in 0..strings {
            let head = self.string_head()?;
            self.pass_over(head)?;
        }
        Ok(())
    }
}
