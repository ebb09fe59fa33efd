//! The stream: seeded, and independent of what the servers answer, so that any part of it can be
//! played again. Steps come one after another; the order is therefore defined.
//!
//! Clocks are kept out of the answers by construction: an expiry is far in the future, in the past,
//! or so short that the step waits until it is over on both servers. `GT` never meets two equal
//! relative expiries, since which of them is later would be decided by a millisecond.

use std::collections::BTreeSet;

use ringstone::base::random::Random;

use super::commands::{self, Row, Trait};
use super::shares;
use crate::support::{encode, show_command};

/// Connections of the stream.
pub const CONNECTIONS: usize = 6;

/// A command's words.
pub type Args = Vec<Vec<u8>>;

/// One command as it is sent.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its words.
    pub args: Args,
    /// Sent as an inline command.
    pub inline: bool,
    /// Bytes sent in front of it, which have no reply.
    pub noise: &'static [u8],
}

impl Command {
    /// Its bytes on the wire.
    pub fn wire(&self) -> Vec<u8> {
        let mut out = self.noise.to_vec();
        if self.inline {
            let words: Vec<Vec<u8>> = self.args.iter().map(|a| quoted(a)).collect();
            out.extend(words.join(&b' '));
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend(encode(&self.args));
        }
        out
    }

    /// Whether its name is `name`.
    pub fn is(&self, name: &str) -> bool {
        self.args.first().is_some_and(|a| a.eq_ignore_ascii_case(name.as_bytes()))
    }
}

fn quoted(word: &[u8]) -> Vec<u8> {
    let plain = |b: &u8| b.is_ascii_graphic() && !b"\"'\\".contains(b);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut out = vec![b'"'];
    for &b in word {
        match b {
            b'"' | b'\\' => out.extend([b'\\', b]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            0x20..=0x7e => out.push(b),
            _ => out.extend(format!("\\x{b:02x}").bytes()),
        }
    }
    out.push(b'"');
    out
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Commands sent at once on one connection; then all their replies.
    Pipeline(usize, Vec<Command>),
    /// A command with an expiry of a millisecond, on a connection of its own; then the key is
    /// awaited to be gone from this database.
    Short(usize, Args),
    /// A whole SCAN with these options, compared as a set.
    Scan(usize, Args),
    /// Bytes on a fresh connection, up to its end.
    Junk(Vec<u8>),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Pipeline(on, commands) => {
                writeln!(f, "connection {on}, {} commands:", commands.len())?;
                for command in commands {
                    let how = if command.inline { " (inline)" } else { "" };
                    writeln!(f, "    {}{how}", show_command(&command.args))?;
                }
                Ok(())
            }
            Step::Short(db, args) => writeln!(f, "db {db}, short-lived: {}", show_command(args)),
            Step::Scan(db, args) => writeln!(f, "db {db}, whole SCAN {}", show_command(args)),
            Step::Junk(bytes) => writeln!(f, "fresh connection: {}", bytes.escape_ascii()),
        }
    }
}

/// Which commands are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// All.
    All,
    /// Only such as change data, whole databases more often.
    Writes,
}

