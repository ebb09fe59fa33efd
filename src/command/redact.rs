//! What a request may show of itself to others: secrets among its arguments are blotted out.

use smallvec::SmallVec;

use crate::command::args::Args;
use crate::command::table::Command;
use crate::config::table::find;

/// What stands in the place of a secret.
const REDACTED: &[u8] = b"(redacted)";

/// Whether argument `at` of a request is a secret.
fn is_secret(command: &Command, args: &Args<'_>, at: usize) -> bool {
    let behind = |back: usize| at.checked_sub(back);
    match command.name {
        "auth" => at > 0,
        "hello" => [1, 2].iter().any(|n| behind(*n).is_some_and(|b| b > 1 && args.is(b, "AUTH"))),
        "config|set" => {
            at >= 3 && at % 2 == 1 && find(&args[at - 1]).is_some_and(|(_, row)| row.sensitive)
        }
        _ => false,
    }
}

/// Hands the arguments that may be shown to `keep`.
pub fn with_kept<R>(command: &Command, args: &Args<'_>, keep: impl FnOnce(&[&[u8]]) -> R) -> R {
    if !matches!(command.name, "auth" | "hello" | "config|set") {
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
