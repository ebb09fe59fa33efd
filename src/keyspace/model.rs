//! The database against a plain map: values, expiries, counters, stamps, walks.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use proptest::prelude::*;

use crate::base::random::Random;
use crate::keyspace::{Database, Entry, NewValue, ValueRef};

#[derive(Clone, Debug)]
enum Value {
    Int(i64),
    Str(usize),
    Shared(usize),
}

#[derive(Clone, Debug)]
enum Op {
    Put(u16, Value, Option<i64>),
    /// Keys from here on, so many, to make segments split.
    Bulk(u16, u16),
    Remove(u16),
    RemoveBulk(u16, u16),
    Expire(u16, Option<i64>),
    Append(u16, usize),
    Truncate(u16, usize),
    Rename(u16, u16),
    Clear,
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..80_usize, 2 => 1000..1050_usize, 1 => 2000..200_000_usize]
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        lengths().prop_map(Value::Str),
        lengths().prop_map(Value::Shared),
    ]
}

fn expiries() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![Just(None), (0..2000_i64).prop_map(Some), Just(Some(i64::MAX))]
}

fn ops() -> impl Strategy<Value = Op> {
    let key = || 0..40_u16;
    prop_oneof![
        8 => (key(), values(), expiries()).prop_map(|(k, v, e)| Op::Put(k, v, e)),
        3 => (0..30_000_u16, 0..4000_u16).prop_map(|(k, n)| Op::Bulk(k, n)),
        4 => key().prop_map(Op::Remove),
        2 => (0..30_000_u16, 0..20_000_u16).prop_map(|(k, n)| Op::RemoveBulk(k, n)),
        4 => (key(), expiries()).prop_map(|(k, e)| Op::Expire(k, e)),
        8 => (key(), lengths()).prop_map(|(k, n)| Op::Append(k, n)),
        2 => (key(), 0..100_usize).prop_map(|(k, n)| Op::Truncate(k, n)),
        3 => (key(), key()).prop_map(|(a, b)| Op::Rename(a, b)),
        1 => Just(Op::Clear),
    ]
}

fn key(k: u16) -> Vec<u8> {
    format!("key:{k}").into_bytes()
}

fn spelled(entry: &Entry) -> Vec<u8> {
    entry.text(&mut itoa::Buffer::new()).expect("a string").to_vec()
}

#[derive(Default)]
struct Model {
    map: HashMap<Vec<u8>, (Vec<u8>, Option<i64>)>,
    written: HashMap<Vec<u8>, u64>,
    stamp: u64,
    /// Buffers of replies in flight, with what they must still say.
    flying: Vec<(Bytes, Vec<u8>)>,
}

impl Model {
    fn put(&mut self, db: &mut Database, k: u16, value: &Value, expire: Option<i64>) {
        let key = key(k);
        let spelled = match value {
            Value::Int(n) => n.to_string().into_bytes(),
            Value::Str(len) | Value::Shared(len) => vec![k as u8; *len],
        };
        let new = match value {
            Value::Int(n) => NewValue::Int(*n),
            Value::Str(_) => NewValue::Str { bytes: &spelled, raw: false },
            Value::Shared(_) => {
                NewValue::Shared { bytes: Bytes::from(spelled.clone()), raw: false }
            }
        };
        db.put(&key, new, expire, self.stamp);
        self.written.insert(key.clone(), self.stamp);
        self.map.insert(key, (spelled, expire));
    }

    fn remove(&mut self, db: &mut Database, k: u16) {
        let key = key(k);
        let was = self.map.remove(&key);
        assert_eq!(db.remove(&key, self.stamp).map(|e| spelled(&e)), was.clone().map(|w| w.0));
        if was.is_some() {
            self.written.insert(key, self.stamp);
        }
    }

