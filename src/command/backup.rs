//! BACKUP, Redis 8.10's: a copy of files that do not change any more, while everything goes on.

use crate::command::args::Args;
use crate::command::fault::Fault;
use crate::command::server::{self, help};
use crate::command::session::{BackupStep, SessionCtx};
use crate::command::table::{Command, Flags, ROW, SessionRun};

const HELP: &[&str] = &[
    "BACKUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "START",
    "    Start a new backup into the configured 'backupdirname'.",
    "SEAL",
    "    Freeze the current backup (BASE + INCR + manifest).",
    "ABORT",
    "    Cancel a backup that has not been sealed yet.",
    "CLEANUP",
    "    Remove a sealed backup's files and return to idle.",
    "STATUS",
    "    Report the current backup state.",
    "LIST",
    "    List the immutable files pinned so far.",
    "HELP",
    "    Print this help.",
];

/// Not in a transaction: what they do with files would hold the shard up there.
const ADMIN: u32 = Flags::ADMIN | Flags::NOSCRIPT | Flags::SETTLE | Flags::NO_MULTI;
const LOOK: u32 = Flags::ADMIN | Flags::STALE | Flags::SETTLE;

const fn row(name: &'static str, flags: u32, run: SessionRun) -> Command {
    server::row(name, 2, flags, "8.10.0", run)
}

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "backup",
    arity: -2,
    group: "server",
    since: "8.10.0",
    subcommands: &[
        row("backup|abort", ADMIN, |ctx, _| step(ctx, BackupStep::Abort)),
        row("backup|cleanup", ADMIN, |ctx, _| step(ctx, BackupStep::Cleanup)),
        row("backup|help", Flags::LOADING | Flags::STALE, |ctx, _| {
            help(ctx, HELP);
            Ok(())
        }),
        row("backup|list", LOOK, list),
        row("backup|seal", ADMIN, |ctx, _| step(ctx, BackupStep::Seal)),
        row("backup|start", ADMIN, |ctx, _| step(ctx, BackupStep::Start)),
        row("backup|status", LOOK, status),
    ],
    ..ROW
}];

fn step(ctx: &mut SessionCtx<'_>, step: BackupStep) -> Result<(), Fault> {
    ctx.server.backup(step).map_err(Fault::text)?;
    // Its outcome takes the place of this.
    ctx.out.ok();
    Ok(())
}

fn status(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let backup = ctx.server.registry().backups.now().clone();
    ctx.out.map(4);
    ctx.out.bulk(b"state");
    ctx.out.bulk(backup.phase.name().as_bytes());
    ctx.out.bulk(b"error");
    ctx.out.bulk(backup.error.as_bytes());
    ctx.out.bulk(b"start_time");
    ctx.out.int(backup.start);
    ctx.out.bulk(b"end_time");
    ctx.out.int(backup.end);
    Ok(())
}

fn list(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    let backup = ctx.server.registry().backups.now().clone();
    ctx.out.array(backup.files.len());
    for file in &backup.files {
        ctx.out.bulk(backup.dir.join(file).as_os_str().as_encoded_bytes());
    }
    Ok(())
}
