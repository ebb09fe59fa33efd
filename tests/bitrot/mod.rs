//! What becomes of a stopped server's files while nobody looks: single bits flip, files go, change
//! places or lose their ends. Each such directory is refused by name, repaired by the documented
//! rule, or holds exactly the same data; none gives other data in silence.
//!
//! Thousands of cases are judged in process by what a start does (`inspect`, then the loader); some
//! of them by the server itself as well. For comparison, bits of a log of redis-server's own.
//!
//! The rule where something is cut: behind a clean stop nothing ever is. Behind a kill the end of
//! a file that was being written may be torn, and then what is kept of every file is what was
//! written, from its beginning, and recovery says so. A file of those that ends at a frame border
//! is what an earlier kill would have left, and nothing in it can tell.

mod directory;
mod files;

use std::collections::BTreeMap;
use std::path::Path;

use ringstone::base::random::Random;
use ringstone::persist::aof::format::parse_head;
use ringstone::persist::aof::manifest::{FileType, Line, Manifest, Ours};
use ringstone::persist::durable::boot_identity;

use directory::{behind_rewrites, log_dir, with_everything};
use files::{Contents, Files, NAME, load};

use crate::support::server::{copy_home, fresh_home, judged_by_peer};
use crate::support::{Options, Server, number, peer};

/// What a damaged directory comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// It does not start.
    Refused,
    /// Bytes at an end were cut, and it was said.
    Repaired,
    /// The same data.
    Same,
    /// What an earlier kill would have left.
    Earlier,
}

/// How often which verdict was given, by kind of damage.
type Tally = BTreeMap<(&'static str, Verdict), u64>;

/// What has become of a log.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Every kind of file, and no rewrite.
    Everything,
    /// Two rewrites, history, files that were written ahead.
    Rewritten {
        /// The base is an RDB.
        rdb: bool,
    },
}

/// How what was written ahead ends.
const FILLER: &[u8] = b"        \n";

/// A stopped server's directory, and what it holds.
struct Subject {
    home: crate::support::server::Stopped,
    files: Files,
    manifest: Manifest,
    contents: Contents,
    shards: usize,
    boot: String,
    cleanly: bool,
}

impl Subject {
    fn make(shards: usize, cleanly: bool, kind: Kind) -> Subject {
        let home = match kind {
            Kind::Everything => with_everything(shards, cleanly),
            Kind::Rewritten { rdb } => behind_rewrites(shards, cleanly, rdb),
        };
        let dir = log_dir(home.path());
        let files = Files::read(&dir);
        let boot = boot_identity(&dir).expect("a boot id");
        let manifest = Manifest::parse(&files.0[&format!("{NAME}.manifest")]).expect("read");
        let held = load(&files, shards, &boot).expect("undamaged it loads");
        assert!(held.contents.len() > 100 && !cleanly || held.report.is_empty());
        let names: Vec<&str> = files.0.keys().map(String::as_str).collect();
        let endings: &[&str] = match kind {
            Kind::Everything => &[".base.rdb", ".cut.incr.aof", ".tail.incr.aof", ".s00.incr.aof"],
            Kind::Rewritten { rdb: true } => &[".base.rdb", ".cut.incr.aof", ".s00.incr.aof"],
            Kind::Rewritten { rdb: false } => &[".base.aof", ".cut.incr.aof", ".s00.incr.aof"],
        };
        for ending in endings {
            assert!(names.iter().any(|n| n.ends_with(ending)), "no {ending} in {names:?}");
        }
        let count = |of: &dyn Fn(&Line) -> bool| manifest.lines.iter().filter(|l| of(l)).count();
        let whole = count(&|line| matches!(line.ours, Some(Ours::Whole(_))));
        let history = count(&|line| line.kind == FileType::History);
        let filled = files.0.values().any(|bytes| bytes.ends_with(FILLER));
        match kind {
            Kind::Everything => assert!(whole > 1, "the base and a foreign file"),
            Kind::Rewritten { .. } => {
                assert!(whole > 0 && history > shards, "a base, and what it has replaced");
                assert!(cleanly || filled, "written ahead");
            }
        }
        Subject { home, files, manifest, contents: held.contents, shards, boot, cleanly }
    }

    /// Judges a damaged copy; fails when it gives other data in silence.
    fn judge(&self, damaged: &Files, what: &str) -> Verdict {
        let held = match load(damaged, self.shards, &self.boot) {
            Ok(held) => held,
            Err(said) => {
                let named = said.contains(NAME);
                assert!(named, "{what}: refused, but no file is named: {said}");
                return Verdict::Refused;
            }
        };
        if held.contents == self.contents {
            return Verdict::Same;
        }
        assert!(!self.cleanly, "{what}: other data in silence; said: {:?}", held.report);
        let mut shorter = false;
        for (name, count) in &held.counted {
            let count = *count as usize;
            let (was, is) = (&self.files.0[name], &damaged.0[name]);
            assert!(is.get(..count) == was.get(..count), "{what}: {name} has other bytes");
            shorter |= is.len() < was.len() && count == is.len();
        }
        match (held.report.is_empty(), shorter) {
            (false, _) => Verdict::Repaired,
            (true, true) => Verdict::Earlier,
            (true, false) => panic!("{what}: less data in silence"),
        }
    }

