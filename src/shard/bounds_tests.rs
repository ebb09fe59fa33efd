//! What a shard bounds, tried on shards without sockets over a disk that answers when it is told.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock::{Now, Time};
use crate::base::random::Random;
use crate::client::ConnKey;
use crate::command::Session;
use crate::config::Config;
use crate::keyspace::events::Events;
use crate::keyspace::{Effects, Keyspace};
use crate::observe::registry::Facts;
use crate::persist::aof::manifest::{Manifest, NewFile};
use crate::persist::disk::{Disk, DiskDone, DiskOp, FileId, Flush};
use crate::shard::face::policy;
use crate::shard::global::{Global, Voice};
use crate::shard::log::{LogFile, LogWriter};
use crate::shard::message::Message;
use crate::shard::notify::tests::heard;
use crate::shard::{Order, Shard};

/// A disk that keeps operations until it is let go on.
#[derive(Default)]
pub(super) struct Stalled {
    pub waiting: VecDeque<(u64, DiskOp)>,
}

impl Disk for Stalled {
    fn submit(&mut self, token: u64, op: DiskOp) {
        self.waiting.push_back((token, op));
    }
}

pub(super) struct Bench {
    pub shards: Vec<Shard>,
    pub disks: Vec<Stalled>,
    now: Now,
    /// What each connection was told, by its index.
    pub told: Vec<Vec<u8>>,
}

pub(super) const SHARDS: usize = 2;

fn key(index: usize) -> ConnKey {
    ConnKey { index: index as u32, generation: 0 }
}

/// One generation that has just begun.
fn manifest() -> Manifest {
    let mut manifest = Manifest::default();
    let files = [NewFile { seed: 1, start: 0, stream: 0 }; SHARDS];
    manifest.begin_generation("appendonly.aof", &files, 1, "boot");
    manifest
}

impl Bench {
    /// Shards with `connections` connections on the first.
    pub fn new(connections: usize, config: &[(&str, &str)]) -> Bench {
        let config = config.iter().chain(&[("save", "")]);
        let pairs: Vec<_> = config.map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let config = Config::new(Path::new("/data")).changed(&pairs, true).expect("a good config");
        let voice = Voice {
            again: Box::new(|_| "it is a test".to_owned()),
            can_start_again: false,
            say: Box::new(|_, _| {}),
            level: Box::new(|_| {}),
            die: Box::new(|text| panic!("{text}")),
            errand: Box::new(|errand| errand()),
            read_log: Box::new(|_, _, _| Err("ERR it is a test".to_owned())),
            time: Time::system(),
            writer: Box::new(|_| Err(std::io::Error::other("it is a test"))),
        };
        let order: Arc<Order<Message>> = Arc::new(Order::new(SHARDS, 1));
        let flush = policy(config.appendfsync);
        let facts = Facts::default();
        let global = Global::new(SHARDS, config, "boot", manifest(), facts, voice);
        let global = Arc::new(global);
        let shard = |s: usize| {
            let space = Box::new(Keyspace::new(s, 16, [1, 2], Effects::new(0, true)));
            let file = LogFile { id: FileId(s as u32), seed: 1, sum: 1, offset: 0 };
            let log = LogWriter::new(flush, file, 0, 0);
            let (order, global) = (Arc::clone(&order), Arc::clone(&global));
            Shard::new(order, global, space, Some(log), Random::new(s as u64))
        };
        let mut bench = Bench {
            shards: (0..SHARDS).map(shard).collect(),
            disks: (0..SHARDS).map(|_| Stalled::default()).collect(),
            now: Now { unix_us: 1_700_000_000_000_000, mono_us: 1_000_000 },
            told: vec![Vec::new(); connections],
        };
        for index in 0..connections {
            bench.shards[0].connect(key(index), Session::new(index as u64, true));
        }
        bench
    }

    /// Lets time pass, by all clocks.
    pub fn pass(&mut self, ms: i64) {
        self.now.unix_us += ms * 1000;
        self.now.mono_us += ms.unsigned_abs() * 1000;
    }

    /// One turn of a shard; what is told is read at once if `reading`.
    pub fn turn(&mut self, shard: usize, received: &[(usize, &[u8])], reading: bool) {
        self.now.mono_us += 1_000;
        let mut sends = Vec::new();
        let it = &mut self.shards[shard];
        it.begin_turn(self.now);
        it.take_inbox();
        it.run_fifo();
        for (index, data) in received {
            it.input(key(*index), data);
        }
        it.run_again();
        it.end_turn(&mut self.disks[shard], &mut |conn, reply| sends.push((conn, reply)));
        for (conn, reply) in sends {
            self.told[conn.index as usize].extend(reply.to_vec());
            if reading {
                self.shards[shard].sent(conn, true);
            }
        }
    }

