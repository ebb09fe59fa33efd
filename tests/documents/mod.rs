//! COMMAND INFO and COMMAND DOCS of every command and subcommand, part by part against the
//! installed redis-server, in both protocols. What may differ stands in [`DIFFERENCES`], and must.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Client, Options, Server, Value};

/// A part of a description that is not the peer's.
struct Difference {
    /// The command.
    command: &'static str,
    /// Which part: a column of COMMAND INFO or a field of COMMAND DOCS.
    part: &'static str,
    /// Why.
    why: &'static str,
}

const fn differs(command: &'static str, part: &'static str, why: &'static str) -> Difference {
    Difference { command, part, why }
}

/// The table of differences.
static DIFFERENCES: &[Difference] = &[
    differs("command|getkeys", "arity", "7.2 takes a command without arguments"),
    differs("command|getkeysandflags", "arity", "7.2 takes a command without arguments"),
    differs("config|resetstat", "tips", "7.2 tells cluster clients to ask every node"),
    differs("config|rewrite", "tips", "7.2 tells cluster clients to ask every node"),
    differs("wait", "flags", "7.2 lets scripts call it without waiting, and says that it blocks"),
    differs("wait", "categories", "7.2 says that it blocks"),
    differs("cluster|shards", "flags", "7.2 answers while loading"),
    differs("cluster|slots", "flags", "7.2 answers while loading"),
    differs("randomkey", "tips", "7.2 tells cluster clients what to do with several replies"),
    differs("scan", "tips", "7.2 tells cluster clients what to do with several replies"),
    differs("client|list", "history", "7.2 added the fields `lib-name` and `lib-ver`"),
    differs("xinfo|consumers", "history", "7.2 added the field `inactive`"),
    differs("xinfo|stream", "history", "7.2 added `active-time` and gave `seen-time` its name"),
    differs("zrank", "arity", "7.2 added `WITHSCORE`"),
    differs("zrank", "history", "7.2 added `WITHSCORE`"),
    differs("zrank", "arguments", "7.2 added `WITHSCORE`"),
    differs("zrevrank", "arity", "7.2 added `WITHSCORE`"),
    differs("zrevrank", "history", "7.2 added `WITHSCORE`"),
    differs("zrevrank", "arguments", "7.2 added `WITHSCORE`"),
    differs("quit", "doc_flags", "deprecated since 7.2"),
    differs("quit", "deprecated_since", "deprecated since 7.2"),
    differs("quit", "replaced_by", "deprecated since 7.2"),
];

/// Commands and subcommands that are here and a 7.0 does not know, with the version they came in.
pub static ADDED: &[(&str, &str)] = &[
    ("backup", "8.10.0"),
    ("backup|abort", "8.10.0"),
    ("backup|cleanup", "8.10.0"),
    ("backup|help", "8.10.0"),
    ("backup|list", "8.10.0"),
    ("backup|seal", "8.10.0"),
    ("backup|start", "8.10.0"),
    ("backup|status", "8.10.0"),
    ("client|no-touch", "7.2.0"),
    ("client|setinfo", "7.2.0"),
    ("cluster|myshardid", "7.2.0"),
    ("delex", "8.4.0"),
    ("delifeq", "9.0.0"),
    ("digest", "8.4.0"),
    ("hexpire", "7.4.0"),
    ("hexpireat", "7.4.0"),
    ("hexpiretime", "7.4.0"),
    ("hgetdel", "8.0.0"),
    ("hgetex", "8.0.0"),
    ("hpersist", "7.4.0"),
    ("hpexpire", "7.4.0"),
    ("hpexpireat", "7.4.0"),
    ("hpexpiretime", "7.4.0"),
    ("hpttl", "7.4.0"),
    ("hsetex", "8.0.0"),
    ("httl", "7.4.0"),
    ("msetex", "8.4.0"),
    ("waitaof", "7.2.0"),
];

/// Columns of COMMAND INFO.
const COLUMNS: &[&str] = &[
    "name",
    "arity",
    "flags",
    "first key",
    "last key",
    "step",
    "categories",
    "tips",
    "key specifications",
];

/// A value with the elements of sets, and of what 7.0 answers as arrays without order, sorted.
fn sorted(value: &Value) -> String {
    let mut elements: Vec<String> =
        value.items().unwrap_or(&[]).iter().map(|v| format!("{v:?}")).collect();
    elements.sort();
    format!("{} {elements:#?}", kind(value))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "array",
        Value::Set(_) => "set",
        Value::Map(_) => "map",
        _ => "other",
    }
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.text().unwrap_or_default()).into_owned()
}

