//! Hashes of an RDB file whose fields have times, as Redis 7.4 and later write them.
//!
//! A time that has passed is kept with its field: nobody sees that, and it goes when it is looked
//! for, which the log is told of.

use crate::persist::rdb::decode::{Problem, Reader};
use crate::persist::rdb::format::*;
use crate::value::dict::Dict;
use crate::value::entry::NewValue;
use crate::value::hash;
use crate::value::listpack::{self, Item, Pack};
use crate::value::object::{Object, Type};

/// Latest time that Redis writes: 2^48 - 1 milliseconds.
pub(super) const TIME_MAX: u64 = (1 << 48) - 1;

impl Reader<'_> {
    /// Reads a hash of one of the kinds that have times.
    pub(super) fn timed_entry(&mut self, kind: u8) -> Result<(), Problem> {
        let expire_ms = self.expire_ms.take();
        self.read_key()?;
        let wanted = self.is_wanted(expire_ms);
        let first = match kind {
            TYPE_HASH_TIMED | TYPE_HASH_TIMED_LISTPACK => u64::from_le_bytes(self.source.take()?),
            _ => 0,
        };
        let packed = matches!(kind, TYPE_HASH_TIMED_LISTPACK | TYPE_HASH_TIMED_LISTPACK_OLD);
        if !wanted {
            return if packed { self.pass_over_string() } else { self.pass_over_timed() };
        }
        let mut dict = Dict::new(self.options.hash_seed);
        dict.set_small(true);
        if packed {
            self.timed_pack(&mut dict)?;
        } else {
            self.timed_fields(&mut dict, kind, first)?;
        }
        self.store_timed(dict, expire_ms)
    }

    /// Reads such a hash of Valkey's.
    pub(super) fn valkey_hash_entry(&mut self) -> Result<(), Problem> {
        let expire_ms = self.expire_ms.take();
        self.read_key()?;
        if !self.is_wanted(expire_ms) {
            return self.pass_over_valkey_hash();
        }
        let mut dict = Dict::new(self.options.hash_seed);
        dict.set_small(true);
        let (mut field, mut value) = (Vec::new(), Vec::new());
        for _ in 0..self.count()? {
            self.next_string(&mut field)?;
            self.next_string(&mut value)?;
            let at = self.valkey_time()?;
            self.timed_field(&mut dict, &field, &value, at)?;
        }
        self.store_timed(dict, expire_ms)
    }

    pub(super) fn pass_over_valkey_hash(&mut self) -> Result<(), Problem> {
        for _ in 0..self.count()? {
            self.pass_over_string()?;
            self.pass_over_string()?;
            self.source.skip(8)?;
        }
        Ok(())
    }

    /// A time as Valkey writes it; -1 is none.
    pub(super) fn valkey_time(&mut self) -> Result<Option<u64>, Problem> {
        match i64::from_le_bytes(self.source.take()?) {
            -1 => Ok(None),
            at => match u64::try_from(at) {
                Ok(at) if at <= TIME_MAX => Ok(Some(at)),
                _ => Err(self.damaged(Type::Hash, "a time is no time".to_owned())),
            },
        }
    }

    fn store_timed(&mut self, mut dict: Dict, expire_ms: Option<i64>) -> Result<(), Problem> {
        if dict.is_empty() {
            return self.leave_out();
        }
        if dict.len() > self.options.shapes.hash_entries {
            dict.set_small(false);
        }
        self.store(NewValue::Object(Box::new(Object::Hash(dict))), expire_ms)
    }

    fn timed_fields(&mut self, dict: &mut Dict, kind: u8, first: u64) -> Result<(), Problem> {
        let (mut field, mut value) = (Vec::new(), Vec::new());
        for _ in 0..self.count()? {
            let at = match (self.length()?, kind) {
                (0, _) => None,
                (at, TYPE_HASH_TIMED_OLD) => Some(at),
                (after, _) => Some(first.saturating_add(after - 1)),
            };
            self.next_string(&mut field)?;
            self.next_string(&mut value)?;
            self.timed_field(dict, &field, &value, at)?;
        }
        Ok(())
    }

    fn timed_pack(&mut self, dict: &mut Dict) -> Result<(), Problem> {
        let mut bytes = Vec::new();
        self.next_string(&mut bytes)?;
        let count = listpack::validate(&bytes)
            .map_err(|error| self.damaged(Type::Hash, error.to_string()))?;
        if count % 3 != 0 {
            return Err(self.damaged(Type::Hash, "a field lacks its value or time".to_owned()));
        }
        let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
        let mut items = Pack(&bytes).iter().map(|(_, item)| item);
        while let (Some(field), Some(value), Some(time)) =
            (items.next(), items.next(), items.next())
        {
            let at = match time {
                Item::Int(0) => None,
                Item::Int(at) if at > 0 => Some(at.unsigned_abs()),
                _ => return Err(self.damaged(Type::Hash, "a time is no time".to_owned())),
            };
            self.timed_field(dict, field.text(&mut one), value.text(&mut other), at)?;
        }
        Ok(())
    }

    fn timed_field(
        &self,
        dict: &mut Dict,
        field: &[u8],
        value: &[u8],
        at: Option<u64>,
    ) -> Result<(), Problem> {
        if at.is_some_and(|at| at > TIME_MAX) {
            return Err(self.damaged(Type::Hash, "a time is later than times can be".to_owned()));
        }
        let shapes = &self.options.shapes;
        if !hash::fits(field, shapes) || !hash::fits(value, shapes) {
            dict.set_small(false);
        }
        if !dict.set(field, value, at.map(|at| at as i64)) {
            return Err(self.damaged(Type::Hash, "a field stands in it twice".to_owned()));
        }
        Ok(())
    }

    pub(super) fn pass_over_string(&mut self) -> Result<(), Problem> {
        let head = self.string_head()?;
        self.pass_over(head)
    }

    pub(super) fn pass_over_timed(&mut self) -> Result<(), Problem> {
        for _ in 0..self.count()? {
            self.length()?;
            self.pass_over_string()?;
            self.pass_over_string()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::persist::disk::Volume;
    use crate::persist::rdb::decode::{Options, Sink, decode};
    use crate::persist::rdb::tests::Build;
    use crate::persist::sim::SimMedium;
    use crate::value::entry::Entry;
    use crate::value::shapes::Shapes;

    #[derive(Default)]
    struct Collect(Vec<String>, bool);

    impl Sink for Collect {
        fn wants(&mut self, _: usize, _: &[u8]) -> bool {
            !self.1
        }

        fn store(&mut self, _: usize, key: &[u8], value: NewValue<'_>, at: Option<i64>) -> bool {
            let entry = Entry::new(key, value, at);
            let encoding = entry.object().map_or("", Object::encoding);
            let Some(Object::Hash(dict)) = entry.object() else { panic!("{entry:?}") };
            let one = |e: &Entry| {
                let digits = &mut itoa::Buffer::new();
                let value = String::from_utf8_lossy(e.text(digits).unwrap()).into_owned();
                let at = e.expire_ms().map_or(String::new(), |at| format!(" until {at}"));
                format!("{} = {value}{at}", String::from_utf8_lossy(e.key()))
            };
            let mut fields: Vec<String> = dict.iter().map(one).collect();
            fields.sort();
            self.0.push(format!("{encoding} {}", fields.join(", ")));
            true
        }

        fn aux(&mut self, _: &[u8], _: &[u8]) {}
    }

    fn read(build: Build, unwanted: bool) -> Result<Vec<String>, Problem> {
        let medium = SimMedium::new(0);
        medium.write_synced("x.rdb", &build.end()).unwrap();
        let options = Options {
            databases: 16,
            drop_expired: None,
            string_max: 1 << 20,
            shapes: Shapes { hash_entries: 2, ..Shapes::DEFAULT },
            hash_seed: [1, 2],
            progress: None,
            modules: Default::default(),
        };
        let mut sink = Collect(Vec::new(), unwanted);
        match decode(&medium, "x.rdb", &options, &mut sink) {
            Ok(_) => Ok(sink.0),
            Err(error) => Err(error.problem),
        }
    }

    fn head(kind: u8) -> Build {
        Build::new(12).db(0).raw(&[kind]).text(b"h")
    }

    fn fields(build: Build, fields: &[(u8, &str)]) -> Build {
        fields.iter().fold(build.raw(&[fields.len() as u8]), |build, (time, name)| {
            build.raw(&[*time]).text(name.as_bytes()).text(b"v")
        })
    }

    fn pack(words: &[&str]) -> BytesMut {
        let mut pack = BytesMut::new();
        listpack::create(&mut pack);
        words.iter().for_each(|word| listpack::push_back(&mut pack, word.as_bytes()));
        pack
    }

    #[test]
    fn every_kind() {
        let first = 1_700_000_000_000_u64.to_le_bytes();
        let words = ["a", "1", "1700000000000", "b", "2", "0"];
        let two = "listpackex a = 1 until 1700000000000, b = 2";
        let kinds = [
            (
                fields(head(24).raw(&first), &[(1, "a"), (0, "b")]),
                "listpackex a = v until 1700000000000, b = v",
            ),
            (
                fields(head(24).raw(&first), &[(9, "a"), (0, "b"), (1, "c")]),
                "hashtable a = v until 1700000000008, b = v, c = v until 1700000000000",
            ),
            (fields(head(22), &[(7, "a"), (0, "b")]), "listpackex a = v until 7, b = v"),
            (head(25).raw(&first).text(&pack(&words)), two),
            (head(23).text(&pack(&words)), two),
        ];
        for (build, expected) in kinds {
            let copy = Build(build.0.clone()).set(b"s", b"x");
            assert_eq!(read(build, false).unwrap(), [expected]);
            assert!(read(copy, true).unwrap().is_empty());
        }
        assert!(read(fields(head(24).raw(&first), &[]), false).unwrap().is_empty());
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let late = [0xFF; 8];
        for build in [
            fields(head(24).raw(&late), &[(9, "a")]),
            fields(head(22), &[(7, "a"), (0, "a")]),
            head(23).text(&pack(&["a", "1", "x"])),
            head(23).text(&pack(&["a", "1", "-1"])),
            head(23).text(&pack(&["a", "1", "1", "b"])),
            head(23).text(&pack(&["a", "1", "281474976710656"])),
            head(23).text(b"nonsense"),
        ] {
            let problem = read(build, false).unwrap_err();
            assert!(matches!(problem, Problem::Damaged { .. }), "{problem:?}");
        }
    }
}
