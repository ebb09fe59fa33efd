//! Commands over several shards, as a client of one server sees them.

use std::collections::BTreeSet;

use super::{eventually, info};
use crate::support::{Client, Options, Server, Value};

/// The cursor and the keys of a reply to SCAN.
fn scanned(reply: &Value) -> (String, BTreeSet<String>) {
    let text = |v: &Value| String::from_utf8_lossy(v.text().expect("text")).into_owned();
    let [cursor, keys] = reply.items().expect("two") else { panic!("{reply:?}") };
    let keys = keys.items().expect("keys");
    let distinct: BTreeSet<String> = keys.iter().map(text).collect();
    assert_eq!(distinct.len(), keys.len(), "none twice: {reply:?}");
    (text(cursor), distinct)
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

/// Makes so many keys.
fn keys(client: &mut Client, count: usize) -> BTreeSet<String> {
    let keys: BTreeSet<String> = (0..count).map(|n| format!("key:{n}")).collect();
    let sets: Vec<Vec<Vec<u8>>> = keys.iter().map(|key| words(&format!("SET {key} v"))).collect();
    assert!(client.pipeline(&sets).iter().all(|reply| *reply == ok()));
    keys
}

#[test]
fn few_keys_are_scanned_in_one_call() {
    for shards in [1, 2, 4] {
        let server = Server::start(Options::shards(shards));
        let mut client = server.client();
        assert_eq!(scanned(&client.words("SCAN 0")), ("0".into(), BTreeSet::new()));
        let few = keys(&mut client, 8);
        for options in ["", " MATCH key:*", " COUNT 500", " TYPE string"] {
            let reply = client.words(&format!("SCAN 0{options}"));
            assert_eq!(scanned(&reply), ("0".into(), few.clone()), "{shards} shards, {options}");
        }
        let none = client.words("SCAN 0 TYPE list");
        assert_eq!(scanned(&none), ("0".into(), BTreeSet::new()));
        // Behind a write that the same client has just sent, and in a transaction.
        let replies = client.pipeline(&[words("SET key:8 v"), words("SCAN 0")]);
        assert_eq!(replies[0], ok());
        assert_eq!(scanned(&replies[1]).1.len(), 9, "{shards} shards");
        client.words("MULTI");
        client.words("DEL key:8");
        client.words("SCAN 0");
        let reply = client.words("EXEC");
        let [_, reply] = reply.items().expect("both") else { panic!("{reply:?}") };
        assert_eq!(scanned(reply), ("0".into(), few), "{shards} shards");
    }
}

#[test]
fn many_keys_are_scanned_bit_by_bit() {
    for shards in [1, 2, 4] {
        let server = Server::start(Options::shards(shards));
        let mut client = server.client();
        let many = keys(&mut client, 1800);
        for count in [1, 10, 500, 5000] {
            let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
            loop {
                let reply = client.words(&format!("SCAN {cursor} COUNT {count}"));
                let (next, some) = scanned(&reply);
                assert!(some.len() <= 2 * count + 64, "{} at once of {count}", some.len());
                seen.extend(some);
                calls += 1;
                assert!(calls < 4000, "it does not end: {next}");
                cursor = next;
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(seen, many, "{shards} shards, {count}");
            assert_eq!(calls == 1, count == 5000, "{calls} calls of {count}");
        }
    }
}

/// Keys of two tags, one of which the first of two shards has, and the other the second.
#[test]
fn shards_that_are_done_hand_on_to_those_that_are_not() {
    let server = Server::start(Options::shards(2));
    let mut client = server.client();
    let [first, second] = ["{2}", "{0}"];
    for (of_first, of_second) in [(0, 5), (5, 3000), (0, 3000), (3000, 0), (3000, 5), (5, 5)] {
        for wrap in [false, true] {
            client.words("FLUSHALL");
            client.words("SELECT 3");
            let named = |(tag, count): (&str, usize)| -> Vec<String> {
                (0..count).map(|n| format!("{n}:{tag}")).collect()
            };
            let made: Vec<String> =
                [(first, of_first), (second, of_second)].into_iter().flat_map(named).collect();
            let sets: Vec<_> = made.iter().map(|key| words(&format!("SET {key} v"))).collect();
            assert!(client.pipeline(&sets).iter().all(|reply| *reply == ok()));
            let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
            while calls == 0 || cursor != "0" {
                let scan = format!("SCAN {cursor}");
                let reply = match wrap {
                    false => client.words(&scan),
                    true => {
                        client.words("MULTI");
                        client.words(&scan);
                        client.words("EXEC").items().expect("its replies")[0].clone()
                    }
                };
                let (next, some) = scanned(&reply);
                (cursor, calls) = (next, calls + 1);
                seen.extend(some);
                assert!(calls < 2000, "it does not end: {cursor}");
            }
            let what = format!("{of_first} and {of_second}, in a transaction: {wrap}");
            assert_eq!(seen, made.into_iter().collect(), "{what}");
            assert_eq!(calls == 1, of_first + of_second <= 10, "{what}: {calls} calls");
            client.words("SELECT 0");
        }
    }
}

#[test]
fn a_call_counts_once_however_many_shards_have_a_part_in_it() {
    for shards in [1, 4] {
        let server = Server::start(Options::shards(shards));
        let mut client = server.client();
        client.words("MGET a b c d e");
        client.words("CONFIG RESETSTAT");
        // The others hear of it.
        eventually("counters begin again", || {
            let reply = client.words("INFO commandstats");
            !String::from_utf8_lossy(reply.text().expect("text")).contains("cmdstat_mget:")
        });
        let before = info(&mut client, "total_commands_processed");
        for request in ["MSET a 1 b 2 c 3 d 4 e 5", "DEL a b c d e", "DBSIZE", "KEYS *", "SCAN 0"] {
            client.words(request);
        }
        client.words("SCAN 0 COUNT");
        let after = info(&mut client, "total_commands_processed");
        // INFO itself counts once it is answered.
        assert_eq!(after - before, 7, "{shards} shards");
        let reply = client.words("INFO commandstats");
        let text = String::from_utf8_lossy(reply.text().expect("text")).into_owned();
        for (name, calls, failed) in
            [("mset", 1, 0), ("del", 1, 0), ("dbsize", 1, 0), ("keys", 1, 0), ("scan", 2, 1)]
        {
            let line = text.lines().find(|l| l.starts_with(&format!("cmdstat_{name}:")));
            let line = line.unwrap_or_else(|| panic!("{name}: {text}"));
            assert!(line.contains(&format!(":calls={calls},")), "{shards} shards: {line}");
            assert!(line.ends_with(&format!("failed_calls={failed}")), "{line}");
        }
        assert_eq!(info(&mut client, "total_error_replies"), 1, "{shards} shards");
    }
}
