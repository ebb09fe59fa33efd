//! DEBUG LOADAOF: what was logged gives the same data, at any moment.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::interop::rewrite::until_rewritten;
use crate::support::{Client, Options, Server, Value};

fn server(shards: usize, fsync: &'static str) -> Server {
    let options = Options { fsync, ..Options::shards(shards) };
    Server::start(options.with("enable-debug-command", "yes"))
}

/// A small random number from a running state.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// One write of any kind; `n` tells them apart.
fn write(state: &mut u64, n: u64) -> Vec<String> {
    let key = |state: &mut u64| format!("k{}", draw(state, 300));
    let (k, other, small) = (key(state), key(state), draw(state, 100));
    match draw(state, 40) {
        0..=3 => vec![format!("SET {k} v{n}")],
        4..=5 => vec![format!("SET {k} v{n} EX {}", 10_000 + small)],
        6 => vec![format!("SET gone{small} v{n} PX 1")],
        7 => vec![format!("SET {k} v{n} PXAT 1")],
        8 => vec![format!("SET {k} {n} KEEPTTL GET")],
        9..=10 => vec![format!("APPEND {k} a{n}")],
        11 => vec![format!("SETRANGE {k} {small} r{n}")],
        12..=13 => vec![format!("SETBIT bits{small} {} 1", draw(state, 5000))],
        14 => vec![format!("BITFIELD field{small} INCRBY u16 {small} 7 SET i8 0 -3")],
        15 => vec![format!("BITOP XOR {{{k}}}x {{{k}}}x bits{small}")],
        16..=18 => vec![format!("PFADD hll{} e{n} f{small}", small % 7)],
        19 => vec![format!("PFMERGE hll{} hll{} hll3", small % 7, (small + 1) % 7)],
        20 => vec![format!("INCR c{small}")],
        21 => vec![format!("INCRBYFLOAT f{small} 1.5")],
        22..=23 => vec![format!("MSET {k} m{n} {other} m{n} x{small} {n}")],
        24 => vec![format!("MSETNX {k} m{n} new{n} 1")],
        25 => vec![format!("SET {k} v"), format!("RENAME {k} {other}")],
        26 => vec![format!("COPY {k} {other} REPLACE")],
        27 => vec![format!("DEL {k} {other}")],
        28 => vec![format!("EXPIRE {k} 20000"), format!("PERSIST {other}")],
        29 => vec![format!("GETDEL {k}"), format!("GETEX {other} EX 30000")],
        30 => vec![format!("MOVE {k} {}", draw(state, 4))],
        31..=33 => vec![
            "MULTI".into(),
            format!("SET {k} t{n}"),
            format!("INCR c{small}"),
            format!("APPEND {other} t"),
            format!("DEL x{small}"),
            "EXEC".into(),
        ],
        34..=36 => vec![format!("SELECT {}", draw(state, 4))],
        37 if small < 25 => vec![format!("SWAPDB {} {}", draw(state, 4), draw(state, 4))],
        38 if small < 15 => vec!["FLUSHDB".into()],
        39 if small < 5 => vec!["FLUSHALL".into()],
        39 if small < 10 => vec![
            "MULTI".into(),
            format!("SET {k} f{n}"),
            "FLUSHDB".into(),
            format!("SET {other} f{n}"),
            "EXEC".into(),
        ],
        _ => vec![format!("DEBUG POPULATE 3 p{small} 20")],
    }
}

fn ok(reply: &Value) -> bool {
    reply.text() == Some(b"OK")
}

/// Waits until the server's log has these words.
fn said(server: &Server, words: &str) {
    server.said(|log| log.contains(words));
}

/// Writes at random, in pipelines.
fn write_much(client: &mut Client, state: &mut u64, writes: u64) {
    for n in (0..writes).step_by(50) {
        let lines: Vec<String> = (n..n + 50).flat_map(|n| write(state, n)).collect();
        let words = |line: &String| line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        let commands: Vec<Vec<Vec<u8>>> = lines.iter().map(words).collect();
        client.pipeline(&commands);
    }
    client.words("SET left behind");
    // What is to go within a millisecond goes before anything is compared.
    std::thread::sleep(Duration::from_millis(5));
}

