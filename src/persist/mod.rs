//! Bytes that survive: the disk as persistence sees it, log frames, manifest, RDB, recovery.

pub mod aof;
pub mod backup;
pub mod disk;
pub mod durable;
mod inspect;
pub mod load;
pub mod payload;
pub mod rdb;
pub mod recovery;
pub mod reload;
pub mod restore;
pub mod rewrite;
pub mod sim;
pub mod snapshot;
pub mod turning;
pub mod volume;

#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod until_tests;
