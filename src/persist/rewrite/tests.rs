//! The files of a rewrite on directories in memory: cut at every step, with every operation
//! failing, and in the wrong order.

use rustix::io::Errno;

use super::history;
use super::*;
use crate::persist::aof::manifest::{NewFile, PartKind};
use crate::persist::recovery::{commit, inspect};
use crate::persist::sim::{Fault, On, SimMedium};
use crate::persist::testing::*;

/// A log with a generation in front of the base, which stands under its temporary name, and two
/// behind it, with a part in between; marks reach back over the base.
struct Begun {
    manifest: Manifest,
    /// The number of the first file that stays.
    first: i64,
}

/// Writes it; `boot` is that of the last generation.
fn begun(volume: &dyn Volume) -> Begun {
    let put = |name: &str, bytes: &[u8]| volume.write_synced(name, bytes).unwrap();
    let mut manifest = Manifest::default();
    let mut ends = [(100, 1), (200, 2)];
    let mut first = 0;
    for generation in 1..=3u64 {
        let id = generation;
        let file =
            |end: &(u64, u64)| NewFile { seed: generation * 10 + end.0, start: end.0, stream: 0 };
        let new = ends.each_ref().map(file);
        let names = manifest.begin_generation(NAME, &new, id, "old");
        let mut logs = new.map(|file| LogFile::new(file.seed, file.start));
        let (a, b) = logs.split_at_mut(1);
        a[0].seen(&[(1, ends[1].0)]).command(&["RPUSH", "a", &format!("{generation}")]);
        a[0].frame(0, 0);
        a[0].entry(id, 3, &[]).command(&["RPUSH", "a", "both"]).frame(0, 0);
        b[0].entry(id, 3, &[]).command(&["RPUSH", "b", "both"]);
        b[0].seen(&[(0, ends[0].0)]).command(&["RPUSH", "b", &format!("{generation}")]);
        b[0].frame(0, 0);
        for (name, log) in names.iter().zip(&logs) {
            put(name, &log.bytes);
        }
        if generation == 2 {
            first = manifest.lines.iter().find(|l| l.file == names[0]).unwrap().seq;
        }
        ends = [(logs[0].pos, logs[0].sum), (logs[1].pos, logs[1].sum)];
        if generation < 3 {
            manifest.seal(&ends, false);
        }
        if generation == 2 {
            let part = resp(&["SWAPDB", "8", "9"]);
            let name = manifest.add_part(NAME, PartKind::Cut, &part);
            put(&name, &part);
        }
    }
    put(&manifest_name(NAME), &manifest.encode());
    let base = [["RPUSH", "a", "1"], ["RPUSH", "a", "both"], ["RPUSH", "b", "both"]];
    let base = base.iter().chain(&[["RPUSH", "b", "1"]]).flat_map(|words| resp(words));
    put(TEMP_NAME, &base.collect::<Vec<u8>>());
    volume.sync_dir().unwrap();
    Begun { manifest, first }
}

const TEMP_NAME: &str = "temp-rewriteaof-bg-1.aof";

fn state(volume: &dyn Volume) -> Result<State, String> {
    let data = MemVolume::default();
    let plan = inspect(volume, &options(&data, 2, "new")).map_err(|error| error.to_string())?;
    Ok(load(&plan, volume, &data))
}

/// In which order it is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Right,
    /// History goes before a manifest is in force that does without it.
    HistoryFirst,
    /// The base is named by a manifest before it has its name.
    ManifestFirst,
}

fn rewrite(volume: &dyn Volume, begun: &Begun, order: Order) -> io::Result<()> {
    let Begun { manifest, first } = begun;
    let mut listed = manifest.clone();
    let base = rebase(&mut listed, NAME, "aof", Some(*first)).unwrap();
    listed.lines[0].vouch(WholePairs::of(volume, TEMP_NAME)?);
    match order {
        Order::Right => {}
        Order::HistoryFirst => drop(remove_history(volume, &history(&listed))),
        Order::ManifestFirst => {
            let (temp, name) = (temp_manifest_name(NAME), manifest_name(NAME));
            durable::replace(volume, &temp, &name, &listed.encode())?;
            volume.rename(TEMP_NAME, &base)?;
            return volume.sync_dir();
        }
    }
    let installed = install(volume, NAME, TEMP_NAME, "aof", Some(*first), manifest)?;
    let Installed::Done { manifest, base: name, durable } = installed else {
        panic!("it is listed");
    };
    assert_eq!((&name, &manifest.lines), (&base, &listed.lines));
    durable?;
    let gone = remove_history(volume, &history(&manifest));
    forget_history(volume, NAME, &gone, &manifest).map(drop)
}

/// Stops a rewrite at every step, in many ways, and looks what is loaded.
fn stop_everywhere(order: Order) -> Result<u64, String> {
    let volume = MemVolume::default();
    let begun = begun(&volume);
    let want = state(&volume)?;
    assert_eq!(want[&(0, "a".to_owned())], ["1", "both", "2", "both", "3", "both"]);
    let whole = volume.copy();
    rewrite(&whole, &begun, order).map_err(|error| error.to_string())?;
    let steps = whole.changes() - volume.changes();
    for stop in 0..=steps {
        for seed in 0..40 {
            let mut rng = Random::new(seed);
            let volume = volume.copy();
            volume.stop_after(stop);
            drop(rewrite(&volume, &begun, order));
            let volume = volume.power_cut(&mut rng);
            let found = state(&volume).map_err(|why| format!("stop {stop}, {seed}: {why}"))?;
            if found != want {
                return Err(format!("stop {stop}, {seed}: {found:?}"));
            }
            let data = MemVolume::default();
            let plan = inspect(&volume, &options(&data, 2, "new")).unwrap();
            let started = commit(plan, &volume, &mut rng).unwrap();
            assert_eq!(state(&volume)?, want, "behind recovery");
            for name in volume.list().unwrap() {
                let listed = started.manifest.lines.iter().any(|line| line.file == name);
                assert!(listed || name == manifest_name(NAME), "stop {stop}, {seed}: {name} stays");
            }
        }
    }
    Ok(steps)
}

