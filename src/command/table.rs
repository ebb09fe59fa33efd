//! The one table of commands. Routing, COMMAND, replay and help derive from it.

use std::sync::LazyLock;

use crate::command;
use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::{Fault, SYNTAX};
pub use crate::command::keys::*;
use crate::command::session::SessionCtx;

/// Command flags, as COMMAND INFO names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// Changes data.
    pub const WRITE: u32 = 1 << 0;
    /// Only reads data.
    pub const READONLY: u32 = 1 << 1;
    /// Refused when memory is over `maxmemory`.
    pub const DENYOOM: u32 = 1 << 2;
    /// Administration.
    pub const ADMIN: u32 = 1 << 3;
    /// Not allowed in scripts.
    pub const NOSCRIPT: u32 = 1 << 4;
    /// Allowed while loading.
    pub const LOADING: u32 = 1 << 5;
    /// Allowed on a stale replica.
    pub const STALE: u32 = 1 << 6;
    /// Constant or logarithmic time.
    pub const FAST: u32 = 1 << 7;
    /// Allowed before authentication.
    pub const NO_AUTH: u32 = 1 << 8;
    /// Never queued by MULTI: it acts at once (EXEC, DISCARD, WATCH, RESET, QUIT…).
    pub const NO_QUEUE: u32 = 1 << 9;
    /// Refused inside MULTI ("Command not allowed inside a transaction").
    pub const NO_MULTI: u32 = 1 << 10;
    /// Not shown to MONITOR.
    pub const SKIP_MONITOR: u32 = 1 << 11;
    /// Not recorded by SLOWLOG.
    pub const SKIP_SLOWLOG: u32 = 1 << 12;
    /// Allowed while a script is busy.
    pub const ALLOW_BUSY: u32 = 1 << 13;
    /// Key positions follow from the arguments.
    pub const MOVABLE_KEYS: u32 = 1 << 14;
    /// Runs only once everything the connection sent before has been executed everywhere (INFO…).
    pub const SETTLE: u32 = 1 << 15;

    /// Takes ranks from and to as its second and third argument: brief when they are close together
    /// and nothing follows.
    pub const BY_RANK: u32 = 1 << 29;
    /// Leaves a question to all shards; inside a transaction it needs the connection to wait.
    pub const ASKS: u32 = 1 << 28;
    /// Only where a directive allows it (`enable-debug-command`, `enable-module-command`).
    pub const PROTECTED: u32 = 1 << 21;

    /// Is let through to slots that are being imported (RESTORE-ASKING).
    pub const ASKING: u32 = 1 << 22;

    /// Publishes or subscribes.
    pub const PUBSUB: u32 = 1 << 16;
    /// May block its client.
    pub const BLOCKING: u32 = 1 << 17;
    /// Can be called with no key at all.
    pub const NO_MANDATORY_KEYS: u32 = 1 << 18;
    /// Refused while a replica loads beside its old data.
    pub const NO_ASYNC_LOADING: u32 = 1 << 19;
    /// Reads may have effects that replicas must see.
    pub const MAY_REPLICATE: u32 = 1 << 20;

    /// The bits that COMMAND INFO names, in the order in which it does.
    pub const NAMES: &[(u32, &str)] = &[
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::PUBSUB, "pubsub"),
        (Self::NOSCRIPT, "noscript"),
        (Self::BLOCKING, "blocking"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::SKIP_MONITOR, "skip_monitor"),
        (Self::SKIP_SLOWLOG, "skip_slowlog"),
        (Self::ASKING, "asking"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
        (Self::MAY_REPLICATE, "may_replicate"),
        (Self::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Self::NO_ASYNC_LOADING, "no_async_loading"),
        (Self::NO_MULTI, "no_multi"),
        (Self::MOVABLE_KEYS, "movablekeys"),
        (Self::ALLOW_BUSY, "allow_busy"),
    ];

    /// The names of the bits that are set, as COMMAND INFO lists them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, name)| *name)
    }

    /// True when all of `bits` are set.
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }
}

/// How the parts of a command that several shards execute become one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Integers are added.
    Sum,
    /// `+OK` when all say so.
    Ok,
    /// Each part is an array with one element per key; elements go back to their keys' places.
    PerKey,
    /// Arrays are joined in any order.
    Concat,
    /// RANDOMKEY: each part is `[number of keys, key or nil]`; one is drawn by weight.
    Random,
    /// SCAN that begins: each part is `[cursor, [key …]]`; they are joined as long as each is at
    /// its end.
    Scan,
}

