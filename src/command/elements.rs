//! What commands on collections have in common: elements in replies, random draws, and the scans
//! of one collection.

use std::collections::HashSet;

use crate::base::glob;
use crate::base::number::parse_i64;
use crate::base::random::Random;
use crate::command::args::Args;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::scan::parse_cursor;
use crate::resp::Reply;
use crate::value::listpack::Item;

/// Most elements that one call visits, whatever COUNT asks for: a hint must not stall.
const COUNT_MAX: i64 = 100_000;

/// Most elements that are drawn one by one, where the same may come several times: nobody may make
/// us answer for ever.
const DRAWN_MAX: u64 = 1_000_000;

/// Most bytes of theirs.
const DRAWN_BYTES_MAX: usize = 1 << 30;

/// A reply that would hold more than anybody can want of repeated elements.
pub const TOO_LONG: Fault = Fault::new("ERR the reply would be too long");

/// Answers with an element.
pub fn reply_item(out: &mut Reply, item: Item<'_>) {
    match item {
        Item::Int(n) => out.bulk_int(n),
        Item::Str(bytes) => out.bulk(bytes),
    }
}

/// What HRANDFIELD, SRANDMEMBER and ZRANDMEMBER are asked for beside one element.
pub struct Draw {
    count: usize,
    /// The same element may come several times.
    repeats: bool,
    /// Values are asked for as well.
    pub values: bool,
}

impl Draw {
    /// Reads `count [word]` behind the key.
    pub fn parse(args: &Args<'_>, word: &str) -> Result<Draw, Fault> {
        let count = parse_i64(&args[2]).ok_or(NOT_AN_INTEGER)?;
        if count == i64::MIN {
            return Err(Fault::text(format!(
                "ERR value is out of range, value must between {} and {}",
                -i64::MAX,
                i64::MAX
            )));
        }
        let values = args.len() == 4 && !word.is_empty() && args.is(3, word);
        if args.len() > 4 || args.len() == 4 && !values {
            return Err(SYNTAX);
        }
        let endless = count < 0 && count.unsigned_abs() > DRAWN_MAX;
        if endless || values && count.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(Fault::new("ERR value is out of range"));
        }
        let repeats = count < 0;
        Ok(Draw { count: count.unsigned_abs() as usize, repeats, values })
    }

    /// `count` elements, each once.
    pub fn distinct(count: usize) -> Draw {
        Draw { count, repeats: false, values: false }
    }

    /// Whether drawing from `len` elements wants a list of all of them.
    pub fn needs_all(&self, len: usize) -> bool {
        !self.repeats && self.count.saturating_mul(3) >= len
    }

    /// The elements drawn: from `all` when they were wanted, else one by one. Fails when the
    /// same ones, of `size` bytes, come so often that the reply would have no bound.
    pub fn choose<T: Copy>(
        &self,
        random: &mut Random,
        len: usize,
        all: &[T],
        mut one: impl FnMut(&mut Random) -> Option<T>,
        name: impl Fn(&T) -> Item<'_>,
        size: impl Fn(&T) -> usize,
    ) -> Result<Vec<T>, Fault> {
        if self.needs_all(len) {
            let mut wanted = self.count.min(all.len());
            let chosen = all.iter().enumerate().filter(|(index, _)| {
                let takes = random.below((all.len() - index) as u64) < wanted as u64;
                wanted -= usize::from(takes);
                takes
            });
            return Ok(chosen.map(|(_, item)| *item).collect());
        }
        let (mut chosen, mut known, mut bytes) = (Vec::new(), HashSet::new(), 0);
        while chosen.len() < self.count
            && let Some(item) = one(random)
        {
            let text = &mut itoa::Buffer::new();
            bytes += if self.repeats { size(&item) } else { 0 };
            if bytes > DRAWN_BYTES_MAX {
                return Err(TOO_LONG);
            }
            if self.repeats || known.insert(name(&item).text(text).to_vec()) {
                chosen.push(item);
            }
        }
        Ok(chosen)
    }

    /// Begins the reply of `len` elements.
    pub fn open(&self, out: &mut Reply, len: usize) {
        out.array(if self.values && !out.resp3 { 2 * len } else { len });
    }

    /// Answers with one of them.
    pub fn one(&self, out: &mut Reply, name: Item<'_>, value: Item<'_>) {
        if self.values && out.resp3 {
            out.array(2);
        }
        reply_item(out, name);
        if self.values {
            reply_item(out, value);
        }
    }
}

/// A cursor in a request.
pub fn cursor(text: &[u8]) -> Result<u64, Fault> {
    parse_cursor(text).ok_or(Fault::new("ERR invalid cursor"))
}

/// The options of HSCAN, SSCAN and ZSCAN.
pub struct Filter<'a> {
    pattern: Option<&'a [u8]>,
    /// About how many elements are to be visited.
    pub count: usize,
    /// HSCAN's NOVALUES.
    pub names_only: bool,
}

impl<'a> Filter<'a> {
    /// Reads what stands behind key and cursor.
    pub fn parse(args: &Args<'a>, of_hash: bool) -> Result<Self, Fault> {
        let mut filter = Filter { pattern: None, count: 10, names_only: false };
        let mut at = 3;
        while at < args.len() {
            if of_hash && args.is(at, "NOVALUES") {
                filter.names_only = true;
                at += 1;
                continue;
            }
            let Some(&value) = args.items().get(at + 1) else { return Err(SYNTAX) };
            if args.is(at, "COUNT") {
                let count = parse_i64(value).ok_or(NOT_AN_INTEGER)?;
                if count < 1 {
                    return Err(SYNTAX);
                }
                filter.count = count.min(COUNT_MAX) as usize;
            } else if args.is(at, "MATCH") {
                filter.pattern = (value != b"*").then_some(value);
            } else {
                return Err(SYNTAX);
            }
            at += 2;
        }
        Ok(filter)
    }

    /// Whether an element is asked for.
    pub fn takes(&self, name: Item<'_>) -> bool {
        let text = &mut itoa::Buffer::new();
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name.text(text), false))
    }
}

/// What a scan has found.
pub struct Found {
    elements: Reply,
    count: usize,
}

impl Found {
    /// Nothing yet.
    pub fn new(resp3: bool) -> Self {
        Found { elements: Reply::new(resp3), count: 0 }
    }

    /// Adds an element.
    pub fn add(&mut self, item: Item<'_>) {
        reply_item(&mut self.elements, item);
        self.count += 1;
    }

    /// Answers with the next cursor and what was found.
    pub fn answer(self, out: &mut Reply, next: u64) {
        out.array(2);
        out.bulk(itoa::Buffer::new().format(next).as_bytes());
        out.array(self.count);
        out.append(self.elements);
    }
}

/// The answer of a scan where there is nothing.
pub fn nothing_scanned(out: &mut Reply) -> Result<(), Fault> {
    Found::new(out.resp3).answer(out, 0);
    Ok(())
}
