//! The table against itself, the loader against a file system of plain values.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::load::{Sources, load};
use super::table::{self, Status};
use super::{Config, LoadError, Loaded, args};
use crate::value::recency::Noted;

/// Files by path; directories are what their paths imply.
#[derive(Default)]
struct Tree {
    files: BTreeMap<PathBuf, String>,
    stdin: String,
}

impl Tree {
    fn with(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(p, t)| (PathBuf::from(p), (*t).to_owned())).collect();
        Tree { files, stdin: String::new() }
    }
}

impl Sources for Tree {
    fn read(&mut self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let text = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.bytes().take(limit).collect())
    }

    fn read_stdin(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        Ok(self.stdin.bytes().take(limit).collect())
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let below = self.files.keys().filter_map(|path| path.strip_prefix(dir).ok());
        let first = below.filter_map(|rest| rest.components().next());
        Ok(first.map(|name| dir.join(name)).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn enter(&mut self, dir: &Path) -> io::Result<()> {
        let there = self.files.keys().any(|p| p.starts_with(dir) && p != dir);
        if there { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fn is_command(name: &[u8]) -> bool {
    [&b"get"[..], b"flushall"].iter().any(|n| n.eq_ignore_ascii_case(name))
}

fn run(tree: &mut Tree, words: &[&str]) -> Result<Loaded, LoadError> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    load(&args::parse(&words).expect("arguments"), Path::new("/start"), tree, &is_command)
}

fn conf(text: &str) -> Result<Loaded, LoadError> {
    run(&mut Tree::with(&[("/start/a.conf", text), ("/data/x", "")]), &["a.conf"])
}

fn config(text: &str) -> Config {
    conf(text).unwrap_or_else(|e| panic!("{text}: {e}")).config
}

#[test]
fn the_table_is_sound() {
    let mut names = HashSet::new();
    for row in table::all() {
        for name in std::iter::once(row.name).chain(row.alias) {
            assert!(names.insert(name), "{name} twice");
            assert_eq!(name, name.to_ascii_lowercase());
            assert_eq!(table::find(name.to_ascii_uppercase().as_bytes()).unwrap().1.name, row.name);
        }
        assert!(row.doc.ends_with('.') && row.doc.len() > 5, "{} is not documented", row.name);
        assert!(!row.doc.contains('|'), "{}: no bars in a table", row.name);
    }
}

#[test]
fn every_default_parses_to_itself() {
    for row in table::all() {
        let default = row.default.as_bytes();
        let words: Vec<&[u8]> =
            if row.takes_words() { default.split(|b| *b == b' ').collect() } else { vec![default] };
        if row.name == "replicaof" {
            continue;
        }
        let parsed = row.parse(&words, default);
        assert_eq!(parsed.as_deref(), Ok(default), "{}", row.name);
    }
}

#[test]
fn get_then_set_changes_nothing() {
    let config = Config::new(Path::new("/data"));
    for row in table::all().filter(|d| !d.immutable && !d.protected) {
        let got = config.get(&[row.name.as_bytes()]);
        assert_eq!(got.len(), 1, "{}", row.name);
        let next = config.changed(&[(row.name.as_bytes(), &got[0].1)], true);
        assert_eq!(next.as_ref(), Ok(&config), "{}", row.name);
    }
}

#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    let current = super::page::render();
    if std::env::var_os("RINGSTONE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &current).expect("the page can be written");
    } else {
        assert!(page == current, "stale: RINGSTONE_WRITE_DOCS=1 cargo test --lib config");
    }
}

#[test]
fn config_get() {
    let config = Config::new(Path::new("/data"));
    let names = |patterns: &[&[u8]]| -> Vec<String> {
        config.get(patterns).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&[b"PORT"]), ["PORT"], "a name comes back as it was asked for");
    assert_eq!(names(&[b"port", b"por*", b"Port"]), ["port"]);
    assert_eq!(names(&[b"slaveof", b"REPLICAO*"]), ["replicaof", "slaveof"]);
    assert_eq!(names(&[b"watchdog-period"]), ["watchdog-period"]);
    assert!(!names(&[b"*"]).contains(&"watchdog-period".to_owned()), "hidden from patterns");
    assert_eq!(names(&[b"nosuch", b"nosuch*"]), [""; 0]);
    assert_eq!(config.get(&[b"dir"])[0].1, b"/data");
}

#[test]
fn config_set_is_all_or_nothing() {
    let config = Config::new(Path::new("/data"));
    let set = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        config.changed(&pairs, true)
    };
    let next = set(&[("TIMEOUT", "7"), ("maxmemory", "1mb"), ("requirepass", "p w")]).unwrap();
    assert_eq!((next.timeout, next.maxmemory), (7, 1 << 20));
    assert_eq!(next.requirepass.as_deref(), Some(b"p w".as_slice()));
    let failed = |name: &str, why: &str| {
        Err(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"))
    };
    for (pairs, answer) in [
        (
            vec![("timeout", "1"), ("nosuch", "2")],
            Err("ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'".to_owned()),
        ),
        (vec![("databases", "2")], failed("databases", "can't set immutable config")),
        (vec![("dir", "/tmp")], failed("dir", "can't set protected config")),
        (vec![("timeout", "1"), ("timeout", "1")], failed("timeout", "duplicate parameter")),
        (
            vec![("timeout", "1"), ("maxclients", "0")],
            failed("maxclients", "argument must be between 1 and 4294967295 inclusive"),
        ),
        (vec![("maxmemory", "1zz")], failed("maxmemory", "argument must be a memory value")),
        (vec![("protected-mode", "x")], failed("protected-mode", "argument must be 'yes' or 'no'")),
        (
            vec![("appendfsync", "x")],
            failed("appendfsync", "argument(s) must be one of the following: everysec, always, no"),
        ),
        (vec![("port", "1")], failed("port", "Ringstone can change it only by a restart")),
        (vec![("save", "1")], failed("save", "Invalid save parameters")),
    ] {
        assert_eq!(set(&pairs), answer.map(|()| config.clone()));
    }
    let refused = set(&[("maxmemory-clients", "5%")]).unwrap_err();
    assert!(refused.contains("not implemented: clients' buffers are bounded"), "{refused}");
    assert!(set(&[("maxmemory-clients", "0")]).is_ok());
    for (policy, noted) in [
        ("NOEVICTION", Noted::Time),
        ("volatile-ttl", Noted::Time),
        ("allkeys-lru", Noted::SavedTime),
        ("volatile-lfu", Noted::Count { log_factor: 10, decay_minutes: 1 }),
    ] {
        assert_eq!(set(&[("maxmemory-policy", policy)]).unwrap().noted, noted);
    }
    let counts = [("maxmemory-policy", "allkeys-lfu"), ("lfu-log-factor", "0")];
    let noted = set(&counts).unwrap().noted;
    assert_eq!(noted, Noted::Count { log_factor: 0, decay_minutes: 1 });
}

#[test]
fn what_redis_does_not_tell_is_kept() {
    let config = config("notify-keyspace-events KEAmn");
    let told = config.get(&[b"notify-keyspace-events"]);
    assert_eq!(told, [("notify-keyspace-events".to_owned(), b"AKEm".to_vec())]);
    assert_eq!(config.text("notify-keyspace-events").unwrap(), b"AnKEm");
}

#[test]
fn values_and_their_forms() {
    let is = |line: &str, name: &str, text: &str| {
        let config = config(line);
        let got = String::from_utf8_lossy(config.text(name).unwrap()).into_owned();
        assert_eq!(got, text, "{line}");
    };
    is("maxmemory 1k", "maxmemory", "1000");
    is("maxmemory 1Kb", "maxmemory", "1024");
    is("maxmemory 2gb", "maxmemory", "2147483648");
    is("maxmemory 17b", "maxmemory", "17");
    is("maxmemory 18446744073709551615", "maxmemory", "18446744073709551615");
    is("unixsocketperm 770", "unixsocketperm", "770");
    is("hz 100000", "hz", "500");
    is("hz 0", "hz", "1");
    is("hash-max-ziplist-value 32", "hash-max-listpack-value", "32");
    is("save 60 1\nsave 5 10", "save", "60 1 5 10");
    is("save 60 1 5 10", "save", "60 1 5 10");
    is("save \"\"", "save", "");
    is("save 60 1\nsave \"\"", "save", "");
    is("bind 127.0.0.1 -::1", "bind", "127.0.0.1 -::1");
    is("notify-keyspace-events KExg$", "notify-keyspace-events", "g$xKE");
    is("notify-keyspace-events KEAn", "notify-keyspace-events", "AnKE");
    is("shutdown-on-sigterm nosave force", "shutdown-on-sigterm", "nosave force");
    is("requirepass \"a \\x41\"", "requirepass", "a A");
    is(
        "latency-tracking-info-percentiles 50.50 100",
        "latency-tracking-info-percentiles",
        "50.5 100",
    );
    is(
        "client-output-buffer-limit replica 1mb 2kb 3",
        "client-output-buffer-limit",
        "normal 0 0 0 slave 1048576 2048 3 pubsub 33554432 8388608 60",
    );
    is("list-max-ziplist-entries 5", "list-max-listpack-size", "-2");
}

#[test]
fn typed_fields_follow() {
    let config = config(
        "dir /data\nlogfile log/x\nunixsocket /run/s\nunixsocketperm 700\nappendfsync always\n\
         loglevel verbose\nclient-output-buffer-limit normal 5 4 3\nshards 3\nbind ::1",
    );
    assert_eq!(config.logfile.as_deref(), Some(Path::new("/data/log/x")));
    assert_eq!(config.unixsocket.as_deref(), Some(Path::new("/run/s")));
    assert_eq!(config.unixsocketperm, Some(0o700));
    assert_eq!(config.appendfsync, super::Flush::Always);
    assert_eq!(config.loglevel, super::LogLevel::Verbose);
    assert_eq!(config.output_limit_normal.hard, 5);
    assert_eq!((config.shards, config.bind_is_default), (3, false));
    assert_eq!(config.bind, ["::1"]);
    let plain = Config::new(Path::new("/"));
    assert!(plain.appendonly && plain.bind_is_default && plain.requirepass.is_none());
    assert_eq!(plain.output_limit_pubsub.seconds, 60);
    assert_eq!(plain.latency_percentiles, [50.0, 99.0, 99.9]);
}

#[test]
fn refusals_name_line_and_file() {
    let error = conf("# fine\n\nport 1\nnonsense 5\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.5) ***\n\
         Reading the configuration file, at line 4\n>>> 'nonsense 5'\n\
         Bad directive or wrong number of arguments\n(in /start/a.conf)\n"
    );
    for (text, reason) in [
        ("port", "wrong number of arguments"),
        ("port 1 2", "wrong number of arguments"),
        ("port x", "argument couldn't be parsed into an integer"),
        ("port \"1", "Unbalanced quotes in configuration line"),
        ("dir /nowhere", "entity not found"),
        ("appendfilename a/b", "appendfilename can't be a path, just a filename"),
        ("appenddirname \"\"", "appenddirname can't be empty"),
        ("appenddirname ..", "appenddirname is not a usable file name"),
        ("sentinel monitor x", "sentinel directive while not in sentinel mode"),
        ("my.module", "Module config specified without value"),
        ("replicaof x", "wrong number of arguments"),
        ("rename-command nosuch x", "No such command in rename-command"),
        ("rename-command get FlushAll", "Target command name already exists"),
        ("rename-command get", "Bad directive or wrong number of arguments"),
        (
            "client-output-buffer-limit normal",
            "Wrong number of arguments in buffer limit configuration.",
        ),
        ("include /missing", "Fatal error, can't open config file '/missing': entity not found"),
    ] {
        assert_eq!(conf(text).unwrap_err().reason, reason, "{text}");
    }
    let missing = run(&mut Tree::default(), &["x.conf"]).unwrap_err();
    assert!(missing.reason.starts_with("Fatal error, can't open config file '/start/x.conf'"));
}

#[test]
fn guarded_directives_stop_the_start() {
    for line in [
        "user bob on",
        "user default on nopass ~a* &* +@all sanitize-payload",
        "requirepass x\nuser default on nopass sanitize-payload ~* &* +@all",
        "aclfile /x",
        "tls-port 1",
        "replicaof h 1",
        "slaveof h 1",
        "cluster-enabled yes",
        "loadmodule /x.so",
        "maxmemory-clients 5%",
        "min-replicas-to-write 1",
        "some.module yes",
    ] {
        let error = conf(line).expect_err(line);
        assert!(error.reason.contains("accept-unimplemented yes"), "{line}: {error}");
        assert_eq!(error.line.as_ref().map(|l| l.0), Some(line.lines().count()), "{line}");
        for all_the_same in [
            format!("{line}\naccept-unimplemented yes"),
            format!("accept-unimplemented yes\n{line}"),
        ] {
            assert!(conf(&all_the_same).is_ok(), "{line}");
        }
    }
    for line in [
        "user default on sanitize-payload nopass ~* &* +@all",
        "rename-command FLUSHALL \"\"",
        "replicaof no one",
        "appendonly no\nsave \"\"",
        "appendonly no",
        "appendonly no\nsave 60 1",
        "save 60 1",
    ] {
        assert!(conf(line).is_ok(), "{line}");
    }
    let warned = conf("appendonly no\nsave \"\"\nio-threads 4").unwrap().warnings;
    assert!(warned[0].contains("what no SAVE or BGSAVE has written"));
    let saving = conf("appendonly no").unwrap().warnings;
    assert!(saving[0].contains("since the last snapshot") && saving.len() == 1, "{saving:?}");
    assert!(warned[1].ends_with("io-threads"), "{warned:?}");
    assert!(conf("").unwrap().warnings.is_empty());
}

#[test]
fn includes() {
    let mut tree = Tree::with(&[
        ("/start/a.conf", "include b.conf\ntimeout 3\ninclude conf.d/*.conf\ninclude no/*.conf"),
        ("/start/b.conf", "port 1\ntimeout 1"),
        ("/start/conf.d/2.conf", "maxclients 2"),
        ("/start/conf.d/1.conf", "maxclients 1\nhz 7"),
        ("/start/conf.d/x.txt", "nonsense"),
        ("/start/sites/a/on.conf", "port 11"),
        ("/start/sites/b/on.conf", "timeout 12"),
        ("/start/sites/b/off.conf", "nonsense"),
        ("/start/sites.conf", "include /start/s*/?/on.conf"),
        ("/start/loop.conf", "include loop.conf"),
        ("/start/bad.conf", "include b.conf\ninclude worse.conf"),
        ("/start/worse.conf", "port 5\nport x"),
    ]);
    let config = run(&mut tree, &["a.conf"]).unwrap().config;
    assert_eq!((config.port, config.timeout, config.maxclients, config.hz), (1, 3, 2, 7));
    let config = run(&mut tree, &["sites.conf"]).unwrap().config;
    assert_eq!((config.port, config.timeout), (11, 12));
    assert_eq!(run(&mut tree, &["loop.conf"]).unwrap_err().reason, "more than 16 nested includes");
    let error = run(&mut tree, &["bad.conf"]).unwrap_err();
    assert_eq!(error.place.as_deref(), Some("/start/worse.conf"));
    assert_eq!(error.line, Some((2, "port x".to_owned())));
}

#[test]
fn includes_may_not_multiply() {
    let mut tree = Tree::default();
    for level in 0..16 {
        let text = format!("include {0}\ninclude {0}\n", level + 1);
        tree.files.insert(format!("/start/{level}").into(), text);
    }
    tree.files.insert("/start/16".into(), "port 1".into());
    let error = run(&mut tree, &["0"]).unwrap_err();
    assert_eq!(error.reason, "more than 1000 configuration files");
}

#[test]
fn arguments() {
    let mut tree = Tree::with(&[("/start/a.conf", "port 1\ntimeout 9")]);
    tree.stdin = "hz 20\nmaxclients 5".into();
    let loaded = run(&mut tree, &["a.conf", "--port", "7000", "--maxclients", "6", "-"]).unwrap();
    assert_eq!(loaded.file.as_deref(), Some(Path::new("/start/a.conf")));
    let config = loaded.config;
    assert_eq!((config.port, config.timeout, config.hz, config.maxclients), (7000, 9, 20, 6));
    let of = |words: &[&str], name: &str| {
        let config = run(&mut Tree::default(), words).unwrap().config;
        String::from_utf8_lossy(config.text(name).unwrap()).into_owned()
    };
    assert_eq!(of(&["--save", ""], "save"), "");
    assert_eq!(of(&["--save"], "save"), "");
    assert_eq!(of(&["--save", "60", "1", "--port", "5"], "save"), "60 1");
    assert_eq!(of(&["--save", "60 1"], "save"), "60 1");
    assert_eq!(of(&["--requirepass", "a \"b'"], "requirepass"), "a \"b'");
    assert_eq!(of(&["--requirepass", "--secret"], "requirepass"), "--secret");
    assert_eq!(of(&["--requirepass", "--port", "--port", "5"], "requirepass"), "--port");
    assert_eq!(of(&["--save", "--port", "5"], "save"), "");
    assert_eq!(of(&["--save", "--port", "5"], "port"), "5");
    assert_eq!(of(&["--port 5", "--timeout 6 "], "timeout"), "6");
    assert_eq!(of(&["--save 60 1", "--port", "5"], "save"), "60 1");
    assert_eq!(of(&["--maxmemory", "1kb", "--port", "9"], "port"), "9");
    for (words, line) in [
        (&["--port", "--timeout", "3"][..], r#"port "--timeout" "3""#),
        (&["-x"], r#""-x""#),
        (&["a.conf", "b"], r#""b""#),
        (&["--hz", "1", "-", "--hz", "2"], r#"hz "1" "-""#),
    ] {
        let bad = run(&mut tree, words).unwrap_err();
        assert_eq!(bad.line, Some((1, line.to_owned())), "{words:?}");
        assert_eq!(bad.place.as_deref(), Some("the command line"));
    }
    assert!(run(&mut tree, &["-", "--hz", "1"]).is_ok() && run(&mut tree, &["-"]).is_ok());
    assert!(args::parse(&["a.conf".into(), "--sentinel".into()]).is_err());
}

#[test]
fn guarded_rows_say_what_is_missing() {
    let guarded: Vec<_> = table::all().filter(|d| matches!(d.status, Status::Guarded(_))).collect();
    assert!(guarded.len() > 20);
    for row in guarded {
        assert!(matches!(row.status, Status::Guarded(what) if what.len() > 5), "{}", row.name);
    }
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused(text in "([a-z-]{1,12} [ -~]{0,20}\n){0,8}") {
        let _ = conf(&text);
    }

    #[test]
    fn any_value_is_parsed_or_refused(pick: prop::sample::Index, value: Vec<u8>) {
        let rows: Vec<_> = table::all().collect();
        let row = pick.get(&rows);
        let config = Config::new(Path::new("/"));
        if let Ok(next) = config.changed(&[(row.name.as_bytes(), &value)], true) {
            let text = next.text(row.name).unwrap().to_vec();
            let again = next.changed(&[(row.name.as_bytes(), &text)], true);
            prop_assert_eq!(again.as_ref(), Ok(&next), "{} is stable", row.name);
        }
    }
}
