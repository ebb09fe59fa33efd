//! The one binary: server by default, subcommands for the tools.

/// mimalloc, because a shard is one thread and its per-thread heaps need no lock; v2, because the
/// bundled v3 is reported to crash under threads (see `docs/DEPENDENCIES.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    ringstone::server::main(std::env::args_os().skip(1).collect())
}
