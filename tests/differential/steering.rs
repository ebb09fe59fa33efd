//! Arguments of the commands that steer a connection or the server.

use super::generate::{Args, Gen};

pub fn auth(g: &mut Gen) -> Args {
    g.form(&["x", "default x", "nobody x", "default", "a b c"])
}

pub fn hello(g: &mut Gen) -> Args {
    g.form(&[
        "",
        "2",
        "3",
        "3",
        "4",
        "1",
        "abc",
        "3 AUTH default x",
        "2 AUTH default x",
        "3 AUTH nobody x",
        "3 AUTH default",
        "3 SETNAME",
        "3 FOO",
        "2 AUTH default x",
    ])
}

pub fn client(g: &mut Gen) -> Args {
    g.form(&[
        "ID",
        "GETNAME",
        "SETNAME me",
        "SETNAME",
        "GETNAME x",
        "FOO",
        "SETNAME a\nb",
        "REPLY ON",
        "NO-EVICT on",
        "NO-EVICT x",
        "NO-EVICT off",
        "ID x",
        "INFO",
        "INFO x",
        "GETREDIR",
        "GETREDIR x",
        "TRACKINGINFO",
        "HELP",
        "LIST",
        "LIST TYPE normal",
        "LIST TYPE master",
        "LIST TYPE nosuch",
        "LIST ID",
        "LIST ID x",
        "LIST ID 1 x",
        "LIST ID 999999999 0 -1",
        "LIST FOO",
        "KILL",
        "KILL 1.2.3.4:5",
        "KILL ID 0",
        "KILL ID x",
        "KILL ID 999999999",
        "KILL ID",
        "KILL TYPE nosuch",
        "KILL TYPE replica",
        "KILL TYPE PubSub SKIPME no",
        "KILL USER nobody",
        "KILL USER default ID 999999999",
        "KILL ADDR 1.2.3.4:5",
        "KILL LADDR 1.2.3.4:5 ID",
        "KILL LADDR 1.2.3.4:5 ID x",
        "KILL SKIPME maybe",
        "KILL FOO bar",
        "PAUSE",
        "PAUSE x",
        "PAUSE -1",
        "PAUSE 0",
        "PAUSE 0 WRITE",
        "PAUSE 0 FOO",
        "PAUSE 0 all x",
        "UNPAUSE",
        "UNPAUSE x",
        "UNBLOCK",
        "UNBLOCK x",
        "UNBLOCK 999999999",
        "UNBLOCK 999999999 timeout",
        "UNBLOCK 999999999 ERROR",
        "UNBLOCK 1 FOO",
        "UNBLOCK 1 ERROR x",
        "REPLY x",
        "REPLY",
    ])
}

/// Only what is refused: whoever listens gets more than replies.
pub fn monitor(g: &mut Gen) -> Args {
    g.form(&["x", "a b"])
}

pub fn flush(g: &mut Gen) -> Args {
    g.form(&["", "", "ASYNC", "SYNC", "sync", "FOO", "ASYNC SYNC"])
}

pub fn info(g: &mut Gen) -> Args {
    g.form(&[
        "",
        "keyspace",
        "KEYSPACE",
        "server",
        "nosuch",
        "all",
        "everything",
        "default",
        "keyspace cpu",
    ])
}

pub fn config(g: &mut Gen) -> Args {
    g.form(&[
        "GET maxmemory",
        "GET appendfsync",
        "GET nosuch",
        "GET databases",
        "GET MaxMemory appendonly",
        "GET maxmemory maxmemory",
        "GET",
        "GET proto-max-bulk-len timeout",
        "SET maxmemory 0",
        "SET maxmemory 1gb",
        "SET maxmemory 0 timeout 0",
        "SET maxmemory-policy noeviction",
        "SET appendfsync always",
        "SET timeout 0",
        "SET nosuch x",
        "SET maxmemory abc",
        "SET appendfsync sometimes",
        "SET maxmemory",
        "SET",
        "SET maxmemory 1 maxmemory 2",
        "SET databases 3",
        "SET maxmemory-policy nosuch",
        "RESETSTAT",
        "RESETSTAT x",
        "REWRITE",
        "HELP",
        "FOO",
        "",
        "SET timeout -1",
        "SET maxmemory 0 nosuch x",
    ])
}

pub fn command(g: &mut Gen) -> Args {
    g.form(&[
        "COUNT",
        "COUNT x",
        "INFO get set mget rename",
        "INFO nosuch",
        "INFO nosuch get",
        "INFO eval x",
        "GETKEYS SET k v",
        "GETKEYS MSET a 1 b 2",
        "GETKEYS MGET a b c",
        "GETKEYS PING",
        "GETKEYS nosuch x",
        "GETKEYS GET",
        "GETKEYS RENAME a b",
        "GETKEYS",
        "GETKEYS COPY a b REPLACE",
        "FOO",
        "HELP",
        "LIST",
        "LIST FILTERBY PATTERN mse*",
        "LIST FILTERBY FOO x",
        "LIST FILTERBY MODULE x",
        "LIST FILTERBY ACLCAT transaction",
        "GETKEYSANDFLAGS SET k v GET",
        "GETKEYSANDFLAGS COPY a b",
        "GETKEYSANDFLAGS MSET a 1 b 2",
        "GETKEYSANDFLAGS PING x",
        "DOCS nosuch",
        "LIST FOO",
        "DOCS get",
        "",
        "GETKEYS DEL a b c",
        "GETKEYS OBJECT ENCODING k",
        "GETKEYS WATCH a b",
        "GETKEYS LCS a b IDX",
    ])
}

