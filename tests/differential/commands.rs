//! One row per command of the table: how often it is drawn and how its arguments are made, valid
//! and invalid. A command that the server knows and that has no row here fails a test.

use super::bits;
use super::generate::{Args, Gen};
use super::steering::*;

/// What the generator must know of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trait {
    /// Changes data.
    Write,
    /// Has an argument that is a time: no argument may be replaced by a number.
    Timed,
    /// Its forms are sent exactly as made (a spoiled one would stop the server or worse).
    Exact,
}

/// A command of the stream.
pub struct Row {
    /// Lower-case name.
    pub name: &'static str,
    /// How often it is drawn, relative to the others.
    pub weight: u32,
    /// See [`Trait`].
    pub traits: &'static [Trait],
    /// Makes its arguments.
    pub make: fn(&mut Gen) -> Args,
}

impl Row {
    /// Whether it has this trait.
    pub fn is(&self, wanted: Trait) -> bool {
        self.traits.contains(&wanted)
    }
}

use Trait::{Exact, Timed, Write};

pub const W: &[Trait] = &[Write];
pub const R: &[Trait] = &[];
pub const WT: &[Trait] = &[Write, Timed];
pub const X: &[Trait] = &[Exact];

macro_rules! row {
    ($name:literal, $weight:literal, $traits:expr, $make:expr) => {
        Row { name: $name, weight: $weight, traits: $traits, make: $make }
    };
}

pub(crate) use row;

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    FILES.iter().flat_map(|rows| rows.iter())
}

/// The rows by the file that holds them.
static FILES: &[&[Row]] = &[
    ROWS,
    super::collections::ROWS,
    super::lists::ROWS,
    super::zsets::ROWS,
    super::places::ROWS,
    super::streams::ROWS,
    super::waits::ROWS,
    super::payloads::ROWS,
];

