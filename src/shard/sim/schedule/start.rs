//! A start that finds a log: it recovers, dying on the way now and then, and what it finds is
//! compared with what was told.

use rustix::io::Errno;

use super::{End, Schedule, tell};
use crate::base::random::Random;
use crate::persist::disk::Volume;
use crate::persist::recovery::{self, Options, Plan, RecoveryError};
use crate::persist::sim::{Fault, On, SimMedium};
use crate::shard::sim::offsets;
use crate::shard::sim::oracle::{Crash, Past};
use crate::shard::sim::probe::{self, Data};
use crate::shard::sim::rewrites::{NAME, as_redis, count, nothing_is_left};
use crate::shard::sim::saves::{DUMP, compare, load};
use crate::shard::sim::world::{Start, World};

/// A recovery that has died; it may have got as far as its commit.
struct Attempt {
    seeds: Vec<u64>,
    data: Data,
}

impl Schedule {
    /// The next process: recovers, dying on the way now and then, and checks what it finds.
    pub(super) fn recover(&mut self, past: Option<(Past, End)>) -> World {
        if self.random.one_in(3) {
            self.shards = 1 + self.random.below(4) as usize;
        }
        if !self.config.appendonly {
            return self.load_dump(past);
        }
        let mut crash = past.as_ref().map_or(Crash::Clean, |(_, end)| end.crash());
        self.unsettled |= past.as_ref().is_some_and(|(p, end)| may_be_damaged(p, *end));
        let ended_on = past.as_ref().is_some_and(|(past, _)| past.ended_on());
        let past = past.map(|(past, _)| past);
        let mut attempts: Vec<Attempt> = Vec::new();
        loop {
            let boot = format!("boot-{}", self.boots);
            let data = self.saves.as_ref().expect("no process runs").medium.clone();
            let medium = self.medium.clone();
            let plan = self.inspect(&data, &boot, self.unsettled);
            tell(|| format!("{plan:?}"));
            let seed = [self.random.next_u64(), self.random.next_u64()];
            let shards = (self.shards, seed);
            let spaces = load(&medium, &data, &self.config, shards, self.now, &plan.steps);
            let found: Data = spaces.iter().flat_map(|s| probe::data_of(s)).collect();
            let (seeds, ends) = offsets::last_generation(&plan);
            let committed = attempts.iter().find(|a| a.seeds == seeds).map(|a| &a.data);
            let wanted = match (committed, &past) {
                (Some(data), _) => data.clone(),
                (None, Some(past)) => {
                    if attempts.is_empty() && past.has_one_log() {
                        let safe = crash != Crash::Power || past.always;
                        offsets::check(&plan, &ends, crash, safe, self.unsettled);
                    }
                    self.wanted(past, (&seeds, &ends), crash, &found)
                }
                (None, None) => Data::new(),
            };
            compare(&found, &wanted, "recovered", "executed");
            if crash == Crash::Clean && attempts.is_empty() && ended_on {
                let plain = as_redis(&self.medium, &self.config).expect("there is a manifest");
                compare(&plain, &found, "Redis reads behind a stop", "recovered");
            }
            if self.random.one_in(4) {
                self.medium.die_after(self.random.below(40));
            }
            let mut seeds = Random::new(self.random.next_u64());
            let mut ahead = seeds.clone();
            match recovery::commit(plan, &medium, &mut seeds) {
                Ok(started) => {
                    self.settle();
                    nothing_is_left(&medium);
                    tell(|| "made permanent".to_owned());
                    let plain = as_redis(&medium, &self.config).expect("there is a manifest");
                    compare(&plain, &found, "Redis reads behind a start", "recovered");
                    let (config, now) = (&self.config, self.now);
                    let random = &mut self.random;
                    let saves = self.saves.take().expect("no process runs");
                    let disks = (&medium, saves);
                    let start = Start { config, boot_id: &boot, turns: self.turns, older: None };
                    return World::start(disks, start, spaces, started, now, random);
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

    /// The process starts, and whatever was the matter with its log is over.
    fn settle(&mut self) {
        self.medium.disarm();
        self.unsettled = false;
    }

    pub(super) fn inspect<'v>(
        &mut self,
        data: &'v SimMedium,
        boot: &'v str,
        failed: bool,
    ) -> Plan<'v> {
        self.medium.set_reads_past_cache(true);
        // A disk that cannot be read is no reason to change anything on it.
        let armed = self.random.one_in(12);
        if armed {
            self.medium.fail(On::Read, 1 + self.random.below(8), Fault::Error(Errno::IO));
        }
        let mut options = Options::plain(NAME, "dump.rdb", self.shards, boot, data);
        let mut found = recovery::inspect(&self.medium, &options);
        if let (Err(error), 0, true) = (&found, self.medium.faults_left(), armed) {
            self.totals.unreadable += 1;
            // Of two reasons to refuse, either may be told.
            let damaged = failed && matches!(error, RecoveryError::Damaged { .. });
            let told = damaged || error.to_string().contains("os error");
            assert!(told, "an error of the disk is {error}");
            found = recovery::inspect(&self.medium, &options);
        }
        self.medium.disarm();
        match found {
            Ok(plan) => plan,
            // Written, flushed in vain, and not there: what a human must look at.
            Err(error @ RecoveryError::Damaged { .. }) if failed => {
                self.totals.refused += 1;
                tell(|| format!("refused: {error}"));
                options.accept_damage = true;
                recovery::inspect(&self.medium, &options).expect("a human has accepted it")
            }
            // A copy of a dump whose name was flushed in vain. Nobody but a human throws it away.
            Err(RecoveryError::Damaged { file, .. }) if flushed_in_vain(data, &file) => {
                count(&mut self.totals.counts, "copies without their dump");
                self.medium.remove(&file).and_then(|()| self.medium.sync_dir()).expect("it goes");
                recovery::inspect(&self.medium, &options).expect("nothing else is there")
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
}

/// Whether this may be all that is left of a dump of which SAVE has said that it may be lost.
fn flushed_in_vain(data: &SimMedium, file: &str) -> bool {
    let failed = data.struck_so_far().contains_key("SyncDir fails");
    failed && file.ends_with(".1.base.rdb") && data.len(DUMP).is_err()
}

/// Whether something may be missing that was written: flushed in vain.
pub(super) fn may_be_damaged(past: &Past, end: End) -> bool {
    let ended = past.tracker.eras.iter().any(|era| era.over.is_some());
    end == End::FailedFlush || past.flush_may_fail && ended
}
