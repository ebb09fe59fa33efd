//! The shard threads: loading, each its own share, and then serving.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::base::clock::SystemClock;
use crate::base::random::Random;
use crate::base::replication::Told;
use crate::config::Config;
use crate::config::settings::Pinning;
use crate::keyspace::{Effects, Keyspace};
use crate::persist::aof::ends::LogEnd;
use crate::persist::aof::repair::StartedFile;
use crate::persist::load::{Loading, Report, load_shard};
use crate::persist::rdb::Modules;
use crate::persist::recovery::Step;
use crate::persist::volume::DirVolume;
use crate::ring::{Ring, RingOptions};
use crate::server::boot::Journal;
use crate::server::fatal;
use crate::shard::Shard;
use crate::shard::cores;
use crate::shard::face::policy;
use crate::shard::global::Global;
use crate::shard::log::{LogFile, LogWriter};
use crate::shard::message::Message;
use crate::shard::order::Order;
use crate::shard::pin::Pin;
use crate::shard::tick::Tick;
use crate::value::shapes::Shapes;

/// The directories the server works in.
#[derive(Debug)]
pub struct Disks {
    /// `dir`
    pub data: DirVolume,
    /// The log directory.
    pub log: DirVolume,
    /// Bytes loaded.
    pub progress: AtomicU64,
    /// What modules had left in RDB files, and was passed over.
    pub skipped_modules: AtomicU64,
    /// Keys that RDB files have brought.
    pub keys_loaded: AtomicU64,
    /// What a lone RDB file said of the history its data belongs to.
    pub told: Mutex<Told>,
    /// What is to be said of what was loaded.
    pub remarks: Mutex<Remarks>,
}

/// What files said about themselves, and what was left out of them.
#[derive(Debug, Default)]
pub struct Remarks {
    /// Lines.
    pub notices: Vec<String>,
    /// Keys that held nothing.
    pub empty: u64,
    /// Some of their names.
    pub left_out: Vec<String>,
}

impl Disks {
    /// Nothing loaded yet.
    pub fn new(data: DirVolume, log: DirVolume) -> Self {
        let [progress, skipped_modules, keys_loaded] = Default::default();
        let (told, remarks) = Default::default();
        Disks { data, log, progress, skipped_modules, keys_loaded, told, remarks }
    }

    /// Keeps what is to be said of a load by one shard, or by all of them in one go; `first`: of
    /// several that have read the same this is the first.
    pub fn note(&self, report: &mut Report, first: bool) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        remarks.empty += report.empty;
        remarks.left_out.append(&mut report.left_out);
        if first {
            remarks.notices.append(&mut report.notices);
        }
    }
}

impl Disks {
    /// An RDB file has been loaded, or none.
    pub fn note_told(&self, told: Told) {
        if told != Told::default() {
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
    }
}

/// What becomes of the data of modules.
pub fn modules(config: &Config) -> Modules {
    if config.rdb.skip_module_data { Modules::Skip } else { Modules::Refuse }
}

/// What a loaded shard needs to serve.
pub struct Start {
    /// The order shared by all.
    pub order: Arc<Order<Message>>,
    /// The process's state.
    pub global: Arc<Global>,
    /// Clocks with one origin.
    pub clock: SystemClock,
    /// The log file to begin.
    pub file: Option<StartedFile>,
    /// Its share of the stream for replicas where there is none.
    pub stream: u64,
    /// Seed of its randomness.
    pub seed: u64,
}

/// A shard and where its log ended.
pub type End = (usize, Option<LogEnd>);

/// Shard threads that have loaded.
pub struct Threads {
    starts: Vec<Sender<(Start, Vec<OwnedFd>)>>,
    ready: Receiver<Result<(), String>>,
    ends: tokio::sync::mpsc::UnboundedReceiver<End>,
}

/// Shard threads that serve.
pub struct Running {
    /// Tells of each thread that has ended.
    pub ends: tokio::sync::mpsc::UnboundedReceiver<End>,
    /// How many there are.
    pub shards: usize,
}

/// The core for each shard, if they are to be pinned and there are enough.
fn pins(wanted: Pinning, shards: usize) -> Vec<Option<usize>> {
    let cores = cores::of_this_thread().unwrap_or_default();
    // More shards than cores share them; pinning would only take the scheduler's choice away.
    if wanted == Pinning::No || shards > cores.len() {
        return vec![None; shards];
    }
    cores.into_iter().take(shards).map(Some).collect()
}

#[expect(clippy::vec_box, reason = "a keyspace travels in its box for all its life")]
/// Starts the threads and waits until each has loaded its share of `steps`.
pub fn spawn(
    config: &Config,
    disks: &Arc<Disks>,
    spaces: Vec<Box<Keyspace>>,
    steps: Arc<Vec<Step>>,
    journal: &Arc<Journal>,
) -> Result<Threads, Vec<String>> {
    let (ready_to, ready) = channel();
    let (ends_to, ends) = tokio::sync::mpsc::unbounded_channel();
    let mut starts = Vec::new();
    let shards = spaces.len();
    for (space, core) in spaces.into_iter().zip(pins(config.pin_threads, shards)) {
        let (start_to, start) = channel();
        starts.push(start_to);
        let body = Body {
            shards,
            space,
            core,
            pinning: config.pin_threads,
            disks: Arc::clone(disks),
            steps: Arc::clone(&steps),
            string_max: config.proto_max_bulk_len,
            shapes: config.shapes,
            modules: modules(config),
            key_delay: config.rdb.key_load_delay,
            connections: config.maxclients as usize + 64,
            flush: policy(config.appendfsync),
            ready: ready_to.clone(),
            start,
            ends: ends_to.clone(),
            journal: Arc::clone(journal),
        };
        let name = format!("shard-{}", body.space.shard);
        let spawned = thread::Builder::new().name(name).spawn(move || body.run());
        spawned.map_err(|error| vec![format!("starting a thread failed: {error}")])?;
    }
    let threads = Threads { starts, ready, ends };
    threads.wait_ready()?;
    Ok(threads)
}

impl Threads {
    fn wait_ready(&self) -> Result<(), Vec<String>> {
        for _ in &self.starts {
            match self.ready.recv() {
                Ok(Ok(())) => {}
                Ok(Err(text)) => return Err(vec![text]),
                Err(_) => return Err(vec!["a shard thread has died".to_owned()]),
            }
        }
        Ok(())
    }

