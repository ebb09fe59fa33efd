//! Collections that have outgrown one piece of memory.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::value::cut::Kept;
use crate::value::dict::Dict;
use crate::value::list::List;
use crate::value::stream::Stream;
use crate::value::zset::Large;

/// A collection with a structure of its own.
#[derive(Clone, Debug)]
pub enum Object {
    /// A set: its members, with empty values.
    Set(Dict),
    /// A hash: values by field.
    Hash(Dict),
    /// A stream.
    Stream(Box<Stream>),
    /// A list.
    List(List),
    /// A sorted set: scores by member, and the members in order.
    Zset(Large),
}

/// What a value is to TYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    Zset,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
}

impl Type {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::Zset => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }
}

impl Default for Object {
    /// What is left where one was taken from.
    fn default() -> Self {
        Object::Set(Dict::default())
    }
}

/// What a structure was when its cut began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Names the cut; unique, and rising from cut to cut.
    pub id: u64,
    /// What it was to TYPE.
    pub kind: Type,
    /// Number of elements.
    pub len: usize,
    /// Number of nodes, of a list.
    pub nodes: usize,
    /// Number of elements with a time.
    pub timed: usize,
    /// A time in Unix milliseconds that none of those is below.
    pub earliest: Option<i64>,
}

/// The last cut that has begun, on any shard: a structure may go from one to another, and its own
/// cuts have to rise.
static LAST_CUT: AtomicU64 = AtomicU64::new(0);

/// Names another cut.
pub fn next_cut() -> u64 {
    LAST_CUT.fetch_add(1, Ordering::Relaxed) + 1
}

impl Object {
    /// Fixes what its cut will visit (`cut_slice` of the structure): what it holds now.
    pub fn begin_cut(&mut self) -> Facts {
        let id = next_cut();
        let (mut nodes, mut timed, mut earliest) = (0, 0, None);
        match self {
            Object::Set(dict) => dict.begin_cut(id),
            Object::Hash(dict) => {
                (timed, earliest) = (dict.expires_len(), dict.earliest());
                dict.begin_cut(id);
            }
            Object::List(list) => {
                nodes = list.nodes_len();
                list.begin_cut(id);
            }
            Object::Zset(large) => large.begin_cut(id),
            Object::Stream(stream) => stream.begin_cut(id),
        }
        Facts { id, kind: self.kind(), len: self.len(), nodes, timed, earliest }
    }

    /// The cut that has begun and not ended.
    pub fn cut_id(&self) -> Option<u64> {
        match self {
            Object::Set(dict) | Object::Hash(dict) => dict.cut_epoch(),
            Object::Zset(large) => large.members().cut_epoch(),
            Object::List(list) => list.cut_epoch(),
            Object::Stream(stream) => stream.cut_epoch(),
        }
    }

    /// Ends its cut, however far it has come. What that had kept is returned, to be dropped in
    /// slices where it may be much.
    pub fn end_cut(&mut self) -> Kept {
        match self {
            Object::Set(dict) | Object::Hash(dict) => return dict.end_cut(),
            Object::Zset(large) => return large.end_cut(),
            Object::List(list) => list.end_cut(),
            Object::Stream(stream) => stream.end_cut(),
        }
        Kept::default()
    }

    /// What it is to TYPE.
    pub fn kind(&self) -> Type {
        match self {
            Object::Set(_) => Type::Set,
            Object::Hash(_) => Type::Hash,
            Object::Stream(_) => Type::Stream,
            Object::List(_) => Type::List,
            Object::Zset(_) => Type::Zset,
        }
    }

    /// Its fields or members by name, if it is made of such.
    pub fn dict(&self) -> Option<&Dict> {
        match self {
            Object::Set(dict) | Object::Hash(dict) => Some(dict),
            Object::Zset(large) => Some(large.members()),
            Object::List(_) | Object::Stream(_) => None,
        }
    }

    /// What OBJECT ENCODING calls it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Object::Hash(dict) if dict.is_small() => "listpackex",
            Object::Set(_) | Object::Hash(_) => "hashtable",
            Object::Stream(_) => "stream",
            Object::List(_) => "quicklist",
            Object::Zset(_) => "skiplist",
        }
    }

    /// When to look for fields past their time; `None` when nothing in it has a time.
    pub fn next_look(&self) -> Option<i64> {
        match self {
            Object::Hash(dict) => dict.next_look(),
            _ => None,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Object::Set(dict) | Object::Hash(dict) => dict.len(),
            Object::Stream(stream) => stream.len() as usize,
            Object::List(list) => list.len(),
            Object::Zset(large) => large.len(),
        }
    }

    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory it counts for. Constant time.
    #[inline]
    pub fn memory(&self) -> usize {
        let own = crate::value::account::usable(size_of::<Object>());
        own + match self {
            Object::Set(dict) | Object::Hash(dict) => dict.memory(),
            Object::Stream(stream) => stream.memory(),
            Object::List(list) => list.memory(),
            Object::Zset(large) => large.memory(),
        }
    }

    /// Frees up to `budget` elements of one that will not be used again; true when none is left.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        match self {
            Object::Set(dict) | Object::Hash(dict) => dict.free_slice(budget),
            Object::Stream(stream) => stream.free_slice(budget),
            Object::List(list) => list.free_slice(budget),
            Object::Zset(large) => large.free_slice(budget),
        }
    }
}
