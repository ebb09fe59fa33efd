//! Signals that are no reason to end.

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::await_some;
use crate::support::client::encode;
use crate::support::{Client, Options, Server, Value};

/// How long a file of the server may get, in bytes.
const LONGEST: u64 = 300_000;
/// Writes of a value of a kilobyte; a shard's log takes a third of them.
const WRITES: usize = 2_000;

fn pid(server: &Server) -> Pid {
    Pid::from_raw(server.pid().cast_signed()).expect("a process")
}

#[test]
fn a_terminal_that_goes_away_is_no_reason_to_end() {
    let server = Server::start(Options::shards(2));
    let mut client = server.client();
    for n in 1..=3 {
        kill_process(pid(&server), Signal::HUP).expect("a signal");
        assert_eq!(client.words("INCR n"), Value::Int(n));
    }
}

/// Lets no file of the server get longer than that; `None`: as long as those of this process.
fn bound_files(server: &Server, longest: Option<u64>) {
    let mut limit: Rlimit = getrlimit(Resource::Fsize);
    limit.current = longest.or(limit.current);
    prlimit(Some(pid(server)), Resource::Fsize, limit).expect("a limit");
}

fn write_status(client: &mut Client) -> String {
    let info = client.words("INFO persistence");
    let info = String::from_utf8_lossy(info.text().expect("text")).into_owned();
    let line = info.lines().find_map(|line| line.strip_prefix("aof_last_write_status:"));
    line.expect("a status").to_owned()
}

/// A file as long as files may be is told by a signal as well, which ends a process that does not
/// ignore it.
fn a_log_at_its_limit(policy: &'static str, method: &str) {
    let options = Options { fsync: policy, ..Options::shards(2) };
    let server = Server::start(options.with("aof-commit-method", method));
    let (mut client, mut writer) = (server.client(), server.client());
    assert_eq!(client.words("SET first 1"), Value::Simple(b"OK".into()));
    bound_files(&server, Some(LONGEST));
    let value = "v".repeat(1000);
    let sets: Vec<u8> =
        (0..WRITES).flat_map(|n| encode(&["SET", &format!("key:{n}"), &value])).collect();
    writer.send(&sets).expect("sends");
    await_some("a failed write", || (write_status(&mut client) == "err").then_some(()));
    assert_eq!(client.words("GET first"), Value::Bulk(b"1".into()), "{policy} {method}");
    let refused = |reply: &Value| matches!(reply, Value::Error(e) if e.starts_with(b"MISCONF"));
    for key in ["{a}", "{b}", "{c}", "{d}"] {
        // On either shard: one that cannot write speaks for all.
        let reply = client.call(&["SET", key, "0"]);
        assert!(refused(&reply), "{policy} {method}: {reply:?}");
    }
    bound_files(&server, None);
    let replies: Vec<Value> = (0..WRITES).map(|_| writer.reply().expect("a reply").1).collect();
    await_some("a write", || (write_status(&mut client) == "ok").then_some(()));
    assert_eq!(client.words("SET last 1"), Value::Simple(b"OK".into()));
    let server = server.kill().restart();
    let mut client = server.client();
    let mut kept = 0;
    for (n, reply) in replies.iter().enumerate() {
        let found = client.call(&["GET", &format!("key:{n}")]);
        match reply {
            Value::Simple(_) => assert_eq!(found, Value::Bulk(value.clone().into()), "key:{n}"),
            reply => assert!(refused(reply) && found.is_null(), "key:{n}: {reply:?}, {found:?}"),
        }
        kept += usize::from(!found.is_null());
    }
    assert!(kept > 100, "{policy} {method}: {kept} were taken");
    assert_eq!(client.words("MGET first last").items().map(<[Value]>::len), Some(2));
}

#[test]
fn a_log_file_at_its_limit_ends_nothing() {
    for policy in ["everysec", "no", "always"] {
        a_log_at_its_limit(policy, "append");
    }
}

#[test]
fn a_dump_beyond_the_limit_is_a_failure_like_others() {
    let options = Options { appendonly: false, ..Options::shards(2) };
    let server = Server::start(options.with("enable-debug-command", "yes"));
    let mut client = server.client();
    client.words("DEBUG POPULATE 1000 key 1000");
    client.words("CONFIG SET rdbcompression no");
    bound_files(&server, Some(LONGEST));
    assert!(client.words("SAVE").is_error());
    assert_eq!(client.words("DBSIZE"), Value::Int(1000));
    bound_files(&server, None);
    assert_eq!(client.words("SAVE"), Value::Simple(b"OK".into()));
}
