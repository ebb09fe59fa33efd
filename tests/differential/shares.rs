//! How often each group of commands is drawn, and what a run has compared of each. Groups are those
//! of COMMAND DOCS; those that hold data are the *types* of the stream.

use std::collections::BTreeMap;

use ringstone::command::table;

use super::commands::Row;
use super::generate::{Args, KEYS};
use super::{bits, collections, lists, places, streams, zsets};

/// The types.
pub const TYPES: [&str; 9] =
    ["string", "bitmap", "hyperloglog", "list", "hash", "set", "sorted-set", "stream", "geo"];

/// What steers a stream that is restricted to one type.
const STEERING: [&str; 12] = [
    "multi", "exec", "discard", "watch", "unwatch", "select", "hello", "reset", "flushdb",
    "flushall", "swapdb", "debug",
];

/// The group of a command, if it is one.
pub fn group(name: &[u8]) -> &'static str {
    table::find(name).map_or("none", |command| command.group)
}

/// Parts of a thousand for each type, for commands on keys of any type, and for the others.
const OF_ALL: (u64, u64, u64) = (86, 116, 110);
/// The same where there is one type.
const OF_ONE: (u64, u64, u64) = (700, 180, 120);

/// The rows with their weights, so that every type comes up equally often. What empties a database
/// does so seldom, so that there is something in it.
pub fn weigh(rows: &[&'static Row], only: Option<&str>) -> Vec<(&'static Row, u64)> {
    let (each, generic, others) = if only.is_some() { OF_ONE } else { OF_ALL };
    let class = |row: &Row| match group(row.name.as_bytes()) {
        group if TYPES.contains(&group) => (group, each),
        "generic" => ("generic", generic),
        _ => ("others", others),
    };
    let wanted = |row: &&&'static Row| match (only, class(row).0) {
        (None, _) | (Some(_), "generic") => true,
        (Some(_), "others") => STEERING.contains(&row.name),
        (Some(only), group) => group == only,
    };
    let rows: Vec<&'static Row> = rows.iter().filter(wanted).copied().collect();
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &rows {
        *sums.entry(class(row).0).or_default() += u64::from(row.weight);
    }
    let weight = |row: &'static Row| {
        let (class, share) = class(row);
        let fine = if matches!(row.name, "flushall" | "flushdb") { 125 } else { 1000 };
        (row, u64::from(row.weight) * share * fine / sums[class])
    };
    rows.into_iter().map(weight).collect()
}

/// The keys that mostly hold what a group's commands are for.
pub fn keys_of(group: &str) -> Vec<&'static [u8]> {
    match group {
        "string" | "bitmap" => KEYS[..12].to_vec(),
        "hyperloglog" => bits::SKETCHES.to_vec(),
        "list" => lists::LISTS.to_vec(),
        "hash" => collections::HASHES.to_vec(),
        "set" => collections::SETS.to_vec(),
        // Not those whose members have one score.
        "sorted-set" => zsets::ZSETS.to_vec(),
        "stream" => streams::STREAMS.to_vec(),
        "geo" => [places::PLACES.as_slice(), &places::FOUND].concat(),
        other => panic!("{other} is no type; there are {TYPES:?}"),
    }
}

/// Replies of each group that agreed: all, and those that were no errors. A command in a
/// transaction counts when it has been carried out.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<&'static str, (u64, u64)>);

impl Counts {
    /// Counts a reply.
    pub fn note(&mut self, args: &Args, error: bool) {
        let (all, good) = self.0.entry(group(&args[0])).or_default();
        *all += 1;
        *good += u64::from(!error);
    }

    /// Adds those of another round.
    pub fn add(&mut self, other: &Counts) {
        for (group, (all, good)) in &other.0 {
            let sums = self.0.entry(group).or_default();
            *sums = (sums.0 + all, sums.1 + good);
        }
    }

    /// The least number of replies without error that one of these types has had.
    pub fn least(&self, types: &[&str]) -> u64 {
        types.iter().map(|of| self.0.get(of).map_or(0, |counts| counts.1)).min().unwrap_or(0)
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (group, (all, good)) in &self.0 {
            writeln!(f, "  {group:<14} {all:>9} compared, {good:>9} of them no errors")?;
        }
        Ok(())
    }
}

#[test]
fn every_type_has_its_share() {
    let rows: Vec<&Row> = super::commands::rows().collect();
    let share = |weighed: &[(&Row, u64)], of: &str| -> u64 {
        let own = weighed.iter().filter(|(row, _)| group(row.name.as_bytes()) == of);
        own.map(|(_, weight)| weight).sum::<u64>() / 1000
    };
    let all = weigh(&rows, None);
    let one = weigh(&rows, Some("hash"));
    for of in TYPES {
        assert!((80..=86).contains(&share(&all, of)), "{of}: {}", share(&all, of));
        assert_eq!(share(&one, of) > 0, of == "hash", "{of}");
        assert!(!keys_of(of).is_empty());
    }
    assert_eq!(all.len(), rows.len());
}
