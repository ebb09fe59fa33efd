//! XINFO: what there is to know of a stream, its groups and their consumers.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, NO_SUCH_KEY, NOT_AN_INTEGER};
use crate::command::stream::{UNCERTAIN, reply_entry, reply_id, reply_range, row, stream_of};
use crate::command::stream_claim::reply_consumer;
use crate::command::stream_group::no_group;
use crate::command::table::{
    Acl, Command, Flags, KeySpec, Keys, READS, ROW, Run, wrong_subcommand,
};
use crate::resp::Reply;
use crate::value::stream::{Consumer, Group, Id, Stream};

type Handler = fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>;

const fn sub(name: &'static str, arity: i32, run: Handler) -> Command {
    Command {
        keys: Keys::Range { first: 2, last: 2, step: 1 },
        ..row(name, arity, Flags::READONLY, SECOND, run)
    }
}

const SECOND: &[KeySpec] = &[KeySpec::one(2, READS)];

/// The commands of this file.
pub static ROWS: &[Command] = &[Command {
    name: "xinfo",
    arity: -2,
    group: "stream",
    since: "5.0.0",
    subcommands: &[
        Command { tips: UNCERTAIN, ..sub("xinfo|consumers", 4, consumers) },
        sub("xinfo|groups", 3, groups),
        Command {
            name: "xinfo|help",
            arity: 2,
            flags: Flags(Flags::LOADING | Flags::STALE),
            run: Run::Data(help),
            group: "stream",
            since: "5.0.0",
            acl: Acl(Acl::STREAM),
            ..ROW
        },
        sub("xinfo|stream", -3, stream),
    ],
    ..ROW
}];

/// A name as it stands in front of what it names.
fn name(out: &mut Reply, name: &str) {
    out.bulk(name.as_bytes());
}

fn int(out: &mut Reply, what: &str, n: i64) {
    name(out, what);
    out.int(n);
}

fn id(out: &mut Reply, what: &str, id: Id) {
    name(out, what);
    reply_id(out, id);
}

fn maybe_int(out: &mut Reply, what: &str, n: Option<i64>) {
    name(out, what);
    match n {
        Some(n) => out.int(n),
        None => out.null(),
    }
}

fn consumers(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let now = ctx.now.unix_ms();
    ctx.read_to(&args[2], |out, entry| {
        let stream = stream_of(entry)?.ok_or(NO_SUCH_KEY)?;
        let group = stream.group(&args[3]).ok_or_else(|| no_group(&args[2], &args[3]))?;
        out.array(group.consumers_len());
        for (_, consumer) in group.consumers() {
            out.map(4);
            name(out, "name");
            out.bulk(&consumer.name);
            int(out, "pending", consumer.pending as i64);
            int(out, "idle", now.saturating_sub(consumer.seen).max(0));
            let active = consumer.active;
            int(out, "inactive", if active == -1 { -1 } else { now.saturating_sub(active) });
        }
        Ok(())
    })
}

fn groups(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.read_to(&args[2], |out, entry| {
        let stream = stream_of(entry)?.ok_or(NO_SUCH_KEY)?;
        out.array(stream.groups().len());
        for (group_name, group) in stream.groups() {
            out.map(6);
            name(out, "name");
            out.bulk(group_name);
            int(out, "consumers", group.consumers_len() as i64);
            int(out, "pending", group.pending_len() as i64);
            position(out, stream, group);
        }
        Ok(())
    })
}

/// How far a group has read.
fn position(out: &mut Reply, stream: &Stream, group: &Group) {
    id(out, "last-delivered-id", group.last_id);
    maybe_int(out, "entries-read", Some(group.entries_read).filter(|read| *read >= 0));
    maybe_int(out, "lag", stream.lag(group));
}

fn stream(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    ctx.read_to(&args[2], |out, entry| {
        let stream = stream_of(entry)?.ok_or(NO_SUCH_KEY)?;
        let count = match args.len() {
            3 => None,
            4 if args.is(3, "FULL") => Some(10),
            6 if args.is(3, "FULL") && args.is(4, "COUNT") => {
                let count = parse_i64(&args[5]).ok_or(NOT_AN_INTEGER)?;
                Some(usize::try_from(count).unwrap_or(10))
            }
            _ => return Err(wrong_subcommand("xinfo", &args[1])),
        };
        out.map(if count.is_some() { 9 } else { 10 });
        int(out, "length", stream.len() as i64);
        int(out, "radix-tree-keys", stream.nodes_len() as i64);
        int(out, "radix-tree-nodes", radix_nodes(stream) as i64);
        id(out, "last-generated-id", stream.last_id());
        id(out, "max-deleted-entry-id", stream.max_deleted());
        int(out, "entries-added", stream.entries_added() as i64);
        id(out, "recorded-first-entry-id", stream.first_id());
        match count {
            None => edges(out, stream),
            Some(count) => full(out, stream, if count == 0 { usize::MAX } else { count }),
        }
        Ok(())
    })
}

