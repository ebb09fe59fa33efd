//! Configuration: the one table of directives, the grammar of `redis.conf`, the value a shard
//! works with.
//!
//! 1. Every directive has one row ([`table`]); names, defaults, `CONFIG GET` and the documentation
//!    derive from it.
//! 2. A [`Config`] is a snapshot: it is never changed in place. [`Config::changed`] makes the next
//!    one, all pairs or none, and its owner hands it round.
//! 3. The typed fields of a [`Settings`] are derived from the texts, never the other way.
//! 4. Reading knows no file system but the [`load::Sources`] it is given.

pub mod args;
pub mod files;
pub mod grammar;
pub mod load;
pub mod page;
pub mod renames;
pub mod rewrite;
pub mod rows;
pub mod settings;
pub mod table;
pub mod value;

#[cfg(test)]
mod roundtrip_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::base::glob;
pub use crate::config::load::{LoadError, Loaded};
use crate::config::renames::Renames;
pub use crate::config::settings::Permit;
pub use crate::config::settings::{CommitMethod, Flush, LogLevel, SavePoint, Settings, Shutdown};
use crate::config::table::{Directive, Kind, Status};

/// A snapshot of the configuration. Its typed fields are reached by dereferencing it:
/// `config.port`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Values as `CONFIG GET` prints them, by index in [`table::all`].
    texts: Vec<Vec<u8>>,
    settings: Settings,
    /// `rename-command`
    pub renames: Renames,
    /// The file it was read from, absolute.
    pub file: Option<PathBuf>,
}

impl std::ops::Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl Config {
    /// Every directive at its default, for a server started in the directory `cwd`.
    pub fn new(cwd: &Path) -> Self {
        let texts: Vec<Vec<u8>> = table::all().map(|d| d.default.into()).collect();
        let (settings, renames) = (Settings::default(), Renames::default());
        let mut config = Config { texts, settings, renames, file: None };
        let (dir, _) = table::find(b"dir").expect("a row");
        config.texts[dir] = path_bytes(cwd);
        config.derive();
        config
    }

    /// The value of a directive, by name or older name, as `CONFIG GET` prints it.
    pub fn text(&self, name: &str) -> Option<&[u8]> {
        table::find(name.as_bytes()).map(|(index, _)| self.texts[index].as_slice())
    }

    /// Every row with its value.
    pub fn rows(&self) -> impl Iterator<Item = (&'static Directive, &[u8])> {
        table::all().zip(self.texts.iter().map(Vec::as_slice))
    }

    /// `CONFIG GET`: names and values for these patterns, each name once, sorted. Names come back
    /// as they were asked for; patterns find older names as well, but no hidden directive.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |name: &[u8], index: usize, kind: Kind| {
            let name = String::from_utf8_lossy(name).into_owned();
            if !found.iter().any(|(n, _)| n.eq_ignore_ascii_case(&name)) {
                found.push((name, value::told(kind, &self.texts[index])));
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|b| b"[*?".contains(b)) {
                if let Some((index, row)) = table::find(pattern) {
                    add(pattern, index, row.kind);
                }
                continue;
            }
            for (index, row) in table::all().enumerate().filter(|(_, d)| !d.hidden) {
                for name in std::iter::once(row.name).chain(row.alias) {
                    if glob::matches(pattern, name.as_bytes(), true) {
                        add(name.as_bytes(), index, row.kind);
                    }
                }
            }
        }
        found.sort();
        found
    }

    /// `CONFIG SET`: the next snapshot, or the text of the error reply. `local`: a client of this
    /// machine asks for it.
    pub fn changed(&self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<Config, String> {
        self.changed_in(pairs, local, &|dir| Ok(dir.to_owned()))
    }

    /// The same; `enter` gives the plain path of a directory that is to be `dir`, or why it cannot
    /// be worked in.
    pub fn changed_in(
        &self,
        pairs: &[(&[u8], &[u8])],
        local: bool,
        enter: &Enter<'_>,
    ) -> Result<Config, String> {
        let guarded = !self.settings.enable_protected_configs.allows(local);
        let mut seen = Vec::new();
        let mut refused = None;
        for (name, _) in pairs {
            let Some((index, row)) = table::find(name) else {
                let name = String::from_utf8_lossy(name);
                return Err(format!(
                    "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                ));
            };
            let reason = match row {
                _ if refused.is_some() => None,
                d if d.immutable => Some("can't set immutable config"),
                d if d.protected && guarded => Some("can't set protected config"),
                _ if seen.contains(&index) => Some("duplicate parameter"),
                _ => None,
            };
            if let Some(reason) = reason {
                refused = Some(set_failed(&String::from_utf8_lossy(name), reason));
            }
            seen.push(index);
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        let mut next = self.clone();
        for (index, (name, value)) in seen.into_iter().zip(pairs) {
            let row = table::all().nth(index).expect("an index of the table");
            let called = String::from_utf8_lossy(name).to_ascii_lowercase();
            next.set_one(index, row, value, enter).map_err(|why| set_failed(&called, &why))?;
        }
        next.derive();
        Ok(next)
    }

    fn set_one(
        &mut self,
        index: usize,
        row: &Directive,
        value: &[u8],
        enter: &Enter<'_>,
    ) -> Result<(), String> {
        let words: Vec<&[u8]> =
            if row.takes_words() { value.split(|b| *b == b' ').collect() } else { vec![value] };
        let mut text = row.parse(&words, &self.texts[index])?;
        if text == self.texts[index] {
            return Ok(());
        }
        if row.fixed {
            return Err("Ringstone can change it only by a restart".into());
        }
        if let Status::Guarded(what) = row.status
            && text != row.default.as_bytes()
            && !self.settings.accept_unimplemented
        {
            return Err(format!("not implemented: {what}"));
        }
        if row.kind == Kind::Dir {
            text = self.other_dir(&text, enter)?;
        }
        self.texts[index] = text;
        Ok(())
    }

    /// Where snapshots go from now on. Redis moves the whole process. Its log stays where it is
    /// until the next rewrite, which leaves the old files behind and goes on elsewhere; and a
    /// restart before that looks for the log in the new place, finds none, and starts empty. So
    /// with a log `dir` is where the log is.
    fn other_dir(&self, text: &[u8], enter: &Enter<'_>) -> Result<Vec<u8>, String> {
        if self.settings.appendonly {
            return Err("the log is there: with `appendonly yes` only a restart changes it".into());
        }
        if text.is_empty() {
            return Err("No such file or directory".into());
        }
        enter(&self.resolve(&settings::os_path(text))).map(|path| path_bytes(&path))
    }

    /// Directives that were given a value other than their default and have no effect here.
    pub fn without_effect(&self) -> Vec<&'static str> {
        table::all()
            .zip(&self.texts)
            .filter(|(d, text)| d.status != Status::Effective && **text != *d.default.as_bytes())
            .map(|(d, _)| d.name)
            .collect()
    }

    /// `path` as the server sees it: relative ones start at `dir`.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.settings.dir.join(path)
    }

    fn derive(&mut self) {
        self.settings = Settings::from_texts(&|name| {
            self.text(name).unwrap_or_else(|| panic!("the table has a row for {name}"))
        });
    }
}

/// Finds a directory that is to be worked in.
pub type Enter<'a> = dyn Fn(&Path) -> Result<PathBuf, String> + 'a;

fn set_failed(name: &str, reason: &str) -> String {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
}

/// A path as bytes, as it stands in the file system.
fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}
