//! One schedule: lives of a process, how they end, and how the next one recovers.

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use rustix::io::Errno;

use crate::base::clock::Now;
use crate::base::random::Random;
use crate::config::{Config, args, files, load};
use crate::keyspace::{Effects, Keyspace, Recency};
use crate::persist::aof::manifest::{manifest_name, temp_manifest_name};
use crate::persist::disk::Volume;
use crate::persist::durable;
use crate::persist::load::{Loading, load_shard, load_together, together_until};
use crate::persist::recovery::{self, Options, Plan, RecoveryError, Step};
use crate::persist::sim::{Fault, Names, On, SimMedium};
use crate::shard::sim::oracle::{Crash, Past};
use crate::shard::sim::probe::{self, Data};
use crate::shard::sim::tell;
use crate::shard::sim::world::World;

/// Figures of schedules that ran.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Processes started.
    pub lives: u64,
    /// Ended by a clean stop, a kill, a power cut, a failed flush.
    pub stops: u64,
    pub kills: u64,
    pub cuts: u64,
    pub failed_flushes: u64,
    /// Recoveries that died on the way.
    pub died_recovering: u64,
    /// Directories refused after a flush had failed.
    pub refused: u64,
    /// Steps executed, and replies delivered.
    pub steps: u64,
    pub replies: u64,
    /// Steps that a power cut took.
    pub lost: u64,
}

impl Totals {
    /// Adds another schedule's.
    pub fn add(&mut self, other: &Totals) {
        let Totals { lives, stops, kills, cuts, failed_flushes, .. } = other;
        self.lives += lives;
        self.stops += stops;
        self.kills += kills;
        self.cuts += cuts;
        self.failed_flushes += failed_flushes;
        self.died_recovering += other.died_recovering;
        self.refused += other.refused;
        self.steps += other.steps;
        self.replies += other.replies;
        self.lost += other.lost;
    }
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
    Power,
    /// The process ended itself, because what it wrote may be lost.
    FailedFlush,
}

impl End {
    fn crash(self) -> Crash {
        match self {
            End::Stop => Crash::Clean,
            End::Kill => Crash::Process,
            End::Power | End::FailedFlush => Crash::Power,
        }
    }
}

struct Schedule {
    random: Random,
    medium: SimMedium,
    /// The data directory, in which nothing lies.
    data: SimMedium,
    config: Config,
    shards: usize,
    boots: u64,
    now: Now,
    next_id: u64,
    /// A flush has failed in this life, or may yet, whether the process hears of it or not.
    flush_may_fail: bool,
    /// The same of the directory's flush.
    names_may_be_lost: bool,
    totals: Totals,
}

/// A recovery that has died; it may have got as far as its commit.
struct Attempt {
    seeds: Vec<u64>,
    data: Data,
}

/// Runs the schedule of a seed.
pub fn run(seed: u64) -> Totals {
    let mut random = Random::new(seed);
    let medium = SimMedium::new(random.next_u64());
    medium.set_names([Names::Prefix, Names::Subset][random.below(2) as usize]);
    let policy = ["always", "always", "everysec", "everysec", "no"][random.below(5) as usize];
    let shards = 1 + random.below(4) as usize;
    let mut schedule = Schedule {
        medium,
        data: SimMedium::new(0),
        config: config(policy),
        shards,
        boots: 0,
        now: Now { unix_us: 1_700_000_000_000_000, mono_us: 1_000_000 },
        next_id: 1,
        flush_may_fail: false,
        names_may_be_lost: false,
        totals: Totals::default(),
        random,
    };
    tell(|| format!("{policy}, {shards} shards"));
    schedule.all();
    schedule.totals
}

fn config(policy: &str) -> Config {
    let given = ["--databases", "3", "--save", "", "--appendfsync", policy];
    // What is slow is told by the machine's clock, which no seed repeats.
    let more = ["--slowlog-log-slower-than", "-1", "--enable-debug-command", "yes"];
    let events = ["--notify-keyspace-events", "KEAnm"];
    let given = given.iter().chain(&more).chain(&events);
    let given: Vec<OsString> = given.map(OsString::from).collect();
    let invocation = args::parse(&given).expect("options");
    let loaded = load::load(&invocation, Path::new("/"), &mut files::Files, &|_| false);
    loaded.expect("a configuration").config
}

impl Schedule {
    fn all(&mut self) {
        let mut past = None;
        for _ in 0..1 + self.random.below(3) {
            let mut world = self.recover(past.take());
            let end = self.live(&mut world);
            tell(|| format!("ended: {end:?}"));
            self.count(end);
            past = Some((self.bury(world), end));
            // What a directory's flush has not written cannot be told from what it has.
            let unknown = end == End::FailedFlush && self.names_may_be_lost;
            self.crash(end == End::Power || unknown);
        }
        drop(self.recover(past));
        probe::finish();
    }