/// Who executes a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The client's own shard, without keys.
    Here,
    /// The shard of its (first) key.
    Key,
    /// Each shard the keys it owns, in one hop; `step` arguments travel with each key.
    Split(Merge),
    /// One shard when all its keys live there; else whoever asks, with the keyspaces on lease.
    Lease,
    /// As a lease, of all shards where a pattern among the arguments may name any key (SORT).
    Patterns,
    /// Every shard its part, in one hop.
    Every(Merge),
    /// SCAN: the shard that the cursor names; every shard its part when it begins.
    Cursor,
    /// Looks at everything at one moment: all keyspaces on lease.
    Whole,
    /// Whole-keyspace change: all keyspaces on lease, and a cut in the log.
    Cut,
}

/// Commands that steer the connection itself; the connection's executor carries them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// MULTI
    Multi,
    /// EXEC
    Exec,
    /// DISCARD
    Discard,
    /// WATCH
    Watch,
    /// UNWATCH
    Unwatch,
    /// RESET
    Reset,
}

/// Code that acts on keys.
pub type DataRun = fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>;

/// Code that acts on the client or the server.
pub type SessionRun = fn(&mut SessionCtx<'_>, &Args<'_>) -> Result<(), Fault>;

/// The code of a command.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// Acts on keys.
    Data(DataRun),
    /// Acts on the client or the server.
    Session(SessionRun),
    /// Steers the connection.
    Control(Control),
}

/// ACL categories that do not follow from a command's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acl(pub u32);

impl Acl {
    /// No category but those that follow from the flags.
    pub const NONE: Acl = Acl(0);
    /// `@keyspace`
    pub const KEYSPACE: u32 = 1 << 0;
    /// `@read`
    pub const READ: u32 = 1 << 1;
    /// `@write`
    pub const WRITE: u32 = 1 << 2;
    /// `@string`
    pub const STRING: u32 = 1 << 3;
    /// `@pubsub`
    pub const PUBSUB: u32 = 1 << 4;
    /// `@admin`
    pub const ADMIN: u32 = 1 << 5;
    /// `@fast`
    pub const FAST: u32 = 1 << 6;
    /// `@slow`
    pub const SLOW: u32 = 1 << 7;
    /// `@blocking`
    pub const BLOCKING: u32 = 1 << 8;
    /// `@dangerous`
    pub const DANGEROUS: u32 = 1 << 9;
    /// `@connection`
    pub const CONNECTION: u32 = 1 << 10;
    /// `@transaction`
    pub const TRANSACTION: u32 = 1 << 11;
    /// `@bitmap`
    pub const BITMAP: u32 = 1 << 12;
    /// `@hash`
    pub const HASH: u32 = 1 << 14;
    /// `@set`
    pub const SET: u32 = 1 << 15;
    /// `@list`
    pub const LIST: u32 = 1 << 16;
    /// `@sortedset`
    pub const SORTED_SET: u32 = 1 << 17;
    /// `@geo`
    pub const GEO: u32 = 1 << 18;
    /// `@stream`
    pub const STREAM: u32 = 1 << 19;
    /// `@hyperloglog`
    pub const HYPERLOGLOG: u32 = 1 << 13;

    /// Every category there is, in the order in which ACL CAT lists them.
    pub const CATEGORIES: &[&str] = &[
        "keyspace",
        "read",
        "write",
        "set",
        "sortedset",
        "list",
        "hash",
        "string",
        "bitmap",
        "hyperloglog",
        "geo",
        "stream",
        "pubsub",
        "admin",
        "fast",
        "slow",
        "blocking",
        "dangerous",
        "connection",
        "transaction",
        "scripting",
    ];

    /// The categories in the order in which COMMAND INFO lists them.
    pub const NAMES: &[(u32, &str)] = &[
        (Self::KEYSPACE, "@keyspace"),
        (Self::READ, "@read"),
        (Self::WRITE, "@write"),
        (Self::SET, "@set"),
        (Self::SORTED_SET, "@sortedset"),
        (Self::LIST, "@list"),
        (Self::HASH, "@hash"),
        (Self::STRING, "@string"),
        (Self::BITMAP, "@bitmap"),
        (Self::HYPERLOGLOG, "@hyperloglog"),
        (Self::GEO, "@geo"),
        (Self::STREAM, "@stream"),
        (Self::PUBSUB, "@pubsub"),
        (Self::ADMIN, "@admin"),
        (Self::FAST, "@fast"),
        (Self::SLOW, "@slow"),
        (Self::BLOCKING, "@blocking"),
        (Self::DANGEROUS, "@dangerous"),
        (Self::CONNECTION, "@connection"),
        (Self::TRANSACTION, "@transaction"),
    ];
}

