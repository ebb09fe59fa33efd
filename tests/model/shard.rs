//! A shard in little: the turn, the dispatch of batches and the leases of `ringstone::shard`, over
//! the real [`Order`] and its inboxes. Values are numbers, sockets are queues, nothing is logged.
//!
//! | here | mirrors |
//! |---|---|
//! | `turn` | `tick::Tick::turn`, `core::Shard::end_turn` |
//! | `take_inbox`, `immediate`, `run_fifo`, `run_again` | the same in `core` |
//! | `consume` | `requests::Shard::{consume, requests, data}` |
//! | `dispatch`, `arrived` | the same in `batch` |
//! | `start_lease`, `grant`, `granted`, `come_home` | the same in `lease` |
//! | `advance` | `client::output::Output::advance` |
//!
//! What differs from the real turn is only what a [`Fault`] asks for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use ringstone::shard::Order;
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use shuttle::thread;

use crate::history::Keys;
use crate::support::Event;

/// A deviation from the rules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The rules.
    None,
    /// The rules, with entries pushed by the model's own copy of `Order::push_entry`, in which the
    /// next two are planted.
    Copied,
    /// `published` is stored in front of the last push.
    PublishedEarly,
    /// The pushes of an entry are made when the lock is gone.
    PushedUnlocked,
    /// `published` is loaded in front of the reap.
    PublishedBeforeReap,
    /// `published` is loaded behind the take: no fault, see `linear`.
    PublishedAfterTake,
    /// Taken entries are executed whatever `published` says.
    PublishedIgnored,
    /// What stands behind an entry that is not published is executed.
    NoWaitBehind,
    /// Requests are reaped behind the take.
    ReapedAfterTake,
    /// This turn's own requests are executed in front of the inbox.
    OwnFirst,
    /// A local command is executed at once while a batch is in flight.
    LocalInFlight,
    /// A batch for one shard is a plain message although another shard has one in flight.
    PlainElsewhere,
    /// Grants for leases coordinated here wait until the own FIFO goes on.
    CoordinatingPaused,
    /// Blocks whatever the second look at the inbox saw.
    SleepsAnyway,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Op {
    /// Its keys and what it writes; key `k` lives on shard `k % shards`.
    pub keys: Keys,
    /// It needs all keyspaces in one place.
    pub lease: bool,
}

/// A connection's two directions.
#[derive(Default)]
pub struct Socket {
    /// Requests on their way.
    pub requests: Mutex<VecDeque<Op>>,
    /// Replies on their way: the value each key had.
    pub replies: Mutex<VecDeque<Vec<u64>>>,
    /// A reply has come.
    pub answered: Event,
}

/// What shards share.
pub struct World {
    order: Order<Message>,
    /// One per shard.
    pub events: Vec<Arc<Event>>,
    /// Connections that have not ended.
    pub open: AtomicUsize,
    fault: Fault,
    next: Mutex<u64>,
    published: AtomicU64,
}

impl World {
    /// Shards that have not started.
    pub fn new(shards: usize, open: usize, fault: Fault) -> Self {
        let order = Order::new(shards, 1);
        let events: Vec<_> = (0..shards).map(|_| Arc::new(Event::default())).collect();
        for (shard, event) in events.iter().enumerate() {
            let event = Arc::clone(event);
            order.set_waker(shard, Box::new(move || event.wake()));
        }
        let open = AtomicUsize::new(open);
        World { order, events, open, fault, next: Mutex::new(1), published: AtomicU64::new(0) }
    }

    fn copies(&self) -> bool {
        matches!(self.fault, Fault::Copied | Fault::PublishedEarly | Fault::PushedUnlocked)
    }

    fn published(&self) -> u64 {
        if self.copies() { self.published.load(Ordering::SeqCst) } else { self.order.published() }
    }

