//! Where commands have their keys: for routing, and as COMMAND INFO tells it.

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
    /// Argument `at` is their number, and they follow it.
    Counted {
        /// Position of the number.
        at: usize,
        /// Whether argument 1 is a key as well, that of the result.
        store: bool,
    },
    /// Argument `at` is their number, and they follow it, a value behind each.
    CountedPairs {
        /// Position of the number.
        at: usize,
    },
    /// The first half of what follows the word STREAMS.
    Streams,
    /// Argument 1, and the one behind the last of `words`: that of the result. Words that belong to
    /// another option (BY, GET, LIMIT) do not count.
    Stored {
        /// The words, upper case.
        words: &'static [&'static str],
    },
    /// Those of MIGRATE: argument 3, or what follows the word KEYS.
    Migrated,
}

/// Keys of a command whose only key is its first argument.
pub const FIRST: Keys = Keys::Range { first: 1, last: 1, step: 1 };
/// Keys of a command whose arguments are all keys.
pub const ALL: Keys = Keys::Range { first: 1, last: -1, step: 1 };
/// Keys of a command whose arguments are keys and values in turn.
pub const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };

/// Positions of keys, in order: one by itself, several at equal distances, another by itself.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    before: Option<usize>,
    next: usize,
    end: usize,
    step: usize,
    after: Option<usize>,
}

impl Iterator for Positions {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.before.is_some() {
            return self.before.take();
        }
        if self.next < self.end {
            let at = self.next;
            self.next += self.step;
            return Some(at);
        }
        self.after.take()
    }
}

/// What takes words behind it that name nothing, whatever they look like (SORT).
const PASSED: &[(&str, usize)] = &[("LIMIT", 2), ("BY", 1), ("GET", 1)];

fn is_word(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// The number that an argument spells, 0 when it spells none.
fn number_at(args: &[&[u8]], at: usize) -> usize {
    let number = args.get(at).and_then(|n| std::str::from_utf8(n).ok());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

impl Keys {
    /// Positions of the keys among `args`, the command's name included. There are none when the
    /// arguments do not say where: such a command is refused by its code.
    #[inline]
    pub fn positions(self, args: &[&[u8]]) -> Positions {
        let count = args.len();
        match self {
            Keys::None => Positions::default(),
            Keys::Range { first, last, step } => {
                let last = if last < 0 { count as i32 + last } else { last };
                let end = (last + 1).clamp(0, count as i32) as usize;
                Positions {
                    next: first.max(0) as usize,
                    end,
                    step: step.max(1) as usize,
                    ..Positions::default()
                }
            }
            _ => self.sought(args),
        }
    }

    fn sought(self, args: &[&[u8]]) -> Positions {
        let count = args.len();
        match self {
            Keys::None | Keys::Range { .. } => Positions::default(),
            Keys::CountedPairs { at } => match number_at(args, at) {
                n if n > count.saturating_sub(at + 1) / 2 => Positions::default(),
                n => Positions { next: at + 1, end: at + 1 + 2 * n, step: 2, ..Default::default() },
            },
            Keys::Counted { at, store } => match number_at(args, at) {
                0 => Positions::default(),
                n if n > count.saturating_sub(at + 1) => Positions::default(),
                n => Positions {
                    before: store.then_some(1),
                    next: at + 1,
                    end: at + 1 + n,
                    step: 1,
                    after: None,
                },
            },
            Keys::Streams => {
                let Some(word) = args.iter().position(|arg| is_word(arg, "STREAMS")) else {
                    return Positions::default();
                };
                let rest = count - word - 1;
                if !rest.is_multiple_of(2) {
                    return Positions::default();
                }
                Positions {
                    next: word + 1,
                    end: word + 1 + rest / 2,
                    step: 1,
                    ..Default::default()
                }
            }
            Keys::Stored { words } => {
                let (mut at, mut to) = (2, None);
                while at < count {
                    if words.iter().any(|word| is_word(args[at], word)) && at + 1 < count {
                        to = Some(at + 1);
                    }
                    let passed = PASSED.iter().find(|(word, _)| is_word(args[at], word));
                    at += 1 + passed.map_or(usize::from(to == Some(at + 1)), |(_, more)| *more);
                }
                Positions { next: 1, end: count.min(2), step: 1, before: None, after: to }
            }
            Keys::Migrated => migrated(args),
        }
    }
}

/// Options of MIGRATE and how many words belong to each; what names keys, whatever it looks like,
/// does not stand among them.
const MIGRATE_OPTIONS: &[(&str, usize)] = &[("COPY", 0), ("REPLACE", 0), ("AUTH", 1), ("AUTH2", 2)];

fn migrated(args: &[&[u8]]) -> Positions {
    let count = args.len();
    let mut at = 6;
    while at < count {
        if is_word(args[at], "KEYS") {
            // Together they are refused.
            return match args[3].is_empty() {
                true => Positions { next: at + 1, end: count, step: 1, ..Positions::default() },
                false => Positions::default(),
            };
        }
        let option = MIGRATE_OPTIONS.iter().find(|(word, _)| is_word(args[at], word));
        at += 1 + option.map_or(0, |(_, words)| *words);
    }
    Positions { next: 3, end: count.min(4), step: 1, ..Positions::default() }
}

/// How the beginning of a group of keys is found, as COMMAND INFO describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this position.
    Index(i32),
    /// Behind this word, sought from this position on (negative: from the end, backwards).
    Keyword(&'static str, i32),
    /// By the command itself.
    Unknown,
}

/// How the keys of a group are found from its beginning on, as COMMAND INFO describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to a position.
    Range {
        /// Position of the last key, counted from the first; negative: from the end.
        last: i32,
        /// Distance between two.
        step: i32,
        /// Which part of the rest they are at most, when `last` is -1: one in so many.
        limit: i32,
    },
    /// An argument says how many.
    KeyNum {
        /// Position of the number, from the beginning.
        index: i32,
        /// Position of the first key, from the beginning.
        first: i32,
        /// Distance between two.
        step: i32,
    },
    /// By the command itself.
    Unknown,
}

/// One group of keys among a command's arguments, as COMMAND INFO describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// A remark, mostly empty.
    pub notes: &'static str,
    /// What the command does with these keys.
    pub flags: &'static [&'static str],
    /// Where the group begins.
    pub begin: Begin,
    /// Which arguments from there on are keys.
    pub find: Find,
}

