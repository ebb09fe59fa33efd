//! The append-only log: one file per shard and generation.

pub mod cut;
pub mod dropped;
pub mod ends;
pub mod filler;
pub mod format;
pub mod manifest;
pub mod reader;
pub mod repair;
pub mod resp;
pub mod run;
pub mod scan;
pub mod stream;
pub mod tail;
pub mod whole;
mod words;
