//! The index of blocks that a snapshot of several shards ends with, so that the shards of the next
//! start can each read their own part of the file.
//!
//! ```text
//! header   magic, AUX, functions, sizes
//! block    whole keys, all of the slots of one shard of those that wrote it
//! block …
//! AUX      "ringstone-blocks", the index
//! EOF, checksum
//! ```
//!
//! The index is text, as what other programs print of it should be: words with a space between,
//! numbers in hexadecimal.
//!
//! ```text
//! 1 SHARDS LENGTH:CHECKSUM LENGTH:CHECKSUM:SHARD … CHECKSUM OFFSET
//!          the header      a block                  of the text before; of the AUX, 16 digits
//! ```
//!
//! Blocks follow one another without a gap from the header to the index. The last word is of fixed
//! length, so that the index is found from the file's end. Whoever finds anything about an index
//! that is not as it should be reads the file as if there were none.
//!
//! *Reading blocks is as safe as reading all.* A block has a checksum of its own. The whole file's
//! is combined from those of its parts ([`Index::checksum`]), so a shard that compares both knows
//! what it would have known had it read everything, if its own blocks are sound; and every block
//! is read by somebody.

use std::io;
use std::ops::Range;

use crate::base::crc::{crc64_redis, crc64_redis_joined};
use crate::base::limits::SLOTS;
use crate::persist::disk::Volume;
use crate::persist::rdb::encode::put_length;
use crate::persist::rdb::format::{OP_AUX, OP_EOF};

/// The AUX field's name.
const NAME: &[u8] = b"ringstone-blocks";
/// The form described above.
const FORM: &str = "1";
/// Bytes of the last word, and the space in front.
const LOCATOR: usize = 17;
/// Bytes behind the index: the code of the end, and the checksum.
const TRAILER: usize = 9;
/// Longest index that is read, in bytes: that of a file of terabytes.
const INDEX_MAX: u64 = 64 << 20;

/// A part of a file: its length in bytes and its CRC-64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Bytes.
    pub len: u64,
    /// CRC-64/REDIS.
    pub checksum: u64,
}

impl Part {
    /// These bytes.
    pub fn of(bytes: &[u8]) -> Part {
        Part { len: bytes.len() as u64, checksum: crc64_redis(bytes) }
    }

    /// This and what stands behind it.
    pub fn then(self, next: Part) -> Part {
        let checksum = crc64_redis_joined(self.checksum, next.checksum, next.len);
        Part { len: self.len + next.len, checksum }
    }
}

/// Keys of the slots of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it ends, and what it sums up to.
    pub part: Part,
    /// The shard.
    pub shard: usize,
}

/// See the head of this file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// How many shards wrote the file.
    pub shards: usize,
    /// What stands before the first block.
    pub header: Part,
    /// In the order of the file.
    pub blocks: Vec<Block>,
}

impl Index {
    /// Offset behind the last block.
    fn end(&self) -> u64 {
        self.blocks.iter().fold(self.header.len, |end, block| end + block.part.len)
    }

    /// Where each block stands.
    pub fn places(&self) -> impl Iterator<Item = (Range<u64>, Block)> {
        let mut at = self.header.len;
        self.blocks.iter().map(move |block| {
            let from = at;
            at += block.part.len;
            (from..at, *block)
        })
    }

    /// The AUX field that stands behind the last block.
    pub fn aux(&self) -> Vec<u8> {
        let mut text = format!("{FORM} {:x}", self.shards);
        text += &format!(" {:x}:{:x}", self.header.len, self.header.checksum);
        for Block { part, shard } in &self.blocks {
            text += &format!(" {:x}:{:x}:{shard:x}", part.len, part.checksum);
        }
        let sum = crc64_redis(text.as_bytes());
        text += &format!(" {sum:x} {:016x}", self.end());
        let mut aux = vec![OP_AUX];
        for word in [NAME, text.as_bytes()] {
            put_length(&mut aux, word.len() as u64);
            aux.extend_from_slice(word);
        }
        aux
    }

    /// The checksum that the file has: of header, blocks, this index and the code of the end.
    pub fn checksum(&self) -> u64 {
        let mut tail = self.aux();
        tail.push(OP_EOF);
        let whole = self.blocks.iter().fold(self.header, |sum, block| sum.then(block.part));
        whole.then(Part::of(&tail)).checksum
    }

