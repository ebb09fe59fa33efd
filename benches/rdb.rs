//! What writing keys into an RDB file costs the processor: encoding, compression and checksum, into
//! a buffer that is used again; no walk and no disk.
//!
//! ```text
//! cargo bench --bench rdb [-- KEYS [DIRECTORY]]
//! ```
//!
//! KEYS (a million by default) of 16 bytes with 100 random bytes each, and a fifth as many with
//! JSON-like text of 200 to 2,000 bytes. With a DIRECTORY each set is written there as
//! `SET-COMPRESSION.rdb`: redis-server loads it, and the size and time of its own SAVE are what to
//! compare with.

use std::fmt::Write as _;

use ringstone::base::random::Random;
use ringstone::keyspace::{Entry, NewValue};
use ringstone::persist::rdb::encode::Encoder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
/// Bytes after which the buffer is emptied.
const BLOCK: usize = 1 << 20;

const WORDS: &[&str] = &[
    "alpha", "river", "stone", "green", "market", "window", "garden", "silver", "castle", "winter",
    "orange", "planet", "bridge", "letter", "forest", "simple", "number", "travel", "summer",
];

fn word(random: &mut Random, out: &mut String) {
    if random.below(4) == 0 {
        let len = 3 + random.below(9);
        out.extend((0..len).map(|_| char::from(b'a' + random.below(26) as u8)));
    } else {
        out.push_str(WORDS[random.below(WORDS.len() as u64) as usize]);
    }
}

fn json(random: &mut Random) -> String {
    let len = 200 + random.below(1801) as usize;
    let mut out = format!(
        "{{\"id\":{},\"uuid\":\"{:016x}\",\"created_at\":\"2026-{:02}-{:02}T{:02}:{:02}:00Z\",",
        random.below(10_000_000),
        random.next_u64(),
        1 + random.below(12),
        1 + random.below(28),
        random.below(24),
        random.below(60),
    );
    out.push_str("\"items\":[");
    while out.len() + 20 < len {
        out.push_str("{\"name\":\"");
        word(random, &mut out);
        let price = (random.below(1000), random.below(100));
        let _ = write!(out, "\",\"price\":{}.{:02},\"tags\":[\"", price.0, price.1);
        word(random, &mut out);
        let _ = write!(out, "\"],\"active\":{}}},", random.below(2) == 0);
    }
    out.push_str("]}");
    out
}

fn entries(keys: usize, mut value: impl FnMut() -> Vec<u8>) -> Vec<Entry> {
    let entry = |n: usize| {
        let key = format!("key:{n:012}");
        Entry::new(key.as_bytes(), NewValue::Str { bytes: &value(), raw: false }, None)
    };
    (0..keys).map(entry).collect()
}

/// Nanoseconds this thread has run; being preempted does not count.
fn on_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("nanoseconds")
}

/// Encodes all entries; gives the bytes that became of them.
fn encode(encoder: &mut Encoder, entries: &[Entry], buffer: &mut Vec<u8>) -> usize {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Redis);
    let mut total = 0;
    let mut flush = |buffer: &mut Vec<u8>| {
        digest.update(buffer);
        total += buffer.len();
        buffer.clear();
    };
    for entry in entries {
        encoder.entry(buffer, entry).expect("a string can be held");
        if buffer.len() >= BLOCK {
            flush(buffer);
        }
    }
    flush(buffer);
    std::hint::black_box(digest.finalize());
    total
}

fn measure(name: &str, entries: &[Entry], directory: Option<&str>) {
    for (how, compress) in [("compressed", true), ("plain", false)] {
        let mut encoder = Encoder::new(10, compress);
        let mut buffer = Vec::with_capacity(2 * BLOCK);
        let (mut best, mut total) = (u64::MAX, 0);
        for _ in 0..ROUNDS {
            let start = on_cpu();
            total = encode(&mut encoder, entries, &mut buffer);
            best = best.min(on_cpu() - start);
        }
        let each = best as f64 / entries.len() as f64;
        println!("{name}, {how}: {each:.0} ns per key, {total} bytes");
        if let Some(directory) = directory {
            let mut file = Vec::new();
            encoder.header(&mut file);
            encoder.select(&mut file, 0);
            entries.iter().for_each(|entry| encoder.entry(&mut file, entry).expect("as above"));
            encoder.end_whole(&mut file, true);
            std::fs::write(format!("{directory}/{name}-{how}.rdb"), file).expect("write the file");
        }
    }
}

fn main() {
    // `cargo bench` adds a flag of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let keys = words.first().map_or(1_000_000, |word| word.parse().expect("KEYS is a number"));
    let directory = words.get(1).map(String::as_str);
    let mut random = Random::new(1);
    let noise = entries(keys, || (0..100).map(|_| random.below(256) as u8).collect());
    measure("random", &noise, directory);
    drop(noise);
    let texts = entries(keys / 5, || json(&mut random).into_bytes());
    measure("json", &texts, directory);
}
