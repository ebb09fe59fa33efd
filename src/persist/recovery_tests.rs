//! Recovery on a directory in memory: what is kept, what is refused, and a crash at every step of
//! making it permanent.

use proptest::prelude::*;

use crate::base::random::Random;
use crate::persist::aof::filler;
use crate::persist::aof::manifest::{Manifest, PartKind, manifest_name};
use crate::persist::aof::repair::is_cut_off;
use crate::persist::disk::{Disk, DiskOp, Flush, Volume};
use crate::persist::recovery::{Options, Plan, commit, inspect};
use crate::persist::sim::SimMedium;
use crate::persist::testing::*;
use crate::persist::turning::OPENING;

fn look<'v>(volume: &MemVolume, data: &'v MemVolume, boot: &'v str) -> Plan<'v> {
    inspect(volume, &options(data, 2, boot)).unwrap()
}

fn refusal(volume: &MemVolume, boot: &str) -> String {
    let data = MemVolume::default();
    let error = inspect(volume, &options(&data, 2, boot)).unwrap_err();
    error.to_string()
}

fn pushed(state: &State, key: &str) -> Vec<String> {
    state.get(&(0, key.to_owned())).cloned().unwrap_or_default()
}

#[test]
fn nothing_is_a_first_start() {
    let (volume, data) = (MemVolume::default(), MemVolume::default());
    let plan = look(&volume, &data, "new");
    assert!(plan.steps.is_empty() && plan.report.is_empty());
    let started = commit(plan, &volume, &mut Random::new(1)).unwrap();
    assert_eq!(started.files.len(), 2);
    assert_eq!(started.files[1].file, "appendonly.aof.2.s01.incr.aof");
    assert_eq!((started.next_id, started.files[0].start), (1, 0));
    let stored = Manifest::parse(&volume.read_all(&manifest_name(NAME)).unwrap()).unwrap();
    assert_eq!(stored.lines, started.manifest.lines);
}

#[test]
fn an_entry_is_kept_in_all_its_logs_or_in_none() {
    let (volume, _) = directory(&half_an_entry());
    let data = MemVolume::default();
    let plan = look(&volume, &data, "new");
    let state = load(&plan, &volume, &data);
    assert_eq!(state[&(3, "a".to_owned())], ["1", "2"]);
    assert_eq!(pushed(&state, "b"), ["1"]);
    assert_eq!(plan.next_id, 8, "ids go on above lost ones");
    assert_eq!(plan.report.len(), 2, "{:?}", plan.report);
    let before = volume.read_all("appendonly.aof.1.s00.incr.aof").unwrap();
    let started = commit(plan, &volume, &mut Random::new(1)).unwrap();
    assert!(started.files[0].start > 230);
    let names = volume.list().unwrap();
    assert!(names.contains(&"appendonly.aof.3.tail.incr.aof".to_owned()), "{names:?}");
    assert!(names.contains(&"appendonly.aof.1.s00.incr.aof.cut".to_owned()), "{names:?}");
    let aside = volume.read_all("appendonly.aof.1.s00.incr.aof.cut").unwrap();
    assert!(is_cut_off("appendonly.aof.1.s00.incr.aof.cut", NAME) && !is_cut_off("a.cut", NAME));
    assert!(before.ends_with(&aside) && aside.starts_with(b"#M 7 3\r\n"));
    let again = look(&volume, &data, "new");
    assert!(again.report.is_empty(), "{:?}", again.report);
    assert_eq!(load(&again, &volume, &data), state);
}

#[test]
fn a_crash_at_every_step_converges() {
    let data = MemVolume::default();
    let mut logs = half_an_entry();
    logs[1].bytes.extend_from_slice(b"\0\0\0");
    let (volume, _) = directory(&logs);
    let want = load(&look(&volume, &data, "new"), &volume, &data);
    let whole = volume.copy();
    commit(look(&whole, &data, "new"), &whole, &mut Random::new(5)).unwrap();
    assert!(whole.changes() > 12);
    for stop in 0..whole.changes() {
        for seed in 0..40 {
            let mut rng = Random::new(seed);
            let mut volume = volume.copy();
            // Up to three tries are cut short one after another.
            for round in 0..=rng.below(3) {
                volume.stop_after(if round == 0 { stop } else { rng.below(14) });
                let plan = look(&volume, &data, "new");
                assert_eq!(load(&plan, &volume, &data), want, "stop {stop} seed {seed}");
                let _ = commit(plan, &volume, &mut rng);
                volume = volume.power_cut(&mut rng);
            }
            let plan = look(&volume, &data, "new");
            assert_eq!(load(&plan, &volume, &data), want, "stop {stop} seed {seed}");
            commit(plan, &volume, &mut rng).unwrap();
            let plan = look(&volume, &data, "new");
            assert_eq!(load(&plan, &volume, &data), want, "stop {stop} seed {seed}");
        }
    }
}

