//! Manifests of Redis and of ours: what is read, what is refused, what a damaged one says.

use super::*;
use proptest::prelude::*;

fn fault(text: &str) -> ManifestFault {
    Manifest::parse(text.as_bytes()).unwrap_err().fault
}

fn two_shards() -> Manifest {
    let mut manifest = Manifest::default();
    let files = [
        NewFile { seed: 1, start: 0x10, stream: 0 },
        NewFile { seed: 2, start: 0x20, stream: 0x77 },
    ];
    manifest.begin_generation("a.aof", &files, 5, "boot-1");
    manifest
}

#[test]
fn reads_what_redis_reads() {
    let text = "# comment\nfile \"a b\\x41\\n.rdb\" SEQ 1 type base future 3\n\
                file 'it\\'s' seq 7x type h\n type i seq 3 file b\nfile c seq 9 type i\n";
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    let files: Vec<_> = manifest.lines.iter().map(|l| (&l.file[..], l.seq, l.kind)).collect();
    assert_eq!(
        files,
        [
            ("a bA\n.rdb", 1, FileType::Base),
            ("it's", 7, FileType::History),
            ("b", 3, FileType::Incr),
            ("c", 9, FileType::Incr)
        ]
    );
    assert_eq!(Manifest::parse(&manifest.encode()).unwrap(), manifest);
}

#[test]
fn refuses_what_redis_refuses() {
    assert_eq!(fault(""), ManifestFault::Empty);
    assert_eq!(fault("file a seq 1 type i"), ManifestFault::LongLine);
    assert_eq!(fault("\n"), ManifestFault::Format);
    assert_eq!(fault("file a seq 0 type i\n"), ManifestFault::Format);
    assert_eq!(fault("file a seq 1 type i odd\n"), ManifestFault::Format);
    assert_eq!(fault("file \"a seq 1 type i\n"), ManifestFault::Format);
    assert_eq!(fault("file \"a\"b seq 1 type i\n"), ManifestFault::Format);
    assert_eq!(fault("file a/b seq 1 type i\n"), ManifestFault::Path);
    assert_eq!(fault("file a seq 1 type x\n"), ManifestFault::Type);
    assert_eq!(fault("file a seq 1 type b\nfile b seq 2 type b\n"), ManifestFault::TwoBases);
    assert_eq!(fault("file a seq 2 type i\nfile b seq 2 type i\n"), ManifestFault::NonMonotonic);
    let long = format!("file a seq 1 type i {} x\n", "k".repeat(LINE_MAX));
    assert_eq!(fault(&long), ManifestFault::LongLine);
    let grows = format!("file a{} seq 1 type i\n", "\0".repeat(255));
    assert!(grows.len() < LINE_MAX);
    assert_eq!(fault(&grows), ManifestFault::LongLine);
}

#[test]
fn our_pairs_are_checked() {
    let manifest = two_shards();
    let text = String::from_utf8(manifest.encode()).unwrap();
    assert_eq!(Manifest::parse(text.as_bytes()).unwrap(), manifest);
    assert_eq!(fault(&text.replace("start 10", "start 11")), ManifestFault::Checksum);
    assert_eq!(fault(&text.replace("rs 1", "rs 2")), ManifestFault::Version(2));
    assert_eq!(fault(&text.replace(" rs 1", " xx 1")), ManifestFault::Pair("rs"));
    assert_eq!(fault(&text.replace("rssum", "rssam")), ManifestFault::Pair("rssum"));
}

