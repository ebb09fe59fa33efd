//! A flush that fails, on shards without sockets over a disk that keeps what it is asked for.

use std::sync::Arc;

use rustix::io::Errno;

use crate::observe::backups::Phase;
use crate::persist::aof::manifest::{Manifest, manifest_name};
use crate::persist::disk::{Disk, DiskDone, DiskOp, FileId, Flush, Volume};
use crate::persist::recovery::inspect;
use crate::persist::rewrite::{Installed, install};
use crate::persist::sim::{Fault, On, SimDisk, SimMedium};
use crate::persist::testing::{MemVolume, NAME, load, options, resp};
use crate::shard::bounds_tests::{Bench, SHARDS};
use crate::shard::turning::Logging;

/// The files that the shards began with have their numbers.
const OLD: FileId = FileId(0);

/// A bench, and everything that its disks were asked for.
struct Trial {
    bench: Bench,
    asked: Vec<(usize, DiskOp)>,
    created: u32,
    /// Operations that fail once: whether this one does, and how.
    fails: Option<fn(&DiskOp) -> bool>,
    flush: bool,
    /// Operations that do not complete by themselves, and those that wait so.
    holds: Option<fn(&DiskOp) -> bool>,
    held: Vec<(usize, u64)>,
}

impl Trial {
    fn new(policy: &str) -> Trial {
        let bench = Bench::new(3, &[("appendfsync", policy)]);
        let (fails, holds, created) = (None, None, 100);
        Trial { bench, asked: Vec::new(), created, fails, flush: false, holds, held: Vec::new() }
    }

    /// One with a log of which a flush has failed, and a write that waited for it.
    fn broken() -> Trial {
        let mut trial = Trial::new("always");
        trial.fails = Some(|op| is_flush_of(op, OLD));
        trial.flush = true;
        trial.send(0, "SET k2 in-vain");
        trial.disk(0);
        trial
    }

    /// Completes what is with a shard's disk; gives how much that was.
    fn disk(&mut self, shard: usize) -> usize {
        let mut count = 0;
        while let Some((token, op)) = self.bench.disks[shard].waiting.pop_front() {
            count += 1;
            self.asked.push((shard, op.clone()));
            if self.holds.is_some_and(|holds| holds(&op)) {
                self.held.push((shard, token));
                continue;
            }
            let fails = self.fails.take_if(|fails| fails(&op)).is_some();
            let result = match (fails, &op) {
                (true, _) => Err(Errno::IO.into()),
                (_, DiskOp::Create { .. }) => {
                    self.created += 1;
                    Ok(Some(FileId(self.created)))
                }
                // Files are not opened past a page cache here.
                (_, DiskOp::Direct { .. }) => Err(Errno::INVAL.into()),
                _ => Ok(None),
            };
            let (data, written) = match op {
                DiskOp::Write { data, .. } => (data, true),
                _ => (Vec::new(), false),
            };
            let sync_failed = fails && written && self.flush;
            let done = DiskDone { token, result, data, sync_failed };
            self.bench.shards[shard].disk_done(done, &mut self.bench.disks[shard]);
        }
        count
    }

    /// Turns of all shards until nothing more happens, or for ever.
    fn goes_on(&mut self) {
        for _ in 0..60 {
            for shard in 0..SHARDS {
                self.bench.turn(shard, &[], true);
                self.disk(shard);
            }
        }
    }

    fn send(&mut self, client: usize, line: &str) {
        self.bench.turn(0, &[(client, format!("{line}\r\n").as_bytes())], true);
    }

    fn place(&self, what: impl Fn(&DiskOp) -> bool) -> Vec<usize> {
        let found = self.asked.iter().enumerate().filter(|(_, (_, op))| what(op));
        found.map(|(at, _)| at).collect()
    }
}

fn is_write_to(op: &DiskOp, to: FileId) -> bool {
    matches!(op, DiskOp::Write { file, .. } if *file == to)
}

fn is_flush_of(op: &DiskOp, of: FileId) -> bool {
    match op {
        DiskOp::Write { file, flush, .. } => *file == of && *flush != Flush::No,
        DiskOp::Sync { file } => *file == of,
        _ => false,
    }
}

