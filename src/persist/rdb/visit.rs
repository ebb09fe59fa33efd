//! Reading an RDB file piece by piece: every element of a value is shown once, none is kept. What
//! `super::decode` would refuse is refused here too, so that tools need no data set to check a
//! file, and a file far larger than memory can be read.
//!
//! Memory: the longest element of a collection or packed node, 32 bytes for each pending entry of
//! a stream's group, and the filters of `super::sieve` (19 MiB). Strings are shown in parts of at
//! most [`PART_MAX`] bytes. A collection beyond 57,344 elements, and a file of more keys, may be
//! read again, in order to see that nothing stands in it twice.

use crate::base::lzf::Unpacker;
use crate::persist::disk::Volume;
use crate::persist::rdb::decode::{Loaded, Options, Problem, RdbError, Reader, Sink, Text, shown};
use crate::persist::rdb::format::*;
use crate::persist::rdb::sieve::Sieve;
use crate::persist::rdb::source::Source;
use crate::value::entry::NewValue;
pub use crate::value::recency::Usage;
use crate::value::stream::{EntryRef, Id};

/// Longest part of a string that is shown at once, in bytes.
pub const PART_MAX: usize = 128 * 1024;
/// The filters: 16 MiB for keys, 2 MiB for the elements of one value.
const KEY_FILTER_BITS: u32 = 27;
/// See [`KEY_FILTER_BITS`].
const ELEMENT_FILTER_BITS: u32 = 24;

/// What stands in front of a value.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Its database.
    pub db: usize,
    /// Its key.
    pub key: Vec<u8>,
    /// The number of its type.
    pub kind: u8,
    /// Its expiry in Unix milliseconds.
    pub expire_ms: Option<i64>,
    /// Its use.
    pub usage: Usage,
}

/// How much there is of a value: what some writers have to say first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Elements of a collection, entries of a stream.
    pub elements: u64,
    /// The earliest expiry of a hash's fields, in Unix milliseconds.
    pub earliest: Option<u64>,
    /// Nodes of a stream.
    pub nodes: u64,
    /// Its first entry.
    pub first: Option<Id>,
    /// Its groups.
    pub groups: u64,
}

