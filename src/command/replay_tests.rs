//! What commands log, replayed, must give what they left behind.

use proptest::prelude::*;

use crate::command::harness::World;

/// A request over few keys, so that requests meet; `@` stands for a time near now.
fn request() -> impl Strategy<Value = String> {
    let key = || prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let value = || {
        prop_oneof![
            (-20i64..20_000).prop_map(|n| n.to_string()),
            "[a-z]{1,60}",
            (1usize..4000).prop_map(|n| "v".repeat(n)),
            Just("1.5".to_owned()),
            Just("''".to_owned()),
        ]
    };
    let ms = || -5i64..50;
    let at = || (-20i64..60).prop_map(|d| crate::command::harness::START_MS + d);
    let option = prop::sample::select(vec!["", " NX", " XX", " GET", " XX GET", " KEEPTTL"]);
    let condition = prop::sample::select(vec!["", " NX", " XX", " GT", " LT"]);
    let operation = prop::sample::select(vec!["AND", "OR", "XOR"]);
    let field = || {
        (1..64, 0..9000, -300i64..300)
            .prop_map(|(w, at, by)| format!("SET i{w} {at} {by} INCRBY u{w} #{at} {by}"))
    };
    let sketch = || prop::sample::select(vec!["f", "g", "h"]);
    let dense = prop::sample::select(vec!["PFCOUNT", "PFCOUNT", "PFCOUNT f", "PFDEBUG TODENSE"]);
    prop_oneof![
        (key(), value(), option).prop_map(|(k, v, o)| format!("SET {k} {v}{o}")),
        (key(), value(), ms()).prop_map(|(k, v, t)| format!("SET {k} {v} PX {t}")),
        (key(), value(), ms()).prop_map(|(k, v, t)| format!("PSETEX {k} {t} {v}")),
        (key(), value(), at()).prop_map(|(k, v, t)| format!("SET {k} {v} PXAT {t}")),
        (key(), ms(), condition).prop_map(|(k, t, c)| format!("PEXPIRE {k} {t}{c}")),
        (key(), at()).prop_map(|(k, t)| format!("PEXPIREAT {k} {t}")),
        (key(), at()).prop_map(|(k, t)| format!("GETEX {k} PXAT {t}")),
        (key(), ms()).prop_map(|(k, t)| format!("GETEX {k} PX {t}")),
        (key(), value()).prop_map(|(k, v)| format!("APPEND {k} {v}")),
        (key(), 0..2000, value()).prop_map(|(k, o, v)| format!("SETRANGE {k} {o} {v}")),
        (key(), value()).prop_map(|(k, v)| format!("GETSET {k} {v}")),
        (key(), 0..20_000, 0..2).prop_map(|(k, o, b)| format!("SETBIT {k} {o} {b}")),
        (key(), field(), field())
            .prop_map(|(k, f, g)| format!("BITFIELD {k} {f} OVERFLOW FAIL {g}")),
        (key(), key(), key(), operation).prop_map(|(k, l, m, o)| format!("BITOP {o} {k} {l} {m}")),
        (sketch(), value()).prop_map(|(k, v)| format!("PFADD {k} {v}")),
        (sketch(), 0..100).prop_map(|(k, n)| format!("PFADD {k} {n} {}", n + 1)),
        (sketch(), sketch()).prop_map(|(k, l)| format!("PFMERGE {k} {l}")),
        (sketch(), dense).prop_map(|(k, d)| format!("{d} {k}")),
        (key(), value()).prop_map(|(k, v)| format!("SETNX {k} {v}")),
        (key(), value()).prop_map(|(k, v)| format!("INCRBYFLOAT {k} {v}")),
        (key(), -9i64..9).prop_map(|(k, n)| format!("INCRBY {k} {n}")),
        (key(), -9i64..9).prop_map(|(k, n)| format!("DECRBY {k} {n}")),
        (key(), key(), value(), value()).prop_map(|(k, l, v, w)| format!("MSET {k} {v} {l} {w}")),
        (key(), key(), value()).prop_map(|(k, l, v)| format!("MSETNX {k} {v} {l} {v}")),
        (key(), value(), value()).prop_map(|(k, v, w)| format!("SET {k} {v} IFNE {w}")),
        (key(), value()).prop_map(|(k, v)| format!("DELEX {k} IFNE {v}")),
        (key(), value()).prop_map(|(k, v)| format!("DELIFEQ {k} {v}")),
        (key(), key(), ms(), value())
            .prop_map(|(k, l, t, v)| format!("MSETEX 2 {k} {v} {l} 1 PX {t}")),
        (key(), key(), value()).prop_map(|(k, l, v)| format!("MSETEX 2 {k} {v} {l} 1 XX KEEPTTL")),
        (key(), key()).prop_map(|(k, l)| format!("RENAME {k} {l}")),
        (key(), key()).prop_map(|(k, l)| format!("RENAMENX {k} {l}")),
        (key(), key(), 0..3).prop_map(|(k, l, n)| format!("COPY {k} {l} DB {n} REPLACE")),
        (key(), 0..3).prop_map(|(k, n)| format!("MOVE {k} {n}")),
        (key(), key()).prop_map(|(k, l)| format!("DEL {k} {l}")),
        prop::sample::select(vec!["GETEX", "PERSIST", "GETDEL", "GET", "INCR", "DECR", "UNLINK"])
            .prop_flat_map(move |c| key().prop_map(move |k| format!("{c} {k}"))),
        prop::sample::select(vec!["SCAN 0", "RANDOMKEY", "MGET a b c d e", "DBSIZE"])
            .prop_map(str::to_owned),
    ]
}

