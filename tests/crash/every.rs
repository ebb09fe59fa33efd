//! Every write command there is, by the server's own table: run, killed, restarted; and replayed by
//! stock redis-server after a clean stop. A write command for which nobody has made arguments fails
//! here, and so does one whose arguments never change anything.

use std::collections::BTreeMap;
use std::path::Path;

use crate::differential::commands::{self, Row};
use crate::differential::generate::{Gen, Profile};
use crate::support::data::{self, Data};
use crate::support::server::{copy_home, judged_by_peer};
use crate::support::{Client, Options, Server, Value, show_command};

/// Changes that each command must have made.
const CHANGES: u64 = 3;
/// Tries to get them.
const TRIES: usize = 400;

/// Two towns.
const PLACES: &str = "GEOADD new:g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania";

/// Commands that the peer does not know, or that by chance seldom find what they could change, and
/// lines of theirs that change something.
const LINES: &[(&str, &[&str])] = &[
    ("georadius", &[PLACES, "GEORADIUS new:g 15 37 200 km STORE new:f"]),
    ("georadiusbymember", &[PLACES, "GEORADIUSBYMEMBER new:g Palermo 200 km STORE new:f"]),
    ("geosearchstore", &[PLACES, "GEOSEARCHSTORE new:f new:g FROMLONLAT 15 37 BYRADIUS 200 km"]),
    ("delex", &["SET new:1 a", "DELEX new:1 IFEQ a", "SET new:1 a", "DELEX new:1"]),
    ("delifeq", &["SET new:1 a", "DELIFEQ new:1 a", "SET new:2 b", "DELIFEQ new:2 x"]),
    ("msetex", &["MSETEX 2 new:1 a new:2 b EX 100000", "MSETEX 1 new:3 c KEEPTTL"]),
    ("hexpire", &["HSET new:h a 1 b 2 c 3", "HEXPIRE new:h 100000 FIELDS 2 a b"]),
    ("hpexpire", &["HSET new:h a 1 b 2", "HPEXPIRE new:h 10000000 FIELDS 1 b", "HGET new:h b"]),
    ("hexpireat", &["HSET new:h a 1 b 2", "HEXPIREAT new:h 4102444800 FIELDS 1 a"]),
    ("hpexpireat", &["HSET new:h a 1 b 2", "HPEXPIREAT new:h 4102444800123 FIELDS 1 b"]),
    (
        "hpersist",
        &["HSET new:h a 1", "HEXPIRE new:h 100000 FIELDS 1 a", "HPERSIST new:h FIELDS 1 a"],
    ),
    ("hgetex", &["HSET new:h a 1 b 2", "HGETEX new:h PX 10000000 FIELDS 1 a"]),
    ("hsetex", &["HSETEX new:h EX 100000 FIELDS 2 a 1 b 2", "HSETEX new:h FIELDS 1 a 3"]),
    ("hgetdel", &["HSET new:h a 1 b 2 c 3", "HGETDEL new:h FIELDS 2 a b"]),
    (
        "xack",
        &[
            "DEL new:x1",
            "XADD new:x1 1 a b",
            "XADD new:x1 2 a c",
            "XGROUP CREATE new:x1 g 0",
            "XREADGROUP GROUP g c STREAMS new:x1 >",
            "XACK new:x1 g 1",
        ],
    ),
    (
        "xclaim",
        &[
            "DEL new:x2",
            "XADD new:x2 1 a b",
            "XADD new:x2 2 a c",
            "XGROUP CREATE new:x2 g 0",
            "XREADGROUP GROUP g c STREAMS new:x2 >",
            "XCLAIM new:x2 g d 0 1",
        ],
    ),
    (
        "xautoclaim",
        &[
            "DEL new:x3",
            "XADD new:x3 1 a b",
            "XADD new:x3 2 a c",
            "XGROUP CREATE new:x3 g 0",
            "XREADGROUP GROUP g c STREAMS new:x3 >",
            "XDEL new:x3 1",
            "XAUTOCLAIM new:x3 g d 0 0",
        ],
    ),
    (
        "xreadgroup",
        &[
            "DEL new:x4",
            "XADD new:x4 1 a b",
            "XADD new:x4 2 a c",
            "XGROUP CREATE new:x4 g 0",
            "XREADGROUP GROUP g c STREAMS new:x4 >",
            "XREADGROUP GROUP g c STREAMS new:x4 0",
        ],
    ),
    (
        "xsetid",
        &[
            "DEL new:x5",
            "XADD new:x5 1 a b",
            "XADD new:x5 2 a c",
            "XSETID new:x5 9 ENTRIESADDED 7 MAXDELETEDID 3",
        ],
    ),
    ("xtrim", &["DEL new:x6", "XADD new:x6 1 a b", "XADD new:x6 2 a c", "XTRIM new:x6 MAXLEN 1"]),
    (
        "xgroup|destroy",
        &[
            "DEL new:x7",
            "XADD new:x7 1 a b",
            "XADD new:x7 2 a c",
            "XGROUP CREATE new:x7 g 0",
            "XGROUP CREATE new:x7 h 0",
            "XGROUP DESTROY new:x7 g",
        ],
    ),
    (
        "xgroup|setid",
        &[
            "DEL new:x8",
            "XADD new:x8 1 a b",
            "XADD new:x8 2 a c",
            "XGROUP CREATE new:x8 g 0",
            "XGROUP SETID new:x8 g 1 ENTRIESREAD 1",
        ],
    ),
    (
        "xgroup|createconsumer",
        &[
            "DEL new:x9",
            "XADD new:x9 1 a b",
            "XADD new:x9 2 a c",
            "XGROUP CREATE new:x9 g 0",
            "XGROUP CREATECONSUMER new:x9 g c",
        ],
    ),
    (
        "xgroup|delconsumer",
        &[
            "DEL new:x10",
            "XADD new:x10 1 a b",
            "XADD new:x10 2 a c",
            "XGROUP CREATE new:x10 g 0",
            "XREADGROUP GROUP g c STREAMS new:x10 >",
            "XGROUP CREATECONSUMER new:x10 g d",
            "XGROUP DELCONSUMER new:x10 g c",
        ],
    ),
];

