//! A simulated disk: every shard's completion side and start-up's blocking side over one medium,
//! which loses, tears, reorders and fails operations on command or by seed. Equal seeds and equal
//! calls give equal runs.
//!
//! An operation in flight goes through *effects*, drawn one at a time by [`SimMedium::step`] from
//! all that are in flight, in any order:
//!
//! ```text
//!   Write          part written … part written ─▶ (flushed) ─▶ reported
//!   everything else                         carried out      ─▶ reported
//! ```
//!
//! Two operations in flight together may happen, and be reported, in either order; a write and its
//! flush are one. What has been carried out stands in the page cache; a flush carries it to the
//! medium, and names a flush of the directory.
//!
//! - [`SimMedium::crash_process`] keeps the page cache; what was in flight has happened wholly,
//!   partly or not at all.
//! - [`SimMedium::crash_power`] does the same first and then loses, keeps or tears each un-synced
//!   block by itself; un-synced names survive as a journal keeps them ([`Names`]).
//!
//! Invariants:
//! 1. Only a flush that reported success makes anything durable for certain (but see
//!    [`Fault::Lie`]).
//! 2. After a crash nothing of the process is left: no open file, no handle, no armed fault.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::base::random::Random;
use crate::persist::aof::filler;
use crate::persist::disk::{AheadSizes, Disk, DiskDone, DiskOp, FileId, Flush, GrowingSizes, Made};

mod blocking;
mod faults;
mod file;
mod now;
mod room;
mod shelf;
#[cfg(test)]
mod tests;

use file::{ALL_BLOCKS, Inode};
pub use file::{BLOCK, FileLoss};
pub use shelf::SimShelf;

/// Operations that can be made to fail, and are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// A file's creation.
    Create,
    /// A write; part of it may have happened.
    Write,
    /// A file's flush, linked ones included.
    Sync,
    /// The directory's flush.
    SyncDir,
    /// A rename.
    Rename,
    /// A removal.
    Remove,
    /// A file's second name.
    Link,
    /// A read of the blocking side.
    Read,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails with this error. A failed flush leaves its pages clean and lost.
    Error(Errno),
    /// The operation (a flush) reports success and does nothing.
    Lie,
    /// The process dies in the operation.
    Die,
}

/// Which un-synced directory operations survive a loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// The first ones in order, as a journalling file system keeps them.
    #[default]
    Prefix,
    /// Any of them.
    Subset,
}

/// What a loss of power took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Blocks, over all files.
    pub blocks: FileLoss,
    /// Un-synced directory operations that did not survive.
    pub names: u64,
}

type InodeId = u32;

#[derive(Clone, Debug)]
enum NameOp {
    Link { path: String, inode: InodeId },
    Rename { from: String, to: String, inode: InodeId },
    Unlink { path: String, inode: InodeId },
}

#[derive(Clone, Debug)]
struct Flight {
    disk: usize,
    token: u64,
    op: DiskOp,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Waits to be carried out; of a write so many bytes have been.
    Carrying { written: usize },
    /// Written, waits for its linked flush.
    Flushing,
    /// Waits to be reported.
    Over { result: Result<Option<FileId>, Errno>, sync_failed: bool },
}

#[derive(Clone, Debug)]
struct Armed {
    on: On,
    path: Option<String>,
    left: u64,
    fault: Fault,
}

#[derive(Clone, Debug)]
struct State {
    random: Random,
    /// Bytes that are written as one.
    block: usize,
    inodes: BTreeMap<InodeId, Inode>,
    next_inode: InodeId,
    /// Names as the running system sees them.
    names: BTreeMap<String, InodeId>,
    durable_names: BTreeMap<String, InodeId>,
    /// Directory operations carried out and not flushed, in order.
    name_ops: Vec<NameOp>,
    keeps: Names,
    open: BTreeMap<u32, InodeId>,
    /// Those of `open` whose writes go past the page cache.
    direct: BTreeSet<u32>,
    no_direct: bool,
    next_file: u32,
    disks: usize,
    /// Raised by a crash; handles of an older one are dead.
    life: u32,
    flights: Vec<Flight>,
    done: Vec<(usize, Reported)>,
    faults: Vec<Armed>,
    counts: BTreeMap<On, u64>,
    /// What has gone wrong, by name.
    struck: BTreeMap<String, u64>,
    frozen: bool,
    effects: u64,
    dies_at: Option<u64>,
    died_in: Option<On>,
    capacity: Option<usize>,
    /// A write is cut short once in so many; 0: never.
    short_writes: u64,
    past_cache: bool,
    /// When writes may be made at once.
    calm: Option<Random>,
    writes: u64,
}

