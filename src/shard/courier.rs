//! The thread that carries keys to another server for MIGRATE: it connects, sends parcels of
//! requests one at a time, and tells what became of each. It knows no keyspace.
//!
//! ```text
//! AUTH … / SELECT n      both answered before any key is sent
//! RESTORE k ttl bytes …  as many as the parcel holds, then as many lines of answers
//! ```
//!
//! *What counts as taken*: a line that begins with `+`. An error leaves that key where it was, and
//! anything else, or nothing in time, ends the trip: what follows is not known to be there. A line
//! may take as long as the client allows, as may each piece of what is written; so a server that
//! trickles is no end of time for a key, and one that hangs is left.
//!
//! *A connection outlives its trip* for some seconds, as in Redis, since whoever moves keys moves
//! many ([`Lines`]). The next trip to the same place, with the same words for AUTH, introduces
//! itself on it all the same: one that the other server has closed meanwhile is found out by that,
//! before any key is sent, and a new one takes its place.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock::Stopwatch;

/// Bytes that have to be written within the time allowed.
const PIECE: usize = 64 << 10;
/// Longest line of an answer, in bytes.
const LINE_MAX: usize = 16 << 10;
/// Least time that is asked of the kernel: none would mean for ever.
const LEAST: Duration = Duration::from_millis(1);

/// Connections kept at a time, at most.
const KEPT_MAX: usize = 64;
/// How long they are kept unused.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Where to, and how to begin.
#[derive(Clone, Debug)]
pub struct Address {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What AUTH is told; empty: it is not sent.
    pub auth: Vec<Vec<u8>>,
    /// The database.
    pub db: i64,
    /// Time for each step.
    pub timeout: Duration,
}

impl Address {
    /// Whether a connection to the one serves for the other: it leads there, as the same user.
    fn is_same_place(&self, other: &Address) -> bool {
        (&self.host, self.port, &self.auth) == (&other.host, other.port, &other.auth)
    }
}

/// Requests to be sent together.
#[derive(Debug, Default)]
pub struct Parcel {
    /// Their bytes.
    pub bytes: Vec<u8>,
    /// Their number.
    pub keys: usize,
}

/// Why a trip has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Nobody is there.
    Connecting,
    /// What is sent does not get there.
    Writing,
    /// No answer came, or none that means anything.
    Reading,
    /// The server does not let us in, or has no such database: its refusal says so.
    Refused,
}

/// What became of a parcel.
#[derive(Debug, Default)]
pub struct Delivery {
    /// For each key in order, as far as is known: whether it has been taken.
    pub taken: Vec<bool>,
    /// The first error that the server answered, without its `-`.
    pub refusal: Option<Vec<u8>>,
    /// The trip is over.
    pub broken: Option<Broken>,
}