    fn push_entry(&self, parts: Vec<(usize, Message)>) {
        if !self.copies() {
            self.order.push_entry(0, parts, Message::set_entry);
            return;
        }
        let mut guard = Some(self.next.lock().unwrap());
        let next = guard.as_mut().expect("just locked");
        let id = **next;
        **next += 1;
        if self.fault == Fault::PushedUnlocked {
            guard = None;
        }
        let last = parts.len() - 1;
        let shards: Vec<usize> = parts.iter().map(|p| p.0).collect();
        for (i, (shard, mut message)) in parts.into_iter().enumerate() {
            message.set_entry(id);
            if i == last && self.fault == Fault::PublishedEarly {
                self.published.store(id, Ordering::SeqCst);
            }
            self.order.inbox(shard).push(message);
        }
        self.published.fetch_max(id, Ordering::SeqCst);
        drop(guard);
        shards.into_iter().for_each(|shard| self.order.wake(shard));
    }
}

#[derive(Clone, Copy, Debug)]
struct ReplyTo {
    shard: usize,
    conn: usize,
    batch: u64,
    part: usize,
}

type Space = BTreeMap<usize, u64>;

/// What shards send each other; see `ringstone::shard::message`.
#[derive(Debug)]
enum Message {
    Job { entry: u64, to: ReplyTo, items: Vec<Keys> },
    Lease { entry: u64, coordinator: usize, lease: u64 },
    Done { to: ReplyTo, reads: Vec<Vec<u64>> },
    Grant { entry: u64, lease: u64, shard: usize, space: Space },
    Return { entry: u64, to: ReplyTo, space: Space },
    LeaseReleased { to: ReplyTo },
}

impl Message {
    fn set_entry(&mut self, id: u64) {
        match self {
            Message::Job { entry, .. } | Message::Lease { entry, .. } => *entry = id,
            _ => unreachable!("only these are entries"),
        }
    }
}

enum Push {
    Plain(usize, Message),
    Entry(Vec<(usize, Message)>),
}

enum Slot {
    Ready(Vec<u64>),
    Remote(Remote),
}

struct Remote {
    id: u64,
    missing: usize,
    /// Per command and key: part, item, place in the item.
    commands: Vec<Vec<(usize, usize, usize)>>,
    parts: Vec<Option<Vec<Vec<u64>>>>,
    /// The reply of a lease.
    lease: Option<Vec<u64>>,
}

#[derive(Default)]
struct Conn {
    socket: Arc<Socket>,
    input: VecDeque<Op>,
    slots: VecDeque<Slot>,
    targets: u64,
    blocked: bool,
}

impl Conn {
    fn has_remote(&self) -> bool {
        self.slots.iter().any(|s| matches!(s, Slot::Remote(_)))
    }

    fn advance(&mut self) {
        while let Some(slot) = self.slots.front() {
            if matches!(slot, Slot::Remote(remote) if remote.missing > 0) {
                return;
            }
            let mut out = self.socket.replies.lock().unwrap();
            match self.slots.pop_front() {
                Some(Slot::Ready(reads)) => out.push_back(reads),
                Some(Slot::Remote(remote)) => {
                    out.extend(remote.lease);
                    for command in &remote.commands {
                        let read = |&(part, item, place): &(usize, usize, usize)| {
                            remote.parts[part].as_ref().expect("the batch is complete")[item][place]
                        };
                        out.push_back(command.iter().map(read).collect());
                    }
                }
                None => return,
            }
            drop(out);
            self.socket.answered.wake();
        }
    }
}

#[derive(Default)]
struct Batch {
    parts: Vec<(usize, Vec<Keys>)>,
    commands: Vec<Vec<(usize, usize, usize)>>,
}

impl Batch {
    fn split(&mut self, keys: &Keys, shards: usize) {
        let mut places = Vec::new();
        let mut fresh: Vec<usize> = Vec::new();
        for &(key, write) in keys {
            let shard = key % shards;
            let part = match self.parts.iter().position(|p| p.0 == shard) {
                Some(part) => part,
                None => {
                    self.parts.push((shard, Vec::new()));
                    self.parts.len() - 1
                }
            };
            let items = &mut self.parts[part].1;
            if !fresh.contains(&part) {
                fresh.push(part);
                items.push(Vec::new());
            }
            let item = items.len() - 1;
            items[item].push((key, write));
            places.push((part, item, items[item].len() - 1));
        }
        self.commands.push(places);
    }
}

