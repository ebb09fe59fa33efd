//! Clients that wait for keys, and those that push elements for them: every element is somewhere,
//! and nowhere twice, and nobody waits for what is there.
//!
//! 1. At rest every client that is owed a reply has it; of those that wait without end none waits
//!    for a list that holds something; and who ends its stream is closed.
//! 2. At rest an element whose push was acknowledged is in a list or was given to one client. One
//!    whose client has gone without a word may be nowhere: one for each of those.
//! 3. Behind a crash an element that was given is in no list, and one that was acknowledged and not
//!    given is in one, but for those that were under way to a client.
//!
//! Elements are numbers that no other element of the schedule has. They lie in lists of their own,
//! and where there are such clients nobody removes a whole database.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::random::Random;
use crate::client::ConnKey;
use crate::shard::sim::client::{reply_len, words};
use crate::shard::sim::probe::Data;
use crate::shard::sim::tell;

/// Lists that are waited for.
const LISTS: u64 = 4;

/// What a client does.
#[derive(Clone, Debug)]
struct Popper {
    home: usize,
    key: ConnKey,
    /// What it waits for.
    command: Option<String>,
    received: Vec<u8>,
    /// It has ended its stream.
    leaves: bool,
}

/// A client that pushes, and unblocks others.
#[derive(Clone, Debug)]
struct Pusher {
    home: usize,
    key: ConnKey,
    /// Elements that the replies to come acknowledge.
    waiting: VecDeque<Vec<u64>>,
    received: Vec<u8>,
}

/// What is sent to a shard.
pub enum Sent {
    /// Bytes of a client.
    Bytes(usize, ConnKey, Vec<u8>),
    /// A new client.
    New(usize, ConnKey),
    /// It has ended its stream.
    Leaves(usize, ConnKey),
    /// It has gone.
    Gone(usize, ConnKey),
}

/// What is known of elements.
#[derive(Clone, Debug, Default)]
pub struct Elements {
    acknowledged: BTreeSet<u64>,
    given: BTreeSet<u64>,
    /// Clients that may have been given one of which they have not heard.
    unheard: usize,
}

/// All of them, in one process.
#[derive(Debug, Default)]
pub struct Waiters {
    poppers: Vec<Popper>,
    pusher: Option<Pusher>,
    /// What is known.
    pub elements: Elements,
    homes: usize,
}

fn list(random: &mut Random) -> String {
    format!("w{}", random.below(LISTS))
}

/// A command that may wait.
fn command(random: &mut Random) -> String {
    let time = ["0", "0", "0.01", "0.4"][random.below(4) as usize];
    let (one, two, three) = (list(random), list(random), list(random));
    match random.below(6) {
        0 => format!("BLPOP {one} {two} {three} {time}"),
        1 => format!("BLPOP {one} {time}"),
        2 => format!("BRPOP {one} {two} {time}"),
        3 => format!("BLMOVE {one} held LEFT RIGHT {time}"),
        4 => format!("BLMOVE {one} {two} RIGHT LEFT {time}"),
        _ => format!("BLMPOP {time} 2 {one} {two} LEFT"),
    }
}

fn encoded(text: &str) -> Vec<u8> {
    let words = words(text);
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n", word.len()).bytes().chain(word).chain(*b"\r\n"));
    }
    out
}

/// The elements that a text names.
fn elements(text: &str) -> impl Iterator<Item = u64> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter_map(|word| word.strip_prefix('e')?.parse().ok())
}

/// Elements by how often they are in a list.
fn held(data: &Data) -> BTreeMap<u64, usize> {
    let mut held = BTreeMap::new();
    let lists = data.iter().filter(|((_, key), _)| key.starts_with(b"w") || key == b"held");
    for (_, (value, _)) in lists {
        for element in elements(&String::from_utf8_lossy(value)) {
            *held.entry(element).or_default() += 1;
        }
    }
    held
}

impl Waiters {
    /// Some, in a process that begins with this.
    pub fn begin(shards: usize, base: &Data) -> Waiters {
        let mut elements = Elements::default();
        elements.acknowledged.extend(held(base).keys());
        Waiters { elements, homes: shards, ..Waiters::default() }
    }

