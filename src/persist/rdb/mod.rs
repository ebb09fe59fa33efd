//! RDB files, as Redis writes them. This version reads strings; writing comes with snapshots.

pub mod decode;
pub mod format;
mod source;
#[cfg(test)]
pub(crate) mod tests;

pub use decode::{Loaded, Options, Problem, RdbError, Sink, decode};