/// One row of the table.
#[derive(Debug)]
pub struct Command {
    /// Lower-case name; a subcommand's with its container's: `object|encoding`.
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least that many.
    pub arity: i32,
    /// See [`Flags`].
    pub flags: Flags,
    /// Where its keys stand.
    pub keys: Keys,
    /// Who executes it.
    pub route: Route,
    /// Its code; a container's own code is never run.
    pub run: Run,
    /// Forms of it that have other code, which acts on the server.
    pub aside: fn(&Args<'_>) -> Option<SessionRun>,
    /// Group of the documentation.
    pub group: &'static str,
    /// First version of Redis that had it.
    pub since: &'static str,
    /// ACL categories beside those that follow from the flags.
    pub acl: Acl,
    /// Hints for clients and proxies.
    pub tips: &'static [&'static str],
    /// What it does with which keys.
    pub specs: &'static [KeySpec],
    /// Subcommands of a container.
    pub subcommands: &'static [Command],
}

/// A group of commands: what their rows have in common.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its name in the documentation.
    pub name: &'static str,
    /// Its bit among the ACL categories.
    pub acl: u32,
}

impl Group {
    /// A row whose key is its first argument, answered by the shard that has it.
    pub const fn row(
        self,
        name: &'static str,
        arity: i32,
        flags: u32,
        since: &'static str,
        specs: &'static [KeySpec],
        run: DataRun,
    ) -> Command {
        Command {
            name,
            arity,
            flags: Flags(flags),
            keys: FIRST,
            route: Route::Key,
            run: Run::Data(run),
            group: self.name,
            since,
            acl: Acl(self.acl),
            specs,
            ..ROW
        }
    }
}

/// What rows are made from: `Command { name, arity, …, ..ROW }`.
pub const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: Flags(0),
    keys: Keys::None,
    route: Route::Here,
    run: Run::Data(container),
    aside: |_| None,
    group: "generic",
    since: "1.0.0",
    acl: Acl::NONE,
    tips: &[],
    specs: &[],
    subcommands: &[],
};

/// Code of containers; [`resolve`] never hands one out without its subcommand.
fn container(_ctx: &mut Ctx<'_>, _args: &Args<'_>) -> Result<(), Fault> {
    Err(SYNTAX)
}

impl Command {
    /// Whether `count` arguments, the name included, are acceptable.
    pub fn arity_ok(&self, count: usize) -> bool {
        let count = count as i64;
        let arity = i64::from(self.arity);
        if arity >= 0 { count == arity } else { count >= -arity }
    }

    /// Positions of the keys among `args`, the name included.
    pub fn key_positions(&self, args: &[&[u8]]) -> Positions {
        self.keys.positions(args)
    }

    /// The code for a request with these arguments: some forms of a command that acts on data act
    /// on the server alone.
    pub fn run_of(&self, args: &Args<'_>) -> Run {
        (self.aside)(args).map_or(self.run, Run::Session)
    }

    /// Who executes it when it comes with `count` arguments. A command to be split whose last key
    /// lacks its value (`MSET a 1 b`) goes whole to one shard, where its code refuses it.
    pub fn route_of(&self, count: usize) -> Route {
        match (self.route, self.keys) {
            (Route::Split(_), Keys::Range { first, step, .. })
                if (count as i64 - i64::from(first)) % i64::from(step) != 0 =>
            {
                Route::Key
            }
            (route, _) => route,
        }
    }

    /// Whether it can change data.
    pub fn writes(&self) -> bool {
        self.flags.has(Flags::WRITE)
    }

    /// Its ACL categories as COMMAND INFO lists them.
    pub fn acl_names(&self) -> impl Iterator<Item = &'static str> {
        let has = |flag, bit| if self.flags.has(flag) { bit } else { 0 };
        let bits = self.acl.0
            | has(Flags::WRITE, Acl::WRITE)
            | has(Flags::READONLY, Acl::READ)
            | has(Flags::ADMIN, Acl::ADMIN | Acl::DANGEROUS)
            | has(Flags::PUBSUB, Acl::PUBSUB)
            | has(Flags::BLOCKING, Acl::BLOCKING)
            | if self.flags.has(Flags::FAST) { Acl::FAST } else { Acl::SLOW };
        Acl::NAMES.iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, name)| *name)
    }
}

