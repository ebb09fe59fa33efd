//! Data types as plain structures: they know nothing of keys, clients or disk.

pub mod lcs;
