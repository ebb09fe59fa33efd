//! The decoder against files that redis-server wrote, against patched ones, and against noise.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::format::*;
use super::*;
use crate::base::crc::crc64_redis;
use crate::keyspace::{Entry, NewValue, spelled};
use crate::persist::disk::Volume;
use crate::persist::sim::SimMedium;

/// Database, key → expiry, value.
pub(crate) type Contents = BTreeMap<(usize, Vec<u8>), (Option<i64>, Vec<u8>)>;

#[derive(Default)]
pub(crate) struct Collect {
    pub(crate) contents: Contents,
    pub(crate) aux: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys of this length or longer are not wanted.
    pub(crate) unwanted_len: Option<usize>,
}

impl Sink for Collect {
    fn wants(&mut self, _db: usize, key: &[u8]) -> bool {
        self.unwanted_len.is_none_or(|len| key.len() < len)
    }

    fn store(
        &mut self,
        db: usize,
        key: &[u8],
        value: NewValue<'_>,
        expire_ms: Option<i64>,
    ) -> bool {
        let value = match value {
            NewValue::Int(n) => n.to_string().into_bytes(),
            value @ (NewValue::Packed { .. } | NewValue::Object(_)) => {
                spelled(&Entry::new(key, value, None))
            }
            NewValue::Str { bytes, raw } => {
                assert!(!raw);
                bytes.to_vec()
            }
            NewValue::Shared { bytes, raw } => {
                assert!(!raw);
                bytes.to_vec()
            }
        };
        self.contents.insert((db, key.to_vec()), (expire_ms, value)).is_none()
    }

    fn aux(&mut self, key: &[u8], value: &[u8]) {
        self.aux.push((key.to_vec(), value.to_vec()));
    }
}

pub(crate) const OPTIONS: Options<'static> = Options {
    databases: 16,
    drop_expired: None,
    string_max: 1 << 20,
    shapes: crate::value::shapes::Shapes::DEFAULT,
    hash_seed: [1, 2],
    progress: None,
    modules: Modules::Refuse,
};

pub(crate) fn read_with(
    file: &[u8],
    options: &Options<'_>,
    sink: &mut Collect,
) -> Result<Loaded, RdbError> {
    let medium = SimMedium::new(0);
    medium.write_synced("x.rdb", file).unwrap();
    decode(&medium, "x.rdb", options, sink)
}

pub(crate) fn read(file: &[u8]) -> Result<(Loaded, Contents), RdbError> {
    let mut sink = Collect::default();
    let loaded = read_with(file, &OPTIONS, &mut sink)?;
    Ok((loaded, sink.contents))
}

pub(crate) fn problem(file: &[u8]) -> (u64, Problem) {
    let error = read(file).map(|(loaded, _)| loaded).expect_err("must be refused");
    assert_eq!(error.file, "x.rdb");
    (error.offset, error.problem)
}

/// An RDB file in the making.
pub(crate) struct Build(pub Vec<u8>);

impl Build {
    pub(crate) fn new(version: u32) -> Self {
        Build(format!("REDIS{version:04}").into_bytes())
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(self, bytes: &[u8]) -> Self {
        let head = [&[0x80][..], &(bytes.len() as u32).to_be_bytes()].concat();
        self.raw(&head).raw(bytes)
    }

    pub(crate) fn db(self, db: u8) -> Self {
        self.raw(&[OP_SELECTDB, db])
    }

    pub(crate) fn expiry(self, ms: i64) -> Self {
        self.raw(&[OP_EXPIRETIME_MS]).raw(&ms.to_le_bytes())
    }

    pub(crate) fn set(self, key: &[u8], value: &[u8]) -> Self {
        self.raw(&[TYPE_STRING]).text(key).text(value)
    }

    pub(crate) fn end(self) -> Vec<u8> {
        let mut file = self.raw(&[OP_EOF]).0;
        file.extend_from_slice(&crc64_redis(&file).to_le_bytes());
        file
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.bytes();
    while let Some(b) = chars.next() {
        out.push(match b {
            b'\\' => match chars.next().unwrap() {
                b't' => b'\t',
                b'r' => b'\r',
                b'n' => b'\n',
                b'x' => {
                    let digits = [chars.next().unwrap(), chars.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            },
            b => b,
        });
    }
    out
}

/// Compares with what redis-server said.
pub(crate) fn check(contents: &Contents, expected: &str) {
    let lines: Vec<&str> = expected.lines().collect();
    assert_eq!(contents.len(), lines.len());
    for line in lines {
        let [db, expire, key, value] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("four fields: {line}");
        };
        let found = contents.get(&(db.parse().unwrap(), unescape(key)));
        let (expire_ms, bytes) = found.unwrap_or_else(|| panic!("{key} is missing"));
        assert_eq!(expire_ms.map_or("-".into(), |ms| ms.to_string()), expire, "{key}");
        match value.strip_prefix('#') {
            None => assert_eq!(*bytes, unescape(value), "{key}"),
            Some(sum) => {
                assert_eq!(format!("{}:{:016x}", bytes.len(), crc64_redis(bytes)), sum, "{key}");
            }
        }
    }
}

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/rdb/", $name, ".rdb")).as_slice()
    };
}

macro_rules! expected {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/rdb/", $name, ".expected"))
    };
}

