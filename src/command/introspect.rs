//! COMMAND: what the table says about commands.

use std::sync::LazyLock;

use crate::base::glob;
use crate::command::args::Args;
use crate::command::docs;
use crate::command::fault::{Fault, SYNTAX};
use crate::command::server::help;
use crate::command::session::SessionCtx;
use crate::command::table::{self, Acl, Begin, Command, Find, Flags, KeySpec, Keys, ROW, Run};
use crate::resp::Reply;

const ALWAYS: u32 = Flags::LOADING | Flags::STALE;
const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];

const fn row(
    name: &'static str,
    arity: i32,
    since: &'static str,
    run: fn(&mut SessionCtx<'_>, &Args<'_>) -> Result<(), Fault>,
) -> Command {
    Command {
        name,
        arity,
        flags: Flags(ALWAYS),
        run: Run::Session(run),
        group: "server",
        since,
        acl: Acl(Acl::CONNECTION),
        ..ROW
    }
}

/// The commands of this file.
pub static ROWS: &[Command] =
    &[Command { tips: ANY_ORDER, subcommands: COMMAND, ..row("command", -1, "2.8.13", command) }];

static COMMAND: &[Command] = &[
    row("command|count", 2, "2.8.13", command_count),
    Command { tips: ANY_ORDER, ..row("command|docs", -2, "7.0.0", command_docs) },
    Command { tips: ANY_ORDER, ..row("command|info", -2, "2.8.13", command_info) },
    row("command|getkeys", -3, "2.8.13", command_getkeys),
    row("command|getkeysandflags", -3, "7.0.0", command_getkeysandflags),
    row("command|help", 2, "5.0.0", command_help),
    Command { tips: ANY_ORDER, ..row("command|list", -2, "7.0.0", command_list) },
];

fn command(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.array(table::all().count());
    table::all().for_each(|c| describe(ctx.out, c));
    Ok(())
}

fn command_count(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    ctx.out.int(table::all().count() as i64);
    Ok(())
}

