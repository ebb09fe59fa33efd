//! Values of directives: from what a user wrote to the text that `CONFIG GET` prints. The reasons
//! for refusal are Redis' own texts, since clients and scripts look at them.

use std::fmt::Write;

use crate::base::number::parse_i64;
use crate::config::table::{Directive, Kind};
use crate::keyspace::events::Wanted;

/// Most addresses of `bind`.
const BIND_MAX: usize = 16;
/// Host names must be shorter than this, in bytes.
const HOST_MAX: usize = 256;
/// Least and greatest `hz` (Redis' numbers); others are accepted and brought into this range.
const HZ_MIN: i64 = 1;
const HZ_MAX: i64 = 500;
/// Most digits of a number of bytes.
const DIGITS_MAX: usize = 127;
/// Client classes of `client-output-buffer-limit`, in the order in which they are printed.
pub const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// See [`Directive::parse`].
pub fn parse(directive: &Directive, words: &[&[u8]], before: &[u8]) -> Result<Vec<u8>, String> {
    if directive.takes_words() {
        return parse_words(directive.kind, words, before);
    }
    let [word] = words else { return Err("wrong number of arguments".into()) };
    match directive.kind {
        Kind::Bool => match yes_no(word) {
            Some(true) => Ok(b"yes".to_vec()),
            Some(false) => Ok(b"no".to_vec()),
            None => Err("argument must be 'yes' or 'no'".into()),
        },
        Kind::Enum(names) => match one_of(names, word) {
            Some(name) => Ok(name.into()),
            None => Err(not_among(names)),
        },
        Kind::Int(min, max) => {
            let n = parse_i64(word).ok_or("argument couldn't be parsed into an integer")?;
            in_bounds(i128::from(n), i128::from(min), i128::from(max))?;
            Ok(n.to_string().into())
        }
        Kind::Hz => {
            let n = parse_i64(word).ok_or("argument couldn't be parsed into an integer")?;
            in_bounds(i128::from(n), 0, i128::from(i32::MAX))?;
            Ok(n.clamp(HZ_MIN, HZ_MAX).to_string().into())
        }
        Kind::Memory(min, max) => {
            let n = memory(word).ok_or("argument must be a memory value")?;
            in_bounds(i128::from(n), i128::from(min), i128::from(max))?;
            Ok(n.to_string().into())
        }
        Kind::MemoryOrPercent => memory_or_percent(word),
        Kind::Octal(max) => octal(word, max),
        Kind::FileName { empty } => file_name(directive.name, word, empty),
        Kind::HostName => host_name(word),
        Kind::Events => events(word),
        Kind::Text | Kind::Dir => Ok(word.to_vec()),
        _ => unreachable!("kinds of several words are handled above"),
    }
}

fn parse_words(kind: Kind, words: &[&[u8]], before: &[u8]) -> Result<Vec<u8>, String> {
    let given = if words == [b""] { &[] } else { words };
    match kind {
        Kind::Flags(names) => flags(names, words),
        Kind::Save => save(given),
        Kind::OutputLimits => output_limits(given, before),
        Kind::Bind if given.len() > BIND_MAX => Err("Too many bind addresses specified.".into()),
        Kind::Bind => Ok(given.join(&b' ')),
        Kind::ReplicaOf => replica_of(words),
        Kind::Percentiles => percentiles(given),
        Kind::OomValues => oom_values(words),
        _ => unreachable!("kinds of one word are handled by the caller"),
    }
}

/// `yes` and `no`, ASCII case folded.
pub fn yes_no(word: &[u8]) -> Option<bool> {
    match word {
        w if w.eq_ignore_ascii_case(b"yes") => Some(true),
        w if w.eq_ignore_ascii_case(b"no") => Some(false),
        _ => None,
    }
}

fn one_of(names: &'static [&'static str], word: &[u8]) -> Option<&'static str> {
    names.iter().copied().find(|n| n.as_bytes().eq_ignore_ascii_case(word))
}

fn not_among(names: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", names.join(", "))
}

fn in_bounds(n: i128, min: i128, max: i128) -> Result<(), String> {
    if (min..=max).contains(&n) {
        return Ok(());
    }
    Err(format!("argument must be between {min} and {max} inclusive"))
}

