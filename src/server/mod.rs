//! Start and stop: command line, topology, listeners, loading, signals.

mod again;
pub mod boot;
mod check;
mod doorman;
mod fatal;
mod listen;
mod probe;
mod report;
mod shards;
mod stop;
mod supervise;
mod termination;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::base::version;
use crate::command::names;
use crate::config::args;
use crate::config::files::Files;
use crate::config::load::{Sources, load};

const HELP: &str = "\
Usage: ringstone [/path/to/redis.conf] [options] [-]
       ringstone - (read config from stdin)
       ringstone check-aof [--fix] [--truncate-to-timestamp T] <manifest|directory|file>
       ringstone check-rdb [--json] [--top N] <file>
       ringstone restore --to TIME|POSITION [--dry-run] <directory> <new directory>
       ringstone convert [options] <file> <file|->
       ringstone -v or --version
       ringstone -h or --help
       ringstone --check-system

Every directive of a redis.conf is an option; file, stdin and options are read in this order.

Examples:
       ringstone (run the server with default conf)
       echo 'maxmemory 128mb' | ringstone -
       ringstone /etc/redis/6379.conf
       ringstone --port 7777
       ringstone --port 7777 --appendfsync always --shards 2
       ringstone /etc/myredis.conf --loglevel verbose -
";

/// Runs what the command line asks for and returns the process's exit code.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let args = again::wait_first(args);
    match args.first().and_then(|a| a.to_str()) {
        Some("-v" | "--version") => {
            println!(
                "Redis server v={} sha=00000000:0 malloc=mimalloc bits={} ringstone={}",
                version::REDIS,
                usize::BITS,
                version::RINGSTONE
            );
            return ExitCode::SUCCESS;
        }
        Some("-h" | "--help") => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some("--check-system") => return check::main(),
        Some("check-aof") => return crate::tools::check_aof::main(args[1..].to_vec()),
        Some("check-rdb") => return crate::tools::check_rdb::main(&args[1..]),
        Some("restore") => return crate::tools::restore::main(&args[1..]),
        Some("convert") => return crate::tools::convert::main(args[1..].to_vec()),
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
    let mut sources = Recorder::default();
    match load(&invocation, &cwd, &mut sources, &names::is_known) {
        Ok(loaded) if supervise::wants_background(&loaded.config) => {
            supervise::start_in_background(&args, sources.stdin.as_deref())
        }
        Ok(loaded) => boot::run(loaded),
        Err(error) => refuse(&error.to_string()),
    }
}

/// Real files; what came from standard input is kept, since it can be read only once.
#[derive(Default)]
struct Recorder {
    files: Files,
    stdin: Option<Vec<u8>>,
}

impl Sources for Recorder {
    fn read(&mut self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.files.read(path, limit)
    }

    fn read_stdin(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let text = self.files.read_stdin(limit)?;
        self.stdin = Some(text.clone());
        Ok(text)
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.files.list(dir)
    }

    fn enter(&mut self, dir: &Path) -> io::Result<()> {
        self.files.enter(dir)
    }
}

fn refuse(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::FAILURE
}
