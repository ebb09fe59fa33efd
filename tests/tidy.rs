//! Reads the source and holds it to the house rules: which room may know which, where `unsafe`,
//! clocks and files may be touched, how long files, functions and lines may be, words that must not
//! stand anywhere. Each rule has a test below that shows it failing.
//!
//! The order of the rooms is not repeated here: it is the table in `src/lib.rs`.
//!
//! What is looked at is the text with comments and literals blanked out, so a rule can be named in
//! prose. Test code inside `src` may reach further than the rest (any room, clocks, files).

use std::fs;
use std::path::Path;

/// Files in which `unsafe` may stand: the kernel door, three places where a measurement or a
/// foreign function asks for it, and the crash that is asked for and its report: what a signal's
/// handler may do, no safe interface offers.
const UNSAFE_ISLANDS: &[&str] = &[
    "src/ring/",
    "src/value/entry.rs",
    "src/value/table.rs",
    "src/value/zset/large.rs",
    "src/shard/inbox.rs",
    "src/base/memory.rs",
    "src/base/crash.rs",
    "src/server/fatal.rs",
];
/// Files that may use `std::fs`; everything else goes through the disk traits or is handed bytes.
/// (`ring/setup.rs` reads from `/proc` why the kernel refuses a ring.)
const FILE_USERS: &[&str] = &[
    "src/persist/volume.rs",
    "src/persist/durable.rs",
    "src/persist/snapshot.rs",
    "src/persist/backup.rs",
    "src/config/",
    "src/ring/setup.rs",
    "src/server/",
    "src/tools/",
];
/// The one reader of the system's clocks.
const CLOCK: &str = "src/base/clock.rs";
/// Words that stand for unfinished work.
const BANNED: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore"];
/// What the codecs of `persist` may know; loading and recovery may know more.
const CODEC_ROOMS: &[&str] = &["base", "resp", "value", "persist"];

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 100;

/// Files over [`FILE_LINES`], with the length they may not exceed. It only ever gets shorter.
const LONG_FILES: &[(&str, usize)] = &[];
/// Functions over [`FUNCTION_LINES`], likewise.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// One file: its path from the root of the repository, its text, and its code.
struct Source {
    path: String,
    text: String,
    /// The text with comments and literals blanked out, line for line.
    code: String,
    /// `code` with `#[cfg(test)]` modules blanked out as well; empty for files of tests.
    product: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let code = blank_prose(text);
        let of_tests =
            path.ends_with("tests.rs") || path.ends_with("/harness.rs") || path.contains("/tests/");
        let product = if of_tests { String::new() } else { blank_tests(&code) };
        Source { path: path.to_owned(), text: text.to_owned(), code, product }
    }

    fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        inside.split_once('/').map(|(room, _)| room)
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || self.path.starts_with(place))
    }
}

