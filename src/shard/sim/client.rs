//! Simulated clients: random requests over few keys, and what each reply tells.
//!
//! Every value written carries the id of its request (`r17.`), so that whoever finds it later knows
//! who wrote it. For every request the client knows, from its arguments alone, which shards execute
//! it and which keys it looks at there.

use std::collections::VecDeque;

use crate::base::crc::shard_of;
use crate::base::random::Random;
use crate::client::ConnKey;
use crate::shard::requests::all_shards;
use crate::shard::sim::values::{self, Taste};

/// Databases used.
pub const DATABASES: usize = 3;

/// What makes files, or gives them up: requests that touch no data.
const FILES: &[&str] =
    &["BGSAVE", "BGSAVE", "BGSAVE", "BGSAVE", "SAVE", "SAVE", "LASTSAVE", "BGSAVE CANCEL"];
/// The same of the log.
const LOG_FILES: &[&str] = &[
    "BGREWRITEAOF",
    "BGREWRITEAOF",
    "BGREWRITEAOF",
    "BGREWRITEAOF",
    "BACKUP START",
    "BACKUP START",
    "BACKUP SEAL",
    "BACKUP SEAL",
    "BACKUP SEAL",
    "BACKUP CLEANUP",
    "BACKUP ABORT",
];
/// What is changed of how the log is written while it is being written: the policy of flushing,
const SETTINGS: &[&str] = &["appendfsync always", "appendfsync everysec", "appendfsync no"];
/// and what promises nothing.
const METHODS: &[&str] = &[
    "aof-commit-method append",
    "aof-commit-method segment",
    "aof-commit-method append",
    "aof-commit-method segment",
    "aof-use-rdb-preamble no",
    "aof-use-rdb-preamble yes",
    "auto-aof-rewrite-percentage 50",
    "auto-aof-rewrite-percentage 0",
    "aof-disable-auto-gc yes",
    "aof-disable-auto-gc no",
];

/// The log is turned on and off, and somebody waits until it is what a start finds.
const TURNS: &[&str] = &[
    "CONFIG SET appendonly yes",
    "CONFIG SET appendonly yes",
    "CONFIG SET appendonly no",
    "CONFIG SET appendonly no",
    DURABLE,
];
/// Asks for the word that all is durable.
pub const DURABLE: &str = "WAITAOF 1 0 0";

/// Something a request looks at: a key of a database, or, without one, all keys that these shards
/// hold of it.
pub type Look = (usize, Option<Vec<u8>>, u64);

/// A request under way.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Unique in the schedule.
    pub id: u64,
    /// For humans.
    pub text: String,
    /// Shards that execute it; 0: it touches no data.
    pub shards: u64,
    /// By a lease when the log is cut, or several shards take part.
    pub lease: bool,
    /// What it looks at.
    pub looks: Vec<Look>,
    /// What an EXEC looks at that is refused.
    pub watched: Vec<Look>,
    /// Its reply tells of no data.
    pub blind: bool,
    /// A plain GET: its reply can be compared with the value.
    pub get: bool,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    /// The shard it is connected to.
    pub home: usize,
    /// Its connection.
    pub key: ConnKey,
    /// Requests not answered yet.
    pub waiting: VecDeque<Request>,
    /// Bytes of replies that are not whole yet.
    pub received: Vec<u8>,
    db: usize,
    shards: usize,
    /// There is a log.
    log: bool,
    taste: Taste,
    /// What a WATCH looks at whose transaction comes with the next requests, and its shards.
    watching: Option<(Vec<Look>, u64)>,
}

/// Bytes to send, with the requests in them.
pub struct Batch {
    /// RESP.
    pub bytes: Vec<u8>,
    /// In order.
    pub requests: Vec<Request>,
}

/// A request.
pub type Words = Vec<Vec<u8>>;

/// The words of a text.
pub fn words(text: &str) -> Words {
    text.split(' ').map(|w| w.as_bytes().to_vec()).collect()
}

impl Client {
    /// A client that has just connected.
    pub fn new(home: usize, key: ConnKey, shards: usize, (log, taste): (bool, Taste)) -> Self {
        let (waiting, received, watching) = Default::default();
        Client { home, key, waiting, received, db: 0, shards, log, taste, watching }
    }

