//! The x87 long double, in which Redis computes INCRBYFLOAT: reading, adding and printing exactly
//! as glibc and the processor do, with 64 bits of mantissa, 15 of exponent, ties to even.
//!
//! Invariant: a finite number is `mantissa * 2^exponent`; its mantissa has the highest bit set
//! unless it is 0 or the exponent is `EXPONENT_MIN` (a subnormal).

/// Exponent of the smallest numbers.
const EXPONENT_MIN: i32 = -16_445;
/// Exponent of the largest numbers.
const EXPONENT_MAX: i32 = 16_320;
/// Longest text that is read as a number, in bytes (Redis' buffer of 5 KiB holds a NUL too).
const TEXT_MAX: usize = 5 * 1024 - 1;
/// Decimal exponents of the first digit beyond which a number overflows or vanishes.
const DECIMAL_MAX: i64 = 4_940;
/// See [`DECIMAL_MAX`].
const DECIMAL_MIN: i64 = -5_000;
/// Digits behind the point that are printed.
const FRACTION_DIGITS: usize = 17;
/// `10^FRACTION_DIGITS`
const FRACTION_SCALE: u128 = 100_000_000_000_000_000;

/// A number of the x87's extended precision, never NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongDouble {
    /// See the file's head.
    Finite {
        /// Sign.
        negative: bool,
        /// Up to 64 bits.
        mantissa: u64,
        /// Power of two.
        exponent: i32,
    },
    /// Too large, or said to be so.
    Infinite {
        /// Sign.
        negative: bool,
    },
}

use LongDouble::{Finite, Infinite};

impl LongDouble {
    /// Reads a whole text as `strtold` does (decimal, hexadecimal, `inf`); `None` when it is
    /// anything else, has spaces, is NaN, or is too large or too small for the type.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Some(Infinite { negative });
        }
        let magnitude = match rest {
            [b'0', b'x' | b'X', rest @ ..] => hexadecimal(rest)?,
            rest => decimal(rest)?,
        };
        match magnitude {
            Finite { mantissa, exponent, .. } => Some(Finite { negative, mantissa, exponent }),
            Infinite { .. } => None,
        }
    }

    /// The sum; `None` when it is infinite or not a number.
    pub fn plus(self, other: LongDouble) -> Option<LongDouble> {
        let (
            Finite { negative: n1, mantissa: m1, exponent: e1 },
            Finite { negative: n2, mantissa: m2, exponent: e2 },
        ) = (self, other)
        else {
            return None;
        };
        if m1 == 0 {
            return Some(other);
        }
        if m2 == 0 {
            return Some(self);
        }
        let swap = (e2, m2) > (e1, m1);
        let (negative, large, top) = if swap { (n2, m2, e2) } else { (n1, m1, e1) };
        let (small, low) = if swap { (m1, e1) } else { (m2, e2) };
        // The larger one gets 62 bits below its mantissa; what the smaller one loses beyond these
        // lies far below the bit that rounding looks at.
        const GUARD: u32 = 62;
        let large = u128::from(large) << GUARD;
        let apart = top.abs_diff(low);
        let (small, sticky) = if apart <= GUARD {
            (u128::from(small) << (GUARD - apart), false)
        } else {
            let drop = apart - GUARD;
            let kept = if drop < 64 { small >> drop } else { 0 };
            (u128::from(kept), drop >= 64 || kept << drop != small)
        };
        let sum = if n1 == n2 { large + small } else { large - small - u128::from(sticky) };
        match round(sum, sticky, i64::from(top) - i64::from(GUARD)) {
            Finite { mantissa, exponent, .. } => Some(Finite { negative, mantissa, exponent }),
            Infinite { .. } => None,
        }
    }

    /// Prints the number with up to 17 digits behind the point and no zeros at its end, which is
    /// what Redis makes of `%.17Lf`.
    pub fn to_text(self) -> Vec<u8> {
        let (negative, mantissa, exponent) = match self {
            Finite { negative, mantissa, exponent } => (negative, mantissa, exponent),
            Infinite { negative } => return if negative { b"-inf".into() } else { b"inf".into() },
        };
        let mut text = Vec::new();
        if negative {
            text.push(b'-');
        }
        if exponent > 64 {
            let mut big = Big::from_u128(u128::from(mantissa));
            big.shift_left(exponent.unsigned_abs() as usize);
            big.print(&mut text);
        } else if exponent >= 0 {
            text.extend_from_slice((u128::from(mantissa) << exponent).to_string().as_bytes());
        } else {
            let scaled = u128::from(mantissa) * FRACTION_SCALE;
            let units = shift_right_rounding(scaled, false, exponent.unsigned_abs());
            text.extend_from_slice((units / FRACTION_SCALE).to_string().as_bytes());
            let fraction = format!(".{:0FRACTION_DIGITS$}", units % FRACTION_SCALE);
            text.extend_from_slice(fraction.trim_end_matches('0').trim_end_matches('.').as_bytes());
        }
        if text == b"-0" { b"0".into() } else { text }
    }
}