#[test]
fn what_redis_wrote() {
    for (file, expected) in [
        (fixture!("strings"), expected!("strings")),
        (fixture!("strings-plain"), expected!("strings-plain")),
        (fixture!("databases"), expected!("databases")),
        (fixture!("lru"), expected!("lru")),
        (fixture!("lfu"), expected!("lfu")),
    ] {
        let (loaded, contents) = read(file).unwrap();
        check(&contents, expected);
        assert_eq!(loaded.version, 10);
        assert_eq!(loaded.end, file.len() as u64);
        assert_eq!(loaded.keys, contents.len() as u64);
    }
}

#[test]
fn older_versions_and_files_without_checksum() {
    let file = fixture!("strings");
    let (_, contents) = read(file).unwrap();
    for version in 1..=12 {
        let mut old = file.to_vec();
        old[5..9].copy_from_slice(format!("{version:04}").as_bytes());
        let body = old.len() - 8;
        if version < 5 {
            old.truncate(body);
        } else {
            assert!(version == 10 || matches!(problem(&old).1, Problem::Checksum { .. }));
            let sum = crc64_redis(&old[..body]);
            old[body..].copy_from_slice(&sum.to_le_bytes());
            assert_eq!(read(&old).unwrap().1, contents);
            old[body..].fill(0);
        }
        let (loaded, again) = read(&old).unwrap();
        assert_eq!((loaded.version, loaded.end), (version, old.len() as u64));
        assert_eq!(again, contents);
    }
}

#[test]
fn strangers_are_named() {
    for (file, shown) in [
        (&b""[..], "this is not an RDB file"),
        (b"*1\r\n$4\r\nPING\r\n", "this is not an RDB file"),
        (b"REDIS001", "this is not an RDB file"),
        (b"REDIS0013\xff", "RDB version 0013; this version loads 1 to 12"),
        (b"REDIS0000\xff", "RDB version 0000; this version loads 1 to 12"),
        (b"REDIS00x1\xff", "RDB version 00x1; this version loads 1 to 12"),
    ] {
        let error = read(file).unwrap_err();
        assert_eq!(error.to_string(), format!("x.rdb, byte 0: {shown}"));
    }
    let newer = read(b"VALKEY081\xff").unwrap_err().to_string();
    assert_eq!(newer, "x.rdb, byte 0: Valkey's RDB version 081; this version loads 80");
    let missing = decode(&SimMedium::new(0), "no", &OPTIONS, &mut Collect::default());
    assert!(matches!(missing.unwrap_err().problem, Problem::Io(_)));
}

