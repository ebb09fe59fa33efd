//! Strings as rows of bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP.
//!
//! SETBIT is logged as it came, and only when it changed something. BITOP is logged as SET or DEL
//! of its target, since replay wants one key per command.

use std::ops::Range;

use bytes::Bytes;

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::fault::{BAD_BIT_OFFSET, Fault, NOT_AN_INTEGER, SYNTAX, WRONG_TYPE};
use crate::command::string::{bytes_of, log_set, text};
use crate::command::table::{
    Acl, Command, Flags, Group, KeySpec, Keys, OVERWRITES, READS, READS_FIRST, REPLACES_FIRST,
    Route,
};
use crate::keyspace::{Class, NewValue, ValueRef};
use crate::value::bits::{self, Op};

/// The group of these commands.
pub(super) const GROUP: Group = Group { name: "bitmap", acl: Acl::BITMAP };

const READ: u32 = Flags::READONLY;
const GROW: u32 = Flags::WRITE | Flags::DENYOOM;

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("setbit", 4, GROW, "2.2.0", REPLACES_FIRST, setbit),
    GROUP.row("getbit", 3, READ | Flags::FAST, "2.2.0", READS_FIRST, getbit),
    GROUP.row("bitcount", -2, READ, "2.6.0", READS_FIRST, bitcount),
    GROUP.row("bitpos", -3, READ, "2.8.7", READS_FIRST, bitpos),
    Command {
        keys: Keys::Range { first: 2, last: -1, step: 1 },
        route: Route::Lease,
        ..GROUP.row(
            "bitop",
            -4,
            GROW,
            "2.6.0",
            &[KeySpec::one(2, OVERWRITES), KeySpec::rest(3, 1, READS)],
            bitop,
        )
    },
];

/// Reads the place of a bit. Its byte must lie below the longest string's end.
fn bit_offset(ctx: &Ctx<'_>, argument: &[u8]) -> Result<u64, Fault> {
    let offset = parse_i64(argument).and_then(|at| u64::try_from(at).ok());
    offset.filter(|at| at / 8 < ctx.string_max).ok_or(BAD_BIT_OFFSET)
}

