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

/// A request on lists; they share keys with sets and strings.
fn on_lists() -> impl Strategy<Value = String> {
    let list = || prop::sample::select(vec!["l", "m", "n", "a", "s"]);
    let element = || prop_oneof![4 => "[0-9]", 2 => "[a-d]", 1 => "[a-z]{60,70}"];
    let side = || prop::sample::select(vec!["LEFT", "RIGHT"]);
    let one = || prop::sample::select(vec!["LPOP", "RPOP"]);
    let more = prop::sample::select(vec!["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]);
    prop_oneof![
        4 => (more, list(), element(), element())
            .prop_map(|(c, k, e, f)| format!("{c} {k} {e} {f}")),
        1 => (one(), list()).prop_map(|(c, k)| format!("{c} {k}")),
        1 => (one(), list(), 0..4).prop_map(|(c, k, n)| format!("{c} {k} {n}")),
        2 => (list(), list(), side(), side())
            .prop_map(|(k, l, s, t)| format!("LMOVE {k} {l} {s} {t}")),
        1 => (list(), list()).prop_map(|(k, l)| format!("RPOPLPUSH {k} {l}")),
        1 => (list(), list(), side(), 1..4)
            .prop_map(|(k, l, s, n)| format!("LMPOP 2 {k} {l} {s} COUNT {n}")),
        1 => (list(), -4i64..4, element()).prop_map(|(k, n, e)| format!("LSET {k} {n} {e}")),
        1 => (list(), element(), element())
            .prop_map(|(k, p, e)| format!("LINSERT {k} BEFORE {p} {e}")),
        1 => (list(), element(), element())
            .prop_map(|(k, p, e)| format!("LINSERT {k} AFTER {p} {e}")),
        1 => (list(), -2i64..3, element()).prop_map(|(k, n, e)| format!("LREM {k} {n} {e}")),
        1 => (list(), -6i64..6, -6i64..6).prop_map(|(k, n, m)| format!("LTRIM {k} {n} {m}")),
        1 => (list(), list()).prop_map(|(k, l)| format!("SORT {k} ALPHA DESC STORE {l}")),
        1 => (list(), list(), 0..3)
            .prop_map(|(k, l, n)| format!("SORT {k} BY no LIMIT {n} 2 STORE {l}")),
        1 => (list(), list()).prop_map(|(k, l)| format!("RENAME {k} {l}")),
        1 => (list(), list()).prop_map(|(k, l)| format!("COPY {k} {l} REPLACE")),
        1 => (list(), 0..3).prop_map(|(k, n)| format!("MOVE {k} {n}")),
    ]
}

/// A request on sorted sets; they share a key with strings and one with sets.
fn on_sorted_sets() -> impl Strategy<Value = String> {
    let key = || prop::sample::select(vec!["o", "p", "q", "s", "a"]);
    let member = || prop_oneof![4 => "[0-9]{1,2}", 2 => "[a-d]", 1 => "[a-z]{60,70}"];
    let score = || {
        prop_oneof![
            (-9i64..9).prop_map(|n| n.to_string()),
            (-99i64..99).prop_map(|n| (n as f64 / 10.0).to_string()),
            prop::sample::select(vec!["inf", "-inf", "1e30", "-0", "x"]).prop_map(str::to_owned),
        ]
    };
    let option = prop::sample::select(vec!["", " NX", " XX", " GT", " LT", " CH", " XX GT"]);
    let bounds = prop::sample::select(vec!["-inf 0", "(0 5", "2 inf", "x 1", "-inf +inf"]);
    let names = prop::sample::select(vec!["- +", "[1 (b", "(5 [a", "- [3"]);
    let ranks = || prop::sample::select(vec!["0 0", "-2 -1", "1 2", "0 -1", "5 1"]);
    let operation = prop::sample::select(vec!["UNION", "INTER"]);
    let aggregate = prop::sample::select(vec!["SUM", "MIN", "MAX"]);
    let end = || prop::sample::select(vec!["MIN", "MAX"]);
    prop_oneof![
        (key(), score(), member(), score(), member(), option)
            .prop_map(|(k, s, m, t, n, o)| format!("ZADD {k}{o} {s} {m} {t} {n}")),
        (key(), score(), member()).prop_map(|(k, s, m)| format!("ZADD {k} INCR {s} {m}")),
        (key(), score(), member()).prop_map(|(k, s, m)| format!("ZINCRBY {k} {s} {m}")),
        (key(), member(), member()).prop_map(|(k, m, n)| format!("ZREM {k} {m} {n}")),
        (key(), ranks()).prop_map(|(k, r)| format!("ZREMRANGEBYRANK {k} {r}")),
        (key(), bounds).prop_map(|(k, b)| format!("ZREMRANGEBYSCORE {k} {b}")),
        (key(), names).prop_map(|(k, n)| format!("ZREMRANGEBYLEX {k} {n}")),
        (key(), end(), 0..4).prop_map(|(k, e, n)| format!("ZPOP{e} {k} {n}")),
        (key(), key(), end(), 1..4)
            .prop_map(|(k, l, e, n)| format!("ZMPOP 2 {k} {l} {e} COUNT {n}")),
        (key(), key(), ranks()).prop_map(|(k, l, r)| format!("ZRANGESTORE {k} {l} {r}")),
        (key(), key(), key(), operation, aggregate).prop_map(|(k, l, m, o, a)| {
            format!("Z{o}STORE {k} 2 {l} {m} WEIGHTS 1.5 -1 AGGREGATE {a}")
        }),
        (key(), key(), key()).prop_map(|(k, l, m)| format!("ZDIFFSTORE {k} 2 {l} {m}")),
        (key(), -9i64..9, -9i64..9, member(), prop::sample::select(vec!["", " CH", " NX", " XX"]))
            .prop_map(|(k, x, y, m, o)| format!("GEOADD {k}{o} {x}.5 {y}.25 {m}")),
        (key(), key(), -9i64..9, 1i64..2000, prop::sample::select(vec!["", " STOREDIST"]))
            .prop_map(|(k, l, x, r, o)| {
                format!("GEOSEARCHSTORE {k} {l} FROMLONLAT {x} 0 BYRADIUS {r} km{o}")
            }),
        (key(), key(), 1i64..2000)
            .prop_map(|(k, l, r)| format!("GEORADIUS {k} 0 0 {r} km STORE {l}")),
        (key(), key()).prop_map(|(k, l)| format!("RENAME {k} {l}")),
        (key(), key()).prop_map(|(k, l)| format!("COPY {k} {l} REPLACE")),
        (key(), -5i64..50).prop_map(|(k, t)| format!("PEXPIRE {k} {t}")),
    ]
}

/// A request on anything.
fn on_anything() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => request(),
        6 => on_collections(),
        6 => on_lists(),
        6 => on_sorted_sets(),
        1 => carried(),
    ]
}

