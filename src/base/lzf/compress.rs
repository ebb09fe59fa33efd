//! Compression, with a table that serves for one text after the other.
//!
//! The table says where six bytes were seen last. Places are numbered through all texts that were
//! ever compressed, so a new text finds nothing of an old one and nothing has to be cleared; what
//! the table says is only a guess, and the bytes decide.
//!
//! Where nothing repeats the steps grow longer, so text that does not compress costs little; the
//! first repetition makes them short again.

use crate::base::lzf::LITERALS_MAX;

/// Farthest back reference, in bytes.
const DISTANCE_MAX: usize = 1 << 13;
/// Longest back reference, in bytes.
const LENGTH_MAX: usize = 264;
/// Shortest back reference that is made, in bytes. With 4, JSON becomes 4 % shorter and takes a
/// quarter more time; with 7, what consists of small values becomes 6 % longer (`perf/notes.md`).
const LENGTH_MIN: usize = 6;
/// What must be left of a text for a place to be looked up, in bytes.
const WORD: usize = 8;
/// Longest text that is compressed, in bytes: a reader elsewhere counts in 31 bits.
pub const TEXT_MAX: usize = i32::MAX as usize;
/// Bits of the table's index, for texts of up to [`SHORT`] bytes and for longer ones.
const BITS: [u32; 2] = [11, 13];
/// See [`BITS`]: a small part of the table stays in the nearest cache.
const SHORT: usize = 512;
/// After so many places in vain, as a power of two, steps are longer by one.
const PATIENCE: u32 = 5;
/// Longest step, in bytes.
const STEP_MAX: usize = 32;
/// Entries of the table.
const SLOTS: usize = 1 << BITS[1];
/// What is written at once may reach so far behind its end, in bytes.
const ROOM: usize = 64;

/// How far behind where it stands a run looks at its text, in bytes: at what it refers to, and at
/// literals that make no whole run yet.
pub const BEHIND: usize = DISTANCE_MAX + LENGTH_MAX + 2 * LITERALS_MAX;
/// How far ahead of where it is to go, in bytes.
pub const AHEAD: usize = LENGTH_MAX + STEP_MAX + 8;

/// See the file's opening.
pub struct Compressor {
    /// The number of the place where [`LENGTH_MIN`] bytes with this hash were seen last; 0 is none.
    seen: Box<[u32; SLOTS]>,
    /// The number of the next text's first place.
    next: u32,
}

/// A text that is being compressed.
#[derive(Debug)]
pub struct Run {
    /// The number of its first place.
    base: u32,
    /// How far it has been looked through.
    at: usize,
    /// Where the literals begin that have not been written.
    literals: usize,
    /// Places in vain since the last reference.
    vain: usize,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Compressor { seen: Box::new([0; SLOTS]), next: 1 }
    }
}

/// The [`LENGTH_MIN`] bytes at a place that has [`WORD`], in the upper part of a word.
#[inline]
fn six(data: &[u8], at: usize) -> u64 {
    eight(data, at) << (8 * (WORD - LENGTH_MIN))
}

