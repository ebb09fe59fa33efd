//! Lists: what happens at their ends. LPUSH, LPOP, LMOVE, LMPOP and their kin; the commands that
//! look or change inside are in `list_inside`.
//!
//! The log gets the request where replaying it does the same. What is moved from list to list is
//! logged as a pop and a push, since the two may be in different shards, whose logs are replayed
//! by themselves.

use smallvec::SmallVec;

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::elements::reply_item;
use crate::command::fault::{Fault, SYNTAX, WRONG_TYPE};
use crate::command::table::{
    Acl, Command, Flags, Group, INSERTS_MORE, KeySpec, Keys, LOOKS, Route, TAKES, wrong_arity,
};
use crate::keyspace::{Class, Entry, Form, NewValue, Object};
use crate::resp::Reply;
use crate::value::list::{self, End, Kept, List};
use crate::value::listpack::{self, Item, Pack};

/// The group of these commands.
pub(super) const GROUP: Group = Group { name: "list", acl: Acl::LIST };

const WRITE: u32 = Flags::WRITE;
const FAST: u32 = Flags::FAST;
const PUSHES: u32 = WRITE | Flags::DENYOOM | FAST;
const MOVES: u32 = WRITE | Flags::DENYOOM;
const GROWS: &[KeySpec] = &[KeySpec::one(1, INSERTS_MORE)];
const SHRINKS: &[KeySpec] = &[KeySpec::one(1, TAKES)];
const FROM_TO: &[KeySpec] = &[KeySpec::one(1, TAKES), KeySpec::one(2, INSERTS_MORE)];
const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("lpush", -3, PUSHES, "1.0.0", GROWS, lpush),
    GROUP.row("rpush", -3, PUSHES, "1.0.0", GROWS, rpush),
    GROUP.row("lpushx", -3, PUSHES, "2.2.0", GROWS, lpushx),
    GROUP.row("rpushx", -3, PUSHES, "2.2.0", GROWS, rpushx),
    GROUP.row("lpop", -2, WRITE | FAST, "1.0.0", SHRINKS, lpop),
    GROUP.row("rpop", -2, WRITE | FAST, "1.0.0", SHRINKS, rpop),
    GROUP.row("llen", 2, Flags::READONLY | FAST, "1.0.0", &[KeySpec::one(1, LOOKS)], llen),
    Command {
        keys: TWO,
        route: Route::Lease,
        ..GROUP.row("lmove", 5, MOVES, "6.2.0", FROM_TO, lmove)
    },
    Command {
        keys: TWO,
        route: Route::Lease,
        ..GROUP.row("rpoplpush", 3, MOVES, "1.2.0", FROM_TO, rpoplpush)
    },
    Command {
        keys: Keys::Counted { at: 1, store: false },
        route: Route::Lease,
        ..GROUP.row(
            "lmpop",
            -4,
            WRITE | Flags::MOVABLE_KEYS,
            "7.0.0",
            &[KeySpec::counted(1, TAKES)],
            lmpop,
        )
    },
];

/// The list that an entry holds.
pub fn list_of(entry: Option<&Entry>) -> Result<Option<Kept<'_>>, Fault> {
    entry.map(|entry| Kept::of(entry).ok_or(WRONG_TYPE)).transpose()
}

/// Hands the list at `key`, if there is one, to `answer` with the reply.
pub(super) fn read<R>(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    answer: impl FnOnce(&mut Reply, Option<Kept<'_>>) -> R,
) -> Result<R, Fault> {
    ctx.read_to(key, |out, entry| Ok(answer(out, list_of(entry)?)))
}

/// The end that a word names.
pub fn end_of(word: &[u8]) -> Result<End, Fault> {
    match word {
        word if word.eq_ignore_ascii_case(b"LEFT") => Ok(End::Front),
        word if word.eq_ignore_ascii_case(b"RIGHT") => Ok(End::Back),
        _ => Err(SYNTAX),
    }
}

/// The command that pops from an end.
fn pops(end: End) -> &'static [u8] {
    if end == End::Front { b"LPOP" } else { b"RPOP" }
}

/// The command that pushes to an end.
fn pushes(end: End) -> &'static [u8] {
    if end == End::Front { b"LPUSH" } else { b"RPUSH" }
}

