//! Strings in part: APPEND, GETRANGE, SETRANGE, STRLEN.

use bytes::BytesMut;

use crate::base::limits::INLINE_VALUE_MAX;
use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::fault::{Fault, NOT_AN_INTEGER};
use crate::command::string::{stored, text, text_len};
use crate::command::table::{Acl, Command, Flags, Group, KeySpec, READS_FIRST, UPDATES_FIRST};
use crate::keyspace::{Class, Entry, NewValue, ValueRef};
use crate::value::bits;

/// The group of these commands.
const GROUP: Group = Group { name: "string", acl: Acl::STRING };

const READ: u32 = Flags::READONLY;
const GROW: u32 = Flags::WRITE | Flags::DENYOOM;
const FAST: u32 = Flags::FAST;

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("append", 3, GROW | FAST, "2.0.0", &[KeySpec::one(1, &["RW", "insert"])], append),
    GROUP.row("strlen", 2, READ | FAST, "2.2.0", &[KeySpec::one(1, &["RO"])], strlen),
    GROUP.row("getrange", 4, READ, "2.4.0", READS_FIRST, getrange),
    GROUP.row("substr", 4, READ, "1.0.0", READS_FIRST, getrange),
    GROUP.row("setrange", 4, GROW, "2.2.0", UPDATES_FIRST, setrange),
];

/// Refuses a string of `have` and `more` bytes when it is too long.
fn check_length(ctx: &Ctx<'_>, have: u64, more: u64) -> Result<(), Fault> {
    match have.checked_add(more) {
        Some(total) if total <= ctx.string_max => Ok(()),
        _ => Err(Fault::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    }
}

/// Length of the string at `key`, if there is one.
fn length(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Option<usize>, Fault> {
    ctx.peek(key).map(|entry| text_len(entry.value())).transpose()
}

fn append(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, more) = (&args[1], &args[2]);
    let total = match length(ctx, key)? {
        None => {
            ctx.put(key, stored(args, 2), Expiry::Clear);
            more.len()
        }
        Some(have) => {
            check_length(ctx, have as u64, more.len() as u64)?;
            ctx.edit_range(key, have..have + more.len(), |bytes| {
                bytes.extend_from_slice(more);
                (bytes.len(), true)
            })
            .0
        }
    };
    ctx.log_request(key, args);
    ctx.event(Class::String, "append", key);
    ctx.out.int(total as i64);
    Ok(())
}

fn strlen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.read_to(&args[1], |out, entry| {
        out.int(entry.map_or(Ok(0), |e| text_len(e.value()))? as i64);
        Ok(())
    })
}

/// The bytes that GETRANGE's bounds, which may count from the end, mean in a string of `len`.
fn bounds(start: i64, end: i64, len: usize) -> Option<std::ops::Range<usize>> {
    let len = i64::try_from(len).ok()?;
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let place = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (place(start), place(end).min(len - 1));
    (len > 0 && start <= end).then(|| start as usize..end as usize + 1)
}

fn getrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let start = parse_i64(&args[2]).ok_or(NOT_AN_INTEGER)?;
    let end = parse_i64(&args[3]).ok_or(NOT_AN_INTEGER)?;
    ctx.read_to(&args[1], |out, entry| {
        match entry.map(Entry::value) {
            None => out.bulk(b""),
            Some(ValueRef::Shared(bytes)) => match bounds(start, end, bytes.len()) {
                None => out.bulk(b""),
                Some(range) => out.bulk_shared(&bytes.slice(range)),
            },
            Some(value) => {
                let mut digits = itoa::Buffer::new();
                let text = text(value, &mut digits)?;
                out.bulk(bounds(start, end, text.len()).map_or(b"", |range| &text[range]));
            }
        }
        Ok(())
    })
}