/// The rows of this file. Weights are in thousandths, roughly.
static ROWS: &[Row] = &[
    // Strings.
    row!("set", 120, WT, set),
    row!("get", 60, R, |g| vec![g.any_key()]),
    row!("getset", 10, W, |g| vec![g.key(), g.value()]),
    row!("getdel", 10, W, |g| vec![g.any_key()]),
    row!("getex", 20, WT, getex),
    row!("setnx", 10, W, |g| vec![g.key(), g.value()]),
    row!("setex", 10, WT, |g| vec![g.key(), g.relative(false, true), g.value()]),
    row!("psetex", 10, WT, |g| vec![g.key(), g.relative(true, true), g.value()]),
    row!("mset", 25, W, pairs),
    row!("msetnx", 15, W, pairs),
    row!("mget", 30, R, |g| g.keys(1, 8)),
    row!("append", 25, W, append),
    row!("strlen", 12, R, |g| vec![g.any_key()]),
    row!("incr", 20, W, |g| vec![g.key()]),
    row!("decr", 12, W, |g| vec![g.key()]),
    row!("incrby", 15, W, |g| vec![g.key(), g.integer()]),
    row!("decrby", 12, W, |g| vec![g.key(), g.integer()]),
    row!("incrbyfloat", 15, W, |g| vec![g.key(), g.float()]),
    row!("getrange", 15, R, |g| vec![g.any_key(), g.index(), g.index()]),
    row!("substr", 5, R, |g| vec![g.any_key(), g.index(), g.index()]),
    row!("setrange", 20, W, setrange),
    row!("lcs", 12, R, lcs),
    // Bits and HyperLogLogs.
    row!("setbit", 20, W, bits::setbit),
    row!("getbit", 8, R, bits::getbit),
    row!("bitcount", 15, R, bits::bitcount),
    row!("bitpos", 15, R, bits::bitpos),
    row!("bitop", 15, W, bits::bitop),
    row!("bitfield", 25, W, |g| bits::bitfield(g, false)),
    row!("bitfield_ro", 8, R, |g| bits::bitfield(g, true)),
    row!("pfadd", 40, W, bits::pfadd),
    row!("pfcount", 20, W, bits::pfcount),
    row!("pfmerge", 15, W, bits::pfmerge),
    row!("pfdebug", 3, W, bits::pfdebug),
    // Redis' own takes a second: only a refused form is compared.
    row!("pfselftest", 1, X, |_| vec![b"x".into()]),
    // Keys of any type.
    row!("del", 20, W, |g| g.keys(1, 5)),
    row!("unlink", 15, W, |g| g.keys(1, 5)),
    row!("exists", 15, R, |g| g.keys(1, 6)),
    row!("touch", 10, R, |g| g.keys(1, 6)),
    row!("type", 10, R, |g| vec![g.any_key()]),
    row!("keys", 10, R, |g| vec![g.pattern()]),
    row!("scan", 10, R, scan),
    row!("randomkey", 6, R, |_| vec![]),
    row!("rename", 25, W, |g| g.keys(2, 2)),
    row!("renamenx", 20, W, |g| g.keys(2, 2)),
    row!("copy", 25, W, copy),
    row!("move", 15, W, |g| vec![g.key(), g.database()]),
    row!("object", 25, R, object),
    // Expiry.
    row!("expire", 20, WT, |g| expire(g, false, false)),
    row!("pexpire", 20, WT, |g| expire(g, true, false)),
    row!("expireat", 20, WT, |g| expire(g, false, true)),
    row!("pexpireat", 20, WT, |g| expire(g, true, true)),
    row!("ttl", 12, R, |g| vec![g.key()]),
    row!("pttl", 12, R, |g| vec![g.key()]),
    row!("expiretime", 12, R, |g| vec![g.key()]),
    row!("pexpiretime", 12, R, |g| vec![g.key()]),
    row!("persist", 12, W, |g| vec![g.key()]),
    // Transactions.
    row!("multi", 45, W, |_| vec![]),
    row!("exec", 5, R, |_| vec![]),
    row!("discard", 3, R, |_| vec![]),
    row!("watch", 35, R, |g| g.keys(1, 3)),
    row!("unwatch", 5, R, |_| vec![]),
    // Connections.
    row!("ping", 8, R, |g| g.maybe_value()),
    row!("echo", 6, R, |g| vec![g.value()]),
    row!("select", 25, W, |g| vec![g.database()]),
    row!("auth", 3, R, auth),
    row!("hello", 6, R, hello),
    row!("quit", 2, X, |_| vec![]),
    row!("reset", 3, R, |_| vec![]),
    row!("client", 20, X, client),
    row!("monitor", 2, X, monitor),
    // The server.
    row!("dbsize", 10, R, |_| vec![]),
    row!("flushdb", 2, W, flush),
    row!("flushall", 1, W, flush),
    row!("swapdb", 8, W, |g| vec![g.database(), g.database()]),
    row!("time", 3, R, |_| vec![]),
    row!("info", 4, R, info),
    row!("config", 8, X, config),
    row!("command", 8, X, command),
    row!("shutdown", 2, X, shutdown),
    row!("slowlog", 3, X, slowlog),
    row!("latency", 3, X, latency),
    row!("memory", 4, X, memory),
    row!("role", 1, R, |_| vec![]),
    row!("replicaof", 1, X, replicaof),
    row!("slaveof", 1, X, replicaof),
    row!("failover", 1, X, failover),
    row!("wait", 2, X, wait),
    row!("asking", 1, R, |_| vec![]),
    row!("readonly", 1, R, |_| vec![]),
    row!("readwrite", 1, R, |_| vec![]),
    row!("cluster", 2, X, cluster),
    row!("module", 1, X, |g| g.form(&["LIST", "FOO", "", "LIST x", "HELP"])),
    row!("acl", 3, X, acl),
    row!("save", 1, X, |_| vec![]),
    row!("bgsave", 1, X, |g| g.form(&["NOW", "SCHEDULE x", "x y z"])),
    row!("bgrewriteaof", 1, X, |g| g.form(&["NOW", "x y"])),
    row!("lastsave", 1, X, |_| vec![]),
    row!("lolwut", 1, X, |g| g.form(&["", "VERSION 5", "VERSION 6 x", "VERSION x", "FOO"])),
    row!("debug", 6, X, debug),
    // No command at all.
    row!("nosuchcommand", 4, R, |g| g.keys(0, 4)),
];

