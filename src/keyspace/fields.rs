//! Fields of hashes past their time: removed when somebody names them, and by active expiry, with
//! the removal logged as HDEL. A hash goes with its last field.

use crate::keyspace::Object;
use crate::keyspace::events::Class;
use crate::keyspace::expire::{Expired, STALE_PERCENT};
use crate::keyspace::space::Keyspace;

/// Names in one HDEL.
const BATCH: usize = 64;
/// Fields looked at in one hash before another has its turn.
const ROUND: usize = 64;

impl Keyspace {
    /// Removes those of `fields` that are past `now_ms`.
    pub fn lapse(&mut self, db: usize, key: &[u8], fields: &[&[u8]], now_ms: i64) {
        if self.dbs[db].timed_len() == 0 || self.expired_held {
            return;
        }
        let Some(entry) = self.dbs[db].find(key).entry else { return };
        let Some(Object::Hash(dict)) = entry.object() else { return };
        if entry.is_expired(now_ms) || !dict.may_lapse(now_ms) {
            return;
        }
        let is_past = |name: &&&[u8]| dict.get(name).is_some_and(|field| field.is_expired(now_ms));
        let past: Vec<&[u8]> = fields.iter().filter(is_past).copied().collect();
        self.remove_past(db, key, &past);
    }

    /// Removes fields, and the key when it has lost the last.
    fn remove_past<N: AsRef<[u8]>>(&mut self, db: usize, key: &[u8], past: &[N]) {
        let before = self.counters.expired_fields;
        let mut emptied = false;
        for names in past.chunks(BATCH) {
            let stamp = self.effects.stamp();
            let mut gone: Vec<&[u8]> = vec![b"HDEL", key];
            let left = self.dbs[db].change_object(key, stamp, |object| {
                let Object::Hash(dict) = object else { return (0, false) };
                let there =
                    names.iter().map(AsRef::as_ref).filter(|name| dict.remove(name).is_some());
                gone.extend(there);
                (dict.len(), gone.len() > 2)
            });
            let Some((left, true)) = left else { continue };
            if left == 0 {
                emptied = self.delete(db, key);
            }
            self.touched(db, key);
            self.counters.expired_fields += gone.len() as u64 - 2;
            self.effects.log(db, &gone);
        }
        if self.counters.expired_fields > before {
            self.events.add(db, Class::Hash, "hexpired", key);
        }
        if emptied {
            self.events.add(db, Class::Generic, "del", key);
        }
    }

    /// Removes fields past `now_ms` from the hashes of a database that are due, until none is or
    /// `done` has `budget` fields; true when the budget ended it while many were past.
    pub(super) fn expire_fields(
        &mut self,
        db: usize,
        now_ms: i64,
        budget: usize,
        done: &mut Expired,
    ) -> bool {
        let (mut past, mut removed) = (Vec::new(), 0);
        while let Some(key) = self.dbs[db].next_timed(now_ms).map(<[u8]>::to_vec) {
            if done.fields >= budget {
                return removed * 100 > done.fields * STALE_PERCENT;
            }
            let round = ROUND.min(budget - done.fields);
            // Nothing that is told of changes here, so nothing is stamped.
            let looked = self.dbs[db].change_object(&key, 0, |object| match object {
                Object::Hash(dict) => (dict.look_for_past(now_ms, round, &mut past), false),
                _ => (0, false),
            });
            // A hash counts for one field at least: looking it up is work as well.
            done.fields += looked.map_or(1, |(seen, _)| seen.max(1));
            self.remove_past(db, &key, &past);
            removed += past.len();
            past.clear();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Effects, Entry, NewValue};
    use crate::value::dict::Dict;

    fn space(hashes: usize, fields: usize) -> Keyspace {
        let mut space = Keyspace::new(0, 3, [5, 6], Effects::new(0, true));
        for h in 0..hashes {
            let mut dict = Dict::new([1, 2]);
            for f in 0..fields {
                // Half of them end at 10, a quarter later, a quarter never.
                let at = [Some(10), Some(10), Some(1_000_010), None][f % 4];
                dict.set(f.to_string().as_bytes(), b"v", at);
            }
            let value = NewValue::Object(Box::new(Object::Hash(dict)));
            space.dbs[1].put(format!("h{h}").as_bytes(), value, None, h as u64);
        }
        space
    }

    fn fields(space: &Keyspace) -> usize {
        space.dbs[1].iter().filter_map(Entry::object).map(Object::len).sum()
    }

    #[test]
    fn what_is_due_is_found_in_bounded_calls() {
        for (hashes, each) in [(1, 10_000), (5_000, 2), (30, 400)] {
            let mut space = space(hashes, each);
            let before = fields(&space);
            let mut calls = 0;
            while space.active_expire(11, 100).backlog {
                calls += 1;
                space.dbs[1].check();
                assert!(calls < 400, "{calls}");
            }
            let past = space.counters.expired_fields as usize;
            assert_eq!(past, if each == 2 { before } else { before / 2 });
            assert_eq!(fields(&space), before - past);
            assert_eq!(space.dbs[1].len(), if each == 2 { 0 } else { hashes });
            let expected = if each == 2 { 0 } else { hashes };
            assert_eq!(space.dbs[1].timed_len(), expected);
            assert_eq!(space.active_expire(12, 100), Expired::default());
            space.active_expire(2_000_000, 1 << 20);
            assert_eq!(space.dbs[1].timed_len(), 0);
            space.dbs[1].check();
        }
    }

    #[test]
    fn named_ones_go_at_once() {
        let mut space = space(1, 2);
        space.lapse(1, b"h0", &[b"1", b"none"], 10);
        assert_eq!(fields(&space), 2);
        space.lapse(1, b"h0", &[b"1", b"none"], 11);
        assert_eq!(space.effects.pending().windows(4).filter(|w| w == b"HDEL").count(), 1);
        assert_eq!(fields(&space), 1);
        space.expiry_paused = true;
        space.hold_expired(false);
        space.lapse(1, b"h0", &[b"0"], 11);
        assert_eq!(fields(&space), 1);
        space.hold_expired(true);
        space.lapse(1, b"h0", &[b"0"], 11);
        assert!(space.dbs[1].is_empty() && space.dbs[1].timed_len() == 0);
    }
}
