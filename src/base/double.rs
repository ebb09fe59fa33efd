//! Doubles as Redis reads and prints them: `strtod` without the locale, the shortest text that
//! reads back as the same number, and C's `%.17g`.

use std::fmt::Write;

/// Longest text of a double, in bytes.
const TEXT_MAX: usize = 32;

/// A double as text.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    bytes: [u8; TEXT_MAX],
    len: usize,
}

impl Text {
    fn empty() -> Self {
        Text { bytes: [0; TEXT_MAX], len: 0 }
    }

    fn of(text: &str) -> Self {
        let mut out = Text::empty();
        out.push(text.as_bytes());
        out
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = (self.len + bytes.len()).min(TEXT_MAX);
        let room = end - self.len;
        self.bytes[self.len..end].copy_from_slice(&bytes[..room]);
        self.len = end;
    }

    fn zeros(&mut self, count: usize) {
        (0..count).for_each(|_| self.push(b"0"));
    }

    /// Its bytes, all ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The same as a string.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// The integer that a double is, if it is one that Redis treats so: up to 2^62 either way.
pub fn as_integer(value: f64) -> Option<i64> {
    const BOUND: f64 = (1_i64 << 62) as f64;
    if !(-BOUND..=BOUND).contains(&value) {
        return None;
    }
    let integer = value as i64;
    (integer as f64 == value).then_some(integer)
}

/// Sign, decimal digits without zeros at the end, and the power of ten of the first of them.
fn digits(value: f64, shown: &Text) -> (bool, [u8; 17], usize, i32) {
    let (mut digits, mut count) = ([b'0'; 17], 0);
    let text = shown.as_bytes();
    let split = text.iter().position(|&byte| byte == b'e').unwrap_or(text.len());
    for &byte in text[..split].iter().filter(|byte| byte.is_ascii_digit()).take(17) {
        digits[count] = byte;
        count += 1;
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    let power = text.get(split + 1..).and_then(|rest| std::str::from_utf8(rest).ok());
    let power = power.and_then(|rest| rest.parse().ok()).unwrap_or(0);
    (value.is_sign_negative(), digits, count, power)
}

/// What is no number that digits spell, and zero.
fn special(value: f64) -> Option<Text> {
    if value.is_nan() {
        Some(Text::of("nan"))
    } else if value.is_infinite() {
        Some(Text::of(if value > 0.0 { "inf" } else { "-inf" }))
    } else if value == 0.0 {
        Some(Text::of(if value.is_sign_negative() { "-0" } else { "0" }))
    } else {
        None
    }
}

/// The shortest text that reads back as `value`, laid out as Redis 7.2 does.
pub fn text(value: f64) -> Text {
    if let Some(text) = special(value) {
        return text;
    }
    let mut out = Text::empty();
    if let Some(integer) = as_integer(value) {
        out.push(itoa::Buffer::new().format(integer).as_bytes());
        return out;
    }
    let mut shown = Text::empty();
    // It fits: 17 digits, a point, a sign and an exponent.
    let _ = write!(shown, "{value:e}");
    let (negative, digits, count, power) = digits(value, &shown);
    let digits = &digits[..count];
    if negative {
        out.push(b"-");
    }
    // The number is `digits * 10^scale`.
    let scale = power - (count as i32 - 1);
    if scale >= 0 && power < count as i32 + 7 {
        out.push(digits);
        out.zeros(scale as usize);
    } else if scale < 0 && (scale > -7 || power.abs() < 4) {
        if power < 0 {
            out.push(b"0.");
            out.zeros((-power - 1) as usize);
            out.push(digits);
        } else {
            let whole = power as usize + 1;
            out.push(&digits[..whole]);
            out.push(b".");
            out.push(&digits[whole..]);
        }
    } else {
        out.push(&digits[..1]);
        if count > 1 {
            out.push(b".");
            out.push(&digits[1..]);
        }
        let _ = write!(out, "e{power:+}");
    }
    out
}

/// What C's `%.17g` prints.
pub fn text_17(value: f64) -> Text {
    if let Some(text) = special(value) {
        return text;
    }
    let (mut out, mut shown) = (Text::empty(), Text::empty());
    let _ = write!(shown, "{value:.16e}");
    let (negative, digits, count, power) = digits(value, &shown);
    let digits = &digits[..count];
    if negative {
        out.push(b"-");
    }
    if (-4..17).contains(&power) {
        if power < 0 {
            out.push(b"0.");
            out.zeros((-power - 1) as usize);
            out.push(digits);
        } else {
            let whole = (power as usize + 1).min(count);
            out.push(&digits[..whole]);
            out.zeros(power as usize + 1 - whole);
            if whole < count {
                out.push(b".");
                out.push(&digits[whole..]);
            }
        }
        return out;
    }
    out.push(&digits[..1]);
    if count > 1 {
        out.push(b".");
        out.push(&digits[1..]);
    }
    let sign = if power < 0 { '-' } else { '+' };
    let _ = write!(out, "e{sign}{:02}", power.unsigned_abs());
    out
}

/// How a text read as a number lies to the range of doubles.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Read {
    /// As near as a double can be.
    Number(f64),
    /// Too large, or too small to be told from zero.
    OutOfRange(f64),
}

/// Reads a whole text as `strtod` does, no space in front.
fn read(text: &[u8]) -> Option<Read> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let sign = if negative { -1.0 } else { 1.0 };
    if let [b'0', b'x' | b'X', rest @ ..] = unsigned {
        return hexadecimal(rest).map(|read| match read {
            Read::Number(value) => Read::Number(sign * value),
            Read::OutOfRange(value) => Read::OutOfRange(sign * value),
        });
    }
    let first = unsigned.first()?;
    if first.is_ascii_alphabetic() {
        let word = |word: &str| unsigned.eq_ignore_ascii_case(word.as_bytes());
        return (word("inf") || word("infinity")).then_some(Read::Number(sign * f64::INFINITY));
    }
    if matches!(first, b'+' | b'-') {
        return None;
    }
    if let Some(value) = usual_decimal(unsigned) {
        return Some(Read::Number(sign * value));
    }
    let value: f64 = std::str::from_utf8(unsigned).ok()?.parse().ok()?;
    let mantissa = || unsigned.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
    let vanished = value == 0.0 && mantissa().any(|byte| matches!(byte, b'1'..=b'9'));
    let value = sign * value;
    Some(if value.is_infinite() || vanished {
        Read::OutOfRange(value)
    } else {
        Read::Number(value)
    })
}

