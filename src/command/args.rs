//! The arguments of one request, borrowed or owned.

use bytes::Bytes;

/// The arguments of one request; `[0]` is the command's name.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    items: &'a [&'a [u8]],
    /// The request as the client sent it, when it was a RESP array.
    raw: Option<&'a [u8]>,
    /// A long last argument that stands in a buffer of its own: (index, buffer).
    shared: Option<(usize, &'a Bytes)>,
}

impl<'a> Args<'a> {
    /// Arguments from slices.
    pub fn new(items: &'a [&'a [u8]]) -> Self {
        Args { items, raw: None, shared: None }
    }

    /// Arguments with the RESP bytes they were parsed from.
    pub fn with_raw(items: &'a [&'a [u8]], raw: &'a [u8]) -> Self {
        Args { items, raw: Some(raw), shared: None }
    }

    /// Says that argument `index` stands in a buffer of its own, which may be kept.
    pub fn sharing(mut self, index: usize, buffer: &'a Bytes) -> Self {
        self.shared = Some((index, buffer));
        self
    }

    /// The same request with `items` that name its command otherwise: the bytes it came in are no
    /// longer what it says.
    pub fn renamed<'b>(&self, items: &'b [&'b [u8]]) -> Args<'b>
    where
        'a: 'b,
    {
        Args { items, raw: None, shared: self.shared }
    }

    /// Number of arguments, the name included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when there is none (never of a parsed request).
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All arguments.
    pub fn items(&self) -> &'a [&'a [u8]] {
        self.items
    }

    /// The argument, if there is one at `index`.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.items.get(index).copied()
    }

    /// The RESP bytes of the request, if they are at hand.
    pub fn raw(&self) -> Option<&'a [u8]> {
        self.raw
    }

    /// The buffer of argument `index` if it has one of its own.
    pub fn shared(&self, index: usize) -> Option<&'a Bytes> {
        self.shared.filter(|(at, _)| *at == index).map(|(_, bytes)| bytes)
    }

    /// True when argument `index` equals `word`, ASCII case folded.
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).is_some_and(|a| a.eq_ignore_ascii_case(word.as_bytes()))
    }
}

impl std::ops::Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        self.items[index]
    }
}
