//! A world small enough for unit tests: keyspaces, a clock set by hand, one client.

use crate::base::clock::Now;
use crate::base::crc::shard_of;
use crate::base::random::Random;
use crate::command::args::Args;
use crate::command::context::{Ctx, Spaces};
use crate::command::fault::Fault;
use crate::command::table::{self, Route, Run};
use crate::keyspace::events::{Event, Wanted};
use crate::keyspace::{Counters, Effects, Keyspace, Noted, Recency, spelled};
use crate::resp::Reply;
use crate::value::shapes::Shapes;

/// The milliseconds at which the clock stands first.
pub const START_MS: i64 = 1_700_000_000_000;

/// Database, key, value, expiry.
pub type Held = (usize, Vec<u8>, Vec<u8>, Option<i64>);

type Handler = fn(&mut Ctx<'_>, &Args<'_>) -> Result<(), Fault>;

/// Keyspaces and what surrounds them.
pub struct World {
    pub spaces: Vec<Option<Box<Keyspace>>>,
    pub db: usize,
    pub now_ms: i64,
    pub replay: bool,
    pub resp3: bool,
    pub string_max: u64,
    pub shapes: Shapes,
    pub noted: Noted,
    /// Commands leave no trace of their uses of keys.
    pub quiet: bool,
    random: Random,
}

impl World {
    pub fn new() -> Self {
        World::sharded(1)
    }

    pub fn sharded(shards: usize) -> Self {
        let space = |shard| Some(Box::new(Keyspace::new(shard, 16, [1, 2], Effects::new(0, true))));
        World {
            spaces: (0..shards).map(space).collect(),
            db: 0,
            now_ms: START_MS,
            replay: false,
            resp3: false,
            string_max: 512 << 20,
            shapes: Shapes::default(),
            noted: Noted::Time,
            quiet: false,
            random: Random::new(7),
        }
    }

    /// Runs a request as the executor would and returns the bytes of its reply.
    ///
    /// Whatever it changes must be logged, and nothing else: a stamp names a position inside the
    /// effect that follows, which a reader of the stamp would else wait for in vain.
    pub fn run_bytes(&mut self, request: &[&[u8]]) -> Vec<u8> {
        let (ends, stamps, changes) = self.logged();
        let reply = self.execute(request);
        let cut = table::find(request[0]).is_some_and(|c| c.route == Route::Cut);
        let (new_ends, new_stamps, new_changes) = self.logged();
        for (shard, stamp) in new_stamps.iter().enumerate() {
            let logged = *stamp == stamps[shard] || *stamp <= new_ends[shard];
            assert!(cut || logged, "changed, not logged: {request:?}");
        }
        assert!(ends == new_ends || changes < new_changes, "logged, not changed: {request:?}");
        reply
    }

    /// How far each shard's log reaches, each one's last stamp, and the changes of all.
    fn logged(&self) -> (Vec<u64>, Vec<u64>, u64) {
        let spaces = || self.spaces.iter().flatten();
        let stamp = |space: &Keyspace| space.dbs.iter().map(|db| db.last_stamp()).max();
        (
            spaces().map(|space| space.effects.end()).collect(),
            spaces().filter_map(|space| stamp(space)).collect(),
            spaces().map(|space| space.counters).map(changes).sum(),
        )
    }

    fn execute(&mut self, request: &[&[u8]]) -> Vec<u8> {
        let args = Args::new(request);
        match table::resolve(&args) {
            Err(fault) => answer(self.resp3, |_| Err(fault)),
            Ok(command) => {
                let Run::Data(run) = command.run else { panic!("not a data command") };
                let shard = (command.route_of(args.len()) == Route::Key).then(|| {
                    let at = command.key_positions(args.items()).next().unwrap();
                    shard_of(&args[at], self.spaces.len())
                });
                self.run_on(shard, run, &args)
            }
        }
    }

    /// Runs a handler that no row names.
    pub fn run_with(&mut self, run: Handler, request: &[&[u8]]) -> Vec<u8> {
        self.run_on(None, run, &Args::new(request))
    }

    /// Runs a handler on one shard, or with all keyspaces at hand.
    fn run_on(&mut self, shard: Option<usize>, run: Handler, args: &Args<'_>) -> Vec<u8> {
        let shards = self.spaces.len();
        let now = Now { unix_us: self.now_ms * 1000, mono_us: 0 };
        for space in self.spaces.iter_mut().flatten() {
            space.set_recency(Recency::new(self.noted, now.unix_s()));
            space.begin_uses(self.quiet);
        }
        let spaces = match shard.or((shards == 1).then_some(0)) {
            Some(shard) => Spaces::One(self.spaces[shard].as_deref_mut().unwrap()),
            None => Spaces::Many(&mut self.spaces),
        };
        answer(self.resp3, |out| {
            let mut ctx = Ctx {
                spaces,
                db: self.db,
                now,
                out,
                random: &mut self.random,
                shards,
                string_max: self.string_max,
                shapes: &self.shapes,
                codec: outside::default_codec(),
                replay: self.replay,
                claim: None,
                claimed: false,
                patience: None,
            };
            run(&mut ctx, args)
        })
    }

    /// Runs words (`''` is the empty one) and returns the reply, each line break as a space.
    pub fn run(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> =
            line.split(' ').map(|w| if w == "''" { b"" } else { w.as_bytes() }).collect();
        shown(&self.run_bytes(&words))
    }

