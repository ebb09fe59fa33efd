//! What is written reads back as what it was: every type, form, size and version, whole and in
//! slices between changes.

use std::collections::HashSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::keyspace::spelled;
use crate::persist::disk::Volume;
use crate::persist::rdb::decode::{Options, Sink, decode};
use crate::persist::rdb::tests::OPTIONS;
use crate::persist::sim::SimMedium;
use crate::value::dict::Dict;
use crate::value::entry::{Entry, Form, NewValue};
use crate::value::list::{End, Limits, List};
use crate::value::object::{Object, Type};
use crate::value::set::Built;
use crate::value::shapes::Shapes;
use crate::value::stream::{Group, Id, NodeMax, Pending, Stream, Wish};
use crate::value::{hash, set, zset};

/// Small bounds, so that few elements make both forms.
const SHAPES: Shapes = Shapes {
    hash_entries: 6,
    hash_value: 30,
    list: Limits { size: -1, depth: 1 },
    set_intset: 9,
    set_entries: 6,
    set_value: 30,
    zset_entries: 6,
    zset_value: 30,
    ..Shapes::DEFAULT
};
const SEED: [u64; 2] = [1, 2];

#[derive(Default)]
struct All(Vec<Entry>, Vec<(Vec<u8>, Vec<u8>)>);

impl Sink for All {
    fn wants(&mut self, _: usize, _: &[u8]) -> bool {
        true
    }

    fn store(&mut self, _: usize, key: &[u8], value: NewValue<'_>, at: Option<i64>) -> bool {
        self.0.push(Entry::new(key, value, at));
        true
    }

    fn aux(&mut self, key: &[u8], value: &[u8]) {
        self.1.push((key.to_vec(), value.to_vec()));
    }
}

fn read(file: &[u8]) -> All {
    let medium = SimMedium::new(0);
    medium.write_synced("x.rdb", file).unwrap();
    let mut all = All::default();
    let options = Options { shapes: SHAPES, hash_seed: SEED, ..OPTIONS };
    decode(&medium, "x.rdb", &options, &mut all).unwrap();
    all
}

fn file_of(encoder: &mut Encoder, entry: &Entry) -> Vec<u8> {
    let mut file = Vec::new();
    encoder.header(&mut file);
    encoder.select(&mut file, 3);
    encoder.entry(&mut file, entry).unwrap();
    encoder.end_whole(&mut file, true);
    file
}

/// What a value is as far as a version tells it: below 10 streams do not say what they once held,
/// nor groups what they have read.
fn known(entry: &Entry, version: u32) -> Vec<u8> {
    let all = spelled(entry);
    if version >= 10 || entry.kind() != Type::Stream {
        return all;
    }
    let all = String::from_utf8_lossy(&all).into_owned();
    let is_entry = |part: &&str| !part.starts_with("stream") && !part.starts_with("group");
    all.split("; ").filter(is_entry).collect::<Vec<_>>().join("; ").into_bytes()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => (-300_i64..300).prop_map(|n| n.to_string().into_bytes()),
        2 => (any::<i64>(), 0_u32..64).prop_map(|(n, by)| (n >> by).to_string().into_bytes()),
        3 => "[a-z]{0,30}".prop_map(String::into_bytes),
        2 => "(name|city|=|[0-9]){5,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

fn long_text() -> impl Strategy<Value = Vec<u8>> {
    (text(), 0_usize..100, text()).prop_map(|(a, n, b)| [&a.repeat(n)[..], &b].concat())
}

type Texts = Vec<Vec<u8>>;

fn score(n: usize) -> f64 {
    match n % 9 {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => 0.1 + n as f64,
        3 => 1e300,
        _ => n as f64 - 7.0,
    }
}

fn set_of(texts: &Texts) -> Option<NewValue<'static>> {
    let mut set = set::Builder::new(SHAPES, SEED);
    let mut seen = HashSet::new();
    for text in texts.iter().filter(|text| seen.insert(*text)) {
        assert!(set.add(text));
    }
    built(set.finish()?, Object::Set)
}

fn built(built: Built, object: fn(Dict) -> Object) -> Option<NewValue<'static>> {
    Some(match built {
        Built::Packed(form, bytes) => packed(form, &bytes)?,
        Built::Dict(dict) => NewValue::Object(Box::new(object(dict))),
    })
}

fn packed(form: Form, bytes: &[u8]) -> Option<NewValue<'static>> {
    (!bytes.is_empty()).then(|| NewValue::Packed { form, bytes: bytes.to_vec().leak() })
}