/// `k2` lives on the first of two shards, `k0` on the second.
#[test]
fn what_was_flushed_in_vain_goes_on_in_another_file() {
    let mut trial = Trial::new("always");
    trial.send(0, "SET k2 durable");
    trial.goes_on();
    assert_eq!(trial.bench.told[0], b"+OK\r\n");
    let old_ends = trial.bench.shards[0].log.as_ref().unwrap().tight();
    trial.asked.clear();
    // The flush of this one fails; more waits behind it.
    trial.fails = Some(|op| is_flush_of(op, OLD));
    trial.flush = true;
    trial.send(1, "SELECT 5\r\nSET k2 in-vain");
    trial.send(1, "SET k2 queued");
    trial.disk(0);
    assert!(trial.bench.shards[0].log.as_ref().unwrap().is_broken());
    trial.send(2, "SET k2 refused");
    assert!(trial.bench.told[2].starts_with(b"-MISCONF Errors writing to the AOF file: Input"));
    // A key that waits for no write is read.
    trial.bench.told[2].clear();
    trial.send(2, "SELECT 7\r\nGET k2");
    for turn in 0..10 {
        trial.bench.turn(turn % SHARDS, &[], true);
    }
    assert_eq!(trial.bench.told[2], b"+OK\r\n$-1\r\n");
    // One turn after another, as far as the manifest's second flush of the directory.
    trial.bench.told[1].clear();
    while trial.place(|op| matches!(op, DiskOp::SyncDir)).len() < 2 {
        assert_eq!(trial.bench.told[1], b"", "told before the manifest is durable");
        let cut = trial.place(|op| matches!(op, DiskOp::Truncate { .. }));
        assert!(cut.is_empty(), "the old file is cut before the manifest is durable");
        for shard in 0..SHARDS {
            trial.bench.turn(shard, &[], true);
            let waiting = std::mem::take(&mut trial.bench.disks[shard].waiting);
            for op in waiting {
                trial.bench.disks[shard].waiting.push_back(op);
                trial.disk(shard);
            }
        }
    }
    trial.goes_on();
    assert_eq!(trial.bench.told[1], b"+OK\r\n+OK\r\n");
    let flushed = trial.place(|op| is_flush_of(op, OLD));
    assert_eq!(flushed.len(), 1, "the flush that failed is the last of the old file");
    assert_eq!(trial.place(|op| is_write_to(op, OLD)).len(), 1);
    check_tail(&trial, old_ends);
    trial.send(2, "SET k0 again");
    trial.goes_on();
    assert!(trial.bench.told[2].ends_with(b"+OK\r\n"), "service is back");
}

/// The tail holds what was in vain and what waited, the manifest names it and the end in front of
/// it, and the old file is cut there.
fn check_tail(trial: &Trial, old_ends: u64) {
    let written = |start: &[u8]| {
        let found = trial.asked.iter().find_map(|(_, op)| match op {
            DiskOp::Write { data, .. } if data.starts_with(start) => Some(data.clone()),
            _ => None,
        });
        found.expect("it is written")
    };
    let tail = String::from_utf8(written(b"#B 0:")).unwrap();
    assert!(tail.contains("in-vain") && tail.contains("queued") && !tail.contains("durable"));
    let bytes = written(b"#rs");
    let manifest = Manifest::parse(&bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(manifest.generation(), 2);
    assert!(text.contains(".tail.incr.aof"), "{text}");
    let cut = trial.asked.iter().any(
        |(_, op)| matches!(op, DiskOp::Truncate { file, len } if *file == OLD && *len == old_ends),
    );
    assert!(cut, "the old file is cut to what was durable, {old_ends}");
}

/// Under `everysec` what was written since the last flush is kept for the case that one fails.
#[test]
fn a_flush_once_a_second_that_fails_loses_nothing() {
    let mut trial = Trial::new("everysec");
    trial.send(0, "SELECT 5\r\nSET k2 flushed");
    trial.goes_on();
    trial.send(0, "SET k2 first");
    trial.goes_on();
    assert_eq!(trial.bench.told[0], b"+OK\r\n+OK\r\n+OK\r\n");
    let kept = trial.bench.shards[0].log.as_ref().unwrap().unflushed();
    assert!(kept > 0, "it is not durable yet");
    trial.fails = Some(|op| matches!(op, DiskOp::Sync { .. }));
    // Turns take a millisecond.
    for _ in 0..30 {
        trial.goes_on();
    }
    assert!(trial.fails.is_none(), "a flush has failed");
    let tails = trial.place(|op| match op {
        DiskOp::Write { data, .. } => {
            let selects = data.starts_with(b"*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n");
            selects && data.ends_with(b"first\r\n")
        }
        _ => false,
    });
    assert_eq!(tails.len(), 1, "what was in vain is written anew, in its database");
    trial.send(1, "SET k2 second");
    trial.goes_on();
    assert_eq!(trial.bench.told[1], b"+OK\r\n");
}

#[test]
fn what_the_disk_refuses_while_a_log_is_mended_is_tried_again() {
    let mut trial = Trial::broken();
    trial.fails = Some(|op| matches!(op, DiskOp::Create { .. }));
    for _ in 0..20 {
        trial.goes_on();
    }
    assert_eq!(trial.bench.told[0], b"+OK\r\n", "in the end it is durable");
    assert_eq!(trial.place(|op| is_flush_of(op, OLD)).len(), 1);
}

/// What a cut that is given up has made stays where the disk refuses to remove it: whoever comes
/// next needs other names.
#[test]
fn a_file_that_cannot_be_removed_is_in_nobodys_way() {
    let mut trial = Trial::broken();
    trial.fails = Some(|op| matches!(op, DiskOp::Create { .. }));
    while trial.fails.is_some() {
        for shard in 0..SHARDS {
            trial.bench.turn(shard, &[], true);
            trial.disk(shard);
        }
    }
    trial.fails = Some(|op| matches!(op, DiskOp::Remove { .. }));
    for _ in 0..20 {
        trial.goes_on();
    }
    assert!(trial.fails.is_none());
    assert_eq!(trial.bench.told[0], b"+OK\r\n", "in the end it is durable");
    let mut names: Vec<&str> = Vec::new();
    for (_, op) in &trial.asked {
        match op {
            DiskOp::Create { path } if path.contains(".incr.") => names.push(path),
            _ => {}
        }
    }
    let made = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), made, "{names:?}");
}

