//! The least a server can do: what the machine leaves over for everybody else.
//!
//! `least --port N --dir DIR --appendonly yes|no --appendfsync POLICY [--share N] [--depth N]
//! [--awake yes|no]` answers every request with `+OK`, on one thread with a ring of its own. It
//! parses lengths and keeps nothing. Under `always` as many bytes as were sent are written before
//! they are answered, past the page cache over blocks that are there and with the disk's own flush:
//! what that policy takes at least. (Any other policy writes nothing.) A commit starts when so many
//! percent (`--share`) of all clients wait for it, or none has come for a while, and fewer than
//! `--depth` are in flight. With `--awake yes` it never sleeps.
//!
//! Other options are taken and have no effect, so that `perf/compare` runs it like a server.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

const BLOCK: usize = 4096;
const FILE_BLOCKS: usize = 16 * 1024;
/// What one request reads at most.
const READ: usize = 64 * 1024;
/// A pause that ends the waiting for more.
const PAUSE: Duration = Duration::from_micros(100);

const ACCEPT: u64 = 0;
/// One for each commit in flight: client ids begin behind them.
const COMMIT: u64 = 1;
const DEPTH_MAX: usize = 15;
const FIRST: u64 = 8;

/// Memory that starts at a block, for writes past the page cache.
#[repr(C, align(4096))]
#[derive(Clone)]
struct Block([u8; BLOCK]);

struct Client {
    socket: OwnedFd,
    /// Where the kernel reads to; boxed, since it must not move meanwhile.
    input: Box<[u8]>,
    /// Bytes of a request that is not whole.
    have: usize,
    output: Vec<u8>,
    sending: bool,
    /// A read is in flight.
    reading: bool,
}

/// The end of the first whole request and its name, if it is there.
fn request(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let line = |from: usize| {
        let end = from + bytes.get(from..)?.iter().position(|byte| *byte == b'\n')?;
        let digits = bytes.get(from + 1..end - 1)?;
        Some((end + 1, std::str::from_utf8(digits).ok()?.parse::<usize>().ok()?))
    };
    let (mut at, words) = line(0)?;
    let mut name = &bytes[..0];
    for word in 0..words {
        let (from, long) = line(at)?;
        at = from + long + 2;
        let text = bytes.get(from..at)?;
        if word == 0 {
            name = &text[..long];
        }
    }
    Some((at, name))
}

struct Log {
    file: File,
    /// What is being written, and what comes next.
    flying: Vec<Block>,
    bytes: usize,
    /// The block that the next commit begins at.
    at: usize,
    /// Clients whose requests are in each of the commits in flight, and in the next one.
    taken: Vec<Option<Vec<u64>>>,
    waiting: Vec<u64>,
    /// So many percent of all clients.
    share: usize,
    grew: Instant,
}

impl Log {
    fn open(dir: &str, share: usize, depth: usize) -> io::Result<Self> {
        let path = std::path::Path::new(dir).join("least.log");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(libc::O_DIRECT)
            .open(path)?;
        let filler = vec![Block([b'\n'; BLOCK]); 256];
        for piece in 0..FILE_BLOCKS / filler.len() {
            file.write_all_at(bytes_of(&filler), (piece * filler.len() * BLOCK) as u64)?;
        }
        file.sync_all()?;
        Ok(Self {
            file,
            flying: filler,
            bytes: 0,
            at: 0,
            taken: vec![None; depth],
            waiting: Vec::new(),
            share,
            grew: Instant::now(),
        })
    }

    fn take(&mut self, client: u64, bytes: usize) {
        self.waiting.push(client);
        self.bytes += bytes;
        self.grew = Instant::now();
    }

    /// Whether a commit could start, but for the clients that are waited for.
    fn is_gathering(&self) -> bool {
        !self.waiting.is_empty() && self.taken.contains(&None)
    }

    /// The next commit, if it is time.
    fn commit(&mut self, clients: usize) -> Option<squeue::Entry> {
        let late = self.grew.elapsed() >= PAUSE;
        let free = self.taken.iter().position(Option::is_none)?;
        if self.waiting.is_empty() {
            return None;
        }
        if self.waiting.len() * 100 < clients * self.share && !late {
            return None;
        }
        let blocks = self.bytes.div_ceil(BLOCK).clamp(1, self.flying.len());
        if self.at + blocks > FILE_BLOCKS {
            self.at = 0;
        }
        let fd = types::Fd(self.file.as_raw_fd());
        let entry = opcode::Write::new(fd, self.flying[0].0.as_ptr(), (blocks * BLOCK) as u32)
            .offset((self.at * BLOCK) as u64)
            .rw_flags(libc::RWF_DSYNC)
            .build()
            .user_data(COMMIT + free as u64);
        self.at += blocks;
        self.bytes = 0;
        self.taken[free] = Some(std::mem::take(&mut self.waiting));
        Some(entry)
    }
}

fn bytes_of(blocks: &[Block]) -> &[u8] {
    // SAFETY: blocks are plain bytes without padding, one behind the other.
    unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), std::mem::size_of_val(blocks)) }
}

struct Server {
    ring: IoUring,
    clients: HashMap<u64, Client>,
    next: u64,
    log: Option<Log>,
    sets: u64,
}

