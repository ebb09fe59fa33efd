//! A log written ahead, on the simulated disk: whatever a crash leaves of the blocks in flight,
//! what was acknowledged is read again, in order and whole, by us and as Redis reads.

use super::*;
use crate::base::random::Random;
use crate::persist::aof::manifest::{Manifest, manifest_name};
use crate::persist::aof::resp::PlainReader;
use crate::persist::disk::Volume;
use crate::persist::recovery::{Options, Step, commit, inspect};
use crate::persist::sim::{Fault, On, SimDisk, SimMedium};
use crate::persist::testing::{load, resp};
use crate::shard::log::{FsyncPolicy, LogFile, LogWriter, Outcome};
use rustix::io::Errno;

const NAME: &str = "appendonly.aof";

fn options<'v>(data: &'v SimMedium, boot_id: &'v str) -> Options<'v> {
    Options::plain(NAME, "", 1, boot_id, data)
}

/// A log of one shard on a medium, and what was told of it.
struct Bench {
    medium: SimMedium,
    disk: SimDisk,
    log: LogWriter,
    file: String,
    /// Position behind each command.
    ends: Vec<u64>,
    now_us: u64,
    /// What a turn takes: one of these, in microseconds.
    turns_us: Vec<u64>,
    said: Vec<String>,
}

impl Bench {
    fn new(seed: u64, policy: FsyncPolicy) -> Bench {
        let (medium, data) = (SimMedium::new(seed), SimMedium::new(0));
        let plan = inspect(&medium, &options(&data, "boot")).unwrap();
        let started = commit(plan, &medium, &mut Random::new(seed)).unwrap();
        let file = &started.files[0];
        let id = medium.open(&file.file).unwrap();
        let begun = LogFile { id, seed: file.seed, sum: file.seed, offset: 0 };
        let mut log = LogWriter::new(policy, begun, file.start, 0);
        log.set_segment(true);
        let (disk, file) = (medium.disk(), file.file.clone());
        let (ends, said, turns_us) = (Vec::new(), Vec::new(), vec![200]);
        Bench { medium, disk, log, file, ends, now_us: 0, turns_us, said }
    }

    fn push(&mut self, len: usize) {
        let value = format!("{}:{}", self.ends.len(), "x".repeat(len));
        self.log.gather(resp(&["RPUSH", "k", &value]));
        self.ends.push(self.log.gathered());
    }

    fn turn(&mut self) {
        self.now_us += self.turns_us[self.ends.len() % self.turns_us.len()];
        for done in self.disk.take_done() {
            if done.token == token::CLOSE {
                continue;
            }
            match self.log.done(done, self.now_us) {
                Outcome::Broken(error) => panic!("{error}"),
                Outcome::Said(text) => self.said.push(text),
                _ => {}
            }
        }
        self.log.advance(u64::MAX);
        self.log.pump(&mut self.disk, self.now_us);
    }

    /// Turns until everything is written and nothing is under way.
    fn rest(&mut self) {
        for round in 0.. {
            self.medium.settle();
            self.now_us += 100_000;
            self.turn();
            if self.log.is_clean() && self.medium.in_flight() == 0 {
                return;
            }
            assert!(round < 1000, "never at rest: {:?}", self.log);
        }
    }

    fn acknowledged(&self) -> usize {
        self.ends.iter().take_while(|end| **end <= self.log.release()).count()
    }
}

/// What a crashed medium holds, after recovery has cut it; also read as Redis reads.
fn recover(medium: &SimMedium, boot: &str, what: &str) -> Vec<String> {
    let data = SimMedium::new(0);
    let plan = inspect(medium, &options(&data, boot));
    let plan = plan.unwrap_or_else(|error| panic!("{what}: {error}"));
    let state = load(&plan, medium, medium);
    commit(plan, medium, &mut Random::new(5)).unwrap();
    let manifest = Manifest::parse(&medium.read_all(&manifest_name(NAME)).unwrap()).unwrap();
    for line in &manifest.lines {
        let mut reader = PlainReader::open(medium, &line.file, 0, u64::MAX).unwrap();
        while reader.next_command().unwrap_or_else(|e| panic!("{what}: {e}")).is_some() {}
    }
    state.get(&(0, "k".to_owned())).cloned().unwrap_or_default()
}

