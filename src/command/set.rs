//! Sets: SADD, SPOP, SMOVE and their kin; what concerns several sets is in `set_algebra`.
//!
//! The log gets the request where replaying it does the same, and what was removed where it was
//! drawn by chance (SPOP is logged as SREM).

use smallvec::SmallVec;

use crate::base::number::parse_i64;
use crate::base::random::Random;
use crate::command::args::Args;
use crate::command::context::{Ctx, Expiry};
use crate::command::elements::{self, Draw, reply_item};
use crate::command::fault::{Fault, SYNTAX, WRONG_TYPE};
use crate::command::table::{Acl, Command, Flags, Group, KeySpec, Keys, LOOKS, READS_FIRST, Route};
use crate::keyspace::{Class, Entry, Form, NewValue, Object};
use crate::resp::Reply;
use crate::value::dict::Dict;
use crate::value::listpack::Item;
use crate::value::set::{self, Added, Set};

/// The group of these commands.
pub(super) const GROUP: Group = Group { name: "set", acl: Acl::SET };

const READ: u32 = Flags::READONLY;
const WRITE: u32 = Flags::WRITE;
const FAST: u32 = Flags::FAST;
const LOOKS_FIRST: &[KeySpec] = &[KeySpec::one(1, LOOKS)];

/// The commands of this file.
pub static ROWS: &[Command] = &[
    GROUP.row(
        "sadd",
        -3,
        WRITE | Flags::DENYOOM | FAST,
        "1.0.0",
        &[KeySpec::one(1, &["RW", "insert"])],
        sadd,
    ),
    GROUP.row("srem", -3, WRITE | FAST, "1.0.0", &[KeySpec::one(1, &["RW", "delete"])], srem),
    Command {
        keys: Keys::Range { first: 1, last: 2, step: 1 },
        route: Route::Lease,
        ..GROUP.row(
            "smove",
            4,
            WRITE | FAST,
            "1.0.0",
            &[KeySpec::one(1, &["RW", "access", "delete"]), KeySpec::one(2, &["RW", "insert"])],
            smove,
        )
    },
    GROUP.row("sismember", 3, READ | FAST, "1.0.0", LOOKS_FIRST, sismember),
    GROUP.row("smismember", -3, READ | FAST, "6.2.0", READS_FIRST, smismember),
    GROUP.row("scard", 2, READ | FAST, "1.0.0", LOOKS_FIRST, scard),
    Command {
        tips: &["nondeterministic_output_order"],
        ..GROUP.row("smembers", 2, READ, "1.0.0", READS_FIRST, smembers)
    },
    Command {
        tips: &["nondeterministic_output"],
        ..GROUP.row(
            "spop",
            -2,
            WRITE | FAST,
            "1.0.0",
            &[KeySpec::one(1, &["RW", "access", "delete"])],
            spop,
        )
    },
    Command {
        tips: &["nondeterministic_output"],
        ..GROUP.row("srandmember", -2, READ, "1.0.0", READS_FIRST, srandmember)
    },
    Command {
        tips: &["nondeterministic_output"],
        ..GROUP.row("sscan", -3, READ, "2.8.0", READS_FIRST, sscan)
    },
];

/// The set that an entry holds.
pub fn set_of(entry: Option<&Entry>) -> Result<Option<Set<'_>>, Fault> {
    entry.map(|entry| Set::of(entry).ok_or(WRONG_TYPE)).transpose()
}