#[test]
fn a_gap_is_damage_when_a_later_frame_says_so() {
    let mut log = LogFile::new(9, 0);
    for i in 0..6u64 {
        let at = log.pos;
        log.command(&["RPUSH", "k", &i.to_string()]).frame(at / 2, at);
    }
    let (other, data) = (LogFile::new(4, 0), MemVolume::default());
    let second = log.borders[1].0 as usize;
    let mut hurt = log.clone();
    hurt.bytes[second + 60] ^= 1;
    let (volume, _) = directory(&[hurt.clone(), other.clone()]);
    let text = refusal(&volume, "new");
    assert!(
        text.starts_with(&format!("appendonly.aof.1.s00.incr.aof at offset {second}: damaged"))
    );
    assert!(text.contains("ringstone check-aof appendonly.aof.manifest"), "{text}");
    // Cut behind the third frame, nothing says that the second was durable, only that it was
    // written: torn after a reboot, damage without one.
    hurt.bytes.truncate(log.borders[3].0 as usize);
    let (volume, _) = directory(&[hurt, other]);
    let plan = look(&volume, &data, "new");
    assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0"]);
    assert!(refusal(&volume, "old").contains("were written"));
}

/// A flush has failed and the process has ended, the machine has not: the page cache lacks blocks
/// of what was written, and what was durable is still asked for.
#[test]
fn what_the_kernel_has_dropped_is_a_torn_end() {
    let long = "v".repeat(900);
    let mut log = LogFile::new(9, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0);
    let at = log.pos;
    log.command(&["RPUSH", "k", "1"]).frame(0, at);
    let durable = log.pos;
    for _ in 0..4 {
        let at = log.pos;
        log.command(&["RPUSH", "k", &long]).frame(durable, at);
    }
    let seen = log.pos;
    let mut other = LogFile::new(4, 0);
    other.seen(&[(0, seen)]).command(&["RPUSH", "l", "1"]).frame(0, 0);
    let data = MemVolume::default();
    let third = log.borders[2].0 as usize;
    let mut hurt = log.clone();
    hurt.bytes[third..1024].fill(0);
    let (volume, _) = directory(&[hurt.clone(), other.clone()]);
    let plan = look(&volume, &data, "old");
    let state = load(&plan, &volume, &data);
    assert_eq!(pushed(&state, "k"), ["0", "1"]);
    assert!(pushed(&state, "l").is_empty(), "it had seen what is gone");
    assert!(plan.report.iter().any(|line| line.contains("s00")), "{:?}", plan.report);
    // All that was not durable is gone, up to the end.
    let mut rest = hurt.clone();
    rest.bytes[third..].fill(0);
    let (volume, _) = directory(&[rest, other.clone()]);
    let plan = look(&volume, &data, "old");
    assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0", "1"]);
    // Where a later frame says that it was durable, where what depends on it was, and where no
    // block is gone, it is damage.
    let (mut later, at) = (hurt.clone(), log.pos);
    later.command(&["RPUSH", "k", "5"]).frame(at, at);
    let (volume, _) = directory(&[later, other.clone()]);
    assert!(refusal(&volume, "old").contains("were durable"));
    let (mut longer, at) = (other.clone(), other.pos);
    longer.command(&["RPUSH", "l", "2"]).frame(at, at);
    let (volume, _) = directory(&[hurt, longer]);
    assert!(refusal(&volume, "old").contains("depends on what another log lacks"));
    log.bytes[third..1023].fill(0);
    let (volume, _) = directory(&[log, other]);
    assert!(refusal(&volume, "old").contains("were written"));
}

#[test]
fn frames_hang_together() {
    let mut log = LogFile::new(9, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0);
    let mut other = LogFile::new(9, 0);
    other.command(&["RPUSH", "k", "x"]).frame(0, 0);
    log.command(&["RPUSH", "k", "1"]).frame(0, 0);
    // A whole frame of the same length in the place of the one before: its heir is not valid.
    log.bytes.splice(..other.bytes.len(), other.bytes.iter().copied());
    let (volume, _) = directory(&[log, LogFile::new(4, 0)]);
    let data = MemVolume::default();
    assert_eq!(pushed(&load(&look(&volume, &data, "new"), &volume, &data), "k"), ["x"]);
}

