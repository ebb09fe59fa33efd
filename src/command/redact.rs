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

/// Tells which arguments of a request are secrets, or the names that go with one; asked of each,
/// from the first to the last, so that a request of many options is looked through once.
pub struct Secrets<'a> {
    command: &'a Command,
    args: &'a Args<'a>,
    options: &'static [Worded],
    /// Where the next option would stand.
    next: usize,
    /// The option at hand, and whether its words are secret.
    at_hand: (usize, bool),
}

impl<'a> Secrets<'a> {
    /// Of this request.
    pub fn new(command: &'a Command, args: &'a Args<'a>) -> Secrets<'a> {
        let (mut next, options) = options(command).unwrap_or((usize::MAX, &[]));
        if command.name == "hello" && args.is(1, "AUTH") {
            // Somebody has forgotten the version.
            next = 1;
        }
        Secrets { command, args, options, next, at_hand: (0, false) }
    }

    /// Whether argument `at`, which stands behind those asked of before, is one.
    pub fn has(&mut self, at: usize) -> bool {
        match self.command.name {
            "auth" => return at > 0,
            "config|set" => {
                let named = |at: usize| find(&self.args[at]).is_some_and(|(_, row)| row.sensitive);
                return at >= 3 && at % 2 == 1 && named(at - 1);
            }
            _ => {}
        }
        while at >= self.next {
            let option = self.options.iter().find(|option| self.args.is(self.next, option.0));
            (self.at_hand, self.next) = match option {
                Some((_, words, secret)) => ((self.next, *secret), self.next + 1 + words),
                None => ((usize::MAX, false), usize::MAX),
            };
        }
        self.at_hand.1 && at > self.at_hand.0
    }
}

/// Hands the arguments that may be shown to `keep`.
pub fn with_kept<R>(command: &Command, args: &Args<'_>, keep: impl FnOnce(&[&[u8]]) -> R) -> R {
    if !matches!(command.name, "auth" | "config|set") && options(command).is_none() {
        return keep(args.items());
    }
    let mut secrets = Secrets::new(command, args);
    let shown: SmallVec<[&[u8]; 8]> =
        (0..args.len()).map(|at| if secrets.has(at) { REDACTED } else { &args[at] }).collect();
    keep(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::resolve;

    /// A client cannot make this take long: it is looked through once.
    #[test]
    fn many_options_are_looked_through_once() {
        let mut words: Vec<&[u8]> = b"MIGRATE h 1 k 9 50".split(|b| *b == b' ').collect();
        (0..500_000).for_each(|_| words.extend([&b"AUTH"[..], b"secret"]));
        let args = Args::new(&words);
        let hidden = |kept: &[&[u8]]| kept.iter().skip(7).step_by(2).all(|word| *word == REDACTED);
        assert!(with_kept(resolve(&args).unwrap(), &args, hidden));
    }

    #[test]
    fn secrets_are_blotted_out() {
        for (request, shown) in [
            ("AUTH secret", "AUTH (redacted)"),
            ("auth default secret", "auth (redacted) (redacted)"),
            ("HELLO 3 AUTH a b SETNAME c", "HELLO 3 AUTH (redacted) (redacted) SETNAME c"),
            ("HELLO 3 SETNAME c", "HELLO 3 SETNAME c"),
            (
                "HELLO 3 AUTH a b AUTH c d x",
                "HELLO 3 AUTH (redacted) (redacted) AUTH (redacted) (redacted) x",
            ),
            ("HELLO", "HELLO"),
            ("HELLO AUTH a b", "HELLO AUTH (redacted) (redacted)"),
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
