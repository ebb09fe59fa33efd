//! Rewrites and backups in the simulator: their threads step by step, and what must hold of their
//! files.
//!
//! 1. A base that the manifest names is what all shards held at the moment of its rewrite, no key
//!    more or less, and is so from the rename of the manifest on.
//! 2. A sealed backup, read as Redis reads a log, is what all shards held at the moment of its
//!    SEAL; so it is behind every crash, and once SEAL has been answered it is there until CLEANUP
//!    removes it.
//! 3. Behind a start the log, read as Redis reads it, is what we read ([`as_redis`]), and nothing
//!    lies there that the manifest does not name ([`nothing_is_left`]).
//!
//! Threads are a rewrite's writer, whose steps are those of `Writer::step`, and the one that runs
//! errands one after another. Each may find the disk dead in the middle of a step.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::clock::Now;
use crate::base::random::Random;
use crate::config::Config;
use crate::observe::backups::Phase;
use crate::persist::aof::manifest::{FileType, Manifest, manifest_name};
use crate::persist::backup::{Leftovers, leftovers};
use crate::persist::disk::Volume;
use crate::persist::recovery::{Place, Step, Tail};
use crate::persist::sim::SimMedium;
use crate::shard::errand::Errand;
use crate::shard::global::Global;
use crate::shard::sim::probe::{self, Data};
use crate::shard::sim::saves::{compare, load};
use crate::shard::sim::tell;
use crate::shard::sim::turns::Ledger;
use crate::shard::snapshot::writer::Writer;

/// `appendfilename` of all schedules.
pub const NAME: &str = "appendonly.aof";
/// The directory of backups.
pub const SHELF: &str = "backup";

/// What is counted, by name.
pub type Counts = BTreeMap<String, u64>;

const INSTALLED: &str = "rewrites installed";
/// What the server says of what is counted here, and under which name it is.
const SAID: &[(&str, &str)] = &[
    ("Background append only file rewriting started", "rewrites begun"),
    ("Starting automatic rewriting", "of these by themselves"),
    ("Background AOF rewrite terminated with success", INSTALLED),
    ("given up: the log has begun anew", "rewrites superseded"),
    ("given up: the old files stay", "rewrites given up"),
    ("Background AOF rewrite terminated with error", "rewrites failed"),
    ("go over to new files for a rewrite", "cuts of rewrites taken back"),
    ("go over to new files for a backup", "cuts of seals taken back"),
    ("History files stay", "history that stayed"),
    ("Backup started", "backups begun"),
    ("Backup sealed", "backups sealed"),
    ("The backup cannot be sealed", "seals refused by the disk"),
    ("Backup aborted", "backups aborted"),
    ("Writing the log ahead failed", "files that could not be written ahead"),
    ("AOF write error looks solved", "writes that worked again"),
];

struct Rewriter {
    writer: Writer,
    moment: Data,
}

/// What has been begun and waits for its thread.
#[derive(Default)]
struct Queue {
    begun: Vec<Rewriter>,
    errands: VecDeque<Errand>,
    counts: Counts,
}

