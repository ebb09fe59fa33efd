//! Keys that clients watch, and the flags raised when one of them changes. Knows no clients: a
//! flag is all there is of them here, and one that nobody else holds is stale.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One client's WATCH state, raised by the shard that owns a watched key.
pub type WatchFlag = Arc<AtomicBool>;

/// Bytes that a watched key counts for besides its own: its place in the map and its flags.
const KEY_OVERHEAD: usize = 96;
/// Bytes that a registration counts for.
const FLAG_BYTES: usize = size_of::<WatchFlag>();

/// The watched keys of one shard.
#[derive(Debug, Default)]
pub struct WatchTable {
    /// By database, then by key. Flags are never empty.
    dbs: Vec<HashMap<Vec<u8>, Vec<WatchFlag>>>,
    len: usize,
    bytes: usize,
}

fn weight(key: &[u8], flags: &[WatchFlag]) -> usize {
    key.len() + KEY_OVERHEAD + flags.len() * FLAG_BYTES
}

fn raise(flags: &[WatchFlag]) {
    flags.iter().for_each(|f| f.store(true, Ordering::Relaxed));
}

fn is_live(flag: &WatchFlag) -> bool {
    Arc::strong_count(flag) > 1
}

impl WatchTable {
    /// Registers `flag` for a key of database `db`.
    pub fn watch(&mut self, db: usize, key: &[u8], flag: WatchFlag) {
        if self.dbs.len() <= db {
            self.dbs.resize_with(db + 1, HashMap::new);
        }
        let flags = match self.dbs[db].get_mut(key) {
            Some(flags) => {
                self.bytes -= flags.len() * FLAG_BYTES;
                flags
            }
            None => {
                self.len += 1;
                self.bytes += weight(key, &[]);
                self.dbs[db].entry(key.to_vec()).or_default()
            }
        };
        flags.retain(is_live);
        if !flags.iter().any(|f| Arc::ptr_eq(f, &flag)) {
            flags.push(flag);
        }
        self.bytes += flags.len() * FLAG_BYTES;
    }

    /// A key changed: raises the flags of those who watch it.
    #[inline]
    pub fn touch(&mut self, db: usize, key: &[u8]) {
        if self.len == 0 {
            return;
        }
        if let Some(flags) = self.dbs.get_mut(db).and_then(|keys| keys.remove(key)) {
            self.len -= 1;
            self.bytes -= weight(key, &flags);
            raise(&flags);
        }
    }

    /// A whole database changed: raises the flags of the watched keys for which `changed` holds.
    pub fn touch_database(&mut self, db: usize, mut changed: impl FnMut(&[u8]) -> bool) {
        self.retain(|of, key, flags| {
            let hit = of == db && changed(key);
            if hit {
                raise(flags);
            }
            !hit && flags.iter().any(is_live)
        });
    }

    /// Number of watched keys, stale ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when no key is watched.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of heap memory held, roughly.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// Drops registrations whose clients are gone.
    pub fn sweep(&mut self) {
        self.retain(|_, _, flags| {
            flags.retain(is_live);
            !flags.is_empty()
        });
    }

    fn retain(&mut self, mut keep: impl FnMut(usize, &[u8], &mut Vec<WatchFlag>) -> bool) {
        (self.len, self.bytes) = (0, 0);
        for (db, keys) in self.dbs.iter_mut().enumerate() {
            keys.retain(|key, flags| {
                let keep = keep(db, key, flags);
                if keep {
                    self.bytes += weight(key, flags);
                }
                keep
            });
            self.len += keys.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(flag: &WatchFlag) -> bool {
        flag.load(Ordering::Relaxed)
    }

    #[test]
    fn touching_a_key_raises_its_watchers_once() {
        let mut table = WatchTable::default();
        let (a, b) = (WatchFlag::default(), WatchFlag::default());
        table.watch(0, b"k", a.clone());
        table.watch(0, b"k", a.clone());
        table.watch(0, b"k", b.clone());
        table.watch(3, b"k", b.clone());
        assert_eq!((table.len(), table.is_empty()), (2, false));
        table.touch(1, b"k");
        table.touch(9, b"k");
        assert!(!raised(&a) && !raised(&b));
        table.touch(0, b"k");
        assert!(raised(&a) && raised(&b));
        table.touch(3, b"k");
        assert_eq!((table.len(), table.memory()), (0, 0));
    }

    #[test]
    fn a_flushed_database_raises_only_what_it_held() {
        let mut table = WatchTable::default();
        let flags: Vec<_> = (0..3).map(|_| WatchFlag::default()).collect();
        table.watch(0, b"held", flags[0].clone());
        table.watch(0, b"absent", flags[1].clone());
        table.watch(1, b"held", flags[2].clone());
        table.touch_database(0, |key| key == b"held");
        assert_eq!(flags.iter().map(raised).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn stale_registrations_are_swept() {
        let mut table = WatchTable::default();
        let flag = WatchFlag::default();
        table.watch(0, b"a", WatchFlag::default());
        table.watch(0, b"b", flag.clone());
        table.watch(0, b"b", WatchFlag::default());
        table.sweep();
        assert_eq!(table.len(), 1);
        drop(flag);
        table.sweep();
        assert_eq!((table.len(), table.memory()), (0, 0));
    }
}
