//! The stop: signals, the wait for all shards, and the clean end of the log.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::persist::aof::ends::{self, LogEnd};
use crate::persist::disk::Volume;
use crate::persist::snapshot;
use crate::persist::volume::DirVolume;
use crate::server::boot::Journal;
use crate::server::shards::{End, Running};
use crate::server::supervise::Supervisor;
use crate::server::termination;
use crate::shard::global::Global;
use crate::shard::message::Message;
use crate::shard::order::Order;

/// How long the end waits for its last words to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Waits until the process is told to stop and every shard has come to rest; gives where their
/// logs ended. This is the control thread: a tokio-uring runtime that handles signals.
pub fn wait(
    mut running: Running,
    global: &Global,
    order: &Order<Message>,
    journal: &Arc<Journal>,
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
        let (mut seen, mut interrupts) = (0, 0);
        // Whether supervisors have been told that it is certain.
        let mut told = false;
        let mut begin = || told = begin(global, order, journal, supervisor);
        if termination::count() > 0 {
            (seen, interrupts) = (termination::count(), termination::interrupts());
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
            let before = std::mem::replace(&mut interrupts, termination::interrupts());
            seen = count;
            if global.is_stopping() || global.ending.is_wished() {
                insist(global, journal, interrupts > before);
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
fn insist(global: &Global, journal: &Arc<Journal>, interrupted: bool) {
    let stopping = global.is_stopping();
    let text = match interrupted {
        _ if stopping => format!("Received {} again, exiting at once.", termination::last()),
        true => "You insist... exiting now.".to_owned(),
        false => return,
    };
    let (journal, dir) = (Arc::clone(journal), global.config().dir.clone());
    let (done, told) = channel();
    let last = move || {
        journal.warn(&text);
        if !stopping {
            // The half of a file is of use to nobody.
            let _ = DirVolume::open(&dir).and_then(|dir| dir.remove(&snapshot::temporary()));
        }
        journal.flush();
        let _ = done.send(());
    };
    // A disk that hangs may be why somebody insists.
    if std::thread::Builder::new().name("last words".into()).spawn(last).is_ok() {
        let _ = told.recv_timeout(LAST_WORDS);
    }
    std::process::exit(1)
}

/// Records where each log ended, so that the next start can tell a clean stop from a crash.
pub fn seal(log: &dyn Volume, global: &Global, ended: &[End]) -> io::Result<()> {
    // Now there is need of it.
    global.end_reserve();
    let mut order: Vec<(usize, LogEnd)> =
        ended.iter().filter_map(|(shard, end)| end.map(|end| (*shard, end))).collect();
    order.sort_unstable_by_key(|(shard, _)| *shard);
    let mut manifest = global.manifest().clone();
    manifest.replication = Some(global.registry.replication());
    ends::seal(log, global.append_filename(), manifest, &order, &|text| global.warn(text))
}
