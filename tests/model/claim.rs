//! The claim of a client that waits for keys: exactly one serves it, or nobody does.
//!
//! Clients of one shard, the *home*, wait for two keys of two other shards, the *owners*. Elements
//! are pushed to both keys while the home gives up for its clients: their time is over, somebody
//! unblocks them, their peer ends the stream, their connection breaks. The queues, the claims, the
//! inboxes and the order are the real ones; `Owner::serve` mirrors `Surroundings::serve_key` and
//! `Ctx::claim`, the home mirrors `Shard::{served, stop_waiting, give_up, drop_wait, forget_here}`.
//! Behind every schedule:
//!
//! 1. Every element stands in its list or has been given to one client; one that was on its way to
//!    a client whose connection broke is gone with it.
//! 2. A client has one answer; one that was told that it waited in vain is given nothing, ever.
//! 3. No client stands in any queue any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Plain};

use ringstone::keyspace::waiting::{Claim, Ticket, Waiter, Waiting};
use ringstone::shard::Order;
use ringstone::value::object::Type;
use shuttle::sync::atomic::{AtomicU8, Ordering};
use shuttle::thread;

use crate::support::{Event, draw, fails, holds};

const HOME: usize = 0;
const OWNERS: usize = 2;
const CLIENTS: usize = 2;
/// Elements pushed to each key, at most.
const PUSHES: usize = 2;
const KEYS: [&[u8]; OWNERS] = [b"a", b"b"];

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// `take` looks, and stores behind that.
    TornTake,
    /// `leave` succeeds whoever has taken the claim.
    LeavesTaken,
    /// An owner only looks whether a client waits still, and takes nothing.
    NotTaken,
    /// The element leaves its list before the claim is taken.
    PopsFirst,
    /// A client is told that it waited in vain though somebody serves it.
    AnswersTwice,
    /// The other owners are not told that a client has its answer.
    NotForgotten,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const GONE: u8 = 2;

enum Message {
    /// A client's element, from this owner.
    Served(usize, u64, usize),
    Forget(Ticket),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Element(u64),
    InVain,
}

struct World {
    order: Order<Message>,
    event: Arc<Event>,
    waiters: Vec<Arc<Waiter>>,
    /// In the place of the real claims where these are to be at fault.
    plain: Vec<AtomicU8>,
    fault: Fault,
    /// Claims that were taken or left, by client.
    decided: Vec<AtomicUsize>,
}

impl World {
    fn claim(&self, client: usize) -> &Claim {
        &self.waiters[client].claim
    }

    fn is_waiting(&self, client: usize) -> bool {
        match self.fault {
            Fault::TornTake | Fault::LeavesTaken => {
                self.plain[client].load(Ordering::SeqCst) == WAITING
            }
            _ => self.claim(client).is_waiting(),
        }
    }

    fn turn(&self, client: usize, to: u8) -> bool {
        let (order, fail) = (Ordering::SeqCst, Ordering::SeqCst);
        self.plain[client].compare_exchange(WAITING, to, order, fail).is_ok()
    }

    fn take(&self, client: usize) -> bool {
        let taken = match self.fault {
            Fault::NotTaken => return self.is_waiting(client),
            Fault::TornTake => {
                let free = self.is_waiting(client);
                if free {
                    self.plain[client].store(TAKEN, Ordering::SeqCst);
                }
                free
            }
            Fault::LeavesTaken => self.turn(client, TAKEN),
            _ => self.claim(client).take(),
        };
        self.count(client, taken)
    }

    fn leave(&self, client: usize) -> bool {
        let left = match self.fault {
            Fault::TornTake => self.turn(client, GONE),
            Fault::LeavesTaken => self.plain[client].swap(GONE, Ordering::SeqCst) != GONE,
            _ => self.claim(client).leave(),
        };
        self.count(client, left)
    }

    fn count(&self, client: usize, had: bool) -> bool {
        if had {
            let before = self.decided[client].fetch_add(1, Plain::SeqCst);
            assert_eq!(before, 0, "a claim was had twice");
        }
        had
    }
}

/// A shard with a key that clients of the home wait for.
struct Owner {
    shard: usize,
    world: Arc<World>,
    waiting: Waiting,
    list: VecDeque<u64>,
    /// Elements that are still to be pushed.
    input: Vec<u64>,
}

