//! Replies under construction, encoded for the protocol version their client speaks.
//!
//! Small pieces are copied into one buffer; values of [`SHARE_MIN`] bytes and more are shared with
//! the keyspace by reference count and go to the socket uncopied.

use bytes::Bytes;

use crate::base::number::write_i64;

/// Values at least this long, in bytes, are shared into a reply instead of copied.
pub const SHARE_MIN: usize = 16 * 1024;

/// Encoded reply bytes, in order: `buf` with `shared` pieces standing in it at their offsets.
#[derive(Debug, Default)]
pub struct Reply {
    buf: Vec<u8>,
    /// (offset in `buf` in front of which the piece stands, piece), offsets ascending.
    shared: Vec<(usize, Bytes)>,
    shared_len: usize,
    /// Whether the client speaks RESP3.
    pub resp3: bool,
}

/// A place in a reply to which it can be cut back.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint {
    buf: usize,
    shared: usize,
    shared_len: usize,
}

impl Reply {
    /// An empty reply for a client that speaks RESP3 or RESP2.
    pub fn new(resp3: bool) -> Self {
        Reply { resp3, ..Reply::default() }
    }

    /// Encoded length in bytes.
    pub fn len(&self) -> usize {
        self.buf.len() + self.shared_len
    }

    /// Bytes of that which were copied, and are not shared with anybody.
    pub fn copied_len(&self) -> usize {
        self.buf.len()
    }

    /// Makes room for `room` bytes where there is none, so that the buffer need not grow to that
    /// from nothing.
    #[inline]
    pub fn expect(&mut self, room: usize) {
        if self.buf.capacity() == 0 {
            self.buf.reserve_exact(room);
        }
    }

