//! What is known of keys' use: which commands are a use of a key, as redis-server judges, and files
//! that say how long ago or how often keys were used, both ways.
//!
//! Nothing waits: a key that RESTORE says was idle for long was used if it is not idle any more.

use super::bulk;
use crate::support::server::{Home, fresh_home, judged_by_peer};
use crate::support::{Client, Options, Server, Value};

/// What RESTORE says of each key: seconds, and a counter.
const IDLE: i64 = 1000;
const COUNTER: i64 = 100;
/// Two servers answer one after another; seconds.
const APART: i64 = 300;

const SETUP: &[&str] = &[
    "SET s value",
    // In Redis small numbers are one value for all keys.
    "SET n 100000",
    "RPUSH l a b c",
    "HSET h a 1 b 2",
    "SADD set a b c",
    "SADD set2 c d",
    "ZADD z 1 a 2 b",
    "GEOADD g 1 1 p 2 2 q",
    "PFADD p a",
    "PFADD p2 b",
    "XADD x 1-1 a b",
    "XADD x 2-1 a b",
    "XGROUP CREATE x g 0",
];

const KEYS: &[&str] = &["s", "n", "l", "h", "set", "set2", "z", "g", "p", "p2", "x"];
/// Keys that commands make.
const MADE: &[&str] = &["dest", "new", "other"];