impl Gen {
    pub fn any_key(&mut self) -> Vec<u8> {
        match self.below(100) {
            _ if self.is_of_one_type() => self.key(),
            0..6 => self.big_key(),
            6..12 => self.sketch(),
            _ => self.key(),
        }
    }

    fn maybe_value(&mut self) -> Args {
        if self.chance(50) { vec![] } else { vec![self.value()] }
    }

    pub fn form(&mut self, forms: &[&str]) -> Args {
        let form = self.pick(forms);
        form.split(' ').filter(|word| !word.is_empty()).map(|word| word.into()).collect()
    }
}

/// SET keeps a key that is past its expiry until somebody looks; so with `past` false none is made.
fn expiry_option(g: &mut Gen, args: &mut Args, past: bool) {
    let option = g.word(&["EX", "PX", "EXAT", "PXAT"]);
    let (millis, absolute) = match option.to_ascii_uppercase().as_slice() {
        b"EX" => (false, false),
        b"PX" => (true, false),
        b"EXAT" => (false, true),
        _ => (true, true),
    };
    args.push(option);
    args.push(if absolute { g.absolute(millis, past) } else { g.relative(millis, true) });
}

fn set(g: &mut Gen) -> Args {
    if g.chance(4) {
        return vec![g.big_key(), g.big_value()];
    }
    if g.chance(4) {
        return vec![g.sketch(), bits::foreign(g)];
    }
    let mut args = vec![g.key(), g.value()];
    if g.chance(55) {
        return args;
    }
    let mut options: Vec<Args> = Vec::new();
    if g.chance(35) {
        options.push(vec![g.word(&["NX", "XX"])]);
    }
    if g.chance(30) {
        options.push(vec![g.word(&["GET"])]);
    }
    if g.chance(40) {
        let mut expiry = vec![];
        expiry_option(g, &mut expiry, false);
        options.push(expiry);
    }
    if g.chance(20) {
        options.push(vec![g.word(&["KEEPTTL"])]);
    }
    if g.chance(4) {
        options.push(vec![g.word(&["NX", "XX", "FOO", "PERSIST", "EX", "PXAT"])]);
    }
    while !options.is_empty() {
        let at = g.below(options.len() as u64) as usize;
        args.extend(options.swap_remove(at));
    }
    args
}

fn getex(g: &mut Gen) -> Args {
    let mut args = vec![g.key()];
    match g.below(10) {
        0..3 => {}
        3..8 => expiry_option(g, &mut args, true),
        8 => args.push(g.word(&["PERSIST"])),
        _ => {
            args.push(g.word(&["PERSIST", "FOO", "EX", "KEEPTTL"]));
            args.push(g.word(&["PERSIST", "EX", "abc"]));
        }
    }
    args
}

fn pairs(g: &mut Gen) -> Args {
    let n = 1 + g.below(6);
    let mut args = Vec::new();
    for _ in 0..n {
        args.push(g.key());
        args.push(g.value());
    }
    args
}

fn append(g: &mut Gen) -> Args {
    if g.chance(5) { vec![g.big_key(), g.big_value()] } else { vec![g.key(), g.value()] }
}

fn setrange(g: &mut Gen) -> Args {
    if g.chance(5) {
        let at = g.pick(&["0", "1000", "16384", "30000"]);
        return vec![g.big_key(), at.into(), g.big_value()];
    }
    let offset = match g.below(10) {
        0..8 => g.below(80).to_string().into(),
        8 => g.word(&["536870911", "536870912", "9223372036854775807", "-1", "x", "600"]),
        _ => g.below(600).to_string().into(),
    };
    // A valid but huge offset only meets an empty value: nothing is allocated.
    let value = if offset == b"536870911" { vec![] } else { g.value() };
    vec![g.key(), offset, value]
}

fn lcs(g: &mut Gen) -> Args {
    let mut args = vec![g.key(), g.key()];
    for option in ["LEN", "IDX", "WITHMATCHLEN"] {
        if g.chance(35) {
            args.push(g.word(&[option]));
        }
    }
    if g.chance(30) {
        args.push(g.word(&["MINMATCHLEN"]));
        args.push(g.integer());
    }
    if g.chance(3) {
        args.push(g.word(&["FOO", "MINMATCHLEN"]));
    }
    args
}

