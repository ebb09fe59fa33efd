//! Administration: what operators ask a running server, and what it tells them.

mod debug;
mod loadaof;
mod observe;
mod peer;
mod turning;
mod wait;