#[test]
fn text_that_imitates_frames_proves_nothing() {
    let mut log = LogFile::new(9, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0);
    let end = log.bytes.len();
    let mut forged = Vec::new();
    let head = crate::persist::aof::format::FrameHead {
        pos: 5000,
        len: 0,
        durable: 5000,
        written: 5000,
        prev: 0,
    };
    head.encode(&mut forged, 8, b"");
    log.command(&["RPUSH", "k", &String::from_utf8(forged).unwrap()]).frame(0, 0);
    log.bytes[end + 6] ^= 1;
    let (volume, _) = directory(&[log, LogFile::new(4, 0)]);
    let data = MemVolume::default();
    assert_eq!(pushed(&load(&look(&volume, &data, "old"), &volume, &data), "k"), ["0"]);
}

#[test]
fn what_another_log_has_seen_must_be_there_until_a_reboot() {
    let mut a = LogFile::new(1, 0);
    let mut b = LogFile::new(2, 0);
    a.command(&["RPUSH", "a", "1"]).frame(0, 0);
    let seen = a.pos;
    b.command(&["RPUSH", "b", "1"]);
    b.seen(&[(0, seen)]).command(&["RPUSH", "b", "2"]).frame(0, 0);
    let (volume, _) = directory(&[a.clone(), b.clone()]);
    let data = MemVolume::default();
    assert_eq!(pushed(&load(&look(&volume, &data, "old"), &volume, &data), "b"), ["1", "2"]);
    a.bytes.clear();
    let (volume, _) = directory(&[a, b]);
    assert_eq!(pushed(&load(&look(&volume, &data, "new"), &volume, &data), "b"), ["1"]);
    assert!(refusal(&volume, "old").contains("has seen more of it"));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut log = LogFile::new(9, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0);
    log.bytes.extend_from_slice(b"#R2 whatever\r\n");
    let (volume, _) = directory(&[log, LogFile::new(4, 0)]);
    assert!(refusal(&volume, "new").contains("newer version (frame format R2)"));
}

#[test]
fn sealed_files_must_be_what_they_were() {
    let data = MemVolume::default();
    let mut log = LogFile::new(9, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0).command(&["RPUSH", "k", "1"]).frame(0, 0);
    let (volume, mut manifest) = directory(std::slice::from_ref(&log));
    manifest.seal(&[(log.pos, log.sum)], true);
    volume.put(&manifest_name(NAME), &manifest.encode());
    let whole = volume.copy();
    let name = "appendonly.aof.1.s00.incr.aof";
    assert_eq!(pushed(&load(&look(&volume, &data, "new"), &volume, &data), "k"), ["0", "1"]);

    volume.truncate(name, log.borders[1].0).unwrap();
    assert!(refusal(&volume, "new").contains("what the manifest says it ends with"));
    volume.remove(name).unwrap();
    assert!(refusal(&volume, "new").contains("listed in appendonly.aof.manifest, but not there"));

    // Garbage behind a clean end is refused, another server's commands are taken over.
    let mut longer = log.bytes.clone();
    longer.extend_from_slice(b"garbage");
    whole.put(name, &longer);
    assert!(refusal(&whole, "new").contains("behind the end that a clean stop recorded"));
    // What is left of filler is not, and goes: another server could not read it.
    let torn = MemVolume::default();
    for file in whole.list().unwrap() {
        torn.put(&file, &whole.read_all(&file).unwrap());
    }
    let mut filled = log.bytes.clone();
    let from = log.bytes.len() as u64;
    filler::fill(&mut filled, from, from.next_multiple_of(filler::LINE) + 2 * filler::LINE);
    filled.extend_from_slice(&[0; 700]);
    torn.put(name, &filled);
    let plan = look(&torn, &data, "new");
    assert!(!plan.is_whole() && plan.loses_nothing());
    commit(plan, &torn, &mut Random::new(3)).unwrap();
    assert_eq!(torn.read_all(name).unwrap(), log.bytes);
    longer.truncate(log.bytes.len());
    longer.extend_from_slice(&resp(&["SELECT", "0"]));
    longer.extend_from_slice(&resp(&["RPUSH", "k", "redis"]));
    longer.extend_from_slice(b"*2\r\n$3\r\nIN");
    whole.put(name, &longer);
    let plan = look(&whole, &data, "new");
    assert_eq!(pushed(&load(&plan, &whole, &data), "k"), ["0", "1", "redis"]);
    commit(plan, &whole, &mut Random::new(3)).unwrap();
    assert_eq!(whole.len(name).unwrap(), log.bytes.len() as u64);
    let plan = look(&whole, &data, "new");
    assert_eq!(pushed(&load(&plan, &whole, &data), "k"), ["0", "1", "redis"]);
}