/// Every database's keys with their expiry, and the digest of everything.
fn all(client: &mut Client) -> (Value, Vec<(Vec<u8>, Value)>) {
    let mut found = Vec::new();
    for db in 0..4 {
        client.words(&format!("SELECT {db}"));
        let keys = client.words("KEYS *");
        let mut keys: Vec<Vec<u8>> = keys
            .items()
            .expect("keys")
            .iter()
            .filter_map(|k| k.text().map(<[u8]>::to_vec))
            .collect();
        keys.sort();
        for key in keys {
            let at = client.call(&[b"PEXPIRETIME".as_slice(), &key]);
            found.push((key, at));
        }
    }
    client.words("SELECT 0");
    (client.words("DEBUG DIGEST"), found)
}

#[test]
fn what_was_logged_gives_the_same_data() {
    for (shards, fsync) in
        [1, 3].into_iter().flat_map(|n| ["always", "everysec", "no"].map(|p| (n, p)))
    {
        let server = server(shards, fsync);
        let mut client = server.client();
        let mut state = shards as u64;
        assert!(ok(&client.words("DEBUG LOADAOF")), "of nothing");
        for round in 0..4 {
            write_much(&mut client, &mut state, 600);
            let before = all(&mut client);
            assert!(before.1.len() > 1, "something is there to be compared");
            let reply = client.words("DEBUG LOADAOF");
            assert!(ok(&reply), "{shards} {fsync} {round}: {reply:?}");
            assert_eq!(all(&mut client), before, "{shards} {fsync} {round}");
        }
        said(&server, "Append Only File loaded by DEBUG LOADAOF");
        client.words("SET one more");
        let before = all(&mut client);
        let server = server.kill().restart();
        let mut client = server.client();
        assert_eq!(all(&mut client), before, "{shards} {fsync}: after a crash");
        assert!(ok(&client.words("DEBUG LOADAOF")), "{shards} {fsync}: of several generations");
        assert_eq!(all(&mut client), before, "{shards} {fsync}");
    }
}

