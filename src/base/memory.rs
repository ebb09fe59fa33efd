//! Freed memory on its way back to the system, and new memory on its way from there.
//!
//! Unsafe obligations:
//! 1. `mi_collect` takes no pointers and may be called by any thread at any time; it works on the
//!    calling thread's own heap, whoever the global allocator is.
//! 2. `madvise` with `MADV_POPULATE_WRITE` changes no byte of memory, whatever the addresses: it
//!    makes the kernel do now what it would do at the first write to each page. Where there is no
//!    memory, or none that may be written, it fails. `MADV_HUGEPAGE` says which pages those may be.
//! 3. `mi_option_set` and `mi_option_get` write and read one word, after a look at whether there is
//!    such an option. Other threads read it meanwhile, inside the allocator: they find the number
//!    before or the one behind, each time they look, and all that depends on it is when memory goes
//!    back.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::marker::PhantomData;
use std::sync::OnceLock;

/// What is asked for at once, in bytes as a power of two, at an address that is a multiple of it:
/// at first what the allocator fills with objects of one size.
const BLOCK: u32 = 16;
/// Behind the first [`FEW`] of those a huge page, which takes half the time, and look-ups as well.
const HUGE: u32 = 21;
const FEW: usize = 128;
/// Pieces that are known to be there already; a power of two.
const KNOWN: usize = 256;

thread_local! {
    static AHEAD: Cell<bool> = const { Cell::new(false) };
    /// What is asked for at once now, and how often it has been.
    static SIZE: Cell<u32> = const { Cell::new(BLOCK) };
    static ASKED: Cell<usize> = const { Cell::new(0) };
    /// By the lower bits of a piece's number: that number.
    static PIECES: [Cell<usize>; KNOWN] = const { [const { Cell::new(0) }; KNOWN] };
}

/// mimalloc's option `purge_delay` by its number in `mimalloc.h`: after how many milliseconds pages
/// that are free go back to the system; 0: at once; below 0: never.
const PURGE_DELAY: c_int = 15;
/// `arena_purge_mult`: how many times later than pages a region goes back, which is 32 MiB of them.
const ARENA_PURGE_MULT: c_int = 24;
/// As a multiple of the 10 ms of a page: a day.
const LEAVE: c_long = 24 * 60 * 60 * 100;

/// Gives what this thread has freed back to the system, as far as whole pages are free, and the
/// regions that all threads have left. Takes time in proportion to both.
pub fn give_back() {
    // SAFETY: (1). What is allocated is freed, once: a thread that has never allocated has no heap,
    // and for such a one nothing is done.
    unsafe {
        libmimalloc_sys::mi_free(libmimalloc_sys::mi_malloc(1));
        libmimalloc_sys::mi_collect(true);
    }
}

/// From now on regions that are free stay until somebody calls [`give_back`]. Things are seldom
/// freed in the order in which they were made, so of many nearly all regions become free with the
/// last of them: whoever freed one more would give back all of them, which takes it 50 ms and more
/// per gigabyte.
pub fn leave_regions() {
    // SAFETY: (3).
    unsafe { libmimalloc_sys::mi_option_set(ARENA_PURGE_MULT, LEAVE) }
}

/// While it lives, what becomes free goes back to the system at once, page by page and, since the
/// option is one for all, whoever frees it. For somebody who frees a lot in bounded slices: what it
/// takes to give it back is bounded then too.
#[derive(Debug)]
pub struct AtOnce(c_long);

impl AtOnce {
    /// From now on.
    pub fn begin() -> AtOnce {
        static USUAL: OnceLock<c_long> = OnceLock::new();
        // SAFETY: (3).
        let usual = *USUAL.get_or_init(|| unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) });
        if usual > 0 {
            // SAFETY: (3).
            unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) }
        }
        AtOnce(usual)
    }
}

impl Drop for AtOnce {
    fn drop(&mut self) {
        if self.0 > 0 {
            // SAFETY: (3).
            unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, self.0) }
        }
    }
}

/// While it lives, [`reach`] works on this thread.
#[derive(Debug)]
pub struct Ahead(PhantomData<*const ()>);

impl Ahead {
    /// From now on memory comes piece by piece. For a thread that is about to fill a lot of it: of
    /// each size of objects up to a piece is taken that may not be needed.
    pub fn begin() -> Ahead {
        ask_for(BLOCK);
        ASKED.set(0);
        AHEAD.set(true);
        Ahead(PhantomData)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        AHEAD.set(false);
    }
}

fn ask_for(size: u32) {
    SIZE.set(size);
    PIECES.with(|pieces| pieces.iter().for_each(|piece| piece.set(0)));
}

/// Something new stands at this address: what is around it will be filled soon, so its pages are
/// taken from the kernel together, for less than half of what a fault for each costs.
#[inline]
pub fn reach<T>(at: *const T) {
    if AHEAD.get() {
        let piece = at.addr() >> SIZE.get();
        let known = PIECES.with(|pieces| pieces[piece % KNOWN].replace(piece));
        if known != piece {
            populate(piece);
        }
    }
}

