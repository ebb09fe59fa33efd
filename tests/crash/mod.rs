//! kill -9 under mixed load, restarts, and second servers that must not come up.

mod every;
mod offsets;
mod program;
pub mod rewrite;
mod turning;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use ringstone::base::crc::shard_of;
use ringstone::base::random::Random;

use crate::support::data::{self, Data};
use crate::support::{Client, Options, Server, Value, encode, number, server};
use program::{Held, KEYS, Op, Program, tagged};
use verdict::Account;

/// Clients that write in a round.
const WRITERS: usize = 6;
/// Most operations a client has outstanding.
const PIPELINE_MAX: u64 = 12;

/// What a writer knows when its server is gone.
struct Wrote {
    program: Program,
    acknowledged: u64,
    sent: u64,
    wrong: Option<String>,
}

/// How far a writer has come, for those who look on.
#[derive(Default)]
struct Tally {
    /// Not more than what was acknowledged.
    acknowledged: AtomicU64,
    /// Not less than what was sent.
    sent: AtomicU64,
}

/// Writes until the connection fails; tells of acknowledged operations as it goes.
fn write(port: u16, program: Program, seed: u64, progress: &Sender<u64>, tally: &Tally) -> Wrote {
    let mut random = Random::new(seed);
    let mut wrote = Wrote { program, acknowledged: 0, sent: 0, wrong: None };
    let Ok(mut client) = Client::connect(port) else { return wrote };
    let mut held = Held::default();
    loop {
        let count = 1 + random.below(PIPELINE_MAX);
        let (mut bytes, mut batch) = (Vec::new(), Vec::new());
        for number in wrote.sent + 1..=wrote.sent + count {
            let op = wrote.program.op(number);
            let commands = wrote.program.commands(number, &op);
            commands.iter().for_each(|c| bytes.extend(encode(c)));
            batch.push((number, op, commands.len()));
        }
        wrote.sent += count;
        tally.sent.store(wrote.sent, Ordering::SeqCst);
        if client.send(&bytes).is_err() {
            return wrote;
        }
        for (number, op, replies) in batch {
            for reply in 1..=replies {
                let Ok((_, value)) = client.reply() else { return wrote };
                if reply == replies && !as_expected(&wrote.program, &mut held, number, &op, &value)
                {
                    wrote.wrong = Some(format!("operation {number}, {op:?}: {value:?}"));
                    return wrote;
                }
            }
            wrote.acknowledged = number;
        }
        tally.acknowledged.store(wrote.acknowledged, Ordering::SeqCst);
        if progress.send(count).is_err() {
            return wrote;
        }
    }
}

/// Whether the reply is the one a single, private store would have given.
fn as_expected(program: &Program, held: &mut Held, number: u64, op: &Op, reply: &Value) -> bool {
    let changed = !program.apply(held, number, op).is_empty();
    match (op, reply) {
        (Op::Set(_) | Op::Mset(_), Value::Simple(ok)) => ok == b"OK",
        (Op::Del(_), Value::Int(n)) => *n == i64::from(changed),
        (Op::Append(k), Value::Int(n)) => *n == held[*k].as_ref().map_or(0, Vec::len) as i64,
        (Op::Incr(k), Value::Int(n)) => {
            changed && held[*k].as_deref() == Some(n.to_string().as_bytes())
        }
        (Op::Rename(..), Value::Simple(_)) => changed,
        (Op::Incr(_) | Op::Rename(..), Value::Error(_)) => !changed,
        (Op::Transaction(ops), Value::Array(items)) => ops.len() == items.len(),
        _ => false,
    }
}

/// Reads keys of all writers until the connection fails: the highest operation seen at each.
fn observe(port: u16, programs: &[Program], seed: u64) -> BTreeMap<(usize, usize), u64> {
    let mut random = Random::new(seed);
    let mut seen = BTreeMap::new();
    let Ok(mut client) = Client::connect(port) else { return seen };
    loop {
        let who = random.below(programs.len() as u64) as usize;
        let key = random.below(KEYS as u64) as usize;
        let name = &programs[who].names()[key];
        let Ok(reply) = client.try_call(&["GET", name]) else { return seen };
        if let Some(number) = reply.text().and_then(tagged) {
            let highest = seen.entry((who, key)).or_insert(0);
            *highest = number.max(*highest);
        }
    }
}

/// One round: load, kill, restart with `next` options, judge.
fn round(server: Server, name: &str, seed: u64, next: Options) -> Server {
    round_beside(server, name, seed, next, true, (|| {}, || {}))
}