fn hash_of(texts: &Texts) -> Option<NewValue<'static>> {
    let mut hash = hash::Builder::new(SHAPES, SEED);
    let mut seen = HashSet::new();
    for pair in texts.windows(2).filter(|pair| seen.insert(&pair[0])) {
        assert!(hash.add(&pair[0], &pair[1]));
    }
    built(hash.finish()?, Object::Hash)
}

fn zset_of(texts: &Texts) -> Option<NewValue<'static>> {
    let mut zset = zset::Builder::new(SHAPES, SEED);
    let mut seen = HashSet::new();
    for (n, text) in texts.iter().enumerate().filter(|(_, text)| seen.insert(*text)) {
        assert!(zset.add(text, score(n)));
    }
    match zset.finish()? {
        zset::Built::Packed(bytes) => packed(Form::Zset, &bytes),
        zset::Built::Large(large) => Some(NewValue::Object(Box::new(Object::Zset(*large)))),
    }
}

fn list_of(texts: &Texts) -> Option<NewValue<'static>> {
    let mut list = List::new(SHAPES.list);
    texts.iter().for_each(|text| list.push(text, End::Back));
    if list.is_empty() {
        return None;
    }
    if list.fits_pack(SHAPES.list, false) {
        return packed(Form::List, &list.to_pack());
    }
    Some(NewValue::Object(Box::new(Object::List(list))))
}

/// Some fields have times; none is small if one of them is long, or there are many.
fn timed_of(texts: &Texts) -> Option<NewValue<'static>> {
    let mut dict = Dict::new(SEED);
    for (n, pair) in texts.windows(2).enumerate() {
        let at = (n % 3 != 1).then_some(1_700_000_000_000 + (n as i64 * 7919) % 1000);
        dict.set(&pair[0], &pair[1], at);
    }
    let short = |text: &Vec<u8>| hash::fits(text, &SHAPES);
    dict.set_small(dict.len() <= SHAPES.hash_entries && texts.iter().all(short));
    (dict.expires_len() > 0).then(|| NewValue::Object(Box::new(Object::Hash(dict))))
}

fn stream_of(texts: &Texts) -> Option<NewValue<'static>> {
    let mut stream = Stream::default();
    let max = NodeMax { bytes: 400, entries: 5 };
    for (n, pair) in texts.windows(2).enumerate() {
        let id = Id::new(1000 + n as u64 / 3, 1 + n as u64 % 3);
        stream.add(Wish::Exactly(id), &[&pair[0], &pair[1]], max).unwrap();
        if n % 4 == 1 {
            stream.remove(Id::new(1000 + n as u64 / 6, 1));
            stream.removed();
        }
    }
    for n in 0..texts.len() % 4 {
        let mut group = Group::new(Id::new(1000 + n as u64, 0), n as i64 - 1);
        for (m, name) in texts.iter().enumerate() {
            let Some(consumer) = group.add_consumer(name, 77 + m as i64, m as i64 - 1) else {
                continue;
            };
            for pending in 0..(m + n) % 4 {
                let id = Id::new(1000 + pending as u64 * 2, m as u64 + 1);
                let count = m as u64;
                group.set_pending(id, Pending { time: 5 + m as i64, count, consumer });
            }
        }
        stream.add_group(format!("group {n}").as_bytes(), group);
    }
    Some(NewValue::Object(Box::new(Object::Stream(Box::new(stream)))))
}

/// A value of any kind; the kinds below 6 are those that every version holds.
fn value_of(kind: usize, texts: &Texts) -> Option<NewValue<'static>> {
    match kind {
        0 => {
            let text = texts.concat();
            let int = parse_i64(&text).map(NewValue::Int);
            let bytes = Bytes::from(text);
            int.or(Some(NewValue::Shared { bytes, raw: false }))
        }
        1 => set_of(texts),
        2 => set_of(&texts.iter().map(|text| text.len().to_string().into_bytes()).collect()),
        3 => hash_of(texts),
        4 => zset_of(texts),
        5 => list_of(texts),
        6 => stream_of(texts),
        _ => timed_of(texts),
    }
}

