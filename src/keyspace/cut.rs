//! A snapshot's cut through one database: what stood in it at one moment, handed out in slices
//! while commands go on changing it.
//!
//! # Why every key of then is handed out once, and no other
//! The database is walked in hash order. `position` is how far the walk has come; it stays true
//! whatever splits, grows or shrinks. An entry is *behind* when its hash is below the position,
//! else *ahead*.
//!
//! 1. Before the first change to an entry that is ahead, a copy of it is kept, and it is *marked*;
//!    so is a new entry that comes to stand ahead. Nothing else is ever marked.
//! 2. The walk hands out what it passes unless it is marked, and takes the mark away; the copies
//!    are handed out beside it.
//!
//! So an entry of then is handed out by the walk if nothing has changed it by the time the walk
//! comes, else as its copy, and never both ways; a later entry is marked or comes to stand behind.
//! Every mark is ahead, so when the walk has come to the end there is none, and the next cut may
//! begin. A cut that is given up walks on in silence, for the marks.
//!
//! A large value is not copied: it begins a cut of its own (`Object::begin_cut`) at that same
//! moment, and is handed out later, wherever it has gone ([`Large`]).

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::keyspace::texts::TextCut;
use crate::value::entry::{Entry, ValueRef};
use crate::value::object::{Facts, next_cut};
use crate::value::table::{POSITION_SHIFT, Spot};

/// From how many bytes on a value is handed out in slices.
pub const LARGE_VALUE: usize = 64 * 1024;

/// A large value of the cut.
pub struct Large {
    /// Names its cut; unique.
    pub id: u64,
    /// The database in which it stood.
    pub db: usize,
    /// The key under which it stood there.
    pub key: Box<[u8]>,
    /// When that was to end, in Unix milliseconds.
    pub expire_ms: Option<i64>,
    /// What was noted of its use.
    pub recency: u32,
    /// What it was; `None`: a string.
    pub facts: Option<Facts>,
    /// Whatever whoever writes it knows of it; goes where the value goes.
    pub state: State,
    pub(super) place: Place,
    /// Of a string that is away.
    pub(super) text: Option<TextCut>,
    pub(super) _open: Open,
}

/// What a writer keeps with a large value.
pub type State = Option<Box<dyn Any + Send>>;

/// Counts what is still to be handed out: one for every large value while it exists.
#[derive(Debug, Default)]
pub struct Open(Option<Arc<AtomicUsize>>);

impl Open {
    /// Counts in `count`.
    pub fn new(count: Arc<AtomicUsize>) -> Open {
        count.fetch_add(1, Ordering::SeqCst);
        Open(Some(count))
    }
}

impl Open {
    /// Counts out; true when nothing else is counted.
    pub fn release(mut self) -> bool {
        self.0.take().is_some_and(|count| count.fetch_sub(1, Ordering::SeqCst) == 1)
    }
}

impl Clone for Open {
    fn clone(&self) -> Open {
        self.0.as_ref().map_or_else(Open::default, |count| Open::new(Arc::clone(count)))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "large value {} of {}: {:?}", self.key.escape_ascii(), self.db, self.place)
    }
}

/// Where a large value of a cut is now.
#[derive(Debug)]
pub(super) enum Place {
    /// Under this key, in some database.
    Under(Box<[u8]>),
    /// In none any more: deleted or replaced; of a string, its bytes are shared with where it is.
    Away(Entry),
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct DatabaseCut {
    /// The database's number when the cut began.
    index: usize,
    /// From which size on values are large, in bytes.
    large_value: usize,
    /// Where the walk goes on; `None` at the end.
    pub(super) position: Option<u64>,
    kept: Vec<Entry>,
    kept_bytes: usize,
    /// Large values that have begun their cuts.
    pub(super) large: Vec<Large>,
    /// Strings among them, by key.
    pub(super) texts: Vec<(Box<[u8]>, TextCut)>,
    open: Open,
    /// Given up: nothing is kept or handed out any more.
    pub(super) silent: bool,
    /// For the walk: where the entries of a slice are.
    pub(super) spots: Vec<Spot>,
}

impl DatabaseCut {
    /// A cut through a database that is number `index` now.
    pub(super) fn new(index: usize, large_value: usize, open: &Open) -> Self {
        DatabaseCut {
            index,
            large_value,
            position: Some(0),
            kept: Vec::new(),
            kept_bytes: 0,
            large: Vec::new(),
            texts: Vec::new(),
            open: open.clone(),
            silent: false,
            spots: Vec::new(),
        }
    }

    /// Whether the walk has passed entries of this hash.
    #[inline]
    pub(super) fn is_behind(&self, hash: u64) -> bool {
        self.position.is_none_or(|at| hash >> POSITION_SHIFT < at >> POSITION_SHIFT)
    }

    /// To be called before an entry that is ahead changes in any way, or goes.
    pub(super) fn before_change(&mut self, entry: &mut Entry) {
        if self.silent || entry.is_marked() {
            return;
        }
        if self.is_large(entry) {
            self.begin_large(entry);
        } else {
            let copy = entry.clone();
            self.kept_bytes += copy.memory();
            self.kept.push(copy);
        }
        entry.set_mark(true);
    }

    /// The walk has come to an entry.
    pub(super) fn pass(&mut self, entry: &mut Entry, visit: &mut dyn FnMut(usize, &Entry)) {
        if entry.is_marked() {
            entry.set_mark(false);
            return;
        }
        match self.is_large(entry) {
            _ if self.silent => {}
            true => self.begin_large(entry),
            false => visit(self.index, entry),
        }
    }

    /// Hands out one of the copies; false when there is none.
    pub(super) fn pass_kept(&mut self, visit: &mut dyn FnMut(usize, &Entry)) -> bool {
        let Some(copy) = self.kept.pop() else { return false };
        self.kept_bytes -= copy.memory();
        visit(self.index, &copy);
        true
    }

    pub(super) fn is_large(&self, entry: &Entry) -> bool {
        match entry.value() {
            ValueRef::Object(object) => object.memory() > self.large_value,
            ValueRef::Shared(text) => text.len() > self.large_value,
            _ => false,
        }
    }

    fn begin_large(&mut self, entry: &mut Entry) {
        let (db, key, expire_ms) = (self.index, Box::from(entry.key()), entry.expire_ms());
        let recency = entry.recency();
        let (id, facts) = match entry.object_mut() {
            Some(object) => {
                let facts = object.begin_cut();
                (facts.id, Some(facts))
            }
            None => {
                let id = next_cut();
                let len = entry.long_mut().map_or(0, |long| long.bytes.len());
                self.texts.push((Box::clone(&key), TextCut::new(id, len)));
                (id, None)
            }
        };
        let (place, _open) = (Place::Under(Box::clone(&key)), self.open.clone());
        let (state, text) = (None, None);
        let large = Large { id, db, key, expire_ms, recency, facts, state, place, text, _open };
        self.large.push(large);
    }

    /// Gives up what is kept.
    pub(super) fn silence(&mut self) {
        self.silent = true;
        (self.kept, self.kept_bytes) = (Vec::new(), 0);
    }

    /// Whether everything has been handed out, but for large values.
    pub(super) fn is_done(&self) -> bool {
        self.position.is_none() && self.kept.is_empty()
    }

    /// Bytes of memory held by copies.
    pub(super) fn memory(&self) -> usize {
        self.kept_bytes
    }
}
