//! Snapshots: SAVE, BGSAVE, LASTSAVE; and BGREWRITEAOF.

use crate::command::args::Args;
use crate::command::fault::{Fault, SYNTAX};
use crate::command::server::row;
use crate::command::session::SessionCtx;
use crate::command::table::{Acl, Command, Flags};

const ADMIN: u32 = Flags::ADMIN | Flags::NOSCRIPT | Flags::NO_ASYNC_LOADING;

/// There is none, or its file is about to take the old one's place.
const NOTHING_TO_CANCEL: Fault =
    Fault::new("ERR Background saving is currently not in progress or scheduled");

/// The commands of this file.
pub static ROWS: &[Command] = &[
    row("save", 1, ADMIN | Flags::NO_MULTI | Flags::SETTLE, "1.0.0", save),
    row("bgsave", -1, ADMIN | Flags::SETTLE, "1.0.0", bgsave),
    row("bgrewriteaof", 1, ADMIN | Flags::SETTLE, "1.0.0", bgrewriteaof),
    Command {
        acl: Acl(Acl::ADMIN | Acl::DANGEROUS),
        tips: &["nondeterministic_output"],
        ..row("lastsave", 1, Flags::LOADING | Flags::STALE | Flags::FAST, "1.0.0", lastsave)
    },
];

fn save(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.server.save(true, false).map_err(Fault::text)?;
    // Its outcome takes the place of this.
    ctx.out.ok();
    Ok(())
}

fn bgsave(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    if args.len() == 2 && args.is(1, "CANCEL") {
        return cancel(ctx);
    }
    if args.len() > 2 || args.len() == 2 && !args.is(1, "SCHEDULE") {
        return Err(SYNTAX);
    }
    let began = ctx.server.save(false, args.len() == 2).map_err(Fault::text)?;
    ctx.out.simple(if began { "Background saving started" } else { "Background saving scheduled" });
    Ok(())
}

fn bgrewriteaof(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    // As in Redis, a transaction only says that one is to begin.
    let began = ctx.server.rewrite_log(!ctx.session.in_exec).map_err(Fault::text)?;
    ctx.out.simple(match began {
        true => "Background append only file rewriting started",
        false => "Background append only file rewriting scheduled",
    });
    Ok(())
}

/// Valkey's, since 8.1. Whoever waits for a SAVE is told of it as of an error.
fn cancel(ctx: &mut SessionCtx<'_>) -> Result<(), Fault> {
    if ctx.server.registry().saves.unschedule() {
        ctx.out.simple("Scheduled background saving cancelled");
        return Ok(());
    }
    if !ctx.server.registry().saves.progress.cancel() {
        return Err(NOTHING_TO_CANCEL);
    }
    ctx.out.simple("Background saving cancelled");
    Ok(())
}

fn lastsave(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.int(ctx.server.registry().saves.last());
    Ok(())
}