#[test]
fn commands_behind_the_last_frame_were_another_servers() {
    let data = MemVolume::default();
    let mut a = LogFile::new(1, 0);
    let mut b = LogFile::new(2, 0);
    a.command(&["RPUSH", "k", "0"]).frame(0, 0);
    b.command(&["RPUSH", "l", "0"]).frame(0, 0);
    b.bytes.extend_from_slice(&resp(&["RPUSH", "k", "redis"]));
    let (volume, _) = directory(&[a.clone(), b.clone()]);
    let plan = look(&volume, &data, "old");
    assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0", "redis"]);
    commit(plan, &volume, &mut Random::new(3)).unwrap();
    let plan = look(&volume, &data, "old");
    assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0", "redis"]);
    a.bytes.extend_from_slice(b"#R1 torn");
    let (volume, _) = directory(&[a, b]);
    assert!(refusal(&volume, "new").contains("another server has written behind the log"));
}

/// With `aof-timestamp-enabled` a line that tells the time stands in front of what it appends.
#[test]
fn what_another_server_appends_may_begin_with_the_time() {
    let appended =
        [b"#TS:1700000000\r\n".to_vec(), resp(&["SELECT", "0"]), resp(&["RPUSH", "k", "redis"])];
    let mut log = LogFile::new(1, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0);
    log.bytes.extend(appended.concat());
    for volume in [directory(&[log]).0, ahead(&appended.concat(), 0)] {
        let data = MemVolume::default();
        let plan = look(&volume, &data, "new");
        assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0", "redis"]);
        commit(plan, &volume, &mut Random::new(3)).unwrap();
        let plan = look(&volume, &data, "new");
        assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0", "redis"]);
    }
}

#[test]
fn a_frame_that_another_server_cut_and_continued_is_not_cut_again() {
    let mut log = LogFile::new(1, 0);
    log.command(&["RPUSH", "k", "0"]).command(&["RPUSH", "k", "torn"]).frame(0, 0);
    let kept = log.bytes.len() - resp(&["RPUSH", "k", "torn"]).len();
    log.bytes.truncate(kept);
    log.bytes.extend_from_slice(&resp(&["SELECT", "0"]));
    log.bytes.extend_from_slice(&resp(&["RPUSH", "k", "written by redis"]));
    let (volume, _) = directory(&[log.clone()]);
    assert!(refusal(&volume, "new").contains("written on behind it"));
    // The same frame, torn by a crash, is cut.
    log.bytes.truncate(kept);
    let (volume, _) = directory(&[log]);
    let data = MemVolume::default();
    let plan = look(&volume, &data, "new");
    assert!(plan.report[0].contains("bytes torn"));
    assert!(plan.next_pos >= kept as u64 - 30, "positions go on above lost ones");
}

#[test]
fn a_block_lost_over_a_border_is_no_other_servers_work() {
    let mut log = LogFile::new(1, 0);
    log.command(&["RPUSH", "k", "0"]).command(&["SELECT", "1"]);
    let mark = log.next() + 1;
    log.entry(3, 1, &[]);
    let length = log.next() + 7;
    log.command(&["RPUSH", "k", "1"]).frame(0, 0);
    log.command(&["SELECT", "0"]);
    let command = log.next();
    log.command(&["RPUSH", "k", "2"]).command(&["SELECT", "1"]).command(&["RPUSH", "k", "3"]);
    log.frame(0, 0);
    let offset = |pos: u64| {
        let (offset, start) = log.borders.iter().rfind(|b| b.1 <= pos).unwrap();
        let head = log.bytes[*offset as usize..].iter().position(|&b| b == b'\n').unwrap();
        *offset as usize + head + 1 + (pos - start) as usize
    };
    // From behind the `#` of a mark, or the `$5\r` of a command, into the next frame: up to the
    // line end in front of a command there, or to the `$5` in one.
    for (from, to) in [(mark, command - 2), (length - 1, command - 2), (length, command + 4)] {
        let mut torn = log.clone();
        torn.bytes[offset(from)..offset(to)].fill(0);
        let (volume, _) = directory(&[torn]);
        let data = MemVolume::default();
        let plan = look(&volume, &data, "new");
        assert!(plan.report[0].contains("bytes torn"), "{:?}", plan.report);
    }
}

