//! What a data command may touch: one keyspace when its keys live in one shard, all leased ones
//! when they do not. The command's code is the same.

use bytes::{Bytes, BytesMut};

use crate::base::clock::Now;
use crate::base::crc::shard_of;
use crate::base::random::Random;
use crate::command::args::Args;
use crate::command::dump::Codec;
use crate::keyspace::events::{Class, Event, put_in_order};
use crate::keyspace::unwritten;
use crate::keyspace::waiting::Claim;
use crate::keyspace::{
    Database, Edit, Entry, Form, Keyspace, NewValue, Object, Recency, Type, log_times, rebuild,
};
use crate::resp::Reply;
use crate::value::shapes::Shapes;

/// The keyspaces at hand.
#[derive(Debug)]
pub enum Spaces<'a> {
    /// The one that owns every key the command may name.
    One(&'a mut Keyspace),
    /// Leased ones, by shard; the length is the number of shards.
    Many(&'a mut [Option<Box<Keyspace>>]),
}

impl Spaces<'_> {
    /// The same, for a while.
    pub fn lent(&mut self) -> Spaces<'_> {
        match self {
            Spaces::One(space) => Spaces::One(space),
            Spaces::Many(spaces) => Spaces::Many(spaces),
        }
    }

    /// The keyspace that owns `key`. A command that touches a key it did not declare is our bug.
    #[inline]
    pub fn of(&mut self, key: &[u8]) -> &mut Keyspace {
        match self {
            Spaces::One(space) => space,
            Spaces::Many(spaces) => owner(spaces, key),
        }
    }

    /// The keyspace of shard `shard`; the one at hand when there is only one.
    pub fn shard(&mut self, shard: usize) -> &mut Keyspace {
        match self {
            Spaces::One(space) => space,
            Spaces::Many(spaces) => {
                spaces[shard].as_deref_mut().expect("the lease covers every shard named")
            }
        }
    }

    /// Number of databases.
    pub fn databases(&self) -> usize {
        match self {
            Spaces::One(space) => space.dbs.len(),
            Spaces::Many(spaces) => spaces.iter().flatten().next().map_or(0, |s| s.dbs.len()),
        }
    }

    /// Moves what was recorded since the last call to the end of `to`, in the order in which it
    /// happened.
    pub fn take_events(&mut self, to: &mut Vec<Event>) {
        match self {
            Spaces::One(space) if space.events.is_empty() => {}
            Spaces::One(space) => space.events.move_to(to),
            Spaces::Many(spaces) => {
                let before = to.len();
                spaces.iter_mut().flatten().for_each(|space| space.events.move_to(to));
                put_in_order(&mut to[before..]);
            }
        }
    }

    /// Every keyspace at hand.
    pub fn each(&mut self, mut f: impl FnMut(&mut Keyspace)) {
        match self {
            Spaces::One(space) => f(space),
            Spaces::Many(spaces) => spaces.iter_mut().flatten().for_each(|s| f(s)),
        }
    }
}

/// What becomes of a key's expiry when its value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As it was.
    Keep,
    /// None from now on.
    Clear,
    /// Unix time in milliseconds.
    At(i64),
}

/// The surroundings of one data command.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// The data.
    pub spaces: Spaces<'a>,
    /// The client's selected database.
    pub db: usize,
    /// The turn's time.
    pub now: Now,
    /// Where the reply goes.
    pub out: &'a mut Reply,
    /// For random choices.
    pub random: &'a mut Random,
    /// Number of shards, which SCAN's cursors name.
    pub shards: usize,
    /// Longest string a command may make, in bytes (`proto-max-bulk-len`; in replay the highest
    /// bound that a file may make us allocate).
    pub string_max: u64,
    /// Up to which size values are kept as one piece.
    pub shapes: &'a Shapes,
    /// How values become bytes and bytes values.
    pub codec: Codec,
    /// True while a log or RDB is replayed: nothing expires by itself then.
    pub replay: bool,
    /// Decides whether the command may still be answered; there is one only if it may wait.
    pub claim: Option<&'a Claim>,
    /// The command has taken the claim.
    pub claimed: bool,
    /// What the command waits for; its reply is then the one for when that is in vain.
    pub patience: Option<Patience>,
}