/// Replaces by spaces everything but line breaks.
fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// Blanks out comments, and the insides of string and character literals.
fn blank_prose(text: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    let mut at = 0;
    while at < out.len() {
        let rest = &out[at..];
        let end = if rest.starts_with(b"//") {
            at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            at + block_comment(rest)
        } else if let Some(length) = raw_string(rest, at > 0 && is_word(out[at - 1])) {
            at + length
        } else if rest[0] == b'"' {
            at + quoted(rest, b'"')
        } else if rest[0] == b'\'' && is_char_literal(rest) {
            at + quoted(rest, b'\'')
        } else {
            at += 1;
            continue;
        };
        blank(&mut out[at..end]);
        at = end;
    }
    String::from_utf8(out).expect("blanking keeps whole characters")
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of the raw string (`r"…"`, `br#"…"#`, `cr"…"`) that begins here, if one does.
fn raw_string(rest: &[u8], inside_word: bool) -> Option<usize> {
    let prefix = [&b"r"[..], b"br", b"cr"].into_iter().find(|p| rest.starts_with(p))?;
    let hashes = rest[prefix.len()..].iter().take_while(|&&b| b == b'#').count();
    let open = prefix.len() + hashes;
    if inside_word || rest.get(open) != Some(&b'"') {
        return None;
    }
    let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let body = &rest[open + 1..];
    let length = body.windows(close.len()).position(|w| w == close).unwrap_or(body.len());
    Some((open + 1 + length + close.len()).min(rest.len()))
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Tells `'x'` and `'\n'` from a lifetime.
fn is_char_literal(rest: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(6)]);
    let mut chars = text.chars();
    matches!((chars.next(), chars.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

/// The index behind the brace that closes the one at `open`.
fn closing_brace(code: &[u8], open: usize) -> usize {
    let mut depth = 0;
    for (at, &byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// Blanks out what follows `#[cfg(test)]`, up to its closing brace or semicolon.
fn blank_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let stop = code[start..].find(['{', ';']).map_or(code.len(), |n| start + n);
        let end = match out.get(stop) {
            Some(b'{') => closing_brace(&out, stop),
            _ => stop,
        };
        blank(&mut out[start..end]);
        from = end;
    }
    String::from_utf8(out).expect("blanking keeps whole characters")
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Every place where `word` stands by itself.
fn places(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let starts_word = is_word(word.as_bytes()[0]);
    let ends_word = is_word(word.as_bytes()[word.len() - 1]);
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| !(starts_word && at > 0 && is_word(bytes[at - 1])))
        .filter(|&at| !(ends_word && bytes.get(at + word.len()).is_some_and(|&b| is_word(b))))
        .collect()
}

fn complaints(source: &Source, code: &str, word: &str, why: &str) -> Vec<String> {
    let complain = |at| format!("{}:{}: {word}: {why}", source.path, line_of(code, at));
    places(code, word).into_iter().map(complain).collect()
}

/// The rooms in the order of the table in `src/lib.rs`.
fn rooms(lib: &str) -> Vec<String> {
    lib.lines()
        .filter_map(|line| line.strip_prefix("//! | [`"))
        .filter_map(|rest| rest.split_once("`]").map(|(room, _)| room.to_owned()))
        .collect()
}

/// Every room a piece of code names, with the place: `crate::room`, `crate::{a::…, b::…}`, and
/// `super::super::room` where that reaches the root.
fn rooms_named(source: &Source, rooms: &[String]) -> Vec<(usize, String)> {
    let code = &source.product;
    let mut named = Vec::new();
    for at in places(code, "crate") {
        let Some(rest) = code[at + 5..].strip_prefix("::") else { continue };
        if rest.starts_with('{') {
            let open = at + 7;
            let end = closing_brace(code.as_bytes(), open);
            named.extend(group_heads(&code[open + 1..end - 1]).map(|head| (at, head)));
        } else {
            named.push((at, head(rest)));
        }
    }
    let depth = source.path.matches('/').count() + usize::from(!source.path.ends_with("/mod.rs"));
    let up = "super::".repeat(depth.saturating_sub(1).max(1));
    for (at, _) in code.match_indices(&up) {
        let rest = code[at..].trim_start_matches("super::");
        named.push((at, head(rest)));
    }
    named.retain(|(_, name)| rooms.contains(name) && Some(name.as_str()) != source.room());
    named
}

fn head(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first names of a braced list, nested lists passed over.
fn group_heads(inside: &str) -> impl Iterator<Item = String> + '_ {
    let mut depth = 0;
    let items = inside.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    items.map(|item| head(item.trim()))
}

/// A room knows only rooms above it, so that commands know neither disk nor ring nor clients; the
/// codecs of `persist` know no keys.
fn check_directions(source: &Source, rooms: &[String]) -> Vec<String> {
    let Some(own) = source.room() else { return Vec::new() };
    let rank = |name: &str| rooms.iter().position(|room| room == name);
    let Some(own_rank) = rank(own) else {
        return vec![format!("{}: room {own} is not in the table of src/lib.rs", source.path)];
    };
    let loader = ["load", "recovery", "replay", "volume"].iter().any(|w| source.path.contains(w));
    let mut found = Vec::new();
    for (at, name) in rooms_named(source, rooms) {
        let line = line_of(&source.product, at);
        if rank(&name).is_some_and(|other| other > own_rank) {
            found.push(format!("{}:{line}: {own} must not know {name}", source.path));
        } else if own == "persist" && !loader && !CODEC_ROOMS.contains(&name.as_str()) {
            found.push(format!("{}:{line}: codecs must not know {name}", source.path));
        }
    }
    found
}

fn check_unsafe(source: &Source) -> Vec<String> {
    if source.is_in(UNSAFE_ISLANDS) || !source.path.starts_with("src/") {
        return Vec::new();
    }
    let why = "outside the islands listed in tests/tidy.rs";
    let mut found = complaints(source, &source.code, "unsafe", why);
    found.extend(complaints(source, &source.code, "allow(unsafe_code)", why));
    found.extend(complaints(source, &source.code, "libc::", why));
    found
}

fn check_surroundings(source: &Source) -> Vec<String> {
    if !source.path.starts_with("src/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    if source.path != CLOCK {
        for clock in ["Instant::now", "SystemTime::now"] {
            let why = "time is handed in; src/base/clock.rs reads it";
            found.extend(complaints(source, &source.product, clock, why));
        }
    }
    if !source.is_in(FILE_USERS) {
        let why = "files are reached through the disk traits";
        found.extend(complaints(source, &source.product, "std::fs", why));
    }
    found
}

fn check_words(source: &Source) -> Vec<String> {
    BANNED.iter().flat_map(|word| complaints(source, &source.code, word, "unfinished")).collect()
}

fn check_shape(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if !source.text.starts_with("//!") {
        found.push(format!("{}:1: a file opens with `//!`: what it is", source.path));
    }
    for (number, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS {
            found.push(format!("{}:{}: {columns} columns", source.path, number + 1));
        }
    }
    found
}

/// Holds `lines` to `limit`, or to the ratchet's number where there is one.
fn over(what: &str, lines: usize, limit: usize, ratchet: Option<usize>) -> Option<String> {
    match ratchet {
        None if lines > limit => Some(format!("{what}: {lines} lines, at most {limit}")),
        Some(listed) if lines > listed => {
            Some(format!("{what}: {lines} lines, the list of exceptions says {listed}"))
        }
        Some(_) if lines <= limit => {
            Some(format!("{what}: {lines} lines: strike it from the list of exceptions"))
        }
        _ => None,
    }
}

fn check_file_length(source: &Source, exceptions: &[(&str, usize)]) -> Vec<String> {
    let ratchet = exceptions.iter().find(|(path, _)| *path == source.path).map(|e| e.1);
    over(&source.path, source.text.lines().count(), FILE_LINES, ratchet).into_iter().collect()
}

/// Names of the functions with the lines from `fn` to the closing brace.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for at in places(code, "fn") {
        let rest = code[at + 2..].trim_start();
        let name = head(rest);
        let Some(stop) = code[at..].find(['{', ';']).map(|n| at + n) else { continue };
        // `fn(u8) -> u8` is a type, and a semicolon inside `[u8; 4]` ends no declaration.
        let stop = match code.as_bytes()[stop] {
            b';' if !balanced(&code[at..stop]) => match code[stop..].find('{') {
                Some(n) => stop + n,
                None => continue,
            },
            b';' => continue,
            _ => stop,
        };
        if name.is_empty() {
            continue;
        }
        let end = closing_brace(code.as_bytes(), stop);
        let first = line_of(code, at);
        found.push((name, first, line_of(code, end - 1) - first + 1));
    }
    found
}

fn balanced(signature: &str) -> bool {
    let count = |c| signature.matches(c).count();
    count('[') == count(']') && count('(') == count(')')
}

fn check_function_length(source: &Source, exceptions: &[(&str, &str, usize)]) -> Vec<String> {
    let check = |(name, line, lines): (String, usize, usize)| {
        let listed = exceptions.iter().find(|(p, n, _)| *p == source.path && *n == name);
        let what = format!("{}:{line}: fn {name}", source.path);
        over(&what, lines, FUNCTION_LINES, listed.map(|e| e.2))
    };
    functions(&source.code).into_iter().filter_map(check).collect()
}

/// All Rust files of the repository.
fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut open = ["src", "tests", "perf", "benches"].map(|d| root.join(d)).to_vec();
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.expect("a readable directory").path();
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target" && name != "results") {
                    open.push(path.clone());
                }
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("source is UTF-8");
                sources.push(Source::new(&name, &text));
            }
        }
    }
    assert!(sources.iter().any(|s| s.path == "src/lib.rs"), "no source found");
    sources
}

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "{} complaints:\n{}", found.len(), found.join("\n"));
}

