//! Words of a manifest line: split and quoted as Redis splits and quotes a line of `redis.conf`.
//! Pure; knows nothing of what the words mean.

/// The number a text begins with, as C's `atoll` reads it: 0 when there is none, saturating.
pub fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    digits.iter().map_while(|b| char::from(*b).to_digit(10)).fold(0i64, |n, d| {
        let n = n.saturating_mul(10);
        if negative { n.saturating_sub(i64::from(d)) } else { n.saturating_add(i64::from(d)) }
    })
}

/// Splits a line like `redis.conf`: `None` for quotes that do not close, or that are followed by
/// anything but a space.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = trim_spaces(line);
    while !rest.is_empty() {
        let (word, behind) = take_word(rest)?;
        words.push(word);
        let spaces = behind.iter().take_while(|&&b| is_space(b)).count();
        rest = &behind[spaces..];
    }
    Some(words)
}

fn take_word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut at = 0;
    while let Some(&b) = text.get(at) {
        at += 1;
        match b {
            b if is_space(b) => return Some((word, &text[at - 1..])),
            b'"' => return take_double(text, at, word),
            b'\'' => return take_single(text, at, word),
            b => word.push(b),
        }
    }
    Some((word, &[]))
}

/// The rest of a word behind its opening double quote.
fn take_double(text: &[u8], mut at: usize, mut word: Vec<u8>) -> Option<(Vec<u8>, &[u8])> {
    loop {
        match text.get(at..)? {
            [b'\\', b'x', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
                word.push(digit(*a)? << 4 | digit(*b)?);
                at += 4;
            }
            [b'\\', escaped, ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                at += 2;
            }
            [b'"', rest @ ..] => return closed(word, rest),
            [b, ..] => {
                word.push(*b);
                at += 1;
            }
            [] => return None,
        }
    }
}

/// The rest of a word behind its opening single quote.
fn take_single(text: &[u8], mut at: usize, mut word: Vec<u8>) -> Option<(Vec<u8>, &[u8])> {
    loop {
        match text.get(at..)? {
            [b'\\', b'\'', ..] => {
                word.push(b'\'');
                at += 2;
            }
            [b'\'', rest @ ..] => return closed(word, rest),
            [b, ..] => {
                word.push(*b);
                at += 1;
            }
            [] => return None,
        }
    }
}

/// A closing quote ends the word: a space or the end must follow it.
fn closed(word: Vec<u8>, rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    match rest.first() {
        Some(&b) if !is_space(b) => None,
        _ => Some((word, rest)),
    }
}

/// What C's `isspace` calls a space.
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t'..=b'\r')
}

fn trim_spaces(line: &[u8]) -> &[u8] {
    let from = line.iter().position(|&b| !is_space(b)).unwrap_or(line.len());
    let to = line.iter().rposition(|&b| !is_space(b)).map_or(from, |n| n + 1);
    &line[from..to]
}

/// Writes a value, quoted only when it needs to be.
pub fn quote(out: &mut Vec<u8>, value: &[u8]) {
    let plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\');
    if !value.is_empty() && value.iter().all(plain) {
        out.extend_from_slice(value);
        return;
    }
    out.push(b'"');
    for &b in value {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b' '..=b'~' => out.push(b),
            _ => out.extend_from_slice(format!("\\x{b:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}
