//! RDB files, as Redis writes them.