/// A row of COMMAND INFO by column; the names of subcommands apart.
fn row(client: &mut Client, name: &str) -> Option<(BTreeMap<String, String>, BTreeSet<String>)> {
    let reply = client.call(&["COMMAND", "INFO", name]);
    let columns = reply.items()?.first()?.items()?;
    let shown = |(column, value): (&&str, &Value)| {
        let unordered = matches!(*column, "flags" | "categories" | "tips");
        let value = if unordered { sorted(value) } else { format!("{value:#?}") };
        ((*column).to_owned(), value)
    };
    let subcommands = columns[COLUMNS.len()].items().unwrap_or(&[]);
    let subcommands = subcommands.iter().filter_map(Value::items).map(|row| text(&row[0]));
    Some((COLUMNS.iter().zip(columns).map(shown).collect(), subcommands.collect()))
}

/// An argument without what only 7.2 tells: the name it is shown by.
fn without_display_text(value: &Value) -> Value {
    let strip = |items: &[Value]| -> Vec<Value> {
        let pairs = items.chunks(2).filter(|p| p.len() < 2 || text(&p[0]) != "display_text");
        pairs.flatten().map(without_display_text).collect()
    };
    match value {
        Value::Map(items) => Value::Map(strip(items)),
        Value::Array(items) if items.first().is_some_and(|v| text(v) == "name") => {
            Value::Array(strip(items))
        }
        Value::Array(items) => Value::Array(items.iter().map(without_display_text).collect()),
        other => other.clone(),
    }
}

/// What COMMAND DOCS tells of a command by field, subcommands left out: each is asked for itself.
fn doc(client: &mut Client, name: &str) -> Option<BTreeMap<String, String>> {
    let reply = client.call(&["COMMAND", "DOCS", name]);
    let fields = reply.items()?.get(1)?.items()?;
    let shown = |pair: &[Value]| {
        let (field, value) = (text(&pair[0]), &pair[1]);
        let value = match field.as_str() {
            "arguments" => format!("{:#?}", without_display_text(value)),
            "doc_flags" => sorted(value),
            _ => format!("{value:?}"),
        };
        (field, value)
    };
    Some(fields.chunks(2).map(shown).filter(|(field, _)| field != "subcommands").collect())
}

fn names(client: &mut Client) -> Vec<String> {
    let reply = client.words("COMMAND LIST");
    reply.items().expect("a list").iter().map(text).collect()
}

/// Compares two descriptions; gives what differs and is not in the table.
fn compare(
    name: &str,
    theirs: &BTreeMap<String, String>,
    ours: &BTreeMap<String, String>,
    used: &mut BTreeSet<(&'static str, &'static str)>,
) -> Vec<String> {
    let parts: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let mut wrong = Vec::new();
    for part in parts.into_iter().filter(|part| theirs.get(*part) != ours.get(*part)) {
        let known = DIFFERENCES.iter().find(|d| d.command == name && d.part == part);
        match known {
            Some(known) => {
                used.insert((known.command, known.part));
            }
            None => wrong.push(format!(
                "{name}, {part}:\n  redis-server {:#?}\n  ours {:#?}",
                theirs.get(part),
                ours.get(part)
            )),
        }
    }
    wrong
}

