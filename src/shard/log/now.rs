//! Frames that are written at once, on the shard's own thread, and their replies leave in the same
//! turn.
//!
//! Only where nothing is flushed behind them, and where nothing is in flight that a write might
//! have to wait for: a flush holds the file's last page while it waits for the disk, and that of
//! another shard's file the file system's journal; room is reserved under the file's lock. What
//! goes on its way to the medium by itself, or leaves the page cache, holds neither, or for
//! microseconds. Where a flush took long, or is overdue because something else is stuck, the disk
//! is busy, with whatever, and writes go through the ring, as they do where [`Disk::is_calm`]
//! denies and where they are long: who copies megabytes keeps everybody waiting.

use crate::persist::disk::{Disk, DiskDone, DiskOp};
use crate::shard::log::{FsyncPolicy, LogWriter, SECOND_US};
use crate::shard::segment::Place;

/// A flush that takes longer tells of a busy disk, in microseconds.
const BUSY_US: u64 = 100_000;
/// For how long it does, at least, in microseconds.
const BUSY_FOR_US: u64 = 2_000_000;
/// Longest payload written at once, in bytes.
pub const NOW_MAX: usize = 256 << 10;

impl LogWriter {
    /// Whether what is gathered next may be written at once.
    pub fn may_write_now(&self, now_us: u64) -> bool {
        let overdue = now_us > self.last_sync_us + SECOND_US + BUSY_US;
        let stuck = overdue && self.policy == FsyncPolicy::EverySec && self.durable < self.written;
        !self.flushes()
            && !stuck
            && self.backlog.len() <= NOW_MAX
            && !self.stopped
            && self.is_free()
            && self.in_flight.is_empty()
            && self.syncing.is_none()
            && now_us >= self.busy_until_us
            && !self.growing.is_reserving()
            && !self.ahead.is_busy()
            && self.place() == Place::Append
    }

    /// Writes what is gathered; gives the completion, and how long it took in microseconds. `None`:
    /// it would have had to wait, and has gone through the ring.
    pub fn write_now(&mut self, disk: &mut impl Disk, now_us: u64) -> Option<(DiskDone, u64)> {
        assert!(self.in_flight.is_empty() && self.has_frame_to_write());
        let (token, op) = self.next_frame(Place::Append, now_us);
        let DiskOp::Write { file, offset, ref data, .. } = op else { unreachable!("a frame") };
        let Some(made) = disk.write_now(file, offset, data, now_us) else {
            disk.submit(token, op);
            return None;
        };
        let DiskOp::Write { data, .. } = op else { unreachable!("a frame") };
        self.stats.at_once += u64::from(made.result.is_ok());
        let result = made.result.map(|()| None);
        Some((DiskDone { token, result, data, sync_failed: false }, made.took_us))
    }

