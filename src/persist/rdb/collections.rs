//! Sets and hashes of an RDB file, element by element or packed as Redis keeps them.
//!
//! Packed bytes are checked whole before anything looks into them. Those within our own bounds, and
//! with nothing twice, are kept as they stand; others are built anew.

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
            _ => {
                let bytes = self.packed_string()?;
                if let Some(form) = self.packed_form(kind, &bytes) {
                    return self.store_packed(form, bytes, expire_ms);
                }
                let built = self.packed(kind, &bytes);
                self.packed = bytes;
                built?
            }
        };
        let of_set = matches!(kind, TYPE_SET | TYPE_SET_INTSET | TYPE_SET_LISTPACK);
        let object = match built {
            Built::Packed(_, bytes) if bytes.is_empty() => return self.leave_out(),
            Built::Packed(form, bytes) => {
                let stored = self.store(NewValue::Packed { form, bytes: &bytes }, expire_ms);
                self.packed = bytes;
                return stored;
            }
            Built::Dict(dict) if of_set => Object::Set(dict),
            Built::Dict(dict) => Object::Hash(dict),
        };
        self.store(NewValue::Object(Box::new(object)), expire_ms)
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

    /// How many of so many elements to make room for: whatever is said, what is left of the file
    /// can't hold more that are distinct.
    pub(super) fn worth(&self, count: u64) -> usize {
        count.min(self.source.left() / 3) as usize
    }

    pub(super) fn next_string(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        out.clear();
        if let Some(text) = self.source.short_text(self.options.string_max) {
            out.extend_from_slice(text);
            return Ok(());
        }
        let head = self.string_head()?;
        self.string_into(head, out)
    }

    fn set(&mut self) -> Result<Built, Problem> {
        let (shapes, seed) = (self.options.shapes, self.options.hash_seed);
        let count = self.count()?;
        let set = set::Builder::new(shapes, seed).expect(self.worth(count));
        let mut set = set.within(std::mem::take(&mut self.packed));
        let mut member = std::mem::take(&mut self.scratch);
        let mut distinct = true;
        for _ in 0..count {
            self.next_string(&mut member)?;
            distinct = set.add(&member);
            if !distinct {
                break;
            }
        }
        self.scratch = member;
        let twice = || self.damaged(Type::Set, "a member stands in it twice".to_owned());
        set.finish().filter(|_| distinct).ok_or_else(twice)
    }

    fn hash(&mut self) -> Result<Built, Problem> {
        let (shapes, seed) = (self.options.shapes, self.options.hash_seed);
        let count = self.count()?;
        let mut hash = hash::Builder::new(shapes, seed).expect(self.worth(count));
        let (mut field, mut value) = (Vec::new(), Vec::new());
        let mut distinct = true;
        for _ in 0..count {
            self.next_string(&mut field)?;
            self.next_string(&mut value)?;
            distinct = hash.add(&field, &value);
            if !distinct {
                break;
            }
        }
        let twice = || self.damaged(Type::Hash, "a field stands in it twice".to_owned());
        hash.finish().filter(|_| distinct).ok_or_else(twice)
    }

    /// A value that is packed into one string; to be given back as `packed` for the next one.
    pub(super) fn packed_string(&mut self) -> Result<Vec<u8>, Problem> {
        let mut bytes = std::mem::take(&mut self.packed);
        self.next_string(&mut bytes)?;
        Ok(bytes)
    }

    /// Stores a value as it is packed.
    pub(super) fn store_packed(
        &mut self,
        form: Form,
        bytes: Vec<u8>,
        expire_ms: Option<i64>,
    ) -> Result<(), Problem> {
        // Redis leaves out keys that hold nothing as well.
        let empty = form != Form::IntSet && Pack(&bytes).is_empty();
        let stored = match empty {
            true => Ok(()),
            false => self.store(NewValue::Packed { form, bytes: &bytes }, expire_ms),
        };
        self.packed = bytes;
        stored
    }

    /// The form in which packed bytes can be kept as they stand.
    fn packed_form(&self, kind: u8, bytes: &[u8]) -> Option<Form> {
        let shapes = &self.options.shapes;
        let (form, fits) = match kind {
            TYPE_SET_LISTPACK => (Form::Set, set::is_packed(bytes, shapes)),
            TYPE_HASH_LISTPACK => (Form::Hash, hash::is_packed(bytes, shapes)),
            TYPE_SET_INTSET => {
                let len = intset::validate(bytes);
                (Form::IntSet, len.is_ok_and(|len| len <= shapes.set_intset))
            }
            _ => return None,
        };
        fits.then_some(form)
    }

    /// A value whose packed form is not ours, or not within our bounds, built anew.
    fn packed(&self, kind: u8, bytes: &[u8]) -> Result<Built, Problem> {
        let (shapes, seed) = (self.options.shapes, self.options.hash_seed);
        let digits = &mut itoa::Buffer::new();
        let mut twice = false;
        let built = match kind {
            TYPE_SET_INTSET => {
                intset::validate(bytes).map_err(|e| self.damaged(Type::Set, e.to_string()))?;
                // One within our bounds has been kept as it stands.
                Some(Built::Dict(Set::Ints(Ints(bytes)).to_dict(seed)))
            }
            TYPE_SET_LISTPACK => {
                listpack::validate(bytes).map_err(|e| self.damaged(Type::Set, e.to_string()))?;
                let mut set = set::Builder::packed(shapes, seed);
                for (_, member) in Pack(bytes).iter() {
                    twice |= !set.add(member.text(digits));
                }
                set.finish()
            }
            TYPE_HASH_ZIPLIST | TYPE_HASH_ZIPMAP => {
                let mut hash = hash::Builder::new(shapes, seed);
                for (field, value) in self.old_pairs(kind, bytes)? {
                    let mut other = itoa::Buffer::new();
                    twice |= !hash.add(field.text(digits), value.text(&mut other));
                }
                hash.finish()
            }
            _ => {
                let count = listpack::validate(bytes)
                    .map_err(|e| self.damaged(Type::Hash, e.to_string()))?;
                if count % 2 == 1 {
                    return Err(self.damaged(Type::Hash, "a field lacks its value".to_owned()));
                }
                let mut hash = hash::Builder::new(shapes, seed);
                let mut other = itoa::Buffer::new();
                Hash::Packed(Pack(bytes)).each(|field, value| {
                    twice |= !hash.add(field.text(digits), value.text(&mut other));
                });
                hash.finish()
            }
        };
        built.filter(|_| !twice).ok_or_else(|| {
            let kind = if kind == TYPE_SET_LISTPACK { Type::Set } else { Type::Hash };
            self.damaged(kind, "an element stands in it twice".to_owned())
        })
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
