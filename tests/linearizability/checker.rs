//! Is there one order of all operations that respects what was seen to follow what, and in which
//! every answer is the one a single store would have given?
//!
//! Search after Wing and Gong with Lowe's memory of configurations. A client's operations stand in
//! program order, those of one pipeline included, so a configuration is how many operations of each
//! client have been placed, and the state reached. An operation may be placed next when no other
//! unplaced one had been answered before it was sent.
//!
//! Two things keep the search short, and neither loses an order:
//! 1. An operation that may be placed, whose answer fits and that changes nothing wherever it is
//!    placed with that answer (a read, an error, a refused EXEC), is placed at once: moving it to
//!    the front of any order that goes on from here breaks nothing. (A SET of what is there already
//!    is no such thing: at a later place it would undo something.)
//! 2. Where one of the next operations of a client reads a text whose maker has been placed and
//!    that no key holds any more, there is no order from here: a text names, in the tag at its end,
//!    the one operation that made it. The same where a watched key has been touched and the EXEC to
//!    come was carried out.
//!
//! Which operation is tried first is a guess, never a rule: the same client's next one, since
//! servers take pipelines as a whole, then the one answered first.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use ringstone::base::random::Random;

use super::model::{Answer, CLIENTS, Op, State, Text, Texts};

/// One operation as it was seen: sent and answered at these times (any unit, one clock).
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was asked.
    pub op: Op,
    /// What was answered.
    pub answer: Answer,
    /// When it was sent.
    pub sent: u64,
    /// When its answer was read.
    pub answered: u64,
}

/// Each client's operations in program order.
pub type History = Vec<Vec<Seen>>;

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none; at most so many operations could be placed.
    NotLinearizable(usize),
    /// Every search was given up after its bound of configurations; at most so many operations
    /// could be placed.
    Undecided(usize),
}

/// Most configurations that each search in a row may remember. How long a search takes has a heavy
/// tail (most histories need 20,000 configurations, one in a thousand needs millions), and a search
/// that guesses otherwise is rarely unlucky at the same place.
const CONFIGURATIONS_MAX: [usize; 6] =
    [300_000, 300_000, 600_000, 1_000_000, 2_000_000, 16_000_000];

type Placed = [u16; CLIENTS];

/// How far ahead of each client's place rule 2 looks, in operations.
const AHEAD: usize = 12;

/// A client and one of its operations.
type Place = (usize, usize);

struct Search<'a> {
    history: &'a History,
    texts: &'a mut Texts,
    seen: HashSet<(Placed, State)>,
    /// The texts that each operation read, each with the operation that made it.
    reads: Vec<Vec<Vec<(Text, Place)>>>,
    /// For each operation of a client: whether the next EXEC from it on was carried out.
    will_run: Vec<Vec<bool>>,
    best: usize,
    /// What the first search does not have: a guess is now and then left to chance.
    luck: Option<Random>,
}

/// Searches for an order.
pub fn check(history: &History, texts: &mut Texts) -> Verdict {
    assert!(history.len() <= CLIENTS);
    let makers = makers(history, texts);
    let reads = history.iter().map(|operations| {
        operations.iter().map(|seen| reads(&seen.answer, texts, &makers)).collect()
    });
    let (reads, will_run) = (reads.collect(), history.iter().map(|o| will_run(o)).collect());
    let (seen, best, luck) = (HashSet::new(), 0, None);
    let mut search = Search { history, texts, seen, reads, will_run, best, luck };
    for (attempt, most) in CONFIGURATIONS_MAX.into_iter().enumerate() {
        search.luck = (attempt > 0).then(|| Random::new(attempt as u64));
        if let Some(verdict) = search.run(most) {
            return verdict;
        }
    }
    Verdict::Undecided(search.best)
}

impl Search<'_> {
    /// One search; `None` when it was given up.
    fn run(&mut self, most: usize) -> Option<Verdict> {
        self.seen.clear();
        let mut stack = vec![([0; CLIENTS], State::default(), CLIENTS)];
        while let Some((placed, state, last)) = stack.pop() {
            let Some((placed, state)) = self.settle(placed, state) else { continue };
            let total: usize = placed.iter().map(|&n| usize::from(n)).sum();
            self.best = self.best.max(total);
            if total == self.history.iter().map(Vec::len).sum() {
                return Some(Verdict::Linearizable);
            }
            if !self.seen.insert((placed, state.clone())) {
                continue;
            }
            if self.seen.len() > most {
                return None;
            }
            self.branch(&placed, &state, last, &mut stack);
        }
        Some(Verdict::NotLinearizable(self.best))
    }
}

/// The tag at the end of a text, if it has one: everything from its last `v` on.
fn tag(text: &[u8]) -> Option<&[u8]> {
    memchr::memrchr(b'v', text).map(|at| &text[at..])
}

