//! Filling keyspaces from files whose kept ends are known: RDB, our logs, logs of other servers.
//!
//! ```text
//!            foreign logs: one thread, all keyspaces        own logs: every shard by itself
//! steps   ─── base ── incr ── incr ────────────────────┬─── generation ── part ── generation ───
//!                                                      └ together_until()
//! ```
//!
//! # Why no shard waits for another
//!
//! Our own files are loaded by each shard alone: it reads, in the manifest's order, every file that
//! may concern it and executes only the commands whose key it owns. That gives every key its whole
//! history in order, with any number of shards then and now:
//!
//! 1. Within a generation all commands on a key stand in one file, that of the shard which owned
//!    its slot, in the order in which they were executed. Commands in different files of a
//!    generation therefore touch different keys, and their order does not matter.
//! 2. Every logged command names keys of one slot range only, and what a command over several
//!    shards did stands in each shard's file as effects on that shard's own keys.
//! 3. A whole-keyspace command stands in a part between two generations: everything executed
//!    before it is in earlier files, everything after it in later ones. Each shard carries it out
//!    on its own keyspace when it comes to it.
//!
//! So no shard's data depends on how far another has come, and there is no barrier. RDB files hold
//! each key once, so each shard takes its own out of them, and decompresses no others.
//!
//! A log that another server wrote gives no such promise (MSET, RENAME, FLUSHALL in the middle):
//! it is replayed by one thread with all keyspaces at hand, before the shards go on alone.
//!
//! Replaying a command is executing it, with its reply thrown away and nothing logged. Nothing
//! expires meanwhile: what came later was written when it was there. An error reply is damage, and
//! is told with file, offset and the command's name, never with what it carries.

mod delay;
mod execute;
mod store;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::clock::Now;
use crate::base::crc::slots_of;
use crate::base::memory::Ahead;
use crate::base::random::Random;
use crate::base::replication::Told;
use crate::command::{Command, Spaces};
use crate::keyspace::space::Counters;
use crate::keyspace::{Effects, Keyspace};
use crate::persist::aof::reader::FrameReader;
use crate::persist::aof::resp::{LogError, PlainReader};
use crate::persist::disk::Volume;
use crate::persist::load::delay::Delay;
use crate::persist::load::store::Store;
use crate::persist::rdb::index::Index;
use crate::persist::rdb::{self, RdbError, format};
use crate::persist::recovery::{GenerationFile, Place, Step, Tail};
use crate::resp::Reply;
use crate::value::shapes::Shapes;

/// Remarks kept for the log line that tells of the load.
const NOTICES_MAX: usize = 16;
/// Bytes read between two steps of the progress counter.
const PROGRESS_STEP: u64 = 1 << 16;
/// Commands between two clearances of what they replaced: nobody waits for us, so nothing need be
/// freed in slices.
const GARBAGE_STEP: u64 = 1024;

/// What loading needs to know.
#[derive(Clone, Copy)]
pub struct Loading<'a> {
    /// The log directory.
    pub log: &'a dyn Volume,
    /// The data directory, where files lie that are not adopted yet.
    pub data: &'a dyn Volume,
    /// Number of shards from now on.
    pub shards: usize,
    /// The time of the start.
    pub now: Now,
    /// Longest string, in bytes.
    pub string_max: u64,
    /// Up to which size values are kept as one piece.
    pub shapes: Shapes,
    /// What becomes of the data of modules (`rdb-module-data`).
    pub modules: rdb::Modules,
    /// Raised by the bytes read or passed over.
    pub progress: &'a AtomicU64,
    /// `key-load-delay`: microseconds for each key of an RDB file and each command; negative: for
    /// so many of them.
    pub key_delay: i32,
}

impl<'a> Loading<'a> {
    fn volume(&self, place: Place) -> &'a dyn Volume {
        match place {
            Place::Log => self.log,
            Place::Data => self.data,
        }
    }

    /// Bytes of all files, each counted once: what [`Loading::progress`] reaches, about, when they
    /// are loaded together, and so many times that when so many shards load them alone.
    pub fn total_bytes(&self, steps: &[Step]) -> u64 {
        let len = |place, file: &str| self.volume(place).len(file).unwrap_or(0);
        let of_step = |step: &Step| match step {
            Step::Rdb { file, place, .. } | Step::Foreign { file, place, .. } => len(*place, file),
            Step::Part { file, .. } => len(Place::Log, file),
            Step::Generation { files, .. } => {
                files.iter().map(|f| len(Place::Log, &f.file)).sum::<u64>()
            }
        };
        steps.iter().map(of_step).sum()
    }
}

