//! The start: lock, listen, find out what the log holds, load it with all shards, make it
//! permanent, serve; and after the stop, the clean end of the log.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::base::clock::{SystemClock, Time};
use crate::base::memory;
use crate::base::random::Random;
use crate::base::replication::{Replication, new_id};
use crate::base::version;
use crate::command::introspect;
use crate::config::load::Loaded;
use crate::config::settings::OomScore;
use crate::config::{CommitMethod, Config, LogLevel};
use crate::keyspace::{Effects, Keyspace, Recency};
use crate::observe::log::{self, Log, Zone};
use crate::observe::registry::{Facts, Listener};
use crate::observe::{Registry, crash, process};
use crate::persist::aof::manifest::Manifest;
use crate::persist::disk::Volume;
use crate::persist::durable::{DirLock, boot_identity};
use crate::persist::load::{Loading, load_together, together_until};
use crate::persist::recovery::{self, Options, Place, Plan, Step, Tail};
use crate::persist::reload::{load_lying, reload};
use crate::persist::snapshot;
use crate::persist::volume::DirVolume;
use crate::ring::net;
use crate::server::doorman::{Desk, Doorman, Left};
use crate::server::shards::{self, Disks, End, Start, modules};
use crate::server::supervise::Supervisor;
use crate::server::{again, fatal, listen, probe, report, stop, supervise, termination};
use crate::shard::backup::adopt_backup;
use crate::shard::errand::Errand;
use crate::shard::global::{Global, Voice};
use crate::shard::message::{Arrival, Message};
use crate::shard::order::Order;
use crate::shard::pace::rates;
use crate::shard::reload::{Keyspaces, Meant, NO_LOG, ReadLog};
use crate::shard::segment::Costs;
use crate::shard::snapshot::writer;
use crate::shard::turning::{forsake, log_dir};

/// Runs the server until it is stopped.
pub fn run(loaded: Loaded) -> ExitCode {
    let config = &loaded.config;
    let pid = std::process::id();
    let log = log::open(config.logfile.as_deref(), config.loglevel, pid, Zone::default());
    let journal = match log {
        Ok(log) => Arc::new(Journal { log, clock: SystemClock::default() }),
        Err(error) => {
            eprintln!("Can't open the log file: {error}");
            return ExitCode::FAILURE;
        }
    };
    crash::set_reported(config.crash_log_enabled);
    report::end_at_panic(&journal);
    if let Err(error) = fatal::report_signals(config.logfile.as_deref()) {
        journal.warn(&format!("crashes will not be reported: {error}"));
    }
    if let Err(error) = fatal::ignore_idle_signals() {
        journal.warn(&format!("signals could not be ignored: {error}"));
    }
    settle_in(config, &journal);
    introduce(&loaded, &journal);
    loaded.warnings.iter().for_each(|w| journal.warn(w));
    let code = match serve(&loaded, &journal) {
        Ok(None) => {
            journal.warn("Ringstone is now ready to exit, bye bye...");
            ExitCode::SUCCESS
        }
        Ok(Some(wait_ms)) => {
            journal.flush();
            let error = again::start_again(wait_ms);
            journal.warn(&format!("Starting again failed: {error}"));
            ExitCode::FAILURE
        }
        Err(lines) => {
            lines.iter().for_each(|line| journal.warn(line));
            ExitCode::FAILURE
        }
    };
    journal.log.flush();
    code
}

/// A huge page is cleared when it is first touched: milliseconds inside one insert. While data is
/// loaded, which is quicker with them, nobody is served.
fn keep_huge_pages_away(config: &Config, journal: &Journal) {
    if config.disable_thp
        && let Err(error) = rustix::thread::disable_transparent_huge_pages(true)
    {
        journal.warn(&format!("turning transparent huge pages off failed: {error}"));
    }
}

/// Finds the process's place in the system.
fn settle_in(config: &Config, journal: &Journal) {
    if supervise::is_background() {
        supervise::leave_session();
    }
    if let Some(score) = config.oom_score_adj
        && let Err(error) = set_oom_score(score)
    {
        journal.warn(&format!("setting the OOM score failed: {error}"));
    }
}

fn set_oom_score(score: OomScore) -> std::io::Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let score = match score {
        OomScore::Absolute(score) => score,
        OomScore::Relative(score) => {
            let before = std::fs::read_to_string(FILE)?;
            score + before.trim().parse::<i32>().unwrap_or(0)
        }
    };
    std::fs::write(FILE, score.clamp(-1000, 1000).to_string())
}

