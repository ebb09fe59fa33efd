//! What stream commands answer and log.

use crate::command::harness::World;

use proptest::prelude::*;

/// The milliseconds at which the clock stands first.
const NOW: &str = "1700000000000";

#[test]
fn entries_come_and_go() {
    let mut w = World::new();
    w.check(&[
        ("XADD s 1-1 a 1 b two", "$3 1-1", "XADD s 1-1 a 1 b two"),
        (
            "XADD s 1-1 a 1",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
            "",
        ),
        ("XADD s 0-0 a 1", "-ERR The ID specified in XADD must be greater than 0-0", ""),
        ("XADD s 1-* a 1", "$3 1-2", "XADD s 1-2 a 1"),
        ("XADD s 2 a 1", "$3 2-0", "XADD s 2 a 1"),
        (
            "XADD s 1-* a 1",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
            "",
        ),
        ("XADD s * c 3", "$15 1700000000000-0", "XADD s 1700000000000-0 c 3"),
        ("XADD s * c 4", "$15 1700000000000-1", "XADD s 1700000000000-1 c 4"),
        ("XADD s 2 a", "-ERR wrong number of arguments for 'xadd' command", ""),
        ("XADD s x a b", "-ERR Invalid stream ID specified as stream command argument", ""),
        ("XADD none NOMKSTREAM * a b", "$-1", ""),
        ("XLEN s", ":5", ""),
        ("XLEN none", ":0", ""),
        ("TYPE s", "+stream", ""),
        ("OBJECT ENCODING s", "$6 stream", ""),
        ("XRANGE s - + COUNT 1", "*1 *2 $3 1-1 *4 $1 a $1 1 $1 b $3 two", ""),
        ("XRANGE s (1-1 2", "*2 *2 $3 1-2 *2 $1 a $1 1 *2 $3 2-0 *2 $1 a $1 1", ""),
        ("XREVRANGE s (2-0 - COUNT 1", "*1 *2 $3 1-2 *2 $1 a $1 1", ""),
        ("XRANGE s - + COUNT 0", "*-1", ""),
        ("XRANGE none - + COUNT 0", "*0", ""),
        ("XRANGE s (+ -", "-ERR Invalid stream ID specified as stream command argument", ""),
        ("XDEL s 1-2 1-2 9-9", ":1", "XDEL s 1-2 1-2 9-9"),
        ("XDEL s 1-2", ":0", ""),
        ("XRANGE s 1 1", "*1 *2 $3 1-1 *4 $1 a $1 1 $1 b $3 two", ""),
        ("XTRIM s MAXLEN 3", ":1", "XTRIM s MAXLEN 3"),
        ("XTRIM s MAXLEN 3", ":0", ""),
        ("XTRIM s MINID ~ 5", ":0", ""),
        (
            "XSETID s 3",
            "-ERR The ID specified in XSETID is smaller than the target stream top item",
            "",
        ),
        (
            "XSETID s 1800000000000-0 ENTRIESADDED 9",
            "+OK",
            "XSETID s 1800000000000-0 ENTRIESADDED 9",
        ),
        ("XADD s * a b", "$15 1800000000000-1", "XADD s 1800000000000-1 a b"),
        (
            "XDEL s 1700000000000-0 1700000000000-1 1800000000000-1 2-0",
            ":4",
            "XDEL s 1700000000000-0 1700000000000-1 1800000000000-1 2-0",
        ),
        ("EXISTS s", ":1", ""),
        (
            "XSETID s 2",
            "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
            "",
        ),
    ]);
}

#[test]
fn other_types_are_refused() {
    let mut w = World::new();
    w.run("XADD s 1 a b");
    w.effects();
    w.check(&[
        ("SET k v", "+OK", "SET k v"),
        ("XADD k * a b", "-WRONGTYPE Operation against a key holding the wrong kind of value", ""),
        ("XLEN k", "-WRONGTYPE Operation against a key holding the wrong kind of value", ""),
        (
            "XREAD STREAMS k 0",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
            "",
        ),
        ("GET s", "-WRONGTYPE Operation against a key holding the wrong kind of value", ""),
    ]);
}

