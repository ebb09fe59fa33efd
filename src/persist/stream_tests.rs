//! The offset of the stream for replicas, and the names of its history, over starts.

use crate::base::random::Random;
use crate::base::replication::{ID_LEN, Replication};
use crate::persist::aof::manifest::{Manifest, NewFile, Ours, PartKind, manifest_name};
use crate::persist::aof::repair::{Started, commit};
use crate::persist::backup::sealed_part;
use crate::persist::disk::Volume;
use crate::persist::inspect::inspect;
use crate::persist::recovery::{Options, Plan};
use crate::persist::restore::chain;
use crate::persist::testing::{LogFile, MemVolume, NAME, half_an_entry, options, resp};

fn id(digit: char) -> String {
    digit.to_string().repeat(ID_LEN)
}

fn named() -> Replication {
    Replication { id: Some(id('a')), second: Some((id('b'), 3)) }
}

/// A directory whose only generation, written under boot id `old`, begins with these shares.
fn directory(logs: &[LogFile], shares: &[u64], known: Option<Replication>) -> MemVolume {
    let mut manifest = Manifest::of(known);
    let file = |(log, stream): (&LogFile, &u64)| NewFile {
        seed: log.seed,
        start: log.borders[0].1,
        stream: *stream,
    };
    let files: Vec<NewFile> = logs.iter().zip(shares).map(file).collect();
    let names = manifest.begin_generation(NAME, &files, 1, "old");
    let volume = MemVolume::default();
    for (name, log) in names.iter().zip(logs) {
        volume.put(name, &log.bytes);
    }
    write(&volume, &manifest);
    volume
}

fn write(volume: &MemVolume, manifest: &Manifest) {
    volume.put(&manifest_name(NAME), &manifest.encode());
}

fn read(volume: &dyn Volume) -> Manifest {
    Manifest::parse(&volume.read_all(&manifest_name(NAME)).unwrap()).unwrap()
}

fn start(plan: Plan<'_>, volume: &MemVolume) -> Started {
    commit(plan, volume, &mut Random::new(7)).unwrap()
}

/// What a sealed log of two shards in good order says.
fn whole() -> (Vec<LogFile>, u64) {
    let (mut a, mut b) = (LogFile::new(1, 50), LogFile::new(2, 90));
    a.command(&["SELECT", "3"]).entry(4, 3, &[]).command(&["RPUSH", "a", "1"]).frame(50, 50);
    a.room(9).time(17).command(&["RPUSH", "a", "2"]).frame(50, 50);
    b.entry(4, 3, &[]).command(&["RPUSH", "b", "1"]).frame(90, 90);
    let commands = [&["SELECT", "3"][..], &["RPUSH", "a", "1"], &["RPUSH", "a", "2"]];
    let bytes: usize = commands.iter().map(|c| resp(c).len()).sum();
    let all = (bytes + resp(&["RPUSH", "b", "1"]).len()) as u64 + 9;
    (vec![a, b], all)
}

fn seal(volume: &MemVolume, logs: &[LogFile]) {
    let mut manifest = read(volume);
    let ends: Vec<(u64, u64)> = logs.iter().map(|log| (log.pos, log.sum)).collect();
    manifest.seal(&ends, true);
    write(volume, &manifest);
}

#[test]
fn an_offset_is_what_stood_in_front_and_the_commands_that_are_kept() {
    let data = MemVolume::default();
    let (logs, all) = whole();
    let volume = directory(&logs, &[1000, 200], Some(named()));
    let plan = inspect(&volume, &options(&data, 3, "old")).unwrap();
    assert_eq!((plan.reached.base, plan.reached.at), (1200, 1200 + all));
    assert_eq!(plan.replication, named(), "the process died, and nothing that was sent is lost");
    let started = start(plan, &volume);
    // Another number of shards: the sum is the first one's.
    let shares: Vec<u64> = started.files.iter().map(|file| file.stream).collect();
    assert_eq!(shares, [1200 + all, 0, 0]);
    let again = inspect(&volume, &options(&data, 1, "old")).unwrap();
    assert_eq!((again.reached.base, again.reached.at), (1200 + all, 1200 + all));
    assert_eq!(again.replication, named());
}

#[test]
fn what_is_cut_counts_no_more() {
    let data = MemVolume::default();
    let logs = half_an_entry();
    let volume = directory(&logs, &[0, 500], Some(named()));
    let plan = inspect(&volume, &options(&data, 2, "old")).unwrap();
    // Torn: what is missing may have been sent.
    assert_eq!(plan.replication, Replication { id: None, second: Some((id('a'), 500)) });
    let kept: u64 = [&["SELECT", "3"][..], &["RPUSH", "a", "1"], &["RPUSH", "a", "2"]]
        .iter()
        .chain(&[&["RPUSH", "b", "1"][..]])
        .map(|command| resp(command).len() as u64)
        .sum();
    assert_eq!(plan.reached.at, 500 + kept);
    // The kept front of the frame is copied into a part, and counts once.
    start(plan, &volume);
    let again = inspect(&volume, &options(&data, 2, "old")).unwrap();
    assert_eq!(again.reached.at, 500 + kept);
}