struct Lease {
    to: ReplyTo,
    keys: Keys,
    spaces: BTreeMap<usize, Space>,
    missing: usize,
}

/// One shard.
pub struct Shard {
    id: usize,
    shards: usize,
    world: Arc<World>,
    space: Option<Space>,
    conns: Vec<Conn>,
    waiting: VecDeque<Message>,
    fifo: VecDeque<Message>,
    paused: Option<u64>,
    leases: HashMap<u64, Lease>,
    next_name: u64,
    pushes: Vec<Push>,
    replies: Vec<(usize, Message)>,
    again: Vec<usize>,
    /// Kept back by [`Fault::CoordinatingPaused`].
    deferred: Vec<Message>,
}

fn run(space: &mut Space, keys: &Keys) -> Vec<u64> {
    let read = |&(key, write): &(usize, Option<u64>)| {
        let value = space.entry(key).or_default();
        let before = *value;
        *value = write.unwrap_or(before);
        before
    };
    keys.iter().map(read).collect()
}

impl Shard {
    /// A shard with these connections.
    pub fn new(id: usize, world: Arc<World>, sockets: Vec<Arc<Socket>>) -> Self {
        let conn = |socket| Conn { socket, ..Conn::default() };
        Shard {
            id,
            shards: world.order.shards(),
            world,
            space: Some(Space::new()),
            conns: sockets.into_iter().map(conn).collect(),
            waiting: VecDeque::new(),
            fifo: VecDeque::new(),
            paused: None,
            leases: HashMap::new(),
            next_name: 1,
            pushes: Vec::new(),
            replies: Vec::new(),
            again: Vec::new(),
            deferred: Vec::new(),
        }
    }

    /// Serves until every connection has ended.
    pub fn serve(mut self) {
        let world = Arc::clone(&self.world);
        while world.open.load(Ordering::SeqCst) > 0 {
            self.turn();
            let busy = !self.waiting.is_empty() || !self.again.is_empty() && self.paused.is_none();
            if busy {
                thread::yield_now();
            } else if world.order.inbox(self.id).sleep() || self.fault(Fault::SleepsAnyway) {
                world.events[self.id].wait();
                world.order.inbox(self.id).awake();
            }
        }
    }

    fn fault(&self, fault: Fault) -> bool {
        self.world.fault == fault
    }

    fn turn(&mut self) {
        let early = self.world.published();
        let mut received = Vec::new();
        if !self.fault(Fault::ReapedAfterTake) {
            received = self.reap();
        }
        self.take_inbox(early);
        if self.fault(Fault::ReapedAfterTake) {
            received = self.reap();
        }
        if !self.fault(Fault::OwnFirst) {
            self.run_fifo();
        }
        for (conn, ops) in received {
            self.conns[conn].input.extend(ops);
            self.consume(conn);
        }
        self.run_fifo();
        self.run_again();
        self.end_turn();
    }

    fn reap(&mut self) -> Vec<(usize, VecDeque<Op>)> {
        let take = |conn: &Conn| std::mem::take(&mut *conn.socket.requests.lock().unwrap());
        let all = self.conns.iter().map(take).enumerate();
        all.filter(|(_, ops)| !ops.is_empty()).collect()
    }

    fn take_inbox(&mut self, early: u64) {
        let mut published = self.world.published();
        let mut taken = std::mem::take(&mut self.waiting);
        self.world.order.inbox(self.id).take(&mut taken);
        match self.world.fault {
            Fault::PublishedBeforeReap => published = early,
            Fault::PublishedAfterTake => published = self.world.published(),
            Fault::PublishedIgnored => published = u64::MAX,
            _ => {}
        }
        let mut behind = false;
        for message in taken {
            let entry = match &message {
                Message::Job { entry, .. } | Message::Lease { entry, .. } => Some(*entry),
                _ => None,
            };
            let stops = behind && !self.fault(Fault::NoWaitBehind);
            match entry {
                Some(id) if stops || id > published => {
                    behind = true;
                    self.waiting.push_back(message);
                }
                Some(_) => self.fifo.push_back(message),
                None => self.immediate(message),
            }
        }
        if self.paused.is_none() {
            let deferred = std::mem::take(&mut self.deferred);
            deferred.into_iter().for_each(|message| self.immediate(message));
        }
    }