/// The threads of one process, and what is known of the files of all.
pub struct Rewrites {
    queue: Arc<Mutex<Queue>>,
    rewriters: Vec<Rewriter>,
    /// What a sealed backup must be; it is there.
    sealed: Option<Data>,
    /// Somebody may have been told so: from here on no crash takes it.
    is_told: bool,
    /// What one may be of which nobody has been told.
    may_be: Vec<Data>,
    /// What has happened, over all processes.
    pub counts: Counts,
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one more.
pub fn count(counts: &mut Counts, name: &str) {
    match counts.get_mut(name) {
        Some(n) => *n += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

impl Rewrites {
    /// None yet.
    pub fn new() -> Rewrites {
        Rewrites {
            queue: Arc::default(),
            rewriters: Vec::new(),
            sealed: None,
            is_told: false,
            may_be: Vec::new(),
            counts: Counts::new(),
        }
    }

    /// A new process: gives what its errands, its writers of bases and its words go to.
    pub fn start(&mut self) -> Doors {
        self.queue = Arc::default();
        self.rewriters.clear();
        Doors(Arc::clone(&self.queue))
    }

    /// A step of some thread; false when there is none.
    pub fn step(
        &mut self,
        medium: &SimMedium,
        global: &Global,
        ledger: &mut Ledger,
        random: &mut Random,
    ) -> bool {
        let errand = {
            let mut queue = lock(&self.queue);
            let alone = queue.begun.iter().filter(|begun| begun.writer.is_alone());
            alone.for_each(|begun| ledger.begins_alone(begun.moment.clone()));
            self.rewriters.append(&mut queue.begun);
            let first = self.rewriters.is_empty() || random.one_in(3);
            if first { queue.errands.pop_front() } else { None }
        };
        if let Some(errand) = errand {
            self.expect(global);
            errand();
        } else if !self.rewriters.is_empty() {
            let chosen = random.below(self.rewriters.len() as u64) as usize;
            let Rewriter { writer, moment } = &mut self.rewriters[chosen];
            let before = base_of(&global.manifest());
            let installed = || lock(&self.queue).counts.get(INSTALLED).copied();
            let successes = installed();
            let over = writer.step(medium);
            if writer.is_alone() && installed() > successes && !medium.is_dead() {
                ledger.is_done_alone(moment);
            }
            let base = base_of(&global.manifest());
            if !medium.is_dead() && base.is_some() && base != before {
                look_at_base(medium, global, moment);
                count(&mut self.counts, "bases compared");
            }
            if over {
                self.rewriters.swap_remove(chosen);
            }
        } else {
            return false;
        }
        if !medium.is_dead() {
            self.look_at_backup(medium, global);
        }
        true
    }

    /// An errand may seal a backup of the last moment, or remove one.
    fn expect(&mut self, global: &Global) {
        let moment = probe::with(|t| t.seals.last().cloned()).flatten();
        if global.registry.backups.now().sealing {
            self.may_be.extend(moment);
        }
        self.may_be.extend(self.sealed.take());
    }

    fn look_at_backup(&mut self, medium: &SimMedium, global: &Global) {
        if global.registry.backups.phase() != Phase::Sealed {
            return;
        }
        // One that was sealed stays so while another errand runs.
        let moment = self.may_be.last().or(self.sealed.as_ref()).cloned();
        let moment = moment.expect("a backup was sealed of no moment");
        if self.sealed.is_none() {
            let found = sealed_set(medium, &global.config()).expect("a sealed backup");
            compare(&found, &moment, "the backup has", "the moment of SEAL had");
            count(&mut self.counts, "sealed backups read");
        }
        (self.sealed, self.is_told) = (Some(moment), true);
        self.may_be.clear();
    }

    /// Counts what was being rewritten when the process died.
    pub fn died_at(&self, counts: &mut Counts) {
        for rewriter in &self.rewriters {
            let at = rewriter.writer.stage();
            count(counts, &format!("deaths while a rewrite {at}"));
        }
    }

    /// The process has ended.
    pub fn leave(&mut self) {
        self.rewriters.clear();
        let mut queue = std::mem::take(&mut *lock(&self.queue));
        queue.errands.clear();
        for (name, n) in queue.counts {
            *self.counts.entry(name).or_default() += n;
        }
    }

    /// Behind a crash: looks at the backup.
    pub fn behind_crash(&mut self, medium: &SimMedium, config: &Config) {
        let left = leftovers(&medium.shelf(SHELF), NAME).expect("it can be read");
        if !matches!(left, Leftovers::Sealed { .. }) {
            let taken = self.sealed.take();
            let gone = taken.is_some() && self.is_told;
            assert!(!gone, "a sealed backup is gone, left are {left:?}");
            // One that was removed comes back with a loss of power before that is flushed.
            self.may_be.extend(taken);
            return;
        }
        let found = sealed_set(medium, config).expect("a sealed backup");
        let wanted = match self.sealed.take() {
            Some(sealed) => vec![sealed],
            None => {
                // Nobody but the process that died knows of it.
                self.is_told = false;
                std::mem::take(&mut self.may_be)
            }
        };
        if !wanted.contains(&found) {
            let wanted = wanted.last().expect("a backup was sealed of no moment");
            compare(&found, wanted, "the backup has", "the moment of SEAL had");
        }
        self.sealed = Some(found);
        self.may_be.clear();
        count(&mut self.counts, "sealed backups read behind a crash");
    }

    /// A process that has taken over what is in the directory knows of the backup.
    pub fn adopted(&mut self, global: &Global) {
        let phase = global.registry.backups.phase();
        self.is_told = self.sealed.is_some();
        assert_eq!(phase == Phase::Sealed, self.is_told, "a backup is {phase:?}");
    }
}

/// A base has just got into its place.
fn look_at_base(medium: &SimMedium, global: &Global, moment: &Data) {
    let mut alone = global.manifest().clone();
    alone.lines.retain(|line| line.kind == FileType::Base);
    let found = read(medium, &alone, &global.config());
    compare(&found, moment, "the base has", "the moment had");
    tell(|| format!("a base is in its place, {} keys", found.len()));
}

fn base_of(manifest: &Manifest) -> Option<String> {
    let base = manifest.lines.iter().find(|line| line.kind == FileType::Base);
    base.map(|line| line.file.clone())
}

/// What a process hands over to its threads.
#[derive(Clone)]
pub struct Doors(Arc<Mutex<Queue>>);

impl Doors {
    /// The writer of a base begins.
    pub fn rewriter(&self, writer: Writer) {
        let moment = probe::with(|t| t.rewrites.last().cloned()).flatten();
        let moment = moment.expect("a rewrite has a moment");
        lock(&self.0).begun.push(Rewriter { writer, moment });
    }

    /// Something is to be done aside.
    pub fn errand(&self, errand: Errand) {
        lock(&self.0).errands.push_back(errand);
    }

    /// The server says something.
    pub fn said(&self, text: &str) {
        tell(|| format!("  says: {text}"));
        for (_, name) in SAID.iter().filter(|(words, _)| text.contains(words)) {
            count(&mut lock(&self.0).counts, name);
        }
    }
}

/// Reads the files of a manifest as Redis reads a log: the base, then every incremental file from
/// its beginning to its end, one after another.
pub fn read(volume: &dyn Volume, manifest: &Manifest, config: &Config) -> Data {
    let steps = |kind: FileType| {
        let lines = manifest.lines.iter().filter(move |line| line.kind == kind);
        lines.map(|line| {
            let (file, place) = (line.file.clone(), Place::Log);
            let end = volume.len(&file).expect("what the manifest names is there");
            match file.ends_with(".rdb") {
                true => Step::Rdb { file, place, tail: Tail::default() },
                false => Step::Foreign { file, place, from: 0, end },
            }
        })
    };
    let steps: Vec<Step> = steps(FileType::Base).chain(steps(FileType::Incr)).collect();
    let spaces = load(volume, volume, config, (1, [3, 4]), Now::default(), &steps);
    spaces.iter().flat_map(|space| probe::data_of(space)).collect()
}

/// What Redis would read in a directory; `None` when there is no manifest.
pub fn as_redis(volume: &dyn Volume, config: &Config) -> Option<Data> {
    let bytes = volume.read_all(&manifest_name(NAME)).ok()?;
    let manifest = Manifest::parse(&bytes).expect("a manifest can be read");
    Some(read(volume, &manifest, config))
}

fn sealed_set(medium: &SimMedium, config: &Config) -> Option<Data> {
    as_redis(&medium.shelf(SHELF), config)
}

/// Nothing lies in the directory of the log but what its manifest names, and what was cut off.
pub fn nothing_is_left(medium: &SimMedium) {
    let manifest = medium.read_all(&manifest_name(NAME)).expect("there is a manifest");
    let manifest = Manifest::parse(&manifest).expect("it can be read");
    let listed = |file: &String| manifest.lines.iter().any(|line| line.file == *file);
    for file in medium.list().expect("it can be read") {
        let known = file == manifest_name(NAME) || file.ends_with(".cut") || listed(&file);
        assert!(known, "{file} is left behind");
    }
}
