//! The ceiling: a server that does nothing but answer `+PONG` to every request, on the same ring
//! as the real one. Prints the server thread's CPU time per request.
//!
//! ```text
//! cargo bench --bench echo -- [--connections 50] [--pipeline 1] [--seconds 3]
//!                             [--server-core 0] [--client-core 1]
//! cargo bench --bench echo -- --port 7000 [--server-core 0]
//! redis-benchmark -p 7000 -t ping_mbulk -c 50 -n 1000000 -P 16
//! ```
//!
//! With `--port` it serves any client until the last connection of a run has gone. A request is a
//! RESP array without `*` in its arguments.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ringstone::ring::{ConnId, Event, Ring, RingOptions, Wait, net};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";
/// A run counts as begun after this many requests: clients ask a few things before.
const WARM: u64 = 1000;

#[derive(Default)]
struct Peer {
    /// Requests not yet answered.
    owed: usize,
    sending: bool,
    /// Stands in the list of those to be answered this turn.
    listed: bool,
    spare: Vec<u8>,
}

struct Outcome {
    requests: u64,
    turns: u64,
    cpu_ns: u64,
}

/// CPU time of the calling thread in nanoseconds.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("nanoseconds")
}

fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        eprintln!("not pinned to core {core}: {error}");
    }
}

struct Server {
    ring: Ring,
    peers: Vec<Peer>,
    /// Connections with something owed and no send in flight.
    ready: Vec<ConnId>,
    requests: u64,
}

impl Server {
    fn peer(&mut self, conn: ConnId) -> &mut Peer {
        &mut self.peers[conn.index as usize]
    }

    fn want_answer(&mut self, conn: ConnId) {
        let peer = self.peer(conn);
        if peer.owed > 0 && !peer.sending && !peer.listed {
            peer.listed = true;
            self.ready.push(conn);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Accepted { conn, .. } => {
                let index = conn.index as usize;
                if self.peers.len() <= index {
                    self.peers.resize_with(index + 1, Peer::default);
                }
                self.peers[index] = Peer::default();
                self.ring.start_receive(conn);
            }
            Event::Received { conn, data } => {
                let bytes = self.ring.bytes(&data);
                let found = memchr::memchr_iter(b'*', bytes).count();
                self.ring.recycle(data);
                self.requests += found as u64;
                self.peer(conn).owed += found;
                self.want_answer(conn);
            }
            Event::Sent { conn, buf, .. } => {
                let peer = self.peer(conn);
                peer.sending = false;
                peer.spare = buf;
                self.want_answer(conn);
            }
            Event::Ended { conn, .. } => self.ring.close(conn, true),
            Event::AcceptFailed { error, .. } => panic!("accept: {error}"),
            Event::Closed { .. } | Event::Woken | Event::Disk(_) => {}
        }
    }

    fn answer(&mut self) {
        for conn in std::mem::take(&mut self.ready) {
            let peer = &mut self.peers[conn.index as usize];
            peer.listed = false;
            peer.sending = true;
            let mut buf = std::mem::take(&mut peer.spare);
            for _ in 0..std::mem::take(&mut peer.owed) {
                buf.extend_from_slice(PONG);
            }
            self.ring.send(conn, buf, Vec::new());
        }
    }
}

/// Serves until the last connection has gone.
fn serve(socket: OwnedFd, core: usize) -> Outcome {
    pin(core);
    let ring = Ring::new(&RingOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    println!("{}", ring.features());
    let mut server = Server { ring, peers: Vec::new(), ready: Vec::new(), requests: 0 };
    server.ring.listen(socket);
    let (mut turns, mut before) = (0, cpu_ns());
    let mut warmed = false;
    while server.requests < WARM || server.ring.connections() > 0 {
        server.ring.enter(Wait::Forever).expect("enter");
        while let Some(event) = server.ring.next_event() {
            server.handle(event);
        }
        server.answer();
        turns += 1;
        if !warmed && server.requests >= WARM {
            (warmed, turns, before) = (true, 0, cpu_ns());
        }
    }
    Outcome { requests: server.requests - WARM, turns, cpu_ns: cpu_ns() - before }
}

/// Asks in rounds: on every connection a pipeline of requests, then all the answers.
fn ask(addr: SocketAddr, connections: usize, pipeline: usize, time: Duration, core: usize) {
    pin(core);
    let mut streams: Vec<TcpStream> =
        (0..connections).map(|_| TcpStream::connect(addr).expect("connect")).collect();
    streams.iter().for_each(|stream| stream.set_nodelay(true).expect("nodelay"));
    let request = PING.repeat(pipeline);
    let mut answer = vec![0; PONG.len() * pipeline];
    let start = Instant::now();
    while start.elapsed() < time {
        for stream in &mut streams {
            stream.write_all(&request).expect("write");
        }
        for stream in &mut streams {
            stream.read_exact(&mut answer).expect("read");
            assert!(answer.starts_with(PONG) && answer.ends_with(PONG));
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str, default: usize| -> usize {
        args.iter()
            .position(|arg| arg == name)
            .and_then(|at| args.get(at + 1))
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let port = option("--port", 0);
    let addr = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("a port")));
    let socket = net::bind_tcp(addr, 1024, false).expect("bind");
    let addr = net::bound_to(&socket).expect("an address");
    let core = option("--server-core", 0);
    let server = std::thread::spawn(move || serve(socket, core));
    if port == 0 {
        let time = Duration::from_secs(option("--seconds", 3) as u64);
        let (connections, pipeline) = (option("--connections", 50), option("--pipeline", 1));
        ask(addr, connections, pipeline, time, option("--client-core", 1));
    }
    let outcome = server.join().expect("the server thread");
    println!(
        "{} requests in {} turns ({:.1} each): {:.3} us of server CPU per request",
        outcome.requests,
        outcome.turns,
        outcome.requests as f64 / outcome.turns.max(1) as f64,
        outcome.cpu_ns as f64 / 1000.0 / outcome.requests.max(1) as f64
    );
}
