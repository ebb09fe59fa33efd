//! A message of one buffer with shared pieces standing in it, sent by `sendmsg` a bounded number
//! of pieces at a time.
//!
//! Invariant: the cursor (`in_buf`, `piece`, `in_piece`) is the first unsent byte; `in_piece` is
//! not 0 only when `in_buf` stands at the offset of `pieces[piece]`.
#![allow(unsafe_code)]

use bytes::Bytes;

/// Pieces handed to the kernel at once (1 KiB of iovecs).
const PIECES_MAX: usize = 64;

/// A message on its way.
pub(super) struct Message {
    buf: Vec<u8>,
    pieces: Vec<(usize, Bytes)>,
    in_buf: usize,
    piece: usize,
    in_piece: usize,
    vectors: [libc::iovec; PIECES_MAX],
    header: libc::msghdr,
}

impl Message {
    /// A message not yet begun. `pieces` stand in front of ascending offsets of `buf`.
    pub fn new(buf: Vec<u8>, pieces: Vec<(usize, Bytes)>) -> Box<Message> {
        assert!(pieces.is_sorted_by_key(|(at, _)| *at));
        assert!(pieces.last().is_none_or(|(at, _)| *at <= buf.len()));
        // SAFETY: both are plain C structures for which all zeroes is a value.
        let (vectors, header) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Box::new(Message { buf, pieces, in_buf: 0, piece: 0, in_piece: 0, vectors, header })
    }

    /// Total length in bytes.
    pub fn len(&self) -> usize {
        self.buf.len() + self.pieces.iter().map(|(_, piece)| piece.len()).sum::<usize>()
    }

    /// Counts `sent` more bytes as gone.
    pub fn advance(&mut self, mut sent: usize) {
        while sent > 0 {
            let (left, in_piece) = match self.pieces.get(self.piece) {
                Some((at, _)) if self.in_buf < *at => (at - self.in_buf, false),
                Some((_, piece)) => (piece.len() - self.in_piece, true),
                None => (self.buf.len() - self.in_buf, false),
            };
            let step = left.min(sent);
            sent -= step;
            match (in_piece, step == left) {
                (false, _) => {
                    assert!(step > 0, "more sent than the message holds");
                    self.in_buf += step;
                }
                (true, false) => self.in_piece += step,
                (true, true) => {
                    // Sent whole: let go of the value at once, it may be large.
                    self.pieces[self.piece].1 = Bytes::new();
                    self.piece += 1;
                    self.in_piece = 0;
                }
            }
        }
    }

    /// The next unsent parts, in order, as many as fit.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut in_buf = self.in_buf;
        let mut skip = self.in_piece;
        let mut pieces = self.pieces[self.piece..].iter();
        let mut waiting: Option<&Bytes> = None;
        let mut ended = false;
        std::iter::from_fn(move || {
            if let Some(piece) = waiting.take() {
                return Some(&piece[std::mem::take(&mut skip)..]);
            }
            if ended {
                return None;
            }
            let Some((at, piece)) = pieces.next() else {
                ended = true;
                return Some(&self.buf[in_buf..]);
            };
            waiting = Some(piece);
            Some(&self.buf[std::mem::replace(&mut in_buf, *at)..*at])
        })
        .filter(|part| !part.is_empty())
        .take(PIECES_MAX)
    }

    /// Points the header at the unsent parts. What it points to stays in place as long as the
    /// message does: the box, the buffer and the shared pieces all live on the heap.
    pub fn header(&mut self) -> *const libc::msghdr {
        let mut filled = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; PIECES_MAX];
        let mut count = 0;
        for part in self.parts() {
            filled[count] =
                libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
            count += 1;
        }
        self.vectors = filled;
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = count as _;
        &raw const self.header
    }

    /// The buffer, when the message is done with.
    pub fn into_buf(self: Box<Self>) -> Vec<u8> {
        self.buf
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_and_advance_agree_with_the_plain_concatenation(
            buf in proptest::collection::vec(any::<u8>(), 0..50),
            cuts in proptest::collection::vec(
                (0usize..51, proptest::collection::vec(any::<u8>(), 0..9)), 0..100),
            steps in proptest::collection::vec(0usize..40, 0..30),
        ) {
            let mut pieces: Vec<(usize, Bytes)> =
                cuts.into_iter().map(|(at, p)| (at.min(buf.len()), p.into())).collect();
            pieces.sort_by_key(|(at, _)| *at);
            let mut plain = Vec::new();
            let mut from = 0;
            for (at, piece) in &pieces {
                plain.extend_from_slice(&buf[from..*at]);
                plain.extend_from_slice(piece);
                from = *at;
            }
            plain.extend_from_slice(&buf[from..]);
            let mut message = Message::new(buf, pieces);
            prop_assert_eq!(message.len(), plain.len());
            let mut at = 0;
            for step in steps {
                let shown: Vec<u8> = message.parts().flatten().copied().collect();
                prop_assert!(plain[at..].starts_with(&shown));
                prop_assert_eq!(shown.is_empty(), at == plain.len());
                let step = step.min(shown.len());
                message.advance(step);
                at += step;
            }
        }
    }
}
