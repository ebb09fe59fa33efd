//! Requests on their way to another shard, their bytes in one buffer: a pipeline's worth of them
//! costs two or three allocations, and those are made and given back by the thread that sends them.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::command::args::Args;

/// Room that is made when a second request comes: more will, in bytes.
const ROOM: usize = 512;

/// Requests with their bytes.
#[derive(Debug, Default)]
pub struct Requests {
    buf: Vec<u8>,
    /// Where each word stands in `buf`, request by request.
    words: SmallVec<[(usize, usize); 4]>,
    /// Long words that stand in buffers of their own, by their place among `words`.
    shared: Vec<(usize, Bytes)>,
}

/// Where one of them stands.
#[derive(Debug)]
pub struct Packed {
    /// Its words.
    words: Range<usize>,
    /// The bytes it came in, where it was a RESP array.
    raw: Option<Range<usize>>,
}

impl Requests {
    /// Copies a request; long words that have a buffer of their own are shared.
    pub fn pack(&mut self, args: &Args<'_>) -> Packed {
        let first = self.words.len();
        if first > 0 && self.buf.capacity() < ROOM {
            self.buf.reserve(ROOM);
        }
        let raw = args.raw().filter(|raw| args.items().iter().all(|item| holds(raw, item)));
        let raw = match raw {
            Some(raw) => {
                let at = self.copy(raw);
                for item in args.items() {
                    let start = at.start + (item.as_ptr().addr() - raw.as_ptr().addr());
                    self.words.push((start, start + item.len()));
                }
                Some(at)
            }
            None => {
                self.pack_words(args);
                None
            }
        };
        Packed { words: first..self.words.len(), raw }
    }

