//! What an RDB is decoded into: keyspaces, a batch of keys at a time.
//!
//! Nearly all the time of storing a key goes into waiting for memory that no cache holds: the place
//! in the table where it belongs. So keys are gathered, the processor is asked for the places of
//! all of them, and then they are put there. That a key was there already comes out then too.

use crate::base::crc::{shard_of_slot, slot};
use crate::base::memory;
use crate::command::Spaces;
use crate::keyspace::{Entry, Keyspace, NewValue, Recency, Usage};
use crate::persist::load::delay::Delay;
use crate::persist::load::{NOTICES_MAX, Report};
use crate::persist::rdb::Sink;
use crate::persist::rdb::decode::shown;

/// Keys of a batch.
const BATCH: usize = 64;

/// Keys of one database of one keyspace on their way there.
#[derive(Default)]
struct Batch {
    db: usize,
    entries: Vec<Entry>,
    /// Where each stands in the file.
    offsets: Vec<u64>,
}

impl Batch {
    /// Puts all of them where they belong; gives the number of one that was there already.
    fn put(&mut self, space: &mut Keyspace) -> Option<(u64, Vec<u8>)> {
        let stamp = space.effects.stamp();
        let twice = space.dbs[self.db].load(&mut self.entries, stamp);
        let twice = twice.map(|(at, key)| (self.offsets[at], key));
        self.offsets.clear();
        twice
    }
}

/// See the head of this file.
pub(super) struct Store<'b, 's> {
    spaces: &'b mut Spaces<'s>,
    /// The shard that loads alone.
    alone: Option<usize>,
    shards: usize,
    report: &'b mut Report,
    delay: Option<&'b mut Delay>,
    /// By shard; of one that loads alone, its own.
    batches: Vec<Batch>,
    offset: u64,
    /// What is said of the use of the key that comes.
    usage: Usage,
    recency: Recency,
    twice: Option<(u64, Vec<u8>)>,
}

impl<'b, 's> Store<'b, 's> {
    pub(super) fn new(
        spaces: &'b mut Spaces<'s>,
        alone: Option<usize>,
        shards: usize,
        report: &'b mut Report,
    ) -> Self {
        let count = if alone.is_some() { 1 } else { shards };
        let batches = (0..count).map(|_| Batch::default()).collect();
        let mut recency = Recency::default();
        spaces.each(|space| recency = space.recency());
        Store {
            spaces,
            alone,
            shards,
            report,
            batches,
            offset: 0,
            usage: Usage::default(),
            recency,
            twice: None,
            delay: None,
        }
    }

    /// The same, taking its time.
    pub(super) fn delayed(mut self, delay: &'b mut Delay) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Which batch a key belongs to.
    fn batch_of(&self, key: &[u8]) -> usize {
        if self.batches.len() == 1 { 0 } else { shard_of_slot(slot(key), self.shards) }
    }

    /// Empties a batch; false when a key was there already.
    fn put(&mut self, at: usize) -> bool {
        let shard = self.alone.unwrap_or(at);
        let twice = self.batches[at].put(self.spaces.shard(shard));
        let fine = twice.is_none();
        self.twice = self.twice.take().or(twice);
        fine
    }
}

impl Sink for Store<'_, '_> {
    fn wants(&mut self, _db: usize, key: &[u8]) -> bool {
        self.shards == 1 || self.alone.is_none_or(|me| shard_of_slot(slot(key), self.shards) == me)
    }

    fn begins(&mut self, offset: u64, usage: Usage) {
        (self.offset, self.usage) = (offset, usage);
    }

    fn expect(&mut self, db: usize, keys: u64) {
        // Other shards have theirs.
        let keys = keys as usize / self.shards;
        match self.alone {
            Some(me) => self.spaces.shard(me).dbs[db].expect(keys),
            None => self.spaces.each(|space| space.dbs[db].expect(keys)),
        }
    }

    fn store(
        &mut self,
        db: usize,
        key: &[u8],
        value: NewValue<'_>,
        expire_ms: Option<i64>,
    ) -> bool {
        if let Some(delay) = &mut self.delay {
            delay.key();
        }
        let at = self.batch_of(key);
        let fine = self.batches[at].db == db || self.put(at);
        let batch = &mut self.batches[at];
        batch.db = db;
        let mut entry = Entry::new(key, value, expire_ms);
        entry.addresses().into_iter().for_each(memory::reach);
        entry.set_recency(self.recency.of(self.usage));
        batch.entries.push(entry);
        batch.offsets.push(self.offset);
        let full = batch.entries.len() == BATCH;
        fine && (!full || self.put(at))
    }

    fn finish(&mut self) -> bool {
        let twice = (0..self.batches.len()).filter(|at| !self.put(*at)).count();
        twice == 0
    }

    fn twice(&mut self) -> Option<(u64, Vec<u8>)> {
        self.twice.take()
    }

    fn leaves_out(&mut self, key: &[u8]) {
        let left_out = &mut self.report.left_out;
        if left_out.len() < NOTICES_MAX {
            left_out.push(shown(key));
        }
    }

    fn aux(&mut self, key: &[u8], value: &[u8]) {
        self.report.told.aux(key, value);
        let notices = &mut self.report.notices;
        if key.first() == Some(&b'%') && notices.len() < NOTICES_MAX {
            notices.push(format!("RDB '{}': {}", shown(key), shown(value)));
        }
    }

    fn function(&mut self, source: &[u8]) {
        // Of shards that read the file alone, one keeps them.
        if self.alone.is_none_or(|me| me == 0) {
            self.spaces.shard(0).functions.push(source.to_vec());
        }
    }
}