/// Hands the set at `key`, if there is one, to `answer` with the reply.
fn read<R>(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    answer: impl FnOnce(&mut Reply, Option<Set<'_>>) -> R,
) -> Result<R, Fault> {
    ctx.read_to(key, |out, entry| Ok(answer(out, set_of(entry)?)))
}

/// How a set is kept: `None` is a dictionary.
type Kept = Option<Form>;

/// How the set at `key` is kept, if there is one.
fn kept(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Option<Kept>, Fault> {
    Ok(set_of(ctx.peek(key))?.map(|set| match set {
        Set::Ints(_) => Some(Form::IntSet),
        Set::Packed(_) => Some(Form::Set),
        Set::Dict(_) => None,
    }))
}

/// Keeps the set at `key` in another form.
fn reshape(ctx: &mut Ctx<'_>, key: &[u8], to: Kept) {
    let seed = ctx.hash_seed(key);
    let Some(set) = ctx.peek(key).and_then(Set::of) else { return };
    if to.is_none() {
        let dict = set.to_dict(seed);
        return ctx.reshape(key, NewValue::Object(Box::new(Object::Set(dict))));
    }
    let mut bytes = Vec::new();
    crate::value::listpack::create(&mut bytes);
    set.each(|member| {
        let text = &mut itoa::Buffer::new();
        crate::value::listpack::push_back(&mut bytes, member.text(text));
    });
    ctx.reshape(key, NewValue::Packed { form: Form::Set, bytes: &bytes });
}

/// The form that a set goes on in which cannot hold `member` in its own.
fn next_form(ctx: &mut Ctx<'_>, key: &[u8], member: &[u8]) -> Kept {
    let shapes = ctx.shapes;
    let fits = match ctx.peek(key).and_then(Set::of) {
        Some(Set::Ints(ints)) => {
            parse_i64(member).is_none()
                && member.len() <= shapes.set_value
                && set::fits_pack(ints, shapes)
        }
        _ => false,
    };
    fits.then_some(Form::Set)
}

/// Adds members; says how many are new. The caller has checked the type, and logs.
pub fn add(ctx: &mut Ctx<'_>, key: &[u8], members: &[&[u8]]) -> Result<usize, Fault> {
    let Some(first) = members.first() else { return Ok(0) };
    let more = |object: &mut Object| {
        let Object::Set(dict) = object else { return (None, false) };
        let new = members.iter().filter(|member| dict.set_absent(member)).count();
        (Some(new), new > 0)
    };
    // Where most of the members are, one look is enough.
    if let Some((Some(new), _)) = ctx.change_living(key, more) {
        return Ok(new);
    }
    let shapes = ctx.shapes;
    let form = match kept(ctx, key)? {
        Some(Some(Form::IntSet)) if members.len() > shapes.set_intset => unpacked(ctx, key),
        Some(Some(Form::Set)) if members.len() > shapes.set_entries => unpacked(ctx, key),
        Some(form) => form,
        None => {
            let form = set::first_form(first, members.len(), shapes);
            if form.is_none() {
                begin_dict(ctx, key);
            }
            form
        }
    };
    Ok(add_as(ctx, key, members, form))
}

/// Makes a set of `members`, all different, where there is no key; it begins in that form. The
/// caller logs.
pub fn fill(ctx: &mut Ctx<'_>, key: &[u8], members: &[&[u8]], form: Form) -> Result<(), Fault> {
    let shapes = ctx.shapes;
    let first = members.first().copied().unwrap_or_default();
    let form = match form {
        Form::IntSet => set::first_form(first, 1, shapes),
        other => Some(other),
    };
    if form.is_none() {
        begin_dict(ctx, key);
    }
    add_as(ctx, key, members, form);
    Ok(())
}

/// An empty dictionary for a set that cannot begin in any other form.
fn begin_dict(ctx: &mut Ctx<'_>, key: &[u8]) {
    let dict = Object::Set(Dict::new(ctx.hash_seed(key)));
    ctx.put(key, NewValue::Object(Box::new(dict)), Expiry::Clear);
}

/// Adds to a set that is kept in this form, or begins in it.
fn add_as(ctx: &mut Ctx<'_>, key: &[u8], members: &[&[u8]], mut form: Kept) -> usize {
    let (mut added, mut done) = (0, 0);
    while let Some(packed) = form
        && done < members.len()
    {
        let (new, upto) = add_packed(ctx, key, packed, &members[done..]);
        (added, done) = (added + new, done + upto);
        if done < members.len() {
            form = next_form(ctx, key, members[done]);
            match ctx.peek(key).is_some() {
                true => reshape(ctx, key, form),
                // Its very first member does not fit.
                false => {
                    begin_dict(ctx, key);
                    form = None;
                }
            }
        }
    }
    if done < members.len() {
        let more = |object: &mut Object| {
            let Object::Set(dict) = object else { return (0, false) };
            let new = members[done..].iter().filter(|m| dict.set_absent(m)).count();
            (new, new > 0)
        };
        added += ctx.change_object(key, more).map_or(0, |(new, _)| new);
    }
    added
}

fn unpacked(ctx: &mut Ctx<'_>, key: &[u8]) -> Kept {
    reshape(ctx, key, None);
    None
}

/// Adds as many of `members` as the form takes: (how many are new, how many were looked at).
fn add_packed(ctx: &mut Ctx<'_>, key: &[u8], form: Form, members: &[&[u8]]) -> (usize, usize) {
    let shapes = ctx.shapes;
    let edit = |bytes: &mut bytes::BytesMut| {
        let was_empty = bytes.is_empty();
        let (mut new, mut upto) = (0, 0);
        for member in members {
            let added = match form {
                Form::IntSet => set::add_int(bytes, member, shapes),
                _ => set::add_packed(bytes, member, shapes),
            };
            match added {
                Added::New => new += 1,
                Added::There => {}
                Added::Outgrown => break,
            }
            upto += 1;
        }
        if was_empty && new == 0 {
            bytes.clear();
        }
        ((new, upto), new > 0)
    };
    ctx.edit_packed(key, form, edit).0
}

/// Removes members, and the key with the last of them; says how many there were. The caller logs.
pub fn remove(ctx: &mut Ctx<'_>, key: &[u8], members: &[&[u8]]) -> Result<usize, Fault> {
    let removed = match kept(ctx, key)? {
        None => 0,
        Some(Some(form)) => {
            let edit = |bytes: &mut bytes::BytesMut| {
                let gone = |member: &&&[u8]| match form {
                    Form::IntSet => set::remove_int(bytes, member),
                    _ => set::remove_packed(bytes, member),
                };
                let removed = members.iter().filter(gone).count();
                (removed, removed > 0)
            };
            ctx.edit_packed(key, form, edit).0
        }
        Some(None) => {
            let edit = |object: &mut Object| {
                let Object::Set(dict) = object else { return (0, false) };
                let removed = members.iter().filter(|m| dict.remove(m).is_some()).count();
                (removed, removed > 0)
            };
            ctx.change_object(key, edit).map_or(0, |(removed, _)| removed)
        }
    };
    if removed > 0 && set_of(ctx.peek(key))?.is_some_and(Set::is_empty) {
        ctx.delete(key);
    }
    Ok(removed)
}

fn sadd(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let added = add(ctx, &args[1], &args.items()[2..])?;
    if added > 0 {
        ctx.log_request(&args[1], args);
        ctx.event(Class::Set, "sadd", &args[1]);
    }
    ctx.out.int(added as i64);
    Ok(())
}

fn srem(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let removed = remove(ctx, &args[1], &args.items()[2..])?;
    if removed > 0 {
        ctx.log_request(&args[1], args);
        ctx.event_taken(Class::Set, "srem", &args[1]);
    }
    ctx.out.int(removed as i64);
    Ok(())
}

fn smove(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let (from, to, member) = (&args[1], &args[2], &args[3]);
    let Some(source) = set_of(ctx.peek(from))? else {
        ctx.out.int(0);
        return Ok(());
    };
    let there = source.contains(member);
    set_of(ctx.peek(to))?;
    if there && from != to {
        remove(ctx, from, &[member])?;
        ctx.log(from, &[b"SREM", from, member]);
        ctx.event_taken(Class::Set, "srem", from);
        if add(ctx, to, &[member])? > 0 {
            ctx.log(to, &[b"SADD", to, member]);
            ctx.event(Class::Set, "sadd", to);
        }
    }
    ctx.out.int(i64::from(there));
    Ok(())
}

fn sismember(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, set| {
        out.int(i64::from(set.is_some_and(|set| set.contains(&args[2]))));
    })
}

fn smismember(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, set| {
        out.array(args.len() - 2);
        for member in &args.items()[2..] {
            out.int(i64::from(set.is_some_and(|set| set.contains(member))));
        }
    })
}

