//! `docs/CONFIGURATION.md`, made from the table.

use std::fmt::Write;

use crate::config::rows::reasons;
use crate::config::table::{self, Directive, Kind, Status};

/// What stands in front of the tables.
const HEAD: &str = "\
# Configuration

This page is made from the table in `src/config/rows/`; a test compares the two.

    ringstone [redis.conf] [--directive value ...] [-]

A `redis.conf` works as it is. File, standard input (`-`) and command line are read in this order,
and the last word wins, except that `save` lines add up. Sizes take units: `1k` is 1000 bytes,
`1kb` 1024, and so on with `m` and `g`. `include` reads another file, or all that match a pattern.

A directive that is not known at all stops the start. So does one marked **guarded** when it has
another value than its default: it is not implemented yet, and a server that neglected it would be
less safe than you asked for. `accept-unimplemented yes` starts all the same. `user` and
`loadmodule` lines are guarded as well (except for a `user` line that says of the default user what
is so anyway). Directives without an effect that have another value than their default are named
once, in the log, at the start.

`rename-command` renames a command or, with an empty name, takes it away. The log and all statistics
go on with its own name.

`CONFIG REWRITE` writes the values in force into the file the server was started with: remarks and
order stay, lines are replaced where they stand, what differs from its default and has no line is
added at the end. redis-server can read the result unless the file has directives of Ringstone's
own in it; those that were only given on the command line are left there.

`CONFIG SET` changes what the tables call *live*. *restart*: only a restart changes it, though
Redis could change it live. *fixed*: Redis cannot change it either. *protected*: only where
`enable-protected-configs` allows it.
";

/// The whole page.
pub fn render() -> String {
    let mut out = HEAD.to_owned();
    let section = |out: &mut String, title: &str, which: &dyn Fn(&Directive) -> bool| {
        let _ = writeln!(out, "\n## {title}\n\n| directive | values | default | change | |");
        let _ = writeln!(out, "|---|---|---|---|---|");
        let mut rows: Vec<_> = table::all().filter(|d| which(d)).collect();
        rows.sort_by_key(|d| d.name);
        rows.iter().for_each(|d| line(out, d));
    };
    section(&mut out, "With an effect", &|d| d.status == Status::Effective && !d.ours);
    section(&mut out, "Ringstone's own", &|d| d.ours);
    section(&mut out, "Guarded", &|d| matches!(d.status, Status::Guarded(_)));
    section(&mut out, "Accepted and answered, without an effect yet", &|d| {
        d.status == Status::Accepted
    });
    out
}

fn line(out: &mut String, d: &Directive) {
    let change = match d {
        d if d.immutable => "fixed",
        d if d.fixed => "restart",
        d if d.protected => "protected",
        _ => "live",
    };
    let alias = d.alias.map(|a| format!(" (or `{a}`)")).unwrap_or_default();
    let default = if d.default.is_empty() { "\"\"" } else { d.default };
    let doc = match d.status {
        Status::Guarded(what) => format!("{} Guarded: {what}.", d.doc),
        Status::Accepted => format!("{} Without effect: {}.", d.doc, reasons::of(d.name)),
        Status::Effective => d.doc.to_owned(),
    };
    let values = values(d.kind).replace('|', "\\|");
    let _ = writeln!(out, "| `{}`{alias} | {values} | `{default}` | {change} | {doc} |", d.name);
}

fn values(kind: Kind) -> String {
    match kind {
        Kind::Bool => "yes, no".into(),
        Kind::Enum(names) => names.join(", "),
        Kind::Flags(names) => format!("any of {}", names.join(", ")),
        Kind::Int(min, max) => format!("{}..{}", bound(min), bound(max)),
        Kind::Hz => "1..500".into(),
        Kind::Memory(min, _) => format!("size from {min}"),
        Kind::MemoryOrPercent => "size or percent".into(),
        Kind::Octal(max) => format!("octal up to {max:o}"),
        Kind::Text => "text".into(),
        Kind::FileName { .. } => "file name".into(),
        Kind::HostName => "host name".into(),
        Kind::Dir => "directory".into(),
        Kind::Save => "seconds changes, repeated".into(),
        Kind::OutputLimits => "class hard soft seconds, repeated".into(),
        Kind::Bind => "addresses".into(),
        Kind::ReplicaOf => "host port".into(),
        Kind::Percentiles => "numbers 0..100".into(),
        Kind::OomValues => "three numbers".into(),
        Kind::Events => "letters".into(),
    }
}

fn bound(n: i64) -> String {
    match n {
        i64::MAX => "2^63-1".into(),
        n if n == i64::from(i32::MAX) => "2^31-1".into(),
        n if n == i64::from(u32::MAX) => "2^32-1".into(),
        n if n == i64::from(i32::MIN) => "-2^31".into(),
        n => n.to_string(),
    }
}