/// The generator.
pub struct Gen {
    random: Random,
    rows: Vec<(&'static Row, u64)>,
    weight: u64,
    /// The keys of the one type that the stream is restricted to; none when it is of all.
    own: Vec<&'static [u8]>,
    in_multi: [bool; CONNECTIONS],
    fresh: [bool; CONNECTIONS],
    used: BTreeSet<&'static str>,
    greater: u64,
    /// Where streams have come to: ids mostly grow.
    pub stamp: u64,
    profile: Profile,
}

pub const KEYS: [&[u8]; 30] = [
    b"k0",
    b"k1",
    b"k2",
    b"k3",
    b"{t}a",
    b"{t}b",
    b"{t}c",
    b"{u}1",
    b"{u}2",
    b"n:1",
    b"n:2",
    b"hello",
    b"k4",
    b"k5",
    b"k6",
    b"k7",
    b"{t}d",
    b"{u}3",
    b"{u}{t}x",
    b"",
    b"a b",
    b"\x00\xff\r\n\"'\\",
    b"h[ae]llo",
    b"hallo",
    b"h?llo*",
    b"{}z",
    b"{",
    b"foo{}{bar}",
    b"123",
    b"KEY",
];

/// Keys whose values may be large; the commands whose cost is quadratic never meet them.
const BIG_KEYS: [&[u8]; 3] = [b"big1", b"{t}big", b"big2"];

/// Every key the stream can name.
pub fn universe() -> BTreeSet<Vec<u8>> {
    let long = long_key();
    KEYS.iter()
        .chain(&BIG_KEYS)
        .chain(&super::bits::SKETCHES)
        .chain(&super::collections::HASHES)
        .chain(&super::collections::SETS)
        .chain(&super::streams::STREAMS)
        .chain(&super::lists::LISTS)
        .chain(&super::zsets::ZSETS)
        .chain(&super::zsets::LEVELS)
        .chain(&super::places::PLACES)
        .chain(&super::places::FOUND)
        .map(|k| k.to_vec())
        .chain([long])
        .chain(GARBAGE.iter().map(|g| g.to_vec()))
        .collect()
}

fn long_key() -> Vec<u8> {
    b"long-".repeat(70)
}

const GARBAGE: [&[u8]; 14] = [
    b"",
    b"garbage",
    b"-1",
    b"0",
    b"1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"+1",
    b" 1",
    b"01",
    b"1.5",
    b"nan",
    b"\xff\x00\r\n",
];

const INTEGERS: [&[u8]; 22] = [
    b"0",
    b"1",
    b"-1",
    b"2",
    b"10",
    b"-7",
    b"100",
    b"12345",
    b"9999",
    b"10000",
    b"-10000",
    b"9223372036854775807",
    b"9223372036854775806",
    b"-9223372036854775808",
    b"-9223372036854775807",
    b"9223372036854775808",
    b"+5",
    b" 5",
    b"05",
    b"-0",
    b"1.0",
    b"abc",
];

/// None beyond a double: SORT takes the next number for one too, by an `errno` left over; such have
/// a test of their own.
const FLOATS: [&[u8]; 24] = [
    b"0",
    b"1",
    b"-1",
    b"0.1",
    b"3.5",
    b"-2.25",
    b"3.0e3",
    b"5e-3",
    b"1e17",
    b"1.1e20",
    b"123456.789",
    b"0.30000000000000004",
    b"1e-20",
    b"inf",
    b"-inf",
    b"nan",
    b"0x10",
    b"1e300",
    b" 1",
    b"1 ",
    b"",
    b"abc",
    b"1.",
    b".5",
];

impl Gen {
    /// The stream of `seed` over those rows that `knows` names.
    pub fn new(seed: u64, knows: impl Fn(&str) -> bool, profile: Profile) -> Gen {
        let wanted =
            |row: &&Row| knows(row.name) && (profile == Profile::All || row.is(Trait::Write));
        let rows: Vec<&'static Row> = commands::rows().filter(wanted).collect();
        let rows = match profile {
            Profile::All => shares::weigh(&rows, None),
            Profile::Writes => rows.iter().map(|row| (*row, u64::from(row.weight))).collect(),
        };
        Gen {
            random: Random::new(seed),
            weight: rows.iter().map(|(_, weight)| weight).sum(),
            rows,
            own: Vec::new(),
            in_multi: [false; CONNECTIONS],
            fresh: [true; CONNECTIONS],
            used: BTreeSet::new(),
            greater: 0,
            stamp: 1,
            profile,
        }
    }

    /// The same stream restricted to one group of commands, those on keys of any type and those
    /// that steer a connection; keys are mostly of that type.
    pub fn of_type(mut self, group: &str) -> Gen {
        self.own = shares::keys_of(group);
        let rows: Vec<&'static Row> = self.rows.iter().map(|(row, _)| *row).collect();
        self.rows = shares::weigh(&rows, Some(group));
        self.weight = self.rows.iter().map(|(_, weight)| weight).sum();
        self
    }

