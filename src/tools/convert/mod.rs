//! `ringstone convert [options] IN OUT`: an RDB file as something else. What it becomes is made as
//! the file is read: memory does not grow with it (see `persist::rdb::visit`).
//!
//! * `resp`: the commands that make the same data, as an append-only file holds them; `redis-cli
//!   --pipe` and any server replay them. Elements go 64 to a command. What no command can say is
//!   left out: a key's use (IDLE, FREQ), and what is pending in a stream's group though its entry
//!   has been removed.
//! * `json`: a line for each key (see `json_lines`).
//! * `rdb`: an RDB file of another version.
//!
//! OUT is written beside its name and takes it at the end, so that a broken file leaves nothing
//! half done; `-` is standard output, which has what was read up to then.
//!
//! Exit status: 0 when all was converted, 1 when the file is broken or the output fails, 2 when the
//! command line is wrong.

mod json_lines;
mod rdb;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::base::glob;
use crate::persist::rdb::commands::Commands;
use crate::persist::rdb::encode::{VERSION_DEFAULT, VERSION_MIN};
use crate::persist::rdb::format::VERSION_MAX;
use crate::persist::rdb::{Head, Loaded, Modules, Piece, Problem, Visitor, format};
use crate::tools::rdb_file::RdbFile;

/// How the tool is called.
pub const USAGE: &str = "\
Usage: ringstone convert [options] IN OUT
       OUT is a file, or - for standard output

Options:
       --to resp|json|rdb  what it becomes; else OUT's name says it: .aof, .resp, .json, .jsonl,
                         .ndjson, .rdb
       --rdb-version N   the version of an RDB file, 6 to 12 (10)
       --no-compression  leave the strings of an RDB file as they are
       --match GLOB      only keys that match the pattern, as in KEYS
       --type TYPE       only string, list, set, zset, hash or stream
       --db N            only keys of this database
       --skip-modules    pass over the data of modules, instead of refusing the file
";

/// Bytes written at once.
const BUFFER: usize = 1 << 18;
/// The types that can be asked for.
const TYPES: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];

/// What it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Resp,
    Json,
    Rdb,
}

/// Which keys are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filter {
    pattern: Option<Vec<u8>>,
    kind: Option<String>,
    db: Option<usize>,
}

impl Filter {
    fn wants(&self, head: &Head) -> bool {
        self.db.is_none_or(|db| db == head.db)
            && self.kind.as_ref().is_none_or(|kind| format::plain_type_name(head.kind) == *kind)
            && self.pattern.as_ref().is_none_or(|glob| glob::matches(glob, &head.key, false))
    }

    fn wants_all(&self) -> bool {
        *self == Filter::default()
    }
}

/// The command line, read.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    target: Target,
    filter: Filter,
    modules: Modules,
    /// Version of an RDB file, and whether it is compressed.
    rdb: (u32, bool),
    from: PathBuf,
    to: PathBuf,
}

/// What converts.
trait Converter: Visitor {
    /// Everything was read.
    fn finish(&mut self) -> io::Result<()>;
}

impl<W: Write> Converter for Commands<W> {
    fn finish(&mut self) -> io::Result<()> {
        self.flush_out()
    }
}

/// Passes on what is wanted.
struct Wanted<'a> {
    filter: &'a Filter,
    converter: &'a mut dyn Converter,
    keys: u64,
}

impl Visitor for Wanted<'_> {
    fn wants(&mut self, head: &Head) -> bool {
        self.filter.wants(head) && self.converter.wants(head)
    }

    fn piece(&mut self, head: &Head, piece: Piece<'_>) -> Result<(), Problem> {
        self.converter.piece(head, piece)
    }

    fn end(&mut self, head: &Head, bytes: u64, pieces: u64) -> Result<(), Problem> {
        if pieces == 0 {
            // As on load: a collection that holds nothing is none.
            return Ok(());
        }
        self.keys += 1;
        self.converter.end(head, bytes, pieces)
    }

    fn wants_shapes(&self) -> bool {
        self.converter.wants_shapes()
    }

    fn aux(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        self.converter.aux(key, value)
    }

    fn function(&mut self, source: &[u8]) -> Result<(), Problem> {
        // They belong to no key, so they go with all or with none.
        if self.filter.wants_all() { self.converter.function(source) } else { Ok(()) }
    }
}