/// What was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Keys stored from RDB files.
    pub keys: u64,
    /// Commands executed.
    pub commands: u64,
    /// Remarks that files make about themselves (AUX keys that begin with `%`).
    pub notices: Vec<String>,
    /// Values and other data of modules that were passed over.
    pub skipped_modules: u64,
    /// Keys that held nothing and were left out, and the names of the first of them.
    pub empty: u64,
    /// See there.
    pub left_out: Vec<String>,
    /// A file whose commands break off, as it may, and the offset up to which they are whole.
    pub broken_off: Option<(String, u64)>,
    /// What the last RDB file says of the history its data belongs to.
    pub told: Told,
}

/// Why a file could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// Its bytes.
    Log(LogError),
    /// An RDB's bytes.
    Rdb(RdbError),
    /// Nothing can be read of it.
    Io {
        /// The file.
        file: String,
        /// What the medium says.
        error: io::Error,
    },
    /// A command in it.
    Command {
        /// The file.
        file: String,
        /// Offset of the command.
        offset: u64,
        /// The command's name, escaped and perhaps shortened.
        name: String,
        /// What is wrong with it.
        why: Why,
    },
    /// Text behind an RDB that was to be loaded by every shard by itself.
    Text {
        /// The file.
        file: String,
        /// Offset of the text.
        offset: u64,
    },
}

/// What is wrong with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// This version does not know it.
    Unknown,
    /// It does not take so many arguments.
    Arguments,
    /// It answered with this error.
    Failed(String),
    /// It selects a database beyond the configured number.
    Database,
    /// It acts on clients, not on data.
    NotData,
    /// It stands in a shard's log and names no key.
    NoKey,
    /// It stands in a shard's log and names a key of another shard.
    Misplaced,
    /// It stands in a file of ours and names keys of several shards.
    ManyShards,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Log(error) => error.fmt(f),
            LoadError::Rdb(error) => error.fmt(f),
            LoadError::Io { file, error } => write!(f, "{file}: {error}"),
            LoadError::Command { file, offset, name, why } => {
                write!(f, "{file} at offset {offset}: {name}: {why}")
            }
            LoadError::Text { file, offset } => {
                write!(f, "{file} at offset {offset}: unexpected bytes behind the RDB")
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Unknown => "this version does not know the command",
            Why::Arguments => "wrong number of arguments",
            Why::Failed(text) => return write!(f, "it fails: {text}"),
            Why::Database => "no such database; raise `databases` in the configuration",
            Why::NotData => "not a command on data",
            Why::NoKey => "a command without a key in a shard's log",
            Why::Misplaced => "a key of another shard in a shard's log",
            Why::ManyShards => "keys of several shards in one command",
        })
    }
}

impl std::error::Error for LoadError {}

impl From<LogError> for LoadError {
    fn from(error: LogError) -> Self {
        LoadError::Log(error)
    }
}

impl From<RdbError> for LoadError {
    fn from(error: RdbError) -> Self {
        LoadError::Rdb(error)
    }
}

/// How many of the first steps must be loaded by [`load_together`]; the rest, and mostly all, is
/// for [`load_shard`] on each shard's own thread.
pub fn together_until(loading: &Loading<'_>, steps: &[Step]) -> Result<usize, LoadError> {
    for (at, step) in steps.iter().enumerate().rev() {
        let alone = match step {
            Step::Part { .. } | Step::Generation { .. } => true,
            Step::Foreign { .. } => false,
            Step::Rdb { file, place, .. } => is_pure_rdb(loading.volume(*place), file)
                .map_err(|error| LoadError::Io { file: file.clone(), error })?,
        };
        if !alone {
            return Ok(at + 1);
        }
    }
    Ok(0)
}

/// Loads what belongs to `space`'s shard from files that each shard may load alone.
pub fn load_shard(
    loading: &Loading<'_>,
    steps: &[Step],
    space: &mut Keyspace,
) -> Result<Report, LoadError> {
    assert!(space.shard < loading.shards);
    let effects = std::mem::replace(&mut space.effects, Effects::new(0, false));
    let alone = Some(space.shard);
    let _ahead = Ahead::begin();
    let result = Replay::new(loading, alone, Spaces::One(&mut *space)).steps(steps);
    finish(space, effects);
    result
}

