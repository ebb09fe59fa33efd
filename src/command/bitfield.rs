//! BITFIELD and BITFIELD_RO: integers of any width inside a string.
//!
//! Logged as it came, and only when it changed something.

use bytes::BytesMut;
use smallvec::SmallVec;

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::bitmap::GROUP;
use crate::command::context::Ctx;
use crate::command::fault::{BAD_BIT_OFFSET, Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::string::{text, text_len};
use crate::command::table::{Command, Flags, KeySpec, READS_FIRST};
use crate::keyspace::Class;
use crate::resp::Reply;
use crate::value::bits::{self, Field, Overflow};

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row(
        "bitfield",
        -2,
        Flags::WRITE | Flags::DENYOOM,
        "3.2.0",
        &[KeySpec {
            notes: "This command allows both access and modification of the key",
            ..KeySpec::one(1, &["RW", "access", "update", "variable_flags"])
        }],
        bitfield,
    ),
    GROUP.row("bitfield_ro", -2, Flags::READONLY | Flags::FAST, "6.0.0", READS_FIRST, bitfield_ro),
];

/// What is done with one field.
#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// One operation of a request.
#[derive(Clone, Copy, Debug)]
struct Step {
    action: Action,
    field: Field,
    /// The field's first bit.
    at: u64,
    overflow: Overflow,
}

impl Step {
    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }

    /// Length of a string that holds all of the field, in bytes.
    fn reach(&self) -> usize {
        ((self.at + u64::from(self.field.bits()) - 1) / 8) as usize + 1
    }
}

type Steps = SmallVec<[Step; 4]>;

/// Reads all operations.
fn parse(ctx: &Ctx<'_>, args: &Args<'_>) -> Result<Steps, Fault> {
    let mut steps = Steps::new();
    let mut overflow = Overflow::default();
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - at - 1;
        if args.is(at, "OVERFLOW") && left >= 1 {
            overflow = parse_overflow(args, at + 1)?;
            at += 2;
            continue;
        }
        let get = args.is(at, "GET") && left >= 2;
        let set = args.is(at, "SET") && left >= 3;
        let add = args.is(at, "INCRBY") && left >= 3;
        if !(get || set || add) {
            return Err(SYNTAX);
        }
        let field = Field::parse(&args[at + 1]).ok_or(Fault::new(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported \
             but i64 is.",
        ))?;
        let place = offset(ctx, &args[at + 2], field)?;
        let action = if get {
            Action::Get
        } else {
            let number = parse_i64(&args[at + 3]).ok_or(NOT_AN_INTEGER)?;
            if set { Action::Set(number) } else { Action::Add(number) }
        };
        steps.push(Step { action, field, at: place, overflow });
        at += if get { 3 } else { 4 };
    }
    Ok(steps)
}

fn parse_overflow(args: &Args<'_>, index: usize) -> Result<Overflow, Fault> {
    let names = [("WRAP", Overflow::Wrap), ("SAT", Overflow::Saturate), ("FAIL", Overflow::Fail)];
    let found = names.iter().find(|(name, _)| args.is(index, name));
    found.map(|(_, overflow)| *overflow).ok_or(Fault::new("ERR Invalid OVERFLOW type specified"))
}

/// Reads a field's first bit: `n`, or `#n` for the n-th field of this width.
fn offset(ctx: &Ctx<'_>, argument: &[u8], field: Field) -> Result<u64, Fault> {
    let (number, unit) = match argument.strip_prefix(b"#") {
        Some(number) => (number, i64::from(field.bits())),
        None => (argument, 1),
    };
    let at = parse_i64(number).and_then(|n| n.checked_mul(unit));
    let at = at.and_then(|at| u64::try_from(at).ok());
    at.filter(|at| at / 8 < ctx.string_max).ok_or(BAD_BIT_OFFSET)
}

/// What a step answers, `None` for an overflow that failed; and whether it changed the bytes,
/// which reach to the end of its field if it writes.
fn run(step: &Step, bytes: &mut [u8]) -> (Option<i64>, bool) {
    let old = step.field.read(bytes, step.at);
    let (new, answer) = match step.action {
        Action::Get => return (Some(old), false),
        Action::Set(value) => {
            let new = step.field.fit_given(value, step.overflow);
            (new, new.map(|_| old))
        }
        Action::Add(by) => {
            let new = step.field.fit_sum(old, by, step.overflow);
            (new, new)
        }
    };
    if let Some(new) = new {
        step.field.write(bytes, step.at, new);
    }
    (answer, new.is_some_and(|new| new != old))
}

