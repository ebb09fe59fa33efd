//! Disk operations in a temporary directory, and on `/dev/full` and a pipe for what goes wrong.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::{next, options, pattern};
use crate::persist::disk::{Disk, DiskDone, DiskOp, FileId, Flush, Volume};
use crate::persist::volume::DirVolume;
use crate::ring::{Event, Ring, Wait};

fn on(dir: &Path) -> Ring {
    let mut ring = Ring::new(&options()).unwrap();
    ring.open_dir(dir).unwrap();
    ring
}

fn done(ring: &mut Ring) -> DiskDone {
    match next(ring) {
        Event::Disk(done) => done,
        other => panic!("expected the end of a disk operation, got {other:?}"),
    }
}

fn run(ring: &mut Ring, op: DiskOp) -> DiskDone {
    ring.submit(77, op);
    let done = done(ring);
    assert_eq!(done.token, 77);
    done
}

fn create(ring: &mut Ring, path: &str) -> FileId {
    run(ring, DiskOp::Create { path: path.into() }).result.unwrap().expect("a file")
}

fn write(file: FileId, offset: u64, data: Vec<u8>, sync: bool) -> DiskOp {
    let flush = if sync { Flush::File } else { Flush::No };
    DiskOp::Write { file, offset, data, flush }
}

fn code(done: &DiskDone) -> Option<i32> {
    done.result.as_ref().unwrap_err().raw_os_error()
}

#[test]
fn a_file_goes_through_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let file = create(&mut ring, "a");
    for (n, sync) in [true, false, true].into_iter().enumerate() {
        let back = run(&mut ring, write(file, n as u64 * 1000, pattern(1000), sync));
        assert!(back.result.unwrap().is_none() && !back.sync_failed);
        assert_eq!(back.data, pattern(1000), "the buffer comes back");
    }
    assert!(run(&mut ring, DiskOp::Sync { file }).result.is_ok());
    run(&mut ring, DiskOp::Rename { from: "a".into(), to: "b".into() }).result.unwrap();
    run(&mut ring, DiskOp::SyncDir).result.unwrap();
    run(&mut ring, DiskOp::Close { file }).result.unwrap();
    assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), pattern(1000).repeat(3));
    assert!(!dir.path().join("a").exists());
    run(&mut ring, DiskOp::Remove { path: "b".into() }).result.unwrap();
    assert!(!dir.path().join("b").exists());
}

#[test]
fn many_synced_writes_in_flight_all_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let file = create(&mut ring, "log");
    // Three times the submission queue, with pairs that must not be parted at its end.
    for n in 0..200u64 {
        ring.submit(n, write(file, n * 100, vec![n as u8; 100], n % 3 != 0));
    }
    let mut seen = [false; 200];
    for _ in 0..200 {
        let done = done(&mut ring);
        done.result.unwrap();
        assert!(!std::mem::replace(&mut seen[done.token as usize], true));
    }
    let data = std::fs::read(dir.path().join("log")).unwrap();
    assert!(data.chunks(100).enumerate().all(|(n, part)| part == vec![n as u8; 100]));
}

#[test]
fn an_empty_write_is_done_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let file = create(&mut ring, "log");
    for sync in [false, true] {
        run(&mut ring, write(file, 0, Vec::new(), sync)).result.unwrap();
    }
}

#[test]
fn missing_and_existing_names_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    create(&mut ring, "there");
    let ops = [
        (DiskOp::Create { path: "there".into() }, libc::EEXIST),
        (DiskOp::Remove { path: "missing".into() }, libc::ENOENT),
        (DiskOp::Rename { from: "missing".into(), to: "x".into() }, libc::ENOENT),
        (DiskOp::Create { path: "missing/x".into() }, libc::ENOENT),
    ];
    for (op, expected) in ops {
        assert_eq!(code(&run(&mut ring, op)), Some(expected));
    }
    assert!(run(&mut ring, DiskOp::Create { path: "nul\0".into() }).result.is_err());
    let mut nowhere = Ring::new(&options()).unwrap();
    assert!(run(&mut nowhere, DiskOp::SyncDir).result.is_err());
    assert!(nowhere.open_dir(&dir.path().join("missing")).is_err());
}

