//! Streams: XADD, XRANGE and their kin.
//!
//! The log gets ids as they were given and trimming as it turned out: what the clock says, and
//! which whole nodes there were to drop, is not asked again when it is replayed.

use smallvec::SmallVec;

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::elements::reply_item;
use crate::command::fault::{Fault, NO_SUCH_KEY, NOT_AN_INTEGER, SYNTAX, WRONG_TYPE};
use crate::command::table::{
    Acl, Command, DataRun, Flags, Group, KeySpec, LOOKS, READS_FIRST, UPDATES, UPDATES_FIRST,
    wrong_arity,
};
use crate::keyspace::{Class, Entry, NewValue, Object, ValueRef};
use crate::resp::Reply;
use crate::value::stream::{Bound, EntryRef, Id, Range, Refused, Stream, Trim, Wish};

const GROUP: Group = Group { name: "stream", acl: Acl::STREAM };

/// A row of the group.
pub(super) const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    specs: &'static [KeySpec],
    run: DataRun,
) -> Command {
    GROUP.row(name, arity, flags, "5.0.0", specs, run)
}

const READ: u32 = Flags::READONLY;
const FAST: u32 = Flags::FAST;
/// Keys of a command that removes some of what is in the first.
pub(super) const REMOVES_FIRST: &[KeySpec] = &[KeySpec::one(1, &["RW", "delete"])];
/// Tips of a command whose reply depends on the time.
pub(super) const UNCERTAIN: &[&str] = &["nondeterministic_output"];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    Command {
        tips: UNCERTAIN,
        ..row(
            "xadd",
            -5,
            Flags::WRITE | Flags::DENYOOM | FAST,
            &[KeySpec::one(1, UPDATES)
                .noted("UPDATE instead of INSERT because of the optional trimming feature")],
            xadd,
        )
    },
    row("xlen", 2, READ | FAST, &[KeySpec::one(1, LOOKS)], xlen),
    row("xrange", -4, READ, READS_FIRST, |ctx, args| xrange(ctx, args, false)),
    row("xrevrange", -4, READ, READS_FIRST, |ctx, args| xrange(ctx, args, true)),
    row("xdel", -3, Flags::WRITE | FAST, REMOVES_FIRST, xdel),
    Command { tips: UNCERTAIN, ..row("xtrim", -4, Flags::WRITE, REMOVES_FIRST, xtrim) },
    row("xsetid", -3, Flags::WRITE | Flags::DENYOOM | FAST, UPDATES_FIRST, xsetid),
];

const INVALID_ID: Fault = Fault::new("ERR Invalid stream ID specified as stream command argument");

/// An id that is spelled out; `missing` is its sequence when only milliseconds are given.
pub(super) fn strict_id(text: &[u8], missing: u64) -> Result<Id, Fault> {
    Id::parse(text, missing).ok_or(INVALID_ID)
}

/// An id, or `-` or `+` for the least and the greatest.
pub(super) fn id_or_edge(text: &[u8], missing: u64) -> Result<Id, Fault> {
    match text {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        _ => strict_id(text, missing),
    }
}

/// Where a range begins; `(` leaves the id itself out.
pub(super) fn range_start(text: &[u8]) -> Result<Id, Fault> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => {
            let next = strict_id(id, 0)?.next();
            next.ok_or(Fault::new("ERR invalid start ID for the interval"))
        }
        _ => id_or_edge(text, 0),
    }
}

/// Where a range ends; `(` leaves the id itself out.
pub(super) fn range_end(text: &[u8]) -> Result<Id, Fault> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => {
            let before = strict_id(id, u64::MAX)?.before();
            before.ok_or(Fault::new("ERR invalid end ID for the interval"))
        }
        _ => id_or_edge(text, u64::MAX),
    }
}

/// Ids that are spelled out, all of them or none.
pub(super) fn ids(texts: &[&[u8]]) -> Result<SmallVec<[Id; 8]>, Fault> {
    texts.iter().map(|text| strict_id(text, 0)).collect()
}

