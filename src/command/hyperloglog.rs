//! HyperLogLog: PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST.
//!
//! PFADD is logged as it came when it changed something; it gives the same registers wherever it is
//! replayed. PFMERGE is logged as SET of its target, since replay wants one key per command, and
//! PFCOUNT of one key, which may refresh the cached cardinality, as SETRANGE of those eight bytes.

use crate::base::limits::EMBSTR_MAX;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::Fault;
use crate::command::string::text;
use crate::command::table::{
    ALL, Acl, Command, DataRun, Flags, Group, KeySpec, Keys, READS, Route, printable,
};
use crate::keyspace::{Class, Entry, ValueRef};
use crate::value::hll::{self, Corrupt, Encoding, NotOne};

const GROUP: Group = Group { name: "hyperloglog", acl: Acl::HYPERLOGLOG };

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    specs: &'static [KeySpec],
    run: DataRun,
) -> Command {
    GROUP.row(name, arity, flags, "2.8.9", specs, run)
}

const GROW: u32 = Flags::WRITE | Flags::DENYOOM;
const MERGES: &[KeySpec] =
    &[KeySpec::one(1, &["RW", "access", "insert"]), KeySpec::rest(2, 1, READS)];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    row("pfadd", -2, GROW | Flags::FAST, &[KeySpec::one(1, &["RW", "insert"])], pfadd),
    Command {
        keys: ALL,
        route: Route::Lease,
        ..row(
            "pfcount",
            -2,
            Flags::READONLY,
            &[KeySpec {
                notes: "RW because it may change the internal representation of the key, and \
                        propagate to replicas",
                ..KeySpec::rest(1, 1, &["RW", "access"])
            }],
            pfcount,
        )
    },
    Command { keys: ALL, route: Route::Lease, ..row("pfmerge", -2, GROW, MERGES, pfmerge) },
    Command {
        keys: Keys::Range { first: 2, last: 2, step: 1 },
        ..row("pfdebug", 3, GROW | Flags::ADMIN, &[KeySpec::one(2, &["RW", "access"])], pfdebug)
    },
    Command {
        keys: Keys::None,
        route: Route::Here,
        ..row("pfselftest", 1, Flags::ADMIN, &[], pfselftest)
    },
];

