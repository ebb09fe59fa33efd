//! One file of the simulated medium: what the page cache shows and what the platters hold.
//!
//! ```text
//!   write ──▶ cached image ──(dirty blocks, each with the contents it has had)──▶ durable image
//!                                      sync: all of them        crash: each one, or not
//! ```
//!
//! Invariants:
//! 1. A block that is not dirty and has never been in a failed sync is the same in both images.
//! 2. `lens` begins with the durable length and ends with the cached one.
//! 3. The durable image may hold bytes beyond the durable length; they do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::base::random::Random;

/// Bytes that a medium writes as one, all or nothing (but for a torn block), unless it is told
/// otherwise.
pub const BLOCK: usize = 512;

/// Every block of a file.
pub(super) const ALL_BLOCKS: Range<usize> = 0..usize::MAX;

/// Contents kept of one dirty block at most, the newest always among them: a writer that fills a
/// block by a thousand small appends needs no thousand copies.
const VERSIONS_MAX: usize = 8;

/// What a block contained at some moment since it was last made durable.
#[derive(Clone, Debug)]
struct Version {
    /// Which write made it, counted over the medium.
    write: u64,
    bytes: Vec<u8>,
}

/// What happened to a file when the power went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileLoss {
    /// Un-synced blocks that survived with their newest content.
    pub kept: u64,
    /// Un-synced blocks that fell back to an older content.
    pub lost: u64,
    /// Blocks half new, half old.
    pub torn: u64,
    /// Un-synced growth survived in which at least one block has no data.
    pub holes: u64,
}

/// A file, whatever its names.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    /// Length of a block in bytes.
    block: usize,
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeMap<usize, Vec<Version>>,
    /// Those of `dirty` that were last written past the page cache.
    direct: BTreeSet<usize>,
    lens: Vec<usize>,
    /// Offset behind the room that was taken for it.
    reserved: usize,
}

impl Inode {
    /// An empty file on a medium with blocks of `block` bytes.
    pub(super) fn new(block: usize) -> Self {
        let (cached, durable, dirty, direct) = Default::default();
        Inode { block, cached, durable, dirty, direct, lens: vec![0], reserved: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.cached.len()
    }

    /// Takes room up to `end`.
    pub(super) fn reserve(&mut self, end: usize) {
        self.reserved = self.reserved.max(end);
    }

    /// What it takes of the medium, in bytes.
    pub(super) fn takes(&self) -> usize {
        self.reserved.max(self.len())
    }

    /// Whether a crash of power may lose any of these bytes.
    pub(super) fn is_dirty(&self, bytes: &Range<usize>) -> bool {
        self.dirty.range(bytes.start / self.block..bytes.end.div_ceil(self.block)).next().is_some()
    }

    /// Blocks that a crash of power may lose.
    pub(super) fn dirty_blocks(&self) -> usize {
        self.dirty.len()
    }

    /// Writes into the page cache as write number `write` of the medium.
    pub(super) fn write(&mut self, offset: usize, data: &[u8], write: u64) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len();
        if end > self.cached.len() {
            self.cached.resize(end, 0);
            self.lens.push(end);
        }
        self.cached[offset..end].copy_from_slice(data);
        for block in offset / self.block..=(end - 1) / self.block {
            self.note_version(block, write);
        }
    }

    /// What write number `write` has written went past the page cache.
    pub(super) fn note_direct(&mut self, write: u64) {
        let of_it = |v: &Vec<Version>| v.last().is_some_and(|v| v.write == write);
        let blocks = self.dirty.iter().filter(|(_, versions)| of_it(versions));
        self.direct.extend(blocks.map(|(block, _)| *block));
    }

    fn note_version(&mut self, block: usize, write: u64) {
        self.direct.remove(&block);
        let bytes = block_of(&self.cached, block, self.block);
        let versions = self.dirty.entry(block).or_default();
        if versions.len() == VERSIONS_MAX {
            versions.remove(VERSIONS_MAX / 2);
        }
        versions.push(Version { write, bytes });
    }

    /// Cuts or lengthens the file in the page cache.
    pub(super) fn set_len(&mut self, len: usize, write: u64) {
        self.cached.resize(len, 0);
        self.lens.push(len);
        self.reserved = 0;
        self.dirty.split_off(&len.div_ceil(self.block));
        if !len.is_multiple_of(self.block) {
            self.note_version(len / self.block, write);
        }
    }

    /// A flush that succeeds: everything cached and dirty is durable.
    pub(super) fn sync(&mut self, blocks: Range<usize>) {
        self.make_length_durable();
        let (cached, durable, size) = (&self.cached, &mut self.durable, self.block);
        self.dirty.retain(|&block, _| {
            let flushed = blocks.contains(&block);
            if flushed {
                put_block(durable, block, &block_of(cached, block, size));
            }
            !flushed
        });
        self.durable.truncate(self.cached.len());
    }

    /// What is clean is read from the medium from here on. Nothing is dirty.
    pub(super) fn forget_cached(&mut self) {
        self.cached.clone_from(&self.durable);
    }

    /// Clean blocks leave the page cache, as they do at the server's word: a write or a cut next to
    /// them finds what the medium has.
    pub(super) fn forget_clean(&mut self, bytes: Range<usize>) {
        let (size, len) = (self.block, self.cached.len());
        for block in bytes.start.div_ceil(size)..bytes.end.min(len).div_ceil(size) {
            if !self.dirty.contains_key(&block) {
                put_block(&mut self.cached, block, &block_of(&self.durable, block, size));
            }
        }
        self.cached.truncate(len);
    }

