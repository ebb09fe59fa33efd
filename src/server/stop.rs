//! The stop: signals, the wait for all shards, and the clean end of the log.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::persist::aof::ends::tighten;
use crate::persist::aof::manifest::{
    FileType, Manifest, Ours, ShardPairs, manifest_name, temp_manifest_name,
};
use crate::persist::disk::Volume;
use crate::persist::durable;
use crate::server::boot::Journal;
use crate::server::shards::{End, LogEnd, Running};
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
        // Whether supervisors have been told that it is certain.
        let mut told = false;
        let mut begin = || told = begin(global, order, journal, supervisor);
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
            if global.is_stopping() || global.ending.is_wished() {
                insist(global, journal);
                continue;
            }
            begin();
        }
        if !told {
            supervisor.tell("STOPPING=1\n");
        }
        Ok(ends)
    });
    outcome.map_err(|error| vec![error.to_string()])
}

/// A signal begins the stop, with a snapshot in front of it or not; whether it is certain now.
fn begin(
    global: &Global,
    order: &Order<Message>,
    journal: &Journal,
    supervisor: &Supervisor,
) -> bool {
    let config = global.config();
    let how = match termination::last() {
        "SIGINT" => config.shutdown_on_sigint,
        _ => config.shutdown_on_sigterm,
    };
    journal.warn(&format!("Received {} scheduling shutdown...", termination::last()));
    journal.warn("User requested shutdown...");
    if global.may_not_end(how.force) {
        return false;
    }
    let saves = config.saves_at_stop(how);
    if saves {
        supervisor.tell("STATUS=Saving the final RDB snapshot\n");
        global.ending.wish(how.force, None);
    } else {
        supervisor.tell("STOPPING=1\n");
        global.stop();
    }
    order.wake_all();
    !saves
}

/// Another signal while a stop is under way ends the process at once; but what is being saved may
/// be nowhere else, and then only SIGINT does, as in Redis.
fn insist(global: &Global, journal: &Journal) {
    if global.is_stopping() {
        journal.warn(&format!("Received {} again, exiting at once.", termination::last()));
        std::process::exit(1);
    }
    if termination::last() == "SIGINT" {
        journal.warn("You insist... exiting now.");
        std::process::exit(1);
    }
}

/// Records where each log ended, so that the next start can tell a clean stop from a crash.
pub fn seal(log: &dyn Volume, global: &Global, ends: &[End]) -> io::Result<()> {
    // Now there is need of it.
    global.end_reserve();
    let mut order: Vec<(usize, LogEnd)> =
        ends.iter().filter_map(|(shard, end)| end.map(|end| (*shard, end))).collect();
    order.sort_unstable_by_key(|(shard, _)| *shard);
    let positions: Vec<(u64, u64)> = order.iter().map(|(_, end)| (end.pos, end.sum)).collect();
    let mut manifest = global.manifest().clone();
    manifest.seal(&positions, true);
    manifest.replication = Some(global.registry.replication());
    let last = |pairs: &ShardPairs| pairs.generation == manifest.generation();
    let files: Vec<(String, u64)> = manifest
        .lines
        .iter()
        .filter_map(|line| match &line.ours {
            Some(Ours::Shard(pairs)) if last(pairs) => {
                let end = order.iter().find(|(shard, _)| *shard == usize::from(pairs.shard))?;
                Some((line.file.clone(), end.1.len))
            }
            _ => None,
        })
        .collect();
    let name = global.append_filename();
    durable::replace(log, &temp_manifest_name(name), &manifest_name(name), &manifest.encode())?;
    cut_off(log, &manifest, &files, &|text| global.warn(text))?;
    for file in log.list()?.iter().filter(|f| f.ends_with(".cut")) {
        log.remove(file)?;
    }
    Ok(())
}

/// Cuts the files of the last generation to these lengths, and those that the log has gone on from
/// to their ends: that was done long since, unless it was refused.
fn cut_off(
    log: &dyn Volume,
    manifest: &Manifest,
    last: &[(String, u64)],
    warn: &dyn Fn(&str),
) -> io::Result<()> {
    // Filler is no part of the log, with this manifest or the one before: a crash in between costs
    // nothing but room.
    for (file, len) in last {
        if log.len(file)? > *len {
            log.truncate(file, *len)?;
        }
    }
    for line in manifest.lines.iter().filter(|line| line.kind == FileType::Incr) {
        if let Some(Ours::Shard(pairs)) = &line.ours
            && pairs.generation < manifest.generation()
            && let Err(error) = tighten(log, &line.file, pairs)
        {
            // For a start of ours nothing depends on it.
            warn(&format!("{} may hold more than its end: {error}", line.file));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::aof::manifest::NewFile;
    use crate::persist::sim::SimMedium;
    use crate::persist::testing::LogFile;

    #[test]
    fn a_stop_cuts_what_could_not_be_cut_before() {
        let (medium, mut manifest) = (SimMedium::new(1), Manifest::default());
        let new = |start| [NewFile { seed: 9, start, stream: 0 }];
        let mut log = LogFile::new(9, 0);
        log.command(&["SET", "a", "1"]).frame(0, 0);
        let (named, kept) = ((log.pos, log.sum), log.bytes.clone());
        log.command(&["APPEND", "a", "2"]).frame(0, 0);
        let old = manifest.begin_generation("appendonly.aof", &new(0), 1, "boot").remove(0);
        manifest.seal(&[named], false);
        let next = manifest.begin_generation("appendonly.aof", &new(log.pos), 1, "boot").remove(0);
        medium.write_synced(&old, &log.bytes).unwrap();
        medium.write_synced(&next, b"filler").unwrap();
        let unheard = |text: &str| panic!("{text}");
        cut_off(&medium, &manifest, &[(next.clone(), 2)], &unheard).unwrap();
        assert!(medium.read_all(&old).unwrap() == kept);
        assert_eq!(medium.read_all(&next).unwrap(), b"fi");
        medium.write_synced(&old, b"something else").unwrap();
        let said = std::cell::RefCell::new(String::new());
        cut_off(&medium, &manifest, &[], &|text| said.borrow_mut().push_str(text)).unwrap();
        assert!(said.into_inner().starts_with(&format!("{old} may hold more than its end")));
    }
}