/// Loads files in order into all keyspaces, by shard; any command will do.
pub fn load_together(
    loading: &Loading<'_>,
    steps: &[Step],
    spaces: &mut [Option<Box<Keyspace>>],
) -> Result<Report, LoadError> {
    assert_eq!(spaces.len(), loading.shards);
    let mut effects = Vec::with_capacity(spaces.len());
    for space in spaces.iter_mut() {
        let space = space.as_deref_mut().expect("every keyspace is at hand");
        effects.push(std::mem::replace(&mut space.effects, Effects::new(0, false)));
    }
    let _ahead = Ahead::begin();
    let result = Replay::new(loading, None, Spaces::Many(&mut *spaces)).steps(steps);
    for (space, effects) in spaces.iter_mut().flatten().zip(effects) {
        finish(space, effects);
    }
    result
}

/// Gives a loaded keyspace its log back; what loading counted is nobody's business.
fn finish(space: &mut Keyspace, effects: Effects) {
    space.effects = effects;
    space.garbage.clear();
    space.counters = Counters::default();
    space.read_tag = 0;
}

/// Whether no text stands behind an RDB. Wrong only towards yes-there-is, since text ends in a line
/// end, and an RDB in the code of its end and eight bytes of checksum. (Text that breaks off may
/// imitate that; each shard finds it then and refuses.)
fn is_pure_rdb(volume: &dyn Volume, file: &str) -> io::Result<bool> {
    let len = volume.len(file)?;
    if len <= format::HEADER_LEN as u64 {
        return Ok(false);
    }
    let mut header = [0; format::HEADER_LEN];
    volume.read_exact(file, 0, &mut header)?;
    let mut tail = [0; 9];
    volume.read_exact(file, len - 9, &mut tail)?;
    let unsummed = header[format::MAGIC.len()..] < b"0005"[..];
    let code = if unsummed { tail[8] } else { tail[0] };
    Ok(code == format::OP_EOF && !tail.ends_with(b"\r\n"))
}

/// Where the command being replayed stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// In the log of this shard of so many.
    Frames(usize, usize),
    /// In another file.
    Plain,
}

struct Replay<'a, 's> {
    loading: &'a Loading<'a>,
    /// The shard that loads alone; `None` when all keyspaces are at hand.
    alone: Option<usize>,
    spaces: Spaces<'s>,
    databases: usize,
    /// The database selected in the current file.
    db: usize,
    /// The command found last: mostly the next is the same.
    last: Option<&'static Command>,
    reply: Reply,
    random: Random,
    report: Report,
    delay: Delay,
}

impl<'a, 's> Replay<'a, 's> {
    fn new(loading: &'a Loading<'a>, alone: Option<usize>, mut spaces: Spaces<'s>) -> Self {
        let mut databases = usize::MAX;
        spaces.each(|space| databases = databases.min(space.dbs.len()));
        Replay {
            loading,
            alone,
            spaces,
            databases,
            db: 0,
            last: None,
            reply: Reply::default(),
            random: Random::new(0),
            report: Report::default(),
            delay: Delay::new(loading.key_delay, alone.map_or(1, |_| loading.shards)),
        }
    }

    fn steps(mut self, steps: &[Step]) -> Result<Report, LoadError> {
        for step in steps {
            match step {
                Step::Rdb { file, place, tail } => self.rdb(file, *place, *tail)?,
                Step::Foreign { file, place, from, end } => {
                    assert!(self.alone.is_none(), "foreign commands need every keyspace");
                    self.plain(file, *place, *from, *end)?;
                }
                Step::Part { file, len } => self.plain(file, Place::Log, 0, *len)?,
                Step::Generation { shards, files } => {
                    for file in files {
                        self.generation_file(file, usize::from(*shards))?;
                    }
                }
            }
        }
        Ok(self.report)
    }

    fn generation_file(&mut self, file: &GenerationFile, shards: usize) -> Result<(), LoadError> {
        let shard = usize::from(file.shard);
        let GenerationFile { file: name, seed, start, end, .. } = file;
        if self.concerns(shard, shards) {
            let reader = FrameReader::open(self.loading.log, name, *seed, *start, *end)?;
            self.frames(name, reader, Origin::Frames(shard, shards))
        } else {
            let len = self.loading.log.len(name).unwrap_or(0);
            self.loading.progress.fetch_add(len, Ordering::Relaxed);
            Ok(())
        }
    }

