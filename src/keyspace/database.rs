//! One database of one shard: keys, values and expiries, the memory they take, and walks over them.
//!
//! Expiry is data here: whether a key is past it is the caller's question. Every change goes
//! through a method that takes the log position it is stamped with.
//!
//! Invariants: `timed` has the keys whose values have fields with a time, by when to look at each
//! next; `bytes` is the sum of `Entry::memory`, `expires` the number of entries with an expiry,
//! `last_stamp` at least every segment's stamp.

mod cut;

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::BytesMut;

use crate::base::limits::INLINE_VALUE_MAX;
use crate::base::random::Random;
use crate::keyspace::cut::DatabaseCut;
use crate::keyspace::texts::TextCut;
use crate::keyspace::uses::Uses;
use crate::value::account::usable;
use crate::value::entry::{Entry, Form, Look, NewValue, Stored, ValueRef};
use crate::value::object::Object;
use crate::value::recency::Recency;
use crate::value::table::{CURSOR_BITS, Spot, Table};

/// What became of an entry that was there to be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It has another value.
    Changed,
    /// It is as it was: the log's position of the segment it is in, which the reply waits for.
    Seen(u64),
}

/// What a look-up found.
#[derive(Debug)]
pub struct Found<'a> {
    /// The entry, expired or not.
    pub entry: Option<&'a Entry>,
    /// Log position of the last write to the key's segment: what a reply telling of it waits for.
    pub stamp: u64,
}

/// Keys, values and expiries of one database on one shard.
#[derive(Debug)]
pub struct Database {
    table: Table,
    len: usize,
    expires: usize,
    /// Bytes that the entries count for.
    bytes: usize,
    last_stamp: u64,
    /// Where in the hash space the next look for expired keys begins.
    expiry_position: u64,
    /// Running average of the time to live of sampled keys, in milliseconds; 0 when unknown.
    avg_ttl: i64,
    /// Keys of hashes with fields that have a time, by when to look at them next.
    timed: BTreeSet<(i64, Box<[u8]>)>,
    /// Bytes of their names.
    timed_bytes: usize,
    /// Where small strings are edited.
    scratch: BytesMut,
    /// A snapshot's cut through what was here when it began.
    cut: Option<Box<DatabaseCut>>,
    /// Long strings under a cut that stand here, by key.
    texts: Vec<(Box<[u8]>, TextCut)>,
    /// Those that have come to be changed otherwise than in some bytes, or have gone.
    gone: Vec<(Entry, TextCut)>,
    /// Where the key is that was looked at last in order to change it: most commands look more
    /// than once, and queues and the like are changed again and again. Nothing stands elsewhere
    /// until something comes or goes.
    last: Option<Spot>,
    uses: Uses,
}

/// Largest buffer kept for editing small strings, in bytes.
const SCRATCH_MAX: usize = 16 * 1024;

impl Database {
    /// An empty database; `seed` keys its hash function.
    pub fn new(seed: [u64; 2]) -> Self {
        Database::of(Table::new(seed, 0), 0, Uses::new(seed[0]))
    }

    fn of(table: Table, last_stamp: u64, uses: Uses) -> Self {
        Database {
            table,
            len: 0,
            expires: 0,
            bytes: 0,
            last_stamp,
            expiry_position: 0,
            avg_ttl: 0,
            timed: BTreeSet::new(),
            timed_bytes: 0,
            scratch: BytesMut::new(),
            cut: None,
            texts: Vec::new(),
            gone: Vec::new(),
            last: None,
            uses,
        }
    }

    /// Number of keys, expired ones not yet removed included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of keys that have an expiry.
    pub fn expires_len(&self) -> usize {
        self.expires
    }

    /// Running average of the time to live of keys that have one, in milliseconds, as sampled by
    /// [`Database::sample_expired`]; 0 when there is none.
    pub fn avg_ttl(&self) -> i64 {
        if self.expires == 0 { 0 } else { self.avg_ttl }
    }