fn scard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, set| out.int(set.map_or(0, Set::len) as i64))
}

fn smembers(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    read(ctx, &args[1], |out, set| {
        out.set(set.map_or(0, Set::len));
        if let Some(set) = set {
            set.each(|member| reply_item(out, member));
        }
    })
}

fn spop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    const NOT_POSITIVE: Fault = Fault::new("ERR value is out of range, must be positive");
    let key = &args[1];
    let count = match args.len() {
        2 => None,
        3 => match parse_i64(&args[2]) {
            Some(count @ 0..) => Some(count as usize),
            _ => return Err(NOT_POSITIVE),
        },
        _ => return Err(SYNTAX),
    };
    let mut random = Random::new(ctx.random.next_u64());
    let Some(set) = set_of(ctx.peek(key))? else {
        match count {
            None => ctx.out.null(),
            Some(_) => ctx.out.set(0),
        }
        return Ok(());
    };
    let popped = draw(set, &Draw::distinct(count.unwrap_or(1)), &mut random)?;
    let words: Vec<&[u8]> = popped.iter().map(SmallVec::as_slice).collect();
    let all = words.len() == set.len();
    if !words.is_empty() {
        match all {
            true => drop(ctx.delete(key)),
            false => drop(remove(ctx, key, &words)?),
        }
        match all {
            true => ctx.log(key, &[b"DEL", key]),
            false => ctx.log(key, &[&[b"SREM".as_slice(), key], words.as_slice()].concat()),
        }
        ctx.event_taken(Class::Set, "spop", key);
    }
    match count {
        None => ctx.out.bulk(words.first().copied().unwrap_or_default()),
        Some(_) => {
            ctx.out.set(words.len());
            words.iter().for_each(|word| ctx.out.bulk(word));
        }
    }
    Ok(())
}

