//! Whether blocks of a file are gone that were in the page cache.
//!
//! What the kernel cannot write back, for want of room on a device that has promised it, say, it
//! may drop: whoever reads there afterwards gets what the device has, and that is zeros where
//! nothing was before. It does so while the machine goes on running, so that something was
//! *written* says nothing of such a file ([`super::format`]). The zeros reach from the border of a
//! block, or from the first byte that was not durable, to the border of another. Text and checksums
//! have no such runs, and a value that does would have to end its own at such a border by chance.

use crate::persist::aof::format::{self, HEAD_MAX};
use crate::persist::aof::resp::{CHUNK, LogError, Window};
use crate::persist::disk::Volume;

/// The least that a disk or a file system writes, in bytes: every block's border is one of these.
const BLOCK: u64 = 512;

/// A frame that is not valid, and may lack blocks.
pub struct Lacking {
    /// Where it begins.
    from: u64,
    /// Where it ends, if its head is there.
    end: u64,
}

impl Lacking {
    /// The frame at which the window stands.
    ///
    /// # Errors
    /// What the disk says.
    pub fn new(window: &mut Window<'_>) -> Result<Lacking, LogError> {
        let from = window.offset();
        let len = match format::parse_head(window.peek(HEAD_MAX)?) {
            Ok(parsed) => (parsed.line as u64).saturating_add(parsed.head.len),
            Err(_) => HEAD_MAX as u64,
        };
        Ok(Lacking { from, end: from.saturating_add(len) })
    }

    /// Whether whole blocks of it are zero, up to `to` or the end of the file, or what is left of
    /// one behind the border in front of it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn blocks(
        &self,
        volume: &dyn Volume,
        file: &str,
        to: Option<u64>,
    ) -> Result<bool, LogError> {
        let mut window = Window::open(volume, file, self.from)?;
        let until = to.unwrap_or(window.len());
        // Where the zeros begin that the window stands behind.
        let mut began = None;
        while window.offset() < until {
            let at = window.offset();
            let bytes = window.peek(CHUNK)?;
            let bytes = &bytes[..bytes.len().min((until - at) as usize)];
            let mut next = 0;
            while next < bytes.len() {
                let (rest, here) = (&bytes[next..], at + next as u64);
                if let Some(first) = began {
                    let Some(more) = rest.iter().position(|byte| *byte != 0) else { break };
                    next += more;
                    if self.is_gone(first, at + next as u64) {
                        return Ok(true);
                    }
                    began = None;
                } else {
                    if here >= self.end {
                        return Ok(false);
                    }
                    let zero = memchr::memchr(0, rest);
                    began = zero.map(|zero| here + zero as u64).filter(|at| *at < self.end);
                    next += zero.unwrap_or(rest.len());
                }
            }
            let held = bytes.len() as u64;
            if held == 0 {
                break;
            }
            window.skip(held);
        }
        let end = if to.is_none() { until.next_multiple_of(BLOCK) } else { until };
        Ok(began.is_some_and(|first| self.is_gone(first, end)))
    }

    /// Whether zeros between these offsets are blocks that are gone. (Zeros behind them that are a
    /// value's hide them, and then it is damage.)
    fn is_gone(&self, first: u64, end: u64) -> bool {
        let whole = end.saturating_sub(first.next_multiple_of(BLOCK)) >= BLOCK;
        end.is_multiple_of(BLOCK) && (whole || first == self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::testing::MemVolume;

    #[test]
    fn zeros_between_borders_of_blocks_are_blocks_that_are_gone() {
        let lacks = |zeros: std::ops::Range<usize>, to| {
            let mut bytes = vec![b'x'; (3 << 20) + 100];
            bytes[zeros].fill(0);
            let volume = MemVolume::default();
            volume.put("a", &bytes);
            let frame = Lacking { from: 700, end: (2 << 20) + 700 };
            frame.blocks(&volume, "a", to).expect("memory")
        };
        const MIB: usize = 1 << 20;
        for (zeros, wanted) in [
            (1024..1536, true),
            (1024..4096, true),
            // What stands in front of it ends with zeros.
            (1000..4096, true),
            (MIB - 512..MIB + 512, true),
            (700..2 * MIB + 4096, true),
            (2 * MIB + 512..3 * MIB, true),
            // Within a block: what is behind the border, all of it.
            (700..1024, true),
            (701..1024, false),
            (700..1023, false),
            (1000..1536 + 511, false),
            (1025..1536, false),
            (1024..2000, false),
            (0..0, false),
            // Not of this frame.
            (0..512, false),
            (2 * MIB + 1024..3 * MIB, false),
        ] {
            assert_eq!(lacks(zeros.clone(), None), wanted, "{zeros:?}");
            assert_eq!(lacks(zeros.clone(), Some(3 << 20)), wanted, "{zeros:?}");
        }
        assert!(!lacks(1024..4096, Some(1030)), "it is behind the place");
        assert!(lacks(1024..4096, Some(2048)), "as far as is looked");
        let rest = 1024..(3 << 20) + 100;
        assert!(lacks(rest.clone(), None), "up to the end of the file");
        assert!(!lacks(rest, Some((3 << 20) + 50)), "a frame does not begin within it");
    }
}
