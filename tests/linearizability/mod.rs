//! Linearizability of recorded histories: 8 clients, pipelined, over keys of several shards.

mod checker;
mod model;

use std::sync::{Arc, Barrier};
use std::time::Instant;

use ringstone::base::crc::shard_of;
use ringstone::base::random::Random;

use crate::support::{Client, Options, Server, Value, encode, number};
use checker::{History, Seen, Verdict, check};
use model::{Answer, CLIENTS, KEYS, Op, Text, Texts};

/// Operations of one history.
const OPERATIONS: usize = 2_000;
/// Most operations sent at once.
const PIPELINE_MAX: u64 = 8;

/// An operation with the texts spelled out, as a client thread knows it.
struct Plan {
    op: Op,
    /// Texts of `op`, in the order of its numbers, from 1 on.
    texts: Vec<Vec<u8>>,
}

/// What a client thread brings back of an operation.
struct Noted {
    plan: Plan,
    reply: Value,
    sent: u64,
    answered: u64,
}

/// Names of the keys: at least one on each of `shards`.
fn key_names(shards: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut candidates = (0..).map(|i| format!("key:{i}"));
    while names.len() < KEYS {
        let name = candidates.next().unwrap();
        let on = |n: &String| shard_of(n.as_bytes(), shards);
        let held = names.iter().filter(|n| on(n) == on(&name)).count();
        if held <= names.len() / shards {
            names.push(name);
        }
    }
    names
}

/// Draws one operation; `depth` 0 is the client's own, 1 inside a transaction.
fn draw(random: &mut Random, texts: &mut Vec<Vec<u8>>, tag: &str, depth: u32) -> Op {
    let mut text = |random: &mut Random, plain: bool| {
        let unique = format!("{tag}.{}", texts.len());
        // Now and then a number, so that INCR meets its like and errors elsewhere.
        let number = plain && random.one_in(4);
        texts.push(if number { random.below(1000).to_string().into() } else { unique.into() });
        texts.len() as Text
    };
    let key = |random: &mut Random| random.below(KEYS as u64) as usize;
    let other =
        |random: &mut Random, not: usize| (not + 1 + random.below(KEYS as u64 - 1) as usize) % KEYS;
    match random.below(if depth == 0 { 100 } else { 70 }) {
        0..15 => Op::Get(key(random)),
        15..23 => Op::Set(key(random), text(random, true)),
        23..33 => Op::Swap(key(random), text(random, true)),
        33..43 => Op::Incr(key(random)),
        43..48 => Op::Append(key(random), text(random, false)),
        48..55 => {
            let first = key(random);
            let second = other(random, first);
            let (a, b) = (text(random, false), text(random, false));
            Op::Mset(vec![(first, a), (second, b)])
        }
        55..65 => {
            let first = key(random);
            Op::Mget(vec![first, other(random, first), key(random)])
        }
        65..70 => {
            let from = key(random);
            Op::Rename(from, other(random, from))
        }
        70..74 => Op::Del(key(random)),
        74..85 => Op::Watch(1 << key(random) | 1 << key(random)),
        _ => {
            let n = 1 + random.below(3);
            Op::Transaction((0..n).map(|_| draw(random, texts, tag, 1)).collect())
        }
    }
}

/// The commands of an operation.
fn commands(op: &Op, names: &[String], texts: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let k = |key: &usize| names[*key].clone().into_bytes();
    let t = |text: &Text| texts[*text as usize - 1].clone();
    let one = |name: &str, rest: Vec<Vec<u8>>| {
        vec![std::iter::once(name.as_bytes().to_vec()).chain(rest).collect::<Vec<_>>()]
    };
    match op {
        Op::Get(key) => one("GET", vec![k(key)]),
        Op::Set(key, text) => one("SET", vec![k(key), t(text)]),
        Op::Swap(key, text) => one("SET", vec![k(key), t(text), b"GET".to_vec()]),
        Op::Incr(key) => one("INCR", vec![k(key)]),
        Op::Append(key, text) => one("APPEND", vec![k(key), t(text)]),
        Op::Mset(pairs) => one("MSET", pairs.iter().flat_map(|(a, b)| [k(a), t(b)]).collect()),
        Op::Mget(keys) => one("MGET", keys.iter().map(k).collect()),
        Op::Rename(from, to) => one("RENAME", vec![k(from), k(to)]),
        Op::Del(key) => one("DEL", vec![k(key)]),
        Op::Watch(bits) => {
            one("WATCH", (0..KEYS).filter(|i| bits >> i & 1 != 0).map(|i| k(&i)).collect())
        }
        Op::Transaction(ops) => {
            let mut all = one("MULTI", vec![]);
            ops.iter().for_each(|op| all.extend(commands(op, names, texts)));
            all.extend(one("EXEC", vec![]));
            all
        }
    }
}

