//! What a commit costs on the disk at hand: a small append that is flushed, against the same over
//! blocks written ahead and past the page cache. Measured at the start, in turns, for a moment.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{ReadWriteFlags, pwritev2};

use crate::base::clock::SystemClock;
use crate::persist::aof::filler::{self, BLOCK};
use crate::shard::segment::Costs;

/// Name of the file measured with, in the log directory; it has its name only while it is opened.
const NAME: &str = "commit-probe.tmp";
/// How long is measured at most, if a single write does not take longer, in microseconds.
const TIME_MAX_US: u64 = 60_000;
/// Pairs of writes at most.
const PAIRS_MAX: usize = 32;
/// Measures in the directory `dir`. Fails where the file system has no writes past the page cache.
pub fn measure(dir: &Path) -> io::Result<Costs> {
    let path = dir.join(NAME);
    let grown = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    let opened = open_ahead(&path);
    std::fs::remove_file(&path)?;
    let (ahead, direct) = opened?;
    let mut bytes = Vec::new();
    filler::fill(&mut bytes, 0, PAIRS_MAX as u64 * BLOCK);
    write_all(&ahead, &bytes, 0, ReadWriteFlags::empty())?;
    ahead.sync_data()?;
    let room = vec![b'#'; 2 * BLOCK as usize];
    let lead = room.as_ptr().align_offset(BLOCK as usize);
    let block = &room[lead..lead + BLOCK as usize];
    let clock = SystemClock::default();
    let until = clock.now().mono_us + TIME_MAX_US;
    let (mut appends, mut overs) = (Vec::new(), Vec::new());
    for n in 0..PAIRS_MAX {
        let at = n as u64 * BLOCK;
        appends.push(timed(clock, || write_all(&grown, block, at, ReadWriteFlags::DSYNC))?);
        overs.push(timed(clock, || write_all(&direct, block, at, ReadWriteFlags::DSYNC))?);
        if clock.now().mono_us >= until {
            break;
        }
    }
    Ok(Costs { append_us: median(appends), segment_us: median(overs) })
}

/// A second file, and the same past the page cache. It loses its name at once.
fn open_ahead(grown: &Path) -> io::Result<(File, File)> {
    let path = grown.with_extension("ahead.tmp");
    let ahead = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
    let gone = std::fs::remove_file(&path);
    let ahead = ahead?;
    gone?;
    let again = format!("/proc/self/fd/{}", ahead.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    let direct = rustix::fs::open(again, flags, Mode::empty())?;
    Ok((ahead, File::from(direct)))
}

fn write_all(file: &File, bytes: &[u8], at: u64, flags: ReadWriteFlags) -> io::Result<()> {
    let written = pwritev2(file.as_fd(), &[IoSlice::new(bytes)], at, flags)?;
    if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn timed(clock: SystemClock, work: impl FnOnce() -> io::Result<()>) -> io::Result<u64> {
    let began = clock.now().mono_us;
    work()?;
    Ok(clock.now().mono_us - began)
}

fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_measurement() {
        let temp = tempfile::tempdir().unwrap();
        if let Ok(costs) = measure(temp.path()) {
            assert!(costs.append_us > 0 && costs.segment_us > 0);
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
        assert!(measure(&temp.path().join("none")).is_err());
    }
}
