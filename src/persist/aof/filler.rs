//! Filler: lines that say nothing, where a log file is longer than what has been logged.
//!
//! ```text
//! filler = *line
//! line   = "#" *( SP / "#" ) LF        ; at most 1,023 bytes
//! ```
//!
//! A file that is written ahead of its frames (see `shard/segment.rs`) holds nothing but
//! filler until frames are written over it, and a frame that does not end with a block is followed
//! by filler up to the next. Stock Redis passes over `#` lines, where zeros would be fatal to it.
//!
//! Filler stands between frames or behind the last one, never inside. It has neither position nor
//! checksum: its bytes follow from its place, so that any that differ are seen. Lines end where
//! sectors do: whatever whole sectors of a write reach the medium, what is left of the filler under
//! it still is filler. A line that begins in a sector's last byte goes on to the end of the next,
//! and what was there before it reads as `##  …`: hence `#` within a line.

use crate::base::limits::ANNOTATION_MAX;
use crate::persist::aof::resp::{LogError, Window};

/// Bytes of a line, and of the smallest unit that a medium writes whole.
pub const LINE: u64 = 512;
/// Bytes in whose multiples a file written ahead is written: no block that holds durable bytes is
/// ever written again.
pub const BLOCK: u64 = 4096;

/// How much filler makes what ends at `offset` end with a block. One byte is no line: another block
/// follows then.
pub fn padding(offset: u64) -> u64 {
    match offset.next_multiple_of(BLOCK) - offset {
        1 => 1 + BLOCK,
        n => n,
    }
}

/// Appends the filler that fills a file from `offset` to `end`, a multiple of [`LINE`] at least two
/// bytes on.
pub fn fill(out: &mut Vec<u8>, offset: u64, end: u64) {
    if offset == end {
        return;
    }
    assert!(end.is_multiple_of(LINE) && end >= offset + 2);
    let mut at = offset;
    while at < end {
        let mut stop = (at + 1).next_multiple_of(LINE);
        if stop - at == 1 {
            stop += LINE;
        }
        out.push(b'#');
        out.resize(out.len() + (stop - at - 2) as usize, b' ');
        out.push(b'\n');
        at = stop;
    }
}

/// True for what filler consists of, and for the zeros of blocks that were never written.
pub fn is_blank(byte: u8) -> bool {
    matches!(byte, 0 | b'#' | b' ' | b'\n')
}

/// The length of the line of filler that `bytes` start with; `None` for anything else.
fn line(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'#') {
        return None;
    }
    let bytes = &bytes[..bytes.len().min(ANNOTATION_MAX)];
    let end = bytes.iter().position(|b| !matches!(b, b'#' | b' '))?;
    (bytes[end] == b'\n').then_some(end + 1)
}

/// Whether `bytes` begin like filler: a line of it, or what is left of one where the rest of the
/// file was never written.
pub(in crate::persist) fn begins(bytes: &[u8]) -> bool {
    let torn = |bytes: &[u8]| {
        let end = bytes.iter().position(|b| !matches!(b, b'#' | b' ')).unwrap_or(bytes.len());
        end >= 2 && bytes[0] == b'#' && bytes[end..].first().is_none_or(|b| *b == 0)
    };
    line(bytes).is_some() || torn(&bytes[..bytes.len().min(ANNOTATION_MAX)])
}

/// Moves a window over the filler it stands at.
pub(in crate::persist) fn pass(window: &mut Window<'_>) -> Result<(), LogError> {
    loop {
        let bytes = window.peek(ANNOTATION_MAX)?;
        let mut passed = 0;
        while let Some(len) = line(&bytes[passed..]) {
            passed += len;
        }
        if passed == 0 {
            return Ok(());
        }
        window.skip(passed as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::disk::Volume;
    use crate::persist::sim::SimMedium;
    use proptest::prelude::*;

    fn passed(data: &[u8]) -> u64 {
        let medium = SimMedium::new(1);
        medium.write_synced("f", data).unwrap();
        let mut window = Window::open(&medium, "f", 0).unwrap();
        pass(&mut window).unwrap();
        window.offset()
    }

    #[test]
    fn a_line_ends_with_its_sector() {
        let mut out = Vec::new();
        fill(&mut out, 1000, 2048);
        let lines: Vec<usize> = out.split_inclusive(|b| *b == b'\n').map(<[u8]>::len).collect();
        assert_eq!(lines, [24, 512, 512]);
        assert_eq!(out[..3], *b"#  ");
        assert_eq!((padding(4096), padding(4095), padding(4094)), (0, 4097, 2));
    }

    #[test]
    fn what_differs_is_no_filler() {
        assert_eq!(passed(b"#\n#  \n##  # \n*1\r\n"), 13);
        for other in [&b"# \r\n"[..], b"#M 1\r\n", b"#R1 0", b" \n", b"\n", b"#  "] {
            assert_eq!(passed(other), 0, "{other:?}");
        }
        let long = [b"#".repeat(ANNOTATION_MAX), b"\n".to_vec()].concat();
        assert_eq!(passed(&long), 0, "Redis reads no such line");
        assert_eq!(passed(&long[2..]), ANNOTATION_MAX as u64 - 1);
    }

    proptest! {
        #[test]
        fn filler_fills_and_is_passed(offset in 0..20_000u64, blocks in 0..300u64) {
            let end = offset + padding(offset) + blocks * BLOCK;
            let mut out = Vec::new();
            fill(&mut out, offset, end);
            prop_assert_eq!(out.len() as u64, end - offset);
            prop_assert!(out.split_inclusive(|b| *b == b'\n').all(|l| l.len() <= 513));
            prop_assert_eq!(passed(&out), end - offset);
            // Any sectors of it over an older filler are filler.
            let mut old = Vec::new();
            fill(&mut old, 0, end);
            let mut mixed = old.clone();
            for sector in (0..end).step_by(LINE as usize) {
                let (from, to) = (sector.max(offset), (sector + LINE).min(end));
                if from < to && (sector / LINE + offset).is_multiple_of(3) {
                    let (a, b) = (from - offset, to - offset);
                    let new = &out[a as usize..b as usize];
                    mixed[from as usize..to as usize].copy_from_slice(new);
                }
            }
            let begins = offset.next_multiple_of(LINE);
            if begins == offset || mixed[offset as usize] == b'#' {
                prop_assert_eq!(passed(&mixed[offset as usize..]), end - offset);
            }
        }
    }
}