    /// Bytes of heap memory held by keys, values and table.
    pub fn memory(&self) -> usize {
        // Nodes of a B-tree are two thirds full or so.
        let timed = self.timed.len() * size_of::<(i64, Box<[u8]>)>() * 3 / 2 + self.timed_bytes;
        let cut = self.cut.as_ref().map_or(0, |cut| cut.memory());
        self.bytes + self.table.memory() + self.scratch.capacity() + timed + cut
    }

    /// Number of keys whose values have fields with a time.
    pub fn timed_len(&self) -> usize {
        self.timed.len()
    }

    /// The key to be looked at first for fields past their time, if that is due at `now_ms`.
    pub fn next_timed(&self, now_ms: i64) -> Option<&[u8]> {
        self.timed.first().filter(|(look, _)| *look < now_ms).map(|(_, key)| &**key)
    }

    /// Keeps `timed` true of a key whose next look was at `before` and is at `after`.
    fn retime(&mut self, key: &[u8], before: Option<i64>, after: Option<i64>) {
        if before == after {
            return;
        }
        if let Some(look) = before
            && self.timed.remove(&(look, key.into()))
        {
            self.timed_bytes -= usable(key.len());
        }
        if let Some(look) = after
            && self.timed.insert((look, key.into()))
        {
            self.timed_bytes += usable(key.len());
        }
    }

    /// Log position of the last write to anything in here.
    pub fn last_stamp(&self) -> u64 {
        self.last_stamp
    }

