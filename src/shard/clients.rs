//! What is told of connections, and how they are sent away: CLIENT LIST, CLIENT INFO, CLIENT KILL.

use std::io::Write;

use crate::client::{Conn, ConnKey};
use crate::command::ask::{Ask, Filter, Kind};
use crate::command::session::Place;
use crate::command::table::Flags;
use crate::resp::Checkpoint;
use crate::shard::core::Shard;
use crate::shard::pause::Pause;

/// What a shard keeps for its connections beyond what each has for itself.
#[derive(Debug, Default)]
pub struct Clients {
    /// What the command that runs has asked of all shards, where in its reply the answer goes, and
    /// whether it is RESP3 there.
    pub asked: Vec<(Checkpoint, bool, Ask)>,
    /// What it asks just now.
    pub asks: Option<Ask>,
    /// Requests that are postponed: CLIENT PAUSE.
    pub pause: Option<Pause>,
    /// Connections that wait for the end of the pause.
    pub postponed: Vec<ConnKey>,
    /// Shards with clients that listen to what is executed: MONITOR.
    pub listening: Vec<usize>,
    /// Those of this shard.
    pub listeners: Vec<ConnKey>,
    /// What is to be told to all of them in this turn.
    pub shown: Vec<u8>,
    /// Largest inputs and outputs of connections lately.
    pub recent: Recent,
}

/// Seconds over which the largest buffers are remembered.
const RECENT_SECONDS: usize = 8;

/// Largest input and output of any connection in the last seconds.
#[derive(Debug, Default)]
pub struct Recent {
    inputs: [u64; RECENT_SECONDS],
    outputs: [u64; RECENT_SECONDS],
    second: u64,
}

impl Recent {
    fn slot(&self) -> usize {
        (self.second % RECENT_SECONDS as u64) as usize
    }

    /// An input holds this many bytes.
    pub fn input(&mut self, bytes: usize) {
        let slot = self.slot();
        self.inputs[slot] = self.inputs[slot].max(bytes as u64);
    }

    /// An output holds this many bytes.
    pub fn output(&mut self, bytes: usize) {
        let slot = self.slot();
        self.outputs[slot] = self.outputs[slot].max(bytes as u64);
    }

    /// Time goes on; what is too long ago is forgotten.
    pub fn advance(&mut self, now_us: u64) {
        let second = now_us / 1_000_000;
        for _ in self.second..second.min(self.second + RECENT_SECONDS as u64) {
            self.second += 1;
            let slot = self.slot();
            (self.inputs[slot], self.outputs[slot]) = (0, 0);
        }
        self.second = second;
    }

    /// The largest input.
    pub fn max_input(&self) -> u64 {
        self.inputs.iter().copied().max().unwrap_or(0)
    }

    /// The largest output.
    pub fn max_output(&self) -> u64 {
        self.outputs.iter().copied().max().unwrap_or(0)
    }
}

/// Whether a connection is one of those meant.
fn is_meant(conn: &Conn, filter: &Filter) -> bool {
    let session = &conn.session;
    let place = session.place.as_deref();
    let at = |wanted: &Option<Vec<u8>>, text: fn(&Place) -> &str| {
        let Some(wanted) = wanted else { return true };
        place.is_some_and(|place| text(place).as_bytes() == wanted)
    };
    filter.ids.as_ref().is_none_or(|ids| ids.contains(&session.id))
        && filter.kind.is_none_or(|kind| kind == Kind::Normal)
        && at(&filter.addr, |place| &place.addr)
        && at(&filter.local, |place| &place.local)
        && filter.spared != Some(session.id)
}

impl Shard {
    /// A line about each connection that is meant.
    pub(super) fn lines(&self, filter: &Filter) -> Vec<(u64, Vec<u8>)> {
        let now = self.now.mono_us;
        let meant = |conn: &&Conn| !conn.ended && is_meant(conn, filter);
        self.conns().filter(meant).map(|conn| (conn.session.id, line(conn, now))).collect()
    }