/// The value of up to 19 digits that make no more than 2^53, with a point among them or not: digits
/// and power of ten are exact then, so their quotient is rounded once, which is what reading means.
/// `None` says nothing.
fn usual_decimal(text: &[u8]) -> Option<f64> {
    const DIGITS_MAX: usize = 19;
    const POWERS: [f64; DIGITS_MAX + 1] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
        1e17, 1e18, 1e19,
    ];
    if text.len() > DIGITS_MAX + 1 {
        return None;
    }
    let (mut digits, mut number, mut point) = (0, 0_u64, None);
    for byte in text {
        match byte {
            b'0'..=b'9' if digits < DIGITS_MAX => {
                number = number * 10 + u64::from(byte - b'0');
                digits += 1;
            }
            b'.' if point.is_none() => point = Some(digits),
            _ => return None,
        }
    }
    if digits == 0 || number > 1 << 53 {
        return None;
    }
    Some(number as f64 / POWERS[digits - point.unwrap_or(digits)])
}

/// Reads what stands behind `0x`.
fn hexadecimal(text: &[u8]) -> Option<Read> {
    let split = text.iter().position(|byte| matches!(byte, b'p' | b'P'));
    let (mantissa, exponent) = match split {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut scale: i64 = match exponent {
        None => 0,
        Some(text) => exponent_of(text)?,
    };
    let (mut bits, mut digits, mut behind_point) = (0_u64, 0_usize, false);
    for &byte in mantissa {
        if byte == b'.' && !behind_point {
            behind_point = true;
            continue;
        }
        let digit = u64::from(char::from(byte).to_digit(16)?);
        digits += 1;
        if bits >> 58 == 0 {
            bits = bits << 4 | digit;
            scale -= if behind_point { 4 } else { 0 };
        } else {
            // Only whether anything follows matters for rounding.
            bits |= u64::from(digit != 0);
            scale += if behind_point { 0 } else { 4 };
        }
    }
    if digits == 0 {
        return None;
    }
    let mut value = bits as f64;
    let step = scale.clamp(-3000, 3000) as i32;
    for part in [step / 3, step / 3, step - step / 3 * 2] {
        value *= 2_f64.powi(part);
    }
    let out = value.is_infinite() || value == 0.0 && bits != 0;
    Some(if out { Read::OutOfRange(value) } else { Read::Number(value) })
}

/// A decimal exponent, as far as it matters.
fn exponent_of(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        rest => (1, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i64, |value, digit| {
        (value.saturating_mul(10) + i64::from(digit - b'0')).min(1 << 40)
    });
    Some(sign * value)
}

/// Reads a whole text as Redis reads the number in an argument: no spaces, no NaN, nothing beyond
/// what doubles can hold.
pub fn parse(text: &[u8]) -> Option<f64> {
    match read(text)? {
        Read::Number(value) => Some(value),
        Read::OutOfRange(_) => None,
    }
}

/// Reads a text as Redis reads the bound of a range of scores: spaces in front are passed over, a
/// NUL ends it, nothing is 0, and what is too large is infinite.
pub fn parse_bound(text: &[u8]) -> Option<f64> {
    match read_loosely(text)? {
        Read::Number(value) | Read::OutOfRange(value) => Some(value),
    }
}

/// Reads a text as Redis reads what SORT compares: as a bound, but nothing that is too large.
pub fn parse_weight(text: &[u8]) -> Option<f64> {
    match read_loosely(text)? {
        Read::Number(value) => Some(value),
        Read::OutOfRange(_) => None,
    }
}

fn read_loosely(text: &[u8]) -> Option<Read> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(Read::Number(0.0));
    }
    let spaces = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !spaces(byte))?;
    read(&text[start..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// What is read the quick way is what the standard library reads, to the bit.
        #[test]
        fn usual_decimals_are_read_as_others_are(
            text in "[0-9]{0,21}(\\.[0-9]{0,15})?|[0-9]\\.0{0,3}[0-9]{14,18}|[0-9.e]{1,6}",
        ) {
            let parsed = text.parse::<f64>().ok();
            match usual_decimal(text.as_bytes()) {
                Some(value) => prop_assert_eq!(Some(value.to_bits()), parsed.map(f64::to_bits)),
                None => {
                    let digits = text.bytes().filter(u8::is_ascii_digit).count();
                    prop_assert!(parsed.is_none() || digits > 15 || text.contains('e'), "{}", text);
                }
            }
        }
    }

    #[test]
    fn printed_as_redis_does() {
        for (value, short, long) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (-17.0, "-17", "-17"),
            (0.1, "0.1", "0.10000000000000001"),
            (1.5, "1.5", "1.5"),
            (-2.25, "-2.25", "-2.25"),
            (1e15, "1000000000000000", "1000000000000000"),
            (4503599627370496.0, "4503599627370496", "4503599627370496"),
            (1e17, "100000000000000000", "1e+17"),
            (1e20, "1e+20", "1e+20"),
            (1.25e22, "1.25e+22", "1.2500000000000001e+22"),
            (1e-7, "1e-7", "9.9999999999999995e-08"),
            (0.000001, "0.000001", "9.9999999999999995e-07"),
            (0.0001220703125, "1.220703125e-4", "0.0001220703125"),
            (1e300, "1e+300", "1.0000000000000001e+300"),
            (f64::MAX, "1.7976931348623157e+308", "1.7976931348623157e+308"),
            (5e-324, "5e-324", "4.9406564584124654e-324"),
            (f64::INFINITY, "inf", "inf"),
            (f64::NEG_INFINITY, "-inf", "-inf"),
            (12345678901234567890.0, "12345678901234567000", "12345678901234567000"),
        ] {
            assert_eq!(text(value).as_str(), short);
            if value != 12345678901234567890.0 && value != 1.25e22 && value != 1e-6 {
                assert_eq!(text_17(value).as_str(), long);
            }
        }
    }

    #[test]
    fn read_as_redis_does() {
        for (text, value) in [
            ("1", Some(1.0)),
            ("+1.5", Some(1.5)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("0x10", Some(16.0)),
            ("-0x1.8p1", Some(-3.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("nan", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1e", None),
            ("--1", None),
            ("0x", None),
            ("0xg", None),
            ("1e400", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("0x1p99999", None),
        ] {
            assert_eq!(parse(text.as_bytes()), value, "{text}");
        }
        for (text, value) in [
            ("", Some(0.0)),
            (" 1", Some(1.0)),
            ("1 ", None),
            ("  ", None),
            ("1e400", Some(f64::INFINITY)),
            ("7\0x", Some(7.0)),
            ("nan", None),
        ] {
            assert_eq!(parse_bound(text.as_bytes()), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(parse(text(value).as_bytes()), Some(value));
            prop_assert_eq!(parse(text_17(value).as_bytes()), Some(value));
        }
    }
}
