//! The differential stream: the same bytes to redis-server and to the server under test, every
//! reply compared, and all data at the end.
//!
//! A difference is shown with its seed and step, both replies, and the shortest stream found (by
//! leaving steps and commands out) that still shows one.
//!
//! A long run is many rounds, each the stream of its own seed on emptied servers, so that what is
//! found can be played again from the seed it is told with, and the steps kept stay few.

mod bits;
mod collections;
pub mod commands;
pub mod generate;
mod lists;
pub mod normalise;
mod payloads;
mod places;
mod shares;
mod steering;
mod streams;
mod waits;
mod zsets;

use std::io;
use std::time::{Duration, Instant};

use crate::support::{Client, Options, Server, Value, data, number, server, show};
use generate::{Args, CONNECTIONS, Command, Gen, Profile, Step};
use shares::Counts;

/// What is not RESP, or not as it should be; the connection ends behind most of it.
pub const JUNK: &[&[u8]] = &[
    b"*1\r\n+PING\r\n",
    b"*abc\r\n",
    b"*2147483648\r\n",
    b"*1048577\r\n$1\r\na\r\n",
    b"*2\r\n$3\r\nGET\r\n$-1\r\n",
    b"*2\r\n$3\r\nGET\r\n$abc\r\n",
    b"*2\r\n$3\r\nGET\r\n$536870913\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    b"SET \"unbalanced\r\n",
    b"SET 'a'b c\r\n",
    b"*-5\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"PING\r\nPING\nPING x\r\n",
    b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n",
    b"GET \"\\x61\\n\"\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n:5\r\n",
    b"*1\r\n$-4\r\nPING\r\n",
    b"\r\n\r\n\n\nPING\r\n",
    b"* 1\r\n$4\r\nPING\r\n",
    b"*1\r\n$ 4\r\nPING\r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n",
    b"PING\r\nHost: x\r\nPING\r\n",
    b"PING\r\nPING a\0b\r\nPING\r\n",
];

/// A difference.
#[derive(Debug)]
struct Difference {
    step: usize,
    what: String,
    /// A server no longer answers: trying again would only take long.
    stuck: bool,
}

/// One server and its connections.
struct Side {
    port: u16,
    connections: Vec<Client>,
    apart: Client,
}

impl Side {
    fn connect(port: u16) -> io::Result<Side> {
        let connections = (0..CONNECTIONS).map(|_| client(port)).collect::<io::Result<_>>()?;
        Ok(Side { port, connections, apart: client(port)? })
    }
}

fn client(port: u16) -> io::Result<Client> {
    let mut client = Client::connect(port)?;
    client.timeout(Duration::from_secs(20))?;
    Ok(client)
}

/// What is known of a connection from its replies: the commands EXEC will answer for.
#[derive(Default)]
struct Queue {
    open: bool,
    commands: Vec<Args>,
}

impl Queue {
    fn note(&mut self, command: &Command, reply: &Value) {
        let ok = reply.text() == Some(b"OK");
        if command.is("MULTI") && ok {
            self.open = true;
            self.commands.clear();
        } else if self.open && reply.text() == Some(b"QUEUED") {
            self.commands.push(command.args.clone());
        } else if command.is("EXEC") && command.args.len() == 1
            || command.is("DISCARD") && ok
            || command.is("RESET") && reply.text() == Some(b"RESET")
        {
            *self = Queue::default();
        }
    }

    /// Whether the replies agree; those of a transaction element by element.
    fn agree(&self, command: &Command, peer: &Value, ours: &Value) -> bool {
        if !(command.is("EXEC") && self.open) {
            return normalise::agree(&command.args, peer, ours);
        }
        match (peer, ours) {
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                self.commands.len() == a.len()
                    && self
                        .commands
                        .iter()
                        .zip(a.iter().zip(b))
                        .all(|(args, (a, b))| normalise::agree(args, a, b))
            }
            _ => peer == ours,
        }
    }
}

/// Two servers under the same stream.
struct Pair {
    peer: Side,
    ours: Side,
    queues: Vec<Queue>,
    tally: Tally,
}

/// What came back, so that a stream that tests little is noticed.
#[derive(Debug, Default)]
struct Tally {
    replies: u64,
    errors: u64,
    absent: u64,
    executed: u64,
    refused: u64,
    counts: Counts,
}

