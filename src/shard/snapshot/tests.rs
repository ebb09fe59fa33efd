//! Two shards hand a snapshot over by hand, turn by turn, to a writer that takes chunks when it is
//! told to: long values that go from shard to shard while their pieces are being written.
//!
//! While the writer is within a long value, chunks of keys wait there and count. So whoever gets
//! that value has to go on with it, even when it may hand over no keys, and before any other long
//! value of its own: else nothing ever goes on.

use std::collections::{HashMap, VecDeque};

use super::*;
use crate::base::clock::Time;
use crate::keyspace::{Effects, NewValue};
use crate::persist::disk::Volume;
use crate::persist::rdb::{Modules, Options, Sink, decode};
use crate::persist::sim::SimMedium;
use crate::persist::snapshot::CHUNKS_MAX;
use crate::value::list::{End, List};
use crate::value::object::Object;
use crate::value::shapes::Shapes;

/// Turns after which nothing goes on any more.
const PATIENCE: usize = 20_000;
/// Bytes of an element of the long lists.
const ELEMENT: usize = 4_000;

/// What [`crate::persist::snapshot`] does with chunks, one by one.
#[derive(Default)]
struct Writer {
    within: bool,
    waiting: VecDeque<Chunk>,
    file: Vec<u8>,
    finished: bool,
}

impl Writer {
    fn take(&mut self, flow: &Flow, chunk: Chunk) {
        match chunk {
            Chunk::Keys { .. } if self.within => self.waiting.push_back(chunk),
            Chunk::Keys { shard, bytes, .. } => {
                flow.keys[shard].fetch_sub(1, Ordering::AcqRel);
                self.file.extend(bytes);
            }
            Chunk::Piece { bytes, last, .. } => {
                flow.pieces.fetch_sub(1, Ordering::AcqRel);
                self.file.extend(bytes);
                self.within = !last;
                while !self.within
                    && let Some(chunk) = self.waiting.pop_front()
                {
                    self.take(flow, chunk);
                }
            }
            Chunk::Finish => self.finished = true,
        }
    }
}

struct World {
    spaces: [Keyspace; 2],
    parts: Vec<Part>,
    job: Arc<Job>,
    chunks: Receiver<Chunk>,
    writer: Writer,
    /// Keys and how long their values are: what has to be in the file.
    expected: HashMap<Vec<u8>, usize>,
}

impl World {
    /// Shards with these long lists (name, elements), and so many keys of a kilobyte in each.
    fn new(lists: [&[(&str, usize)]; 2], keys: [usize; 2]) -> World {
        let (sender, chunks) = channel();
        let count = Arc::new(AtomicUsize::new(0));
        let job = Arc::new(Job {
            flow: Flow::new(2),
            open: Arc::clone(&count),
            chunks: Mutex::new(sender),
            version: 10,
            compress: false,
            purpose: Purpose::Background,
            given_up: AtomicBool::new(false),
            giant: AtomicU64::new(0),
            parts: AtomicUsize::new(2),
            over: AtomicBool::new(false),
            waits: Mutex::default(),
            end: Mutex::new(None),
            told: Told::new(&Time::system()),
            grain: Grain::default(),
        });
        let mut spaces = [0, 1].map(|n| Keyspace::new(n, 1, [1, 2], Effects::new(0, false)));
        let mut expected = HashMap::new();
        for (n, space) in spaces.iter_mut().enumerate() {
            for (name, elements) in lists[n] {
                let mut list = List::new(Shapes::DEFAULT.list);
                (0..*elements).for_each(|_| list.push(&[b'x'; ELEMENT], End::Back));
                let value = NewValue::Object(Box::new(Object::List(list)));
                space.dbs[0].put(name.as_bytes(), value, None, 0);
                expected.insert(name.as_bytes().to_vec(), *elements);
            }
            for key in 0..keys[n] {
                let (key, bytes) = (format!("key:{n}:{key}"), [b'v'; 1000]);
                space.dbs[0].put(
                    key.as_bytes(),
                    NewValue::Str { bytes: &bytes, raw: false },
                    None,
                    0,
                );
                expected.insert(key.into_bytes(), bytes.len());
            }
        }
        let open = Open::new(count);
        let part = |_| Part {
            job: Arc::clone(&job),
            encoder: Encoder::new(job.version, job.compress),
            chunk: Vec::new(),
            db: None,
            open: Some(open.clone()),
            stuck: false,
            cancelled: false,
            share: Share::new(&Time::system()),
            pace: Pace::new(&Time::system()),
            time: Time::system(),
            delay: 0,
        };
        let parts = (0..2).map(part).collect();
        spaces.iter_mut().for_each(|space| space.begin_snapshot(&open));
        World { spaces, parts, job, chunks, writer: Writer::default(), expected }
    }

    /// The least a shard does in a turn.
    fn turn(&mut self, shard: usize) {
        let (part, space) = (&mut self.parts[shard], &mut self.spaces[shard]);
        if part.open.is_none() && space.next_large().is_some() {
            part.open = Some(Open::new(Arc::clone(&self.job.open)));
        }
        if part.open.is_some() && !part.go_on(shard, space, Duration::ZERO).unwrap() {
            let last = part.open.take().is_some_and(Open::release);
            if last {
                self.job.send(Chunk::Finish);
            }
        }
    }

    /// The writer takes everything that is on its way.
    fn write(&mut self) {
        while let Ok(chunk) = self.chunks.try_recv() {
            self.writer.take(&self.job.flow, chunk);
        }
    }

