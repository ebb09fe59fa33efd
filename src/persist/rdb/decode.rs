//! Reading an RDB file: one pass, in chunks. The layout stands in [`super::format`]; collections
//! are read in `collections` and the files beside it, piece by piece in `super::visit`.
//!
//! What a file claims is believed only as far as the file reaches: no allocation is longer than
//! what is left of it, or than its compressed bytes can become. Every refusal names the file, the
//! offset and, where there is one, the key; never a value.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use crate::base::limits::INLINE_VALUE_MAX;
use crate::base::lzf;
use crate::base::number::parse_i64;
use crate::persist::disk::Volume;
use crate::persist::rdb::encode::put_length;
use crate::persist::rdb::format::*;
use crate::persist::rdb::index::Part;
use crate::persist::rdb::short::Short;
use crate::persist::rdb::source::Source;
use crate::persist::rdb::visit::{Usage, Visiting};
use crate::value::entry::{Entry, NewValue};
use crate::value::shapes::Shapes;

/// Longest decimal form of an integer, in bytes.
const INT_TEXT_MAX: usize = 20;
/// Longest part of a key that an error shows, in bytes.
const KEY_SHOWN_MAX: usize = 64;

/// Where the contents of a file go.
pub trait Sink {
    /// Whether the value of this key is to be stored; others are passed over undecoded.
    fn wants(&mut self, db: usize, key: &[u8]) -> bool;

    /// Stores a value that was wanted; false when the key is there already, or when one before is
    /// of which this is known only now ([`Sink::twice`]).
    fn store(&mut self, db: usize, key: &[u8], value: NewValue<'_>, expire_ms: Option<i64>)
    -> bool;

    /// The key that comes next stands at this offset, and that is said of its use.
    fn begins(&mut self, _offset: u64, _usage: Usage) {}

    /// About so many keys of a database follow.
    fn expect(&mut self, _db: usize, _keys: u64) {}

    /// There are no more keys; false when one was there already.
    fn finish(&mut self) -> bool {
        true
    }

    /// The key that was there already and its offset, if it is not the one stored last.
    fn twice(&mut self) -> Option<(u64, Vec<u8>)> {
        None
    }

    /// A key that was wanted holds nothing, and is left out.
    fn leaves_out(&mut self, _key: &[u8]) {}

    /// A pair of strings about the file.
    fn aux(&mut self, key: &[u8], value: &[u8]);

    /// The source of a library of functions, to be kept as it is: nothing here runs it, and what
    /// writes the next file writes it too.
    fn function(&mut self, _source: &[u8]) {}
}

/// What becomes of the data of modules, of which there are none here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modules {
    /// A file that has some is refused.
    #[default]
    Refuse,
    /// They are passed over, and counted.
    Skip,
}

/// How a file is read.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Number of databases; a key in another one is an error.
    pub databases: usize,
    /// Keys whose expiry is before this Unix time in milliseconds are dropped, as by a master that
    /// loads a snapshot. `None` for the base of a log: what follows was written when
    /// they were there.
    pub drop_expired: Option<i64>,
    /// Longest string accepted, in bytes.
    pub string_max: u64,
    /// Up to which size collections are packed.
    pub shapes: Shapes,
    /// Keys the hash functions of those that are not.
    pub hash_seed: [u64; 2],
    /// Raised by the bytes read, those behind the end not included.
    pub progress: Option<&'a AtomicU64>,
    /// What becomes of the data of modules.
    pub modules: Modules,
}

