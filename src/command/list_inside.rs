//! Lists: what looks or changes inside. LINDEX, LRANGE, LPOS, LSET, LINSERT, LREM, LTRIM.
//!
//! All of them are logged as they come: by index and value they mean the same when replayed.

use crate::base::number::parse_i64;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::elements::reply_item;
use crate::command::fault::{Fault, NO_SUCH_KEY, NOT_AN_INTEGER, SYNTAX};
use crate::command::list::{
    GROUP, Left, check_lengths, discard, list_of, make_way, read, settle, touch,
};
use crate::command::table::{Command, Flags, INSERTS_MORE, KeySpec, READS_FIRST, UPDATES_FIRST};
use crate::keyspace::{Class, Form, Object};
use crate::resp::Reply;
use crate::value::list::{End, Kept};
use crate::value::listpack::{self, Pack};

const READ: u32 = Flags::READONLY;
const WRITE: u32 = Flags::WRITE;
const GROWS: u32 = Flags::WRITE | Flags::DENYOOM;
const SHRINKS: &[KeySpec] = &[KeySpec::one(1, &["RW", "delete"])];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row("lindex", 3, READ, "1.0.0", READS_FIRST, lindex),
    GROUP.row("lrange", 4, READ | Flags::BY_RANK, "1.0.0", READS_FIRST, lrange),
    GROUP.row("lpos", -3, READ, "6.0.6", READS_FIRST, lpos),
    GROUP.row("lset", 4, GROWS, "1.0.0", UPDATES_FIRST, lset),
    GROUP.row("linsert", 5, GROWS, "2.2.0", &[KeySpec::one(1, INSERTS_MORE)], linsert),
    GROUP.row("lrem", 4, WRITE, "1.0.0", SHRINKS, lrem),
    GROUP.row("ltrim", 4, WRITE, "1.0.0", SHRINKS, ltrim),
];

fn integer(text: &[u8]) -> Result<i64, Fault> {
    parse_i64(text).ok_or(NOT_AN_INTEGER)
}

/// The number of an element by its index, which is counted from the end when negative.
fn number_of(index: i64, len: usize) -> Option<usize> {
    let number = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(number).ok().filter(|number| *number < len)
}

/// The elements from `start` to `stop`, as (first, how many); none when the range is empty.
fn span(start: i64, stop: i64, len: usize) -> Option<(usize, usize)> {
    let len = len as i64;
    let from_end = |index: i64| if index < 0 { index.saturating_add(len) } else { index };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    (start <= stop).then(|| (start as usize, (stop - start + 1) as usize))
}

fn lindex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, list| {
        let Some(list) = list else {
            out.null();
            return Ok(());
        };
        match number_of(integer(&args[2])?, list.len()) {
            None => out.null(),
            Some(number) => {
                let back = list.len() - 1 - number;
                let near = if number <= back { (number, End::Front) } else { (back, End::Back) };
                list.walk(near.0, near.1, &mut |item| {
                    reply_item(out, item);
                    false
                });
            }
        }
        Ok(())
    })?
}

/// Answers with `count` elements from number `first` on.
fn reply_span(out: &mut Reply, list: Kept<'_>, first: usize, count: usize) {
    out.array(count);
    let mut left = count;
    list.walk(first, End::Front, &mut |item| {
        reply_item(out, item);
        left -= 1;
        left > 0
    });
}

fn lrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (start, stop) = (integer(&args[2])?, integer(&args[3])?);
    read(ctx, &args[1], |out, list| {
        match list.and_then(|list| Some((list, span(start, stop, list.len())?))) {
            Some((list, (first, count))) => reply_span(out, list, first, count),
            None => out.array(0),
        }
    })
}

/// What LPOS is asked for.
struct Sought {
    from: End,
    /// Matches to pass over.
    skip: u64,
    /// Most matches; `None`: one, and not as an array.
    count: Option<u64>,
    /// Most elements looked at; 0: all.
    looks: u64,
}

