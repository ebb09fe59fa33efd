//! What shards share: inboxes, the order of multi-shard entries, and how far each log has come.
//!
//! # Order
//!
//! *Plain messages* go to one shard and need no order relative to others. *Entries* go to several:
//! they are pushed to all of them inside one short critical section, which gives them an id, and
//! `published` is stored last. A shard loads `published` **before** it takes its inbox and does not
//! execute an entry with a greater id, nor anything behind it, before a later turn. So no shard
//! shows its part of an entry before every other part stands in its inbox; and since ids are given
//! in push order under the lock, any two entries stand in the same order everywhere.
//!
//! # Settled
//!
//! `last_pushed[s]` is the highest id of a *writing* entry pushed to shard `s` (stored inside the
//! critical section), `passed[s]` the highest one that the raw point of `s`'s log has passed. A
//! shard with `last_pushed <= passed` has nothing outstanding. With `published` read first, every
//! writing entry with an id up to `min(published, passed[s] of shards with something outstanding)`
//! has been passed by all its participants: entries that were pushed later have greater ids, and
//! for a shard with something outstanding every id up to `passed[s]` has been passed, since its
//! FIFO executes entries by ascending id and its raw point passes them in that order.

use std::sync::OnceLock;

use crate::base::limits::SHARDS_MAX;
use crate::base::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::shard::inbox::{Inbox, Prepared};

/// Wakes a blocked shard thread.
pub type WakeFn = Box<dyn Fn() + Send + Sync>;

/// One shard's words in the shared state, on cache lines of their own.
#[repr(align(128))]
struct Lane<M> {
    inbox: Inbox<M>,
    waker: OnceLock<WakeFn>,
    last_pushed: AtomicU64,
    passed: AtomicU64,
    released: AtomicU64,
    /// Its release point stands in front of a mark that has not settled.
    stuck: AtomicBool,
}

/// The order shared by all shards, generic over the message so that models can drive it.
pub struct Order<M> {
    lanes: Vec<Lane<M>>,
    /// The next entry id.
    next: Mutex<u64>,
    published: AtomicU64,
}

impl<M> Order<M> {
    /// The order of `shards` shards; entry ids begin at `first_id`, which is at least 1.
    pub fn new(shards: usize, first_id: u64) -> Self {
        assert!((1..=SHARDS_MAX).contains(&shards));
        assert!(first_id >= 1, "0 marks plain messages");
        let before = first_id - 1;
        let lane = |_| Lane {
            inbox: Inbox::default(),
            waker: OnceLock::new(),
            last_pushed: AtomicU64::new(before),
            passed: AtomicU64::new(before),
            released: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
        };
        Order {
            lanes: (0..shards).map(lane).collect(),
            next: Mutex::new(first_id),
            published: AtomicU64::new(before),
        }
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.lanes.len()
    }

    /// Says how to wake shard `shard`.
    pub fn set_waker(&self, shard: usize, wake: WakeFn) {
        assert!(self.lanes[shard].waker.set(wake).is_ok(), "a shard has one waker");
    }

    /// The inbox of a shard.
    pub fn inbox(&self, shard: usize) -> &Inbox<M> {
        &self.lanes[shard].inbox
    }

    /// Pushes a plain message.
    pub fn push(&self, shard: usize, message: M) {
        self.lanes[shard].inbox.push(message);
        self.wake(shard);
    }

    /// Pushes an entry to all its shards. `writers` is the set of those where it could write;
    /// `complete` puts the id into each message.
    pub fn push_entry(
        &self,
        writers: u64,
        parts: Vec<(usize, M)>,
        complete: impl Fn(&mut M, u64),
    ) -> u64 {
        let shards: Vec<usize> = parts.iter().map(|p| p.0).collect();
        let nodes: Vec<_> = parts.into_iter().map(|(s, m)| (s, Prepared::new(m))).collect();
        let id;
        {
            let mut next = self.next.lock().expect("nothing panics inside the critical section");
            id = *next;
            *next += 1;
            for (shard, lane) in self.lanes.iter().enumerate() {
                if writers >> shard & 1 == 1 {
                    lane.last_pushed.store(id, Ordering::SeqCst);
                }
            }
            for (shard, mut node) in nodes {
                complete(node.item_mut(), id);
                self.lanes[shard].inbox.push_prepared(node);
            }
            self.published.store(id, Ordering::SeqCst);
        }
        shards.into_iter().for_each(|shard| self.wake(shard));
        id
    }

    /// Wakes a shard if it blocks. Call after a push.
    pub fn wake(&self, shard: usize) {
        let lane = &self.lanes[shard];
        if lane.inbox.claim_wake()
            && let Some(wake) = lane.waker.get()
        {
            wake();
        }
    }

    /// Wakes a shard whether it blocks or not (stopping).
    pub fn wake_all(&self) {
        for lane in &self.lanes {
            lane.inbox.awake();
            if let Some(wake) = lane.waker.get() {
                wake();
            }
        }
    }

    /// The highest id whose entry stands in every inbox it concerns.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::SeqCst)
    }

    /// The highest id such that every writing entry up to it has been passed everywhere.
    pub fn settled(&self) -> u64 {
        let mut settled = self.published();
        for lane in &self.lanes {
            let passed = lane.passed.load(Ordering::SeqCst);
            if lane.last_pushed.load(Ordering::SeqCst) > passed {
                settled = settled.min(passed);
            }
        }
        settled
    }

    /// Shard `shard`'s raw point has passed the entry `id` (and all before it).
    pub fn pass(&self, shard: usize, id: u64) {
        let before = self.lanes[shard].passed.swap(id, Ordering::SeqCst);
        assert!(before <= id, "entries are passed in order");
    }

    /// Says whether shard `shard`'s release point waits for entries to settle.
    pub fn set_stuck(&self, shard: usize, stuck: bool) {
        self.lanes[shard].stuck.store(stuck, Ordering::SeqCst);
    }

    /// The other shards whose release points wait for entries to settle.
    pub fn stuck(&self, but: usize) -> impl Iterator<Item = usize> + '_ {
        let lanes = self.lanes.iter().enumerate();
        lanes
            .filter(move |(s, lane)| *s != but && lane.stuck.load(Ordering::SeqCst))
            .map(|(s, _)| s)
    }

    /// Makes a shard's release point known.
    pub fn set_released(&self, shard: usize, position: u64) {
        self.lanes[shard].released.store(position, Ordering::Release);
    }

    /// A shard's release point.
    pub fn released(&self, shard: usize) -> u64 {
        self.lanes[shard].released.load(Ordering::Acquire)
    }

    /// The id the next entry will get, or more.
    pub fn next_id(&self) -> u64 {
        self.published() + 1
    }
}
