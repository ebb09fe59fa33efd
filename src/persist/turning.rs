//! The log directory of a log that begins while the server runs, when there may be an older log.
//!
//! A log that begins is one of new files, which no manifest names before the base beside them is
//! durable: [`super::rewrite::install`] then names all at once. Up to that rename the standing
//! manifest, if there is one, is in force, with what it names unchanged. So a start behind a crash
//! finds the older log, as in Redis, and what was acknowledged since is not there: nothing was
//! promised of it. (Taking the older log away first would be worse: a crash would leave nothing.)
//! Behind the rename a start finds the new base with the new files, and never a mixture: what the
//! older manifest named is history, which nobody loads.
//!
//! *Without an older log* the new files stand in a directory that has no manifest. That is what a
//! log looks like whose manifest was lost, and a start refuses it. So an empty file,
//! [`OPENING`], stands there, durably, before the first of them is made, and goes when the manifest
//! is durable or the last of them is gone: with it such files are leftovers, and removed. It stands
//! there as well while a rewrite without a log puts its base into such a directory ([`guard`]).

use std::io;

use crate::persist::aof::manifest::{FileType, Manifest, Ours, manifest_name, temp_manifest_name};
use crate::persist::disk::Volume;
use crate::persist::inspect::is_log_file;
use crate::persist::rewrite::{Installed, is_temp_base};

/// The file that says that a log is about to begin. Every start of the server removes it.
pub const OPENING: &str = "temp-rewriteaof-opening";
/// A file to see whether one can be made.
const TRIED: &str = "temp-rewriteaof-tried";

/// A directory in which a log can begin.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// The manifest in force; without lines when there is none.
    pub before: Manifest,
    /// The same as history, behind which a generation can begin.
    pub retired: Manifest,
    /// No position in those files is above this one.
    pub floor: u64,
}

