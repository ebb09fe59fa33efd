//! Each verb against real sockets and files on loopback. Nothing sleeps: every wait is for an
//! event, and gives up loudly after `PATIENCE`.

mod disk;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::base::clock::SystemClock;
use crate::persist::disk::Flush;

const PATIENCE: Duration = Duration::from_secs(20);

fn options() -> RingOptions {
    RingOptions { entries: 64, buffers: 16, buffer_bytes: 1024, connections: 4096 }
}

fn ring() -> Ring {
    Ring::new(&options()).expect("a ring")
}

/// The next event, waiting for it.
fn next(ring: &mut Ring) -> Event {
    loop {
        if let Some(event) = ring.next_event() {
            return event;
        }
        let before = SystemClock::default();
        ring.enter(Wait::Until(PATIENCE)).expect("enter");
        assert!(before.now().mono_us < PATIENCE.as_micros() as u64, "nothing happened");
    }
}

fn listening(ring: &mut Ring) -> (u32, SocketAddr) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = net::bind_tcp(any, 1024, false).expect("bind");
    let addr = net::bound_to(&socket).expect("bound");
    (ring.listen(socket), addr)
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn accepted(ring: &mut Ring) -> ConnId {
    match next(ring) {
        Event::Accepted { conn, .. } => conn,
        other => panic!("expected a connection, got {other:?}"),
    }
}

fn pair(ring: &mut Ring) -> (ConnId, TcpStream) {
    let (_, addr) = listening(ring);
    let stream = connect(addr);
    (accepted(ring), stream)
}

fn unix_pair(ring: &mut Ring) -> (ConnId, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    (ring.adopt(OwnedFd::from(ours)).unwrap(), theirs)
}

/// Receives until `len` bytes of `conn` are there.
fn receive(ring: &mut Ring, conn: ConnId, len: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < len {
        match next(ring) {
            Event::Received { conn: of, data } => {
                assert_eq!(of, conn);
                got.extend_from_slice(ring.bytes(&data));
                ring.recycle(data);
            }
            other => panic!("expected bytes, got {other:?}"),
        }
    }
    got
}

fn sent(ring: &mut Ring) -> io::Result<usize> {
    match next(ring) {
        Event::Sent { result, buf, .. } => {
            assert!(buf.is_empty());
            result
        }
        other => panic!("expected the end of a send, got {other:?}"),
    }
}

