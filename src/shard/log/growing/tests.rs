//! What is asked for beside the writes of a growing file, and when.

use super::*;
use crate::persist::disk::{DiskDone, GrowingSizes, Volume};
use crate::persist::sim::{SimDisk, SimMedium};
use crate::shard::log::{FsyncPolicy, LogFile, LogWriter, Outcome, SECOND_US};

/// A disk that remembers what it was asked for.
#[derive(Default)]
struct Asked(Vec<DiskOp>);

impl Disk for Asked {
    fn submit(&mut self, _token: u64, op: DiskOp) {
        self.0.push(op);
    }

    fn growing(&self) -> GrowingSizes {
        GrowingSizes { room_min: 8192, room_max: 65536, piece: 16384, margin: 4096 }
    }
}

const FILE: FileId = FileId(3);

/// What is asked for when the next frame begins at `offset` and so much is durable: its letter,
/// offset and length. It ends at once, well or not.
fn due(growing: &mut Growing, offset: u64, flushed: u64, well: bool) -> Vec<(char, u64, u64)> {
    let mut disk = Asked::default();
    growing.set_sends(true);
    growing.pump(&mut disk, FILE, offset, (offset, flushed));
    let mut twice = Asked::default();
    growing.pump(&mut twice, FILE, offset, (offset, flushed));
    assert!(twice.0.is_empty(), "one of a kind at a time");
    assert_eq!(growing.is_busy(), !disk.0.is_empty());
    let range = |op| {
        let (token, what) = match op {
            DiskOp::Reserve { offset, len, .. } => (token::RESERVE, ('r', offset, len)),
            DiskOp::WriteBack { offset, len, .. } => (token::SEND, ('w', offset, len)),
            DiskOp::Forget { offset, len, .. } => (token::FORGET, ('f', offset, len)),
            other => panic!("{other:?} is nothing of this"),
        };
        let refused = || Err(ErrorKind::StorageFull.into());
        let result = if well { Ok(None) } else { refused() };
        let lost = growing.done(token, &result).is_some();
        assert_eq!(lost, !well && token == token::SEND);
        what
    };
    disk.0.into_iter().map(range).collect()
}

#[test]
fn room_is_taken_as_the_file_grows_and_in_time() {
    let mut growing = Growing::default();
    assert_eq!(due(&mut growing, 10_000, 10_000, true), [], "not before it may");
    growing.set_wanted(true);
    assert_eq!(due(&mut growing, 8191, 8191, true), [], "a short file has no need of it");
    assert_eq!(due(&mut growing, 10_000, 10_000, true), [('r', 8192, 10_000)]);
    assert_eq!(due(&mut growing, 12_000, 12_000, true), [], "half of it is left");
    assert_eq!(due(&mut growing, 18_000, 18_000, true), [('r', 16_384, 18_000)]);
    let room = ('r', 196_608, 65_536);
    assert!(due(&mut growing, 200_000, 18_000, false).contains(&room), "passed room is no matter");
    let refused = due(&mut growing, 300_000, 18_000, true);
    assert!(refused.iter().all(|(kind, ..)| *kind != 'r'), "who refuses is not asked again");
    assert!(growing.next_file(262_143, 0), "some of it may be there");
    assert_eq!(due(&mut growing, 8192, 8192, true), [('r', 8192, 8192)], "but for the next file");
    assert!(!growing.next_file(16_384, 0));
}

#[test]
fn what_is_written_goes_on_its_way_but_for_the_last_of_it() {
    let mut growing = Growing::default();
    assert_eq!(due(&mut growing, 20_479, 0, true), []);
    assert_eq!(due(&mut growing, 20_480, 0, true), [('w', 0, 16_384)]);
    assert_eq!(due(&mut growing, 36_863, 0, false), []);
    assert_eq!(due(&mut growing, 60_000, 0, true), [('w', 16_384, 36_864)]);
    // A flush has overtaken it.
    assert_eq!(due(&mut growing, 120_000, 104_000, true)[0], ('f', 0, 16_384));
    assert_eq!(due(&mut growing, 130_000, 104_000, true)[0], ('w', 102_400, 20_480));
}

#[test]
fn what_is_durable_is_forgotten_piece_by_piece() {
    let mut growing = Growing::default();
    assert_eq!(due(&mut growing, 20_479, 20_479, true), []);
    assert_eq!(due(&mut growing, 60_000, 60_000, true), [('f', 0, 16_384)]);
    assert_eq!(due(&mut growing, 60_000, 60_000, false), [('f', 0, 32_768)]);
    for n in 3..200 {
        let to = n * 16_384;
        let from = (to - 16_384_u64).saturating_sub(FOLIO_MAX);
        assert_eq!(due(&mut growing, 9_000_000, 9_000_000, true), [('f', from, to - from)]);
    }
}