/// A member as text.
type Member = SmallVec<[u8; 24]>;

/// Members drawn by chance.
fn draw(set: Set<'_>, draw: &Draw, random: &mut Random) -> Result<Vec<Member>, Fault> {
    let mut all: Vec<Item<'_>> = Vec::new();
    if draw.needs_all(set.len()) {
        set.each(|member| all.push(member));
    }
    let one = |random: &mut Random| set.random(random);
    let chosen = draw.choose(random, set.len(), &all, one, |item| *item, |item| item.text_len())?;
    let text = |item: &Item<'_>| SmallVec::from_slice(item.text(&mut itoa::Buffer::new()));
    Ok(chosen.iter().map(text).collect())
}

fn srandmember(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let mut random = Random::new(ctx.random.next_u64());
    if args.len() == 2 {
        return read(ctx, &args[1], |out, set| match set.and_then(|set| set.random(&mut random)) {
            Some(member) => reply_item(out, member),
            None => out.null(),
        });
    }
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let drawn = Draw::parse(args, "")?;
    read(ctx, &args[1], |out, set| {
        let members = set.map_or(Ok(Vec::new()), |set| draw(set, &drawn, &mut random))?;
        out.array(members.len());
        members.iter().for_each(|member| out.bulk(member));
        Ok(())
    })?
}