/// The first lines of the log: who starts, from what.
fn introduce(loaded: &Loaded, journal: &Journal) {
    let (pid, config) = (std::process::id(), &loaded.config);
    journal.notice("oO0OoO0OoO0Oo Ringstone is starting oO0OoO0OoO0Oo");
    journal.notice(&format!(
        "Redis version={}, bits={}, commit=00000000, modified=0, pid={pid}, just started, \
         ringstone version={}",
        version::REDIS,
        usize::BITS,
        version::RINGSTONE
    ));
    match &loaded.file {
        Some(_) => journal.notice("Configuration loaded"),
        None => journal.warn(
            "Warning: no config file specified, using the default config. In order to specify a \
             config file use ringstone /path/to/redis.conf",
        ),
    }
    journal.notice(&format!("Running mode=standalone, port={}.", config.port));
    if config.always_show_logo {
        journal.notice(&format!("Port: {}", config.port));
        journal.notice(&format!("PID: {pid}"));
    }
}

/// The server's log with the clock its lines are stamped by.
#[derive(Debug)]
pub struct Journal {
    log: Log,
    clock: SystemClock,
}

impl Journal {
    /// Says a line of this weight.
    pub fn say(&self, level: LogLevel, text: &str) {
        self.log.line(self.clock.now().unix_us, level, text);
    }

    /// Says something worth knowing.
    pub fn notice(&self, text: &str) {
        self.say(LogLevel::Notice, text);
    }

    /// Says something that wants attention.
    pub fn warn(&self, text: &str) {
        self.say(LogLevel::Warning, text);
    }

    /// Writes the last lines of a process that ends at once.
    pub fn last_words(&self, text: &str) {
        self.log.last_words(self.clock.now().unix_us, text);
    }

    /// A journal on standard output.
    #[cfg(test)]
    pub fn for_tests() -> Journal {
        let log = log::open(None, LogLevel::Notice, 1, Zone::default()).expect("opens");
        Journal { log, clock: SystemClock::default() }
    }

    /// Waits until everything said is written.
    pub fn flush(&self) {
        self.log.flush();
    }
}

/// Starts the thread that does what no shard may wait for, in order.
fn errands() -> std::io::Result<Sender<Errand>> {
    let (errands, todo) = channel::<Errand>();
    let named = std::thread::Builder::new().name("errands".into());
    named.spawn(move || {
        fatal::give_stack();
        todo.into_iter().for_each(|errand| errand())
    })?;
    Ok(errands)
}

/// How often memory that is free goes back to the system.
const GIVE_BACK_EVERY: Duration = Duration::from_millis(500);

/// Starts the thread that gives regions of memory back to the system, which no shard has time for.
fn memory_keeper() -> std::io::Result<()> {
    memory::leave_regions();
    let named = std::thread::Builder::new().name("memory".into());
    named.spawn(|| {
        fatal::give_stack();
        loop {
            std::thread::sleep(GIVE_BACK_EVERY);
            memory::give_back();
        }
    })?;
    Ok(())
}

/// How the process speaks and dies, and has things done aside.
fn voice(journal: &Arc<Journal>, errands: Sender<Errand>, read_log: Box<ReadLog>) -> Voice {
    let (say, die) = (Arc::clone(journal), Arc::clone(journal));
    let levels = Arc::clone(journal);
    Voice {
        say: Box::new(move |level, text| say.say(level, text)),
        level: Box::new(move |level| levels.log.set_level(level)),
        die: Box::new(move |text| {
            die.warn(text);
            die.flush();
        }),
        again: Box::new(|wait_ms| match again::is_possible() {
            true => again::start_again(wait_ms).to_string(),
            false => "the configuration came from standard input".to_owned(),
        }),
        can_start_again: again::is_possible(),
        errand: Box::new(move |errand| {
            // The thread lives as long as the process.
            let _ = errands.send(errand);
        }),
        read_log,
        time: Time::system(),
        writer: Box::new(writer::on_a_thread),
    }
}

type Lines = Vec<String>;

fn line(text: impl ToString) -> Lines {
    vec![text.to_string()]
}

