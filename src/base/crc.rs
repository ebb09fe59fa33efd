//! Checksums: CRC-16/XMODEM for cluster slots, CRC-64/REDIS for RDB, CRC-64/XZ for log frames.

use crate::base::limits::SLOTS;

const fn crc16_table() -> [u16; 256] {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

static CRC16: [u16; 256] = crc16_table();

/// CRC-16/XMODEM, the checksum of Redis Cluster's key slots.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &b| (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ b)])
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
    usize::from(slot(key)) * shards / usize::from(SLOTS)
}

/// CRC-64/REDIS of `bytes` (the trailer of RDB files).
pub fn crc64_redis(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, bytes)
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
    fn known_values() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc64_redis(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
    }
}