#[test]
fn trimming_of_whole_nodes_is_logged_as_it_turned_out() {
    let mut w = World::new();
    w.shapes.stream_node.entries = 3;
    for n in 1..=10 {
        w.run(&format!("XADD s {n} a b"));
    }
    w.effects();
    w.check(&[
        ("XTRIM s MAXLEN ~ 5", ":3", "XTRIM s MAXLEN = 7"),
        ("XTRIM s MINID ~ 7 LIMIT 2", ":0", ""),
        ("XTRIM s MINID ~ 8 LIMIT 10", ":3", "XTRIM s MINID = 7-0"),
        (
            "XADD s MAXLEN ~ 1 LIMIT 3 * x y",
            "$15 1700000000000-0",
            "XADD s MAXLEN = 2 1700000000000-0 x y",
        ),
        (
            "XADD s MINID ~ 1900000000000 1700000000000-* x y",
            "$15 1700000000000-1",
            "XADD s MINID = 18446744073709551615-18446744073709551615 1700000000000-1 x y",
        ),
        ("XADD s MAXLEN = 1 * x y", "$15 1700000000000-2", "XADD s MAXLEN = 1 1700000000000-2 x y"),
        (
            "XTRIM s MAXLEN 1 LIMIT 5",
            "-ERR syntax error, LIMIT cannot be used without the special ~ option",
            "",
        ),
        ("XTRIM s MAXLEN -1", "-ERR The MAXLEN argument must be >= 0.", ""),
        (
            "XTRIM s MAXLEN 1 MINID 1",
            "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            "",
        ),
        (
            "XTRIM s LIMIT 1",
            "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            "",
        ),
        ("XTRIM s LIMIT 0", "-ERR syntax error, XTRIM must be called with a trimming strategy", ""),
    ]);
}

#[test]
fn streams_are_read() {
    let mut w = World::sharded(3);
    for key in ["a", "b", "c"] {
        w.run(&format!("XADD {key} 1 f v"));
        w.run(&format!("XADD {key} 2 f w"));
    }
    w.effects();
    w.check(&[
        (
            "XREAD COUNT 1 STREAMS a b none c 0 1 0 $",
            "*2 *2 $1 a *1 *2 $3 1-0 *2 $1 f $1 v *2 $1 b *1 *2 $3 2-0 *2 $1 f $1 w",
            "",
        ),
        ("XREAD STREAMS a b $ 2", "*-1", ""),
        ("XREAD BLOCK 5 STREAMS a $", "*-1", ""),
        ("XREAD STREAMS a +", "*1 *2 $1 a *1 *2 $3 2-0 *2 $1 f $1 w", ""),
        ("XREAD BLOCK -1 STREAMS a $", "-ERR timeout is negative", ""),
        ("XREAD BLOCK x STREAMS a $", "-ERR timeout is not an integer or out of range", ""),
        (
            "XREAD STREAMS a b 0",
            "-ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must \
             be specified.",
            "",
        ),
        (
            "XREAD STREAMS a >",
            "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
             <group> <consumer> option.",
            "",
        ),
        (
            "XREAD NOACK STREAMS a 0",
            "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
            "",
        ),
        ("XREAD COUNT 2 a b", "-ERR syntax error", ""),
    ]);
    w.resp3 = true;
    assert_eq!(
        w.run("XREAD STREAMS a b 1 1"),
        "%2 $1 a *1 *2 $3 2-0 *2 $1 f $1 w $1 b *1 *2 $3 2-0 *2 $1 f $1 w"
    );
    assert_eq!(w.run("XREAD STREAMS a b 5 5"), "_");
}

#[test]
fn groups_that_are_not_there_are_missed() {
    let mut w = World::new();
    w.run("XADD s 1 a b");
    w.effects();
    w.check(&[
        (
            "XGROUP CREATE none g 0",
            "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you \
             may want to use the MKSTREAM option to create an empty stream automatically.",
            "",
        ),
        (
            "XREADGROUP GROUP none c STREAMS s >",
            "-NOGROUP No such key 's' or consumer group 'none' in XREADGROUP with GROUP \
             option",
            "",
        ),
    ]);
}