/// Appends a request.
pub fn request(out: &mut Vec<u8>, words: &[&[u8]]) {
    let mut digits = itoa::Buffer::new();
    let mut count = |out: &mut Vec<u8>, mark: u8, n: usize| {
        out.push(mark);
        out.extend_from_slice(digits.format(n).as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    count(out, b'*', words.len());
    for word in words {
        count(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Counts a connection as long as it is open.
#[derive(Debug)]
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(open: &Arc<AtomicU64>) -> Counted {
        open.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections of trips that are over.
#[derive(Debug)]
pub struct Lines {
    /// How many are open, those of trips included.
    open: Arc<AtomicU64>,
    kept: Mutex<Vec<(Address, Stopwatch, Line)>>,
}

impl Lines {
    /// None; `open` counts those that are open.
    pub fn new(open: &Arc<AtomicU64>) -> Lines {
        Lines { open: Arc::clone(open), kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Address, Stopwatch, Line)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, address: &Address) -> Option<Line> {
        let mut kept = self.lock();
        let at = kept.iter().rposition(|(there, ..)| there.is_same_place(address))?;
        let (.., line) = kept.swap_remove(at);
        Some(Line { timeout: address.timeout, ..line })
    }

    fn keep(&self, address: Address, line: Line) {
        let mut kept = self.lock();
        if kept.len() < KEPT_MAX {
            kept.push((address, Stopwatch::default(), line));
        }
    }

    /// Closes what has not been used for long.
    pub fn close_old(&self) {
        if self.open.load(Ordering::Relaxed) > 0 {
            self.close_older_than(KEPT_FOR);
        }
    }

    pub(super) fn close_older_than(&self, age: Duration) {
        self.lock().retain(|(_, since, _)| since.elapsed() < age);
    }
}

/// A connection to the other server.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    timeout: Duration,
    /// Received and not looked at.
    input: Vec<u8>,
    _counted: Counted,
}

impl Line {
    /// One on which we are introduced, or the server's refusal.
    fn to(address: &Address, lines: &Lines) -> Result<Result<Line, Vec<u8>>, Broken> {
        if let Some(mut line) = lines.take(address).filter(Line::is_silent) {
            let watch = Stopwatch::default();
            match line.enter(address) {
                Ok(refusal) => return Ok(refusal.map_or(Ok(line), Err)),
                // It had all the time there is: another one would take as long.
                Err(broken) if line.left(&watch).is_none() => return Err(broken),
                Err(_) => {}
            }
        }
        let mut line = Line::open(address, &lines.open)?;
        let refusal = line.enter(address)?;
        Ok(refusal.map_or(Ok(line), Err))
    }

    /// Whether the other server has neither said anything since nor closed the connection.
    fn is_silent(&self) -> bool {
        let looked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let nothing = looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        nothing && self.stream.set_nonblocking(false).is_ok()
    }

    fn open(address: &Address, open: &Arc<AtomicU64>) -> Result<Line, Broken> {
        let places = (address.host.as_str(), address.port).to_socket_addrs();
        let places: Vec<SocketAddr> = places.map_err(|_| Broken::Connecting)?.collect();
        let mut broken = Broken::Connecting;
        for place in places {
            let timeout = address.timeout.max(LEAST);
            match TcpStream::connect_timeout(&place, timeout) {
                Ok(stream) => {
                    // Without it all is the same, only later.
                    let _ = stream.set_nodelay(true);
                    let _counted = Counted::new(open);
                    return Ok(Line { stream, timeout, input: Vec::new(), _counted });
                }
                // In Redis it is the first write that finds nobody there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    broken = Broken::Writing;
                }
                Err(_) => {}
            }
        }
        Err(broken)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        for mut piece in bytes.chunks(PIECE) {
            let watch = Stopwatch::default();
            while !piece.is_empty() {
                let left = self.left(&watch).ok_or(Broken::Writing)?;
                self.stream.set_write_timeout(Some(left)).map_err(|_| Broken::Writing)?;
                match self.stream.write(piece) {
                    Ok(0) => return Err(Broken::Writing),
                    Ok(n) => piece = piece.get(n..).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return Err(Broken::Writing),
                }
            }
        }
        Ok(())
    }

    fn left(&self, watch: &Stopwatch) -> Option<Duration> {
        self.timeout.checked_sub(watch.elapsed()).map(|left| left.max(LEAST))
    }

    /// The next line, without its end.
    fn read(&mut self) -> Result<Vec<u8>, Broken> {
        let watch = Stopwatch::default();
        let mut looked = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.input[looked..]) {
                let mut line: Vec<u8> = self.input.drain(..=looked + at).collect();
                line.pop();
                line.pop_if(|last| *last == b'\r');
                return Ok(line);
            }
            looked = self.input.len();
            let left = self.left(&watch).filter(|_| looked < LINE_MAX).ok_or(Broken::Reading)?;
            self.stream.set_read_timeout(Some(left)).map_err(|_| Broken::Reading)?;
            let mut room = [0; 4096];
            match self.stream.read(&mut room) {
                Ok(0) => return Err(Broken::Reading),
                Ok(n) => self.input.extend_from_slice(&room[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Broken::Reading),
            }
        }
    }

    /// The next answer: taken, or the text of an error.
    fn answer(&mut self) -> Result<Result<(), Vec<u8>>, Broken> {
        let line = self.read()?;
        match line.split_first() {
            Some((b'+', _)) => Ok(Ok(())),
            Some((b'-', text)) => Ok(Err(text.to_vec())),
            _ => Err(Broken::Reading),
        }
    }

    /// Introduces us; gives the server's refusal.
    fn enter(&mut self, address: &Address) -> Result<Option<Vec<u8>>, Broken> {
        let mut bytes = Vec::new();
        let mut answers = 1;
        if !address.auth.is_empty() {
            let auth = address.auth.iter().map(Vec::as_slice);
            let words: Vec<&[u8]> = [b"AUTH".as_slice()].into_iter().chain(auth).collect();
            request(&mut bytes, &words);
            answers = 2;
        }
        let mut digits = itoa::Buffer::new();
        request(&mut bytes, &[b"SELECT", digits.format(address.db).as_bytes()]);
        self.write(&bytes)?;
        let mut refusal = None;
        for _ in 0..answers {
            if let Err(text) = self.answer()? {
                refusal.get_or_insert(text);
            }
        }
        // Nobody knows what would be an answer to what from here on.
        if self.input.is_empty() { Ok(refusal) } else { Err(Broken::Reading) }
    }

    fn deliver(&mut self, parcel: &Parcel, delivery: &mut Delivery) -> Result<(), Broken> {
        self.write(&parcel.bytes)?;
        for _ in 0..parcel.keys {
            let answer = self.answer()?;
            delivery.taken.push(answer.is_ok());
            if let Err(text) = answer {
                delivery.refusal.get_or_insert(text);
            }
        }
        Ok(())
    }
}

/// Delivers parcels until there are no more, or the trip breaks off; `tell` hears of each.
pub fn travel(
    address: Address,
    lines: &Lines,
    parcels: &Receiver<Parcel>,
    mut tell: impl FnMut(Delivery),
) {
    let mut line = None;
    for parcel in parcels {
        let mut delivery = Delivery::default();
        let outcome = carry(&mut line, (&address, lines), &parcel, &mut delivery);
        delivery.broken = outcome.err();
        let over = delivery.broken.is_some();
        tell(delivery);
        if over {
            return;
        }
    }
    if let Some(line) = line.filter(|line| line.input.is_empty()) {
        lines.keep(address, line);
    }
}

fn carry(
    line: &mut Option<Line>,
    (address, lines): (&Address, &Lines),
    parcel: &Parcel,
    delivery: &mut Delivery,
) -> Result<(), Broken> {
    let line = match line {
        Some(line) => line,
        None => match Line::to(address, lines)? {
            Ok(new) => line.insert(new),
            Err(refusal) => {
                delivery.refusal = Some(refusal);
                return Err(Broken::Refused);
            }
        },
    };
    line.deliver(parcel, delivery)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::channel;

    use super::*;

    fn parcel(keys: &[&str]) -> Parcel {
        let mut parcel = Parcel { bytes: Vec::new(), keys: keys.len() };
        keys.iter().for_each(|key| request(&mut parcel.bytes, &[b"RESTORE", key.as_bytes()]));
        parcel
    }

    /// Delivers parcels to a server that answers the introduction and each parcel with these
    /// bytes, and closes; gives what it was sent.
    fn trip(
        auth: &[&str],
        timeout: Duration,
        parcels: &[&[&str]],
        answers: &[&str],
    ) -> (Vec<Delivery>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            auth: auth.iter().map(|word| word.as_bytes().to_vec()).collect(),
            db: 3,
            timeout,
        };
        let (send, receive) = channel();
        parcels.iter().for_each(|keys| send.send(parcel(keys)).unwrap());
        drop(send);
        let mut told = Vec::new();
        let heard = std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut heard = Vec::new();
                for answer in answers {
                    let mut room = [0; 4096];
                    let n = stream.read(&mut room).unwrap();
                    heard.extend_from_slice(&room[..n]);
                    stream.write_all(answer.as_bytes()).unwrap();
                }
                // Until the other end has gone as well, so that nothing is reset.
                if timeout < Duration::from_secs(1) {
                    drop(stream.read_to_end(&mut heard));
                }
                String::from_utf8(heard).unwrap()
            });
            travel(address, &Lines::new(&Arc::default()), &receive, |d| told.push(d));
            server.join().unwrap()
        });
        (told, heard)
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn parcels_are_sent_behind_an_introduction() {
        let answers = ["+OK\r\n+OK\r\n", "+OK\r\n-BUSYKEY there\r\n-ERR no\r\n", "+OK\r\n"];
        let (told, heard) = trip(&["u", "p"], LONG, &[&["a", "b", "c"], &["d"]], &answers);
        let auth = "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n";
        assert!(heard.starts_with(auth), "{heard}");
        assert!(heard.ends_with("*2\r\n$7\r\nRESTORE\r\n$1\r\nd\r\n"), "{heard}");
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].taken, [true, false, false]);
        assert_eq!(told[0].refusal.as_deref(), Some(&b"BUSYKEY there"[..]));
        assert_eq!((told[0].broken, told[1].broken), (None, None));
        assert_eq!(told[1].taken, [true]);
    }

    #[test]
    fn whoever_is_not_let_in_sends_no_key() {
        let (told, heard) =
            trip(&["no"], LONG, &[&["a"], &["b"]], &["-WRONGPASS x\r\n-NOAUTH\r\n"]);
        assert!(!heard.contains("RESTORE"), "{heard}");
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].refusal.as_deref(), Some(&b"WRONGPASS x"[..]));
        assert_eq!((told[0].broken, told[0].taken.len()), (Some(Broken::Refused), 0));
    }

    #[test]
    fn what_is_not_acknowledged_is_not_taken() {
        // It closes, says what is no answer, says a line without end, says nothing.
        let endless = "x".repeat(LINE_MAX + 1);
        for (answers, timeout) in [
            (&["+OK\r\n", "+OK\r\n"][..], LONG),
            (&["+OK\r\n", "+OK\r\n$5\r\n"], LONG),
            (&["+OK\r\n", &format!("+OK\r\n{endless}")], LONG),
            (&["+OK\r\n", "+OK\r\n"], Duration::from_millis(50)),
        ] {
            let (told, _) = trip(&[], timeout, &[&["a", "b"], &["c"]], answers);
            assert_eq!(told.len(), 1);
            assert_eq!((&told[0].taken[..], told[0].broken), (&[true][..], Some(Broken::Reading)));
        }
        let (told, _) = trip(&[], Duration::from_millis(50), &[&["a"]], &[]);
        assert_eq!((told[0].taken.len(), told[0].broken), (0, Some(Broken::Reading)));
    }

    #[test]
    fn where_nobody_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        for (host, broken) in
            [("127.0.0.1", Broken::Writing), ("no such host.invalid", Broken::Connecting)]
        {
            let host = host.to_owned();
            let address = Address { host, port, auth: vec![], db: 0, timeout: LONG };
            let (send, receive) = channel();
            send.send(parcel(&["a"])).unwrap();
            let mut told = Vec::new();
            travel(address, &Lines::new(&Arc::default()), &receive, |d| told.push(d.broken));
            assert_eq!(told, [Some(broken)]);
        }
    }

    /// A server that gives these answers on a connection, and closes it.
    fn answering(listener: &TcpListener, answers: &[&str]) {
        let (mut stream, _) = listener.accept().unwrap();
        for answer in answers {
            let mut room = [0; 4096];
            assert_ne!(stream.read(&mut room).unwrap(), 0);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_connection_outlives_its_trip() {
        let listener = &TcpListener::bind("127.0.0.1:0").unwrap();
        let open = Arc::default();
        let lines = Lines::new(&open);
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            auth: vec![],
            db: 0,
            timeout: LONG,
        };
        let trip = |auth: &[&str]| {
            let auth = auth.iter().map(|word| word.as_bytes().to_vec()).collect();
            let (send, receive) = channel();
            send.send(parcel(&["a"])).unwrap();
            drop(send);
            let mut told = Vec::new();
            travel(Address { auth, ..address.clone() }, &lines, &receive, |d| told.push(d));
            (told[0].broken, open.load(Ordering::Relaxed))
        };
        std::thread::scope(|scope| {
            let server = scope.spawn(|| answering(listener, &["+OK\r\n"; 4]));
            assert_eq!(trip(&[]), (None, 1));
            assert_eq!(trip(&[]), (None, 1), "on the same connection");
            server.join().unwrap();
            let server = scope.spawn(|| answering(listener, &["+OK\r\n"; 2]));
            assert_eq!(trip(&[]), (None, 1), "the other server had closed it");
            server.join().unwrap();
            let two = ["+OK\r\n+OK\r\n", "+OK\r\n"];
            let server = scope.spawn(move || answering(listener, &two));
            assert_eq!(trip(&["user"]), (None, 2), "another user's is not taken");
            server.join().unwrap();
        });
        lines.close_older_than(LONG);
        assert_eq!(open.load(Ordering::Relaxed), 2, "they are young");
        lines.close_older_than(Duration::ZERO);
        assert_eq!(open.load(Ordering::Relaxed), 0);
    }
}
