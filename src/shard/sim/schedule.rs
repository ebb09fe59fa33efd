//! One schedule: lives of a process, how they end, and how the next one recovers.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::base::clock::Now;
use crate::base::random::Random;
use crate::config::{Config, args, files, load};
use crate::persist::aof::ends::{self, LogEnd};
use crate::persist::aof::manifest::{Manifest, manifest_name};
use crate::persist::disk::Volume;
use crate::persist::recovery::Started;
use crate::persist::sim::{BLOCK, Fault, Names, On, SimMedium};
use crate::shard::sim::oracle::{Crash, Past};
use crate::shard::sim::probe::{self, Data};
use crate::shard::sim::rewrites::{Counts, NAME, count};
use crate::shard::sim::saves::{Figures, Saves, compare, load};
use crate::shard::sim::schedule::start::may_be_damaged;
use crate::shard::sim::turns::Stand;
use crate::shard::sim::waiters::Waiters;
use crate::shard::sim::world::{Start, World};
use crate::shard::sim::{number, offsets, tell};
use crate::shard::turning::forsake;
use crate::value::table::SPLIT_AT;

mod start;

/// Figures of schedules that ran.
#[derive(Clone, Debug, Default)]
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
    /// Looks at a directory that could not be read.
    pub unreadable: u64,
    /// Steps executed, and replies delivered.
    pub steps: u64,
    pub replies: u64,
    /// Steps that a power cut took.
    pub lost: u64,
    /// Lives that ended with a last snapshot, and those in which it failed.
    pub saved_stops: u64,
    pub kept_on: u64,
    /// Snapshots.
    pub saves: Figures,
    /// Rewrites, backups, switches, faults, and deaths in operations.
    pub counts: Counts,
    /// In how many schedules each of these happened.
    pub schedules: Counts,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { lives, stops, kills, cuts, failed_flushes, .. } = self;
        writeln!(f, "{lives} lives: {stops} clean stops, {kills} kills, {cuts} power cuts,")?;
        writeln!(f, "  {failed_flushes} failed flushes; {} were asked for", self.saved_stops)?;
        let Totals { died_recovering, refused, unreadable, kept_on, .. } = self;
        writeln!(f, "  behind a last snapshot, {kept_on} went on behind one that failed")?;
        writeln!(f, "{died_recovering} recoveries died; {refused} directories were refused")?;
        writeln!(f, "  behind a failed flush, {unreadable} could not be read at first")?;
        let Totals { steps, replies, lost, saves, .. } = self;
        writeln!(f, "{steps} steps, {replies} replies; {lost} steps not found again")?;
        writeln!(f, "{saves:?}")?;
        writeln!(f, "what has happened: how often, and in how many schedules")?;
        for (name, n) in &self.counts {
            let schedules = self.schedules.get(name).copied().unwrap_or_default();
            writeln!(f, "{n:>9} {schedules:>8}  {name}")?;
        }
        Ok(())
    }
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
        self.unreadable += other.unreadable;
        self.steps += other.steps;
        self.replies += other.replies;
        self.lost += other.lost;
        self.saved_stops += other.saved_stops;
        self.kept_on += other.kept_on;
        self.saves.add(&other.saves);
        self.add_counts(&other.counts);
        for (name, _) in other.counts.iter().filter(|(_, n)| **n > 0) {
            count(&mut self.schedules, name);
        }
    }

    fn add_counts(&mut self, counts: &Counts) {
        for (name, n) in counts {
            *self.counts.entry(name.clone()).or_default() += n;
        }
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
    /// The log is turned on and off, and a process may start without one.
    turns: bool,
    medium: SimMedium,
    /// The data directory; with the process while one runs.
    saves: Option<Saves>,
    config: Config,
    shards: usize,
    boots: u64,
    now: Now,
    next_id: u64,
    /// A flush has failed in this life, or may yet, whether the process hears of it or not.
    flush_may_fail: bool,
    /// The same of the directory's flush.
    names_may_be_lost: bool,
    /// The process may go on behind that.
    lives_on: bool,
    /// A log that may lack what was flushed in vain was left as it is by lives without one.
    unsettled: bool,
    /// What is being done for rewrites is a good moment to die.
    deadly: bool,
    totals: Totals,
}