impl Options<'_> {
    /// Whatever is there is read: any database, anything past its expiry, of any length.
    pub fn all(hash_seed: [u64; 2], modules: Modules) -> Self {
        Options {
            databases: i32::MAX as usize,
            drop_expired: None,
            string_max: u64::MAX,
            shapes: Shapes::DEFAULT,
            hash_seed,
            progress: None,
            modules,
        }
    }
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The file's version.
    pub version: u32,
    /// Whether it is in Valkey's own format.
    pub valkey: bool,
    /// Libraries of functions.
    pub functions: u64,
    /// Keys whose values were passed over because they are a module's.
    pub module_values: u64,
    /// What modules keep beside the keys, passed over.
    pub module_aux: u64,
    /// Keys stored.
    pub keys: u64,
    /// Keys wanted and dropped because their time had come.
    pub expired: u64,
    /// Keys wanted and left out because they hold nothing, as some versions of Redis wrote them.
    pub empty: u64,
    /// The checksum at its end, 0 when none was computed; older versions have none.
    pub checksum: Option<u64>,
    /// Offset behind the checksum: where text of an append-only file may follow.
    pub end: u64,
}

/// Why a file was refused, and where.
#[derive(Debug)]
pub struct RdbError {
    /// Its name.
    pub file: String,
    /// Offset of the item that could not be read.
    pub offset: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Problem {
    /// The medium said no.
    Io(io::Error),
    /// It does not begin as an RDB file does.
    NotRdb,
    /// It was written by Valkey in a version of its own format that is not known here.
    Valkey(String),
    /// Its version is newer than [`VERSION_MAX`], or no number.
    Version(String),
    /// It ends before it should.
    Truncated,
    /// What was read does not have the checksum that stands at the end.
    Checksum {
        /// As it stands there.
        stored: u64,
        /// As computed.
        computed: u64,
    },
    /// A key has a value of a type that this version does not load.
    Type {
        /// The type's name or number.
        kind: String,
        /// The key, escaped and perhaps shortened.
        key: String,
    },
    /// It holds functions of a release candidate, which no release reads.
    Functions,
    /// Slots of a cluster were on their way when it was written.
    SlotImport,
    /// What comes out of it could not be written.
    Output(io::Error),
    /// It holds data of this module.
    Module(String),
    /// What a module wrote has a part of a kind unheard of.
    ModuleParts(String),
    /// An item of unknown kind.
    Opcode(u8),
    /// A length or a string in no known form.
    Encoding(u8),
    /// A string longer than the limit (`proto-max-bulk-len`).
    Long(u64),
    /// Compressed data is damaged, or does not become what it claims.
    Lzf,
    /// The value of a key is damaged.
    Damaged {
        /// The type's name.
        kind: &'static str,
        /// The key, escaped and perhaps shortened.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value that holds nothing, where one is asked for.
    Nothing,
    /// A key stands in it twice.
    Duplicate(String),
    /// A key stands in a block for other slots than its own.
    Misplaced(String),
    /// A database beyond the configured number.
    Database(u64),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Io(error) => write!(f, "cannot be read: {error}"),
            Problem::NotRdb => f.write_str("this is not an RDB file"),
            Problem::Valkey(version) => {
                write!(f, "Valkey's RDB version {version}; this version loads {VERSION_VALKEY}")
            }
            Problem::Version(version) => {
                write!(f, "RDB version {version}; this version loads 1 to {VERSION_MAX}")
            }
            Problem::Truncated => f.write_str("the file ends in the middle of an item"),
            Problem::Checksum { stored, computed } => {
                write!(f, "CRC error: checksum {computed:016x} where the file says {stored:016x}")
            }
            Problem::Type { kind, key } => {
                write!(f, "{kind} \"{key}\": this version does not load it")
            }
            Problem::Damaged { kind, key, why } => write!(f, "{kind} \"{key}\": {why}"),
            Problem::Functions => {
                f.write_str("functions as only Redis 7.0-rc1 and -rc2 wrote them")
            }
            Problem::SlotImport => {
                f.write_str("an import of slots was under way: load it where the import goes on")
            }
            Problem::Output(error) => write!(f, "the output cannot be written: {error}"),
            Problem::Module(name) => write!(
                f,
                "data of module {name}: there are no modules (rdb-module-data skip passes over it)"
            ),
            Problem::ModuleParts(part) => write!(f, "data of a module, damaged: {part}"),
            Problem::Opcode(code) => write!(f, "an item of unknown kind {code}"),
            Problem::Encoding(byte) => write!(f, "a length in no known form ({byte:#04x})"),
            Problem::Long(len) => {
                write!(f, "a string of {len} bytes, longer than proto-max-bulk-len")
            }
            Problem::Lzf => f.write_str("compressed data is damaged"),
            Problem::Nothing => f.write_str("the value holds nothing"),
            Problem::Duplicate(key) => write!(f, "key \"{key}\" stands in the file twice"),
            Problem::Misplaced(key) => {
                write!(f, "key \"{key}\" stands in a block of another shard's keys")
            }
            Problem::Database(db) => {
                write!(f, "database {db}: raise `databases` in the configuration")
            }
        }
    }
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}: {}", self.file, self.offset, self.problem)
    }
}

