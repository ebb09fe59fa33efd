//! The log reader on files that were meant to be frames: it never panics, never allocates by a
//! claimed length, ends where valid frames end, and what a scan said is kept is what a reader of
//! the file up to there gets.
//!
//! Input: one byte of flags, two of damage, then text. Checksums would keep a fuzzer out, so the
//! text, cut at each 0xFF, becomes payloads of true frames; the last piece is appended as it is,
//! as a tail that no writer finished. With the lowest flag, one byte of the whole is changed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringstone::persist::aof::cut::greatest_cut;
use ringstone::persist::aof::format::{FrameHead, PAYLOAD_MAX};
use ringstone::persist::aof::reader::FrameReader;
use ringstone::persist::aof::resp::PlainReader;
use ringstone::persist::aof::scan::{MARKS_KEPT, ScanOptions, scan};

#[path = "memory.rs"]
mod memory;
use memory::Memory;

const SEED: u64 = 0x5eed;
const START: u64 = 40;

fn framed(text: &[u8], known: bool) -> (Vec<u8>, usize) {
    let mut file = Vec::new();
    let mut pieces: Vec<&[u8]> = text.split(|&b| b == 0xFF).collect();
    let tail = pieces.pop().unwrap_or_default();
    let (mut pos, mut prev) = (START, SEED);
    for payload in pieces {
        let known = if known { pos } else { 0 };
        let len = payload.len() as u64;
        assert!(len <= PAYLOAD_MAX);
        let head = FrameHead { pos, len, durable: known, written: known, prev };
        prev = head.encode(&mut file, SEED, payload);
        file.extend_from_slice(payload);
        pos += len;
    }
    let frames = file.len();
    file.extend_from_slice(tail);
    (file, frames)
}

fuzz_target!(|data: &[u8]| {
    let Some((&[flags, where_to, what], text)) = data.split_first_chunk::<3>() else { return };
    let (mut file, frames) = framed(text, flags & 2 != 0);
    let damaged = flags & 1 != 0 && !file.is_empty();
    if damaged {
        let at = usize::from(where_to) * file.len() / 256;
        file[at] ^= what;
    }
    let length = file.len() as u64;
    let volume = Memory::new("f", file);

    let options = ScanOptions {
        seed: SEED,
        start: START,
        end: None,
        same_boot: false,
        marks: MARKS_KEPT,
        until: None,
        bound: None,
    };
    if let Ok(found) = scan(&volume, "f", options) {
        assert!(found.end.offset <= length);
        assert!(damaged || found.end.offset >= frames as u64, "a whole frame was not counted");
        assert!(found.gap.is_some() || found.end.offset == length);
        let end = found.end.pos;
        let mut reader = FrameReader::open(&volume, "f", SEED, START, end).expect("it was read");
        while let Some(_run) = reader.next_run().expect("a scan found it whole") {}
        let _ = greatest_cut(std::slice::from_ref(&found));
    }

    if let Ok(mut plain) = PlainReader::open(&volume, "f", 0, u64::MAX) {
        let mut offset = 0;
        while let Ok(Some(command)) = plain.next_command() {
            assert!(command.offset >= offset && command.offset < length);
            offset = command.offset;
        }
        assert!(plain.whole() <= length);
    }
});
