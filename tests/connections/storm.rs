//! Random CONFIG SET, CLIENT KILL, PAUSE and UNPAUSE, MONITOR and DEBUG during load: nobody waits
//! forever, no reply is lost, nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Client, eventually, info};
use crate::support::{Options, Server, Value, encode, number};

/// A small random number from a running state.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// A client that writes numbers and reads them back until it is told to stop, and connects again
/// when it is killed. What was acknowledged last must still be there.
fn work(port: u16, who: u64, stop: &AtomicBool, done: &AtomicU64) {
    let mut state = who;
    let connect = || Client::connect(port).expect("connect");
    let mut client = connect();
    let mut written: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        let (key, next) = (format!("w{who}"), (written + 1).to_string());
        let mut bytes = encode(&["SET", &key, &next]);
        let others = draw(&mut state, 20);
        for n in 0..others {
            let other = format!("x{}", (n * 31 + who) % 97);
            bytes.extend(match n % 4 {
                0 => encode(&["MSET", &other, "1", "y", "2", "z", "3"]),
                1 => encode(&["GET", &other]),
                2 => encode(&["MGET", &other, "y", "z"]),
                _ => encode(&["RENAME", "y", &other]),
            });
        }
        bytes.extend(encode(&["GET", &key]));
        let sent = client.send(&bytes);
        let replies = (0..others + 2).map(|_| client.reply()).collect::<Result<Vec<_>, _>>();
        match (sent, replies) {
            (Ok(()), Ok(replies)) => {
                let last = replies.last().and_then(|(_, value)| value.text());
                assert_eq!(last, Some(next.as_bytes()), "a reply of another request");
                written += 1;
                done.fetch_add(1, Ordering::Relaxed);
            }
            // Killed: what was under way may have happened or not.
            (Err(error), _) | (_, Err(error)) => {
                assert!(!is_stall(&error), "no reply: {error}");
                client = connect();
                let found = client.call(&["GET", &key]);
                let found = found
                    .text()
                    .map_or(0, |text| std::str::from_utf8(text).unwrap().parse::<u64>().unwrap());
                assert!(found == written || found == written + 1, "{found} after {written}");
                written = found;
            }
        }
    }
}

fn is_stall(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// What an administrator sends; each must be answered without an error.
const CALLS: &[&str] = &[
    "CONFIG SET appendfsync everysec",
    "CONFIG SET appendfsync always",
    "CONFIG SET maxmemory 1gb timeout 0",
    "CONFIG SET slowlog-log-slower-than 0 latency-monitor-threshold 1",
    "CONFIG SET slowlog-log-slower-than 10000 latency-monitor-threshold 0 slowlog-max-len 16",
    "CONFIG SET latency-tracking no",
    "CONFIG SET latency-tracking yes hz 50",
    "CONFIG SET maxclients 500 tcp-keepalive 10",
    "CONFIG RESETSTAT",
    "CLIENT PAUSE 20 WRITE",
    "CLIENT PAUSE 3 ALL",
    "CLIENT UNPAUSE",
    "CLIENT LIST",
    "DEBUG SLEEP 0.002",
    "DEBUG DIGEST",
    "DEBUG SET-ACTIVE-EXPIRE 0",
    "DEBUG SET-ACTIVE-EXPIRE 1",
    "DEBUG POPULATE 50 p 100",
    "DEBUG HTSTATS 0",
    "DEBUG LOADAOF",
    "DEBUG PROTOCOL attrib",
    "LATENCY HISTOGRAM",
    "SLOWLOG GET -1",
    "MEMORY STATS",
];

/// One random call of an administrator.
fn call(state: &mut u64, admin: &mut Client, listeners: &mut Vec<Client>, server: &Server) {
    match draw(state, 4) {
        0 => {
            admin.words(&format!("CLIENT KILL ID {}", 1 + draw(state, 400)));
        }
        1 if draw(state, 2) == 0 => {
            let mut listener = server.client();
            listener.words("MONITOR");
            listeners.push(listener);
            if listeners.len() > 4 {
                listeners.remove(draw(state, 4) as usize);
            }
        }
        1 => {
            if let Some(listener) = listeners.last_mut() {
                // It may have been killed.
                let _ = listener.send(&encode(&["RESET"]));
            }
        }
        _ => {
            let line = CALLS[draw(state, CALLS.len() as u64) as usize];
            let reply = admin.words(line);
            assert!(!matches!(reply, Value::Error(_)), "{line}: {reply:?}");
        }
    }
}

#[test]
fn random_administration_during_load() {
    let calls = number("RINGSTONE_STORM_CALLS", 2000);
    let mut state = number("RINGSTONE_STORM_SEED", 1);
    let options = Options { fsync: "everysec", ..Options::shards(3) };
    let server = Server::start(options.with("enable-debug-command", "yes"));
    let used = |client: &mut Client| info(client, "used_memory");
    let empty = used(&mut server.client());
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let port = server.port();
    let workers: Vec<_> = (0..6)
        .map(|who| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || work(port, who, &stop, &done))
        })
        .collect();
    let mut admin = server.client();
    let mut listeners = Vec::new();
    for _ in 0..calls {
        let before = done.load(Ordering::Relaxed);
        call(&mut state, &mut admin, &mut listeners, &server);
        // Now and then somebody gets something done, or all are gone.
        if draw(&mut state, 20) == 0 {
            admin.words("CLIENT UNPAUSE");
            eventually("work goes on", || done.load(Ordering::Relaxed) > before);
        }
    }
    admin.words("CLIENT UNPAUSE");
    stop.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(|worker| worker.join().expect("a worker"));
    drop(listeners);
    let mut last = server.client();
    drop(admin);
    eventually("everybody is gone", || info(&mut last, "connected_clients") == 1);
    assert_eq!(info(&mut last, "blocked_clients"), 0);
    eventually("nothing is kept", || info(&mut last, "mem_clients_normal") < 64 << 10);
    last.words("CONFIG RESETSTAT");
    last.words("SLOWLOG RESET");
    last.words("LATENCY RESET");
    last.words("FLUSHALL SYNC");
    eventually("no memory is kept", || used(&mut last) < empty + (1 << 20));
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    assert!(open < 64, "{open} descriptors");
    server.stop();
}