/// What was kept is the beginning of what was sent, and all that was acknowledged.
fn judge(kept: &[String], acknowledged: usize, what: &str) {
    for (n, value) in kept.iter().enumerate() {
        assert!(value.starts_with(&format!("{n}:")), "{what}: {value:.20} is number {n}");
    }
    let kept = kept.len();
    assert!(kept >= acknowledged, "{what}: {kept} kept, {acknowledged} acknowledged");
}

fn some_length(random: &mut Random) -> usize {
    match random.below(12) {
        0 => random.below(30_000) as usize,
        1 => 4_000 + random.below(200) as usize,
        2..=4 => random.below(5_000) as usize,
        _ => random.below(60) as usize,
    }
}

/// One life with crashes tried from it after every few effects of the disk.
fn crash_everywhere(seed: u64, policy: FsyncPolicy) {
    let random = &mut Random::new(seed);
    let mut bench = Bench::new(seed, policy);
    bench.medium.set_short_writes(random.below(2) * 6);
    if seed % 2 == 1 {
        // Commits so uneven that flushes behind writes are tried all the time.
        bench.turns_us = vec![100, 30_000, 40_000, 35_000, 200, 150];
    }
    for step in 0..150 {
        if random.one_in(3) {
            bench.push(some_length(random));
        }
        match random.below(60) {
            0 => bench.log.set_segment(random.one_in(3)),
            1 => bench.log.set_segment(true),
            2 => bench.medium.fail(On::Write, 1, Fault::Error(Errno::NOSPC)),
            _ => {}
        }
        bench.turn();
        for _ in 0..random.below(4) {
            bench.medium.step();
        }
        if step % 3 != 0 {
            continue;
        }
        let power = policy == FsyncPolicy::Always && random.one_in(2);
        let what = format!("seed {seed}, step {step}, power {power}");
        // What has been reported counts once the log has heard of it.
        let acknowledged = bench.acknowledged();
        let copy = bench.medium.duplicate(random.next_u64());
        if power {
            copy.crash_power(random);
        } else {
            copy.crash_process();
        }
        let boot = if power { "next" } else { "boot" };
        judge(&recover(&copy, boot, &what), acknowledged, &what);
    }
    bench.medium.disarm();
    bench.rest();
    assert_eq!(bench.acknowledged(), bench.ends.len());
    let all = bench.ends.len();
    bench.medium.crash_process();
    assert_eq!(recover(&bench.medium, "boot", "at rest").len(), all);
}

#[test]
fn a_crash_at_any_moment_keeps_what_was_acknowledged() {
    for seed in 0..20 {
        crash_everywhere(seed, FsyncPolicy::Always);
        crash_everywhere(seed, FsyncPolicy::EverySec);
    }
}

/// A bench with this many commits, all at rest.
fn at_rest(commits: usize) -> Bench {
    let mut bench = Bench::new(9, FsyncPolicy::Always);
    for _ in 0..commits {
        bench.push(100);
        bench.rest();
    }
    bench
}

#[test]
fn commits_go_over_blocks_that_are_there() {
    let mut bench = at_rest(3);
    let (len, size) = (bench.medium.len(&bench.file).unwrap(), bench.log.file().offset);
    assert!(len >= size + (32 << 10), "{len} bytes hold {size}");
    bench.push(100);
    bench.rest();
    assert!(bench.log.file().offset <= len, "nothing had to grow for it");
    let said = &bench.said;
    assert!(said.is_empty() && bench.log.is_segment() && bench.log.stats().filler > 0, "{said:?}");
    // A kill leaves nothing torn, and a start cuts the filler off.
    bench.medium.crash_process();
    let data = SimMedium::new(0);
    let plan = inspect(&bench.medium, &options(&data, "boot")).unwrap();
    assert!(plan.report.is_empty() && plan.is_whole(), "{:?}", plan.report);
    assert!(matches!(&plan.steps[..], [Step::Generation { .. }]));
    commit(plan, &bench.medium, &mut Random::new(1)).unwrap();
    assert_eq!(bench.medium.len(&bench.file).unwrap(), bench.log.tight());
    assert!(!bench.medium.list().unwrap().iter().any(|f| f.ends_with(".cut")));
}