    fn apply(&mut self, db: &mut Database, op: &Op) {
        match *op {
            Op::Put(k, ref value, expire) => self.put(db, k, value, expire),
            Op::Bulk(from, count) => {
                for k in from..from.saturating_add(count) {
                    self.put(db, k, &Value::Int(i64::from(k)), (k % 5 == 0).then_some(7));
                }
            }
            Op::Remove(k) => self.remove(db, k),
            Op::RemoveBulk(from, count) => {
                (from..from.saturating_add(count)).for_each(|k| self.remove(db, k));
            }
            Op::Expire(k, expire) => {
                let there = self.map.get_mut(&key(k)).map(|v| v.1 = expire).is_some();
                assert_eq!(db.set_expire(&key(k), expire, self.stamp), there);
            }
            Op::Append(k, len) => {
                if let Some(ValueRef::Shared(b)) = db.find(&key(k)).entry.map(Entry::value)
                    && self.stamp.is_multiple_of(2)
                {
                    self.flying.push((b.clone(), b.to_vec()));
                }
                db.edit(&key(k), self.stamp, |b| b.resize(b.len() + len, b'a'));
                if len > 0 || self.map.contains_key(&key(k)) {
                    let value = &mut self.map.entry(key(k)).or_default().0;
                    value.resize(value.len() + len, b'a');
                    self.written.insert(key(k), self.stamp);
                    assert!(db.find(&key(k)).entry.expect("there").is_raw());
                }
            }
            Op::Truncate(k, len) => {
                db.edit(&key(k), self.stamp, |b| b.truncate(len));
                if let Some(value) = self.map.get_mut(&key(k)) {
                    value.0.truncate(len);
                }
            }
            Op::Rename(a, b) => {
                if let Some(entry) = db.remove(&key(a), self.stamp) {
                    db.insert(entry.rename(&key(b)), self.stamp);
                    let value = self.map.remove(&key(a)).expect("both have it");
                    self.map.insert(key(b), value);
                    self.written.insert(key(b), self.stamp);
                }
            }
            Op::Clear => {
                drop(db.clear(self.stamp));
                self.map.clear();
                self.written.values_mut().for_each(|s| *s = self.stamp);
            }
        }
    }

