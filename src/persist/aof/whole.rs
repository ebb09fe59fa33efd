//! Checksums that reach beyond one line of the manifest: of the manifest itself, and of listed
//! files that are plain commands or RDB and never change again.
//!
//! # The manifest's own line
//!
//! A manifest that Ringstone wrote begins with a comment, which stock Redis skips:
//!
//! ```text
//! #rs 1 sum <sum> LF
//! ```
//!
//! `sum` (hexadecimal as in frames) is the checksum of all bytes behind that line, so that a line
//! that was lost, added, moved or changed is found, also one without pairs of ours, and a manifest
//! that was cut short between two lines. It stands first so that nothing that is cut off takes it
//! along. A manifest any line of which carries our pairs must begin with it; another server drops
//! this line and all our pairs at once when it writes the manifest again.
//!
//! # Whole files
//!
//! ```text
//! whole rdb   len <bytes> sum <the checksum the RDB ends in>
//! whole bytes len <bytes> sum <checksum of all its bytes>
//! ```
//!
//! An RDB holds a checksum of its content, which whoever loads it compares; here only stands which
//! one it must be, so that an older base in the place of the right one is found without reading it
//! twice. Anything else, an RDB without a checksum or with commands behind it too, is read to its
//! end.

use std::io;

use crate::base::crc::{FrameSum, crc64_frame};
use crate::persist::aof::format::{parse_hex, write_hex};
use crate::persist::aof::manifest::{ManifestFault, VERSION};
use crate::persist::aof::resp::CHUNK;
use crate::persist::disk::Volume;
use crate::persist::rdb::format::{HEADER_LEN, MAGIC, OP_EOF};

/// How the manifest's own line starts.
const START: &[u8] = b"#rs";
/// Bytes behind the content of an RDB: the code of its end and the checksum.
const RDB_TAIL: usize = 9;

/// The line that vouches for `lines`, which follow it.
pub fn manifest_line(lines: &[u8]) -> Vec<u8> {
    let mut out = format!("#rs {VERSION} sum ").into_bytes();
    write_hex(&mut out, crc64_frame(0, &[lines]));
    out.push(b'\n');
    out
}

/// Looks at the manifest's own line; true when it is there, and then it is right.
pub fn check_manifest(bytes: &[u8]) -> Result<bool, ManifestFault> {
    if !bytes.starts_with(START) {
        return Ok(false);
    }
    let (line, lines) = match memchr::memchr(b'\n', bytes) {
        Some(end) => bytes.split_at(end + 1),
        None => return Err(ManifestFault::Whole),
    };
    if line == manifest_line(lines) {
        return Ok(true);
    }
    let version = line.split(|&b| b == b' ').nth(1).and_then(parse_hex);
    match version {
        Some(newer) if newer > VERSION => Err(ManifestFault::Version(newer)),
        _ => Err(ManifestFault::Whole),
    }
}

/// Of which bytes a file's checksum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WholeKind {
    /// An RDB's content: the checksum is the one it ends in.
    Rdb,
    /// All its bytes.
    Bytes,
}

/// What our pairs say of a file that is plain commands or RDB and never changes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholePairs {
    /// What the checksum is of.
    pub kind: WholeKind,
    /// The file's length in bytes.
    pub len: u64,
    /// The checksum.
    pub sum: u64,
}

impl WholePairs {
    /// Those of a file as it stands. An RDB that ends in a checksum is not read through.
    pub fn of(volume: &dyn Volume, file: &str) -> io::Result<WholePairs> {
        let len = volume.len(file)?;
        if let Some(sum) = rdb_sum(volume, file, len)? {
            return Ok(WholePairs { kind: WholeKind::Rdb, len, sum });
        }
        Ok(WholePairs { kind: WholeKind::Bytes, len, sum: sum_of(volume, file, len)? })
    }

