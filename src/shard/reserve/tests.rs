//! The reserve over a medium that is full, and shards whose disks refuse what it is for.

use std::sync::Arc;

use rustix::io::Errno;

use super::*;
use crate::persist::disk::{DiskDone, DiskOp, FileId, Flush};
use crate::persist::sim::SimMedium;
use crate::shard::bounds_tests::{Bench, SHARDS};

const NAME: &str = "appendonly.aof.reserve";
const BYTES: u64 = 4096;

/// Shards over disks that refuse some operations while the reserve takes up the last room.
struct Trial {
    bench: Bench,
    medium: SimMedium,
    created: u32,
    /// What has no room but that of the reserve.
    refused: Option<fn(&DiskOp) -> bool>,
}

impl Trial {
    fn new() -> Trial {
        let size = BYTES.to_string();
        let config = [("appendfsync", "always"), ("aof-reserve-size", &size[..])];
        let bench = Bench::new(4, &config);
        let medium = SimMedium::new(1);
        bench.shards[0].global.keep_reserve(Arc::new(medium.clone()));
        let trial = Trial { bench, medium, created: 100, refused: None };
        assert_eq!(trial.kept(), Some(BYTES));
        trial
    }

    fn global(&self) -> &Arc<Global> {
        &self.bench.shards[0].global
    }

    /// Bytes of the reserve.
    fn kept(&self) -> Option<u64> {
        let kept = self.medium.len(NAME).ok();
        let told = self.global().registry.reserve.load(Ordering::Relaxed);
        assert_eq!(told, kept.unwrap_or(0), "INFO tells what is there");
        kept
    }

    /// Nothing more has room but in the place of the reserve, which has itself and so much more.
    fn fill(&mut self, refused: fn(&DiskOp) -> bool, more: u64) {
        self.refused = Some(refused);
        self.medium.set_capacity(Some((BYTES + more) as usize));
    }

    fn empty(&mut self) {
        self.refused = None;
        self.medium.set_capacity(None);
    }

    fn disk(&mut self, shard: usize) {
        while let Some((token, op)) = self.bench.disks[shard].waiting.pop_front() {
            let full = self.medium.len(NAME).is_ok() && self.refused.is_some_and(|of| of(&op));
            let result = match &op {
                _ if full => Err(Errno::NOSPC.into()),
                DiskOp::Create { .. } => {
                    self.created += 1;
                    Ok(Some(FileId(self.created)))
                }
                DiskOp::Direct { .. } => Err(Errno::INVAL.into()),
                _ => Ok(None),
            };
            let data = match op {
                DiskOp::Write { data, .. } => data,
                _ => Vec::new(),
            };
            let done = DiskDone { token, result, data, sync_failed: false };
            self.bench.shards[shard].disk_done(done, &mut self.bench.disks[shard]);
        }
    }

    /// A second of turns.
    fn goes_on(&mut self) {
        for _ in 0..1000 / SHARDS {
            for shard in 0..SHARDS {
                self.bench.turn(shard, &[], true);
                self.bench.shards[shard].housekeep();
                self.disk(shard);
            }
        }
    }

    fn send(&mut self, client: usize, line: &str) {
        self.bench.told[client].clear();
        self.bench.turn(0, &[(client, format!("{line}\r\n").as_bytes())], true);
    }

    fn told(&self, client: usize) -> String {
        String::from_utf8_lossy(&self.bench.told[client]).into_owned()
    }

    /// A write is refused, in Redis' words.
    fn is_refused(&mut self, client: usize) {
        self.send(client, "SET k2 refused");
        let said = "-MISCONF Errors writing to the AOF file: No space left on device\r\n";
        assert_eq!(self.told(client), said);
    }

    fn is_taken(&mut self, client: usize) {
        self.send(client, "SET k2 taken");
        self.goes_on();
        assert_eq!(self.told(client), "+OK\r\n");
    }
}

fn is_write(op: &DiskOp) -> bool {
    matches!(op, DiskOp::Write { .. })
}

fn is_creation(op: &DiskOp) -> bool {
    matches!(op, DiskOp::Create { .. })
}

