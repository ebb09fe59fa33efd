//! What must hold of a recovered state.
//!
//! 1. It is what the shards held after a prefix of what each executed, and the prefixes are
//!    consistent: an entry is kept wholly or not at all, with what it read; and no write is kept
//!    that had seen a lost one.
//! 2. Every reply that was delivered tells only of what is kept: of writes it acknowledges, and of
//!    the last change to each thing it looked at (a value, a nil, a count, a page, a refused EXEC).
//!    This holds for every reply as long as the page cache is kept, and for the replies delivered
//!    before the last moment at which all that was released is known to be durable when it is not.
//!    Under `always` that is now; where the policy changes while the process runs, for what was
//!    asked behind the answer to `CONFIG SET appendfsync always`, and told before anybody asked for
//!    another.

use std::collections::{BTreeMap, HashMap};

use crate::base::crc::shard_of;
use crate::observe::saves::End;
use crate::shard::sim::client::{Client, DURABLE, Look, Request};
use crate::shard::sim::probe::{self, At, Data, Event, Place, Step, Tracker};
use crate::shard::sim::rewrites::{Counts, count};
use crate::shard::sim::tell;
use crate::shard::sim::turns::{Era, Over, Stand};
use crate::shard::sim::waiters::Elements;

/// What the policy of flushing is changed with.
const POLICY: &str = "CONFIG SET appendfsync";

/// What a client was told.
struct Told {
    /// Number of steps by shard that it depends on.
    deps: Vec<usize>,
    text: String,
    /// The policy was `always` from the request to the reply, as far as its client can know.
    strict: bool,
}

/// A moment at which a release point moved.
struct Moment {
    /// By shard: how far the log was written (durable, under `always`), and released. An entry that
    /// one shard has released may wait a little to be released by another, but all have written it.
    points: Vec<(u64, u64)>,
    /// How much had been told.
    told: usize,
}

/// Everything clients know.
pub struct Witness {
    told: Vec<Told>,
    moments: Vec<Moment>,
    /// Some client has changed the policy of flushing.
    reconfigured: bool,
    /// Requests for that which are not answered.
    changing: usize,
    /// Some of these were under way together: which came last nobody knows.
    tangled: bool,
    /// From this request on the policy is `always`.
    strict_from: Option<u64>,
    /// Clients that were told by the reply that their SAVE has succeeded.
    saves: usize,
    /// Number of steps by shard that anybody knows of.
    known: Vec<usize>,
    /// The same when a request was sent, by its id.
    known_by: HashMap<u64, Vec<usize>>,
    /// Shard and number of a step, and the request that was answered with it.
    causes: Vec<(usize, usize, u64)>,
    /// How much had been told, and which log was the last, when somebody asked for the word that
    /// all is durable.
    asked: HashMap<u64, (usize, usize)>,
    /// What has happened.
    pub counts: Counts,
}

/// How much of the past a crash must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crash {
    /// The process stopped when everything was at rest.
    Clean,
    /// The process died; the page cache lives.
    Process,
    /// What was not flushed may be gone.
    Power,
}

impl Witness {
    /// Nothing is known yet of so many shards.
    pub fn new(shards: usize, always: bool) -> Self {
        let moments = vec![Moment { points: vec![(0, 0); shards], told: 0 }];
        let known = vec![0; shards];
        let (told, known_by, causes, saves) = Default::default();
        let (asked, counts) = Default::default();
        let (reconfigured, tangled) = (false, false);
        let (changing, strict_from) = (0, always.then_some(0));
        Witness {
            told,
            saves,
            moments,
            known,
            known_by,
            causes,
            asked,
            counts,
            reconfigured,
            changing,
            tangled,
            strict_from,
        }
    }

    /// A request is sent, by somebody who knows whatever anybody knows.
    pub fn sends(&mut self, request: &Request) {
        self.known_by.insert(request.id, self.known.clone());
        if request.text.starts_with(POLICY) {
            self.reconfigured = true;
            self.tangled |= self.changing > 0;
            self.changing += 1;
            self.strict_from = None;
        }
        if request.text == DURABLE {
            let eras = probe::with(|t| t.eras.len()).expect("the process is looked at");
            self.asked.insert(request.id, (self.told.len(), eras));
        }
    }

