//! Release points: raw points pass entries in order, `settled` never names an entry that some
//! participant's raw point has not passed, and a shard that stands in front of a mark is told when
//! it settles.
//!
//! The order and the log writer are the real ones. `turn` and `move_release` mirror
//! `ringstone::shard::release`; the disk is a queue that completes when the schedule says so.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use ringstone::persist::disk::{Disk, DiskDone, DiskOp, FileId};
use ringstone::shard::Order;
use ringstone::shard::log::{FsyncPolicy, LogFile, LogWriter, Outcome};
use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use shuttle::thread;

use crate::support::{Event, draw, fails, holds};

const ENTRIES: usize = 3;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Says that it is stuck when it has looked for the last time.
    StuckLate,
    /// Says that it is stuck and does not look again.
    NoSecondLook,
    /// Looks for stuck shards and only then says how far it is.
    ToldEarly,
    /// Says nothing when its raw point moves.
    NeverTold,
    /// Calls an entry passed once it is executed.
    PassedUnwritten,
    /// None, with the model's own copy of `Order::settled`, in which the next two are planted.
    Copied,
    /// `published` is read behind the shards' words.
    PublishedLast,
    /// The word for what was last pushed is stored when the entry is published.
    PushedUnsaid,
}

#[derive(Clone, Copy, Debug)]
enum Message {
    /// A part of an entry, with its id and participants.
    Part(u64, u64),
    Settled,
}

/// What has truly happened, beside the words shards share.
#[derive(Default)]
struct Truth {
    /// Participants of each entry.
    entries: HashMap<u64, u64>,
    /// Shards whose raw point has passed it.
    passed: HashMap<u64, u64>,
}

struct World {
    order: Order<Message>,
    events: Vec<Arc<Event>>,
    truth: Mutex<Truth>,
    /// Parts whose marks have not been released.
    left: AtomicUsize,
    /// The copies' `last_pushed` and `passed`.
    words: Vec<(AtomicU64, AtomicU64)>,
    fault: Fault,
}

impl World {
    /// `Order::settled`, held against the truth.
    fn settled(&self) -> u64 {
        let settled = match self.fault {
            Fault::Copied | Fault::PushedUnsaid => self.copied_settled(self.order.published()),
            Fault::PublishedLast => self.copied_settled(u64::MAX).min(self.order.published()),
            _ => self.order.settled(),
        };
        let truth = self.truth.lock().unwrap();
        for (id, participants) in truth.entries.iter().filter(|(id, _)| **id <= settled) {
            let passed = truth.passed.get(id).copied().unwrap_or(0);
            assert_eq!(passed & participants, *participants, "entry {id} has not settled");
        }
        settled
    }

    fn copied_settled(&self, mut settled: u64) -> u64 {
        for (last_pushed, passed) in &self.words {
            let passed = passed.load(Ordering::SeqCst);
            if last_pushed.load(Ordering::SeqCst) > passed {
                settled = settled.min(passed);
            }
        }
        settled
    }

    fn pass(&self, shard: usize, id: u64) {
        self.order.pass(shard, id);
        self.words[shard].1.store(id, Ordering::SeqCst);
    }

    fn said(&self, participants: u64, id: u64) {
        for (shard, word) in self.words.iter().enumerate() {
            if participants >> shard & 1 == 1 {
                word.0.fetch_max(id, Ordering::SeqCst);
            }
        }
    }

    fn push_entry(&self, participants: u64) {
        let shards = (0..self.order.shards()).filter(|s| participants >> s & 1 == 1);
        let parts = shards.map(|s| (s, Message::Part(0, participants))).collect();
        let late = self.fault == Fault::PushedUnsaid;
        let id = self.order.push_entry(participants, parts, |message, id| {
            if let Message::Part(entry, participants) = message {
                *entry = id;
                if !late {
                    self.said(*participants, id);
                }
                self.truth.lock().unwrap().entries.insert(id, *participants);
            }
        });
        if late {
            self.said(participants, id);
        }
    }
}

