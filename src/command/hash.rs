//! Hashes: HSET, HGET and their kin.
//!
//! The log gets the request where replaying it does the same, and HSET with the outcome where it
//! would not (HINCRBYFLOAT). Fields that end are `hash_expire`'s and `hash_timed`'s; here they are
//! not seen once they are past their time, and removed when they are named.

use smallvec::SmallVec;

use crate::base::long_double::LongDouble;
use crate::base::number::parse_i64;
use crate::base::random::Random;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::elements::{self, Draw, reply_item};
use crate::command::fault::{Fault, NOT_AN_INTEGER, WRONG_TYPE};
use crate::command::table::{
    Acl, Command, Flags, Group, KeySpec, LOOKS, READS_FIRST, REPLACES_FIRST, UPDATES_FIRST,
    wrong_arity,
};
use crate::keyspace::{Class, Entry, Form, NewValue, Object};
use crate::resp::Reply;
use crate::value::dict::Dict;
use crate::value::hash::{self, Hash};
use crate::value::listpack::{Item, Pack};
use crate::value::shapes::{PACKED_MAX, Shapes};

/// The group of these commands.
pub(super) const GROUP: Group = Group { name: "hash", acl: Acl::HASH };

const READ: u32 = Flags::READONLY;
const FAST: u32 = Flags::FAST;
const GROW: u32 = Flags::WRITE | Flags::DENYOOM;
const LOOKS_FIRST: &[KeySpec] = &[KeySpec::one(1, LOOKS)];
const INSERTS_FIRST: &[KeySpec] = &[KeySpec::one(1, &["RW", "insert"])];
const REMOVES_FIRST: &[KeySpec] = &[KeySpec::one(1, &["RW", "delete"])];
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("hset", -4, GROW | FAST, "2.0.0", UPDATES_FIRST, hset),
    GROUP.row("hsetnx", 4, GROW | FAST, "2.0.0", INSERTS_FIRST, hsetnx),
    GROUP.row("hmset", -4, GROW | FAST, "2.0.0", UPDATES_FIRST, hmset),
    GROUP.row("hget", 3, READ | FAST, "2.0.0", READS_FIRST, hget),
    GROUP.row("hmget", -3, READ | FAST, "2.0.0", READS_FIRST, hmget),
    GROUP.row("hincrby", 4, GROW | FAST, "2.0.0", REPLACES_FIRST, hincrby),
    GROUP.row("hincrbyfloat", 4, GROW | FAST, "2.6.0", REPLACES_FIRST, hincrbyfloat),
    GROUP.row("hdel", -3, Flags::WRITE | FAST, "2.0.0", REMOVES_FIRST, hdel),
    GROUP.row("hlen", 2, READ | FAST, "2.0.0", LOOKS_FIRST, hlen),
    GROUP.row("hstrlen", 3, READ | FAST, "3.2.0", LOOKS_FIRST, hstrlen),
    GROUP.row("hexists", 3, READ | FAST, "2.0.0", LOOKS_FIRST, hexists),
    Command { tips: UNORDERED, ..GROUP.row("hgetall", 2, READ, "2.0.0", READS_FIRST, hgetall) },
    Command { tips: UNORDERED, ..GROUP.row("hkeys", 2, READ, "2.0.0", READS_FIRST, hkeys) },
    Command { tips: UNORDERED, ..GROUP.row("hvals", 2, READ, "2.0.0", READS_FIRST, hvals) },
    Command {
        tips: &["nondeterministic_output"],
        ..GROUP.row("hrandfield", -2, READ, "6.2.0", READS_FIRST, hrandfield)
    },
    Command {
        tips: &["nondeterministic_output"],
        ..GROUP.row("hscan", -3, READ, "2.8.0", READS_FIRST, hscan)
    },
];

/// How a hash is kept, if there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Absent,
    Packed,
    Dict,
}

fn hash_of(entry: Option<&Entry>, now_ms: i64) -> Result<Option<Hash<'_>>, Fault> {
    entry.map(|entry| Hash::at(entry, now_ms).ok_or(WRONG_TYPE)).transpose()
}

/// The hash at `key`, if there is one.
pub(super) fn peek<'a>(ctx: &'a mut Ctx<'_>, key: &[u8]) -> Result<Option<Hash<'a>>, Fault> {
    let now = ctx.now_ms();
    hash_of(ctx.peek(key), now)
}

