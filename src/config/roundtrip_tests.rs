//! Every directive, taken through its values: set, got, written to a file and read from it.

use std::io;
use std::path::{Path, PathBuf};

use super::load::{Sources, load};
use super::table::{self, Directive, Kind, Status};
use super::{Config, args, grammar, rewrite};

/// One file, and directories for all who ask.
struct OneFile(Vec<u8>);

impl Sources for OneFile {
    fn read(&mut self, _path: &Path, _limit: usize) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }

    fn read_stdin(&mut self, _limit: usize) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn list(&mut self, _dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    fn enter(&mut self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn read(text: &[u8]) -> Config {
    let invocation = args::parse(&["a.conf".into()]).expect("arguments");
    let loaded = load(&invocation, Path::new("/data"), &mut OneFile(text.to_vec()), &|_| false);
    let loaded = loaded.unwrap_or_else(|e| panic!("{}: {e}", String::from_utf8_lossy(text)));
    loaded.config
}

/// What stands in front of every file here: nothing is held back.
const ALL_ALLOWED: &[u8] =
    b"accept-unimplemented yes\nenable-protected-configs yes\nappendonly no\n";

/// Values of a kind, each with the form in which it is shown.
fn values(kind: Kind) -> Vec<(String, String)> {
    let same = |values: &[&str]| values.iter().map(|v| (v.to_string(), v.to_string())).collect();
    let shown = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(v, s)| (v.to_string(), s.to_string())).collect()
    };
    match kind {
        Kind::Bool => shown(&[("yes", "yes"), ("NO", "no")]),
        Kind::Enum(names) => {
            names.iter().map(|n| (n.to_ascii_uppercase(), n.to_string())).collect()
        }
        Kind::Flags(names) => {
            let mut all: Vec<_> = names.iter().map(|n| (n.to_string(), n.to_string())).collect();
            let last = &names[names.len() - 2..];
            all.push((format!("{} {}", last[1], last[0]), last.join(" ")));
            all
        }
        Kind::Int(min, max) => {
            let between = ((i128::from(min) + i128::from(max)) / 3) as i64;
            [min, between, max].iter().map(|n| (n.to_string(), n.to_string())).collect()
        }
        Kind::Hz => shown(&[("1", "1"), ("77", "77"), ("501", "500")]),
        Kind::Memory(min, max) => {
            let mut all =
                vec![(min.to_string(), min.to_string()), (max.to_string(), max.to_string())];
            for (text, bytes) in [("3gb", 3u64 << 30), ("5m", 5_000_000), ("1537kb", 1537 << 10)] {
                if (min..=max).contains(&bytes) {
                    all.push((text.into(), bytes.to_string()));
                }
            }
            all
        }
        Kind::MemoryOrPercent => shown(&[("0", "0"), ("5%", "5%"), ("2MB", "2097152")]),
        Kind::Octal(_) => shown(&[("0", "0"), ("0700", "700"), ("640", "640")]),
        Kind::Text => same(&["", "x", "a b", "\"q\\ '#'", "tab\t\u{1}\u{7}é\r\n"]),
        Kind::FileName { .. } => same(&["other.file", "with blank"]),
        Kind::HostName => same(&["", "a-b.example"]),
        Kind::Dir => same(&["/", "/with blank"]),
        Kind::Save => shown(&[("", ""), ("60 1", "60 1"), ("3600 1 5 10", "3600 1 5 10")]),
        Kind::OutputLimits => shown(&[
            ("pubsub 0 0 0 replica 1mb 1500 9", "normal 0 0 0 slave 1048576 1500 9 pubsub 0 0 0"),
            (
                "normal 1gb 2 3",
                "normal 1073741824 2 3 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
            ),
        ]),
        Kind::Bind => same(&["", "127.0.0.1 -::1", "* -::*"]),
        Kind::ReplicaOf => same(&["host 6379"]),
        Kind::Percentiles => shown(&[("", ""), ("50 99.90 100", "50 99.9 100")]),
        Kind::OomValues => same(&["-2000 0 2000", "0 200 800"]),
        Kind::Events => shown(&[("", ""), ("KEA", "AKE"), ("$gK", "g$K")]),
    }
}

fn shown(config: &Config, row: &Directive) -> String {
    String::from_utf8_lossy(config.text(row.name).expect("a row")).into_owned()
}

#[test]
fn whatever_can_be_set_is_got_as_it_was_set() {
    let start = read(ALL_ALLOWED);
    for row in table::all().filter(|d| !d.immutable && !d.fixed) {
        for (value, expected) in values(row.kind) {
            let pair = [(row.name.as_bytes(), value.as_bytes())];
            let next = start.changed(&pair, true);
            let next = next.unwrap_or_else(|e| panic!("{} {value:?}: {e}", row.name));
            assert_eq!(shown(&next, row), expected, "{} {value:?}", row.name);
            let again = next.changed(&[(row.name.as_bytes(), expected.as_bytes())], true);
            assert_eq!(again.as_ref(), Ok(&next), "{} {value:?}", row.name);
            let back = shown(&start, row);
            let back = next.changed(&[(row.name.as_bytes(), back.as_bytes())], true);
            if row.kind != Kind::OutputLimits {
                assert_eq!(back.as_ref(), Ok(&start), "{} {value:?}", row.name);
            }
        }
    }
}

