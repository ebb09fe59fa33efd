//! The one place where a file replaces another so that a crash leaves one of the two; the lock on
//! the data directory; and what tells whether the page cache is still the one that was written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, StatxFlags};

use crate::persist::disk::Volume;

/// Name of the lock file in the data directory.
pub const LOCK_FILE: &str = "ringstone.lock";

/// Makes `name` hold `data`, durably: written and flushed under `temp`, renamed, and the directory
/// flushed. After a crash in between, `name` holds what it held before or `data`.
///
/// The flush of the directory in front of the rename makes files that `data` may name durable
/// under their names before it can name them.
pub fn replace(volume: &dyn Volume, temp: &str, name: &str, data: &[u8]) -> io::Result<()> {
    volume.write_synced(temp, data)?;
    volume.sync_dir()?;
    volume.rename(temp, name)?;
    volume.sync_dir()
}

/// The data directory, locked for as long as this value lives; the kernel gives the lock back when
/// the process is gone, however it went.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Why the lock was not got.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    Held {
        /// That process, when it has said so.
        pid: Option<u32>,
    },
    /// The lock file cannot be opened, locked or written.
    Io(io::Error),
}

impl std::fmt::Display for LockError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LockError::Held { pid: Some(pid) } => {
                write!(f, "the data directory is in use by the process {pid}")
            }
            LockError::Held { pid: None } => {
                f.write_str("the data directory is in use by another process")
            }
            LockError::Io(error) => write!(f, "cannot lock the data directory: {error}"),
        }
    }
}

impl std::error::Error for LockError {}

impl DirLock {
    /// Locks `dir` and writes our process id into the lock file.
    pub fn take(dir: &Path) -> Result<DirLock, LockError> {
        let path = dir.join(LOCK_FILE);
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false);
        let mut file = open.open(path).map_err(LockError::Io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The holder may not have written it yet: then nobody is named.
                let _ = (&file).take(32).read_to_string(&mut text);
                return Err(LockError::Held { pid: text.trim().parse().ok() });
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(LockError::Io)?;
        Ok(DirLock { _file: file })
    }
}

/// What stays the same as long as the page cache of `dir` is kept: the kernel's boot id, and the
/// id of the mount, since a file system that was unmounted (or shut down) and mounted again comes
/// back with what its medium held. Before Linux 6.8 mount ids are used again, so that such a
/// remount may go unseen.
pub fn boot_identity(dir: &Path) -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    // STATX_MNT_ID_UNIQUE, which a kernel that does not know it answers with the plain id.
    let mask = StatxFlags::MNT_ID | StatxFlags::from_bits_retain(0x4000);
    let found = rustix::fs::statx(rustix::fs::CWD, dir, AtFlags::empty(), mask)?;
    Ok(format!("{}/{:x}", boot.trim(), found.stx_mnt_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_learns_who_holds_the_directory() {
        let temp = tempfile::tempdir().unwrap();
        let lock = DirLock::take(temp.path()).unwrap();
        match DirLock::take(temp.path()) {
            Err(LockError::Held { pid }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(lock);
        DirLock::take(temp.path()).unwrap();
    }

    #[test]
    fn the_boot_identity_stays() {
        let temp = tempfile::tempdir().unwrap();
        let first = boot_identity(temp.path()).unwrap();
        assert_eq!(first, boot_identity(temp.path()).unwrap());
        assert!(first.len() > 37 && first.len() < 64, "{first}");
    }
}