#[test]
fn a_full_disk_is_reported_and_the_data_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let file = ring.adopt_file(OwnedFd::from(full));
    for sync in [false, true] {
        let back = run(&mut ring, write(file, 0, pattern(100), sync));
        assert_eq!(code(&back), Some(libc::ENOSPC));
        assert!(!back.sync_failed, "it was the write that failed");
        assert_eq!(back.data, pattern(100));
    }
}

#[test]
fn a_write_that_flushes_itself_is_tried_alone_when_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let own = |file, offset, data| DiskOp::Write { file, offset, data, flush: Flush::Own };
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let full = ring.adopt_file(OwnedFd::from(full));
    let back = run(&mut ring, own(full, 0, pattern(100)));
    assert_eq!(code(&back), Some(libc::ENOSPC));
    assert!(!back.sync_failed, "it was refused without a flush as well");
    assert_eq!(back.data, pattern(100));
    let file = create(&mut ring, "log");
    for n in 0..3 {
        assert!(run(&mut ring, own(file, n * 100, pattern(100))).result.is_ok());
    }
    assert_eq!(std::fs::read(dir.path().join("log")).unwrap(), pattern(100).repeat(3));
}

#[test]
fn a_failed_flush_is_told_from_a_failed_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    // What is written to /dev/null cannot be flushed.
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    let file = ring.adopt_file(OwnedFd::from(null));
    let back = run(&mut ring, write(file, 0, pattern(100), true));
    assert_eq!(code(&back), Some(libc::EINVAL));
    assert!(back.sync_failed);
    assert_eq!(back.data, pattern(100));
    assert!(!run(&mut ring, write(file, 0, pattern(100), false)).sync_failed);
}

/// A non-blocking pipe takes what fits: writes of more come back short, which cuts the link to
/// their flush, and go on from there.
#[test]
fn a_short_write_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    let room = rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let file = ring.adopt_file(writer);
    let data = pattern(room * 5);
    ring.submit(1, write(file, 0, data.clone(), true));
    let mut got = Vec::new();
    let mut end = None;
    let mut part = vec![0; room];
    while got.len() < data.len() {
        ring.enter(Wait::No).unwrap();
        if let Some(Event::Disk(done)) = ring.next_event() {
            end = Some(done);
        }
        if let Ok(n) = rustix::io::read(&reader, &mut part) {
            got.extend_from_slice(&part[..n]);
        }
    }
    assert!(got == data, "every byte once, in order");
    let end = end.unwrap_or_else(|| done(&mut ring));
    // The flush behind the last part was tried, and a pipe cannot be flushed.
    assert_eq!(code(&end), Some(libc::EINVAL));
    assert!(end.sync_failed);
    assert_eq!(end.data, data);
}

#[test]
fn a_close_waits_for_the_writes_before_it_and_the_id_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let file = create(&mut ring, "log");
    for n in 0..50u64 {
        ring.submit(n, write(file, n * 100_000, vec![n as u8; 100_000], true));
    }
    ring.submit(100, DiskOp::Close { file });
    ring.submit(101, write(file, 0, pattern(10), false));
    let refused = done(&mut ring);
    assert_eq!((refused.token, code(&refused)), (101, Some(libc::EBADF)));
    assert_eq!(refused.data, pattern(10), "refused, not lost");
    let mut order = Vec::new();
    while order.len() < 51 {
        let done = done(&mut ring);
        done.result.unwrap();
        order.push(done.token);
    }
    assert_eq!(order.last(), Some(&100), "the close comes last");
    let other = create(&mut ring, "other");
    assert_ne!(file, other, "an id is not given again soon");
    for op in [DiskOp::Sync { file }, DiskOp::Close { file }, write(file, 0, vec![1], true)] {
        assert_eq!(code(&run(&mut ring, op)), Some(libc::EBADF));
    }
    assert_eq!(std::fs::read(dir.path().join("other")).unwrap(), b"");
}

#[test]
fn disk_and_sockets_share_a_turn() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let file = create(&mut ring, "log");
    let (conn, mut peer) = super::unix_pair(&mut ring);
    std::io::Write::write_all(&mut peer, b"x").unwrap();
    ring.start_receive(conn);
    ring.submit(5, write(file, 0, pattern(10), true));
    ring.send(conn, b"y".to_vec(), Vec::new());
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        kinds.push(match next(&mut ring) {
            Event::Received { data, .. } => {
                ring.recycle(data);
                "received"
            }
            Event::Sent { result, .. } => {
                assert_eq!(result.unwrap(), 1);
                "sent"
            }
            Event::Disk(done) => {
                done.result.unwrap();
                "disk"
            }
            other => panic!("unexpected {other:?}"),
        });
    }
    kinds.sort_unstable();
    assert_eq!(kinds, ["disk", "received", "sent"]);
}

