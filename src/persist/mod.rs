//! Bytes that survive: the disk as persistence sees it, log frames, manifest, RDB, recovery.

pub mod aof;
pub mod disk;
pub mod durable;
pub mod rdb;
pub mod recovery;
pub mod volume;

#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod testing;
pub mod sim;
