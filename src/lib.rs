//! Ringstone: a durable, Redis-compatible in-memory store on io_uring.
//!
//! The rooms, in the order in which they may know each other (a room uses only rooms above it;
//! `tests/tidy.rs` reads the source to keep it so):
//!
//! | room | what it holds |
//! |---|---|
//! | [`base`] | numbers, globs, checksums, clock, randomness, limits: no policy, no I/O |
//! | [`resp`] | bytes to requests, replies to bytes (RESP2, RESP3, inline) |
//! | [`value`] | the data types as plain structures |
//! | [`keyspace`] | one shard's data: table, expiry, memory, watched keys, effects |
//! | [`config`] | the one table of directives, the `redis.conf` grammar |
//! | [`observe`] | the one table of metrics, counters, the log line |
//! | [`command`] | the one table of commands and what each of them means |
//! | [`persist`] | disk trait, log frames, manifest, RDB, recovery |
//! | [`ring`] | the kernel door: io_uring, descriptors, in-flight memory |
//! | [`client`] | a connection: its input, its ordered output |
//! | [`shard`] | one core, owner of everything above; the loop and the order |
//! | [`tools`] | library halves of `check-aof` and its like |
//! | [`server`] | start and stop: topology, listeners, signals |
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod base;
pub mod client;
pub mod command;
pub mod config;
pub mod keyspace;
pub mod observe;
pub mod persist;
pub mod resp;
pub mod ring;
pub mod server;
pub mod shard;
pub mod tools;
pub mod value;
