//! DEBUG RELOAD: everything is saved, and what was saved takes the place of the data.
//!
//! It goes the way of DEBUG LOADAOF (`reload`): all keyspaces are on lease from before the first
//! step until the last, every log is made durable, and an errand does what waits for a disk. Here
//! it is given the keyspaces too, writes the file, reads it into empty ones as at a start, and only
//! when all of it has been read the data is exchanged. So the data is what it was if the file
//! cannot be written or read, and so is the old file if the new one cannot be written.
//!
//! *What the log says.* What has just been saved is what the logs lead to, so nothing is logged
//! then. NOSAVE reads a file of some other time: what it makes of the data is logged key by key, in
//! the place of a lease like any other, and nobody is told of any key before that is released.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::base::clock::Stopwatch;
use crate::command::dump;
use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::observe::saves::End;
use crate::persist::payload::codec;
use crate::persist::rdb::encode::Encoder;
use crate::persist::snapshot::{CHUNKS_MAX, Chunk, Flow, write};
use crate::shard::core::Shard;
use crate::shard::global::Global;
use crate::shard::message::Message;
use crate::shard::reload::{Keyspaces, Meant, exchange, like};
use crate::shard::snapshot::contents::{CHUNK, Contents, target};

const NOT_SAVED: &str = "ERR";
const NOT_LOADED: &str = "ERR Error trying to load the RDB dump, check server logs";

/// How DEBUG RELOAD goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// The data is saved first (not NOSAVE).
    pub save: bool,
    /// What is not in the file goes (not NOFLUSH).
    pub flush: bool,
    /// What is in both is taken from the file (MERGE); otherwise it must not be in both.
    pub merge: bool,
}

impl Shard {
    /// Every log is durable: saves, reads and exchanges the data of these keyspaces, aside.
    pub(super) fn refill(&mut self, how: How, mut spaces: Keyspaces) {
        let (order, global, id) = (Arc::clone(&self.order), Arc::clone(&self.global), self.id);
        let now = self.now.unix_ms().div_euclid(1000);
        self.global.run_errand(Box::new(move || {
            let outcome = refilled(&global, how, now, &mut spaces);
            order.push(id, Message::Refilled(Box::new((spaces, outcome))));
        }));
    }
}

fn refilled(global: &Global, how: How, now: i64, spaces: &mut Keyspaces) -> Result<(), String> {
    let config = global.config();
    if how.save {
        save(global, &config, now, spaces)?;
    }
    let mut fresh: Keyspaces = spaces.iter().flatten().map(|s| Some(Box::new(like(s)))).collect();
    let not_loaded = |why: String| {
        global.warn(&format!("DEBUG RELOAD: the data stays: {why}"));
        NOT_LOADED.to_owned()
    };
    global.read_log(&mut fresh, Meant::File).map_err(not_loaded)?;
    let pairs = || spaces.iter().flatten().zip(fresh.iter().flatten());
    if !how.flush && !how.merge && pairs().any(|(old, new)| meet(old, new)) {
        return Err(not_loaded("a key is in the file and among the data".to_owned()));
    }
    for (old, new) in spaces.iter_mut().flatten().zip(fresh.into_iter().flatten()) {
        if !how.save {
            log(old, &new, &config, how.flush);
        }
        match how.flush {
            true => exchange(old, *new),
            false => merge(old, *new),
        }
        if !how.save {
            old.floor = old.floor.max(old.effects.end());
        }
    }
    global.warn("DB reloaded by DEBUG RELOAD");
    Ok(())
}

fn save(global: &Global, config: &Config, now: i64, spaces: &Keyspaces) -> Result<(), String> {
    let target = target(config);
    let spaces: Vec<&Keyspace> = spaces.iter().flatten().map(|space| &**space).collect();
    let contents = Contents::of(spaces.iter().copied(), config.rdb.version);
    let mut encoder = Encoder::new(contents.version, config.rdb.compress);
    let header = contents.header(&mut encoder, global, now, false);
    let began = Stopwatch::default();
    let (sender, chunks) = sync_channel(CHUNKS_MAX);
    let flow = Flow::new(spaces.len());
    let written = std::thread::scope(|scope| {
        let (target, header, flow) = (&target, &header, &flow);
        // The end of the chunks goes with it: who hands them out learns that nobody takes them.
        let progress = &global.registry.saves.progress;
        let writer =
            scope.spawn(move || write(target, header, &chunks, flow, &|| progress.commit()));
        hand_out(encoder, &spaces, flow, sender);
        writer.join().unwrap_or_else(|_| Err(std::io::Error::other("the writer has panicked")))
    });
    match written {
        Ok(_) => {
            let (at, dirty) = (now + began.elapsed().as_secs() as i64, contents.dirty);
            global.registry.saves.note(End::Saved { at, dirty });
            Ok(())
        }
        Err(error) => {
            global.warn(&format!("DEBUG RELOAD: the data cannot be saved: {error}"));
            Err(NOT_SAVED.to_owned())
        }
    }
}