    /// True when nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty() && self.shared.is_empty()
    }

    /// The place reached so far.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { buf: self.buf.len(), shared: self.shared.len(), shared_len: self.shared_len }
    }

    /// Forgets everything written since `at`.
    pub fn cut_back(&mut self, at: Checkpoint) {
        self.buf.truncate(at.buf);
        self.shared.truncate(at.shared);
        self.shared_len = at.shared_len;
    }

    /// Cuts the reply in two: what was written since `at` is returned.
    pub fn split_off(&mut self, at: Checkpoint) -> Reply {
        let mut tail = Reply::new(self.resp3);
        if (at.buf, at.shared) == (0, 0) {
            // With the room that was made for it.
            return std::mem::replace(self, tail);
        }
        tail.buf.extend_from_slice(&self.buf[at.buf..]);
        let shared = self.shared.drain(at.shared..);
        tail.shared.extend(shared.map(|(offset, piece)| (offset - at.buf, piece)));
        tail.shared_len = self.shared_len - at.shared_len;
        self.buf.truncate(at.buf);
        self.shared_len = at.shared_len;
        tail
    }

    /// Appends what stands between two places of `other`.
    pub fn append_range(&mut self, other: &Reply, from: Checkpoint, to: Checkpoint) {
        let base = self.buf.len();
        self.buf.extend_from_slice(&other.buf[from.buf..to.buf]);
        for (offset, piece) in &other.shared[from.shared..to.shared] {
            self.shared.push((offset - from.buf + base, piece.clone()));
        }
        self.shared_len += to.shared_len - from.shared_len;
    }

    /// The header line at `at` (first byte and number) and the place behind it. `None` when no
    /// whole line stands there: not something this type has written.
    pub fn header_at(&self, at: Checkpoint) -> Option<(u8, i64, Checkpoint)> {
        let rest = self.buf.get(at.buf..)?;
        let kind = *rest.first()?;
        let end = memchr::memchr(b'\r', rest)?;
        let number = crate::base::number::parse_i64(&rest[1..end]).unwrap_or(0);
        Some((kind, number, Checkpoint { buf: at.buf + end + 2, ..at }))
    }

    /// The place behind the bulk, null, number or line that begins at `at`.
    pub fn element_end(&self, at: Checkpoint) -> Option<Checkpoint> {
        let (kind, len, body) = self.header_at(at)?;
        if kind != b'$' || len < 0 {
            return Some(body);
        }
        match self.shared.get(body.shared) {
            Some((offset, piece)) if *offset == body.buf => Some(Checkpoint {
                buf: body.buf + 2,
                shared: body.shared + 1,
                shared_len: body.shared_len + piece.len(),
            }),
            _ => Some(Checkpoint { buf: body.buf + len as usize + 2, ..body }),
        }
    }

    /// The place in front of everything.
    pub fn start(&self) -> Checkpoint {
        Checkpoint { buf: 0, shared: 0, shared_len: 0 }
    }

    /// The encoded bytes at `at`, up to the next shared piece.
    pub fn bytes_from(&self, at: Checkpoint) -> &[u8] {
        &self.buf[at.buf..]
    }

    /// Moves everything of `other` behind what stands here.
    pub fn append(&mut self, other: Reply) {
        if self.is_empty() {
            let resp3 = self.resp3;
            *self = other;
            self.resp3 = resp3;
            return;
        }
        let base = self.buf.len();
        self.buf.extend_from_slice(&other.buf);
        self.shared_len += other.shared_len;
        self.shared.extend(other.shared.into_iter().map(|(at, piece)| (base + at, piece)));
    }

    /// Takes the pieces apart for sending: the buffer and the shared pieces standing in it.
    pub fn into_parts(self) -> (Vec<u8>, Vec<(usize, Bytes)>) {
        (self.buf, self.shared)
    }

    /// All bytes in order, copied together (tests, tools, small replies).
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        let mut from = 0;
        for (at, piece) in &self.shared {
            out.extend_from_slice(&self.buf[from..*at]);
            out.extend_from_slice(piece);
            from = *at;
        }
        out.extend_from_slice(&self.buf[from..]);
        out
    }

    /// Appends bytes that are already encoded.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    fn header(&mut self, kind: u8, n: i64) {
        // Most are short: one copy instead of three.
        let digit = |n: i64| b'0' + n as u8;
        match n {
            0..=9 => return self.buf.extend_from_slice(&[kind, digit(n), b'\r', b'\n']),
            10..=99 => {
                let line = [kind, digit(n / 10), digit(n % 10), b'\r', b'\n'];
                return self.buf.extend_from_slice(&line);
            }
            _ => {}
        }
        self.buf.push(kind);
        write_i64(&mut self.buf, n);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// `+text`
    pub fn simple(&mut self, text: &str) {
        self.buf.push(b'+');
        self.buf.extend_from_slice(text.as_bytes());
        self.buf.extend_from_slice(b"\r\n");
    }

    /// `+OK`
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// `-text`, where `text` begins with the error code; line breaks become spaces.
    pub fn error(&mut self, text: &[u8]) {
        self.buf.push(b'-');
        self.buf.extend(text.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.buf.extend_from_slice(b"\r\n");
    }

    /// `:n`
    pub fn int(&mut self, n: i64) {
        self.header(b':', n);
    }

    /// `$len bytes`
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len() as i64);
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A bulk whose bytes are shared with their owner when they are long.
    pub fn bulk_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_MIN {
            return self.bulk(bytes);
        }
        self.header(b'$', bytes.len() as i64);
        self.shared_len += bytes.len();
        self.shared.push((self.buf.len(), bytes.clone()));
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A bulk holding `n` in decimal.
    pub fn bulk_int(&mut self, n: i64) {
        self.bulk(itoa::Buffer::new().format(n).as_bytes());
    }

    /// The absent value: `$-1`, or `_` in RESP3.
    pub fn null(&mut self) {
        self.buf.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// The absent array: `*-1`, or `_` in RESP3.
    pub fn null_array(&mut self) {
        self.buf.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// Header of an array of `n` elements that the caller writes next.
    pub fn array(&mut self, n: usize) {
        self.header(b'*', n as i64);
    }

    /// Header of a map of `n` pairs: `%n`, or `*2n` in RESP2.
    pub fn map(&mut self, n: usize) {
        if self.resp3 { self.header(b'%', n as i64) } else { self.header(b'*', 2 * n as i64) }
    }

    /// Header of a set of `n` elements: `~n`, or `*n` in RESP2.
    pub fn set(&mut self, n: usize) {
        self.header(if self.resp3 { b'~' } else { b'*' }, n as i64);
    }

    /// Header of an out-of-band push of `n` elements: `>n`, or `*n` in RESP2.
    pub fn push(&mut self, n: usize) {
        self.header(if self.resp3 { b'>' } else { b'*' }, n as i64);
    }

    /// A truth value: `#t`/`#f`, or `:1`/`:0` in RESP2.
    pub fn boolean(&mut self, value: bool) {
        if self.resp3 {
            self.buf.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.int(i64::from(value));
        }
    }

    /// A text with its format (`txt`, `mkd`): `=`, or a bulk in RESP2.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if !self.resp3 {
            return self.bulk(text);
        }
        debug_assert_eq!(format.len(), 3);
        self.header(b'=', text.len() as i64 + 4);
        self.buf.extend_from_slice(format.as_bytes());
        self.buf.push(b':');
        self.buf.extend_from_slice(text);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A double: `,text`, or a bulk in RESP2; `text` as Redis prints it.
    pub fn double_text(&mut self, text: &str) {
        if self.resp3 {
            self.buf.push(b',');
            self.buf.extend_from_slice(text.as_bytes());
            self.buf.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text.as_bytes());
        }
    }
}
