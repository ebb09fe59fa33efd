//! What a lease that cuts the log leaves: its effects go into a part of their own.

use crate::command::{Args, Route};
use crate::keyspace::{Effects, Keyspace};
use crate::shard::message::Call;

/// Effects of a lease that go into the cut's part instead of the shards' logs.
#[derive(Debug)]
pub struct Diverted {
    pub(super) payload: Vec<u8>,
    /// So many bytes of it are of the stream.
    pub(super) streamed: u64,
    /// A whole-keyspace command has changed something.
    pub(super) cut: bool,
    /// Every database is empty behind the lease.
    pub(super) empty: bool,
}

impl Diverted {
    /// Begins to collect; every effect names its database from here on.
    pub fn begin(spaces: &mut [Option<Box<Keyspace>>]) -> Self {
        spaces.iter_mut().flatten().for_each(|s| s.effects.begin_diversion());
        Diverted { payload: Vec::new(), streamed: 0, cut: false, empty: false }
    }

    /// Keys per database over all shards: what tells whether a command changed anything.
    pub fn weigh(spaces: &[Option<Box<Keyspace>>]) -> Vec<usize> {
        let dbs = spaces.iter().flatten().next().map_or(0, |s| s.dbs.len());
        let keys = |db: usize| spaces.iter().flatten().map(|s| s.dbs[db].len()).sum();
        (0..dbs).map(keys).collect()
    }

    /// A command has run: its effects, or the whole-keyspace command itself, are collected.
    pub fn ran(
        &mut self,
        spaces: &mut [Option<Box<Keyspace>>],
        call: &Call,
        db: usize,
        args: &Args<'_>,
        failed: bool,
        before: &[usize],
    ) {
        for space in spaces.iter_mut().flatten() {
            let (payload, streamed) = space.effects.divert();
            self.payload.extend_from_slice(&payload);
            self.streamed += streamed;
            space.effects.forget_selected();
        }
        if failed || call.command.route != Route::Cut {
            return;
        }
        let index = |at| args.get(at).and_then(crate::base::number::parse_i64).unwrap_or(-1);
        let holds = |db: i64| before.get(db as usize).is_some_and(|n| *n > 0);
        let (changed, words) = match call.command.name {
            "swapdb" => {
                let changed = index(1) != index(2) && (holds(index(1)) || holds(index(2)));
                (changed, 3)
            }
            "flushdb" => (holds(db as i64), 1),
            _ => (before.iter().any(|n| *n > 0), 1),
        };
        if changed {
            self.cut = true;
            let mut effects = Effects::new(0, true);
            effects.forget_selected();
            effects.log(db, &args.items()[..words]);
            self.payload.extend_from_slice(effects.pending());
            self.streamed += effects.stream();
        }
    }

    pub(super) fn finish(&mut self, spaces: &[Option<Box<Keyspace>>]) {
        self.empty = Diverted::weigh(spaces).iter().all(|n| *n == 0);
    }
}