    /// Closes the connections that are meant; gives their number.
    pub(super) fn kill(&mut self, filter: &Filter, asked_by: Option<ConnKey>) -> u64 {
        let meant = |conn: &&Conn| !conn.ended && is_meant(conn, filter);
        let keys: Vec<_> = self.conns().filter(meant).map(|conn| conn.key).collect();
        for key in &keys {
            if asked_by == Some(*key)
                && let Some(conn) = self.conn_mut(*key)
            {
                // It is told how many there were.
                conn.session.closing = true;
                continue;
            }
            // What it has been served is its own: it gets that first.
            let owed = !self.give_up(*key);
            let Some(mut conn) = self.take_conn(*key) else { continue };
            if owed {
                conn.session.closing = true;
                self.put_conn(conn);
                continue;
            }
            self.send_away(&mut conn);
            self.put_conn(conn);
        }
        keys.len() as u64
    }

    /// Closes a connection at the end of this turn, whatever is left to be said to it.
    pub(super) fn send_away(&mut self, conn: &mut Conn) {
        conn.ended = true;
        // Due at once, and so in front of all deadlines.
        self.leaving.insert(0, (self.now.mono_us, conn.key));
    }
}

/// The letters for what a client is and does.
fn flags(conn: &Conn) -> String {
    let session = &conn.session;
    let raised = session.watch.as_ref().is_some_and(|watch| watch.is_raised());
    let unix = session.place.as_ref().is_some_and(|place| place.unix);
    // Other reasons to be blocked are of our own making, and over before anybody could look.
    let waits =
        conn.blocked && session.last.command().is_some_and(|last| last.flags.has(Flags::BLOCKING));
    let all = [
        (session.monitor, 'O'),
        (conn.postponed || waits, 'b'),
        (session.multi.is_some(), 'x'),
        (raised, 'd'),
        (session.closing, 'c'),
        (unix, 'U'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ];
    let set: String = all.iter().filter(|(is, _)| *is).map(|(_, letter)| *letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

/// What CLIENT LIST tells of a connection, without a line's end.
fn line(conn: &Conn, now_us: u64) -> Vec<u8> {
    let session = &conn.session;
    let place = session.place.as_deref().cloned().unwrap_or_default();
    let seconds = |since: u64| now_us.saturating_sub(since) / 1_000_000;
    let (input, output) = (&conn.input, &conn.output);
    let multi = session.multi.as_ref();
    let queued = multi.map_or(-1, |multi| multi.queue.len() as i64);
    let multi_bytes = multi.map_or(0, |multi| multi.size);
    let input_bytes = input.buf.capacity().max(input.len());
    let ready = output.ready.len();
    let waiting = output.len() - ready;
    let total = size_of::<Conn>() + input_bytes + multi_bytes + output.len();
    let mut line = Vec::with_capacity(384);
    // Writing to memory does not fail.
    let _ = write!(
        line,
        "id={} addr={} laddr={} fd={} name=",
        session.id, place.addr, place.local, place.fd
    );
    line.extend_from_slice(&session.name);
    let _ = write!(
        line,
        " age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 multi={queued} qbuf={} qbuf-free={} \
         argv-mem=0 multi-mem={multi_bytes} rbs={ready} rbp={} obl={ready} oll={} omem={waiting} \
         tot-mem={total} events={} cmd={} user=default redir=-1 resp={} lib-name=",
        seconds(conn.since_us),
        seconds(conn.last_us),
        flags(conn),
        session.db,
        input.len(),
        input_bytes - input.len(),
        conn.output_peak,
        output.slots.len(),
        if output.sending.is_some() { "rw" } else { "r" },
        session.last.command().map_or("NULL", |command| command.name),
        if session.resp3 { 3 } else { 2 },
    );
    let library = session.library.as_deref();
    line.extend_from_slice(library.map_or(b"", |library| &library.name));
    line.extend_from_slice(b" lib-ver=");
    line.extend_from_slice(library.map_or(b"", |library| &library.version));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_is_not_forever() {
        let mut recent = Recent::default();
        recent.input(100);
        recent.advance(3_000_000);
        recent.input(50);
        recent.output(7);
        assert_eq!((recent.max_input(), recent.max_output()), (100, 7));
        recent.advance(8_500_000);
        assert_eq!((recent.max_input(), recent.max_output()), (50, 7));
        recent.advance(800_000_000);
        assert_eq!((recent.max_input(), recent.max_output()), (0, 0));
    }
}
