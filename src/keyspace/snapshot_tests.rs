//! What a snapshot hands out is what was there when it began, whatever changes meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use crate::keyspace::cut::Open;
use crate::keyspace::snapshot::LargeValue;
use crate::keyspace::{Effects, Entry, Form, Keyspace, NewValue, spelled};
use crate::value::dict::Dict;
use crate::value::list::{End, List};
use crate::value::listpack;
use crate::value::object::Object;
use crate::value::shapes::Shapes;

/// Values from here on are handed out in slices.
const LARGE: usize = 2000;

/// Database and key, value as text, expiry.
type Found = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

/// What a value is, as text that does not depend on any order of a table.
fn text_of(entry: &Entry) -> Vec<u8> {
    match entry.object() {
        Some(Object::Set(dict)) => {
            joined(dict.iter().map(|member| member.key().to_vec()).collect(), true)
        }
        Some(Object::List(list)) => {
            let mut all = Vec::new();
            list.walk(0, End::Front, &mut |item| {
                all.push(item.text(&mut itoa::Buffer::new()).to_vec());
                true
            });
            joined(all, false)
        }
        _ => spelled(entry),
    }
}

fn joined(mut all: Vec<Vec<u8>>, sort: bool) -> Vec<u8> {
    if sort {
        all.sort();
    }
    all.join(&b' ')
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, u16, usize),
    Bulk(usize, u16, u16),
    Set(usize, u16, u16),
    List(usize, u16, u16),
    Delete(usize, u16),
    DeleteBulk(usize, u16, u16),
    Expire(usize, u16, Option<i64>),
    Append(usize, u16, usize),
    /// Writes into a string, from a place on, so many bytes.
    Patch(usize, u16, usize, usize),
    Pack(usize, u16),
    /// Changes a structure: a member more, or one less.
    Change(usize, u16, u16),
    /// To another name, database and shard.
    Rename((usize, usize, u16), (usize, usize, u16)),
    Swap,
    Clear(usize),
    Walk(usize),
    WalkLarge(usize),
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..60_u16;
    let step = prop_oneof![
        8 => (0..2_usize, key(), prop_oneof![0..40_usize, 1020..1030_usize, 1900..14_000_usize])
            .prop_map(|(d, k, n)| Step::Put(d, k, n)),
        2 => (0..2_usize, 0..9000_u16, 0..3000_u16).prop_map(|(d, k, n)| Step::Bulk(d, k, n)),
        4 => (0..2_usize, key(), 1..400_u16).prop_map(|(d, k, n)| Step::Set(d, k, n)),
        4 => (0..2_usize, key(), 1..400_u16).prop_map(|(d, k, n)| Step::List(d, k, n)),
        4 => (0..2_usize, key()).prop_map(|(d, k)| Step::Delete(d, k)),
        1 => (0..2_usize, 0..9000_u16, 0..5000_u16).prop_map(|(d, k, n)| Step::DeleteBulk(d, k, n)),
        4 => (0..2_usize, key(), prop::option::of(5..9_i64))
            .prop_map(|(d, k, t)| Step::Expire(d, k, t)),
        4 => (0..2_usize, key(), 0..3000_usize).prop_map(|(d, k, n)| Step::Append(d, k, n)),
        8 => (0..2_usize, key(), 0..9000_usize, 1..5000_usize)
            .prop_map(|(d, k, at, n)| Step::Patch(d, k, at, n)),
        4 => (0..2_usize, key()).prop_map(|(d, k)| Step::Pack(d, k)),
        12 => (0..2_usize, key(), 0..600_u16).prop_map(|(d, k, n)| Step::Change(d, k, n)),
        8 => ((0..2_usize, 0..2_usize, key()), (0..2_usize, 0..2_usize, key()))
            .prop_map(|(a, b)| Step::Rename(a, b)),
        1 => Just(Step::Swap),
        1 => (0..2_usize).prop_map(Step::Clear),
        8 => (1..3000_usize).prop_map(Step::Walk),
        8 => (1..200_usize).prop_map(Step::WalkLarge),
    ];
    prop::collection::vec(step, 0..most)
}

fn name(k: u16) -> Vec<u8> {
    format!("key:{k}").into_bytes()
}

struct World {
    /// Two shards.
    spaces: Vec<Keyspace>,
    seen: Found,
    open: Open,
    count: Arc<AtomicUsize>,
}

impl World {
    fn new() -> World {
        let space = |shard| {
            let mut space = Keyspace::new(shard, 2, [1, 2], Effects::new(0, false));
            space.snapshots.large_value = LARGE;
            space
        };
        let count = Arc::default();
        World {
            spaces: vec![space(0), space(1)],
            seen: Found::new(),
            open: Open::new(Arc::clone(&count)),
            count,
        }
    }

