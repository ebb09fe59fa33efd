//! DEBUG where it is allowed.

use std::time::{Duration, Instant};

use crate::support::server::fresh_home;
use crate::support::{Options, Server, Value};

fn server(shards: usize) -> Server {
    Server::start(Options::shards(shards).with("enable-debug-command", "yes"))
}

#[test]
fn sleep_holds_up_everybody_and_is_slow() {
    let server = server(2);
    let (mut sleeper, mut others) = (server.client(), [server.client(), server.client()]);
    others.iter_mut().for_each(|c| assert_eq!(c.words("PING").text(), Some(b"PONG".as_slice())));
    sleeper.words("CONFIG SET latency-monitor-threshold 100");
    sleeper.send(b"DEBUG SLEEP 0.4\r\n").expect("send");
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    others.iter_mut().for_each(|c| drop(c.words("GET k")));
    assert!(start.elapsed() > Duration::from_millis(150), "{:?}", start.elapsed());
    assert_eq!(sleeper.reply().expect("a reply").0, b"+OK\r\n");
    let slow = sleeper.words("SLOWLOG GET 1");
    let call = slow.items().and_then(|calls| calls[0].items()).expect("a slow call");
    let args: Vec<_> = call[3].items().expect("arguments").iter().filter_map(Value::text).collect();
    assert_eq!(args, [b"DEBUG".as_slice(), b"SLEEP", b"0.4"]);
    assert!((400_000..2_000_000).contains(&call[2].int().expect("microseconds")), "{call:?}");
    let latest = sleeper.words("LATENCY LATEST");
    let event = latest.items().and_then(|events| events[0].items()).expect("an event");
    assert_eq!(event[0].text(), Some(b"command".as_slice()));
    assert!((400..2_000).contains(&event[2].int().expect("milliseconds")), "{event:?}");
}

#[test]
fn what_populate_makes_survives() {
    let server = server(3);
    let mut client = server.client();
    assert_eq!(client.words("DEBUG POPULATE 1000 many 50").text(), Some(b"OK".as_slice()));
    assert_eq!(client.words("DBSIZE"), Value::Int(1000));
    let digest = client.words("DEBUG DIGEST");
    let server = server.kill().restart();
    let mut client = server.client();
    assert_eq!(client.words("DEBUG DIGEST"), digest);
    client.words("MULTI");
    client.words("SET one more");
    client.words("DEBUG DIGEST");
    let replies = client.words("EXEC");
    let inside = &replies.items().expect("replies")[1];
    assert_ne!(inside, &digest);
    assert_eq!(&client.words("DEBUG DIGEST"), inside);
}

