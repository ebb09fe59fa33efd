//! Reading a log that is still written: what DEBUG LOADAOF does while nothing is executed.
//!
//! It is the first half of recovery, and no more: the directory is looked at (`inspect`)
//! and what it holds is loaded, and nothing is cut, renamed or removed; whoever writes the files
//! goes on in them. At a start a torn end is what a crash leaves. Here nothing has crashed, and the
//! caller knows where each log ends: anything but all of it, to the byte, is an error.
//!
//! A log that nobody writes ([`load_lying`]) is what a rewrite leaves with `appendonly no`, or what
//! was there when the log was turned off.

use std::fmt;

use crate::keyspace::Keyspace;
use crate::persist::disk::Volume;
use crate::persist::load::{LoadError, Loading, load_together};
use crate::persist::recovery::{Options, Plan, RecoveryError, Source, Step, inspect};

/// Why a log could not be read again.
#[derive(Debug)]
pub enum ReloadError {
    /// Recovery would refuse it.
    Refused(RecoveryError),
    /// Something of what was written is not there.
    Incomplete(String),
    /// What it holds cannot be executed.
    Load(LoadError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::Refused(error) => error.fmt(f),
            ReloadError::Incomplete(what) => f.write_str(what),
            ReloadError::Load(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReloadError {}

/// Reads the log in `log`, whose shards have written up to `ends`, into `spaces`, which are empty.
/// After an error they hold anything.
pub fn reload(
    log: &dyn Volume,
    options: &Options<'_>,
    loading: &Loading<'_>,
    ends: &[u64],
    spaces: &mut [Option<Box<Keyspace>>],
) -> Result<(), ReloadError> {
    let plan = inspect(log, options).map_err(ReloadError::Refused)?;
    check_ends(&plan, ends).map_err(ReloadError::Incomplete)?;
    check_whole(&plan).map_err(ReloadError::Incomplete)?;
    load(&plan, loading, spaces)
}

/// Reads the log that lies in `log` into `spaces`, which are empty; false where there is none.
/// After an error they hold anything.
pub fn load_lying(
    log: &dyn Volume,
    options: &Options<'_>,
    loading: &Loading<'_>,
    spaces: &mut [Option<Box<Keyspace>>],
) -> Result<bool, ReloadError> {
    let plan = inspect(log, options).map_err(ReloadError::Refused)?;
    if !matches!(plan.source, Source::Listed(_)) {
        return Ok(false);
    }
    check_whole(&plan).map_err(ReloadError::Incomplete)?;
    load(&plan, loading, spaces).map(|()| true)
}

fn load(
    plan: &Plan<'_>,
    loading: &Loading<'_>,
    spaces: &mut [Option<Box<Keyspace>>],
) -> Result<(), ReloadError> {
    // By one thread in the order of the files, which is right for files of any origin.
    let report = load_together(loading, &plan.steps, spaces).map_err(ReloadError::Load)?;
    match report.broken_off {
        Some((file, at)) => Err(ReloadError::Incomplete(format!("{file} breaks off at {at}"))),
        None => Ok(()),
    }
}

fn check_ends(plan: &Plan<'_>, ends: &[u64]) -> Result<(), String> {
    let Some(Step::Generation { files, .. }) = plan.steps.last() else {
        return Err("the files that are being written are not listed".to_owned());
    };
    if files.len() != ends.len() {
        return Err(format!("{} shards write and {} files are listed", ends.len(), files.len()));
    }
    for file in files {
        let end = ends.get(usize::from(file.shard)).copied().unwrap_or_default();
        if file.end != end {
            let (name, held) = (&file.file, file.end);
            return Err(format!("{name} ends at position {held}, but was written up to {end}"));
        }
    }
    Ok(())
}

fn check_whole(plan: &Plan<'_>) -> Result<(), String> {
    match plan.loses_nothing() {
        true => Ok(()),
        false => Err(format!("the log is not whole: {}", plan.report.join("; "))),
    }
}
