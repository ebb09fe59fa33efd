//! Writes that are made at once, without an operation in flight.

use super::{Errno, Fault, SimDisk, SimMedium, State};
use crate::base::random::Random;
use crate::persist::disk::{FileId, Made};

impl SimMedium {
    /// In some moments from here on, which these choices decide, writes may be made at once;
    /// `None`: in no moment.
    pub fn set_calm(&self, moments: Option<Random>) {
        self.lock().calm = moments;
    }
}

impl SimDisk {
    pub(super) fn calm_now(&self) -> bool {
        let mut state = self.medium.lock();
        state.life == self.life && state.is_calm()
    }

    /// Now and then it would have to wait.
    pub(super) fn make_now(&self, file: FileId, offset: u64, data: &[u8]) -> Option<Made> {
        let mut state = self.medium.lock();
        if state.calm.as_mut().is_none_or(|moments| moments.one_in(8)) {
            state.note("a write is not made at once after all");
            return None;
        }
        let result = state.write_now(file, offset, data);
        Some(Made { result: result.map_err(std::io::Error::from), took_us: 0 })
    }
}

impl State {
    /// A process that is to die in one of the next operations dies in one that is in flight: from
    /// the middle of a write made at once the shard's turn could not go on.
    fn is_calm(&mut self) -> bool {
        let Some(moments) = &mut self.calm else { return false };
        let drawn = !moments.one_in(3);
        let dies = self.dies_at.is_some() || self.faults.iter().any(|f| f.fault == Fault::Die);
        drawn && !dies && !self.frozen
    }

    fn write_now(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.note("a write is made at once");
        let mut written = 0;
        while written < data.len() {
            self.effects += 1;
            written = self.write_some(file, offset, data, written)?;
        }
        Ok(())
    }
}
