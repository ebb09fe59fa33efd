//! A key with its value and expiry in one allocation, behind one tagged pointer of 8 bytes.
//!
//! Knows nothing of tables, databases or clocks; it only keeps a few bits for the table.
//!
//! # The allocation
//! ```text
//! 0   kind u8 | recency 24 bits | value length u16 | key length u16
//! 8   expiry i64             only with the EXPIRES bit; Unix milliseconds
//! +   key length u64         only when the short key length says LONG_KEY
//! +   fixed part             INT: i64; SHARED: a `Long`; BOXED: a `Box<Object>`; INLINE: nothing
//! +   key bytes
//! +   value bytes            INLINE only
//! ```
//! Aligned to 16; its size is the allocator's class of what is needed (`account::usable`). The
//! recency is what `keyspace::uses` notes of the key's use, and stays when the value changes. The
//! kind's low 3 bits say where the value is, the next 3 what INLINE and SHARED bytes are: a string,
//! or a collection that is packed into a listpack or an intset. Bit 6 is the mark: it belongs to a
//! snapshot's cut (`keyspace::cut`) and is lost by any change of value or expiry.
//!
//! # The pointer
//! Bits 4 to 47 are the address (16-aligned, and user space ends below 2^48). Bits 48 to 63 and
//! 1 to 3 hold the table's tag of 19 bits: the high 16 and the low 3. Bit 0 is EXPIRES: kept here,
//! and nowhere else, so that the table finds keys with an expiry without touching their memory.
//!
//! # Obligations of the unsafe blocks
//! 1. `base()` is the pointer that `alloc` gave for `shape().layout()`: only `allocate` makes one,
//!    `Drop` and `move_tail` alone free it, and every change of shape keeps the class.
//!    Tags are set and masked with `map_addr`, so provenance is that allocation's throughout.
//! 2. All bytes below `shape().size()` are initialised, the fixed part with a value of the type
//!    that the kind names; the offsets of 8-byte fields are multiples of 8.
//! 3. An `Entry` owns its allocation alone: `&self` only reads, `&mut self` only writes.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::num::NonZero;
use std::ptr::{self, NonNull};

use bytes::Bytes;

use crate::base::limits::{INLINE_VALUE_MAX, LARGE_ENTRY};
use crate::value::account::usable;
pub use crate::value::form::Form;
pub(crate) use crate::value::form::Look;
use crate::value::form::{KIND, RAW};
use crate::value::object::{Object, Type};

/// Bits of the tag that the table may keep in an entry's pointer.
pub(crate) const TAG_BITS: u32 = 19;

const EXPIRES: usize = 1;
const LOW_TAG: usize = 0b1110;
const HIGH_TAG: usize = 0xFFFF << 48;
const ADDRESS: usize = !(HIGH_TAG | LOW_TAG | EXPIRES);
const ALIGN: usize = 16;
/// Bytes of a line of cache.
const LINE: usize = 64;
/// Most bytes of an entry that are asked for ahead; the processor follows long reads by itself.
const PREFETCH_MAX: usize = 512;
const HEADER: usize = size_of::<Header>();
const LONG_KEY: u16 = u16::MAX;

/// The mark, in the kind's byte.
const MARK: u32 = 1 << 6;
/// The recency stands above the kind's byte.
const RECENCY_SHIFT: u32 = 8;
/// The highest recency.
pub(crate) const RECENCY_MAX: u32 = u32::MAX >> RECENCY_SHIFT;

const INLINE: u8 = 0;
const INT: u8 = 1;
const SHARED: u8 = 2;
const BOXED: u8 = 3;

const _: () = assert!(usize::BITS == 64 && HEADER == 8 && size_of::<Option<Entry>>() == 8);
const _: () = assert!(INLINE_VALUE_MAX <= u16::MAX as usize && size_of::<Long>().is_multiple_of(8));

