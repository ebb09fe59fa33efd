//! Provided receive buffers: one block of memory cut into equal buffers that the kernel picks from
//! when bytes arrive, so that an idle connection holds none.
//!
//! Obligations of the unsafe blocks, cited by number:
//!
//! 1. `entries` is page-aligned memory for `count` ring entries, `memory` is `count *
//!    buffer_bytes` bytes; both are allocated here, live until `release` or are leaked, and are
//!    reached only through raw pointers.
//! 2. A buffer belongs to the kernel (`lent[id] == 0`) or to the holder of its `RecvBuffer`
//!    (`lent[id]` is the length lent). The kernel writes only to its own, so a slice of a lent one
//!    is stable until it is given back.
//! 3. An entry is written only before the tail that publishes it, and the tail is published with
//!    Release ordering, as the kernel reads it with Acquire.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The one buffer group.
const GROUP: u16 = 0;
/// Marks a lent buffer that holds no byte.
const LENT_EMPTY: u32 = u32::MAX;

/// Received bytes: an owned handle to a provided buffer. It must be given back to the ring it came
/// from (`Ring::recycle`); one that is dropped is lost to the ring.
#[derive(Debug)]
#[must_use = "a buffer that is not recycled is lost to the ring"]
pub struct RecvBuffer {
    id: u16,
    len: u32,
}

impl RecvBuffer {
    /// Number of bytes received, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.len as usize
    }
}

/// The buffers and the ring in which they are offered to the kernel.
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    buffer_bytes: usize,
    tail: u16,
    /// Length lent by buffer id; 0 while the kernel has it.
    lent: Vec<u32>,
    lent_count: u16,
}

impl Buffers {
    /// Allocates `count` (a power of two, at most 32,768) buffers and registers them.
    pub fn register(
        submitter: &Submitter<'_>,
        count: u16,
        buffer_bytes: usize,
    ) -> io::Result<Buffers> {
        assert!(count.is_power_of_two() && buffer_bytes > 0 && buffer_bytes <= 1 << 24);
        let entries = allocate(entries_layout(count)).cast();
        let memory = allocate(memory_layout(count, buffer_bytes));
        touch(memory, memory_layout(count, buffer_bytes));
        let mut buffers = Buffers {
            entries,
            memory,
            count,
            buffer_bytes,
            tail: 0,
            lent: vec![0; usize::from(count)],
            lent_count: 0,
        };
        // SAFETY: (1) the entries stay valid until unregistered in `release`, or are leaked.
        let registered = unsafe {
            submitter.register_buf_ring_with_flags(entries.as_ptr() as u64, count, GROUP, 0)
        };
        if let Err(error) = registered {
            buffers.free();
            return Err(error);
        }
        for id in 0..count {
            buffers.offer(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Unregisters and frees everything. Nothing may be in flight on the ring.
    pub fn release(self, submitter: &Submitter<'_>) {
        if submitter.unregister_buf_ring(GROUP).is_ok() {
            self.free();
        }
        // Otherwise the kernel may still know the memory: leaked.
    }

    fn free(&self) {
        // SAFETY: (1) allocated with these layouts; only `register` (refused by the kernel) and
        // `release` (unregistered) come here, once.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), entries_layout(self.count));
            dealloc(self.memory.as_ptr(), memory_layout(self.count, self.buffer_bytes));
        }
    }

    /// The group to name in a receive.
    pub fn group(&self) -> u16 {
        GROUP
    }

    /// Number of buffers in the kernel's hands, as far as completions have been handed out.
    pub fn available(&self) -> usize {
        usize::from(self.count - self.lent_count)
    }

    /// Takes over buffer `id`, into which the kernel has put `len` bytes.
    pub fn lend(&mut self, id: u16, len: u32) -> RecvBuffer {
        let lent = &mut self.lent[usize::from(id)];
        assert_eq!(*lent, 0, "the kernel filled a buffer it does not have");
        assert!(len as usize <= self.buffer_bytes);
        *lent = if len == 0 { LENT_EMPTY } else { len };
        self.lent_count += 1;
        RecvBuffer { id, len }
    }

    /// The received bytes.
    pub fn bytes(&self, buffer: &RecvBuffer) -> &[u8] {
        let lent = self.lent[usize::from(buffer.id)];
        assert_eq!(lent, buffer.len, "a buffer of another ring");
        let at = usize::from(buffer.id) * self.buffer_bytes;
        // SAFETY: (1) in bounds since `id < count` (indexed above) and `len <= buffer_bytes`
        // (asserted in `lend`); (2) the buffer is lent, and giving it back needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(at), lent as usize) }
    }

    /// Gives a buffer back to the kernel.
    pub fn give_back(&mut self, buffer: RecvBuffer) {
        let lent = &mut self.lent[usize::from(buffer.id)];
        assert_ne!(*lent, 0, "a buffer of another ring");
        *lent = 0;
        self.lent_count -= 1;
        self.offer(buffer.id);
        self.publish();
    }

    /// Writes the next entry, not yet published.
    fn offer(&mut self, id: u16) {
        assert!(id < self.count && self.lent[usize::from(id)] == 0);
        let at = usize::from(self.tail & (self.count - 1));
        // SAFETY: (1) `at < count`, `id < count`; (3) the kernel does not read this entry's
        // address, length and id before the tail has passed it.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(at);
            let address = self.memory.as_ptr().add(usize::from(id) * self.buffer_bytes);
            entry.set_addr(address as u64);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: (1), (3) the tail is the 16-bit aligned field of the first entry; only this
        // writes it.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

fn entries_layout(count: u16) -> Layout {
    let bytes = usize::from(count) * size_of::<BufRingEntry>();
    Layout::from_size_align(bytes, rustix::param::page_size()).expect("at most 512 KiB")
}

fn memory_layout(count: u16, buffer_bytes: usize) -> Layout {
    let bytes = usize::from(count) * buffer_bytes;
    Layout::from_size_align(bytes, rustix::param::page_size()).expect("at most 512 GiB")
}

/// Lets the system back the memory now: what the process uses is then the same before and after
/// the first burst, and no receive waits for pages.
fn touch(memory: NonNull<u8>, layout: Layout) {
    for at in (0..layout.size()).step_by(rustix::param::page_size()) {
        // SAFETY: (1) `at` is in bounds of what was just allocated with this layout. Volatile,
        // since a zero written to zeroed memory could be left out.
        unsafe { memory.as_ptr().add(at).write_volatile(0) };
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0);
    // SAFETY: the layout's size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
