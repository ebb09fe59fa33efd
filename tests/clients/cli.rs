//! redis-cli's modes, each as an operator would use it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::support::{Options, Server, encode, peer};

/// redis-cli for a server, or `None` after having said that `what` is skipped.
fn cli(server: &Server, what: &str, args: &[&str]) -> Option<Command> {
    let mut command = Command::new(peer::program("redis-cli", what)?);
    command.args(["-p", &server.port().to_string()]).args(args);
    command.stdin(Stdio::null());
    Some(command)
}

/// What a mode that ends by itself says.
fn said(server: &Server, args: &[&str]) -> Option<String> {
    let done = cli(server, "modes of redis-cli", args)?.output().expect("redis-cli");
    assert!(done.status.success(), "{args:?}: {done:?}");
    Some(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A mode that goes on until it is ended, which dropping it does.
struct Going(Child);

impl Going {
    fn start(server: &Server, args: &[&str]) -> Option<(Going, impl BufRead + use<>)> {
        let mut command = cli(server, "modes of redis-cli", args)?;
        let mut child = command.stdout(Stdio::piped()).spawn().expect("redis-cli");
        let out = BufReader::new(child.stdout.take().expect("its stdout"));
        Some((Going(child), out))
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on three shards with 500 keys, one of them large.
fn filled() -> Server {
    let server = Server::start(Options { fsync: "no", ..Options::shards(3) });
    let mut client = server.client();
    let commands: Vec<Vec<Vec<u8>>> = (0..500)
        .map(|n| vec![b"SET".to_vec(), format!("key:{n}").into_bytes(), b"value".to_vec()])
        .collect();
    client.pipeline(&commands);
    client.call(&[&b"SET"[..], b"large", &vec![b'x'; 10_000]]);
    server
}

#[test]
fn scan_and_protocol_3() {
    let server = filled();
    let Some(keys) = said(&server, &["--scan", "--pattern", "key:1*"]) else { return };
    assert_eq!(keys.lines().count(), 111);
    let hello = said(&server, &["-3", "--json", "HELLO"]).unwrap_or_default();
    assert!(hello.contains("\"proto\":3"), "{hello}");
    let list = said(&server, &["-3", "CLIENT", "LIST"]).unwrap_or_default();
    assert!(list.contains(" cmd=client|list ") && list.contains(" resp=3 "), "{list}");
}

#[test]
fn the_largest_keys() {
    let server = filled();
    let Some(big) = said(&server, &["--bigkeys"]) else { return };
    assert!(big.contains("Sampled 501 keys in the keyspace!"), "{big}");
    assert!(big.contains("Biggest string found '\"large\"' has 10000 bytes"), "{big}");
    let knows = server.client().words("MEMORY USAGE large").int().is_some();
    let command = cli(&server, "redis-cli --memkeys", &["--memkeys"]);
    let done = command.expect("it was there").output().expect("redis-cli");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(!knows || said.contains("Biggest string found '\"large\"' has"), "{done:?}");
}

/// LRU and LFU are not kept: the mode says so instead of showing nothing.
#[test]
fn hotkeys_are_refused() {
    let server = filled();
    let Some(mut command) = cli(&server, "redis-cli --hotkeys", &["--hotkeys"]) else { return };
    let done = command.output().expect("redis-cli");
    let text = format!("{done:?}");
    assert!(!done.status.success() && text.contains("LFU maxmemory policy"), "{text}");
}

#[test]
fn statistics() {
    let server = filled();
    let Some((_going, mut out)) = Going::start(&server, &["-i", "0.1", "--stat"]) else { return };
    let mut line = String::new();
    let mut seen = 0;
    while seen < 3 {
        line.clear();
        assert!(out.read_line(&mut line).expect("a line") > 0, "it ended");
        let mut words = line.split_whitespace();
        if words.next() == Some("501") {
            seen += 1;
        }
    }
}

#[test]
fn latencies() {
    let server = filled();
    let Some(text) = said(&server, &["-i", "1", "--raw", "--latency"]) else { return };
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|w| w.parse().ok()).collect();
    assert!(numbers.len() >= 4 && numbers[3] > 10.0, "{text}");
    let Some((_going, mut out)) = Going::start(&server, &["-i", "1", "--latency-dist"]) else {
        return;
    };
    let mut line = Vec::new();
    for _ in 0..3 {
        assert!(out.read_until(b'\n', &mut line).expect("a line") > 0, "it ended");
    }
    assert!(!line.is_empty());
}

#[test]
fn monitor() {
    let server = filled();
    let Some((_going, mut out)) = Going::start(&server, &["MONITOR"]) else { return };
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert_eq!(line, "OK\n");
    server.client().words("GET key:1");
    line.clear();
    out.read_line(&mut line).expect("a line");
    assert!(line.ends_with("] \"GET\" \"key:1\"\n") && line.contains(" [0 127.0.0.1:"), "{line}");
}

/// Bulk loading, an error among the commands.
#[test]
fn pipe() {
    let server = Server::start(Options { fsync: "no", ..Options::shards(3) });
    let Some(mut command) = cli(&server, "redis-cli --pipe", &["--pipe"]) else { return };
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("redis-cli");
    let mut input = child.stdin.take().expect("its stdin");
    for n in 0..2_000 {
        let (key, other) = (format!("key:{n}"), format!("other:{n}"));
        input.write_all(&encode(&["MSET", &key, "1", &other, "2"])).expect("write");
    }
    input.write_all(&encode(&["INCR", "key:1", "x"])).expect("write");
    drop(input);
    let done = child.wait_with_output().expect("redis-cli");
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(text.contains("errors: 1, replies: 2001"), "{text}");
    assert_eq!(server.client().words("DBSIZE").int(), Some(4_000));
}

/// What is shown while a command is typed, and by HELP, comes from COMMAND DOCS.
#[test]
fn help() {
    let server = filled();
    let Some(mut command) = cli(&server, "redis-cli help", &[]) else { return };
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("redis-cli");
    let mut input = child.stdin.take().expect("its stdin");
    input.write_all(b"help client setinfo\nhelp getex\n").expect("write");
    drop(input);
    let done = child.wait_with_output().expect("redis-cli");
    let text = String::from_utf8_lossy(&done.stdout);
    // Without the colours in between.
    for part in ["lib-name libname|lib-ver libver", "key [EX seconds|PX milliseconds|EXAT", "6.2.0"]
    {
        assert!(text.contains(part), "no {part} in {text}");
    }
}