/// The rows, by the file that holds them.
static GROUPS: &[&[Command]] = &[
    command::string::ROWS,
    command::compare::ROWS,
    command::range::ROWS,
    command::counter::ROWS,
    command::lcs::ROWS,
    command::bitmap::ROWS,
    command::bitfield::ROWS,
    command::hyperloglog::ROWS,
    command::hash::ROWS,
    command::hash_expire::ROWS,
    command::hash_timed::ROWS,
    command::set::ROWS,
    command::set_algebra::ROWS,
    command::sort::ROWS,
    command::stream::ROWS,
    command::stream_read::ROWS,
    command::stream_group::ROWS,
    command::stream_claim::ROWS,
    command::stream_info::ROWS,
    command::list::ROWS,
    command::list_inside::ROWS,
    command::zset::ROWS,
    command::zset_range::ROWS,
    command::zset_pop::ROWS,
    command::zset_algebra::ROWS,
    command::blocking::ROWS,
    command::geo::ROWS,
    command::key::ROWS,
    command::dump::ROWS,
    command::migrate::ROWS,
    command::expire::ROWS,
    command::object::ROWS,
    command::scan::ROWS,
    command::whole::ROWS,
    command::connection::ROWS,
    command::client::ROWS,
    command::server::ROWS,
    command::save::ROWS,
    command::backup::ROWS,
    command::introspect::ROWS,
    command::slowlog::ROWS,
    command::latency::ROWS,
    command::memory::ROWS,
    command::standalone::ROWS,
    command::acl::ROWS,
    command::lolwut::ROWS,
    command::debug::ROWS,
    CONTROL,
];

/// Every row, subcommands not included.
pub fn all() -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().flat_map(|rows| rows.iter())
}

/// Slots of the name index: a power of two, several times the number of commands.
const SLOTS: usize = 1024;

/// The name index: open addressing by [`fold`], built once.
static INDEX: LazyLock<Box<[Option<&'static Command>]>> = LazyLock::new(|| {
    let mut index: Box<[Option<&'static Command>]> = vec![None; SLOTS].into();
    for command in all() {
        let mut at = fold(command.name.as_bytes());
        while let Some(other) = index[at] {
            assert_ne!(other.name, command.name, "two rows of one name");
            at = (at + 1) % SLOTS;
        }
        index[at] = Some(command);
    }
    index
});

/// A slot from a name's length and its first and last bytes, ASCII case folded.
fn fold(name: &[u8]) -> usize {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let word = |at: usize| {
        name.get(at..at + 8).map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap_or_default()))
    };
    let half = |at: usize| {
        let bytes = name.get(at..at + 4).unwrap_or_default();
        u64::from(u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
    };
    let (head, tail) = match name.len() {
        0 => (0, 0),
        n @ 1..4 => {
            let byte = |at: usize| u64::from(name[at]);
            (byte(0) | byte(n / 2) << 8 | byte(n - 1) << 16, 0)
        }
        n @ 4..8 => (half(0), half(n - 4)),
        n => (word(0), word(n - 8)),
    };
    let mixed = ((head | CASE) ^ (tail | CASE).rotate_left(29) ^ name.len() as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 48) as usize % SLOTS
}

/// Finds a command by name, ASCII case folded.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let index = &*INDEX;
    let mut at = fold(name);
    while let Some(command) = index[at] {
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        at = (at + 1) % SLOTS;
    }
    None
}

/// Finds the command, or subcommand, that a request asks for and checks the number of its
/// arguments; the error is what Redis answers, inside MULTI too.
pub fn resolve(args: &Args<'_>) -> Result<&'static Command, Fault> {
    let command = meant(args)?;
    if command.arity_ok(args.len()) { Ok(command) } else { Err(wrong_arity(command.name)) }
}

/// The command a client has asked for last, and as what: as a rule the next one is the same, to
/// the letter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Again {
    command: Option<&'static Command>,
    /// The name as the client wrote it. Empty where a name alone does not say what is meant: with
    /// subcommands, and when it is longer than this.
    name: [u8; 15],
    len: u8,
}