    /// Its words alone.
    fn pack_words(&mut self, args: &Args<'_>) {
        for (i, item) in args.items().iter().enumerate() {
            if let Some(bytes) = args.shared(i) {
                self.shared.push((self.words.len(), bytes.clone()));
                self.words.push((0, 0));
            } else {
                let at = self.copy(item);
                self.words.push((at.start, at.end));
            }
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.buf.len();
        if start == 0 && self.buf.capacity() == 0 {
            self.buf.reserve_exact(bytes.len());
        }
        self.buf.extend_from_slice(bytes);
        start..self.buf.len()
    }

    /// Runs `f` with the arguments of one of them.
    pub fn with<R>(&self, packed: &Packed, f: impl FnOnce(&Args<'_>) -> R) -> R {
        let mut items = SmallVec::<[&[u8]; 8]>::new();
        items
            .extend(self.words[packed.words.clone()].iter().map(|&(from, to)| &self.buf[from..to]));
        if let Some(raw) = &packed.raw {
            return f(&Args::with_raw(&items, &self.buf[raw.clone()]));
        }
        let own = self.shared.iter().find(|(word, _)| packed.words.contains(word));
        let own = own.map(|(word, bytes)| (word - packed.words.start, bytes));
        if let Some((at, bytes)) = own {
            items[at] = bytes;
            return f(&Args::new(&items).sharing(at, bytes));
        }
        f(&Args::new(&items))
    }

    /// The second word of a request: its key, where it has one.
    pub fn key(&self, packed: &Packed) -> Option<&[u8]> {
        let &(from, to) = self.words.get(packed.words.clone())?.get(1)?;
        Some(&self.buf[from..to])
    }

    /// Gives up buffers that are shared with whoever has kept the word: a value that nobody else
    /// holds is changed in its place.
    pub fn give_up_shared(&mut self) {
        self.shared.clear();
    }
}

/// A single request that outlives the buffer it was parsed from: queued by MULTI, or waiting. The
/// bytes it came in are not kept: it may run where a log entry of several shards is made.
#[derive(Debug, Default)]
pub struct OwnedRequest(Requests);

impl OwnedRequest {
    /// Copies a request; a long word that has a buffer of its own is shared.
    pub fn from_args(args: &Args<'_>) -> Self {
        let mut requests = Requests::default();
        let alone = |at: usize| if args.shared(at).is_some() { 0 } else { args[at].len() };
        requests.buf.reserve_exact((0..args.len()).map(alone).sum());
        requests.pack_words(args);
        OwnedRequest(requests)
    }

    /// Copies plain slices.
    pub fn from_slices(items: &[&[u8]]) -> Self {
        OwnedRequest::from_args(&Args::new(items))
    }

    /// Runs `f` with the arguments.
    pub fn with<R>(&self, f: impl FnOnce(&Args<'_>) -> R) -> R {
        self.0.with(&Packed { words: 0..self.words(), raw: None }, f)
    }

    /// Number of arguments.
    pub fn words(&self) -> usize {
        self.0.words.len()
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        let shared: usize = self.0.shared.iter().map(|(_, bytes)| bytes.len()).sum();
        self.0.buf.len() + size_of::<(usize, usize)>() * self.words() + shared
    }
}

/// Whether `part` stands within `whole`.
fn holds(whole: &[u8], part: &[u8]) -> bool {
    let from = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    from <= whole.len() && part.len() <= whole.len() - from
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(requests: &Requests, packed: &Packed) -> Vec<Vec<u8>> {
        requests.with(packed, |args| args.items().iter().map(|item| item.to_vec()).collect())
    }

    #[test]
    fn a_request_alone_keeps_its_words() {
        let long = Bytes::from(b"a long one".to_vec());
        let items: [&[u8]; 5] = [b"SET", b"key", &long, b"EX", b"10"];
        let owned = OwnedRequest::from_args(&Args::new(&items).sharing(2, &long));
        assert_eq!((owned.words(), owned.size()), (5, 10 + 10 + 5 * 16));
        owned.with(|args| {
            assert_eq!(args.items(), items);
            assert_eq!(args.shared(2), Some(&long));
        });
        let raw = b"*1\r\n$4\r\nPING\r\n";
        let owned = OwnedRequest::from_args(&Args::with_raw(&[&raw[8..12]], raw));
        owned.with(|args| assert_eq!((args.raw(), args.items()), (None, &[&b"PING"[..]][..])));
    }

    #[test]
    fn requests_come_out_as_they_went_in() {
        let mut requests = Requests::default();
        let raw = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        let first = requests.pack(&Args::with_raw(&[&raw[8..11], &raw[17..18]], raw));
        let second = requests.pack(&Args::new(&[b"SET", b"key", b""]));
        let long = Bytes::from(b"a long one".to_vec());
        let items: [&[u8]; 3] = [b"SET", b"other", &long];
        let third = requests.pack(&Args::new(&items).sharing(2, &long));
        // A name that has been changed stands elsewhere than the bytes it came in.
        let renamed = requests.pack(&Args::with_raw(&[b"DEL", &raw[17..18]], raw));
        assert_eq!(words(&requests, &first), [b"GET".to_vec(), b"k".to_vec()]);
        assert_eq!(words(&requests, &second), [b"SET".to_vec(), b"key".to_vec(), vec![]]);
        assert_eq!(words(&requests, &third), items.map(<[u8]>::to_vec));
        assert_eq!(words(&requests, &renamed), [b"DEL".to_vec(), b"k".to_vec()]);
        requests.with(&first, |args| assert_eq!(args.raw(), Some(&raw[..])));
        requests.with(&second, |args| assert_eq!((args.raw(), args.shared(2)), (None, None)));
        requests.with(&third, |args| assert_eq!(args.shared(2), Some(&long)));
        requests.with(&renamed, |args| assert_eq!(args.raw(), None));
        let keys = [&first, &second, &third, &renamed].map(|packed| requests.key(packed));
        assert_eq!(keys, [&b"k"[..], b"key", b"other", b"k"].map(Some));
        let alone = requests.pack(&Args::new(&[b"PING"]));
        assert_eq!(requests.key(&alone), None);
        requests.give_up_shared();
        assert!(long.is_unique(), "it can be changed in its place");
    }
}
