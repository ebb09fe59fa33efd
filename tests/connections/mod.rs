//! CLIENT and MONITOR from outside, over connections that live on several shards.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{Client, Options, Server, Value, encode};

mod monitor;
mod several;
mod storm;

/// Longest wait for something that comes by itself.
const PATIENCE: Duration = Duration::from_secs(20);

type Fields = Vec<(String, String)>;

/// The lines of CLIENT LIST or CLIENT INFO, field by field.
fn lines(reply: &Value) -> Vec<Fields> {
    let text = String::from_utf8_lossy(reply.text().expect("lines")).into_owned();
    let text = text.strip_prefix("txt:").unwrap_or(&text).to_owned();
    let fields = |line: &str| -> Fields {
        let pair = |word: &str| {
            let (name, value) = word.split_once('=').expect("name=value");
            (name.to_owned(), value.to_owned())
        };
        line.split(' ').map(pair).collect()
    };
    text.lines().map(fields).collect()
}

fn field<'a>(line: &'a Fields, name: &str) -> &'a str {
    let found = line.iter().find(|(field, _)| field == name);
    &found.unwrap_or_else(|| panic!("no {name} in {line:?}")).1
}

fn id(client: &mut Client) -> i64 {
    client.words("CLIENT ID").int().expect("an id")
}

/// A field of INFO.
fn info(client: &mut Client, name: &str) -> u64 {
    let reply = client.words("INFO everything");
    let text = String::from_utf8_lossy(reply.text().expect("text")).into_owned();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

/// Asks until the answer is right.
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "{what}: not after {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// Whether the server has ended a connection.
fn is_gone(client: &mut Client) -> bool {
    client.try_call(&["PING"]).is_err()
}

#[test]
fn lists_tell_of_every_shard() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards));
        let mut clients: Vec<Client> = (0..7).map(|_| server.client()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.words(&format!("CLIENT SETNAME c{n}"));
            client.words(&format!("SELECT {n}"));
        }
        clients[1].words("HELLO 3");
        clients[2].words("CLIENT SETINFO lib-name mine");
        clients[2].words("CLIENT SETINFO LIB-VER 1.2");
        clients[3].words("MULTI");
        clients[3].words("GET k");
        clients[4].words("CLIENT NO-EVICT ON");
        clients[4].words("CLIENT NO-TOUCH ON");
        clients[5].words("WATCH w");
        clients[0].words("SELECT 5");
        clients[0].words("SET w 1");
        let reply = clients[0].words("CLIENT LIST");
        let all = lines(&reply);
        assert_eq!(all.len(), 7);
        let ids: Vec<i64> = all.iter().map(|l| field(l, "id").parse().unwrap()).collect();
        assert!(ids.is_sorted());
        let by_name: BTreeMap<&str, &Fields> = all.iter().map(|l| (field(l, "name"), l)).collect();
        for (name, what, value) in [
            ("c0", "cmd", "client|list"),
            ("c0", "db", "5"),
            ("c0", "flags", "N"),
            ("c1", "resp", "3"),
            ("c1", "cmd", "hello"),
            ("c2", "lib-name", "mine"),
            ("c2", "lib-ver", "1.2"),
            ("c2", "resp", "2"),
            ("c3", "multi", "1"),
            ("c3", "flags", "x"),
            ("c3", "cmd", "get"),
            ("c4", "flags", "eT"),
            ("c5", "flags", "d"),
            ("c5", "multi", "-1"),
            ("c6", "db", "6"),
            ("c6", "user", "default"),
            ("c6", "redir", "-1"),
            ("c6", "laddr", &format!("127.0.0.1:{}", server.port())),
        ] {
            assert_eq!(field(by_name[name], what), value, "{name} {what}, {shards} shards");
        }
        // The descriptors are those of the process.
        for line in &all {
            let link = format!("/proc/{}/fd/{}", server.pid(), field(line, "fd"));
            let target = std::fs::read_link(&link).unwrap_or_else(|e| panic!("{link}: {e}"));
            assert!(target.to_string_lossy().starts_with("socket:"), "{link}: {target:?}");
        }
        let own = lines(&clients[6].words("CLIENT INFO"));
        assert_eq!((own.len(), field(&own[0], "name")), (1, "c6"));
        let (third, first) = (id(&mut clients[4]), id(&mut clients[0]));
        let named = clients[1].words(&format!("CLIENT LIST ID {third} 999999 {first} {third}"));
        let named: Vec<i64> =
            lines(&named).iter().map(|l| field(l, "id").parse().unwrap()).collect();
        assert_eq!(named, [third, first, third]);
        assert_eq!(lines(&clients[0].words("CLIENT LIST TYPE normal")).len(), 7);
        assert_eq!(lines(&clients[0].words("CLIENT LIST TYPE pubsub")).len(), 0);
        assert_eq!(info(&mut clients[0], "connected_clients"), 7);
    }
}

