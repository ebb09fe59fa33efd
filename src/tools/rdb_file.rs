//! An RDB file that a tool reads.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use crate::base::random::Random;
use crate::persist::disk::Volume;
use crate::persist::rdb::{Loaded, Modules, Options, RdbError, Visitor, visit};
use crate::persist::volume::DirVolume;
use crate::tools::progress::Progress;

/// A file, and the directory in which it lies.
pub struct RdbFile {
    volume: DirVolume,
    name: String,
    /// Its length in bytes.
    pub len: u64,
}

impl RdbFile {
    /// The file at `path`.
    pub fn open(path: &Path) -> io::Result<RdbFile> {
        let shown =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().and_then(OsStr::to_str).map(str::to_owned);
        let name = name.ok_or_else(|| shown(io::Error::other("this is no file's name")))?;
        let volume = DirVolume::open(parent).map_err(shown)?;
        let len = volume.len(&name).map_err(shown)?;
        Ok(RdbFile { volume, name, len })
    }

    /// Shows it to `visitor`, with a bar on standard error.
    pub fn visit(&self, modules: Modules, visitor: &mut dyn Visitor) -> Result<Loaded, RdbError> {
        let progress = Progress::new(self.len);
        let mut random = Random::from_system();
        let hash_seed = [random.next_u64(), random.next_u64()];
        let options =
            Options { progress: Some(&progress.read), ..Options::all(hash_seed, modules) };
        visit(&self.volume, &self.name, &options, visitor)
    }
}
