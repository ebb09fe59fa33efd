//! Digests of data, as DEBUG DIGEST has them: equal data gives the same, whoever holds it and in
//! whatever order a set or a hash stands.

use crate::base::double;
use crate::base::hash::sha1;
use crate::keyspace::{Entry, Form, Object, Type, ValueRef};
use crate::value::intset::Ints;
use crate::value::list;
use crate::value::listpack::Pack;
use crate::value::stream::{Id, Stream};
use crate::value::zset::Zset;

/// 20 bytes that data is mixed into.
#[derive(Clone, Copy, Default)]
pub struct Digest(pub [u8; 20]);

/// The number by which Redis knows a type.
fn number(kind: Type) -> u32 {
    match kind {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::Zset => 3,
        Type::Hash => 4,
        Type::Stream => 6,
    }
}

impl Digest {
    /// Adds data whose order does not count.
    pub fn xor(&mut self, data: &[u8]) {
        self.0.iter_mut().zip(sha1(data)).for_each(|(to, byte)| *to ^= byte);
    }

    /// Adds data whose order counts.
    pub fn mix(&mut self, data: &[u8]) {
        self.xor(data);
        self.0 = sha1(&self.0);
    }

    /// Adds two things that belong together, whose place among others does not count.
    fn pair(&mut self, first: &[u8], second: &[u8]) {
        let mut pair = Digest::default();
        pair.mix(first);
        pair.mix(second);
        self.xor(&pair.0);
    }

    /// Adds a value and whether it has an expiry, not when.
    pub fn value(&mut self, entry: &Entry) {
        self.mix(&number(entry.kind()).to_be_bytes());
        match entry.value() {
            ValueRef::Packed(form, bytes) => self.packed(form, bytes),
            ValueRef::Object(Object::Set(dict)) => dict.iter().for_each(|e| self.xor(e.key())),
            ValueRef::Object(Object::Hash(dict)) => dict.iter().for_each(|field| {
                let mut pair = Digest::default();
                pair.mix(field.key());
                pair.mix(field.text(&mut itoa::Buffer::new()).unwrap_or_default());
                if field.expire_ms().is_some() {
                    pair.xor(b"!!hexpire!!");
                }
                self.xor(&pair.0);
            }),
            ValueRef::Object(Object::List(_)) => {
                let mut digits = itoa::Buffer::new();
                if let Some(list) = list::Kept::of(entry) {
                    list.each(|element| self.mix(element.text(&mut digits)));
                }
            }
            ValueRef::Object(Object::Zset(large)) => large.iter(0).for_each(|(member, score)| {
                self.pair(member, double::text_17(score).as_bytes());
            }),
            ValueRef::Object(Object::Stream(stream)) => self.stream(stream),
            ValueRef::Int(_) | ValueRef::Str(_) | ValueRef::Shared(_) => {
                self.mix(entry.text(&mut itoa::Buffer::new()).unwrap_or_default());
            }
        }
        if entry.expire_ms().is_some() {
            self.xor(b"!!expire!!");
        }
    }

    /// Entries with their fields; groups do not count.
    fn stream(&mut self, stream: &Stream) {
        let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
        for entry in stream.range(Id::MIN, Id::MAX) {
            self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
            for (field, value) in entry.pairs() {
                self.mix(field.text(&mut one));
                self.mix(value.text(&mut other));
            }
        }
    }

    fn packed(&mut self, form: Form, bytes: &[u8]) {
        let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
        let items = || Pack(bytes).iter().map(|(_, item)| item);
        match form {
            Form::IntSet => Ints(bytes).iter().for_each(|n| self.xor(one.format(n).as_bytes())),
            Form::Set => items().for_each(|item| self.xor(item.text(&mut one))),
            Form::List => items().for_each(|item| self.mix(item.text(&mut one))),
            Form::Zset => Zset::Packed(Pack(bytes)).each(|member, score| {
                self.pair(member.text(&mut one), double::text_17(score).as_bytes());
            }),
            Form::Hash => {
                let mut items = items();
                while let (Some(name), Some(value)) = (items.next(), items.next()) {
                    self.pair(name.text(&mut one), value.text(&mut other));
                }
            }
        }
    }
}
