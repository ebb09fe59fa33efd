//! RDB files, as Redis writes them. This version reads all types but modules' and functions; writing
//! comes with snapshots.

mod collections;
pub mod decode;
pub mod format;
mod lists;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod zset;

pub use decode::{Loaded, Options, Problem, RdbError, Sink, decode};