/// The same; `begin` is called when the load begins, and once enough was written, in front of the
/// kill, `moment` passes. `encodings`: those
/// of older data stay; a base has a short string in the shortest, as in Redis.
fn round_beside(
    server: Server,
    name: &str,
    seed: u64,
    next: Options,
    encodings: bool,
    (begin, moment): (impl FnOnce(), impl FnOnce()),
) -> Server {
    let shards = if server::judged_by_peer() { 1 } else { server.options().shards };
    let programs: Vec<Program> =
        (0..WRITERS).map(|w| Program::new(&format!("{name}:{w}"), seed * 100 + w as u64)).collect();
    let before = data::read(&mut server.client());
    begin();
    let (tell, progress) = channel();
    let (port, mut writers) = (server.port(), Vec::new());
    for (i, program) in programs.iter().cloned().enumerate() {
        let tell = tell.clone();
        let seed = seed * 1000 + i as u64;
        let work = move || write(port, program, seed, &tell, &Tally::default());
        writers.push(std::thread::spawn(work));
    }
    drop(tell);
    let watched = programs.clone();
    let observer = std::thread::spawn(move || observe(port, &watched, seed));
    let enough = 200 + Random::new(seed).below(3_000);
    let mut acknowledged = 0;
    while acknowledged < enough {
        acknowledged += progress.recv().expect("every writer ended before the kill");
    }
    moment();
    let stopped = server.kill();
    let wrote: Vec<Wrote> = writers.into_iter().map(|w| w.join().expect("a writer")).collect();
    let seen = observer.join().expect("the observer");
    drop(progress);
    let server = stopped.restart_with(next);
    let mut client = server.client();
    for (w, wrote) in wrote.iter().enumerate() {
        assert_eq!(wrote.wrong, None, "{name}, writer {w}: a wrong reply");
        let found: Vec<Option<Vec<u8>>> = (wrote.program.names().iter())
            .map(|key| client.call(&["GET", key]).text().map(<[u8]>::to_vec))
            .collect();
        let observed = seen.iter().filter(|((who, _), _)| *who == w);
        let account = Account {
            program: &wrote.program,
            acknowledged: wrote.acknowledged,
            sent: wrote.sent,
            observed: observed.map(|((_, key), number)| (*key, *number)).collect(),
        };
        let names = wrote.program.names();
        let judged = account
            .judge(&found.try_into().unwrap(), |key| shard_of(names[key].as_bytes(), shards));
        if let Err(what) = judged {
            panic!("{name}, {shards} shards, writer {w}, seed {seed}: {what}\n{}", server.log());
        }
    }
    assert_untouched(&before, &mut client, encodings, name);
    server
}

/// What was there before the round's load is there still.
fn assert_untouched(before: &Data, client: &mut Client, encodings: bool, name: &str) {
    let mut after = data::read(client);
    // What a test does beside has a database of its own, and is judged there.
    for (key, item) in before.iter().filter(|((db, _), _)| *db != rewrite::BESIDE) {
        let found = after.get_mut(key);
        let found = found.map(|found| {
            if !encodings {
                found.encoding = item.encoding.clone();
            }
            &*found
        });
        assert_eq!(found, Some(item), "{name}: older data, key {key:?}");
    }
}

/// How commits reach the disk; the peer knows one way.
fn method(method: &str) -> Vec<String> {
    match server::judged_by_peer() {
        true => Vec::new(),
        false => vec!["--aof-commit-method".to_owned(), method.to_owned()],
    }
}

fn kill_rounds(fsync: &'static str) {
    let rounds = number("RINGSTONE_CRASH_ROUNDS", 3);
    let base = number("RINGSTONE_CRASH_SEED", 1);
    let options = |round: u64| Options {
        fsync,
        more: method(["segment", "append", "auto"][(round % 3) as usize]),
        ..Options::shards([2, 4, 1, 3][(round % 4) as usize])
    };
    let mut server = Server::start(options(0));
    for i in 0..rounds {
        if i % 8 == 7 {
            assert_eq!(server.client().words("FLUSHALL"), Value::Simple(b"OK".into()));
        }
        server = round(server, &format!("{fsync}{i}"), base * 10_000 + i, options(i + 1));
    }
}

#[test]
fn kill_9_loses_nothing_acknowledged_under_always() {
    kill_rounds("always");
}

#[test]
fn kill_9_loses_nothing_acknowledged_under_everysec() {
    // redis-server may hold a write back while a flush is slow, and so is no judge here.
    if !server::judged_by_peer() {
        kill_rounds("everysec");
    }
}

#[test]
fn kill_9_loses_nothing_acknowledged_under_no() {
    kill_rounds("no");
}