fn on_all(check: impl Fn(&Source) -> Vec<String>) {
    assert_none(repository().iter().flat_map(check).collect());
}

#[test]
fn rooms_know_only_rooms_above_them() {
    let sources = repository();
    let lib = sources.iter().find(|s| s.path == "src/lib.rs").expect("src/lib.rs");
    let rooms = rooms(&lib.text);
    assert!(rooms.len() >= 10, "the table in src/lib.rs was not understood: {rooms:?}");
    assert!(lib.code.contains("#![deny(unsafe_code)]"), "src/lib.rs denies unsafe code");
    assert_none(sources.iter().flat_map(|s| check_directions(s, &rooms)).collect());
}

#[test]
fn unsafe_stays_on_its_islands() {
    on_all(check_unsafe);
}

#[test]
fn clocks_and_files_are_handed_in() {
    on_all(check_surroundings);
}

#[test]
fn nothing_is_left_unfinished() {
    on_all(check_words);
}

#[test]
fn files_say_what_they_are_and_fit_the_page() {
    on_all(check_shape);
}

#[test]
fn files_are_short() {
    on_all(|s| check_file_length(s, LONG_FILES));
}

#[test]
fn functions_are_short() {
    on_all(|s| check_function_length(s, LONG_FUNCTIONS));
}