/// Inside a transaction, between other replies, over keys of all shards.
#[test]
fn lists_stand_in_transactions() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards));
        let _others: Vec<Client> = (0..6).map(|_| server.client()).collect();
        let client = &mut server.client();
        eventually("all are there", || info(client, "connected_clients") == 7);
        client.words("MULTI");
        for command in ["MSET a 1 b 2 c 3 d 4", "CLIENT LIST", "CLIENT INFO", "GET a", "CLIENT ID"]
        {
            assert_eq!(client.words(command).text(), Some(&b"QUEUED"[..]));
        }
        let reply = client.words("EXEC");
        let Some([ok, list, own, a, number]) = reply.items() else { panic!("{reply:?}") };
        assert_eq!((ok.text(), a.text()), (Some(&b"OK"[..]), Some(&b"1"[..])));
        assert_eq!((lines(list).len(), lines(own).len()), (7, 1));
        assert_eq!(field(&lines(own)[0], "id").parse(), Ok(number.int().unwrap()));
    }
}

#[test]
fn lines_have_the_fields_of_the_peer() {
    let Some(peer) = Server::peer(Options::default(), "fields of CLIENT LIST") else { return };
    let server = Server::start(Options::shards(2));
    let names = |server: &Server| -> Vec<String> {
        let line = lines(&server.client().words("CLIENT INFO")).remove(0);
        line.into_iter().map(|(name, _)| name).collect()
    };
    // 7.2 added these two at the end.
    let added = ["lib-name", "lib-ver"].map(str::to_owned);
    let mut theirs = names(&peer);
    theirs.retain(|name| !added.contains(name));
    theirs.extend(added);
    assert_eq!(names(&server), theirs);
}

#[test]
fn clients_on_a_unix_socket_go_by_its_path() {
    use std::io::{Read, Write};
    let place = crate::support::server::fresh_home();
    let path = place.path().join("socket");
    let path = path.to_str().unwrap();
    let server = Server::start(Options::shards(2).with("unixsocket", path));
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    stream.read_exact(&mut [0; 7]).unwrap();
    let reply = server.client().words("CLIENT LIST");
    let all = lines(&reply);
    let unix: Vec<_> = all.iter().filter(|l| field(l, "flags") == "U").collect();
    assert_eq!(unix.len(), 1, "{all:?}");
    let wanted = format!("{path}:0");
    assert_eq!((field(unix[0], "addr"), field(unix[0], "laddr")), (&*wanted, &*wanted));
    assert_eq!(server.client().words(&format!("CLIENT KILL ADDR {wanted}")).int(), Some(1));
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn kill_in_all_its_forms() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards));
        let mut killer = server.client();
        let own = id(&mut killer);
        let mut victims: Vec<Client> = (0..6).map(|_| server.client()).collect();
        let ids: Vec<i64> = victims.iter_mut().map(id).collect();
        assert_eq!(killer.words(&format!("CLIENT KILL ID {}", ids[0])).int(), Some(1));
        assert!(is_gone(&mut victims[0]));
        assert_eq!(killer.words(&format!("CLIENT KILL ID {}", ids[0])).int(), Some(0));
        assert_eq!(killer.words(&format!("CLIENT KILL ID {own}")).int(), Some(0));
        let all = lines(&killer.words("CLIENT LIST"));
        let addr = |id: i64| {
            let line = all.iter().find(|l| field(l, "id") == id.to_string());
            field(line.expect("listed"), "addr").to_owned()
        };
        let reply = killer.words(&format!("CLIENT KILL {}", addr(ids[1])));
        assert_eq!(reply.text(), Some(&b"OK"[..]));
        assert!(is_gone(&mut victims[1]));
        let reply = killer.words(&format!("CLIENT KILL {}", addr(ids[1])));
        assert_eq!(reply, Value::Error(b"ERR No such client".to_vec()));
        let both = format!("CLIENT KILL ADDR {} ID {}", addr(ids[2]), ids[3]);
        assert_eq!(killer.words(&both).int(), Some(0), "both must hold");
        let here = format!("CLIENT KILL LADDR 127.0.0.1:{} TYPE normal", server.port());
        assert_eq!(killer.words(&here).int(), Some(4), "{shards} shards");
        assert!(victims[2..].iter_mut().all(is_gone));
        assert_eq!(lines(&killer.words("CLIENT LIST")).len(), 1);
        // Itself, at last: it still hears of it, and of nothing that came behind.
        let mut bytes = encode(&["CLIENT", "KILL", "USER", "default", "SKIPME", "no"]);
        bytes.extend(encode(&["PING"]));
        killer.send(&bytes).unwrap();
        assert_eq!(killer.reply().unwrap().1.int(), Some(1));
        assert_eq!(killer.rest().unwrap(), b"");
        let mut last = server.client();
        eventually("everybody is gone", || info(&mut last, "connected_clients") == 1);
    }
}