/// A request on collections; they share a key with strings.
fn on_collections() -> impl Strategy<Value = String> {
    let set = || prop::sample::select(vec!["s", "t", "u", "a"]);
    let hash = || prop::sample::select(vec!["x", "y", "z", "a"]);
    let member = || prop_oneof![4 => "[0-9]{1,2}", 2 => "[a-d]", 1 => "[a-z]{60,70}"];
    let value = || "[a-z0-9]{1,80}";
    let timing = prop::sample::select(vec!["", " NX", " XX", " GT", " LT"]);
    prop_oneof![
        (set(), member(), member()).prop_map(|(k, m, n)| format!("SADD {k} {m} {n}")),
        (set(), member(), member()).prop_map(|(k, m, n)| format!("SREM {k} {m} {n}")),
        (set(), set(), member()).prop_map(|(k, l, m)| format!("SMOVE {k} {l} {m}")),
        (set(), 0..4).prop_map(|(k, n)| format!("SPOP {k} {n}")),
        (set(), set(), set(), prop::sample::select(vec!["INTER", "UNION", "DIFF"]))
            .prop_map(|(k, l, m, o)| format!("S{o}STORE {k} {l} {m}")),
        (hash(), member(), value()).prop_map(|(k, f, v)| format!("HSET {k} {f} {v} x y")),
        (hash(), member(), value()).prop_map(|(k, f, v)| format!("HSETNX {k} {f} {v}")),
        (hash(), member()).prop_map(|(k, f)| format!("HDEL {k} {f} x")),
        (hash(), member(), -9i64..9).prop_map(|(k, f, n)| format!("HINCRBY {k} {f} {n}")),
        (hash(), member()).prop_map(|(k, f)| format!("HINCRBYFLOAT {k} {f} 0.1")),
        (set(), hash()).prop_map(|(k, l)| format!("RENAME {k} {l}")),
        (hash(), set()).prop_map(|(k, l)| format!("COPY {k} {l} REPLACE")),
        (hash(), -5i64..50).prop_map(|(k, t)| format!("PEXPIRE {k} {t}")),
        (hash(), 0i64..30, timing, member(), member())
            .prop_map(|(k, t, c, f, g)| format!("HPEXPIRE {k} {t}{c} FIELDS 2 {f} {g}")),
        (hash(), 0i64..30, member(), value())
            .prop_map(|(k, t, f, v)| format!("HSETEX {k} PX {t} FIELDS 2 {f} {v} x y")),
        (hash(), member(), value())
            .prop_map(|(k, f, v)| format!("HSETEX {k} KEEPTTL FIELDS 1 {f} {v}")),
        (hash(), member()).prop_map(|(k, f)| format!("HPERSIST {k} FIELDS 2 {f} x")),
        (hash(), 0i64..30, member())
            .prop_map(|(k, t, f)| format!("HGETEX {k} PX {t} FIELDS 2 {f} x")),
        (hash(), member()).prop_map(|(k, f)| format!("HGETEX {k} PERSIST FIELDS 1 {f}")),
        (hash(), member()).prop_map(|(k, f)| format!("HGETDEL {k} FIELDS 2 {f} x")),
        (hash(), member()).prop_map(|(k, f)| format!("HMGET {k} {f} x")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn effects_replay_to_the_same_contents(
        steps in prop::collection::vec((prop_oneof![request(), on_collections()], 0i64..8, 0usize..3), 1..60),
        shards in 1usize..4,
    ) {
        let mut live = World::sharded(shards);
        // Small, so that collections of a few elements change their form.
        (live.shapes.hash_entries, live.shapes.set_intset, live.shapes.set_entries) = (2, 2, 3);
        let mut second = World::sharded(shards);
        let mut third = World::new();
        for (request, pass, db) in &steps {
            live.now_ms += pass;
            live.db = *db;
            let before = live.contents();
            live.run(request);
            let effects = live.take_effects();
            prop_assert!(
                !effects.is_empty() || live.contents() == before,
                "{} changed something and logged nothing", request
            );
            for world in [&mut second, &mut third] {
                world.db = 0;
                world.replay(&effects);
            }
            prop_assert_eq!(live.contents(), second.contents(), "after {}", request);
        }
        prop_assert_eq!(live.contents(), third.contents(), "by another number of shards");
    }
}