    /// Some requests, sent in one go.
    pub fn pipeline(&mut self, random: &mut Random, next_id: &mut u64) -> Batch {
        let mut batch = Batch { bytes: Vec::new(), requests: Vec::new() };
        if let Some((watched, shards)) = self.watching.take() {
            self.transaction(random, next_id, &mut batch, watched, shards);
        }
        for _ in 0..1 + random.below(4) {
            match random.below(20) {
                0 => self.transaction(random, next_id, &mut batch, Vec::new(), 0),
                1..=2 => {
                    let (watched, shards) = self.watch(random, next_id, &mut batch);
                    if random.one_in(2) {
                        self.watching = Some((watched, shards));
                        break;
                    }
                    self.transaction(random, next_id, &mut batch, watched, shards);
                }
                3 => {
                    let db = random.below(DATABASES as u64) as usize;
                    self.push(&mut batch, &words(&format!("SELECT {db}")), next_id);
                    self.db = db;
                }
                4 if random.one_in(20) => {
                    let set = format!("CONFIG SET {}", one_of(SETTINGS, random));
                    self.push(&mut batch, &words(&set), next_id);
                }
                5 if self.log && random.one_in(8) => {
                    self.push(&mut batch, &words("DEBUG LOADAOF"), next_id);
                }
                6 if random.one_in(if self.taste.is_strong() { 2 } else { 4 }) => {
                    self.push(&mut batch, &words(one_of(FILES, random)), next_id);
                }
                7 | 9 if self.log && random.one_in(self.taste.files) => {
                    self.push(&mut batch, &words(one_of(LOG_FILES, random)), next_id);
                }
                10 if self.taste.turns && random.one_in(12) => {
                    self.push(&mut batch, &words(one_of(TURNS, random)), next_id);
                }
                11 if self.log && random.one_in(40) => {
                    self.push(&mut batch, &words(DURABLE), next_id);
                }
                8 if self.log && random.one_in(2 * self.taste.files) => {
                    let set = format!("CONFIG SET {}", one_of(METHODS, random));
                    self.push(&mut batch, &words(&set), next_id);
                }
                _ => {
                    let command = command(random, *next_id, self.shards, self.taste);
                    self.push(&mut batch, &command, next_id);
                }
            }
        }
        batch
    }

    /// WATCH, and perhaps a look at what is watched; gives what it looks at, and its shards.
    fn watch(
        &mut self,
        random: &mut Random,
        next_id: &mut u64,
        batch: &mut Batch,
    ) -> (Vec<Look>, u64) {
        let mut watch = words("WATCH");
        let first = random.below(6);
        for i in 0..1 + random.below(2) {
            watch.push(format!("k{}", (first + 3 * i) % 8).into_bytes());
        }
        self.push(batch, &watch, next_id);
        if random.one_in(2) {
            let get = [b"GET".to_vec(), watch[1].clone()];
            self.push(batch, &get, next_id);
        }
        (self.looks(&watch), self.shards_of(&watch))
    }

    /// MULTI … EXEC, or DISCARD, with what is watched.
    fn transaction(
        &mut self,
        random: &mut Random,
        next_id: &mut u64,
        batch: &mut Batch,
        watched: Vec<Look>,
        mut shards: u64,
    ) {
        self.push(batch, &words("MULTI"), next_id);
        let mut looks = Vec::new();
        let (mut cut, mut ping) = (false, false);
        for _ in 0..1 + random.below(3) {
            let command = command(random, *next_id, self.shards, self.taste);
            looks.extend(self.looks(&command));
            shards |= self.shards_of(&command);
            cut |= is_cut(&command) && self.cuts();
            ping |= command[0] == b"PING";
            self.push_silent(batch, &command, next_id);
        }
        if random.one_in(8) {
            return self.push(batch, &words("DISCARD"), next_id);
        }
        let here = 1 << self.home;
        if shards == 0 {
            shards = here;
        }
        // A command that acts on the client runs where the client is.
        let lease = cut || shards.count_ones() > 1 || ping && shards != here;
        let text = "EXEC".to_owned();
        let id = take(next_id);
        let request = Request { id, text, shards, lease, looks, watched, ..Request::default() };
        encode(&mut batch.bytes, &words("EXEC"));
        batch.requests.push(request);
    }

    fn push(&self, batch: &mut Batch, command: &[Vec<u8>], next_id: &mut u64) {
        let shards = self.shards_of(command);
        let whole = is_cut(command) && self.cuts() || command[0] == b"DEBUG";
        let lease = whole || (shards.count_ones() > 1 && is_leased(command));
        let request = Request {
            id: take(next_id),
            text: shown(command),
            shards,
            lease,
            looks: self.looks(command),
            watched: Vec::new(),
            blind: command[0] == b"WATCH",
            get: command[0] == b"GET",
        };
        encode(&mut batch.bytes, command);
        batch.requests.push(request);
    }