/// Runs the schedule of a seed.
pub fn run(seed: u64) -> Totals {
    let mut random = Random::new(seed);
    // What is written as one.
    let block = [BLOCK, 8 * BLOCK][random.below(2) as usize];
    let medium = SimMedium::with_blocks(random.next_u64(), block);
    medium.set_names([Names::Prefix, Names::Subset][random.below(2) as usize]);
    // Drawn aside: the other half of the seeds do what they did.
    medium.set_calm(seed.is_multiple_of(2).then(|| Random::new(seed.rotate_left(32))));
    let policy = ["always", "always", "everysec", "everysec", "no"][random.below(5) as usize];
    let shards = 1 + random.below(4) as usize;
    let method = ["append", "segment"][Random::new(!seed).below(2) as usize];
    let turns = random.one_in(3);
    let log = turns || random.below(5) > 0;
    let points = if random.one_in(4) { "1 4" } else { "" };
    let kept = ["1500", "8000", "64mb"][random.below(3) as usize];
    let rewrite = Rewrite {
        plain: random.one_in(3),
        growth: ["0", "0", "40", "100"][random.below(4) as usize],
    };
    let config = config(policy, method, log, points, kept, rewrite);
    let usual = SPLIT_AT.get();
    let splits_at = [6, 6, 20, usual][random.below(4) as usize];
    let saves = Saves::new(&config, &mut random);
    let mut schedule = Schedule {
        turns,
        medium,
        saves: Some(saves),
        config,
        shards,
        boots: 0,
        now: Now { unix_us: 1_700_000_000_000_000, mono_us: 1_000_000 },
        next_id: 1,
        flush_may_fail: false,
        names_may_be_lost: false,
        lives_on: false,
        unsettled: false,
        deadly: false,
        totals: Totals::default(),
        random,
    };
    tell(|| {
        format!(
            "{policy}, {method}, {shards} shards, log {log}, turns {turns}, blocks of {block}, \
             save points {points:?}"
        )
    });
    SPLIT_AT.set(splits_at);
    schedule.all();
    SPLIT_AT.set(usual);
    let saves = schedule.saves.expect("no process runs");
    let mut totals = schedule.totals;
    totals.saves = saves.figures;
    totals.add_counts(&saves.rewrites.counts);
    totals.add_counts(&schedule.medium.struck_so_far());
    totals.add_counts(&Counts::from([(format!("schedules with blocks of {block}"), 1)]));
    totals
}

/// What rewrites of the log are told.
struct Rewrite {
    /// The base consists of commands.
    plain: bool,
    /// `auto-aof-rewrite-percentage`
    growth: &'static str,
}

fn config(
    policy: &str,
    method: &str,
    log: bool,
    points: &str,
    kept: &str,
    rewrite: Rewrite,
) -> Config {
    let log = if log { "yes" } else { "no" };
    let given =
        ["--databases", "3", "--save", points, "--appendfsync", policy, "--appendonly", log];
    // Values become structures early.
    let packed =
        ["hash", "set", "zset"].map(|kind| [format!("--{kind}-max-listpack-entries"), "6".into()]);
    let nodes = ["--list-max-listpack-size", "4", "--set-max-intset-entries", "6"];
    // What is slow is told by the machine's clock, which no seed repeats.
    let more = ["--slowlog-log-slower-than", "-1", "--enable-debug-command", "yes"];
    let events = ["--notify-keyspace-events", "KEAnm", "--snapshot-buffer-limit", kept];
    let preamble = if rewrite.plain { "no" } else { "yes" };
    let method = ["--aof-commit-method", method, "--aof-use-rdb-preamble", preamble];
    let growth = ["--auto-aof-rewrite-percentage", rewrite.growth];
    let growth = growth.iter().chain(&["--auto-aof-rewrite-min-size", "3000"]);
    let more = more.iter().chain(&method).chain(growth);
    let given =
        given.iter().chain(more).chain(&events).chain(&nodes).map(|text| (*text).to_owned());
    let given = given.chain(packed.into_iter().flatten());
    let given: Vec<OsString> = given.map(OsString::from).collect();
    let invocation = args::parse(&given).expect("options");
    let loaded = load::load(&invocation, Path::new("/"), &mut files::Files, &|_| false);
    loaded.expect("a configuration").config
}

