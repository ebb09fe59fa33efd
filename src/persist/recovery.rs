//! From a directory to a log that can be written again: find out, load, make permanent.
//!
//! # The states
//!
//! ```text
//!  look     manifest? lone file? nothing?         -> read  | fresh | refuse
//!  read     manifest parsed, files there, lines grouped into steps  | refuse
//!  scan     every file of ours checked, frame by frame              | refuse
//!  judge    gaps of the last generation: torn, or damage            | refuse
//!  cut      the greatest consistent choice of prefixes (aof::cut)   | refuse
//!  ------   `inspect` ends: a [`Plan`]; nothing on disk has changed
//!  load     the caller replays the steps                            | refuse
//!  ------   `commit` begins
//!  aside    what will be cut off is copied to `*.cut` files
//!  prepare  new files written: kept fronts of cut frames, copies, the empty new generation
//!  commit   one manifest rename names the ends of the old files and the new files
//!  shorten  old files cut to the ends that were named
//!  clean    files that no manifest names any more are removed
//!  ------   [`Started`]: only now may anything be appended or served
//! ```
//!
//! # Why a crash anywhere converges
//!
//! * Before the rename is durable the old manifest stands. No file that it names has changed, but
//!   for the torn end of a last foreign file, which is cut at the place every later look finds
//!   again, and which no look counts. Files that were prepared are not named by it: they are
//!   written over by the next try, which gives them the same names, and are never read.
//! * The rename decides. Everything it names was flushed, and the directory with it, before.
//! * Behind it the new manifest stands. An old file that is still too long is named with its end,
//!   and bytes behind a named end never count, in any generation but the last; so it reads the
//!   same before and after it is shortened. What is to be removed is named by nothing.
//!
//! The kept front of a frame that must be cut inside cannot stay in its file, since a front has no
//! checksum: it goes, with a SELECT in front of it when it needs one, into a *tail* file of plain
//! commands whose length and checksum the manifest holds. Cutting the old file at the border in
//! front of that frame and naming the tail are one and the same rename, so the two never count
//! both or neither.
//!
//! Positions and ids of the new generation begin above everything that was ever in the old logs,
//! lost ends included (an upper bound: the bytes of the file behind the gap), so a demand of an old
//! mark can never be met by a new write.
//!
//! # What another server leaves
//!
//! A manifest without our pairs, or lines without them, name files that are replayed as Redis
//! would. When another server has loaded a log of ours and gone on in it, its commands stand behind
//! our last frame, in the file listed last: behind the end of a clean stop, or at a frame border
//! of a log that is otherwise whole. They become a file of their own. The first bytes of a torn
//! frame are `#R1 ` or nothing that was ever written, never a whole command.

use std::fmt;
use std::io;

use crate::base::replication::Replication;
use crate::persist::aof::cut::Kept;
use crate::persist::aof::manifest::{Line, Manifest, ManifestError};
use crate::persist::aof::resp::{Fault, LogError};
use crate::persist::aof::stream::Reached;
use crate::persist::disk::Volume;

pub use crate::persist::aof::repair::{Started, StartedFile, commit};
pub use crate::persist::inspect::inspect;

/// What recovery is told.
#[derive(Clone, Copy)]
pub struct Options<'v> {
    /// `appendfilename`.
    pub appendfilename: &'v str,
    /// `dbfilename`.
    pub dbfilename: &'v str,
    /// Shards of the generation that is to begin.
    pub shards: usize,
    /// [`super::durable::boot_identity`] of the log directory.
    pub boot_id: &'v str,
    /// `aof-load-truncated`.
    pub load_truncated: bool,
    /// `aof-load-corrupt-tail-max-size`: bytes cut at most from where a file is damaged.
    pub corrupt_tail_max: u64,
    /// The data directory (`dir`), where lone files may lie.
    pub data: &'v dyn Volume,
    /// Keep nothing that is later than this second of Unix time, as far as `#TS:` lines tell.
    pub until: Option<i64>,
    /// Keep nothing behind these positions.
    pub bounds: Option<&'v Bounds>,
    /// History stays listed, and its files stay.
    pub keep_history: bool,
    /// Cut the last generation at its gaps even when they prove damage (a human has said so).
    pub accept_damage: bool,
}

