//! The inbox of a shard: many threads push, one takes everything.
//!
//! A push is one compare-and-swap that makes the node reachable, so what has been pushed is visible
//! to the next take whatever becomes of the pusher; a queue that claims a place first and links it
//! later would let a preempted pusher hide entries pushed after it. Taking is one swap; the list
//! comes out newest first and is reversed.
//!
//! Unsafe obligations: (1) every pointer in `head` came from `Box::into_raw` and is reachable from
//! exactly one place; (2) nodes are only turned back into boxes by whoever swapped them out.
#![allow(unsafe_code)]

use std::ptr;

use crate::base::sync::{AtomicBool, AtomicPtr, Ordering, fence};

struct Node<T> {
    item: T,
    next: *mut Node<T>,
}

/// Many-producer, single-consumer inbox, never full.
#[derive(Debug)]
pub struct Inbox<T> {
    head: AtomicPtr<Node<T>>,
    /// Raised by the owner before it blocks; a pusher that sees it wakes the owner.
    sleeping: AtomicBool,
}

// SAFETY: items move between threads, one at a time; nothing is shared (obligations 1, 2).
unsafe impl<T: Send> Send for Inbox<T> {}
// SAFETY: as above; every method is safe to call from any thread.
unsafe impl<T: Send> Sync for Inbox<T> {}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Inbox { head: AtomicPtr::new(ptr::null_mut()), sleeping: AtomicBool::new(false) }
    }
}

/// An item in its node, allocated ahead of a push that must be short.
pub struct Prepared<T>(Box<Node<T>>);

impl<T> Prepared<T> {
    /// Puts `item` into a node.
    pub fn new(item: T) -> Self {
        Prepared(Box::new(Node { item, next: ptr::null_mut() }))
    }

    /// The item, to be completed before the push.
    pub fn item_mut(&mut self) -> &mut T {
        &mut self.0.item
    }
}

impl<T> Inbox<T> {
    /// Pushes an item. Ordered before everything the pusher does afterwards.
    pub fn push(&self, item: T) {
        self.push_prepared(Prepared::new(item));
    }

    /// [`Inbox::push`] without the allocation.
    pub fn push_prepared(&self, prepared: Prepared<T>) {
        let node = Box::into_raw(prepared.0);
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: `node` is ours until the exchange succeeds (obligation 1).
            unsafe { (*node).next = head };
            match self.head.compare_exchange_weak(head, node, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes everything, oldest first, onto the end of `out`.
    pub fn take(&self, out: &mut impl Extend<T>) {
        let mut node = self.head.swap(ptr::null_mut(), Ordering::SeqCst);
        let mut reversed: *mut Node<T> = ptr::null_mut();
        while !node.is_null() {
            // SAFETY: the swap made the whole list ours (obligation 2).
            let next = unsafe { std::mem::replace(&mut (*node).next, reversed) };
            reversed = node;
            node = next;
        }
        while !reversed.is_null() {
            // SAFETY: each node was boxed by `push` and is taken apart once (obligations 1, 2).
            let boxed = unsafe { Box::from_raw(reversed) };
            reversed = boxed.next;
            out.extend(std::iter::once(boxed.item));
        }
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::SeqCst).is_null()
    }

    /// Says that the owner is about to block. False when something waits already: do not block.
    pub fn sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.is_empty() {
            return true;
        }
        self.awake();
        false
    }

    /// Says that the owner no longer blocks.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// After a push: true when the owner blocks and the caller is the one to wake it.
    pub fn claim_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst)
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        let mut rest = Vec::new();
        self.take(&mut rest);
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn keeps_each_pushers_order_and_loses_nothing() {
        let inbox = Arc::new(Inbox::default());
        let pushers: Vec<_> = (0..4u32)
            .map(|p| {
                let inbox = Arc::clone(&inbox);
                std::thread::spawn(move || (0..10_000u32).for_each(|i| inbox.push((p, i))))
            })
            .collect();
        let mut seen = Vec::new();
        while seen.len() < 40_000 {
            inbox.take(&mut seen);
            std::thread::yield_now();
        }
        pushers.into_iter().for_each(|p| p.join().unwrap());
        for p in 0..4 {
            let order: Vec<u32> = seen.iter().filter(|s| s.0 == p).map(|s| s.1).collect();
            assert_eq!(order, (0..10_000).collect::<Vec<_>>());
        }
        assert!(inbox.is_empty());
    }

    #[test]
    fn sleep_is_refused_when_something_waits() {
        let inbox = Inbox::default();
        assert!(inbox.sleep());
        inbox.push(1);
        assert!(inbox.claim_wake());
        assert!(!inbox.claim_wake());
        assert!(!inbox.sleep());
    }
}
