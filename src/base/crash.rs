//! Ends of the process that are asked for, to see what is told of them.
//!
//! Unsafe obligation: the page that is written to was mapped for this alone; nobody else ever has
//! its address, and nothing of the program lies there.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};

/// Ends the process by a write to memory that must not be written to.
pub fn segfault() -> ! {
    const LENGTH: usize = 4096;
    // SAFETY: new memory wherever the kernel likes.
    let page = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        libc::mmap(std::ptr::null_mut(), LENGTH, libc::PROT_READ, flags, -1, 0)
    };
    if page != libc::MAP_FAILED {
        // SAFETY: there is memory at this address, which nobody else has. The kernel does not let
        // it be written to, which is what is asked for.
        unsafe { page.cast::<u8>().write_volatile(b'x') };
    }
    // Not reached where memory has protection.
    std::process::abort()
}

/// Ends the process as one that gets no more memory.
pub fn out_of_memory() -> ! {
    let all = Layout::array::<u8>(isize::MAX as usize).unwrap_or(Layout::new::<u8>());
    handle_alloc_error(all)
}
