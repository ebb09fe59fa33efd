//! Snapshots in the simulator: the writer step by step on a medium of its own, and what must hold
//! of the file.
//!
//! 1. What stands under the name is nothing that never was whole: it is read by the same code as at
//!    a start whenever its bytes change, and is what all shards held at the moment of the snapshot
//!    that put it there, no key more or less.
//! 2. What has been told as saved stands there, whatever happens: a power cut leaves the last file
//!    that was told of, or one that took its place since.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::clock::Now;
use crate::base::random::Random;
use crate::config::Config;
use crate::keyspace::{Effects, Keyspace, Recency};
use crate::observe::saves::End;
use crate::persist::disk::Volume;
use crate::persist::load::{Loading, load_shard, load_together, together_until};
use crate::persist::recovery::{Place, Step, Tail};
use crate::persist::sim::{Names, SimMedium};
use crate::shard::global::StartWriter;
use crate::shard::sim::probe::{self, Data};
use crate::shard::sim::rewrites::Rewrites;
use crate::shard::sim::tell;
use crate::shard::snapshot::writer::Writer;

/// The file's name.
pub const DUMP: &str = "dump.rdb";

/// Figures of snapshots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Begun, told as saved, told as failed, told as neither.
    pub begun: u64,
    pub saved: u64,
    pub failed: u64,
    pub untold: u64,
    /// Cut off by the end of the process.
    pub cut_off: u64,
    /// Files read and compared.
    pub read: u64,
    /// Power cuts that took back a file which nobody had been told of.
    pub taken_back: u64,
}

impl Figures {
    /// Adds another schedule's.
    pub fn add(&mut self, other: &Figures) {
        self.begun += other.begun;
        self.saved += other.saved;
        self.failed += other.failed;
        self.untold += other.untold;
        self.cut_off += other.cut_off;
        self.read += other.read;
        self.taken_back += other.taken_back;
    }
}

/// What stands, or may stand, under the file's name.
struct Image {
    bytes: Option<Vec<u8>>,
    data: Data,
}

type Slot = Arc<Mutex<Option<Writer>>>;

/// The data directory, and who writes there.
pub struct Saves {
    /// The directory.
    pub medium: SimMedium,
    slot: Slot,
    config: Config,
    /// From the last file that was told of on, oldest first; the last is what everybody sees now.
    images: Vec<Image>,
    /// Of the moments of this life, how many have been told of.
    seen: usize,
    /// What the writer was writing when the process died.
    unfinished: Option<Data>,
    /// What has happened.
    pub figures: Figures,
    /// Rewrites of the log, and backups.
    pub rewrites: Rewrites,
}

impl Saves {
    /// An empty directory.
    pub fn new(config: &Config, random: &mut Random) -> Saves {
        let medium = SimMedium::new(random.next_u64());
        medium.set_names([Names::Prefix, Names::Subset][random.below(2) as usize]);
        Saves {
            medium,
            slot: Slot::default(),
            config: config.clone(),
            images: vec![Image { bytes: None, data: Data::new() }],
            seen: 0,
            unfinished: None,
            figures: Figures::default(),
            rewrites: Rewrites::new(),
        }
    }

    /// Takes the writers of a new process.
    pub fn start(&mut self) -> Box<StartWriter> {
        self.seen = 0;
        let slot = Slot::default();
        self.slot = Arc::clone(&slot);
        Box::new(move |writer| {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(slot.replace(writer).is_none(), "one snapshot at a time");
            Ok(())
        })
    }

    /// What everybody sees under the name, as data.
    pub fn standing(&self) -> &Data {
        &self.images.last().expect("there is always one").data
    }

    /// What is to be read at a start without a log.
    pub fn steps(&self) -> Vec<Step> {
        let there = self.medium.len(DUMP).is_ok();
        let dump =
            || Step::Rdb { file: DUMP.to_owned(), place: Place::Data, tail: Tail::default() };
        there.then(dump).into_iter().collect()
    }

