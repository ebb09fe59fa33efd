//! Reading those blocks of a file that hold keys of one shard ([`super::index`]).

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::atomic::Ordering;

use crate::base::crc::{slot, slots_of};
use crate::base::limits::SLOTS;
use crate::persist::disk::Volume;
use crate::persist::rdb::decode::{Loaded, Options, Problem, RdbError, Reader, Sink, shown};
use crate::persist::rdb::index::Index;
use crate::persist::rdb::source::Source;
use crate::value::entry::NewValue;
use crate::value::recency::Usage;

/// Reads the header of the RDB file `path`, and of its blocks those that can hold keys of `slots`,
/// into `sink`. `stored` is the checksum at the file's end.
///
/// # Errors
/// As of [`decode`](fn@super::decode); also a block that is not what the index says, or holds a key
/// of other slots than its own.
pub fn decode_blocks(
    volume: &dyn Volume,
    path: &str,
    options: &Options<'_>,
    sink: &mut dyn Sink,
    (index, stored): (&Index, u64),
    slots: Range<usize>,
) -> Result<Loaded, RdbError> {
    let fail = |offset, problem| RdbError { file: path.to_owned(), offset, problem };
    let source = Source::open(volume, path, options.progress).map_err(|p| fail(0, p))?;
    let end = source.left();
    let place = Place {
        slots: Cell::new(0..usize::from(SLOTS)),
        all_wanted: Cell::new(false),
        stranger: RefCell::default(),
    };
    let mut within = Within { sink, place: &place };
    let mut reader = Reader::new(source, options, &mut within);
    match blocks(&mut reader, index, stored, slots, &place) {
        Ok(()) => Ok(Loaded { checksum: Some(stored), end, ..reader.loaded }),
        Err(problem) => Err(fail(reader.item, problem)),
    }
}

fn blocks(
    reader: &mut Reader<'_>,
    index: &Index,
    stored: u64,
    slots: Range<usize>,
    place: &Place,
) -> Result<(), Problem> {
    let computed = index.checksum();
    if stored != 0 && stored != computed {
        return Err(Problem::Checksum { stored, computed });
    }
    reader.head(index.header)?;
    for (at, block) in index.places() {
        let (from, to) = slots_of(block.shard, index.shards);
        if from < slots.end && slots.start < to {
            place.slots.set(from..to);
            place.all_wanted.set(slots.start <= from && to <= slots.end);
            reader.block(at, block.part)?;
            if let Some(key) = place.stranger.take() {
                return Err(Problem::Misplaced(key));
            }
        } else if let Some(progress) = reader.options.progress {
            progress.fetch_add(block.part.len, Ordering::Relaxed);
        }
    }
    reader.finish_keys()
}

/// What the block that is read may hold.
struct Place {
    slots: Cell<Range<usize>>,
    /// All of these slots are wanted, so that the sink need not be asked.
    all_wanted: Cell<bool>,
    /// A key that does not belong there.
    stranger: RefCell<Option<String>>,
}

/// Looks at which keys come.
struct Within<'a> {
    sink: &'a mut dyn Sink,
    place: &'a Place,
}

impl Sink for Within<'_> {
    fn wants(&mut self, db: usize, key: &[u8]) -> bool {
        let slots = self.place.slots.take();
        let fits = slots.contains(&usize::from(slot(key)));
        self.place.slots.set(slots);
        if !fits {
            self.place.stranger.replace(Some(shown(key)));
        }
        fits && (self.place.all_wanted.get() || self.sink.wants(db, key))
    }

    fn store(&mut self, db: usize, key: &[u8], value: NewValue<'_>, at: Option<i64>) -> bool {
        self.sink.store(db, key, value, at)
    }

    fn begins(&mut self, offset: u64, usage: Usage) {
        self.sink.begins(offset, usage);
    }

    fn expect(&mut self, db: usize, keys: u64) {
        self.sink.expect(db, keys);
    }

    fn finish(&mut self) -> bool {
        self.sink.finish()
    }

    fn twice(&mut self) -> Option<(u64, Vec<u8>)> {
        self.sink.twice()
    }

    fn leaves_out(&mut self, key: &[u8]) {
        self.sink.leaves_out(key);
    }

    fn aux(&mut self, key: &[u8], value: &[u8]) {
        self.sink.aux(key, value);
    }

    fn function(&mut self, source: &[u8]) {
        self.sink.function(source);
    }
}