impl Sought {
    fn parse(args: &Args<'_>) -> Result<Sought, Fault> {
        let mut sought = Sought { from: End::Front, skip: 0, count: None, looks: 0 };
        let mut at = 3;
        while at < args.len() {
            let value = args.get(at + 1).ok_or(SYNTAX)?;
            let natural = |text| {
                let n = parse_i64(value).and_then(|n| u64::try_from(n).ok());
                n.ok_or(Fault::new(text))
            };
            if args.is(at, "RANK") {
                let rank = integer(value)?;
                if rank == i64::MIN {
                    return Err(Fault::text(format!(
                        "ERR value is out of range, value must between {} and {}",
                        -i64::MAX,
                        i64::MAX
                    )));
                }
                if rank == 0 {
                    return Err(Fault::new(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    ));
                }
                sought.from = if rank < 0 { End::Back } else { End::Front };
                sought.skip = rank.unsigned_abs() - 1;
            } else if args.is(at, "COUNT") {
                sought.count = Some(natural("ERR COUNT can't be negative")?);
            } else if args.is(at, "MAXLEN") {
                sought.looks = natural("ERR MAXLEN can't be negative")?;
            } else {
                return Err(SYNTAX);
            }
            at += 2;
        }
        Ok(sought)
    }

    /// Numbers of the matches, from the beginning of the list.
    fn find(&self, list: Kept<'_>, text: &[u8]) -> Vec<usize> {
        let most = match self.count {
            None => 1,
            Some(0) => u64::MAX,
            Some(count) => count,
        };
        let (mut found, mut skip, mut at, len) = (Vec::new(), self.skip, 0, list.len());
        list.walk(0, self.from, &mut |item| {
            if item.is(text) {
                if skip == 0 {
                    found.push(if self.from == End::Front { at } else { len - 1 - at });
                }
                skip = skip.saturating_sub(1);
            }
            at += 1;
            (found.len() as u64) < most && (self.looks == 0 || (at as u64) < self.looks)
        });
        found
    }
}

fn lpos(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let sought = Sought::parse(args)?;
    read(ctx, &args[1], |out, list| {
        let found = list.map_or_else(Vec::new, |list| sought.find(list, &args[2]));
        if sought.count.is_some() {
            out.array(found.len());
            found.iter().for_each(|&number| out.int(number as i64));
        } else if let Some(&number) = found.first() {
            out.int(number as i64);
        } else {
            out.null();
        }
    })
}

fn lset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, element) = (&args[1], &args[3]);
    let len = list_of(ctx.peek(key))?.ok_or(NO_SUCH_KEY)?.len();
    let index = integer(&args[2])?;
    check_lengths(&[element])?;
    let shapes = ctx.shapes;
    // As in Redis even if there is no such element.
    let packed = make_way(ctx, key, &[element])?;
    let Some(number) = number_of(index, len) else {
        return Err(Fault::new("ERR index out of range"));
    };
    if packed {
        ctx.edit_packed(key, Form::List, |bytes| {
            let at = Pack(bytes).seek(number as i64);
            if let Some(at) = at {
                listpack::replace(bytes, at, element);
            }
            ((), at.is_some())
        });
    } else {
        let change = |object: &mut Object| {
            let Object::List(list) = object else { return (Left::Enough, false) };
            let there = list.replace(number, element);
            (Left::of(list, shapes), there)
        };
        if let Some((left, _)) = ctx.change_object(key, change) {
            settle(ctx, key, left);
        }
    }
    ctx.log_request(key, args);
    ctx.event(Class::List, "lset", key);
    ctx.out.ok();
    Ok(())
}

fn linsert(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, pivot, element) = (&args[1], &args[3], &args[4]);
    let behind = match () {
        () if args.is(2, "BEFORE") => false,
        () if args.is(2, "AFTER") => true,
        () => return Err(SYNTAX),
    };
    if list_of(ctx.peek(key))?.is_none() {
        ctx.out.int(0);
        return Ok(());
    }
    check_lengths(&[element])?;
    // As in Redis even if there is no such element.
    let packed = make_way(ctx, key, &[element])?;
    let Some(list) = list_of(ctx.peek(key))? else { return Ok(()) };
    let Some(at) = list.position(pivot) else {
        ctx.out.int(-1);
        return Ok(());
    };
    let (len, at) = (list.len(), at + usize::from(behind));
    if packed {
        ctx.edit_packed(key, Form::List, |bytes| {
            let offset = Pack(bytes).seek(at as i64).unwrap_or(Pack(bytes).end());
            listpack::insert(bytes, offset, element);
            ((), true)
        });
    } else {
        ctx.change_object(key, |object| {
            let Object::List(list) = object else { return ((), false) };
            list.insert(at, element);
            ((), true)
        });
    }
    ctx.log_request(key, args);
    ctx.event(Class::List, "linsert", key);
    ctx.out.int(len as i64 + 1);
    Ok(())
}

