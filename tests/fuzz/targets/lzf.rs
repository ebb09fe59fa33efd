//! LZF: what is compressed becomes what it was, whole or in pieces, one text behind the other; and
//! noise is refused or becomes exactly what it claims.
//!
//! Input: one byte that says how long pieces are, then the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringstone::base::lzf::{Compressor, decompress};

fuzz_target!(|data: &[u8]| {
    let Some((&step, text)) = data.split_first() else { return };
    if let Ok(out) = decompress(text, u64::from(step) * 3) {
        assert_eq!(out.len(), usize::from(step) * 3);
    }
    if text.is_empty() {
        return;
    }
    let mut compressor = Compressor::default();
    let (front, back) = text.split_at(text.len() / 2);
    for text in [text, front, text, back] {
        let mut packed = Vec::new();
        let fits = compressor.compress(text, &mut packed, text.len().saturating_sub(4));
        assert!(packed.len() <= text.len().saturating_sub(4));
        if fits && !text.is_empty() {
            assert_eq!(decompress(&packed, text.len() as u64).as_deref(), Ok(text));
        }
    }
    let mut run = compressor.begin(text.len());
    let (mut packed, mut until) = (Vec::new(), 0);
    while until < text.len() {
        until = text.len().min(until + usize::from(step) + 1);
        compressor.advance(&mut run, text, until, &mut packed);
    }
    assert_eq!(decompress(&packed, text.len() as u64).as_deref(), Ok(text));
});