impl Tally {
    /// Notes a reply; `queued` are the commands of the transaction it is of.
    fn note(&mut self, command: &Command, reply: &Value, queued: &[Args]) {
        self.replies += 1;
        self.errors += u64::from(reply.is_error());
        self.absent += u64::from(reply.is_null());
        if reply.text() != Some(b"QUEUED") {
            self.counts.note(&command.args, reply.is_error());
        }
        if command.is("EXEC") {
            self.executed += u64::from(matches!(reply, Value::Array(_)));
            self.refused += u64::from(reply.is_null());
            for (args, reply) in queued.iter().zip(reply.items().unwrap_or_default()) {
                self.counts.note(args, reply.is_error());
            }
        }
    }

    fn add(&mut self, other: &Tally) {
        self.replies += other.replies;
        self.errors += other.errors;
        self.absent += other.absent;
        self.executed += other.executed;
        self.refused += other.refused;
        self.counts.add(&other.counts);
    }

    /// Errors are wanted, but not many; transactions are both carried out and refused.
    fn assert_telling(&self, all: bool) {
        println!(
            "{} replies, {} errors, {} absent; {} transactions, {} refused\n{}",
            self.replies, self.errors, self.absent, self.executed, self.refused, self.counts
        );
        if self.replies < 5_000 || !all {
            return;
        }
        assert!(self.errors * 100 / self.replies < 35, "too many errors: {self:?}");
        assert!(self.executed * 200 > self.replies / 5, "too few transactions: {self:?}");
        assert!(self.refused > 0, "no WATCH ever refused an EXEC: {self:?}");
    }
}

impl Pair {
    fn connect(peer: u16, ours: u16) -> io::Result<Pair> {
        let queues = (0..CONNECTIONS).map(|_| Queue::default()).collect();
        Ok(Pair {
            peer: Side::connect(peer)?,
            ours: Side::connect(ours)?,
            queues,
            tally: Tally::default(),
        })
    }

    fn run(&mut self, at: usize, step: &Step) -> Result<(), Difference> {
        let differs = |what: String, stuck| Err(Difference { step: at, what, stuck });
        let outcome = match step {
            Step::Pipeline(on, commands) => self.pipeline(*on, commands),
            Step::Short(db, args) => self.short(*db, args),
            Step::Scan(db, args) => self.scan(*db, args),
            Step::Junk(bytes) => self.junk(bytes),
        };
        match outcome {
            Ok(None) => Ok(()),
            Ok(Some(what)) => differs(what, false),
            Err(e) => differs(format!("a connection failed: {e}"), true),
        }
    }