/// Lines beside what the stream asks for: what must be logged as what it came to, not as it was
/// sent, and leaves another outcome when it is carried out twice.
const ALSO: &[(&str, &[&str])] = &[
    ("xadd", &["XADD new:y * a b", "XADD new:y * c d", "XADD new:y MAXLEN ~ 5 * e f"]),
    ("spop", &["SADD new:p 1 2 3 4 5 6 7 8 9 10 11 12", "SPOP new:p 4", "SPOP new:p"]),
    ("set", &["SET new:t a EX 100000", "SET new:u b PX 10000000"]),
    ("setex", &["SETEX new:t 1000 a"]),
    ("psetex", &["PSETEX new:t 10000000 a"]),
    ("getex", &["SET new:t a", "GETEX new:t EX 100000"]),
    ("expire", &["SET new:t a", "EXPIRE new:t 100000"]),
    ("pexpire", &["SET new:t a", "PEXPIRE new:t 10000000"]),
    ("incrbyfloat", &["SET new:f 3", "INCRBYFLOAT new:f 0.1", "INCRBYFLOAT new:f 1.25e-7"]),
    ("hincrbyfloat", &["HSET new:f2 a 3", "HINCRBYFLOAT new:f2 a 0.1"]),
];

/// What needs a second server to change anything: `dump::migrate` kills servers behind MIGRATE.
const ELSEWHERE: &[&str] = &["migrate"];

/// Those among them whose effects redis-server 7.0 cannot replay; see docs/COMPATIBILITY.md.
const NOT_FOR_STOCK: &[&str] =
    &["hexpire", "hpexpire", "hexpireat", "hpexpireat", "hpersist", "hgetex", "hsetex"];

/// Write commands of the server's table.
fn write_commands(client: &mut Client) -> Vec<String> {
    let reply = client.words("COMMAND");
    let rows = reply.items().expect("the table").to_vec();
    let mut names = Vec::new();
    for row in rows.iter().filter_map(Value::items) {
        collect(row, &mut names);
    }
    names
}

