//! The writer of snapshots on the simulated disk: cut at every operation, and with every operation
//! failing, it leaves the old file or the new one, whole.

use std::sync::mpsc::channel;

use rustix::io::Errno;

use super::*;
use crate::base::random::Random;
use crate::persist::disk::Volume;
use crate::persist::sim::{Fault, Names, On, SimMedium};

const NAME: &str = "dump.rdb";
/// Crashes tried at each cut.
const SEEDS: u64 = 48;

fn target() -> Target {
    Target {
        dir: PathBuf::new(),
        name: NAME.to_owned(),
        temp: temporary(),
        checksum: true,
        index: true,
        flush_each: true,
    }
}

/// Saves file number `n`, of keys of two shards and a value in pieces.
fn save(disk: &dyn Sheets, n: u8) -> io::Result<u64> {
    let (send, chunks) = channel();
    let flow = Flow::new(2);
    let keys = |shard, bytes| Chunk::Keys { shard, home: shard, bytes };
    let bytes = |len: usize| (0..len).map(|i| n.wrapping_add((i / 100) as u8)).collect();
    for chunk in [
        keys(0, bytes(5_000)),
        Chunk::Piece { home: 1, bytes: bytes(3_000), last: false },
        keys(1, bytes(700)),
        Chunk::Piece { home: 1, bytes: bytes(6_100), last: true },
        keys(0, bytes(9_000 + usize::from(n) * 1_000)),
        Chunk::Finish,
    ] {
        flow.sent(&chunk);
        send.send(chunk).unwrap();
    }
    let saved = write_on(disk, &target(), &[n; 40], &chunks, &flow, &|| true);
    assert_eq!(saved.is_err(), flow.failed.load(Ordering::Relaxed), "the shards hear of it");
    saved
}

/// File number `n`, as it is without any fault.
fn whole(n: u8) -> Vec<u8> {
    let medium = SimMedium::new(0);
    save(&medium, n).unwrap();
    medium.read_all(NAME).unwrap()
}

/// A medium that holds file number 1 for good.
fn with_old() -> SimMedium {
    let medium = SimMedium::new(0);
    save(&medium, 1).unwrap();
    assert_eq!(medium.unsynced(), (0, 0));
    medium
}

/// How often the old file was there behind a crash, and how often the new one.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    old: u64,
    new: u64,
}

/// Cuts a save at every effect, in many ways; `disk` is what the writer sees of the medium. Says
/// what is wrong behind one of them.
fn cut_everywhere(disk: impl Fn(&SimMedium) -> Box<dyn Sheets>) -> Result<Tally, String> {
    let (base, old, new) = (with_old(), whole(1), whole(2));
    let mut tally = Tally::default();
    loop {
        let (cut, mut over) = (tally.cuts, false);
        for seed in 0..SEEDS {
            let medium = base.duplicate(seed);
            medium.set_names(if seed % 2 == 0 { Names::Prefix } else { Names::Subset });
            medium.set_short_writes(seed % 3);
            medium.die_after(cut);
            let saved = save(&*disk(&medium), 2);
            over = !medium.is_dead();
            if seed % 8 == 7 {
                medium.crash_process();
            } else {
                medium.crash_power(&mut Random::new(seed * 1000 + cut));
            }
            let found = medium.read_all(NAME).map_err(|e| format!("cut {cut}, {seed}: {e}"))?;
            match (found == old, found == new) {
                (true, _) if saved.is_ok() => {
                    return Err(format!("cut {cut}, {seed}: saved, lost"));
                }
                (true, _) => tally.old += 1,
                (_, true) => tally.new += 1,
                _ => return Err(format!("cut {cut}, {seed}: {} bytes of neither", found.len())),
            }
            // Whatever is left does not stand in the next one's way.
            save(&medium, 3).map_err(|error| format!("cut {cut}, {seed}: the next: {error}"))?;
            medium.crash_power(&mut Random::new(seed));
            let next = medium.read_all(NAME).map_err(|error| error.to_string())?;
            if next != whole(3) {
                return Err(format!("cut {cut}, {seed}: the next is not whole"));
            }
        }
        tally.cuts += 1;
        if over {
            return Ok(tally);
        }
    }
}

#[test]
fn a_crash_at_any_moment_leaves_the_old_file_or_the_new() {
    let tally = cut_everywhere(|medium| Box::new(medium.clone())).unwrap();
    // A creation, eight writes, three flushes underway and one in the end, a rename, a directory.
    assert!(tally.cuts >= 14 && tally.old > 200 && tally.new > 60, "{tally:?}");
}

/// What a writer could do wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slip {
    FileNotFlushed,
    DirectoryNotFlushed,
    RenamedTooEarly,
}