fn closed(ring: &mut Ring, conn: ConnId) {
    match next(ring) {
        Event::Closed { conn: of } => assert_eq!(of, conn),
        other => panic!("expected a close, got {other:?}"),
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn a_request_comes_in_and_its_answer_goes_out() {
    let mut ring = ring();
    let (conn, mut stream) = pair(&mut ring);
    assert_eq!(ring.peer(conn), stream.local_addr().unwrap().to_string());
    assert_eq!(ring.local(conn), stream.peer_addr().unwrap().to_string());
    ring.start_receive(conn);
    for round in 0..10 {
        let text = format!("request {round}");
        stream.write_all(text.as_bytes()).unwrap();
        assert_eq!(receive(&mut ring, conn, text.len()), text.as_bytes());
        ring.send(conn, text.clone().into_bytes(), Vec::new());
        assert_eq!(sent(&mut ring).unwrap(), text.len());
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, text.as_bytes());
    }
    ring.close(conn, false);
    closed(&mut ring, conn);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(ring.connections(), 0);
}

#[test]
fn accepted_sockets_inherit_what_the_listener_was_given() {
    let mut ring = ring();
    let (listener, addr) = listening(&mut ring);
    ring.set_keepalive(listener, 300).unwrap();
    let _stream = connect(addr);
    let conn = accepted(&mut ring);
    let socket = ring.disown(conn).unwrap();
    use rustix::net::sockopt;
    assert!(sockopt::tcp_nodelay(&socket).unwrap());
    assert!(sockopt::socket_keepalive(&socket).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), Duration::from_secs(300));
    assert!(rustix::io::fcntl_getfd(&socket).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    let again = ring.adopt(socket).unwrap();
    assert_eq!(again.index, conn.index);
    assert_ne!(again.generation, conn.generation);
    assert_eq!(ring.peer(conn), "");
    assert_ne!(ring.peer(again), "");
}

#[test]
fn ipv6_and_unix_sockets_listen_too() {
    let mut ring = ring();
    if let Ok(socket) = net::bind_tcp("[::1]:0".parse().unwrap(), 16, true) {
        let addr = net::bound_to(&socket).unwrap();
        ring.listen(socket);
        let stream = connect(addr);
        let conn = accepted(&mut ring);
        assert_eq!(ring.peer(conn), stream.local_addr().unwrap().to_string());
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring.sock");
    drop(UnixListener::bind(&path).unwrap());
    let socket = net::bind_unix(&path, 16, Some(0o700)).expect("replaces a stale socket");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let listener = ring.listen(socket);
    let mut stream = UnixStream::connect(&path).unwrap();
    let conn = accepted(&mut ring);
    assert_eq!(ring.local(conn), path.to_string_lossy());
    ring.start_receive(conn);
    stream.write_all(b"hello").unwrap();
    assert_eq!(receive(&mut ring, conn, 5), b"hello");
    ring.unlisten(listener);
    std::fs::write(dir.path().join("file"), b"x").unwrap();
    assert!(net::bind_unix(&dir.path().join("file"), 16, None).is_err());
}

#[test]
fn a_second_listener_on_a_port_is_refused() {
    let mut ring = ring();
    let (_, addr) = listening(&mut ring);
    let error = net::bind_tcp(addr, 16, false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn unlistening_frees_the_port() {
    let mut ring = ring();
    let (listener, addr) = listening(&mut ring);
    assert!(ring.is_listening(listener));
    ring.unlisten(listener);
    while ring.is_listening(listener) {
        ring.enter(Wait::Until(PATIENCE)).unwrap();
        assert!(ring.next_event().is_none());
    }
    ring.enter(Wait::Until(PATIENCE)).unwrap();
    net::bind_tcp(addr, 16, false).expect("free again");
}

#[test]
fn dropping_a_ring_frees_its_port_at_once() {
    for _ in 0..50 {
        let mut ring = ring();
        let (_, addr) = listening(&mut ring);
        ring.enter(Wait::No).unwrap();
        drop(ring);
        net::bind_tcp(addr, 16, false).expect("free again");
    }
}

#[test]
fn dropping_a_ring_with_everything_in_flight_is_orderly() {
    for entered in [false, true] {
        let mut ring = ring();
        let (conn, mut stream) = pair(&mut ring);
        ring.start_receive(conn);
        ring.send(conn, pattern(32 << 20), vec![(5, Bytes::from(pattern(1 << 20)))]);
        let dir = tempfile::tempdir().unwrap();
        ring.open_dir(dir.path()).unwrap();
        ring.submit(1, DiskOp::Create { path: "f".into() });
        let file = std::fs::File::create(dir.path().join("g")).unwrap();
        let file = ring.adopt_file(file.into());
        let data = pattern(1 << 20);
        ring.submit(2, DiskOp::Write { file, offset: 0, data, flush: Flush::File });
        if entered {
            ring.enter(Wait::No).unwrap();
        }
        drop(ring);
        // Our end is gone: what was sent comes, then the end.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 33 << 20);
    }
}

#[test]
fn another_thread_wakes_a_sleeping_ring() {
    let mut ring = ring();
    let waker = ring.waker();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        for () in gone {
            waker.wake();
        }
    });
    for _ in 0..1000 {
        go.send(()).unwrap();
        ring.enter(Wait::Forever).unwrap();
        assert!(matches!(next(&mut ring), Event::Woken));
    }
    drop(go);
    other.join().unwrap();
}

#[test]
fn a_wake_before_the_wait_is_not_lost_and_many_are_one() {
    let mut ring = ring();
    let waker = ring.waker();
    for _ in 0..5 {
        waker.wake();
    }
    ring.enter(Wait::Forever).unwrap();
    assert!(matches!(ring.next_event(), Some(Event::Woken)));
    ring.enter(Wait::No).unwrap();
    assert!(ring.next_event().is_none());
}

#[test]
fn a_wait_ends_in_time_when_nothing_happens() {
    let mut ring = ring();
    ring.enter(Wait::No).unwrap();
    ring.enter(Wait::Until(Duration::from_millis(1))).unwrap();
    assert!(ring.next_event().is_none());
}

#[test]
fn a_half_open_peer_still_gets_its_answer() {
    let mut ring = ring();
    let (conn, mut stream) = pair(&mut ring);
    ring.start_receive(conn);
    stream.write_all(b"last words").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive(&mut ring, conn, 10), b"last words");
    assert!(matches!(next(&mut ring), Event::Ended { error: None, .. }));
    ring.send(conn, b"answer".to_vec(), Vec::new());
    assert_eq!(sent(&mut ring).unwrap(), 6);
    ring.close(conn, false);
    closed(&mut ring, conn);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
}

#[test]
fn a_reset_is_reported() {
    let mut ring = ring();
    let (conn, stream) = pair(&mut ring);
    ring.start_receive(conn);
    ring.enter(Wait::No).unwrap();
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    match next(&mut ring) {
        Event::Ended { error: Some(error), .. } => {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        other => panic!("expected a reset, got {other:?}"),
    }
    ring.send(conn, b"into the void".to_vec(), Vec::new());
    assert!(sent(&mut ring).is_err());
    ring.close(conn, true);
    closed(&mut ring, conn);
}

#[test]
fn a_thousand_connections_are_served() {
    let mut ring = ring();
    let (_, addr) = listening(&mut ring);
    let mut streams = Vec::new();
    let mut conns = Vec::new();
    for _ in 0..1000 {
        streams.push(connect(addr));
        conns.push(accepted(&mut ring));
        ring.start_receive(*conns.last().unwrap());
    }
    assert_eq!(ring.connections(), 1000);
    // Far more at once than buffers and submission entries.
    for (n, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&(n as u32).to_le_bytes()).unwrap();
    }
    let mut answered = 0;
    while answered < 1000 {
        match next(&mut ring) {
            Event::Received { conn, data } => {
                let bytes = ring.bytes(&data).to_vec();
                ring.recycle(data);
                ring.send(conn, bytes, Vec::new());
            }
            Event::Sent { result, .. } => {
                assert_eq!(result.unwrap(), 4);
                answered += 1;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    for (n, stream) in streams.iter_mut().enumerate() {
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(u32::from_le_bytes(answer), n as u32);
    }
    for conn in &conns {
        ring.close(*conn, false);
    }
    for _ in 0..1000 {
        assert!(matches!(next(&mut ring), Event::Closed { .. }));
    }
    assert_eq!(ring.connections(), 0);
}

#[test]
fn receivers_without_a_buffer_go_on_when_buffers_come_back() {
    let small = RingOptions { buffers: 2, buffer_bytes: 16, ..options() };
    let mut ring = Ring::new(&small).unwrap();
    let (conn, mut stream) = unix_pair(&mut ring);
    ring.start_receive(conn);
    let data = pattern(1000);
    stream.write_all(&data).unwrap();
    let mut got = Vec::new();
    let mut kept = Vec::new();
    while got.len() < data.len() {
        // Both buffers are held until the ring has nothing more to say.
        ring.enter(Wait::No).unwrap();
        match ring.next_event() {
            Some(Event::Received { data, .. }) => {
                got.extend_from_slice(ring.bytes(&data));
                kept.push(data);
                assert!(kept.len() <= 2);
            }
            Some(other) => panic!("unexpected {other:?}"),
            None => {
                assert!(!kept.is_empty(), "stuck");
                kept.drain(..).for_each(|data| ring.recycle(data));
            }
        }
    }
    assert_eq!(got, data);
}

#[test]
fn a_stopped_receiver_gets_nothing_until_started_again() {
    let mut ring = ring();
    let (conn, mut stream) = pair(&mut ring);
    ring.start_receive(conn);
    ring.enter(Wait::No).unwrap();
    ring.stop_receive(conn);
    // Twice, in any order with starts: only the last word counts.
    ring.stop_receive(conn);
    ring.start_receive(conn);
    ring.stop_receive(conn);
    ring.enter(Wait::No).unwrap();
    while ring.next_event().is_some() {}
    ring.enter(Wait::No).unwrap();
    stream.write_all(b"held back").unwrap();
    ring.enter(Wait::Until(Duration::from_millis(20))).unwrap();
    assert!(ring.next_event().is_none());
    ring.start_receive(conn);
    assert_eq!(receive(&mut ring, conn, 9), b"held back");
}

#[test]
fn stopping_and_starting_at_once_loses_nothing() {
    let mut ring = ring();
    let (conn, mut stream) = pair(&mut ring);
    let data = pattern(100_000);
    let whole = data.clone();
    let writer = std::thread::spawn(move || {
        stream.write_all(&data).unwrap();
        stream
    });
    let mut got = Vec::new();
    ring.start_receive(conn);
    while got.len() < whole.len() {
        if let Event::Received { data, .. } = next(&mut ring) {
            got.extend_from_slice(ring.bytes(&data));
            ring.recycle(data);
            ring.stop_receive(conn);
            if got.len() % 3 == 0 {
                ring.enter(Wait::No).unwrap();
            }
            ring.start_receive(conn);
        }
    }
    assert!(got == whole);
    writer.join().unwrap();
}

#[test]
fn a_big_message_reaches_a_slow_reader_whole() {
    let mut ring = ring();
    let (conn, mut stream) = pair(&mut ring);
    let buf = pattern(8 << 20);
    // More shared pieces than go into one call, some empty, some side by side.
    let shared: Vec<(usize, Bytes)> =
        (0..300).map(|n| (n / 2 * 20_000, Bytes::from(pattern(n * 97 % 40_000)))).collect();
    let mut want = Vec::new();
    let mut from = 0;
    for (at, piece) in &shared {
        want.extend_from_slice(&buf[from..*at]);
        want.extend_from_slice(piece);
        from = *at;
    }
    want.extend_from_slice(&buf[from..]);
    let len = want.len();
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; len];
        for chunk in got.chunks_mut(100_000) {
            stream.read_exact(chunk).unwrap();
        }
        (got, stream)
    });
    ring.send(conn, buf, shared);
    assert_eq!(sent(&mut ring).unwrap(), len);
    let (got, mut stream) = reader.join().unwrap();
    assert!(got == want);
    // The connection goes on, and a plain big send arrives as well.
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; 16 << 20];
        stream.read_exact(&mut got).unwrap();
        got
    });
    ring.send(conn, pattern(16 << 20), Vec::new());
    assert_eq!(sent(&mut ring).unwrap(), 16 << 20);
    assert!(reader.join().unwrap() == pattern(16 << 20));
}

