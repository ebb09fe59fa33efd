//! Buffers of frames that are durable, kept for the next ones: under `everysec` a second's frames
//! come and go together, and their memory would go back to the system and come again each time.

/// Shorter ones are no matter, and longer ones are rare, in bytes.
const SHORTEST: usize = 4 << 10;
const LONGEST: usize = 1 << 20;
/// One list for each power of two between them.
const LISTS: usize = (LONGEST / SHORTEST).ilog2() as usize + 1;

/// Buffers by capacity, each of which is a power of two.
#[derive(Debug, Default)]
pub struct Buffers {
    free: [Vec<Vec<u8>>; LISTS],
    bytes: usize,
}

impl Buffers {
    /// An empty buffer for `len` bytes.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        let capacity = len.next_power_of_two();
        let Some(list) = list_of(capacity) else { return Vec::with_capacity(len) };
        match self.free[list].pop() {
            Some(buffer) => {
                self.bytes -= capacity;
                buffer
            }
            None => Vec::with_capacity(capacity),
        }
    }

    /// Takes back a buffer that is not needed any more; gives how many bytes it keeps of it.
    pub fn give(&mut self, mut buffer: Vec<u8>) -> usize {
        let capacity = buffer.capacity();
        let Some(list) = list_of(capacity) else { return 0 };
        buffer.clear();
        self.free[list].push(buffer);
        self.bytes += capacity;
        capacity
    }

    /// Lets go of all beyond so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        for list in self.free.iter_mut().rev() {
            while self.bytes > bytes
                && let Some(buffer) = list.pop()
            {
                self.bytes -= buffer.capacity();
            }
        }
    }

    /// Bytes kept.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.bytes
    }
}

fn list_of(capacity: usize) -> Option<usize> {
    let kept = capacity.is_power_of_two() && (SHORTEST..=LONGEST).contains(&capacity);
    kept.then(|| (capacity / SHORTEST).ilog2() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_for_what_is_as_long() {
        let mut buffers = Buffers::default();
        let first = buffers.take(5000);
        let at = first.as_ptr();
        assert_eq!((first.capacity(), buffers.give(first)), (8192, 8192));
        let other = buffers.take(4096);
        assert!(other.as_ptr() != at && buffers.bytes() == 8192);
        let again = buffers.take(8192);
        assert!(again.as_ptr() == at && again.is_empty() && buffers.bytes() == 0);
    }

    #[test]
    fn what_is_too_short_or_too_long_is_not_kept() {
        let mut buffers = Buffers::default();
        for len in [1, 4000, LONGEST + 1] {
            let buffer = buffers.take(len);
            assert!(buffer.capacity() >= len);
            let kept = buffers.give(buffer);
            assert_eq!(kept, if len == 4000 { 4096 } else { 0 });
        }
        assert_eq!(buffers.give(vec![0; 4096 + 1]), 0);
    }

    #[test]
    fn it_keeps_no_more_than_it_is_told() {
        let mut buffers = Buffers::default();
        let taken: Vec<_> = [4096, 4096, LONGEST, 65536].map(|len| buffers.take(len)).into();
        taken.into_iter().for_each(|buffer| assert!(buffers.give(buffer) > 0));
        buffers.shrink(75_000);
        assert_eq!(buffers.bytes(), 65536 + 8192);
        buffers.shrink(10_000);
        assert_eq!(buffers.bytes(), 8192);
        buffers.shrink(0);
        assert_eq!((buffers.bytes(), buffers.take(4096).capacity()), (0, 4096));
    }
}
