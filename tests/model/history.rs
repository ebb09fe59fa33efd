//! Histories, and whether they are linearizable: whether some order of all operations, in which
//! those of one connection follow each other and none precedes one that was answered before it was
//! asked, gives the replies that were seen.

use std::collections::HashSet;

/// What an operation does: reads its keys, then writes those with a value, all at one moment.
pub type Keys = Vec<(usize, Option<u64>)>;

/// An operation of a connection.
#[derive(Clone, Debug)]
pub struct Record {
    /// What it does.
    pub keys: Keys,
    /// The value each key had.
    pub reads: Vec<u64>,
    /// When its bytes were sent.
    pub asked: u64,
    /// When its reply was received.
    pub answered: u64,
}

/// Whether a history of one list per connection, in program order, is linearizable; every key
/// starts as 0.
pub fn is_linearizable(history: &[Vec<Record>], keys: usize) -> bool {
    let mut tried = HashSet::new();
    search(history, &mut vec![0; history.len()], &mut vec![0; keys], &mut tried)
}

fn search(
    history: &[Vec<Record>],
    at: &mut Vec<usize>,
    state: &mut Vec<u64>,
    tried: &mut HashSet<(Vec<usize>, Vec<u64>)>,
) -> bool {
    let heads: Vec<(usize, &Record)> =
        (0..history.len()).filter_map(|c| Some((c, history[c].get(at[c])?))).collect();
    if heads.is_empty() {
        return true;
    }
    if !tried.insert((at.clone(), state.clone())) {
        return false;
    }
    // Within a connection replies come in order, so the heads hold the earliest answer.
    let first = heads.iter().map(|(_, r)| r.answered).min().unwrap_or(u64::MAX);
    for (conn, record) in heads {
        let fits = record.keys.iter().zip(&record.reads).all(|((k, _), read)| state[*k] == *read);
        if record.asked > first || !fits {
            continue;
        }
        let before = state.clone();
        for &(key, write) in &record.keys {
            state[key] = write.unwrap_or(state[key]);
        }
        at[conn] += 1;
        if search(history, at, state, tried) {
            return true;
        }
        at[conn] -= 1;
        *state = before;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(keys: Keys, reads: &[u64], asked: u64, answered: u64) -> Record {
        Record { keys, reads: reads.to_vec(), asked, answered }
    }

    #[test]
    fn a_torn_write_and_a_stale_read_are_told_from_overlap() {
        let write = || record(vec![(0, Some(1)), (1, Some(1))], &[0, 0], 1, 4);
        let read = |reads: &[u64], from, to| record(vec![(0, None), (1, None)], reads, from, to);
        assert!(is_linearizable(&[vec![write()], vec![read(&[0, 0], 2, 3)]], 2));
        assert!(is_linearizable(&[vec![write()], vec![read(&[1, 1], 2, 3)]], 2));
        assert!(!is_linearizable(&[vec![write()], vec![read(&[0, 1], 2, 3)]], 2));
        assert!(!is_linearizable(&[vec![write()], vec![read(&[0, 0], 5, 6)]], 2));
        let back = vec![read(&[1, 1], 2, 3), read(&[0, 0], 2, 3)];
        assert!(!is_linearizable(&[vec![write()], back], 2));
    }
}