    /// A command that is queued: its reply tells nothing.
    fn push_silent(&self, batch: &mut Batch, command: &[Vec<u8>], next_id: &mut u64) {
        let text = format!("(queued) {}", shown(command));
        encode(&mut batch.bytes, command);
        batch.requests.push(Request { id: take(next_id), text, ..Request::default() });
    }

    /// What concerns whole keyspaces takes a lease.
    fn cuts(&self) -> bool {
        self.log || self.shards > 1
    }

    fn shards_of(&self, command: &[Vec<u8>]) -> u64 {
        let own = |key: &Vec<u8>| 1 << shard_of(key, self.shards);
        match &command[0][..] {
            b"SELECT" | b"MULTI" | b"DISCARD" | b"PING" | b"CONFIG" | b"WAITAOF" => 0,
            _ if is_of_files(command) => 0,
            b"DBSIZE" | b"KEYS" | b"RANDOMKEY" | b"DEBUG" => all_shards(self.shards),
            b"SCAN" if command[1] == b"0" => all_shards(self.shards),
            b"SCAN" => 1 << command[1][0].wrapping_sub(b'0'),
            _ if is_cut(command) => all_shards(self.shards),
            _ => keys(command).iter().map(own).fold(0, |set, s| set | s),
        }
    }

    fn looks(&self, command: &[Vec<u8>]) -> Vec<Look> {
        let shards = self.shards_of(command);
        match &command[0][..] {
            b"DBSIZE" | b"KEYS" | b"RANDOMKEY" | b"SCAN" => vec![(self.db, None, shards)],
            b"MOVE" if command[2] == self.db.to_string().into_bytes() => Vec::new(),
            b"COPY" if command[1] == command[2] => Vec::new(),
            // Any key that is there is a reason to refuse.
            b"MSETNX" => Vec::new(),
            // Without a source nobody looks for the other key; with one it is written.
            b"RENAME" | b"RENAMENX" | b"COPY" | b"MOVE" => {
                vec![(self.db, Some(command[1].clone()), shards)]
            }
            _ => keys(command).into_iter().map(|key| (self.db, Some(key), shards)).collect(),
        }
    }

    /// Takes the next whole reply out of what has been received.
    pub fn next_reply(&mut self) -> Option<Vec<u8>> {
        let len = reply_len(&self.received)?;
        Some(self.received.drain(..len).collect())
    }
}

fn one_of<'a>(texts: &[&'a str], random: &mut Random) -> &'a str {
    texts[random.below(texts.len() as u64) as usize]
}

fn take(next_id: &mut u64) -> u64 {
    *next_id += 1;
    *next_id - 1
}

fn is_cut(command: &[Vec<u8>]) -> bool {
    matches!(&command[0][..], b"FLUSHALL" | b"FLUSHDB" | b"SWAPDB")
}

fn is_of_files(command: &[Vec<u8>]) -> bool {
    FILES.iter().chain(LOG_FILES).any(|text| text.as_bytes() == command.join(&b' '))
}

fn is_leased(command: &[Vec<u8>]) -> bool {
    matches!(&command[0][..], b"RENAME" | b"RENAMENX" | b"COPY" | b"MSETNX")
}

fn keys(command: &[Vec<u8>]) -> Vec<Vec<u8>> {
    match &command[0][..] {
        b"DEL" | b"UNLINK" | b"EXISTS" | b"TOUCH" | b"MGET" | b"WATCH" => command[1..].to_vec(),
        b"MSET" | b"MSETNX" => command[1..].iter().step_by(2).cloned().collect(),
        b"RENAME" | b"RENAMENX" | b"COPY" => command[1..3].to_vec(),
        b"SELECT" | b"MULTI" | b"DISCARD" | b"PING" | b"CONFIG" | b"WAITAOF" => Vec::new(),
        _ if is_of_files(command) => Vec::new(),
        b"DBSIZE" | b"KEYS" | b"RANDOMKEY" | b"SCAN" | b"DEBUG" => Vec::new(),
        _ if is_cut(command) => Vec::new(),
        _ => command[1..2].to_vec(),
    }
}

/// A random command; what it writes says `id`.
fn command(random: &mut Random, id: u64, shards: usize, taste: Taste) -> Words {
    let mut command = words(&command_text(random, id, shards, taste));
    // Values that take several blocks, and some that imitate what stands around them.
    if matches!(&command[0][..], b"SET" | b"APPEND" | b"MSET") && random.one_in(12) {
        let piece: &[u8] = match random.below(4) {
            0 => b"\0",
            1 => b"\r\n#M 1 3\r\n*1\r\n$8\r\nFLUSHALL\r\n",
            _ => b"x",
        };
        let times = random.below(1500) as usize / piece.len();
        command[2].extend(piece.repeat(times));
    }
    command
}

