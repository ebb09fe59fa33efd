//! Whole values: which form each takes in the version being written, and the form itself.

use crate::persist::rdb::encode::{
    Encoder, TimeBase, TooNew, VERSION_DOUBLES, VERSION_FIELD_TIMES, VERSION_LISTPACKS,
    VERSION_PACKED_SETS, VERSION_STREAMS, put_length,
};
use crate::persist::rdb::format::*;
use crate::value::dict::Dict;
use crate::value::entry::{Entry, Form, ValueRef};
use crate::value::listpack::{Appender, Pack};
use crate::value::object::{Object, Type};
use crate::value::zset::packed;

impl Encoder {
    /// The oldest version that can hold a value.
    pub fn least_version(value: ValueRef<'_>) -> u32 {
        match value {
            ValueRef::Object(Object::Hash(dict)) if dict.expires_len() > 0 => VERSION_FIELD_TIMES,
            ValueRef::Object(Object::Stream(_)) => VERSION_STREAMS,
            _ => super::VERSION_MIN,
        }
    }

    /// The number of the type that a value is written as.
    pub fn kind(&self, value: ValueRef<'_>) -> Result<u8, TooNew> {
        let packed = self.version >= VERSION_LISTPACKS;
        Ok(match value {
            ValueRef::Int(_) | ValueRef::Str(_) | ValueRef::Shared(_) => TYPE_STRING,
            ValueRef::Packed(Form::IntSet, _) => TYPE_SET_INTSET,
            ValueRef::Packed(Form::List, _) => self.list_kind(),
            ValueRef::Packed(Form::Set, _) if self.version >= VERSION_PACKED_SETS => {
                TYPE_SET_LISTPACK
            }
            ValueRef::Packed(Form::Set, _) => TYPE_SET,
            ValueRef::Packed(Form::Hash, _) if packed => TYPE_HASH_LISTPACK,
            ValueRef::Packed(Form::Hash, _) => TYPE_HASH,
            ValueRef::Packed(Form::Zset, _) if packed => TYPE_ZSET_LISTPACK,
            ValueRef::Packed(Form::Zset, _) => self.zset_kind(),
            ValueRef::Object(object) => match self.object_kind(object)? {
                TYPE_HASH_TIMED if is_small(object) => TYPE_HASH_TIMED_LISTPACK,
                kind => kind,
            },
        })
    }

    /// The number of the type that a structure is written as element by element.
    fn object_kind(&self, object: &Object) -> Result<u8, TooNew> {
        let timed = matches!(object, Object::Hash(dict) if dict.expires_len() > 0);
        self.structure_kind(object.kind(), timed)
    }

    /// The same of a structure that is only known by what it is.
    pub(super) fn structure_kind(&self, kind: Type, timed: bool) -> Result<u8, TooNew> {
        Ok(match kind {
            Type::String => TYPE_STRING,
            Type::Set => TYPE_SET,
            Type::Hash if timed => {
                self.need(VERSION_FIELD_TIMES, "a hash whose fields have times")?;
                TYPE_HASH_TIMED
            }
            Type::Hash => TYPE_HASH,
            Type::List => self.list_kind(),
            Type::Zset => self.zset_kind(),
            Type::Stream => self.stream_kind()?,
        })
    }

    /// The number of the type that a stream is written as.
    pub fn stream_kind(&self) -> Result<u8, TooNew> {
        self.need(VERSION_STREAMS, "a stream")?;
        Ok(match self.version {
            VERSION_PACKED_SETS.. => TYPE_STREAM_3,
            VERSION_LISTPACKS.. => TYPE_STREAM_2,
            _ => TYPE_STREAM,
        })
    }

    fn list_kind(&self) -> u8 {
        if self.version >= VERSION_LISTPACKS { TYPE_LIST_QUICKLIST_2 } else { TYPE_LIST }
    }

    /// The number of the type that a sorted set is written as element by element.
    pub fn zset_kind(&self) -> u8 {
        if self.version >= VERSION_DOUBLES { TYPE_ZSET_2 } else { TYPE_ZSET }
    }

    /// A key with its expiry and its value. What the version cannot hold writes nothing.
    pub fn entry(&mut self, out: &mut Vec<u8>, entry: &Entry) -> Result<(), TooNew> {
        let kind = self.kind(entry.value())?;
        self.key(out, kind, entry.key(), entry.expire_ms());
        self.body(out, kind, entry.value());
        Ok(())
    }

    /// What stands in front of a value: its key's expiry and use, its type, its key.
    pub fn key(&mut self, out: &mut Vec<u8>, kind: u8, key: &[u8], expire_ms: Option<i64>) {
        if let Some(at) = expire_ms {
            let mut bytes = [OP_EXPIRETIME_MS; 9];
            bytes[1..].copy_from_slice(&at.to_le_bytes());
            out.extend_from_slice(&bytes);
        }
        self.usage(out);
        out.push(kind);
        self.string(out, key);
    }

