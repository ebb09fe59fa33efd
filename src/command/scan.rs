//! Commands that look at a whole database: SCAN, KEYS, RANDOMKEY, DBSIZE.
//!
//! What they answer depends on everything in the database, so that their replies wait for its last
//! write. A client sees SCAN cursors of the form `local << 6 | shard`; a shard that is done hands
//! on to the next one's `0 << 6 | shard + 1`, the last one to 0.
//!
//! A SCAN that begins asks all shards at once, so that a database of a few keys is told in one
//! reply as clients expect it: what a shard says counts if all in front of it are done, with no
//! more keys than COUNT by then. Where it does not, the cursor in the reply is the one that shard
//! begins with, and its part is told again.

use crate::base::glob;
use crate::base::limits::SHARDS_MAX;
use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::table::{Acl, Command, Flags, Merge, ROW, Route, Run};
use crate::keyspace::{Entry, Keyspace};
use crate::resp::Reply;

const fn row(
    name: &'static str,
    arity: i32,
    route: Route,
    run: fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>,
) -> Command {
    Command {
        name,
        arity,
        flags: Flags(Flags::READONLY),
        route,
        run: Run::Data(run),
        acl: Acl(Acl::KEYSPACE),
        ..ROW
    }
}

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command {
        since: "2.8.0",
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        ..row("scan", -2, Route::Cursor, scan)
    },
    Command {
        acl: Acl(Acl::KEYSPACE | Acl::DANGEROUS),
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        ..row("keys", 2, Route::Every(Merge::Concat), keys)
    },
    Command {
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        ..row("randomkey", 1, Route::Every(Merge::Random), randomkey)
    },
    Command {
        flags: Flags(Flags::READONLY | Flags::FAST),
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        group: "server",
        ..row("dbsize", 1, Route::Every(Merge::Sum), dbsize)
    },
];

/// Bits of a cursor that name the shard.
const SHARD_BITS: u32 = SHARDS_MAX.ilog2();
/// Bits of a cursor that are the shard's own.
const LOCAL_BITS: u32 = 46;
/// Most entries that one call of SCAN visits, whatever COUNT asks for: a hint must not stall.
const COUNT_MAX: i64 = 100_000;
/// Most keys past their expiry that one RANDOMKEY removes in search of a living one. A database
/// in which so many are found in a row counts as empty.
const RANDOM_TRIES: usize = 4096;

/// The whole reply depends on all of database `db`.
fn depends_on(space: &mut Keyspace, db: usize) {
    space.looked.also();
    space.read_tag = space.read_tag.max(space.dbs[db].last_stamp());
}

/// Reads a cursor as C's `strtoul` does, which takes the empty string for 0 and lets negative
/// numbers wrap.
pub fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &b in digits {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(if negative { value.wrapping_neg() } else { value })
}

/// Of a SCAN that begins, how many keys it asks for; `None` for another, and for what is refused.
pub fn begins(args: &Args<'_>) -> Option<u64> {
    let begins = args.get(1).and_then(parse_cursor) == Some(0);
    let filter = begins.then(|| Filter::parse(args).ok())?;
    filter.map(|filter| filter.count as u64)
}

/// The shard whose part of the keys a SCAN request asks for; a request that cannot be read goes to
/// shard 0 to be refused, a cursor that names no shard to the last one, to be ended.
pub fn cursor_shard(args: &Args<'_>, shards: usize) -> usize {
    let cursor = args.get(1).and_then(parse_cursor).unwrap_or(0);
    split_cursor(cursor).1.min(shards - 1)
}

fn split_cursor(cursor: u64) -> (u64, usize) {
    let local = cursor >> SHARD_BITS & ((1 << LOCAL_BITS) - 1);
    (local, (cursor & ((1 << SHARD_BITS) - 1)) as usize)
}

/// SCAN's options.
struct Filter<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    /// The name of the type that keys must be of.
    of_type: Option<&'a [u8]>,
}