/// A completion on its way to its submitter.
#[derive(Clone, Debug)]
struct Reported {
    token: u64,
    result: Result<Option<FileId>, Errno>,
    data: Vec<u8>,
    sync_failed: bool,
}

/// The medium; clones are handles on the same one. It is its own blocking `Volume`.
#[derive(Clone, Debug)]
pub struct SimMedium {
    state: Arc<Mutex<State>>,
}

/// One shard's completion-based disk on a [`SimMedium`].
#[derive(Debug)]
pub struct SimDisk {
    medium: SimMedium,
    disk: usize,
    life: u32,
}

impl Disk for SimDisk {
    fn submit(&mut self, token: u64, op: DiskOp) {
        let mut state = self.medium.lock();
        if state.life == self.life {
            let stage = Stage::Carrying { written: 0 };
            state.flights.push(Flight { disk: self.disk, token, op, stage });
        }
    }

    fn is_calm(&mut self, _now_us: u64) -> bool {
        self.calm_now()
    }

    fn write_now(&mut self, file: FileId, offset: u64, data: &[u8], _now_us: u64) -> Option<Made> {
        self.make_now(file, offset, data)
    }

    fn ahead(&self) -> AheadSizes {
        AheadSizes { kept: 40 << 10, piece: 12 << 10, least: 4 << 10, waits: 16 << 10 }
    }

    fn growing(&self) -> GrowingSizes {
        GrowingSizes { room_min: 4 << 10, room_max: 16 << 10, piece: 4 << 10, margin: 1 << 10 }
    }
}

impl SimDisk {
    /// What has been reported to this disk since the last call, in order.
    pub fn take_done(&mut self) -> Vec<DiskDone> {
        let mut state = self.medium.lock();
        if state.life != self.life {
            return Vec::new();
        }
        let mine = state.done.extract_if(.., |(disk, _)| *disk == self.disk);
        mine.map(|(_, done)| DiskDone {
            token: done.token,
            result: done.result.map_err(io::Error::from),
            data: done.data,
            sync_failed: done.sync_failed,
        })
        .collect()
    }
}

