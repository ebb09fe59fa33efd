//! Whether what a client's keys hold after a crash is allowed.
//!
//! A client's operations run in order on every shard, and a shard's log keeps a prefix of what the
//! shard did. So each shard's keys hold what they held after some number of operations; that number
//! lies between what was acknowledged (or seen by others) and what was sent; and an operation over
//! several shards is kept on all of them or on none. On one shard this says that the client's
//! operations survive as one prefix.

use std::collections::{BTreeMap, BTreeSet};

use super::program::{Held, Program};

/// What is known of a client when its server is killed.
pub struct Account<'a> {
    /// Its program.
    pub program: &'a Program,
    /// Operations whose replies it has read.
    pub acknowledged: u64,
    /// Operations it has begun to send.
    pub sent: u64,
    /// For each key, the highest operation that anybody has seen there.
    pub observed: BTreeMap<usize, u64>,
}

impl Account<'_> {
    /// Holds what was found against what may be found; `shard_of` says where a key lived.
    pub fn judge(&self, found: &Held, shard_of: impl Fn(usize) -> usize) -> Result<(), String> {
        let (program, from) = (self.program, self.acknowledged);
        let mut held = Held::default();
        for number in 1..=from {
            program.apply(&mut held, number, &program.op(number));
        }
        let mut states = vec![held.clone()];
        let mut spread: Vec<(u64, BTreeSet<usize>)> = Vec::new();
        for number in from + 1..=self.sent {
            let written = program.apply(&mut held, number, &program.op(number));
            spread.push((number, written.into_iter().map(&shard_of).collect()));
            states.push(held.clone());
        }
        spread.retain(|(_, shards)| shards.len() > 1);
        let mut keys: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for key in 0..found.len() {
            keys.entry(shard_of(key)).or_default().push(key);
        }
        let mut choices: Vec<(usize, Vec<u64>)> = Vec::new();
        for (shard, keys) in keys {
            let seen = keys.iter().filter_map(|k| self.observed.get(k)).max().copied();
            let least = seen.unwrap_or(0).max(from);
            let fits = |number: &u64| {
                *number >= least
                    && keys.iter().all(|&k| states[(number - from) as usize][k] == found[k])
            };
            let fitting: Vec<u64> = (from..=self.sent).filter(fits).collect();
            if fitting.is_empty() {
                return Err(format!(
                    "keys {keys:?} of shard {shard} hold no state from {least} to {}: {:?}; \
                     after {from}: {:?}; after {}: {:?}",
                    self.sent,
                    keys.iter().map(|&k| show(&found[k])).collect::<Vec<_>>(),
                    keys.iter().map(|&k| show(&states[0][k])).collect::<Vec<_>>(),
                    self.sent,
                    keys.iter().map(|&k| show(&held[k])).collect::<Vec<_>>(),
                ));
            }
            choices.push((shard, fitting));
        }
        if whole(&choices, &spread, &mut Vec::new()) {
            return Ok(());
        }
        Err(format!("an operation over several shards is torn: {choices:?}, {spread:?}"))
    }
}

fn show(value: &Option<Vec<u8>>) -> String {
    value.as_ref().map_or("-".into(), |v| v.escape_ascii().to_string())
}

/// Whether numbers can be chosen, one per shard, so that nothing in `spread` is torn.
fn whole(
    choices: &[(usize, Vec<u64>)],
    spread: &[(u64, BTreeSet<usize>)],
    chosen: &mut Vec<(usize, u64)>,
) -> bool {
    let Some((shard, numbers)) = choices.get(chosen.len()) else { return true };
    numbers.iter().any(|&number| {
        let agrees = |(op, shards): &(u64, BTreeSet<usize>)| {
            !shards.contains(shard)
                || chosen
                    .iter()
                    .filter(|(other, _)| shards.contains(other))
                    .all(|&(_, chosen)| (chosen >= *op) == (number >= *op))
        };
        if !spread.iter().all(agrees) {
            return false;
        }
        chosen.push((*shard, number));
        let found = whole(choices, spread, chosen);
        chosen.pop();
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::program::Op;

    fn after(program: &Program, count: u64) -> Held {
        let mut held = Held::default();
        (1..=count).for_each(|n| drop(program.apply(&mut held, n, &program.op(n))));
        held
    }

    fn account(program: &Program) -> Account<'_> {
        Account { program, acknowledged: 40, sent: 60, observed: BTreeMap::new() }
    }

    #[test]
    fn any_prefix_between_acknowledged_and_sent_is_allowed_and_no_other() {
        let program = Program::new("t", 3);
        for count in 0..80 {
            let found = after(&program, count);
            let allowed = (40..=60).any(|n| after(&program, n) == found);
            assert_eq!(account(&program).judge(&found, |_| 0).is_ok(), allowed, "after {count}");
        }
    }

    #[test]
    fn what_was_observed_must_be_there() {
        let program = Program::new("t", 3);
        let mut account = account(&program);
        let number = (45..=60).find(|&n| matches!(program.op(n), Op::Set(_))).unwrap();
        let Op::Set(key) = program.op(number) else { unreachable!() };
        account.observed.insert(key, number);
        assert!(account.judge(&after(&program, number), |_| 0).is_ok());
        assert!(account.judge(&after(&program, number - 1), |_| 0).is_err());
    }

    #[test]
    fn an_operation_over_two_shards_is_whole() {
        let program = Program::new("t", 3);
        let number = (41..=60).find(|&n| matches!(program.op(n), Op::Mset(_))).unwrap();
        let (before, behind) = (after(&program, number - 1), after(&program, number));
        let Op::Mset(keys) = program.op(number) else { unreachable!() };
        let shard_of = |key: usize| usize::from(key == keys[0]);
        // Nothing but this operation is outstanding.
        let account = Account {
            program: &program,
            acknowledged: number - 1,
            sent: number,
            observed: BTreeMap::new(),
        };
        assert!(
            account.judge(&before, shard_of).is_ok() && account.judge(&behind, shard_of).is_ok()
        );
        let mut torn = before;
        torn[keys[0]].clone_from(&behind[keys[0]]);
        assert!(account.judge(&torn, shard_of).unwrap_err().contains("torn"));
    }
}