#[test]
fn collections_of_every_form_are_read() {
    // "2" and "5", packed as older servers did.
    let zip = [0x0f, 0, 0, 0, 0x0c, 0, 0, 0, 2, 0, 0x00, 0xf3, 0x02, 0xf6, 0xff];
    let pack = [11, 0, 0, 0, 2, 0, 2, 1, 5, 1, 0xff];
    let file = Build::new(11)
        .raw(&[TYPE_LIST])
        .text(b"a")
        .raw(&[2])
        .text(b"2")
        .text(b"5")
        .raw(&[TYPE_LIST_ZIPLIST])
        .text(b"b")
        .text(&zip)
        .raw(&[TYPE_LIST_QUICKLIST])
        .text(b"c")
        .raw(&[2])
        .text(&zip)
        .text(&zip)
        .raw(&[TYPE_LIST_QUICKLIST_2])
        .text(b"d")
        .raw(&[2, 2])
        .text(&pack)
        .raw(&[1])
        .text(b"x")
        .raw(&[TYPE_HASH_ZIPLIST])
        .text(b"e")
        .text(&zip)
        .raw(&[TYPE_HASH_ZIPMAP])
        .text(b"f")
        .text(b"\x01\x03foo\x03\x00bar\xff")
        .raw(&[TYPE_ZSET_ZIPLIST])
        .text(b"g")
        .text(&zip)
        .raw(&[TYPE_LIST])
        .text(b"empty")
        .raw(&[0])
        .end();
    let contents = read(&file).unwrap().1;
    let value = |key: &[u8]| {
        contents.get(&(0, key.to_vec())).map(|(_, v)| String::from_utf8_lossy(v).into_owned())
    };
    let held = [b"a", b"b", b"c", b"d", b"e", b"f", b"g"].map(|key| value(key).unwrap());
    let expected = [
        "list: 2, 5",
        "list: 2, 5",
        "list: 2, 5, 2, 5",
        "list: 2, 5, x",
        "hash: 2 = 5",
        "hash: foo = bar",
        "zset: 2 = 5",
    ];
    assert_eq!(held, expected);
    assert_eq!(value(b"empty"), None);
    // Passed over, all the same.
    let mut nothing = Collect { unwanted_len: Some(0), ..Collect::default() };
    assert_eq!(read_with(&file, &OPTIONS, &mut nothing).unwrap().keys, 0);
    for (kind, body) in [
        (TYPE_LIST_ZIPLIST, &b"\x00"[..]),
        (TYPE_LIST_QUICKLIST, b"\x01\x02zz"),
        (TYPE_LIST_QUICKLIST_2, b"\x01\x02\x02zz"),
        (TYPE_LIST_QUICKLIST_2, b"\x01\x03\x02zz"),
        (TYPE_HASH_ZIPLIST, b"\x02zz"),
        (TYPE_HASH_ZIPMAP, b"\x02zz"),
        (TYPE_ZSET_ZIPLIST, b"\x02zz"),
    ] {
        let file = Build::new(11).raw(&[kind]).text(b"k").raw(body).end();
        assert!(matches!(problem(&file).1, Problem::Damaged { .. }), "{kind}");
    }
}

#[test]
fn lists_that_redis_wrote() {
    let contents = read(fixture!("lists")).unwrap().1;
    let value = |key: &[u8]| contents.get(&(0, key.to_vec())).unwrap().clone();
    let list = |elements: Vec<String>| format!("list: {}", elements.join(", ")).into_bytes();
    assert_eq!(value(b"small"), (None, b"list: a, 1, -5, ".to_vec()));
    assert_eq!(value(b"large").1, list((0..3000).map(|n| format!("element {n}")).collect()));
    let plain = vec!["x".to_owned(), "y".repeat(300), "z".repeat(9000), "1".to_owned()];
    assert_eq!(value(b"plain"), (Some(33_177_117_420_000), list(plain)));
}

#[test]
fn other_types_are_refused_by_name() {
    let read = [HASHES_AND_SETS, TIMED_HASHES, LISTS, ZSETS, STREAMS, &[TYPE_MODULE]].concat();
    for kind in (1..OP_SLOT_INFO).filter(|kind| !read.contains(kind)) {
        let file = Build::new(12).raw(&[kind]).text(b"a\nkey").raw(b"x").end();
        let (offset, problem) = problem(&file);
        assert_eq!(offset, 9);
        match type_name(kind) {
            Some(name) => {
                let text = format!("{name} \"a\\nkey\": this version does not load it");
                assert_eq!(problem.to_string(), text);
            }
            None if kind < 64 => assert!(matches!(problem, Problem::Type { .. })),
            None => assert!(matches!(problem, Problem::Opcode(k) if k == kind)),
        }
    }
    let module = Build::new(9).raw(&[OP_MODULE_AUX, 0x81]).raw(&[0; 8]).end();
    let text = problem(&module).1.to_string();
    assert!(text.starts_with("data of module AAAAAAAAA: there are no modules"), "{text}");
}

