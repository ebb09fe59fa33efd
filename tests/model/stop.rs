//! The stop: every shard stops, and none while anything is under way.
//!
//! Mirrors `tick::Tick::run` and `upkeep::Shard::has_stopped` over the real inboxes. A request is a
//! job for some shard, whose answer comes home; what clients still send when the stop has been
//! asked for arrives as the schedule says. The longest block of a real shard (a second) is left
//! out: the stop must not need it. The rules it rests on:
//!
//! 1. A shard that stops takes in no more requests, so what is under way only becomes less.
//! 2. It takes back that it is idle before it takes its inbox, and counts that, in this order.
//! 3. Nothing is under way when all are idle, all inboxes are empty, and nobody has counted since
//!    before the first of these looks. Without the count a message could move from an inbox not
//!    looked at yet, through a shard that is idle again, to one that was looked at before.
//! 4. That verdict is final, and a shard at rest that hears of it stops.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Plain};

use ringstone::shard::Order;
use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use shuttle::thread;

use crate::support::{Event, draw, fails, holds};

const SHARDS: usize = 3;
const REQUESTS: usize = 2;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// A shard that took messages still calls itself idle.
    IdleWhileTaking,
    /// Requests are taken in while the shard calls itself idle.
    ServesWhileIdle,
    /// The inboxes are not looked at.
    InboxesUnseen,
    /// Looks at the idle set twice instead of counting who took back that it is idle.
    Uncounted,
    /// Counts first, and then takes it back.
    CountedEarly,
}

#[derive(Clone, Copy, Debug)]
enum Message {
    /// To be answered to this shard, after this many more hops.
    Job(usize, usize),
    Done,
}

struct World {
    order: Order<Message>,
    events: Vec<Arc<Event>>,
    stop: AtomicBool,
    idle: AtomicU64,
    /// How often a shard took back that it is idle.
    woken: AtomicU64,
    stop_said: AtomicBool,
    fault: Fault,
    /// Requests taken in and not answered; what the protocol cannot see.
    open: AtomicUsize,
}

struct Shard {
    id: usize,
    world: Arc<World>,
    /// Clients' requests that have not been received.
    requests: usize,
    stopping: bool,
    fifo: VecDeque<Message>,
    replies: Vec<(usize, Message)>,
}

impl Shard {
    fn run(mut self) {
        let world = Arc::clone(&self.world);
        let inbox = world.order.inbox(self.id);
        loop {
            self.turn();
            if self.stopping && self.has_stopped() {
                return;
            }
            // Input that is there ends a block at once, so a shard with some does not block.
            if self.requests > 0 && self.receives() {
                thread::yield_now();
            } else if inbox.sleep() {
                world.events[self.id].wait();
                inbox.awake();
            }
        }
    }

    fn receives(&self) -> bool {
        !self.stopping || self.world.fault == Fault::ServesWhileIdle
    }

    fn turn(&mut self) {
        let world = Arc::clone(&self.world);
        let received = self.requests > 0 && self.receives() && draw(2) == 0;
        if self.stopping && world.fault != Fault::IdleWhileTaking {
            let early = world.fault == Fault::CountedEarly;
            if early {
                world.woken.fetch_add(1, Ordering::SeqCst);
            }
            world.idle.fetch_and(!(1 << self.id), Ordering::SeqCst);
            if !early {
                world.woken.fetch_add(1, Ordering::SeqCst);
            }
        }
        world.order.inbox(self.id).take(&mut self.fifo);
        for message in std::mem::take(&mut self.fifo) {
            match message {
                Message::Job(home, 0) => self.replies.push((home, Message::Done)),
                Message::Job(home, hops) => {
                    self.replies.push((draw(SHARDS), Message::Job(home, hops - 1)));
                }
                Message::Done => {
                    world.open.fetch_sub(1, Plain::SeqCst);
                }
            }
        }
        if received {
            self.requests -= 1;
            world.open.fetch_add(1, Plain::SeqCst);
            self.replies.push((draw(SHARDS), Message::Job(self.id, draw(2))));
        }
        for (shard, message) in std::mem::take(&mut self.replies) {
            world.order.push(shard, message);
        }
        self.stopping |= world.stop.load(Ordering::SeqCst);
    }

    /// At rest is what `is_at_rest` says: a turn leaves nothing behind here.
    fn has_stopped(&mut self) -> bool {
        let world = &self.world;
        world.idle.fetch_or(1 << self.id, Ordering::SeqCst);
        if world.stop_said.load(Ordering::SeqCst) {
            return true;
        }
        let woken = world.woken.load(Ordering::SeqCst);
        let all_idle = || world.idle.load(Ordering::SeqCst) == (1 << SHARDS) - 1;
        let empty = |s: usize| world.order.inbox(s).is_empty();
        let unseen = world.fault == Fault::InboxesUnseen;
        let all = all_idle()
            && (unseen || (0..SHARDS).all(empty))
            && match world.fault {
                Fault::Uncounted => all_idle(),
                _ => world.woken.load(Ordering::SeqCst) == woken,
            };
        if all {
            assert_eq!(world.open.load(Plain::SeqCst), 0, "stopped while something was under way");
            if !world.stop_said.swap(true, Ordering::SeqCst) {
                world.order.wake_all();
            }
        }
        all
    }
}

fn stop(fault: Fault) {
    let order = Order::new(SHARDS, 1);
    let events: Vec<_> = (0..SHARDS).map(|_| Arc::new(Event::default())).collect();
    for (shard, event) in events.iter().enumerate() {
        let event = Arc::clone(event);
        order.set_waker(shard, Box::new(move || event.wake()));
    }
    let world = Arc::new(World {
        order,
        events,
        stop: AtomicBool::new(false),
        idle: AtomicU64::new(0),
        woken: AtomicU64::new(0),
        stop_said: AtomicBool::new(false),
        fault,
        open: AtomicUsize::new(0),
    });
    let threads = (0..SHARDS).map(|id| {
        let world = Arc::clone(&world);
        let shard = Shard {
            id,
            world,
            requests: draw(REQUESTS + 1),
            stopping: false,
            fifo: VecDeque::new(),
            replies: Vec::new(),
        };
        thread::spawn(move || shard.run())
    });
    let threads: Vec<_> = threads.collect();
    world.stop.store(true, Ordering::SeqCst);
    world.order.wake_all();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(world.open.load(Plain::SeqCst), 0, "stopped while something was under way");
    assert!((0..SHARDS).all(|s| world.order.inbox(s).is_empty()));
}

#[test]
fn shards_stop_when_nothing_is_under_way() {
    holds(|| stop(Fault::None));
}

#[test]
fn calling_itself_idle_while_taking_is_caught() {
    fails("under way", || stop(Fault::IdleWhileTaking));
}

#[test]
fn serving_while_idle_is_caught() {
    fails("under way", || stop(Fault::ServesWhileIdle));
}

#[test]
fn not_looking_into_the_inboxes_is_caught() {
    fails("under way", || stop(Fault::InboxesUnseen));
}

#[test]
fn looking_at_the_idle_set_twice_is_not_enough() {
    fails("under way", || stop(Fault::Uncounted));
}

#[test]
fn counting_too_early_is_caught() {
    fails("under way", || stop(Fault::CountedEarly));
}
