//! Counts memory: what a run takes at most is a small multiple of its input, and nothing is left
//! behind it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

/// Bytes that a run may take whatever its input is: buffers of a fixed size.
const ALWAYS: usize = 4 << 20;
/// Bytes that all runs together may leave: what is made once for all.
const LEFT_MAX: isize = 64 << 10;

/// The system's allocator, counted.
struct Counted;

static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);
static LEFT: AtomicIsize = AtomicIsize::new(0);
/// Most bytes per byte of input so far, for inputs of some length.
static MOST: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static COUNTED: Counted = Counted;

fn grown(by: isize) {
    let live = LIVE.fetch_add(by, Relaxed) + by;
    if live > PEAK.load(Relaxed) {
        PEAK.store(live, Relaxed);
    }
}

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there at once.
        grown(size as isize);
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Runs `work` on an input of `len` bytes, and fails when it takes more than `per_byte` bytes for
/// each of them (LZF makes up to 88 bytes of one), or leaves something behind. A new greatest
/// multiple is said.
pub fn bounded(len: usize, per_byte: usize, work: impl FnOnce()) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    work();
    let took = (PEAK.load(Relaxed) - before).max(0) as usize;
    assert!(took <= ALWAYS + per_byte * len, "{took} bytes for an input of {len}");
    let left = LIVE.load(Relaxed) - before;
    let left = LEFT.fetch_add(left, Relaxed) + left;
    assert!(left <= LEFT_MAX, "{left} bytes are left behind");
    let multiple = (took / len.max(4096)) as isize;
    if MOST.fetch_max(multiple, Relaxed) < multiple {
        eprintln!("memory: {took} bytes for an input of {len}");
    }
}