/// Removes elements equal to `element` of a packed list.
fn remove_packed(bytes: &mut bytes::BytesMut, element: &[u8], most: usize, from: End) -> usize {
    let mut places: Vec<usize> =
        Pack(bytes).iter().filter(|(_, item)| item.is(element)).map(|(offset, _)| offset).collect();
    let spare = places.len().saturating_sub(most);
    match from {
        End::Front => places.truncate(most),
        End::Back => drop(places.drain(..spare)),
    }
    // From behind, so that the places of the others stay what they are.
    for place in places.iter().rev() {
        listpack::delete(bytes, *place, 1);
    }
    places.len()
}

fn lrem(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (key, element) = (&args[1], &args[3]);
    let count = integer(&args[2])?;
    let from = if count < 0 { End::Back } else { End::Front };
    let most = match count {
        0 => usize::MAX,
        count => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
    };
    let shapes = ctx.shapes;
    let removed = match list_of(ctx.peek(key))? {
        None => 0,
        Some(Kept::Packed(_)) => {
            let (removed, left) = ctx
                .edit_packed(key, Form::List, |bytes| {
                    let removed = remove_packed(bytes, element, most, from);
                    ((removed, Pack(bytes).is_empty()), removed > 0)
                })
                .0;
            settle(ctx, key, if left { Left::Nothing } else { Left::Enough });
            removed
        }
        Some(Kept::Nodes(_)) => {
            let remove = |object: &mut Object| {
                let Object::List(list) = object else { return ((0, Left::Enough), false) };
                let removed = list.remove_equal(element, most, from);
                let left = if removed > 0 { Left::of(list, shapes) } else { Left::Enough };
                ((removed, left), removed > 0)
            };
            let done = ctx.change_object(key, remove);
            let (removed, left) = done.map_or((0, Left::Enough), |(done, _)| done);
            settle(ctx, key, left);
            removed
        }
    };
    if removed > 0 {
        ctx.log_request(key, args);
        ctx.event_taken(Class::List, "lrem", key);
    }
    ctx.out.int(removed as i64);
    Ok(())
}

fn ltrim(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let key = &args[1];
    let (start, stop) = (integer(&args[2])?, integer(&args[3])?);
    let Some(list) = list_of(ctx.peek(key))? else {
        ctx.out.ok();
        return Ok(());
    };
    let len = list.len();
    let (first, kept) = span(start, stop, len).unwrap_or((0, 0));
    let behind = len - first - kept;
    if kept == 0 {
        ctx.delete(key);
        ctx.log_request(key, args);
    } else if kept < len {
        trim(ctx, key, first, behind)?;
        ctx.log_request(key, args);
    } else {
        touch(ctx, key);
    }
    ctx.event_taken(Class::List, "ltrim", key);
    ctx.out.ok();
    Ok(())
}