#[test]
fn a_hard_close_cuts_a_send_nobody_reads() {
    for shared in [Vec::new(), vec![(3, Bytes::from(pattern(1 << 20)))]] {
        let mut ring = ring();
        let (conn, stream) = pair(&mut ring);
        ring.start_receive(conn);
        ring.send(conn, pattern(64 << 20), shared);
        ring.enter(Wait::No).unwrap();
        // A soft close waits for the send.
        ring.close(conn, false);
        ring.enter(Wait::Until(Duration::from_millis(20))).unwrap();
        assert!(ring.next_event().is_none());
        ring.close(conn, true);
        ring.close(conn, true);
        assert!(sent(&mut ring).is_err());
        closed(&mut ring, conn);
        drop(stream);
    }
}

#[test]
fn a_soft_close_lets_the_answer_out() {
    let mut ring = ring();
    let (conn, mut stream) = pair(&mut ring);
    ring.start_receive(conn);
    ring.send(conn, pattern(8 << 20), Vec::new());
    ring.close(conn, false);
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got
    });
    assert_eq!(sent(&mut ring).unwrap(), 8 << 20);
    closed(&mut ring, conn);
    assert!(reader.join().unwrap() == pattern(8 << 20));
}

#[test]
fn an_old_id_names_nobody() {
    let mut ring = ring();
    let (old, stream) = pair(&mut ring);
    ring.start_receive(old);
    ring.close(old, true);
    closed(&mut ring, old);
    drop(stream);
    let (new, mut stream) = pair(&mut ring);
    assert_eq!((new.index, new.generation), (old.index, old.generation + 1));
    ring.start_receive(old);
    ring.stop_receive(old);
    ring.close(old, true);
    ring.send(old, b"x".to_vec(), Vec::new());
    assert!(sent(&mut ring).is_err());
    ring.start_receive(new);
    stream.write_all(b"to the new one").unwrap();
    assert_eq!(receive(&mut ring, new, 14), b"to the new one");
}

