//! Pending entries: XPENDING, XACK, XCLAIM, XAUTOCLAIM.
//!
//! A claim is logged as the XCLAIM that makes what it made, whatever time it is then; entries that
//! were no longer there and so ceased to be pending are named likewise, and cease once more.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NOT_AN_INTEGER, SYNTAX};
use crate::command::stream::{
    REMOVES_FIRST, UNCERTAIN, change_unwatched, ids, range_end, range_start, reply_entry, reply_id,
    row, stream_of, strict_id,
};
use crate::command::stream_read::log_position;
use crate::command::table::{Command, Flags, READS_FIRST, UPDATES_FIRST, printable};
use crate::keyspace::{Class, claim_words};
use crate::resp::Reply;
use crate::value::stream::{Group, Id, Pending, Stream};

/// The commands of this file.
pub static ROWS: &[Command] = &[
    row("xack", -4, Flags::WRITE | Flags::FAST, UPDATES_FIRST, xack),
    Command { tips: UNCERTAIN, ..row("xpending", -3, Flags::READONLY, READS_FIRST, xpending) },
    Command {
        tips: UNCERTAIN,
        ..row("xclaim", -6, Flags::WRITE | Flags::FAST, UPDATES_FIRST, xclaim)
    },
    Command {
        tips: UNCERTAIN,
        since: "6.2.0",
        ..row("xautoclaim", -6, Flags::WRITE | Flags::FAST, REMOVES_FIRST, xautoclaim)
    },
];

/// Most ids of one XCLAIM.
const BATCH: usize = 64;

/// Claims that are to be logged: ids that are pending alike, and how far the group was.
#[derive(Default)]
pub(super) struct Claims(Vec<(Vec<Id>, Pending, Id)>);

impl Claims {
    /// Adds an entry that has just become pending in this way.
    pub(super) fn add(&mut self, id: Id, pending: Pending, group: &Group) {
        match self.0.last_mut() {
            Some((ids, of, last)) if *of == pending && ids.len() < BATCH => {
                ids.push(id);
                *last = group.last_id;
            }
            _ => self.0.push((vec![id], pending, group.last_id)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Logs them.
    pub(super) fn log(&self, ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], consumer: &[u8]) {
        for (ids, pending, last) in &self.0 {
            let words = claim_words(group, consumer, ids, *pending, Some(*last));
            let head = [&b"XCLAIM"[..], key];
            let parts: Vec<&[u8]> =
                head.into_iter().chain(words.iter().map(Vec::as_slice)).collect();
            ctx.log(key, &parts);
        }
    }
}

/// What is answered where there is no such group.
fn no_group(key: &[u8], group: &[u8]) -> Fault {
    let mut text = b"NOGROUP No such key '".to_vec();
    text.extend_from_slice(printable(key, usize::MAX));
    text.extend_from_slice(b"' or consumer group '");
    text.extend_from_slice(printable(group, usize::MAX));
    text.push(b'\'');
    Fault(text.into())
}

/// The group that a request names.
fn group_of<'s>(
    stream: Option<&'s Stream>,
    key: &[u8],
    group: &[u8],
) -> Result<(&'s Stream, &'s Group), Fault> {
    let found = stream.and_then(|stream| Some((stream, stream.group(group)?)));
    found.ok_or_else(|| no_group(key, group))
}

fn xack(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, name) = (&args[1], &args[2]);
    if stream_of(ctx.read(key))?.is_none_or(|stream| stream.group(name).is_none()) {
        ctx.out.int(0);
        return Ok(());
    }
    let ids = ids(&args.items()[3..])?;
    let acknowledged = change_unwatched(ctx, key, |stream| {
        let count = stream
            .change_group(name, |group| ids.iter().filter(|id| group.acknowledge(**id)).count());
        let count = count.unwrap_or(0);
        (count, count > 0)
    });
    let acknowledged = acknowledged.unwrap_or(0);
    if acknowledged > 0 {
        ctx.log_request(key, args);
    }
    ctx.out.int(acknowledged as i64);
    Ok(())
}