/// Hands the hash at `key`, if there is one, to `answer` with the reply; `fields` are named.
pub(super) fn read<R>(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    fields: &[&[u8]],
    answer: impl FnOnce(&mut Reply, Option<Hash<'_>>) -> R,
) -> Result<R, Fault> {
    ctx.lapse(key, fields);
    let now = ctx.now_ms();
    ctx.read_to(key, |out, entry| Ok(answer(out, hash_of(entry, now)?)))
}

pub(super) fn kept(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Kept, Fault> {
    Ok(match peek(ctx, key)? {
        None => Kept::Absent,
        Some(Hash::Packed(_)) => Kept::Packed,
        Some(Hash::Dict(_)) => Kept::Dict,
    })
}

/// Makes a dictionary of what is at `key`; there need not be anything.
fn unpack(ctx: &mut Ctx<'_>, key: &[u8]) {
    let seed = ctx.hash_seed(key);
    let packed = ctx.peek(key).and_then(Hash::of).map(|hash| hash.to_dict(seed));
    match packed {
        Some(dict) => ctx.reshape(key, NewValue::Object(Box::new(Object::Hash(dict)))),
        None => {
            let dict = Object::Hash(Dict::new(seed));
            ctx.put(key, NewValue::Object(Box::new(dict)), Expiry::Clear);
        }
    }
}

/// Makes a dictionary of a packed hash, so that its fields can have times.
pub(super) fn spread(ctx: &mut Ctx<'_>, key: &[u8]) {
    let seed = ctx.hash_seed(key);
    if let Some(hash @ Hash::Packed(_)) = ctx.peek(key).and_then(Hash::of) {
        let mut dict = hash.to_dict(seed);
        dict.set_small(true);
        ctx.reshape(key, NewValue::Object(Box::new(Object::Hash(dict))));
    }
}

/// What came of setting fields of a packed hash.
struct Packed {
    added: usize,
    /// Texts of fields and values that are set.
    done: usize,
    /// It is no longer to be packed.
    outgrown: bool,
}

/// Sets fields until there is no room for more.
fn set_packed(bytes: &mut bytes::BytesMut, pairs: &[&[u8]], shapes: &Shapes) -> Packed {
    let mut packed = Packed { added: 0, done: 0, outgrown: false };
    for pair in pairs.chunks_exact(2) {
        packed.added += usize::from(hash::set_packed(bytes, pair[0], pair[1]));
        packed.done += 2;
        packed.outgrown = hash::is_outgrown(bytes, shapes);
        if packed.outgrown {
            break;
        }
    }
    packed
}

/// Sets fields of a hash that is packed and stays so, with one look; `None`, and nothing is done,
/// when there is no such hash.
fn set_at_once(ctx: &mut Ctx<'_>, key: &[u8], pairs: &[&[u8]]) -> Option<usize> {
    let shapes = ctx.shapes;
    let bytes: usize = pairs.iter().map(|text| text.len()).sum();
    if bytes > PACKED_MAX / 2 || !pairs.iter().all(|text| hash::fits(text, shapes)) {
        return None;
    }
    let edit = |bytes: &mut bytes::BytesMut| {
        if Pack(bytes).len() / 2 + pairs.len() / 2 > shapes.hash_entries {
            return (None, false);
        }
        (Some(set_packed(bytes, pairs, shapes).added), true)
    };
    ctx.edit_living(key, Form::Hash, edit)?.0
}

/// Sets fields; says how many of them are new. Those that have a time lose it, unless they are to
/// `keep` it. The caller has checked the type and logs.
pub(super) fn set_fields(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    kept: Kept,
    pairs: &[&[u8]],
    keep: bool,
) -> usize {
    let shapes = ctx.shapes;
    let mut set = (0, 0);
    if kept != Kept::Dict && pairs.iter().all(|text| hash::fits(text, shapes)) {
        // As far as the packed form goes.
        let edit = |bytes: &mut bytes::BytesMut| (set_packed(bytes, pairs, shapes), true);
        let (packed, _) = ctx.edit_packed(key, Form::Hash, edit);
        set = (packed.added, packed.done);
        if packed.outgrown {
            unpack(ctx, key);
        }
    } else if kept != Kept::Dict {
        unpack(ctx, key);
    }
    let (mut added, done) = set;
    if done < pairs.len() {
        ctx.change_object(key, |object| {
            if let Object::Hash(dict) = object {
                for pair in pairs[done..].chunks_exact(2) {
                    added += usize::from(match keep {
                        true => dict.set_value(pair[0], pair[1]),
                        false => dict.set(pair[0], pair[1], None),
                    });
                }
                let fit = dict.is_small() && pairs.iter().all(|text| hash::fits(text, shapes));
                dict.set_small(fit && dict.len() <= shapes.hash_entries);
            }
            ((), true)
        });
    }
    added
}

fn hset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let added = set_all(ctx, args, "hset")?;
    ctx.out.int(added as i64);
    Ok(())
}

fn hmset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    set_all(ctx, args, "hmset")?;
    ctx.out.ok();
    Ok(())
}