fn texts() -> impl Strategy<Value = Texts> {
    prop_oneof![
        4 => prop::collection::vec(text(), 1..12),
        2 => prop::collection::vec(text(), 1..300),
        1 => prop::collection::vec(long_text(), 1..12),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_written_is_read(
        kind in 0_usize..8, texts in texts(), compress in any::<bool>(), expires in any::<bool>(),
    ) {
        let Some(value) = value_of(kind, &texts) else { return Ok(()) };
        let entry = Entry::new(&texts[0], value, expires.then_some(1_700_000_000_123));
        let least = Encoder::least_version(entry.value());
        prop_assert_eq!(least, match kind { 6 => 9, 7 => 12, _ => VERSION_MIN });
        for version in VERSION_MIN..=VERSION_MAX {
            let mut encoder = Encoder::new(version, compress);
            if version < least {
                let mut out = Vec::new();
                let refused = encoder.entry(&mut out, &entry).unwrap_err();
                prop_assert_eq!((refused.since, out.len()), (least, 0));
                continue;
            }
            let file = file_of(&mut encoder, &entry);
            let all = read(&file).0;
            prop_assert_eq!(all.len(), 1);
            prop_assert_eq!(all[0].key(), entry.key());
            prop_assert_eq!(all[0].expire_ms(), entry.expire_ms());
            let (read, written) = (known(&all[0], version), known(&entry, version));
            prop_assert!(read == written, "version {}: {} is not {}", version,
                read.escape_ascii(), written.escape_ascii());
            if version >= 11 {
                // Nothing is lost that the spelling does not tell, and forms stay. Times of fields
                // may be counted from a bound that is not met.
                let again = file_of(&mut encoder, &all[0]);
                prop_assert!(again == file || kind == 7);
                prop_assert!(file_of(&mut encoder, &self::read(&again).0[0]) == again);
            }
        }
    }

    #[test]
    fn a_walk_writes_what_was_there(
        kind in 0_usize..6, version in 9_u32..13, texts in texts(),
        steps in prop::collection::vec((0_usize..4, 1_usize..60, text()), 0..60),
    ) {
        let value = match kind {
            0 => large_set(&texts),
            1 => large_hash(&texts),
            2 => large_zset(&texts),
            3 => large_list(&texts),
            4 => stream_of(&texts),
            _ => timed_of(&texts),
        };
        let Some(value) = value else { return Ok(()) };
        let mut entry = Entry::new(b"key", value, None);
        let before = known(&entry, version);
        let mut encoder = Encoder::new(version, true);
        let Some(object) = entry.object_mut() else { return Ok(()) };
        let begun = Walk::new(&encoder, &object.begin_cut());
        let Ok(mut walk) = begun else {
            prop_assert!(kind == 5 && version < 12);
            return Ok(());
        };
        let mut file = Vec::new();
        encoder.header(&mut file);
        encoder.key(&mut file, walk.kind(), b"key", None);
        walk.head(&mut file);
        let mut done = false;
        for (what, budget, text) in steps {
            change(object, what, &text);
            if what == 0 && !done {
                done = walk.slice(&mut encoder, &mut file, object, budget);
            }
        }
        while !done {
            done = walk.slice(&mut encoder, &mut file, object, 7);
        }
        drop(object.end_cut());
        encoder.end_whole(&mut file, true);
        let all = read(&file).0;
        prop_assert_eq!(all.len(), 1);
        let read = known(&all[0], version);
        prop_assert!(read == before, "{} is not {}", read.escape_ascii(), before.escape_ascii());
    }

    #[test]
    fn a_long_text_in_slices(
        text in long_text(), budget in 1_usize..5000, compress in any::<bool>(),
    ) {
        let mut encoder = Encoder::new(10, compress);
        let mut file = Vec::new();
        encoder.header(&mut file);
        encoder.key(&mut file, TYPE_STRING, b"key", None);
        let mut long = LongText::new(&mut encoder, text.len());
        loop {
            // What it does not ask for may be anything.
            let (window, looked) = (long.window(budget), long.looked());
            let mut seen = vec![b'?'; text.len()];
            let window = window.start.min(text.len())..window.end.min(text.len());
            prop_assert!(window.is_empty() || looked <= window.start);
            seen[window.clone()].copy_from_slice(&text[window]);
            if long.slice(&mut encoder, &mut file, &seen, budget) {
                break;
            }
            prop_assert!(long.memory() <= 3 * text.len() + 100);
        }
        encoder.end_whole(&mut file, false);
        let all = read(&file).0;
        prop_assert_eq!(spelled(&all[0]), text);
    }
}

fn large_set(texts: &Texts) -> Option<NewValue<'static>> {
    let mut dict = Dict::new(SEED);
    for text in texts {
        dict.set_absent(text);
    }
    Some(NewValue::Object(Box::new(Object::Set(dict))))
}

fn large_hash(texts: &Texts) -> Option<NewValue<'static>> {
    let mut dict = Dict::new(SEED);
    for text in texts {
        dict.set(text, text, None);
    }
    Some(NewValue::Object(Box::new(Object::Hash(dict))))
}

