//! Waiters that come, go, are unblocked and time out at random while elements are pushed: every
//! element is somewhere, and nowhere twice.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{Client, Options, Server, Value, number};

/// Threads that wait, each with its share of the connections.
const WAITERS: u64 = 4;
const KEYS: u64 = 6;
/// Elements pushed at most, however many wait.
const PUSHES_MAX: u64 = 30_000;

/// A small source of chance.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

#[derive(Default)]
struct Told {
    /// Elements that somebody was given, and how often.
    given: Mutex<BTreeMap<u64, u64>>,
    /// Elements whose push was acknowledged.
    pushed: AtomicU64,
    stop: AtomicBool,
}

impl Told {
    fn given(&self, reply: &Value) {
        let element = reply.items().and_then(|items| items.last()).unwrap_or(reply);
        let Some(text) = element.text() else { return };
        let number = std::str::from_utf8(text).expect("text").parse().expect("a number");
        *self.given.lock().expect("nobody panics with it").entry(number).or_default() += 1;
    }
}

fn command(dice: &mut Dice) -> String {
    let key = |dice: &mut Dice| format!("k{}", dice.roll(KEYS));
    let time = if dice.roll(2) == 0 { "0" } else { "0.01" };
    match dice.roll(4) {
        0 => format!("BLPOP {} {} {} {time}", key(dice), key(dice), key(dice)),
        1 => format!("BRPOP {} {time}", key(dice)),
        // Into a list that nobody takes from: what is there counts as held.
        2 => format!("BLMOVE {} held LEFT RIGHT {time}", key(dice)),
        _ => format!("BLMPOP {time} 2 {} {} LEFT", key(dice), key(dice)),
    }
}

/// One element out of any reply of these commands, those of BLMOVE aside: they are in `held`.
fn note(told: &Told, command: &str, reply: &Value) {
    if command.starts_with("BLMPOP") {
        if let Some(items) = reply.items()
            && let Some(inner) = items.get(1)
        {
            told.given(inner);
        }
    } else if !command.starts_with("BLMOVE") && !reply.is_error() {
        told.given(reply);
    }
}

/// Sends a command as words.
fn send(client: &mut Client, command: &str) -> io::Result<()> {
    let words: Vec<&str> = command.split(' ').collect();
    client.send(&crate::support::client::encode(&words))
}

/// Waits with many connections, until it is told to stop or the server is gone.
fn waiting(port: u16, connections: u64, seed: u64, told: &Told) -> io::Result<()> {
    let mut dice = Dice(seed * 2 + 1);
    let mut open: Vec<(Client, String)> = Vec::new();
    while !told.stop.load(Ordering::Relaxed) {
        if (open.len() as u64) < connections {
            let (mut client, command) = (Client::connect(port)?, command(&mut dice));
            send(&mut client, &command)?;
            open.push((client, command));
            continue;
        }
        let at = dice.roll(connections) as usize;
        let (mut client, command) = open.swap_remove(at);
        match dice.roll(3) {
            // It ends its stream: what is on the way to it still comes, and nothing else.
            0 => end(client, &command, told)?,
            // It looks whether something has come, and goes on.
            _ => {
                client.timeout(Duration::from_millis(1))?;
                match client.reply() {
                    Ok((_, reply)) => {
                        note(told, &command, &reply);
                        let next = self::command(&mut dice);
                        send(&mut client, &next)?;
                        open.push((client, next));
                    }
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(e),
                    Err(_) => open.push((client, command)),
                }
            }
        }
    }
    for (client, command) in open {
        end(client, &command, told)?;
    }
    Ok(())
}

/// Ends a client's stream, and takes what is on the way to it still.
fn end(mut client: Client, command: &str, told: &Told) -> io::Result<()> {
    client.timeout(Duration::from_secs(30))?;
    client.end_input()?;
    loop {
        match client.reply() {
            Ok((_, reply)) => note(told, command, &reply),
            // What may still come to one that is given up here would be missing from the count.
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("{command}: neither an answer nor an end in half a minute");
            }
            Err(_) => return Ok(()),
        }
    }
}

/// Pushes elements, until there are as many or the server is gone.
fn pushing(port: u16, pushes: u64, told: &Told) -> io::Result<()> {
    let mut client = Client::connect(port)?;
    let mut dice = Dice(99);
    let mut next = 1;
    while next < pushes {
        let key = |dice: &mut Dice| format!("k{}", dice.roll(KEYS));
        let batch: Vec<Vec<Vec<u8>>> = match dice.roll(4) {
            0 => {
                let mut lines = vec!["MULTI".to_owned()];
                for offset in 0..3 {
                    lines.push(format!("RPUSH {} {}", key(&mut dice), next + offset));
                }
                lines.push("EXEC".to_owned());
                next += 3;
                lines
            }
            1 => {
                next += 2;
                vec![format!("RPUSH {} {} {}", key(&mut dice), next - 2, next - 1)]
            }
            _ => {
                next += 1;
                vec![format!("LPUSH {} {}", key(&mut dice), next - 1)]
            }
        }
        .iter()
        .map(|line| line.split(' ').map(|word| word.as_bytes().to_vec()).collect())
        .collect();
        for command in &batch {
            client.send(&crate::support::client::encode(command))?;
        }
        for _ in &batch {
            let (_, reply) = client.reply()?;
            assert!(!reply.is_error(), "{reply:?}");
        }
        told.pushed.store(next - 1, Ordering::Relaxed);
    }
    Ok(())
}