/// Encodes everything; what fails makes the file fail.
fn hand_out(mut encoder: Encoder, spaces: &[&Keyspace], flow: &Flow, chunks: SyncSender<Chunk>) {
    let send = |chunk: Chunk| {
        flow.sent(&chunk);
        chunks.send(chunk).is_ok()
    };
    for space in spaces {
        let (shard, recency) = (space.shard, space.recency());
        for (db, data) in space.dbs.iter().enumerate() {
            // Every chunk selects its database, since it may come to stand behind any other.
            let mut bytes = Vec::new();
            for entry in data.iter() {
                if bytes.is_empty() {
                    encoder.select(&mut bytes, db);
                }
                encoder.set_usage(recency.saved(entry.recency()));
                if encoder.entry(&mut bytes, entry).is_err() {
                    flow.failed.store(true, Ordering::Release);
                    send(Chunk::Finish);
                    return;
                }
                if bytes.len() >= CHUNK {
                    let bytes = std::mem::take(&mut bytes);
                    if !send(Chunk::Keys { shard, home: shard, bytes }) {
                        return;
                    }
                }
            }
            if !bytes.is_empty() && !send(Chunk::Keys { shard, home: shard, bytes }) {
                return;
            }
        }
    }
    send(Chunk::Finish);
}

/// Whether a key is in both.
fn meet(old: &Keyspace, new: &Keyspace) -> bool {
    let dbs = || old.dbs.iter().zip(&new.dbs);
    dbs().any(|(old, new)| new.iter().any(|entry| old.find(entry.key()).entry.is_some()))
}

/// Logs what leads from `old` to what is in `new`, or to both together.
fn log(old: &mut Keyspace, new: &Keyspace, config: &Config, flush: bool) {
    if !old.effects.enabled() {
        return old.effects.add_stream(1);
    }
    let codec = codec(config.rdb.version, config.rdb.compress);
    for (db, (before, after)) in old.dbs.iter().zip(&new.dbs).enumerate() {
        for entry in before.iter().filter(|_| flush) {
            if after.find(entry.key()).entry.is_none() {
                old.effects.log(db, &[b"DEL", entry.key()]);
            }
        }
        let recency = new.recency();
        for entry in after.iter() {
            let usage = recency.saved(entry.recency());
            dump::log_whole(&mut old.effects, codec, (db, usage), entry);
        }
    }
}

/// Adds what is in `new`, over what is there. What leads there is logged by now, or durable: it is
/// stamped with the end of the log, not with a position that may never come.
fn merge(old: &mut Keyspace, mut new: Keyspace) {
    for db in 0..old.dbs.len() {
        let keys: Vec<Vec<u8>> = new.dbs[db].iter().map(|entry| entry.key().to_vec()).collect();
        for key in keys {
            let Some(entry) = new.dbs[db].remove(&key, 0) else { continue };
            let stamp = old.effects.end();
            if let Some(replaced) = old.dbs[db].insert(entry, stamp) {
                old.discard(replaced);
            }
            old.touched(db, &key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Effects, NewValue, ValueRef};
    use std::path::Path;

    fn space(pairs: &[(usize, &str, i64)]) -> Keyspace {
        let mut space = Keyspace::new(0, 2, [1, 2], Effects::new(0, true));
        for (db, key, n) in pairs {
            space.dbs[*db].put(key.as_bytes(), NewValue::Int(*n), None, 0);
        }
        space
    }

    fn value(space: &Keyspace, db: usize, key: &str) -> Option<i64> {
        match space.dbs[db].find(key.as_bytes()).entry?.value() {
            ValueRef::Int(n) => Some(n),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_together_and_what_the_log_says_of_it() {
        let new = || space(&[(0, "b", 20), (1, "c", 30)]);
        let mut old = space(&[(0, "a", 1), (0, "b", 2)]);
        assert!(meet(&old, &new()));
        assert!(!meet(&space(&[(0, "c", 1)]), &new()));
        let config = Config::new(Path::new("/data"));
        log(&mut old, &new(), &config, false);
        let text = old.effects.pending().escape_ascii().to_string();
        assert!(!text.contains("DEL") && text.matches("RESTORE").count() == 2, "{text}");
        log(&mut old, &new(), &config, true);
        let text = old.effects.pending().escape_ascii().to_string();
        assert!(text.matches("DEL").count() == 1 && text.matches("RESTORE").count() == 4);
        merge(&mut old, new());
        let values = [(0, "a"), (0, "b"), (0, "c"), (1, "c")].map(|(db, k)| value(&old, db, k));
        assert_eq!(values, [Some(1), Some(20), None, Some(30)]);
        assert_eq!(old.dbs[1].find(b"c").stamp, old.effects.end());
    }
}