    /// Lets every shard serve; the first one gets the listening sockets.
    pub fn start(
        self,
        mut start: impl FnMut(usize) -> Start,
        sockets: Vec<OwnedFd>,
    ) -> Result<Running, Vec<String>> {
        let mut sockets = Some(sockets);
        for (shard, to) in self.starts.iter().enumerate() {
            let sent = to.send((start(shard), sockets.take().unwrap_or_default()));
            sent.map_err(|_| vec!["a shard thread has died".to_owned()])?;
        }
        self.wait_ready()?;
        Ok(Running { shards: self.starts.len(), ends: self.ends })
    }
}

struct Body {
    shards: usize,
    space: Box<Keyspace>,
    core: Option<usize>,
    pinning: Pinning,
    disks: Arc<Disks>,
    steps: Arc<Vec<Step>>,
    string_max: u64,
    shapes: Shapes,
    modules: Modules,
    key_delay: i32,
    connections: usize,
    flush: crate::shard::log::FsyncPolicy,
    ready: Sender<Result<(), String>>,
    start: Receiver<(Start, Vec<OwnedFd>)>,
    ends: tokio::sync::mpsc::UnboundedSender<End>,
    journal: Arc<Journal>,
}

impl Body {
    fn run(mut self) {
        fatal::give_stack();
        let pin = self.pin();
        let shard = self.space.shard;
        let options = RingOptions { connections: self.connections, ..RingOptions::default() };
        let mut ring = match Ring::new(&options) {
            Ok(ring) => ring,
            Err(error) => return self.fail(error.to_string()),
        };
        if let Err(error) = ring.open_dir(self.disks.log.path()) {
            return self.fail(error.to_string());
        }
        if let Err(error) = self.load() {
            return self.fail(error);
        }
        let _ = self.ready.send(Ok(()));
        // The sender goes away when the start failed elsewhere.
        let Ok((start, sockets)) = self.start.recv() else { return };
        let log = match self.open_log(&start, &mut ring) {
            Ok(log) => log,
            Err(error) => return self.fail(error),
        };
        let waker = ring.waker();
        start.order.set_waker(shard, Box::new(move || waker.wake()));
        let random = Random::new(start.seed);
        let shard_state = Shard::new(start.order, start.global, self.space, log, random);
        let tick = Tick::new(shard_state, ring, start.clock, sockets, pin);
        let _ = self.ready.send(Ok(()));
        let (space, log) = tick.run().into_parts();
        // The process is about to end, which frees it all at once: nobody has to wait for that.
        std::mem::forget(space);
        let end =
            log.map(|log| LogEnd { pos: log.appended(), sum: log.file().sum, len: log.tight() });
        let _ = self.ends.send((shard, end));
    }

    /// Ties this thread to its core, if it has one.
    fn pin(&self) -> Option<Pin> {
        let core = self.core?;
        match Pin::tie(core, self.pinning == Pinning::Yes) {
            Ok(pin) => Some(pin),
            Err(error) => {
                self.journal.warn(&format!("pinning a shard to core {core} failed: {error}"));
                None
            }
        }
    }

    fn fail(&self, text: String) {
        let _ = self.ready.send(Err(text));
    }

    fn load(&mut self) -> Result<(), String> {
        let loading = Loading {
            log: &self.disks.log,
            data: &self.disks.data,
            shards: self.shards,
            now: SystemClock::default().now(),
            string_max: self.string_max,
            shapes: self.shapes,
            modules: self.modules,
            progress: &self.disks.progress,
            key_delay: self.key_delay,
        };
        let report = load_shard(&loading, &self.steps, &mut self.space);
        let mut report = report.map_err(|error| error.to_string())?;
        self.disks.note(&mut report, self.space.shard == 0);
        self.disks.keys_loaded.fetch_add(report.keys, Ordering::Relaxed);
        if self.space.shard == 0 {
            // Every shard passes over the same.
            self.disks.skipped_modules.fetch_add(report.skipped_modules, Ordering::Relaxed);
            self.disks.note_told(report.told);
        }
        Ok(())
    }

    fn open_log(&mut self, start: &Start, ring: &mut Ring) -> Result<Option<LogWriter>, String> {
        let Some(file) = &start.file else {
            self.space.effects.begin_stream(start.stream);
            return Ok(None);
        };
        let path = self.disks.log.path().join(&file.file);
        let opened = OpenOptions::new().write(true).open(&path);
        let opened = opened.map_err(|error| format!("{}: {error}", path.display()))?;
        self.space.effects = Effects::new(file.start, true);
        self.space.effects.begin_stream(file.stream);
        let id = ring.adopt_file(opened.into());
        let log = LogFile { id, seed: file.seed, sum: file.seed, offset: 0 };
        let log = LogWriter::new(self.flush, log, file.start, start.clock.now().mono_us);
        Ok(Some(log.counting_from(file.stream)))
    }
}
