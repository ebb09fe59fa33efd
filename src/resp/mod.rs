//! Bytes to requests and replies to bytes: RESP2, RESP3 and inline commands. Pure: no I/O.

pub mod inline;
pub mod peek;
pub mod reply;
pub mod request;

pub use reply::{Checkpoint, Reply};
pub use request::{Limits, ProtocolError, RequestParser, Status};
