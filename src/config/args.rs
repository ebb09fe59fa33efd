//! The command line: `ringstone [file] [--directive value…]… [-]`.
//!
//! Options become lines of configuration, read behind the file's: `--port 7000 --save 60 1` is
//! `port 7000` and `save 60 1`. A lone `-`, first or last, reads more of them from standard input.
//!
//! | form | meaning |
//! |---|---|
//! | `--name value …` | the first word behind a name is its value, whatever it looks like |
//! | `"--name value"` | name and value in one argument |
//! | `--save` last, or with an option behind it | `save ""` |

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::grammar;

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
    let mut from = 0;
    if let Some(first) = args.first()
        && !first.as_bytes().starts_with(b"-")
    {
        made.file = Some(PathBuf::from(first));
        from = 1;
    }
    // Whether the option begun last still waits for its first value.
    let mut waiting = false;
    for (at, arg) in args.iter().enumerate().skip(from) {
        let bytes = arg.as_bytes();
        let last = at == args.len() - 1;
        if bytes == b"-" && (at == 0 || last) {
            made.stdin = true;
        } else if let Some(name) = bytes.strip_prefix(b"--").filter(|_| !waiting) {
            if name.eq_ignore_ascii_case(b"sentinel") {
                return Err("Ringstone has no sentinel mode".to_owned());
            }
            if !made.options.is_empty() {
                made.options.push(b'\n');
            }
            made.options.extend_from_slice(name);
            let next = args.get(at + 1).map(|next| next.as_bytes());
            let alone = grammar::split(name).is_some_and(|words| words.len() == 1);
            let is_save = alone && name.trim_ascii().eq_ignore_ascii_case(b"save");
            waiting = alone && !last;
            if is_save && next.is_none_or(|next| next.starts_with(b"--")) {
                made.options.extend_from_slice(b" \"\"");
                waiting = false;
            }
        } else {
            if !made.options.is_empty() {
                made.options.push(b' ');
            }
            grammar::quote_always(&mut made.options, bytes);
            waiting = false;
        }
    }
    Ok(made)
}