impl Schedule {
    fn all(&mut self) {
        let mut past = None;
        for _ in 0..1 + self.random.below(3) {
            if self.turns {
                let log = ["yes", "yes", "no"][self.random.below(3) as usize];
                self.set_log(log);
            }
            let mut world = self.recover(past.take());
            let names = || self.medium.struck_so_far().get("SyncDir fails").copied();
            let before = names();
            let mut end = self.live(&mut world);
            let names = || self.medium.struck_so_far().get("SyncDir fails").copied();
            if names() > before {
                end = End::FailedFlush;
            }
            if end != End::Stop {
                world.died_at(&mut self.totals.counts);
            }
            tell(|| format!("ended: {end:?}"));
            self.count(end);
            past = Some((self.bury(world), end));
            // What a directory's flush has not written cannot be told from what it has.
            let unknown = end == End::FailedFlush && self.names_may_be_lost;
            self.crash(end == End::Power || unknown);
        }
        if self.turns {
            self.set_log("yes");
        }
        let world = self.recover(past);
        self.saves = Some(world.saves);
        probe::finish();
    }

    /// Whether the next process is to have a log.
    fn set_log(&mut self, appendonly: &str) {
        let pairs: [(&[u8], &[u8]); 1] = [(b"appendonly", appendonly.as_bytes())];
        self.config = self.config.changed(&pairs, true).expect("it can be set");
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
        self.lives_on = self.random.one_in(2);
        let faulty = self.random.one_in(3);
        if self.random.one_in(2) {
            self.medium.set_short_writes(2 + self.random.below(6));
        }
        let longest = [600, 1000, 2400][self.random.below(3) as usize];
        let zeal = [3, 12, 100][self.random.below(3) as usize];
        let brisk = [4, 10, 1000][self.random.below(3) as usize];
        self.deadly = self.random.one_in(4);
        let steps = 20 + self.random.below(longest);
        // How often the writer comes to its turn, and when a last snapshot is asked for.
        let diligence = [1, 5, 20, 60][self.random.below(4) as usize];
        let flaky = self.random.one_in(3);
        let ends_at = self.random.one_in(5).then(|| self.random.below(steps));
        let dies_at = self.random.one_in(3).then(|| self.random.below(steps));
        for step in 0..steps {
            if ends_at == Some(step) {
                world.wish_end();
            }
            if dies_at == Some(step) {
                self.die_in_an_operation();
            }
            match self.random.below(100 + diligence) {
                0..=17 => world.client_acts(&mut self.random),
                18..=69 if !world.some_phases(&mut self.random) => return End::FailedFlush,
                18..=69 => {}
                70..=93 => drop(self.medium.step()),
                94 => drop(self.medium.complete_some(&mut self.random)),
                95..=98 => self.pass(world),
                99 if flaky && self.random.one_in(2) => self.fault_of_saves(&world.saves.medium),
                99 if faulty => self.fault(),
                99 => {}
                _ if self.random.one_in(3) => drop(world.saves.step(world.now)),
                _ => self.thread_step(world),
            }
            if self.random.one_in(zeal) && !self.medium.is_dead() {
                self.thread_step(world);
            }
            if self.random.one_in(brisk) && !self.medium.is_dead() {
                self.medium.complete_some(&mut self.random);
                if !world.round(&mut self.random) {
                    return End::FailedFlush;
                }
            }
            if let Some(end) = self.is_over(world) {
                return end;
            }
            if world.has_stopped() {
                return self.stop(world);
            }
        }
        match self.random.below(8) {
            0 => {
                if self.random.one_in(2) {
                    world.wish_end();
                }
                self.stop(world)
            }
            1..=3 if self.flush_may_fail => End::FailedFlush,
            1..=3 => End::Kill,
            _ => End::Power,
        }
    }

