//! The RDB readers: never panic, never allocate by a claimed length, hand over nothing that is
//! longer than allowed; and the one that shows values piece by piece accepts what the one that
//! builds them accepts.
//!
//! Input: one byte of flags, then the file behind its magic and version. With the lowest flag the
//! right checksum is appended, so that what leads there is not all that is ever seen; 4 passes over
//! modules, 8 and 16 choose the magic.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use ringstone::base::crc::crc64_redis;
use ringstone::keyspace::{Entry, NewValue};
use ringstone::persist::rdb::{
    Head, Loaded, Modules, Options, Piece, Problem, Sink, Visitor, decode, visit,
};
use ringstone::value::shapes::Shapes;

#[path = "memory.rs"]
mod memory;
use memory::Memory;
#[path = "peak.rs"]
mod peak;

const STRING_MAX: u64 = 1 << 20;
const DATABASES: usize = 16;

struct Check {
    /// Whether every value is wanted.
    all: bool,
    wanted: u8,
    stored: u64,
    keys: HashSet<(usize, Vec<u8>)>,
}

impl Sink for Check {
    fn wants(&mut self, db: usize, key: &[u8]) -> bool {
        assert!(db < DATABASES && key.len() as u64 <= STRING_MAX);
        self.wanted = self.wanted.wrapping_mul(5).wrapping_add(1);
        self.all || self.wanted & 0x70 != 0
    }

    fn store(
        &mut self,
        db: usize,
        key: &[u8],
        value: NewValue<'_>,
        expire_ms: Option<i64>,
    ) -> bool {
        assert!(db < DATABASES);
        let length = match &value {
            NewValue::Int(_) => 0,
            NewValue::Str { bytes, .. } => bytes.len(),
            NewValue::Shared { bytes, .. } => bytes.len(),
            NewValue::Packed { bytes, .. } => bytes.len() / 64,
            NewValue::Object(object) => object.len() / 64,
        };
        assert!(length as u64 <= STRING_MAX);
        drop(Entry::new(key, value, expire_ms));
        self.stored += 1;
        !self.all || self.keys.insert((db, key.to_vec()))
    }

    fn aux(&mut self, key: &[u8], value: &[u8]) {
        assert!(key.len() as u64 <= STRING_MAX && value.len() as u64 <= STRING_MAX);
    }
}

/// Sees pieces, and the shape of each value before them.
#[derive(Default)]
struct Watch {
    shapes: bool,
    elements: u64,
    told: Option<u64>,
    text: Option<(u64, u64)>,
}

impl Visitor for Watch {
    fn wants(&mut self, head: &Head) -> bool {
        assert!(head.db < DATABASES && head.key.len() as u64 <= STRING_MAX);
        (self.elements, self.told, self.text) = (0, None, None);
        true
    }

    fn wants_shapes(&self) -> bool {
        self.shapes
    }

    fn piece(&mut self, _: &Head, piece: Piece<'_>) -> Result<(), Problem> {
        match piece {
            Piece::Shape(shape) => self.told = Some(shape.elements),
            Piece::Text { len } => self.text = Some((len, 0)),
            Piece::Part(part) => {
                let (len, seen) = self.text.as_mut().expect("a text begins");
                *seen += part.len() as u64;
                assert!(*seen <= *len && *len <= STRING_MAX);
            }
            Piece::Element(text) | Piece::Member(text) | Piece::Scored(text, _) => {
                assert!(text.len() as u64 <= STRING_MAX);
                self.elements += 1;
            }
            Piece::Field { .. } => self.elements += 1,
            Piece::Entry(entry) => {
                self.elements += 1;
                assert_eq!(entry.pairs().count(), entry.len());
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _: &Head, bytes: u64, _: u64) -> Result<(), Problem> {
        assert!(bytes > 0);
        assert!(self.text.is_none_or(|(len, seen)| len == seen));
        assert!(self.told.is_none_or(|told| told == self.elements));
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| peak::bounded(data.len(), 256, || check(data)));

fn check(data: &[u8]) {
    let Some((&flags, body)) = data.split_first() else { return };
    let magic: &[u8] = match flags >> 3 & 3 {
        0 | 1 => b"REDIS0010",
        2 => b"REDIS0012",
        _ => b"VALKEY080",
    };
    let mut file = [magic, body].concat();
    if flags & 1 != 0 {
        file.push(0xFF);
        file.extend_from_slice(&crc64_redis(&file).to_le_bytes());
    }
    let length = file.len() as u64;
    let volume = Memory::new("dump.rdb", file);
    let options = Options {
        databases: DATABASES,
        drop_expired: (flags & 2 != 0).then_some(1_700_000_000_000),
        string_max: STRING_MAX,
        shapes: Shapes::DEFAULT,
        hash_seed: [1, 2],
        progress: None,
        modules: if flags & 4 != 0 { Modules::Skip } else { Modules::Refuse },
    };
    let mut sink = Check { all: false, wanted: flags, stored: 0, keys: HashSet::new() };
    if let Ok(loaded) = decode(&volume, "dump.rdb", &options, &mut sink) {
        assert_eq!(loaded.keys, sink.stored);
        assert!(loaded.end <= length);
    }
    let options = Options { drop_expired: None, ..options };
    let mut sink = Check { all: true, wanted: 0, stored: 0, keys: HashSet::new() };
    let built = decode(&volume, "dump.rdb", &options, &mut sink);
    let mut watch = Watch { shapes: flags & 32 != 0, ..Watch::default() };
    let shown = visit(&volume, "dump.rdb", &options, &mut watch);
    let what = |loaded: &Loaded| (loaded.version, loaded.end, loaded.module_values);
    match (&built, &shown) {
        (Ok(one), Ok(other)) => assert_eq!(what(one), what(other)),
        (Err(one), Err(other)) => assert_eq!(one.offset, other.offset, "{one} / {other}"),
        _ => panic!("{built:?} / {shown:?}"),
    }
}
