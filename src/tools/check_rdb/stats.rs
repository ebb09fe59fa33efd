//! What is counted while an RDB file is read.
//!
//! Memory is an estimate of what the data takes in this server once loaded: per key an entry and
//! its place in the table, per element what its form needs. A collection that stays within the
//! bounds of the directives' defaults counts as packed. The allocator's rounding is in it only on
//! average.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::persist::rdb::{Head, Piece, Problem, Visitor, format};
use crate::value::shapes::Shapes;

/// An entry without key and value, and its place in the table, in bytes.
const ENTRY: u64 = 32;
/// What an element of a packed value takes beyond its text.
const PACKED_ELEMENT: u64 = 3;
/// What a field takes beyond its texts: an entry.
const FIELD: u64 = ENTRY;
/// What a member of a set takes.
const MEMBER: u64 = ENTRY;
/// What a member of a sorted set takes: an entry, and its place in the order.
const SCORED: u64 = ENTRY + 40;
/// A structure of its own.
const OBJECT: u64 = 120;
/// Where the buckets of sizes end, in bytes; the last has no end.
pub const SIZES: [u64; 9] =
    [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20];
/// Where the buckets of expiries end, in seconds from now; the first is of those past.
pub const SPANS: [(i64, &str); 6] = [
    (0, "past"),
    (3600, "within an hour"),
    (24 * 3600, "within a day"),
    (7 * 24 * 3600, "within a week"),
    (30 * 24 * 3600, "within 30 days"),
    (i64::MAX / 1000, "later"),
];

/// Sums over some keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Keys.
    pub keys: u64,
    /// Those with an expiry.
    pub expires: u64,
    /// Elements; a string has one.
    pub elements: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Bytes in memory, about.
    pub memory: u64,
}

/// A key that is among the biggest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Big {
    /// Bytes in memory, about.
    pub memory: u64,
    /// Its database.
    pub db: usize,
    /// Its key.
    pub key: Vec<u8>,
    /// The number of its type.
    pub kind: u8,
    /// Elements.
    pub elements: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// The longest element, in bytes.
    pub longest: u64,
}

/// The value that is being read.
#[derive(Default)]
struct Now {
    elements: u64,
    texts: u64,
    /// The longest element, and the longest text.
    longest: u64,
    times: u64,
    groups: u64,
}

/// See the file's opening.
pub struct Stats {
    now_ms: i64,
    top: usize,
    now: Now,
    /// All keys.
    pub total: Sum,
    /// By type.
    pub types: BTreeMap<&'static str, Sum>,
    /// By type and layout.
    pub layouts: BTreeMap<(&'static str, &'static str), Sum>,
    /// By database.
    pub dbs: BTreeMap<usize, Sum>,
    /// By expiry: as in [`SPANS`].
    pub spans: [u64; SPANS.len()],
    /// By size in the file: as in [`SIZES`], and larger ones.
    pub sizes: [Sum; SIZES.len() + 1],
    /// Bytes of keys.
    pub key_bytes: u64,
    /// Fields that have an expiry of their own.
    pub timed_fields: u64,
    /// By module: values that were passed over.
    pub modules: BTreeMap<String, u64>,
    /// Pairs of strings about the file.
    pub aux: Vec<(Vec<u8>, Vec<u8>)>,
    biggest: BinaryHeap<Reverse<Big>>,
}

/// Pairs about the file that are kept.
const AUX_MAX: usize = 64;
/// Bytes of one that are kept.
const AUX_LEN_MAX: usize = 256;

impl Stats {
    /// Counts from the time `now_ms`, in Unix milliseconds; keeps the `top` biggest keys.
    pub fn new(now_ms: i64, top: usize) -> Stats {
        Stats {
            now_ms,
            top,
            now: Now::default(),
            total: Sum::default(),
            types: BTreeMap::new(),
            layouts: BTreeMap::new(),
            dbs: BTreeMap::new(),
            spans: [0; SPANS.len()],
            sizes: [Sum::default(); SIZES.len() + 1],
            key_bytes: 0,
            timed_fields: 0,
            modules: BTreeMap::new(),
            aux: Vec::new(),
            biggest: BinaryHeap::new(),
        }
    }

    /// The biggest keys, the biggest first.
    pub fn biggest(&self) -> Vec<&Big> {
        let mut all: Vec<&Big> = self.biggest.iter().map(|big| &big.0).collect();
        all.sort_by(|one, other| {
            (other.memory, &one.key, one.db).cmp(&(one.memory, &other.key, other.db))
        });
        all
    }

    fn text(&mut self, text: &[u8]) {
        self.now.texts += text.len() as u64;
        self.now.longest = self.now.longest.max(text.len() as u64);
    }

