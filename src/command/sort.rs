//! SORT and SORT_RO.
//!
//! Patterns of BY and GET name keys that only the elements tell, in any shard: then all keyspaces
//! are at hand (`Route::Patterns`). What is stored is logged as the elements it has.

use std::cmp::Ordering;

use crate::base::double;
use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::elements::TOO_LONG;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX, WRONG_TYPE};
use crate::command::table::{
    Acl, Command, FIRST, Flags, KeySpec, Keys, OVERWRITES, READS, ROW, Route, Run,
};
use crate::keyspace::{Class, Entry, Form, NewValue, Object};
use crate::value::hash::Hash;
use crate::value::list::{End, Kept, List};
use crate::value::listpack::Item;
use crate::value::set::Set;
use crate::value::zset::Zset;

const BY_AND_GET: KeySpec = KeySpec::unknown(READS).noted(
    "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the \
     content of the key we sort",
);

const SOURCES: &[KeySpec] = &[KeySpec::one(1, READS), BY_AND_GET];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command {
        flags: Flags(Flags::WRITE | Flags::DENYOOM | Flags::MOVABLE_KEYS),
        keys: Keys::Stored { words: &["STORE"] },
        run: Run::Data(sort),
        specs: &[
            KeySpec::one(1, READS),
            BY_AND_GET,
            KeySpec::unknown(OVERWRITES).noted(
                "For the optional STORE keyword. It is marked 'unknown' because the keyword can \
                 appear anywhere in the argument array",
            ),
        ],
        ..row("sort", "1.0.0")
    },
    row("sort_ro", "7.0.0"),
];

const fn row(name: &'static str, since: &'static str) -> Command {
    Command {
        name,
        arity: -2,
        flags: Flags(Flags::READONLY | Flags::MOVABLE_KEYS),
        keys: FIRST,
        route: Route::Patterns,
        run: Run::Data(sort_ro),
        since,
        acl: Acl(Acl::SET | Acl::SORTED_SET | Acl::LIST | Acl::DANGEROUS),
        specs: SOURCES,
        ..ROW
    }
}

/// Whether a pattern among the arguments may name any key.
pub fn looks_anywhere(args: &Args<'_>) -> bool {
    (3..args.len()).any(|at| {
        (args.is(at - 1, "BY") || args.is(at - 1, "GET")) && pattern_star(&args[at]).is_some()
    })
}

/// Where a pattern has its star; a NUL ends what is looked at.
fn pattern_star(pattern: &[u8]) -> Option<usize> {
    let end = memchr::memchr(0, pattern).unwrap_or(pattern.len());
    memchr::memchr(b'*', &pattern[..end])
}

/// What is asked for.
struct Asked<'a> {
    descending: bool,
    alphabetic: bool,
    start: i64,
    count: i64,
    by: Option<&'a [u8]>,
    /// BY something without a star: as it stands.
    unsorted: bool,
    gets: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn parse(args: &Args<'a>, read_only: bool) -> Result<Asked<'a>, Fault> {
        let mut asked = Asked {
            descending: false,
            alphabetic: false,
            start: 0,
            count: -1,
            by: None,
            unsorted: false,
            gets: Vec::new(),
            store: None,
        };
        let mut at = 2;
        while at < args.len() {
            let value = args.get(at + 1);
            match (value, args.get(at + 2)) {
                _ if args.is(at, "ASC") => asked.descending = false,
                _ if args.is(at, "DESC") => asked.descending = true,
                _ if args.is(at, "ALPHA") => asked.alphabetic = true,
                (Some(start), Some(count)) if args.is(at, "LIMIT") => {
                    asked.start = parse_i64(start).ok_or(NOT_AN_INTEGER)?;
                    asked.count = parse_i64(count).ok_or(NOT_AN_INTEGER)?;
                    at += 2;
                }
                (Some(key), _) if !read_only && args.is(at, "STORE") => {
                    asked.store = Some(key);
                    at += 1;
                }
                (Some(pattern), _) if args.is(at, "BY") => {
                    asked.by = Some(pattern);
                    asked.unsorted |= pattern_star(pattern).is_none();
                    at += 1;
                }
                (Some(pattern), _) if args.is(at, "GET") => {
                    asked.gets.push(pattern);
                    at += 1;
                }
                _ => return Err(SYNTAX),
            }
            at += 1;
        }
        Ok(asked)
    }

    /// The first and the number of those of `len` elements that are asked for.
    fn span(&self, len: usize) -> (usize, usize) {
        let bounded = |n: i64| usize::try_from(n).unwrap_or(0).min(len);
        let start = bounded(self.start);
        let count = if self.count < 0 { len } else { bounded(self.count) };
        (start, count.min(len - start))
    }
}