/// What is told of a push to an end.
fn push_event(end: End) -> &'static str {
    if end == End::Front { "lpush" } else { "rpush" }
}

/// What is told of a pop from an end.
fn pop_event(end: End) -> &'static str {
    if end == End::Front { "lpop" } else { "rpop" }
}

/// Longest element in bytes.
const ELEMENT_MAX: usize = u32::MAX as usize / 2;

/// Whether elements may stand in a list.
pub(super) fn check_lengths(elements: &[&[u8]]) -> Result<(), Fault> {
    match elements.iter().any(|element| element.len() > ELEMENT_MAX) {
        true => Err(Fault::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
        false => Ok(()),
    }
}

/// Turns the packed list at `key` into a deque if it cannot hold `added` more elements packed;
/// says whether there is a packed list, or none, afterwards.
pub(super) fn make_way(ctx: &mut Ctx<'_>, key: &[u8], added: &[&[u8]]) -> Result<bool, Fault> {
    let shapes = ctx.shapes;
    let bytes: usize = added.iter().map(|element| element.len()).sum();
    let grown = match list_of(ctx.peek(key))? {
        Some(Kept::Nodes(_)) => return Ok(false),
        Some(Kept::Packed(pack)) if !list::outgrows(pack.0, bytes, added.len(), shapes) => {
            return Ok(true);
        }
        Some(Kept::Packed(pack)) => Some(List::of_pack(pack, shapes.list)),
        None if !list::outgrows(&[], bytes, added.len(), shapes) => return Ok(true),
        None => None,
    };
    match grown {
        Some(list) => ctx.reshape(key, NewValue::Object(Box::new(Object::List(list)))),
        None => {
            let list = Object::List(List::new(shapes.list));
            ctx.put(key, NewValue::Object(Box::new(list)), Expiry::Clear);
        }
    }
    Ok(false)
}

/// Adds elements at an end of the list at `key`, which may have to be made; says how many there
/// are then. The caller logs.
pub fn push(ctx: &mut Ctx<'_>, key: &[u8], elements: &[&[u8]], end: End) -> Result<usize, Fault> {
    check_lengths(elements)?;
    let add = |object: &mut Object| {
        let Object::List(list) = object else { return (None, false) };
        elements.iter().for_each(|element| list.push(element, end));
        (Some(list.len()), true)
    };
    // Where most of the elements are, and most lists, one look is enough.
    if let Some((Some(len), _)) = ctx.change_living(key, add) {
        return Ok(len);
    }
    let (shapes, bytes) = (ctx.shapes, elements.iter().map(|element| element.len()).sum());
    let pack = |packed: &mut bytes::BytesMut| match elements.len() {
        count if list::outgrows(packed, bytes, count, shapes) => (None, false),
        _ => (Some(push_packed(packed, elements, end)), true),
    };
    if let Some((Some(len), _)) = ctx.edit_living(key, Form::List, pack) {
        return Ok(len);
    }
    if make_way(ctx, key, elements)? {
        let add = |packed: &mut bytes::BytesMut| (push_packed(packed, elements, end), true);
        return Ok(ctx.edit_packed(key, Form::List, add).0);
    }
    Ok(ctx.change_object(key, add).and_then(|(len, _)| len).unwrap_or(0))
}

/// Adds elements at an end of a packed list, or of none; says how many there are then.
fn push_packed(packed: &mut bytes::BytesMut, elements: &[&[u8]], end: End) -> usize {
    if packed.is_empty() {
        listpack::create(packed);
    }
    for element in elements {
        match end {
            End::Front => listpack::push_front(packed, element),
            End::Back => listpack::push_back(packed, element),
        }
    }
    Pack(packed).len()
}

fn push_request(ctx: &mut Ctx<'_>, args: &Args<'_>, end: End, must: bool) -> Result<(), Fault> {
    let key = &args[1];
    if must && list_of(ctx.peek(key))?.is_none() {
        ctx.out.int(0);
        return Ok(());
    }
    let len = push(ctx, key, &args.items()[2..], end)?;
    ctx.log_request(key, args);
    ctx.event(Class::List, push_event(end), key);
    ctx.out.int(len as i64);
    Ok(())
}

fn lpush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    push_request(ctx, args, End::Front, false)
}

fn rpush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    push_request(ctx, args, End::Back, false)
}

fn lpushx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    push_request(ctx, args, End::Front, true)
}

