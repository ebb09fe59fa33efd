//! MIGRATE between two servers, ours and redis-server's, and with targets that misbehave. Nothing
//! may be lost on the way: every key is here, or there, or in both places.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{bulk, contents, digest, fill, options};
use crate::support::client::encode;
use crate::support::server::{free_port, judged_by_peer};
use crate::support::{Client, Options, Server, Value};

fn ok() -> Value {
    Value::Simple(b"OK".into())
}

fn server(shards: usize) -> Server {
    Server::start(Options { shards, ..options() })
}

/// `MIGRATE … KEYS …`, `options` between the time and the keys.
fn migrate<K: AsRef<[u8]>>(to: u16, db: usize, options: &str, keys: &[K]) -> Vec<Vec<u8>> {
    let line = format!("MIGRATE 127.0.0.1 {to}  {db} 60000");
    let mut words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    words.extend(options.split_whitespace().map(|word| word.as_bytes().to_vec()));
    words.push(b"KEYS".to_vec());
    words.extend(keys.iter().map(|key| key.as_ref().to_vec()));
    words
}

fn integer(client: &mut Client, line: &str) -> i64 {
    client.words(line).int().unwrap_or_else(|| panic!("{line}"))
}

/// Every type there and back, with and without a time to live; the source is killed behind it.
fn there_and_back(own: Server, other: &Server) {
    let (mut near, mut far) = (own.client(), other.client());
    fill(&mut near);
    let keys: Vec<String> = contents().into_iter().map(|(key, _)| key).collect();
    let digests: Vec<Value> = keys.iter().map(|key| digest(&mut near, key)).collect();
    for key in keys.iter().step_by(3) {
        assert_eq!(near.call(&["PEXPIREAT", key, "4102444800000"]), Value::Int(1));
    }
    let to = other.port();
    assert_eq!(near.call(&migrate(to, 3, "COPY", &keys)), ok());
    let busy = near.call(&migrate(to, 3, "COPY", &keys[..2]));
    let text = b"ERR Target instance replied with error: BUSYKEY Target key name already exists.";
    assert_eq!(busy, Value::Error(text.to_vec()));
    assert_eq!(integer(&mut near, "DBSIZE"), keys.len() as i64);
    assert_eq!(near.call(&migrate(to, 3, "REPLACE", &keys)), ok());
    assert_eq!(integer(&mut near, "DBSIZE"), 0);
    // The connection is there for the next one.
    let stats = near.words("INFO stats");
    let stats = String::from_utf8_lossy(stats.text().expect("text")).into_owned();
    let kept = stats.lines().find_map(|line| line.strip_prefix("migrate_cached_sockets:"));
    assert!(kept.expect("a field").parse::<u32>().expect("a number") > 0);
    assert_eq!(far.words("SELECT 3"), ok());
    for (n, (key, want)) in keys.iter().zip(&digests).enumerate() {
        let timed = n % 3 == 0;
        let left = far.call(&["PTTL", key]).int().expect("a number");
        assert_eq!(left > 1_000_000_000, timed, "{key}: {left}");
        if timed {
            far.call(&["PERSIST", key]);
        }
        assert_eq!(&digest(&mut far, key), want, "{key}");
    }
    // What was deleted stays so.
    let again = own.kill().restart();
    let mut near = again.client();
    assert_eq!(integer(&mut near, "DBSIZE"), 0);
    assert_eq!(far.call(&migrate(again.port(), 0, "", &keys)), ok());
    assert_eq!(integer(&mut far, "DBSIZE"), 0);
    for (key, want) in keys.iter().zip(&digests) {
        assert_eq!(&digest(&mut near, key), want, "{key} back");
    }
}

#[test]
fn every_type_goes_to_redis_and_back() {
    let Some(theirs) = Server::peer(options(), "MIGRATE with redis-server") else { return };
    there_and_back(server(2), &theirs);
}

