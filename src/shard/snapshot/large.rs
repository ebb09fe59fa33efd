//! Large values of a snapshot: encoded into buffers of their own, which go where the values go;
//! those that do not fit into a chunk are written piece by piece, by one shard at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::crc::{shard_of_slot, slot};
use crate::keyspace::Keyspace;
use crate::keyspace::cut::State;
use crate::keyspace::snapshot::LargeValue;
use crate::persist::rdb::encode::{Encoder, LongText, TooNew, Walk};
use crate::persist::rdb::format::TYPE_STRING;
use crate::persist::snapshot::Chunk;
use crate::shard::snapshot::{Job, Part};

/// A large value in the making.
struct Making {
    id: u64,
    /// The shard of its key's slot.
    home: usize,
    bytes: Vec<u8>,
    how: How,
    /// Pieces of it are with the writer.
    giant: bool,
}

enum How {
    Structure(Walk),
    Text(Option<LongText>),
}

impl Part {
    /// Goes on with the next large value; false when there is none.
    pub(super) fn large(&mut self, shard: usize, space: &mut Keyspace) -> Result<bool, String> {
        let Some(large) = space.next_large() else { return Ok(false) };
        let (id, db, key, expire) = (large.id, large.db, large.key.clone(), large.expire_ms);
        let (facts, recency) = (large.facts, large.recency);
        let usage = space.recency().saved(recency);
        let job = Arc::clone(&self.job);
        if job.giant.load(Ordering::Acquire) == id && !job.flow.takes_piece() {
            self.stuck = true;
            return Ok(true);
        }
        let encoder = &mut self.encoder;
        let begin = |encoder: &mut Encoder| -> Result<Making, TooNew> {
            let mut bytes = Vec::new();
            encoder.select(&mut bytes, db);
            encoder.set_usage(usage);
            let how = match &facts {
                Some(facts) => {
                    let walk = Walk::new(encoder, facts)?;
                    encoder.key(&mut bytes, walk.kind(), &key, expire);
                    walk.head(&mut bytes);
                    How::Structure(walk)
                }
                None => {
                    encoder.key(&mut bytes, TYPE_STRING, &key, expire);
                    How::Text(None)
                }
            };
            let home = shard_of_slot(slot(&key), job.flow.keys.len());
            Ok(Making { id, home, bytes, how, giant: false })
        };
        let (mut failed, mut stuck) = (None, false);
        let done = space.visit_large(|state: &mut State, value| {
            let making = match state.as_mut().and_then(|s| s.downcast_mut::<Making>()) {
                Some(making) => making,
                None => match begin(encoder) {
                    Ok(made) => {
                        let made = state.insert(Box::new(made));
                        made.downcast_mut::<Making>().expect("just put there")
                    }
                    Err(error) => {
                        failed = Some(error.to_string());
                        return true;
                    }
                },
            };
            if making.must_wait(&job) {
                stuck = true;
                return false;
            }
            making.slice(encoder, value, &job, shard)
        });
        self.stuck |= stuck;
        match (failed, done) {
            (Some(error), _) => Err(error),
            (None, Ok(done)) => {
                self.pace.handed_out(u64::from(done), self.delay, self.job.flow.keys.len());
                Ok(true)
            }
            (None, Err(_)) => Err("a large value was lost".to_owned()),
        }
    }
}

impl Making {
    /// Hands a full chunk over as a piece; whether another long value comes first.
    fn must_wait(&mut self, job: &Job) -> bool {
        self.bytes.len() >= job.grain.chunk && !self.hand_over_piece(job)
    }

    /// Goes on; true when the value is with the writer.
    fn slice(
        &mut self,
        encoder: &mut Encoder,
        value: LargeValue<'_>,
        job: &Job,
        shard: usize,
    ) -> bool {
        let done = match (&mut self.how, value) {
            (How::Structure(walk), LargeValue::Object(object)) => {
                walk.slice(encoder, &mut self.bytes, object, job.grain.elements)
            }
            (How::Text(long), LargeValue::Text(mut text)) => {
                let long = long.get_or_insert_with(|| LongText::new(encoder, text.len()));
                let out = &mut self.bytes;
                let window = long.window(job.grain.text);
                let done = text.look(window, |text| long.slice(encoder, out, text, job.grain.text));
                text.release(long.looked());
                done
            }
            (How::Structure(_), LargeValue::Text(_)) | (How::Text(_), LargeValue::Object(_)) => {
                unreachable!("a value stays what it was when the cut began")
            }
        };
        if done {
            job.flow.count.fetch_add(1, Ordering::Relaxed);
            let bytes = std::mem::take(&mut self.bytes);
            if self.giant {
                job.send(Chunk::Piece { home: self.home, bytes, last: true });
                job.giant.store(0, Ordering::Release);
            } else {
                job.send(Chunk::Keys { shard, home: self.home, bytes });
            }
        }
        done
    }

    /// Hands a piece over if it is this value's turn.
    fn hand_over_piece(&mut self, job: &Job) -> bool {
        if !self.giant {
            let free = job.giant.compare_exchange(0, self.id, Ordering::AcqRel, Ordering::Acquire);
            if free.is_err() {
                return false;
            }
            self.giant = true;
        }
        let bytes = std::mem::take(&mut self.bytes);
        job.send(Chunk::Piece { home: self.home, bytes, last: false });
        true
    }
}
