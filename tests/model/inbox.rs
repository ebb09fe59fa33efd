//! The inbox: nothing is lost, each pusher's order is kept, and nobody sleeps on a message.

use std::sync::Arc;

use ringstone::shard::inbox::Inbox;
use shuttle::thread;

use crate::support::{Event, fails, holds};

const PUSHERS: usize = 3;
const EACH: usize = 3;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Blocks whatever the second look saw.
    NoSecondLook,
    /// Looks, and only then says that it blocks.
    LookFirst,
    /// Asks whether the owner blocks before the push can be seen.
    WakeBeforePush,
}

fn push(inbox: &Inbox<(usize, usize)>, event: &Event, item: (usize, usize), fault: Fault) {
    if fault == Fault::WakeBeforePush {
        let wake = inbox.claim_wake();
        inbox.push(item);
        if wake {
            event.wake();
        }
        return;
    }
    inbox.push(item);
    if inbox.claim_wake() {
        event.wake();
    }
}

fn may_block(inbox: &Inbox<(usize, usize)>, fault: Fault) -> bool {
    match fault {
        Fault::NoSecondLook => {
            // What `sleep` would do without it: it takes its word back only if it looks.
            let _ = inbox.sleep();
            true
        }
        Fault::LookFirst => {
            let empty = inbox.is_empty();
            thread::yield_now();
            let _ = inbox.sleep();
            empty
        }
        _ => inbox.sleep(),
    }
}

fn inbox(fault: Fault) {
    let inbox = Arc::new(Inbox::default());
    let event = Arc::new(Event::default());
    let pushers = (0..PUSHERS).map(|p| {
        let (inbox, event) = (Arc::clone(&inbox), Arc::clone(&event));
        thread::spawn(move || (0..EACH).for_each(|i| push(&inbox, &event, (p, i), fault)))
    });
    let pushers: Vec<_> = pushers.collect();
    let mut seen = Vec::new();
    while seen.len() < PUSHERS * EACH {
        inbox.take(&mut seen);
        if seen.len() < PUSHERS * EACH && may_block(&inbox, fault) {
            event.wait();
            inbox.awake();
        }
    }
    pushers.into_iter().for_each(|p| p.join().unwrap());
    for pusher in 0..PUSHERS {
        let order: Vec<usize> = seen.iter().filter(|s| s.0 == pusher).map(|s| s.1).collect();
        assert_eq!(order, (0..EACH).collect::<Vec<_>>());
    }
    assert!(inbox.is_empty());
}

#[test]
fn the_inbox_loses_neither_messages_nor_wakes() {
    holds(|| inbox(Fault::None));
}

#[test]
fn sleeping_without_a_second_look_is_caught() {
    fails("deadlock", || inbox(Fault::NoSecondLook));
    fails("deadlock", || inbox(Fault::LookFirst));
}

#[test]
fn waking_before_the_push_is_caught() {
    fails("deadlock", || inbox(Fault::WakeBeforePush));
}
