//! What is known of the backup (BACKUP), for its STATUS and LIST and for INFO.
//!
//! ```text
//! idle -- START --> pending -- a rewrite begins --> snapshotting -- its base is linked -->
//!   incrementing -- SEAL --> sealed -- CLEANUP, or `backup-sealed-ttl` --> idle
//! pending, snapshotting, incrementing -- ABORT, an error --> failed -- START, CLEANUP
//! ```
//!
//! There is one backup at a time. Whoever works on its files, always a thread that may wait, holds
//! [`Backups::files`] meanwhile, so that a word about it is true when it is said: files are made
//! and removed inside, and the state changes inside.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where the backup stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// There is none.
    #[default]
    Idle,
    /// It waits for a rewrite of the log to begin.
    Pending,
    /// The log is being rewritten: what comes of it is the base.
    Snapshotting,
    /// The base is there; the log goes on behind it.
    Incrementing,
    /// Its files are complete and do not change any more.
    Sealed,
    /// Nothing came of it.
    Failed,
}

impl Phase {
    /// The word for it in BACKUP STATUS.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Pending => "pending",
            Phase::Snapshotting => "snapshotting",
            Phase::Incrementing => "incrementing",
            Phase::Sealed => "sealed",
            Phase::Failed => "failed",
        }
    }

    /// Whether it has begun and is not complete.
    pub fn is_open(self) -> bool {
        matches!(self, Phase::Pending | Phase::Snapshotting | Phase::Incrementing)
    }
}

/// The backup.
#[derive(Clone, Debug, Default)]
pub struct Backup {
    /// Where it stands.
    pub phase: Phase,
    /// Why nothing came of it.
    pub error: String,
    /// When it began, in Unix seconds; 0: it has not.
    pub start: i64,
    /// When it was sealed, in Unix seconds; 0: it has not been.
    pub end: i64,
    /// Its directory, from the root on.
    pub dir: PathBuf,
    /// The names of its files, in the order in which they are loaded, the manifest behind them.
    pub files: Vec<String>,
    /// SEAL is at work.
    pub sealing: bool,
    /// It is being removed, since its time is over.
    pub expiring: bool,
}

impl Backup {
    /// Nothing comes of it, for this reason.
    pub fn fail(&mut self, error: &str) {
        self.phase = Phase::Failed;
        error.clone_into(&mut self.error);
        self.sealing = false;
    }
}

/// The backup of this process.
#[derive(Debug, Default)]
pub struct Backups {
    backup: Mutex<Backup>,
    files: Mutex<()>,
}

impl Backups {
    /// The backup; nobody waits for a disk while holding this.
    pub fn now(&self) -> MutexGuard<'_, Backup> {
        self.backup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to its files, for a thread that may wait for a disk.
    pub fn files(&self) -> MutexGuard<'_, ()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.now().phase
    }

    /// A rewrite of the log has begun.
    pub fn walk_begins(&self) {
        let mut backup = self.now();
        if backup.phase == Phase::Pending {
            backup.phase = Phase::Snapshotting;
        }
    }

    /// A rewrite of the log is over, and whoever waited for its base has it. Whether another is to
    /// begin: this one came to nothing, and nobody is to be blamed. `ok` as in
    /// [`crate::observe::rewrites::Rewrites::end`].
    pub fn walk_is_over(&self, ok: Option<bool>) -> bool {
        let mut backup = self.now();
        match (backup.phase, ok) {
            (Phase::Snapshotting, Some(false)) => backup.fail("the rewrite of the log has failed"),
            (Phase::Snapshotting, _) => {
                backup.phase = Phase::Pending;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Whether one is sealed that is to be removed by itself.
    pub fn will_expire(&self, ttl: u32) -> bool {
        let backup = self.now();
        ttl > 0 && backup.phase == Phase::Sealed && !backup.expiring
    }

    /// Whether a sealed one has been kept for `ttl` seconds (0: for ever) at `now`, in Unix
    /// seconds; says so once.
    pub fn expires(&self, ttl: u32, now: i64) -> bool {
        let mut backup = self.now();
        let due = backup.phase == Phase::Sealed && now - backup.end >= i64::from(ttl);
        let first = ttl > 0 && due && !backup.expiring;
        backup.expiring |= first;
        first
    }

    /// The removal has come to nothing: it is tried again.
    pub fn expire_later(&self) {
        self.now().expiring = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewrite_that_comes_to_nothing_is_followed_by_another() {
        let backups = Backups::default();
        backups.walk_begins();
        assert!(!backups.walk_is_over(Some(true)) && backups.phase() == Phase::Idle);
        backups.now().phase = Phase::Pending;
        assert!(!backups.walk_is_over(Some(true)), "one that had begun before and was over");
        backups.walk_begins();
        assert_eq!(backups.phase(), Phase::Snapshotting);
        assert!(backups.walk_is_over(None) && backups.phase() == Phase::Pending);
        backups.walk_begins();
        assert!(!backups.walk_is_over(Some(false)));
        assert_eq!(backups.phase(), Phase::Failed);
        assert!(!backups.now().error.is_empty() && !Phase::Failed.is_open());
        backups.now().phase = Phase::Incrementing;
        backups.walk_begins();
        assert!(!backups.walk_is_over(Some(false)));
        assert_eq!(backups.phase(), Phase::Incrementing, "a later one is none of its business");
    }

    #[test]
    fn a_sealed_one_expires_once() {
        let backups = Backups::default();
        assert!(!backups.expires(1, 100));
        *backups.now() = Backup { phase: Phase::Sealed, end: 100, ..Backup::default() };
        assert!(!backups.expires(0, 1_000) && !backups.will_expire(0), "kept for ever");
        assert!(!backups.expires(10, 109) && backups.will_expire(10));
        assert!(backups.expires(10, 110) && !backups.expires(10, 111));
        assert!(!backups.will_expire(10));
        backups.expire_later();
        assert!(backups.expires(10, 112));
    }
}
