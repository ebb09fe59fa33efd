//! Hashes: values by field, packed while they are small, a dictionary from then on.

use bytes::BytesMut;

use crate::base::random::Random;
use crate::value::dict::Dict;
use crate::value::entry::{Entry, Form, NewValue, ValueRef};
use crate::value::filling::Filling;
use crate::value::listpack::{self, Checked, Filter, Item, Pack};
use crate::value::object::Object;
use crate::value::set::{Built, Kept};
use crate::value::shapes::{PACKED_MAX, Shapes};

/// A hash as it is kept.
#[derive(Clone, Copy, Debug)]
pub enum Hash<'a> {
    /// Fields and values in turn.
    Packed(Pack<'a>),
    /// Values by field.
    Dict(Fields<'a>),
}

/// The fields of a dictionary that are not past their time.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// All of them.
    pub dict: &'a Dict,
    now_ms: i64,
}

impl<'a> Fields<'a> {
    /// Whether a field can be seen.
    pub fn shows(self, entry: &Entry) -> bool {
        !entry.is_expired(self.now_ms)
    }

    fn iter(self) -> impl Iterator<Item = &'a Entry> {
        self.dict.iter().filter(move |entry| self.shows(entry))
    }
}

/// Draws that may meet a field past its time before all are looked at.
const DRAWS: usize = 64;

/// Field and value of a dictionary's element.
pub fn element(entry: &Entry) -> (Item<'_>, Item<'_>) {
    (Item::Str(entry.key()), item(entry))
}

/// The value of a dictionary's element.
fn item(entry: &Entry) -> Item<'_> {
    match entry.value() {
        ValueRef::Int(n) => Item::Int(n),
        ValueRef::Str(bytes) => Item::Str(bytes),
        ValueRef::Shared(bytes) => Item::Str(bytes),
        ValueRef::Packed(_, bytes) => Item::Str(bytes),
        ValueRef::Object(_) => Item::Str(b""),
    }
}

impl<'a> Hash<'a> {
    /// The hash that an entry holds, with fields past their time; `None` when it holds something
    /// else.
    pub fn of(entry: &'a Entry) -> Option<Hash<'a>> {
        Hash::at(entry, i64::MIN)
    }

    /// The hash that an entry holds at `now_ms`; `None` when it holds something else.
    pub fn at(entry: &'a Entry, now_ms: i64) -> Option<Hash<'a>> {
        match entry.value() {
            ValueRef::Packed(Form::Hash, bytes) => Some(Hash::Packed(Pack(bytes))),
            ValueRef::Object(Object::Hash(dict)) => Some(Hash::Dict(Fields { dict, now_ms })),
            _ => None,
        }
    }

    /// Number of fields, those past their time but not yet removed included.
    pub fn len(self) -> usize {
        match self {
            Hash::Packed(pack) => pack.len() / 2,
            Hash::Dict(fields) => fields.dict.len(),
        }
    }

    /// Number of fields that can be seen.
    pub fn live_len(self) -> usize {
        match self {
            Hash::Packed(_) => self.len(),
            Hash::Dict(fields) => fields.dict.live_len(fields.now_ms),
        }
    }

    /// Whether fields may be past their time and not yet removed.
    pub fn may_hide(self) -> bool {
        matches!(self, Hash::Dict(fields) if fields.dict.may_lapse(fields.now_ms))
    }

    /// True when there is no field.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of a field.
    pub fn get(self, field: &[u8]) -> Option<Item<'a>> {
        match self {
            Hash::Dict(fields) => fields.dict.get(field).filter(|e| fields.shows(e)).map(item),
            Hash::Packed(pack) => {
                let (_, value_at) = pack.at(pack.find(pack.first(), field, 2)?)?;
                Some(pack.at(value_at)?.0)
            }
        }
    }

    /// The time at which a field ends, if it does; `None` when there is no such field.
    pub fn time(self, field: &[u8]) -> Option<Option<i64>> {
        match self {
            Hash::Packed(_) => self.get(field).map(|_| None),
            Hash::Dict(fields) => {
                let entry = fields.dict.get(field).filter(|entry| fields.shows(entry))?;
                Some(entry.expire_ms())
            }
        }
    }

    /// Every field with its value.
    pub fn each(self, mut visit: impl FnMut(Item<'a>, Item<'a>)) {
        match self {
            Hash::Dict(fields) => fields.iter().for_each(|e| visit(Item::Str(e.key()), item(e))),
            Hash::Packed(pack) => {
                let mut items = pack.iter().map(|(_, item)| item);
                while let (Some(field), Some(value)) = (items.next(), items.next()) {
                    visit(field, value);
                }
            }
        }
    }

    /// Some field with its value, evenly chosen as far as it is cheap.
    pub fn random(self, random: &mut Random) -> Option<(Item<'a>, Item<'a>)> {
        match self {
            Hash::Dict(fields) => {
                let draw = || fields.dict.random(random).filter(|entry| fields.shows(entry));
                let drawn = std::iter::repeat_with(draw).take(DRAWS).find_map(|entry| entry);
                // Nearly all of them are past their time.
                drawn.or_else(|| fields.iter().next()).map(element)
            }
            Hash::Packed(_) if self.is_empty() => None,
            Hash::Packed(pack) => {
                let index = random.below(self.len() as u64) as i64;
                let (field, value_at) = pack.at(pack.seek(index * 2)?)?;
                Some((field, pack.at(value_at)?.0))
            }
        }
    }

    /// The same as a dictionary.
    pub fn to_dict(self, seed: [u64; 2]) -> Dict {
        let mut dict = Dict::new(seed);
        let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
        self.each(|field, value| {
            dict.set(field.text(&mut one), value.text(&mut other), None);
        });
        dict
    }
}

/// Whether a packed hash may hold this field or value.
pub fn fits(text: &[u8], shapes: &Shapes) -> bool {
    text.len() <= shapes.hash_value
}

/// Whether a packed hash has outgrown its form.
pub fn is_outgrown(bytes: &[u8], shapes: &Shapes) -> bool {
    bytes.len() > PACKED_MAX || Pack(bytes).len() / 2 > shapes.hash_entries
}

/// Sets a field of a packed hash, which may be empty bytes; true when it is new.
pub fn set_packed(bytes: &mut BytesMut, field: &[u8], value: &[u8]) -> bool {
    if bytes.is_empty() {
        listpack::create(bytes);
    }
    let pack = Pack(bytes);
    match pack.find(pack.first(), field, 2).and_then(|at| pack.at(at)) {
        Some((_, value_at)) => {
            listpack::replace(bytes, value_at, value);
            false
        }
        None => {
            listpack::push_back(bytes, field);
            listpack::push_back(bytes, value);
            true
        }
    }
}

/// Whether bytes from elsewhere are a listpack as a hash would be packed here.
pub fn is_packed(bytes: &[u8], shapes: &Shapes) -> bool {
    bytes.len() <= PACKED_MAX
        && Checked::of(bytes, 2, |_| ()).is_ok_and(|checked| {
            checked.len.is_multiple_of(2)
                && checked.len / 2 <= shapes.hash_entries
                && checked.longest <= shapes.hash_value
                && checked.distinct
        })
}

/// Removes a field of a packed hash; true when it was there.
pub fn remove_packed(bytes: &mut BytesMut, field: &[u8]) -> bool {
    let pack = Pack(bytes);
    let Some(at) = pack.find(pack.first(), field, 2) else { return false };
    listpack::delete(bytes, at, 2);
    true
}

/// A hash that is being made of fields one by one, as when a file is read.
#[derive(Debug)]
pub struct Builder {
    shapes: Shapes,
    seed: [u64; 2],
    kept: Kept,
    /// The fields in a listpack.
    seen: Filter,
    /// How many fields come, as far as that is known.
    expected: usize,
}

impl Builder {
    /// An empty hash.
    pub fn new(shapes: Shapes, seed: [u64; 2]) -> Self {
        let kept = Kept::Packed(Form::Hash, Vec::new());
        Builder { shapes, seed, kept, seen: Filter::default(), expected: 0 }
    }

