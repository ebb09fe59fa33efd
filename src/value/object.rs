//! Collections that have outgrown one piece of memory.

use crate::value::dict::Dict;
use crate::value::stream::Stream;

/// A collection with a structure of its own.
#[derive(Clone, Debug)]
pub enum Object {
    /// A set: its members, with empty values.
    Set(Dict),
    /// A hash: values by field.
    Hash(Dict),
    /// A stream.
    Stream(Box<Stream>),
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

impl Object {
    /// What it is to TYPE.
    pub fn kind(&self) -> Type {
        match self {
            Object::Set(_) => Type::Set,
            Object::Hash(_) => Type::Hash,
            Object::Stream(_) => Type::Stream,
        }
    }

    /// What OBJECT ENCODING calls it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Object::Set(_) | Object::Hash(_) => "hashtable",
            Object::Stream(_) => "stream",
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Object::Set(dict) | Object::Hash(dict) => dict.len(),
            Object::Stream(stream) => stream.len() as usize,
        }
    }

    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory it counts for. Constant time.
    pub fn memory(&self) -> usize {
        let own = crate::value::account::usable(size_of::<Object>());
        own + match self {
            Object::Set(dict) | Object::Hash(dict) => dict.memory(),
            Object::Stream(stream) => stream.memory(),
        }
    }

    /// Frees up to `budget` elements of one that will not be used again; true when none is left.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        match self {
            Object::Set(dict) | Object::Hash(dict) => dict.free_slice(budget),
            Object::Stream(stream) => stream.free_slice(budget),
        }
    }
}
