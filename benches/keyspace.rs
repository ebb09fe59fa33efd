//! The keyspace's own cost: growth without stalls, memory per key, time per look-up and store.
//!
//! `cargo bench --bench keyspace [-- KEYS]` inserts KEYS (20 million by default) keys of 16 bytes
//! with values of 32, timing each insert, and prints the slowest and the resident memory per key;
//! then times gets, sets and batched gets over a million keys. An insert slowed by a neighbour on
//! the machine shows in one round only: the best of the rounds is what the table does.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use ringstone::base::random::Random;
use ringstone::keyspace::{Database, NewValue};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VALUE: [u8; 32] = *b"0123456789abcdef0123456789abcdef";

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs is mounted");
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok());
    pages.expect("statm has a second field") * 4096
}

fn key(i: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut digits = i;
    for byte in key[4..].iter_mut().rev() {
        *byte = b'0' + (digits % 10) as u8;
        digits /= 10;
    }
    key
}

fn put(db: &mut Database, key: &[u8]) {
    let value = NewValue::Str { bytes: black_box(&VALUE), raw: false };
    drop(db.put(key, value, None, 1));
}

fn growth(keys: u64, seed: u64) {
    let before = resident();
    let mut db = Database::new([seed, !seed]);
    let mut times = hdrhistogram::Histogram::<u64>::new(3).expect("3 digits are possible");
    let mut slowest = Vec::new();
    let start = Instant::now();
    let mut last = start;
    for i in 0..keys {
        put(&mut db, &key(i));
        let now = Instant::now();
        let nanos = (now - last).as_nanos() as u64;
        last = now;
        times.saturating_record(nanos);
        if nanos > 200_000 {
            slowest.push((i, nanos / 1000));
        }
    }
    let total = start.elapsed();
    let grown = resident() - before;
    slowest.sort_by_key(|&(_, micros)| std::cmp::Reverse(micros));
    slowest.truncate(6);
    let mut list = String::new();
    for (i, micros) in &slowest {
        let _ = write!(list, " {micros} us at {i},");
    }
    println!(
        "insert {keys}: {:.0} ns each, p99 {} ns, p99.99 {} us, max {} us;{list}",
        total.as_nanos() as f64 / keys as f64,
        times.value_at_quantile(0.99),
        times.value_at_quantile(0.9999) / 1000,
        times.max() / 1000,
    );
    println!(
        "memory per key: {:.1} B resident, {:.1} B counted",
        grown as f64 / keys as f64,
        db.memory() as f64 / keys as f64,
    );
    assert_eq!(db.len() as u64, keys);
    // Freed by whoever runs the next round's allocator; not timed.
    drop(db);
}

fn per_op(name: &str, ops: u64, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("{name}: {:.0} ns", start.elapsed().as_nanos() as f64 / ops as f64);
}

fn operations(keys: u64, ops: u64) {
    let mut db = Database::new([1, 2]);
    (0..keys).for_each(|i| put(&mut db, &key(i)));
    let mut random = Random::new(3);
    let asked: Vec<[u8; 16]> = (0..ops).map(|_| key(random.below(keys))).collect();
    let absent: Vec<[u8; 16]> = (0..ops).map(|_| key(keys + random.below(keys))).collect();
    println!("{keys} keys, {} MB", db.memory() >> 20);
    let read = |db: &Database, key: &[u8]| {
        if let Some(entry) = db.find(key).entry {
            black_box(entry.value());
        }
    };
    for _ in 0..3 {
        per_op("get present", ops, || asked.iter().for_each(|k| read(&db, k)));
        per_op("get absent", ops, || absent.iter().for_each(|k| read(&db, k)));
        per_op("get, batches of 16 prefetched", ops, || {
            for batch in asked.chunks(16) {
                db.prefetch(batch.iter().map(|k| &k[..]));
                batch.iter().for_each(|k| read(&db, k));
            }
        });
        per_op("set over", ops, || asked.iter().for_each(|k| put(&mut db, k)));
        let some = asked.len() / 4;
        per_op("delete and insert", some as u64, || {
            for k in &asked[..some] {
                drop(db.remove(k, 1));
                put(&mut db, k);
            }
        });
    }
}

fn main() {
    let asked = std::env::args().skip(1).find_map(|a| a.parse::<u64>().ok());
    let keys = asked.unwrap_or(20_000_000);
    for len in 0..2_000_000 {
        let counted = ringstone::keyspace::usable(len);
        // SAFETY: a pure function of its argument.
        let real = unsafe { libmimalloc_sys::mi_good_size(len.max(1)) };
        assert!(len == 0 || counted == real.max(16), "{len}: counted {counted}, really {real}");
    }
    operations(1_000_000, 2_000_000);
    for seed in 1..=2 {
        growth(keys, seed);
    }
}