impl From<i64> for LongDouble {
    fn from(value: i64) -> Self {
        match round(u128::from(value.unsigned_abs()), false, 0) {
            Finite { mantissa, exponent, .. } => Finite { negative: value < 0, mantissa, exponent },
            infinite => infinite,
        }
    }
}

/// `value / 2^shift`, to the nearest, ties to even; `sticky` says that something lies below.
fn shift_right_rounding(value: u128, sticky: bool, shift: u32) -> u128 {
    match shift {
        0 => value,
        1..128 => {
            let kept = value >> shift;
            let lost = value & ((1 << shift) - 1);
            let half = 1 << (shift - 1);
            let up = lost > half || lost == half && (sticky || kept & 1 == 1);
            kept + u128::from(up)
        }
        128 => u128::from(value > 1 << 127 || value == 1 << 127 && sticky),
        _ => 0,
    }
}

/// The number nearest to `value * 2^exponent`; `sticky` says that something lies below, and then
/// `value` must have at least 65 bits.
fn round(value: u128, sticky: bool, exponent: i64) -> LongDouble {
    let zero = Finite { negative: false, mantissa: 0, exponent: EXPONENT_MIN };
    if value == 0 {
        return zero;
    }
    let bits = i64::from(128 - value.leading_zeros());
    let mut target = (exponent + bits - 64).max(i64::from(EXPONENT_MIN));
    let shift = target - exponent;
    let mut mantissa = if shift >= 0 {
        shift_right_rounding(value, sticky, u32::try_from(shift).unwrap_or(u32::MAX))
    } else {
        value << -shift
    };
    if mantissa >> 64 != 0 {
        mantissa >>= 1;
        target += 1;
    }
    match i32::try_from(target) {
        Ok(exponent @ ..=EXPONENT_MAX) => {
            Finite { negative: false, mantissa: mantissa as u64, exponent }
        }
        _ => Infinite { negative: false },
    }
}

/// Refuses what has become 0 by rounding, as `strtold` reports it by ERANGE.
fn not_vanished(number: LongDouble) -> Option<LongDouble> {
    match number {
        Finite { mantissa: 0, .. } | Infinite { .. } => None,
        finite => Some(finite),
    }
}

/// Reads the exponent that must fill `text` up to its end: `[sign] digits`, cut to a range beyond
/// which it makes no difference.
fn exponent_of(text: &[u8]) -> Option<i64> {
    const CUT: i64 = 1_000_000;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0;
    for &b in digits {
        if !b.is_ascii_digit() {
            return None;
        }
        value = (value * 10 + i64::from(b - b'0')).min(CUT);
    }
    Some(if negative { -value } else { value })
}

/// Splits a number into the digits before and behind the point and what follows them.
fn split(text: &[u8], digit: impl Fn(&u8) -> bool) -> Option<(&[u8], &[u8], &[u8])> {
    let end = text.iter().position(|b| !digit(b)).unwrap_or(text.len());
    let (whole, rest) = text.split_at(end);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => {
            let end = rest.iter().position(|b| !digit(b)).unwrap_or(rest.len());
            rest.split_at(end)
        }
        rest => (&[][..], rest),
    };
    if whole.is_empty() && fraction.is_empty() { None } else { Some((whole, fraction, rest)) }
}

fn hexadecimal(text: &[u8]) -> Option<LongDouble> {
    let (whole, fraction, rest) = split(text, u8::is_ascii_hexdigit)?;
    let mut exponent = match rest {
        [] => 0,
        [b'p' | b'P', rest @ ..] => exponent_of(rest)?,
        _ => return None,
    };
    let (mut value, mut sticky) = (0u128, false);
    for (behind, b) in whole.iter().map(|b| (false, b)).chain(fraction.iter().map(|b| (true, b))) {
        let digit = u128::from(char::from(*b).to_digit(16)?);
        exponent -= if behind { 4 } else { 0 };
        if value >> 120 == 0 {
            value = value << 4 | digit;
        } else {
            sticky |= digit != 0;
            exponent += 4;
        }
    }
    let number = round(value, sticky, exponent);
    if value == 0 { Some(number) } else { not_vanished(number) }
}

