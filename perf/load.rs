//! The load generator of `perf/compare`, `perf/growth` and `perf/idle`: closed loop, one thread,
//! epoll. Knows nothing of the server beyond RESP and shares no code with it.
//!
//! It has to cost far less per operation than the server under test. So nothing is parsed: the
//! requests of a batch lie encoded in one buffer in which only the digits of the keys change, and
//! since every key is present with the same value, the reply to a batch is known beforehand, byte
//! by byte. It is compared whole; anything else (an error, a nil, a value cut short) ends the run
//! with exit code 1.
//!
//! `--request` sends any other command: its words, in which every `@` becomes the digits of the key
//! drawn (`~` those of another one): `--digits` of them, with zeros before. Its replies are not
//! known beforehand, only counted; an error among them ends the run all the same.
//!
//! The latency of a batch runs from the system call that sent it to the one that read the last byte
//! of its replies; every operation of a batch counts with it, as in `redis-benchmark`.
//!
//! Dialogue, so that the caller can read the server's clocks right around the timed part: after
//! the warm-up the line `ready` goes to stdout; the timed part starts with a line on stdin and ends
//! with one line of JSON on stdout; the process goes when stdin ends.
//!
//! With `--marks yes` a line `mark` during the timed part gets one such line for the time since the
//! last mark or the start, and counting begins anew; a batch belongs to the part in which it is
//! answered. Any other line, or the end of stdin, ends the timed part early. So a caller can tell
//! what was before from what is during, to the batch.

use std::collections::BTreeMap;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, epoll, poll};

const USAGE: &str = "load --port P [--host H] [--op set|get|ping | --request WORDS]
     [--connections N] [--pipeline N]
     [--keyspace N] [--value-size N] [--requests N | --seconds S] [--warm-up N]
     [--order random|sequential] [--prefix P] [--seed N] [--digits N] [--marks no|yes]";
/// What standard input is called among the connections.
const STDIN: u64 = u64::MAX;

/// What a run is to do.
#[derive(Clone, Debug)]
struct Plan {
    host: String,
    port: u16,
    op: String,
    words: Option<String>,
    connections: usize,
    pipeline: usize,
    keyspace: u64,
    value_size: usize,
    requests: u64,
    seconds: f64,
    warm_up: u64,
    sequential: bool,
    prefix: String,
    seed: u64,
    digits: usize,
    marks: bool,
}

impl Plan {
    fn from_args(args: impl Iterator<Item = String>) -> Result<Plan, String> {
        let mut given = BTreeMap::new();
        let mut args = args;
        while let Some(name) = args.next() {
            let name = name.strip_prefix("--").ok_or(format!("not an option: {name}"))?.to_owned();
            let value = args.next().ok_or(format!("--{name} needs a value"))?;
            given.insert(name, value);
        }
        let mut take = |name: &str, default: &str| given.remove(name).unwrap_or(default.to_owned());
        fn number<T: std::str::FromStr>(name: &str, text: String) -> Result<T, String> {
            text.parse().map_err(|_| format!("--{name}: not a number: {text}"))
        }
        let plan = Plan {
            host: take("host", "127.0.0.1"),
            port: number("port", take("port", "6379"))?,
            op: take("op", "set"),
            words: Some(take("request", "")).filter(|words| !words.is_empty()),
            connections: number("connections", take("connections", "50"))?,
            pipeline: number("pipeline", take("pipeline", "1"))?,
            keyspace: number("keyspace", take("keyspace", "1000000"))?,
            value_size: number("value-size", take("value-size", "32"))?,
            requests: number("requests", take("requests", "0"))?,
            seconds: number("seconds", take("seconds", "0"))?,
            warm_up: number("warm-up", take("warm-up", "0"))?,
            sequential: take("order", "random") == "sequential",
            prefix: take("prefix", "key:"),
            seed: number("seed", take("seed", "1"))?,
            digits: number("digits", take("digits", "12"))?,
            marks: take("marks", "no") == "yes",
        };
        if let Some(name) = given.keys().next() {
            return Err(format!("unknown option --{name}"));
        }
        let least = plan.connections.min(plan.pipeline).min(plan.digits);
        if least == 0 || plan.keyspace == 0 {
            return Err("connections, pipeline, digits, keyspace: 1 at least".to_owned());
        }
        if (plan.requests == 0) == (plan.seconds == 0.0) {
            return Err("exactly one of --requests and --seconds".to_owned());
        }
        Ok(plan)
    }
}

