//! Every limit with the arithmetic that gave it.

/// Cluster slots: the unit in which the keyspace is cut among shards (Redis Cluster's number).
pub const SLOTS: u16 = 16_384;
/// Most shards of one process: marks name their participants in one 64-bit set.
pub const SHARDS_MAX: usize = 64;
/// Longest value kept inside its entry's allocation, in bytes; longer ones are shared buffers.
pub const INLINE_VALUE_MAX: usize = 1024;
/// An entry that counts for more bytes is freed in the background: up to here a free costs about a
/// microsecond, above it the allocator may give pages back to the system.
pub const LARGE_ENTRY: usize = 64 * 1024;
/// Longest string that `OBJECT ENCODING` calls `embstr`, in bytes (Redis' constant).
pub const EMBSTR_MAX: usize = 44;
/// Longest `#` line stock Redis accepts in an append-only file, newline included, in bytes.
pub const ANNOTATION_MAX: usize = 1023;
