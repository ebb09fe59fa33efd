//! The ordering argument of `ringstone::shard`, checked by driving its real inbox, order and log
//! writer through many schedules (shuttle: uniformly random ones and PCT's, which preempt seldom
//! but at the worst places).
//!
//! What needs a ring, a client or a keyspace is replaced by the smallest model that keeps its
//! steps; each names the function it mirrors. Every model takes the faults it can be given, and a
//! test shows for each that the check sees it: a model that cannot fail proves nothing.
//!
//! ```text
//! cargo test --features model --test model                          some seconds
//! MODEL_ITERATIONS=200000 cargo test --release --features model --test model
//! ```
//!
//! `MODEL_ITERATIONS`: schedules per check and scheduler. `MODEL_SEED`: where they begin; a failure
//! prints its schedule and, under its own seed, comes again. Shuttle runs one thread at a time, so
//! every atomic is sequentially consistent here: that weaker orderings suffice where they are used
//! is argued at their place, not checked.

mod claim;
mod history;
mod inbox;
mod linear;
mod settle;
mod shard;
mod stop;
mod support;