impl KeySpec {
    /// Keys from `index` on, up to `last` more arguments behind it.
    pub const fn range(
        index: i32,
        last: i32,
        step: i32,
        flags: &'static [&'static str],
    ) -> KeySpec {
        let find = Find::Range { last, step, limit: 0 };
        KeySpec { notes: "", flags, begin: Begin::Index(index), find }
    }

    /// One key at `index`.
    pub const fn one(index: i32, flags: &'static [&'static str]) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from `index` to the last argument.
    pub const fn rest(index: i32, step: i32, flags: &'static [&'static str]) -> KeySpec {
        KeySpec::range(index, -1, step, flags)
    }

    /// A number at `index` and so many keys behind it.
    pub const fn counted(index: i32, flags: &'static [&'static str]) -> KeySpec {
        let find = Find::KeyNum { index: 0, first: 1, step: 1 };
        KeySpec { notes: "", flags, begin: Begin::Index(index), find }
    }

    /// A number at `index` and so many keys behind it, each with a value.
    pub const fn counted_pairs(index: i32, flags: &'static [&'static str]) -> KeySpec {
        let find = Find::KeyNum { index: 0, first: 1, step: 2 };
        KeySpec { notes: "", flags, begin: Begin::Index(index), find }
    }

    /// The first half of what follows `word`, which is sought from argument `from` on.
    pub const fn half_behind(
        word: &'static str,
        from: i32,
        flags: &'static [&'static str],
    ) -> KeySpec {
        let find = Find::Range { last: -1, step: 1, limit: 2 };
        KeySpec { notes: "", flags, begin: Begin::Keyword(word, from), find }
    }

    /// One key behind `word`, which is sought from argument `from` on.
    pub const fn behind(word: &'static str, from: i32, flags: &'static [&'static str]) -> KeySpec {
        let find = Find::Range { last: 0, step: 1, limit: 0 };
        KeySpec { notes: "", flags, begin: Begin::Keyword(word, from), find }
    }

    /// Keys that only the command itself can find.
    pub const fn unknown(flags: &'static [&'static str]) -> KeySpec {
        KeySpec { notes: "", flags, begin: Begin::Unknown, find: Find::Unknown }
    }

    /// The same with a remark.
    pub const fn noted(self, notes: &'static str) -> KeySpec {
        KeySpec { notes, ..self }
    }

    /// Whether the key at `at` of `args` is one of this group.
    pub fn covers(&self, args: &[&[u8]], at: usize) -> bool {
        let from = match self.begin {
            Begin::Index(index) => index.max(0) as usize,
            Begin::Keyword(word, _) => match args.iter().position(|arg| is_word(arg, word)) {
                Some(word) => word + 1,
                None => return false,
            },
            Begin::Unknown => return true,
        };
        let (first, last, step) = match self.find {
            Find::Range { last, step, limit: 2.. } if last < 0 => {
                let half = args.len().saturating_sub(from) / 2;
                (from, (from + half).saturating_sub(1), step)
            }
            Find::Range { last, step, .. } if last < 0 => {
                (from, (args.len() as i64 + i64::from(last)).max(0) as usize, step)
            }
            Find::Range { last, step, .. } => (from, from + last as usize, step),
            Find::KeyNum { first, step, .. } => (from + first as usize, args.len(), step),
            Find::Unknown => return true,
        };
        (first..=last).contains(&at) && (at - first).is_multiple_of(step.max(1) as usize)
    }
}

