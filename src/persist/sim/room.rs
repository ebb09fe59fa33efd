//! What a simulated file takes of the medium and of the page cache.

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::{Fault, InodeId, On, State};
use crate::persist::disk::FileId;

impl State {
    /// Bytes that may still be written, where they are bounded.
    pub(super) fn room(&self) -> Option<usize> {
        let names = self.names.values().chain(self.open.values());
        let live: BTreeSet<InodeId> = names.copied().collect();
        let used: usize = live.iter().map(|id| self.inodes[id].takes()).sum();
        self.capacity.map(|capacity| capacity.saturating_sub(used))
    }

    /// Takes room for a file up to `end`, unless the medium is full or has no such thing.
    pub(super) fn reserve(&mut self, inode: InodeId, end: u64) -> Result<Option<FileId>, Errno> {
        if self.no_direct {
            return Err(Errno::OPNOTSUPP);
        }
        let more = (end as usize).saturating_sub(self.inodes[&inode].takes());
        let room = self.room();
        if room.is_some_and(|room| more > room) {
            return Err(Errno::NOSPC);
        }
        self.note("room is taken ahead");
        self.inodes.get_mut(&inode).expect("it is open").reserve(end as usize);
        Ok(None)
    }

    /// Bytes of a file go on their way to the medium. Whether they get there before a flush is
    /// left to a crash anyway; where this fails they are lost, and the next flush knows nothing.
    pub(super) fn write_back(&mut self, inode: InodeId) -> Result<Option<FileId>, Errno> {
        let path = self.path_of(inode);
        let Some(Fault::Error(error)) = self.strike(On::Sync, path.as_deref()) else {
            self.note("bytes are put on their way");
            return Ok(None);
        };
        self.note("bytes are lost on their way");
        self.inodes.get_mut(&inode).expect("it is open").sync_fails(&mut self.random);
        Err(error)
    }

    /// Bytes of a file leave the page cache, which whoever asks for it says are durable.
    pub(super) fn forget(
        &mut self,
        inode: InodeId,
        offset: u64,
        len: u64,
    ) -> Result<Option<FileId>, Errno> {
        self.note("pages are forgotten");
        let file = self.inodes.get_mut(&inode).expect("it is open");
        let range = offset as usize..(offset + len) as usize;
        assert!(range.end <= file.len(), "bytes are forgotten that are not there: {range:?}");
        let lied = self.struck.contains_key("Sync lies");
        assert!(
            lied || !file.is_dirty(&range),
            "bytes are forgotten that are not durable: {range:?}"
        );
        file.forget_clean(range);
        Ok(None)
    }
}