    /// All is durable: so is what had been told when that was asked for, and the log is listed.
    fn is_durable(&mut self, request: &Request) {
        let (told, eras) = self.asked[&request.id];
        let listed = probe::with(|t| t.eras.iter().rposition(|era| era.listed)).flatten();
        assert!(listed.is_some_and(|listed| listed + 1 >= eras), "durable in a log nobody finds");
        self.told[..told].iter_mut().for_each(|told| told.strict = true);
        count(&mut self.counts, "told that all is durable");
    }

    /// A change of the configuration is answered.
    fn configures(&mut self, request: &Request, reply: &[u8]) {
        let done = if reply == b"+OK\r\n" { "" } else { " (refused)" };
        let name = request.text.split(' ').nth(2).unwrap_or_default();
        let value = request.text.split(' ').nth(3).unwrap_or_default();
        count(&mut self.counts, &format!("CONFIG SET {name} {value}{done}"));
        if request.text.starts_with(POLICY) {
            self.reconfigures(request);
        }
    }

    /// Whether some client has changed the policy of flushing.
    pub fn is_reconfigured(&self) -> bool {
        self.reconfigured
    }

    /// A change of the policy is answered: whoever asks something behind that knows of it, unless
    /// another is under way. (One whose client has gone stays so.)
    fn reconfigures(&mut self, request: &Request) {
        self.changing -= 1;
        let alone = self.changing == 0 && !self.tangled;
        self.tangled &= self.changing > 0;
        let always = request.text.ends_with("always") && alone;
        let behind = self.known_by.keys().max().map_or(0, |id| id + 1);
        self.strict_from = always.then_some(behind);
    }

    /// Number of replies.
    pub fn replies(&self) -> usize {
        self.told.len()
    }

    /// Number of moments.
    pub fn moments(&self) -> usize {
        self.moments.len()
    }

    /// Raw and release points as they are now.
    pub fn moment(&mut self, points: impl Iterator<Item = Option<(u64, u64)>>) {
        // A policy made stricter moves the raw point back; what was written stays written. So does
        // what an earlier log had, where there is none.
        let before = self.moments.last().into_iter().flat_map(|m| &m.points);
        let now = |(now, before): (Option<(u64, u64)>, &(u64, u64))| {
            now.map_or(*before, |(raw, to)| (raw.max(before.0), to))
        };
        let points: Vec<(u64, u64)> = points.zip(before).map(now).collect();
        let told = self.told.len();
        match self.moments.last_mut() {
            Some(last) if last.points == points => last.told = told,
            _ => self.moments.push(Moment { points, told }),
        }
    }

    /// A client takes the replies that have arrived.
    pub fn hears(&mut self, client: &mut Client) {
        while let Some(reply) = client.next_reply() {
            let request = client.waiting.pop_front().expect("a reply answers a request");
            let text = format!("{} -> {:?}", request.text, String::from_utf8_lossy(&reply));
            tell(|| format!("client {} hears: {text}", client.key.index));
            let refusals: [&[u8]; 3] = [b"-MISCONF", b"-EXECABORT", b"-ERR There is no AOF"];
            let refused = refusals.iter().any(|refusal| reply.starts_with(refusal));
            if request.text == "SAVE" && reply == b"+OK\r\n" {
                self.saves += 1;
                let saved = |m: &&probe::Moment| matches!(m.ended, Some(End::Saved { .. }));
                let saved = probe::with(|t| t.moments.iter().filter(saved).count());
                assert!(saved >= Some(self.saves), "a SAVE that nobody knows of");
            }
            if request.text.starts_with("CONFIG SET") {
                self.configures(&request, &reply);
            }
            if request.text == DURABLE && reply.starts_with(b"*2\r\n:1") {
                self.is_durable(&request);
            }
            if request.shards == 0 || refused {
                continue;
            }
            let origin = (client.home, client.key);
            let deps = probe::with(|t| self.depends(t, origin, &request, &reply));
            let deps = deps.expect("the process is looked at");
            if request.blind {
                continue;
            }
            for (known, dep) in self.known.iter_mut().zip(&deps) {
                *known = (*known).max(*dep);
            }
            let strict = self.strict_from.is_some_and(|from| request.id >= from);
            self.told.push(Told { deps, text, strict });
        }
    }