impl Server {
    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what an entry points to lives until its completion: a client's input and output
        // stay where they are while `reading` and `sending`, a log's blocks as long as the log.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit().expect("io_uring_enter");
        }
    }

    fn read(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let room = &mut client.input[client.have..];
        let fd = types::Fd(client.socket.as_raw_fd());
        let entry = opcode::Recv::new(fd, room.as_mut_ptr(), room.len() as u32).build();
        client.reading = true;
        self.push(&entry.user_data(id << 1));
    }

    fn send(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let fd = types::Fd(client.socket.as_raw_fd());
        let entry = opcode::Send::new(fd, client.output.as_ptr(), client.output.len() as u32)
            .flags(libc::MSG_WAITALL);
        client.sending = true;
        self.push(&entry.build().user_data(id << 1 | 1));
    }

    /// Bytes have come; answers what is whole, at once or behind a commit.
    fn came(&mut self, id: u64, bytes: usize) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.reading = false;
        client.have += bytes;
        let (mut at, mut writes) = (0, 0);
        while let Some((end, name)) = request(&client.input[at..client.have]) {
            match name.to_ascii_lowercase().as_slice() {
                b"ping" => client.output.extend_from_slice(b"+PONG\r\n"),
                b"dbsize" => write!(client.output, ":{}\r\n", self.sets).expect("memory"),
                b"info" => client.output.extend_from_slice(b"$2\r\n# \r\n"),
                _ => {
                    client.output.extend_from_slice(b"+OK\r\n");
                    self.sets += 1;
                    writes += end;
                }
            }
            at += end;
        }
        client.input.copy_within(at..client.have, 0);
        client.have -= at;
        assert!(client.have < READ, "a request is longer than this program takes");
        if at == 0 {
            return self.read(id);
        }
        match &mut self.log {
            Some(log) if writes > 0 => log.take(id, writes),
            _ => self.send(id),
        }
    }

    fn completed(&mut self, entry: &cqueue::Entry) {
        let result = entry.result();
        match entry.user_data() {
            ACCEPT => {
                assert!(result >= 0, "accept: {}", io::Error::from_raw_os_error(-result));
                // SAFETY: the kernel has just made it, for nobody else.
                let socket = unsafe { OwnedFd::from_raw_fd(result) };
                let id = self.next;
                self.next += 1;
                let input = vec![0; READ].into_boxed_slice();
                let client = Client {
                    socket,
                    input,
                    have: 0,
                    output: Vec::new(),
                    sending: false,
                    reading: false,
                };
                self.clients.insert(id, client);
                self.read(id);
            }
            data @ COMMIT..=15 => {
                assert!(result > 0, "write: {}", io::Error::from_raw_os_error(-result));
                let log = self.log.as_mut().expect("it was begun for one");
                let taken = log.taken[(data - COMMIT) as usize].take();
                for id in taken.expect("a commit completes once") {
                    self.send(id);
                }
            }
            data if data & 1 == 1 => {
                let Some(client) = self.clients.get_mut(&(data >> 1)) else { return };
                assert!(result < 0 || result as usize == client.output.len());
                client.output.clear();
                client.sending = false;
                self.read(data >> 1);
            }
            data if result > 0 => self.came(data >> 1, result as usize),
            data => drop(self.clients.remove(&(data >> 1))),
        }
    }

    /// Hands over what is queued, and takes what has completed: `wanted` at least.
    fn enter(&self, queued: usize, wanted: u32) -> io::Result<()> {
        let flags = 1; // IORING_ENTER_GETEVENTS, also where nothing is waited for
        // SAFETY: entries are sound as `push` has them, and there is no signal mask.
        unsafe {
            self.ring.submitter().enter::<libc::sigset_t>(queued as u32, wanted, flags, None)
        }?;
        Ok(())
    }

    fn run(&mut self, awake: bool) -> io::Result<()> {
        loop {
            let entry = self.log.as_mut().and_then(|log| log.commit(self.clients.len()));
            if let Some(entry) = entry {
                self.push(&entry);
            }
            let gathers = self.log.as_ref().is_some_and(Log::is_gathering);
            let wanted = u32::from(!awake && !gathers);
            let queued = self.ring.submission().len();
            self.enter(queued, wanted)?;
            let completed: Vec<_> = self.ring.completion().collect();
            for entry in &completed {
                self.completed(entry);
            }
        }
    }
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: &str| {
        let found = words.iter().position(|word| word == name);
        found.and_then(|at| words.get(at + 1)).map_or_else(|| default.into(), String::clone)
    };
    let number = |name: &str, default: &str| option(name, default).parse::<usize>();
    let usage = || io::Error::other("least --port N --dir DIR --appendonly yes|no");
    let port = number("--port", "6379").map_err(|_| usage())?;
    let share = number("--share", "0").map_err(|_| usage())?;
    let depth = number("--depth", "1").map_err(|_| usage())?.clamp(1, DEPTH_MAX);
    let writes = option("--appendonly", "no") == "yes" && option("--appendfsync", "") == "always";
    let log = writes.then(|| Log::open(&option("--dir", "."), share, depth)).transpose()?;
    let listener = TcpListener::bind(("127.0.0.1", port as u16))?;
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .build(1024)?;
    let mut server = Server { ring, clients: HashMap::new(), next: FIRST, log, sets: 0 };
    let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).build();
    server.push(&accept.user_data(ACCEPT));
    server.run(option("--awake", "no") == "yes")
}
