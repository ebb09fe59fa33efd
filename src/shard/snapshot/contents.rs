//! What every file of all data is: where it goes, which version it takes, what stands in front of
//! the keys.

use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::persist::rdb::encode::{Encoder, VERSION_AUX};
use crate::persist::snapshot::{Target, temporary};
use crate::shard::global::Global;

/// Bytes from which on a chunk is handed over to the writer.
pub(in crate::shard) const CHUNK: usize = 1 << 20;

/// The first version that holds fields with times.
const VERSION_FIELD_TIMES: u32 = 12;

/// Where SAVE and its like write to, and how.
pub(in crate::shard) fn target(config: &Config) -> Target {
    Target {
        dir: config.dir.clone(),
        name: config.dbfilename.clone(),
        temp: temporary(),
        checksum: config.rdb.checksum,
        flush_each: config.rdb.flush_each,
        index: config.rdb.version >= VERSION_AUX,
    }
}

/// What is known of the whole before its keys are walked.
#[derive(Debug)]
pub(in crate::shard) struct Contents {
    /// Changes so far.
    pub dirty: u64,
    /// The version that can hold it all: the one that was asked for, or the first that can.
    pub version: u32,
    /// The offset of the stream for replicas at this moment.
    stream: u64,
    functions: Vec<Vec<u8>>,
    /// Keys of each database, and how many of them have an expiry.
    sizes: Vec<(u64, u64)>,
}

impl Contents {
    /// Of all keyspaces together.
    pub fn of<'a>(spaces: impl Iterator<Item = &'a Keyspace>, version: u32) -> Contents {
        let (functions, sizes) = Default::default();
        let mut contents = Contents { dirty: 0, version, stream: 0, functions, sizes };
        for space in spaces {
            contents.dirty += space.counters.dirty;
            contents.stream += space.effects.stream();
            contents.functions.extend_from_slice(&space.functions);
            contents.sizes.resize(contents.sizes.len().max(space.dbs.len()), (0, 0));
            for ((keys, expires), db) in contents.sizes.iter_mut().zip(&space.dbs) {
                *keys += db.len() as u64;
                *expires += db.expires_len() as u64;
                if db.timed_len() > 0 {
                    contents.version = VERSION_FIELD_TIMES;
                }
            }
        }
        contents
    }

    /// Whether there are libraries of functions, which commands of ours do not tell of.
    pub fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Keys of all databases.
    pub fn keys(&self) -> u64 {
        self.sizes.iter().map(|(keys, _)| keys).sum()
    }

    /// What the file begins with, made at `seconds` of Unix time; `is_base`: of a log.
    pub fn header(
        &self,
        encoder: &mut Encoder,
        global: &Global,
        seconds: i64,
        is_base: bool,
    ) -> Vec<u8> {
        let mut header = Vec::new();
        encoder.header(&mut header);
        encoder.about(&mut header, seconds, global.memory() as u64, is_base);
        // The log has its own word for its base.
        if let (false, Some(id)) = (is_base, global.registry.replication().id) {
            encoder.history(&mut header, &id, self.stream);
        }
        for source in &self.functions {
            if let Err(error) = encoder.function(&mut header, source) {
                global.warn(&format!("A library of functions is left out: {error}"));
            }
        }
        for (db, &(keys, expires)) in self.sizes.iter().enumerate().filter(|(_, s)| s.0 > 0) {
            encoder.select(&mut header, db);
            encoder.sizes(&mut header, keys, expires);
        }
        header
    }
}
