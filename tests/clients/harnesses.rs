//! Harnesses that start a redis-server for somebody's suite, with this server in its place.

use std::process::Command;

use crate::support::peer;
use crate::support::server::{fresh_home, subject};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/harnesses/");

/// Runs a harness in a directory of its own, where nothing may be left behind when it ends.
fn run(mut harness: Command) -> String {
    let home = fresh_home();
    harness.env("RINGSTONE_TEST_PROGRAM", subject()).env("TMPDIR", home.path());
    let done = harness.current_dir(home.path()).output().expect("a harness");
    let (said, errors) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{harness:?}:\n{said}\n{errors}");
    said.into_owned()
}

#[test]
fn pytest_redis() {
    let Some(mut python) = peer::pinned_python("pytest-redis") else { return };
    python.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", HERE]);
    python.arg(format!("{HERE}pytest_redis_suite.py"));
    let said = run(python);
    assert!(said.contains("4 passed"), "{said}");
}

#[test]
fn redis_memory_server() {
    let Some(mut node) = peer::pinned_node("redis-memory-server") else { return };
    node.arg(format!("{HERE}memory_server.mjs"));
    assert!(run(node).starts_with("fine"));
}
