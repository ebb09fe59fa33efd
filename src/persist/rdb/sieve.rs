//! Whether anything stands twice among very many things, in bounded memory: what is read again as
//! often as it takes.
//!
//! Up to [`EXACT_MAX`] things are kept as they are (a keyed hash of 128 bits each, so that nobody
//! can make two of them meet). Beyond, a filter of bits finds those that may have been there
//! before, and a second pass over the things finds out which of these suspects were. When there
//! are more suspects than are kept, what was kept is confirmed or cleared first, and then the
//! things are looked at in parts, by their hash.
//!
//! ```text
//! exact ──too many──▶ filter ──suspects──▶ confirm ──▶ next part, or more parts, or done
//! ```

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

/// Most things that are kept as they are, and most suspects: 7/8 of 2^16, so that the table never
/// has more than 2^16 places.
pub(super) const EXACT_MAX: usize = 57_344;
/// Bits of the filter that a thing sets.
const PROBES: u32 = 5;
/// By how much the number of parts grows when there are too many suspects.
const MORE_PARTS: u64 = 4;

/// A hash of 128 bits is good enough as it is.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut all = [0; 8];
            all[..word.len()].copy_from_slice(word);
            self.0 ^= u64::from_le_bytes(all);
        }
    }
}

/// Hash → whether it was met in the pass that confirms.
type Hashes = HashMap<u128, bool, BuildHasherDefault<AsItIs>>;

enum Phase {
    Exact,
    Filter,
    Confirm,
}

/// See the file's opening.
pub(super) struct Sieve {
    keys: (u64, u64),
    phase: Phase,
    hashes: Hashes,
    filter: Vec<u64>,
    /// The filter's size as a power of two, in bits.
    filter_bits: u32,
    part: u64,
    parts: u64,
    /// Whether there were more suspects than are kept.
    overflow: bool,
}

impl Sieve {
    /// One whose filter has 2^`filter_bits` bits, when it comes to that.
    pub(super) fn new(keys: [u64; 2], filter_bits: u32) -> Sieve {
        Sieve {
            keys: (keys[0], keys[1]),
            phase: Phase::Exact,
            hashes: Hashes::default(),
            filter: Vec::new(),
            filter_bits,
            part: 0,
            parts: 1,
            overflow: false,
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.phase = Phase::Exact;
        self.hashes.clear();
        (self.part, self.parts, self.overflow) = (0, 1, false);
    }

    /// Meets a thing in the pass that is going on; true when it is certain that it was met before.
    pub(super) fn meets(&mut self, space: u64, thing: &[u8]) -> bool {
        let hash = self.hash(space, thing);
        self.meets_hash(hash)
    }

    /// Whether it is worth a closer look if a thing is really there, in a pass behind the first:
    /// all things are noted meanwhile that need none.
    pub(super) fn suspects(&mut self, space: u64, thing: &[u8]) -> bool {
        let hash = self.hash(space, thing);
        match self.phase {
            Phase::Confirm => self.hashes.contains_key(&hash),
            _ => {
                self.meets_hash(hash);
                false
            }
        }
    }

    fn hash(&self, space: u64, thing: &[u8]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write_u64(space);
        hasher.write(thing);
        hasher.finish128().as_u128()
    }

    fn meets_hash(&mut self, hash: u128) -> bool {
        match self.phase {
            Phase::Exact if self.hashes.len() < EXACT_MAX => {
                return self.hashes.insert(hash, false).is_some();
            }
            Phase::Exact => {
                if self.hashes.contains_key(&hash) {
                    return true;
                }
                self.start_filter();
                let known: Vec<u128> = self.hashes.drain().map(|(hash, _)| hash).collect();
                for known in known {
                    self.sift(known);
                }
                self.filters(hash);
            }
            Phase::Filter if (hash >> 64) as u64 % self.parts == self.part => self.filters(hash),
            Phase::Confirm => {
                if let Some(met) = self.hashes.get_mut(&hash) {
                    return std::mem::replace(met, true);
                }
            }
            Phase::Filter => {}
        }
        false
    }

    fn start_filter(&mut self) {
        self.phase = Phase::Filter;
        self.overflow = false;
        self.filter.clear();
        self.filter.resize(1 << (self.filter_bits - 6), 0);
    }

    fn filters(&mut self, hash: u128) {
        if !self.sift(hash) {
            return;
        }
        if self.hashes.len() < EXACT_MAX {
            self.hashes.insert(hash, false);
        } else {
            self.overflow = true;
        }
    }

    /// Notes a hash in the filter; true when it may have been there.
    fn sift(&mut self, hash: u128) -> bool {
        let (mut at, step) = (hash as u64, (hash >> 64) as u64 | 1);
        let mut known = true;
        for _ in 0..PROBES {
            let bit = at >> (64 - self.filter_bits);
            let word = &mut self.filter[(bit >> 6) as usize];
            known &= *word >> (bit & 63) & 1 == 1;
            *word |= 1 << (bit & 63);
            at = at.wrapping_add(step);
        }
        known
    }

    /// Ends a pass; true when all things have to be met once more.
    pub(super) fn again(&mut self) -> bool {
        match self.phase {
            Phase::Exact => return false,
            Phase::Filter if !self.hashes.is_empty() => {
                self.phase = Phase::Confirm;
                return true;
            }
            Phase::Filter | Phase::Confirm => {}
        }
        if self.overflow {
            (self.part, self.parts) = (0, self.parts.saturating_mul(MORE_PARTS));
        } else {
            self.part += 1;
        }
        self.hashes.clear();
        if self.part == self.parts {
            return false;
        }
        self.start_filter();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes it takes, and whether anything was met twice.
    fn run(things: &mut dyn Iterator<Item = u64>, all: &[u64], bits: u32) -> (usize, bool) {
        let mut sieve = Sieve::new([1, 2], bits);
        for thing in things {
            if sieve.meets(0, &thing.to_le_bytes()) {
                return (1, true);
            }
        }
        let mut passes = 1;
        while sieve.again() {
            passes += 1;
            assert!(passes < 1000);
            if all.iter().any(|thing| sieve.meets(0, &thing.to_le_bytes())) {
                return (passes, true);
            }
        }
        (passes, false)
    }

    #[test]
    fn few_things_take_one_pass() {
        let mut all: Vec<u64> = (0..EXACT_MAX as u64).collect();
        assert_eq!(run(&mut all.clone().into_iter(), &all, 16), (1, false));
        all[70] = 7;
        assert_eq!(run(&mut all.clone().into_iter(), &all, 16), (1, true));
    }

    #[test]
    fn many_things_are_sifted_in_parts() {
        let mut all: Vec<u64> = (0..200_000).collect();
        for bits in [16, 17, 20, 24] {
            let (passes, twice) = run(&mut all.clone().into_iter(), &all, bits);
            assert!(!twice && (passes > 2 || bits > 17), "{bits}: {passes}");
        }
        // Wherever the two stand.
        for (at, as_at) in [(0, 199_999), (199_999, 199_998), (60_000, 3), (150_000, 90_000)] {
            let kept = std::mem::replace(&mut all[at], as_at);
            for bits in [16, 20] {
                assert!(run(&mut all.clone().into_iter(), &all, bits).1, "{at} {as_at} {bits}");
            }
            all[at] = kept;
        }
    }

    #[test]
    fn spaces_are_apart() {
        let mut sieve = Sieve::new([1, 2], 16);
        assert!(!sieve.meets(0, b"a") && !sieve.meets(1, b"a") && sieve.meets(1, b"a"));
        sieve.clear();
        assert!(!sieve.meets(1, b"a"));
    }
}