    /// Completes what is with a disk.
    fn disk_goes_on(&mut self, shard: usize) {
        while let Some((token, op)) = self.disks[shard].waiting.pop_front() {
            let data = match op {
                DiskOp::Write { data, .. } => data,
                _ => Vec::new(),
            };
            let done = DiskDone { token, result: Ok(None), data, sync_failed: false };
            self.shards[shard].disk_done(done, &mut self.disks[shard]);
        }
    }

    /// Turns of all shards while flushes stall.
    fn settle_without_flushes(&mut self) {
        for _ in 0..10 {
            for shard in 0..SHARDS {
                self.turn(shard, &[], true);
                let waiting = std::mem::take(&mut self.disks[shard].waiting);
                let flushes = |op: &DiskOp| match op {
                    DiskOp::Write { flush, .. } => *flush != Flush::No,
                    op => matches!(op, DiskOp::Sync { .. }),
                };
                let (stay, go): (VecDeque<_>, _) = waiting.into_iter().partition(|w| flushes(&w.1));
                self.disks[shard].waiting = go;
                self.disk_goes_on(shard);
                self.disks[shard].waiting.extend(stay);
            }
        }
    }

    /// Turns of all shards, with disks that work, until nothing more happens.
    fn settle(&mut self) {
        for _ in 0..50 {
            for shard in 0..SHARDS {
                self.turn(shard, &[], true);
                self.disk_goes_on(shard);
            }
        }
    }
}

/// `k2` lives on the first of two shards, `k0` on the second.
#[test]
fn a_stalled_disk_stops_writes_and_not_reads() {
    const SETS: usize = 200;
    let mut bench = Bench::new(SETS + 1, &[("appendfsync", "always")]);
    for name in ["k2", "k0"] {
        let value = "v".repeat(1 << 20);
        let set = format!("*3\r\n$3\r\nSET\r\n$2\r\n{name}\r\n${}\r\n{value}\r\n", value.len());
        let home = usize::from(name == "k0");
        for client in 0..SETS {
            bench.turn(0, &[(client, set.as_bytes())], true);
            bench.turn(1, &[], true);
        }
        let held: usize = bench.disks[home].waiting.iter().map(|(_, op)| op_len(op)).sum();
        let waiting = bench.shards[home].space.as_ref().unwrap().effects.pending().len();
        assert!((60 << 20..80 << 20).contains(&(held + waiting)), "{held} + {waiting}");
        // What nobody has written to is readable, here and there.
        bench.turn(0, &[(SETS, b"SELECT 5\r\nGET k2\r\nGET k0\r\n")], true);
        bench.turn(1, &[], true);
        bench.turn(0, &[], true);
        assert_eq!(bench.told[SETS], b"+OK\r\n$-1\r\n$-1\r\n");
        bench.told[SETS].clear();
        bench.settle();
        let answered = bench.told.iter().filter(|told| **told == b"+OK\r\n").count();
        assert_eq!(answered, SETS, "all goes on when the disk does");
        bench.told.iter_mut().for_each(Vec::clear);
    }
}

fn op_len(op: &DiskOp) -> usize {
    match op {
        DiskOp::Write { data, .. } => data.len(),
        _ => 0,
    }
}