#[test]
fn data_in_flight_at_a_close_is_dropped_and_its_buffers_come_back() {
    let mut ring = ring();
    for _ in 0..100 {
        let (conn, mut stream) = unix_pair(&mut ring);
        ring.start_receive(conn);
        stream.write_all(&pattern(4096)).unwrap();
        ring.enter(Wait::No).unwrap();
        ring.close(conn, false);
        closed(&mut ring, conn);
    }
    let (conn, mut stream) = unix_pair(&mut ring);
    ring.start_receive(conn);
    stream.write_all(&pattern(16 * 1024)).unwrap();
    assert_eq!(receive(&mut ring, conn, 16 * 1024), pattern(16 * 1024));
}

#[test]
fn a_full_slab_refuses_and_goes_on() {
    let mut ring = Ring::new(&RingOptions { connections: 2, ..options() }).unwrap();
    let (_, addr) = listening(&mut ring);
    let _first = connect(addr);
    let _second = connect(addr);
    let a = accepted(&mut ring);
    let _b = accepted(&mut ring);
    let mut third = connect(addr);
    assert!(matches!(next(&mut ring), Event::AcceptFailed { .. }));
    assert_eq!(third.read(&mut [0; 1]).unwrap(), 0);
    ring.close(a, false);
    closed(&mut ring, a);
    let _fourth = connect(addr);
    accepted(&mut ring);
}