#[cold]
fn populate(piece: usize) {
    let size = SIZE.get();
    let (start, len) = (std::ptr::without_provenance_mut(piece << size), 1 << size);
    if size == HUGE {
        // SAFETY: (2). Where there are no huge pages, these come one by one.
        unsafe { libc::madvise(start, len, libc::MADV_HUGEPAGE) };
    }
    // SAFETY: (2).
    let result = unsafe { libc::madvise(start, len, libc::MADV_POPULATE_WRITE) };
    if result != 0 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::InvalidInput {
        // A kernel before 5.14 does not know how.
        AHEAD.set(false);
    }
    ASKED.set(ASKED.get() + 1);
    if ASKED.get() == FEW {
        ask_for(HUGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of the tests: room for a huge page.
    const LEN: usize = 1 << HUGE;

    /// Fresh memory of so many blocks, and pages to make up for where it begins.
    struct Fresh(*mut libc::c_void, usize);

    impl Fresh {
        fn new(blocks: usize) -> Fresh {
            let len = (blocks + 1) * LEN;
            let (protection, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: memory of its own, which nobody else knows.
            let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
            assert!(at != libc::MAP_FAILED);
            Fresh(at, len)
        }

        fn block(&self, n: usize) -> *mut libc::c_void {
            self.0.map_addr(|at| at.next_multiple_of(LEN) + n * LEN)
        }

        /// How many pages of a block are there.
        fn present(&self, n: usize) -> usize {
            let mut pages = vec![0_u8; LEN / 4096];
            // SAFETY: the block is mapped, and there is a byte for each of its pages.
            assert_eq!(unsafe { libc::mincore(self.block(n), LEN, pages.as_mut_ptr()) }, 0);
            pages.iter().filter(|page| **page & 1 == 1).count()
        }
    }

    impl Drop for Fresh {
        fn drop(&mut self) {
            // SAFETY: mapped in `new`, and not looked at any more.
            unsafe { libc::munmap(self.0, self.1) };
        }
    }

    /// Fills and frees so many bytes, and does something; how many pages are there then.
    fn left(bytes: usize, mut then: impl FnMut()) -> usize {
        // SAFETY: allocated for this, written within its bounds and freed once; `mincore` is asked
        // for whole pages inside, which stay mapped, since they belong to a region.
        unsafe {
            let at = libmimalloc_sys::mi_malloc(bytes);
            at.write_bytes(1, bytes);
            let inside = at.map_addr(|at| at.next_multiple_of(4096));
            libmimalloc_sys::mi_free(at);
            then();
            let mut pages = vec![0_u8; bytes / 4096 - 1];
            assert_eq!(libc::mincore(inside, pages.len() * 4096, pages.as_mut_ptr()), 0);
            pages.iter().filter(|page| **page & 1 == 1).count()
        }
    }

    /// Other tests of this process free in slices meanwhile, so one trial says nothing.
    fn in_some_trial(trial: impl FnMut(usize) -> bool) -> bool {
        (0..20).any(trial)
    }

    #[test]
    fn pages_go_at_once_while_asked_for() {
        assert!(in_some_trial(|_| left(1 << 20, || {}) > 0), "not asked for");
        let _at_once = AtOnce::begin();
        assert!(in_some_trial(|_| {
            drop(AtOnce::begin());
            let _again = AtOnce::begin();
            left(1 << 20, || {}) == 0
        }));
    }

    #[test]
    fn regions_stay_until_somebody_asks() {
        leave_regions();
        let later = || {
            let begin = std::time::Instant::now();
            while begin.elapsed() < std::time::Duration::from_millis(150) {
                // SAFETY: (1).
                unsafe { libmimalloc_sys::mi_collect(false) }
            }
        };
        assert!(in_some_trial(|_| left(40 << 20, later) > 0));
        let elsewhere = || std::thread::spawn(give_back).join().unwrap();
        assert!(in_some_trial(|_| left(40 << 20, elsewhere) == 0));
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
    fn much_comes_in_large_pieces() {
        let fresh = Fresh::new(2 + FEW);
        let _ahead = Ahead::begin();
        (0..FEW).for_each(|n| reach(fresh.block(n)));
        let few = 1 << (BLOCK - 12);
        assert!((0..FEW).all(|n| fresh.present(n) == few));
        reach(fresh.block(FEW));
        assert_eq!([fresh.present(FEW), fresh.present(FEW + 1)], [LEN / 4096, 0]);
    }

    #[test]
    fn where_there_is_no_memory_nothing_happens() {
        let _ahead = Ahead::begin();
        reach(std::ptr::without_provenance::<u8>(1 << BLOCK));
        reach(std::ptr::without_provenance::<u8>(usize::MAX));
    }
}