/// The harness itself: a server that keeps no log loses what it acknowledged, and that is seen.
#[test]
fn a_server_without_a_log_is_found_out() {
    let options = Options { appendonly: false, ..Options::default() };
    let Some(server) = Server::peer(options.clone(), "self-check of the kill test") else { return };
    let found = std::panic::catch_unwind(|| drop(round(server, "forgetful", 5, options)));
    let what = found.expect_err("lost writes were not noticed");
    let what = what.downcast_ref::<String>().expect("a text");
    assert!(what.contains("hold no state"), "{what}");
}

/// An acknowledged FLUSHALL stays one, and leaves no pile of files.
#[test]
fn flushall_survives_kill_9_and_leaves_few_files() {
    let server = Server::start(Options::shards(2));
    let mut client = server.client();
    for i in 0..300 {
        client.words(&format!("MSET a {i} b {i} c {i}"));
        assert_eq!(client.words("FLUSHALL"), Value::Simple(b"OK".into()));
    }
    client.words("SET last 1");
    let server = server.kill().restart();
    let mut client = server.client();
    assert_eq!(client.words("DBSIZE"), Value::Int(1));
    assert_eq!(client.words("GET last"), Value::Bulk(b"1".into()));
    let files = std::fs::read_dir(server.home().path().join("appendonlydir")).unwrap().count();
    assert!(files < 60, "{files} files after 300 FLUSHALLs");
}

#[test]
fn restarts_in_a_row_come_up_at_the_first_try() {
    let restarts = number("RINGSTONE_RESTARTS", 10);
    let mut server = Server::start(Options::shards(2));
    for i in 1..=restarts {
        let mut client = server.client();
        assert_eq!(client.words("INCR restarts"), Value::Int(i as i64));
        client.words(&format!("SET key:{i} {i}"));
        // A connection that is still open must not keep the port from the next server.
        let stopped = match i % 4 {
            0 | 2 => server.kill(),
            1 => server.stop(),
            _ => {
                client.send(b"SHUTDOWN\r\n").unwrap();
                server.gone_by_itself()
            }
        };
        server = stopped.restart();
    }
    let mut client = server.client();
    assert_eq!(client.words("DBSIZE"), Value::Int(restarts as i64 + 1));
}

#[test]
fn a_second_server_on_the_same_port_never_comes_up() {
    for shards in [1, 2] {
        let server = Server::start(Options::shards(shards));
        let ended =
            Server::refused(server::fresh_home(), Some(server.port()), Options::shards(shards));
        assert_eq!(ended.status.code(), Some(1), "{ended}");
        assert!(ended.log.contains("Could not create server TCP listening socket"), "{ended}");
        assert!(ended.log.contains("bind: Address already in use"), "{ended}");
        assert_eq!(server.client().words("PING"), Value::Simple(b"PONG".into()));
    }
}

#[test]
fn a_second_server_on_a_port_of_anyone_never_comes_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ended = Server::refused(server::fresh_home(), Some(port), Options::default());
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert!(ended.log.contains("bind: Address already in use"), "{ended}");
}

#[test]
fn a_second_server_on_the_same_directory_never_comes_up() {
    if server::judged_by_peer() {
        return;
    }
    let server = Server::start(Options::shards(2));
    let ended = Server::refused(server.home(), None, Options::shards(2));
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert!(ended.log.contains(&server.pid().to_string()), "the pid is not named: {ended}");
    assert_eq!(server.client().words("PING"), Value::Simple(b"PONG".into()));
    // The lock goes with the process, however it goes.
    drop(server.kill().restart());
}

/// Everything a reply has told of outlives the server, whoever asked: many clients, one counter.
#[test]
fn a_counter_never_goes_back() {
    let mut server = Server::start(Options::shards(2));
    let mut least = 0;
    for _ in 0..number("RINGSTONE_CRASH_ROUNDS", 3) {
        let (port, done) = (server.port(), Arc::new(AtomicBool::new(false)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let done = Arc::clone(&done);
                std::thread::spawn(move || {
                    let mut highest = 0;
                    let Ok(mut client) = Client::connect(port) else { return 0 };
                    while let Ok(reply) = client.try_call(&["INCR", "counter"]) {
                        highest = reply.int().expect("a number");
                        done.fetch_or(highest % 100 == 0, Ordering::Relaxed);
                    }
                    highest
                })
            })
            .collect();
        while !done.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let stopped = server.kill();
        let highest = threads.into_iter().map(|t| t.join().unwrap()).max().unwrap();
        server = stopped.restart();
        let found = server.client().words("GET counter");
        let found: i64 = std::str::from_utf8(found.text().unwrap()).unwrap().parse().unwrap();
        assert!(found >= highest.max(least), "{found} after {highest} was told");
        least = found;
    }
}
