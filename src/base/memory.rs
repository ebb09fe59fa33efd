//! Freed memory on its way back to the system.
//!
//! Unsafe obligation: `mi_collect` takes no pointers and may be called by any thread at any time;
//! it works on the calling thread's own heap, whoever the global allocator is.
#![allow(unsafe_code)]

/// Gives what this thread has freed back to the system, as far as whole pages are free. Takes time
/// in proportion to the thread's heap.
pub fn give_back() {
    // SAFETY: see above.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
