//! RDB files, as Redis writes them. This version reads strings, sets, hashes and streams; writing
//! comes with snapshots.

mod collections;
pub mod decode;
pub mod format;
mod source;
mod streams;
#[cfg(test)]
mod streams_tests;
#[cfg(test)]
pub(crate) mod tests;

pub use decode::{Loaded, Options, Problem, RdbError, Sink, decode};
