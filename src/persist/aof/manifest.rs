//! The manifest: which files make up the log, in which order. Pure: knows no disk.
//!
//! # Grammar
//!
//! Redis 7's: one line per file, `key value` pairs in any order, split and quoted like a line of
//! `redis.conf`, `file`, `seq` and `type` (`b`ase, `h`istory, `i`ncr) mandatory, unknown keys
//! ignored, `#` lines skipped, at most 1,024 bytes with its newline per line, at most one base, the
//! `seq` of incrs strictly increasing. What Redis refuses is refused with Redis' reason.
//!
//! Files that Ringstone wrote carry pairs of ours behind these. `rs` is the version of the pairs
//! and stands first, `rssum` the checksum of all pairs before it (CRC-64/XZ over key, space, value,
//! newline of each) and stands last. A shard's log file (numbers behind `seed`, `start`, `id`,
//! `stream`, `end`, `endsum`, `len`, `sum` and `rssum` are hexadecimal as in frames, the others
//! decimal):
//!
//! ```text
//! file <name> seq <n> type i rs 1 gen <generation> shard <s> shards <n> seed <seed>
//!      start <position> id <next entry id> [stream <count>] boot <boot id>
//!      [end <position> endsum <sum>] [clean 1] rssum <sum>
//! ```
//!
//! and a *part*, a small file of plain commands that is always whole (a whole-keyspace command
//! between two generations, or what was kept of a frame that recovery had to cut inside):
//!
//! ```text
//! file <name> seq <n> type i rs 1 gen <generation before it> part cut|tail len <bytes> sum <sum>
//!      rssum <sum>
//! ```
//!
//! and a file of plain commands or RDB that never changes again, a base or what another server
//! wrote (see [`super::whole`]; before the next start these may lack our pairs):
//!
//! ```text
//! file <name> seq <n> type b|i rs 1 whole rdb|bytes len <bytes> sum <sum> rssum <sum>
//! ```
//!
//! Lines without `rs` are files of plain commands or RDB. The manifest as a whole has a checksum
//! too, in a comment line of ours in front of the others ([`super::whole`]). Behind that another
//! comment says which history this is towards replicas, of which the generations' `stream` counts
//! the bytes ([`super::stream`]).
//!
//! # Invariants
//!
//! 1. The files of one *generation*, one per shard, are created together and stand together.
//! 2. All generations but the last are *sealed*: `end` and `endsum` (checksum of the last frame, or
//!    the seed when there is none) say where they end, and bytes behind `end` never count.
//! 3. After a clean stop the last generation is sealed too and says `clean 1`.
//! 4. `seq` only grows, so a name is never used for two contents.

use std::fmt;

use crate::base::crc::crc64_frame;
use crate::base::limits::SHARDS_MAX;
use crate::base::replication::Replication;
use crate::persist::aof::format::{parse_hex, write_hex};
use crate::persist::aof::stream;
use crate::persist::aof::whole::{WholeKind, WholePairs, check_manifest, manifest_line};
use crate::persist::aof::words::{leading_number, quote, split_words};

/// Version of our pairs.
pub const VERSION: u64 = 1;
/// Longest line Redis reads, newline included, in bytes.
pub const LINE_MAX: usize = 1024;
/// Longest `appendfilename`, quoted, that leaves room for our pairs in a line, in bytes.
pub const NAME_MAX: usize = 400;
/// What sealing adds to a line at most, in bytes.
const SEAL_ROOM: usize = 64;

/// What a listed file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// The snapshot or log the others build upon.
    Base,
    /// Replaced, to be removed; never loaded.
    History,
    /// Loaded behind the base, in order.
    Incr,
}

/// What our pairs say of a shard's log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPairs {
    /// The generation it belongs to.
    pub generation: u64,
    /// Whose log it is.
    pub shard: u8,
    /// How many shards wrote this generation.
    pub shards: u8,
    /// Seed of its frames' checksums.
    pub seed: u64,
    /// Position of its first payload byte.
    pub start: u64,
    /// No entry in it has an id below this one.
    pub next_id: u64,
    /// Its share of the stream's bytes in front of it; older versions did not count.
    pub stream: Option<u64>,
    /// The machine's boot id when it was begun.
    pub boot: String,
    /// Where it ends (position, checksum of the last frame or seed), when sealed.
    pub end: Option<(u64, u64)>,
    /// The server stopped cleanly behind it.
    pub clean: bool,
}