fn set_all(ctx: &mut Ctx<'_>, args: &Args<'_>, name: &str) -> Result<usize, Fault> {
    if args.len() % 2 == 1 {
        return Err(wrong_arity(name));
    }
    let key = &args[1];
    if let Some(added) = set_at_once(ctx, key, &args.items()[2..]) {
        ctx.log_request(key, args);
        ctx.event(Class::Hash, "hset", key);
        return Ok(added);
    }
    let fields: SmallVec<[&[u8]; 8]> = args.items()[2..].iter().step_by(2).copied().collect();
    ctx.lapse(key, &fields);
    let kept = kept(ctx, key)?;
    let added = set_fields(ctx, key, kept, &args.items()[2..], false);
    ctx.log_request(key, args);
    ctx.event(Class::Hash, "hset", key);
    Ok(added)
}

fn hsetnx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    ctx.lapse(key, &args.items()[2..3]);
    let there = peek(ctx, key)?.is_some_and(|hash| hash.get(&args[2]).is_some());
    if !there {
        let kept = kept(ctx, key)?;
        set_fields(ctx, key, kept, &args.items()[2..], false);
        ctx.log_request(key, args);
        ctx.event(Class::Hash, "hset", key);
    }
    ctx.out.int(i64::from(!there));
    Ok(())
}

fn hget(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], &args.items()[2..], |out, hash| {
        match hash.and_then(|hash| hash.get(&args[2])) {
            Some(value) => reply_item(out, value),
            None => out.null(),
        }
    })
}

fn hmget(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], &args.items()[2..], |out, hash| {
        out.array(args.len() - 2);
        for field in &args.items()[2..] {
            match hash.and_then(|hash| hash.get(field)) {
                Some(value) => reply_item(out, value),
                None => out.null(),
            }
        }
    })
}

fn hlen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], &[], |out, hash| out.int(hash.map_or(0, Hash::len) as i64))
}

fn hstrlen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], &args.items()[2..], |out, hash| {
        let value = hash.and_then(|hash| hash.get(&args[2]));
        out.int(value.map_or(0, |value| value.text_len()) as i64);
    })
}

fn hexists(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], &args.items()[2..], |out, hash| {
        out.int(i64::from(hash.is_some_and(|hash| hash.get(&args[2]).is_some())));
    })
}

fn hgetall(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], &[], |out, hash| {
        out.map(hash.map_or(0, Hash::live_len));
        if let Some(hash) = hash {
            hash.each(|field, value| {
                reply_item(out, field);
                reply_item(out, value);
            });
        }
    })
}

fn hkeys(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], &[], |out, hash| {
        out.array(hash.map_or(0, Hash::live_len));
        if let Some(hash) = hash {
            hash.each(|field, _| reply_item(out, field));
        }
    })
}

fn hvals(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], &[], |out, hash| {
        out.array(hash.map_or(0, Hash::live_len));
        if let Some(hash) = hash {
            hash.each(|_, value| reply_item(out, value));
        }
    })
}

/// Removes a hash that has lost its last field. The caller logs.
pub(super) fn remove_empty(ctx: &mut Ctx<'_>, key: &[u8]) {
    if ctx.peek(key).and_then(Hash::of).is_some_and(Hash::is_empty) {
        ctx.delete(key);
    }
}

/// Takes fields out; says how many were there. The caller has checked the type and logs.
fn take_out(ctx: &mut Ctx<'_>, key: &[u8], kept: Kept, fields: &[&[u8]]) -> usize {
    match kept {
        Kept::Absent => 0,
        Kept::Packed => {
            let remove = |bytes: &mut bytes::BytesMut| {
                let removed = fields.iter().filter(|f| hash::remove_packed(bytes, f)).count();
                (removed, removed > 0)
            };
            ctx.edit_packed(key, Form::Hash, remove).0
        }
        Kept::Dict => {
            let remove = |object: &mut Object| {
                let Object::Hash(dict) = object else { return (0, false) };
                let removed = fields.iter().filter(|f| dict.remove(f).is_some()).count();
                (removed, removed > 0)
            };
            ctx.change_object(key, remove).map_or(0, |(removed, _)| removed)
        }
    }
}