    /// Somebody does something.
    pub fn act(
        &mut self,
        random: &mut Random,
        (conn, id): (&mut u32, &mut u64),
        out: &mut Vec<Sent>,
    ) {
        let mut fresh = || {
            *conn += 1;
            ConnKey { index: *conn - 1, generation: 1 }
        };
        let home = random.below(self.homes as u64) as usize;
        match random.below(10) {
            0..=1 if self.poppers.len() < 8 => {
                let (command, received, leaves) = Default::default();
                let popper = Popper { home, key: fresh(), command, received, leaves };
                out.push(Sent::New(home, popper.key));
                self.poppers.push(popper);
            }
            0..=5 => {
                let count = self.poppers.len().max(1) as u64;
                let some = random.below(count) as usize;
                let Some(popper) = self.poppers.get_mut(some).filter(|p| !p.leaves) else { return };
                if popper.command.is_none() {
                    let text = command(random);
                    tell(|| format!("waiter {} on {}: {text}", popper.key.index, popper.home));
                    out.push(Sent::Bytes(popper.home, popper.key, encoded(&text)));
                    popper.command = Some(text);
                } else if random.one_in(3) {
                    popper.leave(out);
                } else if random.one_in(12) {
                    let gone = self.poppers.swap_remove(some);
                    tell(|| format!("waiter {} has gone", gone.key.index));
                    self.elements.unheard += 1;
                    out.push(Sent::Gone(gone.home, gone.key));
                }
            }
            _ => {
                let pusher = self.pusher.get_or_insert_with(|| {
                    let key = fresh();
                    out.push(Sent::New(home, key));
                    let (waiting, received) = Default::default();
                    Pusher { home, key, waiting, received }
                });
                if pusher.waiting.len() < 12 {
                    let some = random.below(self.poppers.len().max(1) as u64) as usize;
                    let other = self.poppers.get(some).map(|p| p.key.index);
                    pusher.act(random, id, other, out);
                }
            }
        }
    }

    /// Everybody who waits ends its stream.
    pub fn all_leave(&mut self, out: &mut Vec<Sent>) {
        self.poppers.iter_mut().filter(|p| !p.leaves).for_each(|popper| popper.leave(out));
    }

    /// A client hears something; whether it is one of these.
    pub fn hears(&mut self, key: ConnKey, bytes: &[u8]) -> bool {
        if let Some(popper) = self.poppers.iter_mut().find(|p| p.key == key) {
            popper.received.extend_from_slice(bytes);
            popper.takes(&mut self.elements);
            return true;
        }
        let Some(pusher) = self.pusher.as_mut().filter(|p| p.key == key) else { return false };
        pusher.received.extend_from_slice(bytes);
        while let Some(len) = reply_len(&pusher.received) {
            let reply: Vec<u8> = pusher.received.drain(..len).collect();
            let pushed = pusher.waiting.pop_front().expect("a reply answers a request");
            tell(|| format!("pusher hears of {pushed:?}: {}", String::from_utf8_lossy(&reply)));
            if matches!(reply[0], b':' | b'*') && reply != b"*-1\r\n" {
                self.elements.acknowledged.extend(pushed);
            }
        }
        true
    }

    /// A client's connection is closed.
    pub fn closed(&mut self, key: ConnKey) {
        tell(|| format!("client {} is closed", key.index));
        self.poppers.retain(|popper| popper.key != key);
    }

    /// Everybody has been answered but those who wait without end.
    pub fn are_answered(&self) -> bool {
        let owed = |popper: &Popper| {
            popper.leaves || popper.command.as_ref().is_some_and(|text| !text.is_endless())
        };
        self.pusher.as_ref().is_none_or(|p| p.waiting.is_empty()) && !self.poppers.iter().any(owed)
    }

    /// Nobody is there any more who waits.
    pub fn have_gone(&self) -> bool {
        self.poppers.is_empty()
    }

    /// Everything is at rest: nobody waits for what is there, and every element is somewhere.
    pub fn check_at_rest(&self, data: &Data) {
        for popper in &self.poppers {
            let Some(command) = &popper.command else { continue };
            for name in command.waits_for() {
                let list = data.get(&(0, name.as_bytes().to_vec()));
                let list = list.map(|(value, _)| String::from_utf8_lossy(value).into_owned());
                assert!(list.is_none(), "{command} waits, and {name} is {list:?}");
            }
        }
        self.elements.check(data, 0);
    }