fn large_zset(texts: &Texts) -> Option<NewValue<'static>> {
    let mut large = zset::Large::new(SEED);
    for (n, text) in texts.iter().enumerate() {
        large.set(text, score(n));
    }
    Some(NewValue::Object(Box::new(Object::Zset(large))))
}

fn large_list(texts: &Texts) -> Option<NewValue<'static>> {
    let mut list = List::new(SHAPES.list);
    texts.iter().for_each(|text| list.push(text, End::Back));
    Some(NewValue::Object(Box::new(Object::List(list))))
}

/// Changes something in a structure.
fn change(object: &mut Object, what: usize, text: &[u8]) {
    match object {
        Object::Set(dict) | Object::Hash(dict) => match what {
            1 => drop(dict.remove(text)),
            2 => {
                let name = dict.iter().next().map(|entry| entry.key().to_vec());
                name.iter().for_each(|name| drop(dict.remove(name)));
            }
            _ => drop(dict.set(text, b"changed", (what == 3).then_some(9))),
        },
        Object::Zset(large) => match what {
            1 => large.remove_ranks(0, 3),
            _ => drop(large.set(text, what as f64)),
        },
        Object::List(list) => match what {
            1 => drop(list.trim(list.len().min(3), End::Front)),
            2 => list.push(text, End::Front),
            _ => list.push(text, End::Back),
        },
        Object::Stream(stream) => {
            let group = stream.groups().keys().next().cloned();
            match (what, group) {
                (1, _) => {
                    let id = stream.first_id();
                    stream.remove(id);
                    stream.removed();
                }
                (2, Some(name)) => drop(stream.remove_group(&name)),
                (3, Some(name)) => drop(stream.change_group(&name, |group| {
                    let (number, _) = group.see_consumer(text, 99);
                    let time = 1;
                    group.set_pending(Id::new(1, 1), Pending { time, count: 1, consumer: number });
                    let first = group.pending_from(Id::new(2, 0)).next().map(|(id, _)| id);
                    if let Some(id) = first {
                        group.acknowledge(id);
                    }
                })),
                _ => drop(stream.add(Wish::Now(5000), &[text, b"x"], NodeMax::DEFAULT)),
            }
        }
    }
}

#[test]
fn lengths_and_integers_at_their_bounds() {
    for (len, bytes) in [
        (0x3F, &[0x3F][..]),
        (0x40, &[0x40, 0x40]),
        (0x3FFF, &[0x7F, 0xFF]),
        (0x4000, &[0x80, 0, 0, 0x40, 0]),
        (0xFFFF_FFFF, &[0x80, 0xFF, 0xFF, 0xFF, 0xFF]),
        (1 << 32, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
    ] {
        let mut out = Vec::new();
        put_length(&mut out, len);
        assert_eq!(out, bytes, "{len:#x}");
    }
    for (text, bytes) in [
        ("-128", &b"\xC0\x80"[..]),
        ("128", b"\xC1\x80\0"),
        ("-32769", b"\xC2\xFF\x7F\xFF\xFF"),
        ("-2147483648", b"\xC2\0\0\0\x80"),
        ("2147483648", b"\x0a2147483648"),
        ("007", b"\x03007"),
        ("-0", b"\x02-0"),
        ("", b"\0"),
    ] {
        let mut out = Vec::new();
        Encoder::new(10, true).string(&mut out, text.as_bytes());
        assert_eq!(out, bytes, "{text}");
    }
}

#[test]
fn the_frame_of_a_file() {
    for (version, pairs) in [(6, 0), (7, 5), (10, 5), (99, 5)] {
        let mut encoder = Encoder::new(version, true);
        let mut file = Vec::new();
        encoder.header(&mut file);
        encoder.about(&mut file, 1_700_000_000, 12_345_678_901, true);
        encoder.select(&mut file, 15);
        encoder.sizes(&mut file, 1, 0);
        encoder.set_usage(Usage { idle_s: Some(500), freq: Some(7) });
        encoder.entry(&mut file, &Entry::new(b"k", NewValue::Int(5), Some(77))).unwrap();
        let functions = encoder.function(&mut file.clone(), b"#!lua name=x");
        assert_eq!(functions.is_ok(), version >= 10);
        encoder.end_whole(&mut file, version % 2 == 0);
        let all = read(&file);
        assert_eq!((all.0.len(), all.1.len()), (1, pairs));
        assert_eq!(all.0[0].expire_ms(), Some(77));
        assert_eq!(encoder.version(), version.min(VERSION_MAX));
    }
}