const NOT_ONE: Fault = Fault::new("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPT: Fault = Fault::new("INVALIDOBJ Corrupted HLL object detected");

impl From<NotOne> for Fault {
    fn from(_: NotOne) -> Self {
        NOT_ONE
    }
}

impl From<Corrupt> for Fault {
    fn from(_: Corrupt) -> Self {
        CORRUPT
    }
}

/// Hands the bytes of an entry that is a HyperLogLog to `ask`.
fn look<R>(
    entry: &Entry,
    ask: impl FnOnce(&[u8], Encoding) -> Result<R, Fault>,
) -> Result<R, Fault> {
    let mut digits = itoa::Buffer::new();
    let bytes = text(entry.value(), &mut digits)?;
    ask(bytes, hll::check(bytes)?)
}

/// Checks that what stands at `key`, if anything does, is a HyperLogLog; true when it is.
fn is_there(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<bool, Fault> {
    let entry = ctx.peek(key);
    entry.map_or(Ok(false), |entry| look(entry, |_, _| Ok(true)))
}

/// Longest sparse string, in bytes.
fn sparse_max(ctx: &Ctx<'_>) -> usize {
    usize::try_from(ctx.shapes.hll_sparse_bytes).unwrap_or(usize::MAX)
}

fn pfadd(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    let there = is_there(ctx, key)?;
    let sparse_max = sparse_max(ctx);
    let (outcome, changed) = ctx.recode_if(key, |bytes| {
        let mut changed = !there;
        if !there {
            bytes.extend_from_slice(&hll::empty());
        }
        for element in &args.items()[2..] {
            match hll::add(bytes, element, sparse_max) {
                Ok(raised) => changed |= raised,
                Err(corrupt) => return (Err(corrupt), changed),
            }
        }
        if changed {
            hll::invalidate(bytes);
        }
        (Ok(()), changed)
    });
    match outcome {
        Ok(()) if changed => {
            let db = ctx.db;
            ctx.spaces.of(key).touched(db, key);
            ctx.log_request(key, args);
            ctx.event(Class::String, "pfadd", key);
        }
        Ok(()) => {}
        Err(corrupt) => {
            // What was added before it showed stays, and nobody is told, as in Redis.
            if changed {
                ctx.log_entry(ctx.db, key);
            }
            return Err(corrupt.into());
        }
    }
    ctx.out.int(i64::from(changed));
    Ok(())
}

/// What is known of a cardinality.
enum Known {
    Cached(u64),
    Counted(u64),
    Broken(Fault),
}

fn pfcount(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if args.len() > 2 {
        let (registers, _) = union(ctx, &args.items()[1..])?;
        ctx.out.int(hll::cardinality(&registers) as i64);
        return Ok(());
    }
    let key = &args[1];
    let known = ctx.read_to(key, |_, entry| {
        let known = |bytes: &[u8], _| match hll::cached(bytes) {
            Some(number) => Ok(Known::Cached(number)),
            None => Ok(hll::count(bytes).map_or_else(|e| Known::Broken(e.into()), Known::Counted)),
        };
        entry.map_or(Ok(Known::Cached(0)), |entry| look(entry, known))
    });
    let number = match known {
        Ok(Known::Cached(number)) => {
            make_raw(ctx, key);
            number
        }
        Ok(Known::Broken(fault)) => {
            make_raw(ctx, key);
            return Err(fault);
        }
        // What it has counted is kept, but not where the reply would wait for that.
        Ok(Known::Counted(number)) if ctx.may_note(key) => {
            ctx.edit(key, |bytes| hll::set_cached(bytes, number));
            ctx.log(key, &[b"SETRANGE", key, b"8", &number.to_le_bytes()]);
            number
        }
        Ok(Known::Counted(number)) => number,
        Err(fault) => return Err(fault),
    };
    ctx.out.int(number as i64);
    Ok(())
}

/// Has a short string kept as one that was edited, as Redis does even where it then only looks.
fn make_raw(ctx: &mut Ctx<'_>, key: &[u8]) {
    let is_short = ctx.peek(key).is_some_and(|entry| {
        matches!(entry.value(), ValueRef::Str(bytes) if bytes.len() <= EMBSTR_MAX)
            && !entry.is_raw()
    });
    if is_short {
        ctx.recode_if(key, |_| ((), false));
    }
}

/// The greatest of each register at `keys`, and whether any of them is dense.
fn union(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<(Box<hll::Registers>, bool), Fault> {
    let mut greatest = Box::new([0; hll::REGISTERS]);
    let mut any_dense = false;
    for key in keys {
        ctx.read_to(key, |_, entry| {
            let merge = |bytes: &[u8], encoding| {
                any_dense |= encoding == Encoding::Dense;
                Ok(hll::merge(bytes, &mut greatest)?)
            };
            entry.map_or(Ok(()), |entry| look(entry, merge))
        })?;
    }
    Ok((greatest, any_dense))
}

fn pfmerge(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (greatest, any_dense) = union(ctx, &args.items()[1..])?;
    let target = &args[1];
    let there = is_there(ctx, target)?;
    let sparse_max = sparse_max(ctx);
    let outcome = ctx.edit(target, |bytes| {
        if !there {
            bytes.extend_from_slice(&hll::empty());
        }
        if any_dense {
            hll::to_dense(bytes)?;
        }
        hll::raise_all(bytes, &greatest, sparse_max)?;
        hll::invalidate(bytes);
        Ok::<_, Corrupt>(())
    });
    ctx.log_entry(ctx.db, target);
    outcome?;
    ctx.event(Class::String, "pfadd", target);
    ctx.out.ok();
    Ok(())
}

/// Makes the string at `key` dense; true when it was not.
fn make_dense(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<bool, Fault> {
    let (outcome, changed) = ctx.recode_if(key, |bytes| {
        let outcome = hll::to_dense(bytes);
        (outcome, outcome == Ok(true))
    });
    if changed {
        ctx.log_entry(ctx.db, key);
    }
    Ok(outcome?)
}

fn pfdebug(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[2];
    if !is_there(ctx, key)? {
        return Err(Fault::new("ERR The specified key does not exist"));
    }
    make_raw(ctx, key);
    if args.is(1, "TODENSE") {
        let made = make_dense(ctx, key)?;
        ctx.out.int(i64::from(made));
    } else if args.is(1, "GETREG") {
        make_dense(ctx, key)?;
        let entry = ctx.peek(key).ok_or(CORRUPT)?;
        let registers = look(entry, |bytes, _| Ok(hll::registers(bytes)?))?;
        ctx.out.array(registers.len());
        registers.iter().for_each(|&value| ctx.out.int(i64::from(value)));
    } else if args.is(1, "ENCODING") {
        let entry = ctx.peek(key).ok_or(CORRUPT)?;
        let name = look(entry, |_, encoding| Ok(encoding.name()))?;
        ctx.out.simple(name);
    } else if args.is(1, "DECODE") {
        let entry = ctx.peek(key).ok_or(CORRUPT)?;
        let text = look(entry, |bytes, encoding| match encoding {
            Encoding::Sparse => Ok(hll::decode(bytes)?),
            Encoding::Dense => Err(Fault::new("ERR HLL encoding is not sparse")),
        })?;
        ctx.out.bulk(text.as_bytes());
    } else {
        let mut text = b"ERR Unknown PFDEBUG subcommand '".to_vec();
        text.extend_from_slice(printable(&args[1], usize::MAX));
        text.push(b'\'');
        return Err(Fault(text.into()));
    }
    Ok(())
}

fn pfselftest(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    hll::self_test().map_err(|what| Fault::text(format!("TESTFAILED {what}")))?;
    ctx.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;
    use crate::value::hll;

    const NOT_ONE: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.";
    const CORRUPT: &str = "-INVALIDOBJ Corrupted HLL object detected";

    /// Stores `body` behind a sparse header whose cache is out of date.
    fn store(w: &mut World, key: &[u8], body: &[u8]) {
        let value = [b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80", body].concat();
        w.run_bytes(&[b"SET", key, &value]);
        w.effects();
    }

    /// The bytes at `key`.
    fn bytes(w: &mut World, key: &[u8]) -> Vec<u8> {
        let held = w.contents();
        held.into_iter().find(|held| held.1 == key).map(|held| held.2).unwrap_or_default()
    }

    #[test]
    fn adding_and_counting() {
        let mut w = World::new();
        w.check(&[
            ("PFCOUNT h", ":0", ""),
            ("PFADD h", ":1", "PFADD h"),
            ("PFADD h", ":0", ""),
            ("OBJECT ENCODING h", "$3 raw", ""),
            ("STRLEN h", ":18", ""),
            ("pfadd h a b c a", ":1", "pfadd h a b c a"),
            ("PFADD h a b", ":0", ""),
            ("PFCOUNT h", ":3", "SETRANGE h 8 \u{3}\0\0\0\0\0\0\0"),
            ("PFCOUNT h", ":3", ""),
            ("PFADD h d", ":1", "PFADD h d"),
            ("PFDEBUG ENCODING h", "+sparse", ""),
        ]);
        assert_eq!(hll::cached(&bytes(&mut w, b"h")), None);
        w.check(&[
            ("PEXPIRE h 5000", ":1", "PEXPIREAT h 1700000005000"),
            ("PFADD h e", ":1", "PFADD h e"),
            ("PTTL h", ":5000", ""),
        ]);
        w.now_ms += 5001;
        w.check(&[("PFADD h e", ":1", "DEL h | PFADD h e"), ("PTTL h", ":-1", "")]);
    }

    #[test]
    fn a_union_over_shards() {
        let mut w = World::sharded(4);
        w.check(&[
            ("PFADD a 1 2 3", ":1", "PFADD a 1 2 3"),
            ("PFADD b 3 4 5", ":1", "PFADD b 3 4 5"),
            ("PFCOUNT a b none", ":5", ""),
        ]);
        assert_eq!(w.run("PFMERGE c a none b"), "+OK");
        let set = w.take_effects();
        assert_eq!((set.len(), &set[0][0][..], &set[0][1][..]), (1, &b"SET"[..], &b"c"[..]));
        assert_eq!(set[0][2], bytes(&mut w, b"c"));
        assert_eq!(w.run("PFCOUNT c"), ":5");
        assert_eq!(w.run("PFMERGE d"), "+OK");
        assert_eq!(w.run("PFCOUNT d"), ":0");
        w.run("PEXPIRE d 5000");
        w.run("PFMERGE d a");
        w.effects();
        w.check(&[("PTTL d", ":5000", "")]);
    }

    #[test]
    fn one_that_is_dense_makes_the_target_dense() {
        let mut w = World::new();
        w.run("PFADD a 1 2 3");
        w.run("PFADD b 4");
        w.effects();
        assert_eq!(w.run("PFDEBUG TODENSE a"), ":1");
        assert_eq!(w.take_effects()[0][2].len(), hll::DENSE_LEN);
        w.check(&[
            ("PFDEBUG TODENSE a", ":0", ""),
            ("PFDEBUG ENCODING a", "+dense", ""),
            ("PFDEBUG DECODE a", "-ERR HLL encoding is not sparse", ""),
        ]);
        assert_eq!(w.run("PFMERGE b a"), "+OK");
        w.effects();
        w.check(&[("PFDEBUG ENCODING b", "+dense", "")]);
        assert_eq!(w.run("PFCOUNT b"), ":4");
    }

    #[test]
    fn the_directive_bounds_sparse_ones() {
        let mut w = World::new();
        w.shapes.hll_sparse_bytes = 21;
        for (element, encoding) in [("a", "+sparse"), ("foo", "+dense")] {
            w.run(&format!("PFADD h {element}"));
            assert_eq!(w.run("PFDEBUG ENCODING h"), encoding);
        }
        w.shapes.hll_sparse_bytes = 0;
        assert_eq!(w.run("PFADD n a"), ":1");
        assert_eq!(w.run("PFDEBUG ENCODING n"), "+dense");
    }

    #[test]
    fn debugging() {
        let mut w = World::new();
        w.run("PFADD h a foo");
        w.effects();
        w.check(&[
            ("PFDEBUG DECODE h", "$32 Z:7348 v:5,1 Z:5362 v:2,1 Z:3672", ""),
            ("PFDEBUG NOPE h", "-ERR Unknown PFDEBUG subcommand 'NOPE'", ""),
            ("PFDEBUG DECODE none", "-ERR The specified key does not exist", ""),
            ("PFDEBUG DECODE", "-ERR wrong number of arguments for 'pfdebug' command", ""),
            ("PFSELFTEST", "+OK", ""),
        ]);
        let registers = w.run("PFDEBUG GETREG h");
        let words: Vec<&str> = registers.split(' ').collect();
        assert_eq!((words[0], words.len()), ("*16384", 16385));
        assert_eq!((words[7349], words[12712], words[1]), (":5", ":2", ":0"));
        assert_eq!(w.run("PFDEBUG ENCODING h"), "+dense");
    }

    #[test]
    fn foreign_strings() {
        let mut w = World::new();
        w.run("SET s hello");
        w.run("SET n 12");
        w.run("SET e ''");
        w.effects();
        for key in ["s", "n", "e"] {
            for command in ["PFADD * x", "PFCOUNT *", "PFCOUNT none *", "PFMERGE t *"] {
                w.check(&[(&command.replace('*', key), NOT_ONE, "")]);
            }
            w.check(&[(&format!("PFDEBUG DECODE {key}"), NOT_ONE, "")]);
        }
        store(&mut w, b"short", b"\x7f\xfe");
        w.check(&[
            ("PFCOUNT short", CORRUPT, ""),
            ("PFCOUNT short none", CORRUPT, ""),
            ("PFMERGE t short", CORRUPT, ""),
            ("PFDEBUG TODENSE short", CORRUPT, ""),
            ("PFDEBUG GETREG short", CORRUPT, ""),
            ("EXISTS t", ":0", ""),
        ]);
        // The runs end behind register 7348: one element is added, another finds none.
        store(&mut w, b"half", b"\x5c\xb4");
        let request: &[&[u8]] = &[b"PFADD", b"half", b"foo", b"a"];
        assert_eq!(w.run_bytes(request), format!("{CORRUPT}\r\n").into_bytes());
        let half = bytes(&mut w, b"half");
        assert_eq!(w.take_effects(), [[b"SET".to_vec(), b"half".to_vec(), half]]);
        w.check(&[("PFDEBUG DECODE half", "$12 Z:7348 v:5,1", "")]);
    }

    #[test]
    fn a_short_one_that_is_looked_at_counts_as_edited() {
        let mut w = World::new();
        w.run_bytes(&[b"SET", b"h", &hll::empty()]);
        w.effects();
        w.check(&[
            ("OBJECT ENCODING h", "$6 embstr", ""),
            ("PFCOUNT h", ":0", ""),
            ("OBJECT ENCODING h", "$3 raw", ""),
        ]);
    }
}