#[test]
fn figures_stay_true() {
    let server = server(3, "everysec");
    let mut client = server.client();
    (0..3000).for_each(|n| drop(client.words(&format!("SET key:{n} {} EX 9999", "v".repeat(200)))));
    let figure = |client: &mut Client, section: &str, name: &str| -> String {
        let info = client.words(&format!("INFO {section}"));
        let text = String::from_utf8_lossy(info.text().expect("text")).into_owned();
        let line =
            text.lines().find_map(|l| l.strip_prefix(&format!("{name}:")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
    };
    let memory = |client: &mut Client| -> u64 {
        figure(client, "memory", "used_memory").parse().expect("bytes")
    };
    let before = memory(&mut client);
    for _ in 0..20 {
        assert!(ok(&client.words("DEBUG LOADAOF")));
    }
    assert!(figure(&mut client, "keyspace", "db0").starts_with("keys=3000,expires=3000,"));
    let limit = Instant::now() + Duration::from_secs(20);
    while memory(&mut client) > before + before / 4 {
        assert!(Instant::now() < limit, "{} after {before}", memory(&mut client));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(ok(&client.words("FLUSHALL")) && ok(&client.words("DEBUG LOADAOF")));
    assert_eq!(client.words("DBSIZE"), Value::Int(0));
}

/// Writes numbers under a key of its own until told to stop; every one is in the data when it has
/// been acknowledged, whatever is read again meanwhile.
fn count_up(port: u16, who: usize, stop: &AtomicBool, done: &AtomicU64) -> u64 {
    let mut client = Client::connect(port).expect("connects");
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let (key, next) = (format!("w{who}"), (written + 1).to_string());
        let replies = client.pipeline(&[
            vec![
                b"MSET".to_vec(),
                key.clone().into(),
                next.clone().into(),
                b"y".to_vec(),
                b"1".to_vec(),
            ],
            vec![b"INCR".to_vec(), b"sum".to_vec()],
            vec![b"APPEND".to_vec(), format!("a{who}").into(), b"x".to_vec()],
            vec![b"GET".to_vec(), key.into()],
        ]);
        assert_eq!(replies[3].text(), Some(next.as_bytes()));
        written += 1;
        assert_eq!(replies[2], Value::Int(written as i64));
        done.fetch_add(1, Ordering::Relaxed);
    }
    written
}

#[test]
fn others_write_meanwhile() {
    for fsync in ["always", "everysec", "no"] {
        let server = server(3, fsync);
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let port = server.port();
        let workers: Vec<_> = (0..4)
            .map(|who| {
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                std::thread::spawn(move || count_up(port, who, &stop, &done))
            })
            .collect();
        let mut admins = [server.client(), server.client()];
        for round in 0..60 {
            // Two at a time, with a cut between them now and then.
            let cut = ["SWAPDB 5 6", "PING", "FLUSHDB"][round % 3];
            admins[0]
                .send(format!("SELECT 5\r\nSET k v\r\nDEBUG LOADAOF\r\n{cut}\r\n").as_bytes())
                .expect("sends");
            admins[1].send(b"DEBUG LOADAOF\r\nGET sum\r\n").expect("sends");
            let before = done.load(Ordering::Relaxed);
            for (admin, replies) in [(0, 4), (1, 2)] {
                for _ in 0..replies {
                    let reply = admins[admin].reply().expect("a reply").1;
                    assert!(!matches!(reply, Value::Error(_)), "{fsync}: {reply:?}");
                }
            }
            let limit = Instant::now() + Duration::from_secs(20);
            while done.load(Ordering::Relaxed) == before {
                assert!(Instant::now() < limit, "{fsync}: nobody gets on");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // One that has gone before it is answered changes nothing.
        drop(admins);
        let mut gone = server.client();
        gone.send(b"DEBUG LOADAOF\r\n").expect("sends");
        drop(gone);
        stop.store(true, Ordering::Relaxed);
        let counts: Vec<u64> = workers.into_iter().map(|w| w.join().expect("a worker")).collect();
        let check = |client: &mut Client| {
            for (who, count) in counts.iter().enumerate() {
                let value = client.words(&format!("GET w{who}"));
                assert_eq!(value.text(), Some(count.to_string().as_bytes()), "{fsync}");
                assert_eq!(client.words(&format!("STRLEN a{who}")), Value::Int(*count as i64));
            }
            let sum = client.words("GET sum");
            assert_eq!(sum.text(), Some(counts.iter().sum::<u64>().to_string().as_bytes()));
        };
        let mut client = server.client();
        check(&mut client);
        assert!(ok(&client.words("DEBUG LOADAOF")));
        check(&mut client);
        let server = server.kill().restart();
        check(&mut server.client());
    }
}

/// The longest file that shards write to.
fn longest(home: &Path) -> PathBuf {
    let files = std::fs::read_dir(home.join("appendonlydir")).expect("the log");
    let files = files.map(|f| f.expect("a file").path());
    let of_shards = files.filter(|path| path.to_string_lossy().ends_with(".incr.aof"));
    of_shards.max_by_key(|path| path.metadata().expect("a length").len()).expect("a file")
}

#[test]
fn a_damaged_log_is_refused_and_the_data_stays() {
    for shards in [1, 3] {
        let server = server(shards, "everysec");
        let (mut client, mut other) = (server.client(), server.client());
        (0..500).for_each(|n| drop(client.words(&format!("SET key:{n} value:{n}"))));
        assert!(ok(&client.words("DEBUG LOADAOF")), "all is written");
        let before = all(&mut client);
        let path = longest(server.home().path());
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opens");
        let whole = std::fs::read(&path).expect("reads");
        let refused = |client: &mut Client, what: &str| {
            let reply = client.words("DEBUG LOADAOF");
            let Value::Error(text) = &reply else { panic!("{what}: {reply:?}") };
            let text = String::from_utf8_lossy(text).into_owned();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(text.starts_with("ERR Error trying to load the AOF: "), "{what}: {text}");
            assert!(text.contains(&name), "{what}: {text}");
            said(&server, "DEBUG LOADAOF failed, the data stays: ");
            assert_eq!(all(client), before, "{what}");
        };
        for at in [whole.len() / 2, whole.len() - 3] {
            file.write_all_at(&[whole[at] ^ 1], at as u64).expect("writes");
            refused(&mut client, "a flipped bit");
            file.write_all_at(&whole[at..=at], at as u64).expect("writes");
        }
        // Cut between two frames: what is left is a whole log, and not all that was written.
        let last = whole.windows(4).rposition(|w| w == b"#R1 ").expect("a frame");
        file.set_len(last as u64).expect("cuts");
        refused(&mut client, "a frame less");
        file.write_all_at(&whole[last..], last as u64).expect("writes");
        let manifest = path.with_file_name("appendonly.aof.manifest");
        let text = std::fs::read(&manifest).expect("reads");
        std::fs::write(&manifest, b"nonsense\n").expect("writes");
        let reply = client.words("DEBUG LOADAOF");
        assert!(matches!(reply, Value::Error(_)), "{reply:?}");
        std::fs::write(&manifest, text).expect("writes");
        // Nobody else has noticed anything, and all is well again.
        assert!(ok(&other.words("SET later 1")));
        assert!(ok(&other.words("FLUSHDB")) && ok(&other.words("DEBUG LOADAOF")));
        assert_eq!(other.words("DBSIZE"), Value::Int(0));
    }
}

#[test]
fn those_who_watch_are_told() {
    for shards in [1, 3] {
        let server = server(shards, "always");
        let (mut client, mut other) = (server.client(), server.client());
        client.words("SET there 1");
        for (key, told) in [("there", true), ("absent", false)] {
            client.words(&format!("WATCH {key}"));
            assert!(ok(&other.words("DEBUG LOADAOF")));
            client.words("MULTI");
            client.words("PING");
            let reply = client.words("EXEC");
            assert_eq!(reply.items().is_none(), told, "{key}: {reply:?}");
        }
        // Its own writes are in no log before a transaction ends, wherever its keys live.
        for key in ["a", "b", "c", "d", "there"] {
            client.words("MULTI");
            client.words(&format!("SET {key} 2"));
            client.words("DEBUG LOADAOF");
            let replies = client.words("EXEC");
            let refusal = b"ERR DEBUG LOADAOF is not allowed inside a transaction";
            assert_eq!(replies.items().expect("replies")[1], Value::Error(refusal.to_vec()));
            assert!(matches!(client.words("CLIENT ID"), Value::Int(_)), "nothing is left of it");
        }
        assert_eq!(client.words("GET there").text(), Some(&b"2"[..]));
        // In the middle of a pipeline, and with further arguments, as in Redis.
        client
            .send(b"SET a 1\r\nDEBUG LOADAOF\r\nGET a\r\ndebug loadaof x\r\nGET a\r\n")
            .expect("sends");
        for reply in [&b"+OK\r\n"[..], b"+OK\r\n", b"$1\r\n1\r\n", b"+OK\r\n", b"$1\r\n1\r\n"] {
            assert_eq!(client.reply().expect("a reply").0, reply);
        }
    }
}

/// What redis-server answers as well, request by request: what it is told while it loads, it takes
/// for a client that has gone.
const SAME: &[&str] = &[
    "SET k v EX 5000",
    "DEBUG LOADAOF",
    "DEBUG DIGEST",
    "debug loadaof x",
    "APPEND k w",
    "MULTI",
    "SETBIT b 7 1",
    "PFADD h a b c",
    "EXEC",
    "SWAPDB 0 1",
    "SET k other",
    "DEBUG LOADAOF",
    "GET k",
    "SELECT 1",
    "MGET k b",
    "PFCOUNT h",
    "WATCH k",
    "DEBUG LOADAOF",
    "MULTI",
    "PING",
    "EXEC",
    "WATCH nokey",
    "DEBUG LOADAOF",
    "MULTI",
    "PING",
    "EXEC",
    "FLUSHALL",
    "DEBUG LOADAOF",
    "DBSIZE",
    "DEBUG DIGEST",
];

#[test]
fn replies_are_those_of_redis() {
    let options = |shards| Options::shards(shards).with("enable-debug-command", "yes");
    let Some(peer) = Server::peer(options(1), "DEBUG LOADAOF") else { return };
    let answers = |server: &Server| -> Vec<Vec<u8>> {
        let mut client = server.client();
        let mut ask = |request: &&str| {
            client.send(format!("{request}\r\n").as_bytes()).expect("sends");
            client.reply().expect("a reply").0
        };
        SAME.iter().map(&mut ask).collect()
    };
    let theirs = answers(&peer);
    for shards in [1, 3] {
        let ours = answers(&Server::start(options(shards)));
        for ((request, theirs), ours) in SAME.iter().zip(&theirs).zip(&ours) {
            assert_eq!(
                theirs.escape_ascii().to_string(),
                ours.escape_ascii().to_string(),
                "{request}"
            );
        }
    }
}

#[test]
fn without_a_log_there_is_nothing_to_load() {
    let options = Options { appendonly: false, ..Options::shards(2) };
    let server = Server::start(options.with("enable-debug-command", "yes"));
    let mut client = server.client();
    client.words("SET k v");
    let reply = client.words("DEBUG LOADAOF");
    assert_eq!(reply, Value::Error(b"ERR There is no AOF to load: appendonly is no".to_vec()));
    assert_eq!(client.words("GET k").text(), Some(&b"v"[..]));
}

/// What a rewrite leaves with `appendonly no` is read, as Redis reads it; and what is left of a log
/// that was turned off.
#[test]
fn a_log_that_nobody_writes_is_read() {
    for shards in [1, 2, 4] {
        let options = Options { appendonly: false, ..Options::shards(shards) };
        let server = Server::start(options.with("enable-debug-command", "yes"));
        let mut client = server.client();
        (0..500).for_each(|n| drop(client.words(&format!("SET k{n} v"))));
        client.words("BGREWRITEAOF");
        until_rewritten(&mut client);
        let count = || {
            let info = server.client().words("INFO replication");
            let text = String::from_utf8_lossy(info.text().expect("text")).into_owned();
            let at = text.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
            at.expect("a field").parse::<u64>().expect("a number")
        };
        let before = client.words("DEBUG DIGEST");
        client.words("SET k1 other");
        client.words("SET new v");
        let stood = count();
        assert!(ok(&client.words("DEBUG LOADAOF")), "{shards}");
        assert_eq!(client.words("DEBUG DIGEST"), before, "{shards}");
        assert!(count() > stood, "other data is another state");
        // A log that is wished for is none yet.
        client.words("CONFIG SET rdb-key-save-delay 1000000");
        client.words("BGSAVE");
        client.words("CONFIG SET appendonly yes");
        let reply = client.words("DEBUG LOADAOF");
        let waits = b"ERR There is no AOF to load: the log waits for its base".to_vec();
        assert_eq!(reply, Value::Error(waits));
        client.words("CONFIG SET rdb-key-save-delay 0");
        client.words("WAITAOF 1 0 0");
        client.words("SET logged v");
        let before = client.words("DEBUG DIGEST");
        client.words("CONFIG SET appendonly no");
        client.words("DEL logged k7");
        assert!(ok(&client.words("DEBUG LOADAOF")), "{shards}");
        assert_eq!(client.words("DEBUG DIGEST"), before, "{shards}");
    }
}

#[test]
fn a_stop_waits_for_it() {
    let server = server(3, "everysec");
    let mut client = server.client();
    (0..2000).for_each(|n| drop(client.words(&format!("SET key:{n} v"))));
    client.send(b"DEBUG LOADAOF\r\n").expect("sends");
    let server = server.stop().restart();
    assert_eq!(server.client().words("DBSIZE"), Value::Int(2000));
}
