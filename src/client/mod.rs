//! A connection: its input, its ordered output. Knows the protocol and the session, not the data.

pub mod connection;
pub mod input;
pub mod output;

pub use connection::Conn;
pub use input::Input;
pub use output::{Merged, Output, Remote, Slot};

/// Names a connection of one shard: a slab index, and which of its tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnKey {
    /// Slab index.
    pub index: u32,
    /// Tenant of the index.
    pub generation: u32,
}