#[test]
fn every_type_goes_to_another_of_ours_and_back() {
    for (from, to) in [(1, 4), (4, 2)] {
        there_and_back(server(from), &server(to));
    }
}

#[test]
fn clients_are_told_what_redis_tells_them() {
    let what = "the replies of MIGRATE beside redis-server";
    let Some(peer) = Server::peer(options(), what) else { return };
    let Some(target) = Server::peer(options().with("requirepass", "pw"), what) else { return };
    let own = server(2);
    let (mut own, mut peer, mut far) = (own.client(), peer.client(), target.client());
    assert_eq!(far.words("AUTH pw"), ok());
    let (to, nobody) = (target.port(), free_port());
    let forms = [
        format!("127.0.0.1 {nobody} k 0 500"),
        format!("127.0.0.1 {to} k 0 500"),
        format!("127.0.0.1 {to} k 0 500 AUTH no"),
        format!("127.0.0.1 {to} k 0 500 AUTH2 nobody pw"),
        format!("127.0.0.1 {to} none 0 500"),
        format!("127.0.0.1 {to} none 0 -5"),
        format!("127.0.0.1 {to} k x 500"),
        format!("127.0.0.1 {to}  0 500 KEYS"),
        format!("127.0.0.1 {to} k 0 500 KEYS k"),
        // With a key that no other form has: redis-server goes on to database 0 all the same.
        format!("127.0.0.1 {to} m 99 500 AUTH pw"),
        format!("127.0.0.1 {to} k 0 500 AUTH pw COPY"),
        format!("127.0.0.1 {to} k 0 500 AUTH pw"),
        format!("127.0.0.1 {to}  0 500 AUTH pw KEYS k none l"),
        format!("127.0.0.1 {to} k 1 500 AUTH2 default pw"),
        format!("127.0.0.1 {to}  0 500 REPLACE AUTH pw KEYS l l none"),
        "no.such.host.invalid 1 m 0 500".to_owned(),
        "127.0.0.1 x m 0 500".to_owned(),
    ];
    let fill = |client: &mut Client| client.words("MSET k v l w m x");
    for client in [&mut own, &mut peer] {
        assert_eq!(fill(client), ok());
    }
    // Both meet the same target in turn.
    let mut told: [Vec<(Value, Value)>; 2] = [vec![], vec![]];
    for (client, told) in [&mut peer, &mut own].into_iter().zip(&mut told) {
        far.words("FLUSHALL");
        for form in &forms {
            let reply = client.words(&format!("MIGRATE {form}"));
            told.push((reply, client.words("EXISTS k l m")));
        }
    }
    for (form, (theirs, ours)) in forms.iter().zip(told[0].iter().zip(&told[1])) {
        assert_eq!(ours, theirs, "{form}");
    }
    // They are one reply, and a network cannot be waited for within it.
    own.words("MULTI");
    own.words(&format!("MIGRATE 127.0.0.1 {to} m 0 500 AUTH pw"));
    own.words("GET m");
    let refused = Value::Error(b"ERR MIGRATE is not allowed inside a transaction".into());
    assert_eq!(own.words("EXEC"), Value::Array(vec![refused, Value::Bulk(b"x".into())]));
}

/// Many keys and some long values: what takes many parcels.
fn many(client: &mut Client) -> Vec<String> {
    let keys: Vec<String> = (0..3000).map(|n| format!("key:{n}")).collect();
    let long = "x".repeat(700_000);
    let lines: Vec<Vec<Vec<u8>>> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| {
            let value = if n % 500 == 7 { format!("{n}{long}") } else { format!("value:{n}") };
            vec![b"SET".to_vec(), key.clone().into_bytes(), value.into_bytes()]
        })
        .collect();
    assert!(client.pipeline(&lines).iter().all(|reply| *reply == ok()));
    keys
}

