//! One shard's data: databases of keys, their expiry, the memory they take, the clients that watch
//! them, and the effects that writes leave for the log. Knows nothing of clients, disk or ring.

mod account;
pub mod database;
pub mod effects;
pub mod entry;
pub mod expire;
#[cfg(test)]
mod model;
mod segment;
pub mod space;
mod table;
pub mod watch;

pub use account::usable;
pub use database::{Database, Found};
pub use effects::Effects;
pub use entry::{Entry, NewValue, ValueRef};
pub use expire::Expired;
pub use space::{Counters, Keyspace};
