use super::*;
use crate::persist::disk::{GrowingSizes, Volume};
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
        GrowingSizes { room_min: 8192, room_max: 65536, forgets: 16384, margin: 4096 }
    }
}

impl Asked {
    /// Offset and length of each of these, since it was asked last.
    fn ranges(&mut self) -> Vec<(char, u64, u64)> {
        let range = |op| match op {
            DiskOp::Reserve { offset, len, .. } => ('r', offset, len),
            DiskOp::Forget { offset, len, .. } => ('f', offset, len),
            other => panic!("{other:?} is nothing of this"),
        };
        std::mem::take(&mut self.0).into_iter().map(range).collect()
    }
}

const FILE: FileId = FileId(3);

#[test]
fn room_is_taken_as_the_file_grows_and_in_time() {
    let (mut disk, mut growing) = (Asked::default(), Growing::default());
    growing.pump(&mut disk, FILE, 10_000, 0);
    assert_eq!(disk.ranges(), [], "not before it may");
    growing.set_wanted(true);
    growing.pump(&mut disk, FILE, 8191, 0);
    assert_eq!(disk.ranges(), [], "a short file has no need of it");
    growing.pump(&mut disk, FILE, 10_000, 0);
    growing.pump(&mut disk, FILE, 18_000, 0);
    assert_eq!(disk.ranges(), [('r', 8192, 10_000)], "one at a time");
    growing.reserve_done(&Ok(None));
    growing.pump(&mut disk, FILE, 12_000, 0);
    assert_eq!(disk.ranges(), [], "half of it is left");
    growing.pump(&mut disk, FILE, 200_000, 0);
    assert_eq!(disk.ranges(), [('r', 196_608, 65_536)], "what has been passed is no matter");
    growing.reserve_done(&Err(std::io::ErrorKind::StorageFull.into()));
    growing.pump(&mut disk, FILE, 300_000, 0);
    assert_eq!(disk.ranges(), [], "a file system that refuses is not asked again");
    assert!(growing.next_file(262_143, 0), "some of it may be there");
    growing.pump(&mut disk, FILE, 8192, 0);
    assert_eq!(disk.ranges(), [('r', 8192, 8192)], "but for the next file");
    growing.reserve_done(&Ok(None));
    assert!(!growing.next_file(16_384, 0));
}

#[test]
fn what_is_durable_is_forgotten_but_for_the_last_of_it() {
    let (mut disk, mut growing) = (Asked::default(), Growing::default());
    growing.pump(&mut disk, FILE, 900_000, 20_479);
    assert_eq!(disk.ranges(), []);
    growing.pump(&mut disk, FILE, 900_000, 20_480);
    growing.pump(&mut disk, FILE, 900_000, 80_000);
    assert_eq!(disk.ranges(), [('f', 0, 16_384)]);
    assert!(growing.is_busy());
    growing.forget_done();
    growing.pump(&mut disk, FILE, 9_000_000, 8_000_000);
    growing.forget_done();
    growing.pump(&mut disk, FILE, 9_000_000, 8_100_000);
    growing.forget_done();
    let second = 7_995_392 - FOLIO_MAX;
    let there = [('f', 0, 7_995_392), ('f', second, 8_093_696 - second)];
    assert_eq!(disk.ranges(), there, "what a piece of memory may hold together is named again");
    assert!(!growing.is_busy() && !growing.next_file(9_000_000, 0));
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
