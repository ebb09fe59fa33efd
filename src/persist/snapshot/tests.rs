//! The writer of snapshots: what stands in its file, and what is left of one that is given up.

use std::sync::mpsc::channel;

use super::*;

fn target(dir: &Path) -> Target {
    let name = "dump.rdb".to_owned();
    Target { dir: dir.to_owned(), name, checksum: false, index: false }
}

fn keys(shard: usize, bytes: &[u8]) -> Chunk {
    Chunk::Keys { shard, home: shard, bytes: bytes.to_vec() }
}

#[test]
fn a_long_value_stands_in_one_piece() {
    let dir = tempfile::tempdir().unwrap();
    let (send, chunks) = channel();
    let flow = Flow::new(2);
    for chunk in [
        keys(0, b"a"),
        Chunk::Piece { home: 1, bytes: b"(".to_vec(), last: false },
        keys(1, b"b"),
        Chunk::Piece { home: 1, bytes: b")".to_vec(), last: true },
        keys(0, b"c"),
        Chunk::Finish,
    ] {
        flow.sent(&chunk);
        send.send(chunk).unwrap();
    }
    let len = write(&target(dir.path()), b"<", &chunks, &flow).unwrap();
    let file = fs::read(dir.path().join("dump.rdb")).unwrap();
    assert_eq!(file, b"<a()bc\xFF\0\0\0\0\0\0\0\0");
    assert_eq!(len, file.len() as u64);
    assert!(flow.takes_keys(0) && flow.takes_piece());
    assert!(flow.keys.iter().chain([&flow.pieces]).all(|n| n.load(Ordering::Relaxed) == 0));
}

#[test]
fn one_that_is_given_up_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("dump.rdb"), b"old").unwrap();
    fs::write(dir.path().join("temp-4294967295.rdb"), b"torn").unwrap();
    fs::write(dir.path().join("temp-1.rdb"), b"somebody writes").unwrap();
    fs::write(dir.path().join("temp-x.rdb"), b"not ours").unwrap();
    let (send, chunks) = channel();
    send.send(keys(0, b"a")).unwrap();
    drop(send);
    let flow = Flow::new(1);
    flow.keys[0].store(1, Ordering::Relaxed);
    assert!(write(&target(dir.path()), b"<", &chunks, &flow).is_err());
    assert!(flow.failed.load(Ordering::Relaxed));
    clean_up(dir.path()).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["dump.rdb", "temp-1.rdb", "temp-x.rdb"]);
    assert_eq!(fs::read(dir.path().join("dump.rdb")).unwrap(), b"old");
}

/// Large values that fit into a chunk come in buffers that nobody asks for again.
#[test]
fn not_all_buffers_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (send, chunks) = channel();
    let flow = Flow::new(2);
    for n in 0..1000 {
        send.send(keys(n % 2, &[b'x'; 100])).unwrap();
        flow.sent(&keys(n % 2, b""));
    }
    send.send(Chunk::Finish).unwrap();
    write(&target(dir.path()), b"<", &chunks, &flow).unwrap();
    let kept = std::iter::from_fn(|| flow.buffer()).count();
    assert!((1..=2 * CHUNKS_MAX).contains(&kept), "{kept}");
}