    fn count(&mut self, end: End) {
        self.totals.lives += 1;
        *match end {
            End::Stop => &mut self.totals.stops,
            End::Kill => &mut self.totals.kills,
            End::Power => &mut self.totals.cuts,
            End::FailedFlush => &mut self.totals.failed_flushes,
        } += 1;
    }

    /// One life; gives how it ended.
    fn live(&mut self, world: &mut World) -> End {
        world.ids_from(self.next_id);
        self.flush_may_fail = false;
        self.names_may_be_lost = false;
        let faulty = self.random.one_in(3);
        if self.random.one_in(2) {
            self.medium.set_short_writes(2 + self.random.below(6));
        }
        for _ in 0..20 + self.random.below(600) {
            match self.random.below(100) {
                0..=17 => world.client_acts(&mut self.random),
                18..=69 if !world.some_phases(&mut self.random) => return End::FailedFlush,
                18..=69 => {}
                70..=93 => drop(self.medium.step()),
                94 => drop(self.medium.complete_some(&mut self.random)),
                95..=98 => self.pass(world),
                _ if faulty => self.fault(),
                _ => {}
            }
        }
        match self.random.below(8) {
            0 => self.stop(world),
            1..=3 if self.flush_may_fail => End::FailedFlush,
            1..=3 => End::Kill,
            _ => End::Power,
        }
    }

    /// Time passes.
    fn pass(&mut self, world: &mut World) {
        let us = match self.random.below(40) {
            0 => self.random.below(31_000_000),
            1..=8 => self.random.below(1_200_000),
            9..=20 => self.random.below(120_000),
            _ => self.random.below(2_000),
        };
        world.now.mono_us += us;
        world.now.unix_us += us as i64;
    }

    fn fault(&mut self) {
        if self.random.one_in(12) {
            let room = self.random.one_in(2).then(|| self.random.below(6000) as usize);
            tell(|| format!("room for {room:?}"));
            return self.medium.set_capacity(room);
        }
        let error = [Errno::IO, Errno::NOSPC][self.random.below(2) as usize];
        let on = match self.random.below(24) {
            0 => On::Sync,
            1 => On::SyncDir,
            2..=4 => On::Create,
            5..=7 => On::Rename,
            8 => On::Remove,
            _ => On::Write,
        };
        self.flush_may_fail |= matches!(on, On::Sync | On::SyncDir);
        self.names_may_be_lost |= on == On::SyncDir;
        self.medium.fail(on, 1 + self.random.below(4), Fault::Error(error));
        tell(|| format!("armed: {on:?} fails with {error}"));
    }

    fn stop(&mut self, world: &mut World) -> End {
        self.medium.disarm();
        self.medium.set_capacity(None);
        let Some(ends) = world.stop(&self.medium, &mut self.random) else {
            return End::FailedFlush;
        };
        let mut manifest = world.global().manifest().clone();
        manifest.seal(&ends, true);
        let name = world.global().append_filename();
        let (temp, name) = (temp_manifest_name(name), manifest_name(name));
        durable::replace(&self.medium, &temp, &name, &manifest.encode())
            .expect("no fault is armed");
        End::Stop
    }

    fn bury(&mut self, world: World) -> Past {
        self.medium.set_short_writes(0);
        self.medium.set_capacity(None);
        self.now = world.now;
        self.next_id = world.next_id();
        let durable = world.durable();
        let shards = world.shards();
        let (base, witness) = (world.base, world.witness);
        let always = self.config.appendfsync == crate::config::Flush::Always;
        let always = always && !witness.reconfigured;
        let tracker = probe::finish();
        self.totals.steps += tracker.steps.iter().map(Vec::len).sum::<usize>() as u64;
        self.totals.replies += witness.replies() as u64;
        assert_eq!(tracker.steps.len(), shards);
        Past { base, tracker, witness, durable, always }
    }

    fn crash(&mut self, power: bool) {
        if power {
            let loss = self.medium.crash_power(&mut self.random);
            self.boots += 1;
            tell(|| format!("{loss:?}"));
        } else {
            self.medium.crash_process();
        }
        self.now.unix_us += self.random.below(2_000_000) as i64;
        self.now.mono_us += self.random.below(2_000_000);
    }

