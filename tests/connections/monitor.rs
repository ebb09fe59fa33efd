//! MONITOR: what is shown, to whom, in which order, and what it may cost.

use std::time::Duration;

use super::{Value, eventually, id, info, is_gone, lines};
use crate::support::{Client, Options, Server, encode};

/// A client that listens from here on.
fn listener(server: &Server) -> Client {
    let mut client = server.client();
    assert_eq!(client.words("MONITOR").text(), Some(&b"OK"[..]));
    client
}

/// The next line: its time, database, address, and the command.
fn heard(client: &mut Client) -> (f64, String, String, String) {
    let (_, value) = client.reply().expect("a line");
    let Value::Simple(line) = value else { panic!("{value:?}") };
    let line = String::from_utf8(line).expect("text");
    let (time, rest) = line.split_once(" [").expect("a time");
    let (place, command) = rest.split_once("] ").expect("a place");
    let (db, addr) = place.split_once(' ').expect("a database and an address");
    assert_eq!(time.split_once('.').map(|(_, micros)| micros.len()), Some(6), "{line}");
    (time.parse().unwrap(), db.to_owned(), addr.to_owned(), command.to_owned())
}

/// Lines up to one that holds `last`, without times and addresses.
fn heard_until(client: &mut Client, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let (_, db, _, command) = heard(client);
        if command.contains(last) {
            return all;
        }
        all.push(format!("{db} {command}"));
    }
}

/// What a script of one connection shows to somebody who listens.
fn shown(server: &Server, script: &[Vec<&[u8]>]) -> Vec<String> {
    let mut listener = listener(server);
    let mut client = server.client();
    for command in script {
        client.send(&encode(command)).unwrap();
        client.reply().unwrap();
    }
    client.words("PING the-end");
    heard_until(&mut listener, "the-end")
}

#[test]
fn lines_are_those_of_the_peer() {
    let words =
        |line: &'static str| -> Vec<&'static [u8]> { line.split(' ').map(str::as_bytes).collect() };
    let mut script: Vec<Vec<&[u8]>> = [
        "set k v",
        "SeT k v",
        "SELECT 3",
        "MSET a 1 b 2 c 3 d 4",
        "RENAME a z",
        "INCR nosuch extra",
        "nosuch",
        "GET",
        "LPUSHX",
        "INCR n",
        "CONFIG GET dir",
        "CONFIG SET maxmemory 0",
        "AUTH secret",
        "AUTH me secret",
        "HELLO 2 AUTH default secret SETNAME me",
        "CLIENT SETNAME x",
        "CLIENT LIST",
        "CLIENT ID",
        "INFO server",
        "MULTI",
        "SET k v2",
        "GET other",
        "EXEC",
        "MULTI",
        "MSET a 1 b 2 c 3 d 4",
        "EXEC",
        "MULTI",
        "DISCARD",
        "EXEC",
        "WATCH k",
        "UNWATCH",
        "EXPIRE k 100",
        "DBSIZE",
        "SCAN 0",
        "FLUSHALL",
        "SELECT 99",
        "ECHO hi",
        "COMMAND COUNT",
        "RESET",
        "OBJECT ENCODING k",
    ]
    .into_iter()
    .map(words)
    .collect();
    script.push(vec![b"SET", b"\x00\xff\"\\\n\r\t\x07\x08", b"a b"]);
    script.push(vec![b"ECHO", b""]);
    let Some(peer) = Server::peer(Options::default(), "lines of MONITOR") else { return };
    let theirs = shown(&peer, &script);
    for shards in [1, 2, 4] {
        let server = Server::start(Options::shards(shards));
        let mut ours = shown(&server, &script);
        // A transaction over several shards is named by its own name, however it was spelt.
        ours.iter_mut().for_each(|l| *l = l.replace("\"exec\"", "\"EXEC\""));
        assert_eq!(ours, theirs, "{shards} shards");
    }
}

