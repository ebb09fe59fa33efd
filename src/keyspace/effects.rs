//! What writes leave for the log, in order, while a shard executes.
//!
//! A *position* counts payload bytes of one shard's log since it began: the commands and marks, not
//! the frame lines around them. It is known while a command executes, before any frame exists.
//!
//! Beside it runs the *stream count*: the bytes of the commands alone, which is what replicas are
//! told of ([`crate::persist::aof::stream`]). What it leaves out is rare, so it is kept as the
//! difference to the position, and costs a command nothing.

use crate::base::number::write_i64;

/// How a line begins that tells the second in which what follows it was executed.
pub const TIME_LINE: &[u8] = b"#TS:";
/// A command at least this long, in bytes, makes room for itself at once.
const LONG: usize = 64 << 10;
/// Room that is made behind a long command, in bytes: its frame's head will go in front, in place.
const FRAME_ROOM: usize = 512;

/// The payload that has been produced and not yet framed.
#[derive(Debug)]
pub struct Effects {
    /// Position of the first byte of `buf`.
    base: u64,
    buf: Vec<u8>,
    /// The database that replay has selected at the end of `buf`.
    selected: usize,
    /// Goes in front of the next effect, if one follows.
    preface: Vec<u8>,
    /// The second that the next effect belongs to, when `#TS:` lines are wanted.
    second: Option<i64>,
    /// The second that the last `#TS:` line told.
    told: i64,
    enabled: bool,
    /// Effects go into a file of their own and take no positions.
    diverted: bool,
    /// The position, less the stream count: what has a position and is no command. (It wraps: the
    /// count goes on where positions begin anew.)
    outside: u64,
    /// The same in front of what is diverted.
    outside_before: u64,
    /// A command was logged that Redis 7.0 does not know.
    is_newer: bool,
}

impl Effects {
    /// An empty payload that begins at `position`; when not `enabled` nothing is kept.
    pub fn new(position: u64, enabled: bool) -> Self {
        Effects {
            base: position,
            buf: Vec::new(),
            selected: 0,
            preface: Vec::new(),
            second: None,
            told: 0,
            enabled,
            diverted: false,
            outside: position,
            outside_before: position,
            is_newer: false,
        }
    }

    /// The stream count behind everything produced so far: bytes of commands, wherever their log
    /// began. Where nothing is logged every effect counts as one byte, so that no two states share
    /// a count.
    pub fn stream(&self) -> u64 {
        self.end().wrapping_sub(self.outside)
    }

    /// The stream count is this one here.
    pub fn begin_stream(&mut self, count: u64) {
        self.outside = self.end().wrapping_sub(count);
    }

    /// So many bytes of commands stand elsewhere: in a file between two of this log, or nowhere.
    pub fn add_stream(&mut self, bytes: u64) {
        self.outside = self.outside.wrapping_sub(bytes);
    }

    /// Whether writes are logged at all.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// The position behind everything produced so far.
    pub fn end(&self) -> u64 {
        self.base + self.buf.len() as u64
    }

    /// What a segment written now is stamped with: any position inside the effect that follows
    /// will do, since release points never stand inside an effect. 0 when nothing is logged.
    pub fn stamp(&self) -> u64 {
        match (self.enabled, self.diverted) {
            (false, _) => 0,
            (true, false) => self.end() + 1,
            // What is diverted takes one position, however long it gets.
            (true, true) => self.base + 1,
        }
    }

    /// True when nothing waits to be framed.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Bytes waiting to be framed.
    pub fn pending(&self) -> &[u8] {
        &self.buf
    }

    /// Bytes of heap memory held.
    pub fn memory(&self) -> usize {
        self.buf.capacity()
    }

    /// Takes the payload; the next effect follows behind it. The caller may hand back an emptied
    /// buffer to be filled again.
    pub fn take(&mut self, spare: Vec<u8>) -> Vec<u8> {
        debug_assert!(spare.is_empty());
        self.base = self.end();
        std::mem::replace(&mut self.buf, spare)
    }

    /// Puts `bytes` (marks, `#` lines) in front of the effects produced since position `at`.
    pub fn insert(&mut self, at: u64, bytes: &[u8]) {
        if self.enabled {
            let offset = (at - self.base) as usize;
            self.outside = self.outside.wrapping_add(bytes.len() as u64);
            self.buf.splice(offset..offset, bytes.iter().copied());
        }
    }

    /// The log begins, at `position`, or ends (`None`): from then on nothing is kept, and positions
    /// stand still. Nothing is pending.
    pub fn set_log(&mut self, begins: Option<u64>) {
        assert!(self.buf.is_empty());
        self.enabled = begins.is_some();
        self.preface.clear();
        self.forget_selected();
        if let Some(position) = begins {
            assert!(position >= self.base, "positions are used once");
            self.move_to(position);
            self.told = 0;
        }
    }