    fn pipeline(&mut self, on: usize, commands: &[Command]) -> io::Result<Option<String>> {
        let bytes: Vec<u8> = commands.iter().flat_map(Command::wire).collect();
        let name = |side: &'static str| {
            move |e: io::Error| io::Error::new(e.kind(), format!("{side}: {e}"))
        };
        self.peer.connections[on].send(&bytes).map_err(name("redis-server"))?;
        self.ours.connections[on].send(&bytes).map_err(name("ours"))?;
        for (i, command) in commands.iter().enumerate() {
            let peer = self.peer.connections[on].reply().map_err(name("redis-server"))?;
            let failed = |e: io::Error| {
                let sent = crate::support::show_command(&command.args);
                io::Error::new(e.kind(), format!("ours, at command {i}, {sent}: {e}"))
            };
            let queue = &mut self.queues[on];
            // The same bytes are the same value: mostly there is only one to be taken apart.
            let same = self.ours.connections[on].same(&peer.0).map_err(failed)?;
            let ours =
                if same { None } else { Some(self.ours.connections[on].reply().map_err(failed)?) };
            let value = ours.as_ref().map_or(&peer.1, |ours| &ours.1);
            if !queue.agree(command, &peer.1, value) {
                let ours = ours.unwrap_or_else(|| peer.clone());
                let queued: Vec<String> =
                    queue.commands.iter().map(|c| crate::support::show_command(c)).collect();
                let queued = if command.is("EXEC") {
                    format!("\nqueued: {queued:#?}")
                } else {
                    String::new()
                };
                let sent = crate::support::show_command(&command.args);
                let (theirs, ours) = (show(&peer.0), show(&ours.0));
                let _ = self.finish(on, commands.len() - i - 1);
                return Ok(Some(format!(
                    "command {i} of the pipeline: {sent}{queued}\n  \
                     redis-server: {theirs}\n  ours:         {ours}"
                )));
            }
            self.tally.note(command, &peer.1, if queue.open { &queue.commands } else { &[] });
            queue.note(command, &peer.1);
        }
        if commands.last().is_some_and(|c| c.is("QUIT")) {
            return self.reconnect(on);
        }
        Ok(None)
    }

    /// Reads what is still to come, so that nothing of this pipeline is carried out later.
    fn finish(&mut self, on: usize, replies: usize) -> io::Result<()> {
        for _ in 0..replies {
            self.peer.connections[on].reply()?;
            self.ours.connections[on].reply()?;
        }
        Ok(())
    }

    fn reconnect(&mut self, on: usize) -> io::Result<Option<String>> {
        self.queues[on] = Queue::default();
        for (side, who) in [(&mut self.peer, "redis-server"), (&mut self.ours, "ours")] {
            let rest = side.connections[on].rest()?;
            if !rest.is_empty() {
                return Ok(Some(format!("{who} sent behind QUIT's reply: {}", show(&rest))));
            }
            side.connections[on] = client(side.port)?;
        }
        Ok(None)
    }

    fn short(&mut self, db: usize, args: &Args) -> io::Result<Option<String>> {
        let mut replies = Vec::new();
        for side in [&mut self.peer, &mut self.ours] {
            side.apart.words(&format!("SELECT {db}"));
            replies.push(side.apart.try_call(args)?);
        }
        if replies[0] != replies[1] {
            return Ok(Some(format!("short-lived: {:?} / {:?}", replies[0], replies[1])));
        }
        if replies[0].is_error() {
            // SET with GET refuses to replace what is no string.
            return Ok(None);
        }
        let limit = Instant::now() + Duration::from_secs(10);
        for side in [&mut self.peer, &mut self.ours] {
            while side.apart.try_call(&[b"EXISTS".as_slice(), &args[1]])? != Value::Int(0) {
                if Instant::now() > limit {
                    return Ok(Some(format!("{} outlives its millisecond", show(&args[1]))));
                }
            }
        }
        Ok(None)
    }

    fn scan(&mut self, db: usize, args: &Args) -> io::Result<Option<String>> {
        let peer = whole_scan(&mut self.peer.apart, db, args)?;
        let ours = whole_scan(&mut self.ours.apart, db, args)?;
        let text = || format!("whole SCAN: {peer:?} / {ours:?}");
        Ok((peer != ours).then(text))
    }

    fn junk(&mut self, bytes: &[u8]) -> io::Result<Option<String>> {
        let (peer, ours) = (junk_reply(self.peer.port, bytes)?, junk_reply(self.ours.port, bytes)?);
        Ok((peer != ours).then(|| format!("junk: {} / {}", show(&peer), show(&ours))))
    }
}

/// Everything a fresh connection answers to these bytes and the end of the input.
pub fn junk_reply(port: u16, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut fresh = client(port)?;
    fresh.send(bytes)?;
    let _ = fresh.end_input();
    fresh.rest()
}

fn whole_scan(client: &mut Client, db: usize, args: &Args) -> io::Result<Vec<String>> {
    client.words(&format!("SELECT {db}"));
    let mut cursor = b"0".to_vec();
    let mut found = std::collections::BTreeSet::new();
    for _ in 0..100_000 {
        let mut command = vec![b"SCAN".to_vec(), cursor.clone()];
        command.extend(args.iter().cloned());
        let reply = client.try_call(&command)?;
        let Some([Value::Bulk(next), Value::Array(page)]) = reply.items() else {
            return Ok(vec![format!("{reply:?}")]);
        };
        found.extend(page.iter().map(|k| show(k.text().unwrap_or(b"?"))));
        cursor.clone_from(next);
        if cursor == b"0" {
            return Ok(found.into_iter().collect());
        }
    }
    Ok(vec!["SCAN without end".into()])
}

/// The steps up to `commands` commands.
fn steps(gen_: &mut Gen, commands: u64) -> impl Iterator<Item = Step> {
    let mut sent = 0;
    std::iter::from_fn(move || {
        let step = (sent < commands).then(|| gen_.step())?;
        sent += if let Step::Pipeline(_, c) = &step { c.len() as u64 } else { 1 };
        Some(step)
    })
}

