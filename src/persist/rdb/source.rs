//! A file, or bytes at hand, read once from front to back in chunks, with a running checksum of
//! what was consumed.
//!
//! Invariants:
//! 1. `buf[at..end]` are the bytes of the file from `offset` on.
//! 2. `digest` covers every byte before `buf[summed]`, and `summed <= at`.
//! 3. Bytes read a second time, after [`Source::rewind`], do not count as progress again.
//! 4. Nothing is allocated for bytes that the file, at its length when opened, does not have.
//! 5. Of bytes at hand `buf` is all from the beginning, so that nothing is ever fetched.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crc_fast::{CrcAlgorithm, Digest};

use crate::persist::disk::Volume;
use crate::persist::rdb::decode::Problem;

/// Bytes asked of the volume at once.
const CHUNK: usize = 256 * 1024;

/// See the file's opening.
pub(super) struct Source<'a> {
    /// `None` for bytes at hand.
    file: Option<(&'a dyn Volume, &'a str)>,
    /// Raised by the bytes consumed, chunk by chunk.
    progress: Option<&'a AtomicU64>,
    len: u64,
    /// Offset of `buf[at]` in the file.
    offset: u64,
    buf: Vec<u8>,
    at: usize,
    end: usize,
    summed: usize,
    digest: Digest,
    /// Offset up to which progress was told.
    told: u64,
}

/// A place to come back to.
pub(super) struct Mark {
    offset: u64,
    digest: Digest,
}

impl<'a> Source<'a> {
    pub(super) fn open(
        volume: &'a dyn Volume,
        path: &'a str,
        progress: Option<&'a AtomicU64>,
    ) -> Result<Self, Problem> {
        let len = volume.len(path).map_err(Problem::Io)?;
        let size = usize::try_from(len).map_or(CHUNK, |len| len.min(CHUNK));
        Ok(Source {
            file: Some((volume, path)),
            progress,
            len,
            offset: 0,
            buf: vec![0; size],
            at: 0,
            end: 0,
            summed: 0,
            digest: Digest::new(CrcAlgorithm::Crc64Redis),
            told: 0,
        })
    }