pub fn slowlog(g: &mut Gen) -> Args {
    g.form(&[
        "GET", "GET 0", "GET -1", "GET -2", "GET x", "GET 1 2", "LEN", "LEN x", "RESET", "HELP",
        "FOO", "",
    ])
}

pub fn latency(g: &mut Gen) -> Args {
    g.form(&[
        "LATEST",
        "LATEST x",
        "HISTORY command",
        "HISTORY",
        "GRAPH command",
        "GRAPH",
        "RESET",
        "RESET command fast-command",
        "DOCTOR",
        "HELP",
        "HISTOGRAM",
        "HISTOGRAM get config",
        "HISTOGRAM nosuch",
        "FOO",
        "",
    ])
}

pub fn memory(g: &mut Gen) -> Args {
    if g.chance(50) {
        return vec![g.word(&["USAGE"]), g.any_key()];
    }
    g.form(&[
        "USAGE nosuchkey SAMPLES 5",
        "USAGE nosuchkey SAMPLES -1",
        "USAGE nosuchkey SAMPLES x",
        "USAGE nosuchkey FOO 1",
        "USAGE",
        "STATS",
        "DOCTOR",
        "PURGE",
        "MALLOC-STATS",
        "HELP",
        "FOO",
    ])
}

pub fn replicaof(g: &mut Gen) -> Args {
    g.form(&["NO ONE", "no one", "host x", "host 65536", "host -1", "NO", ""])
}

pub fn failover(g: &mut Gen) -> Args {
    g.form(&["", "ABORT", "ABORT x", "TIMEOUT 0", "TIMEOUT x", "TO h x", "TO h 1 FORCE", "FOO"])
}

pub fn wait(g: &mut Gen) -> Args {
    g.form(&["0 0", "-1 0", "0 100", "1 1", "x 0", "0 x", "0 -1", "0", "1 1.5"])
}

pub fn cluster(g: &mut Gen) -> Args {
    g.form(&[
        "INFO",
        "NODES",
        "MYID",
        "SLOTS",
        "SHARDS",
        "HELP",
        "KEYSLOT k",
        "KEYSLOT",
        "RESET HARD",
        "ADDSLOTS 1 2",
        "COUNTKEYSINSLOT 1",
        "FOO",
        "",
    ])
}

pub fn acl(g: &mut Gen) -> Args {
    g.form(&[
        "WHOAMI",
        "WHOAMI x",
        "USERS",
        "LIST",
        "GETUSER default",
        "GETUSER nobody",
        "CAT",
        "CAT nosuch",
        "CAT transaction",
        "CAT a b",
        "HELP",
        "FOO",
        "",
    ])
}

pub fn debug(g: &mut Gen) -> Args {
    match g.below(10) {
        0..4 => g.form(&["DIGEST"]),
        4 | 5 => {
            let mut args = vec![g.word(&["DIGEST-VALUE"])];
            args.extend(g.keys(0, 4));
            args
        }
        6 => vec![g.word(&["OBJECT", "SDSLEN", "HTSTATS-KEY"]), g.any_key()],
        _ => g.form(&[
            "DIGEST x",
            "CHANGE-REPL-ID",
            "RESTART x",
            "CLIENT-EVICTION",
            "CLUSTERLINK KILL to x",
            "CONFIG-REWRITE-FORCE-ALL",
            "DROP-CLUSTER-PACKET-FILTER -1",
            "DROP-CLUSTER-PACKET-FILTER x",
            "LEAK x",
            "AOF-FLUSH-SLEEP 0",
            "LOG x",
            "LOG",
            "REPLICATE a b",
            "REPLICATE",
            "REPLYBUFFER PEAK-RESET-TIME never",
            "REPLYBUFFER PEAK-RESET-TIME x",
            "REPLYBUFFER RESIZING 1",
            "SDSLEN",
            "STRUCTSIZE",
            "STRUCTSIZE x",
            "STRINGMATCH-LEN 5 x",
            "OBJECT",
            "SLEEP 0",
            "SLEEP",
            "JMAP",
            "POPULATE 0",
            "POPULATE x",
            "ERROR oops",
            "HTSTATS 0",
            "HTSTATS 99",
            "HTSTATS x",
            "SET-ACTIVE-EXPIRE 1",
            "PAUSE-CRON 0",
            "QUICKLIST-PACKED-THRESHOLD x",
            "SET-DISABLE-DENY-SCRIPTS 0",
            "PROTOCOL string",
            "PROTOCOL double",
            "PROTOCOL bignum",
            "PROTOCOL null",
            "PROTOCOL set",
            "PROTOCOL map",
            "PROTOCOL verbatim",
            "PROTOCOL true",
            "PROTOCOL foo",
            "HELP",
            "FOO",
            "",
        ]),
    }
}

pub fn shutdown(g: &mut Gen) -> Args {
    // Only such forms as do not stop it; the real one ends the test.
    g.form(&["FOO", "SAVE NOSAVE", "ABORT", "ABORT NOW", "NOSAVE SAVE NOW", "NOW FOO"])
}