fn command_info(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let names = &args.items()[2..];
    if names.is_empty() {
        return command(ctx, args);
    }
    ctx.out.array(names.len());
    for name in names {
        match find_full(name) {
            Some(command) => describe(ctx.out, command),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn command_docs(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let names = &args.items()[2..];
    if names.is_empty() {
        ctx.out.map(table::all().count());
        table::all().for_each(|command| docs::describe(ctx.out, command));
        return Ok(());
    }
    let found: Vec<_> = names.iter().filter_map(|name| find_full(name)).collect();
    ctx.out.map(found.len());
    found.iter().for_each(|command| docs::describe(ctx.out, command));
    Ok(())
}

fn command_list(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let wanted: Vec<&str> = match args.items() {
        [_, _] => counted().map(|c| c.name).collect(),
        [_, _, filter, by, value] if filter.eq_ignore_ascii_case(b"FILTERBY") => {
            let by = |name: &str| by.eq_ignore_ascii_case(name.as_bytes());
            match () {
                // There are no modules.
                () if by("module") => Vec::new(),
                () if by("aclcat") => {
                    let is = |name: &str| name.as_bytes()[1..].eq_ignore_ascii_case(value);
                    counted().filter(|c| c.acl_names().any(is)).map(|c| c.name).collect()
                }
                () if by("pattern") => {
                    let is = |c: &&Command| glob::matches(value, c.name.as_bytes(), true);
                    counted().filter(is).map(|c| c.name).collect()
                }
                () => return Err(SYNTAX),
            }
        }
        _ => return Err(SYNTAX),
    };
    ctx.out.array(wanted.len());
    wanted.iter().for_each(|name| ctx.out.bulk(name.as_bytes()));
    Ok(())
}

/// Finds a command by name, or a subcommand by `container|subcommand`.
pub fn find_full(name: &[u8]) -> Option<&'static Command> {
    let Some(bar) = memchr::memchr(b'|', name) else { return table::find(name) };
    let container = table::find(&name[..bar])?;
    container.subcommands.iter().find(|c| c.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Every command and subcommand, containers included, in the order in which statistics count them.
fn counted() -> impl Iterator<Item = &'static Command> {
    table::all().flat_map(|c| std::iter::once(c).chain(c.subcommands))
}

/// Full names of all commands and subcommands, for `observe::Registry`.
pub fn names_counted() -> Vec<&'static str> {
    counted().map(|c| c.name).collect()
}

/// The row of a number that [`number`] gave.
pub fn by_number(number: usize) -> &'static Command {
    static ROWS: LazyLock<Vec<&'static Command>> = LazyLock::new(|| counted().collect());
    ROWS[number]
}

/// The most elements of a range of ranks that is brief.
const BRIEF_RANKS: u8 = 16;

/// Whether a command with small arguments takes about a microsecond, whatever it meets.
pub fn is_brief(command: &Command, args: &Args<'_>) -> bool {
    if command.flags.has(Flags::FAST) {
        // What it appends to may have to move.
        return command.name != "append";
    }
    if command.flags.has(Flags::BY_RANK) {
        return args.len() == 4
            && matches!(
                (rank(&args[2]), rank(&args[3])),
                (Some(from), Some(to)) if to < from.saturating_add(BRIEF_RANKS)
            );
    }
    matches!(command.name, "set" | "setex" | "psetex" | "mget" | "mset" | "del")
}

/// A rank of one or two digits.
fn rank(digits: &[u8]) -> Option<u8> {
    let value = |digit: &u8| digit.is_ascii_digit().then(|| digit - b'0');
    match digits {
        [one] => value(one),
        [ten, one] => Some(value(ten)? * 10 + value(one)?),
        _ => None,
    }
}

/// Slots of the numbering: a power of two, several times the number of rows.
const SLOTS: usize = 2048;

/// The place of a row of the table in [`names_counted`]. Cheap enough for every execution: a row
/// is known by where it stands in memory.
pub fn number(command: &'static Command) -> usize {
    static NUMBERS: LazyLock<Box<[(usize, usize)]>> = LazyLock::new(|| {
        let mut slots: Box<[(usize, usize)]> = vec![(0, usize::MAX); SLOTS].into();
        for (number, command) in counted().enumerate() {
            let mut at = slot(command);
            while slots[at].0 != 0 {
                at = (at + 1) % SLOTS;
            }
            slots[at] = (address(command), number);
        }
        slots
    });
    let mut at = slot(command);
    loop {
        match NUMBERS[at] {
            (row, number) if row == address(command) || row == 0 => return number,
            _ => at = (at + 1) % SLOTS,
        }
    }
}

fn address(command: &'static Command) -> usize {
    std::ptr::from_ref(command) as usize
}

fn slot(command: &'static Command) -> usize {
    let mixed = (address(command) as u64 >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 48) as usize % SLOTS
}

/// One command as COMMAND INFO shows it.
fn describe(out: &mut Reply, command: &Command) {
    out.array(10);
    out.bulk(command.name.as_bytes());
    out.int(i64::from(command.arity));
    names(out, command.flags.names());
    let (first, last, step) = match command.keys {
        Keys::Range { first, last, step } => (first, last, step),
        Keys::None | Keys::Streams | Keys::CountedPairs { .. } => (0, 0, 0),
        Keys::Counted { store: false, .. } => (0, 0, 0),
        Keys::Counted { store: true, .. } | Keys::Stored { .. } => (1, 1, 1),
        Keys::Migrated => (3, 3, 1),
    };
    [first, last, step].iter().for_each(|n| out.int(i64::from(*n)));
    names(out, command.acl_names());
    out.set(command.tips.len());
    command.tips.iter().for_each(|tip| out.bulk(tip.as_bytes()));
    out.set(command.specs.len());
    command.specs.iter().for_each(|spec| describe_spec(out, spec));
    if command.subcommands.is_empty() {
        out.set(0);
    } else {
        out.array(command.subcommands.len());
        command.subcommands.iter().for_each(|sub| describe(out, sub));
    }
}

fn names(out: &mut Reply, names: impl Iterator<Item = &'static str>) {
    let names: Vec<_> = names.collect();
    out.set(names.len());
    names.iter().for_each(|name| out.simple(name));
}

fn describe_spec(out: &mut Reply, spec: &KeySpec) {
    out.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        out.bulk(b"notes");
        out.bulk(spec.notes.as_bytes());
    }
    out.bulk(b"flags");
    names(out, spec.flags.iter().copied());
    out.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(index) => found_by(out, b"index", &[(b"index", index)]),
        Begin::Unknown => found_by(out, b"unknown", &[]),
        Begin::Keyword(word, from) => {
            out.map(2);
            out.bulk(b"type");
            out.bulk(b"keyword");
            out.bulk(b"spec");
            out.map(2);
            out.bulk(b"keyword");
            out.bulk(word.as_bytes());
            out.bulk(b"startfrom");
            out.int(i64::from(from));
        }
    }
    out.bulk(b"find_keys");
    match spec.find {
        Find::Range { last, step, limit } => {
            let range: [(&[u8], i32); 3] =
                [(b"lastkey", last), (b"keystep", step), (b"limit", limit)];
            found_by(out, b"range", &range);
        }
        Find::KeyNum { index, first, step } => {
            let counted: [(&[u8], i32); 3] =
                [(b"keynumidx", index), (b"firstkey", first), (b"keystep", step)];
            found_by(out, b"keynum", &counted);
        }
        Find::Unknown => found_by(out, b"unknown", &[]),
    }
}

