//! Inline commands and quoted words: the grammar that typed commands, `redis.conf` lines and the
//! manifest share.

/// A quote was left open, or closed in the middle of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// Splits a line into words. Double quotes understand `\n \r \t \b \a \xHH` and `\` before any
/// other byte; single quotes understand `\'`.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|b| is_space(*b)) {
            at += 1;
        }
        if at >= line.len() {
            return Ok(words);
        }
        let (word, next) = split_word(line, at)?;
        words.push(word);
        at = next;
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}

fn split_word(line: &[u8], mut at: usize) -> Result<(Vec<u8>, usize), Unbalanced> {
    let mut word = Vec::new();
    let mut quote = 0u8;
    loop {
        let b = line.get(at).copied();
        match (quote, b) {
            (0, None) => return Ok((word, at)),
            (_, None) => return Err(Unbalanced),
            (0, Some(q @ (b'"' | b'\''))) => quote = q,
            (0, Some(b)) if is_space(b) => return Ok((word, at)),
            (b'"', Some(b'\\')) => {
                let (byte, used) = escape(&line[at..]).ok_or(Unbalanced)?;
                word.push(byte);
                at += used;
                continue;
            }
            (b'\'', Some(b'\\')) if line.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 1;
            }
            (q, Some(b)) if q != 0 && b == q => {
                return match line.get(at + 1) {
                    Some(b) if !is_space(*b) => Err(Unbalanced),
                    _ => Ok((word, at + 1)),
                };
            }
            (_, Some(b)) => word.push(b),
        }
        at += 1;
    }
}

/// Reads an escape that begins with a backslash; gives the byte and how many bytes it took.
fn escape(bytes: &[u8]) -> Option<(u8, usize)> {
    if let [b'\\', b'x', high, low, ..] = bytes {
        let hex = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
        if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
            return Some((high << 4 | low, 4));
        }
    }
    let byte = match *bytes.get(1)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    };
    Some((byte, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        let ok = |line: &str, words: &[&str]| {
            let words: Vec<Vec<u8>> = words.iter().map(|w| w.as_bytes().to_vec()).collect();
            assert_eq!(split(line.as_bytes()), Ok(words), "{line}");
        };
        ok("", &[]);
        ok("  set  a b ", &["set", "a", "b"]);
        ok(r#"set "a b" 'c d'"#, &["set", "a b", "c d"]);
        ok(r#"x "\x41\n\"" 'it\'s'"#, &["x", "A\n\"", "it's"]);
        ok(r#"a"b" c"#, &["ab", "c"]);
        assert_eq!(split(b"\"open"), Err(Unbalanced));
        assert_eq!(split(b"\"a\"b"), Err(Unbalanced));
    }
}
