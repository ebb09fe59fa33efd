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
enum Plan {
    /// Requests drawn at random.
    Drawn(Draw),
    /// Few requests among which a fault that shows seldom shows often.
    Script(usize, &'static [Client]),
}

#[derive(Clone, Copy)]
struct Draw {
    shards: usize,
    clients: usize,
    /// Most batches of a client; it may send one before the last is answered.
    batches: usize,
    /// Most requests of a batch.
    requests: usize,
    leases: Leases,
}

/// Which requests over several shards are leases.
#[derive(Clone, Copy)]
enum Leases {
    None,
    Half,
    All,
}

/// A client's shard and batches: of each request its keys, and whether it writes them.
type Client = (usize, &'static [&'static [(&'static [usize], bool)]]);

const DRAW: Draw = Draw { shards: 2, clients: 3, batches: 2, requests: 2, leases: Leases::None };
const BATCHES: Plan = Plan::Drawn(DRAW);
const THREE: Plan = Plan::Drawn(Draw { shards: 3, ..DRAW });
const LEASES: Plan = Plan::Drawn(Draw { shards: 3, leases: Leases::Half, ..DRAW });
/// Single requests, one behind the other.
const STREAMS: Plan = Plan::Drawn(Draw { clients: 2, batches: 4, requests: 1, ..DRAW });
/// Two coordinators.
const TWO_LEASES: Plan =
    Plan::Drawn(Draw { clients: 2, batches: 1, requests: 1, leases: Leases::All, ..DRAW });
/// Who asks after an entry was seen elsewhere sees it.
const SEEN: Plan = Plan::Script(
    2,
    &[(1, &[&[(&[0, 1], true)]]), (1, &[&[(&[1], false)]]), (0, &[&[(&[0], false)]])],
);
/// The same, asked from elsewhere.
const SEEN_AFAR: Plan =
    Plan::Script(2, &[(1, &[&[(&[0, 1], true)]]), (1, &[&[(&[1], false)], &[(&[0], false)]])]);
/// Who sees the later of two pipelined writes sees the earlier.
const PIPELINED: Plan =
    Plan::Script(3, &[(2, &[&[(&[0], true)], &[(&[1], true)]]), (1, &[&[(&[0, 1], false)]])]);

impl Plan {
    fn shards(self) -> usize {
        match self {
            Plan::Drawn(draw) => draw.shards,
            Plan::Script(shards, _) => shards,
        }
    }

    fn clients(self) -> usize {
        match self {
            Plan::Drawn(draw) => draw.clients,
            Plan::Script(_, clients) => clients.len(),
        }
    }

    /// The shard of client `me`, and its batches.
    fn client(self, me: usize) -> (usize, Vec<Vec<Op>>) {
        let mut name = 100 * me as u64;
        match self {
            Plan::Drawn(plan) => {
                let mut batch = || {
                    let ops = (0..=draw(plan.requests)).map(|_| {
                        name += 1;
                        plan.request(name)
                    });
                    ops.collect()
                };
                let batches = (0..=draw(plan.batches)).map(|_| batch()).collect();
                (draw(plan.shards), batches)
            }
            Plan::Script(_, clients) => {
                let (home, batches) = clients[me];
                let mut request = |&(keys, write): &(&[usize], bool)| {
                    name += 1;
                    let keys = keys.iter().map(|k| (*k, write.then_some(name))).collect();
                    Op { keys, lease: false }
                };
                (home, batches.iter().map(|b| b.iter().map(&mut request).collect()).collect())
            }
        }
    }
}

impl Draw {
    fn request(self, name: u64) -> Op {
        let from = draw(self.shards);
        let count = if draw(2) == 0 { 1 } else { 2 + draw(self.shards - 1) };
        let write = draw(2) == 0;
        let keys = (0..count).map(|i| ((from + i) % self.shards, write.then_some(name))).collect();
        let lease = match self.leases {
            Leases::None => false,
            Leases::Half => draw(2) == 0,
            Leases::All => true,
        };
        Op { keys, lease }
    }
}

/// One client's life; its operations in program order.
fn client(
    batches: Vec<Vec<Op>>,
    clock: &AtomicU64,
    socket: &Socket,
    wake: impl Fn(),
) -> Vec<Record> {
    let now = || clock.fetch_add(1, Ordering::Relaxed);
    let mut sent: Vec<Record> = Vec::new();
    let mut answered = 0;
    let last = batches.len() - 1;
    for (batch, ops) in batches.into_iter().enumerate() {
        let asked = now();
        let record = |op: &Op| Record { keys: op.keys.clone(), reads: vec![], asked, answered: 0 };
        sent.extend(ops.iter().map(record));
        socket.requests.lock().unwrap().extend(ops);
        wake();
        if batch < last && draw(2) == 0 {
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
    let world = Arc::new(World::new(plan.shards(), plan.clients(), fault));
    let clock = Arc::new(AtomicU64::new(1));
    let history = Arc::new(Mutex::new(vec![Vec::new(); plan.clients()]));
    let mut sockets = vec![Vec::new(); plan.shards()];
    let mut threads = Vec::new();
    for me in 0..plan.clients() {
        let (home, batches) = plan.client(me);
        let socket = Arc::new(Socket::default());
        sockets[home].push(Arc::clone(&socket));
        let (world, clock) = (Arc::clone(&world), Arc::clone(&clock));
        let history = Arc::clone(&history);
        threads.push(thread::spawn(move || {
            let seen = client(batches, &clock, &socket, || world.events[home].wake());
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
    assert!(is_linearizable(&history, plan.shards()), "not linearizable: {:#?}", *history);
}

#[test]
fn batches_over_two_shards_are_linearizable() {
    holds(|| serve(BATCHES, Fault::None));
    holds(|| serve(STREAMS, Fault::None));
    holds(|| serve(SEEN, Fault::None));
    holds(|| serve(SEEN_AFAR, Fault::None));
    holds(|| serve(PIPELINED, Fault::None));
}

#[test]
fn batches_over_three_shards_are_linearizable() {
    holds(|| serve(THREE, Fault::None));
}

#[test]
fn leases_among_batches_are_linearizable_and_end() {
    holds(|| serve(LEASES, Fault::None));
    holds(|| serve(TWO_LEASES, Fault::None));
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
    fails("deadlock", || serve(TWO_LEASES, Fault::PushedUnlocked));
}

#[test]
fn loading_published_before_the_reap_is_caught() {
    is_seen(SEEN, Fault::PublishedBeforeReap);
}

/// What `published` must not miss is what a reaped request may have been caused by; on which side
/// of the take it is loaded makes no difference. An entry taken before and published behind the
/// take stands in every inbox too, and this turn's own requests, executed behind it, may as well
/// have their moment behind its store: whatever was pushed here since is executed later still.
#[test]
fn loading_published_after_the_take_is_sound() {
    holds(|| serve(BATCHES, Fault::PublishedAfterTake));
    holds(|| serve(SEEN, Fault::PublishedAfterTake));
    holds(|| serve(SEEN_AFAR, Fault::PublishedAfterTake));
    holds(|| serve(LEASES, Fault::PublishedAfterTake));
}

#[test]
fn ignoring_published_is_caught() {
    is_seen(BATCHES, Fault::PublishedIgnored);
}

#[test]
fn overtaking_an_unpublished_entry_is_caught() {
    is_seen(SEEN_AFAR, Fault::NoWaitBehind);
}

#[test]
fn reaping_after_the_take_is_caught() {
    is_seen(SEEN, Fault::ReapedAfterTake);
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
    is_seen(PIPELINED, Fault::PlainElsewhere);
}

#[test]
fn a_coordinator_that_pauses_deadlocks() {
    fails("deadlock", || serve(LEASES, Fault::CoordinatingPaused));
}

#[test]
fn a_shard_that_sleeps_on_its_inbox_deadlocks() {
    fails("deadlock", || serve(BATCHES, Fault::SleepsAnyway));
}