fn scan(g: &mut Gen) -> Args {
    // None beyond 64 bits: redis-server remembers that a number was too large, and the next SORT BY
    // fails of it.
    let mut args = vec![g.word(&["0", "0", "0", "0", "abc", "-1", "", "0x", " 0"])];
    if g.chance(40) {
        args.extend([g.word(&["MATCH"]), g.pattern()]);
    }
    if g.chance(40) {
        args.extend([g.word(&["COUNT"]), g.word(&["1", "10", "1000", "0", "-1", "abc"])]);
    }
    if g.chance(20) {
        args.extend([g.word(&["TYPE"]), g.word(&["string", "hash"])]);
    }
    if g.chance(3) {
        args.push(g.word(&["FOO", "MATCH", "COUNT"]));
    }
    args
}

fn copy(g: &mut Gen) -> Args {
    let mut args = g.keys(2, 2);
    if g.chance(35) {
        args.extend([g.word(&["DB"]), g.database()]);
    }
    if g.chance(35) {
        args.push(g.word(&["REPLACE"]));
    }
    if g.chance(3) {
        args.push(g.word(&["FOO", "DB"]));
    }
    args
}

fn object(g: &mut Gen) -> Args {
    let what = g.word(&[
        "ENCODING", "ENCODING", "ENCODING", "ENCODING", "REFCOUNT", "IDLETIME", "FREQ", "HELP",
        "FOO",
    ]);
    let mut args = vec![what];
    if !args[0].eq_ignore_ascii_case(b"HELP") || g.chance(10) {
        args.push(g.any_key());
    }
    args
}

fn expire(g: &mut Gen, millis: bool, absolute: bool) -> Args {
    let key = g.key();
    let mut options: Args = Vec::new();
    if g.chance(50) {
        options.push(g.word(&["NX", "XX", "GT", "LT"]));
        if g.chance(15) {
            options.push(g.word(&["NX", "XX", "GT", "LT", "FOO"]));
        }
    }
    let greater = options.iter().any(|o| o.eq_ignore_ascii_case(b"GT"));
    let at = match (absolute, greater) {
        (true, _) => g.absolute(millis, true),
        (false, true) => g.relative_once(millis),
        (false, false) => g.relative(millis, true),
    };
    let mut args = vec![key, at];
    args.extend(options);
    args
}

/// Commands of the first table: the server must know every one of them.
pub const REQUIRED: &[&str] = &[
    "set",
    "get",
    "getset",
    "getdel",
    "getex",
    "setnx",
    "setex",
    "psetex",
    "mset",
    "msetnx",
    "mget",
    "append",
    "strlen",
    "incr",
    "decr",
    "incrby",
    "decrby",
    "incrbyfloat",
    "getrange",
    "substr",
    "setrange",
    "lcs",
    "setbit",
    "getbit",
    "bitcount",
    "bitpos",
    "bitop",
    "bitfield",
    "bitfield_ro",
    "pfadd",
    "pfcount",
    "pfmerge",
    "pfdebug",
    "pfselftest",
    "del",
    "unlink",
    "exists",
    "touch",
    "type",
    "keys",
    "scan",
    "randomkey",
    "rename",
    "renamenx",
    "copy",
    "dump",
    "restore",
    "move",
    "object",
    "expire",
    "pexpire",
    "expireat",
    "pexpireat",
    "ttl",
    "pttl",
    "expiretime",
    "pexpiretime",
    "persist",
    "multi",
    "exec",
    "discard",
    "watch",
    "unwatch",
    "ping",
    "echo",
    "select",
    "auth",
    "hello",
    "quit",
    "reset",
    "dbsize",
    "flushdb",
    "flushall",
    "swapdb",
    "time",
    "info",
    "config",
    "command",
    "shutdown",
    "slowlog",
    "latency",
    "memory",
    "role",
    "replicaof",
    "slaveof",
    "failover",
    "wait",
    "waitaof",
    "asking",
    "readonly",
    "readwrite",
    "cluster",
    "module",
    "acl",
    "lolwut",
    "debug",
];

#[test]
fn every_required_command_has_a_row() {
    for name in REQUIRED.iter().filter(|name| !super::normalise::NEWER.contains(name)) {
        assert!(rows().any(|r| r.name == *name), "{name} has no row");
    }
}