/// Unblocks random clients that wait.
fn unblocking(port: u16, told: &Told) -> io::Result<()> {
    let mut client = Client::connect(port)?;
    let mut dice = Dice(5);
    while !told.stop.load(Ordering::Relaxed) {
        let list = client.try_call(&["CLIENT", "LIST"])?;
        let text = String::from_utf8_lossy(list.text().unwrap_or_default()).into_owned();
        let waiting: Vec<&str> = text.lines().filter(|line| line.contains("flags=b")).collect();
        for line in waiting {
            if dice.roll(4) > 0 {
                continue;
            }
            let id = line.split(' ').find_map(|field| field.strip_prefix("id=")).expect("a number");
            let how = if dice.roll(2) == 0 { "TIMEOUT" } else { "ERROR" };
            client.try_call(&["CLIENT", "UNBLOCK", id, how])?;
        }
    }
    Ok(())
}

/// What is left in the lists.
fn remaining(client: &mut Client) -> Vec<u64> {
    let keys = (0..KEYS).map(|key| format!("k{key}")).chain(["held".to_owned()]);
    let mut found = Vec::new();
    for key in keys {
        let list = client.words(&format!("LRANGE {key} 0 -1"));
        found.extend(list.items().unwrap_or_default().iter().map(|element| {
            let text = std::str::from_utf8(element.text().expect("an element")).expect("text");
            text.parse::<u64>().expect("a number")
        }));
    }
    found
}

fn options(shards: usize, fsync: &'static str) -> Options {
    Options { fsync, ..Options::shards(shards) }.with("maxclients", "20000")
}

/// Elements by how often they are somewhere: given to somebody, or still in a list.
fn count(told: &Told, client: &mut Client) -> BTreeMap<u64, u64> {
    let mut all = told.given.lock().expect("nobody panics with it").clone();
    for element in remaining(client) {
        *all.entry(element).or_default() += 1;
    }
    all
}

fn every_element_is_somewhere(shards: usize, fsync: &'static str) {
    let server = Server::start(options(shards, fsync));
    let waiters = number("RINGSTONE_WAITERS", 400);
    let told = Told::default();
    let port = server.port();
    std::thread::scope(|scope| {
        for seed in 1..=WAITERS {
            let told = &told;
            scope.spawn(move || waiting(port, waiters / WAITERS, seed, told).expect("the server"));
        }
        scope.spawn(|| unblocking(port, &told).expect("the server"));
        pushing(port, (waiters * 10).min(PUSHES_MAX), &told).expect("the server");
        told.stop.store(true, Ordering::Relaxed);
    });
    let mut client = server.client();
    super::until_blocked(&mut client, 0);
    super::until(&mut client, "total_blocking_keys", 0);
    let all = count(&told, &mut client);
    let pushed = told.pushed.load(Ordering::Relaxed);
    let wrong: Vec<_> = (1..=pushed).filter(|n| all.get(n) != Some(&1)).collect();
    assert!(
        wrong.is_empty() && all.len() as u64 == pushed,
        "{shards} shards, {fsync}: of {pushed} pushed, {} are not there once: {:?}",
        wrong.len(),
        wrong.iter().take(5).map(|n| (n, all.get(n))).collect::<Vec<_>>()
    );
}

#[test]
fn no_element_is_lost_or_given_twice() {
    for (shards, fsync) in [(1, "always"), (3, "always"), (3, "no")] {
        every_element_is_somewhere(shards, fsync);
    }
}

/// Clients that go while their first look, which needs several shards, is under way leave no place
/// behind in any queue.
#[test]
fn who_goes_at_once_leaves_no_place() {
    let server = Server::start(options(3, "no"));
    for round in 0..400 {
        let mut client = Client::connect(server.port()).expect("the server");
        let command =
            ["BLPOP a b c d e f 0", "BLMOVE a f LEFT LEFT 0", "XREAD BLOCK 0 STREAMS a b c $ $ $"];
        send(&mut client, command[round % command.len()]).expect("the server");
    }
    let mut client = server.client();
    super::until_blocked(&mut client, 0);
    super::until(&mut client, "total_blocking_keys", 0);
}

/// Killed in the middle of it. Whoever waited at that moment may have been served by a log that is
/// durable and have died before the reply: one element each at most, a COUNT of one being asked
/// for. Nothing else is missing, and nothing is there twice.
#[test]
fn kill_9_loses_no_element_and_gives_none_twice() {
    for (round, shards) in [1, 3].into_iter().enumerate() {
        let server = Server::start(options(shards, "always"));
        let waiters = number("RINGSTONE_WAITERS", 400);
        let enough = (waiters * 3).min(PUSHES_MAX / 3) + 100 * round as u64;
        let told = Told::default();
        let port = server.port();
        let stopped = std::thread::scope(|scope| {
            for seed in 1..=WAITERS {
                let told = &told;
                scope.spawn(move || waiting(port, waiters / WAITERS, seed, told));
            }
            scope.spawn(|| unblocking(port, &told));
            scope.spawn(|| pushing(port, u64::MAX, &told));
            while told.pushed.load(Ordering::Relaxed) < enough {
                std::thread::yield_now();
            }
            let stopped = server.kill();
            told.stop.store(true, Ordering::Relaxed);
            stopped
        });
        let server = stopped.restart();
        let all = count(&told, &mut server.client());
        let twice: Vec<_> = all.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{shards} shards: twice: {twice:?}");
        let pushed = told.pushed.load(Ordering::Relaxed);
        let missing = (1..=pushed).filter(|n| !all.contains_key(n)).count() as u64;
        assert!(missing <= waiters, "{shards} shards: {missing} of {pushed} are nowhere");
    }
}
