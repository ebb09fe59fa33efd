//! What is shown piece by piece against what is loaded: the same data, and the same refusals.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::format::*;
use super::tests::{Build, Collect, Contents, OPTIONS, read_with};
use super::*;
use crate::base::double;
use crate::persist::disk::Volume;
use crate::persist::sim::SimMedium;

/// Spells what it is shown as [`Collect`] spells what it is given.
#[derive(Default)]
struct Spell {
    contents: Contents,
    now: Vec<(Vec<u8>, Vec<u8>)>,
    text: Vec<u8>,
    functions: Vec<Vec<u8>>,
    modules: u64,
    unwanted: bool,
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl Visitor for Spell {
    fn wants(&mut self, _: &Head) -> bool {
        self.now.clear();
        self.text.clear();
        !self.unwanted
    }

    fn piece(&mut self, head: &Head, piece: Piece<'_>) -> Result<(), Problem> {
        assert!(!self.unwanted);
        match piece {
            Piece::Text { .. } | Piece::Stream | Piece::Shape(_) | Piece::Node(..) => {}
            Piece::Part(part) => self.text.extend_from_slice(part),
            Piece::Element(text) | Piece::Member(text) => {
                self.now.push((text.to_vec(), Vec::new()));
            }
            Piece::Scored(member, score) => {
                self.now.push((member.to_vec(), double::text(score).as_bytes().to_vec()));
            }
            Piece::Field { field, value, at } => {
                let mut value = value.to_vec();
                if let Some(at) = at {
                    value.extend_from_slice(format!(" until {at}").as_bytes());
                }
                self.now.push((field.to_vec(), value));
            }
            other => self.text.extend_from_slice(format!("{}: {other:?}\n", head.kind).as_bytes()),
        }
        Ok(())
    }

    fn end(&mut self, head: &Head, bytes: u64, pieces: u64) -> Result<(), Problem> {
        assert!(bytes > 2);
        let mut value = self.text.clone();
        if pieces == 0 {
            return Ok(());
        }
        if !matches!(head.kind, 1 | 10 | 14 | 18) {
            self.now.sort();
        }
        if !self.now.is_empty() {
            value = format!(
                "{:?}",
                self.now.iter().map(|(a, b)| (lossy(a), lossy(b))).collect::<Vec<_>>()
            )
            .into_bytes();
        }
        // Of many keys, one that stands there twice is found at the end.
        self.contents.insert((head.db, head.key.clone()), (head.expire_ms, value));
        Ok(())
    }

    fn module(&mut self, _: &Head, _: &str, _: u64) -> Result<(), Problem> {
        self.modules += 1;
        Ok(())
    }

    fn function(&mut self, source: &[u8]) -> Result<(), Problem> {
        self.functions.push(source.to_vec());
        Ok(())
    }
}

fn show_with(file: &[u8], options: &Options<'_>, spell: &mut Spell) -> Result<Loaded, RdbError> {
    let medium = SimMedium::new(0);
    medium.write_synced("x.rdb", file).unwrap();
    visit(&medium, "x.rdb", options, spell)
}

fn show(file: &[u8]) -> Result<(Loaded, Contents), RdbError> {
    let mut spell = Spell::default();
    let loaded = show_with(file, &OPTIONS, &mut spell)?;
    Ok((loaded, spell.contents))
}

/// Both readers say the same of a file; whether they accept it.
fn agree(file: &[u8]) -> bool {
    let mut collect = Collect::default();
    let built = read_with(file, &OPTIONS, &mut collect);
    match (built, show(file)) {
        (Ok(one), Ok((other, contents))) => {
            assert_eq!(
                (one.version, one.end, one.functions),
                (other.version, other.end, other.functions)
            );
            assert!(collect.contents.keys().eq(contents.keys()));
            for (key, (at, value)) in &contents {
                assert_eq!(collect.contents[key].0, *at);
                if !value.starts_with(b"[") && !value.contains(&b'\n') {
                    assert_eq!(collect.contents[key].1, *value);
                }
            }
            true
        }
        (Err(one), Err(other)) => {
            // A file may be wrong in more than one way, and keys that stand there twice are found
            // out of turn when there are many.
            assert_eq!(one.offset, other.offset, "{one} / {other}");
            false
        }
        (one, other) => panic!("{one:?} / {:?}", other.map(|it| it.0)),
    }
}

fn fixtures() -> Vec<(&'static str, &'static [u8])> {
    macro_rules! fixtures {
        ($($name:literal)*) => {
            vec![$((
                $name,
                include_bytes!(concat!("../../../tests/fixtures/rdb/", $name, ".rdb")),
            )),*]
        };
    }
    fixtures!("strings" "strings-plain" "databases" "lru" "lfu" "streams" "lists" "type-set"
        "type-list" "type-hash" "type-function" "type-zset" "type-stream")
}

#[test]
fn what_redis_wrote_is_shown() {
    for (name, file) in fixtures() {
        assert!(agree(file), "{name}");
    }
    let (_, contents) = show(fixtures()[6].1).unwrap();
    let long = &contents[&(0, b"large".to_vec())].1;
    assert!(lossy(long).starts_with("[(\"element 0\", \"\"), (\"element 1\", \"\")"));
    assert!(lossy(long).ends_with("(\"element 2999\", \"\")]"));
}

#[test]
fn every_truncation_and_flip_is_the_same_to_both() {
    for (name, file) in fixtures() {
        if file.len() > 5000 {
            continue;
        }
        for len in 0..file.len() {
            assert!(!agree(&file[..len]), "{name} {len}");
        }
        for at in (9..file.len()).step_by(1 + file.len() / 1000) {
            let mut damaged = file.to_vec();
            damaged[at] ^= 1 << (at % 8);
            // Without a checksum, so that what leads there is not all that is seen.
            let sum = damaged.len() - 8;
            if at < sum {
                damaged[sum..].fill(0);
            }
            agree(&damaged);
        }
    }
}

fn module(build: Build, parts: &[u8]) -> Build {
    build.raw(&[TYPE_MODULE]).text(b"m").raw(&[0x81]).raw(&[0x12; 8]).raw(parts)
}

#[test]
fn modules_are_refused_or_passed_over() {
    let parts = b"\x01\x05\x02\x40\x80\x03ffff\x04dddddddd\x05\x03abc\x05\xc0\x07\x00";
    let aux = [&[OP_MODULE_AUX, 0x81][..], &[0x12; 8], b"\x02\x02", parts].concat();
    let values = module(Build::new(10).set(b"a", b"1").expiry(5), parts).set(b"b", b"2").end();
    let refused = show(&values).unwrap_err().to_string();
    assert!(refused.contains("value of module") && refused.contains("\"m\""), "{refused}");
    assert!(!agree(&values));
    let both = module(Build::new(10).raw(&aux).expiry(5), parts).set(b"b", b"2").end();
    let text = show(&both).unwrap_err().to_string();
    assert!(text.contains("data of module") && text.contains("rdb-module-data"), "{text}");
    let options = Options { modules: Modules::Skip, ..OPTIONS };
    let (mut spell, mut collect) = (Spell::default(), Collect::default());
    let loaded = show_with(&both, &options, &mut spell).unwrap();
    assert_eq!((loaded.keys, loaded.module_values, loaded.module_aux, spell.modules), (1, 1, 1, 1));
    let loaded = read_with(&both, &options, &mut collect).unwrap();
    assert_eq!((loaded.keys, loaded.module_values, loaded.module_aux), (1, 1, 1));
    // The expiry was the module's key's.
    assert_eq!(collect.contents[&(0, b"b".to_vec())].0, None);
    for parts in [&b"\x06\x00"[..], b"\x07", b"\x05\x81\xff\xff\xff\xff\xff\xff\xff\xff", b"\x01"] {
        let file = module(Build::new(10), parts).0;
        assert!(show_with(&file, &options, &mut Spell::default()).is_err());
        assert!(read_with(&file, &options, &mut Collect::default()).is_err());
    }
}

#[test]
fn functions_are_kept() {
    #[derive(Default)]
    struct Kept(Vec<Vec<u8>>);
    impl Sink for Kept {
        fn wants(&mut self, _: usize, _: &[u8]) -> bool {
            false
        }
        fn store(
            &mut self,
            _: usize,
            _: &[u8],
            _: crate::keyspace::NewValue<'_>,
            _: Option<i64>,
        ) -> bool {
            true
        }
        fn aux(&mut self, _: &[u8], _: &[u8]) {}
        fn function(&mut self, source: &[u8]) {
            self.0.push(source.to_vec());
        }
    }
    let file = fixtures()[10].1;
    let (mut kept, mut spell) = (Kept::default(), Spell::default());
    let medium = SimMedium::new(0);
    medium.write_synced("x.rdb", file).unwrap();
    assert_eq!(decode(&medium, "x.rdb", &OPTIONS, &mut kept).unwrap().functions, 1);
    show_with(file, &OPTIONS, &mut spell).unwrap();
    assert!(kept.0[0].starts_with(b"#!lua name="), "{:?}", kept.0);
    assert_eq!(kept.0, spell.functions);
    let old = Build::new(10).raw(&[OP_FUNCTION_OLD]).end();
    assert!(matches!(show(&old).unwrap_err().problem, Problem::Functions));
}

/// Found by fuzzing: one reader made a key of it that held nothing, the other none.
#[test]
fn an_intset_without_members_is_refused() {
    let file = Build::new(10).raw(&[TYPE_SET_INTSET]).text(b"k").text(&[8, 0, 0, 0, 0, 0, 0, 0]);
    let text = show(&file.end()).unwrap_err().to_string();
    assert!(text.contains("\"k\"") && text.contains("it has no members"), "{text}");
    let file = Build::new(10).raw(&[TYPE_SET_INTSET]).text(b"k").text(&[8, 0, 0, 0, 0, 0, 0, 0]);
    assert!(!agree(&file.set(b"k", b"1").end()));
}

#[test]
fn valkey_has_numbers_of_its_own() {
    let build = |fields: &[(&str, i64)]| {
        let head = Build(b"VALKEY080".to_vec()).raw(&[TYPE_HASH_VALKEY]).text(b"h");
        fields.iter().fold(head.raw(&[fields.len() as u8]), |build, (field, at)| {
            build.text(field.as_bytes()).text(b"v").raw(&at.to_le_bytes())
        })
    };
    let file = build(&[("a", 1_700_000_000_000), ("b", -1)]).set(b"s", b"1").end();
    assert!(agree(&file));
    let (loaded, contents) = show(&file).unwrap();
    assert!(loaded.valkey && loaded.version == 80);
    let value = lossy(&contents[&(0, b"h".to_vec())].1);
    assert_eq!(value, "[(\"a\", \"v until 1700000000000\"), (\"b\", \"v\")]");
    let mut nothing = Spell { unwanted: true, ..Spell::default() };
    show_with(&file, &OPTIONS, &mut nothing).unwrap();
    for wrong in [build(&[("a", 1), ("a", 2)]), build(&[("a", -2)]), build(&[("a", i64::MAX)])] {
        assert!(!agree(&wrong.end()));
    }
    for kind in 23..=25 {
        let file = Build(b"VALKEY080".to_vec()).raw(&[kind]).text(b"k").end();
        let text = show(&file).unwrap_err().to_string();
        assert!(text.contains(&format!("value of unknown type {kind} \"k\"")), "{text}");
        assert!(!agree(&file));
    }
    let import = Build(b"VALKEY080".to_vec()).raw(&[OP_SLOT_IMPORT]).end();
    assert!(matches!(show(&import).unwrap_err().problem, Problem::SlotImport));
    // Redis has no such item, and its type 22 is laid out differently.
    let import = Build::new(12).raw(&[OP_SLOT_IMPORT]).end();
    assert!(matches!(show(&import).unwrap_err().problem, Problem::Opcode(OP_SLOT_IMPORT)));
}

#[test]
fn use_stands_with_its_key_alone() {
    #[derive(Default)]
    struct Uses(BTreeMap<Vec<u8>, Usage>);
    impl Visitor for Uses {
        fn wants(&mut self, head: &Head) -> bool {
            self.0.insert(head.key.clone(), head.usage);
            false
        }
        fn piece(&mut self, _: &Head, _: Piece<'_>) -> Result<(), Problem> {
            Ok(())
        }
        fn end(&mut self, _: &Head, _: u64, _: u64) -> Result<(), Problem> {
            Ok(())
        }
    }
    let build = Build::new(9).raw(&[OP_IDLE, 0x40, 0x80]).set(b"a", b"1").set(b"b", b"1");
    let file = build.raw(&[OP_FREQ, 7]).set(b"c", b"1").end();
    let medium = SimMedium::new(0);
    medium.write_synced("x.rdb", &file).unwrap();
    let mut uses = Uses::default();
    visit(&medium, "x.rdb", &OPTIONS, &mut uses).unwrap();
    assert_eq!(uses.0[&b"a".to_vec()], Usage { idle_s: Some(128), freq: None });
    assert_eq!(uses.0[&b"b".to_vec()], Usage::default());
    assert_eq!(uses.0[&b"c".to_vec()], Usage { idle_s: None, freq: Some(7) });
}

#[test]
fn many_elements_and_keys_are_each_there_once() {
    let members = 130_000u32;
    let set = |twice: bool| {
        let mut build = Build::new(11).raw(&[TYPE_SET]).text(b"s");
        build.0.push(0x80);
        build.0.extend_from_slice(&members.to_be_bytes());
        for n in 0..members {
            let n = if twice && n == 99_000 { 98_000 } else { n };
            build.0.push(4);
            build.0.extend_from_slice(&n.to_be_bytes());
        }
        build.set(b"t", b"1").end()
    };
    assert!(agree(&set(false)));
    let error = show(&set(true)).unwrap_err().to_string();
    assert_eq!(error, "x.rdb, byte 9: set \"s\": a member stands in it twice");
    let keys = |twice: bool| {
        let mut build = Build::new(11);
        for n in 0..members {
            let n = if twice && n == 129_999 { 5 } else { n };
            build.0.extend_from_slice(&[0, 4]);
            build.0.extend_from_slice(&n.to_be_bytes());
            build.0.extend_from_slice(b"\x01x");
        }
        build.end()
    };
    assert_eq!(show(&keys(false)).unwrap().0.keys, u64::from(members));
    let error = show(&keys(true)).unwrap_err();
    assert!(matches!(error.problem, Problem::Duplicate(_)));
    assert_eq!(error.offset, 9 + 129_999 * 8);
    assert!(!agree(&keys(true)));
}

/// A key that holds nothing is none, and may come again.
#[test]
fn what_holds_nothing_is_no_key() {
    for many in [10u32, 70_000] {
        let empty = || Build::new(11).raw(&[TYPE_LIST]).text(b"k").raw(&[0]);
        let mut build = empty();
        for n in 0..many {
            build.0.extend_from_slice(&[0, 4]);
            build.0.extend_from_slice(&n.to_be_bytes());
            build.0.extend_from_slice(b"\x01x");
        }
        let build = build.raw(&empty().0[9..]).set(b"k", b"1").raw(&empty().0[9..]);
        let copy = Build(build.0.clone()).set(b"k", b"2");
        let file = build.end();
        assert!(agree(&file));
        assert_eq!(show(&file).unwrap().0.keys, u64::from(many) + 1);
        assert!(!agree(&copy.end()));
    }
}

#[test]
fn long_strings_come_in_parts() {
    let long: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let packed = crate::base::lzf::compress(&long, long.len()).unwrap();
    let lzf = |packed: &[u8], len: u32| {
        let mut build = Build::new(10).raw(&[TYPE_STRING]).text(b"z").raw(&[0xC3, 0x80]);
        build.0.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        build.0.push(0x80);
        build.0.extend_from_slice(&len.to_be_bytes());
        build.raw(packed).set(b"after", b"1").end()
    };
    let plain = Build::new(10).set(b"p", &long).set(b"after", b"1").end();
    assert!(agree(&plain));
    assert!(agree(&lzf(&packed, 1_000_000)));
    assert!(!agree(&lzf(&packed, 999_999)));
    assert!(!agree(&lzf(&packed, 1_000_001)));
    let progress = std::sync::atomic::AtomicU64::new(0);
    let options = Options { progress: Some(&progress), ..OPTIONS };
    show_with(&plain, &options, &mut Spell::default()).unwrap();
    assert_eq!(progress.into_inner(), plain.len() as u64);
}

proptest! {
    #[test]
    fn noise_is_the_same_to_both(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        version in prop_oneof![Just(3u32), Just(10), Just(12)],
        kind in 0u8..26,
    ) {
        agree(&noise);
        agree(&Build::new(version).raw(&noise).end());
        agree(&Build(b"VALKEY080".to_vec()).raw(&noise).end());
        agree(&Build::new(12).raw(&[kind, 1, b'k']).raw(&noise).end());
    }

    #[test]
    fn damage_is_the_same_to_both(
        which in 0usize..13,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let file = fixtures()[which].1;
        let mut damaged = file.to_vec();
        let sum = damaged.len() - 8;
        damaged[sum..].fill(0);
        for (at, byte) in changes {
            let at = 9 + at.index(sum - 9);
            damaged[at] = byte;
        }
        agree(&damaged);
    }
}