/// A base, history, a file of another server, a part and a generation.
fn every_kind() -> Manifest {
    let mut manifest = Manifest::default();
    let line = |file: &str, seq, kind, ours| Line { file: file.to_owned(), seq, kind, ours };
    let whole = |kind| Some(Ours::Whole(WholePairs { kind, len: 70, sum: 0xabc }));
    manifest.lines = vec![
        line("a.aof.1.base.rdb", 1, FileType::Base, whole(WholeKind::Rdb)),
        line("a.aof.1.incr.aof", 1, FileType::History, None),
        line("a.aof.2.incr.aof", 2, FileType::Incr, whole(WholeKind::Bytes)),
        line("a.aof.3.incr.aof", 3, FileType::Incr, None),
    ];
    manifest.begin_generation("a.aof", &[NewFile { seed: 9, start: 3, stream: 0 }], 5, "boot-1");
    manifest.seal(&[(0x30, 7)], false);
    manifest.add_part("a.aof", PartKind::Cut, b"*1\r\n$8\r\nFLUSHALL\r\n");
    manifest
}

#[test]
fn a_line_with_no_room_keeps_its_length() {
    for len in [10, 900, 1000] {
        let file = "a".repeat(len);
        let mut line = Line { file, seq: 1, kind: FileType::Base, ours: None };
        line.vouch(WholePairs { kind: WholeKind::Rdb, len: u64::MAX, sum: u64::MAX });
        assert_eq!(line.ours.is_some(), len == 10);
        let manifest = Manifest { lines: vec![line], ..Manifest::default() };
        assert_eq!(Manifest::parse(&manifest.encode()).unwrap(), manifest);
    }
}

#[test]
fn lines_that_are_lost_moved_or_added_are_found() {
    let manifest = every_kind();
    let bytes = manifest.encode();
    assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').collect();
    assert_eq!(lines.len(), 7);
    for i in 0..lines.len() {
        for cut in [[&lines[..i], &lines[i + 1..]].concat(), lines[..i].to_vec()] {
            assert!(Manifest::parse(&cut.concat()).is_err(), "line {i} lost, or all from it");
        }
        let twice = [&lines[..i], &lines[i..=i], &lines[i..]].concat().concat();
        assert!(Manifest::parse(&twice).is_err(), "line {i} twice");
        for j in 0..i {
            let mut moved = lines.clone();
            moved.swap(i, j);
            assert!(Manifest::parse(&moved.concat()).is_err(), "lines {j} and {i}");
        }
    }
    assert_eq!(fault(&format!("{}# by hand\n", text(&bytes))), ManifestFault::Whole);
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_generation_is_sealed_and_followed() {
    let mut manifest = two_shards();
    manifest.seal(&[(0x30, 7), (0x20, 2)], false);
    let cut = manifest.add_part("a.aof", PartKind::Cut, b"*1\r\n$8\r\nFLUSHALL\r\n");
    assert_eq!(cut, "a.aof.3.cut.incr.aof");
    let names = manifest.begin_generation(
        "a.aof",
        &[NewFile { seed: 3, start: 0x30, stream: 0 }],
        9,
        "boot-1",
    );
    assert_eq!(names, ["a.aof.4.s00.incr.aof"]);
    assert_eq!(manifest.generation(), 2);
    manifest.seal(&[(0x31, 8)], true);
    assert_eq!(Manifest::parse(&manifest.encode()).unwrap(), manifest);
    assert_eq!(manifest.drop_lines(|_| true).len(), 4);
    assert_eq!(manifest.next_seq(), 5);
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, text in "[ -~\n]{0,200}") {
        let _ = Manifest::parse(&bytes);
        let _ = Manifest::parse(text.as_bytes());
        let _ = Manifest::parse(format!("file {text} seq 1 type i rs 1\n").as_bytes());
    }

    #[test]
    fn names_come_back(name in "[^/\\\\\0]{1,40}") {
        let line = Line { file: name, seq: 3, kind: FileType::Incr, ours: None };
        let manifest = Manifest { lines: vec![line], ..Manifest::default() };
        prop_assert_eq!(Manifest::parse(&manifest.encode()).unwrap(), manifest);
    }

    #[test]
    fn one_flipped_bit_never_passes_unseen(at: prop::sample::Index, bit in 0..8u8) {
        let mut bytes = every_kind().encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Manifest::parse(&bytes).is_err());
    }
}
