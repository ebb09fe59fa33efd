//! Data types as plain structures: they know nothing of keys, clients or disk.

pub mod account;
pub mod bits;
pub mod cut;
pub mod dict;
pub mod entry;
pub(crate) mod filling;
mod form;
pub mod geo;
pub mod hash;
pub mod hll;
pub mod intset;
pub mod lcs;
pub mod list;
pub mod listpack;
pub mod object;
pub mod recency;
mod segment;
pub mod set;
pub mod shapes;
pub mod stream;
pub(crate) mod table;
pub mod ziplist;
pub mod zset;
