//! From registers to a number: Ertl's estimator of "New cardinality estimation algorithms for
//! HyperLogLog sketches" (arXiv:1702.01284), in the arithmetic that Redis uses, so that both tell
//! the same number.

use super::{REGISTERS, RUN_BITS, Registers};

/// 1 / (2 ln 2), the bias of infinitely many registers.
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The cardinality that registers tell of.
pub fn cardinality(registers: &Registers) -> u64 {
    let mut histogram = [0; 64];
    for value in registers {
        histogram[usize::from(value & 63)] += 1;
    }
    of_histogram(&histogram)
}

/// The cardinality that so many registers of each value tell of.
pub(super) fn of_histogram(histogram: &[u32; 64]) -> u64 {
    let m = REGISTERS as f64;
    let longest = RUN_BITS as usize;
    let mut z = m * tau((m - f64::from(histogram[longest + 1])) / m);
    for &count in histogram[1..=longest].iter().rev() {
        z = (z + f64::from(count)) * 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    let estimate = (ALPHA * m * m / z).round();
    // Only foreign registers, all beyond what a hash can give, tell of infinitely many: a C cast
    // makes this number of them.
    if estimate.is_finite() { estimate as u64 } else { 1 << 63 }
}

fn tau(x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (x, 1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

fn sigma(x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (x, 1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}
