//! Requests from bytes: RESP arrays of bulks, and inline commands.
//!
//! The parser is handed everything received since the request began and remembers how far it has
//! come, so that a request that arrives in many pieces is scanned once. It keeps offsets, not
//! bytes. One long bulk (at least [`BIG_BULK`] bytes) of a request may be received into a buffer of
//! its own, which becomes the stored value: the parser then sees nothing in its place.

use crate::base::number::parse_i64;
use crate::resp::inline;

/// Bulks at least this long, in bytes, are received into a buffer of their own.
pub const BIG_BULK: usize = 32 * 1024;
/// Longest inline request or header line, in bytes (Redis' constant).
pub const INLINE_MAX: usize = 64 * 1024;

/// What a client may send; from configuration and the client's state.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest bulk, in bytes (`proto-max-bulk-len`).
    pub bulk_max: usize,
    /// Whether the client has proved who it is; others may send little.
    pub authenticated: bool,
}

/// A breach of the protocol; the client is told and disconnected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(pub String);

impl ProtocolError {
    fn new(text: &str) -> Self {
        ProtocolError(format!("ERR Protocol error: {text}"))
    }
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Complete: it took this many bytes; its arguments stand in [`RequestParser::ranges`].
    Ready(usize),
    /// These many bytes held no command (an empty line, `*0`).
    Nothing(usize),
    /// More bytes are needed.
    More,
    /// A long bulk of this many bytes begins at the end of what was scanned; see
    /// [`RequestParser::take_big`].
    Big(usize),
}

/// Parses one request after another; reset by whoever consumed it.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Where each argument stands, as (start, end) from the beginning of the request.
    ranges: Vec<(usize, usize)>,
    /// Arguments still to come; 0 before the array header was read.
    missing: usize,
    /// Scanned so far.
    at: usize,
    /// Length of the bulk whose header was read.
    bulk: Option<usize>,
    /// The argument that stands in a buffer of its own.
    big: Option<usize>,
    /// Words of an inline request, unquoted.
    words: Vec<u8>,
    inline: bool,
    /// Some line end of the request is two other bytes.
    irregular: bool,
}

/// A number of up to three digits with its line end, as nearly all are: it, and the offset behind.
/// Five bytes follow every such number in a whole request.
#[inline]
fn short_number(input: &[u8], from: usize) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match *input.get(from..)?.first_chunk::<5>()? {
        [a @ b'0'..=b'9', b'\r', b'\n', ..] => Some((digit(a), from + 3)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', _] => {
            Some((digit(a) * 10 + digit(b), from + 4))
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n'] => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), from + 5))
        }
        _ => None,
    }
}

impl RequestParser {
    /// Where the arguments stand: in the request's bytes, or in [`RequestParser::words`].
    pub fn ranges(&self) -> &[(usize, usize)] {
        &self.ranges
    }

    /// The unquoted words of an inline request.
    pub fn words(&self) -> Option<&[u8]> {
        self.inline.then_some(&self.words[..])
    }

    /// The argument that stands in a buffer of its own.
    pub fn big(&self) -> Option<usize> {
        self.big
    }

    /// Bytes of the current request scanned so far.
    pub fn scanned(&self) -> usize {
        self.at
    }

    /// True when the request's bytes are what a log may hold: Redis takes any two bytes for a line
    /// end in a request, but not in a log.
    pub fn is_regular(&self) -> bool {
        !self.irregular
    }

    /// True when no request has begun.
    pub fn is_idle(&self) -> bool {
        self.missing == 0 && self.at == 0
    }

    /// Forgets the request that was consumed.
    pub fn reset(&mut self) {
        self.ranges.clear();
        self.missing = 0;
        self.at = 0;
        self.bulk = None;
        self.big = None;
        self.irregular = false;
        if self.inline {
            self.inline = false;
            self.words = Vec::new();
        }
        if self.ranges.capacity() > 1024 {
            self.ranges = Vec::new();
        }
    }

    /// The long bulk announced by [`Status::Big`] will be received elsewhere, its line end too; the
    /// request goes on at the place scanned so far.
    pub fn take_big(&mut self) {
        debug_assert!(self.bulk.is_some() && self.big.is_none());
        self.big = Some(self.ranges.len());
        self.ranges.push((self.at, self.at));
        self.bulk = None;
        self.missing -= 1;
    }