/// Gives the milliseconds after which to start again, if it is to.
fn serve(loaded: &Loaded, journal: &Arc<Journal>) -> Result<Option<u64>, Lines> {
    let config = &loaded.config;
    raise_descriptor_limit(config.maxclients, journal);
    let _lock = DirLock::take(&config.dir)
        .map_err(|error| line(format!("{}: {error}", config.dir.display())))?;
    let sockets = listen::open(config)?;
    termination::watch().map_err(line)?;
    write_pid_file(config, journal);
    let supervisor = Supervisor::find(config, journal);
    supervisor.tell("STATUS=Loading the data...\n");
    let (shards, disks) = (shard_count(config), Arc::new(open_disks(config, journal)?));
    let mut random = Random::from_system();
    let boot_id = boot_identity(disks.log.path()).map_err(line)?;
    let mut plan = find_log(config, &disks, shards, &boot_id)?;
    plan.iter().flat_map(|p| &p.report).for_each(|text| journal.notice(text));
    let steps = plan.as_ref().map_or_else(|| lone_rdb(config), |p| p.steps.clone());
    let commit_usec = probe_commits(config, &disks, journal);
    let facts = Facts { commit_usec, ..facts(loaded, &sockets, &mut random) };
    let desk = Desk {
        config: Arc::new(config.clone()),
        registry: loading_registry(config, &facts, &disks, &steps, shards)?,
        disks: Arc::clone(&disks),
        journal: Arc::clone(journal),
        supervisor: supervisor.another(),
    };
    // With nothing to load nobody is kept waiting for long, however slow the machine is.
    let doorman = (!steps.is_empty()).then(|| Doorman::start(desk, &sockets));
    let doorman = doorman.transpose().map_err(line)?;
    let clock = SystemClock::default();
    let (spaces, rest, broken_off) = load_first(config, &disks, &steps, shards, &mut random)?;
    if let (Some(plan), Some((file, end))) = (&mut plan, broken_off) {
        plan.set_end(&file, end);
    }
    let threads = shards::spawn(config, &disks, spaces, Arc::new(rest), journal)?;
    keep_huge_pages_away(config, journal);
    // Before anything is written: until here the doorman may end the process.
    let guests = doorman.map_or_else(Left::default, Doorman::leave);
    let commit = |plan| recovery::commit(plan, &disks.log, &mut random).map_err(line);
    let started = plan.map(commit).transpose()?;
    let manifest = started.as_ref().map_or_else(Manifest::default, |s| s.manifest.clone());
    let next_id = started.as_ref().map_or(1, |s| s.next_id.max(1));
    say_loaded(&steps, &disks, clock, journal);
    memory_keeper().map_err(line)?;
    let voice = voice(journal, errands().map_err(line)?, again_from(config, &disks, &boot_id));
    let global = Global::new(shards, config.clone(), &boot_id, manifest, facts, voice);
    let global = Arc::new(global);
    let stream = if started.is_none() { take_up(&global, &disks) } else { 0 };
    global.next_client.fetch_add(guests.clients, Ordering::Relaxed);
    note_sizes(&global, &disks);
    let order = Arc::new(Order::new(shards, next_id));
    let start = |shard: usize| Start {
        order: Arc::clone(&order),
        global: Arc::clone(&global),
        clock,
        file: started.as_ref().map(|s| s.files[shard].clone()),
        stream: if shard == 0 { stream } else { 0 },
        seed: Random::from_system().next_u64(),
    };
    let running = threads.start(start, sockets)?;
    seat(guests.arrivals, &global, &order);
    let ready = || {
        announce(config, journal);
        supervisor.tell("READY=1\nSTATUS=Ready to accept connections\n");
    };
    let ends = stop::wait(running, &global, &order, journal, &supervisor, ready)?;
    remove_pid_file(config);
    end_log(&global, &ends).map_err(line)?;
    Ok(global.starts_again())
}

/// What a lone file says of the history its data belongs to: as in Redis that counts under a second
/// name, up to where the file goes, which is where the stream goes on.
fn take_up(global: &Global, disks: &Disks) -> u64 {
    let told = disks.told.lock().unwrap_or_else(PoisonError::into_inner);
    let second = told.history();
    let offset = second.as_ref().map_or(0, |(_, offset)| *offset);
    global.registry.set_replication(Replication { id: None, second });
    offset
}

/// The clean end of the log, if there is one.
fn end_log(global: &Global, ends: &[End]) -> std::io::Result<()> {
    // From here on no thread changes the manifest.
    global.seal_manifest();
    if global.turning.is_on() {
        stop::seal(&DirVolume::open(&global.turning.dir())?, global, ends)?;
    }
    forsake(global);
    Ok(())
}