impl<'v> Options<'v> {
    /// Those of a start with the directives as they come: everything is wanted, and a torn tail is
    /// cut.
    pub fn plain(
        appendfilename: &'v str,
        dbfilename: &'v str,
        shards: usize,
        boot_id: &'v str,
        data: &'v dyn Volume,
    ) -> Self {
        Options {
            appendfilename,
            dbfilename,
            shards,
            boot_id,
            load_truncated: true,
            corrupt_tail_max: 0,
            data,
            until: None,
            bounds: None,
            keep_history: false,
            accept_damage: false,
        }
    }
}

/// Positions in the logs of the shards behind which nothing is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds(pub std::collections::BTreeMap<u8, u64>);

impl Bounds {
    /// That of a shard; one that is not named has none.
    pub fn of(&self, shard: u8) -> u64 {
        self.0.get(&shard).copied().unwrap_or(u64::MAX)
    }
}

/// Where a file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the log directory.
    Log,
    /// In the data directory: not yet adopted.
    Data,
}

/// How the commands of a file may end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// They may break off: the last file, when `aof-load-truncated` says so.
    pub may_break_off: bool,
    /// They may end in so many bytes of anything, counted from the last whole command outside of
    /// any open transaction: the last file, as `aof-load-corrupt-tail-max-size` says.
    pub corrupt_max: u64,
}

impl Tail {
    /// Whether a file of `len` bytes may be cut to `whole`, since this was found there.
    pub fn forgives(self, fault: &Fault, whole: u64, len: u64) -> bool {
        match fault {
            Fault::Truncated => self.may_break_off,
            Fault::Format(_) => self.corrupt_max > 0 && len - whole <= self.corrupt_max,
            _ => false,
        }
    }
}

/// A shard's file of a generation, to be replayed with a `FrameReader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationFile {
    /// Its name.
    pub file: String,
    /// Whose log it is.
    pub shard: u8,
    /// Seed of its checksums.
    pub seed: u64,
    /// Position of its first payload byte.
    pub start: u64,
    /// Position up to which it is kept.
    pub end: u64,
}

/// One thing to load; the steps are loaded one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An RDB, perhaps with commands behind it.
    Rdb {
        /// Its name.
        file: String,
        /// Where it lies.
        place: Place,
        /// How the commands behind it may end; where they do the loader tells [`Plan::set_end`].
        tail: Tail,
    },
    /// Plain commands, read as Redis reads them: database 0 at the start.
    Foreign {
        /// The file's name.
        file: String,
        /// Where it lies.
        place: Place,
        /// Offset of the first command.
        from: u64,
        /// Offset behind the last one.
        end: u64,
    },
    /// Plain commands of ours: a whole-keyspace command, or the kept front of a cut frame.
    Part {
        /// The file's name.
        file: String,
        /// Its length in bytes.
        len: u64,
    },
    /// The files of one generation; they may be replayed side by side.
    Generation {
        /// How many shards wrote it.
        shards: u8,
        /// The files; none for a shard that wrote nothing.
        files: Vec<GenerationFile>,
    },
}

/// What was found in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its name.
    pub file: String,
    /// What it is: `BASE` or `INCR`.
    pub role: &'static str,
    /// Its length in bytes.
    pub size: u64,
    /// Offset up to which it counts.
    pub ok_up_to: u64,
}

/// What was found, and what is to be done about it.
pub struct Plan<'v> {
    /// What to load, in order.
    pub steps: Vec<Step>,
    /// What a human should know, a line each.
    pub report: Vec<String>,
    /// The files, in the order of the manifest.
    pub checked: Vec<Checked>,
    /// The id the next multi-shard entry gets.
    pub next_id: u64,
    /// The position at which the logs of the next generation begin.
    pub next_pos: u64,
    /// How far the history goes, and how sure that is.
    pub reached: Reached,
    /// What it is called from here on; what has no name gets one when the plan is made permanent.
    pub replication: Replication,
    /// The first second that the log tells of, when [`Options::until`] asks for one.
    pub since: Option<i64>,
    /// Something is later than [`Options::until`] or behind [`Options::bounds`], and is cut.
    pub late: bool,
    pub(super) options: Options<'v>,
    pub(super) source: Source,
    /// Files all of which is later than that: they go from the manifest.
    pub(super) dropped: Vec<String>,
    /// Tails of which only the first bytes are kept: name and how many. They are dropped, and
    /// these are written anew.
    pub(super) tails: Vec<(String, u64)>,
    /// The last generation's files, if there is one.
    pub(super) last: Vec<LastFile>,
    /// Sealed files that are longer than their end: name and length to cut to.
    pub(super) longer: Vec<(String, u64)>,
    /// Files that end with filler: name and length without it.
    pub(super) blank: Vec<(String, u64)>,
    /// What another server wrote behind our last frame: file, from, to.
    pub(super) appended: Option<(String, u64, u64)>,
    /// A last foreign file that breaks off: name and length to cut to.
    pub(super) broken_off: Option<(String, u64)>,
}