    fn depends(
        &mut self,
        tracker: &mut Tracker,
        origin: probe::Origin,
        request: &Request,
        reply: &[u8],
    ) -> Vec<usize> {
        let events = tracker.events.get_mut(&origin).expect("something was executed");
        let (mut taken, alone): (Vec<Event>, bool) = (Vec::new(), tracker.steps.len() == 1);
        let mut take = |wanted: &dyn Fn(&Event) -> bool| {
            // Where there is one shard a lease is taken or not, as there is a log or not.
            let at = events.iter().position(|e| wanted(e) || alone);
            let at = at.unwrap_or_else(|| panic!("answered, not executed: {}", request.text));
            taken.extend(events.remove(at));
        };
        if request.lease {
            take(&|e| e.lease);
        } else {
            for shard in (0..tracker.steps.len()).filter(|s| request.shards >> s & 1 == 1) {
                take(&|e| !e.lease && e.at[0].shard == shard);
            }
        }
        let mut deps = vec![0; tracker.steps.len()];
        for at in taken.iter().flat_map(|e| &e.at) {
            if request.get {
                check_value(tracker, at, request, reply);
            }
            if at.own && !request.blind {
                self.causes.push((at.shard, at.upto, request.id));
            }
            // A transaction that ran tells nothing of what was watched, one that did not only that.
            let looks = if reply == b"*-1\r\n" { &request.watched } else { &request.looks };
            deps[at.shard] = deps[at.shard].max(seen(&tracker.steps, at, looks));
        }
        deps
    }
}

/// Number of steps of a shard that an execution there depends on.
fn seen(steps: &[Vec<Step>], at: &At, looks: &[Look]) -> usize {
    if at.own {
        return at.upto;
    }
    let looked_at = |place: &Place| {
        looks.iter().any(|(db, key, shards)| {
            *db == place.0
                && match key {
                    Some(key) => *key == place.1,
                    None => shards >> at.shard & 1 == 1,
                }
        })
    };
    let done = &steps[at.shard][..at.upto];
    let last = done.iter().rposition(|s| s.changes.iter().any(|(place, _)| looked_at(place)));
    last.map_or(0, |step| step + 1)
}

/// A GET gives what was last stored, when that was in this process's life.
fn check_value(tracker: &Tracker, at: &At, request: &Request, reply: &[u8]) {
    let (db, key) = (request.looks[0].0, request.looks[0].1.clone().expect("a GET has a key"));
    assert_eq!(shard_of(&key, tracker.steps.len()), at.shard);
    let done = &tracker.steps[at.shard][..at.upto];
    if done.last().is_some_and(|s| s.entry != 0) {
        return;
    }
    let changes = done.iter().rev().flat_map(|s| s.changes.iter().rev());
    let Some((_, held)) = changes.into_iter().find(|(p, _)| p.0 == db && p.1 == key) else {
        return;
    };
    let held_ms = tracker.held_ms[at.shard];
    let past = |time: &i64| *time <= held_ms;
    let wanted = match held {
        None => b"$-1\r\n".to_vec(),
        // Nobody removes it while the log cannot be written, and nobody sees it.
        Some((_, Some(at))) if past(at) && reply == b"$-1\r\n" => return,
        Some((value, _)) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
    };
    assert_eq!(
        String::from_utf8_lossy(reply),
        String::from_utf8_lossy(&wanted),
        "{} ({}) on {} tells of another time: {:?}",
        request.text,
        request.id,
        at.shard,
        done.last()
    );
}

/// A process that has ended, and what is known of it.
pub struct Past {
    /// What it began with.
    pub base: Data,
    /// What it executed.
    pub tracker: Tracker,
    /// What its clients know.
    pub witness: Witness,
    /// What was known durable when it ended.
    pub durable: Vec<u64>,
    /// The policy was `always`.
    pub always: bool,
    /// What clients that wait for keys know.
    pub elements: Option<Elements>,
    /// What a start with a log may find.
    pub stands: Vec<Stand>,
    /// A flush of the log may have failed.
    pub flush_may_fail: bool,
}