/// The same in a file that was written ahead: what is lost reads as filler there.
#[test]
fn filler_over_a_border_is_no_other_servers_work() {
    let mut log = LogFile::new(1, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0);
    log.command(&["RPUSH", "k", "1"]);
    let from = log.next();
    log.command(&["RPUSH", "k", &"x".repeat(700)]).frame(0, 0);
    log.command(&["RPUSH", "k", "2"]);
    let to = log.next();
    log.command(&["SELECT", "1"]).command(&["RPUSH", "k", "3"]).frame(0, 0);
    let offset = |pos: u64| {
        let (offset, start) = log.borders.iter().rfind(|b| b.1 <= pos).unwrap();
        let head = log.bytes[*offset as usize..].iter().position(|&b| b == b'\n').unwrap();
        *offset as usize + head + 1 + (pos - start) as usize
    };
    let mut bytes = log.bytes[..offset(from)].to_vec();
    bytes.push(b'#');
    bytes.resize(offset(to) - 1, b' ');
    bytes.push(b'\n');
    bytes.extend_from_slice(&log.bytes[offset(to)..]);
    let len = bytes.len() as u64;
    filler::fill(&mut bytes, len, (len / 512 + 4) * 512);
    log.bytes = bytes;
    let (volume, _) = directory(&[log]);
    let data = MemVolume::default();
    let plan = look(&volume, &data, "new");
    assert!(plan.report[0].contains("bytes torn"), "{:?}", plan.report);
    assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0"]);
    commit(plan, &volume, &mut Random::new(1)).unwrap();
}

/// A file that is written ahead: a frame, filler, `rest` at a sector's border, and as many bytes of
/// filler behind that as bring the file to `len`.
fn ahead(rest: &[u8], len: u64) -> MemVolume {
    let mut log = LogFile::new(1, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0);
    let frame = log.bytes.len() as u64;
    filler::fill(&mut log.bytes, frame, 2 * filler::LINE);
    log.bytes.extend_from_slice(rest);
    let end = log.bytes.len() as u64;
    if end < len {
        filler::fill(&mut log.bytes, end, len);
    }
    directory(&[log]).0
}

fn written_ahead(commands: &[&[&str]], len: u64) -> MemVolume {
    ahead(&commands.iter().flat_map(|command| resp(command)).collect::<Vec<_>>(), len)
}

#[test]
fn what_is_left_of_a_frame_behind_filler_is_no_other_servers_work() {
    let fragment = [&["RPUSH", "k", "fragment"][..], &["SET", "s", "1"]];
    let select = [&["SELECT", "0"][..], &["RPUSH", "k", "fragment"]];
    for commands in [fragment, select] {
        for blocks in 1..3 {
            let volume = written_ahead(&commands, blocks * filler::BLOCK);
            let data = MemVolume::default();
            let plan = look(&volume, &data, "new");
            assert!(plan.report[0].contains("bytes torn"), "{:?}", plan.report);
            assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0"]);
            commit(plan, &volume, &mut Random::new(1)).unwrap();
        }
    }
    // The last value goes on behind the end of the file, or in what was lost: filler by now.
    let value = "x".repeat(2000);
    let whole = [resp(&["SET", "a", "1"]), resp(&["RPUSH", "k", &value])].concat();
    for len in [0, 4 * filler::BLOCK] {
        let volume = ahead(&whole[..whole.len() - 1000], len);
        let data = MemVolume::default();
        let plan = look(&volume, &data, "new");
        assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0"]);
    }
    // Whole, up to the end of the file: nobody can tell.
    let volume = written_ahead(&fragment, 0);
    assert!(refusal(&volume, "new").contains("that do not begin with SELECT"));
    let data = MemVolume::default();
    let forced = Options { accept_damage: true, ..options(&data, 1, "new") };
    let plan = inspect(&volume, &forced).unwrap();
    assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0"]);
}

#[test]
fn what_another_server_appends_to_a_file_written_ahead_stays() {
    let appended: [(&[&[&str]], &[&str]); 3] = [
        (&[&["SELECT", "0"], &["RPUSH", "k", "1"]], &["0", "1"]),
        (&[&["MULTI"], &["SELECT", "0"], &["RPUSH", "k", "1"], &["EXEC"]], &["0", "1"]),
        // One whose last value looks like filler.
        (&[&["SELECT", "0"], &["RPUSH", "l", &format!("#{}", " ".repeat(600))]], &["0"]),
    ];
    for (commands, expected) in appended {
        let volume = written_ahead(commands, 0);
        let data = MemVolume::default();
        let plan = look(&volume, &data, "new");
        assert_eq!(pushed(&load(&plan, &volume, &data), "k"), expected, "{commands:?}");
        commit(plan, &volume, &mut Random::new(1)).unwrap();
        let plan = look(&volume, &data, "new");
        assert_eq!(pushed(&load(&plan, &volume, &data), "k"), expected, "{commands:?}");
    }
    // Damaged, and not ours to cut.
    let mut bytes = [resp(&["SELECT", "0"]), resp(&["SET", "a", "1"])].concat();
    bytes.extend_from_slice(b"*2\r\nbroken");
    assert!(inspect(&ahead(&bytes, 0), &options(&MemVolume::default(), 1, "new")).is_err());
}

#[test]
fn restarts_without_writes_leave_nothing_behind() {
    let (volume, data) = (MemVolume::default(), MemVolume::default());
    let mut rng = Random::new(1);
    for _ in 0..5 {
        commit(look(&volume, &data, "old"), &volume, &mut rng).unwrap();
        assert_eq!(volume.list().unwrap().len(), 3, "{:?}", volume.list());
    }
}