fn decimal(text: &[u8]) -> Option<LongDouble> {
    let (whole, fraction, rest) = split(text, u8::is_ascii_digit)?;
    let exponent = match rest {
        [] => 0,
        [b'e' | b'E', rest @ ..] => exponent_of(rest)?,
        _ => return None,
    };
    let mut digits: Vec<u8> = whole.iter().chain(fraction).map(|b| b - b'0').collect();
    let mut exponent = exponent - fraction.len() as i64;
    while let Some(0) = digits.last() {
        digits.pop();
        exponent += 1;
    }
    let zeros = digits.iter().position(|&d| d != 0).unwrap_or(digits.len());
    let digits = &digits[zeros..];
    if digits.is_empty() {
        return Some(round(0, false, 0));
    }
    let first = digits.len() as i64 + exponent;
    if !(DECIMAL_MIN..=DECIMAL_MAX).contains(&first) {
        return None;
    }
    not_vanished(match short(digits, exponent) {
        Some(number) => number,
        None => long(digits, exponent),
    })
}

/// `digits * 10^exponent` where 128 bits are enough for it, which is nearly always.
fn short(digits: &[u8], exponent: i64) -> Option<LongDouble> {
    if digits.len() > 19 || !(-27..=19).contains(&exponent) {
        return None;
    }
    let value = digits.iter().fold(0u64, |value, &d| value * 10 + u64::from(d));
    if exponent >= 0 {
        return Some(round(u128::from(value) * 10u128.pow(exponent as u32), false, 0));
    }
    // The dividend has its highest bit set and the divisor has at most 63: the quotient has at
    // least 65 bits.
    let divisor = u128::from(5u64.pow(exponent.unsigned_abs() as u32));
    let shift = 64 + value.leading_zeros();
    let dividend = u128::from(value) << shift;
    let sticky = !dividend.is_multiple_of(divisor);
    Some(round(dividend / divisor, sticky, exponent - i64::from(shift)))
}

/// `digits * 10^exponent`, whatever they are.
fn long(digits: &[u8], exponent: i64) -> LongDouble {
    let mut value = Big::from_digits(digits);
    let power = usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
    if exponent >= 0 {
        value.multiply_by_power_of_5(power);
        let (top, sticky, shift) = value.top();
        return round(top, sticky, exponent + shift);
    }
    let mut divisor = Big::from_u128(1);
    divisor.multiply_by_power_of_5(power);
    let (quotient, sticky, shift) = value.divide(divisor);
    round(quotient, sticky, exponent + shift)
}

/// A large natural number: 32-bit limbs, the least significant first, the last one not 0.
struct Big {
    limbs: Vec<u32>,
}

impl Big {
    fn from_u128(mut value: u128) -> Big {
        let mut limbs = Vec::new();
        while value != 0 {
            limbs.push(value as u32);
            value >>= 32;
        }
        Big { limbs }
    }

    fn from_digits(digits: &[u8]) -> Big {
        let mut big = Big { limbs: Vec::new() };
        for chunk in digits.chunks(9) {
            let value = chunk.iter().fold(0, |value, &d| value * 10 + u32::from(d));
            big.multiply_add(10u32.pow(chunk.len() as u32), value);
        }
        big
    }

    fn multiply_add(&mut self, factor: u32, term: u32) {
        let mut carry = u64::from(term);
        for limb in &mut self.limbs {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.limbs.push(carry as u32);
        }
    }

    fn multiply_by_power_of_5(&mut self, power: usize) {
        /// The largest power of 5 in a limb.
        const STEP: usize = 13;
        for _ in 0..power / STEP {
            self.multiply_add(5u32.pow(STEP as u32), 0);
        }
        self.multiply_add(5u32.pow((power % STEP) as u32), 0);
    }

    fn bits(&self) -> usize {
        self.limbs.last().map_or(0, |top| self.limbs.len() * 32 - top.leading_zeros() as usize)
    }

    fn shift_left(&mut self, shift: usize) {
        let within = (shift % 32) as u32;
        if within != 0 {
            self.multiply_add(1 << within, 0);
        }
        self.limbs.splice(0..0, std::iter::repeat_n(0, shift / 32));
    }

    /// Drops the lowest `shift` bits; true when one of them was set.
    fn shift_right(&mut self, shift: usize) -> bool {
        let whole = (shift / 32).min(self.limbs.len());
        let mut lost = self.limbs.drain(..whole).any(|limb| limb != 0);
        let within = shift % 32;
        if within != 0 {
            let mut above = 0;
            for limb in self.limbs.iter_mut().rev() {
                let low = *limb << (32 - within);
                *limb = *limb >> within | above;
                above = low;
            }
            lost |= above != 0;
        }
        self.trim();
        lost
    }

    fn trim(&mut self) {
        while let Some(0) = self.limbs.last() {
            self.limbs.pop();
        }
    }

    /// The highest 128 bits at most, whether something lies below, and the power of two they are
    /// counted in.
    fn top(mut self) -> (u128, bool, i64) {
        let shift = self.bits().saturating_sub(128);
        let sticky = self.shift_right(shift);
        let value = self.limbs.iter().rev().fold(0, |v, &limb| v << 32 | u128::from(limb));
        (value, sticky, shift as i64)
    }

