//! What COMMAND DOCS tells: texts beside this file, one for each group of commands.
//!
//! # The format
//!
//! A line that begins with a letter names a command (`config|get` is a subcommand); the lines below
//! it, each with a space in front, tell of it:
//!
//! ```text
//! set
//!  summary Set the string value of a key
//!  complexity O(1)
//!  deprecated 6.2.0 `SET` with the `GET` argument
//!  history 2.6.12 Added the `EX`, `PX`, `NX` and `XX` options.
//!  flag syscmd
//!  - key key @0
//!  - condition oneof optional since=2.6.12
//!  -- nx pure-token token=NX
//! ```
//!
//! `deprecated` has the version and what replaces it, `history` a version and a remark. A `-` line
//! is an argument: its name, its type, then in any order `@n` (it is among the keys of key
//! specification n), `token=`, `since=`, `until=` (deprecated in that version), `shown=` (the name
//! that people are shown, if it is another), and flags. Arguments of a `oneof` or `block` stand
//! below it with one `-` more. `~` stands for a space inside a longer token. The first version and
//! the group of a command stand in its row of the table.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::command::table::Command;
use crate::resp::Reply;

/// The texts.
static TEXTS: &[&str] = &[
    include_str!("bitmap.txt"),
    include_str!("cluster.txt"),
    include_str!("connection.txt"),
    include_str!("generic.txt"),
    include_str!("geo.txt"),
    include_str!("hash.txt"),
    include_str!("hyperloglog.txt"),
    include_str!("list.txt"),
    include_str!("server.txt"),
    include_str!("set.txt"),
    include_str!("sorted-set.txt"),
    include_str!("stream.txt"),
    include_str!("string.txt"),
    include_str!("transactions.txt"),
];

/// What is told of one command.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Doc {
    summary: &'static str,
    complexity: Option<&'static str>,
    /// The version it is deprecated since, and what replaces it.
    deprecated: Option<(&'static str, &'static str)>,
    flags: Vec<&'static str>,
    /// (version, remark)
    history: Vec<(&'static str, &'static str)>,
    arguments: Vec<Argument>,
}

/// One argument.
#[derive(Debug, Default, PartialEq, Eq)]
struct Argument {
    name: &'static str,
    kind: &'static str,
    shown: Option<&'static str>,
    key_spec: Option<i64>,
    token: Option<String>,
    since: Option<&'static str>,
    until: Option<&'static str>,
    flags: Vec<&'static str>,
    parts: Vec<Argument>,
}

static DOCS: LazyLock<HashMap<&'static str, Doc>> = LazyLock::new(|| {
    let mut docs = HashMap::new();
    for text in TEXTS {
        read(text, &mut docs).expect("the texts beside this file are read by a test");
    }
    docs
});

/// What is told of the command or subcommand `name`.
pub fn find(name: &str) -> Option<&'static Doc> {
    DOCS.get(name)
}

/// Reads a text; the error is the line that is not understood.
fn read(text: &'static str, docs: &mut HashMap<&'static str, Doc>) -> Result<(), &'static str> {
    let mut current: Option<(&'static str, Doc)> = None;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if !line.starts_with(' ') {
            if let Some((name, doc)) = current.replace((line, Doc::default())) {
                docs.insert(name, doc);
            }
            continue;
        }
        let (_, doc) = current.as_mut().ok_or(line)?;
        let (word, rest) = line[1..].split_once(' ').ok_or(line)?;
        let versioned = || rest.split_once(' ').ok_or(line);
        match word {
            "summary" => doc.summary = rest,
            "complexity" => doc.complexity = Some(rest),
            "deprecated" => doc.deprecated = Some(versioned()?),
            "history" => doc.history.push(versioned()?),
            "flag" => doc.flags.push(rest),
            dashes if dashes.bytes().all(|b| b == b'-') => {
                let argument = Argument::read(rest).ok_or(line)?;
                let mut place = &mut doc.arguments;
                for _ in 1..dashes.len() {
                    place = &mut place.last_mut().ok_or(line)?.parts;
                }
                place.push(argument);
            }
            _ => return Err(line),
        }
    }
    docs.extend(current);
    Ok(())
}

impl Argument {
    fn read(line: &'static str) -> Option<Argument> {
        let mut words = line.split(' ');
        let mut argument =
            Argument { name: words.next()?, kind: words.next()?, ..Argument::default() };
        for word in words {
            match word.split_once('=') {
                Some(("token", "~")) => argument.token = Some("~".to_owned()),
                Some(("token", token)) => argument.token = Some(token.replace('~', " ")),
                Some(("since", version)) => argument.since = Some(version),
                Some(("until", version)) => argument.until = Some(version),
                Some(("shown", name)) => argument.shown = Some(name),
                Some(_) => return None,
                None => match word.strip_prefix('@') {
                    Some(spec) => argument.key_spec = Some(spec.parse().ok()?),
                    None => argument.flags.push(word),
                },
            }
        }
        Some(argument)
    }

