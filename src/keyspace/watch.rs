//! Keys that clients watch, and the flags raised when one of them changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One client's WATCH state, raised by the shard that owns a watched key.
pub type WatchFlag = Arc<AtomicBool>;

/// The watched keys of one shard.
#[derive(Debug, Default)]
pub struct WatchTable {
    keys: HashMap<(usize, Vec<u8>), Vec<WatchFlag>>,
}

impl WatchTable {
    /// Registers `flag` for a key of database `db`.
    pub fn watch(&mut self, db: usize, key: &[u8], flag: WatchFlag) {
        let flags = self.keys.entry((db, key.to_vec())).or_default();
        flags.retain(|f| Arc::strong_count(f) > 1);
        if !flags.iter().any(|f| Arc::ptr_eq(f, &flag)) {
            flags.push(flag);
        }
    }

    /// A key changed: raises the flags of those who watch it.
    pub fn touch(&mut self, db: usize, key: &[u8]) {
        if self.keys.is_empty() {
            return;
        }
        if let Some(flags) = self.keys.remove(&(db, key.to_vec())) {
            flags.iter().for_each(|f| f.store(true, Ordering::Relaxed));
        }
    }

    /// A whole database changed: raises the flags of the watched keys for which `changed` holds.
    pub fn touch_database(&mut self, db: usize, mut changed: impl FnMut(&[u8]) -> bool) {
        self.keys.retain(|(of, key), flags| {
            let hit = *of == db && changed(key);
            if hit {
                flags.iter().for_each(|f| f.store(true, Ordering::Relaxed));
            }
            !hit && flags.iter().any(|f| Arc::strong_count(f) > 1)
        });
    }

    /// Number of watched keys, stale ones included.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when no key is watched.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Drops registrations whose clients are gone.
    pub fn sweep(&mut self) {
        self.keys.retain(|_, flags| {
            flags.retain(|f| Arc::strong_count(f) > 1);
            !flags.is_empty()
        });
    }
}
