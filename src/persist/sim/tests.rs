//! That every fault of the simulated medium really happens, and that nothing else does.

use super::*;
use crate::persist::disk::{Flush, Volume};

const EIO: Fault = Fault::Error(Errno::IO);

/// Submits one operation, lets it end, and gives its completion.
fn run(medium: &SimMedium, disk: &mut SimDisk, op: DiskOp) -> DiskDone {
    disk.submit(77, op);
    medium.settle();
    let mut done = disk.take_done();
    assert_eq!(done.len(), 1);
    let done = done.remove(0);
    assert_eq!(done.token, 77);
    done
}

fn create(medium: &SimMedium, disk: &mut SimDisk, path: &str) -> FileId {
    let done = run(medium, disk, DiskOp::Create { path: path.into() });
    done.result.unwrap().expect("a new file")
}

fn write(file: FileId, offset: u64, data: &[u8], sync: bool) -> DiskOp {
    let flush = if sync { Flush::File } else { Flush::No };
    DiskOp::Write { file, offset, data: data.to_vec(), flush }
}

/// A medium with one file `f`, its name durable.
fn one_file(seed: u64) -> (SimMedium, SimDisk, FileId) {
    let medium = SimMedium::new(seed);
    let mut disk = medium.disk();
    let file = create(&medium, &mut disk, "f");
    run(&medium, &mut disk, DiskOp::SyncDir).result.unwrap();
    (medium, disk, file)
}

/// How many of `rounds` seeds a condition holds for.
fn times(rounds: u64, condition: impl Fn(u64) -> bool) -> u64 {
    (0..rounds).filter(|&seed| condition(seed)).count() as u64
}

fn sometimes(condition: impl Fn(u64) -> bool) {
    let hits = times(400, condition);
    assert!(hits > 0 && hits < 400, "happened {hits} times of 400");
}

#[test]
fn what_is_flushed_survives_everything() {
    for seed in 0..200 {
        let (medium, mut disk, file) = one_file(seed);
        let data = vec![7u8; 3000];
        let done = run(&medium, &mut disk, write(file, 0, &data, true));
        assert!(done.result.is_ok() && !done.sync_failed);
        assert_eq!(done.data, data);
        medium.crash_power(&mut Random::new(seed));
        assert_eq!(medium.read_all("f").unwrap(), data);
    }
}

#[test]
fn a_process_crash_keeps_the_page_cache() {
    for seed in 0..100 {
        let (medium, mut disk, file) = one_file(seed);
        run(&medium, &mut disk, write(file, 0, b"cached", false)).result.unwrap();
        medium.crash_process();
        assert_eq!(medium.read_all("f").unwrap(), b"cached");
        disk.submit(1, DiskOp::SyncDir);
        assert_eq!(medium.in_flight(), 0, "the process is gone");
    }
}

#[test]
fn writes_in_flight_happen_wholly_partly_or_not() {
    let after = |seed| {
        let (medium, mut disk, file) = one_file(seed);
        disk.submit(1, write(file, 0, &[1u8; 2000], true));
        medium.crash_process();
        let data = medium.read_all("f").unwrap();
        assert!(data.iter().all(|&b| b == 1));
        data.len()
    };
    sometimes(|seed| after(seed) == 0);
    sometimes(|seed| after(seed) == 2000);
    sometimes(|seed| (1..2000).contains(&after(seed)));
}

#[test]
fn power_loses_keeps_tears_and_leaves_holes() {
    let crash = |seed| {
        let (medium, mut disk, file) = one_file(seed);
        run(&medium, &mut disk, write(file, 0, &[1u8; 4 * BLOCK], true)).result.unwrap();
        run(&medium, &mut disk, write(file, BLOCK as u64, &[2u8; 6 * BLOCK], false));
        let loss = medium.crash_power(&mut Random::new(seed));
        (loss, medium.read_all("f").unwrap())
    };
    let block = |data: &[u8], at: usize| data.get(at * BLOCK..(at + 1) * BLOCK).map(<[u8]>::to_vec);
    for seed in 0..400 {
        let (_, data) = crash(seed);
        assert!(data.len() == 4 * BLOCK || data.len() == 7 * BLOCK);
        assert_eq!(block(&data, 0).unwrap(), [1; BLOCK]);
    }
    sometimes(|seed| crash(seed).1.len() == 4 * BLOCK);
    sometimes(|seed| block(&crash(seed).1, 1).unwrap() == [1; BLOCK]);
    sometimes(|seed| block(&crash(seed).1, 1).unwrap() == [2; BLOCK]);
    // A later block survives an earlier one.
    sometimes(|seed| {
        let data = crash(seed).1;
        block(&data, 1).unwrap() == [1; BLOCK] && block(&data, 2).unwrap() == [2; BLOCK]
    });
    // Growth without data.
    sometimes(|seed| block(&crash(seed).1, 4).is_some_and(|b| b == [0; BLOCK]));
    sometimes(|seed| crash(seed).0.blocks.holes > 0);
    // Torn inside a block.
    sometimes(|seed| {
        let (loss, data) = crash(seed);
        let mixed = data.chunks(BLOCK).any(|b| b.windows(2).any(|w| w[0] != w[1]));
        assert!(!mixed || loss.blocks.torn == 1);
        mixed
    });
}