/// A method of finding keys with its parameters.
fn found_by(out: &mut Reply, method: &[u8], parameters: &[(&[u8], i32)]) {
    out.map(2);
    out.bulk(b"type");
    out.bulk(method);
    out.bulk(b"spec");
    out.map(parameters.len());
    for (name, value) in parameters {
        out.bulk(name);
        out.int(i64::from(*value));
    }
}

fn command_getkeys(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let asked = &args.items()[2..];
    let (_, keys) = keys_of(asked)?;
    ctx.out.array(keys.len());
    keys.iter().for_each(|at| ctx.out.bulk(asked[*at]));
    Ok(())
}

fn command_getkeysandflags(ctx: &mut SessionCtx<'_>, args: &Args<'_>) -> Result<(), Fault> {
    let asked = &args.items()[2..];
    let (command, keys) = keys_of(asked)?;
    ctx.out.array(keys.len());
    for at in keys {
        ctx.out.array(2);
        ctx.out.bulk(asked[at]);
        names(ctx.out, flags_of_key(command, asked, at).iter().copied());
    }
    Ok(())
}

/// What a command does with the key at `at` of its arguments.
fn flags_of_key(command: &Command, asked: &[&[u8]], at: usize) -> &'static [&'static str] {
    let has = |word: &str| asked[2..].iter().any(|a| a.eq_ignore_ascii_case(word.as_bytes()));
    // Commands whose arguments decide.
    match command.name {
        "set" if has("get") => return table::REPLACES,
        "set" => return table::OVERWRITES,
        "bitfield" if !has("set") && !has("incrby") => return table::READS,
        "bitfield" => return table::REPLACES,
        // Of what the command finds itself nothing is missing.
        "migrate" => return table::TAKES,
        _ => {}
    }
    command.specs.iter().find(|spec| spec.covers(asked, at)).map_or(&[], |spec| spec.flags)
}

/// The command that is asked for, and the places of its keys.
fn keys_of(asked: &[&[u8]]) -> Result<(&'static Command, Vec<usize>), Fault> {
    let invalid = Fault::new("ERR Invalid command specified");
    let mut command = table::find(asked[0]).ok_or(invalid.clone())?;
    if !command.subcommands.is_empty()
        && let Some(word) = asked.get(1)
    {
        let full = [command.name.as_bytes(), b"|", word].concat();
        command = find_full(&full).ok_or(invalid)?;
    }
    if command.keys == Keys::None {
        return Err(Fault::new("ERR The command has no key arguments"));
    }
    if !command.arity_ok(asked.len()) {
        return Err(Fault::new("ERR Invalid number of arguments specified for command"));
    }
    let keys = command.key_positions(asked).filter(|at| *at < asked.len());
    let keys: Vec<usize> = keys.collect();
    match keys.is_empty() {
        true => Err(Fault::new("ERR Invalid arguments specified for command")),
        false => Ok((command, keys)),
    }
}