impl Again {
    /// The command asked for last.
    pub fn command(&self) -> Option<&'static Command> {
        self.command
    }

    /// Remembers `command`, and that `name` meant it.
    fn note(&mut self, command: &'static Command, name: &[u8]) {
        *self = Again { command: Some(command), ..Again::default() };
        // A subcommand has a bar in its own name, and was called by another.
        let alone = command.subcommands.is_empty() && !command.name.contains('|');
        if alone && let Some(place) = self.name.get_mut(..name.len()) {
            place.copy_from_slice(name);
            self.len = name.len() as u8;
        }
    }

    /// [`meant`] by this client.
    #[inline]
    pub fn meant(&self, args: &Args<'_>) -> Result<&'static Command, Fault> {
        let name = args.get(0).unwrap_or_default();
        if let Some(command) = self.command
            && self.len > 0
            && self.name[..usize::from(self.len)] == *name
        {
            return Ok(command);
        }
        meant(args)
    }

    /// This is the last command now.
    #[inline]
    pub fn asked(&mut self, command: &'static Command, args: &Args<'_>) {
        let same = self.command.is_some_and(|last| std::ptr::eq(last, command));
        if !same || self.len == 0 {
            self.note(command, args.get(0).unwrap_or_default());
        }
    }
}

/// The command or subcommand a request names, whatever the number of its arguments.
pub fn meant(args: &Args<'_>) -> Result<&'static Command, Fault> {
    let name = args.get(0).unwrap_or_default();
    let Some(mut command) = find(name) else { return Err(unknown_command(args)) };
    if !command.subcommands.is_empty()
        && let Some(word) = args.get(1)
    {
        let behind = command.name.len() + 1;
        let wanted = |c: &&Command| c.name.as_bytes()[behind..].eq_ignore_ascii_case(word);
        match command.subcommands.iter().find(wanted) {
            Some(sub) => command = sub,
            None => return Err(unknown_subcommand(command, word)),
        }
    }
    Ok(command)
}

/// `ERR wrong number of arguments for '…' command`
pub fn wrong_arity(name: &str) -> Fault {
    Fault::text(format!("ERR wrong number of arguments for '{name}' command"))
}

/// Longest part of a request that an error repeats, in bytes.
const ECHO_MAX: usize = 128;

/// What C's `%.*s` would print of `bytes`: at most `max` of them, up to the first NUL.
pub fn printable(bytes: &[u8], max: usize) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    &bytes[..end.min(max)]
}

/// The error for a name that no command answers to.
pub fn unknown_command(args: &Args<'_>) -> Fault {
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(printable(args.get(0).unwrap_or_default(), ECHO_MAX));
    text.extend_from_slice(b"', with args beginning with: ");
    let start = text.len();
    for arg in args.items().iter().skip(1) {
        let left = ECHO_MAX.saturating_sub(text.len() - start);
        if left == 0 {
            break;
        }
        text.push(b'\'');
        text.extend_from_slice(printable(arg, left));
        text.extend_from_slice(b"' ");
    }
    Fault(text.into())
}

fn unknown_subcommand(command: &Command, word: &[u8]) -> Fault {
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(printable(word, ECHO_MAX));
    text.extend_from_slice(b"'. Try ");
    text.extend_from_slice(command.name.to_ascii_uppercase().as_bytes());
    text.extend_from_slice(b" HELP.");
    Fault(text.into())
}

/// What a subcommand answers that was given arguments it cannot have, though its arity allows them.
pub fn wrong_subcommand(container: &str, word: &[u8]) -> Fault {
    let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    text.extend_from_slice(printable(word, ECHO_MAX));
    text.extend_from_slice(b"'. Try ");
    text.extend_from_slice(container.to_ascii_uppercase().as_bytes());
    text.extend_from_slice(b" HELP.");
    Fault(text.into())
}

const CONTROL_FLAGS: u32 = Flags::NOSCRIPT
    | Flags::LOADING
    | Flags::STALE
    | Flags::FAST
    | Flags::ALLOW_BUSY
    | Flags::NO_QUEUE;

const fn control(name: &'static str, extra: u32, since: &'static str, what: Control) -> Command {
    Command {
        name,
        arity: 1,
        flags: Flags(CONTROL_FLAGS | extra),
        run: Run::Control(what),
        group: "transactions",
        since,
        acl: Acl(Acl::TRANSACTION),
        ..ROW
    }
}

