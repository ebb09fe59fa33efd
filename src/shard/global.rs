//! What all shards know of the process: configuration, limits, failures, the manifest in force.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use crate::base::clock::Time;
use crate::command::introspect;
use crate::config::rewrite::rewrite;
use crate::config::{CommitMethod, Config, Enter, Flush, LogLevel, files};
use crate::observe::registry::Facts;
use crate::observe::{Registry, crash};
use crate::persist::aof::manifest::Manifest;
use crate::persist::backup::{DirShelf, Shelf};
use crate::persist::disk::Volume;
use crate::persist::snapshot;
use crate::persist::volume::DirVolume;
use crate::shard::courier::Lines;
use crate::shard::ending::Ending;
use crate::shard::errand::Errand;
use crate::shard::migrate::Holds;
use crate::shard::pace::Grain;
use crate::shard::reload::{Keyspaces, Meant, ReadLog};
use crate::shard::reserve::Reserve;
use crate::shard::room::Room;
use crate::shard::segment::Costs;
use crate::shard::snapshot::writer::Writer;
use crate::shard::turning::Turning;

/// Why DEBUG RESTART did nothing.
pub const NO_RESTART: &str = "ERR failed to restart the server. Check server logs.";
/// What writes are refused with while no snapshot succeeds.
const NO_SNAPSHOT: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently \
unable to persist to disk. Commands that may modify the data set are disabled, because this \
instance is configured to report errors during writes if RDB snapshotting fails \
(stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";

/// Says a line of the given weight.
pub type Say = Box<dyn Fn(LogLevel, &str) + Send + Sync>;

/// Begins to write a snapshot's file, and does not wait for it.
pub type StartWriter = dyn Fn(Writer) -> std::io::Result<()> + Send + Sync;

/// The directory of a backup, beside that of the log, which comes first.
pub type OpenShelf = dyn Fn(&Path, &Path) -> Box<dyn Shelf> + Send + Sync;

/// A directory to be written to; `true`: it is made when it is not there.
pub type OpenDir = dyn Fn(&Path, bool) -> std::io::Result<Box<dyn Volume>> + Send + Sync;

/// How the process speaks and dies; handed in, so that a simulation can listen.
pub struct Voice {
    /// Says a line to the operator.
    pub say: Say,
    /// Sets the least weight of a line that is written.
    pub level: Box<dyn Fn(LogLevel) + Send + Sync>,
    /// Says the last line before the process ends.
    pub die: Box<dyn Fn(&str) + Send + Sync>,
    /// Starts the program again in the place of this process, after this many milliseconds; gives
    /// why that has failed.
    pub again: Box<dyn Fn(u64) -> String + Send + Sync>,
    /// Whether that may succeed.
    pub can_start_again: bool,
    /// Runs what may wait for a disk.
    pub errand: Box<dyn Fn(Errand) + Send + Sync>,
    /// Reads the log again.
    pub read_log: Box<ReadLog>,
    /// Tells how long something takes.
    pub time: Time,
    /// Has a snapshot's file written.
    pub writer: Box<StartWriter>,
}

/// Shared by every shard of the process.
pub struct Global {
    config: RwLock<Arc<Config>>,
    /// Grows with every change of the configuration.
    version: AtomicU64,
    /// Bytes used per shard.
    memory: Vec<AtomicUsize>,
    /// `maxmemory`; 0: no bound.
    memory_max: AtomicU64,
    /// Shards whose log cannot be written at present, as a set.
    failing: AtomicU64,
    failure: Mutex<String>,
    /// Writes are refused, since a log cannot be written or no snapshot succeeds.
    troubled: AtomicBool,
    /// Shards with as much waiting for their log as may wait, as a set.
    pressed: AtomicU64,
    /// Shards at rest while stopping, as a set.
    idle: AtomicU64,
    /// How often a shard took back that it is at rest.
    woken: AtomicU64,
    append_filename: String,
    boot_id: String,
    manifest: Mutex<Manifest>,
    cut: AtomicBool,
    /// A log that was to begin has got no files: nothing but its end is cut.
    vain: AtomicBool,
    /// Whoever waits in a thread for the right to cut.
    cut_waits: (Mutex<()>, Condvar),
    /// Held while a rewrite changes the manifest; true: nothing may change it any more.
    sealed: Mutex<bool>,
    stop: AtomicBool,
    /// See [`Room`].
    pub room: Room,
    /// See [`Reserve`].
    pub reserve: Reserve,
    /// See [`Ending`].
    pub ending: Ending,
    /// See [`Lines`].
    pub lines: Lines,
    /// Where the log stands.
    pub turning: Turning,
    /// After how many milliseconds to start again, once stopped; `u64::MAX`: not at all.
    again_ms: AtomicU64,
    /// Microseconds to wait before anything is written to a log, for tests.
    pub log_sleep_us: AtomicU64,
    /// Shards whose logs are being flushed beside their writes.
    pub log_flushes: AtomicUsize,
    /// When a client that spoke HTTP may next be told of, in monotonic microseconds.
    forgery_us: AtomicU64,
    /// It was said that a log holds what Redis 7.0 does not know.
    pub newer_said: AtomicBool,
    /// Somebody has told all shards that the stop is complete.
    pub stop_said: AtomicBool,
    /// Connected clients.
    pub clients: AtomicUsize,
    /// Connections per shard.
    pub connections: Vec<AtomicUsize>,
    /// The next client's id.
    pub next_client: AtomicU64,
    /// Grows when shards are to give freed memory back to the system.
    pub give_backs: AtomicU64,
    /// Counters for INFO.
    pub registry: Registry,
    /// Grows with every CONFIG RESETSTAT.
    resets: AtomicU64,
    /// Keys that are on their way to another server.
    pub holds: Holds,
    /// See [`Grain`].
    pub grain: Grain,
    /// Where backups are.
    pub shelf: Box<OpenShelf>,
    /// Where a log that begins is.
    pub open_dir: Box<OpenDir>,
    voice: Voice,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Global {
    /// The state of a process with `shards` shards.
    pub fn new(
        shards: usize,
        config: Config,
        boot_id: &str,
        manifest: Manifest,
        facts: Facts,
        voice: Voice,
    ) -> Self {
        let names = introspect::names_counted();
        let databases = config.databases;
        let zeros = || (0..shards).map(|_| AtomicUsize::new(0)).collect();
        let registry = Registry::new(facts, shards, databases, names);
        registry.set_replication(manifest.replication.clone().unwrap_or_default());
        Global {
            memory: zeros(),
            memory_max: AtomicU64::new(config.maxmemory),
            failing: AtomicU64::new(0),
            failure: Mutex::new(String::new()),
            troubled: AtomicBool::new(false),
            room: Room::default(),
            reserve: Reserve::default(),
            ending: Ending::default(),
            lines: Lines::new(&registry.cached_sockets),
            turning: Turning::new(&config),
            pressed: AtomicU64::new(0),
            idle: AtomicU64::new(0),
            woken: AtomicU64::new(0),
            append_filename: config.appendfilename.clone(),
            boot_id: boot_id.to_owned(),
            config: RwLock::new(Arc::new(config)),
            version: AtomicU64::new(1),
            manifest: Mutex::new(manifest),
            cut: AtomicBool::new(false),
            vain: AtomicBool::new(false),
            cut_waits: Default::default(),
            sealed: Mutex::new(false),
            stop: AtomicBool::new(false),
            again_ms: AtomicU64::new(u64::MAX),
            log_sleep_us: AtomicU64::new(0),
            log_flushes: AtomicUsize::new(0),
            forgery_us: AtomicU64::new(0),
            newer_said: AtomicBool::new(false),
            stop_said: AtomicBool::new(false),
            clients: AtomicUsize::new(0),
            connections: zeros(),
            next_client: AtomicU64::new(1),
            give_backs: AtomicU64::new(0),
            registry,
            resets: AtomicU64::new(0),
            holds: Holds::default(),
            grain: Grain::default(),
            shelf: Box::new(|log, dir| Box::new(DirShelf::new(log, dir))),
            open_dir: Box::new(|dir, make| {
                let made = if make { DirVolume::create(dir) } else { DirVolume::open(dir) };
                made.map(|volume| Box::new(volume) as Box<dyn Volume>)
            }),
            voice,
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a log is to be written ahead of its frames under `config`.
    pub fn writes_ahead(&self, config: &Config) -> bool {
        match config.commits.method {
            _ if !self.takes_room() => false,
            CommitMethod::Append => false,
            CommitMethod::Segment => true,
            CommitMethod::Auto => {
                let measured = self.registry.facts.commit_usec;
                let costs = measured.map(|(append_us, segment_us)| Costs { append_us, segment_us });
                config.appendfsync == Flush::Always && costs.is_some_and(|c| c.prefers_segment())
            }
        }
    }

    /// Whether a log that grows may take room ahead of what it writes.
    pub fn takes_room(&self) -> bool {
        !self.reserve.is_out()
    }

    /// Grows with every change of the configuration.
    pub fn config_version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Changes the configuration: all pairs or none; the error is the reply's text. `local`: a
    /// client of this machine asks for it.
    pub fn change_config(&self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<(), String> {
        // Whoever changes `dir` waits for a disk, and goes by [`Global::change_dir`].
        self.change_config_in(pairs, local, &|dir| Ok(dir.to_owned()))
    }

    fn change_config_in(
        &self,
        pairs: &[(&[u8], &[u8])],
        local: bool,
        enter: &Enter<'_>,
    ) -> Result<(), String> {
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let next = config.changed_in(pairs, local, enter)?;
        self.memory_max.store(next.maxmemory, Ordering::Relaxed);
        (self.voice.level)(next.loglevel);
        crash::set_reported(next.crash_log_enabled);
        *config = Arc::new(next);
        self.version.fetch_add(1, Ordering::Release);
        drop(config);
        self.weigh_trouble();
        Ok(())
    }

    /// The same where `dir` is among the pairs; waits for a disk. What cut-off snapshots have left
    /// in the new directory is removed, as at the start.
    pub fn change_dir(&self, pairs: &[(Vec<u8>, Vec<u8>)], local: bool) -> Result<(), String> {
        let pairs: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        let before = self.config();
        // Not under the lock, for which everybody would wait.
        let dir = before.changed_in(&pairs, local, &files::enter)?.dir.clone();
        self.change_config_in(&pairs, local, &|_| Ok(dir.clone()))?;
        if dir != before.dir
            && let Err(error) = snapshot::clean_up(&dir)
        {
            self.warn(&format!("What a snapshot left behind cannot be removed: {error}"));
        }
        Ok(())
    }

    /// Runs what may wait for a disk, on a thread for that.
    pub fn run_errand(&self, errand: Errand) {
        (self.voice.errand)(errand);
    }

    /// The clock that tells how long something takes.
    pub fn time(&self) -> &Time {
        &self.voice.time
    }

    /// Has a snapshot's file written.
    pub(super) fn start_writer(&self, writer: Writer) -> std::io::Result<()> {
        (self.voice.writer)(writer)
    }

    /// Reads the log, which ends at these positions, or the file that SAVE writes, into empty
    /// keyspaces; waits for a disk.
    pub fn read_log(&self, spaces: &mut Keyspaces, meant: Meant<'_>) -> Result<(), String> {
        (self.voice.read_log)(&self.config(), spaces, meant)
    }

    /// Writes the configuration in force into its file; `all`: the lines of every directive, as
    /// DEBUG CONFIG-REWRITE-FORCE-ALL does, which has error texts of its own.
    pub fn rewrite_config(&self, all: bool) -> Result<(), String> {
        let failed = |usual: &str, why: &str| match all {
            true => format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {why}"),
            false => usual.to_owned(),
        };
        let config = self.config();
        let Some(path) = &config.file else {
            return Err(failed("ERR The server is running without a config file", "Bad address"));
        };
        match files::replace(path, |old| rewrite(&config, old, all)) {
            Ok(()) => {
                self.notice("CONFIG REWRITE executed with success.");
                Ok(())
            }
            Err(error) => {
                self.warn(&format!("CONFIG REWRITE failed: {error}"));
                let usual = format!("ERR Rewriting config file: {error}");
                Err(failed(&usual, &error.to_string()))
            }
        }
    }

    /// Bytes that all shards use.
    pub fn memory(&self) -> usize {
        self.memory.iter().map(|m| m.load(Ordering::Relaxed)).sum()
    }

    /// Whether `maxmemory` is set.
    pub fn memory_bounded(&self) -> bool {
        self.memory_max.load(Ordering::Relaxed) != 0
    }

    /// Whether all shards together use more than `maxmemory`; `here` is what `shard` uses now.
    pub fn is_over_memory(&self, shard: usize, here: usize) -> bool {
        let others = self.memory.iter().enumerate().filter(|(s, _)| *s != shard);
        let others: usize = others.map(|(_, m)| m.load(Ordering::Relaxed)).sum();
        (others + here) as u64 > self.memory_max.load(Ordering::Relaxed)
    }

    /// Publishes what a shard uses.
    pub fn set_memory(&self, shard: usize, bytes: usize) {
        self.memory[shard].store(bytes, Ordering::Relaxed);
    }

    /// What shards go by has changed, beside the configuration: they look at it again.
    pub(super) fn has_changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Why writes are refused.
    pub(super) fn note_failure(&self, error: &str) {
        error.clone_into(&mut lock(&self.failure));
    }

    /// A shard's log cannot be written, with the reason, or can again.
    pub fn log_failing(&self, shard: usize, error: Option<String>) {
        match error {
            Some(error) => {
                self.warn(&format!("Error writing to the AOF file: {error}"));
                *lock(&self.failure) = error;
                self.failing.fetch_or(1 << shard, Ordering::SeqCst);
            }
            None => {
                if !self.reserve.is_out() {
                    self.warn("AOF write error looks solved. The server can write again.");
                }
                self.failing.fetch_and(!(1 << shard), Ordering::SeqCst);
            }
        }
        self.weigh_trouble();
    }

    /// The log is not where it was: `what`.
    pub fn log_lost(&self, what: &str) {
        self.note_failure(what);
        self.weigh_trouble();
    }

    /// A shard's log has ended, however it was.
    pub fn log_gone(&self, shard: usize) {
        self.failing.fetch_and(!(1 << shard), Ordering::SeqCst);
        self.weigh_trouble();
    }

    /// What writes may be refused for has changed.
    pub fn weigh_trouble(&self) {
        // One at a time, so that the last word is of the last state.
        let _one = lock(&self.failure);
        self.troubled.store(self.any_log_failing() || self.needs_snapshot(), Ordering::Relaxed);
    }

    /// Whether writes are refused because the last background save has failed.
    fn needs_snapshot(&self) -> bool {
        let config = self.config();
        config.stop_writes_on_bgsave_error
            && !config.save_points.is_empty()
            && self.registry.saves.has_failed()
    }

    /// Whether writes are refused, since a log cannot be written or no snapshot succeeds.
    pub fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// Whether any shard's log cannot be written.
    pub(super) fn is_log_failing(&self) -> bool {
        self.failing.load(Ordering::SeqCst) != 0
    }

    /// The same, or whether none is to be written: it is not where it was, or the disk is full.
    pub fn any_log_failing(&self) -> bool {
        self.is_log_failing() || self.room.is_gone() || self.reserve.is_out()
    }

    /// Says whether a shard has as much waiting for its log as may wait.
    pub fn set_log_pressed(&self, shard: usize, pressed: bool) {
        if pressed {
            self.pressed.fetch_or(1 << shard, Ordering::Relaxed);
        } else {
            self.pressed.fetch_and(!(1 << shard), Ordering::Relaxed);
        }
    }

    /// Whether too much waits for any shard's log.
    pub fn any_log_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed) != 0
    }

    /// The error that writes are refused with.
    pub fn misconf(&self) -> Option<String> {
        match self.is_troubled() {
            true if self.needs_snapshot() => Some(NO_SNAPSHOT.to_owned()),
            true => self.log_misconf(),
            false => None,
        }
    }

    /// The error that writes are refused with while a log cannot be written.
    pub fn log_misconf(&self) -> Option<String> {
        self.any_log_failing().then(|| {
            let failure = lock(&self.failure);
            format!("MISCONF Errors writing to the AOF file: {failure}")
        })
    }

    /// CONFIG RESETSTAT: each shard begins its counters again.
    pub fn reset_stats(&self) {
        self.registry.reset_peak();
        self.registry.saves.reset_count();
        self.registry.rewrites.reset_count();
        self.resets.fetch_add(1, Ordering::Release);
    }

    /// Grows with every CONFIG RESETSTAT.
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::Acquire)
    }

    /// Says something to the operator.
    pub fn notice(&self, text: &str) {
        self.say(LogLevel::Notice, text);
    }

    /// Says a line of this weight.
    pub fn say(&self, level: LogLevel, text: &str) {
        (self.voice.say)(level, text);
    }

    /// Says something that wants attention.
    pub fn warn(&self, text: &str) {
        (self.voice.say)(LogLevel::Warning, text);
    }

    /// Ends the process: going on would tell clients what may not be true.
    pub fn fatal(&self, text: &str) -> ! {
        (self.voice.die)(text);
        std::process::exit(1);
    }

    /// `appendfilename`
    pub fn append_filename(&self) -> &str {
        &self.append_filename
    }

    /// The machine's boot id.
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// The manifest in force.
    pub fn manifest(&self) -> MutexGuard<'_, Manifest> {
        lock(&self.manifest)
    }

    /// A newer manifest is in force.
    pub fn set_manifest(&self, manifest: Manifest) {
        *lock(&self.manifest) = manifest;
    }

    /// Whether a client that spoke HTTP may be told of: once a minute, however many there are.
    pub fn may_tell_of_forgery(&self, now_us: u64) -> bool {
        let next = |due: u64| (now_us >= due).then_some(now_us + 60_000_000);
        self.forgery_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Claims the right to cut the log.
    pub fn begin_cut(&self) -> bool {
        let claimed = self.claim_cut();
        // Set by whoever had the right before.
        let vain = claimed && self.is_in_vain();
        if vain {
            self.end_cut();
        }
        claimed && !vain
    }

    /// The same for whoever ends a log, or changes nothing but the manifest.
    pub fn claim_cut(&self) -> bool {
        !self.cut.swap(true, Ordering::SeqCst)
    }

    /// A log that was to begin has got no files, or is gone. For whoever has the right to cut.
    pub fn set_in_vain(&self, vain: bool) {
        self.vain.store(vain, Ordering::SeqCst);
    }

    /// Whether there is a log without files, which has to end before anything else is cut: what a
    /// manifest would have to say of it nobody could.
    pub fn is_in_vain(&self) -> bool {
        self.vain.load(Ordering::SeqCst)
    }

    /// Gives it back.
    pub fn end_cut(&self) {
        self.cut.store(false, Ordering::SeqCst);
        // Whoever waits has looked before this, or sees it.
        drop(lock(&self.cut_waits.0));
        self.cut_waits.1.notify_all();
    }

    /// Claims the right to cut the log, for a thread that may wait for it. No shard may.
    pub fn wait_for_cut(&self) {
        let mut waits = lock(&self.cut_waits.0);
        while !self.claim_cut() {
            waits = self.cut_waits.1.wait(waits).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets `change` change the manifest, unless the log has come to its end (`None`). The caller
    /// has the right to cut.
    pub fn change_manifest<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        let sealed = lock(&self.sealed);
        (!*sealed).then(change)
    }

    /// The log comes to its end: no thread changes the manifest from here on.
    pub fn seal_manifest(&self) {
        *lock(&self.sealed) = true;
    }

    /// Whether a cut is under way.
    pub fn cut_busy(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Asks every shard to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Starts the program again, after a stop in good order, which the caller begins, or by a
    /// crash.
    pub fn start_again(self: &Arc<Self>, wait_ms: u64, gracefully: bool) -> Result<(), String> {
        let refused = || NO_RESTART.to_owned();
        if !self.voice.can_start_again {
            self.warn("Can't restart: the configuration came from standard input.");
            return Err(refused());
        }
        if !gracefully {
            let this = Arc::clone(self);
            self.run_errand(Box::new(move || {
                let error = (this.voice.again)(wait_ms);
                this.warn(&format!("Starting again failed: {error}"));
            }));
            return Ok(());
        }
        if self.config().file.is_some() {
            self.rewrite_config(false).map_err(|_| refused())?;
        }
        self.again_ms.store(wait_ms, Ordering::Relaxed);
        Ok(())
    }

    /// The stop has come to nothing, and with it the start behind it.
    pub fn stay(&self) {
        self.again_ms.store(u64::MAX, Ordering::Relaxed);
    }

    /// After how many milliseconds to start again, if at all.
    pub fn starts_again(&self) -> Option<u64> {
        Some(self.again_ms.load(Ordering::Relaxed)).filter(|ms| *ms != u64::MAX)
    }

    /// Whether the process is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Says whether a shard is at rest.
    pub fn set_idle(&self, shard: usize, idle: bool) {
        if idle {
            self.idle.fetch_or(1 << shard, Ordering::SeqCst);
        } else {
            self.idle.fetch_and(!(1 << shard), Ordering::SeqCst);
            self.woken.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// How often a shard took back that it is at rest; counted before it takes its inbox.
    pub fn woken(&self) -> u64 {
        self.woken.load(Ordering::SeqCst)
    }

    /// Whether all shards are at rest.
    pub fn all_idle(&self) -> bool {
        self.idle.load(Ordering::SeqCst).count_ones() as usize == self.memory.len()
    }
}
