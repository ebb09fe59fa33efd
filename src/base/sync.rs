//! The atomics of the hand-over between shards: the standard library's, or shuttle's when the
//! model checker drives the interleavings (`--features model`).

#[cfg(not(feature = "model"))]
pub use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering, fence},
};

#[cfg(feature = "model")]
pub use shuttle::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering, fence},
};