    /// From here on effects are diverted: they name their database, and take no positions.
    pub fn begin_diversion(&mut self) {
        assert!(self.buf.is_empty());
        self.diverted = true;
        self.outside_before = self.outside;
        self.forget_selected();
    }

    /// Effects go into this log again.
    pub fn end_diversion(&mut self) {
        self.diverted = false;
    }

    /// A new file begins, at `position`: replay starts again in database 0, and the second is told
    /// anew. Nothing is pending.
    pub fn begin_file(&mut self, position: u64) {
        assert!(self.buf.is_empty() && position >= self.base);
        self.move_to(position);
        self.selected = 0;
        self.told = 0;
    }

    /// Leaves positions out, which no command takes.
    fn move_to(&mut self, position: u64) {
        self.outside = self.outside.wrapping_add(position - self.base);
        self.base = position;
    }

    /// The database that replay has selected behind everything produced so far; 0 where the next
    /// effect names its own.
    pub fn selected(&self) -> usize {
        if self.selected == usize::MAX { 0 } else { self.selected }
    }

    /// The next effect names its database whatever was selected before.
    pub fn forget_selected(&mut self) {
        self.selected = usize::MAX;
    }

    /// Takes the effects of a command that goes into a file of its own, with how many bytes of
    /// them the stream has; positions do not move, nor does the count.
    pub fn divert(&mut self) -> (Vec<u8>, u64) {
        let notes = std::mem::replace(&mut self.outside, self.outside_before);
        let notes = notes.wrapping_sub(self.outside_before);
        let payload = std::mem::take(&mut self.buf);
        let streamed = payload.len() as u64 - notes;
        (payload, streamed)
    }

    /// Hands in `#` lines for the front of the next effect; they replace those not used yet.
    pub fn set_preface(&mut self, lines: Vec<u8>) {
        self.preface = lines;
    }

    /// True when the lines handed in last have been used.
    pub fn preface_used(&self) -> bool {
        self.preface.is_empty()
    }

    /// What is logged from here on belongs to this second of Unix time, which a `#TS:` line tells
    /// when it is later than the last one told; `None`: no lines. Not to be changed between the
    /// effects of one part of an entry: a log may be cut in front of such a line.
    pub fn set_second(&mut self, second: Option<i64>) {
        self.second = second;
    }

    /// Appends a mark; what it marks follows. Returns the position in front of it.
    pub fn mark(&mut self, lines: &[u8]) -> u64 {
        if !self.enabled {
            return self.end();
        }
        self.put_preface();
        let at = self.end();
        self.note(|buf| buf.extend_from_slice(lines));
        at
    }

    fn put_preface(&mut self) {
        if let Some(second) = self.second.filter(|&second| second > self.told)
            && self.enabled
        {
            self.told = second;
            self.note(|buf| {
                buf.extend_from_slice(TIME_LINE);
                write_i64(buf, second);
                buf.extend_from_slice(b"\r\n");
            });
        }
        if !self.preface.is_empty() {
            let mut lines = std::mem::take(&mut self.preface);
            self.note(|buf| buf.append(&mut lines));
        }
    }

    /// Appends what is no command.
    fn note(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.buf.len();
        write(&mut self.buf);
        self.outside = self.outside.wrapping_add((self.buf.len() - before) as u64);
    }

    fn select(&mut self, db: usize) {
        if self.selected != db {
            self.selected = db;
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(db);
            self.command(&[b"SELECT", digits.as_bytes()]);
        }
    }

    /// Makes room for a long command at once: growing behind its bytes would copy them again.
    fn make_room(&mut self, bytes: usize) {
        if bytes > LONG {
            self.buf.reserve(bytes + FRAME_ROOM);
        }
    }

    fn command(&mut self, parts: &[&[u8]]) {
        self.make_room(parts.iter().map(|part| part.len() + 16).sum::<usize>() + 16);
        self.buf.push(b'*');
        write_i64(&mut self.buf, parts.len() as i64);
        self.buf.extend_from_slice(b"\r\n");
        for part in parts {
            self.buf.push(b'$');
            write_i64(&mut self.buf, part.len() as i64);
            self.buf.extend_from_slice(b"\r\n");
            self.buf.extend_from_slice(part);
            self.buf.extend_from_slice(b"\r\n");
        }
    }

    /// Appends one command that acts in database `db`. It must name keys of this shard only.
    pub fn log(&mut self, db: usize, parts: &[&[u8]]) {
        if self.enabled {
            self.put_preface();
            self.select(db);
            self.command(parts);
        } else {
            self.add_stream(1);
        }
    }

    /// [`Effects::log`] of a command that Redis 7.0 does not know (docs/COMPATIBILITY.md).
    pub fn log_newer(&mut self, db: usize, parts: &[&[u8]]) {
        self.is_newer |= self.enabled;
        self.log(db, parts);
    }

