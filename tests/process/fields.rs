//! Fields of hashes that end: over restarts and kills, in the background, and as the server tells
//! of them.

use super::await_some;
use crate::support::{Client, Options, Server, Value};

/// 2100-01-01 in milliseconds.
const FAR: &str = "4102444800000";

fn info(client: &mut Client, name: &str) -> String {
    let reply = client.words("INFO everything");
    let text = String::from_utf8_lossy(reply.text().expect("text")).into_owned();
    let line =
        text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    line.unwrap_or_default()
}

fn numbers(reply: &Value) -> Vec<i64> {
    reply.items().expect("an array").iter().filter_map(Value::int).collect()
}

/// What the keys that the tests below fill hold.
fn held(client: &mut Client) -> Vec<String> {
    let digest = client.words("DEBUG DIGEST");
    let mut all = vec![format!("{digest:?}")];
    for key in ["{t}a", "{t}b", "{u}c", "large"] {
        let times = client.words(&format!("HPEXPIRETIME {key} FIELDS 4 f0 f1 f2 f3"));
        all.push(format!("{key}: {times:?} {:?}", client.words(&format!("HLEN {key}"))));
    }
    all
}

#[test]
fn times_of_fields_outlive_the_server() {
    for policy in ["always", "everysec"] {
        let options =
            Options::shards(2).with("appendfsync", policy).with("enable-debug-command", "yes");
        let server = Server::start(options);
        let mut client = server.client();
        for line in [
            "HSET {t}a f0 0 f1 1 f2 2 f3 3".to_owned(),
            format!("HPEXPIREAT {{t}}a {FAR} FIELDS 2 f0 f1"),
            "HINCRBY {t}a f0 5".to_owned(),
            "HINCRBYFLOAT {t}a f1 0.5".to_owned(),
            "HGETEX {t}a EXAT 4102444801 FIELDS 1 f2".to_owned(),
            format!("HSETEX {{t}}a PXAT {FAR} FIELDS 1 f3 new"),
            "COPY {t}a {t}b".to_owned(),
            "HSET {t}b f1 cleared".to_owned(),
            "HPERSIST {t}b FIELDS 1 f2".to_owned(),
            "RENAME {t}a {u}c".to_owned(),
            "HGETDEL {u}c FIELDS 1 f2".to_owned(),
            "HEXPIRE {u}c 0 FIELDS 1 f1".to_owned(),
        ] {
            let reply = client.words(&line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
        for n in (0..3000).step_by(10) {
            let pairs: Vec<String> = (n..n + 10).map(|n| format!("f{n} {n}")).collect();
            client.words(&format!("HSETEX large PXAT {FAR} FIELDS 10 {}", pairs.join(" ")));
        }
        let before = held(&mut client);
        assert_eq!(numbers(&client.words("HPEXPIRETIME {t}b FIELDS 2 f0 f1"))[1], -1);
        assert_eq!(info(&mut client, "db0"), "keys=3,expires=0,avg_ttl=0,subexpiry=3");
        let stopped = if policy == "always" { server.kill() } else { server.stop() };
        let server = stopped.restart();
        assert_eq!(held(&mut server.client()), before, "{policy}");
    }
}

#[test]
fn fields_go_in_the_background_and_stay_gone() {
    let server = Server::start(Options::shards(2));
    let mut client = server.client();
    for n in 0..500 {
        client.words(&format!("HSETEX h{n} PX 1 FIELDS 2 a 1 b 2"));
        client.words(&format!("HSETEX k{n} PX 1 FIELDS 2 a 1 b 2"));
        client.words(&format!("HSET k{n} c 3"));
    }
    for n in 0..5000 {
        client.words(&format!("HSETEX large PX 1 FIELDS 1 f{n} {n}"));
    }
    client.words("HSET large last x");
    await_some("all are gone", || (info(&mut client, "expired_subkeys") == "7000").then_some(()));
    assert_eq!(client.words("DBSIZE").int(), Some(501));
    assert_eq!(client.words("HLEN large").int(), Some(1));
    await_some("INFO tells of it", || {
        info(&mut client, "db0").ends_with("subexpiry=0").then_some(())
    });
    let server = server.stop().restart();
    let mut client = server.client();
    assert_eq!(client.words("DBSIZE").int(), Some(501));
    assert_eq!(client.words("HLEN large").int(), Some(1));
    assert_eq!(info(&mut client, "expired_subkeys"), "0");
}

#[test]
fn a_log_that_older_servers_cannot_load_is_told_of_once() {
    let server = Server::start(Options::shards(2));
    let mut client = server.client();
    client.words("HSET h a 1");
    let told = |server: &Server| server.log().matches("docs/COMPATIBILITY.md").count();
    assert_eq!(told(&server), 0);
    for n in 0..20 {
        client.words(&format!("HSETEX h{n} EX 1000 FIELDS 1 a 1"));
    }
    await_some("it is told of", || (told(&server) > 0).then_some(()));
    // Several rounds later it has not been said again.
    let ticks = info(&mut client, "uptime_in_seconds").parse::<u64>().expect("seconds");
    await_some("time passes", || {
        let now = info(&mut client, "uptime_in_seconds").parse::<u64>().expect("seconds");
        (now > ticks + 1).then_some(())
    });
    assert_eq!(told(&server), 1);
}