/// What kind of part a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// A whole-keyspace command between two generations.
    Cut,
    /// The kept front of a frame that was cut inside.
    Tail,
}

/// What our pairs say of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPairs {
    /// The generation it stands behind.
    pub generation: u64,
    /// What it is.
    pub kind: PartKind,
    /// Its length in bytes.
    pub len: u64,
    /// Checksum of its bytes: [`part_sum`].
    pub sum: u64,
}

/// Our pairs of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ours {
    /// A shard's log file.
    Shard(ShardPairs),
    /// A part.
    Part(PartPairs),
    /// A file of plain commands or RDB that never changes again.
    Whole(WholePairs),
}

/// One listed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its name in the log directory.
    pub file: String,
    /// Its sequence number.
    pub seq: i64,
    /// What it is for.
    pub kind: FileType,
    /// Our pairs; `None` for a base and for what another server wrote.
    pub ours: Option<Ours>,
}

/// The list of files, in the order in which they are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The lines.
    pub lines: Vec<Line>,
    /// Which history this is towards replicas, when that is known.
    pub replication: Option<Replication>,
    /// Highest `seq` of a line that is no longer listed, so that no name comes back.
    dropped_seq: i64,
}

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub fault: ManifestFault,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestFault {
    /// No line at all.
    Empty,
    /// Longer than Redis reads, or without its newline.
    LongLine,
    /// Not pairs, or a mandatory pair is missing.
    Format,
    /// A name with a slash.
    Path,
    /// A name that is not UTF-8.
    Name,
    /// A second base.
    TwoBases,
    /// An incr whose `seq` does not grow.
    NonMonotonic,
    /// A `type` other than b, h, i.
    Type,
    /// Pairs of a newer Ringstone.
    Version(u64),
    /// Our pairs are damaged: the one named is missing, misplaced or unreadable.
    Pair(&'static str),
    /// Our pairs do not have their checksum.
    Checksum,
    /// The manifest does not begin with the checksum of its lines.
    Whole,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        match &self.fault {
            ManifestFault::Empty => f.write_str("Found an empty AOF manifest"),
            ManifestFault::LongLine => f.write_str("The AOF manifest file contains too long line"),
            ManifestFault::Format => f.write_str("Invalid AOF manifest file format"),
            ManifestFault::Path => f.write_str("File can't be a path, just a filename"),
            ManifestFault::Name => f.write_str("the file name is not UTF-8"),
            ManifestFault::TwoBases => f.write_str("Found duplicate base file information"),
            ManifestFault::NonMonotonic => f.write_str("Found a non-monotonic sequence number"),
            ManifestFault::Type => f.write_str("Unknown AOF file type"),
            ManifestFault::Version(n) => {
                write!(f, "written by a newer version (rs {n}, this one reads up to {VERSION})")
            }
            ManifestFault::Pair(key) => write!(f, "the pair \"{key}\" is missing or damaged"),
            ManifestFault::Checksum => f.write_str("the checksum of the line is wrong"),
            ManifestFault::Whole => f.write_str(
                "the checksum in front of its lines is missing or wrong: lines were lost, added \
                 or changed",
            ),
        }
    }
}

impl std::error::Error for ManifestError {}

/// One shard's file of a generation that is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Fresh random seed.
    pub seed: u64,
    /// Position of its first payload byte.
    pub start: u64,
    /// Its share of the stream's bytes in front of it.
    pub stream: u64,
}

impl Manifest {
    /// One without lines, of this history.
    pub fn of(replication: Option<Replication>) -> Manifest {
        Manifest { replication, ..Manifest::default() }
    }