/// Lines of each connection come in the order of its requests, whoever executes them, and not after
/// the replies.
#[test]
fn each_connection_is_heard_in_its_order() {
    for shards in [1, 2, 3, 4] {
        let server = Server::start(Options { fsync: "no", ..Options::shards(shards) });
        let mut listeners: Vec<Client> = (0..3).map(|_| listener(&server)).collect();
        let threads: Vec<_> = (0..4)
            .map(|who| {
                let mut client = server.client();
                std::thread::spawn(move || {
                    for round in 0..40 {
                        let mut bytes = Vec::new();
                        for n in 0..25 {
                            let number = (round * 25 + n).to_string();
                            let key = format!("k{}", (n * 7 + who) % 13);
                            bytes.extend(match n % 5 {
                                0 => encode(&["MSET", "x", &number, &key, &who.to_string()]),
                                1 => encode(&["COPY", &key, "y", "DB", "0", &number][..3]),
                                _ => encode(&["SET", &key, &number]),
                            });
                            bytes.extend(encode(&["ECHO", &format!("{who}:{number}")]));
                        }
                        client.send(&bytes).unwrap();
                        for _ in 0..50 {
                            client.reply().unwrap();
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        server.client().words("ECHO the-end");
        for listener in &mut listeners {
            let all = heard_until(listener, "the-end");
            let mut next = [0; 4];
            for line in &all {
                let Some(rest) = line.strip_prefix("0 \"ECHO\" \"") else { continue };
                let (who, number) = rest.trim_end_matches('"').split_once(':').unwrap();
                let who: usize = who.parse().unwrap();
                assert_eq!(number.parse(), Ok(next[who]), "{shards} shards");
                next[who] += 1;
            }
            assert_eq!(next, [1000; 4]);
            assert_eq!(all.len(), 4 * 2000);
        }
    }
}

#[test]
fn reset_ends_it_and_transactions_refuse_it() {
    let server = Server::start(Options::shards(3));
    let mut listeners: Vec<Client> = (0..3).map(|_| listener(&server)).collect();
    let mut client = server.client();
    let list = lines(&client.words("CLIENT LIST"));
    assert_eq!(list.iter().filter(|l| super::field(l, "flags") == "O").count(), 3);
    client.words("ECHO one");
    for listener in &mut listeners {
        let (_, db, addr, command) = heard(listener);
        assert_eq!((db.as_str(), command.as_str()), ("0", "\"ECHO\" \"one\""));
        assert!(addr.starts_with("127.0.0.1:"), "{addr}");
    }
    // Itself is heard as well; a second MONITOR says nothing.
    listeners[0].send(&[encode(&["MONITOR"]), encode(&["PING"])].concat()).unwrap();
    assert_eq!(listeners[0].reply().unwrap().1.text(), Some(&b"PONG"[..]));
    assert_eq!(heard(&mut listeners[0]).3, "\"PING\"");
    for listener in &mut listeners[1..] {
        assert_eq!(heard(listener).3, "\"PING\"");
        listener.send(&encode(&["RESET"])).unwrap();
        while listener.reply().unwrap().1.text() != Some(&b"RESET"[..]) {}
    }
    client.words("ECHO two");
    for listener in &mut listeners[1..] {
        assert_eq!(listener.words("PING").text(), Some(&b"PONG"[..]));
        listener.words("MULTI");
        listener.words("MONITOR");
        let reply = listener.words("EXEC");
        let refusal = b"ERR MONITOR isn't allowed for DENY BLOCKING client".to_vec();
        assert_eq!(reply.items(), Some(&[Value::Error(refusal)][..]));
    }
    drop(listeners);
    eventually("all others are gone", || info(&mut client, "connected_clients") == 1);
    let number = id(&mut client);
    assert_eq!(client.words(&format!("CLIENT KILL ID {number} SKIPME no")).int(), Some(1));
}

/// Who listens and does not read is sent away before it fills the memory.
#[test]
fn a_listener_that_does_not_read_is_sent_away() {
    let server = Server::start(Options { fsync: "no", ..Options::shards(2) });
    let mut deaf = listener(&server);
    let mut client = server.client();
    let value = vec![0_u8; 1 << 20];
    let before = server.resident();
    for _ in 0..60 {
        client.call(&[&b"SET"[..], b"k", &value]);
    }
    eventually("it is sent away", || info(&mut client, "connected_clients") == 1);
    assert_eq!(info(&mut client, "client_output_buffer_limit_disconnections"), 1);
    deaf.timeout(Duration::from_secs(20)).unwrap();
    while deaf.reply().is_ok() {}
    assert!(is_gone(&mut deaf));
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 192 << 20, "{} MiB", grown >> 20);
}

/// A long argument is shown in part.
#[test]
fn long_arguments_are_cut() {
    let server = Server::start(Options { fsync: "no", ..Options::shards(2) });
    let mut listener = listener(&server);
    let mut client = server.client();
    client.call(&[&b"SET"[..], b"k", &vec![b'x'; (1 << 20) + 5]]);
    let line = heard(&mut listener).3;
    assert!(line.ends_with("xxx... (5 more bytes)\"") && line.len() < (1 << 20) + 100);
}