fn setrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, patch) = (&args[1], &args[3]);
    let offset = parse_i64(&args[2]).ok_or(NOT_AN_INTEGER)?;
    let Ok(offset) = u64::try_from(offset) else {
        return Err(Fault::new("ERR offset is out of range"));
    };
    let have = length(ctx, key)?;
    if patch.is_empty() {
        ctx.out.int(have.unwrap_or(0) as i64);
        return Ok(());
    }
    check_length(ctx, offset, patch.len() as u64)?;
    let offset = offset as usize;
    let end = offset + patch.len();
    let overlay = |bytes: &mut BytesMut| {
        bits::grow(bytes, end);
        bytes[offset..end].copy_from_slice(patch);
        bytes.len()
    };
    let total = match have {
        Some(_) => ctx.edit_range(key, offset..end, |bytes| (overlay(bytes), true)).0,
        None => {
            let mut bytes = BytesMut::new();
            overlay(&mut bytes);
            let value = if end <= INLINE_VALUE_MAX {
                NewValue::Str { bytes: &bytes, raw: true }
            } else {
                NewValue::Shared { bytes: bytes.freeze(), raw: true }
            };
            ctx.put(key, value, Expiry::Clear);
            end
        }
    };
    ctx.log_request(key, args);
    ctx.event(Class::String, "setrange", key);
    ctx.out.int(total as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn append() {
        World::new().check(&[
            ("APPEND a 12", ":2", "APPEND a 12"),
            ("OBJECT ENCODING a", "$3 int", ""),
            ("APPEND a 3", ":3", "APPEND a 3"),
            ("OBJECT ENCODING a", "$3 raw", ""),
            ("GET a", "$3 123", ""),
            ("APPEND a ''", ":3", "APPEND a "),
            ("APPEND e ''", ":0", "APPEND e "),
            ("EXISTS e", ":1", ""),
            ("STRLEN a", ":3", ""),
            ("STRLEN none", ":0", ""),
        ]);
    }

    #[test]
    fn getrange() {
        World::new().check(&[
            ("SET a Hello", "+OK", "SET a Hello"),
            ("GETRANGE a 0 -1", "$5 Hello", ""),
            ("GETRANGE a -3 -2", "$2 ll", ""),
            ("GETRANGE a 1 99", "$4 ello", ""),
            ("GETRANGE a -99 1", "$2 He", ""),
            ("GETRANGE a -1 -5", "$0", ""),
            ("GETRANGE a 3 1", "$0", ""),
            ("GETRANGE a 5 9", "$0", ""),
            ("GETRANGE a -9223372036854775808 9223372036854775807", "$5 Hello", ""),
            ("SUBSTR a 1 3", "$3 ell", ""),
            ("GETRANGE none 0 -1", "$0", ""),
            ("GETRANGE a x 1", "-ERR value is not an integer or out of range", ""),
            ("SET n -1234", "+OK", "SET n -1234"),
            ("GETRANGE n 0 1", "$2 -1", ""),
            ("SET e ''", "+OK", "SET e "),
            ("GETRANGE e 0 -1", "$0", ""),
        ]);
    }

    #[test]
    fn setrange() {
        World::new().check(&[
            ("SETRANGE a 3 ''", ":0", ""),
            ("EXISTS a", ":0", ""),
            ("SETRANGE a 2 x", ":3", "SETRANGE a 2 x"),
            ("GET a", "$3 \0\0x", ""),
            ("OBJECT ENCODING a", "$3 raw", ""),
            ("SET a hello EX 10", "+OK", "SET a hello PXAT 1700000010000"),
            ("SETRANGE a 1 EL", ":5", "SETRANGE a 1 EL"),
            ("GET a", "$5 hELlo", ""),
            ("TTL a", ":10", ""),
            ("SETRANGE a 9 ''", ":5", ""),
            ("SETRANGE a -1 x", "-ERR offset is out of range", ""),
            ("SETRANGE a 1.5 x", "-ERR value is not an integer or out of range", ""),
        ]);
    }

    #[test]
    fn no_string_grows_beyond_the_limit() {
        const TOO_LONG: &str = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
        let mut w = World::new();
        w.check(&[
            ("SETRANGE a 536870912 x", TOO_LONG, ""),
            ("SETRANGE a 9223372036854775807 xy", TOO_LONG, ""),
        ]);
        w.string_max = 2000;
        let long = "x".repeat(1999);
        w.run(&format!("SET a {long}"));
        w.effects();
        w.check(&[
            ("APPEND a yz", TOO_LONG, ""),
            ("APPEND a y", ":2000", "APPEND a y"),
            ("SETRANGE a 2000 y", TOO_LONG, ""),
            ("SETRANGE b 1999 y", ":2000", "SETRANGE b 1999 y"),
            ("GETRANGE b 1998 -1", "$2 \0y", ""),
        ]);
    }
}
