//! The lines that MONITOR shows.
//!
//! ```text
//! +1700000000.123456 [0 127.0.0.1:50000] "set" "key" "a\x00b"
//! ```

use std::io::Write;

use crate::base::clock::Now;
use crate::command::args::Args;
use crate::command::redact::{REDACTED, Secrets};
use crate::command::session::Place;
use crate::command::table::{Command, Flags};

/// Longest part of an argument that is shown, in bytes, and how long a line may be before what
/// remains is only counted: a client must not be able to fill the memory of those who listen.
const ARGUMENT_MAX: usize = 1 << 20;
const LINE_MAX: usize = 4 << 20;

/// Whether a command is shown.
pub fn is_shown(command: &Command) -> bool {
    !command.flags.has(Flags::ADMIN) && !command.flags.has(Flags::SKIP_MONITOR)
}

/// Appends the line of a command.
pub fn write_line(
    out: &mut Vec<u8>,
    now: Now,
    db: usize,
    place: Option<&Place>,
    command: &Command,
    args: &Args<'_>,
) {
    let (seconds, micros) = (now.unix_us.div_euclid(1_000_000), now.unix_us.rem_euclid(1_000_000));
    let (kind, addr) = match place {
        Some(place) if place.unix => {
            ("unix:", place.local.strip_suffix(":0").unwrap_or(&place.local))
        }
        Some(place) => ("", place.addr.as_str()),
        None => ("", ""),
    };
    // Writing to memory does not fail.
    let _ = write!(out, "+{seconds}.{micros:06} [{db} {kind}{addr}]");
    let start = out.len();
    let mut secrets = Secrets::new(command, args);
    for (at, arg) in args.items().iter().enumerate() {
        if out.len() - start > LINE_MAX {
            let _ = write!(out, " \"... ({} more arguments)\"", args.len() - at);
            break;
        }
        out.push(b' ');
        quote(out, if secrets.has(at) { REDACTED } else { arg });
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends `text` in quotes, with what is not printable escaped.
fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let shown = &text[..text.len().min(ARGUMENT_MAX)];
    for &byte in shown {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    if shown.len() < text.len() {
        let _ = write!(out, "... ({} more bytes)", text.len() - shown.len());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    fn line(words: &[&[u8]], place: Option<&Place>) -> String {
        let mut out = Vec::new();
        let now = Now { unix_us: 1_700_000_000_000_123, mono_us: 0 };
        let command = table::find(words[0]).unwrap();
        write_line(&mut out, now, 3, place, command, &Args::new(words));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines() {
        let tcp = Place { addr: "127.0.0.1:5".into(), ..Place::default() };
        assert_eq!(
            line(&[b"SeT", b"k\"\\", b"\0\x7f\n\r\t\x07\x08 \xff"], Some(&tcp)),
            "+1700000000.000123 [3 127.0.0.1:5] \"SeT\" \"k\\\"\\\\\" \
             \"\\x00\\x7f\\n\\r\\t\\a\\b \\xff\"\r\n"
        );
        let unix = Place { local: "/a b:0".into(), unix: true, ..Place::default() };
        assert!(line(&[b"ping"], Some(&unix)).contains(" [3 unix:/a b] \"ping\"\r\n"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = |words: &[&[u8]]| {
            let line = line(words, None);
            line[line.find(']').unwrap() + 2..].trim_end().to_owned()
        };
        assert_eq!(shown(&[b"AUTH", b"secret"]), "\"AUTH\" \"(redacted)\"");
        assert_eq!(shown(&[b"AUTH", b"me", b"x"]), "\"AUTH\" \"(redacted)\" \"(redacted)\"");
        assert_eq!(
            shown(&[b"HELLO", b"3", b"SETNAME", b"auth", b"Auth", b"me", b"x"]),
            "\"HELLO\" \"3\" \"SETNAME\" \"auth\" \"Auth\" \"(redacted)\" \"(redacted)\""
        );
        assert!(!is_shown(table::find(b"config").unwrap().subcommands.first().unwrap()));
        assert!(is_shown(table::find(b"get").unwrap()));
    }
}
