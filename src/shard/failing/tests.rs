//! Shards whose disks refuse writes, and what is read meanwhile.

use rustix::io::Errno;

use super::*;
use crate::keyspace::Effects;
use crate::persist::disk::{DiskDone, DiskOp, FileId, Flush};
use crate::shard::bounds_tests::{Bench, SHARDS};

fn set_of(names: &[&str]) -> HashSet<u64> {
    names.iter().map(|key| known_by(key.as_bytes())).collect()
}

#[test]
fn keys_are_those_that_effects_name() {
    let mut effects = Effects::new(0, true);
    let log = |effects: &mut Effects, db, line: &str| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        effects.log(db, &words);
    };
    effects.mark(b"#M 1 3\r\n");
    for line in ["SET a 1 PXAT 99", "DEL b c", "MOVE d 3", "XGROUP CREATE e g $ MKSTREAM"] {
        log(&mut effects, 0, line);
    }
    log(&mut effects, 7, "SUNIONSTORE f g h");
    effects.mark(b"#D 1:2\r\n");
    log(&mut effects, 7, "HSET i * $");
    let payload = effects.pending();
    let wanted = set_of(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    assert_eq!(keys(&[payload, b"", b"*2\r\n$3\r\nDEL\r\n$1\r\ni\r\n"]), Some(wanted));
    for torn in 1..payload.len() {
        // Within a command nothing is said; behind one, of what is in front.
        let found = keys(&[&payload[..torn]]);
        assert!(found.is_none() || payload[..torn].ends_with(b"\r\n"), "{torn}");
    }
    for unclear in ["FLUSHALL", "PING", "NOSUCH a", "SET"] {
        let mut effects = Effects::new(0, true);
        log(&mut effects, 0, unclear);
        assert_eq!(keys(&[effects.pending()]), None, "{unclear}");
    }
}

/// What a disk does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It writes nothing more.
    Full,
    /// It flushes nothing, and makes no files.
    Lost,
}

/// Completes what is with a disk, or refuses some of it.
fn disk(bench: &mut Bench, shard: usize, fault: Option<Fault>) {
    while let Some((token, op)) = bench.disks[shard].waiting.pop_front() {
        let (mut data, mut flushes, mut made) = (Vec::new(), false, None);
        let mut full = false;
        match op {
            DiskOp::Write { data: bytes, flush, .. } => {
                (data, flushes, full) = (bytes, flush != Flush::No, fault == Some(Fault::Full));
            }
            DiskOp::Sync { .. } => flushes = true,
            DiskOp::Create { .. } => made = Some(FileId(9)),
            _ => {}
        }
        let lost = fault == Some(Fault::Lost) && (flushes || made.is_some());
        let result = match (full, lost) {
            (true, _) => Err(Errno::NOSPC.into()),
            (_, true) => Err(Errno::IO.into()),
            _ => Ok(made),
        };
        let done = DiskDone { token, result, data, sync_failed: lost && flushes };
        bench.shards[shard].disk_done(done, &mut bench.disks[shard]);
    }
}

/// Turns of all shards; `fault`: whose disk does what not.
fn goes_on(bench: &mut Bench, fault: Option<(usize, Fault)>) {
    for _ in 0..50 {
        for shard in 0..SHARDS {
            bench.turn(shard, &[], true);
            bench.shards[shard].housekeep();
            disk(bench, shard, fault.and_then(|(whose, fault)| (whose == shard).then_some(fault)));
        }
    }
}

/// The first shard's disk is full.
const FULL: Option<(usize, Fault)> = Some((0, Fault::Full));

fn ask(bench: &mut Bench, client: usize, lines: &str) {
    bench.told[client].clear();
    bench.turn(0, &[(client, lines.as_bytes())], true);
}

fn told(bench: &Bench, client: usize) -> String {
    String::from_utf8_lossy(&bench.told[client]).into_owned()
}

/// Some keys of the first shard's only segment, one of which soon goes.
fn begin(policy: &str) -> Bench {
    let mut bench = Bench::new(6, &[("appendfsync", policy)]);
    ask(&mut bench, 0, "MSET {k2}a 1 {k2}b 1 k0 1\r\nPSETEX {k2}c 5 1\r\nHSET {k2}h f 1\r\n");
    goes_on(&mut bench, None);
    assert_eq!(told(&bench, 0), "+OK\r\n+OK\r\n:1\r\n");
    bench
}

