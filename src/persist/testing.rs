//! For tests: a directory in memory that stops at a chosen operation and forgets what was not
//! flushed, a writer of log files, and a keyspace simple enough to compare.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use crate::base::random::Random;
use crate::persist::aof::format::{self, At, FrameHead};
use crate::persist::aof::manifest::{Manifest, NewFile, manifest_name};
use crate::persist::aof::reader::FrameReader;
use crate::persist::aof::resp::PlainReader;
use crate::persist::disk::Volume;
use crate::persist::recovery::{GenerationFile, Options, Place, Plan, Step};

/// `appendfilename` of all tests.
pub const NAME: &str = "appendonly.aof";

#[derive(Clone, Default)]
struct Dir {
    /// Contents, which names point at; flushed by every write of a [`Volume`].
    files: Vec<Vec<u8>>,
    /// What a look at the directory shows now.
    now: BTreeMap<String, usize>,
    /// What it showed when it was last flushed.
    durable: BTreeMap<String, usize>,
    /// Changes of names since then.
    pending: Vec<NameOp>,
    /// Changes left before the power goes out, and whether it has.
    left: Option<u64>,
    out: bool,
    changes: u64,
}

#[derive(Clone)]
enum NameOp {
    Put(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

/// A directory in memory. Contents are durable once written, names once the directory is flushed.
#[derive(Default)]
pub struct MemVolume(Mutex<Dir>);

impl MemVolume {
    /// Puts a durable file there.
    pub fn put(&self, name: &str, data: &[u8]) {
        let mut dir = self.0.lock().unwrap();
        dir.files.push(data.to_vec());
        let file = dir.files.len() - 1;
        dir.now.insert(name.to_owned(), file);
        dir.durable.insert(name.to_owned(), file);
    }

    /// Another directory with the same contents.
    pub fn copy(&self) -> MemVolume {
        MemVolume(Mutex::new(self.0.lock().unwrap().clone()))
    }

    /// Lets the power go out after `changes` more changes; the next may be done in part.
    pub fn stop_after(&self, changes: u64) {
        self.0.lock().unwrap().left = Some(changes);
    }

    /// Changes made so far.
    pub fn changes(&self) -> u64 {
        self.0.lock().unwrap().changes
    }

    /// What the directory looks like when the power is back: of the changes of names since its
    /// last flush any subset.
    pub fn power_cut(&self, rng: &mut Random) -> MemVolume {
        let dir = self.0.lock().unwrap();
        let mut names = dir.durable.clone();
        for op in dir.pending.iter().filter(|_| rng.one_in(2)) {
            match op {
                NameOp::Put(name, file) => {
                    names.insert(name.clone(), *file);
                }
                NameOp::Rename(from, to, file) => {
                    if names.get(from) == Some(file) {
                        names.remove(from);
                    }
                    names.insert(to.clone(), *file);
                }
                NameOp::Remove(name) => {
                    names.remove(name);
                }
            }
        }
        let files = dir.files.clone();
        let after = Dir { files, now: names.clone(), durable: names, ..Dir::default() };
        MemVolume(Mutex::new(after))
    }

    /// Does a change while there is power; `torn` is what may be left of the one it goes out at.
    fn change(
        &self,
        op: impl FnOnce(&mut Dir) -> io::Result<()>,
        torn: impl FnOnce(&mut Dir),
    ) -> io::Result<()> {
        let mut dir = self.0.lock().unwrap();
        if !dir.out && dir.left == Some(0) {
            dir.out = true;
            torn(&mut dir);
        }
        if dir.out {
            return Err(io::Error::other("the power is out"));
        }
        dir.left = dir.left.map(|left| left - 1);
        dir.changes += 1;
        op(&mut dir)
    }

    fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        let dir = self.0.lock().unwrap();
        let file = *dir.now.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(dir.files[file].clone())
    }
}

impl Dir {
    fn set(&mut self, name: &str, data: Vec<u8>) {
        match self.now.get(name) {
            Some(&file) => self.files[file] = data,
            None => {
                self.files.push(data);
                let file = self.files.len() - 1;
                self.now.insert(name.to_owned(), file);
                self.pending.push(NameOp::Put(name.to_owned(), file));
            }
        }
    }
}

impl Volume for MemVolume {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().now.keys().cloned().collect())
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        Ok(self.get(path)?.len() as u64)
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let data = self.get(path)?;
        let from = (offset as usize).min(data.len());
        // Short reads happen.
        let n = buf.len().min(data.len() - from).min(4096);
        buf[..n].copy_from_slice(&data[from..from + n]);
        Ok(n)
    }

    fn write_synced(&self, path: &str, data: &[u8]) -> io::Result<()> {
        self.change(
            |dir| {
                dir.set(path, data.to_vec());
                Ok(())
            },
            |dir| dir.set(path, data[..data.len() / 2].to_vec()),
        )
    }

    fn truncate(&self, path: &str, len: u64) -> io::Result<()> {
        let mut data = self.get(path)?;
        data.resize(len as usize, 0);
        self.change(
            |dir| {
                dir.set(path, data);
                Ok(())
            },
            |_| {},
        )
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(
            |dir| {
                let file = dir.now.remove(from).ok_or(io::ErrorKind::NotFound)?;
                dir.now.insert(to.to_owned(), file);
                dir.pending.push(NameOp::Rename(from.to_owned(), to.to_owned(), file));
                Ok(())
            },
            |_| {},
        )
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.change(
            |dir| {
                dir.now.remove(path).ok_or(io::ErrorKind::NotFound)?;
                dir.pending.push(NameOp::Remove(path.to_owned()));
                Ok(())
            },
            |_| {},
        )
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.change(
            |dir| {
                dir.durable = dir.now.clone();
                dir.pending.clear();
                Ok(())
            },
            |_| {},
        )
    }
}