    /// About so many fields are to come.
    pub fn expect(mut self, fields: usize) -> Self {
        self.expected = fields;
        self
    }

    /// Adds a field; false when it is known by now that one was there already.
    pub fn add(&mut self, field: &[u8], value: &[u8]) -> bool {
        if let Kept::Packed(_, bytes) = &mut self.kept {
            let fits = fits(field, &self.shapes) && fits(value, &self.shapes);
            if fits && (bytes.is_empty() || !is_full(bytes, &self.shapes)) {
                return self.add_packed(field, value);
            }
            let mut filling = Filling::new(Dict::roomy(self.seed, self.expected));
            if !bytes.is_empty() {
                let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
                Hash::Packed(Pack(bytes)).each(|field, value| {
                    filling.add(element_of(field.text(&mut one), value.text(&mut other)));
                });
            }
            self.kept = Kept::Dict(filling);
        }
        let Kept::Dict(filling) = &mut self.kept else { return false };
        filling.add(element_of(field, value))
    }

    fn add_packed(&mut self, field: &[u8], value: &[u8]) -> bool {
        let Kept::Packed(_, bytes) = &mut self.kept else { return false };
        if bytes.is_empty() {
            listpack::create(bytes);
        }
        let pack = Pack(bytes);
        if !self.seen.is_new(field) && pack.find(pack.first(), field, 2).is_some() {
            return false;
        }
        listpack::push_back(bytes, field);
        listpack::push_back(bytes, value);
        true
    }

    /// The hash; `None` when a field came twice.
    pub fn finish(self) -> Option<Built> {
        self.kept.finish()
    }
}

/// A field and its value as a dictionary keeps them.
fn element_of(field: &[u8], value: &[u8]) -> Entry {
    Entry::new(field, NewValue::Str { bytes: value, raw: false }, None)
}

/// Whether a packed hash holds as many fields as it may.
fn is_full(bytes: &[u8], shapes: &Shapes) -> bool {
    bytes.len() > PACKED_MAX || Pack(bytes).len() / 2 >= shapes.hash_entries
}