    /// A flush has ended that was begun so long ago.
    pub(super) fn note_flush(&mut self, took_us: u64, now_us: u64) {
        let busy = took_us > BUSY_US;
        self.busy_until_us = if busy { now_us + BUSY_FOR_US } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::disk::{FileId, Made};
    use crate::shard::log::{LogFile, Outcome, token};

    /// A disk that takes writes at once, unless it is full.
    #[derive(Default)]
    struct Quick {
        asked: Vec<u64>,
        made: Vec<u8>,
        full: bool,
        frozen: bool,
    }

    impl Disk for Quick {
        fn submit(&mut self, token: u64, _op: DiskOp) {
            self.asked.push(token);
        }

        fn write_now(&mut self, _: FileId, offset: u64, data: &[u8], _: u64) -> Option<Made> {
            let result = match self.full {
                true => Err(std::io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            };
            if !self.full && !self.frozen {
                assert_eq!(offset, self.made.len() as u64);
                self.made.extend_from_slice(data);
            }
            (!self.frozen).then_some(Made { result, took_us: 7 })
        }
    }

    fn log(policy: FsyncPolicy) -> LogWriter {
        let file = LogFile { id: FileId(1), seed: 7, sum: 7, offset: 0 };
        LogWriter::new(policy, file, 0, 0)
    }

    /// Gathers a command and writes it at once.
    fn write(log: &mut LogWriter, disk: &mut Quick, now_us: u64) -> Outcome {
        log.gather(b"*1\r\n$4\r\nPING\r\n".to_vec());
        let (done, took_us) = log.write_now(disk, now_us).expect("it is written at once");
        assert_eq!(took_us, 7);
        log.done(done, now_us)
    }

    fn ended(log: &mut LogWriter, token: u64, now_us: u64) {
        let result = Ok(None);
        let done = DiskDone { token, result, data: Vec::new(), sync_failed: false };
        assert_eq!(log.done(done, now_us), Outcome::Quiet);
    }

    #[test]
    fn what_is_written_at_once_counts_at_once_and_is_flushed_later() {
        let (mut log, mut disk) = (log(FsyncPolicy::EverySec), Quick::default());
        for n in 1..=3 {
            assert_eq!(write(&mut log, &mut disk, n), Outcome::Quiet);
            log.advance(u64::MAX);
            assert_eq!((log.release(), log.durable()), (log.gathered(), 0));
            assert_eq!((log.stats().at_once, log.stats().frames), (n, n));
        }
        assert!(disk.asked.is_empty());
        log.pump(&mut disk, SECOND_US);
        assert_eq!(disk.asked, [token::SYNC]);
        ended(&mut log, token::SYNC, SECOND_US + 1);
        assert_eq!(log.durable(), log.gathered());
    }

    #[test]
    fn nothing_is_written_at_once_that_is_flushed_or_might_wait() {
        assert!(log(FsyncPolicy::No).may_write_now(1));
        assert!(!log(FsyncPolicy::Always).may_write_now(1));
        let (mut log, mut disk) = (log(FsyncPolicy::EverySec), Quick::default());
        write(&mut log, &mut disk, 1);
        assert!(log.may_write_now(SECOND_US + BUSY_US));
        assert!(!log.may_write_now(SECOND_US + BUSY_US + 1), "a flush is overdue");
        log.pump(&mut disk, SECOND_US);
        assert!(!log.may_write_now(SECOND_US), "a flush is in flight");
        let over = SECOND_US + BUSY_US + 1;
        ended(&mut log, token::SYNC, over);
        assert!(!log.may_write_now(over + BUSY_FOR_US - 1), "it took long");
        let mut now = over + BUSY_FOR_US;
        assert!(log.may_write_now(now));
        log.gather(b"*1\r\n$4\r\nPING\r\n".to_vec());
        log.pump(&mut disk, now);
        assert!(disk.asked.len() == 2 && !log.may_write_now(now), "a frame is in flight");
        ended(&mut log, token::WRITE, now);
        now += SECOND_US;
        log.pump(&mut disk, now);
        ended(&mut log, token::SYNC, now + BUSY_US);
        assert!(log.may_write_now(now + BUSY_US), "the disk is quick");
        log.gather(vec![b'x'; NOW_MAX + 1]);
        assert!(!log.may_write_now(now + BUSY_US), "it is long");
        log.pump(&mut disk, now + BUSY_US);
        ended(&mut log, token::WRITE, now + BUSY_US);
        assert!(log.hold(&mut disk, now + BUSY_US));
        assert!(!log.may_write_now(now + BUSY_US), "a cut is under way");
    }

    #[test]
    fn what_would_have_to_wait_goes_through_the_ring() {
        let (mut log, mut disk) = (log(FsyncPolicy::EverySec), Quick::default());
        disk.frozen = true;
        log.gather(b"*1\r\n$4\r\nPING\r\n".to_vec());
        assert!(log.write_now(&mut disk, 1).is_none());
        assert_eq!((&disk.asked[..], log.stats().at_once), (&[token::WRITE][..], 0));
        assert!(!log.may_write_now(1), "a frame is in flight");
        ended(&mut log, token::WRITE, 2);
        log.advance(u64::MAX);
        assert_eq!(log.release(), log.gathered());
        assert!(log.may_write_now(2));
    }

    #[test]
    fn what_could_not_be_written_at_once_is_tried_again_through_the_ring() {
        let (mut log, mut disk) = (log(FsyncPolicy::EverySec), Quick::default());
        disk.full = true;
        let outcome = write(&mut log, &mut disk, 1);
        assert!(matches!(outcome, Outcome::Failing(..)), "{outcome:?}");
        assert!(log.is_failing() && !log.may_write_now(2) && log.stats().at_once == 0);
        log.pump(&mut disk, SECOND_US / 2);
        assert_eq!(disk.asked, [token::WRITE]);
        let result = Ok(None);
        let done = DiskDone { token: token::WRITE, result, data: Vec::new(), sync_failed: false };
        assert_eq!(log.done(done, SECOND_US / 2), Outcome::Mended);
        assert!(log.may_write_now(SECOND_US / 2));
    }
}
