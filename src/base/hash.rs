//! SHA-1, SHA-256 and XXH3 for digests that other programs compute as well: never for anything that
//! must withstand an attack on SHA-1 or XXH3.

use sha1::Digest;

/// SHA-1 of `message`.
pub fn sha1(message: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(message).into()
}

/// SHA-256 of `message`.
pub fn sha256(message: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(message).into()
}

/// XXH3 of `message`, 64 bits, as 16 lower-case hex digits.
pub fn xxh3(message: &[u8]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(message))
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        for (message, one, other) in [
            (
                "",
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                "abc",
                "a9993e364706816aba3e25717850c26c9cd0d89d",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ] {
            let message = message.as_bytes();
            assert_eq!((hex(&sha1(message)), hex(&sha256(message))), (one.into(), other.into()));
        }
        assert_eq!(xxh3(b""), "2d06800538d394c2");
    }
}
