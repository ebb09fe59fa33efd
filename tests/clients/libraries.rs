//! Every method of each library whose command exists, called on redis-server and on the server
//! under test, in RESP2 and RESP3. The scripts beside this file compare; what they say when
//! something differs is the failure.

use std::process::{Command, Stdio};

use crate::support::{Options, Server, peer};

/// Runs a script with the ports of both servers.
fn compare(mut command: Command, script: &str) {
    // Set as the peer starts; nothing is synced, since nothing is killed.
    let options = Options { fsync: "no", ..Options::shards(2) };
    let Some(peer) = Server::peer(options.clone(), script) else { return };
    let subject = Server::start(options);
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/libraries/");
    let done = command
        .arg(format!("{here}{script}"))
        .args([peer.port().to_string(), subject.port().to_string()])
        .stdin(Stdio::null())
        .output()
        .expect(script);
    let (said, errors) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.starts_with("fine"), "{script}:\n{said}\n{errors}");
}

#[test]
fn redis_py() {
    let Some(python) = peer::pinned_python("every method of redis-py") else { return };
    compare(python, "redis_py.py");
}

#[test]
fn node_redis() {
    let Some(node) = peer::pinned_node("every method of node-redis") else { return };
    compare(node, "node_redis.mjs");
}

#[test]
fn ioredis() {
    let Some(node) = peer::pinned_node("every method of ioredis") else { return };
    compare(node, "ioredis.mjs");
}
