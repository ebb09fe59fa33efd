//! `ringstone restore` judged from outside: random moments, told as positions or as seconds, of a
//! log under load on 1, 2 and 4 shards. What is loaded equals what was recorded beside the load.
//!
//! One client keeps the record: each of its steps is acknowledged under `appendfsync always` before
//! it asks for the positions, and tells by TIME inside its transaction in which second it was
//! executed. Another client writes transactions over all shards meanwhile, of which only is known
//! that each of them must be there whole or not at all. Rewrites and FLUSHALL go on beside.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::server::{fresh_home, subject};
use crate::support::{Client, Options, Server, Value, number};

/// Keys of the record.
const KEYS: u64 = 12;
/// Seconds that the load lasts at least.
const SECONDS: i64 = 3;
/// Keys of the other client.
const PAIRED: [&str; 4] = ["w:0", "w:1", "w:2", "w:3"];

type Record = BTreeMap<String, String>;

/// What was known behind a step.
struct Step {
    positions: String,
    second: i64,
    record: Record,
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn logged(shards: usize) -> Options {
    let options = Options::shards(shards).with("aof-timestamp-enabled", "yes");
    options.with("aof-history-retention", "3600").with("auto-aof-rewrite-percentage", "0")
}

fn positions(client: &mut Client) -> String {
    let info = client.words("INFO persistence");
    let info = String::from_utf8(info.text().unwrap().to_vec()).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("aof_positions:"));
    line.unwrap_or_else(|| panic!("no positions in {info}")).to_owned()
}

/// A transaction of the record; gives the second in which it was executed.
fn step(client: &mut Client, dice: &mut Dice, n: u64, record: &mut Record) -> i64 {
    client.words("MULTI");
    client.words("TIME");
    if dice.below(150) == 0 {
        client.words("FLUSHALL");
        record.clear();
    }
    for _ in 0..1 + dice.below(4) {
        let (key, value) = (format!("k:{}", dice.below(KEYS)), n.to_string());
        client.call(&["SET", &key, &value]);
        record.insert(key, value);
    }
    let reply = client.words("EXEC");
    let time = reply.items().expect("executed")[0].items().expect("TIME")[0].text().unwrap();
    std::str::from_utf8(time).unwrap().parse().unwrap()
}

fn pairs(mut client: Client, over: &AtomicBool) {
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        n += 1;
        client.words("MULTI");
        for key in PAIRED {
            client.call(&["SET", key, &n.to_string()]);
        }
        client.words("EXEC");
    }
}

fn load(server: &Server, dice: &mut Dice) -> Vec<Step> {
    let mut client = server.client();
    let (over, other) = (AtomicBool::new(false), server.client());
    let mut steps: Vec<Step> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| pairs(other, &over));
        let mut record = Record::new();
        let mut n = 0;
        loop {
            n += 1;
            let second = step(&mut client, dice, n, &mut record);
            let positions = positions(&mut client);
            steps.push(Step { positions, second, record: record.clone() });
            if n == 100 || n == 200 {
                assert!(!client.words("BGREWRITEAOF").is_error());
            }
            if n > 300 && second >= steps[0].second + SECONDS {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    steps
}

fn restore(to: &str, source: &Path, target: &Path) -> (bool, String) {
    let mut command = Command::new(subject());
    let out = command.args(["restore", "--to", to]).args([source, target]).output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn text(value: &Value) -> Option<String> {
    value.text().map(|text| String::from_utf8(text.to_vec()).unwrap())
}

/// Goes back, and compares what a server loads.
fn check(source: &Path, shards: usize, to: &str, want: &Record) {
    let home = fresh_home();
    let (good, said) = restore(to, source, &home.path().join("appendonlydir"));
    assert!(good, "to {to}: {said}");
    let server = Server::start_in(home, logged(shards));
    let mut client = server.client();
    let mut found = Record::new();
    for n in 0..KEYS {
        let key = format!("k:{n}");
        if let Some(value) = text(&client.call(&["GET", &key])) {
            found.insert(key, value);
        }
    }
    assert_eq!(&found, want, "{shards} shards, to {to}: {said}");
    let paired: Vec<_> = PAIRED.iter().map(|key| text(&client.call(&["GET", key]))).collect();
    assert!(paired.iter().all(|value| *value == paired[0]), "{shards} shards, to {to}: {paired:?}");
    let keys = found.len() + paired.iter().flatten().count();
    assert_eq!(client.words("DBSIZE"), Value::Int(keys as i64));
}

#[test]
fn random_moments_equal_what_was_recorded() {
    let (all, seed) = (number("RINGSTONE_RESTORES", 24), number("RINGSTONE_RESTORE_SEED", 1));
    for (n, shards) in [1, 2, 4].into_iter().enumerate() {
        let count = all / 3 + u64::from((n as u64) < all % 3);
        let mut dice = Dice(seed * 10 + shards as u64);
        let server = Server::start(logged(shards));
        let steps = load(&server, &mut dice);
        let source = server.home().path().join("appendonlydir");
        let (good, said) = restore("1", &source, &server.home().path().join("t"));
        assert!(!good && said.contains("is being written by a server"), "{said}");
        let stopped = if dice.below(2) == 0 { server.stop() } else { server.kill() };
        let source = stopped.path().join("appendonlydir");
        for target in 0..count {
            let step = &steps[dice.below(steps.len() as u64) as usize];
            if target % 2 == 0 {
                check(&source, shards, &step.positions, &step.record);
            } else {
                let last = steps.iter().rposition(|other| other.second <= step.second);
                let second = step.second.to_string();
                check(&source, shards, &second, &steps[last.unwrap()].record);
            }
        }
        println!("{shards} shards: {count} moments of {} steps", steps.len());
    }
}