    /// Parses a manifest file.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let mut manifest = Manifest::default();
        let mut rest = bytes;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let window = &rest[..rest.len().min(LINE_MAX)];
            let newline = memchr::memchr(b'\n', window);
            let (line, behind) = rest.split_at(newline.map_or(window.len(), |n| n + 1));
            rest = behind;
            if line[0] == b'#' {
                let history = stream::parse_line(line)
                    .map_err(|fault| ManifestError { line: number, fault })?;
                manifest.replication = history.or(manifest.replication);
                continue;
            }
            let parsed = if newline.is_none() {
                Err(ManifestFault::LongLine)
            } else {
                Line::parse(line).and_then(|line| manifest.admit(line))
            };
            parsed.map_err(|fault| ManifestError { line: number, fault })?;
        }
        let of_all = |fault| ManifestError { line: 0, fault };
        if number == 0 {
            return Err(of_all(ManifestFault::Empty));
        }
        // After the lines, which say more exactly what is wrong with them.
        let summed = check_manifest(bytes).map_err(of_all)?;
        if !summed && manifest.lines.iter().any(|line| line.ours.is_some()) {
            return Err(of_all(ManifestFault::Whole));
        }
        Ok(manifest)
    }

    /// Adds a parsed line when Redis would.
    fn admit(&mut self, line: Line) -> Result<(), ManifestFault> {
        let of_kind = |kind| self.lines.iter().filter(move |l| l.kind == kind);
        match line.kind {
            FileType::Base if of_kind(FileType::Base).next().is_some() => {
                return Err(ManifestFault::TwoBases);
            }
            FileType::Incr => {
                let highest = of_kind(FileType::Incr).next_back().map_or(0, |l| l.seq);
                if line.seq <= highest {
                    return Err(ManifestFault::NonMonotonic);
                }
            }
            _ => {}
        }
        self.lines.push(line);
        Ok(())
    }

    /// The manifest's bytes: our own line, the base, then history, then incrs.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(replication) = &self.replication {
            stream::write_line(&mut out, replication);
        }
        for kind in [FileType::Base, FileType::History, FileType::Incr] {
            for line in self.lines.iter().filter(|l| l.kind == kind) {
                let start = out.len();
                line.encode(&mut out);
                assert!(out.len() - start <= LINE_MAX, "bounded by NAME_MAX and by Line::parse");
            }
        }
        let own = manifest_line(&out);
        out.splice(0..0, own);
        out
    }

    /// A sequence number no listed or dropped file has.
    pub fn next_seq(&self) -> i64 {
        self.lines.iter().map(|l| l.seq).fold(self.dropped_seq, i64::max).saturating_add(1).max(1)
    }

    /// The highest generation listed; 0 when there is none.
    pub fn generation(&self) -> u64 {
        let generations = self.lines.iter().filter_map(|l| match &l.ours {
            Some(Ours::Shard(pairs)) => Some(pairs.generation),
            Some(Ours::Part(pairs)) => Some(pairs.generation),
            Some(Ours::Whole(_)) | None => None,
        });
        generations.max().unwrap_or(0)
    }

    /// The pairs of the last generation's files, in the order listed.
    pub fn last_generation_mut(&mut self) -> impl Iterator<Item = &mut ShardPairs> {
        let last = self.generation();
        self.lines.iter_mut().filter_map(move |l| match &mut l.ours {
            Some(Ours::Shard(pairs)) if pairs.generation == last => Some(pairs),
            _ => None,
        })
    }

    /// No further file gets a number below this one.
    pub fn skip_to(&mut self, seq: i64) {
        self.dropped_seq = self.dropped_seq.max(seq - 1);
    }

    /// Seals the last generation: `ends[shard]` is the position and the last checksum of each.
    pub fn seal(&mut self, ends: &[(u64, u64)], clean: bool) {
        let mut sealed = 0;
        for pairs in self.last_generation_mut() {
            let end = ends[usize::from(pairs.shard)];
            assert!(pairs.start <= end.0);
            pairs.end = Some(end);
            pairs.clean = clean;
            sealed += 1;
        }
        assert_eq!(sealed, ends.len(), "one end per file of the generation");
    }

    /// Adds a generation of one file per element of `files`, and gives their names. Any generation
    /// before it must be sealed.
    pub fn begin_generation(
        &mut self,
        appendfilename: &str,
        files: &[NewFile],
        next_id: u64,
        boot: &str,
    ) -> Vec<String> {
        assert!(!files.is_empty() && files.len() <= SHARDS_MAX);
        assert!(self.last_generation_mut().all(|pairs| pairs.end.is_some() && !pairs.clean));
        let generation = self.generation() + 1;
        let mut names = Vec::with_capacity(files.len());
        for (shard, file) in files.iter().enumerate() {
            let seq = self.next_seq();
            let name = shard_file_name(appendfilename, seq, shard);
            names.push(name.clone());
            let pairs = ShardPairs {
                generation,
                shard: shard as u8,
                shards: files.len() as u8,
                seed: file.seed,
                start: file.start,
                next_id,
                stream: Some(file.stream),
                boot: boot.to_owned(),
                end: None,
                clean: false,
            };
            let ours = Some(Ours::Shard(pairs));
            self.lines.push(Line { file: name, seq, kind: FileType::Incr, ours });
        }
        names
    }

    /// Adds a part with these bytes behind the last generation, and gives the name under which
    /// they must be durable before this manifest is.
    pub fn add_part(&mut self, appendfilename: &str, kind: PartKind, bytes: &[u8]) -> String {
        let (seq, generation) = (self.next_seq(), self.generation());
        let name = part_file_name(appendfilename, seq, kind);
        let pairs = PartPairs { generation, kind, len: bytes.len() as u64, sum: part_sum(bytes) };
        let ours = Some(Ours::Part(pairs));
        self.lines.push(Line { file: name.clone(), seq, kind: FileType::Incr, ours });
        name
    }

    /// Drops the lines for which `drop` holds, and gives the names of their files, to be removed
    /// once this manifest is durable. For FLUSHALL drop all of them, then begin a generation.
    pub fn drop_lines(&mut self, mut drop: impl FnMut(&Line) -> bool) -> Vec<String> {
        let mut names = Vec::new();
        let mut highest = self.dropped_seq;
        self.lines.retain(|line| {
            let gone = drop(line);
            if gone {
                highest = highest.max(line.seq);
                names.push(line.file.clone());
            }
            !gone
        });
        self.dropped_seq = highest;
        names
    }
}