#[test]
fn a_loss_of_power_ends_the_name_where_the_generation_began() {
    let data = MemVolume::default();
    let (logs, all) = whole();
    let volume = directory(&logs, &[1000, 200], Some(named()));
    let plan = inspect(&volume, &options(&data, 2, "new")).unwrap();
    let second = Some((id('a'), 1200));
    assert_eq!(plan.replication, Replication { id: None, second: second.clone() });
    let started = start(plan, &volume);
    let drawn = started.manifest.replication.clone().unwrap();
    assert_eq!(drawn.second, second);
    assert!(drawn.id.is_some_and(|drawn| drawn != id('a')));
    assert_eq!(started.files[0].stream, 1200 + all, "offsets go on");
    assert_eq!(read(&volume).replication, started.manifest.replication);
    // A clean stop is proof enough that nothing was lost.
    let volume = directory(&logs, &[1000, 200], Some(named()));
    seal(&volume, &logs);
    let plan = inspect(&volume, &options(&data, 2, "new")).unwrap();
    assert_eq!(plan.replication, named());
}

#[test]
fn damage_let_pass_and_other_servers_end_the_name() {
    let data = MemVolume::default();
    let (logs, _) = whole();
    let volume = directory(&logs, &[10, 20], Some(named()));
    let accept = Options { accept_damage: true, ..options(&data, 2, "old") };
    let plan = inspect(&volume, &accept).unwrap();
    assert_eq!(plan.replication.second, Some((id('a'), 30)));
    // What another server has appended has no offset.
    let name = read(&volume).lines[1].file.clone();
    let bytes = [volume.read_all(&name).unwrap(), resp(&["RPUSH", "b", "more"])].concat();
    volume.put(&name, &bytes);
    let plan = inspect(&volume, &options(&data, 2, "old")).unwrap();
    assert_eq!(plan.replication, Replication::default());
    let drawn = start(plan, &volume).manifest.replication.unwrap();
    assert!(drawn.id.is_some() && drawn.second.is_none());
}

#[test]
fn a_directory_of_an_older_version_gets_a_name() {
    let data = MemVolume::default();
    let (logs, all) = whole();
    let volume = directory(&logs, &[0, 0], None);
    let mut manifest = read(&volume);
    for line in &mut manifest.lines {
        let Some(Ours::Shard(pairs)) = &mut line.ours else { panic!("a shard's file") };
        pairs.stream = None;
    }
    write(&volume, &manifest);
    let text = String::from_utf8(volume.read_all(&manifest_name(NAME)).unwrap()).unwrap();
    assert!(!text.contains("stream") && !text.contains("#repl"), "{text}");
    let plan = inspect(&volume, &options(&data, 2, "old")).unwrap();
    assert_eq!((plan.replication.clone(), plan.reached.at), (Replication::default(), all));
    let started = start(plan, &volume);
    let known = started.manifest.replication.clone();
    assert!(known.as_ref().is_some_and(|known| known.id.is_some()));
    let again = inspect(&volume, &options(&data, 2, "old")).unwrap();
    assert_eq!((Some(again.replication), again.reached.at), (known, all));
}

#[test]
fn parts_count_where_the_next_generation_begins() {
    let data = MemVolume::default();
    let (logs, all) = whole();
    let volume = directory(&logs, &[0, 0], Some(named()));
    let mut manifest = read(&volume);
    manifest.seal(&[(logs[0].pos, logs[0].sum), (logs[1].pos, logs[1].sum)], false);
    let flush = resp(&["FLUSHALL"]);
    let part = manifest.add_part(NAME, PartKind::Cut, &flush);
    volume.put(&part, &flush);
    let at = all + flush.len() as u64;
    let file = |log: &LogFile, stream| NewFile { seed: 5, start: log.pos + 1, stream };
    let files = [file(&logs[0], at - 100), file(&logs[1], 100)];
    for name in manifest.begin_generation(NAME, &files, 9, "old") {
        volume.put(&name, b"");
    }
    write(&volume, &manifest);
    let plan = inspect(&volume, &options(&data, 2, "old")).unwrap();
    assert_eq!((plan.reached.base, plan.reached.at), (at, at));
}

#[test]
fn an_heir_gets_another_name() {
    let data = MemVolume::default();
    let (logs, all) = whole();
    let volume = directory(&logs, &[0, 0], Some(named()));
    let mut manifest = read(&volume);
    // A backup: sealed, with a generation behind it.
    let ends = [(logs[0].pos, logs[0].sum), (logs[1].pos, logs[1].sum)];
    manifest.seal(&ends, false);
    let file = |log: &LogFile| NewFile { seed: 5, start: log.pos, stream: 0 };
    manifest.begin_generation(NAME, &[file(&logs[0]), file(&logs[1])], 9, "old");
    let heir = sealed_part(&manifest);
    write(&volume, &heir);
    let plan = inspect(&volume, &options(&data, 2, "old")).unwrap();
    let second = Some((id('a'), all));
    assert_eq!(plan.replication, Replication { id: None, second });
    // What `restore` sees of a log that was not stopped: shared is what is sealed.
    let volume = directory(&logs, &[40, 0], Some(named()));
    let found = chain(&volume, NAME, &read(&volume)).unwrap();
    write(&volume, &found);
    let plan = inspect(&volume, &options(&data, 2, "old")).unwrap();
    assert_eq!(plan.replication, Replication { id: None, second: Some((id('a'), 40)) });
}
