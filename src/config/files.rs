//! The few files that are reached past the disk traits: configuration at the start, the server's
//! log, and `/proc`, whose files are answers of the kernel and never wait for a medium.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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

/// The plain path of a directory that is to be worked in.
///
/// # Errors
/// Why it cannot be, in the words of the C library: they become a part of a reply.
pub fn enter(dir: &Path) -> Result<PathBuf, String> {
    let found = fs::canonicalize(dir).and_then(|path| {
        // A look into it, as `chdir` takes one.
        fs::metadata(path.join("."))?;
        Ok(path)
    });
    found.map_err(|error| {
        let text = error.to_string();
        text.split(" (os error").next().unwrap_or_default().to_owned()
    })
}

/// Replaces a file's text by what `change` makes of it, so that a crash leaves the old text or the
/// new one. A file that is not there counts as empty.
pub fn replace(path: &Path, change: impl FnOnce(&[u8]) -> Vec<u8>) -> io::Result<()> {
    // A link goes on pointing at the file.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (old, mode) = match File::open(&path) {
        Ok(mut file) => {
            let mut old = Vec::new();
            file.read_to_end(&mut old)?;
            (old, Some(file.metadata()?.permissions()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
        Err(error) => return Err(error),
    };
    let new = change(&old);
    let mut temp = path.clone().into_os_string();
    temp.push(format!(".{}.tmp", std::process::id()));
    let temp = PathBuf::from(temp);
    let written = write_durably(&temp, &new, mode).and_then(|()| fs::rename(&temp, &path));
    if let Err(error) = written {
        // What is left of it says nothing.
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// Makes a new file of this text. Nobody else may read it before it has the mode it is to have.
fn write_durably(path: &Path, text: &[u8], mode: Option<fs::Permissions>) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let initial = if mode.is_some() { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(initial).open(path)?;
    file.write_all(text)?;
    if let Some(mode) = mode {
        file.set_permissions(mode)?;
    }
    file.sync_all()
}

/// A file that is appended to, under its name: when it is moved away, another one is begun.
#[derive(Debug)]
pub struct Appending {
    path: PathBuf,
    file: File,
    /// Device and number of the file.
    id: (u64, u64),
}

impl Appending {
    /// Opens or makes it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let about = file.metadata()?;
        Ok(Appending { path: path.to_owned(), file, id: (about.dev(), about.ino()) })
    }

    fn follow_name(&mut self) {
        let there = fs::metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.id);
        if !there && let Ok(anew) = Appending::open(&self.path) {
            *self = anew;
        }
    }
}

impl Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.follow_name();
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The text of a file of `/proc`; empty when it cannot be read.
pub fn read_proc(path: &str) -> String {
    debug_assert!(path.starts_with("/proc/"));
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, link) = (dir.path().join("a.conf"), dir.path().join("link"));
        replace(&path, |old| [old, b"one"].concat()).expect("makes it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        replace(&link, |old| [old, b" two"].concat()).expect("replaces it");
        assert_eq!(fs::read(&path).expect("reads"), b"one two");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 2, "nothing is left");
        assert!(replace(&path.join("below"), |_| Vec::new()).is_err());
    }
}