#[test]
fn groups_share_a_stream() {
    let mut w = World::new();
    for n in 1..=4 {
        w.run(&format!("XADD s {n} a {n}"));
    }
    w.effects();
    let claim = |ids: &str, count: u32, last: u32| {
        format!("XCLAIM s g c 0 {ids} TIME {NOW} RETRYCOUNT {count} FORCE JUSTID LASTID {last}-0")
    };
    let given = format!(
        "XGROUP CREATECONSUMER s g c | {} | XGROUP SETID s g 2-0 ENTRIESREAD 2",
        claim("1-0 2-0", 1, 2)
    );
    let moved = format!("XCLAIM s g d 0 1-0 TIME {NOW} RETRYCOUNT 3 FORCE JUSTID LASTID 3-0");
    let gone = format!(
        "XGROUP CREATECONSUMER s g e | \
         XCLAIM s g e 0 2-0 TIME {NOW} RETRYCOUNT 2 FORCE JUSTID LASTID 3-0"
    );
    let both =
        format!("{gone} | XCLAIM s g e 0 1-0 TIME {NOW} RETRYCOUNT 4 FORCE JUSTID LASTID 3-0");
    w.check(&[
        ("XGROUP CREATE s g 0", "+OK", "XGROUP CREATE s g 0"),
        ("XGROUP CREATE s g 0", "-BUSYGROUP Consumer Group name already exists", ""),
        (
            "XREADGROUP GROUP g c COUNT 2 STREAMS s >",
            "*1 *2 $1 s *2 *2 $3 1-0 *2 $1 a $1 1 *2 $3 2-0 *2 $1 a $1 2",
            &given,
        ),
        (
            "XREADGROUP GROUP g d NOACK COUNT 1 STREAMS s >",
            "*1 *2 $1 s *1 *2 $3 3-0 *2 $1 a $1 3",
            "XGROUP CREATECONSUMER s g d | XGROUP SETID s g 3-0 ENTRIESREAD 3",
        ),
        (
            "XREADGROUP GROUP g c STREAMS s 0",
            "*1 *2 $1 s *2 *2 $3 1-0 *2 $1 a $1 1 *2 $3 2-0 *2 $1 a $1 2",
            &claim("1-0 2-0", 2, 3),
        ),
        ("XPENDING s g", "*4 :2 $3 1-0 $3 2-0 *1 *2 $1 c $1 2", ""),
        ("XPENDING s g - + 9 d", "*0", ""),
        ("XPENDING s g IDLE 1 - + 9", "*0", ""),
        ("XCLAIM s g d 0 1-0 9-0", "*1 *2 $3 1-0 *2 $1 a $1 1", &moved),
        ("XPENDING s g - + 9", "*2 *4 $3 1-0 $1 d :0 :3 *4 $3 2-0 $1 c :0 :2", ""),
        ("XDEL s 2", ":1", "XDEL s 2"),
        ("XREADGROUP GROUP g c STREAMS s 0", "*1 *2 $1 s *1 *2 $3 2-0 *-1", ""),
        ("XAUTOCLAIM s g e 0 (1 COUNT 1 JUSTID", "*3 $3 0-0 *0 *1 $3 2-0", &gone),
        (
            "XAUTOCLAIM s g e 0 0",
            "*3 $3 0-0 *1 *2 $3 1-0 *2 $1 a $1 1 *0",
            both.rsplit(" | ").next().unwrap(),
        ),
        ("XACK s g 1 1", ":1", "XACK s g 1 1"),
        ("XACK s none 1", ":0", ""),
        ("XGROUP DELCONSUMER s g c", ":0", "XGROUP DELCONSUMER s g c"),
        ("XGROUP DESTROY s g", ":1", "XGROUP DESTROY s g"),
        ("XGROUP DESTROY s g", ":0", ""),
        (
            "XINFO STREAM s FULL x",
            "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO \
             HELP.",
            "",
        ),
    ]);
}