    /// Whether a shard's log of `shards` can hold keys of ours.
    fn concerns(&self, shard: usize, shards: usize) -> bool {
        let Some(me) = self.alone else { return true };
        let (from, to) = slots_of(shard, shards);
        let (mine_from, mine_to) = slots_of(me, self.loading.shards);
        from < mine_to && mine_from < to
    }

    fn rdb(&mut self, file: &str, place: Place, tail: Tail) -> Result<(), LoadError> {
        let volume = self.loading.volume(place);
        let mut hash_seed = [0; 2];
        self.spaces.each(|space| hash_seed = space.hash_seed);
        self.report.told = Told::default();
        let options = rdb::Options {
            databases: self.databases,
            // Even a lone snapshot is the base of a log from now on, and the log must find it as
            // it is at every start: what is dropped without a word in the log would come back.
            drop_expired: None,
            string_max: self.loading.string_max,
            shapes: self.loading.shapes,
            hash_seed,
            progress: Some(self.loading.progress),
            modules: self.loading.modules,
        };
        let (alone, shards) = (self.alone, self.loading.shards);
        let mut sink =
            Store::new(&mut self.spaces, alone, shards, &mut self.report).delayed(&mut self.delay);
        let io = |error| LoadError::Io { file: file.to_owned(), error };
        let loaded = match (alone, shards) {
            (Some(me), 2..) if let Some(index) = Index::find(volume, file).map_err(io)? => {
                let (from, to) = slots_of(me, shards);
                let index = (&index.0, index.1);
                rdb::decode_blocks(volume, file, &options, &mut sink, index, from..to)?
            }
            _ => rdb::decode(volume, file, &options, &mut sink)?,
        };
        self.report.keys += loaded.keys;
        self.report.skipped_modules += loaded.module_values + loaded.module_aux;
        self.report.empty += loaded.empty;
        let len = volume.len(file).map_err(io)?;
        if loaded.end >= len {
            return Ok(());
        }
        if self.alone.is_some() {
            return Err(LoadError::Text { file: file.to_owned(), offset: loaded.end });
        }
        self.text(file, place, loaded.end, len, tail)
    }

    /// Commands behind an RDB.
    fn text(
        &mut self,
        file: &str,
        place: Place,
        from: u64,
        len: u64,
        tail: Tail,
    ) -> Result<(), LoadError> {
        let mut end = len;
        if tail != Tail::default() {
            end = self.whole_text(file, place, from, len, tail)?;
            if end < len {
                self.report.broken_off = Some((file.to_owned(), end));
            }
        }
        self.plain(file, place, from, end)
    }

    /// The offset up to which the commands of a text are whole, when it may end there; else its
    /// end.
    fn whole_text(
        &self,
        file: &str,
        place: Place,
        from: u64,
        len: u64,
        tail: Tail,
    ) -> Result<u64, LoadError> {
        let mut reader = PlainReader::open(self.loading.volume(place), file, from, len)?;
        loop {
            let next = reader.next_command().map(|command| command.is_some());
            match next {
                Ok(true) => {}
                Ok(false) => return Ok(len),
                Err(error) if tail.forgives(&error.fault, reader.whole(), len) => {
                    return Ok(reader.whole());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn frames(
        &mut self,
        file: &str,
        mut reader: FrameReader<'_>,
        origin: Origin,
    ) -> Result<(), LoadError> {
        self.db = 0;
        let mut told = 0;
        while let Some(run) = reader.next_run()? {
            self.run(file, &run, origin)?;
            self.tell(&mut told, reader.read(), PROGRESS_STEP);
        }
        self.tell(&mut told, reader.read(), 0);
        Ok(())
    }

    fn plain(&mut self, file: &str, place: Place, from: u64, end: u64) -> Result<(), LoadError> {
        self.db = 0;
        let mut reader = PlainReader::open(self.loading.volume(place), file, from, end)?;
        let mut told = from;
        while let Some(run) = reader.next_run()? {
            self.run(file, &run, Origin::Plain)?;
            self.tell(&mut told, reader.read(), PROGRESS_STEP);
        }
        self.tell(&mut told, end, 0);
        Ok(())
    }

    /// Raises the progress counter when it is `step` bytes behind.
    fn tell(&self, told: &mut u64, offset: u64, step: u64) {
        let behind = offset.saturating_sub(*told);
        if behind > step {
            self.loading.progress.fetch_add(behind, Ordering::Relaxed);
            *told = offset;
        }
    }
}

#[cfg(test)]
mod tests;