impl fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("steps", &self.steps)
            .field("report", &self.report)
            .field("next_id", &self.next_id)
            .field("next_pos", &self.next_pos)
            .field("longer", &self.longer)
            .field("blank", &self.blank)
            .finish_non_exhaustive()
    }
}

/// What there was to read.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Nothing: a first start.
    Fresh,
    /// A manifest.
    Listed(Manifest),
    /// A single file in the data directory, and the name it gets in the log directory.
    Lone { file: String, becomes: String, moved: bool },
}

/// A file of the last generation and where it is cut.
#[derive(Clone, Debug)]
pub(super) struct LastFile {
    pub line: Line,
    pub len: u64,
    /// What stands behind this offset, filler or zeros, tells nothing.
    pub solid: u64,
    pub kept: Kept,
}

/// Why a directory is refused. Nothing on disk has changed.
#[derive(Debug)]
pub enum RecoveryError {
    /// The disk failed at this file.
    Io {
        /// The file.
        file: String,
        /// How.
        error: io::Error,
    },
    /// The manifest cannot be read.
    Manifest {
        /// Its name.
        file: String,
        /// Why.
        error: ManifestError,
    },
    /// A file of the log cannot be read.
    Log {
        /// Where and why.
        error: LogError,
        /// The manifest, for the command that mends.
        manifest: String,
    },
    /// What was kept once is not there, or something is that cannot be.
    Damaged {
        /// The file.
        file: String,
        /// Offset in it, in bytes.
        offset: u64,
        /// What is wrong and how that is known.
        what: String,
        /// The manifest, for the command that mends.
        manifest: String,
    },
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manifest = match self {
            RecoveryError::Io { file, error } => return write!(f, "{file}: {error}"),
            RecoveryError::Manifest { file, error } => {
                write!(f, "{file}: {error}")?;
                file
            }
            RecoveryError::Log { error, manifest } => return advise(f, error, manifest),
            RecoveryError::Damaged { file, offset, what, manifest } => {
                write!(f, "{file} at offset {offset}: {what}")?;
                manifest
            }
        };
        write!(f, " (see: ringstone check-aof {manifest})")
    }
}

/// What is wrong with a file, and what can be done, in the words in which Redis says it.
fn advise(f: &mut fmt::Formatter<'_>, error: &LogError, manifest: &str) -> fmt::Result {
    let LogError { file, offset, fault } = error;
    let backup = "make a backup of your AOF file, then use ringstone check-aof --fix";
    match fault {
        Fault::Truncated => write!(
            f,
            "Unexpected end of file reading the append only file {file} at offset {offset}. You \
             can: 1) {backup} {manifest}. 2) Alternatively you can set the 'aof-load-truncated' \
             configuration option to yes and restart the server."
        ),
        Fault::Format(what) => write!(
            f,
            "Bad file format reading the append only file {file} at offset {offset}: {what}: \
             {backup} {manifest}"
        ),
        _ => write!(f, "{error} (see: ringstone check-aof {manifest})"),
    }
}

impl std::error::Error for RecoveryError {}

pub(super) fn io_error(file: &str) -> impl FnOnce(io::Error) -> RecoveryError {
    move |error| RecoveryError::Io { file: file.to_owned(), error }
}

impl Plan<'_> {
    /// `appendfilename` of the log.
    pub fn appendfilename(&self) -> &str {
        self.options.appendfilename
    }

    /// Tells where the commands behind an RDB really end, when the last file broke off.
    pub fn set_end(&mut self, file: &str, end: u64) {
        self.broken_off = Some((file.to_owned(), end));
    }

    /// True when nothing is lost by what has to be cut: filler that is being written may break off,
    /// and what a file holds behind a named end never counts.
    pub fn loses_nothing(&self) -> bool {
        let whole = |l: &LastFile| l.kept.offset >= l.solid;
        self.last.iter().all(whole) && self.broken_off.is_none()
    }

    /// True when nothing has to be cut: another server reads the log as it stands.
    pub fn is_whole(&self) -> bool {
        let uncut = |l: &LastFile| l.kept.offset == l.len;
        !self.late
            && self.last.iter().all(uncut)
            && self.longer.is_empty()
            && self.broken_off.is_none()
    }
}