    /// Scans on. `input` is everything received since the request began.
    pub fn advance(&mut self, input: &[u8], limits: &Limits) -> Result<Status, ProtocolError> {
        if self.missing == 0 && self.ranges.is_empty() {
            match input.first() {
                None => return Ok(Status::More),
                Some(b'*') => {}
                Some(_) => return self.advance_inline(input),
            }
            if let Some(end) = self.plain(input) {
                self.at = end;
                return Ok(Status::Ready(end));
            }
            self.ranges.clear();
            if let Some(status) = self.array_header(input, limits)? {
                return Ok(status);
            }
        }
        while self.missing > 0 {
            let len = match (self.bulk, short_number(input, self.at + 1)) {
                (Some(len), _) => len,
                (None, Some((len, next))) if input[self.at] == b'$' => {
                    self.at = next;
                    len
                }
                _ if self.bulk_header(input, limits)? => self.bulk.unwrap_or_default(),
                _ => return Ok(Status::More),
            };
            if input.len() < self.at + len + 2 {
                self.bulk = Some(len);
                let big = len >= BIG_BULK && self.big.is_none();
                return Ok(if big { Status::Big(len) } else { Status::More });
            }
            self.ranges.push((self.at, self.at + len));
            self.at += len + 2;
            self.irregular |= input[self.at - 2..self.at] != *b"\r\n";
            self.bulk = None;
            self.missing -= 1;
        }
        Ok(Status::Ready(self.at))
    }

    /// Scans a request as nearly all are: whole, of few and short arguments, and regular. Gives
    /// where it ends; `None`, with some of its arguments perhaps in `ranges`, for all others.
    ///
    /// Nothing here can be beyond a limit: ten arguments of up to 999 bytes are allowed to
    /// everybody, and `proto-max-bulk-len` is a megabyte at least.
    #[inline]
    fn plain(&mut self, input: &[u8]) -> Option<usize> {
        let (count @ 1..=10, mut at) = short_number(input, 1)? else { return None };
        self.ranges.reserve(count);
        for _ in 0..count {
            let (len, start) = short_number(input, at + 1)?;
            let end = start + len;
            if input[at] != b'$' || input.get(end..end + 2)? != b"\r\n" {
                return None;
            }
            self.ranges.push((start, end));
            at = end + 2;
        }
        Some(at)
    }

