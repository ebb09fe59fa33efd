//! A structure that is written in slices, as it was at one moment, while commands go on changing it.
//!
//! [`Walk::begin`] begins its cut and notes what the head says; [`Walk::head`] writes that, once;
//! [`Walk::slice`] writes what the cut visits, until it says that all is written; [`Walk::end`] lets
//! go. What the four append one after another is the value.

use crate::persist::rdb::encode::streams::Pieces;
use crate::persist::rdb::encode::values::{put_time_base, time_base};
use crate::persist::rdb::encode::{Encoder, TimeBase, TooNew, VERSION_LISTPACKS, put_length};
use crate::persist::rdb::format::STREAMS;
use crate::value::cut::Kept;
use crate::value::object::Object;

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
    /// Begins a cut through `object`; epochs rise from cut to cut, and the first is above 0. Takes
    /// a time that does not depend on the number of elements (for lists and streams, see theirs).
    pub fn begin(encoder: &Encoder, object: &mut Object, epoch: u64) -> Result<Walk, TooNew> {
        let kind = encoder.object_kind(object)?;
        let (mut count, mut base) = (object.len(), TimeBase::new(None));
        match object {
            Object::Set(dict) => dict.begin_cut(epoch),
            Object::Hash(dict) => {
                base = time_base(dict);
                dict.begin_cut(epoch);
            }
            Object::List(list) => {
                if encoder.version >= VERSION_LISTPACKS {
                    count = list.nodes_len();
                }
                list.begin_cut(epoch);
            }
            Object::Zset(large) => large.begin_cut(epoch),
            Object::Stream(stream) => stream.begin_cut(epoch),
        }
        Ok(Walk { kind, count: count as u64, base, pieces: Pieces::default() })
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

    /// Ends the cut, however far it has come. What it had kept is returned, to be dropped in slices
    /// where it may be much.
    pub fn end(self, object: &mut Object) -> Kept {
        match object {
            Object::Set(dict) | Object::Hash(dict) => return dict.end_cut(),
            Object::Zset(large) => return large.end_cut(),
            Object::List(list) => list.end_cut(),
            Object::Stream(stream) => stream.end_cut(),
        }
        Kept::default()
    }
}