/// Each is run by itself.
const COMMANDS: &str = "
    GET s
    GETRANGE s 0 1
    SUBSTR s 0 1
    STRLEN s
    GETEX s
    GETEX s EX 100
    GETEX s PERSIST
    GETDEL s
    GETSET s w
    SET s w
    SET s w KEEPTTL
    SET s w XX
    SET s w NX
    SET s w GET
    SET new w
    SETNX s w
    SETEX s 100 w
    MSET s w n w new w
    MSETNX s w other w
    APPEND s w
    SETRANGE s 1 x
    SETBIT s 7 1
    GETBIT s 7
    BITCOUNT s
    BITPOS s 1
    BITFIELD s GET u8 0
    BITFIELD s SET u8 0 1
    BITFIELD_RO s GET u8 0
    BITOP AND dest s n
    BITOP AND s s n
    LCS s n
    MGET s n none
    INCR n
    DECRBY n 5
    INCRBYFLOAT n 1.5
    INCR s
    TTL s
    PTTL s
    EXPIRETIME s
    PEXPIRETIME s
    TYPE s
    EXISTS s n
    TOUCH s n
    OBJECT ENCODING s
    OBJECT REFCOUNT s
    OBJECT IDLETIME s
    OBJECT FREQ s
    MEMORY USAGE s
    DEBUG OBJECT s
    DEBUG DIGEST-VALUE s
    DEBUG DIGEST
    KEYS *
    SCAN 0
    SCAN 0 TYPE string
    RANDOMKEY
    DBSIZE
    DUMP s
    EXPIRE s 100
    EXPIRE s 100 XX
    PEXPIREAT s 9999999999999
    PERSIST s
    DEL s
    UNLINK s
    RENAME s dest
    RENAMENX s n
    COPY s dest
    COPY s n
    COPY s n REPLACE
    MOVE s 1
    WATCH s
    LPUSH l x
    RPUSHX l x
    LPOP l
    RPOP l 2
    LLEN l
    LRANGE l 0 -1
    LINDEX l 0
    LPOS l a
    LSET l 0 x
    LINSERT l BEFORE a x
    LREM l 0 a
    LREM l 0 none
    LTRIM l 0 1
    LMOVE l l LEFT RIGHT
    RPOPLPUSH l dest
    LMPOP 1 l LEFT
    BLPOP l 0
    BRPOP none l 0
    BLMOVE l dest LEFT RIGHT 0
    BLMPOP 0 1 l LEFT
    SORT l ALPHA
    SORT l BY nosort
    SORT l ALPHA STORE dest
    SORT l BY s* ALPHA
    SORT_RO l ALPHA
    HSET h a 1
    HSET h new 1
    HSETNX h a 1
    HGET h a
    HMGET h a b
    HGETALL h
    HKEYS h
    HLEN h
    HEXISTS h a
    HSTRLEN h a
    HDEL h a
    HDEL h none
    HINCRBY h a 1
    HINCRBYFLOAT h a 1.5
    HRANDFIELD h 1
    HSCAN h 0
    SADD set x
    SADD set a
    SREM set a
    SREM set none
    SISMEMBER set a
    SMISMEMBER set a b
    SMEMBERS set
    SCARD set
    SPOP set
    SPOP set 2
    SRANDMEMBER set
    SRANDMEMBER set 5
    SSCAN set 0
    SMOVE set set2 a
    SMOVE set set2 none
    SINTER set set2
    SINTERCARD 2 set set2
    SUNION set set2
    SDIFF set set2
    SINTERSTORE dest set set2
    SUNIONSTORE set set set2
    SDIFFSTORE dest set set2
    ZADD z 5 a
    ZADD z 1 a
    ZADD z XX 5 none
    ZINCRBY z 1 a
    ZREM z a
    ZREM z none
    ZSCORE z a
    ZMSCORE z a b
    ZCARD z
    ZCOUNT z 0 9
    ZLEXCOUNT z - +
    ZRANK z a
    ZREVRANK z a
    ZRANGE z 0 -1
    ZRANGEBYSCORE z 0 9
    ZRANGEBYLEX z - +
    ZRANGESTORE dest z 0 -1
    ZREMRANGEBYRANK z 0 0
    ZREMRANGEBYSCORE z 90 99
    ZPOPMIN z
    ZMPOP 1 z MIN
    BZPOPMIN z 0
    BZMPOP 0 1 z MIN
    ZRANDMEMBER z
    ZSCAN z 0
    ZUNION 2 z set
    ZINTER 2 z set
    ZDIFF 2 z set
    ZINTERCARD 2 z set
    ZUNIONSTORE dest 2 z set
    ZUNIONSTORE z 2 z set
    ZINTERSTORE dest 2 z set
    ZDIFFSTORE dest 2 z set
    GEOADD g 1 1 new
    GEOPOS g p
    GEODIST g p q
    GEOHASH g p
    GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 9 km
    GEOSEARCHSTORE dest g FROMLONLAT 1 1 BYRADIUS 9999 km
    GEORADIUS g 1 1 9 km
    PFADD p x
    PFADD p a
    PFCOUNT p
    PFCOUNT p p2
    PFMERGE p p2
    PFMERGE dest p
    XADD x * a b
    XADD x NOMKSTREAM * a b
    XLEN x
    XRANGE x - +
    XREVRANGE x + -
    XREAD STREAMS x 0
    XREAD STREAMS x $
    XDEL x 1-1
    XDEL x 9-9
    XTRIM x MAXLEN 1
    XSETID x 9999999999999-1
    XINFO STREAM x
    XINFO GROUPS x
    XINFO CONSUMERS x g
    XGROUP CREATE x g2 0
    XGROUP CREATECONSUMER x g c2
    XGROUP SETID x g 0
    XGROUP DESTROY x g
    XREADGROUP GROUP g c STREAMS x >
    XREADGROUP GROUP g c STREAMS x 0
    XPENDING x g
    XPENDING x g - + 9
    XACK x g 1-1
    XCLAIM x g c 0 1-1
    XAUTOCLAIM x g c 0 0
    LPUSH s x
    GET l
    SADD l x
";

/// Redis counts these twice, because it looks a key up twice; here a command is one use.
const TWICE: &[&str] = &[
    "GETSET s w",
    "SET s w GET",
    "BITOP AND s s n",
    "LMOVE l l LEFT RIGHT",
    "BLMOVE l dest LEFT RIGHT 0",
    "SUNIONSTORE set set set2",
    "BZPOPMIN z 0",
    "BZMPOP 0 1 z MIN",
    "ZUNIONSTORE z 2 z set",
    "PFMERGE p p2",
    "XREAD STREAMS x 0",
    "XREAD STREAMS x $",
    "XREADGROUP GROUP g c STREAMS x >",
    "XREADGROUP GROUP g c STREAMS x 0",
];
/// Since 7.2 a key is new where it is moved to.
const NEW_THERE: &[&str] = &["MOVE s 1", "RENAME s dest"];

/// What is known of a key's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Gone,
    /// Seconds of idleness, or the counter.
    Number(i64),
}