    fn immediate(&mut self, message: Message) {
        match message {
            Message::Job { .. } | Message::Lease { .. } => unreachable!("entries go to the FIFO"),
            Message::Done { to, reads } => self.arrived(to, |remote| {
                assert!(remote.parts[to.part].replace(reads).is_none(), "a part answers once");
            }),
            Message::Grant { entry, .. }
                if self.fault(Fault::CoordinatingPaused)
                    && self.paused.is_some_and(|by| by != entry) =>
            {
                self.deferred.push(message);
            }
            Message::Grant { entry, lease, shard, space } => {
                self.granted(entry, lease, shard, space);
            }
            Message::Return { entry, to, space } => self.come_home(entry, to, space),
            Message::LeaseReleased { to } => self.arrived(to, |_| ()),
        }
    }

    fn run_fifo(&mut self) {
        while self.paused.is_none() {
            match self.fifo.pop_front() {
                Some(Message::Job { to, items, .. }) => {
                    let space = self.space.as_mut().expect("the data is home");
                    let reads = items.iter().map(|keys| run(space, keys)).collect();
                    self.replies.push((to.shard, Message::Done { to, reads }));
                }
                Some(Message::Lease { entry, coordinator, lease }) => {
                    self.grant(entry, coordinator, lease);
                }
                Some(_) => unreachable!("only entries are queued"),
                None => break,
            }
        }
    }

    fn run_again(&mut self) {
        if self.paused.is_none() {
            for conn in std::mem::take(&mut self.again) {
                self.consume(conn);
            }
        }
    }

    fn end_turn(&mut self) {
        for push in std::mem::take(&mut self.pushes) {
            match push {
                Push::Plain(shard, message) => self.world.order.push(shard, message),
                Push::Entry(parts) => self.world.push_entry(parts),
            }
        }
        for (shard, message) in std::mem::take(&mut self.replies) {
            self.world.order.push(shard, message);
        }
        for conn in &mut self.conns {
            conn.advance();
            if !conn.has_remote() {
                conn.targets = 0;
            }
        }
    }

    fn consume(&mut self, at: usize) {
        if self.paused.is_some() {
            return self.again.push(at);
        }
        let mut batch: Option<Batch> = None;
        while let Some(op) = self.conns[at].input.front() {
            let conn = &self.conns[at];
            if conn.blocked {
                break;
            }
            let out = batch.is_some() || conn.has_remote();
            let targets = op.keys.iter().fold(0u64, |set, (key, _)| set | 1 << (key % self.shards));
            let here = targets == 1 << self.id;
            if op.lease && targets.count_ones() > 1 {
                if out {
                    break;
                }
                self.start_lease(at, targets);
            } else if here && (!out || self.fault(Fault::LocalInFlight)) {
                let space = self.space.as_mut().expect("the data is home");
                let reads = run(space, &op.keys);
                self.conns[at].slots.push_back(Slot::Ready(reads));
            } else {
                batch.get_or_insert_default().split(&op.keys, self.shards);
            }
            self.conns[at].input.pop_front();
        }
        if let Some(batch) = batch {
            self.dispatch(at, batch);
        }
    }

