//! DUMP and RESTORE: a value as bytes that another server takes.
//!
//! What these bytes are the part of the program knows that reads and writes files; it is handed
//! over as a [`Codec`]. RESTORE is logged with a payload made anew, so that a log says nothing in a
//! form that its readers might not know, and what is read again is what was stored.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::keys::{OVERWRITES, READS_FIRST};
use crate::command::table::{Acl, Command, FIRST, Flags, KeySpec, ROW, Route, Run};
use crate::keyspace::Entry;
use crate::value::shapes::Shapes;

/// How values become bytes and bytes values.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// The version that is written where it can hold the value (`rdb-save-version`).
    pub version: u32,
    /// Whether long strings are compressed (`rdbcompression`).
    pub compress: bool,
    /// Appends a value's bytes in a version, or in the first that can hold it, which is returned.
    pub write: fn(&Entry, u32, bool, &mut Vec<u8>) -> u32,
    /// Makes an entry of a key and bytes of a value.
    pub read: fn(&[u8], &[u8], &Bounds) -> Result<Entry, Unreadable>,
}

/// What a value that is read must keep to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest string, in bytes.
    pub string_max: u64,
    /// Up to which size it is kept as one piece.
    pub shapes: Shapes,
    /// Keys its hash function.
    pub hash_seed: [u64; 2],
}

/// Why bytes were not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Their version is too new, or they are not what was written.
    Footer,
    /// They are no value.
    Value,
}

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command {
        name: "dump",
        arity: 2,
        flags: Flags(Flags::READONLY),
        keys: FIRST,
        specs: READS_FIRST,
        route: Route::Key,
        run: Run::Data(dump),
        acl: Acl(Acl::KEYSPACE),
        tips: &["nondeterministic_output"],
        since: "2.6.0",
        ..ROW
    },
    Command {
        name: "restore",
        arity: -4,
        flags: Flags(Flags::WRITE | Flags::DENYOOM),
        keys: FIRST,
        specs: &[KeySpec::one(1, OVERWRITES)],
        route: Route::Key,
        run: Run::Data(restore),
        acl: Acl(Acl::KEYSPACE | Acl::DANGEROUS),
        since: "2.6.0",
        ..ROW
    },
];

/// The version that Redis 7.0 reads, which log files are for.
const LOG_VERSION: u32 = 10;
const BAD_FOOTER: Fault = Fault::new("ERR DUMP payload version or checksum are wrong");
const BAD_FORMAT: Fault = Fault::new("ERR Bad data format");
const BUSY: Fault = Fault::new("BUSYKEY Target key name already exists.");
const BAD_TTL: Fault = Fault::new("ERR Invalid TTL value, must be >= 0");
const BAD_IDLE: Fault = Fault::new("ERR Invalid IDLETIME value, must be >= 0");
const BAD_FREQUENCY: Fault = Fault::new("ERR Invalid FREQ value, must be >= 0 and <= 255");

fn dump(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let Codec { version, compress, write, .. } = ctx.codec;
    ctx.read_to(&args[1], |out, entry| match entry {
        None => out.null(),
        Some(entry) => {
            let mut bytes = Vec::new();
            write(entry, version, compress, &mut bytes);
            out.bulk(&bytes);
        }
    });
    Ok(())
}

/// What follows the payload.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

impl Options {
    fn read(args: &Args<'_>) -> Result<Options, Fault> {
        let mut options = Options::default();
        let (mut idle, mut frequency) = (false, false);
        let mut at = 4;
        while at < args.len() {
            let number = args.get(at + 1);
            if args.is(at, "REPLACE") {
                options.replace = true;
            } else if args.is(at, "ABSTTL") {
                options.absolute = true;
            } else if let Some(number) = number
                && args.is(at, "IDLETIME")
                && !frequency
            {
                if parse_i64(number).ok_or(NOT_AN_INTEGER)? < 0 {
                    return Err(BAD_IDLE);
                }
                (idle, at) = (true, at + 1);
            } else if let Some(number) = number
                && args.is(at, "FREQ")
                && !idle
            {
                if !(0..=255).contains(&parse_i64(number).ok_or(NOT_AN_INTEGER)?) {
                    return Err(BAD_FREQUENCY);
                }
                (frequency, at) = (true, at + 1);
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn restore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    let options = Options::read(args)?;
    if !options.replace && ctx.peek(key).is_some() {
        return Err(BUSY);
    }
    let ttl = parse_i64(&args[2]).ok_or(NOT_AN_INTEGER)?;
    if ttl < 0 {
        return Err(BAD_TTL);
    }
    let bounds =
        Bounds { string_max: ctx.string_max, shapes: ctx.shapes, hash_seed: ctx.hash_seed(key) };
    let entry = (ctx.codec.read)(key, &args[3], &bounds).map_err(|why| match why {
        Unreadable::Footer => BAD_FOOTER,
        Unreadable::Value => BAD_FORMAT,
    })?;
    let at = match (ttl, options.absolute) {
        (0, _) => None,
        (ttl, true) => Some(ttl),
        (ttl, false) => Some(ctx.now.unix_ms().wrapping_add(ttl)),
    };
    ctx.out.ok();
    if at.is_some_and(|at| at < ctx.now_ms()) {
        // It has ceased to exist before it was there.
        if ctx.delete(key) {
            ctx.log(key, &[b"DEL", key]);
        }
        return Ok(());
    }
    let db = ctx.db;
    ctx.place(db, entry.with_expire(at));
    log(ctx, key);
    ctx.dirty(key);
    Ok(())
}

/// Logs what was just stored under `key`.
fn log(ctx: &mut Ctx<'_>, key: &[u8]) {
    let (db, codec) = (ctx.db, ctx.codec);
    let space = ctx.spaces.of(key);
    if !space.effects.enabled() {
        return;
    }
    let Some(entry) = space.dbs[db].find(key).entry else { return };
    let mut payload = Vec::new();
    let version = (codec.write)(entry, LOG_VERSION, codec.compress, &mut payload);
    let mut digits = itoa::Buffer::new();
    let at = digits.format(entry.expire_ms().unwrap_or(0)).as_bytes();
    let parts: [&[u8]; 6] = [b"RESTORE", key, at, &payload, b"REPLACE", b"ABSTTL"];
    if version > LOG_VERSION {
        space.effects.log_newer(db, &parts);
    } else {
        space.effects.log(db, &parts);
    }
}
