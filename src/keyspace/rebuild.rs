//! The commands that make an entry what it is: what is logged of one that was moved or copied.
//!
//! Large collections take several commands of [`BATCH`] elements, as in the files that Redis
//! rewrites; the first of them begins a key that is not there, so a DEL goes in front where
//! something else may be. The times of fields follow in HPEXPIREAT, which Redis knows since 7.4.

use smallvec::SmallVec;

use crate::base::double;
use crate::keyspace::{Effects, Entry, Form, Object, ValueRef, rebuild_stream};
use crate::value::intset::Ints;
use crate::value::list;
use crate::value::listpack::Pack;

/// Elements of one command.
const BATCH: usize = 64;

/// A command that is growing: it is logged whenever it has [`BATCH`] elements.
struct Growing<'a> {
    effects: &'a mut Effects,
    db: usize,
    name: &'static [u8],
    key: &'a [u8],
    /// Words of one element.
    width: usize,
    words: Vec<SmallVec<[u8; 32]>>,
}

impl Growing<'_> {
    fn word(&mut self, word: &[u8]) {
        self.words.push(SmallVec::from_slice(word));
        if self.words.len() == BATCH * self.width {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.words.is_empty() {
            return;
        }
        let head = [self.name, self.key];
        let parts: Vec<&[u8]> =
            head.into_iter().chain(self.words.iter().map(SmallVec::as_slice)).collect();
        self.effects.log(self.db, &parts);
        self.words.clear();
    }
}

/// Logs the commands that make `entry` in database `db`, where no such key is, or a string.
pub fn rebuild(effects: &mut Effects, db: usize, entry: &Entry) {
    let key = entry.key();
    let mut digits = itoa::Buffer::new();
    let text = match entry.value() {
        ValueRef::Int(n) => digits.format(n).as_bytes(),
        ValueRef::Str(bytes) => bytes,
        ValueRef::Shared(bytes) => bytes,
        ValueRef::Packed(form, bytes) => return packed(effects, db, entry, form, bytes),
        ValueRef::Object(object) => return structure(effects, db, entry, object),
    };
    match entry.expire_ms() {
        None => effects.log(db, &[b"SET", key, text]),
        Some(at) => {
            let mut digits = itoa::Buffer::new();
            effects.log(db, &[b"SET", key, text, b"PXAT", digits.format(at).as_bytes()]);
        }
    }
}

/// The command that adds to a collection, and the words of an element.
fn adds(form: Form) -> (&'static [u8], usize) {
    match form {
        Form::List => (b"RPUSH", 1),
        Form::IntSet | Form::Set => (b"SADD", 1),
        Form::Hash => (b"HSET", 2),
        Form::Zset => (b"ZADD", 2),
    }
}

fn growing<'a>(effects: &'a mut Effects, db: usize, entry: &'a Entry, form: Form) -> Growing<'a> {
    let (name, width) = adds(form);
    Growing { effects, db, name, key: entry.key(), width, words: Vec::new() }
}

fn log_expiry(effects: &mut Effects, db: usize, entry: &Entry) {
    if let Some(at) = entry.expire_ms() {
        let mut digits = itoa::Buffer::new();
        effects.log(db, &[b"PEXPIREAT", entry.key(), digits.format(at).as_bytes()]);
    }
}

fn packed(effects: &mut Effects, db: usize, entry: &Entry, form: Form, bytes: &[u8]) {
    let mut out = growing(effects, db, entry, form);
    let mut digits = itoa::Buffer::new();
    match form {
        Form::IntSet => Ints(bytes).iter().for_each(|n| out.word(digits.format(n).as_bytes())),
        Form::List | Form::Set | Form::Hash => {
            Pack(bytes).iter().for_each(|(_, item)| out.word(item.text(&mut digits)));
        }
        Form::Zset => {
            // A member stands in front of its score; the command has it the other way round.
            let mut member = itoa::Buffer::new();
            let mut items = Pack(bytes).iter().map(|(_, item)| item);
            while let (Some(name), Some(score)) = (items.next(), items.next()) {
                out.word(score.text(&mut digits));
                out.word(name.text(&mut member));
            }
        }
    }
    out.flush();
    log_expiry(effects, db, entry);
}