#[test]
fn whatever_is_set_survives_a_rewrite() {
    for row in table::all() {
        for (value, expected) in values(row.kind) {
            let mut text = ALL_ALLOWED.to_vec();
            text.extend_from_slice(row.name.as_bytes());
            text.push(b' ');
            grammar::quote(&mut text, value.as_bytes());
            if row.kind == Kind::ReplicaOf {
                text = [ALL_ALLOWED, b"replicaof host 6379"].concat();
            }
            let config = read(&text);
            assert_eq!(shown(&config, row), expected, "{}", String::from_utf8_lossy(&text));
            // In place of its own line, and where there was none.
            let old: &[u8] = match row.ours && row.immutable {
                true => &text,
                false => ALL_ALLOWED,
            };
            for old in [&text[..], old] {
                let new = rewrite::rewrite(&config, old, false);
                let mut again = read(&new);
                again.file.clone_from(&config.file);
                assert_eq!(again, config, "{} {value:?}", row.name);
                // The lines of the three classes take each other's places, as with Redis.
                if row.kind != Kind::OutputLimits {
                    assert_eq!(
                        rewrite::rewrite(&again, &new, false),
                        new,
                        "{} {value:?}",
                        row.name
                    );
                }
            }
        }
    }
}

/// The save points are those of the default, and the file has lines for some of them only.
#[test]
fn no_save_point_is_lost_for_want_of_a_line() {
    for points in ["3600 1 300 100 60 10000", "5 6 7 8", ""] {
        let old = b"appendonly no\nsave 60 10000\n";
        let config = read(old).changed(&[(b"save", points.as_bytes())], true).expect("points");
        let again = read(&rewrite::rewrite(&config, old, false));
        assert_eq!(again.text("save"), Some(points.as_bytes()));
    }
}

#[test]
fn what_cannot_be_set_says_so() {
    let start = read(b"");
    for row in table::all() {
        for (value, expected) in values(row.kind) {
            let pair = [(row.name.as_bytes(), value.as_bytes())];
            let set = start.changed(&pair, true);
            let changes = expected != shown(&start, row);
            let refused = match row {
                d if d.immutable => Some("can't set immutable config"),
                d if d.protected => Some("can't set protected config"),
                d if d.fixed && changes => Some("only by a restart"),
                d if matches!(d.status, Status::Guarded(_)) && changes => Some("not implemented"),
                _ => None,
            };
            match (refused, set) {
                (None, Ok(_)) => {}
                (Some(why), Err(text)) => assert!(text.contains(why), "{}: {text}", row.name),
                (_, set) => panic!("{} {value:?}: {set:?}", row.name),
            }
        }
    }
}

#[test]
fn a_file_of_all_directives_says_the_same() {
    let config = read(b"maxmemory 100mb\nmaxclients 77\n");
    let text = rewrite::rewrite(&config, b"maxclients 77\n", true);
    let lines = String::from_utf8_lossy(&text);
    for line in ["maxclients 77", "timeout 0", "appendfsync everysec", "hz 10", "port 6379"] {
        assert_eq!(lines.lines().filter(|l| *l == line).count(), 1, "{line} in {lines}");
    }
    let again = read(&text);
    for ((row, before), (_, after)) in config.rows().zip(again.rows()) {
        assert_eq!(before, after, "{}", row.name);
    }
}

#[test]
fn dir_is_entered_and_a_log_holds_it() {
    let set = |config: &Config, dir: &str| {
        let enter = |path: &Path| match path.ends_with("gone") {
            true => Err("No such file or directory".to_owned()),
            false => Ok(Path::new("/found").join(path.strip_prefix("/").unwrap_or(path))),
        };
        config.changed_in(&[(b"dir", dir.as_bytes())], true, &enter)
    };
    let open = read(b"appendonly no\nenable-protected-configs local\n");
    let moved = set(&open, "x").unwrap();
    assert_eq!(moved.text("dir"), Some(b"/found/data/x".as_slice()));
    assert_eq!(moved.dir, Path::new("/found/data/x"));
    for dir in ["", "gone"] {
        let refused = set(&open, dir).unwrap_err();
        assert!(refused.ends_with("'dir') - No such file or directory"), "{dir:?}: {refused}");
    }
    assert!(
        set(&read(b"appendonly no\n"), "x").unwrap_err().ends_with("can't set protected config")
    );
    let logs = read(b"appendonly yes\nenable-protected-configs yes\n");
    assert_eq!(set(&logs, "/data").as_ref(), Ok(&logs));
    assert!(set(&logs, "x").unwrap_err().ends_with("only a restart changes it"));
}

#[test]
fn a_snapshot_takes_no_name_of_our_other_files() {
    let config = read(ALL_ALLOWED);
    let set = |name: &str| config.changed(&[(b"dbfilename", name.as_bytes())], true);
    for name in ["temp-1.rdb", "temp-4294967295.rdb", "ringstone.lock", "a/b", ".."] {
        assert!(set(name).is_err(), "{name}");
    }
    for name in ["temp-x.rdb", "temp-1.rdb.old", "temp.rdb", "", "x y"] {
        assert_eq!(set(name).unwrap().dbfilename, name);
    }
}