impl Line {
    /// Puts a file's checksum into its line, unless Redis could not read a line so long.
    pub fn vouch(&mut self, pairs: WholePairs) {
        let bare = self.ours.replace(Ours::Whole(pairs));
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        if bytes.len() + SEAL_ROOM > LINE_MAX {
            self.ours = bare;
        }
    }

    fn parse(line: &[u8]) -> Result<Line, ManifestFault> {
        let words = split_words(line).ok_or(ManifestFault::Format)?;
        if words.len() < 6 || words.len() % 2 != 0 {
            return Err(ManifestFault::Format);
        }
        let (mut file, mut seq, mut kind) = (None, 0, None);
        for pair in words.chunks_exact(2) {
            let (key, value) = (&pair[0], &pair[1]);
            if key.eq_ignore_ascii_case(b"file") {
                if value.iter().any(|b| matches!(b, b'/' | b'\\')) {
                    return Err(ManifestFault::Path);
                }
                file = Some(value);
            } else if key.eq_ignore_ascii_case(b"seq") {
                seq = leading_number(value);
            } else if key.eq_ignore_ascii_case(b"type") {
                kind = value.first().copied();
            }
        }
        let (Some(file), Some(kind), true) = (file, kind, seq != 0) else {
            return Err(ManifestFault::Format);
        };
        let kind = match kind {
            b'b' => FileType::Base,
            b'h' => FileType::History,
            b'i' => FileType::Incr,
            _ => return Err(ManifestFault::Type),
        };
        let file = String::from_utf8(file.clone()).map_err(|_| ManifestFault::Name)?;
        let ours = Ours::parse(&words)?;
        let line = Line { file, seq, kind, ours };
        // A name may stand there in fewer bytes than it is quoted in when it is written again.
        let mut again = Vec::new();
        line.encode(&mut again);
        let room = if line.ours.is_some() { SEAL_ROOM } else { 0 };
        if again.len() + room > LINE_MAX { Err(ManifestFault::LongLine) } else { Ok(line) }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let kind = match self.kind {
            FileType::Base => "b",
            FileType::History => "h",
            FileType::Incr => "i",
        };
        let mut pairs: Vec<(&str, String)> = vec![
            ("file", self.file.clone()),
            ("seq", self.seq.to_string()),
            ("type", kind.to_owned()),
        ];
        if let Some(ours) = &self.ours {
            ours.encode(&mut pairs);
            let sum = pairs_sum(pairs.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())));
            pairs.push(("rssum", hex(sum)));
        }
        for (i, (key, value)) in pairs.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(key.as_bytes());
            out.push(b' ');
            quote(out, value.as_bytes());
        }
        out.push(b'\n');
    }
}

