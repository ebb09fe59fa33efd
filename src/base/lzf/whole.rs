//! Decompression of data that is at hand as a whole.

use crate::base::lzf::{LITERALS_MAX, LzfError};

/// What is written at once may reach so far behind the end, in bytes.
const ROOM: usize = LITERALS_MAX;
/// A back reference from at least so far back, in bytes, is copied in steps of so many.
const WIDE: usize = 16;
/// The same, from nearer.
const NARROW: usize = 4;

/// Decompresses `data` into `out`, whose bytes are replaced. It must become exactly `len` bytes, for
/// which `out` is made large enough.
pub(super) fn unpack(data: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), LzfError> {
    out.resize(len + ROOM, 0);
    let (mut at, mut to) = (0, 0);
    while let Some(&first) = data.get(at) {
        at += 1;
        if usize::from(first) < LITERALS_MAX {
            let count = usize::from(first) + 1;
            if count > len - to {
                return Err(LzfError::Damaged);
            }
            let rest = data.get(at..).unwrap_or_default();
            match rest.first_chunk::<LITERALS_MAX>() {
                // A copy of known length is much faster; what is too much is written over.
                Some(wide) => out[to..to + LITERALS_MAX].copy_from_slice(wide),
                None => {
                    let literals = rest.get(..count).ok_or(LzfError::Damaged)?;
                    out[to..to + count].copy_from_slice(literals);
                }
            }
            (at, to) = (at + count, to + count);
            continue;
        }
        let mut next = || {
            let byte = data.get(at).copied().map(usize::from);
            at += 1;
            byte.ok_or(LzfError::Damaged)
        };
        let short = usize::from(first >> 5);
        let length = 2 + if short == 7 { 7 + next()? } else { short };
        let distance = 1 + (usize::from(first & 31) << 8 | next()?);
        if distance > to || length > len - to {
            return Err(LzfError::Damaged);
        }
        copy_back(out, to, distance, length);
        to += length;
    }
    out.truncate(to);
    if to == len { Ok(()) } else { Err(LzfError::Damaged) }
}

/// Copies `length` bytes from `distance` in front of `to` there, and perhaps some more. They may
/// reach into what is written: no step reads what it writes itself.
#[inline]
fn copy_back(out: &mut [u8], to: usize, distance: usize, length: usize) {
    let from = to - distance;
    if distance >= WIDE {
        steps::<WIDE>(out, from, to, length);
    } else if distance >= NARROW {
        steps::<NARROW>(out, from, to, length);
    } else {
        (0..length).for_each(|n| out[to + n] = out[from + n]);
    }
}

#[inline]
fn steps<const N: usize>(out: &mut [u8], from: usize, to: usize, length: usize) {
    for done in (0..length).step_by(N) {
        let mut step = [0; N];
        step.copy_from_slice(&out[from + done..from + done + N]);
        out[to + done..to + done + N].copy_from_slice(&step);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As an independent implementation reads it.
    fn elsewhere(data: &[u8], len: usize) -> Option<Vec<u8>> {
        // It takes a text that ends early for whole.
        lzf::decompress(data, len).ok().filter(|text| text.len() == len)
    }

    /// Instructions, most of which fit what is there when their turn comes.
    fn instructions() -> impl Strategy<Value = Vec<u8>> {
        let literals = prop::collection::vec(any::<u8>(), 1..=32)
            .prop_map(|text| [&[text.len() as u8 - 1], &text[..]].concat());
        let near = (1_u8..7, 0_u8..40).prop_map(|(length, back)| vec![length << 5, back]);
        let long = (any::<u8>(), 0_u8..60).prop_map(|(length, back)| vec![7 << 5, length, back]);
        let any = prop::collection::vec(any::<u8>(), 1..3);
        let one = prop_oneof![6 => literals, 6 => near, 3 => long, 1 => any];
        prop::collection::vec(one, 1..30).prop_map(|all| all.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn it_reads_what_another_reads(data in instructions(), cut in 0_usize..3, more in 0_usize..3) {
            // The length that fits, if any, and others.
            let data = &data[..data.len() - cut.min(data.len())];
            let whole = lzf::decompress(data, 20_000).map_or(10, |text| text.len());
            let len = (whole + more).saturating_sub(1);
            let mut out = vec![7; 3];
            let found = unpack(data, len, &mut out).is_ok().then_some(out);
            prop_assert_eq!(found, if data.is_empty() { (len == 0).then(Vec::new) } else { elsewhere(data, len) });
        }
    }
}