/// Logs that `fields` of `key` end at `at`.
pub fn log_times(effects: &mut Effects, db: usize, key: &[u8], fields: &[&[u8]], at: i64) {
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let time = time.format(at).as_bytes();
    let count = count.format(fields.len()).as_bytes();
    let head = [b"HPEXPIREAT", key, time, b"FIELDS", count];
    let parts: Vec<&[u8]> = head.into_iter().chain(fields.iter().copied()).collect();
    effects.log_newer(db, &parts);
}

fn structure(effects: &mut Effects, db: usize, entry: &Entry, object: &Object) {
    match object {
        Object::Set(dict) => {
            let mut out = growing(effects, db, entry, Form::Set);
            dict.iter().for_each(|member| out.word(member.key()));
            out.flush();
        }
        Object::Hash(dict) => {
            let mut out = growing(effects, db, entry, Form::Hash);
            let mut digits = itoa::Buffer::new();
            for field in dict.iter() {
                out.word(field.key());
                out.word(field.text(&mut digits).unwrap_or_default());
            }
            out.flush();
            if dict.expires_len() > 0 {
                let time = |field: &'_ Entry| Some((field.expire_ms()?, field.key().to_vec()));
                let mut times: Vec<_> = dict.iter().filter_map(time).collect();
                times.sort_unstable();
                for alike in times.chunk_by(|a, b| a.0 == b.0) {
                    for some in alike.chunks(BATCH) {
                        let names: Vec<&[u8]> = some.iter().map(|(_, name)| &name[..]).collect();
                        log_times(effects, db, entry.key(), &names, some[0].0);
                    }
                }
            }
        }
        Object::List(_) => {
            let mut out = growing(effects, db, entry, Form::List);
            let mut digits = itoa::Buffer::new();
            if let Some(list) = list::Kept::of(entry) {
                list.each(|element| out.word(element.text(&mut digits)));
            }
            out.flush();
        }
        Object::Zset(large) => {
            let mut out = growing(effects, db, entry, Form::Zset);
            for (member, score) in large.iter(0) {
                out.word(double::text(score).as_bytes());
                out.word(member);
            }
            out.flush();
        }
        Object::Stream(stream) => rebuild_stream::log(effects, db, entry.key(), stream),
    }
    log_expiry(effects, db, entry);
}

/// What an entry holds, spelled so that equal values are equal bytes whatever their form.
#[cfg(test)]
pub fn spelled(entry: &Entry) -> Vec<u8> {
    let mut digits = itoa::Buffer::new();
    if let Some(text) = entry.text(&mut digits) {
        return text.to_vec();
    }
    let mut elements: Vec<String> = Vec::new();
    if let Some(list) = list::Kept::of(entry) {
        // Its order counts.
        list.each(|element| elements.push(format!("{}", Shown(element))));
        return format!("list: {}", elements.join(", ")).into_bytes();
    }
    if let Some(set) = crate::value::set::Set::of(entry) {
        set.each(|member| elements.push(format!("{}", Shown(member))));
    } else if let Some(Object::Hash(dict)) = entry.object() {
        for field in dict.iter() {
            let (name, value) = crate::value::hash::element(field);
            let at = field.expire_ms().map_or(String::new(), |at| format!(" until {at}"));
            elements.push(format!("{} = {}{at}", Shown(name), Shown(value)));
        }
    } else if let Some(hash) = crate::value::hash::Hash::of(entry) {
        hash.each(|field, value| elements.push(format!("{} = {}", Shown(field), Shown(value))));
    } else if let Some(zset) = crate::value::zset::Zset::of(entry) {
        // -0 is 0 in packed ones.
        zset.each(|m, score| elements.push(format!("{} = {}", Shown(m), score + 0.0)));
    }
    if let ValueRef::Object(Object::Stream(stream)) = entry.value() {
        return rebuild_stream::spelled(stream).into_bytes();
    }
    elements.sort();
    format!("{}: {}", entry.kind().name(), elements.join(", ")).into_bytes()
}

/// An element as text.
#[cfg(test)]
struct Shown<'a>(crate::value::listpack::Item<'a>);

#[cfg(test)]
impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.text(&mut itoa::Buffer::new()).escape_ascii())
    }
}
