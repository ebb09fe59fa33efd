//! The slow log: calls that took longer than `slowlog-log-slower-than`.
//!
//! Each shard keeps a ring of its own clients' calls, so that shards do not wait for each other
//! even where every call is slow; ids come from one counter, and whoever asks puts the rings
//! together by id. The log shows the newest `slowlog-max-len` of all: no ring needs to be longer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most arguments that are kept of one call.
pub const ARGS_MAX: usize = 32;
/// Most bytes that are kept of one argument.
pub const ARG_LEN_MAX: usize = 128;

/// One slow call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowCall {
    /// Its number, ascending over all shards.
    pub id: u64,
    /// Unix time in seconds.
    pub unix_s: i64,
    /// How long it ran, in microseconds.
    pub usec: u64,
    /// Its arguments, cut to size by [`kept`].
    pub args: Vec<Vec<u8>>,
    /// Address of its client.
    pub peer: String,
    /// Name of its client.
    pub name: Vec<u8>,
}

type Ring = VecDeque<Arc<SlowCall>>;

/// The slow log.
#[derive(Debug)]
pub struct SlowLog {
    next_id: AtomicU64,
    rings: Box<[Mutex<Ring>]>,
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is kept of a call's arguments: the first ones, each up to a length, and how much is left
/// out.
pub fn kept(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let one = |arg: &&[u8]| match arg.len().checked_sub(ARG_LEN_MAX) {
        None | Some(0) => arg.to_vec(),
        Some(more) => [&arg[..ARG_LEN_MAX], format!("... ({more} more bytes)").as_bytes()].concat(),
    };
    if args.len() <= ARGS_MAX {
        return args.iter().map(one).collect();
    }
    let mut some: Vec<_> = args[..ARGS_MAX - 1].iter().map(one).collect();
    some.push(format!("... ({} more arguments)", args.len() - ARGS_MAX + 1).into_bytes());
    some
}

impl SlowLog {
    /// An empty log of `shards` rings.
    pub fn new(shards: usize) -> Self {
        SlowLog {
            next_id: AtomicU64::new(0),
            rings: (0..shards).map(|_| Mutex::default()).collect(),
        }
    }

    /// The number of the next call; to be asked when it has run.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps a call of a client of `shard`, and no more than `max` calls.
    pub fn record(&self, shard: usize, call: SlowCall, max: u64) {
        let Some(ring) = self.rings.get(shard) else { return };
        let mut ring = lock(ring);
        ring.push_back(Arc::new(call));
        while ring.len() as u64 > max {
            ring.pop_front();
        }
    }

    /// The newest `count` calls of the `max` that the log shows, the newest first.
    pub fn newest(&self, count: u64, max: u64) -> Vec<Arc<SlowCall>> {
        let mut all: Vec<_> = self.rings.iter().flat_map(|r| lock(r).clone()).collect();
        all.sort_unstable_by_key(|call| std::cmp::Reverse(call.id));
        all.truncate(usize::try_from(count.min(max)).unwrap_or(usize::MAX));
        all
    }

    /// How many calls the log shows.
    pub fn len(&self, max: u64) -> u64 {
        self.rings.iter().map(|r| lock(r).len() as u64).sum::<u64>().min(max)
    }

    /// Forgets all calls; numbers go on.
    pub fn reset(&self) {
        self.rings.iter().for_each(|ring| lock(ring).clear());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: u64) -> SlowCall {
        SlowCall { id, unix_s: 1, usec: 2, args: vec![], peer: String::new(), name: vec![] }
    }

    #[test]
    fn rings_are_put_together_by_id() {
        let log = SlowLog::new(2);
        for n in 0..10 {
            let id = log.next_id();
            assert_eq!(id, n);
            log.record(n as usize / 2 % 2, call(id), 4);
        }
        let ids = |count, max| log.newest(count, max).iter().map(|c| c.id).collect::<Vec<_>>();
        assert_eq!(ids(u64::MAX, 4), [9, 8, 7, 6]);
        assert_eq!(ids(2, 4), [9, 8]);
        assert_eq!((log.len(4), log.len(100), log.len(0)), (4, 8, 0));
        log.reset();
        assert_eq!((log.len(4), log.next_id()), (0, 10));
        log.record(0, call(10), 0);
        assert_eq!(log.len(u64::MAX), 0);
    }

    #[test]
    fn long_calls_are_cut() {
        let (long, short) = ([b'x'; 130], [b'y'; 128]);
        let one = kept(&[b"SET", &short, &long]);
        assert_eq!(one[1], short);
        assert_eq!(one[2], [&long[..128], b"... (2 more bytes)"].concat());
        assert_eq!(kept(&[b"a".as_slice(); 32]).len(), 32);
        let many = kept(&[b"a".as_slice(); 40]);
        assert_eq!((many.len(), many[31].as_slice()), (32, b"... (9 more arguments)".as_slice()));
    }
}
