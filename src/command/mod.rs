//! What each command means. Commands see keyspaces, arguments and time, never ring, client or disk:
//! serving, replay and transactions run the same code.

pub mod acl;
pub mod args;
pub mod ask;
pub mod backup;
pub mod bitfield;
pub mod bitmap;
pub mod blocking;
pub mod client;
pub mod compare;
pub mod connection;
pub mod context;
pub mod counter;
pub mod debug;
mod digest;
pub mod docs;
pub mod dump;
pub mod elements;
#[cfg(test)]
mod events_tests;
pub mod expire;
pub mod fault;
pub mod geo;
pub mod hash;
pub mod hash_expire;
#[cfg(test)]
mod hash_model;
pub mod hash_timed;
pub mod hyperloglog;
pub mod introspect;
pub mod key;
pub mod keys;
pub mod latency;
pub mod lcs;
pub mod list;
pub mod list_inside;
pub mod lolwut;
pub mod memory;
pub mod migrate;
pub mod monitor;
pub mod names;
pub mod object;
pub mod packed;
pub mod range;
pub mod redact;
pub mod save;
pub mod scan;
pub mod server;
pub mod session;
pub mod set;
pub mod set_algebra;
pub mod slowlog;
pub mod sort;
pub mod sparkline;
pub mod standalone;
pub mod stream;
pub mod stream_claim;
pub mod stream_group;
pub mod stream_info;
pub mod stream_read;
#[cfg(test)]
mod stream_tests;
pub mod string;
pub mod table;
pub mod whole;
pub mod zset;
pub mod zset_algebra;
pub mod zset_pop;
pub mod zset_range;

#[cfg(test)]
mod harness;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod uses_tests;

pub use args::Args;
pub use ask::{Answer, Ask, Asked};
pub use context::{Ctx, Patience, Spaces};
pub use fault::Fault;
pub use packed::OwnedRequest;
pub use session::{Session, SessionCtx};
pub use table::{Command, DataRun, Flags, Keys, Merge, Route, Run};