impl Ours {
    /// Reads our pairs; `None` when the line carries none.
    fn parse(words: &[Vec<u8>]) -> Result<Option<Ours>, ManifestFault> {
        let pairs: Vec<(&[u8], &[u8])> =
            words.chunks_exact(2).map(|p| (&p[0][..], &p[1][..])).collect();
        let pairs = Pairs(&pairs);
        let Some(version) = pairs.find("rs") else {
            // The version pair alone may be what is damaged: ours are never taken for foreign.
            return if pairs.find("rssum").is_some() {
                Err(ManifestFault::Pair("rs"))
            } else {
                Ok(None)
            };
        };
        match parse_decimal(version) {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => return Err(ManifestFault::Version(newer)),
            _ => return Err(ManifestFault::Pair("rs")),
        }
        let Some(((b"rssum", sum), summed)) = pairs.0.split_last() else {
            return Err(ManifestFault::Pair("rssum"));
        };
        if parse_hex(sum) != Some(pairs_sum(summed.iter().copied())) {
            return Err(ManifestFault::Checksum);
        }
        if let Some(kind) = pairs.find("whole") {
            let kind = match kind {
                b"rdb" => WholeKind::Rdb,
                b"bytes" => WholeKind::Bytes,
                _ => return Err(ManifestFault::Pair("whole")),
            };
            let (len, sum) = (pairs.hex("len")?, pairs.hex("sum")?);
            return Ok(Some(Ours::Whole(WholePairs { kind, len, sum })));
        }
        let generation = pairs.decimal("gen")?;
        if let Some(kind) = pairs.find("part") {
            let kind = match kind {
                b"cut" => PartKind::Cut,
                b"tail" => PartKind::Tail,
                _ => return Err(ManifestFault::Pair("part")),
            };
            let (len, sum) = (pairs.hex("len")?, pairs.hex("sum")?);
            return Ok(Some(Ours::Part(PartPairs { generation, kind, len, sum })));
        }
        let shards = pairs.decimal("shards")?;
        let shard = pairs.decimal("shard")?;
        if shards == 0 || shards > SHARDS_MAX as u64 || shard >= shards {
            return Err(ManifestFault::Pair("shard"));
        }
        let end = pairs.find("end").map(|_| Ok((pairs.hex("end")?, pairs.hex("endsum")?)));
        let end = end.transpose()?;
        let start = pairs.hex("start")?;
        if end.is_some_and(|(pos, _)| pos < start) {
            return Err(ManifestFault::Pair("end"));
        }
        let stream = pairs.find("stream").map(|_| pairs.hex("stream")).transpose()?;
        let boot = pairs.find("boot").ok_or(ManifestFault::Pair("boot"))?;
        Ok(Some(Ours::Shard(ShardPairs {
            generation,
            shard: shard as u8,
            shards: shards as u8,
            seed: pairs.hex("seed")?,
            start,
            next_id: pairs.hex("id")?,
            stream,
            boot: String::from_utf8(boot.to_vec()).map_err(|_| ManifestFault::Pair("boot"))?,
            end,
            clean: pairs.find("clean") == Some(b"1"),
        })))
    }