/// Takes one field out of a hash. The caller logs, and removes the hash if it is empty.
pub(super) fn remove_field(ctx: &mut Ctx<'_>, key: &[u8], field: &[u8]) {
    if let Ok(kept) = kept(ctx, key) {
        take_out(ctx, key, kept, &[field]);
    }
}

fn hdel(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, fields) = (&args[1], &args.items()[2..]);
    ctx.lapse(key, fields);
    let kept = kept(ctx, key)?;
    let removed = take_out(ctx, key, kept, fields);
    if removed > 0 {
        remove_empty(ctx, key);
        ctx.log_request(key, args);
        ctx.event_taken(Class::Hash, "hdel", key);
    }
    ctx.out.int(removed as i64);
    Ok(())
}

fn hincrby(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, field) = (&args[1], &args[2]);
    let by = parse_i64(&args[3]).ok_or(NOT_AN_INTEGER)?;
    ctx.lapse(key, &[field]);
    let old = match peek(ctx, key)?.and_then(|hash| hash.get(field)) {
        None => Some(0),
        Some(value) => parse_i64(value.text(&mut itoa::Buffer::new())),
    };
    let old = old.ok_or(Fault::new("ERR hash value is not an integer"))?;
    let new = old.checked_add(by).ok_or(Fault::new("ERR increment or decrement would overflow"))?;
    let kept = kept(ctx, key)?;
    set_fields(ctx, key, kept, &[field, itoa::Buffer::new().format(new).as_bytes()], true);
    ctx.log_request(key, args);
    ctx.event(Class::Hash, "hincrby", key);
    ctx.out.int(new);
    Ok(())
}

fn hincrbyfloat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, field) = (&args[1], &args[2]);
    let by = LongDouble::parse(&args[3]).ok_or(Fault::new("ERR value is not a valid float"))?;
    if matches!(by, LongDouble::Infinite { .. }) {
        return Err(Fault::new("ERR value is NaN or Infinity"));
    }
    ctx.lapse(key, &[field]);
    let old = match peek(ctx, key)?.and_then(|hash| hash.get(field)) {
        None => Some(LongDouble::from(0)),
        Some(value) => LongDouble::parse(value.text(&mut itoa::Buffer::new())),
    };
    let old = old.ok_or(Fault::new("ERR hash value is not a float"))?;
    let sum = old.plus(by).ok_or(Fault::new("ERR increment would produce NaN or Infinity"))?;
    let text = sum.to_text();
    let kept = kept(ctx, key)?;
    set_fields(ctx, key, kept, &[field, &text], true);
    ctx.log(key, &[b"HSET", key, field, &text]);
    log_kept_times(ctx, key, &[field]);
    ctx.event(Class::Hash, "hincrbyfloat", key);
    ctx.out.bulk(&text);
    Ok(())
}

/// Logs the times of `fields`, behind an HSET that clears them.
pub(super) fn log_kept_times(ctx: &mut Ctx<'_>, key: &[u8], fields: &[&[u8]]) {
    for field in fields {
        let entry = ctx.peek(key).and_then(Entry::object);
        let Some(Object::Hash(dict)) = entry else { return };
        if let Some(at) = dict.get(field).and_then(Entry::expire_ms) {
            ctx.log_times(key, &[field], at);
        }
    }
}

fn hrandfield(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    let mut random = Random::new(ctx.random.next_u64());
    if args.len() == 2 {
        return read(ctx, key, &[], |out, hash| {
            match hash.and_then(|hash| hash.random(&mut random)) {
                Some((field, _)) => reply_item(out, field),
                None => out.null(),
            }
        });
    }
    let draw = Draw::parse(args, "WITHVALUES")?;
    read(ctx, key, &[], |out, hash| {
        let Some(hash) = hash else {
            out.array(0);
            return Ok(());
        };
        let mut all: Vec<(Item<'_>, Item<'_>)> = Vec::new();
        let len = hash.live_len();
        if len == 0 {
            out.array(0);
            return Ok(());
        }
        // One of few among many that are past their time cannot be drawn again and again.
        if draw.needs_all(len) || hash.may_hide() && len < hash.len() / 2 {
            hash.each(|field, value| all.push((field, value)));
        }
        let chosen = draw.choose(
            &mut random,
            len,
            &all,
            |random| match all.len() {
                0 => hash.random(random),
                len => all.get(random.below(len as u64) as usize).copied(),
            },
            |drawn| drawn.0,
            |drawn| drawn.0.text_len() + if draw.values { drawn.1.text_len() } else { 0 },
        )?;
        draw.open(out, chosen.len());
        for (field, value) in chosen {
            draw.one(out, field, value);
        }
        Ok(())
    })?
}

