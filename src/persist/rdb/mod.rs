//! RDB files, as Redis writes them. This version reads all types but modules' and functions.

mod collections;
pub mod decode;
pub mod encode;
pub mod format;
mod lists;
mod source;
mod streams;
#[cfg(test)]
mod streams_tests;
#[cfg(test)]
pub(crate) mod tests;
mod timed;
mod zset;

pub use decode::{Loaded, Options, Problem, RdbError, Sink, decode};