/// A number of bytes with an optional unit; no digits at all mean 0, as in Redis, and too many the
/// greatest number.
pub fn memory(word: &[u8]) -> Option<u64> {
    let digits = word.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, unit) = word.split_at(digits);
    let factor = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    if digits > DIGITS_MAX {
        return None;
    }
    let digit = |n: u64, b: &u8| n.saturating_mul(10).saturating_add(u64::from(b - b'0'));
    Some(number.iter().fold(0, digit).saturating_mul(factor))
}

fn memory_or_percent(word: &[u8]) -> Result<Vec<u8>, String> {
    if let Some(n) = memory(word) {
        in_bounds(i128::from(n), -100, i128::from(i64::MAX))?;
        return Ok(n.to_string().into());
    }
    match word.strip_suffix(b"%").and_then(parse_i64) {
        Some(n) if (1..=100).contains(&n) => Ok(format!("{n}%").into()),
        Some(0) => Ok(b"0".to_vec()),
        Some(n) if n > 0 => Err("percentage argument must be less or equal to 100".into()),
        _ => Err("argument must be a memory or percent value".into()),
    }
}

fn octal(word: &[u8], max: u32) -> Result<Vec<u8>, String> {
    let n = std::str::from_utf8(word)
        .ok()
        .and_then(|text| i64::from_str_radix(text, 8).ok())
        .ok_or("argument couldn't be parsed as an octal number")?;
    if !(0..=i64::from(max)).contains(&n) {
        return Err(format!("argument must be between 0 and {max:o} inclusive"));
    }
    Ok(format!("{n:o}").into())
}

fn file_name(directive: &str, word: &[u8], empty: bool) -> Result<Vec<u8>, String> {
    if word.is_empty() && !empty {
        return Err(format!("{directive} can't be empty"));
    }
    if word.contains(&b'/') || word.contains(&b'\\') {
        let what = if directive.ends_with("dirname") { "dirname" } else { "filename" };
        return Err(format!("{directive} can't be a path, just a {what}"));
    }
    // Ours: what the clean-up after cut-off snapshots would remove, and the lock on the directory.
    let number = word.strip_prefix(b"temp-").and_then(|rest| rest.strip_suffix(b".rdb"));
    let temporary = number.is_some_and(|n| n.iter().all(u8::is_ascii_digit));
    if directive == "dbfilename" && (temporary || word == b"ringstone.lock") {
        return Err(format!("{directive} is the name of another file of the server"));
    }
    // Ours: a name that means a directory, that no system call can carry or no manifest can name.
    let text = std::str::from_utf8(word).unwrap_or("\0");
    if text == "." || text == ".." || text.contains(char::is_control) {
        return Err(format!("{directive} is not a usable file name"));
    }
    Ok(word.to_vec())
}

fn host_name(word: &[u8]) -> Result<Vec<u8>, String> {
    if word.len() >= HOST_MAX {
        return Err(format!("Hostnames must be less than {HOST_MAX} characters"));
    }
    if word.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'.') {
        return Ok(word.to_vec());
    }
    Err("Hostnames may only contain alphanumeric characters, hyphens or dots".into())
}

fn events(word: &[u8]) -> Result<Vec<u8>, String> {
    let wanted = Wanted::parse(word);
    let wanted = wanted.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
    Ok(wanted.letters(true).into())
}

/// What CONFIG GET tells of a value that is kept as `text`.
pub fn told(kind: Kind, text: &[u8]) -> Vec<u8> {
    match kind {
        Kind::Events => Wanted::parse(text).unwrap_or_default().letters(false).into(),
        _ => text.to_vec(),
    }
}

fn flags(names: &'static [&'static str], words: &[&[u8]]) -> Result<Vec<u8>, String> {
    let mut chosen = Vec::new();
    for word in words {
        let name = one_of(names, word).ok_or_else(|| not_among(names))?;
        chosen.push(name);
    }
    if chosen.contains(&"save") && chosen.contains(&"nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
    }
    let set: Vec<&str> = names[1..].iter().copied().filter(|n| chosen.contains(n)).collect();
    Ok(if set.is_empty() { names[0].into() } else { set.join(" ").into() })
}

