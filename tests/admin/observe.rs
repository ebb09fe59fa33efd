//! SLOWLOG and LATENCY against what a client did.

use crate::support::{Client, Options, Server, Value};

fn items(value: &Value) -> &[Value] {
    value.items().unwrap_or_else(|| panic!("no array: {value:?}"))
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.text().unwrap_or_else(|| panic!("no text: {value:?}"))).into()
}

fn int(value: &Value) -> i64 {
    value.int().unwrap_or_else(|| panic!("no integer: {value:?}"))
}

/// Arguments of the calls that SLOWLOG GET shows, the newest first.
fn slow_calls(client: &mut Client, count: &str) -> Vec<String> {
    let reply = client.words(&format!("SLOWLOG GET {count}"));
    let args = |call: &Value| items(&items(call)[3]).iter().map(text).collect::<Vec<_>>().join(" ");
    items(&reply).iter().map(args).collect()
}

fn commands(words: &[String]) -> Vec<Vec<Vec<u8>>> {
    words.iter().map(|w| w.split(' ').map(|a| a.as_bytes().to_vec()).collect()).collect()
}

#[test]
fn every_call_of_a_pipeline_stands_in_the_slow_log_as_itself() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards));
        let mut client = server.client();
        client.words("HELLO 2 SETNAME me");
        client.words("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 1000");
        client.words("SLOWLOG RESET");
        let sent: Vec<String> = (0..200)
            .map(|n| format!("{} k{n}{}", ["GET", "SET"][n % 2], [" ", " v"][n % 2]))
            .collect();
        let sent: Vec<String> = sent.iter().map(|s| s.trim_end().to_owned()).collect();
        client.pipeline(&commands(&sent));
        let reply = client.words("SLOWLOG GET -1");
        let calls = items(&reply);
        let ids: Vec<i64> = calls.iter().map(|c| int(&items(c)[0])).collect();
        assert!(ids.windows(2).all(|w| w[0] > w[1]), "newest first: {ids:?}");
        for call in calls {
            let call = items(call);
            assert_eq!(call.len(), 6);
            assert!(int(&call[1]) > 1_600_000_000 && int(&call[2]) >= 0);
            assert!(text(&call[4]).starts_with("127.0.0.1:"), "{call:?}");
            assert_eq!(text(&call[5]), "me");
        }
        let mut seen = slow_calls(&mut client, "-1");
        seen.retain(|call| call.contains(" k"));
        let (mut seen, mut sent) = (seen, sent);
        if shards == 1 {
            seen.reverse();
        } else {
            seen.sort();
            sent.sort();
        }
        assert_eq!(seen, sent, "{shards} shards");
    }
}

#[test]
fn the_slow_log_is_bounded_and_cuts_what_is_long() {
    let server = Server::start(Options::shards(2));
    let mut client = server.client();
    client.words("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 4");
    client.call(&[b"SET".as_slice(), b"k", &[b'x'; 200]]);
    let many: Vec<Vec<u8>> =
        std::iter::once(b"DEL".to_vec()).chain((0..40).map(|n| vec![b'a' + n % 26])).collect();
    client.call(&many);
    let calls = slow_calls(&mut client, "-1");
    let cut = format!("SET k {}... (72 more bytes)", "x".repeat(128));
    assert!(calls.contains(&cut), "{calls:?}");
    // A command over several shards is one call on each.
    assert!(calls.iter().any(|c| c.starts_with("DEL ")), "{calls:?}");
    for n in 0..20 {
        client.words(&format!("SET k{n} v"));
    }
    assert_eq!(client.words("SLOWLOG LEN"), Value::Int(4));
    assert_eq!(slow_calls(&mut client, "-1").len(), 4);
    assert_eq!(slow_calls(&mut client, "2").len(), 2);
    client.words("CONFIG SET requirepass secret");
    client.words("AUTH secret");
    let calls = slow_calls(&mut client, "10");
    assert!(calls.contains(&"AUTH (redacted)".to_owned()), "{calls:?}");
    assert!(!calls.iter().any(|c| c.contains("secret")), "{calls:?}");
    client.words("CONFIG SET slowlog-log-slower-than -1");
    client.words("SLOWLOG RESET");
    client.words("PING");
    assert_eq!(client.words("SLOWLOG LEN"), Value::Int(0));
    client.words("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 0");
    client.words("PING");
    assert_eq!(client.words("SLOWLOG LEN"), Value::Int(0));
}

/// Two keys whose LCS takes a good many milliseconds.
fn long_work(client: &mut Client) {
    let value = |n: usize| (0..4000).map(|i| b'a' + (i * i / n % 23) as u8).collect::<Vec<u8>>();
    client.call(&[b"SET".as_slice(), b"{t}a", &value(3)]);
    client.call(&[b"SET".as_slice(), b"{t}b", &value(5)]);
}