    /// Whether the process has died, or does so at a good moment.
    fn is_over(&mut self, world: &World) -> Option<End> {
        if self.medium.is_dead() {
            return Some(self.died());
        }
        if self.names_may_be_lost && !self.lives_on && self.medium.struck(On::SyncDir) {
            return Some(End::FailedFlush);
        }
        if self.deadly && world.cuts() && self.random.one_in(150) {
            count(&mut self.totals.counts, "deaths while the log is cut");
            return Some(self.died());
        }
        // A file that has its name, of which nobody has been told.
        if world.saves.is_untold() && self.random.one_in(30) {
            return Some(match self.random.below(3) {
                0 if self.flush_may_fail => End::FailedFlush,
                0 => End::Kill,
                _ => End::Power,
            });
        }
        None
    }

    /// A step of a thread that waits for the disk of the log; the process may die in it.
    fn thread_step(&mut self, world: &mut World) {
        let dies = self.random.one_in(if self.deadly { 40 } else { 1000 });
        if dies {
            self.medium.die_after(self.random.below(12));
        }
        world.thread_step(&self.medium, &mut self.random);
        if dies && self.medium.is_dead() {
            count(&mut self.totals.counts, "deaths within a step of a thread");
        } else if dies {
            self.medium.live_on();
        }
    }

    /// The process will die in the middle of one of the next operations of some kind.
    fn die_in_an_operation(&mut self) {
        let kinds = [
            On::Create,
            On::Write,
            On::Sync,
            On::Rename,
            On::SyncDir,
            On::SyncDir,
            On::Remove,
            On::Link,
        ];
        let on = kinds[self.random.below(kinds.len() as u64) as usize];
        tell(|| format!("armed: dies in {on:?}"));
        self.medium.fail(on, 1 + self.random.below(4), Fault::Die);
    }

    /// The process has died in the middle of something.
    fn died(&mut self) -> End {
        if let Some(on) = self.medium.died_in() {
            count(&mut self.totals.counts, &format!("deaths in {on:?}"));
        }
        for on in self.medium.flying() {
            count(&mut self.totals.counts, &format!("deaths with {on:?} in flight"));
        }
        match self.random.below(3) {
            0 if self.flush_may_fail => End::FailedFlush,
            0 => End::Kill,
            _ => End::Power,
        }
    }

    /// Time passes; now and then the disk of the log hangs for some of it.
    fn pass(&mut self, world: &mut World) {
        match self.random.below(60) {
            0 => self.medium.freeze(),
            1..=12 => self.medium.thaw(),
            _ => {}
        }
        let us = match self.random.below(40) {
            0 => self.random.below(31_000_000),
            1..=8 => self.random.below(1_200_000),
            9..=20 => self.random.below(120_000),
            _ => self.random.below(2_000),
        };
        world.now.mono_us += us;
        world.now.unix_us += us as i64;
    }

    /// The same where snapshots are written.
    fn fault_of_saves(&mut self, data: &SimMedium) {
        if self.random.one_in(6) {
            let room = self.random.one_in(2).then(|| self.random.below(9000) as usize);
            tell(|| format!("room for {room:?} where snapshots are"));
            return data.set_capacity(room);
        }
        let error = [Errno::IO, Errno::NOSPC][self.random.below(2) as usize];
        let kinds =
            [On::Create, On::Write, On::Write, On::Sync, On::Rename, On::SyncDir, On::Remove];
        let on = kinds[self.random.below(kinds.len() as u64) as usize];
        data.fail(on, 1 + self.random.below(3), Fault::Error(error));
        tell(|| format!("armed where snapshots are: {on:?} fails with {error}"));
    }