impl SimMedium {
    /// An empty medium; all its choices follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            block: BLOCK,
            inodes: BTreeMap::new(),
            next_inode: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_ops: Vec::new(),
            keeps: Names::Prefix,
            open: BTreeMap::new(),
            direct: BTreeSet::new(),
            no_direct: false,
            next_file: 0,
            disks: 0,
            life: 0,
            flights: Vec::new(),
            done: Vec::new(),
            faults: Vec::new(),
            counts: BTreeMap::new(),
            struck: BTreeMap::new(),
            frozen: false,
            effects: 0,
            dies_at: None,
            died_in: None,
            capacity: None,
            short_writes: 0,
            past_cache: false,
            calm: None,
            writes: 0,
        };
        SimMedium { state: Arc::new(Mutex::new(state)) }
    }

    /// A medium in the same state with choices of its own from here on: to try several crashes
    /// from one moment. Handles on the old one do not reach the new one.
    pub fn duplicate(&self, seed: u64) -> SimMedium {
        let mut state = self.lock().clone();
        state.random = Random::new(seed);
        SimMedium { state: Arc::new(Mutex::new(state)) }
    }

    /// A poisoned lock means that a test has failed already; what it saw is still of use.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk for one more shard of the running process.
    pub fn disk(&self) -> SimDisk {
        let mut state = self.lock();
        state.disks += 1;
        SimDisk { medium: self.clone(), disk: state.disks - 1, life: state.life }
    }

    /// Lets one effect of one operation in flight happen; false when none can.
    pub fn step(&self) -> bool {
        self.lock().step()
    }

    /// Lets some effects happen, as many as `random` says, and returns how many did.
    pub fn complete_some(&self, random: &mut Random) -> usize {
        let mut state = self.lock();
        let most = random.below(3 * state.flights.len() as u64 + 1);
        (0..most).take_while(|_| state.step()).count()
    }

    /// Lets everything in flight end.
    pub fn settle(&self) {
        let mut state = self.lock();
        while state.step() {}
    }

    /// Operations submitted and not yet reported.
    pub fn in_flight(&self) -> usize {
        self.lock().flights.len()
    }

    /// Effects so far: the moments at which [`SimMedium::die_after`] can strike.
    pub fn effects(&self) -> u64 {
        self.lock().effects
    }

    /// How often an operation has been tried.
    pub fn count(&self, on: On) -> u64 {
        self.lock().counts.get(&on).copied().unwrap_or(0)
    }

    /// Turns one bit of a file over, in the cache and at rest; false when there is none there.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> bool {
        let mut state = self.lock();
        let Some(&inode) = state.names.get(path) else { return false };
        state.inodes.get_mut(&inode).is_some_and(|f| f.flip(offset as usize, bit))
    }

    /// The process dies. What was in flight may have happened; the page cache survives.
    pub fn crash_process(&self) {
        let mut state = self.lock();
        let mut random = state.random.clone();
        state.end_flights(&mut random);
        state.random = random;
        state.end_life();
    }

    /// The power goes.
    pub fn crash_power(&self, random: &mut Random) -> Loss {
        let mut state = self.lock();
        state.end_flights(random);
        let loss = state.lose_power(random);
        state.end_life();
        loss
    }
}

impl State {
    fn dead(&self) -> bool {
        self.dies_at.is_some_and(|at| self.effects >= at)
    }

    /// Counts an effect; false when the process dies in it.
    fn effect(&mut self) -> bool {
        if self.dead() {
            return false;
        }
        self.effects += 1;
        true
    }

    fn path_of(&self, inode: InodeId) -> Option<String> {
        self.names.iter().find(|(_, at)| **at == inode).map(|(path, _)| path.clone())
    }

    fn inode_of(&self, file: FileId) -> Result<InodeId, Errno> {
        self.open.get(&file.0).copied().ok_or(Errno::BADF)
    }

    fn step(&mut self) -> bool {
        if self.frozen || self.flights.is_empty() || !self.effect() {
            return false;
        }
        let chosen = self.random.below(self.flights.len() as u64) as usize;
        let mut flight = self.flights.swap_remove(chosen);
        if matches!(flight.op, DiskOp::Close { file } if self.is_used(file)) {
            // The ring closes a file when nothing is in flight on it any more.
            self.flights.push(flight);
            return true;
        }
        match flight.stage {
            Stage::Over { result, sync_failed } => {
                let data = match flight.op {
                    DiskOp::Write { data, .. } => data,
                    _ => Vec::new(),
                };
                let report = Reported { token: flight.token, result, data, sync_failed };
                self.done.push((flight.disk, report));
            }
            stage => {
                flight.stage = self.carry(&flight.op, stage);
                self.flights.push(flight);
            }
        }
        true
    }

    /// Whether something else than a close is in flight on a file.
    fn is_used(&self, wanted: FileId) -> bool {
        self.flights.iter().any(|flight| match &flight.op {
            DiskOp::Write { file, .. }
            | DiskOp::Sync { file }
            | DiskOp::Direct { file }
            | DiskOp::Truncate { file, .. }
            | DiskOp::Reserve { file, .. }
            | DiskOp::WriteBack { file, .. }
            | DiskOp::Forget { file, .. } => *file == wanted,
            _ => false,
        })
    }