    /// Bytes at hand.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Source {
            file: None,
            progress: None,
            len: len as u64,
            offset: 0,
            buf: bytes,
            at: 0,
            end: len,
            summed: 0,
            digest: Digest::new(CrcAlgorithm::Crc64Redis),
            told: 0,
        }
    }

    /// From here on the file consists of this part of it.
    pub(super) fn narrow(&mut self, part: Range<u64>) {
        self.tell();
        (self.offset, self.told, self.len) = (part.start, part.start, part.end);
        (self.at, self.end, self.summed) = (0, 0, 0);
        self.digest = Digest::new(CrcAlgorithm::Crc64Redis);
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that the file still holds.
    pub(super) fn left(&self) -> u64 {
        self.len - self.offset
    }

    /// Checksum of everything consumed.
    pub(super) fn checksum(&mut self) -> u64 {
        self.sum_up();
        self.digest.finalize()
    }

    /// Tells of the bytes consumed last.
    pub(super) fn finish(&mut self) {
        self.sum_up();
    }

    fn sum_up(&mut self) {
        self.digest.update(&self.buf[self.summed..self.at]);
        self.summed = self.at;
        self.tell();
    }

    fn tell(&mut self) {
        let Some(new) = self.offset.checked_sub(self.told) else { return };
        if let Some(progress) = self.progress {
            progress.fetch_add(new, Ordering::Relaxed);
        }
        self.told = self.offset;
    }

    /// Here.
    pub(super) fn mark(&mut self) -> Mark {
        self.sum_up();
        Mark { offset: self.offset, digest: self.digest }
    }

    /// Goes back to where `mark` was set.
    pub(super) fn rewind(&mut self, mark: &Mark) {
        self.sum_up();
        let back = (self.offset - mark.offset) as usize;
        if self.offset - mark.offset <= self.at as u64 {
            // Still there.
            self.at -= back;
            self.summed = self.at;
        } else {
            (self.at, self.end, self.summed) = (0, 0, 0);
        }
        self.offset = mark.offset;
        self.digest = mark.digest;
    }

    /// The next `n` bytes, not consumed; `None` when there is no room for so many at once.
    pub(super) fn peek(&mut self, n: u64) -> Result<Option<&[u8]>, Problem> {
        self.claim(n)?;
        if n > self.buf.len() as u64 {
            return Ok(None);
        }
        let n = n as usize;
        if self.end - self.at < n {
            self.sum_up();
            self.buf.copy_within(self.at..self.end, 0);
            self.end -= self.at;
            (self.at, self.summed) = (0, 0);
            while self.end < n {
                let read = self.fetch(self.end)?;
                self.end += read;
            }
        }
        Ok(Some(&self.buf[self.at..self.at + n]))
    }

    /// Consumes a string whose length takes a byte, with that, if both are buffered and it has at
    /// most `most` bytes. Most strings are such; whatever else comes is left where it is.
    #[inline]
    pub(super) fn short_text(&mut self, most: u64) -> Option<&[u8]> {
        let len = usize::from(*self.buf.get(self.at).filter(|first| **first < 1 << 6)?);
        let from = self.at + 1;
        if from + len > self.end || len as u64 > most {
            return None;
        }
        self.consume(1 + len);
        Some(&self.buf[from..from + len])
    }

    /// The next bytes that are there already, not consumed.
    #[inline]
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buf[self.at..self.end]
    }

    /// Reads what follows the buffered bytes into `buf[into..]`.
    fn fetch(&mut self, into: usize) -> Result<usize, Problem> {
        let from = self.offset + (self.end - self.at) as u64;
        let (volume, path) = self.file.ok_or(Problem::Truncated)?;
        let most = usize::try_from(self.len - from).unwrap_or(usize::MAX);
        let to = self.buf.len().min(into.saturating_add(most));
        some(volume.read_at(path, from, &mut self.buf[into..to]))
    }

    /// Consumes `n` bytes that were peeked at.
    pub(super) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.end - self.at);
        self.at += n;
        self.offset += n as u64;
    }

    /// Refuses a length that the file does not have.
    fn claim(&self, n: u64) -> Result<(), Problem> {
        if n > self.left() { Err(Problem::Truncated) } else { Ok(()) }
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        if let Some(bytes) = self.buf[self.at..self.end].first_chunk().copied() {
            self.consume(N);
            return Ok(bytes);
        }
        self.take_over::<N>()
    }

    /// [`Source::take`] of bytes that are not all buffered.
    #[cold]
    fn take_over<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        match self.peek(N as u64)? {
            Some(peeked) => bytes.copy_from_slice(peeked),
            None => {
                // Only a file shorter than N has so small a buffer, and `claim` has refused it.
                return Err(Problem::Truncated);
            }
        }
        self.consume(N);
        Ok(bytes)
    }

    /// Appends the next `n` bytes to `out`.
    pub(super) fn read_into(&mut self, n: u64, out: &mut Vec<u8>) -> Result<(), Problem> {
        self.claim(n)?;
        let n = n as usize;
        let buffered = n.min(self.end - self.at);
        out.reserve_exact(n);
        out.extend_from_slice(&self.buf[self.at..self.at + buffered]);
        self.consume(buffered);
        if buffered == n {
            return Ok(());
        }
        self.sum_up();
        // What is read from here on does not pass through the buffer.
        (self.at, self.end, self.summed) = (0, 0, 0);
        let mut from = out.len();
        let to = from + (n - buffered);
        out.resize(to, 0);
        while from < to {
            let (volume, path) = self.file.ok_or(Problem::Truncated)?;
            let read = some(volume.read_at(path, self.offset, &mut out[from..to]))?;
            self.digest.update(&out[from..from + read]);
            self.offset += read as u64;
            self.tell();
            from += read;
        }
        Ok(())
    }

    /// Passes over the next `n` bytes; they count for the checksum.
    #[inline]
    pub(super) fn skip(&mut self, n: u64) -> Result<(), Problem> {
        if n <= (self.end - self.at) as u64 {
            self.consume(n as usize);
            return Ok(());
        }
        self.skip_far(n)
    }

    /// [`Source::skip`] of bytes that are not all buffered.
    #[cold]
    fn skip_far(&mut self, n: u64) -> Result<(), Problem> {
        self.claim(n)?;
        let mut left = n;
        while left > 0 {
            let some = left.min(self.buf.len() as u64);
            self.peek(some)?;
            self.consume(some as usize);
            left -= some;
        }
        Ok(())
    }
}

/// What a read gave; nothing is an error, since the file was longer when it was opened.
fn some(read: io::Result<usize>) -> Result<usize, Problem> {
    match read.map_err(Problem::Io)? {
        0 => Err(Problem::Truncated),
        n => Ok(n),
    }
}