/// The longer form of XPENDING.
struct Which<'a> {
    min_idle: i64,
    start: Id,
    end: Id,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Which<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, Fault> {
        if !(6..=9).contains(&args.len()) {
            return Err(SYNTAX);
        }
        let (mut min_idle, mut at) = (0, 3);
        if args.is(3, "IDLE") {
            min_idle = parse_i64(&args[4]).ok_or(NOT_AN_INTEGER)?;
            if args.len() < 8 {
                return Err(SYNTAX);
            }
            at = 5;
        }
        let count = parse_i64(&args[at + 2]).ok_or(NOT_AN_INTEGER)?;
        let (start, end) = (range_start(&args[at])?, range_end(&args[at + 1])?);
        let count = usize::try_from(count).unwrap_or(0);
        Ok(Which { min_idle, start, end, count, consumer: args.get(at + 3) })
    }

    /// The entries that are asked for.
    fn of(&self, group: &Group, now: i64) -> Vec<(Id, Pending)> {
        let consumer = match self.consumer.map(|name| group.consumer(name)) {
            Some(None) => return Vec::new(),
            Some(number) => number,
            None => None,
        };
        let idle_enough = |pending: &Pending| {
            self.min_idle == 0 || now.saturating_sub(pending.time) >= self.min_idle
        };
        let wanted = |(id, pending): &(Id, Pending)| *id <= self.end && idle_enough(pending);
        match consumer {
            Some(number) => {
                let own = group.history(number, self.start).take_while(|(id, _)| *id <= self.end);
                own.filter(wanted).take(self.count).collect()
            }
            None => {
                let all = group.pending_from(self.start).map(|(id, pending)| (id, *pending));
                let all = all.take_while(|(id, _)| *id <= self.end);
                all.filter(wanted).take(self.count).collect()
            }
        }
    }
}

fn xpending(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let which = if args.len() == 3 { None } else { Some(Which::parse(args)?) };
    let now = ctx.now.unix_ms();
    ctx.read_to(&args[1], |out, entry| {
        let (_, group) = group_of(stream_of(entry)?, &args[1], &args[2])?;
        let Some(which) = which else {
            summary(out, group);
            return Ok(());
        };
        let pending = which.of(group, now);
        out.array(pending.len());
        for (id, pending) in pending {
            out.array(4);
            reply_id(out, id);
            reply_consumer(out, group, pending.consumer);
            out.int(now.saturating_sub(pending.time).max(0));
            out.int(pending.count as i64);
        }
        Ok(())
    })
}

/// Answers with a consumer's name.
pub(super) fn reply_consumer(out: &mut Reply, group: &Group, number: u64) {
    out.bulk(group.consumer_at(number).map_or(b"", |consumer| &consumer.name));
}

fn summary(out: &mut Reply, group: &Group) {
    out.array(4);
    out.int(group.pending_len() as i64);
    let edges = (group.pending_from(Id::MIN).next(), group.pending_last());
    let (Some((first, _)), Some(last)) = edges else {
        out.null();
        out.null();
        out.null_array();
        return;
    };
    reply_id(out, first);
    reply_id(out, last);
    let busy = || group.consumers().map(|(_, consumer)| consumer).filter(|c| c.pending > 0);
    out.array(busy().count());
    for consumer in busy() {
        out.array(2);
        out.bulk(&consumer.name);
        out.bulk_int(consumer.pending as i64);
    }
}

/// What XCLAIM is told behind the ids.
#[derive(Default)]
struct Options {
    min_idle: i64,
    /// As Redis keeps it: -1 when none is given.
    time: i64,
    retries: i64,
    force: bool,
    just_ids: bool,
    last_id: Id,
}

impl Options {
    fn parse(args: &Args<'_>, mut at: usize, min_idle: i64, now: i64) -> Result<Options, Fault> {
        let mut options = Options { min_idle, time: -1, retries: -1, ..Options::default() };
        let number = |at: usize, what: &str| {
            let n = args.get(at).and_then(parse_i64);
            n.ok_or_else(|| Fault::text(format!("ERR Invalid {what} option argument for XCLAIM")))
        };
        while at < args.len() {
            let more = at + 1 < args.len();
            if args.is(at, "FORCE") {
                options.force = true;
            } else if args.is(at, "JUSTID") {
                options.just_ids = true;
            } else if more && args.is(at, "IDLE") {
                at += 1;
                options.time = now.wrapping_sub(number(at, "IDLE")?);
            } else if more && args.is(at, "TIME") {
                at += 1;
                options.time = number(at, "TIME")?;
            } else if more && args.is(at, "RETRYCOUNT") {
                at += 1;
                options.retries = number(at, "RETRYCOUNT")?;
            } else if more && args.is(at, "LASTID") {
                at += 1;
                options.last_id = strict_id(&args[at], 0)?;
            } else {
                let mut text = b"ERR Unrecognized XCLAIM option '".to_vec();
                text.extend_from_slice(printable(&args[at], usize::MAX));
                text.push(b'\'');
                return Err(Fault(text.into()));
            }
            at += 1;
        }
        Ok(options)
    }

