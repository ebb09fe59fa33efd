//! Logs cut back to a second: what is left is what had been executed up to it, over all shards,
//! through several generations, and stays so when it is made permanent.

use proptest::prelude::*;

use crate::base::random::Random;
use crate::persist::aof::manifest::{FileType, Line, Manifest, NewFile, PartKind, manifest_name};
use crate::persist::recovery::{Options, Plan, commit, inspect};
use crate::persist::testing::*;

/// What was written in which second, in order.
type Done = Vec<(i64, String, String)>;

/// A directory of several generations, sealed but for the last perhaps, and what was done. Every
/// shard tells a second when it first writes in it, entries over several shards as well.
fn times(seed: u64, shards: usize) -> (MemVolume, Done) {
    let mut rng = Random::new(seed);
    let (volume, mut manifest) = (MemVolume::default(), Manifest::default());
    let (mut done, mut now, mut id, mut start) = (Done::new(), 100, 0, 10);
    let generations = 1 + rng.below(3);
    for generation in 0..generations {
        let mut logs: Vec<LogFile> =
            (0..shards).map(|s| LogFile::new(1 + s as u64 + 10 * generation, start)).collect();
        let mut told = vec![0; shards];
        for _ in 0..rng.below(30) {
            now += i64::from(rng.one_in(3));
            let set = match rng.one_in(3) {
                true => rng.next_u64() & ((1 << shards) - 1),
                false => 1 << rng.below(shards as u64),
            };
            id += 1;
            for shard in (0..shards).filter(|s| set >> s & 1 == 1) {
                let log = &mut logs[shard];
                if told[shard] != now {
                    told[shard] = now;
                    log.time(now);
                }
                if set.count_ones() > 1 {
                    log.entry(id, set, &[]);
                }
                let (key, value) = (format!("k{shard}"), format!("{id} in {now}"));
                log.command(&["RPUSH", &key, &value]);
                done.push((now, key, value));
                if rng.one_in(3) {
                    log.frame(0, 0);
                }
            }
        }
        for log in logs.iter_mut().filter(|log| log.next() > log.pos) {
            log.frame(0, 0);
        }
        let files: Vec<NewFile> = logs
            .iter()
            .map(|l| NewFile { seed: l.seed, start: l.borders[0].1, stream: 0 })
            .collect();
        let names = manifest.begin_generation(NAME, &files, 1, "old");
        names.iter().zip(&logs).for_each(|(name, log)| volume.put(name, &log.bytes));
        let last = generation + 1 == generations;
        if !last || rng.one_in(2) {
            let ends: Vec<_> = logs.iter().map(|log| (log.pos, log.sum)).collect();
            manifest.seal(&ends, last);
        }
        if !last && rng.one_in(2) {
            now += i64::from(rng.one_in(2));
            let value = format!("part in {now}");
            let mut part = format!("#TS:{now}\r\n").into_bytes();
            part.extend(resp(&["RPUSH", "part", &value]));
            let name = manifest.add_part(NAME, PartKind::Cut, &part);
            volume.put(&name, &part);
            done.push((now, "part".to_owned(), value));
        }
        start = 1 + logs.iter().map(|log| log.pos).max().unwrap_or(0);
    }
    volume.put(&manifest_name(NAME), &manifest.encode());
    (volume, done)
}

fn until<'v>(data: &'v MemVolume, second: i64) -> Options<'v> {
    Options { until: Some(second), ..options(data, 2, "new") }
}

fn refused(volume: &MemVolume, second: i64) -> String {
    let data = MemVolume::default();
    inspect(volume, &until(&data, second)).unwrap_err().to_string()
}

fn state(done: &Done, second: i64) -> State {
    let mut state = State::new();
    for (_, key, value) in done.iter().filter(|(at, ..)| *at <= second) {
        state.entry((0, key.clone())).or_default().push(value.clone());
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_log_up_to_a_second_is_what_was_done_up_to_it(seed: u64, shards in 1..5usize) {
        let (volume, done) = times(seed, shards);
        let data = MemVolume::default();
        let (first, last) = match (done.first(), done.last()) {
            (Some(first), Some(last)) => (first.0, last.0),
            _ => return Ok(()),
        };
        if first > 100 {
            prop_assert!(refused(&volume, first - 1).contains("has nothing before timestamp"));
        }
        for second in [first, (first + last) / 2, last, last + 1] {
            let volume = volume.copy();
            let want = state(&done, second);
            let plan = inspect(&volume, &until(&data, second)).unwrap();
            prop_assert_eq!(&load(&plan, &volume, &data), &want, "second {}", second);
            prop_assert_eq!(plan.late, second < last);
            commit(plan, &volume, &mut Random::new(seed)).unwrap();
            let again: Plan<'_> = inspect(&volume, &options(&data, shards, "new")).unwrap();
            prop_assert!(again.is_whole());
            prop_assert_eq!(load(&again, &volume, &data), want, "again, second {}", second);
        }
    }
}

/// A base made later, commands of another server, no times at all: refused by name.
#[test]
fn what_cannot_be_cut_is_named() {
    let mut plain = LogFile::new(9, 0);
    plain.command(&["RPUSH", "k", "0"]).frame(0, 0);
    let (volume, mut manifest) = directory(&[plain]);
    assert!(refused(&volume, 5).contains("tells no times"));

    let mut rdb = b"REDIS0011\xFA\x05ctime\xC2".to_vec();
    rdb.extend_from_slice(&1000_i32.to_le_bytes());
    let base = Line { file: "b.rdb".into(), seq: 1, kind: FileType::Base, ours: None };
    manifest.lines.insert(0, base);
    volume.put("b.rdb", &rdb);
    volume.put(&manifest_name(NAME), &manifest.encode());
    let text = refused(&volume, 999);
    let digits = b"REDIS0011\xFA\x05ctime\x041001\xFA\x05other\x01x";
    volume.put("b.rdb", digits);
    assert!(refused(&volume, 1000).contains("made at 1001, later than"));
    assert!(text.contains("b.rdb") && text.contains("made at 1000, later than"), "{text}");

    let foreign = [&b"#TS:7\r\n"[..], &resp(&["RPUSH", "k", "1"])].concat();
    volume.put("c.aof", &foreign);
    let line = Line { file: "c.aof".into(), seq: 1, kind: FileType::Incr, ours: None };
    manifest.lines[0] = line;
    manifest.lines[1].seq = 2;
    volume.put(&manifest_name(NAME), &manifest.encode());
    let text = refused(&volume, 6);
    assert!(text.contains("c.aof at offset 0") && text.contains("another server"), "{text}");
}