/// Measures what a commit costs, when what it takes decides how the log is written.
fn probe_commits(config: &Config, disks: &Disks, journal: &Journal) -> Option<(u64, u64)> {
    if !config.appendonly || config.commits.method != CommitMethod::Auto {
        return None;
    }
    match probe::measure(disks.log.path()) {
        Ok(costs) => {
            let Costs { append_us, segment_us } = costs;
            let chosen = if costs.prefers_segment() { "written ahead" } else { "growing" };
            journal.notice(&format!(
                "A commit takes {append_us} us in a growing file and {segment_us} us in one \
                 written ahead: under `appendfsync always` log files are {chosen}"
            ));
            Some((append_us, segment_us))
        }
        Err(error) => {
            journal.notice(&format!("Log files grow as they are written: {error}"));
            None
        }
    }
}

fn open_disks(config: &Config, journal: &Journal) -> Result<Disks, Lines> {
    if let Err(error) = snapshot::clean_up(&config.dir) {
        journal.warn(&format!("What a snapshot left behind cannot be removed: {error}"));
    }
    let data = DirVolume::open(&config.dir).map_err(line)?;
    let log_dir = config.dir.join(&config.appenddirname);
    let log = match config.appendonly {
        true => DirVolume::create(&log_dir),
        false => DirVolume::open(&config.dir),
    };
    let log = log.map_err(|error| line(format!("{}: {error}", log_dir.display())))?;
    Ok(Disks::new(data, log))
}

/// What the log holds, when there is to be one.
fn find_log<'a>(
    config: &'a Config,
    disks: &'a Disks,
    shards: usize,
    boot_id: &'a str,
) -> Result<Option<Plan<'a>>, Lines> {
    if !config.appendonly {
        return Ok(None);
    }
    recovery::inspect(&disks.log, &options(config, disks, shards, boot_id)).map(Some).map_err(line)
}

fn options<'a>(
    config: &'a Config,
    disks: &'a Disks,
    shards: usize,
    boot_id: &'a str,
) -> Options<'a> {
    Options {
        appendfilename: &config.appendfilename,
        dbfilename: &config.dbfilename,
        shards,
        boot_id,
        load_truncated: config.aof.load_truncated,
        corrupt_tail_max: config.aof.corrupt_tail_max,
        until: None,
        bounds: None,
        keep_history: config.rewrite.retention > 0,
        data: &disks.data,
        accept_damage: false,
    }
}

/// How the log is read again while it is written. What the configuration of the start allowed is in
/// it, whatever has been changed since.
fn again_from(config: &Config, disks: &Arc<Disks>, boot_id: &str) -> Box<ReadLog> {
    let (config, disks, boot_id) = (config.clone(), Arc::clone(disks), boot_id.to_owned());
    Box::new(move |now, spaces, meant| {
        let shards = spaces.len();
        let mut loading = loading(now, &disks, shards);
        loading.string_max = loading.string_max.max(config.proto_max_bulk_len);
        let failed =
            |error: &dyn std::fmt::Display| format!("ERR Error trying to load the AOF: {error}");
        let options = options(&config, &disks, shards, &boot_id);
        if matches!(meant, Meant::File) {
            return file_again(now, &loading, spaces);
        }
        let lies = matches!(meant, Meant::Lying);
        // A log that was turned on since the start is elsewhere.
        let log = match DirVolume::open(&log_dir(now)) {
            Ok(log) => log,
            Err(error) if lies && error.kind() == ErrorKind::NotFound => {
                return Err(NO_LOG.to_owned());
            }
            Err(error) => return Err(failed(&error)),
        };
        let loading = Loading { log: &log, ..loading };
        let there = match meant {
            Meant::Written(ends) => reload(&log, &options, &loading, ends, spaces).map(|()| true),
            _ => load_lying(&log, &options, &loading, spaces),
        };
        match there.map_err(|error| failed(&error))? {
            true => Ok(()),
            false => Err(NO_LOG.to_owned()),
        }
    })
}

/// Reads the file that SAVE writes.
fn file_again(now: &Config, loading: &Loading<'_>, spaces: &mut Keyspaces) -> Result<(), String> {
    let data = DirVolume::open(&now.dir).map_err(|error| error.to_string())?;
    let file = now.dbfilename.clone();
    let steps = [Step::Rdb { file, place: Place::Data, tail: Tail::default() }];
    let loading = Loading { data: &data, ..*loading };
    let loaded = load_together(&loading, &steps, spaces);
    loaded.map(drop).map_err(|error| error.to_string())
}

