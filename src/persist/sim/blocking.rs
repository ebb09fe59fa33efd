//! The blocking side of the simulated medium. A call happens at once, in one or more effects; the
//! process may die in any of them, which then happens in part.

use std::io;

use rustix::io::Errno;

use super::file::ALL_BLOCKS;
use super::{Fault, InodeId, On, SimMedium, State};
use crate::persist::disk::{FileId, Sheet, Sheets, Volume};

/// The answer of a blocking call of a process that is no more.
fn gone() -> io::Error {
    io::Error::other("the simulated process has died")
}

impl State {
    /// A blocking call that changes something: refused while frozen or dead.
    pub(super) fn blocking(&mut self) -> io::Result<()> {
        if self.dead() {
            return Err(gone());
        }
        if self.frozen {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }

    fn named(&self, path: &str) -> io::Result<InodeId> {
        Ok(self.names.get(path).copied().ok_or(Errno::NOENT)?)
    }

    pub(super) fn hold(&mut self, inode: InodeId) -> FileId {
        let file = self.next_file;
        self.next_file += 1;
        self.open.insert(file, inode);
        FileId(file)
    }

    fn sync_blocking(&mut self, inode: InodeId) -> io::Result<()> {
        if !self.effect() {
            if self.random.one_in(2) {
                let _ = self.sync(inode, ALL_BLOCKS);
            }
            return Err(gone());
        }
        Ok(self.sync(inode, ALL_BLOCKS)?)
    }
}

impl SimMedium {
    /// Opens a file that is there, for writing through a [`SimDisk`](super::SimDisk).
    pub fn open(&self, path: &str) -> io::Result<FileId> {
        let mut state = self.lock();
        if state.dead() {
            return Err(gone());
        }
        let inode = state.named(path)?;
        Ok(state.hold(inode))
    }
}

impl Volume for SimMedium {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.lock();
        if state.dead() {
            return Err(gone());
        }
        Ok(state.names_in(""))
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        let state = self.lock();
        if state.dead() {
            return Err(gone());
        }
        let inode = state.named(path)?;
        Ok(state.inodes[&inode].len() as u64)
    }

    fn room_behind(&self, path: &str) -> io::Result<u64> {
        let state = self.lock();
        let file = &state.inodes[&state.named(path)?];
        Ok((file.takes() - file.len()) as u64)
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.dead() {
            return Err(gone());
        }
        let inode = state.named(path)?;
        if let Some(Fault::Error(error)) = state.strike(On::Read, Some(path)) {
            return Err(error.into());
        }
        let file = &state.inodes[&inode];
        let offset = offset as usize;
        Ok(if state.past_cache { file.read_direct(offset, buf) } else { file.read(offset, buf) })
    }

    fn forget_cached(&self, path: &str) {
        let mut state = self.lock();
        if let Ok(inode) = state.named(path) {
            state.inodes.get_mut(&inode).expect("it has a name").forget_clean(ALL_BLOCKS);
        }
    }

    fn write_synced(&self, path: &str, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.blocking()?;
        if !state.effect() {
            return Err(gone());
        }
        let inode = match state.names.get(path) {
            Some(&inode) => {
                state.writes += 1;
                let write = state.writes;
                if let Some(file) = state.inodes.get_mut(&inode) {
                    file.set_len(0, write);
                }
                inode
            }
            None => {
                if let Some(Fault::Error(error)) = state.strike(On::Create, Some(path)) {
                    return Err(error.into());
                }
                state.new_inode(path)
            }
        };
        if !state.effect() {
            let n = state.random.below(data.len() as u64 + 1) as usize;
            state.put(inode, 0, &data[..n]);
            return Err(gone());
        }
        let mut written = 0;
        while written < data.len() {
            written = state.write_inode(inode, 0, data, written)?;
        }
        state.sync_blocking(inode)
    }

    fn append_synced(&self, path: &str, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.blocking()?;
        let inode = state.named(path)?;
        let end = state.inodes[&inode].len();
        if !state.effect() {
            let n = state.random.below(data.len() as u64 + 1) as usize;
            state.put(inode, end, &data[..n]);
            return Err(gone());
        }
        let mut written = 0;
        while written < data.len() {
            written = state.write_inode(inode, end, data, written)?;
        }
        state.sync_blocking(inode)
    }

    fn truncate(&self, path: &str, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.blocking()?;
        let inode = state.named(path)?;
        if !state.effect() {
            return Err(gone());
        }
        state.writes += 1;
        let write = state.writes;
        if let Some(file) = state.inodes.get_mut(&inode) {
            file.set_len(len as usize, write);
        }
        state.sync_blocking(inode)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.blocking()?;
        if !state.effect() {
            return Err(gone());
        }
        Ok(state.rename(from, to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.blocking()?;
        if !state.effect() {
            return Err(gone());
        }
        Ok(state.remove(path)?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.blocking()?;
        if !state.effect() {
            return Err(gone());
        }
        Ok(state.sync_dir("")?)
    }
}

/// A file that is being written through blocking calls.
struct SimSheet {
    medium: SimMedium,
    inode: InodeId,
    /// Keeps the file while it has no name.
    file: u32,
    life: u32,
}

impl SimSheet {
    fn living(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.medium.lock();
        state.blocking()?;
        if state.life == self.life { Ok(state) } else { Err(gone()) }
    }
}

impl Sheet for SimSheet {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (inode, offset) = (self.inode, offset as usize);
        let mut state = self.living()?;
        if !state.effect() {
            let n = state.random.below(data.len() as u64 + 1) as usize;
            state.put(inode, offset, &data[..n]);
            return Err(gone());
        }
        let mut written = 0;
        while written < data.len() {
            written = state.write_inode(inode, offset, data, written)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut state = self.living()?;
        state.sync_blocking(self.inode)
    }
}

impl Drop for SimSheet {
    fn drop(&mut self) {
        let mut state = self.medium.lock();
        if state.life == self.life {
            state.open.remove(&self.file);
        }
    }
}

impl Sheets for SimMedium {
    fn create(&self, path: &str) -> io::Result<Box<dyn Sheet>> {
        let mut state = self.lock();
        state.blocking()?;
        if !state.effect() {
            return Err(gone());
        }
        let file = match state.names.get(path).copied() {
            Some(inode) => {
                if let Some(Fault::Error(error)) = state.strike(On::Create, Some(path)) {
                    return Err(error.into());
                }
                state.writes += 1;
                let write = state.writes;
                if let Some(file) = state.inodes.get_mut(&inode) {
                    file.set_len(0, write);
                }
                state.hold(inode)
            }
            None => state.create(path)?,
        };
        let (inode, life) = (state.inode_of(file)?, state.life);
        Ok(Box::new(SimSheet { medium: self.clone(), inode, file: file.0, life }))
    }
}