    /// One effect of an operation; returns where it stands after it.
    fn carry(&mut self, op: &DiskOp, stage: Stage) -> Stage {
        let written = match stage {
            Stage::Carrying { written } => written,
            Stage::Flushing | Stage::Over { .. } => return self.linked_flush(op),
        };
        let result = match op {
            DiskOp::Create { path } => self.create(path).map(Some),
            DiskOp::Write { file, offset, data, flush } => {
                let checked = self.check_direct(*file, *offset, data, written);
                let written = checked.and_then(|()| self.write_some(*file, *offset, data, written));
                return match written {
                    Ok(n) if n < data.len() => Stage::Carrying { written: n },
                    Ok(_) if *flush == Flush::No => {
                        Stage::Over { result: Ok(None), sync_failed: false }
                    }
                    Ok(_) => Stage::Flushing,
                    Err(error) => Stage::Over { result: Err(error), sync_failed: false },
                };
            }
            DiskOp::Sync { file } => {
                self.inode_of(*file).and_then(|inode| self.sync(inode, ALL_BLOCKS)).map(|()| None)
            }
            DiskOp::Rename { from, to } => self.rename(from, to).map(|()| None),
            DiskOp::SyncDir => self.sync_dir("").map(|()| None),
            DiskOp::Remove { path } => self.remove(path).map(|()| None),
            DiskOp::Direct { .. } | DiskOp::Truncate { .. } if self.no_direct => Err(Errno::INVAL),
            DiskOp::Direct { file } => self.inode_of(*file).map(|inode| {
                let id = self.hold(inode);
                self.direct.insert(id.0);
                Some(id)
            }),
            DiskOp::Truncate { file, len } => self.inode_of(*file).map(|inode| {
                self.writes += 1;
                let write = self.writes;
                if let Some(file) = self.inodes.get_mut(&inode) {
                    file.set_len(*len as usize, write);
                }
                None
            }),
            DiskOp::Reserve { file, offset, len } => {
                self.inode_of(*file).and_then(|inode| self.reserve(inode, offset + len))
            }
            DiskOp::WriteBack { file, .. } => {
                self.inode_of(*file).and_then(|inode| self.write_back(inode))
            }
            DiskOp::Forget { file, offset, len } => {
                self.inode_of(*file).and_then(|inode| self.forget(inode, *offset, *len))
            }
            DiskOp::Close { file } => match self.open.remove(&file.0) {
                Some(_) => Ok(None),
                None => Err(Errno::BADF),
            },
        };
        Stage::Over { result, sync_failed: false }
    }

    /// What a write past the page cache must be: whole blocks, and no block that holds more than
    /// filler, unless the same bytes are tried again.
    fn check_direct(
        &self,
        file: FileId,
        offset: u64,
        data: &[u8],
        written: usize,
    ) -> Result<(), Errno> {
        if !self.direct.contains(&file.0) || written > 0 {
            return Ok(());
        }
        if !offset.is_multiple_of(filler::BLOCK)
            || !(data.len() as u64).is_multiple_of(filler::BLOCK)
        {
            return Err(Errno::INVAL);
        }
        let file = &self.inodes[&self.inode_of(file)?];
        let mut there = vec![0; data.len()];
        let held = file.read(offset as usize, &mut there);
        let same = |(old, new): (&u8, &u8)| filler::is_blank(*old) || old == new;
        let fresh = there[..held].iter().zip(data).all(same);
        assert!(fresh, "a block that holds data is written again at offset {offset}");
        Ok(())
    }

    fn linked_flush(&mut self, op: &DiskOp) -> Stage {
        let DiskOp::Write { file, offset, data, flush } = op else {
            unreachable!("only a write has a linked flush");
        };
        let from = *offset as usize;
        let blocks = match flush {
            Flush::Own => from / self.block..(from + data.len()).div_ceil(self.block),
            Flush::No | Flush::File => ALL_BLOCKS,
        };
        let result = self.inode_of(*file).and_then(|inode| self.sync(inode, blocks));
        Stage::Over { sync_failed: result.is_err(), result: result.map(|()| None) }
    }