fn setbit(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    const NOT_A_BIT: Fault = Fault::new("ERR bit is not an integer or out of range");
    let key = &args[1];
    let at = bit_offset(ctx, &args[2])?;
    let on = match parse_i64(&args[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(NOT_A_BIT),
    };
    let len = (at / 8) as usize + 1;
    // Looked up first: a key past its expiry goes, and a long value that some reply still shares
    // is not copied when there is nothing to change.
    let is_so = ctx.peek(key).map_or(Ok(false), |entry| match entry.value() {
        ValueRef::Shared(bytes) => Ok(bytes.len() >= len && bits::get(bytes, at) == on),
        ValueRef::Int(_) | ValueRef::Str(_) => Ok(false),
        ValueRef::Packed(..) | ValueRef::Object(_) => Err(WRONG_TYPE),
    });
    if is_so? {
        ctx.out.int(i64::from(on));
        return Ok(());
    }
    let (before, changed) = ctx.edit_range(key, len - 1..len, |bytes| {
        let grown = bits::grow(bytes, len);
        let before = bits::get(bytes, at);
        bits::set(bytes, at, on);
        (before, grown || before != on)
    });
    if changed {
        ctx.log_request(key, args);
        ctx.event(Class::String, "setbit", key);
    }
    ctx.out.int(i64::from(before));
    Ok(())
}

/// Hands the bytes at `key`, if there are any, to `ask` and answers with the number it gives.
fn answer(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    ask: impl FnOnce(Option<&[u8]>) -> Result<i64, Fault>,
) -> Result<(), Fault> {
    ctx.read_to(key, |out, entry| {
        let mut digits = itoa::Buffer::new();
        let bytes = entry.map(|entry| text(entry.value(), &mut digits)).transpose()?;
        let number = ask(bytes)?;
        out.int(number);
        Ok(())
    })
}

fn getbit(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let at = bit_offset(ctx, &args[2])?;
    answer(ctx, &args[1], |bytes| Ok(bytes.map_or(0, |bytes| i64::from(bits::get(bytes, at)))))
}

/// Whether the argument says `BIT`, not `BYTE`.
fn unit_is_bit(args: &Args<'_>, index: usize) -> Result<bool, Fault> {
    match (args.is(index, "BIT"), args.is(index, "BYTE")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(SYNTAX),
    }
}

fn integer(argument: &[u8]) -> Result<i64, Fault> {
    parse_i64(argument).ok_or(NOT_AN_INTEGER)
}

/// The bits from `start` to `end`, which may count from the end of `len` bytes; `None` when they
/// are none.
fn bits_between(start: i64, end: i64, in_bits: bool, len: usize) -> Option<Range<u64>> {
    let unit = if in_bits { 1 } else { 8 };
    let total = len as i64 * 8 / unit;
    let place = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
    let (start, end) = (place(start), place(end).min(total - 1));
    (start <= end).then(|| (start * unit) as u64..((end + 1) * unit) as u64)
}

fn bitcount(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    answer(ctx, &args[1], |bytes| {
        // As in 7.2, where there is no key nobody looks at the range.
        let Some(bytes) = bytes else { return Ok(0) };
        let range = match args.len() {
            2 => Some(0..bytes.len() as u64 * 8),
            4 | 5 => {
                let (start, end) = (integer(&args[2])?, integer(&args[3])?);
                if start < 0 && end < 0 && start > end {
                    return Ok(0);
                }
                let in_bits = args.len() == 5 && unit_is_bit(args, 4)?;
                bits_between(start, end, in_bits, bytes.len())
            }
            _ => return Err(SYNTAX),
        };
        Ok(range.map_or(0, |range| bits::count(bytes, range)) as i64)
    })
}

fn bitpos(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let wanted = match integer(&args[2])? {
        0 => false,
        1 => true,
        _ => return Err(Fault::new("ERR The bit argument must be 1 or 0.")),
    };
    answer(ctx, &args[1], |bytes| {
        let Some(bytes) = bytes else { return Ok(if wanted { -1 } else { 0 }) };
        let range = match args.len() {
            3 => bits_between(0, -1, false, bytes.len()),
            4..=6 => {
                let start = integer(&args[3])?;
                let in_bits = args.len() == 6 && unit_is_bit(args, 5)?;
                let end = if args.len() > 4 { integer(&args[4])? } else { -1 };
                bits_between(start, end, in_bits, bytes.len())
            }
            _ => return Err(SYNTAX),
        };
        let Some(range) = range else { return Ok(-1) };
        // Without an end, zeros are thought behind the string.
        let behind = if !wanted && args.len() < 5 { bytes.len() as i64 * 8 } else { -1 };
        Ok(bits::position(bytes, wanted, range).map_or(behind, |at| at as i64))
    })
}

fn bitop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let names = [("AND", Op::And), ("OR", Op::Or), ("XOR", Op::Xor), ("NOT", Op::Not)];
    let found = names.iter().find(|(name, _)| args.is(1, name));
    let op = found.map(|(_, op)| *op).ok_or(SYNTAX)?;
    if op == Op::Not && args.len() != 4 {
        return Err(Fault::new("ERR BITOP NOT must be called with a single source key."));
    }
    let target = &args[2];
    let sources: Vec<Bytes> =
        args.items()[3..].iter().map(|key| bytes_of(ctx, key)).collect::<Result<_, _>>()?;
    let slices: Vec<&[u8]> = sources.iter().map(|source| &source[..]).collect();
    let result = Bytes::from(bits::combine(op, &slices));
    drop(sources);
    if !result.is_empty() {
        let value = NewValue::Shared { bytes: result.clone(), raw: true };
        ctx.put(target, value, Expiry::Clear);
        log_set(ctx, target, &result, Expiry::Clear);
        ctx.event(Class::String, "set", target);
    } else if ctx.delete(target) {
        ctx.log(target, &[b"DEL", target]);
        ctx.event(Class::Generic, "del", target);
    }
    ctx.out.int(result.len() as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    const OFFSET: &str = "-ERR bit offset is not an integer or out of range";
    const BIT: &str = "-ERR bit is not an integer or out of range";
    const INTEGER: &str = "-ERR value is not an integer or out of range";
    const SYNTAX: &str = "-ERR syntax error";

    #[test]
    fn setbit_and_getbit() {
        World::new().check(&[
            ("GETBIT a 0", ":0", ""),
            ("SETBIT a 7 1", ":0", "SETBIT a 7 1"),
            ("GET a", "$1 \u{1}", ""),
            ("SETBIT a 7 1", ":1", ""),
            ("GETBIT a 7", ":1", ""),
            ("GETBIT a 4294967295", ":0", ""),
            ("SETBIT a 7 0", ":1", "SETBIT a 7 0"),
            ("SETBIT a 23 0", ":0", "SETBIT a 23 0"),
            ("STRLEN a", ":3", ""),
            ("SETBIT a 23 0", ":0", ""),
            ("SETBIT a -1 0", OFFSET, ""),
            ("SETBIT a 4294967296 0", OFFSET, ""),
            ("SETBIT a x 0", OFFSET, ""),
            ("GETBIT a 4294967296", OFFSET, ""),
            ("SETBIT a 0 2", BIT, ""),
            ("SETBIT a 0 x", BIT, ""),
            ("SETBIT a x x", OFFSET, ""),
        ]);
    }

    #[test]
    fn setbit_keeps_the_expiry_and_makes_raw_strings() {
        let mut w = World::new();
        w.check(&[
            ("SET a 1 EX 10", "+OK", "SET a 1 PXAT 1700000010000"),
            ("OBJECT ENCODING a", "$3 int", ""),
            ("SETBIT a 7 1", ":1", ""),
            ("OBJECT ENCODING a", "$3 raw", ""),
            ("GET a", "$1 1", ""),
            ("SETBIT a 6 1", ":0", "SETBIT a 6 1"),
            ("GET a", "$1 3", ""),
            ("TTL a", ":10", ""),
        ]);
        w.now_ms += 10_001;
        w.check(&[("SETBIT a 7 1", ":0", "DEL a | SETBIT a 7 1"), ("TTL a", ":-1", "")]);
    }

    #[test]
    fn the_longest_string_bounds_the_offset() {
        let mut w = World::new();
        w.string_max = 1000;
        w.check(&[
            ("SETBIT a 8000 1", OFFSET, ""),
            ("SETBIT a 7999 1", ":0", "SETBIT a 7999 1"),
            ("STRLEN a", ":1000", ""),
            ("BITPOS a 1", ":7999", ""),
        ]);
    }

    #[test]
    fn an_edit_of_a_long_string_is_made_in_its_buffer() {
        let mut w = World::new();
        assert_eq!(w.run("SETBIT big 4294967295 1"), ":0");
        let place = |w: &World| {
            let space = w.spaces[0].as_deref().unwrap();
            match space.dbs[0].find(b"big").entry.unwrap().value() {
                crate::keyspace::ValueRef::Shared(bytes) => bytes.as_ptr(),
                other => panic!("{other:?}"),
            }
        };
        let before = place(&w);
        for at in [0_u64, 1 << 31, (1 << 32) - 1, 77] {
            assert_eq!(w.run(&format!("SETBIT big {at} 0")).len(), 2);
            assert_eq!(w.run(&format!("BITFIELD big SET u8 {} 200", at & !7)), "*1 :0");
        }
        assert_eq!(place(&w), before);
        assert_eq!(w.run("STRLEN big"), ":536870912");
    }

    #[test]
    fn bitcount() {
        World::new().check(&[
            ("SET a foobar", "+OK", "SET a foobar"),
            ("BITCOUNT a", ":26", ""),
            ("BITCOUNT a 0 0", ":4", ""),
            ("BITCOUNT a 1 1 byte", ":6", ""),
            ("BITCOUNT a 5 30 BIT", ":17", ""),
            ("BITCOUNT a -2 -1", ":7", ""),
            ("BITCOUNT a -1 -2", ":0", ""),
            ("BITCOUNT a 5 1", ":0", ""),
            ("BITCOUNT a 0 99", ":26", ""),
            ("BITCOUNT a -9223372036854775808 9223372036854775807", ":26", ""),
            ("BITCOUNT a 0", SYNTAX, ""),
            ("BITCOUNT a 0 1 BITS", SYNTAX, ""),
            ("BITCOUNT a 0 1 BIT x", SYNTAX, ""),
            ("BITCOUNT a 0 x", INTEGER, ""),
            ("BITCOUNT none 0 x", ":0", ""),
            ("SET n -12", "+OK", "SET n -12"),
            ("BITCOUNT n", ":10", ""),
            ("SET e ''", "+OK", "SET e "),
            ("BITCOUNT e 0 -1", ":0", ""),
        ]);
    }

    #[test]
    fn bitpos() {
        World::new().check(&[
            ("BITPOS none 1", ":-1", ""),
            ("BITPOS none 0", ":0", ""),
            ("BITPOS none 0 x", ":0", ""),
            ("SET a abc", "+OK", "SET a abc"),
            ("BITPOS a 1", ":1", ""),
            ("BITPOS a 1 1", ":9", ""),
            ("BITPOS a 1 3", ":-1", ""),
            ("BITPOS a 0 0 -1 BIT", ":0", ""),
            ("BITPOS a 0 1 2 BIT", ":-1", ""),
            ("BITPOS a 0 1 3 BIT", ":3", ""),
            ("BITPOS a 0 1 2 BITE", SYNTAX, ""),
            ("BITPOS a 1 -1 -1", ":17", ""),
            ("BITPOS a 2", "-ERR The bit argument must be 1 or 0.", ""),
            ("BITPOS a x", INTEGER, ""),
            ("BITPOS a 1 x", INTEGER, ""),
            ("BITPOS a 1 0 x", INTEGER, ""),
            ("BITPOS a 1 0 1 BIT 1", SYNTAX, ""),
            ("SETBIT ones 0 1", ":0", "SETBIT ones 0 1"),
            ("BITFIELD ones SET u8 0 255", "*1 :128", "BITFIELD ones SET u8 0 255"),
            ("BITPOS ones 0", ":8", ""),
            ("BITPOS ones 0 0", ":8", ""),
            ("BITPOS ones 0 0 -1", ":-1", ""),
            ("BITPOS ones 0 1", ":-1", ""),
            ("SET e ''", "+OK", "SET e "),
            ("BITPOS e 0", ":-1", ""),
        ]);
    }

    #[test]
    fn bitop() {
        let mut w = World::sharded(3);
        w.run("MSET a abc b AB");
        w.effects();
        w.check(&[
            ("BITOP AND d a b", ":3", "SET d AB\0"),
            ("OBJECT ENCODING d", "$3 raw", ""),
            ("BITOP or d a b none", ":3", "SET d abc"),
            ("BITOP XOR d a b", ":3", "SET d   c"),
            ("PEXPIRE d 5000", ":1", "PEXPIREAT d 1700000005000"),
            ("BITOP XOR d a a", ":3", "SET d \0\0\0"),
            ("TTL d", ":-1", ""),
            ("BITOP NOT d d", ":3", "SET d \u{fffd}\u{fffd}\u{fffd}"),
            ("BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key.", ""),
            ("BITOP NAND d a b", SYNTAX, ""),
            ("BITOP AND d none", ":0", "DEL d"),
            ("BITOP AND d none", ":0", ""),
            ("BITOP AND a a b", ":3", "SET a AB\0"),
        ]);
    }
}