    fn check(&self, db: &Database) {
        db.check();
        assert_eq!(db.len(), self.map.len());
        for (key, (value, expire)) in &self.map {
            let entry = db.find(key).entry.expect("the model has it");
            assert_eq!((&spelled(entry), entry.expire_ms()), (value, *expire));
        }
        for (key, &stamp) in &self.written {
            assert!(db.find(key).stamp >= stamp, "a look-up knows the key's last write");
        }
        for (bytes, said) in &self.flying {
            assert_eq!(&bytes[..], said, "a reply in flight was edited");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_map(seed: [u64; 2], ops in proptest::collection::vec(ops(), 1..60)) {
        let mut db = Database::new(seed);
        let empty = db.memory();
        let mut model = Model::default();
        let probes: Vec<u64> = (0..64).map(|i| db.table().hash(&key(i))).collect();
        let mut stamps = vec![0; probes.len()];
        for op in &ops {
            model.stamp += 1;
            model.apply(&mut db, op);
            for (hash, last) in probes.iter().zip(&mut stamps) {
                let now = db.table().stamp_for(*hash);
                prop_assert!(now >= *last, "a segment's stamp fell");
                *last = now;
            }
        }
        model.check(&db);
        model.stamp += 1;
        for key in model.map.keys() {
            prop_assert!(db.remove(key, model.stamp).is_some());
        }
        let stamps = db.check();
        if !model.map.is_empty() {
            prop_assert_eq!(stamps, vec![model.stamp]);
        }
        // What may stay: the slots of a single segment, and the room small strings are edited in.
        prop_assert!(db.memory() < empty + 8192 + 16 * 1024 + 1024);
    }

    #[test]
    fn scan_misses_nothing(
        seed: u64,
        stable in 0..6000_u32,
        counts in proptest::collection::vec((1..800_usize, 0..1500_u32, 0..1500_u32), 1..40),
    ) {
        let mut random = Random::new(seed);
        let mut db = Database::new([seed, 1]);
        let put = |db: &mut Database, key: String| {
            db.put(key.as_bytes(), NewValue::Int(1), None, 1);
        };
        (0..stable).for_each(|i| put(&mut db, format!("s{i}")));
        let (mut seen, mut cursor, mut calls) = (HashSet::new(), 0, 0);
        let mut churn: Vec<u64> = Vec::new();
        loop {
            let (count, inserts, removes) = counts[calls % counts.len()];
            cursor = db.scan(cursor, count, &mut |entry| {
                seen.insert(entry.key().to_vec());
            });
            prop_assert!(cursor < 1 << 46);
            if cursor == 0 {
                break;
            }
            calls += 1;
            prop_assert!(calls < 200_000);
            if calls > 300 {
                continue;
            }
            for _ in 0..inserts {
                let i = random.next_u64();
                churn.push(i);
                put(&mut db, format!("c{i}"));
            }
            for _ in 0..removes.min(churn.len() as u32) {
                let i = churn.swap_remove(random.below(churn.len() as u64) as usize);
                let there = db.remove(format!("c{i}").as_bytes(), 1).is_some();
                prop_assert!(there);
            }
        }
        for i in 0..stable {
            let there = seen.contains(format!("s{i}").as_bytes());
            prop_assert!(there, "s{} of {}", i, stable);
        }
    }
}

fn filled(keys: u32) -> Database {
    let mut db = Database::new([3, 4]);
    for i in 0..keys {
        db.put(&i.to_le_bytes(), NewValue::Int(0), (i % 100 == 0).then_some(50), u64::from(i));
    }
    db
}

#[test]
fn scan_of_a_still_table_visits_each_once_in_calls_of_about_count() {
    for keys in [0, 1, 10, 895, 896, 897, 5000, 100_000] {
        let db = filled(keys);
        let (mut seen, mut cursor) = (HashSet::new(), 0);
        loop {
            let mut visited = 0;
            cursor = db.scan(cursor, 100, &mut |entry| {
                visited += 1;
                assert!(seen.insert(entry.key().to_vec()), "twice");
            });
            assert!(visited <= 110, "{visited}");
            if cursor == 0 {
                break;
            }
            assert!(visited >= 100 || visited > 0 && keys > 896);
        }
        assert_eq!(seen.len(), keys as usize);
    }
}

#[test]
fn any_cursor_is_taken() {
    let db = filled(3000);
    let mut random = Random::new(1);
    for cursor in [u64::MAX, 1 << 46, (1 << 46) - 1, 1]
        .into_iter()
        .chain((0..1000).map(|_| random.next_u64()))
    {
        assert!(db.scan(cursor, 10, &mut |_| {}) < 1 << 46);
    }
    assert!(Database::new([0, 0]).scan(u64::MAX, usize::MAX, &mut |_| {}) == 0);
}

#[test]
fn random_is_near_uniform() {
    let db = filled(2000);
    let mut random = Random::new(9);
    let mut hits: HashMap<Vec<u8>, u32> = HashMap::new();
    for _ in 0..200_000 {
        *hits.entry(db.random(&mut random).expect("not empty").key().to_vec()).or_default() += 1;
    }
    assert_eq!(hits.len(), 2000);
    // 100 each; 5 sigma and the unevenness of segments.
    assert!(hits.values().all(|&n| (25..250).contains(&n)));
}

#[test]
fn random_finds_the_last_key_of_what_was_large() {
    let mut db = filled(50_000);
    for i in 0..49_999_u32 {
        db.remove(&i.to_le_bytes(), 1);
    }
    let mut random = Random::new(9);
    for _ in 0..10 {
        assert_eq!(db.random(&mut random).map(Entry::key), Some(&49_999_u32.to_le_bytes()[..]));
    }
    // A stamp never falls, not even to that of a later removal whose stamp is lower.
    db.remove(&49_999_u32.to_le_bytes(), 77);
    assert!(db.random(&mut random).is_none());
    assert_eq!((db.last_stamp(), db.find(b"x").stamp), (49_999, 49_999));
}

#[test]
fn overwriting_in_the_same_class_neither_allocates_nor_frees() {
    let mut db = Database::new([1, 2]);
    let put = |db: &mut Database, byte: u8, len: usize, expire| {
        let value = [byte; 64];
        db.put(b"0123456789abcdef", NewValue::Str { bytes: &value[..len], raw: false }, expire, 1)
    };
    assert!(put(&mut db, 1, 32, None).is_none());
    let at = |db: &Database| db.find(b"0123456789abcdef").entry.expect("there").key().as_ptr();
    let before = at(&db);
    assert!(put(&mut db, 2, 40, None).is_none());
    assert_eq!(at(&db), before);
    assert!(put(&mut db, 2, 32, Some(1)).is_none());
    assert_eq!(db.expires_len(), 1);
    assert!(put(&mut db, 3, 64, None).is_some());
    assert_eq!(db.expires_len(), 0);
}

#[test]
fn appending_does_not_copy_each_time() {
    let mut db = Database::new([1, 2]);
    let (mut moved, mut last) = (0, std::ptr::null());
    for _ in 0..100_000 {
        db.edit(b"k", 1, |b| b.extend_from_slice(b"0123456789"));
        if let Some(ValueRef::Shared(b)) = db.find(b"k").entry.map(Entry::value) {
            moved += usize::from(b.as_ptr() != last);
            last = b.as_ptr();
        }
    }
    assert!(moved < 20, "{moved}");
    assert!(db.memory() >= 1_000_000);
    db.check();
}

/// Where a key was that was changed last is remembered, and forgotten where tables begin anew.
#[test]
fn a_place_is_not_remembered_for_longer_than_it_is_one() {
    let name = |n: u32| n.to_le_bytes();
    let change = |db: &mut Database, n: u32| {
        let (_, stamp) = db.locate_to_change(&name(n));
        db.edit(&name(n), stamp + 1, |bytes| bytes.extend_from_slice(b"+"));
    };
    for last in 0..64 {
        let mut db = filled(20_000);
        change(&mut db, last);
        (0..20_000).for_each(|n| drop(db.remove(&name(n), 7)));
        assert!(db.is_empty());
        change(&mut db, last);
        change(&mut db, last);
        let found = db.find(&name(last)).entry.map(Entry::value);
        assert!(matches!(found, Some(ValueRef::Str(b"++"))), "{last}: {found:?}");
        db.expect(100_000);
        change(&mut db, last);
        db.check();
    }
}

#[test]
fn prefetching_changes_nothing() {
    let db = filled(5000);
    let keys: Vec<_> = (0..6000_u32).map(u32::to_le_bytes).collect();
    db.prefetch(keys.iter().map(|k| &k[..]));
    Database::new([0, 0]).prefetch(keys.iter().map(|k| &k[..]));
}

/// Whatever was expected, what comes is there, splits where it must, and goes again.
#[test]
fn room_that_was_made_is_a_guess() {
    for (expected, count) in
        [(0, 3000), (10, 5000), (900, 900), (40_000, 100), (5_000, 60_000), (60_000, 60_000)]
    {
        let mut db = Database::new([5, 7]);
        db.expect(expected);
        db.check();
        let name = |n: u32| format!("key {n}").into_bytes();
        let mut batch = Vec::new();
        for n in 0..count {
            batch.push(Entry::new(&name(n), NewValue::Int(n.into()), None));
            if batch.len() == 64 || n + 1 == count {
                assert_eq!(db.load(&mut batch, 3), None);
                assert!(batch.is_empty());
            }
        }
        db.check();
        assert_eq!(db.len(), count as usize);
        assert!((0..count).all(|n| db.find(&name(n)).entry.is_some()));
        let twice = [count + 1, 7, count + 2].map(|n| Entry::new(&name(n), NewValue::Int(0), None));
        assert_eq!(db.load(&mut Vec::from(twice), 3), Some((1, name(7))));
        // Only where nothing is.
        let memory = db.memory();
        db.expect(1_000_000);
        assert_eq!(db.memory(), memory);
        (0..count + 3).for_each(|n| drop(db.remove(&name(n), 4)));
        db.check();
        assert!(db.is_empty());
    }
}