/// What a command waits for that finds nothing yet.
#[derive(Debug)]
pub struct Patience {
    /// Until when, in monotonic microseconds.
    pub deadline: Option<u64>,
    /// The type of key it waits for.
    pub on: Type,
    /// Whether it also hears of a key that is gone or of another type.
    pub hears_of_absence: bool,
    /// The command to be run when a key is ready, where it is not the one that was sent.
    pub words: Option<Vec<Vec<u8>>>,
}

/// Takes down what became of a key; says whether it was changed.
#[inline]
fn noted(space: &mut Keyspace, db: usize, key: &[u8], edit: Edit) -> bool {
    match edit {
        Edit::Changed => {
            space.touched(db, key);
            space.counters.dirty += 1;
            true
        }
        Edit::Seen(stamp) => {
            space.saw(key, stamp);
            false
        }
    }
}

#[cold]
fn owner<'a>(spaces: &'a mut [Option<Box<Keyspace>>], key: &[u8]) -> &'a mut Keyspace {
    let shard = shard_of(key, spaces.len());
    spaces[shard].as_deref_mut().expect("the lease covers every declared key")
}

impl Ctx<'_> {
    /// Unix time in milliseconds.
    pub fn now_ms(&self) -> i64 {
        if self.replay { i64::MIN } else { self.now.unix_ms() }
    }

    /// Looks a key up for reading, counts a hit or a miss, and hands what was found to `answer`
    /// together with the reply.
    pub fn read_to<R>(
        &mut self,
        key: &[u8],
        answer: impl FnOnce(&mut Reply, Option<&Entry>) -> R,
    ) -> R {
        self.read_telling(key, (true, true), answer)
    }

    /// [`Ctx::read_to`] that is no use of the key (TTL, TYPE, EXISTS…).
    pub fn look_to<R>(
        &mut self,
        key: &[u8],
        answer: impl FnOnce(&mut Reply, Option<&Entry>) -> R,
    ) -> R {
        self.read_telling(key, (true, false), answer)
    }

    /// [`Ctx::look_to`] by a command that asks about a key, not for it: nobody is told of a miss.
    pub fn inspect_to<R>(
        &mut self,
        key: &[u8],
        answer: impl FnOnce(&mut Reply, Option<&Entry>) -> R,
    ) -> R {
        self.read_telling(key, (false, false), answer)
    }

    #[inline]
    fn read_telling<R>(
        &mut self,
        key: &[u8],
        (told, used): (bool, bool),
        answer: impl FnOnce(&mut Reply, Option<&Entry>) -> R,
    ) -> R {
        let (db, now) = (self.db, self.now_ms());
        let space = self.spaces.of(key);
        let found = match used {
            true => space.dbs[db].find_used(key),
            false => space.dbs[db].find(key),
        };
        let (unwritten, looked) = (space.unwritten.as_deref(), &mut space.looked);
        let tag = unwritten::saw(unwritten, looked, key, found.stamp);
        space.read_tag = space.read_tag.max(tag);
        match found.entry {
            Some(entry) if !entry.is_expired(now) => {
                space.counters.hits += 1;
                answer(self.out, Some(entry))
            }
            past => {
                if past.is_some() {
                    space.expire_now(db, key);
                }
                match told {
                    true => space.missed(db, key),
                    false => space.counters.misses += 1,
                }
                answer(self.out, None)
            }
        }
    }

    /// Removes those of `fields` of the hash at `key`, if there is one, that are past their time:
    /// to be called before anything is done to them.
    pub fn lapse(&mut self, key: &[u8], fields: &[&[u8]]) {
        let (db, now) = (self.db, self.now_ms());
        self.spaces.of(key).lapse(db, key, fields, now);
    }

    /// Looks a key up for reading: counts a hit or a miss.
    pub fn read(&mut self, key: &[u8]) -> Option<&Entry> {
        let (db, now) = (self.db, self.now_ms());
        self.spaces.of(key).read(db, key, now)
    }

    /// Looks a key up in order to use it, without counting a hit or a miss (write commands).
    pub fn peek(&mut self, key: &[u8]) -> Option<&Entry> {
        self.peek_in(self.db, key)
    }

    /// Whether a read may leave something for the log beside the keyspace of `key`.
    pub fn may_note(&mut self, key: &[u8]) -> bool {
        self.spaces.of(key).unwritten.is_none()
    }

    /// [`Ctx::peek`] that is no use of the key.
    pub fn glance(&mut self, key: &[u8]) -> Option<&Entry> {
        let (db, now) = (self.db, self.now_ms());
        self.spaces.of(key).lookup(db, key, now)
    }

    /// [`Ctx::peek`] in database `db`.
    pub fn peek_in(&mut self, db: usize, key: &[u8]) -> Option<&Entry> {
        let now = self.now_ms();
        self.spaces.of(key).lookup_used(db, key, now)
    }

    /// Stores a value. The caller logs the effect.
    pub fn put(&mut self, key: &[u8], value: NewValue<'_>, expiry: Expiry) {
        let (db, now) = (self.db, self.now_ms());
        let expire_ms = match expiry {
            Expiry::Clear => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => self.peek(key).and_then(Entry::expire_ms),
        };
        let space = self.spaces.of(key);
        if space.events.any_wanted() {
            // What is put over a key past its expiry is new.
            space.lookup(db, key, now);
        }
        let (stamp, before) = (space.effects.stamp(), space.dbs[db].len());
        if let Some(old) = space.dbs[db].put(key, value, expire_ms, stamp) {
            space.discard(old);
        }
        space.may_be_new(db, key, before);
        space.touched(db, key);
        space.counters.dirty += 1;
    }

    /// Edits a string's bytes in place. The caller has checked its type and logs the effect.
    pub fn edit<R>(&mut self, key: &[u8], edit: impl FnOnce(&mut BytesMut) -> R) -> R {
        self.alter(key, true, |data, stamp| (data.edit(key, stamp, edit), true)).0
    }

    /// [`Ctx::edit`] whose `edit` also says whether it has changed the bytes. If it has not, there
    /// is no effect to log: at most `OBJECT ENCODING` says `raw` now, as after any edit in Redis.
    pub fn edit_if<R>(
        &mut self,
        key: &[u8],
        edit: impl FnOnce(&mut BytesMut) -> (R, bool),
    ) -> (R, bool) {
        self.alter(key, true, |data, stamp| data.edit_if(key, stamp, edit))
    }

    /// [`Ctx::edit_if`] of a string whose bytes outside of `range` stay what they are, or come to
    /// be.
    pub fn edit_range<R>(
        &mut self,
        key: &[u8],
        range: std::ops::Range<usize>,
        edit: impl FnOnce(&mut BytesMut) -> (R, bool),
    ) -> (R, bool) {
        self.alter(key, true, |data, stamp| data.edit_range(key, range, stamp, edit))
    }

    /// [`Ctx::edit_if`] of bytes that mean the same afterwards: clients that watch the key are not
    /// told.
    pub fn recode_if<R>(
        &mut self,
        key: &[u8],
        edit: impl FnOnce(&mut BytesMut) -> (R, bool),
    ) -> (R, bool) {
        self.alter(key, false, |data, stamp| data.edit_if(key, stamp, edit))
    }

    /// Edits the bytes of a packed collection in place; an absent key starts with none, and is not
    /// created if none are left. `edit` also says whether it has changed anything. The caller has
    /// checked the type, logs the effect, and removes the key when it holds nothing any more.
    pub fn edit_packed<R>(
        &mut self,
        key: &[u8],
        form: Form,
        edit: impl FnOnce(&mut BytesMut) -> (R, bool),
    ) -> (R, bool) {
        self.alter(key, true, |data, stamp| data.edit_packed(key, form, stamp, edit))
    }

    /// Has `edit` alter what stands at `key`, which may come to be by it, and counts a change; with
    /// `told`, clients that watch the key or wait for it are told of one.
    #[inline]
    fn alter<R>(
        &mut self,
        key: &[u8],
        told: bool,
        edit: impl FnOnce(&mut Database, u64) -> (R, bool),
    ) -> (R, bool) {
        let db = self.db;
        let space = self.spaces.of(key);
        let (stamp, before) = (space.effects.stamp(), space.dbs[db].len());
        let (result, changed) = edit(&mut space.dbs[db], stamp);
        space.may_be_new(db, key, before);
        if changed {
            space.counters.dirty += 1;
            if told {
                space.touched(db, key);
            }
        }
        (result, changed)
    }

    /// [`Ctx::edit_packed`] of a collection with a structure of its own; `None` when there is none.
    pub fn change_object<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut Object) -> (R, bool),
    ) -> Option<(R, bool)> {
        self.change_at(key, (i64::MIN, true), change)
    }

    /// [`Ctx::change_object`] of something that WATCH does not see: in Redis whoever watches a
    /// stream hears of its entries, not of its groups.
    pub fn change_unwatched<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut Object) -> (R, bool),
    ) -> Option<(R, bool)> {
        self.change_at(key, (i64::MIN, false), change)
    }

    /// [`Ctx::change_object`] without having looked the key up before; `None` as well when it is
    /// past its expiry. `change` checks the type, and changes nothing of another one.
    pub fn change_living<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut Object) -> (R, bool),
    ) -> Option<(R, bool)> {
        let now = self.now_ms();
        self.change_at(key, (now, true), change)
    }

    /// [`Ctx::edit_packed`] of what is there already, without having looked the key up before;
    /// `None`, and nothing is done, when there is nothing of this form that is small enough.
    pub fn edit_living<R>(
        &mut self,
        key: &[u8],
        form: Form,
        edit: impl FnOnce(&mut BytesMut) -> (R, bool),
    ) -> Option<(R, bool)> {
        let (db, now) = (self.db, self.now_ms());
        let space = self.spaces.of(key);
        let stamp = space.effects.stamp();
        let (result, edit) = space.dbs[db].edit_living(key, form, now, stamp, edit)?;
        Some((result, noted(space, db, key, edit)))
    }

    /// [`Ctx::change_living`] with the reply at hand.
    pub fn change_living_to<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut Reply, &mut Object) -> (R, bool),
    ) -> Option<(R, bool)> {
        let (db, now) = (self.db, self.now_ms());
        let (space, out) = (self.spaces.of(key), &mut *self.out);
        let stamp = space.effects.stamp();
        let change = |object: &mut Object| change(out, object);
        let (result, edit) = space.dbs[db].change_living(key, now, stamp, change)?;
        Some((result, noted(space, db, key, edit)))
    }

    fn change_at<R>(
        &mut self,
        key: &[u8],
        (now_ms, watched): (i64, bool),
        change: impl FnOnce(&mut Object) -> (R, bool),
    ) -> Option<(R, bool)> {
        let db = self.db;
        let space = self.spaces.of(key);
        let stamp = space.effects.stamp();
        let (result, edit) = space.dbs[db].change_living(key, now_ms, stamp, change)?;
        if watched || edit != Edit::Changed {
            return Some((result, noted(space, db, key, edit)));
        }
        space.waiting.touch(db, key);
        space.counters.dirty += 1;
        Some((result, true))
    }

    /// Keeps a value in another form: nobody is told, nothing is stamped, the data is the same.
    pub fn reshape(&mut self, key: &[u8], value: NewValue<'_>) {
        let db = self.db;
        let space = self.spaces.of(key);
        let expire_ms = space.dbs[db].find(key).entry.and_then(Entry::expire_ms);
        if let Some(old) = space.dbs[db].put(key, value, expire_ms, 0) {
            space.discard(old);
        }
    }

    /// A key for the hash function of a new collection under `key`.
    pub fn hash_seed(&mut self, key: &[u8]) -> [u64; 2] {
        self.spaces.of(key).hash_seed
    }

    /// Removes a key; true when it was there. The caller logs the effect.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let (db, now) = (self.db, self.now_ms());
        let space = self.spaces.of(key);
        let there = space.lookup(db, key, now).is_some() && space.delete(db, key);
        space.counters.dirty += u64::from(there);
        there
    }

    /// Takes a key's entry out of database `db`. The caller logs the effect.
    pub fn take(&mut self, db: usize, key: &[u8]) -> Option<Entry> {
        let now = self.now_ms();
        let space = self.spaces.of(key);
        space.lookup(db, key, now)?;
        let stamp = space.effects.stamp();
        let entry = space.dbs[db].remove(key, stamp);
        space.touched(db, key);
        entry
    }

    /// What reads and makes the recency of `key`.
    pub fn recency(&mut self, key: &[u8]) -> Recency {
        self.spaces.of(key).recency()
    }

    /// Notes something else of the use of `key`, just stored in the selected database.
    pub fn set_recency(&mut self, key: &[u8], recency: u32) {
        let db = self.db;
        self.spaces.of(key).dbs[db].put_recency(key, recency);
    }

    /// Puts an entry into database `db` under its own key, over what was there; as in Redis 7.2 it
    /// is new there, however long it was elsewhere. The caller logs the effect and counts `dirty`.
    pub fn place(&mut self, db: usize, entry: Entry) {
        let key = entry.key().to_vec();
        if let Some(id) = entry.cut_id() {
            self.move_large(id, &key);
        }
        let space = self.spaces.of(&key);
        let stamp = space.effects.stamp();
        if let Some(old) = space.dbs[db].insert_born(entry, stamp) {
            space.discard(old);
        }
        // As in Redis even over another one, which is gone by then.
        space.events.add(db, Class::New, "new", &key);
        space.touched(db, &key);
    }

    /// A value that a snapshot's cut still wants comes to stand under `key`.
    fn move_large(&mut self, id: u64, key: &[u8]) {
        let mut large = None;
        self.spaces.each(|space| large = large.take().or_else(|| space.give_large(id)));
        if let Some(large) = large {
            self.spaces.of(key).adopt_large(large, key);
        }
    }

    /// Sets or clears a key's expiry; false when there is no such key. The caller logs the effect.
    pub fn set_expire(&mut self, key: &[u8], expire_ms: Option<i64>) -> bool {
        let db = self.db;
        let space = self.spaces.of(key);
        let stamp = space.effects.stamp();
        let there = space.dbs[db].set_expire(key, expire_ms, stamp);
        if there {
            space.touched(db, key);
            space.counters.dirty += 1;
        }
        there
    }

    /// Counts a change that none of the methods above has counted.
    pub fn dirty(&mut self, key: &[u8]) {
        self.spaces.of(key).counters.dirty += 1;
    }

    /// Tells those who want to hear of it what has happened to `key` in the selected database. To
    /// be called where Redis does: the order of a command's events is part of the contract.
    #[inline]
    pub fn event(&mut self, class: Class, name: &'static str, key: &[u8]) {
        self.event_in(self.db, class, name, key);
    }

    /// [`Ctx::event`] in database `db`.
    #[inline]
    pub fn event_in(&mut self, db: usize, class: Class, name: &'static str, key: &[u8]) {
        self.spaces.of(key).events.add(db, class, name, key);
    }

    /// [`Ctx::event`] of what has taken something out of a collection: `del` follows when it is
    /// gone.
    #[inline]
    pub fn event_taken(&mut self, class: Class, name: &'static str, key: &[u8]) {
        let db = self.db;
        let space = self.spaces.of(key);
        if space.events.any_wanted() {
            space.events.add(db, class, name, key);
            if space.dbs[db].find(key).entry.is_none() {
                space.events.add(db, Class::Generic, "del", key);
            }
        }
    }

    /// To be asked before a command that can wait changes or answers anything: false when its
    /// client is gone or has been served elsewhere. The command then ends without a reply.
    pub fn claim(&mut self) -> bool {
        self.claimed = self.claimed || self.claim.is_none_or(Claim::take);
        self.claimed
    }

    /// Lets the client wait, if it can, for a key of type `on`; `timeout_ms` 0 is for ever. The
    /// reply that is written stands for having waited in vain.
    pub fn wait(&mut self, on: Type, timeout_ms: u64) {
        let deadline = self.now.mono_us.saturating_add(timeout_ms.saturating_mul(1000));
        let deadline = (timeout_ms > 0).then_some(deadline);
        self.patience = Some(Patience { deadline, on, hears_of_absence: false, words: None });
    }

    /// Logs an effect on `key` in the selected database.
    pub fn log(&mut self, key: &[u8], parts: &[&[u8]]) {
        let db = self.db;
        self.log_in(db, key, parts);
    }

    /// Logs that `fields` of the hash at `key` end at `at`.
    pub fn log_times(&mut self, key: &[u8], fields: &[&[u8]], at: i64) {
        let db = self.db;
        log_times(&mut self.spaces.of(key).effects, db, key, fields, at);
    }

    /// [`Ctx::log`] of a command that Redis 7.0 does not know.
    pub fn log_newer(&mut self, key: &[u8], parts: &[&[u8]]) {
        let db = self.db;
        self.spaces.of(key).effects.log_newer(db, parts);
    }

    /// Logs an effect on `key` in database `db`.
    pub fn log_in(&mut self, db: usize, key: &[u8], parts: &[&[u8]]) {
        self.spaces.of(key).effects.log(db, parts);
    }

    /// Logs the request itself as its own effect on its only key, `key`.
    pub fn log_request(&mut self, key: &[u8], args: &Args<'_>) {
        let db = self.db;
        let effects = &mut self.spaces.of(key).effects;
        match args.raw() {
            Some(resp) => effects.log_raw(db, resp),
            None => effects.log(db, args.items()),
        }
    }

    /// Logs the whole entry of `key` in database `db`, just stored there.
    pub fn log_entry(&mut self, db: usize, key: &[u8]) {
        let space = self.spaces.of(key);
        let Some(entry) = space.dbs[db].find(key).entry else { return };
        if entry.kind() != Type::String {
            // What stood there before would be added to.
            space.effects.log(db, &[b"DEL", key]);
        }
        rebuild(&mut space.effects, db, entry);
    }

    /// Swaps out a whole database of every keyspace at hand, to be freed in slices. Logs nothing:
    /// whole-keyspace commands are cuts between log files.
    pub fn clear_database(&mut self, db: usize) {
        self.spaces.each(|space| {
            // Nothing changes, so nothing is stamped: no effect and perhaps no cut will follow,
            // and readers would wait for a position that never comes.
            if space.dbs[db].is_empty() {
                return;
            }
            let stamp = space.effects.stamp();
            let data = &space.dbs[db];
            // Past its expiry or not: WATCH has removed what was past it, so a key that is there
            // lived when it began to be watched.
            space.watched.touch_database(db, |key| data.find(key).entry.is_some());
            space.waiting.touch_database(db);
            space.counters.dirty += space.dbs[db].len() as u64;
            let old = space.dbs[db].clear(stamp);
            space.discard_database(old);
        });
    }

    /// The bytes of argument `index` as a value to store: shared when they have a buffer of their
    /// own, borrowed when they do not.
    pub fn value_arg<'v>(args: &'v Args<'v>, index: usize) -> NewValue<'v> {
        match args.shared(index) {
            Some(bytes) => NewValue::Shared { bytes: Bytes::clone(bytes), raw: false },
            None => NewValue::Str { bytes: &args[index], raw: false },
        }
    }
}
