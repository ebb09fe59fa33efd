//! Reading a configuration: file, standard input and command line, in this order, as one text.
//!
//! The first thing wrong stops the start: nothing is skipped, nothing guessed. Messages have the
//! form of Redis', which tools look for, with the file's name behind.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::glob;
use crate::config::args::Invocation;
use crate::config::table::{self, Kind, Status};
use crate::config::{Config, grammar, path_bytes};

/// Most files that may include one another in a row.
const INCLUDE_DEPTH: usize = 16;
/// Most bytes of one configuration file.
const FILE_MAX: usize = 16 << 20;
/// Most files read for one start: includes may not multiply without end.
const FILES_MAX: usize = 1000;
/// Directives of older versions that say nothing any more, each with one argument.
const OBSOLETE: [&str; 3] =
    ["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

/// Where configuration is read from.
pub trait Sources {
    /// Reads up to `limit` bytes of a file.
    fn read(&mut self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;
    /// Reads up to `limit` bytes of standard input.
    fn read_stdin(&mut self, limit: usize) -> io::Result<Vec<u8>>;
    /// Names in a directory.
    fn list(&mut self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Tells why a directory cannot be worked in, if it cannot.
    fn enter(&mut self, dir: &Path) -> io::Result<()>;
}

/// A configuration that has been read.
#[derive(Debug)]
pub struct Loaded {
    /// It.
    pub config: Config,
    /// Absolute path of the file, if there was one.
    pub file: Option<PathBuf>,
    /// What the operator should know before the server starts, one sentence each.
    pub warnings: Vec<String>,
}

/// Why a configuration was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The line's number from 1 on and its text, when it is about one.
    pub line: Option<(usize, String)>,
    /// Where it stands: a file, standard input or the command line. Lines are counted in each.
    pub place: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = crate::base::version::REDIS;
        writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Redis {version}) ***")?;
        if let Some((number, text)) = &self.line {
            writeln!(f, "Reading the configuration file, at line {number}")?;
            writeln!(f, ">>> '{text}'")?;
        }
        writeln!(f, "{}", self.reason)?;
        if let Some(place) = &self.place {
            writeln!(f, "(in {place})")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// Reads what `invocation` names. `cwd` is the directory the server was started in; `is_command`
/// knows the names of all commands.
pub fn load(
    invocation: &Invocation,
    cwd: &Path,
    sources: &mut dyn Sources,
    is_command: &dyn Fn(&[u8]) -> bool,
) -> Result<Loaded, LoadError> {
    let mut reader = Reader {
        config: Config::new(cwd),
        sources,
        is_command,
        files: 0,
        save: false,
        open_user: None,
        guarded: None,
    };
    let file = invocation.file.as_ref().map(|path| cwd.join(path));
    if let Some(path) = &file {
        let text = reader.read_file(path)?;
        reader.read_text(&text, &path.display().to_string(), 0)?;
    }
    if invocation.stdin {
        let text = reader.sources.read_stdin(FILE_MAX).map_err(|e| LoadError {
            line: None,
            place: None,
            reason: format!("can't read standard input: {e}"),
        })?;
        reader.read_text(&text, "standard input", 0)?;
    }
    reader.read_text(&invocation.options, "the command line", 0)?;
    reader.finish(file)
}

struct Reader<'a> {
    config: Config,
    sources: &'a mut dyn Sources,
    is_command: &'a dyn Fn(&[u8]) -> bool,
    /// Files read so far.
    files: usize,
    /// There was a `save` line.
    save: bool,
    /// The line that lets the default user in without a password.
    open_user: Option<LoadError>,
    /// The first line that guards safety and has no effect.
    guarded: Option<LoadError>,
}

impl Reader<'_> {
    fn read_file(&mut self, path: &Path) -> Result<Vec<u8>, LoadError> {
        let fail = |reason: String| LoadError { line: None, place: None, reason };
        self.files += 1;
        if self.files > FILES_MAX {
            return Err(fail(format!("more than {FILES_MAX} configuration files")));
        }
        let text = self.sources.read(path, FILE_MAX + 1).map_err(|e| {
            let path = path.display();
            fail(format!("Fatal error, can't open config file '{path}': {e}"))
        })?;
        if text.len() > FILE_MAX {
            let path = path.display();
            return Err(fail(format!("config file '{path}' is longer than {FILE_MAX} bytes")));
        }
        Ok(text)
    }

    fn read_text(&mut self, text: &[u8], place: &str, depth: usize) -> Result<(), LoadError> {
        for (index, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let at = |reason: String| LoadError {
                line: Some((index + 1, String::from_utf8_lossy(line).into_owned())),
                place: Some(place.to_owned()),
                reason,
            };
            let words = grammar::split(line)
                .ok_or_else(|| at("Unbalanced quotes in configuration line".into()))?;
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let Some((name, values)) = words.split_first() else { continue };
            if name.eq_ignore_ascii_case(b"include") && values.len() == 1 {
                self.include(values[0], depth, &at)?;
                continue;
            }
            match self.directive(name, values) {
                Ok(Outcome::Done) => {}
                Ok(Outcome::OpenUser) => self.open_user = Some(at(String::new())),
                Ok(Outcome::Guarded(what)) => {
                    let reason = unimplemented(name, what);
                    self.guarded.get_or_insert_with(|| at(reason));
                }
                Err(reason) => return Err(at(reason)),
            }
        }
        Ok(())
    }

    fn directive(&mut self, name: &[u8], values: &[&[u8]]) -> Result<Outcome, String> {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        let Some((index, row)) = table::find(name) else {
            if OBSOLETE.into_iter().any(is) && values.len() == 1 {
                return Ok(Outcome::Done);
            }
            if let (true, [own, new]) = (is("rename-command"), values) {
                self.config.renames.add(own, new, self.is_command)?;
                return Ok(Outcome::Done);
            }
            return foreign(name, values);
        };
        if !row.takes_words() && values.len() != 1 {
            return Err("wrong number of arguments".into());
        }
        let before = &self.config.texts[index];
        let mut text = match values {
            // `--save "60 1"`: one quoted word may stand for several.
            [one] if row.takes_words() => {
                row.parse(&one.split(|b| *b == b' ').collect::<Vec<_>>(), before)?
            }
            _ => row.parse(values, before)?,
        };
        let mut outcome = Outcome::Done;
        match row.kind {
            Kind::Save => {
                // The first line replaces the defaults, later ones add to it.
                if self.save && !text.is_empty() && !before.is_empty() {
                    text = [before, b" ".as_slice(), &text].concat();
                }
                self.save = true;
            }
            Kind::Dir => {
                let path = self.config.resolve(&super::settings::os_path(&text));
                self.sources.enter(&path).map_err(|e| e.to_string())?;
                text = path_bytes(&path);
            }
            _ => {}
        }
        if let Status::Guarded(what) = row.status
            && text != row.default.as_bytes()
        {
            outcome = Outcome::Guarded(what);
        }
        self.config.texts[index] = text;
        self.config.derive();
        Ok(outcome)
    }

    fn include(
        &mut self,
        pattern: &[u8],
        depth: usize,
        at: &dyn Fn(String) -> LoadError,
    ) -> Result<(), LoadError> {
        if depth == INCLUDE_DEPTH {
            return Err(at(format!("more than {INCLUDE_DEPTH} nested includes")));
        }
        let path = self.config.resolve(&super::settings::os_path(pattern));
        let paths = if pattern.iter().any(|b| b"*?[".contains(b)) {
            self.expand(&path)
        } else {
            vec![path]
        };
        for path in paths {
            let text = self.read_file(&path).map_err(|e| at(e.reason))?;
            self.read_text(&text, &path.display().to_string(), depth + 1)?;
        }
        Ok(())
    }

    /// The files a pattern names, sorted; a directory that cannot be read holds none. Any part of
    /// the path may be a pattern.
    fn expand(&mut self, pattern: &Path) -> Vec<PathBuf> {
        let mut paths = vec![PathBuf::new()];
        let mut listed = false;
        for part in pattern.components() {
            let wanted = path_bytes(Path::new(&part));
            listed |= wanted.iter().any(|b| b"*?[".contains(b));
            if !listed {
                paths.iter_mut().for_each(|path| path.push(part));
                continue;
            }
            // Parts behind the first pattern have to be there as well.
            let fits = |path: &PathBuf| {
                let name = path.file_name().map(|n| path_bytes(Path::new(n))).unwrap_or_default();
                (!name.starts_with(b".") || wanted.starts_with(b"."))
                    && glob::matches(&wanted, &name, false)
            };
            let list = |dir: &PathBuf| self.sources.list(dir).unwrap_or_default();
            paths = paths.iter().flat_map(list).filter(fits).take(FILES_MAX + 1).collect();
        }
        paths.sort();
        paths
    }

    fn finish(mut self, file: Option<PathBuf>) -> Result<Loaded, LoadError> {
        let mut config = self.config;
        config.file.clone_from(&file);
        let mut warnings = Vec::new();
        if let Some(mut line) = self.open_user.filter(|_| config.requirepass.is_some()) {
            line.reason = unimplemented(b"user", "a user without a password beside `requirepass`");
            self.guarded.get_or_insert(line);
        }
        if !config.appendonly {
            let text = match config.save_points.as_slice() {
                [] => {
                    "`appendonly no` without save points: what no SAVE or BGSAVE has written is \
                     lost when the server stops."
                }
                _ => {
                    "`appendonly no`: what has changed since the last snapshot is lost when the \
                     server is killed or the power fails."
                }
            };
            warnings.push(text.to_owned());
        }
        if let Some(refusal) = self.guarded.filter(|_| !config.accept_unimplemented) {
            return Err(refusal);
        }
        let idle = config.without_effect();
        if !idle.is_empty() {
            warnings.push(format!("Directives without effect here: {}", idle.join(", ")));
        }
        Ok(Loaded { config, file, warnings })
    }
}

/// What came of a line.
enum Outcome {
    Done,
    /// It defines the default user as it is without any definition.
    OpenUser,
    /// It guards safety and has no effect.
    Guarded(&'static str),
}

/// Lines that are no directives of the table.
fn foreign(name: &[u8], values: &[&[u8]]) -> Result<Outcome, String> {
    let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    if is("user") && is_open_user(values) {
        return Ok(Outcome::OpenUser);
    }
    if is("user") && !values.is_empty() {
        return Ok(Outcome::Guarded("there are no users but the default one"));
    }
    if is("loadmodule") && !values.is_empty() {
        return Ok(Outcome::Guarded("there are no modules"));
    }
    if name.contains(&b'.') {
        return match values {
            [_] => Ok(Outcome::Guarded("there are no modules")),
            _ => Err("Module config specified without value".into()),
        };
    }
    if is("sentinel") {
        return match values {
            [] => Ok(Outcome::Done),
            _ => Err("sentinel directive while not in sentinel mode".into()),
        };
    }
    Err("Bad directive or wrong number of arguments".into())
}

/// Whether these words define the default user as redis-server's own CONFIG REWRITE writes it down
/// when nobody has changed it: that is how it is here anyway.
fn is_open_user(values: &[&[u8]]) -> bool {
    const RULES: [&[u8]; 6] = [b"on", b"nopass", b"sanitize-payload", b"~*", b"&*", b"+@all"];
    let Some((name, rules)) = values.split_first() else { return false };
    *name == b"default"
        && RULES.iter().all(|rule| rules.contains(rule))
        && rules.iter().all(|rule| RULES.contains(rule))
}

fn unimplemented(name: &[u8], what: &str) -> String {
    let name = String::from_utf8_lossy(name);
    format!(
        "Ringstone does not implement this use of '{name}' yet ({what}), and neglecting it would \
         make the server less safe than you asked for. To start all the same: \
         accept-unimplemented yes"
    )
}
