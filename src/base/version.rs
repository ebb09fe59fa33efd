//! Versions, as the server names them.

/// The version of Redis whose commands, replies and directives we keep.
pub const REDIS: &str = "7.2.5";
/// Our own.
pub const RINGSTONE: &str = env!("CARGO_PKG_VERSION");