    fn fault(&mut self) {
        if self.random.one_in(12) {
            let room = self.random.one_in(2).then(|| self.random.below(6000) as usize);
            tell(|| format!("room for {room:?}"));
            return self.medium.set_capacity(room);
        }
        let error = [Errno::IO, Errno::NOSPC][self.random.below(2) as usize];
        let on = match self.random.below(30) {
            0..=5 if flushes_fail() => On::Sync,
            6..=7 if flushes_fail() => On::SyncDir,
            8..=10 => On::Create,
            11..=13 => On::Rename,
            14 => On::Remove,
            15 => On::Link,
            _ => On::Write,
        };
        count(&mut self.totals.counts, &format!("faults armed: {on:?}"));
        self.flush_may_fail |= matches!(on, On::Sync | On::SyncDir);
        self.names_may_be_lost |= on == On::SyncDir;
        self.medium.fail(on, 1 + self.random.below(4), Fault::Error(error));
        tell(|| format!("armed: {on:?} fails with {error}"));
    }

    fn stop(&mut self, world: &mut World) -> End {
        self.medium.disarm();
        self.medium.thaw();
        self.medium.set_capacity(None);
        if self.random.one_in(2) {
            world.saves.medium.disarm();
            world.saves.medium.set_capacity(None);
        }
        let Some(ends) = world.stop(&self.medium, &mut self.random) else {
            return End::FailedFlush;
        };
        if !self.config.appendonly && !self.turns {
            return End::Stop;
        }
        let threads = |this: &mut Schedule, world: &mut World| {
            while this.random.below(4) > 0 && world.thread_step(&this.medium, &mut this.random) {}
        };
        threads(self, world);
        world.global().seal_manifest();
        if self.random.one_in(8) {
            self.medium.die_after(self.random.below(8));
        }
        let sealed = match world.global().turning.is_on() {
            true => self.seal(world, &ends),
            false => Ok(()),
        };
        forsake(world.global());
        if sealed.is_err() {
            assert!(self.medium.is_dead(), "no fault is armed");
            count(&mut self.totals.counts, "deaths in a clean stop");
            return self.died();
        }
        threads(self, world);
        if self.medium.is_dead() {
            return self.died();
        }
        self.medium.live_on();
        End::Stop
    }

    /// As the server records where each log ended.
    fn seal(&self, world: &World, ends: &[(u64, u64)]) -> io::Result<()> {
        let manifest = world.global().manifest().clone();
        let end = |(shard, &(pos, sum)): (usize, &(u64, u64))| {
            let len = world.tight(shard).expect("it has a log");
            (shard, LogEnd { pos, sum, len })
        };
        let ends: Vec<_> = ends.iter().enumerate().map(end).collect();
        let name = world.global().append_filename();
        ends::seal(&self.medium, name, manifest, &ends, &|text| tell(|| text.to_owned()))?;
        for file in self.medium.list()? {
            assert_eq!(self.medium.room_behind(&file)?, 0, "{file} keeps room behind a clean stop");
        }
        Ok(())
    }

    fn bury(&mut self, mut world: World) -> Past {
        self.medium.set_short_writes(0);
        self.totals.kept_on += world.kept_on;
        self.totals.saved_stops += u64::from(world.ended_saved());
        world.saves.leave();
        world.saves.rewrites.leave();
        self.medium.set_capacity(None);
        self.now = world.now;
        self.next_id = world.next_id();
        offsets::end(&world);
        let durable = world.durable();
        let shards = world.shards();
        let elements = world.waiters.as_mut().map(Waiters::end);
        let (base, mut witness) = (world.base, world.witness);
        self.totals.add_counts(&world.ledger.counts);
        self.totals.add_counts(&std::mem::take(&mut witness.counts));
        world.saves.medium.set_capacity(None);
        self.saves = Some(world.saves);
        let always = self.config.appendfsync == crate::config::Flush::Always;
        let always = always && !witness.is_reconfigured();
        let tracker = probe::finish();
        self.totals.steps += tracker.steps.iter().map(Vec::len).sum::<usize>() as u64;
        self.totals.replies += witness.replies() as u64;
        assert_eq!(tracker.steps.len(), shards);
        let (stands, flush_may_fail) = (world.ledger.stands, self.flush_may_fail);
        Past { base, tracker, witness, durable, always, elements, stands, flush_may_fail }
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
        let saves = self.saves.as_mut().expect("no process runs");
        saves.crash(power, &mut self.random, self.now);
        saves.rewrites.behind_crash(&self.medium, &self.config);
    }