#[test]
fn what_is_slow_is_an_event() {
    let server = Server::start(Options::shards(2));
    let mut client = server.client();
    long_work(&mut client);
    assert_eq!(client.words("LATENCY LATEST"), Value::Array(vec![]));
    client.words("CONFIG SET latency-monitor-threshold 1 slowlog-log-slower-than 1000");
    client.words("LCS {t}a {t}b LEN");
    let calls = slow_calls(&mut client, "-1");
    assert!(calls.contains(&"LCS {t}a {t}b LEN".to_owned()), "{calls:?}");
    let latest = client.words("LATENCY LATEST");
    let event = items(&latest).iter().find(|e| text(&items(e)[0]) == "command");
    let event = items(event.unwrap_or_else(|| panic!("{latest:?}")));
    assert!(int(&event[1]) > 1_600_000_000 && int(&event[2]) >= 1 && event[2] == event[3]);
    let history = client.words("LATENCY HISTORY command");
    assert_eq!(items(&items(&history)[0])[1], event[2]);
    let graph = text(&client.words("LATENCY GRAPH command"));
    assert!(graph.starts_with("command - high "), "{graph}");
    assert!(text(&client.words("LATENCY DOCTOR")).contains("1. "));
    assert!(int(&client.words("LATENCY RESET command")) == 1);
    assert_eq!(client.words("LATENCY HISTORY command"), Value::Array(vec![]));
}

#[test]
fn histograms_count_what_was_called() {
    let server = Server::start(Options::shards(3));
    let mut client = server.client();
    client.words("CONFIG RESETSTAT");
    let sent: Vec<String> = (0..1000).map(|n| format!("GET k{n}")).collect();
    client.pipeline(&commands(&sent));
    long_work(&mut client);
    client.words("LCS {t}a {t}b LEN");
    let reply = client.words("LATENCY HISTOGRAM get lcs nosuch echo");
    let [name, get, other, lcs] = items(&reply) else { panic!("{reply:?}") };
    assert_eq!((text(name), text(other)), ("get".into(), "lcs".into()));
    for (name, shown, calls) in [("get", get, 1000), ("lcs", lcs, 1)] {
        assert_eq!(items(shown)[1], Value::Int(calls), "{reply:?}");
        let steps: Vec<i64> = items(&items(shown)[3]).iter().map(int).collect();
        assert_eq!(steps.last(), Some(&calls), "{reply:?}");
        assert!(
            steps
                .chunks(2)
                .collect::<Vec<_>>()
                .windows(2)
                .all(|w| { w[0][0] < w[1][0] && w[0][1] < w[1][1] })
        );
        let stats = text(&client.words("INFO commandstats"));
        assert!(stats.contains(&format!("cmdstat_{name}:calls={calls},")), "{stats}");
    }
    let longest = items(&items(lcs)[3])[0].int();
    assert!(longest >= Some(1000), "an LCS of 4000 by 4000 took {longest:?} us");
}

/// What steers a connection is counted like any command, and so is what is refused.
#[test]
fn steering_and_refused_commands_are_counted() {
    let server = Server::start(Options::shards(3));
    let mut client = server.client();
    client.words("CONFIG RESETSTAT");
    for line in [
        "EXEC",
        "DISCARD",
        "MULTI",
        "SET a 1",
        "SET b 1",
        "EXEC",
        "MULTI",
        "MULTI",
        "WATCH a",
        "DISCARD",
        "MULTI",
        "NOSUCH",
        "GET",
        "EXEC",
        "DEBUG SLEEP 0",
        "WATCH a",
        "UNWATCH",
        "CLIENT KILL",
        "RESET",
    ] {
        client.words(line);
    }
    let stats = text(&client.words("INFO commandstats"));
    for (name, calls, rejected, failed) in [
        ("exec", 3, 0, 2),
        ("discard", 2, 0, 1),
        ("multi", 4, 0, 1),
        ("watch", 2, 0, 1),
        ("unwatch", 1, 0, 0),
        ("reset", 1, 0, 0),
        ("get", 0, 1, 0),
        ("debug|sleep", 0, 0, 0),
        ("debug", 0, 1, 0),
        ("client|kill", 0, 1, 0),
        ("set", 2, 0, 0),
    ] {
        let line = stats.lines().find(|l| l.starts_with(&format!("cmdstat_{name}:")));
        let parts = [
            format!(":calls={calls},"),
            format!(",rejected_calls={rejected},"),
            format!(",failed_calls={failed}"),
        ];
        match line {
            Some(line) => assert!(parts.iter().all(|part| line.contains(part)), "{line}"),
            None => assert_eq!((calls, rejected, failed), (0, 0, 0), "{name}: {stats}"),
        }
    }
    let errors = text(&client.words("INFO errorstats"));
    assert!(errors.contains("errorstat_EXECABORT:count=1"), "{errors}");
}
