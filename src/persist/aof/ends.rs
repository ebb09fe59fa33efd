//! Where the files of a log end: what is put on record when it ends in good order, and how somebody
//! finds it again who has only the manifest.

use std::io;

use crate::persist::aof::format::{HEAD_MAX, HEAD_START, parse_head};
use crate::persist::aof::manifest::{
    FileType, Manifest, Ours, ShardPairs, manifest_name, temp_manifest_name,
};
use crate::persist::aof::repair::is_cut_off;
use crate::persist::disk::Volume;
use crate::persist::durable;

/// Where a shard's log ended.
#[derive(Clone, Copy, Debug)]
pub struct LogEnd {
    /// Its position.
    pub pos: u64,
    /// Checksum of the last frame, or the seed.
    pub sum: u64,
    /// Length of its file without filler, in bytes.
    pub len: u64,
}

/// Names in `manifest`, durably, where the log of each shard ended, the first shard's first, and
/// cuts the files there: the next start, of whatever server, can tell a clean stop from a crash.
/// What cannot be cut that no start of ours depends on is told to `warn`.
///
/// # Errors
/// What the disk says. The manifest names the ends, or the one before it stands.
pub fn seal(
    log: &dyn Volume,
    appendfilename: &str,
    mut manifest: Manifest,
    ends: &[(usize, LogEnd)],
    warn: &dyn Fn(&str),
) -> io::Result<()> {
    let positions: Vec<(u64, u64)> = ends.iter().map(|(_, end)| (end.pos, end.sum)).collect();
    manifest.seal(&positions, true);
    let last = |pairs: &ShardPairs| pairs.generation == manifest.generation();
    let files: Vec<(String, u64)> = manifest
        .lines
        .iter()
        .filter_map(|line| match &line.ours {
            Some(Ours::Shard(pairs)) if last(pairs) => {
                let end = ends.iter().find(|(shard, _)| *shard == usize::from(pairs.shard))?;
                Some((line.file.clone(), end.1.len))
            }
            _ => None,
        })
        .collect();
    let (temp, name) = (temp_manifest_name(appendfilename), manifest_name(appendfilename));
    durable::replace(log, &temp, &name, &manifest.encode())?;
    cut_off(log, &manifest, &files, warn)?;
    for file in log.list()?.iter().filter(|file| is_cut_off(file, appendfilename)) {
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
        if log.len(file)? > *len || log.room_behind(file)? > 0 {
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
    use crate::persist::aof::manifest::NewFile;
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
        let copy = format!("{old}.cut");
        medium.write_synced(&copy, b"cut off").unwrap();
        medium.write_synced("notes.cut", b"somebody's").unwrap();
        let unheard = |text: &str| panic!("{text}");
        let end = LogEnd { pos: log.pos, sum: 9, len: 2 };
        let named = manifest.clone();
        seal(&medium, "appendonly.aof", named, &[(0, end)], &unheard).unwrap();
        assert!(medium.read_all(&old).unwrap() == kept);
        assert_eq!(medium.read_all(&next).unwrap(), b"fi");
        let left = medium.list().unwrap();
        assert!(!left.contains(&copy) && left.iter().any(|file| file == "notes.cut"), "{left:?}");
        let found = medium.read_all("appendonly.aof.manifest").unwrap();
        let found = Manifest::parse(&found).unwrap();
        let mut ends = found.lines.iter().filter_map(|line| match &line.ours {
            Some(Ours::Shard(pairs)) => Some((pairs.end, pairs.clean)),
            _ => None,
        });
        assert_eq!(ends.next_back(), Some((Some((log.pos, 9)), true)));
        medium.write_synced(&old, b"something else").unwrap();
        let said = std::cell::RefCell::new(String::new());
        cut_off(&medium, &manifest, &[], &|text| said.borrow_mut().push_str(text)).unwrap();
        assert!(said.into_inner().starts_with(&format!("{old} may hold more than its end")));
    }
}
