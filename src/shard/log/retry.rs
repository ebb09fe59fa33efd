//! Writes that failed, tried again.

use crate::persist::disk::{Disk, DiskOp, Flush};
use crate::shard::log::LogWriter;

impl LogWriter {
    /// Tries failed writes again whose time has come, through the page cache.
    pub(super) fn retry(&mut self, disk: &mut impl Disk, now_us: u64) {
        let flush = self.flush();
        let alone = flush != Flush::No;
        if alone && (self.has_flush() || self.ahead.is_busy()) {
            return;
        }
        let mut taken = alone && self.is_flushing(self.file.id);
        for flight in self.in_flight.iter_mut().filter(|f| f.retry.is_some()) {
            if alone && std::mem::replace(&mut taken, true) {
                return;
            }
            let due = flight.retry.as_ref().is_some_and(|(_, at)| *at <= now_us);
            if let Some((data, _)) = flight.retry.take_if(|_| due) {
                flight.file = self.file.id;
                flight.flush = flush;
                let (file, offset) = (flight.file, flight.offset);
                disk.submit(flight.token, DiskOp::Write { file, offset, data, flush });
            }
        }
    }

    /// When the first failed write is tried again.
    pub(super) fn retry_us(&self) -> Option<u64> {
        self.in_flight.iter().filter_map(|f| f.retry.as_ref()).map(|(_, at)| *at).min()
    }
}