fn play(pair: &mut Pair, steps: &[Step]) -> Result<(), Difference> {
    steps.iter().enumerate().try_for_each(|(at, step)| pair.run(at, step))
}

/// Plays steps on emptied servers.
fn replay(peer: u16, ours: u16, steps: &[Step]) -> Option<Difference> {
    play(&mut emptied(peer, ours).ok()?, steps).err().or_else(|| {
        let what = left_behind(peer, ours)?;
        Some(Difference { step: steps.len().saturating_sub(1), what, stuck: false })
    })
}

/// How what two servers hold differs.
fn left_behind(peer: u16, ours: u16) -> Option<String> {
    let mut clients = [peer, ours].map(|port| client(port).expect("connect"));
    let [left, right] = clients.each_mut().map(data::read);
    let mut found = data::differences(&left, &right, 5_000, true);
    let [left, right] = clients.each_mut().map(|client| client.words("DEBUG DIGEST"));
    if left != right {
        found.push(format!("DEBUG DIGEST: {left:?} / {right:?}"));
    }
    (!found.is_empty()).then(|| format!("what is there differs:\n{}", found.join("\n")))
}

/// Both servers, empty.
fn emptied(peer: u16, ours: u16) -> io::Result<Pair> {
    let mut pair = Pair::connect(peer, ours)?;
    for side in [&mut pair.peer, &mut pair.ours] {
        side.apart.words("FLUSHALL");
        side.apart.words("CONFIG SET maxmemory 0");
    }
    Ok(pair)
}

/// Leaves out what is not needed to see a difference, for at most a minute.
fn shrink(peer: u16, ours: u16, mut steps: Vec<Step>) -> (Vec<Step>, Option<Difference>) {
    let Some(mut last) = replay(peer, ours, &steps) else { return (steps, None) };
    let end = Instant::now() + Duration::from_secs(60);
    steps.truncate(last.step + 1);
    let mut chunk = steps.len().div_ceil(2);
    while chunk >= 1 && Instant::now() < end && !last.stuck {
        let (mut at, before) = (0, steps.len());
        while at < steps.len() && Instant::now() < end {
            let upto = (at + chunk).min(steps.len());
            let fewer = [&steps[..at], &steps[upto..]].concat();
            match replay(peer, ours, &fewer) {
                Some(found) if !found.stuck => {
                    steps = fewer;
                    steps.truncate(found.step + 1);
                    last = found;
                }
                _ => at = upto,
            }
        }
        if chunk == 1 && before == steps.len() {
            break;
        }
        chunk = (chunk / 2).max(1);
    }
    // Then commands of the remaining pipelines, one by one from the back.
    for i in (0..steps.len()).rev() {
        let Step::Pipeline(_, commands) = &steps[i] else { continue };
        for c in (0..commands.len()).rev() {
            let mut fewer = steps.clone();
            let Step::Pipeline(_, commands) = &mut fewer[i] else { unreachable!() };
            if commands.len() == 1 || Instant::now() > end {
                break;
            }
            commands.remove(c);
            if let Some(found) = replay(peer, ours, &fewer).filter(|f| !f.stuck) {
                steps = fewer;
                last = found;
            }
        }
    }
    (steps, Some(last))
}

fn report(peer: u16, ours: u16, seed: u64, found: Difference, played: Vec<Step>) -> String {
    let mut text = format!("seed {seed}, step {}: {}\n", found.step, found.what);
    text += &format!("the step: {}", played[found.step]);
    if found.stuck {
        return text;
    }
    let (steps, last) = shrink(peer, ours, played);
    match last {
        None => text += "played again on emptied servers it does not differ\n",
        Some(last) => {
            text += &format!("\nshortest stream found, {} steps:\n", steps.len());
            for step in &steps[steps.len().saturating_sub(40)..] {
                text += &format!("  {step}");
            }
            text += &format!("  -> {}\n", last.what);
        }
    }
    text
}

/// Names of all commands a server knows.
fn table(client: &mut Client) -> Vec<String> {
    let reply = client.words("COMMAND");
    let rows = reply.items().unwrap_or_else(|| panic!("COMMAND: {reply:?}"));
    let name = |row: &Value| row.items()?.first()?.text().map(<[u8]>::to_vec);
    rows.iter().map(|row| String::from_utf8(name(row).expect("a name")).unwrap()).collect()
}