    /// Everything there is; the shard is the parity of the key's number.
    fn all(&self) -> Found {
        let mut all = Found::new();
        for space in &self.spaces {
            for (db, data) in space.dbs.iter().enumerate() {
                for entry in data.iter() {
                    let value = (text_of(entry), entry.expire_ms());
                    assert!(all.insert((db, entry.key().to_vec()), value).is_none());
                }
            }
        }
        all
    }

    fn of(&mut self, k: u16) -> &mut Keyspace {
        &mut self.spaces[usize::from(k % 2)]
    }

    fn put(&mut self, db: usize, k: u16, value: NewValue<'_>) {
        let space = self.of(k);
        if let Some(old) = space.dbs[db].put(&name(k), value, None, 0) {
            space.discard(old);
        }
    }

    fn walk(&mut self, shard: usize, budget: usize) -> bool {
        let seen = &mut self.seen;
        self.spaces[shard].snapshot_slice(budget, &mut |db, entry| {
            let value = (text_of(entry), entry.expire_ms());
            let before = seen.insert((db, entry.key().to_vec()), value);
            assert!(before.is_none(), "{db} {:?} twice", entry.key().escape_ascii());
        })
    }

    /// False when no large value is left.
    fn walk_large(&mut self, shard: usize, budget: usize) -> bool {
        let space = &mut self.spaces[shard];
        let Some(large) = space.next_large() else { return false };
        let (key, expire) = ((large.db, large.key.to_vec()), large.expire_ms);
        let sort = large.facts.as_ref().is_some_and(|facts| facts.kind.name() == "set");
        let mut all = Vec::new();
        let done = space.visit_large(|state, value| {
            // What was seen so far goes where the value goes.
            let state = state.get_or_insert_with(|| Box::new(Vec::<Vec<u8>>::new()));
            let parts: &mut Vec<Vec<u8>> = state.downcast_mut().expect("just put there");
            let done = match value {
                LargeValue::Text(mut text) => {
                    // In slices, too.
                    let from = parts.first().map_or(0, Vec::len);
                    let to = text.len().min(from + 16 * budget);
                    let more = text.look(from..to, |text| text[from..to].to_vec());
                    text.release(to);
                    parts.resize_with(1, Vec::new);
                    parts[0].extend(more);
                    to == text.len()
                }
                LargeValue::Object(Object::Set(dict)) => {
                    dict.cut_slice(budget, &mut |entry| parts.push(entry.key().to_vec()))
                }
                LargeValue::Object(Object::List(list)) => list.cut_slice(budget, &mut |item| {
                    parts.push(item.text(&mut itoa::Buffer::new()).to_vec());
                }),
                LargeValue::Object(_) => unreachable!("not made here"),
            };
            all.clone_from(parts);
            done
        });
        if done.expect("nothing is lost") {
            let text = joined(all, sort);
            assert!(self.seen.insert(key, (text, expire)).is_none(), "twice");
        }
        true
    }

    fn fill(&mut self, db: usize, k: u16, count: u16, set: bool) {
        let object = if set {
            let mut dict = Dict::new([3, 4]);
            for n in 0..count {
                dict.set_absent(format!("member {n}").as_bytes());
            }
            Object::Set(dict)
        } else {
            let mut list = List::new(Shapes::DEFAULT.list);
            (0..count).for_each(|n| list.push(format!("element {n}").as_bytes(), End::Back));
            Object::List(list)
        };
        self.put(db, k, NewValue::Object(Box::new(object)));
    }

    fn change(&mut self, db: usize, k: u16, n: u16) {
        self.of(k).dbs[db].change_object(&name(k), 0, |object| {
            match object {
                Object::Set(dict) => {
                    let member = format!("member {n}");
                    if !dict.set_absent(member.as_bytes()) && dict.len() > 1 {
                        dict.remove(member.as_bytes());
                    }
                }
                Object::List(list) if n.is_multiple_of(2) => list.push(b"another", End::Front),
                Object::List(list) if list.len() > 1 => list.pop(End::Back, |_| {}),
                _ => {}
            }
            ((), true)
        });
    }

