//! Redis' glob patterns (`KEYS`, `SCAN MATCH`, `CONFIG GET`).
//!
//! | in a pattern | matches |
//! |---|---|
//! | `*` | any bytes, none included |
//! | `?` | one byte |
//! | `[abc]`, `[a-z]`, `[^a]` | one byte of the class, or one outside of it |
//! | `\x` | the byte `x` |
//!
//! The odd corners are Redis' own and clients rely on them: a class that is never closed ends with
//! the pattern; an escape inside a class ignores `nocase`; ranges compare bytes as signed numbers
//! and may be written backwards; an empty text is matched by the empty pattern alone.
//!
//! Matching is iterative. When the part behind a `*` fails, only the *last* `*` is tried again one
//! byte further: if the part behind it matches nowhere in the rest of the text, an earlier `*`
//! cannot help, since it would leave even less text. So the work is at most pattern length times
//! text length, and the stack does not grow with either.

/// True when `text` matches `pattern`; `nocase` folds ASCII case.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    // Where to go on when a byte does not fit: (pattern behind the last `*`, text it takes next).
    let mut retry: Option<(usize, usize)> = None;
    let (mut p, mut t) = (0, 0);
    loop {
        while pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
        }
        if t == text.len() {
            return p == pattern.len();
        }
        // A `*` at the end takes all that is left.
        if p == pattern.len() && retry.is_some_and(|(behind, _)| behind == p) {
            return true;
        }
        match step(pattern, p, text[t], nocase) {
            Some(next) => {
                p = next;
                t += 1;
            }
            None => {
                let Some((behind, from)) = retry else { return false };
                retry = Some((behind, from + 1));
                (p, t) = (behind, from + 1);
            }
        }
    }
}

/// Matches one byte against the pattern element at `p`; the position behind the element, if it
/// fits. Never called on a `*`.
fn step(pattern: &[u8], p: usize, byte: u8, nocase: bool) -> Option<usize> {
    let literal = |at: usize| {
        let fits =
            if nocase { pattern[at].eq_ignore_ascii_case(&byte) } else { pattern[at] == byte };
        fits.then_some(at + 1)
    };
    match pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, byte, nocase),
        b'\\' if p + 1 < pattern.len() => literal(p + 1),
        _ => literal(p),
    }
}

/// Matches one byte against the class whose `[` stands before `p`.
fn class(pattern: &[u8], mut p: usize, byte: u8, nocase: bool) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut hit = false;
    loop {
        match &pattern[p.min(pattern.len())..] {
            // Never closed: it ends with the pattern.
            [] => break,
            [b'\\', escaped, ..] => {
                hit |= *escaped == byte;
                p += 2;
            }
            [b']', ..] => {
                p += 1;
                break;
            }
            [from, b'-', to, ..] => {
                hit |= in_range(*from, *to, byte, nocase);
                p += 3;
            }
            [one, ..] => {
                hit |= if nocase { one.eq_ignore_ascii_case(&byte) } else { *one == byte };
                p += 1;
            }
        }
    }
    (hit != negated).then_some(p)
}

fn in_range(from: u8, to: u8, byte: u8, nocase: bool) -> bool {
    let (low, high) = if from as i8 > to as i8 { (to, from) } else { (from, to) };
    let fold = |b: u8| (if nocase { b.to_ascii_lowercase() } else { b }) as i8;
    (fold(low)..=fold(high)).contains(&fold(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn m(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    /// The definition, by recursion and without any short cut.
    fn model(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        if text.is_empty() {
            return pattern.iter().all(|&b| b == b'*');
        }
        match pattern {
            [] => false,
            [b'*', rest @ ..] => (0..=text.len()).any(|n| model(rest, &text[n..], nocase)),
            _ => step(pattern, 0, text[0], nocase)
                .is_some_and(|next| model(&pattern[next..], &text[1..], nocase)),
        }
    }

    #[test]
    fn plain_patterns() {
        assert!(m("*", "x") && m("**", "xyz") && m("h?llo", "hello") && m("h*llo", "heeeello"));
        assert!(m("h*llo", "hllo") && m("a*", "a") && m("*a", "a") && m("a**", "a"));
        assert!(!m("h?llo", "hllo") && !m("a", "ab") && !m("ab", "a") && !m("", "a"));
        assert!(m("a*b*c", "a-b-b-c") && !m("a*b*c", "a-b-b-"));
        assert!(m(r"\*", "*") && !m(r"\*", "x") && m("\\", "\\") && m(r"a\\", r"a\"));
        assert!(m("", "") && !m("*", ""), "an empty text is for the empty pattern alone");
    }

    #[test]
    fn classes() {
        assert!(m("h[ae]llo", "hello") && m("h[a-c]llo", "hbllo") && !m("h[^e]llo", "hello"));
        assert!(m("[c-a]", "b"), "ranges may be written backwards");
        assert!(m("[abc", "c") && !m("[", "["), "an open class ends with the pattern");
        assert!(m("[^", "x") && m("x[^]", "xy"), "nothing in it, negated: anything");
        assert!(!m("[]", "]") && m(r"[\]]", "]") && m(r"[\-a]", "-") && m("[a-", "-"));
        assert!(m("[a-]", "]") || !m("[a-]", "-"), "`-` in front of `]` takes it as a bound");
        assert!(matches(b"[\x7f-\x80]", b"a", false), "bounds are signed");
    }

    #[test]
    fn case() {
        assert!(matches(b"ABC*[x]", b"abcdX", true) && matches(b"[A-C]", b"b", true));
        assert!(!matches(br"[\A]", b"a", true), "an escape in a class is exact");
        assert!(!matches(b"[Z-a]", b"z", true), "bounds are ordered before they are folded");
        assert!(!matches("Ä".as_bytes(), "ä".as_bytes(), true));
    }

    #[test]
    fn hostile_patterns_end() {
        let text = vec![b'a'; 2000];
        let mut pattern = b"a*".repeat(1000);
        pattern.push(b'b');
        assert!(!matches(&pattern, &text, false));
        assert!(matches(&b"*?".repeat(2000), &text, false));
        assert!(matches(&b"[".repeat(100_000), b"[", false));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            pattern in "[ab*?\\[\\]^\\\\-]{0,9}", text in "[ab\\]^-]{1,8}", nocase: bool,
        ) {
            let (p, t) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(p, t, nocase), model(p, t, nocase));
        }

        #[test]
        fn any_bytes_end(pattern: Vec<u8>, text: Vec<u8>, nocase: bool) {
            matches(&pattern, &text, nocase);
        }
    }
}