    /// A flush that fails, as Linux fails it: some blocks were written, the others never will be,
    /// yet all are clean, and the page cache goes on showing what was not written.
    pub(super) fn sync_fails(&mut self, random: &mut Random) {
        // What was written past the page cache is no page of it.
        let direct = std::mem::take(&mut self.direct);
        let dirty = self.dirty.keys().copied();
        let lost: Vec<usize> = dirty.filter(|block| !direct.contains(block)).collect();
        self.dirty.retain(|block, _| direct.contains(block));
        self.direct = direct;
        for block in lost {
            if random.one_in(2) {
                put_block(&mut self.durable, block, &block_of(&self.cached, block, self.block));
            }
        }
        if random.one_in(2) {
            self.make_length_durable();
        }
    }

    fn make_length_durable(&mut self) {
        let cut_to = self.lens.iter().skip(1).min().copied();
        if let Some(low) = cut_to.filter(|&low| low < self.lens[0]) {
            self.durable.truncate(low);
        }
        let len = self.cached.len();
        self.durable.resize(self.durable.len().max(len), 0);
        self.lens = vec![len];
    }

    /// Copies bytes out of the page cache; 0 at the end.
    pub(super) fn read(&self, offset: usize, buf: &mut [u8]) -> usize {
        let from = self.cached.get(offset..).unwrap_or_default();
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        n
    }

    /// Copies bytes as a read past the page cache finds them: dirty blocks are written out first
    /// and hence as cached; clean ones come from the medium.
    pub(super) fn read_direct(&self, offset: usize, buf: &mut [u8]) -> usize {
        let n = self.read(offset, buf);
        let mut at = offset;
        while at < offset + n {
            let block = at / self.block;
            let upto = ((block + 1) * self.block).min(offset + n);
            if !self.dirty.contains_key(&block) {
                let (there, from) = (&mut buf[at - offset..upto - offset], self.durable.len());
                let held = &self.durable[at.min(from)..upto.min(from)];
                there[..held.len()].copy_from_slice(held);
                there[held.len()..].fill(0);
            }
            at = upto;
        }
        n
    }

    /// Turns a bit over, at rest and in the cache; false when the file ends before it.
    pub(super) fn flip(&mut self, offset: usize, bit: u8) -> bool {
        let mask = 1u8 << (bit & 7);
        let Some(byte) = self.cached.get_mut(offset) else { return false };
        *byte ^= mask;
        if let Some(byte) = self.durable.get_mut(offset) {
            *byte ^= mask;
        }
        for version in self.dirty.get_mut(&(offset / self.block)).into_iter().flatten() {
            version.bytes[offset % self.block] ^= mask;
        }
        true
    }

    /// The power goes: what is cached becomes what survived. Each dirty block keeps its newest
    /// content with chance `keep` in 8, else one of its older ones; the block of the newest write
    /// may be torn. The length is any that the file has had since it was last durable.
    pub(super) fn lose_power(&mut self, keep: u64, random: &mut Random) -> FileLoss {
        let mut loss = FileLoss::default();
        let chosen = self.surviving_length(keep, random);
        let len = self.lens[chosen];
        let mut image = std::mem::take(&mut self.durable);
        if let Some(&low) = self.lens[1..=chosen].iter().min() {
            image.truncate(low);
        }
        image.resize(len, 0);
        let torn_block = self.torn_block(random);
        let size = self.block;
        let grown_from = self.lens[0] / size;
        for (block, versions) in std::mem::take(&mut self.dirty) {
            if block * size >= len {
                loss.lost += 1;
                continue;
            }
            let Some(last) = versions.last() else { continue };
            if Some(block) == torn_block {
                let mut torn = block_of(&image, block, size);
                let cut = random.below(size as u64) as usize;
                torn[..cut].copy_from_slice(&last.bytes[..cut]);
                put_block(&mut image, block, &torn);
                loss.torn += 1;
            } else if random.below(8) < keep {
                put_block(&mut image, block, &last.bytes);
                loss.kept += 1;
            } else {
                let older = random.below(versions.len() as u64) as usize;
                if older > 0 {
                    put_block(&mut image, block, &versions[older - 1].bytes);
                }
                loss.lost += 1;
                loss.holes += u64::from(older == 0 && block >= grown_from);
            }
        }
        image.truncate(len);
        self.lens = vec![len];
        self.cached.clone_from(&image);
        self.durable = image;
        loss
    }

    /// The block that the power left half written, if it did: one of the newest write's.
    fn torn_block(&self, random: &mut Random) -> Option<usize> {
        let newest = self.dirty.values().filter_map(|v| v.last()).map(|v| v.write).max()?;
        let of_it = self.dirty.iter().filter(|(_, v)| v.last().is_some_and(|v| v.write == newest));
        let blocks: Vec<usize> = of_it.map(|(block, _)| *block).collect();
        let chosen = blocks.get(random.below(blocks.len() as u64) as usize).copied();
        chosen.filter(|_| random.one_in(4))
    }

    /// Which of `lens` survives.
    fn surviving_length(&self, keep: u64, random: &mut Random) -> usize {
        if random.below(8) < keep {
            self.lens.len() - 1
        } else {
            random.below(self.lens.len() as u64) as usize
        }
    }
}

/// A block of an image, zeros where it ends early.
fn block_of(image: &[u8], block: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let from = image.get(block * size..).unwrap_or_default();
    let n = from.len().min(size);
    bytes[..n].copy_from_slice(&from[..n]);
    bytes
}

/// Writes a block into an image, lengthening it with zeros where it ends early.
fn put_block(image: &mut Vec<u8>, block: usize, bytes: &[u8]) {
    let end = (block + 1) * bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[end - bytes.len()..end].copy_from_slice(bytes);
}