impl Past {
    /// What was executed and told, for a human.
    pub fn shown(&self) -> String {
        let mut text = format!("durable {:?}\n", self.durable);
        for (shard, steps) in self.tracker.steps.iter().enumerate() {
            for (i, step) in steps.iter().enumerate() {
                let change = |(place, held): &(Place, Option<probe::Held>)| {
                    let value = held.as_ref().map(|h| String::from_utf8_lossy(&h.0));
                    let key = String::from_utf8_lossy(&place.1);
                    format!("{}:{key}={}", place.0, value.unwrap_or("-".into()))
                };
                let changes: Vec<String> = step.changes.iter().map(change).collect();
                let Step { end, entry, own, .. } = step;
                let line = format!("  {shard}/{} to {end}, entry {entry}, own {own}: ", i + 1);
                text += &(line + &changes.join(" ") + "\n");
            }
        }
        for told in &self.witness.told {
            text += &format!("  told {}, from {:?}\n", told.text, told.deps);
        }
        text
    }

    /// The log that has a file of one of these seeds.
    pub fn era_of(&self, seeds: &[u64]) -> Option<usize> {
        self.tracker.eras.iter().position(|era| seeds.iter().any(|seed| era.seeds.contains(seed)))
    }

    /// Whether the log was on when the process ended.
    pub fn ended_on(&self) -> bool {
        self.tracker.eras.last().is_some_and(|era| era.listed && era.to.is_none())
    }

    /// Whether it had one log, from its begin to its end.
    pub fn has_one_log(&self) -> bool {
        let whole = |era: &Era| {
            era.to.is_none() && era.over.is_none() && era.from.iter().all(|steps| *steps == 0)
        };
        matches!(&self.tracker.eras[..], [era] if whole(era))
            && matches!(self.stands[..], [Stand::Era(0)])
    }

    /// Number of steps that are not kept when a log is kept up to these positions.
    pub fn lost(&self, era: usize, ends: &[u64]) -> u64 {
        let kept = self.tracker.eras[era].kept(&self.tracker.steps, ends);
        let steps = self.tracker.steps.iter().zip(kept);
        steps.map(|(steps, kept)| (steps.len() - kept) as u64).sum()
    }

    /// What is held when each shard's file of a log is kept up to these positions; panics when this
    /// is no consistent cut, or loses what the crash must not take.
    pub fn judge(&self, era: usize, ends: &[u64], crash: Crash) -> Data {
        let allowed = |stand: &Stand| matches!(stand, Stand::Era(n) if *n == era);
        assert!(
            self.stands.iter().any(allowed),
            "log {era} is found, which has been given up or replaced ({crash:?})"
        );
        let (steps, era) = (&self.tracker.steps, &self.tracker.eras[era]);
        let kept = era.kept(steps, ends);
        self.entries_are_whole(&kept);
        self.causes_are_kept(&kept);
        if era.listed {
            self.promises_are_kept(era, &kept, ends, crash);
        }
        let mut data = self.base.clone();
        let kept = steps.iter().zip(&kept).flat_map(|(steps, kept)| &steps[..*kept]);
        for (place, held) in kept.flat_map(|s| &s.changes) {
            match held {
                Some(held) => data.insert(place.clone(), held.clone()),
                None => data.remove(place),
            };
        }
        let all_is_kept = crash != Crash::Power || self.always;
        let one_log = self.tracker.eras.len() == 1 && era.to.is_none();
        if let Some(elements) = self.elements.as_ref().filter(|_| all_is_kept && one_log) {
            elements.check(&data, 0);
        }
        data
    }

