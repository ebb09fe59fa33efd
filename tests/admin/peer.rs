//! The same request to redis-server and to the server under test: the same bytes.

use crate::support::{Client, Options, Server, show};

/// What both answer with the same bytes. `{k}` holds a string, nothing else is there.
const SAME: &[&str] = &[
    "ROLE",
    "REPLICAOF NO ONE",
    "REPLICAOF host x",
    "SLAVEOF no one",
    "SLAVEOF NO",
    "FAILOVER",
    "FAILOVER ABORT",
    "FAILOVER ABORT x",
    "FAILOVER TO h x",
    "FAILOVER TO h 1 FORCE",
    "FAILOVER TIMEOUT 0",
    "WAIT 0 0",
    "WAIT -1 0",
    "WAIT 0 -1",
    "WAIT x 0",
    "WAIT 0 x",
    "ASKING",
    "READONLY",
    "READWRITE",
    "CLUSTER",
    "CLUSTER HELP",
    "CLUSTER INFO",
    "CLUSTER NODES x",
    "CLUSTER FOO",
    "MODULE LIST",
    "MODULE FOO",
    "ACL WHOAMI",
    "ACL USERS",
    "ACL CAT",
    "ACL CAT nosuch",
    "ACL CAT string more",
    "ACL GETUSER nobody",
    "ACL FOO",
    "MEMORY USAGE nokey",
    "MEMORY USAGE nokey SAMPLES -1",
    "MEMORY PURGE",
    "MEMORY HELP",
    "MEMORY FOO",
    "OBJECT HELP",
    "SLOWLOG HELP",
    "SLOWLOG GET -2",
    "SLOWLOG GET 1 2",
    "SLOWLOG RESET",
    "LATENCY HELP",
    "LATENCY LATEST",
    "LATENCY RESET x y",
    "LATENCY GRAPH x",
    "LOLWUT VERSION x",
    "DEBUG",
    "DEBUG FOO",
    "DEBUG DIGEST",
    "DEBUG DIGEST x",
    "DEBUG DIGEST-VALUE {k} nokey",
    "DEBUG DIGEST-VALUE",
    "DEBUG OBJECT nokey",
    "DEBUG JMAP",
    "DEBUG POPULATE x",
    "DEBUG POPULATE 5 pre 20",
    "GET pre:3",
    "DEBUG DIGEST",
    "DEBUG HTSTATS 99",
    "DEBUG HTSTATS x",
    "DEBUG ERROR oops",
    "DEBUG SLEEP 0",
    "DEBUG SLEEP x",
    "DEBUG SET-ACTIVE-EXPIRE 1",
    "DEBUG PAUSE-CRON 0",
    "DEBUG REPLYBUFFER RESIZING 1",
    "DEBUG REPLYBUFFER FOO 1",
    "DEBUG QUICKLIST-PACKED-THRESHOLD 100b",
    "DEBUG QUICKLIST-PACKED-THRESHOLD x",
    "DEBUG QUICKLIST-PACKED-THRESHOLD 5gb",
    "DEBUG SET-DISABLE-DENY-SCRIPTS 1",
    "DEBUG PROTOCOL string",
    "DEBUG PROTOCOL integer",
    "DEBUG PROTOCOL double",
    "DEBUG PROTOCOL bignum",
    "DEBUG PROTOCOL null",
    "DEBUG PROTOCOL array",
    "DEBUG PROTOCOL set",
    "DEBUG PROTOCOL map",
    "DEBUG PROTOCOL attrib",
    "DEBUG PROTOCOL push",
    "DEBUG PROTOCOL verbatim",
    "DEBUG PROTOCOL true",
    "DEBUG PROTOCOL false",
    "DEBUG PROTOCOL foo",
];

/// Everything a connection answers to these requests, the greeting left out.
fn answers(mut client: Client, hello: &str, requests: &[&str]) -> Vec<u8> {
    client.send(format!("{hello}\r\n").as_bytes()).expect("send");
    client.reply().expect("a greeting");
    let text: Vec<String> = requests.iter().map(|r| format!("{r}\r\n")).collect();
    client.send(text.concat().as_bytes()).expect("send");
    client.end_input().expect("end");
    client.rest().expect("replies")
}

#[test]
fn replies_are_those_of_redis() {
    let options = |shards| Options::shards(shards).with("enable-debug-command", "yes");
    for shards in [1, 3] {
        let what = "replies of administration";
        let Some(peer) = Server::peer(options(shards), what) else { return };
        let ours = Server::start(options(shards));
        for hello in ["HELLO 2", "HELLO 3"] {
            for request in SAME {
                let setup = ["SELECT 2", "SET {k} value EX 10000", "SELECT 3", "SET n 12", request];
                let theirs = answers(peer.client(), hello, &setup);
                let mine = answers(ours.client(), hello, &setup);
                assert_eq!(show(&mine), show(&theirs), "{hello}, {shards} shards: {request}");
            }
        }
    }
}

#[test]
fn debug_asks_for_leave() {
    let Some(peer) = Server::peer(Options::default(), "DEBUG is refused") else { return };
    let ours = Server::start(Options::default());
    for setup in [&["DEBUG SLEEP 0"][..], &["MULTI", "DEBUG SLEEP 0", "EXEC"]] {
        let (theirs, mine) = [&peer, &ours].map(|s| answers(s.client(), "HELLO 2", setup)).into();
        assert_eq!(show(&mine), show(&theirs), "{setup:?}");
    }
    let local = Server::start(Options::default().with("enable-debug-command", "local"));
    assert_eq!(answers(local.client(), "HELLO 2", &["DEBUG SLEEP 0"]), b"+OK\r\n");
}