fn hscan(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let cursor = elements::cursor(&args[2])?;
    let now = ctx.now_ms();
    ctx.read_to(&args[1], |out, entry| {
        let Some(hash) = hash_of(entry, now)? else { return elements::nothing_scanned(out) };
        let filter = elements::Filter::parse(args, true)?;
        let mut found = elements::Found::new(out.resp3);
        let mut take = |field: Item<'_>, value: Item<'_>| {
            if filter.takes(field) {
                found.add(field);
                if !filter.names_only {
                    found.add(value);
                }
            }
        };
        let next = match hash {
            Hash::Packed(_) => {
                hash.each(take);
                0
            }
            Hash::Dict(fields) => fields.dict.scan(cursor, filter.count, &mut |entry| {
                if fields.shows(entry) {
                    let (field, value) = hash::element(entry);
                    take(field, value);
                }
            }),
        };
        found.answer(out, next);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn fields_come_and_go() {
        World::new().check(&[
            ("HSET h a 1 b two", ":2", "HSET h a 1 b two"),
            ("HSET h a 3 c x", ":1", "HSET h a 3 c x"),
            ("HSET h a", "-ERR wrong number of arguments for 'hset' command", ""),
            ("HMSET h d 4", "+OK", "HMSET h d 4"),
            ("HMSET h d 4 e", "-ERR wrong number of arguments for 'hmset' command", ""),
            ("HSETNX h d 5", ":0", ""),
            ("HSETNX h e 5", ":1", "HSETNX h e 5"),
            ("HGET h a", "$1 3", ""),
            ("HGET h none", "$-1", ""),
            ("HGET none a", "$-1", ""),
            ("HMGET h a none b", "*3 $1 3 $-1 $3 two", ""),
            ("HLEN h", ":5", ""),
            ("HSTRLEN h b", ":3", ""),
            ("HEXISTS h b", ":1", ""),
            ("HKEYS h", "*5 $1 a $1 b $1 c $1 d $1 e", ""),
            ("HVALS h", "*5 $1 3 $3 two $1 x $1 4 $1 5", ""),
            ("OBJECT ENCODING h", "$8 listpack", ""),
            ("TYPE h", "+hash", ""),
            ("HDEL h none", ":0", ""),
            ("HDEL h a b none", ":2", "HDEL h a b none"),
            ("HGETALL h", "*6 $1 c $1 x $1 d $1 4 $1 e $1 5", ""),
            ("HDEL h c d e", ":3", "HDEL h c d e"),
            ("EXISTS h", ":0", ""),
            ("HGETALL h", "*0", ""),
        ]);
    }

    #[test]
    fn numbers() {
        World::new().check(&[
            ("HINCRBY h n 5", ":5", "HINCRBY h n 5"),
            ("HINCRBY h n -7", ":-2", "HINCRBY h n -7"),
            ("HINCRBY h n x", "-ERR value is not an integer or out of range", ""),
            ("HSET h t text m 9223372036854775807", ":2", "HSET h t text m 9223372036854775807"),
            ("HINCRBY h t 1", "-ERR hash value is not an integer", ""),
            ("HINCRBY h m 1", "-ERR increment or decrement would overflow", ""),
            ("HINCRBYFLOAT h n 0.5", "$4 -1.5", "HSET h n -1.5"),
            ("HINCRBYFLOAT h t 1", "-ERR hash value is not a float", ""),
            ("HINCRBYFLOAT h n x", "-ERR value is not a valid float", ""),
            ("HINCRBYFLOAT h n inf", "-ERR value is NaN or Infinity", ""),
        ]);
    }

    #[test]
    fn what_outgrows_its_form_changes_it() {
        let mut w = World::new();
        w.shapes.hash_entries = 3;
        w.shapes.hash_value = 5;
        w.check(&[
            ("HSET h a 1 b 2 c 3", ":3", "HSET h a 1 b 2 c 3"),
            ("OBJECT ENCODING h", "$8 listpack", ""),
            ("PEXPIRE h 9000", ":1", "PEXPIREAT h 1700000009000"),
            ("HSET h a 5 d 4 e 5", ":2", "HSET h a 5 d 4 e 5"),
            ("OBJECT ENCODING h", "$9 hashtable", ""),
            ("PTTL h", ":9000", ""),
            ("HLEN h", ":5", ""),
            ("HGET h a", "$1 5", ""),
            ("HDEL h a b c d", ":4", "HDEL h a b c d"),
            ("OBJECT ENCODING h", "$9 hashtable", ""),
            ("HGETALL h", "*2 $1 e $1 5", ""),
            ("HDEL h e", ":1", "HDEL h e"),
            ("EXISTS h", ":0", ""),
            ("HSET i f longer", ":1", "HSET i f longer"),
            ("OBJECT ENCODING i", "$9 hashtable", ""),
            ("HINCRBY i f 1", "-ERR hash value is not an integer", ""),
        ]);
    }

    #[test]
    fn a_hash_is_no_string_and_no_string_a_hash() {
        const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        World::new().check(&[
            ("SET s x", "+OK", "SET s x"),
            ("HSET h f v", ":1", "HSET h f v"),
            ("HSET s f v", WRONG, ""),
            ("HGET s f", WRONG, ""),
            ("HDEL s f", WRONG, ""),
            ("HSCAN s 0", WRONG, ""),
            ("HRANDFIELD s", WRONG, ""),
            ("SADD h m", WRONG, ""),
            ("GET h", WRONG, ""),
            ("GETRANGE h 0 1", WRONG, ""),
            ("APPEND h x", WRONG, ""),
            ("INCR h", WRONG, ""),
            ("SETBIT h 0 1", WRONG, ""),
            ("BITFIELD h SET u1 0 1", WRONG, ""),
            ("PFADD h x", WRONG, ""),
            ("GETSET h x", WRONG, ""),
            ("SET h x GET", WRONG, ""),
            ("LCS h s", "-ERR The specified keys must contain string values", ""),
            ("MGET h s", "*2 $-1 $1 x", ""),
            ("STRLEN h", WRONG, ""),
            ("HGETALL h", "*2 $1 f $1 v", ""),
            ("SET h x", "+OK", "SET h x"),
            ("GET h", "$1 x", ""),
        ]);
    }

    #[test]
    fn moved_and_copied_whole() {
        World::new().check(&[
            ("HSET h f v", ":1", "HSET h f v"),
            ("SET t x", "+OK", "SET t x"),
            ("RENAME h t", "+OK", "DEL h | DEL t | HSET t f v"),
            ("COPY t u", ":1", "DEL u | HSET u f v"),
            ("HSET u g w", ":1", "HSET u g w"),
            ("HLEN t", ":1", ""),
            ("PEXPIRE u 5000", ":1", "PEXPIREAT u 1700000005000"),
            ("RENAME u h", "+OK", "DEL u | DEL h | HSET h f v g w | PEXPIREAT h 1700000005000"),
        ]);
    }

    #[test]
    fn drawn_by_chance_and_walked() {
        let mut w = World::new();
        w.check(&[
            ("HRANDFIELD none", "$-1", ""),
            ("HRANDFIELD none 3", "*0", ""),
            ("HSET h a 1", ":1", "HSET h a 1"),
            ("HRANDFIELD h", "$1 a", ""),
            ("HRANDFIELD h 5 WITHVALUES", "*2 $1 a $1 1", ""),
            ("HRANDFIELD h -2", "*2 $1 a $1 a", ""),
            ("HRANDFIELD h 1 x", "-ERR syntax error", ""),
            ("HSCAN h 0", "*2 $1 0 *2 $1 a $1 1", ""),
            ("HSCAN h 0 NOVALUES", "*2 $1 0 *1 $1 a", ""),
            ("HSCAN h 0 MATCH b*", "*2 $1 0 *0", ""),
            ("HSCAN h x", "-ERR invalid cursor", ""),
            ("HSCAN none 0 nonsense", "*2 $1 0 *0", ""),
            ("HSCAN h 0 nonsense", "-ERR syntax error", ""),
        ]);
    }
}