/// Takes part in a history: sends pipelines of operations and notes what comes back.
fn take_part(
    port: u16,
    start: &Barrier,
    epoch: Instant,
    seed: u64,
    tag: &str,
    names: &[String],
) -> Vec<Noted> {
    let mut random = Random::new(seed);
    let mut client = Client::connect(port).expect("connect");
    let mut noted = Vec::new();
    start.wait();
    while noted.len() < OPERATIONS / CLIENTS {
        let left = (OPERATIONS / CLIENTS - noted.len()) as u64;
        let count = (1 + random.below(PIPELINE_MAX)).min(left);
        let mut bytes = Vec::new();
        let mut plans = Vec::new();
        for i in 0..count {
            let mut texts = Vec::new();
            let tag = format!("{tag}.{}", noted.len() as u64 + i);
            let op = draw(&mut random, &mut texts, &tag, 0);
            let sent = commands(&op, names, &texts);
            sent.iter().for_each(|c| bytes.extend(encode(c)));
            plans.push((Plan { op, texts }, sent.len()));
        }
        let sent = epoch.elapsed().as_nanos() as u64;
        client.send(&bytes).expect("send");
        for (plan, replies) in plans {
            for _ in 1..replies {
                let reply = client.reply().expect("a reply inside MULTI").1;
                assert!(!reply.is_error(), "inside MULTI: {reply:?}");
            }
            let reply = client.reply().expect("a reply").1;
            let answered = epoch.elapsed().as_nanos() as u64;
            noted.push(Noted { plan, reply, sent, answered });
        }
    }
    noted
}

fn renumber(op: &Op, numbers: &[Text]) -> Op {
    let n = |text: &Text| numbers[*text as usize - 1];
    match op {
        Op::Set(key, text) => Op::Set(*key, n(text)),
        Op::Swap(key, text) => Op::Swap(*key, n(text)),
        Op::Append(key, text) => Op::Append(*key, n(text)),
        Op::Mset(pairs) => Op::Mset(pairs.iter().map(|(k, t)| (*k, n(t))).collect()),
        Op::Transaction(ops) => Op::Transaction(ops.iter().map(|o| renumber(o, numbers)).collect()),
        other => other.clone(),
    }
}

fn answer(op: &Op, reply: &Value, texts: &mut Texts) -> Answer {
    let mut text = |v: &Value| v.text().map_or(0, |t| texts.intern(t));
    match (op, reply) {
        (_, Value::Error(_)) => Answer::Error,
        (Op::Transaction(_), reply) if reply.is_null() => Answer::Refused,
        (Op::Transaction(ops), Value::Array(items)) => {
            assert_eq!(ops.len(), items.len(), "EXEC's answers");
            Answer::All(ops.iter().zip(items).map(|(o, v)| answer(o, v, texts)).collect())
        }
        (Op::Mget(_), Value::Array(items)) => Answer::Texts(items.iter().map(text).collect()),
        (Op::Get(_) | Op::Swap(..), reply) => Answer::Text(text(reply)),
        (_, Value::Int(n)) => Answer::Int(*n),
        (_, Value::Simple(ok)) if ok == b"OK" => Answer::Ok,
        (op, reply) => panic!("{op:?} was answered {reply:?}"),
    }
}

/// Records one history on a server whose keys are absent.
fn record(server: &Server, seed: u64, names: &[String]) -> (History, Texts) {
    let (start, epoch, port) = (Arc::new(Barrier::new(CLIENTS)), Instant::now(), server.port());
    let threads: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (start, names) = (Arc::clone(&start), names.to_vec());
            let seed = seed.wrapping_mul(1000).wrapping_add(client as u64);
            let tag = format!("v{client}");
            std::thread::spawn(move || take_part(port, &start, epoch, seed, &tag, &names))
        })
        .collect();
    let mut texts = Texts::default();
    let mut history = History::new();
    for thread in threads {
        let noted = thread.join().expect("a client");
        let seen = noted.into_iter().map(|n| {
            let numbers: Vec<Text> = n.plan.texts.iter().map(|t| texts.intern(t)).collect();
            let op = renumber(&n.plan.op, &numbers);
            let answer = answer(&op, &n.reply, &mut texts);
            Seen { op, answer, sent: n.sent, answered: n.answered }
        });
        history.push(seen.collect());
    }
    (history, texts)
}