/// Writes one shard's log file.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// Its seed.
    pub seed: u64,
    /// The position behind its last frame.
    pub pos: u64,
    /// Its last checksum.
    pub sum: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Offsets between frames, and the positions there.
    pub borders: Vec<(u64, u64)>,
    /// Positions behind what counts for the stream, and how much does up to there.
    streamed: Vec<(u64, u64)>,
    payload: Vec<u8>,
}

impl LogFile {
    /// An empty file whose payload begins at `start`.
    pub fn new(seed: u64, start: u64) -> LogFile {
        LogFile {
            seed,
            pos: start,
            sum: seed,
            bytes: Vec::new(),
            borders: vec![(0, start)],
            streamed: vec![(start, 0)],
            payload: Vec::new(),
        }
    }

    /// Adds a command to the frame that is being gathered.
    pub fn command(&mut self, args: &[&str]) -> &mut Self {
        let bytes = resp(args);
        self.payload.extend_from_slice(&bytes);
        self.count(bytes.len() as u64)
    }

    /// Adds room for so many bytes of the stream.
    pub fn room(&mut self, bytes: u64) -> &mut Self {
        self.payload.extend_from_slice(format!("#S {bytes:x}\r\n").as_bytes());
        self.count(bytes)
    }

    fn count(&mut self, bytes: u64) -> &mut Self {
        let all = self.streamed.last().map_or(0, |(_, all)| *all) + bytes;
        self.streamed.push((self.next(), all));
        self
    }

    /// Bytes of the stream in front of a position.
    pub fn streamed(&self, pos: u64) -> u64 {
        self.streamed.iter().rev().find(|(at, _)| *at <= pos).map_or(0, |(_, all)| *all)
    }

    /// Adds the line that tells a second.
    pub fn time(&mut self, second: i64) -> &mut Self {
        self.payload.extend_from_slice(format!("#TS:{second}\r\n").as_bytes());
        self
    }

    /// Adds an entry's mark.
    pub fn entry(&mut self, id: u64, participants: u64, readers: &[At]) -> &mut Self {
        format::write_entry_mark(&mut self.payload, id, participants, readers);
        self
    }

    /// Adds a causality mark.
    pub fn seen(&mut self, seen: &[At]) -> &mut Self {
        format::write_seen_mark(&mut self.payload, seen);
        self
    }

    /// The position the next thing gathered will have.
    pub fn next(&self) -> u64 {
        self.pos + self.payload.len() as u64
    }

    /// Ends the frame, which says this much was durable and written.
    pub fn frame(&mut self, durable: u64, written: u64) -> &mut Self {
        let payload = std::mem::take(&mut self.payload);
        let head = FrameHead {
            pos: self.pos,
            len: payload.len() as u64,
            durable,
            written,
            prev: self.sum,
        };
        self.sum = head.encode(&mut self.bytes, self.seed, &payload);
        self.bytes.extend_from_slice(&payload);
        self.pos += payload.len() as u64;
        self.borders.push((self.bytes.len() as u64, self.pos));
        self
    }
}

/// A command's bytes.
pub fn resp(args: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    out
}

/// Two shards; an entry over both whose second part is torn away, and writes behind its first.
pub fn half_an_entry() -> Vec<LogFile> {
    let mut a = LogFile::new(11, 100);
    let mut b = LogFile::new(22, 200);
    a.command(&["SELECT", "3"]).command(&["RPUSH", "a", "1"]).frame(100, 100);
    a.command(&["RPUSH", "a", "2"]);
    a.entry(7, 3, &[]).command(&["RPUSH", "a", "x"]);
    a.command(&["RPUSH", "a", "after"]).frame(100, 100);
    a.command(&["RPUSH", "a", "later"]).frame(100, 100);
    b.command(&["RPUSH", "b", "1"]).frame(200, 200);
    b.entry(7, 3, &[]).command(&["RPUSH", "b", "x"]).frame(200, 200);
    let torn = b.bytes.len() - 3;
    b.bytes.truncate(torn);
    vec![a, b]
}