fn edges(out: &mut Reply, stream: &Stream) {
    int(out, "groups", stream.groups().len() as i64);
    let all = stream.range(Id::MIN, Id::MAX);
    for (what, entry) in
        [("first-entry", all.clone().next()), ("last-entry", all.clone().next_back())]
    {
        name(out, what);
        match entry {
            Some(entry) => reply_entry(out, &entry),
            None => out.null(),
        }
    }
}

fn full(out: &mut Reply, stream: &Stream, count: usize) {
    name(out, "entries");
    reply_range(out, stream.range(Id::MIN, Id::MAX), count, false);
    name(out, "groups");
    out.array(stream.groups().len());
    for (group_name, group) in stream.groups() {
        out.map(7);
        name(out, "name");
        out.bulk(group_name);
        position(out, stream, group);
        int(out, "pel-count", group.pending_len() as i64);
        name(out, "pending");
        out.array(group.pending_len().min(count));
        for (id, pending) in group.pending_from(Id::MIN).take(count) {
            out.array(4);
            reply_id(out, id);
            reply_consumer(out, group, pending.consumer);
            out.int(pending.time);
            out.int(pending.count as i64);
        }
        name(out, "consumers");
        out.array(group.consumers_len());
        for (number, consumer) in group.consumers() {
            full_consumer(out, group, (number, consumer), count);
        }
    }
}

fn full_consumer(out: &mut Reply, group: &Group, of: (u64, &Consumer), count: usize) {
    let (number, consumer) = of;
    out.map(5);
    name(out, "name");
    out.bulk(&consumer.name);
    int(out, "seen-time", consumer.seen);
    int(out, "active-time", consumer.active);
    int(out, "pel-count", consumer.pending as i64);
    name(out, "pending");
    out.array(consumer.pending.min(count));
    for (id, pending) in group.history(number, Id::MIN).take(count) {
        out.array(3);
        reply_id(out, id);
        out.int(pending.time);
        out.int(pending.count as i64);
    }
}

/// Ids that are looked at to tell the size of a radix tree.
const SAMPLE: usize = 4096;

/// Nodes that a radix tree has which holds these ids as Redis' does: every node with several
/// children, every chain without a fork between two of them, every end. Of very many ids, the first
/// tell how it is with the others.
fn radix_nodes(stream: &Stream) -> u64 {
    let mut ids = stream.node_ids().take(SAMPLE).map(Id::to_bytes);
    let Some(mut last) = ids.next() else { return 1 };
    let shared = |a: &[u8; 16], b: &[u8; 16]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    // How deep the forks on the way to the last id stand.
    let mut forks: Vec<usize> = Vec::new();
    let (mut nodes, mut seen) = (0, 1);
    // A fork or an end, and the chain in front of it.
    let node_at = |depth: usize, parent: Option<&usize>| {
        1 + u64::from(parent.map_or(depth > 0, |parent| depth > parent + 1))
    };
    for id in ids {
        seen += 1;
        let depth = shared(&last, &id);
        nodes += node_at(16, Some(&depth.max(forks.last().copied().unwrap_or(0))));
        while let Some(fork) = forks.pop_if(|fork| *fork > depth) {
            let parent = forks.last().copied().map_or(depth, |parent| parent.max(depth));
            nodes += node_at(fork, Some(&parent));
        }
        if forks.last() != Some(&depth) {
            forks.push(depth);
        }
        last = id;
    }
    nodes += node_at(16, forks.last());
    while let Some(fork) = forks.pop() {
        nodes += node_at(fork, forks.last());
    }
    nodes * stream.nodes_len() as u64 / seen
}

const HELP: &[&str] = &[
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
    "HELP",
    "    Prints this help.",
];

fn help(ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.array(HELP.len());
    HELP.iter().for_each(|line| ctx.out.simple(line));
    Ok(())
}