#[test]
fn thousands_of_keys_go() {
    for shards in [1, 2, 4] {
        let (near, far) = (server(shards), server(2));
        let mut client = near.client();
        let mut keys = many(&mut client);
        let before = bulk(&client.words("DEBUG DIGEST"));
        keys.insert(1000, "none".to_owned());
        assert_eq!(client.call(&migrate(far.port(), 0, "", &keys)), ok());
        let (near, far) = (near.kill().restart(), far.kill().restart());
        assert_eq!(integer(&mut near.client(), "DBSIZE"), 0);
        assert_eq!(bulk(&far.client().words("DEBUG DIGEST")), before, "{shards}");
    }
}

/// A target that the test speaks for.
struct Target(TcpListener);

impl Target {
    fn new() -> (Target, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        (Target(listener), port)
    }

    /// Lets a client in; what it sends up to `last`.
    fn accept(&self) -> TcpStream {
        let (mut stream, _) = self.0.accept().expect("a client");
        hear(&mut stream, b"SELECT\r\n$1\r\n0\r\n");
        stream.write_all(b"+OK\r\n").expect("an answer");
        stream
    }
}

fn hear(stream: &mut TcpStream, last: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    while !heard.ends_with(last) {
        let mut room = [0; 4096];
        let n = stream.read(&mut room).expect("bytes");
        assert!(n > 0, "closed behind {}", heard.escape_ascii());
        heard.extend_from_slice(&room[..n]);
    }
    heard
}

/// What stands behind the version of every payload of ours: a checksum and a line end, or the word
/// that follows it.
fn parcel(stream: &mut TcpStream, requests: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    loop {
        let count = heard.windows(9).filter(|w| *w == b"\r\nRESTORE").count();
        let rest = heard.windows(4).rposition(|w| w == b"\n*4\r" || w == b"\n*5\r");
        let whole = rest.map_or(&heard[..], |at| &heard[at + 1..]);
        if count == requests && is_whole(whole) {
            return heard;
        }
        let mut room = [0; 4096];
        let n = stream.read(&mut room).expect("bytes");
        assert!(n > 0, "closed behind {}", heard.escape_ascii());
        heard.extend_from_slice(&room[..n]);
    }
}

/// Whether one request is complete.
fn is_whole(request: &[u8]) -> bool {
    let mut rest = request;
    let mut number = |mark: u8| {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let digits = rest[..end].strip_prefix(&[mark])?;
        rest = &rest[end + 2..];
        let n: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        if mark == b'$' {
            rest = rest.get(n + 2..)?;
        }
        Some(n)
    };
    number(b'*').is_some_and(|count| (0..count).all(|_| number(b'$').is_some()))
}

#[test]
fn others_are_served_while_a_target_thinks() {
    for shards in [1, 3] {
        let near = server(shards);
        let (mut mover, mut reader, mut other) = (near.client(), near.client(), near.client());
        let (target, port) = Target::new();
        assert_eq!(other.words("MSET k v l w"), ok());
        mover.send(&encode(&migrate(port, 0, "", &["k", "l"]))).expect("sent");
        let mut stream = target.accept();
        parcel(&mut stream, 2);
        // Whoever names such a key waits, in a transaction as well, and so does FLUSHALL.
        reader.send(b"GET k\r\nMULTI\r\nAPPEND l x\r\nEXEC\r\n").expect("sent");
        let (mut emptier, mut queue) = (near.client(), near.client());
        queue.send(b"MULTI\r\nGET k\r\nEXEC\r\n").expect("sent");
        emptier.send(b"FLUSHALL\r\n").expect("sent");
        for n in 0..300 {
            assert_eq!(other.words(&format!("SET other:{n} x")), ok());
            assert_eq!(other.words(&format!("GET other:{n}")), Value::Bulk(b"x".into()));
        }
        assert_eq!(integer(&mut other, "DBSIZE"), 302, "nothing is gone yet");
        stream.write_all(b"+OK\r\n-ERR not that one\r\n").expect("answers");
        let refused = b"ERR Target instance replied with error: ERR not that one".to_vec();
        assert_eq!(mover.reply().expect("a reply").1, Value::Error(refused));
        // One of them is gone, the other is there.
        assert!(reader.reply().expect("a reply").1.is_null());
        let rest: Vec<Value> = (0..3).map(|_| reader.reply().expect("a reply").1).collect();
        let queued = Value::Simple(b"QUEUED".into());
        let appended = |n| rest[..] == [ok(), queued.clone(), Value::Array(vec![Value::Int(n)])];
        assert!(appended(2) || appended(1), "{rest:?}");
        // It has waited: the key had gone by then.
        let read: Vec<Value> = (0..3).map(|_| queue.reply().expect("a reply").1).collect();
        assert_eq!(read, [ok(), queued.clone(), Value::Array(vec![Value::NullBulk])]);
        assert_eq!(emptier.reply().expect("a reply").1, ok());
    }
}

