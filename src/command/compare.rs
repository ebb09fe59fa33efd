//! Strings compared before they are changed: DIGEST, DELEX, DELIFEQ, MSETEX, and the conditions of
//! SET.
//!
//! The log gets SET and DEL, which every Redis can replay.

use crate::base::hash::xxh3;
use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::Fault;
use crate::command::string::{Of, Options, log_set, stored, tell_set, text};
use crate::command::table::{
    Acl, Command, Flags, Group, KeySpec, Keys, OVERWRITES, READS_FIRST, Route, wrong_arity,
};
use crate::keyspace::{Class, ValueRef};

/// The group of these commands.
const GROUP: Group = Group { name: "string", acl: Acl::STRING };

const FAST: u32 = Flags::FAST;
const MAY_REMOVE: &[KeySpec] = &[KeySpec::one(1, &["RW", "delete", "variable_flags"])];
const COMPARES: &[KeySpec] = &[KeySpec::one(1, &["RM", "access", "delete"])];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("digest", 2, Flags::READONLY | FAST, "8.4.0", READS_FIRST, digest),
    GROUP.row("delex", -2, Flags::WRITE | FAST, "8.4.0", MAY_REMOVE, delex),
    GROUP.row("delifeq", 3, Flags::WRITE | FAST, "9.0.0", COMPARES, delifeq),
    Command {
        keys: Keys::CountedPairs { at: 1 },
        route: Route::Lease,
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        ..GROUP.row(
            "msetex",
            -4,
            Flags::WRITE | Flags::DENYOOM | Flags::MOVABLE_KEYS,
            "8.4.0",
            &[KeySpec::counted_pairs(1, OVERWRITES)],
            msetex,
        )
    },
];

/// Hex digits of a digest.
const DIGITS: usize = 16;