/// What is sorted.
#[derive(Clone, Copy)]
enum Source<'a> {
    Set(Set<'a>),
    List(Kept<'a>),
    Zset(Zset<'a>),
}

impl<'a> Source<'a> {
    fn of(entry: &'a Entry) -> Result<Source<'a>, Fault> {
        let list = Kept::of(entry).map(Source::List);
        let set = || Set::of(entry).map(Source::Set);
        let zset = || Zset::of(entry).map(Source::Zset);
        list.or_else(set).or_else(zset).ok_or(WRONG_TYPE)
    }

    fn len(self) -> usize {
        match self {
            Source::Set(set) => set.len(),
            Source::List(list) => list.len(),
            Source::Zset(zset) => zset.len(),
        }
    }

    fn is_ordered(self) -> bool {
        !matches!(self, Source::Set(_))
    }

    /// `count` elements from number `first` on; ordered ones from behind if `down`.
    fn elements(self, (first, count): (usize, usize), down: bool) -> Vec<Vec<u8>> {
        let mut found = Vec::with_capacity(count);
        let mut add = |item: Item<'_>| found.push(item.text(&mut itoa::Buffer::new()).to_vec());
        let mut left = count;
        match self {
            Source::Zset(zset) if count > 0 => {
                let first = if down { zset.len() - 1 - first } else { first };
                zset.walk(first, count, down, |member, _| add(member));
            }
            Source::Set(set) => {
                let mut at = 0;
                set.each_while(|member| {
                    if at >= first {
                        add(member);
                    }
                    at += 1;
                    at < first + count
                });
            }
            Source::List(list) if count > 0 => {
                let from = if down { End::Back } else { End::Front };
                list.walk(first, from, &mut |element| {
                    add(element);
                    left -= 1;
                    left > 0
                });
            }
            Source::List(_) | Source::Zset(_) => {}
        }
        found
    }
}

/// The text that a pattern leads to with an element in the place of its star: a string's, or that
/// of a hash's field.
fn looked_up(ctx: &mut Ctx<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = pattern_star(pattern)?;
    let (before, behind) = (&pattern[..star], &pattern[star + 1..]);
    let end = memchr::memchr(0, behind).unwrap_or(behind.len());
    let arrow = behind[..end].windows(2).position(|pair| pair == b"->");
    let arrow = arrow.filter(|at| behind.get(at + 2).is_some_and(|byte| *byte != 0));
    let (behind, field) = match arrow {
        Some(at) => (&behind[..at], Some(&behind[at + 2..])),
        None => (behind, None),
    };
    let key = [before, element, behind].concat();
    let now = ctx.now_ms();
    let entry = ctx.read(&key)?;
    match field {
        Some(field) => {
            let value = Hash::at(entry, now)?.get(field)?;
            Some(value.text(&mut itoa::Buffer::new()).to_vec())
        }
        None => entry.text(&mut itoa::Buffer::new()).map(<[u8]>::to_vec),
    }
}

/// What an element is compared by.
enum Weight {
    Number(f64),
    Text(Option<Vec<u8>>),
    Itself,
}

/// A text up to its first NUL: what is compared by locale, which is that of C.
fn collated(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn compare(stores: bool, one: &(Weight, Vec<u8>), other: &(Weight, Vec<u8>)) -> Ordering {
    let texts = |one: &[u8], other: &[u8]| match stores {
        true => one.cmp(other),
        false => collated(one).cmp(collated(other)),
    };
    match (&one.0, &other.0) {
        (Weight::Number(a), Weight::Number(b)) => {
            a.partial_cmp(b).unwrap_or(Ordering::Equal).then_with(|| one.1.cmp(&other.1))
        }
        (Weight::Text(Some(a)), Weight::Text(Some(b))) => texts(a, b),
        (Weight::Text(a), Weight::Text(b)) => a.is_some().cmp(&b.is_some()),
        _ => texts(&one.1, &other.1),
    }
}

/// Puts elements in order.
fn sorted(
    ctx: &mut Ctx<'_>,
    asked: &Asked<'_>,
    elements: Vec<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, Fault> {
    let mut weighed = Vec::with_capacity(elements.len());
    let mut bad = false;
    for element in elements {
        let weight = match (asked.by, asked.alphabetic) {
            (Some(by), true) => Weight::Text(looked_up(ctx, by, &element)),
            (None, true) => Weight::Itself,
            (by, false) => {
                let number = match by {
                    Some(by) => looked_up(ctx, by, &element).map(|t| double::parse_weight(&t)),
                    None => Some(double::parse_weight(&element)),
                };
                let number = number.unwrap_or(Some(0.0));
                bad |= number.is_none();
                Weight::Number(number.unwrap_or(0.0))
            }
        };
        weighed.push((weight, element));
    }
    if bad {
        return Err(Fault::new("ERR One or more scores can't be converted into double"));
    }
    let stores = asked.store.is_some();
    weighed.sort_by(|one, other| match asked.descending {
        true => compare(stores, other, one),
        false => compare(stores, one, other),
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

/// The elements that are asked for, in order.
fn outcome(ctx: &mut Ctx<'_>, key: &[u8], asked: &mut Asked<'_>) -> Result<Vec<Vec<u8>>, Fault> {
    let seed = ctx.hash_seed(key);
    if let Some(zset @ Zset::Packed(_)) = ctx.peek(key).and_then(Zset::of) {
        // In Redis a sorted set is a skiplist from its first SORT on, and OBJECT ENCODING says so.
        let large = zset.to_large(seed);
        ctx.reshape(key, NewValue::Object(Box::new(Object::Zset(large))));
    }
    let (elements, span) = {
        let Some(entry) = ctx.read(key) else { return Ok(Vec::new()) };
        let source = Source::of(entry)?;
        if asked.unsorted && asked.store.is_some() && !source.is_ordered() {
            // What is stored must not depend on how a table stands.
            (asked.unsorted, asked.alphabetic, asked.by) = (false, true, None);
        }
        let span = asked.span(source.len());
        if asked.unsorted {
            return Ok(source.elements(span, asked.descending && source.is_ordered()));
        }
        (source.elements((0, source.len()), false), span)
    };
    let mut all = sorted(ctx, asked, elements)?;
    all.truncate(span.0 + span.1);
    all.drain(..span.0);
    Ok(all)
}

/// Most bytes that patterns may gather: the same long value may stand behind each of them.
const GOTTEN_BYTES_MAX: usize = 1 << 30;

/// What is answered or stored for the elements; `None` where nothing is.
fn gotten(
    ctx: &mut Ctx<'_>,
    asked: &Asked<'_>,
    elements: Vec<Vec<u8>>,
) -> Result<Vec<Option<Vec<u8>>>, Fault> {
    if asked.gets.is_empty() {
        return Ok(elements.into_iter().map(Some).collect());
    }
    let (mut found, mut bytes) = (Vec::new(), 0);
    for element in &elements {
        for pattern in &asked.gets {
            let text = looked_up(ctx, pattern, element);
            bytes += size_of::<Option<Vec<u8>>>() + text.as_ref().map_or(0, Vec::len);
            if bytes > GOTTEN_BYTES_MAX {
                return Err(TOO_LONG);
            }
            found.push(text);
        }
    }
    Ok(found)
}

fn store(ctx: &mut Ctx<'_>, key: &[u8], found: &[Option<Vec<u8>>]) {
    if found.is_empty() {
        if ctx.delete(key) {
            ctx.log(key, &[b"DEL", key]);
            ctx.event(Class::Generic, "del", key);
        }
        return;
    }
    let mut list = List::new(ctx.shapes.list);
    found.iter().for_each(|text| list.push(text.as_deref().unwrap_or_default(), End::Back));
    if list.fits_pack(ctx.shapes.list, false) {
        let bytes = list.to_pack();
        ctx.put(key, NewValue::Packed { form: Form::List, bytes: &bytes }, Expiry::Clear);
    } else {
        ctx.put(key, NewValue::Object(Box::new(Object::List(list))), Expiry::Clear);
    }
    let db = ctx.db;
    ctx.log_entry(db, key);
    ctx.event(Class::List, "sortstore", key);
}

fn run(ctx: &mut Ctx<'_>, args: &Args<'_>, read_only: bool) -> Result<(), Fault> {
    let mut asked = Asked::parse(args, read_only)?;
    let elements = outcome(ctx, &args[1], &mut asked)?;
    let found = gotten(ctx, &asked, elements)?;
    if let Some(key) = asked.store {
        store(ctx, key, &found);
        ctx.out.int(found.len() as i64);
        return Ok(());
    }
    ctx.out.array(found.len());
    for text in &found {
        match text {
            Some(text) => ctx.out.bulk(text),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn sort(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    run(ctx, args, false)
}

fn sort_ro(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    run(ctx, args, true)
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn by_number_by_text_and_as_it_stands() {
        World::new().check(&[
            ("RPUSH l 3 1 10 2", ":4", "RPUSH l 3 1 10 2"),
            ("SORT l", "*4 $1 1 $1 2 $1 3 $2 10", ""),
            ("SORT l DESC LIMIT 1 2", "*2 $1 3 $1 2", ""),
            ("SORT l ALPHA", "*4 $1 1 $2 10 $1 2 $1 3", ""),
            ("SORT l BY nosort", "*4 $1 3 $1 1 $2 10 $1 2", ""),
            ("SORT l BY nosort DESC LIMIT 0 2", "*2 $1 2 $2 10", ""),
            ("SORT l LIMIT 9 2", "*0", ""),
            ("SORT l LIMIT -5 2", "*2 $1 1 $1 2", ""),
            ("SORT l LIMIT 0 0", "*0", ""),
            ("SORT_RO l LIMIT 2 -7", "*2 $1 3 $2 10", ""),
            ("SORT none", "*0", ""),
            ("RPUSH x a 1", ":2", "RPUSH x a 1"),
            ("SORT x", "-ERR One or more scores can't be converted into double", ""),
            ("SORT l LIMIT x 1", "-ERR value is not an integer or out of range", ""),
            ("SORT l LIMIT 1", "-ERR syntax error", ""),
            ("SORT_RO l STORE x", "-ERR syntax error", ""),
            ("ZADD z 1 c 2 a 3 b", ":3", "ZADD z 1 c 2 a 3 b"),
            ("OBJECT ENCODING z", "$8 listpack", ""),
            ("SORT z ALPHA", "*3 $1 a $1 b $1 c", ""),
            ("OBJECT ENCODING z", "$8 skiplist", ""),
            ("SORT z BY nosort DESC", "*3 $1 b $1 a $1 c", ""),
            ("HSET h f v", ":1", "HSET h f v"),
            ("SORT h", "-WRONGTYPE Operation against a key holding the wrong kind of value", ""),
        ]);
    }

    #[test]
    fn through_patterns() {
        let mut w = World::sharded(3);
        w.run("MSET w1 3 w2 1 w3 2 o1 one o2 two");
        w.run("HSET h1 f c");
        w.run("HSET h2 f a");
        w.run("SADD s 1 2 3");
        w.effects();
        w.check(&[
            ("SORT s BY w*", "*3 $1 2 $1 3 $1 1", ""),
            ("SORT s BY w* GET # GET o*", "*6 $1 2 $3 two $1 3 $-1 $1 1 $3 one", ""),
            ("SORT s BY h*->f ALPHA", "*3 $1 3 $1 2 $1 1", ""),
            ("SORT s GET h*->f GET none GET h*->", "*9 $1 c $-1 $-1 $1 a $-1 $-1 $-1 $-1 $-1", ""),
            ("SORT s BY w* STORE to", ":3", "DEL to | RPUSH to 2 3 1"),
            ("SORT s BY nosort GET o* STORE to", ":3", "DEL to | RPUSH to one two "),
            ("SORT s BY nosort STORE to LIMIT 5 1", ":0", "DEL to"),
            ("SORT s STORE a BY STORE ASC", ":3", "DEL a | RPUSH a 1 2 3"),
            ("SORT none STORE a", ":0", "DEL a"),
        ]);
    }
}
