//! What is known of keys' use after commands, as the clock goes on.

use crate::command::harness::World;
use crate::keyspace::Noted;
use crate::value::shapes::Shapes;

const COUNT: Noted = Noted::Count { log_factor: 0, decay_minutes: 1 };

fn pass(w: &mut World, seconds: i64) {
    w.now_ms += seconds * 1000;
}

fn idle(w: &mut World, key: &str) -> String {
    w.run(&format!("OBJECT IDLETIME {key}"))
}

/// Values of every type, small or with structures of their own.
const ALL: &[&str] = &[
    "SET s abcdef",
    "SET n 5",
    "RPUSH l a b c",
    "HSET h a 1 b 2",
    "SADD t a b c",
    "ZADD z 1 a 2 b",
    "XADD x 1-1 a b",
    "XGROUP CREATE x g 0",
];

fn filled(shapes: Shapes) -> World {
    let mut w = World::new();
    w.shapes = shapes;
    ALL.iter().for_each(|line| assert!(!w.run(line).starts_with('-'), "{line}"));
    w
}

#[test]
fn keys_age_until_they_are_used() {
    let large = Shapes { hash_entries: 0, set_entries: 0, zset_entries: 0, ..Shapes::DEFAULT };
    for shapes in [Shapes::DEFAULT, large] {
        for (key, uses) in [
            ("s", "GET s;STRLEN s;SET s x;APPEND s x;SETRANGE s 1 y;EXPIRE s 99;PERSIST s;TOUCH s"),
            ("n", "INCR n;GETEX n;MGET n;DUMP n;INCRBYFLOAT n 1"),
            ("l", "LLEN l;LPUSH l x;RPOP l;LSET l 0 y;LINDEX l 0;LTRIM l 0 9;SORT l ALPHA"),
            ("h", "HGET h a;HSET h a 2;HSET h c 3;HDEL h c;HDEL h none;HLEN h;HINCRBY h a 1"),
            ("t", "SADD t x;SADD t x;SREM t x;SISMEMBER t a;SINTER t t;SCARD t"),
            ("z", "ZADD z 3 c;ZADD z 3 c;ZREM z c;ZSCORE z a;ZINCRBY z 1 a;ZUNION 1 z;ZCARD z"),
            ("x", "XADD x * a b;XLEN x;XRANGE x - +;XGROUP SETID x g 0;XDEL x 1-1"),
        ] {
            let mut w = filled(shapes);
            pass(&mut w, 1000);
            assert_eq!(idle(&mut w, key), ":1000");
            for line in uses.split(';') {
                assert!(!w.run(line).starts_with('-'), "{line}");
                assert_eq!(idle(&mut w, key), ":0", "{line}");
                pass(&mut w, 70);
                for look in ["TTL", "PTTL", "EXPIRETIME", "TYPE", "EXISTS", "OBJECT ENCODING"] {
                    w.run(&format!("{look} {key}"));
                }
                for look in ["MEMORY USAGE", "DEBUG OBJECT", "DEBUG DIGEST-VALUE"] {
                    assert!(!w.run(&format!("{look} {key}")).starts_with('-'));
                }
                ["SCAN 0 TYPE string", "KEYS *", "RANDOMKEY"].iter().for_each(|l| drop(w.run(l)));
                assert_eq!(idle(&mut w, key), ":70", "behind {line}");
                w.quiet = true;
                assert!(!w.run(line).starts_with('-'), "{line}");
                assert_eq!(idle(&mut w, key), ":70", "{line}, quietly");
                w.quiet = false;
            }
        }
    }
}

#[test]
fn what_a_key_is_elsewhere() {
    let mut w = World::new();
    w.run("SET a 1");
    pass(&mut w, 50);
    w.run("COPY a b");
    assert_eq!((idle(&mut w, "a"), idle(&mut w, "b")), (":0".into(), ":0".into()));
    pass(&mut w, 50);
    w.run("RENAME a c");
    w.run("MOVE b 3");
    assert_eq!((idle(&mut w, "c"), idle(&mut w, "b")), (":0".into(), "$-1".into()));
    w.db = 3;
    assert_eq!(idle(&mut w, "b"), ":0");
    pass(&mut w, 9);
    // The long way of putting a value in another's place: it does not fit where that was.
    w.quiet = true;
    w.run(&format!("SET b {}", "x".repeat(5000)));
    assert_eq!(idle(&mut w, "b"), ":9");
    w.run("PEXPIREAT b 9999999999999");
    assert_eq!(idle(&mut w, "b"), ":9");
    w.run("SET new 1");
    assert_eq!(idle(&mut w, "new"), ":0");
    w.quiet = false;
    pass(&mut w, 1);
    assert!(w.run("DEBUG OBJECT b").ends_with("lru_seconds_idle:10"));
}

#[test]
fn restore_says_how_a_key_was_used() {
    let mut w = World::new();
    w.run("SET k abc");
    w.effects();
    let restore = |w: &mut World, option: &str| {
        w.run_or_carry(format!("CARRY k l 0 REPLACE {option}").trim_end());
        w.effects()
    };
    let logged = restore(&mut w, "IDLETIME 500");
    assert!(logged.ends_with("REPLACE ABSTTL IDLETIME 500"), "{logged}");
    assert_eq!(idle(&mut w, "l"), ":500");
    pass(&mut w, 3);
    assert_eq!(idle(&mut w, "l"), ":503");
    let logged = restore(&mut w, "FREQ 9");
    assert!(logged.ends_with("REPLACE ABSTTL FREQ 9"), "{logged}");
    assert_eq!(idle(&mut w, "l"), ":0", "it does not fit the policy");
    assert!(restore(&mut w, "").ends_with("REPLACE ABSTTL"));
    w.noted = COUNT;
    restore(&mut w, "FREQ 9");
    assert_eq!(w.run("OBJECT FREQ l"), ":9");
    restore(&mut w, "IDLETIME 9");
    assert_eq!(w.run("OBJECT FREQ l"), ":5");
}

#[test]
fn uses_are_counted_once_per_command() {
    let mut w = World::new();
    w.noted = COUNT;
    w.run("SET k 1");
    assert_eq!(w.run("OBJECT FREQ k"), ":5");
    for (n, line) in ["GET k", "INCR k", "APPEND k x", "SET k 2", "SET k 3 GET", "EXPIRE k 900"]
        .iter()
        .enumerate()
    {
        w.run(line);
        assert_eq!(w.run("OBJECT FREQ k"), format!(":{}", n + 6), "{line}");
    }
    // By time, and what was lost so comes back by use alone.
    pass(&mut w, 180);
    assert_eq!(w.run("OBJECT FREQ k"), ":8");
    w.run("GET k");
    assert_eq!(w.run("OBJECT FREQ k"), ":9");
    w.run("PERSIST k");
    pass(&mut w, 6000);
    assert_eq!(w.run("OBJECT FREQ k"), ":0");
    assert_eq!(w.run("OBJECT FREQ none"), "$-1");
    assert!(w.run("OBJECT IDLETIME none").starts_with("$-1"));
    let error = idle(&mut w, "k");
    assert!(error.starts_with("-ERR An LFU maxmemory policy is selected, idle time not tracked."));
    w.quiet = true;
    let before = w.run("OBJECT FREQ k");
    w.run("GET k");
    assert_eq!(w.run("OBJECT FREQ k"), before);
    w.run("SET born 1");
    assert_eq!(w.run("OBJECT FREQ born"), ":5");
}