fn linearizable(shards: usize) {
    let rounds = number("RINGSTONE_LINEAR_HISTORIES", 12).div_ceil(2);
    let server = Server::start(Options { fsync: "no", ..Options::shards(shards) });
    let names = key_names(shards);
    let mut admin = server.client();
    let (mut refused, mut committed) = (0, 0);
    for round in 0..rounds {
        let seed = number("RINGSTONE_LINEAR_SEED", 1) * 10_000 + round;
        assert_eq!(admin.words("FLUSHALL"), Value::Simple(b"OK".into()));
        let (history, mut texts) = record(&server, seed, &names);
        for seen in history.iter().flatten() {
            refused += u64::from(seen.answer == Answer::Refused);
            committed += u64::from(matches!(seen.answer, Answer::All(_)));
        }
        let verdict = check(&history, &mut texts);
        assert!(
            verdict == Verdict::Linearizable,
            "{shards} shards, seed {seed}: {verdict:?}\n{}",
            around(&history, verdict)
        );
    }
    assert!(
        committed > 0 && (refused > 0 || rounds < 4),
        "{committed} committed, {refused} refused"
    );
}

/// The part of a history where the search came to its end.
fn around(history: &History, verdict: Verdict) -> String {
    let (Verdict::NotLinearizable(best) | Verdict::Undecided(best)) = verdict else {
        return String::new();
    };
    let mut all: Vec<(usize, &Seen)> = history
        .iter()
        .enumerate()
        .flat_map(|(client, seen)| seen.iter().map(move |s| (client, s)))
        .collect();
    all.sort_by_key(|(_, s)| s.answered);
    let from = best.saturating_sub(40);
    let lines = all.iter().skip(from).take(80).map(|(client, s)| {
        format!("client {client} {}..{}: {:?} -> {:?}", s.sent, s.answered, s.op, s.answer)
    });
    format!("around operation {best}:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn linearizable_2_shards() {
    linearizable(2);
}

#[test]
fn linearizable_4_shards() {
    linearizable(4);
}

/// A true recording with one answer changed: a read that tells of a write not yet sent.
#[test]
fn a_recording_with_a_changed_answer_is_refused() {
    let server = Server::start(Options { fsync: "no", ..Options::shards(2) });
    let (mut history, mut texts) = record(&server, 77, &key_names(2));
    assert_eq!(check(&history, &mut texts), Verdict::Linearizable);
    let late = history[0].iter().rev().find_map(|seen| match seen.op {
        Op::Swap(_, text) | Op::Set(_, text) if texts.get(text).starts_with(b"v") => {
            Some((text, seen.sent))
        }
        _ => None,
    });
    let (text, sent) = late.expect("client 0 has set something");
    let early =
        history[1].iter_mut().find(|seen| seen.answered < sent && matches!(seen.op, Op::Get(_)));
    early.expect("client 1 has read something before").answer = Answer::Text(text);
    assert!(matches!(check(&history, &mut texts), Verdict::NotLinearizable(_)));
}

/// Hand-made histories: the checker must be able to say no, and for the right reason.
mod the_checker {
    use super::*;

    fn seen(op: Op, answer: Answer, sent: u64, answered: u64) -> Seen {
        Seen { op, answer, sent, answered }
    }

    fn verdict(history: History) -> bool {
        let mut texts = Texts::default();
        for name in ["a", "b", "c", "d"] {
            texts.intern(name.as_bytes());
        }
        check(&history, &mut texts) == Verdict::Linearizable
    }

    #[test]
    fn accepts_either_order_of_what_overlaps() {
        for read in [0, 1] {
            assert!(verdict(vec![
                vec![seen(Op::Set(0, 1), Answer::Ok, 0, 10)],
                vec![seen(Op::Get(0), Answer::Text(read), 5, 8)],
            ]));
        }
    }

    #[test]
    fn refuses_a_stale_read() {
        assert!(!verdict(vec![
            vec![seen(Op::Set(0, 1), Answer::Ok, 0, 10)],
            vec![seen(Op::Get(0), Answer::Text(0), 11, 12)],
        ]));
    }

    #[test]
    fn refuses_a_read_that_goes_back() {
        assert!(!verdict(vec![
            vec![seen(Op::Set(0, 1), Answer::Ok, 0, 100)],
            vec![seen(Op::Get(0), Answer::Text(1), 5, 8)],
            vec![seen(Op::Get(0), Answer::Text(0), 9, 12)],
        ]));
    }

    #[test]
    fn refuses_a_torn_mget() {
        let torn = |texts: Vec<Text>| {
            verdict(vec![
                vec![seen(Op::Mset(vec![(0, 1), (1, 2)]), Answer::Ok, 0, 100)],
                vec![seen(Op::Mget(vec![0, 1]), Answer::Texts(texts), 5, 50)],
            ])
        };
        assert!(torn(vec![1, 2]) && torn(vec![0, 0]));
        assert!(!torn(vec![1, 0]) && !torn(vec![0, 2]));
    }

    #[test]
    fn refuses_a_pipeline_out_of_order() {
        // Sent at once by one client: the later command shows and the earlier does not.
        assert!(!verdict(vec![
            vec![seen(Op::Set(0, 1), Answer::Ok, 0, 100), seen(Op::Set(1, 2), Answer::Ok, 0, 101),],
            vec![
                seen(Op::Get(1), Answer::Text(2), 10, 20),
                seen(Op::Get(0), Answer::Text(0), 30, 40),
            ],
        ]));
    }

    #[test]
    fn refuses_two_orders_of_two_writes() {
        assert!(!verdict(vec![
            vec![seen(Op::Set(0, 1), Answer::Ok, 0, 100)],
            vec![seen(Op::Set(1, 2), Answer::Ok, 0, 100)],
            vec![
                seen(Op::Get(0), Answer::Text(1), 10, 20),
                seen(Op::Get(1), Answer::Text(0), 21, 30),
            ],
            vec![
                seen(Op::Get(1), Answer::Text(2), 10, 20),
                seen(Op::Get(0), Answer::Text(0), 21, 30),
            ],
        ]));
    }

    #[test]
    fn refuses_a_lost_increment() {
        assert!(!verdict(vec![
            vec![seen(Op::Incr(0), Answer::Int(1), 0, 100)],
            vec![seen(Op::Incr(0), Answer::Int(1), 0, 100)],
        ]));
    }

    #[test]
    fn refuses_a_rename_seen_half() {
        assert!(!verdict(vec![
            vec![
                seen(Op::Set(0, 1), Answer::Ok, 0, 1),
                // Under way while it is looked at.
                seen(Op::Rename(0, 1), Answer::Ok, 2, 100),
            ],
            vec![seen(Op::Mget(vec![0, 1]), Answer::Texts(vec![1, 1]), 10, 20)],
        ]));
    }

    #[test]
    fn refuses_an_exec_that_missed_a_write_and_one_that_saw_none() {
        let race = |write_at: u64, answer: Answer| {
            verdict(vec![
                vec![
                    seen(Op::Watch(1), Answer::Ok, 0, 10),
                    seen(Op::Transaction(vec![Op::Get(1)]), answer, 50, 60),
                ],
                vec![seen(Op::Set(0, 1), Answer::Ok, write_at, write_at + 5)],
            ])
        };
        let run = || Answer::All(vec![Answer::Text(0)]);
        assert!(race(20, Answer::Refused) && !race(20, run()));
        assert!(race(70, run()) && !race(70, Answer::Refused));
        assert!(race(52, run()) && race(52, Answer::Refused));
    }

    #[test]
    fn refuses_a_torn_transaction() {
        let both = Op::Transaction(vec![Op::Set(0, 1), Op::Set(1, 2)]);
        assert!(!verdict(vec![
            vec![seen(both, Answer::All(vec![Answer::Ok, Answer::Ok]), 0, 100)],
            vec![
                seen(Op::Get(0), Answer::Text(1), 10, 20),
                seen(Op::Get(1), Answer::Text(0), 30, 40),
            ],
        ]));
    }
}