    /// A value with its type in front, as DUMP shows it.
    pub fn value(&mut self, out: &mut Vec<u8>, value: ValueRef<'_>) -> Result<(), TooNew> {
        let kind = self.kind(value)?;
        out.push(kind);
        self.body(out, kind, value);
        Ok(())
    }

    fn body(&mut self, out: &mut Vec<u8>, kind: u8, value: ValueRef<'_>) {
        match value {
            ValueRef::Int(n) => self.int(out, n),
            ValueRef::Str(text) => self.string(out, text),
            ValueRef::Shared(text) => self.string(out, text),
            ValueRef::Packed(form, bytes) => self.packed(out, kind, form, bytes),
            ValueRef::Object(object) => self.object(out, kind, object),
        }
    }

    /// A value that is one piece of memory.
    fn packed(&mut self, out: &mut Vec<u8>, kind: u8, form: Form, bytes: &[u8]) {
        match kind {
            TYPE_LIST_QUICKLIST_2 => return self.only_node(out, bytes),
            TYPE_SET_INTSET | TYPE_SET_LISTPACK | TYPE_HASH_LISTPACK | TYPE_ZSET_LISTPACK => {
                return self.string(out, bytes);
            }
            _ => {}
        }
        let pack = Pack(bytes);
        match form {
            Form::Zset => {
                put_length(out, pack.len() as u64 / 2);
                for (_, member, score) in packed::pairs(pack) {
                    self.item(out, member);
                    self.score(out, packed::score(score));
                }
            }
            _ => {
                let width = if form == Form::Hash { 2 } else { 1 };
                put_length(out, pack.len() as u64 / width);
                pack.iter().for_each(|(_, item)| self.item(out, item));
            }
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, kind: u8, object: &Object) {
        match object {
            Object::Set(dict) => {
                put_length(out, dict.len() as u64);
                dict.iter().for_each(|member| self.member(out, member));
            }
            Object::Hash(dict) if kind == TYPE_HASH_TIMED_LISTPACK => self.timed_pack(out, dict),
            Object::Hash(dict) => {
                let base = time_base(dict);
                put_time_base(out, base);
                put_length(out, dict.len() as u64);
                dict.iter().for_each(|field| self.field(out, field, base));
            }
            Object::List(list) => {
                let nodes = self.version >= VERSION_LISTPACKS;
                put_length(out, if nodes { list.nodes_len() } else { list.len() } as u64);
                list.nodes().for_each(|node| self.node(out, node));
            }
            Object::Zset(large) => {
                // Redis' readers are fastest from behind.
                put_length(out, large.len() as u64);
                if let Some(last) = large.len().checked_sub(1) {
                    large.iter_down(last).for_each(|(name, s)| self.scored(out, name, s));
                }
            }
            Object::Stream(stream) => self.stream(out, stream),
        }
    }

    /// A small hash whose fields have times: a listpack of fields, values and times, by time, those
    /// without at the end.
    fn timed_pack(&mut self, out: &mut Vec<u8>, dict: &Dict) {
        let mut fields: Vec<&Entry> = dict.iter().collect();
        let time = |entry: &Entry| entry.expire_ms().unwrap_or(i64::MAX);
        fields.sort_by(|a, b| (time(a), a.key()).cmp(&(time(b), b.key())));
        put_time_base(out, TimeBase::new(fields.first().and_then(|entry| entry.expire_ms())));
        let mut pack = std::mem::take(&mut self.scratch);
        pack.clear();
        let mut digits = itoa::Buffer::new();
        let mut elements = Appender::open(&mut pack);
        for entry in fields {
            elements.text(entry.key());
            elements.text(entry.text(&mut digits).unwrap_or_default());
            // 0 is none.
            elements.int(entry.expire_ms().map_or(0, |at| at.max(1)));
        }
        elements.finish();
        self.string(out, &pack);
        self.scratch = pack;
    }
}

/// Whether a hash is one piece of memory but for its times.
fn is_small(object: &Object) -> bool {
    matches!(object, Object::Hash(dict) if dict.is_small())
}

/// From where the times of a hash's fields are counted.
pub(super) fn time_base(dict: &Dict) -> TimeBase {
    TimeBase::new(dict.earliest().filter(|_| dict.expires_len() > 0))
}

/// Appends the time that a hash's others are counted from, if it has any.
pub(super) fn put_time_base(out: &mut Vec<u8>, base: TimeBase) {
    if let TimeBase(Some(base)) = base {
        out.extend_from_slice(&base.to_le_bytes());
    }
}
