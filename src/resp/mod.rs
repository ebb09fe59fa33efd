//! Bytes to requests and replies to bytes: RESP2, RESP3 and inline commands. Pure: no I/O.

pub mod reply;

pub use reply::Reply;