#[test]
fn a_cut_stands_between_generations() {
    let data = MemVolume::default();
    let mut log = LogFile::new(9, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0);
    let (volume, mut manifest) = directory(std::slice::from_ref(&log));
    manifest.seal(&[(log.pos, log.sum)], false);
    let cut = [resp(&["SELECT", "0"]), resp(&["FLUSHALL"])].concat();
    let name = manifest.add_part(NAME, PartKind::Cut, &cut);
    volume.put(&name, &cut);
    let mut next = LogFile::new(10, log.pos);
    next.command(&["RPUSH", "k", "new"]).frame(0, 0);
    let new = crate::persist::aof::manifest::NewFile { seed: 10, start: log.pos, stream: 0 };
    let file = manifest.begin_generation(NAME, &[new], 1, "old").remove(0);
    volume.put(&file, &next.bytes);
    volume.put(&manifest_name(NAME), &manifest.encode());
    assert_eq!(pushed(&load(&look(&volume, &data, "old"), &volume, &data), "k"), ["new"]);
    volume.put(&name, &cut[1..]);
    assert!(refusal(&volume, "old").contains("checksum the manifest holds"));
}

#[test]
fn lone_files_are_taken_over_and_strays_are_not_overwritten() {
    let (volume, data) = (MemVolume::default(), MemVolume::default());
    let mut aof = resp(&["RPUSH", "k", "0"]);
    let whole = aof.len();
    aof.extend_from_slice(b"*3\r\n$5\r\nRP");
    data.put(NAME, &aof);
    data.put("dump.rdb", b"REDIS0011");
    let plan = look(&volume, &data, "new");
    assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0"]);
    commit(plan, &volume, &mut Random::new(1)).unwrap();
    assert_eq!(volume.len("appendonly.aof.1.base.aof").unwrap(), whole as u64);
    assert_eq!(data.list().unwrap(), ["dump.rdb"]);
    assert_eq!(pushed(&load(&look(&volume, &data, "new"), &volume, &data), "k"), ["0"]);
    // The manifest has gone: nothing starts empty beside what it named.
    volume.remove(&manifest_name(NAME)).unwrap();
    assert!(refusal(&volume, "new").contains("whose manifest"));
    let fresh = MemVolume::default();
    let plan = look(&fresh, &data, "new");
    assert_eq!(plan.steps.len(), 1);
    commit(plan, &fresh, &mut Random::new(1)).unwrap();
    assert_eq!(fresh.read_all("appendonly.aof.1.base.rdb").unwrap(), b"REDIS0011");
    assert_eq!(data.list().unwrap(), ["dump.rdb"], "a dump is copied, not moved");
}

#[test]
fn no_copy_outlasts_the_name_of_what_it_was_made_of() {
    for (stop, seed) in (0..12).flat_map(|stop| (0..8).map(move |seed| (stop, seed))) {
        let (volume, data, mut rng) =
            (MemVolume::default(), MemVolume::default(), Random::new(seed));
        // Saved by a process that was killed before it could flush the directory.
        data.put("temp.rdb", b"REDIS0011");
        data.rename("temp.rdb", "dump.rdb").unwrap();
        let plan = look(&volume, &data, "old");
        volume.stop_after(stop);
        drop(commit(plan, &volume, &mut Random::new(1)));
        let (volume, data) = (volume.power_cut(&mut rng), data.power_cut(&mut rng));
        let plan = look(&volume, &data, "new");
        let there = !volume.list().unwrap().is_empty();
        assert!(!there || !plan.steps.is_empty(), "{stop} {seed}: {:?}", volume.list());
    }
}

#[test]
fn what_a_log_that_was_about_to_begin_has_left_is_removed() {
    for dump in [false, true] {
        let (volume, data) = (MemVolume::default(), MemVolume::default());
        for file in ["1.s00.incr.aof", "2.s01.incr.aof", "3.cut.incr.aof", "4.base.rdb"] {
            volume.put(&format!("{NAME}.{file}"), b"*1\r\n");
        }
        if dump {
            data.put("dump.rdb", b"REDIS0011");
        }
        assert!(refusal(&volume, "new").contains("whose manifest"));
        volume.put(OPENING, b"");
        let plan = look(&volume, &data, "new");
        assert_eq!(plan.steps.len(), usize::from(dump));
        let started = commit(plan, &volume, &mut Random::new(1)).unwrap();
        let mut names: Vec<String> =
            started.manifest.lines.into_iter().map(|line| line.file).collect();
        names.push(manifest_name(NAME));
        names.sort_unstable();
        assert_eq!(volume.list().unwrap(), names);
        assert!(look(&volume, &data, "new").report.is_empty());
    }
}

