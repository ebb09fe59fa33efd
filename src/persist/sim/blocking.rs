//! The blocking side of the simulated medium. A call happens at once, in one or more effects; the
//! process may die in any of them, which then happens in part.

use std::io;

use rustix::io::Errno;

use super::file::ALL_BLOCKS;
use super::{Fault, InodeId, On, SimMedium, State};
use crate::persist::disk::{FileId, Volume};

/// The answer of a blocking call of a process that is no more.
fn gone() -> io::Error {
    io::Error::other("the simulated process has died")
}

impl State {
    /// A blocking call that changes something: refused while frozen or dead.
    fn blocking(&mut self) -> io::Result<()> {
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
        let file = state.next_file;
        state.next_file += 1;
        state.open.insert(file, inode);
        Ok(FileId(file))
    }
}

impl Volume for SimMedium {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.lock();
        if state.dead() {
            return Err(gone());
        }
        Ok(state.names.keys().cloned().collect())
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        let state = self.lock();
        if state.dead() {
            return Err(gone());
        }
        let inode = state.named(path)?;
        Ok(state.inodes[&inode].len() as u64)
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
        Ok(state.sync_dir()?)
    }
}
