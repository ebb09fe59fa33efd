//! DUMP and RESTORE: a value as bytes that another server takes.
//!
//! What these bytes are the part of the program knows that reads and writes files; it is handed
//! over as a [`Codec`]. RESTORE is logged with a payload made anew, so that a log says nothing in a
//! form that its readers might not know, and what is read again is what was stored.

use smallvec::SmallVec;

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::keys::{OVERWRITES, READS_FIRST};
use crate::command::table::{Acl, Command, FIRST, Flags, KeySpec, ROW, Route, Run};
use crate::keyspace::{Class, Effects, Entry, Usage};
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
    pub read: Read,
}

/// See [`Codec::read`].
pub type Read = fn(&[u8], &[u8], &Bounds) -> Result<Entry, Unreadable>;

/// What a value that is read must keep to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest string, in bytes.
    pub string_max: u64,
    /// Up to which size it is kept as one piece.
    pub shapes: Shapes,
    /// Keys its hash function.
    pub hash_seed: [u64; 2],
    /// Whether its checksum must be right.
    pub checked: bool,
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
    // What MIGRATE says to a server of a cluster. There is no cluster here whose slots could be on
    // their way, so it is RESTORE.
    Command {
        name: "restore-asking",
        arity: -4,
        flags: Flags(Flags::WRITE | Flags::DENYOOM | Flags::ASKING),
        keys: FIRST,
        specs: &[KeySpec::one(1, OVERWRITES)],
        route: Route::Key,
        run: Run::Data(restore),
        acl: Acl(Acl::KEYSPACE | Acl::DANGEROUS),
        group: "server",
        since: "3.0.0",
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
    usage: Usage,
}

