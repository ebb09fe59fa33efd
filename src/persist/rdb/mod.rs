//! RDB files, as Redis and Valkey write them: read into a data set (`decode`), shown piece by
//! piece (`visit`), written ([`encode`]).

mod blocks;
#[cfg(test)]
mod blocks_tests;
mod collections;
pub mod commands;
pub mod decode;
pub mod encode;
pub mod format;
pub mod index;
mod lists;
mod modules;
mod short;
mod sieve;
mod source;
mod streams;
#[cfg(test)]
mod streams_tests;
#[cfg(test)]
pub(crate) mod tests;
mod timed;
pub mod visit;
mod visit_elements;
mod visit_stream;
#[cfg(test)]
mod visit_tests;
mod zset;

pub use blocks::decode_blocks;
pub use decode::{Loaded, Modules, Options, Problem, RdbError, Sink, decode};
pub use visit::{Head, Piece, Usage, Visitor, visit};
