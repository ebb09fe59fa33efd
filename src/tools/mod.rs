//! Library halves of the tools. They use the same readers as the server, and nothing of its loop.

pub mod check_aof;
pub mod check_rdb;
pub mod convert;
mod json;
mod progress;
mod rdb_file;
pub mod restore;