    /// Finds a file's index and the checksum behind it; `None` when there is none to be used.
    ///
    /// # Errors
    /// What the medium says.
    pub fn find(volume: &dyn Volume, file: &str) -> io::Result<Option<(Index, u64)>> {
        let len = volume.len(file)?;
        let Some(at) = len.checked_sub((LOCATOR + TRAILER) as u64) else { return Ok(None) };
        let mut tail = [0; LOCATOR + TRAILER];
        volume.read_exact(file, at, &mut tail)?;
        let (locator, trailer) = tail.split_at(LOCATOR);
        if locator[0] != b' ' || trailer[0] != OP_EOF {
            return Ok(None);
        }
        let Some(from) = std::str::from_utf8(&locator[1..]).ok().and_then(number) else {
            return Ok(None);
        };
        let to = len - TRAILER as u64;
        if from >= to || to - from > INDEX_MAX {
            return Ok(None);
        }
        let mut aux = vec![0; (to - from) as usize];
        volume.read_exact(file, from, &mut aux)?;
        let Some(index) = Index::parse(&aux).filter(|index| index.end() == from) else {
            return Ok(None);
        };
        let stored = trailer[1..].try_into().map_or(0, u64::from_le_bytes);
        Ok(Some((index, stored)))
    }

    /// The index of an AUX field that is exactly as [`Index::aux`] makes it.
    fn parse(aux: &[u8]) -> Option<Index> {
        let value = aux.get(2 + NAME.len()..)?;
        // Behind a length of one, two or five bytes; that all is right is seen in the end.
        [1, 2, 5].iter().find_map(|&len| {
            let text = std::str::from_utf8(value.get(len..)?).ok()?;
            Index::of_text(text).filter(|index| index.aux() == aux)
        })
    }

    fn of_text(text: &str) -> Option<Index> {
        let (mut index, mut words) = (Index::default(), text.split(' '));
        if words.next()? != FORM {
            return None;
        }
        index.shards = usize::try_from(number(words.next()?)?).ok()?;
        if !(1..=usize::from(SLOTS)).contains(&index.shards) {
            return None;
        }
        let part = |words: &mut std::str::Split<'_, char>| {
            Some(Part { len: number(words.next()?)?, checksum: number(words.next()?)? })
        };
        index.header = part(&mut words.next()?.split(':'))?;
        for word in words {
            // The two words behind the blocks have no colon.
            let mut parts = word.split(':');
            if !word.contains(':') {
                break;
            }
            let part = part(&mut parts)?;
            let shard = usize::try_from(number(parts.next()?)?).ok();
            let shard = shard.filter(|&shard| shard < index.shards)?;
            index.blocks.push(Block { part, shard });
        }
        index.blocks.iter().try_fold(index.header.len, |end, b| end.checked_add(b.part.len))?;
        Some(index)
    }
}

fn number(word: &str) -> Option<u64> {
    u64::from_str_radix(word, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::sim::SimMedium;

    fn file() -> (Index, Vec<u8>) {
        let parts: [&[u8]; 3] = [b"REDIS0010", b"first block", b"2"];
        let index = Index {
            shards: 12,
            header: Part::of(parts[0]),
            blocks: vec![
                Block { part: Part::of(parts[1]), shard: 11 },
                Block { part: Part::of(parts[2]), shard: 0 },
            ],
        };
        let mut file = parts.concat();
        file.extend(index.aux());
        file.push(OP_EOF);
        let sum = crc64_redis(&file);
        file.extend_from_slice(&sum.to_le_bytes());
        (index, file)
    }

    fn find(bytes: &[u8]) -> Option<(Index, u64)> {
        let medium = SimMedium::new(0);
        medium.write_synced("x.rdb", bytes).unwrap();
        Index::find(&medium, "x.rdb").unwrap()
    }

    #[test]
    fn an_index_is_found_and_knows_the_whole_checksum() {
        let (index, file) = file();
        let (found, stored) = find(&file).unwrap();
        assert_eq!(found, index);
        assert_eq!(stored, index.checksum());
        let places: Vec<_> = found.places().map(|(place, block)| (place, block.shard)).collect();
        assert_eq!(places, [(9..20, 11), (20..21, 0)]);
        // Without blocks, too.
        let empty = Index { blocks: Vec::new(), ..index };
        let mut file = b"REDIS0010".to_vec();
        file.extend(empty.aux());
        file.push(OP_EOF);
        file.extend_from_slice(&[0; 8]);
        assert_eq!(find(&file), Some((empty, 0)));
    }

    #[test]
    fn whatever_is_wrong_with_an_index_makes_it_none() {
        let (index, file) = file();
        let from = index.end() as usize;
        for at in from..file.len() - 8 {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(find(&damaged), None, "byte {at}, bit {bit}");
            }
        }
        for len in 0..file.len() {
            assert_eq!(find(&file[..len]), None);
        }
    }
}