    fn add(&mut self, head: &Head, sum: Sum) {
        let kind = format::plain_type_name(head.kind);
        let size = SIZES.iter().position(|&end| sum.bytes < end).unwrap_or(SIZES.len());
        for to in [
            &mut self.total,
            self.types.entry(kind).or_default(),
            self.layouts.entry((kind, format::layout_name(head.kind))).or_default(),
            self.dbs.entry(head.db).or_default(),
            &mut self.sizes[size],
        ] {
            to.keys += sum.keys;
            to.expires += sum.expires;
            to.elements += sum.elements;
            to.bytes += sum.bytes;
            to.memory += sum.memory;
        }
        self.key_bytes += head.key.len() as u64;
        if let Some(at) = head.expire_ms {
            let left = at.saturating_sub(self.now_ms).div_euclid(1000);
            let span = SPANS.iter().position(|&(end, _)| left < end).unwrap_or(SPANS.len() - 1);
            self.spans[span] += 1;
        }
    }

    fn remember(&mut self, head: &Head, sum: Sum, longest: u64) {
        let least = self.biggest.peek().map_or(0, |big| big.0.memory);
        if self.biggest.len() >= self.top && sum.memory <= least {
            return;
        }
        let Sum { memory, elements, bytes, .. } = sum;
        let (db, key, kind) = (head.db, head.key.clone(), head.kind);
        self.biggest.push(Reverse(Big { memory, db, key, kind, elements, bytes, longest }));
        if self.biggest.len() > self.top {
            self.biggest.pop();
        }
    }

    /// Bytes of a value in memory, about.
    fn memory(&self, kind: u8) -> u64 {
        const SHAPES: Shapes = Shapes::DEFAULT;
        let Now { elements, texts, longest, times, groups } = self.now;
        let packed = texts + PACKED_ELEMENT * elements;
        let within = |most: usize, len: usize| elements <= most as u64 && longest <= len as u64;
        match format::plain_type_name(kind) {
            "string" if texts <= 20 => 8,
            "string" => texts,
            "list" => packed + 64 * (packed / 8192),
            "set" if within(SHAPES.set_entries, SHAPES.set_value) => packed,
            "set" => OBJECT + texts + MEMBER * elements,
            "hash" if times == 0 && within(SHAPES.hash_entries, SHAPES.hash_value) => {
                packed + PACKED_ELEMENT * elements
            }
            "hash" => OBJECT + texts + FIELD * elements + 8 * times,
            "zset" if within(SHAPES.zset_entries, SHAPES.zset_value) => packed + 8 * elements,
            "zset" => OBJECT + texts + SCORED * elements,
            "stream" => OBJECT + packed + 8 * elements + 64 * groups,
            _ => 0,
        }
    }
}

impl Visitor for Stats {
    fn wants(&mut self, _: &Head) -> bool {
        self.now = Now::default();
        true
    }

    fn piece(&mut self, _: &Head, piece: Piece<'_>) -> Result<(), Problem> {
        match piece {
            Piece::Text { len } => {
                (self.now.elements, self.now.texts, self.now.longest) = (1, len, len);
            }
            Piece::Element(text) | Piece::Member(text) | Piece::Scored(text, _) => {
                self.now.elements += 1;
                self.text(text);
            }
            Piece::Field { field, value, at } => {
                self.now.elements += 1;
                self.now.times += u64::from(at.is_some());
                self.text(field);
                self.text(value);
            }
            Piece::Entry(entry) => {
                self.now.elements += 1;
                let len = |(field, value): (crate::value::listpack::Item<'_>, _)| {
                    let value: crate::value::listpack::Item<'_> = value;
                    (field.text_len() + value.text_len()) as u64
                };
                let texts = entry.pairs().map(len).sum();
                self.now.texts += texts;
                self.now.longest = self.now.longest.max(texts);
            }
            Piece::Group { .. } | Piece::Consumer { .. } | Piece::Pending { .. } => {
                self.now.groups += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, head: &Head, bytes: u64, pieces: u64) -> Result<(), Problem> {
        if pieces == 0 {
            // As on load: a collection that holds nothing is none.
            return Ok(());
        }
        let memory = ENTRY + head.key.len() as u64 + self.memory(head.kind);
        let expires = u64::from(head.expire_ms.is_some());
        let sum = Sum { keys: 1, expires, elements: self.now.elements, bytes, memory };
        self.timed_fields += self.now.times;
        self.add(head, sum);
        self.remember(head, sum, self.now.longest);
        Ok(())
    }

    fn module(&mut self, _: &Head, module: &str, _: u64) -> Result<(), Problem> {
        *self.modules.entry(module.to_owned()).or_default() += 1;
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        if self.aux.len() < AUX_MAX {
            let some = |text: &[u8]| text[..text.len().min(AUX_LEN_MAX)].to_vec();
            self.aux.push((some(key), some(value)));
        }
        Ok(())
    }
}