/// Removes elements in front and behind; some are left.
fn trim(ctx: &mut Ctx<'_>, key: &[u8], front: usize, back: usize) -> Result<(), Fault> {
    let shapes = ctx.shapes;
    if let Some(Kept::Packed(_)) = list_of(ctx.peek(key))? {
        ctx.edit_packed(key, Form::List, |bytes| {
            let first = Pack(bytes).first();
            listpack::delete(bytes, first, front);
            if let Some(last) = Pack(bytes).seek(-(back as i64)).filter(|_| back > 0) {
                listpack::delete(bytes, last, back);
            }
            ((), true)
        });
        return Ok(());
    }
    let cut = |object: &mut Object| {
        let Object::List(list) = object else { return (None, false) };
        let off = [list.trim(front, End::Front), list.trim(back, End::Back)];
        (Some((off, Left::of(list, shapes))), true)
    };
    if let Some((Some((off, left)), _)) = ctx.change_object(key, cut) {
        off.into_iter().for_each(|list| discard(ctx, key, list));
        settle(ctx, key, left);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    /// The same with a listpack and with nodes of two elements.
    fn both(steps: &[(&str, &str, &str)]) {
        World::new().check(steps);
        let mut w = World::new();
        w.shapes.list.size = 2;
        w.check(steps);
        let mut w = World::new();
        (w.shapes.list.size, w.shapes.list.depth) = (3, 1);
        w.check(steps);
    }

    #[test]
    fn looked_up_by_index_and_value() {
        both(&[
            ("RPUSH l a b c 1 b", ":5", "RPUSH l a b c 1 b"),
            ("LINDEX l 0", "$1 a", ""),
            ("LINDEX l -2", "$1 1", ""),
            ("LINDEX l 5", "$-1", ""),
            ("LINDEX l -6", "$-1", ""),
            ("LINDEX none x", "$-1", ""),
            ("LINDEX l x", "-ERR value is not an integer or out of range", ""),
            ("LRANGE l 1 2", "*2 $1 b $1 c", ""),
            ("LRANGE l -2 100", "*2 $1 1 $1 b", ""),
            ("LRANGE l 3 2", "*0", ""),
            ("LRANGE l -9223372036854775808 0", "*1 $1 a", ""),
            ("LRANGE none 0 -1", "*0", ""),
            ("LPOS l b", ":1", ""),
            ("LPOS l b RANK 2", ":4", ""),
            ("LPOS l b RANK -1", ":4", ""),
            ("LPOS l b RANK 3", "$-1", ""),
            ("LPOS l b COUNT 0", "*2 :1 :4", ""),
            ("LPOS l b COUNT 0 RANK -1", "*2 :4 :1", ""),
            ("LPOS l b COUNT 1 RANK 2", "*1 :4", ""),
            ("LPOS l b COUNT 0 MAXLEN 2", "*1 :1", ""),
            ("LPOS l b MAXLEN 1", "$-1", ""),
            ("LPOS none b COUNT 1", "*0", ""),
            ("LPOS l b COUNT -1", "-ERR COUNT can't be negative", ""),
            ("LPOS l b RANK", "-ERR syntax error", ""),
        ]);
    }

    #[test]
    fn changed_inside() {
        both(&[
            ("LSET none 0 x", "-ERR no such key", ""),
            ("RPUSH l a b c b d", ":5", "RPUSH l a b c b d"),
            ("LSET l 1 x", "+OK", "LSET l 1 x"),
            ("LSET l -1 y", "+OK", "LSET l -1 y"),
            ("LSET l 5 y", "-ERR index out of range", ""),
            ("LSET l x y", "-ERR value is not an integer or out of range", ""),
            ("LRANGE l 0 -1", "*5 $1 a $1 x $1 c $1 b $1 y", ""),
            ("LINSERT l BEFORE c new", ":6", "LINSERT l BEFORE c new"),
            ("LINSERT l after y last", ":7", "LINSERT l after y last"),
            ("LINSERT l BEFORE nothing new", ":-1", ""),
            ("LINSERT none BEFORE c new", ":0", ""),
            ("LINSERT l ON c new", "-ERR syntax error", ""),
            ("LRANGE l 0 -1", "*7 $1 a $1 x $3 new $1 c $1 b $1 y $4 last", ""),
            ("LREM l 1 nothing", ":0", ""),
            ("LINSERT l AFTER a b", ":8", "LINSERT l AFTER a b"),
            ("LREM l -1 b", ":1", "LREM l -1 b"),
            ("LRANGE l 0 2", "*3 $1 a $1 b $1 x", ""),
            ("LTRIM l 1 -2", "+OK", "LTRIM l 1 -2"),
            ("LRANGE l 0 -1", "*5 $1 b $1 x $3 new $1 c $1 y", ""),
            ("LTRIM l 0 -1", "+OK", ""),
            ("LTRIM l 4 4", "+OK", "LTRIM l 4 4"),
            ("LREM l 0 y", ":1", "LREM l 0 y"),
            ("EXISTS l", ":0", ""),
            ("RPUSH l a b a", ":3", "RPUSH l a b a"),
            ("LREM l 0 a", ":2", "LREM l 0 a"),
            ("LTRIM l 5 9", "+OK", "LTRIM l 5 9"),
            ("EXISTS l", ":0", ""),
            ("LTRIM l 0 0", "+OK", ""),
        ]);
    }
}
