//! What all shards know of the process: configuration, limits, failures, the manifest in force.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::persist::aof::manifest::Manifest;

/// Shared by every shard of the process.
#[derive(Debug)]
pub struct Global {
    /// Longest string, in bytes.
    string_max: AtomicU64,
    query_buffer_max: AtomicUsize,
    /// 0: no bound.
    memory_max: AtomicUsize,
    /// Bytes used per shard.
    memory: Vec<AtomicUsize>,
    password: Mutex<Option<Vec<u8>>>,
    /// Shards whose log cannot be written at present.
    failing: AtomicU64,
    failure: Mutex<String>,
    append_filename: String,
    boot_id: String,
    manifest: Mutex<Manifest>,
    cut: AtomicBool,
    stop: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Global {
    /// The state of a process with `shards` shards.
    pub fn new(shards: usize, append_filename: &str, boot_id: &str, manifest: Manifest) -> Self {
        Global {
            string_max: AtomicU64::new(512 << 20),
            query_buffer_max: AtomicUsize::new(1 << 30),
            memory_max: AtomicUsize::new(0),
            memory: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            password: Mutex::new(None),
            failing: AtomicU64::new(0),
            failure: Mutex::new(String::new()),
            append_filename: append_filename.to_owned(),
            boot_id: boot_id.to_owned(),
            manifest: Mutex::new(manifest),
            cut: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    /// `proto-max-bulk-len`
    pub fn string_max(&self) -> u64 {
        self.string_max.load(Ordering::Relaxed)
    }

    /// `client-query-buffer-limit`
    pub fn query_buffer_max(&self) -> usize {
        self.query_buffer_max.load(Ordering::Relaxed)
    }

    /// Whether `maxmemory` is set.
    pub fn memory_bounded(&self) -> bool {
        self.memory_max.load(Ordering::Relaxed) != 0
    }

    /// Whether all shards together use more than `maxmemory`; `here` is what `shard` uses now.
    pub fn is_over_memory(&self, shard: usize, here: usize) -> bool {
        let others = self.memory.iter().enumerate().filter(|(s, _)| *s != shard);
        let others: usize = others.map(|(_, m)| m.load(Ordering::Relaxed)).sum();
        others + here > self.memory_max.load(Ordering::Relaxed)
    }

    /// Publishes what a shard uses.
    pub fn set_memory(&self, shard: usize, bytes: usize) {
        self.memory[shard].store(bytes, Ordering::Relaxed);
    }

    /// Whether clients have to authenticate.
    pub fn needs_password(&self) -> bool {
        lock(&self.password).is_some()
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
                self.warn("AOF write error looks solved. The server can write again.");
                self.failing.fetch_and(!(1 << shard), Ordering::SeqCst);
            }
        }
    }

    /// Whether any shard's log cannot be written.
    pub fn any_log_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) != 0
    }

    /// The error that writes are refused with while a log cannot be written.
    pub fn misconf(&self) -> Option<String> {
        self.any_log_failing().then(|| {
            let failure = lock(&self.failure);
            format!("MISCONF Errors writing to the AOF file: {failure}")
        })
    }

    /// Counts an error reply.
    pub fn count_error(&self, shard: usize, text: &[u8]) {
        let _ = (shard, text);
    }

    /// Says something to the operator.
    pub fn warn(&self, text: &str) {
        eprintln!("{text}");
    }

    /// Ends the process: going on would tell clients what may not be true.
    pub fn fatal(&self, text: &str) -> ! {
        eprintln!("{text}");
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

    /// Claims the right to cut the log.
    pub fn begin_cut(&self) -> bool {
        !self.cut.swap(true, Ordering::SeqCst)
    }

    /// Gives it back.
    pub fn end_cut(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    /// Whether a cut is under way.
    pub fn cut_busy(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Asks every shard to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Whether the process is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
