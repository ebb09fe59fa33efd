//! A key with its value and expiry.

use bytes::Bytes;

/// A value to be stored.
#[derive(Clone, Debug)]
pub enum NewValue<'a> {
    /// A string that is the decimal form of this integer.
    Int(i64),
    /// A string; `raw` marks one that `OBJECT ENCODING` calls `raw` however short it is.
    Str {
        /// Its bytes.
        bytes: &'a [u8],
        /// See [`Entry::is_raw`].
        raw: bool,
    },
    /// A long string whose buffer is taken over.
    Shared {
        /// Its bytes.
        bytes: Bytes,
        /// See [`Entry::is_raw`].
        raw: bool,
    },
}

/// A value as it is stored.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// A string kept as the integer it spells.
    Int(i64),
    /// A string kept in the entry.
    Str(&'a [u8]),
    /// A long string in a buffer of its own.
    Shared(&'a Bytes),
}

/// A key with its value and expiry, owned.
#[derive(Clone, Debug)]
pub struct Entry {
    key: Vec<u8>,
    value: Stored,
    raw: bool,
    expire_ms: Option<i64>,
}

#[derive(Clone, Debug)]
enum Stored {
    Int(i64),
    Str(Vec<u8>),
    Shared(Bytes),
}

impl Entry {
    /// An entry; `expire_ms` is the Unix time in milliseconds at which it ceases to exist.
    pub fn new(key: &[u8], value: NewValue<'_>, expire_ms: Option<i64>) -> Self {
        let (value, raw) = match value {
            NewValue::Int(n) => (Stored::Int(n), false),
            NewValue::Str { bytes, raw } => (Stored::Str(bytes.to_vec()), raw),
            NewValue::Shared { bytes, raw } => (Stored::Shared(bytes), raw),
        };
        Entry { key: key.to_vec(), value, raw, expire_ms }
    }

    /// The key's bytes.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value.
    pub fn value(&self) -> ValueRef<'_> {
        match &self.value {
            Stored::Int(n) => ValueRef::Int(*n),
            Stored::Str(s) => ValueRef::Str(s),
            Stored::Shared(b) => ValueRef::Shared(b),
        }
    }

    /// Whether `OBJECT ENCODING` says `raw` even for a short string (APPEND and SETRANGE made it).
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// Unix time in milliseconds at which the key ceases to exist.
    pub fn expire_ms(&self) -> Option<i64> {
        self.expire_ms
    }

    /// The same value and expiry under another key.
    pub fn rename(mut self, key: &[u8]) -> Self {
        self.key = key.to_vec();
        self
    }

    /// The same entry with another expiry.
    pub fn with_expire(mut self, expire_ms: Option<i64>) -> Self {
        self.expire_ms = expire_ms;
        self
    }
}