#[test]
fn what_cannot_be_written_ahead_grows() {
    // A file system that knows no such writes; one that is full; a device that refuses a block.
    for case in 0..3 {
        let mut bench = at_rest(usize::from(case == 2) * 3 + 1);
        bench.said.clear();
        match case {
            0 => {
                bench = Bench::new(9, FsyncPolicy::Always);
                bench.medium.set_plain(true);
            }
            1 => {
                bench = Bench::new(9, FsyncPolicy::Always);
                bench.medium.fail(On::Write, 2, Fault::Error(Errno::NOSPC));
            }
            _ => bench.medium.fail(On::Write, 1, Fault::Error(Errno::INVAL)),
        }
        for _ in 0..6 {
            bench.push(3_000);
            bench.rest();
        }
        assert_eq!(bench.acknowledged(), bench.ends.len(), "case {case}");
        assert_eq!(bench.said.len(), 1, "case {case}: {:?}", bench.said);
        assert!(!bench.log.is_segment() && !bench.log.is_failing());
        let all = bench.ends.len();
        bench.medium.crash_power(&mut Random::new(3));
        assert_eq!(recover(&bench.medium, "next", "grown").len(), all, "case {case}");
    }
}

/// Filler tells nothing, but it is known what it must be.
#[test]
fn filler_that_has_changed_is_seen_where_a_log_goes_on_behind_it() {
    let bench = at_rest(4);
    let bytes = bench.medium.read_all(&bench.file).unwrap();
    let heads: Vec<usize> = memchr::memmem::find_iter(&bytes, "#R1 ").collect();
    assert_eq!(heads.len(), 4);
    bench.medium.crash_process();
    let data = SimMedium::new(0);
    for (at, refused) in [
        (heads[2] - 700, true),
        (heads[3] - 1, true),
        (heads[3] + 4000, false),
        (heads[2] + 30, true),
    ] {
        let copy = bench.medium.duplicate(1);
        assert!(copy.flip_bit(&bench.file, at as u64, 1));
        for boot in ["boot", "next"] {
            let found = inspect(&copy, &options(&data, boot));
            assert_eq!(found.is_err(), refused, "offset {at}: {found:?}");
        }
        if !refused {
            assert_eq!(recover(&copy, "next", "filler flipped").len(), 4);
        }
    }
}

/// What goes on in another file leaves no filler behind.
#[test]
fn a_file_that_ends_is_cut_to_its_end() {
    let mut bench = at_rest(3);
    bench.log.begin_cut(0);
    while !(bench.log.hold(&mut bench.disk, bench.now_us) && bench.log.is_drained()) {
        bench.medium.settle();
        bench.turn();
    }
    bench.medium.write_synced("next", b"").unwrap();
    let id = bench.medium.open("next").unwrap();
    let (old, end, position) = (bench.file.clone(), bench.log.tight(), bench.log.appended() + 1);
    bench.log.resume(LogFile { id, seed: 3, sum: 3, offset: 0 }, position);
    bench.push(10);
    bench.rest();
    assert_eq!(bench.medium.len(&old).unwrap(), end);
    assert!(bench.medium.len("next").unwrap() > 8 << 10, "and the next is written ahead");
}

#[test]
fn a_segment_must_be_clearly_faster() {
    let of = |append_us, segment_us| Costs { append_us, segment_us }.prefers_segment();
    assert!(of(400, 100) && of(400, 320) && !of(400, 321) && !of(100, 400));
    assert!(!of(2, 1), "memory is no disk");
}

#[test]
fn a_file_that_was_flushed_in_vain_is_cut_before_all_is_tidy() {
    let (mut ahead, mut disk) = (Ahead::default(), crate::shard::bounds_tests::Stalled::default());
    assert!(ahead.is_tidy());
    ahead.next_file(FileId(1), 100, true);
    assert!(!ahead.is_tidy());
    ahead.tidy(&mut disk);
    assert!(!ahead.is_tidy() && disk.waiting.len() == 1);
    // The next one ends before this one has been cut.
    ahead.next_file(FileId(2), 100, true);
    ahead.tidy(&mut disk);
    assert_eq!(ahead.shortened(Ok(None)), None);
    assert!(!ahead.is_tidy());
    assert!(ahead.shortened(Err(std::io::Error::other("no"))).is_some_and(|s| s.ends_with("no")));
    assert!(ahead.is_tidy());
}
