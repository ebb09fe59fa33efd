//! An RDB file as one of another version.
//!
//! Collections are written element by element, which servers of every version read and pack as
//! they like. Strings of more than [`GATHERED_MAX`] bytes are not compressed, since a compressed
//! one has its length in front. What the version cannot hold (streams below 9, functions below 10,
//! times of fields below 12) is refused.

use std::io::{self, Write};

use crc_fast::{CrcAlgorithm, Digest};

use crate::persist::rdb::encode::{Encoder, TooNew, VERSION_FIELD_TIMES, put_length};
use crate::persist::rdb::format::*;
use crate::persist::rdb::visit::Shape;
use crate::persist::rdb::{Head, Piece, Problem, Visitor};
use crate::tools::convert::Converter;
use crate::value::stream::Id;

/// Longest string that is gathered to be compressed, in bytes.
const GATHERED_MAX: u64 = 4 << 20;
/// Bytes written at once, about.
const STEP: usize = 1 << 16;
/// What a file may say of itself and still be right in another one.
const KEPT_AUX: [&[u8]; 5] = [b"redis-ver", b"valkey-ver", b"redis-bits", b"ctime", b"used-mem"];

/// See the file's opening.
pub struct Rdb<W: Write> {
    out: W,
    digest: Digest,
    encoder: Encoder,
    /// What is to be written next.
    next: Vec<u8>,
    db: Option<usize>,
    /// Whether the key at hand was written.
    begun: bool,
    shape: Shape,
    /// The string at hand, to be compressed.
    text: Option<Vec<u8>>,
    group: Option<Group>,
}

/// A group of a stream: what is pending stands in front of the consumers.
#[derive(Default)]
struct Group {
    head: Vec<u8>,
    pending: Vec<(Id, i64, u64)>,
    consumers: Vec<Consumer>,
}

#[derive(Default)]
struct Consumer {
    head: Vec<u8>,
    pending: Vec<Id>,
}

fn put_id(out: &mut Vec<u8>, id: Id) {
    put_length(out, id.ms);
    put_length(out, id.seq);
}

fn refused(head: &Head, why: TooNew) -> Problem {
    let key = crate::persist::rdb::decode::shown(&head.key);
    Problem::Output(io::Error::other(format!("\"{key}\": {why}")))
}

impl<W: Write> Rdb<W> {
    /// A file of this version goes to `out`.
    pub fn new(out: W, version: u32, compress: bool) -> Rdb<W> {
        let encoder = Encoder::new(version, compress);
        let mut next = Vec::new();
        encoder.header(&mut next);
        Rdb {
            out,
            digest: Digest::new(CrcAlgorithm::Crc64Redis),
            encoder,
            next,
            db: None,
            begun: false,
            shape: Shape::default(),
            text: None,
            group: None,
        }
    }

    fn write(&mut self) -> Result<(), Problem> {
        self.digest.update(&self.next);
        self.out.write_all(&self.next).map_err(Problem::Output)?;
        self.next.clear();
        Ok(())
    }

    /// Writes what stands in front of a value, once; whether it did.
    fn begin(&mut self, head: &Head, kind: u8) -> bool {
        if std::mem::replace(&mut self.begun, true) {
            return false;
        }
        if self.db != Some(head.db) {
            self.db = Some(head.db);
            self.encoder.select(&mut self.next, head.db);
        }
        self.encoder.set_usage(head.usage);
        self.encoder.key(&mut self.next, kind, &head.key, head.expire_ms);
        true
    }

    fn since(&self, version: u32, what: &'static str, head: &Head) -> Result<(), Problem> {
        if self.encoder.version() >= version {
            return Ok(());
        }
        Err(refused(head, TooNew { what, since: version }))
    }

    fn one(&mut self, head: &Head, piece: Piece<'_>) -> Result<(), Problem> {
        let elements = self.shape.elements;
        match piece {
            Piece::Shape(shape) => self.shape = *shape,
            Piece::Text { len } => {
                self.begin(head, TYPE_STRING);
                if len <= GATHERED_MAX {
                    self.text = Some(Vec::new());
                } else {
                    put_length(&mut self.next, len);
                }
            }
            Piece::Part(part) => {
                self.text.as_mut().unwrap_or(&mut self.next).extend_from_slice(part);
            }
            Piece::Element(text) | Piece::Member(text) => {
                let of_set = matches!(piece, Piece::Member(_));
                if self.begin(head, if of_set { TYPE_SET } else { TYPE_LIST }) {
                    put_length(&mut self.next, elements);
                }
                self.encoder.string(&mut self.next, text);
            }
            Piece::Scored(member, score) => {
                if self.begin(head, self.encoder.zset_kind()) {
                    put_length(&mut self.next, elements);
                }
                self.encoder.scored(&mut self.next, member, score);
            }
            Piece::Field { field, value, at } => self.field(head, field, value, at)?,
            piece => self.of_stream(head, piece)?,
        }
        if self.next.len() >= STEP { self.write() } else { Ok(()) }
    }