#[test]
fn exceptions_exist() {
    let sources = repository();
    let exists = |path: &str, name: Option<&str>| {
        sources.iter().any(|s| {
            s.path == path && name.is_none_or(|n| functions(&s.code).iter().any(|f| f.0 == n))
        })
    };
    let stale = LONG_FILES.iter().map(|e| (e.0, None));
    let stale = stale.chain(LONG_FUNCTIONS.iter().map(|e| (e.0, Some(e.1))));
    assert_none(stale.filter(|e| !exists(e.0, e.1)).map(|e| format!("{e:?} is gone")).collect());
}

/// The rules, failing.
mod proof {
    use super::*;

    fn table() -> Vec<String> {
        ["base", "resp", "value", "keyspace", "command", "persist", "ring", "client", "shard"]
            .map(String::from)
            .to_vec()
    }

    fn directions(path: &str, text: &str) -> usize {
        check_directions(&Source::new(path, text), &table()).len()
    }

    #[test]
    fn the_table_is_read() {
        assert_eq!(
            rooms("//! | [`base`] | x |\n//! |---|\n//! | [`ring`] | y |"),
            ["base", "ring"]
        );
    }

    #[test]
    fn directions_are_seen() {
        assert_eq!(directions("src/command/a.rs", "use crate::keyspace::Entry;"), 0);
        for room in ["ring", "client", "persist", "shard"] {
            assert_eq!(directions("src/command/a.rs", &format!("use crate::{room}::X;")), 1);
        }
        assert_eq!(directions("src/resp/a.rs", "fn f() { crate::shard::run() }"), 1);
        assert_eq!(directions("src/resp/a.rs", "use crate::{base::X, keyspace::{Y, Z}};"), 1);
        assert_eq!(directions("src/resp/a.rs", "use super::super::keyspace::Y;"), 1);
        assert_eq!(directions("src/resp/mod.rs", "use super::keyspace::Y;"), 1);
        assert_eq!(directions("src/resp/a/b.rs", "use super::super::reply::Y;"), 0);
        assert_eq!(directions("src/nowhere/a.rs", ""), 1);
        assert_eq!(directions("src/resp/a.rs", "// use crate::shard::X;"), 0);
        assert_eq!(directions("src/resp/a.rs", "#[cfg(test)]\nmod t { use crate::shard::X; }"), 0);
        assert_eq!(directions("src/resp/tests.rs", "use crate::shard::X;"), 0);
    }

