//! The same files into any number of shards give the same data, and it is that of a plain model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::crc::shard_of;
use crate::keyspace::spelled;
use crate::persist::aof::format::{FrameHead, write_entry_mark, write_seen_mark};
use crate::persist::rdb::tests::Build;
use crate::persist::recovery;
use crate::persist::sim::SimMedium;
use crate::value::shapes::Shapes;

const DATABASES: usize = 6;
const BREAKS_OFF: Tail = Tail { may_break_off: true, corrupt_max: 0 };

/// Database, key → value, expiry.
type Contents = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

fn resp(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// `"SET k v"` and the like, words separated by spaces.
fn words(line: &str) -> Vec<u8> {
    resp(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
}

fn text(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| words(line)).collect()
}

/// Writes payloads as the frames of one file; returns the position behind them.
fn write_frames(medium: &SimMedium, file: &str, seed: u64, start: u64, frames: &[Vec<u8>]) -> u64 {
    let (mut bytes, mut pos, mut prev) = (Vec::new(), start, seed);
    for payload in frames {
        let len = payload.len() as u64;
        let head = FrameHead { pos, len, durable: 0, written: 0, prev };
        prev = head.encode(&mut bytes, seed, payload);
        bytes.extend_from_slice(payload);
        pos += len;
    }
    medium.write_synced(file, &bytes).unwrap();
    pos
}

/// A generation of `shards` files, each with its payloads.
fn generation(medium: &SimMedium, name: &str, payloads: &[Vec<Vec<u8>>]) -> Step {
    let files = payloads.iter().enumerate().map(|(shard, frames)| {
        let file = format!("{name}.s{shard:02}");
        let (seed, start) = (shard as u64 * 7919 + 1, 1000 * shard as u64);
        let end = write_frames(medium, &file, seed, start, frames);
        GenerationFile { file, shard: shard as u8, seed, start, end }
    });
    Step::Generation { shards: payloads.len() as u8, files: files.collect() }
}

fn part(medium: &SimMedium, file: &str, lines: &[&str]) -> Step {
    let bytes = text(lines);
    medium.write_synced(file, &bytes).unwrap();
    Step::Part { file: file.into(), len: bytes.len() as u64 }
}

fn foreign(medium: &SimMedium, file: &str, lines: &[&str]) -> Step {
    let bytes = text(lines);
    medium.write_synced(file, &bytes).unwrap();
    Step::Foreign { file: file.into(), place: Place::Log, from: 0, end: bytes.len() as u64 }
}

/// What loading from one medium needs to know.
fn loading<'a>(medium: &'a SimMedium, shards: usize, progress: &'a AtomicU64) -> Loading<'a> {
    Loading {
        log: medium,
        data: medium,
        shards,
        now: Now { unix_us: 1_700_000_000_000_000, mono_us: 0 },
        string_max: 1 << 29,
        modules: Default::default(),
        shapes: Shapes::default(),
        progress,
        key_delay: 0,
    }
}

/// Wherever a key stands for the second time, the error tells which and where.
#[test]
fn a_key_that_stands_twice_is_told_with_its_place() {
    for (count, first, second) in [(3, 0, 2), (500, 7, 8), (500, 10, 450), (500, 498, 499)] {
        for shards in [1, 3] {
            let mut bytes = b"REDIS0010\xFE\x00".to_vec();
            let mut place = 0;
            for n in 0..count {
                if n == second {
                    place = bytes.len() as u64;
                }
                let key = format!("key:{:04}", if n == second { first } else { n });
                bytes.extend_from_slice(b"\x00\x08");
                bytes.extend_from_slice(key.as_bytes());
                bytes.extend_from_slice(b"\x01v");
            }
            bytes.extend_from_slice(&[0xFF; 1]);
            bytes.extend_from_slice(&[0; 8]);
            let medium = SimMedium::new(0);
            let steps = [snapshot(&medium, "x.rdb", &bytes)];
            let key = format!("key:{first:04}");
            let owner = shard_of(key.as_bytes(), shards);
            let progress = AtomicU64::new(0);
            let loading = loading(&medium, shards, &progress);
            let mut space = Keyspace::new(owner, DATABASES, [1, 2], Effects::new(0, true));
            let error = load_shard(&loading, &steps, &mut space).unwrap_err();
            let wanted = format!("x.rdb, byte {place}: key \"{key}\" stands in the file twice");
            assert_eq!(error.to_string(), wanted);
        }
    }
}

fn snapshot(medium: &SimMedium, file: &str, bytes: &[u8]) -> Step {
    medium.write_synced(file, bytes).unwrap();
    Step::Rdb { file: file.into(), place: Place::Log, tail: Tail::default() }
}

fn contents(spaces: &[Option<Box<Keyspace>>]) -> Contents {
    let mut all = Contents::new();
    for space in spaces.iter().flatten() {
        assert!(space.effects.is_empty() && space.effects.enabled());
        assert!(space.garbage.is_empty());
        for (db, data) in space.dbs.iter().enumerate() {
            for entry in data.iter() {
                assert_eq!(shard_of(entry.key(), spaces.len()), space.shard);
                let value = spelled(entry);
                let there = all.insert((db, entry.key().to_vec()), (value, entry.expire_ms()));
                assert!(there.is_none());
            }
        }
    }
    all
}

/// Loads as the server does: together as far as must be, then each shard alone.
fn load(
    medium: &SimMedium,
    steps: &[Step],
    shards: usize,
) -> Result<(Contents, Report), LoadError> {
    let progress = AtomicU64::new(0);
    let loading = loading(medium, shards, &progress);
    let space = |shard| {
        let effects = Effects::new(17, true);
        Some(Box::new(Keyspace::new(shard, DATABASES, [1, 2], effects)))
    };
    let mut spaces: Vec<Option<Box<Keyspace>>> = (0..shards).map(space).collect();
    let until = together_until(&loading, steps)?;
    let mut total = load_together(&loading, &steps[..until], &mut spaces)?;
    for space in spaces.iter_mut().flatten() {
        let report = load_shard(&loading, &steps[until..], space)?;
        total.keys += report.keys;
        total.commands += report.commands;
        total.notices = report.notices;
    }
    let bytes =
        loading.total_bytes(&steps[..until]) + loading.total_bytes(&steps[until..]) * shards as u64;
    assert!(progress.load(Ordering::Relaxed) <= bytes);
    Ok((contents(&spaces), total))
}

/// What is refused, and how it is told.
fn refused(medium: &SimMedium, steps: &[Step]) -> String {
    load(medium, steps, 2).map(|(_, report)| report).expect_err("must be refused").to_string()
}

/// A key of this shard, of so many.
fn key_of(shard: usize, shards: usize) -> String {
    (0..).map(|n| format!("k{n}")).find(|k| shard_of(k.as_bytes(), shards) == shard).unwrap()
}

fn expected(entries: &[(usize, &str, &str)]) -> Contents {
    let entry = |(db, key, value): &(usize, &str, &str)| {
        ((*db, key.as_bytes().to_vec()), (value.as_bytes().to_vec(), None))
    };
    entries.iter().map(entry).collect()
}

#[test]
fn all_kinds_of_files_into_any_number_of_shards() {
    let medium = SimMedium::new(0);
    let build = Build::new(10).set(b"base", b"1").db(1).set(b"base", b"2").expiry(9_999);
    let rdb = build.set(b"past", b"stays").db(2).set(b"swap", b"two").end();
    let (a, b) = (key_of(0, 2), key_of(1, 2));
    let set = |key: &str, value: &str| words(&format!("SET {key} {value}"));
    let mut marked = Vec::new();
    write_entry_mark(&mut marked, 5, 3, &[(1, 1000)]);
    marked.extend(text(&["SELECT 2", "MULTI"]));
    marked.extend(set(&a, "in2"));
    marked.extend(words("EXEC"));
    write_seen_mark(&mut marked, &[(1, 1001)]);
    marked.extend(words(&format!("APPEND {a} !")));
    let first = generation(
        &medium,
        "g1",
        &[vec![set(&a, "1"), words(&format!("INCRBY {a} 41")), marked], vec![set(&b, "b")]],
    );
    let steps = [
        foreign(&medium, "old.aof", &["MSET x 1 y 2 z 3", "SELECT 3", "SET x 4", "RENAME x far"]),
        snapshot(&medium, "base.rdb", &rdb),
        first,
        part(&medium, "cut1", &["SWAPDB 0 2", "SELECT 1", "FLUSHDB"]),
        generation(&medium, "g2", &[vec![words("APPEND swap !")]]),
    ];
    // Once more with the snapshot in front, where every shard loads it alone.
    let mut again = steps.to_vec();
    again.remove(0);
    let mut want = expected(&[
        (2, "x", "1"),
        (2, "y", "2"),
        (2, "z", "3"),
        (3, "far", "4"),
        (2, "base", "1"),
        (0, "swap", "two!"),
        (2, &a, "42"),
        (2, &b, "b"),
        (0, &a, "in2!"),
    ]);
    for shards in [1, 2, 3, 4, 64] {
        let (found, report) = load(&medium, &steps, shards).unwrap();
        assert_eq!(found, want, "{shards} shards");
        assert_eq!(report.keys, 4);
    }
    for (db, key) in [(2, "x"), (2, "y"), (2, "z"), (3, "far")] {
        want.remove(&(db, key.as_bytes().to_vec()));
    }
    for shards in [1, 2, 3, 4, 64] {
        assert_eq!(load(&medium, &again, shards).unwrap().0, want, "{shards} shards");
    }
}

/// A file of a fixture: its name and bytes.
macro_rules! redis_file {
    ($dir:literal, $name:literal) => {
        (
            $name,
            include_bytes!(concat!("../../../tests/fixtures/aof/", $dir, "/", $name)).as_slice(),
        )
    };
}

#[test]
fn directories_that_redis_wrote() {
    let rdb_base = [
        redis_file!("redis-7.0-rdb-base", "appendonly.aof.manifest"),
        redis_file!("redis-7.0-rdb-base", "appendonly.aof.2.base.rdb"),
        redis_file!("redis-7.0-rdb-base", "appendonly.aof.2.incr.aof"),
    ];
    let aof_base = [
        redis_file!("redis-7.0-aof-base", "appendonly.aof.manifest"),
        redis_file!("redis-7.0-aof-base", "appendonly.aof.2.base.aof"),
        redis_file!("redis-7.0-aof-base", "appendonly.aof.2.incr.aof"),
    ];
    let expected = [
        redis_file!("redis-7.0-rdb-base", "expected").1,
        redis_file!("redis-7.0-aof-base", "expected").1,
    ];
    for (files, expected) in [rdb_base, aof_base].iter().zip(expected) {
        let medium = SimMedium::new(0);
        for (name, bytes) in files {
            medium.write_synced(name, bytes).unwrap();
        }
        let data = SimMedium::new(0);
        let options = recovery::Options::plain("appendonly.aof", "dump.rdb", 2, "boot", &data);
        let plan = recovery::inspect(&medium, &options).unwrap();
        for shards in [1, 2, 4] {
            let (found, _) = load(&medium, &plan.steps, shards).unwrap();
            let found = found.into_iter().map(|(key, (value, expire))| (key, (expire, value)));
            rdb::tests::check(&found.collect(), std::str::from_utf8(expected).unwrap());
        }
    }
}

#[test]
fn nothing_expires_while_loading() {
    let medium = SimMedium::new(0);
    let rdb = Build::new(10).expiry(5_000).set(b"n", b"41").end();
    let key = "n";
    let steps = [
        snapshot(&medium, "dump.rdb", &rdb),
        generation(&medium, "g", &[vec![words("INCR n"), words("SET m 1 PXAT 6000")]]),
    ];
    let (found, _) = load(&medium, &steps, 2).unwrap();
    assert_eq!(found[&(0, key.as_bytes().to_vec())], (b"42".to_vec(), Some(5_000)));
    assert_eq!(found[&(0, b"m".to_vec())], (b"1".to_vec(), Some(6_000)));
}

#[test]
fn an_rdb_with_commands_behind_it() {
    let medium = SimMedium::new(0);
    let mut file = Build::new(9).set(b"a", b"1").set(b"b", b"2").db(1).set(b"c", b"3").end();
    let behind = file.len();
    file.extend(text(&["RENAME a c", "MULTI", "INCR b", "INCR b", "EXEC"]));
    let want = expected(&[(0, "c", "1"), (0, "b", "4"), (1, "c", "3")]);
    let step = snapshot(&medium, "appendonly.aof", &file);
    for shards in [1, 2, 4] {
        assert_eq!(load(&medium, std::slice::from_ref(&step), shards).unwrap().0, want);
    }
    // It breaks off inside the transaction, which is not to happen, or may.
    let cut = &file[..file.len() - 3];
    let step = snapshot(&medium, "appendonly.aof", cut);
    let told = refused(&medium, std::slice::from_ref(&step));
    assert!(told.contains("ends inside"), "{told}");
    let file = "appendonly.aof".to_owned();
    let step = Step::Rdb { file, place: Place::Data, tail: BREAKS_OFF };
    let progress = AtomicU64::new(0);
    let loading = Loading {
        log: &SimMedium::new(0),
        data: &medium,
        shards: 1,
        now: Now::default(),
        string_max: 1 << 20,
        modules: Default::default(),
        shapes: Shapes::default(),
        progress: &progress,
        key_delay: 0,
    };
    let space = Keyspace::new(0, DATABASES, [1, 2], Effects::new(0, true));
    let mut spaces = [Some(Box::new(space))];
    let report = load_together(&loading, &[step], &mut spaces).unwrap();
    let whole = behind + words("RENAME a c").len();
    assert_eq!(report.broken_off, Some(("appendonly.aof".to_owned(), whole as u64)));
    let want = expected(&[(0, "c", "1"), (0, "b", "2"), (1, "c", "3")]);
    assert_eq!(contents(&spaces), want);
}

/// Each shard reads the whole file; functions are kept once, and modules' data counted.
#[test]
fn functions_stay_with_the_first_shard() {
    let medium = SimMedium::new(0);
    let progress = AtomicU64::new(0);
    let loading = Loading {
        log: &medium,
        data: &medium,
        shards: 2,
        now: Now::default(),
        string_max: 1 << 20,
        modules: rdb::Modules::Skip,
        shapes: Shapes::default(),
        progress: &progress,
        key_delay: 0,
    };
    let module = [format::TYPE_MODULE, 1, b'm', 0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let file = Build::new(10).raw(&[format::OP_FUNCTION2]).text(b"#!lua name=x").raw(&module);
    let steps = [snapshot(&medium, "1", &file.set(b"a", b"1").end())];
    let space = |shard| Keyspace::new(shard, DATABASES, [1, 2], Effects::new(0, true));
    let kept = |space: &Keyspace| space.functions.clone();
    let mut together = [Some(Box::new(space(0))), Some(Box::new(space(1)))];
    let report = load_together(&loading, &steps, &mut together).unwrap();
    assert_eq!(report.skipped_modules, 1);
    let mut alone = [space(0), space(1)];
    for space in &mut alone {
        assert_eq!(load_shard(&loading, &steps, space).unwrap().skipped_modules, 1);
    }
    let all = [&alone[0], &alone[1], together[0].as_ref().unwrap(), together[1].as_ref().unwrap()];
    let library = vec![b"#!lua name=x".to_vec()];
    assert_eq!(all.map(kept), [library.clone(), Vec::new(), library, Vec::new()]);
}

#[test]
fn what_must_be_loaded_together() {
    let medium = SimMedium::new(0);
    let progress = AtomicU64::new(0);
    let loading = Loading {
        log: &medium,
        data: &medium,
        shards: 2,
        now: Now::default(),
        string_max: 1 << 20,
        modules: Default::default(),
        shapes: Shapes::default(),
        progress: &progress,
        key_delay: 0,
    };
    let pure = Build::new(10).set(b"a", b"1").end();
    let old = Build::new(4).set(b"b", b"1").raw(&[format::OP_EOF]).0;
    let with_text = [&pure[..], &words("PING")].concat();
    let steps = [
        snapshot(&medium, "1", &pure),
        snapshot(&medium, "2", &old),
        generation(&medium, "3", &[vec![]]),
        part(&medium, "4", &["FLUSHALL"]),
        snapshot(&medium, "5", &with_text),
        foreign(&medium, "6", &["SET a b"]),
        part(&medium, "7", &["FLUSHALL"]),
    ];
    for (count, until) in [(0, 0), (4, 0), (5, 5), (7, 6)] {
        assert_eq!(together_until(&loading, &steps[..count]).unwrap(), until);
    }
    assert_eq!(together_until(&loading, &steps[6..]).unwrap(), 0);
}

#[test]
fn refusals_name_file_offset_and_command() {
    let medium = SimMedium::new(0);
    let (a, b) = (key_of(0, 2), key_of(1, 2));
    let in_foreign = |lines: &[&str]| refused(&medium, &[foreign(&medium, "f.aof", lines)]);
    let at = words("SET k v").len();
    for (line, why) in [
        ("NOSUCH l secret", "NOSUCH: this version does not know the command"),
        ("GET", "GET: wrong number of arguments"),
        ("INCR k", "INCR: it fails: ERR"),
        ("SELECT 6", "SELECT: no such database; raise `databases` in the configuration"),
        ("SELECT x", "SELECT: no such database; raise `databases` in the configuration"),
        ("WATCH k", "WATCH: not a command on data"),
    ] {
        let told = in_foreign(&["SET k v", line]);
        assert_eq!(told, format!("f.aof at offset {at}: {why}"));
    }
    let frames = |shards: &[&str]| {
        let payloads: Vec<_> = shards.iter().map(|line| vec![words(line)]).collect();
        refused(&medium, &[generation(&medium, "g", &payloads)])
    };
    let misplaced = frames(&[&format!("SET {b} 1"), &format!("SET {b} 1")]);
    assert!(misplaced.starts_with("g.s00 at offset "), "{misplaced}");
    assert!(misplaced.ends_with("SET: a key of another shard in a shard's log"), "{misplaced}");
    let many = frames(&[&format!("DEL {a} {b}")]);
    assert!(many.ends_with("DEL: keys of several shards in one command"), "{many}");
    for line in ["FLUSHALL", "DBSIZE", "SWAPDB 0 1"] {
        let keyless = frames(&[line]);
        assert!(!keyless.contains("expect") && keyless.starts_with("g.s00 at"), "{keyless}");
    }
    let rdb = Build::new(10).raw(&[6]).text(b"own").raw(&[1, 0]).end();
    let told = refused(&medium, &[snapshot(&medium, "x.rdb", &rdb)]);
    assert_eq!(told, "x.rdb, byte 9: module value \"own\": this version does not load it");
    let twice = [snapshot(&medium, "1.rdb", &Build::new(10).set(b"k", b"v").end()), {
        snapshot(&medium, "2.rdb", &Build::new(10).set(b"k", b"v").end())
    }];
    assert!(refused(&medium, &twice).contains("key \"k\" stands in the file twice"));
}

/// A change as a log tells it.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8, u16),
    Add(usize, u8),
    Expire(usize, u8, u32),
    Delete(usize, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let db = 0..DATABASES;
    let key = 0u8..40;
    prop_oneof![
        4 => (db.clone(), key.clone(), any::<u16>()).prop_map(|(d, k, v)| Change::Set(d, k, v)),
        3 => (db.clone(), key.clone()).prop_map(|(d, k)| Change::Add(d, k)),
        2 => (db.clone(), key.clone(), any::<u32>()).prop_map(|(d, k, t)| Change::Expire(d, k, t)),
        1 => (db, key).prop_map(|(d, k)| Change::Delete(d, k)),
    ]
}

#[derive(Clone, Debug)]
enum Whole {
    FlushAll,
    FlushDb(usize),
    Swap(usize, usize),
}

fn whole() -> impl Strategy<Value = Whole> {
    prop_oneof![
        Just(Whole::FlushAll),
        (0..DATABASES).prop_map(Whole::FlushDb),
        ((0..DATABASES), (0..DATABASES)).prop_map(|(a, b)| Whole::Swap(a, b)),
    ]
}

impl Change {
    fn key(&self) -> (usize, Vec<u8>) {
        let (db, key) = match self {
            Change::Set(db, key, _)
            | Change::Add(db, key)
            | Change::Expire(db, key, _)
            | Change::Delete(db, key) => (*db, *key),
        };
        (db, format!("key:{key}").into_bytes())
    }

    fn line(&self) -> String {
        let key = String::from_utf8(self.key().1).unwrap();
        match self {
            Change::Set(_, _, value) => format!("SET {key} {value}"),
            Change::Add(..) => format!("INCR {key}"),
            Change::Expire(_, _, at) => format!("PEXPIREAT {key} {at}"),
            Change::Delete(..) => format!("DEL {key}"),
        }
    }

    fn apply(&self, model: &mut Contents) {
        let key = self.key();
        match self {
            Change::Set(_, _, value) => {
                model.insert(key, (value.to_string().into_bytes(), None));
            }
            Change::Add(..) => {
                let (value, _) = model.entry(key).or_insert((b"0".to_vec(), None));
                let number: i64 = std::str::from_utf8(value).unwrap().parse().unwrap();
                *value = (number + 1).to_string().into_bytes();
            }
            Change::Expire(_, _, at) => {
                if let Some((_, expire_ms)) = model.get_mut(&key) {
                    *expire_ms = Some(i64::from(*at));
                }
            }
            Change::Delete(..) => {
                model.remove(&key);
            }
        }
    }
}

impl Whole {
    fn lines(&self) -> Vec<String> {
        match self {
            Whole::FlushAll => vec!["FLUSHALL ASYNC".into()],
            Whole::FlushDb(db) => vec![format!("SELECT {db}"), "FLUSHDB".into()],
            Whole::Swap(a, b) => vec![format!("SWAPDB {a} {b}")],
        }
    }

    fn apply(&self, model: &mut Contents) {
        *model = std::mem::take(model)
            .into_iter()
            .filter_map(|((db, key), value)| match self {
                Whole::FlushAll => None,
                Whole::FlushDb(gone) => (db != *gone).then_some(((db, key), value)),
                Whole::Swap(a, b) if db == *a => Some(((*b, key), value)),
                Whole::Swap(a, b) if db == *b => Some(((*a, key), value)),
                Whole::Swap(..) => Some(((db, key), value)),
            })
            .collect();
    }
}

/// Writes changes as `shards` shards would have logged them, a frame every few commands.
fn log_of(medium: &SimMedium, name: &str, shards: usize, changes: &[Change]) -> Step {
    let mut logs = vec![(vec![Vec::new()], 0); shards];
    for (at, change) in changes.iter().enumerate() {
        let (db, key) = change.key();
        let (frames, selected) = &mut logs[shard_of(&key, shards)];
        if at % 5 == 4 && !frames.last().unwrap().is_empty() {
            frames.push(Vec::new());
        }
        let frame: &mut Vec<u8> = frames.last_mut().unwrap();
        if *selected != db {
            *selected = db;
            frame.extend(words(&format!("SELECT {db}")));
        }
        frame.extend(words(&change.line()));
    }
    let payloads: Vec<Vec<Vec<u8>>> = logs.into_iter().map(|(frames, _)| frames).collect();
    generation(medium, name, &payloads)
}

proptest! {
    #[test]
    fn any_history_is_that_of_the_model(
        base in prop::collection::vec(change(), 0..60),
        generations in prop::collection::vec(
            (1usize..6, prop::collection::vec(change(), 0..60), whole()),
            0..4,
        ),
        foreign_behind: bool,
        last in prop::collection::vec(change(), 0..20),
    ) {
        let medium = SimMedium::new(0);
        let mut model = Contents::new();
        base.iter().for_each(|change| change.apply(&mut model));
        let mut build = Build::new(10);
        for ((db, key), (value, expire_ms)) in &model {
            build = build.db(*db as u8);
            build = expire_ms.map_or(Build(build.0.clone()), |at| Build(build.0).expiry(at));
            build = build.set(key, value);
        }
        let mut steps = vec![snapshot(&medium, "base", &build.end())];
        for (n, (shards, changes, whole)) in generations.iter().enumerate() {
            changes.iter().for_each(|change| change.apply(&mut model));
            steps.push(log_of(&medium, &format!("g{n}"), *shards, changes));
            whole.apply(&mut model);
            let lines = whole.lines();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            steps.push(part(&medium, &format!("cut{n}"), &lines));
        }
        if foreign_behind {
            let mut lines = vec!["MSET key:0 1 key:1 2 key:2 3".to_owned()];
            for key in ["key:0", "key:1", "key:2"] {
                let value = if key == "key:0" { "1" } else if key == "key:1" { "2" } else { "3" };
                model.insert((0, key.into()), (value.into(), None));
            }
            for change in &last {
                lines.extend([format!("SELECT {}", change.key().0), change.line()]);
                change.apply(&mut model);
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            steps.push(foreign(&medium, "foreign", &lines));
        }
        last.iter().for_each(|change| change.apply(&mut model));
        steps.push(log_of(&medium, "last", 3, &last));
        for shards in [1, 2, 4] {
            let (found, _) = load(&medium, &steps, shards).unwrap();
            prop_assert_eq!(&found, &model);
        }
    }

    /// Whatever stands in a file, it is loaded or refused.
    #[test]
    fn no_command_brings_us_down(
        commands in prop::collection::vec((any::<prop::sample::Index>(), arguments()), 1..6),
        alone: bool,
    ) {
        let medium = SimMedium::new(0);
        let rows: Vec<&Command> = crate::command::table::all().collect();
        let mut bytes = text(&["SET k:1 17", "SET k:2 text", "SET k:3 x PXAT 99"]);
        for (row, arguments) in &commands {
            let mut parts = vec![rows[row.index(rows.len())].name.as_bytes()];
            parts.extend(arguments.iter().map(|a| &a[..]));
            bytes.extend(resp(&parts));
        }
        medium.write_synced("f", &bytes).unwrap();
        let len = bytes.len() as u64;
        let step = if alone {
            Step::Part { file: "f".into(), len }
        } else {
            Step::Foreign { file: "f".into(), place: Place::Log, from: 0, end: len }
        };
        for shards in [1, 2] {
            let _ = load(&medium, std::slice::from_ref(&step), shards);
        }
    }

    #[test]
    fn no_noise_brings_us_down(
        noise in prop::collection::vec(any::<u8>(), 0..100),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..4),
        from in 0usize..200,
    ) {
        let medium = SimMedium::new(0);
        let mut bytes = Build::new(10).set(b"a", b"1").end();
        bytes.extend(text(&["SET k 1", "MULTI", "INCR k", "EXEC", "SELECT 1", "DEL k"]));
        let at = from.min(bytes.len());
        bytes.splice(at..at, noise);
        for (byte, bit) in flips {
            let at = byte.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        medium.write_synced("f", &bytes).unwrap();
        let file = || "f".to_owned();
        for step in [
            Step::Rdb { file: file(), place: Place::Log, tail: BREAKS_OFF },
            Step::Rdb { file: file(), place: Place::Log, tail: Tail::default() },
            Step::Foreign { file: file(), place: Place::Log, from: 0, end: bytes.len() as u64 },
            Step::Part { file: file(), len: bytes.len() as u64 },
        ] {
            let _ = load(&medium, std::slice::from_ref(&step), 2);
        }
    }
}

/// Arguments as clients, and damage, send them.
fn arguments() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let words = [
        "k:1",
        "k:2",
        "k:3",
        "none",
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "1e300",
        "nan",
        "",
        "EX",
        "PX",
        "PXAT",
        "GET",
        "NX",
        "XX",
        "GT",
        "KEEPTTL",
        "COUNT",
        "MATCH",
        "*",
        "DB",
        "REPLACE",
        "LEN",
        "IDX",
        "ASYNC",
        "encoding",
    ];
    let word = prop_oneof![
        8 => prop::sample::select(words.to_vec()).prop_map(|w| w.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(word, 0..6)
}