    /// Turns of a shard until `enough`, with the writer at rest.
    fn turn_until(&mut self, shard: usize, enough: impl Fn(&World) -> bool) {
        for _ in 0..PATIENCE {
            if enough(self) {
                return;
            }
            self.turn(shard);
        }
        panic!("it never came to that");
    }

    /// As RENAME over two shards does it.
    fn move_list(&mut self, from: usize, name: &str) {
        let entry = self.spaces[from].dbs[0].remove(name.as_bytes(), 0).expect("it is here");
        let id = entry.cut_id().expect("it is under its cut");
        let large = self.spaces[from].give_large(id).expect("it is to be handed out");
        let to = &mut self.spaces[1 - from];
        to.adopt_large(large, name.as_bytes());
        assert!(to.dbs[0].insert(entry, 0).is_none());
    }

    /// Everything goes on until the file ends; then it holds what it should.
    fn finish(mut self) {
        for _ in 0..PATIENCE {
            self.turn(0);
            self.turn(1);
            self.write();
            if self.writer.finished {
                return self.check();
            }
        }
        panic!("nothing goes on any more: giant {:?}, {:?}", self.job.giant, self.job.flow);
    }

    fn check(self) {
        let mut file = Vec::new();
        let encoder = Encoder::new(10, false);
        encoder.header(&mut file);
        file.extend(self.writer.file);
        encoder.end_whole(&mut file, true);
        let medium = SimMedium::new(0);
        medium.write_synced("dump.rdb", &file).unwrap();
        let options = Options {
            databases: 1,
            drop_expired: None,
            string_max: 1 << 20,
            shapes: Shapes::DEFAULT,
            hash_seed: [1, 2],
            progress: None,
            modules: Modules::Refuse,
        };
        let mut found = Found(HashMap::new());
        decode(&medium, "dump.rdb", &options, &mut found).unwrap();
        assert!(found.0 == self.expected, "{} of {} keys", found.0.len(), self.expected.len());
        assert_eq!(self.job.open.load(Ordering::SeqCst), 0);
        assert!(self.spaces.into_iter().all(|mut space| space.is_snapshot_over()));
    }
}

struct Found(HashMap<Vec<u8>, usize>);

impl Sink for Found {
    fn wants(&mut self, _: usize, _: &[u8]) -> bool {
        true
    }

    fn store(&mut self, _: usize, key: &[u8], value: NewValue<'_>, _: Option<i64>) -> bool {
        let len = match value {
            NewValue::Object(object) => object.len(),
            NewValue::Str { bytes, .. } => bytes.len(),
            other => panic!("not made here: {other:?}"),
        };
        self.0.insert(key.to_vec(), len).is_none()
    }

    fn aux(&mut self, _: &[u8], _: &[u8]) {}
}

fn giant(world: &World) -> u64 {
    world.job.giant.load(Ordering::Relaxed)
}

#[test]
fn a_long_value_goes_on_where_no_keys_may_be_handed_over() {
    let mut world = World::new([&[("long", 3_000)], &[]], [10, 9_000]);
    // Pieces of it are with the writer, which is within it then.
    world.turn_until(0, |world| giant(world) > 0);
    world.write();
    assert!(world.writer.within);
    // The other shard has handed over all it may, which waits there.
    world.turn_until(1, |world| !world.job.flow.takes_keys(1));
    world.write();
    assert_eq!(world.writer.waiting.len(), CHUNKS_MAX);
    world.move_list(0, "long");
    world.finish();
}

#[test]
fn a_long_value_goes_on_before_another_that_was_there_first() {
    let mut world = World::new([&[("long", 3_000)], &[("other", 3_000)]], [10, 10]);
    world.turn_until(0, |world| giant(world) > 0);
    let first = giant(&world);
    // The other has a piece ready, and waits for its turn.
    world.turn_until(1, |world| world.parts[1].stuck);
    assert_eq!(giant(&world), first);
    world.move_list(0, "long");
    world.finish();
}

#[test]
fn long_values_that_go_to_and_fro_come_to_an_end() {
    let lists: [&[(&str, usize)]; 2] = [&[("a", 1_500), ("b", 900)], &[("c", 1_200)]];
    let mut world = World::new(lists, [5_000, 3_000]);
    let mut at = HashMap::from([("a", 0), ("b", 0), ("c", 1)]);
    for round in 0..PATIENCE {
        world.turn(round % 2);
        if round % 7 == 0 {
            world.write();
        }
        let name = ["a", "b", "c"][round % 3];
        let place = at[name];
        let entry = world.spaces[place].dbs[0].find(name.as_bytes()).entry;
        if let Some(id) = entry.and_then(Entry::cut_id)
            && world.spaces[place].put_first(id)
        {
            world.move_list(place, name);
            at.insert(name, 1 - place);
        }
        if world.writer.finished {
            return world.check();
        }
    }
    world.finish();
}

#[test]
fn a_long_value_that_comes_behind_a_cancellation_is_not_kept() {
    let mut world = World::new([&[("long", 300)], &[]], [10, 10]);
    // The other shard is done with what has been given up before this one hears of it.
    world.turn_until(0, |world| world.spaces[0].dbs[0].find(b"long").entry.is_some_and(is_cut));
    world.spaces[1].cancel_snapshot();
    while !world.spaces[1].snapshot_slice(10, &mut |_, _| {}) {}
    assert!(world.spaces[1].is_snapshot_over());
    world.move_list(0, "long");
    assert!(!world.spaces[1].is_snapshot_over());
    world.spaces[1].drop_large();
    assert!(world.spaces[1].is_snapshot_over());
    world.spaces[1].begin_snapshot(&Open::default());
}

fn is_cut(entry: &Entry) -> bool {
    entry.cut_id().is_some()
}