#[test]
fn auxiliary_items_stand_anywhere() {
    let aux = |b: Build, key: &[u8], value: &[u8]| b.raw(&[OP_AUX]).text(key).text(value);
    let build = aux(Build::new(11), b"%note", b"seen");
    let build = build.db(0).raw(&[OP_RESIZEDB, 2, 0]).set(b"a", b"1");
    let build = aux(build, b"unheard-of", &[0; 5000]);
    let build = build.raw(&[OP_SLOT_INFO, 1, 2, 3]).db(1).set(b"a", b"2").db(0).set(b"b", b"3");
    let file = aux(build, b"last", b"").end();
    let mut sink = Collect::default();
    let loaded = read_with(&file, &OPTIONS, &mut sink).unwrap();
    assert_eq!(loaded.keys, 3);
    assert_eq!(sink.contents[&(1, b"a".to_vec())].1, b"2");
    assert_eq!(sink.contents[&(0, b"b".to_vec())].1, b"3");
    let keys: Vec<&[u8]> = sink.aux.iter().map(|(k, _)| &k[..]).collect();
    assert_eq!(keys, [&b"%note"[..], b"unheard-of", b"last"]);
}

#[test]
fn expired_keys_are_dropped_when_asked() {
    let build = Build::new(10).expiry(1000).set(b"past", b"1").expiry(1001).set(b"now", b"2");
    let build = build.set(b"never", b"3").expiry(-1).set(b"none", b"4");
    let file = build.raw(&[OP_EXPIRETIME]).raw(&2i32.to_le_bytes()).set(b"s", b"5").end();
    let (loaded, all) = read(&file).unwrap();
    assert_eq!((loaded.keys, loaded.expired), (5, 0));
    assert_eq!(all[&(0, b"past".to_vec())].0, Some(1000));
    assert_eq!(all[&(0, b"never".to_vec())].0, None);
    assert_eq!(all[&(0, b"none".to_vec())].0, None);
    assert_eq!(all[&(0, b"s".to_vec())].0, Some(2000));
    let mut sink = Collect::default();
    let options = Options { drop_expired: Some(1001), ..OPTIONS };
    let loaded = read_with(&file, &options, &mut sink).unwrap();
    assert_eq!((loaded.keys, loaded.expired), (4, 1));
    assert!(!sink.contents.contains_key(&(0, b"past".to_vec())));
}

#[test]
fn unwanted_values_are_passed_over() {
    let file = fixture!("strings");
    let mut sink = Collect { unwanted_len: Some(9), ..Collect::default() };
    let loaded = read_with(file, &OPTIONS, &mut sink).unwrap();
    let (_, all) = read(file).unwrap();
    let short: Contents = all.into_iter().filter(|((_, key), _)| key.len() < 9).collect();
    assert_eq!(sink.contents, short);
    assert_eq!(loaded.keys, short.len() as u64);
}

#[test]
fn duplicates_and_foreign_databases_are_refused() {
    let twice = Build::new(10).set(b"k", b"1").db(1).set(b"k", b"1").db(0).set(b"k", b"2").end();
    let (offset, what) = problem(&twice);
    assert_eq!(what.to_string(), "key \"k\" stands in the file twice");
    assert_eq!(twice[offset as usize..][..7], *b"\0\x80\0\0\0\x01k");
    let far = Build::new(10).db(16).set(b"k", b"1").end();
    assert!(matches!(problem(&far), (9, Problem::Database(16))));
}