    /// Whether it consists of others.
    fn is_made_of_others(&self) -> bool {
        matches!(self.kind, "oneof" | "block")
    }

    fn describe(&self, out: &mut Reply) {
        let composed = self.is_made_of_others();
        let fields = 3
            + usize::from(self.key_spec.is_some())
            + usize::from(self.token.is_some())
            + usize::from(self.since.is_some())
            + usize::from(self.until.is_some())
            + usize::from(!self.flags.is_empty());
        out.map(fields);
        pair(out, "name", self.name);
        pair(out, "type", self.kind);
        if !composed {
            pair(out, "display_text", self.shown.unwrap_or(self.name));
        }
        if let Some(spec) = self.key_spec {
            out.bulk(b"key_spec_index");
            out.int(spec);
        }
        if let Some(token) = &self.token {
            pair(out, "token", token);
        }
        if let Some(since) = self.since {
            pair(out, "since", since);
        }
        if let Some(until) = self.until {
            pair(out, "deprecated_since", until);
        }
        if !self.flags.is_empty() {
            out.bulk(b"flags");
            out.set(self.flags.len());
            self.flags.iter().for_each(|flag| out.simple(flag));
        }
        if composed {
            out.bulk(b"arguments");
            out.array(self.parts.len());
            self.parts.iter().for_each(|part| part.describe(out));
        }
    }
}

fn pair(out: &mut Reply, name: &str, value: &str) {
    out.bulk(name.as_bytes());
    out.bulk(value.as_bytes());
}

/// Writes a command's name and what COMMAND DOCS tells of it.
pub fn describe(out: &mut Reply, command: &Command) {
    static NOTHING: LazyLock<Doc> = LazyLock::new(Doc::default);
    let doc = find(command.name).unwrap_or(&NOTHING);
    let fields = 3
        + usize::from(doc.complexity.is_some())
        + usize::from(!doc.flags.is_empty())
        + 2 * usize::from(doc.deprecated.is_some())
        + usize::from(!doc.history.is_empty())
        + usize::from(!doc.arguments.is_empty())
        + usize::from(!command.subcommands.is_empty());
    out.bulk(command.name.as_bytes());
    out.map(fields);
    pair(out, "summary", doc.summary);
    pair(out, "since", command.since);
    pair(out, "group", command.group);
    if let Some(complexity) = doc.complexity {
        pair(out, "complexity", complexity);
    }
    if !doc.flags.is_empty() {
        out.bulk(b"doc_flags");
        out.set(doc.flags.len());
        doc.flags.iter().for_each(|flag| out.simple(flag));
    }
    if let Some((version, instead)) = doc.deprecated {
        pair(out, "deprecated_since", version);
        pair(out, "replaced_by", instead);
    }
    if !doc.history.is_empty() {
        out.bulk(b"history");
        out.set(doc.history.len());
        for (version, remark) in &doc.history {
            out.array(2);
            out.bulk(version.as_bytes());
            out.bulk(remark.as_bytes());
        }
    }
    if !doc.arguments.is_empty() {
        out.bulk(b"arguments");
        out.array(doc.arguments.len());
        doc.arguments.iter().for_each(|argument| argument.describe(out));
    }
    if !command.subcommands.is_empty() {
        out.bulk(b"subcommands");
        out.map(command.subcommands.len());
        command.subcommands.iter().for_each(|sub| describe(out, sub));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    #[test]
    fn the_texts_are_understood() {
        let mut docs = HashMap::new();
        for text in TEXTS {
            assert_eq!(read(text, &mut docs), Ok(()));
        }
        for (name, doc) in &docs {
            assert!(!doc.summary.is_empty(), "{name}");
            sound(name, &doc.arguments);
        }
    }

    fn sound(name: &str, arguments: &[Argument]) {
        for argument in arguments {
            assert_eq!(argument.is_made_of_others(), !argument.parts.is_empty(), "{name}");
            assert!(argument.kind != "key" || argument.key_spec.is_some(), "{name}");
            sound(name, &argument.parts);
        }
    }

    #[test]
    fn every_row_is_told_of() {
        for command in table::all().flat_map(|c| std::iter::once(c).chain(c.subcommands)) {
            let doc = find(command.name);
            assert!(doc.is_some(), "no text about {}", command.name);
            let specs = command.specs.len() as i64;
            let named = doc.into_iter().flat_map(|d| &d.arguments).filter_map(|a| a.key_spec);
            named.for_each(|n| assert!(n < specs, "{}", command.name));
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        let wrong = |text| read(text, &mut HashMap::new()).unwrap_err();
        assert_eq!(wrong(" summary of nothing"), " summary of nothing");
        assert_eq!(wrong("get\n colour blue"), " colour blue");
        assert_eq!(wrong("get\n - key"), " - key");
        assert_eq!(wrong("get\n -- key key"), " -- key key");
        assert_eq!(wrong("get\n - key key size=1"), " - key key size=1");
    }
}