/// The manifest in force; one without lines when there is none.
///
/// # Errors
/// What the disk says, or that it cannot be read.
pub fn read_manifest(volume: &dyn Volume, appendfilename: &str) -> io::Result<Manifest> {
    let name = manifest_name(appendfilename);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    match volume.read_all(&name) {
        Ok(bytes) => Manifest::parse(&bytes).map_err(|error| named(io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
        Err(error) => Err(named(error)),
    }
}

/// Sees whether a log could begin here. Leaves nothing behind.
///
/// # Errors
/// Why not.
pub fn check(volume: &dyn Volume, appendfilename: &str) -> io::Result<()> {
    let manifest = read_manifest(volume, appendfilename)?;
    refuse_orphans(volume, appendfilename, &manifest)?;
    let tried = volume.write_synced(TRIED, b"#");
    // One that was not made is not there.
    drop(volume.remove(TRIED));
    tried
}

/// Files of a log whose manifest is missing may be all that is left of somebody's data.
fn refuse_orphans(
    volume: &dyn Volume,
    appendfilename: &str,
    manifest: &Manifest,
) -> io::Result<()> {
    let names = volume.list()?;
    if !manifest.lines.is_empty() || names.iter().any(|name| name == OPENING) {
        return Ok(());
    }
    let Some(name) = orphan(volume, appendfilename, &names)? else { return Ok(()) };
    let manifest = manifest_name(appendfilename);
    let text = format!("{name}: a file of a log whose manifest {manifest} is missing");
    Err(io::Error::other(text))
}

/// A file of a log that holds something.
fn orphan<'n>(
    volume: &dyn Volume,
    appendfilename: &str,
    names: &'n [String],
) -> io::Result<Option<&'n String>> {
    for name in names.iter().filter(|name| is_log_file(name, appendfilename)) {
        if volume.len(name)? > 0 {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Whether nothing is there, for good, that needs the mark to be known as a leftover: a manifest is
/// in force, or no file of a log has stayed.
///
/// # Errors
/// What the disk says.
fn needs_no_mark(volume: &dyn Volume, appendfilename: &str) -> io::Result<bool> {
    volume.sync_dir()?;
    let manifest = read_manifest(volume, appendfilename)?;
    let names = volume.list()?;
    Ok(!manifest.lines.is_empty() || orphan(volume, appendfilename, &names)?.is_none())
}

/// Makes the directory ready: from here on what no manifest names is a leftover, and goes if the
/// manifest is `durable`. The caller has the right to change the manifest.
///
/// # Errors
/// What the disk says; that the directory holds what would be lost.
pub fn prepare(volume: &dyn Volume, appendfilename: &str, durable: bool) -> io::Result<Prepared> {
    let before = read_manifest(volume, appendfilename)?;
    refuse_orphans(volume, appendfilename, &before)?;
    volume.write_synced(OPENING, b"")?;
    volume.sync_dir()?;
    if durable {
        remove_strays(volume, appendfilename, &before)?;
    }
    let mut floor = 0;
    for line in &before.lines {
        if let Some(Ours::Shard(pairs)) = &line.ours {
            // Where no end is named, payload is part of the file.
            let upto = || volume.len(&line.file).map(|len| pairs.start.saturating_add(len));
            let end = pairs.end.map_or_else(upto, |(end, _)| Ok(end));
            floor = floor.max(end.unwrap_or(pairs.start));
        }
    }
    Ok(Prepared { retired: retire(&before), before, floor })
}

/// The lines of a log that has ended, as history; without those of files whose end nobody has
/// named.
fn retire(manifest: &Manifest) -> Manifest {
    let mut manifest = manifest.clone();
    manifest
        .drop_lines(|line| matches!(&line.ours, Some(Ours::Shard(pairs)) if pairs.end.is_none()));
    // A base stands behind what it had replaced (`super::rewrite`).
    if let Some(at) = manifest.lines.iter().position(|line| line.kind == FileType::Base) {
        let base = manifest.lines.remove(at);
        let behind = manifest.lines.iter().rposition(|line| line.kind == FileType::History);
        manifest.lines.insert(behind.map_or(0, |at| at + 1), base);
    }
    for line in &mut manifest.lines {
        line.kind = FileType::History;
        if let Some(Ours::Shard(pairs)) = &mut line.ours {
            pairs.clean = false;
        }
    }
    manifest
}

/// Puts a base in its place with `install` where there is no log, and perhaps no manifest: what it
/// has made when the process dies is a leftover then, as what a log that begins has.
///
/// # Errors
/// What `install` says, or the disk; that the directory holds what is left of somebody's data.
pub fn guard(
    volume: &dyn Volume,
    appendfilename: &str,
    manifest: &Manifest,
    install: impl FnOnce() -> io::Result<Installed>,
) -> io::Result<Installed> {
    if !manifest.lines.is_empty() {
        return install();
    }
    refuse_orphans(volume, appendfilename, manifest)?;
    volume.write_synced(OPENING, b"")?;
    volume.sync_dir()?;
    let installed = install();
    let is_over = match &installed {
        Ok(Installed::Done { durable, .. }) => durable.is_ok(),
        // What is left must be gone for good before the mark is, and may not go.
        Ok(Installed::Superseded) | Err(_) => {
            needs_no_mark(volume, appendfilename).unwrap_or(false)
        }
    };
    if is_over {
        // One that stays is removed at the next start.
        drop(volume.remove(OPENING));
    }
    installed
}

/// Removes what `manifest`, which is in force, does not name of this log, but for [`OPENING`].
fn remove_strays(volume: &dyn Volume, appendfilename: &str, manifest: &Manifest) -> io::Result<()> {
    let listed = |name: &str| manifest.lines.iter().any(|line| line.file == name);
    let temporary = |name: &str| is_temp_base(name) || name == temp_manifest_name(appendfilename);
    for name in volume.list()? {
        if is_log_file(&name, appendfilename) && !listed(&name)
            || temporary(&name) && name != OPENING
        {
            volume.remove(&name)?;
        }
    }
    Ok(())
}

/// The log has begun, or nothing has come of it; `manifest` is in force: removes the rest.
///
/// # Errors
/// What the disk says. What stays is removed at the next start.
pub fn settle(volume: &dyn Volume, appendfilename: &str, manifest: &Manifest) -> io::Result<()> {
    // Its name may not be durable yet, where a flush has failed: what goes may be what the one
    // before it names.
    volume.sync_dir()?;
    remove_strays(volume, appendfilename, manifest)?;
    // Without a manifest they must be gone for good before it is.
    volume.sync_dir()?;
    match volume.remove(OPENING) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::persist::aof::manifest::{Line, NewFile, PartKind};
    use crate::persist::durable;
    use crate::persist::testing::MemVolume;
    use crate::persist::volume::DirVolume;

    const NAME: &str = "appendonly.aof";

    fn fresh() -> (tempfile::TempDir, DirVolume) {
        let temp = tempfile::tempdir().unwrap();
        let volume = DirVolume::create(&temp.path().join("log")).unwrap();
        (temp, volume)
    }

    fn write(volume: &DirVolume, manifest: &Manifest) {
        let (temp, name) = (temp_manifest_name(NAME), manifest_name(NAME));
        durable::replace(volume, &temp, &name, &manifest.encode()).unwrap();
    }

    /// The manifest in force has got its name, and not for good: whenever the power goes out, the
    /// one that is there names what is there.
    #[test]
    fn nothing_goes_that_a_manifest_may_name() {
        let name = manifest_name(NAME);
        let of = |file: &str, seq| {
            let line = Line { file: file.to_owned(), seq, kind: FileType::Base, ours: None };
            let mut manifest = Manifest::default();
            manifest.lines.push(line);
            manifest
        };
        let (old, new) = (of("appendonly.aof.1.base.rdb", 1), of("appendonly.aof.2.base.rdb", 2));
        for left in 0..8 {
            for seed in 0..20 {
                let volume = MemVolume::default();
                volume.put(&old.lines[0].file, b"old");
                volume.put(&new.lines[0].file, b"new");
                volume.put(&name, &old.encode());
                volume.put("new", &new.encode());
                volume.rename("new", &name).unwrap();
                volume.stop_after(left);
                let done = settle(&volume, NAME, &new).is_ok();
                let behind = volume.power_cut(&mut Random::new(seed));
                let found = Manifest::parse(&behind.read_all(&name).unwrap()).unwrap();
                assert!(behind.len(&found.lines[0].file).is_ok(), "{left} changes, {found:?}");
                assert!(!done || found == new);
            }
        }
    }

    /// A base, a sealed generation and one that is not, of two shards.
    fn old(volume: &DirVolume, sealed: bool) -> Manifest {
        let mut manifest = Manifest::default();
        let (file, kind) = (format!("{NAME}.1.base.rdb"), FileType::Base);
        manifest.lines.push(Line { file, seq: 1, kind, ours: None });
        let file = |start| NewFile { seed: 5, start, stream: 0 };
        manifest.begin_generation(NAME, &[file(10), file(20)], 1, "boot");
        manifest.seal(&[(400, 1), (30, 2)], false);
        manifest.add_part(NAME, PartKind::Cut, b"*1\r\n$8\r\nFLUSHALL\r\n");
        manifest.begin_generation(NAME, &[file(401), file(31)], 2, "boot");
        if sealed {
            manifest.seal(&[(500, 3), (31, 4)], true);
        }
        for line in &manifest.lines {
            volume.write_synced(&line.file, &[b'#'; 300]).unwrap();
        }
        write(volume, &manifest);
        manifest
    }

    #[test]
    fn an_older_log_becomes_history_and_stays_in_force() {
        for sealed in [true, false] {
            let (_temp, volume) = fresh();
            let manifest = old(&volume, sealed);
            volume.write_synced(&format!("{NAME}.9.s00.incr.aof"), b"stray").unwrap();
            volume.write_synced("temp-rewriteaof-bg-7.aof", b"stray").unwrap();
            volume.write_synced("mine", b"stays").unwrap();
            check(&volume, NAME).unwrap();
            let prepared = prepare(&volume, NAME, true).unwrap();
            assert_eq!(prepared.before, manifest);
            // Without an end, positions may go as far as the file does.
            assert_eq!(prepared.floor, if sealed { 500 } else { 701 });
            let mut names: Vec<String> = manifest.lines.iter().map(|l| l.file.clone()).collect();
            names.extend([manifest_name(NAME), OPENING.to_owned(), "mine".to_owned()]);
            names.sort_unstable();
            assert_eq!(volume.list().unwrap(), names);
            let mut retired = prepared.retired;
            assert!(retired.lines.iter().all(|line| line.kind == FileType::History));
            assert_eq!(retired.lines.len(), if sealed { 6 } else { 4 });
            assert_eq!(retired.lines[0].file, manifest.lines[0].file);
            // A generation can begin behind them, and the whole is a manifest.
            let next = retired.next_seq();
            assert_eq!(next, manifest.next_seq());
            retired.begin_generation(
                NAME,
                &[NewFile { seed: 6, start: 701, stream: 0 }],
                3,
                "boot",
            );
            assert_eq!(Manifest::parse(&retired.encode()).unwrap().lines, retired.lines);
            // Listed: what is not in it goes, the mark at last.
            write(&volume, &retired);
            settle(&volume, NAME, &retired).unwrap();
            let left = volume.list().unwrap();
            assert!(left.contains(&"mine".to_owned()) && !left.contains(&OPENING.to_owned()));
            assert_eq!(left.len(), retired.lines.len() - 1 + 2);
        }
    }

    #[test]
    fn leftovers_are_told_from_what_a_lost_manifest_leaves() {
        let (_temp, volume) = fresh();
        let stray = format!("{NAME}.1.s00.incr.aof");
        volume.write_synced(&stray, b"*1\r\n").unwrap();
        for refused in [check(&volume, NAME), prepare(&volume, NAME, true).map(drop)] {
            let text = refused.unwrap_err().to_string();
            assert!(text.contains(&stray) && text.contains("is missing"), "{text}");
        }
        assert_eq!(volume.list().unwrap(), std::slice::from_ref(&stray));
        volume.write_synced(OPENING, b"").unwrap();
        check(&volume, NAME).unwrap();
        assert_eq!(prepare(&volume, NAME, true).unwrap().floor, 0);
        assert_eq!(volume.list().unwrap(), [OPENING]);
        settle(&volume, NAME, &Manifest::default()).unwrap();
        settle(&volume, NAME, &Manifest::default()).unwrap();
        assert_eq!(volume.list().unwrap(), [""; 0]);
    }

    #[test]
    fn a_base_without_a_log_is_a_leftover_until_its_manifest_is_there() {
        let (_temp, volume) = fresh();
        let base = format!("{NAME}.1.base.rdb");
        let none = Manifest::default();
        let done =
            |durable| Ok(Installed::Done { manifest: none.clone(), base: NAME.into(), durable });
        // It is marked while it is put into its place, and as long as that may be undone.
        let install = |durable| {
            let volume = &volume;
            volume.write_synced(&base, b"REDIS0011")?;
            assert!(volume.list()?.contains(&OPENING.to_owned()));
            done(durable)
        };
        guard(&volume, NAME, &none, || install(Err(io::Error::other("a flush fails")))).unwrap();
        assert_eq!(volume.list().unwrap(), [base.clone(), OPENING.to_owned()]);
        guard(&volume, NAME, &none, || install(Ok(()))).unwrap();
        assert_eq!(volume.list().unwrap(), std::slice::from_ref(&base));
        // What is left of somebody's data is not made a leftover.
        let refused = guard(&volume, NAME, &none, || unreachable!("it is refused"));
        assert!(refused.unwrap_err().to_string().contains("is missing"));
        volume.remove(&base).unwrap();
        guard(&volume, NAME, &none, || Err(io::Error::other("no room"))).unwrap_err();
        assert_eq!(volume.list().unwrap(), [""; 0]);
        // What could not be removed is one as well, here and at a start, and in nobody's way.
        let stays = || {
            volume.write_synced(&base, b"REDIS0011")?;
            Err(io::Error::other("no flush, and it stays"))
        };
        guard(&volume, NAME, &none, stays).unwrap_err();
        assert_eq!(volume.list().unwrap(), [base.clone(), OPENING.to_owned()]);
        check(&volume, NAME).unwrap();
        guard(&volume, NAME, &none, || install(Ok(()))).unwrap();
        assert_eq!(volume.list().unwrap(), [base]);
    }

    /// A base that nothing came of may be back when the power is: then its mark is there as well.
    #[test]
    fn a_mark_goes_behind_what_it_marks() {
        let (base, none) = (format!("{NAME}.1.base.rdb"), Manifest::default());
        let mut gone = 0;
        for seed in 0..40 {
            let volume = MemVolume::default();
            let install = || {
                volume.write_synced(&base, b"REDIS0011")?;
                volume.sync_dir()?;
                volume.remove(&base)?;
                Ok(Installed::Superseded)
            };
            guard(&volume, NAME, &none, install).unwrap();
            let behind = volume.power_cut(&mut Random::new(seed));
            check(&behind, NAME).unwrap();
            gone += u32::from(!behind.list().unwrap().contains(&OPENING.to_owned()));
        }
        assert!((1..40).contains(&gone), "the last change is durable or not: {gone}");
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_in_the_way() {
        let (_temp, volume) = fresh();
        volume.write_synced(&manifest_name(NAME), b"nonsense\n").unwrap();
        for refused in [check(&volume, NAME), prepare(&volume, NAME, true).map(drop)] {
            let text = refused.unwrap_err().to_string();
            assert!(text.contains("appendonly.aof.manifest: line 1"), "{text}");
        }
        assert_eq!(volume.list().unwrap().len(), 1);
    }
}
