//! WAIT and WAITAOF.

use std::time::{Duration, Instant};

use crate::support::{Options, Server, Value};

fn pair(local: i64) -> Value {
    Value::Array(vec![Value::Int(local), Value::Int(0)])
}

/// (position, durable) of every shard.
fn positions(server: &Server) -> Vec<(u64, u64)> {
    let reply = server.client().words("INFO ringstone");
    let text = String::from_utf8(reply.text().expect("text").to_vec()).expect("UTF-8");
    let field = |line: &str, name: &str| -> u64 {
        let at = line.find(name).unwrap_or_else(|| panic!("{name} in {line}")) + name.len();
        line[at..].split(',').next().and_then(|n| n.parse().ok()).expect("a number")
    };
    let shards = text.lines().filter(|l| l.starts_with("shard") && l.contains(":clients="));
    shards.map(|l| (field(l, "log_position="), field(l, "log_durable="))).collect()
}

#[test]
fn waitaof_answers_when_all_is_durable() {
    for (fsync, shards) in [("no", 3), ("everysec", 2), ("always", 2), ("no", 1)] {
        let server = Server::start(Options { fsync, ..Options::shards(shards) });
        let mut client = server.client();
        for round in 0..5 {
            for n in 0..20 {
                client.words(&format!("SET k{n} {round}"));
            }
            let start = Instant::now();
            assert_eq!(client.words("WAITAOF 1 0 0"), pair(1), "{fsync}");
            assert!(start.elapsed() < Duration::from_secs(10), "{fsync}");
            let all = positions(&server);
            assert!(all.len() == shards && all.iter().all(|p| p.0 == p.1), "{fsync}: {all:?}");
        }
        assert_eq!(client.words("WAITAOF 0 0 0"), pair(1), "{fsync}: nothing new since");
    }
}

#[test]
fn nobody_waits_longer_than_asked_for() {
    let server = Server::start(Options { fsync: "no", ..Options::shards(2) });
    let mut client = server.client();
    client.words("SET k v");
    let start = Instant::now();
    assert_eq!(client.words("WAIT 1 100"), Value::Int(0));
    assert!(start.elapsed() >= Duration::from_millis(100));
    let start = Instant::now();
    assert_eq!(client.words("WAITAOF 1 1 300"), pair(1), "the disk has answered, no replica has");
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(client.words("WAITAOF 0 2 20"), pair(1));
    // Behind one that waits, requests wait; and what is asked in a transaction waits for nothing.
    let replies = client.pipeline(&[
        vec![b"WAIT".to_vec(), b"1".to_vec(), b"50".to_vec()],
        vec![b"PING".to_vec()],
        vec![b"MULTI".to_vec()],
        vec![b"WAIT".to_vec(), b"1".to_vec(), b"0".to_vec()],
        vec![b"WAITAOF".to_vec(), b"0".to_vec(), b"1".to_vec(), b"0".to_vec()],
        vec![b"EXEC".to_vec()],
    ]);
    assert_eq!(replies[5], Value::Array(vec![Value::Int(0), pair(1)]));
    // Who waits for ever is let go by the end.
    let mut waiting = server.client();
    waiting.send(b"WAIT 1 0\r\n").expect("send");
    let limit = Instant::now() + Duration::from_secs(20);
    let blocked = |server: &Server| {
        let info = server.client().words("INFO clients");
        String::from_utf8_lossy(info.text().unwrap_or_default()).contains("blocked_clients:1")
    };
    while !blocked(&server) {
        assert!(Instant::now() < limit, "nobody is blocked");
    }
    server.stop();
}

/// CLIENT UNBLOCK, from a client on any shard, alone and within a transaction.
#[test]
fn who_waits_can_be_woken() {
    let server = Server::start(Options { fsync: "no", ..Options::shards(3) });
    let mut waker = server.client();
    let error = Value::Error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK".to_vec());
    for round in 0..6 {
        let mut waiting = server.client();
        let id = waiting.words("CLIENT ID").int().expect("an id");
        let (command, timeout) = match round % 2 {
            0 => ("WAIT 1 0", Value::Int(0)),
            _ => ("WAITAOF 1 1 0", pair(1)),
        };
        assert_eq!(waker.words(&format!("CLIENT UNBLOCK {id}")), Value::Int(0), "nobody waits");
        waiting.words("SET k v");
        waiting.send(format!("{command}\r\nECHO behind\r\n").as_bytes()).expect("send");
        let listed = |waker: &mut crate::support::Client| {
            let line = waker.words(&format!("CLIENT LIST ID {id}"));
            String::from_utf8_lossy(line.text().expect("a line")).contains(" flags=b ")
        };
        let limit = Instant::now() + Duration::from_secs(20);
        while !listed(&mut waker) {
            assert!(Instant::now() < limit, "{command} does not wait");
        }
        let (how, reply) = if round % 3 == 0 { ("ERROR", &error) } else { ("TIMEOUT", &timeout) };
        if round < 3 {
            assert_eq!(waker.words(&format!("CLIENT UNBLOCK {id} {how}")), Value::Int(1));
        } else {
            waker.words("MULTI");
            waker.words(&format!("CLIENT UNBLOCK {id} {how}"));
            assert_eq!(waker.words("EXEC"), Value::Array(vec![Value::Int(1)]));
        }
        let (_, got) = waiting.reply().expect("a reply");
        // The disk may have answered by then, or not yet.
        let early = how == "TIMEOUT" && command.starts_with("WAITAOF") && got == pair(0);
        assert!(got == *reply || early, "{command} {how}: {got:?}");
        assert_eq!(waiting.reply().expect("a reply").1.text(), Some(b"behind".as_slice()));
        assert!(!listed(&mut waker));
    }
    assert_eq!(waker.words("CLIENT UNBLOCK -5"), Value::Int(0));
}

#[test]
fn without_a_log_nothing_is_durable() {
    let server = Server::start(Options { appendonly: false, ..Options::shards(2) });
    let mut client = server.client();
    client.words("SET k v");
    let refused = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    assert_eq!(client.words("WAITAOF 1 0 0"), Value::Error(refused.into()));
    assert_eq!(client.words("WAITAOF 0 0 0"), pair(0));
}
