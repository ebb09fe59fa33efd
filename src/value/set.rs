//! Sets: integers or short members packed while they are few, a dictionary from then on.

use bytes::{BufMut, BytesMut};

use crate::base::number::parse_i64;
use crate::base::random::Random;
use crate::value::dict::Dict;
use crate::value::entry::{Entry, Form, NewValue, ValueRef};
use crate::value::filling::Filling;
use crate::value::intset::{self, Ints};
use crate::value::listpack::{self, Buffer, Checked, Filter, Item, Pack};
use crate::value::object::Object;
use crate::value::shapes::{PACKED_MAX, Shapes};

/// A set as it is kept.
#[derive(Clone, Copy, Debug)]
pub enum Set<'a> {
    /// Integers, ascending.
    Ints(Ints<'a>),
    /// Members in the order in which they came.
    Packed(Pack<'a>),
    /// Members.
    Dict(&'a Dict),
}

impl<'a> Set<'a> {
    /// The set that an entry holds; `None` when it holds something else.
    pub fn of(entry: &'a Entry) -> Option<Set<'a>> {
        match entry.value() {
            ValueRef::Packed(Form::IntSet, bytes) => Some(Set::Ints(Ints(bytes))),
            ValueRef::Packed(Form::Set, bytes) => Some(Set::Packed(Pack(bytes))),
            ValueRef::Object(Object::Set(dict)) => Some(Set::Dict(dict)),
            _ => None,
        }
    }

    /// Number of members.
    pub fn len(self) -> usize {
        match self {
            Set::Ints(ints) => ints.len(),
            Set::Packed(pack) => pack.len(),
            Set::Dict(dict) => dict.len(),
        }
    }

    /// True when there is no member.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether `member` is in it.
    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            Set::Ints(ints) => parse_i64(member).is_some_and(|n| ints.contains(n)),
            Set::Packed(pack) => pack.find(pack.first(), member, 1).is_some(),
            Set::Dict(dict) => dict.contains(member),
        }
    }

    /// Every member, until `visit` says false.
    pub fn each_while(self, mut visit: impl FnMut(Item<'a>) -> bool) {
        match self {
            Set::Ints(ints) => drop(ints.iter().all(|n| visit(Item::Int(n)))),
            Set::Packed(pack) => drop(pack.iter().all(|(_, item)| visit(item))),
            Set::Dict(dict) => drop(dict.iter().all(|entry| visit(Item::Str(entry.key())))),
        }
    }

    /// Every member.
    pub fn each(self, mut visit: impl FnMut(Item<'a>)) {
        self.each_while(|member| {
            visit(member);
            true
        });
    }

    /// Some member, evenly chosen as far as it is cheap.
    pub fn random(self, random: &mut Random) -> Option<Item<'a>> {
        if self.is_empty() {
            return None;
        }
        match self {
            Set::Ints(ints) => Some(Item::Int(ints.at(random.below(ints.len() as u64) as usize))),
            Set::Dict(dict) => dict.random(random).map(|entry| Item::Str(entry.key())),
            Set::Packed(pack) => {
                let index = random.below(pack.len() as u64) as i64;
                Some(pack.at(pack.seek(index)?)?.0)
            }
        }
    }

    /// The members as text.
    pub fn to_vec(self) -> Vec<Vec<u8>> {
        let mut all = Vec::with_capacity(self.len());
        self.each(|member| all.push(member.text(&mut itoa::Buffer::new()).to_vec()));
        all
    }

    /// The same as a dictionary.
    pub fn to_dict(self, seed: [u64; 2]) -> Dict {
        let mut dict = Dict::new(seed);
        self.each(|member| {
            dict.set(member.text(&mut itoa::Buffer::new()), b"", None);
        });
        dict
    }
}

/// The form in which a new set is kept that begins with `first` and is told of `expected` members;
/// `None` is a dictionary.
pub fn first_form(first: &[u8], expected: usize, shapes: &Shapes) -> Option<Form> {
    if parse_i64(first).is_some() && expected <= shapes.set_intset {
        Some(Form::IntSet)
    } else if expected <= shapes.set_entries {
        Some(Form::Set)
    } else {
        None
    }
}

/// What became of a member that was to be added to a packed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    New,
    /// It was there.
    There,
    /// The set cannot hold it in this form; nothing has changed.
    Outgrown,
}

/// Adds to a set of integers, which may be empty bytes.
pub fn add_int(bytes: &mut (impl Buffer + BufMut), member: &[u8], shapes: &Shapes) -> Added {
    let Some(n) = parse_i64(member) else { return Added::Outgrown };
    if bytes.as_ref().is_empty() {
        intset::create(bytes);
    }
    let ints = Ints(bytes.as_ref());
    if ints.contains(n) {
        return Added::There;
    }
    // Redis bounds large intsets by their size as well.
    if ints.len() >= shapes.set_intset.min(1 << 30) || ints.0.len() > PACKED_MAX {
        return Added::Outgrown;
    }
    intset::add(bytes, n);
    Added::New
}

/// Adds to a packed set, which may be empty bytes.
pub fn add_packed(bytes: &mut (impl Buffer + BufMut), member: &[u8], shapes: &Shapes) -> Added {
    if bytes.as_ref().is_empty() {
        listpack::create(bytes);
    }
    let pack = Pack(bytes.as_ref());
    if pack.find(pack.first(), member, 1).is_some() {
        return Added::There;
    }
    add_absent(bytes, member, shapes)
}

/// [`add_packed`] of a member that is not there.
fn add_absent(bytes: &mut (impl Buffer + BufMut), member: &[u8], shapes: &Shapes) -> Added {
    if bytes.as_ref().is_empty() {
        listpack::create(bytes);
    }
    let pack = Pack(bytes.as_ref());
    let large = pack.len() >= shapes.set_entries || pack.0.len() > PACKED_MAX;
    if large || member.len() > shapes.set_value {
        return Added::Outgrown;
    }
    listpack::push_back(bytes, member);
    Added::New
}

/// Whether bytes from elsewhere are a listpack as a set would be packed here.
pub fn is_packed(bytes: &[u8], shapes: &Shapes) -> bool {
    bytes.len() <= PACKED_MAX
        && Checked::of(bytes, 1, |_| ()).is_ok_and(|checked| {
            checked.len <= shapes.set_entries
                && checked.longest <= shapes.set_value
                && checked.distinct
        })
}

/// Removes from a set of integers; true when it was there.
pub fn remove_int(bytes: &mut BytesMut, member: &[u8]) -> bool {
    parse_i64(member).is_some_and(|n| intset::remove(bytes, n))
}

/// Removes from a packed set; true when it was there.
pub fn remove_packed(bytes: &mut BytesMut, member: &[u8]) -> bool {
    let pack = Pack(bytes);
    let Some(at) = pack.find(pack.first(), member, 1) else { return false };
    listpack::delete(bytes, at, 1);
    true
}

/// Whether the members of a set of integers fit into a listpack: few enough, none too long.
pub fn fits_pack(ints: Ints<'_>, shapes: &Shapes) -> bool {
    let longest = |n: i64| itoa::Buffer::new().format(n).len();
    let ends = [ints.iter().next(), ints.iter().next_back()];
    ints.len() < shapes.set_entries
        && ends.into_iter().flatten().all(|n| longest(n) <= shapes.set_value)
}

/// A set that is being made of members one by one, as when a file is read.
#[derive(Debug)]
pub struct Builder {
    shapes: Shapes,
    seed: [u64; 2],
    kept: Kept,
    /// What is in a listpack.
    seen: Filter,
    /// How many members come, as far as that is known.
    expected: usize,
}

/// A collection that is being made.
#[derive(Debug)]
pub(crate) enum Kept {
    Packed(Form, Vec<u8>),
    Dict(Filling),
}

/// A collection that was made.
#[derive(Debug)]
pub enum Built {
    /// As one piece.
    Packed(Form, Vec<u8>),
    /// With a structure of its own.
    Dict(Dict),
}

impl Kept {
    /// What it has become; `None` when an element came twice.
    pub(crate) fn finish(self) -> Option<Built> {
        Some(match self {
            Kept::Packed(form, bytes) => Built::Packed(form, bytes),
            Kept::Dict(filling) => Built::Dict(filling.finish()?),
        })
    }
}

impl Builder {
    /// An empty set.
    pub fn new(shapes: Shapes, seed: [u64; 2]) -> Self {
        Builder::begin(shapes, seed, Form::IntSet)
    }

    /// An empty set that was a listpack elsewhere, and stays one while it may.
    pub fn packed(shapes: Shapes, seed: [u64; 2]) -> Self {
        Builder::begin(shapes, seed, Form::Set)
    }

    fn begin(shapes: Shapes, seed: [u64; 2], form: Form) -> Self {
        let kept = Kept::Packed(form, Vec::new());
        Builder { shapes, seed, kept, seen: Filter::default(), expected: 0 }
    }

    /// About so many members are to come.
    pub fn expect(mut self, members: usize) -> Self {
        self.expected = members;
        self
    }

    /// Nothing has come yet: where it is to be kept while it is one piece, its bytes replaced.
    pub fn within(mut self, mut room: Vec<u8>) -> Self {
        if let Kept::Packed(_, bytes) = &mut self.kept {
            room.clear();
            *bytes = room;
        }
        self
    }

    /// Adds a member; false when it is known by now that one was there already.
    pub fn add(&mut self, member: &[u8]) -> bool {
        loop {
            let added = match &mut self.kept {
                Kept::Packed(Form::IntSet, bytes) => add_int(bytes, member, &self.shapes),
                Kept::Packed(_, bytes) if self.seen.is_new(member) => {
                    add_absent(bytes, member, &self.shapes)
                }
                Kept::Packed(_, bytes) => add_packed(bytes, member, &self.shapes),
                Kept::Dict(filling) => return filling.add(name_only(member)),
            };
            match added {
                Added::New => return true,
                Added::There => return false,
                Added::Outgrown => self.outgrow(member),
            }
        }
    }

    /// Goes on in the next form, for `member` to fit.
    fn outgrow(&mut self, member: &[u8]) {
        let Kept::Packed(form, bytes) = &mut self.kept else { return };
        if bytes.is_empty() && *form == Form::IntSet && self.shapes.set_entries > 0 {
            // Not even the first one was an integer.
            *form = Form::Set;
            return;
        }
        let whole = match (&form, bytes.is_empty()) {
            (Form::IntSet, false) => Set::Ints(Ints(bytes)),
            (_, false) => Set::Packed(Pack(bytes)),
            (_, true) => Set::Packed(Pack(&[7, 0, 0, 0, 0, 0, 0xFF])),
        };
        let packs = match whole {
            Set::Ints(ints) => parse_i64(member).is_none() && fits_pack(ints, &self.shapes),
            _ => false,
        };
        let text = &mut itoa::Buffer::new();
        if packs && member.len() <= self.shapes.set_value {
            let mut pack = Vec::new();
            listpack::create(&mut pack);
            whole.each(|member| {
                let member = member.text(text);
                self.seen.is_new(member);
                listpack::push_back(&mut pack, member);
            });
            self.kept = Kept::Packed(Form::Set, pack);
        } else {
            let mut filling = Filling::new(Dict::roomy(self.seed, self.expected));
            whole.each(|member| {
                filling.add(name_only(member.text(text)));
            });
            self.kept = Kept::Dict(filling);
        }
    }

    /// The set; `None` when a member came twice.
    pub fn finish(self) -> Option<Built> {
        self.kept.finish()
    }
}

/// A member as a dictionary keeps it.
fn name_only(member: &[u8]) -> Entry {
    Entry::new(member, NewValue::Str { bytes: b"", raw: false }, None)
}