    /// A file, each byte of the directory as likely as any other.
    fn any_byte(&self, rng: &mut Random) -> (&str, usize) {
        let mut at = rng.below(self.files.size() as u64) as usize;
        for (name, bytes) in &self.files.0 {
            match at.checked_sub(bytes.len()) {
                None => return (name, at),
                Some(rest) => at = rest,
            }
        }
        unreachable!("the sizes add up")
    }

    /// A flipped bit: one in four in the manifest, one in four in any file, since the small ones
    /// would hardly ever be hit, the others anywhere.
    fn flip(&self, rng: &mut Random) -> (Files, String) {
        let manifest = format!("{NAME}.manifest");
        let within = |name| (name, self.files.0[name].len() as u64);
        let (name, len) = match rng.below(4) {
            0 => within(&manifest[..]),
            1 => within(self.any_listed(rng)),
            _ => ("", 0),
        };
        let (name, at) = match len {
            0 => self.any_byte(rng),
            _ => (name, rng.below(len) as usize),
        };
        let bit = rng.below(8);
        let what = format!("{} shards, bit {bit} of byte {at} of {name}", self.shards);
        (self.files.with(name, |bytes| bytes[at] ^= 1 << bit), what)
    }

    /// A listed file, history included, which nobody reads.
    fn any_listed(&self, rng: &mut Random) -> &str {
        let lines = &self.manifest.lines;
        &lines[rng.below(lines.len() as u64) as usize].file
    }

    /// A file missing, two in each other's place, or one cut at the border of a frame.
    fn case(&self, rng: &mut Random) -> (Files, &'static str, String) {
        let mut files = self.files.clone();
        let of = |what: &str| format!("{} shards, {what}", self.shards);
        match rng.below(3) {
            0 => {
                let manifest = format!("{NAME}.manifest");
                let name = if rng.one_in(8) { &manifest[..] } else { self.any_listed(rng) };
                files.0.remove(name);
                (files, "missing", of(&format!("{name} missing")))
            }
            1 => {
                let (a, b) = (self.any_listed(rng), self.any_listed(rng));
                let (x, y) = (self.files.0[a].clone(), self.files.0[b].clone());
                files.0.insert(a.to_owned(), y);
                files.0.insert(b.to_owned(), x);
                (files, "swapped", of(&format!("{a} and {b} swapped")))
            }
            _ => {
                let name = self.any_listed(rng);
                let borders = borders(&self.files.0[name]);
                let at = borders[rng.below(borders.len() as u64) as usize];
                let files = self.files.with(name, |bytes| bytes.truncate(at));
                (files, "cut at a border", of(&format!("{name} cut at {at}")))
            }
        }
    }
}

/// Offsets at which a frame begins, or a command in a file that has no frames; not the end.
fn borders(bytes: &[u8]) -> Vec<usize> {
    let mut borders = vec![0];
    let mut at = 0;
    while let Ok(head) = parse_head(&bytes[at..]) {
        at += head.line + head.head.len as usize;
        if at >= bytes.len() {
            return borders;
        }
        borders.push(at);
    }
    for (at, window) in bytes.windows(3).enumerate() {
        if window == b"\r\n*" {
            borders.push(at + 2);
        }
    }
    borders
}

/// Gives a directory to the server itself: the same verdict is wanted.
fn judged_by_the_server(subject: &Subject, damaged: &Files, verdict: Verdict, what: &str) {
    let home = copy_home(subject.home.path());
    damaged.write(&log_dir(home.path()));
    let options = Options { fsync: "everysec", ..Options::shards(subject.shards) };
    match (Server::attempt(home, None, options), verdict) {
        (Err(ended), Verdict::Refused) => {
            assert!(ended.log.contains(NAME), "{what}: the server names no file: {ended}");
        }
        (Err(ended), _) => panic!("{what}: loaded in process, refused by the server: {ended}"),
        (Ok(_), Verdict::Refused) => panic!("{what}: refused in process, and the server came up"),
        (Ok(server), _) => {
            let mut client = server.client();
            let keys: i64 = (0..16)
                .map(|db| {
                    client.words(&format!("SELECT {db}"));
                    client.words("DBSIZE").int().expect("a number")
                })
                .sum();
            let held = load(damaged, subject.shards, &subject.boot).expect("loaded before");
            assert_eq!(keys, held.contents.len() as i64, "{what}");
        }
    }
}