    /// What is known when the process ends.
    pub fn end(&mut self) -> Elements {
        let waiting = self.poppers.iter().filter(|p| p.command.is_some()).count();
        self.elements.unheard += waiting;
        self.elements.clone()
    }

    /// Who has not been answered.
    pub fn stuck(&self) -> String {
        format!("{:?} {:?}", self.poppers, self.pusher)
    }
}

trait Waits {
    fn is_endless(&self) -> bool;
    fn waits_for(&self) -> Vec<&str>;
}

impl Waits for String {
    fn is_endless(&self) -> bool {
        self.ends_with(" 0") || self.starts_with("BLMPOP 0 ")
    }

    fn waits_for(&self) -> Vec<&str> {
        let most = if self.starts_with("BLMOVE") { 1 } else { usize::MAX };
        self.split(' ').filter(|word| word.starts_with('w')).take(most).collect()
    }
}

impl Elements {
    /// Looks where they are; `other` more may be nowhere.
    pub fn check(&self, data: &Data, other: usize) {
        let held = held(data);
        let twice =
            held.iter().find(|(element, times)| **times > 1 || self.given.contains(element));
        assert!(twice.is_none(), "an element is in a list and somewhere else: {twice:?}");
        let there = |element: &&u64| held.contains_key(element) || self.given.contains(element);
        let nowhere: Vec<_> = self.acknowledged.iter().filter(|e| !there(e)).collect();
        assert!(nowhere.len() <= self.unheard + other, "elements are nowhere: {nowhere:?}");
    }
}

impl Popper {
    fn leave(&mut self, out: &mut Vec<Sent>) {
        tell(|| format!("waiter {} ends its stream", self.key.index));
        self.leaves = true;
        out.push(Sent::Leaves(self.home, self.key));
    }

    fn takes(&mut self, elements: &mut Elements) {
        while let Some(len) = reply_len(&self.received) {
            let reply: Vec<u8> = self.received.drain(..len).collect();
            let reply = String::from_utf8_lossy(&reply);
            let command = self.command.take().expect("a reply answers a request");
            tell(|| format!("waiter {} hears: {command} -> {reply:?}", self.key.index));
            // What was moved is in a list.
            if command.starts_with("BLMOVE") || reply.starts_with('-') {
                continue;
            }
            for element in self::elements(&reply) {
                assert!(elements.given.insert(element), "{element} is given twice");
            }
        }
    }
}

impl Pusher {
    fn act(&mut self, random: &mut Random, id: &mut u64, other: Option<u32>, out: &mut Vec<Sent>) {
        let mut push = |random: &mut Random, count: u64| {
            let side = ["RPUSH", "LPUSH"][random.below(2) as usize];
            let elements: Vec<u64> = (*id..*id + count).collect();
            *id += count;
            let names: Vec<String> = elements.iter().map(|n| format!("e{n}")).collect();
            (format!("{side} {} {}", list(random), names.join(" ")), elements)
        };
        let mut texts = Vec::new();
        match (random.below(8), other) {
            (0..=1, Some(other)) => {
                let how = ["TIMEOUT", "ERROR"][random.below(2) as usize];
                texts.push((format!("CLIENT UNBLOCK {other} {how}"), Vec::new()));
            }
            (2, _) => {
                texts.push(("MULTI".to_owned(), Vec::new()));
                let mut all = Vec::new();
                for _ in 0..1 + random.below(3) {
                    let (text, elements) = push(random, 1);
                    all.extend(elements);
                    texts.push((text, Vec::new()));
                }
                texts.push(("EXEC".to_owned(), all));
            }
            (3, _) => texts.push(push(random, 2)),
            _ => texts.extend((0..1 + random.below(2)).map(|_| push(random, 1))),
        }
        let mut bytes = Vec::new();
        for (text, elements) in texts {
            tell(|| format!("pusher {} on {}: {text}", self.key.index, self.home));
            bytes.extend(encoded(&text));
            self.waiting.push_back(elements);
        }
        out.push(Sent::Bytes(self.home, self.key, bytes));
    }
}
