//! A value of RESTORE: never panics, allocates only what its bytes can become, and what is accepted
//! is written and read again without a change, in every version.
//!
//! Input: one byte of flags, then the payload without its footer, which is made to be right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringstone::base::crc::crc64_redis;
use ringstone::command::dump::{Bounds, Unreadable};
use ringstone::keyspace::Entry;
use ringstone::persist::payload::{dump, restore};
use ringstone::value::list::Limits;
use ringstone::value::shapes::Shapes;

#[path = "peak.rs"]
mod peak;

const STRING_MAX: u64 = 1 << 20;

fn footed(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &[12, 0]].concat();
    payload.extend_from_slice(&crc64_redis(&payload).to_le_bytes());
    payload
}

// The value is there up to four times, with its payloads.
fuzz_target!(|data: &[u8]| peak::bounded(data.len(), 640, || check(data)));

fn check(data: &[u8]) {
    let Some((&flags, body)) = data.split_first() else { return };
    let shapes = if flags & 1 == 0 {
        Shapes::DEFAULT
    } else {
        Shapes {
            hash_entries: 3,
            hash_value: 8,
            list: Limits { size: 3, depth: 1 },
            set_intset: 3,
            set_entries: 3,
            zset_entries: 3,
            ..Shapes::DEFAULT
        }
    };
    let bounds = Bounds { string_max: STRING_MAX, shapes, hash_seed: [1, 2], checked: true };
    drop(restore(b"key", body, &bounds));
    let Ok(first) = restore(b"key", &footed(body), &bounds) else { return };
    assert_eq!((first.key(), first.expire_ms()), (&b"key"[..], None));
    let again = |entry: &Entry, version: u32| {
        let mut bytes = Vec::new();
        let took = dump(entry, version, flags & 2 == 0, &mut bytes);
        assert!(took >= version);
        let read = restore(b"key", &bytes, &bounds);
        (read.unwrap_or_else(|why| panic!("{why:?} in version {took}")), bytes)
    };
    // The first form may be one that is never written.
    let (second, _) = again(&first, 12);
    let (third, bytes) = again(&second, 12);
    assert!(again(&third, 12).1 == bytes, "it is not the same any more");
    for version in 6..12 {
        assert_eq!(again(&third, version).0.kind(), first.kind());
    }
    let old = restore(b"key", &footed(&[]), &bounds);
    assert_eq!(old.err(), Some(Unreadable::Value));
}