/// One of two flushes might fail, and the other be heard of first, which knows nothing of it.
#[test]
fn no_flush_meets_what_goes_on_its_way() {
    let file = LogFile { id: FILE, seed: 7, sum: 7, offset: 0 };
    let mut log = LogWriter::new(FsyncPolicy::EverySec, file, 0, 0);
    let mut disk = Asked::default();
    let write = |log: &mut LogWriter, disk: &mut Asked, now_us| {
        log.gather(b"*1\r\n$4\r\nPING\r\n".repeat(2000));
        log.pump(disk, now_us);
        log.done(DiskDone { token: token::WRITE, ..no_data() }, now_us);
        log.pump(disk, now_us);
        let ops = std::mem::take(&mut disk.0).into_iter();
        ops.filter(|op| !matches!(op, DiskOp::Write { .. })).collect::<Vec<_>>()
    };
    let began = write(&mut log, &mut disk, 0);
    assert!(matches!(began[..], [DiskOp::WriteBack { .. }]), "{began:?}");
    assert!(write(&mut log, &mut disk, SECOND_US).is_empty(), "the flush waits for it");
    assert_eq!(log.next_due_us(), None, "and is begun when that is heard of");
    log.done(DiskDone { token: token::SEND, ..no_data() }, SECOND_US);
    let began = write(&mut log, &mut disk, SECOND_US + 1);
    assert!(matches!(began[..], [DiskOp::Sync { .. }]), "{began:?}");
    log.set_policy(FsyncPolicy::Always);
    assert!(log.is_syncing() && !log.has_frame_to_write());
    log.set_policy(FsyncPolicy::EverySec);
    log.done(DiskDone { token: token::SYNC, ..no_data() }, SECOND_US + 2);
    let began = write(&mut log, &mut disk, SECOND_US + 3);
    assert!(matches!(began[..], [DiskOp::WriteBack { .. }, DiskOp::Forget { .. }]), "{began:?}");
    // Under `always` a write is a flush as well.
    log.set_policy(FsyncPolicy::Always);
    log.gather(b"*1\r\n$4\r\nPING\r\n".to_vec());
    assert!(!log.has_frame_to_write());
    log.done(DiskDone { token: token::SEND, ..no_data() }, SECOND_US + 4);
    assert!(log.has_frame_to_write());
}

fn no_data() -> DiskDone {
    DiskDone { token: 0, result: Ok(None), data: Vec::new(), sync_failed: false }
}

#[test]
fn what_is_lost_on_its_way_breaks_the_log_as_a_flush_does() {
    let kinds = [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::Unsupported];
    for (kind, broken) in kinds.into_iter().zip([true, true, false]) {
        let file = LogFile { id: FILE, seed: 7, sum: 7, offset: 0 };
        let mut log = LogWriter::new(FsyncPolicy::EverySec, file, 0, 0);
        let mut disk = Asked::default();
        log.gather(b"*1\r\n$4\r\nPING\r\n".repeat(2000));
        log.pump(&mut disk, 0);
        assert_eq!(disk.0.len(), 1, "nothing is sent before it is written");
        log.done(DiskDone { token: token::WRITE, result: Ok(None), ..no_data() }, 0);
        log.pump(&mut disk, 0);
        let sent = |op: &DiskOp| matches!(op, DiskOp::WriteBack { .. });
        assert_eq!(disk.0.iter().filter(|op| sent(op)).count(), 1);
        let result = Err(kind.into());
        let done = DiskDone { token: token::SEND, result, ..no_data() };
        assert_eq!(matches!(log.done(done, 0), Outcome::Broken(_)), broken, "{kind}");
        assert_eq!(log.is_broken(), broken);
    }
}

/// Begins what is due and runs what is under way to its end.
fn settle(log: &mut LogWriter, disk: &mut SimDisk, medium: &SimMedium, at: u64) {
    for _ in 0..3 {
        log.pump(disk, at);
        medium.settle();
        for done in disk.take_done() {
            assert_eq!(log.done(done, at), Outcome::Quiet);
        }
    }
}

#[test]
fn a_file_that_ends_gives_its_room_back() {
    let medium = SimMedium::new(1);
    let mut disk = medium.disk();
    disk.submit(1, DiskOp::Create { path: "f".into() });
    medium.settle();
    let id = disk.take_done()[0].result.as_ref().unwrap().expect("a file");
    let file = LogFile { id, seed: 7, sum: 7, offset: 0 };
    let mut log = LogWriter::new(FsyncPolicy::EverySec, file, 0, 0);
    log.set_reserving(true);
    for second in 1..=20 {
        log.gather(b"*1\r\n$4\r\nPING\r\n".repeat(100));
        settle(&mut log, &mut disk, &medium, second * SECOND_US);
    }
    assert!(medium.room_behind("f").unwrap() > 0 && log.is_drained());
    let len = medium.len("f").unwrap();
    assert_eq!((len, log.is_clean()), (log.tight(), true));
    // Under `always` nothing of this is begun, and what is there is written into.
    log.set_policy(FsyncPolicy::Always);
    log.gather(b"*1\r\n$4\r\nPING\r\n".repeat(100));
    settle(&mut log, &mut disk, &medium, 30 * SECOND_US);
    assert!(log.durable() == log.appended() && medium.room_behind("f").unwrap() > 0);
    log.close(&mut disk);
    medium.settle();
    assert_eq!(medium.room_behind("f").unwrap(), 0);
}