/// Says what supervisors and scripts wait for.
fn announce(config: &Config, journal: &Journal) {
    journal.notice("Server initialized");
    if config.port != 0 {
        journal.notice("Ready to accept connections tcp");
    }
    if config.unixsocket.is_some() {
        journal.notice("Ready to accept connections unix");
    }
}

fn facts(loaded: &Loaded, sockets: &[OwnedFd], random: &mut Random) -> Facts {
    let config = &loaded.config;
    let mut listeners = Vec::new();
    let bound: Vec<_> = sockets.iter().filter_map(net::bound_to).collect();
    if config.port != 0 {
        let binds = bound.iter().map(|addr| addr.ip().to_string()).collect();
        listeners.push(Listener { kind: "tcp", binds, port: Some(config.port) });
    }
    if let Some(path) = &config.unixsocket {
        let binds = vec![path.display().to_string()];
        listeners.push(Listener { kind: "unix", binds, port: None });
    }
    let path = |path: Option<std::path::PathBuf>| {
        path.map_or_else(String::new, |p| p.display().to_string())
    };
    Facts {
        pid: std::process::id(),
        run_id: new_id(random),
        started: SystemClock::default().now(),
        executable: path(std::env::current_exe().ok()),
        config_file: path(loaded.file.clone()),
        listeners,
        os: process::os(),
        system_memory: process::system_memory(),
        commit_usec: None,
    }
}

/// What INFO tells while loading.
fn loading_registry(
    config: &Config,
    facts: &Facts,
    disks: &Disks,
    steps: &[Step],
    shards: usize,
) -> Result<Registry, Lines> {
    let names = introspect::names_counted();
    let registry = Registry::new(facts.clone(), shards, config.databases, names);
    let loading = loading(config, disks, shards);
    let first = together_until(&loading, steps).map_err(line)?;
    let (together, alone) = steps.split_at(first);
    let total = loading.total_bytes(together) + loading.total_bytes(alone) * shards as u64;
    let seconds = facts.started.unix_us.div_euclid(1_000_000);
    registry.loading.started.store(seconds, Ordering::Relaxed);
    registry.loading.total_bytes.store(total, Ordering::Relaxed);
    Ok(registry)
}

/// Says that the data is there, where there was any.
fn say_loaded(steps: &[Step], disks: &Disks, began: SystemClock, journal: &Journal) {
    let seconds = began.now().mono_us as f64 / 1e6;
    let mut more = String::new();
    let from = match steps {
        [] => return,
        [Step::Rdb { file, place: Place::Data, .. }] => {
            let keys = disks.keys_loaded.load(Ordering::Relaxed);
            let rates = rates(keys, disks.data.len(file).unwrap_or(0), seconds);
            more = format!(", {keys} keys, {rates}");
            "disk"
        }
        _ => "append only file",
    };
    let remarks = disks.remarks.lock().unwrap_or_else(PoisonError::into_inner);
    remarks.notices.iter().for_each(|text| journal.notice(text));
    if remarks.empty > 0 {
        for key in &remarks.left_out {
            journal.warn(&format!("rdbLoadObject skipping empty key: {key}"));
        }
        let keys = disks.keys_loaded.load(Ordering::Relaxed);
        journal.warn(&format!(
            "Done loading RDB, keys loaded: {keys}, keys expired: 0, empty keys skipped: {}.",
            remarks.empty
        ));
    }
    journal.notice(&format!("DB loaded from {from}: {seconds:.3} seconds{more}"));
    let skipped = disks.skipped_modules.load(Ordering::Relaxed);
    if skipped > 0 {
        journal.warn(&format!("{skipped} values and other data of modules were passed over"));
    }
}

/// Gives clients that came while loading to the shards.
fn seat(guests: Vec<Arrival>, global: &Global, order: &Order<Message>) {
    let load = |shard: &usize| global.connections[*shard].load(Ordering::Relaxed);
    for guest in guests {
        let shard = (0..order.shards()).min_by_key(load).unwrap_or(0);
        global.clients.fetch_add(1, Ordering::Relaxed);
        global.connections[shard].fetch_add(1, Ordering::Relaxed);
        order.push(shard, Message::Adopt(guest));
    }
}

/// Where the process id is written. One in the background is not to be found otherwise.
fn pid_file(config: &Config) -> Option<PathBuf> {
    let usual = || supervise::is_background().then(|| PathBuf::from("/var/run/redis.pid"));
    config.pidfile.clone().or_else(usual)
}