/// A file of a log that was turned off is cut behind the begin of the next one.
#[test]
fn what_is_cut_off_for_a_log_that_has_ended_is_not_the_next_ones() {
    let mut trial = Trial::broken();
    trial.holds = Some(|op| matches!(op, DiskOp::Truncate { .. }));
    trial.goes_on();
    assert_eq!((trial.bench.told[0].as_slice(), trial.held.len()), (&b"+OK\r\n"[..], 1));
    let log = trial.bench.shards[0].log.as_ref();
    assert!(log.is_some_and(|log| !log.is_tidy()), "its first file is being cut");
    trial.send(0, "CONFIG SET appendonly no");
    trial.goes_on();
    let shard = &mut trial.bench.shards[0];
    assert!(shard.log.is_none());
    let mut space = shard.space.take().unwrap();
    shard.begin_log(&mut space, 1_000, 7);
    shard.space = Some(space);
    for (shard, token) in trial.held.drain(..) {
        let done = DiskDone { token, result: Ok(None), data: Vec::new(), sync_failed: false };
        trial.bench.shards[shard].disk_done(done, &mut trial.bench.disks[shard]);
    }
    assert!(trial.bench.shards[0].log.as_ref().is_some_and(|log| log.is_tidy()));
}

/// The process was about to end when a log was about to begin, or a backup, and may go on.
#[test]
fn what_needs_a_rewrite_is_not_forgotten_for_an_end_that_fails() {
    let cases = [(Logging::Off, Phase::Idle, true), (Logging::On, Phase::Idle, false)];
    for (state, phase, again) in cases.into_iter().chain([(Logging::On, Phase::Pending, true)]) {
        let mut bench = Bench::new(1, &[("appendonly", "yes")]);
        let global = Arc::clone(&bench.shards[0].global);
        global.turning.set(state);
        global.registry.rewrites.schedule(true);
        global.registry.backups.now().phase = phase;
        global.ending.wish(false, None);
        assert!(bench.shards[0].begin_rewrite());
        assert!(!global.registry.saves.is_rewriting());
        assert_eq!(global.registry.rewrites.is_scheduled(), again, "{state:?} {phase:?}");
        assert_eq!(global.registry.backups.now().phase, phase);
    }
}

#[test]
#[should_panic(expected = "no more can be promised")]
fn a_second_flush_that_fails_ends_the_process() {
    let mut trial = Trial::broken();
    trial.fails = Some(|op| match op {
        DiskOp::Write { data, .. } => data.starts_with(b"#rs"),
        _ => false,
    });
    trial.goes_on();
}