fn rpushx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    push_request(ctx, args, End::Back, true)
}

/// What is left of a list that has lost elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// It is small enough to be packed again.
    Little,
    Enough,
}

impl Left {
    /// What is left of a deque.
    pub(super) fn of(list: &List, ctx_shapes: &crate::value::shapes::Shapes) -> Left {
        match list.is_empty() {
            true => Left::Nothing,
            false if list.fits_pack(ctx_shapes.list, true) => Left::Little,
            false => Left::Enough,
        }
    }
}

/// Removes the key, or packs the list again, as is called for.
pub(super) fn settle(ctx: &mut Ctx<'_>, key: &[u8], left: Left) {
    match left {
        Left::Nothing => {
            ctx.delete(key);
        }
        Left::Little => {
            let Some(Kept::Nodes(list)) = ctx.peek(key).and_then(Kept::of) else { return };
            let bytes = list.to_pack();
            ctx.reshape(key, NewValue::Packed { form: Form::List, bytes: &bytes });
        }
        Left::Enough => {}
    }
}

/// Tells clients that watch the key of a change that changed nothing, as Redis does.
pub(super) fn touch(ctx: &mut Ctx<'_>, key: &[u8]) {
    let db = ctx.db;
    ctx.spaces.of(key).touched(db, key);
}

/// Hands what a large list has lost to be freed in the background.
pub(super) fn discard(ctx: &mut Ctx<'_>, key: &[u8], cut_off: Option<List>) {
    if let Some(list) = cut_off {
        let object = NewValue::Object(Box::new(Object::List(list)));
        ctx.spaces.of(key).discard(Entry::new(b"", object, None));
    }
}

/// Visits the first `count` elements from an end of the list at `key` and removes them, and the
/// key with the last of them. There are as many; the caller logs.
fn take(
    ctx: &mut Ctx<'_>,
    (key, is_packed): (&[u8], bool),
    (count, end): (usize, End),
    visit: &mut dyn FnMut(Item<'_>),
) {
    let shapes = ctx.shapes;
    let mut seen = 0;
    let mut see = |item: Item<'_>| {
        visit(item);
        seen += 1;
        seen < count
    };
    if is_packed {
        let remove = |bytes: &mut bytes::BytesMut| {
            let pack = Pack(bytes);
            Kept::Packed(pack).walk(0, end, &mut see);
            let first = match end {
                End::Front => Some(pack.first()),
                End::Back => pack.seek(-(count as i64)),
            };
            if let Some(first) = first {
                listpack::delete(bytes, first, count);
            }
            (Pack(bytes).is_empty(), true)
        };
        if ctx.edit_packed(key, Form::List, remove).0 {
            ctx.delete(key);
        }
        return;
    }
    let remove = |object: &mut Object| {
        let Object::List(list) = object else { return (None, false) };
        list.walk(0, end, &mut see);
        let cut_off = list.trim(count, end);
        (Some((Left::of(list, shapes), cut_off)), true)
    };
    if let Some((Some((left, cut_off)), _)) = ctx.change_object(key, remove) {
        discard(ctx, key, cut_off);
        settle(ctx, key, left);
    }
}

/// An element that has been taken out.
pub type Element = SmallVec<[u8; 64]>;

/// Takes one element from an end of the list at `key`; `None` when there is no such key. Logs it.
pub fn pop(ctx: &mut Ctx<'_>, key: &[u8], end: End) -> Result<Option<Element>, Fault> {
    let taken = pop_unlogged(ctx, key, end)?;
    if taken.is_some() {
        ctx.log(key, &[pops(end), key]);
        ctx.event_taken(Class::List, pop_event(end), key);
    }
    Ok(taken)
}

fn pop_unlogged(ctx: &mut Ctx<'_>, key: &[u8], end: End) -> Result<Option<Element>, Fault> {
    let mut taken = Element::new();
    let shapes = ctx.shapes;
    let remove = |object: &mut Object| {
        let Object::List(list) = object else { return (None, false) };
        list.pop(end, |item| taken.extend_from_slice(item.text(&mut itoa::Buffer::new())));
        (Some(Left::of(list, shapes)), true)
    };
    // Where most of the elements are, one look is enough.
    if let Some((Some(left), _)) = ctx.change_living(key, remove) {
        settle(ctx, key, left);
        return Ok(Some(taken));
    }
    let Some(list) = list_of(ctx.peek(key))? else { return Ok(None) };
    let is_packed = matches!(list, Kept::Packed(_));
    take(ctx, (key, is_packed), (1, end), &mut |item| {
        taken.extend_from_slice(item.text(&mut itoa::Buffer::new()));
    });
    Ok(Some(taken))
}

