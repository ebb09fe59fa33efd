//! One shard's data: databases of keys, their expiry, the memory they take, the clients that watch
//! them, the effects that writes leave for the log, and events. Knows nothing of clients, disk or
//! ring.

pub mod cut;
pub mod database;
pub mod effects;
pub mod events;
pub mod expire;
mod fields;
#[cfg(test)]
mod model;
mod rebuild;
mod rebuild_stream;
pub mod snapshot;
#[cfg(test)]
mod snapshot_tests;
pub mod space;
pub mod texts;
pub mod unwritten;
mod uses;
pub mod waiting;
pub mod watch;

pub use crate::value::account::usable;
pub use crate::value::entry::{Entry, Form, NewValue, ValueRef};
pub use crate::value::object::{Object, Type};
pub use crate::value::recency::{Noted, Recency, Usage};
pub use database::{Database, Edit, Found};
pub use effects::Effects;
pub use events::Class;
pub use expire::Expired;
#[cfg(test)]
pub use rebuild::spelled;
pub use rebuild::{log_times, rebuild};
pub use rebuild_stream::claim_words;
pub use space::{Counters, Keyspace};
pub use unwritten::{Looked, Unwritten};
