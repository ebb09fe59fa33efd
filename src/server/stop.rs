//! The stop: signals, the wait for all shards, and the clean end of the log.

use std::cell::Cell;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::persist::aof::manifest::{manifest_name, temp_manifest_name};
use crate::persist::disk::Volume;
use crate::persist::durable;
use crate::server::boot::Journal;
use crate::server::shards::{End, Running};
use crate::server::supervise::Supervisor;
use crate::server::termination;
use crate::shard::global::Global;
use crate::shard::message::Message;
use crate::shard::order::Order;

/// Waits until the process is told to stop and every shard has come to rest; gives where their
/// logs ended. This is the control thread: a tokio-uring runtime that handles signals.
pub fn wait(
    mut running: Running,
    global: &Global,
    order: &Order<Message>,
    journal: &Journal,
    supervisor: &Supervisor,
    ready: impl FnOnce(),
) -> Result<Vec<End>, Vec<String>> {
    let outcome: io::Result<Vec<End>> = tokio_uring::start(async {
        termination::watch()?;
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Whoever has read that the server is ready may stop it in good order.
        ready();
        let mut ends = Vec::new();
        // Signals that have been seen to. One that came while loading wakes nobody here.
        let mut seen = 0;
        // Whether supervisors have been told.
        let told = Cell::new(false);
        let begin = || {
            journal.warn(&format!("Received {} scheduling shutdown...", termination::last()));
            let config = global.config();
            let how = match termination::last() {
                "SIGINT" => config.shutdown_on_sigint,
                _ => config.shutdown_on_sigterm,
            };
            journal.warn("User requested shutdown...");
            if config.saves_at_stop(how) {
                supervisor.tell("STATUS=Saving the final RDB snapshot\n");
                global.ending.wish(how.force, None);
            } else {
                told.set(true);
                supervisor.tell("STOPPING=1\n");
                global.stop();
            }
            order.wake_all();
        };
        if termination::count() > 0 {
            seen = termination::count();
            begin();
        }
        while ends.len() < running.shards {
            tokio::select! {
                end = running.ends.recv() => {
                    match end {
                        Some(end) => ends.push(end),
                        None => return Err(io::Error::other("a shard thread has died")),
                    }
                    continue;
                }
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            let count = termination::count();
            if count == seen {
                continue;
            }
            seen = count;
            if global.ending.is_wished() && !global.is_stopping() {
                // What is being saved is nowhere else: only who insists ends that.
                if termination::last() == "SIGINT" {
                    journal.warn("You insist... exiting now.");
                    std::process::exit(1);
                }
                continue;
            }
            if global.is_stopping() {
                journal.warn(&format!("Received {} again, exiting at once.", termination::last()));
                std::process::exit(1);
            }
            begin();
        }
        if !told.get() {
            supervisor.tell("STOPPING=1\n");
        }
        Ok(ends)
    });
    outcome.map_err(|error| vec![error.to_string()])
}

/// Records where each log ended, so that the next start can tell a clean stop from a crash.
pub fn seal(log: &dyn Volume, global: &Global, ends: &[End]) -> io::Result<()> {
    let mut order: Vec<(usize, (u64, u64))> =
        ends.iter().filter_map(|(shard, end)| end.map(|end| (*shard, end))).collect();
    order.sort_unstable();
    let positions: Vec<(u64, u64)> = order.into_iter().map(|(_, end)| end).collect();
    let mut manifest = global.manifest().clone();
    manifest.seal(&positions, true);
    let name = global.append_filename();
    durable::replace(log, &temp_manifest_name(name), &manifest_name(name), &manifest.encode())?;
    for file in log.list()?.iter().filter(|f| f.ends_with(".cut")) {
        log.remove(file)?;
    }
    Ok(())
}
