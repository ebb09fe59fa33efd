//! The one table of commands. Routing, COMMAND, replay and help derive from it.

use crate::command::args::Args;
use crate::command::context::Ctx;
use crate::command::fault::Fault;
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

    /// True when all of `bits` are set.
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }
}

/// Where a command's keys stand among its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It names none.
    None,
    /// From `first` to `last` (negative: from the end) by steps of `step`, as COMMAND INFO says.
    Range {
        /// First position.
        first: i32,
        /// Last position.
        last: i32,
        /// Distance between two.
        step: i32,
    },
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
    /// Every shard its part, in one hop.
    Every(Merge),
    /// SCAN: the shard that the cursor names.
    Cursor,
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

/// The code of a command.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// Acts on keys.
    Data(fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>),
    /// Acts on the client or the server.
    Session(fn(&mut SessionCtx<'_>, &Args<'_>) -> Result<(), Fault>),
    /// Steers the connection.
    Control(Control),
}

/// One row of the table.
#[derive(Debug)]
pub struct Command {
    /// Lower-case name.
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least that many.
    pub arity: i32,
    /// See [`Flags`].
    pub flags: Flags,
    /// Where its keys stand.
    pub keys: Keys,
    /// Who executes it.
    pub route: Route,
    /// Its code.
    pub run: Run,
}

impl Command {
    /// Whether `count` arguments, the name included, are acceptable.
    pub fn arity_ok(&self, count: usize) -> bool {
        let count = count as i64;
        let arity = i64::from(self.arity);
        if arity >= 0 { count == arity } else { count >= -arity }
    }

    /// Positions of the keys among `count` arguments.
    pub fn key_positions(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let (first, last, step) = match self.keys {
            Keys::None => (1, 0, 1),
            Keys::Range { first, last, step } => {
                let last = if last < 0 { count as i32 + last } else { last };
                (first, last.min(count as i32 - 1), step)
            }
        };
        (first..=last).step_by(step.max(1) as usize).map(|i| i as usize)
    }

    /// Whether it can change data.
    pub fn writes(&self) -> bool {
        self.flags.has(Flags::WRITE)
    }
}

/// Finds a command by name, ASCII case folded.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    all().find(|c| c.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Command> {
    [].iter()
}
