//! The append-only log: one file per shard and generation.

pub mod format;
pub mod manifest;
