//! The append-only log: one file per shard and generation.