fn bitfield(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let steps = parse(ctx, args)?;
    let Some(reach) = steps.iter().filter(|step| step.writes()).map(Step::reach).max() else {
        return get_all(ctx, args, &steps);
    };
    let key = &args[1];
    if let Some(entry) = ctx.peek(key) {
        text_len(entry.value())?;
    }
    let ((answers, told), changed) = ctx.recode_if(key, |bytes: &mut BytesMut| {
        let grown = bits::grow(bytes, reach);
        let (mut changed, mut told) = (grown, false);
        let mut answers = SmallVec::<[Option<i64>; 4]>::new();
        for step in &steps {
            let (answer, did) = run(step, bytes);
            changed |= did;
            told |= did || grown && step.writes() && answer.is_some();
            answers.push(answer);
        }
        ((answers, told), changed)
    });
    // Zeros that an overflow has left behind are there, and as in Redis nobody hears of them.
    if told {
        let db = ctx.db;
        ctx.spaces.of(key).touched(db, key);
        ctx.event(Class::String, "setbit", key);
    }
    if changed {
        ctx.log_request(key, args);
    }
    ctx.out.array(answers.len());
    answers.into_iter().for_each(|answer| reply(ctx.out, answer));
    Ok(())
}

fn reply(out: &mut Reply, answer: Option<i64>) {
    match answer {
        Some(number) => out.int(number),
        None => out.null(),
    }
}

/// A request that only reads.
fn get_all(ctx: &mut Ctx<'_>, args: &Args<'_>, steps: &Steps) -> Result<(), Fault> {
    ctx.read_to(&args[1], |out, entry| {
        let mut digits = itoa::Buffer::new();
        let bytes = entry.map_or(Ok(&b""[..]), |entry| text(entry.value(), &mut digits))?;
        out.array(steps.len());
        steps.iter().for_each(|step| out.int(step.field.read(bytes, step.at)));
        Ok(())
    })
}