/// Takes up to `most` elements, at least one, from an end of the list at `key` and answers with
/// them as an array; false, and no answer, when there is no such key. Logs it.
pub fn pop_many(ctx: &mut Ctx<'_>, key: &[u8], most: u64, end: End) -> Result<bool, Fault> {
    let Some(list) = list_of(ctx.peek(key))? else { return Ok(false) };
    let count = usize::try_from(most).unwrap_or(usize::MAX).min(list.len());
    let is_packed = matches!(list, Kept::Packed(_));
    let mut elements = Reply::new(ctx.out.resp3);
    elements.array(count);
    take(ctx, (key, is_packed), (count, end), &mut |item| reply_item(&mut elements, item));
    ctx.out.append(elements);
    ctx.log(key, &[pops(end), key, itoa::Buffer::new().format(count).as_bytes()]);
    ctx.event_taken(Class::List, pop_event(end), key);
    Ok(true)
}

/// Moves one element from an end of one list to an end of another, or of the same; `None` when
/// there is no list to take it from. Logs it.
pub fn move_one(
    ctx: &mut Ctx<'_>,
    (from, from_end): (&[u8], End),
    (to, to_end): (&[u8], End),
) -> Result<Option<Element>, Fault> {
    let Some(source) = list_of(ctx.peek(from))? else { return Ok(None) };
    if from != to {
        list_of(ctx.peek(to))?;
        let Some(taken) = pop_unlogged(ctx, from, from_end)? else { return Ok(None) };
        ctx.log(from, &[pops(from_end), from]);
        push(ctx, to, &[&taken], to_end)?;
        ctx.log(to, &[pushes(to_end), to, &taken]);
        ctx.event(Class::List, push_event(to_end), to);
        ctx.event_taken(Class::List, pop_event(from_end), from);
        return Ok(Some(taken));
    }
    // Its key must not go with its only element.
    let mut taken = Element::new();
    let alone = source.len() == 1;
    source.walk(0, from_end, &mut |item| {
        taken.extend_from_slice(item.text(&mut itoa::Buffer::new()));
        false
    });
    if !alone {
        pop_unlogged(ctx, from, from_end)?;
        push(ctx, to, &[&taken], to_end)?;
    }
    ctx.event(Class::List, push_event(to_end), to);
    ctx.event(Class::List, pop_event(from_end), from);
    let word = |end| if end == End::Front { &b"LEFT"[..] } else { b"RIGHT" };
    if alone {
        touch(ctx, from);
    } else {
        ctx.log(from, &[b"LMOVE", from, to, word(from_end), word(to_end)]);
    }
    Ok(Some(taken))
}

/// Answers with one element from an end of a large list and takes it out; false, and nothing is
/// done, when there is no such list. Logs it.
fn pop_to_reply(ctx: &mut Ctx<'_>, key: &[u8], end: End) -> bool {
    let shapes = ctx.shapes;
    let remove = |out: &mut Reply, object: &mut Object| {
        let Object::List(list) = object else { return (None, false) };
        list.pop(end, |item| reply_item(out, item));
        (Some(Left::of(list, shapes)), true)
    };
    let Some((Some(left), _)) = ctx.change_living_to(key, remove) else { return false };
    settle(ctx, key, left);
    ctx.log(key, &[pops(end), key]);
    ctx.event_taken(Class::List, pop_event(end), key);
    true
}

fn pop_request(ctx: &mut Ctx<'_>, args: &Args<'_>, end: End, name: &str) -> Result<(), Fault> {
    let key = &args[1];
    if args.len() > 3 {
        return Err(wrong_arity(name));
    }
    let Some(count) = args.get(2) else {
        if pop_to_reply(ctx, key, end) {
            return Ok(());
        }
        match pop(ctx, key, end)? {
            Some(element) => ctx.out.bulk(&element),
            None => ctx.out.null(),
        }
        return Ok(());
    };
    let count = parse_i64(count).and_then(|count| u64::try_from(count).ok());
    let count = count.ok_or(Fault::new("ERR value is out of range, must be positive"))?;
    match list_of(ctx.peek(key))? {
        None => ctx.out.null_array(),
        Some(_) if count == 0 => ctx.out.array(0),
        Some(_) => drop(pop_many(ctx, key, count, end)?),
    }
    Ok(())
}

