//! Streams of RDB files: what redis-server wrote, all three types, and noise.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::Build;
use super::*;
use crate::keyspace::{Entry, NewValue, Object, spelled};
use crate::persist::disk::Volume;
use crate::persist::sim::SimMedium;
use crate::value::stream::{Group, Id, NodeMax, Pending, Piece, Stream, Wish};

#[derive(Default)]
struct Collect {
    streams: BTreeMap<String, String>,
    unwanted: bool,
}

impl Sink for Collect {
    fn wants(&mut self, _db: usize, _key: &[u8]) -> bool {
        !self.unwanted
    }

    fn store(&mut self, _db: usize, key: &[u8], value: NewValue<'_>, at: Option<i64>) -> bool {
        let entry = Entry::new(key, value, at);
        // Noise may name values that are no text.
        let text = String::from_utf8_lossy(&spelled(&entry)).into_owned();
        self.streams.insert(String::from_utf8_lossy(key).into_owned(), text).is_none()
    }

    fn aux(&mut self, _key: &[u8], _value: &[u8]) {}
}

fn read(file: &[u8], sink: &mut Collect) -> Result<Loaded, RdbError> {
    let medium = SimMedium::new(0);
    medium.write_synced("x.rdb", file).unwrap();
    let options = Options {
        databases: 16,
        drop_expired: None,
        string_max: 1 << 20,
        shapes: crate::value::shapes::Shapes::DEFAULT,
        hash_seed: [1, 2],
        progress: None,
        modules: Default::default(),
    };
    decode(&medium, "x.rdb", &options, sink)
}

#[test]
fn what_redis_wrote() {
    let file = include_bytes!("../../../tests/fixtures/rdb/streams.rdb");
    let expected = include_str!("../../../tests/fixtures/rdb/streams.expected");
    let mut sink = Collect::default();
    read(file, &mut sink).unwrap();
    let expected: BTreeMap<String, String> = expected
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(key, text)| (key.to_owned(), text.to_owned()))
        .collect();
    assert_eq!(sink.streams, expected);
    let mut none = Collect { unwanted: true, ..Collect::default() };
    assert_eq!(read(file, &mut none).unwrap().keys, 0);
}

fn sample() -> Stream {
    let mut stream = Stream::default();
    let max = NodeMax { bytes: 0, entries: 3 };
    for n in 1..=8 {
        stream.add(Wish::Exactly(Id::new(n, 0)), &[b"a", b"1"], max).unwrap();
    }
    stream.remove(Id::new(5, 0));
    stream.removed();
    let mut group = Group::new(Id::new(8, 0), 8);
    for (at, name) in [&b"one"[..], b"two", b"idle"].into_iter().enumerate() {
        let consumer = group.add_consumer(name, 77, 77).unwrap();
        for n in 1..=6 {
            if n % 3 == at as u64 {
                group.set_pending(Id::new(n, 0), Pending { time: 5, count: n, consumer });
            }
        }
    }
    stream.add_group(b"group", group);
    stream.add_group(b"other", Group::new(Id::new(0, 0), 0));
    stream
}

fn length(out: &mut Vec<u8>, n: u64) {
    out.push(0x81);
    out.extend(n.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    length(out, text.len() as u64);
    out.extend(text);
}

fn two(out: &mut Vec<u8>, id: Id) {
    length(out, id.ms);
    length(out, id.seq);
}

/// A file with this stream under `k`, of type 15, 19 or 21.
fn file_of(stream: &mut Stream, kind: u8) -> Vec<u8> {
    let mut out = Vec::new();
    length(&mut out, stream.nodes_len() as u64);
    stream.begin_cut(1);
    while !stream.cut_slice(9, &mut |piece| {
        if let Piece::Node(id, node) = piece {
            text(&mut out, &id.to_bytes());
            text(&mut out, node.bytes());
        }
    }) {}
    stream.end_cut();
    length(&mut out, stream.len());
    two(&mut out, stream.last_id());
    if kind >= 19 {
        two(&mut out, stream.first_id());
        two(&mut out, stream.max_deleted());
        length(&mut out, stream.entries_added());
    }
    length(&mut out, stream.groups().len() as u64);
    for (name, group) in stream.groups() {
        text(&mut out, name);
        two(&mut out, group.last_id);
        if kind >= 19 {
            length(&mut out, group.entries_read as u64);
        }
        length(&mut out, group.pending_len() as u64);
        for (id, pending) in group.pending_from(Id::MIN) {
            out.extend(id.to_bytes());
            out.extend(pending.time.to_le_bytes());
            length(&mut out, pending.count);
        }
        length(&mut out, group.consumers_len() as u64);
        for (number, consumer) in group.consumers() {
            text(&mut out, &consumer.name);
            out.extend(consumer.seen.to_le_bytes());
            if kind >= 21 {
                out.extend(consumer.active.to_le_bytes());
            }
            length(&mut out, consumer.pending as u64);
            group.history(number, Id::MIN).for_each(|(id, _)| out.extend(id.to_bytes()));
        }
    }
    Build::new(11).raw(&[kind]).text(b"k").raw(&out).end()
}

fn spelled_sample() -> String {
    let value = NewValue::Object(Box::new(Object::Stream(Box::new(sample()))));
    String::from_utf8(spelled(&Entry::new(b"k", value, None))).unwrap()
}

#[test]
fn all_three_types_are_read() {
    let expected = spelled_sample();
    for kind in [19, 21] {
        let mut sink = Collect::default();
        read(&file_of(&mut sample(), kind), &mut sink).unwrap();
        assert_eq!(sink.streams["k"], expected);
    }
    let mut sink = Collect::default();
    read(&file_of(&mut sample(), 15), &mut sink).unwrap();
    // It does not say what has gone, so that what was read counts as all there was.
    let old = expected
        .replace("deleted 5-0 added 8", "deleted 0-0 added 7")
        .replace("group group 8-0 8", "group group 8-0 7");
    assert_eq!(sink.streams["k"], old);
    for kind in [15, 19, 21] {
        let mut none = Collect { unwanted: true, ..Collect::default() };
        assert_eq!(read(&file_of(&mut sample(), kind), &mut none).unwrap().keys, 0);
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let file = file_of(&mut sample(), 21);
    let patched = |from: &[u8], to: &[u8]| {
        let at = file.windows(from.len()).position(|w| w == from).unwrap();
        let mut body = file[..file.len() - 9].to_vec();
        body.splice(at..at + from.len(), to.iter().copied());
        let error = read(&Build(body).end(), &mut Collect::default()).map(drop).unwrap_err();
        error.problem.to_string()
    };
    let id = |n| Id::new(n, 0).to_bytes();
    let length = |n: u64| [&[0x81][..], &n.to_be_bytes()].concat();
    for (from, to, why) in [
        (&id(4)[..], &id(3)[..], "a node is out of order"),
        (&length(7), &length(8), "it does not hold as many entries as it says"),
        (b"one", b"two", "a consumer stands in it twice"),
        (b"other", b"group", "a group stands in it twice"),
    ] {
        let text = patched(from, to);
        assert!(text.starts_with("stream \"k\": ") && text.ends_with(why), "{text}");
    }
}

proptest! {
    #[test]
    fn noise_is_refused_or_read(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), kind in 0_usize..3,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = file_of(&mut sample(), [15, 19, 21][kind]);
        let body = file.len() - 9;
        file.truncate(body);
        let short = [&file[..13 + cut.index(body - 13)], &[0xFF]].concat();
        drop(read(&Build(short).end(), &mut Collect::default()));
        file[at.index(body)] = byte;
        drop(read(&Build(file).end(), &mut Collect::default()));
    }
}
