//! Checksums: CRC-16/XMODEM for cluster slots, CRC-64/REDIS for RDB, CRC-64/XZ for log frames.

use crate::base::limits::SLOTS;

/// Bytes of which the checksum is taken at once.
const STEP: usize = 8;

/// What a byte adds to a checksum when so many bytes follow it in a step.
const fn crc16_tables() -> [[u16; 256]; STEP] {
    let mut tables = [[0u16; 256]; STEP];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut behind = 1;
    while behind < STEP {
        let mut i = 0;
        while i < 256 {
            let before = tables[behind - 1][i];
            tables[behind][i] = (before << 8) ^ tables[0][(before >> 8) as usize];
            i += 1;
        }
        behind += 1;
    }
    tables
}

static CRC16: [[u16; 256]; STEP] = crc16_tables();

/// CRC-16/XMODEM, the checksum of Redis Cluster's key slots.
pub fn crc16(bytes: &[u8]) -> u16 {
    let (steps, rest) = bytes.as_chunks::<STEP>();
    let crc = steps.iter().fold(0_u16, |crc, step| {
        let [high, low] = crc.to_be_bytes();
        let mut step = *step;
        step[0] ^= high;
        step[1] ^= low;
        // None of these waits for another.
        let tables = CRC16.iter().rev();
        step.iter().zip(tables).fold(0, |crc, (b, table)| crc ^ table[usize::from(*b)])
    });
    rest.iter().fold(crc, |crc, &b| (crc << 8) ^ CRC16[0][usize::from((crc >> 8) as u8 ^ b)])
}

/// The slot of a key: only what stands between the first `{` and the next `}` counts, if anything.
pub fn slot(key: &[u8]) -> u16 {
    let tagged = memchr::memchr(b'{', key).and_then(|open| {
        let rest = &key[open + 1..];
        memchr::memchr(b'}', rest).filter(|&len| len > 0).map(|len| &rest[..len])
    });
    crc16(tagged.unwrap_or(key)) % SLOTS
}

/// The shard, of `shards`, that owns a key's slot.
pub fn shard_of(key: &[u8], shards: usize) -> usize {
    if shards == 1 {
        return 0;
    }
    shard_of_slot(slot(key), shards)
}

/// The shard, of `shards`, that owns a slot.
pub fn shard_of_slot(slot: u16, shards: usize) -> usize {
    usize::from(slot) * shards / usize::from(SLOTS)
}

/// The slots of a shard, of `shards`: the first one and the one behind the last.
pub fn slots_of(shard: usize, shards: usize) -> (usize, usize) {
    let first = |shard: usize| (shard * usize::from(SLOTS)).div_ceil(shards);
    (first(shard), first(shard + 1))
}

/// CRC-64/REDIS of `bytes` (the trailer of RDB files).
pub fn crc64_redis(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, bytes)
}

/// CRC-64/REDIS of bytes followed by `len` others, from the checksums of both. A snapshot's index
/// joins thousands, at each start and by each shard, so this takes a microsecond: a general way
/// that builds matrices for each took a tenth of a load (`perf/notes.md`).
pub fn crc64_redis_joined(first: u64, next: u64, len: u64) -> u64 {
    // Each bit that follows multiplies by x; the checksum begins and ends without constants, so the
    // rest is a sum.
    let moved = POWERS.iter().enumerate().filter(|(n, _)| len >> n & 1 == 1);
    moved.fold(first, |crc, (_, power)| product(crc, *power)) ^ next
}

/// CRC-64/REDIS' polynomial, as all here with the coefficient of x^0 in the highest bit.
const JONES: u64 = 0x95ac_9329_ac4b_c9b5;

/// x to the power of 8, 16, 32, …: what 1, 2, 4, … bytes that follow multiply by.
const POWERS: [u64; 64] = {
    let mut powers = [1 << (63 - 8); 64];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = product(powers[n - 1], powers[n - 1]);
        n += 1;
    }
    powers
};

/// The product of two polynomials over GF(2), modulo [`JONES`].
const fn product(left: u64, mut right: u64) -> u64 {
    let (mut sum, mut bit) = (0, 64);
    while bit > 0 {
        bit -= 1;
        sum ^= right & (left >> bit & 1).wrapping_neg();
        right = right >> 1 ^ JONES & (right & 1).wrapping_neg();
    }
    sum
}

/// CRC-64/XZ over several pieces: the checksum of log frames.
pub fn crc64_frame(seed: u64, pieces: &[&[u8]]) -> u64 {
    let mut sum = FrameSum::new(seed);
    for piece in pieces {
        sum.add(piece);
    }
    sum.get()
}

/// [`crc64_frame`] of bytes that come in pieces.
#[derive(Clone)]
pub struct FrameSum(crc64fast::Digest);

impl FrameSum {
    /// The checksum of nothing, under a seed.
    pub fn new(seed: u64) -> Self {
        let mut digest = crc64fast::Digest::new();
        digest.write(&seed.to_le_bytes());
        FrameSum(digest)
    }

    /// Adds the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The checksum of what was added.
    pub fn get(&self) -> u64 {
        self.0.sum64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_shards_agree() {
        for shards in 1..=64 {
            for shard in 0..shards {
                let (from, to) = slots_of(shard, shards);
                assert!(from < to);
                assert!((from..to).all(|slot| shard_of_slot(slot as u16, shards) == shard));
            }
            assert_eq!(slots_of(shards - 1, shards).1, usize::from(SLOTS));
        }
    }

    #[test]
    fn steps_are_as_good_as_bits() {
        let bytes: Vec<u8> = (0..200_u32).map(|n| (n * n * 37 + n) as u8).collect();
        for len in 0..bytes.len() {
            let by_bits = bytes[..len].iter().fold(0_u16, |crc, &byte| {
                (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
                    if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 }
                })
            });
            assert_eq!(crc16(&bytes[..len]), by_bits, "{len}");
        }
    }

    #[test]
    fn joined_checksums_are_those_of_the_whole() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|n| (n.wrapping_mul(n) >> 5) as u8).collect();
        for len in (0..300).chain([4_095, 4_096, 65_535, 65_536, 69_999, 70_000]) {
            for first in [0, len.min(1), len / 3, len / 2, len] {
                let (one, two) = bytes[..len].split_at(first);
                let joined =
                    crc64_redis_joined(crc64_redis(one), crc64_redis(two), two.len() as u64);
                assert_eq!(joined, crc64_redis(&bytes[..len]), "{first} of {len}");
            }
        }
        // Lengths that no test writes, against the way that builds matrices.
        for shift in 0..63 {
            let len = 0x9e37_79b9_7f4a_7c15 >> shift;
            let (first, next) = (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
            let algorithm = crc_fast::CrcAlgorithm::Crc64Redis;
            let slow = crc_fast::checksum_combine(algorithm, first, next, len);
            assert_eq!(crc64_redis_joined(first, next, len), slow, "{len}");
        }
    }

    #[test]
    fn known_values() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc64_redis(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
    }
}
