//! The grammar of `redis.conf`: one directive a line, words separated by blanks.
//!
//! | form | meaning |
//! |---|---|
//! | `# …` | a remark, when it is the first thing on a line |
//! | `word` | ends at a blank |
//! | `"…"` | `\n \r \t \b \a`, `\xHH` and `\` before anything else; must be followed by a blank |
//! | `'…'` | only `\'` is special; must be followed by a blank |

/// Splits a line into words; `None` when a quote is not closed or not followed by a blank.
pub fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|b| blank(**b)).count();
        rest = &rest[blanks..];
        // A NUL ends the line, as it does in C.
        if matches!(rest, [] | [0, ..]) {
            return Some(words);
        }
        let mut word = Vec::new();
        rest = read_word(rest, &mut word)?;
        words.push(word);
    }
}

/// Reads one word; what follows it.
fn read_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] | [0, ..] => return Some(rest),
            [b, ..] if blank(*b) => return Some(rest),
            [b'"', inner @ ..] => return closed(double_quoted(inner, word)?),
            [b'\'', inner @ ..] => return closed(single_quoted(inner, word)?),
            [b, tail @ ..] => {
                word.push(*b);
                rest = tail;
            }
        }
    }
}

/// What may follow a closing quote.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|b| blank(*b) || *b == 0).then_some(rest)
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [b'\'', tail @ ..] => return Some(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Appends `word` so that [`split`] reads it back: quoted when it has to be.
pub fn quote(out: &mut Vec<u8>, word: &[u8]) {
    let plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\' | b'#');
    if !word.is_empty() && word.iter().all(plain) {
        out.extend_from_slice(word);
        return;
    }
    quote_always(out, word);
}

/// Appends `word` in double quotes.
pub fn quote_always(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b'"');
    for &b in word {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(b),
            _ => out.extend_from_slice(format!("\\x{b:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let words = split(line.as_bytes())?;
        Some(words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect())
    }

    #[test]
    fn words_and_quotes() {
        let is = |line, expected: &[&str]| {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        };
        is("save 900  1\t", &["save", "900", "1"]);
        is(r#"requirepass "a b\x41\n\q\"""#, &["requirepass", "a bA\nq\""]);
        is(r"logfile 'it\'s \n'", &["logfile", r"it's \n"]);
        is(r#"save """#, &["save", ""]);
        is(r#"ab"cd ef" x"#, &["abcd ef", "x"]);
        is(r#"x "\xg1""#, &["x", "xg1"]);
        is("", &[]);
        for open in [r#"a "b"#, "a 'b", r#"a "b"c"#, "a 'b'c", r#"a "b\"#] {
            assert_eq!(words(open), None, "{open}");
        }
    }

    proptest! {
        #[test]
        fn quoting_is_undone(words in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let mut line = Vec::new();
            for word in &words {
                quote(&mut line, word);
                line.push(b' ');
            }
            prop_assert_eq!(split(&line), Some(words));
        }

        #[test]
        fn any_line_ends(line: Vec<u8>) {
            split(&line);
        }
    }
}
