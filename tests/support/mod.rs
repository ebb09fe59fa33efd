//! What all themes share: processes under test, a byte-exact client, the peer, data in view.

pub mod client;
pub mod data;
pub mod peer;
pub mod server;
pub mod value;

pub use client::{Client, encode};
pub use server::{Options, Server};
pub use value::Value;

/// A whole number from the environment, or `default`; anything else there is an error.
pub fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// Bytes as they are shown in failure messages: escaped, long ones cut in the middle.
pub fn show(bytes: &[u8]) -> String {
    const MAX: usize = 400;
    if bytes.len() <= MAX {
        return bytes.escape_ascii().to_string();
    }
    let (head, tail) = (&bytes[..MAX / 2], &bytes[bytes.len() - MAX / 2..]);
    format!("{}…({} bytes)…{}", head.escape_ascii(), bytes.len(), tail.escape_ascii())
}

/// A command as it is shown in failure messages.
pub fn show_command(args: &[Vec<u8>]) -> String {
    let quoted: Vec<String> = args.iter().map(|a| format!("\"{}\"", show(a))).collect();
    quoted.join(" ")
}