    #[test]
    fn codecs_know_no_keys() {
        let text = "use crate::keyspace::Entry;";
        assert_eq!(directions("src/persist/aof/format.rs", text), 1);
        assert_eq!(directions("src/persist/rdb/encode.rs", text), 1);
        assert_eq!(directions("src/persist/rdb/load.rs", text), 0);
        assert_eq!(directions("src/persist/recovery.rs", text), 0);
    }

    #[test]
    fn unsafe_is_seen() {
        let count = |path, text| check_unsafe(&Source::new(path, text)).len();
        assert_eq!(count("src/resp/a.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(count("src/resp/a.rs", "#![allow(unsafe_code)]"), 1);
        assert_eq!(count("src/resp/a.rs", "fn f() { libc::getpid(); }"), 1);
        assert_eq!(count("src/resp/a.rs", "// unsafe\nlet s = \"unsafe\"; let unsafely = 1;"), 0);
        assert_eq!(count("src/ring/a.rs", "fn f() { unsafe { libc::g() } }"), 0);
    }

    #[test]
    fn clocks_and_files_are_seen() {
        let count = |path, text| check_surroundings(&Source::new(path, text)).len();
        assert_eq!(count("src/shard/a.rs", "let t = Instant::now();"), 1);
        assert_eq!(count("src/shard/a.rs", "let t = std::time::SystemTime::now();"), 1);
        assert_eq!(count("src/base/clock.rs", "let t = Instant::now();"), 0);
        assert_eq!(
            count("src/shard/a.rs", "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }"),
            0
        );
        assert_eq!(count("src/persist/aof/a.rs", "use std::fs::File;"), 1);
        assert_eq!(count("src/persist/volume.rs", "use std::fs::File;"), 0);
    }

    #[test]
    fn words_and_shape_are_seen() {
        for text in ["fn f() { todo!() }", "unimplemented!()", "dbg!(1)", "#[ignore]\nfn f() {}"] {
            assert_eq!(check_words(&Source::new("src/a.rs", text)).len(), 1, "{text}");
        }
        assert!(
            check_words(&Source::new("src/a.rs", "/* todo! */ let s = r#\"dbg!\"#;")).is_empty()
        );
        assert_eq!(check_shape(&Source::new("src/a.rs", "use std::io;")).len(), 1);
        let long = format!("//! A file.\n// {}\n", "x".repeat(98));
        assert_eq!(check_shape(&Source::new("src/a.rs", &long)).len(), 1);
    }

    #[test]
    fn lengths_are_seen() {
        let source = Source::new("src/a.rs", &"\n".repeat(801));
        assert_eq!(check_file_length(&source, &[]).len(), 1);
        assert_eq!(check_file_length(&source, &[("src/a.rs", 801)]).len(), 0);
        assert_eq!(check_file_length(&source, &[("src/a.rs", 800)]).len(), 1);
        let short = Source::new("src/a.rs", "");
        assert_eq!(check_file_length(&short, &[("src/a.rs", 801)]).len(), 1);

        let body = "\n".repeat(69);
        let long = format!("fn small() {{}}\nimpl X {{ fn f(a: [u8; 2]) -> u8 {{ {body}\n}} }}");
        let source = Source::new("src/a.rs", &long);
        assert_eq!(check_function_length(&source, &[]).len(), 1);
        assert_eq!(check_function_length(&source, &[("src/a.rs", "f", 71)]).len(), 0);
        assert_eq!(check_function_length(&source, &[("src/a.rs", "f", 70)]).len(), 1);
    }

    #[test]
    fn literals_and_lifetimes_are_told_apart() {
        let code =
            blank_prose("fn f<'a>(x: &'a str) { g('\\'', '{', b'\"', \"}\\\"\", r\"{\") } // }");
        assert_eq!(code.matches(['{', '}']).count(), 2, "{code}");
        assert_eq!(blank_prose("/* a /* b */ c */ d").trim(), "d");
    }
}
