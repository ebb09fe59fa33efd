//! A glance ahead: where the keys of the next requests stand, and what of a collection they name, for
//! fetching that into the cache. Guesses freely and decides nothing; the parser judges.

use smallvec::SmallVec;

/// Most keys of one glance: about as many cache misses as a core keeps in flight.
pub const KEYS_MAX: usize = 16;

/// What a request presumably looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought<'a> {
    /// Its second argument.
    pub key: &'a [u8],
    /// Its third, or the fourth where that of ZADD is a score; a field or member, if the key holds
    /// such.
    pub element: Option<&'a [u8]>,
}

/// What requests look up.
pub type Keys<'a> = SmallVec<[Sought<'a>; KEYS_MAX]>;

/// Appends what the requests in `bytes` look up to `keys` until there are `most`; gives how many
/// bytes were looked through.
pub fn keys<'a>(bytes: &'a [u8], keys: &mut Keys<'a>, most: usize) -> usize {
    let mut at = 0;
    while keys.len() < most {
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

/// What the request at `at` looks up, and where the next one begins.
fn request(bytes: &[u8], at: usize) -> Option<(Option<Sought<'_>>, usize)> {
    let (count, mut at) = number(bytes, at, b'*')?;
    let (mut key, mut element, mut place) = (None, None, 2);
    for i in 0..count {
        let (len, start) = number(bytes, at, b'$')?;
        let end = start.checked_add(len)?;
        match i {
            0 if count == 4 && bytes.get(start..end)?.eq_ignore_ascii_case(b"ZADD") => place = 3,
            1 => key = Some(bytes.get(start..end)?),
            i if i == place => element = Some(bytes.get(start..end)?),
            _ => {}
        }
        at = end.checked_add(2)?;
    }
    (at <= bytes.len()).then_some((key.map(|key| Sought { key, element }), at))
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
        assert_eq!(keys(bytes, &mut found, KEYS_MAX), 34);
        assert_eq!(found[..], [Sought { key: b"a", element: None }]);
        let bytes = b"*4\r\n$4\r\nzadd\r\n$1\r\nk\r\n$1\r\n5\r\n$1\r\nm\r\n".repeat(2);
        let mut found = Keys::new();
        assert_eq!(keys(&bytes, &mut found, 1), bytes.len() / 2);
        assert_eq!(found[..], [Sought { key: b"k", element: Some(b"m") }]);
        for junk in [&b"*9999999\r\n"[..], b"*2\r\n$99999\r\nx", b"GET a\r\n", b"*2\r\n$-1\r\n"] {
            assert_eq!(keys(junk, &mut Keys::new(), KEYS_MAX), 0);
        }
    }
}