    fn encode(&self, pairs: &mut Vec<(&str, String)>) {
        pairs.push(("rs", VERSION.to_string()));
        match self {
            Ours::Shard(shard) => {
                pairs.push(("gen", shard.generation.to_string()));
                pairs.push(("shard", shard.shard.to_string()));
                pairs.push(("shards", shard.shards.to_string()));
                pairs.push(("seed", hex(shard.seed)));
                pairs.push(("start", hex(shard.start)));
                pairs.push(("id", hex(shard.next_id)));
                if let Some(stream) = shard.stream {
                    pairs.push(("stream", hex(stream)));
                }
                pairs.push(("boot", shard.boot.clone()));
                if let Some((pos, sum)) = shard.end {
                    pairs.push(("end", hex(pos)));
                    pairs.push(("endsum", hex(sum)));
                }
                if shard.clean {
                    pairs.push(("clean", "1".to_owned()));
                }
            }
            Ours::Part(part) => {
                let kind = match part.kind {
                    PartKind::Cut => "cut",
                    PartKind::Tail => "tail",
                };
                pairs.push(("gen", part.generation.to_string()));
                pairs.push(("part", kind.to_owned()));
                pairs.push(("len", hex(part.len)));
                pairs.push(("sum", hex(part.sum)));
            }
            Ours::Whole(whole) => {
                let kind = match whole.kind {
                    WholeKind::Rdb => "rdb",
                    WholeKind::Bytes => "bytes",
                };
                pairs.push(("whole", kind.to_owned()));
                pairs.push(("len", hex(whole.len)));
                pairs.push(("sum", hex(whole.sum)));
            }
        }
    }
}

/// The pairs of one line, with typed look-ups.
struct Pairs<'a>(&'a [(&'a [u8], &'a [u8])]);

impl<'a> Pairs<'a> {
    fn find(&self, key: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(k, _)| *k == key.as_bytes()).map(|(_, v)| *v)
    }

    fn hex(&self, key: &'static str) -> Result<u64, ManifestFault> {
        self.find(key).and_then(parse_hex).ok_or(ManifestFault::Pair(key))
    }

    fn decimal(&self, key: &'static str) -> Result<u64, ManifestFault> {
        self.find(key).and_then(parse_decimal).ok_or(ManifestFault::Pair(key))
    }
}

/// The manifest's name in the log directory.
pub fn manifest_name(appendfilename: &str) -> String {
    format!("{appendfilename}.manifest")
}

/// The name under which a manifest is written before it is renamed.
pub fn temp_manifest_name(appendfilename: &str) -> String {
    format!("temp-{appendfilename}.manifest")
}

/// Name of a shard's log file.
pub fn shard_file_name(appendfilename: &str, seq: i64, shard: usize) -> String {
    format!("{appendfilename}.{seq}.s{shard:02}.incr.aof")
}

/// Name of a part.
pub fn part_file_name(appendfilename: &str, seq: i64, kind: PartKind) -> String {
    let kind = match kind {
        PartKind::Cut => "cut",
        PartKind::Tail => "tail",
    };
    format!("{appendfilename}.{seq}.{kind}.incr.aof")
}

/// Checksum of a part's bytes.
pub fn part_sum(bytes: &[u8]) -> u64 {
    crc64_frame(0, &[bytes])
}

fn pairs_sum<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> u64 {
    let mut text = Vec::new();
    for (key, value) in pairs {
        text.extend_from_slice(key);
        text.push(b' ');
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    crc64_frame(0, &[&text])
}

fn hex(value: u64) -> String {
    let mut out = Vec::new();
    write_hex(&mut out, value);
    out.into_iter().map(char::from).collect()
}

fn parse_decimal(bytes: &[u8]) -> Option<u64> {
    crate::base::number::parse_i64(bytes).and_then(|n| u64::try_from(n).ok())
}

#[cfg(test)]
mod tests;