/// Of two parcels the other server takes the first and refuses the second: who sent them is told
/// when what has gone is durably gone, though nothing is written at the end.
#[test]
fn migrate_is_answered_when_all_that_has_gone_is_durably_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut heard, mut room, mut answered) = (Vec::new(), vec![0; 1 << 16], 0);
        loop {
            match stream.read(&mut room).unwrap() {
                0 => return heard,
                n => heard.extend_from_slice(&room[..n]),
            }
            let times = |word: &str| memchr::memmem::find_iter(&heard, word).count();
            let asked = times("\r\nSELECT\r\n") + times("\r\nRESTORE\r\n");
            let answers = [&b"+OK\r\n"[..], b"+OK\r\n", b"-ERR no\r\n"];
            stream.write_all(&answers[answered..asked].concat()).unwrap();
            answered = asked;
        }
    });
    let mut bench = Bench::new(1, &[("appendfsync", "always")]);
    let long = vec![b'v'; 1 << 20];
    let head = b"*3\r\n$3\r\nSET\r\n$2\r\nk2\r\n$1048576\r\n";
    let mut both = [head, &long[..], b"\r\n"].concat();
    both.extend_from_slice(b"SET k0 v\r\nCONFIG SET rdbcompression no\r\n");
    bench.turn(0, &[(0, &both)], true);
    bench.settle();
    assert_eq!(bench.told[0], b"+OK\r\n+OK\r\n+OK\r\n");
    bench.told[0].clear();
    let migrate = format!("MIGRATE 127.0.0.1 {port} \"\" 0 30000 KEYS k2 k0\r\n");
    bench.turn(0, &[(0, migrate.as_bytes())], true);
    // A journey that comes to nothing is told of, so this ends; the connection is kept behind it.
    while !target.is_finished() {
        bench.settle_without_flushes();
        bench.shards[0].global.lines.close_older_than(Duration::ZERO);
        assert_eq!(bench.told[0], b"");
    }
    bench.settle_without_flushes();
    assert_eq!(bench.told[0], b"");
    bench.settle();
    assert_eq!(bench.told[0], b"-ERR Target instance replied with error: ERR no\r\n");
    assert!(target.join().unwrap().len() > long.len());
}

#[test]
fn events_come_out_in_order_and_none_are_kept() {
    let mut bench = Bench::new(1, &[("notify-keyspace-events", "KEAn")]);
    heard();
    let mut run = |line: &str| {
        bench.turn(0, &[(0, format!("{line}\r\n").as_bytes())], true);
        bench.settle();
        let spaces = bench.shards.iter().map(|shard| shard.space.as_ref().unwrap());
        assert!(spaces.map(|space| &space.events).all(Events::is_empty), "{line}");
        heard()
    };
    assert_eq!(run("SET k2 v EX 100"), ["0 new k2", "0 set k2", "0 expire k2"]);
    assert_eq!(run("RPUSH k0 a"), ["0 new k0", "0 rpush k0"]);
    // A lease, whose keyspaces both have some.
    assert_eq!(run("RENAME k2 k0"), ["0 new k0", "0 rename_from k2", "0 rename_to k0"]);
    assert_eq!(run("DEL k0 k2"), ["0 del k0"]);
    run("MULTI");
    run("SET k0 1");
    run("SET k2 2");
    assert_eq!(run("EXEC"), ["0 new k0", "0 set k0", "0 new k2", "0 set k2"]);
    assert_eq!(run("CONFIG SET notify-keyspace-events Eg"), [""; 0]);
    assert_eq!(run("SET k0 1"), [""; 0]);
    assert_eq!(run("DEL k0"), ["0 del k0"]);
    run("CONFIG SET notify-keyspace-events A");
    assert_eq!(run("SET k0 1"), [""; 0]);
}

#[test]
fn garbage_keeps_no_shard_awake_whose_data_is_elsewhere() {
    let mut bench = Bench::new(1, &[]);
    bench.shards[0].freeing = true;
    assert!(bench.shards[0].is_busy());
    let space = bench.shards[0].space.take();
    assert!(!bench.shards[0].is_busy());
    bench.shards[0].space = space;
    assert!(bench.shards[0].is_busy());
}

#[test]
fn replies_from_elsewhere_are_bounded_before_they_are_here() {
    const CLIENTS: usize = 100;
    let mut bench = Bench::new(CLIENTS + 1, &[("appendfsync", "no")]);
    let set = format!("SET k0 {}\r\n", "v".repeat(15_000));
    bench.turn(0, &[(CLIENTS, set.as_bytes())], true);
    bench.settle();
    assert_eq!(bench.told[CLIENTS], b"+OK\r\n");
    let gets = "GET k0\r\n".repeat(200);
    let received: Vec<(usize, &[u8])> = (0..CLIENTS).map(|i| (i, gets.as_bytes())).collect();
    bench.turn(0, &received, false);
    for _ in 0..20 {
        bench.turn(1, &[], false);
        bench.turn(0, &[], false);
    }
    let held: usize = bench.shards[0].conns().map(|c| c.output.len()).sum();
    let told: usize = bench.told.iter().map(Vec::len).sum();
    assert!(held < 80 << 20 && told <= held, "{held}");
    assert_eq!(held, bench.shards[0].output_bytes);
    // Everybody reads: everybody gets all.
    for index in 0..CLIENTS {
        if bench.shards[0].conn(key(index)).unwrap().output.sending.is_some() {
            bench.shards[0].sent(key(index), true);
        }
    }
    (0..30).for_each(|_| bench.settle());
    let all = 200 * (15_000 + 10);
    let short = (0..CLIENTS).filter(|i| bench.told[*i].len() != all).count();
    assert_eq!(short, 0);
    assert_eq!((bench.shards[0].output_bytes, bench.shards[0].abroad.words), (0, 0));
}

