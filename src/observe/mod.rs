//! What can be seen of a running server: counters, INFO, the server's log.
//!
//! 1. A counter is written by one shard alone, with plain loads and stores, and read by anyone: no
//!    lock and no read-modify-write on the hot path.
//! 2. INFO is a function of a [`info::Snapshot`]: it asks neither clock nor kernel itself.
//! 3. Nothing here reads back into the rooms that write to it.

pub mod crash;
pub mod events;
pub mod info;
pub mod latency;
pub mod log;
pub mod metrics;
pub mod process;
pub mod progress;
pub mod registry;
pub mod rewrites;
pub mod saves;
pub mod slowlog;

pub use metrics::ShardStats;
pub use registry::Registry;
