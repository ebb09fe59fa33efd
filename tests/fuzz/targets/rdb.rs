//! The RDB reader: never panics, never allocates by a claimed length, hands over nothing that is
//! longer than allowed.
//!
//! Input: one byte of flags, then the file behind its magic and version. With the lowest flag the
//! right checksum is appended, so that what leads there is not all that is ever seen.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringstone::base::crc::crc64_redis;
use ringstone::keyspace::{Entry, NewValue};
use ringstone::persist::rdb::decode::{Options, Sink, decode};
use ringstone::value::shapes::Shapes;

#[path = "memory.rs"]
mod memory;
use memory::Memory;

const STRING_MAX: u64 = 1 << 20;
const DATABASES: usize = 16;

struct Check {
    wanted: u8,
    stored: u64,
}

impl Sink for Check {
    fn wants(&mut self, db: usize, key: &[u8]) -> bool {
        assert!(db < DATABASES && key.len() as u64 <= STRING_MAX);
        self.wanted = self.wanted.wrapping_mul(5).wrapping_add(1);
        self.wanted & 0x70 != 0
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
        true
    }

    fn aux(&mut self, key: &[u8], value: &[u8]) {
        assert!(key.len() as u64 <= STRING_MAX && value.len() as u64 <= STRING_MAX);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&flags, body)) = data.split_first() else { return };
    let mut file = [&b"REDIS0010"[..], body].concat();
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
    };
    let mut sink = Check { wanted: flags, stored: 0 };
    if let Ok(loaded) = decode(&volume, "dump.rdb", &options, &mut sink) {
        assert_eq!(loaded.keys, sink.stored);
        assert!(loaded.end <= length);
    }
});