impl Known {
    fn of(client: &mut Client, what: &str, key: &str) -> Known {
        match client.words(&format!("OBJECT {what} {key}")) {
            Value::Int(n) => Known::Number(n),
            other if other.is_null() => Known::Gone,
            other => panic!("{what} of {key}: {other:?}"),
        }
    }

    fn near(self, other: Known) -> bool {
        match (self, other) {
            (Known::Number(a), Known::Number(b)) => (a - b).abs() < APART,
            _ => self == other,
        }
    }
}

fn fine(client: &mut Client, line: &str) {
    let reply = client.words(line);
    assert!(!reply.is_error(), "{line}: {reply:?}");
}

/// Runs the commands under a policy; what is known of each key afterwards.
fn known(client: &mut Client, policy: &str) -> Vec<(String, Vec<Known>)> {
    let (what, option, number) = match policy.ends_with("lfu") {
        true => ("FREQ", "FREQ", COUNTER),
        false => ("IDLETIME", "IDLETIME", IDLE),
    };
    // Every use counts, and none is forgotten.
    fine(client, &format!("CONFIG SET maxmemory-policy {policy} lfu-log-factor 0"));
    fine(client, "CONFIG SET lfu-decay-time 0");
    fine(client, "FLUSHALL");
    SETUP.iter().for_each(|line| fine(client, line));
    let dumps: Vec<Vec<u8>> =
        KEYS.iter().map(|key| bulk(&client.words(&format!("DUMP {key}")))).collect();
    let number = number.to_string();
    let mut all = Vec::new();
    for line in COMMANDS.lines().map(str::trim).filter(|line| !line.is_empty()) {
        fine(client, "FLUSHALL");
        for (key, dump) in KEYS.iter().zip(&dumps) {
            let words: [&[u8]; 6] =
                [b"RESTORE", key.as_bytes(), b"0", dump, option.as_bytes(), number.as_bytes()];
            assert_eq!(client.call(&words), Value::Simple(b"OK".into()), "{key}");
        }
        client.words(line);
        client.words("UNWATCH");
        let mut told: Vec<Known> =
            KEYS.iter().chain(MADE).map(|key| Known::of(client, what, key)).collect();
        fine(client, "SELECT 1");
        told.push(Known::of(client, what, "s"));
        fine(client, "SELECT 0");
        all.push((line.to_owned(), told));
    }
    all
}

/// Collections begin as structures.
const LARGE: &[(&str, &str)] = &[
    ("hash-max-listpack-entries", "0"),
    ("set-max-intset-entries", "0"),
    ("zset-max-listpack-entries", "0"),
    ("list-max-listpack-size", "1"),
    ("hll-sparse-max-bytes", "0"),
];