impl Owner {
    fn key(&self) -> &'static [u8] {
        KEYS[self.shard - 1]
    }

    fn run(mut self) -> Owner {
        while !self.input.is_empty() {
            self.turn();
            thread::yield_now();
        }
        self.take_in();
        self
    }

    fn take_in(&mut self) {
        let mut taken = VecDeque::new();
        self.world.order.inbox(self.shard).take(&mut taken);
        for message in taken {
            match message {
                Message::Forget(ticket) => drop(self.waiting.forget(&ticket)),
                Message::Served(..) => unreachable!("an owner has no clients"),
            }
        }
    }

    fn turn(&mut self) {
        self.take_in();
        if draw(2) == 0 {
            let count = 1 + draw(self.input.len());
            for element in self.input.drain(..count) {
                self.list.push_back(element);
            }
            self.waiting.touch(0, self.key());
        }
        self.serve();
    }

    fn serve(&mut self) {
        let world = Arc::clone(&self.world);
        while let Some((db, key)) = self.waiting.next_ready() {
            let mut from = 0;
            while let Some((next, waiter)) = self.waiting.next(db, &key, from) {
                from = next;
                let client = waiter.ticket.index as usize;
                if !world.is_waiting(client) {
                    self.waiting.forget(&waiter.ticket);
                    continue;
                }
                if self.list.is_empty() {
                    break;
                }
                let early = (world.fault == Fault::PopsFirst).then(|| self.list.pop_front());
                if world.take(client) {
                    let element = early.flatten().or_else(|| self.list.pop_front());
                    let element = element.expect("there is one");
                    world.order.push(HOME, Message::Served(client, element, self.shard));
                }
                self.waiting.forget(&waiter.ticket);
            }
        }
    }
}

/// The shard of the clients.
struct Home {
    world: Arc<World>,
    /// Clients that wait, as `KeyWaits` knows them.
    waits: [bool; CLIENTS],
    /// Connections that are there.
    there: [bool; CLIENTS],
    answers: [Vec<Answer>; CLIENTS],
    /// Elements whose client had gone.
    gone: Vec<u64>,
}

impl Home {
    fn run(mut self) -> Home {
        let world = Arc::clone(&self.world);
        let mut tries = [true; CLIENTS];
        while self.waits.contains(&true) {
            self.take_in();
            let client = draw(CLIENTS);
            if tries[client] && self.waits[client] && draw(2) == 0 {
                tries[client] = draw(3) == 0 && self.waits[client];
                self.end(client);
            }
            // Who has tried and waits still is being served: nothing else is to come.
            let idle = (0..CLIENTS).all(|client| !self.waits[client] || !tries[client]);
            if idle && self.waits.contains(&true) && world.order.inbox(HOME).sleep() {
                world.event.wait();
                world.order.inbox(HOME).awake();
            } else {
                thread::yield_now();
            }
        }
        self
    }

    fn take_in(&mut self) {
        let mut taken = VecDeque::new();
        self.world.order.inbox(HOME).take(&mut taken);
        for message in taken {
            if let Message::Served(client, element, by) = message {
                self.served(client, element, by);
            }
        }
    }

    fn served(&mut self, client: usize, element: u64, by: usize) {
        if std::mem::take(&mut self.waits[client]) && self.world.fault != Fault::NotForgotten {
            self.forget(client, Some(by));
        }
        if !self.there[client] {
            self.gone.push(element);
            return;
        }
        self.answers[client].push(Answer::Element(element));
    }

    fn forget(&self, client: usize, but: Option<usize>) {
        for owner in (1..=OWNERS).filter(|owner| Some(*owner) != but) {
            self.world.order.push(owner, Message::Forget(self.world.waiters[client].ticket));
        }
    }

    fn stop_waiting(&mut self, client: usize) -> bool {
        let left = self.waits[client] && self.world.leave(client);
        if left {
            self.waits[client] = false;
            self.forget(client, None);
        }
        left
    }

    /// A client's time is over, or somebody unblocks it, or its peer has ended the stream: all
    /// three leave or wait for the answer. Or its connection has broken.
    fn end(&mut self, client: usize) {
        if draw(3) > 0 {
            if self.stop_waiting(client) || self.world.fault == Fault::AnswersTwice {
                self.answers[client].push(Answer::InVain);
            }
            return;
        }
        self.there[client] = false;
        if !self.stop_waiting(client) && std::mem::take(&mut self.waits[client]) {
            self.forget(client, None);
        }
    }
}