fn command_text(random: &mut Random, id: u64, shards: usize, taste: Taste) -> String {
    if random.below(4) < taste.share() {
        return values::command(random, id, taste);
    }
    let key = |random: &mut Random| format!("k{}", random.below(8));
    let some = |random: &mut Random| {
        let first = random.below(8);
        (0..2 + random.below(3)).map(|i| format!("k{}", (first + i) % 8)).collect::<Vec<_>>()
    };
    let k = key(random);
    match random.below(100) {
        0..=13 => format!("SET {k} r{id}."),
        14..=24 => strings(random, id, &k),
        25..=28 => format!("APPEND {k} r{id}."),
        29..=34 => format!("INCR n{}", random.below(3)),
        35 => format!("INCRBYFLOAT n{} 2", random.below(3)),
        36..=38 => format!("DEL n{}", random.below(3)),
        39..=53 => format!("GET {k}"),
        54..=55 => format!("GET n{}", random.below(3)),
        56..=60 => format!("DEL {}", some(random).join(" ")),
        61 => format!("UNLINK {}", some(random).join(" ")),
        62..=69 => {
            let pairs: Vec<_> = some(random).iter().map(|k| format!("{k} r{id}.")).collect();
            format!("MSET {}", pairs.join(" "))
        }
        70..=71 => format!("MSETNX {k} r{id}. {} r{id}.", key(random)),
        72..=76 => format!("MGET {}", some(random).join(" ")),
        77..=78 => format!("EXISTS {}", some(random).join(" ")),
        79 => format!("TOUCH {}", some(random).join(" ")),
        80..=84 => format!("RENAME {k} {}", key(random)),
        85 => format!("RENAMENX {k} {}", key(random)),
        86..=87 => format!("COPY {k} {} REPLACE", key(random)),
        88..=89 => expiry(random, &k),
        90 => format!("STRLEN {k}"),
        91 => "DBSIZE".to_owned(),
        92 => "KEYS *".to_owned(),
        93 => "RANDOMKEY".to_owned(),
        94..=95 => format!("SCAN {} COUNT 100", random.below(shards as u64)),
        96 => format!("MOVE {k} {}", random.below(DATABASES as u64)),
        97..=98 if taste.calm => "PING".to_owned(),
        97 => ["FLUSHALL", "FLUSHDB", "FLUSHDB"][random.below(3) as usize].to_owned(),
        98 => format!("SWAPDB {} {}", random.below(3), random.below(3)),
        _ => "PING".to_owned(),
    }
}

/// Commands on one string whose effect is not the request itself.
fn strings(random: &mut Random, id: u64, k: &str) -> String {
    match random.below(11) {
        0 => format!("SET {k} r{id}. PX {}", 1 + random.below(1500)),
        1 => format!("SET {k} r{id}. NX"),
        2 => format!("SET {k} r{id}. GET"),
        3 => format!("SET {k} r{id}. XX KEEPTTL"),
        4 => format!("GETDEL {k}"),
        5 => format!("GETEX {k} PX {}", 1 + random.below(1500)),
        6 => format!("GETEX {k} PERSIST"),
        7 => format!("GETSET {k} r{id}."),
        8 => format!("SETRANGE {k} {} r{id}.", random.below(6)),
        9 => format!("SETEX {k} 1 r{id}."),
        _ => format!("SETNX {k} r{id}."),
    }
}

fn expiry(random: &mut Random, k: &str) -> String {
    match random.below(5) {
        0 => format!("PERSIST {k}"),
        1 => format!("EXPIREAT {k} 1"),
        2 => format!("EXPIRE {k} 1 NX"),
        3 => format!("PTTL {k}"),
        _ => format!("PEXPIRE {k} {}", 1 + random.below(2000)),
    }
}

fn encode(out: &mut Vec<u8>, command: &[Vec<u8>]) {
    out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for word in command {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn shown(command: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&command.join(&b' ')).into_owned()
}

/// Length of the RESP2 reply that `bytes` begins with, when it is whole.
pub fn reply_len(bytes: &[u8]) -> Option<usize> {
    let line = bytes.iter().position(|&b| b == b'\n')? + 1;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    match bytes[0] {
        b'+' | b'-' | b':' => Some(line),
        b'$' => {
            let len = number()?;
            let whole = if len < 0 { line } else { line + len as usize + 2 };
            (bytes.len() >= whole).then_some(whole)
        }
        b'*' => {
            let mut at = line;
            for _ in 0..number()?.max(0) {
                at += reply_len(&bytes[at..])?;
            }
            Some(at)
        }
        other => panic!("no reply begins with {other}"),
    }
}