    /// One step of the writer; false when there is none.
    pub fn step(&mut self, now: Now) -> bool {
        let taken = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut writer) = taken else { return false };
        if !writer.step(&self.medium) {
            *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        }
        let found = self.medium.read_all(DUMP).ok();
        if found != self.images.last().expect("there is always one").bytes {
            let data = probe::with(|t| t.moments.last().map(|m| m.data.clone())).flatten();
            self.replaced(found, data, now);
        }
        true
    }

    /// The file has changed: by the snapshot of this moment.
    fn replaced(&mut self, found: Option<Vec<u8>>, moment: Option<Data>, now: Now) {
        assert!(found.is_some(), "the old file is gone");
        let moment = moment.expect("a file was written of no moment");
        let shards = 1 + self.figures.read as usize % 4;
        let steps = self.steps();
        let data = load(&self.medium, &self.medium, &self.config, (shards, [1, 2]), now, &steps);
        let data = data.iter().flat_map(|space| probe::data_of(space)).collect();
        compare(&data, &moment, "the file has", "the moment had");
        self.figures.read += 1;
        tell(|| format!("the file has been replaced, {} keys", data.len()));
        self.images.push(Image { bytes: found, data });
    }

    /// A new file stands there, and nobody has been told of it.
    pub fn is_untold(&self) -> bool {
        self.images.len() > 1
    }

    /// Looks whether somebody has been told of an end.
    pub fn look(&mut self) {
        let ended = probe::with(|t| {
            let moment = t.moments.get(self.seen)?;
            Some((moment.ended?, moment.data.clone()))
        });
        let Some((end, data)) = ended.flatten() else { return };
        self.seen += 1;
        match end {
            End::Saved { .. } => {
                self.figures.saved += 1;
                let last = self.images.len() - 1;
                assert!(self.images[last].bytes.is_some(), "told of a file that is not there");
                compare(&self.images[last].data, &data, "the file has", "saved was");
                self.images.drain(..last);
            }
            End::Failed => self.figures.failed += 1,
            End::Untold => self.figures.untold += 1,
        }
    }

    /// The process has ended, and is looked at for the last time.
    pub fn leave(&mut self) {
        let moments = probe::with(|t| {
            self.figures.begun += t.moments.len() as u64;
            self.figures.cut_off += (t.moments.len() - self.seen) as u64;
            t.moments.pop().map(|m| m.data)
        });
        self.unfinished = moments.flatten();
    }

    /// The process has gone, and perhaps the power.
    pub fn crash(&mut self, power: bool, random: &mut Random, now: Now) {
        let taken = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut writer) = taken {
            // It was somewhere in an operation.
            self.medium.die_after(random.below(3));
            while random.below(4) > 0 && !writer.step(&self.medium) {}
        }
        if power {
            self.medium.crash_power(random);
        } else {
            self.medium.crash_process();
        }
        let found = self.medium.read_all(DUMP).ok();
        let known = self.images.iter().rposition(|image| image.bytes == found);
        if known.is_none() {
            let moment = self.unfinished.take();
            self.replaced(found, moment, now);
        }
        let last = self.images.len() - 1;
        let known = known.unwrap_or(last);
        if power {
            self.figures.taken_back += u64::from(known < last);
            self.images = self.images.drain(known..).take(1).collect();
        } else {
            assert_eq!(known, last, "another file than the last one stands there");
        }
    }
}

/// Reads steps as a start does; gives the keyspaces of so many shards, with this seed.
#[expect(clippy::vec_box, reason = "a keyspace travels in its box for all its life")]
pub fn load(
    log: &dyn Volume,
    data: &dyn Volume,
    config: &Config,
    (shards, seed): (usize, [u64; 2]),
    now: Now,
    steps: &[Step],
) -> Vec<Box<Keyspace>> {
    let databases = config.databases;
    let space = |s| Some(Box::new(Keyspace::new(s, databases, seed, Effects::new(0, false))));
    let mut spaces: Vec<Option<Box<Keyspace>>> = (0..shards).map(space).collect();
    let recency = Recency::new(config.noted, now.unix_s());
    spaces.iter_mut().flatten().for_each(|space| space.set_recency(recency));
    let loading = Loading {
        log,
        data,
        shards,
        now,
        string_max: config.proto_max_bulk_len,
        modules: Default::default(),
        shapes: config.shapes,
        progress: &AtomicU64::new(0),
        key_delay: 0,
    };
    let first = together_until(&loading, steps).expect("it can be read");
    load_together(&loading, &steps[..first], &mut spaces).expect("it can be loaded");
    for space in spaces.iter_mut().flatten() {
        load_shard(&loading, &steps[first..], space).expect("it can be loaded");
    }
    spaces.into_iter().flatten().collect()
}

/// Panics where these differ.
pub fn compare(found: &Data, wanted: &Data, one: &str, other: &str) {
    let shown = |held: Option<&(Vec<u8>, Option<i64>)>| {
        held.map(|(value, at)| (String::from_utf8_lossy(value).into_owned(), *at))
    };
    for place in found.keys().chain(wanted.keys()) {
        let (have, want) = (found.get(place), wanted.get(place));
        let (db, key) = (place.0, String::from_utf8_lossy(&place.1));
        assert!(have == want, "db {db}, {key}: {one} {:?}, {other} {:?}", shown(have), shown(want));
    }
}