/// A file system may know nothing of this; then that is all that is said.
#[test]
fn room_behind_the_end_is_nobodys_and_goes_with_a_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let volume = DirVolume::open(dir.path()).unwrap();
    let file = create(&mut ring, "a");
    run(&mut ring, write(file, 0, pattern(5000), true)).result.unwrap();
    let reserved = run(&mut ring, DiskOp::Reserve { file, offset: 4096, len: 1 << 20 });
    match &reserved.result {
        Ok(_) => assert!(volume.room_behind("a").unwrap() > 900 << 10),
        Err(_) => assert_eq!(code(&reserved), Some(libc::EOPNOTSUPP)),
    }
    run(&mut ring, write(file, 5000, pattern(5000), true)).result.unwrap();
    run(&mut ring, DiskOp::Forget { file, offset: 0, len: 8192 }).result.unwrap();
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), pattern(5000).repeat(2));
    volume.truncate("a", 10_000).unwrap();
    assert_eq!(volume.room_behind("a").unwrap(), 0);
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), pattern(5000).repeat(2));
}

/// A file system may know no writes past the page cache; then that is all that is said.
#[test]
fn writes_past_the_page_cache_come_from_aligned_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let file = create(&mut ring, "a");
    run(&mut ring, write(file, 0, vec![b'.'; 1 << 16], true)).result.unwrap();
    let direct = match run(&mut ring, DiskOp::Direct { file }).result {
        Ok(direct) => direct.expect("a file"),
        Err(error) => return assert_eq!(error.raw_os_error(), Some(libc::EINVAL)),
    };
    // Buffers that begin anywhere, several at once, one larger than what is kept for the next.
    for (n, len) in [4096, 8192, 4096, 1 << 21].into_iter().enumerate() {
        let op = DiskOp::Write {
            file: direct,
            offset: n as u64 * 8192,
            data: pattern(len),
            flush: [Flush::Own, Flush::File][n % 2],
        };
        ring.submit(n as u64, op);
    }
    for _ in 0..4 {
        let done = done(&mut ring);
        assert!(done.result.is_ok(), "{done:?}");
    }
    let read = std::fs::read(dir.path().join("a")).unwrap();
    assert_eq!(read[..4096], pattern(4096));
    assert_eq!(read[4096..8192], [b'.'; 4096]);
    assert_eq!(read[8192..16384], pattern(8192));
    assert_eq!(read[24576..], pattern(1 << 21));
    let odd = DiskOp::Write { file: direct, offset: 100, data: pattern(100), flush: Flush::Own };
    let refused = run(&mut ring, odd);
    // Its bytes come back for another try.
    assert!(refused.result.is_ok() || refused.data == pattern(100), "{refused:?}");
    let cut = run(&mut ring, DiskOp::Truncate { file, len: 4096 });
    let len = std::fs::metadata(dir.path().join("a")).unwrap().len();
    assert_eq!(len == 4096, cut.result.is_ok(), "{cut:?}");
    for file in [direct, file] {
        run(&mut ring, DiskOp::Close { file }).result.unwrap();
    }
}

#[test]
fn a_write_made_at_once_is_there_when_it_returns() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = on(dir.path());
    let file = create(&mut ring, "a");
    let made = ring.write_now(file, 10, &pattern(5000), 1);
    if !ring.files.is_plain() {
        eprintln!("SKIPPED: what a file system that may wait for others is asked: {made:?}");
        return;
    }
    assert!(made.expect("it is not frozen").result.is_ok());
    let there = std::fs::read(dir.path().join("a")).unwrap();
    assert!(there[..10] == [0; 10] && there[10..] == pattern(5000));
    run(&mut ring, DiskOp::Close { file }).result.unwrap();
    let gone = ring.write_now(file, 0, b"x", 1).unwrap().result.unwrap_err();
    assert_eq!(gone.raw_os_error(), Some(libc::EBADF));
    let full = ring.adopt_file(std::fs::File::create("/dev/full").unwrap().into());
    if let Some(made) = ring.write_now(full, 0, b"x", 1) {
        assert_eq!(made.result.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    }
}
