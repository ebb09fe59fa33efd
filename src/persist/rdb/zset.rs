//! Sorted sets of an RDB file: member by member, with scores as text or as doubles, or packed as
//! Redis keeps them.
//!
//! What does not stand in order, or not within our own bounds, is built anew.

use crate::base::double;
use crate::persist::rdb::decode::{Problem, Reader};
use crate::persist::rdb::format::*;
use crate::value::entry::{Form, NewValue};
use crate::value::listpack::{self, Item, Pack};
use crate::value::object::{Object, Type};
use crate::value::ziplist;
use crate::value::zset::{Builder, Built, packed};

/// What stands for the length of a score as text that is no number or infinite.
const SCORE_NAN: u8 = 253;
/// See [`SCORE_NAN`].
const SCORE_HIGHEST: u8 = 254;
/// See [`SCORE_NAN`].
const SCORE_LOWEST: u8 = 255;

impl Reader<'_> {
    /// Reads a sorted set of one of the kinds that are known here.
    pub(super) fn zset_entry(&mut self, kind: u8) -> Result<(), Problem> {
        let expire_ms = self.expire_ms.take();
        self.read_key()?;
        if !self.is_wanted(expire_ms) {
            return self.pass_over_zset(kind);
        }
        let built = match kind {
            TYPE_ZSET_LISTPACK | TYPE_ZSET_ZIPLIST => {
                let bytes = self.packed_string()?;
                let built = match self.is_packed_zset(kind, &bytes) {
                    true => return self.store_packed(Form::Zset, bytes, expire_ms),
                    false => self.packed_zset(kind, &bytes),
                };
                self.packed = bytes;
                built?
            }
            _ => self.zset(kind)?,
        };
        match built {
            Built::Packed(bytes) if bytes.is_empty() => self.leave_out(),
            Built::Packed(bytes) => {
                self.store(NewValue::Packed { form: Form::Zset, bytes: &bytes }, expire_ms)
            }
            Built::Large(large) => {
                self.store(NewValue::Object(Box::new(Object::Zset(*large))), expire_ms)
            }
        }
    }

    pub(super) fn damaged_zset(&self, why: &str) -> Problem {
        self.damaged(Type::Zset, why.to_owned())
    }

    fn zset(&mut self, kind: u8) -> Result<Built, Problem> {
        let count = self.count()?;
        let mut zset =
            Builder::new(self.options.shapes, self.options.hash_seed).expect(self.worth(count));
        let mut member = Vec::new();
        for _ in 0..count {
            self.next_string(&mut member)?;
            let score = match kind {
                TYPE_ZSET => self.score_text()?,
                _ => Some(f64::from_le_bytes(self.source.take()?)),
            };
            let score = score.filter(|score| !score.is_nan());
            let score = score.ok_or_else(|| self.damaged_zset("a score is no number"))?;
            if !zset.add(&member, score) {
                return Err(self.damaged_zset("a member stands in it twice"));
            }
        }
        zset.finish().ok_or_else(|| self.damaged_zset("a member stands in it twice"))
    }

    /// A score as text, its length in front.
    pub(super) fn score_text(&mut self) -> Result<Option<f64>, Problem> {
        let [len] = self.source.take()?;
        Ok(match len {
            SCORE_NAN => None,
            SCORE_HIGHEST => Some(f64::INFINITY),
            SCORE_LOWEST => Some(f64::NEG_INFINITY),
            len => {
                let mut text = Vec::new();
                self.source.read_into(u64::from(len), &mut text)?;
                double::parse(&text)
            }
        })
    }

    /// Whether it can be kept as it stands.
    fn is_packed_zset(&self, kind: u8, bytes: &[u8]) -> bool {
        kind == TYPE_ZSET_LISTPACK && packed::is_packed(bytes, &self.options.shapes)
    }

    fn packed_zset(&self, kind: u8, bytes: &[u8]) -> Result<Built, Problem> {
        let items: Vec<Item<'_>> = match kind {
            TYPE_ZSET_ZIPLIST => ziplist::read(bytes),
            _ => listpack::validate(bytes)
                .map(|_| Pack(bytes).iter().map(|(_, item)| item).collect()),
        }
        .map_err(|e| self.damaged(Type::Zset, e.to_string()))?;
        if items.len() % 2 == 1 {
            return Err(self.damaged_zset("a member lacks its score"));
        }
        let mut zset = Builder::new(self.options.shapes, self.options.hash_seed);
        for (member, score) in items.chunks_exact(2).map(|pair| (pair[0], pair[1])) {
            if !packed::is_score(score) {
                return Err(self.damaged_zset("a score is no number"));
            }
            if !zset.add(member.text(&mut itoa::Buffer::new()), packed::score(score)) {
                return Err(self.damaged_zset("a member stands in it twice"));
            }
        }
        zset.finish().ok_or_else(|| self.damaged_zset("a member stands in it twice"))
    }

    pub(super) fn pass_over_zset(&mut self, kind: u8) -> Result<(), Problem> {
        let packed = matches!(kind, TYPE_ZSET_LISTPACK | TYPE_ZSET_ZIPLIST);
        let members = if packed { 1 } else { self.count()? };
        for _ in 0..members {
            let head = self.string_head()?;
            self.pass_over(head)?;
            match kind {
                TYPE_ZSET => {
                    let [len] = self.source.take()?;
                    if len < SCORE_NAN {
                        self.source.skip(u64::from(len))?;
                    }
                }
                TYPE_ZSET_2 => self.source.skip(size_of::<f64>() as u64)?,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::persist::rdb::decode::Problem;
    use crate::persist::rdb::format::*;
    use crate::persist::rdb::tests::{Build, Collect, OPTIONS, problem, read, read_with};
    use crate::value::listpack;

    /// "a", "1.5", "b", 7 as a listpack.
    const PACK: &[u8] = b"\x14\0\0\0\x04\0\x81a\x02\x831.5\x04\x81b\x02\x07\x01\xff";
    /// The same as a ziplist.
    const ZIP: &[u8] = b"\x18\0\0\0\x15\0\0\0\x04\0\0\x01a\x03\x031.5\x05\x01b\x03\xf8\xff";

    #[test]
    fn sorted_sets_of_every_form_are_read() {
        let file = Build::new(11)
            .raw(&[TYPE_ZSET])
            .text(b"a")
            .raw(&[4])
            .text(b"b")
            .raw(b"\x017")
            .text(b"a")
            .raw(b"\x031.5")
            .text(b"high")
            .raw(&[254])
            .text(b"low")
            .raw(&[255])
            .raw(&[TYPE_ZSET_2])
            .text(b"b")
            .raw(&[2])
            .text(b"b")
            .raw(&7.0_f64.to_le_bytes())
            .text(b"a")
            .raw(&1.5_f64.to_le_bytes())
            .raw(&[TYPE_ZSET_ZIPLIST])
            .text(b"c")
            .text(ZIP)
            .raw(&[TYPE_ZSET_LISTPACK])
            .text(b"d")
            .text(PACK)
            .raw(&[TYPE_ZSET_2])
            .text(b"empty")
            .raw(&[0])
            .end();
        let contents = read(&file).unwrap().1;
        let value = |key: &[u8]| {
            contents.get(&(0, key.to_vec())).map(|(_, v)| String::from_utf8_lossy(v).into_owned())
        };
        assert_eq!(value(b"a").unwrap(), "zset: a = 1.5, b = 7, high = inf, low = -inf");
        for key in [b"b", b"c", b"d"] {
            assert_eq!(value(key).unwrap(), "zset: a = 1.5, b = 7");
        }
        assert_eq!(value(b"empty"), None);
        let mut nothing = Collect { unwanted_len: Some(0), ..Collect::default() };
        assert_eq!(read_with(&file, &OPTIONS, &mut nothing).unwrap().keys, 0);
    }

    fn packed(items: &[&str]) -> Vec<u8> {
        let mut pack = Vec::new();
        listpack::create(&mut pack);
        items.iter().for_each(|item| listpack::push_back(&mut pack, item.as_bytes()));
        pack
    }

    /// Packed ones are kept as they stand only if they could have been made here.
    #[test]
    fn packed_ones_are_put_in_order_and_members_told_from_each_other() {
        let long = "m".repeat(65);
        for (items, expected) in [
            (&["b", "7", "a", "1.5"][..], "zset: a = 1.5, b = 7"),
            (&["b", "7", "a", "7"], "zset: a = 7, b = 7"),
            (&["a", "1.50", "b", "7"], "zset: a = 1.5, b = 7"),
            (&["a", "1", &long, "2"], &format!("zset: a = 1, {long} = 2")),
        ] {
            let pack = packed(items);
            let file = Build::new(11).raw(&[TYPE_ZSET_LISTPACK]).text(b"k").text(&pack).end();
            let contents = read(&file).unwrap().1;
            let (_, value) = &contents[&(0, b"k".to_vec())];
            assert_eq!(String::from_utf8_lossy(value), *expected);
        }
        for items in [&["a", "1", "a", "2"][..], &["a", "1", "b", "nan"], &["a", "1", "b"]] {
            let pack = packed(items);
            let file = Build::new(11).raw(&[TYPE_ZSET_LISTPACK]).text(b"k").text(&pack).end();
            assert!(matches!(problem(&file).1, Problem::Damaged { .. }), "{items:?}");
        }
        for (kind, items) in
            [(TYPE_SET_LISTPACK, ["1", "2", "1", "x"]), (TYPE_HASH_LISTPACK, ["f", "2", "f", "x"])]
        {
            let pack = packed(&items);
            let file = Build::new(11).raw(&[kind]).text(b"k").text(&pack).end();
            assert!(matches!(problem(&file).1, Problem::Damaged { .. }), "{items:?}");
        }
    }

    #[test]
    fn damaged_ones_are_refused() {
        let nan = f64::NAN.to_le_bytes();
        let twice = [b"\x02\x01x".as_slice(), &[0; 8], b"\x01x", &[0; 8]].concat();
        for (kind, body) in [
            (TYPE_ZSET, b"\x01\x01x\xfd".to_vec()),
            (TYPE_ZSET, b"\x01\x01x\x03abc".to_vec()),
            (TYPE_ZSET_2, [b"\x01\x01x".as_slice(), &nan].concat()),
            (TYPE_ZSET_2, twice),
            (TYPE_ZSET_ZIPLIST, b"\x02zz".to_vec()),
            (TYPE_ZSET_LISTPACK, b"\x02zz".to_vec()),
            (TYPE_ZSET_LISTPACK, b"\x0a\x0a\0\0\0\x01\0\x81a\x02\xff".to_vec()),
            (TYPE_ZSET_LISTPACK, b"\x0d\x0d\0\0\0\x02\0\x81a\x02\x81b\x02\xff".to_vec()),
        ] {
            let file = Build::new(11).raw(&[kind]).text(b"k").raw(&body).end();
            assert!(matches!(problem(&file).1, Problem::Damaged { .. }), "{kind} {body:?}");
        }
    }
}
