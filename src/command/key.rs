//! Commands on keys of any type: DEL, EXISTS, TYPE and their kin.

use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::Fault;
use crate::command::table::{
    ALL, Acl, Command, Flags, KeySpec, Keys, LOOKS, Merge, REMOVES, ROW, Route, Run,
};

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    keys: Keys,
    run: fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>,
) -> Command {
    Command {
        name,
        arity,
        flags: Flags(flags),
        keys,
        route: Route::Key,
        run: Run::Data(run),
        acl: Acl(Acl::KEYSPACE),
        ..ROW
    }
}

const SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command {
        route: Route::Split(Merge::Sum),
        specs: &[KeySpec::rest(1, 1, REMOVES)],
        tips: SUM,
        ..row("del", -2, Flags::WRITE, ALL, del)
    },
    Command {
        route: Route::Split(Merge::Sum),
        specs: &[KeySpec::rest(1, 1, REMOVES)],
        tips: SUM,
        since: "4.0.0",
        ..row("unlink", -2, Flags::WRITE | Flags::FAST, ALL, del)
    },
    Command {
        route: Route::Split(Merge::Sum),
        specs: &[KeySpec::rest(1, 1, LOOKS)],
        tips: SUM,
        ..row("exists", -2, Flags::READONLY | Flags::FAST, ALL, exists)
    },
    Command {
        route: Route::Split(Merge::Sum),
        specs: &[KeySpec::rest(1, 1, LOOKS)],
        tips: SUM,
        since: "3.2.1",
        ..row("touch", -2, Flags::READONLY | Flags::FAST, ALL, exists)
    },
];

fn del(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let mut count = 0;
    for key in &args.items()[1..] {
        if ctx.delete(key) {
            ctx.log(key, &[b"DEL", key]);
            count += 1;
        }
    }
    ctx.out.int(count);
    Ok(())
}

fn exists(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let keys = &args.items()[1..];
    let count = keys.iter().filter(|key| ctx.read_to(key, |_, found| found.is_some())).count();
    ctx.out.int(count as i64);
    Ok(())
}