    /// The next process where there is no log: it has what the file has.
    fn load_dump(&mut self, past: Option<(Past, End)>) -> World {
        let older = past.and_then(|(past, end)| self.peek(&past, end));
        let saves = self.saves.take().expect("no process runs");
        let seed = [self.random.next_u64(), self.random.next_u64()];
        let (steps, shards) = (saves.steps(), (self.shards, seed));
        let spaces = load(&self.medium, &saves.medium, &self.config, shards, self.now, &steps);
        let found: Data = spaces.iter().flat_map(|s| probe::data_of(s)).collect();
        compare(&found, saves.standing(), "loaded", "the file had");
        let started = Started { files: Vec::new(), next_id: 1, manifest: Manifest::default() };
        let (config, medium, now) = (&self.config, &self.medium, self.now);
        let boot = format!("boot-{}", self.boots);
        let start = Start { config, boot_id: &boot, turns: self.turns, older };
        World::start((medium, saves), start, spaces, started, now, &mut self.random)
    }

    /// What a start with a log would find, where the next one has none: it stays as it is.
    fn peek(&mut self, past: &Past, end: End) -> Option<Data> {
        self.medium.write_back();
        if !self.turns || self.medium.len(&manifest_name(NAME)).is_err() {
            let none = |stand: &Stand| matches!(stand, Stand::Older(None));
            assert!(!self.turns || past.stands.iter().any(none), "the log is gone");
            return None;
        }
        let data = self.saves.as_ref().expect("no process runs").medium.clone();
        let (boot, medium) = (format!("boot-{}", self.boots), self.medium.clone());
        self.unsettled |= may_be_damaged(past, end);
        let plan = self.inspect(&data, &boot, self.unsettled);
        let shards = (self.shards, [self.random.next_u64(), self.random.next_u64()]);
        let spaces = load(&medium, &data, &self.config, shards, self.now, &plan.steps);
        let found: Data = spaces.iter().flat_map(|s| probe::data_of(s)).collect();
        let (seeds, ends) = offsets::last_generation(&plan);
        let wanted = self.wanted(past, (&seeds, &ends), end.crash(), &found);
        compare(&found, &wanted, "would be recovered", "executed");
        Some(found)
    }

    /// What must be found where the last files have these seeds and ends.
    fn wanted(
        &mut self,
        past: &Past,
        (seeds, ends): (&[u64], &[u64]),
        crash: Crash,
        found: &Data,
    ) -> Data {
        if let Some(era) = past.era_of(seeds) {
            self.totals.lost += past.lost(era, ends);
            tell(|| format!("{}log {era}, kept {ends:?}", past.shown()));
            return past.judge(era, ends, crash);
        }
        tell(|| format!("{}no log of this process is found: {:?}", past.shown(), past.stands));
        count(&mut self.totals.counts, "starts that found no log of the process before");
        let saves = self.saves.as_ref().expect("no process runs");
        let stands = past.stands.iter().filter_map(|stand| match stand {
            Stand::Older(Some(data)) | Stand::Base(data) => Some(data),
            Stand::Older(None) => Some(saves.standing()),
            Stand::Era(_) => None,
        });
        let stands: Vec<&Data> = stands.collect();
        let last = stands.last().expect("a log is found, or what was there before it");
        (*stands.iter().find(|data| **data == found).unwrap_or(last)).clone()
    }
}

/// Whether a flush may fail, and the process with it.
fn flushes_fail() -> bool {
    number("RINGSTONE_SIM_FLUSH_FAULTS") != Some(0)
}
