//! XREAD and XREADGROUP.
//!
//! Both ask several streams one after another: [`starts`] settles from where each is read,
//! [`serve`] answers with what is there behind that. What a group was given is logged as what
//! became of it: XCLAIM for what is pending now, XGROUP SETID for how far it has read.

use smallvec::SmallVec;

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::stream::{
    change_unwatched, reply_entry, reply_id, reply_range, row, stream_of, strict_id,
};
use crate::command::stream_claim::Claims;
use crate::command::table::{Command, Flags, KeySpec, Keys, READS, Route, printable};
use crate::keyspace::{Class, Type};
use crate::resp::Reply;
use crate::value::stream::{Id, Pending, Stream};

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command {
        keys: Keys::Streams,
        route: Route::Lease,
        ..row("xread", -4, READ, &[KeySpec::half_behind("STREAMS", 1, READS)], xread)
    },
    Command {
        keys: Keys::Streams,
        route: Route::Lease,
        ..row(
            "xreadgroup",
            -7,
            READ_GROUP,
            &[KeySpec::half_behind("STREAMS", 4, READS)],
            xreadgroup,
        )
    },
];

const READ: u32 = Flags::READONLY | Flags::BLOCKING | Flags::MOVABLE_KEYS;
const READ_GROUP: u32 = Flags::WRITE | Flags::BLOCKING | Flags::MOVABLE_KEYS;

/// What a reader asks for.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    /// Group and consumer, of XREADGROUP.
    group: Option<(&'a [u8], &'a [u8])>,
    /// Nothing becomes pending.
    noack: bool,
    /// Most entries of each stream.
    count: usize,
    /// How long it is willing to wait, in milliseconds; 0: for ever.
    pub block: Option<i64>,
    /// The streams.
    pub keys: &'a [&'a [u8]],
    /// From where each is read, as the request says it.
    from: &'a [&'a [u8]],
}

/// From where a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Behind this id: what is there, or with a group what is pending with the consumer.
    Behind(Id),
    /// What the group has not been given yet.
    New,
}