#[derive(Default)]
struct Medium(VecDeque<(u64, DiskOp)>);

impl Disk for Medium {
    fn submit(&mut self, token: u64, op: DiskOp) {
        self.0.push_back((token, op));
    }
}

struct Shard {
    id: usize,
    world: Arc<World>,
    log: LogWriter,
    disk: Medium,
    waiting: VecDeque<Message>,
    replies: Vec<usize>,
    /// What is executed and not gathered; its end.
    effects: Vec<u8>,
    end: u64,
    /// Entries executed whose raw point has not been seen to pass: (id, end).
    executed: VecDeque<(u64, u64)>,
    /// Marks not released: position in front.
    marks: VecDeque<u64>,
    /// Participants of the entries this shard will push.
    to_push: Vec<u64>,
}

impl Shard {
    fn new(id: usize, world: Arc<World>, to_push: Vec<u64>) -> Self {
        let file = LogFile { id: FileId(id as u32), seed: 1, sum: 1, offset: 0 };
        let policy = if draw(2) == 0 { FsyncPolicy::Always } else { FsyncPolicy::No };
        Shard {
            id,
            world,
            log: LogWriter::new(policy, file, 0, 0),
            disk: Medium::default(),
            waiting: VecDeque::new(),
            replies: Vec::new(),
            effects: Vec::new(),
            end: 0,
            executed: VecDeque::new(),
            marks: VecDeque::new(),
            to_push,
        }
    }

    fn run(mut self) {
        let world = Arc::clone(&self.world);
        let inbox = world.order.inbox(self.id);
        while world.left.load(Ordering::SeqCst) > 0 {
            self.turn();
            if !self.waiting.is_empty() || !self.disk.0.is_empty() || !self.to_push.is_empty() {
                thread::yield_now();
            } else if inbox.sleep() {
                world.events[self.id].wait();
                inbox.awake();
            }
        }
    }

    fn turn(&mut self) {
        if draw(2) == 0
            && let Some((token, op)) = self.disk.0.pop_front()
        {
            let data = if let DiskOp::Write { data, .. } = op { data } else { Vec::new() };
            let done = DiskDone { token, result: Ok(None), data, sync_failed: false };
            assert_eq!(self.log.done(done, 0), Outcome::Quiet);
            self.move_release();
        }
        let published = self.world.order.published();
        let mut taken = std::mem::take(&mut self.waiting);
        self.world.order.inbox(self.id).take(&mut taken);
        let mut behind = false;
        for message in taken {
            match message {
                Message::Part(id, _) if behind || id > published => {
                    behind = true;
                    self.waiting.push_back(message);
                }
                Message::Part(id, participants) => self.execute(id, participants),
                Message::Settled => self.move_release(),
            }
        }
        // A write of this shard alone, so that frames end between and behind marks.
        if draw(3) == 0 && self.end < 20 {
            self.effects.push(b'w');
            self.end += 1;
        }
        if let Some(participants) = self.to_push.pop() {
            self.world.push_entry(participants);
        }
        for shard in std::mem::take(&mut self.replies) {
            self.world.order.push(shard, Message::Settled);
        }
        if self.log.is_free() && !self.effects.is_empty() {
            self.log.gather(std::mem::take(&mut self.effects));
        }
        self.log.pump(&mut self.disk, 0);
    }

    /// `execute::Shard::run_job`: a mark, then effects (or none).
    fn execute(&mut self, id: u64, participants: u64) {
        let at = self.end;
        let len = 1 + draw(2);
        self.effects.extend(std::iter::repeat_n(b'm', len));
        self.end += len as u64;
        assert!(participants >> self.id & 1 == 1);
        self.log.marked(id, at, 0);
        self.marks.push_back(at);
        self.log.executed(id, self.end);
        self.executed.push_back((id, self.end));
        if self.world.fault == Fault::PassedUnwritten {
            self.world.pass(self.id, id);
        }
        self.move_release();
    }

