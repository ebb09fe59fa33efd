//! Whether blocks of a file are gone that were in the page cache.
//!
//! What the kernel cannot write back, for want of room on a device that has promised it, say, it
//! may drop: whoever reads there afterwards gets what the device has, and that is zeros where
//! nothing was before. It does so while the machine goes on running, so that something was
//! *written* says nothing of such a file ([`super::format`]). The zeros reach from the border of a
//! block, or from the first byte that was not durable, to the border of another. Text and checksums
//! have no such runs, and a value that does would have to end its own at such a border by chance.

use crate::persist::aof::resp::{CHUNK, LogError, Window};
use crate::persist::disk::Volume;

/// The least that a disk or a file system writes, in bytes: every block's border is one of these.
const BLOCK: u64 = 512;

/// Whether whole blocks are zero between a frame's border `from` and `to`, or what is left of one
/// behind that border.
///
/// # Errors
/// What the disk says.
pub fn lacks_blocks(volume: &dyn Volume, file: &str, from: u64, to: u64) -> Result<bool, LogError> {
    let mut window = Window::open(volume, file, from)?;
    // Where the zeros begin that the window stands behind.
    let mut began = None;
    while window.offset() < to {
        let at = window.offset();
        let bytes = window.peek(CHUNK)?;
        let bytes = &bytes[..bytes.len().min((to - at) as usize)];
        if bytes.is_empty() {
            break;
        }
        let mut next = 0;
        while next < bytes.len() {
            let rest = &bytes[next..];
            let here = at + next as u64;
            next += match began {
                None => {
                    let zero = memchr::memchr(0, rest);
                    began = zero.map(|zero| here + zero as u64);
                    zero.unwrap_or(rest.len())
                }
                Some(first) => {
                    let Some(more) = rest.iter().position(|byte| *byte != 0) else { break };
                    if is_dropped(first, here + more as u64, from) {
                        return Ok(true);
                    }
                    began = None;
                    more
                }
            };
        }
        let held = bytes.len() as u64;
        window.skip(held);
    }
    Ok(began.is_some_and(|first| is_dropped(first, to, from)))
}

/// Whether zeros between these offsets are blocks that are gone.
fn is_dropped(first: u64, end: u64, from: u64) -> bool {
    let whole = first == from || end.saturating_sub(first.next_multiple_of(BLOCK)) >= BLOCK;
    end.is_multiple_of(BLOCK) && whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::testing::MemVolume;

    #[test]
    fn zeros_between_borders_of_blocks_are_blocks_that_are_gone() {
        let lacks = |zeros: std::ops::Range<usize>, from, to| {
            let mut bytes = vec![b'x'; 3 << 20];
            bytes[zeros].fill(0);
            let volume = MemVolume::default();
            volume.put("a", &bytes);
            lacks_blocks(&volume, "a", from, to).expect("memory")
        };
        const MIB: usize = 1 << 20;
        for (zeros, wanted) in [
            (1024..1536, true),
            (1024..4096, true),
            // What stands in front of it ends with zeros.
            (1000..4096, true),
            (MIB - 512..MIB + 512, true),
            (700..2 * MIB + 4096, true),
            // Within a block: what is behind the border, all of it.
            (700..1024, true),
            (701..1024, false),
            (700..1023, false),
            (1000..1536 + 511, false),
            (1025..1536, false),
            (1024..2000, false),
            (0..0, false),
        ] {
            assert_eq!(lacks(zeros.clone(), 700, 2 * MIB as u64 + 5000), wanted, "{zeros:?}");
        }
        assert!(!lacks(1024..4096, 700, 1030), "it is behind the place");
        assert!(!lacks(1024..4096, 4096, 9000), "it is in front of the place");
    }
}
