//! Two or three shards under concurrent pipelining clients: what the clients see is linearizable,
//! program order within each connection included, and every request is answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use shuttle::thread;

use crate::history::{Record, is_linearizable};
use crate::shard::{Fault, Op, Shard, Socket, World};
use crate::support::{draw, fails, holds};

/// What clients ask for.
#[derive(Clone, Copy)]
struct Plan {
    shards: usize,
    clients: usize,
    /// Most batches of a client; it may send one before the last is answered.
    batches: usize,
    /// Most requests of a batch.
    requests: usize,
    /// One multi-key request of two is a lease.
    leases: bool,
}

const BATCHES: Plan = Plan { shards: 2, clients: 3, batches: 2, requests: 2, leases: false };
const THREE: Plan = Plan { shards: 3, clients: 3, batches: 2, requests: 2, leases: false };
const LEASES: Plan = Plan { shards: 3, clients: 3, batches: 2, requests: 2, leases: true };

fn request(plan: Plan, name: u64) -> Op {
    let from = draw(plan.shards);
    let count = if draw(2) == 0 { 1 } else { 2 + draw(plan.shards - 1) };
    let write = draw(2) == 0;
    let keys = (0..count).map(|i| ((from + i) % plan.shards, write.then_some(name))).collect();
    Op { keys, lease: plan.leases && draw(2) == 0 }
}

/// One client's life; its operations in program order.
fn client(
    plan: Plan,
    me: usize,
    clock: &AtomicU64,
    socket: &Socket,
    wake: impl Fn(),
) -> Vec<Record> {
    let now = || clock.fetch_add(1, Ordering::Relaxed);
    let mut sent: Vec<Record> = Vec::new();
    let mut answered = 0;
    let batches = 1 + draw(plan.batches);
    for batch in 0..batches {
        let ops = (0..=draw(plan.requests)).map(|i| {
            let name = (100 * me + 10 * batch + i + 1) as u64;
            request(plan, name)
        });
        let ops: Vec<Op> = ops.collect();
        let asked = now();
        let record = |op: &Op| Record { keys: op.keys.clone(), reads: vec![], asked, answered: 0 };
        sent.extend(ops.iter().map(record));
        socket.requests.lock().unwrap().extend(ops);
        wake();
        if batch + 1 < batches && draw(2) == 0 {
            continue;
        }
        while answered < sent.len() {
            let replies = std::mem::take(&mut *socket.replies.lock().unwrap());
            if replies.is_empty() {
                socket.answered.wait();
            }
            for reads in replies {
                sent[answered].reads = reads;
                sent[answered].answered = now();
                answered += 1;
            }
        }
    }
    sent
}

fn serve(plan: Plan, fault: Fault) {
    let world = Arc::new(World::new(plan.shards, plan.clients, fault));
    let clock = Arc::new(AtomicU64::new(1));
    let history = Arc::new(Mutex::new(vec![Vec::new(); plan.clients]));
    let mut sockets = vec![Vec::new(); plan.shards];
    let mut threads = Vec::new();
    for me in 0..plan.clients {
        let home = draw(plan.shards);
        let socket = Arc::new(Socket::default());
        sockets[home].push(Arc::clone(&socket));
        let (world, clock) = (Arc::clone(&world), Arc::clone(&clock));
        let history = Arc::clone(&history);
        threads.push(thread::spawn(move || {
            let seen = client(plan, me, &clock, &socket, || world.events[home].wake());
            history.lock().unwrap()[me] = seen;
            if world.open.fetch_sub(1, shuttle::sync::atomic::Ordering::SeqCst) == 1 {
                world.events.iter().for_each(|event| event.wake());
            }
        }));
    }
    for (id, sockets) in sockets.into_iter().enumerate() {
        let world = Arc::clone(&world);
        threads.push(thread::spawn(move || Shard::new(id, world, sockets).serve()));
    }
    threads.into_iter().for_each(|t| t.join().unwrap());
    let history = history.lock().unwrap();
    assert!(is_linearizable(&history, plan.shards), "not linearizable: {:#?}", *history);
}

#[test]
fn batches_over_two_shards_are_linearizable() {
    holds(|| serve(BATCHES, Fault::None));
}

#[test]
fn batches_over_three_shards_are_linearizable() {
    holds(|| serve(THREE, Fault::None));
}

#[test]
fn leases_among_batches_are_linearizable_and_end() {
    holds(|| serve(LEASES, Fault::None));
}

/// The copy in which two of the faults are planted is sound without them.
#[test]
fn the_copied_push_is_linearizable() {
    holds(|| serve(BATCHES, Fault::Copied));
    holds(|| serve(LEASES, Fault::Copied));
}

fn is_seen(plan: Plan, fault: Fault) {
    fails("not linearizable", move || serve(plan, fault));
}

#[test]
fn publishing_before_the_last_push_is_caught() {
    is_seen(BATCHES, Fault::PublishedEarly);
}

#[test]
fn pushing_an_entry_outside_the_lock_is_caught() {
    is_seen(BATCHES, Fault::PushedUnlocked);
}

#[test]
fn leases_pushed_outside_the_lock_deadlock() {
    let all = Plan { clients: 2, batches: 1, requests: 1, ..LEASES };
    fails("deadlock", move || serve(all, Fault::PushedUnlocked));
}

#[test]
fn loading_published_after_the_take_is_caught() {
    is_seen(BATCHES, Fault::PublishedAfterTake);
}

#[test]
fn ignoring_published_is_caught() {
    is_seen(BATCHES, Fault::PublishedIgnored);
}

#[test]
fn overtaking_an_unpublished_entry_is_caught() {
    is_seen(BATCHES, Fault::NoWaitBehind);
}

#[test]
fn reaping_after_the_take_is_caught() {
    is_seen(BATCHES, Fault::ReapedAfterTake);
}

#[test]
fn own_requests_before_the_inbox_are_caught() {
    is_seen(BATCHES, Fault::OwnFirst);
}

#[test]
fn local_execution_while_a_batch_is_in_flight_is_caught() {
    is_seen(BATCHES, Fault::LocalInFlight);
}

#[test]
fn a_plain_push_elsewhere_while_in_flight_is_caught() {
    is_seen(THREE, Fault::PlainElsewhere);
}

#[test]
fn a_coordinator_that_pauses_deadlocks() {
    fails("deadlock", || serve(LEASES, Fault::CoordinatingPaused));
}

#[test]
fn a_shard_that_sleeps_on_its_inbox_deadlocks() {
    fails("deadlock", || serve(BATCHES, Fault::SleepsAnyway));
}
