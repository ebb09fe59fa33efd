//! Expiry: EXPIRE, TTL and their kin, and the reading of expiry times.
//!
//! The log gets `PEXPIREAT` with absolute time, or `DEL` when that time has passed already.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NOT_AN_INTEGER};
use crate::command::table::{
    Acl, Command, FIRST, Flags, READS_FIRST, ROW, Route, Run, UPDATES_FIRST, printable,
};
use crate::keyspace::{Class, Entry};

type Handler = fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>;

const fn write(name: &'static str, arity: i32, since: &'static str, run: Handler) -> Command {
    Command {
        name,
        arity,
        flags: Flags(Flags::WRITE | Flags::FAST),
        keys: FIRST,
        route: Route::Key,
        run: Run::Data(run),
        since,
        acl: Acl(Acl::KEYSPACE),
        specs: UPDATES_FIRST,
        ..ROW
    }
}

const fn read(name: &'static str, since: &'static str, run: Handler) -> Command {
    Command {
        flags: Flags(Flags::READONLY | Flags::FAST),
        specs: READS_FIRST,
        ..write(name, 2, since, run)
    }
}

const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    write("expire", -3, "1.0.0", expire),
    write("pexpire", -3, "2.6.0", pexpire),
    write("expireat", -3, "1.2.0", expireat),
    write("pexpireat", -3, "2.6.0", pexpireat),
    write("persist", 2, "2.2.0", persist),
    Command { tips: NONDETERMINISTIC, ..read("ttl", "1.0.0", ttl) },
    Command { tips: NONDETERMINISTIC, ..read("pttl", "2.6.0", pttl) },
    read("expiretime", "7.0.0", expiretime),
    read("pexpiretime", "7.0.0", pexpiretime),
];

/// Unit of a time in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// What a command says of a time that cannot be.
pub fn invalid(command: &str) -> Fault {
    Fault::text(format!("ERR invalid expire time in '{command}' command"))
}

/// Reads the time that SET, SETEX or GETEX is given, which must be positive, as Unix time in
/// milliseconds.
pub fn positive(
    ctx: &Ctx<'_>,
    argument: &[u8],
    unit: Unit,
    absolute: bool,
    command: &str,
) -> Result<i64, Fault> {
    let time = parse_i64(argument).ok_or(NOT_AN_INTEGER)?;
    if time <= 0 {
        return Err(invalid(command));
    }
    let time = match unit {
        Unit::Seconds => time.checked_mul(1000),
        Unit::Milliseconds => Some(time),
    };
    let base = if absolute { 0 } else { ctx.now.unix_ms() };
    time.and_then(|time| time.checked_add(base)).ok_or_else(|| invalid(command))
}

fn expire(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let base = ctx.now.unix_ms();
    expire_generic(ctx, args, base, Unit::Seconds, "expire")
}

fn pexpire(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let base = ctx.now.unix_ms();
    expire_generic(ctx, args, base, Unit::Milliseconds, "pexpire")
}

fn expireat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    expire_generic(ctx, args, 0, Unit::Seconds, "expireat")
}

fn pexpireat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    expire_generic(ctx, args, 0, Unit::Milliseconds, "pexpireat")
}