    /// Whether a command was logged that Redis 7.0 does not know.
    pub fn is_newer(&self) -> bool {
        self.is_newer
    }

    /// Appends one command whose bytes are already a RESP array.
    pub fn log_raw(&mut self, db: usize, resp: &[u8]) {
        if self.enabled {
            self.put_preface();
            self.select(db);
            self.make_room(resp.len());
            self.buf.extend_from_slice(resp);
        } else {
            self.add_stream(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_told_once_and_in_front() {
        let mut effects = Effects::new(0, true);
        effects.log(0, &[b"A"]);
        effects.set_second(Some(5));
        effects.set_preface(b"#D 1:2\r\n".to_vec());
        let at = effects.mark(b"#M 1 3\r\n");
        effects.log(0, &[b"B"]);
        effects.set_second(Some(4));
        effects.log(0, &[b"C"]);
        effects.set_second(None);
        effects.log(0, &[b"D"]);
        let (b, rest) = ("*1\r\n$1\r\n", effects.pending());
        let text = format!("{b}A\r\n#TS:5\r\n#D 1:2\r\n#M 1 3\r\n{b}B\r\n{b}C\r\n{b}D\r\n");
        assert_eq!(rest, text.as_bytes());
        assert!(rest[at as usize..].starts_with(b"#M"));
        let mut none = Effects::new(0, false);
        none.set_second(Some(5));
        none.mark(b"#M 1 3\r\n");
        assert!(none.is_empty());
    }

    #[test]
    fn a_log_that_ends_and_begins_again() {
        let mut effects = Effects::new(5, true);
        effects.log(1, &[b"A"]);
        effects.set_preface(b"#D 1:2\r\n".to_vec());
        let end = effects.end();
        drop(effects.take(Vec::new()));
        effects.set_log(None);
        effects.set_preface(b"#D 1:3\r\n".to_vec());
        effects.log(1, &[b"B"]);
        effects.mark(b"#M 1 3\r\n");
        assert_eq!((effects.end(), effects.stamp(), effects.enabled()), (end, 0, false));
        effects.set_log(Some(end + 9));
        effects.log(1, &[b"C"]);
        let text = "*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n*1\r\n$1\r\nC\r\n";
        assert_eq!(effects.pending(), text.as_bytes(), "the old preface is gone");
        assert_eq!(effects.end(), end + 9 + text.len() as u64);
    }

    #[test]
    fn diverted_effects_take_one_position_however_long_they_get() {
        let mut effects = Effects::new(7, true);
        effects.begin_diversion();
        for _ in 0..3 {
            effects.log(1, &[b"SET", b"k", b"v"]);
            assert_eq!(effects.stamp(), 8);
        }
        let (payload, streamed) = effects.divert();
        assert!(payload.starts_with(b"*2\r\n$6\r\nSELECT\r\n"));
        assert_eq!((streamed, effects.stream()), (payload.len() as u64, 0));
        effects.begin_file(8);
        effects.end_diversion();
        assert_eq!((effects.end(), effects.stamp()), (8, 9));
    }

    #[test]
    fn the_stream_has_commands_and_nothing_else() {
        let mut effects = Effects::new(1000, true);
        effects.begin_stream(40);
        assert_eq!(effects.stream(), 40);
        effects.set_second(Some(5));
        effects.set_preface(b"#D 1:2\r\n".to_vec());
        effects.mark(b"#M 1 3\r\n");
        assert_eq!(effects.stream(), 40, "marks and notes");
        effects.log(0, &[b"A"]);
        assert_eq!(effects.stream(), 40 + 11);
        effects.insert(1000, b"#M 2 3\r\n");
        assert_eq!(effects.stream(), 40 + 11);
        effects.log_raw(1, b"*1\r\n$1\r\nB\r\n");
        assert_eq!(effects.stream(), 40 + 11 + 23 + 11, "a SELECT is a command");
        drop(effects.take(Vec::new()));
        effects.begin_file(effects.end() + 1);
        assert_eq!(effects.stream(), 85, "a gap of positions is none of the stream");
        // A cut has its command elsewhere, with its notes.
        effects.set_second(None);
        effects.set_preface(b"#D 1:9\r\n".to_vec());
        effects.begin_diversion();
        effects.log(0, &[b"C"]);
        let (payload, streamed) = effects.divert();
        assert_eq!((payload.len() as u64 - 8, effects.stream()), (streamed, 85));
        effects.add_stream(streamed);
        effects.end_diversion();
        assert_eq!(effects.stream(), 85 + streamed);
        // Without a log effects are counted, and the count goes on where one begins.
        effects.set_log(None);
        let count = effects.stream();
        effects.log(0, &[b"D", b"long enough"]);
        assert_eq!(effects.stream(), count + 1);
        effects.set_log(Some(effects.end() + 77));
        assert_eq!(effects.stream(), count + 1);
    }
}
