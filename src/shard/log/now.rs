//! Frames that are written at once, on the shard's own thread, and their replies leave in the same
//! turn.
//!
//! Only where nothing is flushed behind them, and where nothing is in flight on the file that a
//! write might have to wait for: a flush holds the file's last page while it waits for the disk,
//! and room is reserved under the file's lock. What goes on its way to the medium by itself, or
//! leaves the page cache, holds neither. Where flushes take long the disk is busy, with whatever,
//! and writes go through the ring, as they do where [`Disk::is_calm`] denies.

use crate::persist::disk::{Disk, DiskDone, DiskOp};
use crate::shard::log::LogWriter;
use crate::shard::segment::Place;

/// A flush that takes longer tells of a busy disk, in microseconds.
const BUSY_US: u64 = 100_000;

impl LogWriter {
    /// Whether what is gathered next may be written at once.
    pub fn may_write_now(&self) -> bool {
        !self.flushes()
            && !self.stopped
            && self.is_free()
            && self.in_flight.is_empty()
            && self.syncing.is_none()
            && !self.busy
            && !self.growing.is_reserving()
            && !self.ahead.is_busy()
            && self.place() == Place::Append
    }

    /// Writes what is gathered; gives the completion, and how long it took in microseconds.
    pub fn write_now(&mut self, disk: &mut impl Disk, now_us: u64) -> (DiskDone, u64) {
        assert!(self.may_write_now() && self.has_backlog());
        let (token, op) = self.next_frame(Place::Append, now_us);
        let DiskOp::Write { file, offset, data, .. } = op else { unreachable!("a frame") };
        let made = disk.write_now(file, offset, &data, now_us);
        self.stats.at_once += u64::from(made.result.is_ok());
        let result = made.result.map(|()| None);
        (DiskDone { token, result, data, sync_failed: false }, made.took_us)
    }

    /// A flush has ended that was begun so long ago.
    pub(super) fn note_flush(&mut self, took_us: u64) {
        self.busy = took_us > BUSY_US;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::disk::{FileId, Made};
    use crate::shard::log::{FsyncPolicy, LogFile, Outcome, SECOND_US, token};

    /// A disk that takes writes at once, unless it is full.
    #[derive(Default)]
    struct Quick {
        asked: Vec<u64>,
        made: Vec<u8>,
        full: bool,
    }

    impl Disk for Quick {
        fn submit(&mut self, token: u64, _op: DiskOp) {
            self.asked.push(token);
        }

        fn write_now(&mut self, _file: FileId, offset: u64, data: &[u8], _now_us: u64) -> Made {
            if self.full {
                let result = Err(std::io::ErrorKind::StorageFull.into());
                return Made { result, took_us: 7 };
            }
            assert_eq!(offset, self.made.len() as u64);
            self.made.extend_from_slice(data);
            Made { result: Ok(()), took_us: 7 }
        }
    }

    fn log(policy: FsyncPolicy) -> LogWriter {
        let file = LogFile { id: FileId(1), seed: 7, sum: 7, offset: 0 };
        LogWriter::new(policy, file, 0, 0)
    }

    /// Gathers a command and writes it at once.
    fn write(log: &mut LogWriter, disk: &mut Quick, now_us: u64) -> Outcome {
        log.gather(b"*1\r\n$4\r\nPING\r\n".to_vec());
        let (done, took_us) = log.write_now(disk, now_us);
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
        assert!(log(FsyncPolicy::No).may_write_now());
        assert!(!log(FsyncPolicy::Always).may_write_now());
        let (mut log, mut disk) = (log(FsyncPolicy::EverySec), Quick::default());
        write(&mut log, &mut disk, 1);
        log.pump(&mut disk, SECOND_US);
        assert!(!log.may_write_now(), "a flush is in flight");
        ended(&mut log, token::SYNC, SECOND_US + BUSY_US + 1);
        assert!(!log.may_write_now(), "it took long");
        log.gather(b"*1\r\n$4\r\nPING\r\n".to_vec());
        log.pump(&mut disk, 2 * SECOND_US - 1);
        assert!(disk.asked.len() == 2 && !log.may_write_now(), "a frame is in flight");
        ended(&mut log, token::WRITE, 2 * SECOND_US - 1);
        log.pump(&mut disk, 2 * SECOND_US);
        ended(&mut log, token::SYNC, 2 * SECOND_US + BUSY_US);
        assert!(log.may_write_now(), "the disk is quick again");
        assert!(log.hold(&mut disk, 2 * SECOND_US + BUSY_US));
        assert!(!log.may_write_now(), "a cut is under way");
    }

    #[test]
    fn what_could_not_be_written_at_once_is_tried_again_through_the_ring() {
        let (mut log, mut disk) = (log(FsyncPolicy::EverySec), Quick::default());
        disk.full = true;
        let outcome = write(&mut log, &mut disk, 1);
        assert!(matches!(outcome, Outcome::Failing(..)), "{outcome:?}");
        assert!(log.is_failing() && !log.may_write_now() && log.stats().at_once == 0);
        log.pump(&mut disk, SECOND_US / 2);
        assert_eq!(disk.asked, [token::WRITE]);
        let result = Ok(None);
        let done = DiskDone { token: token::WRITE, result, data: Vec::new(), sync_failed: false };
        assert_eq!(log.done(done, SECOND_US / 2), Outcome::Mended);
        assert!(log.may_write_now());
    }
}