fn sscan(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let cursor = elements::cursor(&args[2])?;
    ctx.read_to(&args[1], |out, entry| {
        let Some(set) = set_of(entry)? else { return elements::nothing_scanned(out) };
        let filter = elements::Filter::parse(args, false)?;
        let mut found = elements::Found::new(out.resp3);
        let mut take = |member: Item<'_>| {
            if filter.takes(member) {
                found.add(member);
            }
        };
        let next = match set {
            Set::Ints(_) | Set::Packed(_) => {
                set.each(take);
                0
            }
            Set::Dict(dict) => {
                dict.scan(cursor, filter.count, &mut |entry| take(Item::Str(entry.key())))
            }
        };
        found.answer(out, next);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use crate::command::harness::World;

    #[test]
    fn members_come_and_go() {
        World::new().check(&[
            ("SADD s 3 1 2 1", ":3", "SADD s 3 1 2 1"),
            ("SADD s 1", ":0", ""),
            ("SMEMBERS s", "*3 $1 1 $1 2 $1 3", ""),
            ("OBJECT ENCODING s", "$6 intset", ""),
            ("TYPE s", "+set", ""),
            ("SADD s x", ":1", "SADD s x"),
            ("OBJECT ENCODING s", "$8 listpack", ""),
            ("SCARD s", ":4", ""),
            ("SISMEMBER s 2", ":1", ""),
            ("SMISMEMBER s 2 9 x", "*3 :1 :0 :1", ""),
            ("SREM s 2 9", ":1", "SREM s 2 9"),
            ("SREM s 9", ":0", ""),
            ("SSCAN s 0 MATCH [1-3]", "*2 $1 0 *2 $1 1 $1 3", ""),
            ("SREM s 1 3 x", ":3", "SREM s 1 3 x"),
            ("EXISTS s", ":0", ""),
            ("SMEMBERS s", "*0", ""),
            ("SCARD s", ":0", ""),
        ]);
    }

    #[test]
    fn what_outgrows_its_form_changes_it() {
        let mut w = World::new();
        w.shapes.set_intset = 3;
        w.shapes.set_entries = 4;
        w.shapes.set_value = 5;
        w.check(&[
            ("SADD i 1 2 3", ":3", "SADD i 1 2 3"),
            ("OBJECT ENCODING i", "$6 intset", ""),
            ("SADD i 4", ":1", "SADD i 4"),
            ("OBJECT ENCODING i", "$9 hashtable", ""),
            ("SADD m 1 2 a", ":3", "SADD m 1 2 a"),
            ("OBJECT ENCODING m", "$8 listpack", ""),
            ("SADD m b", ":1", "SADD m b"),
            ("OBJECT ENCODING m", "$8 listpack", ""),
            ("SADD m c d", ":2", "SADD m c d"),
            ("OBJECT ENCODING m", "$9 hashtable", ""),
            ("SCARD m", ":6", ""),
            ("SADD l a longer", ":2", "SADD l a longer"),
            ("OBJECT ENCODING l", "$9 hashtable", ""),
            ("SADD f longer", ":1", "SADD f longer"),
            ("OBJECT ENCODING f", "$9 hashtable", ""),
            ("SADD n 1 longer", ":2", "SADD n 1 longer"),
            ("OBJECT ENCODING n", "$9 hashtable", ""),
            ("SADD w 1 2 3 4 5", ":5", "SADD w 1 2 3 4 5"),
            ("OBJECT ENCODING w", "$9 hashtable", ""),
            ("SREM w 1 2 3 4", ":4", "SREM w 1 2 3 4"),
            ("SMEMBERS w", "*1 $1 5", ""),
        ]);
    }

    #[test]
    fn moved_from_set_to_set() {
        World::new().check(&[
            ("SADD a 1 x", ":2", "SADD a 1 x"),
            ("SMOVE a b 1", ":1", "SREM a 1 | SADD b 1"),
            ("SMOVE a b 1", ":0", ""),
            ("SMOVE a a x", ":1", ""),
            ("SMOVE none b x", ":0", ""),
            ("SADD b x", ":1", "SADD b x"),
            ("SMOVE a b x", ":1", "SREM a x"),
            ("EXISTS a", ":0", ""),
            ("SET s y", "+OK", "SET s y"),
            (
                "SMOVE b s 1",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
                "",
            ),
        ]);
    }

    #[test]
    fn drawn_by_chance() {
        World::new().check(&[
            ("SPOP none", "$-1", ""),
            ("SPOP none 2", "*0", ""),
            ("SADD s 5", ":1", "SADD s 5"),
            ("SPOP s -1", "-ERR value is out of range, must be positive", ""),
            ("SPOP s 0", "*0", ""),
            ("SRANDMEMBER s", "$1 5", ""),
            ("SRANDMEMBER s 3", "*1 $1 5", ""),
            ("SRANDMEMBER s -3", "*3 $1 5 $1 5 $1 5", ""),
            ("SRANDMEMBER s 1 2", "-ERR syntax error", ""),
            ("SPOP s", "$1 5", "DEL s"),
            ("EXISTS s", ":0", ""),
        ]);
    }

    #[test]
    fn algebra() {
        World::new().check(&[
            ("SADD a 1 2 3", ":3", "SADD a 1 2 3"),
            ("SADD b 2 3 x", ":3", "SADD b 2 3 x"),
            ("SINTER a b", "*2 $1 2 $1 3", ""),
            ("SINTER a none", "*0", ""),
            ("SUNION a b", "*4 $1 1 $1 2 $1 3 $1 x", ""),
            ("SDIFF a b none", "*1 $1 1", ""),
            ("SDIFF none a", "*0", ""),
            ("SINTERSTORE c a b", ":2", "DEL c | SADD c 2 3"),
            ("SADD m 5 x", ":2", "SADD m 5 x"),
            ("SADD n y 5", ":2", "SADD n y 5"),
            ("SINTERSTORE o m n", ":1", "DEL o | SADD o 5"),
            ("OBJECT ENCODING o", "$6 intset", ""),
            ("SUNIONSTORE c a b", ":4", "DEL c | SADD c 1 2 3 x"),
            ("OBJECT ENCODING c", "$8 listpack", ""),
            ("SDIFFSTORE c a b", ":1", "DEL c | SADD c 1"),
            ("OBJECT ENCODING c", "$6 intset", ""),
            ("SDIFFSTORE c a a", ":0", "DEL c"),
            ("SDIFFSTORE c a a", ":0", ""),
            ("SUNIONSTORE a a b", ":4", "DEL a | SADD a 1 2 3 x"),
            ("SET s y", "+OK", "SET s y"),
            (
                "SINTER none s",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
                "",
            ),
        ]);
    }
}