fn waiter(client: usize) -> Arc<Waiter> {
    Arc::new(Waiter {
        ticket: Ticket { home: HOME, index: client as u32, generation: 1, batch: 1 },
        claim: Arc::default(),
        db: 0,
        words: KEYS.iter().map(|key| key.to_vec()).collect(),
        keys: (0..OWNERS).collect(),
        wanted: usize::MAX,
        on: Type::List,
        hears_of_absence: false,
        together: false,
        quiet: false,
        resp3: false,
    })
}

fn claim(fault: Fault) {
    let order = Order::new(1 + OWNERS, 1);
    let event = Arc::new(Event::default());
    let waker = Arc::clone(&event);
    order.set_waker(HOME, Box::new(move || waker.wake()));
    (1..=OWNERS).for_each(|owner| order.set_waker(owner, Box::new(|| ())));
    let world = Arc::new(World {
        order,
        event,
        waiters: (0..CLIENTS).map(waiter).collect(),
        plain: (0..CLIENTS).map(|_| AtomicU8::new(WAITING)).collect(),
        fault,
        decided: (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect(),
    });
    let mut pushed = Vec::new();
    let owners = (1..=OWNERS).map(|shard| {
        let mut waiting = Waiting::default();
        let key = KEYS[shard - 1];
        world.waiters.iter().for_each(|waiter| waiting.register(waiter, std::iter::once(key)));
        let first = 10 * shard as u64;
        let input: Vec<u64> = (first..first + draw(PUSHES + 1) as u64).collect();
        pushed.extend(&input);
        let world = Arc::clone(&world);
        let owner = Owner { shard, world, waiting, list: VecDeque::new(), input };
        thread::spawn(move || owner.run())
    });
    let owners: Vec<_> = owners.collect();
    let home = Home {
        world: Arc::clone(&world),
        waits: [true; CLIENTS],
        there: [true; CLIENTS],
        answers: Default::default(),
        gone: Vec::new(),
    };
    let mut home = thread::spawn(move || home.run()).join().unwrap();
    let mut owners: Vec<Owner> = owners.into_iter().map(|owner| owner.join().unwrap()).collect();
    home.take_in();
    owners.iter_mut().for_each(Owner::take_in);
    judge(&home, &owners, &pushed);
}

fn judge(home: &Home, owners: &[Owner], pushed: &[u64]) {
    for (client, answers) in home.answers.iter().enumerate() {
        let there = usize::from(home.there[client]);
        assert!(answers.len() == there || there == 0, "client {client} was told {answers:?}");
        assert!(answers.len() <= 1, "client {client} was told {answers:?}");
    }
    let given = home.answers.iter().flatten().filter_map(|answer| match answer {
        Answer::Element(element) => Some(*element),
        Answer::InVain => None,
    });
    let kept = owners.iter().flat_map(|owner| owner.list.iter().copied());
    let mut all: Vec<u64> = given.chain(kept).chain(home.gone.iter().copied()).collect();
    all.sort_unstable();
    assert_eq!(all, pushed, "elements were lost or given twice");
    assert!(owners.iter().all(|owner| owner.waiting.is_empty()), "a client stands in a queue");
}

#[test]
fn one_serves_a_waiter_or_nobody_does() {
    holds(|| claim(Fault::None));
}

#[test]
fn a_claim_that_is_not_one_step_is_caught() {
    fails("a claim was had twice", || claim(Fault::TornTake));
}

#[test]
fn leaving_what_is_taken_is_caught() {
    fails("a claim was had twice", || claim(Fault::LeavesTaken));
}

#[test]
fn serving_without_the_claim_is_caught() {
    fails("was told", || claim(Fault::NotTaken));
}

#[test]
fn an_element_that_is_taken_before_the_claim_is_caught() {
    fails("lost or given twice", || claim(Fault::PopsFirst));
}

#[test]
fn an_answer_beside_the_one_under_way_is_caught() {
    fails("was told", || claim(Fault::AnswersTwice));
}

#[test]
fn places_that_nobody_frees_are_caught() {
    fails("stands in a queue", || claim(Fault::NotForgotten));
}