#[test]
fn no_damage_gives_other_data_in_silence() {
    if judged_by_peer() {
        return;
    }
    let seed = number("RINGSTONE_ROT_SEED", 1);
    let (flips, cases) = (number("RINGSTONE_ROT_FLIPS", 600), number("RINGSTONE_ROT_CASES", 40));
    let boots = number("RINGSTONE_ROT_BOOTS", 6);
    let mut tally = Tally::new();
    // Seven in ten behind a clean stop.
    let (everything, rdb, plain) =
        (Kind::Everything, Kind::Rewritten { rdb: true }, Kind::Rewritten { rdb: false });
    for (n, (kind, shards, cleanly, share)) in [
        (everything, 2, true, 4),
        (everything, 4, true, 4),
        (everything, 2, false, 1),
        (everything, 4, false, 1),
        (rdb, 2, true, 3),
        (plain, 4, true, 3),
        (rdb, 4, false, 2),
        (plain, 2, false, 2),
    ]
    .into_iter()
    .enumerate()
    {
        let subject = Subject::make(shards, cleanly, kind);
        let mut rng = Random::new(seed * 100 + n as u64);
        let (flips, cases) = (flips * share / 20, cases * share / 20);
        for round in 0..flips + cases {
            let (damaged, kind, what) = if round < flips {
                let (damaged, what) = subject.flip(&mut rng);
                (damaged, "flipped", what)
            } else {
                subject.case(&mut rng)
            };
            let verdict = subject.judge(&damaged, &what);
            *tally.entry((kind, verdict)).or_default() += 1;
            if rng.below(flips + cases) < boots * share / 20 {
                judged_by_the_server(&subject, &damaged, verdict, &what);
            }
        }
        let size = subject.files.size();
        println!("{kind:?}, {shards} shards, {size} bytes, cleanly: {cleanly}");
    }
    for ((kind, verdict), count) in &tally {
        println!("rounds held: {kind}: {verdict:?}: {count}");
    }
    let refused = tally.iter().filter(|((_, v), _)| *v == Verdict::Refused).map(|(_, n)| n);
    assert!(refused.sum::<u64>() > (flips + cases) / 2, "{tally:?}");
}

/// The same of redis-server's own log, which has no checksums: how much of it goes unseen.
#[test]
fn what_redis_makes_of_flipped_bits() {
    let what = "bit rot in a log of redis-server's own";
    let Some(path) = peer::program("redis-server", what) else { return };
    let Some(theirs) = Server::peer(peer_options(), what) else { return };
    let mut client = theirs.client();
    (1..=4).for_each(|round| directory::fill(&mut client, round));
    drop(client);
    let stopped = theirs.stop();
    let files = Files::read(&log_dir(stopped.path()));
    let Outcome::Loaded(whole) = outcome(&files, stopped.path(), &path) else {
        panic!("undamaged it loads");
    };
    let mut rng = Random::new(number("RINGSTONE_ROT_SEED", 1));
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for _ in 0..number("RINGSTONE_ROT_PEER", 4) {
        let mut at = rng.below(files.size() as u64) as usize;
        let mut damaged = None;
        for (name, bytes) in &files.0 {
            if at < bytes.len() {
                damaged = Some(files.with(name, |bytes| bytes[at] ^= 1 << rng.below(8)));
                break;
            }
            at -= bytes.len();
        }
        let damaged = damaged.expect("the sizes add up");
        let said = match outcome(&damaged, stopped.path(), &path) {
            Outcome::Refused => "refused",
            Outcome::Loaded(digest) if digest == whole => "the same data",
            Outcome::Loaded(_) => "other data in silence",
        };
        *counts.entry(said).or_default() += 1;
    }
    for (said, count) in counts {
        println!("rounds of redis-server: {said}: {count}");
    }
}

fn peer_options() -> Options {
    Options { fsync: "no", ..Options::default() }.with("enable-debug-command", "yes")
}

enum Outcome {
    Refused,
    Loaded(Vec<u8>),
}

/// What redis-server makes of a log: its digest, with the keys of all databases.
fn outcome(files: &Files, like: &Path, program: &Path) -> Outcome {
    let home = fresh_home();
    std::fs::create_dir(log_dir(home.path())).expect("made");
    assert!(like.exists());
    files.write(&log_dir(home.path()));
    match Server::attempt(home, Some(program), peer_options()) {
        Err(_) => Outcome::Refused,
        Ok(server) => {
            let digest = server.client().words("DEBUG DIGEST");
            Outcome::Loaded(digest.text().expect("a digest").to_vec())
        }
    }
}