/// What is read while `SET {k2}a 2`, or an entry with it in it, is stuck.
fn reads(bench: &mut Bench, fault: (usize, Fault), policy: &str) {
    bench.pass(10);
    let fine = "GET {k2}b\r\nEXISTS {k2}h {k2}no\r\nHGET {k2}h f\r\nGET {k2}c\r\n";
    ask(bench, 2, fine);
    assert_eq!(told(bench, 2), "$1\r\n1\r\n:1\r\n$1\r\n1\r\n$-1\r\n", "{policy} {fault:?}");
    // Not even what has expired since leaves anything for the log.
    goes_on(bench, Some(fault));
    for (client, stuck) in [(3, "GET {k2}a\r\n"), (4, "MGET {k2}b {k2}a\r\n"), (5, "DBSIZE\r\n")] {
        ask(bench, client, stuck);
        goes_on(bench, Some(fault));
        assert_eq!(told(bench, client), "", "{policy} {fault:?} {stuck}");
    }
    ask(bench, 2, fine);
    assert_eq!(told(bench, 2), "$1\r\n1\r\n:1\r\n$1\r\n1\r\n$-1\r\n", "{policy} {fault:?}");
    ask(bench, 2, "SET {k2}b 2\r\n");
    assert!(told(bench, 2).starts_with("-MISCONF "), "{policy} {fault:?}");
    // A last attempt may still fail; another is made a little later.
    for _ in 0..2 {
        bench.pass(300);
        goes_on(bench, None);
    }
    assert_eq!(told(bench, 3), "$1\r\n2\r\n");
    assert_eq!(told(bench, 4), "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    assert!(bench.shards.iter().all(|s| s.space.as_ref().is_some_and(|s| s.unwritten.is_none())));
    ask(bench, 2, "SET {k2}b 3\r\n");
    goes_on(bench, None);
    assert_eq!(told(bench, 2), "+OK\r\n");
}

#[test]
fn what_is_not_stuck_is_read_while_a_log_cannot_be_written() {
    // Of the second the first shard's part is written, and durable under `always`, and waits for
    // the other's.
    for (write, whose) in [("SET {k2}a 2\r\n", 0), ("MSET {k2}a 2 k0 2\r\n", 1)] {
        // Only under `always` anything waits for a flush.
        let full = ["always", "everysec", "no"].map(|policy| (policy, Fault::Full));
        for (policy, fault) in full.into_iter().chain([("always", Fault::Lost)]) {
            let mut bench = begin(policy);
            ask(&mut bench, 1, write);
            goes_on(&mut bench, Some((whose, fault)));
            reads(&mut bench, (whose, fault), policy);
            assert_eq!(told(&bench, 1), "+OK\r\n");
        }
    }
}

#[test]
fn those_who_read_while_the_write_was_under_way_are_served() {
    for policy in ["always", "everysec", "no"] {
        let mut bench = begin(policy);
        ask(&mut bench, 1, "SET {k2}a 2\r\n");
        let readers = ["GET {k2}b\r\n", "GET {k2}b\r\nGET {k2}a\r\n", "EXISTS {k2}b {k2}h\r\n"];
        for (client, request) in (2..).zip(readers) {
            ask(&mut bench, client, request);
            assert_eq!(told(&bench, client), "", "{policy}");
        }
        ask(&mut bench, 5, "GET {k2}b\r\nINCR {k2}z\r\n");
        goes_on(&mut bench, FULL);
        let heard: Vec<String> = (2..6).map(|client| told(&bench, client)).collect();
        let one = "$1\r\n1\r\n";
        assert_eq!(heard, [one, one, ":2\r\n", one], "{policy}");
        goes_on(&mut bench, None);
        assert_eq!(told(&bench, 3), "$1\r\n1\r\n$1\r\n2\r\n");
        assert_eq!(told(&bench, 5), "$1\r\n1\r\n:1\r\n");
    }
}

#[test]
fn also_those_who_ask_from_elsewhere() {
    for policy in ["always", "everysec", "no"] {
        let mut bench = begin(policy);
        let wait = "XREAD BLOCK 100 STREAMS {k0}s $\r\n";
        let set_and_reads = ["SET k0 2\r\n", "GET {k0}b\r\n", "GET k0\r\n", "MGET k0 {k2}b\r\n"];
        for (client, request) in (1..).zip(set_and_reads.into_iter().chain([wait])) {
            ask(&mut bench, client, request);
            bench.turn(1, &[], true);
        }
        goes_on(&mut bench, Some((1, Fault::Full)));
        bench.pass(200);
        goes_on(&mut bench, Some((1, Fault::Full)));
        assert_eq!(told(&bench, 5), "*-1\r\n", "{policy}");
        let heard: Vec<String> = (1..5).map(|client| told(&bench, client)).collect();
        assert_eq!(heard, ["", "$-1\r\n", "", ""], "{policy}");
        goes_on(&mut bench, None);
        assert_eq!((&told(&bench, 1)[..], &told(&bench, 3)[..]), ("+OK\r\n", "$1\r\n2\r\n"));
        assert_eq!(told(&bench, 4), "*2\r\n$1\r\n2\r\n$1\r\n1\r\n");
    }
}

#[test]
fn transactions_and_those_who_wait_for_keys_are_served_as_well() {
    for policy in ["always", "everysec"] {
        let mut bench = begin(policy);
        ask(&mut bench, 1, "SET {k2}a 2\r\n");
        ask(&mut bench, 2, "MULTI\r\nGET {k2}b\r\nHLEN {k2}h\r\nEXEC\r\n");
        ask(&mut bench, 3, "MULTI\r\nGET {k2}b\r\nGET {k2}a\r\nEXEC\r\n");
        ask(&mut bench, 4, "XREAD BLOCK 100 STREAMS {k2}s $\r\n");
        goes_on(&mut bench, FULL);
        bench.pass(200);
        goes_on(&mut bench, FULL);
        let queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n";
        assert_eq!(told(&bench, 2), format!("{queued}*2\r\n$1\r\n1\r\n:1\r\n"), "{policy}");
        assert_eq!(told(&bench, 3), queued);
        assert_eq!(told(&bench, 4), "*-1\r\n", "{policy}");
        goes_on(&mut bench, None);
        assert_eq!(told(&bench, 3), format!("{queued}*2\r\n$1\r\n1\r\n$1\r\n2\r\n"));
    }
}

#[test]
fn what_is_counted_is_not_noted_while_that_would_wait() {
    let mut bench = begin("always");
    ask(&mut bench, 0, "PFADD {k2}p a b c\r\n");
    goes_on(&mut bench, None);
    ask(&mut bench, 1, "SET {k2}a 2\r\n");
    goes_on(&mut bench, FULL);
    for _ in 0..2 {
        ask(&mut bench, 2, "PFCOUNT {k2}p\r\n");
        assert_eq!(told(&bench, 2), ":3\r\n");
    }
    goes_on(&mut bench, None);
    let end = bench.shards[0].space.as_ref().map(|space| space.effects.end());
    ask(&mut bench, 2, "PFCOUNT {k2}p\r\n");
    goes_on(&mut bench, None);
    assert_eq!(told(&bench, 2), ":3\r\n");
    assert!(bench.shards[0].space.as_ref().map(|space| space.effects.end()) > end, "noted now");
}

/// What a whole keyspace waits for is waited for, whichever keys are looked at.
#[test]
fn a_floor_that_is_not_released_frees_nobody() {
    let mut bench = begin("always");
    ask(&mut bench, 1, "SET {k2}a 2\r\n");
    if let Some(space) = &mut bench.shards[0].space {
        space.floor = space.effects.end();
    }
    // The stamp of the segment lies behind it.
    ask(&mut bench, 1, "SET {k2}z 2\r\n");
    ask(&mut bench, 2, "GET {k2}b\r\n");
    ask(&mut bench, 3, "MULTI\r\nGET {k2}b\r\nEXEC\r\n");
    goes_on(&mut bench, FULL);
    assert_eq!((told(&bench, 2), told(&bench, 3)), (String::new(), "+OK\r\n+QUEUED\r\n".into()));
    ask(&mut bench, 4, "GET {k2}b\r\n");
    assert_eq!(told(&bench, 4), "");
    goes_on(&mut bench, None);
    assert!([2, 4].iter().all(|client| told(&bench, *client) == "$1\r\n1\r\n"));
    assert_eq!(told(&bench, 3), "+OK\r\n+QUEUED\r\n*1\r\n$1\r\n1\r\n");
}