/// A value to be stored.
#[derive(Clone, Debug)]
pub enum NewValue<'a> {
    /// A string that is the decimal form of this integer.
    Int(i64),
    /// A string; `raw` marks one that `OBJECT ENCODING` calls `raw` however short it is.
    Str {
        /// Its bytes.
        bytes: &'a [u8],
        /// See [`Entry::is_raw`].
        raw: bool,
    },
    /// A long string whose buffer is taken over.
    Shared {
        /// Its bytes.
        bytes: Bytes,
        /// See [`Entry::is_raw`].
        raw: bool,
    },
    /// A small collection.
    Packed {
        /// What the bytes are.
        form: Form,
        /// A listpack or intset.
        bytes: &'a [u8],
    },
    /// A collection with a structure of its own.
    Object(Box<Object>),
}

/// A value as it is stored.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// A string kept as the integer it spells.
    Int(i64),
    /// A string kept in the entry.
    Str(&'a [u8]),
    /// A long string in a buffer of its own.
    Shared(&'a Bytes),
    /// A small collection.
    Packed(Form, &'a [u8]),
    /// A collection with a structure of its own.
    Object(&'a Object),
}

/// A string in a buffer of its own.
#[derive(Debug, Default)]
pub(crate) struct Long {
    pub(crate) bytes: Bytes,
    /// Bytes of memory the buffer counts for; its capacity cannot be asked of a `Bytes`.
    pub(crate) charge: usize,
}

/// A value in the form in which it will be kept, its size known.
pub(crate) enum Stored<'a> {
    Int(i64),
    Inline { bytes: &'a [u8], look: Look },
    Short { bytes: Bytes, look: Look },
    Shared { long: Long, look: Look },
    Boxed(Box<Object>),
}

impl<'a> Stored<'a> {
    /// `bytes`, whose buffer is of `capacity` bytes; inline when they are few, so that a small
    /// value never pins a large buffer.
    pub(crate) fn buffer(bytes: Bytes, capacity: usize, look: Look) -> Self {
        if bytes.len() <= INLINE_VALUE_MAX {
            return Stored::Short { bytes, look };
        }
        Stored::Shared { long: Long { bytes, charge: usable(capacity) }, look }
    }

    /// `bytes`, copied.
    fn copy(bytes: &'a [u8], look: Look) -> Self {
        if bytes.len() <= INLINE_VALUE_MAX {
            return Stored::Inline { bytes, look };
        }
        Stored::buffer(Bytes::copy_from_slice(bytes), bytes.len(), look)
    }

    /// The kept form of `value`.
    pub(crate) fn new(value: NewValue<'a>) -> Self {
        match value {
            NewValue::Int(n) => Stored::Int(n),
            NewValue::Str { bytes, raw } => Stored::copy(bytes, Look::string(raw)),
            NewValue::Packed { form, bytes } => Stored::copy(bytes, Look::packed(form)),
            NewValue::Object(object) => Stored::Boxed(object),
            NewValue::Shared { bytes, raw } => {
                let len = bytes.len();
                Stored::buffer(bytes, len, Look::string(raw))
            }
        }
    }

    /// The bytes that are kept in the entry itself.
    fn inline(&self) -> &[u8] {
        match self {
            Stored::Inline { bytes, .. } => bytes,
            Stored::Short { bytes, .. } => bytes,
            Stored::Int(_) | Stored::Shared { .. } | Stored::Boxed(_) => &[],
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Stored::Int(_) => INT,
            Stored::Boxed(_) => BOXED,
            Stored::Inline { look, .. } | Stored::Short { look, .. } => INLINE | look.0,
            Stored::Shared { look, .. } => SHARED | look.0,
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    /// Kind, mark and recency.
    facts: u32,
    value_len: u16,
    key_len: u16,
}

/// Where everything stands in an allocation.
#[derive(Clone, Copy)]
struct Shape {
    kind: u8,
    expires: bool,
    key_len: usize,
    value_len: usize,
}

impl Shape {
    #[inline]
    fn tail_at(self) -> usize {
        HEADER + if self.expires { 8 } else { 0 }
    }

    #[inline]
    fn fixed_at(self) -> usize {
        self.tail_at() + if self.key_len >= usize::from(LONG_KEY) { 8 } else { 0 }
    }

    #[inline]
    fn key_at(self) -> usize {
        let fixed = match self.kind & KIND {
            INT | BOXED => 8,
            SHARED => size_of::<Long>(),
            _ => 0,
        };
        self.fixed_at() + fixed
    }

    #[inline]
    fn value_at(self) -> usize {
        self.key_at() + self.key_len
    }

    #[inline]
    fn size(self) -> usize {
        self.value_at() + self.value_len
    }

    fn layout(self) -> Layout {
        Layout::from_size_align(usable(self.size()), ALIGN).expect("a key is far below isize::MAX")
    }

    fn header(self, recency: u32) -> Header {
        let key_len = u16::try_from(self.key_len).unwrap_or(LONG_KEY);
        let facts = u32::from(self.kind) | recency << RECENCY_SHIFT;
        Header { facts, value_len: self.value_len as u16, key_len }
    }
}

/// A key with its value and expiry, owned.
pub struct Entry(NonNull<u8>);

// SAFETY: (3) an entry owns its memory alone, and what it holds (bytes, `Bytes`) is `Send`.
unsafe impl Send for Entry {}
// SAFETY: (3) `&Entry` only reads, and what it reads (bytes, `Bytes`) is `Sync`.
unsafe impl Sync for Entry {}

/// Where an entry's memory is: what an order of entries that are owned elsewhere holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor(NonNull<u8>);

// SAFETY: it only reads, as `&Entry` does; that it may was promised in `Entry::anchor`.
unsafe impl Send for Anchor {}
// SAFETY: as above.
unsafe impl Sync for Anchor {}

impl Anchor {
    /// The entry's key.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        let entry = std::mem::ManuallyDrop::new(Entry(self.0));
        let key = entry.key();
        // SAFETY: the entry is there and is not being changed, as promised in `Entry::anchor`.
        unsafe { std::slice::from_raw_parts(key.as_ptr(), key.len()) }
    }
}

impl Entry {
    /// Where its memory is.
    ///
    /// # Safety
    /// The anchor and its copies may be looked at only while this entry is neither dropped nor
    /// changed otherwise than by [`Entry::overwrite`], during which none may be looked at.
    pub(crate) unsafe fn anchor(&self) -> Anchor {
        Anchor(self.0)
    }

    /// An entry; `expire_ms` is the Unix time in milliseconds at which it ceases to exist.
    pub fn new(key: &[u8], value: NewValue<'_>, expire_ms: Option<i64>) -> Self {
        Entry::store(key, Stored::new(value), expire_ms)
    }

    /// [`Entry::new`] of a value in its kept form.
    pub(crate) fn store(key: &[u8], value: Stored<'_>, expire_ms: Option<i64>) -> Self {
        let shape = Shape {
            kind: value.kind(),
            expires: expire_ms.is_some(),
            key_len: key.len(),
            value_len: value.inline().len(),
        };
        let mut entry = Entry::allocate(shape);
        let base = entry.base();
        // SAFETY: (1) the allocation holds `shape.size()` bytes and `key` is not part of it.
        unsafe {
            ptr::copy_nonoverlapping(key.as_ptr(), base.add(shape.key_at()), key.len());
        }
        entry.write(shape, value, expire_ms, 0);
        entry
    }

    /// Memory for an entry of `shape`, nothing of it written.
    fn allocate(shape: Shape) -> Entry {
        let layout = shape.layout();
        // SAFETY: the layout is at least as large as a header, so not empty.
        let base = unsafe { alloc(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
        assert!(base.addr().get() & !ADDRESS == 0, "the pointer's spare bits are ours");
        let mut entry = Entry(base);
        entry.set_bits(EXPIRES, if shape.expires { EXPIRES } else { 0 });
        entry
    }

    /// Writes everything but the key's bytes. What was there before has been dropped.
    fn write(&mut self, shape: Shape, value: Stored<'_>, expire_ms: Option<i64>, recency: u32) {
        let base = self.base();
        debug_assert!(shape.expires == expire_ms.is_some() && shape.kind == value.kind());
        // SAFETY: (1, 2) all offsets lie inside the allocation of `shape` at their alignment, and
        // the inline bytes, borrowed from elsewhere, cannot overlap what `&mut self` owns.
        unsafe {
            base.cast::<Header>().write(shape.header(recency));
            if let Some(at) = expire_ms {
                base.add(HEADER).cast::<i64>().write(at);
            }
            if shape.fixed_at() != shape.tail_at() {
                base.add(shape.tail_at()).cast::<u64>().write(shape.key_len as u64);
            }
            let fixed = base.add(shape.fixed_at());
            match value {
                Stored::Int(n) => fixed.cast::<i64>().write(n),
                Stored::Shared { long, .. } => fixed.cast::<Long>().write(long),
                Stored::Boxed(object) => fixed.cast::<Box<Object>>().write(object),
                Stored::Inline { .. } | Stored::Short { .. } => {
                    let bytes = value.inline();
                    let to = base.add(shape.value_at());
                    ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
                }
            }
        }
        self.set_bits(EXPIRES, if shape.expires { EXPIRES } else { 0 });
    }

    /// Where its memory is, and that of a long value: not to be looked at.
    pub(crate) fn addresses(&self) -> [*const u8; 2] {
        let base = self.base().cast_const();
        match self.value() {
            ValueRef::Shared(bytes) => [base, bytes.as_ptr()],
            ValueRef::Packed(_, bytes) => [base, bytes.as_ptr()],
            _ => [base, base],
        }
    }

    #[inline]
    fn base(&self) -> *mut u8 {
        self.0.as_ptr().map_addr(|a| a & ADDRESS)
    }

    #[inline]
    fn bits(&self) -> usize {
        self.0.addr().get()
    }

    /// Replaces the pointer's bits under `mask`, which names no address bit.
    #[inline]
    fn set_bits(&mut self, mask: usize, bits: usize) {
        debug_assert!(mask & ADDRESS == 0 && bits & !mask == 0);
        if self.bits() & mask == bits {
            return; // Spares the table's cache line a write.
        }
        self.0 = self.0.map_addr(|a| {
            // SAFETY: the address bits, which stay, are those of an allocation: not all 0.
            unsafe { NonZero::new_unchecked((a.get() & !mask) | bits) }
        });
    }

    #[inline]
    fn shape(&self) -> Shape {
        let base = self.base();
        let expires = self.expires();
        // SAFETY: (1, 2) every allocation begins with a header.
        let header = unsafe { base.cast::<Header>().read() };
        let kind = (header.facts & !MARK) as u8;
        let mut key_len = usize::from(header.key_len);
        if header.key_len == LONG_KEY {
            let at = HEADER + if expires { 8 } else { 0 };
            // SAFETY: (2) the long length stands here when the short one says so.
            key_len = unsafe { base.add(at).cast::<u64>().read() } as usize;
        }
        Shape { kind, expires, key_len, value_len: usize::from(header.value_len) }
    }

    /// The key's bytes.
    #[inline]
    pub fn key(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: (1, 2, 3) the key's bytes, initialised, borrowed as long as the entry is.
        unsafe { std::slice::from_raw_parts(self.base().add(shape.key_at()), shape.key_len) }
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> ValueRef<'_> {
        let shape = self.shape();
        let base = self.base();
        // SAFETY: (1, 2, 3) the kind names what is there; borrowed as long as the entry is.
        unsafe {
            match shape.kind & KIND {
                INT => ValueRef::Int(base.add(shape.fixed_at()).cast::<i64>().read()),
                SHARED => {
                    let long = &*base.add(shape.fixed_at()).cast::<Long>().cast_const();
                    match Look::of(shape.kind).form() {
                        Some(form) => ValueRef::Packed(form, &long.bytes),
                        None => ValueRef::Shared(&long.bytes),
                    }
                }
                BOXED => ValueRef::Object(
                    &*base.add(shape.fixed_at()).cast::<Box<Object>>().cast_const(),
                ),
                _ => {
                    let from = base.add(shape.value_at());
                    let bytes = std::slice::from_raw_parts(from, shape.value_len);
                    match Look::of(shape.kind).form() {
                        Some(form) => ValueRef::Packed(form, bytes),
                        None => ValueRef::Str(bytes),
                    }
                }
            }
        }
    }

    /// The value as text, when it is a string; `digits` holds it when it is kept as an integer.
    pub fn text<'a>(&'a self, digits: &'a mut itoa::Buffer) -> Option<&'a [u8]> {
        match self.value() {
            ValueRef::Int(n) => Some(digits.format(n).as_bytes()),
            ValueRef::Str(bytes) => Some(bytes),
            ValueRef::Shared(bytes) => Some(bytes),
            ValueRef::Packed(..) | ValueRef::Object(_) => None,
        }
    }

    #[inline]
    fn facts(&self) -> u32 {
        // SAFETY: (1, 2) every allocation begins with a header.
        unsafe { (*self.base().cast::<Header>()).facts }
    }

    #[inline]
    fn set_facts(&mut self, facts: u32) {
        // SAFETY: (1, 2, 3) every allocation begins with a header, and `&mut self` owns it.
        unsafe { (*self.base().cast::<Header>()).facts = facts };
    }

    /// Whether it is marked; see the head of this file.
    #[inline]
    pub(crate) fn is_marked(&self) -> bool {
        self.facts() & MARK != 0
    }

    /// Marks it, or takes the mark away.
    #[inline]
    pub(crate) fn set_mark(&mut self, mark: bool) {
        if self.is_marked() != mark {
            self.set_facts(self.facts() ^ MARK);
        }
    }

    /// What is noted of the key's use, up to [`RECENCY_MAX`]; 0 of a new entry.
    #[inline]
    pub(crate) fn recency(&self) -> u32 {
        self.facts() >> RECENCY_SHIFT
    }

    /// Notes something else of the key's use.
    #[inline]
    pub(crate) fn set_recency(&mut self, recency: u32) {
        debug_assert!(recency <= RECENCY_MAX);
        let kind = self.facts() & ((1 << RECENCY_SHIFT) - 1);
        self.set_facts(kind | recency << RECENCY_SHIFT);
    }

    /// The cut that its structure is under and that has not ended.
    pub(crate) fn cut_id(&self) -> Option<u64> {
        self.object()?.cut_id()
    }

    /// What the value is to TYPE.
    pub fn kind(&self) -> Type {
        match self.value() {
            ValueRef::Int(_) | ValueRef::Str(_) | ValueRef::Shared(_) => Type::String,
            ValueRef::Packed(form, _) => form.kind(),
            ValueRef::Object(object) => object.kind(),
        }
    }

    /// The structure, when the value has one of its own.
    pub fn object(&self) -> Option<&Object> {
        match self.value() {
            ValueRef::Object(object) => Some(object),
            _ => None,
        }
    }

    /// [`Entry::object`], to be changed.
    pub(crate) fn object_mut(&mut self) -> Option<&mut Box<Object>> {
        let shape = self.shape();
        (shape.kind & KIND == BOXED).then(|| {
            // SAFETY: (2, 3) the kind says that it is there; borrowed mutably with the entry.
            unsafe { &mut *self.base().add(shape.fixed_at()).cast::<Box<Object>>() }
        })
    }

    /// Frees up to `budget` elements of a collection that will not be used again; true when there
    /// are none left, and dropping the entry takes no time.
    pub fn free_slice(&mut self, budget: usize) -> bool {
        self.object_mut().is_none_or(|object| object.free_slice(budget))
    }

    /// Drops what the value has beside the entry. The entry must not be looked into afterwards.
    fn drop_fixed(&mut self) {
        if let Some(long) = self.long_mut() {
            // SAFETY: (2) nobody sees the dropped value, as promised.
            unsafe { ptr::drop_in_place(long) };
        } else if let Some(object) = self.object_mut() {
            // SAFETY: (2) as above.
            unsafe { ptr::drop_in_place(object) };
        }
    }

    fn look(&self) -> Look {
        Look::of(self.shape().kind)
    }

    /// The long string, when the value is one, to be edited; it must stay a long string.
    pub(crate) fn long_mut(&mut self) -> Option<&mut Long> {
        let shape = self.shape();
        (shape.kind & KIND == SHARED).then(|| {
            // SAFETY: (2, 3) the kind says that a `Long` is there; borrowed mutably with the entry.
            unsafe { &mut *self.base().add(shape.fixed_at()).cast::<Long>() }
        })
    }

    /// Whether `OBJECT ENCODING` says `raw` even for a short string (APPEND and SETRANGE made it).
    pub fn is_raw(&self) -> bool {
        self.shape().kind & RAW != 0
    }

    /// When to look for fields of the value that are past their time; `None` when none has a time.
    #[inline]
    pub(crate) fn next_look(&self) -> Option<i64> {
        match self.value() {
            ValueRef::Object(object) => object.next_look(),
            _ => None,
        }
    }

    /// Unix time in milliseconds at which the key ceases to exist.
    #[inline]
    pub fn expire_ms(&self) -> Option<i64> {
        self.expires().then(|| {
            // SAFETY: (2) with the EXPIRES bit the expiry stands behind the header.
            unsafe { self.base().add(HEADER).cast::<i64>().read() }
        })
    }

    /// Whether the entry has ceased to exist at `now_ms`.
    #[inline]
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expire_ms().is_some_and(|at| at < now_ms)
    }

    /// Whether there is an expiry; does not touch the entry's memory.
    #[inline]
    pub(crate) fn expires(&self) -> bool {
        self.bits() & EXPIRES != 0
    }

    /// The table's tag.
    #[inline]
    pub(crate) fn tag(&self) -> u32 {
        let bits = self.bits();
        ((bits >> 48 << 3) | ((bits & LOW_TAG) >> 1)) as u32
    }

    /// Sets the table's tag, of [`TAG_BITS`] bits.
    #[inline]
    pub(crate) fn set_tag(&mut self, tag: u32) {
        debug_assert!(tag >> TAG_BITS == 0);
        let tag = tag as usize;
        self.set_bits(HIGH_TAG | LOW_TAG, (tag >> 3 << 48) | ((tag & 7) << 1));
    }

    /// Bytes of memory the entry counts for, its long string included.
    pub fn memory(&self) -> usize {
        let shape = self.shape();
        let mut total = usable(shape.size());
        if shape.kind & KIND == SHARED {
            // SAFETY: (2, 3) the kind says that a `Long` is there; only read.
            total += unsafe { (*self.base().add(shape.fixed_at()).cast::<Long>()).charge };
        } else if let ValueRef::Object(object) = self.value() {
            total += object.memory();
        }
        total
    }

    /// Whether freeing it is left to the background.
    pub(crate) fn is_large(&self) -> bool {
        self.memory() > LARGE_ENTRY
    }

    /// Replaces value and expiry without allocating, if the result is of the allocation's class;
    /// otherwise gives the value back.
    pub(crate) fn overwrite<'v>(
        &mut self,
        value: Stored<'v>,
        expire_ms: Option<i64>,
    ) -> Result<(), Stored<'v>> {
        let old = self.shape();
        let new = Shape {
            kind: value.kind(),
            expires: expire_ms.is_some(),
            key_len: old.key_len,
            value_len: value.inline().len(),
        };
        if usable(new.size()) != usable(old.size()) {
            return Err(value);
        }
        let recency = self.recency();
        // `write` below overwrites the kind, so nobody sees the dropped value.
        self.drop_fixed();
        let base = self.base();
        // SAFETY: (1) both places of the key lie inside the allocation, whose class is unchanged.
        unsafe { ptr::copy(base.add(old.key_at()), base.add(new.key_at()), new.key_len) };
        self.write(new, value, expire_ms, recency);
        Ok(())
    }

    /// Sets or clears the expiry; moves the entry to another allocation only when its class
    /// changes.
    pub(crate) fn set_expire(&mut self, expire_ms: Option<i64>) {
        let old = self.shape();
        let new = Shape { expires: expire_ms.is_some(), ..old };
        self.move_tail(old, new);
        if let Some(at) = expire_ms {
            // SAFETY: (2) the shape now has an expiry behind its header.
            unsafe { self.base().add(HEADER).cast::<i64>().write(at) };
        }
    }

    /// Makes room for an expiry or takes it away: everything behind it moves as one piece (a
    /// `Long` may be moved bytewise).
    fn move_tail(&mut self, old: Shape, new: Shape) {
        if old.expires == new.expires {
            return;
        }
        let len = old.size() - old.tail_at();
        let from = self.base();
        if usable(old.size()) == usable(new.size()) {
            // SAFETY: (1) both places lie inside the allocation, whose class is unchanged.
            unsafe { ptr::copy(from.add(old.tail_at()), from.add(new.tail_at()), len) };
            self.set_bits(EXPIRES, if new.expires { EXPIRES } else { 0 });
            return;
        }
        let mut fresh = Entry::allocate(new);
        let to = fresh.base();
        // SAFETY: (1, 2) header and tail go to the same places of the new shape in an allocation
        // apart; the old one is freed without dropping what moved, and `self` forgets it.
        unsafe {
            ptr::copy_nonoverlapping(from, to, HEADER);
            ptr::copy_nonoverlapping(from.add(old.tail_at()), to.add(new.tail_at()), len);
            dealloc(from, old.layout());
        }
        fresh.set_tag(self.tag());
        std::mem::forget(std::mem::replace(self, fresh));
    }

    /// The same value and expiry under another key.
    pub fn rename(mut self, key: &[u8]) -> Self {
        let (expire_ms, look) = (self.expire_ms(), self.look());
        if let Some(long) = self.long_mut() {
            let long = std::mem::take(long);
            return Entry::store(key, Stored::Shared { long, look }, expire_ms);
        }
        if let Some(object) = self.object_mut() {
            let object = std::mem::take(object);
            return Entry::store(key, Stored::Boxed(object), expire_ms);
        }
        Entry::store(key, self.stored(), expire_ms)
    }

    /// The same entry with another expiry.
    pub fn with_expire(mut self, expire_ms: Option<i64>) -> Self {
        self.set_expire(expire_ms);
        self
    }

    /// The value, to be stored again; a long buffer is shared, an object copied.
    fn stored(&self) -> Stored<'_> {
        let look = self.look();
        match self.value() {
            ValueRef::Int(n) => Stored::Int(n),
            ValueRef::Object(object) => Stored::Boxed(Box::new(object.clone())),
            ValueRef::Str(bytes) => Stored::Inline { bytes, look },
            ValueRef::Packed(_, bytes) => Stored::copy(bytes, look),
            ValueRef::Shared(bytes) => {
                let long = Long { bytes: bytes.clone(), charge: usable(bytes.len()) };
                Stored::Shared { long, look }
            }
        }
    }

    /// Asks the processor to fetch the entry's first cache line.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch(self.base());
    }

    /// The same of what lies behind that, up to a size; the first line should be there by now.
    #[inline]
    pub(crate) fn prefetch_rest(&self) {
        let size = self.shape().size().min(PREFETCH_MAX);
        // SAFETY: (1) the allocation holds `shape.size()` bytes.
        let line = |at| prefetch(unsafe { self.base().add(at) });
        (LINE..size).step_by(LINE).for_each(line);
        line(size - 1);
    }
}

/// Asks the processor to fetch the cache line of `slot`.
#[inline]
pub(crate) fn prefetch_slot(slot: &Option<Entry>) {
    prefetch(ptr::from_ref(slot).cast());
}

#[inline]
fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint that never faults, and every x86-64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

impl Drop for Entry {
    fn drop(&mut self) {
        let layout = self.shape().layout();
        self.drop_fixed();
        // SAFETY: (1) allocated with this layout, freed once.
        unsafe { dealloc(self.base(), layout) };
    }
}

impl Clone for Entry {
    fn clone(&self) -> Self {
        let mut copy = Entry::store(self.key(), self.stored(), self.expire_ms());
        copy.set_recency(self.recency());
        copy
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key().escape_ascii().to_string())
            .field("value", &self.value())
            .field("raw", &self.is_raw())
            .field("expire_ms", &self.expire_ms())
            .finish()
    }
}

#[cfg(test)]
mod tests;
