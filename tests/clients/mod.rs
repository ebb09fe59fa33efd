//! Clients other people wrote, unchanged: redis-py, node-redis, ioredis, the redis crate,
//! redis-cli, redis-benchmark; and harnesses that start a redis-server, with this server in its
//! place.
//!
//! `libraries/` holds what calls every method of a library on two servers, `harnesses/` suites as
//! users of a harness write them. The libraries are installed by `tests/peer.sh --libraries`, of
//! the versions in `packages.txt` (pip) and `package.json` (npm), below `target/tmp`; what cannot
//! be had (no network, no node of version 20) is told as `SKIPPED`.

mod cli;
mod harnesses;
mod libraries;

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::server::fresh_home;
use crate::support::{Options, Server, peer};

#[test]
fn redis_py() {
    let Some(python) = peer::python("redis-py") else { return };
    let server = Server::start(Options::shards(2));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/flow.py");
    let port = server.port().to_string();
    let done = Command::new(python).arg(script).arg(port).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.starts_with("fine"), "{done:?}");
}

#[test]
fn the_redis_crate() -> redis::RedisResult<()> {
    use redis::Commands;
    let server = Server::start(Options::shards(2));
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://127.0.0.1:{}/1?protocol={protocol}", server.port());
        let mut con = redis::Client::open(url)?.get_connection()?;
        let () = con.set("key", "value")?;
        assert_eq!(con.get::<_, String>("key")?, "value");
        assert_eq!(con.get::<_, Option<String>>("none")?, None);
        let () = con.mset(&[("a", 1), ("b", 2), ("c", 3)])?;
        assert_eq!(con.mget::<_, Vec<i64>>(&["a", "b", "c"])?, [1, 2, 3]);
        assert_eq!(con.incr::<_, _, i64>("a", 10)?, 11);
        let (old, new): (i64, i64) =
            redis::pipe().atomic().get("a").incr("a", 1).query(&mut con)?;
        assert_eq!((old, new), (11, 12));
        let replies: Vec<i64> = {
            let mut pipe = redis::pipe();
            for i in 0..300 {
                pipe.append(format!("p:{i}"), "xy");
            }
            pipe.query(&mut con)?
        };
        assert!(replies.iter().all(|&len| len == 2));
        let found: Vec<String> = con.scan_match("p:*")?.collect::<Result<_, _>>()?;
        assert_eq!(found.len(), 300);
        assert_eq!(con.del::<_, i64>(&found)?, 300);
        let sum: i64 = redis::transaction(&mut con, &["b", "c"], |con, pipe| {
            let (b, c): (i64, i64) = (con.get("b")?, con.get("c")?);
            let done: Option<(i64,)> = pipe.incr("b", c).query(con)?;
            Ok(done.map(|_| b + c))
        })?;
        assert_eq!(con.get::<_, i64>("b")?, sum);
        let error = redis::cmd("INCR").arg("key").query::<i64>(&mut con).unwrap_err();
        assert!(error.to_string().contains("not an integer"), "{error}");
        let () = redis::cmd("FLUSHALL").query(&mut con)?;
    }
    Ok(())
}

#[test]
fn redis_cli() {
    let Some(cli) = peer::program("redis-cli", "redis-cli") else { return };
    let server = Server::start(Options::shards(2));
    let port = server.port().to_string();
    let run = |args: &[&str]| {
        let done = Command::new(&cli)
            .args(["-p", &port])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli");
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    };
    for (args, said) in [
        (&["PING"][..], "PONG"),
        (&["SET", "k", "a b"], "OK"),
        (&["GET", "k"], "a b"),
        (&["--no-raw", "GET", "none"], "(nil)"),
        (&["--no-raw", "INCR", "n"], "(integer) 1"),
        (&["MSET", "a", "1", "b", "2"], "OK"),
        (&["-3", "--no-raw", "MGET", "a", "none", "b"], "1) \"1\"\n2) (nil)\n3) \"2\""),
        (&["-n", "3", "DBSIZE"], "0"),
        (&["INCR", "k"], "ERR value is not an integer or out of range"),
        (&["--scan", "--pattern", "[ab]"], "a\nb"),
    ] {
        let mut got = run(args);
        if args[0] == "--scan" {
            let mut lines: Vec<&str> = got.lines().collect();
            lines.sort_unstable();
            got = lines.join("\n");
        }
        assert_eq!(got, said, "redis-cli {args:?}");
    }
    assert!(run(&["INFO", "server"]).contains("redis_version:"));
}

