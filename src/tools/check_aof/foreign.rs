//! Files of other servers, for the tool: RDB read to its end, and logs cut back to a second as
//! `redis-check-aof --truncate-to-timestamp` does, in its words.
//!
//! That tool cuts the file listed last, in front of the first `#TS:` line that is later; it gives
//! up where an earlier file has such a line, or where nothing would be left of the file.

use std::io;

use crate::persist::aof::format::parse_time;
use crate::persist::aof::manifest::{FileType, Line, Manifest};
use crate::persist::aof::resp::{Item, Manner, Window, next_item};
use crate::persist::disk::Volume;
use crate::persist::rdb::format::{MAGIC, MAGIC_VALKEY};
use crate::persist::rdb::{
    Head, Loaded, Modules, Options, Piece, Problem, RdbError, Visitor, visit,
};
use crate::persist::volume::DirVolume;
use crate::tools::check_aof::Tool;

/// Sees every key and keeps none.
struct Count;

impl Visitor for Count {
    fn wants(&mut self, _: &Head) -> bool {
        true
    }

    fn piece(&mut self, _: &Head, _: Piece<'_>) -> Result<(), Problem> {
        Ok(())
    }

    fn end(&mut self, _: &Head, _: u64, _: u64) -> Result<(), Problem> {
        Ok(())
    }
}

/// Reads an RDB to its end and checks all that loading would check.
pub fn read_rdb(volume: &DirVolume, file: &str) -> Result<Loaded, RdbError> {
    let options = Options::all([1, 2], Modules::Skip);
    visit(volume, file, &options, &mut Count)
}

/// Where an RDB at a file's beginning ends; 0 when there is none.
pub(super) fn rdb_end(volume: &DirVolume, file: &str) -> Result<u64, RdbError> {
    let mut magic = [0; MAGIC_VALKEY.len()];
    // Whoever reads on tells of an error.
    let got = volume.read_at(file, 0, &mut magic).unwrap_or(0);
    if magic[..got].starts_with(MAGIC) || &magic[..got] == MAGIC_VALKEY {
        return Ok(read_rdb(volume, file)?.end);
    }
    Ok(0)
}

/// The base and the incrs of a manifest that Redis wrote; `None` when a line of it is ours.
pub fn lines(manifest: &[u8]) -> Option<Vec<Line>> {
    let manifest = Manifest::parse(manifest).ok()?;
    if manifest.lines.iter().any(|line| line.ours.is_some()) {
        return None;
    }
    let of = |kind| manifest.lines.iter().filter(move |line| line.kind == kind).cloned();
    Some(of(FileType::Base).chain(of(FileType::Incr)).collect())
}

/// Cuts a file, from offset `from` on, in front of the first second later than `until`: what was
/// done, or why nothing was.
pub fn truncate(
    volume: &DirVolume,
    file: &str,
    from: u64,
    until: i64,
    last: bool,
) -> io::Result<Result<String, String>> {
    let mut window = match Window::open(volume, file, from) {
        Ok(window) => window,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let (mut args, len) = (Vec::new(), window.len());
    let cut = loop {
        match next_item(&mut window, len, Manner::Strict, &mut args) {
            Ok(None) => break None,
            Ok(Some(Item::Command { len })) => window.skip(len as u64),
            Ok(Some(Item::Note { len })) => {
                let line = window.peek(len).map(|bytes| parse_time(&bytes[..len]));
                match line {
                    Ok(Some(second)) if second > until => break Some(window.offset()),
                    Ok(_) => window.skip(len as u64),
                    Err(error) => return Ok(Err(error.to_string())),
                }
            }
            Err(error) => return Ok(Err(error.to_string())),
        }
    };
    let Some(cut) = cut else {
        return Ok(Ok(format!("Truncate nothing in AOF {file} to timestamp {until}")));
    };
    if cut == 0 {
        return Ok(Err(format!("AOF {file} has nothing before timestamp {until}, aborting...")));
    }
    if !last {
        return Ok(Err(format!(
            "Failed to truncate AOF {file} to timestamp {until} to offset {cut} because it is not \
             the last file.\nIf you insist, please delete all files after this file according to \
             the manifest file and delete the corresponding records in manifest file manually. \
             Then re-run ringstone check-aof."
        )));
    }
    volume.truncate(file, cut)?;
    Ok(Ok(format!("Successfully truncated AOF {file} to timestamp {until}")))
}

impl Tool<'_> {
    /// Cuts a log of Redis' back to a second.
    pub(super) fn truncate_foreign(
        &mut self,
        volume: &DirVolume,
        lines: &[Line],
        until: i64,
    ) -> io::Result<bool> {
        for (i, line) in lines.iter().enumerate() {
            let file = &line.file;
            let from = match rdb_end(volume, file) {
                Ok(from) => from,
                Err(error) => return self.say(false, &error.to_string()),
            };
            match truncate(volume, file, from, until, i + 1 == lines.len())? {
                Ok(said) => self.say(true, &said)?,
                Err(said) => return self.say(false, &said),
            };
        }
        self.say(true, "All AOF files and manifest are valid")
    }
}