    /// The time of delivery: never in the future, except as a log has it.
    fn delivery_time(&self, now: i64, replay: bool) -> i64 {
        let bogus = self.time < 0 || !replay && self.time > now;
        if bogus { now } else { self.time }
    }
}

/// What a claim has brought about.
#[derive(Default)]
struct Claimed {
    reply: Reply,
    count: usize,
    new_consumer: bool,
    claims: Claims,
    /// Entries that are not there any more.
    gone: Vec<Id>,
    /// The group has moved, and no claim says so.
    moved: Option<(Id, i64)>,
    /// Where XAUTOCLAIM goes on.
    next: Id,
}

impl Claimed {
    /// Gives an entry to a consumer.
    fn take(&mut self, stream: &mut Stream, group: &[u8], id: Id, pending: Pending, just_id: bool) {
        self.count += 1;
        match stream.get(id) {
            Some(entry) if !just_id => reply_entry(&mut self.reply, &entry),
            _ => reply_id(&mut self.reply, id),
        }
        stream.change_group(group, |group| {
            group.set_pending(id, pending);
            self.claims.add(id, pending, group);
        });
    }

    /// Ends what is pending of an entry that is not there any more.
    fn drop_gone(&mut self, stream: &mut Stream, group: &[u8], id: Id) {
        stream.change_group(group, |group| {
            if let Some(pending) = group.pending_at(id) {
                group.acknowledge(id);
                self.claims.add(id, pending, group);
                self.gone.push(id);
            }
        });
    }

    fn changed(&self) -> bool {
        self.new_consumer || !self.claims.is_empty() || self.moved.is_some()
    }

    fn log(&self, ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], consumer: &[u8]) {
        if self.new_consumer {
            ctx.log(key, &[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
            ctx.event(Class::Stream, "xgroup-createconsumer", key);
        }
        self.claims.log(ctx, key, group, consumer);
        if let Some((last, read)) = self.moved {
            log_position(ctx, key, group, last, read);
        }
    }
}

fn xclaim(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, name, consumer) = (&args[1], &args[2], &args[3]);
    group_of(stream_of(ctx.read(key))?, key, name)?;
    let min_idle = parse_i64(&args[4]);
    let min_idle = min_idle.ok_or(Fault::new("ERR Invalid min-idle-time argument for XCLAIM"))?;
    let rest = &args.items()[5..];
    let ids: Vec<Id> = rest.iter().map_while(|text| strict_id(text, 0).ok()).collect();
    let now = ctx.now.unix_ms();
    let options = Options::parse(args, 5 + ids.len(), min_idle.max(0), now)?;
    let time = options.delivery_time(now, ctx.replay);
    let resp3 = ctx.out.resp3;
    let claimed = change_unwatched(ctx, key, |stream| {
        let mut claimed = Claimed { reply: Reply::new(resp3), ..Claimed::default() };
        claim(stream, name, consumer, (&ids, &options, time, now), &mut claimed);
        let changed = claimed.changed();
        (claimed, changed)
    });
    let Some(claimed) = claimed else { return Err(no_group(key, name)) };
    claimed.log(ctx, key, name, consumer);
    ctx.out.array(claimed.count);
    ctx.out.append(claimed.reply);
    Ok(())
}