fn compared(shards: usize, policy: &str, more: &[(&str, &str)]) {
    let options = || {
        let options = Options { appendonly: false, ..Options::shards(shards) };
        let options = options.with("enable-debug-command", "yes").with("save", "");
        more.iter().fold(options, |options, (name, value)| options.with(name, value))
    };
    let what = format!("uses of keys under {policy}");
    let Some(peer) = Server::peer(options(), &what) else { return };
    let server = Server::start(options());
    let theirs = known(&mut peer.client(), policy);
    let ours = known(&mut server.client(), policy);
    assert!(theirs.len() > 200);
    let counts = policy.ends_with("lfu");
    for ((line, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        if counts && NEW_THERE.contains(&line.as_str()) && !judged_by_peer() {
            continue;
        }
        let twice = TWICE.contains(&line.as_str());
        for (key, (theirs, ours)) in
            KEYS.iter().chain(MADE).chain(&["of 1"]).zip(theirs.iter().zip(ours))
        {
            let same = match (theirs, ours) {
                (Known::Number(theirs), Known::Number(ours)) if counts && twice => {
                    theirs == ours || *theirs == COUNTER + 2 && *ours == COUNTER + 1
                }
                _ if counts => theirs == ours,
                _ => theirs.near(*ours),
            };
            assert!(same, "{policy}: {key} after {line}: {theirs:?} and {ours:?}");
        }
    }
}

#[test]
fn redis_sees_the_same_uses_of_keys() {
    compared(2, "noeviction", &[]);
    compared(1, "allkeys-lru", LARGE);
}

#[test]
fn redis_counts_the_same_uses_of_keys() {
    compared(2, "allkeys-lfu", &[]);
    compared(1, "volatile-lfu", LARGE);
}

/// Keys of every kind of writing: short, long, with an expiry, in slices.
fn stored(client: &mut Client, option: &str, number: impl Fn(usize) -> i64) -> Vec<(String, i64)> {
    fine(client, "SET short value");
    fine(client, "SETRANGE long 3000000 end");
    fine(client, "RPUSH list a b c");
    for chunk in 0..40 {
        let members: Vec<String> = (0..500).map(|n| format!("member:{chunk}:{n}")).collect();
        fine(client, &format!("SADD large {}", members.join(" ")));
    }
    let mut all = Vec::new();
    for n in 0..40 {
        for kind in ["short", "long", "list", "large"].iter().take(if n < 3 { 4 } else { 1 }) {
            let (key, number) = (format!("{kind}:{n}"), number(n));
            let payload = bulk(&client.words(&format!("DUMP {kind}")));
            let at: &[u8] = if n % 2 == 0 { b"4102444800000" } else { b"0" };
            let digits = number.to_string();
            let words: [&[u8]; 7] = [
                b"RESTORE",
                key.as_bytes(),
                at,
                &payload,
                b"ABSTTL",
                option.as_bytes(),
                digits.as_bytes(),
            ];
            assert_eq!(client.call(&words), Value::Simple(b"OK".into()), "{key}");
            all.push((key, number));
        }
    }
    all
}

fn options(policy: &str) -> Options {
    let options = Options { appendonly: false, ..Options::shards(2) };
    options.with("maxmemory-policy", policy).with("lfu-decay-time", "0").with("save", "")
}

fn handed_over(server: &Server, name: &str) -> Home {
    fine(&mut server.client(), "SAVE");
    let home = fresh_home();
    std::fs::copy(server.home().path().join(name), home.path().join(name)).expect("the file");
    home
}

fn check(client: &mut Client, what: &str, keys: &[(String, i64)], by: &str) {
    for (key, number) in keys {
        let known = Known::of(client, what, key);
        let right = match what {
            "FREQ" => known == Known::Number(*number),
            _ => known.near(Known::Number(*number)),
        };
        assert!(right, "{by}: {what} of {key}: {number} has become {known:?}");
    }
}

#[test]
fn files_say_how_long_keys_were_idle() {
    let Some(peer) = Server::peer(options("allkeys-lru"), "idle times in files") else { return };
    let ours = Server::start(options("volatile-lru"));
    for (writer, ours_writes) in [(&ours, true), (&peer, false)] {
        let idle = |n: usize| 1_000 * (n as i64 + 1) * if n > 20 { 400 } else { 1 };
        let keys = stored(&mut writer.client(), "IDLETIME", idle);
        let home = handed_over(writer, "dump.rdb");
        let copy = fresh_home();
        let file = |home: &Home| home.path().join("dump.rdb");
        std::fs::copy(file(&home), file(&copy)).expect("a copy");
        let own = Server::start_in(home, options("noeviction"));
        check(&mut own.client(), "IDLETIME", &keys, "our own");
        // What is kept of it there is not written again under a policy that needs none of it.
        let again = Server::start_in(handed_over(&own, "dump.rdb"), options("allkeys-lru"));
        let new: Vec<(String, i64)> = keys.iter().map(|(key, _)| (key.clone(), 0)).collect();
        check(&mut again.client(), "IDLETIME", &new, "without a word");
        if ours_writes {
            let other = Server::peer_in(copy, options("allkeys-lru"), "idle times").expect("it");
            check(&mut other.client(), "IDLETIME", &keys, "redis-server");
        } else {
            let counting = Server::start_in(copy, options("allkeys-lfu"));
            let counted: Vec<_> = keys.iter().map(|(key, _)| (key.clone(), 5)).collect();
            check(&mut counting.client(), "FREQ", &counted, "under another policy");
        }
    }
}

#[test]
fn files_say_how_often_keys_were_used() {
    let Some(peer) = Server::peer(options("allkeys-lfu"), "counters in files") else { return };
    let ours = Server::start(options("volatile-lfu"));
    for (writer, ours_writes) in [(&ours, true), (&peer, false)] {
        let keys = stored(&mut writer.client(), "FREQ", |n| n as i64 * 6 + 7);
        let home = handed_over(writer, "dump.rdb");
        if ours_writes {
            let other = Server::peer_in(home, options("allkeys-lfu"), "counters").expect("it");
            check(&mut other.client(), "FREQ", &keys, "redis-server");
        } else {
            let own = Server::start_in(home, options("allkeys-lfu"));
            check(&mut own.client(), "FREQ", &keys, "our own");
        }
    }
}

/// The log says what RESTORE said, and the data made anew out of a file keeps it.
#[test]
fn logs_and_reloads_keep_what_was_said() {
    let options = |policy: &str| {
        let options = Options { fsync: "always", ..Options::shards(2) };
        options.with("maxmemory-policy", policy).with("enable-debug-command", "yes")
    };
    for (policy, what, number) in [("allkeys-lru", "IDLETIME", 5000), ("allkeys-lfu", "FREQ", 77)] {
        let server = Server::start(options(policy).with("lfu-decay-time", "0"));
        let keys = stored(&mut server.client(), what, |_| number);
        check(&mut server.client(), what, &keys, "at once");
        fine(&mut server.client(), "DEBUG RELOAD");
        check(&mut server.client(), what, &keys, "behind DEBUG RELOAD");
        let stopped = server.kill();
        let copy = crate::support::server::copy_home(stopped.path());
        let again = stopped.restart();
        check(&mut again.client(), what, &keys, "behind a restart");
        let more = options(policy).with("lfu-decay-time", "0");
        let Some(peer) = Server::peer_in(copy, more, "uses in logs") else { return };
        check(&mut peer.client(), what, &keys, "redis-server");
    }
}

/// A client that is not to be seen: 7.2 knows it, the peer does not.
#[test]
fn no_touch_leaves_no_trace() {
    if judged_by_peer() {
        return;
    }
    let server = Server::start(options("noeviction"));
    let mut client = server.client();
    let names: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
    let old = |client: &mut Client| {
        fine(client, "FLUSHALL");
        fine(client, "RPUSH list a b c");
        let payload = bulk(&client.words("DUMP list"));
        for name in &names {
            let words: [&[u8]; 6] =
                [b"RESTORE", name.as_bytes(), b"0", &payload, b"IDLETIME", b"1000"];
            assert_eq!(client.call(&words), Value::Simple(b"OK".into()));
        }
    };
    let idle = |server: &Server, expected: i64, by: &str| {
        let keys: Vec<_> = names.iter().map(|name| (name.clone(), expected)).collect();
        check(&mut server.client(), "IDLETIME", &keys, by);
    };
    let each = |client: &mut Client, line: &str| {
        for name in &names {
            client.words(&line.replace('$', name));
        }
    };
    let transaction = |client: &mut Client, line: &str| {
        fine(client, "MULTI");
        each(client, line);
        assert_eq!(client.words("EXEC").items().map(<[Value]>::len), Some(names.len()));
    };
    let lines =
        ["LRANGE $ 0 -1", "RPUSH $ x", "LPOP $", "BLPOP $ 0", "EXPIRE $ 1000", "SORT $ ALPHA"];
    for quiet in [true, false] {
        let expected = if quiet { 1000 } else { 0 };
        for line in lines {
            old(&mut client);
            fine(&mut client, if quiet { "CLIENT NO-TOUCH ON" } else { "CLIENT NO-TOUCH OFF" });
            each(&mut client, line);
            idle(&server, expected, line);
            fine(&mut client, "CLIENT NO-TOUCH OFF");
            old(&mut client);
            fine(&mut client, if quiet { "CLIENT NO-TOUCH ON" } else { "CLIENT NO-TOUCH OFF" });
            transaction(&mut client, line);
            idle(&server, expected, &format!("{line} in a transaction"));
            fine(&mut client, "CLIENT NO-TOUCH OFF");
        }
    }
    // TOUCH is what it says, and another client's commands are seen.
    old(&mut client);
    fine(&mut client, "CLIENT NO-TOUCH ON");
    assert_eq!(client.words(&format!("TOUCH {}", names.join(" "))), Value::Int(8));
    idle(&server, 0, "TOUCH");
    old(&mut client);
    let mut other = server.client();
    each(&mut client, "LLEN $");
    idle(&server, 1000, "LLEN");
    each(&mut other, "LLEN $");
    idle(&server, 0, "LLEN of another");
}
