//! Commands that change whole databases: FLUSHALL, FLUSHDB, SWAPDB.
//!
//! They log nothing: each is a cut between log files, and whoever makes the cut writes the command
//! into it. An error means that nothing changed and no cut is due.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, SYNTAX};
use crate::command::key::in_range;
use crate::command::table::{Acl, Command, Flags, ROW, Route, Run};

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    run: fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>,
) -> Command {
    Command {
        name,
        arity,
        flags: Flags(Flags::WRITE | flags),
        route: Route::Cut,
        run: Run::Data(run),
        acl: Acl(Acl::KEYSPACE | Acl::DANGEROUS),
        ..ROW
    }
}

const EVERYWHERE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command { tips: EVERYWHERE, ..row("flushall", -1, 0, flushall) },
    Command { tips: EVERYWHERE, ..row("flushdb", -1, 0, flushdb) },
    Command { since: "4.0.0", ..row("swapdb", 3, Flags::FAST, swapdb) },
];

/// ASYNC and SYNC mean the same: memory is always freed in slices, off the hot path.
fn check_mode(args: &Args<'_>) -> Result<(), Fault> {
    match args.len() {
        1 => Ok(()),
        2 if args.is(1, "SYNC") || args.is(1, "ASYNC") => Ok(()),
        _ => Err(SYNTAX),
    }
}

fn flushall(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    check_mode(args)?;
    for db in 0..ctx.spaces.databases() {
        ctx.clear_database(db);
    }
    ctx.out.ok();
    Ok(())
}

fn flushdb(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    check_mode(args)?;
    ctx.clear_database(ctx.db);
    ctx.out.ok();
    Ok(())
}

/// Reads SWAPDB's index, which Redis first checks to be a C `int`.
fn index(argument: &[u8], fault: &'static str) -> Result<i64, Fault> {
    parse_i64(argument).filter(|&i| i32::try_from(i).is_ok()).ok_or(Fault::new(fault))
}

fn swapdb(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let first = index(&args[1], "ERR invalid first DB index")?;
    let second = index(&args[2], "ERR invalid second DB index")?;
    let (first, second) = (in_range(ctx, first)?, in_range(ctx, second)?);
    let mut dirty = 1;
    ctx.spaces.each(|space| {
        space.counters.dirty += std::mem::take(&mut dirty);
        if first == second {
            return;
        }
        let (one, other) = (&space.dbs[first], &space.dbs[second]);
        let known = |key: &[u8]| one.find(key).entry.is_some() || other.find(key).entry.is_some();
        space.watched.touch_database(first, known);
        space.watched.touch_database(second, known);
        space.dbs.swap(first, second);
    });
    ctx.out.ok();
    Ok(())
}