/// Shards over a medium that can be loaded from.
struct Waiting {
    bench: Bench,
    medium: SimMedium,
    disks: Vec<SimDisk>,
}

impl Waiting {
    /// A log that waits for its base: no manifest names it.
    fn new(policy: &str) -> Waiting {
        let bench = Bench::new(3, &[("appendfsync", policy), ("aof-commit-method", "append")]);
        let medium = SimMedium::new(7);
        let global = &bench.shards[0].global;
        for (shard, line) in global.manifest().lines.iter().enumerate() {
            medium.write_synced(&line.file, b"").unwrap();
            assert_eq!(medium.open(&line.file).unwrap(), FileId(shard as u32));
        }
        global.turning.set(Logging::Waiting);
        let disks = (0..SHARDS).map(|_| medium.disk()).collect();
        Waiting { bench, medium, disks }
    }

    fn goes_on(&mut self) {
        for _ in 0..60 {
            for shard in 0..SHARDS {
                self.bench.turn(shard, &[], true);
                while let Some((token, op)) = self.bench.disks[shard].waiting.pop_front() {
                    self.disks[shard].submit(token, op);
                }
                self.medium.settle();
                for done in self.disks[shard].take_done() {
                    self.bench.shards[shard].disk_done(done, &mut self.bench.disks[shard]);
                }
            }
        }
    }

    fn send(&mut self, client: usize, line: &str) -> String {
        self.bench.turn(0, &[(client, format!("{line}\r\n").as_bytes())], true);
        self.goes_on();
        String::from_utf8(std::mem::take(&mut self.bench.told[client])).unwrap()
    }
}

/// A flush fails while the log waits for its base: it goes on in another file all the same, in the
/// manifest that is in memory alone, and the base is listed with everything that came behind it.
#[test]
fn a_log_that_waits_for_its_base_is_mended_in_memory() {
    for policy in ["always", "everysec"] {
        let mut waiting = Waiting::new(policy);
        let global = Arc::clone(&waiting.bench.shards[0].global);
        let first = global.manifest().lines[0].seq;
        assert_eq!(waiting.send(0, "RPUSH k2 kept"), ":1\r\n");
        waiting.medium.fail(On::Sync, 1, Fault::Error(Errno::IO));
        assert_eq!(waiting.send(0, "SELECT 5\r\nRPUSH k2 in-vain"), "+OK\r\n:1\r\n");
        // Turns take a millisecond; the flush of `everysec` comes within a second.
        (0..30).for_each(|_| waiting.goes_on());
        assert_eq!(waiting.medium.faults_left(), 0, "a flush has failed");
        assert!(!waiting.bench.shards[0].log.as_ref().unwrap().is_broken());
        assert_eq!(waiting.send(1, "RPUSH k0 there"), ":1\r\n");
        assert_eq!(waiting.send(2, "RPUSH k2 behind"), ":2\r\n");
        assert!(waiting.medium.len(&manifest_name(NAME)).is_err(), "nothing is listed yet");
        let listed = global.manifest().clone();
        assert_eq!(listed.generation(), 2);
        assert!(listed.lines.iter().any(|line| line.file.ends_with(".tail.incr.aof")));
        let base = [resp(&["SELECT", "0"]), resp(&["RPUSH", "base", "1"])].concat();
        waiting.medium.write_synced("temp-rewriteaof-bg-1.aof", &base).unwrap();
        let temp = "temp-rewriteaof-bg-1.aof";
        let done = install(&waiting.medium, NAME, temp, "aof", Some(first), &listed).unwrap();
        assert!(matches!(done, Installed::Done { durable: Ok(()), .. }), "{done:?}");
        let data = MemVolume::default();
        let plan = inspect(&waiting.medium, &options(&data, SHARDS, "boot")).unwrap();
        let state = load(&plan, &waiting.medium, &data);
        let held = |db, key: &str| state.get(&(db, key.to_owned())).cloned().unwrap_or_default();
        assert_eq!(held(0, "base"), ["1"]);
        assert_eq!(held(0, "k2"), ["kept", "behind"], "{policy}");
        assert_eq!(held(5, "k2"), ["in-vain"], "{policy}");
        assert_eq!(held(0, "k0"), ["there"]);
    }
}
