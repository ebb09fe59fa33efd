//! The manifest parser: never panics, and what it accepts says the same after it has been written
//! again.
//!
//! Our pairs carry a checksum that a fuzzer would not guess; the corpus has whole lines of ours, so
//! it gets at what stands behind them by leaving those as they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringstone::persist::aof::manifest::{FileType, Line, Manifest};

/// The lines by kind, as they are written; their order within a kind is what counts.
fn by_kind(manifest: &Manifest) -> Vec<&Line> {
    let kinds = [FileType::Base, FileType::History, FileType::Incr];
    kinds.iter().flat_map(|k| manifest.lines.iter().filter(move |l| l.kind == *k)).collect()
}

fuzz_target!(|data: &[u8]| {
    let Ok(manifest) = Manifest::parse(data) else { return };
    let _ = (manifest.next_seq(), manifest.generation());
    if manifest.lines.is_empty() {
        return;
    }
    let again = Manifest::parse(&manifest.encode()).expect("what was written can be read");
    assert_eq!(by_kind(&again), by_kind(&manifest));
});
