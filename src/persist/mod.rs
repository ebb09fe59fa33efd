//! Bytes that survive: the disk as persistence sees it, log frames, manifest, RDB, recovery.

pub mod aof;
pub mod disk;
pub mod rdb;
pub mod sim;