#[test]
fn active_expiry_can_be_stopped() {
    let server = server(2);
    let mut client = server.client();
    client.words("DEBUG SET-ACTIVE-EXPIRE 0");
    (0..20).for_each(|n| drop(client.words(&format!("SET k{n} v PX 1"))));
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(client.words("DBSIZE"), Value::Int(20));
    client.words("DEBUG SET-ACTIVE-EXPIRE 1");
    let limit = Instant::now() + Duration::from_secs(20);
    while client.words("DBSIZE") != Value::Int(0) {
        assert!(Instant::now() < limit, "keys stay");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_process_can_be_ended() {
    for how in ["SEGFAULT", "PANIC", "ASSERT"] {
        let server = server(2);
        let mut client = server.client();
        client.words("SET k v");
        client.send(format!("DEBUG {how}\r\n").as_bytes()).expect("send");
        assert_eq!(client.rest().expect("the end"), b"", "DEBUG {how} answers nothing");
        let server = server.kill().restart();
        assert_eq!(server.client().words("GET k").text(), Some(b"v".as_slice()));
    }
}

#[test]
fn a_rewrite_of_all_directives_is_a_file_to_start_from() {
    let home = fresh_home();
    let conf = home.path().join("the.conf");
    std::fs::write(&conf, "maxmemory 100mb\n").expect("writes");
    let options = Options::shards(2).conf(&conf).with("enable-debug-command", "yes");
    let server = Server::start_in(home.clone(), options);
    let mut client = server.client();
    // Behind a write of the same batch, and inside a transaction.
    client.send(b"SET k v\r\nDEBUG CONFIG-REWRITE-FORCE-ALL\r\nGET k\r\n").expect("sends");
    for reply in [b"+OK\r\n".as_slice(), b"+OK\r\n", b"$1\r\nv\r\n"] {
        assert_eq!(client.reply().expect("a reply").0, reply);
    }
    let text = std::fs::read_to_string(&conf).expect("reads");
    for line in ["maxmemory 100mb", "timeout 0", "hz 10"] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    let all = client.words("CONFIG GET *");
    for request in ["MULTI", "DEBUG CONFIG-REWRITE-FORCE-ALL", "DEBUG LOG within", "DEBUG DIGEST"] {
        client.words(request);
    }
    let replies = client.words("EXEC");
    let replies = replies.items().expect("replies");
    assert_eq!((replies[0].text(), replies[1].text()), (Some(&b"OK"[..]), Some(&b"OK"[..])));
    assert_eq!(replies[2].text().map(<[u8]>::len), Some(40));
    server.said(|log| log.contains("# DEBUG LOG: within\n"));
    // Wherever the other keys of the transaction live.
    for key in ["a", "b", "c", "d"] {
        for request in ["MULTI", &format!("SET {key} v"), "CONFIG REWRITE"] {
            client.words(request);
        }
        let replies = client.words("EXEC");
        assert_eq!(replies.items().expect("replies")[1].text(), Some(&b"OK"[..]));
        assert!(matches!(client.words("CLIENT ID"), Value::Int(_)), "nothing is left of it");
    }
    let server = server.kill().restart();
    assert_eq!(server.client().words("CONFIG GET *"), all);
}

#[test]
fn the_replication_id_can_be_changed() {
    let server = server(2);
    let mut client = server.client();
    let id = |client: &mut crate::support::Client| {
        let info = client.words("INFO replication");
        let text = String::from_utf8_lossy(info.text().expect("text")).into_owned();
        let line =
            text.lines().find(|l| l.starts_with("master_replid:")).expect("an id").to_owned();
        assert_eq!(line.len(), "master_replid:".len() + 40, "{line}");
        line
    };
    let before = id(&mut client);
    assert_eq!(id(&mut client), before);
    assert_eq!(client.words("DEBUG CHANGE-REPL-ID").text(), Some(&b"OK"[..]));
    assert_ne!(id(&mut client), before);
}

#[test]
fn the_log_can_be_made_slow() {
    let server = server(2);
    let mut client = server.client();
    assert_eq!(client.words("DEBUG AOF-FLUSH-SLEEP 300000").text(), Some(&b"OK"[..]));
    let start = Instant::now();
    assert_eq!(client.words("SET k v").text(), Some(&b"OK"[..]));
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert_eq!(client.words("DEBUG AOF-FLUSH-SLEEP 0").text(), Some(&b"OK"[..]));
    assert_eq!(client.words("GET k").text(), Some(&b"v"[..]));
}

/// Subcommands that act on the server alone do so in a transaction as well.
#[test]
fn a_transaction_knows_every_subcommand() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards).with("enable-debug-command", "yes"));
        let mut client = server.client();
        for line in ["MULTI", "DEBUG RESTART x", "DEBUG LOG y", "SET k v"] {
            client.words(line);
        }
        let reply = client.words("EXEC");
        let [refused, logged, set] = reply.items().expect("an array") else { panic!("{reply:?}") };
        assert_eq!(*refused, Value::Error(b"ERR value is not an integer or out of range".into()));
        assert_eq!((logged, set), (&Value::Simple(b"OK".into()), &Value::Simple(b"OK".into())));
    }
}