    /// Runs a request; `CARRY from to ttl option …` is DUMP of one key and RESTORE of another.
    pub fn run_or_carry(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("CARRY ") else { return drop(self.run(line)) };
        let words: Vec<&[u8]> = rest.split(' ').map(str::as_bytes).collect();
        let dump = self.run_bytes(&[b"DUMP", words[0]]);
        if dump.starts_with(b"$-") {
            return;
        }
        let end = dump.iter().position(|&b| b == b'\n').unwrap();
        let mut request: Vec<&[u8]> = vec![b"RESTORE", words[1], words[2]];
        request.push(&dump[end + 1..dump.len() - 2]);
        request.extend(&words[3..]);
        self.run_bytes(&request);
    }

    /// Runs requests and checks their replies and what they log.
    #[track_caller]
    pub fn check(&mut self, steps: &[(&str, &str, &str)]) {
        for (request, reply, effects) in steps {
            assert_eq!(self.run(request), *reply, "reply to {request}");
            assert_eq!(self.effects(), *effects, "effects of {request}");
        }
    }

    /// From now on events of all classes are recorded.
    pub fn listen(&mut self) {
        let all = Wanted::parse(b"KEAnm").unwrap();
        self.spaces.iter_mut().flatten().for_each(|space| space.events.set_wanted(all));
    }

    /// Takes the events recorded since the last call, in order: name, database behind `@` if it is
    /// not the first, key.
    pub fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        Spaces::Many(&mut self.spaces).take_events(&mut events);
        let told = |event: &Event| {
            let db = if event.db == 0 { String::new() } else { format!("@{}", event.db) };
            let key = String::from_utf8_lossy(&event.key);
            format!("{}{db} {}", event.name, if key.is_empty() { "''" } else { &*key })
        };
        events.iter().map(told).collect()
    }

    /// Takes the effects logged since the last call: commands as words, joined by ` | `.
    pub fn effects(&mut self) -> String {
        let commands: Vec<String> = self.take_effects().iter().map(|c| shown_words(c)).collect();
        commands.join(" | ")
    }

    /// Takes the effects logged since the last call, shard after shard. Each shard's begin in
    /// database 0, as in a file of their own.
    pub fn take_effects(&mut self) -> Vec<Vec<Vec<u8>>> {
        let mut commands: Vec<Vec<Vec<u8>>> = Vec::new();
        for space in self.spaces.iter_mut().flatten() {
            let payload = space.effects.take(Vec::new());
            let end = space.effects.end();
            space.effects.begin_file(end);
            if !payload.is_empty() && commands.iter().any(|c| c[0] == b"SELECT") {
                commands.push(vec![b"SELECT".to_vec(), b"0".to_vec()]);
            }
            commands.extend(parse(&payload));
        }
        commands
    }

    /// Runs logged effects, SELECT included, as replay does.
    pub fn replay(&mut self, commands: &[Vec<Vec<u8>>]) {
        self.replay = true;
        for command in commands {
            let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            if words[0] == b"SELECT" {
                self.db = std::str::from_utf8(words[1]).unwrap().parse().unwrap();
                continue;
            }
            let reply = self.run_bytes(&words);
            assert_ne!(reply[0], b'-', "{} answers {}", shown_words(command), shown(&reply));
        }
        self.replay = false;
    }

    /// Everything held, sorted.
    pub fn contents(&self) -> Vec<Held> {
        let mut all = Vec::new();
        for space in self.spaces.iter().flatten() {
            for (db, data) in space.dbs.iter().enumerate() {
                for entry in data.iter() {
                    let value = spelled(entry);
                    all.push((db, entry.key().to_vec(), value, entry.expire_ms()));
                }
            }
        }
        all.sort();
        all
    }
}

fn changes(counters: Counters) -> u64 {
    counters.dirty + counters.expired + counters.expired_fields
}

/// The bytes of a reply, or of the error that takes its place.
fn answer(resp3: bool, run: impl FnOnce(&mut Reply) -> Result<(), Fault>) -> Vec<u8> {
    let mut out = Reply::new(resp3);
    let before = out.checkpoint();
    if let Err(fault) = run(&mut out) {
        out.cut_back(before);
        out.error(&fault.0);
    }
    out.to_vec()
}

/// Splits a payload into its commands.
fn parse(mut payload: &[u8]) -> Vec<Vec<Vec<u8>>> {
    fn number(payload: &mut &[u8], mark: u8) -> usize {
        assert_eq!(payload[0], mark);
        let end = payload.iter().position(|&b| b == b'\r').unwrap();
        let n = std::str::from_utf8(&payload[1..end]).unwrap().parse().unwrap();
        *payload = &payload[end + 2..];
        n
    }
    let mut commands = Vec::new();
    while !payload.is_empty() {
        let words = number(&mut payload, b'*');
        let word = |_| {
            let len = number(&mut payload, b'$');
            let word = payload[..len].to_vec();
            payload = &payload[len + 2..];
            word
        };
        commands.push((0..words).map(word).collect());
    }
    commands
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", " ");
    text.trim_end_matches(' ').to_owned()
}

fn shown_words(words: &[Vec<u8>]) -> String {
    let words: Vec<_> = words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    words.join(" ")
}

/// What is handed in from outside: commands do not know it.
#[cfg(test)]
mod outside {
    pub use crate::persist::payload::default_codec;
}
