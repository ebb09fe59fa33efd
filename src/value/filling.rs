//! A dictionary that is being filled with many elements, all of which should be new: a batch of
//! them at a time, so that the processor fetches the places where they belong together.

use crate::base::memory;
use crate::value::dict::Dict;
use crate::value::entry::Entry;

/// Elements of a batch.
const BATCH: usize = 64;

/// See the file's opening.
#[derive(Debug)]
pub(crate) struct Filling {
    dict: Dict,
    waiting: Vec<Entry>,
    /// No name has been met twice so far.
    distinct: bool,
}

impl Filling {
    /// Fills a dictionary.
    pub(crate) fn new(dict: Dict) -> Self {
        Filling { dict, waiting: Vec::with_capacity(BATCH), distinct: true }
    }

    /// Adds an element; false when it is known by now that a name was met twice.
    pub(crate) fn add(&mut self, entry: Entry) -> bool {
        memory::reach(entry.addresses()[0]);
        self.waiting.push(entry);
        if self.waiting.len() == BATCH {
            self.flush();
        }
        self.distinct
    }

    fn flush(&mut self) {
        self.distinct &= self.dict.load(&mut self.waiting);
    }

    /// The dictionary; `None` when a name was met twice.
    pub(crate) fn finish(mut self) -> Option<Dict> {
        self.flush();
        self.distinct.then_some(self.dict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::entry::NewValue;

    fn fill(names: impl Iterator<Item = usize>) -> Option<Dict> {
        let mut filling = Filling::new(Dict::new([1, 2]));
        for name in names {
            let value = NewValue::Int(name as i64);
            filling.add(Entry::new(name.to_string().as_bytes(), value, None));
        }
        filling.finish()
    }

    #[test]
    fn all_are_there_unless_one_was_already() {
        for count in [0, 1, 63, 64, 65, 1000] {
            let (dict, mut other) = (fill(0..count).unwrap(), Dict::new([1, 2]));
            for name in 0..count {
                let value = NewValue::Int(name as i64);
                other.insert(Entry::new(name.to_string().as_bytes(), value, None));
            }
            assert_eq!((dict.len(), dict.memory()), (count, other.memory()));
            assert!((0..count).all(|name| dict.contains(name.to_string().as_bytes())));
            for twice in [0, count / 2, count.saturating_sub(1)] {
                assert!(fill((0..count).chain([twice])).is_none() || count == 0);
                assert!(fill([twice].into_iter().chain(0..count)).is_none() || count == 0);
            }
        }
    }
}
