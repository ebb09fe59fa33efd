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
        group: "server",
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
        // Two that hold nothing stay as they are, and tell what emptied each: when that is all
        // there is, no cut follows that replies could wait for.
        if first == second || space.dbs[first].is_empty() && space.dbs[second].is_empty() {
            return;
        }
        let (one, other) = (&space.dbs[first], &space.dbs[second]);
        let known = |key: &[u8]| one.find(key).entry.is_some() || other.find(key).entry.is_some();
        space.watched.touch_database(first, known);
        space.watched.touch_database(second, known);
        space.dbs.swap(first, second);
        space.waiting.touch_database(first);
        space.waiting.touch_database(second);
    });
    ctx.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use crate::command::harness::World;
    use crate::keyspace::watch::WatchFlag;

    #[test]
    fn empty_databases_go_on_telling_what_emptied_them() {
        let mut w = World::new();
        w.run("SET a 1");
        w.run("DEL a");
        let stamps = |w: &World| {
            let space = w.spaces.iter().flatten().find(|s| s.dbs[0].last_stamp() > 0);
            space.map(|s| (s.dbs[0].last_stamp(), s.dbs[1].last_stamp()))
        };
        let before = stamps(&w);
        assert!(before.is_some());
        w.run("SWAPDB 0 1");
        assert_eq!(stamps(&w), before);
    }

    #[test]
    fn flush() {
        let mut w = World::new();
        w.run("SET a 1");
        w.db = 1;
        w.run("SET b 1");
        w.effects();
        w.check(&[
            ("FLUSHDB what", "-ERR syntax error", ""),
            ("FLUSHDB ASYNC what", "-ERR syntax error", ""),
            ("DBSIZE", ":1", ""),
            ("FLUSHDB async", "+OK", ""),
            ("DBSIZE", ":0", ""),
        ]);
        w.db = 0;
        w.check(&[("DBSIZE", ":1", ""), ("FLUSHALL SYNC", "+OK", ""), ("DBSIZE", ":0", "")]);
    }

    #[test]
    fn swap() {
        let mut w = World::sharded(3);
        for key in ["a", "b", "c", "d"] {
            w.run(&format!("SET {key} 1"));
        }
        w.effects();
        w.check(&[
            ("SWAPDB x 1", "-ERR invalid first DB index", ""),
            ("SWAPDB 1 99999999999", "-ERR invalid second DB index", ""),
            ("SWAPDB 0 16", "-ERR DB index is out of range", ""),
            ("SWAPDB 0 -1", "-ERR DB index is out of range", ""),
            ("SWAPDB 0 0", "+OK", ""),
            ("DBSIZE", ":4", ""),
            ("SWAPDB 0 5", "+OK", ""),
            ("DBSIZE", ":0", ""),
        ]);
        w.db = 5;
        w.check(&[("DBSIZE", ":4", ""), ("GET c", "$1 1", "")]);
    }

    #[test]
    fn watched_keys_hear_of_it() {
        let flag = || WatchFlag::default();
        for request in ["FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "SWAPDB 1 0"] {
            let mut w = World::new();
            w.run("SET a 1");
            let (there, absent, other) = (flag(), flag(), flag());
            let space = w.spaces[0].as_deref_mut().unwrap();
            space.watched.watch(0, b"a", there.clone());
            space.watched.watch(0, b"b", absent.clone());
            space.watched.watch(1, b"a", other.clone());
            w.run(request);
            let raised = [there, absent, other].map(|f| f.load(Ordering::Relaxed));
            assert_eq!(raised, [true, false, request.starts_with("SWAP")], "{request}");
        }
    }
}
