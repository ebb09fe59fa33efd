//! What a commit costs on the disk at hand: a small append that is flushed, against the same over
//! blocks written ahead and past the page cache. Measured at the start, in turns, for a moment.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::{ReadWriteFlags, pwritev2};

use crate::persist::aof::filler::{self, BLOCK};

/// Name of the file measured with, in the log directory; it has its name only while it is opened.
const NAME: &str = "commit-probe.tmp";
/// How long is measured at most, if a single write does not take longer, in milliseconds.
const TIME_MAX_MS: u64 = 60;
/// Pairs of writes at most.
const PAIRS_MAX: usize = 32;
/// A segment must take at most so many hundredths of what an append takes.
const FASTER: u64 = 80;

/// Medians in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Of an append with its flush.
    pub append_us: u64,
    /// Of a write over a block written ahead.
    pub segment_us: u64,
}

impl Costs {
    /// Whether writing ahead is worth its bytes.
    pub fn prefers_segment(&self) -> bool {
        self.segment_us > 0 && self.segment_us * 100 <= self.append_us * FASTER
    }
}

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
    let until = Instant::now() + Duration::from_millis(TIME_MAX_MS);
    let (mut appends, mut overs) = (Vec::new(), Vec::new());
    for n in 0..PAIRS_MAX {
        let at = n as u64 * BLOCK;
        appends.push(timed(|| write_all(&grown, block, at, ReadWriteFlags::DSYNC))?);
        overs.push(timed(|| write_all(&direct, block, at, ReadWriteFlags::DSYNC))?);
        if Instant::now() >= until {
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

fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<u64> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_micros() as u64)
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

    #[test]
    fn a_segment_must_be_clearly_faster() {
        let of = |append_us, segment_us| Costs { append_us, segment_us }.prefers_segment();
        assert!(of(400, 100) && of(400, 320) && !of(400, 321) && !of(100, 400));
    }
}