    /// Whether a file is the one that these pairs were made of, as far as that can be told without
    /// loading it: what an RDB holds is compared with its checksum by whoever loads it.
    pub fn fits(&self, volume: &dyn Volume, file: &str) -> io::Result<bool> {
        let len = volume.len(file)?;
        if len != self.len {
            return Ok(false);
        }
        Ok(match self.kind {
            WholeKind::Rdb => rdb_sum(volume, file, len)? == Some(self.sum),
            WholeKind::Bytes => sum_of(volume, file, len)? == self.sum,
        })
    }
}

/// The checksum that ends a file which is an RDB and nothing else. Text behind an RDB ends in a
/// line end, and an RDB in the code of its end and its checksum: one that looks like a line end is
/// passed over too.
fn rdb_sum(volume: &dyn Volume, file: &str, len: u64) -> io::Result<Option<u64>> {
    if len < (HEADER_LEN + RDB_TAIL) as u64 {
        return Ok(None);
    }
    let mut header = [0; HEADER_LEN];
    let mut tail = [0; RDB_TAIL];
    let from = len - RDB_TAIL as u64;
    if read_full(volume, file, 0, &mut header)? < header.len()
        || read_full(volume, file, from, &mut tail)? < tail.len()
    {
        return Ok(None);
    }
    let [code, sum @ ..] = tail;
    let sum = u64::from_le_bytes(sum);
    let summed = header.strip_prefix(MAGIC).is_some_and(|version| version >= &b"0005"[..]);
    let pure = summed && code == OP_EOF && !tail.ends_with(b"\r\n");
    Ok((pure && sum != 0).then_some(sum))
}

/// The checksum of a file's first `len` bytes.
fn sum_of(volume: &dyn Volume, file: &str, len: u64) -> io::Result<u64> {
    let mut sum = FrameSum::new(0);
    let mut buf = vec![0; usize::try_from(len).unwrap_or(CHUNK).min(CHUNK)];
    let mut at = 0;
    while at < len {
        let want = usize::try_from(len - at).unwrap_or(CHUNK).min(buf.len());
        match volume.read_at(file, at, &mut buf[..want])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                sum.add(&buf[..n]);
                at += n as u64;
            }
        }
    }
    Ok(sum.get())
}

/// Fills `buf` from an offset; fewer bytes only where the file ends.
fn read_full(volume: &dyn Volume, file: &str, at: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match volume.read_at(file, at + filled as u64, &mut buf[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::testing::MemVolume;

    #[test]
    fn the_own_line_is_found_missing_or_wrong() {
        let lines = b"file a seq 1 type i\n";
        let whole = [&manifest_line(lines)[..], lines].concat();
        assert_eq!(check_manifest(&whole), Ok(true));
        assert_eq!(check_manifest(lines), Ok(false));
        assert_eq!(check_manifest(&whole[..whole.len() - 1]), Err(ManifestFault::Whole));
        assert_eq!(check_manifest(b"#rs 1 sum 0"), Err(ManifestFault::Whole));
        assert_eq!(check_manifest(b"#rs 2 anything\n"), Err(ManifestFault::Version(2)));
    }

    #[test]
    fn files_are_told_apart() {
        let volume = MemVolume::default();
        let rdb = |sum: u64| [&b"REDIS0010\xfa\x01a\x01b\xff"[..], &sum.to_le_bytes()].concat();
        volume.put("rdb", &rdb(7));
        volume.put("bare", &rdb(0));
        volume.put("text", b"*1\r\n$4\r\nPING\r\n");
        let of = |file| WholePairs::of(&volume, file).unwrap();
        assert_eq!(of("rdb"), WholePairs { kind: WholeKind::Rdb, len: 23, sum: 7 });
        assert_eq!(of("bare").kind, WholeKind::Bytes);
        assert_eq!(of("text").kind, WholeKind::Bytes);
        for file in ["rdb", "bare", "text"] {
            let pairs = of(file);
            assert!(pairs.fits(&volume, file).unwrap(), "{file}");
            let mut bytes = volume.read_all(file).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            volume.put(file, &bytes);
            assert!(!pairs.fits(&volume, file).unwrap(), "{file}");
            volume.put(file, &bytes[1..]);
            assert!(!pairs.fits(&volume, file).unwrap(), "{file}");
        }
    }
}
