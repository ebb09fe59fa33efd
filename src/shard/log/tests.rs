//! The log writer over a disk that only remembers.

use super::*;

/// A disk that only remembers what it was asked for: tokens, and what writes are to flush.
#[derive(Default)]
struct Asked(Vec<(u64, Flush)>);

impl Disk for Asked {
    fn submit(&mut self, token: u64, op: DiskOp) {
        let flush = if let DiskOp::Write { flush, .. } = op { flush } else { Flush::No };
        self.0.push((token, flush));
    }
}

fn done(token: u64) -> DiskDone {
    DiskDone { token, result: Ok(None), data: Vec::new(), sync_failed: false }
}

fn write(log: &mut LogWriter, disk: &mut Asked, now_us: u64) -> u64 {
    log.gather(b"*1\r\n$4\r\nPING\r\n".to_vec());
    log.pump(disk, now_us);
    assert_eq!(log.done(done(token::WRITE), now_us), Outcome::Quiet);
    log.advance(u64::MAX);
    log.gathered()
}

#[test]
fn a_slow_flush_lets_two_seconds_be_acknowledged_and_no_more() {
    let file = LogFile { id: FileId(1), seed: 7, sum: 7, offset: 0 };
    let mut log = LogWriter::new(FsyncPolicy::EverySec, file, 0, 0);
    let mut disk = Asked::default();
    let covered = write(&mut log, &mut disk, 0);
    assert_eq!(log.release(), covered);
    log.pump(&mut disk, SECOND_US);
    assert!(log.is_syncing());
    let first = write(&mut log, &mut disk, SECOND_US + 1);
    let last = write(&mut log, &mut disk, EXPOSED_MAX_US - 1);
    assert_eq!(log.release(), last, "less than two seconds behind the oldest");
    let late = write(&mut log, &mut disk, EXPOSED_MAX_US);
    assert_eq!(log.release(), last);
    // The flush ends and leaves the later ones out, the oldest of which is a second old.
    assert_eq!(log.done(done(token::SYNC), EXPOSED_MAX_US + 1), Outcome::Quiet);
    log.advance(u64::MAX);
    assert_eq!((log.durable(), log.release()), (covered, late));
    let held = write(&mut log, &mut disk, SECOND_US + 1 + EXPOSED_MAX_US);
    assert!(log.release() == late && first < late && held > late);
    assert!(log.is_syncing(), "the next flush began as soon as it could");
    assert_eq!(log.done(done(token::SYNC), 4 * SECOND_US), Outcome::Quiet);
    log.advance(u64::MAX);
    assert_eq!(log.release(), held);
}

/// Of `commits` over filler, how many were flushed behind their writes, when a write that flushes
/// itself takes `own_us`.
fn flushed_behind(log: &mut LogWriter, commits: usize, own_us: u64, now_us: &mut u64) -> usize {
    let (mut disk, mut behind, mut left) = (Asked::default(), 0, commits);
    while left > 0 {
        if !log.has_backlog() && log.is_drained() {
            log.gather(b"*1\r\n$4\r\nPING\r\n".to_vec());
        }
        log.pump(&mut disk, *now_us);
        for (token, flush) in std::mem::take(&mut disk.0) {
            let direct = (token == token::DIRECT).then_some(FileId(2));
            if token::kind(token) == token::WRITE {
                left = left.saturating_sub(1);
                behind += usize::from(flush == Flush::File);
                *now_us += if flush == Flush::Own { own_us } else { 70 };
            }
            let done = DiskDone { result: Ok(direct), ..done(token) };
            assert_eq!(log.done(done, *now_us), Outcome::Quiet);
        }
        log.advance(u64::MAX);
    }
    assert!(log.is_clean() && log.release() == log.gathered());
    behind
}

#[test]
fn a_core_that_others_keep_busy_is_gone_around() {
    let file = LogFile { id: FileId(1), seed: 7, sum: 7, offset: 0 };
    let mut log = LogWriter::new(FsyncPolicy::Always, file, 0, 0);
    log.set_segment(true);
    let mut now_us = 0;
    assert!(flushed_behind(&mut log, 200, 65, &mut now_us) < 10);
    assert!(flushed_behind(&mut log, 200, 4_000, &mut now_us) > 190);
}

