//! What the bytes of a value are, and the bits of an entry's kind that say so.

use crate::value::object::Type;

/// The kind's bits that say where the value is.
pub(super) const KIND: u8 = 0b111;
const FORM_SHIFT: u32 = 3;
/// The kind's bit that marks a string that `OBJECT ENCODING` calls `raw` however short it is.
pub(super) const RAW: u8 = 0x80;

/// What the bytes of a collection are that is kept as one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// A list: a listpack of its elements.
    List = 1,
    /// A set of integers: an intset.
    IntSet,
    /// A set: a listpack of its members.
    Set,
    /// A hash: a listpack of fields and values in turn.
    Hash,
    /// A sorted set: a listpack of members and scores in turn, by score.
    Zset,
}

impl Form {
    /// What it is to TYPE.
    pub fn kind(self) -> Type {
        match self {
            Form::List => Type::List,
            Form::IntSet | Form::Set => Type::Set,
            Form::Hash => Type::Hash,
            Form::Zset => Type::Zset,
        }
    }
}

/// What bytes are, and how they are shown: the kind's bits above where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look(pub(super) u8);

impl Look {
    /// A string; see [`Entry::is_raw`].
    pub(crate) fn string(raw: bool) -> Self {
        Look(if raw { RAW } else { 0 })
    }

    /// A packed collection.
    pub(crate) fn packed(form: Form) -> Self {
        Look((form as u8) << FORM_SHIFT)
    }

    /// What the kind of an entry says of its bytes.
    pub(super) fn of(kind: u8) -> Self {
        Look(kind & !KIND)
    }

    /// The form of a packed collection; `None` is a string.
    pub(super) fn form(self) -> Option<Form> {
        match (self.0 & !RAW) >> FORM_SHIFT {
            1 => Some(Form::List),
            2 => Some(Form::IntSet),
            3 => Some(Form::Set),
            4 => Some(Form::Hash),
            5 => Some(Form::Zset),
            _ => None,
        }
    }
}