#[test]
fn a_pause_holds_writes_and_expiry() {
    for shards in [1, 3] {
        let server = Server::start(Options { fsync: "no", ..Options::shards(shards) });
        let mut admin = server.client();
        for n in 0..20 {
            admin.words(&format!("SET short:{n} v PX 30"));
        }
        admin.words("SET k old");
        assert_eq!(admin.words("CLIENT PAUSE 100000 WRITE").text(), Some(&b"OK"[..]));
        let mut writers: Vec<Client> = (0..6).map(|_| server.client()).collect();
        for (n, writer) in writers.iter_mut().enumerate() {
            let mut bytes = encode(&["GET", "k"]);
            bytes.extend(match n {
                0 => encode(&["SET", "k", "new"]),
                1 => [encode(&["MULTI"]), encode(&["SET", "a", "b"]), encode(&["EXEC"])].concat(),
                _ => encode(&["MSET", &format!("m{n}"), "1", "n", "2", "o", "3", "p", "4"]),
            });
            bytes.extend(encode(&["PING"]));
            writer.send(&bytes).unwrap();
            assert_eq!(writer.reply().unwrap().1.text(), Some(&b"old"[..]));
        }
        eventually("all wait", || info(&mut admin, "blocked_clients") == 6);
        let list = lines(&admin.words("CLIENT LIST"));
        assert_eq!(list.iter().filter(|l| field(l, "flags").contains('b')).count(), 6);
        // What is past its expiry is not seen, and stays.
        eventually("it is past its expiry", || admin.words("GET short:0").is_null());
        for n in 0..20 {
            eventually("so are all", || admin.words(&format!("EXISTS short:{n}")).int() == Some(0));
        }
        assert_eq!(admin.words("DBSIZE").int(), Some(21));
        assert_eq!(admin.words("GET k").text(), Some(&b"old"[..]));
        // A pause of less does not take from it.
        admin.words("CLIENT PAUSE 1 WRITE");
        assert_eq!(info(&mut admin, "blocked_clients"), 6);
        assert_eq!(admin.words("CLIENT UNPAUSE").text(), Some(&b"OK"[..]));
        for (n, writer) in writers.iter_mut().enumerate() {
            let replies = if n == 1 { 4 } else { 2 };
            let all: Vec<Value> = (0..replies).map(|_| writer.reply().unwrap().1).collect();
            assert_eq!(all.last().unwrap().text(), Some(&b"PONG"[..]), "{all:?}");
            assert!(!all.iter().any(Value::is_error), "{all:?}");
        }
        assert_eq!(admin.words("GET k").text(), Some(&b"new"[..]));
        eventually("expired keys are removed", || {
            admin.words("DBSIZE").int() == Some(1 + 1 + 4 + 3)
        });
        assert_eq!(info(&mut admin, "blocked_clients"), 0);
    }
}

#[test]
fn a_pause_of_everything_ends_by_itself() {
    let server = Server::start(Options::shards(3));
    let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    clients[0].words("CLIENT PAUSE 300");
    let start = Instant::now();
    for client in &mut clients {
        client.send(&encode(&["PING"])).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.reply().unwrap().1.text(), Some(&b"PONG"[..]));
    }
    assert!(start.elapsed() > Duration::from_millis(250), "{:?}", start.elapsed());
}