    fn rename(&mut self, from: (usize, u16), mut to: (usize, u16)) {
        let Some(mut entry) = self.of(from.1).dbs[from.0].remove(&name(from.1), 0) else { return };
        if to.1.is_multiple_of(3) {
            // As MOVE does: the entry itself goes.
            to.1 = from.1;
        } else {
            entry = entry.rename(&name(to.1));
        }
        let large = entry.cut_id();
        let large = large.and_then(|id| self.spaces.iter_mut().find_map(|s| s.give_large(id)));
        let space = self.of(to.1);
        if let Some(large) = large {
            space.adopt_large(large, &name(to.1));
        }
        if let Some(old) = space.dbs[to.0].insert(entry, 0) {
            space.discard(old);
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Put(db, k, len) => {
                let bytes = vec![b'a' + (k % 26) as u8; len];
                self.put(db, k, NewValue::Str { bytes: &bytes, raw: false });
            }
            Step::Bulk(db, k, count) => {
                (k..k.saturating_add(count)).for_each(|k| self.put(db, k, NewValue::Int(k.into())));
            }
            Step::Set(db, k, count) => self.fill(db, k, count, true),
            Step::List(db, k, count) => self.fill(db, k, count, false),
            Step::Delete(db, k) => drop(self.of(k).delete(db, &name(k))),
            Step::DeleteBulk(db, k, count) => {
                for k in k..k.saturating_add(count) {
                    self.of(k).delete(db, &name(k));
                }
            }
            Step::Expire(db, k, at) => drop(self.of(k).dbs[db].set_expire(&name(k), at, 0)),
            Step::Append(db, k, len) => {
                let data = &mut self.of(k).dbs[db];
                if data.find(&name(k)).entry.is_none_or(|entry| entry.kind().name() == "string") {
                    data.edit(&name(k), 0, |bytes| bytes.extend_from_slice(&vec![b'x'; len]));
                }
            }
            Step::Patch(db, k, at, len) => {
                let data = &mut self.of(k).dbs[db];
                if data.find(&name(k)).entry.is_some_and(|entry| entry.kind().name() == "string") {
                    data.edit_range(&name(k), at..at + len, 0, |bytes| {
                        let end = bytes.len().max(at + len);
                        bytes.resize(end, 0);
                        bytes[at..at + len].fill(b'p');
                        ((), true)
                    });
                }
            }
            Step::Pack(db, k) => {
                let mut bytes = Vec::new();
                listpack::create(&mut bytes);
                listpack::push_back(&mut bytes, b"one");
                self.put(db, k, NewValue::Packed { form: Form::List, bytes: &bytes });
            }
            Step::Change(db, k, n) => self.change(db, k, n),
            Step::Rename((_, one, from), (_, other, to)) => self.rename((one, from), (other, to)),
            Step::Swap => self.spaces.iter_mut().for_each(|space| space.dbs.swap(0, 1)),
            Step::Clear(db) => {
                for space in &mut self.spaces {
                    let old = space.dbs[db].clear(0);
                    space.discard_database(old);
                }
            }
            Step::Walk(budget) => {
                self.walk(budget % 2, budget);
            }
            Step::WalkLarge(budget) => {
                self.walk_large(budget % 2, budget);
            }
        }
    }

    fn begin(&mut self) {
        self.spaces.iter_mut().for_each(|space| space.begin_snapshot(&self.open));
    }

    fn finish(&mut self) {
        while !(self.walk(0, 500) & self.walk(1, 500)) {}
        while self.walk_large(0, 50) | self.walk_large(1, 50) {}
        assert!(self.walk(0, 1) && self.walk(1, 1));
        assert_eq!(self.count.load(Ordering::SeqCst), 1);
        for space in &mut self.spaces {
            assert!(space.is_snapshot_over());
            assert_eq!(space.snapshot_memory(), 0);
            space.dbs.iter().for_each(|db| drop(db.check()));
            assert!(space.dbs.iter().all(|db| db.iter().all(|entry| !entry.is_marked())));
        }
    }
}

proptest! {
    #[test]
    fn what_was_there_is_handed_out_once(
        before in steps(40),
        rounds in prop::collection::vec(steps(60), 1..3),
    ) {
        let mut world = World::new();
        before.iter().for_each(|step| world.apply(step));
        for during in &rounds {
            let then = world.all();
            world.seen.clear();
            world.begin();
            during.iter().for_each(|step| world.apply(step));
            world.finish();
            let wrong = then.iter().find(|(key, value)| world.seen.get(*key) != Some(*value));
            let shown = |text: &[u8]| text[..text.len().min(60)].escape_ascii().to_string();
            prop_assert!(
                wrong.is_none(),
                "{:?}",
                wrong.map(|((db, key), value)| {
                    let seen = world.seen.get(&(*db, key.clone()));
                    (db, shown(key), shown(&value.0), seen.map(|seen| shown(&seen.0)))
                })
            );
            prop_assert_eq!(world.seen.len(), then.len());
        }
    }

    #[test]
    fn one_that_is_given_up_leaves_nothing(
        before in steps(40),
        during in steps(30),
        after in steps(30),
    ) {
        let mut world = World::new();
        before.iter().for_each(|step| world.apply(step));
        world.begin();
        during.iter().for_each(|step| world.apply(step));
        world.spaces.iter_mut().for_each(Keyspace::cancel_snapshot);
        world.seen.clear();
        after.iter().for_each(|step| world.apply(step));
        world.finish();
        prop_assert!(world.seen.is_empty());
    }
}