impl std::error::Error for RdbError {}

/// Reads the RDB file `path` into `sink`.
pub fn decode(
    volume: &dyn Volume,
    path: &str,
    options: &Options<'_>,
    sink: &mut dyn Sink,
) -> Result<Loaded, RdbError> {
    let fail = |offset, problem| RdbError { file: path.to_owned(), offset, problem };
    let source = Source::open(volume, path, options.progress).map_err(|p| fail(0, p))?;
    let mut reader = Reader::new(source, options, sink);
    match reader.file() {
        Ok(()) => Ok(reader.loaded),
        Err(problem) => Err(fail(reader.item, problem)),
    }
}

/// Makes an entry of a key and what stands for its value: a type and what follows it. Bytes behind
/// that are not looked at.
pub fn decode_value(key: &[u8], value: &[u8], options: &Options<'_>) -> Result<Entry, Problem> {
    let Some((&kind, body)) = value.split_first() else { return Err(Problem::Truncated) };
    // A file has the key between the two.
    let mut bytes = Vec::with_capacity(key.len() + body.len() + 9);
    put_length(&mut bytes, key.len() as u64);
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(body);
    let mut one = One(None);
    // The key is as long as it is.
    let string_max = options.string_max.max(key.len() as u64);
    let options = Options { string_max, ..*options };
    Reader::new(Source::of(bytes), &options, &mut one).value(kind)?;
    one.0.ok_or(Problem::Nothing)
}

/// The one value that is read.
struct One(Option<Entry>);

impl Sink for One {
    fn wants(&mut self, _: usize, _: &[u8]) -> bool {
        true
    }

    fn store(&mut self, _: usize, key: &[u8], value: NewValue<'_>, at: Option<i64>) -> bool {
        self.0 = Some(Entry::new(key, value, at));
        true
    }

    fn aux(&mut self, _: &[u8], _: &[u8]) {}
}

/// How a string begins.
#[derive(Clone, Copy)]
pub(super) enum Text {
    /// The decimal form of an integer.
    Int(i64),
    /// So many bytes follow.
    Plain(u64),
    /// So many compressed bytes follow, to become so many.
    Lzf { packed: u64, len: u64 },
}

/// How a length begins.
enum Length {
    Plain(u64),
    Encoded(u8),
}

pub(super) struct Reader<'a> {
    pub(super) source: Source<'a>,
    pub(super) options: &'a Options<'a>,
    pub(super) sink: &'a mut dyn Sink,
    /// Sees values piece by piece instead of the sink.
    pub(super) visiting: Option<Visiting<'a>>,
    /// Offset of the item being read.
    pub(super) item: u64,
    pub(super) db: usize,
    /// Expiry of the key to come.
    pub(super) expire_ms: Option<i64>,
    /// What the file says of the next key's use.
    pub(super) usage: Usage,
    /// Bytes of the whole file.
    len: u64,
    /// Keys of all databases that the sink was told to expect.
    expected: u64,
    pub(super) loaded: Loaded,
    pub(super) key: Vec<u8>,
    pub(super) scratch: Vec<u8>,
    /// Room for the next packed value.
    pub(super) packed: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        source: Source<'a>,
        options: &'a Options<'a>,
        sink: &'a mut dyn Sink,
    ) -> Reader<'a> {
        Reader {
            len: source.left(),
            source,
            options,
            sink,
            visiting: None,
            item: 0,
            db: 0,
            expire_ms: None,
            usage: Usage::default(),
            expected: 0,
            loaded: Loaded::default(),
            key: Vec::new(),
            scratch: Vec::new(),
            packed: Vec::new(),
        }
    }
}

