//! DEBUG: what tests and tools of Redis ask for, where `enable-debug-command` allows it.
//!
//! Every DEBUG runs with all keyspaces on lease: digests are of one moment, and SLEEP and what
//! looks at everything hold up the whole server, as they do in Redis.

use crate::base::hash::{hex, sha1};
use crate::base::number::parse_i64;
use crate::base::replication::Replication;
use crate::base::{clock, crash, glob};
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::digest::Digest;
use crate::command::fault::{Fault, NO_SUCH_KEY, NOT_AN_INTEGER};
use crate::command::object::encoding_of;
use crate::command::session::SessionCtx;
use crate::command::string::text_len;
use crate::command::table::{Command, Flags, ROW, Route, Run, SessionRun, wrong_subcommand};
use crate::config::LogLevel;
use crate::keyspace::{Entry, NewValue, Object, ValueRef};

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "debug",
    arity: -2,
    flags: Flags(Flags::ADMIN | Flags::NOSCRIPT | Flags::LOADING | Flags::STALE | Flags::PROTECTED),
    route: Route::Whole,
    run: Run::Data(debug),
    aside: on_server,
    group: "server",
    ..ROW
}];

type Handler = fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>;

/// A subcommand: its name, how many arguments the whole request may have, its code.
struct Sub(&'static str, std::ops::RangeInclusive<usize>, Handler);

const ANY: usize = usize::MAX;

static SUBCOMMANDS: &[Sub] = &[
    Sub("assert", 2..=ANY, |_, _| panic!("DEBUG ASSERT was called")),
    Sub("client-eviction", 2..=2, |_, _| Err(NO_CLIENT_EVICTION)),
    Sub("clusterlink", 5..=5, clusterlink),
    Sub("digest", 2..=2, digest),
    Sub("digest-value", 2..=ANY, digest_value),
    Sub("drop-cluster-packet-filter", 3..=3, packet_filter),
    Sub("error", 3..=3, |_, args| Err(Fault(args[2].to_vec().into()))),
    Sub("help", 2..=2, help),
    Sub("htstats", 3..=3, htstats),
    Sub("htstats-key", 3..=3, htstats_key),
    Sub("leak", 3..=3, leak),
    Sub("object", 3..=4, object),
    Sub("oom", 2..=ANY, |_, _| crash::out_of_memory()),
    Sub("panic", 2..=ANY, |_, _| panic!("DEBUG PANIC was called")),
    Sub("pause-cron", 3..=3, |ctx, args| rounds(ctx, !truth(&args[2]))),
    Sub("populate", 3..=5, populate),
    Sub("protocol", 3..=3, protocol),
    Sub("quicklist-packed-threshold", 3..=3, packed_threshold),
    // There are no replicas that would be told anything.
    Sub("replicate", 3..=ANY, |ctx, _| done(ctx)),
    Sub("replybuffer", 4..=4, replybuffer),
    Sub("sdslen", 3..=3, sdslen),
    Sub("segfault", 2..=ANY, |_, _| crash::segfault()),
    Sub("set-active-expire", 3..=3, |ctx, args| rounds(ctx, truth(&args[2]))),
    // There are no scripts that anything could be denied to.
    Sub("set-disable-deny-scripts", 3..=3, |ctx, _| done(ctx)),
    Sub("set-skip-checksum-validation", 3..=3, skip_sums),
    Sub("sleep", 3..=3, sleep),
    Sub("stringmatch-test", 2..=2, stringmatch),
    Sub("structsize", 2..=2, structsize),
];

/// Subcommands that concern the server and no data.
static ON_SERVER: &[(&str, std::ops::RangeInclusive<usize>, SessionRun)] = &[
    ("aof-flush-sleep", 3..=3, flush_sleep),
    ("change-repl-id", 2..=2, change_repl_id),
    ("config-rewrite-force-all", 2..=2, rewrite_all),
    ("crash-and-recover", 2..=ANY, |ctx, args| restart(ctx, args, false)),
    ("loadaof", 2..=ANY, load_log),
    ("log", 3..=3, log),
    ("reload", 2..=ANY, load_file),
    ("restart", 2..=ANY, |ctx, args| restart(ctx, args, true)),
];

fn on_server(args: &Args<'_>) -> Option<SessionRun> {
    let meant = |name: &str| args.is(1, name);
    ON_SERVER.iter().find(|sub| meant(sub.0) && sub.1.contains(&args.len())).map(|sub| sub.2)
}

/// The closed connection is the answer.
fn restart(ctx: &mut SessionCtx<'_>, args: &Args<'_>, gracefully: bool) -> Result<(), Fault> {
    let wait = args.get(2).map_or(Ok(0), |ms| parse_i64(ms).ok_or(NOT_AN_INTEGER))?;
    ctx.server.start_again(wait.max(0).cast_unsigned(), gracefully).map_err(Fault::text)
}

/// Every shard waits that long before it writes to its log, and everybody waits with it.
fn flush_sleep(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    const MOST: u64 = 60_000_000;
    let digits = args[2].split(|b| !b.is_ascii_digit()).next().unwrap_or_default();
    let micros = parse_i64(digits).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    ctx.server.sleep_before_log(micros.min(MOST));
    ctx.out.ok();
    Ok(())
}

fn change_repl_id(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let text = "Changing replication IDs after receiving DEBUG change-repl-id";
    ctx.server.say(LogLevel::Notice, text);
    ctx.server.registry().set_replication(Replication::default());
    ctx.out.ok();
    Ok(())
}

fn rewrite_all(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.server.config_rewrite(true).map_err(Fault::text)?;
    ctx.out.ok();
    Ok(())
}

fn load_log(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    if ctx.session.in_exec {
        // What it has written itself is in no log yet.
        return Err(Fault::new("ERR DEBUG LOADAOF is not allowed inside a transaction"));
    }
    ctx.server.load_log().map_err(Fault::text)?;
    ctx.out.ok();
    Ok(())
}

fn load_file(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (mut save, mut flush, mut merge) = (true, true, false);
    for at in 2..args.len() {
        if args.is(at, "MERGE") {
            merge = true;
        } else if args.is(at, "NOFLUSH") {
            flush = false;
        } else if args.is(at, "NOSAVE") {
            save = false;
        } else {
            return Err(Fault::new(
                "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
            ));
        }
    }
    if ctx.session.in_exec {
        return Err(Fault::new("ERR DEBUG RELOAD is not allowed inside a transaction"));
    }
    ctx.server.load_file(save, flush, merge);
    ctx.out.ok();
    Ok(())
}

/// Says a client's words in the log, as one line.
fn log(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let words = String::from_utf8_lossy(&args[2]).replace(char::is_control, " ");
    ctx.server.say(LogLevel::Warning, &format!("DEBUG LOG: {words}"));
    ctx.out.ok();
    Ok(())
}

fn debug(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let meant = |sub: &&Sub| args.is(1, sub.0) && sub.1.contains(&args.len());
    match SUBCOMMANDS.iter().find(meant) {
        Some(sub) => (sub.2)(ctx, args),
        None => Err(wrong_subcommand("debug", &args[1])),
    }
}

fn done(ctx: &mut Ctx<'_>) -> Result<(), Fault> {
    ctx.out.ok();
    Ok(())
}

/// What C's `atoi` would take for true: a number that is not 0, whatever follows it.
fn truth(argument: &[u8]) -> bool {
    let digits = argument.strip_prefix(b"-").unwrap_or(argument);
    digits.iter().take_while(|b| b.is_ascii_digit()).any(|b| *b != b'0')
}

/// Whether keys past their expiry are looked for.
fn rounds(ctx: &mut Ctx<'_>, on: bool) -> Result<(), Fault> {
    ctx.spaces.each(|space| space.expires_actively = on);
    done(ctx)
}

/// Whether RESTORE takes a payload whatever its checksum is: what stands in it is looked through
/// all the same.
fn skip_sums(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let checks = !truth(&args[2]);
    ctx.spaces.each(|space| space.checks_payloads = checks);
    done(ctx)
}

/// The digest of everything: equal data gives the same, whatever order it stands in.
fn digest(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let now = ctx.now_ms();
    let mut whole = Digest::default();
    for db in 0..ctx.spaces.databases() {
        let (mut keys, mut sum) = (0, [0; 20]);
        ctx.spaces.each(|space| {
            space.looked.also();
            space.read_tag = space.read_tag.max(space.dbs[db].last_stamp());
            for entry in space.dbs[db].iter().filter(|entry| !entry.is_expired(now)) {
                let mut one = Digest::default();
                one.mix(entry.key());
                one.value(entry);
                keys += 1;
                sum.iter_mut().zip(sha1(&one.0)).for_each(|(to, byte)| *to ^= byte);
            }
        });
        if keys > 0 {
            whole.mix(&(db as u32).to_be_bytes());
            whole.0.iter_mut().zip(sum).for_each(|(to, byte)| *to ^= byte);
        }
    }
    ctx.out.simple(&hex(&whole.0));
    Ok(())
}

fn digest_value(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.array(args.len() - 2);
    for key in &args.items()[2..] {
        let mut digest = Digest::default();
        if let Some(entry) = ctx.glance(key) {
            digest.value(entry);
        }
        ctx.out.simple(&hex(&digest.0));
    }
    Ok(())
}

/// Bytes that a value takes in an RDB file, uncompressed.
fn serialized_len(entry: &Entry) -> usize {
    let string = |len: usize| match len {
        0..64 => len + 1,
        64..16_384 => len + 2,
        _ => len + 5,
    };
    let text = |entry: &Entry| entry.text(&mut itoa::Buffer::new()).map_or(0, <[u8]>::len);
    match entry.value() {
        ValueRef::Int(-128..=127) => 2,
        ValueRef::Int(-32_768..=32_767) => 3,
        ValueRef::Int(-2_147_483_648..=2_147_483_647) => 5,
        ValueRef::Int(_) | ValueRef::Str(_) | ValueRef::Shared(_) => string(text(entry)),
        ValueRef::Packed(_, bytes) => string(bytes.len()),
        ValueRef::Object(Object::Set(dict)) => dict.iter().map(|e| string(e.key().len())).sum(),
        ValueRef::Object(Object::Hash(dict)) => {
            dict.iter().map(|e| string(e.key().len()) + string(text(e))).sum()
        }
        ValueRef::Object(Object::Stream(stream)) => stream.memory(),
        ValueRef::Object(Object::List(list)) => list.memory(),
        ValueRef::Object(Object::Zset(large)) => {
            large.iter(0).map(|(member, _)| string(member.len()) + size_of::<f64>()).sum()
        }
    }
}

/// Where a value stands is nobody's business.
fn object(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let recency = ctx.recency(&args[2]);
    let entry = ctx.glance(&args[2]).ok_or(NO_SUCH_KEY)?;
    let line = format!(
        "Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
        encoding_of(entry),
        serialized_len(entry),
        entry.recency(),
        recency.idle_s(entry.recency())
    );
    ctx.out.simple(&line);
    Ok(())
}

/// How a string and its key are kept; nothing is kept in reserve.
fn sdslen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let entry = ctx.glance(&args[2]).ok_or(NO_SUCH_KEY)?;
    if !matches!(encoding_of(entry), "raw" | "embstr") {
        return Err(Fault::new("ERR Not an sds encoded string."));
    }
    let (key, value) = (entry.key().len(), text_len(entry.value())?);
    let line = format!(
        "key_sds_len:{key}, key_sds_avail:0, key_zmalloc: {key}, val_sds_len:{value}, \
         val_sds_avail:0, val_zmalloc: {}",
        entry.memory().saturating_sub(key)
    );
    ctx.out.simple(&line);
    Ok(())
}