    /// Looks a key up.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Found<'_> {
        let (spot, stamp) = self.locate(key);
        Found { entry: spot.and_then(|s| self.table.at(s)), stamp }
    }

    /// [`Database::find`] in order to use what is there.
    #[inline]
    pub(crate) fn find_used(&mut self, key: &[u8]) -> Found<'_> {
        let (spot, stamp) = self.locate(key);
        Found { entry: spot.and_then(|spot| self.used(spot)), stamp }
    }

    /// The entry of a spot that [`Database::locate`] gave, to be used.
    #[inline]
    pub(super) fn used(&mut self, spot: Spot) -> Option<&Entry> {
        let entry = self.table.at_mut(spot)?;
        self.uses.note(entry);
        Some(entry)
    }

    /// What reads and makes recencies now.
    pub fn recency(&self) -> Recency {
        self.uses.recency()
    }

    /// What is noted of uses from now on.
    pub(super) fn set_recency(&mut self, recency: Recency) {
        self.uses.set_recency(recency);
    }

    /// A command begins; a quiet one leaves no trace of its uses.
    pub(super) fn begin_uses(&mut self, quiet: bool) {
        self.uses.begin(quiet);
    }

    /// Where a key is, with the stamp of its segment: what [`Database::find`] finds, without
    /// borrowing the entry yet.
    #[inline]
    pub(super) fn locate(&self, key: &[u8]) -> (Option<Spot>, u64) {
        match self.table.locate(self.table.hash(key), key) {
            Ok(spot) => (Some(spot), self.table.stamp_at(spot)),
            Err(segment) => (None, self.table.stamp_of(segment)),
        }
    }

    /// [`Database::locate`] by a command that will change what it finds.
    #[inline]
    pub(super) fn locate_to_change(&mut self, key: &[u8]) -> (Option<Spot>, u64) {
        let (spot, stamp) = match self.last_if(key) {
            Some(spot) => (Some(spot), self.table.stamp_at(spot)),
            None => self.locate(key),
        };
        self.last = spot.or(self.last);
        (spot, stamp)
    }

    /// The last spot when this key stands there.
    #[inline]
    fn last_if(&self, key: &[u8]) -> Option<Spot> {
        self.last.filter(|spot| self.table.at(*spot).is_some_and(|e| e.key() == key))
    }

    /// Where a key is, or its hash.
    #[inline]
    fn place_of(&self, key: &[u8]) -> Result<Spot, u64> {
        self.last_if(key).map_or_else(
            || {
                let hash = self.table.hash(key);
                self.table.locate(hash, key).map_err(|_| hash)
            },
            Ok,
        )
    }

    /// The entry of a spot that [`Database::locate`] gave, if nothing has changed since.
    #[inline]
    pub(super) fn at(&self, spot: Spot) -> Option<&Entry> {
        self.table.at(spot)
    }

    /// Asks the processor to fetch what look-ups of `keys` will read; for batches.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        let hashes: smallvec::SmallVec<[u64; 64]> = keys.map(|k| self.table.hash(k)).collect();
        self.table.prefetch(&hashes);
    }

    fn stamped(&mut self, stamp: u64) {
        self.last_stamp = self.last_stamp.max(stamp);
    }

    /// To be called before anything about an entry changes; says whether it is to be marked
    /// afterwards. (Replacing its value takes the mark away.)
    #[inline]
    fn before_change(&mut self, spot: Spot) -> bool {
        (self.cut.is_some() || !self.texts.is_empty()) && self.keep(spot)
    }

    /// Changes an entry in place and keeps the counters true.
    fn change<R>(&mut self, spot: Spot, stamp: u64, edit: impl FnOnce(&mut Entry) -> R) -> R {
        let ahead = self.before_change(spot);
        self.stamped(stamp);
        let facts = |entry: &Entry| (entry.memory(), entry.expires(), entry.next_look());
        let (result, before, after) = self.table.change(spot, stamp, |entry| {
            let before = facts(entry);
            let result = edit(entry);
            if ahead {
                entry.set_mark(true);
            }
            (result, before, facts(entry))
        });
        self.bytes = self.bytes - before.0 + after.0;
        self.expires = self.expires - usize::from(before.1) + usize::from(after.1);
        if before.2 != after.2
            && let Some(key) = self.table.at(spot).map(|entry| entry.key().to_vec())
        {
            self.retime(&key, before.2, after.2);
        }
        result
    }

    fn insert_new(&mut self, hash: u64, mut entry: Entry, stamp: u64) {
        self.count_in(hash, &mut entry, stamp);
        self.table.insert(hash, entry, stamp);
    }

    /// Notes what is about to be inserted.
    fn count_in(&mut self, hash: u64, entry: &mut Entry, stamp: u64) {
        self.last = None;
        if self.cut.as_ref().is_some_and(|cut| !cut.is_behind(hash)) {
            entry.set_mark(true);
        }
        self.stamped(stamp);
        self.len += 1;
        self.bytes += entry.memory();
        self.expires += usize::from(entry.expires());
        if let Some(look) = entry.next_look() {
            self.retime(entry.key(), None, Some(look));
        }
    }

    /// [`Database::insert`] of what is new here, whatever it was elsewhere.
    pub fn insert_born(&mut self, mut entry: Entry, stamp: u64) -> Option<Entry> {
        self.uses.born(&mut entry);
        self.insert(entry, stamp)
    }

    /// Notes something else of a key's use.
    pub(crate) fn put_recency(&mut self, key: &[u8], recency: u32) {
        let spot = self.table.locate(self.table.hash(key), key).ok();
        if let Some(entry) = spot.and_then(|spot| self.table.at_mut(spot)) {
            entry.set_recency(recency);
        }
    }

    /// Inserts or replaces; gives the replaced entry back, for its owner to drop.
    pub fn insert(&mut self, mut entry: Entry, stamp: u64) -> Option<Entry> {
        // That of where it was before.
        entry.set_mark(false);
        let hash = self.table.hash(entry.key());
        match self.table.locate(hash, entry.key()) {
            Ok(spot) => Some(self.change(spot, stamp, |old| std::mem::replace(old, entry))),
            Err(_) => {
                self.insert_new(hash, entry, stamp);
                None
            }
        }
    }

    /// Puts entries of keys that are not here yet; all that have come when one is here already,
    /// whose number and key it gives then. `entries` is empty afterwards.
    pub fn load(&mut self, entries: &mut Vec<Entry>, stamp: u64) -> Option<(usize, Vec<u8>)> {
        let hashes: smallvec::SmallVec<[u64; 64]> =
            entries.iter().map(|entry| self.table.hash(entry.key())).collect();
        self.table.prefetch(&hashes);
        for (at, (mut entry, hash)) in entries.drain(..).zip(hashes).enumerate() {
            let Some(vacancy) = self.table.vacancy(hash, entry.key()) else {
                return Some((at, entry.key().to_vec()));
            };
            self.count_in(hash, &mut entry, stamp);
            self.table.insert_at(vacancy, entry, stamp);
        }
        None
    }

    /// Makes room for about so many keys, if there are none yet.
    pub fn expect(&mut self, keys: usize) {
        if self.is_empty() && self.cut.is_none() {
            self.last = None;
            self.table = self.table.roomy(keys, self.last_stamp);
        }
    }

    /// Stores a value under `key`, reusing what is there where that is cheaper; the expiry is set
    /// to `expire_ms`. Gives the replaced entry back unless its memory was reused.
    pub fn put(
        &mut self,
        key: &[u8],
        value: NewValue<'_>,
        expire_ms: Option<i64>,
        stamp: u64,
    ) -> Option<Entry> {
        self.store(key, Stored::new(value), expire_ms, stamp)
    }

    fn store(
        &mut self,
        key: &[u8],
        value: Stored<'_>,
        expire_ms: Option<i64>,
        stamp: u64,
    ) -> Option<Entry> {
        match self.place_of(key) {
            Ok(spot) => self.store_at(spot, key, value, expire_ms, stamp),
            Err(hash) => {
                self.insert_stored(hash, (key, value, expire_ms), stamp);
                None
            }
        }
    }

    fn insert_stored(
        &mut self,
        hash: u64,
        (key, value, expire_ms): (&[u8], Stored<'_>, Option<i64>),
        stamp: u64,
    ) {
        let mut entry = Entry::store(key, value, expire_ms);
        self.uses.born(&mut entry);
        self.insert_new(hash, entry, stamp);
    }

    /// Stores a value where `key` already is, which is a use.
    fn store_at(
        &mut self,
        spot: Spot,
        key: &[u8],
        value: Stored<'_>,
        expire_ms: Option<i64>,
        stamp: u64,
    ) -> Option<Entry> {
        self.used(spot);
        self.change(spot, stamp, |entry| {
            // What a snapshot still wants goes to the caller, as what takes long to free does.
            let value = match entry.is_large() || entry.cut_id().is_some() {
                true => value,
                false => entry.overwrite(value, expire_ms).err()?,
            };
            let mut fresh = Entry::store(key, value, expire_ms);
            fresh.set_recency(entry.recency());
            Some(std::mem::replace(entry, fresh))
        })
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &[u8], stamp: u64) -> Option<Entry> {
        let spot = self.table.locate(self.table.hash(key), key).ok()?;
        self.before_change(spot);
        self.stamped(stamp);
        self.last = None;
        let entry = self.table.remove(spot, stamp);
        self.len -= 1;
        self.bytes -= entry.memory();
        self.expires -= usize::from(entry.expires());
        if let Some(look) = entry.next_look() {
            self.retime(key, Some(look), None);
        }
        if self.len == 0 {
            self.emptied();
        }
        Some(entry)
    }

    /// A table that has lost its last key begins anew, stamped with that removal. (With one
    /// segment it is as good as new; the stamp of that segment is the removal's.)
    fn emptied(&mut self) {
        if self.table.segments() > 1 {
            self.table = self.table.fresh(self.last_stamp);
        }
    }

    /// Sets or clears the expiry of a key; false when there is no such key.
    pub fn set_expire(&mut self, key: &[u8], expire_ms: Option<i64>, stamp: u64) -> bool {
        let Ok(spot) = self.table.locate(self.table.hash(key), key) else { return false };
        self.change(spot, stamp, |entry| entry.set_expire(expire_ms));
        true
    }

    /// Edits the bytes of a string in place (an integer is spelled out first) and marks it `raw`.
    /// An absent key starts empty and, if `edit` leaves it empty, is not created. A long string is
    /// edited in its own buffer unless that is shared, so appending costs amortised constant time.
    pub fn edit<R>(&mut self, key: &[u8], stamp: u64, edit: impl FnOnce(&mut BytesMut) -> R) -> R {
        self.edit_if(key, stamp, |bytes| (edit(bytes), true)).0
    }

    /// [`Database::edit`] whose `edit` also says whether it has changed the bytes. If it has not,
    /// nothing is stamped: at most the mark `raw` is new then. It must not leave an absent key
    /// unchanged with bytes in it.
    pub fn edit_if<R>(
        &mut self,
        key: &[u8],
        stamp: u64,
        edit: impl FnOnce(&mut BytesMut) -> (R, bool),
    ) -> (R, bool) {
        self.edit_as(key, Look::string(true), stamp, edit)
    }

    /// [`Database::edit_if`] of a string whose bytes outside of `range` stay what they are, and
    /// which does not become shorter: a snapshot keeps no more than that of it.
    pub fn edit_range<R>(
        &mut self,
        key: &[u8],
        range: Range<usize>,
        stamp: u64,
        edit: impl FnOnce(&mut BytesMut) -> (R, bool),
    ) -> (R, bool) {
        if !self.keep_range(key, range) {
            return self.edit_if(key, stamp, edit);
        }
        // What is to be kept of them has been.
        let texts = std::mem::take(&mut self.texts);
        let result = self.edit_if(key, stamp, edit);
        assert!(self.texts.is_empty(), "no other string has been changed");
        self.texts = texts;
        result
    }

    /// Edits the bytes of a collection that is packed, in place; they are of `form` then. An absent
    /// key starts empty and, if `edit` leaves it so, is not created. `edit` also says whether it
    /// has changed anything; it must not leave an absent key unchanged with bytes in it.
    pub fn edit_packed<R>(
        &mut self,
        key: &[u8],
        form: Form,
        stamp: u64,
        edit: impl FnOnce(&mut BytesMut) -> (R, bool),
    ) -> (R, bool) {
        self.edit_as(key, Look::packed(form), stamp, edit)
    }

    /// Changes the structure of a collection, which is no use of it; `None` when the key has none.
    /// `change` also says whether it has changed anything.
    pub fn change_object<R>(
        &mut self,
        key: &[u8],
        stamp: u64,
        change: impl FnOnce(&mut Object) -> (R, bool),
    ) -> Option<(R, bool)> {
        let (result, edit) = self.change_at(key, (i64::MIN, false), stamp, change)?;
        Some((result, edit == Edit::Changed))
    }

    /// [`Database::change_object`] as a use; `None` as well when the key is past its expiry at
    /// `now_ms`.
    pub fn change_living<R>(
        &mut self,
        key: &[u8],
        now_ms: i64,
        stamp: u64,
        change: impl FnOnce(&mut Object) -> (R, bool),
    ) -> Option<(R, Edit)> {
        self.change_at(key, (now_ms, true), stamp, change)
    }

    #[inline]
    fn change_at<R>(
        &mut self,
        key: &[u8],
        (now_ms, used): (i64, bool),
        stamp: u64,
        change: impl FnOnce(&mut Object) -> (R, bool),
    ) -> Option<(R, Edit)> {
        let spot = self.place_of(key).ok()?;
        self.last = Some(spot);
        // Also where nothing will change in the end: a copy too many does no harm.
        self.before_change(spot);
        let entry = self.table.at_mut(spot).filter(|entry| !entry.is_expired(now_ms))?;
        if used {
            self.uses.note(entry);
        }
        let object = entry.object_mut()?;
        let before = (object.memory(), object.next_look());
        let (result, changed) = change(object);
        let after = (object.memory(), object.next_look());
        self.bytes = self.bytes - before.0 + after.0;
        if before.1 != after.1 {
            self.retime(key, before.1, after.1);
        }
        if !changed {
            return Some((result, Edit::Seen(self.table.stamp_at(spot))));
        }
        // Not before: nothing that was not changed may be stamped.
        self.stamped(stamp);
        self.table.stamp(spot, stamp);
        Some((result, Edit::Changed))
    }

    /// [`Database::edit_packed`] of what is there already and kept in its entry, with one look;
    /// `None`, and nothing is done, when it is not, or is past its expiry at `now_ms`.
    pub fn edit_living<R>(
        &mut self,
        key: &[u8],
        form: Form,
        now_ms: i64,
        stamp: u64,
        edit: impl FnOnce(&mut BytesMut) -> (R, bool),
    ) -> Option<(R, Edit)> {
        let spot = self.place_of(key).ok()?;
        self.last = Some(spot);
        let entry = self.table.at_mut(spot).filter(|entry| !entry.is_expired(now_ms))?;
        self.uses.note(entry);
        let ValueRef::Packed(own, packed) = entry.value() else { return None };
        if own != form || packed.len() > INLINE_VALUE_MAX {
            return None;
        }
        let expire_ms = entry.expire_ms();
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        bytes.extend_from_slice(packed);
        let (result, changed) = edit(&mut bytes);
        if !changed {
            self.keep_scratch(bytes);
            return Some((result, Edit::Seen(self.table.stamp_at(spot))));
        }
        let edited = (bytes, Look::packed(form));
        self.store_edited(Ok(spot), key, edited, expire_ms, stamp);
        Some((result, Edit::Changed))
    }

    fn edit_as<R>(
        &mut self,
        key: &[u8],
        look: Look,
        stamp: u64,
        edit: impl FnOnce(&mut BytesMut) -> (R, bool),
    ) -> (R, bool) {
        let place = self.place_of(key);
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let mut expire_ms = None;
        let mut long = None;
        if let Ok(spot) = place {
            (expire_ms, long) = self.change(spot, 0, |entry| {
                match entry.value() {
                    ValueRef::Int(n) => {
                        bytes.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
                    }
                    ValueRef::Str(s) => bytes.extend_from_slice(s),
                    ValueRef::Packed(_, s) if s.len() <= INLINE_VALUE_MAX => {
                        bytes.extend_from_slice(s);
                    }
                    ValueRef::Shared(_) | ValueRef::Packed(..) | ValueRef::Object(_) => {}
                }
                (entry.expire_ms(), entry.long_mut().map(std::mem::take))
            });
        }
        if let Some(long) = long {
            self.scratch = std::mem::take(&mut bytes);
            bytes = long.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        }
        let (result, changed) = edit(&mut bytes);
        if place.is_err() && bytes.is_empty() {
            self.keep_scratch(bytes);
            return (result, changed);
        }
        debug_assert!(changed || place.is_ok(), "a key that comes to be is a change");
        let stamp = if changed { stamp } else { 0 };
        self.store_edited(place, key, (bytes, look), expire_ms, stamp);
        (result, changed)
    }

    fn store_edited(
        &mut self,
        place: Result<Spot, u64>,
        key: &[u8],
        (bytes, look): (BytesMut, Look),
        expire_ms: Option<i64>,
        stamp: u64,
    ) {
        let mut put = |value: Stored<'_>| match place {
            Ok(spot) => drop(self.store_at(spot, key, value, expire_ms, stamp)),
            Err(hash) => self.insert_stored(hash, (key, value, expire_ms), stamp),
        };
        if bytes.len() <= INLINE_VALUE_MAX {
            put(Stored::Inline { bytes: &bytes, look });
            self.keep_scratch(bytes);
        } else {
            let capacity = bytes.capacity();
            put(Stored::buffer(bytes.freeze(), capacity, look));
        }
    }

    fn keep_scratch(&mut self, bytes: BytesMut) {
        if bytes.capacity() <= SCRATCH_MAX {
            self.scratch = bytes;
        }
    }

    /// An empty database that hashes its keys as this one does.
    pub fn fresh(&self) -> Database {
        Database::of(self.table.fresh(0), 0, self.uses.clone())
    }

    /// Removes everything at once; the returned database holds it, to be dropped elsewhere.
    pub fn clear(&mut self, stamp: u64) -> Database {
        let stamp = self.last_stamp.max(stamp);
        let fresh = Database::of(self.table.fresh(stamp), stamp, self.uses.clone());
        std::mem::replace(self, fresh)
    }

    /// Frees up to `budget` entries of a database that is on its way out and will not be looked
    /// into again; true when nothing is left. A budget of 0 makes no headway.
    pub(super) fn free_slice(&mut self, budget: usize) -> bool {
        let (count, bytes) = self.table.free(budget);
        self.len -= count;
        self.bytes -= bytes;
        for _ in 0..budget {
            if self.timed.pop_first().is_none() {
                break;
            }
        }
        self.table.is_freed() && self.timed.is_empty()
    }

    /// Visits about `count` entries from `cursor` on and returns the cursor to go on with, 0 at the
    /// end. Whatever is present from the first call (cursor 0) to the last is visited at least
    /// once. Cursors are below 2^46; the bits of others above that are ignored.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&Entry)) -> u64 {
        let shift = 64 - CURSOR_BITS;
        let mut left = count.max(1);
        // Empty slots and segments count too, a tenth each, so that a call is bounded.
        let work = left.saturating_mul(10).saturating_add(64);
        let position = self.table.walk(
            cursor << shift,
            work,
            |s| s.len() > 0,
            |entry| {
                visit(entry);
                left = left.saturating_sub(1);
                left > 0
            },
        );
        position.unwrap_or(0) >> shift
    }

    /// Some entry, evenly chosen as far as it is cheap.
    pub fn random(&self, random: &mut Random) -> Option<&Entry> {
        if self.len == 0 { None } else { self.table.random(random) }
    }

    /// Every entry, in table order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.table.iter()
    }

    /// Looks at up to `budget` keys that have an expiry, going round from call to call, and hands
    /// keys past `now_ms` to `expired`. Returns (looked at, expired).
    ///
    /// Segments without such keys are skipped by their count, keys without expiry by their
    /// pointer; a call passes at most 64 slots or segments per key of its budget.
    pub fn sample_expired(
        &mut self,
        now_ms: i64,
        budget: usize,
        expired: &mut Vec<Vec<u8>>,
    ) -> (usize, usize) {
        let budget = budget.min(self.expires);
        if budget == 0 {
            return (0, 0);
        }
        let (mut seen, mut past, mut ttl) = (0, 0, 0_i128);
        let mut look = |entry: &Entry| {
            let Some(at) = entry.expire_ms() else { return true };
            seen += 1;
            if at < now_ms {
                past += 1;
                expired.push(entry.key().to_vec());
            } else {
                ttl += i128::from(at) - i128::from(now_ms);
            }
            seen < budget
        };
        let work = budget.saturating_mul(64).saturating_add(1024);
        let next = self.table.walk(self.expiry_position, work, |s| s.volatile() > 0, &mut look);
        self.expiry_position = next.unwrap_or(0);
        if seen > past {
            let average = i64::try_from(ttl / (seen - past) as i128).unwrap_or(i64::MAX);
            // One part in fifty per round, as Redis weighs it.
            self.avg_ttl = match self.avg_ttl {
                0 => average,
                old => old / 50 * 49 + average / 50,
            };
        }
        (seen, past)
    }

    /// Panics unless the invariants hold; returns the segments' stamps.
    #[cfg(test)]
    pub(super) fn check(&self) -> Vec<u64> {
        let stamps = self.table.check();
        assert_eq!(self.iter().count(), self.len);
        assert_eq!(self.iter().filter(|e| e.expires()).count(), self.expires);
        assert_eq!(self.iter().map(Entry::memory).sum::<usize>(), self.bytes);
        assert!(stamps.iter().all(|&s| s <= self.last_stamp));
        let look = |e: &Entry| e.next_look().map(|look| (look, Box::from(e.key())));
        assert_eq!(self.iter().filter_map(look).collect::<BTreeSet<_>>(), self.timed);
        stamps
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> &Table {
        &self.table
    }
}
