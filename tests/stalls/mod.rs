//! Replies that once never came, each with its story. A client that waits ten seconds here has
//! waited for ever.

use std::time::Duration;

use crate::support::{Options, Server};

/// Plays one line per command on a fresh connection; every one must be answered.
fn answered(server: &Server, lines: &[&str]) {
    let mut client = server.client();
    client.timeout(Duration::from_secs(10)).unwrap();
    for line in lines {
        let reply = client.try_call(&line.split(' ').collect::<Vec<_>>());
        assert!(reply.is_ok(), "{line}: {reply:?}");
    }
}

fn on_all_servers(test: impl Fn(&Server)) {
    for shards in [1, 2, 4] {
        for fsync in ["always", "everysec", "no"] {
            test(&Server::start(Options { fsync, ..Options::shards(shards) }));
        }
    }
}

/// A transaction with FLUSHDB in it goes into a file of its own, which takes a single position of
/// the log. Its writes stamped their segments with the positions they would have had in the log,
/// and FLUSHDB handed the highest stamp on to the emptied table. No release point ever came there:
/// whoever looked a key up afterwards waited until as much had been written by others.
#[test]
fn a_key_is_looked_up_behind_a_transaction_that_flushed() {
    on_all_servers(|server| {
        answered(server, &["MULTI", "MSET a 1 b 2 c 3 d 4 e 5", "FLUSHDB", "EXEC", "UNLINK a b c"]);
        answered(server, &["MULTI", "FLUSHALL", "MSET a 1 b 2 c 3 d 4", "EXEC", "MGET a b c d"]);
        answered(server, &["MULTI", "SWAPDB 0 1", "RENAME a b", "EXEC", "DBSIZE", "EXISTS a b c"]);
        answered(server, &["SELECT 1", "MGET a b c d e", "DBSIZE", "SET f 1", "GET f"]);
    });
}

/// A cut that comes to nothing writes no position: what it stamped was never released.
#[test]
fn a_key_is_looked_up_behind_a_flush_of_nothing() {
    on_all_servers(|server| {
        answered(server, &["MULTI", "FLUSHDB", "PEXPIREAT k 4102461800000 LT", "EXEC", "GET k"]);
        answered(server, &["FLUSHALL", "GET k", "FLUSHDB", "GET k", "SWAPDB 0 1", "EXISTS k l m"]);
        answered(server, &["SET k 1", "DEL k", "FLUSHALL", "GET k", "RANDOMKEY", "SCAN 0"]);
    });
}