    /// `release::Shard::move_release`.
    fn move_release(&mut self) {
        let world = Arc::clone(&self.world);
        while self.executed.front().is_some_and(|e| e.1 <= self.log.raw()) {
            let (id, _) = self.executed.pop_front().expect("just looked");
            *world.truth.lock().unwrap().passed.entry(id).or_default() |= 1 << self.id;
        }
        if let Some(id) = self.log.passed() {
            let early: Vec<usize> = world.order.stuck(self.id).collect();
            if world.fault != Fault::PassedUnwritten {
                world.pass(self.id, id);
            }
            match world.fault {
                Fault::ToldEarly => self.replies.extend(early),
                Fault::NeverTold => {}
                _ => self.replies.extend(world.order.stuck(self.id)),
            }
        }
        self.log.advance(world.settled());
        if self.log.is_stuck() {
            match world.fault {
                Fault::StuckLate => {
                    self.log.advance(world.settled());
                    world.order.set_stuck(self.id, true);
                }
                Fault::NoSecondLook => world.order.set_stuck(self.id, true),
                _ => {
                    world.order.set_stuck(self.id, true);
                    self.log.advance(world.settled());
                }
            }
        }
        if !self.log.is_stuck() {
            world.order.set_stuck(self.id, false);
        }
        while self.marks.front().is_some_and(|at| *at < self.log.release()) {
            self.marks.pop_front();
            if world.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                world.events.iter().for_each(|event| event.wake());
            }
        }
    }
}

fn settle(shards: usize, fault: Fault) {
    let mut pushes = vec![Vec::new(); shards];
    let mut left = 0;
    for _ in 0..ENTRIES {
        // Two participants at least: all shards, or all but one.
        let all = (1u64 << shards) - 1;
        let but = if shards > 2 { draw(shards + 1) } else { shards };
        let participants = all & !(1 << but);
        left += participants.count_ones() as usize;
        pushes[draw(shards)].push(participants);
    }
    let order = Order::new(shards, 1);
    let events: Vec<_> = (0..shards).map(|_| Arc::new(Event::default())).collect();
    for (shard, event) in events.iter().enumerate() {
        let event = Arc::clone(event);
        order.set_waker(shard, Box::new(move || event.wake()));
    }
    let (truth, left) = (Mutex::default(), AtomicUsize::new(left));
    let words = (0..shards).map(|_| Default::default()).collect();
    let world = Arc::new(World { order, events, truth, left, words, fault });
    let threads = pushes.into_iter().enumerate().map(|(id, pushes)| {
        let world = Arc::clone(&world);
        thread::spawn(move || Shard::new(id, world, pushes).run())
    });
    let mut threads: Vec<_> = threads.collect();
    let observed = Arc::clone(&world);
    threads.push(thread::spawn(move || {
        (0..4).for_each(|_| _ = observed.settled());
    }));
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(world.settled(), ENTRIES as u64);
}

#[test]
fn what_settles_has_been_passed_and_is_told() {
    holds(|| settle(2, Fault::None));
    holds(|| settle(3, Fault::None));
}

#[test]
fn reading_published_last_is_caught() {
    holds(|| settle(2, Fault::Copied));
    fails("has not settled", || settle(2, Fault::PublishedLast));
}

#[test]
fn not_saying_what_is_pushed_is_caught() {
    fails("has not settled", || settle(2, Fault::PushedUnsaid));
}

#[test]
fn saying_stuck_after_the_last_look_is_caught() {
    fails("deadlock", || settle(2, Fault::StuckLate));
}

#[test]
fn not_looking_again_when_stuck_is_caught() {
    fails("deadlock", || settle(2, Fault::NoSecondLook));
}

#[test]
fn looking_for_stuck_shards_too_early_is_caught() {
    fails("deadlock", || settle(2, Fault::ToldEarly));
}

#[test]
fn telling_nobody_is_caught() {
    fails("deadlock", || settle(2, Fault::NeverTold));
}

#[test]
fn passing_what_is_not_written_is_caught() {
    fails("has not settled", || settle(2, Fault::PassedUnwritten));
}