impl Reader<'_> {
    pub(super) fn file(&mut self) -> Result<(), Problem> {
        self.loaded.version = self.header()?;
        self.items(false)?;
        self.finish_keys()?;
        self.trailer()
    }

    /// What stands before the first block.
    pub(super) fn head(&mut self, part: Part) -> Result<(), Problem> {
        self.source.narrow(0..part.len);
        self.loaded.version = self.header()?;
        self.items(true)?;
        self.sums_up(part)
    }

    /// A block.
    pub(super) fn block(&mut self, at: Range<u64>, part: Part) -> Result<(), Problem> {
        self.source.narrow(at);
        self.items(true)?;
        self.sums_up(part)
    }

    fn sums_up(&mut self, part: Part) -> Result<(), Problem> {
        let computed = self.source.checksum();
        self.item = self.source.offset();
        match part.checksum {
            stored if stored == computed => Ok(()),
            stored => Err(Problem::Checksum { stored, computed }),
        }
    }

    /// There are no more keys.
    pub(super) fn finish_keys(&mut self) -> Result<(), Problem> {
        let finished = self.sink.finish();
        self.no_duplicate(finished)
    }

    /// All items up to the end of the file, or of the part of it that is read.
    fn items(&mut self, part: bool) -> Result<(), Problem> {
        loop {
            self.item = self.source.offset();
            if part && self.source.left() == 0 {
                return Ok(());
            }
            let [code] = self.source.take()?;
            match code {
                OP_EOF if !part => return Ok(()),
                OP_EXPIRETIME_MS => {
                    let at = i64::from_le_bytes(self.source.take()?);
                    self.expire_ms = Some(at).filter(|&at| at != -1);
                }
                OP_EXPIRETIME => {
                    let at = i32::from_le_bytes(self.source.take()?);
                    self.expire_ms = Some(i64::from(at) * 1000);
                }
                OP_FREQ => {
                    let [counter] = self.source.take()?;
                    self.usage.freq = Some(counter);
                }
                OP_IDLE => self.usage.idle_s = Some(self.length()?),
                OP_SELECTDB => {
                    let db = self.length()?;
                    if db >= self.options.databases as u64 {
                        return Err(Problem::Database(db));
                    }
                    self.db = db as usize;
                }
                OP_RESIZEDB => self.sizes()?,
                OP_SLOT_INFO => self.hints(3)?,
                OP_AUX => self.aux()?,
                OP_FUNCTION2 => self.function()?,
                OP_FUNCTION_OLD => return Err(Problem::Functions),
                OP_MODULE_AUX => self.module_aux()?,
                OP_SLOT_IMPORT if self.loaded.valkey => return Err(Problem::SlotImport),
                kind if self.visiting.is_some() && self.is_value(kind) => self.visit(kind)?,
                kind => self.value(kind)?,
            }
        }
    }

    /// A key and its value, whose type is known.
    fn value(&mut self, kind: u8) -> Result<(), Problem> {
        match kind {
            TYPE_STRING => self.string_entry(),
            TYPE_MODULE => self.module_entry(),
            kind if HASHES_AND_SETS.contains(&kind) => self.collection_entry(kind),
            TYPE_HASH_VALKEY if self.loaded.valkey => self.valkey_hash_entry(),
            kind if self.is_timed(kind) => self.timed_entry(kind),
            kind if LISTS.contains(&kind) => self.list_entry(kind),
            kind if ZSETS.contains(&kind) => self.zset_entry(kind),
            kind if STREAMS.contains(&kind) => self.stream_entry(kind),
            kind => Err(self.refuse_type(kind)),
        }
    }

    fn header(&mut self) -> Result<u32, Problem> {
        if self.source.left() < HEADER_LEN as u64 {
            return Err(Problem::NotRdb);
        }
        let header: [u8; HEADER_LEN] = self.source.take()?;
        if let Some(digits) = header.strip_prefix(MAGIC_VALKEY) {
            self.loaded.valkey = true;
            let known = digits == format!("{VERSION_VALKEY:03}").as_bytes();
            let stranger = || Problem::Valkey(digits.escape_ascii().to_string());
            return known.then_some(VERSION_VALKEY).ok_or_else(stranger);
        }
        let digits = header.strip_prefix(MAGIC).ok_or(Problem::NotRdb)?;
        let number = digits
            .iter()
            .try_fold(0u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')));
        number
            .filter(|version| (1..=VERSION_MAX).contains(version))
            .ok_or_else(|| Problem::Version(digits.escape_ascii().to_string()))
    }

    fn trailer(&mut self) -> Result<(), Problem> {
        if self.loaded.version >= VERSION_CHECKSUM {
            let computed = self.source.checksum();
            self.item = self.source.offset();
            let stored = u64::from_le_bytes(self.source.take()?);
            if stored != 0 && stored != computed {
                return Err(Problem::Checksum { stored, computed });
            }
            self.loaded.checksum = Some(stored);
        }
        self.loaded.end = self.source.offset();
        self.source.finish();
        Ok(())
    }

    /// How many keys the database has, and how many of them expire.
    fn sizes(&mut self) -> Result<(), Problem> {
        let keys = self.length()?;
        self.length()?;
        // No key takes less than a type, a length and a value.
        let most = (self.len / 3).saturating_sub(self.expected);
        let keys = keys.min(most);
        self.expected += keys;
        self.sink.expect(self.db, keys);
        Ok(())
    }

    fn hints(&mut self, count: usize) -> Result<(), Problem> {
        for _ in 0..count {
            self.length()?;
        }
        Ok(())
    }

    fn aux(&mut self) -> Result<(), Problem> {
        self.read_key()?;
        let mut value = std::mem::take(&mut self.scratch);
        value.clear();
        let head = self.string_head()?;
        self.string_into(head, &mut value)?;
        match &mut self.visiting {
            Some(visiting) => visiting.visitor.aux(&self.key, &value)?,
            None => self.sink.aux(&self.key, &value),
        }
        self.scratch = value;
        Ok(())
    }

    fn function(&mut self) -> Result<(), Problem> {
        let mut source = Vec::new();
        self.next_string(&mut source)?;
        self.loaded.functions += 1;
        match &mut self.visiting {
            Some(visiting) => visiting.visitor.function(&source)?,
            None => self.sink.function(&source),
        }
        Ok(())
    }

    /// Whether a value of this kind can be read out of this file.
    pub(super) fn is_value(&self, code: u8) -> bool {
        code == TYPE_STRING
            || [HASHES_AND_SETS, LISTS, ZSETS, STREAMS].iter().any(|kinds| kinds.contains(&code))
            || self.is_timed(code)
            || self.loaded.valkey && code == TYPE_HASH_VALKEY
    }

    fn is_timed(&self, code: u8) -> bool {
        !self.loaded.valkey && TIMED_HASHES.contains(&code)
    }

    fn string_entry(&mut self) -> Result<(), Problem> {
        if let Some(short) = Short::of(self.source.buffered(), self.options.string_max) {
            return self.short_entry(short);
        }
        let expire_ms = self.expire_ms.take();
        self.read_key()?;
        let head = self.string_head()?;
        if !self.is_wanted(expire_ms) {
            return self.pass_over(head);
        }
        let stored = match head {
            Text::Int(n) => self.sink.store(self.db, &self.key, NewValue::Int(n), expire_ms),
            Text::Plain(len) => self.store_plain(len, expire_ms)?,
            Text::Lzf { packed, len } => {
                let mut bytes = std::mem::take(&mut self.packed);
                self.unpack(packed, len, &mut bytes)?;
                let stored = match bytes.len() {
                    ..=INLINE_VALUE_MAX => {
                        self.sink.store(self.db, &self.key, small_value(&bytes), expire_ms)
                    }
                    _ => self.store_owned(bytes.as_slice().to_vec(), expire_ms),
                };
                self.packed = bytes;
                stored
            }
        };
        self.stored(stored)
    }

    /// Whether the value of the key just read is to be stored.
    pub(super) fn is_wanted(&mut self, expire_ms: Option<i64>) -> bool {
        let usage = std::mem::take(&mut self.usage);
        if !self.sink.wants(self.db, &self.key) {
            return false;
        }
        self.sink.begins(self.item, usage);
        let past = self.is_past(expire_ms);
        self.loaded.expired += u64::from(past);
        !past
    }

    /// Whether a key's time has come, where such are dropped.
    #[inline]
    pub(super) fn is_past(&self, expire_ms: Option<i64>) -> bool {
        matches!((expire_ms, self.options.drop_expired), (Some(at), Some(now)) if at < now)
    }

    /// Stores a value under the key just read.
    pub(super) fn store(&mut self, value: NewValue<'_>, at: Option<i64>) -> Result<(), Problem> {
        let stored = self.sink.store(self.db, &self.key, value, at);
        self.stored(stored)
    }

    /// Leaves out the key just read, which holds nothing, as Redis does.
    pub(super) fn leave_out(&mut self) -> Result<(), Problem> {
        self.loaded.empty += 1;
        self.sink.leaves_out(&self.key);
        Ok(())
    }

    pub(super) fn stored(&mut self, stored: bool) -> Result<(), Problem> {
        self.no_duplicate(stored)?;
        self.loaded.keys += 1;
        Ok(())
    }

    fn no_duplicate(&mut self, stored: bool) -> Result<(), Problem> {
        if stored {
            return Ok(());
        }
        let Some((offset, key)) = self.sink.twice() else {
            return Err(Problem::Duplicate(shown(&self.key)));
        };
        self.item = offset;
        Err(Problem::Duplicate(shown(&key)))
    }

    fn store_plain(&mut self, len: u64, expire_ms: Option<i64>) -> Result<bool, Problem> {
        if len <= INLINE_VALUE_MAX as u64
            && let Some(bytes) = self.source.peek(len)?
        {
            let stored = self.sink.store(self.db, &self.key, small_value(bytes), expire_ms);
            self.source.consume(len as usize);
            return Ok(stored);
        }
        let mut bytes = Vec::new();
        self.source.read_into(len, &mut bytes)?;
        Ok(self.store_owned(bytes, expire_ms))
    }

    /// Stores a value whose bytes are its own; they stay so if it is long.
    fn store_owned(&mut self, bytes: Vec<u8>, expire_ms: Option<i64>) -> bool {
        if bytes.len() <= INLINE_VALUE_MAX {
            return self.sink.store(self.db, &self.key, small_value(&bytes), expire_ms);
        }
        let value = NewValue::Shared { bytes: Bytes::from(bytes), raw: false };
        self.sink.store(self.db, &self.key, value, expire_ms)
    }

    fn refuse_type(&mut self, kind: u8) -> Problem {
        // Numbers from the opcodes' side are no types.
        let name = match type_name(kind) {
            // Valkey has no such numbers.
            Some(_) if self.loaded.valkey && kind > TYPE_HASH_VALKEY => {
                format!("value of unknown type {kind}")
            }
            Some(name) => name.to_owned(),
            None if kind >= 64 => return Problem::Opcode(kind),
            None => format!("value of unknown type {kind}"),
        };
        match self.read_key() {
            Ok(()) => Problem::Type { kind: name, key: shown(&self.key) },
            Err(problem) => problem,
        }
    }

    /// Reads a string into `key`.
    pub(super) fn read_key(&mut self) -> Result<(), Problem> {
        let mut key = std::mem::take(&mut self.key);
        let read = self.next_string(&mut key);
        self.key = key;
        read
    }

    pub(super) fn string_into(&mut self, head: Text, out: &mut Vec<u8>) -> Result<(), Problem> {
        match head {
            Text::Int(n) => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
            Text::Plain(len) => self.source.read_into(len, out)?,
            Text::Lzf { packed, len } => self.unpack(packed, len, out)?,
        }
        Ok(())
    }

    fn unpack(&mut self, packed: u64, len: u64, out: &mut Vec<u8>) -> Result<(), Problem> {
        if let Some(bytes) = self.source.peek(packed)? {
            lzf::decompress_into(bytes, len, out).map_err(|_| Problem::Lzf)?;
            self.source.consume(packed as usize);
            return Ok(());
        }
        let mut bytes = Vec::new();
        self.source.read_into(packed, &mut bytes)?;
        lzf::decompress_into(&bytes, len, out).map_err(|_| Problem::Lzf)
    }

    pub(super) fn pass_over(&mut self, head: Text) -> Result<(), Problem> {
        match head {
            Text::Int(_) => Ok(()),
            Text::Plain(len) => self.source.skip(len),
            Text::Lzf { packed, .. } => self.source.skip(packed),
        }
    }

    pub(super) fn string_head(&mut self) -> Result<Text, Problem> {
        let head = match self.any_length()? {
            Length::Plain(len) => Text::Plain(len),
            Length::Encoded(ENC_INT8) => {
                Text::Int(i64::from(i8::from_le_bytes(self.source.take()?)))
            }
            Length::Encoded(ENC_INT16) => {
                Text::Int(i64::from(i16::from_le_bytes(self.source.take()?)))
            }
            Length::Encoded(ENC_INT32) => {
                Text::Int(i64::from(i32::from_le_bytes(self.source.take()?)))
            }
            Length::Encoded(ENC_LZF) => {
                let packed = self.length()?;
                Text::Lzf { packed, len: self.length()? }
            }
            Length::Encoded(form) => return Err(Problem::Encoding(0xC0 | form)),
        };
        match head {
            Text::Plain(len) | Text::Lzf { packed: len, .. } if len > self.source.left() => {
                Err(Problem::Truncated)
            }
            Text::Plain(len) | Text::Lzf { len, .. } if len > self.options.string_max => {
                Err(Problem::Long(len))
            }
            head => Ok(head),
        }
    }

    pub(super) fn length(&mut self) -> Result<u64, Problem> {
        match self.any_length()? {
            Length::Plain(len) => Ok(len),
            Length::Encoded(form) => Err(Problem::Encoding(0xC0 | form)),
        }
    }

    fn any_length(&mut self) -> Result<Length, Problem> {
        let [first] = self.source.take()?;
        let low = first & 0x3F;
        Ok(Length::Plain(match (first >> 6, first) {
            (0, _) => u64::from(low),
            (1, _) => {
                let [second] = self.source.take()?;
                u64::from(low) << 8 | u64::from(second)
            }
            (_, 0x80) => u64::from(u32::from_be_bytes(self.source.take()?)),
            (_, 0x81) => u64::from_be_bytes(self.source.take()?),
            (3, _) => return Ok(Length::Encoded(low)),
            _ => return Err(Problem::Encoding(first)),
        }))
    }
}

/// A value whose bytes stand elsewhere. Text of an integer is kept as one, as Redis does on load.
pub(super) fn small_value(bytes: &[u8]) -> NewValue<'_> {
    let int = if bytes.len() <= INT_TEXT_MAX { parse_i64(bytes) } else { None };
    int.map_or(NewValue::Str { bytes, raw: false }, NewValue::Int)
}

/// A key as an error shows it.
pub(crate) fn shown(key: &[u8]) -> String {
    let text = key[..key.len().min(KEY_SHOWN_MAX)].escape_ascii().to_string();
    if key.len() > KEY_SHOWN_MAX { text + "…" } else { text }
}