/// Spec of a command whose first argument is the only key and is read.
pub const READS_FIRST: &[KeySpec] = &[KeySpec::one(1, READS)];
/// Spec of a command whose first argument is the only key, read and overwritten.
pub const REPLACES_FIRST: &[KeySpec] = &[KeySpec::one(1, REPLACES)];
/// Spec of a command whose first argument is the only key, changed in part.
pub const UPDATES_FIRST: &[KeySpec] = &[KeySpec::one(1, UPDATES)];
/// Key flags of a command that reads values.
pub const READS: &[&str] = &["RO", "access"];
/// Key flags of a command that looks at keys, not at their values.
pub const LOOKS: &[&str] = &["RO"];
/// Key flags of a command that overwrites.
pub const OVERWRITES: &[&str] = &["OW", "update"];
/// Key flags of a command that reads and overwrites.
pub const REPLACES: &[&str] = &["RW", "access", "update"];
/// Key flags of a command that changes something of a value.
pub const UPDATES: &[&str] = &["RW", "update"];
/// Key flags of a command that creates what was not there.
pub const INSERTS: &[&str] = &["OW", "insert"];
/// Key flags of a command that adds to what is there.
pub const INSERTS_MORE: &[&str] = &["RW", "insert"];
/// Key flags of a command that reads and removes.
pub const TAKES: &[&str] = &["RW", "access", "delete"];
/// Key flags of a command that removes keys.
pub const REMOVES: &[&str] = &["RM", "delete"];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(keys: Keys, line: &str) -> Vec<usize> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        keys.positions(&words).collect()
    }

    #[test]
    fn keys_are_found_where_the_arguments_say() {
        let counted = Keys::Counted { at: 1, store: false };
        assert_eq!(at(counted, "SINTERCARD 2 a b LIMIT 1"), [2, 3]);
        assert_eq!(at(counted, "SINTERCARD 3 a b"), [0; 0]);
        assert_eq!(at(counted, "SINTERCARD x a b"), [0; 0]);
        assert_eq!(at(counted, "SINTERCARD 0 a b"), [0; 0]);
        assert_eq!(at(counted, "SINTERCARD -1 a b"), [0; 0]);
        let stored = Keys::Counted { at: 2, store: true };
        assert_eq!(at(stored, "ZUNIONSTORE to 2 a b WEIGHTS 1 2"), [1, 3, 4]);
        let pairs = Keys::CountedPairs { at: 1 };
        assert_eq!(at(pairs, "MSETEX 2 a 1 b 2 EX 5"), [2, 4]);
        assert_eq!(at(pairs, "MSETEX 3 a 1 b 2 EX"), [0; 0]);
        assert_eq!(at(pairs, "MSETEX 18446744073709551615 a 1"), [0; 0]);
        assert_eq!(at(Keys::Streams, "XREAD COUNT 1 streams a b 0 0"), [4, 5]);
        assert_eq!(at(Keys::Streams, "XREAD STREAMS a b 0"), [0; 0]);
        assert_eq!(at(Keys::Streams, "XREAD COUNT 1"), [0; 0]);
        let sort = Keys::Stored { words: &["STORE"] };
        assert_eq!(at(sort, "SORT k BY w* STORE to"), [1, 5]);
        assert_eq!(at(sort, "SORT k"), [1]);
        assert_eq!(at(sort, "SORT k STORE"), [1]);
        assert_eq!(at(sort, "SORT k STORE a BY STORE ASC"), [1, 3]);
        assert_eq!(at(sort, "SORT k STORE STORE STORE b"), [1, 5]);
        let migrated = Keys::Migrated;
        assert_eq!(at(migrated, "MIGRATE h 1 k 0 5 COPY"), [3]);
        assert_eq!(at(migrated, "MIGRATE h 1  0 5 AUTH KEYS KEYS a b KEYS"), [9, 10, 11]);
        assert_eq!(at(migrated, "MIGRATE h 1  0 5 AUTH2 KEYS KEYS COPY KEYS a"), [11]);
        assert_eq!(at(migrated, "MIGRATE h 1 k 0 5 KEYS a"), [0; 0]);
        assert_eq!(at(migrated, "MIGRATE h 1  0 5 KEYS"), [0; 0]);
        assert_eq!(at(sort, "SORT k LIMIT STORE STORE GET BY STORE c"), [1, 8]);
    }
}