/// The stream that an entry holds.
pub(super) fn stream_of(entry: Option<&Entry>) -> Result<Option<&Stream>, Fault> {
    match entry.map(Entry::value) {
        None => Ok(None),
        Some(ValueRef::Object(Object::Stream(stream))) => Ok(Some(stream)),
        Some(_) => Err(WRONG_TYPE),
    }
}

/// Changes the stream at `key`, which is there; `change` also says whether it has.
pub(super) fn change<R>(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    change: impl FnOnce(&mut Stream) -> (R, bool),
) -> Option<R> {
    ctx.change_object(key, of_stream(change))?.0
}

/// [`change`] of its groups or ids, of which WATCH does not hear.
pub(super) fn change_unwatched<R>(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    change: impl FnOnce(&mut Stream) -> (R, bool),
) -> Option<R> {
    ctx.change_unwatched(key, of_stream(change))?.0
}

fn of_stream<R>(
    change: impl FnOnce(&mut Stream) -> (R, bool),
) -> impl FnOnce(&mut Object) -> (Option<R>, bool) {
    |object| match object {
        Object::Stream(stream) => {
            let (result, changed) = change(stream);
            (Some(result), changed)
        }
        _ => (None, false),
    }
}

/// Leaves freeing what was taken out of the stream at `key` to the background.
pub(super) fn free_later(ctx: &mut Ctx<'_>, key: &[u8], gone: Option<Stream>) {
    if let Some(gone) = gone {
        let gone = NewValue::Object(Box::new(Object::Stream(Box::new(gone))));
        ctx.spaces.of(key).discard(Entry::new(b"", gone, None));
    }
}

/// Answers with an id.
pub(super) fn reply_id(out: &mut Reply, id: Id) {
    out.bulk(&id.text());
}

/// Answers with one entry.
pub(super) fn reply_entry(out: &mut Reply, entry: &EntryRef<'_>) {
    out.array(2);
    reply_id(out, entry.id);
    out.array(2 * entry.len());
    for (field, value) in entry.pairs() {
        reply_item(out, field);
        reply_item(out, value);
    }
}

/// Entries that are looked up before their number is known for sure.
const AHEAD: usize = 32;

