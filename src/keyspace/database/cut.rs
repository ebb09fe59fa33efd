//! What a database has to do with a snapshot's cut: what it keeps before a change, and what it
//! hands out.

use std::ops::Range;

use crate::keyspace::cut::{DatabaseCut, Open};
use crate::keyspace::database::Database;
use crate::keyspace::texts::{Text, TextCut};
use crate::value::entry::{Entry, NewValue, ValueRef};
use crate::value::object::Object;
use crate::value::table::{Spot, Table};

/// How far ahead of a walk that reads all of every entry its beginning is asked for, in entries.
const FAR: usize = 48;
/// And the rest of it, for which the beginning has to be there.
const NEAR: usize = 16;

impl Database {
    #[cold]
    pub(super) fn keep(&mut self, spot: Spot) -> bool {
        let ahead = self.keep_ahead(spot);
        if !self.texts.is_empty()
            && let Some(entry) = self.table.at(spot)
            && let Some(at) = self.texts.iter().position(|(key, _)| **key == *entry.key())
        {
            let (_, text) = self.texts.swap_remove(at);
            self.gone.push((entry.clone(), text));
        }
        ahead
    }

    /// Keeps what an entry is for the cut if the walk has not passed it.
    fn keep_ahead(&mut self, spot: Spot) -> bool {
        let (Some(cut), Some(entry)) = (&mut self.cut, self.table.at(spot)) else { return false };
        if cut.is_behind(self.table.hash(entry.key())) {
            return false;
        }
        if let Some(entry) = self.table.at_mut(spot) {
            let before = entry.memory();
            cut.before_change(entry);
            self.texts.append(&mut cut.texts);
            self.bytes = self.bytes - before + entry.memory();
        }
        true
    }

    /// Keeps what is in `range` of a long string under a cut; false when it is none.
    pub(super) fn keep_range(&mut self, key: &[u8], range: Range<usize>) -> bool {
        if self.cut.is_none() && self.texts.is_empty() {
            return false;
        }
        let Ok(spot) = self.table.locate(self.table.hash(key), key) else { return false };
        if let (Some(cut), Some(entry)) = (&self.cut, self.table.at(spot))
            && cut.is_large(entry)
        {
            self.keep_ahead(spot);
        }
        let Some((_, text)) = self.texts.iter_mut().find(|(name, _)| **name == *key) else {
            return false;
        };
        let Some(ValueRef::Shared(bytes)) = self.table.at(spot).map(Entry::value) else {
            return false;
        };
        text.before_change(bytes, range);
        true
    }

    /// From now on [`Database::cut_slice`] hands out what is here now, as of database `index`.
    /// False when an earlier cut has not come to its end.
    pub(in crate::keyspace) fn begin_cut(
        &mut self,
        index: usize,
        large_value: usize,
        open: &Open,
    ) -> bool {
        let free = self.cut.is_none();
        if free {
            self.cut = Some(Box::new(DatabaseCut::new(index, large_value, open)));
        }
        free
    }

    /// The cut that has not come to its end.
    pub(in crate::keyspace) fn cut(&mut self) -> Option<&mut DatabaseCut> {
        self.cut.as_deref_mut()
    }

    /// Hands out what the cut has kept and what its walk meets next, of `budget` slots or so, with
    /// the number that the database had; true when the cut has come to its end.
    pub(in crate::keyspace) fn cut_slice(
        &mut self,
        mut budget: usize,
        visit: &mut dyn FnMut(usize, &Entry),
    ) -> bool {
        let Some(mut cut) = self.cut.take() else { return true };
        while budget > 0 && cut.pass_kept(visit) {
            budget -= 1;
        }
        while budget > 0
            && let Some(position) = cut.position
        {
            let mut spots = std::mem::take(&mut cut.spots);
            spots.clear();
            cut.position = self.table.spots(position, budget, &mut spots);
            let at = |table: &Table, at: usize, hint: fn(&Entry)| {
                spots.get(at).and_then(|spot| table.at(*spot)).map(hint);
            };
            (0..FAR).for_each(|i| at(&self.table, i, Entry::prefetch));
            (0..NEAR).for_each(|i| at(&self.table, i, Entry::prefetch_rest));
            for (i, spot) in spots.iter().enumerate() {
                at(&self.table, i + FAR, Entry::prefetch);
                at(&self.table, i + NEAR, Entry::prefetch_rest);
                if let Some(entry) = self.table.at_mut(*spot) {
                    let before = entry.object().map_or(0, Object::memory);
                    cut.pass(entry, visit);
                    let after = entry.object().map_or(0, Object::memory);
                    self.bytes = self.bytes - before + after;
                }
            }
            budget = budget.saturating_sub(spots.len() + 1);
            cut.spots = spots;
        }
        self.texts.append(&mut cut.texts);
        let done = cut.is_done() && cut.large.is_empty();
        if !done {
            self.cut = Some(cut);
        }
        done
    }

    /// Long strings under a cut that are to be read elsewhere from now on.
    pub(in crate::keyspace) fn gone(&mut self) -> Vec<(Entry, TextCut)> {
        std::mem::take(&mut self.gone)
    }

    /// Bytes of memory kept of long strings under a cut.
    pub(in crate::keyspace) fn text_memory(&self) -> usize {
        let texts = self.texts.iter().map(|(_, text)| text.memory());
        texts.chain(self.gone.iter().map(|(_, text)| text.memory())).sum()
    }

    /// Lets `visit` look at the long string that is under cut `id`; `None` when it is not here.
    /// When it says true, that cut is over; when the string cannot be looked at here, it is gone.
    pub(in crate::keyspace) fn visit_text(
        &mut self,
        id: u64,
        visit: &mut dyn FnMut(Text<'_>) -> bool,
    ) -> Option<bool> {
        let at = self.texts.iter().position(|(_, text)| text.id == id)?;
        let (key, text) = &mut self.texts[at];
        let spot = self.table.locate(self.table.hash(key), key).ok()?;
        let long = self.table.at_mut(spot)?.long_mut()?;
        match text.visit(long, visit) {
            Ok(true) => drop(self.texts.swap_remove(at)),
            Ok(false) => {}
            Err(bytes) => {
                let (key, text) = self.texts.swap_remove(at);
                let value = NewValue::Shared { bytes, raw: false };
                self.gone.push((Entry::new(&key, value, None), text));
                return Some(false);
            }
        }
        Some(self.texts.iter().all(|(_, text)| text.id != id))
    }

    /// Lets `visit` look at the structure under `key` that is under cut `id`; `None` when it is
    /// not there. Nothing that anybody sees may change.
    pub(in crate::keyspace) fn visit_cut<R>(
        &mut self,
        key: &[u8],
        id: u64,
        visit: impl FnOnce(&mut Object) -> R,
    ) -> Option<R> {
        let spot = self.table.locate(self.table.hash(key), key).ok()?;
        let object = self.table.at_mut(spot)?.object_mut()?;
        if object.cut_id() != Some(id) {
            return None;
        }
        let before = object.memory();
        let result = visit(object);
        self.bytes = self.bytes - before + object.memory();
        Some(result)
    }
}