#[test]
fn what_is_known_is_told() {
    let mut w = World::new();
    w.run("XADD s 1 a b");
    w.run("XGROUP CREATE s g 0");
    w.run("XREADGROUP GROUP g c STREAMS s >");
    w.run("XGROUP CREATECONSUMER s g idle");
    w.now_ms += 5;
    assert_eq!(
        w.run("XINFO CONSUMERS s g"),
        "*2 *8 $4 name $1 c $7 pending :1 $4 idle :5 $8 inactive :5 \
         *8 $4 name $4 idle $7 pending :0 $4 idle :5 $8 inactive :-1"
    );
    assert_eq!(
        w.run("XINFO GROUPS s"),
        "*1 *12 $4 name $1 g $9 consumers :2 $7 pending :1 $17 last-delivered-id $3 1-0 \
         $12 entries-read :1 $3 lag :0"
    );
    assert!(
        w.run("XINFO STREAM s")
            .starts_with("*20 $6 length :1 $15 radix-tree-keys :1 $16 radix-tree-nodes :2")
    );
    w.resp3 = true;
    assert_eq!(
        w.run("XINFO STREAM s FULL"),
        "%9 $6 length :1 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 \
         $17 last-generated-id $3 1-0 $20 max-deleted-entry-id $3 0-0 $13 entries-added :1 \
         $23 recorded-first-entry-id $3 1-0 \
         $7 entries *1 *2 $3 1-0 *2 $1 a $1 b $6 groups *1 %7 $4 name $1 g $17 last-delivered-id \
         $3 1-0 $12 entries-read :1 $3 lag :0 $9 pel-count :1 $7 pending *1 *4 $3 1-0 $1 c \
         :1700000000000 :1 $9 consumers *2 %5 $4 name $1 c $9 seen-time :1700000000000 \
         $11 active-time :1700000000000 $9 pel-count :1 $7 pending *1 *3 $3 1-0 :1700000000000 :1 \
         %5 $4 name $4 idle $9 seen-time :1700000000000 $11 active-time :-1 $9 pel-count :0 \
         $7 pending *0"
    );
}

#[test]
fn a_copied_stream_is_logged_whole() {
    let mut w = World::new();
    for n in 1..=3 {
        w.run(&format!("XADD s {n} a {n}"));
    }
    w.run("XGROUP CREATE s g 0");
    w.run("XREADGROUP GROUP g c STREAMS s >");
    w.run("XTRIM s MAXLEN 2");
    w.run("XDEL s 3");
    w.effects();
    w.run("COPY s t");
    let log = format!(
        "DEL t | XADD t 1-0 x y | XADD t 2-0 a 2 | XADD t 3-0 x y | \
         XGROUP CREATE t g 3-0 ENTRIESREAD 3 | XGROUP CREATECONSUMER t g c | \
         XCLAIM t g c 0 1-0 2-0 3-0 TIME {NOW} RETRYCOUNT 1 FORCE JUSTID | \
         XTRIM t MINID = 2-0 | XDEL t 3-0 | XSETID t 3-0 ENTRIESADDED 3 MAXDELETEDID 3-0"
    );
    assert_eq!(w.effects(), log);
    w.run("XGROUP CREATE e g 5 MKSTREAM");
    w.effects();
    w.run("RENAME e f");
    assert!(w.effects().ends_with(
        "XADD f MAXLEN 0 0-1 x y | XGROUP CREATE f g 5-0 ENTRIESREAD -1 | \
         XSETID f 0-0 ENTRIESADDED 0 MAXDELETEDID 0-0"
    ));
}

