//! SLOWLOG and LATENCY against what a client did.

use std::time::Instant;

use crate::support::{Client, Options, Server, Value, encode};

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
    items(&reply).iter().map(line).collect()
}

/// The arguments of one of these.
fn line(call: &Value) -> String {
    items(&items(call)[3]).iter().map(text).collect::<Vec<_>>().join(" ")
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

/// What waits for a key is kept when it is served, behind what served it, and not before.
#[test]
fn a_call_that_waited_is_kept_when_it_is_served() {
    for shards in [1, 2, 4] {
        let server = Server::start(Options::shards(shards));
        let mut client = server.client();
        let mut waiter = server.client();
        client.words("CONFIG SET slowlog-log-slower-than 0");
        waiter.words("CLIENT SETNAME patient");
        for (wait, give) in [
            ("BLPOP l 0", "RPUSH l x"),
            ("BLMOVE a b LEFT RIGHT 0", "RPUSH a x"),
            ("BZPOPMIN z 0", "ZADD z 1 x"),
        ] {
            let words: Vec<&str> = wait.split(' ').collect();
            waiter.send(&encode(&words)).expect("a request");
            let info = |client: &mut Client| text(&client.words("INFO clients"));
            while !info(&mut client).contains("blocked_clients:1\r\n") {}
            let calls = slow_calls(&mut client, "-1");
            assert!(!calls.contains(&wait.to_owned()), "{shards} shards: {calls:?}");
            client.words("MULTI");
            client.words(give);
            client.words("SLOWLOG RESET");
            client.words("EXEC");
            waiter.reply().expect("a reply");
            let reply = client.words("SLOWLOG GET -1");
            let of_it = |call: &&Value| text(&items(call)[5]) == "patient";
            let kept: Vec<String> = items(&reply).iter().filter(of_it).map(line).collect();
            assert_eq!(kept, [wait], "{shards} shards: {reply:?}");
            let all: Vec<String> = items(&reply).iter().map(line).collect();
            let at = |wanted: &str| all.iter().position(|call| call == wanted);
            assert!(at(wait) < at("SLOWLOG RESET"), "it came behind: {all:?}");
        }
    }
}

/// What waited in vain is kept too, once.
#[test]
fn a_call_that_waited_in_vain_is_kept_at_its_end() {
    for shards in [1, 3] {
        let server = Server::start(Options::shards(shards));
        let mut client = server.client();
        client.words("CONFIG SET slowlog-log-slower-than 0");
        for wait in ["BLPOP nothing 0.05", "BLMOVE a b LEFT RIGHT 0.05"] {
            client.words("SLOWLOG RESET");
            assert!(client.words(wait).is_null());
            let calls = slow_calls(&mut client, "-1");
            let kept = calls.iter().filter(|call| *call == wait).count();
            assert_eq!(kept, 1, "{shards} shards: {calls:?}");
        }
    }
}

/// Two keys whose LCS takes some milliseconds.
fn long_work(client: &mut Client) {
    let value = |n: usize| (0..11_000).map(|i| b'a' + (i * i / n % 23) as u8).collect::<Vec<u8>>();
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
    assert!(longest >= Some(1000), "an LCS of 11,000 by 11,000 took {longest:?} us");
}

/// Calls that take a known time: how long each was asked to take, and what the client measured, in
/// microseconds.
fn measured_calls(client: &mut Client, calls: i64) -> Vec<(i64, i64)> {
    (1..=calls)
        .map(|n| {
            let asked = n * 500;
            let began = Instant::now();
            client.words(&format!("DEBUG SLEEP {}", asked as f64 / 1e6));
            (asked, began.elapsed().as_micros() as i64 + 1)
        })
        .collect()
}

/// The number behind `name` in a line of INFO.
fn number(line: &str, name: &str) -> f64 {
    let (_, rest) = line.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{line}"));
    rest.split(',').next().unwrap().parse().unwrap()
}

/// The slow log, the command statistics, the percentiles and the histogram all say what a client
/// measured: no call is told shorter than it was asked to be, none longer than the client waited.
#[test]
fn what_is_recorded_is_what_a_client_measured() {
    let server = Server::start(Options::shards(2).with("enable-debug-command", "yes"));
    let mut client = server.client();
    client.words("CONFIG SET slowlog-log-slower-than 200 slowlog-max-len 1000");
    client.words("CONFIG RESETSTAT");
    client.words("SLOWLOG RESET");
    let calls = measured_calls(&mut client, 30);
    let n = calls.len() as i64;

    let reply = client.words("SLOWLOG GET -1");
    let slow: Vec<&[Value]> = items(&reply).iter().map(items).collect();
    let slow = slow.iter().filter(|call| text(&items(&call[3])[0]) == "DEBUG");
    let told: Vec<i64> = slow.map(|call| int(&call[2])).collect();
    assert_eq!(told.len(), calls.len());
    for ((asked, waited), told) in calls.iter().rev().zip(&told) {
        assert!(asked <= told && told <= waited, "{told} us of {asked} to {waited}");
    }

    let stats = text(&client.words("INFO commandstats"));
    let line = stats.lines().find(|l| l.starts_with("cmdstat_debug:")).unwrap();
    assert_eq!(number(line, "calls") as i64, n);
    let (asked, waited) = calls.iter().fold((0, 0), |sum, call| (sum.0 + call.0, sum.1 + call.1));
    let total = number(line, "usec") as i64;
    assert!(asked <= total + n && total <= waited, "{total} us of {asked} to {waited}");

    // A bucket is a thirty-second of its value wide, and is rounded up to two digits.
    let rounded = |us: i64| us as f64 * (1.0 + 1.0 / 32.0) * 1.01 + 1.0;
    let mut waits: Vec<i64> = calls.iter().map(|call| call.1).collect();
    waits.sort_unstable();
    let stats = text(&client.words("INFO latencystats"));
    let line = stats.lines().find(|l| l.starts_with("latency_percentiles_usec_debug:")).unwrap();
    for (name, at) in [("p50", n / 2), ("p99", n)] {
        let (told, at) = (number(line, name), at as usize - 1);
        assert!(calls[at].0 as f64 <= told && told <= rounded(waits[at]), "{name}: {line}");
    }

    let reply = client.words("LATENCY HISTOGRAM debug");
    let shown = items(&items(&reply)[1]);
    assert_eq!(int(&shown[1]), n);
    for step in items(&shown[3]).chunks(2) {
        let (edge, count) = (int(&step[0]), int(&step[1]));
        let at_least = waits.iter().filter(|waited| rounded(**waited) < edge as f64).count();
        let at_most = calls.iter().filter(|call| call.0 <= edge + edge / 64).count();
        assert!((at_least..=at_most).contains(&(count as usize)), "{count} up to {edge} us");
    }
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
