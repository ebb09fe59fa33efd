//! The command line: `ringstone [file] [--directive value…]… [-]`.
//!
//! Options become lines of configuration, read behind the file's: `--port 7000 --save 60 1` is
//! `port 7000` and `save 60 1`. A lone `-` reads more of them from standard input.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::grammar;
use crate::config::table;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Whether standard input is read, too.
    pub stdin: bool,
    /// The options as lines of configuration.
    pub options: Vec<u8>,
}

/// Reads the arguments behind the program's name. An error is one line for the user.
pub fn parse(args: &[OsString]) -> Result<Invocation, String> {
    let mut made = Invocation::default();
    let mut rest = args;
    if let Some((first, tail)) = rest.split_first()
        && !first.as_bytes().starts_with(b"-")
    {
        made.file = Some(PathBuf::from(first));
        rest = tail;
    }
    // Whether the option begun last still waits for its first value.
    let mut waiting = false;
    for arg in rest {
        let bytes = arg.as_bytes();
        if bytes == b"-" {
            made.stdin = true;
            waiting = false;
        } else if let Some(name) = bytes.strip_prefix(b"--").filter(|n| begins(n, waiting)) {
            if !made.options.is_empty() {
                made.options.push(b'\n');
            }
            made.options.extend_from_slice(name);
            waiting = true;
        } else if made.options.is_empty() {
            let arg = arg.to_string_lossy();
            return Err(format!("'{arg}' is no option; options begin with '--'"));
        } else {
            made.options.push(b' ');
            grammar::quote(&mut made.options, bytes);
            waiting = false;
        }
    }
    // `--save` with nothing behind it turns save points off, as with Redis.
    let ends = |word: &[u8]| made.options.rsplit(|b| *b == b'\n').next() == Some(word);
    if waiting && ends(b"save") {
        made.options.extend_from_slice(b" \"\"");
    }
    Ok(made)
}

/// Whether `--name` begins an option: always, unless the one before still lacks its value and this
/// names no directive (a password may begin with dashes).
fn begins(name: &[u8], waiting: bool) -> bool {
    const OTHER: [&[u8]; 4] = [b"include", b"user", b"loadmodule", b"rename-command"];
    !waiting || table::find(name).is_some() || OTHER.contains(&name)
}
