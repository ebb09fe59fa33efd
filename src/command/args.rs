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

/// A request that outlives the buffer it was parsed from: queued by MULTI or sent to another shard.
#[derive(Clone, Debug, Default)]
pub struct OwnedRequest {
    buf: Vec<u8>,
    /// End offset of each argument in `buf`.
    ends: Vec<usize>,
    /// A long argument that stands in a buffer of its own (its place in `buf` is empty).
    shared: Option<(usize, Bytes)>,
}

impl OwnedRequest {
    /// Copies `items`; long ones that have a buffer of their own are shared.
    pub fn from_args(args: &Args<'_>) -> Self {
        let mut owned = OwnedRequest::default();
        for (i, item) in args.items().iter().enumerate() {
            match args.shared(i) {
                Some(bytes) => owned.shared = Some((i, bytes.clone())),
                None => owned.buf.extend_from_slice(item),
            }
            owned.ends.push(owned.buf.len());
        }
        owned
    }

    /// Copies plain slices.
    pub fn from_slices(items: &[&[u8]]) -> Self {
        OwnedRequest::from_args(&Args::new(items))
    }

    /// Runs `f` with the arguments.
    pub fn with<R>(&self, f: impl FnOnce(&Args<'_>) -> R) -> R {
        let mut items = smallvec::SmallVec::<[&[u8]; 8]>::new();
        let mut from = 0;
        for (i, &end) in self.ends.iter().enumerate() {
            match &self.shared {
                Some((at, bytes)) if *at == i => items.push(bytes),
                _ => items.push(&self.buf[from..end]),
            }
            from = end;
        }
        let mut args = Args::new(&items);
        if let Some((at, bytes)) = &self.shared {
            args = args.sharing(*at, bytes);
        }
        f(&args)
    }

    /// Number of arguments.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when there is no argument.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.buf.len()
            + size_of::<usize>() * self.ends.len()
            + self.shared.as_ref().map_or(0, |(_, b)| b.len())
    }
}