    fn field(
        &mut self,
        head: &Head,
        field: &[u8],
        value: &[u8],
        at: Option<u64>,
    ) -> Result<(), Problem> {
        let Shape { elements, earliest, .. } = self.shape;
        let kind = match earliest {
            Some(_) => TYPE_HASH_TIMED,
            None => TYPE_HASH,
        };
        if self.begin(head, kind) {
            if let Some(earliest) = earliest {
                self.since(VERSION_FIELD_TIMES, "a hash whose fields have times", head)?;
                self.next.extend_from_slice(&earliest.to_le_bytes());
            }
            put_length(&mut self.next, elements);
        }
        if let Some(earliest) = earliest {
            put_length(&mut self.next, at.map_or(0, |at| at - earliest + 1));
        }
        self.encoder.string(&mut self.next, field);
        self.encoder.string(&mut self.next, value);
        Ok(())
    }

    fn of_stream(&mut self, head: &Head, piece: Piece<'_>) -> Result<(), Problem> {
        let kind = self.encoder.stream_kind();
        match piece {
            Piece::Stream => {
                let kind = kind.map_err(|why| refused(head, why))?;
                self.begin(head, kind);
                put_length(&mut self.next, self.shape.nodes);
            }
            Piece::Node(id, bytes) => {
                self.encoder.string(&mut self.next, &id.to_bytes());
                self.encoder.string(&mut self.next, bytes);
            }
            Piece::StreamIds { len, last, max_deleted, added } => {
                put_length(&mut self.next, len);
                put_id(&mut self.next, last);
                if kind != Ok(TYPE_STREAM) {
                    put_id(&mut self.next, self.shape.first.unwrap_or(Id::MIN));
                    put_id(&mut self.next, max_deleted);
                    put_length(&mut self.next, added);
                }
                put_length(&mut self.next, self.shape.groups);
            }
            Piece::Group { name, last, read } => {
                self.group_ends();
                let mut group = Group::default();
                self.encoder.string(&mut group.head, name);
                put_id(&mut group.head, last);
                if kind != Ok(TYPE_STREAM) {
                    put_length(&mut group.head, read as u64);
                }
                self.group = Some(group);
            }
            Piece::Consumer { name, seen, active } => {
                let mut consumer = Consumer::default();
                self.encoder.string(&mut consumer.head, name);
                consumer.head.extend_from_slice(&seen.to_le_bytes());
                if kind == Ok(TYPE_STREAM_3) {
                    consumer.head.extend_from_slice(&active.to_le_bytes());
                }
                self.group.get_or_insert_default().consumers.push(consumer);
            }
            Piece::Pending { id, time, count } => {
                let group = self.group.get_or_insert_default();
                group.pending.push((id, time, count));
                if let Some(consumer) = group.consumers.last_mut() {
                    consumer.pending.push(id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes the group at hand.
    fn group_ends(&mut self) {
        let Some(mut group) = self.group.take() else { return };
        let out = &mut self.next;
        out.extend_from_slice(&group.head);
        group.pending.sort_unstable();
        put_length(out, group.pending.len() as u64);
        for (id, time, count) in group.pending {
            out.extend_from_slice(&id.to_bytes());
            out.extend_from_slice(&time.to_le_bytes());
            put_length(out, count);
        }
        put_length(out, group.consumers.len() as u64);
        for consumer in group.consumers {
            out.extend_from_slice(&consumer.head);
            put_length(out, consumer.pending.len() as u64);
            consumer.pending.iter().for_each(|id| out.extend_from_slice(&id.to_bytes()));
        }
    }
}

impl<W: Write> Visitor for Rdb<W> {
    fn wants(&mut self, _: &Head) -> bool {
        self.begun = false;
        true
    }

    fn wants_shapes(&self) -> bool {
        true
    }

    fn piece(&mut self, head: &Head, piece: Piece<'_>) -> Result<(), Problem> {
        self.one(head, piece)
    }

    fn end(&mut self, _: &Head, _: u64, _: u64) -> Result<(), Problem> {
        if let Some(text) = self.text.take() {
            self.encoder.string(&mut self.next, &text);
        }
        self.group_ends();
        if self.next.len() >= STEP { self.write() } else { Ok(()) }
    }

    fn aux(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        if KEPT_AUX.contains(&key) {
            self.encoder.aux(&mut self.next, key, value);
        }
        Ok(())
    }

    fn function(&mut self, source: &[u8]) -> Result<(), Problem> {
        let done = self.encoder.function(&mut self.next, source);
        done.map_err(|why| Problem::Output(io::Error::other(why)))
    }
}

impl<W: Write> Converter for Rdb<W> {
    fn finish(&mut self) -> io::Result<()> {
        self.encoder.end(&mut self.next);
        self.digest.update(&self.next);
        self.next.extend_from_slice(&self.digest.finalize().to_le_bytes());
        self.out.write_all(&self.next)?;
        self.out.flush()
    }
}
