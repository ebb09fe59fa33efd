//! The check of a node's bytes from elsewhere.
//!
//! Beyond being a listpack it must have entries as [`super::node`] describes them, as many as it
//! says, whose ids grow from the one it stands under on.

use std::fmt;

use crate::value::listpack::{self, Item, Pack};
use crate::value::stream::id::Id;
use crate::value::stream::node::Node;

/// Why bytes are no node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadNode {
    /// They are no listpack.
    Listpack(listpack::Invalid),
    /// They are one, and something else than a node.
    Entries {
        /// Where it goes wrong, in bytes from the beginning.
        offset: usize,
        /// What is wrong there.
        why: &'static str,
    },
}

impl fmt::Display for BadNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadNode::Listpack(invalid) => invalid.fmt(f),
            BadNode::Entries { offset, why } => {
                write!(f, "no node of a stream: {why} at byte {offset}")
            }
        }
    }
}

impl std::error::Error for BadNode {}

/// Reads elements one after another.
struct Reader<'a> {
    pack: Pack<'a>,
    offset: usize,
}

impl Reader<'_> {
    fn wrong<T>(&self, why: &'static str) -> Result<T, BadNode> {
        Err(BadNode::Entries { offset: self.offset, why })
    }

    fn int(&mut self, why: &'static str) -> Result<i64, BadNode> {
        match self.pack.at(self.offset) {
            Some((Item::Int(n), next)) => {
                self.offset = next;
                Ok(n)
            }
            _ => self.wrong(why),
        }
    }

    /// A number of elements that there can be.
    fn count(&mut self, why: &'static str) -> Result<usize, BadNode> {
        let at = self.offset;
        let n = self.int(why)?;
        match usize::try_from(n) {
            Ok(n) if n <= self.pack.0.len() => Ok(n),
            _ => Err(BadNode::Entries { offset: at, why }),
        }
    }

    fn skip(&mut self, count: usize) -> Result<(), BadNode> {
        for _ in 0..count {
            match self.pack.at(self.offset) {
                Some((_, next)) => self.offset = next,
                None => return self.wrong("an entry is cut off"),
            }
        }
        Ok(())
    }
}

/// The node that stands under `master` and has these bytes; and the ids of its first and last
/// entries, tombstones included.
pub fn node(master: Id, bytes: Vec<u8>) -> Result<(Node, Id, Id), BadNode> {
    listpack::validate(&bytes).map_err(BadNode::Listpack)?;
    let pack = Pack(&bytes);
    let mut reader = Reader { pack, offset: pack.first() };
    let live = reader.count("a number of entries is wanted")?;
    let dead = reader.count("a number of entries is wanted")?;
    let fields = reader.count("a number of fields is wanted")?;
    reader.skip(fields)?;
    if reader.int("an end is wanted")? != 0 {
        return reader.wrong("the fields have no end");
    }
    let (mut found, mut ids) = ((0, 0), None);
    while reader.offset < pack.end() {
        let (id, is_dead) = entry(&mut reader, master, fields)?;
        match ids {
            None if id < master => return reader.wrong("an id is out of order"),
            None => ids = Some((id, id)),
            Some((_, last)) if last >= id => return reader.wrong("an id is out of order"),
            Some((first, _)) => ids = Some((first, id)),
        }
        if is_dead { found.1 += 1 } else { found.0 += 1 }
    }
    let counts = (u32::try_from(live), u32::try_from(dead));
    let (Some((first, last)), (Ok(few), Ok(gone))) = (ids, counts) else {
        return reader.wrong("there are no entries");
    };
    if found != (live, dead) {
        return reader.wrong("it does not hold as many entries as it says");
    }
    Ok((Node::checked(bytes, few, gone), first, last))
}

fn entry(reader: &mut Reader<'_>, master: Id, fields: usize) -> Result<(Id, bool), BadNode> {
    let flags = reader.int("flags are wanted")?;
    if !(0..4).contains(&flags) {
        return reader.wrong("flags are unknown");
    }
    let ms = reader.int("an id is wanted")?;
    let seq = reader.int("an id is wanted")?;
    let elements = if flags & 2 != 0 {
        reader.skip(fields)?;
        3 + fields
    } else {
        let own = reader.count("a number of fields is wanted")?;
        reader.skip(own)?;
        reader.skip(own)?;
        4 + 2 * own
    };
    if reader.int("a length is wanted")? != elements as i64 {
        return reader.wrong("a length behind an entry is not its own");
    }
    let id = Id { ms: master.ms.wrapping_add(ms as u64), seq: master.seq.wrapping_add(seq as u64) };
    Ok((id, flags & 1 != 0))
}