#[test]
fn always_is_promised_when_every_log_is_durable() {
    for lines in ["CONFIG SET appendfsync always", "MULTI|CONFIG SET appendfsync always|EXEC"] {
        for more in ["", "|GET k2", "|GET k0"] {
            let mut bench = Bench::new(2, &[("appendfsync", "everysec")]);
            bench.turn(0, &[(0, b"SET k2 1\r\nSET k0 1\r\n")], true);
            bench.settle_without_flushes();
            assert_eq!(bench.told[0], b"+OK\r\n+OK\r\n");
            let lines = lines.replace("|EXEC", &format!("{more}|EXEC"));
            let lines = format!("{}\r\n", lines.replace('|', "\r\n"));
            bench.turn(0, &[(1, lines.as_bytes())], true);
            bench.settle_without_flushes();
            let last = |bench: &Bench| bench.told[1].len();
            let queued = lines.matches("\r\n").count().saturating_sub(2);
            let told = ["", "+OK\r\n"][usize::from(queued > 0)].len() + queued * 9;
            assert_eq!(last(&bench), told, "{lines}: told too early");
            let before = last(&bench);
            bench.disk_goes_on(0);
            bench.settle_without_flushes();
            assert_eq!(last(&bench), before, "the other shard is not durable yet");
            bench.settle();
            assert!(last(&bench) > before, "{lines}");
            for log in bench.shards.iter().map(|s| s.log.as_ref().unwrap()) {
                assert_eq!(log.durable(), log.release());
            }
        }
    }
}

/// The memory of a long value's frame is that of its effect: nothing as long again is asked for.
#[test]
fn a_long_write_is_copied_once_for_the_log() {
    let mut bench = Bench::new(1, &[("appendfsync", "no")]);
    let value = "v".repeat(8 << 20);
    let set = format!("*3\r\n$3\r\nSET\r\n$2\r\nk2\r\n${}\r\n{value}\r\n", value.len());
    let shard = &mut bench.shards[0];
    shard.begin_turn(bench.now);
    shard.input(key(0), set.as_bytes());
    let effect = shard.space.as_ref().unwrap().effects.pending().as_ptr();
    shard.end_turn(&mut bench.disks[0], &mut |_, _| {});
    let Some((_, DiskOp::Write { data, .. })) = bench.disks[0].waiting.front() else {
        panic!("nothing is written");
    };
    assert_eq!(data.as_ptr(), effect);
    assert!(data.capacity() < value.len() + (1 << 20), "{}", data.capacity());
    assert!(data.starts_with(b"#R1 ") && data.ends_with(b"vv\r\n"));
}

#[test]
fn requests_that_never_end_are_bounded_and_a_long_value_gets_through() {
    const CLIENTS: usize = 2_000;
    const CHUNK: usize = 4_096;
    let mut bench = Bench::new(CLIENTS + 1, &[]);
    let shard = &mut bench.shards[0];
    shard.global.connections[0].store(CLIENTS + 1, Ordering::Relaxed);
    let mut now = bench.now;
    let mut stopped = vec![false; CLIENTS + 1];
    let step = |shard: &mut Shard, stopped: &mut [bool], from: usize, data: &[u8]| {
        if !stopped[from] {
            shard.input(key(from), data);
            stopped[from] = shard.stop_if_piled(key(from), 64 << 10);
        }
        !stopped[from]
    };
    for _ in 0..15 {
        (0..CLIENTS).for_each(|client| {
            step(shard, &mut stopped, client, &[b'x'; CHUNK]);
        });
    }
    let sum = |shard: &Shard| shard.conns().map(|c| c.input.len()).sum::<usize>();
    assert_eq!(sum(shard), shard.intake.bytes);
    assert!(sum(shard) < (64 << 20) + CLIENTS * CHUNK + CHUNK, "{}", sum(shard));
    // One that means well, while the others wait.
    let mut value = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16777216\r\n".to_vec();
    value.resize(value.len() + (16 << 20), b'v');
    value.extend_from_slice(b"\r\n");
    let mut chunks = value.chunks(16 << 10).peekable();
    let mut turns = 0;
    while chunks.peek().is_some() {
        now.mono_us += 1_000;
        shard.begin_turn(now);
        if !stopped[CLIENTS] {
            step(shard, &mut stopped, CLIENTS, chunks.next().unwrap());
        }
        shard.housekeep();
        for key in shard.take_resumed() {
            stopped[key.index as usize] = false;
        }
        turns += 1;
        assert!(turns < 30_000, "it does not get through");
    }
    assert!(shard.conn(key(CLIENTS)).unwrap().input.is_empty());
    (0..=CLIENTS).for_each(|client| shard.disconnect(key(client)));
    assert_eq!(shard.intake.bytes, 0);
}