/// An integer as C's `strtoll` reads it when nothing may follow: blanks and a sign in front.
fn loose_i64(word: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(word).ok()?;
    text.trim_start().parse().ok()
}

fn save(words: &[&[u8]]) -> Result<Vec<u8>, String> {
    let bad = || "Invalid save parameters".to_owned();
    if !words.len().is_multiple_of(2) {
        return Err(bad());
    }
    let mut numbers = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let least = if i % 2 == 0 { 1 } else { 0 };
        let n = loose_i64(word).filter(|n| *n >= least).ok_or_else(bad)?;
        if i % 2 == 1 && n > i64::from(i32::MAX) {
            return Err(bad());
        }
        numbers.push(n.to_string());
    }
    Ok(numbers.join(" ").into())
}

fn output_limits(words: &[&[u8]], before: &[u8]) -> Result<Vec<u8>, String> {
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = read_limits(before);
    for group in words.chunks(4) {
        let name = group[0].to_ascii_lowercase();
        let class = match name.as_slice() {
            b"replica" => Some(1),
            other => CLASSES.iter().position(|c| c.as_bytes() == other),
        };
        let class = class.ok_or("Invalid client class specified in buffer limit configuration.")?;
        let seconds = loose_i64(group[3]).filter(|n| (0..=i64::from(i32::MAX)).contains(n));
        match (memory(group[1]), memory(group[2]), seconds) {
            (Some(hard), Some(soft), Some(seconds)) => {
                limits[class] = OutputLimit { hard, soft, seconds: seconds as u64 };
            }
            _ => {
                return Err("Error in hard, soft or soft_seconds setting in buffer limit \
                            configuration."
                    .into());
            }
        }
    }
    let mut out = String::new();
    for (class, limit) in CLASSES.iter().zip(limits) {
        let gap = if out.is_empty() { "" } else { " " };
        let _ = write!(out, "{gap}{class} {} {} {}", limit.hard, limit.soft, limit.seconds);
    }
    Ok(out.into())
}

/// Limits on the unread replies of one class of clients; 0 means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes at which a client is closed at once.
    pub hard: u64,
    /// Bytes at which it is closed when it stays above for [`OutputLimit::seconds`].
    pub soft: u64,
    /// See [`OutputLimit::soft`].
    pub seconds: u64,
}

/// Reads the printed form back, by class in the order of [`CLASSES`].
pub fn read_limits(text: &[u8]) -> [OutputLimit; 3] {
    let mut limits = [OutputLimit::default(); 3];
    let text = String::from_utf8_lossy(text);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    for group in words.chunks_exact(4) {
        let number = |i: usize| group[i].parse().unwrap_or(0);
        if let Some(class) = CLASSES.iter().position(|c| *c == group[0]) {
            limits[class] = OutputLimit { hard: number(1), soft: number(2), seconds: number(3) };
        }
    }
    limits
}

fn replica_of(words: &[&[u8]]) -> Result<Vec<u8>, String> {
    let [host, port] = words else { return Err("wrong number of arguments".into()) };
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Vec::new());
    }
    let number = loose_i64(port).filter(|n| (0..=65535).contains(n));
    let number = number.ok_or("Invalid master port")?;
    Ok([host, b" ".as_slice(), number.to_string().as_bytes()].concat())
}

fn percentiles(words: &[&[u8]]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for word in words {
        let value: f64 = std::str::from_utf8(word)
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|v: &f64| v.is_finite())
            .ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&value) {
            return Err("latency-tracking-info-percentiles parameters should sit between \
                        [0.0,100.0]"
                .into());
        }
        let text = format!("{value:.6}");
        out.push(text.trim_end_matches('0').trim_end_matches('.').to_owned());
    }
    Ok(out.join(" ").into())
}

fn oom_values(words: &[&[u8]]) -> Result<Vec<u8>, String> {
    if words.len() != 3 {
        return Err("wrong number of arguments".into());
    }
    let mut out = Vec::new();
    for word in words {
        let n = loose_i64(word)
            .filter(|n| (-2000..=2000).contains(n))
            .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        out.push(n.to_string());
    }
    Ok(out.join(" ").into())
}
