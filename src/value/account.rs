//! What an allocation really takes: the size classes of the allocator (mimalloc v2), computed, so
//! that the same number is added at insert and taken off at remove whichever allocator runs, and
//! so that an entry and a table fill their class instead of leaving its tail unused.
//!
//! Classes: multiples of 16 bytes up to 128, then four per doubling up to 64 KiB (128, 160, 192,
//! 224, 256, 320, …), whole pages above.

/// Largest size that has a class, in bytes; above it the allocator rounds to pages.
const CLASSED_MAX: usize = 64 * 1024;
const PAGE: usize = 4096;

/// Bytes that an allocation of `size` bytes occupies; 0 for none. A fixed point of itself.
pub const fn usable(size: usize) -> usize {
    if size <= 128 {
        size.next_multiple_of(16)
    } else if size <= CLASSED_MAX {
        let step = 1 << ((size - 1).ilog2() - 2);
        size.next_multiple_of(step)
    } else {
        size.saturating_add(PAGE - 1) & !(PAGE - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (size, class) in [
            (0, 0),
            (1, 16),
            (16, 16),
            (17, 32),
            (56, 64),
            (65, 80),
            (128, 128),
            (129, 160),
            (256, 256),
            (257, 320),
            (8193, 10_240),
            (9_232, 10_240),
            (CLASSED_MAX, CLASSED_MAX),
            (CLASSED_MAX + 1, CLASSED_MAX + PAGE),
        ] {
            assert_eq!(usable(size), class, "{size}");
        }
        let mut last = 0;
        for size in 0..300_000 {
            let class = usable(size);
            assert!(class >= size && class >= last && usable(class) == class, "{size}");
            last = class;
        }
    }
}
