//! More of the simulated medium: the directory of a backup, whose files are second names of those
//! of the log, and deaths in the middle of an operation of some kind.
//!
//! A directory is what stands in front of the last slash of a name; the log's own has none. A
//! flush of a directory makes the names in it durable, and no others.

use std::io;
use std::sync::MutexGuard;

use rustix::io::Errno;

use super::file::Inode;
use super::{Fault, NameOp, On, SimMedium, State};
use crate::persist::backup::Shelf;
use crate::persist::disk::{DiskOp, Volume};

fn dir_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl State {
    /// The names in a directory.
    pub(super) fn names_in(&self, dir: &str) -> Vec<String> {
        self.names.keys().filter(|path| dir_of(path) == dir).cloned().collect()
    }

    /// Takes the un-synced operations in a directory.
    pub(super) fn take_name_ops(&mut self, dir: &str) -> Vec<NameOp> {
        let inside = |op: &mut NameOp| match op {
            NameOp::Link { path, .. } | NameOp::Unlink { path, .. } => dir_of(path) == dir,
            NameOp::Rename { to, .. } => dir_of(to) == dir,
        };
        self.name_ops.extract_if(.., inside).collect()
    }

    /// What of a fault the operation that it strikes is to see: one in which the process dies
    /// happens or does not, and is the last.
    pub(super) fn dies_of(&mut self, fault: Fault, on: On) -> Option<Fault> {
        if fault != Fault::Die {
            return Some(fault);
        }
        self.dies_at = Some(self.effects);
        self.died_in = Some(on);
        let undone = match on {
            On::Sync | On::SyncDir => Fault::Die,
            _ => Fault::Error(Errno::IO),
        };
        self.random.one_in(2).then_some(undone)
    }

    fn link(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        if let Some(Fault::Error(error)) = self.strike(On::Link, Some(from)) {
            return Err(error);
        }
        let inode = *self.names.get(from).ok_or(Errno::NOENT)?;
        if self.names.contains_key(to) {
            return Err(Errno::EXIST);
        }
        self.names.insert(to.to_owned(), inode);
        self.name_ops.push(NameOp::Link { path: to.to_owned(), inode });
        Ok(())
    }
}

impl SimMedium {
    /// The process goes on living: what [`SimMedium::die_after`] was told is taken back.
    pub fn live_on(&self) {
        self.lock().dies_at = None;
    }

    /// The kind of operation in which [`Fault::Die`] has let the process die.
    pub fn died_in(&self) -> Option<On> {
        self.lock().died_in
    }

    /// Whether no fault is armed on operations of this kind any more.
    pub fn struck(&self, on: On) -> bool {
        self.lock().faults.iter().all(|armed| armed.on != on || armed.fault == Fault::Die)
    }

    /// Kinds of the operations in flight that are not over.
    pub fn flying(&self) -> Vec<On> {
        let state = self.lock();
        let kind = |op: &DiskOp| match op {
            DiskOp::Create { .. } => Some(On::Create),
            DiskOp::Write { .. } => Some(On::Write),
            DiskOp::Sync { .. } => Some(On::Sync),
            DiskOp::SyncDir => Some(On::SyncDir),
            DiskOp::Rename { .. } => Some(On::Rename),
            DiskOp::Remove { .. } => Some(On::Remove),
            DiskOp::Direct { .. }
            | DiskOp::Truncate { .. }
            | DiskOp::Reserve { .. }
            | DiskOp::Forget { .. }
            | DiskOp::WriteBack { .. }
            | DiskOp::Close { .. } => None,
        };
        let under_way =
            state.flights.iter().filter(|f| !matches!(f.stage, super::Stage::Over { .. }));
        under_way.filter_map(|flight| kind(&flight.op)).collect()
    }

    /// Blocks and names that a loss of power might take now.
    pub fn unsynced(&self) -> (usize, usize) {
        let state = self.lock();
        (state.inodes.values().map(Inode::dirty_blocks).sum(), state.name_ops.len())
    }

    /// A directory beside that of the log.
    pub fn shelf(&self, dir: &str) -> SimShelf {
        SimShelf { medium: self.clone(), dir: dir.to_owned() }
    }
}

/// A directory beside that of the log. It is there when something is in it.
#[derive(Clone, Debug)]
pub struct SimShelf {
    medium: SimMedium,
    dir: String,
}

impl SimShelf {
    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.dir)
    }

    /// The medium, for a call that changes something in one effect.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.medium.lock();
        state.blocking()?;
        match state.effect() {
            true => Ok(state),
            false => Err(io::Error::other("the simulated process has died")),
        }
    }
}

impl Volume for SimShelf {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.medium.lock().names_in(&self.dir);
        Ok(names.into_iter().map(|path| path[self.dir.len() + 1..].to_owned()).collect())
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.medium.len(&self.at(path))
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.medium.read_at(&self.at(path), offset, buf)
    }

    fn write_synced(&self, path: &str, data: &[u8]) -> io::Result<()> {
        self.medium.write_synced(&self.at(path), data)
    }

    fn truncate(&self, path: &str, len: u64) -> io::Result<()> {
        self.medium.truncate(&self.at(path), len)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.medium.rename(&self.at(from), &self.at(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.medium.remove(&self.at(path))
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(self.change()?.sync_dir(&self.dir)?)
    }
}

impl Shelf for SimShelf {
    fn make_empty(&self) -> io::Result<()> {
        match self.list()?.is_empty() {
            true => Ok(()),
            false => Err(io::ErrorKind::DirectoryNotEmpty.into()),
        }
    }

    fn is_there(&self) -> bool {
        true
    }

    fn link(&self, file: &str) -> io::Result<()> {
        Ok(self.change()?.link(file, &self.at(file))?)
    }

    fn written_at(&self, _file: &str) -> io::Result<i64> {
        Ok(0)
    }
}
