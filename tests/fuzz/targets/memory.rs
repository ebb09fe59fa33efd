//! A volume of one file that lies in memory and cannot be changed.

use std::io;

use ringstone::persist::disk::Volume;

/// See the file's opening.
pub struct Memory {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Memory {
    /// A volume that holds `bytes` as `name`.
    pub fn new(name: &'static str, bytes: Vec<u8>) -> Memory {
        Memory { name, bytes }
    }

    fn find(&self, path: &str) -> io::Result<&[u8]> {
        if path == self.name { Ok(&self.bytes) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn refuse(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl Volume for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(vec![self.name.to_owned()])
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        Ok(self.find(path)?.len() as u64)
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.find(path)?;
        let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let length = rest.len().min(buf.len());
        buf[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_synced(&self, _path: &str, _data: &[u8]) -> io::Result<()> {
        self.refuse()
    }

    fn truncate(&self, _path: &str, _len: u64) -> io::Result<()> {
        self.refuse()
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        self.refuse()
    }

    fn remove(&self, _path: &str) -> io::Result<()> {
        self.refuse()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.refuse()
    }
}