/// A medium as a writer would use it that makes a slip.
struct Slipping(SimMedium, Slip);

struct SlippingSheet(Box<dyn Sheet>, SimMedium, Slip);

impl Sheet for SlippingSheet {
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.2 == Slip::FileNotFlushed {
            return Ok(());
        }
        self.0.flush()?;
        match self.2 {
            // By the second time it has got its name.
            Slip::RenamedTooEarly => self.1.rename(&temporary(), NAME).or(Ok(())),
            _ => Ok(()),
        }
    }
}

impl Sheets for Slipping {
    fn create(&self, path: &str) -> io::Result<Box<dyn Sheet>> {
        let sheet = self.0.create(path)?;
        Ok(Box::new(SlippingSheet(sheet, self.0.clone(), self.1)))
    }
}

impl Volume for Slipping {
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.1 == Slip::RenamedTooEarly { Ok(()) } else { self.0.rename(from, to) }
    }

    fn sync_dir(&self) -> io::Result<()> {
        if self.1 == Slip::DirectoryNotFlushed { Ok(()) } else { self.0.sync_dir() }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.0.len(path)
    }

    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(path, offset, buf)
    }

    fn write_synced(&self, path: &str, data: &[u8]) -> io::Result<()> {
        self.0.write_synced(path, data)
    }

    fn truncate(&self, path: &str, len: u64) -> io::Result<()> {
        self.0.truncate(path, len)
    }
}

#[test]
fn a_writer_that_slips_is_caught() {
    for (slip, how) in [
        (Slip::FileNotFlushed, "of neither"),
        (Slip::DirectoryNotFlushed, "saved, lost"),
        (Slip::RenamedTooEarly, "of neither"),
    ] {
        let found = cut_everywhere(|medium| Box::new(Slipping(medium.clone(), slip)));
        let why = found.err().unwrap_or_default();
        assert!(why.contains(how), "{how}: {why}");
    }
}

/// How a save went that could not be: its error, with the medium behind it.
fn refused(arm: impl Fn(&SimMedium)) -> Option<(io::Error, SimMedium)> {
    let medium = with_old();
    arm(&medium);
    let error = save(&medium, 2).err()?;
    assert_eq!(medium.list().unwrap(), [NAME], "the temporary file is gone");
    Some((error, medium))
}

#[test]
fn an_error_of_any_operation_leaves_the_old_file() {
    let (old, new) = (whole(1), whole(2));
    let mut struck = 0;
    for (on, what) in [
        (On::Create, "creating the file"),
        (On::Write, "writing the file"),
        (On::Sync, "flushing the file"),
        (On::Rename, "renaming the file"),
        (On::SyncDir, "flushing the directory of the file"),
    ] {
        for errno in [Errno::NOSPC, Errno::IO, Errno::ROFS, Errno::DQUOT] {
            for nth in 1.. {
                let fail = |medium: &SimMedium| medium.fail(on, nth, Fault::Error(errno));
                let Some((error, medium)) = refused(fail) else {
                    assert!(nth > 1, "{what}");
                    break;
                };
                struck += 1;
                let said = error.to_string();
                assert!(said.starts_with(what) && said.contains("os error"), "{said}");
                let found = medium.read_all(NAME).unwrap();
                // Once it has its name, it stands.
                assert_eq!(found, if on == On::SyncDir { &new } else { &old }[..], "{said}");
                medium.disarm();
                let again = medium.duplicate(nth);
                medium.crash_power(&mut Random::new(nth));
                let found = medium.read_all(NAME).unwrap();
                assert!(found == old || on == On::SyncDir && found == new, "{said}");
                save(&again, 3).unwrap();
                again.crash_power(&mut Random::new(nth));
                assert_eq!(again.read_all(NAME).unwrap(), whole(3));
            }
        }
    }
    assert!(struck >= 4 * 14, "{struck}");
}

#[test]
fn a_disk_that_fills_up_leaves_the_old_file() {
    let (old, new) = (whole(1), whole(2));
    for room in (0..new.len()).step_by(97).chain([new.len() - 1]) {
        let full = |medium: &SimMedium| medium.set_capacity(Some(old.len() + room));
        let (error, medium) = refused(full).expect("there is no room for it");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().starts_with("writing the file: No space left"), "{error}");
        assert_eq!(medium.read_all(NAME).unwrap(), old);
        medium.set_capacity(None);
        save(&medium, 2).unwrap();
        assert_eq!(medium.read_all(NAME).unwrap(), new);
    }
    assert!(refused(|medium| medium.set_capacity(Some(old.len() + new.len()))).is_none());
}
