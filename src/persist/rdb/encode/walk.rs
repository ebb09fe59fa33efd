//! A structure that is written in slices, as it was at one moment, while commands go on changing it.
//!
//! [`Walk::head`] writes what it was when its cut began ([`Object::begin_cut`]), once;
//! [`Walk::slice`] writes what the cut visits, until it says that all is written. What the two
//! append one after another is the value.

use crate::persist::rdb::encode::streams::Pieces;
use crate::persist::rdb::encode::values::put_time_base;
use crate::persist::rdb::encode::{Encoder, TimeBase, TooNew, VERSION_LISTPACKS, put_length};
use crate::persist::rdb::format::STREAMS;
use crate::value::object::{Facts, Object, Type};

/// See the file's opening.
#[derive(Debug)]
pub struct Walk {
    kind: u8,
    /// Elements, or nodes where those are written.
    count: u64,
    base: TimeBase,
    pieces: Pieces,
}

impl Walk {
    /// For a structure that was this when its cut began.
    pub fn new(encoder: &Encoder, facts: &Facts) -> Result<Walk, TooNew> {
        let kind = encoder.structure_kind(facts.kind, facts.timed > 0)?;
        let nodes = facts.kind == Type::List && encoder.version >= VERSION_LISTPACKS;
        let count = if nodes { facts.nodes } else { facts.len } as u64;
        let base = TimeBase::new(facts.earliest.filter(|_| facts.timed > 0));
        Ok(Walk { kind, count, base, pieces: Pieces::default() })
    }

    /// The number of the type: what [`Encoder::key`] is to be given.
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// Bytes of memory held beside the structure.
    pub fn memory(&self) -> usize {
        self.pieces.memory()
    }

    /// What comes in front of the elements.
    pub fn head(&self, out: &mut Vec<u8>) {
        put_time_base(out, self.base);
        if !STREAMS.contains(&self.kind) {
            put_length(out, self.count);
        }
    }

    /// Writes about `budget` elements more of `object`, which is the one that the walk began with;
    /// true when all are written.
    pub fn slice(
        &mut self,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
        object: &mut Object,
        budget: usize,
    ) -> bool {
        let base = self.base;
        match object {
            Object::Set(dict) => dict.cut_slice(budget, &mut |entry| encoder.member(out, entry)),
            Object::Hash(dict) => {
                dict.cut_slice(budget, &mut |entry| encoder.field(out, entry, base))
            }
            Object::List(list) => list.cut_nodes(budget, &mut |node| encoder.node(out, node)),
            Object::Zset(large) => {
                large.cut_slice(budget, &mut |name, score| encoder.scored(out, name, score))
            }
            Object::Stream(stream) => {
                let pieces = &mut self.pieces;
                let done = stream.cut_slice(budget, &mut |piece| pieces.add(encoder, out, piece));
                if done {
                    pieces.finish(encoder, out);
                }
                done
            }
        }
    }
}