#[test]
fn claims_beyond_the_file_cost_nothing() {
    for head in [
        &[0x80, 0xFF, 0xFF, 0xFF, 0xFF][..],
        &[0x81, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0xC3, 0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 5],
        &[0x7F, 0xFF],
    ] {
        for file in [
            Build::new(10).raw(&[TYPE_STRING]).text(b"k").raw(head).end(),
            Build::new(10).raw(&[TYPE_STRING]).raw(head).end(),
            Build::new(10).raw(&[OP_AUX]).raw(head).end(),
        ] {
            assert!(matches!(problem(&file), (9, Problem::Truncated)), "{head:?}");
        }
    }
    // Compressed data that claims more than it can become, or than is allowed.
    let claim = |len: u32| {
        let head = [&[0xC3, 4, 0x80][..], &len.to_be_bytes(), b"\x02abc"].concat();
        problem(&Build::new(10).raw(&[TYPE_STRING]).text(b"k").raw(&head).end()).1
    };
    assert!(matches!(claim(4), Problem::Lzf));
    assert!(matches!(claim(353), Problem::Lzf));
    assert!(matches!(claim(u32::MAX), Problem::Long(0xFFFF_FFFF)));
    let long = Build::new(10).set(b"k", &vec![0; (1 << 20) + 1]).end();
    assert!(matches!(problem(&long).1, Problem::Long(1_048_577)));
}

#[test]
fn every_truncation_is_found() {
    let file = fixture!("databases");
    for len in 0..file.len() {
        let error = read(&file[..len]).unwrap_err();
        match error.problem {
            Problem::NotRdb => assert!(len < HEADER_LEN),
            Problem::Truncated => assert!(error.offset <= len as u64),
            other => panic!("{len}: {other}"),
        }
    }
}

#[test]
fn every_flipped_bit_is_found() {
    for file in [fixture!("databases"), fixture!("lfu")] {
        let (_, contents) = read(file).unwrap();
        for bit in 0..file.len() * 8 {
            let mut damaged = file.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok((_, found)) = read(&damaged) {
                // A version below 5 has no checksum; nothing else may pass.
                assert!(damaged[5..9] != file[5..9] && found == contents, "bit {bit}");
            }
        }
    }
}

#[test]
fn text_may_follow_the_checksum() {
    let mut file = fixture!("lru").to_vec();
    let end = file.len() as u64;
    file.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(read(&file).unwrap().0.end, end);
}

#[test]
fn values_longer_than_a_chunk_and_odd_reads() {
    let big: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let build = Build::new(10).set(b"a", &big[..700_000]).set(&big[..300_000], b"1");
    let file = build.set(b"b", &big[..262_144]).set(b"c", &big[..262_145]).end();
    let (_, contents) = read(&file).unwrap();
    assert_eq!(contents[&(0, b"a".to_vec())].1, &big[..700_000]);
    assert_eq!(contents[&(0, big[..300_000].to_vec())].1, b"1");
    assert_eq!(contents[&(0, b"c".to_vec())].1, &big[..262_145]);
    let progress = std::sync::atomic::AtomicU64::new(0);
    let mut sink = Collect { unwanted_len: Some(0), ..Collect::default() };
    let options = Options { progress: Some(&progress), ..OPTIONS };
    let loaded = read_with(&file, &options, &mut sink).unwrap();
    assert_eq!(loaded.keys, 0);
    assert_eq!(progress.into_inner(), file.len() as u64);
}

proptest! {
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&noise);
        let file = Build::new(10).raw(&noise).end();
        let _ = read(&file);
        let mut old = Build::new(3).raw(&noise).0;
        let _ = read(&old);
        old.push(OP_EOF);
        let _ = read(&old);
    }

    #[test]
    fn damage_never_panics(
        flips in prop::collection::vec((0usize..33_988, 0u8..8), 1..20),
        cut in 0usize..40_000,
    ) {
        let mut file = fixture!("strings").to_vec();
        for (at, bit) in flips {
            if let Some(byte) = file.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        file.truncate(cut);
        let _ = read(&file);
    }

    #[test]
    fn what_is_built_is_read(
        entries in prop::collection::btree_map(
            (0u8..16, prop::collection::vec(any::<u8>(), 0..80)),
            (prop::option::of(0i64..i64::MAX), prop::collection::vec(any::<u8>(), 0..2000)),
            0..30,
        ),
    ) {
        let mut build = Build::new(11);
        let mut expected = Contents::new();
        for ((db, key), (expire_ms, value)) in entries {
            build = build.db(db);
            if let Some(ms) = expire_ms {
                build = build.expiry(ms);
            }
            build = build.set(&key, &value);
            expected.insert((usize::from(db), key), (expire_ms, value));
        }
        prop_assert_eq!(read(&build.end()).unwrap().1, expected);
    }
}
