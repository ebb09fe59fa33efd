//! Up to which size a collection is kept as one piece.

use crate::value::list::Limits;
use crate::value::stream::NodeMax;

/// The bounds, as the directives of the same names set them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shapes {
    /// Longest sparse HyperLogLog, in bytes (`hll-sparse-max-bytes`).
    pub hll_sparse_bytes: u64,
    /// Most fields of a packed hash (`hash-max-listpack-entries`).
    pub hash_entries: usize,
    /// Longest field or value in one, in bytes (`hash-max-listpack-value`).
    pub hash_value: usize,
    /// How large nodes of lists are (`list-max-listpack-size`, `list-compress-depth`).
    pub list: Limits,
    /// Most members of a set of integers (`set-max-intset-entries`).
    pub set_intset: usize,
    /// Most members of a packed set (`set-max-listpack-entries`).
    pub set_entries: usize,
    /// Longest member of one, in bytes (`set-max-listpack-value`).
    pub set_value: usize,
    /// Up to which size a stream's nodes are filled (`stream-node-max-bytes` and `-entries`).
    pub stream_node: NodeMax,
    /// Most members of a packed sorted set (`zset-max-listpack-entries`).
    pub zset_entries: usize,
    /// Longest member of one, in bytes (`zset-max-listpack-value`).
    pub zset_value: usize,
}

impl Shapes {
    /// As Redis' directives are by default.
    pub const DEFAULT: Shapes = Shapes {
        hll_sparse_bytes: 3000,
        hash_entries: 512,
        hash_value: 64,
        list: Limits::DEFAULT,
        set_intset: 512,
        set_entries: 128,
        set_value: 64,
        stream_node: NodeMax::DEFAULT,
        zset_entries: 128,
        zset_value: 64,
    };
}

impl Default for Shapes {
    fn default() -> Self {
        Shapes::DEFAULT
    }
}

/// Most bytes of a packed hash, set or sorted set, whatever the directives allow: each change moves
/// what is behind it.
pub const PACKED_MAX: usize = 1 << 20;
