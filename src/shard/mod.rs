//! One core, owner of everything above; the only room where rooms meet.
//!
//! Glossary:
//!
//! | word | file | meaning |
//! |---|---|---|
//! | turn | `tick` | one round of the loop: reap, take, execute, push, enter |
//! | entry | `order` | work pushed to several shards under one id |
//! | job | `message` | the part of a batch that one shard executes |
//! | lease | `lease` | keyspaces sent to a coordinator for a while |
//! | cut | `cut` | a whole-keyspace change, between two generations of log files |
//! | mending | `mend` | a log goes on in another file, since a flush of its own has failed |
//! | courier | `courier` | the thread that carries keys to another server |
//! | release point | `log` | log position up to which replies may leave |

pub mod ask;
pub mod backup;
pub mod batch;
pub mod blocking;
#[cfg(test)]
mod bounds_tests;
pub mod clients;
pub mod core;
pub mod cores;
pub mod courier;
pub mod cut;
pub mod ending;
pub mod errand;
pub mod execute;
pub mod face;
pub mod failing;
pub mod gather;
pub mod global;
pub mod habit;
pub mod inbox;
pub mod intake;
pub mod late;
pub mod lease;
pub mod log;
pub mod mend;
#[cfg(test)]
mod mend_tests;
pub mod message;
pub mod meter;
pub mod migrate;
pub mod monitor;
pub mod notify;
pub mod order;
pub mod pace;
pub mod pause;
pub mod pin;
pub mod refill;
pub mod release;
pub mod reload;
pub mod requests;
pub mod reserve;
pub mod rewrite;
pub mod room;
pub mod segment;
pub mod serve;
pub mod snapshot;
pub mod tick;
pub mod transaction;
pub mod turning;
pub mod upkeep;
pub mod wait;

#[cfg(test)]
mod sim;

pub use core::Shard;
pub use global::Global;
pub use order::Order;
