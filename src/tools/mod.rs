//! Library halves of the subcommands.
