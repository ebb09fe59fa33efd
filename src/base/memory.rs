//! Freed memory on its way back to the system, and new memory on its way from there.
//!
//! Unsafe obligations:
//! 1. `mi_collect` takes no pointers and may be called by any thread at any time; it works on the
//!    calling thread's own heap, whoever the global allocator is.
//! 2. `madvise` with `MADV_POPULATE_WRITE` changes no byte of memory, whatever the addresses: it
//!    makes the kernel do now what it would do at the first write to each page. Where there is no
//!    memory, or none that may be written, it fails.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;

/// What is asked for at once, in bytes, at an address that is a multiple of it: what the allocator
/// fills with objects of one size.
const BLOCK: usize = 64 << 10;
/// Blocks that are known to be there already; a power of two.
const KNOWN: usize = 256;

thread_local! {
    static AHEAD: Cell<bool> = const { Cell::new(false) };
    /// By the lower bits of a block's number: that number.
    static BLOCKS: [Cell<usize>; KNOWN] = const { [const { Cell::new(0) }; KNOWN] };
}

/// Gives what this thread has freed back to the system, as far as whole pages are free. Takes time
/// in proportion to the thread's heap.
pub fn give_back() {
    // SAFETY: (1).
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// While it lives, [`reach`] works on this thread.
#[derive(Debug)]
pub struct Ahead(PhantomData<*const ()>);

impl Ahead {
    /// From now on memory comes block by block. For a thread that is about to fill a lot of it:
    /// of each size of objects up to a block is taken that may not be needed.
    pub fn begin() -> Ahead {
        BLOCKS.with(|blocks| blocks.iter().for_each(|block| block.set(0)));
        AHEAD.set(true);
        Ahead(PhantomData)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        AHEAD.set(false);
    }
}

/// Something new stands at this address: the block around it will be filled soon, so its pages are
/// taken from the kernel together, for less than half of what a fault for each costs.
#[inline]
pub fn reach<T>(at: *const T) {
    if AHEAD.get() {
        let block = at.addr() / BLOCK;
        let known = BLOCKS.with(|blocks| blocks[block % KNOWN].replace(block));
        if known != block {
            populate(block * BLOCK);
        }
    }
}

#[cold]
fn populate(from: usize) {
    let start = std::ptr::without_provenance_mut(from);
    // SAFETY: (2).
    let result = unsafe { libc::madvise(start, BLOCK, libc::MADV_POPULATE_WRITE) };
    if result != 0 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::InvalidInput {
        // A kernel before 5.14 does not know how.
        AHEAD.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fresh memory of so many blocks, and pages to make up for where it begins.
    struct Fresh(*mut libc::c_void, usize);

    impl Fresh {
        fn new(blocks: usize) -> Fresh {
            let len = (blocks + 1) * BLOCK;
            let (protection, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: memory of its own, which nobody else knows.
            let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
            assert!(at != libc::MAP_FAILED);
            Fresh(at, len)
        }

        fn block(&self, n: usize) -> *mut libc::c_void {
            self.0.map_addr(|at| at.next_multiple_of(BLOCK) + n * BLOCK)
        }

        /// How many pages of a block are there.
        fn present(&self, n: usize) -> usize {
            let mut pages = [0_u8; BLOCK / 4096];
            // SAFETY: the block is mapped, and there is a byte for each of its pages.
            assert_eq!(unsafe { libc::mincore(self.block(n), BLOCK, pages.as_mut_ptr()) }, 0);
            pages.iter().filter(|page| **page & 1 == 1).count()
        }
    }

    impl Drop for Fresh {
        fn drop(&mut self) {
            // SAFETY: mapped in `new`, and not looked at any more.
            unsafe { libc::munmap(self.0, self.1) };
        }
    }

    #[test]
    fn a_block_comes_at_once() {
        let fresh = Fresh::new(3);
        let reach_within = |n: usize| reach(fresh.block(n).wrapping_byte_add(5000));
        reach_within(0);
        assert_eq!(fresh.present(0), 0, "not asked for");
        let ahead = Ahead::begin();
        reach_within(1);
        reach_within(1);
        assert_eq!((0..3).map(|n| fresh.present(n)).collect::<Vec<_>>(), [0, 16, 0]);
        drop(ahead);
        reach_within(2);
        assert_eq!(fresh.present(2), 0, "not any more");
    }

    #[test]
    fn where_there_is_no_memory_nothing_happens() {
        let _ahead = Ahead::begin();
        reach(std::ptr::without_provenance::<u8>(BLOCK));
        reach(std::ptr::without_provenance::<u8>(usize::MAX));
    }
}