fn collect(row: &[Value], names: &mut Vec<String>) {
    let flags = row[2].items().unwrap_or_default();
    let subcommands = row[9].items().unwrap_or_default();
    if flags.iter().any(|flag| flag.text() == Some(b"write")) && subcommands.is_empty() {
        let name = row[0].text().expect("a name").to_vec();
        names.push(String::from_utf8(name).expect("text"));
    }
    subcommands.iter().filter_map(Value::items).for_each(|row| collect(row, names));
}

fn dirty(client: &mut Client) -> u64 {
    let info = client.words("INFO persistence");
    let text = String::from_utf8_lossy(info.text().unwrap_or_default()).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    line.and_then(|n| n.trim().parse().ok()).expect("the number of changes")
}

/// The row of a command; a subcommand's is that of its container.
fn row(name: &str) -> Option<&'static Row> {
    let container = name.split('|').next()?;
    commands::rows().find(|row| row.name == container)
}

/// Some data of every kind.
fn fill(client: &mut Client, generator: &mut Gen) {
    let rows: Vec<&Row> = commands::rows()
        .filter(|row| row.is(commands::Trait::Write) && !row.is(commands::Trait::Exact))
        .filter(|row| {
            let steers = ["flushall", "flushdb", "swapdb", "multi", "exec", "discard", "select"];
            !steers.contains(&row.name)
        })
        .collect();
    let lines: Vec<Vec<Vec<u8>>> = (0..12)
        .flat_map(|_| rows.iter())
        .map(|row| {
            let mut words = vec![row.name.as_bytes().to_vec()];
            words.extend((row.make)(generator));
            words
        })
        .collect();
    client.pipeline(&lines);
}