/// DUMP of one key and RESTORE under another, for [`World::carry`].
fn carried() -> impl Strategy<Value = String> {
    let key = || prop::sample::select(vec!["a", "b", "f", "s", "t", "x", "y", "l", "m", "z"]);
    let how = prop::sample::select(vec!["", " REPLACE", " REPLACE", " REPLACE ABSTTL"]);
    (key(), key(), prop::sample::select(vec![0, 0, 0, 5, 50]), how)
        .prop_map(|(from, to, ttl, how)| format!("CARRY {from} {to} {ttl}{how}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn effects_replay_to_the_same_contents(
        steps in prop::collection::vec((on_anything(), 0i64..8, 0usize..3), 1..60),
        shards in 1usize..4,
    ) {
        let mut live = World::sharded(shards);
        // Small, so that collections of a few elements change their form.
        (live.shapes.hash_entries, live.shapes.set_intset, live.shapes.set_entries) = (2, 2, 3);
        (live.shapes.list.size, live.shapes.list.depth) = (3, 1);
        live.shapes.zset_entries = 3;
        let mut second = World::sharded(shards);
        let mut third = World::new();
        for (request, pass, db) in &steps {
            live.now_ms += pass;
            live.db = *db;
            let before = live.contents();
            live.run_or_carry(request);
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
