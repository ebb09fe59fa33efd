//! The end of a log while the server goes on ([`crate::shard::turning`]).

use crate::persist::disk::{Disk, FileId};
use crate::shard::log::{InFlight, LogWriter};

impl LogWriter {
    /// The log is about to end as it stands: nothing is begun any more, nor tried again.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether nothing is in flight, though there may be more to write.
    pub fn is_still(&self) -> bool {
        let waits = |f: &InFlight| f.completed || f.retry.is_some();
        self.in_flight.iter().all(waits) && self.syncing.is_none() && self.is_quiet_aside()
    }

    /// Whether every file that has ended has been cut: Redis reads what stands behind an end that
    /// only our manifest names.
    pub fn is_tidy(&self) -> bool {
        self.ahead.is_tidy()
    }

    /// The last entry of those executed that the raw point has not passed.
    pub fn last_entry(&self) -> Option<u64> {
        self.entries.back().map(|(id, _)| *id)
    }

    /// The log has ended, and nothing is in flight on its file: filler goes. Gives the file, to be
    /// closed, and how many files are being cut meanwhile.
    pub fn close(mut self, disk: &mut impl Disk) -> (FileId, u32) {
        let longer = self.growing.next_file(self.tight, 0);
        self.ahead.next_file(self.file.id, self.tight, longer);
        self.ahead.tidy(disk);
        (self.file.id, self.ahead.shortening())
    }
}
