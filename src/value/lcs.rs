//! The longest common subsequence of two strings, and the one way through it that Redis reports.
//!
//! Redis fills a table of `(a + 1) * (b + 1)` lengths and walks back through it. The walk only ever
//! asks whether the length grew from one column to the next, so one bit per cell is enough: rows
//! are computed 64 columns at a time by adding bit vectors, and kept as those bits. The table takes
//! at most a sixteenth of Redis' memory; whether it may be built at all is the caller's question.

use std::ops::Range;

/// A stretch that both strings have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Where it stands in the first string.
    pub a: Range<usize>,
    /// Where it stands in the second string.
    pub b: Range<usize>,
}

/// For each byte of the first string, the places of the second one that hold it.
struct Masks {
    /// Which mask belongs to a byte.
    index: [u8; 256],
    bits: Vec<u64>,
    words: usize,
}

impl Masks {
    fn new(a: &[u8], b: &[u8]) -> Self {
        let words = b.len().div_ceil(64);
        let mut wanted = [false; 256];
        a.iter().for_each(|&byte| wanted[usize::from(byte)] = true);
        let mut index = [0; 256];
        let mut count = 0;
        for byte in (0..256).filter(|&byte| wanted[byte]) {
            index[byte] = count as u8;
            count += 1;
        }
        let mut bits = vec![0; count * words];
        for (at, &byte) in b.iter().enumerate() {
            if wanted[usize::from(byte)] {
                let mask = usize::from(index[usize::from(byte)]) * words;
                bits[mask + at / 64] |= 1 << (at % 64);
            }
        }
        Masks { index, bits, words }
    }

    fn of(&self, byte: u8) -> &[u64] {
        let at = usize::from(self.index[usize::from(byte)]) * self.words;
        &self.bits[at..at + self.words]
    }
}

/// Goes from one row to the next: a bit of `row` is 0 where the length grows.
fn advance(row: &mut [u64], mask: &[u64]) {
    let mut carry = false;
    for (bits, &mask) in row.iter_mut().zip(mask) {
        let (sum, over) = bits.overflowing_add(*bits & mask);
        let (sum, over_again) = sum.overflowing_add(u64::from(carry));
        carry = over | over_again;
        *bits = sum | (*bits & !mask);
    }
}

/// Number of the first `columns` columns in which the length grows.
fn grown(row: &[u64], columns: usize) -> usize {
    let kept: u32 = row.iter().map(|bits| bits.count_ones()).sum();
    // Bits beyond the last column never leave 1: no mask has them, and a carry into them is ored.
    row.len() * 64 - kept as usize - beyond(row, columns)
}

/// Columns beyond the last whose bit is 0.
fn beyond(row: &[u64], columns: usize) -> usize {
    let used = columns % 64;
    match row.last() {
        Some(last) if used != 0 => (!last >> used).count_ones() as usize,
        _ => 0,
    }
}

/// Length of the longest common subsequence.
pub fn length(a: &[u8], b: &[u8]) -> usize {
    let masks = Masks::new(a, b);
    let mut row = vec![u64::MAX; masks.words];
    a.iter().for_each(|&byte| advance(&mut row, masks.of(byte)));
    grown(&row, b.len())
}

/// The rows of the table, each of `stride` bits.
struct Table {
    bits: Vec<u64>,
    stride: usize,
}

impl Table {
    /// Builds the table, and the length with it.
    fn build(a: &[u8], b: &[u8]) -> (Table, usize) {
        let masks = Masks::new(a, b);
        let stride = if b.len() <= 64 { b.len().next_power_of_two() } else { masks.words * 64 };
        let mut bits = vec![0; (a.len() * stride).div_ceil(64)];
        let mut row = vec![u64::MAX; masks.words];
        for (i, &byte) in a.iter().enumerate() {
            advance(&mut row, masks.of(byte));
            let at = i * stride;
            if stride < 64 {
                let narrow = row.first().map_or(0, |bits| bits & ((1 << stride) - 1));
                bits[at / 64] |= narrow << (at % 64);
            } else {
                bits[at / 64..][..row.len()].copy_from_slice(&row);
            }
        }
        (Table { bits, stride }, grown(&row, b.len()))
    }

    /// Whether the length grows at column `j` of row `i` (both from 0).
    fn grows(&self, i: usize, j: usize) -> bool {
        let at = i * self.stride + j;
        self.bits[at / 64] >> (at % 64) & 1 == 0
    }
}

/// The subsequence that Redis reports, and the stretches it is made of, last one first.
pub fn matches(a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
    let (table, length) = Table::build(a, b);
    let mut common = Vec::with_capacity(length);
    let mut stretches: Vec<Match> = Vec::new();
    let (mut i, mut j) = (a.len(), b.len());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            common.push(a[i - 1]);
            match stretches.last_mut() {
                Some(last) if last.a.start == i && last.b.start == j => {
                    last.a.start -= 1;
                    last.b.start -= 1;
                }
                _ => stretches.push(Match { a: i - 1..i, b: j - 1..j }),
            }
            i -= 1;
            j -= 1;
        } else if table.grows(i - 1, j - 1) {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    common.reverse();
    debug_assert_eq!(common.len(), length);
    (common, stretches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The table as a textbook has it, and Redis' walk through it.
    fn plain(a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
        let mut table = vec![vec![0usize; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table[i][j] = if a[i - 1] == b[j - 1] {
                    table[i - 1][j - 1] + 1
                } else {
                    table[i - 1][j].max(table[i][j - 1])
                };
            }
        }
        let (mut common, mut stretches) = (Vec::new(), Vec::<Match>::new());
        let (mut i, mut j) = (a.len(), b.len());
        let mut open = false;
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                common.insert(0, a[i - 1]);
                if open {
                    let last = stretches.last_mut().unwrap();
                    last.a.start -= 1;
                    last.b.start -= 1;
                } else {
                    stretches.push(Match { a: i - 1..i, b: j - 1..j });
                    open = true;
                }
                i -= 1;
                j -= 1;
            } else {
                open = false;
                if table[i - 1][j] > table[i][j - 1] { i -= 1 } else { j -= 1 }
            }
        }
        assert_eq!(common.len(), table[a.len()][b.len()]);
        (common, stretches)
    }

    #[test]
    fn the_textbook_case() {
        let (common, stretches) = matches(b"ohmytext", b"mynewtext");
        assert_eq!(common, b"mytext");
        assert_eq!(stretches, [Match { a: 4..8, b: 5..9 }, Match { a: 2..4, b: 0..2 }]);
        assert_eq!(length(b"", b"abc"), 0);
        assert_eq!(matches(b"abc", b"").0, b"");
    }

    proptest! {
        #[test]
        fn agrees_with_the_table(
            a in prop::collection::vec(0u8..4, 0..200),
            b in prop::collection::vec(0u8..4, 0..200),
        ) {
            let expected = plain(&a, &b);
            prop_assert_eq!(length(&a, &b), expected.0.len());
            prop_assert_eq!(matches(&a, &b), expected);
        }

        #[test]
        fn agrees_on_narrow_tables(
            a in prop::collection::vec(0u8..3, 0..300),
            b in prop::collection::vec(0u8..3, 0..9),
        ) {
            prop_assert_eq!(matches(&a, &b), plain(&a, &b));
            prop_assert_eq!(matches(&b, &a), plain(&b, &a));
        }
    }
}
