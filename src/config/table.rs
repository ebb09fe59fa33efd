//! What a directive is, and the one table of them.
//!
//! Every directive of Redis 7.2 has a row, so that a stock `redis.conf` parses and `CONFIG GET`
//! answers for it; a row says whether the directive has an effect here. Values are kept as text in
//! the form `CONFIG GET` prints; `Kind::parse` makes that form out of what a user wrote.

use crate::config::value;

/// What values a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// Any of these words together; the first one stands for none of the others.
    Flags(&'static [&'static str]),
    /// An integer from the first bound to the second.
    Int(i64, i64),
    /// `hz`: an integer brought into 1 to 500.
    Hz,
    /// Bytes, with an optional unit (`1k` = 1000, `1kb` = 1024, …), from one bound to the other.
    Memory(u64, u64),
    /// Bytes as [`Kind::Memory`], or a share of `maxmemory` such as `5%`.
    MemoryOrPercent,
    /// An octal number up to this one.
    Octal(u32),
    /// Any bytes.
    Text,
    /// A file name without a directory.
    FileName {
        /// Whether there may be none.
        empty: bool,
    },
    /// A host name.
    HostName,
    /// The working directory.
    Dir,
    /// `save` points: seconds and changes, in pairs.
    Save,
    /// Client class, hard limit, soft limit, seconds; up to three times.
    OutputLimits,
    /// Addresses to listen on.
    Bind,
    /// Host and port of a leader, or `no one`.
    ReplicaOf,
    /// Percentiles from 0 to 100.
    Percentiles,
    /// Three numbers from -2000 to 2000.
    OomValues,
    /// Letters of keyspace event classes.
    Events,
}

/// Whether a directive does anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does what it says.
    Effective,
    /// It is accepted and answered, nothing more; neglecting it costs no safety.
    Accepted,
    /// It has no effect yet, and a server that neglected it would be less safe than the user asked
    /// for: any value but the default stops the start, unless `accept-unimplemented` says yes.
    Guarded(&'static str),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// Lower-case name.
    pub name: &'static str,
    /// An older name that works as well.
    pub alias: Option<&'static str>,
    /// What it takes.
    pub kind: Kind,
    /// Its value when nobody sets it, as `CONFIG GET` prints it.
    pub default: &'static str,
    /// One sentence for the documentation.
    pub doc: &'static str,
    /// See [`Status`].
    pub status: Status,
    /// `CONFIG SET` refuses it, as Redis does.
    pub immutable: bool,
    /// `CONFIG SET` refuses it unless `enable-protected-configs` allows it.
    pub protected: bool,
    /// Redis can change it while running, Ringstone only at the start.
    pub fixed: bool,
    /// `CONFIG GET` shows it only when asked by its full name.
    pub hidden: bool,
    /// Its value must not appear in logs.
    pub sensitive: bool,
    /// Redis has no such directive.
    pub ours: bool,
}

/// A row for a directive that has its effect.
pub const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Directive {
    Directive {
        name,
        alias: None,
        kind,
        default,
        doc,
        status: Status::Effective,
        immutable: false,
        protected: false,
        fixed: false,
        hidden: false,
        sensitive: false,
        ours: false,
    }
}

/// A row for a directive that is only accepted.
pub const fn known(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Directive {
    let mut made = row(name, kind, default, doc);
    made.status = Status::Accepted;
    made
}

impl Directive {
    /// Gives it an older name.
    pub const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// Makes `CONFIG SET` refuse it.
    pub const fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// Makes `CONFIG SET` refuse it unless protected directives may be set.
    pub const fn protected(mut self) -> Self {
        self.protected = true;
        self
    }

    /// Changes take a restart here.
    pub const fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    /// Hides it from patterns.
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Keeps its value out of logs.
    pub const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Marks it as Ringstone's own.
    pub const fn ours(mut self) -> Self {
        self.ours = true;
        self
    }

    /// See [`Status::Guarded`]; `what` says what would be missing.
    pub const fn guarded(mut self, what: &'static str) -> Self {
        self.status = Status::Guarded(what);
        self
    }

    /// Whether several words in the file are its value (else exactly one).
    pub fn takes_words(&self) -> bool {
        matches!(
            self.kind,
            Kind::Flags(_)
                | Kind::Save
                | Kind::OutputLimits
                | Kind::Bind
                | Kind::ReplicaOf
                | Kind::Percentiles
                | Kind::OomValues
        )
    }

    /// Makes a value out of `words`; `before` is the value so far. The error is the reason alone.
    pub fn parse(&self, words: &[&[u8]], before: &[u8]) -> Result<Vec<u8>, String> {
        value::parse(self, words, before)
    }
}

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Directive> {
    use crate::config::rows;
    rows::EFFECTIVE.iter().chain(rows::OURS).chain(rows::accepted::ROWS)
}

/// The row of a name or older name, ASCII case folded, with its index in [`all`].
pub fn find(name: &[u8]) -> Option<(usize, &'static Directive)> {
    let is = |n: &str| n.as_bytes().eq_ignore_ascii_case(name);
    all().enumerate().find(|(_, d)| is(d.name) || d.alias.is_some_and(is))
}
