//! The few files that are reached past the disk traits: configuration at the start, the server's
//! log, and `/proc`, whose files are answers of the kernel and never wait for a medium.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::load::Sources;

/// Real files and the real standard input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Sources for Files {
    fn read(&mut self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_stdin(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io::stdin().lock().take(limit as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn enter(&mut self, dir: &Path) -> io::Result<()> {
        match fs::metadata(dir)?.is_dir() {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }
}

/// Opens a file to append to, creating it.
pub fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The text of a file of `/proc`; empty when it cannot be read.
pub fn read_proc(path: &str) -> String {
    debug_assert!(path.starts_with("/proc/"));
    fs::read_to_string(path).unwrap_or_default()
}