/// Sizes of our structures, in bytes.
fn structsize(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let entry = size_of::<Entry>();
    ctx.out.bulk(format!("bits:{} entry:{entry} ", usize::BITS).as_bytes());
    Ok(())
}

fn htstats_key(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let value = ctx.glance(&args[2]).ok_or(NO_SUCH_KEY)?.value();
    let dict = match value {
        ValueRef::Object(object) if !matches!(object.encoding(), "listpackex") => object.dict(),
        _ => None,
    };
    let (len, bytes) = dict.map(|dict| (dict.len(), dict.memory())).ok_or(Fault::new(
        "ERR The value stored at the specified key is not represented using an hash table",
    ))?;
    let text = format!(
        "Hash table 0 stats (main hash table):\n number of elements: {len}\n bytes: {bytes}\n"
    );
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Memory that is lost, for those who look for such.
fn leak(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    std::hint::black_box(args[2].to_vec().leak());
    done(ctx)
}

/// There are no packets to drop.
fn packet_filter(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    parse_i64(&args[2]).ok_or(NOT_AN_INTEGER)?;
    done(ctx)
}

fn clusterlink(_ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    match args.is(2, "kill") {
        true => Err(Fault::new("ERR Debug option only available for cluster mode enabled setup!")),
        false => Err(wrong_subcommand("debug", &args[1])),
    }
}

/// No client is sent away for the memory of all, whatever `maxmemory-clients` says.
const NO_CLIENT_EVICTION: Fault = Fault::new("ERR maxmemory-clients is disabled.");

/// Reads a number that must not be negative.
fn natural(argument: &[u8]) -> Result<u64, Fault> {
    let number = parse_i64(argument).and_then(|n| u64::try_from(n).ok());
    number.ok_or(Fault::new("ERR value is out of range, must be positive"))
}

fn populate(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let count = natural(&args[2])?;
    let prefix = args.get(3).unwrap_or(b"key");
    let size = args.get(4).map_or(Ok(0), natural)?;
    if size > ctx.string_max {
        return Err(Fault::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
    }
    for n in 0..count {
        let key = [prefix, format!(":{n}").as_bytes()].concat();
        if ctx.glance(&key).is_some() {
            continue;
        }
        let mut value = format!("value:{n}").into_bytes();
        if size > 0 {
            value.resize(size as usize, 0);
        }
        ctx.put(&key, NewValue::Str { bytes: &value, raw: false }, Expiry::Clear);
        ctx.log(&key, &[b"SET", &key, &value]);
    }
    done(ctx)
}

fn sleep(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let seconds = std::str::from_utf8(&args[2]).ok().and_then(|text| text.parse::<f64>().ok());
    // Whoever asks for more than a day has made a mistake.
    let seconds = seconds.filter(|s| s.is_finite()).unwrap_or(0.0).clamp(0.0, 86_400.0);
    clock::pause(std::time::Duration::from_secs_f64(seconds));
    done(ctx)
}

fn htstats(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let db = parse_i64(&args[2]).ok_or(NOT_AN_INTEGER)?;
    let db = usize::try_from(db).ok().filter(|db| *db < ctx.spaces.databases());
    let db = db.ok_or(Fault::new("ERR Out of range database"))?;
    let [mut main, mut expires] = [String::new(), String::new()];
    ctx.spaces.each(|space| {
        let (data, shard) = (&space.dbs[db], space.shard);
        for (to, keys) in [(&mut main, data.len()), (&mut expires, data.expires_len())] {
            *to += &format!("Hash table {shard} stats (shard {shard}):\n");
            *to += &match keys {
                0 => "No stats available for empty dictionaries\n".to_owned(),
                n => format!(" number of elements: {n}\n"),
            };
        }
        if !data.is_empty() {
            main += &format!(" bytes with keys and values: {}\n", data.memory());
        }
    });
    let text = format!("[Dictionary HT]\n{main}[Expires HT]\n{expires}");
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Accepted in the form it has, and without effect: values are not kept in such lists.
fn packed_threshold(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let bytes = crate::config::value::memory(&args[2]);
    match bytes {
        Some(0..=0xFFFF_FFFF) => done(ctx),
        _ => Err(Fault::new(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
        )),
    }
}

/// Accepted in the form it has, and without effect: no reply buffer is resized by a timer.
fn replybuffer(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if args.is(2, "PEAK-RESET-TIME") && !args.is(3, "NEVER") && !args.is(3, "RESET") {
        parse_i64(&args[3]).ok_or(NOT_AN_INTEGER)?;
    }
    if args.is(2, "RESIZING") || args.is(2, "PEAK-RESET-TIME") {
        return done(ctx);
    }
    Err(wrong_subcommand("debug", &args[1]))
}

/// Random patterns against random texts: must come to an end, and must not harm.
fn stringmatch(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    const ALPHABET: &[u8] = b"ab*?[]^-\\";
    for _ in 0..10_000 {
        let mut word = |most: u64| -> Vec<u8> {
            let len = ctx.random.below(most);
            let letter = |_| ALPHABET[ctx.random.below(ALPHABET.len() as u64) as usize];
            (0..len).map(letter).collect()
        };
        let (pattern, text) = (word(16), word(32));
        std::hint::black_box(glob::matches(&pattern, &text, false));
    }
    ctx.out.simple("Apparently Redis did not crash: test passed");
    Ok(())
}

fn protocol(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let out = &mut *ctx.out;
    match args[2].to_ascii_lowercase().as_slice() {
        b"string" => out.bulk(b"Hello World"),
        b"integer" => out.int(12345),
        b"double" => out.double_text("3.141"),
        b"bignum" if out.resp3 => out.raw(b"(1234567999999999999999999999999999999\r\n"),
        b"bignum" => out.bulk(b"1234567999999999999999999999999999999"),
        b"null" => out.null(),
        kind @ (b"array" | b"set") => {
            if kind == b"set" {
                out.set(3)
            } else {
                out.array(3)
            }
            (0..3).for_each(|n| out.int(n));
        }
        b"map" => {
            out.map(3);
            for n in 0..3 {
                out.int(n);
                out.boolean(n == 1);
            }
        }
        b"attrib" => {
            if out.resp3 {
                out.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            out.bulk(b"Some real reply following the attribute");
        }
        b"push" if !out.resp3 => {
            return Err(Fault::new("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            out.push(2);
            out.bulk(b"server-cpu-usage");
            out.int(42);
            out.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => out.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => out.boolean(true),
        b"false" => out.boolean(false),
        _ => {
            return Err(Fault::new(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "AOF-FLUSH-SLEEP <microsec>",
    "    Server will sleep before flushing the AOF, this is used for testing.",
    "ASSERT",
    "    Crash by assertion failed.",
    "CHANGE-REPL-ID",
    "    Change the replication IDs of the instance.",
    "    Dangerous: should be used only for testing the replication subsystem.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Like CONFIG REWRITE but writes all configuration options, including",
    "    keywords not listed in original configuration file or default values.",
    "CRASH-AND-RECOVER [<milliseconds>]",
    "    Hard crash and restart after a <milliseconds> delay (default 0).",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "LEAK <string>",
    "    Create a memory leak of the input string.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "HTSTATS <dbid>",
    "    Return hash table statistics of the specified Redis database.",
    "HTSTATS-KEY <key>",
    "    Like HTSTATS but for the hash table stored at <key>'s value.",
    "LOADAOF",
    "    Flush the AOF buffers on disk and reload the AOF in memory.",
    "REPLICATE <string>",
    "    Replicates the provided string to replicas, allowing data divergence.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "DROP-CLUSTER-PACKET-FILTER <packet-type>",
    "    Drop all packets that match the filtered type. Set to -1 allow all packets.",
    "OOM",
    "    Crash the server simulating an out-of-memory error.",
    "PANIC",
    "    Crash the server simulating a panic.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>. If <prefix> is specified then",
    "    it is used instead of the 'key' prefix.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "RELOAD [option ...]",
    "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
    "    * MERGE: conflicting keys will be loaded from RDB.",
    "    * NOFLUSH: the existing database will not be removed before load, but",
    "      conflicting keys will generate an exception and kill the server.",
    "    * NOSAVE: the database will be loaded from an existing RDB file.",
    "    Examples:",
    "    * DEBUG RELOAD: verify that the server is able to persist, flush and reload",
    "      the database.",
    "    * DEBUG RELOAD NOSAVE: replace the current database with the contents of an",
    "      existing RDB file.",
    "    * DEBUG RELOAD NOSAVE NOFLUSH MERGE: add the contents of an existing RDB",
    "      file to the database.",
    "RESTART [<milliseconds>]",
    "    Graceful restart: save config, db, restart after a <milliseconds> delay (default 0).",
    "SDSLEN <key>",
    "    Show low level SDS string info representing `key` and value.",
    "SEGFAULT",
    "    Crash the server with sigsegv.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Enables or disables checksum checks for RESTORE's payload.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
    "STRINGMATCH-TEST",
    "    Run a fuzz tester against the stringmatchlen() function.",
    "STRUCTSIZE",
    "    Return the size of different Redis core C structures.",
    "CLIENT-EVICTION",
    "    Show low level client eviction pools info (maxmemory-clients).",
    "PAUSE-CRON <0|1>",
    "    Stop periodic cron job processing.",
    "REPLYBUFFER PEAK-RESET-TIME <NEVER||RESET|time>",
    "    Sets the time (in milliseconds) to wait between client reply buffer peak resets.",
    "    In case NEVER is provided the last observed peak will never be reset",
    "    In case RESET is provided the peak reset time will be restored to the default value",
    "REPLYBUFFER RESIZING <0|1>",
    "    Enable or disable the reply buffer resize cron job",
    "CLUSTERLINK KILL <to|from|all> <node-id>",
    "    Kills the link based on the direction to/from (both) with the provided node.",
    "HELP",
    "    Prints this help.",
];

fn help(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.array(HELP.len());
    HELP.iter().for_each(|line| ctx.out.simple(line));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::harness::World;
    use crate::command::session::fake::Fake;

    #[test]
    fn digests_are_those_of_redis() {
        for shards in [1, 3] {
            let mut w = World::sharded(shards);
            let zero = "0".repeat(40);
            assert_eq!(w.run("DEBUG DIGEST"), format!("+{zero}"));
            assert_eq!(w.run("DEBUG POPULATE 3 k 5"), "+OK");
            assert_eq!(w.run("DEBUG DIGEST"), "+aecc5c22d2e4d91f443ebad5fffa3da909d7eecc");
            w.run("SET k v");
            let value = w.run("DEBUG DIGEST-VALUE k none");
            assert_eq!(value, format!("*2 +d79ee9fe5d5ad902d7f6620efc3b07b75ddd742f +{zero}"));
            w.run("EXPIRE k 100");
            let value = w.run("DEBUG DIGEST-VALUE k");
            assert_eq!(value, "*1 +311b17018163335616e089f6b951c82c477335ac");
            assert_eq!(w.run("DEBUG DIGEST"), "+bb7f36c140837821751f3853234444c1cc4ccfb3");
            w.db = 3;
            w.run("SET n 12");
            assert_eq!(w.run("DEBUG DIGEST"), "+d3a65b5deaeb82bb6bba21247260d3eebd16af9b");
        }
    }

    #[test]
    fn populate_leaves_what_is_there_and_logs_what_is_not() {
        let mut w = World::new();
        w.run("SET k:1 mine");
        w.effects();
        w.check(&[
            ("DEBUG POPULATE 3 k", "+OK", "SET k:0 value:0 | SET k:2 value:2"),
            ("GET k:1", "$4 mine", ""),
            ("DEBUG POPULATE 1 s 3", "+OK", "SET s:0 val"),
            ("DEBUG POPULATE -1", "-ERR value is out of range, must be positive", ""),
            (
                "DEBUG POPULATE",
                "-ERR unknown subcommand or wrong number of arguments for 'POPULATE'. Try DEBUG \
                 HELP.",
                "",
            ),
            ("DEBUG OBJECT none", "-ERR no such key", ""),
            ("DEBUG HTSTATS 16", "-ERR Out of range database", ""),
            ("DEBUG ERROR oops", "-oops", ""),
            ("DEBUG SLEEP x", "+OK", ""),
            ("DEBUG STRINGMATCH-TEST", "+Apparently Redis did not crash: test passed", ""),
        ]);
        let object = w.run("DEBUG OBJECT k:1");
        assert!(object.contains("encoding:embstr serializedlength:5 lru:"), "{object}");
        w.run("DEBUG SET-ACTIVE-EXPIRE 0");
        assert!(!w.spaces[0].as_ref().unwrap().expires_actively);
        w.run("DEBUG SET-ACTIVE-EXPIRE 1");
        assert!(w.spaces[0].as_ref().unwrap().expires_actively);
    }

    #[test]
    fn what_a_string_takes() {
        let mut w = World::sharded(2);
        w.run("SET k abc");
        let said = w.run("DEBUG SDSLEN k");
        let lengths = "+key_sds_len:1, key_sds_avail:0, key_zmalloc: 1, val_sds_len:3, \
                       val_sds_avail:0, val_zmalloc: ";
        assert!(said.starts_with(lengths), "{said}");
        w.run("SET n 5");
        w.effects();
        w.check(&[
            ("DEBUG SDSLEN n", "-ERR Not an sds encoded string.", ""),
            ("DEBUG SDSLEN none", "-ERR no such key", ""),
            ("DEBUG HTSTATS-KEY none", "-ERR no such key", ""),
            (
                "DEBUG HTSTATS-KEY k",
                "-ERR The value stored at the specified key is not represented using an hash table",
                "",
            ),
            ("DEBUG LEAK xxx", "+OK", ""),
        ]);
        w.run("SADD s 1 2 a");
        assert!(w.run("DEBUG HTSTATS-KEY s").contains("not represented"));
        w.run(&format!("SADD s {}", "x".repeat(100)));
        assert!(w.run("DEBUG HTSTATS-KEY s").contains("number of elements: 4"));
        assert!(w.run("DEBUG STRUCTSIZE").starts_with("$16 bits:64 entry:"));
    }

    #[test]
    fn what_concerns_the_server() {
        let mut fake = Fake::default();
        let before = fake.registry.replication();
        assert_eq!(fake.run("DEBUG CHANGE-REPL-ID"), "+OK\r\n");
        assert_ne!(fake.registry.replication(), before);
        assert_eq!(fake.run("DEBUG log a\nb"), "+OK\r\n");
        let said = (LogLevel::Warning, "DEBUG LOG: a b".to_owned());
        assert_eq!(fake.said.borrow().last(), Some(&said));
        assert_eq!(fake.run("DEBUG CONFIG-REWRITE-FORCE-ALL"), "+OK\r\n");
        assert_eq!(fake.run("DEBUG LoadAOF"), "+OK\r\n");
        assert_eq!(fake.run("DEBUG LOADAOF x"), "+OK\r\n");
        assert_eq!(fake.calls, ["rewrite all", "load log", "load log"]);
        fake.calls.clear();
        assert_eq!(fake.run("DEBUG RELOAD"), "+OK\r\n");
        assert_eq!(fake.run("DEBUG RELOAD nosave MERGE NoFlush"), "+OK\r\n");
        let options = "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.\r\n";
        assert_eq!(fake.run("DEBUG RELOAD NOSAVE x"), options);
        assert_eq!(fake.calls, ["load file true true false", "load file false false true"]);
        fake.refusal = Some("ERR no".to_owned());
        assert_eq!(fake.run("DEBUG LOADAOF"), "-ERR no\r\n");
        fake.refusal = None;
        fake.calls.clear();
        assert_eq!(fake.run("DEBUG RESTART"), "");
        assert_eq!(fake.run("DEBUG crash-and-recover 20"), "");
        let refused = "-ERR value is not an integer or out of range\r\n";
        assert_eq!(fake.run("DEBUG RESTART x"), refused);
        for (asked, taken) in [("5", 5), ("x", 0), ("-3", 0), ("99999999999", 60_000_000)] {
            assert_eq!(fake.run(&format!("DEBUG AOF-FLUSH-SLEEP {asked}")), "+OK\r\n");
            assert_eq!(fake.calls.pop(), Some(format!("sleep {taken}")));
        }
        assert_eq!(fake.calls, ["again 0 true", "again 20 false"]);
    }
}
