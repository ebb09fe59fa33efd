//! Uses of keys, as one database notes them.
//!
//! A look-up that is a use compares the entry's recency with `stamp` and stores that if it is
//! another: all there is to it as long as times are noted. Where uses are counted, or a client's
//! are not to be seen (CLIENT NO-TOUCH), the stamp is one that no entry can have, and what is to be
//! done is found out aside. A command counts once per key however often it looks at it: the few
//! keys used last are kept until the next command.
//!
//! Recency is no data: nothing is stamped by it, no snapshot keeps it, no log tells of it.

use std::collections::VecDeque;

use crate::base::random::Random;
use crate::value::entry::{Entry, RECENCY_MAX};
use crate::value::recency::Recency;

/// As many keys as a command goes to and fro between.
const LAST_MAX: usize = 4;
/// No entry's recency.
const ASIDE: u32 = RECENCY_MAX + 1;

/// See the head of this file.
#[derive(Clone, Debug)]
pub(super) struct Uses {
    /// The recency of what is used now, or [`ASIDE`].
    stamp: u32,
    recency: Recency,
    /// The command at hand leaves no trace.
    quiet: bool,
    /// The keys used last by the command at hand, where uses are counted.
    last: VecDeque<Box<[u8]>>,
    random: Random,
}

impl Uses {
    /// Nothing is known of time yet.
    pub(super) fn new(seed: u64) -> Self {
        let recency = Recency::default();
        let random = Random::new(seed);
        Uses { stamp: recency.clock(), recency, quiet: false, last: VecDeque::new(), random }
    }

    /// What reads and makes recencies now.
    pub(super) fn recency(&self) -> Recency {
        self.recency
    }

    pub(super) fn set_recency(&mut self, recency: Recency) {
        self.recency = recency;
        self.set_stamp();
    }

    /// A command begins.
    pub(super) fn begin(&mut self, quiet: bool) {
        self.last.clear();
        self.quiet = quiet;
        self.set_stamp();
    }

    fn set_stamp(&mut self) {
        let aside = self.quiet || self.recency.counts();
        self.stamp = if aside { ASIDE } else { self.recency.clock() };
    }

    /// An entry is used.
    #[inline]
    pub(super) fn note(&mut self, entry: &mut Entry) {
        if entry.recency() != self.stamp {
            match self.stamp {
                ASIDE => self.count(entry),
                stamp => entry.set_recency(stamp),
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn count(&mut self, entry: &mut Entry) {
        if !self.quiet && !self.last.iter().any(|key| **key == *entry.key()) {
            self.keep(entry);
            entry.set_recency(self.recency.used(entry.recency(), &mut self.random));
        }
    }

    /// A new entry: that it has come is no use of it, nor is what the same command does to it.
    #[inline]
    pub(super) fn born(&mut self, entry: &mut Entry) {
        match self.stamp {
            ASIDE => self.born_aside(entry),
            stamp => entry.set_recency(stamp),
        }
    }

    #[cold]
    #[inline(never)]
    fn born_aside(&mut self, entry: &mut Entry) {
        if self.recency.counts() {
            self.keep(entry);
        }
        entry.set_recency(self.recency.born());
    }

    fn keep(&mut self, entry: &Entry) {
        self.last.truncate(LAST_MAX - 1);
        self.last.push_front(entry.key().into());
    }
}