    /// The next process: recovers, dying on the way now and then, and checks what it finds.
    fn recover(&mut self, past: Option<(Past, End)>) -> World {
        if self.random.one_in(3) {
            self.shards = 1 + self.random.below(4) as usize;
        }
        let mut crash = past.as_ref().map_or(Crash::Clean, |(_, end)| end.crash());
        let flush_failed = past.as_ref().is_some_and(|(_, end)| *end == End::FailedFlush);
        let past = past.map(|(past, _)| past);
        let mut attempts: Vec<Attempt> = Vec::new();
        loop {
            let boot = format!("boot-{}", self.boots);
            let (data, medium) = (self.data.clone(), self.medium.clone());
            let plan = self.inspect(&data, &boot, flush_failed);
            tell(|| format!("{plan:?}"));
            let spaces = self.load(&plan);
            let found: Data = spaces.iter().flat_map(|s| probe::data_of(s)).collect();
            let (seeds, ends) = last_generation(&plan);
            let committed = attempts.iter().find(|a| a.seeds == seeds).map(|a| &a.data);
            let wanted = match (committed, &past) {
                (Some(data), _) => data.clone(),
                (None, Some(past)) => {
                    self.totals.lost += past.lost(&ends);
                    tell(|| format!("{}kept {ends:?}", past.shown()));
                    past.judge(&ends, crash)
                }
                (None, None) => Data::new(),
            };
            compare(&found, &wanted);
            if self.random.one_in(4) {
                self.medium.die_after(self.random.below(40));
            }
            let mut seeds = Random::new(self.random.next_u64());
            let mut ahead = seeds.clone();
            match recovery::commit(plan, &medium, &mut seeds) {
                Ok(started) => {
                    self.medium.disarm();
                    let (config, now) = (&self.config, self.now);
                    let random = &mut self.random;
                    return World::start(&medium, config, &boot, spaces, started, now, random);
                }
                Err(error) => assert!(self.medium.is_dead(), "recovery fails: {error}"),
            }
            self.totals.died_recovering += 1;
            let seeds = (0..self.shards).map(|_| ahead.next_u64()).collect();
            attempts.push(Attempt { seeds, data: found });
            let power = self.random.one_in(2);
            tell(|| format!("died recovering, power cut: {power}"));
            crash = crash.max(if power { Crash::Power } else { Crash::Process });
            self.crash(power);
        }
    }

    fn inspect<'v>(&mut self, data: &'v SimMedium, boot: &'v str, failed: bool) -> Plan<'v> {
        self.medium.set_reads_past_cache(true);
        let mut options = Options {
            appendfilename: "appendonly.aof",
            dbfilename: "dump.rdb",
            shards: self.shards,
            boot_id: boot,
            load_truncated: true,
            data,
            accept_damage: false,
        };
        match recovery::inspect(&self.medium, &options) {
            Ok(plan) => plan,
            // Written, flushed in vain, and not there: what a human must look at.
            Err(error @ RecoveryError::Damaged { .. }) if failed => {
                self.totals.refused += 1;
                tell(|| format!("refused: {error}"));
                options.accept_damage = true;
                recovery::inspect(&self.medium, &options).expect("a human has accepted it")
            }
            Err(error) => {
                if let RecoveryError::Damaged { file, .. } = &error {
                    let bytes = self.medium.read_all(file).unwrap_or_default();
                    tell(|| format!("{}", bytes.escape_ascii()));
                }
                panic!("refused: {error}")
            }
        }
    }

    #[expect(clippy::vec_box, reason = "a keyspace travels in its box for all its life")]
    fn load(&mut self, plan: &Plan<'_>) -> Vec<Box<Keyspace>> {
        let seed = [self.random.next_u64(), self.random.next_u64()];
        let databases = self.config.databases;
        let space = |s| Some(Box::new(Keyspace::new(s, databases, seed, Effects::new(0, false))));
        let mut spaces: Vec<Option<Box<Keyspace>>> = (0..self.shards).map(space).collect();
        let loading = Loading {
            log: &self.medium,
            data: &self.data,
            shards: self.shards,
            now: self.now,
            string_max: self.config.proto_max_bulk_len,
            modules: Default::default(),
            shapes: self.config.shapes,
            progress: &AtomicU64::new(0),
            key_delay: 0,
        };
        let recency = Recency::new(self.config.noted, self.now.unix_s());
        spaces.iter_mut().flatten().for_each(|space| space.set_recency(recency));
        let first = together_until(&loading, &plan.steps).expect("it can be read");
        load_together(&loading, &plan.steps[..first], &mut spaces).expect("it can be loaded");
        for space in spaces.iter_mut().flatten() {
            load_shard(&loading, &plan.steps[first..], space).expect("it can be loaded");
        }
        spaces.into_iter().flatten().collect()
    }
}

/// Seeds and ends of the last generation's files, by shard.
fn last_generation(plan: &Plan<'_>) -> (Vec<u64>, Vec<u64>) {
    let files = plan.steps.iter().rev().find_map(|step| match step {
        Step::Generation { files, .. } => Some(&files[..]),
        _ => None,
    });
    let files = files.unwrap_or_default();
    assert!(files.is_sorted_by_key(|f| f.shard));
    files.iter().map(|f| (f.seed, f.end)).unzip()
}

fn compare(found: &Data, wanted: &Data) {
    let shown = |held: Option<&(Vec<u8>, Option<i64>)>| {
        held.map(|(value, at)| (String::from_utf8_lossy(value).into_owned(), *at))
    };
    for place in found.keys().chain(wanted.keys()) {
        let (have, want) = (found.get(place), wanted.get(place));
        let (db, key) = (place.0, String::from_utf8_lossy(&place.1));
        assert!(
            have == want,
            "db {db}, {key}: recovered {:?}, executed {:?}",
            shown(have),
            shown(want)
        );
    }
}