/// A batch of requests, encoded, and the replies it must get.
struct Batch {
    request: Vec<u8>,
    reply: Vec<u8>,
    request_len: usize,
    reply_len: usize,
    /// Where the first request's key digits begin, and those of another key.
    digits: [Vec<usize>; 2],
    /// How many there are of each.
    width: usize,
    /// Replies are counted, not compared.
    counts: bool,
}

/// Counts the replies in a stream of them.
#[derive(Default)]
struct Counter {
    /// Bytes of a reply that is not complete.
    rest: Vec<u8>,
}

impl Counter {
    /// How many replies `bytes` completes.
    fn count(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let joined;
        let bytes = if self.rest.is_empty() {
            bytes
        } else {
            self.rest.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.rest);
            &joined
        };
        let (mut at, mut count) = (0, 0);
        while let Some(end) = reply_end(bytes, at)? {
            at = end;
            count += 1;
        }
        self.rest.extend_from_slice(&bytes[at..]);
        Ok(count)
    }
}

/// Where the reply that begins at `at` ends, if it is complete.
fn reply_end(bytes: &[u8], mut at: usize) -> Result<Option<usize>, String> {
    let mut left = 1_i64;
    while left > 0 {
        let Some(line) = bytes[at..].iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let (kind, text) = (bytes[at], &bytes[at + 1..at + line - 1]);
        at += line + 1;
        left -= 1;
        let number = || std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        match kind {
            b'-' => return Err(format!("error: {}", String::from_utf8_lossy(text))),
            b'$' => at += number().filter(|n| *n >= 0).map_or(0, |n| n as usize + 2),
            b'*' => left += number().unwrap_or(0).max(0),
            _ => {}
        }
        if at > bytes.len() {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

impl Batch {
    fn new(plan: &Plan) -> Result<Batch, String> {
        let value: String = ('a'..='z').cycle().take(plan.value_size).collect();
        let key = format!("{}{}", plan.prefix, "0".repeat(plan.digits));
        if let Some(words) = &plan.words {
            return Ok(Batch::of_words(words, plan));
        }
        let (words, reply) = match plan.op.as_str() {
            "set" => (vec!["SET", &key, &value], "+OK\r\n".to_owned()),
            "get" => (vec!["GET", &key], format!("${}\r\n{value}\r\n", value.len())),
            "ping" => (vec!["PING"], "+PONG\r\n".to_owned()),
            other => return Err(format!("--op: set, get or ping, not {other}")),
        };
        let mut request = format!("*{}\r\n", words.len());
        let mut digits = [vec![], vec![]];
        for (i, word) in words.iter().enumerate() {
            request += &format!("${}\r\n", word.len());
            if i == 1 {
                digits[0].push(request.len() + plan.prefix.len());
            }
            request += &format!("{word}\r\n");
        }
        Ok(Batch {
            request_len: request.len(),
            reply_len: reply.len(),
            request: request.repeat(plan.pipeline).into_bytes(),
            reply: reply.repeat(plan.pipeline).into_bytes(),
            digits,
            width: plan.digits,
            counts: false,
        })
    }

    fn of_words(words: &str, plan: &Plan) -> Batch {
        let width = plan.digits;
        let words: Vec<&str> = words.split(' ').collect();
        let mut request = format!("*{}\r\n", words.len());
        let mut digits = [vec![], vec![]];
        for word in words {
            let places = word.matches(['@', '~']).count();
            request += &format!("${}\r\n", word.len() + places * (width - 1));
            for part in word.split_inclusive(['@', '~']) {
                let which = usize::from(part.ends_with('~'));
                let text = part.trim_end_matches(['@', '~']);
                request += text;
                if text.len() < part.len() {
                    digits[which].push(request.len());
                    request += &"0".repeat(width);
                }
            }
            request += "\r\n";
        }
        let request_len = request.len();
        let request = request.repeat(plan.pipeline).into_bytes();
        let (reply, reply_len) = (vec![], 0);
        Batch { request, reply, request_len, reply_len, digits, width, counts: true }
    }
}

/// Which keys are asked for, in order.
struct Keys {
    keyspace: u64,
    sequential: bool,
    state: u64,
}

impl Keys {
    fn next(&mut self) -> u64 {
        if self.sequential {
            let key = self.state % self.keyspace;
            self.state += 1;
            return key;
        }
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((u128::from(z) * u128::from(self.keyspace)) >> 64) as u64
    }
}

struct Connection {
    socket: TcpStream,
    /// Requests under way.
    batch: usize,
    /// Reply bytes seen of them, or replies.
    seen: usize,
    counter: Counter,
    sent_at: Instant,
}

struct Load {
    keys: Keys,
    batch: Batch,
    pipeline: usize,
    connections: Vec<Connection>,
    epoll: rustix::fd::OwnedFd,
    buffer: Vec<u8>,
}

/// What was counted since a moment.
struct Outcome {
    since: Instant,
    operations: u64,
    /// Batch latencies in nanoseconds.
    latency: Histogram<u64>,
    /// The longest of them, and when it was over.
    worst: (Duration, Instant),
}

impl Outcome {
    fn new(since: Instant) -> Result<Outcome, String> {
        let latency = Histogram::new_with_bounds(1, 3_600_000_000_000, 3)
            .map_err(|e| format!("histogram: {e}"))?;
        Ok(Outcome { since, operations: 0, latency, worst: (Duration::ZERO, since) })
    }

    fn batch(&mut self, sent_at: Instant, now: Instant, operations: usize) {
        let took = now - sent_at;
        self.latency.saturating_record(took.as_nanos() as u64);
        self.operations += operations as u64;
        self.worst = self.worst.max((took, now));
    }

    fn report(&self) -> String {
        let microseconds = |q: f64| self.latency.value_at_quantile(q) as f64 / 1000.0;
        let seconds = self.since.elapsed().as_secs_f64();
        format!(
            "{{\"operations\":{},\"seconds\":{seconds:.6},\"ops_per_second\":{:.1},\
             \"mean_us\":{:.1},\"p50_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\
             \"max_us\":{:.1},\"max_at_s\":{:.3}}}",
            self.operations,
            self.operations as f64 / seconds,
            self.latency.mean() / 1000.0,
            microseconds(0.50),
            microseconds(0.99),
            microseconds(0.999),
            self.worst.0.as_nanos() as f64 / 1000.0,
            (self.worst.1 - self.since).as_secs_f64(),
        )
    }
}

impl Load {
    fn connect(plan: &Plan) -> Result<Load, String> {
        let batch = Batch::new(plan)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        let mut connections = Vec::new();
        for id in 0..plan.connections {
            let socket = TcpStream::connect((plan.host.as_str(), plan.port))
                .and_then(|s| s.set_nodelay(true).and(s.set_nonblocking(true)).map(|()| s))
                .map_err(|e| format!("connection {id}: {e}"))?;
            let data = epoll::EventData::new_u64(id as u64);
            epoll::add(&epoll, &socket, data, epoll::EventFlags::IN).map_err(|e| e.to_string())?;
            let (counter, sent_at) = (Counter::default(), Instant::now());
            connections.push(Connection { socket, batch: 0, seen: 0, counter, sent_at });
        }
        let buffer = vec![0; batch.reply.len().max(64 * 1024)];
        let state = if plan.sequential { 0 } else { plan.seed };
        let keys = Keys { keyspace: plan.keyspace, sequential: plan.sequential, state };
        Ok(Load { keys, batch, pipeline: plan.pipeline, connections, epoll, buffer })
    }

    /// Sends the next `count` requests on one connection.
    fn send(&mut self, id: usize, count: usize) -> Result<(), String> {
        let Batch { request, request_len, digits, width, .. } = &mut self.batch;
        for places in digits.iter().filter(|places| !places.is_empty()) {
            for i in 0..count {
                let key = self.keys.next();
                for first in places {
                    let at = i * *request_len + first;
                    let mut key = key;
                    for digit in request[at..at + *width].iter_mut().rev() {
                        *digit = b'0' + (key % 10) as u8;
                        key /= 10;
                    }
                }
            }
        }
        let connection = &mut self.connections[id];
        connection.batch = count;
        connection.seen = 0;
        connection.sent_at = Instant::now();
        let mut rest = &request[..count * *request_len];
        while !rest.is_empty() {
            match connection.socket.write(rest) {
                Ok(n) => rest = &rest[n..],
                // A batch larger than the socket's buffer: the server reads on, so waiting is safe.
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(&connection.socket, PollFlags::OUT)];
                    poll(&mut fds, None).map_err(|e| e.to_string())?;
                }
                Err(e) => return Err(format!("send: {e}")),
            }
        }
        Ok(())
    }

    /// Reads what has come; true when the batch is answered.
    fn receive(&mut self, id: usize) -> Result<bool, String> {
        let connection = &mut self.connections[id];
        let n = match connection.socket.read(&mut self.buffer) {
            Ok(0) => return Err("the server closed a connection".to_owned()),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(format!("receive: {e}")),
        };
        if self.batch.counts {
            connection.seen += connection.counter.count(&self.buffer[..n])?;
            return Ok(connection.seen == connection.batch);
        }
        let whole = connection.batch * self.batch.reply_len;
        let expected = &self.batch.reply[..whole];
        let seen = connection.seen;
        if whole - seen < n || self.buffer[..n] != expected[seen..seen + n] {
            let shown = &self.buffer[..n.min(200)];
            return Err(format!("unexpected reply: {:?}", String::from_utf8_lossy(shown)));
        }
        connection.seen += n;
        Ok(connection.seen == whole)
    }

    /// Runs until `requests` are done or `seconds` are over, whichever is not 0; with `marks`,
    /// until standard input ends it.
    fn run(&mut self, requests: u64, seconds: f64, marks: bool) -> Result<Outcome, String> {
        let mut to_send = if requests == 0 { u64::MAX } else { requests };
        let mut busy = 0;
        let start = Instant::now();
        let mut outcome = Outcome::new(start)?;
        let mut end = (requests == 0).then(|| start + Duration::from_secs_f64(seconds));
        if marks {
            let data = epoll::EventData::new_u64(STDIN);
            epoll::add(&self.epoll, io::stdin(), data, epoll::EventFlags::IN)
                .map_err(|e| format!("stdin: {e}"))?;
        }
        for id in 0..self.connections.len() {
            let count = to_send.min(self.pipeline as u64);
            if count > 0 {
                self.send(id, count as usize)?;
                to_send -= count;
                busy += 1;
            }
        }
        let mut events = Vec::with_capacity(256);
        while busy > 0 {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.map_err(|e| e.to_string())?,
            };
            for event in &events {
                let id = { event.data }.u64();
                if id == STDIN {
                    if !marked(&mut outcome)? {
                        epoll::delete(&self.epoll, io::stdin()).map_err(|e| e.to_string())?;
                        end = Some(Instant::now());
                    }
                    continue;
                }
                let id = id as usize;
                if !self.receive(id)? {
                    continue;
                }
                let now = Instant::now();
                outcome.batch(self.connections[id].sent_at, now, self.connections[id].batch);
                let count = to_send.min(self.pipeline as u64);
                if count > 0 && end.is_none_or(|end| now < end) {
                    self.send(id, count as usize)?;
                    to_send -= count;
                } else {
                    busy -= 1;
                }
            }
        }
        Ok(outcome)
    }
}

/// Takes a line from standard input: at `mark` tells what was counted and begins anew; false at
/// any other.
fn marked(outcome: &mut Outcome) -> Result<bool, String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|e| format!("stdin: {e}"))?;
    if line.trim_end() != "mark" {
        return Ok(false);
    }
    println!("{}", outcome.report());
    *outcome = Outcome::new(Instant::now())?;
    Ok(true)
}

fn run() -> Result<(), String> {
    let plan = Plan::from_args(std::env::args().skip(1)).map_err(|e| format!("{e}\n{USAGE}"))?;
    let mut load = Load::connect(&plan)?;
    if plan.warm_up > 0 {
        load.run(plan.warm_up, 0.0, false)?;
    }
    println!("ready");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|e| format!("stdin: {e}"))?;
    let outcome = load.run(plan.requests, plan.seconds, plan.marks)?;
    println!("{}", outcome.report());
    // The caller reads our CPU time before we are gone.
    line.clear();
    io::stdin().lock().read_line(&mut line).map_err(|e| format!("stdin: {e}"))?;
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("load: {message}");
            ExitCode::FAILURE
        }
    }
}