#[test]
fn a_target_that_hangs_is_left() {
    let near = server(2);
    let (mut mover, mut other) = (near.client(), near.client());
    let (target, port) = Target::new();
    other.words("SET k v");
    mover.send(format!("MIGRATE 127.0.0.1 {port} k 0 2000 COPY\r\n").as_bytes()).expect("sent");
    let mut stream = target.accept();
    parcel(&mut stream, 1);
    // The key stays, so it can be read meanwhile, and not written to.
    let mut writer = near.client();
    writer.send(b"APPEND k w\r\n").expect("sent");
    for n in 0..30 {
        assert_eq!(other.words(&format!("SET other:{n} x")), ok());
        assert_eq!(other.words("GET k"), Value::Bulk(b"v".into()));
    }
    let hung = Value::Error(b"IOERR error or timeout reading to target instance".into());
    assert_eq!(mover.reply().expect("a reply").1, hung);
    assert_eq!(writer.reply().expect("a reply").1, Value::Int(2));
    mover.send(format!("MIGRATE 127.0.0.1 {port} k 0 300\r\n").as_bytes()).expect("sent");
    let stream = target.accept();
    drop(stream);
    assert_eq!(mover.reply().expect("a reply").1, hung);
    assert_eq!(other.words("APPEND k w"), Value::Int(3));
}

/// A client that waits for a key is served into one that is on its way.
#[test]
fn what_changes_on_its_way_is_sent_again() {
    for shards in [1, 3] {
        let near = server(shards);
        let (mut mover, mut waiter, mut other) = (near.client(), near.client(), near.client());
        let (target, port) = Target::new();
        other.words("RPUSH {a}to old");
        waiter.send(b"BLMOVE {a}from {a}to LEFT RIGHT 0\r\n").expect("sent");
        // It waits for sure once INFO says so.
        loop {
            let info = other.words("INFO clients");
            if String::from_utf8_lossy(info.text().expect("text")).contains("blocked_clients:1") {
                break;
            }
        }
        mover.send(&encode(&migrate(port, 0, "", &["{a}to"]))).expect("sent");
        let mut stream = target.accept();
        let first = parcel(&mut stream, 1);
        assert!(first.starts_with(b"*4\r\n"), "{}", first.escape_ascii());
        assert_eq!(other.words("RPUSH {a}from new"), Value::Int(1));
        assert_eq!(waiter.reply().expect("a reply").1, Value::Bulk(b"new".into()));
        stream.write_all(b"+OK\r\n").expect("an answer");
        let second = parcel(&mut stream, 1);
        assert!(second.starts_with(b"*5\r\n"), "{}", second.escape_ascii());
        assert!(second.ends_with(b"\r\nREPLACE\r\n") && second.windows(3).any(|w| w == b"new"));
        assert_eq!(integer(&mut other, "DBSIZE"), 1);
        stream.write_all(b"+OK\r\n").expect("an answer");
        assert_eq!(mover.reply().expect("a reply").1, ok());
        assert_eq!(integer(&mut other, "DBSIZE"), 0);
    }
}