#[test]
fn the_stream_follows_the_release_point() {
    let file = LogFile { id: FileId(1), seed: 7, sum: 7, offset: 0 };
    let mut log = LogWriter::new(FsyncPolicy::Always, file, 100, 0).counting_from(1000);
    let mut disk = Asked::default();
    assert_eq!(log.stream_released(), 1000);
    // A mark and two commands, of which one stands in front of it.
    log.gather(b"*1\r\n$4\r\nPING\r\n#M 5 3\r\n*1\r\n$4\r\nPING\r\n".to_vec());
    log.note_behind(0, 1028);
    log.marked(5, 114, 1014);
    log.pump(&mut disk, 0);
    assert_eq!(log.stream_released(), 1000, "nothing is durable");
    assert_eq!(log.done(done(token::WRITE), 0), Outcome::Quiet);
    assert!(log.advance(4));
    assert_eq!((log.release(), log.stream_released()), (114, 1014), "the mark is in the way");
    assert!(log.advance(5));
    assert_eq!((log.release(), log.stream_released()), (136, 1028));
    // Behind a cut the count goes on, with what the cut itself has taken.
    log.begin_cut(1050);
    log.gather(b"*1\r\n$4\r\nPING\r\n".to_vec());
    log.note_behind(0, 1064);
    assert_eq!(log.ending(0).stream, 1028);
    assert!(log.hold(&mut disk, 0) && log.is_drained());
    log.resume(LogFile { id: FileId(2), seed: 9, sum: 9, offset: 0 }, 137);
    log.advance(u64::MAX);
    assert_eq!(log.stream_released(), 1050);
    log.pump(&mut disk, 0);
    assert_eq!(log.done(done(token::WRITE), 0), Outcome::Quiet);
    log.advance(u64::MAX);
    assert_eq!((log.stream_released(), log.ending(0).stream), (1064, 1064));
}

/// What a log that fails has to give for what is not released: its payload, or nothing.
#[test]
fn what_is_not_released_is_kept_as_far_as_it_is_looked_at() {
    const ONE: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    let file = LogFile { id: FileId(1), seed: 7, sum: 7, offset: 0 };
    let mut log = LogWriter::new(FsyncPolicy::Always, file, 0, 0);
    let mut disk = Kept::default();
    let held = |log: &LogWriter| Some(log.unreleased()?.concat());
    assert_eq!(held(&log), Some(Vec::new()));
    // An entry that has not settled: what is behind its mark is durable, and not released.
    log.marked(5, 0, 0);
    for _ in 0..2 {
        log.gather(ONE.to_vec());
        log.pump(&mut disk, 1);
        assert_eq!(held(&log), None, "the disk has it");
        disk.complete(&mut log);
        log.advance(4);
    }
    assert!(log.durable() == log.gathered() && log.release() == 0);
    log.gather(ONE.to_vec());
    assert_eq!(held(&log), Some(ONE.repeat(3)));
    log.advance(5);
    assert_eq!(held(&log), Some(ONE.to_vec()), "released, and gathered");
    log.pump(&mut disk, 1);
    disk.complete(&mut log);
    log.advance(5);
    log.marked(6, log.gathered(), 0);
    for _ in 0..3 {
        log.gather(vec![b'x'; 2 << 20]);
        log.pump(&mut disk, 1);
        disk.complete(&mut log);
        log.advance(5);
    }
    assert_eq!(held(&log), None, "too much is durable for all of it to be kept");
    log.advance(6);
    assert_eq!(held(&log), Some(Vec::new()));
}

/// A log of which a flush has failed has all that is not durable, before and behind its collection.
#[test]
fn what_a_broken_log_has_is_looked_at() {
    let file = LogFile { id: FileId(1), seed: 7, sum: 7, offset: 0 };
    let mut log = LogWriter::new(FsyncPolicy::Always, file, 0, 0);
    let mut disk = Kept::default();
    let one = |key: char| format!("*2\r\n$4\r\nINCR\r\n$1\r\n{key}\r\n").into_bytes();
    let held = |log: &LogWriter| Some(log.unreleased()?.concat());
    log.marked(5, 0, 0);
    log.gather(one('a'));
    log.pump(&mut disk, 1);
    disk.complete(&mut log);
    log.advance(4);
    assert!(log.durable() == log.gathered() && log.release() == 0);
    log.gather(one('b'));
    log.pump(&mut disk, 1);
    let (write, lost) = (disk.0.remove(0), || std::io::Error::from(std::io::ErrorKind::Other));
    assert_eq!(held(&log), None, "the disk has it");
    let write = DiskDone { result: Err(lost()), sync_failed: true, ..write };
    assert!(matches!(log.done(write, 1), Outcome::Broken(_)));
    log.gather(one('c'));
    let all = [one('a'), one('b'), one('c')].concat();
    for _ in 0..2 {
        assert_eq!(held(&log), Some(all.clone()));
        // A cut that comes to nothing.
        log.begin_cut(0);
        assert_eq!(held(&log), None, "what comes behind it stands elsewhere");
        assert!(log.hold(&mut disk, 1));
        log.go_back();
    }
    log.advance(5);
    assert_eq!(held(&log), Some([one('b'), one('c')].concat()), "a is released");
    log.gather(one('d'));
    assert_eq!(held(&log), Some([one('b'), one('c'), one('d')].concat()));
}

/// A disk that gives back what it was to write.
#[derive(Default)]
struct Kept(Vec<DiskDone>);

impl Disk for Kept {
    fn submit(&mut self, token: u64, op: DiskOp) {
        let data = if let DiskOp::Write { data, .. } = op { data } else { Vec::new() };
        self.0.push(DiskDone { data, ..done(token) });
    }
}

impl Kept {
    fn complete(&mut self, log: &mut LogWriter) {
        for done in self.0.drain(..) {
            assert_eq!(log.done(done, 1), Outcome::Quiet);
        }
    }
}