impl<'a> Filter<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, Fault> {
        let mut filter = Filter { pattern: None, count: 10, of_type: None };
        let mut at = 2;
        while at < args.len() {
            let Some(&value) = args.items().get(at + 1) else { return Err(SYNTAX) };
            if args.is(at, "COUNT") {
                let count = parse_i64(value).ok_or(NOT_AN_INTEGER)?;
                if count < 1 {
                    return Err(SYNTAX);
                }
                filter.count = count.min(COUNT_MAX) as usize;
            } else if args.is(at, "MATCH") {
                filter.pattern = (value != b"*").then_some(value);
            } else if args.is(at, "TYPE") {
                filter.of_type = Some(value);
            } else {
                return Err(SYNTAX);
            }
            at += 2;
        }
        Ok(filter)
    }

    fn takes(&self, entry: &Entry) -> bool {
        let is_of = |name: &[u8]| name.eq_ignore_ascii_case(entry.kind().name().as_bytes());
        self.of_type.is_none_or(is_of)
            && self.pattern.is_none_or(|p| glob::matches(p, entry.key(), false))
    }
}

/// Keys that a SCAN has found.
struct Found {
    keys: Reply,
    count: usize,
}

impl Found {
    fn new(ctx: &Ctx<'_>) -> Self {
        Found { keys: Reply::new(ctx.out.resp3), count: 0 }
    }

    fn tell(self, out: &mut Reply) {
        out.array(self.count);
        out.append(self.keys);
    }
}

/// The cursor that a shard begins with, and the one before it ends with.
fn first_cursor(shard: usize, shards: usize) -> u64 {
    if shard < shards { shard as u64 } else { 0 }
}

fn scan(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let cursor = parse_cursor(&args[1]).ok_or(Fault::new("ERR invalid cursor"))?;
    let filter = Filter::parse(args)?;
    let mut found = Found::new(ctx);
    let (local, mut shard) = split_cursor(cursor);
    let mut next = 0;
    if shard < ctx.shards {
        next = look(ctx, shard, local, &filter, &mut found);
    }
    // All of them are at hand then.
    while cursor == 0 && next == shard as u64 + 1 && found.count <= filter.count {
        shard += 1;
        next = look(ctx, shard, 0, &filter, &mut found);
    }
    ctx.out.array(2);
    ctx.out.bulk_int(next as i64);
    found.tell(ctx.out);
    Ok(())
}

/// Most entries of a part that is looked at before those in front of it are known to be done: what
/// goes beyond COUNT is told again, and nobody shall pay for much of that.
const BEGIN_MAX: usize = 1024;

/// What one of several shards says to a SCAN that begins: `[cursor, [key …]]`, the cursor as a
/// number. One that has more than is asked for, or much, does not begin, unless it is the first.
pub fn scan_part(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let filter = Filter::parse(args)?;
    let db = ctx.db;
    let space = ctx.spaces.shard(0);
    let (shard, len) = (space.shard, space.dbs[db].len());
    let mut found = Found::new(ctx);
    let next = match len > filter.count.min(BEGIN_MAX) && shard > 0 {
        true => first_cursor(shard, ctx.shards),
        false => look(ctx, shard, 0, &filter, &mut found),
    };
    ctx.out.array(2);
    ctx.out.int(next as i64);
    found.tell(ctx.out);
    Ok(())
}