/// The process is about to end in good order.
pub fn remove_pid_file(config: &Config) {
    if let Some(path) = pid_file(config) {
        // Whoever has removed it already wanted the same.
        let _ = std::fs::remove_file(path);
    }
}

/// Scripts find the process by it; the server itself does not need it.
fn write_pid_file(config: &Config, journal: &Journal) {
    if let Some(path) = &pid_file(config)
        && let Err(error) = std::fs::write(path, format!("{}\n", std::process::id()))
    {
        journal.warn(&format!("Failed to write PID file {}: {error}", path.display()));
    }
}

/// What the log and the process take before the first client comes, for INFO.
fn note_sizes(global: &Global, disks: &Disks) {
    let files: Vec<String> = global.manifest().lines.iter().map(|l| l.file.clone()).collect();
    let sizes = files.iter().filter_map(|file| disks.log.len(file).ok());
    let size = sizes.sum();
    global.registry.log_base_size.store(size, Ordering::Relaxed);
    global.registry.rewrites.set_base_size(size);
    if !files.is_empty() {
        global.watch_room(disks.log.path());
    }
    global.registry.startup_memory.store(process::usage().rss, Ordering::Relaxed);
    let keys = disks.keys_loaded.load(Ordering::Relaxed);
    global.registry.loading.keys_loaded.store(keys, Ordering::Relaxed);
    if let Err(error) = adopt_backup(global) {
        global.warn(&format!("What a backup left behind cannot be looked at: {error}"));
    }
}

/// What is loaded when nothing is logged: a lone dump, if there is one.
fn lone_rdb(config: &Config) -> Vec<Step> {
    let file = config.dbfilename.clone();
    match !file.is_empty() && config.dir.join(&file).exists() {
        true => vec![Step::Rdb { file, place: Place::Data, tail: Tail::default() }],
        false => Vec::new(),
    }
}

/// Keyspaces with what had to be loaded in one go, the steps that are left, and where a file that
/// may break off does so.
type First = (Vec<Box<Keyspace>>, Vec<Step>, Option<(String, u64)>);

fn loading<'d>(config: &Config, disks: &'d Disks, shards: usize) -> Loading<'d> {
    Loading {
        log: &disks.log,
        data: &disks.data,
        shards,
        now: SystemClock::default().now(),
        string_max: config.proto_max_bulk_len,
        shapes: config.shapes,
        modules: modules(config),
        progress: &disks.progress,
        key_delay: config.rdb.key_load_delay,
    }
}

/// Makes the keyspaces and loads into them what must be loaded in one go.
fn load_first(
    config: &Config,
    disks: &Disks,
    steps: &[Step],
    shards: usize,
    random: &mut Random,
) -> Result<First, Lines> {
    let seed = [random.next_u64(), random.next_u64()];
    let space =
        |s| Some(Box::new(Keyspace::new(s, config.databases, seed, Effects::new(0, false))));
    let mut spaces: Vec<Option<Box<Keyspace>>> = (0..shards).map(space).collect();
    let loading = loading(config, disks, shards);
    let recency = Recency::new(config.noted, loading.now.unix_s());
    spaces.iter_mut().flatten().for_each(|space| space.set_recency(recency));
    let first = together_until(&loading, steps).map_err(line)?;
    let mut broken_off = None;
    if first > 0 {
        let mut report = load_together(&loading, &steps[..first], &mut spaces).map_err(line)?;
        disks.note(&mut report, true);
        disks.skipped_modules.fetch_add(report.skipped_modules, Ordering::Relaxed);
        disks.keys_loaded.fetch_add(report.keys, Ordering::Relaxed);
        broken_off = report.broken_off;
        disks.note_told(report.told);
    }
    Ok((spaces.into_iter().flatten().collect(), steps[first..].to_vec(), broken_off))
}

/// The shards asked for, or one per core this process may use.
fn shard_count(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = if config.shards == 0 { cores } else { config.shards };
    shards.clamp(1, crate::base::limits::SHARDS_MAX)
}

/// Every client takes a descriptor.
fn raise_descriptor_limit(maxclients: u32, journal: &Journal) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = u64::from(maxclients) + 256;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|n| n >= wanted) {
        return;
    }
    let maximum = now.maximum.map(|m| m.max(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now }));
    if raised.is_err() || getrlimit(Resource::Nofile).current.is_some_and(|n| n < wanted) {
        journal.warn(&format!(
            "maxclients asks for {wanted} descriptors and the system grants fewer: raise \
             'ulimit -n'"
        ));
    }
}