/// What a run is asked to be; see `tests/main.rs`.
struct Asked {
    seed: u64,
    /// Commands of each round.
    commands: u64,
    /// Replies that every type must have had; none: one round.
    per_type: u64,
    /// The one type the stream is restricted to, or "".
    only: String,
}

impl Asked {
    fn by_the_environment() -> Asked {
        let per_type = number("RINGSTONE_DIFF_PER_TYPE", 0);
        let commands = if per_type == 0 { 10_000 } else { 100_000 };
        Asked {
            seed: number("RINGSTONE_DIFF_SEED", 1),
            commands: number("RINGSTONE_DIFF_COMMANDS", commands),
            per_type,
            only: std::env::var("RINGSTONE_DIFF_TYPE").unwrap_or_default(),
        }
    }

    fn types(&self) -> Vec<&str> {
        if self.only.is_empty() { shares::TYPES.to_vec() } else { vec![&self.only] }
    }

    fn generator(&self, seed: u64, known: &[String]) -> Gen {
        let knows = |n: &str| n == "nosuchcommand" || known.iter().any(|k| k == n);
        let generator = Gen::new(seed, knows, Profile::All);
        if self.only.is_empty() { generator } else { generator.of_type(&self.only) }
    }
}

fn differential(shards: usize) {
    let what = format!("differential stream, {shards} shards");
    let Some((peer, ours)) = servers(shards, &what) else { return };
    let asked = Asked::by_the_environment();
    let mut known = table(&mut ours.client());
    known.retain(|name| !normalise::NEWER.contains(&name.as_str()));
    let mut total = Tally::default();
    for seed in asked.seed.. {
        let mut generator = asked.generator(seed, &known);
        total.add(&round(&peer, &ours, (seed, asked.commands), &mut generator, &what));
        for name in generator.names() {
            let drawn = generator.used().contains(name) || asked.commands < 10_000;
            assert!(drawn || server::judged_by_peer(), "{name} was left out of the stream");
        }
        if total.counts.least(&asked.types()) >= asked.per_type {
            println!("{what}, no differences, seeds {} to {seed}:", asked.seed);
            break;
        }
    }
    total.assert_telling(asked.only.is_empty());
}

/// Plays the stream of one seed, and compares what it has left behind.
fn round(
    peer: &Server,
    ours: &Server,
    (seed, commands): (u64, u64),
    generator: &mut Gen,
    name: &str,
) -> Tally {
    let mut pair = emptied(peer.port(), ours.port()).expect("connect");
    let mut played = Vec::new();
    for step in steps(generator, commands) {
        played.push(step);
        let at = played.len() - 1;
        if let Err(found) = pair.run(at, &played[at]) {
            panic!("{name}: {}", report(peer.port(), ours.port(), seed, found, played));
        }
    }
    if let Some(what) = left_behind(peer.port(), ours.port()) {
        let found = Difference { step: played.len() - 1, what, stuck: false };
        panic!("{name}: {}", report(peer.port(), ours.port(), seed, found, played));
    }
    pair.tally
}

/// The two servers of a run.
fn servers(shards: usize, what: &str) -> Option<(Server, Server)> {
    // Where HyperLogLogs become dense late, and where they do soon.
    let sparse = if shards == 2 { "300" } else { "3000" };
    let more = |o: Options| {
        o.with("proto-max-bulk-len", "512mb")
            .with("hll-sparse-max-bytes", sparse)
            .with("enable-debug-command", "yes")
    };
    // It sees that a client has waited long enough when its clock ticks.
    let peer = more(Options { fsync: "no", ..Options::default() }).with("hz", "500");
    let peer = Server::peer(peer, what)?;
    // A 7.0 has no sets in listpacks.
    let mine = more(Options { fsync: "no", ..Options::shards(shards) });
    let mine = mine.with("set-max-listpack-entries", "0");
    // Lists of nodes of several sizes, compressed inside or not.
    let (size, depth) = [("-2", "0"), ("5", "1"), ("-1", "2")][shards / 2];
    let mine = mine.with("list-max-listpack-size", size).with("list-compress-depth", depth);
    Some((peer, Server::start(mine)))
}

#[test]
fn differential_1_shard() {
    differential(1);
}

#[test]
fn differential_2_shards() {
    differential(2);
}

#[test]
fn differential_4_shards() {
    differential(4);
}