/// Counters that are moved away again and again while clients go on counting.
#[test]
fn no_increment_is_lost() {
    const COUNTERS: usize = 12;
    for shards in [1, 2, 4] {
        let (near, far) = (server(shards), server(2));
        let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
        let keys: Vec<String> = (0..COUNTERS).map(|n| format!("counter:{n}")).collect();
        let mut moved = 0;
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (stop, made, keys, mut client) = (&stop, &made, &keys, near.client());
                scope.spawn(move || {
                    for n in writer.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let key = &keys[n % COUNTERS];
                        // Alone, in a batch over several shards, and in transactions over them.
                        let lines = match n % 3 {
                            0 => format!("INCR {key}\r\n"),
                            1 => format!("INCR {key}\r\nINCR {}\r\n", keys[(n + 5) % COUNTERS]),
                            _ => format!("MULTI\r\nINCR {key}\r\nINCR {}\r\nEXEC\r\n", keys[0]),
                        };
                        client.send(lines.as_bytes()).expect("sent");
                        let replies = [1, 2, 4][n % 3];
                        for _ in 0..replies {
                            let reply = client.reply().expect("a reply").1;
                            assert!(!reply.is_error(), "{reply:?}");
                        }
                        made.fetch_add([1, 2, 2][n % 3], Ordering::Relaxed);
                    }
                });
            }
            let (mut mover, mut taker) = (near.client(), far.client());
            for round in 0..60 {
                let some = &keys[round % 3..COUNTERS - round % 4];
                let reply = mover.call(&migrate(far.port(), 0, "", some));
                assert!(reply == ok() || reply == Value::Simple(b"NOKEY".into()), "{reply:?}");
                for key in &keys {
                    let reply = taker.words(&format!("GETDEL {key}"));
                    let text = String::from_utf8_lossy(reply.text().unwrap_or(b"0")).into_owned();
                    moved += text.parse::<u64>().expect("a number");
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        let mut client = near.client();
        for key in &keys {
            let reply = client.words(&format!("GET {key}"));
            let text = String::from_utf8_lossy(reply.text().unwrap_or(b"0")).into_owned();
            moved += text.parse::<u64>().expect("a number");
        }
        assert_eq!(moved, made.load(Ordering::Relaxed), "{shards}");
    }
}

/// One of the two is killed in the middle; both come back.
#[test]
fn killed_on_the_way() {
    if judged_by_peer() {
        return;
    }
    for source_dies in [true, false] {
        let (near, far) = (server(2), server(2));
        let mut mover = near.client();
        let keys = many(&mut mover);
        let mut watcher = far.client();
        mover.send(&encode(&migrate(far.port(), 0, "", &keys))).expect("sent");
        while integer(&mut watcher, "DBSIZE") < 400 {}
        let (near, far) = match source_dies {
            true => (near.kill().restart(), far),
            false => {
                let far = far.kill();
                let reply = mover.reply().expect("a reply").1;
                // It may have been through already.
                let broken = matches!(&reply, Value::Error(text) if text.starts_with(b"IOERR"));
                assert!(broken || reply == ok(), "{reply:?}");
                (near, far.restart())
            }
        };
        let mut places: HashMap<String, usize> = HashMap::new();
        for server in [&near, &far] {
            let mut client = server.client();
            for (n, key) in keys.iter().enumerate() {
                let reply = client.call(&["GETRANGE", key, "0", "20"]);
                let value = bulk(&reply);
                let (long, short) = (format!("{n}xxx"), format!("value:{n}"));
                let right = value == short.as_bytes() || value.starts_with(long.as_bytes());
                assert!(value.is_empty() || right, "{key}: {}", value.escape_ascii());
                *places.entry(key.clone()).or_default() += usize::from(right);
            }
        }
        assert!(keys.iter().all(|key| places[key] > 0), "{source_dies}");
    }
}