/// What the kernel has received before a connection is stopped comes all the same.
/// An element that has been popped is nowhere else; the reply tells of it when the disk allows.
#[test]
fn who_has_ended_its_stream_hears_what_it_popped_however_long_the_disk_hangs() {
    let mut bench = Bench::new(1, &[("appendfsync", "always")]);
    bench.turn(0, &[(0, b"RPUSH k0 one\r\nLPOP k0\r\n")], true);
    bench.turn(1, &[], true);
    bench.shards[0].leave(key(0));
    for _ in 0..4 {
        bench.now.mono_us += 9_000_000;
        bench.turn(0, &[], true);
        assert_eq!(bench.shards[0].take_lingering(), [], "its answer is under way");
    }
    assert_eq!(bench.told[0], b"");
    bench.settle();
    assert_eq!(bench.told[0], b":1\r\n$3\r\none\r\n");
}

/// A request that waits because so much is with other shards has been asked for.
#[test]
fn who_has_ended_its_stream_is_answered_though_others_are_in_front() {
    let mut bench = Bench::new(1, &[("appendfsync", "no")]);
    bench.shards[0].abroad.words += 5_000;
    bench.turn(0, &[(0, b"SET k0 v\r\n")], true);
    bench.shards[0].leave(key(0));
    for _ in 0..3 {
        bench.turn(0, &[], true);
        assert_eq!(bench.shards[0].take_closing(), [], "its request waits");
    }
    bench.shards[0].abroad.words -= 5_000;
    bench.turn(0, &[], true);
    bench.settle();
    assert_eq!(bench.told[0], b"+OK\r\n");
    bench.turn(0, &[], true);
    assert_eq!(bench.shards[0].take_closing(), [key(0)]);
}

#[test]
fn bursts_beyond_the_bound_end_the_oldest() {
    const CLIENTS: usize = 4_000;
    let mut bench = Bench::new(CLIENTS, &[]);
    let shard = &mut bench.shards[0];
    shard.global.connections[0].store(CLIENTS, Ordering::Relaxed);
    let mut closed = Vec::new();
    for client in 0..CLIENTS {
        shard.input(key(client), &[b'x'; 60_000]);
        shard.stop_if_piled(key(client), 64 << 10);
        if client % 100 == 99 {
            shard.housekeep();
            closed.extend(shard.take_closing());
        }
    }
    let held: usize = shard.conns().map(|c| c.input.len()).sum();
    assert!(held <= 96 << 20, "{held}");
    assert!(!closed.is_empty() && !closed.contains(&key(CLIENTS - 1)));
    assert!(shard.conn(key(0)).unwrap().input.len() == 60_000, "it was within the bound");
}

