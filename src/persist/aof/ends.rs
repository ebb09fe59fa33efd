//! Where a log's file ends that the log has gone on from, for somebody who has only its manifest.

use std::io;

use crate::persist::aof::format::{HEAD_MAX, HEAD_START, parse_head};
use crate::persist::aof::manifest::ShardPairs;
use crate::persist::disk::Volume;

/// Cuts a log's file that has ended to the end which the manifest names, durably: off goes filler,
/// and what a flush that failed has left behind that end, which the log goes on with in another
/// file. The log does so as well, but later, and leaves it to the file system when that is durable.
/// Redis knows no named ends: it would execute twice what stands behind one.
///
/// # Errors
/// What the disk says; `InvalidData` where the end is not there, and the file stays as it is.
pub fn tighten(volume: &dyn Volume, file: &str, pairs: &ShardPairs) -> io::Result<()> {
    let lost = || {
        let what = format!("{file} does not hold what its manifest names as its end");
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    let end = end_of(volume, file, pairs)?.ok_or_else(lost)?;
    volume.truncate(file, end)
}

/// Bytes of a file that are looked at together.
const PIECE: usize = 1 << 16;

/// The offset behind the frame that is named as the last, found from behind by its checksum, which
/// nobody can imitate who does not know the file's seed. `None` where it is not there.
fn end_of(volume: &dyn Volume, file: &str, pairs: &ShardPairs) -> io::Result<Option<u64>> {
    let Some((pos, sum)) = pairs.end else { return Ok(None) };
    if (pos, sum) == (pairs.start, pairs.seed) {
        return Ok(Some(0));
    }
    let len = volume.len(file)?;
    let finder = memchr::memmem::FinderRev::new(HEAD_START);
    let mut piece = vec![0; PIECE + HEAD_MAX];
    let mut to = len;
    while to > 0 {
        let from = to.saturating_sub(PIECE as u64);
        // A head that begins in front of `to` may end behind it.
        let held = &mut piece[..(len.min(to + HEAD_MAX as u64) - from) as usize];
        volume.read_exact(file, from, held)?;
        let mut before = held.len().min((to - from) as usize + HEAD_START.len() - 1);
        while let Some(at) = finder.rfind(&held[..before]) {
            before = at;
            let Ok(parsed) = parse_head(&held[at..]) else { continue };
            let end = from + at as u64 + parsed.line as u64 + parsed.head.len;
            if (parsed.head.pos + parsed.head.len, parsed.sum) == (pos, sum) && end <= len {
                return Ok(Some(end));
            }
        }
        to = from;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::persist::aof::filler;
    use crate::persist::backup::Shelf;
    use crate::persist::sim::SimMedium;
    use crate::persist::testing::LogFile;

    /// Frames with these lengths of a value, from position 100 on; their file's seed is 9.
    fn log(values: &[usize]) -> LogFile {
        let mut log = LogFile::new(9, 100);
        for len in values {
            log.command(&["APPEND", "key", &"v".repeat(*len)]).frame(100, 100);
        }
        log
    }

    fn pairs(end: Option<(u64, u64)>) -> ShardPairs {
        let boot = "boot".to_owned();
        let (seed, start, next_id, stream) = (9, 100, 1, None);
        ShardPairs {
            generation: 1,
            shard: 0,
            shards: 1,
            seed,
            start,
            next_id,
            stream,
            boot,
            end,
            clean: false,
        }
    }

    /// A file of these bytes, which is also in a backup.
    fn linked(bytes: &[u8]) -> (SimMedium, impl Shelf) {
        let medium = SimMedium::new(7);
        medium.write_synced("f", bytes).unwrap();
        let shelf = medium.shelf("backup");
        shelf.link("f").unwrap();
        shelf.sync_dir().unwrap();
        medium.sync_dir().unwrap();
        (medium, shelf)
    }

    #[test]
    fn what_stands_behind_a_named_end_goes_and_does_not_come_back() {
        let piece = PIECE - 100;
        for values in [&[5][..], &[], &[5, 6, 7], &[300, piece, 20], &[20, 3 * piece, piece + 37]] {
            for behind in [&[][..], &[4, 9], &[piece], &[1, 4 * piece]] {
                let (named, all) = (log(values), log(&[values, behind].concat()));
                let mut bytes = all.bytes.clone();
                let len = bytes.len() as u64;
                filler::fill(&mut bytes, len, (len + 300_000).next_multiple_of(filler::LINE));
                let (medium, shelf) = linked(&bytes);
                tighten(&shelf, "f", &pairs(Some((named.pos, named.sum)))).unwrap();
                medium.crash_power(&mut Random::new(3));
                assert!(shelf.read_all("f").unwrap() == named.bytes, "{values:?}, {behind:?}");
                assert_eq!(shelf.list().unwrap(), ["f"]);
                assert_eq!(medium.list().unwrap().len(), 1);
            }
        }
    }

    #[test]
    fn a_file_without_its_named_end_is_left_alone() {
        let whole = log(&[5, 6]);
        let end = (whole.pos, whole.sum);
        let torn = whole.bytes[..whole.bytes.len() - 1].to_vec();
        for (bytes, end) in [(&torn, end), (&whole.bytes, (end.0, 7)), (&whole.bytes, (7, end.1))] {
            let (_, shelf) = linked(bytes);
            let refused = tighten(&shelf, "f", &pairs(Some(end))).unwrap_err().to_string();
            assert_eq!(refused, "f does not hold what its manifest names as its end");
            assert!(shelf.read_all("f").unwrap() == *bytes);
        }
    }
}