    /// Reads `*count`; says what to do when that does not begin a request.
    fn array_header(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<Status>, ProtocolError> {
        let Some((count, next)) = self.header(input, 1, "too big mbulk count string")? else {
            return Ok(Some(Status::More));
        };
        let count = count.filter(|n| *n <= i64::from(i32::MAX));
        let Some(count) = count else {
            return Err(ProtocolError::new("invalid multibulk length"));
        };
        if count > 10 && !limits.authenticated {
            return Err(ProtocolError::new("unauthenticated multibulk length"));
        }
        if count <= 0 {
            return Ok(Some(Status::Nothing(next)));
        }
        self.missing = count as usize;
        self.at = next;
        self.irregular |= input[next - 1] != b'\n';
        Ok(None)
    }

    /// Reads `$len`; false when it is not all there.
    fn bulk_header(&mut self, input: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let Some(&kind) = input.get(self.at) else { return Ok(false) };
        // The whole line first: Redis reports a wrong first byte only once the line is there.
        let header = self.header(input, self.at + 1, "too big bulk count string")?;
        let Some((len, next)) = header else { return Ok(false) };
        if kind != b'$' {
            let text = format!("expected '$', got '{}'", char::from(kind));
            return Err(ProtocolError::new(&text));
        }
        let max = limits.bulk_max as i64;
        let len = len.filter(|n| (0..=max).contains(n));
        let Some(len) = len else { return Err(ProtocolError::new("invalid bulk length")) };
        if len > 16_384 && !limits.authenticated {
            return Err(ProtocolError::new("unauthenticated bulk length"));
        }
        self.at = next;
        self.irregular |= input[next - 1] != b'\n';
        self.bulk = Some(len as usize);
        Ok(true)
    }

    /// Reads a number up to the line end: (`None` when it is no number, offset behind the line).
    fn header(
        &self,
        input: &[u8],
        from: usize,
        too_big: &str,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        let rest = input.get(from..).unwrap_or_default();
        // Nearly all headers are one to three digits.
        let end = rest.iter().take(8).position(|b| *b == b'\r');
        let end = end.or_else(|| memchr::memchr(b'\r', rest));
        let Some(end) = end else {
            if input.len() - self.at.min(input.len()) > INLINE_MAX {
                return Err(ProtocolError::new(too_big));
            }
            return Ok(None);
        };
        if rest.len() < end + 2 {
            return Ok(None);
        }
        Ok(Some((parse_i64(&rest[..end]), from + end + 2)))
    }

    fn advance_inline(&mut self, input: &[u8]) -> Result<Status, ProtocolError> {
        // Redis looks for the line end as far as the first NUL: a line with one never ends.
        let end = memchr::memchr2(b'\n', 0, input).filter(|end| input[*end] == b'\n');
        let Some(end) = end else {
            if input.len() > INLINE_MAX {
                return Err(ProtocolError::new("too big inline request"));
            }
            return Ok(Status::More);
        };
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        let words =
            inline::split(line).map_err(|_| ProtocolError::new("unbalanced quotes in request"))?;
        if words.is_empty() {
            return Ok(Status::Nothing(end + 1));
        }
        self.inline = true;
        self.at = end + 1;
        for word in words {
            let start = self.words.len();
            self.words.extend_from_slice(&word);
            self.ranges.push((start, self.words.len()));
        }
        Ok(Status::Ready(end + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bulk_max: 512 << 20, authenticated: true };

    fn words(parser: &RequestParser, input: &[u8]) -> Vec<Vec<u8>> {
        let from = parser.words().unwrap_or(input);
        parser.ranges().iter().map(|&(a, b)| from[a..b].to_vec()).collect()
    }

    #[test]
    fn a_request_in_any_pieces() {
        let input = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\nPING\r\n";
        for cut in 0..input.len() - 6 {
            let mut parser = RequestParser::default();
            let first = parser.advance(&input[..cut], &LIMITS);
            if cut < 26 {
                assert_eq!(first, Ok(Status::More), "{cut}");
            }
            let status = parser.advance(input, &LIMITS);
            assert_eq!(status, Ok(Status::Ready(26)));
            assert_eq!(words(&parser, input), [b"SET".to_vec(), b"a".to_vec(), vec![]]);
        }
    }

    #[test]
    fn many_arguments_and_longer_ones_are_scanned_in_any_pieces() {
        for (count, len) in [(11, 3), (12, 100), (3, 999), (2, 1000), (10, 0)] {
            let words = vec![vec![b'x'; len]; count];
            let mut input = format!("*{count}\r\n").into_bytes();
            for word in &words {
                input.extend_from_slice(format!("${len}\r\n").as_bytes());
                input.extend_from_slice(word);
                input.extend_from_slice(b"\r\n");
            }
            for cut in 0..=input.len() {
                let mut parser = RequestParser::default();
                let status = parser.advance(&input[..cut], &LIMITS).unwrap();
                assert_eq!(status == Status::Ready(cut), cut == input.len(), "{count} {cut}");
                assert_eq!(parser.advance(&input, &LIMITS), Ok(Status::Ready(input.len())));
                let found: Vec<_> = parser.ranges().iter().map(|&(a, b)| &input[a..b]).collect();
                assert_eq!(found, words);
            }
        }
    }

    #[test]
    fn breaches_have_redis_texts() {
        let long = [b'x'; INLINE_MAX + 1];
        let cases: &[(&[u8], &str)] = &[
            (b"*x\r\n", "invalid multibulk length"),
            (b"*3000000000\r\n", "invalid multibulk length"),
            (b"*1\r\n:3\r\n", "expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$999999999999\r\n", "invalid bulk length"),
            (b"set \"a\r\n", "unbalanced quotes in request"),
            (&long, "too big inline request"),
        ];
        for (input, text) in cases {
            let got = RequestParser::default().advance(input, &LIMITS);
            assert_eq!(got, Err(ProtocolError::new(text)));
        }
        let limits = Limits { authenticated: false, ..LIMITS };
        let got = RequestParser::default().advance(b"*11\r\n", &limits);
        assert_eq!(got, Err(ProtocolError::new("unauthenticated multibulk length")));
        let got = RequestParser::default().advance(b"*1\r\n$20000\r\n", &limits);
        assert_eq!(got, Err(ProtocolError::new("unauthenticated bulk length")));
    }

    #[test]
    fn strange_line_ends_are_told() {
        let regular = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
        for at in [None, Some(3), Some(7), Some(11), Some(12), Some(16), Some(18), Some(19)] {
            let mut input = regular.to_vec();
            at.into_iter().for_each(|at: usize| input[at] = b'x');
            let mut parser = RequestParser::default();
            assert_eq!(parser.advance(&input, &LIMITS), Ok(Status::Ready(20)), "{at:?}");
            assert_eq!(parser.is_regular(), at.is_none(), "{at:?}");
            parser.reset();
            assert!(parser.is_regular());
        }
    }

    #[test]
    fn nothing_and_inline() {
        let mut parser = RequestParser::default();
        assert_eq!(parser.advance(b"\r\n", &LIMITS), Ok(Status::Nothing(2)));
        assert_eq!(parser.advance(b"*0\r\n", &LIMITS), Ok(Status::Nothing(4)));
        assert_eq!(parser.advance(b"*-1\r\n", &LIMITS), Ok(Status::Nothing(5)));
        assert_eq!(parser.advance(b"get \"a b\"\n", &LIMITS), Ok(Status::Ready(10)));
        assert_eq!(words(&parser, b""), [b"get".to_vec(), b"a b".to_vec()]);
        parser.reset();
        assert_eq!(parser.advance(b"get a\0b\r\n", &LIMITS), Ok(Status::More));
    }

    #[test]
    fn a_long_bulk_is_received_elsewhere() {
        let mut input = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$40000\r\n".to_vec();
        let mut parser = RequestParser::default();
        assert_eq!(parser.advance(&input, &LIMITS), Ok(Status::Big(40_000)));
        assert_eq!(parser.scanned(), input.len());
        parser.take_big();
        assert_eq!(parser.advance(&input, &LIMITS), Ok(Status::Ready(input.len())));
        assert_eq!(parser.big(), Some(2));
        input.clear();
    }
}