/// Looks at a shard's keys from one of its own cursors on; gives the cursor to go on with.
fn look(
    ctx: &mut Ctx<'_>,
    shard: usize,
    local: u64,
    filter: &Filter<'_>,
    found: &mut Found,
) -> u64 {
    let (db, now) = (ctx.db, ctx.now_ms());
    let space = ctx.spaces.shard(shard);
    depends_on(space, db);
    // Behind the last key that is asked for the end may come at once.
    let whole = local == 0 && space.dbs[db].len() <= filter.count;
    let mut past = Vec::new();
    let next = space.dbs[db].scan(local, filter.count + usize::from(whole), &mut |entry| {
        if entry.expire_ms().is_some_and(|at| at < now) {
            past.push(entry.key().to_vec());
        } else if filter.takes(entry) {
            found.keys.bulk(entry.key());
            found.count += 1;
        }
    });
    past.iter().for_each(|key| space.expire_now(db, key));
    match next {
        0 => first_cursor(shard + 1, ctx.shards),
        local => local << SHARD_BITS | shard as u64,
    }
}

fn keys(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let pattern = &args[1];
    let (db, now) = (ctx.db, ctx.now_ms());
    let mut found = Reply::new(ctx.out.resp3);
    let mut count = 0;
    ctx.spaces.each(|space| {
        depends_on(space, db);
        for entry in space.dbs[db].iter() {
            let lives = entry.expire_ms().is_none_or(|at| at > now);
            if lives && (pattern == b"*" || glob::matches(pattern, entry.key(), false)) {
                found.bulk(entry.key());
                count += 1;
            }
        }
    });
    ctx.out.array(count);
    ctx.out.append(found);
    Ok(())
}

fn dbsize(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let total = size(ctx);
    ctx.out.int(total as i64);
    Ok(())
}

/// Number of keys in the selected database of all keyspaces at hand.
fn size(ctx: &mut Ctx<'_>) -> usize {
    let db = ctx.db;
    let mut total = 0;
    ctx.spaces.each(|space| {
        depends_on(space, db);
        total += space.dbs[db].len();
    });
    total
}

/// RANDOMKEY where every keyspace concerned is at hand: a key, or null.
fn randomkey(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    match draw(ctx) {
        Some(key) => ctx.out.bulk(&key),
        None => ctx.out.null(),
    }
    Ok(())
}

/// RANDOMKEY's part on one of several shards: `[number of keys, key or null]`. The reply of the
/// whole is the key of one part, drawn by weight of the numbers among the parts that have a key,
/// or null when none has.
pub fn random_part(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let key = draw(ctx);
    let weight = size(ctx);
    ctx.out.array(2);
    ctx.out.int(weight as i64);
    match key {
        Some(key) => ctx.out.bulk(&key),
        None => ctx.out.null(),
    }
    Ok(())
}

/// Draws a key that is not past its expiry from all keyspaces at hand.
fn draw(ctx: &mut Ctx<'_>) -> Option<Vec<u8>> {
    let (db, now) = (ctx.db, ctx.now_ms());
    for _ in 0..RANDOM_TRIES {
        let total = size(ctx);
        if total == 0 {
            return None;
        }
        let mut at = ctx.random.below(total as u64) as usize;
        let random = &mut *ctx.random;
        let mut drawn = None;
        ctx.spaces.each(|space| {
            let len = space.dbs[db].len();
            if drawn.is_none() && at < len {
                drawn = Some(draw_from(space, db, now, random));
            }
            at = at.wrapping_sub(len);
        });
        if let Some(Some(key)) = drawn {
            return Some(key);
        }
    }
    None
}

