//! LCS: the longest common subsequence of two strings.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::string::bytes_of;
use crate::command::table::{Acl, Command, Flags, KeySpec, Keys, READS, ROW, Route, Run};
use crate::value::lcs;

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "lcs",
    arity: -3,
    flags: Flags(Flags::READONLY),
    keys: Keys::Range { first: 1, last: 2, step: 1 },
    route: Route::Lease,
    run: Run::Data(run),
    group: "string",
    since: "7.0.0",
    acl: Acl(Acl::STRING),
    specs: &[KeySpec::range(1, 1, 1, READS)],
    ..ROW
}];

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: i64,
}

impl Options {
    fn parse(args: &Args<'_>) -> Result<Self, Fault> {
        let mut options = Options::default();
        let mut at = 3;
        while at < args.len() {
            if args.is(at, "IDX") {
                options.idx = true;
            } else if args.is(at, "LEN") {
                options.len = true;
            } else if args.is(at, "WITHMATCHLEN") {
                options.with_match_len = true;
            } else if args.is(at, "MINMATCHLEN") && at + 1 < args.len() {
                options.min_match_len = parse_i64(&args[at + 1]).ok_or(NOT_AN_INTEGER)?;
                at += 1;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        if options.idx && options.len {
            return Err(Fault::new(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

/// Refuses what Redis would refuse, which keeps a table of lengths, four bytes each.
fn check_size(ctx: &Ctx<'_>, a: usize, b: usize) -> Result<(), Fault> {
    const TOO_LONG: usize = u32::MAX as usize - 1;
    if a >= TOO_LONG || b >= TOO_LONG {
        return Err(Fault::new("ERR String too long for LCS"));
    }
    let table = (a as u64 + 1).checked_mul(b as u64 + 1).and_then(|cells| cells.checked_mul(4));
    if table.is_none_or(|bytes| bytes > ctx.string_max) {
        return Err(Fault::new(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    Ok(())
}

fn run(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    const NOT_STRINGS: Fault = Fault::new("ERR The specified keys must contain string values");
    let (a, b) = (bytes_of(ctx, &args[1]), bytes_of(ctx, &args[2]));
    let (Ok(a), Ok(b)) = (a, b) else { return Err(NOT_STRINGS) };
    let options = Options::parse(args)?;
    check_size(ctx, a.len(), b.len())?;
    if options.len {
        ctx.out.int(lcs::length(&a, &b) as i64);
        return Ok(());
    }
    let (common, stretches) = lcs::matches(&a, &b);
    if !options.idx {
        ctx.out.bulk(&common);
        return Ok(());
    }
    let long = |m: &&lcs::Match| m.a.len() as i64 >= options.min_match_len;
    let out = &mut *ctx.out;
    out.map(2);
    out.bulk(b"matches");
    out.array(stretches.iter().filter(long).count());
    for stretch in stretches.iter().filter(long) {
        out.array(2 + usize::from(options.with_match_len));
        for range in [&stretch.a, &stretch.b] {
            out.array(2);
            out.int(range.start as i64);
            out.int(range.end as i64 - 1);
        }
        if options.with_match_len {
            out.int(stretch.a.len() as i64);
        }
    }
    out.bulk(b"len");
    out.int(common.len() as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn every_option() {
        World::new().check(&[
            ("MSET a ohmytext b mynewtext", "+OK", "SET a ohmytext | SET b mynewtext"),
            ("LCS a b", "$6 mytext", ""),
            ("LCS a b LEN", ":6", ""),
            (
                "LCS a b IDX",
                "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6",
                "",
            ),
            (
                "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
                "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6",
                "",
            ),
            (
                "LCS a b IDX MINMATCHLEN -4",
                "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6",
                "",
            ),
            ("LCS a none", "$0", ""),
            ("LCS a none IDX", "*4 $7 matches *0 $3 len :0", ""),
            (
                "LCS a b IDX LEN",
                "-ERR If you want both the length and indexes, please just use IDX.",
                "",
            ),
            ("LCS a b MINMATCHLEN", "-ERR syntax error", ""),
            ("LCS a b MINMATCHLEN x", "-ERR value is not an integer or out of range", ""),
            ("LCS a", "-ERR wrong number of arguments for 'lcs' command", ""),
        ]);
    }

    #[test]
    fn refuses_what_would_take_too_much() {
        let mut w = World::new();
        w.string_max = 1 << 20;
        let long = "x".repeat(1000);
        w.run(&format!("MSET a {long} b {long}"));
        w.effects();
        w.check(&[(
            "LCS a b LEN",
            "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            "",
        )]);
        w.string_max = 1001 * 1001 * 4;
        w.check(&[("LCS a b LEN", ":1000", "")]);
    }

    #[test]
    fn over_shards_and_in_resp3() {
        let mut w = World::sharded(8);
        w.resp3 = true;
        w.run("MSET a abcx b abcy");
        assert_eq!(w.run("LCS a b IDX"), "%2 $7 matches *1 *2 *2 :0 :2 *2 :0 :2 $3 len :3");
    }
}