/// Numbers beyond a double, which the stream does without.
#[test]
fn beyond_a_double() {
    let Some(peer) = Server::peer(Options::default(), "numbers beyond a double") else { return };
    let ours = Server::start(Options::default());
    let (mut peer, mut ours) = (peer.client(), ours.client());
    for line in [
        "SET k1 1e400",
        "RPUSH l 1",
        "SORT l BY k*",
        "SORT l BY k* ALPHA",
        "RPUSH m 1e400 2",
        "SORT m",
        "ZADD z 1e400 a",
        "ZINCRBY z 1e400 a",
        "ZRANGEBYSCORE z 0 1e400",
        "ZUNIONSTORE y 1 z WEIGHTS 1e400",
        "INCRBYFLOAT f 1e400",
        "INCRBYFLOAT f -1e400",
        "INCRBYFLOAT f 1e4950",
        "HINCRBYFLOAT h f 1e400",
        "GEOADD g 1e400 0 a",
        // Nor with ids like this: it leaves an `errno` behind that fails the peer's next SORT.
        "XADD x 18446744073709551616 f v",
        "XADD x 1-18446744073709551616 f v",
        "XRANGE x 18446744073709551616 +",
    ] {
        assert_eq!(peer.words(line), ours.words(line), "{line}");
    }
}

/// The harness itself: a server that lacks one command is found out, and the report is short.
#[test]
fn a_difference_is_found_and_shrunk() {
    let what = "self-check of the differential stream";
    let Some(peer) = Server::peer(Options::default(), what) else { return };
    let lacking = Options::default().with("rename-command", "GETDEL").with("rename-command", "TTL");
    let lacking = Options { more: with_empty_names(&lacking.more), ..lacking };
    let Some(ours) = Server::peer(lacking, what) else { return };
    let mut generator = Gen::new(7, |_| true, Profile::All);
    let mut pair = Pair::connect(peer.port(), ours.port()).expect("connect");
    let played: Vec<Step> = steps(&mut generator, 2_000).collect();
    let found = play(&mut pair, &played).expect_err("the difference was not seen");
    let text = report(peer.port(), ours.port(), 7, found, played);
    assert!(text.contains("shortest stream found, 1 steps") && text.contains("unknown command"));
}

/// `rename-command X` takes a second word, the empty one.
fn with_empty_names(flags: &[String]) -> Vec<String> {
    flags.chunks(2).flat_map(|f| [f[0].clone(), f[1].clone(), String::new()]).collect()
}

#[test]
fn no_command_is_left_out() {
    let server = Server::start(Options::default());
    let known = table(&mut server.client());
    for name in commands::REQUIRED {
        assert!(known.iter().any(|k| k == name), "the server does not know {name}");
    }
    if server::judged_by_peer() {
        return;
    }
    for name in &known {
        let row =
            commands::rows().any(|r| r.name == name) || normalise::NEWER.contains(&name.as_str());
        assert!(row, "{name} has no row in the stream");
    }
}

#[test]
fn info_has_every_field() {
    let what = "INFO fields against redis-server";
    let Some(peer) = Server::peer(Options::default(), what) else { return };
    let ours = Server::start(Options::default());
    let fields = |server: &Server| -> Vec<(String, String)> {
        let reply = server.client().words("INFO everything");
        let text = String::from_utf8(reply.text().unwrap().to_vec()).unwrap();
        let mut section = String::new();
        let mut all = Vec::new();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("# ") {
                section = title.to_owned();
            } else if let Some((name, _)) = line.split_once(':') {
                all.push((section.clone(), name.to_owned()));
            }
        }
        all
    };
    // Per-command statistics name what was called; databases name what is there.
    let counted = |section: &str| matches!(section, "Commandstats" | "Latencystats" | "Errorstats");
    let mine = fields(&ours);
    // Left out of 7.2: the executable's modules and the old allocator's own figures.
    let missing: Vec<_> = fields(&peer)
        .into_iter()
        .filter(|(section, _)| !counted(section) && section != "Modules")
        .filter(|field| !mine.contains(field))
        .collect();
    assert!(missing.is_empty(), "INFO lacks {missing:?}");
    assert!(
        server::judged_by_peer() || mine.iter().any(|(_, f)| f == "aof_rewrite_buffer_length"),
        "older scripts read aof_rewrite_buffer_length"
    );
}