#[test]
fn a_directory_of_redis_is_read_as_redis_reads_it() {
    let (volume, data) = (MemVolume::default(), MemVolume::default());
    let first = [&b"#TS:1\r\n"[..], &resp(&["SELECT", "1"]), &resp(&["RPUSH", "k", "0"])].concat();
    let multi = [resp(&["MULTI"]), resp(&["RPUSH", "k", "2"])].concat();
    let second = [resp(&["RPUSH", "k", "1"]), multi].concat();
    volume.put("a.base.aof", &first);
    volume.put("a.incr.aof", &second);
    let text = b"file a.base.aof seq 1 type b\nfile a.incr.aof seq 1 type i\n";
    volume.put(&manifest_name(NAME), text);
    let plan = look(&volume, &data, "new");
    let state = load(&plan, &volume, &data);
    assert_eq!((pushed(&state, "k").len(), state[&(1, "k".to_owned())].len()), (1, 1));
    let bad = volume.copy();
    bad.put("a.incr.aof", b"*1\r\nnonsense\r\n");
    let text = refusal(&bad, "new");
    assert!(
        text.starts_with("Bad file format reading the append only file a.incr.aof at offset 4")
    );
    let mut strict = options(&data, 1, "new");
    strict.load_truncated = false;
    let text = inspect(&volume, &strict).unwrap_err().to_string();
    assert!(text.starts_with("Unexpected end of file reading the append only file a.incr.aof at"));
    assert!(text.contains("ringstone check-aof --fix appendonly.aof.manifest. 2)"), "{text}");
    commit(plan, &volume, &mut Random::new(1)).unwrap();
    assert_eq!(load(&look(&volume, &data, "new"), &volume, &data), state);
}

/// What is damaged at the end of another server's last file is cut when it is short enough.
#[test]
fn a_corrupt_tail_of_another_server_is_cut_up_to_a_size() {
    let (volume, data) = (MemVolume::default(), MemVolume::default());
    let kept = resp(&["RPUSH", "k", "0"]);
    let open = [resp(&["MULTI"]), resp(&["RPUSH", "k", "1"]), b"nonsense\r\n".to_vec()].concat();
    volume.put("a.aof", &[&kept[..], &open].concat());
    volume.put(&manifest_name(NAME), b"file a.aof seq 1 type i\n");
    let mut options = options(&data, 1, "new");
    options.load_truncated = false;
    for short in [0, 1, open.len() as u64 - 1] {
        options.corrupt_tail_max = short;
        let text = inspect(&volume, &options).unwrap_err().to_string();
        assert!(text.starts_with("Bad file format"), "{text}");
    }
    options.corrupt_tail_max = open.len() as u64;
    let plan = inspect(&volume, &options).unwrap();
    assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0"]);
    commit(plan, &volume, &mut Random::new(1)).unwrap();
    assert_eq!(volume.read_all("a.aof").unwrap(), kept);
    assert_eq!(volume.read_all("a.aof.cut").unwrap(), open);
}