impl Options {
    fn read(args: &Args<'_>) -> Result<Options, Fault> {
        let mut options = Options::default();
        let mut at = 4;
        while at < args.len() {
            let number = args.get(at + 1);
            if args.is(at, "REPLACE") {
                options.replace = true;
            } else if args.is(at, "ABSTTL") {
                options.absolute = true;
            } else if let Some(number) = number
                && args.is(at, "IDLETIME")
                && options.usage.freq.is_none()
            {
                let idle = u64::try_from(parse_i64(number).ok_or(NOT_AN_INTEGER)?);
                options.usage.idle_s = Some(idle.map_err(|_| BAD_IDLE)?);
                at += 1;
            } else if let Some(number) = number
                && args.is(at, "FREQ")
                && options.usage.idle_s.is_none()
            {
                let freq = u8::try_from(parse_i64(number).ok_or(NOT_AN_INTEGER)?);
                options.usage.freq = Some(freq.map_err(|_| BAD_FREQUENCY)?);
                at += 1;
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
    let bounds = Bounds {
        string_max: ctx.string_max,
        shapes: *ctx.shapes,
        hash_seed: ctx.hash_seed(key),
        checked: ctx.spaces.of(key).checks_payloads,
    };
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
            ctx.event(Class::Generic, "del", key);
        }
        return Ok(());
    }
    let db = ctx.db;
    ctx.place(db, entry.with_expire(at));
    if options.usage != Usage::default() {
        let recency = ctx.recency(key).of(options.usage);
        ctx.set_recency(key, recency);
    }
    log(ctx, key, options.usage);
    ctx.dirty(key);
    ctx.event(Class::Generic, "restore", key);
    Ok(())
}

/// Logs what was just stored under `key`, and what was said of its use.
fn log(ctx: &mut Ctx<'_>, key: &[u8], usage: Usage) {
    let (db, codec) = (ctx.db, ctx.codec);
    let space = ctx.spaces.of(key);
    if !space.effects.enabled() {
        return space.effects.add_stream(1);
    }
    let Some(entry) = space.dbs[db].find(key).entry else { return };
    log_whole(&mut space.effects, codec, (db, usage), entry);
}

/// Logs an entry of database `db`, over what was there. Of its use the log says as much as has been
/// said, as in Redis: when it is read again, an idle time is that of then.
pub fn log_whole(effects: &mut Effects, codec: Codec, (db, usage): (usize, Usage), entry: &Entry) {
    let mut payload = Vec::new();
    let version = (codec.write)(entry, LOG_VERSION, codec.compress, &mut payload);
    let mut digits = itoa::Buffer::new();
    let at = digits.format(entry.expire_ms().unwrap_or(0)).as_bytes();
    let mut number = itoa::Buffer::new();
    let parts: [&[u8]; 6] = [b"RESTORE", entry.key(), at, &payload, b"REPLACE", b"ABSTTL"];
    let mut parts: SmallVec<[&[u8]; 8]> = SmallVec::from_slice(&parts);
    match usage {
        Usage { idle_s: Some(idle), .. } => {
            parts.extend_from_slice(&[b"IDLETIME", number.format(idle).as_bytes()]);
        }
        Usage { freq: Some(freq), .. } => {
            parts.extend_from_slice(&[b"FREQ", number.format(freq).as_bytes()]);
        }
        _ => {}
    }
    if version > LOG_VERSION {
        effects.log_newer(db, &parts);
    } else {
        effects.log(db, &parts);
    }
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;
    use crate::persist::payload;

    /// What the bytes of a reply hold.
    fn bulk(reply: &[u8]) -> Vec<u8> {
        let end = reply.iter().position(|&b| b == b'\n').unwrap();
        reply[end + 1..reply.len() - 2].to_vec()
    }

    fn dump(w: &mut World, key: &str) -> Vec<u8> {
        bulk(&w.run_bytes(&[b"DUMP", key.as_bytes()]))
    }

    fn restore(w: &mut World, words: &[&[u8]]) -> String {
        let request: Vec<&[u8]> = [b"RESTORE".as_slice()].iter().chain(words).copied().collect();
        let reply = w.run_bytes(&request);
        String::from_utf8_lossy(&reply).trim_end().to_owned()
    }

    #[test]
    fn the_bytes_of_a_string() {
        let mut w = World::new();
        w.run("SET k abc");
        // As redis-server 7.0 shows them.
        let bytes = b"\0\x03abc\x0a\0\xd9\xac\x30\x3d\x41\x72\xa2\xe2";
        assert_eq!(dump(&mut w, "k"), bytes);
        assert_eq!(w.run("DUMP none"), "$-1");
        w.effects();
        let bytes = dump(&mut w, "k");
        assert_eq!(restore(&mut w, &[b"l", b"0", &bytes]), "+OK");
        assert_eq!(w.run("GET l"), "$3 abc");
        let logged = w.take_effects();
        assert_eq!(logged, [[b"RESTORE".as_slice(), b"l", b"0", &bytes, b"REPLACE", b"ABSTTL"]]);
    }

    #[test]
    fn what_restore_refuses() {
        let mut w = World::new();
        w.run("SET k abc");
        w.effects();
        let bytes = dump(&mut w, "k");
        let mut broken = bytes.clone();
        broken[3] ^= 1;
        let busy = "-BUSYKEY Target key name already exists.";
        let footer = "-ERR DUMP payload version or checksum are wrong";
        let not_int = "-ERR value is not an integer or out of range";
        let idle = "-ERR Invalid IDLETIME value, must be >= 0";
        let freq = "-ERR Invalid FREQ value, must be >= 0 and <= 255";
        let steps: &[(&[&[u8]], &str)] = &[
            (&[b"k", b"x", b""], busy),
            (&[b"n", b"x", &bytes], not_int),
            (&[b"n", b"-1", &bytes], "-ERR Invalid TTL value, must be >= 0"),
            (&[b"n", b"0", &broken], footer),
            (&[b"n", b"0", b"short"], footer),
            (&[b"k", b"0", &bytes, b"REPLACE", b"FOO"], "-ERR syntax error"),
            (&[b"n", b"0", &bytes, b"IDLETIME"], "-ERR syntax error"),
            (&[b"n", b"0", &bytes, b"IDLETIME", b"-1"], idle),
            (&[b"n", b"0", &bytes, b"IDLETIME", b"x"], not_int),
            (&[b"n", b"0", &bytes, b"FREQ", b"256"], freq),
            (&[b"n", b"0", &bytes, b"FREQ", b"1", b"IDLETIME", b"1"], "-ERR syntax error"),
            (&[b"n", b"0", &bytes, b"IDLETIME", b"1", b"FREQ", b"1"], "-ERR syntax error"),
        ];
        for (words, reply) in steps {
            assert_eq!(restore(&mut w, words), *reply, "{words:?}");
        }
        // Right footers around what is no value.
        for body in [&b"\x02\0"[..], b"\xff\x03abc", b"\0\x03ab", b"", b"\x06\x03abc"] {
            let mut payload = [body, &[10, 0]].concat();
            payload.extend_from_slice(&crate::base::crc::crc64_redis(&payload).to_le_bytes());
            let reply = restore(&mut w, &[b"k", b"0", &payload, b"REPLACE"]);
            assert_eq!(reply, "-ERR Bad data format", "{body:?}");
        }
        assert_eq!(w.run("GET k"), "$3 abc");
        assert_eq!(w.effects(), "");
    }

    #[test]
    fn a_checksum_may_be_passed_over_but_not_what_stands_in_it() {
        let mut w = World::new();
        w.run("SET k abc");
        let mut bytes = dump(&mut w, "k");
        let end = bytes.len();
        bytes[end - 1] ^= 1;
        let footer = "-ERR DUMP payload version or checksum are wrong";
        assert_eq!(restore(&mut w, &[b"n", b"0", &bytes]), footer);
        w.run("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1");
        assert_eq!(restore(&mut w, &[b"n", b"0", &bytes]), "+OK");
        assert_eq!(w.run("GET n"), "$3 abc");
        bytes[1] = 77;
        assert_eq!(restore(&mut w, &[b"o", b"0", &bytes]), "-ERR Bad data format");
        bytes[end - 9] = 0xff;
        assert_eq!(restore(&mut w, &[b"o", b"0", &bytes]), footer);
        w.run("DEBUG SET-SKIP-CHECKSUM-VALIDATION 0");
        bytes[1] = 3;
        assert_eq!(restore(&mut w, &[b"o", b"0", &bytes]), footer);
    }

    #[test]
    fn times() {
        let mut w = World::new();
        w.run("SET k abc");
        let bytes = dump(&mut w, "k");
        assert_eq!(restore(&mut w, &[b"a", b"5000", &bytes]), "+OK");
        assert_eq!(w.run("PEXPIRETIME a"), ":1700000005000");
        assert_eq!(restore(&mut w, &[b"b", b"1700000000001", &bytes, b"absttl"]), "+OK");
        assert_eq!(w.run("PTTL b"), ":1");
        w.effects();
        // What is past is never there, and what it replaces goes.
        assert_eq!(restore(&mut w, &[b"c", b"1699999999999", &bytes, b"ABSTTL"]), "+OK");
        assert_eq!((w.run("EXISTS c"), w.effects()), (":0".to_owned(), String::new()));
        let words: &[&[u8]] = &[b"a", b"1", &bytes, b"ABSTTL", b"REPLACE", b"FREQ", b"9"];
        assert_eq!(restore(&mut w, words), "+OK");
        assert_eq!((w.run("EXISTS a"), w.effects()), (":0".to_owned(), "DEL a".to_owned()));
    }

    #[test]
    fn times_of_fields_take_a_newer_version() {
        let mut w = World::new();
        w.run("HSET h a 1 b 2");
        let plain = dump(&mut w, "h");
        w.run("HPEXPIREAT h 1800000000000 FIELDS 1 a");
        let timed = dump(&mut w, "h");
        let version = |bytes: &[u8]| bytes[bytes.len() - 10];
        assert_eq!((version(&plain), version(&timed)), (10, 12));
        assert_eq!(restore(&mut w, &[b"i", b"0", &timed]), "+OK");
        assert_eq!(w.run("HPEXPIRETIME i FIELDS 2 a b"), "*2 :1800000000000 :-1");
        assert_eq!(payload::default_codec().version, 10);
    }
}