fn bitfield_ro(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let steps = parse(ctx, args)?;
    if steps.iter().any(Step::writes) {
        return Err(Fault::new("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    get_all(ctx, args, &steps)
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    const TYPE: &str = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is \
                        not supported but i64 is.";
    const OFFSET: &str = "-ERR bit offset is not an integer or out of range";

    #[test]
    fn reading() {
        World::new().check(&[
            ("SET a foobar", "+OK", "SET a foobar"),
            ("BITFIELD a", "*0", ""),
            ("BITFIELD a GET u8 0 GET i8 #1 GET u4 4", "*3 :102 :111 :6", ""),
            ("BITFIELD_RO a get u16 #2", "*1 :24946", ""),
            ("BITFIELD_RO a GET u16 40 GET i64 999", "*2 :29184 :0", ""),
            ("BITFIELD_RO none GET i5 3", "*1 :0", ""),
            ("BITFIELD none GET i5 3", "*1 :0", ""),
            ("EXISTS none", ":0", ""),
            ("OBJECT ENCODING a", "$6 embstr", ""),
            ("SET n 12", "+OK", "SET n 12"),
            ("BITFIELD_RO n GET u8 #1", "*1 :50", ""),
        ]);
    }

    #[test]
    fn writing() {
        let mut w = World::new();
        w.check(&[
            (
                "BITFIELD a SET i8 #0 100 GET u4 0 INCRBY u2 100 1",
                "*3 :0 :6 :1",
                "BITFIELD a SET i8 #0 100 GET u4 0 INCRBY u2 100 1",
            ),
            ("STRLEN a", ":13", ""),
            ("BITFIELD a SET u8 0 100", "*1 :100", ""),
            ("SET s xy EX 10", "+OK", "SET s xy PXAT 1700000010000"),
            ("BITFIELD s SET u8 0 120", "*1 :120", ""),
            ("OBJECT ENCODING s", "$3 raw", ""),
            ("BITFIELD s INCRBY u8 0 1", "*1 :121", "BITFIELD s INCRBY u8 0 1"),
            ("GET s", "$2 yy", ""),
            ("TTL s", ":10", ""),
        ]);
        w.now_ms += 10_001;
        let log = "DEL s | BITFIELD s SET u8 8 1";
        w.check(&[("BITFIELD s SET u8 8 1", "*1 :0", log), ("STRLEN s", ":2", "")]);
    }

    #[test]
    fn overflow() {
        let mut w = World::new();
        for (request, reply) in [
            ("BITFIELD a SET u8 0 300 GET u8 0", "*2 :0 :44"),
            ("BITFIELD a OVERFLOW SAT SET u8 0 300 GET u8 0", "*2 :44 :255"),
            ("BITFIELD a OVERFLOW SAT SET u8 0 -1 GET u8 0", "*2 :255 :255"),
            ("BITFIELD a INCRBY u8 0 1", "*1 :0"),
            ("BITFIELD a OVERFLOW SAT INCRBY u8 0 -1", "*1 :0"),
            ("BITFIELD a INCRBY u8 0 -1", "*1 :255"),
            ("BITFIELD a OVERFLOW FAIL INCRBY u8 0 1 GET u8 0", "*2 $-1 :255"),
            ("BITFIELD a OVERFLOW fail SET i8 0 128 OVERFLOW wrap SET i8 0 128", "*2 $-1 :-1"),
            ("BITFIELD a OVERFLOW SAT INCRBY i8 0 -1", "*1 :-128"),
            ("BITFIELD a INCRBY i8 0 -1", "*1 :127"),
            (
                "BITFIELD b SET i64 0 9223372036854775807 INCRBY i64 0 1",
                "*2 :0 :-9223372036854775808",
            ),
            ("BITFIELD b OVERFLOW SAT INCRBY i64 0 -1", "*1 :-9223372036854775808"),
            ("BITFIELD b SET u63 1 -1 GET i64 0", "*2 :0 :-1"),
            ("BITFIELD d OVERFLOW SAT SET i8 0 -9223372036854775680 GET i8 0", "*2 :0 :-128"),
            ("BITFIELD d OVERFLOW SAT SET i8 0 -9223372036854775681 GET i8 0", "*2 :-128 :127"),
        ] {
            assert_eq!(w.run(request), reply, "{request}");
        }
        w.effects();
        // Grown all the same, as in Redis, and here logged as well.
        let log = "BITFIELD c OVERFLOW FAIL SET u8 8 256";
        w.check(&[(log, "*1 $-1", log), ("GET c", "$2 \0\0", "")]);
        w.resp3 = true;
        w.check(&[(log, "*1 _", "")]);
    }

    #[test]
    fn refusals() {
        let mut w = World::new();
        w.check(&[
            ("BITFIELD a GET u64 0", TYPE, ""),
            ("BITFIELD a GET 8 0", TYPE, ""),
            ("BITFIELD a GET u8 -1", OFFSET, ""),
            ("BITFIELD a GET u8 4294967296", OFFSET, ""),
            ("BITFIELD a GET u8 #536870912", OFFSET, ""),
            ("BITFIELD a GET u8 #9223372036854775807", OFFSET, ""),
            ("BITFIELD a GET u8 #", OFFSET, ""),
            ("BITFIELD a SET u8 0 x", "-ERR value is not an integer or out of range", ""),
            ("BITFIELD a GET u8", "-ERR syntax error", ""),
            ("BITFIELD a SET u8 0", "-ERR syntax error", ""),
            ("BITFIELD a PUT u8 0 1", "-ERR syntax error", ""),
            ("BITFIELD a OVERFLOW", "-ERR syntax error", ""),
            ("BITFIELD a OVERFLOW x", "-ERR Invalid OVERFLOW type specified", ""),
            ("BITFIELD_RO a SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand", ""),
            ("BITFIELD_RO a SET u64 0 1", TYPE, ""),
            ("EXISTS a", ":0", ""),
        ]);
        w.string_max = 1;
        let log = "BITFIELD a SET u16 7 1";
        w.check(&[
            (log, "*1 :0", log),
            ("STRLEN a", ":3", ""),
            ("BITFIELD a GET u8 8", OFFSET, ""),
        ]);
    }
}