#[test]
fn replies_are_kept_back() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards));
        let mut client = server.client();
        let commands = |words: &[&str]| -> Vec<u8> {
            words.iter().flat_map(|w| encode(&w.split(' ').collect::<Vec<_>>())).collect()
        };
        client
            .send(&commands(&[
                "SET a 1",
                "CLIENT REPLY SKIP",
                "MSET a 1 b 2 c 3",
                "GET b",
                "CLIENT REPLY SKIP",
                "RENAME b z",
                "CLIENT REPLY SKIP",
                "CLIENT REPLY SKIP",
                "PING skipped",
                "CLIENT ID",
            ]))
            .unwrap();
        for wanted in ["OK", "2"] {
            assert_eq!(client.reply().unwrap().1.text(), Some(wanted.as_bytes()));
        }
        assert!(client.reply().unwrap().1.int().is_some());
        let mut script = vec!["CLIENT REPLY OFF"];
        for _ in 0..50 {
            script.extend(["INCR n", "MGET a b c", "nosuch", "GET", "CLIENT LIST", "PING"]);
            script.extend(["MULTI", "INCR n", "MSET a 1 b 2 c 3", "EXEC", "CONFIG GET dir"]);
        }
        script.extend(["CLIENT REPLY ON", "GET n"]);
        client.send(&commands(&script)).unwrap();
        assert_eq!(client.reply().unwrap().1.text(), Some(&b"OK"[..]));
        assert_eq!(client.reply().unwrap().1.text(), Some(&b"100"[..]));
        client.send(&commands(&["CLIENT REPLY OFF", "PING", "RESET", "PING"])).unwrap();
        assert_eq!(client.reply().unwrap().1.text(), Some(&b"RESET"[..]));
        assert_eq!(client.reply().unwrap().1.text(), Some(&b"PONG"[..]));
    }
}

/// An answer that is put together later is in the protocol that was spoken when it was asked for.
#[test]
fn a_list_is_told_in_the_protocol_it_was_asked_in() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards));
        let mut client = server.client();
        client.words("HELLO 3");
        assert!(matches!(client.words("CLIENT LIST"), Value::Verbatim(..)), "RESP3");
        client.words("HELLO 2");
        assert!(matches!(client.words("CLIENT LIST"), Value::Bulk(_)), "RESP2 again");
    }
}

/// Of a reply that passes the limit nothing arrives, and what was asked for is done all the same.
#[test]
fn nothing_is_sent_of_what_passes_the_output_limit() {
    for shards in [1, 2, 4] {
        let server = Server::start(Options::shards(shards));
        let mut admin = server.client();
        admin.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0"]);
        let item = "x".repeat(1000);
        (0..150).for_each(|_| drop(admin.call(&["RPUSH", "long", &item])));
        admin.call(&["RPUSH", "short", &"y".repeat(90_000)]);
        for lines in [
            &["LRANGE long 0 -1"][..],
            &["MULTI", "SET k1 v", "LRANGE long 0 -1", "SET k2 v", "DEL k1", "EXEC"],
        ] {
            let mut client = server.client();
            let short = client.words("LRANGE short 0 -1");
            assert_eq!(short.items().map(<[Value]>::len), Some(1), "it is under the limit");
            let (last, first) = lines.split_last().expect("lines");
            first.iter().for_each(|line| drop(client.words(line)));
            client.send(format!("{last}\r\n").as_bytes()).expect("sends");
            assert_eq!(client.rest().expect("its end"), b"", "{shards} shards: {lines:?}");
        }
        assert_eq!(admin.words("GET k2").text(), Some(&b"v"[..]));
        assert!(admin.words("GET k1").is_null());
        assert_eq!(info(&mut admin, "client_output_buffer_limit_disconnections"), 2);
    }
}

/// What a client sends is no output of it, whatever other shards it goes to, nor is what it does
/// not want to hear; and so much of that that its requests have to wait does not stop them.
#[test]
fn the_output_limit_is_about_replies() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards));
        let mut admin = server.client();
        admin.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 500000 0 0"]);
        let large = "x".repeat(600_000);
        let mut client = server.client();
        for key in 0..8 {
            let reply = client.call(&["SET", &format!("k{key}"), &large]);
            assert_eq!(reply.text(), Some(&b"OK"[..]), "{shards} shards");
        }
        assert_eq!(info(&mut admin, "client_output_buffer_limit_disconnections"), 0);
        let mut all = encode(&["CLIENT", "REPLY", "OFF"]);
        (0..8).for_each(|key| all.extend(encode(&["GET", &format!("k{key}")])));
        all.extend(encode(&["CLIENT", "REPLY", "ON"]));
        client.send(&all).expect("sent");
        assert_eq!(client.reply().expect("a reply").1.text(), Some(&b"OK"[..]));
        assert_eq!(info(&mut admin, "client_output_buffer_limit_disconnections"), 0);
    }
}