#[inline]
fn eight(data: &[u8], at: usize) -> u64 {
    data[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// How many bytes from `one` on are those from `other`, which is in front of it, on; up to `most`.
#[inline]
fn alike(data: &[u8], one: usize, other: usize, most: usize) -> usize {
    let mut len = 0;
    while len + 8 <= most {
        let differing = eight(data, one + len) ^ eight(data, other + len);
        if differing != 0 {
            return len + (differing.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    while len < most && data[one + len] == data[other + len] {
        len += 1;
    }
    len
}

impl Compressor {
    /// Appends the compressed form of `data` to `out`; false, and nothing appended, when it would
    /// take more than `max` bytes.
    pub fn compress(&mut self, data: &[u8], out: &mut Vec<u8>, max: usize) -> bool {
        let from = out.len();
        let mut run = self.begin(data.len());
        self.advance(&mut run, data, data.len(), out);
        let fits = out.len() - from <= max && data.len() <= TEXT_MAX;
        if !fits {
            out.truncate(from);
        }
        fits
    }

    /// Begins a text of `len` bytes, at most [`TEXT_MAX`], that is compressed piece by piece; other
    /// texts may be in between.
    pub fn begin(&mut self, len: usize) -> Run {
        let len = len.min(TEXT_MAX) as u32;
        if self.next.checked_add(len).is_none() {
            self.seen.fill(0);
            self.next = 1;
        }
        let base = self.next;
        self.next += len;
        Run { base, at: 0, literals: 0, vain: 0 }
    }

    /// Goes on with a text up to about `until` and appends what that gives to `out`; the last
    /// literals follow when `until` is its length. A text longer than [`TEXT_MAX`] gives nothing.
    pub fn advance(&mut self, run: &mut Run, data: &[u8], until: usize, out: &mut Vec<u8>) {
        if data.len() > TEXT_MAX {
            return;
        }
        let until = until.min(data.len());
        let shift = 64 - BITS[usize::from(data.len() > SHORT)];
        let hash = |six: u64| (six.wrapping_mul(0x9E37_79B1_7F4A_7C15) >> shift) as usize % SLOTS;
        let Run { base, mut at, mut literals, mut vain } = *run;
        // Where the last place ends that is looked up.
        let end = data.len().min(until + WORD - 1);
        // Room for the worst, so that everything is written where it goes.
        let mut to = out.len();
        let most = (until + LENGTH_MAX).min(data.len()) - literals;
        out.resize(to + most + most / LITERALS_MAX + ROOM, 0);
        while let Some(word) = data[..end].get(at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_le_bytes(*word) << (8 * (WORD - LENGTH_MIN));
            let slot = &mut self.seen[hash(word)];
            let place = std::mem::replace(slot, base + at as u32).wrapping_sub(base) as usize;
            let near = place < at && at - place <= DISTANCE_MAX;
            if !near || six(data, place) != word {
                at += 1 + (vain >> PATIENCE).min(STEP_MAX - 1);
                vain += 1;
                continue;
            }
            let most = (data.len() - at).min(LENGTH_MAX) - LENGTH_MIN;
            let length = LENGTH_MIN + alike(data, at + LENGTH_MIN, place + LENGTH_MIN, most);
            to = put_literals(out, to, &data[literals..], at - literals);
            to = put_reference(out, to, at - place, length);
            // A place inside: what follows may begin there.
            let inside = at + length - 2;
            if inside + WORD <= data.len() {
                self.seen[hash(six(data, inside))] = base + inside as u32;
            }
            at += length;
            (literals, vain) = (at, 0);
        }
        if until == data.len() {
            to = put_literals(out, to, &data[literals..], data.len() - literals);
            (at, literals) = (data.len(), data.len());
        }
        // Whole runs of literals need not wait for what comes behind them.
        let whole = (at.min(data.len()) - literals) / LITERALS_MAX * LITERALS_MAX;
        to = put_literals(out, to, &data[literals..], whole);
        literals += whole;
        out.truncate(to);
        *run = Run { base, at, literals, vain };
    }
}

/// Writes a back reference to `out[to..]`; says where it ends.
#[inline]
fn put_reference(out: &mut [u8], to: usize, distance: usize, length: usize) -> usize {
    let (distance, length) = (distance - 1, length - 2);
    let bytes = &mut out[to..to + 3];
    bytes[0] = (length.min(7) << 5 | distance >> 8) as u8;
    if length < 7 {
        bytes[1] = distance as u8;
        return to + 2;
    }
    bytes[1] = (length - 7) as u8;
    bytes[2] = distance as u8;
    to + 3
}

/// Writes the first `len` bytes of `text` as literals to `out[to..]`, where there is room for a
/// whole run; says where they end.
#[inline]
fn put_literals(out: &mut [u8], mut to: usize, text: &[u8], len: usize) -> usize {
    let mut from = 0;
    while from < len {
        let run = (len - from).min(LITERALS_MAX);
        out[to] = run as u8 - 1;
        to += 1;
        // A copy of known length is much faster; what is too much is written over.
        match text[from..].first_chunk::<LITERALS_MAX>() {
            Some(wide) => out[to..to + LITERALS_MAX].copy_from_slice(wide),
            None => out[to..to + run].copy_from_slice(&text[from..from + run]),
        }
        to += run;
        from += run;
    }
    to
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::lzf::decompress;

    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let words = "[a-d]{1,6}|(xyz){100,200}|[\\x00-\\x7f]{0,40}";
        prop_oneof![
            prop::collection::vec(words, 1..400).prop_map(|words| words.concat().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..600),
            (any::<Vec<u8>>(), 0_usize..20_000, any::<Vec<u8>>()).prop_map(|(a, n, b)| [
                &a[..],
                &vec![7; n],
                &b,
                &a
            ]
            .concat()),
        ]
    }

    proptest! {
        #[test]
        fn one_after_the_other(texts in prop::collection::vec(texts(), 1..6), max in 0_usize..999) {
            let mut compressor = Compressor { next: u32::MAX - 3000, ..Compressor::default() };
            for text in texts {
                let mut packed = b"front".to_vec();
                let most = text.len() + text.len() / 32 + 1;
                prop_assert!(compressor.compress(&text, &mut packed, most));
                if !text.is_empty() {
                    let back = decompress(&packed[5..], text.len() as u64).unwrap();
                    prop_assert_eq!(back, &text[..]);
                    prop_assert!(decompress(&packed[5..], text.len() as u64 + 1).is_err());
                }
                let mut bounded = b"front".to_vec();
                let fits = compressor.compress(&text, &mut bounded, max);
                prop_assert_eq!(fits, bounded.len() > 5 || text.is_empty());
                prop_assert!(bounded.len() <= 5 + max);
            }
        }

        #[test]
        fn in_pieces_beside_each_other(
            one in texts(), other in texts(),
            steps in prop::collection::vec((any::<bool>(), 1_usize..500), 0..60),
        ) {
            let mut compressor = Compressor::default();
            let mut runs: Vec<_> = [&one, &other]
                .into_iter()
                .map(|text| (compressor.begin(text.len()), text, 0, Vec::new()))
                .collect();
            for (which, step) in steps {
                let (run, text, until, out) = &mut runs[usize::from(which)];
                *until += step;
                if *until < text.len() {
                    compressor.advance(run, text, *until, out);
                }
            }
            for (mut run, text, _, mut out) in runs {
                compressor.advance(&mut run, text, text.len(), &mut out);
                if !text.is_empty() {
                    prop_assert_eq!(&decompress(&out, text.len() as u64).unwrap(), text);
                }
            }
        }
    }

    #[test]
    fn what_repeats_takes_little() {
        let mut compressor = Compressor::default();
        let mut out = Vec::new();
        assert!(compressor.compress(&[b'x'; 100_000], &mut out, 1200));
        // Text behind much that does not repeat is found again.
        let mut random = crate::base::random::Random::new(7);
        let mut noise: Vec<u8> = (0..20_000).map(|_| random.below(256) as u8).collect();
        assert!(!compressor.compress(&noise, &mut out, noise.len() - 4));
        noise.extend(b"a sentence that stands here again and again".repeat(200));
        out.clear();
        assert!(compressor.compress(&noise, &mut out, 22_500), "{}", out.len());
    }
}