/// The operation that each tag belongs to.
fn makers(history: &History, texts: &Texts) -> HashMap<Rc<[u8]>, Place> {
    let mut makers = HashMap::new();
    for (client, operations) in history.iter().enumerate() {
        for (at, seen) in operations.iter().enumerate() {
            let mut brought = Vec::new();
            collect(&seen.op, &mut brought);
            for tag in brought.into_iter().filter_map(|text| tag(texts.get(text))) {
                let other = makers.insert(Rc::from(tag), (client, at));
                assert!(other.is_none_or(|o| o == (client, at)), "a tag of two operations");
            }
        }
    }
    makers
}

fn collect(op: &Op, brought: &mut Vec<Text>) {
    match op {
        Op::Set(_, text) | Op::Swap(_, text) | Op::Append(_, text) => brought.push(*text),
        Op::Mset(pairs) => brought.extend(pairs.iter().map(|p| p.1)),
        Op::Transaction(ops) => ops.iter().for_each(|op| collect(op, brought)),
        _ => {}
    }
}

fn reads(answer: &Answer, texts: &Texts, makers: &HashMap<Rc<[u8]>, Place>) -> Vec<(Text, Place)> {
    let made = |text: &Text| Some((*text, *makers.get(tag(texts.get(*text))?)?));
    match answer {
        Answer::Text(text) => made(text).into_iter().collect(),
        Answer::Texts(all) => all.iter().filter_map(made).collect(),
        Answer::All(all) => all.iter().flat_map(|a| reads(a, texts, makers)).collect(),
        _ => Vec::new(),
    }
}

fn will_run(operations: &[Seen]) -> Vec<bool> {
    let mut next = false;
    let from_the_back = operations.iter().rev().map(|seen| {
        if matches!(seen.op, Op::Transaction(_)) {
            next = seen.answer != Answer::Refused;
        }
        next
    });
    let mut all: Vec<bool> = from_the_back.collect();
    all.reverse();
    all
}

/// True for what changes no key, given its answer, at whatever place it stands.
fn changes_nothing(op: &Op, answer: &Answer) -> bool {
    match (op, answer) {
        (Op::Get(_) | Op::Mget(_), _) | (_, Answer::Error | Answer::Refused) => true,
        (Op::Del(_), Answer::Int(removed)) => *removed == 0,
        _ => false,
    }
}

impl Search<'_> {
    fn next(&self, placed: &Placed, client: usize) -> Option<&Seen> {
        self.history.get(client)?.get(usize::from(placed[client]))
    }

    /// The clients whose next operation may be placed, the one answered first in front.
    fn enabled(&self, placed: &Placed) -> Vec<usize> {
        let next = |client: usize| self.next(placed, client).map(|s| (s.answered, client, s.sent));
        let mut open: Vec<_> = (0..CLIENTS).filter_map(next).collect();
        open.sort_unstable();
        let first_answer = open.first().map_or(0, |o| o.0);
        open.retain(|&(_, _, sent)| sent <= first_answer);
        open.into_iter().map(|(_, client, _)| client).collect()
    }

    /// Places everything that changes nothing; `None` when there is no order from here.
    fn settle(&mut self, mut placed: Placed, mut state: State) -> Option<(Placed, State)> {
        loop {
            let mut moved = false;
            for client in self.enabled(&placed) {
                let seen = &self.history[client][usize::from(placed[client])];
                let mut after = state.clone();
                let fits = after.apply(client, &seen.op, self.texts) == seen.answer;
                let quiet = changes_nothing(&seen.op, &seen.answer);
                if fits && quiet {
                    placed[client] += 1;
                    state = after;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        (!self.hopeless(&placed, &state)).then_some((placed, state))
    }

    fn hopeless(&self, placed: &Placed, state: &State) -> bool {
        (0..self.history.len()).any(|client| {
            let from = usize::from(placed[client]);
            let doomed = state.is_touched(client)
                && self.will_run[client].get(from).is_some_and(|&will_run| will_run);
            let gone = |&(text, (maker, at)): &(Text, Place)| {
                usize::from(placed[maker]) > at && !state.keys.contains(&text)
            };
            let next = self.reads[client].iter().skip(from).take(AHEAD);
            doomed || next.flatten().any(gone)
        })
    }

    fn branch(
        &mut self,
        placed: &Placed,
        state: &State,
        last: usize,
        stack: &mut Vec<(Placed, State, usize)>,
    ) {
        let mut order = self.enabled(placed);
        if let Some(at) = order.iter().position(|&client| client == last) {
            order[..=at].rotate_right(1);
        }
        if let Some(luck) = &mut self.luck
            && luck.below(8) == 0
        {
            let at = luck.below(order.len().max(1) as u64) as usize;
            order.rotate_left(at);
        }
        // The last pushed is tried first.
        for client in order.into_iter().rev() {
            let seen = &self.history[client][usize::from(placed[client])];
            let mut after = state.clone();
            if after.apply(client, &seen.op, self.texts) == seen.answer {
                let mut placed = *placed;
                placed[client] += 1;
                stack.push((placed, after, client));
            }
        }
    }
}