fn lpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    pop_request(ctx, args, End::Front, "lpop")
}

fn rpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    pop_request(ctx, args, End::Back, "rpop")
}

fn llen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, list| out.int(list.map_or(0, Kept::len) as i64))
}

fn move_request(ctx: &mut Ctx<'_>, args: &Args<'_>, ends: (End, End)) -> Result<(), Fault> {
    match move_one(ctx, (&args[1], ends.0), (&args[2], ends.1))? {
        Some(element) => ctx.out.bulk(&element),
        None => ctx.out.null(),
    }
    Ok(())
}

fn lmove(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let ends = (end_of(&args[3])?, end_of(&args[4])?);
    move_request(ctx, args, ends)
}

fn rpoplpush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    move_request(ctx, args, (End::Back, End::Front))
}

/// What LMPOP and its blocking form are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Pops {
    /// Position of the first key.
    pub first: usize,
    /// Number of keys.
    pub keys: usize,
    /// From which end.
    pub end: End,
    /// Most elements.
    pub count: u64,
}

impl Pops {
    /// Reads `numkeys key … LEFT|RIGHT [COUNT count]` from argument `at` on.
    pub fn parse(args: &Args<'_>, at: usize) -> Result<Pops, Fault> {
        let positive = |text: &[u8]| parse_i64(text).filter(|&n| n > 0);
        let keys = args.get(at).and_then(positive);
        let keys = keys.ok_or(Fault::new("ERR numkeys should be greater than 0"))?;
        let keys = usize::try_from(keys).map_err(|_| SYNTAX)?;
        let mut next = at.checked_add(1).and_then(|n| n.checked_add(keys)).ok_or(SYNTAX)?;
        let end = end_of(args.get(next).ok_or(SYNTAX)?)?;
        let mut count = None;
        next += 1;
        while next < args.len() {
            let value = args.get(next + 1).filter(|_| count.is_none() && args.is(next, "COUNT"));
            let value = positive(value.ok_or(SYNTAX)?);
            count = Some(value.ok_or(Fault::new("ERR count should be greater than 0"))? as u64);
            next += 2;
        }
        Ok(Pops { first: at + 1, keys, end, count: count.unwrap_or(1) })
    }

    /// The keys among the arguments.
    pub fn keys<'a>(&self, args: &Args<'a>) -> &'a [&'a [u8]] {
        args.items().get(self.first..self.first + self.keys).unwrap_or_default()
    }

    /// Pops from the first key that holds a list, and answers; false, and no answer, when none
    /// does. Logs it.
    pub fn serve(&self, ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<bool, Fault> {
        for key in keys {
            if list_of(ctx.peek(key))?.is_some() {
                ctx.out.array(2);
                ctx.out.bulk(key);
                return pop_many(ctx, key, self.count, self.end);
            }
        }
        Ok(false)
    }
}