/// Answers with up to `max` entries of a range; `rest` counts those of what is left of it.
pub(super) fn reply_entries<'a, I>(
    out: &mut Reply,
    mut entries: I,
    max: usize,
    rest: impl FnOnce(I, usize) -> usize,
) where
    I: Iterator<Item = EntryRef<'a>> + Clone,
{
    let first: SmallVec<[EntryRef<'a>; AHEAD]> = entries.by_ref().take(max.min(AHEAD)).collect();
    let more =
        if first.len() == AHEAD && max > AHEAD { rest(entries.clone(), max - AHEAD) } else { 0 };
    out.array(first.len() + more);
    first.iter().for_each(|entry| reply_entry(out, entry));
    entries.take(more).for_each(|entry| reply_entry(out, &entry));
}

/// [`reply_entries`] of a range, forwards or backwards.
pub(super) fn reply_range(out: &mut Reply, range: Range<'_>, max: usize, backwards: bool) {
    if backwards {
        reply_entries(out, range.rev(), max, |rest, max| rest.take(max).count());
    } else {
        reply_entries(out, range, max, Range::count_up_to);
    }
}

/// What XADD and XTRIM are told in front of id and fields.
#[derive(Default)]
struct Options {
    no_create: bool,
    trim: Option<Trim>,
    /// Where the id stands.
    id_at: usize,
    wish: Option<Wish>,
}

impl Options {
    fn parse(ctx: &Ctx<'_>, args: &Args<'_>, adds: bool) -> Result<Options, Fault> {
        let mut options = Options::default();
        let mut limit = None;
        let mut at = 2;
        while at < args.len() {
            let more = at + 1 < args.len();
            if adds && &args[at] == b"*" {
                options.wish = Some(Wish::Now(u64::try_from(ctx.now.unix_ms()).unwrap_or(0)));
                break;
            } else if more && (args.is(at, "maxlen") || args.is(at, "minid")) {
                at = options.bound(args, at)?;
            } else if more && args.is(at, "limit") {
                let most = parse_i64(&args[at + 1]).ok_or(NOT_AN_INTEGER)?;
                limit = Some(
                    u64::try_from(most)
                        .map_err(|_| Fault::new("ERR The LIMIT argument must be >= 0."))?,
                );
                at += 2;
            } else if adds && args.is(at, "nomkstream") {
                options.no_create = true;
                at += 1;
            } else if adds {
                options.wish = Some(wish(&args[at])?);
                break;
            } else {
                return Err(SYNTAX);
            }
        }
        options.id_at = at;
        options.set_limit(ctx, limit, adds)?;
        Ok(options)
    }

    /// Reads MAXLEN or MINID with what follows it.
    fn bound(&mut self, args: &Args<'_>, at: usize) -> Result<usize, Fault> {
        if self.trim.is_some() {
            return Err(Fault::new(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let marked = at + 2 < args.len() && matches!(&args[at + 1], b"~" | b"=");
        let value = &args[at + 1 + usize::from(marked)];
        let bound = if args.is(at, "maxlen") {
            let len = parse_i64(value).ok_or(NOT_AN_INTEGER)?;
            Bound::Len(
                u64::try_from(len)
                    .map_err(|_| Fault::new("ERR The MAXLEN argument must be >= 0."))?,
            )
        } else {
            Bound::From(strict_id(value, 0)?)
        };
        let whole_nodes = marked && &args[at + 1] == b"~";
        self.trim = Some(Trim { bound, whole_nodes, limit: 0 });
        Ok(at + 2 + usize::from(marked))
    }

    fn set_limit(&mut self, ctx: &Ctx<'_>, limit: Option<u64>, adds: bool) -> Result<(), Fault> {
        let Some(trim) = &mut self.trim else {
            if limit.is_some_and(|limit| limit > 0) {
                return Err(Fault::new(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                ));
            }
            let wants = "ERR syntax error, XTRIM must be called with a trimming strategy";
            // A limit of nothing needs nothing to limit, where there is `~` nowhere.
            return match (adds, limit) {
                (false, _) => Err(Fault::new(wants)),
                (true, Some(_)) if !ctx.replay => Err(LIMIT_ALONE),
                (true, _) => Ok(()),
            };
        };
        if ctx.replay {
            return Ok(());
        }
        trim.limit = match (limit, trim.whole_nodes) {
            (Some(_), false) => return Err(LIMIT_ALONE),
            (Some(limit), true) => limit,
            (None, false) => 0,
            (None, true) => match ctx.shapes.stream_node.entries.saturating_mul(100) as u64 {
                0 => 10_000,
                limit => limit.min(1_000_000),
            },
        };
        Ok(())
    }
}

const LIMIT_ALONE: Fault =
    Fault::new("ERR syntax error, LIMIT cannot be used without the special ~ option");

/// The id that XADD is to give: `ms-seq`, `ms`, or `ms-*`.
fn wish(text: &[u8]) -> Result<Wish, Fault> {
    match text.strip_suffix(b"-*") {
        Some(ms) if !ms.contains(&b'-') => Ok(Wish::In(strict_id(ms, 0)?.ms)),
        _ => Ok(Wish::Exactly(strict_id(text, 0)?)),
    }
}

/// How trimming is logged that dropped whole nodes: what it left is the bound.
fn settled_bound(stream: &Stream, trim: Trim) -> Option<Bound> {
    trim.whole_nodes.then(|| match trim.bound {
        Bound::Len(_) => Bound::Len(stream.len()),
        Bound::From(_) => Bound::From(stream.first_tombstone_or_entry().unwrap_or(Id::MAX)),
    })
}

/// The words that say a bound.
fn bound_words(bound: Bound) -> [Vec<u8>; 3] {
    let (name, value) = match bound {
        Bound::Len(len) => (&b"MAXLEN"[..], len.to_string().into_bytes()),
        Bound::From(id) => (&b"MINID"[..], id.text().to_vec()),
    };
    [name.to_vec(), b"=".to_vec(), value]
}

fn xadd(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let options = Options::parse(ctx, args, true)?;
    let key = &args[1];
    let pairs = args.items().get(options.id_at + 1..).unwrap_or_default();
    let (Some(wish), false) = (options.wish, pairs.len() < 2 || pairs.len() % 2 == 1) else {
        return Err(wrong_arity("xadd"));
    };
    if wish == Wish::Exactly(Id::MIN) {
        return Err(Fault::new("ERR The ID specified in XADD must be greater than 0-0"));
    }
    match stream_of(ctx.peek(key))? {
        Some(stream) if stream.last_id() == Id::MAX => {
            return Err(Fault::new(
                "ERR The stream has exhausted the last possible ID, unable to add more items",
            ));
        }
        Some(_) => {}
        None if options.no_create => {
            ctx.out.null();
            return Ok(());
        }
        None => {
            let stream = Stream::default();
            stream.check(wish, pairs).map_err(refusal)?;
            let stream = Object::Stream(Box::new(stream));
            ctx.put(key, NewValue::Object(Box::new(stream)), Expiry::Clear);
        }
    }
    let max = ctx.shapes.stream_node;
    let added = change(ctx, key, |stream| {
        let added = stream.add(wish, pairs, max).map(|id| {
            let trimmed = options.trim.map(|trim| stream.trim(trim)).unwrap_or_default();
            let bound = options.trim.and_then(|trim| settled_bound(stream, trim));
            (id, trimmed, bound)
        });
        let changed = added.is_ok();
        (added, changed)
    });
    let Some(added) = added else { return Err(WRONG_TYPE) };
    let (id, trimmed, bound) = added.map_err(refusal)?;
    free_later(ctx, key, trimmed.nodes);
    let text = id.text();
    log_added(ctx, args, &options, &text, bound);
    ctx.event(Class::Stream, "xadd", key);
    if trimmed.count > 0 {
        ctx.event(Class::Stream, "xtrim", key);
    }
    ctx.out.bulk(&text);
    Ok(())
}

fn refusal(refused: Refused) -> Fault {
    match refused {
        Refused::NotBehind => Fault::new(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        Refused::TooLong => Fault::new("ERR Elements are too large to be stored"),
    }
}

fn log_added(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    options: &Options,
    text: &[u8],
    bound: Option<Bound>,
) {
    let key = &args[1];
    if matches!(options.wish, Some(Wish::Exactly(_))) && bound.is_none() {
        return ctx.log_request(key, args);
    }
    let bound = bound.or(options.trim.map(|trim| trim.bound)).map(bound_words);
    let mut parts: SmallVec<[&[u8]; 16]> = SmallVec::from_slice(&[b"XADD", key]);
    parts.extend(bound.iter().flatten().map(Vec::as_slice));
    parts.push(text);
    parts.extend_from_slice(&args.items()[options.id_at + 1..]);
    ctx.log(key, &parts);
}

fn xlen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.read_to(&args[1], |out, entry| {
        out.int(stream_of(entry)?.map_or(0, Stream::len) as i64);
        Ok(())
    })
}

fn xrange(ctx: &mut Ctx<'_>, args: &Args<'_>, backwards: bool) -> Result<(), Fault> {
    let (start, end) = if backwards { (3, 2) } else { (2, 3) };
    let (start, end) = (range_start(&args[start])?, range_end(&args[end])?);
    let mut count = None;
    let mut at = 4;
    while at < args.len() {
        if !args.is(at, "COUNT") || at + 1 == args.len() {
            return Err(SYNTAX);
        }
        count = Some(parse_i64(&args[at + 1]).ok_or(NOT_AN_INTEGER)?.max(0));
        at += 2;
    }
    ctx.read_to(&args[1], |out, entry| {
        match (stream_of(entry)?, count) {
            (None, _) => out.array(0),
            (_, Some(0)) => out.null_array(),
            (Some(stream), count) => {
                let max = count.map_or(usize::MAX, |count| count as usize);
                reply_range(out, stream.range(start, end), max, backwards);
            }
        }
        Ok(())
    })
}

fn xdel(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    if stream_of(ctx.peek(key))?.is_none() {
        ctx.out.int(0);
        return Ok(());
    }
    let ids = ids(&args.items()[2..])?;
    let removed = change(ctx, key, |stream| {
        let first = stream.first_id();
        let removed = ids.iter().filter(|id| stream.remove(**id)).count();
        if removed > 0 && (stream.is_empty() || stream.get(first).is_none()) {
            stream.removed();
        }
        (removed, removed > 0)
    });
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        ctx.log_request(key, args);
        ctx.event(Class::Stream, "xdel", key);
    }
    ctx.out.int(removed as i64);
    Ok(())
}

fn xtrim(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let options = Options::parse(ctx, args, false)?;
    let key = &args[1];
    let (true, Some(trim)) = (stream_of(ctx.peek(key))?.is_some(), options.trim) else {
        ctx.out.int(0);
        return Ok(());
    };
    let trimmed = change(ctx, key, |stream| {
        let trimmed = stream.trim(trim);
        let bound = settled_bound(stream, trim);
        let changed = trimmed.count > 0 || trimmed.dropped;
        ((trimmed, bound), changed)
    });
    let Some((trimmed, bound)) = trimmed else { return Err(WRONG_TYPE) };
    free_later(ctx, key, trimmed.nodes);
    if trimmed.count > 0 || trimmed.dropped {
        match bound.map(bound_words) {
            Some([name, sign, value]) => ctx.log(key, &[b"XTRIM", key, &name, &sign, &value]),
            None => ctx.log_request(key, args),
        }
    }
    if trimmed.count > 0 {
        ctx.event(Class::Stream, "xtrim", key);
    }
    ctx.out.int(trimmed.count as i64);
    Ok(())
}

fn xsetid(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, last) = (&args[1], strict_id(&args[2], 0)?);
    let (mut added, mut max_deleted) = (None, Id::MIN);
    let mut at = 3;
    while at < args.len() {
        if at + 1 < args.len() && args.is(at, "ENTRIESADDED") {
            let n = parse_i64(&args[at + 1]).ok_or(NOT_AN_INTEGER)?;
            let n = u64::try_from(n);
            added = Some(n.map_err(|_| Fault::new("ERR entries_added must be positive"))?);
        } else if at + 1 < args.len() && args.is(at, "MAXDELETEDID") {
            max_deleted = strict_id(&args[at + 1], 0)?;
            if last < max_deleted {
                return Err(Fault::new(
                    "ERR The ID specified in XSETID is smaller than the provided \
                     max_deleted_entry_id",
                ));
            }
        } else {
            return Err(SYNTAX);
        }
        at += 2;
    }
    let replay = ctx.replay;
    let stream = stream_of(ctx.peek(key))?.ok_or(NO_SUCH_KEY)?;
    // Redis 7.0 allowed it, and its logs may have it.
    if !replay && last < stream.max_deleted() {
        return Err(Fault::new(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if stream.last_entry_id().is_some_and(|top| last < top) {
        return Err(Fault::new(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if !stream.is_empty() && added.is_some_and(|added| stream.len() > added) {
        return Err(Fault::new(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    let max_deleted = Some(max_deleted).filter(|id| !id.is_zero());
    change_unwatched(ctx, key, |stream| (stream.set_ids(last, added, max_deleted), true));
    ctx.log_request(key, args);
    ctx.event(Class::Stream, "xsetid", key);
    ctx.out.ok();
    Ok(())
}