/// `k2` lives on the first of two shards.
#[test]
fn what_is_under_way_gets_its_room_and_nothing_else_does() {
    let mut trial = Trial::new();
    trial.fill(is_write, 0);
    trial.send(0, "SET k2 under-way");
    trial.send(1, "SET k2 queued");
    trial.disk(0);
    assert_eq!(trial.kept(), None, "given up");
    trial.is_refused(2);
    assert_eq!(trial.told(0), "", "not written yet");
    trial.goes_on();
    assert_eq!((trial.told(0), trial.told(1)), ("+OK\r\n".to_owned(), "+OK\r\n".to_owned()));
    // The log works, and yet nothing is begun: there is room for it, and not for as much again.
    trial.medium.set_capacity(Some(2 * BYTES as usize - 1));
    trial.goes_on();
    assert_eq!(trial.kept(), None);
    assert_eq!(trial.medium.list().unwrap(), [""; 0], "nothing of a reserve that has no room");
    trial.is_refused(2);
    trial.send(3, "GET k2");
    trial.goes_on();
    assert_eq!(trial.told(3), "$6\r\nqueued\r\n");
    trial.empty();
    trial.goes_on();
    assert_eq!(trial.kept(), Some(BYTES));
    trial.is_taken(2);
}

#[test]
fn it_does_not_come_back_while_a_log_fails() {
    let mut trial = Trial::new();
    trial.fill(is_write, 0);
    trial.send(0, "SET k2 under-way");
    trial.disk(0);
    // Another one is refused whatever is given up.
    trial.global().log_failing(1, Some("No space left on device".to_owned()));
    trial.medium.set_capacity(None);
    trial.goes_on();
    assert_eq!((trial.told(0), trial.kept()), ("+OK\r\n".to_owned(), None));
    trial.global().log_failing(1, None);
    trial.goes_on();
    assert_eq!(trial.kept(), Some(BYTES));
}

/// The manifest of a whole-keyspace command, which has been executed.
#[test]
fn a_cut_gets_its_room() {
    for refused in [is_write as fn(&DiskOp) -> bool, is_creation] {
        let mut trial = Trial::new();
        trial.is_taken(0);
        trial.fill(refused, 0);
        trial.send(0, "FLUSHALL");
        trial.goes_on();
        assert_eq!((trial.told(0), trial.kept()), ("+OK\r\n".to_owned(), None));
        trial.is_refused(1);
        trial.empty();
        trial.goes_on();
        trial.is_taken(1);
    }
}

/// A flush has failed, and the other file that the log goes on in has no room.
#[test]
fn the_mending_of_a_log_gets_its_room() {
    let mut trial = Trial::new();
    trial.fill(is_creation, 0);
    trial.send(0, "SET k2 in-vain");
    let (token, op) = trial.bench.disks[0].waiting.pop_front().unwrap();
    let DiskOp::Write { data, flush, .. } = op else { panic!("{op:?}") };
    assert_ne!(flush, Flush::No);
    let done = DiskDone { token, result: Err(Errno::IO.into()), data, sync_failed: true };
    trial.bench.shards[0].disk_done(done, &mut trial.bench.disks[0]);
    trial.goes_on();
    assert_eq!((trial.told(0), trial.kept()), ("+OK\r\n".to_owned(), None));
    assert!(!trial.bench.shards[0].log.as_ref().unwrap().is_broken());
    trial.empty();
    trial.goes_on();
    trial.is_taken(1);
}

#[test]
fn it_is_as_long_as_is_asked_and_goes_with_the_log() {
    let mut trial = Trial::new();
    for (size, kept) in [("9000", Some(9000)), ("0", None), ("100", Some(100))] {
        trial.send(0, &format!("CONFIG SET aof-reserve-size {size}"));
        trial.goes_on();
        assert_eq!((trial.told(0), trial.kept()), ("+OK\r\n".to_owned(), kept));
    }
    trial.global().end_reserve();
    trial.goes_on();
    assert_eq!(trial.kept(), None);
    // One that has no room is done without.
    trial.medium.set_capacity(Some(150));
    let medium = trial.medium.clone();
    trial.global().keep_reserve(Arc::new(medium));
    assert_eq!((trial.kept(), trial.global().reserve.is_out()), (None, false));
    trial.is_taken(1);
    trial.medium.set_capacity(None);
    trial.goes_on();
    assert_eq!(trial.kept(), Some(100));
}