/// When EXPIRE may act, by the expiry the key has.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(args: &Args<'_>) -> Result<Self, Fault> {
        let mut it = Conditions::default();
        for at in 3..args.len() {
            match () {
                () if args.is(at, "NX") => it.nx = true,
                () if args.is(at, "XX") => it.xx = true,
                () if args.is(at, "GT") => it.gt = true,
                () if args.is(at, "LT") => it.lt = true,
                () => {
                    let word = printable(&args[at], usize::MAX);
                    return Err(Fault([b"ERR Unsupported option ", word].concat().into()));
                }
            }
        }
        if it.nx && (it.xx || it.gt || it.lt) {
            return Err(Fault::new(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if it.gt && it.lt {
            return Err(Fault::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(it)
    }

    /// A key without expiry counts as one that never ends.
    fn allow(&self, when: i64, current: Option<i64>) -> bool {
        !(self.nx && current.is_some()
            || self.xx && current.is_none()
            || self.gt && current.is_none_or(|at| when <= at)
            || self.lt && current.is_some_and(|at| when >= at))
    }
}

fn expire_generic(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    base: i64,
    unit: Unit,
    command: &str,
) -> Result<(), Fault> {
    let key = &args[1];
    let conditions = Conditions::parse(args)?;
    let time = parse_i64(&args[2]).ok_or(NOT_AN_INTEGER)?;
    let time = match unit {
        Unit::Seconds => time.checked_mul(1000),
        Unit::Milliseconds => Some(time),
    };
    let when = time.and_then(|t| t.checked_add(base)).ok_or_else(|| invalid(command))?;
    let allowed = ctx.peek(key).is_some_and(|e| conditions.allow(when, e.expire_ms()));
    if allowed {
        if when <= ctx.now_ms() {
            ctx.delete(key);
            ctx.log(key, &[b"DEL", key]);
            ctx.event(Class::Generic, "del", key);
        } else {
            ctx.set_expire(key, Some(when));
            log_expiry(ctx, key, when);
            ctx.event(Class::Generic, "expire", key);
        }
    }
    ctx.out.int(i64::from(allowed));
    Ok(())
}

/// Logs that `key` now ends at `when`.
pub fn log_expiry(ctx: &mut Ctx<'_>, key: &[u8], when: i64) {
    let when = itoa::Buffer::new().format(when).to_owned();
    ctx.log(key, &[b"PEXPIREAT", key, when.as_bytes()]);
}

/// Makes `key` last for ever; false when it did already or is not there.
pub fn clear(ctx: &mut Ctx<'_>, key: &[u8]) -> bool {
    let ends = ctx.peek(key).is_some_and(|e| e.expire_ms().is_some());
    if ends {
        ctx.set_expire(key, None);
        ctx.log(key, &[b"PERSIST", key]);
        ctx.event(Class::Generic, "persist", key);
    }
    ends
}

fn persist(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let ended = clear(ctx, &args[1]);
    ctx.out.int(i64::from(ended));
    Ok(())
}

/// Answers -2 without key, -1 without expiry, else `time` of the expiry.
fn tell(ctx: &mut Ctx<'_>, args: &Args<'_>, time: impl FnOnce(i64) -> i64) -> Result<(), Fault> {
    ctx.look_to(&args[1], |out, entry| {
        out.int(match entry.map(Entry::expire_ms) {
            None => -2,
            Some(None) => -1,
            Some(Some(at)) => time(at.max(0)),
        });
    });
    Ok(())
}

/// Milliseconds to seconds, rounded to the nearest.
fn seconds(ms: i64) -> i64 {
    ms.wrapping_add(500) / 1000
}

fn ttl(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let now = ctx.now.unix_ms();
    tell(ctx, args, |at| seconds(at.saturating_sub(now).max(0)))
}

fn pttl(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let now = ctx.now.unix_ms();
    tell(ctx, args, |at| at.saturating_sub(now).max(0))
}

fn expiretime(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    tell(ctx, args, seconds)
}

fn pexpiretime(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    tell(ctx, args, |at| at)
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn every_unit() {
        let at = "PEXPIREAT a 1700000010000";
        World::new().check(&[
            ("EXPIRE a 10", ":0", ""),
            ("SET a v", "+OK", "SET a v"),
            ("TTL a", ":-1", ""),
            ("EXPIRETIME a", ":-1", ""),
            ("EXPIRE a 10", ":1", at),
            ("PEXPIRE a 10000", ":1", at),
            ("EXPIREAT a 1700000010", ":1", at),
            ("PEXPIREAT a 1700000010000", ":1", at),
            ("TTL a", ":10", ""),
            ("PTTL a", ":10000", ""),
            ("EXPIRETIME a", ":1700000010", ""),
            ("PEXPIRETIME a", ":1700000010000", ""),
            ("PERSIST a", ":1", "PERSIST a"),
            ("PERSIST a", ":0", ""),
            ("PERSIST none", ":0", ""),
            ("TTL none", ":-2", ""),
            ("PEXPIRETIME none", ":-2", ""),
            ("PEXPIRE a 1499", ":1", "PEXPIREAT a 1700000001499"),
            ("TTL a", ":1", ""),
            ("PEXPIRE a 1500", ":1", "PEXPIREAT a 1700000001500"),
            ("TTL a", ":2", ""),
            ("EXPIRE a -1", ":1", "DEL a"),
            ("EXISTS a", ":0", ""),
            ("SET a v", "+OK", "SET a v"),
            ("PEXPIREAT a 1700000000000", ":1", "DEL a"),
        ]);
    }

    #[test]
    fn conditions() {
        const NX: &str = "-ERR NX and XX, GT or LT options at the same time are not compatible";
        World::new().check(&[
            ("SET a v", "+OK", "SET a v"),
            ("EXPIRE a 10 XX", ":0", ""),
            ("EXPIRE a 10 GT", ":0", ""),
            ("EXPIRE a 10 NX", ":1", "PEXPIREAT a 1700000010000"),
            ("EXPIRE a 20 nx", ":0", ""),
            ("EXPIRE a 10 GT", ":0", ""),
            ("EXPIRE a 20 GT", ":1", "PEXPIREAT a 1700000020000"),
            ("EXPIRE a 20 LT", ":0", ""),
            ("EXPIRE a 10 LT XX", ":1", "PEXPIREAT a 1700000010000"),
            ("EXPIRE a 20 XX", ":1", "PEXPIREAT a 1700000020000"),
            ("PERSIST a", ":1", "PERSIST a"),
            ("EXPIRE a 20 LT", ":1", "PEXPIREAT a 1700000020000"),
            ("EXPIRE a 20 NX XX", NX, ""),
            ("EXPIRE a 20 NX GT", NX, ""),
            ("EXPIRE a 20 GT LT", "-ERR GT and LT options at the same time are not compatible", ""),
            ("EXPIRE a 20 what", "-ERR Unsupported option what", ""),
            ("EXPIRE a x", "-ERR value is not an integer or out of range", ""),
        ]);
    }

    #[test]
    fn times_out_of_range() {
        World::new().check(&[
            ("EXPIRE a 9223372036854776", "-ERR invalid expire time in 'expire' command", ""),
            ("EXPIREAT a -9223372036854776", "-ERR invalid expire time in 'expireat' command", ""),
            ("PEXPIRE a 9223372036854775807", "-ERR invalid expire time in 'pexpire' command", ""),
            ("PEXPIREAT a 9223372036854775807", ":0", ""),
            ("SET a v", "+OK", "SET a v"),
            ("PEXPIREAT a 9223372036854775807", ":1", "PEXPIREAT a 9223372036854775807"),
            ("PEXPIRETIME a", ":9223372036854775807", ""),
            ("PEXPIREAT a -9223372036854775808", ":1", "DEL a"),
        ]);
    }

    #[test]
    fn replay_lets_nothing_expire() {
        let mut w = World::new();
        w.replay = true;
        w.check(&[
            ("SET a v PXAT 5", "+OK", "SET a v PXAT 5"),
            ("GET a", "$1 v", ""),
            ("PEXPIREAT a 6", ":1", "PEXPIREAT a 6"),
        ]);
    }
}