/// Draws a key from one database; `None` when it was past its expiry and has been removed.
fn draw_from(
    space: &mut Keyspace,
    db: usize,
    now: i64,
    random: &mut crate::base::random::Random,
) -> Option<Vec<u8>> {
    let entry = space.dbs[db].random(random)?;
    let past = entry.expire_ms().is_some_and(|at| at < now);
    let key = entry.key().to_vec();
    if past {
        space.expire_now(db, &key);
        return None;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{begins, cursor_shard, parse_cursor, random_part};
    use crate::command::args::Args;
    use crate::command::harness::World;

    #[test]
    fn cursors_as_c_reads_them() {
        for (text, cursor) in [
            ("0", Some(0)),
            ("", Some(0)),
            ("007", Some(7)),
            ("+7", Some(7)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-", None),
            (" 1", None),
            ("1 ", None),
            ("x", None),
        ] {
            assert_eq!(parse_cursor(text.as_bytes()), cursor, "{text:?}");
        }
    }

    /// Follows the cursor to its end and gives the keys seen, sorted.
    fn scan_all(w: &mut World, options: &str) -> Vec<String> {
        let mut cursor = "0".to_owned();
        let mut seen = Vec::new();
        loop {
            let reply = w.run(&format!("SCAN {cursor}{options}"));
            let words: Vec<&str> = reply.split(' ').collect();
            assert_eq!(words[0], "*2", "{reply}");
            cursor = words[2].to_owned();
            seen.extend(words[4..].iter().skip(1).step_by(2).map(|k| (*k).to_owned()));
            if cursor == "0" {
                break;
            }
        }
        seen.sort();
        seen.dedup();
        seen
    }

    #[test]
    fn scan() {
        for shards in [1, 4, 64] {
            let mut w = World::sharded(shards);
            let mut keys: Vec<String> = (0..300).map(|i| format!("key:{i}")).collect();
            keys.sort();
            keys.iter().for_each(|key| assert_eq!(w.run(&format!("SET {key} v")), "+OK"));
            assert_eq!(scan_all(&mut w, ""), keys);
            assert_eq!(scan_all(&mut w, " COUNT 1"), keys);
            assert_eq!(scan_all(&mut w, " count 1000000000000 MATCH *"), keys);
            assert_eq!(scan_all(&mut w, " MATCH key:7 COUNT 1000"), ["key:7"]);
            assert_eq!(scan_all(&mut w, " TYPE STRING"), keys);
            assert_eq!(scan_all(&mut w, " TYPE list"), [""; 0]);
        }
    }

    #[test]
    fn a_few_keys_are_told_at_once() {
        for shards in [1, 2, 4, 64] {
            let mut w = World::sharded(shards);
            let keys: Vec<String> = (0..10).map(|i| format!("key:{i}")).collect();
            keys.iter().for_each(|key| assert_eq!(w.run(&format!("SET {key} v")), "+OK"));
            for options in ["", " COUNT 10", " COUNT 1000", " MATCH key:*"] {
                let reply = w.run(&format!("SCAN 0{options}"));
                let mut words: Vec<&str> = reply.split(' ').collect();
                assert_eq!(words[..4], ["*2", "$1", "0", "*10"], "{reply}");
                words.drain(..4);
                let mut seen: Vec<&str> = words.into_iter().skip(1).step_by(2).collect();
                seen.sort_unstable();
                assert_eq!(seen, keys);
            }
            assert_eq!(w.run("SCAN 0 MATCH none"), "*2 $1 0 *0");
            let reply = w.run("SCAN 0 COUNT 3");
            assert!(!reply.starts_with("*2 $1 0 "), "no more than about so many: {reply}");
        }
    }

    #[test]
    fn which_begin() {
        let begins = |request: &str| {
            let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            begins(&Args::new(&words))
        };
        assert_eq!(begins("SCAN 0"), Some(10));
        assert_eq!(begins("SCAN 00 MATCH a COUNT 7"), Some(7));
        for request in ["SCAN 1", "SCAN 64", "SCAN x", "SCAN", "SCAN 0 COUNT", "SCAN 0 COUNT 0"] {
            assert_eq!(begins(request), None, "{request}");
        }
    }

    #[test]
    fn scan_refuses() {
        World::new().check(&[
            ("SCAN x", "-ERR invalid cursor", ""),
            ("SCAN 99999999999999999999", "-ERR invalid cursor", ""),
            ("SCAN 0 COUNT 0", "-ERR syntax error", ""),
            ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range", ""),
            ("SCAN 0 COUNT", "-ERR syntax error", ""),
            ("SCAN 0 what x", "-ERR syntax error", ""),
            ("SCAN 63", "*2 $1 0 *0", ""),
        ]);
    }

    #[test]
    fn scan_ends_keys_past_their_time() {
        let mut w = World::new();
        w.run("SET a 1 PX 1");
        w.run("SET b 1");
        w.effects();
        w.now_ms += 2;
        w.check(&[
            ("KEYS *", "*1 $1 b", ""),
            ("DBSIZE", ":2", ""),
            ("SCAN 0", "*2 $1 0 *1 $1 b", "DEL a"),
            ("DBSIZE", ":1", ""),
        ]);
    }

    #[test]
    fn whole_replies_wait_for_the_last_write() {
        for request in ["SCAN 0", "KEYS nothing", "DBSIZE", "RANDOMKEY", "GET other"] {
            let mut w = World::new();
            w.run("SET a 1");
            let stamp = w.spaces[0].as_ref().unwrap().dbs[0].last_stamp();
            w.spaces[0].as_deref_mut().unwrap().read_tag = 0;
            w.run(request);
            assert_eq!(w.spaces[0].as_ref().unwrap().read_tag, stamp, "{request}");
        }
    }

    #[test]
    fn a_write_that_changes_nothing_tells_of_the_one_before() {
        let many: String = (0..600).map(|i| format!(" m{i}")).collect();
        let pairs: String = (0..600).map(|i| format!(" m{i} v")).collect();
        for (make, request) in [
            (format!("SADD k{many}"), "SADD k m1 m2"),
            ("SADD k a b".to_owned(), "SADD k a"),
            (format!("HSET k{pairs}"), "HSETNX k m1 v"),
            ("HSET k f v".to_owned(), "HSETNX k f v"),
        ] {
            let mut w = World::new();
            w.run(&make);
            let stamp = w.spaces[0].as_ref().unwrap().dbs[0].last_stamp();
            w.spaces[0].as_deref_mut().unwrap().read_tag = 0;
            w.run(request);
            assert_eq!(w.spaces[0].as_ref().unwrap().read_tag, stamp, "{request}");
        }
    }

    #[test]
    fn a_cursor_names_its_shard() {
        let shard = |cursor: &[u8], shards| cursor_shard(&Args::new(&[b"SCAN", cursor]), shards);
        assert_eq!(shard(b"0", 4), 0);
        assert_eq!(shard(b"3", 4), 3);
        assert_eq!(shard(b"66", 4), 2);
        assert_eq!(shard(b"63", 4), 3);
        assert_eq!(shard(b"nonsense", 4), 0);
        assert_eq!(cursor_shard(&Args::new(&[b"SCAN"]), 4), 0);
    }

    #[test]
    fn a_part_of_randomkey_says_how_much_it_weighs() {
        let mut w = World::new();
        assert_eq!(w.run_with(random_part, &[b"RANDOMKEY"]), b"*2\r\n:0\r\n$-1\r\n");
        w.run("SET a 1");
        assert_eq!(w.run_with(random_part, &[b"RANDOMKEY"]), b"*2\r\n:1\r\n$1\r\na\r\n");
    }

    #[test]
    fn randomkey() {
        for shards in [1, 4] {
            let mut w = World::sharded(shards);
            assert_eq!(w.run("RANDOMKEY"), "$-1");
            (0..20).for_each(|i| assert_eq!(w.run(&format!("SET {i} v")), "+OK"));
            let drawn: HashSet<String> = (0..1000).map(|_| w.run("RANDOMKEY")).collect();
            assert_eq!(drawn.len(), 20);
        }
        let mut w = World::new();
        (0..20).for_each(|i| assert_eq!(w.run(&format!("SET {i} v PX 1")), "+OK"));
        w.run("SET last v");
        w.now_ms += 1;
        assert_eq!(w.run("RANDOMKEY"), "$4 last");
    }
}
