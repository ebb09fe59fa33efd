//! `ringstone restore --to TIME|POSITION [--dry-run] <source> <target>`: makes a log directory that
//! holds the data of an earlier moment, consistent over all shards.
//!
//! * `source` is a log directory (or a data directory with one) of a stopped server, or a copy. It
//!   is only read. One that a server is writing is refused.
//! * `target` must not exist. All of it is written under another name beside, cut there as a start
//!   cuts a log, flushed, and renamed when it is whole; so a `target` that is there can be loaded.
//!   It is put in the place of a server's `appenddirname`.
//! * `TIME` is a second of Unix time: what was executed up to its end. It takes the `#TS:` lines of
//!   `aof-timestamp-enabled`. `POSITION` is `shard:position`, with commas between several, as INFO
//!   tells in `aof_positions`: nothing behind any of them; shards that are not named go as far as
//!   the others let them.
//!
//! What is kept is the greatest consistent cut within that ([`crate::persist::restore`]). How far
//! back is possible is what `aof-history-retention` and `aof-disable-auto-gc` say.
//!
//! Exit status: 0 when the target is there (or could be), 1 otherwise.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::persist::aof::manifest::{Manifest, manifest_name};
use crate::persist::disk::Volume;
use crate::persist::durable::{LOCK_FILE, boot_identity};
use crate::persist::recovery::{Options, Plan, RecoveryError};
use crate::persist::restore::{Moment, View, bounded, chain, look, read_manifest};
use crate::persist::volume::DirVolume;
use crate::tools::check_aof::{Target, cut, find, shards_of};

/// How the tool is called.
pub const USAGE: &str = "Usage: ringstone restore --to <unix-seconds|shard:position[,...]> \
                         [--dry-run] <source directory> <new directory>";
/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

/// Runs the tool on the process' own streams; `args` are those behind `restore`.
pub fn main(args: &[OsString]) -> ExitCode {
    match run(args, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the tool; true when the target is there.
///
/// # Errors
/// What the disk says, or the output.
pub fn run(args: &[OsString], out: &mut dyn Write) -> io::Result<bool> {
    let (mut moment, mut dry_run, mut paths) = (None, false, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--to") => {
                moment = args.next().and_then(|text| Moment::parse(text.to_str()?));
                if moment.is_none() {
                    writeln!(out, "Invalid moment, aborting...")?;
                    return Ok(false);
                }
            }
            Some("--dry-run") => dry_run = true,
            Some(option) if option.starts_with("--") => {
                writeln!(out, "{USAGE}")?;
                return Ok(false);
            }
            _ => paths.push(PathBuf::from(arg)),
        }
    }
    let (Some(moment), [source, target]) = (moment, &paths[..]) else {
        writeln!(out, "{USAGE}")?;
        return Ok(false);
    };
    if fs::symlink_metadata(target).is_ok() {
        writeln!(out, "{} is there already: give a new directory", target.display())?;
        return Ok(false);
    }
    let Target::Log { dir, appendfilename } = find(source)? else {
        writeln!(out, "{} is no log directory", source.display())?;
        return Ok(false);
    };
    let _lock = match still(&dir)? {
        Some(lock) => lock,
        None => {
            let dir = dir.display();
            writeln!(out, "{dir} is being written by a server: stop it, or give a copy")?;
            return Ok(false);
        }
    };
    match restore(&dir, &appendfilename, &moment, (!dry_run).then_some(target), out) {
        Ok(()) => Ok(true),
        Err(RecoveryError::Io { file, error }) => {
            writeln!(out, "{file}: {error}")?;
            Ok(false)
        }
        Err(error) => {
            writeln!(out, "{error}")?;
            Ok(false)
        }
    }
}

/// Keeps a server from beginning to write a log directory while it is read; `None` when one does.
/// Makes no file.
fn still(dir: &Path) -> io::Result<Option<Option<File>>> {
    let home = dir.canonicalize()?;
    let home = home.parent().unwrap_or(Path::new("/"));
    let file = match File::open(home.join(LOCK_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(None)),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(Some(file))),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn failed(file: &Path) -> impl Fn(io::Error) -> RecoveryError {
    let file = file.display().to_string();
    move |error| RecoveryError::Io { file: file.clone(), error }
}

fn restore(
    dir: &Path,
    appendfilename: &str,
    moment: &Moment,
    target: Option<&PathBuf>,
    out: &mut dyn Write,
) -> Result<(), RecoveryError> {
    let volume = DirVolume::open(dir).map_err(failed(dir))?;
    let manifest = read_manifest(&volume, appendfilename)?;
    let chain = chain(&volume, appendfilename, &manifest).map_err(failed(dir))?;
    let bytes = chain.encode();
    let boot_id = boot_identity(dir).map_err(failed(dir))?;
    let options = Options::plain(appendfilename, "", shards_of(&bytes), &boot_id, &volume);
    let options = bounded(options, moment);
    let view = View { volume: &volume, name: manifest_name(appendfilename), manifest: bytes };
    let plan = look(&view, &chain, &options)?;
    let told = describe(&plan, out);
    told.map_err(|error| RecoveryError::Io { file: "the output".to_owned(), error })?;
    let Some(target) = target else { return Ok(()) };
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".restoring-{}", std::process::id()));
    let aside = target.with_file_name(name);
    let made = make(&view, &chain, &options, &aside).and_then(|()| {
        fs::rename(&aside, target).map_err(failed(target))?;
        let parent = target.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed(parent))
    });
    if made.is_err() {
        // What is left says by its name what it is.
        drop(fs::remove_dir_all(&aside));
    }
    made
}

fn describe(plan: &Plan<'_>, out: &mut dyn Write) -> io::Result<()> {
    for file in &plan.checked {
        writeln!(out, "{} {}: {} of {} bytes", file.role, file.file, file.ok_up_to, file.size)?;
    }
    for line in &plan.report {
        writeln!(out, "{line}")?;
    }
    if !plan.late {
        writeln!(out, "The log holds nothing behind that moment: all of it is kept.")?;
    }
    Ok(())
}

/// Copies the files of a chain into a new directory, and cuts them there.
fn make(
    view: &View<'_>,
    chain: &Manifest,
    options: &Options<'_>,
    aside: &Path,
) -> Result<(), RecoveryError> {
    fs::create_dir(aside).map_err(failed(aside))?;
    let volume = DirVolume::open(aside).map_err(failed(aside))?;
    for line in &chain.lines {
        copy(view.volume, &line.file, &aside.join(&line.file))?;
    }
    volume.write_synced(&view.name, &view.manifest).map_err(failed(aside))?;
    let options = Options { data: &volume, ..*options };
    cut(
        look(
            &View { volume: &volume, name: view.name.clone(), manifest: view.manifest.clone() },
            chain,
            &options,
        )?,
        &volume,
    )?;
    for name in volume.list().map_err(failed(aside))? {
        if name.ends_with(".cut") {
            volume.remove(&name).map_err(failed(&aside.join(name)))?;
        }
    }
    volume.sync_dir().map_err(failed(aside))
}

fn copy(from: &dyn Volume, file: &str, to: &Path) -> Result<(), RecoveryError> {
    let here = |error| RecoveryError::Io { file: file.to_owned(), error };
    let mut out = File::create_new(to).map_err(failed(to))?;
    let (mut at, mut piece) = (0, vec![0; PIECE]);
    loop {
        match from.read_at(file, at, &mut piece).map_err(here)? {
            0 => break,
            len => {
                out.write_all(&piece[..len]).map_err(failed(to))?;
                at += len as u64;
            }
        }
    }
    out.sync_all().map_err(failed(to))
}