#[test]
fn redis_cli_on_a_unix_socket() {
    let Some(cli) = peer::program("redis-cli", "redis-cli on a Unix socket") else { return };
    let place = fresh_home();
    let path = place.path().join("ringstone.sock");
    let path = path.to_str().unwrap();
    let server = Server::start(Options::shards(2).with("unixsocket", path));
    for (args, said) in [(["SET", "k", "v"].as_slice(), "OK"), (&["GET", "k"], "v")] {
        let done = Command::new(&cli).args(["-s", path]).args(args).output().expect("redis-cli");
        assert_eq!(String::from_utf8_lossy(&done.stdout).trim_end(), said, "{done:?}");
    }
    assert_eq!(server.client().words("GET k").text(), Some(b"v".as_slice()));
}

/// Bulk loading as people do it: a file of commands through `redis-cli --pipe`.
#[test]
fn redis_cli_pipe() {
    use std::io::Write;
    let Some(cli) = peer::program("redis-cli", "redis-cli --pipe") else { return };
    let server = Server::start(Options { fsync: "no", ..Options::shards(2) });
    let mut child = Command::new(cli)
        .args(["-p", &server.port().to_string(), "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli");
    let mut input = child.stdin.take().unwrap();
    for i in 0..20_000 {
        let command = crate::support::encode(&["SET", &format!("key:{i}"), &i.to_string()]);
        input.write_all(&command).unwrap();
    }
    drop(input);
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("errors: 0, replies: 20000"), "{said}");
    assert_eq!(server.client().words("DBSIZE").int(), Some(20_000));
}

/// The tests redis-benchmark runs by itself, of those whose commands exist, in its several ways.
#[test]
fn redis_benchmark_in_all_its_ways() {
    const TESTS: &str = "ping_inline,ping_mbulk,set,get,incr,mset";
    let Some(program) = peer::program("redis-benchmark", "redis-benchmark") else { return };
    let server = Server::start(Options { fsync: "everysec", ..Options::shards(3) });
    for ways in [
        &["--csv"][..],
        &["--csv", "-3"],
        &["--csv", "-P", "32", "-r", "100000"],
        &["--csv", "--threads", "2", "-c", "30"],
        &["--csv", "-k", "0", "-n", "300"],
        &["--csv", "-d", "20000", "-P", "4"],
        &["--csv", "--dbnum", "3", "--user", "default", "-a", "secret"],
    ] {
        let with_password = ways.contains(&"-a");
        if with_password {
            server.client().words("CONFIG SET requirepass secret");
        }
        let done = Command::new(&program)
            .args(["-p", &server.port().to_string(), "-n", "3000", "-t", TESTS])
            .args(ways)
            .stdin(Stdio::null())
            .output()
            .expect("redis-benchmark");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{ways:?}: {done:?}");
        for test in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"] {
            let line = said.lines().find(|l| l.starts_with(&format!("\"{test}\",")));
            let rate: Option<f64> =
                line.and_then(|l| l.split('"').nth(3)).and_then(|rate| rate.parse().ok());
            assert!(rate.is_some_and(|rate| rate > 0.0), "{ways:?}: no {test} in {said}");
        }
        let errors = String::from_utf8_lossy(&done.stderr);
        let told = format!("{said}{errors}").to_ascii_lowercase();
        // The second is what it says when it cannot make sense of CONFIG GET.
        assert!(!told.contains("error") && !told.contains("could not"), "{ways:?}: {told}");
    }
}

#[test]
fn redis_benchmark() {
    let Some(program) = peer::program("redis-benchmark", "redis-benchmark") else { return };
    let server = Server::start(Options { fsync: "everysec", ..Options::shards(2) });
    for pipeline in ["1", "16"] {
        let done = Command::new(&program)
            .args(["-p", &server.port().to_string(), "-n", "5000", "-c", "20", "-P", pipeline])
            .args(["-r", "1000", "-d", "32", "-q", "-t", "ping,set,get,incr,mset"])
            .stdin(Stdio::null())
            .output()
            .expect("redis-benchmark");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{done:?}");
        for test in ["PING_INLINE", "SET", "GET", "INCR", "MSET"] {
            assert!(said.contains(test), "no {test} in {said}");
        }
        let errors = String::from_utf8_lossy(&done.stderr).to_ascii_lowercase();
        assert!(!errors.contains("error"), "{errors}");
    }
}