#[test]
fn a_crash_at_any_step_leaves_all_of_the_data() {
    let steps = stop_everywhere(Order::Right).unwrap();
    // Two names, two files, three flushes of the directory, two files of history and what drops
    // their lines.
    assert!(steps >= 11, "{steps}");
}

#[test]
fn a_wrong_order_is_caught() {
    for (order, how) in [(Order::HistoryFirst, "not there"), (Order::ManifestFirst, "not there")] {
        let why = stop_everywhere(order).expect_err("something is missing");
        assert!(why.contains(how), "{why}");
    }
}

#[test]
fn what_is_listed_behind_a_rewrite() {
    let volume = MemVolume::default();
    let begun = begun(&volume);
    rewrite(&volume, &begun, Order::Right).unwrap();
    let bytes = volume.read_all(&manifest_name(NAME)).unwrap();
    let manifest = Manifest::parse(&bytes).unwrap();
    assert_eq!(manifest.lines[0].kind, FileType::Base);
    assert!(manifest.lines[1..].iter().all(|l| l.kind == FileType::Incr && l.seq >= begun.first));
    assert_eq!(manifest.lines.len(), 1 + 2 + 1 + 2);
    let len = |line: &Line| volume.len(&line.file).unwrap();
    let sealed: u64 = manifest.lines[..4].iter().map(len).sum();
    assert_eq!(sealed_size(&volume, &manifest), sealed);
    assert_eq!(volume.list().unwrap().len(), 1 + manifest.lines.len());
    // And the next: the base becomes history as well.
    let next = manifest.lines[4].seq;
    volume.put(TEMP_NAME, b"");
    let done = install(&volume, NAME, TEMP_NAME, "rdb", Some(next), &manifest).unwrap();
    let Installed::Done { manifest: last, base, .. } = done else { panic!("{done:?}") };
    assert!(base.ends_with(".base.rdb") && base != manifest.lines[0].file);
    assert_eq!(history(&last).len(), 4);
    assert!(last.next_seq() > manifest.next_seq());
}

#[test]
fn a_log_that_has_begun_anew_has_no_use_for_the_base() {
    let volume = MemVolume::default();
    let Begun { mut manifest, first } = begun(&volume);
    manifest.drop_lines(|_| true);
    // As many generations as there were when the base began.
    for _ in 0..2 {
        let file = NewFile { seed: 1, start: 5, stream: 0 };
        manifest.begin_generation(NAME, &[file, file], 9, "old");
        manifest.seal(&[(5, 1), (5, 1)], false);
    }
    let installed = install(&volume, NAME, TEMP_NAME, "rdb", Some(first), &manifest).unwrap();
    assert!(matches!(installed, Installed::Superseded));
    assert!(volume.len(TEMP_NAME).is_err(), "it is gone");
}

#[test]
fn an_error_of_any_operation_leaves_the_old_files_in_force() {
    let mut struck = 0;
    for on in [On::Create, On::Write, On::Sync, On::Rename, On::SyncDir] {
        for errno in [Errno::NOSPC, Errno::IO, Errno::ROFS] {
            for nth in 1.. {
                let medium = SimMedium::new(nth);
                let begun = begun(&medium);
                let want = state(&medium).unwrap();
                medium.fail(on, nth, Fault::Error(errno));
                let old = medium.read_all(&manifest_name(NAME)).unwrap();
                let Begun { manifest, first } = &begun;
                let done = install(&medium, NAME, TEMP_NAME, "aof", Some(*first), manifest);
                if medium.faults_left() > 0 {
                    assert!(nth > 1 || on == On::Create || on == On::Write || on == On::Sync);
                    break;
                }
                medium.disarm();
                struck += 1;
                match done {
                    Err(_) => {
                        assert_eq!(medium.read_all(&manifest_name(NAME)).unwrap(), old);
                        let names = medium.list().unwrap();
                        let left = |name: &String| name.contains("temp") || name.contains("base");
                        assert!(!names.iter().any(left), "{on:?}: {names:?}");
                    }
                    // Only the last flush of the directory comes behind the name.
                    Ok(Installed::Done { durable, .. }) => assert!(durable.is_err()),
                    Ok(Installed::Superseded) => panic!("{on:?} {nth}"),
                }
                assert_eq!(state(&medium).unwrap(), want, "{on:?} {nth}");
                medium.crash_power(&mut Random::new(nth));
                assert_eq!(state(&medium).unwrap(), want, "{on:?} {nth}");
            }
        }
    }
    assert!(struck >= 3 * 4, "{struck}");
}

#[test]
fn names_of_what_is_left_behind() {
    assert!(is_temp_base(&temp_base_name()) && is_temp_base(&temp_rdb_name()));
    assert!(!is_temp_base("appendonly.aof.1.base.rdb") && !is_temp_base("temp-1.rdb"));
}
