//! A glance ahead: where the keys of the next requests stand, for fetching their entries into the
//! cache. Guesses freely and decides nothing; the parser judges.

use smallvec::SmallVec;

/// Most keys of one glance: about as many cache misses as a core keeps in flight.
pub const KEYS_MAX: usize = 16;

/// Second arguments of requests.
pub type Keys<'a> = SmallVec<[&'a [u8]; KEYS_MAX]>;

/// Appends the second argument of the requests in `bytes` to `keys` until it is full; gives how
/// many bytes were looked through.
pub fn keys<'a>(bytes: &'a [u8], keys: &mut Keys<'a>) -> usize {
    let mut at = 0;
    while keys.len() < KEYS_MAX {
        match request(bytes, at) {
            Some((key, next)) => {
                keys.extend(key);
                at = next;
            }
            None => break,
        }
    }
    at
}

/// The second argument of the request at `at`, and where the next one begins.
fn request(bytes: &[u8], at: usize) -> Option<(Option<&[u8]>, usize)> {
    let (count, mut at) = number(bytes, at, b'*')?;
    let mut key = None;
    for i in 0..count {
        let (len, start) = number(bytes, at, b'$')?;
        let end = start.checked_add(len)?;
        if i == 1 {
            key = Some(bytes.get(start..end)?);
        }
        at = end.checked_add(2)?;
    }
    (at <= bytes.len()).then_some((key, at))
}

/// A number of at most six digits behind `kind`, and where its line ends.
fn number(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let line = bytes.get(at..)?;
    if *line.first()? != kind {
        return None;
    }
    let mut value = 0;
    for (i, &b) in line.iter().enumerate().skip(1).take(7) {
        match b {
            b'0'..=b'9' => value = value * 10 + usize::from(b - b'0'),
            b'\r' => return Some((value, at + i + 2)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_whole_requests() {
        let bytes = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\nb";
        let mut found = Keys::new();
        assert_eq!(keys(bytes, &mut found), 34);
        assert_eq!(found[..], [b"a"]);
        for junk in [&b"*9999999\r\n"[..], b"*2\r\n$99999\r\nx", b"GET a\r\n", b"*2\r\n$-1\r\n"] {
            assert_eq!(keys(junk, &mut Keys::new()), 0);
        }
    }
}
