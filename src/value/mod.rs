//! Data types as plain structures: they know nothing of keys, clients or disk.

pub mod bits;
pub mod hll;
pub mod intset;
pub mod lcs;
pub mod listpack;
