//! What a request may show of itself to others: secrets among its arguments are blotted out.

use smallvec::SmallVec;

use crate::command::args::Args;
use crate::command::table::Command;
use crate::config::table::find;

/// What stands in the place of a secret.
pub const REDACTED: &[u8] = b"(redacted)";

/// An option of a command: its name, how many words follow it, and whether they are secret.
type Worded = (&'static str, usize, bool);

/// From which argument on a command's options stand, and which there are up to the last secret.
fn options(command: &Command) -> Option<(usize, &'static [Worded])> {
    match command.name {
        "hello" => Some((2, &[("AUTH", 2, true), ("SETNAME", 1, false)])),
        "migrate" => Some((
            6,
            &[("COPY", 0, false), ("REPLACE", 0, false), ("AUTH", 1, true), ("AUTH2", 2, true)],
        )),
        _ => None,
    }
}

/// Whether argument `at` of a request is a secret, or the name that goes with one.
pub fn is_secret(command: &Command, args: &Args<'_>, at: usize) -> bool {
    match command.name {
        "auth" => return at > 0,
        "config|set" => {
            let named = |at: usize| find(&args[at]).is_some_and(|(_, row)| row.sensitive);
            return at >= 3 && at % 2 == 1 && named(at - 1);
        }
        _ => {}
    }
    let Some((mut word, options)) = options(command) else { return false };
    while word < at {
        let option = options.iter().find(|option| args.is(word, option.0));
        let Some((_, words, secret)) = option else { return false };
        if at <= word + words {
            return *secret;
        }
        word += 1 + words;
    }
    false
}

/// Hands the arguments that may be shown to `keep`.
pub fn with_kept<R>(command: &Command, args: &Args<'_>, keep: impl FnOnce(&[&[u8]]) -> R) -> R {
    if !matches!(command.name, "auth" | "config|set") && options(command).is_none() {
        return keep(args.items());
    }
    let shown: SmallVec<[&[u8]; 8]> = (0..args.len())
        .map(|at| if is_secret(command, args, at) { REDACTED } else { &args[at] })
        .collect();
    keep(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::resolve;

    #[test]
    fn secrets_are_blotted_out() {
        for (request, shown) in [
            ("AUTH secret", "AUTH (redacted)"),
            ("auth default secret", "auth (redacted) (redacted)"),
            ("HELLO 3 AUTH a b SETNAME c", "HELLO 3 AUTH (redacted) (redacted) SETNAME c"),
            ("HELLO 3 SETNAME c", "HELLO 3 SETNAME c"),
            ("HELLO 3 SETNAME auth Auth a", "HELLO 3 SETNAME auth Auth (redacted)"),
            ("MIGRATE h 1 k 9 50 AUTH user", "MIGRATE h 1 k 9 50 AUTH (redacted)"),
            (
                "migrate h 1 auth 0 50 copy replace auth2 a b keys auth c",
                "migrate h 1 auth 0 50 copy replace auth2 (redacted) (redacted) keys auth c",
            ),
            (
                "CONFIG SET timeout 1 RequirePass x port 2",
                "CONFIG SET timeout 1 RequirePass (redacted) port 2",
            ),
            ("SET auth x", "SET auth x"),
        ] {
            let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            let args = Args::new(&words);
            let kept = with_kept(resolve(&args).unwrap(), &args, |kept| kept.join(&b' '));
            assert_eq!(String::from_utf8(kept).unwrap(), shown);
        }
    }
}