impl<'a> Reader<'a> {
    /// Reads a request.
    pub fn parse(args: &Args<'a>, grouped: bool) -> Result<Self, Fault> {
        let only = |option: &str| {
            Err(Fault::text(format!(
                "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
            )))
        };
        let mut reader =
            Reader { group: None, noack: false, count: 0, block: None, keys: &[], from: &[] };
        let items = args.items();
        let mut at = 1;
        while at < args.len() {
            let more = args.len() - at - 1;
            if args.is(at, "BLOCK") && more > 0 {
                reader.block = Some(timeout(&args[at + 1])?);
                at += 2;
            } else if args.is(at, "COUNT") && more > 0 {
                let count = parse_i64(&args[at + 1]).ok_or(NOT_AN_INTEGER)?;
                reader.count = usize::try_from(count).unwrap_or(0);
                at += 2;
            } else if args.is(at, "STREAMS") && more > 0 {
                if !more.is_multiple_of(2) {
                    return Err(unbalanced(grouped));
                }
                (reader.keys, reader.from) = items[at + 1..].split_at(more / 2);
                break;
            } else if args.is(at, "GROUP") && more >= 2 {
                if !grouped {
                    return only("GROUP");
                }
                reader.group = Some((items[at + 1], items[at + 2]));
                at += 3;
            } else if args.is(at, "NOACK") {
                if !grouped {
                    return only("NOACK");
                }
                reader.noack = true;
                at += 1;
            } else {
                return Err(SYNTAX);
            }
        }
        if reader.keys.is_empty() {
            return Err(SYNTAX);
        }
        if grouped && reader.group.is_none() {
            return Err(Fault::new("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(reader)
    }

    fn most(&self) -> usize {
        if self.count == 0 { usize::MAX } else { self.count }
    }
}

fn unbalanced(grouped: bool) -> Fault {
    let (name, symbol) = if grouped { ("xreadgroup", '>') } else { ("xread", '$') };
    Fault::text(format!(
        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be \
         specified."
    ))
}

fn timeout(text: &[u8]) -> Result<i64, Fault> {
    match parse_i64(text) {
        None => Err(Fault::new("ERR timeout is not an integer or out of range")),
        Some(..0) => Err(Fault::new("ERR timeout is negative")),
        Some(ms) => Ok(ms),
    }
}

/// What is answered where a group that is asked for is not there.
fn no_group(key: &[u8], group: &[u8]) -> Fault {
    let mut text = b"NOGROUP No such key '".to_vec();
    text.extend_from_slice(printable(key, usize::MAX));
    text.extend_from_slice(b"' or consumer group '");
    text.extend_from_slice(printable(group, usize::MAX));
    text.extend_from_slice(b"' in XREADGROUP with GROUP option");
    Fault(text.into())
}

/// From where each stream is read: what `$` and `+` mean is settled here, once.
pub fn starts(ctx: &mut Ctx<'_>, reader: &Reader<'_>) -> Result<SmallVec<[Start; 8]>, Fault> {
    let pairs = reader.keys.iter().zip(reader.from);
    pairs.map(|(key, from)| start(ctx, reader, key, from)).collect()
}

fn start(ctx: &mut Ctx<'_>, reader: &Reader<'_>, key: &[u8], from: &[u8]) -> Result<Start, Fault> {
    let stream = stream_of(ctx.read(key))?;
    if let Some((group, _)) = reader.group
        && stream.is_none_or(|stream| stream.group(group).is_none())
    {
        return Err(no_group(key, group));
    }
    let grouped = reader.group.is_some();
    match from {
        b"$" if grouped => Err(Fault::new(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the \
             history of this consumer by specifying a proper ID, or use the > ID to get new \
             messages. The $ ID would just return an empty result set.",
        )),
        b"$" => Ok(Start::Behind(stream.map_or(Id::MIN, Stream::last_id))),
        b"+" if grouped => Err(Fault::new(
            "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the \
             history of this consumer by specifying a proper ID, or use the > ID to get new \
             messages. The + ID would just return an empty result set.",
        )),
        b"+" => Ok(Start::Behind(stream.map_or(Id::MIN, |stream| {
            let last = stream.last_entry_id().and_then(Id::before);
            last.unwrap_or(stream.last_id())
        }))),
        b">" if !grouped => Err(Fault::new(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
             <consumer> option.",
        )),
        b">" => Ok(Start::New),
        _ => match strict_id(from, 0)? {
            // Redis tells what is new by the greatest id.
            Id::MAX if grouped => Ok(Start::New),
            id => Ok(Start::Behind(id)),
        },
    }
}

/// Writes what there is for a reader in one stream, its key in front, as an element of the reply
/// (two, in RESP3); false, and nothing, when there is nothing.
pub fn serve(
    ctx: &mut Ctx<'_>,
    reader: &Reader<'_>,
    key: &[u8],
    start: Start,
    out: &mut Reply,
) -> Result<bool, Fault> {
    if let Some((group, consumer)) = reader.group {
        return serve_group(ctx, reader, (key, group, consumer), start, out);
    }
    let Start::Behind(id) = start else { return Ok(false) };
    let Some(stream) = stream_of(ctx.peek(key))? else { return Ok(false) };
    let Some(first) = id.next() else { return Ok(false) };
    let range = stream.range(first, Id::MAX);
    if range.clone().next().is_none() {
        return Ok(false);
    }
    open(out, key);
    reply_range(out, range, reader.most(), false);
    Ok(true)
}

fn open(out: &mut Reply, key: &[u8]) {
    if !out.resp3 {
        out.array(2);
    }
    out.bulk(key);
}

/// What a group's reader has been given, and what is to be logged of it.
struct Given {
    entries: Option<(usize, Reply)>,
    new_consumer: bool,
    claims: Claims,
    moved: Option<(Id, i64)>,
}

fn serve_group(
    ctx: &mut Ctx<'_>,
    reader: &Reader<'_>,
    (key, group, consumer): (&[u8], &[u8], &[u8]),
    start: Start,
    out: &mut Reply,
) -> Result<bool, Fault> {
    if stream_of(ctx.peek(key))?.is_none_or(|stream| stream.group(group).is_none()) {
        return Err(no_group(key, group));
    }
    let (now, resp3) = (ctx.now.unix_ms(), out.resp3);
    let given = change_unwatched(ctx, key, |stream| {
        let seen = stream.change_group(group, |group| group.see_consumer(consumer, now));
        let (number, new_consumer) = seen.unwrap_or_default();
        let mut given =
            Given { entries: None, new_consumer, claims: Claims::default(), moved: None };
        match start {
            Start::New => give_new(stream, reader, group, (number, now), resp3, &mut given),
            Start::Behind(id) => {
                give_history(stream, reader, group, (number, id, now), resp3, &mut given);
            }
        }
        let changed = new_consumer || !given.claims.is_empty() || given.moved.is_some();
        (given, changed)
    });
    let Some(given) = given else { return Ok(false) };
    if given.new_consumer {
        ctx.log(key, &[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
        ctx.event(Class::Stream, "xgroup-createconsumer", key);
    }
    given.claims.log(ctx, key, group, consumer);
    if let Some((last, read)) = given.moved {
        log_position(ctx, key, group, last, read);
    }
    let Some((count, entries)) = given.entries else { return Ok(false) };
    open(out, key);
    out.array(count);
    out.append(entries);
    Ok(true)
}

/// Logs how far a group has read.
pub(super) fn log_position(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], last: Id, read: i64) {
    let (last, mut digits) = (last.text(), itoa::Buffer::new());
    let read = digits.format(read).as_bytes();
    ctx.log(key, &[b"XGROUP", b"SETID", key, group, &last, b"ENTRIESREAD", read]);
}

fn give_new(
    stream: &mut Stream,
    reader: &Reader<'_>,
    name: &[u8],
    (number, now): (u64, i64),
    resp3: bool,
    given: &mut Given,
) {
    let mut entries = Reply::new(resp3);
    let mut count = 0;
    let claims = &mut given.claims;
    stream.advance(name, reader.most(), |entry, group| {
        reply_entry(&mut entries, &entry);
        count += 1;
        if !reader.noack {
            let pending = Pending { time: now, count: 1, consumer: number };
            group.set_pending(entry.id, pending);
            claims.add(entry.id, pending, group);
        }
    });
    if count == 0 {
        return;
    }
    stream.change_group(name, |group| {
        if !reader.noack {
            group.set_active(number, now);
        }
        given.moved = Some((group.last_id, group.entries_read));
    });
    given.entries = Some((count, entries));
}

/// What is pending with the consumer is given to it once more.
fn give_history(
    stream: &mut Stream,
    reader: &Reader<'_>,
    name: &[u8],
    (number, behind, now): (u64, Id, i64),
    resp3: bool,
    given: &mut Given,
) {
    let mut entries = Reply::new(resp3);
    let own: Vec<(Id, Pending)> = match (stream.group(name), behind.next()) {
        (Some(group), Some(first)) => group.history(number, first).take(reader.most()).collect(),
        _ => Vec::new(),
    };
    let mut again: Vec<(Id, Pending)> = Vec::new();
    for (id, pending) in &own {
        match stream.get(*id) {
            Some(entry) => {
                reply_entry(&mut entries, &entry);
                again.push((*id, pending.again(now, true)));
            }
            None => {
                entries.array(2);
                reply_id(&mut entries, *id);
                entries.null_array();
            }
        }
    }
    stream.change_group(name, |group| {
        for (id, pending) in again {
            group.set_pending(id, pending);
            given.claims.add(id, pending, group);
        }
    });
    given.entries = Some((own.len(), entries));
}

fn xread(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, args, &Reader::parse(args, false)?)
}

fn xreadgroup(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, args, &Reader::parse(args, true)?)
}

/// Whether there is anything for a reader in one stream.
fn has_any(
    ctx: &mut Ctx<'_>,
    reader: &Reader<'_>,
    key: &[u8],
    start: Start,
) -> Result<bool, Fault> {
    // As in Redis a second look, which counts and is told of as well.
    let Some(stream) = stream_of(ctx.read(key))? else { return Ok(false) };
    let behind = match (start, reader.group) {
        // What is pending is answered at once, be it nothing.
        (Start::Behind(_), Some(_)) => return Ok(true),
        (Start::Behind(id), None) => Some(id),
        (Start::New, Some((group, _))) => stream.group(group).map(|group| group.last_id),
        (Start::New, None) => None,
    };
    let first = behind.and_then(Id::next);
    Ok(first.is_some_and(|first| stream.range(first, Id::MAX).next().is_some()))
}

/// Lets a reader wait for what comes behind where it is now: `$` must not move with the stream.
fn wait(ctx: &mut Ctx<'_>, args: &Args<'_>, reader: &Reader<'_>, starts: &[Start]) {
    let Some(block) = reader.block else { return };
    let mut words: Vec<Vec<u8>> = args.items().iter().map(|word| word.to_vec()).collect();
    let first = words.len() - starts.len();
    for (word, start) in words[first..].iter_mut().zip(starts) {
        if let Start::Behind(id) = start {
            *word = id.text().to_vec();
        }
    }
    ctx.wait(Type::Stream, block as u64);
    if let Some(patience) = &mut ctx.patience {
        patience.hears_of_absence = reader.group.is_some();
        patience.words = Some(words);
    }
}

fn read(ctx: &mut Ctx<'_>, args: &Args<'_>, reader: &Reader<'_>) -> Result<(), Fault> {
    let starts = starts(ctx, reader)?;
    for (key, start) in reader.keys.iter().zip(&starts) {
        if has_any(ctx, reader, key, *start)? && !ctx.claim() {
            return Ok(());
        }
    }
    let mut found = Reply::new(ctx.out.resp3);
    let mut count = 0;
    for (key, start) in reader.keys.iter().zip(starts.iter().copied()) {
        count += usize::from(serve(ctx, reader, key, start, &mut found)?);
    }
    match (count, ctx.out.resp3) {
        (0, _) => {
            wait(ctx, args, reader, &starts);
            ctx.out.null_array();
        }
        (_, true) => ctx.out.map(count),
        (_, false) => ctx.out.array(count),
    }
    ctx.out.append(found);
    Ok(())
}