    /// Names of all rows of the stream.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.rows.iter().map(|(row, _)| row.name)
    }

    /// Whether the stream is for what is logged: requests that Redis itself does not log rightly
    /// have no place in it.
    pub fn is_for_the_log(&self) -> bool {
        self.profile == Profile::Writes
    }

    /// Names of the rows drawn so far.
    pub fn used(&self) -> &BTreeSet<&'static str> {
        &self.used
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// True in `percent` of 100 calls.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A word of these, as an argument.
    pub fn word(&mut self, choices: &[&str]) -> Vec<u8> {
        let word = self.pick(choices);
        if self.chance(20) { word.to_ascii_lowercase().into() } else { word.into() }
    }

    /// A key, mostly of a string.
    pub fn key(&mut self) -> Vec<u8> {
        if !self.own.is_empty() && self.chance(85) {
            let at = self.below(self.own.len() as u64) as usize;
            return self.own[at].to_vec();
        }
        match self.below(100) {
            0..70 => self.pick(&KEYS[..12]).to_vec(),
            70..99 => self.pick(&KEYS).to_vec(),
            _ => long_key(),
        }
    }

    /// Whether the stream is restricted to one type.
    pub fn is_of_one_type(&self) -> bool {
        !self.own.is_empty()
    }

    /// A key that may hold a large value.
    pub fn big_key(&mut self) -> Vec<u8> {
        self.pick(&BIG_KEYS).to_vec()
    }

    /// From `least` up to `most` keys.
    pub fn keys(&mut self, least: u64, most: u64) -> Args {
        let n = least + self.below(most - least + 1);
        let key = |_| match self.below(100) {
            _ if self.is_of_one_type() => self.key(),
            0..6 => self.sketch(),
            6..12 => self.hash_key(),
            12..18 => self.set_key(),
            18..22 => self.stream_key(),
            22..27 => self.list_key(),
            27..32 => self.zset_key(),
            _ => self.key(),
        };
        (0..n).map(key).collect()
    }

    /// A value for a string.
    pub fn value(&mut self) -> Vec<u8> {
        match self.below(100) {
            0..35 => self.integer(),
            35..50 => self.pick(&FLOATS).to_vec(),
            50..55 => Vec::new(),
            55..75 => {
                let len = self.pick(&[1, 3, 19, 20, 21, 39, 43, 44, 45, 46, 63, 64, 65]);
                self.text(len)
            }
            75..80 => {
                let len = self.pick(&[100, 127, 128, 300, 600]);
                self.text(len)
            }
            _ => self
                .pick(&[b"foo".as_slice(), b"bar", b"ohmytext", b"mynewtext", b"\x00\xff\r\n"])
                .into(),
        }
    }

    /// A value for a part of a collection. None begins with a zero byte: beside an empty one SORT
    /// ALPHA would have two that `strcoll` takes for one, in an order that is nobody's promise.
    pub fn part(&mut self) -> Vec<u8> {
        let value = self.value();
        if value.first() == Some(&0) { b"\xff\x00\r\n".to_vec() } else { value }
    }