/// A request on streams; they share a key with strings.
fn request() -> impl Strategy<Value = String> {
    let key = || prop::sample::select(vec!["s", "t", "u", "a"]);
    let group = || prop::sample::select(vec!["g", "h"]);
    let consumer = || prop::sample::select(vec!["c", "d", "e"]);
    let id = || prop_oneof![(0_u64..40).prop_map(|ms| format!("{ms}-0")), Just("0".to_owned())];
    let trim = || {
        prop_oneof![
            (0..12).prop_map(|n| format!("MAXLEN ~ {n}")),
            (0..12).prop_map(|n| format!("MAXLEN {n}")),
            (0..40).prop_map(|n| format!("MINID ~ {n}")),
            (0..40, 1..9).prop_map(|(n, l)| format!("MINID ~ {n} LIMIT {l}")),
        ]
    };
    let new_id = prop_oneof![
        4 => (0..40).prop_map(|ms| format!("{ms}-*")),
        1 => Just("*".to_owned()),
        1 => id(),
    ];
    let from = prop_oneof![4 => Just(">".to_owned()), 1 => id()];
    let option = prop::sample::select(vec!["", " JUSTID", " FORCE", " RETRYCOUNT 3", " IDLE 9"]);
    prop_oneof![
        12 => (key(), new_id.clone()).prop_map(|(k, i)| format!("XADD {k} {i} a 1 b two")),
        4 => (key(), new_id.clone()).prop_map(|(k, i)| format!("XADD {k} {i} a x c ''")),
        3 => (key(), trim(), new_id).prop_map(|(k, t, i)| format!("XADD {k} {t} {i} a 1")),
        4 => (key(), id(), id()).prop_map(|(k, i, j)| format!("XDEL {k} {i} {j}")),
        2 => (key(), trim()).prop_map(|(k, t)| format!("XTRIM {k} {t}")),
        1 => key().prop_map(|k| format!("XSETID {k} 1900000000000 ENTRIESADDED 99")),
        3 => (key(), group(), id())
            .prop_map(|(k, g, i)| format!("XGROUP CREATE {k} {g} {i} MKSTREAM")),
        1 => (key(), group(), id()).prop_map(|(k, g, i)| format!("XGROUP SETID {k} {g} {i}")),
        1 => (key(), group()).prop_map(|(k, g)| format!("XGROUP DESTROY {k} {g}")),
        1 => (key(), group(), consumer())
            .prop_map(|(k, g, c)| format!("XGROUP CREATECONSUMER {k} {g} {c}")),
        1 => (key(), group(), consumer())
            .prop_map(|(k, g, c)| format!("XGROUP DELCONSUMER {k} {g} {c}")),
        8 => (key(), group(), consumer(), 1..4, from)
            .prop_map(|(k, g, c, n, f)| {
                format!("XREADGROUP GROUP {g} {c} COUNT {n} STREAMS {k} {f}")
            }),
        2 => (key(), key(), group(), consumer())
            .prop_map(|(k, l, g, c)| format!("XREADGROUP GROUP {g} {c} NOACK STREAMS {k} {l} > >")),
        3 => (key(), group(), id(), id()).prop_map(|(k, g, i, j)| format!("XACK {k} {g} {i} {j}")),
        3 => (key(), group(), consumer(), id(), id(), option)
            .prop_map(|(k, g, c, i, j, o)| format!("XCLAIM {k} {g} {c} 0 {i} {j}{o}")),
        1 => (key(), group(), consumer(), id(), id())
            .prop_map(|(k, g, c, i, j)| format!("XCLAIM {k} {g} {c} 0 {i} LASTID {j}")),
        2 => (key(), group(), consumer(), 0..6, 1..4)
            .prop_map(|(k, g, c, t, n)| format!("XAUTOCLAIM {k} {g} {c} {t} - COUNT {n}")),
        1 => (key(), key()).prop_map(|(k, l)| format!("RENAME {k} {l}")),
        1 => (key(), key()).prop_map(|(k, l)| format!("COPY {k} {l} REPLACE")),
        1 => (key(), 0..3).prop_map(|(k, n)| format!("MOVE {k} {n}")),
        1 => (key(), -5i64..50).prop_map(|(k, t)| format!("PEXPIRE {k} {t}")),
        1 => Just("SET a 1".to_owned()),
        1 => key().prop_map(|k| format!("DEL {k}")),
        1 => key().prop_map(|k| format!("XINFO STREAM {k} FULL")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn effects_replay_to_the_same_streams(
        steps in prop::collection::vec((request(), 0i64..8, 0usize..2), 1..80),
        shards in 1usize..4,
    ) {
        let mut live = World::sharded(shards);
        live.shapes.stream_node.entries = 3;
        let mut second = World::sharded(shards);
        second.shapes = live.shapes;
        // Nodes may be filled otherwise by who reads the log.
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
