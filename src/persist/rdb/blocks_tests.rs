//! Files with an index, read by several shards.

use crate::base::crc::{shard_of_slot, slot, slots_of};
use crate::persist::disk::Volume;
use crate::persist::rdb::decode::{Problem, RdbError, decode};
use crate::persist::rdb::decode_blocks;
use crate::persist::rdb::encode::Encoder;
use crate::persist::rdb::format::OP_EOF;
use crate::persist::rdb::index::{Block, Index, Part};
use crate::persist::rdb::tests::{Collect, OPTIONS};
use crate::persist::sim::SimMedium;
use crate::value::entry::{Entry, NewValue};

/// A file that so many shards have written, with a checksum or none, and where its index begins.
fn file(shards: usize, keys: usize, summed: bool) -> (Vec<u8>, usize) {
    let mut encoder = Encoder::new(10, false);
    let mut file = Vec::new();
    encoder.header(&mut file);
    encoder.about(&mut file, 1, 2, false);
    encoder.function(&mut file, b"#!lua name=one").unwrap();
    encoder.sizes(&mut file, keys as u64, 0);
    let mut index = Index { shards, header: Part::of(&file), blocks: Vec::new() };
    // Two blocks of each.
    for (shard, half) in (0..shards).flat_map(|shard| [(shard, 0), (shard, 1)]) {
        let mut block = Vec::new();
        encoder.select(&mut block, half);
        for n in (0..keys).filter(|n| n % 2 == half) {
            let key = format!("key:{n}");
            if shard_of_slot(slot(key.as_bytes()), shards) == shard {
                let value = NewValue::Str { bytes: b"a value", raw: false };
                encoder.entry(&mut block, &Entry::new(key.as_bytes(), value, None)).unwrap();
            }
        }
        index.blocks.push(Block { part: Part::of(&block), shard });
        file.extend(block);
    }
    let end = file.len();
    file.extend(index.aux());
    file.push(OP_EOF);
    let sum = if summed { index.checksum() } else { 0 };
    file.extend_from_slice(&sum.to_le_bytes());
    (file, end)
}

/// What shard `me` of `shards` takes out of a file, as it does at a start.
fn part(bytes: &[u8], me: usize, shards: usize) -> Result<Collect, RdbError> {
    let medium = SimMedium::new(0);
    medium.write_synced("x.rdb", bytes).unwrap();
    let mut sink = Collect::default();
    let (from, to) = slots_of(me, shards);
    match Index::find(&medium, "x.rdb").unwrap() {
        Some((index, sum)) => {
            decode_blocks(&medium, "x.rdb", &OPTIONS, &mut sink, (&index, sum), from..to)?
        }
        None => decode(&medium, "x.rdb", &OPTIONS, &mut sink)?,
    };
    let ours = |key: &[u8]| (from..to).contains(&usize::from(slot(key)));
    sink.contents.retain(|(_, key), _| ours(key));
    Ok(sink)
}

/// What all of them take together.
fn parts(bytes: &[u8], shards: usize) -> Result<Collect, RdbError> {
    let mut all = Collect::default();
    for me in 0..shards {
        all.contents.extend(part(bytes, me, shards)?.contents);
    }
    Ok(all)
}

#[test]
fn parts_make_the_whole() {
    for (written, summed) in [(1, true), (2, true), (3, false), (7, true)] {
        let (bytes, _) = file(written, 500, summed);
        let medium = SimMedium::new(0);
        medium.write_synced("x.rdb", &bytes).unwrap();
        let mut whole = Collect::default();
        decode(&medium, "x.rdb", &OPTIONS, &mut whole).unwrap();
        assert_eq!(whole.contents.len(), 500);
        for shards in [1, 2, 3, 4, 16] {
            assert_eq!(parts(&bytes, shards).unwrap().contents, whole.contents, "{shards}");
        }
    }
}

#[test]
fn damage_anywhere_is_seen_by_some_shard() {
    for summed in [true, false] {
        let (bytes, end) = file(2, 12, summed);
        let whole = parts(&bytes, 3).unwrap().contents;
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            match parts(&damaged, 3) {
                Err(_) => {}
                // Without a checksum only what is in the index is looked after.
                Ok(parts) => {
                    assert!(at >= end && !summed, "byte {at}");
                    assert_eq!(parts.contents, whole);
                }
            }
        }
    }
}

#[test]
fn a_key_in_a_block_of_other_slots_is_refused() {
    let (bytes, end) = file(2, 12, false);
    let medium = SimMedium::new(0);
    medium.write_synced("x.rdb", &bytes).unwrap();
    let (mut index, _) = Index::find(&medium, "x.rdb").unwrap().unwrap();
    index.blocks[0].shard = 1;
    let mut altered = bytes[..end].to_vec();
    altered.extend(index.aux());
    altered.push(OP_EOF);
    altered.extend_from_slice(&[0; 8]);
    let error = parts(&altered, 2).err().unwrap();
    assert!(matches!(error.problem, Problem::Misplaced(_)), "{error}");
}