/// The same of our own files; and a torn end is refused when that is wanted.
#[test]
fn a_damaged_or_torn_tail_of_ours_is_cut_or_refused_as_told() {
    let mut log = LogFile::new(9, 0);
    for i in 0..4 {
        let all = log.pos;
        log.command(&["RPUSH", "k", &i.to_string()]).frame(all, all);
    }
    let second = log.borders[1].0 as usize;
    let behind = (log.bytes.len() - second) as u64;
    log.bytes[second + 50] ^= 4;
    let (volume, _) = directory(&[log, LogFile::new(4, 0)]);
    let data = MemVolume::default();
    let mut options = options(&data, 2, "new");
    options.corrupt_tail_max = behind - 1;
    let text = inspect(&volume, &options).unwrap_err().to_string();
    assert!(text.contains("damaged"), "{text}");
    options.corrupt_tail_max = behind;
    let plan = inspect(&volume, &options).unwrap();
    assert_eq!(pushed(&load(&plan, &volume, &data), "k"), ["0"]);
    assert!(plan.report.iter().any(|line| line.contains("corrupt-tail-max-size")));

    let (volume, _) = directory(&half_an_entry());
    options.load_truncated = false;
    let text = inspect(&volume, &options).unwrap_err().to_string();
    assert!(text.starts_with("Unexpected end of file reading the append only file "), "{text}");
    assert!(text.contains(".aof at offset ") && text.contains("'aof-load-truncated'"), "{text}");
    options.accept_damage = true;
    assert!(inspect(&volume, &options).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens to a file, what is kept is what was written, from the beginning.
    #[test]
    fn damage_never_changes_what_is_kept(
        frames in prop::collection::vec(prop::collection::vec(0..200usize, 1..4), 1..8),
        cut: Option<prop::sample::Index>,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 0..3),
        swap: Option<(prop::sample::Index, Vec<u8>)>,
    ) {
        let mut log = LogFile::new(0xfeed, 77);
        let mut values = Vec::new();
        for frame in &frames {
            for len in frame {
                let value = format!("{}:{}", values.len(), "v".repeat(*len));
                log.command(&["RPUSH", "k", &value]);
                values.push(value);
            }
            log.frame(77, 77);
        }
        let original = log.bytes.clone();
        if let Some(cut) = cut {
            log.bytes.truncate(cut.index(original.len() + 1));
        }
        for (at, bit) in flips {
            if !log.bytes.is_empty() {
                let at = at.index(log.bytes.len());
                log.bytes[at] ^= 1 << bit;
            }
        }
        if let Some((at, bytes)) = swap {
            let at = at.index(log.bytes.len() + 1);
            log.bytes.truncate(at);
            log.bytes.extend_from_slice(&bytes);
        }
        let same = original.iter().zip(&log.bytes).take_while(|(a, b)| a == b).count() as u64;
        let whole = log.borders.iter().rfind(|(offset, _)| *offset <= same).unwrap();
        let in_whole = log.borders.iter().zip(&frames).filter(|((at, _), _)| *at < whole.0);
        let commands: usize = in_whole.map(|(_, frame)| frame.len()).sum();
        let (volume, _) = directory(std::slice::from_ref(&log));
        let data = MemVolume::default();
        match inspect(&volume, &options(&data, 1, "new")) {
            Ok(plan) => {
                let kept = load(&plan, &volume, &data);
                prop_assert_eq!(&pushed(&kept, "k")[..], &values[..commands]);
                commit(plan, &volume, &mut Random::new(1)).unwrap();
                let again = load(&look(&volume, &data, "new"), &volume, &data);
                prop_assert_eq!(again, kept);
            }
            // Flipped bits may spell another version, and nothing else that is refused.
            Err(error) => prop_assert!(error.to_string().contains("newer version"), "{}", error),
        }
    }

    /// Crashes in the middle of making a cut permanent never change what is kept.
    #[test]
    fn any_cut_converges(seed: u64, shards in 1..5usize, tear in 0..60u64) {
        let mut rng = Random::new(seed);
        let mut logs = history(seed, shards);
        for log in &mut logs {
            let torn = rng.below(tear + 1).min(log.bytes.len() as u64) as usize;
            log.bytes.truncate(log.bytes.len() - torn);
        }
        let (mut volume, _) = directory(&logs);
        let data = MemVolume::default();
        let options = options(&data, shards, "new");
        let first = inspect(&volume, &options).unwrap();
        let want = load(&first, &volume, &data);
        for _ in 0..4 {
            volume.stop_after(rng.below(30));
            let plan = inspect(&volume, &options).unwrap();
            prop_assert_eq!(&load(&plan, &volume, &data), &want);
            let _ = commit(plan, &volume, &mut rng);
            volume = volume.power_cut(&mut rng);
        }
        let plan = inspect(&volume, &options).unwrap();
        prop_assert_eq!(&load(&plan, &volume, &data), &want);
        prop_assert!(plan.next_id >= first.next_id && plan.next_pos >= first.next_pos);
    }
}

#[test]
fn what_only_the_page_cache_held_is_durable_behind_the_commit() {
    let mut log = LogFile::new(1, 0);
    log.command(&["RPUSH", "k", "0"]).frame(0, 0);
    log.command(&["RPUSH", "k", "1"]).frame(0, 0);
    let (written, manifest) = directory(std::slice::from_ref(&log));
    let name = &written.list().unwrap()[0];
    for seed in 0..50 {
        let medium = SimMedium::new(seed);
        medium.write_synced(name, b"").unwrap();
        medium.write_synced(&manifest_name(NAME), &manifest.encode()).unwrap();
        medium.sync_dir().unwrap();
        let file = medium.open(name).unwrap();
        let data = log.bytes.clone();
        medium.disk().submit(1, DiskOp::Write { file, offset: 0, data, flush: Flush::No });
        medium.settle();
        medium.crash_process();
        let data = MemVolume::default();
        let plan = inspect(&medium, &options(&data, 1, "old")).unwrap();
        commit(plan, &medium, &mut Random::new(seed)).unwrap();
        medium.crash_power(&mut Random::new(seed));
        let plan = inspect(&medium, &options(&data, 1, "new")).unwrap();
        assert_eq!(pushed(&load(&plan, &medium, &data), "k"), ["0", "1"]);
    }
}