/// The clock of keys' use is that of the turns, and nothing else.
#[test]
fn keys_age_by_the_turns() {
    let mut bench = Bench::new(1, &[("appendfsync", "no")]);
    let ask = |bench: &mut Bench, words: &[&str]| {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|w| request.push_str(&format!("${}\r\n{w}\r\n", w.len())));
        bench.told[0].clear();
        bench.turn(0, &[(0, request.as_bytes())], true);
        bench.settle();
        String::from_utf8(bench.told[0].clone()).unwrap()
    };
    // Of either shard.
    for key in ["k1", "k2", "k3", "k4"] {
        assert_eq!(ask(&mut bench, &["SET", key, "v"]), "+OK\r\n");
        bench.now.unix_us += 5_000_000_000;
        assert_eq!(ask(&mut bench, &["OBJECT", "IDLETIME", key]), ":5000\r\n");
        assert_eq!(ask(&mut bench, &["GET", key]), "$1\r\nv\r\n");
        assert_eq!(ask(&mut bench, &["OBJECT", "IDLETIME", key]), ":0\r\n");
    }
    let set =
        |bench: &mut Bench, policy| ask(bench, &["CONFIG", "SET", "maxmemory-policy", policy]);
    assert_eq!(set(&mut bench, "allkeys-lfu"), "+OK\r\n");
    for key in ["k5", "k6", "k7", "k8"] {
        assert_eq!(ask(&mut bench, &["SET", key, "v"]), "+OK\r\n");
        bench.now.unix_us += 2 * 60_000_000;
        assert_eq!(ask(&mut bench, &["OBJECT", "FREQ", key]), ":3\r\n");
    }
    assert_eq!(set(&mut bench, "noeviction"), "+OK\r\n");
    let told = ask(&mut bench, &["OBJECT", "FREQ", "k5"]);
    assert!(told.starts_with("-ERR An LFU maxmemory policy is not selected"), "{told}");
}

/// A pipeline of which the first part is executed here and the rest elsewhere is answered in one
/// piece, a long reply ahead, and one that stands before a command that waits at once.
#[test]
fn a_pipeline_is_answered_when_all_of_it_has_run() {
    let mut bench = Bench::new(2, &[("appendfsync", "no")]);
    let get = |key: &str| format!("*2\r\n$3\r\nGET\r\n$2\r\n{key}\r\n").into_bytes();
    let both = [get("k2"), get("k0")].concat();
    bench.turn(0, &[(0, &both)], true);
    assert!(bench.told[0].is_empty(), "the second is with the other shard");
    bench.turn(0, &[(0, &get("k2"))], true);
    assert!(bench.told[0].is_empty(), "and what comes behind it waits as ever");
    bench.settle();
    assert_eq!(bench.told[0], b"$-1\r\n$-1\r\n$-1\r\n");
    bench.turn(0, &[(0, &get("k2"))], true);
    assert_eq!(bench.told[0].len(), 20, "alone, a reply leaves in its turn");
    // The next pipeline comes in the turn in which one is complete.
    bench.turn(0, &[(0, &both)], true);
    bench.turn(1, &[], true);
    bench.turn(0, &[(0, &both)], true);
    assert_eq!(bench.told[0].len(), 35, "it does not hold back what is due");
    bench.settle();
    assert_eq!(bench.told[0].len(), 40);

    let ping = format!("*2\r\n$4\r\nPING\r\n$5000\r\n{}\r\n", "x".repeat(5000)).into_bytes();
    bench.turn(0, &[(1, &[ping, get("k0")].concat())], true);
    assert_eq!(bench.told[1].len(), 5009, "long");
    bench.settle();
    bench.told[1].clear();
    let waits = b"*3\r\n$5\r\nBLPOP\r\n$2\r\nk0\r\n$1\r\n0\r\n".to_vec();
    bench.turn(0, &[(1, &[get("k2"), waits].concat())], true);
    assert_eq!(bench.told[1], b"$-1\r\n", "nobody knows how long that takes");
}

/// What is told of at once behind what another shard has not answered counts as output, and stops
/// the connection from asking for more.
#[test]
fn replies_behind_those_from_elsewhere_are_bounded() {
    let mut bench = Bench::new(1, &[("appendfsync", "no")]);
    let echo = format!("ECHO {}\r\n", "v".repeat(15_000));
    let requests = format!("GET k0\r\n{}", echo.repeat(20));
    bench.turn(0, &[(0, requests.as_bytes())], false);
    for _ in 0..200 {
        bench.turn(0, &[(0, echo.repeat(4).as_bytes())], false);
    }
    let conn = bench.shards[0].conn(key(0)).unwrap();
    assert!(conn.output.len() < 4 << 20, "{} bytes of replies", conn.output.len());
    assert!(conn.output.replied() > 512 << 10, "they are counted: {}", conn.output.replied());
    assert!(!conn.input.is_empty(), "and the rest waits");
    (0..60).for_each(|_| bench.settle());
    assert!(bench.told[0].starts_with(b"$-1\r\n$15000\r\n"));
    assert_eq!(bench.told[0].len(), 5 + (20 + 800) * (15_000 + 10));
    assert_eq!(bench.shards[0].output_bytes, 0);
}
