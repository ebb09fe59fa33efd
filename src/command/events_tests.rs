//! The events that commands fire, against what redis-server fired: the tables of
//! `tests/fixtures/events`, made by `record.py` there, whose head says how they are read.

use std::collections::HashSet;

use crate::command::harness::World;
use crate::command::table;
use crate::value::list::Limits;
use crate::value::shapes::Shapes;

/// The tables by name.
const TABLES: &[(&str, &str)] = &[
    ("strings", include_str!("../../tests/fixtures/events/strings.txt")),
    ("keys", include_str!("../../tests/fixtures/events/keys.txt")),
    ("lists", include_str!("../../tests/fixtures/events/lists.txt")),
    ("sets", include_str!("../../tests/fixtures/events/sets.txt")),
    ("zsets", include_str!("../../tests/fixtures/events/zsets.txt")),
    ("hashes", include_str!("../../tests/fixtures/events/hashes.txt")),
    ("streams", include_str!("../../tests/fixtures/events/streams.txt")),
    ("newer", include_str!("../../tests/fixtures/events/newer.txt")),
];

/// Whatever has more than one element has a structure of its own: that is other code, which fires
/// the same.
const LARGE: Shapes = Shapes {
    hll_sparse_bytes: 0,
    hash_entries: 0,
    list: Limits { size: 1, depth: 0 },
    set_intset: 0,
    set_entries: 0,
    zset_entries: 0,
    ..Shapes::DEFAULT
};

/// A world that listens.
fn world(shards: usize, shapes: Shapes) -> World {
    let mut world = World::sharded(shards);
    world.listen();
    world.shapes = shapes;
    world
}

/// A line that does something, and the events that follow it.
struct Step {
    line: &'static str,
    number: usize,
    events: Vec<String>,
}

fn steps(text: &'static str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            Some(event) => steps.last_mut().unwrap().events.push(event.to_owned()),
            None => steps.push(Step { line, number: at + 1, events: Vec::new() }),
        }
    }
    steps
}

/// The bytes that a word of a table means: `''` is the empty one, `\x00` a byte.
fn unquoted(word: &str) -> Vec<u8> {
    let mut parts = word.split("\\x");
    let mut bytes = parts.next().filter(|first| *first != "''").unwrap_or_default().into();
    for part in parts {
        let (byte, rest) = part.split_at(2);
        Vec::push(&mut bytes, u8::from_str_radix(byte, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

/// Runs a command and says whether it has found nothing.
fn run(world: &mut World, line: &str) -> bool {
    let words: Vec<Vec<u8>> = line.split(' ').map(unquoted).collect();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let reply = world.run_bytes(&words);
    reply == b"*-1\r\n" || reply == b"$-1\r\n"
}

/// Plays one step: a command that waits looks at once, and is run again behind those that follow
/// until it finds something, as it is when its key is ready.
fn play(world: &mut World, waiting: &mut Vec<&'static str>, line: &'static str) {
    let line = line.trim_start_matches(['+', '~']).trim();
    match line.split_at(1) {
        (">", ms) => world.now_ms += ms.trim().parse::<i64>().unwrap(),
        ("!", _) => {
            let now = world.now_ms;
            for space in world.spaces.iter_mut().flatten() {
                space.active_expire(now, 1000);
            }
        }
        ("&", command) => {
            run(world, command.trim());
            waiting.push(command.trim());
        }
        _ => {
            match line.strip_prefix("SELECT ") {
                Some(db) => world.db = db.parse().unwrap(),
                None => drop(run(world, line)),
            }
            waiting.retain(|command| run(world, command));
        }
    }
}

#[test]
fn what_redis_fires_is_fired_in_its_order() {
    let mut differ = Vec::new();
    for (form, shards, shapes) in
        [("small", 1, Shapes::DEFAULT), ("spread", 4, Shapes::DEFAULT), ("large", 1, LARGE)]
    {
        for (table, text) in TABLES {
            let (mut it, mut waiting) = (world(shards, shapes), Vec::new());
            for step in steps(text) {
                if step.line.starts_with('=') {
                    (it, waiting) = (world(shards, shapes), Vec::new());
                    continue;
                }
                play(&mut it, &mut waiting, step.line);
                let events = it.events();
                if events != step.events {
                    differ.push(format!(
                        "{table}.txt:{}, {form}: {}\n  wanted {:?}\n  fired  {events:?}",
                        step.number, step.line, step.events
                    ));
                }
            }
        }
    }
    assert!(differ.is_empty(), "{}\n{} differ", differ.join("\n"), differ.len());
}

/// Whether a request of `words` is one for the command of that name.
fn is_for(words: &[String], name: &str) -> bool {
    let mut parts = name.split('|');
    parts.by_ref().zip(words).all(|(part, word)| part.eq_ignore_ascii_case(word))
}

/// Commands that need another server: `del` of what has gone there is no table's matter.
const ELSEWHERE: [&str; 1] = ["migrate"];

#[test]
fn every_command_that_writes_is_in_a_table() {
    let lines = TABLES.iter().flat_map(|(_, text)| steps(text)).map(|step| step.line);
    let requests: HashSet<Vec<String>> = lines
        .map(|line| line.trim_start_matches(['+', '~', '&', ' ']))
        .map(|line| line.split(' ').take(2).map(str::to_owned).collect())
        .collect();
    let rows = table::all().flat_map(|row| match row.subcommands {
        [] => std::slice::from_ref(row),
        some => some,
    });
    let missing: Vec<&str> = rows
        .filter(|row| row.writes() && !requests.iter().any(|words| is_for(words, row.name)))
        .map(|row| row.name)
        .filter(|name| !ELSEWHERE.contains(name))
        .collect();
    assert!(missing.is_empty(), "no events are known of {missing:?}");
}

#[test]
fn replay_and_a_server_that_nobody_listens_to_record_nothing() {
    for (_, text) in TABLES {
        let (mut source, mut target) = (World::new(), World::new());
        for step in steps(text) {
            if step.line.starts_with('=') {
                (source, target) = (World::new(), World::new());
                continue;
            }
            play(&mut source, &mut Vec::new(), step.line);
            let effects = source.take_effects();
            target.db = 0;
            target.replay(&effects);
            assert!(source.events().is_empty() && target.events().is_empty(), "{}", step.line);
        }
    }
}
