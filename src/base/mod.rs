//! What has no policy, does no I/O and knows nothing of Redis' commands.

pub mod clock;
pub mod crash;
pub mod crc;
pub mod double;
pub mod glob;
pub mod hash;
pub mod limits;
pub mod long_double;
pub mod lzf;
pub mod memory;
pub mod number;
pub mod random;
pub mod replication;
pub mod sync;
pub mod version;