#[test]
fn commands_are_described_as_the_peer_describes_them() {
    let Some(peer) = Server::peer(Options::default(), "descriptions of commands") else { return };
    let server = Server::start(Options::default());
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for protocol in ["2", "3"] {
        let (mut theirs, mut ours) = (peer.client(), server.client());
        for client in [&mut theirs, &mut ours] {
            client.call(&["HELLO", protocol]);
        }
        let known: BTreeSet<String> = names(&mut theirs).into_iter().collect();
        for name in names(&mut ours) {
            if ADDED.iter().any(|(added, _)| *added == name) {
                continue;
            }
            let pairs = (row(&mut theirs, &name), row(&mut ours, &name));
            let (Some((theirs_row, theirs_subs)), Some((ours_row, ours_subs))) = pairs else {
                wrong.push(format!("{name} has no row"));
                continue;
            };
            wrong.extend(compare(&name, &theirs_row, &ours_row, &mut used));
            let of_later = |sub: &&String| !theirs_subs.contains(*sub);
            let added = |sub: &&String| !ADDED.iter().any(|(name, _)| name == *sub);
            wrong.extend(ours_subs.iter().filter(of_later).filter(added).cloned());
            assert!(known.contains(&name), "{name}");
            let (theirs, ours) = (doc(&mut theirs, &name), doc(&mut ours, &name));
            let both = (theirs.unwrap_or_default(), ours.unwrap_or_default());
            wrong.extend(compare(&name, &both.0, &both.1, &mut used));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    for row in DIFFERENCES {
        assert!(!row.why.is_empty(), "{}: say why", row.command);
        let is_one = used.contains(&(row.command, row.part));
        assert!(is_one, "{}, {}: does not differ", row.command, row.part);
    }
}

/// What 7.2 added, against its documentation.
#[test]
fn what_came_with_7_2_is_described() {
    let server = Server::start(Options::default());
    let mut client = server.client();
    for (name, since) in ADDED {
        let doc = doc(&mut client, name).unwrap_or_else(|| panic!("{name} is not described"));
        assert_eq!(doc["since"], format!("{:?}", Value::Bulk(since.as_bytes().into())), "{name}");
        assert!(doc.contains_key("summary"), "{name}");
        let takes_none = *name == "cluster|myshardid" || name.starts_with("backup");
        assert_eq!(doc.contains_key("arguments"), !takes_none, "{name}");
    }
    let reply = client.words("COMMAND DOCS get");
    let shown = format!("{reply:?}");
    assert!(shown.contains(&format!("{:?}", b"display_text")), "{shown}");
}

#[test]
fn list_filters_as_the_peer_does() {
    let Some(peer) = Server::peer(Options::default(), "COMMAND LIST") else { return };
    let server = Server::start(Options::default());
    let (mut theirs, mut ours) = (peer.client(), server.client());
    let known: BTreeSet<String> = names(&mut ours).into_iter().collect();
    let list = |client: &mut Client, filter: &str| -> Result<BTreeSet<String>, Value> {
        let reply = client.words(&format!("COMMAND LIST {filter}"));
        match reply.items() {
            Some(items) => Ok(items.iter().map(text).filter(|name| known.contains(name)).collect()),
            None => Err(reply),
        }
    };
    for filter in [
        "FILTERBY MODULE none",
        "FILTERBY PATTERN *get*",
        "filterby pattern CONFIG|*",
        "FILTERBY ACLCAT string",
        "FILTERBY aclcat FAST",
        "FILTERBY ACLCAT nosuch",
        "FILTERBY PATTERN",
        "FILTERBY",
        "NAMES",
        "FILTERBY SIZE 3",
        "FILTERBY PATTERN a b",
    ] {
        let (a, mut b) = (list(&mut theirs, filter), list(&mut ours, filter));
        if let Ok(names) = &mut b {
            names.retain(|name| !ADDED.iter().any(|(added, _)| added == name));
        }
        assert_eq!(a, b, "COMMAND LIST {filter}");
    }
}

#[test]
fn keys_and_their_flags_are_the_peers() {
    let Some(peer) = Server::peer(Options::default(), "COMMAND GETKEYSANDFLAGS") else { return };
    let server = Server::start(Options::default());
    for protocol in ["2", "3"] {
        let (mut theirs, mut ours) = (peer.client(), server.client());
        for client in [&mut theirs, &mut ours] {
            client.call(&["HELLO", protocol]);
        }
        for request in [
            "GET k",
            "SET k v",
            "SET k v GET",
            "SET k v EX 10 get",
            "MSET a 1 b 2",
            "DEL a b c",
            "RENAME a b",
            "COPY a b REPLACE",
            "OBJECT ENCODING k",
            "LCS a b IDX",
            "WATCH a b",
            "GETEX k",
            "SETRANGE k 0 v",
            "PING",
            "GET",
            "GET a b",
            "nosuch x",
            "CONFIG GET x",
            "CONFIG nosuch x",
            "MSETNX a 1 b 2 c 3",
            "EXPIRE k 1",
            "TYPE k",
        ] {
            for subcommand in ["GETKEYS", "GETKEYSANDFLAGS"] {
                let line = format!("COMMAND {subcommand} {request}");
                if line.split(' ').count() < 4 {
                    continue;
                }
                assert_eq!(theirs.words(&line), ours.words(&line), "{line}");
            }
        }
    }
}