    fn promises_are_kept(&self, era: &Era, kept: &[usize], ends: &[u64], crash: Crash) {
        if let Some(Over { sealed: true, .. }) = era.over {
            assert_eq!(Some(kept), era.to.as_deref(), "what was turned off is whole ({crash:?})");
        }
        // Of a log that could not be written when it ended nobody knows what its flushes did.
        let crash = match &era.over {
            Some(_) if self.flush_may_fail => Crash::Power,
            _ => crash,
        };
        let (points, told) = self.covered(era, crash);
        for (shard, ((_, released), end)) in points.iter().zip(ends).enumerate() {
            assert!(
                released <= end,
                "shard {shard}: released up to {released}, recovered up to {end} ({crash:?})"
            );
        }
        let all = &self.witness.told;
        let upto = era.over.as_ref().map_or(all.len(), |over| over.told);
        let told = told.min(upto);
        let later = all[told..upto].iter().filter(|told| told.strict);
        for told in all[..told].iter().chain(later) {
            let deps = told.deps.iter().zip(kept).enumerate();
            let mut deps = deps.filter(|(shard, (dep, _))| era.holds(*shard, **dep));
            let lost = deps.any(|(_, (dep, kept))| dep > kept);
            assert!(
                !lost,
                "told of what is lost ({crash:?}): {}; depends on {:?}, kept {kept:?}",
                told.text, told.deps
            );
        }
        if crash == Crash::Clean && era.to.is_none() {
            let all: Vec<usize> = self.tracker.steps.iter().map(Vec::len).collect();
            assert_eq!(kept, all, "a clean stop loses nothing");
        }
    }

    /// The release points, and how much of what was told, that a crash must leave.
    fn covered(&self, era: &Era, crash: Crash) -> (&[(u64, u64)], usize) {
        let moments = &self.witness.moments;
        let over = era.over.as_ref();
        let moments = &moments[..over.map_or(moments.len(), |over| over.moments)];
        let durable = over.map_or(&self.durable, |over| &over.durable);
        let all = crash != Crash::Power || self.always;
        let safe = |m: &&Moment| all || m.points.iter().zip(durable).all(|((raw, _), d)| raw <= d);
        let last = moments.iter().rev().find(safe).expect("the first one is always safe");
        // What was told after it was told at a later moment.
        (&last.points, last.told)
    }

    fn entries_are_whole(&self, kept: &[usize]) {
        let mut parts: BTreeMap<u64, Vec<(usize, bool, bool)>> = BTreeMap::new();
        for (shard, steps) in self.tracker.steps.iter().enumerate() {
            for (i, step) in steps.iter().enumerate().filter(|(_, s)| s.entry != 0) {
                // Of a shard that was only read, what it held then must be kept.
                let part = (shard, step.own, i + usize::from(step.own) <= kept[shard]);
                parts.entry(step.entry).or_default().push(part);
            }
        }
        for (entry, parts) in parts {
            let any = parts.iter().any(|(_, own, kept)| *own && *kept);
            let all = parts.iter().all(|(_, _, kept)| *kept);
            assert!(!any || all, "entry {entry} is torn: (shard, wrote, kept) {parts:?}");
        }
    }

    /// Whoever wrote what is kept knew only of what is kept.
    fn causes_are_kept(&self, kept: &[usize]) {
        for (shard, steps) in self.tracker.steps.iter().enumerate() {
            for (_, held) in steps[..kept[shard]].iter().flat_map(|s| &s.changes) {
                let Some((value, _)) = held else { continue };
                writers(value).into_iter().for_each(|id| self.cause_is_kept(id, shard, kept));
            }
        }
        for &(shard, _, id) in self.witness.causes.iter().filter(|(s, n, _)| *n <= kept[*s]) {
            self.cause_is_kept(id, shard, kept);
        }
    }

    fn cause_is_kept(&self, id: u64, shard: usize, kept: &[usize]) {
        let Some(known) = self.witness.known_by.get(&id) else { return };
        let lost = known.iter().zip(kept).any(|(known, kept)| known > kept);
        assert!(
            !lost,
            "request {id} on shard {shard} is kept, and knew of what is lost: knew {known:?}, \
             kept {kept:?}"
        );
    }
}

/// Ids of the requests that wrote a value.
fn writers(value: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    // Such a mark stands anywhere: in an element, behind a filling.
    let marks = text.split('.').filter_map(|mark| mark.rsplit_once('r'));
    marks.filter_map(|(_, id)| id.parse().ok()).collect()
}