/// A piece of a value.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// What is to come, of anything but a string; only to who wants it.
    Shape(&'a Shape),
    /// A string of so many bytes begins.
    Text {
        /// Its length.
        len: u64,
    },
    /// A part of that string.
    Part(&'a [u8]),
    /// An element of a list.
    Element(&'a [u8]),
    /// A member of a set.
    Member(&'a [u8]),
    /// A member of a sorted set, and its score.
    Scored(&'a [u8], f64),
    /// A field of a hash.
    Field {
        /// Its name.
        field: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// Its expiry in Unix milliseconds.
        at: Option<u64>,
    },
    /// A stream begins: what is there even if it holds nothing.
    Stream,
    /// A node of a stream, whose entries follow, and the id it stands under.
    Node(Id, &'a [u8]),
    /// An entry of a stream.
    Entry(&'a EntryRef<'a>),
    /// What a stream knows of itself, behind its entries.
    StreamIds {
        /// Number of entries.
        len: u64,
        /// The highest id there ever was.
        last: Id,
        /// The highest that was removed.
        max_deleted: Id,
        /// Number of entries there ever were.
        added: u64,
    },
    /// A group of a stream.
    Group {
        /// Its name.
        name: &'a [u8],
        /// The last id it gave out.
        last: Id,
        /// Number of entries it read; -1 when unknown.
        read: i64,
    },
    /// A consumer of the group that came last.
    Consumer {
        /// Its name.
        name: &'a [u8],
        /// When it was last seen, in Unix milliseconds.
        seen: i64,
        /// When it last got something.
        active: i64,
    },
    /// What is pending with the consumer that came last.
    Pending {
        /// The entry.
        id: Id,
        /// When it was last given out, in Unix milliseconds.
        time: i64,
        /// How often.
        count: u64,
    },
}

/// Sees a file.
pub trait Visitor {
    /// Whether this value is to be shown; others are passed over unchecked.
    fn wants(&mut self, head: &Head) -> bool;
    /// A piece of the value of a key that was wanted.
    fn piece(&mut self, head: &Head, piece: Piece<'_>) -> Result<(), Problem>;
    /// Whether shapes are to be shown: every value but a string is read twice for that.
    fn wants_shapes(&self) -> bool {
        false
    }
    /// The value is complete; it took this many bytes of the file, and had this many pieces. One
    /// without any is a collection that holds nothing: Redis leaves such keys out on load.
    fn end(&mut self, head: &Head, bytes: u64, pieces: u64) -> Result<(), Problem>;
    /// A module's value was passed over.
    fn module(&mut self, _head: &Head, _module: &str, _bytes: u64) -> Result<(), Problem> {
        Ok(())
    }
    /// A pair of strings about the file.
    fn aux(&mut self, _key: &[u8], _value: &[u8]) -> Result<(), Problem> {
        Ok(())
    }
    /// The source of a library of functions.
    fn function(&mut self, _source: &[u8]) -> Result<(), Problem> {
        Ok(())
    }
}

/// What a reader needs in order to show what it reads.
pub(super) struct Visiting<'a> {
    pub(super) visitor: &'a mut dyn Visitor,
    head: Head,
    pieces: u64,
    /// While the shape of a value is found out.
    shape: Option<Shape>,
    keys: &'a mut Sieve,
    /// Whether this pass is about keys that may stand there twice.
    only_keys: bool,
    elements: Sieve,
}

/// Where nothing goes.
struct Nowhere;

impl Sink for Nowhere {
    fn wants(&mut self, _: usize, _: &[u8]) -> bool {
        false
    }

    fn store(&mut self, _: usize, _: &[u8], _: NewValue<'_>, _: Option<i64>) -> bool {
        true
    }

    fn aux(&mut self, _: &[u8], _: &[u8]) {}
}

/// Sees nothing.
struct Keys;

impl Visitor for Keys {
    fn wants(&mut self, _: &Head) -> bool {
        false
    }

    fn piece(&mut self, _: &Head, _: Piece<'_>) -> Result<(), Problem> {
        Ok(())
    }

    fn end(&mut self, _: &Head, _: u64, _: u64) -> Result<(), Problem> {
        Ok(())
    }
}

/// Shows the RDB file `path` to `visitor`. What was shown of a file that is refused in the end is
/// to be forgotten.
pub fn visit(
    volume: &dyn Volume,
    path: &str,
    options: &Options<'_>,
    visitor: &mut dyn Visitor,
) -> Result<Loaded, RdbError> {
    let mut keys = Sieve::new(options.hash_seed, KEY_FILTER_BITS);
    let loaded = pass(volume, path, options, visitor, (&mut keys, false))?;
    let options = Options { progress: None, ..*options };
    while keys.again() {
        pass(volume, path, &options, &mut Keys, (&mut keys, true))?;
    }
    Ok(loaded)
}

fn pass(
    volume: &dyn Volume,
    path: &str,
    options: &Options<'_>,
    visitor: &mut dyn Visitor,
    (keys, only_keys): (&mut Sieve, bool),
) -> Result<Loaded, RdbError> {
    let fail = |offset, problem| RdbError { file: path.to_owned(), offset, problem };
    let source = Source::open(volume, path, options.progress).map_err(|p| fail(0, p))?;
    let mut nowhere = Nowhere;
    let mut reader = Reader::new(source, options, &mut nowhere);
    reader.visiting = Some(Visiting {
        visitor,
        head: Head::default(),
        pieces: 0,
        shape: None,
        keys,
        only_keys,
        elements: Sieve::new(options.hash_seed, ELEMENT_FILTER_BITS),
    });
    match reader.file() {
        Ok(()) => Ok(reader.loaded),
        Err(problem) => Err(fail(reader.item, problem)),
    }
}

impl Reader<'_> {
    /// Reads a key and shows its value.
    pub(super) fn visit(&mut self, kind: u8) -> Result<(), Problem> {
        let expire_ms = self.expire_ms.take();
        self.read_key()?;
        if !self.begin(kind, expire_ms)? {
            return self.pass_over_value(kind);
        }
        if kind != TYPE_STRING {
            self.visit_shape(kind)?;
        }
        self.visit_value(kind)?;
        let bytes = self.source.offset() - self.item;
        if self.visiting.as_ref().is_some_and(|visiting| visiting.pieces > 0) {
            self.met_key()?;
            self.loaded.keys += 1;
        }
        let Some(visiting) = &mut self.visiting else { return Ok(()) };
        visiting.visitor.end(&visiting.head, bytes, visiting.pieces)
    }

    fn visit_value(&mut self, kind: u8) -> Result<(), Problem> {
        match kind {
            TYPE_STRING => self.visit_string(),
            TYPE_SET | TYPE_HASH | TYPE_ZSET | TYPE_ZSET_2 => self.visit_elements(kind),
            TYPE_HASH_TIMED | TYPE_HASH_TIMED_OLD => self.visit_elements(kind),
            kind if LISTS.contains(&kind) => self.visit_list(kind),
            kind if STREAMS.contains(&kind) => self.visit_stream(kind),
            _ => self.visit_packed(kind),
        }
    }

    /// Shows the shape of a value to who wants it, and goes back to its beginning.
    fn visit_shape(&mut self, kind: u8) -> Result<(), Problem> {
        let Some(visiting) = &mut self.visiting else { return Ok(()) };
        if !visiting.visitor.wants_shapes() {
            return Ok(());
        }
        visiting.shape = Some(Shape::default());
        let mark = self.source.mark();
        self.visit_value(kind)?;
        self.source.rewind(&mark);
        let Some(visiting) = &mut self.visiting else { return Ok(()) };
        let shape = visiting.shape.take().unwrap_or_default();
        visiting.visitor.piece(&visiting.head, Piece::Shape(&shape))
    }

    /// Notes what stands in front of a value; whether it is to be shown.
    fn begin(&mut self, kind: u8, expire_ms: Option<i64>) -> Result<bool, Problem> {
        let usage = std::mem::take(&mut self.usage);
        let Some(visiting) = &mut self.visiting else { return Ok(false) };
        let head = &mut visiting.head;
        head.key.clone_from(&self.key);
        (head.db, head.kind, head.expire_ms, head.usage) = (self.db, kind, expire_ms, usage);
        visiting.pieces = 0;
        Ok(match visiting.only_keys {
            // Only what may stand there twice is looked at: it could hold nothing.
            true => visiting.keys.suspects(self.db as u64, &self.key),
            false => visiting.visitor.wants(&visiting.head),
        })
    }

    /// Notes that a value was read, unless it holds nothing: such a key is none.
    fn met_key(&mut self) -> Result<(), Problem> {
        let Some(visiting) = &mut self.visiting else { return Ok(()) };
        if visiting.keys.meets(self.db as u64, &self.key) {
            return Err(Problem::Duplicate(shown(&self.key)));
        }
        Ok(())
    }

    /// Tells of a module's value that was passed over.
    pub(super) fn visit_module(&mut self, name: &str, at: Option<i64>) -> Result<(), Problem> {
        if self.visiting.is_none() {
            return Ok(());
        }
        // Its key may come again: loading leaves this one out.
        self.begin(TYPE_MODULE, at)?;
        let bytes = self.source.offset() - self.item;
        let Some(visiting) = &mut self.visiting else { return Ok(()) };
        visiting.visitor.module(&visiting.head, name, bytes)
    }

    pub(super) fn show(&mut self, piece: Piece<'_>) -> Result<(), Problem> {
        let Some(visiting) = &mut self.visiting else { return Ok(()) };
        if let Some(shape) = &mut visiting.shape {
            shape.add(piece);
            return Ok(());
        }
        visiting.pieces += 1;
        visiting.visitor.piece(&visiting.head, piece)
    }

    /// Begins to look out for elements that stand in a value twice.
    pub(super) fn start_elements(&mut self) {
        if let Some(visiting) = &mut self.visiting {
            visiting.elements.clear();
        }
    }

    /// Notes an element; whether it stood there before.
    pub(super) fn is_twice(&mut self, element: &[u8]) -> bool {
        self.visiting.as_mut().is_some_and(|visiting| visiting.elements.meets(0, element))
    }

    /// Whether the elements have to be read again, lest one stands there twice.
    pub(super) fn reads_again(&mut self) -> bool {
        self.visiting.as_mut().is_some_and(|visiting| visiting.elements.again())
    }

    fn visit_string(&mut self) -> Result<(), Problem> {
        match self.string_head()? {
            Text::Int(n) => {
                let mut digits = itoa::Buffer::new();
                let text = digits.format(n).as_bytes();
                self.show(Piece::Text { len: text.len() as u64 })?;
                self.show(Piece::Part(text))
            }
            Text::Plain(len) => {
                self.show(Piece::Text { len })?;
                self.in_parts(len, |visiting, part| visiting.part(part))
            }
            Text::Lzf { packed, len } => {
                if !Unpacker::can_become(packed, len) {
                    return Err(Problem::Lzf);
                }
                self.show(Piece::Text { len })?;
                let mut unpacker = Unpacker::new(len);
                self.in_parts(packed, |visiting, part| {
                    let mut result = Ok(());
                    let fed = unpacker.feed(part, &mut |text| {
                        if result.is_ok() {
                            result = visiting.part(text);
                        }
                    });
                    fed.map_err(|_| Problem::Lzf)?;
                    result
                })?;
                let mut result = Ok(());
                let visiting = &mut self.visiting;
                let ended = unpacker.finish(&mut |text| {
                    if let Some(visiting) = visiting {
                        result = visiting.part(text);
                    }
                });
                ended.map_err(|_| Problem::Lzf)?;
                result
            }
        }
    }

    /// Consumes `len` bytes in parts.
    fn in_parts(
        &mut self,
        len: u64,
        mut see: impl FnMut(&mut Visiting<'_>, &[u8]) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let mut left = len;
        while left > 0 {
            let some = left.min(PART_MAX as u64);
            let Some(part) = self.source.peek(some)? else { return Err(Problem::Truncated) };
            if let Some(visiting) = &mut self.visiting {
                see(visiting, part)?;
            }
            self.source.consume(some as usize);
            left -= some;
        }
        Ok(())
    }

    fn pass_over_value(&mut self, kind: u8) -> Result<(), Problem> {
        let head = usize::from(matches!(kind, TYPE_HASH_TIMED | TYPE_HASH_TIMED_LISTPACK));
        self.source.skip(8 * head as u64)?;
        match kind {
            TYPE_HASH_VALKEY if self.loaded.valkey => self.pass_over_valkey_hash(),
            TYPE_HASH_TIMED | TYPE_HASH_TIMED_OLD => self.pass_over_timed(),
            TYPE_STRING | TYPE_HASH_TIMED_LISTPACK | TYPE_HASH_TIMED_LISTPACK_OLD => {
                self.pass_over_string()
            }
            kind if LISTS.contains(&kind) => self.pass_over_list(kind),
            kind if ZSETS.contains(&kind) => self.pass_over_zset(kind),
            kind if STREAMS.contains(&kind) => self.pass_over_stream(kind),
            _ => self.pass_over_collection(kind),
        }
    }
}

impl Shape {
    fn add(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Element(_) | Piece::Member(_) | Piece::Scored(..) => self.elements += 1,
            Piece::Field { at, .. } => {
                self.elements += 1;
                self.earliest = self.earliest.into_iter().chain(at).min();
            }
            Piece::Node(..) => self.nodes += 1,
            Piece::Entry(entry) => {
                self.elements += 1;
                self.first.get_or_insert(entry.id);
            }
            Piece::Group { .. } => self.groups += 1,
            _ => {}
        }
    }
}

impl Visiting<'_> {
    fn part(&mut self, part: &[u8]) -> Result<(), Problem> {
        self.pieces += 1;
        self.visitor.piece(&self.head, Piece::Part(part))
    }
}
