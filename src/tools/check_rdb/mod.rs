//! `ringstone check-rdb [--json] [--top N] FILE`: reads an RDB file from front to back, checks all
//! that loading would check (checksum, every packed value, nothing twice), and says what is in it.
//! Data of modules and libraries of functions are counted, not looked into. Memory does not grow
//! with the file (see `persist::rdb::visit`).
//!
//! Both forms of redis-check-rdb are there: with a file, and `-v`, which says the version.
//!
//! Exit status: 0 when the file is good, 1 when it is not or cannot be read, 2 when the command
//! line is wrong.

mod page;
mod stats;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::base::clock::SystemClock;
use crate::base::version;
use crate::persist::rdb::Modules;
use crate::tools::rdb_file::RdbFile;
use stats::Stats;

/// How the tool is called.
pub const USAGE: &str = "\
Usage: ringstone check-rdb [options] FILE
       ringstone check-rdb -v

Options:
       --json     what was found as one JSON object, instead of tables
       --top N    how many of the biggest keys are shown (10)
";

/// Biggest keys shown, unless the command line says otherwise.
const TOP: usize = 10;
/// Most that can be asked for.
const TOP_MAX: usize = 10_000;

/// The command line, read.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    Check { file: PathBuf, json: bool, top: usize },
    Version,
    Help,
}

/// Runs the tool; `args` are those behind `check-rdb`.
pub fn main(args: &[OsString]) -> ExitCode {
    let mut out = io::stdout().lock();
    let done = match parse(args) {
        Ok(Call::Check { file, json, top }) => check(&file, json, top, &mut out),
        Ok(Call::Version) => {
            let text =
                format!("redis-check-rdb {} (ringstone {})", version::REDIS, version::RINGSTONE);
            writeln!(out, "{text}").map(|()| true)
        }
        Ok(Call::Help) => out.write_all(USAGE.as_bytes()).map(|()| true),
        Err(why) => {
            eprint!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[OsString]) -> Result<Call, String> {
    let (mut json, mut top, mut file) = (false, TOP, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-v" | "--version") => return Ok(Call::Version),
            Some("-h" | "--help") => return Ok(Call::Help),
            Some("--json") => json = true,
            Some("--top") => {
                let number = args.next().and_then(|n| n.to_str()?.parse().ok());
                let number = number.filter(|&n| n <= TOP_MAX);
                top = number.ok_or_else(|| format!("--top wants a number up to {TOP_MAX}"))?;
            }
            Some(option) if option.starts_with("--") => return Err(format!("{option}: unknown")),
            _ if file.is_none() => file = Some(PathBuf::from(arg)),
            _ => return Err("one FILE is wanted".to_owned()),
        }
    }
    let file = file.ok_or_else(|| "FILE is wanted".to_owned())?;
    Ok(Call::Check { file, json, top })
}

/// Checks a file; true when it is good.
fn check(path: &std::path::Path, json: bool, top: usize, out: &mut dyn Write) -> io::Result<bool> {
    let file = RdbFile::open(path)?;
    if !json {
        writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
        out.flush()?;
    }
    let mut stats = Stats::new(SystemClock::default().now().unix_ms(), top);
    let result = file.visit(Modules::Skip, &mut stats);
    let found = page::Found { path, len: file.len, result: &result, stats: &stats };
    if json {
        found.json(out)?
    } else {
        found.tables(out)?
    }
    out.flush()?;
    Ok(result.is_ok())
}

#[cfg(test)]
mod tests;
