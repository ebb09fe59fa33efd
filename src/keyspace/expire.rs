//! Active expiry: finding keys and fields past their expiry that nobody asks for, a bounded number
//! per call.

use crate::keyspace::space::Keyspace;

/// Keys looked at before it is judged whether going on pays.
const ROUND: usize = 32;
/// Going on pays while more than this share of a round was expired, in percent (Redis' figure).
pub(super) const STALE_PERCENT: usize = 10;

/// What a call of [`Keyspace::active_expire`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Keys with an expiry that were looked at.
    pub looked_at: usize,
    /// Keys removed.
    pub removed: usize,
    /// Fields of hashes that were looked at.
    pub fields: usize,
    /// The budget ran out while many of the keys looked at were expired: call again soon.
    pub backlog: bool,
}

impl Keyspace {
    /// Removes keys and fields past `now_ms` from all databases, each removal logged, after looking
    /// at no more than `budget` keys and as many fields (and 64 slots of the table for each).
    /// Databases take turns; one is left as soon as few of a round's keys were expired.
    pub fn active_expire(&mut self, now_ms: i64, budget: usize) -> Expired {
        let mut done = Expired::default();
        if self.expiry_paused || self.unwritten.is_some() {
            return done;
        }
        self.hold_expired(true);
        let mut keys = Vec::new();
        for _ in 0..self.dbs.len() {
            if done.looked_at >= budget || done.fields >= budget {
                break;
            }
            let db = self.expiry_db;
            self.expiry_db = (db + 1) % self.dbs.len();
            done.backlog = self.expire_database(db, now_ms, budget, &mut done, &mut keys);
            done.backlog |= self.expire_fields(db, now_ms, budget, &mut done);
        }
        done
    }

    /// Rounds in one database; true when the budget ended them.
    fn expire_database(
        &mut self,
        db: usize,
        now_ms: i64,
        budget: usize,
        done: &mut Expired,
        keys: &mut Vec<Vec<u8>>,
    ) -> bool {
        while done.looked_at < budget {
            let round = ROUND.min(budget - done.looked_at);
            let (seen, past) = self.dbs[db].sample_expired(now_ms, round, keys);
            for key in keys.drain(..) {
                self.expire_now(db, &key);
            }
            done.looked_at += seen;
            done.removed += past;
            // A round may find nothing although there is something, when keys with an expiry are
            // rare: the next call goes on from where it stopped.
            if past * 100 <= seen * STALE_PERCENT {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Effects, NewValue};

    fn space(expiring: usize, lasting: usize) -> Keyspace {
        let mut space = Keyspace::new(0, 3, [5, 6], Effects::new(0, true));
        for i in 0..expiring + lasting {
            let expire_ms = (i < expiring).then_some(if i % 2 == 0 { 10 } else { 1_000_010 });
            space.dbs[2].put(format!("k{i}").as_bytes(), NewValue::Int(0), expire_ms, i as u64);
        }
        space
    }

    #[test]
    fn a_call_is_bounded_and_calls_in_a_row_find_everything() {
        let mut space = space(10_000, 1000);
        let (mut calls, mut removed) = (0, 0);
        while space.counters.expired < 5000 {
            let done = space.active_expire(11, 100);
            assert!(done.looked_at <= 100 && done.removed <= done.looked_at);
            removed += done.removed;
            calls += 1;
            assert!(calls < 400, "{removed} of 5000");
        }
        assert_eq!((removed, space.dbs[2].len(), space.dbs[2].expires_len()), (5000, 6000, 5000));
        let deletions = space.effects.pending().windows(3).filter(|w| w == b"DEL").count();
        assert_eq!(deletions, 5000);
        let ttl = space.dbs[2].avg_ttl();
        assert!((900_000..=1_000_000).contains(&ttl), "{ttl}");
        let done = space.active_expire(11, 1000);
        assert!(done.removed == 0 && done.looked_at <= ROUND && !done.backlog);
    }

    #[test]
    fn few_expiring_keys_among_many_are_found_without_looking_at_the_others() {
        let mut space = space(10, 200_000);
        let mut calls = 0;
        while space.counters.expired < 5 {
            space.active_expire(11, 64);
            calls += 1;
            assert!(calls < 40);
        }
    }

    #[test]
    fn a_backlog_is_told() {
        let mut space = space(10_000, 0);
        let done = space.active_expire(i64::MAX, 64);
        assert_eq!(done, Expired { looked_at: 64, removed: 64, fields: 0, backlog: true });
        assert_eq!(space.active_expire(i64::MAX, 0), Expired::default());
    }
}