    fn dispatch(&mut self, at: usize, batch: Batch) {
        self.next_name += 1;
        let id = self.next_name;
        let conn = &mut self.conns[at];
        let targets = batch.parts.iter().fold(0u64, |set, p| set | 1 << p.0);
        let plain = (conn.targets | targets).count_ones() == 1;
        conn.targets |= targets;
        let shard = self.id;
        let parts = batch.parts.into_iter().enumerate().map(|(part, (target, items))| {
            let to = ReplyTo { shard, conn: at, batch: id, part };
            (target, Message::Job { entry: 0, to, items })
        });
        let parts: Vec<_> = parts.collect();
        let missing = parts.len();
        let remote = Remote {
            id,
            missing,
            commands: batch.commands,
            parts: (0..missing).map(|_| None).collect(),
            lease: None,
        };
        conn.slots.push_back(Slot::Remote(remote));
        if missing == 1 && (plain || self.fault(Fault::PlainElsewhere)) {
            self.pushes.extend(parts.into_iter().map(|(s, m)| Push::Plain(s, m)));
        } else {
            self.pushes.push(Push::Entry(parts));
        }
    }

    fn arrived(&mut self, to: ReplyTo, take: impl FnOnce(&mut Remote)) {
        let conn = &mut self.conns[to.conn];
        let remote = conn.slots.iter_mut().find_map(|slot| match slot {
            Slot::Remote(remote) if remote.id == to.batch => Some(remote),
            _ => None,
        });
        let remote = remote.expect("a batch lives until it is complete");
        take(remote);
        remote.missing -= 1;
        if remote.missing == 0 {
            conn.advance();
            if !conn.has_remote() {
                conn.targets = 0;
                conn.blocked = false;
                if !conn.input.is_empty() {
                    self.again.push(to.conn);
                }
            }
        }
    }

    fn start_lease(&mut self, at: usize, targets: u64) {
        self.next_name += 1;
        let lease = self.next_name;
        let to = ReplyTo { shard: self.id, conn: at, batch: lease, part: 0 };
        let missing = targets.count_ones() as usize;
        let conn = &mut self.conns[at];
        conn.blocked = true;
        conn.targets |= targets;
        let (commands, parts) = (Vec::new(), Vec::new());
        let remote = Remote { id: lease, missing, commands, parts, lease: None };
        conn.slots.push_back(Slot::Remote(remote));
        let keys = conn.input.front().expect("its request is being looked at").keys.clone();
        self.leases.insert(lease, Lease { to, keys, spaces: BTreeMap::new(), missing });
        let coordinator = self.id;
        let shards = (0..self.shards).filter(|s| targets >> s & 1 == 1);
        let parts = shards.map(|s| (s, Message::Lease { entry: 0, coordinator, lease })).collect();
        self.pushes.push(Push::Entry(parts));
    }

    fn grant(&mut self, entry: u64, coordinator: usize, lease: u64) {
        let space = self.space.take().expect("the FIFO runs only while the data is home");
        self.paused = Some(entry);
        if coordinator == self.id {
            self.granted(entry, lease, self.id, space);
        } else {
            let grant = Message::Grant { entry, lease, shard: self.id, space };
            self.replies.push((coordinator, grant));
        }
    }

    fn granted(&mut self, entry: u64, lease: u64, shard: usize, space: Space) {
        let held = self.leases.get_mut(&lease).expect("a lease lives until it has run");
        assert!(held.spaces.insert(shard, space).is_none(), "a shard grants once");
        held.missing -= 1;
        if held.missing > 0 {
            return;
        }
        let Lease { to, keys, mut spaces, .. } = self.leases.remove(&lease).expect("just found");
        let mut reads = Vec::new();
        for &(key, write) in &keys {
            let space = spaces.get_mut(&(key % self.shards)).expect("its shard is leased");
            reads.extend(run(space, &vec![(key, write)]));
        }
        for slot in &mut self.conns[to.conn].slots {
            if let Slot::Remote(remote) = slot
                && remote.id == to.batch
            {
                remote.lease = Some(std::mem::take(&mut reads));
            }
        }
        for (shard, space) in spaces {
            if shard == self.id {
                self.come_home(entry, to, space);
            } else {
                self.replies.push((shard, Message::Return { entry, to, space }));
            }
        }
    }

    fn come_home(&mut self, entry: u64, to: ReplyTo, space: Space) {
        assert_eq!(self.paused.take(), Some(entry), "a lease ends before the next begins");
        self.space = Some(space);
        self.replies.push((to.shard, Message::LeaseReleased { to }));
    }
}