/// Runs the tool; `args` are those behind `convert`.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let call = match parse(&args) {
        Ok(Some(call)) => call,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprint!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&call) {
        Ok((loaded, keys)) => {
            eprintln!("{}", summary(&loaded, keys));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn summary(loaded: &Loaded, keys: u64) -> String {
    let mut text = format!("{keys} keys converted");
    let skipped = loaded.module_values + loaded.module_aux;
    if skipped > 0 {
        text.push_str(&format!(", {skipped} values and other data of modules passed over"));
    }
    text
}

/// Reads the command line; `None` when help is asked for.
fn parse(args: &[OsString]) -> Result<Option<Call>, String> {
    let (mut target, mut filter, mut modules) = (None, Filter::default(), Modules::Refuse);
    let (mut places, mut rdb) = (Vec::new(), (VERSION_DEFAULT, true));
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || {
            let value = args.next().ok_or_else(|| format!("{} wants a value", arg.display()));
            value.map(|value| value.as_encoded_bytes().to_vec())
        };
        match arg.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some("--to") => {
                target = Some(match &value()?[..] {
                    b"resp" => Target::Resp,
                    b"json" => Target::Json,
                    b"rdb" => Target::Rdb,
                    other => return Err(format!("--to {}: unknown", other.escape_ascii())),
                });
            }
            Some("--match") => filter.pattern = Some(value()?),
            Some("--type") => {
                let kind = String::from_utf8_lossy(&value()?).into_owned();
                if !TYPES.contains(&kind.as_str()) {
                    return Err(format!("--type {kind}: unknown"));
                }
                filter.kind = Some(kind);
            }
            Some("--db") => {
                let db = String::from_utf8_lossy(&value()?).into_owned();
                filter.db = Some(db.parse().map_err(|_| format!("--db {db}: no number"))?);
            }
            Some("--rdb-version") => {
                let text = String::from_utf8_lossy(&value()?).into_owned();
                let version = text.parse().ok();
                let version = version.filter(|v| (VERSION_MIN..=VERSION_MAX).contains(v));
                rdb.0 =
                    version.ok_or_else(|| format!("--rdb-version {text}: cannot be written"))?;
            }
            Some("--no-compression") => rdb.1 = false,
            Some("--skip-modules") => modules = Modules::Skip,
            Some(option) if option.starts_with("--") => return Err(format!("{option}: unknown")),
            _ => places.push(PathBuf::from(arg)),
        }
    }
    let Ok([from, to]) = <[PathBuf; 2]>::try_from(places) else {
        return Err("IN and OUT are wanted".to_owned());
    };
    let Some(target) = target.or_else(|| target_of(&to)) else {
        return Err("what is it to become? --to says it".to_owned());
    };
    Ok(Some(Call { target, filter, modules, rdb, from, to }))
}

fn target_of(to: &Path) -> Option<Target> {
    match to.extension()?.to_str()? {
        "aof" | "resp" => Some(Target::Resp),
        "json" | "jsonl" | "ndjson" => Some(Target::Json),
        "rdb" => Some(Target::Rdb),
        _ => None,
    }
}

/// Converts; gives what was read and the number of keys that were wanted.
fn run(call: &Call) -> Result<(Loaded, u64), String> {
    let file = RdbFile::open(&call.from).map_err(|error| error.to_string())?;
    if call.to.as_os_str() == "-" {
        return convert(call, &file, &mut io::stdout().lock());
    }
    let mut temp = call.to.as_os_str().to_owned();
    temp.push(format!(".{}.tmp", std::process::id()));
    let temp = PathBuf::from(temp);
    let wrong = |error: io::Error| format!("{}: {error}", call.to.display());
    let mut out = File::create_new(&temp).map_err(wrong)?;
    let done = convert(call, &file, &mut out).and_then(|done| {
        out.sync_all().and_then(|()| fs::rename(&temp, &call.to)).map_err(wrong)?;
        Ok(done)
    });
    if done.is_err() {
        // What was wrong has been found already.
        let _ = fs::remove_file(&temp);
    }
    done
}

fn convert(call: &Call, file: &RdbFile, out: &mut dyn Write) -> Result<(Loaded, u64), String> {
    let out = BufWriter::with_capacity(BUFFER, out);
    let mut converter: Box<dyn Converter + '_> = match call.target {
        Target::Resp => Box::new(Commands::new(out)),
        Target::Json => Box::new(json_lines::Lines::new(out)),
        Target::Rdb => Box::new(rdb::Rdb::new(out, call.rdb.0, call.rdb.1)),
    };
    let mut wanted = Wanted { filter: &call.filter, converter: &mut *converter, keys: 0 };
    let loaded = file.visit(call.modules, &mut wanted).map_err(|error| error.to_string())?;
    let keys = wanted.keys;
    converter.finish().map_err(|error| Problem::Output(error).to_string())?;
    Ok((loaded, keys))
}

#[cfg(test)]
mod tests;