/// A history: entries over random shards in one order, plain writes and causality marks in
/// between, frames of random length; then each log loses a random number of frames.
pub fn history(seed: u64, shards: usize) -> Vec<LogFile> {
    let mut rng = Random::new(seed);
    let mut logs: Vec<LogFile> =
        (0..shards).map(|s| LogFile::new(s as u64 + 1, 10 * s as u64)).collect();
    for id in 1..=rng.below(14) + 1 {
        match rng.below(4) {
            0 => {
                let set: Vec<usize> = (0..shards).filter(|_| rng.one_in(2)).collect();
                let reader = rng.below(shards as u64) as usize;
                let at = (reader as u8, logs[reader].next());
                let at = if set.contains(&reader) { vec![] } else { vec![at] };
                let bits = set.iter().fold(0, |bits, s| bits | 1 << s);
                for &s in &set {
                    logs[s].entry(id, bits, &at).command(&[
                        "RPUSH",
                        &format!("k{s}"),
                        &format!("part {id}"),
                    ]);
                }
            }
            1 => {
                let (a, b) = (rng.below(shards as u64), rng.below(shards as u64));
                if a != b {
                    let seen = (b as u8, logs[b as usize].next());
                    let log = logs[a as usize].seen(&[seen]);
                    log.command(&["RPUSH", &format!("k{a}"), &format!("after {id}")]);
                }
            }
            _ => {
                let s = rng.below(shards as u64);
                let log = &mut logs[s as usize];
                if rng.one_in(3) {
                    log.command(&["SELECT", &rng.below(3).to_string()]);
                }
                if rng.one_in(5) {
                    log.room(rng.below(40));
                }
                log.command(&["RPUSH", &format!("k{s}"), &format!("write {id}")]);
            }
        }
        for log in &mut logs {
            if rng.one_in(3) && log.next() > log.pos {
                log.frame(0, 0);
            }
        }
    }
    for log in &mut logs {
        if log.next() > log.pos {
            log.frame(0, 0);
        }
        let keep = rng.below(log.borders.len() as u64) as usize;
        let keep = if rng.one_in(2) { keep } else { log.borders.len() - 1 };
        log.bytes.truncate(log.borders[keep].0 as usize);
    }
    logs
}

/// A directory with one generation, written under boot id `old`.
pub fn directory(logs: &[LogFile]) -> (MemVolume, Manifest) {
    let mut manifest = Manifest::default();
    let files: Vec<NewFile> =
        logs.iter().map(|l| NewFile { seed: l.seed, start: l.borders[0].1, stream: 0 }).collect();
    let names = manifest.begin_generation(NAME, &files, 1, "old");
    let volume = MemVolume::default();
    for (name, log) in names.iter().zip(logs) {
        volume.put(name, &log.bytes);
    }
    volume.put(&manifest_name(NAME), &manifest.encode());
    (volume, manifest)
}

/// Options under which nothing lies in the data directory.
pub fn options<'v>(data: &'v MemVolume, shards: usize, boot_id: &'v str) -> Options<'v> {
    Options::plain(NAME, "dump.rdb", shards, boot_id, data)
}

/// A keyspace: per database and key, what was pushed to it, in order.
pub type State = BTreeMap<(u32, String), Vec<String>>;

/// Carries out `SELECT`, `RPUSH key value`, `FLUSHALL`; anything else is kept under its own name.
pub fn apply(state: &mut State, db: &mut u32, args: &[&[u8]]) {
    let text: Vec<String> = args.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
    match text[0].to_ascii_uppercase().as_str() {
        "SELECT" => *db = text[1].parse().unwrap(),
        "FLUSHALL" => state.clear(),
        "RPUSH" => state.entry((*db, text[1].clone())).or_default().push(text[2].clone()),
        other => state.entry((*db, other.to_owned())).or_default().push(text[1..].join(" ")),
    }
}

/// Replays a plan.
pub fn load(plan: &Plan<'_>, volume: &dyn Volume, data: &dyn Volume) -> State {
    let mut state = State::new();
    for step in &plan.steps {
        match step {
            Step::Rdb { .. } => panic!("no RDB in these tests"),
            Step::Foreign { file, place, from, end } => {
                let volume = if *place == Place::Log { volume } else { data };
                load_plain(&mut state, volume, file, *from, *end);
            }
            Step::Part { file, len } => load_plain(&mut state, volume, file, 0, *len),
            Step::Generation { files, .. } => {
                for file in files {
                    load_frames(&mut state, volume, file);
                }
            }
        }
    }
    state
}

fn load_plain(state: &mut State, volume: &dyn Volume, file: &str, from: u64, end: u64) {
    let mut reader = PlainReader::open(volume, file, from, end).unwrap();
    let mut db = 0;
    while let Some(command) = reader.next_command().unwrap() {
        apply(state, &mut db, &command.args);
    }
}

fn load_frames(state: &mut State, volume: &dyn Volume, file: &GenerationFile) {
    let mut reader =
        FrameReader::open(volume, &file.file, file.seed, file.start, file.end).unwrap();
    let mut db = 0;
    while let Some(run) = reader.next_run().unwrap() {
        let words = run.words();
        for (_, of_it) in run.commands() {
            apply(state, &mut db, &words[of_it]);
        }
    }
}
