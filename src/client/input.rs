//! What a client has sent and no command has consumed yet.
//!
//! An idle connection holds no buffer: complete requests are parsed where the ring received them,
//! and only a rest is kept here.

use bytes::{Bytes, BytesMut};

use crate::resp::RequestParser;

/// A long bulk on its way, received straight into the buffer that will be stored.
#[derive(Debug)]
struct Big {
    data: BytesMut,
    /// Bytes it takes with its line end.
    need: usize,
}

/// Unconsumed input.
#[derive(Debug, Default)]
pub struct Input {
    /// Bytes from the beginning of the request in progress.
    pub buf: Vec<u8>,
    /// How far that request has been scanned.
    pub parser: RequestParser,
    big: Option<Box<Big>>,
    /// The long bulk of the request in progress, complete.
    pub big_done: Option<Bytes>,
}

/// Largest first allocation for an announced bulk, in bytes: announcing costs a client nothing, so
/// memory follows what has really arrived.
const BIG_FIRST: usize = 64 * 1024;

impl Input {
    /// Bytes held.
    pub fn len(&self) -> usize {
        self.buf.len() + self.big.as_ref().map_or(0, |b| b.data.len())
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True while a long bulk is on its way.
    pub fn wants_big(&self) -> bool {
        self.big.is_some()
    }

    /// Begins to receive a long bulk of `len` bytes, of which `first` is there already; what
    /// stands behind it in `first` is returned.
    pub fn begin_big<'a>(&mut self, len: usize, first: &'a [u8]) -> &'a [u8] {
        let data = BytesMut::with_capacity((len + 2).min(BIG_FIRST.max(first.len())));
        self.big = Some(Box::new(Big { data, need: len + 2 }));
        self.parser.take_big();
        self.feed_big(first)
    }

    /// Feeds the long bulk on its way, if there is one; returns what stands behind it.
    pub fn feed_big<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let Some(big) = &mut self.big else { return chunk };
        let missing = big.need - big.data.len();
        let (mine, rest) = chunk.split_at(chunk.len().min(missing));
        if big.data.capacity() < big.data.len() + mine.len() {
            let room = (big.data.len() * 2).min(big.need).max(big.data.len() + mine.len());
            big.data.reserve(room - big.data.len());
        }
        big.data.extend_from_slice(mine);
        if big.data.len() == big.need {
            let mut data = self.big.take().map(|b| b.data).unwrap_or_default();
            data.truncate(data.len() - 2);
            self.big_done = Some(data.freeze());
        }
        rest
    }

    /// Forgets everything; the connection is on its way out.
    pub fn clear(&mut self) {
        *self = Input::default();
    }
}
