//! Start and stop: command line, topology, listeners, loading, signals.

pub mod boot;
mod listen;
mod shards;
mod stop;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::base::version;
use crate::config::args;
use crate::config::files::Files;
use crate::config::load::load;

const HELP: &str = "\
Usage: ringstone [/path/to/redis.conf] [--directive value]... [-]
       ringstone check-aof [--fix] <manifest|directory|file>
       ringstone --version | --help

A lone - reads further configuration from standard input.
";

/// Runs what the command line asks for and returns the process's exit code.
pub fn main(args: Vec<OsString>) -> ExitCode {
    match args.first().and_then(|a| a.to_str()) {
        Some("-v" | "--version") => {
            println!("Redis server v={} ringstone={}", version::REDIS, version::RINGSTONE);
            return ExitCode::SUCCESS;
        }
        Some("-h" | "--help") => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some("check-aof") => return crate::tools::check_aof::main(args[1..].to_vec()),
        _ => {}
    }
    let invocation = match args::parse(&args) {
        Ok(invocation) => invocation,
        Err(error) => return refuse(&error),
    };
    let cwd = match std::env::current_dir() {
        Ok(cwd) => cwd,
        Err(error) => return refuse(&format!("the current directory is not readable: {error}")),
    };
    match load(&invocation, &cwd, &mut Files) {
        Ok(loaded) => boot::run(loaded),
        Err(error) => refuse(&error.to_string()),
    }
}

fn refuse(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::FAILURE
}
