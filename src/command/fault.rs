//! The error a command answers with.

use std::borrow::Cow;

/// An error reply: code and text, without the leading `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub Cow<'static, [u8]>);

impl Fault {
    /// An error with a fixed text.
    pub const fn new(text: &'static str) -> Self {
        Fault(Cow::Borrowed(text.as_bytes()))
    }

    /// An error with a text made for the occasion.
    pub fn text(text: String) -> Self {
        Fault(Cow::Owned(text.into_bytes()))
    }
}

/// `WRONGTYPE …`
pub const WRONG_TYPE: Fault =
    Fault::new("WRONGTYPE Operation against a key holding the wrong kind of value");
/// `ERR syntax error`
pub const SYNTAX: Fault = Fault::new("ERR syntax error");
/// `ERR value is not an integer or out of range`
pub const NOT_AN_INTEGER: Fault = Fault::new("ERR value is not an integer or out of range");
/// `ERR bit offset is not an integer or out of range`
pub const BAD_BIT_OFFSET: Fault = Fault::new("ERR bit offset is not an integer or out of range");
/// `ERR no such key`
pub const NO_SUCH_KEY: Fault = Fault::new("ERR no such key");
