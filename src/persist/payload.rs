//! One value as DUMP shows it and RESTORE takes it.
//!
//! ```text
//! payload = type(1) value version(2) checksum(8)
//! ```
//! Both numbers are little-endian; the checksum is that of all bytes before it. Bytes behind the
//! value, in front of the version, mean nothing, as in Redis.

use crate::base::crc::crc64_redis;
use crate::command::dump::{Bounds, Codec, Unreadable};
use crate::persist::rdb::decode::{Options, Problem, decode_value};
use crate::persist::rdb::encode::{Encoder, VERSION_DEFAULT};
use crate::persist::rdb::format::VERSION_MAX;
use crate::value::entry::Entry;

/// Bytes of version and checksum.
const FOOTER: usize = 10;
/// Bytes of the checksum.
const SUM: usize = 8;

/// What commands are given: values are written in `version` where it can hold them.
pub fn codec(version: u32, compress: bool) -> Codec {
    Codec { version, compress, write: dump, read: restore }
}

/// [`codec`] of the version that is written by default.
pub fn default_codec() -> Codec {
    codec(VERSION_DEFAULT, true)
}

/// Appends an entry's value as a payload of `version`, or of the first that can hold it, which is
/// returned.
pub fn dump(entry: &Entry, version: u32, compress: bool, out: &mut Vec<u8>) -> u32 {
    let version = version.max(Encoder::least_version(entry.value()));
    let mut encoder = Encoder::new(version, compress);
    let from = out.len();
    let written = encoder.value(out, entry.value());
    debug_assert!(written.is_ok(), "the version can hold it");
    let version = encoder.version();
    out.extend_from_slice(&(version as u16).to_le_bytes());
    let sum = crc64_redis(&out[from..]);
    out.extend_from_slice(&sum.to_le_bytes());
    version
}

/// Makes an entry of `key` and a payload.
pub fn restore(key: &[u8], payload: &[u8], bounds: &Bounds) -> Result<Entry, Unreadable> {
    let body = check(payload, bounds.checked).ok_or(Unreadable::Footer)?;
    read(key, body, bounds).map_err(|_| Unreadable::Value)
}

/// What stands in front of a footer that is right, or whose version is.
fn check(payload: &[u8], summed_too: bool) -> Option<&[u8]> {
    let (summed, sum) = payload.split_last_chunk::<SUM>()?;
    let (body, version) = summed.split_last_chunk::<{ FOOTER - SUM }>()?;
    let known = u32::from(u16::from_le_bytes(*version)) <= VERSION_MAX;
    // Unlike a file a payload always has one.
    let right = || !summed_too || u64::from_le_bytes(*sum) == crc64_redis(summed);
    (known && right()).then_some(body)
}

fn read(key: &[u8], body: &[u8], bounds: &Bounds) -> Result<Entry, Problem> {
    let options = Options {
        databases: 1,
        drop_expired: None,
        string_max: bounds.string_max,
        shapes: bounds.shapes,
        hash_seed: bounds.hash_seed,
        progress: None,
        modules: Default::default(),
    };
    decode_value(key, body, &options)
}