/// Runs a command in forms of all kinds until it has changed something.
fn run(client: &mut Client, name: &str, generator: &mut Gen) {
    if let Some((_, lines)) = LINES.iter().find(|(of, _)| *of == name) {
        let before = dirty(client);
        for line in *lines {
            let reply = client.words(line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
        assert!(dirty(client) > before, "{name} has changed nothing");
        return;
    }
    if let Some((_, lines)) = ALSO.iter().find(|(of, _)| *of == name) {
        let before = dirty(client);
        for line in *lines {
            let reply = client.words(line);
            assert!(!reply.is_error() && !reply.is_null(), "{line}: {reply:?}");
        }
        assert!(dirty(client) > before, "{name} has changed nothing");
    }
    if ELSEWHERE.contains(&name) {
        return;
    }
    if ["rename", "renamenx", "copy", "move"].contains(&name) {
        run_whole(client, name);
    }
    let row = row(name).unwrap_or_else(|| panic!("{name} writes, and nobody has made arguments"));
    let sub = name.split_once('|').map(|(_, sub)| sub);
    let (mut changes, mut last) = (0, Vec::new());
    for tries in 0..TRIES {
        if changes >= CHANGES {
            return;
        }
        if tries % 40 == 39 {
            fill(client, generator);
        }
        let mut words = vec![row.name.as_bytes().to_vec()];
        words.extend((row.make)(generator));
        let meant =
            |sub: &str| words.get(1).is_some_and(|w| w.eq_ignore_ascii_case(sub.as_bytes()));
        if sub.is_some_and(|sub| !meant(sub)) {
            continue;
        }
        let before = dirty(client);
        let reply = client.call(&words);
        changes += u64::from(dirty(client) > before && !reply.is_error());
        last = words;
    }
    panic!("{name} changed something {changes} times only; last sent: {}", show_command(&last));
}

/// Moves or copies values of every kind whole, small ones and such as take several commands to
/// rebuild, with an expiry and without.
fn run_whole(client: &mut Client, name: &str) {
    let adds = [("RPUSH", 1), ("SADD", 1), ("HSET", 2), ("ZADD", 2), ("XADD", 2), ("APPEND", 1)];
    for (at, (add, width)) in adds.into_iter().enumerate() {
        for (count, ends) in [(3, true), (3, false), (200, true), (200, false)] {
            let from = format!("new:from:{name}:{at}:{count}:{ends}");
            for element in 0..count {
                let id = if add == "XADD" { "* " } else { "" };
                let first = if width == 2 { format!("{element} ") } else { String::new() };
                let line = format!("{add} {from} {id}{first}element-{element:060}");
                assert!(!client.words(&line).is_error(), "{line}");
            }
            if ends {
                client.words(&format!("EXPIRE {from} 1000"));
            }
            let to = format!("new:to:{name}:{at}:{count}:{ends}");
            let line = match name {
                "move" => format!("MOVE {from} 3"),
                name => format!("{name} {from} {to}"),
            };
            let reply = client.words(&line);
            assert!(!reply.is_error() && reply != Value::Int(0), "{line}: {reply:?}");
        }
    }
}

/// When the fields of all hashes end, which nothing else tells.
fn field_times(client: &mut Client, data: &Data) -> BTreeMap<(usize, Vec<u8>), Value> {
    let mut all = BTreeMap::new();
    for ((db, key), item) in data.iter().filter(|(_, item)| item.kind == b"hash") {
        client.words(&format!("SELECT {db}"));
        let pairs = item.value.items().expect("fields and values");
        let fields: Vec<&[u8]> = pairs.iter().step_by(2).filter_map(Value::text).collect();
        let count = fields.len().to_string();
        let head = [b"HPEXPIRETIME", key.as_slice(), b"FIELDS", count.as_bytes()];
        let words: Vec<&[u8]> = head.into_iter().chain(fields).collect();
        all.insert((*db, key.clone()), client.call(&words));
    }
    client.words("SELECT 0");
    all
}

fn digest(client: &mut Client) -> Vec<u8> {
    let digest = client.words("DEBUG DIGEST");
    digest.text().unwrap_or_else(|| panic!("{digest:?}")).to_vec()
}

fn options(shards: usize) -> Options {
    Options::shards(shards).with("enable-debug-command", "yes")
}

#[test]
fn killed_behind_every_write_command() {
    if judged_by_peer() {
        return;
    }
    let mut generator = Gen::new(77, |_| true, Profile::Writes);
    let mut server = Server::start(options(3));
    let names = write_commands(&mut server.client());
    assert!(names.len() > 60, "{names:?}");
    for name in &names {
        let mut client = server.client();
        fill(&mut client, &mut generator);
        run(&mut client, name, &mut generator);
        let before = (digest(&mut client), data::read(&mut client));
        let times = field_times(&mut client, &before.1);
        drop(client);
        server = server.kill().restart();
        let mut client = server.client();
        data::assert_same(&before.1, &data::read(&mut client), 0, false, name);
        assert_eq!(before.0, digest(&mut client), "{name}: DEBUG DIGEST");
        assert_eq!(times, field_times(&mut client, &before.1), "{name}: times of fields");
    }
}

/// What stock redis-server finds in a directory of ours.
fn in_stock(home: &Path, what: &str) -> Option<(Vec<u8>, Data)> {
    let peer = Server::peer_in(copy_home(home), options(1), what)?;
    let mut client = peer.client();
    Some((digest(&mut client), data::read(&mut client)))
}

#[test]
fn stock_redis_replays_every_write_command() {
    if judged_by_peer() {
        return;
    }
    let first = Server::start(options(3));
    let names = write_commands(&mut first.client());
    drop(first);
    let known = |name: &&String| !NOT_FOR_STOCK.contains(&name.as_str());
    let known: Vec<&String> = names.iter().filter(known).collect();
    let mut told = BTreeMap::new();
    for (group, names) in known.chunks(10).enumerate() {
        let mut generator = Gen::new(500 + group as u64, |_| true, Profile::Writes);
        let server = Server::start(options(1 + group % 3));
        let mut client = server.client();
        fill(&mut client, &mut generator);
        for name in names {
            run(&mut client, name, &mut generator);
        }
        let ours = (digest(&mut client), data::read(&mut client));
        drop(client);
        let stopped = server.stop();
        let Some(theirs) = in_stock(stopped.path(), "every write command") else { return };
        let mut found = data::differences(&ours.1, &theirs.1, 0, false);
        if ours.0 != theirs.0 {
            found.push("DEBUG DIGEST".to_owned());
        }
        if !found.is_empty() {
            told.insert(format!("{names:?}"), found);
        }
    }
    assert!(told.is_empty(), "{told:#?}");
}