fn lmpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let pops = Pops::parse(args, 1)?;
    if !pops.serve(ctx, pops.keys(args))? {
        ctx.out.null_array();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

    #[test]
    fn elements_come_and_go_at_the_ends() {
        World::new().check(&[
            ("RPUSH l a 1 b", ":3", "RPUSH l a 1 b"),
            ("LPUSH l x y", ":5", "LPUSH l x y"),
            ("LRANGE l 0 -1", "*5 $1 y $1 x $1 a $1 1 $1 b", ""),
            ("OBJECT ENCODING l", "$8 listpack", ""),
            ("TYPE l", "+list", ""),
            ("LLEN l", ":5", ""),
            ("LPUSHX none x", ":0", ""),
            ("RPUSHX l z", ":6", "RPUSHX l z"),
            ("LPOP l", "$1 y", "LPOP l"),
            ("RPOP l 2", "*2 $1 z $1 b", "RPOP l 2"),
            ("LPOP l 0", "*0", ""),
            ("LPOP none 0", "*-1", ""),
            ("LPOP none", "$-1", ""),
            ("LPOP l -1", "-ERR value is out of range, must be positive", ""),
            ("LPOP l 1 2", "-ERR wrong number of arguments for 'lpop' command", ""),
            ("LPOP l 9", "*3 $1 x $1 a $1 1", "LPOP l 3"),
            ("EXISTS l", ":0", ""),
            ("SET s x", "+OK", "SET s x"),
            ("RPUSH s x", WRONG, ""),
            ("LPUSHX s x", WRONG, ""),
            ("RPOP s", WRONG, ""),
        ]);
    }

    #[test]
    fn what_outgrows_its_form_changes_it_and_comes_back() {
        let mut w = World::new();
        w.shapes.list.size = 4;
        w.check(&[
            ("RPUSH l 1 2 3 4", ":4", "RPUSH l 1 2 3 4"),
            ("OBJECT ENCODING l", "$8 listpack", ""),
            ("LPUSH l 0", ":5", "LPUSH l 0"),
            ("OBJECT ENCODING l", "$9 quicklist", ""),
            ("RPOP l 2", "*2 $1 4 $1 3", "RPOP l 2"),
            ("OBJECT ENCODING l", "$9 quicklist", ""),
            ("LPOP l", "$1 0", "LPOP l"),
            ("OBJECT ENCODING l", "$8 listpack", ""),
            ("LRANGE l 0 -1", "*2 $1 1 $1 2", ""),
            ("RPUSH n 1 2 3 4 5", ":5", "RPUSH n 1 2 3 4 5"),
            ("OBJECT ENCODING n", "$9 quicklist", ""),
            ("LMOVE n l LEFT RIGHT", "$1 1", "LPOP n | RPUSH l 1"),
            ("LPOP n 9", "*4 $1 2 $1 3 $1 4 $1 5", "LPOP n 4"),
            ("EXISTS n", ":0", ""),
        ]);
    }

    #[test]
    fn moved_from_list_to_list() {
        World::new().check(&[
            ("RPUSH a 1 2 3", ":3", "RPUSH a 1 2 3"),
            ("LMOVE a b LEFT RIGHT", "$1 1", "LPOP a | RPUSH b 1"),
            ("RPOPLPUSH a b", "$1 3", "RPOP a | LPUSH b 3"),
            ("LMOVE b b LEFT RIGHT", "$1 3", "LMOVE b b LEFT RIGHT"),
            ("LRANGE b 0 -1", "*2 $1 1 $1 3", ""),
            ("PEXPIREAT a 1700000001000", ":1", "PEXPIREAT a 1700000001000"),
            ("LMOVE a a LEFT LEFT", "$1 2", ""),
            ("PTTL a", ":1000", ""),
            ("LMOVE a b RIGHT LEFT", "$1 2", "RPOP a | LPUSH b 2"),
            ("EXISTS a", ":0", ""),
            ("LMOVE a b LEFT LEFT", "$-1", ""),
            ("LMOVE a b UP LEFT", "-ERR syntax error", ""),
            ("SET s x", "+OK", "SET s x"),
            ("LMOVE b s LEFT LEFT", WRONG, ""),
            ("LMOVE s b LEFT LEFT", WRONG, ""),
            ("LMOVE none s LEFT LEFT", "$-1", ""),
        ]);
    }

    #[test]
    fn popped_from_the_first_that_has_some() {
        World::new().check(&[
            ("LMPOP 2 a b LEFT", "*-1", ""),
            ("RPUSH b 1 2 3", ":3", "RPUSH b 1 2 3"),
            ("LMPOP 2 a b LEFT", "*2 $1 b *1 $1 1", "LPOP b 1"),
            ("LMPOP 2 a b RIGHT COUNT 9", "*2 $1 b *2 $1 3 $1 2", "RPOP b 2"),
            ("LMPOP 0 a LEFT", "-ERR numkeys should be greater than 0", ""),
            ("LMPOP 2 a LEFT", "-ERR syntax error", ""),
            ("LMPOP 1 a UP", "-ERR syntax error", ""),
            ("LMPOP 1 a LEFT COUNT 0", "-ERR count should be greater than 0", ""),
            ("LMPOP 1 a LEFT COUNT 1 COUNT 2", "-ERR syntax error", ""),
            ("SET s x", "+OK", "SET s x"),
            ("LMPOP 2 a s LEFT", WRONG, ""),
        ]);
    }
}