/// What a string has to be for a command to act on it.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    /// These bytes.
    Equal(&'a [u8]),
    /// Anything but these bytes.
    Other(&'a [u8]),
    /// Of this digest.
    Digest(&'a [u8]),
    /// Of any digest but this.
    OtherDigest(&'a [u8]),
}

impl<'a> Condition<'a> {
    /// Reads the condition that begins with argument `at`.
    pub fn parse(args: &Args<'a>, at: usize) -> Option<Self> {
        let with = *args.items().get(at + 1)?;
        match () {
            () if args.is(at, "IFEQ") => Some(Condition::Equal(with)),
            () if args.is(at, "IFNE") => Some(Condition::Other(with)),
            () if args.is(at, "IFDEQ") => Some(Condition::Digest(with)),
            () if args.is(at, "IFDNE") => Some(Condition::OtherDigest(with)),
            () => None,
        }
    }

    /// Whether both compare in the same way.
    pub fn is_as(self, other: Condition<'_>) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// Whether a value that is not there meets it.
    pub fn holds_of_nothing(self) -> bool {
        matches!(self, Condition::Other(_) | Condition::OtherDigest(_))
    }

    /// Whether `value` meets it.
    pub fn holds(self, value: ValueRef<'_>) -> Result<bool, Fault> {
        let digits = &mut itoa::Buffer::new();
        let text = text(value, digits)?;
        let same_digest = |digest: &[u8]| match digest.len() {
            DIGITS => Ok(xxh3(text).as_bytes().eq_ignore_ascii_case(digest)),
            _ => Err(Fault::new("ERR must be exactly 16 hexadecimal characters")),
        };
        match self {
            Condition::Equal(with) => Ok(text == with),
            Condition::Other(with) => Ok(text != with),
            Condition::Digest(digest) => same_digest(digest),
            Condition::OtherDigest(digest) => same_digest(digest).map(|same| !same),
        }
    }
}

fn digest(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.read_to(&args[1], |out, entry| {
        let Some(entry) = entry else {
            out.null();
            return Ok(());
        };
        out.bulk(xxh3(text(entry.value(), &mut itoa::Buffer::new())?).as_bytes());
        Ok(())
    })
}

/// Removes `key` if it `goes`, and answers whether.
fn remove(ctx: &mut Ctx<'_>, key: &[u8], goes: bool) {
    if goes {
        ctx.delete(key);
        ctx.log(key, &[b"DEL", key]);
        ctx.event(Class::Generic, "del", key);
    }
    ctx.out.int(i64::from(goes));
}

fn delex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    let goes = match (args.len(), ctx.peek(key).map(|entry| entry.value())) {
        (2, found) => found.is_some(),
        (4, None) => false,
        (4, Some(ValueRef::Packed(..) | ValueRef::Object(_))) => {
            return Err(Fault::new("ERR Key should be of string type if conditions are specified"));
        }
        (4, Some(value)) => match Condition::parse(args, 2) {
            Some(condition) => condition.holds(value)?,
            None => {
                return Err(Fault::new("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"));
            }
        },
        _ => return Err(wrong_arity("delex")),
    };
    remove(ctx, key, goes);
    Ok(())
}

fn delifeq(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    let goes = match ctx.peek(key) {
        Some(entry) => Condition::Equal(args.items()[2]).holds(entry.value())?,
        None => false,
    };
    remove(ctx, key, goes);
    Ok(())
}

fn msetex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let count = parse_i64(&args[1]).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
    let count = count.ok_or(Fault::new("ERR invalid numkeys value"))? as usize;
    let end = 2 + 2 * count;
    if end > args.len() {
        return Err(Fault::new("ERR wrong number of key-value pairs"));
    }
    let options = Options::parse(args, end, Of::MSetEx)?;
    let expiry = options.expiry(options.expire_ms(ctx, "msetex")?);
    let mut keys = args.items()[2..end].iter().step_by(2);
    let blocked = |there: bool| options.nx && there || options.xx && !there;
    let sets = !keys.any(|key| blocked(ctx.peek(key).is_some()));
    if sets {
        for at in (2..end).step_by(2) {
            let key = &args[at];
            ctx.put(key, stored(args, at + 1), expiry);
            log_set(ctx, key, &args[at + 1], expiry);
            tell_set(ctx, key, expiry);
        }
    }
    ctx.out.int(i64::from(sets));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    // XXH3 of "hello".
    const HELLO: &str = "9555e8555c62dcfd";

    #[test]
    fn digests() {
        World::new().check(&[
            ("DIGEST none", "$-1", ""),
            ("SET s hello", "+OK", "SET s hello"),
            ("DIGEST s", &format!("$16 {HELLO}"), ""),
            ("SET e ''", "+OK", "SET e "),
            ("DIGEST e", "$16 2d06800538d394c2", ""),
            ("SET n 7", "+OK", "SET n 7"),
            ("APPEND m 7", ":1", "APPEND m 7"),
            ("HSET h f v", ":1", "HSET h f v"),
            ("DIGEST h", WRONG, ""),
        ]);
        let mut w = World::new();
        w.run("SET n 7");
        w.run("APPEND m 7");
        assert_eq!(w.run("DIGEST n"), w.run("DIGEST m"));
    }

    #[test]
    fn set_compares() {
        let upper = HELLO.to_ascii_uppercase();
        World::new().check(&[
            ("SET s x IFEQ hello", "$-1", ""),
            ("SET s x IFDEQ short", "$-1", ""),
            ("SET s hello IFNE hello", "+OK", "SET s hello"),
            ("SET s x IFNE hello", "$-1", ""),
            ("SET s x IFEQ Hello", "$-1", ""),
            ("SET s x IFEQ Hello GET", "$5 hello", ""),
            ("SET s x ifeq hello GET", "$5 hello", "SET s x"),
            ("SET s hello IFEQ x PX 5000", "+OK", "SET s hello PXAT 1700000005000"),
            ("SET s hello IFEQ hello KEEPTTL", "+OK", "SET s hello KEEPTTL"),
            (&format!("SET s y IFDNE {HELLO}"), "$-1", ""),
            (&format!("SET s y IFDEQ {upper}"), "+OK", "SET s y"),
            (&format!("SET s z IFDEQ {upper}"), "$-1", ""),
            (&format!("SET s z IFDNE {upper}"), "+OK", "SET s z"),
            ("SET s z IFDEQ short", "-ERR must be exactly 16 hexadecimal characters", ""),
            ("SET t z IFDNE short", "+OK", "SET t z"),
            ("SET s z IFEQ", "-ERR syntax error", ""),
            ("SET s z IFEQ a NX", "-ERR syntax error", ""),
            ("SET s z XX IFEQ a", "-ERR syntax error", ""),
            ("SET s z IFEQ a IFNE b", "-ERR syntax error", ""),
            ("SET s z IFEQ a IFEQ z", "+OK", "SET s z"),
            ("GETEX s IFEQ z", "-ERR syntax error", ""),
            ("HSET h f v", ":1", "HSET h f v"),
            ("SET h z IFEQ v", WRONG, ""),
            ("SET h z IFNE v GET", WRONG, ""),
        ]);
    }

    #[test]
    fn removed_if_equal() {
        World::new().check(&[
            ("SET s hello", "+OK", "SET s hello"),
            ("DELIFEQ s x", ":0", ""),
            ("DELIFEQ none x", ":0", ""),
            ("DELIFEQ s hello", ":1", "DEL s"),
            ("SET s 12", "+OK", "SET s 12"),
            ("DELEX none IFNE x", ":0", ""),
            ("DELEX s IFEQ 13", ":0", ""),
            ("DELEX s IFNE 12", ":0", ""),
            ("DELEX s WHAT 12", "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE", ""),
            ("DELEX s IFEQ", "-ERR wrong number of arguments for 'delex' command", ""),
            ("DELEX s IFEQ 1 2", "-ERR wrong number of arguments for 'delex' command", ""),
            ("DELEX s IFDEQ 1", "-ERR must be exactly 16 hexadecimal characters", ""),
            ("DELEX s IFEQ 12", ":1", "DEL s"),
            ("SET s hello", "+OK", "SET s hello"),
            (&format!("DELEX s IFDNE {HELLO}"), ":0", ""),
            (&format!("DELEX s IFDEQ {HELLO}"), ":1", "DEL s"),
            ("HSET h f v", ":1", "HSET h f v"),
            ("DELEX h IFEQ v", "-ERR Key should be of string type if conditions are specified", ""),
            ("DELIFEQ h v", WRONG, ""),
            ("DELEX h", ":1", "DEL h"),
            ("DELEX h", ":0", ""),
        ]);
    }

    #[test]
    fn many_with_one_expiry() {
        let both = "SET a 1 PXAT 1700000009000 | SET b 2 PXAT 1700000009000";
        World::new().check(&[
            ("MSETEX 2 a 1 b 2", ":1", "SET a 1 | SET b 2"),
            ("MSETEX 2 a 1 b 2 NX EX 9", ":0", ""),
            ("MSETEX 2 a 1 c 2 XX EX 9", ":0", ""),
            ("MSETEX 2 a 1 b 2 EX 9 XX", ":1", both),
            ("MSETEX 2 a 1 b 2 PXAT 1700000009000", ":1", both),
            ("MSETEX 1 a 3 KEEPTTL", ":1", "SET a 3 KEEPTTL"),
            ("PTTL a", ":9000", ""),
            ("MSETEX 1 a 3 NX XX", "-ERR syntax error", ""),
            ("MSETEX 1 a 3 GET", "-ERR syntax error", ""),
            ("MSETEX 1 a 3 IFEQ 3", "-ERR syntax error", ""),
            ("MSETEX 1 a 3 b", "-ERR syntax error", ""),
            ("MSETEX 1 a 3 EX 0", "-ERR invalid expire time in 'msetex' command", ""),
            ("MSETEX 0 a 3", "-ERR invalid numkeys value", ""),
            ("MSETEX x a 3", "-ERR invalid numkeys value", ""),
            ("MSETEX 2147483648 a 3", "-ERR invalid numkeys value", ""),
            ("MSETEX 2147483647 a 3", "-ERR wrong number of key-value pairs", ""),
            ("MSETEX 2 a 3 b", "-ERR wrong number of key-value pairs", ""),
        ]);
        let mut w = World::sharded(4);
        assert_eq!(w.run("MSETEX 4 a 1 b 2 c 3 d 4 NX"), ":1");
        assert_eq!(w.run("MSETEX 2 e 1 d 2 NX"), ":0");
        assert_eq!(w.run("MGET a b c d e"), "*5 $1 1 $1 2 $1 3 $1 4 $-1");
    }
}