#[test]
fn more_is_queued_than_the_queues_hold() {
    // Submission and completion queues overflow: 4 entries, 16 completions.
    let mut ring = Ring::new(&RingOptions { entries: 4, ..options() }).unwrap();
    let mut peers = Vec::new();
    for n in 0..500u32 {
        let (conn, mut stream) = unix_pair(&mut ring);
        stream.write_all(&n.to_le_bytes()).unwrap();
        ring.start_receive(conn);
        ring.send(conn, n.to_le_bytes().to_vec(), Vec::new());
        peers.push((conn, stream));
    }
    let (mut received, mut sent) = (0, 0);
    while received < 500 || sent < 500 {
        match next(&mut ring) {
            Event::Received { conn, data } => {
                let n = u32::from_le_bytes(ring.bytes(&data).try_into().unwrap());
                assert_eq!(peers[n as usize].0, conn);
                ring.recycle(data);
                received += 1;
            }
            Event::Sent { result, .. } => {
                assert_eq!(result.unwrap(), 4);
                sent += 1;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// Runs one test of this file again in a process of its own, for what concerns the whole process.
fn in_own_process(test: &str) -> bool {
    const MARK: &str = "RING_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let path = format!("ring::tests::{test}");
    let ended = std::process::Command::new(std::env::current_exe().unwrap())
        .args([&path, "--exact", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"));
    false
}

#[test]
fn accepting_goes_on_when_descriptors_come_back() {
    if !in_own_process("accepting_goes_on_when_descriptors_come_back") {
        return;
    }
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let mut ring = ring();
    let (_, addr) = listening(&mut ring);
    let _streams: Vec<TcpStream> = (0..20).map(|_| connect(addr)).collect();
    // Five more descriptors, and no sixth.
    let next_free = {
        use std::os::fd::AsRawFd;
        std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64
    };
    let before = getrlimit(Resource::Nofile);
    let tight = Rlimit { current: Some(next_free + 5), ..before };
    setrlimit(Resource::Nofile, tight).unwrap();
    let conns: Vec<ConnId> = (0..5).map(|_| accepted(&mut ring)).collect();
    let refused = |event| match event {
        Event::AcceptFailed { error, .. } => {
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        }
        other => panic!("expected a failed accept, got {other:?}"),
    };
    refused(next(&mut ring));
    // It rests instead of failing again and again.
    ring.enter(Wait::No).unwrap();
    assert!(ring.next_event().is_none());
    // A close makes room for exactly one.
    ring.close(conns[0], false);
    closed(&mut ring, conns[0]);
    let sixth = accepted(&mut ring);
    assert_eq!(sixth.index, conns[0].index);
    refused(next(&mut ring));
    // Room that comes without a close is found after the pause.
    setrlimit(Resource::Nofile, before).unwrap();
    for _ in 6..20 {
        accepted(&mut ring);
    }
}
