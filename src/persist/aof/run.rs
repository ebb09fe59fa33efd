//! Commands that stand one behind the other: read in one go, so that whoever replays them can ask
//! for the memory that all of them need before the first is executed.

use std::ops::Range;

use crate::persist::aof::resp::{is_named, usual_command};

/// Commands read in one go at most.
const RUN_MAX: usize = 64;

/// Where commands and their arguments stand, counted from the first byte of the first.
#[derive(Debug, Default)]
pub(super) struct Places {
    words: Vec<Range<usize>>,
    /// Where each command begins, and which words are its own.
    commands: Vec<(usize, Range<usize>)>,
}

impl Places {
    /// Finds the commands that `bytes` begin with, as far as each is whole, written as usual and
    /// none that [`steers`]; gives their length. None begins at `end` or behind it.
    pub(super) fn gather(&mut self, bytes: &[u8], end: u64) -> usize {
        self.words.clear();
        self.commands.clear();
        let mut at = 0;
        while self.commands.len() < RUN_MAX && (at as u64) < end {
            let first = self.words.len();
            let take = |word: Range<usize>| self.words.push(word.start + at..word.end + at);
            let len = usual_command(&bytes[at..], take);
            let Some(len) = len.filter(|_| !steers(bytes, &self.words[first..])) else {
                self.words.truncate(first);
                break;
            };
            self.commands.push((at, first..self.words.len()));
            at += len;
        }
        at
    }

    /// One command with these arguments.
    pub(super) fn one(&mut self, words: &[Range<usize>]) {
        self.words.clear();
        self.words.extend_from_slice(words);
        self.commands.clear();
        self.commands.push((0, 0..words.len()));
    }
}

/// Whether what stands behind a command is read otherwise because of it.
pub(super) fn steers(bytes: &[u8], args: &[Range<usize>]) -> bool {
    let Some(name) = args.first() else { return false };
    match name.len() {
        4 => is_named(bytes, args, b"EXEC"),
        5 => is_named(bytes, args, b"MULTI"),
        6 => is_named(bytes, args, b"SELECT"),
        _ => false,
    }
}

/// Commands that follow one another. SELECT, MULTI and EXEC stand alone.
#[derive(Debug)]
pub struct Run<'a> {
    /// Offset of the first in the file.
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
    pub(super) places: &'a Places,
}

impl<'a> Run<'a> {
    /// The arguments of all of them, names among them.
    pub fn words(&self) -> Vec<&'a [u8]> {
        self.places.words.iter().map(|word| &self.bytes[word.clone()]).collect()
    }

    /// Of each its offset in the file, and which of [`Run::words`] are its own, the name first.
    pub fn commands(&self) -> impl ExactSizeIterator<Item = (u64, Range<usize>)> {
        self.places.commands.iter().map(|(at, words)| (self.offset + *at as u64, words.clone()))
    }
}