static CONTROL: &[Command] = &[
    control("multi", 0, "1.2.0", Control::Multi),
    Command {
        flags: Flags((CONTROL_FLAGS & !(Flags::FAST | Flags::ALLOW_BUSY)) | Flags::SKIP_SLOWLOG),
        ..control("exec", 0, "1.2.0", Control::Exec)
    },
    control("discard", 0, "2.0.0", Control::Discard),
    Command {
        arity: -2,
        keys: ALL,
        specs: &[KeySpec::rest(1, 1, LOOKS)],
        ..control("watch", 0, "2.2.0", Control::Watch)
    },
    Command {
        flags: Flags(CONTROL_FLAGS & !Flags::NO_QUEUE),
        ..control("unwatch", 0, "2.2.0", Control::Unwatch)
    },
    Command {
        group: "connection",
        acl: Acl(Acl::CONNECTION),
        ..control("reset", Flags::NO_AUTH, "6.2.0", Control::Reset)
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for command in all() {
            let upper = command.name.to_ascii_uppercase();
            for name in [command.name, &upper] {
                assert!(std::ptr::eq(find(name.as_bytes()).unwrap(), command), "{name}");
            }
            assert!(find(format!("{}!", command.name).as_bytes()).is_none());
        }
        for name in [&b""[..], b"g", b"ge", b"\x07et", b"nothing-of-the-kind", &[b'x'; 1000]] {
            assert!(find(name).is_none());
        }
    }

    #[test]
    fn rows_are_sound() {
        let subcommands = all().flat_map(|c| c.subcommands);
        for c in all().chain(subcommands) {
            assert_eq!(c.name, c.name.to_ascii_lowercase());
            assert!(c.arity != 0, "{}", c.name);
            let both = Flags::WRITE | Flags::READONLY;
            assert!(!c.flags.has(both), "{}", c.name);
            assert_eq!(c.keys == Keys::None, c.specs.is_empty(), "{}", c.name);
            if let (Keys::Range { first, step, .. }, Some(spec)) = (c.keys, c.specs.first()) {
                let found = (spec.begin, spec.find);
                let same = matches!(found, (Begin::Index(index), Find::Range { step: by, .. })
                    if (index, by) == (first, step));
                assert!(same, "{}: {found:?}", c.name);
                let least = vec![&b""[..]; c.arity.unsigned_abs() as usize];
                assert!(c.key_positions(&least).next().is_some(), "{}", c.name);
            }
        }
    }

    #[test]
    fn key_positions() {
        let positions = |name: &str, count| {
            find(name.as_bytes()).unwrap().key_positions(&vec![&b""[..]; count]).collect::<Vec<_>>()
        };
        assert_eq!(positions("get", 2), [1]);
        assert_eq!(positions("mset", 5), [1, 3]);
        assert_eq!(positions("del", 4), [1, 2, 3]);
        assert_eq!(positions("rename", 3), [1, 2]);
        assert_eq!(positions("copy", 5), [1, 2]);
        assert_eq!(positions("keys", 2), [0; 0]);
    }

    #[test]
    fn routes() {
        let route = |name: &str, count| find(name.as_bytes()).unwrap().route_of(count);
        assert_eq!(route("mset", 5), Route::Split(Merge::Ok));
        assert_eq!(route("mset", 4), Route::Key);
        assert_eq!(route("del", 4), Route::Split(Merge::Sum));
        assert_eq!(route("rename", 3), Route::Lease);
    }

    #[test]
    fn unknown_commands_are_quoted_up_to_a_point() {
        let text = |words: &[&[u8]]| {
            String::from_utf8(resolve(&Args::new(words)).unwrap_err().0.into_owned()).unwrap()
        };
        assert_eq!(
            text(&[b"foo", b"a", b"b"]),
            "ERR unknown command 'foo', with args beginning with: 'a' 'b' "
        );
        let long = [b'x'; 200];
        let quoted = "x".repeat(128);
        assert_eq!(
            text(&[&long, &long, b"more"]),
            format!("ERR unknown command '{quoted}', with args beginning with: '{quoted}' ")
        );
        assert_eq!(text(&[b"get"]), "ERR wrong number of arguments for 'get' command");
    }

    #[test]
    fn categories_and_flags_read_as_redis_prints_them() {
        let keys = find(b"keys").unwrap();
        let acl: Vec<_> = keys.acl_names().collect();
        assert_eq!(acl, ["@keyspace", "@read", "@slow", "@dangerous"]);
        let flags: Vec<_> = find(b"append").unwrap().flags.names().collect();
        assert_eq!(flags, ["write", "denyoom", "fast"]);
    }
}