    fn new_inode(&mut self, path: &str) -> InodeId {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::new(self.block));
        self.names.insert(path.to_owned(), inode);
        self.name_ops.push(NameOp::Link { path: path.to_owned(), inode });
        inode
    }

    fn create(&mut self, path: &str) -> Result<FileId, Errno> {
        if let Some(Fault::Error(error)) = self.strike(On::Create, Some(path)) {
            return Err(error);
        }
        if self.names.contains_key(path) {
            return Err(Errno::EXIST);
        }
        let inode = self.new_inode(path);
        let file = self.next_file;
        self.next_file += 1;
        self.open.insert(file, inode);
        Ok(FileId(file))
    }

    /// Writes what stands behind `data[..written]`, or part of it; returns the new `written`.
    fn write_some(
        &mut self,
        file: FileId,
        offset: u64,
        data: &[u8],
        written: usize,
    ) -> Result<usize, Errno> {
        let inode = self.inode_of(file)?;
        let outcome = self.write_inode(inode, offset as usize, data, written);
        if let (true, Some(written)) = (self.direct.contains(&file.0), self.inodes.get_mut(&inode))
        {
            written.note_direct(self.writes);
        }
        outcome
    }

    fn write_inode(
        &mut self,
        inode: InodeId,
        offset: usize,
        data: &[u8],
        written: usize,
    ) -> Result<usize, Errno> {
        let path = self.path_of(inode);
        let left = data.len() - written;
        let fault = self.strike(On::Write, path.as_deref());
        let full = self.room().is_some_and(|room| {
            let has = self.inodes[&inode].takes();
            (offset + data.len()).saturating_sub(has) > room
        });
        let mut n = left;
        let error = match fault {
            Some(Fault::Error(error)) => Some(error),
            _ if full => {
                self.note("the disk is full");
                Some(Errno::NOSPC)
            }
            _ => None,
        };
        if error.is_some() {
            n = self.random.below(left as u64 + 1) as usize;
            if full {
                let has = self.inodes[&inode].takes();
                let fits = has + self.room().unwrap_or(0);
                n = n.min(fits.saturating_sub(offset + written));
            }
        } else if self.short_writes > 0 && left > 1 && self.random.one_in(self.short_writes) {
            n = 1 + self.random.below(left as u64 - 1) as usize;
            self.note("a write is cut short");
        }
        self.put(inode, offset + written, &data[written..written + n]);
        error.map_or(Ok(written + n), Err)
    }

    fn put(&mut self, inode: InodeId, offset: usize, data: &[u8]) {
        self.writes += 1;
        let write = self.writes;
        if let Some(file) = self.inodes.get_mut(&inode) {
            file.write(offset, data, write);
        }
    }

    fn sync(&mut self, inode: InodeId, blocks: Range<usize>) -> Result<(), Errno> {
        let path = self.path_of(inode);
        let fault = self.strike(On::Sync, path.as_deref());
        let Some(file) = self.inodes.get_mut(&inode) else { return Err(Errno::BADF) };
        match fault {
            None => file.sync(blocks),
            Some(Fault::Lie | Fault::Die) => {}
            Some(Fault::Error(error)) => {
                file.sync_fails(&mut self.random);
                return Err(error);
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        if let Some(Fault::Error(error)) = self.strike(On::Rename, Some(from)) {
            return Err(error);
        }
        let inode = self.names.remove(from).ok_or(Errno::NOENT)?;
        self.names.insert(to.to_owned(), inode);
        self.name_ops.push(NameOp::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<(), Errno> {
        if let Some(Fault::Error(error)) = self.strike(On::Remove, Some(path)) {
            return Err(error);
        }
        let inode = self.names.remove(path).ok_or(Errno::NOENT)?;
        self.name_ops.push(NameOp::Unlink { path: path.to_owned(), inode });
        Ok(())
    }

    fn sync_dir(&mut self, dir: &str) -> Result<(), Errno> {
        let ops = match self.strike(On::SyncDir, None) {
            Some(Fault::Lie | Fault::Die) => return Ok(()),
            None => self.take_name_ops(dir),
            Some(Fault::Error(error)) => {
                // Like a file's: some of it was written, the rest is forgotten by later flushes.
                let ops = self.take_name_ops(dir);
                let kept = self.random.below(ops.len() as u64 + 1) as usize;
                ops[..kept].iter().for_each(|op| apply_name(&mut self.durable_names, op));
                return Err(error);
            }
        };
        ops.iter().for_each(|op| apply_name(&mut self.durable_names, op));
        self.prune();
        Ok(())
    }

    /// Everything in flight happens wholly, partly or not at all, in any order. Faults that are
    /// still armed may strike: nobody will hear of it.
    fn end_flights(&mut self, random: &mut Random) {
        self.dies_at = None;
        while !self.flights.is_empty() {
            let chosen = random.below(self.flights.len() as u64) as usize;
            let flight = self.flights.swap_remove(chosen);
            let mut stage = flight.stage;
            while !matches!(stage, Stage::Over { .. }) && random.one_in(2) {
                if let (DiskOp::Write { file, offset, data, .. }, Stage::Carrying { written }) =
                    (&flight.op, &stage)
                    && random.one_in(2)
                    && let Ok(inode) = self.inode_of(*file)
                {
                    let n = random.below((data.len() - written) as u64 + 1) as usize;
                    self.put(inode, *offset as usize + written, &data[*written..written + n]);
                    break;
                }
                stage = self.carry(&flight.op, stage);
            }
        }
    }

    fn lose_power(&mut self, random: &mut Random) -> Loss {
        let mut loss = Loss::default();
        // How kind this crash is: nothing kept, little, half, much, everything.
        let keep = [0, 1, 4, 7, 8][random.below(5) as usize];
        let ops = std::mem::take(&mut self.name_ops);
        let total = ops.len() as u64;
        let mut kept = 0;
        match self.keeps {
            Names::Prefix => {
                kept = if random.below(8) < keep { total } else { random.below(total + 1) };
                for op in &ops[..kept as usize] {
                    apply_name(&mut self.durable_names, op);
                }
            }
            Names::Subset => {
                for op in &ops {
                    if random.below(8) < keep {
                        apply_name(&mut self.durable_names, op);
                        kept += 1;
                    }
                }
            }
        }
        loss.names = total - kept;
        self.names.clone_from(&self.durable_names);
        // Files on different parts of a medium fare differently.
        let uneven = random.one_in(2);
        for file in self.inodes.values_mut() {
            let keep = if uneven { [0, 4, 8][random.below(3) as usize] } else { keep };
            let lost = file.lose_power(keep, random);
            loss.blocks.kept += lost.kept;
            loss.blocks.lost += lost.lost;
            loss.blocks.torn += lost.torn;
            loss.blocks.holes += lost.holes;
        }
        loss
    }

    fn end_life(&mut self) {
        self.life += 1;
        self.flights.clear();
        self.done.clear();
        self.open.clear();
        self.direct.clear();
        self.faults.clear();
        self.frozen = false;
        (self.dies_at, self.died_in) = (None, None);
        self.prune();
    }

    /// Drops the files that nothing can bring back: a name that is gone from the cache may still
    /// stand on the medium, or in an operation on its way there.
    fn prune(&mut self) {
        let ops = self.name_ops.iter().map(|op| match op {
            NameOp::Link { inode, .. }
            | NameOp::Rename { inode, .. }
            | NameOp::Unlink { inode, .. } => inode,
        });
        let names = self.names.values().chain(self.durable_names.values());
        let kept: BTreeSet<InodeId> = names.chain(self.open.values()).chain(ops).copied().collect();
        self.inodes.retain(|id, _| kept.contains(id));
    }
}

fn apply_name(names: &mut BTreeMap<String, InodeId>, op: &NameOp) {
    match op {
        NameOp::Link { path, inode } => {
            names.insert(path.clone(), *inode);
        }
        NameOp::Rename { from, to, inode } => {
            if names.get(from) == Some(inode) {
                names.remove(from);
            }
            names.insert(to.clone(), *inode);
        }
        NameOp::Unlink { path, inode } => {
            if names.get(path) == Some(inode) {
                names.remove(path);
            }
        }
    }
}
