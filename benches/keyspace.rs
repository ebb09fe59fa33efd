//! The keyspace's own cost: growth without stalls, memory per key, time per look-up and store.
//!
//! `cargo bench --bench keyspace [-- KEYS]` inserts KEYS (20 million by default) keys of 16 bytes
//! with values of 32, twice over, and prints the slowest inserts and the resident memory per
//! key; then times gets, sets and batched gets over a million keys.

use std::hint::black_box;

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

/// One round of growth; keeps in `least` the least time each insert has taken in any round.
fn growth(round: usize, least: &mut [u32]) {
    let before = resident();
    let mut db = Database::new([1, 2]);
    let (start, mut slowest, mut last) = (on_cpu(), 0, on_cpu());
    for (i, least) in least.iter_mut().enumerate() {
        put(&mut db, &key(i as u64));
        let now = on_cpu();
        let nanos = u32::try_from(now - last).unwrap_or(u32::MAX);
        last = now;
        slowest = slowest.max(nanos);
        *least = nanos.min(*least);
    }
    let keys = least.len() as f64;
    println!(
        "round {round}: {:.0} ns per insert, the clock's included; slowest {} us",
        (on_cpu() - start) as f64 / keys,
        slowest / 1000
    );
    if round == 1 {
        // Later rounds reuse what this one leaves to the allocator.
        let grown = resident() - before;
        let counted = db.memory() as f64 / keys;
        println!("memory per key: {:.1} B resident, {counted:.1} B counted", grown as f64 / keys);
    }
}

/// The same seed splits and doubles at the same inserts in each round: what the system's paging
/// adds or a neighbour on the machine does not show at the same insert every time.
fn stalls(least: &[u32]) {
    let mut order: Vec<usize> = (0..least.len()).filter(|&i| least[i] > 10_000).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(least[i]));
    println!("inserts above 10 us in every round: {}", order.len());
    for &i in order.iter().take(8) {
        println!("  {} us at {i}", least[i] / 1000);
    }
}

/// Nanoseconds this thread has run; being preempted does not count.
fn on_cpu() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec for the call to fill in.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn per_op(name: &str, ops: u64, work: impl FnOnce()) {
    let start = on_cpu();
    work();
    println!("{name}: {:.0} ns on the processor", (on_cpu() - start) as f64 / ops as f64);
}

fn operations(keys: u64, ops: u64) {
    let mut db = Database::new([1, 2]);
    (0..keys).for_each(|i| put(&mut db, &key(i)));
    let mut random = Random::new(3);
    let asked: Vec<[u8; 16]> = (0..ops).map(|_| key(random.below(keys))).collect();
    let absent: Vec<[u8; 16]> = (0..ops).map(|_| key(keys + random.below(keys))).collect();
    println!("{keys} keys, {} KiB", db.memory() >> 10);
    let read = |db: &Database, key: &[u8]| {
        if let Some(entry) = db.find(key).entry {
            black_box(entry.value());
        }
    };
    for _ in 0..2 {
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

/// `memory()` counts what `usable` computes; here the allocator is asked.
fn usable_is_what_the_allocator_says() {
    let lens = (1..70_000_usize).chain((70_000..1_000_000).step_by(4999));
    for len in lens {
        let block = Vec::<u8>::with_capacity(len);
        // SAFETY: the pointer is that of a live allocation of mimalloc, the global allocator.
        let real = unsafe { libmimalloc_sys::mi_usable_size(block.as_ptr().cast()) };
        let counted = ringstone::keyspace::usable(len);
        // A byte vector may get 8 bytes where an entry, aligned to 16, gets 16; huge blocks are
        // rounded up further, by address space that is never touched.
        let spare = if len <= 64 * 1024 { 0 } else { 64 * 1024 };
        assert!((counted..=counted + spare).contains(&real.max(16)), "{len}: {counted}, {real}");
    }
}

fn main() {
    // As the server does: filling a huge page takes up to milliseconds, in the middle of an insert.
    rustix::thread::disable_transparent_huge_pages(true).expect("every kernel since 3.15 can");
    let asked = std::env::args().skip(1).find_map(|a| a.parse::<usize>().ok());
    let keys = asked.unwrap_or(20_000_000);
    usable_is_what_the_allocator_says();
    let mut least = vec![u32::MAX; keys];
    (1..=2).for_each(|round| growth(round, &mut least));
    stalls(&least);
    operations(10_000, 2_000_000);
    operations(1_000_000, 2_000_000);
}