fn command_help(ctx: &mut SessionCtx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    help(
        ctx,
        &[
            "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "(no subcommand)",
            "    Return details about all Redis commands.",
            "COUNT",
            "    Return the total number of commands in this Redis server.",
            "LIST",
            "    Return a list of all commands in this Redis server.",
            "INFO [<command-name> ...]",
            "    Return details about multiple Redis commands.",
            "    If no command names are given, documentation details for all",
            "    commands are returned.",
            "DOCS [<command-name> ...]",
            "    Return documentation details about multiple Redis commands.",
            "    If no command names are given, documentation details for all",
            "    commands are returned.",
            "GETKEYS <full-command>",
            "    Return the keys from a full Redis command.",
            "GETKEYSANDFLAGS <full-command>",
            "    Return the keys and the access flags from a full Redis command.",
            "HELP",
            "    Prints this help.",
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::session::fake::Fake;

    #[test]
    fn every_row_is_described() {
        let mut fake = Fake::default();
        let all = fake.run("COMMAND");
        assert!(all.starts_with(&format!("*{}\r\n*10\r\n", table::all().count())));
        assert_eq!(fake.run("COMMAND INFO"), all);
        assert_eq!(fake.run("COMMAND COUNT"), format!(":{}\r\n", table::all().count()));
        for command in table::all() {
            let one = fake.run(&format!("COMMAND INFO {}", command.name));
            assert!(one.starts_with("*1\r\n*10\r\n"), "{}", command.name);
            assert!(all.contains(&one[4..]), "{}", command.name);
        }
    }

    #[test]
    fn every_row_has_a_number() {
        let names = names_counted();
        assert!(names.len() * 2 < SLOTS);
        for command in table::all() {
            assert_eq!(names[number(command)], command.name);
            for sub in command.subcommands {
                assert_eq!(names[number(sub)], sub.name);
            }
        }
    }

    #[test]
    fn info_is_byte_exact() {
        let mut fake = Fake::default();
        assert_eq!(
            fake.run("COMMAND INFO get nosuch config|get config|x"),
            "*4\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n\
             +@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n\
             +access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n\
             *2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n\
             $4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n\
             :0\r\n*0\r\n$-1\r\n*10\r\n$10\r\nconfig|get\r\n:-3\r\n*4\r\n+admin\r\n+noscript\r\n\
             +loading\r\n+stale\r\n:0\r\n:0\r\n:0\r\n*3\r\n+@admin\r\n+@slow\r\n+@dangerous\r\n\
             *0\r\n*0\r\n*0\r\n$-1\r\n"
        );
        fake.session.resp3 = true;
        let mset = fake.run("COMMAND INFO mset");
        assert!(mset.starts_with("*1\r\n*10\r\n$4\r\nmset\r\n:-3\r\n~2\r\n+write\r\n"), "{mset}");
        assert!(mset.ends_with(
            "%3\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:2\r\n$5\r\nlimit\r\n:0\r\n~0\r\n"
        ));
    }

    #[test]
    fn getkeys() {
        let mut fake = Fake::default();
        for (request, reply) in [
            ("get k", "*1\r\n$1\r\nk\r\n"),
            ("mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
            ("mset a 1 b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
            ("get a b", "-ERR Invalid number of arguments specified for command\r\n"),
            ("ping x", "-ERR The command has no key arguments\r\n"),
            ("config get", "-ERR The command has no key arguments\r\n"),
            ("config foo", "-ERR Invalid command specified\r\n"),
            ("nosuch x", "-ERR Invalid command specified\r\n"),
        ] {
            assert_eq!(fake.run(&format!("COMMAND GETKEYS {request}")), reply, "{request}");
        }
        assert_eq!(
            fake.run("COMMAND GETKEYS"),
            "-ERR wrong number of arguments for 'command|getkeys' command\r\n"
        );
    }
}
