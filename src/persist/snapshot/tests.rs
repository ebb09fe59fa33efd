//! The writer of snapshots: what stands in its file, and what is left of one that is given up.

use std::sync::mpsc::channel;

use super::*;

fn target(dir: &Path) -> Target {
    let name = "dump.rdb".to_owned();
    Target {
        dir: dir.to_owned(),
        name,
        temp: temporary(),
        checksum: false,
        index: false,
        flush_each: true,
    }
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
    let len = write(&target(dir.path()), b"<", &chunks, &flow, &|| true).unwrap();
    let file = fs::read(dir.path().join("dump.rdb")).unwrap();
    assert_eq!(file, b"<a()bc\xFF\0\0\0\0\0\0\0\0");
    assert_eq!(len, file.len() as u64);
    assert!(flow.takes_keys(0) && flow.takes_piece());
    assert!(flow.keys.iter().chain([&flow.pieces]).all(|n| n.load(Ordering::Relaxed) == 0));
}

#[test]
fn a_long_file_is_flushed_on_the_way_where_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    for (flush_each, flushed) in [(true, FLUSH_EACH + 1), (false, 0)] {
        let flow = Flow::new(1);
        let file = DirVolume::open(dir.path()).unwrap().create("file").unwrap();
        let digest = Digest::new(CrcAlgorithm::Crc64Redis);
        let (index, within) = (None, None);
        let mut out = Out { file, digest, len: 0, flushed: 0, flush_each, index, within };
        out.put(&flow, &[0]).unwrap();
        assert_eq!(out.flushed, 0);
        out.put(&flow, &vec![0; FLUSH_EACH as usize]).unwrap();
        out.put(&flow, &[0]).unwrap();
        assert_eq!(out.flushed, flushed, "{flush_each}");
    }
}

#[test]
fn the_word_that_wakes_the_writer_of_a_failed_one_is_no_end() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("dump.rdb"), b"old").unwrap();
    for _ in 0..100 {
        let (send, chunks) = channel();
        let flow = Flow::new(1);
        std::thread::scope(|scope| {
            let (target, flow) = (target(dir.path()), &flow);
            let writes = scope.spawn(move || write(&target, b"<", &chunks, flow, &|| true));
            let chunk = keys(0, b"a");
            flow.sent(&chunk);
            send.send(chunk).unwrap();
            while flow.keys[0].load(Ordering::Acquire) > 0 {
                std::thread::yield_now();
            }
            // By now it waits for more, mostly.
            (0..20).for_each(|_| std::thread::yield_now());
            flow.failed.store(true, Ordering::Release);
            send.send(Chunk::Finish).unwrap();
            assert!(writes.join().unwrap().is_err());
        });
        assert_eq!(fs::read(dir.path().join("dump.rdb")).unwrap(), b"old");
    }
}

#[test]
fn one_that_may_not_end_leaves_the_old_file_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("dump.rdb"), b"old").unwrap();
    let (send, chunks) = channel();
    send.send(Chunk::Finish).unwrap();
    let flow = Flow::new(1);
    let asked = std::cell::Cell::new(0);
    let may_end = || {
        asked.set(asked.get() + 1);
        // All of it is there by now, under its other name.
        let temp = fs::read(dir.path().join(temporary())).unwrap();
        assert_eq!(temp, b"<\xFF\0\0\0\0\0\0\0\0");
        false
    };
    assert!(write(&target(dir.path()), b"<", &chunks, &flow, &may_end).is_err());
    assert_eq!((asked.get(), fs::read_dir(dir.path()).unwrap().count()), (1, 1));
    assert_eq!(fs::read(dir.path().join("dump.rdb")).unwrap(), b"old");
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
    assert!(write(&target(dir.path()), b"<", &chunks, &flow, &|| true).is_err());
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
    write(&target(dir.path()), b"<", &chunks, &flow, &|| true).unwrap();
    let kept = std::iter::from_fn(|| flow.buffer()).count();
    assert!((1..=2 * CHUNKS_MAX).contains(&kept), "{kept}");
}