    /// Text of this length over a small alphabet, so that common parts occur.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| b'a' + self.below(4) as u8).collect()
    }

    /// A large value.
    pub fn big_value(&mut self) -> Vec<u8> {
        let len = self.pick(&[1023, 1024, 1025, 5000, 16383, 16384, 16385, 40_000, 70_000]);
        vec![b'a' + self.below(26) as u8; len]
    }

    /// An integer, valid or not.
    pub fn integer(&mut self) -> Vec<u8> {
        if self.chance(50) {
            return (self.below(40) as i64 - 10).to_string().into();
        }
        self.pick(&INTEGERS).to_vec()
    }

    /// A floating-point number, valid or not.
    pub fn float(&mut self) -> Vec<u8> {
        self.pick(&FLOATS).to_vec()
    }

    /// An index into a string, or its end.
    pub fn index(&mut self) -> Vec<u8> {
        if self.chance(85) {
            return (self.below(120) as i64 - 50).to_string().into();
        }
        self.garbage()
    }

    /// What no command expects.
    pub fn garbage(&mut self) -> Vec<u8> {
        self.pick(&GARBAGE).to_vec()
    }

    /// A database's number, mostly of those few that the stream uses.
    pub fn database(&mut self) -> Vec<u8> {
        match self.below(20) {
            0 => self.word(&[
                "15",
                "16",
                "-1",
                "abc",
                "",
                "1.5",
                "9223372036854775808",
                "4294967296",
            ]),
            1 => self.below(16).to_string().into(),
            _ => self.below(3).to_string().into(),
        }
    }

    /// A pattern for KEYS and SCAN.
    pub fn pattern(&mut self) -> Vec<u8> {
        self.pick(&[
            b"*".as_slice(),
            b"k*",
            b"k?",
            b"h[ae]llo",
            b"h[^e]llo",
            b"h\\[ae\\]llo",
            b"*o",
            b"{t}*",
            b"",
            b"[a-k]*",
            b"[",
            b"\\",
            b"h[a-",
            b"**",
            b"[^]",
            b"k[0-3]",
            b"???",
            b"*\xff*",
        ])
        .to_vec()
    }

    /// A relative expiry: far away, invalid, or (if `past`) over already.
    pub fn relative(&mut self, millis: bool, past: bool) -> Vec<u8> {
        let unit = if millis { 1000 } else { 1 };
        match self.below(20) {
            0 => self.bad_time(),
            1 | 2 if past => self.pick(&[b"-1".as_slice(), b"0", b"-1000", b"-99999999"]).to_vec(),
            _ => ((100_000 + 10_000 * self.below(50)) * unit).to_string().into(),
        }
    }

    /// A relative expiry that is never met twice nor equals one of [`Gen::relative`].
    pub fn relative_once(&mut self, millis: bool) -> Vec<u8> {
        let unit = if millis { 1000 } else { 1 };
        self.greater += 1;
        let spread = self.greater * 48_271 % 65_537;
        ((105_000 + 10_000 * spread) * unit).to_string().into()
    }

    /// An absolute expiry: after the year 2100, invalid, or (if `past`) over already.
    pub fn absolute(&mut self, millis: bool, past: bool) -> Vec<u8> {
        let unit = if millis { 1000 } else { 1 };
        match self.below(20) {
            0 => self.bad_time(),
            1 | 2 if past => {
                self.pick(&[b"1".as_slice(), b"0", b"-1", b"1000000", b"-1000"]).to_vec()
            }
            _ => ((4_102_444_800 + 1000 * self.below(20)) * unit).to_string().into(),
        }
    }

    fn bad_time(&mut self) -> Vec<u8> {
        self.pick(&[
            b"abc".as_slice(),
            b"",
            b"1.5",
            b"9223372036854775808",
            b"-9223372036854775808",
            b" 1",
            b"9223372036854775",
            b"-9223372036854776",
        ])
        .to_vec()
    }

    /// The next step.
    pub fn step(&mut self) -> Step {
        if self.profile == Profile::All {
            match self.below(1000) {
                0..8 => return self.short(),
                8..16 => return self.scan(),
                16..19 => return self.junk(),
                _ => {}
            }
        }
        let on = self.below(CONNECTIONS as u64) as usize;
        let count = match self.below(20) {
            0..8 => 1,
            8..14 => 1 + self.below(5),
            14..19 => 1 + self.below(30),
            _ => 1 + self.below(100),
        };
        let mut commands = Vec::new();
        if std::mem::take(&mut self.fresh[on]) && on % 2 == 1 && self.profile == Profile::All {
            commands.push(plain(vec![b"HELLO".into(), b"3".into()]));
        }
        for _ in 0..count {
            let command = self.command(on);
            let last = command.is("QUIT");
            commands.push(command);
            if last {
                self.in_multi[on] = false;
                self.fresh[on] = true;
                break;
            }
        }
        Step::Pipeline(on, commands)
    }

    fn command(&mut self, on: usize) -> Command {
        if self.in_multi[on] && self.chance(14) {
            self.in_multi[on] = false;
            return plain(vec![self.word(&["EXEC", "EXEC", "EXEC", "EXEC", "DISCARD"])]);
        }
        let row = self.row();
        let mut args = Args::new();
        while args.is_empty() || super::normalise::is_left_out(&args) {
            args = vec![row.name.to_ascii_uppercase().into_bytes()];
            args.extend((row.make)(self));
            if !row.is(Trait::Exact) {
                self.spoil(row, &mut args);
            }
        }
        match row.name {
            "multi" => self.in_multi[on] = args.len() == 1,
            "exec" | "discard" | "reset" if args.len() == 1 => self.in_multi[on] = false,
            _ => {}
        }
        let inline = self.chance(3) && args.iter().all(|a| a.len() < 400);
        let noise = if self.chance(2) {
            self.pick(&[b"\r\n".as_slice(), b"*0\r\n", b"*-1\r\n", b"\n", b"  \r\n", b"*-10\r\n"])
        } else {
            b""
        };
        Command { args, inline, noise }
    }

    fn row(&mut self) -> &'static Row {
        // The rare rows come up once each before chance decides, so that none is ever left out.
        if self.chance(5)
            && let Some((row, _)) = self.rows.iter().find(|(r, _)| !self.used.contains(r.name))
        {
            self.used.insert(row.name);
            return row;
        }
        let mut at = self.below(self.weight);
        for (row, weight) in &self.rows {
            if at < *weight {
                self.used.insert(row.name);
                return row;
            }
            at -= weight;
        }
        unreachable!("weights add up")
    }

    fn spoil(&mut self, row: &Row, args: &mut Args) {
        match self.below(100) {
            0..2 => drop(args.pop().filter(|_| args.len() > 1)),
            2..4 => args.push(self.garbage()),
            4..6 if !row.is(Trait::Timed) && args.len() > 1 => {
                let at = 1 + self.below(args.len() as u64 - 1) as usize;
                let garbage = self.garbage();
                // The next entry that is read makes redis-server count past the end of its numbers,
                // into one that it refuses in its own log.
                let endless = garbage.starts_with(b"92233720368547758")
                    && args[at - 1].eq_ignore_ascii_case(b"ENTRIESREAD");
                if !endless {
                    args[at] = garbage;
                }
            }
            6..16 => args[0].make_ascii_lowercase(),
            _ => {}
        }
        if args.is_empty() {
            args.push(row.name.into());
        }
    }

    fn short(&mut self) -> Step {
        let (key, value) = (self.key(), self.value());
        let one = b"1".to_vec();
        let args = match self.below(6) {
            0 => vec![b"SET".into(), key, value, b"PX".into(), one],
            1 => vec![b"PSETEX".into(), key, one, value],
            2 => vec![b"GETEX".into(), key, b"PX".into(), one],
            3 => vec![b"SET".into(), key, value, b"GET".into(), b"PX".into(), one],
            4 => vec![b"SET".into(), key, value, b"EXAT".into(), one],
            _ => vec![b"PEXPIRE".into(), key, one],
        };
        Step::Short(self.below(3) as usize, args)
    }

    fn scan(&mut self) -> Step {
        let mut args = Vec::new();
        if self.chance(50) {
            args.extend([b"MATCH".to_vec(), self.pattern()]);
        }
        if self.chance(60) {
            args.extend([b"COUNT".to_vec(), self.word(&["1", "2", "5", "10", "1000"])]);
        }
        if self.chance(20) {
            args.extend([b"TYPE".to_vec(), self.word(&["string", "list", "STRING"])]);
        }
        Step::Scan(self.below(3) as usize, args)
    }

    fn junk(&mut self) -> Step {
        Step::Junk(self.pick(super::JUNK).to_vec())
    }
}

fn plain(args: Args) -> Command {
    Command { args, inline: false, noise: b"" }
}
