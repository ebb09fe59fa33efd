//! How a test makes the simulated medium misbehave, and what has struck.

use std::collections::BTreeMap;

use super::{Armed, Fault, Names, On, SimMedium, State};

impl SimMedium {
    /// An empty medium that writes blocks of `block` bytes as one.
    pub fn with_blocks(seed: u64, block: usize) -> SimMedium {
        let medium = SimMedium::new(seed);
        medium.lock().block = block;
        medium
    }

    /// Makes the `nth` operation of this kind from now on (1: the next) go wrong.
    pub fn fail(&self, on: On, nth: u64, fault: Fault) {
        assert!(nth > 0, "the next operation is number 1");
        self.lock().faults.push(Armed { on, path: None, left: nth, fault });
    }

    /// [`SimMedium::fail`], counting only operations on the file named `path`.
    pub fn fail_file(&self, on: On, path: &str, nth: u64, fault: Fault) {
        assert!(nth > 0, "the next operation is number 1");
        self.lock().faults.push(Armed { on, path: Some(path.to_owned()), left: nth, fault });
    }

    /// Takes back every fault armed, and the moment given to [`SimMedium::die_after`].
    pub fn disarm(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.dies_at = None;
    }

    /// Faults armed that have not struck.
    pub fn faults_left(&self) -> usize {
        self.lock().faults.len()
    }

    /// Bytes that all files together may hold; writes beyond fail with ENOSPC, in part.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.lock().capacity = bytes;
    }

    /// Cuts one write in `one_in` short (the disk goes on with the rest later); 0: none.
    pub fn set_short_writes(&self, one_in: u64) {
        self.lock().short_writes = one_in;
    }

    /// Whether `DiskOp::Direct`, `DiskOp::Truncate` and `DiskOp::Reserve` are refused, as some
    /// systems do.
    pub fn set_plain(&self, plain: bool) {
        self.lock().no_direct = plain;
    }

    /// Which un-synced names a loss of power leaves.
    pub fn set_names(&self, keeps: Names) {
        self.lock().keeps = keeps;
    }

    /// Whether blocking reads go past the page cache (and so do not see what a failed flush lost).
    pub fn set_reads_past_cache(&self, past: bool) {
        self.lock().past_cache = past;
    }

    /// Nothing happens until [`SimMedium::thaw`]; blocking changes answer `WouldBlock`.
    pub fn freeze(&self) {
        self.lock().frozen = true;
    }

    /// Ends [`SimMedium::freeze`].
    pub fn thaw(&self) {
        self.lock().frozen = false;
    }

    /// The process dies in the middle of the effect that follows the next `effects`: that one
    /// happens in part, nothing after it does, and blocking calls fail, until a crash is called.
    pub fn die_after(&self, effects: u64) {
        let mut state = self.lock();
        state.dies_at = Some(state.effects + effects);
    }

    /// Whether the moment given to [`SimMedium::die_after`] has come.
    pub fn is_dead(&self) -> bool {
        self.lock().dead()
    }

    /// What has gone wrong so far, by name, and how often.
    pub fn struck_so_far(&self) -> BTreeMap<String, u64> {
        self.lock().struck.clone()
    }

    /// Everything is on the medium: time has passed, and the system has written all of it back and
    /// needed the memory. (What a failed flush has lost is lost.)
    pub fn write_back(&self) {
        let mut state = self.lock();
        state.inodes.values_mut().for_each(|file| {
            file.sync(super::ALL_BLOCKS);
            file.forget_cached();
        });
        state.names_are_durable();
    }
}

impl State {
    /// Counts something that has gone wrong.
    pub(super) fn note(&mut self, what: &str) {
        match self.struck.get_mut(what) {
            Some(n) => *n += 1,
            None => drop(self.struck.insert(what.to_owned(), 1)),
        }
    }

    fn names_are_durable(&mut self) {
        self.name_ops.clear();
        self.durable_names.clone_from(&self.names);
        self.prune();
    }

    /// Counts an operation and draws the fault that strikes it, if one does.
    pub(super) fn strike(&mut self, on: On, path: Option<&str>) -> Option<Fault> {
        *self.counts.entry(on).or_default() += 1;
        let mut struck = None;
        self.faults.retain_mut(|armed| {
            let meant = armed.on == on && (armed.path.is_none() || armed.path.as_deref() == path);
            if meant && struck.is_none() {
                armed.left -= 1;
                if armed.left == 0 {
                    struck = Some(armed.fault);
                    return false;
                }
            }
            true
        });
        if let Some(fault) = struck {
            let how = match fault {
                Fault::Error(_) => "fails",
                Fault::Lie => "lies",
                Fault::Die => "is the last",
            };
            self.note(&format!("{on:?} {how}"));
        }
        struck.and_then(|fault| self.dies_of(fault, on))
    }
}