    /// `self / divisor` as `(quotient, remainder is not 0, power of two of the quotient)`; the
    /// quotient has about 100 bits. One bit at a time: divisors are short or rare.
    fn divide(mut self, mut divisor: Big) -> (u128, bool, i64) {
        const BITS: u32 = 101;
        // Both are brought to sizes that differ by one bit: the remainder is below the divisor
        // then, and not below a quarter of it.
        let (from, to) = (self.bits(), divisor.bits() - 1);
        if from > to {
            divisor.shift_left(from - to);
        } else {
            self.shift_left(to - from);
        }
        let mut quotient = 0;
        for _ in 0..BITS {
            self.multiply_add(2, 0);
            quotient = quotient << 1 | u128::from(self.subtract_if_not_less(&divisor));
        }
        (quotient, !self.limbs.is_empty(), from as i64 - to as i64 - i64::from(BITS))
    }

    fn subtract_if_not_less(&mut self, other: &Big) -> bool {
        let order = self.limbs.len().cmp(&other.limbs.len());
        let order = order.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()));
        if order.is_lt() {
            return false;
        }
        let mut borrow = false;
        let others = other.limbs.iter().copied().chain(std::iter::repeat(0));
        for (limb, other) in self.limbs.iter_mut().zip(others) {
            let (difference, under) = limb.overflowing_sub(other);
            let (difference, under_again) = difference.overflowing_sub(u32::from(borrow));
            *limb = difference;
            borrow = under | under_again;
        }
        self.trim();
        true
    }

    /// Appends the number in decimal.
    fn print(mut self, text: &mut Vec<u8>) {
        const CHUNK: u64 = 1_000_000_000;
        let mut chunks = Vec::new();
        while !self.limbs.is_empty() {
            let mut rest = 0;
            for limb in self.limbs.iter_mut().rev() {
                let value = rest << 32 | u64::from(*limb);
                *limb = (value / CHUNK) as u32;
                rest = value % CHUNK;
            }
            self.trim();
            chunks.push(rest);
        }
        for (i, chunk) in chunks.iter().rev().enumerate() {
            let digits = if i == 0 { format!("{chunk}") } else { format!("{chunk:09}") };
            text.extend_from_slice(digits.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> String {
        let (Some(a), Some(b)) = (LongDouble::parse(a.as_bytes()), LongDouble::parse(b.as_bytes()))
        else {
            return "!float".into();
        };
        a.plus(b).map_or("!nan".into(), |sum| String::from_utf8(sum.to_text()).unwrap())
    }

    /// Terms and answers of INCRBYFLOAT as redis-server 7.0.15 gave them on x86-64.
    #[test]
    fn agrees_with_redis() {
        for line in include_str!("long_double.cases").lines() {
            let [a, b, answer] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert_eq!(sum(a, b), answer, "{a} + {b}");
        }
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(sum("1.1897314953572317651e4932", "0"), "!float");
        assert_eq!(sum("1.18973149535723176502e4932", "1").len(), 4933);
        assert_eq!(sum("1.18973149535723176502e4932", "1.18973149535723176502e4932"), "!nan");
        assert_eq!(sum("3.6e-4951", "0"), "0");
        assert_eq!(sum("1.8e-4951", "0"), "!float");
        assert_eq!(sum("0e99999999999999999999", "1"), "1");
        assert_eq!(sum("inf", "1"), "!nan");
        let longest = "1".repeat(TEXT_MAX);
        assert_eq!(sum(&longest, "1"), "!float", "too large, yet read to its end");
        assert_eq!(sum(&format!("0.{longest}"), "1"), "!float", "longer than Redis' buffer");
    }

    proptest! {
        /// The short way must agree with the long one wherever both may be taken.
        #[test]
        fn both_ways_agree(value in 1u64..10_000_000_000_000_000_000, exponent in -27i64..=19) {
            let digits: Vec<u8> = value.to_string().bytes().map(|b| b - b'0').collect();
            prop_assert_eq!(short(&digits, exponent), Some(long(&digits, exponent)));
        }

        /// What has few digits comes back as it was written.
        #[test]
        fn short_decimals_survive(whole in -9i64..=9, fraction in 1u32..99_999) {
            let text = format!("{whole}.{fraction:05}");
            let kept = text.trim_end_matches('0');
            prop_assert_eq!(sum(&text, "0"), kept);
        }

        #[test]
        fn no_text_breaks_it(
            a in "[-+0-9a-fxpein. ]{0,40}",
            b in "[-+]?[0-9]{0,30}e[-+]?[0-9]{1,6}",
        ) {
            let _ = sum(&a, &b);
        }
    }
}