#[test]
fn an_older_content_of_a_block_may_survive() {
    let crash = |seed| {
        let (medium, mut disk, file) = one_file(seed);
        for n in 1..4u8 {
            run(&medium, &mut disk, write(file, 0, &[n; BLOCK], false)).result.unwrap();
        }
        medium.crash_power(&mut Random::new(seed));
        medium.read_all("f").unwrap().first().copied()
    };
    for content in [None, Some(0), Some(1), Some(2), Some(3)] {
        sometimes(|seed| crash(seed) == content);
    }
}

#[test]
fn operations_in_flight_happen_in_any_order() {
    let order = |seed| {
        let (medium, mut disk, file) = one_file(seed);
        disk.submit(1, write(file, 0, b"a", false));
        disk.submit(2, write(file, 0, b"b", false));
        medium.settle();
        let tokens: Vec<u64> = disk.take_done().iter().map(|d| d.token).collect();
        (tokens, medium.read_all("f").unwrap())
    };
    sometimes(|seed| order(seed).0 == [2, 1]);
    sometimes(|seed| order(seed).1 == b"a");
    // Reported in one order, carried out in the other.
    sometimes(|seed| order(seed) == (vec![1, 2], b"a".to_vec()));
    for seed in 0..20 {
        assert_eq!(order(seed), order(seed), "equal seeds, equal runs");
    }
}

#[test]
fn a_flush_covers_only_what_was_written_before_it() {
    let crash = |seed| {
        let (medium, mut disk, file) = one_file(seed);
        disk.submit(1, write(file, 0, b"late", false));
        disk.submit(2, DiskOp::Sync { file });
        medium.settle();
        assert_eq!(disk.take_done().len(), 2);
        medium.crash_power(&mut Random::new(seed));
        medium.read_all("f").unwrap() == b"late"
    };
    sometimes(crash);
}

#[test]
fn a_linked_flush_always_covers_its_write() {
    for seed in 0..200 {
        let (medium, mut disk, file) = one_file(seed);
        medium.set_short_writes(2);
        disk.submit(1, write(file, 0, &[9u8; 1500], true));
        while disk.take_done().is_empty() {
            assert!(medium.step());
        }
        medium.crash_power(&mut Random::new(seed));
        assert_eq!(medium.read_all("f").unwrap(), [9u8; 1500]);
    }
}

#[test]
fn names_need_a_flush_of_the_directory() {
    let crash = |seed, keeps| {
        let medium = SimMedium::new(seed);
        medium.set_names(keeps);
        medium.write_synced("old", b"1").unwrap();
        medium.sync_dir().unwrap();
        medium.write_synced("new", b"2").unwrap();
        medium.rename("new", "old").unwrap();
        medium.write_synced("other", b"3").unwrap();
        assert_eq!(medium.unsynced(), (0, 3));
        medium.crash_power(&mut Random::new(seed));
        let mut names: Vec<(String, Vec<u8>)> = Vec::new();
        for name in medium.list().unwrap() {
            let data = medium.read_all(&name).unwrap();
            names.push((name, data));
        }
        names
    };
    let file = |name: &str, data: &[u8]| (name.to_owned(), data.to_vec());
    let outcomes = [
        vec![file("old", b"1")],
        vec![file("new", b"2"), file("old", b"1")],
        vec![file("old", b"2")],
        vec![file("old", b"2"), file("other", b"3")],
    ];
    for seed in 0..400 {
        assert!(outcomes.contains(&crash(seed, Names::Prefix)));
    }
    for outcome in &outcomes {
        sometimes(|seed| crash(seed, Names::Prefix) == *outcome);
    }
    sometimes(|seed| crash(seed, Names::Subset) == [file("old", b"1"), file("other", b"3")]);
}