fn claim(
    stream: &mut Stream,
    name: &[u8],
    consumer: &[u8],
    (ids, options, time, now): (&[Id], &Options, i64, i64),
    claimed: &mut Claimed,
) {
    let begun = stream.change_group(name, |group| {
        let moves = options.last_id > group.last_id;
        if moves {
            group.last_id = options.last_id;
        }
        (moves, group.see_consumer(consumer, now))
    });
    let Some((moves, (number, new))) = begun else { return };
    claimed.new_consumer = new;
    for &id in ids {
        if stream.get(id).is_none() {
            claimed.drop_gone(stream, name, id);
            continue;
        }
        let old = stream.group(name).and_then(|group| group.pending_at(id));
        let count = match (old, options.force) {
            (None, false) => continue,
            (Some(old), _) if idle_less(now, old.time, options.min_idle) => continue,
            (Some(old), _) => old.count,
            (None, true) => 1,
        };
        let mut pending = Pending { time, count, consumer: number };
        match u64::try_from(options.retries) {
            Ok(retries) => pending.count = retries,
            Err(_) => pending = pending.again(time, !options.just_ids),
        }
        claimed.take(stream, name, id, pending, options.just_ids);
    }
    stream.change_group(name, |group| {
        if claimed.count > 0 {
            group.set_active(number, now);
        }
        if moves && claimed.claims.is_empty() {
            claimed.moved = Some((group.last_id, group.entries_read));
        }
    });
}

/// Whether an entry has not been idle for long enough.
fn idle_less(now: i64, time: i64, min_idle: i64) -> bool {
    min_idle > 0 && now.saturating_sub(time) < min_idle
}

/// Most entries looked at for each that XAUTOCLAIM is to claim.
const ATTEMPTS: u64 = 10;

fn xautoclaim(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, name, consumer) = (&args[1], &args[2], &args[3]);
    let min_idle = parse_i64(&args[4])
        .ok_or(Fault::new("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?
        .max(0);
    let start = range_start(&args[5])?;
    let (mut count, mut just_ids, mut at) = (100, false, 6);
    while at < args.len() {
        if args.is(at, "COUNT") && at + 1 < args.len() {
            let n = parse_i64(&args[at + 1]).filter(|n| (1..=i64::MAX / 16).contains(n));
            count = n.ok_or(Fault::new("ERR COUNT must be > 0"))? as u64;
            at += 1;
        } else if args.is(at, "JUSTID") {
            just_ids = true;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    group_of(stream_of(ctx.read(key))?, key, name)?;
    let (now, resp3) = (ctx.now.unix_ms(), ctx.out.resp3);
    let claimed = change_unwatched(ctx, key, |stream| {
        let mut claimed = Claimed { reply: Reply::new(resp3), ..Claimed::default() };
        auto_claim(stream, name, consumer, (start, min_idle, count, just_ids, now), &mut claimed);
        let changed = claimed.changed();
        (claimed, changed)
    });
    let Some(claimed) = claimed else { return Err(no_group(key, name)) };
    claimed.log(ctx, key, name, consumer);
    ctx.out.array(3);
    reply_id(ctx.out, claimed.next);
    ctx.out.array(claimed.count);
    ctx.out.append(claimed.reply);
    ctx.out.array(claimed.gone.len());
    claimed.gone.iter().for_each(|id| reply_id(ctx.out, *id));
    Ok(())
}

fn auto_claim(
    stream: &mut Stream,
    name: &[u8],
    consumer: &[u8],
    (start, min_idle, mut count, just_ids, now): (Id, i64, u64, bool, i64),
    claimed: &mut Claimed,
) {
    let seen = stream.change_group(name, |group| group.see_consumer(consumer, now));
    let Some((number, new)) = seen else { return };
    claimed.new_consumer = new;
    let mut attempts = count.saturating_mul(ATTEMPTS);
    let mut from = Some(start);
    let next = |stream: &Stream, from: Option<Id>| {
        let pending = stream.group(name)?.pending_from(from?).next()?;
        Some((pending.0, *pending.1))
    };
    while attempts > 0
        && count > 0
        && let Some((id, old)) = next(stream, from)
    {
        attempts -= 1;
        from = id.next();
        if stream.get(id).is_none() {
            claimed.drop_gone(stream, name, id);
            count -= 1;
        } else if !idle_less(now, old.time, min_idle) {
            let pending = Pending { consumer: number, ..old.again(now, !just_ids) };
            claimed.take(stream, name, id, pending, just_ids);
            count -= 1;
        }
    }
    claimed.next = next(stream, from).map_or(Id::MIN, |(id, _)| id);
    if claimed.count > 0 {
        stream.change_group(name, |group| group.set_active(number, now));
    }
}