#[test]
fn a_failed_flush_is_not_made_good_by_the_next() {
    let crash = |seed, second| {
        let (medium, mut disk, file) = one_file(seed);
        medium.fail(On::Sync, 1, EIO);
        let done = run(&medium, &mut disk, write(file, 0, &[5u8; 2 * BLOCK], true));
        assert_eq!(done.result.unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
        assert!(done.sync_failed);
        assert_eq!(medium.read_all("f").unwrap(), [5u8; 2 * BLOCK], "the cache still shows it");
        if second {
            run(&medium, &mut disk, DiskOp::Sync { file }).result.unwrap();
        }
        let before = {
            medium.set_reads_past_cache(true);
            medium.read_all("f").unwrap()
        };
        medium.crash_power(&mut Random::new(seed));
        let after = medium.read_all("f").unwrap();
        assert!(!second || before == after, "a read past the cache tells the truth");
        after
    };
    for second in [false, true] {
        sometimes(|seed| crash(seed, second).first() == Some(&5));
        sometimes(|seed| crash(seed, second).get(..BLOCK) == Some(&[0u8; BLOCK]));
    }
}

#[test]
fn named_operations_fail_when_told_to() {
    let (medium, mut disk, file) = one_file(1);
    medium.fail(On::Create, 2, Fault::Error(Errno::NOSPC));
    create(&medium, &mut disk, "g");
    let failed = run(&medium, &mut disk, DiskOp::Create { path: "h".into() });
    assert_eq!(failed.result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    medium.fail_file(On::Write, "f", 1, EIO);
    let g = create(&medium, &mut disk, "i");
    assert!(run(&medium, &mut disk, write(g, 0, b"x", false)).result.is_ok());
    assert!(run(&medium, &mut disk, write(file, 0, b"x", false)).result.is_err());
    for (on, op) in [
        (On::Rename, DiskOp::Rename { from: "g".into(), to: "h".into() }),
        (On::Remove, DiskOp::Remove { path: "g".into() }),
        (On::SyncDir, DiskOp::SyncDir),
        (On::Sync, DiskOp::Sync { file }),
    ] {
        medium.fail(on, 1, EIO);
        assert!(run(&medium, &mut disk, op.clone()).result.is_err(), "{on:?}");
        assert!(run(&medium, &mut disk, op).result.is_ok() || on == On::Remove, "{on:?}");
    }
    medium.fail(On::Read, 1, EIO);
    assert!(medium.read_all("f").is_err());
    assert!(medium.read_all("f").is_ok());
    assert_eq!(medium.faults_left(), 0);
    assert_eq!(medium.count(On::Rename), 2);
}

#[test]
fn a_failed_write_may_have_written_a_part() {
    let left = |seed| {
        let (medium, mut disk, file) = one_file(seed);
        medium.fail(On::Write, 1, EIO);
        let done = run(&medium, &mut disk, write(file, 0, &[1; 1000], true));
        assert!(done.result.is_err() && !done.sync_failed);
        medium.len("f").unwrap()
    };
    sometimes(|seed| left(seed) > 500);
}

#[test]
fn a_full_disk_refuses_growth_only() {
    let (medium, mut disk, file) = one_file(3);
    medium.set_capacity(Some(1000));
    assert!(run(&medium, &mut disk, write(file, 0, &[1; 900], true)).result.is_ok());
    let full = run(&medium, &mut disk, write(file, 900, &[2; 200], true));
    assert_eq!(full.result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(medium.len("f").unwrap() <= 1000);
    assert!(run(&medium, &mut disk, write(file, 0, &[3; 900], true)).result.is_ok());
    medium.set_capacity(None);
    assert!(run(&medium, &mut disk, write(file, 900, &[2; 200], true)).result.is_ok());
    let g = create(&medium, &mut disk, "g");
    assert!(run(&medium, &mut disk, write(g, 0, &[2; 200], true)).result.is_ok());
}

#[test]
fn nothing_happens_while_frozen() {
    let (medium, mut disk, file) = one_file(4);
    medium.freeze();
    disk.submit(1, write(file, 0, b"x", true));
    medium.settle();
    assert!(disk.take_done().is_empty());
    assert_eq!(medium.remove("f").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    medium.thaw();
    medium.settle();
    assert_eq!(disk.take_done().len(), 1);
}

#[test]
fn bits_flip_and_lies_are_told() {
    let (medium, mut disk, file) = one_file(5);
    run(&medium, &mut disk, write(file, 0, b"abc", true)).result.unwrap();
    assert!(medium.flip_bit("f", 1, 0));
    assert!(!medium.flip_bit("f", 3, 0));
    assert!(!medium.flip_bit("g", 0, 0));
    medium.crash_power(&mut Random::new(0));
    assert_eq!(medium.read_all("f").unwrap(), b"acc");
    sometimes(|seed| {
        let (medium, mut disk, file) = one_file(seed);
        medium.fail(On::Sync, 1, Fault::Lie);
        assert!(run(&medium, &mut disk, write(file, 0, b"abc", true)).result.is_ok());
        medium.crash_power(&mut Random::new(seed));
        medium.len("f").unwrap() == 0
    });
}

#[test]
fn blocking_calls_die_at_any_effect() {
    let replace = |medium: &SimMedium| -> io::Result<()> {
        medium.write_synced("temp", &[2; 1500])?;
        medium.rename("temp", "f")?;
        medium.sync_dir()
    };
    let start = |seed| {
        let medium = SimMedium::new(seed);
        medium.write_synced("f", &[1; 1500]).unwrap();
        medium.sync_dir().unwrap();
        medium
    };
    let all = {
        let medium = start(0);
        let before = medium.effects();
        replace(&medium).unwrap();
        medium.effects() - before
    };
    assert_eq!(all, 5);
    for seed in 0..100 {
        for at in 0..=all {
            let medium = start(seed);
            medium.die_after(at);
            assert_eq!(replace(&medium).is_ok(), at == all);
            assert!(medium.is_dead());
            assert!(medium.list().is_err());
            medium.crash_power(&mut Random::new(seed));
            let data = medium.read_all("f").unwrap();
            assert!(data == [1; 1500] || data == [2; 1500], "a rename is atomic");
            assert!(at < all || data == [2; 1500]);
        }
    }
}

#[test]
fn a_duplicate_goes_its_own_way() {
    let (medium, mut disk, file) = one_file(6);
    disk.submit(1, write(file, 0, b"x", false));
    let other = medium.duplicate(7);
    other.crash_process();
    assert_eq!(medium.in_flight(), 1);
    medium.settle();
    assert_eq!(medium.read_all("f").unwrap(), b"x");
    assert_eq!(other.in_flight(), 0);
}

#[test]
fn cuts_come_back_only_when_their_flush_failed() {
    let crash = |seed, fails: bool| {
        let (medium, mut disk, file) = one_file(seed);
        run(&medium, &mut disk, write(file, 0, &[1; 1000], true)).result.unwrap();
        if fails {
            medium.fail(On::Sync, 1, EIO);
        }
        assert_eq!(medium.truncate("f", 100).is_err(), fails);
        assert_eq!(medium.len("f").unwrap(), 100);
        medium.crash_power(&mut Random::new(seed));
        medium.len("f").unwrap()
    };
    assert_eq!(times(100, |seed| crash(seed, false) == 100), 100);
    sometimes(|seed| crash(seed, true) == 1000);
}

#[test]
fn a_removed_file_comes_back_whole_even_after_two_crashes() {
    sometimes(|seed| {
        let medium = SimMedium::new(seed);
        medium.write_synced("f", b"here").unwrap();
        medium.remove("f").unwrap();
        medium.crash_process();
        assert!(medium.list().unwrap().is_empty());
        medium.crash_power(&mut Random::new(seed));
        let back = !medium.list().unwrap().is_empty();
        assert!(!back || medium.read_all("f").unwrap() == b"here");
        back
    });
}

#[test]
fn an_append_leaves_what_was_there() {
    let start = |seed| {
        let medium = SimMedium::new(seed);
        medium.write_synced("f", &[1; 700]).unwrap();
        medium.sync_dir().unwrap();
        medium
    };
    for seed in 0..100 {
        for at in 0..=2 {
            let medium = start(seed);
            medium.die_after(at);
            assert_eq!(medium.append_synced("f", &[2; 700]).is_ok(), at == 2);
            medium.crash_power(&mut Random::new(seed));
            let data = medium.read_all("f").unwrap();
            // The last block may be torn, but its old bytes are written over with themselves.
            assert_eq!(data[..700], [1; 700]);
            assert!(at < 2 || data[700..] == [2; 700]);
        }
    }
}
